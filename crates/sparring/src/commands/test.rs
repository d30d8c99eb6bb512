//! `sparring test`: every test: style, host unit tests, then the selftests in the VM.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, PipeReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anstream::println;
use clap::Args as _;

use crate::commands::kernel::build;
use crate::commands::{checkout, fuzz_target};
use crate::exit::{Failure, Outcome};
use crate::target::kernel_failure;

/// Run every test: style, host unit tests, then the selftests in the VM.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out what needs a VM
    #[arg(long)]
    host_only: bool,
}

/// One part of the tests: a cargo command.
struct Stage {
    name: String,
    cargo: &'static [&'static str],
    environment: Vec<(&'static str, OsString)>,
}

/// What became of a stage that failed.
struct Failed {
    name: String,
    /// The last lines that it said, where nobody watched.
    end: VecDeque<String>,
}

/// How many lines of a failed stage are said again: those of a test that panicked, or of a kernel that did.
const END: usize = 80;

const STYLE: &[&str] = &["run", "--quiet", "--release", "--package", "xtask", "--", "tidy"];
const HOST: &[&str] =
    &["test", "--release", "--workspace", "--exclude", "selftests", "--exclude", "fuzz"];
/// Tests that drive machines themselves.
const MACHINE: &[&str] =
    &["test", "--release", "--package", "vm", "--test", "machine", "--", "--ignored"];
/// Tests that run in a guest as a whole.
const GUEST: &[&str] = &[
    "test",
    "--release",
    "--package",
    "bpf",
    "--package",
    "execute",
    "--lib",
    "--test",
    "attach",
    "--test",
    "paired",
    "--test",
    "loopback",
    "--test",
    "lanes",
    "--test",
    "threads",
    "--test",
    "coverage",
    "--test",
    "unload",
    "--",
    "--include-ignored",
];
/// Tests that drive the command line; one after the other, since each keeps all processors busy.
const PIPELINE: &[&str] =
    &["test", "--release", "--package", "selftests", "--", "--test-threads", "1"];
/// How cargo is told what runs test programs (The Cargo Book, "Configuration", `target.<triple>.runner`).
const RUNNER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let root = checkout()?;
    let stage = |name: &str, cargo| Stage { name: name.to_owned(), cargo, environment: Vec::new() };
    let mut failed = Vec::new();
    run_stages(&root, vec![stage("style", STYLE), stage("host", HOST)], &mut failed)?;
    if !args.host_only {
        run_stages(&root, stages_in_the_vm(&root)?, &mut failed)?;
    }
    if failed.is_empty() {
        return Ok(Outcome::Pass);
    }
    for Failed { name, end } in &failed {
        if !end.is_empty() {
            println!("== the end of the {name} tests, which failed:");
        }
        end.iter().for_each(|line| println!("{line}"));
    }
    let names: Vec<_> = failed.into_iter().map(|failed| failed.name).collect();
    Err(Failure::Harness(format!("{} tests failed: see above", names.join(" and "))))
}

/// Runs them all, whatever fails, and collects those that do.
fn run_stages(root: &Path, stages: Vec<Stage>, failed: &mut Vec<Failed>) -> Result<(), Failure> {
    for stage in stages {
        let started = Instant::now();
        println!("== {} tests", stage.name);
        let (passed, end) = stage.run(root)?;
        let result = if passed { "passed" } else { "failed" };
        println!("== {} tests {result} in {:.0} s", stage.name, started.elapsed().as_secs_f64());
        if !passed {
            failed.push(Failed { name: stage.name, end });
        }
    }
    Ok(())
}

/// What needs a kernel: built here, where its progress shows, rather than inside of a test.
fn stages_in_the_vm(root: &Path) -> Result<Vec<Stage>, Failure> {
    let sparring = std::env::current_exe().map_err(|e| Failure::Harness(e.to_string()))?;
    let runner = |flags: &str| {
        let mut command = sparring.clone().into_os_string();
        command.push(format!(" exec --time 10m --vcpus 2 {flags} --"));
        (RUNNER, command)
    };
    let plain = kernel(None)?;
    let mut stages = vec![
        Stage {
            name: "machine".into(),
            cargo: MACHINE,
            environment: vec![
                ("SPARRING_TEST_KERNEL", plain.into()),
                ("SPARRING_AGENT", sparring.with_file_name("sparring-agent").into()),
            ],
        },
        Stage { name: "guest".into(), cargo: GUEST, environment: vec![runner("--target plain")] },
        Stage {
            name: "guest with the reference".into(),
            cargo: GUEST,
            environment: vec![runner("--target reference"), ("SPARRING_KFUNC", "1".into())],
        },
    ];
    match root.join("../shared/series/rfc-v1.mbox").canonicalize() {
        Ok(series) => {
            kernel(Some(&series))?;
            let flags = format!("--series {}", series.display());
            stages.push(Stage {
                name: "guest with the series".into(),
                cargo: GUEST,
                environment: vec![runner(&flags), ("SPARRING_KFUNC", "1".into())],
            });
        }
        Err(_) => println!("== tests with the series are skipped: no ../shared/series/rfc-v1.mbox"),
    }
    stages.push(Stage {
        name: "pipeline".into(),
        cargo: PIPELINE,
        environment: vec![("SPARRING_VM_TESTS", "1".into())],
    });
    Ok(stages)
}

fn kernel(series: Option<&Path>) -> Result<PathBuf, Failure> {
    let cache = vm::kernel::Cache::open().map_err(kernel_failure)?;
    let request = vm::kernel::Request {
        series: series.map(Path::to_owned),
        ..vm::kernel::Request::default()
    };
    Ok(build(&request, &cache)?.bzimage)
}

impl Stage {
    /// Whether it passes; and the end of what it says where that goes into a log, of which CI may show a part only.
    fn run(&self, root: &Path) -> Result<(bool, VecDeque<String>), Failure> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // what the user fuzzes is no business of the tests
        for variable in variables() {
            command.env_remove(variable);
        }
        command
            .args(self.cargo)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(root);
        let no_cargo = |e| Failure::Harness(format!("cannot start cargo: {e}; install Rust"));
        if io::stdout().is_terminal() {
            let status = command.status().map_err(no_cargo)?;
            return Ok((status.success(), VecDeque::new()));
        }
        let no_pipe = |e| Failure::Harness(format!("cannot read what the tests say: {e}"));
        let (reader, writer) = io::pipe().map_err(no_pipe)?;
        command.stdout(writer.try_clone().map_err(no_pipe)?).stderr(writer);
        let mut child = command.spawn().map_err(no_cargo)?;
        drop(command); // and with it our ends of the pipe
        let end = copy_lines(reader).map_err(no_pipe)?;
        let status = child.wait().map_err(no_cargo)?;
        Ok((status.success(), end))
    }
}

/// Says what comes, and gives its last lines.
fn copy_lines(from: PipeReader) -> io::Result<VecDeque<String>> {
    let mut end = VecDeque::new();
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(end);
        }
        let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        println!("{line}");
        if end.len() == END {
            end.pop_front();
        }
        end.push_back(line);
    }
}

/// The environment variables that stand for flags.
fn variables() -> Vec<OsString> {
    let flags = fuzz_target::Args::augment_args(clap::Command::new("flags"));
    flags.get_arguments().filter_map(|flag| flag.get_env().map(ToOwned::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn each_flag_of_a_target_has_a_variable() {
        let wanted = [
            "ALLOW", "CONTRACT", "FAULT", "FLAVOUR", "KERNEL", "MODULE", "PAIRING", "SERIES",
            "TARGET", "TREE", "VCPUS",
        ];
        let mut known = variables();
        known.sort();
        assert_eq!(known, wanted.map(|flag| OsString::from(format!("SPARRING_{flag}"))));
    }
}
