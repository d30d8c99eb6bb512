//! `report.md`: a finding, ready to be pasted into a mail.

use std::fmt::Write as _;
use std::path::PathBuf;

use scenario::text;

use crate::finding::{Artifacts, Finding};
use crate::timeline::timeline;

/// What a report says about the campaign it comes from.
#[derive(Clone, Debug)]
pub struct Context {
    /// The kernel target.
    pub target: String,
    /// The target flags of the command, to be repeated for a replay.
    pub flags: String,
    /// The directory of the findings.
    pub out: PathBuf,
    /// `uname -r`
    pub kernel_release: String,
    /// The contract.
    pub contract: String,
    /// The campaign's seed.
    pub seed: u64,
}

/// Renders a finding.
#[must_use]
pub fn markdown(artifacts: &Artifacts, finding: &Finding, context: &Context) -> String {
    let Artifacts { violation, scenario, history, console, recent, .. } = artifacts;
    let mut out = String::new();
    let _ = writeln!(out, "# {}: {}\n", violation.invariant, violation.diagnosis);
    let _ = writeln!(out, "{}\n", violation.evidence);
    let _ = writeln!(out, "- target: {}", context.target);
    let _ = writeln!(out, "- kernel: {}", context.kernel_release);
    let _ = writeln!(out, "- contract: {}", context.contract);
    let _ = writeln!(
        out,
        "- found by: seed {}, scenario {}, seen {} times",
        context.seed, finding.first_scenario, finding.count
    );
    match finding.reliability {
        Some(reliability) => {
            let _ = writeln!(out, "- replays that show it: {reliability}");
        }
        None => {
            let _ = writeln!(out, "- replays that show it: not tried");
        }
    }
    let _ = writeln!(out, "\nReplay:\n");
    let flags =
        if context.flags.is_empty() { String::new() } else { format!(" {}", context.flags) };
    let file = context.out.join(&finding.path).join("scenario.ring");
    let _ = writeln!(out, "    ./sparring run {}{flags} --repeat 10\n", file.display());
    let _ = writeln!(out, "## Scenario\n\n```\n{}```\n", text::print(scenario));
    match history {
        Some(history) => {
            let marked: Vec<usize> = violation.record.into_iter().collect();
            let lines = timeline(scenario, history, &marked);
            let _ = writeln!(out, "## What happened\n\n```\n{lines}```");
        }
        None => {
            let _ = writeln!(
                out,
                "## What happened\n\nIt was seen from outside; what the calls returned is not known."
            );
        }
    }
    if !recent.is_empty() {
        let _ = writeln!(
            out,
            "\n`recent/` holds the {} scenarios that ran before it, oldest first: the guilty one may be among them.",
            recent.len()
        );
    }
    if !console.trim().is_empty() {
        let _ = writeln!(out, "\n## Console\n\n```\n{}\n```", console.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use scenario::history::{At, Bounds, Connection, Errno, Outcome, Pairing, Record, Traffic};
    use scenario::payload::{Key, Run, Stream};
    use scenario::{Endpoint, History, Op, Violation};

    use super::*;
    use crate::finding::Reliability;

    fn record(step: u32, endpoint: Endpoint, op: Op, outcome: Outcome) -> Record {
        Record {
            at: At::Step(step),
            lane: Some(u8::from(endpoint == Endpoint::Server)),
            connection: 0,
            endpoint,
            op,
            call_ns: u64::from(step) * 50_000,
            return_ns: u64::from(step) * 50_000 + 20_000,
            peer_outq: (endpoint == Endpoint::Server).then_some(0),
            outcome,
            cpu_ns: 0,
            ticked_ns: 0,
            touched: 0,
            sigpipe: false,
            interrupted: false,
        }
    }

    #[test_log::test]
    fn a_report_has_all_that_a_reviewer_needs() {
        let source = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n\
                    c: send 10\ns: recv 100 peek dontwait\ns: recv 4 dontwait\nend\n";
        let scenario = text::parse(source).unwrap();
        let ops: Vec<Op> = scenario.steps.iter().map(|step| step.op).collect();
        let stream = Stream { run: 3, pair: 0, lane: 0 };
        let data = vec![Run::Coded { stream, offset: 0, len: 3 }, Run::Raw(vec![0])];
        let history = History {
            key: Key::from_seed(1),
            run: 3,
            connections: vec![Connection {
                pair: 0,
                pairing: Pairing::NotAsked,
                traffic: [Traffic::default(); 2],
            }],
            bounds: Bounds::default(),
            records: vec![
                record(0, Endpoint::Client, ops[0], Outcome::Value(10)),
                record(1, Endpoint::Server, ops[1], Outcome::Errno(Errno::EAGAIN)),
                record(
                    2,
                    Endpoint::Server,
                    ops[2],
                    Outcome::Received { count: 4, data, left: None },
                ),
            ],
            ring_counter: None,
        };
        let violation = Violation {
            invariant: scenario::Invariant::Peek,
            diagnosis: "eagain-with-bytes-deliverable".into(),
            record: Some(1),
            evidence: "recv failed with EAGAIN, but bytes 0..10 were deliverable".into(),
        };
        let finding = Finding {
            invariant: violation.invariant,
            diagnosis: violation.diagnosis.clone(),
            id: "1a2b3c4d".into(),
            count: 7,
            first_scenario: 12,
            first_s: 0.5,
            ops_original: 9,
            ops_shrunk: 3,
            reliability: Some(Reliability { hits: 10, of: 10 }),
            path: "peek-1a2b3c4d".into(),
        };
        let artifacts = Artifacts {
            violation,
            original: scenario.clone(),
            scenario,
            history: Some(history),
            console: "[    1.0] a word\n".into(),
            recent: Vec::new(),
        };
        let context = Context {
            target: "paired, series a.mbox".into(),
            flags: "--series /a.mbox".into(),
            out: "/out".into(),
            kernel_release: "7.2.12".into(),
            contract: "tcp".into(),
            seed: 1,
        };
        insta::assert_snapshot!(markdown(&artifacts, &finding, &context));
    }
}
