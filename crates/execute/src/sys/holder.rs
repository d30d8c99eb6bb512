//! Child processes that hold a socket.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_uint, pid_t};
use scenario::history::Errno;

use super::{counted, errno, owned, returned};

/// A process that has one descriptor of the socket and nothing else. It ends with its value, or when this process does.
#[derive(Debug)]
pub(crate) struct Child {
    /// `None` once it is reaped.
    process: Option<pid_t>,
    /// Its other end is the child's, which reads from it until nobody could write any more.
    _leash: OwnedFd,
}

/// `fork(2)`: returns when the child holds the socket, and only that.
pub(crate) fn fork_holder(socket: BorrowedFd<'_>) -> Result<Child, Errno> {
    let [leash, end] = leash()?;
    // SAFETY: the child makes async-signal-safe calls only, as it must in a process with threads, and never returns
    let process = match unsafe { libc::fork() } {
        -1 => return Err(errno()),
        0 => hold(socket.as_raw_fd(), end.as_raw_fd()),
        process => process,
    };
    let child = Child { process: Some(process), _leash: leash };
    drop(end);
    // what it inherited besides the socket is closed when it says so
    let mut byte = 0u8;
    loop {
        let to = (&raw mut byte).cast();
        // SAFETY: the kernel writes at most one byte, to a local
        match counted(unsafe { libc::read(child._leash.as_raw_fd(), to, 1) }) {
            Ok(1..) => return Ok(child),
            Ok(0) => return Err(Errno(libc::ECHILD)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Ends the child, and with it its hold on the socket: that is given up when this returns (`do_exit` closes the files
/// before it notifies the parent).
pub(crate) fn reap(mut child: Child) -> Result<(), Errno> {
    child.end()
}

impl Child {
    fn end(&mut self) -> Result<(), Errno> {
        let Some(process) = self.process.take() else { return Ok(()) };
        // SAFETY: no memory involved; the process is a child that nobody has waited for, so the number is its own
        returned(unsafe { libc::kill(process, libc::SIGKILL) })?;
        loop {
            // SAFETY: the status is not asked for
            match returned(unsafe { libc::waitpid(process, ptr::null_mut(), 0) }) {
                Err(Errno::EINTR) => {}
                result => return result.map(|_| ()),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(errno) = self.end() {
            tracing::warn!("a child that holds a socket cannot be ended: {errno}");
        }
    }
}

/// Two connected sockets, between which only a byte is ever sent.
fn leash() -> Result<[OwnedFd; 2], Errno> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two numbers, to a local
    returned(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    let [one, other] = ends;
    Ok([owned(one)?, owned(other)?])
}

/// What the child does.
fn hold(socket: c_int, leash: c_int) -> ! {
    let (low, high) = (socket.min(leash).cast_unsigned(), socket.max(leash).cast_unsigned());
    close_between(0, low);
    close_between(low + 1, high);
    close_between(high + 1, c_uint::MAX);
    let mut byte = 0u8;
    // SAFETY: the kernel reads one byte of a local
    unsafe { libc::write(leash, (&raw const byte).cast(), 1) };
    loop {
        // SAFETY: the kernel writes at most one byte, to a local
        match unsafe { libc::read(leash, (&raw mut byte).cast(), 1) } {
            -1 if errno() == Errno::EINTR => {}
            // SAFETY: async-signal-safe, unlike exit(3)
            _ => unsafe { libc::_exit(0) },
        }
    }
}

/// Closes the descriptors from `first` on, below `end`.
fn close_between(first: c_uint, end: c_uint) {
    if first < end {
        // SAFETY: the child has no use for these, and never returns to code that has. With these arguments the call
        // cannot fail (Linux 5.9)
        unsafe { libc::close_range(first, end - 1, 0) };
    }
}
