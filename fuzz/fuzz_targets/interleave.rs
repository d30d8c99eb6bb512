//! Scenarios of every kind.

#![no_main]

use fuzzing::{Case, Focus};
use libfuzzer_sys::{Corpus, fuzz_crossover, fuzz_mutator, fuzz_target};

const FOCUS: Focus = Focus::Everything;

fuzz_target!(init: fuzzing::require_guest(), |case: Case| -> Corpus {
    if fuzzing::run(&case.0) { Corpus::Keep } else { Corpus::Reject }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    fuzzing::mutate(FOCUS, data, size, max_size, seed)
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    fuzzing::crossover(FOCUS, one, other, out, seed)
});
