//! Attaching to a cgroup, in a guest: `./sparring test` runs it there. With `SPARRING_KFUNC` set, the guest's kernel
//! must have the kfunc.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;

mod cgroup;

use bpf::{Answer, Attached, Attempt, Error, Kind, Reports};
use cgroup::Cgroup;

/// `ENOENT` (`asm-generic/errno-base.h`)
const ENOENT: i32 = 2;
const OURS: &str = concat!(env!("OUT_DIR"), "/pair.bpf.o");

/// `None` where the kernel has no kfunc, and need not have it.
fn attach(kind: Kind<'_>, cgroup: &Cgroup) -> Option<Attached> {
    match Attached::attach(kind, &cgroup.path) {
        Ok(attached) => Some(attached),
        Err(Error::NoKfunc(name)) if std::env::var_os("SPARRING_KFUNC").is_none() => {
            assert_eq!(name, "bpf_sock_splice_pair");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Connects over loopback: the client, the server.
fn connect(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

/// Where it is, and what it is connected to.
fn ends(socket: &TcpStream) -> (SocketAddr, SocketAddr) {
    (socket.local_addr().unwrap(), socket.peer_addr().unwrap())
}

/// Connects over loopback, sends a byte, and takes both answers: the client's, the server's.
fn answers(attached: &Attached, address: &str) -> [Option<Answer>; 2] {
    let (mut client, mut server) = connect(address);
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let (own, peer) = ends(&client);
    let answers = [attached.take(own, peer).unwrap(), attached.take(peer, own).unwrap()];
    assert_eq!(attached.take(own, peer), Ok(None), "taken is taken");
    answers
}

#[test_log::test]
fn a_cgroup_that_is_not_there_is_the_environments_fault() {
    let error = Attached::attach(Kind::Sockhash, Path::new("/nonexistent")).unwrap_err();
    assert!(matches!(error, Error::Environment(_)), "{error}");
}

// One test, because a process is in one cgroup.
#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn attached_programs_see_connections_of_both_families() {
    let cgroup = Cgroup::enter();
    let entered = Some(Answer { update: 0, pair: None, busy_poll: None, further: None });
    if let Some(mut attached) = attach(Kind::Sockhash, &cgroup) {
        assert_eq!(attached.reports(), Reports::Updates);
        for address in ["127.0.0.1", "::1"] {
            assert_eq!(answers(&attached, address), [entered; 2]);
            an_endpoint_can_be_taken_out_and_put_back(&attached, address);
        }
        what_is_detached_sees_nothing_until_it_is_attached_again(&mut attached);
        assert_eq!(attached.attempt(Attempt::Twice), Ok(()));
        assert_eq!(answers(&attached, "127.0.0.1"), [entered; 2], "it does not pair");
    }
    if let Some(mut attached) = attach(Kind::Pair { busy_poll_us: None }, &cgroup) {
        assert_eq!(attached.reports(), Reports::Pairs);
        let paired = Some(Answer { update: 0, pair: Some(0), busy_poll: None, further: None });
        for address in ["127.0.0.1", "::1"] {
            // the passive side is established last and finds the other one
            assert_eq!(answers(&attached, address), [entered, paired]);
            pairing_is_attempted_as_it_is_told(&mut attached, address);
            assert_eq!(answers(&attached, address), [entered, paired]);
        }
        what_is_detached_sees_nothing_until_it_is_attached_again(&mut attached);
        assert_eq!(answers(&attached, "::1"), [entered, paired]);
        drop(attached);
        println!("paired on both families");
    }
    if let Some(attached) = attach(Kind::Pair { busy_poll_us: Some(50) }, &cgroup) {
        let answers = answers(&attached, "127.0.0.1");
        println!("with busy polling: {answers:?}");
        assert!(answers.iter().all(|answer| answer.is_some_and(|a| a.busy_poll.is_some())));
    }
    foreign_objects_are_refused_for_what_is_wrong_with_them(&cgroup);
    a_kernel_without_btf_is_told(&cgroup);
    if let Some(mut attached) = attach(Kind::Object(Path::new(OURS)), &cgroup) {
        assert_eq!(attached.reports(), Reports::Nothing);
        assert_eq!(answers(&attached, "127.0.0.1"), [None; 2]);
        attached.detach();
        assert_eq!(attached.attach_again(), Ok(()));
        let (client, _server) = connect("127.0.0.1");
        let (own, peer) = ends(&client);
        assert_eq!(attached.attempt(Attempt::Twice), Ok(()));
        assert_eq!(attached.remove(own, peer), Ok(false), "its maps are unknown");
        assert_eq!(attached.replace(own, peer, client.as_fd()), Ok(Err(ENOENT)));
    }
}

fn an_endpoint_can_be_taken_out_and_put_back(attached: &Attached, address: &str) {
    let (client, mut server) = connect(address);
    let (own, peer) = ends(&client);
    assert_eq!(attached.remove(own, peer), Ok(true));
    assert_eq!(attached.remove(own, peer), Ok(false), "it is out");
    for _ in 0..2 {
        assert_eq!(attached.replace(own, peer, client.as_fd()), Ok(Ok(())));
    }
    let refused = attached.replace(own, peer, File::open("/dev/null").unwrap().as_fd());
    assert!(matches!(refused, Ok(Err(1..))), "no socket: {refused:?}");
    assert_eq!(attached.remove(own, peer), Ok(true));
    drop(client);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
}

/// The answers to what else was asked for are the kernel's, so only that it was asked counts here.
fn pairing_is_attempted_as_it_is_told(attached: &mut Attached, address: &str) {
    let further = |answer: Option<Answer>| answer.and_then(|answer| answer.further);
    attached.attempt(Attempt::Twice).unwrap();
    let [client, server] = answers(attached, address);
    println!("twice: {client:?} {server:?}");
    assert_eq!(further(client), None, "the client's peer is not there yet");
    assert!(further(server).is_some());

    let (stranger, _peer) = connect(address);
    let (local, remote) = ends(&stranger);
    attached.attempt(Attempt::Stranger { local, remote }).unwrap();
    let [client, server] = answers(attached, address);
    println!("with a stranger: {client:?} {server:?}");
    assert!(further(client).is_some());
    assert!(further(server).is_some());
    assert_eq!(client.and_then(|answer| answer.pair), None);
    assert!(server.is_some_and(|answer| answer.pair.is_some()));
    // a paired socket may well be refused
    println!("replaced: {:?}", attached.replace(local, remote, stranger.as_fd()).unwrap());
    println!("removed: {}", attached.remove(local, remote).unwrap());
    assert_eq!(attached.remove(local, remote), Ok(false));
    let answers = answers(attached, address);
    println!("with a stranger that is gone: {answers:?}");
    assert!(answers.iter().all(|answer| further(*answer).is_none()));

    attached.attempt(Attempt::Leave).unwrap();
    let (mut free, mut peer) = connect(address);
    free.write_all(b"x").unwrap();
    peer.read_exact(&mut [0]).unwrap();
    let (local, remote) = ends(&free);
    let left = [attached.take(local, remote), attached.take(remote, local)].map(Result::unwrap);
    let alone = Answer { update: 0, pair: None, busy_poll: None, further: None };
    assert_eq!(left, [Some(alone); 2], "in the map, and nobody asked");
    attached.attempt(Attempt::Stranger { local, remote }).unwrap();
    // no byte is sent: a kernel that takes the stranger would give it to that one
    let (client, _server) = connect(address);
    let (own, peer) = ends(&client);
    let answer = attached.take(own, peer).unwrap();
    println!("with one that is free: {answer:?}");
    assert!(further(answer).is_some());
    attached.attempt(Attempt::Once).unwrap();
}

fn what_is_detached_sees_nothing_until_it_is_attached_again(attached: &mut Attached) {
    let (before, _peer) = connect("127.0.0.1");
    for _ in 0..2 {
        attached.detach();
        assert_eq!(answers(attached, "127.0.0.1"), [None; 2]);
    }
    let (own, peer) = ends(&before);
    assert_eq!(attached.remove(own, peer), Ok(true), "what is in the maps stays there");
    for _ in 0..2 {
        assert_eq!(attached.attach_again(), Ok(()));
        assert!(answers(attached, "127.0.0.1").iter().all(Option::is_some));
    }
}

/// A kernel without BTF, as far as anybody can see: its file is covered.
fn a_kernel_without_btf_is_told(cgroup: &Cgroup) {
    let run = |program: &str, arguments: &[&str]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program}");
    };
    run("mount", &["-t", "tmpfs", "none", "/sys/kernel/btf"]);
    let result = Attached::attach(Kind::Pair { busy_poll_us: None }, &cgroup.path);
    run("umount", &["/sys/kernel/btf"]);
    assert_eq!(result.err(), Some(Error::NoBtf));
}

fn foreign_objects_are_refused_for_what_is_wrong_with_them(cgroup: &Cgroup) {
    let refusal = |object: &str| {
        let path = Path::new(env!("OUT_DIR")).join(object);
        Attached::attach(Kind::Object(&path), &cgroup.path).unwrap_err()
    };
    let weak = refusal("weak.bpf.o");
    assert_eq!(weak, Error::NoKfunc("bpf_sparring_no_such_kfunc".into()), "{weak}");
    for (object, word) in [
        ("rejected.bpf.o", "invalid bpf_context access"),
        ("other.bpf.o", "no sock_ops program"),
        ("nonexistent.bpf.o", "nonexistent.bpf.o"),
    ] {
        let error = refusal(object);
        assert!(matches!(&error, Error::BadObject(why) if why.contains(word)), "{object}: {error}");
    }
    let text = Attached::attach(Kind::Object(Path::new("/proc/self/maps")), &cgroup.path);
    assert!(matches!(text, Err(Error::BadObject(_))), "{text:?}");
}
