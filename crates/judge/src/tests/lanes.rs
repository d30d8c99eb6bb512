//! Whatever an ideal TCP does with calls that overlap, no rule may object; and bytes that are dropped or doubled are seen.

use proptest::prelude::*;
use scenario::history::{Outcome, Record};
use scenario::payload::Run;
use scenario::{Endpoint, History, Scenario, Verdict};

use super::world::World;
use crate::{Contract, judge};

pub(super) type Turns = Vec<(usize, u8, u64)>;

pub(super) fn run(lanes: &[bool], blocking: bool, turns: &Turns) -> (Scenario, History) {
    let lanes: Vec<_> =
        lanes.iter().map(|&c| if c { Endpoint::Client } else { Endpoint::Server }).collect();
    let mut world = World::new(&lanes, blocking);
    for &(lane, what, amount) in turns {
        world.turn(lane % lanes.len(), what, amount, blocking);
    }
    world.finish(blocking)
}

pub(super) fn turns(whats: std::ops::Range<u8>) -> impl Strategy<Value = Turns> {
    prop::collection::vec((0usize..4, whats, 0u64..1_000), 0..80)
}

pub(super) fn lanes() -> impl Strategy<Value = Vec<bool>> {
    prop::collection::vec(any::<bool>(), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_rule_objects_to_overlapping_calls(lanes in lanes(), blocking: bool, turns in turns(0..15)) {
        let (scenario, history) = run(&lanes, blocking, &turns);
        let verdict = judge(&scenario, &history, &Contract::tcp());
        prop_assert!(verdict.violations().is_empty(), "{:#?}\n{:#?}", verdict, history.records);
    }

    #[test]
    fn a_byte_that_is_doubled_or_dropped_is_seen(
        lanes in lanes(), blocking: bool, turns in turns(0..6), doubled: bool, pick: prop::sample::Index,
    ) {
        let (scenario, mut history) = run(&lanes, blocking, &turns);
        let takes = |record: &&mut Record| match &record.outcome {
            Outcome::Received { data, .. } => data.iter().any(|run| run.len() >= 40),
            _ => false,
        };
        let mut candidates: Vec<_> = history.records.iter_mut().filter(takes).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let at = pick.index(candidates.len());
        let Outcome::Received { data, count, .. } = &mut candidates[at].outcome else { unreachable!() };
        let run = data.iter().position(|run| run.len() >= 40).unwrap();
        let Run::Coded { stream, offset, len } = data[run].clone() else { return Ok(()) };
        // of 40 bytes the middle 20 are missing, or come again in place of what follows
        let (head, tail) = if doubled { (20, 0) } else { (10, 30) };
        data.splice(run..=run, [
            Run::Coded { stream, offset, len: head },
            Run::Coded { stream, offset: offset + tail, len: len - u32::try_from(tail).unwrap() },
        ]);
        *count = data.iter().map(|run| u32::try_from(run.len()).unwrap()).sum();
        let verdict = judge(&scenario, &history, &Contract::tcp());
        prop_assert!(matches!(verdict, Verdict::Fail(_)), "{:#?}\n{:#?}", verdict, history.records);
    }
}
