//! The options that one scenario is drawn with.

use scenario::{Endpoint, Family, Setup, SockOption};

use crate::draw::{Draw, Part};
use crate::model::RING;
use crate::ops::{KINDS, Name};
use crate::size::{SIZES, Size};

/// How often a call has a flag or a bad buffer, in percent; 0 for what the scenario leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Odds {
    /// `MSG_DONTWAIT` where the socket does not wait anyway.
    pub dontwait: u32,
    /// `MSG_MORE`
    pub more: u32,
    /// `MSG_NOSIGNAL`
    pub nosignal: u32,
    /// `MSG_PEEK`
    pub peek: u32,
    /// `MSG_TRUNC`
    pub trunc: u32,
    /// `MSG_WAITALL`
    pub waitall: u32,
    /// `MSG_OOB`. It perturbs the stream for good, so few scenarios have it.
    pub oob: u32,
    /// A buffer that is not mapped, or not to its end.
    pub bad_buffer: u32,
}

/// What one scenario is made of: each draws its own mixture, most of them without most features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    /// Address family of the pair.
    pub(crate) family: Family,
    /// Options in force before the first op, none twice.
    pub(crate) setup: Vec<Setup>,
    /// Whether each endpoint starts with `O_NONBLOCK`, by [`Endpoint::index`].
    pub(crate) nonblocking: [bool; 2],
    /// How many ops are drawn.
    pub(crate) steps: u32,
    /// The kinds of ops that may occur, with their weights.
    pub(crate) kinds: Vec<(Name, u32)>,
    /// How much each endpoint likes to send, by [`Endpoint::index`].
    pub(crate) talk: [u32; 2],
    /// Lengths of sends.
    pub(crate) send_sizes: Vec<(Size, u32)>,
    /// Lengths of receives.
    pub(crate) recv_sizes: Vec<(Size, u32)>,
    /// Flags and buffers of sends and receives.
    pub(crate) odds: Odds,
    /// Bytes that pile up in a direction before its reader is let loose.
    pub(crate) backlog: u32,
    /// Bytes that all sends together may ask for before they become small.
    pub(crate) budget: u32,
}

impl Swarm {
    /// The options of scenario `number` in the campaign of `seed`.
    #[must_use]
    pub fn draw(seed: u64, number: u64) -> Swarm {
        let draw = &mut Draw::new(seed, number, Part::Swarm);
        let nonblocking = [draw.chance(50), draw.chance(50)];
        let backlog = if draw.chance(25) {
            draw.pick(&[RING, RING + 1, RING + 4096, 2 * RING, 2 * RING + 1, 3 * RING])
        } else {
            0
        };
        let budget = if backlog > 0 {
            draw.pick(&[5 * RING, 7 * RING, 10 * RING])
        } else {
            draw.pick(&[1 << 10, 4 << 10, 16 << 10, 40 << 10])
        };
        Swarm {
            family: if draw.chance(25) { Family::V6 } else { Family::V4 },
            setup: setup(draw, nonblocking),
            nonblocking,
            steps: steps(draw),
            kinds: kinds(draw),
            talk: draw.pick(&[[4, 4], [4, 4], [8, 1], [1, 8], [8, 0], [0, 8]]),
            send_sizes: send_sizes(draw, backlog),
            recv_sizes: sizes(draw, |(size, _, recv)| (size, recv)),
            odds: odds(draw),
            backlog,
            budget,
        }
    }
}

fn steps(draw: &mut Draw) -> u32 {
    match draw.below(20) {
        0..15 => draw.within(3..=12),
        15..18 => draw.within(13..=20),
        _ => draw.within(21..=40),
    }
}

/// The kinds that are on. Sends and receives always are: without them nothing else has anything to show.
fn kinds(draw: &mut Draw) -> Vec<(Name, u32)> {
    KINDS
        .iter()
        .filter_map(|kind| {
            let on = draw.chance(kind.on);
            let loudness = draw.within(1..=3);
            on.then_some((kind.name, kind.weight * loudness))
        })
        .collect()
}

/// About half of the classes, never none.
fn sizes(draw: &mut Draw, weight: fn((Size, u32, u32)) -> (Size, u32)) -> Vec<(Size, u32)> {
    let all: Vec<_> = SIZES.iter().copied().map(weight).collect();
    let mut some: Vec<_> = all.iter().copied().filter(|_| draw.chance(55)).collect();
    if some.iter().all(|(_, weight)| *weight == 0) {
        some = all;
    }
    some
}

/// A scenario that is to pile up bytes needs at least one class that is long.
fn send_sizes(draw: &mut Draw, backlog: u32) -> Vec<(Size, u32)> {
    let mut some = sizes(draw, |(size, send, _)| (size, send));
    if backlog > 0 {
        some.push((
            draw.pick(&[Size::Ring, Size::NearRing, Size::TwoRings, Size::Page, Size::Fill]),
            16,
        ));
    }
    some
}

/// Each flag is on in its own share of the scenarios.
fn odds(draw: &mut Draw) -> Odds {
    let mut odds = |on: u32, percent: &[u32]| {
        let percent = draw.pick(percent);
        if draw.chance(on) { percent } else { 0 }
    };
    Odds {
        dontwait: odds(30, &[20, 50]),
        more: odds(30, &[10, 30, 60]),
        nosignal: odds(50, &[50, 100]),
        peek: odds(35, &[10, 30, 50]),
        trunc: odds(15, &[10, 30]),
        waitall: odds(20, &[10, 40]),
        oob: odds(8, &[10, 25]),
        bad_buffer: odds(15, &[5, 15]),
    }
}

/// The options of both endpoints. A small buffer makes TCP wait for its timers, so most have none.
fn setup(draw: &mut Draw, nonblocking: [bool; 2]) -> Vec<Setup> {
    let mut all = Vec::new();
    for endpoint in Endpoint::BOTH {
        let mut add = |on: bool, option: SockOption| {
            if on {
                all.push(Setup { endpoint, option });
            }
        };
        add(nonblocking[endpoint.index()], SockOption::NonBlock(true));
        add(draw.chance(25), SockOption::NoDelay(true));
        add(draw.chance(4), SockOption::Cork(true));
        add(draw.chance(7), SockOption::RcvBuf(buffer_bytes(draw)));
        add(draw.chance(7), SockOption::SndBuf(buffer_bytes(draw)));
        add(draw.chance(7), SockOption::RcvLowat(lowat_bytes(draw)));
    }
    all
}

/// A size for `SO_RCVBUF` or `SO_SNDBUF`: from what the kernel raises to its minimum on.
pub(crate) fn buffer_bytes(draw: &mut Draw) -> u32 {
    draw.pick(&[1, 2304, 4096, 8192, RING, RING + 1, 4 * RING, 16 * RING])
}

/// A value for `SO_RCVLOWAT`.
pub(crate) fn lowat_bytes(draw: &mut Draw) -> u32 {
    draw.pick(&[1, 2, 100, 4096, RING])
}
