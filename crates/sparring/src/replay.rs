//! Running one scenario again, to see what it shows.

use judge::Contract;
use scenario::{History, Scenario, Verdict, Violation};
use vm::patience::Patience;
use vm::wire::{Depth, Stock};

use crate::exit::Failure;
use crate::runner::{Crash, Event, Job, Runner};

/// What one replay came to.
#[derive(Debug, Default)]
pub struct Replayed {
    /// The verdict and what happened; `None` where the kernel died with it.
    pub judged: Option<(Verdict, History)>,
    /// What the outside saw of the kernel.
    pub crashes: Vec<Crash>,
    /// Why the scenario could not be run or judged; says nothing about the kernel.
    pub broken: Option<String>,
}

impl Replayed {
    /// All that was violated.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        let judged = self.judged.iter().flat_map(|(verdict, _)| verdict.violations());
        judged.chain(self.crashes.iter().map(|crash| &crash.violation))
    }
}

/// A replay that showed a violation.
#[derive(Clone)]
pub struct Shown {
    /// The violation.
    pub violation: Violation,
    /// What happened; `None` where the kernel died with it.
    pub history: Option<History>,
    /// What the kernel said, where the violation was seen from outside.
    pub console: String,
}

/// Runs scenarios one at a time and judges them.
pub struct Replay {
    runner: Runner,
    contract: Contract,
    patience: Patience,
    number: u64,
}

impl Replay {
    /// Replays on this runner's machine, judged by this contract, so patiently.
    pub fn new(runner: Runner, contract: Contract, patience: Patience) -> Replay {
        Replay { runner, contract, patience, number: 0 }
    }

    /// Runs the scenario once.
    ///
    /// # Errors
    /// When it cannot be run or judged, or no machine can be had.
    pub fn once(&mut self, scenario: &Scenario) -> Result<Replayed, Failure> {
        let mut replayed = self.attempt(scenario)?;
        match replayed.broken.take() {
            Some(reason) => Err(Failure::Harness(reason)),
            None => Ok(replayed),
        }
    }

    /// Runs the scenario once, or finds that it cannot be run.
    ///
    /// # Errors
    /// When no machine can be had.
    pub fn attempt(&mut self, scenario: &Scenario) -> Result<Replayed, Failure> {
        self.attempt_all([scenario])
    }

    /// Runs the scenarios one after the other; what all of them came to, with the verdict on the last.
    ///
    /// # Errors
    /// When no machine can be had.
    pub fn attempt_all<'a>(
        &mut self,
        scenarios: impl IntoIterator<Item = &'a Scenario>,
    ) -> Result<Replayed, Failure> {
        for scenario in scenarios {
            self.number += 1;
            let (number, scenario) = (self.number, scenario.clone());
            self.runner.push(Job { number, scenario, patience: self.patience, again: false });
        }
        self.gather()
    }

    /// What the kernel holds now; `None` where it does not tell, or has died or complained.
    pub fn stock(&mut self) -> Result<Option<Stock>, Failure> {
        self.runner.check_up(Depth::Stock)?;
        self.gather()?;
        Ok(self.runner.checks().take_stock())
    }

    /// Machines so far.
    pub fn boots(&self) -> u64 {
        self.runner.boots
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
        let mut replayed = self.gather()?;
        if self.runner.checks().has_leaked() || !replayed.crashes.is_empty() {
            replayed.crashes.extend(self.renew()?.crashes);
        }
        Ok(replayed)
    }

    /// Ends the machine, so that the next scenario gets a fresh one; what the old one still had to say.
    pub fn renew(&mut self) -> Result<Replayed, Failure> {
        self.runner.stop();
        self.gather()
    }

    fn gather(&mut self) -> Result<Replayed, Failure> {
        let mut replayed = Replayed::default();
        while !self.runner.is_idle() {
            match self.runner.next()? {
                Event::Ran(job, history, _) => {
                    let verdict = judge::judge(&job.scenario, &history, &self.contract);
                    if let Verdict::Error(reason) = verdict {
                        replayed.broken = Some(format!("cannot judge: {reason}"));
                    } else {
                        replayed.judged = Some((verdict, *history));
                    }
                }
                Event::Broke(_, reason) => {
                    replayed.broken = Some(format!("the scenario could not be run: {reason}"));
                }
                Event::Crash(crash) if self.contract.exemption(&crash.violation).is_some() => {}
                Event::Crash(crash) => replayed.crashes.push(*crash),
                Event::Restarted(reason) => tracing::warn!("machine lost, another try: {reason}"),
                Event::Unchecked(reason) => {
                    return Err(Failure::Harness(format!("not checked for leaks: {reason}")));
                }
            }
        }
        Ok(replayed)
    }

    /// Ends the machine.
    pub fn stop(&mut self) {
        self.runner.stop();
    }
}
