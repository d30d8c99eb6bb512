//! `sparring test`: every test: style, host unit tests, then the selftests in the VM.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::exit::{Failure, Outcome};
use crate::target::{SourceArgs, kernel_failure};

/// Run every test: style, host unit tests, then the selftests in the VM.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out what needs a VM
    #[arg(long)]
    host_only: bool,
}

/// One part of the tests: a cargo command.
struct Stage {
    name: &'static str,
    cargo: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const STYLE: Stage = Stage {
    name: "style",
    cargo: &["run", "--quiet", "--release", "--package", "xtask", "--", "tidy"],
    environment: &[],
};
const HOST: Stage = Stage {
    name: "host",
    cargo: &["test", "--release", "--workspace", "--exclude", "selftests"],
    environment: &[],
};
const GUEST: Stage = Stage {
    name: "vm",
    // one after the other: each boots its own machines
    cargo: &["test", "--release", "--package", "selftests", "--", "--test-threads", "1"],
    environment: &[("SPARRING_VM_TESTS", "1")],
};

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let root = root()?;
    let mut failed = Vec::new();
    let mut stages = vec![STYLE, HOST];
    if !args.host_only {
        stages.push(GUEST);
    }
    for stage in stages {
        if stage.name == GUEST.name {
            build_kernel()?;
        }
        let started = Instant::now();
        println!("== {} tests", stage.name);
        let passed = stage.run(&root)?;
        let result = if passed { "passed" } else { "failed" };
        println!("== {} tests {result} in {:.0} s", stage.name, started.elapsed().as_secs_f64());
        if !passed {
            failed.push(stage.name);
        }
    }
    if failed.is_empty() {
        return Ok(Outcome::Pass);
    }
    Err(Failure::Harness(format!("{} tests failed: see above", failed.join(" and "))))
}

/// The selftests need the default kernel; its build shows progress here rather than inside of a test.
fn build_kernel() -> Result<(), Failure> {
    let cache = vm::kernel::Cache::open().map_err(kernel_failure)?;
    let progress = crate::progress::BuildProgress::new();
    let request = SourceArgs { tree: None, series: None, flavour: vm::kernel::Flavour::default() };
    vm::kernel::build(&request.request(), &cache, &progress).map_err(kernel_failure)?;
    Ok(())
}

impl Stage {
    fn run(&self, root: &Path) -> Result<bool, Failure> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Command::new(cargo)
            .args(self.cargo)
            .envs(self.environment.iter().copied())
            .current_dir(root)
            .status()
            .map(|status| status.success())
            .map_err(|e| Failure::Harness(format!("cannot start cargo: {e}; install Rust")))
    }
}

/// The checkout: what the bootstrap script says, else where this program was built.
fn root() -> Result<PathBuf, Failure> {
    let root = std::env::var_os("SPARRING_ROOT")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), PathBuf::from);
    if root.join("Cargo.toml").exists() {
        Ok(root)
    } else {
        Err(Failure::Harness(format!(
            "no checkout at {}: start the tests with ./sparring test",
            root.display()
        )))
    }
}
