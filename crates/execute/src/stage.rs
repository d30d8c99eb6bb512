//! What the lanes of a scenario share while it runs: the sockets, who holds them, and how far each stream is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use scenario::history::{Connection, Errno, Pairing, Traffic};
use scenario::payload::{Key, Stream};
use scenario::{By, Endpoint, Op, Scenario, SockOption};

use crate::connect::Connected;
use crate::sys::{self, Child};

/// One endpoint of a pair, on its present connection.
#[derive(Debug)]
pub(crate) struct Side {
    /// Index into the history's connections.
    pub(crate) connection: u8,
    /// The address of its own end, and of its peer's.
    pub(crate) addresses: [SocketAddr; 2],
    /// The descriptors of its socket, oldest first.
    descriptors: Vec<OwnedFd>,
    /// Child processes that hold the socket, too.
    pub(crate) children: Vec<Child>,
    pub(crate) nonblocking: bool,
    /// `TCP_INQ` is on.
    pub(crate) hints: bool,
    /// `SO_ZEROCOPY` is on: without it `MSG_ZEROCOPY` does nothing (`tcp_sendmsg_locked`).
    pub(crate) zerocopy: bool,
    /// `SO_LINGER` is on, so that a close may wait.
    pub(crate) lingers: bool,
    /// It was disconnected, and may be connected again.
    pub(crate) disconnected: bool,
    /// Bytes that each lane's sends returned as accepted: where its stream goes on.
    sent: Vec<u64>,
    /// Where it goes on when all is accepted that each lane's sends have asked for, the one under way as well.
    offered: Vec<u64>,
    /// The same for all of them.
    pub(crate) accepted: u64,
    /// How many of its sends had `MSG_OOB`: each may make the peer skip one byte.
    pub(crate) urgent: u64,
    /// How many of its sends had `MSG_ZEROCOPY`, are to be completed, and were not seen completed.
    pub(crate) uncompleted: u32,
    /// The last byte sent with `MSG_OOB`.
    pub(crate) urgent_at: Option<(Stream, u64)>,
    /// Whether it has queued a FIN by `shutdown(2)`.
    pub(crate) shut: bool,
    /// Bytes that its receives consumed.
    pub(crate) consumed: u64,
    /// Where the peer's streams most likely go on.
    pub(crate) expected: Vec<(Stream, u64)>,
    /// What TCP says that it sent, at the last close.
    tcp: Option<u64>,
}

impl Side {
    fn new(
        scenario: &Scenario,
        (run, connection): (u16, u8),
        (pair, endpoint): (u8, Endpoint),
        socket: OwnedFd,
        addresses: [SocketAddr; 2],
    ) -> Side {
        let on = |wanted: fn(SockOption) -> bool| scenario.setup_of(pair, endpoint).any(wanted);
        let sends = |endpoint| {
            let lanes = (0..).zip(&scenario.lanes);
            lanes.filter(move |(_, lane)| (lane.pair, lane.endpoint) == (pair, endpoint))
        };
        let peers = sends(endpoint.peer());
        let expected = peers.map(|(lane, _)| (Stream { run, pair: connection, lane }, 0)).collect();
        Side {
            connection,
            addresses,
            descriptors: vec![socket],
            children: Vec::new(),
            nonblocking: scenario.starts_nonblocking(pair, endpoint),
            hints: on(|option| option == SockOption::TcpInq(true)),
            zerocopy: on(|option| option == SockOption::ZeroCopy(true)),
            lingers: on(|option| matches!(option, SockOption::Linger(_))),
            disconnected: false,
            sent: vec![0; scenario.lanes.len()],
            offered: vec![0; scenario.lanes.len()],
            accepted: 0,
            urgent: 0,
            uncompleted: 0,
            urgent_at: None,
            shut: false,
            consumed: 0,
            expected,
            tcp: None,
        }
    }

    /// Whether its socket is there.
    pub(crate) fn is_open(&self) -> bool {
        !self.descriptors.is_empty() || !self.children.is_empty()
    }

    /// A descriptor to make calls with; `None` where only children hold the socket, or nobody.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptors.first().map(|fd| fd.as_fd())
    }

    pub(crate) fn hold(&mut self, descriptor: OwnedFd) {
        self.descriptors.push(descriptor);
    }

    /// Where the stream of one of its lanes goes on.
    pub(crate) fn sent(&self, lane: u8) -> u64 {
        self.sent[usize::from(lane)]
    }

    /// A send of one of its lanes begins.
    pub(crate) fn offer(&mut self, lane: u8, len: u32) {
        self.offered[usize::from(lane)] = self.sent(lane) + u64::from(len);
    }

    /// Whether the byte of its stream can have been sent.
    pub(crate) fn has_offered(&self, stream: Stream, offset: u64) -> bool {
        stream.pair != self.connection || offset < self.offered[usize::from(stream.lane)]
    }

    /// A send of one of its lanes returned.
    pub(crate) fn accept(&mut self, lane: u8, stream: Stream, count: u32, urgent: bool) {
        let sent = &mut self.sent[usize::from(lane)];
        *sent += u64::from(count);
        self.accepted += u64::from(count);
        if urgent && count > 0 {
            self.urgent += 1;
            self.urgent_at = Some((stream, *sent - 1));
        }
    }

    /// A receive consumed these bytes, the last of which are of this stream and end at this offset.
    pub(crate) fn consume(&mut self, count: u32, end: Option<(Stream, u64)>) {
        self.consumed += u64::from(count);
        match end {
            Some((stream, end)) => {
                self.expected.retain(|(known, _)| *known != stream);
                // the first is looked for first
                self.expected.insert(0, (stream, end));
            }
            None => {
                if let Some((_, offset)) = self.expected.first_mut() {
                    *offset += u64::from(count);
                }
            }
        }
    }

    /// Takes the holder that is to give the socket up next.
    fn release(&mut self) -> Option<Holder> {
        let child = self.children.pop().map(Holder::Child);
        child.or_else(|| self.descriptors.pop().map(Holder::Descriptor))
    }

    /// Notes what TCP knows of the socket, before it is gone.
    fn look_at_tcp(&mut self) {
        let Some(descriptor) = self.descriptor() else { return };
        self.tcp = sys::tcp_info(descriptor).ok().map(|info| {
            // a FIN behind unsent bytes has a sequence number, too (tcp_send_fin)
            let fin = u64::from(self.shut && info.notsent_bytes > 0);
            let sent = info.bytes_sent.saturating_sub(info.bytes_retrans);
            sent + u64::from(info.notsent_bytes) - fin
        });
    }

    fn traffic(&self) -> Traffic {
        Traffic { accepted: self.accepted, tcp: self.tcp }
    }
}

/// Somebody who holds a socket.
enum Holder {
    Descriptor(OwnedFd),
    Child(Child),
}

/// What others may ask a lane's thread for, or must know of it.
#[derive(Debug, Default)]
pub(crate) struct LaneState {
    /// Its thread.
    pub(crate) thread: AtomicI32,
    /// It is inside a call.
    pub(crate) calling: AtomicBool,
    /// The step that this is, or the last one was.
    pub(crate) step: AtomicU32,
    /// What it is in was interrupted for good.
    pub(crate) over: AtomicBool,
    /// The step, counted from 1, whose call is to be interrupted for good.
    pub(crate) given_up: AtomicU32,
    /// It was seen asleep in its call before it was interrupted.
    pub(crate) slept_on: AtomicBool,
    /// Signals that other lanes sent since its call began.
    pub(crate) signals: AtomicU32,
}

/// A scenario under way.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) key: Key,
    pub(crate) run: u16,
    start: Instant,
    pairs: Vec<[Mutex<Side>; 2]>,
    connections: Mutex<Vec<Connection>>,
    pub(crate) lanes: Vec<LaneState>,
    /// See [`crate::Executor::returned`].
    pub(crate) returned: Arc<AtomicU64>,
    /// Descriptor numbers that were closed while others might still use them: see [`Stage::close`].
    retired: Mutex<Vec<OwnedFd>>,
}

impl Stage {
    pub(crate) fn new(
        scenario: &Scenario,
        (key, run): (Key, u16),
        start: Instant,
        connected: Vec<(Connected, Pairing)>,
        returned: Arc<AtomicU64>,
    ) -> Stage {
        let mut pairs = Vec::new();
        let mut connections = Vec::new();
        for ((connected, pairing), pair) in connected.into_iter().zip(0u8..) {
            pairs.push(sides(scenario, (run, pair), pair, connected).map(Mutex::new));
            connections.push(Connection { pair, pairing, traffic: [Traffic::default(); 2] });
        }
        Stage {
            scenario: scenario.clone(),
            key,
            run,
            start,
            pairs,
            connections: Mutex::new(connections),
            lanes: scenario.lanes.iter().map(|_| LaneState::default()).collect(),
            returned,
            retired: Mutex::new(Vec::new()),
        }
    }

    /// The lanes that use io_uring.
    pub(crate) fn uring_lanes(&self) -> BTreeSet<usize> {
        let uses = |op| match op {
            Op::Send { by, .. } | Op::Recv { by, .. } => by == By::Uring,
            _ => false,
        };
        let steps = self.scenario.steps.iter().filter(|step| uses(step.op));
        steps.map(|step| step.lane.into()).collect()
    }

    /// Nanoseconds since the scenario began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// An endpoint of a pair. Nobody makes a call that may sleep while holding it.
    pub(crate) fn side(&self, pair: u8, endpoint: Endpoint) -> MutexGuard<'_, Side> {
        locked(&self.pairs[usize::from(pair)][endpoint.index()])
    }

    /// The stream of a lane on the connection.
    pub(crate) fn stream(&self, connection: u8, lane: u8) -> Stream {
        Stream { run: self.run, pair: connection, lane }
    }

    /// A new connection takes the place of the pair's old one, whose ends are closed.
    pub(crate) fn reconnected(&self, pair: u8, connected: Connected, pairing: Pairing) {
        let mut connections = locked(&self.connections);
        let number = u8::try_from(connections.len()).unwrap_or(u8::MAX);
        let [client, server] = sides(&self.scenario, (self.run, number), pair, connected);
        for (endpoint, side) in [(Endpoint::Client, client), (Endpoint::Server, server)] {
            let mut old = std::mem::replace(&mut *self.side(pair, endpoint), side);
            connections[usize::from(old.connection)].traffic[endpoint.index()] = old.traffic();
            if old.is_open() {
                // the same socket, with its holders and with the options that it got on the way
                let mut side = self.side(pair, endpoint);
                (side.hints, side.lingers) = (old.hints, old.lingers);
                (side.zerocopy, side.nonblocking) = (old.zerocopy, old.nonblocking);
                std::mem::swap(&mut side.descriptors, &mut old.descriptors);
                std::mem::swap(&mut side.children, &mut old.children);
            }
            old.descriptors.drain(..).for_each(|descriptor| self.retire(descriptor));
        }
        connections.push(Connection { pair, pairing, traffic: [Traffic::default(); 2] });
    }

    /// Closes the socket for one of its holders; the last one may abort it.
    ///
    /// Where other threads might still be about to use the descriptor's number, that stays taken: it then refers to
    /// something that is no socket. For the socket it is the same (`do_dup2`: `filp_close`).
    pub(crate) fn close(&self, pair: u8, endpoint: Endpoint, abort: bool) -> Result<u32, Errno> {
        let mut side = self.side(pair, endpoint);
        if let (true, Some(socket)) = (abort, side.descriptor()) {
            sys::linger_zero(socket)?;
        }
        if side.descriptors.len() + side.children.len() == 1 {
            side.look_at_tcp();
        }
        let Some(holder) = side.release() else { return Err(Errno(libc::EBADF)) };
        drop(side);
        match holder {
            Holder::Child(child) => sys::reap(child).map(|()| 0),
            Holder::Descriptor(descriptor) if self.scenario.is_sequential() => {
                sys::close(descriptor)
            }
            Holder::Descriptor(descriptor) => {
                let result = sys::close_and_keep_number(&descriptor);
                locked(&self.retired).push(descriptor);
                result
            }
        }
    }

    /// Closes a descriptor whose socket has others.
    fn retire(&self, descriptor: OwnedFd) {
        if !self.scenario.is_sequential() {
            // its number is all that is wanted of it now
            let _ = sys::close_and_keep_number(&descriptor);
            locked(&self.retired).push(descriptor);
        }
    }

    /// What is to be said of the connections once everything is closed.
    pub(crate) fn into_connections(self) -> Vec<Connection> {
        let mut connections = self.connections.into_inner().unwrap_or_else(PoisonError::into_inner);
        for sides in self.pairs {
            for (side, endpoint) in sides.into_iter().zip(Endpoint::BOTH) {
                let side = side.into_inner().unwrap_or_else(PoisonError::into_inner);
                connections[usize::from(side.connection)].traffic[endpoint.index()] =
                    side.traffic();
            }
        }
        connections
    }
}

fn sides(
    scenario: &Scenario,
    (run, connection): (u16, u8),
    pair: u8,
    connected: Connected,
) -> [Side; 2] {
    let [client, server] = connected.addresses;
    let mut addresses = [[client, server], [server, client]].into_iter();
    let mut endpoints = Endpoint::BOTH.into_iter();
    connected.sockets.map(|socket| {
        let (endpoint, addresses) = (endpoints.next(), addresses.next());
        let (Some(endpoint), Some(addresses)) = (endpoint, addresses) else {
            unreachable!("two of each")
        };
        Side::new(scenario, (run, connection), (pair, endpoint), socket, addresses)
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // what a panicking lane leaves behind is not worse than its panic, which ends the run
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LaneState {
    /// Whether the call that it is in was interrupted for good.
    pub(crate) fn is_over(&self) -> bool {
        let step = self.step.load(Ordering::SeqCst) + 1;
        self.over.load(Ordering::SeqCst) || self.given_up.load(Ordering::SeqCst) == step
    }

    pub(crate) fn signalled(&self) -> bool {
        self.signals.load(Ordering::SeqCst) > 0
    }
}
