//! Starting the command line and reading what it leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The posted series, where it stands beside the checkout.
pub fn series() -> Option<PathBuf> {
    root().join("../shared/series/rfc-v1.mbox").canonicalize().ok()
}

/// The command line in the directory that this test was built into; `./sparring test` has built it before.
pub fn sparring() -> Command {
    let mut directory = std::env::current_exe().expect("a test has a path");
    directory.pop();
    directory.pop();
    let mut command = Command::new(directory.join("sparring"));
    command.env("SPARRING_ROOT", root()).stdin(Stdio::null());
    command
}

/// Runs it to its end and checks the exit code.
pub fn expect(code: i32, command: &mut Command) -> Result<Output, Failed> {
    let output = command.output()?;
    if output.status.code() == Some(code) {
        return Ok(output);
    }
    Err(format!(
        "{command:?} ended with {} instead of {code}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

/// The image of the default kernel, which `./sparring test` has built.
pub fn default_kernel() -> Result<String, Failed> {
    let output = expect(0, sparring().args(["kernel", "path"]))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Runs it to its end, checks the exit code and that each of the words is in what it says.
pub fn expect_words(code: i32, words: &[&str], command: &mut Command) -> Result<(), Failed> {
    let output = expect(code, command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    match words.iter().find(|word| !said.contains(**word)) {
        Some(word) => Err(format!("{command:?} does not say {word:?} but\n{said}").into()),
        None => Ok(()),
    }
}

/// `summary.json` of a campaign.
pub fn summary(out: &Path) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&fs::read_to_string(out.join("summary.json"))?)?)
}

/// A number of `summary.json`.
pub fn number(summary: &Value, key: &str) -> Result<f64, Failed> {
    summary[key].as_f64().ok_or_else(|| format!("no number {key} in {summary}").into())
}

/// A campaign under way. Killed when dropped.
pub struct Running {
    child: Child,
    out: PathBuf,
}

impl Running {
    /// Starts a campaign and waits until it has judged some scenarios.
    pub fn start(out: &Path, flags: &[&str]) -> Result<Running, Failed> {
        let child = sparring()
            .args(["fuzz", "--seed", "3", "--jobs", "1", "--out"])
            .arg(out)
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let running = Running { child, out: out.to_owned() };
        wait_for("some scenarios", || {
            summary(&running.out).is_ok_and(|s| number(&s, "scenarios").is_ok_and(|n| n > 100.0))
        })?;
        Ok(running)
    }

    /// Sends a signal to the command line.
    pub fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill(self.pid()?, signal)?)
    }

    fn pid(&self) -> Result<Pid, Failed> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    /// The QEMU that it started.
    pub fn qemu(&self) -> Result<Pid, Failed> {
        qemu_below(self.pid()?).ok_or_else(|| "it has no qemu".into())
    }

    /// Waits for its end; gives its exit code, if it has one, and what it said.
    pub fn end(mut self) -> Result<(Option<i32>, String), Failed> {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut said)?;
        }
        Ok((self.child.wait()?.code(), said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process below `parent` whose program is QEMU (`proc_pid_task_children(5)`).
fn qemu_below(parent: Pid) -> Option<Pid> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).ok()?;
    let children: Vec<i32> = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| pid.parse().ok())
        .collect();
    children.into_iter().map(Pid::from_raw).find_map(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        if name.starts_with("qemu") { Some(child) } else { qemu_below(child) }
    })
}

/// Whether the process is gone, or about to be reaped.
pub fn is_gone(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('Z')))
        .unwrap_or(true)
}

/// Waits until something holds, two minutes at most.
pub fn wait_for(what: &str, holds: impl Fn() -> bool) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        if Instant::now() > deadline {
            return Err(format!("waited in vain for {what}").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Fails unless it holds.
pub fn check(holds: bool, what: impl std::fmt::Display) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.to_string().into()) }
}
