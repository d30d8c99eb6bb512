//! `pair-result`, `engaged`: what became of the pairing itself.
//!
//! Source: claims C1 and C2 of the series. The side whose program runs last finds its peer and pairs; the
//! other one then finds itself paired already.

use scenario::history::{Errno, Pairing};
use scenario::{Endpoint, Invariant};

use crate::model::Model;

const EEXIST: i32 = 17;
const ENOENT: i32 = 2;
const ENOMEM: i32 = 12;

pub(crate) fn judge(model: &mut Model<'_>) {
    let Pairing::Asked { results, updates } = *model.pairing() else {
        return;
    };
    let in_map = updates == [Some(0); 2];
    for endpoint in Endpoint::BOTH {
        let Some(result) = results[endpoint.index()] else {
            continue;
        };
        let peer_paired = results[endpoint.peer().index()] == Some(0);
        let complaint = match -result {
            0 if peer_paired => {
                Some(("both-sides-paired", "so did its peer's call, which finds the pair"))
            }
            0 | ENOMEM => None,
            EEXIST if peer_paired => None,
            EEXIST => Some(("eexist-without-a-pair", "its peer's call has not paired them")),
            ENOENT if in_map => Some(("enoent-with-both-in-map", "both sides are in the sockhash")),
            ENOENT => None,
            22 => Some((
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
    engaged(model, results, updates);
}

/// `engaged`: a scenario that asked for a pair has one, or somebody says why not.
fn engaged(model: &mut Model<'_>, results: [Option<i32>; 2], updates: [Option<i32>; 2]) {
    let excused = updates.iter().flatten().any(|&result| result != 0);
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
