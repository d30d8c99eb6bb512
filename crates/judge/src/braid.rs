//! `concurrent-send`: the bytes of a direction that several lanes send.
//!
//! Each lane has a payload of its own. TCP takes the bytes of one call after another (`lock_sock` in `tcp_sendmsg`),
//! and lets others in only while a call waits for space (`sk_stream_wait_memory`). So each lane's bytes keep their
//! order, and those of a call that had returned come before those of a call that began later. Everything else
//! is open: the model keeps the set of positions in all payloads that explain what was received, byte by byte.

use std::ops::Range;

use scenario::Invariant;
use scenario::history::Record;
use scenario::payload::{self, Key, Run};

use crate::data::{Fault, HELD_OVERTAKEN, fault};

/// More explanations than that, and nothing is said any more.
const STATES: usize = 64;
/// How many bytes at an end of a run may agree with a payload by chance.
const CHANCE: usize = 8;
/// A run of so many bytes is certainly of the payload that it claims.
const SURE: usize = 3 * CHANCE;

/// A lane's bytes come in another order than it sent them.
pub(crate) const REORDERED: &str = "sender-reordered";

/// What one call sent.
#[derive(Clone, Debug)]
struct Stretch {
    end: u64,
    call_ns: u64,
    return_ns: u64,
    /// Whether the sender may have held them back.
    held: bool,
}

/// The payload of one lane.
#[derive(Clone, Debug)]
struct Strand {
    source: payload::Stream,
    accepted: u64,
    stretches: Vec<Stretch>,
}

/// A direction with several sending lanes.
#[derive(Clone, Debug)]
pub(crate) struct Braid {
    key: Key,
    strands: Vec<Strand>,
    /// Each gives how far every strand has been received.
    states: Vec<Vec<u64>>,
    /// Which bytes of a strand were passed over, and the record that did it.
    gap: Option<(usize, Range<u64>, usize)>,
    /// No state explains what came, or too many do.
    lost: bool,
}

impl Braid {
    pub(crate) fn new(key: Key, sources: impl Iterator<Item = payload::Stream>) -> Braid {
        let strand = |source| Strand { source, accepted: 0, stretches: Vec::new() };
        let strands: Vec<_> = sources.map(strand).collect();
        let states = vec![vec![0; strands.len()]];
        Braid { key, strands, states, gap: None, lost: false }
    }

    /// A lane's call sends `count` bytes.
    pub(crate) fn accept(&mut self, record: &Record, count: u64, held: bool) {
        let Record { lane, call_ns, return_ns, .. } = *record;
        match self.strands.iter_mut().find(|strand| Some(strand.source.lane) == lane) {
            Some(strand) => {
                strand.accepted += count;
                let end = strand.accepted;
                strand.stretches.push(Stretch { end, call_ns, return_ns, held });
            }
            None => self.lost = true,
        }
    }

    /// Bytes were received that nobody saw.
    pub(crate) fn lose_track(&mut self) {
        self.lost = true;
    }

    /// Judges the bytes of a receive that consumes.
    pub(crate) fn take(&mut self, data: &[Run], record: usize) -> Vec<Fault> {
        let mut faults = Vec::new();
        for run in data {
            if self.lost {
                faults.extend(self.late(run));
                continue;
            }
            let before = self.states.clone();
            self.eat(run);
            if self.states.len() > STATES {
                self.lost = true;
            } else if self.states.is_empty() {
                self.lost = true;
                faults.extend(self.diagnose(run, &before, record));
            }
        }
        faults
    }

    /// Bytes that were passed over and never came.
    pub(crate) fn missing(&self) -> Option<(String, usize)> {
        self.gap.as_ref().map(|(strand, bytes, record)| {
            let lane = self.strands[*strand].source.lane;
            let what = format!(
                "bytes {}..{} of lane {lane} were accepted and never delivered, though later ones of it were",
                bytes.start, bytes.end
            );
            (what, *record)
        })
    }

    fn eat(&mut self, run: &Run) {
        let Run::Coded { stream, offset, len } = run else {
            let Run::Raw(bytes) = run else { return };
            return self.bytewise(bytes);
        };
        let (source, from, len) = (*stream, *offset, *len as usize);
        let strand = self.strands.iter().position(|strand| strand.source == source);
        let bytes = |at: usize, len: usize| {
            let mut buffer = vec![0; len];
            payload::fill(self.key, source, from + at as u64, &mut buffer);
            buffer
        };
        if len < SURE {
            let all = bytes(0, len);
            return self.bytewise(&all);
        }
        let (head, tail) = (bytes(0, CHANCE), bytes(len - CHANCE, CHANCE));
        self.bytewise(&head);
        let Some(strand) = strand else { return self.states.clear() };
        let end = from + (len - CHANCE) as u64;
        let mut states = std::mem::take(&mut self.states);
        states.retain_mut(|state| {
            state[strand] == from + CHANCE as u64 && self.advance(state, strand, end)
        });
        self.states = states;
        self.bytewise(&tail);
    }

    /// Moves one strand on, call by call; false where a call's turn has not come.
    fn advance(&self, state: &mut [u64], strand: usize, end: u64) -> bool {
        while state[strand] < end {
            let Some(stretch) = self.turn(state, strand) else { return false };
            state[strand] = end.min(stretch.end);
        }
        true
    }

    /// The call that the strand's next byte is of, if it may come now.
    fn turn(&self, state: &[u64], strand: usize) -> Option<&Stretch> {
        let own = &self.strands[strand].stretches;
        let stretch = own.get(own.partition_point(|s| s.end <= state[strand]))?;
        let mut others = self.strands.iter().zip(state).enumerate();
        let first = others.all(|(other, (strands, &at))| {
            let before = strands.stretches.partition_point(|s| s.return_ns <= stretch.call_ns);
            other == strand || before == 0 || at >= strands.stretches[before - 1].end
        });
        first.then_some(stretch)
    }

    fn bytewise(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let mut next: Vec<Vec<u64>> = Vec::with_capacity(self.states.len());
            for state in &self.states {
                for (at, strand) in self.strands.iter().enumerate() {
                    let mut own = [0];
                    payload::fill(self.key, strand.source, state[at], &mut own);
                    if own[0] != byte || self.turn(state, at).is_none() {
                        continue;
                    }
                    let mut after = state.clone();
                    after[at] += 1;
                    if !next.contains(&after) {
                        next.push(after);
                    }
                }
            }
            self.states = next;
            if self.states.is_empty() || self.states.len() > STATES {
                return;
            }
        }
    }

    /// What is wrong with a run that nothing explains.
    fn diagnose(&mut self, run: &Run, before: &[Vec<u64>], record: usize) -> Option<Fault> {
        let Run::Coded { stream, offset, len } = run else {
            let what = format!("{} bytes go on with no lane's payload", run.len());
            return Some(fault(Invariant::Corrupt, "unknown-bytes", what));
        };
        let span = *offset..*offset + u64::from(*len);
        let what = format!("bytes {}..{} of lane {}", span.start, span.end, stream.lane);
        let Some(at) = self.strands.iter().position(|strand| strand.source == *stream) else {
            let what = format!("{what} of connection {} came", stream.pair);
            return Some(fault(Invariant::CrossTalk, "other-stream", what));
        };
        let reached = before.iter().map(|state| state[at]);
        let (least, most) = (reached.clone().min()?, reached.max()?);
        if span.end > self.strands[at].accepted {
            let what = format!("{what} came, and {} were accepted", self.strands[at].accepted);
            return Some(fault(Invariant::Corrupt, "never-accepted", what));
        }
        if span.start > most {
            self.gap = Some((at, most..span.start, record));
            return None;
        }
        if span.start < least {
            let what = format!("{what} came when {least} had been delivered");
            return Some(fault(Invariant::ConcurrentSend, "delivered-twice", what));
        }
        let what = format!("{what} came before those of a call that had returned earlier");
        Some(fault(Invariant::Order, "later-bytes-first", what))
    }

    /// Bytes that had been passed over come after all.
    fn late(&mut self, run: &Run) -> Option<Fault> {
        let (strand, missing, _) = self.gap.as_ref()?;
        let Run::Coded { stream, offset, len } = run else { return None };
        let is_it = self.strands[*strand].source == *stream
            && *len as usize >= CHANCE
            && missing.contains(offset);
        if !is_it {
            return None;
        }
        let what = format!("bytes from {offset} on of lane {} came after later ones", stream.lane);
        let stretches = &self.strands[*strand].stretches;
        let held = stretches.iter().find(|s| s.end > *offset).is_some_and(|s| s.held);
        self.gap = None;
        if held {
            return Some(fault(Invariant::Cork, HELD_OVERTAKEN, what));
        }
        Some(fault(Invariant::ConcurrentSend, REORDERED, what))
    }
}
