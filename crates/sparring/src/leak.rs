//! What a checkup says about leaks.

use scenario::{Invariant, Violation};
use vm::splat::{Splat, SplatKind};
use vm::wire::Checkup;

/// The violations that a checkup shows, each with the kernel's words about it.
pub fn violations(checkup: &Checkup) -> Vec<(Violation, String)> {
    let mut found = Vec::new();
    if let Some(pairs) = checkup.pairs {
        let left = format!("{} pairs and {} bytes", pairs.alive, pairs.memory);
        let evidence = format!(
            "with every socket closed, and after some seconds, {left} are left by the target's own counters"
        );
        if pairs.alive > 0 {
            found.push((
                leak(Invariant::LeakObject, "pairs-outlive-their-sockets", evidence),
                String::new(),
            ));
        } else if pairs.memory > 0 {
            found.push((
                leak(Invariant::LeakMemory, "memory-outlives-its-pair", evidence),
                String::new(),
            ));
        }
    }
    if let Some(text) = checkup.suspects.as_ref().filter(|text| !text.is_empty()) {
        let suspects = text.lines().filter(|line| line.starts_with("unreferenced object")).count();
        let evidence = format!(
            "with every socket closed, kmemleak finds {suspects} objects that nothing refers to"
        );
        found.push((leak(Invariant::LeakMemory, "suspected-by-kmemleak", evidence), text.clone()));
    }
    found
}

/// Whether it only announces what a checkup reads in full (`kmemleak_scan()` in `mm/kmemleak.c`).
pub fn is_announcement(splat: &Splat) -> bool {
    splat.kind == SplatKind::Leak && splat.headline.starts_with("kmemleak: ")
}

fn leak(invariant: Invariant, diagnosis: &str, evidence: String) -> Violation {
    Violation { invariant, diagnosis: diagnosis.to_owned(), record: None, evidence }
}

#[cfg(test)]
mod tests {
    use vm::wire::Pairs;

    use super::*;

    fn found(checkup: &Checkup) -> Vec<(Invariant, String)> {
        let name = |(violation, _): (Violation, String)| (violation.invariant, violation.diagnosis);
        violations(checkup).into_iter().map(name).collect()
    }

    #[test_log::test]
    fn nothing_left_is_no_leak() {
        assert_eq!(found(&Checkup::default()), []);
        let clean =
            Checkup { pairs: Some(Pairs::default()), suspects: Some(String::new()), trouble: None };
        assert_eq!(found(&clean), []);
    }

    #[test_log::test]
    fn pairs_and_memory_that_are_left_are_told_apart() {
        let left =
            |alive, memory| Checkup { pairs: Some(Pairs { alive, memory }), ..Checkup::default() };
        let object = (Invariant::LeakObject, "pairs-outlive-their-sockets".to_owned());
        assert_eq!(found(&left(1, 32_768)), [object]);
        let memory = (Invariant::LeakMemory, "memory-outlives-its-pair".to_owned());
        assert_eq!(found(&left(0, 32_768)), [memory]);
    }

    #[test_log::test]
    fn what_kmemleak_suspects_is_counted_and_shown() {
        let text = "unreferenced object 0xffff888003a1c000 (size 64):\n  comm \"sparring-agent\"\n\
                    unreferenced object 0xffff888003a1c100 (size 64):\n  comm \"sparring-agent\"\n";
        let checkup = Checkup { suspects: Some(text.into()), ..Checkup::default() };
        let [(violation, console)] = &violations(&checkup)[..] else { panic!("not one") };
        assert_eq!(violation.invariant, Invariant::LeakMemory);
        assert!(violation.evidence.contains("finds 2 objects"), "{}", violation.evidence);
        assert_eq!(console, text);
    }
}
