//! One file per command.

pub mod bench;
pub mod coverage;
pub mod diff;
pub mod evaluate;
pub mod exec;
pub mod fuzz;
pub mod kernel;
pub mod run;
pub mod shell;
pub mod shrink;
pub mod test;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anstream::println;
use scenario::{Scenario, text};
use serde::Serialize;

use crate::exit::Failure;

/// Reads a `.ring` file.
pub fn read_ring(file: &Path) -> Result<Scenario, Failure> {
    let bad = |why: String| Failure::BadInput(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|e| bad(e.to_string()))?;
    text::parse(&text).map_err(|e| bad(e.to_string()))
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
