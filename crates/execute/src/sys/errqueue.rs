//! What a socket's error queue tells of `MSG_ZEROCOPY`.

use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use libc::c_int;
use scenario::history::Errno;

use super::counted;

/// `linux/errqueue.h`
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;

/// Room for the control messages of one entry: an error, and the address that it came from. A [`libc::cmsghdr`] has to
/// be aligned.
#[repr(C, align(8))]
struct Control([u8; 128]);

/// `recvmsg(MSG_ERRQUEUE)` until there is nothing more: how many `MSG_ZEROCOPY` sends were completed.
///
/// An entry stands for a range of sends, which the kernel numbers from 0 in 32 bits (`skb_zerocopy_notify_extend`,
/// `Documentation/networking/msg_zerocopy.rst`).
pub(crate) fn errqueue(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut completed = 0u32;
    loop {
        match entry(socket) {
            Ok(count) => completed = completed.wrapping_add(count),
            Err(Errno::EAGAIN) => return Ok(completed),
            Err(errno) => return Err(errno),
        }
    }
}

/// Takes one entry: for how many sends it stands.
fn entry(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut control = Control([0; 128]);
    // SAFETY: msghdr is a C structure for which all zeroes is a value: no name, no data
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: the kernel writes to the message and to the control buffer, both locals, no more than it is told
    counted(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE) })?;
    let mut count = 0u32;
    // SAFETY: the kernel filled in the message, whose control buffer is still there
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR only return headers that lie in the buffer as a whole
        let what = unsafe { *header };
        if is_error(what.cmsg_level, what.cmsg_type) {
            // SAFETY: the header lies in the buffer
            let data = unsafe { libc::CMSG_DATA(header) };
            // SAFETY: with this type (ip_recv_error, ipv6_recv_error) the data begin with this structure of numbers
            let error = unsafe { ptr::read_unaligned(data.cast::<libc::sock_extended_err>()) };
            if error.ee_origin == SO_EE_ORIGIN_ZEROCOPY {
                count += error.ee_data.wrapping_sub(error.ee_info).wrapping_add(1);
            }
        }
        // SAFETY: the header is one of this message
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(count)
}

fn is_error(level: c_int, kind: c_int) -> bool {
    [(libc::SOL_IP, libc::IP_RECVERR), (libc::SOL_IPV6, libc::IPV6_RECVERR)]
        .contains(&(level, kind))
}
