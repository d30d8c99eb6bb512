//! The two loops of a measurement: what each endpoint sends and receives, with blocking calls.
//!
//! Both modes end in-band, so that nothing but the connection passes between the two threads: byte `n` of a
//! direction is `n % PERIOD`, save the very last, which is [`END`].

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use scenario::bench::{Mode, Phase, Trouble};

/// Prime, so that a message out of place does not look like the right one, whatever its size.
const PERIOD: u8 = 251;
/// The last byte of a direction; no other is of this value.
const END: u8 = 255;
/// So many bytes in the right order are payload, and no accident.
const TELLING: usize = 8;
/// Shortest receive buffer of a stream, in bytes: what an application has that wants to be fast.
const RECEIVE: usize = 64 << 10;

/// When the client stops.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Messages(u64),
    Elapsed(Duration),
}

/// What both endpoints do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) mode: Mode,
    pub(super) size: usize,
    pub(super) until: Until,
    pub(super) phase: Phase,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// What one endpoint did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) messages: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) begun: Instant,
    pub(super) ended: Instant,
}

/// An endpoint at work.
struct Endpoint<'a> {
    socket: &'a TcpStream,
    phase: Phase,
    /// The payload from byte 0 on; it repeats, so that any part of it is a slice of this.
    payload: Vec<u8>,
    tally: Tally,
}

/// Plays one endpoint to its end.
pub(super) fn play(socket: &TcpStream, role: Role, job: Job) -> Result<Tally, Trouble> {
    let longest = job.size.max(RECEIVE) + usize::from(PERIOD);
    let now = Instant::now();
    let mut endpoint = Endpoint {
        socket,
        phase: job.phase,
        payload: (0..PERIOD).cycle().take(longest).collect(),
        tally: Tally { messages: 0, sent: 0, received: 0, begun: now, ended: now },
    };
    endpoint.tally.begun = Instant::now();
    match (job.mode, role) {
        (Mode::Rr, Role::Client) => endpoint.ask(job)?,
        (Mode::Rr, Role::Server) => endpoint.answer(job.size)?,
        (Mode::Stream, Role::Client) => endpoint.pour(job)?,
        (Mode::Stream, Role::Server) => endpoint.drink(job.size)?,
    }
    endpoint.tally.ended = Instant::now();
    Ok(endpoint.tally)
}

impl Endpoint<'_> {
    fn ask(&mut self, job: Job) -> Result<(), Trouble> {
        let mut reply = vec![0; job.size];
        loop {
            let is_last = self.is_last(job.until);
            self.send(job.size, is_last)?;
            self.receive_all(&mut reply)?;
            if self.check(&reply)? != is_last {
                return Err(self.misplaced_end(&reply, is_last));
            }
            self.tally.received += job.size as u64;
            self.tally.messages += 1;
            if is_last {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, size: usize) -> Result<(), Trouble> {
        let mut request = vec![0; size];
        loop {
            self.receive_all(&mut request)?;
            let is_last = self.check(&request)?;
            self.tally.received += size as u64;
            self.send(size, is_last)?;
            self.tally.messages += 1;
            if is_last {
                return Ok(());
            }
        }
    }

    fn pour(&mut self, job: Job) -> Result<(), Trouble> {
        loop {
            let is_last = self.is_last(job.until);
            self.send(job.size, is_last)?;
            self.tally.messages += 1;
            if is_last {
                return Ok(());
            }
        }
    }

    fn drink(&mut self, size: usize) -> Result<(), Trouble> {
        let mut buffer = vec![0; size.max(RECEIVE)];
        loop {
            let count = match self.socket.read(&mut buffer) {
                Ok(0) => return Err(Trouble::Ended { at: self.tally.received }),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed("recv", &error)),
            };
            let ended = self.check(&buffer[..count])?;
            self.tally.received += count as u64;
            if ended {
                return Ok(());
            }
        }
    }

    fn is_last(&self, until: Until) -> bool {
        match until {
            Until::Messages(number) => self.tally.messages + 1 >= number,
            Until::Elapsed(time) => self.tally.begun.elapsed() >= time,
        }
    }

    /// Sends the next message.
    fn send(&mut self, size: usize, is_last: bool) -> Result<(), Trouble> {
        let mut socket = self.socket;
        let message = self.expected(self.tally.sent, size);
        let sent = if is_last {
            let mut message = message.to_vec();
            message[size - 1] = END;
            socket.write_all(&message)
        } else {
            socket.write_all(message)
        };
        sent.map_err(|error| failed("send", &error))?;
        self.tally.sent += size as u64;
        Ok(())
    }

    fn receive_all(&mut self, buffer: &mut [u8]) -> Result<(), Trouble> {
        self.socket.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Trouble::Ended { at: self.tally.received },
            _ => failed("recv", &error),
        })
    }

    /// `len` bytes of payload from byte `offset` of a direction on, as if none of them were the last.
    fn expected(&self, offset: u64, len: usize) -> &[u8] {
        // less than PERIOD: it fits
        let start = usize::try_from(offset % u64::from(PERIOD)).unwrap_or_default();
        &self.payload[start..start + len]
    }

    /// Compares what just came with what was sent; whether it is the end.
    ///
    /// Comparing every byte of a long measurement would be part of the measurement.
    fn check(&self, got: &[u8]) -> Result<bool, Trouble> {
        let ended = got.last() == Some(&END);
        let got = &got[..got.len() - usize::from(ended)];
        let expected = self.expected(self.tally.received, got.len());
        let fine = match self.phase {
            Phase::WarmUp => got == expected,
            Phase::Measuring => got.first() == expected.first() && got.last() == expected.last(),
        };
        if fine {
            return Ok(ended);
        }
        let at = got.iter().zip(expected).position(|(got, expected)| got != expected).unwrap_or(0);
        let (expected, rest) = (expected[at], &got[at..]);
        let (at, got) = (self.tally.received + at as u64, rest[0]);
        if rest.len() >= TELLING && rest == self.expected(got.into(), rest.len()) {
            return Err(Trouble::OutOfPlace { at, expected, got });
        }
        Err(Trouble::Corrupt { at, expected, got })
    }

    /// The last byte of a reply is the end, and should not be; or the other way round.
    fn misplaced_end(&self, reply: &[u8], is_last: bool) -> Trouble {
        let last = reply.len() - 1;
        let payload = self.expected(self.tally.received, reply.len())[last];
        Trouble::Corrupt {
            at: self.tally.received + last as u64,
            expected: if is_last { END } else { payload },
            got: reply[last],
        }
    }
}

fn failed(call: &str, error: &io::Error) -> Trouble {
    Trouble::Call { call: call.to_owned(), error: error.to_string() }
}
