//! `splice(2)`

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use libc::c_uint;
use scenario::SendFlags;
use scenario::history::Errno;
use scenario::limits::CALL_BYTES;

use super::tee::Twin;
use crate::buffer::Span;
use crate::sys;

/// A pipe that is empty between calls.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) reader: OwnedFd,
    writer: OwnedFd,
    /// How many bytes one write can put into it while it is empty.
    room: u32,
    pub(super) holds: u32,
}

/// Both ends of a pipe that has room for the longest call, if that is allowed.
pub(super) fn ends(flags: libc::c_int) -> Result<[OwnedFd; 2], Errno> {
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two numbers, to a local
    sys::returned(unsafe { libc::pipe2(ends.as_mut_ptr(), flags | libc::O_CLOEXEC) })?;
    let [reader, writer] = ends;
    let (reader, writer) = (sys::owned(reader)?, sys::owned(writer)?);
    // SAFETY: no memory involved. Where it is not allowed the pipe keeps its size
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, CALL_BYTES.cast_signed()) };
    Ok([reader, writer])
}

impl Pipe {
    pub(super) fn new() -> Result<Pipe, Errno> {
        let [reader, writer] = ends(0)?;
        // SAFETY: no memory involved
        let room = sys::returned(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) })?;
        Ok(Pipe { reader, writer, room, holds: 0 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holds == 0
    }

    /// Offers the whole span to the socket, as much at once as the pipe has room for and its twin can share. That is
    /// read once the socket has taken what it wants.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        span: Span,
        flags: SendFlags,
        mut twin: Option<&mut Twin>,
    ) -> Result<u32, Errno> {
        let bits = if flags.contains(SendFlags::MORE) { libc::SPLICE_F_MORE } else { 0 };
        let mut taken = 0;
        loop {
            self.fill(span, taken)?;
            let offered = twin.as_deref_mut().map_or(self.holds, |twin| twin.share(self));
            let result = splice(self.reader.as_raw_fd(), socket.as_raw_fd(), offered, bits);
            if let Some(twin) = twin.as_deref_mut() {
                twin.read();
            }
            match result {
                Ok(count) => {
                    taken += count;
                    self.holds = self.holds.saturating_sub(count);
                    if taken >= span.len || count < offered {
                        return Ok(taken);
                    }
                }
                Err(errno) if taken == 0 => return Err(errno),
                Err(_) => return Ok(taken),
            }
        }
    }

    /// Writes to it what comes behind the first `taken` bytes of the span, and behind what it holds of them.
    fn fill(&mut self, span: Span, taken: u32) -> Result<(), Errno> {
        while self.holds < self.room && taken + self.holds < span.len {
            let at = taken + self.holds;
            let most = (span.len - at).min(self.room - self.holds);
            let from = span.start.wrapping_add(at as usize).cast();
            // SAFETY: the kernel only reads, and checks what it may read
            self.holds +=
                sys::counted(unsafe { libc::write(self.writer.as_raw_fd(), from, most as usize) })?;
        }
        Ok(())
    }

    pub(super) fn recv(
        &mut self,
        socket: BorrowedFd<'_>,
        span: Span,
        mut twin: Option<&mut Twin>,
    ) -> Result<u32, Errno> {
        let count = splice(socket.as_raw_fd(), self.writer.as_raw_fd(), span.len, 0)?;
        self.holds = count;
        while !self.is_empty() {
            let part = twin.as_deref_mut().map_or(self.holds, |twin| twin.share(self));
            let rest = self.holds - part;
            while self.holds > rest {
                let to = span.start.wrapping_add((count - self.holds) as usize).cast();
                // SAFETY: a span lies in a mapping of its own into which nobody holds a reference during the call, and
                // the pipe does not hold more than the span was asked to take
                let read = sys::counted(unsafe {
                    libc::read(self.reader.as_raw_fd(), to, (self.holds - rest) as usize)
                })?;
                self.holds = self.holds.saturating_sub(read);
            }
            if let Some(twin) = twin.as_deref_mut() {
                twin.read();
            }
        }
        Ok(count)
    }
}

fn splice(from: RawFd, to: RawFd, len: u32, flags: c_uint) -> Result<u32, Errno> {
    let (none_in, none_out) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: no memory of ours is involved: neither has an offset
    sys::counted(unsafe { libc::splice(from, none_in, to, none_out, len as usize, flags) })
}
