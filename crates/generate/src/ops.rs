//! The kinds of ops: how often each is drawn, when it has something to act on, and how it is made.

use scenario::{Buffer, Endpoint, How, Op, RecvFlags, SendFlags, SockOption};

use crate::draw::Draw;
use crate::model::Model;
use crate::size::Size;
use crate::swarm::{Swarm, buffer_bytes, lowat_bytes};

/// Which kind of op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Send,
    Recv,
    Set,
    Poll,
    Inq,
    Outq,
    SoError,
    Shutdown,
    Close,
    Abort,
}

/// Everything that an op is made from: the scenario's options, the state of the pair, and whose turn it is.
pub(crate) struct Turn<'a> {
    pub swarm: &'a Swarm,
    pub model: &'a Model,
    pub endpoint: Endpoint,
}

/// One row of [`KINDS`].
pub(crate) struct Kind {
    pub name: Name,
    /// In so many percent of the scenarios it may occur.
    pub on: u32,
    /// How often it is drawn next to the others.
    pub weight: u32,
    /// How well it fits now: a factor to its weight, 0 for not at all.
    fit: fn(&Turn<'_>) -> u32,
    /// Makes one.
    make: fn(&mut Draw, &Turn<'_>) -> Op,
}

/// A new op is a row here, and a variant of [`Name`].
#[rustfmt::skip]
pub(crate) const KINDS: &[Kind] = &[
    Kind { name: Name::Send,     on: 100, weight: 10, fit: fit_send,     make: make_send },
    Kind { name: Name::Recv,     on: 100, weight: 10, fit: fit_recv,     make: make_recv },
    Kind { name: Name::Set,      on: 35,  weight: 3,  fit: |_| 4,        make: make_set },
    Kind { name: Name::Poll,     on: 50,  weight: 4,  fit: fit_look,     make: |_, _| Op::Poll },
    Kind { name: Name::Inq,      on: 35,  weight: 3,  fit: fit_look,     make: |_, _| Op::Inq },
    Kind { name: Name::Outq,     on: 30,  weight: 2,  fit: fit_look,     make: |_, _| Op::Outq },
    Kind { name: Name::SoError,  on: 25,  weight: 1,  fit: fit_look,     make: |_, _| Op::SoError },
    Kind { name: Name::Shutdown, on: 35,  weight: 4,  fit: fit_shutdown, make: make_shutdown },
    Kind { name: Name::Close,    on: 40,  weight: 3,  fit: fit_teardown, make: |_, _| Op::Close },
    Kind { name: Name::Abort,    on: 20,  weight: 3,  fit: fit_teardown, make: |_, _| Op::Abort },
];

/// In so many percent of the turns a closed endpoint is not avoided.
const CLOSED_TOO: u32 = 1;

/// The next op; `None` when nothing is left to do.
pub(crate) fn next(draw: &mut Draw, swarm: &Swarm, model: &Model) -> Option<(Endpoint, Op)> {
    let closed_too = draw.chance(CLOSED_TOO);
    let mut choices = Vec::new();
    if Endpoint::BOTH.iter().all(|e| model.end(*e).closed) {
        return None;
    }
    for endpoint in Endpoint::BOTH {
        if model.end(endpoint).closed && !closed_too {
            continue;
        }
        let turn = Turn { swarm, model, endpoint };
        for kind in KINDS {
            let weight = swarm
                .kinds
                .iter()
                .find_map(|(name, weight)| (*name == kind.name).then_some(*weight));
            choices.push(((endpoint, kind.make), weight.unwrap_or(0) * (kind.fit)(&turn)));
        }
    }
    let (endpoint, make) = draw.weighted(&choices)?;
    let turn = Turn { swarm, model, endpoint };
    Some((endpoint, make(draw, &turn)))
}

/// What an op that comes alone weighs: as much as one that fits in general.
const FAIR: u32 = 4;

fn fit_send(turn: &Turn<'_>) -> u32 {
    let Turn { swarm, model, endpoint } = turn;
    if model.output_over(*endpoint) {
        return 2;
    }
    let talk = swarm.talk[endpoint.index()];
    // until the first direction is full, and no longer
    if model.flows.iter().all(|flow| flow.peak <= swarm.backlog) && swarm.backlog > 0 {
        return talk * 3;
    }
    talk
}

fn fit_recv(turn: &Turn<'_>) -> u32 {
    let Turn { swarm, model, endpoint } = turn;
    let flow = model.inbound(*endpoint);
    if flow.urgent {
        return 10;
    }
    match flow.pending {
        0 if model.input_over(*endpoint) => 3,
        0 if model.outbound(*endpoint).sent == 0 => 0,
        0 => 1,
        _ if flow.peak < swarm.backlog => 1,
        _ => 9,
    }
}

/// Looking is most telling where something has just come or ended.
fn fit_look(turn: &Turn<'_>) -> u32 {
    let over = turn.model.input_over(turn.endpoint) || turn.model.output_over(turn.endpoint);
    if over { 2 * FAIR } else { FAIR }
}

/// Ends come late, so that something was under way before and something can still follow.
fn fit_shutdown(turn: &Turn<'_>) -> u32 {
    let end = turn.model.end(turn.endpoint);
    match turn.model.progress {
        0..25 => 0,
        _ if end.shut_wr || end.shut_rd || end.reset => 1,
        _ => 3,
    }
}

fn fit_teardown(turn: &Turn<'_>) -> u32 {
    let peer_closed = turn.model.end(turn.endpoint.peer()).closed;
    match turn.model.progress {
        0..40 => 0,
        // the scenario is over with it
        0..85 if peer_closed => 0,
        _ => 3,
    }
}

fn make_send(draw: &mut Draw, turn: &Turn<'_>) -> Op {
    let Turn { swarm, model, endpoint } = turn;
    let odds = swarm.odds;
    let size = if model.asked < swarm.budget { draw.weighted(&swarm.send_sizes) } else { None };
    let wanted = size.unwrap_or(Size::Small).draw(draw, model.outbound(*endpoint));
    let left = swarm.budget.saturating_sub(model.asked);
    let len = if wanted > left && swarm.backlog == 0 {
        Size::Small.draw(draw, model.outbound(*endpoint))
    } else {
        wanted
    };
    let mut flags = SendFlags::empty();
    let wait = !swarm.nonblocking[endpoint.index()];
    flags.set(SendFlags::DONTWAIT, wait || draw.chance(odds.dontwait));
    flags.set(SendFlags::MORE, draw.chance(odds.more));
    flags.set(SendFlags::NOSIGNAL, draw.chance(odds.nosignal));
    flags.set(SendFlags::OOB, draw.chance(odds.oob));
    Op::Send { len, flags, buffer: buffer(draw, odds.bad_buffer, len) }
}

fn make_recv(draw: &mut Draw, turn: &Turn<'_>) -> Op {
    let Turn { swarm, model, endpoint } = turn;
    let odds = swarm.odds;
    let flow = model.inbound(*endpoint);
    let len = draw.weighted(&swarm.recv_sizes).unwrap_or(Size::Pending).draw(draw, flow);
    let mut flags = RecvFlags::empty();
    let wait = !swarm.nonblocking[endpoint.index()];
    // asking for urgent data where there is none is as telling, but not often
    let urgent = if flow.urgent { 50 } else { odds.oob / 4 };
    flags.set(RecvFlags::DONTWAIT, wait || draw.chance(odds.dontwait));
    flags.set(RecvFlags::PEEK, draw.chance(odds.peek));
    flags.set(RecvFlags::TRUNC, draw.chance(odds.trunc));
    flags.set(RecvFlags::WAITALL, draw.chance(odds.waitall));
    flags.set(RecvFlags::OOB, draw.chance(urgent));
    Op::Recv { len, flags, buffer: buffer(draw, odds.bad_buffer, len) }
}

fn buffer(draw: &mut Draw, bad: u32, len: u32) -> Buffer {
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

fn make_set(draw: &mut Draw, _: &Turn<'_>) -> Op {
    Op::Set(match draw.below(10) {
        0..3 => SockOption::Cork(draw.chance(50)),
        3..5 => SockOption::NoDelay(draw.chance(60)),
        // never off: a call that relies on it would wait
        5 => SockOption::NonBlock(true),
        6 => SockOption::RcvBuf(buffer_bytes(draw)),
        7 => SockOption::SndBuf(buffer_bytes(draw)),
        _ => SockOption::RcvLowat(lowat_bytes(draw)),
    })
}

fn make_shutdown(draw: &mut Draw, _: &Turn<'_>) -> Op {
    Op::Shutdown(draw.pick(&[How::Wr, How::Wr, How::Rd, How::Rdwr]))
}
