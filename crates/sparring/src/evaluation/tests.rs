//! Evaluations without machines: a closure answers for the campaigns.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use report::{Finding, FindingKey, Summary};
use scenario::Invariant;

use super::cell::{Cell, cells};
use super::record::Conditions;
use super::*;
use crate::exit::Outcome;

fn conditions() -> Conditions {
    Conditions {
        program: "0123456789abcdef".into(),
        kernel: "123456789abcdef0".into(),
        module: "23456789abcdef01".into(),
        flavour: "kcov".into(),
        accel: "tcg".into(),
        jobs: 2,
        seed: 1,
        scenarios: 300,
        time_s: 120,
    }
}

fn fault(name: &str) -> &'static kmod::Fault {
    kmod::fault(name).unwrap()
}

fn all() -> Vec<Cell> {
    cells(None, 300, &[fault("wrap_twice"), fault("tcp_first"), fault("stale_tail")], 1, 3)
}

/// A campaign that ran to its end and found nothing.
fn nothing() -> Summary {
    let zeroes = serde_json::json!({
        "target": "", "kernel_release": "7.2.12", "contract": "tcp", "seed": 1, "accel": "tcg", "jobs": 2,
        "scenarios": 300, "inconclusive": 3, "doubts": {"drain-bound": 1, "call-still-waiting": 2}, "paired": 290,
        "overlapping": 0, "several_pairs": 0, "over_a_wire": 0, "ops": 0, "ops_as_meant": 0.0, "elapsed_s": 2.0,
        "scenarios_per_s": 150.0, "ring_bytes": 1000, "tcp_bytes": 1000, "covered_pcs": null, "findings": [],
        "exempted": 0, "boot_s": 0.0, "vm_restarts": 0, "restart_reasons": [], "broken": 0, "unfinished": null,
        "finished": true, "exit_code": 0
    });
    serde_json::from_value(zeroes).unwrap()
}

fn finding(invariant: Invariant, first_scenario: u64, first_s: f64) -> Finding {
    let key = FindingKey { invariant, diagnosis: "so".into() };
    Finding {
        invariant,
        diagnosis: key.diagnosis.clone(),
        id: key.id(),
        count: 2,
        first_scenario,
        first_s,
        ops_original: 1,
        ops_shrunk: 1,
        reliability: None,
        claims: Vec::new(),
        path: key.folder().into(),
    }
}

fn finds(findings: &[Finding]) -> Summary {
    Summary { findings: findings.to_vec(), exit_code: 1, ..nothing() }
}

/// The canary is found, `stale_tail` with the first seed alone, and the others always.
fn fair(cell: &Cell) -> Summary {
    match cell {
        Cell::Round { .. } => nothing(),
        Cell::Canary => finds(&[finding(Invariant::Duplicate, 0, 0.1)]),
        Cell::Trial { fault, seed: 2.. } if fault.name == "stale_tail" => nothing(),
        Cell::Trial { seed, .. } => finds(&[
            finding(Invariant::Duplicate, seed * 10, 0.5 * f64::from(u8::try_from(*seed).unwrap())),
            finding(Invariant::Order, seed * 10, 9.0),
            finding(Invariant::Order, seed * 11, 9.5),
        ]),
    }
}

/// Runs what is left in a directory; gives the report and what was run.
fn go_on(
    out: &Path,
    cells: &[Cell],
    mut conduct: impl FnMut(&Cell) -> Result<Summary, Failure>,
) -> (Result<Report, Failure>, Vec<String>) {
    let mut ran = Vec::new();
    let mut evaluation = Evaluation::open(out, conditions()).unwrap();
    let report = evaluation.advance(cells, &AtomicBool::new(false), |cell, _| {
        ran.push(cell.folder());
        conduct(cell)
    });
    (report, ran)
}

#[test_log::test]
fn tables_show_what_was_found_and_what_was_not() {
    let out = tempfile::tempdir().unwrap();
    let (report, _) = go_on(out.path(), &all(), |cell| Ok(fair(cell)));
    let report = report.unwrap();
    insta::assert_snapshot!(tables(&report));
    // two of three is blunt, and no violation
    assert_eq!(report.outcome(), Outcome::Unfinished);
    let [complaint] = &complaints(&report, out.path())[..] else { panic!("not one complaint") };
    assert!(complaint.starts_with("the oracle is blind: "), "{complaint}");
}

#[test_log::test]
fn a_fault_that_is_missed_has_the_longest_time() {
    let out = tempfile::tempdir().unwrap();
    let (report, _) = go_on(out.path(), &all(), |cell| Ok(fair(cell)));
    let faults = report.unwrap().faults;
    let of = |name: &str| faults.iter().find(|score| score.fault == name).unwrap();
    assert_eq!((of("wrap_twice").scenarios, of("wrap_twice").seconds), (Some(21.0), Some(1.0)));
    let missed = of("stale_tail");
    assert_eq!((missed.found, missed.of, missed.scenarios, missed.seconds), (1, 3, None, None));
}

#[test_log::test]
fn what_is_there_is_not_run_again() {
    let out = tempfile::tempdir().unwrap();
    let interrupted = AtomicBool::new(false);
    let mut evaluation = Evaluation::open(out.path(), conditions()).unwrap();
    let report = evaluation
        .advance(&all(), &interrupted, |cell, folder| {
            assert!(folder.is_dir());
            if cell.folder() == "fault-wrap_twice-1" {
                interrupted.store(true, Ordering::Relaxed);
                fs::write(folder.join("left"), "").unwrap();
                return Ok(Summary { unfinished: Some("interrupted".into()), ..nothing() });
            }
            Ok(fair(cell))
        })
        .unwrap();
    assert_eq!(report.outcome(), Outcome::Unfinished);
    assert_eq!((report.targets.len(), report.faults.len()), (3, 0));
    assert!(report.unfinished.unwrap().starts_with("interrupted; campaigns left: 9,"));
    let left = out.path().join("fault-wrap_twice-1/left");
    assert!(left.exists());
    let (report, ran) = go_on(out.path(), &all(), |cell| Ok(fair(cell)));
    assert_eq!((ran.len(), ran[0].as_str()), (9, "fault-wrap_twice-1"));
    assert!(!left.exists());
    let first = report.unwrap();
    let (again, ran) = go_on(out.path(), &all(), |cell| Ok(fair(cell)));
    assert_eq!(ran.len(), 0);
    assert_eq!(first.record, again.unwrap().record);
    // more seeds are added to what is there
    let more = cells(None, 300, &[fault("wrap_twice")], 1, 4);
    assert_eq!(go_on(out.path(), &more, |cell| Ok(fair(cell))).1, ["fault-wrap_twice-4"]);
}

#[test_log::test]
fn other_conditions_are_refused() {
    let out = tempfile::tempdir().unwrap();
    Evaluation::open(out.path(), conditions()).unwrap();
    let other = Conditions { kernel: "0".into(), time_s: 30, ..conditions() };
    let refusal = Evaluation::open(out.path(), other).err().unwrap();
    assert_eq!(refusal.code(), 2);
    let words = refusal.to_string();
    assert!(words.contains("time_s was 120, is 30"), "{words}");
    assert!(words.contains("kernel was \"123456789abcdef0\", is \"0\""), "{words}");
    assert!(!words.contains("flavour"), "{words}");
}

#[test_log::test]
fn a_directory_of_somebody_else_is_refused() {
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("thesis"), "").unwrap();
    let refusal = Evaluation::open(out.path(), conditions()).err().unwrap();
    assert_eq!(refusal.code(), 2, "{refusal}");
    fs::write(out.path().join("evaluation.json"), "{").unwrap();
    let refusal = Evaluation::open(out.path(), conditions()).err().unwrap();
    assert!(refusal.to_string().starts_with("cannot go on with "), "{refusal}");
}

#[test_log::test]
fn without_the_canary_nothing_else_is_asked() {
    let missed = [
        nothing(),
        // seen, but not as what it is
        finds(&[finding(Invariant::Oob, 4, 0.1)]),
    ];
    for summary in missed {
        let out = tempfile::tempdir().unwrap();
        let (report, ran) = go_on(out.path(), &all(), |_| Ok(summary.clone()));
        let report = report.unwrap();
        assert_eq!(ran, ["canary"]);
        assert_eq!(report.outcome(), Outcome::Unfinished);
        assert!(complaints(&report, out.path())[0].contains("nothing of this is worth anything"));
        assert_eq!(go_on(out.path(), &all(), |cell| Ok(fair(cell))).1.len(), all().len());
    }
    let out = tempfile::tempdir().unwrap();
    let (report, ran) = go_on(out.path(), &all(), |_| Err(Failure::Harness("no qemu".into())));
    assert_eq!((ran.len(), report.unwrap().outcome()), (1, Outcome::Unfinished));
}

#[test_log::test]
fn a_false_alarm_is_the_oracles_fault_and_a_splat_is_not() {
    let out = tempfile::tempdir().unwrap();
    let (report, ran) = go_on(out.path(), &all(), |cell| {
        Ok(match cell {
            Cell::Round { target, .. } if target.to_string() != "plain-in-sockhash" => {
                finds(&[finding(Invariant::Order, 7, 1.0), finding(Invariant::Splat, 7, 1.0)])
            }
            _ => fair(cell),
        })
    });
    let report = report.unwrap();
    // a violation does not hide the rest
    assert_eq!(ran.len(), all().len());
    assert_eq!(report.outcome(), Outcome::Violation);
    let words = complaints(&report, Path::new("x"));
    let folder = |target, key| format!("see x/{target}-1/{key}");
    let order = finding(Invariant::Order, 0, 0.0).path.display().to_string();
    let expected = [
        ("plain: order: so: the oracle is wrong, not the kernel; ", folder("plain", &order)),
        ("plain: splat: so: the kernel says so itself", String::new()),
        (
            "reference: order: so: the oracle is wrong, or the reference",
            folder("reference", &order),
        ),
    ];
    for (line, (beginning, end)) in words.iter().zip(expected) {
        assert!(line.starts_with(&format!("violation on {beginning}")), "{line}");
        assert!(line.ends_with(&end), "{line}");
    }
    assert_eq!(report.targets[0].violations, 4);
}

#[test_log::test]
fn what_only_the_oracle_can_be_wrong_about_is_no_violation() {
    let ends = |guilty: &str, invariant| {
        let out = tempfile::tempdir().unwrap();
        let (report, _) = go_on(out.path(), &cells(None, 300, &[], 1, 1), |cell| {
            Ok(match cell {
                Cell::Round { target, .. } if target.to_string() == guilty => {
                    finds(&[finding(invariant, 7, 1.0)])
                }
                _ => fair(cell),
            })
        });
        report.unwrap().outcome()
    };
    assert_eq!(ends("nobody", Invariant::Order), Outcome::Pass);
    for plain in ["plain", "plain-in-sockhash"] {
        assert_eq!(ends(plain, Invariant::Order), Outcome::Unfinished);
        assert_eq!(ends(plain, Invariant::Panic), Outcome::Violation);
    }
    assert_eq!(ends("reference", Invariant::Order), Outcome::Violation);
}

#[test_log::test]
fn what_cannot_be_run_is_left_out_and_tried_again() {
    let out = tempfile::tempdir().unwrap();
    let broken = |reason: &str| Err(Failure::Harness(reason.to_owned()));
    let (report, ran) = go_on(out.path(), &all(), |cell| match cell {
        Cell::Round { target, .. } if target.to_string() == "plain" => broken("no qemu"),
        Cell::Trial { .. } => Ok(Summary { unfinished: Some("5 broke".into()), ..nothing() }),
        _ => Ok(fair(cell)),
    });
    let report = report.unwrap();
    // the canary, three rounds, and three in a row that break
    assert_eq!(ran.len(), 7);
    assert_eq!(report.outcome(), Outcome::Unfinished);
    let unfinished = report.unfinished.unwrap();
    assert!(unfinished.starts_with("plain, seed 1: no qemu; fault wrap_twice, seed 1: 5 broke"));
    assert!(unfinished.contains("campaigns left: 10,"), "{unfinished}");
    let (_, ran) = go_on(out.path(), &all(), |cell| Ok(fair(cell)));
    assert_eq!((ran.len(), ran[0].as_str()), (10, "plain-1"));
}

#[test_log::test]
fn a_ring_that_is_never_used_is_found_at_the_end() {
    let out = tempfile::tempdir().unwrap();
    let never_engages = cells(Some(Part::Sensitivity), 300, &[fault("never_engages")], 1, 1);
    let (report, _) = go_on(out.path(), &never_engages, |cell| {
        Ok(match cell {
            Cell::Trial { .. } => {
                Summary { ring_bytes: 0, unfinished: Some("no byte".into()), ..nothing() }
            }
            _ => fair(cell),
        })
    });
    let report = report.unwrap();
    assert_eq!(report.outcome(), Outcome::Pass);
    let found = report.record.trials[0].found.clone().unwrap();
    assert_eq!((found.invariants, found.as_expected), (vec![Invariant::Engaged], true));
}

#[test_log::test]
fn rounds_of_a_target_add_up() {
    let out = tempfile::tempdir().unwrap();
    let soundness = cells(Some(Part::Soundness), 45_000, &[], 1, 1);
    assert_eq!(soundness.len(), 1 + 3 * 3);
    let (report, _) = go_on(out.path(), &soundness, |cell| Ok(fair(cell)));
    let report = report.unwrap();
    assert_eq!(report.outcome(), Outcome::Pass);
    assert_eq!(report.sharpness, None);
    let score = &report.targets[1];
    assert_eq!((score.target.as_str(), score.scenarios), ("plain-in-sockhash", 900));
    assert_eq!((score.inconclusive, score.scenarios_per_s), (0.01, 150.0));
    let doubts = [("call-still-waiting".to_owned(), 6), ("drain-bound".to_owned(), 3)];
    assert_eq!(score.doubts, BTreeMap::from(doubts));
}
