//! One complete runnable case: where it runs, who acts, and what they do in which order.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

use crate::op::{Op, Ready, SockOption};

/// One socket of a pair.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Endpoint {
    /// The active opener: it called `connect(2)`.
    Client,
    /// The passive opener: `accept(2)` returned it.
    Server,
}

impl Endpoint {
    /// Both endpoints, in index order.
    pub const BOTH: [Endpoint; 2] = [Endpoint::Client, Endpoint::Server];

    /// The other endpoint of the pair.
    #[must_use]
    pub fn peer(self) -> Endpoint {
        match self {
            Endpoint::Client => Endpoint::Server,
            Endpoint::Server => Endpoint::Client,
        }
    }

    /// 0 for the client, 1 for the server: the index into per-endpoint arrays.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Endpoint::Client => 0,
            Endpoint::Server => 1,
        }
    }
}

/// How the two endpoints reach each other.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Topology {
    /// Both in one network namespace, over `lo`.
    #[default]
    Loopback,
    /// Each in a network namespace of its own, over a pair of `veth(4)`.
    Veth,
    /// The same, with a bridge in between.
    Bridge,
}

/// What the wire between two network namespaces does to each packet (`tc-netem(8)`), both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wire {
    /// It comes so many microseconds later.
    pub delay_us: u32,
    /// Of a thousand so many are lost.
    pub loss_permille: u32,
}

/// How often, and with whom, the program pairs a connection.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Attempt {
    /// Each side once, with its peer.
    #[default]
    Once,
    /// Each side twice in a row, with its peer.
    Twice,
    /// Each side first with an endpoint of the pair before, which is none of its business, then with its peer.
    Stranger,
    /// The first of several pairs is left alone in the SOCKHASH; each side of the others first with the server of that
    /// one, which nothing but the 4-tuple speaks against, then with its peer.
    FreeStranger,
    /// Not at all: the program is detached when the scenario connects.
    Never,
}

/// The address family of the pair.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Family {
    /// `AF_INET`
    #[default]
    V4,
    /// `AF_INET6`
    V6,
}

/// A socket option that is in force before the first op.
///
/// Options of the server are set on the listening socket, so that the accepted socket inherits them
/// before the handshake (`tcp(7)`); those of the client before `connect(2)`. `O_NONBLOCK` is set once the
/// connection is there, on both: `accept(2)` does not inherit it, and `connect(2)` would not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Setup {
    /// The pair: below [`Scenario::pairs`].
    pub pair: u8,
    /// The socket that gets the option.
    pub endpoint: Endpoint,
    /// The option and its value.
    pub option: SockOption,
}

/// A sequential actor on one endpoint: a thread. Several may share an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// A short name, unique in the scenario; see [`crate::limits::is_lane_name`].
    pub name: String,
    /// The pair: below [`Scenario::pairs`].
    pub pair: u8,
    /// The endpoint that all of its ops are on.
    pub endpoint: Endpoint,
}

/// One op of one lane, at its place in the schedule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    /// Index into [`Scenario::lanes`].
    pub lane: u8,
    /// When it begins.
    pub when: When,
    /// What the lane does.
    pub op: Op,
    /// What the author of the scenario says the op returns; judged when present.
    pub expect: Option<Expect>,
}

/// When a step begins, and whether the next one waits for it.
///
/// A step and the [`When::With`] behind it are a *group*: the lanes of a group are released together, and each of them
/// makes its steps one after the other, without regard to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum When {
    /// Once everything before it has returned, or was left blocked. The next step waits until all of this group has
    /// returned.
    #[default]
    Then,
    /// Like that, but the next step waits only until each lane of this group has returned or sleeps in a call.
    /// What sleeps goes on when it can; the lane's next step waits for it.
    Start,
    /// Together with the step before it.
    With {
        /// The lane waits so long before its call, in microseconds.
        after_us: u32,
    },
}

/// An expected result, written on the op's own line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expect {
    /// The call's return value (a byte count, a queue length, 0).
    Value(u32),
    /// The call fails with this error.
    Errno(crate::history::Errno),
    /// `poll(2)` reports exactly these.
    Ready(Ready),
}

/// One complete runnable case.
///
/// The schedule is the order of `steps`, together with [`Step::when`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scenario {
    /// How the endpoints reach each other.
    pub topology: Topology,
    /// What the wire between them does; nothing on loopback.
    pub wire: Wire,
    /// Address family of the pairs.
    pub family: Family,
    /// How many pairs there are. They are connected before the first step, in their order.
    pub pairs: u8,
    /// How they are paired.
    pub attempt: Attempt,
    /// Options in force before the first op.
    pub setup: Vec<Setup>,
    /// The actors.
    pub lanes: Vec<Lane>,
    /// The ops in schedule order.
    pub steps: Vec<Step>,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            topology: Topology::default(),
            wire: Wire::default(),
            family: Family::default(),
            pairs: 1,
            attempt: Attempt::default(),
            setup: Vec::new(),
            lanes: Vec::new(),
            steps: Vec::new(),
        }
    }
}

impl Scenario {
    /// The lane of a step.
    ///
    /// # Panics
    /// If the step's lane is not in the scenario, which [`crate::limits::check`] rules out.
    #[must_use]
    pub fn lane(&self, step: &Step) -> &Lane {
        &self.lanes[usize::from(step.lane)]
    }

    /// The endpoint that a step acts on.
    ///
    /// # Panics
    /// As [`Scenario::lane`].
    #[must_use]
    pub fn endpoint(&self, step: &Step) -> Endpoint {
        self.lane(step).endpoint
    }

    /// The options that an endpoint of a pair starts with.
    pub fn setup_of(&self, pair: u8, endpoint: Endpoint) -> impl Iterator<Item = SockOption> + '_ {
        self.setup
            .iter()
            .filter(move |setup| setup.pair == pair && setup.endpoint == endpoint)
            .map(|setup| setup.option)
    }

    /// Whether the endpoint starts with `O_NONBLOCK`.
    #[must_use]
    pub fn starts_nonblocking(&self, pair: u8, endpoint: Endpoint) -> bool {
        let switched = |option| match option {
            SockOption::NonBlock(on) => Some(on),
            _ => None,
        };
        self.setup_of(pair, endpoint).filter_map(switched).last().unwrap_or(false)
    }

    /// Whether every step begins when the one before it has returned, so that one thread can make all calls.
    #[must_use]
    pub fn is_sequential(&self) -> bool {
        let waits = |op: &Op| matches!(op, Op::Signal { .. });
        self.steps.iter().all(|step| step.when == When::Then && !waits(&step.op))
    }

    /// For each step, whether its call may sleep on the socket as it then is.
    ///
    /// A close that lingers is not among them: see [`Scenario::lingers`].
    #[must_use]
    pub fn may_sleep(&self) -> Vec<bool> {
        let both = |pair| Endpoint::BOTH.map(|endpoint| self.starts_nonblocking(pair, endpoint));
        let mut nonblocking: Vec<[bool; 2]> = (0..self.pairs).map(both).collect();
        let sleeps = self.steps.iter().map(|step| {
            let lane = self.lane(step);
            let on = &mut nonblocking[usize::from(lane.pair)][lane.endpoint.index()];
            if let Op::Set(SockOption::NonBlock(set)) = step.op {
                *on = set;
            }
            step.op.may_sleep(*on)
        });
        sleeps.collect()
    }

    /// How many options make a close wait for the peer.
    #[must_use]
    pub fn lingers(&self) -> usize {
        let options = self.setup.iter().map(|setup| setup.option);
        let set = self.steps.iter().filter_map(|step| match step.op {
            Op::Set(option) => Some(option),
            _ => None,
        });
        options.chain(set).filter(|option| matches!(option, SockOption::Linger(1..))).count()
    }

    /// Whether a call of the scenario may sleep.
    #[must_use]
    pub fn may_block(&self) -> bool {
        self.lingers() > 0 || self.may_sleep().contains(&true)
    }
}
