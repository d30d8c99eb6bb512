//! `sparring evaluate`: how good the oracle is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::println;
use generate::Scope;
use kmod::Fault;
use scenario::payload::Key;
use sha2::{Digest as _, Sha256};
use vm::kernel::Flavour;

use crate::campaign::Campaign;
use crate::commands::fuzz::processors;
use crate::commands::{duration, print_json};
use crate::evaluation::{self, Cell, Conditions, Evaluation, Part, Report};
use crate::exit::{Failure, Outcome};
use crate::interrupt;
use crate::target::{Named, SourceArgs, Target, TargetArgs, fault};

/// Evaluate the oracle: soundness and sensitivity tables.
///
/// Soundness: campaigns on plain TCP, on plain TCP in a SOCKHASH and on the reference, where there is nothing to
/// find. Sensitivity: a campaign for each planted fault of the reference and each seed, up to the first finding. A
/// canary comes first, a fault that every build must find.
///
/// Exit codes: 0 sound and sharp, 1 the kernel complained, or the reference broke a rule, 69 the oracle is not good
/// enough (plain TCP accused, less than 95 % of the faults found, or the canary missed) or not all was evaluated.
#[derive(clap::Args)]
pub struct Args {
    /// Evaluate only this
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// A fault to find; repeat it for several; `--fault help` lists them [default: all]
    #[arg(long, value_name = "NAME", value_parser = fault)]
    fault: Vec<&'static Fault>,
    /// Campaigns for each fault
    #[arg(long, default_value_t = 3, value_name = "K",
        value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// The first seed; the others follow it
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u64).range(..1 << 32))]
    seed: u64,
    /// Scenarios on each target that keeps the contract
    #[arg(long, default_value_t = 20_000, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    scenarios: u64,
    /// How long each campaign may look for its fault, such as 90s or 2m
    #[arg(long, value_parser = duration, default_value = "120s")]
    time: Duration,
    /// VMs at the same time [default: one per processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// A kernel tree; it is never written to [default: Debian's packaged source]
    #[arg(long, env = "SPARRING_TREE", hide_env_values = true, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// What the kernel is built to see: some faults show on one flavour alone
    #[arg(long, default_value = "kcov", value_name = "kcov|kasan|kcsan|fast")]
    #[arg(env = "SPARRING_FLAVOUR", hide_env_values = true)]
    flavour: Flavour,
    /// Where evaluation.json and the campaigns go; what is there is gone on with
    #[arg(long, default_value = "evaluation", value_name = "DIR")]
    out: PathBuf,
    /// Print evaluation.json instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    if args.only == Some(Part::Soundness) && !args.fault.is_empty() {
        return Err(Failure::BadInput(
            "--fault is about sensitivity: leave it out, or --only soundness".into(),
        ));
    }
    let targets = Targets::resolve(args)?;
    let cells = cells(args);
    let mut evaluation = Evaluation::open(&args.out, targets.conditions(args)?)?;
    // not before: until here a signal may end the process, and with it a kernel build
    let interrupted = interrupt::flag()?;
    let out = args.out.display();
    match (evaluation.answered(&cells), cells.len()) {
        (0, all) => eprintln!("evaluate with {all} campaigns in {out}"),
        (answered, all) => {
            eprintln!("going on in {out}: {answered} of {all} campaigns have been run");
        }
    }
    let report = evaluation.advance(&cells, &interrupted, |cell, folder| {
        let (summary, _) = targets.campaign(cell, args, folder.to_owned()).run(&interrupted)?;
        Ok(summary)
    })?;
    print(&report, args)?;
    Ok(report.outcome())
}

fn cells(args: &Args) -> Vec<Cell> {
    let mut faults: Vec<&Fault> = Vec::new();
    if args.fault.is_empty() {
        faults.extend(kmod::faults());
    }
    for fault in &args.fault {
        if !faults.contains(fault) {
            faults.push(fault);
        }
    }
    evaluation::cells(args.only, args.scenarios, &faults, args.seed, args.seeds)
}

/// The targets, all on one kernel.
struct Targets {
    reference: Target,
    plain: Target,
    plain_in_sockhash: Target,
}

impl Targets {
    fn resolve(args: &Args) -> Result<Targets, Failure> {
        let resolve = |target| {
            let tree = args.tree.clone();
            let source = SourceArgs { tree, series: None, flavour: args.flavour };
            TargetArgs::named(target, source).resolve()
        };
        Ok(Targets {
            reference: resolve(Named::Reference)?,
            plain: resolve(Named::Plain)?,
            plain_in_sockhash: resolve(Named::PlainInSockhash)?,
        })
    }

    fn conditions(&self, args: &Args) -> Result<Conditions, Failure> {
        let spec = self.reference.spec(Key::from_seed(args.seed), PathBuf::new())?;
        let exe = std::env::current_exe().map_err(|e| Failure::Harness(e.to_string()))?;
        let modules: Vec<&Path> =
            self.reference.modules.iter().map(|module| module.path.as_path()).collect();
        Ok(Conditions {
            program: hash(&[&exe, &spec.machine.agent])?,
            kernel: hash(&[&self.reference.bzimage])?,
            module: hash(&modules)?,
            flavour: args.flavour.to_string(),
            accel: self.reference.accel.to_string(),
            jobs: jobs(args),
            seed: args.seed,
            scenarios: args.scenarios,
            time_s: args.time.as_secs(),
        })
    }

    /// The campaign of a cell. Where there is nothing to find, a finding is worth to be confirmed; a fault is known.
    fn campaign(&self, cell: &Cell, args: &Args, out: PathBuf) -> Campaign {
        let (target, scenarios) = match cell {
            Cell::Round { target, scenarios, .. } => {
                let target = match target {
                    Named::Reference => &self.reference,
                    Named::Plain => &self.plain,
                    Named::PlainInSockhash => &self.plain_in_sockhash,
                };
                (target.clone(), Some(*scenarios))
            }
            Cell::Canary => (self.reference.clone().with_fault(evaluation::canary()), None),
            Cell::Trial { fault, .. } => (self.reference.clone().with_fault(fault), None),
        };
        let looks_for_a_fault = scenarios.is_none();
        Campaign {
            target,
            seed: cell.seed(),
            scope: Scope::default(),
            time: looks_for_a_fault.then_some(args.time),
            scenarios,
            jobs: jobs(args),
            vcpus: None,
            out,
            stop_on_first: looks_for_a_fault,
            confirm: !looks_for_a_fault,
            reach: None,
        }
    }
}

fn jobs(args: &Args) -> usize {
    args.jobs.map_or_else(processors, usize::from)
}

/// Sixteen hexadecimal digits of what is in the files.
fn hash(files: &[&Path]) -> Result<String, Failure> {
    let mut digest = Sha256::new();
    for file in files {
        let content = fs::read(file).map_err(|e| {
            Failure::Harness(format!("cannot read {}: {e}; build it again", file.display()))
        })?;
        digest.update(content);
    }
    Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn print(report: &Report, args: &Args) -> Result<(), Failure> {
    if args.json {
        print_json(report)?;
    } else {
        println!("{}", evaluation::tables(report));
    }
    for complaint in evaluation::complaints(report, &args.out) {
        eprintln!("sparring: {complaint}");
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
        evaluate: Args,
    }

    fn chosen(line: &str) -> Vec<String> {
        let args = Line::parse_from(format!("x {line}").split_whitespace()).evaluate;
        cells(&args).iter().map(Cell::folder).collect()
    }

    #[test_log::test]
    fn the_canary_goes_first_and_every_fault_before_the_next_seed() {
        assert_eq!(
            chosen(
                "--fault wrap_twice --fault inq_blind --fault wrap_twice --seeds 2 --seed 7 --scenarios 20001"
            ),
            [
                "canary",
                "plain-7",
                "plain-8",
                "plain-in-sockhash-7",
                "plain-in-sockhash-8",
                "reference-7",
                "reference-8",
                "fault-wrap_twice-7",
                "fault-inq_blind-7",
                "fault-wrap_twice-8",
                "fault-inq_blind-8",
            ]
        );
    }

    #[test_log::test]
    fn each_part_can_be_had_alone() {
        assert_eq!(
            chosen("--only soundness --scenarios 5"),
            ["canary", "plain-1", "plain-in-sockhash-1", "reference-1"]
        );
        assert_eq!(chosen("--only sensitivity").len(), 1 + 3 * kmod::faults().len());
    }

    #[test_log::test]
    fn a_hash_is_of_all_files() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| {
            fs::write(directory.path().join(name), name).unwrap();
            directory.path().join(name)
        });
        // sha256sum(1) of "ab"
        assert_eq!(hash(&[&a, &b]).unwrap(), "fb8e20fc2e4c3f24");
        assert_eq!(hash(&[&directory.path().join("c")]).unwrap_err().code(), 69);
    }
}
