//! The reference keeps the contract, and with a fault it does not.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::cli::{check, expect, expect_words, number, series, sparring, summary};
use crate::verdicts::the_corpus_passes_on;

/// What needs no series.
pub const PLAIN: &[(&str, Test)] = &[
    ("the_reference_keeps_the_contract_and_uses_its_ring", the_reference_keeps_the_contract),
    ("the_corpus_passes_on_the_reference", the_corpus_passes),
    ("canary_bytes_out_of_order_are_found", canary_order),
    ("canary_a_peek_that_sees_nothing_is_found", canary_peek),
    ("canary_a_poll_that_sees_nothing_is_found", canary_poll),
    ("canary_a_pair_that_never_ends_is_found", canary_leak),
    ("canary_a_socket_that_nobody_counts_is_found", canary_uncounted),
    ("an_unknown_fault_is_refused", an_unknown_fault_is_refused),
    ("a_fault_of_another_target_is_refused", a_fault_of_another_target_is_refused),
];

/// What does.
pub const SERIES: &[(&str, Test)] = &[
    ("the_reference_with_the_series_is_refused", the_reference_with_the_series_is_refused),
    ("a_kernel_with_the_kfunc_gets_no_second_one", a_kernel_with_the_kfunc_gets_no_second_one),
];

fn the_reference_keeps_the_contract() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let flags = ["fuzz", "--seed", "1", "--scenarios", "2000", "--out"];
    expect(0, sparring().args(flags).arg(out.path()))?;
    let summary = summary(out.path())?;
    check(summary["target"] == "reference", &summary)?;
    check(number(&summary, "scenarios")? == 2000.0, &summary)?;
    // a few scenarios are not to be paired (`attempt never`)
    check(number(&summary, "paired")? > 1_900.0, &summary)?;
    check(summary["findings"].as_array().is_some_and(Vec::is_empty), &summary)?;
    let (ring, tcp) = (number(&summary, "ring_bytes")?, number(&summary, "tcp_bytes")?);
    // messages of the ring's size and more overflow it, and many calls are TCP's alone: about half is what there is
    check(ring > 0.4 * (ring + tcp) && tcp > 0.0, &summary)
}

fn the_corpus_passes() -> Result<(), Failed> {
    the_corpus_passes_on("reference")
}

/// A campaign on the reference with a fault; one of its findings is of an invariant that should see that fault.
fn canary(fault: &str) -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let flags = ["fuzz", "--seed", "1", "--scenarios", "3000", "--stop-on-first", "--fault", fault];
    expect(1, sparring().args(flags).arg("--out").arg(out.path()))?;
    let summary = summary(out.path())?;
    check(summary["target"] == format!("reference, fault {fault}"), &summary)?;
    let fault = kmod::fault(fault).ok_or("no such fault")?;
    let seen = |finding: &Value| {
        fault.seen_by.iter().any(|invariant| finding["invariant"] == invariant.to_string())
    };
    let findings = summary["findings"].as_array().ok_or("no findings")?;
    check(findings.iter().any(seen), format!("{fault} is seen otherwise: {findings:?}"))
}

fn canary_order() -> Result<(), Failed> {
    canary("tcp_first")
}

fn canary_peek() -> Result<(), Failed> {
    canary("peek_blind")
}

fn canary_poll() -> Result<(), Failed> {
    canary("poll_blind")
}

fn canary_leak() -> Result<(), Failed> {
    canary("leak_pair")
}

/// The module's own counters do not see this one.
fn canary_uncounted() -> Result<(), Failed> {
    canary("leak_peer_ref")
}

fn an_unknown_fault_is_refused() -> Result<(), Failed> {
    let words = ["no such fault", "--fault help"];
    expect_words(2, &words, sparring().args(["fuzz", "--fault", "nosuch"]))?;
    let fault = &kmod::faults()[0];
    expect_words(2, &[&fault.name, &fault.breaks], sparring().args(["fuzz", "--fault", "help"]))
}

fn a_fault_of_another_target_is_refused() -> Result<(), Failed> {
    let fault = &kmod::faults()[0].name;
    let flags = ["fuzz", "--target", "plain", "--fault", fault];
    expect_words(2, &["--target reference"], sparring().args(flags))
}

fn the_reference_with_the_series_is_refused() -> Result<(), Failed> {
    let series = series().ok_or("no series")?;
    let mut fuzz = sparring();
    fuzz.args(["fuzz", "--target", "reference", "--series"]).arg(series);
    expect_words(2, &["both define", "give one of them"], &mut fuzz)
}

/// A tree that somebody has applied the series to is a target of its own: our module must not hide that.
fn a_kernel_with_the_kfunc_gets_no_second_one() -> Result<(), Failed> {
    let series = series().ok_or("no series")?;
    let mut build = sparring();
    let output = expect(0, build.args(["kernel", "build", "--series"]).arg(series))?;
    let image = std::path::PathBuf::from(String::from_utf8(output.stdout)?.trim());
    let tree = image.ancestors().nth(6).ok_or("the image is not in a tree of the cache")?;
    check(!tree.join("modules").exists(), format!("a module was built in {}", tree.display()))
}
