//! `io_uring(7)`

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use libc::c_int;
use scenario::history::Errno;

use crate::buffer::Span;

/// A request and what cancels it.
const ENTRIES: u32 = 2;

/// What tells their completions apart.
const CALL: u64 = 1;
const CANCEL: u64 = 2;

/// A ring that has no request under way between calls.
pub(super) struct Ring(IoUring);

/// What did not work.
pub(super) enum Failure {
    /// The request: that is a result.
    Call(Errno),
    /// The ring itself, which may still have the request.
    Ring(Errno),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Ring(number(&error))
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    pub(super) fn new() -> Result<Ring, Errno> {
        IoUring::new(ENTRIES).map(Ring).map_err(|error| number(&error))
    }

    /// `IORING_OP_SEND`, which always has `MSG_NOSIGNAL` (`io_sendmsg_prep`).
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        span: Span,
        flags: c_int,
    ) -> Result<u32, Failure> {
        let socket = types::Fd(socket.as_raw_fd());
        self.call(&opcode::Send::new(socket, span.start, span.len).flags(flags).build())
    }

    /// `IORING_OP_RECV`
    pub(super) fn recv(
        &mut self,
        socket: BorrowedFd<'_>,
        span: Span,
        flags: c_int,
    ) -> Result<u32, Failure> {
        let socket = types::Fd(socket.as_raw_fd());
        self.call(&opcode::Recv::new(socket, span.start, span.len).flags(flags).build())
    }

    /// Submits a request and waits for its completion. A signal cancels it: like a call that slept, it then says what it
    /// has done, or `EINTR`. It does so after a signal with `SA_RESTART`, too.
    fn call(&mut self, request: &Entry) -> Result<u32, Failure> {
        self.push(&request.clone().user_data(CALL))?;
        let (mut result, mut under_way) = (0, 1);
        let mut cancelled = false;
        loop {
            match self.0.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                // it returns the number of requests even if a signal ended the wait behind them (io_uring_enter)
                Ok(_) | Err(_) => {}
            }
            for completion in self.0.completion() {
                under_way -= 1;
                if completion.user_data() == CALL {
                    result = completion.result();
                }
            }
            if under_way == 0 {
                break;
            }
            if !cancelled {
                self.push(&opcode::AsyncCancel::new(CALL).build().user_data(CANCEL))?;
                under_way += 1;
                cancelled = true;
            }
        }
        u32::try_from(result).map_err(|_| match Errno(-result) {
            Errno(libc::ECANCELED) => Failure::Call(Errno::EINTR),
            errno => Failure::Call(errno),
        })
    }

    fn push(&mut self, entry: &Entry) -> Result<(), Failure> {
        // SAFETY: the memory that a request names is a span, which stays mapped until `call` has seen the completion;
        // if the ring fails before, it is closed, and the mapping that the kernel might still access holds nothing but
        // payload
        let pushed = unsafe { self.0.submission().push(entry) };
        pushed.map_err(|_| Failure::Ring(Errno(libc::EBUSY)))
    }
}

fn number(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
