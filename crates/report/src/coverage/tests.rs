use super::*;

fn line(function: &str, state: State, in_question: bool) -> LineCoverage {
    LineCoverage { function: Some(function.into()), in_question, state }
}

fn coverage() -> Coverage {
    let text =
        ["int f(int x)", "{", "\tif (x < 3 && \"y\")", "\t\treturn g(x);", "\treturn 0;", "}"];
    let boot = State::NotMeasured { why: "runs at boot" };
    let lines = [
        (3, line("f", State::Hit { first: 2 }, true)),
        (4, line("f", State::Missed, true)),
        (5, line("f", State::Hit { first: 7 }, false)),
        (9, line("init", boot, true)),
    ];
    let header = SourceCoverage {
        name: "include/net/x.h".into(),
        under_test: false,
        lines: [(1, line("inlined", State::Missed, false))].into(),
        text: vec!["static inline int inlined(void) { return 0; }".into()],
    };
    let source = SourceCoverage {
        name: "net/x.c".into(),
        under_test: true,
        lines: lines.into(),
        text: text.map(str::to_owned).into(),
    };
    let by =
        |name: &str| ReachedBy { name: name.into(), path: format!("scenarios/{name}.ring").into() };
    Coverage {
        target: "paired, series x.mbox".into(),
        kernel_release: "7.2.12".into(),
        seed: Some(1),
        scenarios: 10,
        findings: 1,
        cut: 1,
        points: 9,
        points_hit: 4,
        question: Some("added by x.mbox".into()),
        without_code: vec!["tools/t.c".into()],
        sources: vec![header, source],
        reached_by: [(2, by("2")), (7, by("7"))].into(),
    }
}

#[test_log::test]
fn a_terminal_shows_first_what_never_ran() {
    insta::assert_snapshot!(coverage().text());
}

#[test_log::test]
fn pages_show_each_line_and_who_reached_it() {
    let coverage = coverage();
    insta::assert_snapshot!("index", html::index(&coverage));
    insta::assert_snapshot!("page", html::page(&coverage, &coverage.sources[1]));
    let dir = tempfile::tempdir().unwrap();
    coverage.save_html(dir.path()).unwrap();
    assert!(dir.path().join("index.html").is_file());
    let pages = std::fs::read_dir(dir.path().join("source"));
    let mut names: Vec<_> = pages.unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["include_net_x.h.html", "net_x.c.html"]);
}

#[test_log::test]
fn without_a_question_there_is_no_answer() {
    let coverage = Coverage { question: None, cut: 0, findings: 0, ..coverage() };
    let text = coverage.text();
    assert!(text.contains("no finding") && !text.contains("added"), "{text}");
    assert!(!html::index(&coverage).contains("added"));
}

#[test_log::test]
fn what_is_not_measured_is_neither_hit_nor_missed() {
    let count = coverage().count_in_question();
    assert_eq!(count, Count { hit: 1, missed: 1, not_measured: 1 });
    assert_eq!((count.all(), count.percent()), (2, 50.0));
    assert_eq!(Count::default().percent(), 0.0);
}
