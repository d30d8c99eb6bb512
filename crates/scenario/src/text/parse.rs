//! Text → scenario.

use std::fmt::{self, Display, Formatter};

use super::line::{Line, Word, unknown};
use super::step;
use super::words::{
    BY, END, FLAWS, Flaw, STATEMENTS, Statement, TORN, VERSION, WHENS, listed, value,
};
use crate::case::{Attempt, Endpoint, Family, Lane, Scenario, Setup, Step, Topology, When, Wire};
use crate::limits::{self, Excess};
use crate::op::Op;

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
    // without a line break, "end" may be all that is left of a step of a lane whose name begins so
    let begins_so = |lane: &Lane| lane.name.starts_with(END);
    let ambiguous = !text.ends_with('\n') && draft.scenario.lanes.iter().any(begins_so);
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

/// The scenario as far as it was read.
#[derive(Default)]
struct Draft {
    scenario: Scenario,
    versioned: bool,
    topology: Option<Topology>,
    family: Option<Family>,
    pairs: Option<u8>,
    attempt: Option<Attempt>,
    ended: bool,
}

impl Draft {
    fn statement(&mut self, line: &mut Line<'_>) -> Result<(), ParseError> {
        let first = line.take("a statement")?;
        if !self.versioned {
            return self.version(line, first);
        }
        if first.text.ends_with(':') {
            return self.step(line, When::Then, first, first);
        }
        if let Some(when) = value(WHENS, first.text) {
            let lane = self.lane_of_step(line, first)?;
            return self.step(line, when, first, lane);
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
            Statement::Topology => {
                unstated(line, first, self.topology)?;
                self.scenario.topology = *self.topology.insert(line.name("topology")?);
                Ok(())
            }
            Statement::Wire => self.wire(line, first),
            Statement::Family => {
                unstated(line, first, self.family)?;
                self.scenario.family = *self.family.insert(line.name("family")?);
                Ok(())
            }
            Statement::Pairs => {
                unstated(line, first, self.pairs)?;
                let pairs = line.number("a number of pairs", &(1..=limits::PAIRS))?;
                self.scenario.pairs = *self.pairs.insert(pairs);
                Ok(())
            }
            Statement::Attempt => {
                unstated(line, first, self.attempt)?;
                self.scenario.attempt = *self.attempt.insert(line.name("attempt")?);
                Ok(())
            }
            Statement::Set => {
                let (endpoint, pair, word) = endpoint(line)?;
                let option = step::option(line)?;
                self.scenario.setup.push(Setup { pair, endpoint, option });
                self.within_limits(line, word)
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
        allowed.extend(listed(WHENS));
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

    fn wire(&mut self, line: &mut Line<'_>, first: Word<'_>) -> Result<(), ParseError> {
        if self.scenario.wire != Wire::default() {
            let message = "the wire is already described: remove one of the two".to_owned();
            return Err(line.error(first.column, message));
        }
        if self.topology.is_none() {
            let message = format!("state \"topology {}\" before this line", Topology::Veth);
            return Err(line.error(first.column, message));
        }
        let mut wire = Wire::default();
        while wire == Wire::default() || line.peek().is_some() {
            let at = line.next;
            let flaw = line.word(FLAWS, "flaw")?;
            let word = line.words[at];
            if line.words[..at].iter().any(|before| before.text == word.text) {
                let message = format!("{:?} stands twice: remove one", word.text);
                return Err(line.error(word.column, message));
            }
            match flaw {
                Flaw::Delay => {
                    let most = limits::WAIT_US;
                    wire.delay_us = line.number("a number of microseconds", &(1..=most))?;
                }
                Flaw::Loss => {
                    wire.loss_permille = line.number("how many of 1000 are lost", &(1..=1_000))?;
                }
            }
        }
        self.scenario.wire = wire;
        self.within_limits(line, first)
    }

    fn lane(&mut self, line: &mut Line<'_>) -> Result<(), ParseError> {
        let name = line.take("the name of the lane")?;
        let (endpoint, pair, word) = endpoint(line)?;
        let subject = if pair < self.scenario.pairs { name } else { word };
        self.scenario.lanes.push(Lane { name: name.text.to_owned(), pair, endpoint });
        self.within_limits(line, subject)
    }

    /// The lane after a word that says when its step begins.
    fn lane_of_step<'a>(
        &self,
        line: &mut Line<'a>,
        first: Word<'a>,
    ) -> Result<Word<'a>, ParseError> {
        let lane = line.take("the lane and a colon")?;
        if lane.text.ends_with(':') {
            return Ok(lane);
        }
        // that word may be a lane's name, too
        let bare = [lane, first].into_iter().find(|word| self.has_lane(word.text));
        let message = bare
            .map_or_else(|| self.unknown_lane(lane.text), |bare| self.unknown_statement(bare.text));
        Err(line.error(bare.unwrap_or(lane).column, message))
    }

    fn unknown_lane(&self, text: &str) -> String {
        if self.scenario.lanes.is_empty() {
            let name = text.trim_end_matches(':');
            return format!("no lane {name:?}: declare it above with \"lane {name} client\"");
        }
        unknown("lane", text, &self.lanes())
    }

    fn step(
        &mut self,
        line: &mut Line<'_>,
        when: When,
        first: Word<'_>,
        lane: Word<'_>,
    ) -> Result<(), ParseError> {
        self.described(line, first)?;
        let lanes = &self.scenario.lanes;
        let is_it = |known: &Lane| lane.text.strip_suffix(':') == Some(&known.name);
        let at = lanes.iter().position(is_it).and_then(|at| u8::try_from(at).ok());
        let Some(at) = at else {
            return Err(line.error(lane.column, self.unknown_lane(lane.text)));
        };
        let verb = line.next;
        let op = step::op(line, lanes)?;
        let when = step::delay(line, when)?;
        let expect = step::expect(line)?;
        self.scenario.steps.push(Step { lane: at, when, op, expect });
        // what a limit is most often about: the length
        let has_length = matches!(op, Op::Send { .. } | Op::Recv { .. });
        let subject = line.words[verb + usize::from(has_length)];
        self.within_limits(line, subject)
    }

    /// Checks the scenario so far, so that the line that goes beyond a limit is the one that is named.
    fn within_limits(&self, line: &Line<'_>, subject: Word<'_>) -> Result<(), ParseError> {
        let Err(excess) = limits::check(&self.scenario) else {
            return Ok(());
        };
        let at = |text| line.words.iter().rfind(|word| word.text == text).copied();
        // the line says which step it is
        let (word, message) = match excess {
            Excess::Torn(_) => {
                (subject, format!("{TORN} at or beyond the end of the call: map fewer bytes"))
            }
            Excess::By(_, why) => {
                (at(BY).unwrap_or(subject), format!("{why}: name another call, or none"))
            }
            Excess::Connect(_) => {
                (subject, "only a lane of the client connects: use one".to_owned())
            }
            Excess::Holders(_) => {
                let most = limits::HOLDERS;
                (subject, format!("a socket has at most {most} holders: remove this step"))
            }
            Excess::Wait(_) => {
                let most = limits::WAIT_US;
                (subject, format!("a step waits at most {most} us: shorten this"))
            }
            Excess::Pair(pair, _) => {
                let pairs = usize::from(pair) + 1;
                (subject, format!("pair {pair} is not there: state \"pairs {pairs}\" above"))
            }
            Excess::With => (line.words[0], excess.to_string()),
            excess => (subject, excess.to_string()),
        };
        Err(line.error(word.column, message))
    }
}

/// An endpoint, its pair, and the word that names the latter.
fn endpoint<'a>(line: &mut Line<'a>) -> Result<(Endpoint, u8, Word<'a>), ParseError> {
    let at = line.next;
    let endpoint = line.name("endpoint")?;
    let digit = |c: char| c.is_ascii_digit();
    match line.peek().filter(|word| word.text.starts_with(digit)) {
        Some(number) => {
            let pair = line.number("the number of the pair", &(0..=limits::PAIRS - 1))?;
            Ok((endpoint, pair, number))
        }
        None => Ok((endpoint, 0, line.words[at])),
    }
}

/// Refuses what is stated a second time.
fn unstated<T: Display>(
    line: &Line<'_>,
    first: Word<'_>,
    stated: Option<T>,
) -> Result<(), ParseError> {
    let Some(stated) = stated else {
        return Ok(());
    };
    let message = format!("{} is already stated as {stated}: remove one of the two", first.text);
    Err(line.error(first.column, message))
}
