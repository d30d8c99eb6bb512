//! A program of the host in the guest.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use agent::ports;
use anyhow::{Context as _, Result};
use rustix::termios::{Winsize, tcsetwinsize};
use vm::wire::{Exit, Program, STDERR_PORT, STDIN_PORT, STDOUT_PORT, Window};

use crate::say;

/// What shells return for a command that cannot be started.
const NOT_STARTED: i32 = 127;
/// The one directory that every program can write to.
const TEMPORARY: &str = "/dev/shm";

/// Runs it to its end, with the network of the scenarios.
pub fn run(program: &Program) -> Exit {
    if let Err(error) = execute::prepare_network() {
        say(&format!("the network: {error}"));
    }
    match status(program) {
        Ok(status) => match status.signal() {
            Some(signal) => Exit::Signal(signal),
            None => Exit::Code(status.code().unwrap_or(NOT_STARTED)),
        },
        Err(error) => {
            say(&format!("{error:#}"));
            Exit::Code(NOT_STARTED)
        }
    }
}

fn status(program: &Program) -> Result<ExitStatus> {
    let name = program.argv.first().context("no program")?;
    let mut command = if program.terminal.is_some() {
        // a session of its own, with the terminal as its controlling one: job control needs it
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(name);
        command
    } else {
        Command::new(name)
    };
    command.args(&program.argv[1..]).env_clear();
    command.env("TMPDIR", TEMPORARY).envs(program.environment.iter().map(|(k, v)| (k, v)));
    let [stdin, stdout, stderr] = streams(program.terminal)?;
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    command.status().with_context(|| format!("{} cannot be started", name.display()))
}

fn streams(terminal: Option<Window>) -> Result<[Stdio; 3]> {
    if let Some(window) = terminal {
        let terminal = ports::terminal()?;
        resize(&terminal, window)?;
        let again = |file: &File| file.try_clone().context("the terminal");
        return Ok([again(&terminal)?.into(), again(&terminal)?.into(), terminal.into()]);
    }
    Ok([
        ports::open(STDIN_PORT)?.into(),
        ports::open(STDOUT_PORT)?.into(),
        ports::open(STDERR_PORT)?.into(),
    ])
}

/// Tells the terminal its size; what runs on it is told by a `SIGWINCH`.
pub fn resize(terminal: &File, window: Window) -> Result<()> {
    let Window { rows, columns } = window;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).context("the size of the terminal")
}
