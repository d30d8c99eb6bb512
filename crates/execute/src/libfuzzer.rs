//! Where libFuzzer looks for what an execution has reached.
//!
//! libFuzzer takes every byte of the section `__libfuzzer_extra_counters` for a counter like those of its own
//! instrumentation (`FuzzerExtraCounters.cpp`), and clears them before each execution.

use std::sync::atomic::{AtomicU8, Ordering};

/// How many counters there are: more than points in the code under test. libFuzzer goes through all of them for each
/// execution. It tells 262,144 apart, of which the program's own take some.
pub const LEN: u32 = 1 << 15;

// SAFETY: libFuzzer reads and clears this section as bytes, whose every value is good, and does so between executions.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
// nothing here reads it
#[used]
static COUNTERS: Counters = Counters([const { AtomicU8::new(0) }; LEN as usize]);

/// libFuzzer clears eight at a time.
#[repr(align(8))]
struct Counters([AtomicU8; LEN as usize]);

/// Sets a counter: how often this execution reached what it stands for.
///
/// # Panics
/// If `at` is [`LEN`] or more.
pub fn count(at: u32, times: u8) {
    COUNTERS.0[at as usize].store(times, Ordering::Relaxed);
}

/// Forgets what of the program itself was reached since the execution began: cargo-fuzz instruments the harness, too,
/// whose edges would drown the kernel's. Does nothing in a program that is not built by cargo-fuzz.
pub fn forget_harness() {
    #[cfg(fuzzing)]
    instrumented::clear();
}

/// The counters of the instrumentation, which the linker names the ends of.
#[cfg(fuzzing)]
mod instrumented {
    use std::ptr;

    unsafe extern "C" {
        static mut __start___sancov_cntrs: u8;
        static mut __stop___sancov_cntrs: u8;
    }

    pub(super) fn clear() {
        let (start, end) = (&raw mut __start___sancov_cntrs, &raw mut __stop___sancov_cntrs);
        let len = end.addr() - start.addr();
        // SAFETY: both are ends of one section of bytes, which no reference points to; other threads, which are idle now,
        // may at worst lose a count
        unsafe { ptr::write_bytes(start, 0, len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn counters_hold_what_was_counted() {
        count(LEN - 1, 7);
        assert_eq!(COUNTERS.0[LEN as usize - 1].load(Ordering::Relaxed), 7);
    }
}
