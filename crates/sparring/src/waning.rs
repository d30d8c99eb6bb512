//! A campaign's patience with calls that do not return, which goes once they do that often.

use std::sync::atomic::{AtomicBool, Ordering};

use scenario::{History, Verdict};
use vm::patience::Patience;

/// One scenario in so many keeps all patience: some things show only after a long wait, such as a time limit that is
/// not kept.
const PATIENT: u64 = 16;

/// How patient a campaign is with its next scenario.
///
/// The first scenario that waits out a whole bound and breaks a rule shows that the kernel is one on which that
/// happens. From then on most scenarios are hurried, or nearly all of the time would go into waiting. What a hurried
/// one shows counts only where waiting cannot have made it: it has not waited out its bound, or has shown nothing
/// but what is known already. Else it runs again with all patience, and only that counts.
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

    /// Whether what a scenario showed does not count, so that it has to run again with all patience. `is_new` says
    /// whether it broke a rule in a way that is not known.
    pub fn wants_again(
        &self,
        patience: Patience,
        history: &History,
        verdict: &Verdict,
        is_new: bool,
    ) -> bool {
        let is_long = waited(history) >= u64::from(history.bounds.call_ms);
        if is_long && patience == Patience::Judging && !verdict.violations().is_empty() {
            self.0.store(true, Ordering::Relaxed);
        }
        is_long && is_new && patience == Patience::Hurried
    }
}

/// How long the calls of a scenario took together, in milliseconds: one that took less than a bound has not waited one
/// out.
fn waited(history: &History) -> u64 {
    let first = history.records.first().map_or(0, |record| record.call_ns);
    let last = history.records.iter().map(|record| record.return_ns).max().unwrap_or(first);
    last.saturating_sub(first) / 1_000_000
}

#[cfg(test)]
mod tests {
    use scenario::history::{At, Outcome, Record};
    use scenario::payload::Key;
    use scenario::{Endpoint, Invariant, Op, Violation};
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

    fn broken() -> Verdict {
        let (diagnosis, evidence) = ("any".to_owned(), String::new());
        Verdict::Fail(vec![Violation {
            invariant: Invariant::Hang,
            diagnosis,
            record: None,
            evidence,
        }])
    }

    /// Notes a scenario of all patience that took so long; what the next ones get.
    fn after(took_ms: u64, verdict: &Verdict) -> (Waning, [Patience; 2]) {
        let waning = Waning::default();
        let history = history(Patience::Judging, took_ms);
        assert!(!waning.wants_again(Patience::Judging, &history, verdict, true));
        let next = [waning.patience(17), waning.patience(32)];
        (waning, next)
    }

    #[test_log::test]
    fn patience_goes_only_where_a_call_that_broke_a_rule_took_all_of_it() {
        use Patience::{Hurried, Judging};
        assert_eq!(Waning::default().patience(17), Judging);
        assert_eq!(after(3_999, &broken()).1, [Judging; 2]);
        assert_eq!(after(4_000, &Verdict::Pass).1, [Judging; 2]);
        assert_eq!(after(4_000, &broken()).1, [Hurried, Judging]);
    }

    #[test_log::test]
    fn what_is_new_after_a_short_wait_runs_again_with_all_patience() {
        let (waning, _) = after(4_000, &broken());
        let wants_again = |patience, took_ms, is_new| {
            waning.wants_again(patience, &history(patience, took_ms), &broken(), is_new)
        };
        assert!(wants_again(Patience::Hurried, 500, true));
        assert!(!wants_again(Patience::Hurried, 500, false), "it is known");
        assert!(!wants_again(Patience::Hurried, 499, true), "it has not waited");
        assert!(!wants_again(Patience::Judging, 4_000, true));
    }
}
