//! Sends and receives, and the completions of sends.

use scenario::{Buffer, By, Op, RecvFlags, SendFlags};

use super::{FAIR, Turn};
use crate::draw::Draw;
use crate::size::Size;

/// A way to move bytes other than `send(2)` and `recv(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Vector,
    Batch,
    Uring,
    Splice,
    Tee,
    File,
}

/// All of them, with the weights that they have when a scenario uses them.
pub(crate) const WAYS: &[(Way, u32)] = &[
    (Way::Vector, 3),
    (Way::Batch, 2),
    (Way::Uring, 2),
    (Way::Splice, 3),
    (Way::Tee, 2),
    (Way::File, 2),
];

pub(super) fn fit_send(turn: &Turn<'_>) -> u32 {
    let Turn { swarm, pair, endpoint, .. } = turn;
    if pair.output_over(*endpoint) {
        return 2;
    }
    let talk = swarm.talk[endpoint.index()];
    // until the first direction is full, and no longer
    if pair.flows.iter().all(|flow| flow.peak <= swarm.backlog) && swarm.backlog > 0 {
        return talk * 3;
    }
    talk
}

pub(super) fn fit_recv(turn: &Turn<'_>) -> u32 {
    let Turn { swarm, pair, endpoint, .. } = turn;
    let flow = pair.inbound(*endpoint);
    if flow.urgent {
        return 10;
    }
    match flow.pending {
        // there is no connection to receive from
        0 if turn.own().severed => 1,
        0 if pair.input_over(*endpoint) => 3,
        0 if pair.outbound(*endpoint).sent == 0 => 0,
        0 => 1,
        _ if flow.peak < swarm.backlog => 1,
        _ => 9,
    }
}

pub(super) fn fit_errqueue(turn: &Turn<'_>) -> u32 {
    if turn.pair.outbound(turn.endpoint).zerocopies > 0 { 3 * FAIR } else { 0 }
}

pub(crate) fn send(draw: &mut Draw<'_>, turn: &Turn<'_>) -> Op {
    let Turn { swarm, model, pair, endpoint, .. } = turn;
    let flow = pair.outbound(*endpoint);
    let odds = swarm.odds;
    let size = if model.asked < swarm.budget { draw.weighted(&swarm.send_sizes) } else { None };
    let wanted = size.unwrap_or(Size::Small).draw(draw, flow, swarm.ring);
    let left = swarm.budget.saturating_sub(model.asked);
    let len = if wanted > left && swarm.backlog == 0 {
        Size::Small.draw(draw, flow, swarm.ring)
    } else {
        wanted
    };
    let mut flags = SendFlags::empty();
    let wait = !swarm.sleeps && !swarm.nonblocking[endpoint.index()];
    flags.set(SendFlags::DONTWAIT, wait || draw.chance(odds.dontwait));
    flags.set(SendFlags::MORE, draw.chance(odds.more));
    let by = by(draw, turn, flags.contains(SendFlags::DONTWAIT));
    match by {
        // it does not ask for O_NONBLOCK
        By::Uring if !swarm.sleeps => flags |= SendFlags::DONTWAIT,
        By::Splice | By::Tee => flags &= SendFlags::MORE,
        By::File => flags = SendFlags::empty(),
        _ => {}
    }
    if by.is_piped() || by == By::File {
        return Op::Send { len, flags, buffer: Buffer::Mapped, by };
    }
    flags.set(SendFlags::NOSIGNAL, draw.chance(odds.nosignal));
    flags.set(SendFlags::OOB, draw.chance(odds.oob));
    flags.set(SendFlags::ZEROCOPY, draw.chance(odds.zerocopy));
    let buffer = match by {
        By::Call | By::Vector(_) => buffer(draw, odds.bad_buffer, len),
        _ => Buffer::Mapped,
    };
    Op::Send { len, flags, buffer, by }
}

pub(crate) fn recv(draw: &mut Draw<'_>, turn: &Turn<'_>) -> Op {
    let Turn { swarm, pair, endpoint, .. } = turn;
    let odds = swarm.odds;
    let flow = pair.inbound(*endpoint);
    let len = draw.weighted(&swarm.recv_sizes).unwrap_or(Size::Pending);
    let len = len.draw(draw, flow, swarm.ring);
    let mut flags = RecvFlags::empty();
    let wait = !swarm.sleeps && !swarm.nonblocking[endpoint.index()];
    flags.set(RecvFlags::DONTWAIT, wait || draw.chance(odds.dontwait));
    let by = match by(draw, turn, flags.contains(RecvFlags::DONTWAIT)) {
        By::File => By::Splice,
        by => by,
    };
    if by.is_piped() {
        flags = RecvFlags::empty();
        return Op::Recv { len, flags, buffer: Buffer::Mapped, by };
    }
    // asking for urgent data where there is none is as telling, but not often
    let urgent = if flow.urgent { 50 } else { odds.oob / 4 };
    let peek = if turn.own().peek_off { odds.peek.max(40) } else { odds.peek };
    flags.set(RecvFlags::PEEK, draw.chance(peek));
    flags.set(RecvFlags::TRUNC, draw.chance(odds.trunc));
    flags.set(RecvFlags::WAITALL, draw.chance(odds.waitall));
    flags.set(RecvFlags::OOB, draw.chance(urgent));
    if by == By::Uring && !swarm.sleeps {
        flags |= RecvFlags::DONTWAIT;
    }
    if matches!(by, By::Batch(_)) {
        // it says only how many bytes it took
        flags -= RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::OOB;
    }
    let buffer = match by {
        By::Call | By::Vector(_) => buffer(draw, odds.bad_buffer, len),
        _ => Buffer::Mapped,
    };
    Op::Recv { len, flags, buffer, by }
}

fn by(draw: &mut Draw<'_>, turn: &Turn<'_>, dontwait: bool) -> By {
    if !draw.chance(turn.swarm.odds.way) {
        return By::Call;
    }
    match draw.weighted(&turn.swarm.ways) {
        // these have no MSG_DONTWAIT: the socket does not wait, or it is not asked for
        Some(Way::Splice | Way::Tee | Way::File) if dontwait && !turn.own().nonblocking => By::Call,
        way => way.map_or(By::Call, |way| call(draw, way)),
    }
}

/// Any call.
pub(crate) fn any_way(draw: &mut Draw<'_>) -> By {
    let (way, _) = draw.pick(WAYS);
    if draw.chance(15) { By::Call } else { call(draw, way) }
}

fn call(draw: &mut Draw<'_>, way: Way) -> By {
    match way {
        Way::Vector => By::Vector(pieces(draw)),
        Way::Batch => By::Batch(pieces(draw)),
        Way::Uring => By::Uring,
        Way::Splice => By::Splice,
        Way::Tee => By::Tee,
        Way::File => By::File,
    }
}

fn pieces(draw: &mut Draw<'_>) -> u8 {
    draw.pick(&[1, 2, 2, 3, 4, 8, scenario::limits::PIECES])
}

/// Memory for a call of so many bytes, bad in so many percent.
pub(super) fn buffer(draw: &mut Draw<'_>, bad: u32, len: u32) -> Buffer {
    if !draw.chance(bad) {
        return Buffer::Mapped;
    }
    if len == 0 || draw.chance(40) {
        return Buffer::Unmapped;
    }
    let mapped = match draw.below(4) {
        0 => 1,
        1 => len - 1,
        2 => len / 2,
        _ => draw.below(len),
    };
    Buffer::Torn(mapped.min(len - 1))
}
