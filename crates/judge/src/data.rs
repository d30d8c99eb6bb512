//! Telling what received bytes are: in place, passed over, seen before, or not of this stream at all.

use std::ops::Range;

use scenario::payload::{self, Run};
use scenario::{Endpoint, History, Invariant, Op, Scenario, Topology};

use crate::braid;
use crate::stream::{Gap, Recent, Stream};

/// A way in which received bytes are wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) invariant: Invariant,
    pub(crate) diagnosis: &'static str,
    pub(crate) detail: String,
}

pub(crate) fn fault(invariant: Invariant, diagnosis: &'static str, detail: String) -> Fault {
    Fault { invariant, diagnosis, detail }
}

/// Where a piece of received data belongs.
enum Place {
    /// In this stream, at this offset.
    Here(u64),
    /// In another stream.
    Foreign(&'static str, String),
    /// Too short to tell where, but its value occurs among the bytes that are still to come.
    Later,
    /// Nowhere.
    Nowhere,
}

/// Where bytes may come from that should not.
#[derive(Clone, Copy)]
pub(crate) struct Other<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) history: &'a History,
    /// Who sends the direction that is judged.
    pub(crate) sender: Endpoint,
    /// The other direction's stream, and how much of it was accepted.
    pub(crate) stream: payload::Stream,
    pub(crate) accepted: u64,
}

impl Other<'_> {
    /// Whether that call was made by splice(2).
    fn is_piped(&self, record: usize) -> bool {
        let op = self.history.records.get(record).map(|record| record.op);
        matches!(op, Some(Op::Recv { by, .. }) if by.is_piped())
    }

    /// The rule that is broken where the call of that record got bytes before others that had been sent earlier. Where
    /// it went by them in its own way, or where the sender held them back, that explains it. On loopback nothing is in
    /// flight: what was not acknowledged then was held back, be it by Nagle's rule (RFC 896).
    fn overtaking(&self, record: usize, held: bool) -> (Invariant, &'static str) {
        let outq = self.history.records.get(record).and_then(|record| record.peer_outq);
        let is_at_once = self.scenario.topology == Topology::Loopback;
        if self.is_piped(record) {
            (Invariant::SpliceFile, LATER_FIRST)
        } else if held || is_at_once && outq > Some(0) {
            (Invariant::Cork, HELD_OVERTAKEN)
        } else {
            (Invariant::Order, LATER_FIRST)
        }
    }
}

const LATER_FIRST: &str = "later-bytes-first";
/// Bytes that a sender held back come after later ones.
pub(crate) const HELD_OVERTAKEN: &str = "held-bytes-overtaken";

/// Judges the bytes of a receive that consumes, and moves the reader.
pub(crate) fn take(
    stream: &mut Stream,
    other: Other<'_>,
    data: &[Run],
    record: usize,
) -> Vec<Fault> {
    if stream.braid.is_some() {
        return take_braided(stream, other, data, record);
    }
    let mut faults = Vec::new();
    let recent = std::mem::take(&mut stream.recent);
    let window = stream.window(stream.at, stream.slack);
    if let Some((bytes, slack)) = in_one_piece(stream, &window, data) {
        put(stream, other, &window, bytes, &recent, record, &mut faults);
        stream.slack = slack;
        return faults;
    }
    for (n, run) in data.iter().enumerate() {
        let len = run.len() as u64;
        if len == 0 {
            continue;
        }
        let window = stream.window(stream.at, stream.slack);
        match place(stream, other, &window, run, data.get(n + 1)) {
            Place::Here(from) => {
                put(stream, other, &window, from..from + len, &recent, record, &mut faults);
            }
            Place::Foreign(diagnosis, what) => {
                let detail = format!("{len} bytes are {what}");
                faults.push(fault(Invariant::CrossTalk, diagnosis, detail));
                stream.alien += len;
                stream.broken = true;
            }
            Place::Later => {
                let detail = format!(
                    "{len} bytes where offset {} of the stream belongs fit only later ones: {}",
                    stream.at,
                    head(run)
                );
                let (rule, diagnosis) = other.overtaking(record, stream.is_held(stream.at));
                faults.push(fault(rule, diagnosis, detail));
                stream.alien += len;
                stream.broken = true;
            }
            Place::Nowhere => {
                let detail = format!(
                    "{len} bytes where offset {} of the stream belongs are of no stream: {}",
                    stream.at,
                    head(run)
                );
                faults.push(match stream.fill_gaps(run) {
                    Some(Gap { overtaking: (rule, diagnosis), .. }) => {
                        fault(rule, diagnosis, detail)
                    }
                    None => fault(Invariant::Corrupt, "unknown-bytes", detail),
                });
                stream.alien += len;
                stream.broken = true;
            }
        }
    }
    faults
}

/// The same where several lanes send: whose bytes they are is one question, how many there are another.
fn take_braided(stream: &mut Stream, other: Other<'_>, data: &[Run], record: usize) -> Vec<Fault> {
    let mut faults = Vec::new();
    let end = stream.at + data.iter().map(|run| run.len() as u64).sum::<u64>();
    if let Some(braid) = &mut stream.braid {
        let passed_over = braid.missing().map_or(record, |(_, record)| record);
        faults = braid.take(data, record);
        // how many of them are still to come is no finding of its own
        stream.broken |= braid.missing().is_some();
        for fault in &mut faults {
            if fault.diagnosis == braid::REORDERED && other.is_piped(passed_over) {
                (fault.invariant, fault.diagnosis) = (Invariant::SpliceFile, LATER_FIRST);
            }
        }
    }
    if end > stream.accepted && faults.is_empty() && !stream.broken {
        let detail =
            format!("{end} bytes were delivered, but only {} were accepted", stream.accepted);
        faults.push(fault(Invariant::Corrupt, "never-accepted", detail));
    }
    stream.broken |= !faults.is_empty();
    stream.recent = Recent::Nothing;
    stream.moved_to(end.min(stream.accepted));
    faults
}

/// Places `bytes` of the stream that arrived while the reader was in `window`.
fn put(
    stream: &mut Stream,
    other: Other<'_>,
    window: &Range<u64>,
    bytes: Range<u64>,
    recent: &Recent,
    record: usize,
    faults: &mut Vec<Fault>,
) {
    if bytes.end > stream.accepted {
        let detail = format!(
            "bytes {}..{} were delivered, but only 0..{} were accepted",
            bytes.start, bytes.end, stream.accepted
        );
        faults.push(fault(Invariant::Corrupt, "never-accepted", detail));
        stream.broken = true;
        stream.at = stream.at.max(bytes.end);
        stream.slack = 0;
        return;
    }
    if window.contains(&bytes.start) {
        stream.moved_to(bytes.end);
        stream.alien = 0;
    } else if bytes.start >= window.end {
        // the byte at the end of the window may have been taken for an urgent one
        if stream.fuzzy && bytes.start == window.end {
            stream.used_fuzz = true;
        } else if bytes.start - window.start > stream.alien {
            let missing = window.end - 1..bytes.start;
            let verdict = blame_gap(&missing, recent);
            let overtaking = other.overtaking(record, stream.is_held(missing.start));
            stream.open_gap(Gap { bytes: missing, verdict, overtaking, record });
        }
        stream.alien = 0;
        stream.moved_to(bytes.end);
    } else {
        faults.push(seen_before(stream, &bytes, recent));
        if bytes.end > stream.at {
            stream.moved_to(bytes.end);
        }
    }
}

/// What passing over these bytes is called, where the call before explains it.
fn blame_gap(missing: &Range<u64>, recent: &Recent) -> Option<(Invariant, &'static str)> {
    match recent {
        Recent::Fault => Some((Invariant::Efault, "bytes-lost")),
        Recent::Peek(seen) if missing.start == seen.start && missing.end <= seen.end => {
            Some((Invariant::Peek, "consumed"))
        }
        Recent::Trunc(_) => Some((Invariant::Trunc, "consumed-more-than-counted")),
        _ => None,
    }
}

/// Bytes from before the reader's position: late, or again.
fn seen_before(stream: &mut Stream, bytes: &Range<u64>, recent: &Recent) -> Fault {
    let span = format!("{}..{}", bytes.start, bytes.end);
    stream.broken = true;
    if let Some(gap) = stream.fill_gap(bytes) {
        let detail = format!("bytes {span} came after later bytes of the same stream");
        let (rule, diagnosis) = gap.overtaking;
        return fault(rule, diagnosis, detail);
    }
    match recent {
        // nobody saw them: they may have been others, which overtook these
        Recent::Trunc(taken) if bytes.start == taken.start && stream.is_held(bytes.start) => {
            let detail = format!("bytes {span} came when as many had been taken with MSG_TRUNC");
            fault(Invariant::Cork, HELD_OVERTAKEN, detail)
        }
        Recent::Trunc(taken) if bytes.start == taken.start => fault(
            Invariant::Trunc,
            "did-not-consume",
            format!("bytes {span} were taken with MSG_TRUNC and delivered again"),
        ),
        _ => fault(
            Invariant::Duplicate,
            "delivered-twice",
            format!("bytes {span} had been delivered before"),
        ),
    }
}

/// Judges the bytes that a peek returned. The reader does not move; gives where they end.
///
/// It began `ahead` bytes behind the reader (`SO_PEEK_OFF`).
pub(crate) fn peek(
    stream: &Stream,
    other: Other<'_>,
    data: &[Run],
    ahead: u64,
) -> Result<u64, Fault> {
    let (mut at, mut slack) = (stream.at + ahead, stream.slack);
    if let Some(braid) = &stream.braid {
        let end = at + data.iter().map(|run| run.len() as u64).sum::<u64>();
        let mut braid = braid.clone();
        let wrong = ahead == 0 && !braid.take(data, 0).is_empty();
        if wrong || end > stream.accepted && !stream.broken {
            let detail = format!("bytes up to {end} were peeked that do not come next");
            return Err(fault(Invariant::Peek, "wrong-bytes", detail));
        }
        return Ok(end);
    }
    let window = stream.window(at, slack);
    if let Some((bytes, _)) = in_one_piece(stream, &window, data) {
        return Ok(bytes.end);
    }
    for (n, run) in data.iter().enumerate() {
        let len = run.len() as u64;
        if len == 0 {
            continue;
        }
        let window = stream.window(at, slack);
        let from = match place(stream, other, &window, run, data.get(n + 1)) {
            Place::Here(from) => from,
            Place::Foreign(diagnosis, what) => {
                let detail = format!("{len} peeked bytes are {what}");
                return Err(fault(Invariant::CrossTalk, diagnosis, detail));
            }
            Place::Later => {
                let detail = format!(
                    "{len} peeked bytes where offset {at} belongs fit only later ones: {}",
                    head(run)
                );
                return Err(fault(Invariant::Peek, "later-bytes-first", detail));
            }
            Place::Nowhere => {
                let detail = format!("{len} peeked bytes are of no stream: {}", head(run));
                return Err(fault(Invariant::Peek, "wrong-bytes", detail));
            }
        };
        let fuzz = stream.fuzzy && from == window.end;
        if !window.contains(&from) && !fuzz && !stream.broken {
            let diagnosis = if from < at { "earlier-bytes-again" } else { "later-bytes-first" };
            let detail = format!(
                "bytes {from}..{} were peeked while the next byte to receive is {at}",
                from + len
            );
            return Err(fault(Invariant::Peek, diagnosis, detail));
        }
        if from + len > stream.accepted {
            let detail = format!(
                "bytes {from}..{} were peeked, but only 0..{} were accepted",
                from + len,
                stream.accepted
            );
            return Err(fault(Invariant::Peek, "never-accepted", detail));
        }
        (at, slack) = (from + len, 0);
    }
    Ok(at)
}

/// Where the data continues the stream, if it does so as a whole from one of several possible places.
///
/// The executor knew of one place only, and behind a skipped urgent byte it may have been the wrong one: then one byte
/// in 256 fits there all the same, and what follows no longer does. Where the data fits several places, gives the first of them, and
/// how much further on the last one is.
fn in_one_piece(stream: &Stream, window: &Range<u64>, data: &[Run]) -> Option<(Range<u64>, u64)> {
    let places = window.start..window.end + u64::from(stream.fuzzy);
    if places.end - places.start < 2 && data.len() < 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(data.iter().map(Run::len).sum());
    for run in data {
        match run {
            Run::Raw(raw) => bytes.extend_from_slice(raw),
            Run::Coded { stream: source, offset, len } => {
                let from = bytes.len();
                bytes.resize(from + *len as usize, 0);
                payload::fill(stream.key, *source, *offset, &mut bytes[from..]);
            }
        }
    }
    let len = bytes.len() as u64;
    let mut fitting = places
        .filter(|from| from + len <= stream.accepted)
        .filter(|&from| payload::matching(stream.key, stream.source, from, &bytes) == bytes.len());
    let first = fitting.next()?;
    let last = fitting.next_back().unwrap_or(first);
    Some((first..first + len, last - first))
}

/// Finds out where a run belongs.
fn place(
    stream: &Stream,
    other: Other<'_>,
    window: &Range<u64>,
    run: &Run,
    next: Option<&Run>,
) -> Place {
    match run {
        Run::Coded { stream: source, offset, len } if *source == stream.source => {
            let end = *offset + u64::from(*len);
            let next_ones = end <= stream.accepted && window.contains(offset);
            if *len as usize >= TELLING || next_ones {
                return Place::Here(*offset);
            }
            // the executor compares with the place that it expects, and so few bytes agree by chance
            let mut bytes = vec![0; *len as usize];
            payload::fill(stream.key, stream.source, *offset, &mut bytes);
            let continues = |&from: &u64| {
                from + u64::from(*len) <= stream.accepted
                    && payload::matching(stream.key, stream.source, from, &bytes) == bytes.len()
            };
            if let Some(from) = window.clone().find(continues) {
                return Place::Here(from);
            }
            if end <= stream.at {
                return Place::Here(*offset);
            }
            place_raw(stream, other, window, &bytes, next)
        }
        Run::Coded { stream: source, offset, .. } => foreign(stream, other, *source, *offset),
        Run::Raw(bytes) => place_raw(stream, other, window, bytes, next),
    }
}

fn foreign(stream: &Stream, other: Other<'_>, source: payload::Stream, offset: u64) -> Place {
    let (diagnosis, what) = origin(stream, other, source, offset);
    Place::Foreign(diagnosis, what)
}

/// Which other stream bytes are of, as a diagnosis and in words.
pub(crate) fn origin(
    stream: &Stream,
    other: Other<'_>,
    source: payload::Stream,
    offset: u64,
) -> (&'static str, String) {
    if source.run != stream.source.run {
        let what = format!(
            "bytes from {offset} on of run {}, not of this run {}",
            source.run, stream.source.run
        );
        return ("earlier-connection", what);
    }
    let pair = |connection: u8| {
        other.history.connections.get(usize::from(connection)).map(|connection| connection.pair)
    };
    let what =
        format!("bytes from {offset} on of lane {} on connection {}", source.lane, source.pair);
    if source.pair != stream.source.pair {
        let own = pair(source.pair) == pair(stream.source.pair);
        return (if own { "earlier-connection" } else { "other-pair" }, what);
    }
    let lane = other.scenario.lanes.get(usize::from(source.lane));
    if lane.is_some_and(|lane| lane.endpoint == other.sender) {
        return ("other-lane", what);
    }
    let what = format!("bytes from {offset} on of the other direction");
    ("other-direction", what)
}

/// Shortest piece whose value tells where it comes from well enough to accuse by.
const TELLING: usize = 4;

fn place_raw(
    stream: &Stream,
    other: Other<'_>,
    window: &Range<u64>,
    bytes: &[u8],
    next: Option<&Run>,
) -> Place {
    let len = bytes.len() as u64;
    let fits = |from| {
        from + len <= stream.accepted
            && payload::matching(stream.key, stream.source, from, bytes) == bytes.len()
    };
    let mut guesses = window.clone().collect::<Vec<_>>();
    if stream.fuzzy {
        guesses.push(window.end);
    }
    if let Some(Run::Coded { stream: source, offset, .. }) = next
        && *source == stream.source
    {
        guesses.extend(offset.checked_sub(bytes.len() as u64));
    }
    guesses.extend(stream.gaps.iter().map(|g| g.bytes.start));
    if let Some(&from) = guesses.iter().find(|&&from| fits(from)) {
        return Place::Here(from);
    }
    let found = payload::find(stream.key, stream.source, stream.accepted, bytes);
    if bytes.len() < TELLING {
        let is_later = found.iter().any(|&from| from >= window.end);
        return if is_later { Place::Later } else { Place::Nowhere };
    }
    let nearest = found.iter().find(|&&from| from >= window.start).or(found.last());
    if let Some(&from) = nearest {
        return Place::Here(from);
    }
    match payload::find(stream.key, other.stream, other.accepted, bytes).first() {
        Some(&offset) => foreign(stream, other, other.stream, offset),
        None => Place::Nowhere,
    }
}

/// The first bytes of a run, for evidence.
fn head(run: &Run) -> String {
    match run {
        Run::Raw(bytes) => {
            let hex: Vec<_> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            hex.join(" ")
        }
        Run::Coded { offset, .. } => format!("from {offset} on"),
    }
}
