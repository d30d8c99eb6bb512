//! `wakeup`, `timeout`, `readiness`: what `poll(2)`, `select(2)` and `epoll(7)` wait for and report.
//!
//! Sources: `tcp_poll`, `ep_poll`, `do_select`, `do_poll`. `select(2)` shows `POLLHUP` and `POLLERR` as readable, and
//! `POLLERR` as writable.

use scenario::history::Outcome;
use scenario::{Invariant, Op, Ready, Waiter};

use crate::calls::time;
use crate::describe;
use crate::model::{Call, Model};
use crate::readiness;

/// Judges a wait that no other call overlaps.
pub(crate) fn judge(model: &mut Model<'_>, call: Call<'_>) {
    let (Op::Wait { events, timeout_ms, by }, Outcome::Ready(bits)) =
        (call.record.op, &call.record.outcome)
    else {
        return;
    };
    let bits = *bits;
    justified(model, call, bits);
    if bits.is_empty() {
        in_time(model, call, timeout_ms);
        missed(model, call, events, by);
    }
    let tells_end = events.contains(Ready::RDHUP) && by != Waiter::Select;
    if tells_end || !model.fin_possible(call.record.endpoint) {
        let side = model.side(call.record.endpoint);
        if by != Waiter::Select && !side.exposed && !side.shut_rd {
            readiness::learn(model, call.record.endpoint, bits);
        }
    }
    model.side_mut(call.record.endpoint).writable = false;
}

/// What a wait reports has been asked for, or is `POLLERR` or `POLLHUP`, and has a cause.
pub(crate) fn justified(model: &mut Model<'_>, call: Call<'_>, bits: Ready) {
    let Op::Wait { events, .. } = call.record.op else { return };
    let endpoint = call.record.endpoint;
    let asked = same(events) | Ready::ERR | Ready::HUP;
    if !asked.contains(bits) {
        let because = format!("it waited for {}", describe::ready(events));
        model.blame(call, Invariant::Readiness, "unasked-events", &because);
        return;
    }
    let start = model.snapshots.get(&call.index).map(|s| s.at[endpoint.peer().index()]);
    let side = model.side(endpoint);
    let stream = model.incoming(endpoint);
    let shut_rd = side.shut_rd || side.may_shut_rd;
    let shut_wr = side.shut_wr || side.may_shut_wr;
    let fin = model.fin_possible(endpoint);
    let unread = stream.accepted > start.unwrap_or(stream.at);
    let complaint = if side.exposed || stream.lost_track || stream.broken {
        None
    } else if bits.contains(Ready::ERR) && side.zerocopy_sends == 0 {
        Some((
            Invariant::Readiness,
            "err-without-cause",
            "the peer has had no reason to send a reset",
        ))
    } else if bits.contains(Ready::HUP) && !(shut_wr && (shut_rd || fin)) {
        Some((Invariant::Readiness, "hup-while-open", "not both directions have ended"))
    } else if bits.contains(Ready::RDHUP) && !(shut_rd || fin) {
        Some((Invariant::Readiness, "rdhup-without-fin", "the peer has not ended its sending side"))
    } else if bits.contains(Ready::PRI) && stream.urgent.is_empty() {
        Some((Invariant::Oob, "pri-without-urgent", "no urgent byte was ever sent"))
    } else if bits.intersects(Ready::IN | Ready::RDNORM)
        && !(unread || shut_rd || fin || side.zerocopy_sends > 0)
    {
        let because = "every accepted byte was received already and no end is possible";
        Some((Invariant::Readiness, "in-with-nothing-to-read", because))
    } else {
        None
    };
    if let Some((invariant, diagnosis, because)) = complaint {
        model.blame(call, invariant, diagnosis, because);
    }
}

/// `POLLIN` and `POLLRDNORM` come together, and so do `POLLOUT` and `POLLWRNORM`.
fn same(mut events: Ready) -> Ready {
    for pair in [Ready::IN | Ready::RDNORM, Ready::OUT | Ready::WRNORM] {
        if events.intersects(pair) {
            events |= pair;
        }
    }
    events
}

/// `timeout`: a wait that reports nothing has waited, and not for ever.
pub(crate) fn in_time(model: &mut Model<'_>, call: Call<'_>, timeout_ms: u32) {
    let lasted = time::lasted_ms(call);
    if time::is_early(call, timeout_ms) {
        let because = format!("it was to wait for {timeout_ms} ms and lasted {lasted} ms");
        model.blame(call, Invariant::Timeout, "wait-returns-early", &because);
    } else if time::is_late(call, timeout_ms) {
        let because = format!("it was to wait for {timeout_ms} ms only and lasted {lasted} ms");
        model.blame(call, Invariant::Timeout, "wait-outlasts-timeout", &because);
    }
}

/// `wakeup`: a wait reports what was certainly there when it began.
///
/// Not an edge-triggered one, which may have reported it before.
fn missed(model: &mut Model<'_>, call: Call<'_>, events: Ready, by: Waiter) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint);
    let stream = model.incoming(endpoint);
    let ended = side.shut_rd || side.fin_known || side.dead;
    let readable = ended || stream.deliverable() >= u64::from(side.lowat);
    let own = model.outgoing(endpoint);
    let writable = side.shut_wr
        || side.dead
        || own.acked == own.accepted && !own.lost_track && own.unsure == 0;
    let events = same(events);
    let because = if by == Waiter::EpollEdge {
        return;
    } else if events.contains(Ready::IN) && readable {
        "a receive would have returned at once"
    } else if events.contains(Ready::OUT) && writable {
        "a send would have returned at once"
    } else if events.contains(Ready::RDHUP) && ended && by != Waiter::Select {
        "the receiving side had ended"
    } else {
        return;
    };
    model.blame(call, Invariant::Wakeup, "wait-missed-readiness", because);
}
