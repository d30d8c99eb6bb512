//! Runs scenarios on a kernel target, on one machine after another when they die.
//!
//! The runner knows what was under way when a machine ended and says so; it judges nothing but what only the
//! outside can see: a splat, a panic, a hang.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use scenario::{History, Invariant, Scenario, Violation};
use vm::machine::{Ending, Event as MachineEvent};
use vm::splat::Panic;
use vm::wire::{FromGuest, ToGuest};

use crate::exit::Failure;
use crate::guest::{self, Guest};

/// Scenarios that are given to the guest ahead of their turn, so that it never waits for the host.
const WINDOW: usize = 16;
/// Finished scenarios that are kept, because the one under way when the kernel dies may not be the guilty one.
const RECENT: usize = 16;
/// Scenarios after which a machine is replaced, so that a kernel that leaks a little each time (the RFC kernel:
/// 40 KiB) does not run out of memory.
const RETIRE_AFTER: u64 = 20_000;
/// How long a guest may stay silent with scenarios under way: several times what the longest legal scenario
/// takes (see [`scenario::history::Bounds`]).
const SILENCE: Duration = Duration::from_secs(60);
/// How long a guest may take to switch itself off, or to say what it hangs in.
const PATIENCE: Duration = Duration::from_secs(5);
/// Machines that may be lost in a row, with nothing done in between, before the runner gives up.
const LOSSES: u32 = 3;

/// A scenario under its number.
#[derive(Clone, Debug)]
pub struct Job {
    /// The caller's number for it.
    pub number: u64,
    /// What to run.
    pub scenario: Scenario,
}

/// What came of a scenario, or of the machine it was on.
#[derive(Debug)]
pub enum Event {
    /// It ran to its end.
    Ran(Job, Box<History>),
    /// The harness could not run it.
    Broke(Job, String),
    /// The kernel complained, died, or stopped answering.
    Crash(Box<Crash>),
    /// The machine ended for a reason that is not the kernel's; what was under way will run again.
    Restarted(String),
}

/// What the outside saw of a kernel in trouble.
#[derive(Debug)]
pub struct Crash {
    /// `splat`, `panic` or `hang`, with the headline as diagnosis.
    pub violation: Violation,
    /// The console's words.
    pub console: String,
    /// The scenario that was under way, where there was one.
    pub suspect: Option<Job>,
    /// The ones before it, oldest first.
    pub recent: Vec<Job>,
}

/// Runs scenarios; see the module.
pub struct Runner {
    spec: guest::Spec,
    guest: Option<Guest>,
    /// Given to the guest, in order; the first is the one it works on.
    under_way: VecDeque<Job>,
    /// To be run (again) before anything new.
    waiting: VecDeque<Job>,
    recent: VecDeque<Job>,
    /// The kernel has complained, or has run long enough: finish what is under way, then start a fresh machine.
    retiring: bool,
    /// Scenarios that this machine has run.
    ran: u64,
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
        Runner {
            spec,
            guest: None,
            under_way: VecDeque::new(),
            waiting: VecDeque::new(),
            recent: VecDeque::new(),
            retiring: false,
            ran: 0,
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

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty()
    }

    /// Takes a scenario; its [`Event`] comes from [`Runner::next`].
    pub fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Runs one scenario and waits for what comes of it.
    pub fn run(&mut self, job: Job) -> Result<Event, Failure> {
        self.push(job);
        loop {
            match self.next()? {
                Event::Restarted(reason) => tracing::warn!("machine restarted: {reason}"),
                event => return Ok(event),
            }
        }
    }

    /// Waits for the next thing that happens. Must not be called when [`Runner::is_idle`].
    ///
    /// # Errors
    /// When no machine can be started or set up, or too many were lost in a row.
    pub fn next(&mut self) -> Result<Event, Failure> {
        loop {
            self.supply()?;
            let Some(guest) = &mut self.guest else {
                return Err(Failure::Harness("no machine and nothing to run: report this".into()));
            };
            match guest.machine.next_event(Duration::from_secs(1)) {
                MachineEvent::Message(message) => {
                    self.last_news = Instant::now();
                    if let Some(event) = self.answer(message) {
                        return Ok(event);
                    }
                }
                MachineEvent::Splat(splat) => {
                    self.retiring = true;
                    let evidence = "the kernel complained on its console".to_owned();
                    let violation = crash(Invariant::Splat, splat.headline, evidence);
                    return Ok(self.crash(violation, splat.text));
                }
                MachineEvent::Ended(ending) => return self.ended(ending),
                MachineEvent::Timeout if self.last_news.elapsed() < SILENCE => {}
                MachineEvent::Timeout => return Ok(self.silent()),
            }
        }
    }

    /// Ends the machine, if there is one.
    pub fn stop(&mut self) {
        if let Some(guest) = self.guest.take() {
            guest.machine.power_off(PATIENCE);
        }
    }

    /// Boots where there is no machine, and hands it what waits.
    fn supply(&mut self) -> Result<(), Failure> {
        if self.retiring && self.under_way.is_empty() {
            self.discard_machine();
        }
        if self.guest.is_none() {
            let guest = self.spec.boot()?;
            self.boots += 1;
            if self.boots == 1 {
                self.boot_s = guest.boot_s;
            }
            self.release.clone_from(&guest.release);
            self.guest = Some(guest);
            self.last_news = Instant::now();
        }
        let Some(guest) = &mut self.guest else {
            return Ok(());
        };
        while !self.retiring && self.under_way.len() < WINDOW {
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            let message = ToGuest::Run {
                number: job.number,
                run: self.next_run,
                scenario: job.scenario.clone(),
            };
            self.next_run = self.next_run.wrapping_add(1);
            self.under_way.push_back(job);
            if guest.machine.send(&message).is_err() {
                // the machine has ended; its last event says how
                break;
            }
        }
        Ok(())
    }

    fn answer(&mut self, message: FromGuest) -> Option<Event> {
        let (number, result) = match message {
            FromGuest::Done { number, history } => (number, Ok(history)),
            FromGuest::Failed { number, reason } => (number, Err(reason)),
            other => {
                tracing::warn!(?other, "unexpected message from the guest");
                return None;
            }
        };
        let job = self.under_way.pop_front()?;
        if job.number != number {
            tracing::error!("answer {number} out of turn, expected {}", job.number);
        }
        self.losses = 0;
        self.ran += 1;
        self.retiring |= self.ran >= RETIRE_AFTER;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(job.clone());
        Some(match result {
            Ok(history) => Event::Ran(job, Box::new(history)),
            Err(reason) => Event::Broke(job, reason),
        })
    }

    fn ended(&mut self, ending: Ending) -> Result<Event, Failure> {
        let panic = match ending {
            Ending::Panic(panic) => Ok(panic),
            Ending::Reset => {
                let headline = "reset without a word".to_owned();
                Ok(Panic { headline, text: String::new() })
            }
            other => Err(reason(&other)),
        };
        match panic {
            Ok(panic) => {
                let evidence = "the kernel died".to_owned();
                let event =
                    self.crash(crash(Invariant::Panic, panic.headline, evidence), panic.text);
                // the one under way took the kernel with it: it is reported, not repeated
                self.under_way.pop_front();
                self.discard_machine();
                Ok(event)
            }
            Err(reason) => {
                self.losses += 1;
                if self.losses > LOSSES {
                    return Err(Failure::Harness(format!(
                        "{LOSSES} machines in a row were lost, the last one because {reason}; see {}",
                        self.spec.machine.console_log.display()
                    )));
                }
                self.discard_machine();
                Ok(Event::Restarted(reason))
            }
        }
    }

    fn silent(&mut self) -> Event {
        let console = match self.guest.take() {
            Some(guest) => guest.machine.dump_and_kill(PATIENCE).text,
            None => String::new(),
        };
        let evidence =
            format!("the guest gave no answer for {} s and was killed", SILENCE.as_secs());
        let event = self.crash(crash(Invariant::Hang, "guest-silent".into(), evidence), console);
        self.under_way.pop_front();
        self.discard_machine();
        event
    }

    fn crash(&self, violation: Violation, console: String) -> Event {
        Event::Crash(Box::new(Crash {
            violation,
            console,
            suspect: self.under_way.front().or(self.recent.back()).cloned(),
            recent: self.recent.iter().cloned().collect(),
        }))
    }

    /// Lets the machine go; what it had not finished waits for the next one.
    fn discard_machine(&mut self) {
        self.guest = None;
        self.retiring = false;
        self.ran = 0;
        self.recent.clear();
        while let Some(job) = self.under_way.pop_back() {
            self.waiting.push_front(job);
        }
    }
}

/// An ending that is not the kernel's doing, for a person to read.
fn reason(ending: &Ending) -> String {
    match ending {
        Ending::Panic(panic) => format!("its kernel panicked: {}", panic.headline),
        Ending::Reset => "it was reset".to_owned(),
        Ending::PoweredOff => "it switched itself off".to_owned(),
        Ending::AgentDied(words) => format!("its agent died: {words}"),
        Ending::Garbled(why) => format!("its messages made no sense: {why}"),
        Ending::Killed { signal } => format!("qemu was killed by signal {signal}"),
        Ending::Exited { code, stderr } => {
            format!("qemu ended with code {code}: {}", stderr.trim())
        }
    }
}

fn crash(invariant: Invariant, headline: String, evidence: String) -> Violation {
    let evidence = format!("{evidence}: {headline}");
    Violation { invariant, diagnosis: headline, record: None, evidence }
}
