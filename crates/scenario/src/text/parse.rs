//! Text → scenario.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;
use std::str::FromStr;

use strum::IntoEnumIterator;

use super::line::{Line, Word, unknown};
use super::words::{
    ARROW, END, ERRNO, NONE, OPS, OPTIONS, READY, RECV_FLAGS, SEND_FLAGS, STATEMENTS, SWITCH,
    Shape, Statement, TORN, UNMAPPED, VERSION, Value, Words, listed, value,
};
use crate::case::{Expect, Family, Lane, Scenario, Setup, Step, Topology};
use crate::history::Errno;
use crate::limits::{self, Excess};
use crate::op::{Buffer, Op, Ready, RecvFlags, SendFlags, SockOption};

/// Where a text is no scenario, and what would be allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Display for ParseError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ParseError { line, column, message } = self;
        write!(f, "line {line}, column {column}: {message}")
    }
}

impl std::error::Error for ParseError {}

/// The scenario that a `.ring` text describes.
///
/// # Errors
/// The first place at which the text is no scenario within [`crate::limits`].
pub fn parse(text: &str) -> Result<Scenario, ParseError> {
    let mut draft = Draft::default();
    let mut last = Line::new(1, "");
    for (at, text) in text.lines().enumerate() {
        let mut line = Line::new(at + 1, text);
        if line.words.is_empty() {
            continue;
        }
        if draft.ended {
            let first = line.words[0];
            return Err(line.error(
                first.column,
                format!("nothing may follow {END:?}: remove this, or move {END:?} below it"),
            ));
        }
        draft.statement(&mut line)?;
        line.finish()?;
        last = line;
    }
    // without a line break, "end" may be all that is left of a step of a lane of that name
    let ambiguous = !text.ends_with('\n') && draft.has_lane(END);
    if !draft.ended || ambiguous {
        let message = if draft.versioned {
            format!(
                "the text stops here without the line {END:?}: it was cut short, or that line is missing"
            )
        } else {
            format!("no scenario here: it starts with the line \"ring {VERSION}\"")
        };
        return Err(last.error(last.end, message));
    }
    Ok(draft.scenario)
}

/// What a call can be given, in bytes.
const CALL: RangeInclusive<u32> = 0..=limits::CALL_BYTES;

/// The scenario as far as it was read.
#[derive(Default)]
struct Draft {
    scenario: Scenario,
    versioned: bool,
    topology: Option<Topology>,
    family: Option<Family>,
    ended: bool,
}

impl Draft {
    fn statement(&mut self, line: &mut Line<'_>) -> Result<(), ParseError> {
        let first = line.take("a statement")?;
        if !self.versioned {
            return self.version(line, first);
        }
        if let Some(name) = first.text.strip_suffix(':') {
            return self.step(line, first, name);
        }
        let Some(statement) = value(STATEMENTS, first.text) else {
            return Err(line.error(first.column, self.unknown_statement(first.text)));
        };
        if statement == Statement::End {
            self.ended = true;
            return self.described(line, first);
        }
        if !self.scenario.steps.is_empty() {
            let message = format!("{:?} must stand before the first step", first.text);
            return Err(line.error(first.column, message));
        }
        match statement {
            Statement::Topology => once(line, first, &mut self.topology, "topology")
                .map(|topology| self.scenario.topology = topology),
            Statement::Family => once(line, first, &mut self.family, "family")
                .map(|family| self.scenario.family = family),
            Statement::Set => {
                let endpoint = line.name("endpoint")?;
                let option = option(line)?;
                self.scenario.setup.push(Setup { endpoint, option });
                Ok(())
            }
            Statement::Lane => self.lane(line),
            Statement::Ring | Statement::End => Err(line
                .error(first.column, "the version is already stated: remove this line".to_owned())),
        }
    }

    fn version(&mut self, line: &mut Line<'_>, first: Word<'_>) -> Result<(), ParseError> {
        if value(STATEMENTS, first.text) != Some(Statement::Ring) {
            let message = format!(
                "a scenario starts with the line \"ring {VERSION}\", found {:?}",
                first.text
            );
            return Err(line.error(first.column, message));
        }
        let version = line.take("a version")?;
        if version.text != VERSION {
            let message =
                format!("unknown version {:?}: this build reads version {VERSION}", version.text);
            return Err(line.error(version.column, message));
        }
        self.versioned = true;
        Ok(())
    }

    fn unknown_statement(&self, text: &str) -> String {
        if self.has_lane(text) {
            return format!("lane {text:?} needs a colon: \"{text}: …\"");
        }
        let mut allowed = listed(STATEMENTS);
        allowed.remove(0);
        allowed.extend(self.lanes());
        unknown("statement", text, &allowed)
    }

    fn has_lane(&self, name: &str) -> bool {
        self.scenario.lanes.iter().any(|lane| lane.name == name)
    }

    /// The lanes as they begin a step.
    fn lanes(&self) -> Vec<String> {
        let lanes = self.scenario.lanes.iter();
        lanes.map(|lane| format!("{}:", lane.name)).collect()
    }

    /// Checks that the pair is described, which it must be before the first step and at the end.
    fn described(&self, line: &Line<'_>, first: Word<'_>) -> Result<(), ParseError> {
        let missing = match (self.topology, self.family) {
            (None, _) => format!("topology {}", Topology::default()),
            (_, None) => format!("family {}", Family::default()),
            _ => return Ok(()),
        };
        Err(line
            .error(first.column, format!("state \"{missing}\" or another one before this line")))
    }

    fn lane(&mut self, line: &mut Line<'_>) -> Result<(), ParseError> {
        let name = line.take("the name of the lane")?;
        let endpoint = line.name("endpoint")?;
        self.scenario.lanes.push(Lane { name: name.text.to_owned(), endpoint });
        self.within_limits(line, name)
    }

    fn step(&mut self, line: &mut Line<'_>, first: Word<'_>, name: &str) -> Result<(), ParseError> {
        self.described(line, first)?;
        let lanes = &self.scenario.lanes;
        let lane = lanes.iter().position(|lane| lane.name == name);
        let Some(lane) = lane.and_then(|at| u8::try_from(at).ok()) else {
            let message = if lanes.is_empty() {
                format!("no lane {name:?}: declare it above with \"lane {name} client\"")
            } else {
                unknown("lane", first.text, &self.lanes())
            };
            return Err(line.error(first.column, message));
        };
        let word = line.peek().unwrap_or(first);
        let op = op(line)?;
        // what a limit is most often about: the length
        let subject = match op {
            Op::Send { .. } | Op::Recv { .. } => line.words[2],
            _ => word,
        };
        let expect = expect(line)?;
        self.scenario.steps.push(Step { lane, op, expect });
        self.within_limits(line, subject)
    }

    /// Checks the scenario so far, so that the line that goes beyond a limit is the one that is named.
    fn within_limits(&self, line: &Line<'_>, subject: Word<'_>) -> Result<(), ParseError> {
        limits::check(&self.scenario).map_err(|excess| {
            let message = match excess {
                // the line says which step it is
                Excess::Torn(_) => {
                    format!("{TORN} at or beyond the end of the call: map fewer bytes")
                }
                excess => excess.to_string(),
            };
            line.error(subject.column, message)
        })
    }
}

/// A name that is stated once in a scenario.
fn once<T: FromStr + IntoEnumIterator + Display + Copy>(
    line: &mut Line<'_>,
    first: Word<'_>,
    slot: &mut Option<T>,
    what: &str,
) -> Result<T, ParseError> {
    if let Some(stated) = slot {
        let message = format!("{what} is already stated as {stated}: remove one of the two");
        return Err(line.error(first.column, message));
    }
    let name = line.name(what)?;
    *slot = Some(name);
    Ok(name)
}

fn op(line: &mut Line<'_>) -> Result<Op, ParseError> {
    Ok(match line.word(OPS, "op")? {
        Shape::Send => {
            let len = line.number("a length in bytes", &CALL)?;
            let mut flags = SendFlags::empty();
            while let Some(flag) = flag(line, SEND_FLAGS, "from", |flag| flags.contains(flag))? {
                flags |= flag;
            }
            let buffer = buffer(line, "from")?;
            Op::Send { len, flags, buffer }
        }
        Shape::Recv => {
            let len = line.number("a length in bytes", &CALL)?;
            let mut flags = RecvFlags::empty();
            while let Some(flag) = flag(line, RECV_FLAGS, "into", |flag| flags.contains(flag))? {
                flags |= flag;
            }
            let buffer = buffer(line, "into")?;
            Op::Recv { len, flags, buffer }
        }
        Shape::Set => Op::Set(option(line)?),
        Shape::Shutdown => Op::Shutdown(line.name("half")?),
        Shape::Bare(op) => op,
    })
}

/// The next flag; `None` where a buffer, an expected result or the end of the line follows.
fn flag<T: Copy>(
    line: &mut Line<'_>,
    words: &Words<T>,
    preposition: &str,
    is_set: impl Fn(T) -> bool,
) -> Result<Option<T>, ParseError> {
    let Some(word) = line.peek() else {
        return Ok(None);
    };
    if word.text == preposition || word.text == ARROW {
        return Ok(None);
    }
    let Some(flag) = value(words, word.text) else {
        let mut allowed = listed(words);
        allowed.push(preposition.to_owned());
        allowed.push(ARROW.to_owned());
        return Err(line.error(word.column, unknown("flag", word.text, &allowed)));
    };
    if is_set(flag) {
        let message = format!("flag {:?} stands twice: remove one", word.text);
        return Err(line.error(word.column, message));
    }
    line.next += 1;
    Ok(Some(flag))
}

fn buffer(line: &mut Line<'_>, preposition: &str) -> Result<Buffer, ParseError> {
    if line.peek().is_none_or(|word| word.text != preposition) {
        return Ok(Buffer::Mapped);
    }
    line.next += 1;
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

fn option(line: &mut Line<'_>) -> Result<SockOption, ParseError> {
    Ok(match line.word(OPTIONS, "option")? {
        Value::Switch(make) => make(line.word(SWITCH, "value")?),
        Value::Bytes(make) => make(line.number("a number of bytes", &(0..=u32::MAX))?),
    })
}

fn expect(line: &mut Line<'_>) -> Result<Option<Expect>, ParseError> {
    if line.peek().is_none_or(|word| word.text != ARROW) {
        return Ok(None);
    }
    line.next += 1;
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
    let mut ready = Ready::empty();
    if word.text != NONE {
        let mut column = word.column;
        for text in word.text.split('|') {
            let Some(bit) = value(READY, text) else {
                let mut allowed = listed(READY);
                allowed.extend(
                    ["a number", NONE, "eagain", "econnreset", "epipe", "efault"]
                        .map(str::to_owned),
                );
                return Err(line.error(column, unknown("result", text, &allowed)));
            };
            ready |= bit;
            column += text.chars().count() + 1;
        }
    }
    Ok(Some(Expect::Ready(ready)))
}
