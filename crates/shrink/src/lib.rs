//! Reduces a scenario while the same violation stays.
//!
//! [`shrink`] changes the scenario, asks its caller whether the violation is still there, and keeps what shows it. The
//! passes go from coarse to fine, what a reviewer wants gone first before the rest, and are repeated until none of
//! them helps: what makes tries slow (topology, wire, sleep), pairs, lanes, steps, options, overlap, and then what each
//! call can do without. Every candidate respects the limits, none is tried twice, and none has more calls that may
//! sleep than the scenario it was made from: a call that sleeps in vain costs its whole time bound.
//!
//! A [`Threshold`] says how often a candidate must show a violation that does not come every time.

#![forbid(unsafe_code)]

mod amplify;
mod edit;
mod plain;
mod search;
mod sizes;
mod sleep;
mod structure;
#[cfg(test)]
mod tests;
mod threshold;

pub use amplify::amplified;
pub use threshold::Threshold;

use scenario::Scenario;
use search::Search;

/// How to go about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything that may help: for tries that cost milliseconds.
    Thorough,
    /// Only what takes much away at once: for tries that cost the boot of a machine.
    Bold,
}

/// Reduces `original` while `shows` says that the violation stays; at most `tries` calls of it.
///
/// The result is the original, or a candidate for which `shows` returned true. To end early, let `shows` return false.
///
/// A violated expectation (see [`scenario::Expect`]) belongs to the scenario as its author wrote it, since a smaller
/// one lets the same call return something else: where the violation needs one, nothing but other expectations is left
/// out.
///
/// # Errors
/// The first error of `shows`.
pub fn shrink<E>(
    original: &Scenario,
    mode: Mode,
    tries: usize,
    shows: impl FnMut(&Scenario) -> Result<bool, E>,
) -> Result<Scenario, E> {
    let mut search = Search::new(original, mode, tries, shows);
    search.leave_out_expectations()?;
    if search.best.steps.iter().any(|step| step.expect.is_some()) {
        return Ok(search.best);
    }
    loop {
        let before = search.best.clone();
        search.calm_network()?;
        search.keep_all_awake()?;
        search.leave_out_pairs()?;
        search.leave_out_lanes()?;
        search.leave_out_steps()?;
        search.keep_awake()?;
        search.leave_out_unused()?;
        search.replace_nonblock()?;
        search.leave_out_setup()?;
        search.merge_lanes()?;
        search.put_in_sequence()?;
        search.join_transfers()?;
        search.make_calls_plain()?;
        search.reduce_numbers()?;
        if search.best == before {
            search.leave_out_couples()?;
        }
        if search.best == before || search.is_over() {
            return Ok(search.best);
        }
    }
}
