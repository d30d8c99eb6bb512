//! Lanes on plain TCP, over the loopback of the machine that the test runs on.

use std::time::Duration;

use execute::Executor;
use scenario::history::{At, Bounds, Errno, Outcome, Record};
use scenario::payload::{Key, Run};
use scenario::text::parse;
use scenario::{Endpoint, History, Op, Ready};

const RUN: u16 = 3;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Long enough that a busy machine's slowness is not taken for it.
const SETTLE_MS: u32 = 500;

fn bounds() -> Bounds {
    Bounds { call_ms: 2_000, drain_ms: 2_000, settle_ms: SETTLE_MS }
}

/// Runs what stands between the head and the end of a `.ring` text.
fn run(lanes: &str, steps: &str) -> History {
    let text = format!("ring 1\ntopology loopback\nfamily v4\n{lanes}\n{steps}\nend\n");
    let scenario = parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut executor = Executor::new(None, Key::from_seed(1), CONNECT).unwrap();
    executor.execute(RUN, &scenario, bounds()).unwrap()
}

const TWO: &str = "lane c client\nlane s server";

fn step(history: &History, number: u32) -> &Record {
    history.records.iter().rfind(|record| record.at == At::Step(number)).unwrap()
}

fn count(record: &Record) -> u32 {
    match record.outcome {
        Outcome::Received { count, .. } | Outcome::Value(count) => count,
        ref other => panic!("{other:?}"),
    }
}

#[test_log::test]
fn a_started_receive_sleeps_until_a_later_step_sends() {
    let history = run(TWO, "start s: recv 100\nc: pause 2000\nc: send 60\ns: recv 100 dontwait");
    let (recv, send) = (step(&history, 0), step(&history, 2));
    assert_eq!(count(recv), 60);
    assert!(recv.call_ns < send.call_ns && recv.return_ns > send.call_ns, "{history:#?}");
    assert!(recv.peer_outq.is_some(), "it was the only call when it began");
    // the lane's next step waited for it
    assert!(step(&history, 3).call_ns >= recv.return_ns);
    assert_eq!(step(&history, 3).outcome, Outcome::Errno(Errno::EAGAIN));
}

#[test_log::test]
fn what_nothing_wakes_is_interrupted_after_the_last_step() {
    let history = run(TWO, "start s: recv 100 waitall\nc: send 40\nc: inq");
    // bytes that had come are a result, and nothing else is
    assert_eq!(count(step(&history, 0)), 40);
    let history = run(TWO, "start s: recv 100\nc: inq");
    assert_eq!(step(&history, 0).outcome, Outcome::Stuck);
    let settle_ns = u64::from(SETTLE_MS) * 1_000_000;
    assert!(step(&history, 0).return_ns < settle_ns, "there was nothing to wait for");
    let asked = |op: Op| history.records.iter().any(|r| r.at == At::Finale && r.op == op);
    assert!(asked(Op::Poll) && asked(Op::Inq));
    let history =
        run(&format!("set server rcvlowat 100\n{TWO}"), "start s: wait in 1000\nc: send 40");
    assert_eq!(step(&history, 0).outcome, Outcome::Stuck);
    assert!(step(&history, 0).return_ns >= settle_ns, "bytes might have woken it");
}

#[test_log::test]
fn a_group_overlaps_and_its_lanes_are_free() {
    let lanes = "lane a client\nlane b client\nlane s server";
    let steps = "a: send 1000\nwith b: send 2000\nwith s: recv 3000 waitall\nwith a: send 500\n\
                 s: recv 500 waitall";
    let history = run(lanes, steps);
    assert!(
        step(&history, 3).call_ns >= step(&history, 0).return_ns,
        "one lane, one call at a time"
    );
    assert_eq!([0, 1, 3].map(|n| count(step(&history, n))), [1000, 2000, 500]);
    let mut lengths = [0u64; 2];
    for record in &history.records {
        let Outcome::Received { data, .. } = &record.outcome else { continue };
        for run in data {
            let Run::Coded { stream, len, .. } = run else { panic!("{run:?}") };
            lengths[usize::from(stream.lane)] += u64::from(*len);
        }
    }
    assert_eq!(lengths, [1500, 2000]);
    assert_eq!(history.connections[0].traffic[0].accepted, 3500);
}

#[test_log::test]
fn a_signal_ends_a_call_unless_it_is_restarted() {
    let history = run(TWO, "start s: recv 100\nc: signal s\nc: send 5\ns: recv 5");
    assert_eq!(step(&history, 0).outcome, Outcome::Errno(Errno::EINTR));
    assert_eq!(count(step(&history, 3)), 5);
    let history = run(TWO, "start s: recv 100\nc: signal s restart\nc: send 5");
    assert_eq!(count(step(&history, 0)), 5);
}

#[test_log::test]
fn an_endpoint_that_others_still_use_may_be_closed() {
    let lanes = "lane s server\nlane t server\nlane c client";
    let history = run(lanes, "start s: recv 100\nt: close\nc: send 7\ns: recv 5\nt: send 5");
    // close(2) does not wake a receive: that holds the file
    assert_eq!(count(step(&history, 0)), 7);
    assert_eq!(step(&history, 3).outcome, Outcome::Closed);
    assert_eq!(step(&history, 4).outcome, Outcome::Closed);
}

#[test_log::test]
fn the_last_holder_closes_the_socket() {
    let history =
        run(TWO, "c: dup\nc: fork\nc: close\nc: close\nc: send 9\ns: recv 9\nc: close\ns: recv 1");
    assert_eq!(count(step(&history, 5)), 9);
    assert_eq!(count(step(&history, 7)), 0);
    let history = run(TWO, "c: dup\nc: abort\nc: send 9\ns: recv 9\nc: abort\ns: recv 1");
    assert_eq!(count(step(&history, 3)), 9);
    assert_eq!(step(&history, 5).outcome, Outcome::Errno(Errno::ECONNRESET));
}

#[test_log::test]
fn a_pair_is_connected_anew_by_the_same_socket_and_from_the_same_port() {
    for end in ["c: disconnect", "c: abort\ns: abort"] {
        let history = run(TWO, &format!("c: send 10\n{end}\nc: connect\nc: send 20\ns: recv 30"));
        assert_eq!(history.connections.len(), 2);
        let last = history.records.iter().rfind(|r| r.at != At::Finale).unwrap();
        let Outcome::Received { count: 20, data, .. } = &last.outcome else { panic!("{last:?}") };
        assert_eq!((last.connection, last.endpoint), (1, Endpoint::Server));
        let Run::Coded { stream, offset: 0, .. } = data[0] else { panic!("{data:?}") };
        assert_eq!((stream.pair, stream.lane), (1, 0));
        assert_eq!(history.connections[0].traffic[0].accepted, 10);
    }
    let history = run(TWO, "c: connect\nc: send 1\ns: recv 1");
    assert_eq!(step(&history, 0).outcome, Outcome::Errno(Errno(libc::EISCONN)));
    assert_eq!(count(step(&history, 2)), 1);
}

#[test_log::test]
fn pairs_do_not_mix() {
    let lanes = "pairs 2\nlane c client\nlane d client 1\nlane t server 1\nlane s server";
    let text = lanes.replace("pairs 2\n", "");
    let head = format!("ring 1\ntopology loopback\nfamily v4\npairs 2\n{text}\n");
    let steps = "c: send 100\nd: send 200\ns: recv 300\nt: recv 300\nd: close\nt: recv 1\nend\n";
    let scenario = parse(&format!("{head}{steps}")).unwrap();
    let mut executor = Executor::new(None, Key::from_seed(1), CONNECT).unwrap();
    let history = executor.execute(RUN, &scenario, bounds()).unwrap();
    assert_eq!([2, 3, 5].map(|n| count(step(&history, n))), [100, 200, 0]);
    assert_eq!(history.connections.iter().map(|c| c.pair).collect::<Vec<_>>(), [0, 1]);
}

#[test_log::test]
fn a_wait_is_woken_by_what_it_waits_for() {
    for by in ["poll", "select", "epoll", "epoll-edge", "epoll-oneshot"] {
        let steps = format!("start s: wait in 1000 by {by}\nc: pause 1000\nc: send 1");
        let history = run(TWO, &steps.replace(" by poll", ""));
        let Outcome::Ready(ready) = step(&history, 0).outcome else { panic!("{history:#?}") };
        assert!(ready.contains(Ready::IN), "{by}: {ready:?}");
    }
}
