//! Which steps ran as meant.

use scenario::history::{At, Bounds, Connection, Errno, Outcome, Pairing, Record, Traffic};
use scenario::payload::Key;
use scenario::{Endpoint, History, Lane, Op, Scenario, Step, When};

use crate::{Ran, meant};

fn record(at: At, outcome: Outcome) -> Record {
    Record {
        at,
        lane: Some(0),
        connection: 0,
        endpoint: Endpoint::Client,
        op: Op::Poll,
        call_ns: 0,
        return_ns: 0,
        peer_outq: None,
        outcome,
        cpu_ns: 0,
        ticked_ns: 0,
        touched: 0,
        sigpipe: false,
        interrupted: false,
        copy_differs: None,
    }
}

#[test_log::test]
fn what_was_not_called_was_interrupted_or_makes_no_sense_was_not_meant() {
    let outcomes = [
        (Outcome::Value(0), true),
        (Outcome::Errno(Errno::EAGAIN), true),
        (Outcome::Errno(Errno::EPIPE), true),
        (Outcome::Errno(Errno::ECONNRESET), true),
        (Outcome::Errno(Errno::ENOTCONN), false),
        (Outcome::Errno(Errno::EINVAL), false),
        (Outcome::Stuck, false),
        (Outcome::Closed, false),
    ];
    let step = Step { lane: 0, when: When::Then, op: Op::Poll, expect: None };
    let scenario = Scenario {
        lanes: vec![Lane { name: "c".to_owned(), pair: 0, endpoint: Endpoint::Client }],
        // one more than was recorded
        steps: vec![step; outcomes.len() + 1],
        ..Scenario::default()
    };
    let mut records: Vec<_> =
        (0..).zip(&outcomes).map(|(at, (out, _))| record(At::Step(at), out.clone())).collect();
    records.push(record(At::Finale, Outcome::Value(0)));
    let history = History {
        key: Key::from_seed(1),
        run: 0,
        connections: vec![Connection {
            pair: 0,
            pairing: Pairing::NotAsked,
            traffic: [Traffic::default(); 2],
        }],
        bounds: Bounds::default(),
        records,
        ring_counter: None,
    };
    let expected = u32::try_from(outcomes.iter().filter(|(_, meant)| *meant).count());
    assert_eq!(Ok(meant(&scenario, &history).meant), expected);
    assert_eq!(meant(&scenario, &history), Ran { meant: 4, steps: 9 });
}
