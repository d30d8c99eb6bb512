//! A campaign: generate → execute → judge → shrink → report, over and over, on several machines.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use report::{Context, FindingKey, Summary};
use scenario::payload::Key;
use scenario::Verdict;

use crate::exit::{Failure, Outcome};
use crate::journal::Journal;
use crate::progress::Bar;
use crate::replay::{Effort, Replay};
use crate::runner::{Event, Job, Runner};
use crate::tally::Tally;
use crate::target::Target;

/// How often the summary on disk and the progress bar follow.
const TICK: Duration = Duration::from_millis(250);
/// How many ticks pass between two writes of the summary.
const SAVE_EVERY: u32 = 8;

/// What to run, on what, and for how long.
pub struct Campaign {
    /// The kernel target.
    pub target: Target,
    /// Same seed, same scenarios.
    pub seed: u64,
    /// Where the time ends.
    pub time: Option<Duration>,
    /// Where the numbers end.
    pub scenarios: Option<u64>,
    /// Machines at the same time.
    pub jobs: usize,
    /// Directory of the findings.
    pub out: PathBuf,
    /// Whether the first finding ends it.
    pub stop_on_first: bool,
}

/// What the workers share.
struct Shared<'a> {
    campaign: &'a Campaign,
    tally: Mutex<Tally>,
    bar: Bar,
    next: AtomicU64,
    /// Set to end the campaign; workers finish what is under way.
    stop: AtomicBool,
    deadline: Mutex<Option<Instant>>,
}

impl Campaign {
    /// Runs the campaign to its end, or until `interrupted`.
    ///
    /// # Errors
    /// When no answer can be given; findings made until then are on disk.
    pub fn run(&self, interrupted: &AtomicBool) -> Result<(Summary, Outcome), Failure> {
        let context = Context {
            target: self.target.name.clone(),
            flags: self.target.flags.clone(),
            kernel_release: String::new(),
            contract: self.target.contract_name.clone(),
            seed: self.seed,
        };
        let shared = Shared {
            campaign: self,
            tally: Mutex::new(Tally::new(&self.out, context, self.empty_summary())),
            bar: Bar::new("{spinner} {elapsed_precise} {wide_msg}"),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            deadline: Mutex::new(None),
        };
        shared.lock().save()?;
        let result = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs)
                .map(|vm| {
                    let shared = &shared;
                    scope.spawn(move || {
                        let result = shared.work(vm);
                        if result.is_err() {
                            shared.stop.store(true, Ordering::Relaxed);
                        }
                        result
                    })
                })
                .collect();
            let mut ticks = 0;
            let mut saved = Ok(());
            while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
                thread::sleep(TICK);
                ticks += 1;
                if let Err(error) = shared.tick(ticks, interrupted) {
                    shared.stop.store(true, Ordering::Relaxed);
                    saved = Err(error);
                }
            }
            workers.into_iter().map(join).fold(saved, Result::and)
        });
        if let Err(failure) = result {
            shared.bar.line(&shared.rescue());
            return Err(failure);
        }
        shared.close(interrupted)
    }

    fn empty_summary(&self) -> Summary {
        Summary {
            target: self.target.name.clone(),
            kernel_release: String::new(),
            contract: self.target.contract_name.clone(),
            seed: self.seed,
            accel: self.target.accel.to_string(),
            jobs: self.jobs,
            scenarios: 0,
            inconclusive: 0,
            doubts: std::collections::BTreeMap::new(),
            paired: 0,
            elapsed_s: 0.0,
            scenarios_per_s: 0.0,
            ring_bytes: 0,
            tcp_bytes: 0,
            covered_pcs: None,
            findings: Vec::new(),
            exempted: 0,
            boot_s: 0.0,
            vm_restarts: 0,
            restart_reasons: Vec::new(),
            finished: false,
            exit_code: Outcome::Unfinished.code(),
        }
    }
}

fn join(worker: thread::ScopedJoinHandle<'_, Result<(), Failure>>) -> Result<(), Failure> {
    worker.join().unwrap_or_else(|_| Err(Failure::Harness("a worker panicked: report this".into())))
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        // a worker that panicked while it held the lock ends the campaign anyway; what was counted still counts
        self.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One worker: keeps one machine busy until the campaign ends.
    fn work(&self, vm: usize) -> Result<(), Failure> {
        let campaign = self.campaign;
        let mut journal = Journal::create(&campaign.out, vm)?;
        let console = campaign.out.join(format!("console-vm{vm}.log"));
        let key = Key::from_seed(campaign.seed);
        let mut runner = Runner::new(campaign.target.spec(key, &campaign.out, console)?);
        loop {
            while runner.has_room() {
                let Some(job) = self.generate() else { break };
                journal.record(campaign.seed, &job)?;
                runner.push(job);
            }
            if runner.is_idle() {
                runner.stop();
                return Ok(());
            }
            let event = runner.next()?;
            self.start_clock(&runner);
            self.judge(event)?;
        }
    }

    /// The next scenario, or none when the campaign is over.
    fn generate(&self) -> Option<Job> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if self.campaign.scenarios.is_some_and(|scenarios| number >= scenarios) {
            return None;
        }
        Some(Job { number, scenario: generate::scenario(self.campaign.seed, number) })
    }

    /// The campaign's time runs from the first answer of the first machine, not from its boot.
    fn start_clock(&self, runner: &Runner) {
        let Ok(mut deadline) = self.deadline.lock() else {
            return;
        };
        if deadline.is_none() {
            let now = Instant::now();
            *deadline =
                Some(now + self.campaign.time.unwrap_or(Duration::from_secs(u32::MAX.into())));
            let mut tally = self.lock();
            tally.start_clock();
            tally.summary.boot_s = runner.boot_s;
            tally.summary.kernel_release.clone_from(&runner.release);
            tally.context.kernel_release.clone_from(&runner.release);
        }
    }

    fn judge(&self, event: Event) -> Result<(), Failure> {
        let mut new = Vec::new();
        match event {
            Event::Ran(job, history) => {
                let us = history.records.last().map_or(0, |record| record.return_ns / 1_000);
                tracing::debug!(number = job.number, us, "ran");
                let contract = &self.campaign.target.contract;
                let judged = judge::judge_in_full(&job.scenario, &history, contract);
                if let Verdict::Error(reason) = &judged.verdict {
                    return Err(Failure::Harness(format!(
                        "scenario {} could not be judged: {reason}",
                        job.number
                    )));
                }
                let exempted = judged.exempted.len();
                new = self.lock().ran(&job, &history, &judged.verdict, exempted)?;
            }
            Event::Broke(job, reason) => {
                return Err(Failure::Harness(format!(
                    "scenario {} of seed {} could not be run: {reason}",
                    job.number, self.campaign.seed
                )));
            }
            Event::Crash(crash) => {
                let mut tally = self.lock();
                tally.restarted(&crash.violation.evidence);
                new.extend(tally.crashed(&crash)?);
            }
            Event::Restarted(reason) => self.lock().restarted(&reason),
        }
        for key in &new {
            self.bar.line(&format!("violation: {}: {}", key.invariant, key.diagnosis));
        }
        if !new.is_empty() && self.campaign.stop_on_first {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What the main thread does while the workers work.
    fn tick(&self, ticks: u32, interrupted: &AtomicBool) -> Result<(), Failure> {
        let over = self.deadline.lock().is_ok_and(|d| d.is_some_and(|at| Instant::now() >= at));
        if over || interrupted.load(Ordering::Relaxed) {
            self.stop.store(true, Ordering::Relaxed);
        }
        let mut tally = self.lock();
        if !self.stop.load(Ordering::Relaxed) {
            tally.stop_clock();
        }
        if ticks.is_multiple_of(SAVE_EVERY) {
            tally.save()?;
        }
        let summary = &tally.summary;
        let message = format!(
            "{} scenarios, {:.0}/s, {} violations, ring {:.0} %, {} inconclusive, {} restarts",
            summary.scenarios,
            summary.scenarios_per_s,
            tally.entries.len(),
            summary.ring_share() * 100.0,
            summary.inconclusive,
            summary.vm_restarts,
        );
        self.bar.set(summary.scenarios, self.campaign.scenarios, &message);
        Ok(())
    }

    /// After the last scenario: shrink and replay the findings, then write the final summary.
    fn close(&self, interrupted: &AtomicBool) -> Result<(Summary, Outcome), Failure> {
        self.lock().save()?;
        let keys: Vec<FindingKey> = self.lock().entries.keys().cloned().collect();
        if !keys.is_empty() {
            let campaign = self.campaign;
            let console = campaign.out.join("console-replay.log");
            let key = Key::from_seed(campaign.seed);
            let spec = campaign.target.spec(key, &campaign.out, console)?;
            let mut replay = Replay::new(Runner::new(spec), campaign.target.contract.clone());
            for (at, key) in keys.iter().enumerate() {
                if interrupted.load(Ordering::Relaxed) {
                    break;
                }
                let message = format!("shrink and replay {}: {}", key.invariant, key.diagnosis);
                self.bar.set(at as u64, Some(keys.len() as u64), &message);
                self.confirm(&mut replay, key, interrupted)?;
            }
            replay.stop();
        }
        let mut tally = self.lock();
        let finished = !interrupted.load(Ordering::Relaxed);
        let outcome = match (tally.entries.is_empty(), finished) {
            (false, _) => Outcome::Violation,
            (true, true) => Outcome::Pass,
            (true, false) => Outcome::Unfinished,
        };
        tally.summary.finished = finished;
        tally.summary.exit_code = outcome.code();
        tally.save()?;
        Ok((tally.summary.clone(), outcome))
    }

    /// Shrinks one finding and measures how reliably it comes back.
    fn confirm(
        &self,
        replay: &mut Replay,
        key: &FindingKey,
        interrupted: &AtomicBool,
    ) -> Result<(), Failure> {
        let originals = match self.lock().entries.get(key) {
            Some(entry) => entry.shown_by.clone(),
            None => return Ok(()),
        };
        let effort = Effort::for_finding(key);
        if let Some(confirmed) = replay.confirm(key, &originals, effort, interrupted)? {
            self.lock().shrunk(key, confirmed.scenario, confirmed.shown, confirmed.reliability)?;
        }
        Ok(())
    }

    /// What would be lost with an output directory that cannot be written: the findings, as text.
    fn rescue(&self) -> String {
        let mut text = String::new();
        for (key, entry) in &self.lock().entries {
            text += &format!(
                "\n# {}: {}\n# {}\n{}",
                key.invariant,
                key.diagnosis,
                entry.artifacts.violation.evidence,
                scenario::text::print(&entry.artifacts.scenario)
            );
        }
        text
    }
}
