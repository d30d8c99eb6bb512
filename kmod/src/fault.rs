//! `faults.def`: one `FAULT(name, "what it breaks", "invariants that should see it")` after the other.
//!
//! The C includes the same file, so only what both can read is in it: comments, and string literals that may be
//! put together from several.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use scenario::Invariant;

/// A defect that can be planted in the module, by loading it with `fault=NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is called.
    pub name: String,
    /// What it breaks, for people.
    pub breaks: String,
    /// The invariants of which at least one should be seen broken.
    pub seen_by: Vec<Invariant>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen_by: Vec<String> = self.seen_by.iter().map(ToString::to_string).collect();
        write!(f, "{}: {} ({})", self.name, self.breaks, seen_by.join(", "))
    }
}

/// A `faults.def` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("faults.def, line {line}: {message}")]
pub struct BadFaults {
    /// Where.
    pub line: usize,
    /// What was wrong, and what to write.
    pub message: String,
}

/// Reads a `faults.def`.
pub(crate) fn parse(text: &str) -> Result<Vec<Fault>, BadFaults> {
    let mut reader = Reader { rest: text.chars().peekable(), line: 1 };
    let mut faults: Vec<Fault> = Vec::new();
    while let Some(word) = reader.word_or_end()? {
        if word != "FAULT" {
            return Err(
                reader.bad(format!("{word:?} is no entry: write FAULT(name, \"…\", \"…\")"))
            );
        }
        reader.expect('(')?;
        let name = reader.word_or_end()?.unwrap_or_default();
        if faults.iter().any(|fault| fault.name == name) {
            return Err(reader.bad(format!("{name} is there twice: give each fault its own name")));
        }
        reader.expect(',')?;
        let breaks = reader.string()?;
        reader.expect(',')?;
        let ids = reader.string()?;
        reader.expect(')')?;
        let seen_by = ids.split_whitespace().map(|id| {
            id.parse().map_err(|_| reader.bad(format!("{id:?} is no invariant of the contract")))
        });
        let seen_by = seen_by.collect::<Result<Vec<Invariant>, _>>()?;
        if breaks.is_empty() || seen_by.is_empty() {
            let what = "lacks what it breaks, or the invariants that should see it";
            return Err(reader.bad(format!("{name} {what}")));
        }
        faults.push(Fault { name, breaks, seen_by });
    }
    Ok(faults)
}

/// The characters that are left, with the line that they are on.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn bad(&self, message: String) -> BadFaults {
        BadFaults { line: self.line, message }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    /// The next character that is neither space nor in a comment, still to be read.
    fn peek(&mut self) -> Result<Option<char>, BadFaults> {
        loop {
            match self.rest.peek() {
                Some(c) if c.is_whitespace() => {
                    self.next();
                }
                Some('/') => self.comment()?,
                other => return Ok(other.copied()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), BadFaults> {
        let begun = self.line;
        self.next();
        match self.next() {
            Some('/') => {
                while self.rest.peek().is_some_and(|c| *c != '\n') {
                    self.next();
                }
                Ok(())
            }
            Some('*') => {
                let mut before = ' ';
                while let Some(c) = self.next() {
                    if (before, c) == ('*', '/') {
                        return Ok(());
                    }
                    before = c;
                }
                Err(BadFaults { line: begun, message: "the comment has no end: add */".into() })
            }
            _ => Err(self.bad("a lone '/': begin a comment with /*".into())),
        }
    }

    /// A name as C has them, or the end of the file.
    fn word_or_end(&mut self) -> Result<Option<String>, BadFaults> {
        let Some(first) = self.peek()? else { return Ok(None) };
        let mut word = String::new();
        while let Some(c) = self.rest.peek().filter(|c| c.is_ascii_alphanumeric() || **c == '_') {
            word.push(*c);
            self.next();
        }
        match word.is_empty() {
            true => Err(self.bad(format!("a name is due, and not {first:?}"))),
            false => Ok(Some(word)),
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), BadFaults> {
        match self.peek()? {
            Some(c) if c == wanted => {
                self.next();
                Ok(())
            }
            Some(c) => Err(self.bad(format!("{wanted:?} is due, and not {c:?}"))),
            None => Err(self.bad(format!("{wanted:?} is due, and the file ends"))),
        }
    }

    /// One string literal, or several that follow each other.
    fn string(&mut self) -> Result<String, BadFaults> {
        let mut text = String::new();
        self.expect('"')?;
        loop {
            match self.next() {
                Some('"') => match self.peek()? {
                    Some('"') => self.next(),
                    _ => return Ok(text),
                },
                Some('\\') => {
                    text.extend(self.next());
                    continue;
                }
                Some('\n') | None => return Err(self.bad("the string has no end".into())),
                Some(c) => {
                    text.push(c);
                    continue;
                }
            };
        }
    }
}
