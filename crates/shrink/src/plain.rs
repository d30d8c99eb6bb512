//! Passes that replace something by the plainest of its kind: network, sleep, schedule, calls.

use scenario::{
    Attempt, Buffer, By, Family, Op, RecvFlags, Scenario, SendFlags, Step, Topology, Waiter, When,
    Wire,
};

use crate::search::Search;

impl<E, F: FnMut(&Scenario) -> Result<bool, E>> Search<F> {
    /// Loopback, no wire, one attempt, IPv4. Topology and wire go first of all, because they make every try slow.
    pub(crate) fn calm_network(&mut self) -> Result<(), E> {
        let unwire = |candidate: &mut Scenario| {
            candidate.topology = Topology::Loopback;
            candidate.wire = Wire::default();
        };
        self.with(|candidate| {
            unwire(candidate);
            candidate.attempt = Attempt::Once;
            candidate.family = Family::V4;
        })?;
        if !self.is_thorough() {
            return Ok(());
        }
        self.with(unwire)?;
        self.with(|candidate| candidate.wire = Wire::default())?;
        self.with(|candidate| candidate.wire.loss_permille = 0)?;
        self.with(|candidate| candidate.wire.delay_us = 0)?;
        self.with(|candidate| {
            if candidate.topology == Topology::Bridge {
                candidate.topology = Topology::Veth;
            }
        })?;
        self.with(|candidate| candidate.attempt = Attempt::Once)?;
        self.with(|candidate| candidate.family = Family::V4)?;
        Ok(())
    }

    /// No call that sleeps, where sleeping does not matter: without what wakes it, a call costs each try its bound.
    pub(crate) fn keep_all_awake(&mut self) -> Result<(), E> {
        self.with(|candidate| {
            candidate.steps.iter_mut().for_each(|step| step.op = awake(step.op));
        })?;
        Ok(())
    }

    /// The same call by call: where most may go, that is quicker once they are gone.
    pub(crate) fn keep_awake(&mut self) -> Result<(), E> {
        for at in 0..self.best.steps.len() {
            if self.is_thorough() && self.best.may_sleep()[at] {
                self.with(|candidate| candidate.steps[at].op = awake(candidate.steps[at].op))?;
            }
        }
        Ok(())
    }

    /// One step after the other instead of overlap.
    pub(crate) fn put_in_sequence(&mut self) -> Result<(), E> {
        if self.best.steps.iter().all(|step| step.when == When::Then) {
            return Ok(());
        }
        self.with(sequence)?;
        if !self.is_thorough() {
            return Ok(());
        }
        let is_with = |when: &When| matches!(when, When::With { .. });
        self.with(|candidate| replace_when(candidate, is_with, When::Then))?;
        self.with(|candidate| replace_when(candidate, |when| *when == When::Start, When::Then))?;
        self.with(|candidate| replace_when(candidate, is_with, When::With { after_us: 0 }))?;
        for at in 0..self.best.steps.len() {
            if self.with(|candidate| candidate.steps[at].when = When::Then)? {
                continue;
            }
            if is_with(&self.best.steps[at].when) {
                self.with(|candidate| candidate.steps[at].when = When::With { after_us: 0 })?;
            }
        }
        Ok(())
    }

    /// Calls, flags, buffers, waiters.
    pub(crate) fn make_calls_plain(&mut self) -> Result<(), E> {
        self.with(|candidate| {
            candidate.steps.iter_mut().for_each(|step| step.op = plainest(step.op));
        })?;
        if !self.is_thorough() {
            return Ok(());
        }
        for at in 0..self.best.steps.len() {
            self.with(|candidate| candidate.steps[at].op = plainest(candidate.steps[at].op))?;
            // what is kept makes the list shorter, so that it is made anew
            let mut next = 0;
            while let Some(op) = plainer(self.best.steps[at].op).into_iter().nth(next) {
                next =
                    if self.with(|candidate| candidate.steps[at].op = op)? { 0 } else { next + 1 };
            }
        }
        Ok(())
    }
}

fn replace_when(scenario: &mut Scenario, which: impl Fn(&When) -> bool, by: When) {
    scenario.steps.iter_mut().filter(|step| which(&step.when)).for_each(|step| step.when = by);
}

/// Every step after the one before it. What overlapped and may sleep comes after the steps that it overlapped with,
/// since one of these may be what wakes it.
fn sequence(scenario: &mut Scenario) {
    let sleeps = scenario.may_sleep();
    let mut ordered: Vec<Step> = Vec::new();
    let mut sleeping = Vec::new();
    let mut open = false;
    for (step, sleeps) in std::mem::take(&mut scenario.steps).into_iter().zip(sleeps) {
        let begins = !matches!(step.when, When::With { .. });
        if begins && !open {
            ordered.append(&mut sleeping);
        }
        if begins {
            open = step.when == When::Start;
        }
        let step = Step { when: When::Then, ..step };
        if sleeps { sleeping.push(step) } else { ordered.push(step) }
    }
    ordered.append(&mut sleeping);
    scenario.steps = ordered;
}

/// The op without all that it can do without at once. `MSG_DONTWAIT` stays: without it the call might sleep.
fn plainest(op: Op) -> Op {
    match op {
        Op::Send { len, flags, .. } => {
            let flags = flags & SendFlags::DONTWAIT;
            Op::Send { len, flags, buffer: Buffer::Mapped, by: By::Call }
        }
        Op::Recv { len, flags, .. } => {
            let flags = flags & RecvFlags::DONTWAIT;
            Op::Recv { len, flags, buffer: Buffer::Mapped, by: By::Call }
        }
        Op::Wait { events, timeout_ms, .. } => Op::Wait { events, timeout_ms, by: Waiter::Poll },
        op => op,
    }
}

/// The op with `MSG_DONTWAIT`, a glance instead of a wait.
pub(crate) fn awake(op: Op) -> Op {
    match op {
        Op::Send { len, flags, buffer, by } => {
            Op::Send { len, flags: flags | SendFlags::DONTWAIT, buffer, by }
        }
        Op::Recv { len, flags, buffer, by } => {
            Op::Recv { len, flags: flags | RecvFlags::DONTWAIT, buffer, by }
        }
        Op::Wait { .. } => Op::Poll,
        op => op,
    }
}

/// Ops that are plainer in one respect.
fn plainer(op: Op) -> Vec<Op> {
    let mut plainer = Vec::new();
    match op {
        Op::Send { len, flags, buffer, by } => {
            plainer.extend(plainer_call(by).map(|by| Op::Send { len, flags, buffer, by }));
            for flag in flags.iter() {
                plainer.push(Op::Send { len, flags: flags - flag, buffer, by });
            }
            plainer.push(Op::Send { len, flags, buffer: Buffer::Mapped, by });
        }
        Op::Recv { len, flags, buffer, by } => {
            plainer.extend(plainer_call(by).map(|by| Op::Recv { len, flags, buffer, by }));
            for flag in flags.iter() {
                plainer.push(Op::Recv { len, flags: flags - flag, buffer, by });
            }
            plainer.push(Op::Recv { len, flags, buffer: Buffer::Mapped, by });
        }
        Op::Wait { events, timeout_ms, by } => {
            plainer.push(Op::Poll);
            plainer.push(Op::Wait { events, timeout_ms, by: Waiter::Poll });
            if by == Waiter::EpollEdge || by == Waiter::EpollOneshot {
                plainer.push(Op::Wait { events, timeout_ms, by: Waiter::Epoll });
            }
        }
        _ => {}
    }
    plainer.retain(|other| *other != op);
    plainer
}

fn plainer_call(by: By) -> impl Iterator<Item = By> {
    let fewer = match by {
        By::Vector(3..) => Some(By::Vector(2)),
        By::Batch(3..) => Some(By::Batch(2)),
        By::Tee => Some(By::Splice),
        _ => None,
    };
    [Some(By::Call), fewer].into_iter().flatten()
}
