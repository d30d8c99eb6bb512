//! Calls that overlap others: what holds whatever the order of their effects.
//!
//! When such a call begins, the model learns what it may do: the bytes of a send may arrive, a shutdown may end the
//! stream, a close may reset it. When it has ended, its result is judged by what was certain when it began (see
//! [`Snapshot`]) and by what was possible until it ended; then the model learns what it has certainly done. A call is
//! judged strictly only against calls that cannot have interfered.

mod looks;

use scenario::history::{Errno, Outcome, Record};
use scenario::{By, Endpoint, How, Invariant, Op, RecvFlags, SockOption};

use crate::calls::{self, recv, send, stuck, time};
use crate::crowd;
use crate::model::{Call, Ending, Model, PeekOff, Signals, Snapshot};
use crate::{overlap, severance, teardown};

/// What a call may do from now on.
pub(crate) fn begin(model: &mut Model<'_>, call: Call<'_>) {
    let record = call.record;
    let endpoint = record.endpoint;
    model.snap(call.index);
    crowd::begin(model, call);
    model.side_mut(endpoint).writable = false;
    match (record.op, &record.outcome) {
        (Op::Send { len, flags, .. }, &Outcome::Value(count)) if count > 0 => {
            let count = count.min(len);
            send::take(model, call, count, flags, false);
            model.outgoing_mut(endpoint).unsure += u64::from(count);
        }
        (Op::Shutdown(how), _) => {
            let side = model.side_mut(endpoint);
            side.may_shut_wr |= how != How::Rd;
            side.may_shut_rd |= how != How::Wr;
        }
        (Op::Close | Op::Abort | Op::Destroy | Op::Disconnect | Op::Connect, _) => {
            let side = model.side_mut(endpoint);
            side.may_close |= matches!(record.op, Op::Close | Op::Connect);
            side.may_reset = true;
        }
        // a close that is under way comes after it, or there would have been nothing left to hold
        (Op::Dup | Op::Fork, Outcome::Value(_)) => model.side_mut(endpoint).more_holders += 1,
        (Op::Set(SockOption::OobInline(true)), _) => model.side_mut(endpoint).oob_inline = true,
        (Op::Set(SockOption::PeekOff(_)), _) => {
            model.side_mut(endpoint).peek_off = PeekOff::Unknown;
        }
        (Op::Recv { flags, .. }, _) => {
            let others = own(model, call).iter().any(|other| matches!(other.op, Op::Recv { .. }));
            model.incoming_mut(endpoint).mark_passed |= flags.contains(RecvFlags::OOB);
            let side = model.side_mut(endpoint);
            if others && side.peek_off != PeekOff::Off {
                side.peek_off = PeekOff::Unknown;
            }
        }
        _ => {}
    }
    model.note_exposure();
}

/// What a call has done.
pub(crate) fn end(model: &mut Model<'_>, call: Call<'_>) {
    let record = call.record;
    calls::expected(model, call);
    time::spin(model, call);
    calls::copy(model, call);
    let Some(before) = model.snapshots.get(&call.index).cloned() else { return };
    if let (Op::Send { .. }, &Outcome::Value(count)) = (record.op, &record.outcome) {
        let stream = model.outgoing_mut(record.endpoint);
        stream.unsure = stream.unsure.saturating_sub(u64::from(count));
    }
    let quiet = model.side(record.endpoint).murky || repaired(model, call);
    match record.outcome {
        Outcome::Stuck => stuck::overlapped(model, call),
        _ if time::interrupted(model, call) => {}
        _ => {
            if record.interrupted {
                stuck::overlapped(model, call);
            }
            dispatch(model, call, &before, quiet);
        }
    }
    if let Op::Recv { len, flags, buffer, by } = record.op {
        recv::pass_mark(model, call, recv::Ask { len, flags, buffer, by });
    }
    model.snapshots.remove(&call.index);
}

fn dispatch(model: &mut Model<'_>, call: Call<'_>, before: &Snapshot, quiet: bool) {
    let record = call.record;
    match record.op {
        Op::Send { len, flags, buffer, by } => {
            let ask = send::Ask { len, flags, buffer, by };
            sent(model, call, before, ask, quiet);
        }
        Op::Recv { len, flags, buffer, by } => {
            let ask = recv::Ask { len, flags, buffer, by };
            received(model, call, before, ask, quiet);
            recv::put_aside(model, call, ask);
        }
        Op::Set(option) => set(model, call, option),
        Op::Poll | Op::Wait { .. } if !quiet => looks::ready(model, call, before),
        Op::Inq if !quiet => looks::counted(model, call, before),
        Op::Outq if !quiet => looks::unacknowledged(model, call, before),
        Op::ErrQueue => send::completions(model, call),
        Op::SoError => so_error(model, call, before, quiet),
        Op::Shutdown(how) => teardown::half_ends(model, call, how),
        Op::Close => closed(model, call, before, false),
        Op::Abort => closed(model, call, before, true),
        Op::Destroy | Op::Disconnect | Op::Connect => severance::judge(model, call),
        _ => {}
    }
}

/// The calls that a call overlaps, on its own socket.
fn own<'a>(model: &Model<'a>, call: Call<'_>) -> Vec<&'a Record> {
    let records = call.beside.iter().map(|&at| &model.history.records[at]);
    records.filter(|other| other.endpoint == call.record.endpoint).collect()
}

/// Whether another call takes bytes out of the same socket meanwhile.
fn shared(model: &Model<'_>, call: Call<'_>) -> bool {
    own(model, call).into_iter().any(overlap::consumes)
}

/// In repair mode a socket sends and receives nothing (`tcp_sendmsg_locked`, `tcp_recvmsg_locked`).
fn repaired(model: &Model<'_>, call: Call<'_>) -> bool {
    let severs = |op: &Op| matches!(op, Op::Repair | Op::Disconnect | Op::Connect | Op::Destroy);
    own(model, call).iter().any(|other| severs(&other.op))
}

/// Whether the call certainly may sleep, or certainly may not.
fn blocks(model: &Model<'_>, call: Call<'_>, before: &Snapshot) -> Option<bool> {
    let changes = |other: &&Record| {
        let option = matches!(
            other.op,
            Op::Set(
                SockOption::NonBlock(_)
                    | SockOption::RcvTimeo(_)
                    | SockOption::SndTimeo(_)
                    | SockOption::RcvLowat(_)
                    | SockOption::PeekOff(_)
            )
        );
        option || other.op == Op::Tls
    };
    let same = before.sides[call.record.endpoint.index()].nonblocking
        == model.side(call.record.endpoint).nonblocking;
    if !same || own(model, call).iter().any(changes) {
        return None;
    }
    Some(!model.nonblocking(call.record))
}

/// Whether nothing may have woken a receive but bytes. In a sockhash whatever else does ends it with `EAGAIN`
/// (`tcp_bpf_recvmsg`).
fn undisturbed(model: &Model<'_>, call: Call<'_>) -> bool {
    let endpoint = call.record.endpoint;
    let harmless = |&at: &usize| {
        let other = &model.history.records[at];
        let looks = matches!(other.op, Op::Poll | Op::Inq | Op::Outq | Op::AtMark);
        looks || other.endpoint != endpoint && matches!(other.op, Op::Send { .. })
    };
    let side = model.side(endpoint);
    let quiet = !side.exposed && model.outgoing(endpoint).accepted == 0;
    quiet && call.signals == Signals::None && call.beside.iter().all(harmless)
}

fn sent(model: &mut Model<'_>, call: Call<'_>, before: &Snapshot, ask: send::Ask, quiet: bool) {
    let endpoint = call.record.endpoint;
    let was = &before.sides[endpoint.index()];
    let side = model.side(endpoint).clone();
    let complaint = match call.record.outcome {
        Outcome::Value(count) if count > ask.len => {
            Some((ask.rule(), "more-than-asked", "it was given fewer bytes"))
        }
        Outcome::Value(0) if ask.len > 0 => {
            Some((ask.rule(), "zero-for-nonzero", "a send of bytes never returns 0"))
        }
        Outcome::Value(count) if count > calls::mapped(ask.buffer, ask.len) => {
            let because = "the buffer is readable for fewer bytes";
            Some((Invariant::SendResult, "accepted-unreadable", because))
        }
        Outcome::Value(1..) if was.shut_wr && !quiet => {
            let because = "the sending side was shut down before, which gives EPIPE";
            Some((Invariant::SendResult, "accepted-after-shut-wr", because))
        }
        Outcome::Value(1..) if was.dead && !quiet => {
            let because = "an earlier call has shown that the connection was reset";
            Some((Invariant::SendToDead, "accepted-after-reset", because))
        }
        Outcome::Errno(Errno::EAGAIN)
            if blocks(model, call, before) == Some(true)
                && side.sndtimeo == 0
                && matches!(ask.by, By::Call | By::Vector(_))
                && !quiet =>
        {
            let because = "it may block and SO_SNDTIMEO is not set";
            Some((Invariant::SendResult, "eagain-while-blocking", because))
        }
        Outcome::Errno(Errno::EPIPE)
            if !side.shut_wr && !side.may_shut_wr && !side.exposed && !quiet =>
        {
            let because = "its sending side is open and the peer has had no reason to send a reset";
            Some((Invariant::SendResult, "epipe-while-open", because))
        }
        Outcome::Errno(Errno::ECONNRESET) if !side.exposed && !quiet => {
            Some((Invariant::Reset, "error-without-cause", "the peer has not sent a reset"))
        }
        _ => None,
    };
    if let Some((invariant, diagnosis, because)) = complaint {
        model.blame(call, invariant, diagnosis, because);
    }
    match call.record.outcome {
        Outcome::Value(count) => {
            if blocks(model, call, before) == Some(true) && !quiet {
                send::short(model, call, ask, count);
            }
            send::eaten(model, call, ask, count);
        }
        Outcome::Errno(Errno::EAGAIN | Errno::EFAULT) => {}
        Outcome::Errno(Errno::EPIPE) if side.shut_wr || side.may_shut_wr => {
            // it may have been the error that the reset left: nobody knows whether it is still there
            let side = model.side_mut(endpoint);
            side.murky |= side.exposed;
            side.send_failed = true;
        }
        Outcome::Errno(errno) => {
            if errno == Errno::EPIPE || errno == Errno::ECONNRESET {
                reported(model, endpoint);
            }
            model.side_mut(endpoint).send_failed = true;
        }
        _ => {}
    }
}

/// `reset`, `reset-once`: what `SO_ERROR` reads is the pending error (`sock_error`), which has a cause and comes once.
fn so_error(model: &mut Model<'_>, call: Call<'_>, before: &Snapshot, quiet: bool) {
    let Outcome::Value(value @ 1..) = call.record.outcome else { return };
    let endpoint = call.record.endpoint;
    let of_reset =
        [Errno::ECONNRESET, Errno::EPIPE].iter().any(|e| u32::try_from(e.0) == Ok(value));
    // one that ends a batch is put aside there, be it that of a signal (do_recvmmsg)
    let batch = |other: &&Record| matches!(other.op, Op::Recv { by: By::Batch(_), .. });
    if of_reset && !quiet && !own(model, call).iter().any(batch) {
        if !model.side(endpoint).exposed {
            let because = "the peer has not sent a reset";
            model.blame(call, Invariant::Reset, "error-without-cause", because);
        } else if before.sides[endpoint.index()].reported {
            let because =
                "the error of this connection had already been returned by an earlier call";
            model.blame(call, Invariant::ResetOnce, "reported-again", because);
        }
    }
    reported(model, endpoint);
}

/// A call has returned the asynchronous error, if that is what it was.
fn reported(model: &mut Model<'_>, endpoint: Endpoint) {
    let side = model.side_mut(endpoint);
    if side.exposed {
        side.reported = true;
        side.error_pending = false;
        side.dead = true;
    }
}

fn received(model: &mut Model<'_>, call: Call<'_>, before: &Snapshot, ask: recv::Ask, quiet: bool) {
    let endpoint = call.record.endpoint;
    if ask.flags.contains(RecvFlags::OOB) {
        if let Outcome::Received { count: 2.., .. } = call.record.outcome
            && !ask.peeks_often()
        {
            let because = "there is never more than one urgent byte";
            model.blame(call, Invariant::Oob, "ordinary-bytes-as-urgent", because);
        }
        if let Outcome::Errno(Errno::ECONNRESET) = call.record.outcome {
            reported(model, endpoint);
        }
        return;
    }
    match &call.record.outcome {
        Outcome::Received { count: 0, .. } if ask.len == 0 || quiet => {}
        Outcome::Received { count: 0, .. } => eof(model, call, ask),
        Outcome::Received { count, data, .. } => {
            severance::afterwards(model, call);
            recv::touched(model, call, ask, *count);
            recv::too_many(model, call, ask, *count);
            if ask.peeks() {
                if !shared(model, call) && model.side(endpoint).peek_off == PeekOff::Off {
                    recv::bytes(model, call, ask, *count, data);
                }
                recv::move_peeks(model, endpoint, ask, *count);
                return;
            }
            let steady = blocks(model, call, before) == Some(true);
            if steady && !quiet && !model.incoming(endpoint).lost_track {
                recv::short(model, call, ask, *count);
            }
            crowd::end(model, call, ask);
        }
        Outcome::Errno(errno) => failed(model, call, before, ask, *errno, quiet),
        _ => {}
    }
}

/// `early-eof`, `reset`, `close-eof`, `half-close`: EOF needs a FIN, an own shutdown, or an error that another call has
/// returned. What was accepted was accepted before the FIN, so that all of it has been received.
fn eof(model: &mut Model<'_>, call: Call<'_>, ask: recv::Ask) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    let stream = model.incoming(endpoint).clone();
    let odd = !stream.urgent.is_empty() || ask.peeks() || stream.lost_track || stream.broken;
    let taken = |record: &&Record| {
        let error = match record.outcome {
            Outcome::Errno(errno) => errno != Errno::EAGAIN && errno != Errno::EINTR,
            Outcome::Value(value) => value != 0 && record.op == Op::SoError,
            _ => matches!(record.op, Op::Recv { by: By::Batch(_), .. }),
        };
        let pieces = matches!(
            record.op,
            Op::Send { by: By::Batch(_) | By::Splice | By::Tee | By::File | By::Uring, .. }
        );
        error || pieces
    };
    let excused = side.shut_rd || side.may_shut_rd || side.reported;
    if odd || excused || own(model, call).iter().any(taken) {
        return;
    }
    if !model.fin_possible(endpoint) {
        let (invariant, diagnosis) = if model.side(endpoint.peer()).may_reset || side.exposed {
            (Invariant::Reset, "eof-instead-of-reset")
        } else {
            (Invariant::EarlyEof, "no-fin")
        };
        let because =
            "the peer has not ended its sending side, and no other call has returned an error";
        model.blame(call, invariant, diagnosis, because);
    } else if !shared(model, call) {
        // a reset excuses nothing (see `teardown::eof`), unless its error may be gone: io_uring forgets it (`io_recv`)
        let uring = |record: &&Record| matches!(record.op, Op::Recv { by: By::Uring, .. });
        let raced = model.side(endpoint.peer()).may_reset || own(model, call).iter().any(uring);
        if stream.rest() > 0 && !(side.exposed && raced) {
            let because = format!(
                "bytes {}..{} were accepted and not received yet",
                stream.at, stream.accepted
            );
            let rule = teardown::eof_rule(model, endpoint);
            model.blame(call, rule, "eof-before-all-bytes", &because);
        } else if !side.exposed {
            model.side_mut(endpoint).fin_known = true;
        }
    }
}

fn failed(
    model: &mut Model<'_>,
    call: Call<'_>,
    before: &Snapshot,
    ask: recv::Ask,
    errno: Errno,
    quiet: bool,
) {
    let endpoint = call.record.endpoint;
    if quiet {
        if errno == Errno::EPIPE || errno == Errno::ECONNRESET {
            reported(model, endpoint);
        }
        return;
    }
    let side = model.side(endpoint).clone();
    let stream = model.incoming(endpoint);
    let known = before.known[endpoint.peer().index()];
    let there = known.saturating_sub(stream.furthest()) > 0
        && stream.deliverable() > 0
        && ask.is_one_call()
        && side.peek_off == PeekOff::Off
        && stream.urgent.is_empty()
        && !shared(model, call);
    let blocks = blocks(model, call, before);
    let complaint = match errno {
        Errno::EAGAIN if there => {
            let rule = ask.rule(Invariant::RecvResult);
            let because = "bytes were deliverable when it began, and no other call took them";
            Some((rule, "eagain-with-bytes-deliverable", because))
        }
        Errno::EAGAIN
            if blocks == Some(true)
                && side.rcvtimeo == 0
                && ask.is_one_call()
                && undisturbed(model, call) =>
        {
            let because = "it may block and SO_RCVTIMEO is not set";
            Some((Invariant::RecvResult, "eagain-while-blocking", because))
        }
        Errno::EFAULT if ask.writable() >= ask.len => {
            let because = "nothing unwritable was to be written";
            Some((ask.rule(Invariant::RecvResult), "efault-on-writable", because))
        }
        Errno::ECONNRESET if !side.exposed => {
            Some((Invariant::Reset, "error-without-cause", "the peer has not sent a reset"))
        }
        Errno::ECONNRESET if there => {
            let because = "bytes were in the receive queue and are handed out first";
            Some((Invariant::Loss, "queued-bytes-lost-at-reset", because))
        }
        Errno::ECONNRESET if before.sides[endpoint.index()].reported => {
            let because =
                "the error of this connection had already been returned by an earlier call";
            Some((Invariant::ResetOnce, "reported-again", because))
        }
        _ => None,
    };
    if let Some((invariant, diagnosis, because)) = complaint {
        model.blame(call, invariant, diagnosis, because);
    } else if errno == Errno::EAGAIN
        && blocks == Some(true)
        && side.rcvtimeo > 0
        && undisturbed(model, call)
    {
        time::expired(model, call, side.rcvtimeo);
    }
    if errno == Errno::EPIPE || errno == Errno::ECONNRESET {
        reported(model, endpoint);
    }
}

/// An option takes effect; of two at once nobody knows which was the last.
fn set(model: &mut Model<'_>, call: Call<'_>, option: SockOption) {
    let endpoint = call.record.endpoint;
    let both = own(model, call).iter().any(|other| matches!(other.op, Op::Set(_)));
    if matches!(call.record.outcome, Outcome::Value(_)) {
        model.set(endpoint, option);
    }
    let side = model.side_mut(endpoint);
    side.murky |= both;
    side.unclear |= both;
    if matches!(option, SockOption::PeekOff(_)) && !call.beside.is_empty() {
        side.peek_off = PeekOff::Unknown;
    }
}

/// A close. A call that is under way on the same socket keeps it open until it returns (`fdget`).
fn closed(model: &mut Model<'_>, call: Call<'_>, before: &Snapshot, abort: bool) {
    let record = call.record;
    let endpoint = record.endpoint;
    let alone = own(model, call).is_empty();
    let ends = |other: &Record| {
        matches!(
            other.op,
            Op::Shutdown(_) | Op::Close | Op::Abort | Op::Destroy | Op::Disconnect | Op::Connect
        )
    };
    // in repair mode a close sends nothing (__tcp_close): the peer is never told
    let untold = repaired(model, call);
    model.side_mut(endpoint.peer()).murky |= untold;
    let met = call.beside.iter().any(|&at| ends(&model.history.records[at]));
    if matches!(record.outcome, Outcome::Errno(_)) {
        return;
    }
    let Some(abort) = teardown::let_go(model, endpoint, abort) else { return };
    let own = model.side(endpoint);
    let exposed = before.sides.iter().any(|side| side.exposed);
    let ended = own.shut_wr || own.may_shut_wr || own.exposed || own.murky;
    let certain = alone && !met && !exposed && !ended;
    if certain && abort && model.side(endpoint.peer()).open() {
        model.side_mut(endpoint.peer()).reset_due = Some(Ending::Abort);
    }
    let side = model.side_mut(endpoint);
    side.ending = Some(if abort && certain { Ending::Abort } else { Ending::Close });
    // a FIN is possible unless this was certainly an abort
    side.may_close |= !abort;
    side.no_fin_before = false;
    if alone {
        let stream = model.outgoing_mut(endpoint.peer());
        stream.before_close = Some(stream.accepted);
    }
}
