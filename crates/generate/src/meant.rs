//! Whether a scenario's steps ran as they were meant.

use scenario::history::{At, Errno, Outcome, Record};
use scenario::{History, Scenario};

/// The errors that only say that the op makes no sense here: no descriptor, no connection, one already, no such
/// option, call, protocol or map entry. That there is nothing to receive, no room, a bad buffer, or an end is what a
/// step may well be there to find out.
const BOUNCES: &[i32] = &[
    1,   // EPERM
    2,   // ENOENT
    9,   // EBADF
    16,  // EBUSY
    17,  // EEXIST
    22,  // EINVAL
    38,  // ENOSYS
    92,  // ENOPROTOOPT
    95,  // EOPNOTSUPP
    106, // EISCONN
    107, // ENOTCONN
];

/// How many steps of a scenario ran as meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Steps that did.
    pub meant: u32,
    /// All steps of the scenario.
    pub steps: u32,
}

/// Counts the steps that ran as meant.
///
/// A step did unless it has no record, nothing was called ([`Outcome::Closed`]), the call was interrupted by the
/// executor ([`Outcome::Stuck`]), or it failed with an error that only says that the op makes no sense here.
#[must_use]
pub fn meant(scenario: &Scenario, history: &History) -> Ran {
    let ran = |outcome: &Outcome| match outcome {
        Outcome::Closed | Outcome::Stuck => false,
        Outcome::Errno(Errno(number)) => !BOUNCES.contains(number),
        _ => true,
    };
    // a connect may close the old connection's other end on the way, which is no step
    let is_step = |record: &&Record| match record.at {
        At::Step(at) => scenario.steps.get(at as usize).is_some_and(|step| step.op == record.op),
        At::Finale | At::Look(_) => false,
    };
    let steps = history.records.iter().filter(is_step);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ran {
        meant: count(steps.filter(|record| ran(&record.outcome)).count()),
        steps: count(scenario.steps.len()),
    }
}
