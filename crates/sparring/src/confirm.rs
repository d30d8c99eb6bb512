//! From a violation to a finding that can be relied on: reproduce it, shrink it, measure how reliably it comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use report::{FindingKey, Reliability};
use scenario::{Invariant, Scenario, When};
use shrink::{Mode, Threshold};
use vm::wire::Depth;

use crate::exit::Failure;
use crate::guest::{self, Spec};
use crate::ledger;
use crate::replay::{Replay, Replayed, Shown};
use crate::runner::GUEST_SILENT;

/// A run that takes longer sleeps until a bound: one that shows the violation is then enough to keep a candidate.
const SLOW: Duration = Duration::from_millis(500);
/// How many times as long shrinking may take where a run is slow, or where a candidate takes many because the
/// violation does not come every time.
const PATIENCE: u32 = 4;
/// Runs that measure how reliably something comes back that does not come every time.
const RUNS: u32 = 10;
/// The same for what has not come back in so many: as many as a candidate of a rare race gets.
const MANY: u32 = Threshold::RARE.of;
/// And at most, for what is short.
const SELDOM: u32 = 500;
/// So many steps can be read. A race that needs more to come back often is shrunk on until it comes now and then.
const SHORT: usize = 15;

/// How much work a finding is worth.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How to shrink.
    pub mode: Mode,
    /// Candidates that the shrinker may try, each as often as it takes to be sure of it.
    pub candidates: usize,
    /// Replays of the result.
    pub replays: u32,
    /// How long reproducing and shrinking may take, and then replaying: calls that sleep until their bound make a
    /// replay of minutes.
    pub time: Duration,
}

impl Effort {
    /// What a campaign spends: a violation costs milliseconds to replay, a dead kernel a boot.
    pub fn for_finding(key: &FindingKey) -> Effort {
        let (candidates, time) = match key {
            key if is_expensive(key) => (16, 60),
            key if is_growth(key) => (100, 60),
            _ => (1_000, 30),
        };
        Effort { candidates, time: Duration::from_secs(time), ..Effort::for_one(key) }
    }

    /// What somebody spends who waits for this one.
    pub fn for_one(key: &FindingKey) -> Effort {
        let time = Duration::from_secs(86_400);
        if is_expensive(key) {
            Effort { mode: Mode::Bold, candidates: 40, replays: 3, time }
        } else if is_growth(key) {
            Effort { mode: Mode::Thorough, candidates: 1_000, replays: 3, time }
        } else {
            Effort { mode: Mode::Thorough, candidates: 5_000, replays: RUNS, time }
        }
    }
}

/// Whether the finding is about the kernel as a whole, seen from outside.
pub fn is_crash(key: &FindingKey) -> bool {
    match key.invariant {
        Invariant::Panic | Invariant::Splat => true,
        // else the judge's: a call that does not return
        Invariant::Hang => key.diagnosis == GUEST_SILENT,
        _ => false,
    }
}

/// Whether the finding is about what is left of scenarios that are over.
pub fn is_leak(key: &FindingKey) -> bool {
    matches!(key.invariant, Invariant::LeakMemory | Invariant::LeakObject)
}

/// Whether it shows in many runs of a scenario, which leave the machine as it is.
pub fn is_growth(key: &FindingKey) -> bool {
    is_leak(key) && ledger::is_growth(&key.diagnosis)
}

/// Whether each run that shows it costs a machine.
fn is_expensive(key: &FindingKey) -> bool {
    is_crash(key) || is_leak(key) && !is_growth(key)
}

/// Whether what is seen once needs no second look, or costs too much to be seen again.
fn is_told_at_once(key: &FindingKey) -> bool {
    is_expensive(key) || is_growth(key)
}

/// What is known of a finding after reproducing, shrinking and replaying it.
#[derive(Clone)]
pub struct Confirmed {
    /// The smallest scenario that shows it.
    pub scenario: Scenario,
    /// The last replay that showed it.
    pub shown: Option<Shown>,
    /// How often it came back; `None` when interrupted before the first replay.
    pub reliability: Option<Reliability>,
}

impl Confirmed {
    /// Nothing is known of it yet.
    pub fn unknown(scenario: &Scenario) -> Confirmed {
        Confirmed { scenario: scenario.clone(), shown: None, reliability: None }
    }

    /// Counts a replay.
    fn count(&mut self, shown: Option<Shown>) {
        let before = self.reliability.unwrap_or(Reliability { hits: 0, of: 0 });
        let hits = before.hits + u32::from(shown.is_some());
        self.reliability = Some(Reliability { hits, of: before.of + 1 });
        self.shown = shown.or(self.shown.take());
    }

    fn counts(&self) -> (u32, u32) {
        self.reliability.map_or((0, 0), |r| (r.hits, r.of))
    }

    fn is_sure(&self) -> bool {
        let (hits, of) = self.counts();
        hits > 0 && hits == of
    }

    fn is_more_reliable_than(&self, other: &Confirmed) -> bool {
        let ((hits, of), (other_hits, other_of)) = (self.counts(), other.counts());
        hits * other_of.max(1) > other_hits * of.max(1)
    }
}

/// The guest for replays, with processors for lanes to race on.
pub fn racing(mut spec: Spec) -> Spec {
    spec.machine.vcpus = guest::racing_vcpus();
    spec
}

/// Who waits for it.
pub struct Watch<'a> {
    /// Set to end it early, with what is known by then.
    pub interrupted: &'a AtomicBool,
    /// Told after each candidate: how many were tried, and how many ops the smallest scenario has.
    pub progress: &'a dyn Fn(usize, usize),
}

impl Watch<'_> {
    fn is_over(&self, deadline: Instant) -> bool {
        self.interrupted.load(Ordering::Relaxed) || Instant::now() > deadline
    }
}

impl Replay {
    /// Shrinks a scenario that shows a finding and measures how reliably it comes back.
    ///
    /// Of several scenarios that show it, the first that comes back every time is taken, or else the most
    /// reliable one: a reproducer that works now and then is worth little.
    pub fn confirm(
        &mut self,
        key: &FindingKey,
        originals: &[Scenario],
        effort: Effort,
        watch: &Watch<'_>,
    ) -> Result<Option<Confirmed>, Failure> {
        let narrowed;
        let mut originals = originals;
        if is_growth(key) {
            let end = Instant::now() + effort.time;
            let is_over = || watch.is_over(end);
            narrowed = [self.narrow(&key.diagnosis, originals.to_vec(), &is_over)?];
            originals = &narrowed;
        }
        let deadline = Instant::now() + effort.time;
        let observe = |scenario: &Scenario| self.observe(key, scenario);
        Case { key, effort, watch, deadline, observe }.confirm(originals)
    }

    /// Runs a scenario once and looks for the violation. One that cannot be run does not show it.
    fn observe(&mut self, key: &FindingKey, scenario: &Scenario) -> Result<Option<Shown>, Failure> {
        if is_growth(key) {
            return Ok(self.grow(scenario)?.shown(key));
        }
        let mut replayed = self.attempt(scenario)?;
        if let Some(reason) = &replayed.broken {
            tracing::debug!("a candidate does not count: {reason}");
        }
        if is_crash(key) && replayed.shown(key).is_none() {
            replayed.crashes.extend(self.settle()?.crashes);
        }
        if is_leak(key) {
            replayed.crashes.extend(self.check_up(Depth::Memory)?.crashes);
        }
        let shown = replayed.shown(key);
        if is_crash(key) && shown.is_some() {
            // some complaints come once in a boot (WARN_ON_ONCE() in include/asm-generic/bug.h)
            self.renew()?;
        }
        Ok(shown)
    }
}

/// A finding that is being confirmed.
struct Case<'a, O> {
    key: &'a FindingKey,
    effort: Effort,
    watch: &'a Watch<'a>,
    /// When reproducing and shrinking end.
    deadline: Instant,
    /// Runs a scenario once and looks for the violation.
    observe: O,
}

impl<O: FnMut(&Scenario) -> Result<Option<Shown>, Failure>> Case<'_, O> {
    /// See [`Replay::confirm`].
    fn confirm(&mut self, originals: &[Scenario]) -> Result<Option<Confirmed>, Failure> {
        let mut fastest = Duration::MAX;
        let mut best: Option<Confirmed> = None;
        let mut originals: Vec<&Scenario> = originals.iter().collect();
        if !is_told_at_once(self.key) {
            // of several that show the same, the one that is easiest to follow
            originals.sort_by_key(|original| (!original.is_sequential(), original.steps.len()));
        }
        for &original in &originals {
            let (measured, run) = self.reproduce(original)?;
            fastest = fastest.min(run);
            let is_sure = measured.is_sure();
            if best.as_ref().is_none_or(|best| measured.is_more_reliable_than(best)) {
                best = Some(measured);
            }
            if is_sure || self.is_over() {
                break;
            }
        }
        let Some(mut original) = best else { return Ok(None) };
        // a reliable one is worth more than a short one that comes now and then
        let is_rare = !original.is_sure();
        if original.counts().0 == 0 && !is_told_at_once(self.key) {
            self.deadline = Instant::now() + self.effort.time * PATIENCE;
            original = self.amplify(&originals)?.unwrap_or(original);
        }
        let (hits, of) = original.counts();
        let Some(mut threshold) = Threshold::for_measured(hits, of) else {
            return Ok(Some(original));
        };
        let is_slow = !is_told_at_once(self.key) && fastest > SLOW;
        if original.is_sure() && (is_slow || is_told_at_once(self.key)) {
            threshold = Threshold::ONCE;
        }
        if is_slow || !original.is_sure() {
            self.deadline += self.effort.time * (PATIENCE - 1);
        }
        let is_long_race = |known: &Confirmed| {
            known.scenario.steps.len() > SHORT && !known.scenario.is_sequential()
        };
        let mut small = self.reduce(&original, threshold)?;
        // the luck of a few tries may not come again: what it was before then
        let mut before = original.clone();
        if is_rare && is_long_race(small.as_ref().unwrap_or(&original)) {
            self.deadline = Instant::now() + self.effort.time * PATIENCE;
            let long = small.clone().unwrap_or_else(|| original.clone());
            if let Some(rare) = self.reduce(&long, Threshold::RARE)? {
                (before, small) = (long, Some(rare));
            }
            let long = small.as_ref().unwrap_or(&original);
            if is_long_race(long)
                && let Some(short) = self.cut(&long.scenario)?
            {
                return Ok(Some(short));
            }
        }
        let Some(small) = small else { return self.measure(original).map(Some) };
        let measured = self.measure(small)?;
        Ok(Some(if measured.counts().0 == 0 { before } else { measured }))
    }

    fn is_over(&self) -> bool {
        self.watch.is_over(self.deadline)
    }

    /// Of a race that does not come back, a scenario in which it does, because it has more occasions.
    fn amplify(&mut self, originals: &[&Scenario]) -> Result<Option<Confirmed>, Failure> {
        let louder = originals.iter().flat_map(|original| shrink::amplified(original));
        let mut louder: Vec<Scenario> = louder.collect();
        while !louder.is_empty() {
            for at in (0..louder.len()).rev() {
                if self.is_over() {
                    return Ok(None);
                }
                let begun = Instant::now();
                if (self.observe)(&louder[at])?.is_some() {
                    let mut measured = Confirmed::unknown(&louder[at]);
                    self.seek(&mut measured, MANY)?;
                    if measured.counts().0 > 0 {
                        return Ok(Some(measured));
                    }
                } else if begun.elapsed() > SLOW * PATIENCE {
                    louder.remove(at);
                }
            }
        }
        Ok(None)
    }

    /// Runs a scenario until it has come back twice, so often at most.
    fn seek(&mut self, measured: &mut Confirmed, runs: u32) -> Result<(), Failure> {
        while measured.counts().0 < 2 && measured.counts().1 < runs && !self.is_over() {
            measured.count((self.observe)(&measured.scenario)?);
        }
        Ok(())
    }

    /// The part of a long race that brings it back most often, short enough to be read: where the same is done over and
    /// over, any part has the race as well, and brings it back as seldom as it does.
    fn cut(&mut self, long: &Scenario) -> Result<Option<Confirmed>, Failure> {
        self.deadline = Instant::now() + self.effort.time * 2;
        let mut parts: Vec<_> = parts(long).iter().map(Confirmed::unknown).collect();
        for _ in 0..SELDOM {
            for part in &mut parts {
                if !self.is_over() {
                    part.count((self.observe)(&part.scenario)?);
                }
            }
            if self.is_over() || parts.iter().any(|part| part.counts().0 >= 2) {
                break;
            }
        }
        let best = parts.into_iter().max_by_key(|part| part.counts().0);
        Ok(best.filter(|best| best.counts().0 > 0))
    }

    /// Measures how reliably the original comes back: as often as a candidate would have to, and oftener where it
    /// does not come every time. Gives the time of the fastest run as well: the first may have to boot.
    fn reproduce(&mut self, original: &Scenario) -> Result<(Confirmed, Duration), Failure> {
        let mut measured = Confirmed::unknown(original);
        let mut fastest = Duration::MAX;
        while !self.is_enough(&measured) && !self.is_over() {
            let begun = Instant::now();
            measured.count((self.observe)(original)?);
            fastest = fastest.min(begun.elapsed());
        }
        Ok((measured, fastest))
    }

    fn is_enough(&self, measured: &Confirmed) -> bool {
        let (hits, of) = measured.counts();
        if is_told_at_once(self.key) {
            of >= Threshold::ONCE.of
        } else if measured.scenario.is_sequential() && hits == of {
            of >= Threshold::SURE.of
        } else {
            of >= RUNS
        }
    }

    /// The smallest scenario that meets the threshold, with what is known of it from that; `None` where nothing is
    /// smaller.
    fn reduce(
        &mut self,
        original: &Confirmed,
        threshold: Threshold,
    ) -> Result<Option<Confirmed>, Failure> {
        let Case { effort, watch, deadline, observe, .. } = self;
        let start = &original.scenario;
        let mut tries = 0;
        let mut best: Option<Confirmed> = None;
        let end = shrink::shrink(start, effort.mode, effort.candidates, |candidate| {
            let mut known = Confirmed::unknown(candidate);
            let met = threshold.is_met(|| {
                if watch.is_over(*deadline) {
                    return Ok(false);
                }
                let shown = observe(candidate)?;
                let shows = shown.is_some();
                known.count(shown);
                Ok::<_, Failure>(shows)
            })?;
            if met {
                best = Some(known);
            }
            tries += 1;
            let ops = best.as_ref().map_or(start.steps.len(), |best| best.scenario.steps.len());
            (watch.progress)(tries, ops);
            Ok::<_, Failure>(met)
        });
        match (end, best) {
            (Err(failure), None) => Err(failure),
            (Err(failure), best) => {
                tracing::warn!("shrinking ended early: {failure}");
                Ok(best)
            }
            (Ok(_), best) => Ok(best),
        }
    }

    /// Replays it as often as it is worth, and oftener what has come back before and does not now. What was known of it
    /// before counts only where there is no time for that.
    fn measure(&mut self, known: Confirmed) -> Result<Confirmed, Failure> {
        self.deadline = Instant::now() + self.effort.time;
        let mut measured = Confirmed::unknown(&known.scenario);
        for at in 0..self.effort.replays {
            if self.watch.interrupted.load(Ordering::Relaxed) || at > 0 && self.is_over() {
                break;
            }
            measured.count((self.observe)(&known.scenario)?);
        }
        if measured.counts().0 == 0 && known.counts().0 > 0 && !is_told_at_once(self.key) {
            self.deadline += self.effort.time;
            let runs = if known.scenario.is_sequential() { MANY } else { SELDOM };
            self.seek(&mut measured, runs)?;
        }
        let is_known_better = measured.counts().1 < known.counts().1;
        Ok(if is_known_better { known } else { measured })
    }
}

/// Parts of a scenario that are short enough to be read, and begin and end with whole groups where these are short, too:
/// its end, where the violation most often is, its beginning, and what is between them.
fn parts(long: &Scenario) -> Vec<Scenario> {
    let is_head =
        |at: &usize| long.steps.get(*at).is_none_or(|step| !matches!(step.when, When::With { .. }));
    let last = long.steps.len().saturating_sub(SHORT);
    let mut begin = 0;
    let mut begins = vec![(last..long.steps.len()).find(is_head).unwrap_or(last)];
    while begin < last {
        begins.push(begin);
        begin = (begin + 1..=begin + SHORT).rev().find(is_head).unwrap_or(begin + SHORT);
    }
    begins.dedup();
    let part = |begin: usize| {
        let end = (begin + SHORT).min(long.steps.len());
        let end = (begin + 1..=end).rev().find(is_head).unwrap_or(end);
        let mut steps = long.steps[begin..end].to_vec();
        steps[0].when = match steps[0].when {
            When::With { .. } => When::Then,
            when => when,
        };
        Scenario { steps, ..long.clone() }
    };
    begins.into_iter().map(part).collect()
}

impl Replayed {
    /// The violation of that key, where it is among them, and what is known of the run.
    fn shown(&self, key: &FindingKey) -> Option<Shown> {
        let violation = self.violations().find(|violation| FindingKey::of(violation) == *key)?;
        let seen_outside =
            self.crashes.iter().find(|crash| FindingKey::of(&crash.violation) == *key);
        Some(Shown {
            violation: violation.clone(),
            history: self.judged.as_ref().map(|(_, history)| history.clone()),
            console: seen_outside.map(|crash| crash.console.clone()).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use scenario::{Buffer, By, Endpoint, Lane, Op, SendFlags, Step, Violation};

    use super::*;

    fn measured(hits: u32, of: u32) -> Confirmed {
        let reliability = Some(Reliability { hits, of });
        Confirmed { reliability, ..Confirmed::unknown(&Scenario::default()) }
    }

    #[test_log::test]
    fn what_comes_back_oftener_is_more_reliable() {
        assert!(measured(3, 3).is_more_reliable_than(&measured(9, 10)));
        assert!(measured(1, 10).is_more_reliable_than(&measured(0, 3)));
        assert!(!measured(0, 3).is_more_reliable_than(&measured(0, 10)));
        assert!(!measured(5, 10).is_more_reliable_than(&measured(1, 2)));
        assert!(measured(3, 3).is_sure());
        assert!(!Confirmed::unknown(&Scenario::default()).is_sure());
    }

    fn send(len: u32) -> Step {
        let flags = SendFlags::DONTWAIT;
        let op = Op::Send { len, flags, buffer: Buffer::Mapped, by: By::Call };
        Step { lane: 0, when: When::Then, op, expect: None }
    }

    /// Many sends, the last of which matters.
    fn original() -> Scenario {
        let mut steps: Vec<Step> = (1..30).map(send).collect();
        steps.push(send(4_000));
        let lanes = vec![Lane { name: "c".into(), pair: 0, endpoint: Endpoint::Client }];
        Scenario { lanes, steps, ..Scenario::default() }
    }

    fn has_it(scenario: &Scenario) -> bool {
        scenario.steps.iter().any(|step| matches!(step.op, Op::Send { len: 4_000.., .. }))
    }

    /// Confirms where `shows` says whether the run of that number shows it. Gives the number of runs as well.
    fn confirmed(
        invariant: Invariant,
        interrupted_after: u32,
        shows: impl Fn(&Scenario, u32) -> bool,
    ) -> (Confirmed, u32) {
        confirmed_of(&[original()], invariant, interrupted_after, shows)
    }

    fn confirmed_of(
        originals: &[Scenario],
        invariant: Invariant,
        interrupted_after: u32,
        shows: impl Fn(&Scenario, u32) -> bool,
    ) -> (Confirmed, u32) {
        let interrupted = AtomicBool::new(false);
        let key = FindingKey { invariant, diagnosis: "any".to_owned() };
        let mut runs = 0;
        let observe = |scenario: &Scenario| {
            runs += 1;
            if runs == interrupted_after {
                interrupted.store(true, Ordering::Relaxed);
            }
            let violation =
                Violation { invariant, diagnosis: "any".into(), record: None, evidence: "".into() };
            let shown = Shown { violation, history: None, console: String::new() };
            Ok(shows(scenario, runs).then_some(shown))
        };
        let effort = Effort::for_one(&key);
        let watch = Watch { interrupted: &interrupted, progress: &|_, _| {} };
        let deadline = Instant::now() + effort.time;
        let mut case = Case { key: &key, effort, watch: &watch, deadline, observe };
        (case.confirm(originals).unwrap().unwrap(), runs)
    }

    fn result(confirmed: &Confirmed) -> (usize, String) {
        let reliability = confirmed.reliability.map_or("-".to_owned(), |r| r.to_string());
        (confirmed.scenario.steps.len(), reliability)
    }

    #[test_log::test]
    fn what_comes_every_time_is_shrunk_and_measured() {
        let (confirmed, _) = confirmed(Invariant::Order, 0, |scenario, _| has_it(scenario));
        assert_eq!(result(&confirmed), (1, "10/10".to_owned()));
        assert!(confirmed.shown.is_some());
    }

    #[test_log::test]
    fn what_comes_now_and_then_is_shrunk_by_its_own_measure() {
        let (confirmed, _) =
            confirmed(Invariant::Order, 0, |scenario, run| has_it(scenario) && run % 2 == 0);
        assert_eq!(result(&confirmed), (1, "5/10".to_owned()));
    }

    /// What comes of a race of two calls of which one in `rarity` comes off, and which is made once.
    fn race(rarity: usize) -> Confirmed {
        let lane = |name: &str, endpoint| Lane { name: name.into(), pair: 0, endpoint };
        let lanes = vec![lane("c", Endpoint::Client), lane("s", Endpoint::Server)];
        let mut steps = original().steps;
        steps.push(Step { lane: 1, when: When::With { after_us: 0 }, ..send(4_001) });
        let is_large = |step: &Step| matches!(step.op, Op::Send { len: 4_000.., .. });
        let is_race =
            |two: &&[Step]| matches!(two[1].when, When::With { .. }) && two.iter().all(is_large);
        let races = std::cell::Cell::new(0);
        let shows = |scenario: &Scenario, _| {
            let before = races.get();
            races.set(before + scenario.steps.windows(2).filter(is_race).count());
            races.get() / rarity > before / rarity
        };
        let original = Scenario { lanes, steps, ..Scenario::default() };
        confirmed_of(&[original], Invariant::Order, 0, shows).0
    }

    #[test_log::test]
    fn a_rare_race_is_given_more_occasions_and_made_short_again() {
        for rarity in [100, 1_000] {
            let confirmed = race(rarity);
            let (ops, reliability) = result(&confirmed);
            assert!((2..=SHORT).contains(&ops) && confirmed.shown.is_some(), "{ops} {reliability}");
            let (hits, of) = confirmed.counts();
            assert!(hits > 0 && hits < of && of <= SELDOM, "{reliability}");
        }
    }

    #[test_log::test]
    fn the_parts_of_a_long_race_are_short_and_are_all_of_it() {
        let with = |len| Step { when: When::With { after_us: 0 }, ..send(len) };
        // two groups at the end, or nothing but one group
        let groups = (0..40).map(|at| if at < 32 || at == 36 { send(at) } else { with(at) });
        let group = [send(0)].into_iter().chain((1..64).map(with));
        for steps in [groups.collect::<Vec<_>>(), group.collect()] {
            let parts = parts(&Scenario { steps: steps.clone(), ..original() });
            assert!(parts.iter().all(|part| (1..=SHORT).contains(&part.steps.len())));
            assert!(parts.iter().all(|part| part.steps[0].when == When::Then));
            let has = |step: &Step| {
                parts.iter().flat_map(|part| &part.steps).any(|other| other.op == step.op)
            };
            assert!(steps.iter().all(has));
            assert_eq!(parts[0].steps.last(), steps.last());
        }
    }

    #[test_log::test]
    fn what_never_comes_back_stays_as_it_is() {
        let (confirmed, runs) = confirmed(Invariant::Order, 0, |_, _| false);
        assert_eq!((result(&confirmed), runs), ((30, "0/10".to_owned()), 10));
        assert!(confirmed.shown.is_none());
    }

    #[test_log::test]
    fn what_was_luck_is_not_kept() {
        // nothing comes back once the original was seen three times and a candidate as often
        let (confirmed, _) = confirmed(Invariant::Order, 0, |_, run| run <= 6);
        assert_eq!(result(&confirmed), (30, "3/3".to_owned()));
    }

    #[test_log::test]
    fn an_interruption_keeps_the_smallest_so_far() {
        let (confirmed, runs) = confirmed(Invariant::Order, 20, |scenario, _| has_it(scenario));
        assert_eq!(runs, 20);
        let (ops, reliability) = result(&confirmed);
        assert!(ops < 30 && has_it(&confirmed.scenario), "{ops}");
        assert_eq!(reliability, "3/3");
        assert!(confirmed.shown.is_some());
    }

    #[test_log::test]
    fn what_costs_a_machine_costs_few() {
        let (confirmed, runs) = confirmed(Invariant::Panic, 0, |scenario, _| has_it(scenario));
        assert_eq!(result(&confirmed), (1, "3/3".to_owned()));
        assert!(runs < 40, "{runs}");
    }

    #[test_log::test]
    fn what_costs_a_machine_is_shrunk_boldly() {
        let effort =
            |invariant| Effort::for_finding(&FindingKey { invariant, diagnosis: "any".to_owned() });
        assert_eq!(effort(Invariant::Panic).mode, Mode::Bold);
        assert_eq!(effort(Invariant::LeakObject).mode, Mode::Bold);
        assert_eq!(effort(Invariant::Order).mode, Mode::Thorough);
    }
}
