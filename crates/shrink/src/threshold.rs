//! How often a violation must come back.

/// Shown in at least `hits` of `of` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Runs that must show it; at least one.
    pub hits: u32,
    /// Runs that are made at most.
    pub of: u32,
}

impl Threshold {
    /// For what comes every time: a smaller scenario that shows it by luck would be smaller and useless.
    pub const SURE: Threshold = Threshold { hits: 3, of: 3 };
    /// For what is expensive: a single run decides.
    pub const ONCE: Threshold = Threshold { hits: 1, of: 1 };

    /// For what is to become short rather than reliable: in one of twenty runs.
    pub const RARE: Threshold = Threshold { hits: 2, of: Threshold::MOST };

    /// Most runs for one candidate: what comes back in one of ten runs is the rarest that can be shrunk with good odds.
    const MOST: u32 = 40;
    /// The odds of keeping a candidate that is as reliable as the original.
    const ODDS: f64 = 0.9;

    /// The threshold for a violation that came back in so many of so many runs of the original.
    ///
    /// If it came back in all, it has to come in all again: [`Threshold::SURE`]. Else it has to come back twice (once
    /// could be the one lucky hit of a scenario that hardly shows it) in as many runs as it takes for a candidate that
    /// is as reliable as the original to be kept nine times out of ten. `None` if it never came back: then nothing can
    /// be told of a candidate.
    #[must_use]
    pub fn for_measured(hits: u32, of: u32) -> Option<Threshold> {
        if hits == 0 {
            return None;
        }
        if hits >= of {
            return Some(Threshold::SURE);
        }
        let share = f64::from(hits) / f64::from(of);
        let enough = (2..Threshold::MOST).find(|&of| twice(share, of) >= Threshold::ODDS);
        Some(Threshold { hits: 2, of: enough.unwrap_or(Threshold::MOST) })
    }

    /// Whether enough of the runs show it. No run is made that cannot change the answer.
    ///
    /// # Errors
    /// The first error of `run`.
    pub fn is_met<E>(self, mut run: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
        let (mut hits, mut left) = (0, self.of);
        while hits < self.hits && hits + left >= self.hits {
            left -= 1;
            hits += u32::from(run()?);
        }
        Ok(hits >= self.hits)
    }
}

/// How likely an event of probability `share` is to happen at least twice in `of` independent runs.
fn twice(share: f64, of: u32) -> f64 {
    let missed = 1.0 - share;
    let exponent = i32::try_from(of).unwrap_or(i32::MAX);
    let never = missed.powi(exponent);
    let once = f64::from(of) * share * missed.powi(exponent - 1);
    1.0 - never - once
}
