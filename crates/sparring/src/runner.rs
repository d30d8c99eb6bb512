//! Runs scenarios on a kernel target, on one machine after another when they die.
//!
//! The runner knows what was under way when a machine ended and says so; it judges nothing but what only the
//! outside can see: a splat, a panic, a hang.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use scenario::{History, Invariant, Scenario, Violation};
use vm::machine::{Ending, Event as MachineEvent};
use vm::patience::{self, Patience};
use vm::splat::{Panic, Splat};
use vm::wire::{Checkup, Depth, FromGuest, Reached, ToGuest};

use crate::exit::Failure;
use crate::guest::{self, Guest};
use crate::leak::{self, Checks, Watched};
use crate::ledger;

/// Scenarios that are given to the guest ahead of their turn, so that it never waits for the host.
const WINDOW: usize = 16;
/// Finished scenarios that are told, because the one under way when the kernel dies may not be the guilty one.
const RECENT: usize = 16;
/// And because what grows may do so with few of them.
const BATCH: usize = 64;
/// Scenarios after which a machine is replaced, so that a kernel that leaks a little each time (the RFC kernel:
/// 40 KiB) does not run out of memory.
const RETIRE_AFTER: u64 = 20_000;
/// How long a guest may take to switch itself off, or to say what it hangs in.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the search of a machine's memory for leaks may take, under emulation and with every check in the kernel.
const CHECKUP: Duration = Duration::from_secs(300);
/// How long a complaint may take from its cause to its first word on the console.
const COMPLAINT: Duration = Duration::from_millis(300);
/// How often to look whether it has come to its end.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a guest with something to do may stay silent: several times what a call, or the finale of a connection,
/// may wait for. While calls return it says so ([`FromGuest::Busy`]).
const SILENCE: Duration = Duration::from_secs(60);
/// The diagnosis of a guest that gave no answer in time.
pub const GUEST_SILENT: &str = "guest-silent";
/// A guest whose calls return says so oftener than this ([`FromGuest::Busy`]).
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Machines lost in a row, with nothing done in between, after which the runner gives up.
const LOSSES: u32 = 3;

/// A scenario under its number.
#[derive(Clone, Debug)]
pub struct Job {
    /// The caller's number for it.
    pub number: u64,
    /// What to run.
    pub scenario: Scenario,
    /// How long its calls may take.
    pub patience: Patience,
    /// It ran before, and what it showed is to be seen again: it is not forgotten.
    pub again: bool,
}

/// What came of a scenario, or of the machine it was on.
#[derive(Debug)]
pub enum Event {
    /// It ran to its end, and covered this.
    Ran(Job, Box<History>, Reached),
    /// The harness could not run it.
    Broke(Job, String),
    /// The kernel complained, died, or stopped answering.
    Crash(Box<Crash>),
    /// The machine ended for a reason that is not the kernel's; what was under way will run again.
    Restarted(String),
    /// Nobody knows what the scenarios on a machine left behind.
    Unchecked(String),
}

/// What the outside saw of a kernel in trouble.
#[derive(Debug)]
pub struct Crash {
    /// `splat`, `panic` or `hang`, with the headline as diagnosis, or a leak.
    pub violation: Violation,
    /// The console's words.
    pub console: String,
    /// The scenario that was under way, or else the last one before.
    pub suspect: Option<Job>,
    /// The ones before it, oldest first.
    pub recent: Vec<Job>,
}

/// Runs scenarios; see the module.
pub struct Runner {
    spec: guest::Spec,
    /// What every machine is checked for.
    watched: Watched,
    guest: Option<Guest>,
    /// Given to the guest, in order; the first is the one it works on.
    under_way: VecDeque<Job>,
    /// To be run (again) before anything new.
    waiting: VecDeque<Job>,
    /// What has happened and was not yet told.
    backlog: VecDeque<Event>,
    recent: VecDeque<Job>,
    /// Headlines of all splats so far.
    complaints: BTreeSet<String>,
    /// The kernel has complained, or has run long enough: finish what is under way, then start a fresh machine.
    retiring: bool,
    /// Scenarios that this machine has run.
    ran: u64,
    checks: Checks,
    losses: u32,
    next_run: u16,
    last_news: Instant,
    /// Boots so far.
    pub boots: u64,
    /// `uname -r` of the last machine.
    pub release: String,
    /// Seconds that the first boot took.
    pub boot_s: f64,
}

impl Runner {
    /// A runner that boots its first machine when it is first needed.
    pub fn new(spec: guest::Spec) -> Runner {
        Runner::watching(spec, false)
    }

    /// A runner of many scenarios: it looks now and then whether the kernel holds more and more.
    pub fn for_many(spec: guest::Spec) -> Runner {
        Runner::watching(spec, true)
    }

    fn watching(spec: guest::Spec, stocks: bool) -> Runner {
        let watched = Watched { counters: spec.plan.counters.is_some(), stocks };
        Runner {
            watched,
            spec,
            guest: None,
            under_way: VecDeque::new(),
            waiting: VecDeque::new(),
            backlog: VecDeque::new(),
            recent: VecDeque::new(),
            complaints: BTreeSet::new(),
            retiring: false,
            ran: 0,
            checks: Checks::new(watched),
            losses: 0,
            next_run: 0,
            last_news: Instant::now(),
            boots: 0,
            release: String::new(),
            boot_s: 0.0,
        }
    }

    /// Whether another scenario would keep the guest busy.
    pub fn has_room(&self) -> bool {
        self.under_way.len() + self.waiting.len() < WINDOW
    }

    /// Whether nothing is under way and nothing is left to tell.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty() && self.backlog.is_empty()
    }

    /// Takes a scenario; its [`Event`] comes from [`Runner::next`].
    pub fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Forgets what was taken and not yet given to the guest, or was lost with one, unless it ran before.
    pub fn forget_waiting(&mut self) {
        self.waiting.retain(|job| job.again);
    }

    /// Ends the machine and forgets all that has not come to its end. What the machine still had to say comes from
    /// [`Runner::next`].
    pub fn abandon(&mut self) {
        self.stop();
        self.waiting.clear();
    }

    /// Waits for the next thing that happens. Must not be called when [`Runner::is_idle`].
    ///
    /// # Errors
    /// When no machine can be started or set up, or too many were lost in a row.
    pub fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.next_within(SILENCE)? {
                return Ok(event);
            }
        }
    }

    /// The same, but no longer than this, to the second; `None` if nothing has happened by then.
    ///
    /// # Errors
    /// As [`Runner::next`].
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Event>, Failure> {
        let begun = Instant::now();
        loop {
            self.supply()?;
            if let Some(event) = self.backlog.pop_front() {
                return Ok(Some(event));
            }
            if begun.elapsed() >= time {
                return Ok(None);
            }
            self.wait(Duration::from_secs(1))?;
            if self.last_news.elapsed() > SILENCE {
                self.silent(SILENCE);
            }
        }
    }

    /// How many scenarios the guest was given and has not answered, if it has just said that calls return.
    pub fn slow(&self) -> Option<usize> {
        (self.last_news.elapsed() < HEARTBEAT).then_some(self.under_way.len())
    }

    /// Waits until the kernel has had time to complain about the last scenario: a splat may come a little later
    /// than the answer of the scenario that caused it.
    pub fn settle(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + COMPLAINT;
        while let Some(guest) = &self.guest
            && self.backlog.is_empty()
        {
            // asked first: what has ended by now is among the events
            let complains = guest.machine.complains();
            self.wait(GLANCE)?;
            if !complains && Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }

    /// Looks for what the scenarios so far left behind; what there is comes from [`Runner::next`]. A machine whose
    /// kernel has complained is not asked: that may well be why.
    pub fn check_up(&mut self, depth: Depth) -> Result<(), Failure> {
        let has_complained = self.retiring && self.ran < RETIRE_AFTER;
        let has_none = !self.watched.counters && depth < Depth::Stock;
        if self.ran == 0 || has_complained || has_none {
            return Ok(());
        }
        self.ask(depth);
        let end = Instant::now() + CHECKUP;
        while self.guest.is_some() && self.checks.is_asked() {
            self.wait(end.saturating_duration_since(Instant::now()))?;
            if self.checks.is_asked() && Instant::now() > end {
                self.silent(CHECKUP);
            }
        }
        Ok(())
    }

    /// What is known of leaks on this machine.
    pub fn checks(&mut self) -> &mut Checks {
        &mut self.checks
    }

    fn ask(&mut self, depth: Depth) {
        let Some(guest) = &mut self.guest else { return };
        self.checks.ask(depth);
        // should it have ended, its last event says how
        let _ = guest.machine.send(&ToGuest::Checkup(depth));
    }

    fn checked(&mut self, checkup: &Checkup) {
        for (violation, console) in self.checks.answered(self.ran, checkup) {
            let kept = if ledger::is_growth(&violation.diagnosis) { BATCH } else { RECENT };
            // what runs by now comes later
            self.blame(self.recent.back().cloned(), violation, console, kept);
        }
        self.backlog.extend(checkup.trouble.clone().map(Event::Unchecked));
    }

    /// Checks the machine for leaks and ends it.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.check_up(Depth::Memory)?;
        self.stop();
        Ok(())
    }

    /// Ends the machine, if there is one. What it still had to say comes from [`Runner::next`].
    pub fn stop(&mut self) {
        if let Some(guest) = self.guest.take() {
            let rest = guest.machine.power_off(PATIENCE);
            self.last_words(rest);
        }
        self.discard_machine();
    }

    /// Boots where there is no machine, and hands it what waits.
    fn supply(&mut self) -> Result<(), Failure> {
        if self.retiring && self.under_way.is_empty() {
            self.finish()?;
        }
        if self.guest.is_none() && !self.waiting.is_empty() {
            self.boot()?;
        }
        while !self.retiring && self.under_way.len() < WINDOW {
            let Some(guest) = &mut self.guest else { break };
            let Some(job) = self.waiting.pop_front() else { break };
            let message = ToGuest::Run {
                number: job.number,
                run: self.next_run,
                bounds: patience::bounds(guest.boot_s, job.patience),
                scenario: job.scenario.clone(),
            };
            self.next_run = self.next_run.wrapping_add(1);
            if self.under_way.is_empty() {
                // that it said nothing while it had nothing to do is no silence
                self.last_news = Instant::now();
            }
            self.under_way.push_back(job);
            if guest.machine.send(&message).is_err() {
                // the machine has ended; its last event says how
                break;
            }
            if let Some(depth) = self.checks.given() {
                self.ask(depth);
            }
        }
        Ok(())
    }

    fn boot(&mut self) -> Result<(), Failure> {
        let guest = match self.spec.boot() {
            Ok(guest) => guest,
            // what has booted before can be used: this is an accident, unless the kernel died of being set up
            Err(failure) if self.boots > 0 && !matches!(failure, Failure::Kernel(_)) => {
                return self.lost(&failure.to_string());
            }
            Err(failure) => return Err(failure),
        };
        self.boots += 1;
        if self.boots == 1 {
            self.boot_s = guest.boot_s;
        }
        self.release.clone_from(&guest.release);
        self.last_news = Instant::now();
        for Splat { headline, text, .. } in &guest.early {
            let violation =
                crash(Invariant::Splat, headline, "the kernel complained while it was set up");
            self.crashed(violation, text.clone());
        }
        self.guest = Some(guest);
        Ok(())
    }

    /// Waits for the machine's next event and files it.
    fn wait(&mut self, timeout: Duration) -> Result<(), Failure> {
        let Some(guest) = &mut self.guest else { return Ok(()) };
        match guest.machine.next_event(timeout) {
            MachineEvent::Message(message) => self.answer(message),
            MachineEvent::Splat(splat) => {
                self.splat(splat);
                Ok(())
            }
            MachineEvent::Ended(ending) => self.ended(ending),
            MachineEvent::Timeout => Ok(()),
        }
    }

    fn answer(&mut self, message: FromGuest) -> Result<(), Failure> {
        self.last_news = Instant::now();
        let (number, result) = match message {
            FromGuest::Done { number, history, reached } => (number, Ok((history, reached))),
            FromGuest::Failed { number, reason } => (number, Err(reason)),
            FromGuest::Busy => return Ok(()),
            FromGuest::Checkup(checkup) => {
                self.checked(&checkup);
                return Ok(());
            }
            other => return self.lost(&format!("it said {other:?} out of turn")),
        };
        if self.under_way.front().is_none_or(|job| job.number != number) {
            return self.lost(&format!("it answered scenario {number} out of turn"));
        }
        let Some(job) = self.under_way.pop_front() else { return Ok(()) };
        self.losses = 0;
        self.ran += 1;
        self.retiring |= self.ran >= RETIRE_AFTER;
        if self.recent.len() == BATCH {
            self.recent.pop_front();
        }
        self.recent.push_back(job.clone());
        self.backlog.push_back(match result {
            Ok((history, reached)) => Event::Ran(job, Box::new(history), reached),
            Err(reason) => Event::Broke(job, reason),
        });
        Ok(())
    }

    fn splat(&mut self, splat: Splat) {
        if self.checks.is_searched() && leak::is_announcement(&splat) {
            return;
        }
        // a fresh machine for a complaint that is new, since it may be the first of several; one that is known comes
        // with every scenario, perhaps, and shall not cost a boot each time
        self.retiring |= self.complaints.insert(splat.headline.clone());
        let violation = crash(Invariant::Splat, &splat.headline, "the kernel complained");
        self.crashed(violation, splat.text);
    }

    fn ended(&mut self, ending: Ending) -> Result<(), Failure> {
        match ending.kernels() {
            Some(panic) => {
                self.panicked(panic);
                // the one under way took the kernel with it: it is reported, not repeated
                self.under_way.pop_front();
                self.discard_machine();
                Ok(())
            }
            None => self.lost(&ending.to_string()),
        }
    }

    fn panicked(&mut self, panic: Panic) {
        let violation = crash(Invariant::Panic, &panic.headline, "the kernel died");
        self.crashed(violation, panic.text);
    }

    /// A machine is gone, and not by the kernel's doing.
    fn lost(&mut self, reason: &str) -> Result<(), Failure> {
        if self.checks.is_searched() && self.checks.is_asked() {
            self.backlog.push_back(Event::Unchecked(reason.to_owned()));
        }
        self.discard_machine();
        self.losses += 1;
        if self.losses >= LOSSES {
            return Err(Failure::Harness(format!(
                "{LOSSES} machines in a row were lost, the last one because {reason}; see {}",
                self.spec.machine.console_log.display()
            )));
        }
        self.backlog.push_back(Event::Restarted(reason.to_owned()));
        Ok(())
    }

    fn silent(&mut self, patience: Duration) {
        let Some(guest) = self.guest.take() else { return };
        let hang = guest.machine.dump_and_kill(PATIENCE);
        let evidence = format!("the guest gave no answer for {} s", patience.as_secs());
        self.crashed(crash(Invariant::Hang, GUEST_SILENT, &evidence), hang.text);
        self.under_way.pop_front();
        self.discard_machine();
    }

    /// What a machine said while it was switched off.
    fn last_words(&mut self, rest: Vec<MachineEvent>) {
        for event in rest {
            match event {
                MachineEvent::Splat(splat) => self.splat(splat),
                MachineEvent::Ended(ending) => {
                    if let Some(panic) = ending.kernels() {
                        self.panicked(panic);
                    }
                }
                MachineEvent::Message(_) | MachineEvent::Timeout => {}
            }
        }
    }

    fn crashed(&mut self, violation: Violation, console: String) {
        let suspect = self.under_way.front().or(self.recent.back()).cloned();
        self.blame(suspect, violation, console, RECENT);
    }

    fn blame(&mut self, suspect: Option<Job>, violation: Violation, console: String, kept: usize) {
        let older = self.recent.len().saturating_sub(kept);
        let recent = self.recent.iter().skip(older).cloned().collect();
        self.backlog.push_back(Event::Crash(Box::new(Crash {
            violation,
            console,
            suspect,
            recent,
        })));
    }

    /// Lets the machine go; what it had not finished waits for the next one.
    fn discard_machine(&mut self) {
        self.guest = None;
        self.retiring = false;
        self.ran = 0;
        self.checks = Checks::new(self.watched);
        self.recent.clear();
        while let Some(job) = self.under_way.pop_back() {
            self.waiting.push_front(job);
        }
    }
}

fn crash(invariant: Invariant, headline: &str, evidence: &str) -> Violation {
    Violation {
        invariant,
        diagnosis: headline.to_owned(),
        record: None,
        evidence: format!("{evidence}: {headline}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use scenario::payload::Key;
    use vm::accel::Accel;
    use vm::machine::MachineSpec;
    use vm::wire::{Pairing, Plan};

    use super::*;

    /// A runner that never boots, because nothing is asked of it that needs a machine.
    fn runner() -> Runner {
        let machine = MachineSpec {
            kernel: PathBuf::new(),
            agent: PathBuf::new(),
            accel: Accel::Tcg,
            vcpus: 1,
            memory_mib: 0,
            writable: Vec::new(),
            cwd: PathBuf::new(),
            console_log: PathBuf::new(),
            boot_limit: Duration::ZERO,
            append: Vec::new(),
        };
        let plan = Plan {
            modules: Vec::new(),
            pairing: Pairing::None,
            counters: None,
            points: None,
            key: Key::from_seed(1),
            connect_within: Duration::ZERO,
        };
        Runner::new(guest::Spec { machine, plan, kernel_given: false, reference: None })
    }

    fn job(number: u64, again: bool) -> Job {
        Job { number, scenario: Scenario::default(), patience: Patience::Judging, again }
    }

    #[test_log::test]
    fn what_ran_before_is_not_forgotten_at_the_end_but_abandoned() {
        let mut runner = runner();
        runner.push(job(0, false));
        runner.forget_waiting();
        assert!(runner.is_idle());
        runner.under_way.extend([job(1, true), job(2, false)]);
        runner.discard_machine();
        runner.forget_waiting();
        let left: Vec<u64> = runner.waiting.iter().map(|job| job.number).collect();
        assert_eq!(left, [1]);
        runner.under_way.push_back(job(3, true));
        runner.abandon();
        assert!(runner.is_idle());
    }
}
