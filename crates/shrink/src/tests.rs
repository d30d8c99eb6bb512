//! What holds of every search, and what single passes do.

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use proptest::collection::vec;
use proptest::prelude::*;
use scenario::{
    Attempt, Buffer, By, Endpoint, Expect, Family, Lane, Op, Ready, RecvFlags, Scenario, SendFlags,
    Setup, SockOption, Step, Topology, Waiter, When, Wire, limits,
};

use crate::sleep::sleepers;
use crate::{Mode, Threshold, amplified, shrink};

fn send(len: u32) -> Op {
    Op::Send { len, flags: SendFlags::DONTWAIT, buffer: Buffer::Mapped, by: By::Call }
}

fn recv(len: u32) -> Op {
    Op::Recv { len, flags: RecvFlags::DONTWAIT, buffer: Buffer::Mapped, by: By::Call }
}

fn step(lane: u8, when: When, op: Op) -> Step {
    Step { lane, when, op, expect: None }
}

const WITH: When = When::With { after_us: 0 };

fn lanes(of: &[(u8, Endpoint)]) -> Vec<Lane> {
    let lane = |(at, &(pair, endpoint))| Lane { name: format!("l{at}"), pair, endpoint };
    of.iter().enumerate().map(lane).collect()
}

/// Lanes 0 and 2 are on the client, 1 on the server, 3 on the client of another pair.
fn story(steps: Vec<Step>) -> Scenario {
    let of = [
        (0, Endpoint::Client),
        (0, Endpoint::Server),
        (0, Endpoint::Client),
        (1, Endpoint::Client),
    ];
    Scenario { pairs: 2, lanes: lanes(&of), steps, ..Scenario::default() }
}

fn op() -> impl Strategy<Value = Op> {
    let by = prop_oneof![
        Just(By::Call),
        (1..=16u8).prop_map(By::Vector),
        Just(By::Splice),
        Just(By::Tee)
    ];
    let buffer = prop_oneof![Just(Buffer::Mapped), Just(Buffer::Torn(3))];
    prop_oneof![
        (4..100_000u32, 0..32u8, buffer.clone(), by.clone()).prop_map(
            |(len, flags, buffer, by)| {
                Op::Send { len, flags: SendFlags::from_bits_truncate(flags), buffer, by }
            }
        ),
        (4..100_000u32, 0..32u8, buffer, by).prop_map(|(len, flags, buffer, by)| {
            Op::Recv { len, flags: RecvFlags::from_bits_truncate(flags), buffer, by }
        }),
        any::<bool>().prop_map(|on| Op::Set(SockOption::NonBlock(on))),
        (1..1_000u32).prop_map(|value| Op::Set(SockOption::RcvLowat(value))),
        (0..1_000u32).prop_map(|timeout_ms| {
            Op::Wait { events: Ready::IN, timeout_ms, by: Waiter::EpollEdge }
        }),
        (0..4u8, any::<bool>()).prop_map(|(lane, restart)| Op::Signal { lane, restart }),
        (0..1_000u32).prop_map(Op::Pause),
        prop_oneof![Just(Op::Poll), Just(Op::Dup), Just(Op::Close), Just(Op::Connect)],
    ]
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        Just(When::Then),
        Just(When::Start),
        (0..1_000u32).prop_map(|after_us| When::With { after_us }),
    ]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    any::<bool>().prop_map(|client| if client { Endpoint::Client } else { Endpoint::Server })
}

/// What a campaign runs, and what nobody would.
fn scenarios() -> impl Strategy<Value = Scenario> {
    let generated = (0..5u64, 0..10_000u64).prop_map(|(seed, at)| generate::scenario(seed, at));
    prop_oneof![generated, arbitrary()]
}

/// Any scenario within the limits.
fn arbitrary() -> impl Strategy<Value = Scenario> {
    let setup = (0..3u8, endpoint(), any::<bool>(), 0..2u32);
    let step = (0..5u8, when(), op());
    let network = (any::<bool>(), any::<bool>());
    let parts = (1..=3u8, vec((0..3u8, endpoint()), 1..5), vec(setup, 0..4), vec(step, 1..16));
    let scenario = (parts, network).prop_map(|((pairs, of, setup, steps), (far, v6))| {
        let of: Vec<_> = of.into_iter().map(|(pair, endpoint)| (pair % pairs, endpoint)).collect();
        let count = u8::try_from(of.len()).unwrap();
        let setup = setup.into_iter().map(|(pair, endpoint, nonblock, linger)| {
            let nonblock = nonblock.then_some(SockOption::NonBlock(true));
            let option = nonblock.unwrap_or(SockOption::Linger(linger));
            Setup { pair: pair % pairs, endpoint, option }
        });
        let steps = steps.into_iter().enumerate().map(|(at, (lane, when, op))| Step {
            lane: lane % count,
            when: if at == 0 { When::Then } else { when },
            op: match op {
                Op::Signal { lane, restart } => Op::Signal { lane: lane % count, restart },
                op => op,
            },
            expect: None,
        });
        Scenario {
            topology: if far { Topology::Bridge } else { Topology::Loopback },
            wire: Wire { delay_us: if far { 700 } else { 0 }, loss_permille: 0 },
            family: if v6 { Family::V6 } else { Family::V4 },
            pairs,
            attempt: if v6 { Attempt::Stranger } else { Attempt::Once },
            setup: setup.collect(),
            lanes: lanes(&of),
            steps: steps.collect(),
        }
    });
    scenario.prop_filter("within the limits", |scenario| limits::check(scenario).is_ok())
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Thorough), Just(Mode::Bold)]
}

/// A violation that some scenarios show and others do not, for no reason at all.
fn by_chance(scenario: &Scenario, salt: u64) -> bool {
    let mut hasher = DefaultHasher::new();
    (scenario, salt).hash(&mut hasher);
    hasher.finish().is_multiple_of(3)
}

fn sends_at_once(scenario: &Scenario) -> bool {
    scenario.steps.iter().any(|step| matches!(step.op, Op::Send { len: 3_001.., .. }))
}

fn sends_over(limit: u32) -> impl Fn(&Scenario) -> Result<bool, Infallible> {
    move |scenario| {
        let sent = scenario.steps.iter().map(|step| match step.op {
            Op::Send { len, .. } => len,
            _ => 0,
        });
        Ok(sent.sum::<u32>() > limit)
    }
}

proptest! {
    #[test]
    fn whatever_shows_it_the_search_keeps_its_promises(
        original in scenarios(),
        mode in modes(),
        tries in 0usize..400,
        salt in any::<u64>(),
    ) {
        let mut tried = HashSet::from([original.clone()]);
        let mut calls = 0;
        let small = shrink(&original, mode, tries, |candidate| {
            calls += 1;
            assert_eq!(limits::check(candidate), Ok(()));
            assert!(tried.insert(candidate.clone()), "tried twice: {candidate:?}");
            assert!(sleepers(candidate) <= sleepers(&original));
            Ok::<_, Infallible>(by_chance(candidate, salt))
        })
        .unwrap();
        prop_assert!(calls <= tries);
        prop_assert!(small == original || by_chance(&small, salt));
        prop_assert!(small.steps.len() <= original.steps.len());
        prop_assert!(small.lanes.len() <= original.lanes.len());
        prop_assert!(small.pairs <= original.pairs);
        prop_assert!(!small.may_block() || original.may_block());
    }

    #[test]
    fn an_amplified_scenario_is_made_of_the_same_calls_and_runs(original in scenarios()) {
        let ops = |scenario: &Scenario| -> HashSet<Op> {
            scenario.steps.iter().map(|step| step.op).collect()
        };
        for louder in amplified(&original) {
            prop_assert_eq!(limits::check(&louder), Ok(()));
            prop_assert!(ops(&louder).is_subset(&ops(&original)));
            prop_assert!(!louder.is_sequential());
            prop_assert_eq!(Scenario { steps: Vec::new(), ..louder }, Scenario { steps: Vec::new(), ..original.clone() });
        }
    }

    #[test]
    fn one_send_is_left_of_what_one_send_shows(
        original in scenarios().prop_filter("it sends enough", sends_at_once),
    ) {
        let shows = |scenario: &Scenario| Ok::<_, Infallible>(sends_at_once(scenario));
        let small = shrink(&original, Mode::Thorough, 10_000, shows).unwrap();
        let [Step { op: Op::Send { len, .. }, when: When::Then, .. }] = small.steps[..] else {
            return Err(TestCaseError::fail(format!("{small:?}")));
        };
        prop_assert!((3_001..=limits::CALL_BYTES).contains(&len));
        prop_assert_eq!((small.lanes.len(), small.pairs), (1, 1));
        prop_assert_eq!(&small.setup[..], &[][..]);
        prop_assert_eq!((small.topology, small.wire), (Topology::Loopback, Wire::default()));
        prop_assert_eq!((small.family, small.attempt), (Family::V4, Attempt::Once));
    }

    #[test]
    fn a_threshold_makes_no_run_that_cannot_matter(hits in 1..5u32, more in 0..5u32, shown: u16) {
        let threshold = Threshold { hits, of: hits + more };
        let mut runs = 0;
        let met = threshold.is_met(|| {
            runs += 1;
            Ok::<_, Infallible>(shown & (1 << runs) != 0)
        });
        let seen = |upto| (1..=upto).filter(|run| shown & (1 << run) != 0).count();
        prop_assert_eq!(met, Ok(seen(threshold.of) >= hits as usize));
        // one run less would have left it open
        let before = seen(runs - 1);
        let possible = before + (threshold.of - (runs - 1)) as usize;
        prop_assert!(before < hits as usize && possible >= hits as usize);
    }
}

#[test_log::test]
fn what_races_is_repeated_and_fed() {
    let original = story(vec![
        step(0, When::Then, send(9)),
        step(0, When::Then, Op::Poll),
        step(1, When::Then, recv(1)),
        step(3, WITH, recv(2)),
        step(1, WITH, recv(3)),
    ]);
    let begin = |scenario: &Scenario, n| scenario.steps[..n].to_vec();
    let group = [&original.steps[..1], &original.steps[2..]].concat();
    let [all, thin, whole] = &amplified(&original)[..] else { panic!("not three") };
    assert_eq!(begin(all, 6), [&original.steps[..], &original.steps[..1]].concat());
    assert_eq!(begin(thin, 4), [&group[..3], &group[..1]].concat());
    assert_eq!(begin(whole, 5), [&group[..], &group[..1]].concat());
    assert_eq!([all, thin, whole].map(|louder| louder.steps.len()), [255, 255, 256]);
    // one that closes can be repeated only as often as that is allowed, and a sequence has no race
    let sequence = story(vec![step(0, When::Then, send(9)), step(1, When::Then, recv(1))]);
    assert_eq!(amplified(&sequence), []);
}

#[test_log::test]
fn the_next_of_a_group_takes_the_place_of_its_head() {
    let original = story(vec![
        step(0, When::Then, send(1)),
        step(0, When::Start, send(2)),
        step(1, When::With { after_us: 7 }, send(3)),
        step(2, When::With { after_us: 9 }, send(4)),
        step(1, When::Then, send(5)),
    ]);
    let mut rest = original.clone();
    crate::edit::retain_steps(&mut rest, |at, _| at != 1 && at != 2);
    let whens: Vec<_> = rest.steps.iter().map(|step| step.when).collect();
    assert_eq!(whens, [When::Then, When::Start, When::Then]);
    let mut rest = original;
    crate::edit::remove_lane(&mut rest, 0);
    let whens: Vec<_> = rest.steps.iter().map(|step| step.when).collect();
    assert_eq!(whens, [When::Start, When::With { after_us: 9 }, When::Then]);
    assert_eq!(limits::check(&rest), Ok(()));
}

#[test_log::test]
fn lanes_and_signals_to_them_are_counted_anew() {
    let signal = |lane| Op::Signal { lane, restart: true };
    let original = story(vec![
        step(0, When::Then, signal(1)),
        step(2, When::Then, signal(0)),
        step(1, When::Then, signal(3)),
        step(3, When::Then, send(1)),
    ]);
    let mut rest = original.clone();
    crate::edit::remove_lane(&mut rest, 1);
    let steps: Vec<_> = rest.steps.iter().map(|step| (step.lane, step.op)).collect();
    assert_eq!(steps, [(1, signal(0)), (2, send(1))]);
    let mut rest = original.clone();
    crate::edit::merge_lanes(&mut rest, 0, 2);
    let steps: Vec<_> = rest.steps.iter().map(|step| (step.lane, step.op)).collect();
    assert_eq!(steps, [(0, signal(1)), (1, signal(2)), (2, send(1))]);
    let mut rest = original;
    crate::edit::remove_pair(&mut rest, 0);
    assert_eq!((rest.pairs, rest.lanes.len()), (1, 1));
    assert_eq!((rest.lanes[0].pair, &rest.lanes[0].name[..]), (0, "l3"));
    assert_eq!(limits::check(&rest), Ok(()));
}

#[test_log::test]
fn overlap_goes_where_it_does_not_matter_and_stays_where_it_does() {
    let blocking =
        Op::Recv { len: 9, flags: RecvFlags::empty(), buffer: Buffer::Mapped, by: By::Call };
    let original = story(vec![
        step(1, When::Start, blocking),
        step(0, When::Then, send(9)),
        step(2, When::Then, send(3)),
    ]);
    let has = |scenario: &Scenario, op| scenario.steps.iter().any(|step| step.op == op);
    let both = |scenario: &Scenario| {
        Ok::<_, Infallible>(has(scenario, blocking) && has(scenario, send(9)))
    };
    let small = shrink(&original, Mode::Thorough, 1_000, both).unwrap();
    // what may have woken the receive comes before it
    let expected = [step(0, When::Then, send(9)), step(1, When::Then, blocking)];
    assert_eq!(small.steps, expected);
    let overlap = |scenario: &Scenario| {
        let started = |step: &Step| step.when == When::Start && step.op == blocking;
        Ok::<_, Infallible>(scenario.steps.iter().any(started) && has(scenario, send(9)))
    };
    let small = shrink(&original, Mode::Thorough, 1_000, overlap).unwrap();
    assert_eq!(small.steps, original.steps[..2]);
}

#[test_log::test]
fn what_need_not_sleep_does_not_and_nothing_sleeps_in_vain_after_that() {
    let sleeping =
        |len| Op::Recv { len, flags: RecvFlags::empty(), buffer: Buffer::Mapped, by: By::Call };
    let wait = Op::Wait { events: Ready::IN, timeout_ms: 900, by: Waiter::Epoll };
    let ops = [send(1), sleeping(1), send(2), sleeping(2), wait, send(3), sleeping(3), send(4)];
    let original = story(ops.map(|op| step(0, When::Then, op)).to_vec());
    let mut slept = 0;
    let small = shrink(&original, Mode::Thorough, 1_000, |scenario| {
        slept += sleepers(scenario);
        sends_over(9)(scenario)
    });
    assert_eq!((slept, small.unwrap().steps.len()), (0, 1));
    let mut slept = 0;
    let needs = |scenario: &Scenario| scenario.steps.iter().any(|step| step.op == sleeping(2));
    let small = shrink(&original, Mode::Thorough, 1_000, |scenario| {
        slept += sleepers(scenario);
        Ok::<_, Infallible>(needs(scenario))
    });
    assert_eq!(small.unwrap().steps[..], [step(0, When::Then, sleeping(2))]);
    assert!(slept < 30, "{slept}");
}

#[test_log::test]
fn lanes_of_one_endpoint_and_calls_of_one_lane_become_one() {
    let original = story(vec![
        step(0, When::Then, send(4_000)),
        step(1, When::Then, recv(50)),
        step(2, WITH, send(5_000)),
        step(0, When::Then, send(6_000)),
    ]);
    let sent = sends_over(14_999);
    let shows = |scenario: &Scenario| {
        let received = scenario.steps.iter().any(|step| matches!(step.op, Op::Recv { .. }));
        Ok::<_, Infallible>(received && sent(scenario)?)
    };
    let small = shrink(&original, Mode::Thorough, 1_000, shows).unwrap();
    let expected = [step(0, When::Then, send(15_000)), step(1, When::Then, recv(1))];
    assert_eq!(small.steps, expected);
}

#[test_log::test]
fn calls_become_plain() {
    let flags = SendFlags::DONTWAIT | SendFlags::MORE | SendFlags::NOSIGNAL;
    let vector = Op::Send { len: 70_000, flags, buffer: Buffer::Torn(60_000), by: By::Vector(7) };
    let original = story(vec![step(0, When::Then, send(5)), step(0, When::Then, vector)]);
    let small = shrink(&original, Mode::Thorough, 1_000, sends_over(20_000)).unwrap();
    assert_eq!(small.steps[..], [step(0, When::Then, send(65_536))]);
    // one flag and the pieces are needed
    let needs = |scenario: &Scenario| {
        let is_it = |step: &Step| match step.op {
            Op::Send { flags, by: By::Vector(2..), .. } => flags.contains(SendFlags::MORE),
            _ => false,
        };
        Ok::<_, Infallible>(scenario.steps.iter().any(is_it))
    };
    let small = shrink(&original, Mode::Thorough, 1_000, needs).unwrap();
    let flags = SendFlags::DONTWAIT | SendFlags::MORE;
    let expected = Op::Send { len: 1, flags, buffer: Buffer::Mapped, by: By::Vector(2) };
    assert_eq!(small.steps[..], [step(0, When::Then, expected)]);
}

#[test_log::test]
fn two_steps_that_need_each_other_go_together() {
    let couple = [step(0, When::Then, Op::Disconnect), step(0, When::Then, Op::Connect)];
    let original = story([couple.to_vec(), vec![step(1, When::Then, send(1))]].concat());
    let balanced = |scenario: &Scenario| {
        let count = |op| scenario.steps.iter().filter(|step| step.op == op).count();
        let sends = count(send(1));
        Ok::<_, Infallible>(sends == 1 && count(Op::Disconnect) == count(Op::Connect))
    };
    let between = {
        let mut steps = original.steps.clone();
        steps.insert(1, step(1, When::Then, Op::Poll));
        Scenario { steps, ..original }
    };
    let shows = |scenario: &Scenario| {
        // the poll goes first, so that no run of two steps is the couple
        let polls = scenario.steps.iter().any(|step| step.op == Op::Poll);
        Ok::<_, Infallible>(polls && balanced(scenario)?)
    };
    let small = shrink(&between, Mode::Thorough, 1_000, shows).unwrap();
    let ops: Vec<_> = small.steps.iter().map(|step| step.op).collect();
    assert_eq!(ops, [Op::Poll, send(1)]);
}

#[test_log::test]
fn a_violated_expectation_keeps_the_scenario_as_it_was_written() {
    let expecting =
        |lane, op| Step { expect: Some(Expect::Value(7)), ..step(lane, When::Then, op) };
    let original = story(vec![expecting(0, send(7)), expecting(1, recv(9))]);
    let differs = |scenario: &Scenario| {
        let last = scenario.steps.last();
        Ok::<_, Infallible>(last.is_some_and(|step| step.expect.is_some()))
    };
    let small = shrink(&original, Mode::Thorough, 1_000, differs).unwrap();
    let mut expected = original.clone();
    expected.steps[0].expect = None;
    assert_eq!(small, expected);
    // what does not need them loses them
    let small = shrink(&original, Mode::Thorough, 1_000, sends_over(5)).unwrap();
    assert_eq!(small.steps[..], [step(0, When::Then, send(7))]);
}

#[test_log::test]
fn a_bold_search_takes_few_tries() {
    let ops = [send(1), recv(5), Op::Poll, Op::Inq];
    let steps = (0..40).map(|at| step(at % 4, When::Then, ops[usize::from(at % 4)]));
    let mut original = story(steps.collect());
    original.steps[29].op = Op::Destroy;
    let mut tries = 0;
    let small = shrink(&original, Mode::Bold, 24, |scenario| {
        tries += 1;
        Ok::<_, Infallible>(scenario.steps.iter().any(|step| step.op == Op::Destroy))
    })
    .unwrap();
    assert!(tries <= 24 && small.steps.len() <= 2, "{tries} tries, {small:?}");
    assert_eq!((small.pairs, small.lanes.len()), (1, 1));
}

#[test_log::test]
fn a_threshold_follows_from_what_the_original_did() {
    assert_eq!(Threshold::for_measured(0, 10), None);
    assert_eq!(Threshold::for_measured(10, 10), Some(Threshold::SURE));
    let of = |hits| Threshold::for_measured(hits, 10).unwrap().of;
    assert_eq!([9, 8, 7, 5, 3, 2, 1].map(of), [3, 4, 4, 7, 12, 18, 38]);
    assert_eq!(Threshold::for_measured(1, 1_000).unwrap(), Threshold { hits: 2, of: 40 });
}
