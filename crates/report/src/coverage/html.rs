//! Coverage as pages that need nothing else: an overview, and each file with its lines coloured.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Count, Coverage, LineCoverage, SourceCoverage, State};

const STYLE: &str = "body{font-family:sans-serif;margin:2em;max-width:80em}\
    table{border-collapse:collapse}td,th{padding:.1em .8em;text-align:left}\
    td.n{text-align:right}tr.f td{padding-left:3em;font-size:90%}\
    div span{display:block;white-space:pre;font-family:monospace;tab-size:8}\
    div b{font-weight:normal;color:#777}\
    a{color:inherit}.hit{background:#dcf5dc}.missed{background:#f9d6d5}.none{background:#eee}\
    .q b{color:#000;font-weight:bold}";

/// Where the files' pages are.
const PAGES: &str = "source";

/// A file's page, relative to the overview.
pub(super) fn page_of(source: &SourceCoverage) -> PathBuf {
    let name = source.name.display().to_string();
    Path::new(PAGES).join(format!("{}.html", name.trim_start_matches('/').replace('/', "_")))
}

/// The overview.
pub(super) fn index(coverage: &Coverage) -> String {
    let title = format!("Coverage of {}", coverage.target);
    let mut out = head(&title);
    let _ = writeln!(
        out,
        "<p>{}, on {}; {} of {} points hit.</p>",
        escape(&coverage.effort()),
        escape(&coverage.kernel_release),
        coverage.points_hit,
        coverage.points
    );
    for caveat in coverage.caveats() {
        let _ = writeln!(out, "<p>{}</p>", escape(&caveat));
    }
    if let Some(question) = &coverage.question {
        answer(&mut out, coverage, question);
    }
    let _ = writeln!(out, "<h2>All code under test</h2>\n<table>");
    row(&mut out, "", coverage.count(), "all");
    for source in &coverage.sources {
        let name = escape(&source.name.display().to_string());
        let link = format!("<a href=\"{}\">{name}</a>", escape_page(source));
        row(&mut out, "", Count::of(source.lines.values()), &link);
        for (name, lines) in source.functions(|_| source.under_test) {
            let first = lines.first().map_or(1, |(number, _)| *number);
            let link = format!("<a href=\"{}#{first}\">{}</a>", escape_page(source), escape(name));
            row(&mut out, " class=\"f\"", Count::of(lines.into_iter().map(|(_, l)| l)), &link);
        }
    }
    out += "</table>\n</body></html>\n";
    out
}

/// The lines in question, function by function.
fn answer(out: &mut String, coverage: &Coverage, question: &str) {
    let count = coverage.count_in_question();
    let _ = writeln!(
        out,
        "<h2>Lines {}</h2>\n<p>{} of {} executable lines ran ({:.1} %), {} not measured.</p>",
        escape(question),
        count.hit,
        count.all(),
        count.percent(),
        count.not_measured
    );
    for file in &coverage.without_code {
        let file = escape(&file.display().to_string());
        let _ = writeln!(out, "<p>{file}: nothing of it is in this kernel.</p>");
    }
    for source in &coverage.sources {
        for (name, lines) in source.functions(|line| line.in_question) {
            let count = Count::of(lines.iter().map(|(_, line)| *line));
            let file = escape(&source.name.display().to_string());
            let _ = writeln!(
                out,
                "<h3>{} <small>({} of {}, <a href=\"{}\">{file}</a>)</small></h3>\n<div>",
                escape(name),
                count.hit,
                count.all(),
                escape_page(source)
            );
            for (number, line) in lines {
                show(out, coverage, (source, number), Some(line), "");
            }
            *out += "</div>\n";
        }
    }
}

/// A file with its lines coloured.
pub(super) fn page(coverage: &Coverage, source: &SourceCoverage) -> String {
    let mut out = head(&source.name.display().to_string());
    let count = Count::of(source.lines.values());
    let _ = writeln!(
        out,
        "<p><a href=\"../index.html\">All files</a>. {} of {} executable lines ran ({:.1} %). Green ran, and links to the \
         first scenario; red never did; grey is not measured; bold numbers are in question.</p>\n<div>",
        count.hit,
        count.all(),
        count.percent()
    );
    for number in (1..).take(source.text.len()) {
        show(&mut out, coverage, (source, number), source.lines.get(&number), "../");
    }
    out += "</div>\n</body></html>\n";
    out
}

/// One line; `home` is the way to the overview.
fn show(
    out: &mut String,
    coverage: &Coverage,
    (source, number): (&SourceCoverage, u32),
    line: Option<&LineCoverage>,
    home: &str,
) {
    let mut text = escape(source.line(number));
    let mut class = "";
    let mut title = String::new();
    match line.map(|line| line.state) {
        None => {}
        Some(State::Missed) => class = "missed",
        Some(State::NotMeasured { why }) => {
            class = "none";
            title = format!(" title=\"not measured: {}\"", escape(why));
        }
        Some(State::Hit { first }) => {
            class = "hit";
            title = format!(" title=\"first in scenario {}\"", escape(&coverage.name_of(first)));
            if let Some(by) = coverage.reached_by.get(&first) {
                let path = escape(&by.path.display().to_string());
                text = format!("<a href=\"{home}{path}\">{text}</a>");
            }
        }
    }
    let question = if line.is_some_and(|line| line.in_question) { " q" } else { "" };
    let _ = writeln!(
        out,
        "<span class=\"{class}{question}\" id=\"{number}\"{title}><b>{number:>6}</b>  {text}</span>"
    );
}

fn row(out: &mut String, class: &str, count: Count, name: &str) {
    let _ = writeln!(
        out,
        "<tr{class}><td>{name}</td><td class=\"n\">{} / {}</td><td class=\"n\">{:.1} %</td></tr>",
        count.hit,
        count.all(),
        count.percent()
    );
}

fn head(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    )
}

fn escape_page(source: &SourceCoverage) -> String {
    escape(&page_of(source).display().to_string())
}

/// What HTML gives a meaning of its own.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
