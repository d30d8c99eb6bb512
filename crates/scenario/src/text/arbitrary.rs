//! Every scenario within the limits, for property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::case::{Endpoint, Expect, Family, Lane, Scenario, Setup, Step, Topology};
use crate::history::Errno;
use crate::limits;
use crate::op::{Buffer, How, Op, Ready, RecvFlags, SendFlags, SockOption};

/// A scenario within the limits.
pub(super) fn scenario() -> impl Strategy<Value = Scenario> {
    let setup =
        (endpoint(), sock_option()).prop_map(|(endpoint, option)| Setup { endpoint, option });
    (
        any::<bool>(),
        vec(setup, 0..8),
        lanes(),
        vec((any::<bool>(), op(), option::of(expect())), 0..24),
    )
        .prop_map(|(v6, setup, lanes, steps)| {
            let steps = steps.into_iter().filter(|_| !lanes.is_empty());
            let steps = steps.map(|(second, op, expect)| Step {
                lane: u8::from(second && lanes.len() > 1),
                op,
                expect,
            });
            Scenario {
                topology: Topology::Loopback,
                family: if v6 { Family::V6 } else { Family::V4 },
                setup,
                steps: steps.collect(),
                lanes,
            }
        })
        .prop_filter("beyond the limits", |s| limits::check(s).is_ok())
}

/// No lane, one, or both in either order. The words of the language are names like any other.
fn lanes() -> impl Strategy<Value = Vec<Lane>> {
    let name = prop_oneof![
        "[a-z][a-z0-9-]{0,15}",
        select(vec!["end", "set", "lane", "send", "ring", "c"]).prop_map(str::to_owned),
    ];
    (name.clone(), name, any::<bool>(), 0usize..=2).prop_map(|(first, second, swapped, n)| {
        let [one, other] =
            if swapped { [Endpoint::Server, Endpoint::Client] } else { Endpoint::BOTH };
        let both = [(first, one), (second, other)];
        let lanes = both.map(|(name, endpoint)| Lane { name, endpoint });
        lanes.into_iter().take(n).collect()
    })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    select(Endpoint::BOTH.to_vec())
}

fn sock_option() -> impl Strategy<Value = SockOption> {
    prop_oneof![
        any::<bool>().prop_map(SockOption::Cork),
        any::<bool>().prop_map(SockOption::NoDelay),
        any::<bool>().prop_map(SockOption::NonBlock),
        any::<u32>().prop_map(SockOption::RcvBuf),
        any::<u32>().prop_map(SockOption::SndBuf),
        any::<u32>().prop_map(SockOption::RcvLowat),
    ]
}

fn len_and_buffer() -> impl Strategy<Value = (u32, Buffer)> {
    let len = prop_oneof![0u32..100, 0..=limits::CALL_BYTES];
    (len, 0..3, any::<u32>()).prop_map(|(len, kind, mapped)| {
        let buffer = match kind {
            0 => Buffer::Unmapped,
            1 if len > 0 => Buffer::Torn(mapped % len),
            _ => Buffer::Mapped,
        };
        (len, buffer)
    })
}

fn op() -> impl Strategy<Value = Op> {
    let bare = vec![Op::Poll, Op::Inq, Op::Outq, Op::SoError, Op::Close, Op::Abort];
    prop_oneof![
        3 => (len_and_buffer(), any::<u8>()).prop_map(|((len, buffer), bits)| Op::Send {
            len,
            flags: SendFlags::from_bits_truncate(bits),
            buffer,
        }),
        3 => (len_and_buffer(), any::<u8>()).prop_map(|((len, buffer), bits)| Op::Recv {
            len,
            flags: RecvFlags::from_bits_truncate(bits),
            buffer,
        }),
        2 => sock_option().prop_map(Op::Set),
        1 => select(vec![How::Rd, How::Wr, How::Rdwr]).prop_map(Op::Shutdown),
        2 => select(bare),
    ]
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        any::<u32>().prop_map(Expect::Value),
        any::<i32>().prop_map(|n| Expect::Errno(Errno(n))),
        (0i32..140).prop_map(|n| Expect::Errno(Errno(n))),
        any::<u16>().prop_map(|bits| Expect::Ready(Ready::from_bits_truncate(bits))),
    ]
}
