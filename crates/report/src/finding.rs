//! A deduplicated violation with its files.

use std::path::{Path, PathBuf};

use scenario::{History, Invariant, Scenario, Violation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::file::{WriteError, write};
use crate::markdown::{Context, markdown};
use crate::plain::Plain;

/// What makes two violations the same finding: which rule broke, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FindingKey {
    /// The broken rule.
    pub invariant: Invariant,
    /// The way it broke, see [`Violation::diagnosis`].
    pub diagnosis: String,
}

impl FindingKey {
    /// The key of a violation.
    #[must_use]
    pub fn of(violation: &Violation) -> FindingKey {
        FindingKey { invariant: violation.invariant, diagnosis: violation.diagnosis.clone() }
    }

    /// Eight hexadecimal digits that stay the same from campaign to campaign.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::digest(format!("{}/{}", self.invariant, self.diagnosis));
        digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The name of the finding's folder, `<invariant>-<8 hex>`.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}", self.invariant, self.id())
    }
}

/// In how many of so many replays the same violation came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reliability {
    /// Replays that showed it.
    pub hits: u32,
    /// Replays.
    pub of: u32,
}

impl std::fmt::Display for Reliability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.hits, self.of)
    }
}

impl From<Reliability> for String {
    fn from(reliability: Reliability) -> String {
        reliability.to_string()
    }
}

impl TryFrom<String> for Reliability {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.split_once('/')
            .and_then(|(hits, of)| {
                Some(Reliability { hits: hits.parse().ok()?, of: of.parse().ok()? })
            })
            .ok_or_else(|| format!("bad reliability {text:?}: write hits/replays"))
    }
}

/// One finding as `summary.json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The broken rule.
    pub invariant: Invariant,
    /// The way it broke.
    pub diagnosis: String,
    /// See [`FindingKey::id`].
    pub id: String,
    /// The claims of the series that it contradicts, the most specific first; none where the target does not pair.
    pub claims: Vec<String>,
    /// Scenarios of the campaign that showed it.
    pub count: u64,
    /// Number of the first scenario that showed it.
    pub first_scenario: u64,
    /// Seconds from the campaign's start until then.
    pub first_s: f64,
    /// Ops of the first scenario that showed it.
    pub ops_original: usize,
    /// Ops of `scenario.ring`.
    pub ops_shrunk: usize,
    /// How often a replay of `scenario.ring` shows it again; `None` where it was not tried.
    pub reliability: Option<Reliability>,
    /// The finding's folder, relative to the directory of `summary.json`.
    pub path: PathBuf,
}

/// What a finding's folder is made of.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The violation, as `scenario` shows it.
    pub violation: Violation,
    /// The smallest scenario known to show it.
    pub scenario: Scenario,
    /// The scenario that showed it first.
    pub original: Scenario,
    /// What happened when `scenario` ran; `None` where the kernel died with it.
    pub history: Option<History>,
    /// What the same scenario does without pairing; `None` where that was not tried.
    pub plain: Option<Plain>,
    /// The kernel's console around it.
    pub console: String,
    /// The scenarios that ran before it, oldest first, where the guilty one may be among them.
    pub recent: Vec<Scenario>,
}

impl Artifacts {
    /// Writes (or overwrites) the finding's files into `folder`.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub fn save(
        &self,
        folder: &Path,
        finding: &Finding,
        context: &Context,
    ) -> Result<(), WriteError> {
        write(&folder.join("scenario.ring"), scenario::text::print(&self.scenario))?;
        write(&folder.join("original.ring"), scenario::text::print(&self.original))?;
        let write_json = |name: &str, history: Option<&History>| {
            let path = folder.join(name);
            let json = serde_json::to_string_pretty(&history)
                .map_err(|e| WriteError { path: path.clone(), source: e.into() })?;
            write(&path, json)
        };
        write_json("history.json", self.history.as_ref())?;
        if let Some(plain) = &self.plain {
            write_json("plain.json", plain.history.as_ref())?;
        }
        write(&folder.join("console.log"), &self.console)?;
        for (at, scenario) in self.recent.iter().enumerate() {
            let name = format!("recent/{at:03}.ring");
            write(&folder.join(name), scenario::text::print(scenario))?;
        }
        write(&folder.join("report.md"), markdown(self, finding, context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn the_id_depends_on_rule_and_diagnosis_alone() {
        let key =
            |invariant, diagnosis: &str| FindingKey { invariant, diagnosis: diagnosis.into() };
        let peek = key(Invariant::Peek, "eagain-with-bytes-deliverable");
        assert_eq!(peek.folder(), format!("peek-{}", peek.id()));
        assert_eq!(peek.id().len(), 8);
        assert_eq!(peek.id(), key(Invariant::Peek, "eagain-with-bytes-deliverable").id());
        assert_ne!(peek.id(), key(Invariant::Peek, "later-bytes-first").id());
        assert_ne!(peek.id(), key(Invariant::Inq, "eagain-with-bytes-deliverable").id());
    }

    #[test_log::test]
    fn reliability_survives_json() {
        let reliability = Reliability { hits: 9, of: 10 };
        let json = serde_json::to_string(&reliability).unwrap();
        assert_eq!(json, "\"9/10\"");
        assert_eq!(serde_json::from_str::<Reliability>(&json).unwrap(), reliability);
        assert!(serde_json::from_str::<Reliability>("\"9\"").is_err());
    }
}
