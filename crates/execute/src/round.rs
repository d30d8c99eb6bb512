//! One op after the other, each written down.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use scenario::history::{At, Errno, Outcome, Record, Traffic};
use scenario::payload::{self, Run, Stream};
use scenario::{Buffer, Endpoint, How, Op, RecvFlags, Scenario, SendFlags, SockOption, limits};

use crate::executor::Executor;
use crate::sys;
use crate::watchdog::take_sigpipes;

/// The calls that the finale adds to the steps, roughly: room to begin with.
const FINALE_RECORDS: usize = 20;

/// One endpoint in the course of a scenario.
#[derive(Debug)]
pub(crate) struct Side {
    /// `None` once it is closed.
    pub(crate) socket: Option<OwnedFd>,
    nonblocking: bool,
    /// What its lane sends; `None` without a lane.
    stream: Option<Stream>,
    /// Bytes that its sends returned as accepted: where its stream goes on.
    pub(crate) accepted: u64,
    /// How many of its sends had `MSG_OOB`: each may make the peer skip one byte.
    pub(crate) urgent: u64,
    /// Where the last byte sent with `MSG_OOB` is in its stream.
    urgent_at: Option<u64>,
    /// Whether it has queued a FIN by `shutdown(2)`.
    shut: bool,
    /// Bytes that its receives consumed.
    pub(crate) consumed: u64,
    /// Where the peer's stream most likely goes on.
    expected: u64,
    tcp: Option<u64>,
}

/// A scenario under way.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    pub(crate) executor: &'a mut Executor,
    start: Instant,
    pub(crate) sides: [Side; 2],
    records: Vec<Record>,
}

/// What came back from a call, before it is a record.
struct Returned {
    outcome: Outcome,
    touched: u32,
}

impl From<Result<u32, Errno>> for Returned {
    fn from(result: Result<u32, Errno>) -> Returned {
        Returned { outcome: result.map_or_else(Outcome::Errno, Outcome::Value), touched: 0 }
    }
}

impl<'a> Round<'a> {
    pub(crate) fn new(
        executor: &'a mut Executor,
        run: u16,
        scenario: &Scenario,
        sockets: [OwnedFd; 2],
        start: Instant,
    ) -> Round<'a> {
        let [client, server] = sockets;
        let side = |endpoint, socket| Side {
            socket: Some(socket),
            nonblocking: scenario.starts_nonblocking(endpoint),
            stream: (0..)
                .zip(&scenario.lanes)
                .find(|(_, lane)| lane.endpoint == endpoint)
                .map(|(lane, _)| Stream { run, pair: 0, lane }),
            accepted: 0,
            urgent: 0,
            urgent_at: None,
            shut: false,
            consumed: 0,
            expected: 0,
            tcp: None,
        };
        let sides = [side(Endpoint::Client, client), side(Endpoint::Server, server)];
        let records = Vec::with_capacity(scenario.steps.len() + FINALE_RECORDS);
        Round { executor, start, sides, records }
    }

    pub(crate) fn into_parts(self) -> (Vec<Record>, [Traffic; 2]) {
        let traffic = self.sides.map(|side| Traffic { accepted: side.accepted, tcp: side.tcp });
        (self.records, traffic)
    }

    pub(crate) fn side(&mut self, endpoint: Endpoint) -> &mut Side {
        &mut self.sides[endpoint.index()]
    }

    /// Issues one op and writes it down.
    pub(crate) fn perform(&mut self, at: At, endpoint: Endpoint, op: Op) {
        let record = self.issue(at, endpoint, op);
        self.keep(record);
    }

    pub(crate) fn keep(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Issues one op.
    pub(crate) fn issue(&mut self, at: At, endpoint: Endpoint, op: Op) -> Record {
        let peer_outq = match op {
            Op::Recv { .. } | Op::Poll | Op::Inq | Op::Close | Op::Abort => {
                self.peer_outq(endpoint)
            }
            _ => None,
        };
        let call_ns = self.now();
        let returned = self.call(endpoint, op);
        let return_ns = self.now();
        // no other call raises it (sk_stream_error)
        let sigpipe = matches!(op, Op::Send { .. }) && take_sigpipes() > 0;
        let Returned { outcome, touched } = returned;
        Record { at, endpoint, op, call_ns, return_ns, peer_outq, outcome, touched, sigpipe }
    }

    /// What the other endpoint sent and has no acknowledgement of, in bytes.
    fn peer_outq(&mut self, endpoint: Endpoint) -> Option<u32> {
        self.side(endpoint).socket.as_ref()?;
        let peer = self.side(endpoint.peer()).socket.as_ref()?;
        sys::outq(peer.as_fd()).ok()
    }

    /// Nanoseconds since the scenario began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn call(&mut self, endpoint: Endpoint, op: Op) -> Returned {
        let Some(socket) = self.side(endpoint).socket.take() else {
            return Returned { outcome: Outcome::Closed, touched: 0 };
        };
        if matches!(op, Op::Close | Op::Abort) {
            return self.close(endpoint, socket, op == Op::Abort).into();
        }
        let fd = socket.as_fd();
        let returned = match op {
            Op::Send { len, flags, buffer } => self.send(endpoint, fd, len, flags, buffer),
            Op::Recv { len, flags, buffer } => self.recv(endpoint, fd, len, flags, buffer),
            Op::Set(option) => self.set(endpoint, fd, option).into(),
            Op::Poll => match sys::ready(fd) {
                Ok(ready) => Returned { outcome: Outcome::Ready(ready), touched: 0 },
                Err(errno) => Err(errno).into(),
            },
            Op::Inq => sys::inq(fd).into(),
            Op::Outq => sys::outq(fd).into(),
            Op::SoError => sys::so_error(fd).into(),
            Op::Shutdown(how) => {
                let result = sys::shutdown(fd, how);
                self.side(endpoint).shut |= result.is_ok() && how != How::Rd;
                result.into()
            }
            Op::Close | Op::Abort => unreachable!("closed above"),
        };
        self.side(endpoint).socket = Some(socket);
        returned
    }

    fn set(
        &mut self,
        endpoint: Endpoint,
        socket: BorrowedFd<'_>,
        option: SockOption,
    ) -> Result<u32, Errno> {
        let result = sys::set_option(socket, option);
        if let (SockOption::NonBlock(on), Ok(_)) = (option, &result) {
            self.side(endpoint).nonblocking = on;
        }
        result
    }

    /// Closes the socket, after a last look at what TCP knows of it.
    pub(crate) fn close(
        &mut self,
        endpoint: Endpoint,
        socket: OwnedFd,
        abort: bool,
    ) -> Result<u32, Errno> {
        let side = self.side(endpoint);
        side.tcp = sys::tcp_info(socket.as_fd()).ok().map(|info| {
            // a FIN behind unsent bytes has a sequence number, too (tcp_send_fin)
            let fin = u64::from(side.shut && info.notsent_bytes > 0);
            let sent = info.bytes_sent.saturating_sub(info.bytes_retrans);
            sent + u64::from(info.notsent_bytes) - fin
        });
        if abort {
            let lingers = sys::linger_zero(socket.as_fd());
            return lingers.and_then(|_| sys::close(socket));
        }
        sys::close(socket)
    }

    fn send(
        &mut self,
        endpoint: Endpoint,
        socket: BorrowedFd<'_>,
        len: u32,
        flags: SendFlags,
        buffer: Buffer,
    ) -> Returned {
        let key = self.executor.key();
        let side = &mut self.sides[endpoint.index()];
        let Some(stream) = side.stream else {
            unreachable!("a step is of a lane, and the lane is of this endpoint");
        };
        let span = self.executor.outbox.load(key, (stream, side.accepted), buffer, len);
        let may_block = !side.nonblocking && !flags.contains(SendFlags::DONTWAIT);
        let result = self.within_bound(may_block, || sys::send(socket, span, flags));
        let side = self.side(endpoint);
        if let Ok(count @ 1..) = result {
            side.accepted += u64::from(count);
            if flags.contains(SendFlags::OOB) {
                side.urgent += 1;
                side.urgent_at = Some(side.accepted - 1);
            }
        }
        match result {
            Err(None) => Returned { outcome: Outcome::Stuck, touched: 0 },
            Err(Some(errno)) => Err(errno).into(),
            Ok(count) => Ok(count).into(),
        }
    }

    fn recv(
        &mut self,
        endpoint: Endpoint,
        socket: BorrowedFd<'_>,
        len: u32,
        flags: RecvFlags,
        buffer: Buffer,
    ) -> Returned {
        let span = self.executor.inbox.place(buffer, len);
        let may_block = !self.side(endpoint).nonblocking && !flags.contains(RecvFlags::DONTWAIT);
        let result = self.within_bound(may_block, || sys::recv(socket, span, flags));
        let touched = self.executor.inbox.touched(span);
        let outcome = match result {
            Err(None) => Outcome::Stuck,
            Err(Some(errno)) => Outcome::Errno(errno),
            Ok(count) => {
                let expected = self.expected(endpoint, flags);
                let data = if flags.contains(RecvFlags::TRUNC) {
                    Vec::new()
                } else {
                    let received = self.executor.inbox.received(span, count);
                    payload::decode(self.executor.key(), received, expected, plausible)
                };
                if !flags.intersects(RecvFlags::PEEK | RecvFlags::OOB) {
                    self.advance(endpoint, count, &data);
                }
                Outcome::Received { count, data }
            }
        };
        self.executor.inbox.restore(span, touched);
        Returned { outcome, touched }
    }

    /// Where what this endpoint receives next most likely comes from.
    fn expected(&self, endpoint: Endpoint, flags: RecvFlags) -> Option<(Stream, u64)> {
        let peer = &self.sides[endpoint.peer().index()];
        let offset = if flags.contains(RecvFlags::OOB) {
            peer.urgent_at?
        } else {
            self.sides[endpoint.index()].expected
        };
        Some((peer.stream?, offset))
    }

    /// Moves on behind what a receive consumed.
    fn advance(&mut self, endpoint: Endpoint, count: u32, data: &[Run]) {
        let sent = self.side(endpoint.peer()).stream;
        let side = self.side(endpoint);
        side.consumed += u64::from(count);
        side.expected = match data.last() {
            Some(Run::Coded { stream, offset, len }) if Some(*stream) == sent => {
                offset + u64::from(*len)
            }
            _ => side.expected + u64::from(count),
        };
    }

    /// Repeats a call that a signal interrupted, until the bound is over: `Err(None)`.
    ///
    /// The watchdog's signal comes at the end of the bound for a call that may block. It may come sooner to one
    /// that must not, because starting the timer anew for each of those would cost as much as the call: should
    /// one sleep nevertheless, it is called again. An interrupted call has not moved a byte, so nothing is lost.
    fn within_bound(
        &self,
        may_block: bool,
        mut call: impl FnMut() -> Result<u32, Errno>,
    ) -> Result<u32, Option<Errno>> {
        let mut begun = None;
        if may_block {
            begun = Some(Instant::now());
            self.executor.watchdog.restart();
        }
        loop {
            match call() {
                Err(Errno::EINTR) => match begun {
                    Some(begun) if begun.elapsed() >= self.executor.watchdog.bound() => {
                        return Err(None);
                    }
                    Some(_) => {}
                    None => {
                        begun = Some(Instant::now());
                        self.executor.watchdog.restart();
                    }
                },
                result => return result.map_err(Some),
            }
        }
    }
}

/// Whether payload may come from there: from any run, but only from lanes and offsets that scenarios have.
fn plausible(stream: Stream, offset: u64) -> bool {
    stream.pair == 0 && usize::from(stream.lane) < limits::LANES && offset < limits::TOTAL_BYTES
}
