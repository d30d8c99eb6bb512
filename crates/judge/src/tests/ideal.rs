//! A small ideal TCP: bytes go from a send queue through flight to a receive queue, at random moments.
//! Whatever it does, no rule may object.

use proptest::prelude::*;
use scenario::history::{Errno, Outcome};
use scenario::{Buffer, By, Endpoint, How, Op, Ready, RecvFlags, SendFlags, Verdict};

use super::story::{Client, Server, Story, bytes};

/// One direction.
#[derive(Default)]
struct Pipe {
    accepted: u64,
    arrived: u64,
    acked: u64,
    read: u64,
    fin: bool,
    fin_arrived: bool,
}

impl Pipe {
    fn outq(&self) -> u32 {
        let fin = u64::from(self.fin && !self.fin_arrived);
        u32::try_from(self.accepted - self.acked + fin).unwrap()
    }

    /// Some of what is in flight arrives, some of that is acknowledged.
    fn flow(&mut self, amount: u64) {
        self.arrived = (self.arrived + amount % 200).min(self.accepted);
        self.acked = self.acked.max(self.arrived.saturating_sub(amount % 3 * 40));
        if self.fin && self.arrived == self.accepted && amount.is_multiple_of(2) {
            self.fin_arrived = true;
            self.acked = self.accepted;
        }
    }
}

struct Tcp {
    pipes: [Pipe; 2],
    shut_rd: [bool; 2],
    story: Story,
}

impl Tcp {
    fn step(mut self, endpoint: Endpoint, what: u8, amount: u64) -> Tcp {
        let (own, peer) = (endpoint.index(), endpoint.peer().index());
        for pipe in &mut self.pipes {
            pipe.flow(amount);
        }
        let story = std::mem::replace(&mut self.story, Story::new());
        let len = u32::try_from(amount % 150).unwrap();
        self.story = match what {
            0 | 1 if self.pipes[own].fin => {
                story.sent(endpoint, len, SendFlags::empty(), Outcome::Errno(Errno::EPIPE))
            }
            0 | 1 => {
                let count = if amount.is_multiple_of(5) { len.div_ceil(2) } else { len };
                self.pipes[own].accepted += u64::from(count);
                story.sent(endpoint, len, SendFlags::empty(), Outcome::Value(count))
            }
            2..=4 => {
                let flags = match what {
                    3 => RecvFlags::PEEK,
                    4 => RecvFlags::TRUNC,
                    _ => RecvFlags::empty(),
                };
                self.recv(story, endpoint, len, flags)
            }
            5 => {
                let bits = self.ready(endpoint);
                story.poll(endpoint, bits).outq_was(self.pipes[peer].outq())
            }
            6 => {
                let waiting = self.pipes[peer].arrived - self.pipes[peer].read;
                story
                    .value(endpoint, Op::Inq, u32::try_from(waiting).unwrap())
                    .outq_was(self.pipes[peer].outq())
            }
            7 => story.value(endpoint, Op::Outq, self.pipes[own].outq()),
            8 if amount.is_multiple_of(4) => {
                self.pipes[own].fin = true;
                story.shutdown(endpoint, How::Wr)
            }
            9 if amount.is_multiple_of(8) => {
                self.shut_rd[own] = true;
                story.shutdown(endpoint, How::Rd)
            }
            _ => story.value(endpoint, Op::SoError, 0),
        };
        self
    }

    fn recv(&mut self, story: Story, endpoint: Endpoint, len: u32, flags: RecvFlags) -> Story {
        let pipe = &mut self.pipes[endpoint.peer().index()];
        let from = pipe.read;
        let count = u64::from(len).min(pipe.arrived - from);
        let empty = pipe.arrived == from;
        let ended = pipe.fin_arrived || self.shut_rd[endpoint.index()];
        let data = if count == 0 || flags.contains(RecvFlags::TRUNC) {
            vec![]
        } else {
            vec![bytes(endpoint.peer(), from..from + count)]
        };
        let outcome = if empty && !ended {
            Outcome::Errno(Errno::EAGAIN)
        } else {
            Outcome::Received { count: u32::try_from(count).unwrap(), data, left: None }
        };
        if !flags.contains(RecvFlags::PEEK) {
            pipe.read += count;
        }
        let outq = pipe.outq();
        let buffer = Buffer::Mapped;
        story.call(endpoint, Op::Recv { len, flags, buffer, by: By::Call }, outcome).outq_was(outq)
    }

    fn ready(&self, endpoint: Endpoint) -> Ready {
        let incoming = &self.pipes[endpoint.peer().index()];
        let own = &self.pipes[endpoint.index()];
        let ended = incoming.fin_arrived || self.shut_rd[endpoint.index()];
        let mut bits = Ready::OUT | Ready::WRNORM;
        bits.set(Ready::IN | Ready::RDNORM, ended || incoming.arrived > incoming.read);
        bits.set(Ready::RDHUP, ended);
        bits.set(Ready::HUP, ended && own.fin);
        bits
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_rule_objects_to_an_ideal_tcp(steps in prop::collection::vec((any::<bool>(), 0u8..11, 0u64..1_000), 0..60)) {
        let mut tcp = Tcp { pipes: [Pipe::default(), Pipe::default()], shut_rd: [false; 2], story: Story::new() };
        for (client, what, amount) in steps {
            // sent to after both ends are shut down, a real one resets: not this one
            let endpoint = if client { Client } else { Server };
            let peer = endpoint.peer().index();
            if what < 2 && tcp.shut_rd[peer] {
                continue;
            }
            tcp = tcp.step(endpoint, what, amount);
        }
        prop_assert_eq!(tcp.story.verdict(), Verdict::Pass);
    }
}
