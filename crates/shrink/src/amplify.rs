//! Scenarios in which a race has more occasions: what comes once in five hundred runs is neither shown nor shrunk.

use std::collections::BTreeSet;

use scenario::{Op, Scenario, Step, When, limits};

/// Scenarios that do over and over what may race in this one, as often as the limits allow: all of it, each group of
/// calls that are released together, and of each such group one call of each lane.
///
/// None is known to show what the original does, and each must be tried.
#[must_use]
pub fn amplified(original: &Scenario) -> Vec<Scenario> {
    let mut units = racing(&original.steps);
    // what is smallest is repeated most often
    units.sort_by_key(Vec::len);
    units.dedup();
    if !original.is_sequential() {
        units.insert(0, original.steps.clone());
    }
    units.iter().filter_map(|unit| repeated(original, unit)).collect()
}

/// Steps that begin together on several lanes, and of those the first of each lane. Where none of them sends, the last send
/// before them comes first: what they race for would be used up.
fn racing(steps: &[Step]) -> Vec<Vec<Step>> {
    let is_send = |step: &&Step| matches!(step.op, Op::Send { .. });
    let mut units = Vec::new();
    let mut begin = 0;
    while begin < steps.len() {
        let more = steps[begin + 1..].iter().take_while(|step| is_with(step)).count();
        let group = &steps[begin..=begin + more];
        let feed = steps[..begin].iter().rfind(is_send);
        let feed = feed.map(|step| Step { when: When::Then, ..step.clone() });
        let thin = first_of_each_lane(group);
        if thin.len() > 1 {
            for group in [thin, group.to_vec()] {
                let is_fed = group.iter().any(|step| is_send(&step));
                let feed = feed.clone().filter(|_| !is_fed);
                units.push(feed.into_iter().chain(group).collect());
            }
        }
        begin += 1 + more;
    }
    units
}

fn is_with(step: &Step) -> bool {
    matches!(step.when, When::With { .. })
}

fn first_of_each_lane(group: &[Step]) -> Vec<Step> {
    let mut lanes = BTreeSet::new();
    group.iter().filter(|step| lanes.insert(step.lane)).cloned().collect()
}

/// The original with these steps instead of its own, as often as fits; `None` where that is once.
fn repeated(original: &Scenario, unit: &[Step]) -> Option<Scenario> {
    let mut times = limits::STEPS / unit.len().max(1);
    while times > 1 {
        let steps = unit.iter().cycle().take(unit.len() * times);
        // what a call was expected to return it returns once
        let steps = steps.map(|step| Step { expect: None, ..step.clone() }).collect();
        let candidate = Scenario { steps, ..original.clone() };
        if limits::check(&candidate).is_ok() {
            return Some(candidate);
        }
        times /= 2;
    }
    None
}
