//! The words of the language, each in one place for both printing and parsing.

use std::fmt::Display;

use strum::IntoEnumIterator;

use crate::op::{Op, Ready, RecvFlags, SendFlags, SockOption};

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

/// A word and what it stands for.
pub(super) type Words<T> = [(&'static str, T)];

/// A statement that is not a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    Ring,
    Topology,
    Family,
    Set,
    Lane,
    End,
}

pub(super) const STATEMENTS: &Words<Statement> = &[
    ("ring", Statement::Ring),
    ("topology", Statement::Topology),
    ("family", Statement::Family),
    ("set", Statement::Set),
    ("lane", Statement::Lane),
    (END, Statement::End),
];

/// What follows the word of an op.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Length, flags, buffer.
    Send,
    /// Length, flags, buffer.
    Recv,
    /// An option and its value.
    Set,
    /// Which half.
    Shutdown,
    /// Nothing: the word is the op.
    Bare(Op),
}

pub(super) const OPS: &Words<Shape> = &[
    ("send", Shape::Send),
    ("recv", Shape::Recv),
    ("set", Shape::Set),
    ("poll", Shape::Bare(Op::Poll)),
    ("inq", Shape::Bare(Op::Inq)),
    ("outq", Shape::Bare(Op::Outq)),
    ("so-error", Shape::Bare(Op::SoError)),
    ("shutdown", Shape::Shutdown),
    ("close", Shape::Bare(Op::Close)),
    ("abort", Shape::Bare(Op::Abort)),
];

// flags are printed in the order of their table: what the call does first, whether it waits last
pub(super) const SEND_FLAGS: &Words<SendFlags> = &[
    ("more", SendFlags::MORE),
    ("oob", SendFlags::OOB),
    ("nosignal", SendFlags::NOSIGNAL),
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
    /// A number of bytes.
    Bytes(fn(u32) -> SockOption),
}

pub(super) const OPTIONS: &Words<Value> = &[
    ("cork", Value::Switch(SockOption::Cork)),
    ("nodelay", Value::Switch(SockOption::NoDelay)),
    ("nonblock", Value::Switch(SockOption::NonBlock)),
    ("rcvbuf", Value::Bytes(SockOption::RcvBuf)),
    ("sndbuf", Value::Bytes(SockOption::SndBuf)),
    ("rcvlowat", Value::Bytes(SockOption::RcvLowat)),
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
