//! The fixed ending that turns liveness into something that can be judged: see [`scenario::History`].

use std::thread;
use std::time::{Duration, Instant};

use scenario::history::{Bounds, Errno, Outcome, Record};
use scenario::{Buffer, By, Endpoint, How, Op, Ready, RecvFlags, SockOption};

use crate::hands::{Call, Hands};
use crate::stage::Stage;
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
/// After how many tries in vain, each twice as late as the one before, TCP is not expected to get its bytes across. A
/// receiver on plain TCP can close its window for ever: with `SO_RCVBUF` 16384 set before `listen(2)`, once bytes whose
/// skbs take much more memory than they are long (`MSG_ZEROCOPY`) found no room (`ICSK_ACK_NOMEM` in
/// `tcp_select_window`).
const TRIES: u8 = 4;

/// A pair, and one of its endpoints.
type End = (u8, Endpoint);

/// Which bytes a drain is after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// As many as were accepted.
    Accepted,
    /// All up to the end of the stream.
    End,
}

/// The finale of a scenario.
pub(crate) struct Finale<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) hands: &'a mut Hands,
    pub(crate) bounds: Bounds,
    pub(crate) records: &'a mut Vec<Record>,
}

impl Finale<'_> {
    /// Ends the scenario. All sockets are closed after it.
    pub(crate) fn run(mut self) {
        let options = self.options();
        for end in self.open() {
            for &option in &options {
                self.perform(end, Op::Set(option));
            }
        }
        let Bounds { drain_ms, settle_ms, .. } = self.bounds;
        let mut late = Vec::new();
        for end in self.open() {
            if !self.drain(end, Until::Accepted, drain_ms) {
                late.push(end);
            }
        }
        for end in self.open() {
            self.perform(end, Op::Shutdown(How::Wr));
        }
        for end in self.open() {
            // what did not come then will not come now
            let bound_ms = if late.contains(&end) { settle_ms } else { drain_ms };
            self.drain(end, Until::End, bound_ms);
            self.perform(end, Op::SoError);
        }
        for end in self.open() {
            self.complete(end);
        }
        for (pair, endpoint) in self.ends() {
            while self.stage.side(pair, endpoint).is_open() {
                if let Err(errno) = self.stage.close(pair, endpoint, true) {
                    tracing::warn!("closing the {endpoint} of pair {pair} failed: {errno}");
                }
            }
        }
    }

    /// What makes everything that is under way come soon: no more than the scenario makes necessary.
    fn options(&self) -> Vec<SockOption> {
        let scenario = &self.stage.scenario;
        let from_start = scenario.setup.iter().map(|setup| setup.option);
        let on_the_way = scenario.steps.iter().filter_map(|step| match step.op {
            Op::Set(option) => Some(option),
            _ => None,
        });
        let mut options = vec![SockOption::NoDelay(true)];
        for option in from_start.chain(on_the_way) {
            let undone = match option {
                SockOption::Cork(_) => SockOption::Cork(false),
                SockOption::RcvLowat(_) => SockOption::RcvLowat(1),
                SockOption::RcvBuf(_) => SockOption::RcvBuf(ROOM),
                _ => continue,
            };
            if !options.contains(&undone) {
                options.push(undone);
            }
        }
        options
    }

    fn ends(&self) -> impl Iterator<Item = End> + use<> {
        let pairs = 0..self.stage.scenario.pairs;
        pairs.flat_map(|pair| Endpoint::BOTH.map(|endpoint| (pair, endpoint)))
    }

    /// The endpoints that calls can be made on.
    fn open(&self) -> Vec<End> {
        let has_socket = |&(pair, endpoint): &End| {
            let side = self.stage.side(pair, endpoint);
            // on a socket that was disconnected there is nothing to end
            side.descriptor().is_some() && !side.disconnected
        };
        self.ends().filter(has_socket).collect()
    }

    fn perform(&mut self, end: End, op: Op) {
        let record = self.issue(end, op);
        self.records.push(record);
    }

    fn issue(&mut self, (pair, endpoint): End, op: Op) -> Record {
        let call = Call::finale(pair, endpoint, op);
        let (record, _) =
            self.hands.issue(self.stage, call, &mut |_| unreachable!("needs nothing"));
        record
    }

    /// Reads the error queue until no `MSG_ZEROCOPY` send is left to be completed. Everything is acknowledged by now, so
    /// that what takes a while is only the way from there.
    fn complete(&mut self, (pair, endpoint): End) {
        let end = Instant::now() + Duration::from_millis(self.bounds.settle_ms.into());
        let owes = |finale: &Self| finale.stage.side(pair, endpoint).uncompleted > 0;
        while owes(self) {
            let record = self.issue((pair, endpoint), Op::ErrQueue);
            let is_last = Instant::now() > end || !matches!(record.outcome, Outcome::Value(_));
            if is_last || !owes(self) {
                return self.records.push(record);
            }
            if record.outcome != Outcome::Value(0) {
                self.records.push(record);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Receives without blocking until everything came, the end of the stream, an error, or a bound: as many milliseconds
    /// without a byte while some are in flight. False if it was the bound.
    fn drain(&mut self, end: End, until: Until, bound_ms: u32) -> bool {
        let (pair, endpoint) = end;
        let mut patience = Patience::new();
        loop {
            // each urgent byte may be skipped
            let (accepted, urgent) = {
                let peer = self.stage.side(pair, endpoint.peer());
                (peer.accepted, peer.urgent)
            };
            let sure = accepted.saturating_sub(urgent);
            let consumed = self.stage.side(pair, endpoint).consumed;
            let enough = match until {
                Until::Accepted => consumed >= sure,
                Until::End => consumed > accepted + SURPLUS,
            };
            if enough {
                return true;
            }
            let record = self.issue(end, receive(accepted.saturating_sub(consumed)));
            match record.outcome {
                Outcome::Received { count: 1.., .. } => {
                    patience = Patience::new();
                    self.records.push(record);
                }
                Outcome::Errno(Errno::EAGAIN) => {
                    if !self.waits(end, &record, &mut patience, bound_ms) {
                        self.records.push(record);
                        return false;
                    }
                }
                _ => {
                    self.records.push(record);
                    return true;
                }
            }
        }
    }

    /// Waits a little after a receive that brought nothing; false if the bound has run out.
    fn waits(
        &mut self,
        (pair, endpoint): End,
        record: &Record,
        patience: &mut Patience,
        bound_ms: u32,
    ) -> bool {
        // of a closed peer nobody can tell what it has in flight
        let in_flight = record.peer_outq != Some(0) && !self.tries_in_vain((pair, endpoint.peer()));
        if !patience.lasts(in_flight, bound_ms, self.bounds.settle_ms) {
            return false;
        }
        // a socket that is ready but gives nothing would make this a busy loop
        let side = self.stage.side(pair, endpoint);
        let socket = side.descriptor().filter(|_| !patience.deceived);
        let ready = sys::poll(socket, Ready::IN | Ready::RDHUP, patience.wait_ms);
        patience.deceived = ready.is_ok_and(|ready| !ready.is_empty());
        patience.wait_ms = LONGEST_WAIT_MS.min(patience.wait_ms * 2);
        true
    }

    /// Whether TCP has sent the endpoint's oldest bytes so often without an answer that it will not get them across.
    fn tries_in_vain(&self, (pair, endpoint): End) -> bool {
        let side = self.stage.side(pair, endpoint);
        let info = side.descriptor().and_then(|socket| sys::tcp_info(socket).ok());
        info.is_some_and(|info| info.backoff >= TRIES)
    }
}

fn receive(missing: u64) -> Op {
    let len = missing.clamp(SHORTEST, LONGEST);
    Op::Recv {
        len: u32::try_from(len).unwrap_or(u32::MAX),
        flags: RecvFlags::DONTWAIT,
        buffer: Buffer::Mapped,
        by: By::Call,
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
