//! Which lines ran.

use std::fs;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::cli::{check, default_kernel, expect, expect_words, root, series, sparring};

/// What needs no series.
pub const PLAIN: &[(&str, Test)] = &[
    ("coverage_names_the_lines_of_the_module", the_lines_of_the_module),
    ("coverage_of_files_says_which_file_it_was", files_are_named),
    ("coverage_needs_kcov_and_lines", coverage_needs_kcov_and_lines),
];

/// What does.
pub const SERIES: &[(&str, Test)] =
    &[("coverage_names_the_lines_of_the_series", the_lines_of_the_series)];

/// The report on what `flags` say, as JSON; the HTML is checked.
fn report(flags: &[&str]) -> Result<Value, Failed> {
    let out = tempfile::tempdir()?;
    let output =
        expect(0, sparring().args(["coverage", "--json", "--out"]).arg(out.path()).args(flags))?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let index = fs::read_to_string(out.path().join("index.html"))?;
    let question = report["question"].as_str().unwrap_or_default();
    check(!question.is_empty() && index.contains(question), "no answer in index.html")?;
    let reached_by = report["reached_by"].as_object().ok_or("no scenarios")?;
    check(!reached_by.is_empty(), "no scenario reached anything")?;
    for scenario in reached_by.values() {
        let path = scenario["path"].as_str().ok_or("a scenario without file")?;
        scenario::text::parse(&fs::read_to_string(out.path().join(path))?)?;
    }
    Ok(report)
}

/// How many lines of the file are in that state, and in question.
fn lines(report: &Value, file: &str, state: &str) -> usize {
    let sources = report["sources"].as_array().into_iter().flatten();
    let lines =
        sources.filter(|source| source["name"] == file).filter_map(|s| s["lines"].as_object());
    let asked = lines.flat_map(serde_json::Map::values).filter(|line| line["in_question"] == true);
    asked.filter(|line| line["state"] == state).count()
}

fn the_lines_of_the_module() -> Result<(), Failed> {
    let report = report(&["--seed", "1", "--scenarios", "300"])?;
    check(report["seed"] == 1 && report["scenarios"] == 300, &report["scenarios"])?;
    for file in ["send", "recv", "ring", "pair"] {
        let (file, state) = (format!("splice_pair/{file}.c"), "hit");
        let hit = lines(&report, &file, state);
        check(hit > 20, format!("{hit} lines of {file} are {state}"))?;
    }
    // nobody has planted a fault
    check(lines(&report, "splice_pair/fault.c", "missed") > 0, "all faults ran")?;
    check(lines(&report, "splice_pair/main.c", "not-measured") > 0, "loading was measured")
}

fn files_are_named() -> Result<(), Failed> {
    let file = root().join("corpus/seeds/op-uring.ring");
    let file = file.to_str().ok_or("a checkout in a strange place")?;
    let report = report(&[file])?;
    check(report["seed"].is_null() && report["scenarios"] == 1, &report["scenarios"])?;
    check(report["reached_by"]["0"]["name"] == file, &report["reached_by"])
}

fn coverage_needs_kcov_and_lines() -> Result<(), Failed> {
    let kernel = default_kernel()?;
    let coverage = || {
        let mut command = sparring();
        command.arg("coverage");
        command
    };
    let image = ["--target", "plain", "--kernel", &kernel];
    expect_words(2, &["--tree", "--kernel"], coverage().args(image))?;
    expect_words(2, &["unexpected argument"], coverage().arg("--stop-on-first"))?;
    expect_words(2, &["no such file", "none.ring"], coverage().arg("none.ring"))
}

fn the_lines_of_the_series() -> Result<(), Failed> {
    let series = series().ok_or("no series")?;
    let series = series.to_str().ok_or("a series in a strange place")?;
    let report = report(&["--series", series, "--seed", "1", "--scenarios", "300"])?;
    let file = "net/ipv4/tcp_bpf.c";
    let (hit, missed) = (lines(&report, file, "hit"), lines(&report, file, "missed"));
    check(hit * 100 >= (hit + missed) * 75, format!("{hit} hit and {missed} missed"))?;
    let absent = report["without_code"].to_string();
    check(absent.contains("tools/testing"), absent)
}
