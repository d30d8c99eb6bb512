//! The lists, compiled.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::SplatKind;

/// The lists that this build was made with.
pub(super) static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    Policy::parse(
        include_str!("../../splats/deny.txt"),
        include_str!("../../splats/allow.txt"),
        include_str!("../../splats/frames.txt"),
    )
    .expect("the lists are part of the source and tested")
});

pub(super) struct Policy {
    kinds: Vec<SplatKind>,
    deny: RegexSet,
    allow: RegexSet,
    frames: RegexSet,
}

/// Lines that say something. Spaces at the end belong to the pattern.
fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

impl Policy {
    fn parse(deny: &str, allow: &str, frames: &str) -> Result<Policy, String> {
        let (mut kinds, mut patterns) = (Vec::new(), Vec::new());
        for line in entries(deny) {
            let (kind, pattern) =
                line.split_once(' ').ok_or_else(|| format!("no pattern: {line}"))?;
            kinds.push(kind.parse().map_err(|_| format!("no such kind: {line}"))?);
            patterns.push(pattern.trim_start());
        }
        let set = |patterns: Vec<&str>| RegexSet::new(patterns).map_err(|e| e.to_string());
        Ok(Policy {
            kinds,
            deny: set(patterns)?,
            allow: set(entries(allow).collect())?,
            frames: set(entries(frames).collect())?,
        })
    }

    /// The kind of complaint that a message, without its timestamp, opens.
    pub(super) fn classify(&self, message: &str) -> Option<SplatKind> {
        let first = self.deny.matches(message).iter().next()?;
        (!self.allow.is_match(message)).then(|| self.kinds[first])
    }

    /// Whether a function only reports or waits.
    pub(super) fn is_bystander(&self, function: &str) -> bool {
        self.frames.is_match(function)
    }
}

/// `[   12.345678]` and, with `CONFIG_PRINTK_CALLER`, `[  T123]` behind it.
static STAMP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:<\d+>)?\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? ?").expect("a constant")
});

/// A console line without the kernel's timestamp; `None` for what the kernel did not print.
pub(super) fn message(line: &str) -> Option<&str> {
    STAMP.find(line).map(|stamp| &line[stamp.end()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn the_first_pattern_names_the_kind() {
        let kind = |message| POLICY.classify(message);
        assert_eq!(kind("BUG: KASAN: slab-use-after-free in f+0x1/0x2"), Some(SplatKind::Kasan));
        assert_eq!(kind("BUG: something new"), Some(SplatKind::Bug));
        assert_eq!(kind("WARNING: suspicious RCU usage"), Some(SplatKind::Lockdep));
        assert_eq!(kind("WARNING: Spectre v2 mitigation leaves CPU vulnerable"), None);
        assert_eq!(kind("TCP: Hash tables configured"), None);
    }

    #[test_log::test]
    fn a_bad_list_is_refused() {
        assert!(Policy::parse("nosuchkind x", "", "").is_err());
        assert!(Policy::parse("warning", "", "").is_err());
        assert!(Policy::parse("warning (", "", "").is_err());
    }

    #[test_log::test]
    fn only_the_kernel_writes_timestamps() {
        assert_eq!(message("[    1.000001] WARNING: x"), Some("WARNING: x"));
        assert_eq!(message("[    1.000001][   T12] x"), Some("x"));
        assert_eq!(message("WARNING: x"), None);
    }
}
