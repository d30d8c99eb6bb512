//! The command line against real guests: verdicts, exit codes, and what is left after an accident.
//!
//! Run by `./sparring test`, which sets `SPARRING_VM_TESTS`; without it everything is skipped.

#![forbid(unsafe_code)]

mod accidents;
mod bad_input;
mod bench;
mod cargo_fuzz;
mod cli;
mod coverage;
mod evaluate;
mod reference;
mod shell;
mod shrink;
mod verdicts;

use libtest_mimic::{Arguments, Failed, Trial};

type Test = fn() -> Result<(), Failed>;

fn main() {
    let arguments = Arguments::from_args();
    let skip_all = std::env::var_os("SPARRING_VM_TESTS").is_none();
    if skip_all {
        eprintln!("selftests are skipped: ./sparring test runs them");
    }
    let series = cli::series();
    if series.is_none() {
        eprintln!("tests that need the series are skipped: no ../shared/series/rfc-v1.mbox");
    }
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("tests that mount something are skipped: not root");
    }
    let trial = |needed: bool| {
        let skip = skip_all || !needed;
        move |(name, test): &(&str, Test)| Trial::test(*name, *test).with_ignored_flag(skip)
    };
    let plain = [
        verdicts::PLAIN,
        reference::PLAIN,
        accidents::ALL,
        bad_input::PLAIN,
        bench::PLAIN,
        cargo_fuzz::PLAIN,
        coverage::PLAIN,
        evaluate::ALL,
        shell::ALL,
        shrink::ALL,
    ]
    .concat();
    let with_series = [
        verdicts::SERIES,
        reference::SERIES,
        accidents::SERIES,
        bad_input::SERIES,
        bench::SERIES,
        cargo_fuzz::SERIES,
        coverage::SERIES,
    ]
    .concat();
    let trials = plain
        .iter()
        .map(trial(true))
        .chain(bad_input::ROOT.iter().map(trial(is_root)))
        .chain(with_series.iter().map(trial(series.is_some())))
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
