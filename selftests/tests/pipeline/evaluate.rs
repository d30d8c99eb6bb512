//! An evaluation says how good the oracle is, and goes on where it was.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::cli::{check, expect, expect_words, sparring};

/// All of them.
pub const ALL: &[(&str, Test)] = &[
    ("an_evaluation_finds_a_fault_and_nothing_else", an_evaluation_finds_a_fault_and_nothing_else),
    ("an_evaluation_spares_what_is_there", an_evaluation_spares_what_is_there),
];

/// One fault, one seed.
fn evaluate(scenarios: &str, out: &Path) -> Command {
    let mut evaluate = sparring();
    let flags = ["--fault", "inq_blind", "--seeds", "1", "--time", "20s", "--jobs", "1"];
    evaluate.arg("evaluate").args(flags).args(["--scenarios", scenarios, "--out"]).arg(out);
    evaluate
}

fn an_evaluation_finds_a_fault_and_nothing_else() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("evaluation");
    expect(0, &mut evaluate("100", &out))?;
    // there is nothing left to run, so this costs no machine
    let again = expect(0, evaluate("100", &out).arg("--json"))?;
    let said = String::from_utf8_lossy(&again.stderr);
    check(said.contains("5 of 5 campaigns have been run"), said)?;
    let report: Value = serde_json::from_slice(&again.stdout)?;
    check(report["unfinished"].is_null() && report["sharpness"] == 1.0, &report)?;
    check(report["canary"]["found"]["as_expected"] == true, &report)?;
    let targets = report["targets"].as_array().ok_or("no targets")?;
    let names: Vec<_> = targets.iter().map(|target| target["target"].as_str()).collect();
    check(names == [Some("plain"), Some("plain-in-sockhash"), Some("reference")], &report)?;
    for target in targets {
        check(target["violations"] == 0 && target["scenarios"] == 100, target)?;
    }
    let trial = &report["trials"][0];
    check(trial["fault"] == "inq_blind" && trial["found"]["as_expected"] == true, trial)?;
    let found = out.join("fault-inq_blind-1/summary.json");
    check(found.exists(), found.display())?;
    let words = ["other conditions (scenarios was 100, is 200)", "--out"];
    expect_words(2, &words, &mut evaluate("200", &out))
}

fn an_evaluation_spares_what_is_there() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let theirs = out.path().join("thesis");
    std::fs::write(&theirs, "")?;
    expect_words(2, &["neither empty nor an evaluation"], &mut evaluate("100", out.path()))?;
    check(theirs.exists(), "a file of somebody else is gone")?;
    let words = ["--fault is about sensitivity"];
    expect_words(2, &words, evaluate("100", out.path()).args(["--only", "soundness"]))
}
