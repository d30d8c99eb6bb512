//! `shrink`, and the flags that restrict a campaign.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use crate::Test;
use crate::cli::{check, expect, expect_words, number, sparring, summary};

/// None of it needs the series.
pub const ALL: &[(&str, Test)] = &[
    ("a_failing_scenario_is_shrunk", a_failing_scenario_is_shrunk),
    ("shrink_keeps_the_invariant_that_it_is_told", shrink_keeps_what_it_is_told),
    ("what_passes_is_not_shrunk", what_passes_is_not_shrunk),
    ("a_wrong_expectation_is_kept_as_it_is", a_wrong_expectation_is_kept_as_it_is),
    ("what_cannot_be_shrunk_is_refused", what_cannot_be_shrunk_is_refused),
    ("a_campaign_keeps_to_its_scope", a_campaign_keeps_to_its_scope),
];

/// A queue length that matters, and much that does not.
const BUSY: &str = "ring 1\ntopology loopback\nfamily v6\nset client nodelay on\nlane c client\nlane s server\n\
    c: send 10 dontwait\ns: recv 10 dontwait\ns: send 70 dontwait\nc: poll\nc: recv 70 dontwait\n\
    c: send 1000 dontwait nosignal\ns: inq\ns: recv 400 dontwait\nc: close\nend\n";

const BLIND: [&str; 2] = ["--fault", "inq_blind"];

fn write(directory: &Path, text: &str) -> Result<PathBuf, Failed> {
    let file = directory.join("given.ring");
    fs::write(&file, text)?;
    Ok(file)
}

fn a_failing_scenario_is_shrunk() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let (file, out) = (write(directory.path(), BUSY)?, directory.path().join("small.ring"));
    let mut shrink = sparring();
    shrink.arg("shrink").arg(&file).args(BLIND).arg("-o").arg(&out);
    expect(1, &mut shrink)?;
    let small = fs::read_to_string(&out)?;
    for words in ["# inq: ", "10/10 replays show it on reference", "9 -> 2 ops", "family v4"] {
        check(small.contains(words), &small)?;
    }
    // what it says is so
    let output = expect(1, sparring().args(["run", "--repeat", "10"]).arg(&out).args(BLIND))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(said.contains("violation 10/10: inq: "), said)
}

fn shrink_keeps_what_it_is_told() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = write(directory.path(), BUSY)?;
    let mut shrink = sparring();
    shrink.arg("shrink").arg(&file).args(BLIND).args(["--budget", "3", "--invariant", "inq"]);
    let output = expect(1, &mut shrink)?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    check(printed.contains("# inq: "), &printed)?;
    let mut other = sparring();
    other.arg("shrink").arg(&file).args(BLIND).args(["--invariant", "oob"]);
    expect_words(1, &["--invariant inq"], &mut other)
}

fn what_passes_is_not_shrunk() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = write(directory.path(), BUSY)?;
    let mut shrink = sparring();
    shrink.args(["shrink", "--target", "plain"]).arg(&file);
    expect_words(0, &["pass 10/10: nothing to shrink"], &mut shrink)
}

/// A smaller send would return something else than 11, too.
fn a_wrong_expectation_is_kept_as_it_is() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let text = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n\
        c: send 10 dontwait -> 10\ns: recv 100 dontwait -> 11\nend\n";
    let file = write(directory.path(), text)?;
    let output = expect(1, sparring().args(["shrink", "--target", "plain"]).arg(&file))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    check(printed.contains("send 10 dontwait\ns: recv 100 dontwait -> 11"), printed)
}

fn what_cannot_be_shrunk_is_refused() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = write(directory.path(), "ring 1\ntopology torus\n")?;
    expect_words(2, &["given.ring: line 2"], sparring().arg("shrink").arg(&file))?;
    expect_words(2, &["nowhere.ring"], sparring().args(["shrink", "nowhere.ring"]))?;
    let mut unknown = sparring();
    expect_words(2, &["--invariant"], unknown.args(["shrink", "a.ring", "--invariant", "nosuch"]))?;
    expect_words(2, &["--topology"], sparring().args(["fuzz", "--topology", "torus"]))
}

fn a_campaign_keeps_to_its_scope() -> Result<(), Failed> {
    for (topology, over_a_wire) in [("loopback", 0.0), ("veth", 200.0)] {
        let out = tempfile::tempdir()?;
        let flags = ["fuzz", "--target", "plain", "--seed", "1", "--scenarios", "200", "--family"];
        let mut fuzz = sparring();
        fuzz.args(flags).args(["v6", "--topology", topology, "--out"]).arg(out.path());
        expect(0, &mut fuzz)?;
        let summary = summary(out.path())?;
        check(number(&summary, "over_a_wire")? == over_a_wire, &summary)?;
        check(number(&summary, "ops_as_meant")? > 0.8, &summary)?;
        // the text of every scenario was written before it ran
        let journal = fs::read_to_string(out.path().join("journal/vm0.ring"))?;
        check(!journal.contains("family v4") && journal.contains("family v6"), "not all are v6")?;
    }
    Ok(())
}
