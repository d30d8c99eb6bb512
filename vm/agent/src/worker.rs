//! The worker: takes the host's messages in order and answers them.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use agent::ports::{self, Control};
use agent::reach::Reach;
use agent::results::Results;
use agent::target;
use anyhow::{Context as _, Result};
use execute::Executor;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use scenario::bench::Trouble;
use vm::wire::{self, CONTROL_PORT, FromGuest, RESULTS_PORT, Refusal, Shares, ToGuest};

use crate::{checkup, files, program, say};

/// Open files that a program may have: corpora and sockets need many.
const FILES: u64 = 65_536;

/// Works until the host says power off, or is gone.
pub fn run() -> Result<()> {
    let results = Results::new(ports::open(RESULTS_PORT)?);
    let control = ports::open(CONTROL_PORT)?;
    let mut control = BufReader::new(Control::new(control));
    let Some(ToGuest::Share(shares)) =
        wire::read(&mut control).context("the host's first message")?
    else {
        anyhow::bail!(
            "the host's first message is not the shares: host and agent are not of the same build"
        );
    };
    // opened before the files change: the kernel's files are in ours and in the host's view alike
    let sysrq = File::options().write(true).open("/proc/sysrq-trigger").ok();
    if let Err(error) = settle(&shares) {
        let refusal = Refusal::Environment(format!("{error:#}"));
        results.say(&FromGuest::Refused(refusal)).context("results")?;
        return Ok(());
    }
    results.say(&hello()?).context("results")?;
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || listen(&mut control, sysrq, &sender));
    answer_all(&results, &messages)
}

fn settle(shares: &Shares) -> Result<()> {
    files::enter(shares)?;
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).context("locked memory")?;
    setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES).context("open files")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("core size")
}

fn hello() -> Result<FromGuest> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("the release")?;
    let cpus = thread::available_parallelism().context("processors")?;
    let cpus = u32::try_from(cpus.get()).context("processors")?;
    Ok(FromGuest::Hello { release: release.trim_end().to_owned(), cpus })
}

/// Reads ahead, so that a key is pressed while a scenario hangs. The end of the channel is the end of the host,
/// and of everything: nobody is left to answer.
fn listen(control: &mut impl io::Read, mut sysrq: Option<File>, messages: &Sender<ToGuest>) {
    loop {
        match wire::read(control) {
            Ok(Some(ToGuest::Sysrq(key))) => press(sysrq.as_mut(), key),
            Ok(Some(ToGuest::Resize(window))) => {
                let resized = ports::terminal().and_then(|file| program::resize(&file, window));
                if let Err(error) = resized {
                    tracing::debug!("{error:#}");
                }
            }
            Ok(Some(message)) => {
                if messages.send(message).is_err() {
                    return;
                }
            }
            Ok(None) => std::process::exit(0),
            Err(error) => {
                say(&format!("the host's message is garbled: {error}"));
                std::process::exit(1);
            }
        }
    }
}

/// The agent goes on where there is no such key: the host has other means.
fn press(sysrq: Option<&mut File>, key: char) {
    let Some(trigger) = sysrq else { return };
    if let Err(error) = io::Write::write_all(trigger, key.to_string().as_bytes()) {
        tracing::debug!("SysRq {key}: {error}");
    }
}

fn answer_all(results: &Results, messages: &Receiver<ToGuest>) -> Result<()> {
    let mut executor = None;
    let mut reach = Reach::default();
    let mut counters = None;
    let mut bench = None;
    for message in messages {
        let answer = match message {
            ToGuest::Setup(plan) => match target::set_up(&plan) {
                Ok(new) => {
                    results.beat(new.returned());
                    executor = Some(new);
                    counters = plan.counters;
                    FromGuest::Ready
                }
                Err(refusal) => FromGuest::Refused(refusal),
            },
            ToGuest::Run { number, run, bounds, scenario } => match &mut executor {
                None => FromGuest::Failed { number, reason: "nothing is set up".into() },
                Some(executor) => match executor.execute(run, &scenario, bounds) {
                    Ok(history) => {
                        FromGuest::Done { number, history, reached: reach.by_last(executor) }
                    }
                    Err(error) => FromGuest::Failed { number, reason: error.to_string() },
                },
            },
            ToGuest::Checkup(depth) => {
                let entries = || executor.as_ref().and_then(Executor::map_entries);
                FromGuest::Checkup(checkup::run(counters.as_deref(), entries, depth))
            }
            ToGuest::Contenders { pairing, busy_poll_us } => {
                match target::contend(&pairing, busy_poll_us) {
                    Ok((new, contenders)) => {
                        bench = Some(new);
                        FromGuest::Contenders(contenders)
                    }
                    Err(refusal) => FromGuest::Refused(refusal),
                }
            }
            ToGuest::Bench(load) => FromGuest::Measured(match &bench {
                None => Err(Trouble::Harness("nothing is connected".into())),
                Some(bench) => bench.measure(load),
            }),
            ToGuest::Exec(program) => FromGuest::Exited(program::run(&program)),
            ToGuest::PowerOff => return Ok(()),
            // the first is over, the others are the listener's
            ToGuest::Share(_) | ToGuest::Sysrq(_) | ToGuest::Resize(_) => continue,
        };
        results.say(&answer).context("results")?;
    }
    Ok(())
}
