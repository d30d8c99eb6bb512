//! Executes inputs, and tells the host about each.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use agent::reach::Reach;
use agent::results::Results;
use agent::{ports, target};
use anyhow::{Context as _, Result};
use execute::Executor;
use nix::sys::signal::{Signal, raise};
use scenario::Scenario;
use scenario::history::Bounds;
use vm::wire::{Errand, FromGuest, INPUTS_PORT, REFUSED, SHOW_ONLY};

use crate::damper::Reached;
use crate::feedback::{self, Feedback};
use crate::hurry::Hurry;

/// What took longer becomes no parent of other inputs: it waits, for a call that hangs or a wire that loses, and its
/// children would, while dozens of others ran.
const SLOW: Duration = Duration::from_millis(400);

thread_local! {
    /// libFuzzer calls from one thread. It is made by the first input: a process that has none, as the outer one of a
    /// merge, must leave the port to those that do.
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Ends the process unless it runs in a guest that was prepared for it: on a host it would pair the host's sockets.
pub fn require_guest() {
    let is_prepared = env::var_os(Errand::VARIABLE).is_some() && ports::exists(INPUTS_PORT);
    if !is_prepared && env::var_os(SHOW_ONLY).is_none() {
        eprintln!(
            "sparring: fuzz targets run in a VM: start this one by `cargo fuzz run --sanitizer none`, \
             from within the checkout"
        );
        process::exit(REFUSED);
    }
}

/// Executes one input; whether there is anything to learn from it.
pub fn run(scenario: &Scenario) -> bool {
    SESSION.with_borrow_mut(|session| {
        let session =
            session.get_or_insert_with(|| Session::open().unwrap_or_else(|e| give_up(&e)));
        session.run(scenario).unwrap_or_else(|e| give_up(&e))
    })
}

/// The harness is broken. libFuzzer takes a panic, and even an exit, for the input's doing (`Fuzzer::ExitCallback()`),
/// and this signal only for what it is.
fn give_up(error: &anyhow::Error) -> ! {
    eprintln!("sparring: {error:#}");
    let _ = raise(Signal::SIGKILL);
    process::abort();
}

/// The guest, set up.
struct Session {
    host: Results,
    executor: Executor,
    bounds: Bounds,
    hurried: Bounds,
    hurry: Hurry,
    deadly: HashSet<Scenario>,
    feedback: Feedback,
    reach: Reach,
    /// Inputs so far.
    inputs: u64,
    /// Executions so far: the payload tells them apart, as far as it can.
    run: u16,
}

impl Session {
    fn open() -> Result<Session> {
        let path = PathBuf::from(env::var_os(Errand::VARIABLE).context("no errand")?);
        let errand = fs::read(&path).with_context(|| path.display().to_string())?;
        let Errand { plan, bounds, hurried, deadly } = postcard::from_bytes(&errand)
            .context("runner and fuzz target are not of the same build")?;
        let host = Results::new(ports::open(INPUTS_PORT)?);
        let executor = match target::set_up(&plan) {
            Ok(executor) => executor,
            Err(refusal) => {
                host.say(&FromGuest::Refused(refusal)).context("the host")?;
                anyhow::bail!("the guest cannot be set up");
            }
        };
        host.say(&FromGuest::Ready).context("the host")?;
        host.beat(executor.returned());
        Ok(Session {
            host,
            executor,
            bounds,
            hurried,
            hurry: Hurry::default(),
            deadly,
            feedback: Feedback::new(),
            reach: Reach::default(),
            inputs: 0,
            run: 0,
        })
    }

    fn run(&mut self, scenario: &Scenario) -> Result<bool> {
        if self.deadly.contains(scenario) {
            return Ok(false);
        }
        let number = self.inputs;
        self.inputs += 1;
        let begun = Instant::now();
        let Some(mut reached) = self.execute(number, scenario)? else { return Ok(false) };
        let is_news = self.feedback.note(scenario, &reached);
        if begun.elapsed() > SLOW {
            return Ok(false);
        }
        if is_news {
            let Some(again) = self.execute(number, scenario)? else { return Ok(false) };
            self.feedback.note(scenario, &again);
            reached.extend(again);
        }
        self.feedback.tell(&reached);
        Ok(true)
    }

    /// Executes it under this number; what it reached, or nothing where it cannot be executed.
    fn execute(&mut self, number: u64, scenario: &Scenario) -> Result<Option<Vec<Reached>>> {
        let began = FromGuest::Began { number, scenario: scenario.clone() };
        self.host.say(&began).context("the host")?;
        self.run = self.run.wrapping_add(1);
        let bounds = if self.hurry.is_on(number) { self.hurried } else { self.bounds };
        let begun = Instant::now();
        let executed = self.executor.execute(self.run, scenario, bounds);
        self.hurry.note(begun.elapsed(), Duration::from_millis(bounds.call_ms.into()));
        let (answer, reached) = match executed {
            Ok(history) => {
                let reached = feedback::reached(scenario, &history, self.executor.covered());
                let first = self.reach.by_last(&self.executor);
                (FromGuest::Done { number, history, reached: first }, Some(reached))
            }
            Err(error) => (FromGuest::Failed { number, reason: error.to_string() }, None),
        };
        self.host.say(&answer).context("the host")?;
        Ok(reached)
    }
}
