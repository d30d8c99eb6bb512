//! How good the oracle is: soundness, that is no false alarm where there is nothing to find, and sensitivity, that is
//! no blind eye on planted faults.
//!
//! An evaluation is many campaigns, its *cells*: a canary that must be found, *rounds* on targets that keep the
//! contract, *trials* on the reference with a fault. What each of them shows is on disk as soon as it is known, and
//! is not asked again by an evaluation that goes on.

mod cell;
mod record;
mod score;
mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use report::{Summary, WriteError};

pub use cell::{Cell, Part, canary, cells};
pub use record::{Conditions, Record};
pub use score::Report;
pub use table::{complaints, tables};

use crate::exit::Failure;

/// Cells in a row without an answer, after which the rest is not tried.
const LOSSES: u32 = 3;

/// An evaluation in its directory.
pub struct Evaluation {
    out: PathBuf,
    record: Record,
}

impl Evaluation {
    /// Begins in a directory, or goes on with what was begun there under the same conditions.
    ///
    /// # Errors
    /// [`Failure::BadInput`] when the directory has something else, or results of other conditions;
    /// [`Failure::Harness`] when it cannot be read or written.
    pub fn open(out: &Path, conditions: Conditions) -> Result<Evaluation, Failure> {
        let record = match Record::load(out)? {
            None => {
                refuse_strangers(out)?;
                Record::new(conditions)
            }
            Some(record) => match record.conditions.differences(&conditions) {
                differences if differences.is_empty() => record,
                differences => {
                    return Err(Failure::BadInput(format!(
                        "the evaluation in {} was made under other conditions ({}): go on with it under the same, \
                         or begin another one with --out",
                        out.display(),
                        differences.join(", ")
                    )));
                }
            },
        };
        let mut evaluation = Evaluation { out: out.to_owned(), record };
        evaluation.save("still running, or killed")?;
        // a program that starts in another directory finds it, too
        evaluation.out = out.canonicalize().map_err(|e| cannot_use(out, &e))?;
        Ok(evaluation)
    }

    /// How many of the cells have been answered.
    pub fn answered(&self, cells: &[Cell]) -> usize {
        cells.iter().filter(|cell| self.record.has(cell)).count()
    }

    /// Asks the cells that have no answer yet, in order; `conduct` runs the campaign of one, in a directory of its
    /// own. A cell that gives none for a reason of the harness is left out. Without the canary nothing else is asked.
    ///
    /// # Errors
    /// What ends the evaluation as a whole; answers until then are on disk.
    pub fn advance(
        &mut self,
        cells: &[Cell],
        interrupted: &AtomicBool,
        mut conduct: impl FnMut(&Cell, &Path) -> Result<Summary, Failure>,
    ) -> Result<Report, Failure> {
        let mut lost = Vec::new();
        let mut losses = 0;
        for (number, cell) in (1..).zip(cells) {
            let is_canary = matches!(cell, Cell::Canary);
            let is_over = interrupted.load(Ordering::Relaxed) || losses == LOSSES;
            if is_over || !(is_canary || self.record.is_trusted()) {
                break;
            }
            if self.record.has(cell) {
                continue;
            }
            eprintln!("campaign {number} of {}: {cell}", cells.len());
            let folder = self.out.join(cell.folder());
            clear(&folder)?;
            let answer =
                conduct(cell, &folder).and_then(|summary| self.record.note(cell, &summary));
            match answer {
                Ok(words) => {
                    eprintln!("  {words}");
                    losses = 0;
                }
                Err(_) if interrupted.load(Ordering::Relaxed) => break,
                Err(Failure::Harness(reason)) => {
                    eprintln!("  no answer: {reason}");
                    lost.push(format!("{cell}: {reason}"));
                    losses += 1;
                }
                Err(failure) => return Err(failure),
            }
            self.save("still running, or killed")?;
        }
        let left = cells.len() - self.answered(cells);
        self.finish(left, &lost, interrupted.load(Ordering::Relaxed))
    }

    /// What is known, and what is missing, as it is left on disk.
    fn finish(&self, left: usize, lost: &[String], interrupted: bool) -> Result<Report, Failure> {
        let mut missing = Vec::new();
        if interrupted {
            missing.push("interrupted".to_owned());
        }
        if self.record.is_worthless() {
            missing.push(format!("the canary ({}) was not found", canary().name));
        }
        missing.extend(lost.iter().cloned());
        if left > 0 {
            missing.push(format!("campaigns left: {left}, with which the same command goes on"));
        }
        let unfinished = (!missing.is_empty()).then(|| missing.join("; "));
        let report = Report::new(&self.record, unfinished);
        report.save(&self.out)?;
        Ok(report)
    }

    fn save(&self, unfinished: &str) -> Result<(), WriteError> {
        Report::new(&self.record, Some(unfinished.to_owned())).save(&self.out)
    }
}

/// A directory with files of somebody else is not for us to clear.
fn refuse_strangers(out: &Path) -> Result<(), Failure> {
    let is_empty = match fs::read_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(cannot_use(out, &error)),
        Ok(mut entries) => entries.next().is_none(),
    };
    if is_empty {
        return Ok(());
    }
    Err(Failure::BadInput(format!(
        "{} is neither empty nor an evaluation: choose another directory with --out",
        out.display()
    )))
}

/// Makes room for a campaign: what an interrupted one has left would be mixed up with it.
fn clear(folder: &Path) -> Result<(), Failure> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    removed.and_then(|()| fs::create_dir_all(folder)).map_err(|e| cannot_use(folder, &e))
}

fn cannot_use(path: &Path, error: &io::Error) -> Failure {
    Failure::Harness(format!(
        "cannot use {}: {error}; choose another directory with --out",
        path.display()
    ))
}
