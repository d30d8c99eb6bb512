//! Ops that change the pairing under way, and signals.

use scenario::Op;

use super::Turn;
use crate::draw::Draw;

/// The socket has to be in the SOCKHASH, where the kernel removes what is closed.
pub(super) fn fit_unhash(turn: &Turn<'_>) -> u32 {
    let end = turn.own();
    if end.unhashed || end.reset || end.severed { 0 } else { 4 }
}

/// The map takes established sockets only (`sock_map_sk_state_allowed()`).
pub(super) fn fit_rehash(turn: &Turn<'_>) -> u32 {
    let end = turn.own();
    if end.reset || end.severed || end.shut_wr || end.shut_rd || end.ulp { 0 } else { 4 }
}

pub(super) fn fit_detach(turn: &Turn<'_>) -> u32 {
    if turn.model.detached { 0 } else { 3 }
}

/// `tls_init()` wants an established socket without another protocol on top.
pub(super) fn fit_tls(turn: &Turn<'_>) -> u32 {
    let (own, peer) = (turn.own(), turn.peer());
    let established = !own.reset && !own.severed && !own.shut_wr && !peer.shut_wr && !peer.closed;
    if own.ulp || !established { 0 } else { 4 }
}

pub(super) fn fit_repair(turn: &Turn<'_>) -> u32 {
    if turn.own().reset || turn.own().severed || turn.own().shut_wr { 0 } else { 4 }
}

pub(super) fn fit_signal(turn: &Turn<'_>) -> u32 {
    if turn.model.sleepers.iter().any(|sleeper| sleeper.lane != turn.lane) { 4 } else { 0 }
}

pub(super) fn make_signal(draw: &mut Draw<'_>, turn: &Turn<'_>) -> Op {
    let sleepers: Vec<u8> = turn.model.sleepers.iter().map(|sleeper| sleeper.lane).collect();
    let lane = match sleepers.as_slice() {
        [] => draw.index(turn.lanes.len()).try_into().expect("there are few lanes"),
        some => draw.pick(some),
    };
    Op::Signal { lane, restart: draw.chance(40) }
}
