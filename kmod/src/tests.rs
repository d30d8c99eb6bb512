//! What holds for the embedded sources and their faults.

use std::collections::{BTreeMap, BTreeSet};

use strum::IntoEnumIterator as _;

use super::*;
use scenario::Invariant;

/// Invariants that no fault is planted for, and why.
const NOT_PLANTED: &[(Invariant, &str)] = &[(
    Invariant::Vectored,
    "import_iovec() makes one iov_iter of all parts before the module is called, so that none of its \
         own places can tell them from a flat message",
)];

/// A fault whose texts are put together from several literals, among comments.
const WHOLE: &str = "/* SPDX-License-Identifier: GPL-2.0-only */\n// FAULT(no, \"\", \"\")\n\
                     FAULT(tcp_first, \"takes \" /* not\nthis */ \"TCP's \\\"bytes\\\"\",\n\
                     \t\"order loss\")\nFAULT(spin,\"x\",\"spin\")\n";

#[test_log::test]
fn a_list_is_read() {
    let faults = fault::parse(WHOLE).unwrap();
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[0].name, "tcp_first");
    assert_eq!(faults[0].breaks, "takes TCP's \"bytes\"");
    assert_eq!(faults[0].seen_by, [Invariant::Order, Invariant::Loss]);
    assert_eq!(faults[1].to_string(), "spin: x (spin)");
    assert_eq!(fault::parse("/* nothing */"), Ok(Vec::new()));
}

#[test_log::test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, line, words) in [
        ("FAULT(a, \"b\", \"order\")\nFAULT(a, \"b\", \"order\")", 2, "twice"),
        ("\nFAULT(a, \"b\", \"ordre\")", 2, "\"ordre\" is no invariant"),
        ("FAULT(a, \"b\")", 1, "',' is due"),
        ("FAULT(a, \"\", \"order\")", 1, "lacks what it breaks"),
        ("FAULT(a, \"b\", \"\")", 1, "lacks"),
        ("FAULT(, \"b\", \"order\")", 1, "a name is due"),
        ("FAULTS(a)", 1, "\"FAULTS\" is no entry"),
        ("FAULT(a, \"b\n\", \"order\")", 2, "the string has no end"),
        ("FAULT(a, \"b\", \"order\"", 1, "the file ends"),
        ("\n/* never ends\n\n", 2, "add */"),
        ("/ x", 1, "a lone '/'"),
    ] {
        let error = fault::parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.message.contains(words), "{text:?}: {error}");
    }
}

#[test_log::test]
fn the_module_is_all_there() {
    let kbuild = source("Kbuild");
    assert!(kbuild.contains(&format!("obj-m := {NAME}.o")), "{kbuild}");
    for (name, _) in SOURCES.iter().filter(|(name, _)| name.ends_with(".c")) {
        let object = name.replace(".c", ".o");
        assert!(kbuild.split_whitespace().any(|word| word == object), "{object} is not in Kbuild");
    }
    assert_eq!(COUNTERS, format!("/sys/module/{NAME}/parameters"));
    assert!(SOURCES.iter().any(|(_, text)| text.contains(&format!("{KFUNC}("))));
}

#[test_log::test]
fn the_faults_are_many_and_cover_the_contract() {
    let faults = faults();
    assert!(faults.len() >= 30, "only {} faults", faults.len());
    let covered: BTreeSet<Invariant> =
        faults.iter().flat_map(|fault| fault.seen_by.iter().copied()).collect();
    for invariant in Invariant::iter() {
        let excuse = NOT_PLANTED.iter().find(|(excused, _)| *excused == invariant);
        match (covered.contains(&invariant), excuse) {
            (false, None) => panic!("no fault is to be seen by {invariant}: plant one"),
            (true, Some((_, why))) => panic!("{invariant} is seen, so this is wrong: {why}"),
            _ => {}
        }
    }
}

#[test_log::test]
fn every_fault_is_planted_and_every_planted_one_is_listed() {
    let mut planted: BTreeMap<String, usize> = BTreeMap::new();
    for (_, text) in SOURCES.iter().filter(|(name, _)| !name.ends_with(".def")) {
        for name in used(&without_comments(text)) {
            *planted.entry(name).or_default() += 1;
        }
    }
    for fault in faults() {
        assert!(planted.remove(&fault.name).is_some(), "fault({}) is nowhere", fault.name);
    }
    assert!(planted.is_empty(), "not in faults.def: {planted:?}");
}

/// The names in `fault(NAME)`, but for those of preprocessor lines.
fn used(code: &str) -> Vec<String> {
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim().starts_with('#')).collect();
    let code = lines.join("\n");
    code.match_indices("fault(")
        .filter(|(at, _)| {
            let before = code[..*at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
        })
        .filter_map(|(at, word)| code[at + word.len()..].split_once(')'))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    code + rest
}

#[test_log::test]
fn planted_faults_are_found_in_code_alone() {
    let code =
        "/* fault(a) */\n#define fault(name) x(name)\nif (fault(b) || default(c) || !fault(\n\td))";
    assert_eq!(used(&without_comments(code)), ["b", "d"]);
}
