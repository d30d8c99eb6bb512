//! seed or bytes → scenario.
//!
//! [`scenario()`] is a pure function: the same seed and number give the same scenario on every machine and
//! in every later run, so a finding can be named by two numbers. Each scenario is made in two draws. The
//! first gives its [`Swarm`]: where it runs, which ops, sizes and flags it is made of at all. Leaving features out is
//! what makes the others meet in ways that a uniform mixture never reaches. The second composes the steps, one by one
//! from a table of weighted kinds or in figures in which calls overlap, with a light model of the pairs at hand so that
//! most of them have something to act on, and so that what must not hang does not.
//!
//! [`from_input`], [`from_bytes`], [`mutate`] and [`crossover`] are for fuzz targets, [`exhaustive()`] for everything short.

#![forbid(unsafe_code)]

mod calm;
mod change;
mod compose;
mod draw;
mod exhaustive;
mod meant;
mod model;
mod ops;
mod size;
mod spare;
mod swarm;
#[cfg(test)]
mod tests;
mod trim;

pub use change::{crossover, mutate};
pub use exhaustive::{Letter, alphabet, exhaustive};
pub use meant::{Ran, meant};
pub use swarm::Swarm;

use compose::Composer;
use draw::{Draw, Part};
use scenario::{Family, Scenario, Topology, text};

/// What a campaign is restricted to; `None` for everything there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Where all scenarios run.
    pub topology: Option<Topology>,
    /// The address family of all pairs.
    pub family: Option<Family>,
}

/// Scenario `number` of the campaign with this seed: everything on.
#[must_use]
pub fn scenario(seed: u64, number: u64) -> Scenario {
    scenario_within(seed, number, &Scope::default())
}

/// The same in a campaign of this scope. Only what the scope pins differs from [`scenario()`], and the wire, which a
/// topology may not have.
///
/// It is within [`scenario::limits`]. No call that the next step waits for sleeps unless something surely wakes it,
/// or its own timeout of at most 50 ms; of the started ones a few sleep until the end.
#[must_use]
pub fn scenario_within(seed: u64, number: u64, scope: &Scope) -> Scenario {
    let swarm = Swarm::draw(&mut Draw::new(seed, number, Part::Swarm), scope);
    compose(swarm, &mut Draw::new(seed, number, Part::Steps))
}

/// The scenario that these bytes make, by the same choices as a seed's. Every input makes one, within the limits; a
/// longer one makes more steps.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Scenario {
    let draw = &mut Draw::from_bytes(bytes);
    let swarm = Swarm::draw(draw, &Scope::default());
    compose(swarm, draw)
}

/// The scenario of a fuzz target's input: text that is a scenario is it, and all else makes one by [`from_bytes`].
#[must_use]
pub fn from_input(bytes: &[u8]) -> Scenario {
    let text = str::from_utf8(bytes).ok();
    text.and_then(|text| text::parse(text).ok()).unwrap_or_else(|| from_bytes(bytes))
}

fn compose(swarm: Swarm, draw: &mut Draw<'_>) -> Scenario {
    let steps = Composer::new(&swarm).compose(draw);
    let Swarm { topology, wire, family, attempt, pairs, lanes, setup, .. } = swarm;
    let mut scenario = Scenario { topology, wire, family, pairs, attempt, setup, lanes, steps };
    put_right(&mut scenario);
    scenario
}

/// What every scenario goes through that is made here, from whatever.
fn put_right(scenario: &mut Scenario) {
    trim::trim(scenario);
    calm::calm(scenario);
    spare::spare(scenario);
}
