//! Plain TCP on the kernel under test: what a scenario does without pairing.

use judge::Contract;
use report::{FindingKey, Plain};
use scenario::{Scenario, Verdict};
use vm::patience::Patience;
use vm::wire::Pairing;

use crate::confirm::{is_crash, is_leak};
use crate::exit::Failure;
use crate::guest::Spec;
use crate::replay::Replay;
use crate::runner::Runner;
use crate::target::Target;

/// A second machine with the same kernel, on which nothing is paired. It boots with its first scenario.
pub struct PlainTcp(Replay);

impl PlainTcp {
    /// Beside the machine that replays findings of a target, and as patient; `None` where that does not pair either.
    ///
    /// No module is loaded: what an implementation brings with it is under test, and may show without being asked.
    pub fn beside(target: &Target, replays: &Spec, patience: Patience) -> Option<PlainTcp> {
        if target.pairing == Pairing::None {
            return None;
        }
        let mut spec = replays.clone();
        spec.plan.modules.clear();
        spec.plan.counters = None;
        spec.plan.pairing = Pairing::None;
        spec.reference = None;
        spec.machine.console_log.set_extension("plain.log");
        Some(PlainTcp(Replay::new(Runner::new(spec), Contract::tcp(), patience)))
    }

    /// Runs the scenario of findings once. `None` where it cannot be run or judged, and for leaks: one run shows none.
    ///
    /// # Errors
    /// When no machine can be had.
    pub fn run(
        &mut self,
        keys: &[FindingKey],
        scenario: &Scenario,
    ) -> Result<Option<Plain>, Failure> {
        if keys.iter().all(is_leak) {
            return Ok(None);
        }
        let mut scenario = scenario.clone();
        // what the author of a scenario expects of a pair is no rule for TCP
        scenario.steps.iter_mut().for_each(|step| step.expect = None);
        let mut replayed = self.0.attempt(&scenario)?;
        if keys.iter().any(is_crash) {
            replayed.crashes.extend(self.0.settle()?.crashes);
        }
        if let Some(reason) = &replayed.broken {
            tracing::warn!("nothing is known of plain TCP: {reason}");
            return Ok(None);
        }
        let violations = replayed.violations().cloned().collect();
        let doubt = match &replayed.judged {
            Some((Verdict::Inconclusive(doubt), _)) => Some(*doubt),
            _ => None,
        };
        let history = replayed.judged.map(|(_, history)| history);
        Ok(Some(Plain { history, violations, doubt }))
    }

    /// Ends the machine.
    pub fn stop(&mut self) {
        self.0.stop();
    }
}
