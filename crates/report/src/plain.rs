//! What plain TCP does in the same scenario: the words that explain a finding.

use judge::Agreement;
use scenario::verdict::Doubt;
use scenario::{History, Scenario, Violation};

use crate::finding::FindingKey;
use crate::timeline::{returned, spent};

/// The same scenario on the same kernel, without pairing.
#[derive(Clone, Debug)]
pub struct Plain {
    /// What happened; `None` where the kernel died with it.
    pub history: Option<History>,
    /// What broke nevertheless, by the contract `tcp` without exemption.
    pub violations: Vec<Violation>,
    /// Why it could not be judged in full.
    pub doubt: Option<Doubt>,
}

impl Plain {
    /// What is to be said first of a violation that is not, or not only, the pairing's.
    #[must_use]
    pub fn alarm(&self, violation: &Violation) -> Option<String> {
        let key = FindingKey::of(violation);
        if self.violations.iter().any(|other| FindingKey::of(other) == key) {
            return Some(if violation.invariant.is_kernels_word() {
                "it is not the pairing: the kernel does this without it, too".to_owned()
            } else {
                "the oracle is wrong: plain TCP breaks this rule, too; report this".to_owned()
            });
        }
        let other = self.violations.first()?;
        let FindingKey { invariant, diagnosis } = FindingKey::of(other);
        Some(if invariant.is_kernels_word() {
            format!("the kernel has trouble without pairing, too: {invariant}: {diagnosis}")
        } else {
            format!(
                "the oracle is wrong: plain TCP breaks {invariant}: {diagnosis} here; report this"
            )
        })
    }

    /// One sentence on what plain TCP did: at the call that the violation is about, where there is one.
    pub(crate) fn sentence(
        &self,
        violation: &Violation,
        scenario: &Scenario,
        history: Option<&History>,
    ) -> String {
        let compared = history.zip(self.history.as_ref()).and_then(|(history, plain)| {
            let at = violation.record?;
            let found = judge::compare(scenario, history, plain).get(at).copied()??;
            Some((history.records.get(at)?, &plain.records[found.record], found.agreement))
        });
        let Some((own, plain, agreement)) = compared else {
            return format!("plain TCP on the same kernel {}", self.verdict());
        };
        let returned = returned(scenario, plain);
        if agreement == Agreement::Same {
            let (spent, own) = (spent(plain), spent(own));
            let verdict = self.verdict();
            format!("plain TCP {returned} there, too, in {spent} instead of {own}, and {verdict}")
        } else if own.op == plain.op {
            format!("plain TCP {returned} at the same call, on the same kernel")
        } else {
            format!("plain TCP {returned} at `{}` instead, on the same kernel", plain.op)
        }
    }

    /// All that is to be said, line by line.
    #[must_use]
    pub fn words(
        &self,
        violation: &Violation,
        scenario: &Scenario,
        history: Option<&History>,
    ) -> Vec<String> {
        let sentence = self.sentence(violation, scenario, history);
        self.alarm(violation).into_iter().chain([sentence]).collect()
    }

    fn verdict(&self) -> String {
        match (self.violations.first(), self.doubt) {
            (Some(violation), _) => {
                format!("breaks {}: {}", violation.invariant, violation.diagnosis)
            }
            (None, Some(doubt)) => format!("breaks no rule, as far as that can be told: {doubt}"),
            (None, None) => "passes".to_owned(),
        }
    }
}
