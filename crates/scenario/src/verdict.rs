//! What a judge says about a run.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

/// The invariants of the contract, by the names that reports, options and finding folders use.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "each is one row of the contract, which the judge's modules document"
)]
pub enum Invariant {
    // stream
    Order,
    Loss,
    Duplicate,
    Corrupt,
    CrossTalk,
    EarlyEof,
    ConcurrentSend,
    ConcurrentRecv,
    // calls
    SendResult,
    SendToDead,
    RecvResult,
    Peek,
    Waitall,
    Dontwait,
    Trunc,
    Oob,
    ZeroLength,
    Efault,
    Rcvlowat,
    Timeout,
    Signal,
    Vectored,
    SpliceFile,
    Zerocopy,
    Cork,
    // readiness and counters
    Readiness,
    Wakeup,
    Inq,
    Outq,
    Backpressure,
    // teardown
    HalfClose,
    ShutRd,
    CloseEof,
    CloseRst,
    Reset,
    ResetOnce,
    Disconnect,
    Stall,
    Hang,
    Spin,
    // kernel health
    LeakMemory,
    LeakObject,
    Splat,
    Panic,
    // pairing
    PairResult,
    Engaged,
}

impl Invariant {
    /// Whether the kernel itself says that it is broken. Of everything else, leaks among it, the oracle does, which may be
    /// wrong where nothing is paired.
    #[must_use]
    pub fn is_kernels_word(self) -> bool {
        matches!(self, Invariant::Splat | Invariant::Panic)
    }
}

/// A broken invariant with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which rule was broken.
    pub invariant: Invariant,
    /// How it was broken: a short fixed phrase in kebab case, the same for every run that breaks the same
    /// way. Findings are told apart by invariant and diagnosis, so it holds no number and no offset.
    pub diagnosis: String,
    /// The record of the history that showed it.
    pub record: Option<usize>,
    /// What was seen and what the contract allows, for a person to read.
    pub evidence: String,
}

/// Why a run could not be judged in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Doubt {
    /// A blocking call was still waiting when its bound ran out, and nothing says that it had to return.
    CallStillWaiting,
    /// Urgent data was sent so far ahead of the reader that the 16-bit urgent pointer cannot name it.
    UrgentPointerRange,
    /// Bytes were still unacknowledged when the finale's bound ran out.
    DrainBound,
    /// A lane used a socket while another lane was connecting it anew, so that nobody knows which connection it used.
    RacedReconnect,
    /// An earlier violation left no model to judge the rest by.
    AfterViolation,
}

/// What the oracle concludes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Everything that happened is allowed.
    Pass,
    /// Something that happened is not. Never empty.
    Fail(Vec<Violation>),
    /// Nothing forbidden was seen, but part of the run could not be judged.
    Inconclusive(Doubt),
    /// The run does not apply to this target.
    Skip(String),
    /// The harness broke; says nothing about the kernel.
    Error(String),
}

impl Verdict {
    /// The violations, if any.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        match self {
            Verdict::Fail(violations) => violations,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator as _;

    #[test_log::test]
    fn the_id_of_an_invariant_is_the_same_in_text_and_json() {
        for invariant in Invariant::iter() {
            let id = invariant.to_string();
            assert_eq!(id.parse(), Ok(invariant));
            assert_eq!(serde_json::to_value(invariant).ok(), Some(id.into()));
        }
    }
}
