//! `--series`: reading a patch series, and applying it to a tree of ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::{KernelError, io_at};
use super::mbox::{self, Patch};
use super::run;
use super::tree::hex;

/// A patch series and where it came from.
#[derive(Debug)]
pub(crate) struct Series {
    /// The file, as given.
    pub(crate) path: PathBuf,
    /// Its text: what a kernel's identity depends on.
    pub(crate) text: String,
    patches: Vec<Patch>,
    touched: BTreeSet<PathBuf>,
}

impl Series {
    /// Reads the mailbox `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, KernelError> {
        let bad = |why: String| KernelError::BadSeries { series: path.to_owned(), why };
        let bytes = fs::read(path)
            .map_err(|error| bad(format!("{error}: give the mailbox file of a patch series")))?;
        // A patch to a file that is not UTF-8 is none that this kernel would compile.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let patches = mbox::patches(&text).map_err(bad)?;
        let mut touched = BTreeSet::new();
        for patch in &patches {
            for file in files_of(&patch.diff) {
                if !file.components().all(|part| matches!(part, Component::Normal(_))) {
                    return Err(bad(format!(
                        "patch \"{}\" writes outside of the tree: {}",
                        patch.subject,
                        file.display()
                    )));
                }
                touched.insert(file);
            }
        }
        Ok(Self { path: path.to_owned(), text, patches, touched })
    }

    /// File name and content hash, for people.
    pub(crate) fn name(&self) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{file} (sha256 {})", &hex(&Sha256::digest(&self.text))[..8])
    }

    /// Every file that the series creates, changes, renames or removes, relative to the tree.
    pub(crate) fn touched(&self) -> &BTreeSet<PathBuf> {
        &self.touched
    }

    /// Applies the series, patch by patch, to `tree`, whose files may share their inodes with
    /// another's. On failure the tree is half patched.
    ///
    /// No fuzz: a hunk whose context has changed may belong elsewhere, and a verdict on a kernel
    /// that nobody posted is worth nothing. Offsets are fine, and told.
    pub(crate) fn apply(
        &self,
        tree: &Path,
        origin: &str,
        scratch: &Path,
    ) -> Result<(), KernelError> {
        for file in &self.touched {
            unshare(&tree.join(file))?;
        }
        let input = scratch.join("patch");
        for patch in &self.patches {
            fs::write(&input, &patch.diff).map_err(io_at(&input))?;
            let mut command = run::command("patch");
            command
                .args(["-p1", "--forward", "--batch", "--fuzz=0", "--no-backup-if-mismatch"])
                .args(["--reject-file=-", "--input"])
                .arg(&input)
                .current_dir(tree);
            let (succeeded, output) = run::output(&mut command, "patch")?;
            if !succeeded {
                return Err(KernelError::Rejected {
                    series: self.path.clone(),
                    origin: origin.to_owned(),
                    subject: patch.subject.clone(),
                    rejects: rejects(&output).join("; "),
                });
            }
            for line in output.lines().filter(|line| line.contains("offset")) {
                tracing::info!(patch = %patch.subject, "{line}");
            }
        }
        Ok(())
    }
}

/// Gives `path` an inode of its own, with today's date: what was built from the old one is stale.
pub(crate) fn unshare(path: &Path) -> Result<(), KernelError> {
    if path.is_symlink() || !path.is_file() {
        return Ok(());
    }
    let copy = path.with_added_extension("unshared");
    fs::copy(path, &copy).map_err(io_at(path))?;
    fs::rename(&copy, path).map_err(io_at(path))
}

/// The files that a diff names, its `a/` and `b/` taken off.
fn files_of(diff: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // Lines left of the current hunk: a removed line can look like a header ("--- x").
    let (mut old, mut new) = (0_u64, 0_u64);
    for line in diff.lines() {
        if old > 0 || new > 0 {
            match line.as_bytes().first() {
                Some(b'-') => old = old.saturating_sub(1),
                Some(b'+') => new = new.saturating_sub(1),
                Some(b'\\') => {}
                _ => {
                    old = old.saturating_sub(1);
                    new = new.saturating_sub(1);
                }
            }
        } else if let Some(counts) = line.strip_prefix("@@ ") {
            (old, new) = hunk_lengths(counts);
        } else if let Some(name) = line.strip_prefix("--- ").or_else(|| line.strip_prefix("+++ ")) {
            let name = name.split('\t').next().unwrap_or(name).trim_end();
            if let Some((_, file)) = name.split_once('/').filter(|_| name != "/dev/null") {
                files.push(PathBuf::from(file));
            }
        } else if let Some(name) =
            line.strip_prefix("rename from ").or_else(|| line.strip_prefix("rename to "))
        {
            files.push(PathBuf::from(name));
        }
    }
    files
}

/// "-365,6 +382,46 @@ …" → (6, 46).
fn hunk_lengths(counts: &str) -> (u64, u64) {
    let mut lengths = counts
        .split_whitespace()
        .take(2)
        .map(|range| range.split_once(',').map_or(1, |(_, length)| length.parse().unwrap_or(1)));
    (lengths.next().unwrap_or(0), lengths.next().unwrap_or(0))
}

/// What `patch` said of its failure: "net/x.c: hunk 2 at line 397", one entry per reject.
fn rejects(output: &str) -> Vec<String> {
    let mut file = "(no file)";
    let mut found = Vec::new();
    for line in output.lines() {
        if let Some(name) =
            line.strip_prefix("patching file ").or_else(|| line.strip_prefix("checking file "))
        {
            file = name.trim_matches('\'');
        } else if let Some(name) = line.strip_prefix("|+++ ") {
            file = name.split('\t').next().unwrap_or(name).split_once('/').map_or(name, |(_, n)| n);
        } else if line.starts_with("can't find file to patch") {
            // The quoted header that names the file comes after.
            found.push("(missing)".to_owned());
        } else if line.starts_with("No file to patch") {
            found.retain(|reject| reject != "(missing)");
            found.push(format!("{file}: no such file"));
        } else if line.contains("previously applied) patch detected") {
            found.push(format!("{file}: already applied, leave the series out"));
        } else if let Some((hunk, rest)) =
            line.strip_prefix("Hunk #").and_then(|rest| rest.split_once(" FAILED at "))
        {
            found.push(format!("{file}: hunk {hunk} at line {}", rest.trim_end_matches('.')));
        }
    }
    if found.is_empty() {
        let last = output.lines().rev().find(|line| !line.trim().is_empty());
        found.push(last.unwrap_or("patch failed and said nothing").to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn series(dir: &Path, text: &str) -> Result<Series, KernelError> {
        let path = dir.join("series.mbox");
        fs::write(&path, text).unwrap();
        Series::read(&path)
    }

    const CHANGE: &str = "From 0 Mon Sep 17 00:00:00 2001\nSubject: [PATCH 1/1] net: b for a\n\n\
        diff --git a/net/x.c b/net/x.c\n--- a/net/x.c\n+++ b/net/x.c\n@@ -1,3 +1,3 @@\n 1\n-a\n+b\n 3\n";

    #[test_log::test]
    fn it_applies_to_a_new_inode() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("net")).unwrap();
        let pristine = dir.path().join("pristine.c");
        fs::write(&pristine, "1\na\n3\n").unwrap();
        fs::hard_link(&pristine, tree.join("net/x.c")).unwrap();
        let series = series(dir.path(), CHANGE).unwrap();
        series.apply(&tree, "test", dir.path()).unwrap();
        assert_eq!(fs::read_to_string(tree.join("net/x.c")).unwrap(), "1\nb\n3\n");
        assert_eq!(fs::read_to_string(&pristine).unwrap(), "1\na\n3\n");
        assert_eq!(fs::metadata(tree.join("net/x.c")).unwrap().nlink(), 1);
    }

    #[test_log::test]
    fn a_failed_hunk_names_patch_file_and_hunk() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("net")).unwrap();
        fs::write(dir.path().join("net/x.c"), "1\nother\n3\n").unwrap();
        let series = series(dir.path(), CHANGE).unwrap();
        let error = series.apply(dir.path(), "linux 7.2", dir.path()).unwrap_err();
        assert!(error.is_bad_input());
        let text = error.to_string();
        assert!(text.contains("[PATCH 1/1] net: b for a"), "{text}");
        assert!(text.ends_with("net/x.c: hunk 1 at line 1"), "{text}");
    }

    #[test_log::test]
    fn a_missing_file_and_a_patch_applied_before_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let series = series(dir.path(), CHANGE).unwrap();
        let text = series.apply(dir.path(), "x", dir.path()).unwrap_err().to_string();
        assert!(text.ends_with("net/x.c: no such file"), "{text}");
        fs::create_dir_all(dir.path().join("net")).unwrap();
        fs::write(dir.path().join("net/x.c"), "1\nb\n3\n").unwrap();
        let text = series.apply(dir.path(), "x", dir.path()).unwrap_err().to_string();
        assert!(text.contains("net/x.c: already applied"), "{text}");
    }

    #[test_log::test]
    fn files_are_found_and_hunk_lines_are_not_taken_for_headers() {
        let diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- a/no\n+++ b/no\n 1\n\
                    diff --git a/y b/y\nnew file mode 100644\n--- /dev/null\n+++ b/y\n@@ -0,0 +1 @@\n+1\n\
                    diff --git a/d/z b/d/w\nrename from d/z\nrename to d/w\n";
        let names = ["x", "x", "y", "d/z", "d/w"].map(PathBuf::from);
        assert_eq!(files_of(diff), names);
    }

    #[test_log::test]
    fn a_path_out_of_the_tree_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = series(dir.path(), &CHANGE.replace("net/x.c", "../x.c")).unwrap_err();
        assert!(error.is_bad_input());
        assert!(error.to_string().contains("outside of the tree"), "{error}");
    }

    #[test_log::test]
    fn no_mailbox_is_bad_input() {
        let dir = tempfile::tempdir().unwrap();
        assert!(series(dir.path(), "no patch at all\n").unwrap_err().is_bad_input());
        assert!(Series::read(dir.path()).unwrap_err().is_bad_input());
    }
}
