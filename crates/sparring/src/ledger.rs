//! Whether what the kernel holds grows with the scenarios.
//!
//! Caches fill, and some are emptied now and then; networks are made when a scenario needs them first. None of that
//! grows from stock to stock by so much per scenario, however long one looks; what is never given back does.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use scenario::{Invariant, Violation};
use vm::wire::{Holding, Stock};

/// Bytes that count as much as an object: a page, as nothing that is counted in bytes comes in less.
const BYTES: u64 = 4_096;
/// How many growing things evidence names.
const NAMED: usize = 6;

/// What it means that something grows. The first of several is what the others come with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Sockets,
    Entries,
    Modules,
    Memory,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Sockets, Kind::Entries, Kind::Modules, Kind::Memory];

    fn of(what: &Holding) -> Kind {
        match what {
            // the slab caches of struct proto are named after the protocols (proto_register())
            Holding::Slab(name) if name == "TCP" || name == "TCPv6" => Kind::Sockets,
            Holding::MapEntries => Kind::Entries,
            Holding::Module(_) => Kind::Modules,
            Holding::Slab(_) | Holding::PerCpu | Holding::Pages => Kind::Memory,
        }
    }

    fn invariant(self) -> Invariant {
        match self {
            Kind::Sockets | Kind::Memory => Invariant::LeakMemory,
            Kind::Entries | Kind::Modules => Invariant::LeakObject,
        }
    }

    fn diagnosis(self) -> &'static str {
        match self {
            Kind::Sockets => "sockets-outlive-their-scenario",
            Kind::Entries => "map-entries-outlive-their-scenario",
            Kind::Modules => "module-references-outlive-their-scenario",
            Kind::Memory => "kernel-memory-outlives-its-scenario",
        }
    }
}

/// When something grows with the scenarios.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// From so many stocks in a row, each to the next.
    pub stocks: usize,
    /// With so many scenarios or more between two.
    pub scenarios: u64,
    /// By so many sockets, entries or references at least: none of these is ever kept for later. Of other memory, of
    /// which the kernel and the guest's own processes keep some, [`OTHER`] times as much.
    pub least: u64,
    /// And by one in so many scenarios.
    pub one_in: u64,
}

/// See [`Measure::least`].
const OTHER: u64 = 8;
/// The slab cache of network namespaces. The executor keeps those that it makes.
const NAMESPACES: &str = "net_namespace";
/// Objects or pages of any kind that one may bring along: twice as many as its files in sysfs, which are the most.
const PER_NAMESPACE: u64 = 256;

/// Stocks of one machine and when they were taken.
#[derive(Debug, Default)]
pub struct Ledger(Vec<(u64, Stock)>);

impl Ledger {
    /// Enters the stock after so many scenarios of this machine, unless there were too few since the last one.
    pub fn enter(&mut self, ran: u64, stock: Stock, measure: &Measure) {
        if self.0.last().is_some_and(|(last, _)| ran < last + measure.scenarios) {
            return;
        }
        self.0.push((ran, stock));
        if self.0.len() > measure.stocks {
            self.0.remove(0);
        }
    }

    /// What grew steadily, if anything did.
    pub fn growth(&self, measure: &Measure) -> Option<Growth> {
        let [(first, before), .., (last, after)] = &self.0[..] else { return None };
        if self.0.len() < measure.stocks {
            return None;
        }
        let grows = |what: &Holding| {
            self.0.windows(2).all(|pair| {
                let [(then, before), (now, after)] = pair else { return false };
                let least = measure.least.max((now - then).div_ceil(measure.one_in));
                has_grown(what, before, after, least)
            })
        };
        let grown: BTreeMap<Holding, (u64, u64)> = after
            .0
            .iter()
            .filter(|(what, _)| before.0.contains_key(what) && grows(what))
            .map(|(what, now)| (what.clone(), (before.0[what], *now)))
            .collect();
        (!grown.is_empty()).then_some(Growth {
            scenarios: last - first,
            stocks: self.0.len(),
            grown,
        })
    }
}

/// Whether it grew by so much at least, and by more than the namespaces bring along that were made meanwhile.
fn has_grown(what: &Holding, before: &Stock, after: &Stock, least: u64) -> bool {
    let least = if Kind::of(what) == Kind::Memory {
        let namespaces = grown(&Holding::Slab(NAMESPACES.to_owned()), before, after);
        least * OTHER + namespaces * PER_NAMESPACE
    } else {
        least
    };
    grown(what, before, after) >= least
}

/// Of what a diagnosis is about, what grew most.
pub fn fastest(diagnosis: &str, before: &Stock, after: &Stock) -> Option<Holding> {
    let named = after.0.keys().filter(|what| Kind::of(what).diagnosis() == diagnosis);
    named.max_by_key(|what| grown(what, before, after)).cloned()
}

/// By how much it grew.
pub fn grown(what: &Holding, before: &Stock, after: &Stock) -> u64 {
    weight(what, after).saturating_sub(weight(what, before))
}

/// How much of something there is, with what comes in bytes counted in pages.
fn weight(what: &Holding, stock: &Stock) -> u64 {
    let amount = stock.0.get(what).copied().unwrap_or(0);
    if is_in_bytes(what) { amount / BYTES } else { amount }
}

fn is_in_bytes(what: &Holding) -> bool {
    matches!(what, Holding::PerCpu | Holding::Pages)
}

/// What grew from the first stock to the last.
#[derive(Debug, PartialEq, Eq)]
pub struct Growth {
    scenarios: u64,
    stocks: usize,
    /// What there was at first and in the end.
    grown: BTreeMap<Holding, (u64, u64)>,
}

impl Growth {
    /// The one violation that this is: one leak makes several things grow, since what is leaked holds others.
    pub fn violation(&self) -> Violation {
        let kind = self.grown.keys().map(Kind::of).min().unwrap_or(Kind::Memory);
        let evidence = format!(
            "with every socket closed, the kernel holds more at each of {} stocks in a row; over {} scenarios: {}",
            self.stocks,
            self.scenarios,
            self.list()
        );
        Violation {
            invariant: kind.invariant(),
            diagnosis: kind.diagnosis().to_owned(),
            record: None,
            evidence,
        }
    }

    /// What grew, most important first and then by how much.
    fn list(&self) -> String {
        let mut grown: Vec<_> = self.grown.iter().collect();
        let by = |(what, (before, after)): &(&Holding, &(u64, u64))| {
            let amount = after - before;
            let weight = if is_in_bytes(what) { amount / BYTES } else { amount };
            (Kind::of(what), Reverse(weight))
        };
        grown.sort_by_key(by);
        let named = grown
            .iter()
            .take(NAMED)
            .map(|(what, (before, after))| format!("{} {before} -> {after}", name(what)));
        let mut text = named.collect::<Vec<_>>().join(", ");
        if grown.len() > NAMED {
            text += &format!(" and {} more", grown.len() - NAMED);
        }
        text
    }
}

fn name(what: &Holding) -> String {
    match what {
        Holding::Slab(name) => format!("objects in slab cache {name}"),
        Holding::MapEntries => "entries of the SOCKHASH".to_owned(),
        Holding::Module(name) => format!("references on module {name}"),
        Holding::PerCpu => "bytes of per-cpu memory".to_owned(),
        Holding::Pages => "bytes of pages".to_owned(),
    }
}

/// Whether a diagnosis is that of something that grows, so that it takes many runs to see it.
pub fn is_growth(diagnosis: &str) -> bool {
    Kind::ALL.iter().any(|kind| kind.diagnosis() == diagnosis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure = Measure { stocks: 4, scenarios: 100, least: 10, one_in: 10 };

    fn slab(name: &str) -> Holding {
        Holding::Slab(name.to_owned())
    }

    /// What grew in a history of stocks, one each 100 scenarios.
    fn growth(stocks: &[&[(Holding, u64)]]) -> Option<Growth> {
        let mut ledger = Ledger::default();
        let mut growth = None;
        for (stock, at) in stocks.iter().zip(1..) {
            ledger.enter(at * 100, Stock(stock.iter().cloned().collect()), &MEASURE);
            growth = growth.or(ledger.growth(&MEASURE));
        }
        growth
    }

    /// The diagnosis where only this is in stock.
    fn of_one(what: &Holding, amounts: &[u64]) -> Option<Kind> {
        let stocks: Vec<_> = amounts.iter().map(|&amount| vec![(what.clone(), amount)]).collect();
        let stocks: Vec<&[_]> = stocks.iter().map(Vec::as_slice).collect();
        let diagnosis = growth(&stocks)?.violation().diagnosis;
        Kind::ALL.into_iter().find(|kind| kind.diagnosis() == diagnosis)
    }

    #[test_log::test]
    fn what_grows_with_the_scenarios_is_seen() {
        let kind = |what| of_one(&what, &[50, 150, 250, 350]).unwrap();
        assert_eq!(kind(slab("TCPv6")), Kind::Sockets);
        assert_eq!(kind(Holding::MapEntries), Kind::Entries);
        assert_eq!(kind(Holding::Module("ring".to_owned())), Kind::Modules);
        assert_eq!(kind(slab("kmalloc-1k")), Kind::Memory);
        let pages = [5_000, 500_000, 1_000_000, 1_500_000];
        assert_eq!(of_one(&Holding::Pages, &pages), Some(Kind::Memory));
        assert_eq!(of_one(&Holding::PerCpu, &pages), Some(Kind::Memory));
    }

    #[test_log::test]
    fn what_grows_with_few_of_them_is_seen_where_nothing_else_grows() {
        assert_eq!(of_one(&slab("TCP"), &[5, 15, 25, 35]), Some(Kind::Sockets));
        assert_eq!(of_one(&slab("TCP"), &[5, 15, 24, 35]), None);
        assert_eq!(of_one(&slab("kmalloc-96"), &[5, 15, 25, 35]), None);
        assert_eq!(of_one(&Holding::Pages, &[0, 100_000, 200_000, 300_000]), None);
    }

    #[test_log::test]
    fn few_scenarios_must_leave_more_than_a_listener_or_two() {
        let measure = Measure { scenarios: 10, ..MEASURE };
        let seen = |each: u64| {
            let mut ledger = Ledger::default();
            for at in 0..4 {
                ledger.enter(at * 10, Stock(BTreeMap::from([(slab("TCP"), at * each)])), &measure);
            }
            ledger.growth(&measure).is_some()
        };
        assert!(seen(10) && !seen(9));
    }

    #[test_log::test]
    fn a_warm_up_and_a_step_are_no_growth() {
        assert_eq!(of_one(&slab("kmalloc-1k"), &[0, 900, 1_800, 1_810, 1_815, 1_815]), None);
        assert_eq!(of_one(&slab("TCP"), &[4, 4, 4_000, 4_000, 4_000, 4_001]), None);
    }

    #[test_log::test]
    fn a_cache_that_is_emptied_now_and_then_does_not_grow() {
        assert_eq!(of_one(&slab("dentry"), &[0, 500, 1_000, 200, 700, 1_200, 300, 800]), None);
    }

    #[test_log::test]
    fn what_stops_growing_and_begins_again_is_seen_later() {
        let amounts = [0, 100, 200, 200, 300, 400, 500];
        assert!(of_one(&slab("TCP"), &amounts).is_some());
        assert!(of_one(&slab("TCP"), &amounts[..6]).is_none());
    }

    #[test_log::test]
    fn namespaces_explain_some_memory_and_no_sockets() {
        let seen = |what: Holding, each: u64| {
            let stocks: Vec<_> =
                (0..4).map(|at| [(slab(NAMESPACES), 2 * at), (what.clone(), each * at)]).collect();
            let stocks: Vec<_> = stocks.iter().map(|stock| &stock[..]).collect();
            growth(&stocks).is_some()
        };
        assert!(!seen(slab("kernfs_node_cache"), 260));
        assert!(seen(slab("kmalloc-1k"), 260 + 512));
        assert!(seen(slab("TCP"), 10));
    }

    #[test_log::test]
    fn one_leak_is_one_violation_that_names_all_that_grew() {
        let stocks: Vec<_> = (0..4)
            .map(|at| [(slab("kmalloc-1k"), 300 * at), (slab("TCP"), 7 + 200 * at)])
            .collect();
        let stocks: Vec<_> = stocks.iter().map(|stock| &stock[..]).collect();
        let violation = growth(&stocks).unwrap().violation();
        assert_eq!(violation.invariant, Invariant::LeakMemory);
        insta::assert_snapshot!(
            violation.evidence,
            @"with every socket closed, the kernel holds more at each of 4 stocks in a row; over 300 scenarios: objects in slab cache TCP 7 -> 607, objects in slab cache kmalloc-1k 0 -> 900"
        );
        assert!(is_growth(&violation.diagnosis) && !is_growth("pairs-outlive-their-sockets"));
    }

    #[test_log::test]
    fn stocks_in_quick_succession_say_nothing() {
        let mut ledger = Ledger::default();
        for at in 0..40 {
            let stock = Stock(BTreeMap::from([(slab("TCP"), at)]));
            ledger.enter(at * 10, stock, &MEASURE);
        }
        assert_eq!(ledger.0.len(), 4);
        assert!(ledger.0.windows(2).all(|pair| pair[0].0 + 100 == pair[1].0));
    }
}
