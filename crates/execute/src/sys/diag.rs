//! `sock_diag(7)`

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use libc::c_int;
use scenario::history::Errno;

use super::{cookie, counted, owned};

/// `linux/sock_diag.h`
const SOCK_DESTROY: u16 = 21;

/// `struct inet_diag_sockid` (`linux/inet_diag.h`). Ports and addresses are in network order.
#[repr(C)]
#[derive(Clone, Copy)]
struct SocketId {
    ports: [[u8; 2]; 2],
    source: [u8; 16],
    destination: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// A `struct nlmsghdr` with a `struct inet_diag_req_v2`.
#[repr(C)]
struct Request {
    header: libc::nlmsghdr,
    family: u8,
    protocol: u8,
    _extensions: u8,
    _padding: u8,
    _states: u32,
    socket: SocketId,
}

/// A `struct nlmsghdr` with the start of a `struct nlmsgerr`, behind which the kernel repeats the request.
#[repr(C)]
struct Answer {
    header: libc::nlmsghdr,
    error: c_int,
    _request: [u8; 128],
}

const _: () = {
    assert!(size_of::<Request>() == 16 + 56);
    assert!(mem::offset_of!(Answer, error) == 16);
};

/// `SOCK_DESTROY` of a socket with these addresses: what `ss -K` does. The calling thread has to be in the socket's
/// network namespace.
///
/// The socket is also named by its cookie, because the addresses of one without a connection may be those of its
/// listener (`__inet_lookup`).
///
/// # Errors
/// `ENOENT` without such a socket, `EPERM` without `CAP_NET_ADMIN`, `EOPNOTSUPP` on a kernel without it.
pub(crate) fn destroy(
    socket: BorrowedFd<'_>,
    local: SocketAddr,
    remote: SocketAddr,
) -> Result<u32, Errno> {
    let request = request(cookie(socket)?, local, remote);
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no memory involved
    let netlink = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) };
    let netlink = owned(netlink)?;
    let (start, len) = (ptr::from_ref(&request).cast(), size_of::<Request>());
    // SAFETY: the kernel reads a local that has no padding
    counted(unsafe { libc::send(netlink.as_raw_fd(), start, len, 0) })?;
    // SAFETY: Answer is made of numbers, for which all zeroes is a value
    let mut answer: Answer = unsafe { mem::zeroed() };
    let len = size_of::<Answer>();
    // SAFETY: the kernel writes at most `len` bytes to a local. It answers within the request (netlink_rcv_skb), so
    // this does not wait
    let received = unsafe {
        libc::recv(netlink.as_raw_fd(), (&raw mut answer).cast(), len, libc::MSG_DONTWAIT)
    };
    counted(received)?;
    match answer.error {
        _ if c_int::from(answer.header.nlmsg_type) != libc::NLMSG_ERROR => Err(Errno(libc::EPROTO)),
        0 => Ok(0),
        error => Err(Errno(-error)),
    }
}

fn request(cookie: u64, local: SocketAddr, remote: SocketAddr) -> Request {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    Request {
        header: libc::nlmsghdr {
            nlmsg_len: u32::try_from(size_of::<Request>()).unwrap_or_default(),
            nlmsg_type: SOCK_DESTROY,
            nlmsg_flags: u16::try_from(flags).unwrap_or_default(),
            nlmsg_seq: 0,
            nlmsg_pid: 0,
        },
        family: u8::try_from(if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 })
            .unwrap_or_default(),
        protocol: u8::try_from(libc::IPPROTO_TCP).unwrap_or_default(),
        _extensions: 0,
        _padding: 0,
        _states: 0,
        socket: SocketId {
            ports: [local, remote].map(|address| address.port().to_be_bytes()),
            source: octets(local.ip()),
            destination: octets(remote.ip()),
            interface: 0,
            cookie: halves(cookie),
        },
    }
}

/// The lower half first (`sock_diag_check_cookie`).
#[expect(clippy::cast_possible_truncation, reason = "each half has 32 bits")]
fn halves(cookie: u64) -> [u32; 2] {
    [cookie as u32, (cookie >> 32) as u32]
}

/// An IPv4 address takes the first four bytes.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut all = [0; 16];
            all[..4].copy_from_slice(&ip.octets());
            all
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}
