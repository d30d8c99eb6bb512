//! `tee(2)`

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};

use scenario::history::Errno;

use super::pipe::{Pipe, ends};
use crate::sys;

/// A pipe that shares what another one holds, and is read when that is empty.
///
/// Nothing is copied: its buffers are those of the other (`link_pipe`). So whoever takes one away with its memory, or
/// writes to what others still hold, changes what comes out here.
#[derive(Debug)]
pub(super) struct Twin {
    /// Neither end waits, for bytes that were said to be there either.
    reader: File,
    writer: OwnedFd,
    holds: u32,
    /// How much of the other pipe's bytes passed by in this call.
    passed: u32,
    /// What came out of this one.
    copy: Vec<u8>,
}

impl Twin {
    pub(super) fn new() -> Result<Twin, Errno> {
        let [reader, writer] = ends(libc::O_NONBLOCK)?;
        Ok(Twin { reader: reader.into(), writer, holds: 0, passed: 0, copy: Vec::new() })
    }

    /// Whether all was read that `tee(2)` said to have shared.
    pub(super) fn is_empty(&self) -> bool {
        self.holds == 0
    }

    /// Another call begins.
    pub(super) fn begin(&mut self) {
        self.passed = 0;
        self.copy.clear();
    }

    /// Shares what the pipe holds. Gives how much of it is to move on before the rest is shared: this one may have fewer
    /// slots. What cannot be shared moves on all the same, and is missing here.
    pub(super) fn share(&mut self, pipe: &Pipe) -> u32 {
        let in_step = self.copy.len() == self.passed as usize && self.is_empty();
        let (from, to) = (pipe.reader.as_raw_fd(), self.writer.as_raw_fd());
        if in_step && !pipe.is_empty() {
            // SAFETY: no memory of ours is involved
            let shared = sys::counted(unsafe { libc::tee(from, to, pipe.holds as usize, 0) });
            self.holds = shared.unwrap_or_else(|errno| {
                tracing::debug!("tee(2) failed with {errno}");
                0
            });
        }
        let part = if self.is_empty() { pipe.holds } else { self.holds.min(pipe.holds) };
        self.passed += part;
        part
    }

    /// Reads what was shared.
    pub(super) fn read(&mut self) {
        let before = self.copy.len();
        let mut shared = (&self.reader).take(self.holds.into());
        if let Err(error) = shared.read_to_end(&mut self.copy) {
            tracing::debug!("the second pipe of tee(2) cannot be read: {error}");
        }
        let read = u32::try_from(self.copy.len() - before).unwrap_or(u32::MAX);
        self.holds = self.holds.saturating_sub(read);
    }

    /// The first byte that is not what passed by, or missing.
    pub(super) fn differs(&self, moved: &[u8]) -> Option<u32> {
        let passed = moved.iter().take(self.passed as usize);
        let at = passed.enumerate().find(|(at, byte)| self.copy.get(*at) != Some(byte));
        at.and_then(|(at, _)| u32::try_from(at).ok())
    }
}
