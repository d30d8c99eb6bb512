//! Campaigns compared with what was known before.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::finding::Reliability;
use crate::record::{Record, Seen};

/// A campaign that is compared with what is known.
#[derive(Clone, Debug)]
pub struct Night {
    /// Where it is, as the user calls it.
    pub directory: PathBuf,
    /// What is known of it, or why that is nothing.
    pub record: Result<Record, String>,
}

/// What is new, and what is not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Findings that were not known.
    pub new: Vec<Row>,
    /// Known ones that were seen again.
    pub still: Vec<Row>,
    /// Known ones that were not.
    pub gone: Vec<Row>,
    /// What answers are missing, and why: what is not seen may be there all the same.
    pub missing: Vec<Gap>,
    /// The campaigns in numbers.
    pub numbers: Vec<Numbers>,
}

/// A finding of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The name of the broken rule.
    pub invariant: String,
    /// The way it broke.
    pub diagnosis: String,
    /// The target that showed it.
    pub target: String,
    /// The scenario that showed it first; `None` for one that is gone, or comes from no campaign.
    pub first: Option<First>,
    /// How often a replay shows it again.
    pub reliability: Option<Reliability>,
    /// Its folder; `None` for one that is gone.
    pub path: Option<PathBuf>,
}

/// The scenario that showed a finding first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct First {
    /// The campaign's seed.
    pub seed: u64,
    /// Its number.
    pub scenario: u64,
}

/// A campaign without an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// Where it is.
    pub directory: PathBuf,
    /// What is missing.
    pub reason: String,
}

/// The numbers of a campaign, beside those of the one before it on the same target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Numbers {
    /// The target.
    pub target: String,
    /// The campaign before.
    pub old: Option<Figures>,
    /// This one.
    pub new: Figures,
}

/// The numbers of one campaign.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// `uname -r`
    pub kernel_release: String,
    /// Scenarios that were judged.
    pub scenarios: u64,
    /// Scenarios in a second.
    pub scenarios_per_s: f64,
    /// The part of the payload that took the ring, 0.0..=1.0.
    pub ring_share: f64,
    /// Scenarios that could not be judged in full.
    pub inconclusive: u64,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
    fn of(record: &Record) -> Figures {
        let bytes = record.ring_bytes + record.tcp_bytes;
        Figures {
            kernel_release: record.kernel_release.clone(),
            scenarios: record.scenarios,
            scenarios_per_s: record.scenarios_per_s,
            ring_share: if bytes == 0 { 0.0 } else { record.ring_bytes as f64 / bytes as f64 },
            inconclusive: record.inconclusive,
        }
    }
}

impl Comparison {
    /// Compares. Two findings are the same when invariant and diagnosis are, on whatever target: it is the same defect
    /// that another flavour sees, too.
    #[must_use]
    pub fn of(known: &[Record], nights: &[Night]) -> Comparison {
        let mut comparison = Comparison {
            new: Vec::new(),
            still: Vec::new(),
            gone: Vec::new(),
            missing: Vec::new(),
            numbers: Vec::new(),
        };
        let mut records: Vec<&Record> = Vec::new();
        for night in nights {
            let missing = match &night.record {
                Ok(record) => {
                    comparison.add(known, &records, night, record);
                    records.push(record);
                    record.missing()
                }
                Err(reason) => Some(reason.as_str()),
            };
            comparison.missing.extend(
                missing.map(|reason| Gap {
                    directory: night.directory.clone(),
                    reason: reason.into(),
                }),
            );
        }
        comparison.numbers = numbers(known, &records);
        let mut told = records;
        for record in known {
            let gone = record.findings.iter().filter(|seen| !told.iter().any(|r| r.has(seen)));
            comparison.gone.extend(gone.map(|seen| row(seen, record, None)));
            told.push(record);
        }
        comparison
    }

    /// Files the findings of a campaign that none of the campaigns before it has.
    fn add(&mut self, known: &[Record], before: &[&Record], night: &Night, record: &Record) {
        for seen in &record.findings {
            if before.iter().any(|other| other.has(seen)) {
                continue;
            }
            let row = row(seen, record, Some(night));
            let is_known = known.iter().any(|record| record.has(seen));
            if is_known { self.still.push(row) } else { self.new.push(row) }
        }
    }

    /// As a page, for a person.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("# {}\n", self.headline());
        for Gap { directory, reason } in &self.missing {
            let _ = writeln!(out, "\n**No answer from {}**: {reason}.", directory.display());
        }
        for (title, rows) in [
            ("New", &self.new),
            ("Known, and seen again", &self.still),
            ("Known, and not seen", &self.gone),
        ] {
            table(&mut out, title, rows);
        }
        self.figures(&mut out);
        out
    }

    fn headline(&self) -> String {
        match (self.new.len(), self.missing.is_empty()) {
            (0, true) => "Nothing new".to_owned(),
            (0, false) => "No answer".to_owned(),
            (1, _) => "One new finding".to_owned(),
            (many, _) => format!("{many} new findings"),
        }
    }

    fn figures(&self, out: &mut String) {
        if self.numbers.is_empty() {
            return;
        }
        let _ = writeln!(out, "\n## Numbers\n");
        line(out, ["target", "kernel", "scenarios", "per second", "ring", "inconclusive"]);
        line(out, ["---", "---", "--:", "--:", "--:", "--:"]);
        for Numbers { target, old, new } in &self.numbers {
            let beside = |show: &dyn Fn(&Figures) -> String| match old {
                Some(old) if show(old) != show(new) => format!("{} → {}", show(old), show(new)),
                _ => show(new),
            };
            line(
                out,
                [
                    escaped(target),
                    escaped(&beside(&|f| f.kernel_release.clone())),
                    beside(&|f| f.scenarios.to_string()),
                    beside(&|f| format!("{:.0}", f.scenarios_per_s)),
                    beside(&|f| format!("{:.1} %", f.ring_share * 100.0)),
                    beside(&|f| f.inconclusive.to_string()),
                ],
            );
        }
    }
}

/// What is known afterwards: everything that was known before, everything found now, and of each target the numbers of
/// its last campaign that came to its end. So a race that shows itself every third night is news once.
#[must_use]
pub fn accumulated(known: &[Record], nights: &[Night]) -> Vec<Record> {
    let mut all = known.to_vec();
    for record in nights.iter().filter_map(|night| night.record.as_ref().ok()) {
        let Some(before) = all.iter_mut().find(|before| before.target == record.target) else {
            all.push(record.clone());
            continue;
        };
        let mut findings = record.findings.clone();
        findings.extend(before.findings.iter().filter(|seen| !record.has(seen)).cloned());
        if record.missing().is_none() {
            *before = record.clone();
        }
        before.findings = findings;
    }
    all
}

/// Side by side are campaigns of the same target; where there is but one on each side, those.
fn numbers(known: &[Record], records: &[&Record]) -> Vec<Numbers> {
    let before = |record: &Record| match (known, records) {
        ([only], [_]) => Some(only),
        _ => known.iter().find(|old| old.target == record.target),
    };
    let beside = |record: &&Record| Numbers {
        target: record.target.clone(),
        old: before(record).map(Figures::of),
        new: Figures::of(record),
    };
    records.iter().filter(|record| record.scenarios > 0).map(beside).collect()
}

fn row(seen: &Seen, record: &Record, night: Option<&Night>) -> Row {
    Row {
        invariant: seen.invariant.clone(),
        diagnosis: seen.diagnosis.clone(),
        target: record.target.clone(),
        first: night
            .filter(|_| record.scenarios > 0)
            .map(|_| First { seed: record.seed, scenario: seen.first_scenario }),
        reliability: seen.reliability,
        path: night.map(|night| night.directory.join(&seen.path)),
    }
}

fn table(out: &mut String, title: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {title}\n");
    line(out, ["invariant", "diagnosis", "target", "first scenario", "replays", "folder"]);
    line(out, ["---"; 6]);
    for row in rows {
        let first = |First { seed, scenario }| format!("{scenario} of seed {seed}");
        line(
            out,
            [
                escaped(&row.invariant),
                escaped(&row.diagnosis),
                escaped(&row.target),
                row.first.map_or_else(String::new, first),
                row.reliability.map_or_else(|| "not tried".to_owned(), |r| r.to_string()),
                row.path
                    .as_ref()
                    .map_or_else(String::new, |path| escaped(&path.display().to_string())),
            ],
        );
    }
}

fn line<T: AsRef<str>, const N: usize>(out: &mut String, cells: [T; N]) {
    let _ = writeln!(out, "| {} |", cells.each_ref().map(AsRef::as_ref).join(" | "));
}

/// Text that ends no cell (GitHub Flavored Markdown, "Tables").
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(target: &str, seed: u64, findings: &[(&str, &str)]) -> Record {
        let findings =
            findings.iter().zip(10..).map(|((invariant, diagnosis), first_scenario)| Seen {
                invariant: (*invariant).into(),
                diagnosis: (*diagnosis).into(),
                first_scenario,
                reliability: Some(Reliability { hits: 9, of: 10 }),
                path: format!("{invariant}-12345678").into(),
            });
        Record {
            target: target.into(),
            kernel_release: "7.2.12".into(),
            contract: "tcp".into(),
            seed,
            scenarios: 1_000 * seed,
            inconclusive: 1,
            scenarios_per_s: 100.4,
            ring_bytes: 300,
            tcp_bytes: 700,
            findings: findings.collect(),
            unfinished: None,
            finished: true,
        }
    }

    fn night(directory: &str, record: Record) -> Night {
        Night { directory: directory.into(), record: Ok(record) }
    }

    #[test_log::test]
    fn a_page_tells_what_is_new_what_is_not_and_what_is_not_known() {
        let known = [
            record("reference", 1, &[("peek", "later-bytes-first"), ("splat", "WARNING: a|b")]),
            record("reference, flavour kasan", 1, &[("splat", "WARNING: a|b"), ("data", "lost")]),
        ];
        let mut unfinished = record("reference, flavour kcsan", 2, &[]);
        unfinished.finished = false;
        let nights = [
            night(
                "out/kcov",
                record("reference", 2, &[("splat", "WARNING: a|b"), ("hang", "all")]),
            ),
            night("out/kasan", record("reference, flavour kasan", 2, &[("hang", "all")])),
            night("out/kcsan", unfinished),
            Night { directory: "out/none".into(), record: Err("no campaign".into()) },
        ];
        insta::assert_snapshot!(Comparison::of(&known, &nights).markdown());
    }

    #[test_log::test]
    fn the_first_night_knows_nothing() {
        let first = [night("out", record("reference", 1, &[("peek", "later-bytes-first")]))];
        insta::assert_snapshot!(Comparison::of(&[], &first).markdown());
    }

    #[test_log::test]
    fn a_night_without_news_says_so() {
        let known = [record("reference", 1, &[])];
        let again = [night("out", record("paired, series v2.mbox", 1, &[]))];
        let comparison = Comparison::of(&known, &again);
        assert!(comparison.markdown().starts_with("# Nothing new\n"));
        assert!(comparison.numbers[0].old.is_some(), "the only ones are compared");
    }

    #[test_log::test]
    fn a_race_that_shows_itself_now_and_then_is_news_once() {
        let race = || night("out", record("reference", 1, &[("data", "lost")]));
        let quiet = || night("out", record("reference", 2, &[]));
        let mut known = Vec::new();
        let mut news = Vec::new();
        for night in [race(), quiet(), quiet(), race()] {
            let nights = [night];
            news.push(Comparison::of(&known, &nights).new.len());
            known = accumulated(&known, &nights);
        }
        assert_eq!(news, [1, 0, 0, 0]);
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].seed, 1);
    }

    #[test_log::test]
    fn what_came_to_no_end_adds_findings_and_keeps_the_numbers() {
        let known = [record("reference", 1, &[("data", "lost")])];
        let mut cut = record("reference", 2, &[("peek", "later-bytes-first")]);
        cut.unfinished = Some("interrupted".into());
        let known = accumulated(&known, &[night("out", cut)]);
        assert_eq!((known[0].seed, known[0].findings.len()), (1, 2));
    }
}
