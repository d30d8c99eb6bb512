//! `pair-result`, `engaged`: what became of the pairing itself.
//!
//! Source: claims C1 and C2 of the series. The side whose program runs last finds its peer and pairs; the
//! other one then finds itself paired already.

use scenario::history::{Errno, Pairing};
use scenario::{Attempt, Endpoint, Invariant};

use crate::model::Model;

const EEXIST: i32 = 17;
const ENOENT: i32 = 2;
const EINVAL: i32 = 22;
const ENOMEM: i32 = 12;

pub(crate) fn judge(model: &mut Model<'_>) {
    let Pairing::Asked { results, updates, further } = model.its().pairing else {
        return;
    };
    let in_map = updates == [Some(0); 2];
    let attempt = model.scenario.attempt;
    for endpoint in Endpoint::BOTH {
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        if let Some(result) = further[own] {
            additional(model, endpoint, attempt, results[own], result);
        }
        let Some(result) = results[own] else {
            continue;
        };
        let by_peer = results[peer] == Some(0) || further[peer] == Some(0);
        // with a stranger that was not paired the contract of the kfunc has no objection
        let peer_paired = by_peer || attempt == Attempt::Stranger && further[own] == Some(0);
        let complaint = match -result {
            0 if by_peer => {
                Some(("both-sides-paired", "so did its peer's call, which finds the pair"))
            }
            0 | ENOMEM => None,
            EEXIST if peer_paired => None,
            EEXIST => Some(("eexist-without-a-pair", "its peer's call has not paired them")),
            ENOENT if in_map => Some(("enoent-with-both-in-map", "both sides are in the sockhash")),
            ENOENT => None,
            EINVAL => Some((
                "einval-on-a-fresh-connection",
                "the two are valid, connected and without urgent data",
            )),
            _ => Some(("undocumented-result", "that is none of 0, EEXIST, EINVAL, ENOENT, ENOMEM")),
        };
        if let Some((diagnosis, because)) = complaint {
            let evidence =
                format!("the kfunc returned {} on the {endpoint}, but {because}", name(result));
            model.report(Invariant::PairResult, diagnosis, None, evidence);
        }
    }
    engaged(model, results, updates, further);
}

/// The call that [`Attempt`] adds.
///
/// Whoever is paired stays so: `EEXIST`. C2 has no word about sockets that are not each other's peer; an implementation
/// may refuse them, but one that pairs two that are free breaks the stream contract, not C2.
fn additional(
    model: &mut Model<'_>,
    endpoint: Endpoint,
    attempt: Attempt,
    first: Option<i32>,
    result: i32,
) {
    let before = usize::from(model.connection).checked_sub(1);
    let before = before.and_then(|at| model.history.connections.get(at));
    let (paired, twice) = match attempt {
        Attempt::Twice => ([Some(0), Some(-EEXIST)].contains(&first), true),
        Attempt::Stranger => (before.is_some_and(|other| other.pairing.is_paired()), false),
        Attempt::Once | Attempt::Never => return,
    };
    let complaint = match -result {
        // a reconnect: the stranger may be closed by now
        _ if !twice && usize::from(model.connection) >= usize::from(model.scenario.pairs) => None,
        0 if paired && twice => Some(("paired-twice", "it had been paired by then")),
        0 if paired => Some(("paired-with-a-stranger", "the stranger was paired already")),
        0 | EEXIST | ENOENT | ENOMEM => None,
        EINVAL if twice && paired => {
            Some(("einval-for-a-pair", "the two are valid and paired, which gives EEXIST"))
        }
        EINVAL => None,
        _ => Some(("undocumented-result", "that is none of 0, EEXIST, EINVAL, ENOENT, ENOMEM")),
    };
    if let Some((diagnosis, because)) = complaint {
        let evidence = format!(
            "the kfunc's additional call returned {} on the {endpoint}, but {because}",
            name(result)
        );
        model.report(Invariant::PairResult, diagnosis, None, evidence);
    }
}

/// `engaged`: a scenario that asked for a pair has one, or somebody says why not.
fn engaged(
    model: &mut Model<'_>,
    results: [Option<i32>; 2],
    updates: [Option<i32>; 2],
    further: [Option<i32>; 2],
) {
    let twice = model.scenario.attempt == Attempt::Twice && further.contains(&Some(0));
    let excused = twice || updates.iter().flatten().any(|&result| result != 0);
    if results != [None; 2] || excused {
        return;
    }
    let (diagnosis, why) = if updates == [Some(0); 2] {
        ("neither-found-its-peer", "though both are in the sockhash")
    } else {
        ("program-did-not-run", "and not both programs ran")
    };
    let evidence = format!("a pair was asked for and neither side called the kfunc, {why}");
    model.report(Invariant::Engaged, diagnosis, None, evidence);
}

fn name(result: i32) -> String {
    if result < 0 { format!("-{}", Errno(-result)) } else { result.to_string() }
}
