//! What the calls of a scenario are made with beyond its sockets: networks, listening sockets, the pairing program.
//!
//! All of it is used from the executor's thread only; lanes ask that for it.

use std::thread;
use std::time::{Duration, Instant};

use bpf::{Answer, Attached, Reports};
use scenario::history::{At, Errno, Outcome, Pairing, Record};
use scenario::{Attempt, Endpoint, Op, Scenario};

use crate::connect::{Client, Connected, Listeners, Refused};
use crate::stage::Stage;
use crate::watchdog::Watchdog;
use crate::{Error, sys};

/// How long a program may run later than `accept(2)` returns, on a guest whose processors wait for the host's.
const PROGRAM_LATENESS: Duration = Duration::from_millis(200);

/// An op of a lane that only the executor's thread can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) step: u32,
    pub(crate) lane: u8,
    pub(crate) op: Op,
}

/// What came of it: the result, and calls that it took besides.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) outcome: Outcome,
    pub(crate) besides: Vec<Record>,
}

impl From<Result<u32, Errno>> for Reply {
    fn from(result: Result<u32, Errno>) -> Reply {
        let outcome = result.map_or_else(Outcome::Errno, Outcome::Value);
        Reply { outcome, besides: Vec::new() }
    }
}

#[derive(Debug)]
pub(crate) struct Backstage {
    program: Option<Attached>,
    /// Whether new connections are none of the program's business.
    is_detached: bool,
    listeners: Listeners,
    watchdog: Watchdog,
}

impl Backstage {
    /// For the calling thread. `bound` is how long connecting may take.
    pub(crate) fn new(program: Option<Attached>, bound: Duration) -> Result<Backstage, Error> {
        let watchdog = Watchdog::new(bound)?;
        Ok(Backstage { program, is_detached: false, listeners: Listeners::default(), watchdog })
    }

    /// See [`Executor::map_entries`](crate::Executor::map_entries).
    pub(crate) fn map_entries(&self) -> Option<u64> {
        self.program.as_ref().and_then(Attached::entries)
    }

    /// Connects the pairs of a scenario. A watchdog of the calling thread has to be running.
    pub(crate) fn open(&mut self, scenario: &Scenario) -> Result<Vec<(Connected, Pairing)>, Error> {
        self.is_detached = scenario.attempt == Attempt::Never;
        match &mut self.program {
            Some(program) if self.is_detached => program.detach(),
            Some(program) => program.attach_again()?,
            None => {}
        }
        let mut all: Vec<(Connected, Pairing)> = Vec::with_capacity(scenario.pairs.into());
        for pair in 0..scenario.pairs {
            let attempt = attempt(scenario, Some(&all));
            self.announce(attempt)?;
            let connected = self.listeners.connect(scenario, pair, &self.watchdog)?;
            let pairing = match self.pairing(&connected)? {
                Pairing::Asked { .. } if attempt == bpf::Attempt::Leave => Pairing::Left,
                pairing => pairing,
            };
            all.push((connected, pairing));
        }
        Ok(all)
    }

    /// Tells the program how it is to pair the next connection.
    fn announce(&mut self, attempt: bpf::Attempt) -> Result<(), Error> {
        let Some(program) = &mut self.program else { return Ok(()) };
        Ok(program.attempt(attempt)?)
    }

    /// Does what a lane asks for.
    pub(crate) fn serve(&mut self, stage: &Stage, request: Request) -> Result<Reply, Error> {
        let lane = &stage.scenario.lanes[usize::from(request.lane)];
        let (pair, endpoint) = (lane.pair, lane.endpoint);
        let side = stage.side(pair, endpoint);
        let [local, remote] = side.addresses;
        match (request.op, &mut self.program) {
            (Op::Connect, _) => {
                drop(side);
                self.watchdog.restart();
                let reply = self.connect(stage, request, pair);
                self.watchdog.stop();
                reply
            }
            (Op::Destroy, _) => {
                let Some(socket) = side.descriptor() else { return Ok(Err(BAD).into()) };
                let places = self.listeners.places(&stage.scenario)?;
                let destroyed = places.within(endpoint, || sys::destroy(socket, local, remote))?;
                Ok(destroyed.into())
            }
            (Op::Unhash, Some(program)) => Ok(Ok(u32::from(program.remove(local, remote)?)).into()),
            (Op::Rehash, Some(program)) => {
                let Some(socket) = side.descriptor() else { return Ok(Err(BAD).into()) };
                let replaced = program.replace(local, remote, socket)?;
                Ok(replaced.map(|()| 0).map_err(Errno).into())
            }
            (Op::Detach, Some(program)) => {
                program.detach();
                self.is_detached = true;
                Ok(Ok(0).into())
            }
            // without a program there is nothing to do
            _ => Ok(Ok(0).into()),
        }
    }

    fn connect(&mut self, stage: &Stage, request: Request, pair: u8) -> Result<Reply, Error> {
        let mut besides = Vec::new();
        let (ready, socket, address) = {
            let side = stage.side(pair, Endpoint::Client);
            let socket = side.descriptor().map(|socket| socket.try_clone_to_owned()).transpose();
            let socket =
                socket.map_err(|error| Error::Resource("duplicate a descriptor", error))?;
            (side.disconnected || !side.is_open(), socket, side.addresses[0])
        };
        // otherwise the call fails, and nothing else happens
        while ready && stage.side(pair, Endpoint::Server).is_open() {
            besides.push(close(stage, request, pair));
        }
        self.announce(attempt(&stage.scenario, None))?;
        let client = match socket {
            Some(socket) => Client::Again(socket),
            None if ready => Client::From(address),
            // only a child holds it: there is nothing to call with
            None => return Ok(Reply { outcome: Outcome::Closed, besides }),
        };
        let connected = self.listeners.connect_by(&stage.scenario, pair, client, &self.watchdog);
        let outcome = match connected {
            Ok(connected) => {
                let pairing = self.pairing(&connected)?;
                stage.reconnected(pair, connected, pairing);
                Outcome::Value(0)
            }
            Err(Refused::Call(errno)) => Outcome::Errno(errno),
            Err(Refused::Harness(error)) => return Err(error),
        };
        Ok(Reply { outcome, besides })
    }

    /// What became of the pairing of two sockets that are just connected.
    fn pairing(&self, connected: &Connected) -> Result<Pairing, Error> {
        let Some(program) = self.program.as_ref().filter(|_| !self.is_detached) else {
            return Ok(Pairing::NotAsked);
        };
        let reports = program.reports();
        if reports == Reports::Nothing {
            return Ok(Pairing::Unknown);
        }
        let answers = answers(program, connected)?;
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

const BAD: Errno = Errno(libc::EBADF);

/// How the program is to pair the connection that comes next; `so_far` are those of the scenario, `None` when one is made
/// again.
fn attempt(scenario: &Scenario, so_far: Option<&[(Connected, Pairing)]>) -> bpf::Attempt {
    match (scenario.attempt, so_far) {
        (Attempt::Twice, _) => bpf::Attempt::Twice,
        (Attempt::Stranger, Some([.., (before, _)])) => {
            let [local, remote] = before.addresses;
            bpf::Attempt::Stranger { local, remote }
        }
        (Attempt::FreeStranger, Some([])) if scenario.pairs > 1 => bpf::Attempt::Leave,
        // to a client, the first server differs from its own by one port
        (Attempt::FreeStranger, Some([(first, _), ..])) => {
            let [remote, local] = first.addresses;
            bpf::Attempt::Stranger { local, remote }
        }
        (Attempt::Stranger | Attempt::FreeStranger, _) | (Attempt::Once | Attempt::Never, _) => {
            bpf::Attempt::Once
        }
    }
}

/// Closes a holder of the server's end, for a client that connects again.
fn close(stage: &Stage, request: Request, pair: u8) -> Record {
    let endpoint = Endpoint::Server;
    let connection = stage.side(pair, endpoint).connection;
    let call_ns = stage.now();
    let result = stage.close(pair, endpoint, false);
    Record {
        at: At::Step(request.step),
        lane: Some(request.lane),
        connection,
        endpoint,
        op: Op::Close,
        call_ns,
        return_ns: stage.now(),
        peer_outq: None,
        outcome: result.map_or_else(Outcome::Errno, Outcome::Value),
        cpu_ns: 0,
        ticked_ns: 0,
        touched: 0,
        sigpipe: false,
        interrupted: false,
        copy_differs: None,
    }
}

/// What both endpoints' programs say about the pair.
pub(crate) fn asked(answers: [Option<Answer>; 2]) -> Pairing {
    Pairing::Asked {
        results: answers.map(|answer| answer.and_then(|answer| answer.pair)),
        updates: answers.map(|answer| answer.map(|answer| answer.update)),
        further: answers.map(|answer| answer.and_then(|answer| answer.further)),
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
