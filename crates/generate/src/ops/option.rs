//! Socket options.

use scenario::{Op, SockOption};

use super::Turn;
use crate::draw::Draw;

/// One row of [`OPTIONS`].
pub(crate) struct Row {
    /// In so many percent of the scenarios it is in force on an endpoint from the start.
    pub setup: u32,
    /// How often an op sets it.
    pub weight: u32,
    /// Draws a value: whether it is for the start, where only what is not the default says anything.
    pub value: fn(&mut Draw<'_>, bool) -> SockOption,
}

/// All options but `O_NONBLOCK`, which [`crate::Swarm`] decides on.
#[rustfmt::skip]
pub(crate) const OPTIONS: &[Row] = &[
    Row { setup: 25, weight: 2, value: |draw, start| SockOption::NoDelay(start || draw.chance(60)) },
    Row { setup: 4,  weight: 3, value: |draw, start| SockOption::Cork(start || draw.chance(50)) },
    Row { setup: 3,  weight: 1, value: |draw, start| SockOption::OobInline(start || draw.chance(60)) },
    Row { setup: 2,  weight: 1, value: |draw, start| SockOption::KeepAlive(start || draw.chance(60)) },
    Row { setup: 6,  weight: 1, value: |draw, start| SockOption::TcpInq(start || draw.chance(70)) },
    Row { setup: 2,  weight: 1, value: |draw, start| SockOption::ZeroCopy(start || draw.chance(60)) },
    Row { setup: 7,  weight: 1, value: |draw, _| SockOption::RcvBuf(buffer_bytes(draw)) },
    Row { setup: 7,  weight: 1, value: |draw, _| SockOption::SndBuf(buffer_bytes(draw)) },
    Row { setup: 3,  weight: 2, value: |draw, _| SockOption::RcvLowat(lowat_bytes(draw)) },
    Row { setup: 4,  weight: 1, value: |draw, _| SockOption::PeekOff(draw.pick(&[0, 0, 0, 1, 7, 100, 4096])) },
    Row { setup: 5,  weight: 1, value: |draw, start| SockOption::RcvTimeo(timeout(draw, start)) },
    Row { setup: 3,  weight: 1, value: |draw, start| SockOption::SndTimeo(timeout(draw, start)) },
    Row { setup: 3,  weight: 1, value: |draw, _| SockOption::BusyPoll(draw.pick(&[0, 1, 50, 50, 200])) },
    // of the peer's unread bytes, so it seldom costs its second
    Row { setup: 2,  weight: 1, value: |draw, _| SockOption::Linger(u32::from(draw.chance(10))) },
];

pub(super) fn make(draw: &mut Draw<'_>, _: &Turn<'_>) -> Op {
    // never off: a call that relies on it would wait
    if draw.chance(8) {
        return Op::Set(SockOption::NonBlock(true));
    }
    let rows: [_; OPTIONS.len()] = std::array::from_fn(|at| (at, OPTIONS[at].weight));
    let at = draw.weighted(&rows).expect("the options have weights");
    Op::Set((OPTIONS[at].value)(draw, false))
}

/// A size for `SO_RCVBUF` or `SO_SNDBUF`: from what the kernel raises to its minimum on.
fn buffer_bytes(draw: &mut Draw<'_>) -> u32 {
    const KIB: u32 = 1 << 10;
    draw.pick(&[1, 2304, 4096, 8192, 16 * KIB, 16 * KIB + 1, 64 * KIB, 256 * KIB])
}

/// A value for `SO_RCVLOWAT`.
fn lowat_bytes(draw: &mut Draw<'_>) -> u32 {
    draw.pick(&[1, 2, 100, 4096, 16 << 10, 64 << 10])
}

/// Milliseconds for `SO_RCVTIMEO` or `SO_SNDTIMEO`, short because they may run out.
fn timeout(draw: &mut Draw<'_>, start: bool) -> u32 {
    let ms = draw.pick(&[1, 5, 10, 50]);
    if !start && draw.chance(25) { 0 } else { ms }
}
