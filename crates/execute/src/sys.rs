//! The system calls, with their results as the kernel gave them.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::ptr;

use libc::{c_int, c_ulong, socklen_t};
use scenario::history::Errno;
use scenario::{Family, How, Ready, RecvFlags, SendFlags, SockOption};

use crate::buffer::Span;

/// What `poll(2)` is asked for: all there is for TCP (`tcp_poll`). ERR and HUP come unasked.
const EVERYTHING: Ready = Ready::IN
    .union(Ready::PRI)
    .union(Ready::OUT)
    .union(Ready::RDNORM)
    .union(Ready::WRNORM)
    .union(Ready::RDHUP);

fn errno() -> Errno {
    Errno(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

fn returned(value: c_int) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| errno())
}

fn counted(value: isize) -> Result<u32, Errno> {
    if value < 0 { Err(errno()) } else { Ok(u32::try_from(value).unwrap_or(u32::MAX)) }
}

/// `send(2)`
pub(crate) fn send(socket: BorrowedFd<'_>, span: Span, flags: SendFlags) -> Result<u32, Errno> {
    let flags = [
        (SendFlags::DONTWAIT, libc::MSG_DONTWAIT),
        (SendFlags::MORE, libc::MSG_MORE),
        (SendFlags::NOSIGNAL, libc::MSG_NOSIGNAL),
        (SendFlags::OOB, libc::MSG_OOB),
    ]
    .iter()
    .filter(|(ours, _)| flags.contains(*ours))
    .fold(0, |bits, (_, bit)| bits | bit);
    // SAFETY: the kernel only reads, and checks what it may read: a span may well be unmapped
    counted(unsafe { libc::send(socket.as_raw_fd(), span.start.cast(), span.len as usize, flags) })
}

/// `recv(2)`
pub(crate) fn recv(socket: BorrowedFd<'_>, span: Span, flags: RecvFlags) -> Result<u32, Errno> {
    let flags = [
        (RecvFlags::DONTWAIT, libc::MSG_DONTWAIT),
        (RecvFlags::PEEK, libc::MSG_PEEK),
        (RecvFlags::TRUNC, libc::MSG_TRUNC),
        (RecvFlags::WAITALL, libc::MSG_WAITALL),
        (RecvFlags::OOB, libc::MSG_OOB),
    ]
    .iter()
    .filter(|(ours, _)| flags.contains(*ours))
    .fold(0, |bits, (_, bit)| bits | bit);
    // SAFETY: a span lies in a mapping of its own into which nobody holds a reference during the call; where it is
    // not accessible the kernel returns EFAULT
    counted(unsafe { libc::recv(socket.as_raw_fd(), span.start.cast(), span.len as usize, flags) })
}

/// `poll(2)` for everything, without waiting.
pub(crate) fn ready(socket: BorrowedFd<'_>) -> Result<Ready, Errno> {
    poll(Some(socket), EVERYTHING, 0)
}

/// `poll(2)` until `events` or the timeout; of nothing but the timeout without a socket.
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

fn queue(socket: BorrowedFd<'_>, request: c_ulong) -> Result<u32, Errno> {
    let mut bytes: c_int = 0;
    // SAFETY: both requests write one int, to a local
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

/// Makes the coming `close(2)` an abort: `SO_LINGER` with a zero timeout (`tcp(7)`).
pub(crate) fn linger_zero(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set(socket, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

/// `setsockopt(2)`, or `fcntl(2)` for `O_NONBLOCK`.
pub(crate) fn set_option(socket: BorrowedFd<'_>, option: SockOption) -> Result<u32, Errno> {
    let number = |value: u32| value.cast_signed();
    let (level, name, value) = match option {
        SockOption::Cork(on) => (libc::IPPROTO_TCP, libc::TCP_CORK, c_int::from(on)),
        SockOption::NoDelay(on) => (libc::IPPROTO_TCP, libc::TCP_NODELAY, c_int::from(on)),
        SockOption::RcvBuf(bytes) => (libc::SOL_SOCKET, libc::SO_RCVBUF, number(bytes)),
        SockOption::SndBuf(bytes) => (libc::SOL_SOCKET, libc::SO_SNDBUF, number(bytes)),
        SockOption::RcvLowat(bytes) => (libc::SOL_SOCKET, libc::SO_RCVLOWAT, number(bytes)),
        SockOption::NonBlock(on) => {
            // a socket has no other status flag of these: what F_GETFL would give is known
            let flags = if on { libc::O_NONBLOCK } else { 0 };
            // SAFETY: no memory involved
            return returned(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, flags) });
        }
    };
    set(socket, level, name, &value)
}

/// `setsockopt(SO_BUSY_POLL)`
pub(crate) fn busy_poll(socket: BorrowedFd<'_>, microseconds: u32) -> Result<u32, Errno> {
    let value = microseconds.cast_signed();
    set(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &value)
}

fn set<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> Result<u32, Errno> {
    // SAFETY: the kernel reads the given number of bytes of a value that is borrowed for the call
    returned(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), size::<T>())
    })
}

/// Reads a socket option into `value`, which may be longer than the kernel's.
fn get<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &mut T) -> Result<u32, Errno> {
    let mut len = size::<T>();
    // SAFETY: the kernel writes at most `len` bytes to a value that is borrowed exclusively; callers pass plain
    // C numbers and structures of them, which may hold any bytes
    returned(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, ptr::from_mut(value).cast(), &raw mut len)
    })
}

/// `getsockopt(SO_ERROR)`
pub(crate) fn so_error(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut error: c_int = 0;
    get(socket, libc::SOL_SOCKET, libc::SO_ERROR, &mut error)?;
    Ok(error.cast_unsigned())
}

/// The start of the kernel's `struct tcp_info` (`linux/tcp.h`), which only ever grows at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpInfo {
    _state_to_total_retrans: [u64; 13],
    _rates_and_bytes_in: [u64; 4],
    _segments: [u32; 2],
    /// Bytes that no segment carried yet. A FIN that waits behind them counts as one.
    pub(crate) notsent_bytes: u32,
    _min_rtt_and_data_segments: [u32; 3],
    _delivery: [u64; 5],
    /// Payload bytes of all segments, sent again or not.
    pub(crate) bytes_sent: u64,
    /// Those of them that were sent again.
    pub(crate) bytes_retrans: u64,
}

const _: () = {
    assert!(mem::offset_of!(TcpInfo, notsent_bytes) == 144);
    assert!(mem::offset_of!(TcpInfo, bytes_sent) == 200);
    assert!(mem::offset_of!(TcpInfo, bytes_retrans) == 208);
};

/// `getsockopt(TCP_INFO)`
pub(crate) fn tcp_info(socket: BorrowedFd<'_>) -> Result<TcpInfo, Errno> {
    let mut info = TcpInfo::default();
    get(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    Ok(info)
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

fn owned(fd: c_int) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: the kernel just returned it, so nobody else owns it
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A socket address as the kernel lays it out: room for either family.
#[repr(C)]
union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Address {
    fn new(address: SocketAddr) -> (Address, socklen_t) {
        let port = address.port().to_be();
        match address.ip() {
            IpAddr::V4(ip) => {
                let v4 = libc::sockaddr_in {
                    sin_family: family_number(libc::AF_INET),
                    sin_port: port,
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    sin_zero: [0; 8],
                };
                (Address { v4 }, size::<libc::sockaddr_in>())
            }
            IpAddr::V6(ip) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: family_number(libc::AF_INET6),
                    sin6_port: port,
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    sin6_scope_id: 0,
                };
                (Address { v6 }, size::<libc::sockaddr_in6>())
            }
        }
    }

    fn empty() -> Address {
        // SAFETY: both variants are C structures of numbers, for which all zeroes is a value
        unsafe { mem::zeroed() }
    }

    fn get(&self, family: Family) -> SocketAddr {
        match family {
            Family::V4 => {
                // SAFETY: every byte of the union was initialized, and any bytes make a sockaddr_in
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                SocketAddr::new(ip.into(), u16::from_be(v4.sin_port))
            }
            Family::V6 => {
                // SAFETY: as above
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                SocketAddr::new(ip.into(), u16::from_be(v6.sin6_port))
            }
        }
    }
}

fn family_number(family: c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(family).unwrap_or_default()
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
pub(crate) fn local_address(socket: &OwnedFd, family: Family) -> Result<SocketAddr, Errno> {
    let mut address = Address::empty();
    let mut len = size::<Address>();
    let to = (&raw mut address).cast();
    // SAFETY: the kernel writes at most `len` bytes to a local
    returned(unsafe { libc::getsockname(socket.as_fd().as_raw_fd(), to, &raw mut len) })?;
    Ok(address.get(family))
}
