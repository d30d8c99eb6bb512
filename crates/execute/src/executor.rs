//! One scenario from the handshake to the history.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bpf::{Answer, Attached, Reports};
use scenario::history::{At, Bounds, Pairing};
use scenario::payload::Key;
use scenario::{Endpoint, History, Scenario, limits};

use crate::Error;
use crate::buffer::{Inbox, Outbox};
use crate::connect::{Connected, Listeners};
use crate::round::Round;
use crate::watchdog::{Watchdog, take_sigpipes};

/// How long a program may run later than `accept(2)` returns, on a guest whose processors wait for the host's.
const PROGRAM_LATENESS: Duration = Duration::from_millis(200);

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

/// Runs scenarios on the thread that made it.
///
/// It installs process-wide actions for `SIGALRM` (its watchdog's) and `SIGPIPE` (which it counts).
#[derive(Debug)]
pub struct Executor {
    pairing: Option<Attached>,
    key: Key,
    bounds: Bounds,
    pub(crate) watchdog: Watchdog,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    listeners: Listeners,
    ring_counter: Option<RingCounter>,
}

impl Executor {
    /// An executor for a target that pairs by `pairing`, or does not.
    ///
    /// # Errors
    /// [`Error::Resource`] if memory, the timer, or the signals cannot be had.
    pub fn new(pairing: Option<Attached>, key: Key, bounds: Bounds) -> Result<Executor, Error> {
        Ok(Executor {
            pairing,
            key,
            bounds,
            // a timer set to 0 is off
            watchdog: Watchdog::new(Duration::from_millis(bounds.call_ms.max(1).into()))?,
            outbox: Outbox::new()?,
            inbox: Inbox::new()?,
            listeners: Listeners::default(),
            ring_counter: None,
        })
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

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
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
        self.watchdog.restart();
        let history = self.round(run, scenario, start);
        self.watchdog.stop();
        history
    }

    fn round(&mut self, run: u16, scenario: &Scenario, start: Instant) -> Result<History, Error> {
        let before = self.ring_bytes()?;
        let connected = self.listeners.connect(scenario, &self.watchdog)?;
        let pairing = self.pairing(&connected)?;
        let mut round = Round::new(self, run, scenario, connected.sockets, start);
        for (step, at) in scenario.steps.iter().zip(0..) {
            round.perform(At::Step(at), scenario.endpoint(step), step.op);
        }
        round.finish();
        let (records, traffic) = round.into_parts();
        let after = self.ring_bytes()?;
        let ring_counter = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        let (key, bounds) = (self.key, self.bounds);
        Ok(History { key, run, pairing, bounds, records, traffic, ring_counter })
    }

    fn ring_bytes(&self) -> Result<Option<u64>, Error> {
        self.ring_counter.as_ref().map(RingCounter::read).transpose()
    }

    /// What became of the pairing of two sockets that are just connected.
    fn pairing(&self, connected: &Connected) -> Result<Pairing, Error> {
        let Some(attached) = &self.pairing else {
            return Ok(Pairing::NotAsked);
        };
        let reports = attached.reports();
        if reports == Reports::Nothing {
            return Ok(Pairing::Unknown);
        }
        let answers = answers(attached, connected)?;
        if reports == Reports::Pairs {
            return Ok(asked(answers));
        }
        for endpoint in Endpoint::BOTH {
            let update = answers[endpoint.index()].map(|answer| answer.update);
            if update != Some(0) {
                return Err(Error::NotInSockhash(endpoint, update));
            }
        }
        Ok(Pairing::NotAsked)
    }
}

/// What both endpoints' programs say about the pair.
pub(crate) fn asked(answers: [Option<Answer>; 2]) -> Pairing {
    Pairing::Asked {
        results: answers.map(|answer| answer.and_then(|answer| answer.pair)),
        updates: answers.map(|answer| answer.map(|answer| answer.update)),
    }
}

/// The results of both endpoints' programs, `None` where one did not run.
pub(crate) fn answers(
    attached: &Attached,
    connected: &Connected,
) -> Result<[Option<Answer>; 2], Error> {
    let [client, server] = connected.addresses;
    let mut answers = [attached.take(client, server)?, attached.take(server, client)?];
    if answers.iter().any(Option::is_none) {
        let deadline = Instant::now() + PROGRAM_LATENESS;
        while answers.iter().any(Option::is_none) && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(100));
            for (answer, (own, peer)) in
                answers.iter_mut().zip([(client, server), (server, client)])
            {
                if answer.is_none() {
                    *answer = attached.take(own, peer)?;
                }
            }
        }
    }
    Ok(answers)
}
