//! Running other programs so that they end when we do, and their words are kept.

use std::collections::VecDeque;
use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::error::{KernelError, io_at};

/// How many of the last lines of a failed program's output an error repeats.
const LAST_LINES: usize = 12;

/// Programs that a build runs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 14] = [
    ("setpriv", "util-linux"),
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("pahole", "pahole"),
    ("patch", "patch"),
    ("cp", "coreutils"),
    ("gzip", "gzip"),
    ("git", "git"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];

/// `program`, which gets SIGTERM when we die, of whatever. make(1) then stops its jobs and removes
/// what they left unfinished.
///
/// The signal is tied to the *thread* that spawns (prctl(2), `PR_SET_PDEATHSIG`): wait for the
/// program where it was started.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--", program]);
    // What a developer's shell, or a make or cargo above us, says about its own builds.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["KBUILD_", "KCONFIG_", "MAKE", "MFLAGS", "KCFLAGS", "KCPPFLAGS", "KAFLAGS"];
        let exact = ["ARCH", "SRCARCH", "SUBARCH", "CROSS_COMPILE", "LLVM", "LOCALVERSION", "O"];
        let more = ["M", "V", "W", "C", "CC", "LD", "GREP_OPTIONS", "POSIXLY_CORRECT", "CDPATH"];
        if ours.iter().any(|prefix| text.starts_with(prefix))
            || exact.contains(&&*text)
            || more.contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Fails with the list of what is missing, so that one `apt-get install` is enough.
pub(crate) fn check_programs() -> Result<(), KernelError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = env::split_paths(&path).collect();
    let missing = PROGRAMS.iter().filter(|(name, _)| !dirs.iter().any(|d| d.join(name).is_file()));
    let (programs, packages): (Vec<String>, Vec<String>) =
        missing.map(|(name, package)| ((*name).to_owned(), (*package).to_owned())).unzip();
    if programs.is_empty() { Ok(()) } else { Err(KernelError::Missing { programs, packages }) }
}

/// Runs a short command; its success, and all that it printed.
pub(crate) fn output(command: &mut Command, name: &str) -> Result<(bool, String), KernelError> {
    let output = command.output().map_err(started(name))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), text))
}

/// How a logged program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The last lines that it printed.
    pub(crate) last: String,
}

impl Ended {
    /// Stopped by Ctrl-C, or by our own end.
    pub(crate) fn interrupted(&self) -> bool {
        matches!(self.status.signal(), Some(2 | 15))
            || matches!(self.status.code(), Some(130 | 143))
    }
}

/// Runs `command`, appends all that it prints to `log` and shows each line to `on_line`.
pub(crate) fn logged(
    command: &mut Command,
    name: &str,
    log: &Path,
    on_line: &mut dyn FnMut(&str),
) -> Result<Ended, KernelError> {
    let mut file = File::options().create(true).append(true).open(log).map_err(io_at(log))?;
    let (reader, writer) = io::pipe().map_err(started(name))?;
    command.stdout(writer.try_clone().map_err(started(name))?).stderr(writer);
    tracing::debug!(?command, "run");
    let mut child = command.spawn().map_err(started(name))?;
    // The command holds the pipe's other end; as long as it does, there is no end of file.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let copied = copy_lines(BufReader::new(reader), &mut file, on_line);
    if copied.is_err() {
        // Without a log there is no answer to wait for. The child's error is of no interest.
        let _ = child.kill();
    }
    let status = child.wait().map_err(started(name))?;
    let last = copied.map_err(io_at(log))?;
    Ok(Ended { status, last })
}

fn copy_lines(
    mut from: impl BufRead,
    to: &mut dyn Write,
    on_line: &mut dyn FnMut(&str),
) -> io::Result<String> {
    let mut last = VecDeque::with_capacity(LAST_LINES);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        on_line(&text);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text);
        line.clear();
    }
    Ok(Vec::from(last).join("\n"))
}

fn started(name: &str) -> impl FnOnce(io::Error) -> KernelError {
    let program = name.to_owned();
    move |source| KernelError::Run { program, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn all_output_is_logged_and_the_end_is_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        let mut lines = 0;
        let mut sh = command("sh");
        sh.args(["-c", "seq 100; echo no >&2; exit 3"]);
        let ended = logged(&mut sh, "sh", &log, &mut |_| lines += 1).unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert!(!ended.interrupted());
        assert_eq!(lines, 101);
        assert_eq!(ended.last.lines().count(), LAST_LINES);
        assert!(ended.last.ends_with("100\nno"));
        assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 101);
    }

    #[test_log::test]
    fn a_signal_is_an_interruption() {
        let dir = tempfile::tempdir().unwrap();
        let mut sh = command("sh");
        // not INT, which a shell ignores in what it runs in the background
        sh.args(["-c", "kill -TERM $$"]);
        let ended = logged(&mut sh, "sh", &dir.path().join("x.log"), &mut |_| {}).unwrap();
        assert!(ended.interrupted());
    }
}
