//! What is remembered of a campaign, to compare later ones with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::file::{WriteError, write};
use crate::finding::Reliability;

/// What of a `summary.json` is compared. It reads those of other versions, too: fields that it does not name may come and
/// go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The kernel target.
    pub target: String,
    /// `uname -r`
    pub kernel_release: String,
    /// The contract it was judged by.
    pub contract: String,
    /// The seed.
    pub seed: u64,
    /// Scenarios that were judged.
    pub scenarios: u64,
    /// Of these, how many could not be judged in full.
    pub inconclusive: u64,
    /// Scenarios in a second.
    pub scenarios_per_s: f64,
    /// Bytes that took the ring.
    pub ring_bytes: u64,
    /// Bytes that took TCP.
    pub tcp_bytes: u64,
    /// The findings.
    pub findings: Vec<Seen>,
    /// What part of the answer is missing.
    #[serde(default)]
    pub unfinished: Option<String>,
    /// Whether the campaign reached its end.
    pub finished: bool,
}

/// A finding, as far as it is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The name of the broken rule; a rule may be gone that was broken last year.
    pub invariant: String,
    /// The way it broke.
    pub diagnosis: String,
    /// Number of the first scenario that showed it.
    pub first_scenario: u64,
    /// How often a replay shows it again.
    pub reliability: Option<Reliability>,
    /// Its folder, as seen from the record's.
    pub path: PathBuf,
}

impl Seen {
    /// Two are the same finding when these are, see [`crate::FindingKey`].
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.invariant, &self.diagnosis)
    }
}

impl Record {
    /// Why it says less than a campaign is to say; `None` where it says all.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        match &self.unfinished {
            Some(missing) => Some(missing),
            None if self.finished => None,
            None => Some("interrupted"),
        }
    }

    pub(crate) fn has(&self, seen: &Seen) -> bool {
        self.findings.iter().any(|own| own.key() == seen.key())
    }
}

/// Why there is no record to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file or directory, or it cannot be read.
    #[error("{}: {source}; give the --out directory of a campaign", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// A directory in which no campaign has begun, and no artifact is.
    #[error("{}: no summary.json in it: no campaign got as far as its first scenario", .0.display())]
    Empty(PathBuf),
    /// What a fuzz target left that did not run in a VM.
    #[error("{}: does not say in its first line what it shows: give artifacts of fuzz targets that run in VMs", .0.display())]
    Artifact(PathBuf),
    /// Something else.
    #[error("{}: not what a campaign or --keep writes: {source}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: serde_json::Error,
    },
}

/// Reads the record of one campaign, from its directory or its `summary.json`. The artifacts of a fuzz target are a
/// campaign of which nothing but the findings is known.
///
/// # Errors
/// [`ReadError`].
pub fn read_campaign(path: &Path) -> Result<Record, ReadError> {
    match summary_of(path) {
        Err(ReadError::Empty(directory)) => artifacts(&directory),
        summary => read(&summary?),
    }
}

/// The file beside artifacts that says why there may be fewer than there would be.
pub const UNFINISHED: &str = "unfinished";

/// Reads artifacts as `sparring fuzz-target` writes them: the first line is a comment, `invariant: diagnosis`.
fn artifacts(directory: &Path) -> Result<Record, ReadError> {
    let mut findings = Vec::new();
    let mut unfinished = None;
    for entry in fs::read_dir(directory).map_err(io_at(directory))? {
        let name = PathBuf::from(entry.map_err(io_at(directory))?.file_name());
        if name.as_os_str() == UNFINISHED {
            let path = directory.join(&name);
            unfinished = Some(fs::read_to_string(&path).map_err(io_at(&path))?.trim().to_owned());
        }
        if !name.to_string_lossy().starts_with("crash-") {
            continue;
        }
        let path = directory.join(&name);
        let bytes = fs::read(&path).map_err(io_at(&path))?;
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().next().and_then(|line| line.strip_prefix("# ")?.split_once(": "));
        let Some((invariant, diagnosis)) = line else { return Err(ReadError::Artifact(path)) };
        let (invariant, diagnosis) = (invariant.to_owned(), diagnosis.to_owned());
        findings.push(Seen {
            invariant,
            diagnosis,
            first_scenario: 0,
            reliability: None,
            path: name,
        });
    }
    if findings.is_empty() {
        return Err(ReadError::Empty(directory.to_owned()));
    }
    findings.sort_by(|a, b| a.key().cmp(&b.key()));
    Ok(Record {
        target: "cargo fuzz".to_owned(),
        kernel_release: String::new(),
        contract: String::new(),
        seed: 0,
        scenarios: 0,
        inconclusive: 0,
        scenarios_per_s: 0.0,
        ring_bytes: 0,
        tcp_bytes: 0,
        findings,
        finished: unfinished.is_none(),
        unfinished,
    })
}

/// Reads what is known, from the record of one campaign or from what [`write_known`] has written.
///
/// # Errors
/// [`ReadError`].
pub fn read_known(path: &Path) -> Result<Vec<Record>, ReadError> {
    let path = summary_of(path)?;
    match read(&path)? {
        Value::Array(_) => read_kept(&path),
        _ => Ok(vec![read(&path)?]),
    }
}

/// Reads what [`write_known`] has written, and nothing else.
///
/// # Errors
/// [`ReadError`].
pub fn read_kept(path: &Path) -> Result<Vec<Record>, ReadError> {
    read(path)
}

/// Writes records to a file of their own.
///
/// # Errors
/// When it cannot be written.
pub fn write_known(path: &Path, records: &[Record]) -> Result<(), WriteError> {
    let json = serde_json::to_string_pretty(records)
        .map_err(|e| WriteError { path: path.to_owned(), source: e.into() })?;
    write(path, json + "\n")
}

fn summary_of(path: &Path) -> Result<PathBuf, ReadError> {
    let data = fs::metadata(path).map_err(io_at(path))?;
    if !data.is_dir() {
        return Ok(path.to_owned());
    }
    let summary = path.join("summary.json");
    if summary.exists() { Ok(summary) } else { Err(ReadError::Empty(path.to_owned())) }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ReadError> {
    let text = fs::read_to_string(path).map_err(io_at(path))?;
    serde_json::from_str(&text)
        .map_err(|source| ReadError::Content { path: path.to_owned(), source })
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> ReadError {
    |source| ReadError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = r#"{
        "target": "reference", "kernel_release": "7.2.12", "contract": "tcp", "seed": 1, "accel": "tcg", "jobs": 2,
        "scenarios": 100, "inconclusive": 1, "scenarios_per_s": 12.5, "ring_bytes": 3, "tcp_bytes": 7,
        "what a later version says": [],
        "findings": [{
            "invariant": "peek", "diagnosis": "later-bytes-first", "id": "12345678", "claims": [], "count": 3,
            "first_scenario": 7, "first_s": 0.5, "ops_original": 9, "ops_shrunk": 3, "reliability": "10/10",
            "path": "peek-12345678"
        }],
        "unfinished": null, "finished": true, "exit_code": 1
    }"#;

    #[test_log::test]
    fn a_campaign_is_read_from_its_directory_and_kept_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let summary = directory.path().join("summary.json");
        fs::write(&summary, SUMMARY).unwrap();
        let record = read_campaign(directory.path()).unwrap();
        assert_eq!(record, read_campaign(&summary).unwrap());
        assert_eq!(record.findings[0].key(), ("peek", "later-bytes-first"));
        assert_eq!(record.missing(), None);
        let known = directory.path().join("known.json");
        write_known(&known, std::slice::from_ref(&record)).unwrap();
        assert_eq!(read_known(&known).unwrap(), read_known(directory.path()).unwrap());
        assert_eq!(read_known(&known).unwrap(), [record]);
        assert!(matches!(read_kept(&summary), Err(ReadError::Content { .. })));
    }

    #[test_log::test]
    fn artifacts_tell_what_they_show() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("crash-12", "# splat: WARNING: f at g\n# it did\nring 1\n");
        write("crash-34", "# data: lost\nring 1\n");
        let record = read_campaign(directory.path()).unwrap();
        let keys: Vec<_> = record.findings.iter().map(Seen::key).collect();
        assert_eq!(keys, [("data", "lost"), ("splat", "WARNING: f at g")]);
        assert_eq!((record.missing(), &*record.findings[0].path), (None, Path::new("crash-34")));
        write(UNFINISHED, "ended early: no VM\n");
        let record = read_campaign(directory.path()).unwrap();
        assert_eq!((record.missing(), record.findings.len()), (Some("ended early: no VM"), 2));
        write("crash-56", "ring 1\n");
        assert!(matches!(read_campaign(directory.path()), Err(ReadError::Artifact(_))));
    }

    #[test_log::test]
    fn what_a_campaign_lacks_is_told() {
        let mut record: Record = serde_json::from_str(SUMMARY).unwrap();
        record.finished = false;
        assert_eq!(record.missing(), Some("interrupted"));
        record.unfinished = Some("no byte took the ring".into());
        assert_eq!(record.missing(), Some("no byte took the ring"));
    }

    #[test_log::test]
    fn what_is_no_campaign_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read_campaign(directory.path()), Err(ReadError::Empty(_))));
        let nowhere = directory.path().join("nowhere");
        assert!(matches!(read_campaign(&nowhere), Err(ReadError::Io { .. })));
        let other = directory.path().join("other.json");
        fs::write(&other, "{}").unwrap();
        let error = read_known(&other).unwrap_err().to_string();
        assert!(error.contains("missing field `target`"), "{error}");
    }
}
