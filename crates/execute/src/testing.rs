//! Connected sockets for the tests of what is below a scenario.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};

use scenario::payload::{self, Key, Stream};
use scenario::{Buffer, SockOption};

use crate::buffer::{Outbox, Span};
use crate::sys;

pub(crate) const STREAM: Stream = Stream { run: 1, pair: 0, lane: 0 };

/// Two connected sockets on loopback.
pub(crate) fn pair() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    [client, server]
}

pub(crate) fn set(socket: &TcpStream, option: SockOption) {
    sys::set_option(socket.as_fd(), option).unwrap();
}

pub(crate) fn load(outbox: &mut Outbox, offset: u64, len: u32) -> Span {
    outbox.load(Buffer::Mapped, len, &payload(offset, len as usize))
}

/// What the stream has there.
pub(crate) fn payload(offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    payload::fill(Key::from_seed(1), STREAM, offset, &mut bytes);
    bytes
}

/// Calls until the thread is done, so that a signal that comes before its call does no harm.
pub(crate) fn interrupt<R: Send + 'static>(
    restart: bool,
    call: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        // SAFETY: no arguments, cannot fail
        tell.send(unsafe { libc::gettid() }).unwrap();
        call()
    });
    let number = told.recv().unwrap();
    while !thread.is_finished() {
        // it may have ended in the meantime
        let _ = sys::signal_thread(number, restart);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    thread.join().unwrap()
}

pub(crate) fn fd(socket: &TcpStream) -> BorrowedFd<'_> {
    socket.as_fd()
}
