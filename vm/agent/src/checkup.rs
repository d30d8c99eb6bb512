//! What the scenarios left behind, once everything is closed.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use vm::wire::{Checkup, Depth, Pairs};

use crate::stock;

/// How long pairs may outlive their sockets: orphans wait for an answer of their peer, and memory for a grace period
/// of RCU.
const SETTLE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);
/// Pairs that may be about to end while the next scenario could run: waiting for each would cost a campaign a quarter of
/// its speed.
const ENDING: u64 = 8;
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// Only what is at least 5 s old when a scan begins is suspected (`jiffies_min_age` in `mm/kmemleak.c`).
const MIN_AGE: Duration = Duration::from_millis(5_500);
/// Bytes of kmemleak's words that are kept: some hundred suspects.
const LONGEST: usize = 64 << 10;

/// Looks at the counters of the target, where it has some, and for leaked memory, where that is wanted and the
/// kernel can.
pub fn run(counters: Option<&Path>, entries: impl Fn() -> Option<u64>, depth: Depth) -> Checkup {
    let mut checkup = Checkup::default();
    match counters.map(|counters| pairs(counters, depth)).transpose() {
        Ok(pairs) => checkup.pairs = pairs.flatten(),
        Err(error) => checkup.trouble = Some(format!("the target's counters: {error}")),
    }
    if depth >= Depth::Stock {
        match stock::take(entries) {
            Ok(stock) => checkup.stock = Some(stock),
            // a kernel without CONFIG_SLUB_DEBUG keeps it to itself
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::debug!("no stock: {error}");
            }
            Err(error) => checkup.trouble = Some(error.to_string()),
        }
    }
    let kmemleak = Path::new(KMEMLEAK);
    if depth == Depth::Memory && kmemleak.exists() {
        thread::sleep(MIN_AGE);
        match suspects(kmemleak) {
            Ok(text) => checkup.suspects = Some(text),
            Err(error) => checkup.trouble = Some(format!("{KMEMLEAK}: {error}")),
        }
    }
    checkup
}

fn pairs(counters: &Path, depth: Depth) -> io::Result<Option<Pairs>> {
    if depth == Depth::Glance && number(&counters.join("pairs"))? <= ENDING {
        return Ok(None);
    }
    settled(counters).map(Some)
}

/// The pairs that are left after some time; none, as soon as there are none.
fn settled(counters: &Path) -> io::Result<Pairs> {
    let end = Instant::now() + SETTLE;
    loop {
        let alive = number(&counters.join("pairs"))?;
        let pairs = Pairs { alive, memory: number(&counters.join("memory"))? };
        if pairs == Pairs::default() || Instant::now() > end {
            return Ok(pairs);
        }
        thread::sleep(PAUSE);
    }
}

fn number(file: &Path) -> io::Result<u64> {
    let about =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let text = fs::read_to_string(file).map_err(about)?;
    text.trim().parse().map_err(|_| about(io::ErrorKind::InvalidData.into()))
}

/// What two scans in a row find: an object that changed since the scan before is not suspected
/// (`update_checksum()`), so that the first finds nothing.
fn suspects(kmemleak: &Path) -> io::Result<String> {
    for _ in 0..2 {
        fs::write(kmemleak, "scan")?;
    }
    let mut text = fs::read(kmemleak)?;
    text.truncate(LONGEST);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn the_counters_are_read_and_waited_for() {
        let counters = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(counters.path().join(name), text).unwrap();
        write("pairs", "0\n");
        write("memory", "0\n");
        let begun = Instant::now();
        let clean = run(Some(counters.path()), || None, Depth::Counters);
        assert_eq!(clean.pairs, Some(Pairs::default()));
        write("pairs", "8\n");
        write("memory", "65536\n");
        assert_eq!(run(Some(counters.path()), || None, Depth::Glance).pairs, None);
        assert!(begun.elapsed() < SETTLE, "nothing was to be waited for");
        let left = run(Some(counters.path()), || None, Depth::Counters);
        assert_eq!(left.pairs, Some(Pairs { alive: 8, memory: 65_536 }));
        assert!(begun.elapsed() > SETTLE);
        write("pairs", "9\n");
        let left = run(Some(counters.path()), || None, Depth::Glance);
        assert_eq!(left.pairs, Some(Pairs { alive: 9, memory: 65_536 }));
        assert_eq!(run(None, || None, Depth::Counters), Checkup::default());
    }

    #[test_log::test]
    fn a_counter_that_cannot_be_read_is_trouble() {
        let counters = tempfile::tempdir().unwrap();
        let trouble = run(Some(counters.path()), || None, Depth::Counters).trouble.unwrap();
        assert!(trouble.contains("pairs"), "{trouble}");
        fs::write(counters.path().join("pairs"), "many").unwrap();
        assert!(run(Some(counters.path()), || None, Depth::Counters).trouble.is_some());
    }
}
