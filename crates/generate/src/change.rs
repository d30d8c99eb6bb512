//! Scenarios from scenarios: mutation and crossover, for fuzz targets. Both know what a scenario is made of, so that
//! what they give runs; both are total, and stay within the limits.

use scenario::limits::{LANES, PAIRS, STEPS};
use scenario::{
    Attempt, Endpoint, Family, Lane, Op, RecvFlags, Scenario, SendFlags, Setup, Step, Topology,
    When, Wire,
};

use crate::draw::{Draw, Part};
use crate::model::Model;
use crate::ops::{self, OPTIONS};
use crate::swarm::Swarm;
use crate::trim::trim;
use crate::{Scope, put_right, size};

/// A change of one thing.
type Change = fn(&mut Scenario, &mut Draw<'_>);

const CHANGES: &[(Change, u32)] = &[
    (insert, 10),
    (delete, 6),
    (duplicate, 3),
    (swap, 4),
    (relocate, 4),
    (resize, 6),
    (reflag, 5),
    (rewire, 3),
    (remake, 4),
    (reschedule, 5),
    (hand_over, 3),
    (set_up, 3),
    (add_lane, 1),
    (drop_lane, 1),
];

/// The scenario with one to three changes: a step more or less, twice or elsewhere, another size, flag, call, option,
/// schedule, lane, place or pairing.
///
/// The same scenario and seed give the same result. What [`Step::expect`] said does not hold any more and is dropped.
#[must_use]
pub fn mutate(scenario: &Scenario, seed: u64) -> Scenario {
    let draw = &mut Draw::new(seed, 0, Part::Change);
    let mut changed = scenario.clone();
    trim(&mut changed);
    if changed.lanes.is_empty() {
        add_lane(&mut changed, draw);
    }
    for _ in 0..draw.pick(&[1, 1, 2, 3]) {
        if let Some(change) = draw.weighted(CHANGES) {
            change(&mut changed, draw);
            // the next one relies on it
            trim(&mut changed);
        }
    }
    finish(changed)
}

/// The beginning of one scenario, a piece of the other, and perhaps the end of the first.
///
/// The same scenarios and seed give the same result. The steps of the other are made by lanes on the same endpoints.
#[must_use]
pub fn crossover(first: &Scenario, other: &Scenario, seed: u64) -> Scenario {
    let draw = &mut Draw::new(seed, 1, Part::Change);
    let mut child = first.clone();
    if draw.chance(30) {
        (child.topology, child.wire) = (other.topology, other.wire);
    }
    child.pairs = first.pairs.max(other.pairs);
    child.attempt = draw.pick(&[first.attempt, other.attempt]);
    child.family = draw.pick(&[first.family, other.family]);
    for setup in &other.setup {
        if draw.chance(50) && !child.setup.contains(setup) {
            child.setup.push(*setup);
        }
    }
    let places = adopt(&mut child.lanes, &other.lanes);
    let cut = |draw: &mut Draw<'_>, from: usize, to: usize| from + draw.index(to - from + 1);
    let begin = cut(draw, 0, first.steps.len());
    let resume =
        if draw.chance(50) { first.steps.len() } else { cut(draw, begin, first.steps.len()) };
    let from = cut(draw, 0, other.steps.len());
    let to = cut(draw, from, other.steps.len());
    let place = |lane: u8| places.get(usize::from(lane)).copied().unwrap_or(lane);
    let foreign = other.steps[from..to].iter().map(|step| {
        let op = match step.op {
            Op::Signal { lane, restart } => Op::Signal { lane: place(lane), restart },
            op => op,
        };
        Step { lane: place(step.lane), op, ..*step }
    });
    child.steps.splice(begin..resume, foreign);
    finish(child)
}

/// Adds the lanes that have no counterpart yet; where each is now.
fn adopt(lanes: &mut Vec<Lane>, others: &[Lane]) -> Vec<u8> {
    let own = lanes.len();
    let mut taken = vec![false; own];
    let places = others.iter().map(|other| {
        let same = |lane: &Lane| (lane.pair, lane.endpoint) == (other.pair, other.endpoint);
        let free = (0..own).find(|at| same(&lanes[*at]) && !taken[*at]);
        let at = match free {
            Some(at) => {
                taken[at] = true;
                at
            }
            None if lanes.len() < LANES => {
                lanes.push(Lane { name: unused_name(lanes), ..other.clone() });
                lanes.len() - 1
            }
            None => 0,
        };
        u8::try_from(at).expect("there are few lanes")
    });
    places.collect()
}

fn finish(mut scenario: Scenario) -> Scenario {
    scenario.steps.iter_mut().for_each(|step| step.expect = None);
    put_right(&mut scenario);
    scenario
}

fn unused_name(lanes: &[Lane]) -> String {
    let names = (1..).map(|n| format!("l{n}"));
    let mut unused = names.filter(|name| lanes.iter().all(|lane| lane.name != *name));
    unused.next().expect("there are more numbers than lanes")
}

/// The place of any step.
fn any(scenario: &Scenario, draw: &mut Draw<'_>) -> Option<usize> {
    (!scenario.steps.is_empty()).then(|| draw.index(scenario.steps.len()))
}

/// An op that makes sense there, most often.
fn fresh(scenario: &Scenario, at: usize, draw: &mut Draw<'_>) -> Option<(u8, Op)> {
    let swarm = Swarm::draw(draw, &Scope::default());
    let mut model = Model::new(scenario.pairs, &scenario.setup);
    for step in &scenario.steps[..at] {
        model.apply(scenario.lane(step), step.op);
    }
    model.progress = 50;
    let lanes: Vec<u8> = (0..).zip(&scenario.lanes).map(|(at, _)| at).collect();
    ops::next(draw, &swarm, &model, &scenario.lanes, &lanes)
}

fn insert(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if scenario.steps.len() >= STEPS {
        return;
    }
    let at = draw.index(scenario.steps.len() + 1);
    if let Some((lane, op)) = fresh(scenario, at, draw) {
        let when = when(draw);
        scenario.steps.insert(at, Step { lane, when, op, expect: None });
    }
}

fn remake(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    let Some(at) = any(scenario, draw) else { return };
    if let Some((lane, op)) = fresh(scenario, at, draw) {
        let step = &mut scenario.steps[at];
        (step.lane, step.op) = (lane, op);
    }
}

/// Some steps in a row go.
fn delete(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if let Some(at) = any(scenario, draw) {
        let end = (at + draw.pick(&[1, 1, 1, 2, 4])).min(scenario.steps.len());
        scenario.steps.drain(at..end);
    }
}

/// Some steps in a row come again, at once.
fn duplicate(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if let Some(at) = any(scenario, draw) {
        let end = (at + draw.pick(&[1, 1, 2, 4])).min(scenario.steps.len());
        let again = scenario.steps[at..end].to_vec();
        scenario.steps.splice(end..end, again);
    }
}

fn swap(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if let (Some(one), Some(other)) = (any(scenario, draw), any(scenario, draw)) {
        scenario.steps.swap(one, other);
    }
}

fn relocate(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if let (Some(from), Some(to)) = (any(scenario, draw), any(scenario, draw)) {
        let step = scenario.steps.remove(from);
        scenario.steps.insert(to, step);
    }
}

/// Another number where a step has one.
fn resize(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    let Some(at) = any(scenario, draw) else { return };
    match &mut scenario.steps[at].op {
        Op::Send { len, .. } | Op::Recv { len, .. } => {
            let ring = draw.pick(&[16 << 10, 64 << 10]);
            *len = match draw.below(5) {
                0 => len.saturating_sub(1),
                1 => len.saturating_add(1),
                2 => len.saturating_mul(2),
                3 => *len / 2,
                _ => size::any_boundary(draw, ring),
            };
        }
        Op::Wait { timeout_ms, .. } => *timeout_ms = draw.pick(&[0, 1, 10, 30]),
        Op::Pause(us) => *us = draw.pick(&[1, 100, 1000]),
        Op::Set(option) => *option = (OPTIONS[draw.index(OPTIONS.len())].value)(draw, false),
        _ => {}
    }
}

fn reflag(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    let Some(at) = any(scenario, draw) else { return };
    let bit = 1 << draw.below(5);
    match &mut scenario.steps[at].op {
        Op::Send { flags, .. } => flags.toggle(SendFlags::from_bits_truncate(bit)),
        Op::Recv { flags, .. } => flags.toggle(RecvFlags::from_bits_truncate(bit)),
        Op::Signal { restart, .. } => *restart = !*restart,
        _ => {}
    }
}

/// Another call for the same bytes, or another network, family or pairing for all.
fn rewire(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    match draw.below(6) {
        0 => {
            let all = [Topology::Loopback, Topology::Veth, Topology::Bridge];
            (scenario.topology, scenario.wire) = (draw.pick(&all), Wire::default());
        }
        1 => scenario.family = draw.pick(&[Family::V4, Family::V6]),
        2 => {
            scenario.attempt = draw.pick(&[
                Attempt::Once,
                Attempt::Twice,
                Attempt::Stranger,
                Attempt::FreeStranger,
                Attempt::Never,
            ]);
        }
        3 => {
            let more = draw.chance(50);
            let pairs = if more { scenario.pairs + 1 } else { scenario.pairs.saturating_sub(1) };
            scenario.pairs = pairs.clamp(1, PAIRS);
        }
        _ => {
            let Some(at) = any(scenario, draw) else { return };
            if let Op::Send { by, .. } | Op::Recv { by, .. } = &mut scenario.steps[at].op {
                *by = ops::any_way(draw);
            }
        }
    }
}

fn when(draw: &mut Draw<'_>) -> When {
    match draw.below(5) {
        0..3 => When::Then,
        3 => When::Start,
        _ => When::With { after_us: draw.pick(&[0, 0, 10, 100]) },
    }
}

fn reschedule(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if let Some(at) = any(scenario, draw) {
        scenario.steps[at].when = when(draw);
    }
}

fn hand_over(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if let Some(at) = any(scenario, draw) {
        let lane = draw.index(scenario.lanes.len());
        scenario.steps[at].lane = u8::try_from(lane).expect("there are few lanes");
    }
}

fn set_up(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if !scenario.setup.is_empty() && draw.chance(50) {
        let at = draw.index(scenario.setup.len());
        scenario.setup.remove(at);
        return;
    }
    let pair = u8::try_from(draw.below(u32::from(scenario.pairs))).expect("there are few pairs");
    let option = (OPTIONS[draw.index(OPTIONS.len())].value)(draw, true);
    scenario.setup.push(Setup { pair, endpoint: draw.pick(&Endpoint::BOTH), option });
}

fn add_lane(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if scenario.lanes.len() < LANES {
        let name = unused_name(&scenario.lanes);
        let pair =
            u8::try_from(draw.below(u32::from(scenario.pairs))).expect("there are few pairs");
        scenario.lanes.push(Lane { name, pair, endpoint: draw.pick(&Endpoint::BOTH) });
    }
}

/// A lane goes, and its steps with it; the last one stays.
fn drop_lane(scenario: &mut Scenario, draw: &mut Draw<'_>) {
    if scenario.lanes.len() < 2 {
        return;
    }
    let gone = draw.index(scenario.lanes.len());
    scenario.lanes.remove(gone);
    let gone = u8::try_from(gone).expect("there are few lanes");
    scenario.steps.retain(|step| step.lane != gone);
    let down = |lane: &mut u8| *lane -= u8::from(*lane > gone);
    for step in &mut scenario.steps {
        down(&mut step.lane);
        if let Op::Signal { lane, .. } = &mut step.op {
            down(lane);
        }
    }
}
