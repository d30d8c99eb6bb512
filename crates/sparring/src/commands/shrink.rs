//! `sparring shrink`: the smallest scenario that fails the same way.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstream::print;
use report::FindingKey;
use scenario::payload::Key;
use scenario::{Invariant, Scenario, Verdict, Violation, text};
use vm::patience::Patience;
use vm::wire::Depth;

use crate::commands::{duration, read_ring, scratch};
use crate::confirm::{Confirmed, Effort, Watch, racing};
use crate::exit::{Failure, Outcome};
use crate::interrupt;
use crate::plain::PlainTcp;
use crate::progress::Bar;
use crate::replay::{Replay, Replayed};
use crate::runner::Runner;
use crate::target::{Target, TargetArgs};

/// How often the file is run to see what it shows: a race may take some.
const ATTEMPTS: u32 = 10;
/// The diagnosis of a result that is not what the author of the scenario wrote.
const EXPECTED: &str = "differs-from-expected";

/// Reduce a failing .ring file while it fails the same way.
///
/// Prints the result with a comment on what it shows. Ctrl-C ends it early, with the smallest so far.
#[derive(clap::Args)]
pub struct Args {
    /// The scenario, or an input of a fuzz target
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to run it on
    #[command(flatten)]
    pub target: TargetArgs,
    /// Keep the violation of this invariant [default: the first that the file shows]
    #[arg(long, value_name = "ID")]
    pub invariant: Option<Invariant>,
    /// Candidates to try [default: 5000, or 40 where each costs a VM]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub budget: Option<u32>,
    /// How long to try, such as 90s or 10m [default: until nothing helps]
    #[arg(long, value_parser = duration)]
    pub time: Option<Duration>,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "OUT.ring")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let scenario = read_ring(&args.file)?;
    let target = args.target.resolve()?;
    // not before: until here a signal may end the process, and with it a kernel build
    let interrupted = interrupt::flag()?;
    let scratch = scratch("shrink")?;
    let console = scratch.path().join("console.log");
    let spec = racing(target.spec(Key::from_seed(0), console)?);
    let mut plain = PlainTcp::beside(&target, &spec, Patience::Replaying);
    let contract = target.contract.clone();
    let mut replay = Replay::new(Runner::new(spec), contract, Patience::Replaying);
    let result = reduce(args, &target, (&mut replay, &mut plain), &scenario, &interrupted);
    if let Err(Failure::Harness(_)) = result {
        let console = scratch.keep().join("console.log");
        eprintln!("sparring: the console is kept in {}", console.display());
    } else {
        replay.stop();
        plain.iter_mut().for_each(PlainTcp::stop);
    }
    result
}

fn reduce(
    args: &Args,
    target: &Target,
    (replay, plain): (&mut Replay, &mut Option<PlainTcp>),
    scenario: &Scenario,
    interrupted: &AtomicBool,
) -> Result<Outcome, Failure> {
    let file = args.file.display();
    eprintln!("shrink {file} on {}", target.name);
    let seen = observe(replay, scenario, args.invariant, interrupted)?;
    let Some(violation) = choose(&seen.violations, args.invariant) else {
        return Ok(unreproduced(&args.file, &seen));
    };
    let key = FindingKey::of(violation);
    eprintln!("{file} shows {}: {}", key.invariant, key.diagnosis);
    if key.diagnosis == EXPECTED {
        eprintln!(
            "sparring: a smaller scenario would let the call return something else, so only what other calls are \
             expected to return is left out"
        );
    }
    let mut effort = Effort::for_one(&key);
    if let Some(budget) = args.budget {
        effort.candidates = usize::try_from(budget).unwrap_or(usize::MAX);
    }
    effort.time = args.time.unwrap_or(effort.time);
    let bar = Bar::new("{spinner} {elapsed} {wide_msg}");
    let progress = |tries: usize, ops: usize| {
        let before = scenario.steps.len();
        bar.set(0, None, &format!("{tries} candidates tried, {before} -> {ops} ops"));
    };
    let watch = Watch { interrupted, progress: &progress };
    let confirmed = replay.confirm(&key, std::slice::from_ref(scenario), effort, &watch)?;
    drop(bar);
    // interrupted before it was seen again: what is known is the file
    let confirmed = confirmed.unwrap_or_else(|| Confirmed::unknown(scenario));
    let on = format!("{}, judged by {}", target.name, target.contract_name);
    let explained = match plain {
        Some(plain) if !interrupted.load(Ordering::Relaxed) => {
            explanation(plain, violation, &confirmed)
        }
        _ => None,
    };
    let text = render(scenario, violation, &confirmed, &on, explained.as_deref());
    match &args.output {
        Some(output) => report::write(output, text)?,
        None => print!("{text}"),
    }
    Ok(Outcome::Violation)
}

/// What the file shows.
#[derive(Default)]
struct Seen {
    violations: Vec<Violation>,
    replays: u32,
    inconclusive: u32,
}

impl Seen {
    fn add(&mut self, replayed: &Replayed) {
        self.violations.extend(replayed.violations().cloned());
        let doubted = matches!(replayed.judged, Some((Verdict::Inconclusive(_), _)));
        self.inconclusive += u32::from(doubted);
    }
}

/// Runs the file until it shows what is wanted, some times at most.
fn observe(
    replay: &mut Replay,
    scenario: &Scenario,
    wanted: Option<Invariant>,
    interrupted: &AtomicBool,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    while seen.replays < ATTEMPTS && !interrupted.load(Ordering::Relaxed) {
        seen.add(&replay.once(scenario)?);
        seen.replays += 1;
        if choose(&seen.violations, wanted).is_some() {
            return Ok(seen);
        }
    }
    if interrupted.load(Ordering::Relaxed) {
        return Ok(seen);
    }
    // what comes a little later, and what is left
    seen.add(&replay.settle()?);
    seen.add(&replay.check_up(Depth::Memory)?);
    if choose(&seen.violations, wanted).is_none() {
        seen.add(&replay.grow(scenario)?);
    }
    Ok(seen)
}

fn choose(violations: &[Violation], wanted: Option<Invariant>) -> Option<&Violation> {
    violations.iter().find(|violation| wanted.is_none_or(|id| violation.invariant == id))
}

/// Says that there is nothing to shrink, and why.
fn unreproduced(file: &Path, seen: &Seen) -> Outcome {
    let file = file.display();
    if let Some(other) = seen.violations.first() {
        eprintln!(
            "sparring: {file} does not show that, but {}: {}; choose with --invariant {}",
            other.invariant, other.diagnosis, other.invariant
        );
        return Outcome::Violation;
    }
    let passed = seen.replays - seen.inconclusive;
    if seen.replays == ATTEMPTS && seen.inconclusive == 0 {
        eprintln!("{file}: pass {passed}/{}: nothing to shrink", seen.replays);
        return Outcome::Pass;
    }
    eprintln!("sparring: {file}: no violation, but only {passed} of {ATTEMPTS} replays are a pass");
    Outcome::Unfinished
}

/// What plain TCP does in the result, in one line or two.
fn explanation(
    plain: &mut PlainTcp,
    violation: &Violation,
    confirmed: &Confirmed,
) -> Option<String> {
    let shown = confirmed.shown.as_ref();
    let violation = shown.map_or(violation, |shown| &shown.violation);
    let history = shown.and_then(|shown| shown.history.as_ref());
    match plain.run(&[FindingKey::of(violation)], &confirmed.scenario) {
        Ok(plain) => {
            plain.map(|plain| plain.words(violation, &confirmed.scenario, history).join("\n"))
        }
        Err(failure) => {
            eprintln!("sparring: no comparison with plain TCP: {failure}");
            None
        }
    }
}

/// The result, with a comment on what it shows.
fn render(
    original: &Scenario,
    violation: &Violation,
    confirmed: &Confirmed,
    on: &str,
    explained: Option<&str>,
) -> String {
    let shown = confirmed.shown.as_ref().map_or(violation, |shown| &shown.violation);
    let often = confirmed.reliability.map_or_else(
        || "not replayed".to_owned(),
        |reliability| format!("{reliability} replays show it"),
    );
    let [before, after] = [original, &confirmed.scenario].map(|scenario| scenario.steps.len());
    let explained = explained.map(|words| format!("{words}\n")).unwrap_or_default();
    let comment = format!(
        "{}: {}\n{}\n{explained}{often} on {on}\n{before} -> {after} ops",
        shown.invariant, shown.diagnosis, shown.evidence
    );
    let comment: String = comment.lines().map(|line| format!("# {line}\n")).collect();
    format!("{comment}{}", text::print(&confirmed.scenario))
}

#[cfg(test)]
mod tests {
    use report::Reliability;
    use scenario::{Endpoint, Lane, Op, Step, When};

    use super::*;

    fn violation(invariant: Invariant) -> Violation {
        let diagnosis = "eagain-with-bytes-deliverable".to_owned();
        Violation { invariant, diagnosis, record: None, evidence: "one line\nand another".into() }
    }

    #[test_log::test]
    fn the_result_says_what_it_shows_and_is_a_scenario() {
        let step = Step { lane: 0, when: When::Then, op: Op::Close, expect: None };
        let small = Scenario {
            lanes: vec![Lane { name: "c".into(), pair: 0, endpoint: Endpoint::Client }],
            steps: vec![step.clone()],
            ..Scenario::default()
        };
        let original = Scenario { steps: vec![step; 9], ..small.clone() };
        let confirmed = Confirmed {
            reliability: Some(Reliability { hits: 9, of: 10 }),
            ..Confirmed::unknown(&small)
        };
        let explained = Some("plain TCP returned 1");
        let text =
            render(&original, &violation(Invariant::Peek), &confirmed, "reference", explained);
        let comments: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(
            comments,
            [
                "# peek: eagain-with-bytes-deliverable",
                "# one line",
                "# and another",
                "# plain TCP returned 1",
                "# 9/10 replays show it on reference",
                "# 9 -> 1 ops",
            ]
        );
        assert_eq!(text::parse(&text).unwrap(), small);
    }

    #[test_log::test]
    fn the_first_violation_is_kept_or_the_one_that_was_asked_for() {
        let seen = [violation(Invariant::Peek), violation(Invariant::Inq)];
        let chosen = |wanted| choose(&seen, wanted).map(|violation| violation.invariant);
        assert_eq!(chosen(None), Some(Invariant::Peek));
        assert_eq!(chosen(Some(Invariant::Inq)), Some(Invariant::Inq));
        assert_eq!(chosen(Some(Invariant::Order)), None);
    }

    #[test_log::test]
    fn only_what_passes_every_time_is_a_pass() {
        let of = |replays, inconclusive, violations| {
            unreproduced(Path::new("a.ring"), &Seen { violations, replays, inconclusive })
        };
        assert_eq!(of(ATTEMPTS, 0, Vec::new()), Outcome::Pass);
        assert_eq!(of(ATTEMPTS, 1, Vec::new()), Outcome::Unfinished);
        assert_eq!(of(1, 0, Vec::new()), Outcome::Unfinished);
        assert_eq!(of(ATTEMPTS, 0, vec![violation(Invariant::Peek)]), Outcome::Violation);
    }
}
