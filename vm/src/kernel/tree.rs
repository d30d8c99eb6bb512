//! Kernel source trees: is it one, what is in it, and a copy of it that is ours to patch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::cache::remove_file;
use super::error::{KernelError, io_at};
use super::run;

/// A sock_ops program can call kfuncs from 6.15 on ("bpf: Allow kfuncs in sock_ops programs"): on
/// an older kernel nothing can pair two sockets.
const OLDEST: (u32, u32) = (6, 15);

/// What a build leaves in a tree, as patterns of gitignore(5). The tree's own `.gitignore` cannot
/// be asked: the one in Debian's source ignores everything.
const PRODUCTS: [&str; 18] = [
    "*.a",
    "*.cmd",
    "*.i",
    "*.ko",
    "*.lst",
    "*.mod",
    "*.mod.c",
    "*.o",
    "*.order",
    "*.so",
    "*.so.dbg",
    "/.config*",
    "/Module.symvers",
    "/System.map",
    "/vmlinux*",
    "/include/config/",
    "/include/generated/",
    "/arch/*/include/generated/",
];

/// Checks that `dir` is a kernel source tree that we can use; its version, as "7.2.12".
pub(crate) fn check(dir: &Path) -> Result<String, KernelError> {
    let bad = |why: String| KernelError::BadTree { dir: dir.to_owned(), why };
    if !dir.is_dir() {
        return Err(bad("not a directory: give the top of a kernel source tree".to_owned()));
    }
    let no_kernel = || {
        bad("not a kernel source tree (no Kconfig, or no VERSION in its Makefile): give the \
             directory that README and MAINTAINERS are in"
            .to_owned())
    };
    let makefile = fs::read_to_string(dir.join("Makefile")).map_err(|_| no_kernel())?;
    if !dir.join("Kconfig").is_file() {
        return Err(no_kernel());
    }
    let field = |name: &str| {
        makefile.lines().take(10).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let number = |name: &str| field(name).and_then(|value| value.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (number("VERSION"), number("PATCHLEVEL")) else {
        return Err(no_kernel());
    };
    if (major, minor) < OLDEST {
        return Err(bad(format!(
            "linux {major}.{minor} is too old, sock_ops programs can call kfuncs from {}.{} on: \
             give a newer tree",
            OLDEST.0, OLDEST.1
        )));
    }
    let sub = number("SUBLEVEL").map_or(String::new(), |sub| format!(".{sub}"));
    Ok(format!("{major}.{minor}{sub}{}", field("EXTRAVERSION").unwrap_or_default()))
}

/// The files of a tree, each with size in bytes and date in nanoseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing(BTreeMap<PathBuf, (u64, u64)>);

impl Listing {
    /// What git knows of `dir` and what it does not ignore; without a repository, everything that
    /// is not the [`PRODUCTS`] of an earlier build.
    pub(crate) fn of(dir: &Path, scratch: &Path) -> Result<Self, KernelError> {
        let mut git = run::command("git");
        git.current_dir(dir);
        if dir.join(".git").exists() {
            git.args(["ls-files", "-z", "-co", "--exclude-standard"]);
        } else {
            let empty = scratch.join("empty.git");
            let mut init = run::command("git");
            init.args(["init", "-q", "--bare"]).arg(&empty);
            succeed(dir, &run::output(&mut init, "git")?)?;
            git.arg("--git-dir").arg(&empty).args(["--work-tree", ".", "ls-files", "-z", "-o"]);
            git.args(PRODUCTS.iter().flat_map(|pattern| ["-x", pattern]));
        }
        let output = git
            .output()
            .map_err(|source| KernelError::Run { program: "git".to_owned(), source })?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        succeed(dir, &(output.status.success(), complaint))?;
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut files = BTreeMap::new();
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let name = Path::new(name);
            // A kernel has no `build`; ours is to be there.
            if name.starts_with("build") || name.starts_with("build.partial") {
                continue;
            }
            let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
            // A file may be known and deleted, a nested repository is named as a directory.
            let Ok(meta) = fs::symlink_metadata(dir.join(name)) else {
                continue;
            };
            if plain && !meta.is_dir() {
                let modified = meta.modified().map_err(io_at(name))?;
                files.insert(name.to_owned(), (meta.len(), nanoseconds(modified)));
            }
        }
        Ok(Self(files))
    }

    /// The hash of names, sizes and dates: an edit changes it.
    pub(crate) fn hash(&self) -> String {
        hex(&Sha256::digest(self.to_text()))
    }

    /// Reads what [`Listing::to_text`] wrote; what is missing or damaged is empty.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let files = text.split('\0').filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            let (size, date) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some((PathBuf::from(words.next()?), (size, date)))
        });
        Self(files.collect())
    }

    pub(crate) fn to_text(&self) -> String {
        let lines =
            self.0.iter().map(|(name, (size, date))| format!("{size} {date} {}\0", name.display()));
        lines.collect()
    }

    /// Without `files`.
    pub(crate) fn without(mut self, files: &BTreeSet<PathBuf>) -> Self {
        self.0.retain(|name, _| !files.contains(name));
        self
    }

    /// The entries that are the same in both.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let same = self.0.iter().filter(|(name, entry)| other.0.get(*name) == Some(entry));
        Self(same.map(|(name, entry)| (name.clone(), *entry)).collect())
    }

    /// Makes `to` hold exactly the files of this listing of `from`, besides its `build`.
    ///
    /// Files in `present` are there already. Files in `compiled` were part of what an existing
    /// build was made of, and keep their date; everything else gets today's, whatever the date it
    /// has in `from`, so that make sees it changed.
    pub(crate) fn copy(
        &self,
        from: &Path,
        to: &Path,
        present: &Self,
        compiled: &Self,
    ) -> Result<u64, KernelError> {
        self.remove_others(to)?;
        let mut copied = 0;
        for (name, entry) in &self.0 {
            if present.0.get(name) == Some(entry) {
                continue;
            }
            let date = compiled.0.get(name).filter(|old| *old == entry).map(|(_, date)| *date);
            copy_file(&from.join(name), &to.join(name), date)?;
            copied += 1;
        }
        Ok(copied)
    }

    fn remove_others(&self, to: &Path) -> Result<(), KernelError> {
        fs::create_dir_all(to).map_err(io_at(to))?;
        let mut dirs = vec![PathBuf::new()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(to.join(&dir)).map_err(io_at(to))? {
                let entry = entry.map_err(io_at(to))?;
                let name = dir.join(entry.file_name());
                if entry.file_type().map_err(io_at(to))?.is_dir() {
                    if name != Path::new("build") && name != Path::new("build.partial") {
                        dirs.push(name);
                    }
                } else if !self.0.contains_key(&name) {
                    remove_file(&to.join(name))?;
                }
            }
        }
        Ok(())
    }
}

fn succeed(dir: &Path, (succeeded, output): &(bool, String)) -> Result<(), KernelError> {
    if *succeeded {
        return Ok(());
    }
    let why = format!("git cannot list its files: {}", output.trim());
    Err(KernelError::BadTree { dir: dir.to_owned(), why })
}

/// Copies one file or symbolic link; `date` in nanoseconds since the epoch, now if there is none.
fn copy_file(from: &Path, to: &Path, date: Option<u64>) -> Result<(), KernelError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(io_at(parent))?;
    }
    remove_file(to)?;
    if from.is_symlink() {
        let target = fs::read_link(from).map_err(io_at(from))?;
        return symlink(target, to).map_err(io_at(to));
    }
    match fs::copy(from, to) {
        // Removed since it was listed: the next listing will say so.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => return Ok(()),
        other => other.map_err(io_at(to))?,
    };
    if let Some(date) = date {
        let date = UNIX_EPOCH + Duration::from_nanos(date);
        let file = File::options().write(true).open(to).map_err(io_at(to))?;
        file.set_modified(date).map_err(io_at(to))?;
    }
    Ok(())
}

fn nanoseconds(date: SystemTime) -> u64 {
    let since = date.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dir: &Path, version: &str) {
        fs::write(dir.join("Makefile"), format!("# SPDX\n{version}NAME = x\n")).unwrap();
        fs::write(dir.join("Kconfig"), "mainmenu \"x\"\n").unwrap();
    }

    #[test_log::test]
    fn a_tree_is_told_by_its_makefile_and_kconfig() {
        let dir = tempfile::tempdir().unwrap();
        let why = |dir: &Path| {
            let error = check(dir).unwrap_err();
            assert!(error.is_bad_input());
            error.to_string()
        };
        assert!(why(&dir.path().join("gone")).contains("not a directory"));
        assert!(why(dir.path()).contains("not a kernel source tree"));
        tree(dir.path(), "all:\n");
        assert!(why(dir.path()).contains("not a kernel source tree"));
        tree(dir.path(), "VERSION = 6\nPATCHLEVEL = 14\nSUBLEVEL = 3\nEXTRAVERSION =\n");
        assert!(why(dir.path()).contains("linux 6.14 is too old"));
        tree(dir.path(), "VERSION = 6\nPATCHLEVEL = 15\nSUBLEVEL = 0\nEXTRAVERSION = -rc1\n");
        assert_eq!(check(dir.path()).unwrap(), "6.15.0-rc1");
        tree(dir.path(), "VERSION = 7\nPATCHLEVEL = 2\nSUBLEVEL = 12\nEXTRAVERSION =\n");
        assert_eq!(check(dir.path()).unwrap(), "7.2.12");
        fs::remove_file(dir.path().join("Kconfig")).unwrap();
        assert!(why(dir.path()).contains("no Kconfig"));
    }

    #[test_log::test]
    fn build_products_are_not_listed_and_edits_change_the_hash() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for sub in ["net", "build", "include/generated"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        // As Debian's.
        fs::write(dir.path().join(".gitignore"), "/*\n!/debian/\n").unwrap();
        for name in ["net/x.c", "net/x.o", "build/y.c", "include/generated/z.h", ".config"] {
            fs::write(dir.path().join(name), "a").unwrap();
        }
        let listing = Listing::of(dir.path(), scratch.path()).unwrap();
        let names: Vec<_> = listing.0.keys().collect();
        assert_eq!(names, [Path::new(".gitignore"), Path::new("net/x.c")]);
        fs::write(dir.path().join("net/y.c"), "").unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let other = Listing::of(dir.path(), scratch.path()).unwrap();
        assert_ne!(listing.hash(), other.hash());
        assert_eq!(other.common(&listing), listing);
        let file = scratch.path().join("manifest");
        fs::write(&file, other.to_text()).unwrap();
        assert_eq!(Listing::read(&file), other);
    }

    #[test_log::test]
    fn in_a_repository_git_knows_what_belongs_to_the_tree() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut git = run::command("git");
        let output = run::output(git.args(["init", "-q"]).arg(dir.path()), "git").unwrap();
        assert!(output.0, "{}", output.1);
        fs::write(dir.path().join(".gitignore"), "*.txt\n").unwrap();
        for name in ["new.c", "notes.txt"] {
            fs::write(dir.path().join(name), "a").unwrap();
        }
        let listing = Listing::of(dir.path(), scratch.path()).unwrap();
        let names: Vec<_> = listing.0.keys().collect();
        assert_eq!(names, [Path::new(".gitignore"), Path::new("new.c")]);
    }

    #[test_log::test]
    fn the_copy_follows_and_only_changes_get_a_new_date() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("net")).unwrap();
        for name in ["net/a.c", "net/b.c", "net/c.c"] {
            fs::write(from.join(name), "old").unwrap();
        }
        symlink("a.c", from.join("net/link.c")).unwrap();
        let first = Listing::of(&from, scratch.path()).unwrap();
        let none = Listing::default();
        assert_eq!(first.copy(&from, &to, &none, &none).unwrap(), 4);
        fs::create_dir(to.join("build")).unwrap();
        fs::write(to.join("build/kept.o"), "").unwrap();
        let date = |name: &str| fs::metadata(to.join(name)).unwrap().modified().unwrap();
        let before = date("net/a.c");
        let built = SystemTime::now();

        fs::remove_file(from.join("net/b.c")).unwrap();
        fs::write(from.join("net/c.c"), "new text").unwrap();
        // An edit that brings an old date along must be seen all the same.
        let file = File::options().write(true).open(from.join("net/c.c")).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        let second = Listing::of(&from, scratch.path()).unwrap();
        assert_eq!(second.copy(&from, &to, &first, &none).unwrap(), 1);
        assert!(!to.join("net/b.c").exists());
        assert_eq!(fs::read_to_string(to.join("net/c.c")).unwrap(), "new text");
        assert_eq!(fs::read_link(to.join("net/link.c")).unwrap(), Path::new("a.c"));
        assert_eq!(date("net/a.c"), before);
        assert!(date("net/c.c") + Duration::from_millis(20) > built);
        assert!(to.join("build/kept.o").exists());

        // A second copy, to be compiled on top of the first one's build.
        let other = dir.path().join("other");
        second.copy(&from, &other, &none, &first).unwrap();
        let date =
            |dir: &Path, name: &str| fs::metadata(dir.join(name)).unwrap().modified().unwrap();
        assert_eq!(date(&other, "net/a.c"), date(&from, "net/a.c"));
        assert!(date(&other, "net/c.c") > date(&from, "net/c.c"));
    }
}
