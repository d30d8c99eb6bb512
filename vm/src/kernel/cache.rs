//! The cache directory: where sources, trees, kernels and logs live, and who may touch them now.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Progress;
use super::error::{KernelError, io_at};

/// No fetch takes as long.
const ABANDONED: Duration = Duration::from_hours(24);

/// A cache directory: `$XDG_CACHE_HOME/sparring`, `~/.cache/sparring`, or one of a test's own.
///
/// Below it: `sources/` (unpacked packages, never changed), `trees/` (one workspace per source,
/// series and configuration, its build beside it), `logs/`, `locks/`, `tmp/`.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache.
    ///
    /// # Errors
    /// [`KernelError::NoCache`] without `HOME` and `XDG_CACHE_HOME`, [`KernelError::Io`] when it
    /// cannot be made.
    pub fn open() -> Result<Self, KernelError> {
        Self::at(root_of(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?)
    }

    /// The cache at `root`, which is made when missing.
    ///
    /// # Errors
    /// [`KernelError::Io`] when it cannot be made.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, KernelError> {
        let root = root.into();
        for dir in ["sources", "trees", "logs", "locks", "tmp"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(io_at(&dir))?;
        }
        let root = root.canonicalize().map_err(io_at(&root))?;
        Ok(Self { root })
    }

    /// The cache directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    /// The log file of the step or workspace `name`.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// A directory that is removed when dropped, on the cache's own file system so that what is
    /// made in it can be renamed into place. Those that somebody killed a day ago left are removed.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir, KernelError> {
        let tmp = self.root.join("tmp");
        for entry in fs::read_dir(&tmp).map_err(io_at(&tmp))?.flatten() {
            let date = entry.metadata().and_then(|meta| meta.modified());
            if date.is_ok_and(|date| date.elapsed().is_ok_and(|age| age > ABANDONED)) {
                remove_dir(&entry.path())?;
            }
        }
        tempfile::tempdir_in(&tmp).map_err(io_at(&tmp))
    }

    /// Waits until `name` is ours alone.
    ///
    /// The lock lasts until every copy of the file is closed. A child that is given one as its
    /// standard input therefore keeps it: should we be killed, nobody builds in the same
    /// directory before the last compiler is gone.
    pub(crate) fn lock(&self, name: &str, progress: &dyn Progress) -> Result<File, KernelError> {
        let (file, path) = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.stage("waiting for another build");
                file.lock().map_err(io_at(&path))?;
            }
            Err(TryLockError::Error(error)) => return Err(io_at(&path)(error)),
        }
        Ok(file)
    }

    /// Waits until nobody writes to `name`, and holds it against writers.
    pub(crate) fn lock_shared(
        &self,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<File, KernelError> {
        if let Some(file) = self.try_lock_shared(name)? {
            return Ok(file);
        }
        progress.stage("waiting for another build");
        let (file, path) = self.lock_file(name)?;
        file.lock_shared().map_err(io_at(&path))?;
        Ok(file)
    }

    /// Holds `name` against writers, if nobody is writing now.
    pub(crate) fn try_lock_shared(&self, name: &str) -> Result<Option<File>, KernelError> {
        let (file, path) = self.lock_file(name)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io_at(&path)(error)),
        }
    }

    fn lock_file(&self, name: &str) -> Result<(File, PathBuf), KernelError> {
        let path = self.root.join("locks").join(format!("{name}.lock"));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_at(&path))?;
        Ok((file, path))
    }
}

/// Writes `text` to `path` so that a reader sees all of it or nothing.
pub(crate) fn write_atomically(path: &Path, text: &str) -> Result<(), KernelError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io_at(dir))?;
    file.write_all(text.as_bytes()).map_err(io_at(path))?;
    file.as_file().sync_all().map_err(io_at(path))?;
    file.persist(path).map_err(|error| io_at(path)(error.error))?;
    Ok(())
}

/// Removes a directory that may not exist.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), KernelError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_at(dir)(error)),
        _ => Ok(()),
    }
}

/// Removes a file that may not exist.
pub(crate) fn remove_file(path: &Path) -> Result<(), KernelError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}

/// The XDG base directory specification: a relative `XDG_CACHE_HOME` is to be ignored.
fn root_of(xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, KernelError> {
    let absolute = |dir: Option<OsString>| dir.map(PathBuf::from).filter(|dir| dir.is_absolute());
    absolute(xdg)
        .or_else(|| absolute(home).map(|home| home.join(".cache")))
        .map(|dir| dir.join("sparring"))
        .ok_or(KernelError::NoCache)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::super::Silent;
    use super::*;

    #[test_log::test]
    fn xdg_comes_first_and_must_be_absolute() {
        let some = |text: &str| Some(OsString::from(text));
        assert_eq!(root_of(some("/x"), some("/home/u")).unwrap(), Path::new("/x/sparring"));
        let home = Path::new("/home/u/.cache/sparring");
        assert_eq!(root_of(some("x"), some("/home/u")).unwrap(), home);
        assert_eq!(root_of(None, some("/home/u")).unwrap(), home);
        assert!(matches!(root_of(None, None), Err(KernelError::NoCache)));
    }

    struct Waiting(Mutex<Vec<String>>);
    impl Progress for Waiting {
        fn stage(&self, name: &str) {
            self.0.lock().unwrap().push(name.to_owned());
        }
        fn step(&self, _: u64, _: Option<u64>, _: &str) {}
    }

    #[test_log::test]
    fn the_second_waits_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let first = cache.lock("x", &Silent).unwrap();
        assert!(cache.try_lock_shared("x").unwrap().is_none());
        let copy = first.try_clone().unwrap();
        let released = AtomicBool::new(false);
        let waiting = Waiting(Mutex::default());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _second = cache.lock("x", &waiting).unwrap();
                assert!(released.load(Ordering::SeqCst), "locked while the first still held it");
            });
            std::thread::sleep(Duration::from_millis(50));
            drop(first);
            std::thread::sleep(Duration::from_millis(50));
            // The child's copy (its standard input) still holds it.
            released.store(true, Ordering::SeqCst);
            drop(copy);
        });
        assert_eq!(*waiting.0.lock().unwrap(), ["waiting for another build"]);
    }
}
