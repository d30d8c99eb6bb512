//! Scenario → text.

use std::fmt::{self, Display, Formatter};

use super::words::{
    AFTER, ARROW, BY, END, ERRNO, FLAWS, Flaw, MOVERS, Mover, NONE, OPS, OPTIONS, READY,
    RECV_FLAGS, RESTART, SEND_FLAGS, STATEMENTS, SWITCH, Shape, Statement, TORN, UNMAPPED, VERSION,
    Value, WHENS, Words, word,
};
use crate::case::{Attempt, Endpoint, Expect, Lane, Scenario, Step, When, Wire};
use crate::op::{Buffer, By, Op, Ready, SockOption, Waiter};

/// The `.ring` text of a scenario within [`crate::limits`]; it ends with a newline.
#[must_use]
pub fn print(scenario: &Scenario) -> String {
    let mut lines = network(scenario);
    let set = statement(Statement::Set);
    for setup in &scenario.setup {
        let endpoint = endpoint(setup.endpoint, setup.pair);
        lines.push(format!("{set} {endpoint} {}", setup.option));
    }
    for lane in &scenario.lanes {
        let word = statement(Statement::Lane);
        lines.push(format!("{word} {} {}", lane.name, endpoint(lane.endpoint, lane.pair)));
    }
    lines.push(String::new());
    lines.extend(scenario.steps.iter().map(|at| step(&scenario.lanes, at)));
    if !scenario.steps.is_empty() {
        lines.push(String::new());
    }
    lines.push(format!("{END}\n"));
    lines.join("\n")
}

/// What holds for all pairs. What most scenarios have is left out.
fn network(scenario: &Scenario) -> Vec<String> {
    let mut lines = vec![
        format!("{} {VERSION}", statement(Statement::Ring)),
        format!("{} {}", statement(Statement::Topology), scenario.topology),
    ];
    if scenario.wire != Wire::default() {
        let Wire { delay_us, loss_permille } = scenario.wire;
        let parts = [(Flaw::Delay, delay_us), (Flaw::Loss, loss_permille)].into_iter();
        let parts = parts.filter(|(_, n)| *n > 0);
        let parts = parts.map(|(flaw, n)| format!(" {} {n}", word(FLAWS, &flaw)));
        lines.push(format!("{}{}", statement(Statement::Wire), parts.collect::<String>()));
    }
    lines.push(format!("{} {}", statement(Statement::Family), scenario.family));
    if scenario.pairs != 1 {
        lines.push(format!("{} {}", statement(Statement::Pairs), scenario.pairs));
    }
    if scenario.attempt != Attempt::default() {
        lines.push(format!("{} {}", statement(Statement::Attempt), scenario.attempt));
    }
    lines
}

/// `client` of pair 0, `client 1` of pair 1.
fn endpoint(endpoint: Endpoint, pair: u8) -> String {
    if pair == 0 { endpoint.to_string() } else { format!("{endpoint} {pair}") }
}

fn step(lanes: &[Lane], step: &Step) -> String {
    let name = |at: u8| lanes.get(usize::from(at)).map_or("?", |lane| lane.name.as_str());
    let (when, after) = match step.when {
        When::Then => (String::new(), 0),
        When::Start => (format!("{} ", word(WHENS, &When::Start)), 0),
        When::With { after_us } => {
            (format!("{} ", word(WHENS, &When::With { after_us: 0 })), after_us)
        }
    };
    let after = if after > 0 { format!(" {AFTER} {after}") } else { String::new() };
    let expect = step.expect.map_or(String::new(), |e| format!(" {ARROW} {e}"));
    let op = op(&step.op, |lane| name(lane).to_owned());
    format!("{when}{}: {op}{after}{expect}", name(step.lane))
}

fn statement(statement: Statement) -> &'static str {
    word(STATEMENTS, &statement)
}

/// As in `.ring` text, `recv 4096 peek into torn 100`, but for the lane of a signal: an op does not know its name.
impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&op(self, |lane| format!("lane {lane}")))
    }
}

/// An op in a scenario whose lanes have these names.
fn op(op: &Op, lane_name: impl Fn(u8) -> String) -> String {
    let (shape, rest) = match *op {
        Op::Send { len, flags, buffer, by } => {
            let flags = joined(SEND_FLAGS, |flag| flags.contains(flag), " ");
            (Shape::Send, transfer(len, &flags, by, "from", buffer))
        }
        Op::Recv { len, flags, buffer, by } => {
            let flags = joined(RECV_FLAGS, |flag| flags.contains(flag), " ");
            (Shape::Recv, transfer(len, &flags, by, "into", buffer))
        }
        Op::Set(option) => (Shape::Set, format!(" {option}")),
        Op::Wait { events, timeout_ms, by } => {
            let by = if by == Waiter::Poll { String::new() } else { format!(" {BY} {by}") };
            (Shape::Wait, format!(" {events} {timeout_ms}{by}"))
        }
        Op::Shutdown(how) => (Shape::Shutdown, format!(" {how}")),
        Op::Signal { lane, restart } => {
            let restart = if restart { format!(" {RESTART}") } else { String::new() };
            (Shape::Signal, format!(" {}{restart}", lane_name(lane)))
        }
        Op::Pause(us) => (Shape::Pause, format!(" {us}")),
        bare => (Shape::Bare(bare), String::new()),
    };
    format!("{}{rest}", word(OPS, &shape))
}

fn transfer(len: u32, flags: &str, by: By, preposition: &str, buffer: Buffer) -> String {
    let space = if flags.is_empty() { "" } else { " " };
    let by = if by == By::Call { String::new() } else { format!(" {BY} {by}") };
    let buffer = match buffer {
        Buffer::Mapped => String::new(),
        Buffer::Unmapped => format!(" {preposition} {UNMAPPED}"),
        Buffer::Torn(mapped) => format!(" {preposition} {TORN} {mapped}"),
    };
    format!(" {len}{space}{flags}{by}{buffer}")
}

/// As in `.ring` text: `vector 3`.
impl Display for By {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let pieces = match *self {
            By::Vector(n) | By::Batch(n) => Some(n),
            By::Call | By::Uring | By::Splice | By::Tee | By::File => None,
        };
        let is_this = |mover: &Mover| match mover {
            Mover::Whole(by) => by == self,
            Mover::Pieces(make) => pieces.is_some_and(|n| make(n) == *self),
        };
        let name = MOVERS.iter().find(|(_, mover)| is_this(mover));
        f.write_str(name.map_or("?", |(name, _)| name))?;
        pieces.map_or(Ok(()), |n| write!(f, " {n}"))
    }
}

/// As in `.ring` text: `rcvbuf 4096`.
impl Display for SockOption {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = match *self {
            SockOption::Cork(on)
            | SockOption::NoDelay(on)
            | SockOption::NonBlock(on)
            | SockOption::OobInline(on)
            | SockOption::KeepAlive(on)
            | SockOption::TcpInq(on)
            | SockOption::ZeroCopy(on) => word(SWITCH, &on).to_owned(),
            SockOption::RcvBuf(n)
            | SockOption::SndBuf(n)
            | SockOption::RcvLowat(n)
            | SockOption::PeekOff(n)
            | SockOption::RcvTimeo(n)
            | SockOption::SndTimeo(n)
            | SockOption::BusyPoll(n)
            | SockOption::Linger(n) => n.to_string(),
        };
        let is_this = |make: &Value| match make {
            Value::Switch(make) => SWITCH.iter().any(|(_, on)| make(*on) == *self),
            Value::Number(_, make) => value.parse().is_ok_and(|n| make(n) == *self),
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
