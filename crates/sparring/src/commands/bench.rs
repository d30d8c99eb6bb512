//! `sparring bench`: plain TCP and a pair, side by side on one kernel.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anstream::println;
use clap::ValueEnum;
use scenario::Violation;
use scenario::bench::{BusyPoll, LONGEST, Load, Mode, Side};
use scenario::history::Errno;
use scenario::payload::Key;
use vm::wire::Pairing;

use crate::bout::{Bout, Round};
use crate::commands::{duration, print_json, scratch};
use crate::exit::{Failure, Outcome};
use crate::figures::{self, BusyPolling, Contest, Report};
use crate::guest::{self, Spec};
use crate::interrupt;
use crate::progress::Bar;
use crate::target::{Target, TargetArgs};

/// Message sizes where none are given.
const RR_SIZES: &[u32] = &[1, 64, 1024, 16384];
const STREAM_SIZES: &[u32] = &[64, 1024, 16384];
/// Lines of a violation's evidence that are shown.
const EVIDENCE: usize = 20;

/// Measure how fast a pair is against plain TCP on the same kernel.
///
/// Two connections over loopback, one made before the pairing program was attached and one after, are measured
/// by turns. One thread for each endpoint makes blocking calls.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// What to measure: request and response, a stream, or both
    #[arg(long, value_enum, default_value_t = Modes::All)]
    mode: Modes,
    /// Bytes of a message; repeat it or separate with commas
    /// [default: 1,64,1024,16384 for rr and 64,1024,16384 for stream]
    #[arg(long, value_delimiter = ',', value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LONGEST)))]
    size: Vec<u32>,
    /// How long each measurement takes, such as 3s or 1m
    #[arg(long, value_parser = duration, default_value = "3s")]
    time: Duration,
    /// How often each is made; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Have every endpoint busy-poll for so long before it sleeps
    #[arg(long, value_name = "US",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    busy_poll: Option<u32>,
    /// Processors of the guest [default: 2, one for each endpoint, where the host has them]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=8))]
    vcpus: Option<u32>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Modes {
    Rr,
    Stream,
    All,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let target = args.target.resolve()?;
    if matches!(target.pairing, Pairing::None | Pairing::Sockhash) {
        return Err(Failure::BadInput(format!(
            "the target {} does not pair, so there is nothing to compare plain TCP with: leave out --target for \
             the reference, or give --series, --module, --kernel or --pairing",
            target.name
        )));
    }
    // not before: until here a signal may end the process, and with it a kernel build
    let interrupted = interrupt::flag()?;
    let scratch = scratch("bench")?;
    let console = scratch.path().join("console.log");
    let mut spec = target.spec(Key::from_seed(0), console.clone())?;
    // the program is attached only when the plain connection is made
    spec.plan.pairing = Pairing::None;
    spec.machine.vcpus = args.vcpus.unwrap_or_else(guest::racing_vcpus);
    let mut bench = Bench::new(args, &target, spec, &interrupted);
    let end = bench.all(&loads(args.mode, &args.size));
    let result = bench.report(end);
    let code = result.as_ref().map_or_else(Failure::code, |report| report.exit_code);
    if [Outcome::Violation, Outcome::Unfinished].iter().any(|outcome| outcome.code() == code) {
        let _ = scratch.keep();
        eprintln!("sparring: the console is kept in {}", console.display());
    }
    let report = result?;
    print(&report, args.json)?;
    Ok(outcome(&report))
}

/// Modes and sizes, in order.
fn loads(modes: Modes, sizes: &[u32]) -> Vec<(Mode, u32)> {
    let of = |mode, default: &[u32]| {
        let chosen = if sizes.is_empty() { default } else { sizes };
        chosen.iter().map(|&size| (mode, size)).collect::<Vec<_>>()
    };
    match modes {
        Modes::Rr => of(Mode::Rr, RR_SIZES),
        Modes::Stream => of(Mode::Stream, STREAM_SIZES),
        Modes::All => [of(Mode::Rr, RR_SIZES), of(Mode::Stream, STREAM_SIZES)].concat(),
    }
}

/// A bench under way.
struct Bench<'a> {
    args: &'a Args,
    pairing: &'a Pairing,
    spec: Spec,
    interrupted: &'a AtomicBool,
    /// `None` before the first one is needed, and after one was lost.
    bout: Option<Bout>,
    bar: Bar,
    report: Report,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args, target: &'a Target, spec: Spec, interrupted: &'a AtomicBool) -> Self {
        let given = target.kernel.is_none();
        Bench {
            args,
            pairing: &target.pairing,
            interrupted,
            bout: None,
            bar: Bar::new("{spinner} {wide_msg} {pos}/{len} {elapsed}"),
            report: Report {
                target: target.name.clone(),
                flavour: (!given).then(|| args.target.source.flavour.to_string()),
                kernel_release: String::new(),
                accel: target.accel.to_string(),
                vcpus: spec.machine.vcpus,
                time_s: args.time.as_secs_f64(),
                repeat: args.repeat,
                busy_poll: None,
                results: Vec::new(),
                violations: Vec::new(),
                unfinished: None,
                exit_code: 0,
            },
            spec,
        }
    }

    /// Measures everything. What cannot be measured because of the kernel does not keep the rest from it.
    fn all(&mut self, loads: &[(Mode, u32)]) -> Result<(), Failure> {
        let total = loads.len() as u64;
        for (&(mode, size), number) in loads.iter().zip(0..) {
            self.bar.set(number, Some(total), &format!("{mode} with {size} bytes"));
            let mut contest = Contest::default();
            let contested = self.contest(mode, size, &mut contest);
            self.report.results.push(contest.row(mode, size));
            contested?;
            if self.report.unfinished.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Measures both connections by turns, up to the first trouble.
    fn contest(&mut self, mode: Mode, size: u32, contest: &mut Contest) -> Result<(), Failure> {
        let millis = u32::try_from(self.args.time.as_millis())
            .map_err(|_| Failure::BadInput("--time: give less than a month".into()))?;
        for _ in 0..self.args.repeat {
            for side in Side::BOTH {
                let load = Load { side, mode, size, millis };
                match self.measure(load)? {
                    Round::Measured(measurement) => match side {
                        Side::Plain => contest.plain.push(measurement),
                        Side::Paired => contest.paired.push(measurement),
                    },
                    Round::Violated(mut violation) => {
                        contest.broken = Some(violation.invariant.to_string());
                        let evidence = &violation.evidence;
                        violation.evidence = format!("{mode} with {size} bytes: {evidence}");
                        let more = self.bout.take().map(|bout| bout.stop_after(&violation));
                        self.violated(violation);
                        more.into_iter().flatten().for_each(|violation| self.violated(violation));
                        return Ok(());
                    }
                    Round::Broken(reason) => {
                        self.report.unfinished = Some(reason);
                        let more = self.bout.take().map(Bout::abandon);
                        more.into_iter().flatten().for_each(|violation| self.violated(violation));
                        return Ok(());
                    }
                    Round::Interrupted => {
                        self.report.unfinished = Some("interrupted".into());
                        self.bout = None;
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn measure(&mut self, load: Load) -> Result<Round, Failure> {
        if self.bout.is_none() {
            let busy_poll = self.args.busy_poll;
            match Bout::start(&self.spec, self.pairing, busy_poll, self.interrupted)? {
                None => return Ok(Round::Interrupted),
                Some(bout) => self.introduce(bout),
            }
        }
        let Some(bout) = &mut self.bout else { return Ok(Round::Interrupted) };
        bout.measure(load, self.interrupted)
    }

    fn introduce(&mut self, bout: Bout) {
        self.report.kernel_release.clone_from(&bout.release);
        self.report.vcpus = bout.cpus;
        self.report.busy_poll = self.args.busy_poll.zip(bout.contenders.busy_poll).map(polling);
        self.bout = Some(bout);
    }

    /// Keeps a violation, the first of its kind.
    fn violated(&mut self, violation: Violation) {
        let same = |v: &Violation| {
            v.invariant == violation.invariant && v.diagnosis == violation.diagnosis
        };
        if !self.report.violations.iter().any(same) {
            self.report.violations.push(violation);
        }
    }

    /// What is known in the end. A failure ends it without a report only where there is nothing to report.
    fn report(mut self, end: Result<(), Failure>) -> Result<Report, Failure> {
        if let Some(bout) = self.bout.take() {
            bout.stop().into_iter().for_each(|violation| self.violated(violation));
        }
        let measured = self.report.results.iter().any(|row| row.plain.is_some());
        match end {
            Err(failure) if !measured && self.report.violations.is_empty() => return Err(failure),
            Err(Failure::Kernel(why)) => self.violated(Violation {
                invariant: scenario::Invariant::Panic,
                diagnosis: "at-boot".into(),
                record: None,
                evidence: why,
            }),
            Err(failure) => self.report.unfinished = Some(failure.to_string()),
            Ok(()) => {}
        }
        self.report.exit_code = outcome(&self.report).code();
        Ok(self.report)
    }
}

fn polling((us, busy_poll): (u32, BusyPoll)) -> BusyPolling {
    match busy_poll {
        BusyPoll::Program => BusyPolling { us, set_by: "program", refused: None },
        BusyPoll::Setsockopt(refused) => BusyPolling {
            us,
            set_by: "setsockopt",
            refused: refused.map(|returned| Errno(-returned).to_string()),
        },
    }
}

fn outcome(report: &Report) -> Outcome {
    if !report.violations.is_empty() {
        Outcome::Violation
    } else if report.unfinished.is_some() {
        Outcome::Unfinished
    } else {
        Outcome::Pass
    }
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        print_json(report)?;
    } else {
        println!("{}", figures::table(report));
    }
    for violation in &report.violations {
        eprintln!("sparring: violation: {}: {}", violation.invariant, violation.diagnosis);
        violation.evidence.lines().take(EVIDENCE).for_each(|line| eprintln!("  {line}"));
    }
    if let Some(reason) = &report.unfinished {
        eprintln!("sparring: not all was measured: {reason}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        bench: Args,
    }

    fn chosen(line: &str) -> Vec<(Mode, u32)> {
        let args = Line::parse_from(format!("x {line}").split_whitespace()).bench;
        loads(args.mode, &args.size)
    }

    #[test_log::test]
    fn sizes_hold_for_every_mode_that_is_asked_for() {
        assert_eq!(chosen("--mode rr --size 64"), [(Mode::Rr, 64)]);
        assert_eq!(
            chosen("--size 64,1024 --size 7 --mode stream"),
            [(Mode::Stream, 64), (Mode::Stream, 1024), (Mode::Stream, 7)]
        );
        assert_eq!(chosen("--size 5"), [(Mode::Rr, 5), (Mode::Stream, 5)]);
        assert_eq!(chosen("").len(), RR_SIZES.len() + STREAM_SIZES.len());
        for bad in ["--size 0", "--size 1048577", "--repeat 0", "--busy-poll 0", "--time 0"] {
            assert!(Line::try_parse_from(format!("x {bad}").split_whitespace()).is_err(), "{bad}");
        }
    }

    #[test_log::test]
    fn who_set_busy_polling_is_said() {
        let refused = polling((50, BusyPoll::Setsockopt(Some(-22))));
        assert_eq!(refused.refused.as_deref(), Some("EINVAL"));
        assert_eq!(polling((50, BusyPoll::Program)).set_by, "program");
    }
}
