//! Running one scenario again: to see what it shows, to shrink it, to measure how reliably it comes back.

use std::sync::atomic::{AtomicBool, Ordering};

use judge::Contract;
use report::{FindingKey, Reliability};
use scenario::{History, Invariant, Scenario, Verdict, Violation};

use crate::exit::Failure;
use crate::runner::{Crash, Event, Job, Runner};

/// How often in a row a smaller scenario must show the violation to be preferred: one that does so by luck would
/// be smaller and useless.
const STRICTNESS: u32 = 3;

/// How much work a finding is worth.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Candidates that the shrinker may try.
    pub candidates: usize,
    /// Replays of the result.
    pub replays: u32,
}

impl Effort {
    /// A violation costs milliseconds to replay, a dead kernel a boot.
    pub fn for_finding(key: &FindingKey) -> Effort {
        match key.invariant {
            Invariant::Panic | Invariant::Splat | Invariant::Hang => {
                Effort { candidates: 0, replays: 3 }
            }
            _ => Effort { candidates: 400, replays: 10 },
        }
    }
}

/// What one replay came to.
#[derive(Debug)]
pub enum Replayed {
    /// It ran and was judged.
    Judged(Verdict, Box<History>),
    /// It took the kernel with it.
    Crashed(Box<Crash>),
}

impl Replayed {
    /// The violation of that key, where it is among what happened.
    fn shown(self, key: &FindingKey) -> Option<(Violation, Option<History>)> {
        match self {
            Replayed::Judged(verdict, history) => verdict
                .violations()
                .iter()
                .find(|violation| FindingKey::of(violation) == *key)
                .map(|violation| (violation.clone(), Some(*history))),
            Replayed::Crashed(crash) => {
                (FindingKey::of(&crash.violation) == *key).then_some((crash.violation, None))
            }
        }
    }
}

/// What is known of a finding after shrinking and replaying it.
pub struct Confirmed {
    /// The smallest scenario that shows it.
    pub scenario: Scenario,
    /// The violation and history of the last replay that showed it.
    pub shown: Option<(Violation, History)>,
    /// How often it came back; `None` when interrupted before the first replay.
    pub reliability: Option<Reliability>,
}

/// Runs scenarios one at a time and judges them.
pub struct Replay {
    runner: Runner,
    contract: Contract,
    number: u64,
}

impl Replay {
    /// Replays on this runner's machine, judged by this contract.
    pub fn new(runner: Runner, contract: Contract) -> Replay {
        Replay { runner, contract, number: 0 }
    }

    /// Runs the scenario once.
    pub fn once(&mut self, scenario: &Scenario) -> Result<Replayed, Failure> {
        self.number += 1;
        let job = Job { number: self.number, scenario: scenario.clone() };
        match self.runner.run(job)? {
            Event::Ran(job, history) => {
                match judge::judge(&job.scenario, &history, &self.contract) {
                    Verdict::Error(reason) => {
                        Err(Failure::Harness(format!("the scenario could not be judged: {reason}")))
                    }
                    verdict => Ok(Replayed::Judged(verdict, history)),
                }
            }
            Event::Broke(_, reason) => {
                Err(Failure::Harness(format!("the scenario could not be run: {reason}")))
            }
            Event::Crash(crash) => {
                // a splat leaves the scenario under way: let it end before the next one starts
                while !self.runner.is_idle() {
                    self.runner.next()?;
                }
                Ok(Replayed::Crashed(crash))
            }
            Event::Restarted(reason) => Err(Failure::Harness(reason)),
        }
    }

    /// Shrinks a scenario that shows a finding and measures how reliably it comes back.
    ///
    /// Of several scenarios that show it, the first that comes back every time is taken, or else the most
    /// reliable one: a reproducer that works now and then is worth little.
    pub fn confirm(
        &mut self,
        key: &FindingKey,
        originals: &[Scenario],
        effort: Effort,
        interrupted: &AtomicBool,
    ) -> Result<Option<Confirmed>, Failure> {
        let mut best: Option<Confirmed> = None;
        for original in originals {
            let scenario = shrink::shrink(original, effort.candidates, |candidate| {
                self.shows_every_time(key, candidate, STRICTNESS, interrupted)
            })?;
            let confirmed = self.measure(key, scenario, effort.replays, interrupted)?;
            let hits = |confirmed: &Confirmed| confirmed.reliability.map_or(0, |r| r.hits);
            let is_sure = hits(&confirmed) == effort.replays;
            if best.as_ref().is_none_or(|best| hits(&confirmed) > hits(best)) {
                best = Some(confirmed);
            }
            if is_sure || interrupted.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(best)
    }

    fn shows_every_time(
        &mut self,
        key: &FindingKey,
        scenario: &Scenario,
        times: u32,
        interrupted: &AtomicBool,
    ) -> Result<bool, Failure> {
        for _ in 0..times {
            if interrupted.load(Ordering::Relaxed) || self.once(scenario)?.shown(key).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn measure(
        &mut self,
        key: &FindingKey,
        scenario: Scenario,
        replays: u32,
        interrupted: &AtomicBool,
    ) -> Result<Confirmed, Failure> {
        let mut confirmed = Confirmed { scenario, shown: None, reliability: None };
        for of in 1..=replays {
            if interrupted.load(Ordering::Relaxed) {
                break;
            }
            let shown = self.once(&confirmed.scenario)?.shown(key);
            let hits = confirmed.reliability.map_or(0, |r| r.hits) + u32::from(shown.is_some());
            confirmed.reliability = Some(Reliability { hits, of });
            if let Some((violation, Some(history))) = shown {
                confirmed.shown = Some((violation, history));
            }
        }
        Ok(confirmed)
    }

    /// Ends the machine.
    pub fn stop(&mut self) {
        self.runner.stop();
    }
}
