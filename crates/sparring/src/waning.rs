//! A campaign's patience with calls that do not return, which goes once they do that often.

use std::sync::atomic::{AtomicBool, Ordering};

use scenario::{History, Invariant, Verdict, Violation};
use vm::patience::Patience;

/// One scenario in so many keeps all patience: some things show only after a long wait, such as a time limit that is
/// not kept.
const PATIENT: u64 = 16;

/// How patient a campaign is with its next scenario.
///
/// The first scenario that waits out a whole bound and breaks a rule shows that the kernel is one on which that
/// happens. From then on most scenarios are hurried, or nearly all of the time would go into waiting. What a hurried
/// one shows counts only where the short wait cannot have made it: it has not waited out its bound, or it is known
/// already, or wrong bytes came. Else it runs again with all patience, and only that counts.
#[derive(Debug, Default)]
pub struct Waning(AtomicBool);

impl Waning {
    /// What the scenario of that number gets.
    pub fn patience(&self, number: u64) -> Patience {
        if self.0.load(Ordering::Relaxed) && !number.is_multiple_of(PATIENT) {
            Patience::Hurried
        } else {
            Patience::Judging
        }
    }

    /// What a scenario showed, as far as it counts; nothing where it has to run again with all patience.
    pub fn what_counts(
        &self,
        patience: Patience,
        history: &History,
        verdict: Verdict,
        is_known: impl Fn(&Violation) -> bool,
    ) -> Option<Verdict> {
        let is_broken = !verdict.violations().is_empty();
        if patience == Patience::Judging && is_broken && is_long(history) {
            self.0.store(true, Ordering::Relaxed);
        }
        match patience {
            Patience::Hurried => hurried(history, verdict, is_known),
            _ => Some(verdict),
        }
    }
}

/// What a hurried scenario showed, as far as it counts: see [`Waning::what_counts`].
pub fn hurried(
    history: &History,
    verdict: Verdict,
    is_known: impl Fn(&Violation) -> bool,
) -> Option<Verdict> {
    match verdict {
        Verdict::Fail(violations) if is_long(history) => {
            let is_sure =
                |violation: &Violation| is_known(violation) || is_in_the_bytes(violation.invariant);
            let (sure, doubtful): (Vec<_>, Vec<_>) = violations.into_iter().partition(is_sure);
            // rather one thing that may not come again than two
            let counts = doubtful.is_empty() || !sure.iter().all(is_known);
            counts.then_some(Verdict::Fail(sure))
        }
        verdict => Some(verdict),
    }
}

/// Whether a violation of this kind is in what came, however long it took and whatever did not come.
fn is_in_the_bytes(invariant: Invariant) -> bool {
    use Invariant::{ConcurrentRecv, ConcurrentSend, Corrupt, CrossTalk, Duplicate, Order};
    matches!(invariant, Order | Duplicate | Corrupt | CrossTalk | ConcurrentSend | ConcurrentRecv)
}

/// Whether the calls of a scenario together took a bound: else none has waited one out.
fn is_long(history: &History) -> bool {
    let first = history.records.first().map_or(0, |record| record.call_ns);
    let last = history.records.iter().map(|record| record.return_ns).max().unwrap_or(first);
    last.saturating_sub(first) / 1_000_000 >= u64::from(history.bounds.call_ms)
}

#[cfg(test)]
mod tests {
    use scenario::history::{At, Outcome, Record};
    use scenario::payload::Key;
    use scenario::{Endpoint, Op};
    use vm::patience::bounds;

    use super::*;

    /// A history of one call that took so long.
    fn history(patience: Patience, took_ms: u64) -> History {
        let call_ns = 9_000_000_000;
        let record = Record {
            at: At::Step(0),
            lane: Some(0),
            connection: 0,
            endpoint: Endpoint::Client,
            op: Op::Poll,
            call_ns,
            return_ns: call_ns + took_ms * 1_000_000,
            peer_outq: None,
            outcome: Outcome::Stuck,
            cpu_ns: 0,
            ticked_ns: 0,
            touched: 0,
            sigpipe: false,
            interrupted: true,
            copy_differs: None,
        };
        History {
            key: Key::from_seed(1),
            run: 0,
            connections: Vec::new(),
            bounds: bounds(1.0, patience),
            records: vec![record],
            ring_counter: None,
        }
    }

    fn broken(invariants: &[Invariant]) -> Verdict {
        let violation = |invariant: &Invariant| Violation {
            invariant: *invariant,
            diagnosis: "any".to_owned(),
            record: None,
            evidence: String::new(),
        };
        Verdict::Fail(invariants.iter().map(violation).collect())
    }

    /// Notes a scenario of all patience that took so long; what the next ones get.
    fn after(took_ms: u64, verdict: &Verdict) -> (Waning, [Patience; 2]) {
        let waning = Waning::default();
        let history = history(Patience::Judging, took_ms);
        let counts = waning.what_counts(Patience::Judging, &history, verdict.clone(), |_| false);
        assert_eq!(counts.as_ref(), Some(verdict));
        let next = [waning.patience(17), waning.patience(32)];
        (waning, next)
    }

    #[test_log::test]
    fn patience_goes_only_where_a_call_that_broke_a_rule_took_all_of_it() {
        use Patience::{Hurried, Judging};
        let broken = broken(&[Invariant::Hang]);
        assert_eq!(Waning::default().patience(17), Judging);
        assert_eq!(after(3_999, &broken).1, [Judging; 2]);
        assert_eq!(after(4_000, &Verdict::Pass).1, [Judging; 2]);
        assert_eq!(after(4_000, &broken).1, [Hurried, Judging]);
    }

    #[test_log::test]
    fn what_a_short_wait_may_have_made_runs_again_with_all_patience() {
        use Invariant::{Duplicate, Hang, Stall};
        let (waning, _) = after(4_000, &broken(&[Hang]));
        let counts = |took_ms, shown: &[Invariant], known: &[Invariant]| {
            let history = history(Patience::Hurried, took_ms);
            let is_known = |violation: &Violation| known.contains(&violation.invariant);
            waning.what_counts(Patience::Hurried, &history, broken(shown), is_known)
        };
        assert_eq!(counts(500, &[Hang], &[]), None);
        assert_eq!(counts(500, &[Hang, Stall], &[Hang]), None);
        for (took_ms, shown, known, what) in [
            (500, &[Hang][..], &[Hang][..], &[Hang][..]), // it is known
            (499, &[Hang], &[], &[Hang]),                 // it has not waited
            (500, &[Hang, Duplicate], &[Hang], &[Hang, Duplicate]),
            (500, &[Stall, Duplicate], &[], &[Duplicate]),
        ] {
            assert_eq!(counts(took_ms, shown, known), Some(broken(what)), "{took_ms} {shown:?}");
        }
        let pass = waning.what_counts(
            Patience::Hurried,
            &history(Patience::Hurried, 500),
            Verdict::Pass,
            |_| false,
        );
        assert_eq!(pass, Some(Verdict::Pass));
    }
}
