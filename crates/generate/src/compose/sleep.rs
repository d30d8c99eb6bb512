//! A lane falls asleep in a call, and something wakes it.

use scenario::{Buffer, By, How, Op, Ready, RecvFlags, SendFlags, SockOption, Waiter};

use super::Composer;
use crate::draw::Draw;
use crate::model::SAFE;
use crate::ops::{self, Name};

/// What the sleeper waits in.
#[derive(Clone, Copy)]
enum Nap {
    /// A receive that any byte wakes.
    Recv,
    /// `MSG_WAITALL`, or as many bytes by `SO_RCVLOWAT`.
    Many,
    /// The same with an `SO_RCVTIMEO` that runs out while bytes trickle in.
    Timed,
    /// A wait for an event.
    Wait,
    /// A send into full buffers, or a wait for room.
    Full,
}

const NAPS: &[(Nap, u32)] =
    &[(Nap::Recv, 36), (Nap::Many, 27), (Nap::Timed, 3), (Nap::Wait, 21), (Nap::Full, 6)];

/// What wakes it.
#[derive(Clone, Copy)]
enum Waker {
    Bytes,
    ShutdownWr,
    Close,
    Abort,
    Destroy,
    OwnShutdown,
    Signal,
    Nothing,
}

const WAKERS: &[(Waker, u32)] = &[
    (Waker::Bytes, 60),
    (Waker::ShutdownWr, 8),
    (Waker::Close, 4),
    (Waker::Abort, 4),
    (Waker::Destroy, 2),
    (Waker::OwnShutdown, 2),
    (Waker::Signal, 12),
    (Waker::Nothing, 1),
];

/// Makes one where there is somebody to sleep and somebody to wake.
pub(super) fn make(composer: &mut Composer<'_>, draw: &mut Draw<'_>) -> bool {
    let able = composer.able();
    let mut couples = Vec::new();
    for &sleeper in &able {
        let turn = composer.turn(sleeper);
        let quiet = turn.pair.input_over(turn.endpoint) || turn.pair.end(turn.endpoint).nonblocking;
        let peer = |lane: &&u8| {
            let (own, other) = (composer.lane(sleeper), composer.lane(**lane));
            own.pair == other.pair && own.endpoint != other.endpoint
        };
        if !quiet {
            couples.extend(able.iter().filter(peer).map(|waker| (sleeper, *waker)));
        }
    }
    if couples.is_empty() || !composer.swarm.sleeps {
        return false;
    }
    let (sleeper, waker) = draw.pick(&couples);
    match draw.weighted(NAPS).unwrap_or(Nap::Recv) {
        Nap::Recv => {
            drain(composer, sleeper);
            start_recv(composer, draw, sleeper, false);
            second(composer, draw, sleeper);
            interlude(composer, draw);
            wake(composer, draw, sleeper, waker);
        }
        Nap::Many => {
            drain(composer, sleeper);
            let bytes = draw.pick(&[2, 100, 1000, 4096, 17_000]);
            let lowat = draw.chance(50);
            if lowat {
                composer.then(sleeper, Op::Set(SockOption::RcvLowat(bytes)));
            }
            match draw.below(5) {
                0 if lowat => start_wait(composer, draw, sleeper, Ready::IN),
                _ => start_many(composer, draw, sleeper, bytes, lowat),
            }
            interlude(composer, draw);
            wake(composer, draw, sleeper, waker);
        }
        Nap::Timed => timed(composer, draw, sleeper, waker),
        Nap::Wait => {
            if draw.chance(70) {
                drain(composer, sleeper);
            }
            let events = draw.pick(&[Ready::IN, Ready::IN, Ready::IN | Ready::RDHUP, Ready::RDHUP]);
            start_wait(composer, draw, sleeper, events);
            second(composer, draw, sleeper);
            wake(composer, draw, sleeper, waker);
        }
        Nap::Full => full(composer, draw, sleeper, waker),
    }
    if draw.chance(40) && composer.able().contains(&sleeper) {
        drain(composer, sleeper);
    }
    true
}

fn recv(len: u32, flags: RecvFlags) -> Op {
    Op::Recv { len, flags, buffer: Buffer::Mapped, by: By::Call }
}

fn send(len: u32, flags: SendFlags) -> Op {
    Op::Send { len, flags, buffer: Buffer::Mapped, by: By::Call }
}

/// Receives what is pending, so that the next receive finds nothing.
fn drain(composer: &mut Composer<'_>, lane: u8) {
    let turn = composer.turn(lane);
    let flow = turn.pair.inbound(turn.endpoint);
    if flow.pending > 0 || flow.most > 0 {
        let len = flow.pending.max(flow.most) + 1;
        composer.then(lane, recv(len.min(256 << 10), RecvFlags::DONTWAIT));
    }
}

/// Any receive, without `MSG_DONTWAIT`, which it would not sleep with.
fn start_recv(composer: &mut Composer<'_>, draw: &mut Draw<'_>, lane: u8, trifle: bool) {
    let mut op = ops::recv(draw, &composer.turn(lane));
    if let Op::Recv { len, flags, .. } = &mut op {
        *flags -= RecvFlags::DONTWAIT | RecvFlags::OOB | RecvFlags::WAITALL;
        *len = (*len).clamp(1, if trifle { 100 } else { u32::MAX });
    }
    composer.start(lane, op);
}

/// What a peek leaves there, the next wake-up has to count again.
fn start_many(composer: &mut Composer<'_>, draw: &mut Draw<'_>, lane: u8, bytes: u32, lowat: bool) {
    let looks = if draw.chance(30) { RecvFlags::PEEK } else { RecvFlags::empty() };
    let (len, flags) =
        if lowat { (bytes + 100, RecvFlags::empty()) } else { (bytes, RecvFlags::WAITALL) };
    composer.start(lane, recv(len, flags | looks));
}

/// A started wait is expected to be woken; where it is not it ends by itself.
fn start_wait(composer: &mut Composer<'_>, draw: &mut Draw<'_>, lane: u8, events: Ready) {
    let by = ops::waiter(draw);
    // select(2) knows no hang-up
    let events = if by == Waiter::Select { events & Ready::OUT | Ready::IN } else { events };
    let timeout_ms = if events.contains(Ready::IN) {
        draw.pick(&[5, 10, 20, 50, 50, 100, 100, 200])
    } else {
        draw.pick(&[5, 10, 20])
    };
    composer.start(lane, Op::Wait { events, timeout_ms, by });
}

/// Perhaps another lane falls asleep on the same socket.
fn second(composer: &mut Composer<'_>, draw: &mut Draw<'_>, first: u8) {
    let own = composer.lane(first);
    let mut beside = composer.able();
    beside.retain(|lane| {
        let other = composer.lane(*lane);
        *lane != first && (own.pair, own.endpoint) == (other.pair, other.endpoint)
    });
    if beside.is_empty() || draw.chance(50) {
        return;
    }
    let lane = draw.pick(&beside);
    if draw.chance(75) {
        start_recv(composer, draw, lane, true);
    } else {
        start_wait(composer, draw, lane, Ready::IN);
    }
}

/// Perhaps something else happens first.
fn interlude(composer: &mut Composer<'_>, draw: &mut Draw<'_>) {
    if draw.chance(25) {
        composer.single(draw);
    }
}

fn wake(composer: &mut Composer<'_>, draw: &mut Draw<'_>, sleeper: u8, waker: u8) {
    // the interlude may have been an end
    if !composer.able().contains(&waker) {
        return;
    }
    match draw.weighted(WAKERS).unwrap_or(Waker::Bytes) {
        Waker::Bytes => feed(composer, draw, sleeper, waker),
        Waker::ShutdownWr => composer.then(waker, Op::Shutdown(How::Wr)),
        Waker::Close => composer.then(waker, Op::Close),
        Waker::Abort => composer.then(waker, Op::Abort),
        Waker::Destroy => composer.then(waker, Op::Destroy),
        Waker::OwnShutdown => {
            let own = composer.lane(sleeper).endpoint;
            let mut beside = composer.able();
            beside.retain(|lane| composer.lane(*lane).endpoint == own && *lane != sleeper);
            match beside.first() {
                Some(&lane) => composer.then(lane, Op::Shutdown(How::Rd)),
                None => feed(composer, draw, sleeper, waker),
            }
        }
        Waker::Signal => {
            let restart = draw.chance(40);
            composer.then(waker, Op::Signal { lane: sleeper, restart });
            // what was restarted sleeps on
            if restart && draw.chance(90) {
                feed(composer, draw, sleeper, waker);
            }
        }
        Waker::Nothing => {}
    }
}

/// Sends what all sleepers of the socket wait for, in one piece or in some.
fn feed(composer: &mut Composer<'_>, draw: &mut Draw<'_>, sleeper: u8, waker: u8) {
    let lane = composer.lane(sleeper);
    let flow = *composer.turn(sleeper).pair.inbound(lane.endpoint);
    let need = composer.model.wakes_all(lane.pair, lane.endpoint).saturating_sub(flow.sure);
    let need = need.clamp(1, SAFE / 2) + draw.pick(&[0, 0, 1, 99]);
    let pieces = if need > 1 { draw.within(1..=4).min(need) } else { 1 };
    for piece in 0..pieces {
        let len = need * (piece + 1) / pieces - need * piece / pieces;
        let mut op = ops::send(draw, &composer.turn(waker));
        if let Op::Send { len: any, flags, buffer, .. } = &mut op {
            *flags -= SendFlags::OOB | SendFlags::MORE;
            (*any, *buffer) = (len, Buffer::Mapped);
        }
        composer.then(waker, op);
    }
}

/// Wake-ups that bring too little must not make the timeout longer.
fn timed(composer: &mut Composer<'_>, draw: &mut Draw<'_>, sleeper: u8, waker: u8) {
    drain(composer, sleeper);
    let ms = draw.pick(&[20, 30, 50]);
    composer.then(sleeper, Op::Set(SockOption::RcvTimeo(ms)));
    let lowat = draw.chance(50);
    if lowat {
        composer.then(sleeper, Op::Set(SockOption::RcvLowat(1000)));
    }
    start_many(composer, draw, sleeper, 1000, lowat);
    // the pauses are longer together than the timeout, and one is shorter
    for _ in 0..draw.within(3..=4) {
        composer.then(waker, Op::Pause(ms * 600));
        composer.then(waker, send(draw.within(1..=100), SendFlags::DONTWAIT));
    }
    if draw.chance(50) {
        composer.then(waker, send(1000, SendFlags::DONTWAIT));
    }
    composer.then(sleeper, Op::Set(SockOption::RcvTimeo(0)));
    composer.then(sleeper, Op::Set(SockOption::RcvLowat(1)));
}

/// Fills all buffers, sleeps until there is room, and reads or ends on the other side.
fn full(composer: &mut Composer<'_>, draw: &mut Draw<'_>, sleeper: u8, waker: u8) {
    composer.then(sleeper, Op::Set(SockOption::SndBuf(4096)));
    if draw.chance(60) {
        let ms = draw.pick(&[5, 10, 50]);
        composer.then(sleeper, Op::Set(SockOption::SndTimeo(ms)));
    }
    for _ in 0..2 {
        composer.then(sleeper, send(192 << 10, SendFlags::DONTWAIT));
    }
    if draw.chance(30) {
        start_wait(composer, draw, sleeper, Ready::OUT);
    } else {
        let len = draw.pick(&[1, 100, 1000, 20_000]);
        composer.start(sleeper, send(len, SendFlags::NOSIGNAL));
    }
    if draw.chance(25) {
        let end = draw.pick(&[Name::Close, Name::Abort, Name::Shutdown, Name::Destroy]);
        let op = ops::make(end, draw, &composer.turn(waker));
        composer.then(waker, op);
        return;
    }
    if draw.chance(20) {
        composer.then(waker, Op::Signal { lane: sleeper, restart: draw.chance(40) });
    }
    for _ in 0..draw.within(3..=6) {
        composer.then(waker, recv(64 << 10, RecvFlags::DONTWAIT));
    }
}
