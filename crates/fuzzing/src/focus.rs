//! What a fuzz target is after.

use scenario::{Attempt, Op, Scenario, SockOption};

/// What the scenarios of a fuzz target have to have, as far as it makes them itself: what it is given, it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// Nothing in particular.
    Everything,
    /// Calls that may overlap.
    Races,
    /// An end of a connection, or of one of its directions.
    Teardown,
    /// A pairing, or a change of it, out of the ordinary.
    Pairing,
}

impl Focus {
    /// Whether the scenario has it.
    #[must_use]
    pub fn is_in(self, scenario: &Scenario) -> bool {
        let step = |is: fn(&Op) -> bool| scenario.steps.iter().any(|step| is(&step.op));
        match self {
            Focus::Everything => true,
            Focus::Races => !scenario.is_sequential(),
            Focus::Teardown => step(ends),
            Focus::Pairing => {
                let ordinary = [Attempt::Once, Attempt::Never].contains(&scenario.attempt);
                !ordinary || step(changes_pairing)
            }
        }
    }
}

fn ends(op: &Op) -> bool {
    match op {
        Op::Shutdown(_) | Op::Close | Op::Abort | Op::Destroy | Op::Disconnect | Op::Connect => {
            true
        }
        Op::Set(option) => matches!(option, SockOption::Linger(_)),
        _ => false,
    }
}

fn changes_pairing(op: &Op) -> bool {
    matches!(op, Op::Unhash | Op::Rehash | Op::Detach | Op::Tls | Op::Repair | Op::Connect)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fuzz targets draw until they have a scenario with their focus: none must take long.
    #[test_log::test]
    fn the_generator_makes_some_of_all_kinds() {
        for focus in [Focus::Races, Focus::Teardown, Focus::Pairing] {
            let some = (0..200).filter(|n| focus.is_in(&generate::scenario(1, *n))).count();
            assert!((20..=180).contains(&some), "{focus:?}: {some} of 200");
        }
    }
}
