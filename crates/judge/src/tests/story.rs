//! Histories, written briefly.

use std::ops::Range;

use scenario::history::{At, Bounds, Connection, Errno, Outcome, Pairing, Record, Traffic};
use scenario::payload::{self, Key, Run};
use scenario::{
    Buffer, By, Endpoint, Expect, History, How, Invariant, Lane, Op, Ready, RecvFlags, Scenario,
    SendFlags, Setup, SockOption, Step, Verdict, When,
};

use crate::{Contract, judge};

pub(crate) use scenario::Endpoint::{Client, Server};

pub(crate) const RUN: u16 = 7;

pub(crate) fn key() -> Key {
    Key::from_seed(1)
}

/// The stream that an endpoint sends.
pub(crate) fn source(sender: Endpoint) -> payload::Stream {
    payload::Stream { run: RUN, pair: 0, lane: u8::from(sender == Server) }
}

/// Bytes that an endpoint sends.
pub(crate) fn bytes(sender: Endpoint, range: Range<u64>) -> Run {
    Run::Coded {
        stream: source(sender),
        offset: range.start,
        len: u32::try_from(range.end - range.start).unwrap(),
    }
}

/// The same as the executor hands over what it did not expect.
pub(crate) fn raw(sender: Endpoint, range: Range<u64>) -> Run {
    let mut buffer = vec![0; usize::try_from(range.end - range.start).unwrap()];
    payload::fill(key(), source(sender), range.start, &mut buffer);
    Run::Raw(buffer)
}

pub(crate) struct Story {
    pub(crate) scenario: Scenario,
    pub(crate) history: History,
    at_finale: bool,
}

impl Story {
    /// Two endpoints with two lanes each, both non-blocking.
    pub(crate) fn new() -> Story {
        let lane = |name: &str, endpoint| Lane { name: name.to_owned(), pair: 0, endpoint };
        Story {
            scenario: Scenario {
                lanes: vec![
                    lane("c", Client),
                    lane("s", Server),
                    lane("c2", Client),
                    lane("s2", Server),
                ],
                ..Scenario::default()
            },
            history: History {
                key: key(),
                run: RUN,
                connections: vec![Connection {
                    pair: 0,
                    pairing: Pairing::NotAsked,
                    traffic: [Traffic::default(); 2],
                }],
                bounds: Bounds::default(),
                records: Vec::new(),
                ring_counter: None,
            },
            at_finale: false,
        }
        .set_up(Client, SockOption::NonBlock(true))
        .set_up(Server, SockOption::NonBlock(true))
    }

    /// Two endpoints whose calls may block.
    pub(crate) fn blocking() -> Story {
        let mut story = Story::new();
        story.scenario.setup.clear();
        story
    }

    pub(crate) fn set_up(mut self, endpoint: Endpoint, option: SockOption) -> Story {
        self.scenario.setup.push(Setup { pair: 0, endpoint, option });
        self
    }

    /// From here on the calls are the finale's.
    pub(crate) fn finale(mut self) -> Story {
        self.at_finale = true;
        self
    }

    pub(crate) fn call(mut self, endpoint: Endpoint, op: Op, outcome: Outcome) -> Story {
        let at = if self.at_finale {
            At::Finale
        } else {
            self.scenario.steps.push(Step {
                lane: u8::from(endpoint == Server),
                when: When::Then,
                op,
                expect: None,
            });
            At::Step(u32::try_from(self.scenario.steps.len() - 1).unwrap())
        };
        let touched = match (&op, &outcome) {
            (Op::Recv { flags, .. }, Outcome::Received { count, .. })
                if !flags.contains(RecvFlags::TRUNC) =>
            {
                *count
            }
            _ => 0,
        };
        let sigpipe = matches!(&op, Op::Send { flags, .. } if !flags.contains(SendFlags::NOSIGNAL))
            && outcome == Outcome::Errno(Errno::EPIPE);
        let clock = self.history.records.iter().map(|r| r.return_ns + 1_000).max().unwrap_or(0);
        self.history.records.push(Record {
            at,
            lane: (!self.at_finale).then_some(u8::from(endpoint == Server)),
            connection: 0,
            endpoint,
            op,
            call_ns: clock,
            return_ns: clock + 1_000,
            peer_outq: None,
            outcome,
            cpu_ns: 0,
            ticked_ns: 0,
            touched,
            sigpipe,
            interrupted: false,
            copy_differs: None,
        });
        self
    }

    /// The last call is the endpoint's second lane's.
    pub(crate) fn second(mut self) -> Story {
        let step = self.scenario.steps.last_mut().unwrap();
        step.lane += 2;
        self.last().lane = Some(if self.last().endpoint == Client { 2 } else { 3 });
        self
    }

    /// The last call is the executor's look at a socket that a lane is asleep on.
    pub(crate) fn look_at(mut self, lane: u8) -> Story {
        self.scenario.steps.pop();
        (self.last().at, self.last().lane) = (At::Look(lane), None);
        self
    }

    /// The last call was under way between these, in microseconds since the call before it began.
    pub(crate) fn while_us(mut self, from: u64, to: u64) -> Story {
        let before = self.history.records.iter().rev().nth(1).map_or(0, |r| r.call_ns);
        self.last().call_ns = before + from * 1_000;
        self.last().return_ns = before + to * 1_000;
        self
    }

    /// The last call kept a processor busy so long.
    pub(crate) fn busy_ms(mut self, ms: u64) -> Story {
        self.last().cpu_ns = ms * 1_000_000;
        self
    }

    /// The last call slept until it was interrupted.
    pub(crate) fn interrupted(mut self) -> Story {
        self.last().interrupted = true;
        self
    }

    /// The last receive was made by splice(2).
    pub(crate) fn spliced(mut self) -> Story {
        if let Op::Recv { by, .. } = &mut self.last().op {
            *by = By::Splice;
        }
        let op = self.last().op;
        self.scenario.steps.last_mut().unwrap().op = op;
        self
    }

    /// The last receive was told that so much is left.
    pub(crate) fn left(mut self, bytes: u32) -> Story {
        if let Outcome::Received { left, .. } = &mut self.last().outcome {
            *left = Some(bytes);
        }
        self
    }

    fn last(&mut self) -> &mut Record {
        self.history.records.last_mut().unwrap()
    }

    /// The sender's `SIOCOUTQ` before the last call.
    pub(crate) fn outq_was(mut self, outq: u32) -> Story {
        self.last().peer_outq = Some(outq);
        self
    }

    /// The last call lasted this long.
    pub(crate) fn lasting_ms(mut self, ms: u64) -> Story {
        self.last().return_ns += ms * 1_000_000;
        self
    }

    pub(crate) fn touching(mut self, touched: u32) -> Story {
        self.last().touched = touched;
        self
    }

    pub(crate) fn signalled(mut self, sigpipe: bool) -> Story {
        self.last().sigpipe = sigpipe;
        self
    }

    /// What `tee(2)` shared in the last call differs from that byte on.
    pub(crate) fn copy_differs(mut self, at: u32) -> Story {
        self.last().copy_differs = Some(at);
        self
    }

    pub(crate) fn expecting(mut self, expect: Expect) -> Story {
        self.scenario.steps.last_mut().unwrap().expect = Some(expect);
        self
    }

    /// TCP took so much of what the endpoint sent.
    pub(crate) fn traffic(mut self, sender: Endpoint, accepted: u64, tcp: u64) -> Story {
        self.history.connections[0].traffic[sender.index()] = Traffic { accepted, tcp: Some(tcp) };
        self
    }

    pub(crate) fn send(self, endpoint: Endpoint, len: u32) -> Story {
        self.sent(endpoint, len, SendFlags::empty(), Outcome::Value(len))
    }

    pub(crate) fn sent(
        self,
        endpoint: Endpoint,
        len: u32,
        flags: SendFlags,
        outcome: Outcome,
    ) -> Story {
        let buffer = Buffer::Mapped;
        self.call(endpoint, Op::Send { len, flags, buffer, by: By::Call }, outcome)
    }

    /// A receive that gets bytes of the peer's stream.
    pub(crate) fn recv(self, endpoint: Endpoint, len: u32, range: Range<u64>) -> Story {
        self.got(endpoint, len, RecvFlags::empty(), vec![bytes(endpoint.peer(), range)])
    }

    pub(crate) fn peek(self, endpoint: Endpoint, len: u32, range: Range<u64>) -> Story {
        self.got(endpoint, len, RecvFlags::PEEK, vec![bytes(endpoint.peer(), range)])
    }

    pub(crate) fn got(
        self,
        endpoint: Endpoint,
        len: u32,
        flags: RecvFlags,
        data: Vec<Run>,
    ) -> Story {
        let count = data.iter().map(Run::len).sum::<usize>();
        let count = u32::try_from(count).unwrap();
        self.received(endpoint, len, flags, Outcome::Received { count, data, left: None })
    }

    pub(crate) fn received(
        self,
        endpoint: Endpoint,
        len: u32,
        flags: RecvFlags,
        outcome: Outcome,
    ) -> Story {
        let buffer = Buffer::Mapped;
        self.call(endpoint, Op::Recv { len, flags, buffer, by: By::Call }, outcome)
    }

    /// A receive of up to 100 bytes that fails.
    pub(crate) fn recv_fails(self, endpoint: Endpoint, errno: Errno) -> Story {
        self.received(endpoint, 100, RecvFlags::empty(), Outcome::Errno(errno))
    }

    pub(crate) fn into(
        self,
        endpoint: Endpoint,
        len: u32,
        buffer: Buffer,
        outcome: Outcome,
    ) -> Story {
        let flags = RecvFlags::empty();
        self.call(endpoint, Op::Recv { len, flags, buffer, by: By::Call }, outcome)
    }

    /// A receive of 100 bytes that returns 0.
    pub(crate) fn eof(self, endpoint: Endpoint) -> Story {
        self.got(endpoint, 100, RecvFlags::empty(), Vec::new())
    }

    pub(crate) fn poll(self, endpoint: Endpoint, bits: Ready) -> Story {
        self.call(endpoint, Op::Poll, Outcome::Ready(bits))
    }

    pub(crate) fn value(self, endpoint: Endpoint, op: Op, value: u32) -> Story {
        self.call(endpoint, op, Outcome::Value(value))
    }

    pub(crate) fn shutdown(self, endpoint: Endpoint, how: How) -> Story {
        self.value(endpoint, Op::Shutdown(how), 0)
    }

    pub(crate) fn close(self, endpoint: Endpoint) -> Story {
        self.value(endpoint, Op::Close, 0)
    }

    pub(crate) fn abort(self, endpoint: Endpoint) -> Story {
        self.value(endpoint, Op::Abort, 0)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        judge(&self.scenario, &self.history, &Contract::tcp())
    }

    #[track_caller]
    pub(crate) fn passes(&self) {
        assert_eq!(self.verdict(), Verdict::Pass);
    }

    /// The violations are exactly these.
    #[track_caller]
    pub(crate) fn breaks(&self, expected: &[(Invariant, &str)]) {
        let verdict = self.verdict();
        let found: Vec<_> =
            verdict.violations().iter().map(|v| (v.invariant, v.diagnosis.as_str())).collect();
        assert_eq!(found, expected, "{verdict:#?}");
    }
}
