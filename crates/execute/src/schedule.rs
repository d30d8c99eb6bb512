//! Who makes which call when: groups of steps, and lanes that are left blocked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use scenario::history::{At, Outcome, Record};
use scenario::{By, Endpoint, Op, Ready, RecvFlags, Scenario, When};

use crate::Error;
use crate::backstage::Backstage;
use crate::crew::{Crew, News, Task};
use crate::hands::{Call, Hands};
use crate::stage::Stage;

/// How long a thread is given between two looks at whether it sleeps.
const GLANCE: Duration = Duration::from_micros(200);
/// A call that neither returns nor sleeps for so long is left alone: it burns its processor.
const RESTLESS: Duration = Duration::from_millis(300);
/// Between two looks at calls that are waited for: a call that nobody wakes shall not cost its whole bound.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two signals to a call that is to end: one that comes just before it sleeps wakes nobody.
const INSIST: Duration = Duration::from_millis(5);

/// A scenario in which calls overlap.
pub(crate) struct Schedule<'a> {
    pub(crate) stage: &'a Arc<Stage>,
    pub(crate) crew: &'a mut Crew,
    pub(crate) backstage: &'a mut Backstage,
    /// The executor's own.
    pub(crate) hands: &'a mut Hands,
    /// How long a call that could go on may take to do so.
    pub(crate) settle: Duration,
}

/// Lanes that have not returned.
type Busy = BTreeSet<u8>;

impl Schedule<'_> {
    /// Makes all steps. Gives the records, those of one lane in their order.
    pub(crate) fn run(mut self) -> Result<Vec<Record>, Error> {
        self.crew.muster(self.stage)?;
        let (mut records, mut busy) = (Vec::new(), Busy::new());
        let result = self.make_all(&mut busy, &mut records);
        // whatever happened, no lane may go on into the next scenario
        while result.is_err() && !busy.is_empty() {
            busy.iter().for_each(|&lane| self.crew.interrupt(self.stage, lane));
            let _ = self.hear(INSIST, &mut busy, &mut records);
        }
        self.crew.dismiss(self.stage);
        result.map(|()| records)
    }

    fn make_all(&mut self, busy: &mut Busy, records: &mut Vec<Record>) -> Result<(), Error> {
        for group in groups(&self.stage.scenario) {
            let lanes: Busy = group.tasks.keys().copied().collect();
            self.wait_for(&lanes, busy, records)?;
            let alone = busy.is_empty() && lanes.len() == 1;
            let tasks = group.tasks.into_iter().map(|(lane, mut tasks)| {
                tasks.iter_mut().for_each(|task| task.alone = alone);
                (lane, tasks)
            });
            self.crew.release(self.stage, tasks.collect());
            busy.extend(&lanes);
            if !group.is_started {
                self.wait_for(&lanes, busy, records)?;
            }
            self.watch(busy, records)?;
        }
        self.end(busy, records)
    }

    /// Until none of these lanes is busy. Each call has its bound, so that this ends.
    fn wait_for(
        &mut self,
        lanes: &Busy,
        busy: &mut Busy,
        records: &mut Vec<Record>,
    ) -> Result<(), Error> {
        let mut look = Instant::now() + self.settle;
        while !busy.is_disjoint(lanes) {
            self.hear(look.saturating_duration_since(Instant::now()), busy, records)?;
            if Instant::now() >= look {
                self.rouse(busy, records)?;
                look = Instant::now() + LOOK_EVERY;
            }
        }
        Ok(())
    }

    /// A receive that sleeps although its socket says that it would return was not woken. That is written down, and when
    /// it sleeps on all the same, it is interrupted: it would sleep until its bound. One that had reason to sleep on is
    /// not harmed, because what is interrupted without a result is called again. A splice(2) is not: it would sleep
    /// again, since it has no other way to find what poll(2) has seen (`tcp_splice_read`).
    fn rouse(&mut self, busy: &mut Busy, records: &mut Vec<Record>) -> Result<(), Error> {
        // with the step that was looked at: the lane may come to another one, which nobody looked at
        let mut due = BTreeMap::new();
        for &lane in &*busy {
            let actor = &self.stage.scenario.lanes[usize::from(lane)];
            let step = self.step(lane);
            let Some((question, wanted)) = self.waits_for(step) else { continue };
            if self.crew.is_asleep(self.stage, lane) {
                let call = Call::finale(actor.pair, actor.endpoint, question);
                let record = self.look(Call { at: At::Look(lane), alone: false, ..call });
                let is_due = match record.outcome {
                    Outcome::Ready(ready) => ready.contains(Ready::IN),
                    Outcome::Value(bytes) => bytes >= wanted,
                    _ => false,
                };
                if is_due {
                    records.push(record);
                    due.insert(lane, step);
                }
            }
        }
        let end = Instant::now() + self.settle;
        while due.keys().any(|lane| busy.contains(lane)) && Instant::now() < end {
            self.hear(end.saturating_duration_since(Instant::now()), busy, records)?;
        }
        for (lane, step) in due {
            if self.step(lane) == step && self.crew.is_asleep(self.stage, lane) {
                match self.stage.scenario.steps[step as usize].op {
                    Op::Recv { by, .. } if by.is_piped() => {
                        self.crew.give_up(self.stage, lane, step);
                    }
                    _ => self.crew.rouse(self.stage, lane),
                }
            }
        }
        Ok(())
    }

    /// The step that the lane is at, or was last.
    fn step(&self, lane: u8) -> u32 {
        self.stage.lanes[usize::from(lane)].step.load(Ordering::SeqCst)
    }

    /// What tells that the receive of that step would return: `POLLIN`, or with `MSG_WAITALL` so many bytes.
    fn waits_for(&self, step: u32) -> Option<(Op, u32)> {
        match self.stage.scenario.steps[step as usize].op {
            Op::Recv { by: By::Splice | By::Tee, .. } => Some((Op::Poll, 0)),
            Op::Recv { len, flags, by: By::Call | By::Vector(_), .. } => {
                match (flags.contains(RecvFlags::OOB), flags.contains(RecvFlags::WAITALL)) {
                    (true, _) => None,
                    (false, false) => Some((Op::Poll, 0)),
                    (false, true) => Some((Op::Inq, len)),
                }
            }
            _ => None,
        }
    }

    /// A look at a socket that a lane is in.
    fn look(&mut self, call: Call) -> Record {
        let mut nothing = |_| unreachable!("a look needs nothing");
        self.hands.issue(self.stage, call, &mut nothing).0
    }

    /// Until every busy lane sleeps, or has been running for too long.
    fn watch(&mut self, busy: &mut Busy, records: &mut Vec<Record>) -> Result<(), Error> {
        let end = Instant::now() + RESTLESS;
        while !busy.iter().all(|&lane| self.crew.is_asleep(self.stage, lane)) {
            self.hear(GLANCE, busy, records)?;
            if Instant::now() > end {
                break;
            }
        }
        Ok(())
    }

    /// Takes what the lanes have to say.
    fn hear(
        &mut self,
        timeout: Duration,
        busy: &mut Busy,
        records: &mut Vec<Record>,
    ) -> Result<(), Error> {
        match self.crew.news(timeout) {
            Some(News::Done { lane, records: new }) => {
                busy.remove(&lane);
                records.extend(new);
            }
            Some(News::Wants { request, answer }) => {
                let reply = self.backstage.serve(self.stage, request)?;
                // who asked waits for it
                let _ = answer.send(reply);
            }
            None => {}
        }
        Ok(())
    }

    /// Ends the calls that are still blocked. What their sockets say of themselves is written down first, and where that
    /// is anything, they are given time to act on it: a call that sleeps on with its bytes there was not woken.
    fn end(&mut self, busy: &mut Busy, records: &mut Vec<Record>) -> Result<(), Error> {
        let lanes = &self.stage.scenario.lanes;
        let waiting: BTreeSet<(u8, Endpoint)> = busy
            .iter()
            .map(|&lane| &lanes[usize::from(lane)])
            .map(|lane| (lane.pair, lane.endpoint))
            .collect();
        let mut is_due = false;
        for (pair, endpoint) in waiting {
            is_due |= self.has_arrived(pair, endpoint);
            let telling = self.telling(busy, (pair, endpoint));
            for op in [Op::Poll, Op::Inq] {
                let record = self.look(Call { alone: false, ..Call::finale(pair, endpoint, op) });
                is_due |= match record.outcome {
                    Outcome::Ready(ready) => ready.intersects(telling),
                    Outcome::Value(bytes) => bytes > 0,
                    _ => false,
                };
                records.push(record);
            }
        }
        let end = Instant::now() + self.settle;
        while is_due && !busy.is_empty() && Instant::now() < end {
            self.hear(end.saturating_duration_since(Instant::now()), busy, records)?;
        }
        // one that was woken by now may only be waiting for a processor
        for &lane in busy.iter().filter(|&&lane| self.crew.is_asleep(self.stage, lane)) {
            self.stage.lanes[usize::from(lane)].slept_on.store(true, Ordering::SeqCst);
        }
        while !busy.is_empty() {
            busy.iter().for_each(|&lane| self.crew.interrupt(self.stage, lane));
            let again = Instant::now() + INSIST;
            while !busy.is_empty() && Instant::now() < again {
                self.hear(INSIST, busy, records)?;
            }
        }
        Ok(())
    }

    /// What `poll(2)` may say that one of these lanes, those on that endpoint, waits for in its call. Room to send,
    /// which there mostly is, is nothing to a receive.
    fn telling(&self, busy: &Busy, endpoint: (u8, Endpoint)) -> Ready {
        let Stage { scenario, lanes, .. } = &**self.stage;
        let end = Ready::ERR | Ready::HUP;
        let of = |lane: &u8| {
            let lane = usize::from(*lane);
            let actor = &scenario.lanes[lane];
            if (actor.pair, actor.endpoint) != endpoint {
                return Ready::empty();
            }
            match scenario.steps[lanes[lane].step.load(Ordering::SeqCst) as usize].op {
                Op::Send { .. } => Ready::OUT | Ready::WRNORM | end,
                Op::Wait { events, .. } => events | end,
                _ => Ready::all() - (Ready::OUT | Ready::WRNORM),
            }
        };
        busy.iter().map(of).fold(Ready::empty(), |all, one| all | one)
    }

    /// Whether bytes were accepted for the endpoint that no receive has returned.
    fn has_arrived(&self, pair: u8, endpoint: Endpoint) -> bool {
        let accepted = self.stage.side(pair, endpoint.peer()).accepted;
        accepted > self.stage.side(pair, endpoint).consumed
    }
}

/// Steps that begin together.
struct Group {
    tasks: BTreeMap<u8, Vec<Task>>,
    is_started: bool,
}

fn groups(scenario: &Scenario) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (step, number) in scenario.steps.iter().zip(0u32..) {
        let after_us = match step.when {
            When::With { after_us } => after_us,
            When::Then | When::Start => {
                let is_started = step.when == When::Start;
                groups.push(Group { tasks: BTreeMap::new(), is_started });
                0
            }
        };
        let after = Duration::from_micros(after_us.into());
        // the limits see to it that the first step is not with another
        if let Some(group) = groups.last_mut() {
            let task = Task { step: number, after, alone: false };
            group.tasks.entry(step.lane).or_default().push(task);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use scenario::text::parse;

    use super::*;

    #[test_log::test]
    fn a_group_is_a_step_and_what_is_released_with_it() {
        let text = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n\
                    c: poll\nstart s: recv 1\nwith c: send 1 after 20\nwith s: poll\nc: poll\nend\n";
        let groups = groups(&parse(text).unwrap());
        let shape: Vec<_> = groups
            .iter()
            .map(|group| {
                let tasks = group.tasks.iter().map(|(lane, tasks)| {
                    let tasks = tasks.iter().map(|task| (task.step, task.after.as_micros()));
                    (*lane, tasks.collect::<Vec<_>>())
                });
                (group.is_started, tasks.collect::<Vec<_>>())
            })
            .collect();
        let wanted = [
            (false, vec![(0, vec![(0, 0)])]),
            (true, vec![(0, vec![(2, 20)]), (1, vec![(1, 0), (3, 0)])]),
            (false, vec![(0, vec![(4, 0)])]),
        ];
        assert_eq!(shape, wanted);
    }
}
