//! How patient a session is with calls that do not return.

use std::time::Duration;

/// One input in so many keeps all patience, as in a campaign.
const PATIENT: u64 = 16;
/// So many inputs that waited out a bound are no accident any more.
const ACCIDENTS: u32 = 3;
/// What they may take of the time: one part in so many.
const SHARE: u32 = 4;

/// What became of a session's time. On a kernel on which calls hang nearly all of it would go into waiting for them.
#[derive(Debug, Default)]
pub struct Hurry {
    all: Duration,
    waiting: Duration,
    waits: u32,
}

impl Hurry {
    /// Notes an execution. One that lasted for a whole bound may have waited for it to end.
    pub fn note(&mut self, took: Duration, bound: Duration) {
        self.all += took;
        if took >= bound {
            self.waiting += took;
            self.waits += 1;
        }
    }

    /// Whether the input of that number gets less time.
    pub fn is_on(&self, number: u64) -> bool {
        let waits_most = self.waits >= ACCIDENTS && self.waiting * SHARE > self.all;
        waits_most && !number.is_multiple_of(PATIENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(6);
    const QUICK: Duration = Duration::from_millis(20);

    #[test_log::test]
    fn who_waits_most_of_the_time_hurries() {
        let mut hurry = Hurry::default();
        for _ in 0..2 {
            hurry.note(BOUND, BOUND);
        }
        assert!(!hurry.is_on(17), "twice may be an accident");
        hurry.note(BOUND, BOUND);
        assert!(hurry.is_on(17));
        assert!(!hurry.is_on(32));
    }

    #[test_log::test]
    fn who_waits_now_and_then_does_not() {
        let mut hurry = Hurry::default();
        for _ in 0..10 {
            (0..1_000).for_each(|_| hurry.note(QUICK, BOUND));
            hurry.note(BOUND, BOUND);
        }
        assert!(!hurry.is_on(17));
    }
}
