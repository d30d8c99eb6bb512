//! How long a guest may stay silent before it counts as hung.

use std::time::Duration;

use scenario::history::Bounds;
use scenario::{Op, Scenario, Step, When, Wire};

/// How long for each connection of what is under way: several times what its finale may wait for.
pub const SILENCE: Duration = Duration::from_secs(60);

/// How long a guest may stay silent with this scenario under way: the finale of each connection, a bound for each call that may sleep and for each one
/// that is left blocked, what it waits for on purpose, and on a wire what the handshakes take.
pub fn with(scenario: &Scenario, bounds: &Bounds) -> Duration {
    let millis = |ms: u32| Duration::from_millis(ms.into());
    let is_connect = |step: &&Step| step.op == Op::Connect;
    let connects = scenario.steps.iter().filter(is_connect).count();
    let connections = u32::from(scenario.pairs) + u32::try_from(connects).unwrap_or(u32::MAX);
    let mut longest = SILENCE * connections;
    if scenario.wire != Wire::default() {
        longest += millis(bounds.call_ms) * connections;
    }
    let may_block = scenario.may_block();
    for step in &scenario.steps {
        let left = if step.when == When::Then { 0 } else { bounds.settle_ms };
        let slept = if may_block { bounds.call_ms } else { 0 };
        let waited_us = match (step.when, step.op) {
            (When::With { after_us }, Op::Pause(us)) => after_us + us,
            (When::With { after_us: us }, _) | (_, Op::Pause(us)) => us,
            _ => 0,
        };
        longest += millis(left + slept) + Duration::from_micros(waited_us.into());
    }
    longest
}

#[cfg(test)]
mod tests {
    use scenario::{Buffer, By, Endpoint, Lane, RecvFlags};

    use super::*;

    #[test_log::test]
    fn patience_covers_what_a_scenario_may_wait_for() {
        let bounds = Bounds { call_ms: 10_000, drain_ms: 10_000, settle_ms: 50 };
        let lane = Lane { name: "c".into(), pair: 0, endpoint: Endpoint::Client };
        let of = |steps: &[(When, Op)]| {
            let step = |&(when, op): &(When, Op)| Step { lane: 0, when, op, expect: None };
            let scenario = Scenario {
                lanes: vec![lane.clone()],
                steps: steps.iter().map(step).collect(),
                ..Scenario::default()
            };
            with(&scenario, &bounds) - SILENCE
        };
        let recv = |flags| Op::Recv { len: 1, flags, buffer: Buffer::Mapped, by: By::Call };
        let (sleeping, waking) = (recv(RecvFlags::empty()), recv(RecvFlags::DONTWAIT));
        assert_eq!(of(&[(When::Then, waking)]), Duration::ZERO);
        assert_eq!(of(&[(When::Then, sleeping)]), Duration::from_secs(10));
        assert_eq!(of(&[(When::Start, sleeping)]), Duration::from_millis(10_050));
        let pauses = [(When::Then, Op::Pause(1_000)), (When::With { after_us: 9 }, Op::Pause(1))];
        assert_eq!(of(&pauses), Duration::from_micros(1_010) + Duration::from_millis(50));
        assert!(of(&[(When::Then, Op::Connect)]) > SILENCE);
    }
}
