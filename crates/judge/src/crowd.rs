//! `concurrent-recv`: receives that take bytes from one socket while others do.
//!
//! A receive that sleeps lets others in (`sk_wait_data` releases the socket), so that two of them may take turns within
//! one call. Together they take every byte once, from where the reader was to as many bytes further on, and each one's
//! bytes ascend (`tcp_recvmsg_locked` copies from `copied_seq` and moves it under the socket's lock).

use std::ops::Range;

use scenario::history::Outcome;
use scenario::payload::{self, Run};
use scenario::{Endpoint, Invariant};

use crate::calls::recv::{self, Ask};
use crate::data::{self, Fault, fault};
use crate::model::{Call, Model};
use crate::overlap;

/// How many bytes at an end of a piece may be others that look like its own by chance.
const CHANCE: u64 = 7;

/// Receives that overlap, one by one or through others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd {
    under_way: usize,
    /// Records that have ended.
    ended: Vec<usize>,
}

/// A receive that takes bytes begins.
pub(crate) fn begin(model: &mut Model<'_>, call: Call<'_>) {
    if overlap::consumes(call.record) {
        model.crowds[call.record.endpoint.index()].under_way += 1;
    }
}

/// It has ended. With the last of a crowd all of it is judged.
pub(crate) fn end(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    let Outcome::Received { count, data, .. } = &call.record.outcome else { return };
    let crowd = &mut model.crowds[call.record.endpoint.index()];
    crowd.under_way -= 1;
    crowd.ended.push(call.index);
    if crowd.under_way > 0 {
        return;
    }
    let ended = std::mem::take(&mut crowd.ended);
    if ended.len() == 1 {
        recv::bytes(model, call, ask, *count, data);
    } else {
        together(model, call, &ended);
    }
}

fn together(model: &mut Model<'_>, call: Call<'_>, records: &[usize]) {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint).clone();
    if stream.lost_track {
        return;
    }
    if !stream.urgent.is_empty() {
        model.incoming_mut(endpoint).lost_track = true;
        return;
    }
    let (mut total, mut faults, mut seen) = (0, Vec::new(), Vec::new());
    for &record in records {
        let Outcome::Received { count, data, .. } = &model.history.records[record].outcome else {
            continue;
        };
        total += u64::from(*count);
        let pieces = pieces(data);
        if pieces.windows(2).any(|two| two[0].0 == two[1].0 && two[1].1.start < two[0].1.start) {
            let what = format!("record {record} has bytes that do not ascend");
            faults.push(fault(Invariant::ConcurrentRecv, "not-ascending", what));
        }
        seen.extend(pieces);
    }
    let end = stream.at + total;
    if !stream.broken {
        if end > stream.accepted {
            let what = format!("{end} bytes were received and {} accepted", stream.accepted);
            faults.push(fault(Invariant::ConcurrentRecv, "more-than-accepted", what));
        }
        faults.extend(places(model, endpoint, &seen, stream.at..end));
        faults.extend(twice(&mut seen));
    }
    for fault in &faults {
        model.blame(call, fault.invariant, fault.diagnosis, &fault.detail);
    }
    let stream = model.incoming_mut(endpoint);
    stream.broken |= !faults.is_empty();
    if let Some(braid) = &mut stream.braid {
        braid.lose_track();
    }
    stream.moved_to(end.min(stream.accepted));
}

type Piece = (payload::Stream, Range<u64>);

/// The pieces of a receive that certainly are what they look like.
fn pieces(data: &[Run]) -> Vec<Piece> {
    let piece = |run: &Run| {
        let Run::Coded { stream, offset, len } = run else { return None };
        let bytes = offset + CHANCE..(offset + u64::from(*len)).saturating_sub(CHANCE);
        (!bytes.is_empty()).then_some((*stream, bytes))
    };
    data.iter().filter_map(piece).collect()
}

/// Pieces of the stream are where the crowd was, and there are no others.
fn places(
    model: &Model<'_>,
    endpoint: Endpoint,
    seen: &[Piece],
    range: Range<u64>,
) -> Option<Fault> {
    let stream = model.incoming(endpoint);
    seen.iter().find_map(|(source, bytes)| {
        let own_lane = |lane: u8| {
            let lane = model.scenario.lanes.get(usize::from(lane));
            lane.is_some_and(|lane| lane.endpoint == endpoint.peer())
        };
        let of_connection = (source.run, source.pair) == (stream.source.run, stream.source.pair);
        let what = format!("bytes {}..{} of lane {} came", bytes.start, bytes.end, source.lane);
        if !of_connection || !own_lane(source.lane) {
            let (diagnosis, what) =
                data::origin(stream, model.strangers(endpoint), *source, bytes.start);
            Some(fault(Invariant::CrossTalk, diagnosis, format!("there are {what}")))
        } else if stream.braid.is_some() || *source != stream.source {
            None
        } else if bytes.start < range.start {
            let what = format!("{what} again, up to {} had been received", range.start);
            Some(fault(Invariant::ConcurrentRecv, "delivered-twice", what))
        } else if bytes.end > range.end {
            let what = format!("{what}, though all of them together got bytes up to {}", range.end);
            Some(fault(Invariant::ConcurrentRecv, "skipped", what))
        } else {
            None
        }
    })
}

/// No byte is in two pieces.
fn twice(seen: &mut [Piece]) -> Option<Fault> {
    seen.sort_by_key(|(stream, bytes)| (*stream, bytes.start));
    seen.windows(2).find_map(|two| {
        let [(a, first), (b, second)] = two else { return None };
        (a == b && second.start < first.end).then(|| {
            let what = format!("byte {} of lane {} came twice", second.start, b.lane);
            fault(Invariant::ConcurrentRecv, "delivered-twice", what)
        })
    })
}
