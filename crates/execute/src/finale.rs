//! The fixed ending that turns liveness into something that can be judged: see [`scenario::History`].

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use scenario::history::{At, Errno, Outcome, Record};
use scenario::{Buffer, Endpoint, How, Op, Ready, RecvFlags, SockOption};

use crate::round::Round;
use crate::sys;

/// Length of the finale's receives: what is still missing, within these. Bytes.
const SHORTEST: u64 = 512;
const LONGEST: u64 = 64 << 10;
/// The receive buffer of the finale, in bytes: with a tiny one every few hundred bytes would wait for a window probe
/// (`tcp_probe0_base`: 200 ms).
const ROOM: u32 = 256 << 10;
/// Bytes more than were accepted after which the finale receives no more: a kernel that repeats itself for ever
/// shall not hold it.
const SURPLUS: u64 = 256 << 10;
/// The longest wait between two tries, in milliseconds: data whose wake-up is lost must still be found.
const LONGEST_WAIT_MS: i32 = 8;

/// Which bytes a drain is after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// As many as were accepted.
    Accepted,
    /// All up to the end of the stream.
    End,
}

impl Round<'_> {
    /// Ends the scenario. Both sockets are closed after it.
    pub(crate) fn finish(&mut self) {
        let options = [
            SockOption::NoDelay(true),
            SockOption::Cork(false),
            SockOption::RcvLowat(1),
            SockOption::RcvBuf(ROOM),
        ];
        for endpoint in self.open() {
            for option in options {
                self.perform(At::Finale, endpoint, Op::Set(option));
            }
        }
        for endpoint in self.open() {
            self.drain(endpoint, Until::Accepted);
        }
        for endpoint in self.open() {
            self.perform(At::Finale, endpoint, Op::Shutdown(How::Wr));
        }
        for endpoint in self.open() {
            self.drain(endpoint, Until::End);
            self.perform(At::Finale, endpoint, Op::SoError);
        }
        for endpoint in Endpoint::BOTH {
            if let Some(socket) = self.side(endpoint).socket.take()
                && let Err(errno) = self.close(endpoint, socket, true)
            {
                tracing::warn!("closing the {endpoint} failed: {errno}");
            }
        }
    }

    /// The endpoints that are open now.
    fn open(&self) -> impl Iterator<Item = Endpoint> + use<> {
        let open = [0, 1].map(|at: usize| self.sides[at].socket.is_some());
        Endpoint::BOTH.into_iter().filter(move |endpoint| open[endpoint.index()])
    }

    /// Receives without blocking until everything came, the end of the stream, an error, or a bound.
    fn drain(&mut self, endpoint: Endpoint, until: Until) {
        let mut patience = Patience::new();
        loop {
            let peer = self.side(endpoint.peer());
            // each urgent byte may be skipped
            let (accepted, sure) = (peer.accepted, peer.accepted.saturating_sub(peer.urgent));
            let consumed = self.side(endpoint).consumed;
            let enough = match until {
                Until::Accepted => consumed >= sure,
                Until::End => consumed > accepted + SURPLUS,
            };
            if enough {
                return;
            }
            let record =
                self.issue(At::Finale, endpoint, receive(accepted.saturating_sub(consumed)));
            match record.outcome {
                Outcome::Received { count: 1.., .. } => {
                    patience = Patience::new();
                    self.keep(record);
                }
                Outcome::Errno(Errno::EAGAIN) if self.waits(endpoint, &record, &mut patience) => {}
                _ => return self.keep(record),
            }
        }
    }

    /// Waits a little after a receive that brought nothing; false if the bound has run out.
    fn waits(&mut self, endpoint: Endpoint, record: &Record, patience: &mut Patience) -> bool {
        let bounds = self.executor.bounds();
        // of a closed peer nobody can tell what it has in flight
        let in_flight = record.peer_outq != Some(0);
        if !patience.lasts(in_flight, bounds.drain_ms, bounds.settle_ms) {
            return false;
        }
        // a socket that is ready but gives nothing would make this a busy loop
        let socket = self.side(endpoint).socket.as_ref().filter(|_| !patience.deceived);
        let socket = socket.map(|socket| socket.as_fd());
        let ready = sys::poll(socket, Ready::IN | Ready::RDHUP, patience.wait_ms);
        patience.deceived = ready.is_ok_and(|ready| !ready.is_empty());
        patience.wait_ms = LONGEST_WAIT_MS.min(patience.wait_ms * 2);
        true
    }
}

fn receive(missing: u64) -> Op {
    let len = missing.clamp(SHORTEST, LONGEST);
    Op::Recv {
        len: u32::try_from(len).unwrap_or(u32::MAX),
        flags: RecvFlags::DONTWAIT,
        buffer: Buffer::Mapped,
    }
}

/// How much longer a drain waits.
struct Patience {
    /// When the last byte came, or the drain began.
    since: Instant,
    /// When nothing was found in flight first since then.
    settled: Option<Instant>,
    wait_ms: i32,
    /// Whether the socket was ready, which the receive then did not bear out.
    deceived: bool,
}

impl Patience {
    fn new() -> Patience {
        Patience { since: Instant::now(), settled: None, wait_ms: 1, deceived: false }
    }

    fn lasts(&mut self, in_flight: bool, drain_ms: u32, settle_ms: u32) -> bool {
        let (since, bound) = if in_flight {
            self.settled = None;
            (self.since, drain_ms)
        } else {
            (*self.settled.get_or_insert_with(Instant::now), settle_ms)
        };
        since.elapsed() < Duration::from_millis(bound.into())
    }
}
