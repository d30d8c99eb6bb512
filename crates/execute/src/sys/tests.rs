use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;

use scenario::SockOption;

use super::*;
use crate::testing::{fd, interrupt, pair, set};

#[test_log::test]
fn every_option_can_be_set() {
    let [client, _server] = pair();
    for option in [
        SockOption::Cork(true),
        SockOption::NoDelay(true),
        SockOption::NonBlock(false),
        SockOption::OobInline(true),
        SockOption::KeepAlive(true),
        SockOption::KeepAlive(false),
        SockOption::TcpInq(true),
        SockOption::ZeroCopy(true),
        SockOption::RcvBuf(1000),
        SockOption::SndBuf(1000),
        SockOption::RcvLowat(10),
        SockOption::PeekOff(0),
        SockOption::RcvTimeo(100),
        SockOption::SndTimeo(1_500),
        SockOption::Linger(1),
    ] {
        assert_eq!(set_option(fd(&client), option), Ok(0), "{option:?}");
    }
    assert_eq!(client.read_timeout().unwrap().unwrap().as_millis(), 100);
    assert_eq!(client.write_timeout().unwrap().unwrap().as_millis(), 1_500);
    let peek = client.peek(&mut [0; 10]).unwrap_err();
    assert_eq!(peek.kind(), io::ErrorKind::WouldBlock);
}

#[test_log::test]
fn the_mark_is_where_the_urgent_byte_is() {
    let [client, server] = pair();
    set(&server, SockOption::OobInline(true));
    // SAFETY: the kernel reads three bytes of a constant
    let sent = unsafe { libc::send(client.as_raw_fd(), b"abc".as_ptr().cast(), 3, libc::MSG_OOB) };
    assert_eq!(sent, 3);
    poll(Some(fd(&server)), Ready::PRI, 1_000).unwrap();
    assert_eq!(at_mark(fd(&server)), Ok(0));
    (&server).read_exact(&mut [0; 2]).unwrap();
    assert_eq!(at_mark(fd(&server)), Ok(1));
}

#[test_log::test]
fn a_socket_is_closed_by_its_last_holder() {
    let [client, mut server] = pair();
    let copy = dup(fd(&client)).unwrap();
    let child = fork_holder(fd(&client)).unwrap();
    let another = fork_holder(fd(&client)).unwrap();
    let client = OwnedFd::from(client);
    close_and_keep_number(&client).unwrap();
    const BAD: Errno = Errno(libc::EBADF);
    assert_eq!(so_error(client.as_fd()), Err(BAD));
    assert_eq!(inq(client.as_fd()), Err(BAD));
    assert_eq!(poll(Some(client.as_fd()), Ready::IN, 1_000), Err(BAD));
    close(copy).unwrap();
    reap(child).unwrap();
    assert_eq!(poll(Some(fd(&server)), Ready::IN, 0), Ok(Ready::empty()));
    drop(another);
    assert_eq!(server.read(&mut [0; 10]).unwrap(), 0);
}

#[test_log::test]
fn a_child_holds_nothing_else() {
    let [client, _server] = pair();
    let [other, mut peer] = pair();
    let child = fork_holder(fd(&client)).unwrap();
    drop(other);
    assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0);
    reap(child).unwrap();
}

#[test_log::test]
fn a_disconnected_socket_connects_again() {
    let [client, mut server] = pair();
    disconnect(fd(&client)).unwrap();
    // nothing was unread, but a disconnect is an abort (tcp_disconnect)
    assert_eq!(server.read(&mut [0; 10]).unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = OwnedFd::from(client);
    connect(&client, listener.local_addr().unwrap()).unwrap();
    let mut client = TcpStream::from(client);
    client.write_all(b"again").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"again");
}

#[test_log::test]
fn a_signal_restarts_a_call_or_ends_it() {
    let receive = |server: TcpStream| {
        // SAFETY: the kernel writes at most one byte, to a local
        move || counted(unsafe { libc::recv(server.as_raw_fd(), [0u8].as_mut_ptr().cast(), 1, 0) })
    };
    let [_client, server] = pair();
    assert_eq!(interrupt(false, receive(server)), Err(Errno::EINTR));
    // with SA_RESTART only the byte ends it, which comes after some signals
    let [mut client, server] = pair();
    let sender = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        client.write_all(b"x").unwrap();
        client
    });
    assert_eq!(interrupt(true, receive(server)), Ok(1));
    sender.join().unwrap();
}

#[test_log::test]
fn busy_threads_take_processor_time() {
    let before = thread_cpu_ns();
    while thread_cpu_ns() == before {
        std::hint::spin_loop();
    }
}

/// In a guest, because it needs root and a kernel that has all of it.
#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn a_connection_can_be_destroyed_repaired_and_given_to_tls() {
    crate::prepare_network().unwrap();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let pair = || {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (client, listener.accept().unwrap().0)
        };
        let ends = |socket: &TcpStream| -> [SocketAddr; 2] {
            [socket.local_addr().unwrap(), socket.peer_addr().unwrap()]
        };
        let (client, server) = pair();
        let [local, remote] = ends(&client);
        // the addresses of another one
        assert_eq!(destroy(fd(&server), local, remote), Err(Errno(libc::ENOENT)));
        assert_eq!(destroy(fd(&client), local, remote), Ok(0));
        assert_eq!(so_error(fd(&client)), Ok(libc::ECONNABORTED.cast_unsigned()));
        assert_eq!((&server).read(&mut [0; 1]).unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
        let (client, server) = pair();
        assert_eq!(repair(fd(&client)), Ok(0));
        (&server).write_all(b"x").unwrap();
        (&client).read_exact(&mut [0; 1]).unwrap();
        assert_eq!(tls(fd(&client)), Ok(0));
        assert_eq!(tls(fd(&client)), Err(Errno(libc::EEXIST)));
    }
}
