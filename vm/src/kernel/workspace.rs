//! One directory of the cache per source, series and configuration: what is in it, when it is
//! finished, and how a new one starts from its siblings' work.
//!
//! `trees/<name>/source` is the source with everything applied, `source/build` its build,
//! `manifest` what of the user's tree the source holds, and `kernel.json` the result. That file is
//! written last and removed first: without it, or with another fingerprint, nothing is finished.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::cache::{Cache, remove_dir, remove_file, write_atomically};
use super::compile::{self, Compilation};
use super::error::{KernelError, io_at};
use super::series::{Series, unshare};
use super::tree::{Listing, hex};
use super::{Flavour, Kernel, Progress, config, debian, list, run};

/// Where a kernel's source comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// An unpacked package, shared by hard links.
    Package(debian::Source),
    /// The user's directory, copied.
    Tree { dir: PathBuf, listing: Listing },
}

impl Origin {
    /// What errors and reports call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Package(source) => source.name.clone(),
            Self::Tree { dir, .. } => dir.display().to_string(),
        }
    }

    fn label(&self) -> String {
        let text = match self {
            Self::Package(source) => source.name.rsplit(' ').next().unwrap_or_default().to_owned(),
            Self::Tree { dir, .. } => {
                dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
        };
        // kbuild and make cannot have spaces, colons and the like in a path.
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' }
        };
        text.chars().map(plain).collect()
    }

    fn listing_hash(&self) -> String {
        match self {
            Self::Package(_) => String::new(),
            Self::Tree { listing, .. } => listing.hash(),
        }
    }
}

/// The place for one kernel.
#[derive(Debug)]
pub(crate) struct Workspace<'a> {
    cache: &'a Cache,
    origin: &'a Origin,
    series: Option<&'a Series>,
    flavour: Flavour,
    /// Kernels of one family differ by their series only: their builds can start from each other.
    family: String,
    name: String,
    fingerprint: String,
}

impl<'a> Workspace<'a> {
    pub(crate) fn new(
        cache: &'a Cache,
        origin: &'a Origin,
        series: Option<&'a Series>,
        flavour: Flavour,
        toolchain: &str,
    ) -> Self {
        let covered = config::covered(flavour, &BTreeSet::new());
        let mut covered: String =
            covered.iter().map(|object| format!("{}\n", object.display())).collect();
        covered.push_str(config::changes(flavour));
        let family = hash(&[&origin.name(), &config::wanted(flavour), &covered, toolchain]);
        let key = hash(&[&family, series.map_or("", |series| &series.text)]);
        let name = format!("{}-{flavour}-{}", origin.label(), &key[..12]);
        let fingerprint = hash(&[&key, &origin.listing_hash()]);
        Self { cache, origin, series, flavour, family, name, fingerprint }
    }

    fn dir(&self) -> PathBuf {
        self.cache.trees().join(&self.name)
    }

    fn record(&self) -> PathBuf {
        self.dir().join("kernel.json")
    }

    fn source(&self) -> PathBuf {
        self.dir().join("source")
    }

    /// The kernel, if it is finished and still what is wanted.
    pub(crate) fn finished(&self) -> Option<Kernel> {
        Kernel::read(&self.record()).filter(|kernel| kernel.fingerprint == self.fingerprint)
    }

    /// The kernel, built if need be.
    pub(crate) fn build(&self, progress: &dyn Progress) -> Result<Kernel, KernelError> {
        let lock = self.cache.lock(&self.name, progress)?;
        // Somebody may have built it while we waited.
        if let Some(kernel) = self.finished() {
            return Ok(kernel);
        }
        let began = Instant::now();
        remove_file(&self.record())?;
        fs::create_dir_all(self.dir()).map_err(io_at(&self.dir()))?;
        progress.stage("preparing the source");
        let from_nothing = !self.source().join("build").exists();
        let donor = if from_nothing { self.donor()? } else { None };
        match self.origin {
            Origin::Package(source) => self.link_package(&source.dir, &lock)?,
            Origin::Tree { dir, listing } => {
                self.copy_tree(dir, listing, from_nothing, donor.as_ref())?;
            }
        }
        if let Some(donor) = &donor {
            self.seed(donor, progress)?;
        }
        let compilation = Compilation {
            tree: &self.source(),
            flavour: self.flavour,
            origin: &self.origin.name(),
            localversion: &self.localversion(),
            log: &self.cache.log(&self.name),
            lock: &lock,
            steps: (from_nothing && donor.is_none()).then(|| self.expected_steps()),
        };
        let steps = compilation.run(progress)?;
        let cold = compilation.steps.is_some();
        let kernel = self.kernel(&compilation.build_dir(), began, if cold { steps } else { 0 })?;
        let text = serde_json::to_string_pretty(&kernel)
            .map_err(|error| io_at(&self.record())(error.into()))?;
        write_atomically(&self.record(), &(text + "\n"))?;
        Ok(kernel)
    }

    /// The package's files, hard-linked, and patched under new inodes. Once in place it is
    /// complete and never changes: the workspace's name depends on all that went into it.
    fn link_package(&self, pristine: &Path, lock: &File) -> Result<(), KernelError> {
        let source = self.source();
        if source.exists() {
            return Ok(());
        }
        let partial = self.dir().join("source.partial");
        remove_dir(&partial)?;
        self.copy_dir("-al", pristine, &partial, lock)?;
        self.apply(&partial).inspect_err(|_| {
            // The error that made it useless is the one to report.
            let _ = remove_dir(&self.dir());
        })?;
        fs::rename(&partial, &source).map_err(io_at(&source))
    }

    /// The user's files, copied where they differ from what we copied last.
    fn copy_tree(
        &self,
        dir: &Path,
        listing: &Listing,
        from_nothing: bool,
        donor: Option<&Donor>,
    ) -> Result<(), KernelError> {
        let source = self.source();
        let manifest = self.dir().join("manifest");
        // Until the copy is done, the manifest only lists what is sure to be there.
        // Without a build, dates are to be right for the donor's: everything is copied again.
        let present = match from_nothing {
            true => Listing::default(),
            false => Listing::read(&manifest).common(listing),
        };
        write_atomically(&manifest, &present.to_text())?;
        let compiled = donor.map(|donor| Listing::read(&donor.dir.join("manifest")));
        let copied = listing.copy(dir, &source, &present, &compiled.unwrap_or_default())?;
        tracing::info!(copied, tree = %dir.display(), "files copied");
        let changed = self.apply(&source)?;
        write_atomically(&manifest, &listing.clone().without(&changed).to_text())
    }

    /// Applies the series and has the covered objects report coverage; the files that this changed.
    fn apply(&self, tree: &Path) -> Result<BTreeSet<PathBuf>, KernelError> {
        let mut changed = BTreeSet::new();
        if let Some(series) = self.series {
            let scratch = self.cache.scratch()?;
            series.apply(tree, &self.origin.name(), scratch.path())?;
            changed.clone_from(series.touched());
        }
        let objects = config::covered(self.flavour, &changed);
        changed.extend(config::instrumented_makefiles(tree, &objects));
        config::instrument(tree, &objects)?;
        changed.extend(config::record_softirqs(tree, self.flavour)?);
        Ok(changed)
    }

    /// A finished sibling whose build ours can start from, held so that nobody rebuilds it now.
    fn donor(&self) -> Result<Option<Donor>, KernelError> {
        for kernel in list(self.cache)? {
            let Some(dir) = kernel.source_dir.parent().map(Path::to_owned) else {
                continue;
            };
            let Some(name) = dir.file_name().map(|name| name.to_string_lossy().into_owned()) else {
                continue;
            };
            if kernel.family != self.family || name == self.name {
                continue;
            }
            let Some(lock) = self.cache.try_lock_shared(&name)? else {
                continue;
            };
            // It may have been unfinished by the time that we got the lock.
            if Kernel::read(&dir.join("kernel.json")).as_ref() == Some(&kernel) {
                return Ok(Some(Donor { kernel, dir, _lock: lock }));
            }
        }
        Ok(None)
    }

    /// Copies the donor's build. Its objects are older than our sources where the two differ, so
    /// that make replaces them: that must be true before there is a build.
    fn seed(&self, donor: &Donor, progress: &dyn Progress) -> Result<(), KernelError> {
        progress.stage("copying a similar build");
        tracing::info!(from = %donor.dir.display(), "build seeded");
        for file in &donor.kernel.touched {
            unshare(&self.source().join(file))?;
        }
        let partial = self.source().join("build.partial");
        remove_dir(&partial)?;
        self.copy_dir("-a", &donor.kernel.build_dir, &partial, &donor._lock)?;
        compile::relocate(&partial, &donor.kernel.source_dir, &self.source())?;
        let build = self.source().join("build");
        fs::rename(&partial, &build).map_err(io_at(&build))
    }

    fn copy_dir(&self, how: &str, from: &Path, to: &Path, lock: &File) -> Result<(), KernelError> {
        let log = self.cache.log(&self.name);
        fs::write(&log, "").map_err(io_at(&log))?;
        let mut cp = run::command("cp");
        cp.args([how, "--reflink=auto"]).arg(from).arg(to);
        cp.stdin(lock.try_clone().map_err(io_at(from))?);
        let ended = run::logged(&mut cp, "cp", &log, &mut |_| {})?;
        if ended.status.success() {
            return Ok(());
        }
        if ended.interrupted() {
            return Err(KernelError::Interrupted);
        }
        Err(KernelError::Build { what: "cp".to_owned(), log, last: ended.last })
    }

    fn localversion(&self) -> String {
        let series = self.series.map(|series| format!("-{}", &hash(&[&series.text])[..8]));
        format!("-sparring-{}{}", self.flavour, series.unwrap_or_default())
    }

    /// As many as the last one of this flavour took.
    fn expected_steps(&self) -> u64 {
        let kernels = list(self.cache).unwrap_or_default();
        let counted = kernels.iter().filter(|kernel| kernel.flavour == self.flavour);
        counted
            .map(|kernel| kernel.steps)
            .max()
            .filter(|steps| *steps > 0)
            .unwrap_or_else(compile::typical_steps)
    }

    fn kernel(&self, build: &Path, began: Instant, steps: u64) -> Result<Kernel, KernelError> {
        let release = build.join("include/config/kernel.release");
        let release = fs::read_to_string(&release).map_err(io_at(&release))?.trim().to_owned();
        let touched = self.series.map(|series| series.touched().clone()).unwrap_or_default();
        Ok(Kernel {
            id: format!("{release}-{}", &self.fingerprint[..8]),
            bzimage: build.join("arch/x86/boot/bzImage"),
            vmlinux: build.join("vmlinux"),
            build_dir: build.to_owned(),
            source_dir: self.source(),
            release,
            origin: self.origin.name(),
            series: self.series.map(Series::name),
            flavour: self.flavour,
            built_s: began.elapsed().as_secs_f64(),
            steps,
            covered: config::covered(self.flavour, &touched),
            touched,
            family: self.family.clone(),
            fingerprint: self.fingerprint.clone(),
        })
    }
}

/// A finished build to start from.
struct Donor {
    kernel: Kernel,
    dir: PathBuf,
    _lock: File,
}

/// The hash of `parts`, each of which counts on its own.
pub(crate) fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    hex(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::super::Silent;
    use super::*;

    const PATCH: &str = "--- a/net/x.c\n+++ b/net/x.c\n@@ -1 +1 @@\n-a\n+b\n";

    fn package(cache: &Cache) -> Origin {
        let dir = cache.sources().join("linux-source-7.2_7.2.12-1");
        fs::create_dir_all(dir.join("net")).unwrap();
        fs::write(dir.join("net/x.c"), "a\n").unwrap();
        Origin::Package(debian::Source { dir, name: "linux-source-7.2 7.2.12-1".into() })
    }

    fn series(dir: &Path, text: &str) -> Series {
        fs::write(dir.join("series.mbox"), text).unwrap();
        Series::read(&dir.join("series.mbox")).unwrap()
    }

    #[test_log::test]
    fn names_are_stable_and_tell_everything_that_matters_apart() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let origin = package(&cache);
        let series = series(dir.path(), PATCH);
        let plain = Workspace::new(&cache, &origin, None, Flavour::Fast, "gcc 12");
        let same = Workspace::new(&cache, &origin, None, Flavour::Fast, "gcc 12");
        assert_eq!((&plain.name, &plain.fingerprint), (&same.name, &same.fingerprint));
        assert!(plain.name.starts_with("7.2.12-1-fast-"), "{}", plain.name);
        let patched = Workspace::new(&cache, &origin, Some(&series), Flavour::Fast, "gcc 12");
        assert_ne!(plain.name, patched.name);
        assert_eq!(plain.family, patched.family);
        for other in [
            Workspace::new(&cache, &origin, None, Flavour::Kasan, "gcc 12"),
            Workspace::new(&cache, &origin, None, Flavour::Fast, "gcc 13"),
        ] {
            assert_ne!(plain.family, other.family);
            assert_ne!(plain.name, other.name);
        }
        assert_ne!(hash(&["a", "bc"]), hash(&["ab", "c"]));
    }

    #[test_log::test]
    fn an_edit_of_a_tree_keeps_its_workspace_and_unfinishes_it() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = Cache::at(scratch.path().join("cache")).unwrap();
        let tree = |text: &str| {
            fs::write(dir.path().join("x.c"), text).unwrap();
            let work = tempfile::tempdir().unwrap();
            let listing = Listing::of(dir.path(), work.path()).unwrap();
            Origin::Tree { dir: dir.path().to_owned(), listing }
        };
        let (before, after) = (tree("a"), tree("ab"));
        let before = Workspace::new(&cache, &before, None, Flavour::Kcov, "");
        let after = Workspace::new(&cache, &after, None, Flavour::Kcov, "");
        assert_eq!(before.name, after.name);
        assert_ne!(before.fingerprint, after.fingerprint);
    }

    /// Everything of a build but its end.
    #[test_log::test]
    fn an_interrupted_build_never_looks_finished() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let origin = package(&cache);
        let workspace = Workspace::new(&cache, &origin, None, Flavour::Fast, "");
        let build = workspace.source().join("build");
        for sub in ["include/config", "arch/x86/boot"] {
            fs::create_dir_all(build.join(sub)).unwrap();
        }
        fs::write(build.join("include/config/kernel.release"), "7.2.12-x\n").unwrap();
        fs::write(build.join("vmlinux"), "").unwrap();
        fs::write(build.join("arch/x86/boot/bzImage"), "").unwrap();
        assert!(workspace.finished().is_none());
        assert!(list(&cache).unwrap().is_empty());

        fs::write(workspace.record(), "{ \"id\": ").unwrap();
        assert!(workspace.finished().is_none());
        assert!(list(&cache).unwrap().is_empty());

        let kernel = workspace.kernel(&build, Instant::now(), 1).unwrap();
        fs::write(workspace.record(), serde_json::to_string(&kernel).unwrap()).unwrap();
        assert_eq!(workspace.finished().unwrap().id, kernel.id);
        assert_eq!(workspace.build(&Silent).unwrap(), kernel);
        // The image gone, the record is worth nothing.
        fs::remove_file(&kernel.bzimage).unwrap();
        assert!(workspace.finished().is_none());
    }

    #[test_log::test]
    fn a_series_that_does_not_apply_leaves_no_tree() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let origin = package(&cache);
        let series = series(dir.path(), &PATCH.replace("-a", "-other"));
        let workspace = Workspace::new(&cache, &origin, Some(&series), Flavour::Fast, "");
        let error = workspace.build(&Silent).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        assert!(!workspace.source().exists());
        assert!(!workspace.dir().join("source.partial").exists());
        let Origin::Package(source) = &origin else { unreachable!() };
        assert_eq!(fs::read_to_string(source.dir.join("net/x.c")).unwrap(), "a\n");
    }

    #[test_log::test]
    fn a_half_linked_source_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let origin = package(&cache);
        let series = series(dir.path(), PATCH);
        let workspace = Workspace::new(&cache, &origin, Some(&series), Flavour::Fast, "");
        let partial = workspace.dir().join("source.partial");
        fs::create_dir_all(&partial).unwrap();
        fs::write(partial.join("rubbish"), "").unwrap();
        let lock = cache.lock("x", &Silent).unwrap();
        let Origin::Package(source) = &origin else { unreachable!() };
        workspace.link_package(&source.dir, &lock).unwrap();
        assert_eq!(fs::read_to_string(workspace.source().join("net/x.c")).unwrap(), "b\n");
        assert_eq!(fs::read_to_string(source.dir.join("net/x.c")).unwrap(), "a\n");
        assert!(!workspace.source().join("rubbish").exists());
    }
}
