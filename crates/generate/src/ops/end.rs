//! Ops that end a connection, hold it, or make a new one.

use scenario::{Endpoint, How, Op, limits};

use super::Turn;
use crate::draw::Draw;

/// Ends come late, so that something was under way before and something can still follow.
pub(super) fn fit_shutdown(turn: &Turn<'_>) -> u32 {
    let end = turn.own();
    match turn.model.progress {
        0..25 => 0,
        _ if end.reset || end.severed => 0,
        _ if end.shut_wr || end.shut_rd => 1,
        _ => 3,
    }
}

pub(super) fn make_shutdown(draw: &mut Draw<'_>, _: &Turn<'_>) -> Op {
    Op::Shutdown(draw.pick(&[How::Wr, How::Wr, How::Rd, How::Rdwr]))
}

pub(super) fn fit_hold(turn: &Turn<'_>) -> u32 {
    let held = usize::try_from(turn.own().ever_held).unwrap_or(usize::MAX);
    if held + 2 > limits::HOLDERS { 0 } else { 3 }
}

/// A close that leaves a holder is worth trying at any time.
pub(super) fn fit_close(turn: &Turn<'_>) -> u32 {
    if turn.own().further_holders > 0 {
        return 6;
    }
    // a pair that is to come back goes early enough for something to follow
    let soon = if turn.swarm.reconnects { 15 } else { 40 };
    let rest = Endpoint::BOTH.iter().any(|e| *e != turn.endpoint && !turn.pair.end(*e).closed);
    match turn.model.progress {
        progress if progress < soon => 0,
        // the scenario is over with it, unless the client may come back
        0..85 if !rest && !turn.swarm.reconnects && turn.model.pairs.len() == 1 => 0,
        _ => 3,
    }
}

pub(super) fn fit_sever(turn: &Turn<'_>) -> u32 {
    let end = turn.own();
    let soon = if turn.swarm.reconnects { 15 } else { 40 };
    match turn.model.progress {
        progress if progress < soon => 0,
        _ if end.reset || end.severed => 0,
        _ => 3,
    }
}

/// The client connects again once it is closed or disconnected.
pub(super) fn fit_connect(turn: &Turn<'_>) -> u32 {
    let most = u32::try_from(limits::CONNECTIONS).unwrap_or(u32::MAX);
    if turn.endpoint == Endpoint::Server || turn.model.connections >= most {
        return 0;
    }
    let end = turn.own();
    // its socket is not gone while somebody sleeps in a call on it
    if (end.closed || end.severed) && !end.lingers { 12 } else { 0 }
}
