//! Scenario → text.

use std::fmt::{self, Display, Formatter};

use super::words::{
    ARROW, END, ERRNO, NONE, OPS, OPTIONS, READY, RECV_FLAGS, SEND_FLAGS, STATEMENTS, SWITCH,
    Shape, Statement, TORN, UNMAPPED, VERSION, Value, Words, word,
};
use crate::case::{Expect, Scenario};
use crate::op::{Buffer, Op, Ready, SockOption};

/// The `.ring` text of a scenario within [`crate::limits`]; it ends with a newline.
#[must_use]
pub fn print(scenario: &Scenario) -> String {
    let mut lines = vec![
        format!("{} {VERSION}", statement(Statement::Ring)),
        format!("{} {}", statement(Statement::Topology), scenario.topology),
        format!("{} {}", statement(Statement::Family), scenario.family),
    ];
    let set = statement(Statement::Set);
    for setup in &scenario.setup {
        lines.push(format!("{set} {} {}", setup.endpoint, setup.option));
    }
    for lane in &scenario.lanes {
        let word = statement(Statement::Lane);
        lines.push(format!("{word} {} {}", lane.name, lane.endpoint));
    }
    lines.push(String::new());
    for step in &scenario.steps {
        let lane = scenario.lanes.get(usize::from(step.lane));
        let lane = lane.map_or("?", |lane| lane.name.as_str());
        let expect = step.expect.map_or(String::new(), |e| format!(" {ARROW} {e}"));
        lines.push(format!("{lane}: {}{expect}", step.op));
    }
    if !scenario.steps.is_empty() {
        lines.push(String::new());
    }
    lines.push(format!("{END}\n"));
    lines.join("\n")
}

fn statement(statement: Statement) -> &'static str {
    word(STATEMENTS, &statement)
}

/// As in `.ring` text: `recv 4096 peek into torn 100`.
impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (shape, rest) = match *self {
            Op::Send { len, flags, buffer } => {
                let flags = joined(SEND_FLAGS, |flag| flags.contains(flag), " ");
                (Shape::Send, transfer(len, &flags, "from", buffer))
            }
            Op::Recv { len, flags, buffer } => {
                let flags = joined(RECV_FLAGS, |flag| flags.contains(flag), " ");
                (Shape::Recv, transfer(len, &flags, "into", buffer))
            }
            Op::Set(option) => (Shape::Set, format!(" {option}")),
            Op::Shutdown(how) => (Shape::Shutdown, format!(" {how}")),
            Op::Poll | Op::Inq | Op::Outq | Op::SoError | Op::Close | Op::Abort => {
                (Shape::Bare(*self), String::new())
            }
        };
        write!(f, "{}{rest}", word(OPS, &shape))
    }
}

fn transfer(len: u32, flags: &str, preposition: &str, buffer: Buffer) -> String {
    let space = if flags.is_empty() { "" } else { " " };
    let buffer = match buffer {
        Buffer::Mapped => String::new(),
        Buffer::Unmapped => format!(" {preposition} {UNMAPPED}"),
        Buffer::Torn(mapped) => format!(" {preposition} {TORN} {mapped}"),
    };
    format!(" {len}{space}{flags}{buffer}")
}

/// As in `.ring` text: `rcvbuf 4096`.
impl Display for SockOption {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = match *self {
            SockOption::Cork(on) | SockOption::NoDelay(on) | SockOption::NonBlock(on) => {
                word(SWITCH, &on).to_owned()
            }
            SockOption::RcvBuf(n) | SockOption::SndBuf(n) | SockOption::RcvLowat(n) => {
                n.to_string()
            }
        };
        let is_this = |make: &Value| match make {
            Value::Switch(make) => SWITCH.iter().any(|(_, on)| make(*on) == *self),
            Value::Bytes(make) => value.parse().is_ok_and(|n| make(n) == *self),
        };
        let name = OPTIONS.iter().find(|(_, make)| is_this(make));
        write!(f, "{} {value}", name.map_or("?", |(name, _)| name))
    }
}

/// As in `.ring` text: `eagain`.
impl Display for Expect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Value(value) => write!(f, "{value}"),
            Expect::Ready(ready) => write!(f, "{ready}"),
            Expect::Errno(errno) => match errno.name() {
                Some(name) => f.write_str(&name.to_ascii_lowercase()),
                None => write!(f, "{ERRNO} {}", errno.0),
            },
        }
    }
}

/// As in `.ring` text: `in|rdnorm`, `none` if nothing is ready.
impl Display for Ready {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str(NONE);
        }
        f.write_str(&joined(READY, |ready| self.contains(ready), "|"))
    }
}

/// The words of all values of the table that are in the set.
fn joined<T: Copy>(words: &Words<T>, is_in: impl Fn(T) -> bool, separator: &str) -> String {
    let words: Vec<_> =
        words.iter().filter_map(|(word, value)| is_in(*value).then_some(*word)).collect();
    words.join(separator)
}
