//! What calls return: sending, receiving, urgent data, and calls that do not return at all.

pub(crate) mod oob;
pub(crate) mod recv;
pub(crate) mod send;

use scenario::history::{At, Outcome};
use scenario::verdict::Doubt;
use scenario::{Buffer, Expect, Invariant, Op, RecvFlags, Scenario, SendFlags};

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

/// `hang`, `dontwait`: a call that must return, does.
///
/// `recv(2)`, `send(2)`: `MSG_DONTWAIT` and `O_NONBLOCK` never sleep, and neither do `poll(2)` with timeout 0, the
/// ioctls, the options, `shutdown(2)` and `close(2)` without a linger time. A blocking receive returns once
/// `sock_rcvlowat` bytes are there, at EOF and on an error (`tcp_recvmsg_locked`); a blocking send on an
/// error (`sk_stream_wait_memory`). Whether another blocking call had to return is not known. An interrupted
/// call that had moved bytes would have returned their number, so the model need not change.
pub(crate) fn stuck(model: &mut Model<'_>, call: Call<'_>) {
    let record = call.record;
    let side = model.side(record.endpoint).clone();
    let deliverable = model.incoming(record.endpoint).deliverable();
    if model.nonblocking(record) {
        let (invariant, diagnosis) = match record.op {
            Op::Send { .. } => (Invariant::Dontwait, "send-slept"),
            Op::Recv { .. } => (Invariant::Dontwait, "recv-slept"),
            _ => (Invariant::Hang, "call-did-not-return"),
        };
        model.blame(call, invariant, diagnosis, "it must not sleep");
    } else {
        let reason = match record.op {
            Op::Recv { len, flags, .. } => {
                let all = flags.contains(RecvFlags::WAITALL);
                let target = if all { len } else { side.lowat.min(len) };
                if deliverable >= u64::from(target.max(1))
                    && !model.incoming(record.endpoint).urgent_ahead()
                {
                    Some(("recv-with-bytes-deliverable", "enough bytes were deliverable"))
                } else if side.fin_known || side.shut_rd {
                    Some(("recv-at-eof", "there was nothing more to wait for"))
                } else if side.dead {
                    Some(("recv-after-reset", "the connection was reset"))
                } else {
                    None
                }
            }
            Op::Send { .. } if side.shut_wr || side.dead => {
                Some(("send-after-end", "the sending side was shut down"))
            }
            _ => None,
        };
        match reason {
            Some((diagnosis, because)) => model.blame(call, Invariant::Hang, diagnosis, because),
            None => model.doubt(Doubt::CallStillWaiting),
        }
    }
}

/// `send-result`: `SIGPIPE` comes with `EPIPE` unless `MSG_NOSIGNAL`, and never else (`sk_stream_error`).
pub(crate) fn sigpipe(model: &mut Model<'_>, call: Call<'_>) {
    let record = call.record;
    let due = matches!(
        (&record.op, &record.outcome),
        (Op::Send { flags, .. }, Outcome::Errno(scenario::history::Errno::EPIPE))
            if !flags.contains(SendFlags::NOSIGNAL)
    );
    if due && !record.sigpipe {
        let because = "it raised no SIGPIPE, which comes with EPIPE without MSG_NOSIGNAL";
        model.blame(call, Invariant::SendResult, "no-sigpipe", because);
    } else if record.sigpipe && !due {
        let because = "it raised SIGPIPE, which comes only with EPIPE without MSG_NOSIGNAL";
        model.blame(call, Invariant::SendResult, "unexpected-sigpipe", because);
    }
}

/// The result that the scenario's author wrote on the op's line.
pub(crate) fn expected(model: &mut Model<'_>, call: Call<'_>, scenario: &Scenario) {
    let At::Step(step) = call.record.at else {
        return;
    };
    let Some(expect) = scenario.steps.get(step as usize).and_then(|s| s.expect) else {
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
        Op::Close => Invariant::CloseEof,
        Op::Abort => Invariant::Reset,
        Op::Recv { .. } | Op::Set(_) => Invariant::RecvResult,
    };
    let because = format!("the scenario says that it {wanted}");
    model.blame(call, invariant, "differs-from-expected", &because);
}
