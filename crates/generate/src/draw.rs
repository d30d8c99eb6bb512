//! Choices that come out the same everywhere, from a seed or from bytes.
//!
//! Only 32-bit integers and our own arithmetic on the source's raw words: ranges over `usize`, floating
//! point and other crates' distributions may change with the machine or with a version.

use std::ops::RangeInclusive;

use arbitrary::Unstructured;
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
    /// What becomes of a scenario that is there already.
    Change,
}

/// A source of choices.
pub(crate) struct Draw<'a>(Source<'a>);

enum Source<'a> {
    Seed(Box<ChaCha8Rng>),
    /// Behind its end it gives zeros for ever.
    Bytes(Unstructured<'a>),
}

impl<'a> Draw<'a> {
    /// The choices of scenario `number` in the campaign of `seed`.
    pub fn new(seed: u64, number: u64, part: Part) -> Draw<'static> {
        let mut key = *b"................scenario numbers";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());

        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(match part {
            Part::Swarm => 0,
            Part::Steps => 1,
            Part::Change => 2,
        });
        Draw(Source::Seed(Box::new(rng)))
    }

    /// The choices that these bytes make; the first of each table once they are used up.
    pub fn from_bytes(bytes: &'a [u8]) -> Draw<'a> {
        Draw(Source::Bytes(Unstructured::new(bytes)))
    }

    /// Whether there is nothing left to choose by. A seed never ends.
    pub fn is_over(&self) -> bool {
        matches!(&self.0, Source::Bytes(bytes) if bytes.is_empty())
    }

    /// A number below `n`, which must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        match &mut self.0 {
            // the bias is below n / 2^32, which no campaign is long enough to see
            Source::Seed(rng) => scale(rng.next_u32(), 32, n),
            // a byte where one is enough: a fuzzer that changes it changes one choice
            Source::Bytes(bytes) if n <= 256 => {
                scale(u32::from(bytes.arbitrary::<u8>().unwrap_or(0)), 8, n)
            }
            Source::Bytes(bytes) => scale(bytes.arbitrary::<u32>().unwrap_or(0), 32, n),
        }
    }

    /// A number of the range.
    pub fn within(&mut self, range: RangeInclusive<u32>) -> u32 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// An index into something of that length, which must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).expect("a table of choices is short")) as usize
    }

    /// One of the choices, which must not be empty; all alike.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
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

/// A word of so many bits, brought below `n`.
fn scale(word: u32, bits: u32, n: u32) -> u32 {
    u32::try_from((u64::from(word) * u64::from(n)) >> bits).expect("it is below n")
}
