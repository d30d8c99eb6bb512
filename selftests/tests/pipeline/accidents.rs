//! Nothing recorded is lost, nothing is left over, and the exit code is right, whatever happens in mid-campaign.

use std::fs;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};

use crate::Test;
use crate::cli::{Running, check, is_gone, number, summary, wait_for};

/// One test per accident.
pub const ALL: &[(&str, Test)] = &[
    ("a_killed_qemu_is_replaced", a_killed_qemu_is_replaced),
    ("ctrl_c_keeps_everything", ctrl_c_keeps_everything),
    ("a_killed_command_line_leaves_its_journal_and_no_qemu", a_killed_command_line),
];

fn a_killed_qemu_is_replaced() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let running = Running::start(out.path(), &["--scenarios", "3000"])?;
    kill(running.qemu()?, Signal::SIGKILL)?;
    let (code, said) = running.end()?;
    check(code == Some(0), format!("ended with {code:?}: {said}"))?;
    let summary = summary(out.path())?;
    check(number(&summary, "scenarios")? == 3000.0, &summary)?;
    check(number(&summary, "vm_restarts")? == 1.0, &summary)
}

fn ctrl_c_keeps_everything() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let running = Running::start(out.path(), &["--time", "1h"])?;
    let qemu = running.qemu()?;
    running.signal(Signal::SIGINT)?;
    let (code, said) = running.end()?;
    check(code == Some(69), format!("ended with {code:?}: {said}"))?;
    check(said.contains("interrupted after"), &said)?;
    check(is_gone(qemu), "its qemu is left over")?;
    let summary = summary(out.path())?;
    check(number(&summary, "scenarios")? > 100.0, &summary)?;
    check(summary["finished"] == false, &summary)
}

fn a_killed_command_line() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let running = Running::start(out.path(), &["--time", "1h"])?;
    let qemu = running.qemu()?;
    running.signal(Signal::SIGKILL)?;
    running.end()?;
    wait_for("qemu to end", || is_gone(qemu))?;
    let judged = number(&summary(out.path())?, "scenarios")?;
    let journal = fs::read_to_string(out.path().join("journal/vm0.ring"))?;
    let recorded = journal.matches("\nring 1\n").count();
    #[expect(clippy::cast_precision_loss, reason = "some thousand at most")]
    let recorded = recorded as f64;
    check(recorded >= judged, format!("{recorded} scenarios recorded, {judged} judged"))
}
