//! Running one scenario again: to see what it shows, to shrink it, to measure how reliably it comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use judge::Contract;
use report::{FindingKey, Reliability};
use scenario::{History, Invariant, Scenario, Verdict, Violation};
use vm::wire::Depth;

use crate::exit::Failure;
use crate::runner::{Crash, Event, Job, Runner};

/// How often in a row a smaller scenario must show the violation to be preferred: one that does so by luck would
/// be smaller and useless.
const STRICTNESS: u32 = 3;

/// How long shrinking may take, for each finding, and then replaying: calls that sleep until their bound make a
/// replay of minutes.
const BUDGET: Duration = Duration::from_secs(20);

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
        if is_crash(key) || is_leak(key) {
            Effort { candidates: 0, replays: 3 }
        } else {
            Effort { candidates: 400, replays: 10 }
        }
    }
}

/// Whether the finding is about the kernel as a whole, seen from outside.
pub fn is_crash(key: &FindingKey) -> bool {
    matches!(key.invariant, Invariant::Panic | Invariant::Splat | Invariant::Hang)
}

/// Whether the finding is about what is left of scenarios that are over.
pub fn is_leak(key: &FindingKey) -> bool {
    matches!(key.invariant, Invariant::LeakMemory | Invariant::LeakObject)
}

/// What one replay came to.
#[derive(Debug, Default)]
pub struct Replayed {
    /// The verdict and what happened; `None` where the kernel died with it.
    pub judged: Option<(Verdict, History)>,
    /// What the outside saw of the kernel.
    pub crashes: Vec<Crash>,
}

impl Replayed {
    /// All that was violated.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        let judged = self.judged.iter().flat_map(|(verdict, _)| verdict.violations());
        judged.chain(self.crashes.iter().map(|crash| &crash.violation))
    }

    /// The violation of that key, where it is among them.
    fn shown(&self, key: &FindingKey) -> Option<&Violation> {
        self.violations().find(|violation| FindingKey::of(violation) == *key)
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
        self.runner.push(Job { number: self.number, scenario: scenario.clone() });
        self.gather()
    }

    /// What the kernel complains about a little after its answer.
    pub fn settle(&mut self) -> Result<Replayed, Failure> {
        self.runner.settle()?;
        self.gather()
    }

    /// What the scenarios so far left behind. A machine on which something is left is of no more use: the next
    /// scenario gets a fresh one.
    pub fn check_up(&mut self, depth: Depth) -> Result<Replayed, Failure> {
        self.runner.check_up(depth)?;
        let replayed = self.gather()?;
        if self.runner.has_leaked() || !replayed.crashes.is_empty() {
            self.runner.stop();
        }
        Ok(replayed)
    }

    fn gather(&mut self) -> Result<Replayed, Failure> {
        let mut replayed = Replayed::default();
        while !self.runner.is_idle() {
            match self.runner.next()? {
                Event::Ran(job, history) => {
                    let verdict = judge::judge(&job.scenario, &history, &self.contract);
                    if let Verdict::Error(reason) = verdict {
                        return Err(Failure::Harness(format!("cannot judge: {reason}")));
                    }
                    replayed.judged = Some((verdict, *history));
                }
                Event::Broke(_, reason) => {
                    return Err(Failure::Harness(format!(
                        "the scenario could not be run: {reason}"
                    )));
                }
                Event::Crash(crash) => replayed.crashes.push(*crash),
                Event::Restarted(reason) => tracing::warn!("machine lost, another try: {reason}"),
                Event::Unchecked(reason) => {
                    return Err(Failure::Harness(format!("not checked for leaks: {reason}")));
                }
            }
        }
        Ok(replayed)
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
        let deadline = Instant::now() + BUDGET;
        for original in originals {
            let scenario = shrink::shrink(original, effort.candidates, |candidate| {
                let over = interrupted.load(Ordering::Relaxed) || Instant::now() > deadline;
                Ok::<_, Failure>(!over && self.shows_every_time(key, candidate, STRICTNESS)?)
            })?;
            let confirmed = self.measure(key, scenario, effort.replays, interrupted)?;
            let hits = |confirmed: &Confirmed| confirmed.reliability.map_or(0, |r| r.hits);
            let is_sure = confirmed.reliability.is_some_and(|r| r.hits == r.of);
            if best.as_ref().is_none_or(|best| hits(&confirmed) > hits(best)) {
                best = Some(confirmed);
            }
            if is_sure || interrupted.load(Ordering::Relaxed) || Instant::now() > deadline {
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
    ) -> Result<bool, Failure> {
        for _ in 0..times {
            if self.once(scenario)?.shown(key).is_none() {
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
        let deadline = Instant::now() + BUDGET;
        for of in 1..=replays {
            if interrupted.load(Ordering::Relaxed) || of > 1 && Instant::now() > deadline {
                break;
            }
            let mut replayed = self.once(&confirmed.scenario)?;
            if is_crash(key) {
                replayed.crashes.extend(self.settle()?.crashes);
            }
            if is_leak(key) {
                replayed.crashes.extend(self.check_up(Depth::Memory)?.crashes);
            }
            let shown = replayed.shown(key).cloned();
            let hits = confirmed.reliability.map_or(0, |r| r.hits) + u32::from(shown.is_some());
            confirmed.reliability = Some(Reliability { hits, of });
            if let (Some(violation), Some((_, history))) = (shown, replayed.judged) {
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
