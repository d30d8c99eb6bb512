//! An evaluation for people: two tables, what they are of, and what is wrong with the oracle.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use scenario::Invariant;

use super::record::Conditions;
use super::score::{FaultScore, Report, SHARP, TargetScore, is_false_alarm};

/// Both tables, as far as there is something in them, and below them what was measured and on what.
pub fn tables(report: &Report) -> String {
    let mut parts = Vec::new();
    if !report.targets.is_empty() {
        parts.push(soundness(&report.targets));
    }
    if !report.faults.is_empty() {
        parts.push(sensitivity(&report.faults));
        parts.push(found(report));
    }
    parts.push(footer(&report.record.conditions, &report.record.kernel_release));
    parts.join("\n")
}

fn soundness(targets: &[TargetScore]) -> String {
    let mut table = empty(["target", "scenarios", "violations", "inconclusive", "scenarios/s", ""]);
    for target in targets {
        let doubts: Vec<String> =
            target.doubts.iter().map(|(doubt, count)| format!("{doubt} {count}")).collect();
        table.add_row([
            target.target.clone(),
            target.scenarios.to_string(),
            target.violations.to_string(),
            format!("{:.2} %", target.inconclusive * 100.0),
            format!("{:.0}", target.scenarios_per_s),
            doubts.join(", "),
        ]);
    }
    finish(table)
}

fn sensitivity(faults: &[FaultScore]) -> String {
    let mut table = empty(["fault", "found", "scenarios", "seconds", "by"]);
    for fault in faults {
        let by: Vec<String> = fault
            .by
            .iter()
            .map(|seen| format!("{}{}", seen.invariant, if seen.as_expected { "" } else { "*" }))
            .collect();
        let median = |value: Option<f64>, digits| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        table.add_row([
            fault.fault.clone(),
            format!("{}/{}", fault.found, fault.of),
            median(fault.scenarios, 0),
            median(fault.seconds, 1),
            by.join(", "),
        ]);
    }
    finish(table)
}

/// A table whose first and last columns are words, and the others numbers.
fn empty<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1).take(COLUMNS - 2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn finish(table: Table) -> String {
    format!("{}\n", table.trim_fmt())
}

/// What the table of faults comes to.
fn found(report: &Report) -> String {
    let faults = &report.faults;
    let missed: Vec<String> = faults
        .iter()
        .filter(|fault| fault.found < fault.of)
        .map(|fault| format!("{} ({}/{})", fault.fault, fault.found, fault.of))
        .collect();
    let mut words = format!(
        "{} of {} faults ({:.1} %) found with every seed; scenarios and seconds are medians",
        faults.len() - missed.len(),
        faults.len(),
        report.sharpness.unwrap_or_default() * 100.0,
    );
    if !missed.is_empty() {
        words += &format!("\nnot always found: {}", missed.join(", "));
    }
    if faults.iter().flat_map(|fault| &fault.by).any(|seen| !seen.as_expected) {
        words += "\n* not among the invariants that the fault is listed with";
    }
    words
}

fn footer(conditions: &Conditions, release: &str) -> String {
    let Conditions { flavour, accel, jobs, seed, time_s, .. } = conditions;
    let vms = if *jobs == 1 { "1 VM" } else { &format!("{jobs} VMs") };
    format!(
        "kernel {release} ({flavour}), {accel}, {vms}, seeds from {seed}, at most {time_s} s for a fault"
    )
}

/// What keeps it from being a pass, and who is to blame, a line each.
pub fn complaints(report: &Report, out: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for round in &report.record.rounds {
        for finding in &round.violations {
            lines.push(format!(
                "violation on {}: {}: {}: {}; see {}",
                round.target,
                finding.invariant,
                finding.diagnosis,
                blame(&round.target, finding.invariant),
                out.join(&finding.path).display(),
            ));
        }
    }
    if report.is_blunt() {
        lines.push(format!(
            "the oracle is blind: less than {:.0} % of the faults were found with every seed",
            SHARP * 100.0
        ));
    }
    if report.record.is_worthless() {
        lines.push("the canary was not found, so nothing of this is worth anything".to_owned());
    }
    lines.extend(report.unfinished.as_ref().map(|why| format!("not all was evaluated: {why}")));
    lines
}

/// Who is wrong where a target that keeps the contract is said to break it.
fn blame(target: &str, invariant: Invariant) -> &'static str {
    if invariant.is_kernels_word() {
        "the kernel says so itself, and the oracle has no part in it"
    } else if is_false_alarm(target, invariant) {
        "the oracle is wrong, not the kernel"
    } else {
        "the oracle is wrong, or the reference module"
    }
}
