//! Brings any scenario within the limits, with as little change as it takes.

use scenario::limits::{
    CALL_BYTES, CONNECTIONS, HOLDERS, LANES, PAIRS, PIECES, STEPS, TOTAL_BYTES, WAIT_US,
};
use scenario::{
    Buffer, By, Endpoint, Op, RecvFlags, Scenario, SendFlags, SockOption, Step, Topology, When,
    Wire,
};

/// What [`scenario::limits::check`] accepts afterwards, provided that the lanes' names are good.
pub(crate) fn trim(scenario: &mut Scenario) {
    network(scenario);
    let Scenario { pairs, lanes, setup, steps, .. } = scenario;
    lanes.truncate(LANES);
    lanes.iter_mut().for_each(|lane| lane.pair %= *pairs);
    setup.retain(|setup| setup.pair < *pairs);
    setup.iter_mut().for_each(|setup| linger(&mut setup.option));
    let mut connections = usize::from(*pairs);
    let mut held = [[1; 2]; PAIRS as usize];
    let mut left = TOTAL_BYTES;
    steps.retain_mut(|step| {
        let Some(lane) = lanes.get(usize::from(step.lane)) else { return false };
        one(step, lanes.len());
        match &mut step.op {
            Op::Connect => {
                connections += 1;
                lane.endpoint == Endpoint::Client && connections <= CONNECTIONS
            }
            Op::Dup | Op::Fork => {
                let held: &mut usize = &mut held[usize::from(lane.pair)][lane.endpoint.index()];
                *held += 1;
                *held <= HOLDERS
            }
            Op::Send { len, .. } => match left.checked_sub(u64::from(*len)) {
                Some(rest) => {
                    left = rest;
                    true
                }
                None => false,
            },
            _ => true,
        }
    });
    steps.truncate(STEPS);
    if let Some(first) = steps.first_mut()
        && matches!(first.when, When::With { .. })
    {
        first.when = When::Then;
    }
}

fn network(scenario: &mut Scenario) {
    scenario.pairs = scenario.pairs.clamp(1, PAIRS);
    let wire = &mut scenario.wire;
    if scenario.topology == Topology::Loopback {
        *wire = Wire::default();
    }
    wire.delay_us = wire.delay_us.min(WAIT_US);
    wire.loss_permille = wire.loss_permille.min(500);
}

/// A step by itself.
fn one(step: &mut Step, lanes: usize) {
    if let When::With { after_us } = &mut step.when {
        *after_us = (*after_us).min(WAIT_US);
    }
    match &mut step.op {
        Op::Send { len, flags, buffer, by } => {
            pieces(by);
            match by {
                By::Splice | By::Tee => *flags &= SendFlags::MORE,
                By::File => *flags = SendFlags::empty(),
                _ => {}
            }
            transfer(len, buffer, *by);
        }
        Op::Recv { len, flags, buffer, by } => {
            pieces(by);
            if *by == By::File {
                *by = By::Splice;
            }
            match by {
                By::Splice | By::Tee => *flags = RecvFlags::empty(),
                By::Batch(_) => flags.remove(RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::OOB),
                _ => {}
            }
            transfer(len, buffer, *by);
        }
        Op::Wait { timeout_ms, .. } => *timeout_ms = (*timeout_ms).min(WAIT_US / 1_000),
        Op::Pause(us) => *us = (*us).min(WAIT_US),
        Op::Set(option) => linger(option),
        Op::Signal { lane, .. } if usize::from(*lane) >= lanes => *lane = 0,
        _ => {}
    }
}

fn transfer(len: &mut u32, buffer: &mut Buffer, by: By) {
    *len = (*len).min(CALL_BYTES);
    match buffer {
        _ if !matches!(by, By::Call | By::Vector(_)) => *buffer = Buffer::Mapped,
        Buffer::Torn(_) if *len == 0 => *buffer = Buffer::Unmapped,
        Buffer::Torn(mapped) => *mapped = (*mapped).min(*len - 1),
        Buffer::Mapped | Buffer::Unmapped => {}
    }
}

fn linger(option: &mut SockOption) {
    if let SockOption::Linger(seconds) = option {
        *seconds = (*seconds).min(WAIT_US / 1_000_000);
    }
}

fn pieces(by: &mut By) {
    if let By::Vector(n) | By::Batch(n) = by {
        *n = (*n).clamp(1, PIECES);
    }
}
