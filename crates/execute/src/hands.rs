//! One thread's means of making calls, and how one op becomes a record.

use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use scenario::history::{At, Errno, Outcome, Record};
use scenario::payload::{self, Run, Stream};
use scenario::{Buffer, By, Endpoint, How, Op, RecvFlags, SendFlags, SockOption, Waiter, limits};

use crate::backstage::{Reply, Request};
use crate::buffer::{self, Inbox, Outbox};
use crate::stage::{LaneState, Side, Stage};
use crate::streams::Streams;
use crate::sys;
use crate::transfer::Tools;
use crate::wait::Epolls;
use crate::watchdog::{Watchdog, take_sigpipes};

/// Which call is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) at: At,
    /// `None` where it is no lane's: in the finale, and for a look.
    pub(crate) lane: Option<u8>,
    pub(crate) pair: u8,
    pub(crate) endpoint: Endpoint,
    pub(crate) op: Op,
    /// Whether no other call is under way.
    pub(crate) alone: bool,
}

impl Call {
    pub(crate) fn finale(pair: u8, endpoint: Endpoint, op: Op) -> Call {
        Call { at: At::Finale, lane: None, pair, endpoint, op, alone: true }
    }
}

/// What is asked of the executor's thread, and its answer.
pub(crate) type Ask<'a> = dyn FnMut(Request) -> Reply + 'a;

/// What came back from a call, before it is a record.
#[derive(Default)]
struct Returned {
    outcome: Option<Outcome>,
    touched: u32,
    copy_differs: Option<u32>,
    besides: Vec<Record>,
}

impl From<Outcome> for Returned {
    fn from(outcome: Outcome) -> Returned {
        Returned { outcome: Some(outcome), ..Returned::default() }
    }
}

impl From<Result<u32, Errno>> for Returned {
    fn from(result: Result<u32, Errno>) -> Returned {
        result.map_or_else(Outcome::Errno, Outcome::Value).into()
    }
}

impl From<Result<u32, Option<Errno>>> for Returned {
    fn from(result: Result<u32, Option<Errno>>) -> Returned {
        match result {
            Ok(value) => Outcome::Value(value).into(),
            Err(Some(errno)) => Outcome::Errno(errno).into(),
            Err(None) => Outcome::Stuck.into(),
        }
    }
}

/// A thread's buffers, what they are filled with, its timer and its tools.
#[derive(Debug)]
pub(crate) struct Hands {
    pub(crate) watchdog: Watchdog,
    outbox: Outbox,
    inbox: Inbox,
    streams: Streams,
    tools: Tools,
}

impl Hands {
    /// Those of the calling thread, which must keep them.
    pub(crate) fn new(bound: Duration) -> Result<Hands, crate::Error> {
        Ok(Hands {
            watchdog: Watchdog::new(bound)?,
            outbox: Outbox::new()?,
            inbox: Inbox::new()?,
            streams: Streams::default(),
            tools: Tools::default(),
        })
    }

    /// Forgets what belongs to the scenario that is over.
    pub(crate) fn tidy(&mut self) {
        self.tools.epolls = Epolls::default();
        self.streams.forget();
        self.watchdog.stop();
    }

    /// Issues one op. Gives its record, after those of other calls that it took.
    pub(crate) fn issue(
        &mut self,
        stage: &Stage,
        call: Call,
        ask: &mut Ask<'_>,
    ) -> (Record, Vec<Record>) {
        let Call { at, lane, pair, endpoint, op, alone } = call;
        let (connection, may_sleep) = {
            let side = stage.side(pair, endpoint);
            (side.connection, may_sleep(&side, op))
        };
        let depends = matches!(
            op,
            Op::Recv { .. } | Op::Poll | Op::Wait { .. } | Op::Inq | Op::Close | Op::Abort
        );
        let peer_outq = if alone && depends { peer_outq(stage, pair, endpoint) } else { None };
        let state = lane.map(|lane| &stage.lanes[usize::from(lane)]);
        if let Some(state) = state {
            state.signals.store(0, Ordering::SeqCst);
            if let At::Step(step) = at {
                state.step.store(step, Ordering::SeqCst);
            }
            state.calling.store(true, Ordering::SeqCst);
        }
        if let Err(error) = self.tools.prepare(op) {
            // the call will say so, too
            tracing::debug!("{error}");
        }
        let clocks = || [sys::thread_cpu_ns(), sys::tick_ns()];
        let clocks_before = may_sleep.then(clocks);
        let call_ns = stage.now();
        let returned = self.call(stage, call, may_sleep, ask);
        let return_ns = stage.now();
        stage.returned.fetch_add(1, Ordering::Relaxed);
        let [cpu_ns, ticked_ns] = clocks_before.map_or([0; 2], |[cpu, tick]| {
            let now = clocks();
            [now[0].saturating_sub(cpu), now[1].saturating_sub(tick)]
        });
        if let Some(state) = state {
            state.calling.store(false, Ordering::SeqCst);
        }
        let lasted = Duration::from_nanos(return_ns.saturating_sub(call_ns));
        let slept_on = state.is_some_and(|state| state.slept_on.swap(false, Ordering::SeqCst));
        let interrupted = may_sleep && (slept_on || lasted >= self.watchdog.bound());
        // no other call raises it (sk_stream_error)
        let sigpipe = matches!(op, Op::Send { .. }) && take_sigpipes() > 0;
        let Returned { outcome, touched, copy_differs, besides } = returned;
        let outcome = outcome.unwrap_or(Outcome::Closed);
        let record = Record {
            at,
            lane,
            connection,
            endpoint,
            op,
            call_ns,
            return_ns,
            peer_outq,
            outcome,
            cpu_ns,
            ticked_ns,
            touched,
            sigpipe,
            interrupted,
            copy_differs,
        };
        (record, besides)
    }

    fn call(&mut self, stage: &Stage, call: Call, may_sleep: bool, ask: &mut Ask<'_>) -> Returned {
        let Call { pair, endpoint, op, .. } = call;
        match op {
            Op::Pause(us) => {
                thread::sleep(Duration::from_micros(us.into()));
                return Outcome::Value(0).into();
            }
            Op::Signal { lane, restart } => return signal(stage, lane, restart).into(),
            Op::Connect | Op::Destroy | Op::Unhash | Op::Rehash | Op::Detach => {
                if may_sleep {
                    self.watchdog.restart();
                }
                return self.ask(stage, call, ask);
            }
            Op::Close | Op::Abort => {
                if !stage.side(pair, endpoint).is_open() {
                    return Returned::default();
                }
                if may_sleep {
                    self.watchdog.restart();
                }
                return stage.close(pair, endpoint, op == Op::Abort).into();
            }
            _ => {}
        }
        let Some(number) = number(stage, call) else {
            return Returned::default();
        };
        // SAFETY: a descriptor's number stays taken until the scenario is over, even where another lane closes it
        // (Stage::close); in a sequential scenario there is no other lane
        let socket = unsafe { BorrowedFd::borrow_raw(number) };
        let returned = self.on_socket(stage, call, socket, may_sleep);
        // it had been closed, and its number refers to no socket any more: which select(2) alone does not say
        let is_select = matches!(op, Op::Wait { by: Waiter::Select, .. });
        let is_there = || self::number(stage, call) == Some(number);
        let failed = returned.outcome == Some(Outcome::Errno(Errno(libc::EBADF)));
        if failed || is_select && !is_there() { Returned::default() } else { returned }
    }

    fn ask(&mut self, stage: &Stage, call: Call, ask: &mut Ask<'_>) -> Returned {
        let (At::Step(step), Some(lane)) = (call.at, call.lane) else {
            return Returned::default();
        };
        let is_there = stage.side(call.pair, call.endpoint).is_open();
        if !is_there && call.op != Op::Connect {
            return Returned::default();
        }
        let reply = ask(Request { step, lane, op: call.op });
        Returned { outcome: Some(reply.outcome), besides: reply.besides, ..Returned::default() }
    }

    fn on_socket(
        &mut self,
        stage: &Stage,
        call: Call,
        socket: BorrowedFd<'_>,
        may_sleep: bool,
    ) -> Returned {
        let Call { pair, endpoint, .. } = call;
        match call.op {
            Op::Send { len, flags, buffer, by } => {
                self.send(stage, call, socket, may_sleep, (len, flags, buffer, by))
            }
            Op::Recv { len, flags, buffer, by } => {
                self.recv(stage, call, socket, may_sleep, (len, flags, buffer, by))
            }
            Op::Set(option) => set(stage, call, socket, option).into(),
            Op::Poll => ready(sys::ready(socket).map_err(Some)),
            Op::Wait { events, timeout_ms, by } => {
                let tools = &mut self.tools;
                let state = call.lane.map(|lane| &stage.lanes[usize::from(lane)]);
                let wait = || tools.wait(socket, events, timeout_ms, by);
                ready(within_bound(&self.watchdog, state, may_sleep, wait))
            }
            Op::ErrQueue => {
                let completed = sys::errqueue(socket);
                let mut side = stage.side(pair, endpoint);
                side.uncompleted = side.uncompleted.saturating_sub(completed.unwrap_or(0));
                completed.into()
            }
            Op::Inq => sys::inq(socket).into(),
            Op::Outq => sys::outq(socket).into(),
            Op::AtMark => sys::at_mark(socket).into(),
            Op::SoError => sys::so_error(socket).into(),
            Op::Shutdown(how) => {
                let result = sys::shutdown(socket, how);
                stage.side(pair, endpoint).shut |= result.is_ok() && how != How::Rd;
                result.into()
            }
            Op::Dup => {
                let result = sys::dup(socket);
                result.map(|copy| stage.side(pair, endpoint).hold(copy)).map(|()| 0).into()
            }
            Op::Fork => {
                let result = sys::fork_holder(socket);
                result
                    .map(|child| stage.side(pair, endpoint).children.push(child))
                    .map(|()| 0)
                    .into()
            }
            Op::Disconnect => {
                let result = sys::disconnect(socket);
                stage.side(pair, endpoint).disconnected |= result.is_ok();
                result.into()
            }
            Op::Tls => sys::tls(socket).into(),
            Op::Repair => sys::repair(socket).into(),
            _ => unreachable!("needs no socket"),
        }
    }

    fn send(
        &mut self,
        stage: &Stage,
        call: Call,
        socket: BorrowedFd<'_>,
        may_sleep: bool,
        (len, flags, buffer, by): (u32, SendFlags, Buffer, By),
    ) -> Returned {
        let Call { pair, endpoint, .. } = call;
        let Some(lane) = call.lane else { unreachable!("the finale sends nothing") };
        let (stream, offset) = {
            let mut side = stage.side(pair, endpoint);
            side.offer(lane, len);
            (stage.stream(side.connection, lane), side.sent(lane))
        };
        let mapped = buffer::mapped(buffer, len);
        let payload = self.streams.bytes(stage.key, (stream, offset), mapped);
        let span = self.outbox.load(buffer, len, payload);
        let tools = &mut self.tools;
        let state = Some(&stage.lanes[usize::from(lane)]);
        let send = || tools.send(socket, span, flags, by);
        let result = within_bound(&self.watchdog, state, may_sleep, send);
        if let Ok(count) = result {
            let mut side = stage.side(pair, endpoint);
            // otherwise the pair has been connected anew, and what was sent is of no account
            if side.connection == stream.pair {
                side.accept(lane, stream, count, flags.contains(SendFlags::OOB));
                let owes = side.zerocopy && count > 0 && flags.contains(SendFlags::ZEROCOPY);
                side.uncompleted += u32::from(owes);
            }
        }
        let copy_differs = self.tools.copy_differs(by, self.outbox.holds(span));
        Returned { copy_differs, ..result.into() }
    }

    fn recv(
        &mut self,
        stage: &Stage,
        call: Call,
        socket: BorrowedFd<'_>,
        may_sleep: bool,
        (len, flags, buffer, by): (u32, RecvFlags, Buffer, By),
    ) -> Returned {
        let Call { pair, endpoint, .. } = call;
        let (connection, hints) = {
            let side = stage.side(pair, endpoint);
            (side.connection, side.hints)
        };
        let span = self.inbox.place(buffer, len);
        let tools = &mut self.tools;
        let state = call.lane.map(|lane| &stage.lanes[usize::from(lane)]);
        let recv = || tools.recv(socket, span, flags, by, hints);
        let result = within_bound(&self.watchdog, state, may_sleep, recv);
        let touched = self.inbox.touched(span);
        let mut copy_differs = None;
        let outcome = match result {
            Err(None) => Outcome::Stuck,
            Err(Some(errno)) => Outcome::Errno(errno),
            Ok((count, left)) => {
                copy_differs = self.tools.copy_differs(by, self.inbox.received(span, count));
                let data = if flags.contains(RecvFlags::TRUNC) {
                    Vec::new()
                } else {
                    let received = self.inbox.received(span, count);
                    let expected = expected(stage, pair, endpoint, flags);
                    origin(&mut self.streams, stage, connection, received, &expected)
                };
                let consumes = !flags.intersects(RecvFlags::PEEK | RecvFlags::OOB);
                let mut side = stage.side(pair, endpoint);
                if consumes && side.connection == connection {
                    side.consume(count, end(&data));
                }
                Outcome::Received { count, data, left }
            }
        };
        self.inbox.restore(span, touched);
        Returned { outcome: Some(outcome), touched, copy_differs, besides: Vec::new() }
    }
}

/// The number of the descriptor that the call is made with.
fn number(stage: &Stage, call: Call) -> Option<RawFd> {
    stage.side(call.pair, call.endpoint).descriptor().map(|descriptor| descriptor.as_raw_fd())
}

/// Whether the call may sleep, and so needs a time limit of its own.
fn may_sleep(side: &Side, op: Op) -> bool {
    match op {
        Op::Close | Op::Abort => side.lingers,
        op => op.may_sleep(side.nonblocking),
    }
}

/// What the other endpoint sent and has no acknowledgement of, in bytes.
fn peer_outq(stage: &Stage, pair: u8, endpoint: Endpoint) -> Option<u32> {
    stage.side(pair, endpoint).descriptor()?;
    let peer = stage.side(pair, endpoint.peer());
    sys::outq(peer.descriptor()?).ok()
}

fn ready(result: Result<scenario::Ready, Option<Errno>>) -> Returned {
    match result {
        Ok(ready) => Outcome::Ready(ready).into(),
        Err(Some(errno)) => Outcome::Errno(errno).into(),
        Err(None) => Outcome::Stuck.into(),
    }
}

fn set(
    stage: &Stage,
    call: Call,
    socket: BorrowedFd<'_>,
    option: SockOption,
) -> Result<u32, Errno> {
    let result = sys::set_option(socket, option)?;
    let mut side = stage.side(call.pair, call.endpoint);
    match option {
        SockOption::NonBlock(on) => side.nonblocking = on,
        SockOption::TcpInq(on) => side.hints = on,
        SockOption::ZeroCopy(on) => side.zerocopy = on,
        SockOption::Linger(_) => side.lingers = true,
        _ => {}
    }
    Ok(result)
}

fn signal(stage: &Stage, lane: u8, restart: bool) -> Result<u32, Errno> {
    let state = &stage.lanes[usize::from(lane)];
    state.signals.fetch_add(1, Ordering::SeqCst);
    sys::signal_thread(state.thread.load(Ordering::SeqCst), restart)
}

/// Where what this endpoint receives next most likely comes from.
fn expected(stage: &Stage, pair: u8, endpoint: Endpoint, flags: RecvFlags) -> Vec<(Stream, u64)> {
    if flags.contains(RecvFlags::OOB) {
        return stage.side(pair, endpoint.peer()).urgent_at.into_iter().collect();
    }
    let mut expected = stage.side(pair, endpoint).expected.clone();
    // less than a word may agree by chance
    let peer = stage.side(pair, endpoint.peer());
    expected.retain(|&(stream, offset)| peer.has_offered(stream, offset));
    expected
}

/// Where received bytes come from: as good as always from the first place where they are expected.
fn origin(
    streams: &mut Streams,
    stage: &Stage,
    connection: u8,
    received: &[u8],
    expected: &[(Stream, u64)],
) -> Vec<Run> {
    if let Some(&(stream, offset)) = expected.first()
        && stream.pair == connection
        && let Ok(len @ 1..) = u32::try_from(received.len())
        && streams.bytes(stage.key, (stream, offset), received.len()) == received
    {
        return vec![Run::Coded { stream, offset, len }];
    }
    payload::decode(stage.key, received, expected, |stream, offset| {
        plausible(stage, stream, offset)
    })
}

/// The stream of the last bytes, and where they end in it.
fn end(data: &[Run]) -> Option<(Stream, u64)> {
    match data.last() {
        Some(Run::Coded { stream, offset, len }) => Some((*stream, offset + u64::from(*len))),
        _ => None,
    }
}

/// Whether payload may come from there: from any run, but only from lanes and offsets that scenarios have.
fn plausible(stage: &Stage, stream: Stream, offset: u64) -> bool {
    let known = usize::from(stream.pair) < limits::CONNECTIONS
        && usize::from(stream.lane) < limits::LANES.max(stage.lanes.len());
    known && offset < limits::TOTAL_BYTES
}

/// Repeats a call that a signal interrupted, until the bound is over, or the scenario: `Err(None)`. A signal of another
/// lane is none of ours, and what it does to the call is a result.
///
/// The watchdog's signal comes at the end of the bound for a call that may block. It may come sooner to one
/// that must not, because starting the timer anew for each of those would cost as much as the call: should
/// one sleep nevertheless, it is called again. An interrupted call has not moved a byte, so nothing is lost.
fn within_bound<T>(
    watchdog: &Watchdog,
    state: Option<&LaneState>,
    may_block: bool,
    mut call: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Option<Errno>> {
    let mut begun = None;
    if may_block {
        begun = Some(Instant::now());
        watchdog.restart();
    }
    loop {
        match call() {
            Err(Errno::EINTR) if state.is_some_and(LaneState::is_over) => return Err(None),
            Err(Errno::EINTR) => match begun {
                // first: a signal of another lane may have come before, and the call been restarted
                Some(begun) if begun.elapsed() >= watchdog.bound() => return Err(None),
                _ if state.is_some_and(LaneState::signalled) => {
                    return Err(Some(Errno::EINTR));
                }
                Some(_) => {}
                None => {
                    begun = Some(Instant::now());
                    watchdog.restart();
                }
            },
            result => return result.map_err(Some),
        }
    }
}
