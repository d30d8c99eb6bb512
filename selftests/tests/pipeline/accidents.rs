//! Nothing recorded is lost, nothing is left over, and the exit code is right, whatever happens in mid-campaign.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use vm::kernel::{self, Cache, ModuleSource, Request};

use crate::Test;
use crate::cli::{Running, check, expect, is_gone, number, series, sparring, summary, wait_for};

/// On the series kernel.
pub const SERIES: &[(&str, Test)] = &[("ctrl_c_keeps_findings", ctrl_c_keeps_findings)];

/// One test per accident.
pub const ALL: &[(&str, Test)] = &[
    ("a_killed_qemu_is_replaced", a_killed_qemu_is_replaced),
    ("ctrl_c_keeps_everything", ctrl_c_keeps_everything),
    ("a_killed_command_line_leaves_its_journal_and_no_qemu", a_killed_command_line),
    ("a_panic_is_found_and_the_campaign_goes_on", a_panic_is_found),
    ("a_warning_is_found_and_the_campaign_goes_on", a_warning_is_found),
    ("a_hang_is_found", a_hang_is_found),
];

/// How many scenarios a guest is given ahead of their turn.
const WINDOW: f64 = 16.0;

fn a_killed_qemu_is_replaced() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let running = Running::start(out.path(), &["--target", "plain", "--scenarios", "1000"])?;
    kill(running.qemu()?, Signal::SIGKILL)?;
    let (code, said) = running.end()?;
    check(code == Some(0), format!("ended with {code:?}: {said}"))?;
    let summary = summary(out.path())?;
    check(number(&summary, "scenarios")? == 1000.0, &summary)?;
    check(number(&summary, "vm_restarts")? == 1.0, &summary)
}

fn ctrl_c_keeps_everything() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let running = Running::start(out.path(), &["--target", "plain", "--time", "1h"])?;
    let qemu = running.qemu()?;
    running.signal(Signal::SIGINT)?;
    let (code, said) = running.end()?;
    check(code == Some(69), format!("ended with {code:?}: {said}"))?;
    check(said.contains("no verdict after"), &said)?;
    check(is_gone(qemu), "its qemu is left over")?;
    let summary = summary(out.path())?;
    check(number(&summary, "scenarios")? > 100.0, &summary)?;
    check(summary["finished"] == false, &summary)
}

fn ctrl_c_keeps_findings() -> Result<(), Failed> {
    let series = series().ok_or("no series")?.display().to_string();
    let out = tempfile::tempdir()?;
    let running = Running::start(out.path(), &["--series", &series, "--time", "1h"])?;
    running.signal(Signal::SIGINT)?;
    let (code, said) = running.end()?;
    check(code == Some(1), format!("ended with {code:?}: {said}"))?;
    let summary = summary(out.path())?;
    check(summary["finished"] == false, &summary)?;
    let findings = summary["findings"].as_array().ok_or("no findings")?;
    check(!findings.is_empty(), &summary)?;
    for finding in findings {
        let folder = out.path().join(finding["path"].as_str().ok_or("no path")?);
        check(folder.join("report.md").exists(), folder.display())?;
    }
    Ok(())
}

fn a_killed_command_line() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let running = Running::start(out.path(), &["--target", "plain", "--time", "1h"])?;
    let qemu = running.qemu()?;
    running.signal(Signal::SIGKILL)?;
    running.end()?;
    wait_for("qemu to end", || is_gone(qemu))?;
    let judged = number(&summary(out.path())?, "scenarios")?;
    let recorded = recorded(out.path())?;
    check(recorded >= judged, format!("{recorded} scenarios recorded, {judged} judged"))
}

/// How many scenarios the journal of the only machine has.
fn recorded(out: &Path) -> Result<f64, Failed> {
    let journal = fs::read_to_string(out.join("journal/vm0.ring"))?;
    #[expect(clippy::cast_precision_loss, reason = "some thousand at most")]
    let recorded = journal.matches("\nring 1\n").count() as f64;
    Ok(recorded)
}

/// Builds the module that breaks the kernel, against the default kernel.
pub fn provoke() -> Result<PathBuf, Failed> {
    let files = [
        ("Makefile", include_str!("../../provoke/Makefile")),
        ("provoke.c", include_str!("../../provoke/provoke.c")),
    ];
    let cache = Cache::open()?;
    let kernel = kernel::find(&Request::default(), &cache)?.ok_or("no default kernel")?;
    let module = ModuleSource { name: "provoke", files: &files };
    Ok(kernel::build_module(&kernel, module, &cache, &kernel::Silent)?)
}

/// A campaign on a kernel that breaks two seconds after it was set up; it must end with a violation. Gives the summary,
/// and how many scenarios were recorded.
fn provoked(how: &str, flags: &[&str]) -> Result<(Value, f64), Failed> {
    let directory = tempfile::tempdir()?;
    let module = provoke()?;
    let out = directory.path().join("out");
    let module = format!("{}:how={how},after_ms=2000", module.display());
    let mut fuzz = sparring();
    fuzz.args(["fuzz", "--target", "plain", "--seed", "4", "--jobs", "1", "--module", &module]);
    expect(1, fuzz.args(flags).arg("--out").arg(&out))?;
    let summary = summary(&out)?;
    let finding = &summary["findings"][0];
    let folder = out.join(finding["path"].as_str().ok_or("no path")?);
    for file in ["scenario.ring", "original.ring", "history.json", "report.md", "recent/000.ring"] {
        check(folder.join(file).exists(), format!("no {file} in {}", folder.display()))?;
    }
    let console = fs::read_to_string(folder.join("console.log"))?;
    check(how == "hang" || console.contains("provoke"), console)?;
    Ok((summary, recorded(&out)?))
}

fn a_panic_is_found() -> Result<(), Failed> {
    let (summary, recorded) = provoked("panic", &["--time", "12s"])?;
    let panics = number(&summary["findings"][0], "count")?;
    check(summary["findings"][0]["invariant"] == "panic", &summary)?;
    check(number(&summary, "vm_restarts")? == panics, &summary)?;
    check(panics > 1.0, &summary)?;
    // without a verdict is what was under way when a kernel died, and what waited for its turn at the end; the last
    // kernel may die with nothing under way, while it is checked for leaks
    let without = recorded - number(&summary, "scenarios")?;
    let lost = panics - 1.0..=panics + WINDOW;
    check(lost.contains(&without), format!("{recorded} recorded: {summary}"))
}

fn a_warning_is_found() -> Result<(), Failed> {
    let (summary, recorded) = provoked("warn", &["--time", "6s"])?;
    check(summary["findings"][0]["invariant"] == "splat", &summary)?;
    let without = recorded - number(&summary, "scenarios")?;
    check((0.0..=WINDOW).contains(&without), format!("{recorded} recorded: {summary}"))
}

fn a_hang_is_found() -> Result<(), Failed> {
    // with a second processor there would be somebody to complain of a stall first; that the time is up long before
    // the silence counts as a hang must not hide it
    let flags = ["--time", "5s", "--vcpus", "1"];
    let (summary, _) = provoked("hang", &flags)?;
    check(summary["findings"][0]["invariant"] == "hang", &summary)
}
