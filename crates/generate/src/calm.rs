//! Sees to it that a scenario does not hang by itself.
//!
//! A call of a [`When::Then`] group that sleeps and that nothing wakes holds the whole scenario up until the
//! executor's bound. So every group is settled with the [`Model`] at hand: a call that may sleep for longer than
//! [`SHORT_MS`] keeps doing so only where the bytes (or the end) that it waits for, or the room, are surely there
//! before the group is over. Where they are not it gets `MSG_DONTWAIT`. In a [`When::Start`] group it may sleep; the
//! lane then counts as asleep until something surely wakes it, and makes no further steps before.

use scenario::{By, Endpoint, Lane, Op, RecvFlags, Scenario, SendFlags, SockOption, Step, When};

use crate::model::{Model, Pair, Sleeper};

/// A call that returns by itself after so many milliseconds may sleep anywhere.
const SHORT_MS: u32 = 50;

/// How long a wait may take that the next step waits for, in milliseconds.
pub(crate) const WAIT_MS: u32 = 30;

/// What a call that may sleep for long waits for.
#[derive(Clone, Copy, Debug)]
enum Sleep {
    /// So many bytes.
    Recv { need: u32 },
    /// Room.
    Send,
}

/// Settles all groups of a scenario.
pub(crate) fn calm(scenario: &mut Scenario) {
    let mut model = Model::new(scenario.pairs, &scenario.setup);
    let groups = scenario.steps.chunk_by(|_, next| matches!(next.when, When::With { .. }));
    let settled = groups.flat_map(|group| settle(&mut model, &scenario.lanes, group.to_vec()));
    scenario.steps = settled.collect();
}

/// Settles a group, a step and the [`When::With`] behind it, and brings the model to after it.
pub(crate) fn settle(model: &mut Model, lanes: &[Lane], mut group: Vec<Step>) -> Vec<Step> {
    drop_queued(model, &mut group);
    let Some(first) = group.first() else { return group };
    let start = first.when == When::Start;
    forget_short_sleepers(model, &group);
    rob(model, lanes, &group);
    let supply = Supply::of(model, lanes, &group);
    let were_asleep: Vec<u8> = model.sleepers.iter().map(|sleeper| sleeper.lane).collect();
    // a holder more may come before a close of the same group, which then ends nothing
    for step in group.iter().filter(|step| holds(step.op)) {
        model.apply(&lanes[usize::from(step.lane)], step.op);
    }
    group.retain_mut(|step| {
        let lane = &lanes[usize::from(step.lane)];
        if holds(step.op) {
            return true;
        }
        if model.sleeps(step.lane) {
            return queue(model, lane, step);
        }
        if let Op::Wait { timeout_ms, .. } = &mut step.op
            && !start
        {
            *timeout_ms = (*timeout_ms).min(WAIT_MS);
        }
        // it may come before what stands before it in the group
        let now = long_sleep(model.pair(lane.pair), lane.endpoint, step.op);
        let first = || long_sleep(supply.before(lane), lane.endpoint, step.op);
        match now.or_else(first).filter(|sleep| !supply.suffices(lane, step.op, *sleep)) {
            Some(sleep) if start => leave_asleep(model, lane, step, sleep),
            unsure => {
                if unsure.is_some() {
                    dont_wait(&mut step.op);
                }
                note_short_sleeper(model, lane, step, start);
                model.apply(lane, step.op);
            }
        }
        true
    });
    for step in &group {
        if let Op::Signal { lane, restart: false } = step.op
            && were_asleep.contains(&lane)
        {
            let its = |sleeper: &mut Sleeper| sleeper.lane == lane;
            for sleeper in model.sleepers.extract_if(.., its).collect::<Vec<_>>() {
                consume(model, &sleeper, 0);
            }
        }
    }
    if group.len() > 1 {
        supply.bound(model);
    }
    wake(model);
    group
}

fn holds(op: Op) -> bool {
    matches!(op, Op::Dup | Op::Fork)
}

/// Leaves out the steps of lanes that sleep: nobody knows when they would come, or whether.
fn drop_queued(model: &Model, group: &mut Vec<Step>) {
    let when = group[0].when;
    group.retain(|step| !model.sleeps(step.lane));
    if let Some(first) = group.first_mut() {
        first.when = when;
    }
}

/// A further step of a lane that fell asleep in this group: it stays if it does not change what the others rely on.
fn queue(model: &mut Model, lane: &Lane, step: &Step) -> bool {
    let own = lane.endpoint.index();
    match step.op {
        Op::Send { len, .. } => {
            let flow = &mut model.pair_mut(lane.pair).flows[own];
            flow.most = flow.most.saturating_add(len);
            model.asked = model.asked.saturating_add(len);
        }
        Op::Recv { .. } => {
            let its = model.sleepers.iter_mut().filter(|sleeper| sleeper.lane == step.lane);
            its.for_each(|sleeper| sleeper.len += takes(step.op));
        }
        op => return !disturbs(op),
    }
    true
}

/// What the receives of a group can count on, and what its sends need, by pair and [`Endpoint::index`].
struct Supply {
    before: Vec<Pair>,
    /// After all sends of the group and none of its receives.
    after: Vec<Pair>,
    /// For each receiving endpoint: what all receives of the group take at most.
    taken: Vec<[u32; 2]>,
    /// For each receiving endpoint: what those take that sleep already.
    reserved: Vec<[u32; 2]>,
    /// For each sending endpoint: whether all its sends are surely taken.
    room: Vec<[bool; 2]>,
    /// Whether something in the group may keep the bytes from coming.
    disturbed: bool,
}

impl Supply {
    fn of(model: &Model, lanes: &[Lane], group: &[Step]) -> Supply {
        let mut after = model.pairs.clone();
        let mut sent = vec![[0u32; 2]; after.len()];
        let (mut taken, mut reserved) = (sent.clone(), sent.clone());
        for sleeper in &model.sleepers {
            reserved[usize::from(sleeper.pair)][sleeper.endpoint.index()] += sleeper.len;
        }
        for step in group {
            let lane = &lanes[usize::from(step.lane)];
            let (pair, own) = (usize::from(lane.pair), lane.endpoint.index());
            match step.op {
                Op::Send { len, .. } => {
                    sent[pair][own] += len;
                    after[pair].apply(lane.endpoint, step.op);
                }
                op => taken[pair][own] += takes(op),
            }
        }
        let resized = group
            .iter()
            .any(|step| matches!(step.op, Op::Set(SockOption::SndBuf(_) | SockOption::RcvBuf(_))));
        let room = |pair: usize, endpoint: Endpoint| {
            let now = &model.pairs[pair];
            !resized && now.outbound(endpoint).surely_takes(sent[pair][endpoint.index()])
        };
        Supply {
            room: (0..after.len()).map(|pair| Endpoint::BOTH.map(|e| room(pair, e))).collect(),
            before: model.pairs.clone(),
            after,
            taken,
            reserved,
            disturbed: group.len() > 1 && group.iter().any(|step| disturbs(step.op)),
        }
    }

    /// The lane's pair before the group.
    fn before(&self, lane: &Lane) -> &Pair {
        &self.before[usize::from(lane.pair)]
    }

    fn suffices(&self, lane: &Lane, op: Op, sleep: Sleep) -> bool {
        let (pair, own) = (usize::from(lane.pair), lane.endpoint.index());
        match sleep {
            Sleep::Send => self.room[pair][own],
            Sleep::Recv { need } => {
                let others = self.taken[pair][own] - takes(op) + self.reserved[pair][own];
                let there = self.after[pair].inbound(lane.endpoint).sure;
                !self.disturbed && others.saturating_add(need) <= there
            }
        }
    }

    /// The receives of the group may have come behind its sends, whatever the order of its steps.
    fn bound(&self, model: &mut Model) {
        for (at, after) in self.after.iter().enumerate() {
            for endpoint in Endpoint::BOTH {
                let mut least = *after.inbound(endpoint);
                least.unsure(self.taken[at][endpoint.index()]);
                let flow = &mut model.pairs[at].flows[endpoint.peer().index()];
                flow.sure = flow.sure.min(least.sure);
                flow.held = flow.held.min(least.held);
            }
        }
    }
}

/// Bytes that the op takes out of the stream at most.
fn takes(op: Op) -> u32 {
    match op {
        Op::Recv { len, flags, .. } if !flags.intersects(RecvFlags::PEEK | RecvFlags::OOB) => len,
        _ => 0,
    }
}

/// Whether the op may end, empty or hold up the stream, so that what runs beside it cannot rely on it.
fn disturbs(op: Op) -> bool {
    match op {
        Op::Send { .. } | Op::Recv { .. } | Op::Wait { .. } | Op::Signal { .. } => false,
        Op::Poll | Op::Inq | Op::Outq | Op::AtMark | Op::ErrQueue | Op::SoError => false,
        Op::Dup | Op::Fork | Op::Pause(_) | Op::Detach | Op::Unhash | Op::Rehash => false,
        Op::Set(_) | Op::Shutdown(_) | Op::Close | Op::Abort | Op::Destroy => true,
        Op::Disconnect | Op::Connect | Op::Tls | Op::Repair => true,
    }
}

/// What the call waits for, where it may sleep for longer than [`SHORT_MS`].
fn long_sleep(pair: &Pair, endpoint: Endpoint, op: Op) -> Option<Sleep> {
    let (own, peer) = (pair.end(endpoint), pair.end(endpoint.peer()));
    let short = |ms: u32| (1..=SHORT_MS).contains(&ms);
    match op {
        Op::Send { len, flags, by, .. } => {
            let over = pair.output_over(endpoint) && !peer.lingers;
            // io_uring(7) asks neither O_NONBLOCK nor the socket's timeouts
            let returns = (own.nonblocking || short(own.sndtimeo)) && by != By::Uring;
            let waits = !flags.contains(SendFlags::DONTWAIT) && len > 0;
            (waits && !returns && !over && !own.closed).then_some(Sleep::Send)
        }
        Op::Recv { flags, by, .. } => {
            let returns = (own.nonblocking || short(own.rcvtimeo)) && by != By::Uring;
            let waits = !flags.intersects(RecvFlags::DONTWAIT | RecvFlags::OOB);
            // TCP says ENOTCONN at once, but in a SOCKHASH a receive sleeps on (tcp_bpf_recvmsg)
            let need = if own.severed { u32::MAX } else { needs(pair, endpoint, op) };
            let ends = pair.input_over(endpoint) && !own.severed;
            (waits && !returns && !ends).then_some(Sleep::Recv { need })
        }
        _ => None,
    }
}

/// Bytes that a receive waits for: see `sock_rcvlowat()`, and `recvmmsg(2)`, which fills every message.
///
/// `tcp_data_ready()` wakes nobody below `SO_RCVLOWAT`, even if the receive asks for less, or for no more than is
/// missing to what it has taken already. And Nagle's algorithm may bring what was sent before only once it sleeps.
fn needs(pair: &Pair, endpoint: Endpoint, op: Op) -> u32 {
    let Op::Recv { len, flags, by, .. } = op else { return 0 };
    let end = pair.end(endpoint);
    let all = flags.contains(RecvFlags::WAITALL) || matches!(by, By::Batch(_));
    let ready = match () {
        // the offset may be beyond all that comes
        () if flags.contains(RecvFlags::PEEK) && end.peek_off => u32::MAX,
        () if all => len.max(1),
        () => end.lowat.min(len).max(1),
    };
    if end.lowat > 1 { ready.saturating_add(end.lowat) } else { ready }
}

/// Sets `MSG_DONTWAIT`, which splice(2), with tee(2) or without, and sendfile(2) do not have.
fn dont_wait(op: &mut Op) {
    let call = |by: &mut By| {
        if by.is_piped() || *by == By::File {
            *by = By::Call;
        }
    };
    match op {
        Op::Send { flags, by, .. } => {
            *flags |= SendFlags::DONTWAIT;
            call(by);
        }
        Op::Recv { flags, by, .. } => {
            *flags |= RecvFlags::DONTWAIT;
            call(by);
        }
        _ => {}
    }
}

fn leave_asleep(model: &mut Model, lane: &Lane, step: &Step, sleep: Sleep) {
    let need = match sleep {
        Sleep::Recv { need } => Some(need),
        Sleep::Send => {
            model.apply(lane, step.op);
            None
        }
    };
    let (pair, endpoint) = (lane.pair, lane.endpoint);
    let len = takes(step.op);
    model.sleepers.push(Sleeper { lane: step.lane, pair, endpoint, need, len, short: false });
}

/// A started receive with a short timeout holds nobody up, but it may take bytes that come while it sleeps.
fn note_short_sleeper(model: &mut Model, lane: &Lane, step: &Step, start: bool) {
    let end = model.pair(lane.pair).end(lane.endpoint);
    let len = takes(step.op);
    if start && len > 0 && end.rcvtimeo > 0 && !end.nonblocking {
        let (pair, endpoint) = (lane.pair, lane.endpoint);
        let need = Some(needs(model.pair(pair), endpoint, step.op));
        model.sleepers.push(Sleeper { lane: step.lane, pair, endpoint, need, len, short: true });
    }
}

/// A lane that makes a step has returned from its call before.
fn forget_short_sleepers(model: &mut Model, group: &[Step]) {
    let acts = |lane: u8| group.iter().any(|step| step.lane == lane);
    let back: Vec<Sleeper> =
        model.sleepers.extract_if(.., |sleeper| sleeper.short && acts(sleeper.lane)).collect();
    for sleeper in back {
        consume(model, &sleeper, 0);
    }
}

/// Another receive may be faster than a sleeper that has just been woken, which then sleeps on.
fn rob(model: &mut Model, lanes: &[Lane], group: &[Step]) {
    model.woken.retain(|sleeper| group.iter().all(|step| step.lane != sleeper.lane));
    for step in group.iter().filter(|step| takes(step.op) > 0) {
        let Lane { pair, endpoint, .. } = lanes[usize::from(step.lane)];
        let robbed = |s: &mut Sleeper| (s.pair, s.endpoint) == (pair, endpoint);
        model.sleepers.extend(model.woken.extract_if(.., robbed));
    }
}

/// Takes away what surely woke up.
fn wake(model: &mut Model) {
    for pair in 0..model.pairs.len() {
        let number = u8::try_from(pair).expect("there are few pairs");
        for endpoint in Endpoint::BOTH {
            let now = &model.pairs[pair];
            let ended = now.input_over(endpoint) && !now.end(endpoint).closed;
            let full = !now.output_over(endpoint);
            let fed = model.wakes_all(number, endpoint) <= now.inbound(endpoint).sure;
            let here = |s: &mut Sleeper| s.pair == number && s.endpoint == endpoint;
            let awake: Vec<Sleeper> = model
                .sleepers
                .extract_if(.., |s| here(s) && if s.need.is_some() { ended || fed } else { !full })
                .collect();
            for sleeper in awake {
                consume(model, &sleeper, sleeper.need.unwrap_or(0));
                if sleeper.need.is_some() && !ended {
                    model.woken.push(sleeper);
                }
            }
        }
    }
}

/// A sleeper has received: at least so many bytes, and as many as it asked for at most.
fn consume(model: &mut Model, sleeper: &Sleeper, least: u32) {
    let flow = &mut model.pair_mut(sleeper.pair).flows[sleeper.endpoint.peer().index()];
    flow.pending = flow.pending.saturating_sub(sleeper.len);
    flow.unsure(sleeper.len);
    flow.most = flow.most.saturating_sub(least.min(sleeper.len));
}
