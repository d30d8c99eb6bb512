//! HOST: the command line.

#![forbid(unsafe_code)]

mod bout;
mod campaign;
mod commands;
mod confirm;
mod covered;
mod evaluation;
mod exit;
mod figures;
mod guest;
mod interrupt;
mod journal;
mod leak;
mod ledger;
mod libfuzzer;
mod narrow;
mod plain;
mod program;
mod progress;
mod reach;
mod replay;
mod runner;
mod tally;
mod target;
mod terminal;
mod waning;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Fuzzes, replays and judges paired TCP sockets on a real kernel in a VM.
///
/// Exit codes: 0 pass, 1 violation (the kernel is at fault), 2 usage or bad input, 4 skip (the target
/// cannot do it), 69 the harness or its environment failed.
#[derive(Parser)]
#[command(name = "sparring", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Fuzz(commands::fuzz::Args),
    Run(commands::run::Args),
    Shrink(commands::shrink::Args),
    Diff(commands::diff::Args),
    Evaluate(commands::evaluate::Args),
    Coverage(commands::coverage::Args),
    Bench(commands::bench::Args),
    Kernel(commands::kernel::Args),
    Exec(commands::exec::Args),
    Shell(commands::shell::Args),
    FuzzTarget(commands::fuzz_target::Args),
    Test(commands::test::Args),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("SPARRING_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    let result = match Cli::parse().command {
        Command::Fuzz(args) => commands::fuzz::run(&args).map(Into::into),
        Command::Run(args) => commands::run::run(&args).map(Into::into),
        Command::Shrink(args) => commands::shrink::run(&args).map(Into::into),
        Command::Diff(args) => commands::diff::run(&args).map(Into::into),
        Command::Evaluate(args) => commands::evaluate::run(&args).map(Into::into),
        Command::Coverage(args) => commands::coverage::run(&args).map(Into::into),
        Command::Bench(args) => commands::bench::run(&args).map(Into::into),
        Command::Kernel(args) => commands::kernel::run(&args).map(Into::into),
        Command::Exec(args) => commands::exec::run(&args),
        Command::Shell(args) => commands::shell::run(&args),
        Command::FuzzTarget(args) => commands::fuzz_target::run(&args),
        Command::Test(args) => commands::test::run(&args).map(Into::into),
    };
    exit::finish(result)
}
