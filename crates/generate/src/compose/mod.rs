//! Composes the steps of a scenario: single ops, and figures in which calls overlap.

mod race;
mod sleep;
mod stretch;

use scenario::{Buffer, By, Endpoint, Lane, Op, RecvFlags, SendFlags, Step, When};

use crate::calm;
use crate::draw::Draw;
use crate::model::Model;
use crate::ops::{self, Turn};
use crate::swarm::{Shape, Swarm};

/// In so many percent of the scenarios each client makes the first call, as most do. An implementation that cannot rule
/// out that a call from before pairing is still under way on a socket will not use the ring towards it until then.
const CLIENTS_FIRST: u32 = 65;

/// No figure begins behind so many steps.
const MANY: usize = 130;

/// What comes next.
#[derive(Clone, Copy)]
enum Figure {
    /// One op, which the next step waits for.
    Single,
    /// A lane falls asleep in a call, and is woken or not.
    Sleep,
    /// A few calls that are released together.
    Race,
    /// Some lanes run freely for a while.
    Stretch,
}

/// How often each is drawn.
fn figures(shape: Shape) -> &'static [(Figure, u32)] {
    match shape {
        Shape::Sequential => &[(Figure::Single, 1)],
        Shape::Overlapping => {
            &[(Figure::Single, 60), (Figure::Sleep, 18), (Figure::Race, 16), (Figure::Stretch, 5)]
        }
        Shape::Pairs => &[(Figure::Single, 90), (Figure::Sleep, 3), (Figure::Race, 7)],
    }
}

/// A scenario on its way.
pub(crate) struct Composer<'s> {
    swarm: &'s Swarm,
    model: Model,
    steps: Vec<Step>,
}

impl<'s> Composer<'s> {
    pub fn new(swarm: &'s Swarm) -> Composer<'s> {
        Composer { swarm, model: Model::new(swarm.pairs, &swarm.setup), steps: Vec::new() }
    }

    /// Draws all steps.
    pub fn compose(mut self, draw: &mut Draw<'_>) -> Vec<Step> {
        let (mut at, mut end, mut extended) = (0, self.swarm.steps, false);
        let figures = figures(self.swarm.shape);
        if draw.chance(CLIENTS_FIRST) {
            self.greet(draw);
        }
        while at < end && self.steps.len() < MANY {
            self.model.progress = at * 100 / end;
            let before = self.steps.len();
            let figure = draw.weighted(figures).unwrap_or(Figure::Single);
            let made = match figure {
                Figure::Single => false,
                Figure::Sleep => sleep::make(&mut self, draw),
                Figure::Race => race::make(&mut self, draw),
                Figure::Stretch => stretch::make(&mut self, draw),
            };
            if !made && !self.single(draw) {
                break;
            }
            let new = &self.steps[before..];
            // long stretches do not count in full, so that something comes behind them
            at += u32::try_from(new.len()).unwrap_or(u32::MAX).min(6);
            // an end is as good as what is tried after it
            let ends = |op| matches!(op, Op::Shutdown(_) | Op::Close | Op::Abort | Op::Connect);
            if new.iter().any(|step| ends(step.op)) && end.saturating_sub(at) < 3 && !extended {
                end = at + draw.within(2..=6);
                extended = true;
            }
            // behind the end of its bytes a scenario made of them is over
            if draw.is_over() {
                break;
            }
        }
        self.steps
    }

    /// Each pair's client sends a little, or looks whether there is something.
    fn greet(&mut self, draw: &mut Draw<'_>) {
        for pair in 0..self.swarm.pairs {
            let is_client = |lane: &Lane| lane.pair == pair && lane.endpoint == Endpoint::Client;
            let Some((lane, _)) = (0..).zip(self.lanes()).find(|(_, lane)| is_client(lane)) else {
                continue;
            };
            let len = draw.within(1..=64);
            let (buffer, by) = (Buffer::Mapped, By::Call);
            let op = if draw.chance(50) {
                Op::Send { len, flags: SendFlags::DONTWAIT, buffer, by }
            } else {
                Op::Recv { len, flags: RecvFlags::DONTWAIT, buffer, by }
            };
            self.then(lane, op);
        }
    }

    /// One op of any lane that is awake.
    fn single(&mut self, draw: &mut Draw<'_>) -> bool {
        let idle = self.idle();
        let Some((lane, op)) = ops::next(draw, self.swarm, &self.model, self.lanes(), &idle) else {
            return false;
        };
        self.then(lane, op);
        true
    }

    fn lanes(&self) -> &'s [Lane] {
        &self.swarm.lanes
    }

    fn lane(&self, lane: u8) -> &'s Lane {
        &self.swarm.lanes[usize::from(lane)]
    }

    fn turn(&self, lane: u8) -> Turn<'_> {
        Turn::new(self.swarm, &self.model, self.lanes(), lane)
    }

    /// The lanes that are awake.
    fn idle(&self) -> Vec<u8> {
        (0..).zip(self.lanes()).map(|(at, _)| at).filter(|at| !self.model.sleeps(*at)).collect()
    }

    /// The lanes that are awake and have an open socket.
    fn able(&self) -> Vec<u8> {
        let mut idle = self.idle();
        idle.retain(|lane| !self.turn(*lane).pair.end(self.lane(*lane).endpoint).closed);
        idle
    }

    /// Adds an op that the next step waits for.
    fn then(&mut self, lane: u8, op: Op) {
        self.group(vec![Step { lane, when: When::Then, op, expect: None }]);
    }

    /// Adds an op that may be left asleep.
    fn start(&mut self, lane: u8, op: Op) {
        self.group(vec![Step { lane, when: When::Start, op, expect: None }]);
    }

    /// Adds a group.
    fn group(&mut self, group: Vec<Step>) {
        self.steps.extend(calm::settle(&mut self.model, &self.swarm.lanes, group));
    }
}
