//! Kernels: source, series, configuration, build, cache.
//!
//! [`build`] gives the kernel that a [`Request`] asks for: at once when it was built before, from
//! a similar kernel's objects when only the series differs, from nothing otherwise (minutes).
//!
//! Programs that we start get a signal when the thread that started them ends (see `run`), so that
//! no compiler outlives the CLI: call [`build`] from a thread that lives as long as the process.

mod added;
mod cache;
mod compile;
mod config;
mod debian;
mod error;
mod mbox;
mod module;
mod run;
mod series;
mod tree;
mod workspace;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use added::added_lines;
pub use cache::Cache;
pub use error::KernelError;
use error::io_at;
pub use module::{ModuleSource, build_module, check_module};
use series::Series;
use tree::Listing;
use workspace::{Origin, Workspace};

/// What a kernel is built to notice, at what price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// Coverage of the code that scenarios are about.
    #[default]
    Kcov,
    /// Memory errors, lock order, leaks, undefined behaviour; coverage as well.
    Kasan,
    /// Data races.
    Kcsan,
    /// Nothing: for benchmarks and volume.
    Fast,
}

impl Flavour {
    /// Every flavour.
    pub const ALL: [Self; 4] = [Self::Kcov, Self::Kasan, Self::Kcsan, Self::Fast];
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kcov => "kcov",
            Self::Kasan => "kasan",
            Self::Kcsan => "kcsan",
            Self::Fast => "fast",
        })
    }
}

/// A word that names no [`Flavour`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown flavour \"{0}\": use kcov, kasan, kcsan or fast")]
pub struct UnknownFlavour(String);

impl FromStr for Flavour {
    type Err = UnknownFlavour;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |flavour: &Self| flavour.to_string() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownFlavour(text.to_owned()))
    }
}

/// Which kernel is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// A kernel source tree, which is only read; Debian's packaged source if there is none.
    pub tree: Option<PathBuf>,
    /// A mailbox of patches to apply to a copy of it.
    pub series: Option<PathBuf>,
    /// What to build it as.
    pub flavour: Flavour,
}

/// A finished kernel, as `kernel.json` in its workspace records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// Release and content, for people: "7.2.12-sparring-kcov-0123abcd".
    pub id: String,
    /// What QEMU boots.
    pub bzimage: PathBuf,
    /// With symbols and DWARF. Source names in it are relative to [`Kernel::build_dir`]; the
    /// directory it says they are relative to may be another kernel's.
    pub vmlinux: PathBuf,
    /// kbuild's output directory: `make -C source_dir O=build_dir M=… modules`.
    pub build_dir: PathBuf,
    /// The source, with the series applied.
    pub source_dir: PathBuf,
    /// `uname -r`.
    pub release: String,
    /// The package and its version, or the directory given as tree.
    pub origin: String,
    /// File name and content hash of the series.
    pub series: Option<String>,
    /// What it was built as.
    pub flavour: Flavour,
    /// How long the build took, in seconds.
    pub built_s: f64,
    /// Steps of make(1), when it was built from nothing; else 0.
    pub steps: u64,
    /// The files that the series touches, relative to [`Kernel::source_dir`].
    pub touched: BTreeSet<PathBuf>,
    /// The objects that report coverage, relative to [`Kernel::build_dir`].
    pub covered: BTreeSet<PathBuf>,
    family: String,
    fingerprint: String,
}

impl Kernel {
    /// The kernel that the file `record` records; `None` unless it is all there.
    fn read(record: &Path) -> Option<Self> {
        let kernel: Self = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
        (kernel.bzimage.is_file() && kernel.vmlinux.is_file()).then_some(kernel)
    }

    /// Whether it has a function of that name, exported or not.
    ///
    /// # Errors
    /// [`KernelError::Io`] when the build has no `System.map`.
    pub fn defines(&self, function: &str) -> Result<bool, KernelError> {
        let map = self.build_dir.join("System.map");
        let text = fs::read_to_string(&map).map_err(io_at(&map))?;
        // nm(1): address, kind, name
        Ok(text.lines().any(|line| line.rsplit(' ').next() == Some(function)))
    }

    /// Whether it was built from a directory that the user gave.
    fn is_theirs(&self) -> bool {
        Path::new(&self.origin).is_absolute()
    }
}

/// Where a build tells how far it is. The calls come from the thread that called [`build`].
pub trait Progress {
    /// Another part of the work begins.
    fn stage(&self, name: &str);
    /// `done` steps of the stage are done, the last one made `what`. `total` is an estimate.
    fn step(&self, done: u64, total: Option<u64>, what: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str) {}
    fn step(&self, _: u64, _: Option<u64>, _: &str) {}
}

/// The kernel that `request` asks for, fetched and built if need be.
///
/// # Errors
/// [`KernelError`]; its `is_bad_input` tells the user's faults from the machine's.
pub fn build(
    request: &Request,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Kernel, KernelError> {
    let built = || {
        let series = request.series.as_deref().map(Series::read).transpose()?;
        let toolchain = compile::toolchain()?;
        let origin = match origin_of(request, cache)? {
            Some(origin) => origin,
            None => Origin::Package(debian::fetch(cache, progress)?),
        };
        let workspace =
            Workspace::new(cache, &origin, series.as_ref(), request.flavour, &toolchain);
        match workspace.finished() {
            Some(kernel) => Ok(kernel),
            None => workspace.build(progress),
        }
    };
    built().map_err(|error: KernelError| error.in_cache(cache.root()))
}

/// The kernel that `request` asks for, if it was built before.
///
/// # Errors
/// [`KernelError`], of reading `request` and the cache.
pub fn find(request: &Request, cache: &Cache) -> Result<Option<Kernel>, KernelError> {
    let series = request.series.as_deref().map(Series::read).transpose()?;
    let toolchain = compile::toolchain()?;
    let Some(origin) = origin_of(request, cache)? else {
        return Ok(None);
    };
    let workspace = Workspace::new(cache, &origin, series.as_ref(), request.flavour, &toolchain);
    Ok(workspace.finished())
}

/// Every finished kernel of `cache`, ordered by [`Kernel::id`].
///
/// # Errors
/// [`KernelError::Io`] when the cache cannot be read.
pub fn list(cache: &Cache) -> Result<Vec<Kernel>, KernelError> {
    let trees = cache.trees();
    let mut kernels = Vec::new();
    for entry in fs::read_dir(&trees).map_err(io_at(&trees))? {
        let dir = entry.map_err(io_at(&trees))?.path();
        kernels.extend(Kernel::read(&dir.join("kernel.json")));
    }
    kernels.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(kernels)
}

/// The source that is there already; `None` when one must be fetched.
fn origin_of(request: &Request, cache: &Cache) -> Result<Option<Origin>, KernelError> {
    let Some(dir) = &request.tree else {
        return Ok(debian::cached(cache)?.map(Origin::Package));
    };
    tree::check(dir)?;
    let dir = dir.canonicalize().map_err(io_at(dir))?;
    let listing = Listing::of(&dir, cache.scratch()?.path())?;
    Ok(Some(Origin::Tree { dir, listing }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn flavours_are_read_as_they_are_written() {
        for flavour in Flavour::ALL {
            assert_eq!(flavour.to_string().parse(), Ok(flavour));
        }
        let error = "KCOV".parse::<Flavour>().unwrap_err();
        assert!(error.to_string().contains("use kcov"), "{error}");
        assert_eq!(Flavour::default(), Flavour::Kcov);
    }
}
