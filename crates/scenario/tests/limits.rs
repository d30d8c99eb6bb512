//! The limits refuse what is just beyond them, and nothing else.

use scenario::limits::{self, Excess};
use scenario::{
    Buffer, By, Endpoint, Lane, Op, RecvFlags, Scenario, SendFlags, Setup, SockOption, Step,
    Topology, When, Wire,
};

/// A client's lane and a server's, with these steps of the first.
fn with_steps(steps: impl IntoIterator<Item = Op>) -> Scenario {
    let lane = |name: &str, endpoint| Lane { name: name.to_owned(), pair: 0, endpoint };
    let step = |op| Step { lane: 0, when: When::Then, op, expect: None };
    Scenario {
        lanes: vec![lane("c", Endpoint::Client), lane("s", Endpoint::Server)],
        steps: steps.into_iter().map(step).collect(),
        ..Scenario::default()
    }
}

fn send(len: u32, flags: SendFlags, by: By, buffer: Buffer) -> Op {
    Op::Send { len, flags, buffer, by }
}

fn plain(len: u32) -> Op {
    send(len, SendFlags::empty(), By::Call, Buffer::Mapped)
}

/// What the limits say to a scenario after a change.
fn after(change: impl FnOnce(&mut Scenario)) -> Result<(), Excess> {
    let mut scenario = with_steps([Op::Poll]);
    change(&mut scenario);
    limits::check(&scenario)
}

#[test_log::test]
fn pairs_and_their_wire() {
    assert_eq!(after(|s| s.pairs = 0), Err(Excess::Pairs(0)));
    assert_eq!(after(|s| s.pairs = limits::PAIRS), Ok(()));
    assert_eq!(after(|s| s.pairs = limits::PAIRS + 1), Err(Excess::Pairs(limits::PAIRS + 1)));
    assert_eq!(after(|s| s.lanes[1].pair = 1), Err(Excess::Pair(1, 1)));
    let wire = |topology, delay_us, loss_permille| {
        after(|s| {
            s.topology = topology;
            s.wire = Wire { delay_us, loss_permille };
        })
    };
    assert_eq!(wire(Topology::Loopback, 1, 0), Err(Excess::Wire));
    assert_eq!(wire(Topology::Veth, limits::WAIT_US, 500), Ok(()));
    assert_eq!(wire(Topology::Bridge, limits::WAIT_US + 1, 0), Err(Excess::Wire));
    assert_eq!(wire(Topology::Bridge, 0, 501), Err(Excess::Wire));
}

#[test_log::test]
fn options_in_force_before_the_first_step() {
    let set =
        |pair, option| after(|s| s.setup.push(Setup { pair, endpoint: Endpoint::Server, option }));
    assert_eq!(set(0, SockOption::Linger(1)), Ok(()));
    assert_eq!(set(0, SockOption::Linger(2)), Err(Excess::Linger));
    assert_eq!(set(1, SockOption::Cork(true)), Err(Excess::Pair(1, 1)));
}

#[test_log::test]
fn lanes_and_their_names() {
    let many = |n: usize| {
        after(|s| {
            let lane = |at| Lane { name: format!("l{at}"), pair: 0, endpoint: Endpoint::Client };
            s.lanes = (0..n).map(lane).collect();
        })
    };
    assert_eq!(many(limits::LANES), Ok(()));
    assert_eq!(many(limits::LANES + 1), Err(Excess::Lanes(limits::LANES + 1)));
    let named = |name: &str| after(|s| s.lanes[1].name = name.to_owned());
    let longest = "x".repeat(limits::NAME_BYTES);
    assert_eq!(named(&longest), Ok(()));
    for bad in ["", "c", "C", "1a", "-a", "a b", "a:", "ü", &(longest + "x")] {
        assert_eq!(named(bad), Err(Excess::LaneName(bad.to_owned())));
    }
}

#[test_log::test]
fn what_a_scenario_has_in_all() {
    let check = |op, n| limits::check(&with_steps(vec![op; n]));
    assert_eq!(check(Op::Poll, limits::STEPS), Ok(()));
    assert_eq!(check(Op::Poll, limits::STEPS + 1), Err(Excess::Steps(limits::STEPS + 1)));
    assert_eq!(check(plain(limits::CALL_BYTES), 16), Ok(()));
    let total = 17 * u64::from(limits::CALL_BYTES);
    assert_eq!(check(plain(limits::CALL_BYTES), 17), Err(Excess::TotalBytes(total)));
    assert_eq!(check(Op::Connect, limits::CONNECTIONS - 1), Ok(()));
    let connections = limits::CONNECTIONS + 1;
    assert_eq!(check(Op::Connect, limits::CONNECTIONS), Err(Excess::Connections(connections)));
    for op in [Op::Dup, Op::Fork] {
        assert_eq!(check(op, limits::HOLDERS - 1), Ok(()));
        assert_eq!(check(op, limits::HOLDERS), Err(Excess::Holders(limits::HOLDERS - 1)));
    }
}

#[test_log::test]
fn holders_are_counted_for_each_socket() {
    let mut scenario = with_steps(vec![Op::Dup; 2 * (limits::HOLDERS - 1)]);
    for step in scenario.steps.iter_mut().step_by(2) {
        step.lane = 1;
    }
    assert_eq!(limits::check(&scenario), Ok(()));
}

#[test_log::test]
fn lanes_that_are_not_there() {
    assert_eq!(after(|s| s.steps[0].lane = 2), Err(Excess::Lane(0)));
    let signal = |lane| limits::check(&with_steps([Op::Signal { lane, restart: false }]));
    assert_eq!(signal(1), Ok(()));
    assert_eq!(signal(2), Err(Excess::Lane(0)));
    let mut scenario = with_steps([Op::Connect]);
    scenario.steps[0].lane = 1;
    assert_eq!(limits::check(&scenario), Err(Excess::Connect(0)));
}

#[test_log::test]
fn steps_that_wait() {
    assert_eq!(after(|s| s.steps[0].when = When::With { after_us: 0 }), Err(Excess::With));
    let with = |after_us| {
        let mut scenario = with_steps([Op::Poll, Op::Poll]);
        scenario.steps[1].when = When::With { after_us };
        limits::check(&scenario)
    };
    assert_eq!(with(limits::WAIT_US), Ok(()));
    assert_eq!(with(limits::WAIT_US + 1), Err(Excess::Wait(1)));
    let check = |op| limits::check(&with_steps([op]));
    let wait = |timeout_ms| {
        check(Op::Wait { events: scenario::Ready::IN, timeout_ms, by: scenario::Waiter::Select })
    };
    assert_eq!(wait(1_000), Ok(()));
    assert_eq!(wait(1_001), Err(Excess::Wait(0)));
    assert_eq!(check(Op::Pause(limits::WAIT_US)), Ok(()));
    assert_eq!(check(Op::Pause(limits::WAIT_US + 1)), Err(Excess::Wait(0)));
    assert_eq!(check(Op::Set(SockOption::Linger(1))), Ok(()));
    assert_eq!(check(Op::Set(SockOption::Linger(2))), Err(Excess::Wait(0)));
}

#[test_log::test]
fn calls_and_their_buffers() {
    let check = |op| limits::check(&with_steps([op]));
    assert_eq!(check(plain(limits::CALL_BYTES + 1)), Err(Excess::CallBytes(0)));
    let torn = |mapped| check(send(10, SendFlags::empty(), By::Call, Buffer::Torn(mapped)));
    assert_eq!(torn(9), Ok(()));
    assert_eq!(torn(10), Err(Excess::Torn(0)));
}

#[test_log::test]
fn what_each_call_can_be_asked_for() {
    let check = |op| limits::check(&with_steps([op])).is_ok();
    let all = SendFlags::all();
    for make in [By::Vector, By::Batch] {
        for (pieces, fine) in
            [(0, false), (1, true), (limits::PIECES, true), (limits::PIECES + 1, false)]
        {
            assert_eq!(check(send(10, all, make(pieces), Buffer::Mapped)), fine, "{pieces}");
        }
    }
    let movers = [By::Call, By::Vector(2), By::Batch(2), By::Uring, By::Splice, By::Tee, By::File];
    for by in movers {
        let any_buffer = matches!(by, By::Call | By::Vector(_));
        let any_flag = !(by.is_piped() || by == By::File);
        let receives = by != By::File;
        for buffer in [Buffer::Unmapped, Buffer::Torn(1)] {
            assert_eq!(check(send(10, SendFlags::empty(), by, buffer)), any_buffer, "{by}");
        }
        assert_eq!(check(send(10, all, by, Buffer::Mapped)), any_flag, "{by}");
        assert_eq!(check(send(10, SendFlags::MORE, by, Buffer::Mapped)), by != By::File, "{by}");
        let recv = |flags| check(Op::Recv { len: 10, flags, buffer: Buffer::Mapped, by });
        assert_eq!(recv(RecvFlags::empty()), receives, "{by}");
        assert_eq!(recv(RecvFlags::DONTWAIT), receives && any_flag, "{by}");
    }
}
