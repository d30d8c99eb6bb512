//! The whole model: two endpoints, two directions, and the violations found so far.

use std::collections::BTreeMap;

use scenario::history::{Connection, Errno, Outcome, Record};
use scenario::verdict::Doubt;
use scenario::{
    By, Endpoint, History, Invariant, Op, RecvFlags, Scenario, SockOption, Violation, Wire,
};

use crate::crowd::Crowd;
use crate::data::Other;
use crate::describe;
use crate::severance;
use crate::stream::{self, Stream};

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

/// Where the next peek begins (`SO_PEEK_OFF`, `socket(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PeekOff {
    /// At the next byte to receive.
    #[default]
    Off,
    /// So many bytes behind it.
    At(u64),
    /// Nobody can tell.
    Unknown,
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
    /// How many descriptors and children hold it, besides the first.
    pub(crate) more_holders: u32,
    /// `SO_LINGER` 0: every close is an abort.
    pub(crate) linger_zero: bool,
    /// `SO_LINGER` with a time has been set: a close may wait.
    pub(crate) lingers: bool,
    pub(crate) peek_off: PeekOff,
    /// `SO_OOBINLINE` has been switched on at some time.
    pub(crate) oob_inline: bool,
    /// It is on.
    pub(crate) inline_now: bool,
    /// `TCP_INQ`
    pub(crate) hints: bool,
    pub(crate) zerocopy: bool,
    /// Sends that owe a completion on the error queue, at most; `POLLERR` shows one, too (`tcp_poll`).
    pub(crate) zerocopy_sends: u32,
    pub(crate) completions: u32,
    /// Sends that owe one for certain.
    pub(crate) completions_due: u32,
    pub(crate) keepalive: bool,
    /// The longest `SO_BUSY_POLL` that it ever had, in microseconds.
    pub(crate) busy_poll: u32,
    /// `SO_RCVTIMEO` and `SO_SNDTIMEO` in milliseconds, 0 for none.
    pub(crate) rcvtimeo: u32,
    pub(crate) sndtimeo: u32,
    /// Its sending or receiving side may be shut down by now, it may be closed, it may have sent a reset: an overlapping
    /// call does so at some moment.
    pub(crate) may_shut_wr: bool,
    pub(crate) may_shut_rd: bool,
    pub(crate) may_close: bool,
    pub(crate) may_reset: bool,
    /// What its calls return is not known any more: it was destroyed, disconnected, or an error was put aside for a
    /// later call. Bytes that it receives are still judged.
    pub(crate) murky: bool,
    /// Nobody knows which of two options that were set at once is in force.
    pub(crate) unclear: bool,
    /// `connect(AF_UNSPEC)` succeeded.
    pub(crate) disconnected: bool,
}

impl Side {
    /// The same socket with another connection: its options stay. A disconnect switches `SO_PEEK_OFF` off
    /// (`tcp_disconnect`), and clears the error that it leaves when it connects (`tcp_connect_init`).
    fn connected_again(&self) -> Side {
        Side {
            nonblocking: self.nonblocking,
            corked: self.corked,
            lowat: self.lowat,
            rcvbuf: self.rcvbuf,
            sndbuf: self.sndbuf,
            linger_zero: self.linger_zero,
            lingers: self.lingers,
            peek_off: PeekOff::Unknown,
            oob_inline: self.oob_inline,
            inline_now: self.inline_now,
            hints: self.hints,
            zerocopy: self.zerocopy,
            zerocopy_sends: self.zerocopy_sends,
            completions: self.completions,
            completions_due: self.completions_due,
            keepalive: self.keepalive,
            busy_poll: self.busy_poll,
            rcvtimeo: self.rcvtimeo,
            sndtimeo: self.sndtimeo,
            murky: self.unclear,
            unclear: self.unclear,
            ..Side::default()
        }
    }

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
    /// The records on the same connection that it overlaps in time, ascending.
    pub(crate) beside: &'a [usize],
    /// What may have interrupted it.
    pub(crate) signals: Signals,
}

/// The signals that were sent to a call's lane about when it was under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Signals {
    #[default]
    None,
    /// All of them restart what they interrupt (`SA_RESTART`).
    Restarting,
    /// At least one does not.
    Interrupting,
}

/// What was certain when a call began that others overlap.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) sides: [Side; 2],
    /// By sender: the reader's position, what was known to have arrived, what was acknowledged.
    pub(crate) at: [u64; 2],
    pub(crate) known: [u64; 2],
    pub(crate) acked: [u64; 2],
}

const ETIMEDOUT: Errno = Errno(110);

/// The model and what it found.
pub(crate) struct Model<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) history: &'a History,
    /// Index into the history's connections.
    pub(crate) connection: u8,
    pub(crate) wire: Wire,
    pub(crate) snapshots: BTreeMap<usize, Snapshot>,
    /// By receiver: the receives that took bytes while others did, not judged yet, and how many are under way.
    pub(crate) crowds: [Crowd; 2],
    sides: [Side; 2],
    streams: [Stream; 2],
    pub(crate) violations: Vec<Violation>,
    /// How often something was to be reported, repetitions included.
    pub(crate) complaints: usize,
    pub(crate) doubt: Option<Doubt>,
}

impl<'a> Model<'a> {
    /// The model of one connection, before anything has happened on it.
    ///
    /// # Panics
    /// If the history has no such connection.
    pub(crate) fn new(scenario: &'a Scenario, history: &'a History, connection: u8) -> Model<'a> {
        let pair = history.connections[usize::from(connection)].pair;
        let stream = |sender| stream::direction(scenario, history, connection, sender);
        let mut model = Model {
            scenario,
            history,
            connection,
            wire: scenario.wire,
            snapshots: BTreeMap::new(),
            crowds: [Crowd::default(), Crowd::default()],
            sides: [Side::default(), Side::default()],
            streams: Endpoint::BOTH.map(stream),
            violations: Vec::new(),
            complaints: 0,
            doubt: None,
        };
        for endpoint in Endpoint::BOTH {
            model.side_mut(endpoint).lowat = 1;
        }
        for setup in scenario.setup.iter().filter(|setup| setup.pair == pair) {
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
        // on a slow wire, or one that loses, probes may stay without an answer in time (tcp_keepalive_timer)
        if option == SockOption::KeepAlive(true) && self.wire != Wire::default() {
            self.sides.iter_mut().for_each(|side| side.may_reset = true);
        }
        let side = self.side_mut(endpoint);
        match option {
            SockOption::Cork(on) => side.corked = on,
            SockOption::NonBlock(on) => side.nonblocking = on,
            // the largest that ever was: what a buffer holds stays when it shrinks
            SockOption::RcvBuf(bytes) => side.rcvbuf = side.rcvbuf.max(Some(bytes)),
            SockOption::SndBuf(bytes) => side.sndbuf = side.sndbuf.max(Some(bytes)),
            SockOption::RcvLowat(bytes) => side.lowat = bytes.max(1),
            SockOption::NoDelay(_) => {}
            SockOption::OobInline(on) => {
                side.oob_inline |= on;
                side.inline_now = on;
            }
            SockOption::KeepAlive(on) => side.keepalive |= on,
            SockOption::TcpInq(on) => side.hints = on,
            SockOption::ZeroCopy(on) => side.zerocopy = on,
            SockOption::PeekOff(bytes) => side.peek_off = PeekOff::At(bytes.into()),
            SockOption::RcvTimeo(ms) => side.rcvtimeo = ms,
            SockOption::SndTimeo(ms) => side.sndtimeo = ms,
            SockOption::BusyPoll(us) => side.busy_poll = side.busy_poll.max(us),
            SockOption::Linger(seconds) => {
                side.linger_zero = seconds == 0;
                side.lingers |= seconds > 0;
            }
        }
    }

    /// The connection follows another one of the pair, whose client's socket it may have.
    pub(crate) fn follow(&mut self, before: &Model<'_>) {
        let client = before.side(Endpoint::Client);
        if !client.open() {
            return;
        }
        // a shutdown between disconnect and connect stays in force (inet_shutdown), and who holds it is the executor's
        let unclear = client.shut_wr || client.shut_rd || client.more_holders > 0;
        *self.side_mut(Endpoint::Client) = client.connected_again();
        if unclear {
            Endpoint::BOTH.into_iter().for_each(|end| severance::give_up(self, end));
        }
    }

    /// The connection that is judged.
    pub(crate) fn its(&self) -> &'a Connection {
        &self.history.connections[usize::from(self.connection)]
    }

    /// Bytes that certainly took the ring from that endpoint to its peer.
    pub(crate) fn ring(&self, sender: Endpoint) -> u64 {
        self.history.ring(self.connection, sender)
    }

    /// Where bytes that an endpoint receives may come from, besides its peer's stream.
    pub(crate) fn strangers(&self, receiver: Endpoint) -> Other<'a> {
        let own = self.outgoing(receiver);
        Other {
            scenario: self.scenario,
            history: self.history,
            sender: receiver.peer(),
            stream: own.source,
            accepted: own.accepted,
        }
    }

    /// Notes what is certain when a call begins.
    pub(crate) fn snap(&mut self, index: usize) {
        let of = |what: fn(&Stream) -> u64| [what(&self.streams[0]), what(&self.streams[1])];
        let snapshot = Snapshot {
            sides: self.sides.clone(),
            at: of(|s| s.at),
            known: of(|s| s.known),
            acked: of(|s| s.acked),
        };
        self.snapshots.insert(index, snapshot);
    }

    /// Whether the end of the sending side may have been sent.
    pub(crate) fn end_possible(&self, sender: Endpoint) -> bool {
        let side = self.side(sender);
        side.shut_wr || side.may_shut_wr || side.may_close || side.ending == Some(Ending::Close)
    }

    /// Whether the peer may have sent a FIN, so that EOF is possible at all.
    pub(crate) fn fin_possible(&self, endpoint: Endpoint) -> bool {
        self.end_possible(endpoint.peer())
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
            let own_ended = own.shut_wr || own.may_shut_wr;
            let peer_ended = peer.shut_wr || peer.may_shut_wr;
            let from_peer = match peer.ending {
                _ if peer.may_reset => true,
                Some(Ending::Abort | Ending::CloseUnread) => true,
                Some(Ending::Close) => unread || own_ended,
                None => (peer.shut_rd || peer.may_shut_rd) && peer_ended && unread,
            };
            let by_itself = (own.shut_rd || own.may_shut_rd) && own_ended && incoming;
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
        self.complaints += 1;
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
        let side = self.side(record.endpoint);
        match record.op {
            // SO_LINGER may make it wait
            Op::Close | Op::Abort => !side.lingers,
            Op::Pause(_) | Op::Destroy | Op::Signal { .. } => false,
            // there is no waiting for urgent data (tcp_recv_urg); but io_uring tries again after EAGAIN
            Op::Recv { flags, by, .. } if flags.contains(RecvFlags::OOB) && by != By::Uring => true,
            op => !op.may_sleep(side.nonblocking),
        }
    }

    /// A call gave the asynchronous error. Errors other than the two of `tcp_reset` are not allowed.
    pub(crate) fn error_reported(&mut self, call: Call<'_>, errno: Errno, otherwise: Invariant) {
        let endpoint = call.record.endpoint;
        let side = self.side(endpoint);
        // unanswered probes or segments (tcp_keepalive_timer, tcp_write_err)
        if errno == ETIMEDOUT && (side.keepalive || self.wire.loss_permille > 0) {
            self.side_mut(endpoint).murky = true;
            return;
        }
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
            (Op::Poll | Op::Wait { .. }, outcome) => !matches!(outcome, Outcome::Ready(_)),
            (_, outcome) => !matches!(outcome, Outcome::Value(_)),
        }
    }
}
