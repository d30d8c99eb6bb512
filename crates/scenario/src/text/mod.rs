//! The `.ring` text: scenarios that a person reads, writes, diffs and mails.
//!
//! ```text
//! ring 1                              # the version comes first
//! topology loopback
//! family v4
//! set client nodelay on               # in force before the handshake
//! set server nonblock on
//! lane c client
//! lane s server
//!
//! c: send 1024 more dontwait -> 1024  # what it must return, if that is known
//! s: recv 512 peek -> 512
//! s: recv 4096 into torn 100          # only the first 100 bytes are mapped
//! c: set cork on
//! s: poll -> in|out|rdnorm|wrnorm
//! c: close
//!
//! end                                 # a file that was cut short has none
//! ```
//!
//! One statement a line; `#` starts a comment; blank lines and indentation mean nothing. After the version
//! come the statements that describe the pair, in any order, then the steps in schedule order: the lane,
//! a colon, the op. The colon keeps the names of lanes apart from the words of the language, so that new
//! words break no old file. An expected result is a number, an error in lower case (`eagain`,
//! `errno 7` for one without a name), or what `poll` reports, joined by `|` (`none` for nothing).
//!
//! [`print()`] and [`parse()`] share the tables of `words`, and `parse(print(s)) == s` for every scenario
//! within [`crate::limits`].

#[cfg(test)]
mod arbitrary;
mod line;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod words;

pub use line::nearest;
pub use parse::{ParseError, parse};
pub use print::print;
