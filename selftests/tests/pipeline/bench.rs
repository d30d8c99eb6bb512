//! A bench says what it measured, and refuses what it cannot compare. How fast anything is, is not tested.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::cli::{check, default_kernel, expect, expect_words, number, series, sparring};

/// Without a series.
pub const PLAIN: &[(&str, Test)] = &[
    ("a_bench_without_a_pair_is_refused", a_bench_without_a_pair_is_refused),
    ("a_bench_without_the_kfunc_is_skipped", a_bench_without_the_kfunc_is_skipped),
    ("a_bench_measures_the_reference", || {
        // a stock kernel has no SO_BUSY_POLL for programs: the applications set it
        a_bench_measures_both_sides(&[], "setsockopt")
    }),
];

/// On the series kernel.
pub const SERIES: &[(&str, Test)] = &[("a_bench_measures_the_series", || {
    let series = series().ok_or("no series")?.display().to_string();
    a_bench_measures_both_sides(&["--series", &series], "program")
})];

fn a_bench_without_a_pair_is_refused() -> Result<(), Failed> {
    let words = ["does not pair", "--series"];
    expect_words(2, &words, sparring().args(["bench", "--target", "plain"]))?;
    expect_words(2, &words, sparring().args(["bench", "--target", "plain-in-sockhash"]))
}

fn a_bench_without_the_kfunc_is_skipped() -> Result<(), Failed> {
    let kernel = default_kernel()?;
    let mut bench = sparring();
    expect_words(4, &["bpf_sock_splice_pair"], bench.args(["bench", "--kernel", &kernel]))
}

fn a_bench_measures_both_sides(target: &[&str], busy_poll_by: &str) -> Result<(), Failed> {
    let flags = ["bench", "--mode", "rr", "--size", "64,1000", "--time", "1s", "--repeat", "2"];
    let mut bench = sparring();
    bench.args(flags).args(["--busy-poll", "20", "--json"]).args(target);
    let output = expect(0, &mut bench)?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    check(report["exit_code"] == 0 && report["unfinished"].is_null(), &report)?;
    check(report["violations"].as_array().is_some_and(Vec::is_empty), &report)?;
    check(report["kernel_release"].as_str().is_some_and(|release| !release.is_empty()), &report)?;
    check(report["busy_poll"]["set_by"] == busy_poll_by, &report)?;
    check(number(&report, "vcpus")? >= 1.0, &report)?;
    let rows = report["results"].as_array().ok_or("no results")?;
    let sizes: Vec<_> = rows.iter().map(|row| row["size"].as_u64()).collect();
    check(sizes == [Some(64), Some(1000)], &report)?;
    for row in rows {
        check(row["mode"] == "rr" && row["broken"].is_null(), row)?;
        check(number(row, "ring_share")? > 0.5, row)?;
        check(number(&row["ratio"], "median")? > 0.0, row)?;
        for side in ["plain", "paired"] {
            let figures = &row[side];
            check(figures["samples"].as_array().is_some_and(|samples| samples.len() == 2), row)?;
            let of = |end| number(&figures["rate"], end);
            check(of("min")? > 0.0 && of("min")? <= of("median")?, row)?;
            check(of("median")? <= of("max")?, row)?;
            check(number(&figures["round_trip_us"], "median")? > 0.0, row)?;
        }
    }
    Ok(())
}
