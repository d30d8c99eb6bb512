//! Which coverage points the scenarios on this machine have reached.

use execute::Executor;
use vm::wire::Reached;

/// The points reached so far, by number.
#[derive(Debug, Default)]
pub struct Reach(Vec<bool>);

impl Reach {
    /// What the last scenario reached that none before it did.
    pub fn by_last(&mut self, executor: &Executor) -> Reached {
        let Reach(seen) = self;
        let mut points = Vec::new();
        for hit in executor.covered() {
            let at = hit.point as usize;
            if seen.len() <= at {
                seen.resize(at + 1, false);
            }
            if !std::mem::replace(&mut seen[at], true) {
                points.push(hit.point);
            }
        }
        Reached { points, is_cut: executor.is_covered_cut() }
    }
}
