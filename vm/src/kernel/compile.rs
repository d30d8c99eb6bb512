//! make(1): configuring and building a prepared tree, watched line by line.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::config;
use super::error::{KernelError, io_at};
use super::run;
use super::{Flavour, Progress};

/// Steps of a build from nothing, until one has been counted.
const TYPICAL_STEPS: u64 = 2050;

/// Not following every assignment of every variable through the optimiser makes the build a fifth
/// shorter. BTF (types) and coverage (lines) need none of it.
const KCFLAGS: &str = "KCFLAGS=-fno-var-tracking-assignments";

/// A tree to build and what to build it as. The build directory is `build` in the tree: kbuild
/// then names the source `..` and a build directory can be copied from tree to tree.
pub(crate) struct Compilation<'a> {
    /// The source, with everything applied.
    pub(crate) tree: &'a Path,
    pub(crate) flavour: Flavour,
    /// What errors call the source.
    pub(crate) origin: &'a str,
    /// What follows the version in `uname -r`.
    pub(crate) localversion: &'a str,
    pub(crate) log: &'a Path,
    /// Given to make as its standard input: see `Cache::lock`.
    pub(crate) lock: &'a File,
    /// Steps to expect, if this is a build from nothing.
    pub(crate) steps: Option<u64>,
}

/// What decides the products of a build besides tree and configuration, as text to be hashed.
///
/// # Errors
/// [`KernelError::Missing`] without the programs a build needs.
pub(crate) fn toolchain() -> Result<String, KernelError> {
    run::check_programs()?;
    let mut text = KCFLAGS.to_owned();
    for program in ["gcc", "ld", "pahole"] {
        let (_, output) = run::output(run::command(program).arg("--version"), program)?;
        text.push('\n');
        text.push_str(output.lines().next().unwrap_or_default());
    }
    Ok(text)
}

/// Steps to expect of a build from nothing, when none has been counted.
pub(crate) fn typical_steps() -> u64 {
    TYPICAL_STEPS
}

impl Compilation<'_> {
    /// Configures and builds; the number of steps it took.
    pub(crate) fn run(&self, progress: &dyn Progress) -> Result<u64, KernelError> {
        let build = self.build_dir();
        fs::create_dir_all(&build).map_err(io_at(&build))?;
        fs::write(self.log, "").map_err(io_at(self.log))?;
        let removed = drop_unconfirmed(&build)?;
        tracing::debug!(removed, "targets of an interrupted build removed");
        progress.stage("configuring");
        self.configure(&build)?;
        progress.stage("compiling");
        let mut done = 0;
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        self.make(&[&format!("-j{jobs}"), "all"], &mut |line| {
            if let Some(what) = step_of(line) {
                done += 1;
                progress.step(done, self.steps.map(|steps| steps.max(done)), what);
            }
        })?;
        Ok(done)
    }

    pub(crate) fn build_dir(&self) -> PathBuf {
        self.tree.join("build")
    }

    /// Everything off but what the fragments ask for, and a look at whether they got it. Files
    /// are only written when they change: kbuild goes by their dates.
    fn configure(&self, build: &Path) -> Result<(), KernelError> {
        let wanted = config::wanted(self.flavour);
        let fragment = build.join("sparring.config");
        fs::write(&fragment, &wanted).map_err(io_at(&fragment))?;
        let localversion = build.join("localversion");
        fs::write(&localversion, self.localversion).map_err(io_at(&localversion))?;
        // Relative to the build directory, where kconfig runs.
        self.make(&["KCONFIG_ALLCONFIG=sparring.config", "allnoconfig"], &mut |_| {})?;
        let got = build.join(".config");
        let options = config::unmet(&wanted, &fs::read_to_string(&got).map_err(io_at(&got))?);
        if options.is_empty() {
            return Ok(());
        }
        Err(KernelError::Config { origin: self.origin.to_owned(), options })
    }

    fn make(&self, args: &[&str], on_line: &mut dyn FnMut(&str)) -> Result<(), KernelError> {
        let lock = self.lock.try_clone().map_err(io_at(self.tree))?;
        let mut command = make_command(self.tree);
        command.args(args).stdin(lock);
        let ended = run::logged(&mut command, "make", self.log, on_line)?;
        // The command holds a copy of the lock.
        drop(command);
        if ended.status.success() {
            return Ok(());
        }
        if ended.interrupted() {
            return Err(KernelError::Interrupted);
        }
        let what = format!("make {}", args.last().copied().unwrap_or_default());
        Err(KernelError::Build { what, log: self.log.to_owned(), last: ended.last })
    }
}

/// make in `tree` for its `build`, the same kernel for the same input whenever and wherever.
pub(crate) fn make_command(tree: &Path) -> Command {
    let mut command = run::command("make");
    command.current_dir(tree).args([
        "O=build",
        "LOCALVERSION=",
        "KBUILD_BUILD_USER=sparring",
        "KBUILD_BUILD_HOST=sparring",
        "KBUILD_BUILD_TIMESTAMP=1970-01-01",
        "KBUILD_BUILD_VERSION=1",
        KCFLAGS,
    ]);
    command
}

/// Makes a build directory that was copied from `old` believe that it was made for `new`. Only the
/// programs of `tools/` (objtool, resolve_btfids) record absolute paths; rebuilding objtool would
/// rebuild every object with it. Dates are kept.
pub(crate) fn relocate(build: &Path, old: &Path, new: &Path) -> Result<(), KernelError> {
    let (old, new) = (format!("{}/", old.display()), format!("{}/", new.display()));
    let mut dirs = vec![build.join("tools")];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries {
            let path = entry.map_err(io_at(&dir))?.path();
            let recipe = path.extension().is_some_and(|kind| kind == "cmd" || kind == "d");
            if path.is_dir() && !path.is_symlink() {
                dirs.push(path);
            } else if recipe {
                let text = fs::read_to_string(&path).map_err(io_at(&path))?;
                let date = fs::metadata(&path).and_then(|meta| meta.modified());
                let date = date.map_err(io_at(&path))?;
                fs::write(&path, text.replace(&old, &new)).map_err(io_at(&path))?;
                let file = File::options().write(true).open(&path).map_err(io_at(&path))?;
                file.set_modified(date).map_err(io_at(&path))?;
            }
        }
    }
    Ok(())
}

/// "  CC      net/ipv4/tcp.o" → "net/ipv4/tcp.o", "  LD [M]  x.ko" → "x.ko"; `None` for every line
/// that is no step.
pub(crate) fn step_of(line: &str) -> Option<&str> {
    let (verb, what) = line.strip_prefix("  ")?.split_once(' ')?;
    let shouted = verb.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let what = what.trim_start();
    let what = what.strip_prefix("[M]").unwrap_or(what).trim_start();
    (shouted && verb.len() >= 2).then_some(what)
}

/// Removes every target whose recipe is not known to have ended: kbuild writes `.x.o.cmd` after
/// `x.o`, so a target younger than it, or an object without it, may be half of one. Only after a
/// kill of make itself, or a power cut, is there such a thing. The number of targets removed.
fn drop_unconfirmed(build: &Path) -> Result<u64, KernelError> {
    let mut removed = 0;
    let mut dirs = vec![build.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(io_at(&dir))? {
            let path = entry.map_err(io_at(&dir))?.path();
            let meta = fs::symlink_metadata(&path).map_err(io_at(&path))?;
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_file() && !is_confirmed(&path, &meta).map_err(io_at(&path))? {
                fs::remove_file(&path).map_err(io_at(&path))?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

fn is_confirmed(target: &Path, meta: &fs::Metadata) -> io::Result<bool> {
    let Some(name) = target.file_name() else {
        return Ok(true);
    };
    let command = target.with_file_name(format!(".{}.cmd", name.to_string_lossy()));
    match fs::metadata(command) {
        Ok(command) => Ok(command.modified()? >= meta.modified()?),
        Err(_) => Ok(target.extension().is_none_or(|extension| extension != "o")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test_log::test]
    fn only_steps_are_counted() {
        assert_eq!(step_of("  CC      net/ipv4/tcp.o"), Some("net/ipv4/tcp.o"));
        assert_eq!(step_of("  LD [M]  x.ko"), Some("x.ko"));
        assert_eq!(step_of("  BTFIDS  vmlinux"), Some("vmlinux"));
        assert_eq!(step_of("make[1]: Entering directory '/x'"), None);
        assert_eq!(step_of("../net/x.c:1:2: error: no"), None);
        assert_eq!(step_of("   12 | int x"), None);
        assert_eq!(step_of(""), None);
    }

    #[test_log::test]
    fn half_written_objects_do_not_outlive_an_interruption() {
        let build = tempfile::tempdir().unwrap();
        let net = build.path().join("net");
        fs::create_dir(&net).unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        let write = |name: &str, date: SystemTime| {
            fs::write(net.join(name), "x").unwrap();
            File::options().write(true).open(net.join(name)).unwrap().set_modified(date).unwrap();
        };
        write("done.o", old);
        write(".done.o.cmd", old + Duration::from_secs(1));
        write("half.o", old);
        write("again.o", old + Duration::from_secs(2));
        write(".again.o.cmd", old + Duration::from_secs(1));
        write("header.h", old);
        assert_eq!(drop_unconfirmed(build.path()).unwrap(), 2);
        let mut left: Vec<_> =
            fs::read_dir(&net).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".again.o.cmd", ".done.o.cmd", "done.o", "header.h"]);
    }
}
