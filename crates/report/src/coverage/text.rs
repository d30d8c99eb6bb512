//! Coverage for a terminal: first the lines in question, then everything.

use std::fmt::Write as _;

use super::{Count, Coverage, LineCoverage, SourceCoverage, State};

pub(super) fn text(coverage: &Coverage) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "coverage of {}: {}; {} of {} points hit",
        coverage.target,
        coverage.effort(),
        coverage.points_hit,
        coverage.points
    );
    for caveat in coverage.caveats() {
        let _ = writeln!(out, "{caveat}");
    }
    if let Some(question) = &coverage.question {
        answer(&mut out, coverage, question);
    }
    let _ = writeln!(out, "\nall code under test: {}", share(coverage.count()));
    for source in coverage.sources.iter().filter(|source| source.under_test) {
        row(&mut out, 2, Count::of(source.lines.values()), &source.name.display().to_string());
        let mut unused = 0;
        for (name, lines) in source.functions(|_| true) {
            let count = Count::of(lines.into_iter().map(|(_, line)| line));
            match count.hit {
                0 => unused += usize::from(count.missed > 0),
                _ => row(&mut out, 4, count, name),
            }
        }
        if unused > 0 {
            let _ = writeln!(out, "    and {unused} functions of which nothing ran");
        }
    }
    let others = || coverage.sources.iter().filter(|source| !source.under_test);
    let lines = Count::of(others().flat_map(|source| source.lines.values()));
    row(&mut out, 2, lines, &format!("{} other files, inlined in these", others().count()));
    out
}

/// What ran of the lines in question.
fn answer(out: &mut String, coverage: &Coverage, question: &str) {
    let questioned =
        || coverage.sources.iter().filter(|source| source.questioned().next().is_some());
    let _ = writeln!(out, "\nlines {question}: {}", share(coverage.count_in_question()));
    for source in questioned() {
        row(out, 2, Count::of(source.questioned()), &source.name.display().to_string());
    }
    for file in &coverage.without_code {
        let _ = writeln!(out, "  {}: nothing of it is in this kernel", file.display());
    }
    type Wanted = fn(&State) -> bool;
    let sections: [(&str, Wanted); 2] = [
        ("never ran", |state| *state == State::Missed),
        ("not measured", |state| matches!(state, State::NotMeasured { .. })),
    ];
    for (title, wanted) in sections {
        let mut heading = format!("\n{title}:\n");
        for source in questioned() {
            for (name, lines) in source.functions(|line| line.in_question) {
                let count = Count::of(lines.iter().map(|(_, line)| *line));
                let mut lines = lines.iter().filter(|(_, line)| wanted(&line.state)).peekable();
                if lines.peek().is_some() {
                    let _ = write!(out, "{}", std::mem::take(&mut heading));
                    let _ = writeln!(out, "  {name}: {} of {} ran", count.hit, count.all());
                }
                lines.for_each(|(number, line)| quote(out, source, *number, line));
            }
        }
    }
    let _ = writeln!(out, "\nran first in (scenario: lines):");
    for source in questioned() {
        for (name, lines) in source.functions(|line| line.in_question) {
            if lines.iter().any(|(_, line)| matches!(line.state, State::Hit { .. })) {
                let _ = writeln!(out, "  {}: {name}", source.name.display());
                firsts(out, coverage, &lines);
            }
        }
    }
}

fn quote(out: &mut String, source: &SourceCoverage, number: u32, line: &LineCoverage) {
    let why = match line.state {
        State::NotMeasured { why } => format!("  ({why})"),
        _ => String::new(),
    };
    let text = source.line(number).trim();
    let _ = writeln!(out, "    {}:{number}: {text}{why}", source.name.display());
}

/// The scenarios that reached lines first, each with its lines.
fn firsts(out: &mut String, coverage: &Coverage, lines: &[(u32, &LineCoverage)]) {
    let mut by_scenario = std::collections::BTreeMap::<u64, Vec<String>>::new();
    for (number, line) in lines {
        if let State::Hit { first } = line.state {
            by_scenario.entry(first).or_default().push(number.to_string());
        }
    }
    for (scenario, lines) in by_scenario {
        let _ = writeln!(out, "    {}: {}", coverage.name_of(scenario), lines.join(" "));
    }
}

/// "3 of 4 executable lines ran (75.0 %), 1 not measured".
fn share(count: Count) -> String {
    let mut text =
        format!("{} of {} executable lines ran ({:.1} %)", count.hit, count.all(), count.percent());
    if count.not_measured > 0 {
        let _ = write!(text, ", {} not measured", count.not_measured);
    }
    text
}

fn row(out: &mut String, indent: usize, count: Count, name: &str) {
    let (hit, all) = (count.hit, count.all());
    let _ = writeln!(out, "{:indent$}{hit:>5} / {all:<5} {:>5.1} %  {name}", "", count.percent());
}
