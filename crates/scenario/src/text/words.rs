//! The words of the language, each in one place for both printing and parsing.

use std::fmt::Display;

use strum::IntoEnumIterator;

use crate::case::When;
use crate::op::{By, Op, Ready, RecvFlags, SendFlags, SockOption};

/// The version of the language that this crate prints, and the only one that it reads.
pub(super) const VERSION: &str = "1";
/// The last statement.
pub(super) const END: &str = "end";
/// What separates an op from its expected result.
pub(super) const ARROW: &str = "->";
/// What comes before a number for an error that has no name.
pub(super) const ERRNO: &str = "errno";
/// What `poll` reports when it reports nothing.
pub(super) const NONE: &str = "none";
/// A buffer of which nothing is mapped.
pub(super) const UNMAPPED: &str = "unmapped";
/// A buffer of which only the first bytes are mapped.
pub(super) const TORN: &str = "torn";

/// What comes before the call that moves the bytes, or waits.
pub(super) const BY: &str = "by";
/// What comes before the delay of a step that is released together with others.
pub(super) const AFTER: &str = "after";
/// A signal whose handler has `SA_RESTART`.
pub(super) const RESTART: &str = "restart";

/// A word and what it stands for.
pub(super) type Words<T> = [(&'static str, T)];

/// A statement that is not a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    Ring,
    Topology,
    Wire,
    Family,
    Pairs,
    Attempt,
    Set,
    Lane,
    End,
}

pub(super) const STATEMENTS: &Words<Statement> = &[
    ("ring", Statement::Ring),
    ("topology", Statement::Topology),
    ("wire", Statement::Wire),
    ("family", Statement::Family),
    ("pairs", Statement::Pairs),
    ("attempt", Statement::Attempt),
    ("set", Statement::Set),
    ("lane", Statement::Lane),
    (END, Statement::End),
];

/// What a wire does to packets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Delay,
    Loss,
}

pub(super) const FLAWS: &Words<Flaw> = &[("delay", Flaw::Delay), ("loss", Flaw::Loss)];

/// What stands before the lane of a step that does not simply follow the one before.
pub(super) const WHENS: &Words<When> =
    &[("start", When::Start), ("with", When::With { after_us: 0 })];

/// What follows the word of an op.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Length, flags, call, buffer.
    Send,
    /// Length, flags, call, buffer.
    Recv,
    /// An option and its value.
    Set,
    /// Events, timeout, call.
    Wait,
    /// Which half.
    Shutdown,
    /// A lane, and whether its call is restarted.
    Signal,
    /// How long.
    Pause,
    /// Nothing: the word is the op.
    Bare(Op),
}

pub(super) const OPS: &Words<Shape> = &[
    ("send", Shape::Send),
    ("recv", Shape::Recv),
    ("err-queue", Shape::Bare(Op::ErrQueue)),
    ("set", Shape::Set),
    ("poll", Shape::Bare(Op::Poll)),
    ("wait", Shape::Wait),
    ("inq", Shape::Bare(Op::Inq)),
    ("outq", Shape::Bare(Op::Outq)),
    ("at-mark", Shape::Bare(Op::AtMark)),
    ("so-error", Shape::Bare(Op::SoError)),
    ("shutdown", Shape::Shutdown),
    ("dup", Shape::Bare(Op::Dup)),
    ("fork", Shape::Bare(Op::Fork)),
    ("close", Shape::Bare(Op::Close)),
    ("abort", Shape::Bare(Op::Abort)),
    ("destroy", Shape::Bare(Op::Destroy)),
    ("disconnect", Shape::Bare(Op::Disconnect)),
    ("connect", Shape::Bare(Op::Connect)),
    ("unhash", Shape::Bare(Op::Unhash)),
    ("rehash", Shape::Bare(Op::Rehash)),
    ("detach", Shape::Bare(Op::Detach)),
    ("tls", Shape::Bare(Op::Tls)),
    ("repair", Shape::Bare(Op::Repair)),
    ("signal", Shape::Signal),
    ("pause", Shape::Pause),
];

/// What follows the word of a call that moves bytes.
#[derive(Clone, Copy)]
pub(super) enum Mover {
    /// Nothing.
    Whole(By),
    /// Into how many pieces the bytes are cut.
    Pieces(fn(u8) -> By),
}

pub(super) const MOVERS: &Words<Mover> = &[
    ("call", Mover::Whole(By::Call)),
    ("vector", Mover::Pieces(By::Vector)),
    ("batch", Mover::Pieces(By::Batch)),
    ("uring", Mover::Whole(By::Uring)),
    ("splice", Mover::Whole(By::Splice)),
    ("tee", Mover::Whole(By::Tee)),
    ("file", Mover::Whole(By::File)),
];

// flags are printed in the order of their table: what the call does first, whether it waits last
pub(super) const SEND_FLAGS: &Words<SendFlags> = &[
    ("more", SendFlags::MORE),
    ("oob", SendFlags::OOB),
    ("nosignal", SendFlags::NOSIGNAL),
    ("zerocopy", SendFlags::ZEROCOPY),
    ("dontwait", SendFlags::DONTWAIT),
];

pub(super) const RECV_FLAGS: &Words<RecvFlags> = &[
    ("peek", RecvFlags::PEEK),
    ("trunc", RecvFlags::TRUNC),
    ("waitall", RecvFlags::WAITALL),
    ("oob", RecvFlags::OOB),
    ("dontwait", RecvFlags::DONTWAIT),
];

pub(super) const READY: &Words<Ready> = &[
    ("in", Ready::IN),
    ("pri", Ready::PRI),
    ("out", Ready::OUT),
    ("err", Ready::ERR),
    ("hup", Ready::HUP),
    ("rdnorm", Ready::RDNORM),
    ("wrnorm", Ready::WRNORM),
    ("rdhup", Ready::RDHUP),
];

pub(super) const SWITCH: &Words<bool> = &[("on", true), ("off", false)];

/// How the value of an option is written.
#[derive(Clone, Copy)]
pub(super) enum Value {
    /// `on` or `off`
    Switch(fn(bool) -> SockOption),
    /// A number of these.
    Number(&'static str, fn(u32) -> SockOption),
}

pub(super) const OPTIONS: &Words<Value> = &[
    ("cork", Value::Switch(SockOption::Cork)),
    ("nodelay", Value::Switch(SockOption::NoDelay)),
    ("nonblock", Value::Switch(SockOption::NonBlock)),
    ("oobinline", Value::Switch(SockOption::OobInline)),
    ("keepalive", Value::Switch(SockOption::KeepAlive)),
    ("tcp-inq", Value::Switch(SockOption::TcpInq)),
    ("zerocopy", Value::Switch(SockOption::ZeroCopy)),
    ("rcvbuf", Value::Number("bytes", SockOption::RcvBuf)),
    ("sndbuf", Value::Number("bytes", SockOption::SndBuf)),
    ("rcvlowat", Value::Number("bytes", SockOption::RcvLowat)),
    ("peek-off", Value::Number("bytes", SockOption::PeekOff)),
    ("rcvtimeo", Value::Number("milliseconds", SockOption::RcvTimeo)),
    ("sndtimeo", Value::Number("milliseconds", SockOption::SndTimeo)),
    ("busy-poll", Value::Number("microseconds", SockOption::BusyPoll)),
    ("linger", Value::Number("seconds", SockOption::Linger)),
];

/// The word for a value; "?" if the table has none, which the round-trip test would find.
pub(super) fn word<T: PartialEq>(words: &Words<T>, value: &T) -> &'static str {
    words.iter().find_map(|(word, known)| (known == value).then_some(*word)).unwrap_or("?")
}

/// The value for a word.
pub(super) fn value<T: Copy>(words: &Words<T>, text: &str) -> Option<T> {
    words.iter().find_map(|(word, value)| (*word == text).then_some(*value))
}

/// All words of a table.
pub(super) fn listed<T>(words: &Words<T>) -> Vec<String> {
    words.iter().map(|(word, _)| (*word).to_owned()).collect()
}

/// All names of an enumeration.
pub(super) fn names<T: IntoEnumIterator + Display>() -> Vec<String> {
    T::iter().map(|name| name.to_string()).collect()
}
