//! Text → what stands behind the lane of a step.

use std::ops::RangeInclusive;

use super::line::{Line, Word, unknown};
use super::parse::ParseError;
use super::words::{
    AFTER, ARROW, BY, ERRNO, MOVERS, Mover, NONE, OPS, OPTIONS, READY, RECV_FLAGS, RESTART,
    SEND_FLAGS, SWITCH, Shape, TORN, UNMAPPED, Value, Words, listed, value,
};
use crate::case::{Expect, Lane, When};
use crate::history::Errno;
use crate::limits;
use crate::op::{Buffer, By, Op, Ready, RecvFlags, SendFlags, SockOption, Waiter};

/// What a call can be given, in bytes.
const CALL: RangeInclusive<u32> = 0..=limits::CALL_BYTES;

pub(super) fn op(line: &mut Line<'_>, lanes: &[Lane]) -> Result<Op, ParseError> {
    Ok(match line.word(OPS, "op")? {
        Shape::Send => {
            let len = line.number("a length in bytes", &CALL)?;
            let mut flags = SendFlags::empty();
            while let Some(flag) = flag(line, SEND_FLAGS, "from", |flag| flags.contains(flag))? {
                flags |= flag;
            }
            let by = mover(line)?;
            let buffer = buffer(line, "from")?;
            Op::Send { len, flags, buffer, by }
        }
        Shape::Recv => {
            let len = line.number("a length in bytes", &CALL)?;
            let mut flags = RecvFlags::empty();
            while let Some(flag) = flag(line, RECV_FLAGS, "into", |flag| flags.contains(flag))? {
                flags |= flag;
            }
            let by = mover(line)?;
            let buffer = buffer(line, "into")?;
            Op::Recv { len, flags, buffer, by }
        }
        Shape::Set => Op::Set(option(line)?),
        Shape::Wait => {
            let word = line.take("the events that end the wait: in, out, in|rdhup, none")?;
            let events = ready(line, word, "event", &[NONE])?;
            let most = limits::WAIT_US / 1_000;
            let timeout_ms = line.number("a timeout in milliseconds", &(0..=most))?;
            let by = if skip(line, BY) { line.name("call")? } else { Waiter::Poll };
            Op::Wait { events, timeout_ms, by }
        }
        Shape::Shutdown => Op::Shutdown(line.name("half")?),
        Shape::Signal => Op::Signal { lane: target(line, lanes)?, restart: skip(line, RESTART) },
        Shape::Pause => Op::Pause(line.number("a number of microseconds", &(0..=limits::WAIT_US))?),
        Shape::Bare(op) => op,
    })
}

/// Takes the next word if it is this one.
fn skip(line: &mut Line<'_>, text: &str) -> bool {
    let is_next = line.peek().is_some_and(|word| word.text == text);
    line.next += usize::from(is_next);
    is_next
}

/// The next flag; `None` where a call, a buffer, a delay, an expected result or the end of the line follows.
fn flag<T: Copy>(
    line: &mut Line<'_>,
    words: &Words<T>,
    preposition: &str,
    is_set: impl Fn(T) -> bool,
) -> Result<Option<T>, ParseError> {
    let Some(word) = line.peek() else {
        return Ok(None);
    };
    if [BY, preposition, AFTER, ARROW].contains(&word.text) {
        return Ok(None);
    }
    let Some(flag) = value(words, word.text) else {
        let mut allowed = listed(words);
        allowed.extend([BY, preposition, ARROW].map(str::to_owned));
        return Err(line.error(word.column, unknown("flag", word.text, &allowed)));
    };
    if is_set(flag) {
        let message = format!("flag {:?} stands twice: remove one", word.text);
        return Err(line.error(word.column, message));
    }
    line.next += 1;
    Ok(Some(flag))
}

fn mover(line: &mut Line<'_>) -> Result<By, ParseError> {
    if !skip(line, BY) {
        return Ok(By::Call);
    }
    Ok(match line.word(MOVERS, "call")? {
        Mover::Whole(by) => by,
        Mover::Pieces(make) => make(line.number("a number of pieces", &(1..=limits::PIECES))?),
    })
}

fn buffer(line: &mut Line<'_>, preposition: &str) -> Result<Buffer, ParseError> {
    if !skip(line, preposition) {
        return Ok(Buffer::Mapped);
    }
    let word = line.take("a buffer: unmapped or torn")?;
    match word.text {
        UNMAPPED => Ok(Buffer::Unmapped),
        TORN => Ok(Buffer::Torn(line.number("how many bytes are mapped", &CALL)?)),
        text => {
            let allowed = [UNMAPPED.to_owned(), TORN.to_owned()];
            Err(line.error(word.column, unknown("buffer", text, &allowed)))
        }
    }
}

pub(super) fn option(line: &mut Line<'_>) -> Result<SockOption, ParseError> {
    Ok(match line.word(OPTIONS, "option")? {
        Value::Switch(make) => make(line.word(SWITCH, "value")?),
        Value::Number(unit, make) => {
            make(line.number(&format!("a number of {unit}"), &(0..=u32::MAX))?)
        }
    })
}

/// The lane that gets a signal.
fn target(line: &mut Line<'_>, lanes: &[Lane]) -> Result<u8, ParseError> {
    let names: Vec<_> = lanes.iter().map(|lane| lane.name.clone()).collect();
    let word = line.take(&format!("the lane that gets it: {}", names.join(", ")))?;
    let at = names.iter().position(|name| name == word.text);
    let at = at.and_then(|at| u8::try_from(at).ok());
    at.ok_or_else(|| line.error(word.column, unknown("lane", word.text, &names)))
}

/// The delay of a step, which only one that is released together with others has.
pub(super) fn delay(line: &mut Line<'_>, when: When) -> Result<When, ParseError> {
    let Some(word) = line.peek().filter(|_| skip(line, AFTER)) else {
        return Ok(when);
    };
    let When::With { .. } = when else {
        let message = format!(
            "only a step that begins with \"with\" has {AFTER:?}: write a pause before this step"
        );
        return Err(line.error(word.column, message));
    };
    let after_us = line.number("a number of microseconds", &(0..=limits::WAIT_US))?;
    Ok(When::With { after_us })
}

pub(super) fn expect(line: &mut Line<'_>) -> Result<Option<Expect>, ParseError> {
    if !skip(line, ARROW) {
        return Ok(None);
    }
    let what = "an expected result: a number, an error such as eagain, or what poll reports";
    let digit = |c: char| c.is_ascii_digit();
    if line.peek().is_some_and(|word| word.text.starts_with(digit)) {
        let value = line.number(what, &(0..=u32::MAX))?;
        return Ok(Some(Expect::Value(value)));
    }
    let word = line.take(what)?;
    if word.text == ERRNO {
        let number = line.number("the number of the error", &(i32::MIN..=i32::MAX))?;
        return Ok(Some(Expect::Errno(Errno(number))));
    }
    if let Some(errno) = Errno::from_name(word.text) {
        return Ok(Some(Expect::Errno(errno)));
    }
    let others = ["a number", NONE, "eagain", "econnreset", "epipe", "efault"];
    Ok(Some(Expect::Ready(ready(line, word, "result", &others)?)))
}

/// What is ready, joined by `|`; what else could stand there is told where it is no such word.
fn ready(
    line: &Line<'_>,
    word: Word<'_>,
    what: &str,
    others: &[&str],
) -> Result<Ready, ParseError> {
    let mut ready = Ready::empty();
    if word.text == NONE {
        return Ok(ready);
    }
    let mut column = word.column;
    for text in word.text.split('|') {
        let Some(bit) = value(READY, text) else {
            let mut allowed = listed(READY);
            allowed.extend(others.iter().map(|&word| word.to_owned()));
            return Err(line.error(column, unknown(what, text, &allowed)));
        };
        ready |= bit;
        column += text.chars().count() + 1;
    }
    Ok(ready)
}
