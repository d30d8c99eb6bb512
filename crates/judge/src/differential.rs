//! Differential: what the calls of a scenario returned, beside what the same calls returned on plain TCP.
//!
//! Calls of two runs are matched by what they are in the scenario, never by their place in the history: lanes that
//! overlap take their turns differently each time, and a finale makes as many receives as it needs.
//!
//! Plain TCP does not return the same each time either. Whether a difference means anything is for the rules of `tcp` to
//! say: where they do not object to a call, TCP might have returned that, too (a short count, `EAGAIN` before the bytes
//! have come), and the difference is a choice that the contract leaves. Where they object, the contract leaves none. What
//! follows on the same connection may be a consequence.

use std::collections::{BTreeSet, HashMap};

use scenario::history::{At, Outcome, Record};
use scenario::payload::Run;
use scenario::{Endpoint, History, Op, Scenario};

use crate::follow_all;

/// How what a call returned compares with what plain TCP returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// It is the same.
    Same,
    /// It differs, and the contract allows both.
    Choice,
    /// It differs, and the contract does not allow what the call returned, or what an earlier call on the connection did.
    Differs,
}

/// The same call on plain TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counterpart {
    /// Index into the records of the plain history.
    pub record: usize,
    /// How the two compare.
    pub agreement: Agreement,
}

/// What a call is in the scenario. Connections are told apart by their pair: whether a pair is connected anew may depend
/// on what is compared.
type Role = (Place, u8, Endpoint);

#[derive(PartialEq, Eq, Hash)]
enum Place {
    /// A step, or the close of the other end that a step implies.
    Step(u32, Op),
    /// A call that each finale makes once on an endpoint.
    Finale(Op),
    /// The receives of a finale, before and after its shutdown.
    Drain { after_shutdown: bool },
}

/// For each record of `history` the same call in `plain`, which is what happened when the same scenario ran unpaired.
/// `None` where there was no such call.
#[must_use]
pub fn compare(
    scenario: &Scenario,
    history: &History,
    plain: &History,
) -> Vec<Option<Counterpart>> {
    let faults = Faults::of(scenario, history);
    let counterparts = roles(plain);
    let mut found = vec![None; history.records.len()];
    for (role, own) in roles(history) {
        let theirs = counterparts.get(&role).map_or(&[][..], Vec::as_slice);
        for (at, other) in aligned(&own, theirs) {
            let (record, counterpart) = (&history.records[at], &plain.records[other]);
            let is_fault = faults.records.contains(&at);
            let agreement = if is_same((history, record), (plain, counterpart), is_fault) {
                Agreement::Same
            } else if is_fault || faults.precede(record) {
                Agreement::Differs
            } else {
                Agreement::Choice
            };
            found[at] = Some(Counterpart { record: other, agreement });
        }
    }
    found
}

/// The records of each call, in their order.
fn roles(history: &History) -> HashMap<Role, Vec<usize>> {
    let mut roles: HashMap<Role, Vec<usize>> = HashMap::new();
    let mut shut = Vec::new();
    for (at, record) in history.records.iter().enumerate() {
        let Some(connection) = history.connections.get(usize::from(record.connection)) else {
            continue;
        };
        let end = (connection.pair, record.endpoint);
        let place = match (record.at, record.op) {
            (At::Step(step), op) => Place::Step(step, op),
            // the executor's own: whether there is one depends on the time that things take
            (At::Look(_), _) => continue,
            (At::Finale, Op::Recv { .. }) => Place::Drain { after_shutdown: shut.contains(&end) },
            (At::Finale, op) => {
                if matches!(op, Op::Shutdown(_)) {
                    shut.push(end);
                }
                Place::Finale(op)
            }
        };
        roles.entry((place, end.0, end.1)).or_default().push(at);
    }
    roles
}

/// One by one where there are as many of both, else the last ones: how a drain ended can be compared, in how many pieces
/// it came cannot.
fn aligned(own: &[usize], theirs: &[usize]) -> Vec<(usize, usize)> {
    if own.len() == theirs.len() {
        return own.iter().copied().zip(theirs.iter().copied()).collect();
    }
    own.last().copied().zip(theirs.last().copied()).into_iter().collect()
}

/// What the judge objects to.
struct Faults {
    records: BTreeSet<usize>,
    /// By connection: when the first call that is objected to had returned.
    since: Vec<u64>,
}

impl Faults {
    fn of(scenario: &Scenario, history: &History) -> Faults {
        let models = follow_all(scenario, history).unwrap_or_default();
        let violations = models.iter().flat_map(|model| &model.violations);
        let records: BTreeSet<usize> =
            violations.filter_map(|violation| violation.record).collect();
        let mut since = vec![u64::MAX; history.connections.len()];
        for record in records.iter().filter_map(|&at| history.records.get(at)) {
            let first = &mut since[usize::from(record.connection)];
            *first = record.return_ns.min(*first);
        }
        Faults { records, since }
    }

    fn precede(&self, record: &Record) -> bool {
        self.since
            .get(usize::from(record.connection))
            .is_some_and(|&since| since < record.return_ns)
    }
}

/// Whether two calls returned the same. Bytes of no known origin depend on the run, so that only their number can be
/// compared; where the judge objects to them, that is not enough.
fn is_same(own: (&History, &Record), plain: (&History, &Record), is_fault: bool) -> bool {
    let besides = |record: &Record| (record.sigpipe, record.strayed() > 0);
    if besides(own.1) != besides(plain.1) {
        return false;
    }
    match (&own.1.outcome, &plain.1.outcome) {
        (
            Outcome::Received { count, data, left },
            Outcome::Received { count: other_count, data: other, left: other_left },
        ) => {
            let is_known = || data.iter().all(|run| matches!(run, Run::Coded { .. }));
            (count, left) == (other_count, other_left)
                && pieces(own.0, data) == pieces(plain.0, other)
                && (!is_fault || is_known())
        }
        (outcome, other) => outcome == other,
    }
}

/// A piece of received data whatever run it is of: its stream's pair and lane, and whether it is of this run; where it
/// starts; its length.
type Piece = (Option<(u8, u8, bool)>, u64, u64);

/// The pieces of received data, as long as can be.
fn pieces(history: &History, data: &[Run]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for run in data {
        let (source, start) = match run {
            Run::Coded { stream, offset, .. } => {
                (Some((stream.pair, stream.lane, stream.run == history.run)), *offset)
            }
            Run::Raw(_) => (None, 0),
        };
        let len = run.len() as u64;
        match pieces.last_mut() {
            Some((last, at, length))
                if *last == source && (source.is_none() || *at + *length == start) =>
            {
                *length += len;
            }
            _ => pieces.push((source, start, len)),
        }
    }
    pieces
}
