//! `send-result`, `send-to-dead`, `zero-length`, `backpressure`: what `send(2)` returns.
//!
//! Sources: `send(2)`, `tcp_sendmsg_locked`, `sk_stream_error`, `sk_stream_wait_connect`.

use scenario::history::{At, Errno, Outcome};
use scenario::{Buffer, By, Invariant, Op, SendFlags};

use crate::calls::{mapped, time};
use crate::model::{Call, Ending, Model, Signals};

const ENOBUFS: Errno = Errno(105);
const ETIMEDOUT: Errno = Errno(110);

/// What `send(2)` was asked.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) len: u32,
    pub(crate) flags: SendFlags,
    pub(crate) buffer: Buffer,
    pub(crate) by: By,
}

impl Ask {
    /// The rule that a wrong result counts against.
    pub(crate) fn rule(self) -> Invariant {
        match self.by {
            By::Call | By::Uring => Invariant::SendResult,
            By::Vector(_) | By::Batch(_) => Invariant::Vectored,
            By::Splice | By::Tee | By::File => Invariant::SpliceFile,
        }
    }
}

pub(crate) fn judge(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    match call.record.outcome {
        Outcome::Value(count) => accepted(model, call, ask, count),
        Outcome::Errno(errno) => failed(model, call, ask, errno),
        _ => {}
    }
}

fn accepted(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    let readable = mapped(ask.buffer, ask.len);
    let complaint = if count > ask.len {
        Some((ask.rule(), "more-than-asked", "it was given fewer bytes"))
    } else if count == 0 && ask.len > 0 {
        Some((ask.rule(), "zero-for-nonzero", "a send of bytes never returns 0"))
    } else if count > readable {
        let because = "the buffer is readable for fewer bytes";
        Some((Invariant::SendResult, "accepted-unreadable", because))
    } else if count == 0 && ask.by != By::Call {
        // sendfile(2) and splice(2) of no bytes do not ask the socket
        None
    } else if side.shut_wr {
        let because = "the sending side was shut down before, which gives EPIPE";
        Some((Invariant::SendResult, "accepted-after-shut-wr", because))
    } else if side.dead {
        let because = "an earlier call has shown that the connection was reset";
        Some((Invariant::SendToDead, "accepted-after-reset", because))
    } else {
        None
    };
    if let Some((invariant, diagnosis, because)) = complaint {
        model.blame(call, invariant, diagnosis, because);
    }
    take(model, call, count.min(ask.len), ask.flags, true);
    // its own bytes may have met a closed peer
    model.note_exposure();
    if !model.nonblocking(call.record) {
        short(model, call, ask, count);
    }
    backpressure(model, call);
    eaten(model, call, ask, count);
}

/// `send-result`: a send that may block takes everything (`send(2)`). What ends it early is an error, a shutdown, a time
/// limit, a signal, or memory that it cannot read (`tcp_sendmsg_locked`, `sk_stream_wait_memory`); without memory of the
/// kernel's it waits.
pub(crate) fn short(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let record = call.record;
    let side = model.side(record.endpoint);
    let bound = u64::from(model.history.bounds.call_ms) * 4 / 5;
    let interrupted =
        record.interrupted || call.signals != Signals::None || time::lasted_ms(call) >= bound;
    let ended = side.shut_wr || side.may_shut_wr || side.exposed || side.dead || side.murky;
    let plain = matches!(ask.by, By::Call | By::Vector(_))
        && ask.buffer == Buffer::Mapped
        && !ask.flags.contains(SendFlags::ZEROCOPY);
    let lossy = model.wire.loss_permille > 0;
    if (1..ask.len).contains(&count)
        && plain
        && side.sndtimeo == 0
        && !interrupted
        && !ended
        && !lossy
    {
        let because = "it may block, and there is no end, error, signal or time limit";
        model.blame(call, Invariant::SendResult, "short-without-reason", because);
    }
}

/// A send of several pieces that ends early may have met an error, which `sendmmsg(2)`, `splice(2)` and `sendfile(2)`
/// swallow once bytes were moved (`__sys_sendmmsg`, `splice_to_socket`).
pub(crate) fn eaten(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let side = model.side_mut(call.record.endpoint);
    let pieces = matches!(ask.by, By::Batch(_) | By::Splice | By::Tee | By::File);
    side.murky |= pieces && count < ask.len && side.exposed;
}

/// The socket has accepted bytes; `sure` where no other call overlaps.
pub(crate) fn take(
    model: &mut Model<'_>,
    call: Call<'_>,
    count: u32,
    flags: SendFlags,
    sure: bool,
) {
    let record = call.record;
    let endpoint = record.endpoint;
    let held = model.side(endpoint).corked || flags.contains(SendFlags::MORE);
    let blocking = !model.nonblocking(record);
    let urgent = flags.contains(SendFlags::OOB);
    let stream = model.outgoing_mut(endpoint);
    stream.accept(u64::from(count), urgent, blocking, held);
    // each message of a batch has an urgent byte of its own
    let several = matches!(record.op, Op::Send { by: By::Batch(2..), .. });
    let unclear = !sure || several || stream.braid.is_some();
    stream.lost_track |= urgent && count > 0 && unclear;
    if let Some(braid) = &mut stream.braid
        && count > 0
    {
        braid.accept(record, count.into(), held);
    }
    let peer_open = model.side(endpoint.peer()).open();
    let side = model.side_mut(endpoint);
    if !peer_open {
        side.sent_to_closed += u64::from(count);
    }
    if count > 0 && flags.contains(SendFlags::ZEROCOPY) {
        let by = match record.op {
            Op::Send { by, .. } => Some(by),
            _ => None,
        };
        let messages = if let Some(By::Batch(n)) = by { u32::from(n) } else { 1 };
        side.zerocopy_sends += messages;
        // without SO_ZEROCOPY the flag means nothing; io_uring and splice(2) have ways of their own
        let is_owed = side.zerocopy && matches!(by, Some(By::Call | By::Vector(_)));
        side.completions_due += u32::from(is_owed);
    }
}

/// `zerocopy`: the error queue completes no more sends than there were (`msg_zerocopy_realloc` numbers them), and by the
/// end of the finale all of them, as soon as their bytes are acknowledged.
pub(crate) fn completions(model: &mut Model<'_>, call: Call<'_>) {
    let Outcome::Value(count) = call.record.outcome else {
        return;
    };
    let side = model.side_mut(call.record.endpoint);
    side.completions += count;
    let (sends, completions) = (side.zerocopy_sends, side.completions);
    if completions > sends {
        let because = format!(
            "{completions} completions came by now, and {sends} sends with MSG_ZEROCOPY were successful"
        );
        model.blame(call, Invariant::Zerocopy, "more-completions-than-sends", &because);
        return;
    }
    let due = side.completions_due;
    let is_last = !model.history.records[call.index + 1..].iter().any(|later| {
        (later.connection, later.endpoint, later.op)
            == (call.record.connection, call.record.endpoint, Op::ErrQueue)
    });
    let is_over = call.record.at == At::Finale && is_last;
    let sent = model.outgoing(call.record.endpoint);
    let is_acknowledged = sent.at == sent.accepted && !sent.lost_track && !sent.broken;
    if is_over && is_acknowledged && completions < due && !model.side(call.record.endpoint).murky {
        let because = format!(
            "{completions} completions came by the end, {due} sends with MSG_ZEROCOPY were successful, and the peer \
             has received all of their bytes"
        );
        model.blame(call, Invariant::Zerocopy, "send-never-completed", &because);
    }
}

/// `backpressure`: with both buffers fixed before the handshake, no more bytes are in between than the largest of
/// their sizes hold.
///
/// The kernel doubles both sizes (`socket(7)`); another doubling and 512 KiB are given away for segments that
/// overshoot (`sk_stream_memory_free` is asked before a segment is filled).
fn backpressure(model: &mut Model<'_>, call: Call<'_>) {
    let endpoint = call.record.endpoint;
    let (Some(sndbuf), Some(rcvbuf)) =
        (model.side(endpoint).sndbuf, model.side(endpoint.peer()).rcvbuf)
    else {
        return;
    };
    if !model.side(endpoint).sndbuf_fixed || !model.side(endpoint.peer()).rcvbuf_fixed {
        return;
    }
    let bound = 4 * (u64::from(sndbuf) + u64::from(rcvbuf)) + (512 << 10);
    let between = model.outgoing(endpoint).unread();
    if between > bound && !model.outgoing(endpoint).lost_track {
        let because = format!(
            "{between} bytes are accepted and unread, with SO_SNDBUF {sndbuf} and SO_RCVBUF {rcvbuf}"
        );
        model.blame(call, Invariant::Backpressure, "more-than-the-buffers-hold", &because);
    }
}

fn failed(model: &mut Model<'_>, call: Call<'_>, ask: Ask, errno: Errno) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    if errno != Errno::EAGAIN && !model.side(endpoint.peer()).open() {
        model.side_mut(endpoint).send_failed = true;
    }
    match errno {
        Errno::EAGAIN => eagain(model, call, ask),
        Errno::EFAULT => {
            if ask.buffer == Buffer::Mapped || ask.len == 0 {
                let because = "its whole buffer is readable";
                model.blame(call, Invariant::SendResult, "efault-on-readable", because);
            } else if side.shut_wr {
                let because = "the sending side was shut down before, which gives EPIPE first";
                model.blame(call, Invariant::SendResult, "efault-after-shut-wr", because);
            }
        }
        Errno::EPIPE => {
            if !side.shut_wr && !side.exposed {
                let because =
                    "its sending side is open and the peer has had no reason to send a reset";
                model.blame(call, Invariant::SendResult, "epipe-while-open", because);
            }
            // sk_stream_error and sk_stream_wait_connect hand out the asynchronous error, and clear it
            let side = model.side_mut(endpoint);
            if !side.shut_wr || side.error_pending {
                side.reported = true;
                side.dead = true;
            }
            side.error_pending = false;
        }
        Errno::ECONNRESET => model.error_reported(call, errno, Invariant::SendResult),
        ENOBUFS if ask.flags.contains(SendFlags::ZEROCOPY) => {
            // no memory for the notification, or RLIMIT_MEMLOCK (msg_zerocopy_realloc)
        }
        ETIMEDOUT => model.error_reported(call, errno, Invariant::SendResult),
        _ => {
            let because = "TCP never gives this error here";
            model.blame(call, Invariant::SendResult, "unexpected-errno", because);
        }
    }
}

fn eagain(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    let side = model.side(call.record.endpoint).clone();
    // enough room that tcp_wmem_schedule cannot fail for the protocol's sake
    let light = model.outgoing(call.record.endpoint).accepted < 1 << 20;
    let roomy = light && is_empty(model, call, ask);
    let complaint = if ask.len == 0 {
        let because = "a send of no bytes needs no room";
        Some((Invariant::ZeroLength, "send-fails", because))
    } else if !model.nonblocking(call.record) && ask.by == By::Uring {
        None
    } else if !model.nonblocking(call.record) && side.sndtimeo > 0 {
        return time::expired(model, call, side.sndtimeo);
    } else if !model.nonblocking(call.record) {
        let because = "it may block and SO_SNDTIMEO is not set";
        Some((Invariant::SendResult, "eagain-while-blocking", because))
    } else if side.shut_wr {
        let because = "the sending side was shut down before, which gives EPIPE";
        Some((Invariant::SendResult, "eagain-after-shut-wr", because))
    } else if side.dead {
        let because = "an earlier call has shown that the connection was reset";
        Some((Invariant::SendToDead, "eagain-after-reset", because))
    } else if side.writable && light {
        let because = "the poll just before reported POLLOUT";
        Some((Invariant::Readiness, "out-then-eagain", because))
    } else if roomy {
        let because = "every accepted byte is acknowledged, so that the send buffer is empty";
        Some((ask.rule(), "eagain-with-room", because))
    } else {
        None
    };
    if let Some((invariant, diagnosis, because)) = complaint {
        model.blame(call, invariant, diagnosis, because);
    }
}

/// Whether the send buffer is certainly empty, where a plain send takes at least a byte: `sk_stream_memory_free` asks how
/// much is queued, what is acknowledged is not (`tcp_clean_rtx_queue`), and the first segment gets its memory by force
/// (`tcp_stream_alloc_skb`, `tcp_wmem_schedule`).
fn is_empty(model: &Model<'_>, call: Call<'_>, ask: Ask) -> bool {
    let stream = model.outgoing(call.record.endpoint);
    let plain = matches!(ask.by, By::Call | By::Vector(_));
    let is_known = stream.acked == stream.accepted && stream.unsure == 0 && !stream.lost_track;
    plain && is_known && !ask.flags.contains(SendFlags::ZEROCOPY)
}

/// `send-to-dead`: what was sent to a closed peer is answered by a reset, it is not swallowed.
///
/// A closed TCP socket answers bytes with a reset (`tcp_rcv_state_process`, `tcp_timewait_state_process`), which
/// shows as a failing send or in `SO_ERROR` (`tcp_reset`). It may still be under way when the scenario ends;
/// bytes that TCP itself never took cannot cause one any more, however long one waits.
pub(crate) fn swallowed(model: &mut Model<'_>, call: Call<'_>) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint);
    // a close beside another call on its socket takes effect when that one returns
    let by_close = model.side(endpoint.peer()).ending == Some(Ending::Close)
        && model.outgoing(endpoint).before_close.is_some();
    let off_tcp = model.ring(endpoint);
    let before = model.outgoing(endpoint).accepted
        - side.sent_to_closed.min(model.outgoing(endpoint).accepted);
    if by_close
        && side.sent_to_closed > 0
        && !side.send_failed
        && !side.reported
        && !side.dead
        && off_tcp > before
    {
        let because = format!(
            "{} bytes were accepted after the peer had closed, TCP never took {off_tcp} of all bytes, \
             no send failed and no error is pending",
            side.sent_to_closed
        );
        model.blame(call, Invariant::SendToDead, "swallowed", &because);
    }
}
