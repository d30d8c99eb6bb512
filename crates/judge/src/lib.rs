//! The oracle: a scenario and its history give a verdict.
//!
//! Nothing here does I/O, and nothing predicts: [`judge`] walks the records of each connection in order and keeps
//! the set of states that are consistent with what was seen (see `stream`). A record that no state explains is a
//! violation. Every rule is what Linux TCP does; its doc comment says where that can be read. Calls that overlap are
//! judged by what holds in every order of them (see `overlap` and `loose`).
//!
//! | module | invariants |
//! |---|---|
//! | `data` | order, cork, duplicate, corrupt, cross-talk |
//! | `braid` | concurrent-send |
//! | `crowd` | concurrent-recv |
//! | `calls` | send-result, send-to-dead, recv-result, peek, waitall, dontwait, trunc, oob, zero-length, efault, rcvlowat, backpressure, hang, wakeup, timeout, signal, spin, vectored, splice-file, zerocopy |
//! | `readiness` | readiness, inq, outq |
//! | `wait` | readiness, wakeup, timeout |
//! | `severance` | disconnect |
//! | `teardown` | early-eof, half-close, shut-rd, close-eof, close-rst, reset, reset-once, stall, loss |
//! | `pairing` | pair-result, engaged |

#![forbid(unsafe_code)]

mod braid;
mod calls;
mod claims;
mod contract;
mod crowd;
mod data;
mod describe;
mod differential;
mod loose;
mod model;
mod overlap;
mod pairing;
mod readiness;
mod severance;
mod stream;
mod teardown;
mod wait;

#[cfg(test)]
mod tests;

use scenario::history::{Outcome, Pairing, Record};
use scenario::verdict::Doubt;
use scenario::{Attempt, History, Op, RecvFlags, Scenario, Verdict, Violation};

pub use claims::{Claim, claims, contradicted};
pub use contract::{Contract, ContractError, Exemption, IN_SOCKHASH};
pub use differential::{Agreement, Counterpart, compare};

use calls::{oob, recv, send};
use model::{Call, Model};
use overlap::{Course, Event};

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
    match follow_all(scenario, history) {
        Ok(models) => conclude(models, contract),
        Err(what) => Judgement { verdict: Verdict::Error(what), exempted: Vec::new() },
    }
}

/// Judges what happened on each connection, or says why that cannot be done.
fn follow_all<'a>(scenario: &'a Scenario, history: &'a History) -> Result<Vec<Model<'a>>, String> {
    let malformed = |record: &Record| {
        Model::is_malformed(record) || usize::from(record.connection) >= history.connections.len()
    };
    if let Some(index) = history.records.iter().position(malformed) {
        return Err(format!("record {index} has an outcome that its op cannot have"));
    }
    let connections = 0..u8::try_from(history.connections.len()).unwrap_or(u8::MAX);
    let mut models: Vec<Model<'_>> = Vec::with_capacity(history.connections.len());
    for connection in connections {
        let pair = history.connections[usize::from(connection)].pair;
        let before = models.iter().rev().find(|model| model.its().pair == pair);
        let model = follow(scenario, history, connection, before);
        models.push(model);
    }
    Ok(models)
}

/// Judges what happened on one connection; `before` is the pair's last one.
fn follow<'a>(
    scenario: &'a Scenario,
    history: &'a History,
    connection: u8,
    before: Option<&Model<'_>>,
) -> Model<'a> {
    let mut model = Model::new(scenario, history, connection);
    if let Some(before) = before {
        model.follow(before);
    }
    model.note_exposure();
    pairing::judge(&mut model);
    if pairing::is_crossed(&model) {
        model.doubt(Doubt::AfterViolation);
        return model;
    }
    let its = history.connections[usize::from(connection)].pair;
    let raced = |record: &Record| {
        history.connections[usize::from(record.connection)].pair == its
            && overlap::raced(scenario, history, record)
    };
    if history.records.iter().any(raced) {
        model.doubt(Doubt::RacedReconnect);
        return model;
    }
    let course = Course::of(history, connection);
    let call = |index: usize| {
        let record = &history.records[index];
        let signals = overlap::signals(history, record);
        Call { index, record, beside: &course.beside[index], signals }
    };
    for &event in &course.events {
        match event {
            Event::Alone(index) if history.records[index].outcome == Outcome::Closed => {
                calls::expected(&mut model, call(index));
            }
            Event::Alone(index) => visit(&mut model, call(index)),
            Event::Begin(index) => loose::begin(&mut model, call(index)),
            Event::End(index) => loose::end(&mut model, call(index)),
        }
        model.note_exposure();
    }
    teardown::conclude(&mut model);
    model
}

/// Judges one call that overlaps no other, and lets it change the model.
fn visit(model: &mut Model<'_>, call: Call<'_>) {
    let Call { record, .. } = call;
    if let Some(outq) = record.peer_outq {
        teardown::peer_outq(model, record.endpoint, outq);
    }
    calls::expected(model, call);
    calls::time::spin(model, call);
    calls::copy(model, call);
    if record.outcome == Outcome::Stuck {
        calls::stuck::judge(model, call);
    } else if !calls::time::interrupted(model, call) {
        calls::stuck::slept_on(model, call);
        calls::sigpipe(model, call);
        if model.side(record.endpoint).murky {
            murky(model, call);
        } else {
            dispatch(model, call, record);
        }
    }
    if let Op::Recv { len, flags, buffer, by } = record.op
        && !flags.contains(RecvFlags::OOB)
    {
        recv::pass_mark(model, call, recv::Ask { len, flags, buffer, by });
    }
    if !matches!(record.op, Op::Poll | Op::Wait { .. } | Op::Pause(_) | Op::Signal { .. }) {
        model.side_mut(record.endpoint).writable = false;
    }
}

fn dispatch(model: &mut Model<'_>, call: Call<'_>, record: &Record) {
    match record.op {
        Op::Send { len, flags, buffer, by } => {
            send::judge(model, call, send::Ask { len, flags, buffer, by });
        }
        Op::Recv { len, flags, buffer, by } => {
            let ask = recv::Ask { len, flags, buffer, by };
            if flags.contains(RecvFlags::OOB) {
                oob::judge(model, call, ask);
            } else {
                recv::judge(model, call, ask);
            }
            recv::put_aside(model, call, ask);
        }
        Op::Set(option) => {
            if matches!(record.outcome, Outcome::Value(_)) {
                model.set(record.endpoint, option);
            }
        }
        Op::Poll => readiness::poll(model, call),
        Op::Wait { .. } => wait::judge(model, call),
        Op::Inq => readiness::inq(model, call),
        Op::Outq => readiness::outq(model, call),
        Op::AtMark => oob::at_mark(model, call),
        Op::ErrQueue => send::completions(model, call),
        Op::SoError => teardown::so_error(model, call),
        Op::Shutdown(how) => teardown::shutdown(model, call, how),
        Op::Close => teardown::close(model, call, false),
        Op::Abort => teardown::close(model, call, true),
        Op::Dup | Op::Fork => {
            let held = u32::from(matches!(record.outcome, Outcome::Value(_)));
            model.side_mut(record.endpoint).more_holders += held;
        }
        Op::Destroy | Op::Disconnect | Op::Connect => severance::judge(model, call),
        Op::Unhash | Op::Rehash | Op::Detach | Op::Tls | Op::Repair => {}
        Op::Signal { .. } | Op::Pause(_) => {}
    }
}

/// Judges what can be judged of a call on a socket whose results are not known any more: the bytes it moves.
fn murky(model: &mut Model<'_>, call: Call<'_>) {
    let Call { record, .. } = call;
    severance::afterwards(model, call);
    match (record.op, &record.outcome) {
        (Op::Send { flags, .. }, &Outcome::Value(count)) => {
            send::take(model, call, count, flags, true);
        }
        (Op::Recv { len, flags, buffer, by }, Outcome::Received { count, data, .. }) => {
            let ask = recv::Ask { len, flags, buffer, by };
            if !flags.contains(RecvFlags::OOB) && *count > 0 {
                recv::bytes(model, call, ask, *count, data);
            }
        }
        (Op::Shutdown(how), _) => teardown::half_ends(model, call, how),
        (Op::Close, _) => teardown::close(model, call, false),
        (Op::Abort, _) => teardown::close(model, call, true),
        (Op::Set(option), Outcome::Value(_)) => model.set(record.endpoint, option),
        (Op::Dup | Op::Fork, Outcome::Value(_)) => {
            model.side_mut(record.endpoint).more_holders += 1;
        }
        (Op::Destroy | Op::Disconnect | Op::Connect, _) => severance::judge(model, call),
        _ => {}
    }
}

/// Whether the endpoints are alone in the SOCKHASH of a target that pairs, which makes them the second reference: our program
/// has put them there and asks for no pair, or was not attached, and a step has put one there later.
fn is_left_in_sockhash(model: &Model<'_>) -> bool {
    let is_put = |record: &Record| {
        record.connection == model.connection
            && record.op == Op::Rehash
            && matches!(record.outcome, Outcome::Value(_))
    };
    match model.its().pairing {
        Pairing::Left => true,
        Pairing::NotAsked => {
            model.scenario.attempt == Attempt::Never && model.history.records.iter().any(is_put)
        }
        Pairing::Unknown | Pairing::Asked { .. } => false,
    }
}

fn conclude(models: Vec<Model<'_>>, contract: &Contract) -> Judgement {
    let mut violations: Vec<Violation> = Vec::new();
    let mut exempted = Vec::new();
    let doubt = models.iter().find_map(|model| model.doubt);
    let in_sockhash = Contract::in_sockhash();
    for model in models {
        let is_left = is_left_in_sockhash(&model);
        for violation in model.violations {
            let same = |v: &Violation| {
                v.invariant == violation.invariant && v.diagnosis == violation.diagnosis
            };
            let tolerated = contract.exemption(&violation);
            let left = || in_sockhash.exemption(&violation).filter(|_| is_left);
            match tolerated.or_else(left) {
                Some(exemption) => exempted.push((exemption.id.clone(), violation)),
                None if violations.iter().any(same) => {}
                None => violations.push(violation),
            }
        }
    }
    violations.sort_by_key(|v| v.record);
    let verdict = match (violations.is_empty(), doubt) {
        (false, _) => Verdict::Fail(violations),
        (true, Some(doubt)) => Verdict::Inconclusive(doubt),
        (true, None) => Verdict::Pass,
    };
    Judgement { verdict, exempted }
}
