//! `sparring fuzz-target`: run a fuzz target of cargo-fuzz in VMs. It is the cargo runner of fuzz targets.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anstream::eprintln;
use report::UNFINISHED;
use scenario::payload::Key;
use vm::wire::{Exit, REFUSED, SHOW_ONLY};

use crate::commands::{checkout, scratch, shrink};
use crate::exit::{Failure, Outcome};
use crate::guest;
use crate::interrupt;
use crate::libfuzzer::{Docket, Line, Seat, Work, digest, subject};
use crate::reach::Reach;
use crate::target::{Target, TargetArgs};

/// libFuzzer's exit code when it was interrupted.
const INTERRUPTED: u8 = 72;
/// libFuzzer's exit code when what is to be minimised does not crash.
const NO_CRASH: u8 = 1;
/// Corpora of the checkout, which every fuzz target starts from.
const SEEDS: [&str; 2] = ["corpus/seeds", "corpus/regressions"];

/// Run a fuzz target of cargo-fuzz in VMs: what `cargo fuzz` starts.
///
/// The kernel target comes from the environment. A violation does not end the run: the first of each kind becomes an
/// artifact. A fuzz target that needs no VM runs on the host.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Processors of each VM [default: 2, where the host has them]
    #[arg(long, value_name = "N", env = "SPARRING_VCPUS", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=8))]
    vcpus: Option<u32>,
    /// The fuzz target and libFuzzer's arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// Runs the command; the exit code is libFuzzer's.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (program, arguments) =
        args.program.split_first().ok_or_else(|| Failure::BadInput("no program".into()))?;
    let program = Path::new(program);
    let mut line = Line::read(arguments);
    let only_shows = std::env::var_os(SHOW_ONLY).is_some();
    if !only_shows {
        let corpora = checkout()?;
        let corpora = SEEDS.iter().map(|seeds| corpora.join(seeds));
        line.read_also(corpora.filter(|corpus| corpus.is_dir()));
    }
    if only_shows || !needs_guest(program)? {
        let failed = Command::new(program).args(line.arguments()).exec();
        return Err(Failure::BadInput(format!("{}: {failed}", program.display())));
    }
    if line.work() == Work::Minimize {
        return minimize(&args.target, &line);
    }
    let target = args.target.resolve()?;
    let interrupted = interrupt::flag()?;
    eprintln!("sparring: {} on {}", target.name, target.accel);
    fuzz(&target, args.vcpus, program, &line, &interrupted)
}

/// Whether the program refuses to run on the host, be it only to show its flags.
fn needs_guest(program: &Path) -> Result<bool, Failure> {
    let mut help = Command::new(program);
    help.arg("-help=1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status =
        help.status().map_err(|e| Failure::BadInput(format!("{}: {e}", program.display())))?;
    Ok(status.code() == Some(REFUSED))
}

/// Has libFuzzer work in as many VMs as it would have had jobs.
fn fuzz(
    target: &Target,
    vcpus: Option<u32>,
    program: &Path,
    line: &Line,
    interrupted: &AtomicBool,
) -> Result<ExitCode, Failure> {
    let scratch = scratch("fuzz")?;
    if line.work() == Work::Fuzz {
        // of an earlier run; where it cannot be removed, comparisons are wrong on the safe side
        let _ = std::fs::remove_file(line.artifact(UNFINISHED));
    }
    let mut line = line.clone();
    let mut written = line.written();
    if line.work() == Work::Merge && line.flag("merge_control_file").is_none() {
        // it outlives a guest, so that the next one goes on where that died
        let control = scratch.path().join("merge");
        std::fs::create_dir(&control).map_err(|e| Failure::Harness(e.to_string()))?;
        line.set("merge_control_file", control.join("control").display());
        written.push(control);
    }
    let cwd = std::env::current_dir().map_err(|e| Failure::Harness(e.to_string()))?;
    let reach = target.code()?.map(|code| Reach::new(&code, &scratch.path().join("points")));
    let docket = Docket::new(target, &line, reach.transpose()?);
    let seat = |vm: usize| -> Result<Seat<'_>, Failure> {
        let console = scratch.path().join(format!("console-{vm}.log"));
        let mut spec = target.spec(Key::from_seed(vm as u64), console)?;
        spec.machine.writable.clone_from(&written);
        spec.machine.cwd.clone_from(&cwd);
        spec.plan.points = docket.points().map(Path::to_owned);
        spec.machine.vcpus = vcpus.unwrap_or_else(guest::racing_vcpus);
        let (line, docket, scratch) = (&line, &docket, scratch.path());
        Ok(Seat { vm, spec, program, line, scratch, docket, interrupted })
    };
    let seats = (0..line.jobs()).map(seat).collect::<Result<Vec<_>, Failure>>()?;
    let ended = thread::scope(|scope| {
        let work = |seat| scope.spawn(move || Seat::work(seat));
        let working: Vec<_> = seats.iter().map(work).collect();
        let ended = working.into_iter().map(|seat| {
            seat.join().unwrap_or_else(|_| {
                Err(Failure::Harness("a VM's thread panicked: report this".into()))
            })
        });
        ended.collect::<Vec<_>>()
    });
    eprintln!("sparring: {}", docket.summary());
    conclude(ended, &docket, &line, interrupted.load(Ordering::Relaxed))
}

/// The exit code of all.
fn conclude(
    ended: Vec<Result<Option<Exit>, Failure>>,
    docket: &Docket<'_>,
    line: &Line,
    is_interrupted: bool,
) -> Result<ExitCode, Failure> {
    let finds = matches!(line.work(), Work::Fuzz | Work::Replay);
    if finds && docket.has_findings() {
        // what was found stands, whatever ended the others
        let early = ended.into_iter().filter_map(Result::err).map(|e| format!("ended early: {e}"));
        let early: Vec<String> = early.collect();
        early.iter().for_each(|words| eprintln!("sparring: {words}"));
        if !early.is_empty() && line.work() == Work::Fuzz {
            let note = line.artifact(UNFINISHED);
            let failed = |e| Failure::Harness(format!("{}: {e}", note.display()));
            std::fs::write(&note, early.join("\n") + "\n").map_err(failed)?;
        }
        return Ok(line.crash_code().into());
    }
    let ended = ended.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    let crash = i32::from(line.crash_code());
    for exit in ended.into_iter().flatten() {
        match exit {
            Exit::Code(0) => {}
            Exit::Code(code) if code != crash => return Ok(u8::try_from(code).unwrap_or(1).into()),
            _ => return Err(Failure::Harness("the fuzz target itself crashed, see above".into())),
        }
    }
    if is_interrupted {
        return Ok(INTERRUPTED.into());
    }
    match docket.missing().filter(|_| finds) {
        Some(missing) => Err(Failure::Harness(missing)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Shrinks the input, instead of cutting its bytes.
fn minimize(target: &TargetArgs, line: &Line) -> Result<ExitCode, Failure> {
    let [input] = line.inputs() else {
        return Err(Failure::BadInput("-minimize_crash=1 takes one input file".into()));
    };
    let bytes =
        std::fs::read(input).map_err(|e| Failure::BadInput(format!("{}: {e}", input.display())))?;
    let output = line.flag("exact_artifact_path").map_or_else(
        || line.artifact(&format!("minimized-from-{}", digest(&bytes))),
        PathBuf::from,
    );
    let args = shrink::Args {
        file: input.clone(),
        target: target.clone(),
        invariant: subject(&bytes),
        budget: None,
        time: line.time(),
        output: Some(output.clone()),
    };
    Ok(match shrink::run(&args)? {
        Outcome::Violation => {
            eprintln!("sparring: the smallest input is {}", output.display());
            ExitCode::SUCCESS
        }
        Outcome::Pass => NO_CRASH.into(),
        outcome => outcome.into(),
    })
}
