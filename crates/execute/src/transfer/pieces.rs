//! Several pieces of memory, or several messages, in one call.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use libc::c_int;
use scenario::history::Errno;

use super::message;
use crate::buffer::Span;
use crate::sys;

/// The span in so many pieces of about the same length, some of them empty if it is shorter than that.
fn cut(span: Span, count: u8) -> Vec<libc::iovec> {
    let end = |piece: u64| {
        let end = u64::from(span.len) * piece / u64::from(count);
        usize::try_from(end).unwrap_or(usize::MAX)
    };
    (0..count.into())
        .map(|piece| libc::iovec {
            iov_base: span.start.wrapping_add(end(piece)).cast(),
            iov_len: end(piece + 1) - end(piece),
        })
        .collect()
}

/// One piece for each message. Empty messages are left out: each would be a zero-length call of its own, for which a
/// receive waits (`tcp_recvmsg_locked`).
fn cut_batch(span: Span, count: u8) -> Vec<libc::iovec> {
    let most = u8::try_from(span.len).unwrap_or(u8::MAX).max(1);
    cut(span, count.min(most))
}

fn messages(pieces: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    pieces
        .chunks_mut(1)
        .map(|piece| libc::mmsghdr { msg_hdr: message(piece), msg_len: 0 })
        .collect()
}

/// `sendmsg(2)`
pub(super) fn send(
    socket: BorrowedFd<'_>,
    span: Span,
    flags: c_int,
    count: u8,
) -> Result<u32, Errno> {
    let mut pieces = cut(span, count);
    let message = message(&mut pieces);
    // SAFETY: the message and its pieces are locals; the kernel only reads what they point to, and checks what it may
    // read
    sys::counted(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) })
}

/// `sendmmsg(2)`, which goes on only behind a message that was sent as a whole (`__sys_sendmmsg`).
pub(super) fn send_batch(
    socket: BorrowedFd<'_>,
    span: Span,
    flags: c_int,
    count: u8,
) -> Result<u32, Errno> {
    let mut pieces = cut_batch(span, count);
    let mut batch = messages(&mut pieces);
    let (start, len) = (batch.as_mut_ptr(), number(batch.len()));
    // SAFETY: as in `send`, and the kernel writes to the lengths of the messages, which are locals
    let sent = sys::returned(unsafe { libc::sendmmsg(socket.as_raw_fd(), start, len, flags) })?;
    Ok(batch.iter().take(sent as usize).map(|message| message.msg_len).sum())
}

/// `recvmsg(2)`
pub(super) fn recv(
    socket: BorrowedFd<'_>,
    span: Span,
    flags: c_int,
    count: u8,
) -> Result<u32, Errno> {
    let mut pieces = cut(span, count);
    let mut message = message(&mut pieces);
    // SAFETY: the message and its pieces are locals; they point into a span: a mapping of its own into which nobody
    // holds a reference during the call, and where it is not accessible the kernel returns EFAULT
    sys::counted(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })
}

/// `recvmmsg(2)`. On a socket that blocks it waits for each message.
pub(super) fn recv_batch(
    socket: BorrowedFd<'_>,
    span: Span,
    flags: c_int,
    count: u8,
) -> Result<u32, Errno> {
    let mut pieces = cut_batch(span, count);
    let mut batch = messages(&mut pieces);
    let (start, len) = (batch.as_mut_ptr(), number(batch.len()));
    let fd = socket.as_raw_fd();
    // SAFETY: as in `recv`, and the kernel writes to the lengths of the messages, which are locals. There is no
    // timeout
    let result = unsafe { libc::recvmmsg(fd, start, len, flags, ptr::null_mut()) };
    let received = sys::returned(result)?;
    let mut count = 0;
    let mut from = 0;
    for (message, piece) in batch.iter().take(received as usize).zip(&pieces) {
        span.move_down(from, count, message.msg_len);
        count += message.msg_len;
        from += number(piece.iov_len);
    }
    Ok(count)
}

/// `recvmsg(2)` with the control message of `TCP_INQ`.
pub(super) fn recv_with_hint(
    socket: BorrowedFd<'_>,
    span: Span,
    flags: c_int,
) -> Result<(u32, Option<u32>), Errno> {
    /// Room for one [`libc::cmsghdr`], which has to be aligned, with an int.
    #[repr(C, align(8))]
    struct Control([u8; 64]);

    let mut control = Control([0; 64]);
    let mut pieces = cut(span, 1);
    let mut message = message(&mut pieces);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: as in `recv`, and the control buffer is a local, too
    let count =
        sys::counted(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })?;
    let mut left = None;
    // SAFETY: the kernel filled in the message, whose control buffer is still there
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR only return headers that lie in the buffer as a whole
        let what = unsafe { *header };
        if (what.cmsg_level, what.cmsg_type) == (libc::SOL_TCP, libc::TCP_CM_INQ) {
            // SAFETY: the header lies in the buffer
            let data = unsafe { libc::CMSG_DATA(header) };
            // SAFETY: with this type the data are an int (tcp_recvmsg)
            left = Some(unsafe { ptr::read_unaligned(data.cast::<u32>()) });
        }
        // SAFETY: the header is one of this message
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok((count, left))
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
