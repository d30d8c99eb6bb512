//! `report.md`: a finding, ready to be pasted into a mail.

use std::fmt::Write as _;
use std::path::PathBuf;

use judge::{Contract, Exemption};
use scenario::{Violation, text};

use crate::finding::{Artifacts, Finding};
use crate::timeline::{LEGEND, PLAIN_LEGEND, timeline};

/// What a report says about the campaign it comes from.
#[derive(Clone, Debug)]
pub struct Context {
    /// The kernel target.
    pub target: String,
    /// Whether it claims to pair.
    pub pairs: bool,
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
    let Artifacts { violation, scenario, console, recent, .. } = artifacts;
    let mut out = String::new();
    let _ = writeln!(out, "# {}: {}\n", violation.invariant, violation.diagnosis);
    explain(&mut out, artifacts);
    if context.pairs {
        list_claims(&mut out, violation, finding);
    }
    list_facts(&mut out, finding, context);
    let flags =
        if context.flags.is_empty() { String::new() } else { format!(" {}", context.flags) };
    let file = context.out.join(&finding.path).join("scenario.ring");
    let _ = writeln!(out, "\nReplay, here or with the scenario below in a file of its own:\n");
    let _ = writeln!(out, "    ./sparring run {}{flags} --repeat 10\n", file.display());
    let _ = writeln!(out, "## Scenario\n\n```\n{}```\n", text::print(scenario));
    show_timeline(&mut out, artifacts);
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

/// What was seen, and what plain TCP does instead.
fn explain(out: &mut String, artifacts: &Artifacts) {
    let Artifacts { violation, scenario, history, plain, .. } = artifacts;
    if let Some(alarm) = plain.as_ref().and_then(|plain| plain.alarm(violation)) {
        let _ = writeln!(out, "**{}**\n", capitalized(&alarm));
    }
    let _ = writeln!(out, "{}\n", violation.evidence);
    if let Some(plain) = plain {
        let sentence = plain.sentence(violation, scenario, history.as_ref());
        let _ = writeln!(out, "{}.\n", capitalized(&sentence));
    }
}

/// What the series says about it.
fn list_claims(out: &mut String, violation: &Violation, finding: &Finding) {
    let claims = judge::claims().iter().filter(|claim| finding.claims.contains(&claim.id));
    let mut claims: Vec<_> = claims.collect();
    claims.sort_by_key(|claim| finding.claims.iter().position(|id| *id == claim.id));
    for claim in claims {
        let _ = writeln!(out, "- contradicts claim {}: {}", claim.id, claim.says);
    }
    let documented = Contract::rfc_v1();
    if let Some(Exemption { reason, source, .. }) = documented.exemption(violation) {
        let _ = writeln!(
            out,
            "- documented: {reason} ({source}); `--contract {}` tolerates it",
            documented.name()
        );
    }
}

fn list_facts(out: &mut String, finding: &Finding, context: &Context) {
    let _ = writeln!(out, "- target: {}", context.target);
    let _ = writeln!(out, "- kernel: {}", context.kernel_release);
    let _ = writeln!(out, "- contract: {}", context.contract);
    let times = if finding.count == 1 { "once" } else { &format!("{} times", finding.count) };
    let _ = writeln!(
        out,
        "- found by: seed {}, scenario {}, seen {times}",
        context.seed, finding.first_scenario
    );
    let often = finding.reliability.map_or_else(|| "not tried".to_owned(), |r| r.to_string());
    let _ = writeln!(out, "- replays that show it: {often}");
}

/// What happened: on the pair where that is known, else on plain TCP.
fn show_timeline(out: &mut String, artifacts: &Artifacts) {
    let Artifacts { violation, scenario, history, plain, .. } = artifacts;
    let beside = plain.as_ref().and_then(|plain| plain.history.as_ref());
    let _ = writeln!(out, "## What happened\n");
    if let Some(history) = history {
        let more = if beside.is_some() { PLAIN_LEGEND } else { "" };
        let lines = timeline(scenario, history, violation.record, beside);
        let _ = writeln!(out, "{LEGEND}{more}\n```\n{lines}```");
        return;
    }
    let _ = writeln!(out, "It was seen from outside; what the calls returned is not known.");
    if let Some(plain) = beside {
        let lines = timeline(scenario, plain, None, None);
        let _ = writeln!(
            out,
            "\nOn plain TCP, on the same kernel, they return this.\n{LEGEND}\n```\n{lines}```"
        );
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use scenario::history::{At, Bounds, Connection, Errno, Outcome, Pairing, Record, Traffic};
    use scenario::payload::{Key, Run, Stream};
    use scenario::{Endpoint, History, Op, Scenario};

    use super::*;
    use crate::finding::Reliability;
    use crate::plain::Plain;

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
            copy_differs: None,
        }
    }

    fn of_the_finale(step: u32, op: Op, outcome: Outcome) -> Record {
        let at = At::Finale;
        Record { at, lane: None, ..record(step, Endpoint::Server, op, outcome) }
    }

    fn received(len: u32) -> Outcome {
        let stream = Stream { run: 3, pair: 0, lane: 0 };
        let data = vec![Run::Coded { stream, offset: 0, len }];
        Outcome::Received { count: len, data, left: None }
    }

    /// A send, a peek that gives this, a receive that gives so many bytes, and a bit of a finale.
    fn history(scenario: &Scenario, peeked: Outcome, count: u32) -> History {
        let ops: Vec<Op> = scenario.steps.iter().map(|step| step.op).collect();
        let nodelay = Op::Set(scenario::SockOption::NoDelay(true));
        History {
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
                record(1, Endpoint::Server, ops[1], peeked),
                record(2, Endpoint::Server, ops[2], received(count)),
                of_the_finale(3, nodelay, Outcome::Value(0)),
                of_the_finale(4, Op::SoError, Outcome::Value(104)),
            ],
            ring_counter: None,
        }
    }

    fn plain(scenario: &Scenario) -> Plain {
        let mut history = history(scenario, received(10), 4);
        history.records[4].outcome = Outcome::Value(0);
        Plain { history: Some(history), violations: Vec::new(), doubt: None }
    }

    fn artifacts() -> Artifacts {
        let source = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n\
                    c: send 10\ns: recv 100 peek dontwait\ns: recv 4 dontwait\nend\n";
        let scenario = text::parse(source).unwrap();
        let peeked = Outcome::Errno(Errno::EAGAIN);
        Artifacts {
            violation: Violation {
                invariant: scenario::Invariant::Peek,
                diagnosis: "eagain-with-bytes-deliverable".into(),
                record: Some(1),
                evidence: "recv failed with EAGAIN, but bytes 0..10 were deliverable".into(),
            },
            original: scenario.clone(),
            history: Some(history(&scenario, peeked, 3)),
            plain: Some(plain(&scenario)),
            scenario,
            console: "[    1.0] a word\n".into(),
            recent: Vec::new(),
        }
    }

    fn rendered(artifacts: &Artifacts) -> String {
        let finding = Finding {
            invariant: artifacts.violation.invariant,
            diagnosis: artifacts.violation.diagnosis.clone(),
            id: "1a2b3c4d".into(),
            claims: judge::contradicted(artifacts.violation.invariant, "any")
                .iter()
                .map(|claim| claim.id.clone())
                .collect(),
            count: 7,
            first_scenario: 12,
            first_s: 0.5,
            ops_original: 9,
            ops_shrunk: 3,
            reliability: Some(Reliability { hits: 10, of: 10 }),
            path: "peek-1a2b3c4d".into(),
        };
        let context = Context {
            target: "paired, series a.mbox".into(),
            pairs: true,
            flags: "--series /a.mbox".into(),
            out: "/out".into(),
            kernel_release: "7.2.12".into(),
            contract: "tcp".into(),
            seed: 1,
        };
        markdown(artifacts, &finding, &context)
    }

    #[test_log::test]
    fn a_report_has_all_that_a_reviewer_needs() {
        insta::assert_snapshot!(rendered(&artifacts()));
    }

    #[test_log::test]
    fn of_a_dead_kernel_the_report_shows_what_plain_tcp_does() {
        let mut artifacts = artifacts();
        artifacts.violation = Violation {
            invariant: scenario::Invariant::Panic,
            diagnosis: "BUG: unable to handle page fault".into(),
            record: None,
            evidence: "the kernel died".into(),
        };
        artifacts.history = None;
        insta::assert_snapshot!(rendered(&artifacts));
    }

    #[test_log::test]
    fn a_look_in_mid_scenario_is_no_part_of_the_end() {
        let mut artifacts = artifacts();
        let look = record(2, Endpoint::Server, Op::Inq, Outcome::Value(10));
        let look = Record { at: At::Look(1), lane: None, ..look };
        artifacts.history.as_mut().unwrap().records.insert(2, look);
        let report = rendered(&artifacts);
        let line = report.lines().find(|line| line.contains("look s ")).unwrap();
        assert!(line.ends_with("= 10"), "{report}");
    }

    fn said(artifacts: &Artifacts) -> Vec<String> {
        let Artifacts { violation, scenario, history, plain, .. } = artifacts;
        plain.as_ref().unwrap().words(violation, scenario, history.as_ref())
    }

    #[test_log::test]
    fn what_plain_tcp_breaks_is_said_first() {
        let mut artifacts = artifacts();
        let returned = "plain TCP returned 10 [c 0..10] at the same call, on the same kernel";
        assert_eq!(said(&artifacts), [returned]);
        artifacts.plain.as_mut().unwrap().violations = vec![artifacts.violation.clone()];
        let alarm = "the oracle is wrong: plain TCP breaks this rule, too; report this";
        assert_eq!(said(&artifacts), [alarm, returned]);
        assert!(rendered(&artifacts).contains("**The oracle is wrong: plain TCP breaks this rule"));
        artifacts.plain.as_mut().unwrap().violations[0].invariant = scenario::Invariant::Splat;
        let trouble =
            "the kernel has trouble without pairing, too: splat: eagain-with-bytes-deliverable";
        assert_eq!(said(&artifacts)[0], trouble);
        artifacts.violation.invariant = scenario::Invariant::Splat;
        let alarm = "it is not the pairing: the kernel does this without it, too";
        assert_eq!(said(&artifacts)[0], alarm);
    }

    #[test_log::test]
    fn where_plain_tcp_returned_the_same_its_time_and_verdict_are_said() {
        let mut artifacts = artifacts();
        artifacts.violation.record = Some(0);
        assert_eq!(
            said(&artifacts),
            ["plain TCP returned 10 there, too, in 20 us instead of 20 us, and passes"]
        );
        artifacts.violation.record = None;
        artifacts.plain.as_mut().unwrap().doubt = Some(scenario::verdict::Doubt::DrainBound);
        assert_eq!(
            said(&artifacts),
            [
                "plain TCP on the same kernel breaks no rule, as far as that can be told: drain-bound"
            ]
        );
    }
}
