//! `recv-result`, `peek`, `waitall`, `trunc`, `zero-length`, `efault`, `rcvlowat`: what `recv(2)` returns.
//!
//! Source: `tcp_recvmsg_locked`. It hands out the receive queue first, then looks in this order: FIN seen → 0,
//! pending error → that error, once, receiving side shut down → 0, non-blocking → `EAGAIN`.

use scenario::history::{At, Errno, Outcome};
use scenario::payload::Run;
use scenario::verdict::Doubt;
use scenario::{Buffer, By, Endpoint, Invariant, RecvFlags, Topology};

use crate::calls::{mapped, time};
use crate::model::{Call, Ending, Model, PeekOff, Signals};
use crate::stream::{Proof, Recent, Stream};
use crate::{data, teardown};

/// What `recv(2)` was asked.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) len: u32,
    pub(crate) flags: RecvFlags,
    pub(crate) buffer: Buffer,
    pub(crate) by: By,
}

impl Ask {
    pub(crate) fn peeks(self) -> bool {
        self.flags.contains(RecvFlags::PEEK)
    }

    pub(crate) fn truncates(self) -> bool {
        self.flags.contains(RecvFlags::TRUNC)
    }

    /// How many bytes it can write.
    pub(crate) fn writable(self) -> u32 {
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

    /// The rule that a wrong result counts against, for calls other than `recv(2)`.
    fn named(self, rule: Invariant) -> Invariant {
        match self.by {
            By::Vector(_) | By::Batch(_) if rule == Invariant::RecvResult => Invariant::Vectored,
            By::Splice | By::Tee if rule == Invariant::RecvResult => Invariant::SpliceFile,
            _ => rule,
        }
    }

    /// Whether io_uring(7) tries again for the rest of what it asked for (`io_recv`). A peek then finds the same bytes.
    fn tries_again(self) -> bool {
        self.by == By::Uring && self.flags.contains(RecvFlags::WAITALL)
    }

    /// Whether it may return what it peeks at several times over: up to `APOLL_MAX_RETRY` times in `io_uring/poll.c`.
    pub(crate) fn peeks_often(self) -> bool {
        self.tries_again() && self.peeks()
    }

    /// Whether it may return more than it asked for: what is missing io_uring takes from the buffer (`io_recv`), which
    /// `MSG_TRUNC` leaves alone.
    fn may_exceed(self) -> bool {
        self.peeks_often() || self.tries_again() && self.truncates()
    }

    /// Whether it may stop at an urgent byte as if there were nothing behind it: `splice(2)` does (`tcp_splice_read`).
    pub(crate) fn is_stopped_in(self, stream: &Stream) -> bool {
        self.by.is_piped() && !stream.urgent.is_empty()
    }

    /// Whether it is one call into `tcp_recvmsg`, with its waiting.
    pub(crate) fn is_one_call(self) -> bool {
        matches!(self.by, By::Call | By::Vector(_))
    }
}

/// A receive that finds only the urgent byte moves on behind it, whatever it returns, and if it does not.
pub(crate) fn pass_mark(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    let took = matches!(call.record.outcome, Outcome::Received { count: 1.., .. });
    let stream = model.incoming_mut(call.record.endpoint);
    let reached = stream.urgent.first().is_some_and(|&at| at <= stream.furthest());
    if !ask.peeks() {
        stream.mark_passed |= reached;
        stream.is_settled = took && ask.is_one_call() && call.beside.is_empty();
    }
}

pub(crate) fn judge(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    match &call.record.outcome {
        Outcome::Received { count, data, .. } => {
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
            failed(model, call, ask, *errno);
        }
        _ => {}
    }
}

/// `trunc`, `recv-result`: nothing is written beyond what is returned, and with `MSG_TRUNC` nothing at all
/// (`tcp(7)`).
pub(crate) fn touched(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let touched = call.record.touched;
    if ask.truncates() {
        if touched > 0 {
            let because =
                format!("MSG_TRUNC leaves the buffer alone and {touched} bytes were written");
            model.blame(call, Invariant::Trunc, "wrote-to-buffer", &because);
        }
    } else if touched > count && ask.buffer == Buffer::Mapped && ask.is_one_call() {
        let because = format!("{touched} bytes of the buffer were written");
        model.blame(call, Invariant::RecvResult, "wrote-beyond-count", &because);
    }
}

fn received(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32, data: &[Run]) {
    too_many(model, call, ask, count);
    if model.incoming(call.record.endpoint).lost_track || count == 0 {
        return;
    }
    short(model, call, ask, count);
    over_mark(model, call, ask, count);
    bytes(model, call, ask, count, data);
    left(model, call, ask);
}

/// A call returns no more bytes than it has room for.
pub(crate) fn too_many(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    if ask.may_exceed() {
        // it tried again with all the room that it had had before
    } else if count > ask.len {
        let invariant = ask.named(ask.rule(Invariant::RecvResult));
        model.blame(call, invariant, "more-than-asked", "it asked for fewer bytes");
    } else if count > ask.writable() {
        let because = "the buffer is writable for fewer bytes";
        model.blame(call, Invariant::Efault, "bytes-into-unmapped", because);
    }
}

/// The bytes that a call returned: which they are, and where the reader is now.
pub(crate) fn bytes(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32, data: &[Run]) {
    let endpoint = call.record.endpoint;
    if model.incoming(endpoint).lost_track {
        return;
    }
    let stream = model.incoming(endpoint);
    let (at, slack) = (stream.at, stream.slack);
    if ask.truncates() {
        unseen(model, call, ask, count);
    } else if ask.peeks() {
        peeked(model, call, ask, data);
    } else {
        let other = model.strangers(endpoint);
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
    move_peeks(model, endpoint, ask, count);
}

/// How far behind the reader a peek begins; `None` where nobody can tell. Each message of a batch begins anew.
fn ahead(model: &Model<'_>, endpoint: Endpoint, ask: Ask) -> Option<u64> {
    match model.side(endpoint).peek_off {
        _ if matches!(ask.by, By::Batch(2..)) => None,
        _ if ask.tries_again() => None,
        PeekOff::Off => Some(0),
        // a second urgent byte makes TCP drop the first one, if the reader is there (tcp_check_urg)
        PeekOff::At(1..) if !model.incoming(endpoint).urgent.is_empty() => None,
        PeekOff::At(off) => Some(off),
        PeekOff::Unknown => None,
    }
}

/// `SO_PEEK_OFF` (`socket(7)`): a peek moves the place of the next one forward, a receive back by what it took
/// (`sk_peek_offset_fwd`, `sk_peek_offset_bwd`). Around urgent bytes and for `splice(2)` that is not exact.
pub(crate) fn move_peeks(model: &mut Model<'_>, endpoint: Endpoint, ask: Ask, count: u32) {
    let urgent = !model.incoming(endpoint).urgent.is_empty();
    let PeekOff::At(off) = model.side(endpoint).peek_off else {
        return;
    };
    let moved = if urgent || !ask.is_one_call() {
        PeekOff::Unknown
    } else if ask.peeks() {
        PeekOff::At(off + u64::from(count))
    } else {
        PeekOff::At(off.saturating_sub(count.into()))
    };
    model.side_mut(endpoint).peek_off = moved;
}

fn peeked(model: &mut Model<'_>, call: Call<'_>, ask: Ask, data: &[Run]) {
    let endpoint = call.record.endpoint;
    let other = model.strangers(endpoint);
    let Some(ahead) = ahead(model, endpoint, ask) else {
        return;
    };
    match data::peek(model.incoming(endpoint), other, data, ahead) {
        Ok(end) => {
            let stream = model.incoming_mut(endpoint);
            let at = stream.at;
            if !stream.broken {
                stream.arrived(end, Proof::Peeked);
                if ahead == 0 {
                    stream.recent = Recent::Peek(at..end);
                }
            }
        }
        Err(fault) => model.blame(call, fault.invariant, fault.diagnosis, &fault.detail),
    }
}

/// `trunc`: what `MSG_TRUNC` counts was accepted.
fn unseen(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let ahead = ahead(model, call.record.endpoint, ask);
    if ask.peeks() && ahead.is_none() {
        return;
    }
    let stream = model.incoming_mut(call.record.endpoint);
    let unread = stream.unread();
    if u64::from(count) > unread && !stream.broken {
        stream.broken = true;
        let because = format!("only {unread} bytes were accepted and not received yet");
        model.blame(call, Invariant::Trunc, "more-than-accepted", &because);
        return;
    }
    if ask.peeks() {
        let end = stream.at + ahead.unwrap_or(0) + u64::from(count);
        stream.arrived(end, Proof::Peeked);
    } else {
        if let Some(braid) = &mut stream.braid {
            braid.lose_track();
        }
        stream.skip_unseen(u64::from(count));
    }
}

/// `waitall`, `rcvlowat`: when a receive may return less than it was asked for.
///
/// `sock_rcvlowat`: the target is the length with `MSG_WAITALL`, else `SO_RCVLOWAT` at most. A call that may
/// block returns less only at EOF, on an error, at the urgent mark or for a signal; one that may not takes
/// the whole queue.
pub(crate) fn short(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint);
    let side = model.side(endpoint);
    let ahead = ask.peeks() && side.peek_off != PeekOff::Off;
    if stream.urgent_ahead() || stream.broken || ask.writable() < ask.len || ahead {
        return;
    }
    let all = ask.flags.contains(RecvFlags::WAITALL);
    let deliverable = stream.deliverable();
    if !ask.is_one_call() {
        return;
    }
    if call.beside.is_empty() && all && u64::from(count) < deliverable.min(u64::from(ask.len)) {
        let because = stream.evidence();
        model.blame(call, Invariant::Waitall, "short-with-bytes-deliverable", &because);
        return;
    }
    let lasted = call.record.return_ns.saturating_sub(call.record.call_ns) / 1_000_000;
    let interrupted = lasted >= u64::from(model.history.bounds.call_ms) * 4 / 5;
    let may_end = side.shut_rd
        || side.may_shut_rd
        || side.exposed
        || interrupted
        || side.rcvtimeo > 0
        || call.signals != Signals::None
        || model.fin_possible(endpoint);
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

/// `oob`: a receive that has bytes from before the urgent mark stops there (`tcp_recvmsg_locked`), with `SO_OOBINLINE`, too.
fn over_mark(model: &mut Model<'_>, call: Call<'_>, ask: Ask, count: u32) {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint);
    let moved_peek = ask.peeks() && model.side(endpoint).peek_off != PeekOff::Off;
    if let Some(mark) = stream.mark()
        && stream.at < mark
        && stream.at + u64::from(count) > mark
        && ask.is_one_call()
        && !moved_peek
    {
        let because = format!("it began at byte {} and the urgent mark is at {mark}", stream.at);
        model.blame(call, Invariant::Oob, "reads-over-the-mark", &because);
    }
}

/// `inq`: `TCP_INQ` says how many bytes are left, and after a FIN at least one (`tcp_inq_hint`).
fn left(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    let Outcome::Received { left: Some(left), .. } = call.record.outcome else {
        return;
    };
    let endpoint = call.record.endpoint;
    let fin = u64::from(model.fin_possible(endpoint));
    let stream = model.incoming(endpoint);
    let unclear = stream.broken || stream.slack > 0 || !stream.urgent.is_empty();
    if stream.lost_track || unclear || !ask.is_one_call() || model.side(endpoint).exposed {
        return;
    }
    if u64::from(left) > stream.unread() + fin {
        let because = format!(
            "TCP_INQ said that {left} are left, and {} were accepted and not received yet",
            stream.unread()
        );
        model.blame(call, Invariant::Inq, "left-more-than-accepted", &because);
    } else if u64::from(left) < stream.deliverable() {
        let because = format!("TCP_INQ said that {left} are left, and {}", stream.evidence());
        model.blame(call, Invariant::Inq, "left-less-than-deliverable", &because);
    }
}

/// `recvmmsg(2)` puts an error that ends a batch aside for the next call (`do_recvmmsg`), be it that of a signal, and
/// io_uring forgets one that ends a `MSG_WAITALL` (`io_recv`): what later calls return is not known then.
pub(crate) fn put_aside(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    let Outcome::Received { count, .. } = call.record.outcome else {
        return;
    };
    let waits = !model.nonblocking(call.record);
    let odd = ask.flags.contains(RecvFlags::OOB) || call.signals != Signals::None;
    let short = count > 0 && count < ask.len;
    let forgets = ask.tries_again() && (short || ask.may_exceed());
    let side = model.side_mut(call.record.endpoint);
    let forgets = forgets && (side.exposed || side.may_reset);
    side.murky |= forgets || matches!(ask.by, By::Batch(2..)) && (odd || waits && short);
}

/// What makes `EAGAIN` right whatever was deliverable, or leaves no rule to judge it by.
///
/// In a sockhash whatever wakes a receive ends it with `EAGAIN` (`tcp_bpf_recvmsg`): a reset that comes late, a signal,
/// and so the executor's at the end of the bound.
fn excused(model: &mut Model<'_>, call: Call<'_>, ask: Ask) -> bool {
    let side = model.side(call.record.endpoint);
    let stream = model.incoming(call.record.endpoint);
    if stream.lost_track || ask.is_stopped_in(stream) {
        return true;
    }
    if model.nonblocking(call.record) {
        return false;
    }
    if ask.by == By::Uring {
        return true;
    }
    // with one call after the other on loopback it is there before the next one
    let scenario = model.scenario;
    let late = scenario.topology != Topology::Loopback || !scenario.is_sequential();
    let woken = side.exposed && late || call.signals != Signals::None;
    if side.rcvtimeo > 0 && !woken {
        time::expired(model, call, side.rcvtimeo);
        return false;
    }
    let bound = u64::from(model.history.bounds.call_ms) * 4 / 5;
    if !woken && time::lasted_ms(call) >= bound {
        model.doubt(Doubt::CallStillWaiting);
        return true;
    }
    woken
}

/// `recv-result`, `stall` and the rules of the flags: `EAGAIN` only when nothing is deliverable.
fn eagain(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    touched(model, call, ask, 0);
    if excused(model, call, ask) {
        return;
    }
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    let last = call.record.at == At::Finale;
    let blocking = !model.nonblocking(call.record);
    let Some(ahead) = (if ask.peeks() { ahead(model, endpoint, ask) } else { Some(0) }) else {
        return;
    };
    let stream = model.incoming(endpoint);
    if blocking && side.rcvtimeo == 0 {
        let because = "it may block and SO_RCVTIMEO is not set";
        model.blame(call, Invariant::RecvResult, "eagain-while-blocking", because);
    } else if stream.deliverable() > ahead {
        let because = stream.evidence();
        let (invariant, diagnosis) = if last {
            (Invariant::Stall, "accepted-bytes-never-arrive")
        } else {
            match (ask.rule(Invariant::RecvResult), stream.proof) {
                (Invariant::RecvResult, Proof::Counted) => {
                    (Invariant::Inq, "counted-bytes-not-deliverable")
                }
                (Invariant::RecvResult, Proof::Polled) => (Invariant::Readiness, "in-then-eagain"),
                (rule, _) => (ask.named(rule), "eagain-with-bytes-deliverable"),
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

fn failed(model: &mut Model<'_>, call: Call<'_>, ask: Ask, errno: Errno) {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint);
    // recvmmsg(2) looks at the error first (do_recvmmsg)
    let first = matches!(ask.by, By::Batch(_));
    let ahead = if ask.peeks() { ahead(model, endpoint, ask) } else { Some(0) };
    let there = ahead.is_some_and(|ahead| stream.deliverable() > ahead);
    if errno == Errno::ECONNRESET && there && !first && !ask.is_stopped_in(stream) {
        let because = format!(
            "bytes {}..{} were in the receive queue and are handed out first: {}",
            stream.at,
            stream.known,
            stream.proof.text()
        );
        model.blame(call, Invariant::Loss, "queued-bytes-lost-at-reset", &because);
    }
    if errno == Errno::EPIPE && !first {
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
