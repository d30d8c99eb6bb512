//! seed → scenario.
//!
//! [`scenario()`] is a pure function: the same seed and number give the same scenario on every machine and
//! in every later run, so a finding can be named by two numbers. Each scenario is made in two draws. The
//! first gives its [`Swarm`]: which ops, sizes and flags it is made of at all. Leaving features out is what
//! makes the others meet in ways that a uniform mixture never reaches. The second draws the ops one by one
//! from a table of weighted kinds, with a light model of the pair at hand so that most of them have
//! something to act on.

#![forbid(unsafe_code)]

mod draw;
mod model;
mod ops;
mod size;
mod swarm;
#[cfg(test)]
mod tests;

pub use swarm::Swarm;

use draw::{Draw, Part};
use model::Model;
use scenario::{Endpoint, Lane, Op, Scenario, Step};

/// The two lanes of every scenario: one on each endpoint, in the order of [`Endpoint::index`].
const LANES: [(&str, Endpoint); 2] = [("c", Endpoint::Client), ("s", Endpoint::Server)];

/// Scenario `number` of the campaign with this seed.
///
/// It is within [`scenario::limits`], sequential, and none of its calls can block: an endpoint starts
/// with `O_NONBLOCK`, or each of its sends and receives has `MSG_DONTWAIT`.
#[must_use]
pub fn scenario(seed: u64, number: u64) -> Scenario {
    let swarm = Swarm::draw(seed, number);
    let mut draw = Draw::new(seed, number, Part::Steps);
    let mut model = Model::new(&swarm);
    let mut steps = Vec::new();
    let (mut at, mut end, mut extended) = (0, swarm.steps, false);
    while at < end {
        model.progress = at * 100 / end;
        let Some((endpoint, op)) = ops::next(&mut draw, &swarm, &model) else {
            break;
        };
        model.apply(endpoint, op);
        steps.push(Step { lane: lane(endpoint), op, expect: None });
        at += 1;
        // an end is as good as what is tried after it
        if matches!(op, Op::Shutdown(_) | Op::Close | Op::Abort) && end - at < 3 && !extended {
            end = at + draw.within(2..=6);
            extended = true;
        }
    }
    Scenario {
        family: swarm.family,
        setup: swarm.setup,
        lanes: LANES.map(|(name, endpoint)| Lane { name: name.to_owned(), endpoint }).to_vec(),
        steps,
        ..Scenario::default()
    }
}

/// The lane that acts on an endpoint: its place in [`LANES`].
fn lane(endpoint: Endpoint) -> u8 {
    match endpoint {
        Endpoint::Client => 0,
        Endpoint::Server => 1,
    }
}
