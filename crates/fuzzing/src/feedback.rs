//! What libFuzzer learns of an execution.

use execute::{Hit, libfuzzer};
use scenario::{History, Scenario};

use crate::damper::{Damper, Reached};
use crate::situation::{SITUATIONS, situations};

/// Counters for points of the code under test; where there are more, some share one.
const POINTS: u32 = libfuzzer::LEN - SITUATIONS;

/// The counters, and what they have counted so far.
pub struct Feedback {
    damper: Damper,
}

impl Feedback {
    /// Nothing was counted.
    pub fn new() -> Feedback {
        Feedback { damper: Damper::new(libfuzzer::LEN) }
    }

    /// Notes what an execution reached; whether it is to be repeated. See [`Damper`].
    pub fn note(&mut self, scenario: &Scenario, reached: &[Reached]) -> bool {
        self.damper.note(reached, !scenario.is_sequential())
    }

    /// Tells libFuzzer what of it counts, and nothing else.
    pub fn tell(&self, reached: &[Reached]) {
        for reached in reached.iter().filter(|reached| self.damper.counts(**reached)) {
            libfuzzer::count(reached.what, reached.times);
        }
        libfuzzer::forget_harness();
    }
}

/// All that an execution reached. Where calls overlap, how often a point was reached is chance.
pub fn reached(scenario: &Scenario, history: &History, hits: &[Hit]) -> Vec<Reached> {
    let most = if scenario.is_sequential() { u32::from(u8::MAX) } else { 1 };
    let points = hits.iter().map(|hit| Reached {
        what: hit.point % POINTS,
        times: u8::try_from(hit.times.clamp(1, most)).unwrap_or(u8::MAX),
    });
    let met = situations(scenario, history).into_iter();
    points.chain(met.map(|number| Reached { what: POINTS + number, times: 1 })).collect()
}

#[cfg(test)]
mod tests {
    use scenario::history::Bounds;
    use scenario::payload::Key;
    use scenario::{When, text};

    use super::*;

    #[test_log::test]
    fn how_often_counts_only_where_nothing_overlaps() {
        let ring = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\nc: poll\ns: poll\nend\n";
        let mut scenario = text::parse(ring).unwrap();
        let history = History {
            key: Key::from_seed(1),
            run: 0,
            connections: Vec::new(),
            bounds: Bounds::default(),
            records: Vec::new(),
            ring_counter: None,
        };
        let hits = [Hit { point: 3, times: 1_000 }, Hit { point: POINTS + 5, times: 7 }];
        let times = |scenario: &Scenario| {
            let reached = reached(scenario, &history, &hits);
            reached.iter().map(|reached| (reached.what, reached.times)).collect::<Vec<_>>()
        };
        assert_eq!(times(&scenario), [(3, 255), (5, 7)]);
        scenario.steps[1].when = When::With { after_us: 0 };
        assert_eq!(times(&scenario), [(3, 1), (5, 1)]);
    }
}
