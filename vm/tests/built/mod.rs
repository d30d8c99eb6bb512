//! The agent, built beside the program that asks for it.

use std::path::PathBuf;
use std::process::Command;

/// Builds it with these options of cargo's: target/…/deps/program-… → target/…/sparring-agent.
pub fn agent(options: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let build = ["build", "--quiet", "-p", "agent"];
    let status = Command::new(cargo).args(build).args(options).status().expect("cargo");
    assert!(status.success(), "the agent does not build");
    let program = std::env::current_exe().expect("a path");
    program.ancestors().nth(2).expect("a target directory").join("sparring-agent")
}
