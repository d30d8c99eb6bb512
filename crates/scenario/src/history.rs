//! What happened: one time-stamped record per call, without any opinion about it.

use serde::{Deserialize, Serialize};

use crate::case::Endpoint;
use crate::op::{Op, Ready, RecvFlags};
use crate::payload::{Key, Run};

/// An error number of the kernel, positive as in `errno(3)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Errno(pub i32);

/// The errors that the contract speaks about, with their values on Linux (`asm-generic/errno.h`).
const NAMES: &[(&str, i32)] = &[
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EINTR", 4),
    ("EIO", 5),
    ("EBADF", 9),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EFAULT", 14),
    ("EEXIST", 17),
    ("EINVAL", 22),
    ("EPIPE", 32),
    ("ENOPROTOOPT", 92),
    ("EOPNOTSUPP", 95),
    ("ECONNABORTED", 103),
    ("ECONNRESET", 104),
    ("ENOBUFS", 105),
    ("ENOTCONN", 107),
    ("ETIMEDOUT", 110),
    ("ECONNREFUSED", 111),
    ("ERESTARTSYS", 512),
];

impl Errno {
    /// `EAGAIN`
    pub const EAGAIN: Errno = Errno(11);
    /// `EINTR`
    pub const EINTR: Errno = Errno(4);
    /// `EFAULT`
    pub const EFAULT: Errno = Errno(14);
    /// `EINVAL`
    pub const EINVAL: Errno = Errno(22);
    /// `EPIPE`
    pub const EPIPE: Errno = Errno(32);
    /// `ECONNRESET`
    pub const ECONNRESET: Errno = Errno(104);
    /// `ENOTCONN`
    pub const ENOTCONN: Errno = Errno(107);

    /// The upper-case name, where it is one of those that a socket call gives.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(_, n)| *n == self.0).map(|(name, _)| *name)
    }

    /// The error of that (upper- or lower-case) name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Errno> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, n)| Errno(*n))
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl std::fmt::Debug for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Why the op was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum At {
    /// It is step `.0` of the scenario.
    Step(u32),
    /// It belongs to the finale, the fixed ending that follows every scenario: see [`History`].
    Finale,
    /// The executor asked the socket that lane `.0` was asleep on whether its receive would return, and was told so. If
    /// the lane slept on in that call, the executor interrupted it. That may be long before the last step.
    Look(u8),
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It returned this value: bytes sent, queue length, pending error, or 0.
    Value(u32),
    /// A receive returned this many bytes.
    Received {
        /// The return value in bytes.
        count: u32,
        /// What stood in the first `count` bytes of the buffer. With `MSG_TRUNC`, empty.
        data: Vec<Run>,
        /// What `TCP_INQ` said is left, in bytes; `None` where it said nothing.
        left: Option<u32>,
    },
    /// `poll(2)` reported these.
    Ready(Ready),
    /// It failed.
    Errno(Errno),
    /// It had not returned within the bound (see [`Bounds::call_ms`]), or when the last step was over and the finale
    /// was to begin, and was interrupted by a signal.
    Stuck,
    /// The endpoint was closed before, so nothing was called.
    Closed,
}

/// One call: what was asked, when, and what came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Why it was issued.
    pub at: At,
    /// The lane that issued it: index into [`crate::Scenario::lanes`]. `None` in the finale, and for a look.
    pub lane: Option<u8>,
    /// The connection it was on: index into [`History::connections`].
    pub connection: u8,
    /// The socket it was on.
    pub endpoint: Endpoint,
    /// What was asked. For a step this is the step's op.
    pub op: Op,
    /// `CLOCK_MONOTONIC` of the guest just before the call, in nanoseconds since the scenario began.
    pub call_ns: u64,
    /// The same just after it.
    pub return_ns: u64,
    /// `SIOCOUTQ` of the *other* endpoint just before the call: bytes that it sent and that were not yet
    /// acknowledged. `None` where that endpoint was closed, where what the op does does not depend on them, and where
    /// another call was under way.
    pub peer_outq: Option<u32>,
    /// What came back.
    pub outcome: Outcome,
    /// How long the call kept a processor busy, in nanoseconds; 0 where nobody measured: on calls that may not sleep.
    pub cpu_ns: u64,
    /// How long it lasted by a clock that goes in ticks (`CLOCK_MONOTONIC_COARSE`), in nanoseconds; 0 as above. The time
    /// limits of sockets are counted in ticks (`schedule_timeout`), of which a busy host makes some come late and then
    /// close together.
    pub ticked_ns: u64,
    /// How many bytes of the buffer, counted to the last changed one, the call wrote to. Receives only. A lower
    /// bound: a byte that equals what the buffer was filled with before does not count as changed.
    pub touched: u32,
    /// Whether the call raised `SIGPIPE`.
    pub sigpipe: bool,
    /// It slept until the executor interrupted it: at its time bound, or when it was seen asleep after the last step, or
    /// although its socket said that it would return. What was there by then it may have returned all the same; that
    /// does not mean that it was woken.
    pub interrupted: bool,
    /// The first byte, counted from 0, at which what `tee(2)` shared is not what the call moved: it has another value in
    /// the second pipe, or is missing there. `None` where all is the same, and where there was no `tee(2)`.
    pub copy_differs: Option<u32>,
}

impl Record {
    /// How many bytes of its buffer a receive wrote to beyond those that it returned: with `MSG_TRUNC` it returns none.
    #[must_use]
    pub fn strayed(&self) -> u32 {
        let returned = match (&self.op, &self.outcome) {
            (Op::Recv { flags, .. }, Outcome::Received { count, .. })
                if !flags.contains(RecvFlags::TRUNC) =>
            {
                *count
            }
            _ => 0,
        };
        self.touched.saturating_sub(returned)
    }
}

/// What became of the pairing of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pairing {
    /// The target does not pair.
    NotAsked,
    /// Our program has put both into the SOCKHASH and asks for no pair: see [`crate::Attempt::FreeStranger`].
    Left,
    /// Somebody else's pairing object is attached; what it did cannot be read.
    Unknown,
    /// The result of each side's call of the kfunc; `None` where that side did not call it, because it did
    /// not find its peer in the sockhash.
    Asked {
        /// What the kfunc returned to each endpoint's program, by [`Endpoint::index`].
        results: [Option<i32>; 2],
        /// What `bpf_sock_hash_update` returned to each endpoint's program; `None` where it did not run.
        updates: [Option<i32>; 2],
        /// What the kfunc returned to each endpoint's additional call, which [`crate::Attempt`] asks for.
        further: [Option<i32>; 2],
    },
}

impl Pairing {
    /// Whether one of the two calls succeeded, which makes the endpoints a pair.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        matches!(self, Pairing::Asked { results, .. } if results.contains(&Some(0)))
    }
}

/// Bytes that one endpoint sent, by path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes that its sends returned as accepted.
    pub accepted: u64,
    /// Bytes that TCP took, from `TCP_INFO` just before the socket was closed
    /// (`tcpi_bytes_sent - tcpi_bytes_retrans + tcpi_notsent_bytes`, without a FIN that waits behind them);
    /// `None` where it could not be read.
    pub tcp: Option<u64>,
}

impl Traffic {
    /// Bytes that were accepted by a send and are unknown to TCP.
    #[must_use]
    pub fn off_tcp(&self) -> u64 {
        self.tcp.map_or(0, |tcp| self.accepted.saturating_sub(tcp))
    }
}

/// One connection of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The pair that it belongs to.
    pub pair: u8,
    /// Whether the endpoints were paired.
    pub pairing: Pairing,
    /// Bytes by path, by the sending [`Endpoint::index`].
    pub traffic: [Traffic; 2],
}

/// Time limits that the executor ran under, scaled with the machine's speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// A call that has not returned after this many milliseconds is interrupted.
    pub call_ms: u32,
    /// The finale waits this many milliseconds for accepted bytes that TCP still reports as unacknowledged, once on each
    /// endpoint, and less long where TCP has sent them over and over without an answer.
    pub drain_ms: u32,
    /// The finale waits this many milliseconds for accepted bytes while nothing is unacknowledged, so that
    /// nothing in TCP could bring them any more.
    pub settle_ms: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { call_ms: 5_000, drain_ms: 5_000, settle_ms: 250 }
    }
}

/// The record of one execution.
///
/// After the steps of the scenario comes the *finale*, the same for every scenario, which turns liveness
/// into something that can be judged: on every endpoint that is still open
/// 1. `TCP_NODELAY` on, so that nothing waits for more data; where the scenario sets these on any socket, `TCP_CORK` off,
///    `SO_RCVLOWAT` 1, and an `SO_RCVBUF` that keeps a tiny window from taking minutes;
/// 2. receive without blocking until as many bytes came as were accepted (less one for each `MSG_OOB` send,
///    whose last byte may leave the stream), EOF, an error, or a bound;
/// 3. `shutdown(SHUT_WR)`;
/// 4. receive without blocking until EOF, an error, or a bound; then `SO_ERROR`, and where sends had `MSG_ZEROCOPY`, the
///    error queue, until it has completed them all or a bound has run out;
/// 5. `SO_LINGER` 0 and `close(2)`, unrecorded.
///
/// Its calls are recorded like any other, with [`At::Finale`]; so are the looks at sockets on which lanes still sleep
/// after the last step. A receive of the finale that failed with `EAGAIN` is recorded only where it was the last one: the
/// bound had run out by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The key that the payload was made with.
    pub key: Key,
    /// Which run of the boot this was (wraps): the part of [`crate::payload::Stream`] that tells
    /// connections apart.
    pub run: u16,
    /// All connections, in the order in which they were made: first one for each pair, then those of [`Op::Connect`].
    pub connections: Vec<Connection>,
    /// The limits that were in force.
    pub bounds: Bounds,
    /// All calls, in the order in which they were issued.
    pub records: Vec<Record>,
    /// Bytes that took the ring in either direction, by a counter of the target's; `None` where it has none. A target
    /// whose `TCP_INFO` counts the ring's bytes, too, has to have one.
    pub ring_counter: Option<u64>,
}

impl History {
    /// Bytes that certainly took the ring from that endpoint to its peer.
    ///
    /// # Panics
    /// If there is no such connection.
    #[must_use]
    pub fn ring(&self, connection: u8, sender: Endpoint) -> u64 {
        let own = &self.connections[usize::from(connection)].traffic[sender.index()];
        match self.ring_counter {
            None => own.off_tcp(),
            // what the other directions cannot have carried
            Some(all) => all.saturating_sub(self.accepted() - own.accepted),
        }
    }

    /// Bytes that were accepted in all directions, and how many of them took the ring.
    #[must_use]
    pub fn accepted_and_ring(&self) -> (u64, u64) {
        let accepted = self.accepted();
        let asked = |connection: &&Connection| connection.pairing != Pairing::NotAsked;
        let ring = match self.ring_counter {
            Some(all) if self.connections.iter().any(|c| asked(&c)) => all.min(accepted),
            Some(_) => 0,
            None => {
                let paired = self.connections.iter().filter(asked);
                paired.flat_map(|c| &c.traffic).map(Traffic::off_tcp).sum()
            }
        };
        (accepted, ring)
    }

    fn accepted(&self) -> u64 {
        self.connections.iter().flat_map(|c| &c.traffic).map(|traffic| traffic.accepted).sum()
    }

    /// Whether one of its connections is a pair.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        self.connections.iter().any(|connection| connection.pairing.is_paired())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(traffic: [(u64, u64); 2], ring_counter: Option<u64>) -> History {
        History {
            key: Key::from_seed(1),
            run: 0,
            connections: vec![Connection {
                pair: 0,
                pairing: Pairing::Unknown,
                traffic: traffic.map(|(accepted, tcp)| Traffic { accepted, tcp: Some(tcp) }),
            }],
            bounds: Bounds::default(),
            records: Vec::new(),
            ring_counter,
        }
    }

    #[test_log::test]
    fn without_a_counter_the_ring_carried_what_tcp_does_not_know() {
        let history = history([(100, 30), (50, 50)], None);
        assert_eq!(Endpoint::BOTH.map(|sender| history.ring(0, sender)), [70, 0]);
        assert_eq!(history.accepted_and_ring(), (150, 70));
        let mut plain = history;
        plain.connections[0].pairing = Pairing::NotAsked;
        assert_eq!(plain.accepted_and_ring(), (150, 0));
    }

    #[test_log::test]
    fn a_counter_of_both_directions_is_sure_of_one_as_far_as_the_other_cannot_explain_it() {
        let two = history([(100, 100), (50, 50)], Some(70));
        assert_eq!(Endpoint::BOTH.map(|sender| two.ring(0, sender)), [20, 0]);
        assert_eq!(two.accepted_and_ring(), (150, 70));
        let one = history([(100, 100), (0, 0)], Some(70));
        assert_eq!(Endpoint::BOTH.map(|sender| one.ring(0, sender)), [70, 0]);
        // another connection may have carried some of it
        let mut other = history([(100, 100), (0, 0)], Some(70));
        other.connections.extend(history([(30, 30), (0, 0)], None).connections);
        assert_eq!([other.ring(0, Endpoint::Client), other.ring(1, Endpoint::Client)], [40, 0]);
        assert_eq!(other.accepted_and_ring(), (130, 70));
        // a counter that exaggerates
        assert_eq!(history([(10, 10), (0, 0)], Some(70)).accepted_and_ring(), (10, 10));
    }
}
