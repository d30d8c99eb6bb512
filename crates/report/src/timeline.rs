//! A history as a person reads it: one call per line, in order.

use std::fmt::Write as _;

use judge::Agreement;
use scenario::history::{At, Errno, Outcome, Record};
use scenario::payload::Run;
use scenario::{History, Op, Scenario};

/// What the columns are.
pub(crate) const LEGEND: &str = "\
Each line is a call: when it was made and how long it took, its step and lane (or
`end`, what every scenario ends with, and the endpoint; or `look`, at the socket
that this lane is asleep on), and what it returned.
`[c 0..10]` are the first ten bytes that lane `c` sent. `->` marks the violation,
`|` a call that began while another on the connection was under way.
";
/// What the lines below calls are.
pub(crate) const PLAIN_LEGEND: &str = "\
`plain TCP` is what the same call returned on the same kernel without pairing,
where that differs; with `(a choice)` the contract allows both.
";

/// Width of what stands before the column of ops.
const MARGIN: usize = 32;
/// Widths of the column of ops: what is longer pushes its result aside.
const NARROWEST: usize = 20;
const WIDEST: usize = 36;

/// One line per call: time since the start in microseconds, step, lane, op, result. The call whose record number is
/// `marked` gets an arrow, those that began while another call on the same connection was under way a bar; where there are
/// several connections, the number of the call's own comes before its lane. Below a call, what the same call returned
/// in `plain`, where that differs. The options that the finale sets are left out where they were set.
#[must_use]
pub fn timeline(
    scenario: &Scenario,
    history: &History,
    marked: Option<usize>,
    plain: Option<&History>,
) -> String {
    let counterparts = plain.map(|plain| judge::compare(scenario, history, plain));
    let ops: Vec<String> = history.records.iter().map(|record| record.op.to_string()).collect();
    let widest = ops.iter().map(String::len).max().unwrap_or(0);
    let width = widest.clamp(NARROWEST, WIDEST);
    let mut lines = String::new();
    // by connection: when the last of its calls so far has returned
    let mut busy_until = vec![0; history.connections.len()];
    for (at, (record, op)) in history.records.iter().zip(&ops).enumerate() {
        let overlaps = match busy_until.get_mut(usize::from(record.connection)) {
            Some(until) => {
                let overlaps = record.call_ns < *until && record.outcome != Outcome::Closed;
                *until = record.return_ns.max(*until);
                overlaps
            }
            None => false,
        };
        let is_marked = marked == Some(at);
        let differing = counterparts.as_ref().and_then(|found| found[at]);
        let differing = differing.filter(|found| found.agreement != Agreement::Same);
        if is_set_up(record) && !is_marked && differing.is_none() {
            continue;
        }
        let mark = if is_marked { "->" } else { "  " };
        let bar = if overlaps { '|' } else { ' ' };
        let (us, took) = (record.call_ns / 1_000, micros(record));
        let place = place(scenario, history, record);
        let result = result(scenario, record, is_marked);
        let _ =
            writeln!(lines, "{mark} {us:>8}us +{took:<5}{bar}{place:<10} {op:<width$} = {result}");
        if let Some((found, plain)) = differing.zip(plain) {
            let other = &plain.records[found.record];
            let whose = match found.agreement {
                Agreement::Choice => "plain TCP (a choice)",
                Agreement::Same | Agreement::Differs => "plain TCP",
            };
            let mut result = self::result(scenario, other, false);
            if other.op != record.op {
                let _ = write!(result, "   ({})", other.op);
            }
            let _ = writeln!(lines, "{:MARGIN$}{whose:>width$} = {result}", "");
        }
    }
    lines
}

/// Whether it is one of the calls that prepare the finale's receives, and did what it should.
fn is_set_up(record: &Record) -> bool {
    record.at == At::Finale
        && matches!(record.op, Op::Set(_))
        && record.outcome == Outcome::Value(0)
}

fn place(scenario: &Scenario, history: &History, record: &Record) -> String {
    let several = history.connections.len() > 1;
    let connection = if several { format!("{}/", record.connection) } else { String::new() };
    let name = |lane: Option<u8>| {
        let lane = lane.and_then(|lane| scenario.lanes.get(usize::from(lane)));
        lane.map_or("?", |lane| lane.name.as_str())
    };
    match record.at {
        At::Step(step) => format!("{step:>3} {connection}{}", name(record.lane)),
        At::Look(lane) => format!("look {connection}{}", name(Some(lane))),
        At::Finale => format!("end {connection}{}", record.endpoint),
    }
}

/// How long the call took, for a sentence.
pub(crate) fn spent(record: &Record) -> String {
    match micros(record) {
        us @ ..10_000 => format!("{us} us"),
        us => format!("{} ms", us / 1_000),
    }
}

/// How long the call took, in microseconds.
fn micros(record: &Record) -> u64 {
    record.return_ns.saturating_sub(record.call_ns) / 1_000
}

/// What a call returned, as the rest of a sentence.
pub(crate) fn returned(scenario: &Scenario, record: &Record) -> String {
    match &record.outcome {
        Outcome::Ready(_) => format!("reported {}", value(scenario, record)),
        Outcome::Errno(_) => format!("failed with {}", value(scenario, record)),
        Outcome::Stuck => "did not return".to_owned(),
        Outcome::Closed => "found the socket closed".to_owned(),
        Outcome::Value(_) | Outcome::Received { .. } => {
            format!("returned {}", value(scenario, record))
        }
    }
}

/// The value with what is known besides. The state of the other side is said where it is evidence, or explains why there
/// is not more.
fn result(scenario: &Scenario, record: &Record, is_marked: bool) -> String {
    let mut text = value(scenario, record);
    let is_short =
        matches!(record.outcome, Outcome::Received { .. } | Outcome::Errno(Errno::EAGAIN));
    if let Some(outq) = record.peer_outq.filter(|&outq| is_marked || is_short && outq > 0) {
        let _ = write!(text, "   (peer's SIOCOUTQ: {outq})");
    }
    text
}

fn value(scenario: &Scenario, record: &Record) -> String {
    let mut text = match &record.outcome {
        Outcome::Value(error @ 1..) if record.op == Op::SoError => {
            let name = i32::try_from(*error).ok().and_then(|error| Errno(error).name());
            name.map_or_else(|| error.to_string(), |name| format!("{error} ({name})"))
        }
        Outcome::Value(value) => value.to_string(),
        Outcome::Received { count, data, left } => {
            let runs: Vec<String> = data.iter().map(|data| run(scenario, data)).collect();
            let left = left.map(|left| format!(", {left} left")).unwrap_or_default();
            format!("{count} {}", runs.join(" ")).trim_end().to_owned() + &left
        }
        Outcome::Ready(ready) => ready.to_string(),
        Outcome::Errno(errno) => errno.to_string(),
        Outcome::Stuck => "did not return, and was interrupted".to_owned(),
        Outcome::Closed => "not called: closed before".to_owned(),
    };
    if record.interrupted && record.outcome != Outcome::Stuck {
        text += ", once interrupted";
    }
    if record.sigpipe {
        text += ", SIGPIPE";
    }
    match record.strayed() {
        0 => {}
        1 => text += ", wrote 1 byte more",
        bytes => {
            let _ = write!(text, ", wrote {bytes} bytes more");
        }
    }
    if let Some(at) = record.copy_differs {
        let _ = write!(text, ", what tee(2) shared differs from byte {at} on");
    }
    text
}

fn run(scenario: &Scenario, run: &Run) -> String {
    match run {
        Run::Coded { stream, offset, len } => {
            let lane = scenario.lanes.get(usize::from(stream.lane));
            let lane = lane.map_or("?", |lane| lane.name.as_str());
            format!("[{lane} {offset}..{}]", offset + u64::from(*len))
        }
        Run::Raw(bytes) if bytes.len() == 1 => "[1 byte of no known origin]".to_owned(),
        Run::Raw(bytes) => format!("[{} bytes of no known origin]", bytes.len()),
    }
}
