//! `disconnect`, and what else severs a connection without closing its socket.
//!
//! Sources: `tcp_disconnect`, `tcp_abort`, `__inet_stream_connect`.

use scenario::history::{Errno, Outcome};
use scenario::{Endpoint, Invariant, Op};

use crate::model::{Call, Ending, Model};

const EISCONN: Errno = Errno(106);

/// `connect(AF_UNSPEC)` and `SOCK_DESTROY` send a reset and leave the socket without a connection; a `connect(2)` begins
/// another connection, and may close what is left of the one before.
pub(crate) fn judge(model: &mut Model<'_>, call: Call<'_>) {
    let endpoint = call.record.endpoint;
    let done = matches!(call.record.outcome, Outcome::Value(_));
    match call.record.op {
        Op::Destroy | Op::Disconnect if done => {
            let own = model.side(endpoint).clone();
            let peer = model.side(endpoint.peer());
            let certain = call.beside.is_empty() && !own.shut_wr && !own.exposed && !own.murky;
            if certain && !peer.exposed && !peer.murky && peer.open() {
                model.side_mut(endpoint.peer()).reset_due = Some(Ending::Abort);
            }
            let side = model.side_mut(endpoint);
            side.may_reset = true;
            side.murky = true;
            side.disconnected |= call.record.op == Op::Disconnect && call.beside.is_empty();
        }
        Op::Destroy => {}
        // the socket had a connection still, and nothing was done
        Op::Connect if call.record.outcome == Outcome::Errno(EISCONN) => {}
        Op::Disconnect => {
            refused(model, call);
            model.side_mut(endpoint).murky = true;
        }
        _ => Endpoint::BOTH.into_iter().for_each(|end| give_up(model, end)),
    }
}

/// `disconnect`: `connect(AF_UNSPEC)` succeeds in every state (`tcp_disconnect`), but for a socket with TLS
/// (`tls_disconnect`).
fn refused(model: &mut Model<'_>, call: Call<'_>) {
    let tls = model.scenario.steps.iter().any(|step| step.op == Op::Tls);
    if matches!(call.record.outcome, Outcome::Errno(_)) && call.beside.is_empty() && !tls {
        let because = "it succeeds whatever became of the connection";
        model.blame(call, Invariant::Disconnect, "disconnect-fails", because);
    }
}

pub(crate) fn give_up(model: &mut Model<'_>, endpoint: Endpoint) {
    let side = model.side_mut(endpoint);
    side.murky = true;
    side.may_close = true;
    side.may_reset = true;
    side.disconnected = false;
}

/// `disconnect`: after it, no bytes: the receive queue was purged, and a send has nobody to send to (`EPIPE`,
/// `sk_stream_wait_connect`).
pub(crate) fn afterwards(model: &mut Model<'_>, call: Call<'_>) {
    if !model.side(call.record.endpoint).disconnected {
        return;
    }
    match (call.record.op, &call.record.outcome) {
        (Op::Recv { .. }, Outcome::Received { count: 1.., .. }) => {
            let because = "the socket had been disconnected";
            model.blame(call, Invariant::Disconnect, "bytes-after-disconnect", because);
        }
        (Op::Send { .. }, Outcome::Value(1..)) => {
            let because = "the socket had been disconnected, which gives EPIPE";
            model.blame(call, Invariant::Disconnect, "accepted-after-disconnect", because);
        }
        _ => {}
    }
}
