//! Every scenario within the limits, for property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use strum::IntoEnumIterator;

use crate::case::{
    Attempt, Endpoint, Expect, Family, Lane, Scenario, Setup, Step, Topology, When, Wire,
};
use crate::history::Errno;
use crate::limits;
use crate::op::{Buffer, By, How, Op, Ready, RecvFlags, SendFlags, SockOption, Waiter};

/// A scenario within the limits.
pub(super) fn scenario() -> impl Strategy<Value = Scenario> {
    let setup = vec((endpoint(), any::<u8>(), sock_option()), 0..8);
    let step = (any::<u8>(), when(), op(), option::of(expect()));
    (network(), setup, lanes(), vec(step, 0..24))
        .prop_map(|(network, setup, lanes, steps)| {
            let pairs = network.pairs;
            let setup = setup.into_iter().map(|(endpoint, pair, option)| Setup {
                pair: pair % pairs,
                endpoint,
                option,
            });
            let lanes: Vec<Lane> =
                lanes.into_iter().map(|lane| Lane { pair: lane.pair % pairs, ..lane }).collect();
            let steps = steps.into_iter().filter(|_| !lanes.is_empty()).enumerate();
            let steps = steps.map(|(at, (lane, when, op, expect))| {
                let lane = among(&lanes, lane);
                let when = if at == 0 { When::Start } else { when };
                Step { lane, when, op: possible(op, &lanes, lane), expect }
            });
            let steps = steps.collect();
            Scenario { setup: setup.collect(), lanes, steps, ..network }
        })
        .prop_filter("beyond the limits", |s| limits::check(s).is_ok())
}

fn among(lanes: &[Lane], lane: u8) -> u8 {
    lane % u8::try_from(lanes.len()).expect("few lanes")
}

/// The op, if the lane can do it, or one that is like it.
fn possible(op: Op, lanes: &[Lane], lane: u8) -> Op {
    match op {
        Op::Signal { lane, restart } => Op::Signal { lane: among(lanes, lane), restart },
        Op::Connect if lanes[usize::from(lane)].endpoint == Endpoint::Server => Op::Disconnect,
        _ => op,
    }
}

/// A scenario in which nothing happens yet.
fn network() -> impl Strategy<Value = Scenario> {
    let topology = select(Topology::iter().collect::<Vec<_>>());
    let attempt = select(Attempt::iter().collect::<Vec<_>>());
    let wire = prop_oneof![
        Just(Wire::default()),
        (0..=limits::WAIT_US, 0..=500u32)
            .prop_map(|(delay_us, loss_permille)| Wire { delay_us, loss_permille }),
        (1..100u32).prop_map(|delay_us| Wire { delay_us, loss_permille: 0 }),
        (1..100u32).prop_map(|loss_permille| Wire { delay_us: 0, loss_permille }),
    ];
    (topology, wire, any::<bool>(), 1..=limits::PAIRS, attempt).prop_map(
        |(topology, wire, v6, pairs, attempt)| Scenario {
            topology,
            wire: if topology == Topology::Loopback { Wire::default() } else { wire },
            family: if v6 { Family::V6 } else { Family::V4 },
            pairs,
            attempt,
            ..Scenario::default()
        },
    )
}

/// As many lanes as there may be, or fewer. The words of the language are names like any other.
fn lanes() -> impl Strategy<Value = Vec<Lane>> {
    let words = vec![
        "end", "ending", "set", "lane", "send", "ring", "start", "with", "restart", "after", "by",
        "c",
    ];
    let name = prop_oneof!["[a-z][a-z0-9-]{0,15}", select(words).prop_map(str::to_owned)];
    let lane = (name, any::<u8>(), endpoint());
    let lane = lane.prop_map(|(name, pair, endpoint)| Lane { name, pair, endpoint });
    vec(lane, 0..=limits::LANES).prop_map(|mut lanes| {
        let mut names = std::collections::BTreeSet::new();
        lanes.retain(|lane| names.insert(lane.name.clone()));
        lanes
    })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    select(Endpoint::BOTH.to_vec())
}

fn when() -> impl Strategy<Value = When> {
    let after_us = prop_oneof![Just(0), 0..=limits::WAIT_US];
    prop_oneof![
        2 => Just(When::Then),
        1 => Just(When::Start),
        1 => after_us.prop_map(|after_us| When::With { after_us }),
    ]
}

fn sock_option() -> impl Strategy<Value = SockOption> {
    let switches: [fn(bool) -> SockOption; 7] = [
        SockOption::Cork,
        SockOption::NoDelay,
        SockOption::NonBlock,
        SockOption::OobInline,
        SockOption::KeepAlive,
        SockOption::TcpInq,
        SockOption::ZeroCopy,
    ];
    let numbers: [fn(u32) -> SockOption; 7] = [
        SockOption::RcvBuf,
        SockOption::SndBuf,
        SockOption::RcvLowat,
        SockOption::PeekOff,
        SockOption::RcvTimeo,
        SockOption::SndTimeo,
        SockOption::BusyPoll,
    ];
    prop_oneof![
        7 => (select(switches.to_vec()), any::<bool>()).prop_map(|(make, on)| make(on)),
        7 => (select(numbers.to_vec()), any::<u32>()).prop_map(|(make, n)| make(n)),
        1 => (0..=limits::WAIT_US / 1_000_000).prop_map(SockOption::Linger),
    ]
}

fn buffer(len: u32) -> impl Strategy<Value = Buffer> {
    (0..3, any::<u32>()).prop_map(move |(kind, mapped)| match kind {
        0 => Buffer::Unmapped,
        1 if len > 0 => Buffer::Torn(mapped % len),
        _ => Buffer::Mapped,
    })
}

/// Length, flags, buffer and call of a send or a receive, where `calls` are what it can be made by and `spliced` are
/// the flags that `splice(2)` knows.
fn transfer(calls: Vec<By>, spliced: u8) -> impl Strategy<Value = (u32, u8, Buffer, By)> {
    let len = prop_oneof![0u32..100, 0..=limits::CALL_BYTES];
    (len, any::<u8>(), select(calls), 1..=limits::PIECES).prop_flat_map(move |given| {
        let (len, bits, by, pieces) = given;
        let by = match by {
            By::Vector(_) => By::Vector(pieces),
            By::Batch(_) => By::Batch(pieces),
            other => other,
        };
        let bits = match by {
            By::Splice | By::Tee => bits & spliced,
            By::File => 0,
            _ => bits,
        };
        let any_buffer = matches!(by, By::Call | By::Vector(_));
        buffer(len).prop_map(move |buffer| {
            (len, bits, if any_buffer { buffer } else { Buffer::Mapped }, by)
        })
    })
}

fn op() -> impl Strategy<Value = Op> {
    let receives = vec![By::Call, By::Vector(0), By::Batch(0), By::Uring, By::Splice, By::Tee];
    let sends = [receives.clone(), vec![By::File]].concat();
    prop_oneof![
        3 => transfer(sends, SendFlags::MORE.bits()).prop_map(|(len, bits, buffer, by)| Op::Send {
            len,
            flags: SendFlags::from_bits_truncate(bits),
            buffer,
            by,
        }),
        3 => transfer(receives, 0).prop_map(|(len, bits, buffer, by)| {
            Op::Recv { len, flags: RecvFlags::from_bits_truncate(bits), buffer, by }
        }),
        2 => sock_option().prop_map(Op::Set),
        1 => wait(),
        1 => select(How::iter().collect::<Vec<_>>()).prop_map(Op::Shutdown),
        1 => (any::<u8>(), any::<bool>())
            .prop_map(|(lane, restart)| Op::Signal { lane, restart }),
        1 => (0..=limits::WAIT_US).prop_map(Op::Pause),
        4 => select(bare()),
    ]
}

fn wait() -> impl Strategy<Value = Op> {
    let waiter = select(Waiter::iter().collect::<Vec<_>>());
    (ready(), 0..=limits::WAIT_US / 1_000, waiter).prop_map(|(events, timeout_ms, by)| Op::Wait {
        events,
        timeout_ms,
        by,
    })
}

fn ready() -> impl Strategy<Value = Ready> {
    any::<u16>().prop_map(Ready::from_bits_truncate)
}

fn bare() -> Vec<Op> {
    vec![
        Op::ErrQueue,
        Op::Poll,
        Op::Inq,
        Op::Outq,
        Op::AtMark,
        Op::SoError,
        Op::Dup,
        Op::Fork,
        Op::Close,
        Op::Abort,
        Op::Destroy,
        Op::Disconnect,
        Op::Connect,
        Op::Unhash,
        Op::Rehash,
        Op::Detach,
        Op::Tls,
        Op::Repair,
    ]
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        any::<u32>().prop_map(Expect::Value),
        any::<i32>().prop_map(|n| Expect::Errno(Errno(n))),
        (0i32..140).prop_map(|n| Expect::Errno(Errno(n))),
        ready().prop_map(Expect::Ready),
    ]
}
