//! `report.md`: a finding, ready to be pasted into a mail.

use std::fmt::Write as _;

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
    let _ = writeln!(out, "    ./sparring run scenario.ring{flags} --repeat 10\n");
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
                "## What happened\n\nThe kernel did not live to tell; see the console."
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
