//! Coverage that does not come again is not worth an entry in the corpus.
//!
//! Which code a race reaches changes from run to run. Were each such change news, the corpus would fill with inputs that
//! show nothing any more. So what an execution reaches whose calls may overlap counts from the second time on that any
//! execution of this process reaches it, and one that reaches something which does not count yet is repeated at once: what
//! is stable counts immediately, what is not has to come back on another occasion. Where every call begins after the one
//! before has returned, only timers are left to chance, and everything counts at once.

/// Something that can be reached, and how often an execution did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its number.
    pub what: u32,
    /// How often; at least 1.
    pub times: u8,
}

/// How often everything was reached.
#[derive(Debug)]
pub struct Damper {
    /// By number: never, once, or more often.
    executions: Vec<u8>,
}

impl Damper {
    /// Knows so many things, none of which was reached.
    #[must_use]
    pub fn new(things: u32) -> Damper {
        Damper { executions: vec![0; things as usize] }
    }

    /// Notes an execution, whose calls may overlap or not, that reached each of these once or more. Whether there is
    /// something among them that does not count yet: then it is to be repeated, and the repetition noted, too.
    pub fn note(&mut self, reached: &[Reached], may_overlap: bool) -> bool {
        let mut is_news = false;
        for Reached { what, .. } in reached {
            let executions = &mut self.executions[*what as usize];
            *executions = if may_overlap { executions.saturating_add(1).min(2) } else { 2 };
            is_news |= *executions < 2;
        }
        is_news
    }

    /// Whether it counts.
    #[must_use]
    pub fn counts(&self, reached: Reached) -> bool {
        self.executions[reached.what as usize] >= 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(what: &[u32]) -> Vec<Reached> {
        what.iter().map(|what| Reached { what: *what, times: 1 }).collect()
    }

    fn counting(damper: &Damper) -> Vec<u32> {
        (0..10).filter(|what| damper.counts(Reached { what: *what, times: 1 })).collect()
    }

    #[test_log::test]
    fn what_both_executions_reach_counts_at_once() {
        let mut damper = Damper::new(10);
        assert!(damper.note(&reached(&[1, 2, 3]), true));
        assert!(counting(&damper).is_empty());
        // the repetition takes another way
        assert!(damper.note(&reached(&[1, 2, 4]), true));
        assert_eq!(counting(&damper), [1, 2]);
    }

    #[test_log::test]
    fn what_comes_again_later_counts_from_then_on() {
        let mut damper = Damper::new(10);
        damper.note(&reached(&[3]), true);
        damper.note(&reached(&[4]), true);
        assert!(!damper.note(&reached(&[3]), true), "nothing is left to be confirmed");
        assert_eq!(counting(&damper), [3]);
    }

    #[test_log::test]
    fn what_counts_already_is_not_repeated() {
        let mut damper = Damper::new(10);
        damper.note(&reached(&[1]), true);
        damper.note(&reached(&[1]), true);
        assert!(!damper.note(&reached(&[1]), true));
        assert!(!damper.note(&[], true));
        assert!(damper.note(&reached(&[1, 2]), true));
    }

    #[test_log::test]
    fn what_no_overlap_explains_counts_at_once() {
        let mut damper = Damper::new(10);
        assert!(!damper.note(&reached(&[1]), false));
        assert_eq!(counting(&damper), [1]);
        assert!(damper.note(&reached(&[1, 2]), true));
        assert_eq!(counting(&damper), [1]);
    }
}
