//! The ways to move bytes: one stream, many calls.

mod pieces;
mod pipe;
mod tee;
mod uring;

use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use scenario::history::Errno;
use scenario::{By, Op, RecvFlags, SendFlags};

use crate::buffer::{Duplicate, Span};
use crate::wait::Epolls;
use crate::{Error, sys};

use pipe::Pipe;
use tee::Twin;
use uring::Ring;

/// What a lane's thread keeps from one call to the next. Each tool is made when it is needed first.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    pipe: Option<Pipe>,
    twin: Option<Twin>,
    file: Option<OwnedFd>,
    ring: Option<Ring>,
    pub(crate) epolls: Epolls,
}

impl Tools {
    /// Makes the tool that an op takes, so that the call itself is nothing but the call.
    ///
    /// # Errors
    /// [`Error::Call`] when the kernel has no such thing, or no room for it.
    pub(crate) fn prepare(&mut self, op: Op) -> Result<(), Error> {
        let (Op::Send { by, .. } | Op::Recv { by, .. }) = op else { return Ok(()) };
        match by {
            By::Call | By::Vector(_) | By::Batch(_) => Ok(()),
            By::Uring => self.ring().map(|_| ()).map_err(|e| Error::Call("make an io_uring", e)),
            By::Splice => self.pipe().map(|_| ()).map_err(|e| Error::Call("make a pipe", e)),
            By::Tee => self.pipes().map(|_| ()).map_err(|e| Error::Call("make two pipes", e)),
            By::File => self.file().map(|_| ()).map_err(|e| Error::Call("make a memory file", e)),
        }
    }

    /// Sends what is in the span: how many bytes the socket took.
    ///
    /// `splice(2)` and `sendfile(2)` have no flag that keeps them from waiting for room in the socket
    /// (`splice_to_socket`): they heed its `O_NONBLOCK` only. `sendfile(2)` knows no flags at all.
    ///
    /// With [`By::Batch`] an error is that of the first message; what stops a later one is for the next call.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        span: Span,
        flags: SendFlags,
        by: By,
    ) -> Result<u32, Errno> {
        // the kernel takes the pages as they are, and looks at them until they are acknowledged: nobody may write to
        // them any more. A copy that is unmapped after the call lives on in the socket only
        let copy = if flags.contains(SendFlags::ZEROCOPY) {
            Some(span.duplicate().map_err(|_| Errno(libc::ENOMEM))?)
        } else {
            None
        };
        let span = copy.as_ref().map_or(span, Duplicate::span);
        match by {
            By::Call => sys::send(socket, span, flags),
            By::Vector(count) => pieces::send(socket, span, sys::send_flags(flags), count),
            By::Batch(count) => pieces::send_batch(socket, span, sys::send_flags(flags), count),
            By::Uring => self.by_ring(|ring| ring.send(socket, span, sys::send_flags(flags))),
            By::Splice => self.by_pipe(|pipe| pipe.send(socket, span, flags, None)),
            By::Tee => self.by_pipes(|pipe, twin| pipe.send(socket, span, flags, Some(twin))),
            By::File => send_file(self.file()?, socket, span),
        }
    }

    /// Receives into the span: how many bytes came, and with `hint`, which [`By::Call`] alone can ask for, how many
    /// more there are according to `TCP_INQ`.
    ///
    /// `splice(2)` does not wait only if the socket has `O_NONBLOCK` (`tcp_splice_read`). For [`By::Batch`] what
    /// comes is moved together, and what it leaves behind is made untouched again.
    ///
    /// # Panics
    /// With [`By::File`], which [`scenario::limits::check`] rules out.
    pub(crate) fn recv(
        &mut self,
        socket: BorrowedFd<'_>,
        span: Span,
        flags: RecvFlags,
        by: By,
        hint: bool,
    ) -> Result<(u32, Option<u32>), Errno> {
        let count = match by {
            By::Call if hint => {
                return pieces::recv_with_hint(socket, span, sys::recv_flags(flags));
            }
            By::Call => sys::recv(socket, span, flags),
            By::Vector(count) => pieces::recv(socket, span, sys::recv_flags(flags), count),
            By::Batch(count) => pieces::recv_batch(socket, span, sys::recv_flags(flags), count),
            By::Uring => self.by_ring(|ring| ring.recv(socket, span, sys::recv_flags(flags))),
            By::Splice => self.by_pipe(|pipe| pipe.recv(socket, span, None)),
            By::Tee => self.by_pipes(|pipe, twin| pipe.recv(socket, span, Some(twin))),
            By::File => unreachable!("sendfile(2) does not receive"),
        }?;
        Ok((count, None))
    }

    fn by_ring(
        &mut self,
        call: impl FnOnce(&mut Ring) -> Result<u32, uring::Failure>,
    ) -> Result<u32, Errno> {
        call(self.ring()?).map_err(|failure| match failure {
            uring::Failure::Call(errno) => errno,
            uring::Failure::Ring(errno) => {
                // closing it cancels what is left in it
                self.ring = None;
                errno
            }
        })
    }

    /// A pipe that did not become empty is not used again.
    fn by_pipe(
        &mut self,
        call: impl FnOnce(&mut Pipe) -> Result<u32, Errno>,
    ) -> Result<u32, Errno> {
        let pipe = self.pipe()?;
        let result = call(pipe);
        if !pipe.is_empty() {
            self.pipe = None;
        }
        result
    }

    fn by_pipes(
        &mut self,
        call: impl FnOnce(&mut Pipe, &mut Twin) -> Result<u32, Errno>,
    ) -> Result<u32, Errno> {
        // what the second one still holds belongs to the call before
        self.twin.take_if(|twin| !twin.is_empty());
        let (pipe, twin) = self.pipes()?;
        twin.begin();
        let result = call(pipe, twin);
        if !pipe.is_empty() {
            self.pipe = None;
        }
        result
    }

    /// Where what `tee(2)` shared in the call that was just made differs from what that moved: the bytes that a receive
    /// returned, or a send was given. `None` if it does not, and for other calls.
    pub(crate) fn copy_differs(&self, by: By, moved: &[u8]) -> Option<u32> {
        let twin = self.twin.as_ref().filter(|_| by == By::Tee);
        twin.and_then(|twin| twin.differs(moved))
    }

    fn pipe(&mut self) -> Result<&mut Pipe, Errno> {
        made(&mut self.pipe, Pipe::new)
    }

    fn pipes(&mut self) -> Result<(&mut Pipe, &mut Twin), Errno> {
        Ok((made(&mut self.pipe, Pipe::new)?, made(&mut self.twin, Twin::new)?))
    }

    fn ring(&mut self) -> Result<&mut Ring, Errno> {
        made(&mut self.ring, Ring::new)
    }

    fn file(&mut self) -> Result<&mut OwnedFd, Errno> {
        made(&mut self.file, || {
            // SAFETY: the name is a string with a zero at its end
            sys::owned(unsafe { libc::memfd_create(c"payload".as_ptr(), libc::MFD_CLOEXEC) })
        })
    }
}

/// What is in the slot, after putting it there if need be.
pub(crate) fn made<T>(
    slot: &mut Option<T>,
    make: impl FnOnce() -> Result<T, Errno>,
) -> Result<&mut T, Errno> {
    match slot {
        Some(tool) => Ok(tool),
        None => Ok(slot.insert(make()?)),
    }
}

/// `sendfile(2)` from a file that is empty between calls.
///
/// The socket takes the file's pages as they are (`splice_to_socket`), so the next payload must not be written to them.
/// Emptying the file leaves them to the socket, and the next payload gets new ones (`shmem_undo_range`).
fn send_file(file: &OwnedFd, socket: BorrowedFd<'_>, span: Span) -> Result<u32, Errno> {
    let file = file.as_raw_fd();
    let mut written = 0;
    while written < span.len {
        let at = span.start.wrapping_add(written as usize).cast();
        let (left, offset) = ((span.len - written) as usize, written.into());
        // SAFETY: the kernel only reads, and checks what it may read
        written += sys::counted(unsafe { libc::pwrite(file, at, left, offset) })?;
    }
    let mut offset = 0;
    let len = span.len as usize;
    // SAFETY: the offset is a local
    let result =
        sys::counted(unsafe { libc::sendfile(socket.as_raw_fd(), file, &raw mut offset, len) });
    // SAFETY: no memory involved
    sys::returned(unsafe { libc::ftruncate(file, 0) })?;
    result
}

/// A message without a name, without control data, and with these pieces.
fn message(pieces: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: msghdr is a C structure for which all zeroes is a value
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = pieces.len();
    message
}

#[cfg(test)]
mod tests;
