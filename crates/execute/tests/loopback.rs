//! The executor on plain TCP, over the loopback of the machine that the test runs on.

use std::time::Duration;

use execute::Executor;
use scenario::history::{At, Bounds, Errno, Outcome, Pairing, Record};
use scenario::payload::{Key, Run, Stream};
use scenario::{
    Buffer, By, Endpoint, Family, History, How, Lane, Op, Ready, RecvFlags, Scenario, SendFlags,
    Setup, SockOption, Step, When,
};

const RUN: u16 = 7;
/// Indices of the lanes.
const CLIENT: u8 = 0;
const SERVER: u8 = 1;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

fn bounds() -> Bounds {
    Bounds { call_ms: 100, drain_ms: 2_000, settle_ms: 250 }
}

fn scenario(steps: &[(u8, Op)]) -> Scenario {
    let lane = |name: &str, endpoint| Lane { name: name.into(), pair: 0, endpoint };
    Scenario {
        lanes: vec![lane("c", Endpoint::Client), lane("s", Endpoint::Server)],
        steps: steps
            .iter()
            .map(|&(lane, op)| Step { lane, when: When::Then, op, expect: None })
            .collect(),
        setup: Endpoint::BOTH
            .map(|endpoint| Setup { pair: 0, endpoint, option: SockOption::NonBlock(true) })
            .into(),
        ..Scenario::default()
    }
}

fn execute(scenario: &Scenario) -> History {
    let mut executor = Executor::new(None, Key::from_seed(1), CONNECT).unwrap();
    executor.execute(RUN, scenario, bounds()).unwrap()
}

#[test_log::test]
fn the_ring_counter_counts_what_is_new() {
    let mut executor = Executor::new(None, Key::from_seed(1), CONNECT).unwrap();
    assert_eq!(executor.execute(RUN, &scenario(&[]), bounds()).unwrap().ring_counter, None);
    let counter = tempfile::NamedTempFile::new().unwrap();
    assert!(executor.count_ring_by(counter.path()).is_err(), "it holds no number");
    std::fs::write(counter.path(), "18446744073709551615\n").unwrap();
    executor.count_ring_by(counter.path()).unwrap();
    assert_eq!(executor.execute(RUN, &scenario(&[]), bounds()).unwrap().ring_counter, Some(0));
}

fn send(len: u32) -> Op {
    Op::Send { len, flags: SendFlags::empty(), buffer: Buffer::Mapped, by: By::Call }
}

fn send_with(len: u32, flags: SendFlags, buffer: Buffer) -> Op {
    Op::Send { len, flags, buffer, by: By::Call }
}

fn recv(len: u32) -> Op {
    Op::Recv { len, flags: RecvFlags::empty(), buffer: Buffer::Mapped, by: By::Call }
}

fn recv_with(len: u32, flags: RecvFlags, buffer: Buffer) -> Op {
    Op::Recv { len, flags, buffer, by: By::Call }
}

fn bytes(lane: u8, offset: u64, len: u32) -> Outcome {
    let stream = Stream { run: RUN, pair: 0, lane };
    Outcome::Received { count: len, data: vec![Run::Coded { stream, offset, len }], left: None }
}

const EOF: Outcome = Outcome::Received { count: 0, data: vec![], left: None };

fn steps(history: &History) -> Vec<&Record> {
    history.records.iter().filter(|record| record.at != At::Finale).collect()
}

fn outcomes(history: &History) -> Vec<Outcome> {
    steps(history).iter().map(|record| record.outcome.clone()).collect()
}

/// What the finale's receives on an endpoint returned.
fn drained(history: &History, endpoint: Endpoint) -> Vec<Outcome> {
    history
        .records
        .iter()
        .filter(|record| record.at == At::Finale && record.endpoint == endpoint)
        .filter(|record| matches!(record.op, Op::Recv { .. }))
        .map(|record| record.outcome.clone())
        .collect()
}

fn assert_accounts_agree(history: &History) {
    for traffic in history.connections[0].traffic {
        assert_eq!(traffic.tcp, Some(traffic.accepted), "{history:#?}");
        assert_eq!(traffic.off_tcp(), 0);
    }
}

#[test_log::test]
fn bytes_make_a_round_trip_on_both_families() {
    for family in [Family::V4, Family::V6] {
        let mut scenario = scenario(&[
            (CLIENT, send(1000)),
            (SERVER, recv(300)),
            (SERVER, recv(1000)),
            (SERVER, send(5)),
            (CLIENT, recv(100)),
            (CLIENT, recv(100)),
        ]);
        scenario.family = family;
        let history = execute(&scenario);
        assert_eq!(
            outcomes(&history),
            [
                Outcome::Value(1000),
                bytes(0, 0, 300),
                bytes(0, 300, 700),
                Outcome::Value(5),
                bytes(1, 0, 5),
                Outcome::Errno(Errno::EAGAIN),
            ]
        );
        assert_eq!(
            steps(&history).iter().map(|r| r.touched).collect::<Vec<_>>(),
            [0, 300, 700, 0, 5, 0]
        );
        assert_eq!(history.connections[0].pairing, Pairing::NotAsked);
        assert_accounts_agree(&history);
    }
}

#[test_log::test]
fn records_are_in_order_and_carry_the_other_sides_queue() {
    let history = execute(&scenario(&[
        (CLIENT, send(10)),
        (SERVER, Op::Inq),
        (SERVER, Op::Poll),
        (CLIENT, Op::Outq),
        (SERVER, recv(10)),
    ]));
    let times = history.records.iter().flat_map(|r| [r.call_ns, r.return_ns]);
    assert!(times.is_sorted());
    let steps = steps(&history);
    assert_eq!(steps[1].outcome, Outcome::Value(10));
    let Outcome::Ready(ready) = steps[2].outcome else { panic!("{:?}", steps[2]) };
    assert!(ready.contains(Ready::IN | Ready::OUT | Ready::RDNORM), "{ready:?}");
    assert!(matches!(steps[3].outcome, Outcome::Value(0 | 10)));
    assert!(steps[1].peer_outq.is_some() && steps[2].peer_outq.is_some());
    assert!(steps[4].peer_outq.is_some());
    assert_eq!((steps[0].peer_outq, steps[3].peer_outq), (None, None));
}

#[test_log::test]
fn what_no_step_receives_the_finale_does() {
    let history = execute(&scenario(&[(CLIENT, send(200_000)), (SERVER, send(3))]));
    assert_eq!(drained(&history, Endpoint::Client), [bytes(1, 0, 3), EOF]);
    let server = drained(&history, Endpoint::Server);
    assert_eq!(server.last(), Some(&EOF));
    let total: u64 = server
        .iter()
        .map(|outcome| match outcome {
            Outcome::Received { count, .. } => u64::from(*count),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(total, history.connections[0].traffic[0].accepted);
    assert!(total > 0);
    let tail: Vec<_> = history.records.iter().rev().take(1).map(|r| (r.op, &r.outcome)).collect();
    assert_eq!(tail, [(Op::SoError, &Outcome::Value(0))]);
    assert_accounts_agree(&history);
}

#[test_log::test]
fn the_finale_lets_go_what_cork_and_lowat_hold_back() {
    let history = execute(&scenario(&[
        (SERVER, Op::Set(SockOption::RcvLowat(1000))),
        (CLIENT, Op::Set(SockOption::Cork(true))),
        (CLIENT, send(10)),
        (SERVER, recv(10)),
        (CLIENT, send_with(10, SendFlags::MORE, Buffer::Mapped)),
    ]));
    assert_eq!(outcomes(&history)[3], Outcome::Errno(Errno::EAGAIN));
    assert_eq!(drained(&history, Endpoint::Server), [bytes(0, 0, 20), EOF]);
    let last = history.records.last().unwrap();
    assert!(Duration::from_nanos(last.return_ns) < Duration::from_millis(200), "{history:#?}");
    assert_accounts_agree(&history);
}

#[test_log::test]
fn a_full_connection_says_eagain_and_still_drains() {
    // More calls than the buffers have room for packets: where softirqs are late, acknowledgements
    // free room between two calls, and any of them may still be accepted in part.
    let mut steps = vec![(CLIENT, Op::Set(SockOption::SndBuf(4096)))];
    steps.extend([(CLIENT, send(1 << 18)); 32]);
    let mut scenario = scenario(&steps);
    scenario.setup.push(Setup {
        pair: 0,
        endpoint: Endpoint::Server,
        option: SockOption::RcvBuf(4096),
    });
    let history = execute(&scenario);
    assert!(outcomes(&history).contains(&Outcome::Errno(Errno::EAGAIN)));
    let mut offset = 0;
    for outcome in drained(&history, Endpoint::Server) {
        let Outcome::Received { count, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(outcome, if count == 0 { EOF } else { bytes(0, offset, count) });
        offset += u64::from(count);
    }
    assert_eq!(offset, history.connections[0].traffic[0].accepted);
    assert_accounts_agree(&history);
}

#[test_log::test]
fn completions_are_waited_for_only_where_they_are_due() {
    let mut scenario = scenario(&[(CLIENT, send_with(9, SendFlags::ZEROCOPY, Buffer::Mapped))]);
    let looks = |scenario: &Scenario| {
        let history = execute(scenario);
        history.records.iter().filter(|record| record.op == Op::ErrQueue).count()
    };
    assert_eq!(looks(&scenario), 0);
    let option = SockOption::ZeroCopy(true);
    scenario.setup.push(Setup { pair: 0, endpoint: Endpoint::Client, option });
    assert_eq!(looks(&scenario), 1);
}

#[test_log::test]
fn server_options_do_not_outlive_their_scenario() {
    let mut executor = Executor::new(None, Key::from_seed(1), CONNECT).unwrap();
    let steps: Vec<_> = [(CLIENT, send(1 << 20)); 16].into();
    let plain = scenario(&steps);
    let mut small = plain.clone();
    small.setup.push(Setup {
        pair: 0,
        endpoint: Endpoint::Server,
        option: SockOption::RcvBuf(4096),
    });
    let mut accepted = |scenario| {
        executor.execute(RUN, scenario, bounds()).unwrap().connections[0].traffic[0].accepted
    };
    let before = accepted(&plain);
    let within = accepted(&small);
    let after = accepted(&plain);
    assert!(within + 100_000 < before, "{within} {before}");
    assert!(within + 100_000 < after, "{within} {after}");
}

#[test_log::test]
fn unreadable_and_unwritable_buffers_fail() {
    let nothing = SendFlags::empty();
    let history = execute(&scenario(&[
        (CLIENT, send_with(100, nothing, Buffer::Unmapped)),
        (CLIENT, send(100)),
        (SERVER, recv_with(100, RecvFlags::empty(), Buffer::Unmapped)),
        (SERVER, recv(100)),
        (CLIENT, send_with(0, nothing, Buffer::Unmapped)),
        (SERVER, recv_with(0, RecvFlags::empty(), Buffer::Unmapped)),
    ]));
    assert_eq!(
        outcomes(&history),
        [
            Outcome::Errno(Errno::EFAULT),
            Outcome::Value(100),
            Outcome::Errno(Errno::EFAULT),
            bytes(0, 0, 100),
            Outcome::Value(0),
            // nothing is asked for, and yet TCP waits for something (tcp_recvmsg_locked)
            Outcome::Errno(Errno::EAGAIN),
        ]
    );
    assert_accounts_agree(&history);
}

#[test_log::test]
fn of_a_torn_buffer_the_mapped_part_is_used_at_most() {
    let history = execute(&scenario(&[
        (CLIENT, send_with(100, SendFlags::empty(), Buffer::Torn(40))),
        (CLIENT, send(100)),
        (SERVER, recv_with(100, RecvFlags::empty(), Buffer::Torn(30))),
    ]));
    // the bytes that were not accepted are sent again, so the stream has no gap
    let outcomes = outcomes(&history);
    let (sent, rest) = match outcomes[0] {
        Outcome::Value(n) => (n, 100),
        Outcome::Errno(Errno::EFAULT) => (0, 100),
        ref other => panic!("{other:?}"),
    };
    assert!(sent <= 40);
    assert_eq!(history.connections[0].traffic[0].accepted, u64::from(sent + rest));
    let mut offset = match &outcomes[2] {
        Outcome::Received { count, .. } => {
            assert!(*count <= 30);
            assert_eq!(outcomes[2], bytes(0, 0, *count));
            *count
        }
        other => {
            assert_eq!(*other, Outcome::Errno(Errno::EFAULT));
            0
        }
    };
    assert!(steps(&history)[2].touched <= 30);
    for outcome in drained(&history, Endpoint::Server) {
        let Outcome::Received { count, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(outcome, if count == 0 { EOF } else { bytes(0, offset.into(), count) });
        offset += count;
    }
    assert_eq!(u64::from(offset), history.connections[0].traffic[0].accepted);
    assert_accounts_agree(&history);
}

#[test_log::test]
fn peek_consumes_nothing_and_trunc_writes_nothing() {
    let history = execute(&scenario(&[
        (CLIENT, send(100)),
        (SERVER, recv_with(60, RecvFlags::PEEK, Buffer::Mapped)),
        (SERVER, recv_with(50, RecvFlags::TRUNC, Buffer::Mapped)),
        (SERVER, recv(100)),
    ]));
    assert_eq!(
        outcomes(&history)[1..],
        [
            bytes(0, 0, 60),
            Outcome::Received { count: 50, data: vec![], left: None },
            bytes(0, 50, 50),
        ]
    );
    assert_eq!(steps(&history)[2].touched, 0);
}

#[test_log::test]
fn urgent_data_is_found_where_it_is_in_the_stream() {
    let history = execute(&scenario(&[
        (CLIENT, send(20)),
        (CLIENT, send_with(1, SendFlags::OOB, Buffer::Mapped)),
        (CLIENT, send(20)),
        (SERVER, Op::Poll),
        (SERVER, recv_with(1, RecvFlags::OOB, Buffer::Mapped)),
        (SERVER, recv(100)),
        (SERVER, recv(100)),
    ]));
    let outcomes = outcomes(&history);
    assert!(matches!(outcomes[3], Outcome::Ready(ready) if ready.contains(Ready::PRI)));
    assert_eq!(outcomes[4..], [bytes(0, 20, 1), bytes(0, 0, 20), bytes(0, 21, 20)]);
    assert_eq!(drained(&history, Endpoint::Server), [EOF]);
    assert_eq!(history.connections[0].traffic[0].accepted, 41);
    assert_accounts_agree(&history);
}

#[test_log::test]
fn sigpipe_is_counted_on_the_call_that_raised_it() {
    let history = execute(&scenario(&[
        (CLIENT, Op::Shutdown(How::Wr)),
        (CLIENT, send_with(1, SendFlags::NOSIGNAL, Buffer::Mapped)),
        (CLIENT, send(1)),
        (CLIENT, Op::Poll),
        (SERVER, recv(1)),
        (SERVER, send(1)),
    ]));
    let epipe = Outcome::Errno(Errno::EPIPE);
    assert_eq!(outcomes(&history)[1..3], [epipe.clone(), epipe]);
    assert_eq!(outcomes(&history)[4], EOF);
    let raised: Vec<_> = history.records.iter().map(|record| record.sigpipe).collect();
    assert_eq!(raised.iter().position(|&raised| raised), Some(2));
    assert_eq!(raised.iter().filter(|&&raised| raised).count(), 1);
    assert_accounts_agree(&history);
}

#[test_log::test]
fn a_closed_endpoint_is_not_called() {
    let history = execute(&scenario(&[
        (CLIENT, send(10)),
        (CLIENT, Op::Close),
        (CLIENT, recv(10)),
        (CLIENT, Op::Close),
        (SERVER, recv(10)),
        (SERVER, recv(10)),
    ]));
    assert_eq!(
        outcomes(&history)[1..],
        [Outcome::Value(0), Outcome::Closed, Outcome::Closed, bytes(0, 0, 10), EOF]
    );
    assert_eq!(steps(&history)[4].peer_outq, None);
    assert!(history.records.iter().all(|r| r.at != At::Finale || r.endpoint == Endpoint::Server));
    assert_accounts_agree(&history);
}

#[test_log::test]
fn an_abort_and_a_close_with_unread_bytes_reset_the_peer() {
    for ending in [Op::Abort, Op::Close] {
        let history = execute(&scenario(&[
            (SERVER, send(10)),
            (CLIENT, ending),
            (SERVER, recv(10)),
            (SERVER, recv(10)),
            (SERVER, send(10)),
        ]));
        assert_eq!(
            outcomes(&history)[1..],
            [
                Outcome::Value(0),
                Outcome::Errno(Errno::ECONNRESET),
                EOF,
                Outcome::Errno(Errno::EPIPE)
            ],
            "{ending:?}"
        );
    }
}

#[test_log::test]
fn a_blocking_call_that_does_not_return_is_stuck() {
    let mut scenario = scenario(&[
        (SERVER, recv(10)),
        (SERVER, recv_with(10, RecvFlags::DONTWAIT, Buffer::Mapped)),
        (CLIENT, send(10)),
        (SERVER, recv_with(20, RecvFlags::WAITALL, Buffer::Mapped)),
        (SERVER, Op::Set(SockOption::NonBlock(true))),
        (SERVER, recv(10)),
    ]);
    scenario.setup.clear();
    let history = execute(&scenario);
    assert_eq!(
        outcomes(&history),
        [
            Outcome::Stuck,
            Outcome::Errno(Errno::EAGAIN),
            Outcome::Value(10),
            // interrupted after a part of it came
            bytes(0, 0, 10),
            Outcome::Value(0),
            Outcome::Errno(Errno::EAGAIN),
        ]
    );
    let stuck = steps(&history)[0];
    let took = Duration::from_nanos(stuck.return_ns - stuck.call_ns);
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert_eq!(drained(&history, Endpoint::Server), [EOF]);
}

#[test_log::test]
fn a_fin_behind_unsent_bytes_is_not_counted_as_one() {
    let mut steps: Vec<_> = [(CLIENT, send(1 << 20)); 8].into();
    steps.extend([(CLIENT, Op::Shutdown(How::Wr)), (CLIENT, Op::Abort)]);
    let history = execute(&scenario(&steps));
    assert!(history.connections[0].traffic[0].accepted > 1 << 20);
    assert_accounts_agree(&history);
}

#[test_log::test]
fn a_lane_may_be_missing() {
    let mut one = scenario(&[(0, recv(10)), (0, send(10))]);
    one.lanes.remove(0);
    let history = execute(&one);
    assert_eq!(outcomes(&history), [Outcome::Errno(Errno::EAGAIN), Outcome::Value(10)]);
    assert_eq!(drained(&history, Endpoint::Client), [bytes(0, 0, 10), EOF]);
}

#[test_log::test]
fn a_scenario_beyond_the_limits_is_refused() {
    let torn = send_with(10, SendFlags::empty(), Buffer::Torn(10));
    let mut executor = Executor::new(None, Key::from_seed(1), CONNECT).unwrap();
    assert!(executor.execute(RUN, &scenario(&[(CLIENT, torn)]), bounds()).is_err());
}
