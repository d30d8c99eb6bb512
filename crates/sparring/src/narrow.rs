//! Leaks that only many runs show, by what the kernel holds before and after them.

use std::iter;

use scenario::Scenario;
use vm::wire::Stock;

use crate::exit::Failure;
use crate::ledger::{self, Ledger, Measure};
use crate::replay::{Replay, Replayed};
use crate::runner::Crash;

/// What must grow with a scenario that is run over and over. One that leaks each time is told from one that makes the
/// kernel fill a cache by the second step.
const REPLAYS: Measure = Measure { stocks: 3, scenarios: BETWEEN as u64, least: 2, one_in: 8 };
/// Runs before the first stock: what a scenario needs first stays there.
const WARM: usize = 4;
/// Runs between two stocks.
const BETWEEN: usize = 16;
/// Runs that compare one half of a batch with the other, at least.
const COMPARED: usize = 32;

impl Replay {
    /// Runs a scenario many times and looks for what grows with it.
    ///
    /// # Errors
    /// When no machine can be had.
    pub fn grow(&mut self, scenario: &Scenario) -> Result<Replayed, Failure> {
        let mut ledger = Ledger::default();
        let mut replayed = self.attempt_all(iter::repeat_n(scenario, WARM))?;
        let machine = self.boots();
        for (at, ran) in (0..REPLAYS.stocks).zip((0..).step_by(BETWEEN)) {
            if at > 0 {
                let more = self.attempt_all(iter::repeat_n(scenario, BETWEEN))?;
                replayed.judged = more.judged;
                replayed.crashes.extend(more.crashes);
            }
            match self.stock()? {
                Some(stock) if self.boots() == machine => ledger.enter(ran, stock, &REPLAYS),
                _ => return Ok(replayed),
            }
        }
        replayed.crashes.extend(ledger.growth(&REPLAYS).map(|growth| Crash {
            violation: growth.violation(),
            console: String::new(),
            suspect: None,
            recent: Vec::new(),
        }));
        Ok(replayed)
    }

    /// Of the scenarios during which something grew, one with which it grows again; see [`halve`].
    ///
    /// # Errors
    /// When no machine can be had.
    pub fn narrow(
        &mut self,
        diagnosis: &str,
        batch: Vec<Scenario>,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Scenario, Failure> {
        // caches fill, and networks are made
        self.attempt_all(&batch)?;
        let around = self.around(&batch)?;
        let fastest =
            around.and_then(|[before, after]| ledger::fastest(diagnosis, &before, &after));
        halve(batch, is_over, |half| {
            let around = self.around(half)?.zip(fastest.as_ref());
            Ok(around.map_or(0, |([before, after], what)| ledger::grown(what, &before, &after)))
        })
    }

    /// What the kernel holds before and after many runs of these scenarios; `None` where that cannot be told.
    fn around(&mut self, scenarios: &[Scenario]) -> Result<Option<[Stock; 2]>, Failure> {
        let Some(before) = self.stock()? else { return Ok(None) };
        let machine = self.boots();
        self.attempt_all(scenarios.iter().cycle().take(runs(scenarios)))?;
        let after = self.stock()?.filter(|_| self.boots() == machine);
        Ok(after.map(|after| [before, after]))
    }
}

/// Runs of so many scenarios that are compared with those of as many others: each as often.
fn runs(scenarios: &[Scenario]) -> usize {
    COMPARED.next_multiple_of(scenarios.len().max(1))
}

/// Halves the batch until one is left, time is over, or nothing grows again: goes on with the half with which more
/// grows or, where it grows with most runs of either, with the one that has fewer steps.
fn halve(
    mut batch: Vec<Scenario>,
    is_over: &dyn Fn() -> bool,
    mut grown: impl FnMut(&[Scenario]) -> Result<u64, Failure>,
) -> Result<Scenario, Failure> {
    while batch.len() > 1 && !is_over() {
        let rest = batch.split_off(batch.len() / 2);
        let (first, second) = (grown(&batch)?, grown(&rest)?);
        tracing::debug!(first, second, scenarios = rest.len(), "by how much each half grows");
        if first.max(second) == 0 {
            break;
        }
        let steps = |half: &[Scenario]| half.iter().map(|s| s.steps.len()).sum::<usize>();
        let is_enough = |half: &[Scenario], grown: u64| 2 * grown >= runs(half) as u64;
        let takes_rest = if is_enough(&batch, first) && is_enough(&rest, second) {
            steps(&rest) < steps(&batch)
        } else {
            second > first
        };
        if takes_rest {
            batch = rest;
        }
    }
    Ok(batch.into_iter().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use scenario::{Op, Step, When};

    use super::*;

    /// Scenarios of so many steps.
    fn batch(steps: &[usize]) -> Vec<Scenario> {
        let step = Step { lane: 0, when: When::Then, op: Op::Close, expect: None };
        let with = |&n: &usize| Scenario { steps: vec![step.clone(); n], ..Scenario::default() };
        steps.iter().map(with).collect()
    }

    /// The steps of the one that is left, where each scenario leaves so much in each run.
    fn left(steps: &[usize], leaves: impl Fn(usize) -> u64) -> usize {
        let grown = |half: &[Scenario]| {
            let ran = half.iter().cycle().take(runs(half));
            Ok(ran.map(|scenario| leaves(scenario.steps.len())).sum())
        };
        halve(batch(steps), &|| false, grown).unwrap().steps.len()
    }

    #[test_log::test]
    fn the_only_one_that_leaves_something_is_found() {
        let steps: Vec<usize> = (1..=64).collect();
        for guilty in [1, 2, 31, 32, 33, 63, 64] {
            assert_eq!(left(&steps, |n| u64::from(n == guilty)), guilty);
        }
    }

    #[test_log::test]
    fn of_several_a_short_one_is_taken() {
        assert_eq!(left(&[40, 30, 20, 10, 4, 30, 7], |_| 2), 4);
        assert_eq!(left(&[1, 30, 2, 3], |n| u64::from(n >= 30) * 100), 30);
    }

    #[test_log::test]
    fn what_does_not_come_again_leaves_one_all_the_same() {
        assert_eq!(left(&[3, 2, 1], |_| 0), 3);
        assert_eq!(halve(batch(&[5, 6]), &|| true, |_| Ok(1)).unwrap().steps.len(), 5);
        assert_eq!(halve(Vec::new(), &|| false, |_| Ok(1)).unwrap(), Scenario::default());
    }
}
