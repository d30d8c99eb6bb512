//! What a socket says about itself while other calls are under way: polls, waits, and queue lengths.

use scenario::history::Outcome;
use scenario::{Invariant, Op, Ready};

use super::{own, shared};
use crate::model::{Call, Model, Snapshot};
use crate::stream::Proof;
use crate::wait;

/// `readiness`, `wakeup`: bits that are reported have a cause, and what was certain when the call began is reported.
pub(super) fn ready(model: &mut Model<'_>, call: Call<'_>, before: &Snapshot) {
    let endpoint = call.record.endpoint;
    let Outcome::Ready(bits) = call.record.outcome else { return };
    let was = &before.sides[endpoint.index()];
    if let Op::Wait { timeout_ms, .. } = call.record.op {
        // poll(2) and select(2) look the descriptor up again whenever they wake, and may find another file (do_select)
        let closes = |op: &Op| matches!(op, Op::Close | Op::Abort | Op::Connect);
        if own(model, call).iter().any(|other| closes(&other.op)) {
            return;
        }
        wait::justified(model, call, bits);
        if bits.is_empty() {
            wait::in_time(model, call, timeout_ms);
        }
        return;
    }
    let side = model.side(endpoint).clone();
    let fin = model.fin_possible(endpoint);
    let shut_rd = side.shut_rd || side.may_shut_rd;
    let shut_wr = side.shut_wr || side.may_shut_wr;
    let stream = model.incoming(endpoint);
    let unread = stream.accepted > before.at[endpoint.peer().index()];
    let unclear = stream.lost_track || stream.broken;
    let no_more = was.shut_rd || was.fin_known || was.dead;
    let complaint = if no_more && !bits.contains(Ready::RDHUP) {
        Some(("no-rdhup", "the receiving side had ended before"))
    } else if was.shut_wr && !bits.contains(Ready::OUT) {
        Some(("no-out-after-end", "a send would fail at once"))
    } else if side.exposed || unclear {
        None
    } else if bits.contains(Ready::RDHUP) && !shut_rd && !fin {
        Some(("rdhup-without-fin", "the peer has not ended its sending side"))
    } else if bits.contains(Ready::HUP) && !(shut_wr && (shut_rd || fin)) {
        Some(("hup-while-open", "not both directions have ended"))
    } else if bits.contains(Ready::ERR) && side.zerocopy_sends == 0 {
        Some(("err-without-cause", "the peer has had no reason to send a reset"))
    } else if bits.contains(Ready::IN) && !(unread || shut_rd || fin) {
        Some(("in-with-nothing-to-read", "every accepted byte was received already"))
    } else if !bits.contains(Ready::IN) && certainly_readable(model, call, before) {
        Some(("no-in-with-bytes-deliverable", "bytes were deliverable and no other call took them"))
    } else {
        None
    };
    if let Some((diagnosis, because)) = complaint {
        model.blame(call, Invariant::Readiness, diagnosis, because);
        return;
    }
    let state = model.side_mut(endpoint);
    state.dead |= bits.contains(Ready::ERR) && side.exposed && side.zerocopy_sends == 0;
    if bits.contains(Ready::RDHUP) && !shut_rd && !side.exposed && fin {
        state.fin_known = true;
        let stream = model.incoming_mut(endpoint);
        let end = stream.accepted;
        stream.arrived(end, Proof::Finished);
    }
}

fn certainly_readable(model: &Model<'_>, call: Call<'_>, before: &Snapshot) -> bool {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint);
    let there = before.known[endpoint.peer().index()].saturating_sub(stream.furthest());
    let lowat = before.sides[endpoint.index()].lowat.max(model.side(endpoint).lowat);
    let set = own(model, call).iter().any(|other| matches!(other.op, Op::Set(_)));
    stream.deliverable() > 0
        && stream.urgent.is_empty()
        && there >= u64::from(lowat)
        && !set
        && !shared(model, call)
}

pub(super) fn counted(model: &mut Model<'_>, call: Call<'_>, before: &Snapshot) {
    let endpoint = call.record.endpoint;
    let Outcome::Value(value) = call.record.outcome else { return };
    let stream = model.incoming(endpoint);
    let odd = stream.broken || stream.lost_track || !stream.urgent.is_empty();
    let most = stream.accepted - before.at[endpoint.peer().index()].min(stream.accepted);
    let there = before.known[endpoint.peer().index()].saturating_sub(stream.furthest());
    let end = stream.at + u64::from(value);
    if odd {
        return;
    }
    if u64::from(value) > most {
        let because = format!("only {most} bytes were accepted and not received yet");
        model.blame(call, Invariant::Inq, "more-than-accepted", &because);
    } else if !shared(model, call) {
        if u64::from(value) < there && model.incoming(endpoint).deliverable() > 0 {
            let because = format!("{there} bytes were deliverable when it began");
            model.blame(call, Invariant::Inq, "less-than-deliverable", &because);
        } else {
            model.incoming_mut(endpoint).arrived(end, Proof::Counted);
        }
    }
}

pub(super) fn unacknowledged(model: &mut Model<'_>, call: Call<'_>, before: &Snapshot) {
    let endpoint = call.record.endpoint;
    let Outcome::Value(value) = call.record.outcome else { return };
    let stream = model.outgoing(endpoint);
    if stream.lost_track {
        return;
    }
    let side = model.side(endpoint);
    let ended = side.shut_wr || side.may_shut_wr || side.may_close || side.may_reset;
    let fin = u64::from(ended);
    let most = stream.accepted - before.acked[endpoint.index()] + fin;
    let sends = own(model, call).iter().any(|other| matches!(other.op, Op::Send { .. }));
    if u64::from(value) > most {
        let because = format!(
            "{} bytes were accepted, {} of them were acknowledged before",
            stream.accepted,
            before.acked[endpoint.index()]
        );
        model.blame(call, Invariant::Outq, "more-than-unacknowledged", &because);
    } else if !sends {
        model.outgoing_mut(endpoint).unacknowledged(value);
    }
}
