//! What every campaign relies on.

mod census;
mod change;
mod ideal;
mod meant;
mod recipe;

use proptest::prelude::*;
use scenario::{Family, Scenario, Topology, limits, text};

use crate::Scope;

proptest! {
    #[test]
    fn every_scenario_can_be_run_printed_and_parsed(seed: u64, number: u64) {
        let scenario = crate::scenario(seed, number);
        prop_assert_eq!(limits::check(&scenario), Ok(()));
        prop_assert_eq!(crate::scenario(seed, number), scenario.clone());
        prop_assert_eq!(text::parse(&text::print(&scenario)), Ok(scenario));
    }

    #[test]
    fn a_scope_pins_what_it_says_and_nothing_else(seed: u64, number: u64, far: bool, v6: bool) {
        let topology = if far { Topology::Bridge } else { Topology::Loopback };
        let family = if v6 { Family::V6 } else { Family::V4 };
        let scope = Scope { topology: Some(topology), family: Some(family) };
        let pinned = crate::scenario_within(seed, number, &scope);
        prop_assert_eq!(limits::check(&pinned), Ok(()));
        prop_assert_eq!((pinned.topology, pinned.family), (topology, family));
        let free = crate::scenario(seed, number);
        let Scenario { topology, wire, family, .. } = free;
        prop_assert_eq!(Scenario { topology, wire, family, ..pinned }, free);
    }
}

/// FNV-1a, 64 bits.
fn fingerprint(scenarios: impl Iterator<Item = Scenario>) -> u64 {
    scenarios
        .flat_map(|scenario| format!("{scenario:?}").into_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}

/// A change here is allowed, but it gives every recorded seed and number another meaning.
#[test_log::test]
fn the_same_seed_gives_the_same_scenarios_for_good() {
    insta::assert_snapshot!(text::print(&crate::scenario(1, 2)));
    let hashes = [0, 1, u64::MAX].map(|seed| {
        let hash = fingerprint((0..200).map(|number| crate::scenario(seed, number)));
        format!("seed {seed}: {hash:016x}")
    });
    insta::assert_snapshot!("fingerprints", hashes.join("\n"));
}

#[test_log::test]
fn the_default_alphabet_is_enumerated_in_order_and_without_its_mirror_images() {
    let alphabet = crate::alphabet();
    let of = |len| crate::exhaustive(&alphabet, len);
    assert_eq!(of(0).count(), 0);
    let (half, all) = (alphabet.len() / 2, alphabet.len());
    assert_eq!(of(1).count(), half);
    // behind the two ops that close the client it has no more say
    assert_eq!(of(2).count(), half + half * all - 2 * half);
    assert_eq!(crate::exhaustive(&[], 3).count(), 0);
    let three: Vec<_> = of(3).collect();
    assert!(three.is_sorted_by_key(|scenario| scenario.steps.len()));
    let distinct: std::collections::HashSet<_> = three.iter().collect();
    assert_eq!(distinct.len(), three.len());
    for scenario in &three {
        assert_eq!(limits::check(scenario), Ok(()));
        assert!(scenario.is_sequential() && !scenario.may_block());
    }
    assert_eq!(three, of(3).collect::<Vec<_>>());
}
