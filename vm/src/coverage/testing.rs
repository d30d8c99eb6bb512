//! Small instrumented programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An instrumented object made from `source`; `None` where there is no gcc, of which the test's output tells.
pub(super) fn compile(dir: &Path, name: &str, source: &str) -> Option<PathBuf> {
    let file = dir.join(name);
    fs::write(&file, source).unwrap();
    let object = file.with_extension("o");
    let mut gcc = Command::new("gcc");
    gcc.args(["-c", "-O2", "-g", "-gdwarf-4", "-fsanitize-coverage=trace-pc", "-fno-pic"]);
    gcc.args(["-fno-stack-protector", "-fno-optimize-sibling-calls", "-fcf-protection=none", "-o"]);
    match gcc.arg(&object).arg(name).current_dir(dir).status() {
        Ok(status) => assert!(status.success(), "gcc failed"),
        Err(error) => {
            println!("skipped: gcc cannot be started: {error}");
            return None;
        }
    }
    Some(object)
}

/// A program, as a kernel is one: with its own `__sanitizer_cov_trace_pc`.
pub(super) fn link(dir: &Path, object: &Path) -> PathBuf {
    let rest = dir.join("rest.c");
    fs::write(&rest, "void __sanitizer_cov_trace_pc(void) {}\nint g(int x) { return x; }\n")
        .unwrap();
    let vmlinux = dir.join("vmlinux");
    let mut gcc = Command::new("gcc");
    gcc.args(["-nostdlib", "-static", "-no-pie", "-O2", "-Wl,-e,f", "-o"]);
    let status = gcc.arg(&vmlinux).arg(object).arg(&rest).status().unwrap();
    assert!(status.success(), "gcc failed");
    vmlinux
}
