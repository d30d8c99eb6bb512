//! The model of one direction: what was accepted, what is known to have arrived, where the reader is.
//!
//! The set of consistent states is kept as intervals. The reader's position is in `at..=at + slack`
//! (`slack` is non-zero only where urgent bytes make a count ambiguous); the bytes that the receiver
//! could read end somewhere in `known..=accepted`. Every completed call narrows both. The upper end
//! needs no narrowing: whatever is in flight may arrive between any two calls.

use std::ops::Range;

use scenario::history::Outcome;
use scenario::payload::{self, Key, Run};
use scenario::{Endpoint, History, Invariant, Op, Scenario};

use crate::braid::Braid;

/// Why bytes are known to be deliverable. It decides which rule a contradiction counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The sender's `SIOCOUTQ`: what is acknowledged is in the receive queue (`tcp_data_queue` queues
    /// before the ACK goes out, `tcp_prune_queue` never drops what was acknowledged).
    Acknowledged,
    /// A peek returned them.
    Peeked,
    /// `SIOCINQ` counted them.
    Counted,
    /// `poll(2)` said `POLLIN`.
    Polled,
    /// The FIN behind them has arrived.
    Finished,
}

impl Proof {
    /// How a reviewer is told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Proof::Acknowledged => "the sender's SIOCOUTQ shows them acknowledged",
            Proof::Peeked => "a peek has returned them",
            Proof::Counted => "SIOCINQ has counted them",
            Proof::Polled => "poll has reported POLLIN",
            Proof::Finished => "the FIN behind them has arrived",
        }
    }
}

/// Accepted bytes that were passed over: disorder if they still come, loss if they never do.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    /// Which bytes are missing.
    pub(crate) bytes: Range<u64>,
    /// The rule it breaks, where the circumstances already tell.
    pub(crate) verdict: Option<(Invariant, &'static str)>,
    /// The rule it breaks if they come later, or if nobody was there to receive them.
    pub(crate) overtaking: (Invariant, &'static str),
    /// The record that passed over them.
    pub(crate) record: usize,
}

/// The last thing that the reader did, where that explains what comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recent {
    /// Nothing of interest.
    #[default]
    Nothing,
    /// It peeked at these bytes.
    Peek(Range<u64>),
    /// It took these bytes with `MSG_TRUNC`, so nobody saw them.
    Trunc(Range<u64>),
    /// A receive failed with `EFAULT`, or was cut short by it.
    Fault,
}

/// One direction of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) key: Key,
    pub(crate) source: payload::Stream,
    /// The payload of several senders, which take turns in it.
    pub(crate) braid: Option<Braid>,
    /// Bytes that sends returned as accepted.
    pub(crate) accepted: u64,
    /// How many of them belong to sends that are still under way, and may not be there yet.
    pub(crate) unsure: u64,
    /// Sends that accepted something.
    pub(crate) sends: u32,
    /// Positions of urgent bytes, ascending. Each may be missing from the ordinary stream.
    pub(crate) urgent: Vec<u64>,
    /// Whether the urgent mark may have pointed at an ordinary byte: see [`Stream::accept`].
    pub(crate) fuzzy: bool,
    /// Whether an ordinary byte went missing in a way that only a wrong urgent mark explains.
    pub(crate) used_fuzz: bool,
    /// Whether a call may have taken the urgent byte, or moved on behind it.
    pub(crate) mark_passed: bool,
    /// The last receive that consumes took bytes, and so has not moved on behind an urgent byte without a trace.
    pub(crate) is_settled: bool,
    /// Where the reader is.
    pub(crate) at: u64,
    /// By how much it may be further on.
    pub(crate) slack: u64,
    /// Everything before this is known to have arrived.
    pub(crate) known: u64,
    pub(crate) proof: Proof,
    /// Everything before this is known to be acknowledged.
    pub(crate) acked: u64,
    /// So is the FIN behind them.
    pub(crate) fin_acked: bool,
    /// How much was accepted before the receiver was closed.
    pub(crate) before_close: Option<u64>,
    /// Ranges sent with `MSG_MORE` or under `TCP_CORK`.
    held: Vec<Range<u64>>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) recent: Recent,
    /// A call whose effect nobody knows was made: nothing can be said any more.
    pub(crate) lost_track: bool,
    /// The position was violated: only the data itself is judged from here on.
    pub(crate) broken: bool,
    /// Alien bytes that may or may not have taken the place of the stream's own.
    pub(crate) alien: u64,
}

impl Stream {
    pub(crate) fn new(key: Key, source: payload::Stream) -> Stream {
        Stream {
            key,
            source,
            braid: None,
            accepted: 0,
            unsure: 0,
            sends: 0,
            urgent: Vec::new(),
            fuzzy: false,
            used_fuzz: false,
            mark_passed: false,
            is_settled: true,
            at: 0,
            slack: 0,
            known: 0,
            proof: Proof::Acknowledged,
            acked: 0,
            fin_acked: false,
            before_close: None,
            held: Vec::new(),
            gaps: Vec::new(),
            recent: Recent::Nothing,
            lost_track: false,
            broken: false,
            alien: 0,
        }
    }

    /// A send accepted `count` bytes.
    ///
    /// `tcp_mark_urg` puts the mark behind the last byte that the call took, and the receiver takes
    /// the byte before it (`tcp_check_urg`, RFC 6093 section 2.1). While the mark is more than 64 KiB
    /// ahead of a segment the header says 0xFFFF instead (`__tcp_transmit_skb`), which names an ordinary
    /// byte; and a blocking send marks again each time it waits for space.
    pub(crate) fn accept(&mut self, count: u64, urgent: bool, blocking: bool, held: bool) {
        if count == 0 {
            return;
        }
        let from = self.accepted;
        self.accepted += count;
        self.sends += 1;
        if urgent {
            self.urgent.push(self.accepted - 1);
            self.fuzzy |= self.accepted - self.known.max(self.at) > 0xffff || blocking;
        }
        if held {
            self.held.push(from..self.accepted);
        }
    }

    /// The furthest that the reader may be.
    pub(crate) fn furthest(&self) -> u64 {
        self.at + self.slack
    }

    /// The furthest position at which the next ordinary byte may be.
    fn reach(&self, from: u64) -> u64 {
        let mut reach = from;
        while self.urgent.binary_search(&reach).is_ok() {
            reach += 1;
        }
        reach
    }

    /// How many urgent bytes are in the range.
    fn urgent_in(&self, bytes: Range<u64>) -> u64 {
        let below = |end| self.urgent.partition_point(|&u| u < end) as u64;
        below(bytes.end).saturating_sub(below(bytes.start))
    }

    /// Whether any urgent byte is still ahead of the reader.
    pub(crate) fn urgent_ahead(&self) -> bool {
        self.urgent.last().is_some_and(|&u| u >= self.at) || self.fuzzy
    }

    /// Whether the only urgent byte there is has arrived and nobody has taken it or moved on behind it.
    pub(crate) fn urgent_waits(&self) -> bool {
        let arrived = |&at: &u64| at < self.known.min(self.acked);
        let certain = !self.fuzzy && !self.broken && !self.lost_track && !self.mark_passed;
        certain && self.urgent.len() == 1 && self.urgent.first().is_some_and(arrived)
    }

    /// Whether the marks are at the urgent bytes: no segment was so far from one that its header could not say where it is
    /// (see [`Stream::accept`]), not even one that came twice.
    pub(crate) fn has_exact_marks(&self) -> bool {
        let near = self.urgent.last().is_none_or(|&mark| mark < 0xffff);
        near && !self.fuzzy && !self.broken && !self.lost_track
    }

    /// The urgent mark, where there was never but one and the reader is certainly at it or before it. What comes up to a
    /// mark never comes without it (`tcp_rcv_established`: `tcp_urg` before `tcp_data_queue`).
    pub(crate) fn mark(&self) -> Option<u64> {
        match self.urgent[..] {
            [mark] if self.has_exact_marks() && self.slack == 0 => {
                let ahead = self.at < mark || self.at == mark && self.is_settled;
                ahead.then_some(mark)
            }
            _ => None,
        }
    }

    /// How many ordinary bytes are known to be deliverable right now, at least.
    pub(crate) fn deliverable(&self) -> u64 {
        if self.fuzzy || self.broken || self.lost_track {
            return 0;
        }
        let from = self.furthest();
        self.known.saturating_sub(from).saturating_sub(self.urgent_in(from..self.known.max(from)))
    }

    /// What is known to be deliverable, and why, for a person to read.
    pub(crate) fn evidence(&self) -> String {
        format!("bytes {}..{} were deliverable: {}", self.at, self.known, self.proof.text())
    }

    /// How many accepted ordinary bytes were not delivered yet, at least.
    pub(crate) fn rest(&self) -> u64 {
        let from = self.furthest();
        let rest = self
            .accepted
            .saturating_sub(from)
            .saturating_sub(self.urgent_in(from..self.accepted.max(from)));
        if self.fuzzy && rest <= 1 { 0 } else { rest }
    }

    /// How many bytes may be in the receive queue, at most.
    pub(crate) fn unread(&self) -> u64 {
        self.accepted.saturating_sub(self.at)
    }

    /// Learns that everything before `end` has arrived.
    pub(crate) fn arrived(&mut self, end: u64, proof: Proof) {
        if end > self.known {
            self.known = end.min(self.accepted);
            self.proof = proof;
        }
    }

    /// Learns from the sender's `SIOCOUTQ`. A FIN counts as one byte in it (`tcp_send_fin`), so the number
    /// of unacknowledged bytes is `outq` or one less; the difference is given away.
    pub(crate) fn unacknowledged(&mut self, outq: u32) {
        let acked = (self.accepted - self.unsure).saturating_sub(u64::from(outq));
        self.acked = self.acked.max(acked);
        self.arrived(acked, Proof::Acknowledged);
    }

    /// `count` bytes were taken that nobody saw.
    pub(crate) fn skip_unseen(&mut self, count: u64) {
        let from = self.at;
        self.at += count;
        self.slack += self.urgent_in(from..(self.at + self.slack + 1));
        self.slack = self.slack.min(self.accepted.saturating_sub(self.at));
        if self.fuzzy {
            self.slack = (self.slack + 1).min(self.accepted.saturating_sub(self.at));
        }
        self.recent = Recent::Trunc(from..self.at);
    }

    /// The reader took ordinary bytes up to `end`, and their values say so.
    pub(crate) fn moved_to(&mut self, end: u64) {
        self.at = end;
        self.slack = 0;
        self.arrived(end, Proof::Peeked);
    }

    /// Where the byte at `from` may be found: see [`crate::data`].
    pub(crate) fn window(&self, from: u64, slack: u64) -> Range<u64> {
        from..self.reach(from + slack) + 1
    }

    /// Whether the sender may have held that byte back.
    pub(crate) fn is_held(&self, at: u64) -> bool {
        self.held.iter().any(|held| held.contains(&at))
    }

    /// Passes over accepted bytes.
    pub(crate) fn open_gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
        self.broken = true;
    }

    /// Takes bytes that are what several gaps are of together, one after the other; gives the first of them. None of
    /// these may be long enough to be known by itself.
    pub(crate) fn fill_gaps(&mut self, run: &Run) -> Option<Gap> {
        let Run::Raw(bytes) = run else { return None };
        self.gaps.sort_by_key(|gap| gap.bytes.start);
        let missing = self.gaps.iter().flat_map(|gap| gap.bytes.clone());
        let value = |at| {
            let mut byte = [0];
            payload::fill(self.key, self.source, at, &mut byte);
            byte[0]
        };
        // one byte more than came tells that they are not all of them
        let is_it = missing.take(bytes.len() + 1).map(value).eq(bytes.iter().copied());
        (is_it && self.gaps.len() > 1).then(|| self.gaps.drain(..).next()).flatten()
    }

    /// Takes bytes that had been passed over; gives the gap that they belong to.
    pub(crate) fn fill_gap(&mut self, bytes: &Range<u64>) -> Option<Gap> {
        let at = self
            .gaps
            .iter()
            .position(|g| g.bytes.start <= bytes.start && bytes.start < g.bytes.end)?;
        let gap = self.gaps.remove(at);
        if gap.bytes.start < bytes.start {
            self.gaps.push(Gap { bytes: gap.bytes.start..bytes.start, ..gap.clone() });
        }
        if bytes.end < gap.bytes.end {
            self.gaps.push(Gap { bytes: bytes.end..gap.bytes.end, ..gap.clone() });
        }
        Some(gap)
    }
}

/// The empty stream of one direction: of one lane's payload, or of that of several.
pub(crate) fn direction(
    scenario: &Scenario,
    history: &History,
    connection: u8,
    sender: Endpoint,
) -> Stream {
    let pair = history.connections[usize::from(connection)].pair;
    let source = |lane| payload::Stream { run: history.run, pair: connection, lane };
    let mut lanes: Vec<u8> = history
        .records
        .iter()
        .filter(|r| r.connection == connection && r.endpoint == sender)
        .filter(|r| matches!((&r.op, &r.outcome), (Op::Send { .. }, Outcome::Value(1..))))
        .filter_map(|r| r.lane)
        .collect();
    lanes.sort_unstable();
    lanes.dedup();
    let first = || {
        let own = |lane: &scenario::Lane| lane.endpoint == sender && lane.pair == pair;
        let lane = scenario.lanes.iter().position(own);
        lane.and_then(|lane| u8::try_from(lane).ok()).unwrap_or(u8::MAX)
    };
    let mut stream = Stream::new(history.key, source(*lanes.first().unwrap_or(&first())));
    if lanes.len() > 1 {
        stream.braid = Some(Braid::new(history.key, lanes.into_iter().map(source)));
    }
    stream
}
