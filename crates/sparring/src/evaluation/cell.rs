//! The campaigns that an evaluation is made of.

use std::fmt;

use clap::ValueEnum;
use kmod::Fault;

use crate::target::Named;

/// The fault that no build may miss: most scenarios that fill a ring show it.
const CANARY: &str = "wrap_twice";
/// The seed it is looked for with; the others find it as well, a little later.
const CANARY_SEED: u64 = 1;
/// Targets on which there is nothing to find.
const SOUND: [Named; 3] = [Named::Plain, Named::PlainInSockhash, Named::Reference];
/// Most scenarios of a round: some minutes, which is what an interruption may cost.
const ROUND: u64 = 20_000;

/// What may be evaluated alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// No violation where there is none.
    Soundness,
    /// Every planted fault is found.
    Sensitivity,
}

/// One campaign of an evaluation.
#[derive(Clone, Debug)]
pub enum Cell {
    /// A fault that must be found, else nothing that the evaluation says is worth anything.
    Canary,
    /// Scenarios on a target that keeps the contract.
    Round {
        /// The target.
        target: Named,
        /// The campaign's.
        seed: u64,
        /// How many.
        scenarios: u64,
    },
    /// A campaign on the reference with a fault, up to its first finding.
    Trial {
        /// What is to be found.
        fault: &'static Fault,
        /// The campaign's.
        seed: u64,
    },
}

/// The canary.
///
/// # Panics
/// If there is no such fault, which a test rules out.
pub fn canary() -> &'static Fault {
    kmod::fault(CANARY).expect("a test looks for it")
}

/// Every cell, the canary first. Each fault is tried once before one is tried again, so that an evaluation that is
/// interrupted has seen all of them.
pub fn cells(
    only: Option<Part>,
    scenarios: u64,
    faults: &[&'static Fault],
    first_seed: u64,
    seeds: u64,
) -> Vec<Cell> {
    let mut cells = vec![Cell::Canary];
    if only != Some(Part::Sensitivity) {
        for target in SOUND {
            let rounds = (0..scenarios).step_by(usize::try_from(ROUND).unwrap_or(usize::MAX));
            cells.extend(rounds.zip(first_seed..).map(|(begun, seed)| Cell::Round {
                target,
                seed,
                scenarios: ROUND.min(scenarios - begun),
            }));
        }
    }
    if only != Some(Part::Soundness) {
        for seed in first_seed..first_seed + seeds {
            cells.extend(faults.iter().map(|&fault| Cell::Trial { fault, seed }));
        }
    }
    cells
}

impl Cell {
    /// The directory of its campaign, below that of the evaluation.
    pub fn folder(&self) -> String {
        match self {
            Cell::Canary => "canary".to_owned(),
            Cell::Round { target, seed, .. } => format!("{target}-{seed}"),
            Cell::Trial { fault, seed } => format!("fault-{}-{seed}", fault.name),
        }
    }

    /// The seed of its campaign.
    pub fn seed(&self) -> u64 {
        match self {
            Cell::Canary => CANARY_SEED,
            Cell::Round { seed, .. } | Cell::Trial { seed, .. } => *seed,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Canary => write!(f, "canary, fault {CANARY}")?,
            Cell::Round { target, .. } => write!(f, "{target}")?,
            Cell::Trial { fault, .. } => write!(f, "fault {}", fault.name)?,
        }
        write!(f, ", seed {}", self.seed())
    }
}
