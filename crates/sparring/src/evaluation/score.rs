//! What the answers add up to: for each target, for each fault, and as an exit code.

use std::collections::BTreeMap;
use std::path::Path;

use report::{WriteError, write};
use scenario::Invariant;
use serde::Serialize;

use super::record::{Detection, FILE, Record, Round, Trial};
use crate::exit::Outcome;
use crate::figures::Spread;
use crate::target::Named;

/// The share of the faults that is to be found, each with every seed. It allows for those that need what the chosen
/// flavour or the host does not have, such as a weak memory order.
pub const SHARP: f64 = 0.95;

/// `evaluation.json`: the answers and what they add up to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The answers, which an evaluation that goes on reads again.
    #[serde(flatten)]
    pub record: Record,
    /// A line for each target.
    pub targets: Vec<TargetScore>,
    /// A line for each fault.
    pub faults: Vec<FaultScore>,
    /// Of the faults, the share that was found with every seed, 0.0..=1.0; `None` where none was tried.
    pub sharpness: Option<f64>,
    /// What part of the answer is missing; the evaluation is then no pass.
    pub unfinished: Option<String>,
    /// The exit code.
    pub exit_code: u8,
}

/// Soundness on one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetScore {
    /// The target.
    pub target: String,
    /// Scenarios that were judged.
    pub scenarios: u64,
    /// Scenarios that show a violation, once for each.
    pub violations: u64,
    /// Of the scenarios, the share that could not be judged in full, 0.0..=1.0.
    pub inconclusive: f64,
    /// How many of them for which reason.
    pub doubts: BTreeMap<String, u64>,
    /// Scenarios in a second, boots and replays not counted.
    pub scenarios_per_s: f64,
}

/// Sensitivity to one fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultScore {
    /// The fault.
    pub fault: String,
    /// Seeds that found it.
    pub found: usize,
    /// Seeds.
    pub of: usize,
    /// The invariants that showed it, with any seed.
    pub by: Vec<Seen>,
    /// Scenarios until then: the median, where a seed that finds nothing takes longer than all others. `None` where
    /// that is the median.
    pub scenarios: Option<f64>,
    /// Seconds until then, in the same way.
    pub seconds: Option<f64>,
}

/// An invariant that showed a fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// Which.
    pub invariant: Invariant,
    /// Whether `faults.def` names it.
    pub as_expected: bool,
}

impl Report {
    /// What a record adds up to.
    pub fn new(record: &Record, unfinished: Option<String>) -> Report {
        let mut report = Report {
            targets: groups(&record.rounds, |round| &round.target, target_score),
            faults: groups(&record.trials, |trial| &trial.fault, fault_score),
            record: record.clone(),
            sharpness: None,
            unfinished,
            exit_code: 0,
        };
        let found = report.faults.iter().filter(|fault| fault.found == fault.of).count();
        report.sharpness = (!report.faults.is_empty()).then(|| share(found, report.faults.len()));
        report.exit_code = report.outcome().code();
        report
    }

    /// How the command ends. An oracle that is wrong or blind is no violation: it is the harness that is at fault.
    pub fn outcome(&self) -> Outcome {
        let mut alarms = self.record.rounds.iter().flat_map(|round| {
            round.violations.iter().map(|finding| is_false_alarm(&round.target, finding.invariant))
        });
        let is_sound = alarms.clone().next().is_none();
        if self.record.is_worthless() {
            Outcome::Unfinished
        } else if alarms.any(|is_false| !is_false) {
            Outcome::Violation
        } else if !is_sound || self.unfinished.is_some() || self.is_blunt() {
            Outcome::Unfinished
        } else {
            Outcome::Pass
        }
    }

    /// Whether too many faults were not found.
    pub fn is_blunt(&self) -> bool {
        self.sharpness.is_some_and(|sharpness| sharpness < SHARP)
    }

    /// Writes `evaluation.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, out: &Path) -> Result<(), WriteError> {
        let path = out.join(FILE);
        let json = serde_json::to_string_pretty(self)
            .map_err(|e| WriteError { path: path.clone(), source: e.into() })?;
        write(&path, json + "\n")
    }
}

/// Whether only the oracle can be wrong where a target is said to break the contract: plain TCP cannot, save that the
/// kernel itself complains.
pub fn is_false_alarm(target: &str, invariant: Invariant) -> bool {
    !invariant.is_kernels_word() && target != Named::Reference.to_string()
}

/// The scores of the groups with the same name, in the order in which the names appear.
fn groups<'a, Answer, Score>(
    answers: &'a [Answer],
    name: impl Fn(&'a Answer) -> &'a String,
    score: impl Fn(&str, &[&Answer]) -> Score,
) -> Vec<Score> {
    let mut groups: Vec<(&str, Vec<&Answer>)> = Vec::new();
    for answer in answers {
        match groups.iter_mut().find(|(group, _)| group == name(answer)) {
            Some((_, members)) => members.push(answer),
            None => groups.push((name(answer), vec![answer])),
        }
    }
    groups.iter().map(|(name, members)| score(name, members)).collect()
}

fn target_score(target: &str, rounds: &[&Round]) -> TargetScore {
    let sum = |part: fn(&Round) -> u64| rounds.iter().map(|round| part(round)).sum::<u64>();
    let scenarios = sum(|round| round.scenarios);
    let elapsed_s: f64 = rounds.iter().map(|round| round.elapsed_s).sum();
    let mut doubts = BTreeMap::new();
    for (doubt, count) in rounds.iter().flat_map(|round| &round.doubts) {
        *doubts.entry(doubt.clone()).or_default() += count;
    }
    TargetScore {
        target: target.to_owned(),
        scenarios,
        violations: sum(|round| round.violations.iter().map(|finding| finding.count).sum()),
        inconclusive: ratio(number(sum(|round| round.inconclusive)), number(scenarios)),
        doubts,
        scenarios_per_s: ratio(number(scenarios), elapsed_s),
    }
}

fn fault_score(fault: &str, trials: &[&Trial]) -> FaultScore {
    let found: Vec<&Detection> = trials.iter().filter_map(|trial| trial.found.as_ref()).collect();
    let listed = |invariant| kmod::fault(fault).is_some_and(|f| f.seen_by.contains(&invariant));
    let mut invariants: Vec<Invariant> =
        found.iter().flat_map(|detection| &detection.invariants).copied().collect();
    invariants.sort();
    invariants.dedup();
    let median = |figure: fn(&Detection) -> f64| {
        let figures = trials.iter().map(|trial| trial.found.as_ref().map_or(f64::INFINITY, figure));
        let spread = Spread::of(&figures.collect::<Vec<_>>())?;
        spread.median.is_finite().then_some(spread.median)
    };
    FaultScore {
        fault: fault.to_owned(),
        found: found.len(),
        of: trials.len(),
        by: invariants
            .into_iter()
            .map(|invariant| Seen { invariant, as_expected: listed(invariant) })
            .collect(),
        scenarios: median(|detection| number(detection.scenarios)),
        seconds: median(|detection| detection.seconds),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of scenarios, far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of faults")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// 0 where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
