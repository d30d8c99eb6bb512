//! What a campaign has seen so far: counts, and findings told apart by what broke.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use report::{Artifacts, Context, Finding, FindingKey, Plain, Summary, WriteError};
use scenario::{History, Scenario, Topology, Verdict, Violation};

use crate::confirm::{Confirmed, is_leak};
use crate::exit::Failure;
use crate::runner::{Crash, Job};

/// How many scenarios may fail to run, if they are less than a tenth of all.
const BROKEN: u64 = 20;
/// How many restart reasons are kept.
const REASONS: usize = 20;

/// How many scenarios are kept for each finding: if one does not replay well, another may.
const SHOWN_BY: usize = 5;

/// A finding as it grows.
pub struct Entry {
    /// Its line in `summary.json`.
    pub finding: Finding,
    /// What its folder is made of.
    pub artifacts: Artifacts,
    /// Scenarios that show it, in the order in which they came: the first is the original. Of a leak, the ones of
    /// which one must show it.
    pub shown_by: Vec<Scenario>,
}

/// Everything a campaign has seen.
pub struct Tally {
    /// Where the findings go.
    out: PathBuf,
    /// What reports say about the campaign.
    pub context: Context,
    started: Instant,
    /// The numbers.
    pub summary: Summary,
    /// Of all ops, those that ran as meant.
    ops_as_meant: u64,
    /// Why nobody knows what a machine's scenarios left behind.
    pub unchecked: Option<String>,
    /// The findings.
    pub entries: BTreeMap<FindingKey, Entry>,
}

impl Tally {
    /// An empty tally; the campaign's clock starts now.
    pub fn new(out: &Path, context: Context, summary: Summary) -> Tally {
        Tally {
            out: out.to_owned(),
            context,
            started: Instant::now(),
            summary,
            ops_as_meant: 0,
            unchecked: None,
            entries: BTreeMap::new(),
        }
    }

    /// Counts a scenario that ran, and files what it violated. Gives the keys of new findings.
    pub fn ran(
        &mut self,
        job: &Job,
        history: &History,
        verdict: &Verdict,
        exempted: usize,
    ) -> Result<Vec<FindingKey>, WriteError> {
        self.summary.scenarios += 1;
        self.summary.elapsed_s = self.started.elapsed().as_secs_f64();
        self.summary.exempted += exempted as u64;
        self.count_profile(&job.scenario, history);
        let (accepted, ring) = history.accepted_and_ring();
        self.summary.ring_bytes += ring;
        self.summary.tcp_bytes += accepted - ring;
        if let Verdict::Inconclusive(doubt) = verdict {
            self.summary.inconclusive += 1;
            *self.summary.doubts.entry(doubt.to_string()).or_default() += 1;
        }
        let mut new = Vec::new();
        for violation in verdict.violations() {
            let artifacts = || Artifacts {
                violation: violation.clone(),
                scenario: job.scenario.clone(),
                original: job.scenario.clone(),
                history: Some(history.clone()),
                plain: None,
                console: String::new(),
                recent: Vec::new(),
            };
            new.extend(self.file(violation, Some(job), artifacts)?);
        }
        Ok(new)
    }

    /// Whether that was found before.
    pub fn knows(&self, violation: &Violation) -> bool {
        self.entries.contains_key(&FindingKey::of(violation))
    }

    /// Counts what kind of scenario it was, and how much of it ran as meant.
    fn count_profile(&mut self, scenario: &Scenario, history: &History) {
        let summary = &mut self.summary;
        summary.paired += u64::from(history.is_paired());
        summary.overlapping += u64::from(!scenario.is_sequential());
        summary.several_pairs += u64::from(scenario.pairs > 1);
        summary.over_a_wire += u64::from(scenario.topology != Topology::Loopback);
        let ran = generate::meant(scenario, history);
        summary.ops += u64::from(ran.steps);
        self.ops_as_meant += u64::from(ran.meant);
    }

    /// Files a crash. Gives its key if it is new.
    pub fn crashed(&mut self, crash: &Crash) -> Result<Option<FindingKey>, WriteError> {
        let artifacts = || {
            let scenario =
                crash.suspect.as_ref().map(|job| job.scenario.clone()).unwrap_or_default();
            Artifacts {
                violation: crash.violation.clone(),
                original: scenario.clone(),
                scenario,
                history: None,
                plain: None,
                console: crash.console.clone(),
                recent: crash.recent.iter().map(|job| job.scenario.clone()).collect(),
            }
        };
        self.file(&crash.violation, crash.suspect.as_ref(), artifacts)
    }

    /// Counts a machine that was lost.
    pub fn restarted(&mut self, reason: &str) {
        self.summary.vm_restarts += 1;
        if self.summary.restart_reasons.len() < REASONS {
            self.summary.restart_reasons.push(reason.to_owned());
        }
    }

    fn file(
        &mut self,
        violation: &Violation,
        job: Option<&Job>,
        artifacts: impl FnOnce() -> Artifacts,
    ) -> Result<Option<FindingKey>, WriteError> {
        let key = FindingKey::of(violation);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.finding.count += 1;
            if entry.shown_by.len() < SHOWN_BY {
                entry.shown_by.extend(job.map(|job| job.scenario.clone()));
            }
            if let Some(number) = job.map(|job| job.number)
                && number < entry.finding.first_scenario
            {
                // machines run side by side: an earlier scenario may answer later
                entry.artifacts = artifacts();
                entry.shown_by.insert(0, entry.artifacts.original.clone());
                entry.finding.first_scenario = number;
                entry.finding.ops_original = entry.artifacts.original.steps.len();
                entry.finding.ops_shrunk = entry.finding.ops_original;
                let folder = self.out.join(&entry.finding.path);
                entry.artifacts.save(&folder, &entry.finding, &self.context)?;
            }
            return Ok(None);
        }
        let artifacts = artifacts();
        let finding = Finding {
            invariant: key.invariant,
            diagnosis: key.diagnosis.clone(),
            id: key.id(),
            claims: if self.context.pairs { claims_against(&key) } else { Vec::new() },
            count: 1,
            // before the first one, where there is none
            first_scenario: job.map_or(0, |job| job.number),
            first_s: self.started.elapsed().as_secs_f64(),
            ops_original: artifacts.original.steps.len(),
            ops_shrunk: artifacts.scenario.steps.len(),
            reliability: None,
            path: PathBuf::from(key.folder()),
        };
        artifacts.save(&self.out.join(&finding.path), &finding, &self.context)?;
        let mut shown_by = vec![artifacts.original.clone()];
        if is_leak(&key) {
            // it is seen a little later, so that any of the last ones may be the guilty one
            shown_by.extend(artifacts.recent.iter().rev().skip(1).cloned());
        }
        self.entries.insert(key.clone(), Entry { finding, artifacts, shown_by });
        Ok(Some(key))
    }

    /// Notes what shrinking and replaying came to. A smaller scenario replaces the original only if it was seen to
    /// show the violation.
    pub fn confirmed(&mut self, key: &FindingKey, confirmed: Confirmed) -> Result<(), WriteError> {
        let Some(entry) = self.entries.get_mut(key) else { return Ok(()) };
        entry.finding.reliability = confirmed.reliability;
        if let Some(shown) = confirmed.shown {
            entry.finding.ops_shrunk = confirmed.scenario.steps.len();
            entry.artifacts.scenario = confirmed.scenario;
            entry.artifacts.violation = shown.violation;
            entry.artifacts.history = shown.history;
            if !shown.console.is_empty() {
                entry.artifacts.console = shown.console;
            }
        }
        entry.artifacts.save(&self.out.join(&entry.finding.path), &entry.finding, &self.context)
    }

    /// Notes what the scenario of a finding does on plain TCP; gives what is to be said aloud of that.
    pub fn explained(
        &mut self,
        key: &FindingKey,
        plain: Plain,
    ) -> Result<Option<String>, WriteError> {
        let Some(entry) = self.entries.get_mut(key) else { return Ok(None) };
        let alarm = plain.alarm(&entry.artifacts.violation);
        entry.artifacts.plain = Some(plain);
        entry.artifacts.save(&self.out.join(&entry.finding.path), &entry.finding, &self.context)?;
        Ok(alarm)
    }

    /// Counts a scenario that could not be run. A few are noted; with more than that, the harness is broken.
    pub fn broke(&mut self, job: &Job, reason: &str) -> Result<(), Failure> {
        self.summary.broken += 1;
        let reason = format!("scenario {} could not be run: {reason}", job.number);
        tracing::warn!("{reason}");
        if self.summary.broken > BROKEN && self.summary.broken * 10 > self.summary.scenarios {
            return Err(Failure::Harness(reason));
        }
        Ok(())
    }

    /// Starts the campaign's clock: boot and build are not its time.
    pub fn start_clock(&mut self) {
        self.started = Instant::now();
    }

    /// Brings the summary up to date and writes it.
    #[expect(clippy::cast_precision_loss, reason = "rates for people to read")]
    pub fn save(&mut self) -> Result<(), WriteError> {
        let summary = &mut self.summary;
        summary.findings = self.entries.values().map(|entry| entry.finding.clone()).collect();
        summary.findings.sort_by(|a, b| a.first_s.total_cmp(&b.first_s));
        summary.scenarios_per_s = ratio(summary.scenarios as f64, summary.elapsed_s);
        summary.ops_as_meant = ratio(self.ops_as_meant as f64, summary.ops as f64);
        summary.save(&self.out)
    }
}

/// The claims that a finding contradicts.
fn claims_against(key: &FindingKey) -> Vec<String> {
    let claims = judge::contradicted(key.invariant, &key.diagnosis);
    claims.into_iter().map(|claim| claim.id.clone()).collect()
}

/// 0 where there is nothing to divide by yet.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
