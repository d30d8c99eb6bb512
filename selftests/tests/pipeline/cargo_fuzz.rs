//! `cargo fuzz` in VMs: what it finds, what it leaves, and that no dead kernel ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Failed;

use crate::Test;
use crate::accidents::provoke;
use crate::cli::{check, expect, expect_words, root, series, sparring};

/// What needs no series.
pub const PLAIN: &[(&str, Test)] = &[
    ("cargo_fuzz_finds_nothing_on_the_reference", finds_nothing_on_the_reference),
    ("cargo_fuzz_goes_on_after_a_panic", goes_on_after_a_panic),
    ("cargo_fuzz_merges_corpora_despite_a_panic", merges_corpora),
    ("a_fuzz_target_refuses_to_run_on_the_host", refuses_to_run_on_the_host),
    ("the_text_is_fuzzed_on_the_host", text_is_fuzzed_on_the_host),
];

/// What does.
pub const SERIES: &[(&str, Test)] =
    &[("cargo_fuzz_leaves_artifacts_of_the_series", leaves_artifacts_of_the_series)];

/// A scenario that makes a network namespace.
const AWAY: &str = "ring 1\ntopology veth\nfamily v4\nlane c client\n\nc: send 1 dontwait\n\nend\n";
/// One that does not.
const HOME: &str = "ring 1\ntopology loopback\nfamily v4\nlane c client\n\nc: poll\n\nend\n";

/// Another one.
const TALK: &str =
    "ring 1\ntopology loopback\nfamily v4\nlane c client\n\nc: send 9\nc: shutdown wr\n\nend\n";

/// `cargo fuzz`, with no sanitizer, which would take a nightly compiler.
fn cargo_fuzz(command: &str, target: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["fuzz", command, "--sanitizer", "none", target]);
    cargo.current_dir(root()).stdin(Stdio::null());
    cargo
}

/// The program that `cargo fuzz` builds and runs.
fn program(target: &str) -> Result<PathBuf, Failed> {
    expect(0, &mut cargo_fuzz("build", target))?;
    let mut directory = std::env::current_exe()?;
    // release/deps/test
    for _ in 0..3 {
        directory.pop();
    }
    Ok(directory.join("x86_64-unknown-linux-gnu/release").join(target))
}

fn prefix(directory: &Path) -> String {
    format!("-artifact_prefix={}/", directory.display())
}

/// The artifacts in a directory.
fn crashes(directory: &Path) -> Result<Vec<PathBuf>, Failed> {
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries
        .retain(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("crash-")));
    entries.sort();
    Ok(entries)
}

fn finds_nothing_on_the_reference() -> Result<(), Failed> {
    let [corpus, artifacts] = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut run = cargo_fuzz("run", "interleave");
    run.arg(corpus.path()).args(["--", "-max_total_time=20", &prefix(artifacts.path())]);
    expect_words(0, &["executions", " 0 findings", "INITED"], &mut run)?;
    check(crashes(artifacts.path())?.is_empty(), "it left artifacts")?;
    let entries = fs::read_dir(corpus.path())?.collect::<Result<Vec<_>, _>>()?;
    check(!entries.is_empty(), "it kept no input")?;
    for entry in entries {
        let text = fs::read_to_string(entry.path())?;
        check(text.starts_with("ring 1\n") && text.ends_with("end\n"), text)?;
    }
    Ok(())
}

fn leaves_artifacts_of_the_series() -> Result<(), Failed> {
    let series = series().ok_or("no series")?.display().to_string();
    let [corpus, artifacts] = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut run = cargo_fuzz("run", "interleave");
    run.env("SPARRING_SERIES", &series).arg(corpus.path());
    run.args(["--", "-max_total_time=20", &prefix(artifacts.path())]);
    // cargo-fuzz makes it 1, whatever the runner's was
    expect_words(1, &["finding: ", "./sparring run --series"], &mut run)?;
    let is_peek = |path: &PathBuf| {
        fs::read_to_string(path).is_ok_and(|text| text.starts_with("# peek: eagain"))
    };
    let artifact = crashes(artifacts.path())?.into_iter().find(is_peek);
    let artifact = artifact.ok_or("no artifact of the peek that does not see the ring")?;
    expect(1, sparring().args(["run", "--series", &series]).arg(&artifact))?;
    let shown = expect(0, cargo_fuzz("fmt", "interleave").arg(&artifact))?;
    check(String::from_utf8_lossy(&shown.stderr).contains("\nring 1\n"), "not shown as text")
}

fn goes_on_after_a_panic() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|name| directory.path().join(name));
    for made in [&corpus, &artifacts] {
        fs::create_dir(made)?;
    }
    fs::write(corpus.join("away"), AWAY)?;
    fs::write(corpus.join("home"), HOME)?;
    // a checkout without seeds
    fs::write(directory.path().join("Cargo.toml"), "")?;
    let module = format!("{}:how=panic,netns=1", provoke()?.display());
    let mut run = sparring();
    run.env("SPARRING_ROOT", directory.path());
    run.args(["fuzz-target", "--target", "plain", "--module", &module, "--"]);
    run.arg(program("interleave")?).arg(&corpus);
    run.args(["-runs=20", &prefix(&artifacts)]);
    // How many runs the last guest has left is chance: what is mutated may make a namespace, too.
    expect_words(77, &["finding: panic: ", "lost a VM: ", "Done "], &mut run)?;
    let crashes = crashes(&artifacts)?;
    let [crash] = &*crashes else {
        return Err(format!("{} artifacts of one panic", crashes.len()).into());
    };
    let guilty = fs::read_to_string(crash)?;
    check(guilty.contains("\ntopology veth\n") || guilty.contains("\ntopology bridge\n"), guilty)?;
    let name = crash.file_name().unwrap_or_default().to_string_lossy();
    let beside = artifacts.join(name.replace("crash-", "recent-"));
    let console = fs::read_to_string(beside.join("console.log"))?;
    check(console.contains("provoke"), console)
}

fn merges_corpora() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let [into, from] = ["into", "from"].map(|name| directory.path().join(name));
    for made in [&into, &from] {
        fs::create_dir(made)?;
    }
    for (name, text) in [("one", HOME), ("same", HOME), ("deadly", AWAY), ("other", TALK)] {
        fs::write(from.join(name), text)?;
    }
    let module = format!("{}:how=panic,netns=1", provoke()?.display());
    let mut merge = sparring();
    merge.args(["fuzz-target", "--target", "plain", "--module", &module, "--"]);
    merge.arg(program("interleave")?);
    merge.args(["-merge=1", &prefix(directory.path())]).args([&into, &from]);
    expect_words(0, &["MERGE-OUTER", "finding: panic: ", "lost a VM: "], &mut merge)?;
    let merged = fs::read_dir(&into)?.map(|entry| Ok(fs::read_to_string(entry?.path())?));
    let mut merged = merged.collect::<Result<Vec<String>, Failed>>()?;
    merged.sort();
    check(merged == [HOME, TALK], format!("of two alike and one deadly: {merged:?}"))
}

fn refuses_to_run_on_the_host() -> Result<(), Failed> {
    let words = ["fuzz targets run in a VM", "cargo fuzz run"];
    expect_words(69, &words, &mut Command::new(program("interleave")?))
}

fn text_is_fuzzed_on_the_host() -> Result<(), Failed> {
    let [corpus, artifacts] = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut run = cargo_fuzz("run", "text");
    run.arg(corpus.path()).args(["--", "-runs=2000", &prefix(artifacts.path())]);
    expect_words(0, &["Done 2000 runs"], &mut run)
}
