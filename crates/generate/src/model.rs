//! A light model of the pair: what is roughly pending, and who has ended what.
//!
//! It decides what is worth doing next, never what is right: it may be wrong about any number.

use scenario::{Buffer, Endpoint, How, Op, RecvFlags, SendFlags, SockOption};

use crate::swarm::Swarm;

/// Size of the ring of each direction, in bytes.
pub(crate) const RING: u32 = 16 << 10;

/// What one direction is taken to hold when no buffer size was set: well below what loopback takes.
const ROOM: u32 = 256 << 10;

/// One direction, by its sender.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    /// Bytes sent and not yet received.
    pub pending: u32,
    /// The most bytes that were ever pending.
    pub peak: u32,
    /// Bytes sent so far: where the ring's write cursor is if all of them took the ring.
    pub sent: u32,
    /// Whether urgent data was sent and not fetched.
    pub urgent: bool,
    /// Bytes that it can hold.
    room: u32,
}

/// One endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    /// It closed its socket.
    pub closed: bool,
    /// It shut down sending.
    pub shut_wr: bool,
    /// It shut down receiving.
    pub shut_rd: bool,
    /// The peer reset the connection.
    pub reset: bool,
}

/// Both endpoints and both directions, each by [`Endpoint::index`].
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// By the sending endpoint.
    pub flows: [Flow; 2],
    /// By endpoint.
    pub ends: [End; 2],
    /// How much of the scenario is drawn, in percent.
    pub progress: u32,
    /// Bytes that sends have asked for.
    pub asked: u32,
}

impl Model {
    /// The pair just after the handshake.
    pub fn new(swarm: &Swarm) -> Model {
        let flow = Flow { room: ROOM, ..Flow::default() };
        let mut model =
            Model { flows: [flow; 2], ends: [End::default(); 2], progress: 0, asked: 0 };
        for setup in &swarm.setup {
            model.apply(setup.endpoint, Op::Set(setup.option));
        }
        model
    }

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

    /// Whether no more bytes can come to this endpoint.
    pub fn input_over(&self, endpoint: Endpoint) -> bool {
        let (own, peer) = (self.end(endpoint), self.end(endpoint.peer()));
        own.shut_rd || own.reset || peer.closed || peer.shut_wr
    }

    /// Whether nothing that this endpoint sends can arrive any more.
    pub fn output_over(&self, endpoint: Endpoint) -> bool {
        let (own, peer) = (self.end(endpoint), self.end(endpoint.peer()));
        own.shut_wr || own.reset || peer.closed
    }

    /// Brings the model to after the op.
    pub fn apply(&mut self, endpoint: Endpoint, op: Op) {
        if self.end(endpoint).closed {
            return;
        }
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        match op {
            Op::Send { len, flags, buffer } => self.send(endpoint, len, flags, buffer),
            Op::Recv { len, flags, buffer } => self.recv(endpoint, len, flags, buffer),
            // the kernel doubles what it is given, and the other side holds some of it as well
            Op::Set(SockOption::SndBuf(bytes)) => {
                self.flows[own].room = bytes.clamp(2304, RING * 8) * 2;
            }
            Op::Set(SockOption::RcvBuf(bytes)) => {
                self.flows[peer].room = bytes.clamp(2304, RING * 8) * 2;
            }
            Op::Shutdown(how) => {
                self.ends[own].shut_rd |= how != How::Wr;
                self.ends[own].shut_wr |= how != How::Rd;
            }
            Op::Close | Op::Abort => {
                self.ends[own].closed = true;
                self.ends[peer].reset |= op == Op::Abort || self.inbound(endpoint).pending > 0;
            }
            Op::Set(_) | Op::Poll | Op::Inq | Op::Outq | Op::SoError => {}
        }
    }

    fn send(&mut self, endpoint: Endpoint, len: u32, flags: SendFlags, buffer: Buffer) {
        self.asked += len;
        let over = self.output_over(endpoint);
        let flow = &mut self.flows[endpoint.index()];
        let readable = match buffer {
            Buffer::Mapped => len,
            Buffer::Unmapped | Buffer::Torn(_) => 0,
        };
        let taken = if over { 0 } else { readable.min(flow.room.saturating_sub(flow.pending)) };
        flow.sent += taken;
        flow.pending += taken;
        flow.peak = flow.peak.max(flow.pending);
        if flags.contains(SendFlags::OOB) && taken > 0 {
            // the urgent byte stands outside the stream
            flow.pending -= 1;
            flow.urgent = true;
        }
    }

    fn recv(&mut self, endpoint: Endpoint, len: u32, flags: RecvFlags, buffer: Buffer) {
        let flow = &mut self.flows[endpoint.peer().index()];
        if flags.contains(RecvFlags::OOB) {
            flow.urgent = false;
            return;
        }
        let writable = buffer == Buffer::Mapped || flags.contains(RecvFlags::TRUNC);
        if writable && !flags.contains(RecvFlags::PEEK) {
            flow.pending = flow.pending.saturating_sub(len);
        }
    }
}
