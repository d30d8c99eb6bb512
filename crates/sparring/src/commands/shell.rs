//! `sparring shell`: a shell in a guest.

use std::io::{self, IsTerminal as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;

use vm::machine::Machine;
use vm::wire::{Pairing, Program, Window};

use crate::exit::Failure;
use crate::interrupt;
use crate::program::{ProgramGuest, copy_out};
use crate::target::{Target, TargetArgs};
use crate::terminal::Terminal;

/// A shell in a guest, $SHELL or /bin/sh, for commands from a terminal or a pipe.
///
/// The target's modules are loaded and its program is attached, so that whatever connects in the guest is paired. The guest
/// sees the host's files read-only, and the current directory writable. The exit code is the shell's.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Processors of the guest
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    vcpus: u32,
}

/// Runs the command; its exit code is the shell's, or 128 and the number of the signal that ended it.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let target = args.target.resolve()?;
    if io::stdin().is_terminal() {
        on_a_terminal(&target, args.vcpus)
    } else {
        on_a_pipe(&target, args.vcpus)
    }
}

fn on_a_terminal(target: &Target, vcpus: u32) -> Result<ExitCode, Failure> {
    let (guest, wire) = ProgramGuest::boot(target, vcpus, true, Machine::boot_with_terminal)?;
    greet(target, &guest);
    // no signal may end the process any more before the terminal is as it was
    let interrupted = interrupt::mere_flag()?;
    let terminal = Terminal::enter(io::stdin())?;
    copy_in(&wire, false)?;
    thread::scope(|scope| {
        scope.spawn(|| copy_out(&wire, io::stdout()));
        guest.run(shell(Some(terminal.window())), None, &interrupted, Some(&terminal))
    })
}

fn on_a_pipe(target: &Target, vcpus: u32) -> Result<ExitCode, Failure> {
    let interrupted = interrupt::flag()?;
    let (guest, streams) = ProgramGuest::boot(target, vcpus, true, Machine::boot_with_streams)?;
    greet(target, &guest);
    copy_in(&streams.stdin, true)?;
    thread::scope(|scope| {
        scope.spawn(|| copy_out(&streams.stdout, io::stdout()));
        scope.spawn(|| copy_out(&streams.stderr, io::stderr()));
        guest.run(shell(None), None, &interrupted, None)
    })
}

/// Copies our input until it ends, and then, where `ends` says so, ends the shell's. It sleeps in a read when the shell is
/// done, so nobody waits for it.
fn copy_in(to: &UnixStream, ends: bool) -> Result<(), Failure> {
    let mut to = to.try_clone().map_err(|e| Failure::Harness(e.to_string()))?;
    thread::spawn(move || {
        // a shell that is done takes no more, and its exit says so
        let _ = io::copy(&mut io::stdin().lock(), &mut to);
        if ends {
            let _ = to.shutdown(Shutdown::Write);
        }
    });
    Ok(())
}

fn shell(terminal: Option<Window>) -> Program {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    Program {
        argv: vec![shell.unwrap_or_else(|| "/bin/sh".into())],
        environment: std::env::vars_os().collect(),
        terminal,
    }
}

/// Says where one is.
fn greet(target: &Target, guest: &ProgramGuest) {
    for splat in &guest.early {
        eprintln!("sparring: the kernel complained while it was set up:\n{}", splat.text);
    }
    let modules = target.modules.iter().map(|module| module.path.display().to_string());
    let modules: Vec<String> = modules.collect();
    let loaded = if modules.is_empty() {
        String::new()
    } else {
        format!("; loaded: {}", modules.join(", "))
    };
    eprintln!("sparring: a shell in a guest of {}, kernel {}", target.name, guest.release());
    eprintln!("sparring: {}{loaded}", attached(&target.pairing));
    eprintln!(
        "sparring: of the host's files only those below the current directory can be changed"
    );
}

/// What becomes of connections in the guest.
fn attached(pairing: &Pairing) -> String {
    match pairing {
        Pairing::None => "no program is attached: connections are plain TCP".to_owned(),
        Pairing::Sockhash => "connected sockets are put into a SOCKHASH, unpaired".to_owned(),
        Pairing::Ours => "our program pairs the two sockets of each TCP connection".to_owned(),
        Pairing::Object(path) => format!("{} is attached to all sockets", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn a_person_is_told_what_is_attached() {
        assert!(attached(&Pairing::None).contains("plain TCP"));
        assert!(attached(&Pairing::Object("/a.bpf.o".into())).starts_with("/a.bpf.o is attached"));
    }
}
