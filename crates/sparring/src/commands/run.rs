//! `sparring run`: replay `.ring` files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{print, println};
use report::{FindingKey, Plain, Reliability};
use scenario::payload::Key;
use scenario::verdict::Doubt;
use scenario::{History, Scenario, Verdict, Violation, text};
use serde::Serialize;
use vm::patience::Patience;
use vm::wire::Depth;

use crate::commands::{print_json, read_ring, scratch};
use crate::confirm::{is_growth, is_leak};
use crate::exit::{Failure, Outcome};
use crate::guest;
use crate::interrupt;
use crate::plain::PlainTcp;
use crate::replay::{Replay, Replayed};
use crate::runner::Runner;
use crate::target::TargetArgs;

/// Replays with which somebody wants to be sure.
const SEVERAL: u32 = 10;

/// Replay .ring files and say what they show.
#[derive(clap::Args)]
pub struct Args {
    /// The scenarios, or inputs of a fuzz target
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
    /// How often to run each; prints in how many replays each violation came back. A file that shows none in 10 or
    /// more is run some more times to see whether the kernel holds more after each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Print the scenarios as text, and run none
    #[arg(long, conflicts_with = "json")]
    print: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// What the replays of one file showed.
#[derive(Serialize)]
struct Shown {
    file: PathBuf,
    replays: u32,
    inconclusive: u32,
    doubt: Option<Doubt>,
    violations: Vec<Counted>,
    /// The same scenario without pairing.
    #[serde(skip)]
    beside: Option<Plain>,
}

impl Shown {
    /// Notes what grew in many replays: that is seen once, and not in each.
    fn grown(&mut self, replayed: &Replayed) {
        let violations = replayed.violations().filter(|v| is_growth(&FindingKey::of(v)));
        self.violations.extend(violations.map(|violation| Counted {
            violation: violation.clone(),
            reliability: Reliability { hits: 1, of: 1 },
            console: String::new(),
            history: None,
            plain: Vec::new(),
        }));
    }

    /// Counts what one replay violated.
    fn count(&mut self, replayed: &Replayed) {
        let history = replayed.judged.as_ref().map(|(_, history)| history);
        let mut seen = Vec::new();
        for violation in replayed.violations() {
            let key = FindingKey::of(violation);
            if seen.contains(&key) {
                continue; // the kernel may say the same several times in one replay
            }
            seen.push(key.clone());
            match self.violations.iter_mut().find(|c| FindingKey::of(&c.violation) == key) {
                Some(counted) => counted.reliability.hits += 1,
                None => self.violations.push(Counted {
                    violation: violation.clone(),
                    reliability: Reliability { hits: 1, of: 0 },
                    console: replayed.crashes.iter().map(|crash| crash.console.as_str()).collect(),
                    history: history.cloned(),
                    plain: Vec::new(),
                }),
            }
        }
    }

    /// Adds what plain TCP does in the same scenario.
    fn explain(&mut self, plain: &mut PlainTcp, scenario: &Scenario) -> Result<(), Failure> {
        let keys: Vec<FindingKey> =
            self.violations.iter().map(|counted| FindingKey::of(&counted.violation)).collect();
        self.beside = plain.run(&keys, scenario)?;
        let Some(plain) = &self.beside else { return Ok(()) };
        for (counted, key) in self.violations.iter_mut().zip(&keys) {
            if !is_leak(key) {
                let history = counted.history.as_ref();
                counted.plain = plain.words(&counted.violation, scenario, history);
            }
        }
        Ok(())
    }
}

/// One violation and how often it came.
#[derive(Serialize)]
struct Counted {
    #[serde(flatten)]
    violation: Violation,
    reliability: Reliability,
    #[serde(skip_serializing_if = "String::is_empty")]
    console: String,
    #[serde(skip)]
    history: Option<History>,
    /// What the same scenario does without pairing, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plain: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    // all files are read before the first machine boots: a bad one should not cost a boot
    let scenarios = args
        .files
        .iter()
        .map(|file| read_ring(file))
        .collect::<Result<Vec<Scenario>, Failure>>()?;
    if args.print {
        scenarios.iter().for_each(|scenario| print!("{}", text::print(scenario)));
        return Ok(Outcome::Pass);
    }
    let target = args.target.resolve()?;
    // not before: until here a signal may end the process, and with it a kernel build
    let interrupted = interrupt::flag()?;
    let scratch = scratch("run")?;
    let mut spec = target.spec(Key::from_seed(0), scratch.path().join("console.log"))?;
    if !scenarios.iter().all(Scenario::is_sequential) {
        spec.machine.vcpus = guest::racing_vcpus();
    }
    let mut plain = PlainTcp::beside(&target, &spec, Patience::Judging);
    let mut replay = Replay::new(Runner::new(spec), target.contract, Patience::Judging);
    let mut results = Vec::new();
    for (file, scenario) in args.files.iter().zip(&scenarios) {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let mut shown = match repeat(&mut replay, file, scenario, args.repeat, &interrupted) {
            Ok(shown) => shown,
            Err(failure) => {
                let console = scratch.keep().join("console.log");
                eprintln!("sparring: the console is kept in {}", console.display());
                return Err(failure);
            }
        };
        // what was interrupted shall end soon
        let wanted = plain.as_mut().filter(|_| !interrupted.load(Ordering::Relaxed));
        if let Some(Err(failure)) = wanted.map(|plain| shown.explain(plain, scenario)) {
            eprintln!("sparring: no comparison with plain TCP from here on: {failure}");
            plain = None;
        }
        if !args.json {
            print(&shown, scenario);
        }
        results.push(shown);
    }
    replay.stop();
    plain.iter_mut().for_each(PlainTcp::stop);
    if args.json {
        print_json(&results)?;
    }
    if interrupted.load(Ordering::Relaxed) {
        eprintln!("sparring: interrupted after {} of {} files", results.len(), args.files.len());
    }
    Ok(if results.iter().any(|shown| !shown.violations.is_empty()) {
        Outcome::Violation
    } else if results.len() < args.files.len()
        || results.iter().any(|shown| shown.inconclusive > 0 || shown.replays < args.repeat)
    {
        Outcome::Unfinished
    } else {
        Outcome::Pass
    })
}

fn repeat(
    replay: &mut Replay,
    file: &Path,
    scenario: &Scenario,
    times: u32,
    interrupted: &AtomicBool,
) -> Result<Shown, Failure> {
    let mut shown = Shown {
        file: file.to_owned(),
        replays: 0,
        inconclusive: 0,
        doubt: None,
        violations: Vec::new(),
        beside: None,
    };
    for _ in 0..times {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let replayed = replay.once(scenario)?;
        if let Some((Verdict::Inconclusive(doubt), _)) = &replayed.judged {
            shown.inconclusive += 1;
            shown.doubt = Some(*doubt);
        }
        shown.replays += 1;
        shown.count(&replayed);
        shown.count(&replay.check_up(Depth::Counters)?);
    }
    // a complaint that came after the last answer still belongs to this file
    shown.count(&replay.settle()?);
    shown.count(&replay.check_up(Depth::Memory)?);
    for counted in &mut shown.violations {
        counted.reliability.of = shown.replays;
    }
    if times >= SEVERAL && shown.replays == times && shown.violations.is_empty() {
        shown.grown(&replay.grow(scenario)?);
    }
    Ok(shown)
}

fn print(shown: &Shown, scenario: &Scenario) {
    let file = shown.file.display();
    if shown.violations.is_empty() {
        let passed = shown.replays - shown.inconclusive;
        println!("{file}: pass {passed}/{}", shown.replays);
        if let Some(doubt) = shown.doubt {
            println!("{file}: inconclusive {}/{}: {doubt}", shown.inconclusive, shown.replays);
        }
        return;
    }
    for counted in &shown.violations {
        let Violation { invariant, diagnosis, evidence, record } = &counted.violation;
        println!("{file}: violation {}: {invariant}: {diagnosis}", counted.reliability);
        println!("  {evidence}");
        counted.plain.iter().for_each(|line| println!("  {line}"));
        if let Some(history) = &counted.history {
            let plain = shown.beside.as_ref().and_then(|plain| plain.history.as_ref());
            print!("{}", report::timeline(scenario, history, *record, plain));
        }
        print!("{}", counted.console);
    }
}
