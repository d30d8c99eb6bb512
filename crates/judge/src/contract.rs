//! Contracts: which violations count.
//!
//! A contract is the whole set of invariants minus named exemptions. The exemptions are data
//! (`contracts/*.toml`), each with a reason and a source, so that what is tolerated can be reviewed
//! without reading code.

use std::sync::LazyLock;

use scenario::{Invariant, Violation};
use serde::Deserialize;

/// The contract of plain TCP in a SOCKHASH, which is the second reference.
pub const IN_SOCKHASH: &str = "sockhash";
/// The contracts that ship with the judge: name and data file.
const SHIPPED: &[(&str, &str)] = &[
    ("tcp", include_str!("../contracts/tcp.toml")),
    ("rfc-v1", include_str!("../contracts/rfc-v1.toml")),
    (IN_SOCKHASH, include_str!("../contracts/sockhash.toml")),
];

/// One tolerated deviation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    /// Its name.
    pub id: String,
    /// The invariant that it relaxes.
    pub invariant: Invariant,
    /// The ways of breaking it that are tolerated; empty means all.
    #[serde(default)]
    pub diagnoses: Vec<String>,
    /// Why it is tolerated.
    pub reason: String,
    /// Who says so.
    pub source: String,
}

impl Exemption {
    fn covers(&self, violation: &Violation) -> bool {
        self.invariant == violation.invariant
            && (self.diagnoses.is_empty() || self.diagnoses.contains(&violation.diagnosis))
    }
}

/// A named set of invariants with its exemptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    name: String,
    exemptions: Vec<Exemption>,
}

/// A contract that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// No contract has this name.
    #[error("no contract is called {0:?}; there are tcp, rfc-v1 and sockhash")]
    Unknown(String),
    /// The data file is not what it should be.
    #[error("the exemptions of contract {name:?} cannot be read")]
    Malformed {
        /// The contract.
        name: String,
        /// What is wrong with its file.
        #[source]
        source: toml::de::Error,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    exemption: Vec<Exemption>,
}

impl Contract {
    /// Linux TCP's behaviour, without exemption.
    #[must_use]
    pub fn tcp() -> Contract {
        Contract { name: "tcp".to_owned(), exemptions: Vec::new() }
    }

    /// `tcp` minus what the posted series documents that it does not do.
    ///
    /// # Panics
    /// If the embedded data file is malformed, which a test rules out.
    #[must_use]
    pub fn rfc_v1() -> Contract {
        Contract::by_name("rfc-v1").expect("the shipped contracts are well-formed")
    }

    /// The contract of plain TCP in a SOCKHASH.
    pub(crate) fn in_sockhash() -> &'static Contract {
        static SOCKHASH: LazyLock<Contract> = LazyLock::new(|| {
            Contract::by_name(IN_SOCKHASH).expect("the shipped contracts are well-formed")
        });
        &SOCKHASH
    }

    /// The shipped contract of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_name(name: &str) -> Result<Contract, ContractError> {
        let (_, text) = SHIPPED
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| ContractError::Unknown(name.to_owned()))?;
        Contract::from_toml(name, text)
    }

    /// A contract with the exemptions of a data file.
    ///
    /// # Errors
    /// When the text is not a list of exemptions.
    pub fn from_toml(name: &str, text: &str) -> Result<Contract, ContractError> {
        let file: File = toml::from_str(text)
            .map_err(|source| ContractError::Malformed { name: name.to_owned(), source })?;
        Ok(Contract { name: name.to_owned(), exemptions: file.exemption })
    }

    /// The same contract, but with one more invariant tolerated altogether.
    #[must_use]
    pub fn allow(mut self, invariant: Invariant) -> Contract {
        self.exemptions.push(Exemption {
            id: format!("allow-{invariant}"),
            invariant,
            diagnoses: Vec::new(),
            reason: "allowed for this run".to_owned(),
            source: "--allow".to_owned(),
        });
        self
    }

    /// The contract's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it tolerates.
    #[must_use]
    pub fn exemptions(&self) -> &[Exemption] {
        &self.exemptions
    }

    /// The exemption that tolerates this violation, if one does.
    #[must_use]
    pub fn exemption(&self, violation: &Violation) -> Option<&Exemption> {
        self.exemptions.iter().find(|e| e.covers(violation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn every_shipped_contract_reads_and_tcp_tolerates_nothing() {
        for (name, _) in SHIPPED {
            let contract = Contract::by_name(name).unwrap();
            assert!(contract.exemptions().iter().all(|e| !e.reason.is_empty()));
        }
        assert_eq!(Contract::by_name("tcp").unwrap(), Contract::tcp());
        assert!(matches!(Contract::by_name("udp"), Err(ContractError::Unknown(_))));
    }

    #[test_log::test]
    fn rfc_v1_tolerates_the_documented_deviations_and_nothing_else() {
        let contract = Contract::rfc_v1();
        let violation = |invariant, diagnosis: &str| Violation {
            invariant,
            diagnosis: diagnosis.to_owned(),
            record: None,
            evidence: String::new(),
        };
        for (invariant, diagnosis) in [
            (Invariant::Peek, "eagain-with-bytes-deliverable"),
            (Invariant::Inq, "less-than-deliverable"),
            (Invariant::Backpressure, "more-than-the-buffers-hold"),
        ] {
            assert!(contract.exemption(&violation(invariant, diagnosis)).is_some());
        }
        for (invariant, diagnosis) in [
            (Invariant::Peek, "consumed"),
            (Invariant::Inq, "more-than-accepted"),
            (Invariant::Order, "later-bytes-first"),
        ] {
            assert!(contract.exemption(&violation(invariant, diagnosis)).is_none());
        }
        let lax = contract.allow(Invariant::Order);
        assert!(lax.exemption(&violation(Invariant::Order, "later-bytes-first")).is_some());
    }
}
