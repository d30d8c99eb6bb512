//! `sparring diff`: compare campaigns with what was known before.

use std::path::{Path, PathBuf};

use anstream::print;
use report::{Comparison, Night, ReadError, Record};

use crate::commands::print_json;
use crate::exit::{Failure, Outcome};

/// Compare campaigns: which findings are new, and how the numbers changed.
///
/// Prints Markdown. Exit codes: 0 nothing is new, 1 a finding is, 2 bad input, 69 nothing is new as far as can be told,
/// because a campaign has no answer or only a part of it.
#[derive(clap::Args)]
pub struct Args {
    /// What is known: the --out directory of a campaign, its summary.json, or a file that --keep wrote
    old: PathBuf,
    /// The campaigns to compare with it: directories, or their summary.json; artifacts of cargo fuzz, too
    #[arg(required = true)]
    new: Vec<PathBuf>,
    /// Add to OLD, a file that need not exist yet, what is found
    #[arg(long)]
    keep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let known = if args.keep { kept(&args.old) } else { known(&args.old) }?;
    let nights = args.new.iter().map(|path| night(path)).collect::<Result<Vec<_>, _>>()?;
    let comparison = Comparison::of(&known, &nights);
    if args.keep {
        report::write_known(&args.old, &report::accumulated(&known, &nights))?;
    }
    if args.json {
        print_json(&comparison)?;
    } else {
        print!("{}", comparison.markdown());
    }
    Ok(outcome(&comparison))
}

/// A new finding is one, however much else is missing.
fn outcome(comparison: &Comparison) -> Outcome {
    match (comparison.new.is_empty(), comparison.missing.is_empty()) {
        (false, _) => Outcome::Violation,
        (true, false) => Outcome::Unfinished,
        (true, true) => Outcome::Pass,
    }
}

/// What is known from a campaign, or from the nights before.
fn known(old: &Path) -> Result<Vec<Record>, Failure> {
    if old.exists() {
        return report::read_known(old).map_err(bad_input);
    }
    let advice = "give the --out directory of a campaign, or --keep to begin a file";
    Err(Failure::BadInput(format!("{}: no such file or directory; {advice}", old.display())))
}

/// What is known from the nights before; nothing, in the first.
fn kept(old: &Path) -> Result<Vec<Record>, Failure> {
    if !old.exists() {
        return Ok(Vec::new());
    }
    // a campaign is not to be overwritten
    report::read_kept(old).map_err(|error| {
        let advice = "--keep writes to OLD, so give a file that it wrote, or none that exists";
        Failure::BadInput(format!("{error}; {advice}"))
    })
}

/// A campaign to compare. One that has not even begun has no answer.
fn night(path: &Path) -> Result<Night, Failure> {
    let record = match report::read_campaign(path) {
        Ok(record) => Ok(record),
        Err(ReadError::Empty(_)) => Err("there is no summary.json".to_owned()),
        Err(error @ ReadError::Io { .. }) => return Err(bad_input(error)),
        // what one campaign left half written shall not hide what the others found
        Err(error) => Err(error.to_string()),
    };
    let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    Ok(Night { directory: directory.to_owned(), record })
}

fn bad_input(error: ReadError) -> Failure {
    Failure::BadInput(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A campaign with these findings, in a directory of its own.
    fn campaign(diagnoses: &[&str], finished: bool) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        let findings: Vec<_> = diagnoses
            .iter()
            .map(|diagnosis| {
                serde_json::json!({"invariant": "data", "diagnosis": diagnosis, "first_scenario": 7,
                                   "reliability": "9/10", "path": "data-12345678"})
            })
            .collect();
        let summary = serde_json::json!({
            "target": "reference", "kernel_release": "7.2.12", "contract": "tcp", "seed": 1, "scenarios": 100,
            "inconclusive": 0, "scenarios_per_s": 10.0, "ring_bytes": 1, "tcp_bytes": 1, "findings": findings,
            "finished": finished,
        });
        fs::write(directory.path().join("summary.json"), summary.to_string()).unwrap();
        directory
    }

    fn diff(old: &Path, new: &[&Path], keep: bool) -> u8 {
        let new = new.iter().map(|path| path.to_path_buf()).collect();
        let args = Args { old: old.to_owned(), new, keep, json: true };
        run(&args).map_or_else(|failure| failure.code(), Outcome::code)
    }

    #[test_log::test]
    fn the_exit_code_tells_news_from_silence() {
        let [quiet, lost] = [campaign(&[], true), campaign(&["lost"], true)];
        let [cut, cut_lost] = [campaign(&[], false), campaign(&["lost"], false)];
        let [empty, damaged] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let nowhere = empty.path().join("nowhere");
        fs::write(damaged.path().join("crash-1"), "no comment").unwrap();
        for (old, new, code) in [
            (&quiet, vec![quiet.path()], 0),
            (&lost, vec![quiet.path(), lost.path()], 0),
            (&quiet, vec![lost.path()], 1),
            (&quiet, vec![cut_lost.path()], 1),
            (&quiet, vec![empty.path(), lost.path()], 1),
            (&quiet, vec![damaged.path(), lost.path()], 1),
            (&quiet, vec![damaged.path(), quiet.path()], 69),
            (&quiet, vec![cut.path()], 69),
            (&lost, vec![cut_lost.path()], 69),
            (&quiet, vec![quiet.path(), empty.path()], 69),
            (&quiet, vec![&nowhere], 2),
            (&empty, vec![quiet.path()], 2),
        ] {
            assert_eq!(diff(old.path(), &new, false), code, "{old:?} {new:?}");
        }
    }

    #[test_log::test]
    fn what_was_found_once_is_known_from_then_on() {
        let [quiet, lost] = [campaign(&[], true), campaign(&["lost"], true)];
        let directory = tempfile::tempdir().unwrap();
        let known = directory.path().join("known.json");
        assert_eq!(
            diff(&known, &[quiet.path()], false),
            2,
            "nothing is there, and nothing says that it may be"
        );
        for (night, code) in [(&lost, 1), (&quiet, 0), (&lost, 0)] {
            assert_eq!(diff(&known, &[night.path()], true), code);
        }
        assert_eq!(diff(&known, &[lost.path()], false), 0);
    }

    #[test_log::test]
    fn a_campaign_is_never_overwritten() {
        let lost = campaign(&["lost"], true);
        let summary = lost.path().join("summary.json");
        let before = fs::read(&summary).unwrap();
        assert_eq!(diff(&summary, &[lost.path()], true), 2);
        assert_eq!(diff(lost.path(), &[lost.path()], true), 2);
        assert_eq!(fs::read(&summary).unwrap(), before);
    }
}
