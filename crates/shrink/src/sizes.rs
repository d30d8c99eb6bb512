//! The pass that makes numbers smaller and rounder.

use std::collections::BTreeSet;

use scenario::{Buffer, Op, Scenario, SockOption, When};

use crate::search::Search;

/// What a number may become: the first of these that does it.
const ROUND: [u32; 7] = [1, 10, 100, 1_000, 4_096, 16_384, 65_536];

impl<E, F: FnMut(&Scenario) -> Result<bool, E>> Search<F> {
    /// Equal numbers together, because what is sent is what is received, then each by itself.
    pub(crate) fn reduce_numbers(&mut self) -> Result<(), E> {
        if !self.is_thorough() {
            return Ok(());
        }
        let values: BTreeSet<u32> = numbers(&mut self.best).iter().map(|number| **number).collect();
        for value in values.into_iter().rev() {
            for smaller in ROUND.into_iter().filter(|&round| round < value) {
                let is_it = |(_, number): &(usize, u32)| *number == value;
                if self.with(|candidate| replace(candidate, is_it, smaller))? {
                    break;
                }
            }
        }
        for at in 0..numbers(&mut self.best).len() {
            let value = *numbers(&mut self.best)[at];
            for smaller in ROUND.into_iter().filter(|&round| round < value) {
                if self.with(|candidate| replace(candidate, |(other, _)| *other == at, smaller))? {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn replace(scenario: &mut Scenario, which: impl Fn(&(usize, u32)) -> bool, by: u32) {
    for (at, number) in numbers(scenario).into_iter().enumerate() {
        if which(&(at, *number)) {
            *number = by;
        }
    }
    for step in &mut scenario.steps {
        if let Op::Send { len, buffer: Buffer::Torn(mapped), .. }
        | Op::Recv { len, buffer: Buffer::Torn(mapped), .. } = &mut step.op
        {
            *mapped = (*mapped).min(len.saturating_sub(1));
        }
    }
}

/// Every number of the scenario that may be smaller, in a fixed order.
fn numbers(scenario: &mut Scenario) -> Vec<&mut u32> {
    let mut numbers = Vec::new();
    for setup in &mut scenario.setup {
        numbers.extend(value(&mut setup.option));
    }
    for step in &mut scenario.steps {
        if let When::With { after_us } = &mut step.when {
            numbers.push(after_us);
        }
        match &mut step.op {
            Op::Send { len, buffer, .. } | Op::Recv { len, buffer, .. } => {
                numbers.push(len);
                if let Buffer::Torn(mapped) = buffer {
                    numbers.push(mapped);
                }
            }
            Op::Wait { timeout_ms, .. } => numbers.push(timeout_ms),
            Op::Pause(us) => numbers.push(us),
            Op::Set(option) => numbers.extend(value(option)),
            _ => {}
        }
    }
    numbers.extend([&mut scenario.wire.delay_us, &mut scenario.wire.loss_permille]);
    numbers
}

fn value(option: &mut SockOption) -> Option<&mut u32> {
    match option {
        SockOption::RcvBuf(value)
        | SockOption::SndBuf(value)
        | SockOption::RcvLowat(value)
        | SockOption::PeekOff(value)
        | SockOption::RcvTimeo(value)
        | SockOption::SndTimeo(value)
        | SockOption::BusyPoll(value)
        | SockOption::Linger(value) => Some(value),
        SockOption::Cork(_)
        | SockOption::NoDelay(_)
        | SockOption::NonBlock(_)
        | SockOption::OobInline(_)
        | SockOption::KeepAlive(_)
        | SockOption::TcpInq(_)
        | SockOption::ZeroCopy(_) => None,
    }
}
