//! The whole model: two endpoints, two directions, and the violations found so far.

use scenario::history::{Errno, Outcome, Pairing, Record};
use scenario::verdict::Doubt;
use scenario::{
    Endpoint, History, Invariant, Op, RecvFlags, Scenario, SendFlags, SockOption, Violation,
};

use crate::describe;
use crate::stream::Stream;

/// How an endpoint was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// `close(2)` that owes the peer a FIN.
    Close,
    /// `close(2)` with unread bytes that were known to be queued: RFC 2525 section 2.17, `__tcp_close`.
    CloseUnread,
    /// `SO_LINGER` 0 and `close(2)`: `tcp_disconnect`.
    Abort,
}

/// What is known about one endpoint.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent fact of the socket's state"
)]
pub(crate) struct Side {
    pub(crate) nonblocking: bool,
    pub(crate) corked: bool,
    /// `SO_RCVLOWAT` as asked for; the kernel may cap it (`tcp_set_rcvlowat`).
    pub(crate) lowat: u32,
    pub(crate) rcvbuf: Option<u32>,
    pub(crate) sndbuf: Option<u32>,
    pub(crate) ending: Option<Ending>,
    /// It was closed before it had sent a FIN or could have been reset.
    pub(crate) no_fin_before: bool,
    pub(crate) shut_rd: bool,
    pub(crate) shut_wr: bool,
    /// A FIN was queued by `shutdown(2)`.
    pub(crate) fin_queued: bool,
    /// The peer's FIN has certainly arrived.
    pub(crate) fin_known: bool,
    /// A reset may have reached it.
    pub(crate) exposed: bool,
    /// A reset certainly has been sent to it and no FIN before: how the peer ended.
    pub(crate) reset_due: Option<Ending>,
    /// A reset certainly has reached it.
    pub(crate) dead: bool,
    /// The asynchronous error was returned by a call, which cleared it.
    pub(crate) reported: bool,
    /// `POLLERR` was seen and nothing has cleared it since.
    pub(crate) error_pending: bool,
    /// The op before on this endpoint was a poll that gave `POLLOUT`.
    pub(crate) writable: bool,
    /// Bytes that it sent successfully after the peer had been closed.
    pub(crate) sent_to_closed: u64,
    /// Some send failed after the peer had been closed.
    pub(crate) send_failed: bool,
    /// The sizes of its buffers were fixed before the handshake: how much they held until then is known, too.
    pub(crate) sndbuf_fixed: bool,
    pub(crate) rcvbuf_fixed: bool,
}

impl Side {
    /// Whether it is still open.
    pub(crate) fn open(&self) -> bool {
        self.ending.is_none()
    }
}

/// One record with its place in the history.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) index: usize,
    pub(crate) record: &'a Record,
}

/// The model and what it found.
pub(crate) struct Model<'a> {
    pub(crate) history: &'a History,
    sides: [Side; 2],
    streams: [Stream; 2],
    pub(crate) violations: Vec<Violation>,
    /// How often something was to be reported, repetitions included.
    pub(crate) complaints: usize,
    pub(crate) doubt: Option<Doubt>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(scenario: &Scenario, history: &'a History) -> Model<'a> {
        let stream = |sender: Endpoint| {
            let lane = scenario
                .lanes
                .iter()
                .position(|lane| lane.endpoint == sender)
                .and_then(|lane| u8::try_from(lane).ok())
                .unwrap_or(u8::MAX);
            let source = scenario::payload::Stream { run: history.run, pair: 0, lane };
            Stream::new(history.key, source)
        };
        let mut model = Model {
            history,
            sides: [Side::default(), Side::default()],
            streams: Endpoint::BOTH.map(stream),
            violations: Vec::new(),
            complaints: 0,
            doubt: None,
        };
        for endpoint in Endpoint::BOTH {
            model.side_mut(endpoint).lowat = 1;
        }
        for setup in &scenario.setup {
            model.set(setup.endpoint, setup.option);
            let side = model.side_mut(setup.endpoint);
            side.sndbuf_fixed |= matches!(setup.option, SockOption::SndBuf(_));
            side.rcvbuf_fixed |= matches!(setup.option, SockOption::RcvBuf(_));
        }
        model
    }

    pub(crate) fn side(&self, endpoint: Endpoint) -> &Side {
        &self.sides[endpoint.index()]
    }

    pub(crate) fn side_mut(&mut self, endpoint: Endpoint) -> &mut Side {
        &mut self.sides[endpoint.index()]
    }

    /// The direction that `sender` sends.
    pub(crate) fn outgoing(&self, sender: Endpoint) -> &Stream {
        &self.streams[sender.index()]
    }

    pub(crate) fn outgoing_mut(&mut self, sender: Endpoint) -> &mut Stream {
        &mut self.streams[sender.index()]
    }

    /// The direction that `receiver` receives.
    pub(crate) fn incoming(&self, receiver: Endpoint) -> &Stream {
        self.outgoing(receiver.peer())
    }

    pub(crate) fn incoming_mut(&mut self, receiver: Endpoint) -> &mut Stream {
        self.outgoing_mut(receiver.peer())
    }

    /// An option takes effect.
    pub(crate) fn set(&mut self, endpoint: Endpoint, option: SockOption) {
        let side = self.side_mut(endpoint);
        match option {
            SockOption::Cork(on) => side.corked = on,
            SockOption::NonBlock(on) => side.nonblocking = on,
            // the largest that ever was: what a buffer holds stays when it shrinks
            SockOption::RcvBuf(bytes) => side.rcvbuf = side.rcvbuf.max(Some(bytes)),
            SockOption::SndBuf(bytes) => side.sndbuf = side.sndbuf.max(Some(bytes)),
            SockOption::RcvLowat(bytes) => side.lowat = bytes.max(1),
            SockOption::NoDelay(_) => {}
        }
    }

    /// Whether the peer may have sent a FIN, so that EOF is possible at all.
    pub(crate) fn fin_possible(&self, endpoint: Endpoint) -> bool {
        let peer = self.side(endpoint.peer());
        peer.shut_wr || peer.ending == Some(Ending::Close)
    }

    /// Notes who may have got a reset by now. Once possible, it stays so.
    ///
    /// Besides an abort, these send one: a socket that is closed with unread bytes (`__tcp_close`); a closed
    /// one that gets bytes; one that is shut down both ways and gets bytes, which resets itself, too
    /// (`tcp_rcv_state_process`); and, where the table of `TIME_WAIT` sockets is full, a closed one that
    /// gets a FIN (`tcp_time_wait`).
    pub(crate) fn note_exposure(&mut self) {
        for endpoint in Endpoint::BOTH {
            let (own, peer) = (self.side(endpoint), self.side(endpoint.peer()));
            let unread = self.outgoing(endpoint).unread() > 0 || self.outgoing(endpoint).lost_track;
            let incoming =
                self.incoming(endpoint).unread() > 0 || self.incoming(endpoint).lost_track;
            let from_peer = match peer.ending {
                Some(Ending::Abort | Ending::CloseUnread) => true,
                Some(Ending::Close) => unread || own.shut_wr,
                None => peer.shut_rd && peer.shut_wr && unread,
            };
            let by_itself = own.shut_rd && own.shut_wr && incoming;
            if from_peer || by_itself {
                self.side_mut(endpoint).exposed = true;
            }
        }
    }

    /// Reports a violation, once per way of breaking a rule.
    pub(crate) fn report(
        &mut self,
        invariant: Invariant,
        diagnosis: &str,
        record: Option<usize>,
        evidence: String,
    ) {
        let known =
            self.violations.iter().any(|v| v.invariant == invariant && v.diagnosis == diagnosis);
        if !known {
            self.violations.push(Violation {
                invariant,
                diagnosis: diagnosis.to_owned(),
                record,
                evidence,
            });
        }
    }

    /// Reports that a call's outcome is not allowed: "`<call> <outcome>, but <because>`".
    pub(crate) fn blame(
        &mut self,
        call: Call<'_>,
        invariant: Invariant,
        diagnosis: &str,
        because: &str,
    ) {
        let evidence = format!(
            "{} {}, but {because}",
            describe::call(call.record),
            describe::outcome(&call.record.outcome)
        );
        self.report(invariant, diagnosis, Some(call.index), evidence);
    }

    /// Notes that something could not be judged.
    pub(crate) fn doubt(&mut self, doubt: Doubt) {
        self.doubt.get_or_insert(doubt);
    }

    /// Whether the call must not sleep.
    pub(crate) fn nonblocking(&self, record: &Record) -> bool {
        let flagged = match record.op {
            Op::Send { flags, .. } => flags.contains(SendFlags::DONTWAIT),
            Op::Recv { flags, .. } => flags.intersects(RecvFlags::DONTWAIT | RecvFlags::OOB),
            _ => true,
        };
        flagged || self.side(record.endpoint).nonblocking
    }

    /// Whether both sides may be a pair, for evidence.
    pub(crate) fn pairing(&self) -> &Pairing {
        &self.history.pairing
    }

    /// A call gave the asynchronous error. Errors other than the two of `tcp_reset` are not allowed.
    pub(crate) fn error_reported(&mut self, call: Call<'_>, errno: Errno, otherwise: Invariant) {
        let endpoint = call.record.endpoint;
        let side = self.side(endpoint);
        if errno != Errno::ECONNRESET && errno != Errno::EPIPE {
            self.blame(call, otherwise, "unexpected-errno", "TCP never gives this error here");
        } else if side.reported {
            self.blame(
                call,
                Invariant::ResetOnce,
                "reported-again",
                "the error of this connection had already been returned by an earlier call",
            );
        } else if !side.exposed {
            self.blame(
                call,
                Invariant::Reset,
                "error-without-cause",
                "the peer has not sent a reset: it was neither aborted nor closed with bytes unread",
            );
        }
        let side = self.side_mut(endpoint);
        side.reported = true;
        side.error_pending = false;
        side.dead = true;
    }

    /// Whether the outcome is of a kind that the op cannot have.
    pub(crate) fn is_malformed(record: &Record) -> bool {
        match (&record.op, &record.outcome) {
            (_, Outcome::Errno(_) | Outcome::Stuck | Outcome::Closed) => false,
            (Op::Recv { .. }, outcome) => !matches!(outcome, Outcome::Received { .. }),
            (Op::Poll, outcome) => !matches!(outcome, Outcome::Ready(_)),
            (_, outcome) => !matches!(outcome, Outcome::Value(_)),
        }
    }
}
