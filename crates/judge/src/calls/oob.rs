//! `oob`: `recv(MSG_OOB)` gives the urgent byte or an error, never an ordinary byte.
//!
//! Source: `tcp_recv_urg`. Without urgent data `EINVAL`; with the mark ahead of its byte `EAGAIN`, or 0 once the
//! receiving side has ended; `ENOTCONN` on a closed connection that had no FIN. It neither blocks nor
//! reports the asynchronous error. Once the byte has arrived (`tcp_urg`) it stays until it is taken or passed. A socket in a sockhash gets `EAGAIN` from an empty queue before any
//! of that (`tcp_bpf_recvmsg`).

use scenario::history::{Errno, Outcome};
use scenario::payload::{self, Run};
use scenario::{Invariant, RecvFlags};

use crate::calls::recv::Ask;
use crate::model::{Call, Model};

pub(crate) fn judge(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    if model.side(call.record.endpoint).inline_now && ask.is_one_call() {
        return inline(model, call, ask);
    }
    let stream = model.incoming(call.record.endpoint);
    // what had arrived while it was on is an ordinary byte
    if stream.lost_track || model.side(call.record.endpoint).oob_inline {
        return;
    }
    let before = model.complaints;
    let none = stream.urgent.is_empty();
    let waits = stream.urgent_waits() && ask.len > 0;
    match &call.record.outcome {
        Outcome::Received { count, data, .. } => {
            let most = if ask.peeks_often() { u32::MAX } else { ask.len.min(1) };
            if *count > most {
                let because = "there is never more than one urgent byte";
                model.blame(call, Invariant::Oob, "ordinary-bytes-as-urgent", because);
            } else if *count > 0 {
                urgent(model, call, ask, data);
            } else if none && ask.len > 0 {
                let because = "no urgent byte was ever sent, which gives EINVAL";
                model.blame(call, Invariant::Oob, "eof-for-urgent", because);
            }
        }
        Outcome::Errno(Errno::EINVAL | Errno::EAGAIN) if waits => {
            let because = "the urgent byte has arrived and was not received yet";
            model.blame(call, Invariant::Oob, "urgent-byte-missing", because);
        }
        Outcome::Errno(Errno::EINVAL) => {}
        Outcome::Errno(Errno::EAGAIN) if !none || stream.deliverable() == 0 => {}
        Outcome::Errno(Errno::EAGAIN) => {
            let because = "ordinary bytes are queued and no urgent one, which gives EINVAL";
            model.blame(call, Invariant::Oob, "eagain-for-urgent", because);
        }
        Outcome::Errno(Errno::ENOTCONN | Errno::EFAULT) if !none => {}
        Outcome::Errno(_) => {
            let because = "TCP never gives this error for urgent data";
            model.blame(call, Invariant::Oob, "unexpected-errno", because);
        }
        _ => {}
    }
    if !ask.peeks() {
        let took_others = model.complaints > before
            && matches!(call.record.outcome, Outcome::Received { count: 1.., .. });
        let stream = model.incoming_mut(call.record.endpoint);
        stream.mark_passed = true;
        // nobody knows which ordinary bytes are gone
        stream.lost_track |= took_others;
    }
}

/// With `SO_OOBINLINE` the urgent byte is an ordinary one, and `MSG_OOB` gives `EINVAL` before anything else is looked at
/// (`tcp_recv_urg`), or what a socket in a sockhash makes of an empty queue and of no room.
fn inline(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    let empty = model.incoming(call.record.endpoint).deliverable() == 0;
    let right = match &call.record.outcome {
        Outcome::Errno(Errno::EINVAL) => true,
        Outcome::Errno(Errno::EAGAIN) => empty,
        Outcome::Received { count, .. } => *count == 0 && ask.len == 0,
        _ => false,
    };
    if !right {
        let because = "with SO_OOBINLINE there is no urgent byte apart, which gives EINVAL";
        model.blame(call, Invariant::Oob, "urgent-although-inline", because);
    }
}

/// What it returned is the urgent byte, however often.
fn urgent(model: &mut Model<'_>, call: Call<'_>, ask: Ask, data: &[Run]) {
    if ask.flags.contains(RecvFlags::TRUNC) && call.record.touched > 0 {
        let because = "MSG_TRUNC leaves the buffer alone and it was written";
        model.blame(call, Invariant::Trunc, "wrote-to-buffer", because);
    }
    let stream = model.incoming(call.record.endpoint);
    if ask.flags.contains(RecvFlags::TRUNC) && !stream.urgent.is_empty() {
        return;
    }
    let value = |source, offset| {
        let mut byte = [0];
        payload::fill(stream.key, source, offset, &mut byte);
        byte[0]
    };
    let is_known = |got| stream.urgent.iter().any(|&at| value(stream.source, at) == got);
    let known = |run: &Run| match run {
        Run::Raw(bytes) => bytes.iter().all(|&got| is_known(got)),
        Run::Coded { stream: source, offset, len } => {
            (*offset..).take(*len as usize).all(|offset| is_known(value(*source, offset)))
        }
    };
    let known = !data.is_empty() && data.iter().all(known);
    if !known && !stream.fuzzy {
        let because = if stream.urgent.is_empty() {
            "no urgent byte was ever sent"
        } else {
            "the byte is none of those that were sent as urgent"
        };
        model.blame(call, Invariant::Oob, "ordinary-bytes-as-urgent", because);
    }
}

/// `SIOCATMARK` says whether the urgent byte is the next one (`tcp_ioctl`), be it taken already or not.
pub(crate) fn at_mark(model: &mut Model<'_>, call: Call<'_>) {
    let stream = model.incoming(call.record.endpoint);
    let Outcome::Value(value) = call.record.outcome else { return };
    let (at, end) = (stream.at, stream.furthest());
    let near = stream.urgent.iter().any(|mark| (at..=end).contains(mark));
    let arrived = |mark| mark < stream.known.min(stream.acked);
    let complaint = if value > 0 && stream.urgent.is_empty() && !stream.lost_track {
        Some(("mark-without-urgent", "no urgent byte was ever sent"))
    } else if value > 0 && stream.has_exact_marks() && !near {
        Some(("mark-elsewhere", "the next byte is not an urgent one"))
    } else if value == 0 && stream.mark() == Some(at) && arrived(at) {
        Some(("mark-missing", "the next byte is the urgent one, which has arrived"))
    } else {
        None
    };
    if let Some((diagnosis, because)) = complaint {
        model.blame(call, Invariant::Oob, diagnosis, because);
    }
}
