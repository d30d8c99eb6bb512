//! What can go wrong between a request and a kernel, and whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no kernel.
///
/// [`KernelError::is_bad_input`] tells what the user gave us wrong (exit code 2) from what the
/// machine could not do (exit code 69).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The directory given as tree is not one, or not one we can use.
    #[error("{}: {why}", dir.display())]
    BadTree {
        /// The directory, as given.
        dir: PathBuf,
        /// What is wrong with it, and what to give instead.
        why: String,
    },
    /// The series could not be read as one.
    #[error("{}: {why}", series.display())]
    BadSeries {
        /// The file, as given.
        series: PathBuf,
        /// What is wrong with it, and what to give instead.
        why: String,
    },
    /// A patch of the series does not apply.
    #[error("{} does not apply to {origin}: patch \"{subject}\": {rejects}", series.display())]
    Rejected {
        /// The file, as given.
        series: PathBuf,
        /// The source it was to be applied to.
        origin: String,
        /// The failing patch's subject.
        subject: String,
        /// File and hunk, one clause per reject.
        rejects: String,
    },
    /// The source's configuration refuses options we cannot do without.
    #[error(
        "{origin} refuses {}: give a tree whose kconfig and this compiler can provide it",
        options.join(", ")
    )]
    Config {
        /// The source that was configured.
        origin: String,
        /// The options, as they were asked for.
        options: Vec<String>,
    },
    /// There is no packaged source for this machine.
    #[error("no packaged kernel source here ({why}): pass --tree DIR, a kernel source tree")]
    NoPackage {
        /// What was looked for and missed.
        why: String,
    },
    /// The packaged source could not be fetched or unpacked.
    #[error(
        "{what} failed: check the network and try again, or pass --tree DIR; {}",
        tail(log, last)
    )]
    Fetch {
        /// The step that failed.
        what: String,
        /// Its whole output.
        log: PathBuf,
        /// Its last lines.
        last: String,
    },
    /// Programs a build needs are missing.
    #[error("{} not found: install {}", programs.join(", "), packages.join(" "))]
    Missing {
        /// The programs.
        programs: Vec<String>,
        /// The Debian packages that have them.
        packages: Vec<String>,
    },
    /// The compiler, or another program of the build, failed.
    #[error("{what} failed; {}", tail(log, last))]
    Build {
        /// The step that failed.
        what: String,
        /// Its whole output.
        log: PathBuf,
        /// Its last lines.
        last: String,
    },
    /// A module does not build against a kernel.
    #[error(
        "the module {module} does not build against {origin}{}; {}",
        if *theirs { ": give another tree, or a target that does not need the module" } else { "" },
        tail(log, last)
    )]
    Module {
        /// The module.
        module: String,
        /// The source of the kernel.
        origin: String,
        /// Whether that is the user's tree, which may lack what the module needs.
        theirs: bool,
        /// The whole output of make(1).
        log: PathBuf,
        /// Its last lines.
        last: String,
    },
    /// Somebody else built the kernel anew, of another source, between its use and its build.
    #[error("the kernel {id} was built anew meanwhile: run the same command again")]
    Replaced {
        /// What the kernel was.
        id: String,
    },
    /// The build was stopped from outside.
    #[error("the kernel build was interrupted: run the same command again to go on with it")]
    Interrupted,
    /// The disk is full.
    #[error(
        "no space left in {}: free some 4 GB there (kernels that are no longer needed are in {}), \
         or set XDG_CACHE_HOME to a larger disk",
        dir.display(), dir.join("trees").display()
    )]
    NoSpace {
        /// The cache directory.
        dir: PathBuf,
    },
    /// There is no place for a cache.
    #[error("no cache directory: set HOME or XDG_CACHE_HOME to an absolute path")]
    NoCache,
    /// Any other failure of the file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be started or waited for.
    #[error("{program} could not be run: {source}")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

impl KernelError {
    /// Is it what the user gave us (exit code 2), and not the machine (exit code 69)?
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::BadTree { .. }
                | Self::BadSeries { .. }
                | Self::Rejected { .. }
                | Self::Config { .. }
                | Self::Module { theirs: true, .. }
        )
    }

    /// A full disk, wherever it was noticed, becomes [`KernelError::NoSpace`] of `cache`.
    pub(crate) fn in_cache(self, cache: &Path) -> Self {
        let full = match &self {
            Self::Io { source, .. } | Self::Run { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Build { log, .. } | Self::Fetch { log, .. } | Self::Module { log, .. } => {
                std::fs::read(log).is_ok_and(|text| {
                    String::from_utf8_lossy(&text).lines().any(|line| {
                        line.contains("No space left on device")
                            || line.contains("don't have enough free space")
                            || line.contains("Disk quota exceeded")
                    })
                })
            }
            _ => false,
        };
        if full { Self::NoSpace { dir: cache.to_owned() } } else { self }
    }
}

/// `map_err` with the path that an [`io::Error`] leaves out.
pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> KernelError {
    let path = path.to_owned();
    move |source| KernelError::Io { path, source }
}

fn tail(log: &Path, last: &str) -> String {
    let mut text = format!("all of its output is in {}, which ends:", log.display());
    for line in last.lines() {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn a_full_disk_is_named_wherever_it_shows() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("build.log");
        std::fs::write(&log, "  CC x.o\nfatal error: error writing: No space left on device\n")
            .unwrap();
        let build = KernelError::Build { what: "make".into(), log: log.clone(), last: "x".into() };
        let error = build.in_cache(dir.path());
        assert!(matches!(error, KernelError::NoSpace { .. }), "{error}");
        assert!(error.to_string().contains(&dir.path().display().to_string()));
        assert!(!error.is_bad_input());

        let io = KernelError::Io { path: log, source: io::ErrorKind::StorageFull.into() };
        assert!(matches!(io.in_cache(dir.path()), KernelError::NoSpace { .. }));
    }

    #[test_log::test]
    fn a_failed_build_names_log_and_last_lines() {
        let error = KernelError::Build {
            what: "make".into(),
            log: "/cache/logs/x.log".into(),
            last: "a.c:1: error: b\nmake: *** [x] Error 1".into(),
        };
        let text = error.to_string();
        assert!(text.contains("/cache/logs/x.log"), "{text}");
        assert!(text.contains("a.c:1: error: b"), "{text}");
        assert!(!error.is_bad_input());
    }
}
