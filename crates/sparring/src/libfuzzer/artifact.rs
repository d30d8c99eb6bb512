//! What is kept of an input that broke something.

use std::path::{Path, PathBuf};

use report::{FindingKey, WriteError};
use scenario::{Invariant, Scenario, Violation, text};
use sha1::{Digest as _, Sha1};

/// The input's name, as libFuzzer makes it: the SHA-1 of its bytes.
pub fn digest(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of an input that shows the violation, with a comment that says so.
pub fn render(scenario: &Scenario, violation: &Violation, replay: &str) -> String {
    let FindingKey { invariant, diagnosis } = FindingKey::of(violation);
    let words = format!("{invariant}: {diagnosis}\n{}\n{replay}", violation.evidence);
    let comment: String = words.lines().map(|line| format!("# {line}\n")).collect();
    format!("{comment}{}", text::print(scenario))
}

/// What an artifact says it shows.
pub fn subject(artifact: &[u8]) -> Option<Invariant> {
    let line = artifact.split(|byte| *byte == b'\n').next()?;
    let (invariant, _) = str::from_utf8(line).ok()?.strip_prefix("# ")?.split_once(": ")?;
    invariant.parse().ok()
}

/// Writes what was executed before a crash, oldest first, and what the kernel said, into a directory beside the artifact.
pub fn keep_recent(
    artifact: &Path,
    recent: &[Scenario],
    console: &str,
) -> Result<PathBuf, WriteError> {
    let name = artifact.file_name().unwrap_or_default().to_string_lossy();
    let directory = artifact.with_file_name(name.replacen("crash-", "recent-", 1));
    for (number, scenario) in recent.iter().enumerate() {
        let file = directory.join(format!("{number:03}.ring"));
        report::write(&file, text::print(scenario))?;
    }
    report::write(&directory.join("console.log"), console)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn an_input_is_named_after_its_bytes() {
        // sha1sum(1) of nothing, and of "abc" (FIPS 180-2)
        assert_eq!(digest(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(digest(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test_log::test]
    fn an_artifact_says_what_it_shows_and_is_the_scenario() {
        let scenario = generate::scenario(1, 1);
        let violation = Violation {
            invariant: Invariant::Peek,
            diagnosis: "x".into(),
            record: None,
            evidence: "one\ntwo".into(),
        };
        let artifact = render(&scenario, &violation, "./sparring run");
        assert!(artifact.starts_with("# peek: x\n# one\n# two\n# ./sparring run\nring 1\n"));
        assert_eq!(text::parse(&artifact), Ok(scenario.clone()));
        assert_eq!(subject(artifact.as_bytes()), Some(Invariant::Peek));
        assert_eq!(subject(text::print(&scenario).as_bytes()), None);
    }

    #[test_log::test]
    fn what_came_before_is_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let artifact = directory.path().join("crash-12");
        let recent: Vec<Scenario> = (0..2).map(|n| generate::scenario(1, n)).collect();
        let kept = keep_recent(&artifact, &recent, "Oops").unwrap();
        assert_eq!(kept, directory.path().join("recent-12"));
        let second = std::fs::read_to_string(kept.join("001.ring")).unwrap();
        assert_eq!(text::parse(&second).as_ref(), Ok(&recent[1]));
    }
}
