//! `summary.json`: a campaign in numbers.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::file::{WriteError, write};
use crate::finding::Finding;

/// A campaign in numbers. It is rewritten while the campaign runs, so that a killed one leaves its last state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The kernel target.
    pub target: String,
    /// `uname -r` of the kernel under test.
    pub kernel_release: String,
    /// The contract it was judged by, with what was allowed in addition.
    pub contract: String,
    /// The seed of the campaign.
    pub seed: u64,
    /// `kvm` or `tcg`.
    pub accel: String,
    /// VMs that ran at the same time.
    pub jobs: usize,
    /// Scenarios that were judged.
    pub scenarios: u64,
    /// Of these, how many could not be judged in full, and why.
    pub inconclusive: u64,
    /// `inconclusive` by reason.
    pub doubts: std::collections::BTreeMap<String, u64>,
    /// Scenarios with a pair that was paired.
    pub paired: u64,
    /// Scenarios whose ops overlap.
    pub overlapping: u64,
    /// Scenarios with more than one pair.
    pub several_pairs: u64,
    /// Scenarios over a wire between two network namespaces.
    pub over_a_wire: u64,
    /// Ops of the scenarios that were judged.
    pub ops: u64,
    /// Of these, the share that ran as meant, 0.0..=1.0: that did not bounce off a socket which was closed, or not in
    /// the state for it.
    pub ops_as_meant: f64,
    /// Seconds from the first scenario to the last, without boot, shrinking and replays.
    pub elapsed_s: f64,
    /// `scenarios / elapsed_s`.
    pub scenarios_per_s: f64,
    /// Bytes that took the ring.
    pub ring_bytes: u64,
    /// Bytes that took TCP.
    pub tcp_bytes: u64,
    /// Kernel PCs covered; `None` where coverage was not recorded.
    pub covered_pcs: Option<u64>,
    /// The findings, in the order of their first appearance.
    pub findings: Vec<Finding>,
    /// Violations dropped because the contract or `--allow` exempts them.
    pub exempted: u64,
    /// Seconds from the start of QEMU until the agent answered, of the first boot.
    pub boot_s: f64,
    /// Machines that had to be started again.
    pub vm_restarts: u64,
    /// Why, one line each (the first few).
    pub restart_reasons: Vec<String>,
    /// Scenarios that could not be run; says nothing about the kernel.
    pub broken: u64,
    /// What part of the answer is missing; a campaign without findings is then no pass.
    pub unfinished: Option<String>,
    /// Whether the campaign reached its end; `false` while it runs and after an interruption.
    pub finished: bool,
    /// The exit code of the command, as far as it is known.
    pub exit_code: u8,
}

impl Summary {
    /// Writes `summary.json` into `directory`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), WriteError> {
        let path = directory.join("summary.json");
        let json = serde_json::to_string_pretty(self)
            .map_err(|e| WriteError { path: path.clone(), source: e.into() })?;
        write(&path, json + "\n")
    }

    /// The part of the payload that took the ring, 0.0..=1.0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
    pub fn ring_share(&self) -> f64 {
        match self.ring_bytes + self.tcp_bytes {
            0 => 0.0,
            all => self.ring_bytes as f64 / all as f64,
        }
    }
}
