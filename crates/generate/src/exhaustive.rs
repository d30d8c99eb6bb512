//! All short scenarios over a small alphabet.

use scenario::{Buffer, By, Endpoint, How, Lane, Op, RecvFlags, Scenario, SendFlags, Step, When};

/// What one step may be: an endpoint of the only pair, and what the lane on it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Who.
    pub endpoint: Endpoint,
    /// What.
    pub op: Op,
}

/// The default alphabet, the same dozen for both endpoints: a byte, a little more than the series' ring, bytes that TCP
/// holds back and urgent ones; a receive of one byte, of everything, a look ahead; poll and the queue's length; and the
/// three ends. Nothing in it sleeps.
#[must_use]
pub fn alphabet() -> Vec<Letter> {
    let send = |len, flags| Op::Send {
        len,
        flags: SendFlags::DONTWAIT | SendFlags::NOSIGNAL | flags,
        buffer: Buffer::Mapped,
        by: By::Call,
    };
    let recv = |len, flags| Op::Recv {
        len,
        flags: RecvFlags::DONTWAIT | flags,
        buffer: Buffer::Mapped,
        by: By::Call,
    };
    let ops = [
        send(1, SendFlags::empty()),
        send((16 << 10) + 1, SendFlags::empty()),
        send(100, SendFlags::MORE),
        send(1, SendFlags::OOB),
        recv(1, RecvFlags::empty()),
        recv(64 << 10, RecvFlags::empty()),
        recv(100, RecvFlags::PEEK),
        Op::Poll,
        Op::Inq,
        Op::Shutdown(How::Wr),
        Op::Close,
        Op::Abort,
    ];
    Endpoint::BOTH.into_iter().flat_map(|endpoint| ops.map(|op| Letter { endpoint, op })).collect()
}

/// All scenarios of 1 to `len` steps over the alphabet, one op after the other on one pair; the short ones first,
/// then in the order of the alphabet.
///
/// Left out are those in which a closed endpoint acts, other than by [`Op::Connect`], and, where the alphabet has
/// every op for both endpoints, those that the server begins: with the endpoints exchanged they are there.
pub fn exhaustive(alphabet: &[Letter], len: usize) -> impl Iterator<Item = Scenario> + use<> {
    let mirrored = |letter: &Letter| Letter { endpoint: letter.endpoint.peer(), op: letter.op };
    let words = Words {
        symmetric: alphabet.iter().all(|letter| alphabet.contains(&mirrored(letter))),
        alphabet: alphabet.to_vec(),
        longest: len,
        next: if alphabet.is_empty() || len == 0 { Vec::new() } else { vec![0] },
    };
    words.map(|word| scenario(&word))
}

/// The words over an alphabet.
struct Words {
    alphabet: Vec<Letter>,
    symmetric: bool,
    longest: usize,
    /// The first word that was not looked at, as places in the alphabet; empty behind the last.
    next: Vec<usize>,
}

impl Iterator for Words {
    type Item = Vec<Letter>;

    fn next(&mut self) -> Option<Vec<Letter>> {
        while !self.next.is_empty() {
            let word: Vec<Letter> = self.next.iter().map(|at| self.alphabet[*at]).collect();
            let odd = self.odd(&word);
            // all words that begin like this one are left out with it
            self.advance(odd.unwrap_or(word.len() - 1));
            if odd.is_none() {
                return Some(word);
            }
        }
        None
    }
}

impl Words {
    /// The place of the first letter that rules the word out.
    fn odd(&self, word: &[Letter]) -> Option<usize> {
        if self.symmetric && word[0].endpoint == Endpoint::Server {
            return Some(0);
        }
        let mut holders = [1u32; 2];
        for (at, letter) in word.iter().enumerate() {
            let held = &mut holders[letter.endpoint.index()];
            match letter.op {
                Op::Connect => holders = [1; 2],
                _ if *held == 0 => return Some(at),
                Op::Close | Op::Abort => *held -= 1,
                Op::Dup | Op::Fork => *held += 1,
                _ => {}
            }
        }
        None
    }

    /// To the first word behind this one that differs up to that place.
    fn advance(&mut self, place: usize) {
        self.next[place + 1..].fill(0);
        for at in (0..=place).rev() {
            self.next[at] += 1;
            if self.next[at] < self.alphabet.len() {
                return;
            }
            self.next[at] = 0;
        }
        let len = self.next.len() + 1;
        self.next = if len > self.longest { Vec::new() } else { vec![0; len] };
    }
}

fn scenario(word: &[Letter]) -> Scenario {
    let lane = |name: &str, endpoint| Lane { name: name.to_owned(), pair: 0, endpoint };
    let step = |letter: &Letter| Step {
        lane: u8::from(letter.endpoint == Endpoint::Server),
        when: When::Then,
        op: letter.op,
        expect: None,
    };
    Scenario {
        lanes: vec![lane("c", Endpoint::Client), lane("s", Endpoint::Server)],
        steps: word.iter().map(step).collect(),
        ..Scenario::default()
    }
}
