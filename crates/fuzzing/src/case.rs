//! Scenarios as inputs of libFuzzer.

use std::fmt::{self, Debug, Formatter};

use arbitrary::{Arbitrary, Unstructured};
use scenario::{Scenario, text};

use crate::Focus;

/// How often a mutation is tried that loses the focus, or grows too long.
const TRIES: u64 = 8;
/// One in so many mutations is a scenario that the generator made afresh: it knows figures that mutations rarely hit upon.
const FRESH: u32 = 2;

/// A scenario made of libFuzzer's bytes; see [`generate::from_input`].
#[derive(Clone, PartialEq, Eq)]
pub struct Case(pub Scenario);

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Case> {
        Ok(Case(generate::from_input(u.bytes(u.len())?)))
    }
}

impl Debug for Case {
    /// The `.ring` text: it is what `cargo fuzz fmt` shows.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&text::print(&self.0))
    }
}

/// Changes the scenario in the first `size` bytes, and leaves the result, as text, at most `max_size` bytes long, in
/// their place: what libFuzzer's `LLVMFuzzerCustomMutator` is to do. The new size in bytes.
pub fn mutate(focus: Focus, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let parent = generate::from_input(&data[..size]);
    let changed = (0..TRIES).map(|nth| generate::mutate(&parent, nth << 32 | u64::from(seed)));
    let afresh = (0..).map(|nth| generate::scenario(seed.into(), nth));
    let child = if seed.is_multiple_of(FRESH) {
        first(focus, afresh, max_size)
    } else {
        first(focus, changed.chain(afresh), max_size)
    };
    put(&child, data)
}

/// Crosses two scenarios, as `LLVMFuzzerCustomCrossOver` is to do. The size in bytes of what is then in `out`, as text; 0
/// where nothing came of it.
pub fn crossover(focus: Focus, one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let [one, other] = [one, other].map(generate::from_input);
    let crossed =
        (0..TRIES).map(|nth| generate::crossover(&one, &other, nth << 32 | u64::from(seed)));
    put(&first(focus, crossed, out.len()), out)
}

/// The text of the first scenario that has the focus and the room; empty where there is none.
fn first(focus: Focus, mut scenarios: impl Iterator<Item = Scenario>, max_size: usize) -> String {
    let fitting = |scenario: Scenario| {
        let text = focus.is_in(&scenario).then(|| text::print(&scenario))?;
        (text.len() <= max_size).then_some(text)
    };
    scenarios.find_map(fitting).unwrap_or_default()
}

fn put(text: &str, data: &mut [u8]) -> usize {
    data[..text.len()].copy_from_slice(text.as_bytes());
    text.len()
}

#[cfg(test)]
mod tests {
    use arbitrary::Arbitrary as _;
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 16;

    fn mutated(focus: Focus, input: &[u8], seed: u32) -> String {
        let mut data = vec![0; MAX];
        data[..input.len()].copy_from_slice(input);
        let size = mutate(focus, &mut data, input.len(), MAX, seed);
        String::from_utf8(data[..size].to_vec()).unwrap()
    }

    #[test_log::test]
    fn a_case_shows_itself_as_text() {
        let scenario = generate::scenario(1, 2);
        let text = text::print(&scenario);
        let case = Case::arbitrary_take_rest(Unstructured::new(text.as_bytes())).unwrap();
        assert_eq!(case, Case(scenario));
        assert_eq!(format!("{case:?}"), text);
        assert_eq!(format!("{case:#?}"), text);
    }

    proptest! {
        #[test]
        fn a_mutation_of_whatever_is_a_scenario_with_the_focus(
            input in prop::collection::vec(any::<u8>(), 0..200), seed: u32
        ) {
            for focus in [Focus::Everything, Focus::Races, Focus::Teardown, Focus::Pairing] {
                let text = mutated(focus, &input, seed);
                let scenario = text::parse(&text).unwrap();
                prop_assert_eq!(text::print(&scenario), &*text);
                prop_assert!(focus.is_in(&scenario));
                prop_assert_eq!(mutated(focus, &input, seed), text);
            }
        }

        #[test]
        fn a_crossover_has_the_focus_or_is_none(seed: u32) {
            let parents = [1, 2].map(|n| text::print(&generate::scenario(seed.into(), n)));
            for focus in [Focus::Everything, Focus::Races, Focus::Teardown, Focus::Pairing] {
                let mut out = vec![0; MAX];
                let [one, other] = &parents;
                let size = crossover(focus, one.as_bytes(), other.as_bytes(), &mut out, seed);
                if size > 0 {
                    let text = str::from_utf8(&out[..size]).unwrap();
                    prop_assert!(focus.is_in(&text::parse(text).unwrap()));
                }
            }
        }

        #[test]
        fn nothing_grows_beyond_its_room(seed: u32, room in 150_usize..400) {
            let parent = text::print(&generate::scenario(seed.into(), 0));
            let mut data = vec![0; MAX];
            data[..parent.len()].copy_from_slice(parent.as_bytes());
            let size = mutate(Focus::Everything, &mut data, parent.len(), room, seed);
            prop_assert!(size <= room, "{size} bytes in {room}");
            text::parse(str::from_utf8(&data[..size]).unwrap()).unwrap();
        }
    }
}
