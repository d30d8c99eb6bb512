//! The system calls, with their results as the kernel gave them.

mod address;
mod diag;
mod errqueue;
mod holder;
mod options;
mod signal;

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};

use libc::{c_int, c_ulong, socklen_t};
use scenario::history::Errno;
use scenario::{Family, How, Ready, RecvFlags, SendFlags};

use crate::buffer::Span;

use address::Address;

pub(crate) use diag::destroy;
pub(crate) use errqueue::errqueue;
pub(crate) use holder::{Child, fork_holder, reap};
pub(crate) use options::{
    busy_poll, cookie, linger_zero, repair, reuse_address, set_option, so_error, tcp_info, tls,
};
pub(crate) use signal::{interrupt_thread, signal_thread};

/// What `poll(2)` is asked for: all there is for TCP (`tcp_poll`). ERR and HUP come unasked.
const EVERYTHING: Ready = Ready::IN
    .union(Ready::PRI)
    .union(Ready::OUT)
    .union(Ready::RDNORM)
    .union(Ready::WRNORM)
    .union(Ready::RDHUP);

pub(crate) fn errno() -> Errno {
    Errno(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

pub(crate) fn returned(value: c_int) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| errno())
}

pub(crate) fn counted(value: isize) -> Result<u32, Errno> {
    if value < 0 { Err(errno()) } else { Ok(u32::try_from(value).unwrap_or(u32::MAX)) }
}

/// The flags of `send(2)`.
pub(crate) fn send_flags(flags: SendFlags) -> c_int {
    let bits = [
        (SendFlags::DONTWAIT, libc::MSG_DONTWAIT),
        (SendFlags::MORE, libc::MSG_MORE),
        (SendFlags::NOSIGNAL, libc::MSG_NOSIGNAL),
        (SendFlags::OOB, libc::MSG_OOB),
        (SendFlags::ZEROCOPY, libc::MSG_ZEROCOPY),
    ];
    bits.iter().filter(|(ours, _)| flags.contains(*ours)).fold(0, |all, (_, bit)| all | bit)
}

/// The flags of `recv(2)`.
pub(crate) fn recv_flags(flags: RecvFlags) -> c_int {
    let bits = [
        (RecvFlags::DONTWAIT, libc::MSG_DONTWAIT),
        (RecvFlags::PEEK, libc::MSG_PEEK),
        (RecvFlags::TRUNC, libc::MSG_TRUNC),
        (RecvFlags::WAITALL, libc::MSG_WAITALL),
        (RecvFlags::OOB, libc::MSG_OOB),
    ];
    bits.iter().filter(|(ours, _)| flags.contains(*ours)).fold(0, |all, (_, bit)| all | bit)
}

/// `send(2)`
pub(crate) fn send(socket: BorrowedFd<'_>, span: Span, flags: SendFlags) -> Result<u32, Errno> {
    let flags = send_flags(flags);
    // SAFETY: the kernel only reads, and checks what it may read: a span may well be unmapped
    counted(unsafe { libc::send(socket.as_raw_fd(), span.start.cast(), span.len as usize, flags) })
}

/// `recv(2)`
pub(crate) fn recv(socket: BorrowedFd<'_>, span: Span, flags: RecvFlags) -> Result<u32, Errno> {
    let flags = recv_flags(flags);
    // SAFETY: a span lies in a mapping of its own into which nobody holds a reference during the call; where it is
    // not accessible the kernel returns EFAULT
    counted(unsafe { libc::recv(socket.as_raw_fd(), span.start.cast(), span.len as usize, flags) })
}

/// `poll(2)` for everything, without waiting.
pub(crate) fn ready(socket: BorrowedFd<'_>) -> Result<Ready, Errno> {
    poll(Some(socket), EVERYTHING, 0)
}

/// `poll(2)` until `events` or the timeout; of nothing but the timeout without a socket.
///
/// # Errors
/// Also `EBADF`, which `poll(2)` itself reports as `POLLNVAL`.
pub(crate) fn poll(
    socket: Option<BorrowedFd<'_>>,
    events: Ready,
    timeout_ms: c_int,
) -> Result<Ready, Errno> {
    let mut entry = libc::pollfd {
        fd: socket.map_or(-1, |socket| socket.as_raw_fd()),
        events: events.bits().cast_signed(),
        revents: 0,
    };
    // SAFETY: one entry, a local that outlives the call
    returned(unsafe { libc::poll(&raw mut entry, 1, timeout_ms) })?;
    if entry.revents & libc::POLLNVAL != 0 {
        return Err(Errno(libc::EBADF));
    }
    Ok(Ready::from_bits_retain(entry.revents.cast_unsigned()))
}

/// `ioctl(SIOCINQ)`
pub(crate) fn inq(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    queue(socket, libc::FIONREAD)
}

/// `ioctl(SIOCOUTQ)`
pub(crate) fn outq(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    queue(socket, libc::TIOCOUTQ)
}

/// `ioctl(SIOCATMARK)`: 1 if the next byte to receive is behind the urgent one.
pub(crate) fn at_mark(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    /// `asm-generic/sockios.h`
    const SIOCATMARK: c_ulong = 0x8905;
    queue(socket, SIOCATMARK)
}

fn queue(socket: BorrowedFd<'_>, request: c_ulong) -> Result<u32, Errno> {
    let mut bytes: c_int = 0;
    // SAFETY: these requests write one int, to a local
    returned(unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) })?;
    Ok(bytes.cast_unsigned())
}

/// `shutdown(2)`
pub(crate) fn shutdown(socket: BorrowedFd<'_>, how: How) -> Result<u32, Errno> {
    let how = match how {
        How::Rd => libc::SHUT_RD,
        How::Wr => libc::SHUT_WR,
        How::Rdwr => libc::SHUT_RDWR,
    };
    // SAFETY: no memory involved
    returned(unsafe { libc::shutdown(socket.as_raw_fd(), how) })
}

/// `close(2)`
pub(crate) fn close(socket: OwnedFd) -> Result<u32, Errno> {
    // SAFETY: the descriptor was owned and is given up here
    returned(unsafe { libc::close(socket.into_raw_fd()) })
}

/// `close(2)` of what the descriptor refers to, while its number stays taken, by something on which every call gives
/// `EBADF`, as on a number that is free: `O_PATH` (`open(2)`).
pub(crate) fn close_and_keep_number(socket: &OwnedFd) -> Result<u32, Errno> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the name is a string with a zero at its end
    let nothing = owned(unsafe { libc::open(c"/".as_ptr(), flags) })?;
    let number = socket.as_raw_fd();
    // SAFETY: no memory involved, and the number stays that of an open descriptor, owned by the same
    returned(unsafe { libc::dup3(nothing.as_raw_fd(), number, libc::O_CLOEXEC) })?;
    Ok(0)
}

/// `dup(2)`, closed on exec.
pub(crate) fn dup(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory involved
    owned(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) })
}

/// Processor time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The time of the last tick, in nanoseconds since some point.
pub(crate) fn tick_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC_COARSE)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, to a local. The clocks are always there, so it cannot fail
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let [seconds, nanoseconds] = [time.tv_sec, time.tv_nsec].map(i64::unsigned_abs);
    seconds * 1_000_000_000 + nanoseconds
}

fn size<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).unwrap_or(socklen_t::MAX)
}

/// `socket(2)` for TCP; it blocks unless told otherwise.
pub(crate) fn tcp_socket(family: Family, flags: c_int) -> Result<OwnedFd, Errno> {
    let domain = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags;
    // SAFETY: no memory involved
    owned(unsafe { libc::socket(domain, kind, 0) })
}

pub(crate) fn owned(fd: c_int) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: the kernel just returned it, so nobody else owns it
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `bind(2)`
pub(crate) fn bind(socket: &OwnedFd, address: SocketAddr) -> Result<u32, Errno> {
    let (address, len) = Address::new(address);
    // SAFETY: the kernel reads `len` bytes of a local
    returned(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })
}

/// `listen(2)`
pub(crate) fn listen(socket: &OwnedFd, backlog: c_int) -> Result<u32, Errno> {
    // SAFETY: no memory involved
    returned(unsafe { libc::listen(socket.as_raw_fd(), backlog) })
}

/// `connect(2)`
pub(crate) fn connect(socket: &OwnedFd, address: SocketAddr) -> Result<u32, Errno> {
    let (address, len) = Address::new(address);
    // SAFETY: the kernel reads `len` bytes of a local
    returned(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })
}

/// `connect(2)` with `AF_UNSPEC`, which severs the connection (`tcp_disconnect`).
pub(crate) fn disconnect(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    // SAFETY: sockaddr is a C structure for which all zeroes is a value: AF_UNSPEC, which is 0
    let nobody: libc::sockaddr = unsafe { mem::zeroed() };
    let len = size::<libc::sockaddr>();
    // SAFETY: the kernel reads `len` bytes of a local
    returned(unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, len) })
}

/// `accept4(2)`: a blocking socket and the address of its peer.
pub(crate) fn accept(listener: &OwnedFd, family: Family) -> Result<(OwnedFd, SocketAddr), Errno> {
    let mut address = Address::empty();
    let mut len = size::<Address>();
    let to = (&raw mut address).cast();
    // SAFETY: the kernel writes at most `len` bytes to a local
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), to, &raw mut len, libc::SOCK_CLOEXEC) };
    let socket = owned(fd)?;
    Ok((socket, address.get(family)))
}

/// `getsockname(2)`
pub(crate) fn local_address(socket: BorrowedFd<'_>, family: Family) -> Result<SocketAddr, Errno> {
    let mut address = Address::empty();
    let mut len = size::<Address>();
    let to = (&raw mut address).cast();
    // SAFETY: the kernel writes at most `len` bytes to a local
    returned(unsafe { libc::getsockname(socket.as_raw_fd(), to, &raw mut len) })?;
    Ok(address.get(family))
}

#[cfg(test)]
mod tests;
