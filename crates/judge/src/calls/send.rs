//! `send-result`, `send-to-dead`, `zero-length`, `backpressure`: what `send(2)` returns.
//!
//! Sources: `send(2)`, `tcp_sendmsg_locked`, `sk_stream_error`, `sk_stream_wait_connect`.

use scenario::history::{Errno, Outcome};
use scenario::{Buffer, Invariant, SendFlags};

use crate::calls::mapped;
use crate::model::{Call, Ending, Model};

/// What `send(2)` was asked.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) len: u32,
    pub(crate) flags: SendFlags,
    pub(crate) buffer: Buffer,
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
        Some((Invariant::SendResult, "more-than-asked", "it was given fewer bytes"))
    } else if count == 0 && ask.len > 0 {
        Some((Invariant::SendResult, "zero-for-nonzero", "a send of bytes never returns 0"))
    } else if count > readable {
        let because = "the buffer is readable for fewer bytes";
        Some((Invariant::SendResult, "accepted-unreadable", because))
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
    let blocking = !model.nonblocking(call.record);
    let held = side.corked || ask.flags.contains(SendFlags::MORE);
    let peer_open = model.side(endpoint.peer()).open();
    let urgent = ask.flags.contains(SendFlags::OOB);
    model.outgoing_mut(endpoint).accept(u64::from(count.min(ask.len)), urgent, blocking, held);
    if !peer_open {
        model.side_mut(endpoint).sent_to_closed += u64::from(count);
    }
    backpressure(model, call);
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
    let complaint = if ask.len == 0 {
        let because = "a send of no bytes needs no room";
        Some((Invariant::ZeroLength, "send-fails", because))
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
    } else {
        None
    };
    if let Some((invariant, diagnosis, because)) = complaint {
        model.blame(call, invariant, diagnosis, because);
    }
}

/// `send-to-dead`: what was sent to a closed peer is answered by a reset, it is not swallowed.
///
/// A closed TCP socket answers bytes with a reset (`tcp_rcv_state_process`, `tcp_timewait_state_process`), which
/// shows as a failing send or in `SO_ERROR` (`tcp_reset`). It may still be under way when the scenario ends;
/// bytes that TCP itself never took cannot cause one any more, however long one waits.
pub(crate) fn swallowed(model: &mut Model<'_>, call: Call<'_>) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint);
    let by_close = model.side(endpoint.peer()).ending == Some(Ending::Close);
    let off_tcp = model.history.ring(endpoint);
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
