//! What the series claims, and which violations contradict it: data (`claims.toml`), so that it can be reviewed without
//! reading code.

use std::sync::LazyLock;

use scenario::Invariant;
use serde::Deserialize;

static SHIPPED: LazyLock<File> = LazyLock::new(|| {
    toml::from_str(include_str!("../claims.toml")).expect("the shipped claims are well-formed")
});

/// One claim of the series.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its number, such as `C6`.
    pub id: String,
    /// What it says, in a few words.
    pub says: String,
    contradicted_by: Vec<Rule>,
}

/// A rule, or one way of breaking it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Rule {
    invariant: Invariant,
    diagnosis: Option<String>,
}

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(text: String) -> Result<Rule, String> {
        let (invariant, diagnosis) = match text.split_once('/') {
            Some((invariant, diagnosis)) => (invariant, Some(diagnosis.to_owned())),
            None => (text.as_str(), None),
        };
        let invariant =
            invariant.parse().map_err(|_| format!("no invariant is called {invariant:?}"))?;
        Ok(Rule { invariant, diagnosis })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    claim: Vec<Claim>,
}

/// All claims, by their numbers.
///
/// # Panics
/// If the embedded data file is malformed, which a test rules out.
#[must_use]
pub fn claims() -> &'static [Claim] {
    &SHIPPED.claim
}

/// The claims that a violation contradicts, the most specific first: those that name its diagnosis, then those that
/// name its rule, in the order of their numbers.
///
/// # Panics
/// As [`claims`].
#[must_use]
pub fn contradicted(invariant: Invariant, diagnosis: &str) -> Vec<&'static Claim> {
    let mut found: Vec<(bool, &Claim)> = Vec::new();
    for claim in claims() {
        let rules = claim.contradicted_by.iter().filter(|rule| rule.invariant == invariant);
        let fitting = rules.filter(|rule| rule.diagnosis.as_deref().is_none_or(|d| d == diagnosis));
        let is_general = fitting.map(|rule| rule.diagnosis.is_none()).min();
        found.extend(is_general.map(|is_general| (is_general, claim)));
    }
    found.sort_by_key(|(is_general, _)| *is_general);
    found.into_iter().map(|(_, claim)| claim).collect()
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    fn ids(invariant: Invariant, diagnosis: &str) -> Vec<&'static str> {
        contradicted(invariant, diagnosis).iter().map(|claim| claim.id.as_str()).collect()
    }

    #[test_log::test]
    fn the_claims_are_numbered() {
        let ids: Vec<_> = claims().iter().map(|claim| claim.id.clone()).collect();
        assert_eq!(ids, (1..=16).map(|number| format!("C{number}")).collect::<Vec<_>>());
        assert!(claims().iter().all(|claim| !claim.says.is_empty()));
    }

    #[test_log::test]
    fn every_rule_contradicts_a_claim_but_one() {
        for invariant in Invariant::iter() {
            let contradicts = !ids(invariant, "any").is_empty();
            let is_declared = contradicts != (invariant == Invariant::Splat);
            assert!(is_declared, "{invariant}: say in claims.toml what it contradicts");
        }
    }

    #[test_log::test]
    fn the_most_specific_claim_comes_first() {
        assert_eq!(ids(Invariant::Order, "later-bytes-first"), ["C6", "C16"]);
        assert_eq!(ids(Invariant::CrossTalk, "earlier-connection"), ["C14", "C6", "C16"]);
        assert_eq!(ids(Invariant::CrossTalk, "other-pair"), ["C6", "C16"]);
        assert_eq!(ids(Invariant::Peek, "consumed"), ["C16"]);
        assert_eq!(ids(Invariant::Splat, "any"), [""; 0]);
    }

    #[test_log::test]
    fn a_diagnosis_that_a_claim_names_is_one_of_the_judges() {
        let sources = [
            include_str!("calls/stuck.rs"),
            include_str!("calls/recv.rs"),
            include_str!("data.rs"),
            include_str!("teardown.rs"),
        ];
        let rules = claims().iter().flat_map(|claim| &claim.contradicted_by);
        for diagnosis in rules.filter_map(|rule| rule.diagnosis.as_deref()) {
            let quoted = format!("{diagnosis:?}");
            assert!(sources.iter().any(|source| source.contains(&quoted)), "{diagnosis}");
        }
    }
}
