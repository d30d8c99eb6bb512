//! `pair-result`, `engaged`: what became of the pairing itself.
//!
//! Source: claims C1 and C2 of the series. The side whose program runs last finds its peer and pairs; the
//! other one then finds itself paired already.

use scenario::history::{Connection, Errno, Pairing};
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
    let is_reconnected = model.connection >= model.scenario.pairs;
    for endpoint in Endpoint::BOTH {
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        if let Some(result) = further[own] {
            additional(model, endpoint, results[own], further[peer], result);
        }
        let Some(result) = results[own] else {
            continue;
        };
        let by_peer = results[peer] == Some(0) || further[peer] == Some(0);
        // with a stranger that was not paired the contract of the kfunc has no objection
        let strangers = matches!(attempt, Attempt::Stranger | Attempt::FreeStranger);
        let peer_paired = by_peer || strangers && further[own] == Some(0);
        let complaint = match -result {
            0 if by_peer => {
                Some(("both-sides-paired", "so did its peer's call, which finds the pair"))
            }
            0 | ENOMEM => None,
            EEXIST if peer_paired => None,
            EEXIST => Some(("eexist-without-a-pair", "its peer's call has not paired them")),
            ENOENT if in_map => Some(("enoent-with-both-in-map", "both sides are in the sockhash")),
            ENOENT => None,
            // it has found the server of the connection before, which a call under way keeps in the map
            EINVAL if is_reconnected && by_peer => None,
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
/// may refuse them, but one that pairs two that are free breaks C1 and mostly the stream contract, not C2: see
/// [`engaged`]. Even then the stranger that all ask for ([`Attempt::FreeStranger`]) is free only once.
fn additional(
    model: &mut Model<'_>,
    endpoint: Endpoint,
    first: Option<i32>,
    of_peer: Option<i32>,
    result: i32,
) {
    let before = &model.history.connections[..usize::from(model.connection)];
    let (paired, twice) = match model.scenario.attempt {
        Attempt::Twice => ([Some(0), Some(-EEXIST)].contains(&first), true),
        Attempt::Stranger => (before.last().is_some_and(|other| other.pairing.is_paired()), false),
        Attempt::FreeStranger => {
            let took = |other: &Connection| match other.pairing {
                Pairing::Asked { further, .. } => further.contains(&Some(0)),
                _ => false,
            };
            (of_peer == Some(0) || before.iter().any(took), false)
        }
        Attempt::Once | Attempt::Never => return,
    };
    let complaint = match -result {
        // a reconnect: the stranger may be closed by now
        _ if !twice && model.connection >= model.scenario.pairs => None,
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
///
/// A stranger in the peer's place is no such pair, even where nothing goes wrong with the bytes: an implementation that
/// looks at sequence numbers before it uses the ring may leave them all to TCP.
fn engaged(
    model: &mut Model<'_>,
    results: [Option<i32>; 2],
    updates: [Option<i32>; 2],
    further: [Option<i32>; 2],
) {
    let took = further.contains(&Some(0));
    let twice = model.scenario.attempt == Attempt::Twice && took;
    if took && !twice && !results.contains(&Some(0)) {
        let evidence = "a pair was asked for, but the kfunc has paired one side with an endpoint of \
                        another connection";
        let diagnosis = "paired-with-a-stranger";
        model.report(Invariant::Engaged, diagnosis, None, evidence.to_owned());
        return;
    }
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

/// Whether the connection is paired with others than its own two ends: what happens to its bytes is then no finding of
/// its own.
///
/// Of a connection with a stranger in the peer's place [`engaged`] has said so, and the stranger's own is the other half
/// of it. The socket of a reconnect that is said to be paired still has its old peer, as [`judge`] has said.
pub(crate) fn is_crossed(model: &Model<'_>) -> bool {
    let connections = &model.history.connections;
    let asked = |pairing: &Pairing| match *pairing {
        Pairing::Asked { results, further, .. } => Some((results, further)),
        _ => None,
    };
    let has_stranger = |pairing: &Pairing| {
        asked(pairing).is_some_and(|(results, further)| {
            further.contains(&Some(0)) && !results.contains(&Some(0))
        })
    };
    let own = &model.its().pairing;
    let has_old_peer = model.connection >= model.scenario.pairs
        && asked(own).is_some_and(|(results, further)| {
            results.contains(&Some(-EEXIST)) && ![results, further].concat().contains(&Some(0))
        });
    match model.scenario.attempt {
        Attempt::FreeStranger if *own == Pairing::Left => {
            connections.iter().any(|other| has_stranger(&other.pairing))
        }
        Attempt::FreeStranger => has_stranger(own) || has_old_peer,
        _ => has_old_peer,
    }
}

fn name(result: i32) -> String {
    if result < 0 { format!("-{}", Errno(-result)) } else { result.to_string() }
}
