//! Scenarios from bytes and from scenarios.

use proptest::collection::vec;
use proptest::prelude::*;
use scenario::{Scenario, limits};

use crate::{crossover, from_bytes, mutate};

/// Scenarios as they come: generated ones, one without anything, and one that is beyond the limits.
fn any_scenario() -> impl Strategy<Value = Scenario> {
    prop_oneof![
        8 => any::<(u64, u64)>().prop_map(|(seed, number)| crate::scenario(seed, number)),
        1 => Just(Scenario::default()),
        1 => any::<u64>().prop_map(|seed| Scenario { pairs: 200, ..crate::scenario(seed, 1) }),
    ]
}

proptest! {
    #[test]
    fn all_bytes_are_a_scenario(bytes in vec(any::<u8>(), 0..600)) {
        let scenario = from_bytes(&bytes);
        prop_assert_eq!(limits::check(&scenario), Ok(()));
        prop_assert_eq!(from_bytes(&bytes), scenario);
    }

    #[test]
    fn a_mutation_stays_within_the_limits(scenario in any_scenario(), seeds in vec(any::<u64>(), 1..20)) {
        let mut now = scenario;
        for seed in seeds {
            let next = mutate(&now, seed);
            prop_assert_eq!(limits::check(&next), Ok(()));
            prop_assert_eq!(mutate(&now, seed), next.clone());
            now = next;
        }
    }

    #[test]
    fn a_crossover_stays_within_the_limits(
        first in any_scenario(),
        other in any_scenario(),
        seed: u64,
    ) {
        let child = crossover(&first, &other, seed);
        prop_assert_eq!(limits::check(&child), Ok(()));
        prop_assert_eq!(crossover(&first, &other, seed), child);
    }
}

#[test_log::test]
fn bytes_and_mutations_lead_somewhere() {
    assert!(!from_bytes(&[]).lanes.is_empty());
    let start = crate::scenario(1, 1);
    let changed = (0..100).filter(|seed| mutate(&start, *seed) != start).count();
    assert!(changed > 80, "{changed} of 100 mutations changed something");
    let lengths: std::collections::BTreeSet<_> = (0..200u32)
        .map(|salt| {
            let bytes: Vec<u8> =
                (0..1000).map(|at| (at * (salt + 89) % 251).to_le_bytes()[0]).collect();
            from_bytes(&bytes).steps.len()
        })
        .collect();
    assert!(lengths.len() > 15, "{lengths:?}");
}
