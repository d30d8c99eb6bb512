//! A shell in the guest, for scripts and for people.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libtest_mimic::Failed;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::Test;
use crate::cli::{check, sparring, wait_for};

/// On plain TCP and on the reference.
pub const ALL: &[(&str, Test)] = &[
    ("a_shell_takes_commands_from_a_pipe", a_shell_takes_commands_from_a_pipe),
    ("a_shell_has_sockets_that_are_paired", a_shell_has_sockets_that_are_paired),
    ("a_shell_on_a_terminal_has_one_itself", a_shell_on_a_terminal_has_one_itself),
    ("a_shell_that_is_killed_leaves_the_terminal_as_it_was", a_killed_shell_restores_the_terminal),
];

/// Bytes over a connection, by a program that every machine has that builds kernels.
const CONNECTION: &str = r#"
perl -MIO::Socket::INET -e '
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:7000") or die "$!";
    my $client = IO::Socket::INET->new("127.0.0.1:7000") or die "$!";
    my $server = $listener->accept or die "$!";
    syswrite $client, "x" x 100;
    sysread $server, my $bytes, 1000;
    print length $bytes, "\n";
'
"#;

/// Runs commands in a shell, and gives its exit code and what it printed.
fn piped(target: &str, commands: &str) -> Result<(Option<i32>, String), Failed> {
    let mut child = sparring()
        .args(["shell", "--target", target])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    stdin.write_all(commands.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

fn a_shell_takes_commands_from_a_pipe() -> Result<(), Failed> {
    let (code, said) = piped("plain", "uname -r; exit 3")?;
    check(code == Some(3) && said.contains("sparring"), format!("{code:?}: {said}"))?;
    // more than any buffer on the way; the shell's end is that of its input
    let (code, said) = piped("plain", &(": a comment\n".repeat(20_000) + "echo done; (exit 7)\n"))?;
    check(code == Some(7) && said == "done\n", format!("{code:?}: {said}"))
}

fn a_shell_has_sockets_that_are_paired() -> Result<(), Failed> {
    let counter = format!("cat {}/ring_bytes\n", kmod::COUNTERS);
    let (code, said) = piped("reference", &format!("{counter}{CONNECTION}{counter}"))?;
    check(code == Some(0) && said == "0\n100\n100\n", format!("{code:?}: {said}"))
}

/// A shell at a terminal of so many rows and columns.
struct Seat {
    child: Child,
    person: File,
    tty: File,
    screen: Arc<Mutex<String>>,
}

impl Seat {
    fn take(rows: u16, columns: u16) -> Result<Seat, Failed> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None)?;
        let (person, tty) = (File::from(pty.master), File::from(pty.slave));
        let child = sparring()
            .args(["shell", "--target", "plain"])
            .env("SHELL", "/bin/sh")
            .stdin(tty.try_clone()?)
            .stdout(tty.try_clone()?)
            .stderr(Stdio::null())
            .spawn()?;
        let screen = Arc::new(Mutex::new(String::new()));
        let (shown, mut reader) = (Arc::clone(&screen), person.try_clone()?);
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(read) = reader.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..read]);
                shown.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        let seat = Seat { child, person, tty, screen };
        seat.wait_to_see("# ")?;
        Ok(seat)
    }

    fn wait_to_see(&self, text: &str) -> Result<(), Failed> {
        wait_for(text, || self.screen().contains(text)).map_err(|_| self.screen().into())
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pid(&self) -> Result<Pid, Failed> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    /// Whether the terminal shows what is typed by itself, as it does when nobody has made it raw.
    fn echoes(&self) -> Result<bool, Failed> {
        Ok(tcgetattr(&self.tty)?.local_flags.contains(LocalFlags::ECHO))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_shell_on_a_terminal_has_one_itself() -> Result<(), Failed> {
    let mut seat = Seat::take(33, 77)?;
    check(!seat.echoes()?, "the terminal is not raw")?;
    seat.person.write_all(b"stty size\r")?;
    seat.wait_to_see("33 77")?;
    // the window changes; the terminal is not the shell's controlling one, so nobody else tells it
    let stty = Command::new("stty")
        .args(["rows", "20", "cols", "50"])
        .stdin(seat.tty.try_clone()?)
        .status()?;
    check(stty.success(), "stty failed")?;
    kill(seat.pid()?, Signal::SIGWINCH)?;
    seat.person.write_all(
        b"until [ \"$(stty size)\" = '20 50' ]; do sleep 0.1; done; echo $((19 + 1)) rows\r",
    )?;
    seat.wait_to_see("20 rows")?;
    // Ctrl-C is for what runs in the guest, and its shell has job control
    seat.person.write_all(b"sleep 1000\r")?;
    seat.wait_to_see("sleep 1000")?;
    seat.person.write_all(b"\x03")?;
    seat.person.write_all(b"echo $((6 * 7)); exit 5\r")?;
    let code = seat.child.wait()?.code();
    check(code == Some(5) && seat.screen().contains("42"), format!("{code:?}: {}", seat.screen()))?;
    check(seat.echoes()?, "the terminal is still raw")
}

fn a_killed_shell_restores_the_terminal() -> Result<(), Failed> {
    let mut seat = Seat::take(24, 80)?;
    check(!seat.echoes()?, "the terminal is not raw")?;
    let pid = seat.pid()?;
    // the second one must not cut the way out short
    kill(pid, Signal::SIGTERM)?;
    kill(pid, Signal::SIGTERM)?;
    let code = seat.child.wait()?.code();
    check(code == Some(69), format!("ended with {code:?}"))?;
    check(seat.echoes()?, "the terminal is still raw")
}
