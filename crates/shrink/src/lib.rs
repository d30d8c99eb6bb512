//! Reduces a scenario while the same violation stays.
//!
//! The passes go from coarse to fine and are repeated until none of them helps: leave out runs of steps, leave
//! out options, then make what is left plainer (flags, buffers, sizes, family). Every candidate respects the
//! limits, and none may block unless the original may: a blocked call would cost its whole time bound.

#![forbid(unsafe_code)]

use scenario::{Buffer, Family, Op, RecvFlags, Scenario, SendFlags, limits};

/// Reduces `original` while `shows` says that the violation stays; at most `budget` calls of it.
///
/// The result is the original, or a candidate for which `shows` returned true.
///
/// # Errors
/// The first error of `shows`.
pub fn shrink<E>(
    original: &Scenario,
    budget: usize,
    shows: impl FnMut(&Scenario) -> Result<bool, E>,
) -> Result<Scenario, E> {
    let mut search =
        Search { best: original.clone(), may_block: original.may_block(), budget, shows };
    loop {
        let before = search.best.clone();
        search.leave_out_steps()?;
        search.leave_out_setup()?;
        search.make_plain()?;
        search.reduce_sizes()?;
        if search.best == before || search.budget == 0 {
            return Ok(search.best);
        }
    }
}

struct Search<F> {
    best: Scenario,
    may_block: bool,
    budget: usize,
    shows: F,
}

impl<E, F: FnMut(&Scenario) -> Result<bool, E>> Search<F> {
    /// Keeps the candidate if it still shows the violation.
    fn attempt(&mut self, candidate: Scenario) -> Result<bool, E> {
        let fits = limits::check(&candidate).is_ok() && (self.may_block || !candidate.may_block());
        if candidate == self.best || !fits || self.budget == 0 {
            return Ok(false);
        }
        self.budget -= 1;
        let shows = (self.shows)(&candidate)?;
        if shows {
            self.best = candidate;
        }
        Ok(shows)
    }

    /// Changes a copy of the best and tries it.
    fn with(&mut self, change: impl FnOnce(&mut Scenario)) -> Result<bool, E> {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        self.attempt(candidate)
    }

    /// Leaves out runs of steps, long ones first; from the end, where what happens after the violation is.
    fn leave_out_steps(&mut self) -> Result<(), E> {
        let mut run = self.best.steps.len();
        while run > 0 {
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(run);
                self.with(|candidate| {
                    candidate.steps.drain(start..end);
                })?;
                end = start;
            }
            run /= 2;
        }
        Ok(())
    }

    fn leave_out_setup(&mut self) -> Result<(), E> {
        for at in (0..self.best.setup.len()).rev() {
            self.with(|candidate| {
                candidate.setup.remove(at);
            })?;
        }
        Ok(())
    }

    fn make_plain(&mut self) -> Result<(), E> {
        self.with(|candidate| candidate.family = Family::V4)?;
        for at in 0..self.best.steps.len() {
            for bit in SendFlags::all().iter() {
                self.with(|candidate| {
                    if let Op::Send { flags, .. } = &mut candidate.steps[at].op {
                        flags.remove(bit);
                    }
                })?;
            }
            for bit in RecvFlags::all().iter() {
                self.with(|candidate| {
                    if let Op::Recv { flags, .. } = &mut candidate.steps[at].op {
                        flags.remove(bit);
                    }
                })?;
            }
            self.with(|candidate| {
                if let Op::Send { buffer, .. } | Op::Recv { buffer, .. } =
                    &mut candidate.steps[at].op
                {
                    *buffer = Buffer::Mapped;
                }
            })?;
        }
        Ok(())
    }

    /// Gives each call the smallest of a few round lengths that still does it.
    fn reduce_sizes(&mut self) -> Result<(), E> {
        for at in 0..self.best.steps.len() {
            for smaller in [1, 10, 100, 1_000, 4_096, 16_384] {
                let done = self.with(|candidate| {
                    if let Op::Send { len, .. } | Op::Recv { len, .. } = &mut candidate.steps[at].op
                        && *len > smaller
                    {
                        *len = smaller;
                    }
                })?;
                if done {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use scenario::{Endpoint, Lane, Step};

    use super::*;

    fn sends_over(limit: u32) -> impl Fn(&Scenario) -> Result<bool, Infallible> {
        move |scenario| {
            let sent = scenario.steps.iter().map(|step| match step.op {
                Op::Send { len, .. } => len,
                _ => 0,
            });
            Ok(sent.sum::<u32>() > limit)
        }
    }

    proptest! {
        #[test]
        fn the_result_shows_the_violation_and_is_no_larger(number in 0u64..500) {
            let original = generate::scenario(1, number);
            prop_assume!(sends_over(3_000)(&original) == Ok(true));
            let small = shrink(&original, 10_000, sends_over(3_000)).unwrap();
            prop_assert_eq!(sends_over(3_000)(&small), Ok(true));
            prop_assert!(small.steps.len() <= original.steps.len());
            prop_assert!(limits::check(&small).is_ok());
            prop_assert!(!small.may_block() || original.may_block());
            let only_sends = small.steps.iter().all(|step| matches!(step.op, Op::Send { .. }));
            prop_assert!(only_sends);
        }

        #[test]
        fn the_budget_holds(number in 0u64..100, budget in 0usize..20) {
            let mut calls = 0;
            let _ = shrink(&generate::scenario(1, number), budget, |_| {
                calls += 1;
                Ok::<_, Infallible>(calls % 3 == 0)
            });
            prop_assert!(calls <= budget);
        }
    }

    #[test_log::test]
    fn one_step_is_left_of_what_one_step_shows() {
        let send = |len| Step {
            lane: 0,
            op: Op::Send {
                len,
                flags: SendFlags::DONTWAIT | SendFlags::MORE,
                buffer: Buffer::Mapped,
            },
            expect: None,
        };
        let original = Scenario {
            lanes: vec![Lane { name: "c".into(), endpoint: Endpoint::Client }],
            steps: vec![send(5), send(70_000), send(9)],
            ..Scenario::default()
        };
        let small = shrink(&original, 1_000, sends_over(20_000)).unwrap();
        assert_eq!(small.steps.len(), 1);
        let Op::Send { len, flags, .. } = small.steps[0].op else { panic!("not a send") };
        assert_eq!((len, flags), (70_000, SendFlags::DONTWAIT));
    }
}
