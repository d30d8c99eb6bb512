//! What a bench measures and what came of it: plain TCP and a pair, side by side on one kernel.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::history::Pairing;

/// Longest message in bytes.
pub const LONGEST: u32 = 1 << 20;

/// What the two endpoints do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Mode {
    /// Request and response, one at a time.
    Rr,
    /// The client sends as fast as it can, the server receives.
    Stream,
}

/// Which of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Side {
    /// Made before the program was attached.
    Plain,
    /// Made after.
    Paired,
}

impl Side {
    /// Both, in the order that they are measured in.
    pub const BOTH: [Side; 2] = [Side::Plain, Side::Paired];
}

/// One measurement to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Of which connection.
    pub side: Side,
    /// Doing what.
    pub mode: Mode,
    /// With messages of so many bytes: at least one, at most [`LONGEST`].
    pub size: u32,
    /// For how long, in milliseconds, after a warm-up.
    pub millis: u32,
}

/// What was measured, without the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// Messages that the client sent and that were answered, or received.
    pub messages: u64,
    /// Bytes that both endpoints sent.
    pub bytes: u64,
    /// Those of them that took the ring.
    pub ring: u64,
    /// From the first send to the last receive, in nanoseconds.
    pub elapsed_ns: u64,
}

/// Why there is no measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Trouble {
    /// The endpoints did not finish.
    #[error("the endpoints did not finish within {limit_ms} ms{}", .phase.suffix())]
    Stalled {
        /// The time they had.
        limit_ms: u64,
        /// When it was.
        phase: Phase,
    },
    /// A received byte is not the one that was sent.
    #[error("byte {at} of a stream came as {got} and was sent as {expected}")]
    Corrupt {
        /// Its offset in the stream since the start of the measurement, or of its warm-up.
        at: u64,
        /// What was sent.
        expected: u8,
        /// What came.
        got: u8,
    },
    /// The same, and the bytes after it are of the stream, too.
    #[error(
        "byte {at} of a stream came as {got} and was sent as {expected}; those after it follow on it: bytes were \
         lost, repeated, or came out of order"
    )]
    OutOfPlace {
        /// Its offset in the stream since the start of the measurement, or of its warm-up.
        at: u64,
        /// What was sent.
        expected: u8,
        /// What came.
        got: u8,
    },
    /// The stream ended while both sides were open.
    #[error("the stream ended after {at} bytes while its sender was open")]
    Ended {
        /// Bytes that came before.
        at: u64,
    },
    /// More or fewer bytes came than were sent.
    #[error("{sent} bytes were sent and {received} came")]
    Count {
        /// Bytes that the sends accepted.
        sent: u64,
        /// Bytes that came up to the mark at the end of the stream.
        received: u64,
    },
    /// A call failed that has no reason to.
    #[error("{call} failed: {error}")]
    Call {
        /// Its name.
        call: String,
        /// What it returned.
        error: String,
    },
    /// The harness broke; says nothing about the kernel.
    #[error("{0}")]
    Harness(String),
}

/// A part of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Few messages, of which every byte is compared.
    WarmUp,
    /// Many, of which the first and the last byte is.
    Measuring,
}

impl Phase {
    fn suffix(self) -> &'static str {
        match self {
            Phase::WarmUp => " of the warm-up",
            Phase::Measuring => "",
        }
    }
}

/// Who set `SO_BUSY_POLL` on the pair; on the plain connection it is always the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BusyPoll {
    /// The program, as each endpoint was established.
    Program,
    /// The executor with `setsockopt(2)`, because the program could not: with what `bpf_setsockopt` returned,
    /// `None` where the program is not ours.
    Setsockopt(Option<i32>),
}

/// What became of the two connections before the first measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contenders {
    /// What the program said about the second one.
    pub pairing: Pairing,
    /// Where busy polling was asked for.
    pub busy_poll: Option<BusyPoll>,
}
