//! One complete runnable case: where it runs, who acts, and what they do in which order.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

use crate::op::{Op, Ready, RecvFlags, SendFlags, SockOption};

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
    /// The socket that gets the option.
    pub endpoint: Endpoint,
    /// The option and its value.
    pub option: SockOption,
}

/// A sequential actor on one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// A short name, unique in the scenario; see [`crate::limits::is_lane_name`].
    pub name: String,
    /// The endpoint that all of its ops are on.
    pub endpoint: Endpoint,
}

/// One op of one lane, at its place in the schedule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    /// Index into [`Scenario::lanes`].
    pub lane: u8,
    /// What the lane does.
    pub op: Op,
    /// What the author of the scenario says the op returns; judged when present.
    pub expect: Option<Expect>,
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
/// The schedule is the order of `steps`: each op starts after the one before it has returned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scenario {
    /// How the endpoints reach each other.
    pub topology: Topology,
    /// Address family of the pair.
    pub family: Family,
    /// Options in force before the first op.
    pub setup: Vec<Setup>,
    /// The actors.
    pub lanes: Vec<Lane>,
    /// The ops in schedule order.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// The endpoint that a step acts on.
    ///
    /// # Panics
    /// If the step's lane is not in the scenario, which [`crate::limits::check`] rules out.
    #[must_use]
    pub fn endpoint(&self, step: &Step) -> Endpoint {
        self.lanes[usize::from(step.lane)].endpoint
    }

    /// Whether the endpoint starts with `O_NONBLOCK`.
    #[must_use]
    pub fn starts_nonblocking(&self, endpoint: Endpoint) -> bool {
        self.setup
            .iter()
            .rev()
            .find_map(|s| match s.option {
                SockOption::NonBlock(on) if s.endpoint == endpoint => Some(on),
                _ => None,
            })
            .unwrap_or(false)
    }

    /// Whether a send or receive of the scenario may sleep: without `MSG_DONTWAIT`, on an endpoint that has
    /// no `O_NONBLOCK` at that point.
    #[must_use]
    pub fn may_block(&self) -> bool {
        let mut nonblocking = Endpoint::BOTH.map(|endpoint| self.starts_nonblocking(endpoint));
        self.steps.iter().any(|step| {
            let on = &mut nonblocking[self.endpoint(step).index()];
            match step.op {
                Op::Set(SockOption::NonBlock(set)) => *on = set,
                Op::Send { flags, .. } => return !*on && !flags.contains(SendFlags::DONTWAIT),
                Op::Recv { flags, .. } => return !*on && !flags.contains(RecvFlags::DONTWAIT),
                _ => {}
            }
            false
        })
    }
}
