//! What the kernel holds, by the accounts of its allocators.
//!
//! Caches between an allocator and its users would make these counts vary by hundreds: they are emptied before
//! anything is counted.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use vm::wire::{Holding, Stock};

/// How long what is about to be freed may take: memory waits for a grace period of RCU, and what it held for the next
/// one. A count that does not fall any more is taken before.
const SETTLE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);
/// `PAGE_SIZE` of x86-64.
const PAGE: u64 = 4_096;
/// Connections in TIME_WAIT and the ports that they keep: a minute's worth of them is meant to be there
/// (`TCP_TIMEWAIT_LEN`).
const TIME_WAIT: [&str; 3] = ["tw_sock_", "tcp_bind_bucket", "tcp_bind2_bucket"];
/// What debugging notes about other objects, and keeps in pools of its own (mm/kmemleak.c, lib/debugobjects.c).
const NOTES: [&str; 2] = ["kmemleak_", "debug_objects_"];
/// Pages of `/proc/meminfo` that are no target's: what user space and files have, and the stacks and page tables of
/// its threads.
const ELSEWHERE: [&str; 7] =
    ["MemFree", "Buffers", "Cached", "AnonPages", "PageTables", "KernelStack", "Percpu"];

/// Counts what the kernel holds, once that does not fall any more. `entries` counts those of our SOCKHASH.
///
/// # Errors
/// Where the kernel does not tell.
pub fn take(entries: impl Fn() -> Option<u64>) -> io::Result<Stock> {
    let end = Instant::now() + SETTLE;
    let mut before = count(&entries)?;
    loop {
        thread::sleep(PAUSE);
        let now = count(&entries)?;
        let falls = now.0.iter().any(|(what, n)| before.0.get(what).is_some_and(|old| n < old));
        if !falls || Instant::now() > end {
            return Ok(now);
        }
        before = now;
    }
}

fn count(entries: &impl Fn() -> Option<u64>) -> io::Result<Stock> {
    shrink(Path::new("/sys/kernel/slab"));
    // counts of a processor that were not yet added to the others' (vmstat_refresh() in mm/vmstat.c)
    let _ = fs::write("/proc/sys/vm/stat_refresh", "1");
    let meminfo = read("/proc/meminfo")?;
    let slabinfo = read("/proc/slabinfo")?;
    let zoneinfo = read("/proc/zoneinfo")?;
    let mut stock = slabs(&slabinfo);
    let bytes = |name| field(&meminfo, name).map(|kib| kib << 10);
    stock.extend(bytes("Percpu").map(|bytes| (Holding::PerCpu, bytes)));
    stock.insert(Holding::Pages, pages(&meminfo, &slabinfo, &zoneinfo));
    stock.extend(entries().map(|entries| (Holding::MapEntries, entries)));
    stock.extend(modules(Path::new("/sys/module"))?);
    Ok(Stock(stock))
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))
}

/// Has every slab cache free what nobody uses (`shrink_store()` in mm/slub.c). A kernel without that is counted with
/// its caches full.
fn shrink(caches: &Path) {
    for cache in fs::read_dir(caches).into_iter().flatten().flatten() {
        let _ = fs::write(cache.path().join("shrink"), "1");
    }
}

/// Objects in use, by cache (slabinfo(5)).
fn slabs(slabinfo: &str) -> BTreeMap<Holding, u64> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        let objects = words.next()?.parse().ok()?;
        let counts = !TIME_WAIT.iter().chain(&NOTES).any(|prefix| name.starts_with(prefix));
        counts.then(|| (Holding::Slab(name.to_owned()), objects))
    };
    slabinfo.lines().filter_map(line).collect()
}

/// Bytes of pages that are in no other account: rings and buffers that are too large for a slab cache.
fn pages(meminfo: &str, slabinfo: &str, zoneinfo: &str) -> u64 {
    let kib = |name| field(meminfo, name).unwrap_or(0);
    let elsewhere: u64 = ELSEWHERE.into_iter().map(kib).sum();
    let used = kib("MemTotal").saturating_sub(elsewhere) << 10;
    used.saturating_sub((slab_pages(slabinfo) + waiting_pages(zoneinfo)) * PAGE)
}

/// Pages of slab caches: `Slab` in `/proc/meminfo` has large allocations in it, too (`___kmalloc_large_node()`).
fn slab_pages(slabinfo: &str) -> u64 {
    let line = |line: &str| {
        let (front, back) = line.split_once(" : slabdata ")?;
        let each: u64 =
            front.rsplit_once(": tunables")?.0.split_ascii_whitespace().nth(5)?.parse().ok()?;
        let slabs: u64 = back.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(each * slabs)
    };
    slabinfo.lines().filter_map(line).sum()
}

/// Free pages that a processor keeps for itself; `MemFree` does not count them.
fn waiting_pages(zoneinfo: &str) -> u64 {
    let line = |line: &str| line.trim().strip_prefix("count:")?.trim().parse::<u64>().ok();
    zoneinfo.lines().filter_map(line).sum()
}

/// `Name:   123 kB`
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// References on modules; those that are built in have no such file.
fn modules(directory: &Path) -> io::Result<BTreeMap<Holding, u64>> {
    let mut references = BTreeMap::new();
    for module in fs::read_dir(directory)?.flatten() {
        let count = fs::read_to_string(module.path().join("refcnt")).ok();
        if let Some(count) = count.and_then(|count| count.trim().parse().ok()) {
            let name = module.file_name().to_string_lossy().into_owned();
            references.insert(Holding::Module(name), count);
        }
    }
    Ok(references)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLABINFO: &str = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> \
<sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
TCP                    7     13   2432   13    8 : tunables    0    0    0 : slabdata      1      1      0
tw_sock_TCP          900    900    272   15    1 : tunables    0    0    0 : slabdata     60     60      0
tcp_bind2_bucket      90    128    128   32    1 : tunables    0    0    0 : slabdata      4      4      0
kmemleak_object      140    140    288   14    1 : tunables    0    0    0 : slabdata     10     10      0
kmalloc-1k           183    184   1024    8    2 : tunables    0    0    0 : slabdata     23     23      0
";
    const MEMINFO: &str = "\
MemTotal:           2000 kB
MemFree:             400 kB
Buffers:               0 kB
Cached:              100 kB
SwapCached:            7 kB
AnonPages:            50 kB
Percpu:              240 kB
";
    const ZONEINFO: &str = "  pagesets\n    cpu: 0\n              count: 3\n              high: 9\n    cpu: 1\n              \
                            count: 2\n";

    #[test_log::test]
    fn slab_caches_are_counted_but_for_time_wait_and_notes() {
        let slab = |name: &str| Holding::Slab(name.to_owned());
        let expected = BTreeMap::from([(slab("TCP"), 7), (slab("kmalloc-1k"), 183)]);
        assert_eq!(slabs(SLABINFO), expected);
    }

    #[test_log::test]
    fn pages_are_what_is_in_no_other_account() {
        assert_eq!(field(MEMINFO, "Percpu"), Some(240));
        assert_eq!(field(MEMINFO, "Mem"), None);
        assert_eq!(slab_pages(SLABINFO), 8 + 60 + 4 + 10 + 46);
        assert_eq!(waiting_pages(ZONEINFO), 5);
        let expected = ((2_000 - 400 - 100 - 50 - 240) << 10) - (128 + 5) * PAGE;
        assert_eq!(pages(MEMINFO, SLABINFO, ZONEINFO), expected);
    }

    #[test_log::test]
    fn modules_without_references_to_count_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("builtin")).unwrap();
        fs::create_dir(directory.path().join("ring")).unwrap();
        fs::write(directory.path().join("ring/refcnt"), "3\n").unwrap();
        let expected = BTreeMap::from([(Holding::Module("ring".to_owned()), 3)]);
        assert_eq!(modules(directory.path()).unwrap(), expected);
    }
}
