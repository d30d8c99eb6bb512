//! What is known so far, and the one place where a candidate is tried.

use std::collections::HashSet;

use scenario::{Scenario, limits};

use crate::Mode;
use crate::sleep::sleepers;

/// A search under way.
pub(crate) struct Search<F> {
    /// The smallest scenario that is known to show the violation.
    pub(crate) best: Scenario,
    mode: Mode,
    tries: usize,
    /// Every scenario that was tried: passes that are repeated come to the same ones again.
    tried: HashSet<Scenario>,
    shows: F,
}

impl<E, F: FnMut(&Scenario) -> Result<bool, E>> Search<F> {
    pub(crate) fn new(original: &Scenario, mode: Mode, tries: usize, shows: F) -> Search<F> {
        let tried = HashSet::from([original.clone()]);
        Search { best: original.clone(), mode, tries, tried, shows }
    }

    /// Whether nothing more may be tried.
    pub(crate) fn is_over(&self) -> bool {
        self.tries == 0
    }

    /// Whether small changes are worth a try.
    pub(crate) fn is_thorough(&self) -> bool {
        self.mode == Mode::Thorough
    }

    /// Changes a copy of the best, and keeps the copy if it still shows the violation.
    pub(crate) fn with(&mut self, change: impl FnOnce(&mut Scenario)) -> Result<bool, E> {
        if self.is_over() {
            return Ok(false);
        }
        let mut candidate = self.best.clone();
        change(&mut candidate);
        let fits =
            limits::check(&candidate).is_ok() && sleepers(&candidate) <= sleepers(&self.best);
        if !fits || !self.tried.insert(candidate.clone()) {
            return Ok(false);
        }
        self.tries -= 1;
        let shows = (self.shows)(&candidate)?;
        if shows {
            self.best = candidate;
        }
        Ok(shows)
    }
}
