//! Attaching to a cgroup, in a guest: `./sparring test` runs it there. With `SPARRING_KFUNC` set, the guest's kernel
//! must have the kfunc.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

mod cgroup;

use bpf::{Answer, Attached, Error, Kind, Reports};
use cgroup::Cgroup;

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

/// Connects over loopback, sends a byte, and takes both answers: the client's, the server's.
fn answers(attached: &Attached, address: &str) -> [Option<Answer>; 2] {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let (own, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
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
    let entered = Some(Answer { update: 0, pair: None, busy_poll: None });
    if let Some(attached) = attach(Kind::Sockhash, &cgroup) {
        assert_eq!(attached.reports(), Reports::Updates);
        for address in ["127.0.0.1", "::1"] {
            assert_eq!(answers(&attached, address), [entered; 2]);
        }
    }
    if let Some(attached) = attach(Kind::Pair { busy_poll_us: None }, &cgroup) {
        assert_eq!(attached.reports(), Reports::Pairs);
        let paired = Some(Answer { update: 0, pair: Some(0), busy_poll: None });
        for address in ["127.0.0.1", "::1"] {
            // the passive side is established last and finds the other one
            assert_eq!(answers(&attached, address), [entered, paired]);
        }
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
    if let Some(attached) = attach(Kind::Object(Path::new(OURS)), &cgroup) {
        assert_eq!(attached.reports(), Reports::Nothing);
        assert_eq!(answers(&attached, "127.0.0.1"), [None; 2]);
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
