//! What of the kernel's source ran, and what never did: as text, as HTML, as JSON.

mod html;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::file::{WriteError, write};

/// What a campaign, or some scenarios, covered.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// The kernel target.
    pub target: String,
    /// `uname -r` of its kernel.
    pub kernel_release: String,
    /// The campaign's seed; `None` where scenarios were given as files.
    pub seed: Option<u64>,
    /// Scenarios that ran.
    pub scenarios: u64,
    /// Findings among them.
    pub findings: usize,
    /// Scenarios that covered more than there was room for: what they alone covered may be missing.
    pub cut: u64,
    /// Coverage points of the code under test.
    pub points: u64,
    /// Of these, how many were hit.
    pub points_hit: u64,
    /// Which lines are in question, such as "added by rfc-v1.mbox"; `None` where all are alike.
    pub question: Option<String>,
    /// Files with lines in question of which nothing is in this kernel.
    pub without_code: Vec<PathBuf>,
    /// The files, by name.
    pub sources: Vec<SourceCoverage>,
    /// The scenarios that reached a line first, by the numbers that [`State::Hit`] has.
    pub reached_by: BTreeMap<u64, ReachedBy>,
}

/// A scenario that reached a line first.
#[derive(Clone, Debug, Serialize)]
pub struct ReachedBy {
    /// What to call it.
    pub name: String,
    /// Its `.ring` file, relative to the report.
    pub path: PathBuf,
}

/// What ran of a file.
#[derive(Clone, Debug, Serialize)]
pub struct SourceCoverage {
    /// Relative to the kernel's source; a module's under the module's name.
    pub name: PathBuf,
    /// Whether it is code under test. Another one only has code that was inlined there.
    pub under_test: bool,
    /// Its executable lines, by number from 1 on.
    pub lines: BTreeMap<u32, LineCoverage>,
    /// All its lines.
    #[serde(skip)]
    pub text: Vec<String>,
}

/// What is known of an executable line.
#[derive(Clone, Debug, Serialize)]
pub struct LineCoverage {
    /// The function that it belongs to.
    pub function: Option<String>,
    /// Whether it is one of those in question.
    pub in_question: bool,
    /// Whether it ran.
    #[serde(flatten)]
    pub state: State,
}

/// Whether a line ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It ran, for the first time in this scenario.
    Hit {
        /// Its number, see [`Coverage::reached_by`].
        first: u64,
    },
    /// It never ran.
    Missed,
    /// Nobody can tell.
    NotMeasured {
        /// Why.
        why: &'static str,
    },
}

/// How many lines ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Lines that ran.
    pub hit: usize,
    /// Lines that did not.
    pub missed: usize,
    /// Lines of which nobody can tell, in neither of the others.
    pub not_measured: usize,
}

impl Count {
    /// Counts lines.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a LineCoverage>) -> Count {
        let mut count = Count::default();
        for line in lines {
            match line.state {
                State::Hit { .. } => count.hit += 1,
                State::Missed => count.missed += 1,
                State::NotMeasured { .. } => count.not_measured += 1,
            }
        }
        count
    }

    /// Lines of which it is known whether they ran.
    #[must_use]
    pub fn all(self) -> usize {
        self.hit + self.missed
    }

    /// The part of them that ran, 0.0..=100.0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
    pub fn percent(self) -> f64 {
        if self.all() == 0 { 0.0 } else { self.hit as f64 * 100.0 / self.all() as f64 }
    }
}

/// The lines of a function, in the order of the file.
type Function<'a> = (&'a str, Vec<(u32, &'a LineCoverage)>);

impl SourceCoverage {
    fn questioned(&self) -> impl Iterator<Item = &LineCoverage> {
        self.lines.values().filter(|line| line.in_question)
    }

    /// Its functions in the order of the file, with those lines that `wanted` wants; none without any.
    fn functions(&self, wanted: impl Fn(&LineCoverage) -> bool) -> Vec<Function<'_>> {
        let mut functions: Vec<Function<'_>> = Vec::new();
        for (number, line) in self.lines.iter().filter(|(_, line)| wanted(line)) {
            let name = line.function.as_deref().unwrap_or("(no function)");
            match functions.last_mut() {
                Some((last, lines)) if *last == name => lines.push((*number, line)),
                _ => functions.push((name, vec![(*number, line)])),
            }
        }
        functions
    }

    /// The text of a line.
    fn line(&self, number: u32) -> &str {
        self.text.get(number as usize - 1).map_or("", String::as_str)
    }
}

impl Coverage {
    /// How much of all lines ran.
    #[must_use]
    pub fn count(&self) -> Count {
        Count::of(self.sources.iter().flat_map(|source| source.lines.values()))
    }

    /// How much of the lines in question ran.
    #[must_use]
    pub fn count_in_question(&self) -> Count {
        Count::of(self.sources.iter().flat_map(SourceCoverage::questioned))
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// Writes `index.html`, and below `source` a page for each file, into `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save_html(&self, directory: &Path) -> Result<(), WriteError> {
        for source in &self.sources {
            write(&directory.join(html::page_of(source)), html::page(self, source))?;
        }
        write(&directory.join("index.html"), html::index(self))
    }

    /// "1500 scenarios of seed 1, no finding".
    fn effort(&self) -> String {
        let seed = self.seed.map_or_else(String::new, |seed| format!(" of seed {seed}"));
        let findings = match self.findings {
            0 => "no finding".to_owned(),
            1 => "1 finding".to_owned(),
            findings => format!("{findings} findings"),
        };
        format!("{} scenarios{seed}, {findings}", self.scenarios)
    }

    /// What a reader has to know.
    fn caveats(&self) -> Vec<String> {
        let mut caveats = vec![
            "What the kernel does in threads of its own (work queues) is not recorded, and counts as never run."
                .to_owned(),
        ];
        if self.cut > 0 {
            caveats.push(format!(
                "In {} scenarios more ran than there was room to record: this is a lower bound.",
                self.cut
            ));
        }
        caveats
    }

    fn name_of(&self, scenario: u64) -> String {
        self.reached_by.get(&scenario).map_or_else(|| scenario.to_string(), |by| by.name.clone())
    }
}

#[cfg(test)]
mod tests;
