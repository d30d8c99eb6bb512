//! A guest of its own for one program of the host.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use scenario::payload::Key;
use tempfile::TempDir;
use vm::machine::{BootError, Ending, Event, Machine, MachineSpec};
use vm::splat::Splat;
use vm::wire::{Exit, FromGuest, Pairing, Plan, Program, ToGuest};

use crate::commands::scratch;
use crate::exit::Failure;
use crate::target::Target;
use crate::terminal::Terminal;

/// How long the guest may take to switch itself off.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a signal or another size of the terminal may wait.
const TURN: Duration = Duration::from_millis(200);
/// What to say where it complained.
const COMPLAINED: &str = "the kernel complained, see above";

/// A guest that was booted for a program. It can write to the current directory.
pub struct ProgramGuest {
    machine: Machine,
    /// What the kernel complained about until the guest was set up.
    pub early: Vec<Splat>,
    /// Where its console is kept.
    scratch: TempDir,
}

impl ProgramGuest {
    /// Boots it with the streams that `boot` gives it, and loads the target's modules. Its sock_ops program is attached
    /// where `attach` says so; else which sockets are paired, and by what, is the program's.
    ///
    /// # Errors
    /// As [`crate::guest::Spec::boot`].
    pub fn boot<S>(
        target: &Target,
        vcpus: u32,
        attach: bool,
        boot: impl FnOnce(&MachineSpec) -> Result<(Machine, S), BootError>,
    ) -> Result<(ProgramGuest, S), Failure> {
        let scratch = scratch("program")?;
        let cwd = std::env::current_dir().map_err(|e| Failure::Harness(e.to_string()))?;
        let mut spec = target.spec(Key::from_seed(0), scratch.path().join("console.log"))?;
        spec.machine.writable = vec![cwd.clone()];
        spec.machine.cwd = cwd;
        spec.machine.vcpus = vcpus;
        let (mut machine, streams) = boot(&spec.machine).map_err(|e| spec.boot_failure(&e))?;
        let mut plan = spec.plan.clone();
        if !attach {
            plan = Plan { pairing: Pairing::None, counters: None, ..plan };
        }
        let mut early = Vec::new();
        if attach || !plan.modules.is_empty() {
            early = spec.set_up(&mut machine, &plan)?;
        }
        Ok((ProgramGuest { machine, early, scratch }, streams))
    }

    /// A directory of its own, which it sees and the host removes with it.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// `uname -r`
    pub fn release(&self) -> &str {
        &self.machine.hello().release
    }

    /// Runs the program to its end, and switches the guest off, so that its streams end. A program that is not done by
    /// `end`, or when `interrupted` is set, is killed with its guest. The exit code is the program's, or 128 and the
    /// number of the signal that ended it.
    ///
    /// # Errors
    /// [`Failure::Kernel`] where the kernel complained or died meanwhile, [`Failure::Harness`] where the guest ended
    /// otherwise.
    pub fn run(
        mut self,
        program: Program,
        end: Option<Instant>,
        interrupted: &AtomicBool,
        terminal: Option<&Terminal>,
    ) -> Result<ExitCode, Failure> {
        self.tell(&ToGuest::Exec(program))?;
        let mut complained = false;
        let mut killed = None;
        let exit = loop {
            if end.is_some_and(|end| Instant::now() > end) {
                killed = Some("the program was not done in time");
            } else if interrupted.load(Ordering::Relaxed) {
                killed = Some("interrupted");
            }
            if killed.is_some() {
                self.machine.kill();
            } else if let Some(window) = terminal.and_then(Terminal::resized) {
                self.tell(&ToGuest::Resize(window))?;
            }
            match self.machine.next_event(TURN) {
                Event::Message(FromGuest::Exited(exit)) => break exit,
                Event::Message(other) => {
                    tracing::warn!(?other, "unexpected message from the guest");
                }
                Event::Splat(splat) => {
                    show(&splat, terminal);
                    complained = true;
                }
                Event::Ended(ending) => {
                    died(&ending)?;
                    return Err(match killed {
                        _ if complained => Failure::Kernel(COMPLAINED.into()),
                        Some(why) => Failure::Harness(why.into()),
                        None => Failure::Harness(format!("the guest ended: {ending}")),
                    });
                }
                Event::Timeout => {}
            }
        };
        // ends the streams, which the copies wait for
        for event in self.machine.power_off(PATIENCE) {
            match event {
                Event::Splat(splat) => {
                    show(&splat, terminal);
                    complained = true;
                }
                Event::Ended(ending) => died(&ending)?,
                Event::Message(_) | Event::Timeout => {}
            }
        }
        if complained {
            return Err(Failure::Kernel(COMPLAINED.into()));
        }
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        };
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    }

    fn tell(&mut self, message: &ToGuest) -> Result<(), Failure> {
        let deaf = |e| Failure::Harness(format!("the guest does not listen: {e}"));
        self.machine.send(message).map_err(deaf)
    }
}

/// Prints what the kernel complained about.
fn show(splat: &Splat, terminal: Option<&Terminal>) {
    let text = format!("sparring: {}\n", splat.text);
    // where the terminal is raw, a new line begins where the one before ends
    eprint!("{}", if terminal.is_some() { text.replace('\n', "\r\n") } else { text });
}

/// Fails where the guest ended because its kernel died.
fn died(ending: &Ending) -> Result<(), Failure> {
    match ending.kernels() {
        Some(panic) => {
            Err(Failure::Kernel(format!("the kernel died: {}\n{}", panic.headline, panic.text)))
        }
        None => Ok(()),
    }
}

/// Copies what the program prints until its streams end; at once, and not by lines as `std::io::stdout` does, because a
/// prompt is no line.
pub fn copy_out(mut from: &UnixStream, to: impl AsFd) {
    let copied = to
        .as_fd()
        .try_clone_to_owned()
        .and_then(|descriptor| io::copy(&mut from, &mut File::from(descriptor)));
    if let Err(error) = copied {
        tracing::warn!("lost a part of the program's output: {error}");
    }
}
