//! `sparring exec`: run a program of the host in a guest. It is the cargo runner of the tests that need one.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use vm::machine::Machine;
use vm::wire::Program;

use crate::exit::Failure;
use crate::interrupt;
use crate::program::{ProgramGuest, copy_out};
use crate::reach::coverage_failure;
use crate::target::{Target, TargetArgs};

/// The environment variable that names the list of coverage points, for `execute::Points::read`.
const POINTS: &str = "SPARRING_POINTS";

/// Run a program of the host in a guest, with its streams, environment and exit code.
///
/// The guest sees the host's files read-only, and the current directory writable. The target's modules are loaded and
/// no program is attached.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// How long it may take, such as 90s or 10m [default: no limit]
    #[arg(long, value_parser = crate::commands::duration)]
    time: Option<Duration>,
    /// Processors of the guest
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    vcpus: u32,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// Runs the command; its exit code is the program's, or 128 and the number of the signal that ended it.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let target = args.target.resolve()?;
    let interrupted = interrupt::flag()?;
    let (guest, streams) =
        ProgramGuest::boot(&target, args.vcpus, false, Machine::boot_with_streams)?;
    if let Some(splat) = guest.early.first() {
        let text = &splat.text;
        return Err(Failure::Kernel(format!("the kernel complained about a module:\n{text}")));
    }
    let environment = environment(&target, guest.scratch())?;
    let program = Program { argv: args.program.clone(), environment, terminal: None };
    let end = args.time.map(|time| Instant::now() + time);
    thread::scope(|scope| {
        // the program's input stays open and empty: it belongs to a test, not to a person
        let _stdin = streams.stdin;
        scope.spawn(|| copy_out(&streams.stdout, io::stdout()));
        scope.spawn(|| copy_out(&streams.stderr, io::stderr()));
        guest.run(program, end, &interrupted, None)
    })
}

/// Ours, and where the coverage points are listed.
fn environment(target: &Target, scratch: &Path) -> Result<Vec<(OsString, OsString)>, Failure> {
    let mut environment: Vec<_> = std::env::vars_os().collect();
    if let Some(code) = target.code()? {
        let list = scratch.join("points");
        code.write_points(&list).map_err(coverage_failure)?;
        environment.push((POINTS.into(), list.into()));
    }
    Ok(environment)
}
