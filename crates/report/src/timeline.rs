//! A history as a person reads it: one call per line, in order.

use std::fmt::Write as _;

use scenario::history::{At, Outcome, Record};
use scenario::payload::Run;
use scenario::{History, Scenario};

/// One line per call: time since the start in microseconds, step, lane, op, result. The calls whose record numbers are in
/// `marked` get an arrow, those that began while another call on the same connection was under way a bar; where there are
/// several connections, the number of the call's own comes before its lane.
#[must_use]
pub fn timeline(scenario: &Scenario, history: &History, marked: &[usize]) -> String {
    let mut lines = String::new();
    // by connection: when the last of its calls so far has returned
    let mut busy_until = vec![0; history.connections.len()];
    let several = history.connections.len() > 1;
    for (at, record) in history.records.iter().enumerate() {
        let mark = if marked.contains(&at) { "->" } else { "  " };
        let connection = if several { format!("{}/", record.connection) } else { String::new() };
        let place = match record.at {
            At::Step(step) => {
                let lane = record.lane.and_then(|lane| scenario.lanes.get(usize::from(lane)));
                let name = lane.map_or("?", |lane| lane.name.as_str());
                format!("{step:>3} {connection}{name}")
            }
            At::Finale => format!("end {connection}{}", record.endpoint),
        };
        let overlaps = match busy_until.get_mut(usize::from(record.connection)) {
            Some(until) => {
                let overlaps = record.call_ns < *until && record.outcome != Outcome::Closed;
                *until = record.return_ns.max(*until);
                overlaps
            }
            None => false,
        };
        let bar = if overlaps { '|' } else { ' ' };
        let us = record.call_ns / 1_000;
        let took = record.return_ns.saturating_sub(record.call_ns) / 1_000;
        let _ = writeln!(
            lines,
            "{mark} {us:>8}us +{took:<5}{bar}{place:<10} {:<36} = {}",
            record.op.to_string(),
            result(record)
        );
    }
    lines
}

fn result(record: &Record) -> String {
    let mut text = match &record.outcome {
        Outcome::Value(value) => value.to_string(),
        Outcome::Received { count, data, left } => {
            let runs: Vec<String> = data.iter().map(run).collect();
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
    if let Some(outq) = record.peer_outq {
        let _ = write!(text, "   (peer unacknowledged: {outq})");
    }
    text
}

fn run(run: &Run) -> String {
    match run {
        Run::Coded { stream, offset, len } => {
            format!("[lane {} bytes {offset}..{}]", stream.lane, offset + u64::from(*len))
        }
        Run::Raw(bytes) => format!("[{} bytes of no known origin]", bytes.len()),
    }
}
