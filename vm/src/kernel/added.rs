//! Which lines a series added.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use similar::{ChangeTag, TextDiff};

use super::error::{KernelError, io_at};
use super::{Cache, Kernel, Request, debian};

/// The lines that the series of `request` added to the source of `kernel`, which was built from it: file → numbers from
/// 1 on, relative to [`Kernel::source_dir`]. The sources are compared, because patches say where lines are in the tree
/// that they were made for.
///
/// # Errors
/// [`KernelError::Io`] where a source cannot be read.
pub fn added_lines(
    request: &Request,
    kernel: &Kernel,
    cache: &Cache,
) -> Result<BTreeMap<PathBuf, BTreeSet<u32>>, KernelError> {
    let gone = || io_at(&cache.sources())(io::ErrorKind::NotFound.into());
    let pristine = match &request.tree {
        Some(tree) => tree.clone(),
        None => debian::cached(cache)?.ok_or_else(gone)?.dir,
    };
    let mut added = BTreeMap::new();
    for file in &kernel.touched {
        let lines = inserted(&text(&pristine.join(file))?, &text(&kernel.source_dir.join(file))?);
        if !lines.is_empty() {
            added.insert(file.clone(), lines);
        }
    }
    Ok(added)
}

/// A file that need not be there: a series adds and removes some.
fn text(path: &Path) -> Result<String, KernelError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(io_at(path)(error)),
    }
}

/// Numbers of the lines of `new` that are not in `old`.
fn inserted(old: &str, new: &str) -> BTreeSet<u32> {
    let diff = TextDiff::from_lines(old, new);
    let inserted = diff.iter_all_changes().filter(|change| change.tag() == ChangeTag::Insert);
    inserted.filter_map(|change| u32::try_from(change.new_index()? + 1).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn lines_are_numbered_as_they_are_in_the_new_file() {
        let lines = |old, new| inserted(old, new).into_iter().collect::<Vec<_>>();
        assert_eq!(lines("a\nb\nc\n", "a\nx\nb\ny\n"), [2, 4]);
        assert_eq!(lines("", "a\nb\n"), [1, 2]);
        assert!(lines("a\nb\n", "b\n").is_empty());
    }

    #[test_log::test]
    fn a_file_that_is_gone_has_no_lines() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(text(&dir.path().join("none")).unwrap(), "");
        assert!(text(dir.path()).is_err());
    }
}
