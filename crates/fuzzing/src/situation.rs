//! What a call met with: coverage that the kernel's code does not show.
//!
//! The same line of code runs on an empty ring and a full one, before a shutdown and after it. So libFuzzer is told, beside
//! the lines, in which combinations calls were made: of how much is under way in both directions, what is shut down,
//! whether a peek is pending, whether calls overlap, and what kind of call it is.

use scenario::history::{At, Outcome, Record};
use scenario::{History, How, Op, RecvFlags, Scenario};

/// How many situations there are.
pub const SITUATIONS: u32 = FILLS * FILLS * ENDS * ENDS * 2 * 2 * KINDS;
const FILLS: u32 = 6;
const ENDS: u32 = 4;
const KINDS: u32 = 4;

/// One endpoint of a connection, as far as its own returned calls tell.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// Bytes that its sends returned as accepted, without those that the other side's receives have returned.
    under_way: u64,
    /// It will not send any more.
    ended: bool,
    /// It will not receive any more.
    deaf: bool,
    /// Its last receive was a peek that saw something.
    has_peeked: bool,
}

impl Side {
    /// A few classes: nothing, up to a page, within the smallest ring, that ring full, within a large one, more.
    fn fill(&self) -> u32 {
        match self.under_way {
            0 => 0,
            1..4_096 => 1,
            4_096..16_384 => 2,
            16_384 => 3,
            16_385..=65_536 => 4,
            _ => 5,
        }
    }

    fn end(&self) -> u32 {
        u32::from(self.ended) + 2 * u32::from(self.deaf)
    }
}

/// The situations that the scenario's calls met with, each once, in ascending order: numbers below [`SITUATIONS`].
#[must_use]
pub fn situations(scenario: &Scenario, history: &History) -> Vec<u32> {
    let steps = |record: &&Record| matches!(record.at, At::Step(_));
    let mut called: Vec<&Record> = history.records.iter().filter(steps).collect();
    called.retain(|record| record.outcome != Outcome::Closed);
    called.sort_by_key(|record| record.call_ns);
    let mut returned = called.clone();
    returned.sort_by_key(|record| record.return_ns);
    let mut returned = returned.into_iter().peekable();
    let mut connections = vec![[Side::default(); 2]; history.connections.len()];
    let is_sequential = scenario.is_sequential();
    let mut met: Vec<u32> = called
        .iter()
        .filter_map(|record| {
            let before = |other: &&Record| other.return_ns <= record.call_ns;
            while let Some(other) = returned.next_if(before) {
                if let Some(sides) = connections.get_mut(usize::from(other.connection)) {
                    apply(sides, other);
                }
            }
            let sides = connections.get(usize::from(record.connection))?;
            let overlaps = !is_sequential && called.iter().any(|other| overlap(record, other));
            Some(number(sides, record, overlaps))
        })
        .collect();
    met.sort_unstable();
    met.dedup();
    met
}

fn number(sides: &[Side; 2], record: &Record, overlaps: bool) -> u32 {
    let (own, peer) = (&sides[record.endpoint.index()], &sides[record.endpoint.peer().index()]);
    let places = [
        (own.fill(), FILLS),
        (peer.fill(), FILLS),
        (own.end(), ENDS),
        (peer.end(), ENDS),
        (own.has_peeked.into(), 2),
        (overlaps.into(), 2),
        (kind(record.op), KINDS),
    ];
    places.into_iter().fold(0, |number, (digit, base)| number * base + digit)
}

fn kind(op: Op) -> u32 {
    match op {
        Op::Send { .. } => 0,
        Op::Recv { .. } => 1,
        Op::Poll | Op::Wait { .. } | Op::Inq | Op::Outq | Op::AtMark | Op::SoError => 2,
        _ => 3,
    }
}

fn overlap(one: &Record, other: &Record) -> bool {
    one.connection == other.connection
        && one.lane != other.lane
        && one.call_ns < other.return_ns
        && other.call_ns < one.return_ns
}

fn apply(sides: &mut [Side; 2], record: &Record) {
    let (own, peer) = (record.endpoint.index(), record.endpoint.peer().index());
    match (record.op, &record.outcome) {
        (Op::Send { .. }, Outcome::Value(count)) => sides[own].under_way += u64::from(*count),
        (Op::Recv { flags, .. }, Outcome::Received { count, .. }) => {
            let is_peek = flags.contains(RecvFlags::PEEK);
            sides[own].has_peeked = is_peek && *count > 0;
            if !is_peek && !flags.contains(RecvFlags::OOB) {
                sides[peer].under_way = sides[peer].under_way.saturating_sub(u64::from(*count));
            }
        }
        (Op::Shutdown(how), Outcome::Value(_)) => {
            sides[own].ended |= how != How::Rd;
            sides[own].deaf |= how != How::Wr;
        }
        (Op::Close | Op::Abort | Op::Destroy | Op::Disconnect, Outcome::Value(_)) => {
            (sides[own].ended, sides[own].deaf) = (true, true);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use scenario::history::{Bounds, Connection, Pairing, Traffic};
    use scenario::payload::Key;
    use scenario::{Buffer, By, SendFlags, text};

    use super::*;

    /// A scenario of a client's and a server's lane, and a history in which its calls returned this; each call begins at
    /// its time and ends at the other.
    fn met(steps: &str, outcomes: &[(Outcome, u64, u64)]) -> Vec<u32> {
        let ring = format!(
            "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n{steps}\nend\n"
        );
        let scenario = text::parse(&ring).unwrap();
        let records = scenario.steps.iter().zip(0..).zip(outcomes);
        let records = records.map(|((step, at), (outcome, call_ns, return_ns))| Record {
            at: At::Step(at),
            lane: Some(step.lane),
            connection: 0,
            endpoint: scenario.endpoint(step),
            op: step.op,
            call_ns: *call_ns,
            return_ns: *return_ns,
            peer_outq: None,
            outcome: outcome.clone(),
            cpu_ns: 0,
            ticked_ns: 0,
            touched: 0,
            sigpipe: false,
            interrupted: false,
            copy_differs: None,
        });
        let history = History {
            key: Key::from_seed(1),
            run: 0,
            connections: vec![Connection {
                pair: 0,
                pairing: Pairing::NotAsked,
                traffic: [Traffic::default(); 2],
            }],
            bounds: Bounds::default(),
            records: records.collect(),
            ring_counter: None,
        };
        situations(&scenario, &history)
    }

    fn one_after_the_other(outcomes: &[Outcome]) -> Vec<(Outcome, u64, u64)> {
        (0..).zip(outcomes).map(|(n, outcome)| (outcome.clone(), 10 * n, 10 * n + 5)).collect()
    }

    fn received(count: u32) -> Outcome {
        Outcome::Received { count, data: Vec::new(), left: None }
    }

    /// The number of a situation: fills, ends, peek, overlap and kind, of the calling endpoint first.
    fn situation(digits: [u32; 7]) -> u32 {
        let bases = [FILLS, FILLS, ENDS, ENDS, 2, 2, KINDS];
        digits.into_iter().zip(bases).fold(0, |number, (digit, base)| number * base + digit)
    }

    #[test_log::test]
    fn bytes_under_way_are_those_accepted_and_not_received() {
        let steps = "c: send 16384\ns: recv 10 peek\ns: recv 10\nc: inq";
        let outcomes = [Outcome::Value(16_384), received(10), received(10), Outcome::Value(0)];
        let mut wanted = [
            situation([0, 0, 0, 0, 0, 0, 0]),
            situation([0, 3, 0, 0, 0, 0, 1]),
            // a peek is pending
            situation([0, 3, 0, 0, 1, 0, 1]),
            situation([2, 0, 0, 0, 0, 0, 2]),
        ];
        wanted.sort_unstable();
        assert_eq!(met(steps, &one_after_the_other(&outcomes)), wanted);
    }

    #[test_log::test]
    fn what_is_shut_down_shows_on_both_sides() {
        let steps = "c: shutdown wr\ns: poll\nc: send 1\ns: close";
        let outcomes = [0, 0, 0, 0].map(Outcome::Value);
        let mut wanted = [
            situation([0, 0, 0, 0, 0, 0, 3]),
            situation([0, 0, 0, 1, 0, 0, 2]),
            situation([0, 0, 1, 0, 0, 0, 0]),
            situation([0, 0, 0, 1, 0, 0, 3]),
        ];
        wanted.sort_unstable();
        assert_eq!(met(steps, &one_after_the_other(&outcomes)), wanted);
    }

    #[test_log::test]
    fn calls_that_overlap_do_not_know_of_each_other() {
        let steps = "c: send 5\nwith s: recv 5";
        let outcomes = [(Outcome::Value(5), 0, 10), (received(5), 3, 12)];
        let wanted = [situation([0, 0, 0, 0, 0, 1, 0]), situation([0, 0, 0, 0, 0, 1, 1])];
        assert_eq!(met(steps, &outcomes), wanted);
        // the same calls one after the other
        let outcomes = [(Outcome::Value(5), 0, 10), (received(5), 11, 12)];
        let wanted = [situation([0, 0, 0, 0, 0, 0, 0]), situation([0, 1, 0, 0, 0, 0, 1])];
        assert_eq!(met(steps, &outcomes), wanted);
    }

    #[test_log::test]
    fn the_largest_situation_is_the_last() {
        let full = Side { under_way: u64::MAX, ended: true, deaf: true, has_peeked: true };
        let step = met("c: detach", &one_after_the_other(&[Outcome::Value(0)]));
        assert_eq!(step, [3]);
        let (buffer, by) = (Buffer::Mapped, By::Call);
        assert_eq!(kind(Op::Send { len: 1, flags: SendFlags::empty(), buffer, by }), 0);
        let largest = situation([full.fill(), full.fill(), full.end(), full.end(), 1, 1, 3]);
        assert_eq!(largest, SITUATIONS - 1);
    }
}
