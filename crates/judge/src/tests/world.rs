//! An ideal TCP whose calls overlap: lanes make calls in pieces, in any order.

use scenario::history::{At, Bounds, Connection, Errno, Outcome, Pairing, Record, Traffic};
use scenario::payload::{self, Run, Stream};
use scenario::{
    Buffer, By, Endpoint, History, How, Lane, Op, Ready, RecvFlags, Scenario, SendFlags, Setup,
    SockOption, Step, Waiter, When,
};

use super::story::{RUN, key};

const NONE: SendFlags = SendFlags::empty();

/// One direction: every byte by its lane and offset.
#[derive(Default)]
struct Pipe {
    bytes: Vec<(u8, u64)>,
    arrived: usize,
    read: usize,
    fin: bool,
    fin_arrived: bool,
}

impl Pipe {
    fn flow(&mut self, amount: u64) {
        let to = self.arrived + usize::try_from(amount % 90).unwrap();
        self.arrived = to.min(self.bytes.len());
        self.fin_arrived |=
            self.fin && self.arrived == self.bytes.len() && amount.is_multiple_of(2);
    }

    fn outq(&self) -> u32 {
        let fin = usize::from(self.fin && !self.fin_arrived);
        u32::try_from(self.bytes.len() - self.arrived + fin).unwrap()
    }
}

#[derive(Default)]
struct Socket {
    shut_rd: bool,
    shut_wr: bool,
    closed: bool,
    /// The pending error of a reset.
    error: bool,
    reset: bool,
}

/// A call under way.
struct Under {
    step: usize,
    op: Op,
    call_ns: u64,
    /// Positions of the bytes that it has received so far.
    got: Vec<(u8, u64)>,
    sent: u32,
}

pub(crate) struct World {
    scenario: Scenario,
    pipes: [Pipe; 2],
    sockets: [Socket; 2],
    offsets: Vec<u64>,
    under: Vec<Option<Under>>,
    records: Vec<Record>,
    clock: u64,
}

enum Progress {
    Waits,
    Done(Outcome),
}

impl World {
    pub(crate) fn new(lanes: &[Endpoint], blocking: bool) -> World {
        let lane = |(at, &endpoint): (usize, &Endpoint)| Lane {
            name: format!("l{at}"),
            pair: 0,
            endpoint,
        };
        let option = SockOption::NonBlock(!blocking);
        let setup = |endpoint| Setup { pair: 0, endpoint, option };
        World {
            scenario: Scenario {
                lanes: lanes.iter().enumerate().map(lane).collect(),
                setup: Endpoint::BOTH.map(setup).to_vec(),
                ..Scenario::default()
            },
            pipes: Default::default(),
            sockets: Default::default(),
            offsets: vec![0; lanes.len()],
            under: lanes.iter().map(|_| None).collect(),
            records: Vec::new(),
            clock: 0,
        }
    }

    /// To a closed socket, and once there was a reset, nothing comes any more.
    fn flow(&mut self, amount: u64) {
        let over = self.sockets.iter().any(|socket| socket.reset);
        for (sender, pipe) in self.pipes.iter_mut().enumerate() {
            if !over && !self.sockets[1 - sender].closed {
                pipe.flow(amount);
            }
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1_000;
        self.clock
    }

    fn endpoint(&self, lane: usize) -> Endpoint {
        self.scenario.lanes[lane].endpoint
    }

    /// The lane begins a call, or goes on with the one that it is in.
    pub(crate) fn turn(&mut self, lane: usize, what: u8, amount: u64, blocking: bool) {
        self.flow(amount);
        let Some(mut under) = self.under[lane].take() else {
            let op = choose(what, amount);
            let endpoint = self.endpoint(lane);
            let busy = (0..self.under.len())
                .any(|other| self.under[other].is_some() && self.endpoint(other) == endpoint);
            let closes = matches!(op, Op::Close | Op::Abort);
            if self.sockets[endpoint.index()].closed || closes && busy {
                return;
            }
            let call_ns = self.tick();
            let (step, lane_number) = (self.scenario.steps.len(), u8::try_from(lane).unwrap());
            let when = When::With { after_us: 0 };
            self.scenario.steps.push(Step { lane: lane_number, when, op, expect: None });
            self.under[lane] = Some(Under { step, op, call_ns, got: Vec::new(), sent: 0 });
            if amount.is_multiple_of(2) {
                self.turn(lane, what, amount, blocking);
            }
            return;
        };
        match self.go_on(lane, &mut under, amount, blocking) {
            Progress::Waits => self.under[lane] = Some(under),
            Progress::Done(outcome) => self.record(Some(lane), under, outcome),
        }
    }

    fn record(&mut self, lane: Option<usize>, under: Under, outcome: Outcome) {
        let endpoint = lane.map_or(Endpoint::Client, |lane| self.endpoint(lane));
        self.record_at(
            At::Step(u32::try_from(under.step).unwrap()),
            lane,
            endpoint,
            under,
            outcome,
        );
    }

    fn record_at(
        &mut self,
        at: At,
        lane: Option<usize>,
        endpoint: Endpoint,
        under: Under,
        outcome: Outcome,
    ) {
        let touched = match (&under.op, &outcome) {
            (Op::Recv { flags, .. }, Outcome::Received { count, .. })
                if !flags.contains(RecvFlags::TRUNC) =>
            {
                *count
            }
            _ => 0,
        };
        let sigpipe =
            matches!(under.op, Op::Send { .. }) && outcome == Outcome::Errno(Errno::EPIPE);
        let return_ns = self.tick();
        self.records.push(Record {
            at,
            lane: lane.map(|lane| u8::try_from(lane).unwrap()),
            connection: 0,
            endpoint,
            op: under.op,
            call_ns: under.call_ns,
            return_ns,
            peer_outq: None,
            outcome,
            cpu_ns: 0,
            ticked_ns: 0,
            touched,
            sigpipe,
            interrupted: false,
            copy_differs: None,
        });
    }

    fn go_on(&mut self, lane: usize, under: &mut Under, amount: u64, blocking: bool) -> Progress {
        let endpoint = self.endpoint(lane);
        match under.op {
            Op::Send { len, .. } => self.send(lane, under, len, amount, blocking),
            Op::Recv { len, flags, .. } => self.recv(endpoint, under, len, flags, blocking),
            Op::Wait { events, .. } => {
                let bits = self.ready(endpoint) & (events | Ready::ERR | Ready::HUP);
                if bits.is_empty() { Progress::Waits } else { Progress::Done(Outcome::Ready(bits)) }
            }
            op => Progress::Done(self.act(endpoint, op)),
        }
    }

    fn send(
        &mut self,
        lane: usize,
        under: &mut Under,
        len: u32,
        amount: u64,
        blocking: bool,
    ) -> Progress {
        let endpoint = self.endpoint(lane);
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        let socket = &mut self.sockets[own];
        if socket.shut_wr || socket.reset {
            let errno = if under.sent == 0 && std::mem::take(&mut socket.error) {
                Errno::ECONNRESET
            } else {
                Errno::EPIPE
            };
            return Progress::Done(if under.sent > 0 {
                Outcome::Value(under.sent)
            } else {
                Outcome::Errno(errno)
            });
        }
        let rest = len - under.sent;
        let piece = match amount % 3 {
            0 => rest,
            1 => rest.div_ceil(2),
            _ => rest.min(9),
        };
        for _ in 0..piece {
            let number = u8::try_from(lane).unwrap();
            self.pipes[own].bytes.push((number, self.offsets[lane]));
            self.offsets[lane] += 1;
        }
        under.sent += piece;
        if self.sockets[peer].closed && piece > 0 {
            self.reset(endpoint);
        }
        if blocking && under.sent < len && !self.sockets[own].reset {
            return Progress::Waits;
        }
        Progress::Done(Outcome::Value(under.sent))
    }

    /// A reset reaches the endpoint.
    fn reset(&mut self, endpoint: Endpoint) {
        let socket = &mut self.sockets[endpoint.index()];
        if !socket.reset {
            (socket.reset, socket.error) = (true, true);
        }
    }

    fn recv(
        &mut self,
        endpoint: Endpoint,
        under: &mut Under,
        len: u32,
        flags: RecvFlags,
        blocking: bool,
    ) -> Progress {
        let socket = &mut self.sockets[endpoint.index()];
        let pipe = &mut self.pipes[endpoint.peer().index()];
        let had = u32::try_from(under.got.len()).unwrap();
        let peeks = flags.contains(RecvFlags::PEEK);
        let piece = (pipe.arrived - pipe.read).min((len - had) as usize);
        under.got.extend_from_slice(&pipe.bytes[pipe.read..pipe.read + piece]);
        if !peeks {
            pipe.read += piece;
        }
        let count = u32::try_from(under.got.len()).unwrap();
        let over = pipe.fin_arrived || socket.reset || socket.shut_rd;
        let target = if flags.contains(RecvFlags::WAITALL) { len } else { 1.min(len) };
        if count == 0 && len > 0 {
            if pipe.fin_arrived {
                return Progress::Done(Outcome::Received { count: 0, data: vec![], left: None });
            }
            if std::mem::take(&mut socket.error) {
                return Progress::Done(Outcome::Errno(Errno::ECONNRESET));
            }
            if over {
                return Progress::Done(Outcome::Received { count: 0, data: vec![], left: None });
            }
        }
        if count < target && !over && blocking {
            return Progress::Waits;
        }
        if count == 0 && len > 0 {
            return Progress::Done(Outcome::Errno(Errno::EAGAIN));
        }
        let data = if flags.contains(RecvFlags::TRUNC) { vec![] } else { self.decode(&under.got) };
        Progress::Done(Outcome::Received { count, data, left: None })
    }

    fn decode(&self, got: &[(u8, u64)]) -> Vec<Run> {
        let source = |lane| Stream { run: RUN, pair: 0, lane };
        let mut buffer = vec![0; got.len()];
        for (byte, &(lane, offset)) in buffer.iter_mut().zip(got) {
            payload::fill(key(), source(lane), offset, std::slice::from_mut(byte));
        }
        let lanes = u8::try_from(self.offsets.len()).unwrap();
        payload::decode(key(), &buffer, &[], |stream, offset| {
            stream.run == RUN && stream.pair == 0 && stream.lane < lanes && offset < 1 << 20
        })
    }

    fn act(&mut self, endpoint: Endpoint, op: Op) -> Outcome {
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        match op {
            Op::Poll => Outcome::Ready(self.ready(endpoint)),
            Op::Inq => {
                let pipe = &self.pipes[peer];
                Outcome::Value(u32::try_from(pipe.arrived - pipe.read).unwrap())
            }
            Op::Outq => Outcome::Value(self.pipes[own].outq()),
            Op::Shutdown(how) => {
                let over =
                    self.sockets[own].reset || self.pipes[own].fin && self.pipes[peer].fin_arrived;
                self.pipes[own].fin |= how != How::Rd && !self.sockets[own].reset;
                self.sockets[own].shut_wr |= how != How::Rd;
                self.sockets[own].shut_rd |= how != How::Wr;
                if over { Outcome::Errno(Errno::ENOTCONN) } else { Outcome::Value(0) }
            }
            Op::SoError => {
                let error = std::mem::take(&mut self.sockets[own].error);
                Outcome::Value(if error { 104 } else { 0 })
            }
            Op::Close | Op::Abort => {
                let unread = self.pipes[peer].arrived > self.pipes[peer].read;
                self.sockets[own].closed = true;
                if (unread || op == Op::Abort) && !self.sockets[own].reset {
                    // what is in flight behind a reset is lost
                    self.reset(endpoint.peer());
                } else {
                    self.pipes[own].fin = true;
                    // what is still under way to a closed socket is answered with a reset
                    if self.pipes[peer].bytes.len() > self.pipes[peer].arrived {
                        self.reset(endpoint.peer());
                    }
                }
                Outcome::Value(0)
            }
            _ => Outcome::Value(0),
        }
    }

    fn ready(&self, endpoint: Endpoint) -> Ready {
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        let socket = &self.sockets[own];
        let ended = self.pipes[peer].fin_arrived || socket.shut_rd || socket.reset;
        let unread = self.pipes[peer].arrived > self.pipes[peer].read;
        let mut bits = Ready::OUT | Ready::WRNORM;
        bits.set(Ready::IN | Ready::RDNORM, ended || unread);
        bits.set(Ready::RDHUP, ended);
        bits.set(Ready::HUP, ended && (socket.shut_wr || socket.reset));
        bits.set(Ready::ERR, socket.error);
        bits
    }

    /// What the executor writes down before it interrupts what is left, and the time it gives.
    fn look_again(&mut self) {
        self.flow(33);
        for endpoint in Endpoint::BOTH {
            let waits = |lane: usize| self.under[lane].is_some() && self.endpoint(lane) == endpoint;
            if !(0..self.under.len()).any(waits) {
                continue;
            }
            for op in [Op::Poll, Op::Inq] {
                let call_ns = self.tick();
                let under = Under { step: 0, op, call_ns, got: Vec::new(), sent: 0 };
                let outcome = self.act(endpoint, op);
                self.record_at(At::Finale, None, endpoint, under, outcome);
            }
        }
        self.clock += 400_000_000;
    }

    /// Calls that wait are left; then the finale, one call after the other.
    pub(crate) fn finish(mut self, blocking: bool) -> (Scenario, History) {
        for lane in 0..self.under.len() {
            if let Some(mut under) = self.under[lane].take() {
                match self.go_on(lane, &mut under, 1, blocking) {
                    Progress::Waits => self.under[lane] = Some(under),
                    Progress::Done(outcome) => self.record(Some(lane), under, outcome),
                }
            }
        }
        self.look_again();
        for lane in 0..self.under.len() {
            if let Some(mut under) = self.under[lane].take() {
                if let Progress::Done(outcome) = self.go_on(lane, &mut under, 0, blocking) {
                    self.record(Some(lane), under, outcome);
                    continue;
                }
                let partial = u32::try_from(under.got.len()).unwrap();
                let outcome = match under.op {
                    Op::Recv { flags, .. } if partial > 0 => Outcome::Received {
                        count: partial,
                        data: if flags.contains(RecvFlags::TRUNC) {
                            vec![]
                        } else {
                            self.decode(&under.got)
                        },
                        left: None,
                    },
                    Op::Send { .. } if under.sent > 0 => Outcome::Value(under.sent),
                    Op::Recv { .. } | Op::Send { .. } | Op::Wait { .. } => Outcome::Stuck,
                    op => self.act(self.endpoint(lane), op),
                };
                self.record(Some(lane), under, outcome);
            }
        }
        for _ in 0..10_000 {
            self.flow(88);
        }
        for endpoint in Endpoint::BOTH {
            for op in [choose(3, 5_000), Op::Shutdown(How::Wr), choose(3, 5_000), Op::SoError] {
                if self.sockets[endpoint.index()].closed {
                    continue;
                }
                let call_ns = self.tick();
                let mut under = Under { step: 0, op, call_ns, got: Vec::new(), sent: 0 };
                let progress = match op {
                    Op::Recv { len, flags, .. } => {
                        self.recv(endpoint, &mut under, len, flags, false)
                    }
                    op => Progress::Done(self.act(endpoint, op)),
                };
                let Progress::Done(outcome) = progress else { unreachable!() };
                if outcome != Outcome::Errno(Errno::EAGAIN) {
                    self.record_at(At::Finale, None, endpoint, under, outcome);
                }
            }
        }
        self.records.sort_by_key(|record| record.call_ns);
        let connection =
            Connection { pair: 0, pairing: Pairing::NotAsked, traffic: [Traffic::default(); 2] };
        let history = History {
            key: key(),
            run: RUN,
            connections: vec![connection],
            bounds: Bounds::default(),
            records: self.records,
            ring_counter: None,
        };
        (self.scenario, history)
    }
}

fn choose(what: u8, amount: u64) -> Op {
    let len = u32::try_from(amount % 150).unwrap().max(u32::from(amount >= 5_000) * 1_000_000);
    let buffer = Buffer::Mapped;
    let recv = |flags| Op::Recv { len, flags, buffer, by: By::Call };
    match what {
        0..=2 => Op::Send { len, flags: NONE, buffer, by: By::Call },
        3 | 4 => recv(if amount >= 5_000 { RecvFlags::DONTWAIT } else { RecvFlags::empty() }),
        5 => recv(RecvFlags::WAITALL),
        6 => recv(RecvFlags::PEEK),
        7 => Op::Poll,
        8 => Op::Inq,
        9 => Op::Outq,
        10 if amount.is_multiple_of(5) => recv(RecvFlags::TRUNC),
        11 if amount.is_multiple_of(7) => Op::Shutdown(How::Wr),
        11 if amount % 7 == 1 => Op::Shutdown(How::Rd),
        12 if amount.is_multiple_of(9) => Op::Close,
        12 if amount % 9 == 1 => Op::Abort,
        13 => Op::SoError,
        14 => {
            let events =
                if amount.is_multiple_of(2) { Ready::IN } else { Ready::IN | Ready::RDHUP };
            Op::Wait { events, timeout_ms: 1_000, by: Waiter::Poll }
        }
        _ => recv(RecvFlags::empty()),
    }
}
