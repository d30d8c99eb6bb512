//! `hang`, `dontwait`, `wakeup`: a call that must return, does.
//!
//! `recv(2)`, `send(2)`: `MSG_DONTWAIT` and `O_NONBLOCK` never sleep, and neither do `poll(2)` with timeout 0, the
//! ioctls, the options, `shutdown(2)` and `close(2)` without a linger time. A blocking receive returns once
//! `sock_rcvlowat` bytes are there, at EOF and on an error (`tcp_recvmsg_locked`); a blocking send on an
//! error (`sk_stream_wait_memory`). Whether another blocking call had to return is not known. An interrupted
//! call that had moved bytes would have returned their number, so the model need not change.

use scenario::history::{Outcome, Record};
use scenario::verdict::Doubt;
use scenario::{By, Invariant, Op, Ready, RecvFlags, SockOption, Waiter};

use crate::calls::{recv, time};
use crate::model::{Call, Model, PeekOff};
use crate::overlap;

/// A call does not find what a receive would.
const BLIND: &str = "sleeps-with-bytes-deliverable";

/// What it is called where a call sleeps on beside bytes that has a way of its own to them: it may be blind for them rather
/// than not woken. A peek is, where there is a ring.
fn blind(model: &Model<'_>, flags: RecvFlags, by: By) -> Option<(Invariant, &'static str)> {
    if by.is_piped() {
        Some((Invariant::SpliceFile, BLIND))
    } else if flags.contains(RecvFlags::PEEK) && model.its().pairing.is_paired() {
        Some((Invariant::Peek, BLIND))
    } else {
        None
    }
}

/// A call that no other overlapped.
pub(crate) fn judge(model: &mut Model<'_>, call: Call<'_>) {
    let record = call.record;
    if model.side(record.endpoint).murky {
        return;
    }
    if model.nonblocking(record) {
        let (invariant, diagnosis) = match record.op {
            Op::Send { .. } => (Invariant::Dontwait, "send-slept"),
            Op::Recv { flags, .. } if flags.contains(RecvFlags::OOB) => {
                (Invariant::Dontwait, "urgent-recv-slept")
            }
            Op::Recv { .. } => (Invariant::Dontwait, "recv-slept"),
            _ => (Invariant::Hang, "call-did-not-return"),
        };
        model.blame(call, invariant, diagnosis, "it must not sleep");
        return;
    }
    if limits(model, call) {
        return;
    }
    match due(model, call) {
        Some((rule, diagnosis, because)) => model.blame(call, rule, diagnosis, because),
        None => model.doubt(Doubt::CallStillWaiting),
    }
}

/// A receive that no other call overlapped, and that returned something only after it had been interrupted: that is
/// what a signal brings about (`tcp_recvmsg_locked` looks once more), and nobody had woken it.
pub(crate) fn slept_on(model: &mut Model<'_>, call: Call<'_>) {
    if !call.record.interrupted || model.side(call.record.endpoint).murky {
        return;
    }
    if let (Op::Recv { .. }, Some((rule, diagnosis, because))) = (call.record.op, due(model, call))
    {
        let because = format!("it slept until it was interrupted, although {because}");
        model.blame(call, rule, diagnosis, &because);
    }
}

/// Why a call had to return at once, and the rule that it breaks otherwise.
fn due(model: &Model<'_>, call: Call<'_>) -> Option<(Invariant, &'static str, &'static str)> {
    let record = call.record;
    let side = model.side(record.endpoint);
    let deliverable = model.incoming(record.endpoint).deliverable();
    match record.op {
        Op::Recv { len, flags, by, .. } => {
            let all = flags.contains(RecvFlags::WAITALL);
            let target = if all { len } else { side.lowat.min(len) };
            let moved_peek = flags.contains(RecvFlags::PEEK) && side.peek_off != PeekOff::Off;
            if deliverable >= u64::from(target.max(1))
                && !model.incoming(record.endpoint).urgent_ahead()
                && !moved_peek
            {
                let otherwise = (Invariant::Hang, "recv-with-bytes-deliverable");
                let (rule, diagnosis) = blind(model, flags, by).unwrap_or(otherwise);
                Some((rule, diagnosis, "enough bytes were deliverable"))
            } else if side.fin_known || side.shut_rd {
                Some((Invariant::Hang, "recv-at-eof", "there was nothing more to wait for"))
            } else if side.dead {
                Some((Invariant::Hang, "recv-after-reset", "the connection was reset"))
            } else {
                None
            }
        }
        Op::Send { .. } if side.shut_wr || side.dead => {
            Some((Invariant::Hang, "send-after-end", "the sending side was shut down"))
        }
        _ => None,
    }
}

/// Whether what a poll reported is bytes, and certainly no end, error or urgent byte.
fn has_bytes(reported: Ready) -> bool {
    let other = Ready::RDHUP | Ready::HUP | Ready::ERR | Ready::PRI;
    reported.contains(Ready::IN) && !reported.intersects(other)
}

/// `timeout`: a call with a time limit of its own outlasts it. True if it has one.
fn limits(model: &mut Model<'_>, call: Call<'_>) -> bool {
    let side = model.side(call.record.endpoint);
    let limit = match call.record.op {
        Op::Wait { timeout_ms, .. } => timeout_ms,
        // io_uring(7) waits by polling, without a look at the time limits of the socket
        Op::Recv { by: By::Uring, .. } | Op::Send { by: By::Uring, .. } => 0,
        Op::Recv { .. } => side.rcvtimeo,
        Op::Send { .. } => side.sndtimeo,
        Op::Connect | Op::Destroy | Op::Pause(_) => return true,
        _ => 0,
    };
    if limit > 0 && time::is_late(call, limit) {
        let because = format!("its time limit is {limit} ms");
        let lasted = time::lasted_ms(call);
        let because = format!("{because} and it slept for {lasted} ms");
        model.blame(call, Invariant::Timeout, "extended", &because);
    }
    limit > 0
}

/// How long a call that could go on may take to do so.
fn settle_ns(model: &Model<'_>) -> u64 {
    u64::from(model.history.bounds.settle_ms) * 1_000_000
}

/// Whether calls on the same socket may have taken what a call waited for, or changed how it waits.
fn is_undecided(model: &Model<'_>, call: Call<'_>) -> bool {
    let record = call.record;
    let for_room = match record.op {
        Op::Wait { events, .. } => events.intersects(Ready::OUT | Ready::WRNORM),
        op => matches!(op, Op::Send { .. }),
    };
    let own = call.beside.iter().map(|&at| &model.history.records[at]);
    own.filter(|other| other.endpoint == record.endpoint).any(|other| match other.op {
        // it goes the other way: it takes room only, and lets go of the socket when it sleeps (sk_stream_wait_memory)
        Op::Send { .. } => {
            let sleeps = other.outcome == Outcome::Stuck || other.interrupted;
            for_room || !sleeps && other.return_ns + settle_ns(model) > record.return_ns
        }
        Op::Set(option) => !matches!(option, SockOption::NoDelay(_) | SockOption::Cork(_)),
        Op::Poll | Op::Inq | Op::Outq | Op::AtMark | Op::Wait { .. } | Op::Shutdown(_) => false,
        Op::Recv { .. } => overlap::consumes(other),
        _ => true,
    })
}

/// `wakeup`: a call that others overlapped slept on although what it waited for was there: another call has said so
/// at least `settle_ms` before the end. Without that it was rightly left blocked. Once interrupted it may have returned
/// what was there.
pub(crate) fn overlapped(model: &mut Model<'_>, call: Call<'_>) {
    let record = call.record;
    let side = model.side(record.endpoint).clone();
    if side.murky || record.lane.is_none() || limits(model, call) {
        return;
    }
    let beside = || call.beside.iter().map(|&at| &model.history.records[at]);
    let own = || beside().filter(|other| other.endpoint == record.endpoint);
    let settle = settle_ns(model);
    let early = |other: &&Record| {
        other.call_ns >= record.call_ns && other.return_ns + settle <= record.return_ns
    };
    let told: Vec<&Record> = own().filter(early).collect();
    let reported = told.iter().fold(Ready::empty(), |all, other| match other.outcome {
        Outcome::Ready(bits) if other.op == Op::Poll => all | bits,
        _ => all,
    });
    let counted = told.iter().filter_map(|other| match (&other.op, &other.outcome) {
        (Op::Inq, Outcome::Value(count)) => Some(*count),
        _ => None,
    });
    let counted = counted.max().unwrap_or(0);
    if is_undecided(model, call) || !model.incoming(record.endpoint).urgent.is_empty() {
        return;
    }
    let mut rule = Invariant::Wakeup;
    let diagnosis = match record.op {
        Op::Recv { len, flags, buffer, by } => {
            let ask = recv::Ask { len, flags, buffer, by };
            let all = flags.contains(RecvFlags::WAITALL);
            let target = if all { len } else { side.lowat.min(len) }.max(1);
            // a full batch needs all of its messages, and io_uring(7) waits in its own way
            let plain = ask.is_one_call() && side.peek_off == PeekOff::Off;
            if by.is_piped() && record.outcome == Outcome::Stuck && has_bytes(reported) {
                let because = "a poll while it slept has reported bytes";
                model.blame(call, Invariant::SpliceFile, BLIND, because);
            }
            // tcp_data_ready() wakes nobody below it, however little the receive asks for
            let enough =
                counted >= target.max(side.lowat) || target == 1 && reported.contains(Ready::IN);
            if !plain || flags.contains(RecvFlags::OOB) {
                return;
            } else if reported.intersects(Ready::RDHUP | Ready::ERR) && side.zerocopy_sends == 0 {
                "recv-sleeps-at-end"
            } else if enough {
                rule = blind(model, flags, by).map_or(rule, |(rule, _)| rule);
                if rule == Invariant::Wakeup { "recv-sleeps-with-bytes-deliverable" } else { BLIND }
            } else {
                return;
            }
        }
        Op::Wait { events, by: Waiter::Poll | Waiter::Epoll | Waiter::EpollOneshot, .. }
            if reported.intersects(events | Ready::ERR | Ready::HUP) =>
        {
            "wait-sleeps-while-ready"
        }
        // one that moved a part may have used the room and sleep for more
        Op::Send { by: By::Call | By::Vector(_), .. }
            if record.outcome == Outcome::Stuck && reported.intersects(Ready::HUP | Ready::OUT) =>
        {
            "send-sleeps-with-room"
        }
        _ => return,
    };
    let because = "a poll or SIOCINQ while it slept has reported what it waited for";
    model.blame(call, rule, diagnosis, because);
}
