//! What a scenario has to have for a defect of some kind to show.

use scenario::{
    Attempt, Endpoint, Lane, Op, RecvFlags, Scenario, SendFlags, SockOption, Step, When,
};

/// A defect, and whether the scenario has what it takes to show it.
type Recipe = (&'static str, fn(&Scenario) -> bool);

pub(super) const ALL: &[Recipe] = &[
    ("a sleeping receive is woken by bytes", |s| asleep(s).any(|at| sends_behind(s, at, 1))),
    ("a sleeper needs several sends", |s| {
        asleep(s).any(|at| picky(s, at) && sends_behind(s, at, 2))
    }),
    ("a timeout is running while bytes trickle in", |s| {
        let timed = |at| has(s, s.lane(&s.steps[at]), &|o| matches!(o, SockOption::RcvTimeo(1..)));
        let pauses = s.steps.iter().filter(|step| matches!(step.op, Op::Pause(10_000..)));
        started(s).any(|at| timed(at) && sends_behind(s, at, 2)) && pauses.count() >= 2
    }),
    ("a signal meets a sleeping receive", |s| {
        let meets = |at: usize| {
            let hits = |step: &Step| matches!(step.op, Op::Signal { lane, .. } if lane == s.steps[at].lane);
            s.steps[at..].iter().any(hits)
        };
        started(s).any(meets)
    }),
    ("an end meets a sleeping receive", |s| {
        let ends = |op: &Op| matches!(op, Op::Shutdown(_) | Op::Close | Op::Abort | Op::Destroy);
        asleep(s).any(|at| s.steps[at + 1..].iter().take(3).any(|step| ends(&step.op)))
    }),
    ("a sleeping receive polls busily first", |s| {
        let busy = |at| has(s, s.lane(&s.steps[at]), &|o| matches!(o, SockOption::BusyPoll(1..)));
        asleep(s).any(busy)
    }),
    ("a wait sleeps until bytes come", |s| {
        let waits = |step: &&Step| matches!((step.when, step.op), (When::Start, Op::Wait { .. }));
        let at = s.steps.iter().position(|step| waits(&step));
        at.is_some_and(|at| sends_behind(s, at, 1))
    }),
    ("two senders run freely", |s| crowd(s, |op| matches!(op, Op::Send { .. }))),
    ("two receivers run freely", |s| crowd(s, |op| matches!(op, Op::Recv { .. }))),
    ("ring and TCP by turns while a receiver runs", |s| {
        let held = |step: &Step| matches!(step.op, Op::Send { flags, .. } if flags.contains(SendFlags::MORE));
        let receives = |step: &Step| matches!(step.op, Op::Recv { .. });
        groups(s).any(|g| {
            g.len() > 8 && g.iter().filter(|s| held(s)).count() > 1 && g.iter().any(receives)
        })
    }),
    ("a receive races with a send", |s| {
        let does = |group: &[Step], f: fn(&Op) -> bool| group.iter().any(|step| f(&step.op));
        groups(s).any(|group| {
            does(group, |op| matches!(op, Op::Send { .. }))
                && does(group, |op| matches!(op, Op::Recv { .. }))
        })
    }),
    ("an end races with something", |s| {
        let ends = |step: &Step| matches!(step.op, Op::Close | Op::Abort | Op::Shutdown(_));
        groups(s).any(|group| group.len() > 1 && group.iter().any(ends))
    }),
    ("splice receives", |s| count(s, |op| matches!(op, Op::Recv { by, .. } if by.is_piped())) > 0),
    ("a zero-copy send is completed", |s| {
        let zerocopy =
            |op: &Op| matches!(op, Op::Send { flags, .. } if flags.contains(SendFlags::ZEROCOPY));
        count(s, zerocopy) > 0 && count(s, |op| *op == Op::ErrQueue) > 0
    }),
    ("looks ahead go on where the last one ended", |s| {
        let ahead = |lane: &Lane| has(s, lane, &|o| matches!(o, SockOption::PeekOff(_)));
        let peeks = s.steps.iter().filter(|step| {
            matches!(step.op, Op::Recv { flags, .. } if flags.contains(RecvFlags::PEEK))
                && ahead(s.lane(step))
        });
        peeks.count() >= 2
    }),
    ("a client disconnects and comes back", |s| comes_back(s, &[Op::Disconnect])),
    ("a tuple is used again", |s| comes_back(s, &[Op::Close, Op::Abort])),
    ("a socket is paired twice", |s| s.attempt == Attempt::Twice),
    ("a stranger is paired", |s| s.attempt == Attempt::Stranger && s.pairs > 1),
    ("a free stranger is paired", |s| s.attempt == Attempt::FreeStranger && s.pairs > 1),
    ("a send sleeps until there is room", |s| {
        let sends = |step: &&Step| matches!((step.when, step.op), (When::Start, Op::Send { .. }));
        s.steps.iter().any(|step| sends(&step))
    }),
];

fn count(scenario: &Scenario, is: impl Fn(&Op) -> bool) -> usize {
    scenario.steps.iter().filter(|step| is(&step.op)).count()
}

fn groups(scenario: &Scenario) -> impl Iterator<Item = &[Step]> {
    scenario.steps.chunk_by(|_, next| matches!(next.when, When::With { .. }))
}

/// Receives that were started.
fn started(scenario: &Scenario) -> impl Iterator<Item = usize> + '_ {
    let is = |step: &Step| {
        let Op::Recv { flags, .. } = step.op else { return false };
        step.when == When::Start && !flags.contains(RecvFlags::DONTWAIT)
    };
    scenario.steps.iter().enumerate().filter(move |(_, step)| is(step)).map(|(at, _)| at)
}

/// The same on sockets that wait.
fn asleep(scenario: &Scenario) -> impl Iterator<Item = usize> + '_ {
    started(scenario).filter(|at| {
        let lane = scenario.lane(&scenario.steps[*at]);
        !scenario.starts_nonblocking(lane.pair, lane.endpoint)
    })
}

/// Whether the peer sends so often in the next few steps.
fn sends_behind(scenario: &Scenario, at: usize, n: usize) -> bool {
    let peer = scenario.endpoint(&scenario.steps[at]).peer();
    let behind = scenario.steps[at + 1..].iter().take(8);
    let sends = |step: &&Step| {
        matches!(step.op, Op::Send { .. })
            && step.when == When::Then
            && scenario.endpoint(step) == peer
    };
    behind.filter(sends).count() >= n
}

/// Whether a receive wants more than a byte.
fn picky(scenario: &Scenario, at: usize) -> bool {
    let step = &scenario.steps[at];
    let all = matches!(step.op, Op::Recv { flags, .. } if flags.contains(RecvFlags::WAITALL));
    all || has(scenario, scenario.lane(step), &|o| matches!(o, SockOption::RcvLowat(2..)))
}

/// Whether the socket of a lane gets such an option at any time.
fn has(scenario: &Scenario, lane: &Lane, is: &dyn Fn(SockOption) -> bool) -> bool {
    let sets = |step: &Step| {
        let other = scenario.lane(step);
        let same = (other.pair, other.endpoint) == (lane.pair, lane.endpoint);
        same && matches!(step.op, Op::Set(option) if is(option))
    };
    scenario.setup_of(lane.pair, lane.endpoint).any(is) || scenario.steps.iter().any(sets)
}

/// Whether two lanes of one socket do it five times each in one group.
fn crowd(scenario: &Scenario, is: fn(&Op) -> bool) -> bool {
    groups(scenario).any(|group| {
        let busy: Vec<&Lane> = (0..)
            .zip(&scenario.lanes)
            .filter(|(at, _)| group.iter().filter(|s| s.lane == *at && is(&s.op)).count() >= 4)
            .map(|(_, lane)| lane)
            .collect();
        Endpoint::BOTH.iter().any(|e| busy.iter().filter(|lane| lane.endpoint == *e).count() >= 2)
    })
}

/// Whether the client ends so, connects again, and somebody sends then.
fn comes_back(scenario: &Scenario, ends: &[Op]) -> bool {
    let steps = &scenario.steps;
    steps.iter().enumerate().filter(|(_, step)| step.op == Op::Connect).any(|(at, connect)| {
        let same = |step: &&Step| scenario.lane(step).pair == scenario.lane(connect).pair;
        let own = |step: &&Step| same(step) && scenario.endpoint(step) == Endpoint::Client;
        let ended = steps[..at].iter().filter(own).any(|step| ends.contains(&step.op));
        let sends = |step: &Step| matches!(step.op, Op::Send { .. });
        ended && steps[at..].iter().filter(same).any(sends)
    })
}
