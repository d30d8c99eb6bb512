//! The reference module goes when the last pair is gone, and not before: `./sparring test` runs it in a guest.

use std::ffi::CString;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[path = "../../../bpf/tests/cgroup/mod.rs"]
mod cgroup;

use bpf::{Attached, Kind};
use cgroup::Cgroup;

/// How long what was released may take to go: grace periods, and the work that frees programs and maps.
const PATIENCE: Duration = Duration::from_secs(10);

fn counter(name: &str) -> u64 {
    std::fs::read_to_string(Path::new(kmod::COUNTERS).join(name)).unwrap().trim().parse().unwrap()
}

/// `delete_module(2)`, without waiting.
fn unload() -> io::Result<()> {
    let name = CString::new(kmod::NAME)?;
    // SAFETY: the name is a NUL-terminated string, and the call takes nothing else by reference.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn refused() {
    let error = unload().expect_err("a module in use is not unloaded");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn the_module_stays_as_long_as_a_pair() {
    if !Path::new(kmod::COUNTERS).exists() {
        println!("skipped: the reference module is not loaded");
        return;
    }
    let cgroup = Cgroup::enter();
    assert_eq!((counter("pairs"), counter("memory")), (0, 0));
    let attached = Attached::attach(Kind::Pair { busy_poll_us: None }, &cgroup.path).unwrap();
    refused();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    // and one that nobody accepts
    let waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (&client).write_all(&[1; 1000]).unwrap();
    (&waiting).write_all(&[1; 1000]).unwrap();
    assert_eq!((counter("pairs"), counter("ring_bytes")), (2, 2000));
    assert!((2 << 17..3 << 17).contains(&counter("memory")), "{} bytes", counter("memory"));
    drop(attached);
    refused();
    drop(client);
    // the server can still read, and holds the pair
    thread::sleep(Duration::from_millis(100));
    assert_eq!(counter("pairs"), 2);
    refused();
    drop((server, listener, waiting));
    eventually("pairs outlive their sockets", || counter("pairs") == 0);
    assert_eq!(counter("memory"), 0);
    eventually("the module cannot be unloaded", || unload().is_ok());
}
