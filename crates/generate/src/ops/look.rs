//! Ops that look and change nothing.

use scenario::{Op, Ready, Waiter};

use super::{FAIR, Turn};
use crate::draw::Draw;

/// Looking is most telling where something has just come or ended.
pub(super) fn fit(turn: &Turn<'_>) -> u32 {
    if turn.own().severed {
        return 1;
    }
    let over = turn.pair.input_over(turn.endpoint) || turn.pair.output_over(turn.endpoint);
    if over { 2 * FAIR } else { FAIR }
}

pub(super) fn fit_atmark(turn: &Turn<'_>) -> u32 {
    if turn.pair.inbound(turn.endpoint).urgent { 6 * FAIR } else { FAIR / 2 }
}

/// What a wait may wait for.
const EVENTS: &[Ready] = &[
    Ready::IN,
    Ready::IN,
    Ready::OUT,
    Ready::IN.union(Ready::OUT),
    Ready::IN.union(Ready::RDHUP),
    Ready::RDHUP,
    Ready::PRI,
    Ready::IN.union(Ready::PRI),
    Ready::IN.union(Ready::RDNORM),
    Ready::OUT.union(Ready::WRNORM),
    Ready::empty(),
];

/// One event or some, of those that the call knows.
pub(crate) fn events(draw: &mut Draw<'_>, by: Waiter) -> Ready {
    let events = draw.pick(EVENTS);
    // select(2) has no other, and waits for nothing at all if none is asked for
    let known = Ready::IN | Ready::OUT | Ready::PRI;
    if by == Waiter::Select && !known.contains(events) | events.is_empty() {
        return Ready::IN;
    }
    events
}

/// A way to wait.
pub(crate) fn waiter(draw: &mut Draw<'_>) -> Waiter {
    draw.pick(&[
        Waiter::Poll,
        Waiter::Select,
        Waiter::Epoll,
        Waiter::EpollEdge,
        Waiter::EpollEdge,
        Waiter::EpollOneshot,
    ])
}

/// A wait that costs little where nothing comes.
pub(super) fn make_wait(draw: &mut Draw<'_>, turn: &Turn<'_>) -> Op {
    let by = waiter(draw);
    let events = events(draw, by);
    let timeout_ms = draw.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 5, 30]);
    let never = !turn.swarm.sleeps;
    Op::Wait { events, timeout_ms: if never { 0 } else { timeout_ms }, by }
}

pub(super) fn make_pause(draw: &mut Draw<'_>, _: &Turn<'_>) -> Op {
    Op::Pause(draw.pick(&[1, 50, 200, 1000, 2000]))
}
