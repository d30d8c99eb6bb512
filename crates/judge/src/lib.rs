//! The oracle: a scenario and its history give a verdict.
//!
//! Nothing here does I/O, and nothing predicts: [`judge`] walks the records in order and keeps the set of
//! states that are consistent with what was seen (see `stream`). A record that no state explains is
//! a violation. Every rule is what Linux TCP does; its doc comment says where that can be read.
//!
//! | module | invariants |
//! |---|---|
//! | `data` | order, cork, duplicate, corrupt, cross-talk |
//! | `calls` | send-result, send-to-dead, recv-result, peek, waitall, dontwait, trunc, oob, zero-length, efault, rcvlowat, backpressure, hang |
//! | `readiness` | readiness, inq, outq |
//! | `teardown` | early-eof, half-close, shut-rd, close-eof, close-rst, reset, reset-once, stall, loss |
//! | `pairing` | pair-result, engaged |

#![forbid(unsafe_code)]

mod calls;
mod contract;
mod data;
mod describe;
mod model;
mod pairing;
mod readiness;
mod stream;
mod teardown;

#[cfg(test)]
mod tests;

use scenario::history::{Outcome, Record};
use scenario::{History, Op, RecvFlags, Scenario, Verdict, Violation};

pub use contract::{Contract, ContractError, Exemption};

use calls::{oob, recv, send};
use model::{Call, Model};

/// A verdict together with what the contract tolerated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict under the contract.
    pub verdict: Verdict,
    /// Violations that an exemption covers, with the exemption's id.
    pub exempted: Vec<(String, Violation)>,
}

/// Judges what happened when a scenario ran.
#[must_use]
pub fn judge(scenario: &Scenario, history: &History, contract: &Contract) -> Verdict {
    judge_in_full(scenario, history, contract).verdict
}

/// Like [`judge`], and says what the contract tolerated.
#[must_use]
pub fn judge_in_full(scenario: &Scenario, history: &History, contract: &Contract) -> Judgement {
    let mut model = Model::new(scenario, history);
    pairing::judge(&mut model);
    for (index, record) in history.records.iter().enumerate() {
        if Model::is_malformed(record) {
            let what = format!("record {index} has an outcome that its op cannot have");
            return Judgement { verdict: Verdict::Error(what), exempted: Vec::new() };
        }
        let call = Call { index, record };
        if record.outcome == Outcome::Closed {
            calls::expected(&mut model, call, scenario);
        } else {
            visit(&mut model, call, scenario);
        }
    }
    teardown::conclude(&mut model);
    conclude(model, contract)
}

/// Judges one call and lets it change the model.
fn visit(model: &mut Model<'_>, call: Call<'_>, scenario: &Scenario) {
    let Call { record, .. } = call;
    if let Some(outq) = record.peer_outq {
        teardown::peer_outq(model, record.endpoint, outq);
    }
    calls::sigpipe(model, call);
    calls::expected(model, call, scenario);
    if record.outcome == Outcome::Stuck {
        calls::stuck(model, call);
    } else {
        dispatch(model, call, record);
    }
    if record.op != Op::Poll {
        model.side_mut(record.endpoint).writable = false;
    }
    model.note_exposure();
}

fn dispatch(model: &mut Model<'_>, call: Call<'_>, record: &Record) {
    match record.op {
        Op::Send { len, flags, buffer } => {
            send::judge(model, call, send::Ask { len, flags, buffer });
        }
        Op::Recv { len, flags, buffer } => {
            let ask = recv::Ask { len, flags, buffer };
            if flags.contains(RecvFlags::OOB) {
                oob::judge(model, call, ask);
            } else {
                recv::judge(model, call, ask);
            }
        }
        Op::Set(option) => {
            if matches!(record.outcome, Outcome::Value(_)) {
                model.set(record.endpoint, option);
            }
        }
        Op::Poll => readiness::poll(model, call),
        Op::Inq => readiness::inq(model, call),
        Op::Outq => readiness::outq(model, call),
        Op::SoError => teardown::so_error(model, call),
        Op::Shutdown(how) => teardown::shutdown(model, call, how),
        Op::Close => teardown::close(model, call, false),
        Op::Abort => teardown::close(model, call, true),
    }
}

fn conclude(model: Model<'_>, contract: &Contract) -> Judgement {
    let mut violations = Vec::new();
    let mut exempted = Vec::new();
    for violation in model.violations {
        match contract.exemption(&violation) {
            Some(exemption) => exempted.push((exemption.id.clone(), violation)),
            None => violations.push(violation),
        }
    }
    violations.sort_by_key(|v| v.record);
    let verdict = match (violations.is_empty(), model.doubt) {
        (false, _) => Verdict::Fail(violations),
        (true, Some(doubt)) => Verdict::Inconclusive(doubt),
        (true, None) => Verdict::Pass,
    };
    Judgement { verdict, exempted }
}
