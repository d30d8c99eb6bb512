//! `sparring exec`: run a program of the host in a guest. It is the cargo runner of the tests that need one.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use scenario::payload::Key;
use vm::machine::{Ending, Event, Machine};
use vm::wire::{Exit, FromGuest, Pairing, Plan, Program, ToGuest};

use crate::exit::Failure;
use crate::interrupt;
use crate::reach::coverage_failure;
use crate::target::{Target, TargetArgs};

/// How long the guest may take to switch itself off.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let scratch = tempfile::Builder::new()
        .prefix("sparring-exec-")
        .tempdir()
        .map_err(|e| Failure::Harness(format!("cannot make a temporary directory: {e}")))?;
    let cwd = std::env::current_dir().map_err(|e| Failure::Harness(e.to_string()))?;
    let mut spec = target.spec(Key::from_seed(0), scratch.path().join("console.log"))?;
    spec.machine.writable = vec![cwd.clone()];
    spec.machine.cwd = cwd;
    spec.machine.vcpus = args.vcpus;
    let (mut machine, streams) =
        Machine::boot_with_streams(&spec.machine).map_err(|e| spec.boot_failure(&e))?;
    if !spec.plan.modules.is_empty() {
        // which sockets are paired, and by what, is the program's
        let plan = Plan { pairing: Pairing::None, counters: None, ..spec.plan.clone() };
        if let Some(headline) = spec.set_up(&mut machine, &plan)?.first() {
            return Err(Failure::Kernel(format!(
                "the kernel complained about a module: {headline}"
            )));
        }
    }
    let environment = environment(&target, scratch.path())?;
    let program = Program { argv: args.program.clone(), environment, terminal: false };
    machine
        .send(&ToGuest::Exec(program))
        .map_err(|e| Failure::Harness(format!("the guest does not listen: {e}")))?;
    thread::scope(|scope| {
        // the program's input stays open and empty: it belongs to a test, not to a person
        let _stdin = streams.stdin;
        scope.spawn(|| copy(&streams.stdout, &mut io::stdout()));
        scope.spawn(|| copy(&streams.stderr, &mut io::stderr()));
        let mut complained = false;
        let end = args.time.map(|time| Instant::now() + time);
        let exit = loop {
            if end.is_some_and(|end| Instant::now() > end)
                || interrupted.load(std::sync::atomic::Ordering::Relaxed)
            {
                machine.kill();
            }
            match machine.next_event(Duration::from_millis(200)) {
                Event::Message(FromGuest::Exited(exit)) => break exit,
                Event::Message(other) => {
                    tracing::warn!(?other, "unexpected message from the guest");
                }
                Event::Splat(splat) => {
                    eprintln!("sparring: {}", splat.text);
                    complained = true;
                }
                Event::Ended(Ending::Panic(panic)) => {
                    return Err(Failure::Kernel(format!("the kernel panicked: {}", panic.text)));
                }
                Event::Ended(ending) => {
                    return Err(Failure::Harness(format!("the guest ended: {ending:?}")));
                }
                Event::Timeout => {}
            }
        };
        // ends the streams, which the copies wait for
        let rest = machine.power_off(PATIENCE);
        complained |= rest.iter().any(|event| matches!(event, Event::Splat(_)));
        if complained {
            return Err(Failure::Kernel("the kernel complained, see above".into()));
        }
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        };
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
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

fn copy(mut from: &UnixStream, to: &mut impl Write) {
    if let Err(error) = io::copy(&mut from, to) {
        tracing::warn!("lost a part of the program's output: {error}");
    }
}
