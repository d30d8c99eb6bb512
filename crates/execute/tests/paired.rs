//! The executor on sockets that a program saw, in a guest: `./sparring test` runs it there. With `SPARRING_KFUNC`
//! set, the guest's kernel must have the kfunc.

use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../../../bpf/tests/cgroup/mod.rs"]
mod cgroup;

use bpf::{Attached, Error, Kind};
use cgroup::Cgroup;
use execute::Executor;
use scenario::history::{Bounds, Pairing};
use scenario::payload::Key;
use scenario::{
    Buffer, By, Endpoint, Family, History, Lane, Op, RecvFlags, Scenario, SendFlags, Setup,
    SockOption, Step, When,
};

fn scenario(family: Family) -> Scenario {
    let lane = |name: &str, endpoint| Lane { name: name.into(), pair: 0, endpoint };
    let step = |lane, op| Step { lane, when: When::Then, op, expect: None };
    let send =
        Op::Send { len: 1000, flags: SendFlags::empty(), buffer: Buffer::Mapped, by: By::Call };
    let recv =
        Op::Recv { len: 600, flags: RecvFlags::empty(), buffer: Buffer::Mapped, by: By::Call };
    Scenario {
        family,
        lanes: vec![lane("c", Endpoint::Client), lane("s", Endpoint::Server)],
        steps: vec![step(0, send), step(1, recv), step(1, send), step(0, recv), step(1, Op::Poll)],
        setup: Endpoint::BOTH
            .map(|endpoint| Setup { pair: 0, endpoint, option: SockOption::NonBlock(true) })
            .into(),
        ..Scenario::default()
    }
}

/// Runs the scenario on both families, then for a while to see how fast it is.
fn run(name: &str, attached: Option<Attached>) -> [History; 2] {
    let mut executor = Executor::new(attached, Key::from_seed(1), Duration::from_secs(5)).unwrap();
    // the reference does not tell TCP_INFO what its ring carries
    let counter = Path::new(kmod::COUNTERS).join("ring_bytes");
    if counter.exists() {
        executor.count_ring_by(&counter).unwrap();
    }
    let bounds = Bounds::default();
    let histories = [Family::V4, Family::V6]
        .map(|family| executor.execute(1, &scenario(family), bounds).unwrap());
    let begun = Instant::now();
    let v4 = scenario(Family::V4);
    let mut runs = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        executor.execute(2, &v4, bounds).unwrap();
        runs += 1;
    }
    println!("{name}: {:.0} scenarios/s", f64::from(runs) / begun.elapsed().as_secs_f64());
    histories
}

// One test, because a process is in one cgroup.
#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn pairing_is_reported_and_the_rings_bytes_are_told_from_tcps() {
    let cgroup = Cgroup::enter();
    for history in run("plain", None) {
        assert_eq!(history.connections[0].pairing, Pairing::NotAsked);
    }
    let kinds = [("sockhash", Kind::Sockhash), ("pair", Kind::Pair { busy_poll_us: None })];
    for (name, kind) in kinds {
        let attached = match Attached::attach(kind, &cgroup.path) {
            Ok(attached) => attached,
            Err(Error::NoKfunc(_)) if std::env::var_os("SPARRING_KFUNC").is_none() => continue,
            Err(error) => panic!("{error}"),
        };
        for history in run(name, Some(attached)) {
            if kind == Kind::Sockhash {
                assert_eq!(history.connections[0].pairing, Pairing::NotAsked);
                assert!(Endpoint::BOTH.iter().all(|&sender| history.ring(0, sender) == 0));
                continue;
            }
            let (updates, results, further) = ([Some(0); 2], [None, Some(0)], [None; 2]);
            assert_eq!(
                history.connections[0].pairing,
                Pairing::Asked { results, updates, further },
                "{history:#?}"
            );
            assert!(history.is_paired());
            let (accepted, ring) = history.accepted_and_ring();
            println!("{name}: accepted {accepted}, by the ring {ring}");
            let both = history.ring_counter.is_some()
                || Endpoint::BOTH.iter().all(|&sender| history.ring(0, sender) > 0);
            assert!(ring > 0 && both, "{history:#?}");
        }
    }
}
