//! What was sent to guests, on the host's disk before it was sent.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::wire::{self, ToGuest};

/// When the file is that long, it becomes `<name>.old` and a new one is begun: the last so many bytes at least are
/// always kept, some ten thousand scenarios.
const LONGEST: u64 = 8 << 20;

/// A file of frames as they went to the guest. It is written to without being synced: it survives every end of
/// ours, but not a crash of the host.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    length: u64,
    longest: u64,
}

impl Journal {
    /// Opens the journal at `path` and goes on where it ends, which may be amid a frame that a kill cut off.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Journal> {
        let file = File::options().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        let mut journal = Journal { file, path: path.to_owned(), length, longest: LONGEST };
        if length > 0 {
            // a new machine, a new file: a torn last frame must not swallow the first of this one
            journal.rotate()?;
        }
        Ok(journal)
    }

    /// Appends a frame.
    pub(super) fn record(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.length >= self.longest {
            self.rotate()?;
        }
        self.file.write_all(frame)?;
        self.length += frame.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        std::fs::rename(&self.path, old(&self.path))?;
        self.file = File::options().create(true).append(true).open(&self.path)?;
        self.length = 0;
        Ok(())
    }
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// The messages of a journal, oldest first. A frame that was cut off is left out.
///
/// # Errors
/// When the file cannot be read.
pub fn read_journal(path: &Path) -> io::Result<Vec<ToGuest>> {
    let mut messages = Vec::new();
    for path in [old(path), path.to_owned()] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut file = BufReader::new(file);
        while let Ok(Some(message)) = wire::read(&mut file) {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(key: char) -> Vec<u8> {
        wire::frame(&ToGuest::Sysrq(key)).unwrap()
    }

    #[test_log::test]
    fn a_cut_frame_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut first = Journal::open(&path).unwrap();
        first.record(&frame('a')).unwrap();
        first.record(&frame('b')[..3]).unwrap();
        let mut second = Journal::open(&path).unwrap();
        second.record(&frame('c')).unwrap();
        assert_eq!(read_journal(&path).unwrap(), [ToGuest::Sysrq('a'), ToGuest::Sysrq('c')]);
    }

    #[test_log::test]
    fn the_last_messages_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.longest = 3 * frame('a').len() as u64;
        for key in 'a'..='h' {
            journal.record(&frame(key)).unwrap();
        }
        let kept = read_journal(&path).unwrap();
        assert_eq!(kept, ('d'..='h').map(ToGuest::Sysrq).collect::<Vec<_>>());
    }
}
