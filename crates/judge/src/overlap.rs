//! Which calls overlap, and in which order the model looks at them.
//!
//! One call precedes another if it had returned when the other was made. A call that overlaps none is looked at once. Of
//! one that does, the model is told when it begins (what it may do) and when it has ended (what it did). Between the two it
//! may have acted at any moment, and in pieces: a blocking send or receive lets others in while it sleeps.

use std::cmp::Reverse;

use scenario::history::{At, Outcome, Record};
use scenario::{History, Op, RecvFlags, Scenario, When};

use crate::model::Signals;

/// What the model is to look at next, by the record's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A call that no other overlaps, or one that was not made.
    Alone(usize),
    Begin(usize),
    End(usize),
}

/// The calls of one connection in time.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) events: Vec<Event>,
    /// By record: those that it overlaps, ascending. Empty for the calls of other connections.
    pub(crate) beside: Vec<Vec<usize>>,
}

impl Course {
    pub(crate) fn of(history: &History, connection: u8) -> Course {
        let records = &history.records;
        let mut own: Vec<usize> =
            (0..records.len()).filter(|&at| records[at].connection == connection).collect();
        // as the executor has them; those of one lane never overlap
        own.sort_by_key(|&at| records[at].call_ns);
        let mut beside = vec![Vec::new(); records.len()];
        let mut under_way: Vec<usize> = Vec::new();
        for &at in own.iter().filter(|&&at| acts(&records[at])) {
            under_way.retain(|&other| records[other].return_ns > records[at].call_ns);
            for &other in &under_way {
                beside[other].push(at);
                beside[at].push(other);
            }
            under_way.push(at);
        }
        let mut timed = Vec::new();
        for (place, &at) in own.iter().enumerate() {
            let record = &records[at];
            if beside[at].is_empty() {
                timed.push((record.call_ns, 1, place, Event::Alone(at)));
            } else {
                timed.push((record.call_ns, 1, place, Event::Begin(at)));
                // what returns when another begins precedes it
                let phase = if record.return_ns > record.call_ns { 0 } else { 2 };
                timed.push((record.return_ns, phase, place, Event::End(at)));
            }
        }
        timed.sort_by_key(|&(time, phase, place, _)| (time, phase, place));
        beside.iter_mut().for_each(|list| list.sort_unstable());
        Course { events: timed.into_iter().map(|(.., event)| event).collect(), beside }
    }
}

/// Whether the call does something to its socket, looks at it, or keeps it open.
fn acts(record: &Record) -> bool {
    match record.op {
        Op::Pause(_) | Op::Signal { .. } => false,
        // one that has found the socket closed in the end may have slept on it before (`poll_table_entry`)
        Op::Wait { .. } => true,
        _ => record.outcome != Outcome::Closed,
    }
}

/// Whether the call takes bytes out of its socket.
pub(crate) fn consumes(record: &Record) -> bool {
    match record.op {
        Op::Recv { flags, .. } => {
            let moved = matches!(record.outcome, Outcome::Received { count: 1.., .. });
            moved && !flags.intersects(RecvFlags::PEEK | RecvFlags::OOB)
        }
        _ => false,
    }
}

/// A pending signal may be taken a little later than it was sent.
const LATE_NS: u64 = 1_000_000_000;

/// The signals that may have come in the way of a call. The executor sends its own after a look at the sockets: to all
/// lanes when the steps are over, and before that to a call that nobody wakes; should that wake by itself just then, the
/// lane's next one gets the signal.
pub(crate) fn signals(history: &History, record: &Record) -> Signals {
    let of_the_executor = |other: &Record| match other.at {
        At::Step(_) => false,
        At::Finale => other.call_ns <= record.return_ns,
        At::Look(lane) => {
            Some(lane) == record.lane
                && other.call_ns <= record.return_ns
                && record.call_ns <= other.return_ns + LATE_NS
        }
    };
    if record.lane.is_some() && history.records.iter().any(of_the_executor) {
        return Signals::Interrupting;
    }
    let reach = record.call_ns.saturating_sub(LATE_NS)..=record.return_ns;
    let to_it = history.records.iter().filter_map(|other| match other.op {
        Op::Signal { lane, restart }
            if Some(lane) == record.lane
                && other.outcome != Outcome::Closed
                && other.call_ns <= *reach.end()
                && other.return_ns >= *reach.start() =>
        {
            Some(restart)
        }
        _ => None,
    });
    // false sorts first: one that does not restart decides
    to_it.map(Reverse).max().map_or(Signals::None, |Reverse(restart)| {
        if restart { Signals::Restarting } else { Signals::Interrupting }
    })
}

/// Whether a call may have been on another connection than its record says: the socket of its pair was being
/// connected anew meanwhile.
pub(crate) fn raced(scenario: &Scenario, history: &History, record: &Record) -> bool {
    if !scenario.steps.iter().any(|step| step.op == Op::Connect) {
        return false;
    }
    let pair = |record: &Record| history.connections[usize::from(record.connection)].pair;
    let connects = |other: &&Record| {
        matches!(other.op, Op::Connect)
            && other.outcome != Outcome::Closed
            && other.lane != record.lane
    };
    history.records.iter().filter(connects).any(|other| {
        let apart = other.return_ns <= record.call_ns || record.return_ns <= other.call_ns;
        let met = !apart || together(scenario, other.at, record.at);
        pair(other) == pair(record) && acts(record) && met
    })
}

/// Whether two steps are of one group, so that no order of them was waited for.
fn together(scenario: &Scenario, a: At, b: At) -> bool {
    let (At::Step(a), At::Step(b)) = (a, b) else { return false };
    let (first, last) = (a.min(b) as usize, a.max(b) as usize);
    let between = scenario.steps.get(first + 1..=last);
    between.is_some_and(|steps| steps.iter().all(|s| matches!(s.when, When::With { .. })))
}
