//! One scenario from the handshake to the history.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bpf::Attached;
use scenario::history::{At, Bounds, Errno, Record};
use scenario::payload::Key;
use scenario::{History, Scenario, limits};

use crate::Error;
use crate::backstage::{Backstage, Reply};
use crate::crew::Crew;
use crate::finale::Finale;
use crate::hands::{Call, Hands};
use crate::kcov::{Coverage, Hit};
use crate::points::Points;
use crate::schedule::Schedule;
use crate::stage::Stage;
use crate::watchdog::take_sigpipes;

/// The calls that the finale adds to the steps, roughly: room to begin with.
const FINALE_RECORDS: usize = 20;
/// What an error about the ring counter says.
const COUNT: &str = "read the ring counter";

/// The file of a target's ring counter, kept open.
#[derive(Debug)]
struct RingCounter(File);

impl RingCounter {
    fn read(&self) -> Result<u64, Error> {
        // longer than any u64; a file of sysfs is made anew for every read from its start
        let mut text = [0; 32];
        let read = self.0.read_at(&mut text, 0).map_err(|error| Error::Resource(COUNT, error))?;
        let number = str::from_utf8(&text[..read]).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| Error::Resource(COUNT, io::ErrorKind::InvalidData.into()))
    }
}

/// Runs scenarios, from the thread that made it.
///
/// It installs process-wide actions for `SIGALRM` (its watchdogs'), `SIGPIPE` (which it counts), `SIGUSR1` and
/// `SIGUSR2`.
#[derive(Debug)]
pub struct Executor {
    key: Key,
    bounds: Bounds,
    backstage: Backstage,
    hands: Hands,
    crew: Crew,
    ring_counter: Option<RingCounter>,
    coverage: Option<Coverage>,
    returned: Arc<AtomicU64>,
}

impl Executor {
    /// An executor for a target that pairs by `pairing`, or does not.
    ///
    /// # Errors
    /// [`Error::Resource`] if memory, the timer, or the signals cannot be had.
    pub fn new(pairing: Option<Attached>, key: Key, bounds: Bounds) -> Result<Executor, Error> {
        // a timer set to 0 is off
        let bound = Duration::from_millis(bounds.call_ms.max(1).into());
        Ok(Executor {
            key,
            bounds,
            backstage: Backstage::new(pairing, bound)?,
            hands: Hands::new(bound)?,
            crew: Crew::new(bound),
            ring_counter: None,
            coverage: None,
            returned: Arc::default(),
        })
    }

    /// How many calls have returned so far, in all scenarios. It grows while one runs, so that one that is slow can be
    /// told from one that hangs.
    #[must_use]
    pub fn returned(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.returned)
    }

    /// How many endpoints are in the SOCKHASH of our program now; `None` without one, and where it cannot be read.
    #[must_use]
    pub fn map_entries(&self) -> Option<u64> {
        self.backstage.map_entries()
    }

    /// Counts the ring's bytes by this file, a decimal number of all bytes that any ring ever carried, for a target
    /// whose `TCP_INFO` does not tell them from TCP's.
    ///
    /// # Errors
    /// [`Error::Resource`] if it cannot be read.
    pub fn count_ring_by(&mut self, file: &Path) -> Result<(), Error> {
        let file = File::open(file).map_err(|error| Error::Resource(COUNT, error))?;
        let counter = RingCounter(file);
        counter.read()?;
        self.ring_counter = Some(counter);
        Ok(())
    }

    /// Traces scenarios from now on: which of these points they pass, on every thread that makes their calls, from
    /// connecting to the end of the finale.
    ///
    /// # Errors
    /// [`Error::NoKcov`] if the kernel has no KCOV; [`Error::Resource`] if there is no memory for it, or this thread is
    /// traced by somebody else.
    pub fn trace(&mut self, points: Arc<Points>) -> Result<(), Error> {
        // a thread cannot be recorded twice
        self.coverage = None;
        let coverage = Coverage::new(points)?;
        self.crew.record(coverage.recording());
        self.coverage = Some(coverage);
        Ok(())
    }

    /// The points that the last scenario passed, in ascending order; nothing where none is traced.
    #[must_use]
    pub fn covered(&self) -> &[Hit] {
        self.coverage.as_ref().map_or(&[], Coverage::hits)
    }

    /// Whether it passed so many that [`Executor::covered`] lacks the last ones of a thread.
    #[must_use]
    pub fn is_covered_cut(&self) -> bool {
        self.coverage.as_ref().is_some_and(Coverage::is_cut)
    }

    /// Runs one scenario, with `run` to tell its payload from that of other scenarios.
    ///
    /// # Errors
    /// Only where the harness broke: no connection, or no pairing results or ring counter to be had.
    pub fn execute(&mut self, run: u16, scenario: &Scenario) -> Result<History, Error> {
        limits::check(scenario)?;
        let start = Instant::now();
        // none of an earlier scenario's, nor one that the caller's own pipes raised
        take_sigpipes();
        self.hands.watchdog.restart();
        if let Some(coverage) = &mut self.coverage {
            coverage.begin();
        }
        let history = self.perform(run, scenario, start);
        self.hands.tidy();
        if let Some(coverage) = &mut self.coverage {
            coverage.end();
        }
        history
    }

    fn perform(&mut self, run: u16, scenario: &Scenario, start: Instant) -> Result<History, Error> {
        let before = self.ring_bytes()?;
        let connected = self.backstage.open(scenario)?;
        let stage =
            Arc::new(Stage::new(scenario, (self.key, run), start, connected, self.returned()));
        // io_uring leaves its mark on the thread: see Crew::dismiss
        let mut records = if scenario.is_sequential() && stage.uring_lanes().is_empty() {
            self.one_after_the_other(&stage)?
        } else {
            Schedule {
                stage: &stage,
                crew: &mut self.crew,
                backstage: &mut self.backstage,
                hands: &mut self.hands,
                settle: Duration::from_millis(self.bounds.settle_ms.into()),
            }
            .run()?
        };
        // each lane's are in their order already
        records.sort_by_key(|record| record.call_ns);
        let hands = &mut self.hands;
        Finale { stage: &stage, hands, bounds: self.bounds, records: &mut records }.run();
        let after = self.ring_bytes()?;
        let ring_counter = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        // lanes give it back before they say that they are done
        let stage = Arc::into_inner(stage).ok_or(Error::Resource(
            "end the scenario",
            io::Error::other("a lane still has a part in it"),
        ))?;
        let connections = stage.into_connections();
        Ok(History { key: self.key, run, connections, bounds: self.bounds, records, ring_counter })
    }

    /// Makes all calls on this thread.
    fn one_after_the_other(&mut self, stage: &Stage) -> Result<Vec<Record>, Error> {
        let steps = &stage.scenario.steps;
        let mut records = Vec::with_capacity(steps.len() + FINALE_RECORDS);
        for (step, at) in steps.iter().zip(0..) {
            let lane = stage.scenario.lane(step);
            let call = Call {
                at: At::Step(at),
                lane: Some(step.lane),
                pair: lane.pair,
                endpoint: lane.endpoint,
                op: step.op,
                alone: true,
            };
            let mut failed = None;
            let backstage = &mut self.backstage;
            let (record, besides) = self.hands.issue(stage, call, &mut |request| {
                backstage.serve(stage, request).unwrap_or_else(|error| {
                    failed = Some(error);
                    Reply::from(Err(Errno(libc::EIO)))
                })
            });
            if let Some(error) = failed {
                return Err(error);
            }
            records.extend(besides);
            records.push(record);
        }
        Ok(records)
    }

    fn ring_bytes(&self) -> Result<Option<u64>, Error> {
        self.ring_counter.as_ref().map(RingCounter::read).transpose()
    }
}
