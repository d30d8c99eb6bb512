//! Passes that take something away: expectations, pairs, lanes, steps, options.

use scenario::{Op, Scenario, SockOption, limits};

use crate::edit::{lanes, merge_lanes, remove_lane, remove_pair, retain_steps};
use crate::plain::awake;
use crate::search::Search;

/// Most steps of which any two are tried without.
const COUPLED_STEPS: usize = 16;

impl<E, F: FnMut(&Scenario) -> Result<bool, E>> Search<F> {
    /// All at once, then one by one.
    pub(crate) fn leave_out_expectations(&mut self) -> Result<(), E> {
        let expected = |scenario: &Scenario| scenario.steps.iter().any(|s| s.expect.is_some());
        if !expected(&self.best) {
            return Ok(());
        }
        self.with(|candidate| candidate.steps.iter_mut().for_each(|step| step.expect = None))?;
        for at in 0..self.best.steps.len() {
            self.with(|candidate| candidate.steps[at].expect = None)?;
        }
        Ok(())
    }

    pub(crate) fn leave_out_pairs(&mut self) -> Result<(), E> {
        for pair in (0..self.best.pairs).rev() {
            if self.best.pairs > 1 {
                self.with(|candidate| remove_pair(candidate, pair))?;
            }
        }
        Ok(())
    }

    pub(crate) fn leave_out_lanes(&mut self) -> Result<(), E> {
        for lane in lanes(&self.best).rev() {
            self.with(|candidate| remove_lane(candidate, lane))?;
        }
        Ok(())
    }

    /// Runs of steps, long ones first; from the end, where what happens after the violation is.
    pub(crate) fn leave_out_steps(&mut self) -> Result<(), E> {
        let mut run = self.best.steps.len();
        while run > 0 {
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(run);
                self.with(|candidate| {
                    retain_steps(candidate, |at, _| !(start..end).contains(&at));
                })?;
                end = start;
            }
            run /= 2;
        }
        Ok(())
    }

    /// Two steps that only make sense together, such as a send and its receive.
    pub(crate) fn leave_out_couples(&mut self) -> Result<(), E> {
        if !self.is_thorough() || self.best.steps.len() > COUPLED_STEPS {
            return Ok(());
        }
        let mut second = self.best.steps.len();
        while second > 1 {
            second -= 1;
            for first in (0..second).rev() {
                let out = [first, second];
                if self.with(|candidate| retain_steps(candidate, |at, _| !out.contains(&at)))? {
                    second -= 1;
                    break;
                }
            }
        }
        Ok(())
    }

    /// All lanes and pairs that nothing is left of.
    pub(crate) fn leave_out_unused(&mut self) -> Result<(), E> {
        self.with(|candidate| {
            for lane in lanes(candidate).rev() {
                if candidate.steps.iter().all(|step| step.lane != lane) {
                    remove_lane(candidate, lane);
                }
            }
            for pair in (0..candidate.pairs).rev() {
                let is_unused = candidate.lanes.iter().all(|lane| lane.pair != pair);
                if is_unused && candidate.pairs > 1 {
                    remove_pair(candidate, pair);
                }
            }
        })?;
        Ok(())
    }

    /// `MSG_DONTWAIT` on each call instead of `O_NONBLOCK`: one thing less to know when the call is read.
    pub(crate) fn replace_nonblock(&mut self) -> Result<(), E> {
        let is_nonblock = |option: SockOption| matches!(option, SockOption::NonBlock(_));
        self.with(|candidate| {
            let sleeps = candidate.may_sleep();
            for (step, sleeps) in candidate.steps.iter_mut().zip(sleeps) {
                if !sleeps && matches!(step.op, Op::Send { .. } | Op::Recv { .. }) {
                    step.op = awake(step.op);
                }
            }
            candidate.setup.retain(|setup| !is_nonblock(setup.option));
            retain_steps(
                candidate,
                |_, step| !matches!(step.op, Op::Set(option) if is_nonblock(option)),
            );
        })?;
        Ok(())
    }

    /// All at once, then one by one.
    pub(crate) fn leave_out_setup(&mut self) -> Result<(), E> {
        self.with(|candidate| candidate.setup.clear())?;
        if self.is_thorough() {
            for at in (0..self.best.setup.len()).rev() {
                self.with(|candidate| {
                    candidate.setup.remove(at);
                })?;
            }
        }
        Ok(())
    }

    /// Two lanes of one endpoint.
    pub(crate) fn merge_lanes(&mut self) -> Result<(), E> {
        for from in lanes(&self.best).rev() {
            for into in 0..from {
                let [from_lane, into_lane] =
                    [from, into].map(|at| &self.best.lanes[usize::from(at)]);
                let is_same =
                    (from_lane.pair, from_lane.endpoint) == (into_lane.pair, into_lane.endpoint);
                if is_same && self.with(|candidate| merge_lanes(candidate, into, from))? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Two sends, or two receives, that a lane makes one after the other: one of their common length.
    pub(crate) fn join_transfers(&mut self) -> Result<(), E> {
        let mut first = 0;
        while self.is_thorough() && first < self.best.steps.len() {
            let joined = joined(&self.best, first);
            let kept = match joined {
                None => false,
                Some((second, op)) => self.with(|candidate| {
                    candidate.steps[first].op = op;
                    retain_steps(candidate, |at, _| at != second);
                })?,
            };
            first += usize::from(!kept);
        }
        Ok(())
    }
}

/// The lane's step after the `first` one, and what both are in one.
fn joined(scenario: &Scenario, first: usize) -> Option<(usize, Op)> {
    let lane = scenario.steps[first].lane;
    let behind = scenario.steps.iter().skip(first + 1).position(|step| step.lane == lane)?;
    let second = first + 1 + behind;
    let mut op = scenario.steps[first].op;
    match (&mut op, scenario.steps[second].op) {
        (Op::Send { len, .. }, Op::Send { len: more, .. })
        | (Op::Recv { len, .. }, Op::Recv { len: more, .. })
            if *len + more <= limits::CALL_BYTES =>
        {
            *len += more;
        }
        _ => return None,
    }
    Some((second, op))
}
