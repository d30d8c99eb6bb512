//! One file per command.

pub mod bench;
pub mod coverage;
pub mod diff;
pub mod evaluate;
pub mod exec;
pub mod fuzz;
pub mod fuzz_target;
pub mod kernel;
pub mod run;
pub mod shell;
pub mod shrink;
pub mod test;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::{eprintln, println};
use scenario::{Scenario, text};
use serde::Serialize;
use tempfile::TempDir;

use crate::exit::Failure;

/// Reads a `.ring` file, or whatever else is an input of a fuzz target.
pub fn read_ring(file: &Path) -> Result<Scenario, Failure> {
    let bad = |why: String| Failure::BadInput(format!("{}: {why}", file.display()));
    let bytes = fs::read(file).map_err(|e| bad(e.to_string()))?;
    let is_meant = file.extension().is_some_and(|extension| extension == "ring");
    if !is_meant && !text::begins(&bytes) {
        eprintln!(
            "sparring: {}: no scenario's text, so taken as bytes of libFuzzer's: `run --print` shows what they make",
            file.display()
        );
        return Ok(generate::from_bytes(&bytes));
    }
    let text = String::from_utf8(bytes).map_err(|e| bad(e.to_string()))?;
    text::parse(&text).map_err(|e| bad(e.to_string()))
}

/// The checkout: what the bootstrap script says, else where this program was built.
pub fn checkout() -> Result<PathBuf, Failure> {
    let root = std::env::var_os("SPARRING_ROOT")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), PathBuf::from);
    if root.join("Cargo.toml").exists() {
        Ok(root)
    } else {
        Err(Failure::Harness(format!(
            "no checkout at {}: start through ./sparring",
            root.display()
        )))
    }
}

/// A directory of its own for a command, which is removed with it.
pub fn scratch(command: &str) -> Result<TempDir, Failure> {
    let prefix = format!("sparring-{command}-");
    let made = tempfile::Builder::new().prefix(&prefix).tempdir();
    made.map_err(|e| Failure::Harness(format!("cannot make a temporary directory: {e}")))
}

/// Prints what `--json` asks for.
pub fn print_json(results: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(results)
        .map_err(|e| Failure::Harness(format!("cannot print the results: {e}")))?;
    println!("{json}");
    Ok(())
}

/// Reads `90`, `90s`, `10m` or `2h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        unit => return Err(format!("unknown unit {unit:?}: use s, m or h")),
    };
    let number: u64 = digits.parse().map_err(|_| "give a whole number such as 90s".to_owned())?;
    number
        .checked_mul(factor)
        .filter(|seconds| (1..=u64::from(u32::MAX)).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "give at least 1s and at most some years".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn an_input_of_a_fuzz_target_is_read_and_a_broken_ring_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name: &str, bytes: &[u8]| {
            let file = directory.path().join(name);
            fs::write(&file, bytes).unwrap();
            read_ring(&file)
        };
        let scenario = generate::scenario(1, 1);
        let text = text::print(&scenario);
        for name in ["crash-1", "a.ring"] {
            assert_eq!(read(name, text.as_bytes()).unwrap(), scenario);
            assert_eq!(read(name, &text.as_bytes()[..text.len() - 4]).unwrap_err().code(), 2);
        }
        let foreign = b"\xff\x00foreign";
        assert_eq!(read("crash-2", foreign).unwrap(), generate::from_bytes(foreign));
        assert_eq!(read("b.ring", foreign).unwrap_err().code(), 2);
    }

    #[test_log::test]
    fn times_are_read_with_and_without_unit() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for bad in ["", "s", "0", "-1s", "1.5s", "3d", "99999999999999999999"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
