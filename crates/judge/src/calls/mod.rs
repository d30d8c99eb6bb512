//! What calls return: sending, receiving, urgent data, and calls that do not return at all.

pub(crate) mod oob;
pub(crate) mod recv;
pub(crate) mod send;
pub(crate) mod stuck;
pub(crate) mod time;

use scenario::history::{At, Outcome};
use scenario::{Buffer, By, Expect, Invariant, Op, RecvFlags, SendFlags};

use crate::describe;
use crate::model::{Call, Model};

/// How many bytes from the start of a buffer of `len` bytes can be touched.
pub(crate) fn mapped(buffer: Buffer, len: u32) -> u32 {
    match buffer {
        Buffer::Mapped => len,
        Buffer::Unmapped => 0,
        Buffer::Torn(bytes) => bytes.min(len),
    }
}

/// `send-result`: `SIGPIPE` comes with `EPIPE` unless `MSG_NOSIGNAL`, and never else (`sk_stream_error`).
pub(crate) fn sigpipe(model: &mut Model<'_>, call: Call<'_>) {
    let record = call.record;
    let due = matches!(
        (&record.op, &record.outcome),
        (Op::Send { flags, by, .. }, Outcome::Errno(scenario::history::Errno::EPIPE))
            if !flags.contains(SendFlags::NOSIGNAL) && *by != By::Uring
    );
    // the first pieces may have been accepted (sendmmsg(2), splice(2)); io_uring(7) always says MSG_NOSIGNAL
    let in_part = matches!(
        (&record.op, &record.outcome),
        (Op::Send { by: By::Batch(_) | By::Splice | By::Tee | By::File, .. }, Outcome::Value(_),)
    );
    if due && !record.sigpipe {
        let because = "it raised no SIGPIPE, which comes with EPIPE without MSG_NOSIGNAL";
        model.blame(call, Invariant::SendResult, "no-sigpipe", because);
    } else if record.sigpipe && !due && !in_part {
        let because = "it raised SIGPIPE, which comes only with EPIPE without MSG_NOSIGNAL";
        model.blame(call, Invariant::SendResult, "unexpected-sigpipe", because);
    }
}

/// `splice-file`: `tee(2)` copies nothing. It makes a second pipe refer to the same memory (`link_pipe`), which nobody writes
/// to any more: both give the same bytes, before and after a socket has taken them.
pub(crate) fn copy(model: &mut Model<'_>, call: Call<'_>) {
    if let Some(at) = call.record.copy_differs {
        let because = format!(
            "what tee(2) shared is not what the call moved: from its byte {at} on it differs, or is missing"
        );
        model.blame(call, Invariant::SpliceFile, "tee-differs", &because);
    }
}

/// The result that the scenario's author wrote on the op's line.
pub(crate) fn expected(model: &mut Model<'_>, call: Call<'_>) {
    let At::Step(step) = call.record.at else {
        return;
    };
    let Some(expect) = model.scenario.steps.get(step as usize).and_then(|s| s.expect) else {
        return;
    };
    let (met, wanted) = match (expect, &call.record.outcome) {
        (Expect::Value(want), Outcome::Value(got) | Outcome::Received { count: got, .. }) => {
            (want == *got, format!("returns {want}"))
        }
        (Expect::Errno(want), Outcome::Errno(got)) => (want == *got, format!("fails with {want}")),
        (Expect::Ready(want), Outcome::Ready(got)) => {
            (want == *got, format!("reports {}", describe::ready(want)))
        }
        (Expect::Value(want), _) => (false, format!("returns {want}")),
        (Expect::Errno(want), _) => (false, format!("fails with {want}")),
        (Expect::Ready(want), _) => (false, format!("reports {}", describe::ready(want))),
    };
    if met {
        return;
    }
    let invariant = match call.record.op {
        Op::Send { .. } => Invariant::SendResult,
        Op::Recv { flags, .. } if flags.contains(RecvFlags::OOB) => Invariant::Oob,
        Op::Recv { flags, .. } if flags.contains(RecvFlags::PEEK) => Invariant::Peek,
        Op::Poll => Invariant::Readiness,
        Op::Inq => Invariant::Inq,
        Op::Outq => Invariant::Outq,
        Op::SoError => Invariant::ResetOnce,
        Op::Shutdown(_) => Invariant::HalfClose,
        Op::Close | Op::Dup | Op::Fork => Invariant::CloseEof,
        Op::Abort | Op::Destroy => Invariant::Reset,
        Op::Recv { .. } | Op::Set(_) | Op::Tls | Op::Repair => Invariant::RecvResult,
        Op::ErrQueue => Invariant::Zerocopy,
        Op::Wait { .. } => Invariant::Wakeup,
        Op::AtMark => Invariant::Oob,
        Op::Disconnect | Op::Connect => Invariant::Disconnect,
        Op::Unhash | Op::Rehash | Op::Detach => Invariant::Engaged,
        Op::Signal { .. } => Invariant::Signal,
        Op::Pause(_) => Invariant::Timeout,
    };
    let because = format!("the scenario says that it {wanted}");
    model.blame(call, invariant, "differs-from-expected", &because);
}
