//! A campaign: generate → execute → judge → shrink → report, over and over, on several machines.

mod confirmation;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use generate::Scope;
use report::{Context, Summary};
use scenario::payload::Key;
use scenario::{Invariant, Verdict, Violation};
use vm::patience::Patience;

use crate::exit::{Failure, Outcome};
use crate::guest;
use crate::journal::Journal;
use crate::progress::Bar;
use crate::reach::Reach;
use crate::runner::{Event, Job, Runner};
use crate::tally::Tally;
use crate::target::Target;
use crate::waning::Waning;

/// How long a worker waits before it looks whether the campaign is over.
const TURN: Duration = Duration::from_secs(1);
/// How long scenarios that are under way may go on once it is: where calls hang, each of them takes minutes.
const GRACE: Duration = Duration::from_secs(20);
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
    /// What they are restricted to.
    pub scope: Scope,
    /// Where the time ends.
    pub time: Option<Duration>,
    /// Where the numbers end.
    pub scenarios: Option<u64>,
    /// Machines at the same time.
    pub jobs: usize,
    /// Processors of each machine; where nothing is said, see [`Campaign::vcpus_of`].
    pub vcpus: Option<u32>,
    /// Directory of the findings.
    pub out: PathBuf,
    /// Whether the first finding ends it.
    pub stop_on_first: bool,
    /// Whether findings are shrunk and replayed at the end.
    pub confirm: bool,
    /// What is covered, where that is to be known.
    pub reach: Option<Reach>,
}

/// What the workers share.
struct Shared<'a> {
    campaign: &'a Campaign,
    tally: Mutex<Tally>,
    bar: Bar,
    next: AtomicU64,
    patience: Waning,
    /// Set to end the campaign; workers finish what is under way.
    stop: AtomicBool,
    /// When the first machine gave its first answer: the campaign's time runs from there, not from the boot.
    started: OnceLock<Instant>,
}

/// Ends the campaign if a worker panics: the others would go on for as long as they were told to.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Campaign {
    /// Runs the campaign to its end, or until `interrupted`.
    ///
    /// # Errors
    /// When no answer can be given; findings made until then are on disk.
    pub fn run(&self, interrupted: &AtomicBool) -> Result<(Summary, Outcome), Failure> {
        let context = Context {
            target: self.target.name.clone(),
            pairs: self.target.pairs(),
            flags: self.target.flags.clone(),
            out: self.out.clone(),
            kernel_release: String::new(),
            contract: self.target.contract_name.clone(),
            seed: self.seed,
        };
        let shared = Shared {
            campaign: self,
            tally: Mutex::new(Tally::new(&self.out, context, self.empty_summary())),
            bar: Bar::new("{spinner} {elapsed_precise} {wide_msg}"),
            next: AtomicU64::new(0),
            patience: Waning::default(),
            stop: AtomicBool::new(false),
            started: OnceLock::new(),
        };
        shared.lock().save()?;
        let worked = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs)
                .map(|vm| {
                    let shared = &shared;
                    scope.spawn(move || {
                        let _guard = StopOnPanic(&shared.stop);
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
        if self.confirm && worked.is_ok() {
            shared.confirm_all(interrupted);
        }
        let is_complete = !interrupted.load(Ordering::Relaxed);
        match (shared.close(is_complete, worked.as_ref().err()), worked) {
            (Ok((summary, Outcome::Violation)), Err(failure)) => {
                // what was found stands, whatever ended the campaign
                shared.bar.line(&format!("ended early: {failure}"));
                Ok((summary, Outcome::Violation))
            }
            (Ok(_), Err(failure)) => Err(failure),
            (Ok(ending), Ok(())) => Ok(ending),
            (Err(unsaved), worked) => {
                shared.bar.line(&shared.rescue());
                Err(worked.err().unwrap_or(unsaved))
            }
        }
    }

    /// The first, third, ... machine has two processors, so that lanes race, where the host has them. The others have
    /// one, with which a scenario without overlap is as fast, and one with overlap is scheduled in other ways.
    fn vcpus_of(&self, vm: usize) -> u32 {
        let by_turns = if vm.is_multiple_of(2) { guest::racing_vcpus() } else { 1 };
        self.vcpus.unwrap_or(by_turns)
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
            overlapping: 0,
            several_pairs: 0,
            over_a_wire: 0,
            ops: 0,
            ops_as_meant: 0.0,
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
            broken: 0,
            unfinished: Some("still running, or killed".to_owned()),
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
        let mut spec = campaign.target.spec(key, console)?;
        spec.machine.vcpus = campaign.vcpus_of(vm);
        spec.plan.points = campaign.reach.as_ref().map(|reach| reach.list().to_owned());
        let mut runner = Runner::for_many(spec);
        let mut stopped = None;
        loop {
            while runner.has_room() {
                let Some(job) = self.generate() else { break };
                journal.record(campaign.seed, &job)?;
                runner.push(job);
            }
            if self.stop.load(Ordering::Relaxed) {
                runner.forget_waiting();
                stopped.get_or_insert_with(Instant::now);
            }
            if runner.is_idle() {
                runner.finish()?;
            }
            if runner.is_idle() {
                return Ok(());
            }
            let Some(event) = runner.next_within(TURN)? else {
                // of a guest that says nothing, its silence will tell
                if stopped.is_some_and(|stopped| stopped.elapsed() > GRACE)
                    && let Some(left) = runner.slow()
                {
                    let reason = format!("{left} scenarios took too long to end");
                    self.lock().unchecked = Some(reason);
                    runner.abandon();
                }
                continue;
            };
            self.start_clock(&runner);
            if let Some(again) = self.judge(event)? {
                runner.push(again);
            }
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
        let campaign = self.campaign;
        let scenario = generate::scenario_within(campaign.seed, number, &campaign.scope);
        Some(Job { number, scenario, patience: self.patience.patience(number), again: false })
    }

    fn start_clock(&self, runner: &Runner) {
        self.started.get_or_init(|| {
            let mut tally = self.lock();
            tally.start_clock();
            tally.summary.boot_s = runner.boot_s;
            tally.summary.kernel_release.clone_from(&runner.release);
            tally.context.kernel_release.clone_from(&runner.release);
            Instant::now()
        });
    }

    /// Judges what happened; gives what has to run again.
    fn judge(&self, event: Event) -> Result<Option<Job>, Failure> {
        let mut new = Vec::new();
        match event {
            Event::Ran(job, history, reached) => {
                if let Some(reach) = &self.campaign.reach {
                    reach.note(job.number, &reached);
                }
                let us = history.records.last().map_or(0, |record| record.return_ns / 1_000);
                let bytes = || history.accepted_and_ring();
                tracing::debug!(number = job.number, us, accepted_and_ring = ?bytes(), "ran");
                let contract = &self.campaign.target.contract;
                let judged = judge::judge_in_full(&job.scenario, &history, contract);
                if let Verdict::Error(reason) = &judged.verdict {
                    return Err(Failure::Harness(format!(
                        "scenario {} could not be judged: {reason}",
                        job.number
                    )));
                }
                let mut tally = self.lock();
                let exempted = judged.exempted.len();
                let is_known = |violation: &Violation| tally.knows(violation);
                let counts =
                    self.patience.what_counts(job.patience, &history, judged.verdict, is_known);
                let Some(verdict) = counts else {
                    return Ok(Some(Job { patience: Patience::Judging, again: true, ..job }));
                };
                new = tally.ran(&job, &history, &verdict, exempted)?;
            }
            Event::Broke(job, reason) => self.lock().broke(&job, &reason)?,
            Event::Crash(crash)
                if self.campaign.target.contract.exemption(&crash.violation).is_some() =>
            {
                self.lock().summary.exempted += 1;
            }
            Event::Crash(crash) => {
                let mut tally = self.lock();
                let key = tally.crashed(&crash)?;
                // a splat that is known costs no machine, and a leak none
                let costs = match crash.violation.invariant {
                    Invariant::LeakMemory | Invariant::LeakObject => false,
                    Invariant::Splat => key.is_some(),
                    _ => true,
                };
                if costs {
                    tally.restarted(&crash.violation.evidence);
                }
                new.extend(key);
            }
            Event::Restarted(reason) => self.lock().restarted(&reason),
            Event::Unchecked(reason) => self.lock().unchecked = Some(reason),
        }
        for key in &new {
            self.bar.line(&format!("finding: {}: {}", key.invariant, key.diagnosis));
        }
        if !new.is_empty() && self.campaign.stop_on_first {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(None)
    }

    /// What the main thread does while the workers work.
    fn tick(&self, ticks: u32, interrupted: &AtomicBool) -> Result<(), Failure> {
        let elapsed = self.started.get().map_or(Duration::ZERO, Instant::elapsed);
        let over = self.campaign.time.is_some_and(|time| elapsed >= time);
        let is_told = interrupted.load(Ordering::Relaxed);
        if over || is_told {
            let was_told = self.stop.swap(true, Ordering::Relaxed);
            if is_told && !was_told {
                self.bar.line("ending: what is under way is kept; once more to end at once");
            }
        }
        let mut tally = self.lock();
        if ticks.is_multiple_of(SAVE_EVERY) {
            tally.summary.covered_pcs = self.covered();
            tally.save()?;
        }
        let summary = &tally.summary;
        let message = format!(
            "{} scenarios, {:.0}/s, {} findings, ring {:.0} %, {} inconclusive, {} restarts",
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

    fn covered(&self) -> Option<u64> {
        self.campaign.reach.as_ref().map(Reach::covered)
    }

    /// Writes the final summary.
    fn close(
        &self,
        is_complete: bool,
        failure: Option<&Failure>,
    ) -> Result<(Summary, Outcome), Failure> {
        let mut tally = self.lock();
        let missing = match failure {
            Some(failure) => Some(failure.to_string()),
            None if is_complete => self.missing(&tally),
            None => Some("interrupted".to_owned()),
        };
        let outcome = match (tally.entries.is_empty(), &missing) {
            (false, _) => Outcome::Violation,
            (true, None) => Outcome::Pass,
            (true, Some(_)) => Outcome::Unfinished,
        };
        let summary = &mut tally.summary;
        summary.covered_pcs = self.covered();
        summary.finished = is_complete && failure.is_none();
        summary.unfinished = missing;
        summary.exit_code = match (outcome, failure) {
            (Outcome::Unfinished, Some(failure)) => failure.code(),
            _ => outcome.code(),
        };
        tally.save()?;
        Ok((tally.summary.clone(), outcome))
    }

    /// What keeps a campaign without findings from being a pass.
    fn missing(&self, tally: &Tally) -> Option<String> {
        let summary = &tally.summary;
        if summary.broken > 0 {
            return Some(format!("{} scenarios could not be run", summary.broken));
        }
        if summary.scenarios == summary.inconclusive {
            return Some("no scenario could be judged in full".into());
        }
        if self.campaign.target.pairs() && summary.ring_bytes == 0 {
            return Some(
                "no byte took the ring, so nothing was shown: check that the program pairs".into(),
            );
        }
        tally.unchecked.as_ref().map(|why| format!("a machine was not checked for leaks: {why}"))
    }

    /// What would be lost with an output directory that cannot be written: the findings, as text.
    fn rescue(&self) -> String {
        let mut text = "the findings cannot be written; here they are:\n".to_owned();
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
