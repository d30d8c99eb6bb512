//! The corpus is made of scenarios that this crate reads and prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use scenario::{Scenario, text};

/// Every corpus entry: its path, its text, and the scenario.
fn entries() -> Vec<(PathBuf, String, Scenario)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../corpus");
    let folders = ["seeds", "regressions"].map(|name| root.join(name));
    let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok());
    let paths = files.flatten().map(|file| file.expect("a readable corpus").path());
    let paths: BTreeSet<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "ring"))
        .collect();
    paths
        .into_iter()
        .map(|path| {
            let written = fs::read_to_string(&path).expect("readable text");
            let scenario = text::parse(&written);
            let scenario = scenario.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path, written, scenario)
        })
        .collect()
}

/// The statements of a text, without its comments and blank lines.
fn statements(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test_log::test]
fn every_entry_is_printed_as_it_is_written() {
    for (path, written, scenario) in entries() {
        let printed = text::print(&scenario);
        assert_eq!(
            statements(&written),
            statements(&printed),
            "{}: write it as it is printed",
            path.display()
        );
        assert_eq!(text::parse(&printed), Ok(scenario), "{}", path.display());
    }
}

#[test_log::test]
fn every_entry_says_first_what_it_shows() {
    for (path, written, _) in entries() {
        let by_machine = path.parent().is_some_and(|folder| folder.ends_with("regressions"));
        assert!(
            by_machine || written.starts_with("# "),
            "{}: begin with a comment that says what it shows",
            path.display()
        );
    }
}

#[test_log::test]
fn every_word_of_the_language_has_an_entry() {
    let printed: String = entries().iter().map(|(_, _, scenario)| text::print(scenario)).collect();
    let words: BTreeSet<_> = printed.split_whitespace().collect();
    let expected = "loopback veth bridge wire delay loss v4 v6 pairs attempt twice stranger free-stranger never \
         start with after \
         send recv err-queue poll wait inq outq at-mark so-error shutdown rd wr rdwr dup fork close abort \
         destroy disconnect connect unhash rehash detach tls repair signal restart pause \
         vector batch uring splice tee file select epoll epoll-edge epoll-oneshot \
         cork nodelay nonblock oobinline keepalive tcp-inq zerocopy rcvbuf sndbuf rcvlowat peek-off \
         rcvtimeo sndtimeo busy-poll linger \
         dontwait more nosignal oob peek trunc waitall unmapped torn";
    for word in expected.split_whitespace() {
        assert!(words.contains(word), "no entry of the corpus has {word:?}");
    }
}
