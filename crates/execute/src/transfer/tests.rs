use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use scenario::{Buffer, Ready, SockOption};

use super::*;
use crate::buffer::{Inbox, Outbox, UNTOUCHED};
use crate::testing::{fd, interrupt, load, pair, payload, set};

const SENDS: [By; 7] =
    [By::Call, By::Vector(3), By::Batch(4), By::Uring, By::Splice, By::Tee, By::File];
const RECEIVES: [By; 6] = [By::Call, By::Vector(16), By::Batch(3), By::Uring, By::Splice, By::Tee];
const NO_SEND: SendFlags = SendFlags::empty();
const NO_RECV: RecvFlags = RecvFlags::empty();

/// Receives without waiting, and checks what is left untouched.
fn recv(
    tools: &mut Tools,
    inbox: &mut Inbox,
    socket: &TcpStream,
    len: u32,
    by: By,
) -> Result<Vec<u8>, Errno> {
    let span = inbox.place(Buffer::Mapped, len);
    let result = tools.recv(fd(socket), span, RecvFlags::DONTWAIT, by, false);
    let touched = inbox.touched(span);
    let bytes = result.map(|(count, _)| {
        let bytes = inbox.received(span, count).to_vec();
        // a byte that looks like an untouched one does not count
        assert!(touched <= count, "{by:?}");
        assert!(bytes[touched as usize..].iter().all(|&byte| byte == UNTOUCHED), "{by:?}");
        bytes
    });
    inbox.restore(span, touched);
    bytes
}

#[test_log::test]
fn every_call_moves_the_same_stream() {
    let [client, server] = pair();
    let (mut tools, mut outbox, mut inbox) =
        (Tools::default(), Outbox::new().unwrap(), Inbox::new().unwrap());
    set(&server, SockOption::NonBlock(true));
    let mut offset = 0;
    for send in SENDS {
        for receive in RECEIVES {
            let span = load(&mut outbox, offset, 10_001);
            assert_eq!(tools.send(fd(&client), span, NO_SEND, send), Ok(10_001), "{send:?}");
            let mut got = Vec::new();
            while got.len() < 10_001 {
                match recv(&mut tools, &mut inbox, &server, 3_000, receive) {
                    Ok(bytes) => got.extend(bytes),
                    Err(Errno::EAGAIN) => {
                        sys::poll(Some(fd(&server)), Ready::IN, 1_000).unwrap();
                    }
                    Err(errno) => panic!("{receive:?}: {errno}"),
                }
            }
            assert!(got == payload(offset, 10_001), "{send:?} {receive:?}");
            offset += 10_001;
        }
    }
    drop(client);
    for receive in RECEIVES {
        assert_eq!(recv(&mut tools, &mut inbox, &server, 100, receive), Ok(Vec::new()));
    }
}

#[test_log::test]
fn a_short_send_goes_on_where_it_stopped() {
    for by in SENDS {
        let [client, mut server] = pair();
        let (mut tools, mut outbox) = (Tools::default(), Outbox::new().unwrap());
        set(&client, SockOption::NonBlock(true));
        // a request does not heed O_NONBLOCK (io_send), a pipe or a file no flag
        let flags = if by == By::Uring { SendFlags::DONTWAIT } else { NO_SEND };
        let (mut sent, mut got) = (0, Vec::new());
        let mut short = 0;
        while short < 3 {
            match tools.send(fd(&client), load(&mut outbox, sent, 1 << 20), flags, by) {
                Ok(count) => {
                    short += u32::from(count < 1 << 20);
                    sent += u64::from(count);
                }
                Err(errno) => {
                    assert_eq!(errno, Errno::EAGAIN, "{by:?}");
                    let mut some = vec![0; usize::try_from(sent).unwrap() - got.len()];
                    server.read_exact(&mut some).unwrap();
                    got.extend(some);
                }
            }
        }
        drop(client);
        server.read_to_end(&mut got).unwrap();
        assert!(got == payload(0, usize::try_from(sent).unwrap()), "{by:?}");
    }
}

#[test_log::test]
fn what_was_sent_stays_what_it_was() {
    let ways = [By::File, By::Splice, By::Tee].map(|by| (by, NO_SEND));
    let zerocopy = [By::Call, By::Vector(2), By::Batch(2), By::Uring];
    let ways = ways.into_iter().chain(zerocopy.map(|by| (by, SendFlags::ZEROCOPY)));
    for (by, flags) in ways {
        let [client, mut server] = pair();
        let (mut tools, mut outbox) = (Tools::default(), Outbox::new().unwrap());
        set(&client, SockOption::ZeroCopy(true));
        // what fits into the socket's buffer at once, although the server does not receive
        for part in 0..4 {
            let span = load(&mut outbox, part * 5_000, 5_000);
            assert_eq!(tools.send(fd(&client), span, flags, by), Ok(5_000), "{by:?}");
        }
        load(&mut outbox, 1 << 20, 1 << 20);
        let mut got = vec![0; 20_000];
        server.read_exact(&mut got).unwrap();
        assert!(got == payload(0, 20_000), "{by:?}");
        if flags.contains(SendFlags::ZEROCOPY) {
            let messages = if by == By::Batch(2) { 8 } else { 4 };
            let mut completed = 0;
            while completed < messages {
                sys::poll(Some(fd(&client)), Ready::empty(), 1_000).unwrap();
                completed += sys::errqueue(fd(&client)).unwrap();
            }
            assert_eq!(completed, messages, "{by:?}");
        }
        assert_eq!(sys::errqueue(fd(&client)), Ok(0));
    }
}

#[test_log::test]
fn memory_that_is_not_there_is_an_error() {
    let [client, _server] = pair();
    let (mut tools, mut outbox, inbox) =
        (Tools::default(), Outbox::new().unwrap(), Inbox::new().unwrap());
    set(&client, SockOption::ZeroCopy(true));
    let span = outbox.load(Buffer::Unmapped, 100, &[]);
    for flags in [NO_SEND, SendFlags::ZEROCOPY] {
        for by in [By::Call, By::Vector(2)] {
            assert_eq!(tools.send(fd(&client), span, flags, by), Err(Errno::EFAULT), "{by:?}");
        }
    }
    let torn = outbox.load(Buffer::Torn(10), 100, &[1; 10]);
    let copy = torn.duplicate().unwrap();
    let sent = sys::send(fd(&client), copy.span(), NO_SEND);
    assert!(matches!(sent, Err(Errno::EFAULT) | Ok(1..=10)), "{sent:?}");
    let [client, mut server] = pair();
    server.write_all(b"something").unwrap();
    let span = inbox.place(Buffer::Unmapped, 100);
    for hint in [false, true] {
        let result = tools.recv(fd(&client), span, NO_RECV, By::Call, hint);
        assert_eq!(result, Err(Errno::EFAULT));
    }
    let result = tools.recv(fd(&client), span, NO_RECV, By::Vector(4), false);
    assert_eq!(result, Err(Errno::EFAULT));
}

#[test_log::test]
fn a_batch_of_short_messages_is_moved_together() {
    let [client, server] = pair();
    let (mut tools, mut outbox, mut inbox) =
        (Tools::default(), Outbox::new().unwrap(), Inbox::new().unwrap());
    set(&server, SockOption::OobInline(true));
    // a receive ends at the urgent byte (tcp_recvmsg_locked)
    for (offset, len, flags) in [(0, 70, NO_SEND), (70, 31, SendFlags::OOB)] {
        let span = load(&mut outbox, offset, len);
        assert_eq!(tools.send(fd(&client), span, flags, By::Call), Ok(len));
    }
    sys::poll(Some(fd(&server)), Ready::PRI, 1_000).unwrap();
    let got = recv(&mut tools, &mut inbox, &server, 400, By::Batch(4)).unwrap();
    assert_eq!(got, payload(0, 101));
    assert_eq!(recv(&mut tools, &mut inbox, &server, 400, By::Batch(4)), Err(Errno::EAGAIN));
}

#[test_log::test]
fn the_hint_says_what_is_left() {
    let [mut client, server] = pair();
    let (mut tools, inbox) = (Tools::default(), Inbox::new().unwrap());
    client.write_all(&[1; 1000]).unwrap();
    sys::poll(Some(fd(&server)), Ready::IN, 1_000).unwrap();
    let span = inbox.place(Buffer::Mapped, 100);
    let without = tools.recv(fd(&server), span, NO_RECV, By::Call, true);
    assert_eq!(without, Ok((100, None)));
    set(&server, SockOption::TcpInq(true));
    let with = tools.recv(fd(&server), span, NO_RECV, By::Call, true);
    assert_eq!(with, Ok((100, Some(800))));
}

#[test_log::test]
fn a_request_that_is_cancelled_loses_nothing() {
    for restart in [false, true] {
        let [mut client, server] = pair();
        let (result, server) = interrupt(restart, move || {
            let (mut tools, inbox) = (Tools::default(), Inbox::new().unwrap());
            let span = inbox.place(Buffer::Mapped, 100);
            (tools.recv(fd(&server), span, NO_RECV, By::Uring, false), server)
        });
        assert_eq!(result, Err(Errno::EINTR));
        client.write_all(&payload(0, 50)).unwrap();
        sys::poll(Some(fd(&server)), Ready::IN, 1_000).unwrap();
        let (mut tools, mut inbox) = (Tools::default(), Inbox::new().unwrap());
        let got = recv(&mut tools, &mut inbox, &server, 100, By::Uring);
        assert_eq!(got, Ok(payload(0, 50)));
    }
}

#[test_log::test]
fn errors_are_the_calls() {
    let (mut tools, mut outbox) = (Tools::default(), Outbox::new().unwrap());
    for by in SENDS {
        let [client, server] = pair();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let span = load(&mut outbox, 0, 100);
        let result = tools.send(fd(&client), span, SendFlags::NOSIGNAL, by);
        assert_eq!(result, Err(Errno::EPIPE), "{by:?}");
        // and nothing of it comes later
        let result = tools.send(fd(&server), load(&mut outbox, 0, 100), NO_SEND, by);
        assert_eq!(result, Ok(100), "{by:?}");
    }
    for by in SENDS {
        let [client, server] = pair();
        let span = load(&mut outbox, 0, 0);
        assert_eq!(tools.send(fd(&client), span, NO_SEND, by), Ok(0), "{by:?}");
        drop(server);
    }
}

#[test_log::test]
fn fewer_bytes_than_pieces_are_all_moved() {
    let [client, server] = pair();
    let (mut tools, mut outbox, mut inbox) =
        (Tools::default(), Outbox::new().unwrap(), Inbox::new().unwrap());
    for (offset, by) in [By::Vector(16), By::Batch(16), By::Vector(1), By::Batch(1)]
        .into_iter()
        .enumerate()
        .map(|(at, by)| (at as u64 * 3, by))
    {
        assert_eq!(tools.send(fd(&client), load(&mut outbox, offset, 3), NO_SEND, by), Ok(3));
        let mut got = Vec::new();
        while got.len() < 3 {
            sys::poll(Some(fd(&server)), Ready::IN, 1_000).unwrap();
            got.extend(recv(&mut tools, &mut inbox, &server, 3, by).unwrap());
        }
        assert_eq!(got, payload(offset, 3), "{by:?}");
    }
}

#[test_log::test]
fn the_second_pipe_of_tee_gives_what_was_moved() {
    let [client, server] = pair();
    let (mut tools, mut outbox, mut inbox) =
        (Tools::default(), Outbox::new().unwrap(), Inbox::new().unwrap());
    for socket in [&client, &server] {
        set(socket, SockOption::NonBlock(true));
    }
    // the socket takes a part of it, and then nothing
    let mut sent = 0;
    loop {
        let span = load(&mut outbox, sent, 1 << 20);
        let result = tools.send(fd(&client), span, NO_SEND, By::Tee);
        let given = outbox.holds(span);
        assert_eq!(tools.copy_differs(By::Tee, given), None);
        let mut other = given.to_vec();
        other[70_000] ^= 1;
        assert_eq!(tools.copy_differs(By::Tee, &other), Some(70_000));
        assert_eq!(tools.copy_differs(By::Splice, &other), None);
        match result {
            Ok(count) => sent += u64::from(count),
            Err(errno) => break assert_eq!(errno, Errno::EAGAIN),
        }
    }
    drop(client);
    let mut got = 0;
    loop {
        sys::poll(Some(fd(&server)), Ready::IN, 1_000).unwrap();
        let bytes = recv(&mut tools, &mut inbox, &server, 50_000, By::Tee).unwrap();
        assert_eq!(tools.copy_differs(By::Tee, &bytes), None);
        assert!(bytes == payload(got, bytes.len()));
        got += bytes.len() as u64;
        match bytes.first() {
            Some(first) => assert_eq!(tools.copy_differs(By::Tee, &[!first]), Some(0)),
            None => break,
        }
    }
    assert_eq!(got, sent);
}
