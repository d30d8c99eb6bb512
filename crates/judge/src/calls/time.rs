//! `timeout`, `signal`, `spin`: how long calls last, and what cuts them short.
//!
//! Sources: `socket(7)`, `signal(7)`, `sock_intr_errno`, `schedule_timeout`.

use scenario::history::{Errno, Outcome};
use scenario::{By, Endpoint, Invariant, Op};

use crate::model::{Call, Model, Signals};

/// A few ticks of the slowest clock, in milliseconds.
const TICKS_MS: u64 = 12;
/// What a busy machine may add, in milliseconds, and how many times longer everything may take on it.
const GRACE_MS: u64 = 2_000;
const SLOWNESS: u64 = 10;
/// `ERESTARTSYS`, which shows where an error was put aside (`do_recvmmsg`).
const ERESTARTSYS: Errno = Errno(512);

/// How long the call lasted, in milliseconds.
pub(crate) fn lasted_ms(call: Call<'_>) -> u64 {
    call.record.return_ns.saturating_sub(call.record.call_ns) / 1_000_000
}

/// Whether a call ended before a time limit of so many milliseconds could have run out, by the clock and by its ticks.
pub(crate) fn is_early(call: Call<'_>, limit_ms: u32) -> bool {
    let lasted = lasted_ms(call).max(call.record.ticked_ns / 1_000_000);
    (lasted + TICKS_MS) * 10 < u64::from(limit_ms) * 9
}

/// Whether a call went on long after a time limit of so many milliseconds.
pub(crate) fn is_late(call: Call<'_>, limit_ms: u32) -> bool {
    lasted_ms(call) > u64::from(limit_ms) * SLOWNESS + GRACE_MS
}

/// `timeout`: a call failed with `EAGAIN` because `SO_RCVTIMEO` or `SO_SNDTIMEO` ran out.
pub(crate) fn expired(model: &mut Model<'_>, call: Call<'_>, limit_ms: u32) {
    let lasted = lasted_ms(call);
    if is_early(call, limit_ms) {
        let because = format!("it may sleep for {limit_ms} ms and lasted {lasted} ms");
        model.blame(call, Invariant::Timeout, "expires-early", &because);
    } else if is_late(call, limit_ms) {
        let because = format!("it may sleep for {limit_ms} ms only and lasted {lasted} ms");
        model.blame(call, Invariant::Timeout, "extended", &because);
    }
}

/// `signal`: a call fails with `EINTR` only for a signal, and not for one with `SA_RESTART`, unless it has a time limit or
/// waits for several events (`signal(7)`). True if that is how the call ended.
pub(crate) fn interrupted(model: &mut Model<'_>, call: Call<'_>) -> bool {
    let record = call.record;
    let Outcome::Errno(errno) = record.outcome else {
        return false;
    };
    let side = model.side(record.endpoint);
    if side.murky || errno != Errno::EINTR && errno != ERESTARTSYS {
        return false;
    }
    let (plain, limit) = match record.op {
        Op::Send { by, .. } => (matches!(by, By::Call | By::Vector(_)), side.sndtimeo),
        Op::Recv { by, .. } => (matches!(by, By::Call | By::Vector(_)), side.rcvtimeo),
        Op::Wait { .. } => (false, 0),
        _ => return true,
    };
    match call.signals {
        Signals::None => {
            let because = "no signal was sent to its lane";
            model.blame(call, Invariant::Signal, "eintr-without-signal", because);
        }
        Signals::Restarting if plain && limit == 0 => {
            let because = "the handlers of all signals to its lane have SA_RESTART";
            model.blame(call, Invariant::Signal, "eintr-despite-restart", because);
        }
        Signals::Restarting | Signals::Interrupting => {}
    }
    true
}

/// Shortest call that is asked what it did with its time, in milliseconds. Longer than the host takes a processor away,
/// as a rule: for the guest that is busy time, too.
const LONG_MS: u64 = 300;

/// `spin`: a call that waits sleeps, for as long as `SO_BUSY_POLL` does not tell it otherwise. Only one that waited in
/// vain is asked: another may have had its work to do, on a processor that the host took away.
pub(crate) fn spin(model: &mut Model<'_>, call: Call<'_>) {
    let record = call.record;
    let in_vain = match &record.outcome {
        Outcome::Stuck | Outcome::Errno(Errno::EAGAIN | Errno::EINTR) => true,
        Outcome::Ready(ready) => ready.is_empty() || record.interrupted,
        _ => record.interrupted,
    };
    let asked = matches!(record.op, Op::Send { .. } | Op::Recv { .. } | Op::Wait { .. });
    let lasted = record.return_ns.saturating_sub(record.call_ns);
    let budget_us = Endpoint::BOTH.iter().map(|&endpoint| model.side(endpoint).busy_poll).max();
    let budget_ns = u64::from(budget_us.unwrap_or(0)) * 1_000;
    // what goes on after a short time limit is not the wait, but the host that took the processor away
    let returned = record.outcome != Outcome::Stuck && !record.interrupted;
    let is_short = returned && limit_ms(model, call).is_some_and(|ms| u64::from(ms) < LONG_MS);
    let in_vain = in_vain && !is_short;
    if asked && in_vain && lasted_ms(call) >= LONG_MS && record.cpu_ns > lasted / 2 + budget_ns {
        let because = format!(
            "of {} ms it was busy for {} ms",
            lasted / 1_000_000,
            record.cpu_ns / 1_000_000
        );
        model.blame(call, Invariant::Spin, "burns-cpu", &because);
    }
}

/// The call's own time limit, in milliseconds.
fn limit_ms(model: &Model<'_>, call: Call<'_>) -> Option<u32> {
    let side = model.side(call.record.endpoint);
    let limit = match call.record.op {
        Op::Wait { timeout_ms, .. } => return Some(timeout_ms),
        Op::Send { .. } => side.sndtimeo,
        _ => side.rcvtimeo,
    };
    (limit > 0).then_some(limit)
}
