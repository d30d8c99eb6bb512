//! A light model of the pairs: what is roughly pending, who has ended what, and who sleeps.
//!
//! It decides what is worth doing next, never what is right: it may be wrong about any number. Only of `sure` and
//! `most` it knows on which side they err, because calls that sleep rely on them; see [`crate::calm`].

use scenario::{Buffer, Endpoint, How, Lane, Op, RecvFlags, SendFlags, Setup, SockOption};

/// What one direction is taken to hold when no buffer size was set: well below what loopback takes.
const ROOM: u32 = 256 << 10;

/// What a direction surely takes, on any wire: the initial `sk_sndbuf` of `tcp_sndbuf_expand()` on Ethernet is 85 KiB.
pub(crate) const SAFE: u32 = 48 << 10;

/// What it surely takes with the smallest buffers, when it is empty.
const SAFE_TINY: u32 = 512;

/// One direction, by its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// Bytes sent and not yet received.
    pub pending: u32,
    /// The most bytes that were ever pending.
    pub peak: u32,
    /// Bytes sent so far: where the ring's write cursor is if all of them took the ring.
    pub sent: u32,
    /// Whether urgent data was sent and not fetched.
    pub urgent: bool,
    /// Sends with `MSG_ZEROCOPY` whose completion was not fetched.
    pub zerocopies: u32,
    /// Bytes that it can hold.
    pub room: u32,
    /// Whether a buffer size was set.
    tiny: bool,
    /// Bytes that can surely be received now: a lower bound of `pending`.
    pub sure: u32,
    /// Bytes on top of that which `MSG_MORE` or `TCP_CORK` holds back.
    pub held: u32,
    /// An upper bound of `pending`.
    pub most: u32,
}

impl Default for Flow {
    fn default() -> Flow {
        Flow {
            pending: 0,
            peak: 0,
            sent: 0,
            urgent: false,
            zerocopies: 0,
            room: ROOM,
            tiny: false,
            sure: 0,
            held: 0,
            most: 0,
        }
    }
}

impl Flow {
    /// So many bytes may be gone; also of those that were held back, which may have come all the same.
    pub fn unsure(&mut self, len: u32) {
        let beyond = len.saturating_sub(self.sure);
        self.sure = self.sure.saturating_sub(len);
        self.held = self.held.saturating_sub(beyond);
    }

    /// Whether a send of so many bytes is surely taken whole at once.
    pub fn surely_takes(&self, len: u32) -> bool {
        if self.tiny { self.most == 0 && len <= SAFE_TINY } else { self.most + len <= SAFE }
    }
}

/// One endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    /// Nobody holds its socket any more.
    pub closed: bool,
    /// It was closed while a lane slept in a call, which holds the socket: the peer learns of it later.
    pub lingers: bool,
    /// It shut down sending.
    pub shut_wr: bool,
    /// It shut down receiving.
    pub shut_rd: bool,
    /// The peer reset the connection.
    pub reset: bool,
    /// It was disconnected.
    pub severed: bool,
    /// It shut down before it connected again: it cannot send, and no FIN tells the peer.
    mute: bool,
    /// Holders beyond the first.
    pub further_holders: u32,
    /// The same, without those that are gone: what [`scenario::limits::HOLDERS`] counts.
    pub ever_held: u32,
    /// `O_NONBLOCK`
    pub nonblocking: bool,
    /// `SO_RCVLOWAT` in bytes
    pub lowat: u32,
    /// `SO_RCVTIMEO` in milliseconds
    pub rcvtimeo: u32,
    /// `SO_SNDTIMEO` in milliseconds
    pub sndtimeo: u32,
    /// `TCP_CORK`
    pub corked: bool,
    /// Whether `SO_PEEK_OFF` was set.
    pub peek_off: bool,
    /// Whether it has a `TCP_ULP`.
    pub ulp: bool,
    /// Whether it was taken out of the SOCKHASH.
    pub unhashed: bool,
}

/// One pair: its endpoints and its directions, each by [`Endpoint::index`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pair {
    /// By the sending endpoint.
    pub flows: [Flow; 2],
    /// By endpoint.
    pub ends: [End; 2],
    /// How often the client connected again.
    pub reconnects: u32,
}

/// A call that was left asleep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sleeper {
    /// Whose call.
    pub lane: u8,
    /// The socket.
    pub pair: u8,
    /// The socket.
    pub endpoint: Endpoint,
    /// Bytes that surely wake a receive; `None` for a send.
    pub need: Option<u32>,
    /// Bytes that it takes at most.
    pub len: u32,
    /// Whether it wakes soon by itself.
    pub short: bool,
}

/// All pairs.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub pairs: Vec<Pair>,
    /// Who sleeps, as far as is known.
    pub sleepers: Vec<Sleeper>,
    /// Who was woken by bytes and has not acted since: it may not have taken them yet.
    pub woken: Vec<Sleeper>,
    /// How much of the scenario is drawn, in percent.
    pub progress: u32,
    /// Bytes that sends have asked for.
    pub asked: u32,
    /// Connections so far.
    pub connections: u32,
    /// Whether the program is detached.
    pub detached: bool,
    /// What each socket starts with.
    setup: Vec<Setup>,
}

impl Model {
    /// The pairs just after the handshakes.
    pub fn new(pairs: u8, setup: &[Setup]) -> Model {
        let mut model = Model {
            pairs: vec![Pair::default(); usize::from(pairs)],
            sleepers: Vec::new(),
            woken: Vec::new(),
            progress: 0,
            asked: 0,
            connections: u32::from(pairs),
            detached: false,
            setup: setup.to_vec(),
        };
        for pair in 0..pairs {
            model.set_up(pair, Endpoint::BOTH);
        }
        model
    }

    fn set_up<const N: usize>(&mut self, pair: u8, endpoints: [Endpoint; N]) {
        for setup in self.setup.clone() {
            if setup.pair == pair && endpoints.contains(&setup.endpoint) {
                self.pair_mut(pair).set(setup.endpoint, setup.option);
            }
        }
    }

    /// The pair of that number.
    pub fn pair(&self, pair: u8) -> &Pair {
        &self.pairs[usize::from(pair)]
    }

    /// The same, to change it.
    pub fn pair_mut(&mut self, pair: u8) -> &mut Pair {
        &mut self.pairs[usize::from(pair)]
    }

    /// Whether the lane sleeps in a call that does not end soon by itself.
    pub fn sleeps(&self, lane: u8) -> bool {
        self.sleepers.iter().any(|sleeper| sleeper.lane == lane && !sleeper.short)
    }

    /// Those that sleep on a socket.
    pub fn sleepers_on(&self, pair: u8, endpoint: Endpoint) -> impl Iterator<Item = &Sleeper> {
        self.sleepers.iter().filter(move |s| s.pair == pair && s.endpoint == endpoint)
    }

    /// Bytes that surely wake all who sleep in a receive on a socket, in whatever order they take what they ask for.
    pub fn wakes_all(&self, pair: u8, endpoint: Endpoint) -> u32 {
        let receives = || self.sleepers_on(pair, endpoint).filter(|sleeper| sleeper.need.is_some());
        let all: u32 = receives().map(|sleeper| sleeper.len).sum();
        let last =
            |sleeper: &Sleeper| sleeper.need.map(|need| need.saturating_add(all - sleeper.len));
        receives().filter_map(last).max().unwrap_or(0)
    }

    /// Brings the model to after the op, made by a lane of this pair and endpoint.
    pub fn apply(&mut self, lane: &Lane, op: Op) {
        let Lane { pair, endpoint, .. } = *lane;
        match op {
            Op::Connect => return self.connect(pair),
            Op::Detach => self.detached = true,
            Op::Set(SockOption::RcvLowat(bytes)) if bytes > 1 => self.want_more(lane, bytes),
            Op::Send { len, .. } => self.asked = self.asked.saturating_add(len),
            Op::Close | Op::Abort => {
                let asleep = self.sleepers_on(pair, endpoint).next().is_some();
                let end = &mut self.pair_mut(pair).ends[endpoint.index()];
                end.lingers |= asleep && end.further_holders == 0;
            }
            _ => {}
        }
        self.pair_mut(pair).apply(endpoint, op);
    }

    /// Who sleeps in a receive is woken later.
    fn want_more(&mut self, lane: &Lane, bytes: u32) {
        for sleeper in &mut self.sleepers {
            if (sleeper.pair, sleeper.endpoint) == (lane.pair, lane.endpoint) {
                sleeper.need = sleeper.need.map(|need| need.saturating_add(bytes));
            }
        }
    }

    fn connect(&mut self, pair: u8) {
        self.connections += 1;
        let old = *self.pair(pair);
        let [client, _] = old.ends;
        if !client.closed && !client.severed {
            return; // EISCONN
        }
        *self.pair_mut(pair) = Pair { reconnects: old.reconnects + 1, ..Pair::default() };
        let new = self.pair_mut(pair);
        for end in Endpoint::BOTH.map(Endpoint::index) {
            new.ends[end].ever_held = old.ends[end].ever_held;
        }
        if client.closed {
            self.set_up(pair, Endpoint::BOTH);
        } else {
            // the socket stays, and with it its options and its holders
            let new = &mut self.pair_mut(pair).ends[Endpoint::Client.index()];
            *new = End { severed: false, reset: false, mute: client.shut_wr, ..client };
            self.set_up(pair, [Endpoint::Server]);
        }
    }
}

impl Pair {
    /// The direction that the endpoint sends into.
    pub fn outbound(&self, endpoint: Endpoint) -> &Flow {
        &self.flows[endpoint.index()]
    }

    /// The direction that the endpoint receives from.
    pub fn inbound(&self, endpoint: Endpoint) -> &Flow {
        &self.flows[endpoint.peer().index()]
    }

    /// The endpoint's own state.
    pub fn end(&self, endpoint: Endpoint) -> &End {
        &self.ends[endpoint.index()]
    }

    /// Whether no more bytes can come to this endpoint, and it knows.
    pub fn input_over(&self, endpoint: Endpoint) -> bool {
        let (own, peer) = (self.end(endpoint), self.end(endpoint.peer()));
        let gone = peer.closed && !peer.lingers || peer.severed;
        let ended = peer.shut_wr && !peer.mute;
        own.closed || own.shut_rd || own.reset || own.severed || ended || gone
    }

    /// Whether nothing that this endpoint sends can arrive any more.
    pub fn output_over(&self, endpoint: Endpoint) -> bool {
        let (own, peer) = (self.end(endpoint), self.end(endpoint.peer()));
        own.shut_wr || own.reset || own.severed || peer.closed || peer.severed
    }

    /// Brings the pair to after the op.
    pub fn apply(&mut self, endpoint: Endpoint, op: Op) {
        if self.end(endpoint).closed {
            return;
        }
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        match op {
            Op::Send { len, flags, buffer, .. } => self.send(endpoint, len, flags, buffer),
            Op::Recv { len, flags, buffer, .. } => self.recv(endpoint, len, flags, buffer),
            Op::ErrQueue => self.flows[own].zerocopies = 0,
            Op::Set(option) => self.set(endpoint, option),
            Op::Shutdown(how) => {
                self.ends[own].shut_rd |= how != How::Wr;
                self.ends[own].shut_wr |= how != How::Rd;
            }
            Op::Dup | Op::Fork => {
                self.ends[own].further_holders += 1;
                self.ends[own].ever_held += 1;
            }
            Op::Close | Op::Abort if self.ends[own].further_holders > 0 => {
                self.ends[own].further_holders -= 1;
            }
            Op::Close | Op::Abort => {
                self.ends[own].closed = true;
                let resets = op == Op::Abort || self.inbound(endpoint).pending > 0;
                self.ends[peer].reset |= resets && !self.ends[own].lingers;
            }
            Op::Destroy => self.ends = self.ends.map(|end| End { reset: true, ..end }),
            Op::Disconnect => {
                // tcp_disconnect() clears sk_shutdown; a shutdown(2) behind it fails and sets it all the same
                let end = &mut self.ends[own];
                *end = End { severed: true, shut_rd: false, shut_wr: false, mute: false, ..*end };
                self.ends[peer].reset = true;
                self.flows = [Flow::default(); 2];
            }
            Op::Unhash => self.ends[own].unhashed = true,
            Op::Tls => self.ends[own].ulp = true,
            _ => {}
        }
    }

    fn set(&mut self, endpoint: Endpoint, option: SockOption) {
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        // the kernel doubles what it is given, and the other side holds some of it as well
        let room = |bytes: u32| bytes.clamp(2304, ROOM / 2) * 2;
        let end = &mut self.ends[own];
        match option {
            SockOption::SndBuf(bytes) => {
                self.flows[own].room = room(bytes);
                self.flows[own].tiny = true;
            }
            SockOption::RcvBuf(bytes) => {
                self.flows[peer].room = room(bytes);
                self.flows[peer].tiny = true;
            }
            SockOption::NonBlock(on) => end.nonblocking = on,
            SockOption::RcvLowat(bytes) => end.lowat = bytes,
            SockOption::RcvTimeo(ms) => end.rcvtimeo = ms,
            SockOption::SndTimeo(ms) => end.sndtimeo = ms,
            SockOption::PeekOff(_) => end.peek_off = true,
            SockOption::Cork(on) => {
                end.corked = on;
                self.release(endpoint);
            }
            SockOption::NoDelay(true) => self.release(endpoint),
            _ => {}
        }
    }

    /// What was held back goes, unless the cork is in.
    fn release(&mut self, endpoint: Endpoint) {
        let corked = self.end(endpoint).corked;
        let flow = &mut self.flows[endpoint.index()];
        if !corked {
            flow.sure += flow.held;
            flow.held = 0;
        }
    }

    fn send(&mut self, endpoint: Endpoint, len: u32, flags: SendFlags, buffer: Buffer) {
        let over = self.output_over(endpoint);
        let flow = &mut self.flows[endpoint.index()];
        let readable = match buffer {
            Buffer::Mapped => len,
            Buffer::Unmapped | Buffer::Torn(_) => 0,
        };
        let urgent = flags.contains(SendFlags::OOB);
        if !over && !urgent && readable > 0 && flow.surely_takes(readable) {
            flow.held += readable;
        }
        let taken = if over { 0 } else { readable.min(flow.room.saturating_sub(flow.pending)) };
        flow.most = flow.most.saturating_add(len);
        flow.sent += taken;
        flow.pending += taken;
        flow.peak = flow.peak.max(flow.pending);
        flow.zerocopies += u32::from(flags.contains(SendFlags::ZEROCOPY) && taken > 0);
        if urgent && taken > 0 {
            // the urgent byte stands outside the stream
            flow.pending -= 1;
            flow.urgent = true;
        }
        if !flags.contains(SendFlags::MORE) {
            self.release(endpoint);
        }
    }

    fn recv(&mut self, endpoint: Endpoint, len: u32, flags: RecvFlags, buffer: Buffer) {
        let ended = self.end(endpoint).shut_rd;
        let flow = &mut self.flows[endpoint.peer().index()];
        if flags.contains(RecvFlags::OOB) {
            flow.urgent = false;
            return;
        }
        if flags.contains(RecvFlags::PEEK) {
            return;
        }
        let writable = buffer == Buffer::Mapped || flags.contains(RecvFlags::TRUNC);
        if writable {
            flow.pending = flow.pending.saturating_sub(len);
            // with an urgent mark in the way it may be less
            if !flow.urgent && !ended {
                flow.most -= flow.sure.min(len).min(flow.most);
            }
        }
        flow.unsure(len);
    }
}
