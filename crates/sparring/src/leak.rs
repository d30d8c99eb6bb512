//! How a machine is checked for leaks, and what a checkup says about them.

use scenario::{Invariant, Violation};
use vm::splat::{Splat, SplatKind};
use vm::wire::{Checkup, Depth, Stock};

use crate::ledger::{Ledger, Measure};

/// Scenarios between two glances at the counters of a target that has some: what left something behind is then among
/// the last ones.
pub const GLANCE_EVERY: usize = 16;
/// What must grow in a campaign: much with few scenarios, so that a machine that does not live long is checked, too, or
/// less with more.
const CAMPAIGN: Measure = Measure { stocks: 5, scenarios: 16, least: 8, one_in: 16 };
/// Scenarios between two stocks in the long run: one costs some tenths of a second.
const STOCK_SELDOM: u64 = 1_024;

/// How far a machine was checked for leaks.
#[derive(Debug)]
pub struct Checks {
    watched: Watched,
    /// Scenarios that were given to it since its counters were asked for.
    since_glance: usize,
    /// Scenarios that were given to it since its stock was taken.
    since_stock: u64,
    /// After how many it is taken.
    stock_every: u64,
    /// Answers that are still to come.
    asked: u32,
    /// Something is left: more of it would say nothing new.
    leaked: bool,
    /// Its memory was searched.
    searched: bool,
    ledger: Ledger,
    /// What the kernel held when it was asked last.
    stock: Option<Stock>,
}

/// Which checks are worth their time before the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watched {
    /// The target has counters to glance at.
    pub counters: bool,
    /// There will be enough scenarios to see something grow.
    pub stocks: bool,
}

impl Checks {
    /// Of a machine that has run nothing.
    pub fn new(watched: Watched) -> Checks {
        Checks {
            watched,
            since_glance: 0,
            since_stock: 0,
            stock_every: CAMPAIGN.scenarios,
            asked: 0,
            leaked: false,
            searched: false,
            ledger: Ledger::default(),
            stock: None,
        }
    }

    /// Counts a scenario that was given to the machine. Gives the check that is due.
    pub fn given(&mut self) -> Option<Depth> {
        self.since_glance += 1;
        self.since_stock += 1;
        if self.leaked {
            None
        } else if self.watched.stocks && self.since_stock >= self.stock_every {
            Some(Depth::Stock)
        } else {
            let is_due = self.watched.counters && self.since_glance >= GLANCE_EVERY;
            is_due.then_some(Depth::Glance)
        }
    }

    /// Notes that the machine is asked.
    pub fn ask(&mut self, depth: Depth) {
        self.since_glance = 0;
        if depth >= Depth::Stock {
            self.since_stock = 0;
        }
        self.asked += 1;
        self.searched |= depth == Depth::Memory;
    }

    /// Whether an answer is still to come.
    pub fn is_asked(&self) -> bool {
        self.asked > 0
    }

    /// Whether its memory was searched.
    pub fn is_searched(&self) -> bool {
        self.searched
    }

    /// Whether something is left on this machine that the next scenarios have nothing to do with.
    pub fn has_leaked(&self) -> bool {
        self.leaked
    }

    /// What the kernel held when it was asked last, told once.
    pub fn take_stock(&mut self) -> Option<Stock> {
        self.stock.take()
    }

    /// The violations that an answer shows after so many scenarios, each with the kernel's words about it. What is left
    /// stays, and is told once.
    pub fn answered(&mut self, ran: u64, checkup: &Checkup) -> Vec<(Violation, String)> {
        self.asked = self.asked.saturating_sub(1);
        let mut found: Vec<_> =
            left(checkup).map(|left| (left, String::new())).into_iter().collect();
        if let Some(stock) = &checkup.stock {
            if self.watched.stocks {
                self.ledger.enter(ran, stock.clone(), &CAMPAIGN);
                if ran >= CAMPAIGN.scenarios * CAMPAIGN.stocks as u64 {
                    self.stock_every = STOCK_SELDOM.min(self.stock_every * 2);
                }
            }
            self.stock = Some(stock.clone());
            let growth = self.ledger.growth(&CAMPAIGN).filter(|_| found.is_empty());
            found.extend(growth.map(|growth| (growth.violation(), String::new())));
        }
        if self.leaked {
            found.clear();
        }
        self.leaked |= !found.is_empty();
        found.extend(suspected(checkup));
        found
    }
}

/// What the target's own counters show.
fn left(checkup: &Checkup) -> Option<Violation> {
    let pairs = checkup.pairs?;
    let evidence = format!(
        "with every socket closed, and after some seconds, {} pairs and {} bytes are left by the target's own counters",
        pairs.alive, pairs.memory
    );
    if pairs.alive > 0 {
        Some(leak(Invariant::LeakObject, "pairs-outlive-their-sockets", evidence))
    } else {
        let left = pairs.memory > 0;
        left.then(|| leak(Invariant::LeakMemory, "memory-outlives-its-pair", evidence))
    }
}

/// What kmemleak found, with its words.
fn suspected(checkup: &Checkup) -> Option<(Violation, String)> {
    let text = checkup.suspects.as_ref().filter(|text| !text.is_empty())?;
    let suspects = text.lines().filter(|line| line.starts_with("unreferenced object")).count();
    let evidence = format!(
        "with every socket closed, kmemleak finds {suspects} objects that nothing refers to"
    );
    Some((leak(Invariant::LeakMemory, "suspected-by-kmemleak", evidence), text.clone()))
}

/// Whether it only announces what a checkup reads in full (`kmemleak_scan()` in `mm/kmemleak.c`).
pub fn is_announcement(splat: &Splat) -> bool {
    splat.kind == SplatKind::Leak && splat.headline.starts_with("kmemleak: ")
}

fn leak(invariant: Invariant, diagnosis: &str, evidence: String) -> Violation {
    Violation { invariant, diagnosis: diagnosis.to_owned(), record: None, evidence }
}

#[cfg(test)]
mod tests {
    use vm::wire::Pairs;

    use super::*;

    fn found(checkup: &Checkup) -> Vec<(Invariant, String)> {
        let name = |(violation, _): (Violation, String)| (violation.invariant, violation.diagnosis);
        Checks::new(Watched::default()).answered(0, checkup).into_iter().map(name).collect()
    }

    #[test_log::test]
    fn nothing_left_is_no_leak() {
        assert_eq!(found(&Checkup::default()), []);
        let clean = Checkup {
            pairs: Some(Pairs::default()),
            suspects: Some(String::new()),
            ..Checkup::default()
        };
        assert_eq!(found(&clean), []);
    }

    #[test_log::test]
    fn pairs_and_memory_that_are_left_are_told_apart() {
        let left =
            |alive, memory| Checkup { pairs: Some(Pairs { alive, memory }), ..Checkup::default() };
        let object = (Invariant::LeakObject, "pairs-outlive-their-sockets".to_owned());
        assert_eq!(found(&left(1, 32_768)), [object]);
        let memory = (Invariant::LeakMemory, "memory-outlives-its-pair".to_owned());
        assert_eq!(found(&left(0, 32_768)), [memory]);
    }

    #[test_log::test]
    fn stocks_are_taken_often_at_first_and_seldom_later() {
        let mut checks = Checks::new(Watched { counters: false, stocks: true });
        let mut taken = Vec::new();
        for ran in 1..10_000 {
            if let Some(depth) = checks.given() {
                assert_eq!(depth, Depth::Stock);
                checks.ask(depth);
                taken.push(ran);
                let stock = Some(Stock::default());
                checks.answered(ran, &Checkup { stock, ..Checkup::default() });
            }
        }
        let first = [16, 32, 48, 64, 80, 112, 176, 304, 560, 1_072, 2_096, 3_120];
        assert_eq!(taken[..12], first);
        assert_eq!(taken.len(), 18);
    }

    #[test_log::test]
    fn what_is_left_is_told_once_and_not_looked_for_again() {
        let mut checks = Checks::new(Watched { counters: true, stocks: true });
        let glances = (0..GLANCE_EVERY).filter_map(|_| checks.given()).count();
        assert_eq!(glances, 1);
        let pairs = Some(Pairs { alive: 1, memory: 32_768 });
        let checkup = Checkup { pairs, ..Checkup::default() };
        assert_eq!(checks.answered(1, &checkup).len(), 1);
        assert_eq!(checks.answered(2, &checkup).len(), 0);
        assert!(checks.has_leaked());
        assert!((0..1_000).all(|_| checks.given().is_none()));
    }

    #[test_log::test]
    fn what_kmemleak_suspects_is_counted_and_shown() {
        let text = "unreferenced object 0xffff888003a1c000 (size 64):\n  comm \"sparring-agent\"\n\
                    unreferenced object 0xffff888003a1c100 (size 64):\n  comm \"sparring-agent\"\n";
        let checkup = Checkup { suspects: Some(text.into()), ..Checkup::default() };
        let [(violation, console)] = &Checks::new(Watched::default()).answered(0, &checkup)[..]
        else {
            panic!("not one")
        };
        assert_eq!(violation.invariant, Invariant::LeakMemory);
        assert!(violation.evidence.contains("finds 2 objects"), "{}", violation.evidence);
        assert_eq!(console, text);
    }
}
