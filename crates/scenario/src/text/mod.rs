//! The `.ring` text: scenarios that a person reads, writes, diffs and mails.
//!
//! ```text
//! ring 1                              # the version comes first
//! topology veth
//! wire delay 2000 loss 10             # microseconds, packets of a thousand; not on loopback
//! family v4
//! pairs 2                             # one if this is left out
//! attempt twice                       # how they are paired; once if this is left out
//! set client nodelay on               # in force before the handshake
//! set server 1 nonblock on            # the pair is counted from 0, and 0 is left out
//! lane c client
//! lane s server
//! lane t server 1
//!
//! c: send 1024 more dontwait -> 1024  # what it must return, if that is known
//! s: recv 512 peek -> 512
//! s: recv 4096 into torn 100          # only the first 100 bytes are mapped
//! c: send 10 by vector 3              # which call, if not the simplest
//! start s: recv 100                   # the next step waits until it sleeps, not until it returns
//! with c: send 5 after 20             # released together with the step above, and 20 us later
//! t: wait in|rdhup 50 by epoll-edge   # at most 50 ms
//! c: signal s restart                 # to the thread of lane s
//! s: poll -> in|out|rdnorm|wrnorm
//! c: close
//!
//! end                                 # a file that was cut short has none
//! ```
//!
//! One statement a line; `#` starts a comment; blank lines and indentation mean nothing. After the version
//! come the statements that describe the pairs, in any order as long as each stands behind what it speaks of
//! (`wire` behind the topology, an endpoint of another pair than the first behind `pairs`), then the steps in
//! schedule order: when ([`When`](crate::When)), the lane, a colon, the op. The colon keeps the names of lanes
//! apart from the words of the language, so that new words break no old file.
//!
//! The parts of a step come in this order; all but the lane and the op may be missing:
//!
//! ```text
//! with c: send 100 more by vector 3 from torn 5 after 20 -> 5
//! when lane op     flags call       buffer      delay    expected result
//! ```
//!
//! An expected result is a number, an error in lower case (`eagain`, `errno 7` for one without a name), or
//! what `poll` reports, joined by `|` (`none` for nothing). Options that are switches are `on` or `off`, others
//! have a number. The word of an op, an option or a flag is its name in [`Op`](crate::Op),
//! [`SockOption`](crate::SockOption), [`SendFlags`](crate::SendFlags) and [`RecvFlags`](crate::RecvFlags).
//!
//! [`print()`] and [`parse()`] share the tables of `words`, and `parse(print(s)) == s` for every scenario
//! within [`crate::limits`].

#[cfg(test)]
mod arbitrary;
mod line;
mod parse;
mod print;
mod step;
#[cfg(test)]
mod tests;
mod words;

pub use line::nearest;
pub use parse::{ParseError, parse};
pub use print::print;

/// Whether this is the beginning of a `.ring` text, however broken: its first word is `ring`.
#[must_use]
pub fn begins(bytes: &[u8]) -> bool {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let mut statements = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let words = |line: &[u8]| line.split(u8::is_ascii_whitespace).next() == Some(b"ring");
    statements.next().is_some_and(words)
}
