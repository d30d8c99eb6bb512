//! `recv-result`, `peek`, `waitall`, `trunc`, `zero-length`, `efault`, `rcvlowat`: what `recv(2)` returns.
//!
//! Source: `tcp_recvmsg_locked`. It hands out the receive queue first, then looks in this order: FIN seen → 0,
//! pending error → that error, once, receiving side shut down → 0, non-blocking → `EAGAIN`.

use scenario::history::{At, Errno, Outcome};
use scenario::payload::Run;
use scenario::{Buffer, Invariant, RecvFlags};

use crate::calls::mapped;
use crate::model::{Call, Ending, Model};
use crate::stream::{Proof, Recent};
use crate::{data, teardown};

/// What `recv(2)` was asked.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) len: u32,
    pub(crate) flags: RecvFlags,
    pub(crate) buffer: Buffer,
}

impl Ask {
    pub(crate) fn peeks(self) -> bool {
        self.flags.contains(RecvFlags::PEEK)
    }

    fn truncates(self) -> bool {
        self.flags.contains(RecvFlags::TRUNC)
    }

    /// How many bytes it can write.
    fn writable(self) -> u32 {
        if self.truncates() { self.len } else { mapped(self.buffer, self.len) }
    }

    /// The rule that failing to see deliverable bytes counts against.
    pub(crate) fn rule(self, otherwise: Invariant) -> Invariant {
        if self.len == 0 {
            Invariant::ZeroLength
        } else if self.writable() < self.len {
            Invariant::Efault
        } else if self.peeks() {
            Invariant::Peek
        } else if self.truncates() {
            Invariant::Trunc
        } else {
            otherwise
        }
    }
}

pub(crate) fn judge(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    outcome(model, call, ask);
    // a receive that finds only the urgent byte moves on behind it, whatever it returns
    let stream = model.incoming_mut(call.record.endpoint);
    let reached = stream.urgent.first().is_some_and(|&at| at <= stream.furthest());
    stream.mark_passed |= reached && !ask.peeks();
}

fn outcome(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    match &call.record.outcome {
        Outcome::Received { count, data } => {
            touched(model, call, ask, *count);
            if *count == 0 && ask.len > 0 {
                teardown::eof(model, call, ask);
            } else {
                received(model, call, ask, *count, data);
            }
        }
        Outcome::Errno(Errno::EAGAIN) => eagain(model, call, ask),
        Outcome::Errno(Errno::EFAULT) => efault(model, call, ask),
        Outcome::Errno(errno) => {
            touched(model, call, ask, 0);
            failed(model, call, *errno);
        }
        _ => {}
    }
}

/// `trunc`, `recv-result`: nothing is written beyond what is returned, and with `MSG_TRUNC` nothing at all
/// (`tcp(7)`).
fn touched(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let touched = call.record.touched;
    if ask.truncates() {
        if touched > 0 {
            let because =
                format!("MSG_TRUNC leaves the buffer alone and {touched} bytes were written");
            model.blame(call, Invariant::Trunc, "wrote-to-buffer", &because);
        }
    } else if touched > count && ask.buffer == Buffer::Mapped {
        let because = format!("{touched} bytes of the buffer were written");
        model.blame(call, Invariant::RecvResult, "wrote-beyond-count", &because);
    }
}

fn received(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32, data: &[Run]) {
    let endpoint = call.record.endpoint;
    if count > ask.len {
        let invariant = ask.rule(Invariant::RecvResult);
        model.blame(call, invariant, "more-than-asked", "it asked for fewer bytes");
    } else if count > ask.writable() {
        let because = "the buffer is writable for fewer bytes";
        model.blame(call, Invariant::Efault, "bytes-into-unmapped", because);
    }
    if model.incoming(endpoint).lost_track || count == 0 {
        return;
    }
    short(model, call, ask, count);
    let stream = model.incoming(endpoint);
    let (at, slack) = (stream.at, stream.slack);
    if ask.truncates() {
        unseen(model, call, ask, count);
    } else if ask.peeks() {
        peeked(model, call, data);
    } else {
        let sender = model.outgoing(endpoint);
        let other = (sender.source, sender.accepted);
        let faults = data::take(model.incoming_mut(endpoint), other, data, call.index);
        for fault in faults {
            model.blame(call, fault.invariant, fault.diagnosis, &fault.detail);
        }
        if count < ask.len && ask.writable() < ask.len {
            model.incoming_mut(endpoint).recent = Recent::Fault;
        }
    }
    debug_assert!(
        !ask.peeks()
            || (at, slack) == (model.incoming(endpoint).at, model.incoming(endpoint).slack)
    );
}

fn peeked(model: &mut Model<'_>, call: Call<'_>, data: &[Run]) {
    let endpoint = call.record.endpoint;
    let sender = model.outgoing(endpoint);
    let other = (sender.source, sender.accepted);
    match data::peek(model.incoming(endpoint), other, data) {
        Ok(end) => {
            let stream = model.incoming_mut(endpoint);
            let at = stream.at;
            if !stream.broken {
                stream.arrived(end, Proof::Peeked);
                stream.recent = Recent::Peek(at..end);
            }
        }
        Err(fault) => model.blame(call, fault.invariant, fault.diagnosis, &fault.detail),
    }
}

/// `trunc`: what `MSG_TRUNC` counts was accepted.
fn unseen(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let stream = model.incoming_mut(call.record.endpoint);
    let unread = stream.unread();
    if u64::from(count) > unread && !stream.broken {
        stream.broken = true;
        let because = format!("only {unread} bytes were accepted and not received yet");
        model.blame(call, Invariant::Trunc, "more-than-accepted", &because);
        return;
    }
    if ask.peeks() {
        let end = stream.at + u64::from(count);
        stream.arrived(end, Proof::Peeked);
    } else {
        stream.skip_unseen(u64::from(count));
    }
}

/// `waitall`, `rcvlowat`: when a receive may return less than it was asked for.
///
/// `sock_rcvlowat`: the target is the length with `MSG_WAITALL`, else `SO_RCVLOWAT` at most. A call that may
/// block returns less only at EOF, on an error, at the urgent mark or for a signal; one that may not takes
/// the whole queue.
fn short(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint);
    let side = model.side(endpoint);
    if stream.urgent_ahead() || stream.broken || ask.writable() < ask.len {
        return;
    }
    let all = ask.flags.contains(RecvFlags::WAITALL);
    let deliverable = stream.deliverable();
    if all && u64::from(count) < deliverable.min(u64::from(ask.len)) {
        let because = format!(
            "bytes {}..{} were deliverable: {}",
            stream.at,
            stream.known,
            stream.proof.text()
        );
        model.blame(call, Invariant::Waitall, "short-with-bytes-deliverable", &because);
        return;
    }
    let lasted = call.record.return_ns.saturating_sub(call.record.call_ns) / 1_000_000;
    let interrupted = lasted >= u64::from(model.history.bounds.call_ms) * 4 / 5;
    let may_end = side.shut_rd || side.exposed || interrupted || model.fin_possible(endpoint);
    if model.nonblocking(call.record) || may_end {
        return;
    }
    if all && count < ask.len {
        let because = "it may block, and there is no EOF, error or timeout";
        model.blame(call, Invariant::Waitall, "short-without-reason", because);
    } else if count < side.lowat.min(ask.len) && side.rcvbuf.is_none() && side.lowat <= 1 << 16 {
        let because = format!("it may block and SO_RCVLOWAT is {}", side.lowat);
        model.blame(call, Invariant::Rcvlowat, "blocking-recv-short", &because);
    }
}

/// `recv-result`, `stall` and the rules of the flags: `EAGAIN` only when nothing is deliverable.
fn eagain(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    touched(model, call, ask, 0);
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    let stream = model.incoming(endpoint);
    if stream.lost_track {
        return;
    }
    let last = call.record.at == At::Finale;
    if !model.nonblocking(call.record) {
        let because = "it may block and SO_RCVTIMEO is not set";
        model.blame(call, Invariant::RecvResult, "eagain-while-blocking", because);
    } else if stream.deliverable() > 0 {
        let because = format!(
            "bytes {}..{} were deliverable: {}",
            stream.at,
            stream.known,
            stream.proof.text()
        );
        let (invariant, diagnosis) = if last {
            (Invariant::Stall, "accepted-bytes-never-arrive")
        } else {
            match (ask.rule(Invariant::RecvResult), stream.proof) {
                (Invariant::RecvResult, Proof::Counted) => {
                    (Invariant::Inq, "counted-bytes-not-deliverable")
                }
                (Invariant::RecvResult, Proof::Polled) => (Invariant::Readiness, "in-then-eagain"),
                (rule, _) => (rule, "eagain-with-bytes-deliverable"),
            }
        };
        model.blame(call, invariant, diagnosis, &because);
    } else if stream.broken {
        // the position is not known well enough
    } else if side.fin_known && !side.shut_rd {
        let rule = ask.rule(teardown::eof_rule(model, endpoint));
        let (rule, diagnosis) =
            if last { (Invariant::Stall, "fin-never-arrives") } else { (rule, "eagain-after-fin") };
        model.blame(
            call,
            rule,
            diagnosis,
            "the peer's FIN has arrived and all bytes were received",
        );
    } else if side.shut_rd {
        let rule = ask.rule(Invariant::ShutRd);
        model.blame(call, rule, "eagain-after-shut-rd", "its receiving side is shut down");
    } else if side.dead {
        let rule = ask.rule(Invariant::RecvResult);
        model.blame(call, rule, "eagain-after-reset", "the connection was reset");
    } else if last {
        teardown::pending(model, call);
    }
}

/// `efault`: a receive fails with `EFAULT` exactly when it has bytes for unwritable memory.
fn efault(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint);
    let invariant = ask.rule(Invariant::RecvResult);
    if ask.writable() >= ask.len {
        model.blame(call, invariant, "efault-on-writable", "nothing unwritable was to be written");
    } else if !stream.lost_track && !stream.broken && stream.unread() <= u64::from(ask.writable()) {
        let because = format!(
            "at most {} bytes were there to receive and the buffer is writable for {}",
            stream.unread(),
            ask.writable()
        );
        model.blame(call, invariant, "efault-with-nothing-to-write", &because);
    }
    if !ask.peeks() {
        model.incoming_mut(endpoint).recent = Recent::Fault;
    }
}

fn failed(model: &mut Model<'_>, call: Call<'_>, errno: Errno) {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint);
    if errno == Errno::ECONNRESET && stream.deliverable() > 0 {
        let because = format!(
            "bytes {}..{} were in the receive queue and are handed out first: {}",
            stream.at,
            stream.known,
            stream.proof.text()
        );
        model.blame(call, Invariant::Loss, "queued-bytes-lost-at-reset", &because);
    }
    if errno == Errno::EPIPE {
        let because = "a receive never gives EPIPE: it implies a FIN, and EOF comes first";
        model.blame(call, Invariant::RecvResult, "unexpected-errno", because);
    } else {
        model.error_reported(call, errno, Invariant::RecvResult);
    }
    if let Some(ending) = model.side(endpoint).reset_due
        && ending != Ending::Close
    {
        model.side_mut(endpoint).reset_due = None;
    }
}
