//! What the cells of an evaluation have shown, as it is kept on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kmod::Fault;
use report::{Finding, Summary};
use scenario::Invariant;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cell::{Cell, canary};
use crate::exit::Failure;

/// The file of an evaluation in its directory.
pub const FILE: &str = "evaluation.json";

/// What figures depend on: those of other conditions cannot stand in the same table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Hash of this program and the guest's: the generator, the executor and the oracle.
    pub program: String,
    /// Hash of the kernel image.
    pub kernel: String,
    /// Hash of the reference module.
    pub module: String,
    /// What the kernel is built to see.
    pub flavour: String,
    /// `kvm` or `tcg`.
    pub accel: String,
    /// VMs at the same time.
    pub jobs: usize,
    /// Seed of the first round, and of the first trial of each fault.
    pub seed: u64,
    /// Scenarios on each target for soundness.
    pub scenarios: u64,
    /// Seconds that a trial may take, without boot.
    pub time_s: u64,
}

impl Conditions {
    /// What is not the same, with both values.
    pub fn differences(&self, now: &Conditions) -> Vec<String> {
        let fields = |conditions| match serde_json::to_value(conditions) {
            Ok(Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let now = fields(now);
        let then = fields(self).into_iter();
        then.filter(|(name, value)| now.get(name) != Some(value))
            .map(|(name, value)| format!("{name} was {value}, is {}", now[&name]))
            .collect()
    }
}

/// Scenarios on a target that keeps the contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The target's name.
    pub target: String,
    /// The campaign's.
    pub seed: u64,
    /// Scenarios that were judged.
    pub scenarios: u64,
    /// Scenarios that could not be judged in full.
    pub inconclusive: u64,
    /// `inconclusive` by reason.
    pub doubts: BTreeMap<String, u64>,
    /// Seconds from the first scenario to the last.
    pub elapsed_s: f64,
    /// What is not to be; paths are relative to the evaluation's directory.
    pub violations: Vec<Finding>,
}

/// A campaign on the reference with a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The fault's name.
    pub fault: String,
    /// The campaign's.
    pub seed: u64,
    /// Scenarios that were judged, those under way at the first finding included.
    pub scenarios: u64,
    /// Seconds from the first scenario to the last.
    pub elapsed_s: f64,
    /// How the fault was found; `None` where it was not, in the time that was given.
    pub found: Option<Detection>,
}

/// How a fault was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The invariants that were broken, until the campaign had ended.
    pub invariants: Vec<Invariant>,
    /// Whether one of them is among those that should see the fault.
    pub as_expected: bool,
    /// Scenarios of the seed up to the first that broke one, itself included.
    pub scenarios: u64,
    /// Seconds from the first scenario until that one was judged.
    pub seconds: f64,
}

/// All answers so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What they depend on.
    pub conditions: Conditions,
    /// `uname -r` of the kernel under test.
    pub kernel_release: String,
    /// The fault that must be found.
    pub canary: Option<Trial>,
    /// Soundness.
    pub rounds: Vec<Round>,
    /// Sensitivity.
    pub trials: Vec<Trial>,
}

impl Record {
    /// No answers yet.
    pub fn new(conditions: Conditions) -> Record {
        Record {
            conditions,
            kernel_release: String::new(),
            canary: None,
            rounds: Vec::new(),
            trials: Vec::new(),
        }
    }

    /// The answers in a directory, if there are any.
    ///
    /// # Errors
    /// [`Failure::BadInput`] when they cannot be read.
    pub fn load(out: &Path) -> Result<Option<Record>, Failure> {
        let path = out.join(FILE);
        let bad = |why: String| {
            Failure::BadInput(format!(
                "cannot go on with {}: {why}; choose another directory with --out",
                path.display()
            ))
        };
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(error.to_string())),
            Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|e| bad(e.to_string())),
        }
    }

    /// Whether the cell has its answer. A canary that was missed is looked for again.
    pub fn has(&self, cell: &Cell) -> bool {
        match cell {
            Cell::Canary => self.is_trusted(),
            Cell::Round { target, seed, .. } => {
                let target = target.to_string();
                self.rounds.iter().any(|round| round.target == target && round.seed == *seed)
            }
            Cell::Trial { fault, seed } => {
                self.trials.iter().any(|trial| trial.fault == fault.name && trial.seed == *seed)
            }
        }
    }

    /// Whether the canary was found by what should see it: else the rest says nothing.
    pub fn is_trusted(&self) -> bool {
        let found = self.canary.as_ref().and_then(|canary| canary.found.as_ref());
        found.is_some_and(|found| found.as_expected)
    }

    /// Whether the canary was looked for in vain.
    pub fn is_worthless(&self) -> bool {
        self.canary.is_some() && !self.is_trusted()
    }

    /// Notes what the campaign of a cell has shown, and gives it in words.
    ///
    /// # Errors
    /// [`Failure::Harness`] when it has shown nothing.
    pub fn note(&mut self, cell: &Cell, summary: &Summary) -> Result<String, Failure> {
        let words = match cell {
            Cell::Canary => {
                let trial = Trial::of(canary(), cell.seed(), summary)?;
                self.canary.insert(trial).to_string()
            }
            Cell::Round { .. } => {
                self.rounds.push(Round::of(cell, summary)?);
                format!("{} scenarios, {} violations", summary.scenarios, summary.findings.len())
            }
            Cell::Trial { fault, seed } => {
                let trial = Trial::of(fault, *seed, summary)?;
                let words = trial.to_string();
                self.trials.push(trial);
                words
            }
        };
        self.kernel_release.clone_from(&summary.kernel_release);
        Ok(words)
    }
}

impl Round {
    fn of(cell: &Cell, summary: &Summary) -> Result<Round, Failure> {
        // violations count, whatever ended the campaign
        if summary.findings.is_empty() {
            answered(summary)?;
        }
        let Cell::Round { target, seed, .. } = cell else {
            return Err(Failure::Harness(format!("{cell} is no round: report this")));
        };
        let folder = PathBuf::from(cell.folder());
        let below =
            |finding: &Finding| Finding { path: folder.join(&finding.path), ..finding.clone() };
        Ok(Round {
            target: target.to_string(),
            seed: *seed,
            scenarios: summary.scenarios,
            inconclusive: summary.inconclusive,
            doubts: summary.doubts.clone(),
            elapsed_s: summary.elapsed_s,
            violations: summary.findings.iter().map(below).collect(),
        })
    }
}

impl Trial {
    fn of(fault: &Fault, seed: u64, summary: &Summary) -> Result<Trial, Failure> {
        let found = Detection::of(fault, summary);
        if found.is_none() {
            answered(summary)?;
        }
        Ok(Trial {
            fault: fault.name.clone(),
            seed,
            scenarios: summary.scenarios,
            elapsed_s: summary.elapsed_s,
            found,
        })
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.found {
            None => {
                write!(f, "not found in {} scenarios and {:.0} s", self.scenarios, self.elapsed_s)
            }
            Some(found) => {
                let invariants: Vec<String> =
                    found.invariants.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "found by {} at scenario {}, after {:.1} s",
                    invariants.join(" and "),
                    found.scenarios,
                    found.seconds
                )
            }
        }
    }
}

impl Detection {
    fn of(fault: &Fault, summary: &Summary) -> Option<Detection> {
        let by = |invariants: Vec<Invariant>, scenarios, seconds| Detection {
            as_expected: invariants.iter().any(|invariant| fault.seen_by.contains(invariant)),
            invariants,
            scenarios,
            seconds,
        };
        if let Some(first) = summary.findings.first() {
            // those of the scenarios that were under way, too: which of them ends first says nothing of the fault
            let mut invariants: Vec<Invariant> =
                summary.findings.iter().map(|finding| finding.invariant).collect();
            invariants.sort();
            invariants.dedup();
            return Some(by(invariants, first.first_scenario + 1, first.first_s));
        }
        // that the ring is never used is a campaign's to see, not a scenario's
        let is_idle = summary.finished && summary.paired > 0 && summary.ring_bytes == 0;
        is_idle.then(|| by(vec![Invariant::Engaged], summary.scenarios, summary.elapsed_s))
    }
}

/// A campaign without findings is an answer only where nothing of it is missing.
fn answered(summary: &Summary) -> Result<(), Failure> {
    match &summary.unfinished {
        None => Ok(()),
        Some(missing) => Err(Failure::Harness(missing.clone())),
    }
}
