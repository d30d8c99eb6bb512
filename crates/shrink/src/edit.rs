//! Changes that keep a scenario whole: what is left keeps its place in the schedule, and what is counted is counted
//! anew.

use std::ops::Range;

use scenario::{Op, Scenario, Step, When};

/// Leaves out the steps that `keep` does not want. Where that takes the head of a group, the first step of the group
/// that is left becomes its head, and begins when the old one did.
pub(crate) fn retain_steps(scenario: &mut Scenario, keep: impl Fn(usize, &Step) -> bool) {
    let mut vacant = None;
    let steps = std::mem::take(&mut scenario.steps);
    for (at, mut step) in steps.into_iter().enumerate() {
        let is_head = !matches!(step.when, When::With { .. });
        let kept = keep(at, &step);
        if is_head {
            vacant = (!kept).then_some(step.when);
        } else if kept && let Some(when) = vacant.take() {
            step.when = when;
        }
        if kept {
            scenario.steps.push(step);
        }
    }
}

/// Leaves out a lane with its steps, and the signals to it.
pub(crate) fn remove_lane(scenario: &mut Scenario, lane: u8) {
    retain_steps(scenario, |_, step| {
        let signals = matches!(step.op, Op::Signal { lane: target, .. } if target == lane);
        step.lane != lane && !signals
    });
    scenario.lanes.remove(usize::from(lane));
    renumber_lanes(scenario, |other| other - u8::from(other > lane));
}

/// Lets one lane make the steps of another one, too.
pub(crate) fn merge_lanes(scenario: &mut Scenario, into: u8, from: u8) {
    renumber_lanes(scenario, |lane| if lane == from { into } else { lane });
    // a lane that sends a signal is not in the call that the signal was for
    retain_steps(
        scenario,
        |_, step| !matches!(step.op, Op::Signal { lane, .. } if lane == step.lane),
    );
    remove_lane(scenario, from);
}

/// Leaves out a pair with its options and lanes.
pub(crate) fn remove_pair(scenario: &mut Scenario, pair: u8) {
    for lane in lanes(scenario).rev() {
        if scenario.lanes[usize::from(lane)].pair == pair {
            remove_lane(scenario, lane);
        }
    }
    scenario.setup.retain(|setup| setup.pair != pair);
    let lanes = scenario.lanes.iter_mut().map(|lane| &mut lane.pair);
    for other in lanes.chain(scenario.setup.iter_mut().map(|setup| &mut setup.pair)) {
        *other -= u8::from(*other > pair);
    }
    scenario.pairs -= 1;
}

/// The numbers of all lanes.
pub(crate) fn lanes(scenario: &Scenario) -> Range<u8> {
    0..u8::try_from(scenario.lanes.len()).unwrap_or(u8::MAX)
}

fn renumber_lanes(scenario: &mut Scenario, number: impl Fn(u8) -> u8) {
    for step in &mut scenario.steps {
        step.lane = number(step.lane);
        if let Op::Signal { lane, .. } = &mut step.op {
            *lane = number(*lane);
        }
    }
}
