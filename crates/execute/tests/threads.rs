//! Several threads on the sockets of one connection, for long and without a schedule: `./sparring test` runs it in a
//! guest, on plain TCP and on the reference.
//!
//! Each byte says which of two senders it is of, and where in that one's stream it is, modulo a prime.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[path = "../../../bpf/tests/cgroup/mod.rs"]
mod cgroup;

use bpf::{Attached, Kind};
use cgroup::Cgroup;

/// What a sender counts modulo.
const COUNT: u8 = 127;
/// Bytes that each sender sends over one connection.
const STREAM: usize = 300_000;
/// How long to go on.
const TIME: Duration = Duration::from_secs(10);
/// A receive that waits so long has missed its wake-up.
const PATIENCE: Duration = Duration::from_secs(20);

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

/// A small generator of message sizes: around cache lines, pages, and what a ring holds.
fn sizes(mut seed: u64) -> impl Iterator<Item = usize> {
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = u32::try_from((seed >> 33) % 17).unwrap();
        1 + usize::try_from(seed >> 40).unwrap() % (1 << bits)
    })
}

fn send(mut socket: &TcpStream, sender: u8, seed: u64) {
    let bytes: Vec<u8> = (0..COUNT).cycle().map(|count| sender << 7 | count).take(STREAM).collect();
    let mut rest = bytes.as_slice();
    for size in sizes(seed) {
        let message = &rest[..size.min(rest.len())];
        let sent = socket.write(message).unwrap();
        rest = &rest[sent..];
        if rest.is_empty() {
            return;
        }
    }
}

/// Receives to the end of the stream; gives how much it was. Alone, it checks that each sender's bytes ascend.
fn receive(mut socket: &TcpStream, seed: u64, alone: bool) -> usize {
    let mut next = [0, 0];
    let mut total = 0;
    let mut buffer = vec![0; 1 << 17];
    for size in sizes(seed) {
        let got = match socket.read(&mut buffer[..size]) {
            Ok(0) => return total,
            Ok(got) => got,
            Err(error) => panic!("no bytes after {total}: {error}"),
        };
        for (at, byte) in buffer[..got].iter().enumerate().filter(|_| alone) {
            let next = &mut next[usize::from(byte >> 7)];
            assert_eq!(byte & 0x7f, *next, "byte {} of sender {}", total + at, byte >> 7);
            *next = (*next + 1) % COUNT;
        }
        total += got;
    }
    unreachable!("sizes do not end")
}

/// Two senders and so many receivers, in both directions at once.
fn round(seed: u64, receivers: u64) {
    let (client, server) = connection();
    let received = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for (way, (from, to)) in [(&client, &server), (&server, &client)].into_iter().enumerate() {
            let seed = seed * 8 + way as u64 * 4;
            let received = &received[way];
            for n in 0..receivers {
                scope.spawn(move || {
                    let got = receive(to, seed + 2 + n, receivers == 1) as u64;
                    received.fetch_add(got, Ordering::Relaxed);
                });
            }
            scope.spawn(move || {
                thread::scope(|senders| {
                    for sender in 0..2 {
                        senders.spawn(move || send(from, sender, seed + u64::from(sender)));
                    }
                });
                from.shutdown(Shutdown::Write).unwrap();
            });
        }
    });
    for received in received {
        assert_eq!(received.into_inner(), 2 * STREAM as u64);
    }
}

/// A message each way by turns: every one must wake the other side.
fn ping_pong() {
    let (mut client, mut server) = connection();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut message = [0; 64];
            while server.read(&mut message).unwrap() > 0 {
                server.write_all(&message).unwrap();
            }
        });
        let mut message = [0; 64];
        for _ in 0..200 {
            client.write_all(&message).unwrap();
            client.read_exact(&mut message).unwrap();
        }
        drop(client);
    });
}

/// Receives that are under way when the other thread closes, resets or goes on with another connection.
fn end_under_way(seed: u64) {
    let (client, server) = connection();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 4_096];
            while !matches!((&client).read(&mut buffer), Ok(0) | Err(_)) {}
        });
        for size in sizes(seed).take(20) {
            if (&server).write_all(&vec![0; size]).is_err() {
                break;
            }
        }
        server
            .shutdown(if seed.is_multiple_of(2) { Shutdown::Both } else { Shutdown::Write })
            .unwrap();
        (&client).write_all(&[1; 100]).ok();
        client.shutdown(Shutdown::Write).ok();
    });
}

// One test, because a process is in one cgroup.
#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn threads_share_a_socket() {
    let reference = Path::new(kmod::COUNTERS);
    if std::env::var_os("SPARRING_KFUNC").is_some() && !reference.exists() {
        println!("skipped: the kernel's own kfunc is not known to be right");
        return;
    }
    let cgroup = Cgroup::enter();
    let kind = Kind::Pair { busy_poll_us: None };
    let attached = reference.exists().then(|| Attached::attach(kind, &cgroup.path).unwrap());
    let begun = Instant::now();
    let mut rounds = 0;
    while begun.elapsed() < TIME {
        round(rounds, 1);
        round(rounds, 2);
        ping_pong();
        end_under_way(rounds);
        rounds += 1;
    }
    drop(attached);
    if reference.exists() {
        let read = |name| std::fs::read_to_string(reference.join(name)).unwrap();
        println!("{rounds} rounds, {} bytes took the ring", read("ring_bytes").trim());
        assert_ne!(read("ring_bytes").trim(), "0");
    }
}
