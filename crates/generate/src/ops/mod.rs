//! The kinds of ops: how often each is drawn, when it has something to act on, and how it is made.

mod end;
mod look;
mod option;
mod pairing;
mod transfer;

pub(crate) use look::waiter;
pub(crate) use option::OPTIONS;
pub(crate) use transfer::{WAYS, Way, any_way, recv, send};

use scenario::{Endpoint, Lane, Op};

use crate::draw::Draw;
use crate::model::{End, Model, Pair};
use crate::swarm::Swarm;

/// Which kind of op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Send,
    Recv,
    ErrQueue,
    Set,
    Poll,
    Wait,
    Inq,
    Outq,
    AtMark,
    SoError,
    Shutdown,
    Dup,
    Fork,
    Close,
    Abort,
    Destroy,
    Disconnect,
    Connect,
    Unhash,
    Rehash,
    Detach,
    Tls,
    Repair,
    Signal,
    Pause,
}

/// Everything that an op is made from: the scenario's options, the state of the pairs, and whose turn it is.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub swarm: &'a Swarm,
    pub model: &'a Model,
    pub lanes: &'a [Lane],
    /// Whose turn it is: an index into `lanes`.
    pub lane: u8,
    pub pair: &'a Pair,
    pub endpoint: Endpoint,
}

impl<'a> Turn<'a> {
    pub fn new(swarm: &'a Swarm, model: &'a Model, lanes: &'a [Lane], lane: u8) -> Turn<'a> {
        let Lane { pair, endpoint, .. } = lanes[usize::from(lane)];
        Turn { swarm, model, lanes, lane, pair: model.pair(pair), endpoint }
    }

    fn own(&self) -> &'a End {
        self.pair.end(self.endpoint)
    }

    fn peer(&self) -> &'a End {
        self.pair.end(self.endpoint.peer())
    }
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
    make: fn(&mut Draw<'_>, &Turn<'_>) -> Op,
}

/// A new op is a row here, and a variant of [`Name`].
#[rustfmt::skip]
pub(crate) const KINDS: &[Kind] = &[
    Kind { name: Name::Send,       on: 100, weight: 20, fit: transfer::fit_send,     make: send },
    Kind { name: Name::Recv,       on: 100, weight: 20, fit: transfer::fit_recv,     make: recv },
    Kind { name: Name::ErrQueue,   on: 100, weight: 4,  fit: transfer::fit_errqueue, make: |_, _| Op::ErrQueue },
    Kind { name: Name::Set,        on: 35,  weight: 6,  fit: |_| FAIR,               make: option::make },
    Kind { name: Name::Poll,       on: 45,  weight: 8,  fit: look::fit,              make: |_, _| Op::Poll },
    Kind { name: Name::Wait,       on: 20,  weight: 6,  fit: look::fit,              make: look::make_wait },
    Kind { name: Name::Inq,        on: 35,  weight: 6,  fit: look::fit,              make: |_, _| Op::Inq },
    Kind { name: Name::Outq,       on: 30,  weight: 4,  fit: look::fit,              make: |_, _| Op::Outq },
    Kind { name: Name::AtMark,     on: 12,  weight: 3,  fit: look::fit_atmark,       make: |_, _| Op::AtMark },
    Kind { name: Name::SoError,    on: 25,  weight: 2,  fit: look::fit,              make: |_, _| Op::SoError },
    Kind { name: Name::Shutdown,   on: 35,  weight: 8,  fit: end::fit_shutdown,      make: end::make_shutdown },
    Kind { name: Name::Dup,        on: 6,   weight: 2,  fit: end::fit_hold,          make: |_, _| Op::Dup },
    Kind { name: Name::Fork,       on: 4,   weight: 2,  fit: end::fit_hold,          make: |_, _| Op::Fork },
    Kind { name: Name::Close,      on: 40,  weight: 6,  fit: end::fit_close,         make: |_, _| Op::Close },
    Kind { name: Name::Abort,      on: 20,  weight: 6,  fit: end::fit_close,         make: |_, _| Op::Abort },
    Kind { name: Name::Destroy,    on: 6,   weight: 4,  fit: end::fit_sever,         make: |_, _| Op::Destroy },
    Kind { name: Name::Disconnect, on: 8,   weight: 5,  fit: end::fit_sever,         make: |_, _| Op::Disconnect },
    Kind { name: Name::Connect,    on: 18,  weight: 10, fit: end::fit_connect,       make: |_, _| Op::Connect },
    Kind { name: Name::Unhash,     on: 5,   weight: 2,  fit: pairing::fit_unhash,    make: |_, _| Op::Unhash },
    Kind { name: Name::Rehash,     on: 5,   weight: 2,  fit: pairing::fit_rehash,    make: |_, _| Op::Rehash },
    Kind { name: Name::Detach,     on: 3,   weight: 1,  fit: pairing::fit_detach,    make: |_, _| Op::Detach },
    Kind { name: Name::Tls,        on: 4,   weight: 2,  fit: pairing::fit_tls,       make: |_, _| Op::Tls },
    Kind { name: Name::Repair,     on: 4,   weight: 2,  fit: pairing::fit_repair,    make: |_, _| Op::Repair },
    // only where somebody sleeps: it makes a scenario that one thread could run need more
    Kind { name: Name::Signal,     on: 60,  weight: 5,  fit: pairing::fit_signal,    make: pairing::make_signal },
    Kind { name: Name::Pause,      on: 3,   weight: 2,  fit: |_| FAIR / 2,           make: look::make_pause },
];

/// What an op that comes alone weighs: as much as one that fits in general.
const FAIR: u32 = 4;

/// In so many percent of the turns a closed endpoint is not avoided.
const CLOSED_TOO: u32 = 1;

/// The next op of one of these lanes; `None` when nothing is left to do.
pub(crate) fn next(
    draw: &mut Draw<'_>,
    swarm: &Swarm,
    model: &Model,
    lanes: &[Lane],
    idle: &[u8],
) -> Option<(u8, Op)> {
    let closed_too = draw.chance(CLOSED_TOO);
    let mut choices = Vec::with_capacity(idle.len() * swarm.kinds.len());
    let mut open = false;
    for &lane in idle {
        let turn = Turn::new(swarm, model, lanes, lane);
        let closed = turn.own().closed;
        for &(at, weight) in &swarm.kinds {
            let kind = &KINDS[at];
            let possible = !closed || kind.name == Name::Connect;
            if possible || closed_too {
                let fits = (kind.fit)(&turn);
                open |= possible && fits > 0;
                choices.push(((lane, kind.make), weight * fits));
            }
        }
    }
    if !open {
        return None;
    }
    let (lane, make) = draw.weighted(&choices)?;
    Some((lane, make(draw, &Turn::new(swarm, model, lanes, lane))))
}

/// An op of this kind.
pub(crate) fn make(name: Name, draw: &mut Draw<'_>, turn: &Turn<'_>) -> Op {
    let kind = KINDS.iter().find(|kind| kind.name == name).expect("every name has a row");
    (kind.make)(draw, turn)
}
