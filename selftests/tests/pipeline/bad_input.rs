//! What cannot be used is refused with its place, the remedy and the right exit code.

use std::fs;
use std::os::unix::fs::symlink;

use libtest_mimic::Failed;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Test;
use crate::cli::{default_kernel, expect_words, series, sparring};

/// What needs no series.
pub const PLAIN: &[(&str, Test)] = &[
    ("a_truncated_ring_is_refused", a_truncated_ring_is_refused),
    ("an_unknown_op_is_refused", an_unknown_op_is_refused),
    ("a_series_that_does_not_apply_is_refused", a_series_that_does_not_apply_is_refused),
    ("a_file_that_is_no_series_is_refused", a_file_that_is_no_series_is_refused),
    ("a_kernel_without_the_kfunc_is_skipped", a_kernel_without_the_kfunc_is_skipped),
    ("a_kernel_that_is_none_does_not_boot", a_kernel_that_is_none_does_not_boot),
    ("no_qemu_is_said", no_qemu_is_said),
    ("no_scenarios_are_no_campaign", no_scenarios_are_no_campaign),
];

/// What mounts a small file system, which takes root.
pub const ROOT: &[(&str, Test)] = &[("a_full_disk_is_said", a_full_disk_is_said)];

/// What does.
pub const SERIES: &[(&str, Test)] =
    &[("the_series_applied_twice_is_refused", the_series_applied_twice_is_refused)];

const HEAD: &str = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n";

fn ring(text: &str, words: &[&str]) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("bad.ring");
    fs::write(&file, text)?;
    expect_words(2, words, sparring().args(["run", "--target", "plain"]).arg(file))
}

fn a_truncated_ring_is_refused() -> Result<(), Failed> {
    ring(&format!("{HEAD}c: send 10 dontwait\n"), &["bad.ring: ", "line 6", "end"])
}

fn an_unknown_op_is_refused() -> Result<(), Failed> {
    ring(&format!("{HEAD}c: sedn 10 dontwait\nend\n"), &["line 6, column 4", "sedn", "send"])
}

fn a_series_that_does_not_apply_is_refused() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("stale.mbox");
    fs::write(
        &file,
        "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n\
         From: A <a@example.org>\nDate: Fri, 12 Jun 2026 01:14:00 +0000\n\
         Subject: [PATCH 1/1] tcp: change what is not there\n\n---\n\
         diff --git a/net/ipv4/tcp.c b/net/ipv4/tcp.c\n--- a/net/ipv4/tcp.c\n+++ b/net/ipv4/tcp.c\n\
         @@ -10,3 +10,3 @@\n no such line\n-nor this one\n+but this one\n nor that one\n-- \n2.43.0\n",
    )?;
    let words = ["change what is not there", "net/ipv4/tcp.c"];
    expect_words(2, &words, sparring().args(["kernel", "build", "--series"]).arg(file))
}

fn a_file_that_is_no_series_is_refused() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("notes.txt");
    fs::write(&file, "nothing to see\n")?;
    expect_words(2, &["notes.txt"], sparring().args(["kernel", "build", "--series"]).arg(file))
}

fn a_kernel_without_the_kfunc_is_skipped() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let mut fuzz = sparring();
    fuzz.args(["fuzz", "--scenarios", "10", "--kernel", &default_kernel()?, "--out"])
        .arg(out.path());
    expect_words(4, &["bpf_sock_splice_pair"], &mut fuzz)
}

fn a_kernel_that_is_none_does_not_boot() -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let file = out.path().join("bzImage");
    fs::write(&file, vec![0; 4096])?;
    let mut fuzz = sparring();
    fuzz.args(["fuzz", "--scenarios", "10", "--kernel"]).arg(file).arg("--out").arg(out.path());
    expect_words(2, &["bzImage"], &mut fuzz)
}

fn no_qemu_is_said() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let programs = directory.path().join("bin");
    fs::create_dir(&programs)?;
    for program in fs::read_dir("/usr/bin")?.flatten() {
        if !program.file_name().to_string_lossy().starts_with("qemu") {
            symlink(program.path(), programs.join(program.file_name()))?;
        }
    }
    let mut fuzz = sparring();
    fuzz.args(["fuzz", "--target", "plain", "--scenarios", "10", "--out"]).arg(directory.path());
    fuzz.env("PATH", programs);
    expect_words(69, &["qemu-system-x86"], &mut fuzz)
}

fn no_scenarios_are_no_campaign() -> Result<(), Failed> {
    expect_words(2, &["--scenarios"], sparring().args(["fuzz", "--scenarios", "0"]))
}

fn a_full_disk_is_said() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let small = Some("size=256k");
    mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), small)?;
    let mut fuzz = sparring();
    fuzz.args(["fuzz", "--target", "plain", "--scenarios", "5000", "--out"]).arg(directory.path());
    let result = expect_words(69, &["cannot write", "free some space"], &mut fuzz);
    umount2(directory.path(), MntFlags::MNT_DETACH)?;
    result
}

fn the_series_applied_twice_is_refused() -> Result<(), Failed> {
    let series = series().ok_or("no series")?;
    let once = fs::read_to_string(&series)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("twice.mbox");
    fs::write(&file, format!("{once}\n{once}"))?;
    expect_words(2, &["twice.mbox"], sparring().args(["kernel", "build", "--series"]).arg(file))
}
