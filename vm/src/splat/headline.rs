//! What a complaint is called, whenever and wherever it happens.

use std::sync::LazyLock;

use regex::Regex;

use super::SplatKind;
use super::policy::POLICY;

/// What differs from one time to the next, and what to put there.
static PASSING: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        // WARNING: net/core/sock.c:1 at f+0x1/0x2, CPU#0: comm/12
        (r", CPU#\d+.*$", ""),
        (r"CPU: \d+ (UID: \d+ )?PID: \d+( Comm:? \S+)? ?(at )?", ""),
        // Oops: general protection fault, probably for non-canonical address 0x…: 0000 [#1] SMP
        (r", (probably|maybe) for (non-canonical )?address .*$", ""),
        // BUG: scheduling while atomic: comm/12/0x00000002
        (r": \S+/\d+/0x[0-9a-f]+", ""),
        // WARNING: net/core/stream.c:205, UBSAN: … in net/core/sock.c:12:3; the next tree has it some lines further down
        (r"(\.[chS]):\d+(:\d+)?", "$1"),
        (r" \(((Not t|T)ainted)[^)]*\)", ""),
        (r" \((next|prev)=[^)]*\)", ""),
        // f+0x12/0x34, f.isra.0, f.constprop.0
        (r"\+0x[0-9a-f]+/0x[0-9a-f]+", ""),
        (r"\.(isra|constprop|part|cold|llvm)(\.\d+)?\b", ""),
        (r",? (at )?(address|addr):? (0x)?[0-9a-f]{8,16}", ""),
        (r" at (virtual address )?(0x)?[0-9a-f]{8,16}", ""),
        (r" 0x[0-9a-f]+: ?[0-9a-f]{4}( \[#\d+\])?.*$", ""),
        (r"(: [0-9a-f]{4})? \[#\d+\].*$", ""),
        (r"task \S+:\d+", "task"),
        (r"\btask \S+/\d+\b", "task"),
        (r"( by)? \[?\S+/\d+\]?$", ""),
        (r" (for (more than )?)?\d+(\.\d+)? ?s(econds)?[.!]?( \[[^\]]*\])?", ""),
        (r" ?- CPU#\d+ stuck| on CPU#? ?\d+| CPU#\d+", ""),
        (r": \d+ new suspected", ": new suspected"),
        (r" \(see /sys.*$", ""),
        (r"\b(0x)?[0-9a-f]{12,16}\b", "ADDRESS"),
        (r"process \S+( |$)", "process "),
        // rcu: rcu_preempt kthread starved for 21003 jiffies! g1017 f0x2 RCU_GP_WAIT_FQS(5) ->state=0x200 ->cpu=1
        (r"(starved|happen) for \d+ jiffies!.*$", "$1"),
        (r"\bpfn:[0-9a-f]+", ""),
    ]
    .into_iter()
    .map(|(pattern, with)| (Regex::new(pattern).expect("a constant"), with))
    .collect()
});

/// A function with its offset, in a stack trace, after `RIP:` or lockdep's `at:`.
static FRAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^ +|^RIP: \w+:| at: |lock_name at )([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+")
        .expect("a constant")
});

static SUFFIX: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\.(isra|constprop|part|cold|llvm).*$").expect("a constant"));

/// The headline of a report, from its header and all of its messages.
pub(super) fn headline(kind: SplatKind, header: &str, messages: &[&str]) -> String {
    let mut line = header.trim_end().to_owned();
    for (pattern, with) in PASSING.iter() {
        line = pattern.replace_all(&line, *with).into_owned();
    }
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match site(messages) {
        Some(function) if !names_its_site(kind) && !line.contains(&function) => {
            format!("{line} in {function}")
        }
        _ => line,
    }
}

/// Whether the header itself says where, so that a guess from the stack adds nothing.
fn names_its_site(kind: SplatKind) -> bool {
    use SplatKind::{Kasan, Kcsan, Kfence, Kmsan, Leak, Warning};
    matches!(kind, Kasan | Kcsan | Kfence | Kmsan | Leak | Warning)
}

/// The first function that is to blame. Frames with `? ` are leftovers on the stack.
fn site(messages: &[&str]) -> Option<String> {
    messages
        .iter()
        .filter_map(|message| FRAME.captures(message))
        .map(|found| SUFFIX.replace(&found[1], "").into_owned())
        .find(|function| !POLICY.is_bystander(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn what_changes_from_time_to_time_is_left_out() {
        let of = |kind, header| headline(kind, header, &[]);
        for (kind, header, wanted) in [
            (
                SplatKind::Warning,
                "WARNING: net/core/stream.c:205 at sk_stream_kill_queues+0x10/0x20, CPU#0: agent/77",
                "WARNING: net/core/stream.c at sk_stream_kill_queues",
            ),
            (
                SplatKind::Warning,
                "WARNING: CPU: 1 PID: 77 at net/core/stream.c:205 sk_stream_kill_queues+0x10/0x20 [m]",
                "WARNING: net/core/stream.c sk_stream_kill_queues [m]",
            ),
            (
                SplatKind::Ubsan,
                "UBSAN: array-index-out-of-bounds in net/ipv4/tcp.c:12:3",
                "UBSAN: array-index-out-of-bounds in net/ipv4/tcp.c",
            ),
            (
                SplatKind::Oops,
                "BUG: kernel NULL pointer dereference, address: 0000000000000010",
                "BUG: kernel NULL pointer dereference",
            ),
            (
                SplatKind::Oops,
                "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000001: 0000 [#1] SMP",
                "Oops: general protection fault",
            ),
            (
                SplatKind::HungTask,
                "INFO: task sparring-agent:77 blocked for more than 15 seconds.",
                "INFO: task blocked",
            ),
            (
                SplatKind::Lockup,
                "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [sparring-agent:77]",
                "watchdog: BUG: soft lockup",
            ),
            (
                SplatKind::Leak,
                "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
                "kmemleak: new suspected memory leaks",
            ),
        ] {
            assert_eq!(of(kind, header), wanted);
        }
    }

    #[test_log::test]
    fn the_site_is_the_first_frame_that_neither_reports_nor_is_stale() {
        let messages = [
            "RIP: 0010:refcount_warn_saturate+0x1/0x2",
            " <TASK>",
            " ? sk_free+0x1/0x2",
            " tcp_close.part.0+0x5/0x6",
        ];
        assert_eq!(
            headline(SplatKind::Refcount, "refcount_t: underflow; use-after-free.", &messages),
            "refcount_t: underflow; use-after-free. in tcp_close"
        );
    }
}
