//! From points that were hit to lines that ran.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use report::{LineCoverage, SourceCoverage, State};
use vm::coverage::{Line, Source};

/// Lines that somebody asks about.
pub struct Question {
    /// Which they are, such as "added by rfc-v1.mbox".
    pub words: String,
    /// The files, and of each the lines; all lines where there are none.
    pub lines: BTreeMap<PathBuf, BTreeSet<u32>>,
}

impl Question {
    fn has(&self, file: &Path, line: u32) -> bool {
        self.lines.get(file).is_some_and(|lines| lines.is_empty() || lines.contains(&line))
    }

    /// The files of which nothing can run.
    pub fn without_code(&self, sources: &BTreeMap<PathBuf, Source>) -> Vec<PathBuf> {
        self.lines.keys().filter(|file| !sources.contains_key(*file)).cloned().collect()
    }
}

/// What ran of the sources, when of each point `first` was the first scenario that hit it.
pub fn sources(
    sources: BTreeMap<PathBuf, Source>,
    first: &[Option<u64>],
    question: Option<&Question>,
) -> Vec<SourceCoverage> {
    let ran = |(name, source): (PathBuf, Source)| {
        let line = |(number, line): (&u32, &Line)| {
            let coverage = LineCoverage {
                function: source.function_of(*number).map(str::to_owned),
                in_question: question.is_some_and(|question| question.has(&name, *number)),
                state: state(line, first),
            };
            (*number, coverage)
        };
        // without its text, as where a module was built elsewhere, the numbers still tell
        let text = fs::read(&source.file).unwrap_or_default();
        SourceCoverage {
            lines: source.lines.iter().map(line).collect(),
            under_test: source.under_test,
            text: String::from_utf8_lossy(&text).lines().map(str::to_owned).collect(),
            name,
        }
    };
    sources.into_iter().map(ran).collect()
}

fn state(line: &Line, first: &[Option<u64>]) -> State {
    match line {
        Line::Boot => State::NotMeasured { why: "runs at boot, or when its module is loaded" },
        Line::Uninstrumented => State::NotMeasured { why: "its code reports no coverage" },
        Line::Measured(points) => {
            let hits = points.iter().filter_map(|point| *first.get(*point as usize)?);
            hits.min().map_or(State::Missed, |first| State::Hit { first })
        }
    }
}

/// The scenarios that were the first to run one of the lines.
pub fn scenarios(sources: &[SourceCoverage]) -> BTreeSet<u64> {
    let lines = sources.iter().flat_map(|source| source.lines.values());
    lines
        .filter_map(|line| match line.state {
            State::Hit { first } => Some(first),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn a_line_ran_when_one_of_its_points_was_hit() {
        let measured = |points: &[u32]| Line::Measured(points.iter().copied().collect());
        let lines = [(2, measured(&[0, 1])), (3, measured(&[2])), (4, Line::Boot)];
        let source = Source {
            file: "/nowhere".into(),
            under_test: true,
            lines: lines.into(),
            functions: [(1, "f".to_owned())].into(),
        };
        let words = "added".to_owned();
        let lines = [("net/x.c".into(), [3].into()), ("tools/t.c".into(), [1].into())].into();
        let question = Question { words, lines };
        let all = BTreeMap::from([(PathBuf::from("net/x.c"), source)]);
        assert_eq!(question.without_code(&all), [Path::new("tools/t.c")]);
        let covered = sources(all, &[Some(9), Some(4), None], Some(&question));
        let states: Vec<State> = covered[0].lines.values().map(|line| line.state).collect();
        assert_eq!(states[..2], [State::Hit { first: 4 }, State::Missed]);
        assert!(matches!(states[2], State::NotMeasured { .. }));
        let asked: Vec<bool> = covered[0].lines.values().map(|line| line.in_question).collect();
        assert_eq!(asked, [false, true, false]);
        assert_eq!(covered[0].lines[&2].function.as_deref(), Some("f"));
        assert_eq!(scenarios(&covered), [4].into());
    }

    #[test_log::test]
    fn a_question_without_numbers_is_about_all_lines() {
        let lines = [("m/x.c".into(), BTreeSet::new())].into();
        let question = Question { words: String::new(), lines };
        assert!(question.has(Path::new("m/x.c"), 7) && !question.has(Path::new("m/y.c"), 7));
    }
}
