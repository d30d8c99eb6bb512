//! How fast plain TCP and a pair are, measured on two connections of one kernel.
//!
//! The plain connection is made before the program is attached, which therefore never sees it, and both stay
//! open: measurements of the two can alternate, so that a machine that becomes slower slows both.

mod exchange;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bpf::{Attached, Reports};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use scenario::Scenario;
use scenario::bench::{
    BusyPoll, Contenders, LONGEST, Load, Measurement, Mode, Phase, Side, Trouble,
};
use scenario::history::{Errno, Pairing};

use crate::backstage::{answers, asked};
use crate::connect::{Connected, Listeners};
use crate::watchdog::Watchdog;
use crate::{Error, sys};
use exchange::{Job, Role, Tally, Until};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How much longer than planned a measurement may take, or a warm-up at all: only what is broken does.
const GRACE: Duration = Duration::from_secs(20);
/// Bytes that a warm-up moves, and the least and most messages that it makes of them.
const WARM_UP_BYTES: u64 = 128 << 10;
const WARM_UP_MESSAGES: (u64, u64) = (16, 256);
/// Where a module whose `TCP_INFO` counts all bytes, as plain TCP does, tells those of the ring.
const RING_COUNTER: &str = "/sys/module/splice_pair/parameters/ring_bytes";

/// Two connections to be measured.
#[derive(Debug)]
pub struct Bench {
    plain: [Arc<TcpStream>; 2],
    paired: [Arc<TcpStream>; 2],
    processors: usize,
    _attached: Attached,
}

/// What the kernel had counted at some time.
struct Counters {
    /// What TCP took from each endpoint.
    tcp: [u64; 2],
    ring: Option<u64>,
}

impl Bench {
    /// Makes the plain connection, attaches the program, makes the other one.
    ///
    /// # Errors
    /// [`Error::Pairing`] with what `attach` says; else where there is no connection, or no results of it, or no
    /// busy polling.
    pub fn new(
        attach: impl FnOnce() -> Result<Attached, bpf::Error>,
        busy_poll_us: Option<u32>,
    ) -> Result<(Bench, Contenders), Error> {
        let watchdog = Watchdog::new(CONNECT)?;
        let mut listeners = Listeners::default();
        let mut connect = || {
            watchdog.restart();
            let connected = listeners.connect(&Scenario::default(), 0, &watchdog);
            watchdog.stop();
            connected
        };
        let plain = connect()?;
        let attached = attach()?;
        let paired = connect()?;
        let (pairing, refused) = introduced(&attached, &paired)?;
        let mut busy_poll = None;
        if let Some(microseconds) = busy_poll_us {
            set_busy_poll(&plain, microseconds)?;
            busy_poll = Some(match refused {
                Some(0) => BusyPoll::Program,
                refused => {
                    set_busy_poll(&paired, microseconds)?;
                    BusyPoll::Setsockopt(refused)
                }
            });
        }
        let bench = Bench {
            plain: streams(plain),
            paired: streams(paired),
            processors: thread::available_parallelism().map_or(1, Into::into),
            _attached: attached,
        };
        Ok((bench, Contenders { pairing, busy_poll }))
    }

    /// Warms up, comparing every byte, and measures.
    ///
    /// # Errors
    /// Whatever kept it from an answer. The connection, and after [`Trouble::Stalled`] the process, is then of no
    /// further use: its threads may still be in the kernel.
    pub fn measure(&self, load: Load) -> Result<Measurement, Trouble> {
        if !(1..=LONGEST).contains(&load.size) {
            return Err(Trouble::Harness(format!("no messages of {} bytes", load.size)));
        }
        let connection = match load.side {
            Side::Plain => &self.plain,
            Side::Paired => &self.paired,
        };
        let (least, most) = WARM_UP_MESSAGES;
        let messages = (WARM_UP_BYTES / u64::from(load.size)).clamp(least, most);
        let mut job = Job {
            mode: load.mode,
            size: load.size as usize,
            until: Until::Messages(messages),
            phase: Phase::WarmUp,
        };
        run(connection, self.processors, job, GRACE)?;
        let time = Duration::from_millis(load.millis.into());
        job = Job { until: Until::Elapsed(time), phase: Phase::Measuring, ..job };
        let before = Counters::read(connection)?;
        let tallies = run(connection, self.processors, job, time + GRACE)?;
        let after = Counters::read(connection)?;
        let [client, server] = tallies;
        let elapsed = client.ended.max(server.ended) - client.begun;
        Ok(Measurement {
            messages: client.messages,
            bytes: client.sent + server.sent,
            ring: before.ring(&after, tallies.map(|tally| tally.sent)),
            elapsed_ns: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
        })
    }
}

/// What the program says about the connection, and what it got for busy polling (the worse of the two answers).
fn introduced(attached: &Attached, connected: &Connected) -> Result<(Pairing, Option<i32>), Error> {
    match attached.reports() {
        Reports::Nothing => Ok((Pairing::Unknown, None)),
        Reports::Updates => Ok((Pairing::NotAsked, None)),
        Reports::Pairs => {
            let answers = answers(attached, connected)?;
            let [client, server] = answers.map(|answer| answer.and_then(|answer| answer.busy_poll));
            let busy_poll = client.zip(server).map(|(client, server)| client.min(server));
            Ok((asked(answers), busy_poll))
        }
    }
}

fn set_busy_poll(connected: &Connected, microseconds: u32) -> Result<(), Error> {
    for socket in &connected.sockets {
        sys::busy_poll(socket.as_fd(), microseconds)
            .map_err(|errno| Error::Call("set SO_BUSY_POLL", errno))?;
    }
    Ok(())
}

fn streams(connected: Connected) -> [Arc<TcpStream>; 2] {
    connected.sockets.map(|socket| Arc::new(TcpStream::from(socket)))
}

/// Has both endpoints do the job, a thread each, on a processor of its own where there are two. The threads are let
/// be when they do not finish: nothing ends a call that the kernel does not return from.
fn run(
    connection: &[Arc<TcpStream>; 2],
    processors: usize,
    job: Job,
    limit: Duration,
) -> Result<[Tally; 2], Trouble> {
    let (sender, results) = mpsc::channel();
    let start = Arc::new(Barrier::new(2));
    for (number, role) in [Role::Client, Role::Server].into_iter().enumerate() {
        let (sender, start) = (sender.clone(), Arc::clone(&start));
        let socket = Arc::clone(&connection[number]);
        let work = move || {
            let pinned = pin(number % processors);
            start.wait();
            let played = pinned.and_then(|()| exchange::play(&socket, role, job));
            // nobody may listen any more
            let _ = sender.send((number, played));
        };
        thread::Builder::new()
            .name(format!("bench-{number}"))
            .spawn(work)
            .map_err(|error| Trouble::Harness(format!("cannot start a thread: {error}")))?;
    }
    let end = Instant::now() + limit;
    let mut tallies = [None; 2];
    while tallies.iter().any(Option::is_none) {
        let played = results.recv_timeout(end.saturating_duration_since(Instant::now()));
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let stalled = Trouble::Stalled { limit_ms, phase: job.phase };
        match played.map_err(|_| stalled).and_then(|(number, played)| Ok((number, played?))) {
            Ok((number, tally)) => tallies[number] = Some(tally),
            Err(trouble) => {
                // for the other endpoint, if it can be helped
                let _ = connection[0].shutdown(Shutdown::Both);
                return Err(trouble);
            }
        }
    }
    let [Some(client), Some(server)] = tallies else {
        return Err(Trouble::Harness("an endpoint left no tally".into()));
    };
    if client.sent != server.received {
        return Err(Trouble::Count { sent: client.sent, received: server.received });
    }
    if job.mode == Mode::Rr && server.sent != client.received {
        return Err(Trouble::Count { sent: server.sent, received: client.received });
    }
    Ok([client, server])
}

fn pin(processor: usize) -> Result<(), Trouble> {
    let mut set = CpuSet::new();
    set.set(processor)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|error| Trouble::Harness(format!("cannot stay on processor {processor}: {error}")))
}

impl Counters {
    fn read(connection: &[Arc<TcpStream>; 2]) -> Result<Counters, Trouble> {
        let [client, server] = connection;
        let unreadable = |errno| Trouble::Harness(format!("cannot read TCP_INFO: {errno}"));
        Ok(Counters {
            tcp: [
                taken(client.as_fd()).map_err(unreadable)?,
                taken(server.as_fd()).map_err(unreadable)?,
            ],
            ring: fs::read_to_string(RING_COUNTER).ok().and_then(|text| text.trim().parse().ok()),
        })
    }

    /// Bytes that took the ring since: those that sends accepted and TCP knows nothing of; or what the module counted,
    /// where TCP counts them, too.
    fn ring(&self, later: &Counters, accepted: [u64; 2]) -> u64 {
        let unknown = |at: usize| {
            let tcp = later.tcp[at].saturating_sub(self.tcp[at]);
            accepted[at].saturating_sub(tcp)
        };
        let counted = later.ring.zip(self.ring).map_or(0, |(later, now)| later.saturating_sub(now));
        counted.max(unknown(0) + unknown(1))
    }
}

/// Bytes that TCP has taken from an open socket.
fn taken(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    let info = sys::tcp_info(socket)?;
    Ok(info.bytes_sent.saturating_sub(info.bytes_retrans) + u64::from(info.notsent_bytes))
}
