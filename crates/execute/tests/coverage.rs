//! What of the kernel a scenario covers: `./sparring test` runs it in a guest, whose points `sparring exec` lists.

use std::path::PathBuf;
use std::sync::Arc;

use execute::{Executor, Hit, Points};
use scenario::history::Bounds;
use scenario::payload::Key;
use scenario::text::parse;

/// The environment variable with the list's path.
const LIST: &str = "SPARRING_POINTS";

struct Traced(Executor);

impl Traced {
    fn new() -> Traced {
        let bounds = Bounds { call_ms: 2_000, drain_ms: 2_000, settle_ms: 50 };
        let mut executor = Executor::new(None, Key::from_seed(1), bounds).unwrap();
        let list = std::env::var_os(LIST).map(PathBuf::from).expect("the guest's kernel has KCOV");
        let points = Arc::new(Points::read(&list).unwrap());
        // twice, as somebody might who has built another module
        executor.trace(Arc::clone(&points)).unwrap();
        executor.trace(points).unwrap();
        Traced(executor)
    }

    fn covered(&mut self, steps: &str) -> Vec<Hit> {
        let text = format!(
            "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n{steps}\nend\n"
        );
        let scenario = parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        self.0.execute(1, &scenario).unwrap();
        assert!(!self.0.is_covered_cut());
        self.0.covered().to_vec()
    }
}

fn times(hits: &[Hit]) -> u64 {
    hits.iter().map(|hit| u64::from(hit.times)).sum()
}

/// Both sequential, so that one thread makes all calls: what differs is the kernel's work.
#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn a_scenario_that_does_more_covers_more() {
    let mut traced = Traced::new();
    let little = traced.covered("c: send 10");
    let much = traced.covered(
        "c: send 10\ns: recv 10\nc: send 3000\ns: recv 100 peek\ns: poll\n\
         s: send 1 oob\nc: at-mark\nc: shutdown wr\ns: recv 4000\ns: inq",
    );
    assert!(!little.is_empty());
    assert!(much.len() > little.len() + 20, "{} and {}", little.len(), much.len());
    assert!(times(&much) > times(&little));
    assert!(little.is_sorted_by(|a, b| a.point < b.point));
    assert!(little.iter().all(|hit| hit.times > 0));
    // and nothing is left of the one before
    let again = traced.covered("c: send 10");
    assert!(again.len() < much.len(), "{} and {}", again.len(), much.len());
}

/// The receive sleeps on a lane's thread, whose coverage counts, too; also that of a thread that ends with the
/// scenario because it used io_uring.
#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn lanes_are_covered_as_well() {
    let mut traced = Traced::new();
    let alone = traced.covered("c: send 10\ns: recv 10");
    for by in ["", " by uring"] {
        let asleep = traced.covered(&format!("start s: recv 10{by}\nc: pause 2000\nc: send 10"));
        let new = |hit: &&Hit| !alone.iter().any(|other| other.point == hit.point);
        assert!(asleep.iter().filter(new).count() > 0, "{by}: nothing of sk_wait_data()");
        let share = times(&asleep) * 2 > times(&alone);
        assert!(share, "{by}: {} and {}", times(&asleep), times(&alone));
    }
}

#[test_log::test]
fn without_kcov_there_is_a_remedy() {
    if std::path::Path::new("/sys/kernel/debug/kcov").exists() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("points");
    std::fs::write(&list, "kernel ffffffff81000010\n").unwrap();
    let bounds = Bounds { call_ms: 100, drain_ms: 100, settle_ms: 1 };
    let mut executor = Executor::new(None, Key::from_seed(1), bounds).unwrap();
    let said = executor.trace(Arc::new(Points::read(&list).unwrap())).unwrap_err().to_string();
    assert!(said.contains("--flavour kcov"), "{said}");
    assert!(executor.covered().is_empty());
}
