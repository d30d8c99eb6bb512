//! Which scenario reached which coverage point first.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vm::coverage::{Code, CoverageError};
use vm::wire::Reached;

use crate::exit::Failure;

/// What scenarios have reached so far, on all machines.
#[derive(Debug)]
pub struct Reach {
    list: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of each point, the scenario.
    first: Vec<Option<u64>>,
    cut: u64,
}

impl Reach {
    /// Nothing so far. The points of `code` are listed in the file `list`, for guests to read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(code: &Code, list: &Path) -> Result<Reach, Failure> {
        code.write_points(list).map_err(coverage_failure)?;
        let state = State { first: vec![None; code.points()], cut: 0 };
        Ok(Reach { list: list.to_owned(), state: Mutex::new(state) })
    }

    /// The list of points.
    pub fn list(&self) -> &Path {
        &self.list
    }

    /// Notes what a scenario reached. Machines run side by side: an earlier one may answer later.
    pub fn note(&self, scenario: u64, reached: &Reached) {
        let mut state = self.state();
        state.cut += u64::from(reached.is_cut);
        for point in &reached.points {
            if let Some(first) = state.first.get_mut(*point as usize) {
                *first = Some(first.map_or(scenario, |earlier| earlier.min(scenario)));
            }
        }
    }

    /// How many points were reached.
    pub fn covered(&self) -> u64 {
        self.state().first.iter().flatten().count() as u64
    }

    /// Of each point the first scenario that reached it.
    pub fn first(&self) -> Vec<Option<u64>> {
        self.state().first.clone()
    }

    /// How many scenarios reached more than there was room for.
    pub fn cut(&self) -> u64 {
        self.state().cut
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sorts what is wrong with coverage into the exit codes.
pub fn coverage_failure(error: CoverageError) -> Failure {
    match error {
        CoverageError::NoKcov(_) => Failure::Skip(error.to_string()),
        _ => Failure::Harness(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn the_first_scenario_is_the_one_with_the_lowest_number() {
        let state = State { first: vec![None; 3], cut: 0 };
        let reach = Reach { list: PathBuf::new(), state: Mutex::new(state) };
        reach.note(7, &Reached { points: vec![0, 2], is_cut: false });
        reach.note(5, &Reached { points: vec![2], is_cut: true });
        // a number that no list has
        reach.note(9, &Reached { points: vec![0, 3], is_cut: false });
        assert_eq!(reach.first(), [Some(7), None, Some(5)]);
        assert_eq!((reach.covered(), reach.cut()), (2, 1));
    }
}
