//! Writing a file so that it is either complete or not there.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}; {}", remedy(source))]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space there or choose another directory with --out"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a directory that you may write to with --out"
        }
        _ => "choose another directory with --out",
    }
}

/// Writes `contents` to `path`, creating the directories above it.
///
/// # Errors
/// [`WriteError`] with the path and what to do; the file at `path` is then what it was before.
pub fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), WriteError> {
    let attempt = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".part");
        let part = directory.join(name);
        let written = fs::File::create(&part)
            .and_then(|mut file| file.write_all(contents.as_ref()))
            .and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            // what is left of it would only take space on a full disk
            let _ = fs::remove_file(&part);
        }
        written
    };
    attempt().map_err(|source| WriteError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn a_write_replaces_the_file_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b.txt");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test_log::test]
    fn a_failed_write_names_the_file_and_the_remedy() {
        // /dev/full answers every write with ENOSPC (full(4)); a directory below it cannot be made
        let error = write(Path::new("/dev/full/x"), "one").unwrap_err();
        assert!(error.to_string().starts_with("cannot write /dev/full/x: "), "{error}");
        let full = WriteError {
            path: "out/x".into(),
            source: io::Error::from(io::ErrorKind::StorageFull),
        };
        assert!(
            full.to_string()
                .ends_with("free some space there or choose another directory with --out")
        );
    }
}
