//! What of the code under test can be covered.
//!
//! gcc puts a call of `__sanitizer_cov_trace_pc` at the start of every basic block of an instrumented object
//! (`-fsanitize-coverage=trace-pc`, Linux `dev-tools/kcov.rst`), and KCOV records where that call returns to: these
//! addresses are the *points*. They are found in the machine code, so that what was never reached is known, too.
//!
//! Only the objects that [`crate::kernel::Kernel::covered`] names are instrumented, and modules that ask for it: what
//! is instrumented is the code under test.

mod dwarf;
mod image;
mod lines;
#[cfg(test)]
mod testing;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

pub use image::Image;
pub use lines::{Line, Source};

/// Why there is nothing to be known about coverage.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A kernel or module is no file that we understand.
    #[error("{}: {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel was built without KCOV.
    #[error("{} has no KCOV: take a kernel that has (--flavour kcov)", .0.display())]
    NoKcov(PathBuf),
}

/// The code under test: a kernel, and the modules that are loaded into it.
#[derive(Debug)]
pub struct Code {
    /// The kernel comes first.
    images: Vec<Image>,
}

impl Code {
    /// Reads the kernel's `vmlinux` and the modules' `.ko` files.
    ///
    /// # Errors
    /// [`CoverageError`]; a module that is not instrumented is none.
    pub fn read(vmlinux: &Path, modules: &[PathBuf]) -> Result<Code, CoverageError> {
        let kernel = Image::kernel(vmlinux)?;
        if kernel.points().is_empty() {
            return Err(CoverageError::NoKcov(vmlinux.to_owned()));
        }
        let mut images = vec![kernel];
        for module in modules {
            images.push(Image::module(module)?);
        }
        Ok(Code { images })
    }

    /// The kernel, then the modules.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// How many points there are. A point's number is its place in [`Code::images`] and [`Image::points`].
    #[must_use]
    pub fn points(&self) -> usize {
        self.images.iter().map(|image| image.points().len()).sum()
    }

    /// Writes the list of points that `execute::Points::read` reads in the guest.
    ///
    /// # Errors
    /// [`CoverageError::Io`].
    pub fn write_points(&self, path: &Path) -> Result<(), CoverageError> {
        let mut text = String::new();
        for (image, point) in self
            .images
            .iter()
            .flat_map(|image| image.points().iter().map(move |point| (image, *point)))
        {
            let (place, offset) = image.place(point);
            let _ = writeln!(text, "{place} {offset:x}");
        }
        fs::write(path, text).map_err(|error| CoverageError::Io { path: path.to_owned(), error })
    }
}
