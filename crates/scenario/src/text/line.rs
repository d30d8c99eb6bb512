//! One line of text, taken word by word, and what an error says about a word.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use strum::IntoEnumIterator;

use super::parse::ParseError;
use super::words::{Words, listed, names, value};

/// A piece of a line, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub text: &'a str,
    pub column: usize,
}

/// The words of one line, without its comment, and how many were taken.
pub(super) struct Line<'a> {
    number: usize,
    pub words: Vec<Word<'a>>,
    pub next: usize,
    /// The column after the last word.
    pub end: usize,
}

impl<'a> Line<'a> {
    pub fn new(number: usize, text: &'a str) -> Line<'a> {
        let text = text.split('#').next().unwrap_or_default();
        let mut words = Vec::new();
        let mut start = None;
        for (column, (at, c)) in text.char_indices().chain([(text.len(), ' ')]).enumerate() {
            if start.is_none() && !c.is_whitespace() {
                start = Some((at, column + 1));
            }
            // a colon ends its word, so that no space has to follow it
            let after = if c == ':' { at + 1 } else { at };
            if let Some((from, column)) = start.filter(|_| c.is_whitespace() || c == ':') {
                let text = &text[from..after];
                words.push(Word { text, column });
                start = None;
            }
        }
        let last = words.last();
        let end = last.map_or(1, |word| word.column + word.text.chars().count());
        Line { number, words, next: 0, end }
    }

    pub fn error(&self, column: usize, message: String) -> ParseError {
        ParseError { line: self.number, column, message }
    }

    pub fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.next).copied()
    }

    pub fn take(&mut self, what: &str) -> Result<Word<'a>, ParseError> {
        let Some(word) = self.peek() else {
            return Err(self.error(self.end, format!("the line stops here: write {what}")));
        };
        self.next += 1;
        Ok(word)
    }

    /// A word of the table.
    pub fn word<T: Copy>(&mut self, words: &Words<T>, what: &str) -> Result<T, ParseError> {
        let allowed = listed(words);
        let word = self.take(&one_of(what, &allowed))?;
        value(words, word.text)
            .ok_or_else(|| self.error(word.column, unknown(what, word.text, &allowed)))
    }

    /// A name of the enumeration.
    pub fn name<T: FromStr + IntoEnumIterator + Display>(
        &mut self,
        what: &str,
    ) -> Result<T, ParseError> {
        let allowed = names::<T>();
        let word = self.take(&one_of(what, &allowed))?;
        let name = word.text.parse();
        name.map_err(|_| self.error(word.column, unknown(what, word.text, &allowed)))
    }

    /// A number within the range.
    pub fn number<N: FromStr + PartialOrd + Display>(
        &mut self,
        what: &str,
        range: &RangeInclusive<N>,
    ) -> Result<N, ParseError> {
        let word = self.take(what)?;
        let digits = word.text.strip_prefix('-').unwrap_or(word.text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let message = format!("{:?} is no number: write {what}", word.text);
            return Err(self.error(word.column, message));
        }
        let number = word.text.parse().ok().filter(|n| range.contains(n));
        number.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            let message = format!("{} is out of range: {least} to {most}", word.text);
            self.error(word.column, message)
        })
    }

    pub fn finish(&self) -> Result<(), ParseError> {
        self.peek().map_or(Ok(()), |word| {
            let message = format!("{:?} is too much: the statement ends before it", word.text);
            Err(self.error(word.column, message))
        })
    }
}

fn one_of(what: &str, allowed: &[String]) -> String {
    format!("the {what}: {}", allowed.join(", "))
}

/// Names the word that was probably meant, or else all that are allowed.
pub(super) fn unknown(what: &str, text: &str, allowed: &[String]) -> String {
    match nearest(text, allowed.iter().map(String::as_str)) {
        Some(word) => format!("unknown {what} {text:?}, did you mean {word:?}?"),
        None => format!("unknown {what} {text:?}: use one of {}", allowed.join(", ")),
    }
}

/// The word that was probably meant by `text`.
pub fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    words
        .into_iter()
        .map(|word| (distance(word, text), word))
        .filter(|(distance, word)| *distance <= 2 && word.chars().count() > 2.max(*distance))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters must be inserted, removed or replaced to make one word the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().collect();
    let mut row: Vec<_> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
