//! Runs scenarios on an ideal TCP, in which bytes are there at once, to see that they do not hang by themselves. It
//! knows nothing of the generator's model.

use std::collections::VecDeque;

use scenario::{
    By, Endpoint, How, Op, Ready, RecvFlags, Scenario, SendFlags, SockOption, Step, When,
};

use crate::draw::{Draw, Part};

/// Bytes that a direction holds, and with a buffer size set.
const ROOM: u32 = 60 << 10;
const LITTLE_ROOM: u32 = 700;

#[derive(Clone, Copy, Default)]
struct Sock {
    /// Bytes that can be received.
    queue: u32,
    tiny_in: bool,
    tiny_out: bool,
    nonblocking: bool,
    lowat: u32,
    rcvtimeo: u32,
    sndtimeo: u32,
    peek_off: bool,
    holders: u32,
    /// No descriptor is left; the socket ends when no call is under way on it.
    unheld: bool,
    gone: bool,
    shut_rd: bool,
    shut_wr: bool,
    reset: bool,
}

struct Ideal<'s> {
    scenario: &'s Scenario,
    socks: Vec<[Sock; 2]>,
    /// What each lane has still to do; the first is under way if `begun`.
    queues: Vec<VecDeque<Op>>,
    begun: Vec<Option<u32>>,
    draw: Draw<'static>,
    /// Time in which nothing happened, in microseconds; it would be less where it passes for several lanes at once.
    idle_us: u64,
}

/// What a call costs that the executor interrupts at the end, in microseconds.
const LEFT_US: u64 = 300_000;

impl<'s> Ideal<'s> {
    fn new(scenario: &'s Scenario, seed: u64) -> Ideal<'s> {
        let mut ideal = Ideal {
            scenario,
            socks: Vec::new(),
            queues: vec![VecDeque::new(); scenario.lanes.len()],
            begun: vec![None; scenario.lanes.len()],
            draw: Draw::new(seed, 0, Part::Steps),
            idle_us: 0,
        };
        for pair in 0..scenario.pairs {
            let fresh = Endpoint::BOTH.map(|endpoint| ideal.fresh(pair, endpoint));
            ideal.socks.push(fresh);
        }
        ideal
    }

    fn fresh(&self, pair: u8, endpoint: Endpoint) -> Sock {
        let mut sock = Sock { holders: 1, ..Sock::default() };
        self.scenario.setup_of(pair, endpoint).for_each(|option| set(&mut sock, option));
        sock
    }

    /// The number of the group that never ends, if there is one.
    fn run(&mut self) -> Option<usize> {
        let steps = &self.scenario.steps;
        let groups = steps.chunk_by(|_, next: &Step| matches!(next.when, When::With { .. }));
        for (number, group) in groups.enumerate() {
            for step in group {
                self.queues[usize::from(step.lane)].push_back(step.op);
            }
            let acts = |lane: usize| group.iter().any(|step| usize::from(step.lane) == lane);
            loop {
                while self.any_lane_moves() {}
                let mut left = (0..self.queues.len()).filter(|at| !self.queues[*at].is_empty());
                if group[0].when == When::Start || !left.any(acts) {
                    break;
                }
                if !self.expire() {
                    return Some(number);
                }
            }
        }
        while self.expire() {
            while self.any_lane_moves() {}
        }
        let left = self.queues.iter().any(|queue| !queue.is_empty());
        self.idle_us += if left { LEFT_US } else { 0 };
        None
    }

    /// Lets the first timeout run out; false if there is none.
    fn expire(&mut self) -> bool {
        let timeout = |at: &usize| {
            let place = &self.scenario.lanes[*at];
            let sock = &self.socks[usize::from(place.pair)][place.endpoint.index()];
            match *self.queues[*at].front()? {
                Op::Recv { by, .. } if by != By::Uring => Some(sock.rcvtimeo),
                Op::Send { by, .. } if by != By::Uring => Some(sock.sndtimeo),
                Op::Wait { timeout_ms, .. } => Some(timeout_ms),
                _ => None,
            }
            .filter(|ms| *ms > 0)
        };
        let lanes = (0..self.queues.len()).filter(|at| self.begun[*at].is_some());
        let first = lanes.filter_map(|at| Some((timeout(&at)?, at))).min();
        first.is_some_and(|(ms, lane)| {
            self.idle_us += u64::from(ms) * 1_000;
            self.finish(lane)
        })
    }

    /// Lets one lane, any, go on; false if all sleep or are done.
    fn any_lane_moves(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.queues.len()).collect();
        while !order.is_empty() {
            let lane = order.swap_remove(self.draw.index(order.len()));
            if let Some(&op) = self.queues[lane].front()
                && self.advance(lane, op)
            {
                return true;
            }
        }
        false
    }

    fn finish(&mut self, lane: usize) -> bool {
        self.queues[lane].pop_front();
        self.begun[lane] = None;
        let lanes = &self.scenario.lanes;
        let on = |other: usize| (lanes[other].pair, lanes[other].endpoint);
        let busy =
            (0..lanes.len()).any(|other| on(other) == on(lane) && self.begun[other].is_some());
        let (pair, endpoint) = on(lane);
        let sock = &mut self.socks[usize::from(pair)][endpoint.index()];
        sock.gone |= sock.unheld && !busy;
        true
    }

    /// Whether the lane got any further.
    fn advance(&mut self, lane: usize, op: Op) -> bool {
        let place = &self.scenario.lanes[lane];
        let (pair, own) = (usize::from(place.pair), place.endpoint.index());
        let closed = self.socks[pair][own].unheld && self.begun[lane].is_none();
        let first = self.begun[lane].is_none();
        let done = self.begun[lane].unwrap_or(0);
        let moved = match op {
            Op::Connect => return self.connect(lane),
            _ if closed => return self.finish(lane),
            Op::Send { .. } => self.send(pair, own, op, done),
            Op::Recv { .. } => self.recv(pair, own, op, done),
            Op::Wait { events, timeout_ms, .. } => {
                (timeout_ms > 0 && !self.is_ready(pair, own, events)).then_some(0)
            }
            _ => {
                self.other(pair, own, op);
                None
            }
        };
        match moved {
            None => self.finish(lane),
            Some(now) => {
                self.begun[lane] = Some(now);
                first || now != done
            }
        }
    }

    /// How many bytes are done while it sleeps; `None` when it has returned.
    fn send(&mut self, pair: usize, own: usize, op: Op, done: u32) -> Option<u32> {
        let Op::Send { len, flags, by, .. } = op else { return None };
        let [me, you] = [self.socks[pair][own], self.socks[pair][1 - own]];
        if me.shut_wr || me.reset || me.gone || you.gone || you.reset {
            return None;
        }
        let room = if me.tiny_out || you.tiny_in { LITTLE_ROOM } else { ROOM };
        let taken = (len - done).min(room.saturating_sub(you.queue));
        self.socks[pair][1 - own].queue += taken;
        let short = me.nonblocking && by != By::Uring || flags.contains(SendFlags::DONTWAIT);
        (done + taken < len && !short).then_some(done + taken)
    }

    fn recv(&mut self, pair: usize, own: usize, op: Op, done: u32) -> Option<u32> {
        let Op::Recv { len, flags, by, .. } = op else { return None };
        let [me, you] = [self.socks[pair][own], self.socks[pair][1 - own]];
        if flags.contains(RecvFlags::OOB) {
            return None;
        }
        let all = flags.contains(RecvFlags::WAITALL) || matches!(by, By::Batch(_));
        let need = if all { len } else { me.lowat.min(len) }.max(1);
        let over = me.shut_rd || me.reset || me.gone || you.shut_wr || you.gone || you.reset;
        let returns = me.nonblocking && by != By::Uring || flags.contains(RecvFlags::DONTWAIT);
        let returns = returns || over;
        if flags.contains(RecvFlags::PEEK) {
            let sees = me.queue >= need && !me.peek_off;
            return (!sees && !returns).then_some(0);
        }
        // below SO_RCVLOWAT nothing is taken while it waits
        let ready = returns || all || me.queue >= need;
        let returns = returns || len == 0 && ready && me.queue > 0;
        let taken = if ready { (len - done).min(me.queue) } else { 0 };
        self.socks[pair][own].queue -= taken;
        (done + taken < need && !returns).then_some(done + taken)
    }

    fn is_ready(&self, pair: usize, own: usize, events: Ready) -> bool {
        let [me, you] = [self.socks[pair][own], self.socks[pair][1 - own]];
        let over = me.shut_rd || me.reset || me.gone || you.shut_wr || you.gone || you.reset;
        let room = if me.tiny_out || you.tiny_in { LITTLE_ROOM } else { ROOM };
        let ready = [
            (Ready::IN | Ready::RDNORM, over || me.queue >= me.lowat.max(1)),
            (Ready::OUT | Ready::WRNORM, you.queue < room),
            (Ready::RDHUP, over),
        ];
        me.reset || ready.iter().any(|(event, there)| *there && events.intersects(*event))
    }

    fn other(&mut self, pair: usize, own: usize, op: Op) {
        let sock = &mut self.socks[pair][own];
        match op {
            Op::Set(option) => set(sock, option),
            Op::Shutdown(how) => {
                sock.shut_rd |= how != How::Wr;
                sock.shut_wr |= how != How::Rd;
            }
            Op::Pause(us) => self.idle_us += u64::from(us),
            Op::Dup | Op::Fork => sock.holders += 1,
            Op::Close | Op::Abort => {
                sock.holders -= 1;
                sock.unheld = sock.holders == 0;
            }
            Op::Destroy | Op::Disconnect => {
                if op == Op::Disconnect {
                    (sock.shut_rd, sock.shut_wr) = (false, false);
                }
                for sock in &mut self.socks[pair] {
                    sock.reset = true;
                }
            }
            Op::Signal { lane, restart: false } if self.begun[usize::from(lane)].is_some() => {
                self.finish(usize::from(lane));
            }
            _ => {}
        }
    }

    /// A socket that is gone or disconnected starts anew, the other end with it.
    fn connect(&mut self, lane: usize) -> bool {
        let pair = self.scenario.lanes[lane].pair;
        let client = self.socks[usize::from(pair)][0];
        if client.unheld || client.reset {
            let fresh = Endpoint::BOTH.map(|endpoint| self.fresh(pair, endpoint));
            self.socks[usize::from(pair)] = fresh;
            if !client.unheld {
                let kept = Sock { queue: 0, reset: false, ..client };
                self.socks[usize::from(pair)][0] = kept;
            }
        }
        self.finish(lane)
    }
}

fn set(sock: &mut Sock, option: SockOption) {
    match option {
        SockOption::NonBlock(on) => sock.nonblocking = on,
        SockOption::RcvLowat(bytes) => sock.lowat = bytes,
        SockOption::RcvTimeo(ms) => sock.rcvtimeo = ms,
        SockOption::SndTimeo(ms) => sock.sndtimeo = ms,
        SockOption::PeekOff(_) => sock.peek_off = true,
        SockOption::RcvBuf(_) => sock.tiny_in = true,
        SockOption::SndBuf(_) => sock.tiny_out = true,
        _ => {}
    }
}

#[track_caller]
fn assert_calm(scenario: &Scenario) {
    for seed in 0..3 {
        if let Some(group) = Ideal::new(scenario, seed).run() {
            panic!("group {group} never ends:\n{}", scenario::text::print(scenario));
        }
    }
}

#[test_log::test]
fn what_the_next_step_waits_for_returns() {
    for number in 0..5_000 {
        assert_calm(&crate::scenario(11, number));
    }
}

#[test_log::test]
fn nor_do_changed_scenarios_hang() {
    let mut now = crate::scenario(3, 0);
    for seed in 0..1_500 {
        now = crate::mutate(&now, seed);
        assert_calm(&now);
        now = crate::crossover(&crate::scenario(3, seed), &now, seed);
        assert_calm(&now);
    }
}

/// Idle time costs a campaign its speed, and a call that is left asleep most of all.
#[test_log::test]
fn scenarios_seldom_idle() {
    const MANY: u64 = 5_000;
    let (mut idle_us, mut left, mut long) = (0, 0, 0);
    for number in 0..MANY {
        let scenario = crate::scenario(5, number);
        let mut ideal = Ideal::new(&scenario, 0);
        ideal.run();
        idle_us += ideal.idle_us;
        long += u64::from(ideal.idle_us > 20_000);
        left += u64::from(ideal.queues.iter().any(|queue| !queue.is_empty()));
    }
    let figures = format!(
        "of {MANY} {left} leave a call asleep and {long} idle for 20 ms; all of them {idle_us} us"
    );
    println!("{figures}");
    assert!((20..=150).contains(&left), "{figures}");
    assert!(idle_us / MANY < 9_000, "{figures}");
}
