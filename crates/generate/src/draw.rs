//! Random choices that come out the same everywhere.
//!
//! Only 32-bit integers and our own arithmetic on the generator's raw words: ranges over `usize`, floating
//! point and other crates' distributions may change with the machine or with a version.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// What the choices are for. Each part has its own stream, so that a choice more in one does not shift
/// those of the other.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// The options of the scenario.
    Swarm,
    /// Its ops.
    Steps,
}

/// A source of choices.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The choices of scenario `number` in the campaign of `seed`.
    pub fn new(seed: u64, number: u64, part: Part) -> Draw {
        let mut key = *b"................scenario numbers";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());

        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(match part {
            Part::Swarm => 0,
            Part::Steps => 1,
        });
        Draw(rng)
    }

    /// A number below `n`, which must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        // the bias is below n / 2^32, which no campaign is long enough to see
        let scaled = u64::from(self.0.next_u32()) * u64::from(n);
        (scaled >> 32) as u32
    }

    /// A number of the range.
    pub fn within(&mut self, range: RangeInclusive<u32>) -> u32 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// One of the choices, which must not be empty; all alike.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let n = u32::try_from(choices.len()).expect("a table of choices is short");
        choices[self.below(n) as usize]
    }

    /// One of the choices by weight; `None` if all weights are 0.
    pub fn weighted<T: Copy>(&mut self, choices: &[(T, u32)]) -> Option<T> {
        let total = choices.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut left = self.below(total);
        for (choice, weight) in choices {
            if left < *weight {
                return Some(*choice);
            }
            left -= weight;
        }
        None
    }
}
