//! A history as a person reads it: one call per line, in order.

use std::fmt::Write as _;

use scenario::history::{At, Outcome, Record};
use scenario::payload::Run;
use scenario::{History, Scenario};

/// One line per call: time since the start in microseconds, endpoint, op, result. The calls whose record
/// numbers are in `marked` get an arrow.
#[must_use]
pub fn timeline(scenario: &Scenario, history: &History, marked: &[usize]) -> String {
    let mut lines = String::new();
    for (at, record) in history.records.iter().enumerate() {
        let mark = if marked.contains(&at) { "->" } else { "  " };
        let place = match record.at {
            At::Step(step) => {
                let lane = scenario.steps.get(step as usize).map(|s| usize::from(s.lane));
                let name = lane.and_then(|lane| scenario.lanes.get(lane)).map(|l| l.name.as_str());
                format!("{step:>3} {}", name.unwrap_or("?"))
            }
            At::Finale => format!("end {}", record.endpoint),
        };
        let us = record.call_ns / 1_000;
        let took = record.return_ns.saturating_sub(record.call_ns) / 1_000;
        let _ = writeln!(
            lines,
            "{mark} {us:>8}us +{took:<5} {place:<10} {:<36} = {}",
            record.op.to_string(),
            result(record)
        );
    }
    lines
}

fn result(record: &Record) -> String {
    let mut text = match &record.outcome {
        Outcome::Value(value) => value.to_string(),
        Outcome::Received { count, data } => {
            let runs: Vec<String> = data.iter().map(run).collect();
            format!("{count} {}", runs.join(" ")).trim_end().to_owned()
        }
        Outcome::Ready(ready) => ready.to_string(),
        Outcome::Errno(errno) => errno.to_string(),
        Outcome::Stuck => "did not return within the bound".to_owned(),
        Outcome::Closed => "not called: closed before".to_owned(),
    };
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
