//! Options of a socket, and what they tell.

use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use libc::c_int;
use scenario::SockOption;
use scenario::history::Errno;

use super::{returned, size};

/// `setsockopt(2)`, or `fcntl(2)` for `O_NONBLOCK`.
pub(crate) fn set_option(socket: BorrowedFd<'_>, option: SockOption) -> Result<u32, Errno> {
    const SOCKET: c_int = libc::SOL_SOCKET;
    const TCP: c_int = libc::IPPROTO_TCP;
    let number = |value: u32| value.cast_signed();
    let (level, name, value) = match option {
        SockOption::Cork(on) => (TCP, libc::TCP_CORK, c_int::from(on)),
        SockOption::NoDelay(on) => (TCP, libc::TCP_NODELAY, c_int::from(on)),
        SockOption::TcpInq(on) => (TCP, libc::TCP_INQ, c_int::from(on)),
        SockOption::OobInline(on) => (SOCKET, libc::SO_OOBINLINE, c_int::from(on)),
        SockOption::ZeroCopy(on) => (SOCKET, libc::SO_ZEROCOPY, c_int::from(on)),
        SockOption::RcvBuf(bytes) => (SOCKET, libc::SO_RCVBUF, number(bytes)),
        SockOption::SndBuf(bytes) => (SOCKET, libc::SO_SNDBUF, number(bytes)),
        SockOption::RcvLowat(bytes) => (SOCKET, libc::SO_RCVLOWAT, number(bytes)),
        SockOption::PeekOff(bytes) => (SOCKET, libc::SO_PEEK_OFF, number(bytes)),
        SockOption::BusyPoll(us) => (SOCKET, libc::SO_BUSY_POLL, number(us)),
        SockOption::RcvTimeo(ms) => return set(socket, SOCKET, libc::SO_RCVTIMEO, &timeval(ms)),
        SockOption::SndTimeo(ms) => return set(socket, SOCKET, libc::SO_SNDTIMEO, &timeval(ms)),
        SockOption::Linger(seconds) => return linger(socket, seconds),
        SockOption::KeepAlive(on) => return keep_alive(socket, on),
        SockOption::NonBlock(on) => {
            // a socket has no other status flag of these: what F_GETFL would give is known
            let flags = if on { libc::O_NONBLOCK } else { 0 };
            // SAFETY: no memory involved
            return returned(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, flags) });
        }
    };
    set(socket, level, name, &value)
}

fn timeval(ms: u32) -> libc::timeval {
    libc::timeval { tv_sec: (ms / 1_000).into(), tv_usec: (ms % 1_000 * 1_000).into() }
}

/// With the times first, so that the kernel's two hours never count. They are in seconds, the interval and the
/// silence before the first probe alike.
fn keep_alive(socket: BorrowedFd<'_>, on: bool) -> Result<u32, Errno> {
    if on {
        for time in [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL] {
            set::<c_int>(socket, libc::IPPROTO_TCP, time, &1)?;
        }
    }
    set(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &c_int::from(on))
}

fn linger(socket: BorrowedFd<'_>, seconds: u32) -> Result<u32, Errno> {
    let linger = libc::linger { l_onoff: 1, l_linger: seconds.cast_signed() };
    set(socket, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

/// Makes the coming `close(2)` an abort: `SO_LINGER` with a zero timeout (`tcp(7)`).
pub(crate) fn linger_zero(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    linger(socket, 0)
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
    _state: [u8; 4],
    /// How often the time until the next retransmission or window probe was doubled, because nothing was acknowledged.
    pub(crate) backoff: u8,
    _options: [u8; 3],
    _rto_to_total_retrans: [u64; 12],
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
    assert!(mem::offset_of!(TcpInfo, backoff) == 4);
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

/// `setsockopt(SO_REUSEADDR)`
pub(crate) fn reuse_address(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    set::<c_int>(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1)
}

/// `getsockopt(SO_COOKIE)`: a number that no other socket of this boot has.
pub(crate) fn cookie(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut cookie = 0;
    get(socket, libc::SOL_SOCKET, libc::SO_COOKIE, &mut cookie)?;
    Ok(cookie)
}

/// `setsockopt(TCP_ULP, "tls")`
pub(crate) fn tls(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls")
}

/// `setsockopt(TCP_REPAIR)` on, and off again: off even if on failed, because a socket under repair is none that a
/// scenario could go on with.
pub(crate) fn repair(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    /// `linux/tcp.h`: `TCP_REPAIR_ON`, `TCP_REPAIR_OFF`.
    const STATES: [c_int; 2] = [1, 0];
    let [on, off] = STATES.map(|state| set(socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, &state));
    on.and(off)
}
