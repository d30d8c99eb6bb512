//! What every scenario respects, whoever wrote it.

use crate::case::{Endpoint, Lane, Scenario, Step, Topology, When, Wire};
use crate::op::{Buffer, By, Op, RecvFlags, SendFlags, SockOption};

/// Most pairs in a scenario.
pub const PAIRS: u8 = 4;
/// Most lanes in a scenario.
pub const LANES: usize = 16;
/// Most steps in a scenario.
pub const STEPS: usize = 256;
/// Most connections: one for each pair, and those of [`Op::Connect`].
pub const CONNECTIONS: usize = 32;
/// Most bytes in one call: 1 MiB.
pub const CALL_BYTES: u32 = 1 << 20;
/// Most bytes that all sends of a scenario ask for: 16 MiB.
pub const TOTAL_BYTES: u64 = 16 << 20;
/// Most pieces of a [`By::Vector`], and messages of a [`By::Batch`].
pub const PIECES: u8 = 16;
/// Longest wait of one step, in microseconds: a second.
pub const WAIT_US: u32 = 1_000_000;
/// Most descriptors and children that hold one socket.
pub const HOLDERS: usize = 8;
/// Longest lane name in bytes.
pub const NAME_BYTES: usize = 16;

/// A scenario that cannot be run as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// No pair, or more than [`PAIRS`].
    #[error("{0} pairs, 1 to {PAIRS} are supported")]
    Pairs(u8),
    /// A lane or an option of a pair that is not there.
    #[error("pair {0} is not there: the scenario has {1}, counted from 0")]
    Pair(u8, u8),
    /// A wire on loopback, or one that is slower or worse than any that a scenario could finish on.
    #[error(
        "such a wire is not supported: use veth or bridge, a delay of at most {WAIT_US} us, a loss of at most 500"
    )]
    Wire,
    /// More lanes than [`LANES`].
    #[error("{0} lanes, at most {LANES} are supported")]
    Lanes(usize),
    /// A lane name that is empty, too long, taken, or not lower-case letters, digits and `-`.
    #[error("bad lane name {0:?}: use a unique name of lower-case letters, digits and '-'")]
    LaneName(String),
    /// More steps than [`STEPS`].
    #[error("{0} steps, at most {STEPS} are supported")]
    Steps(usize),
    /// A step of a lane that is not there, or a signal to one.
    #[error("step {0} is of a lane that the scenario does not have")]
    Lane(usize),
    /// The first step has nothing to be released together with.
    #[error("the first step begins with no other: leave out \"with\"")]
    With,
    /// A step that waits for more than [`WAIT_US`].
    #[error("step {0} waits for more than {WAIT_US} us")]
    Wait(usize),
    /// An option in force before the first step that makes a close wait for more than [`WAIT_US`].
    #[error("an option lingers too long: use at most {} s", WAIT_US / 1_000_000)]
    Linger,
    /// A call of more than [`CALL_BYTES`].
    #[error("step {0} asks for more than {CALL_BYTES} bytes")]
    CallBytes(usize),
    /// A buffer that is torn beyond its own length.
    #[error(
        "step {0} has a torn buffer with no unmapped byte: its mapped part must be shorter than the call"
    )]
    Torn(usize),
    /// A call that cannot do what the flags or the buffer ask for.
    #[error("step {0}: {1}")]
    By(usize, &'static str),
    /// An op that this endpoint cannot do.
    #[error("step {0}: only a client can connect")]
    Connect(usize),
    /// More holders of a socket than [`HOLDERS`].
    #[error("step {0} gives a socket more holders than {HOLDERS}")]
    Holders(usize),
    /// More connections than [`CONNECTIONS`].
    #[error("{0} connections, at most {CONNECTIONS} are supported")]
    Connections(usize),
    /// More payload than [`TOTAL_BYTES`].
    #[error("all sends together ask for {0} bytes, at most {TOTAL_BYTES} are supported")]
    TotalBytes(u64),
}

/// Whether a lane may be called this.
#[must_use]
pub fn is_lane_name(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Checks that a scenario can be run.
///
/// # Errors
/// The first limit that it exceeds.
pub fn check(scenario: &Scenario) -> Result<(), Excess> {
    network(scenario)?;
    lanes(&scenario.lanes)?;
    let pairs = scenario.lanes.iter().map(|lane| lane.pair);
    let pairs = pairs.chain(scenario.setup.iter().map(|setup| setup.pair));
    if let Some(pair) = pairs.into_iter().find(|&pair| pair >= scenario.pairs) {
        return Err(Excess::Pair(pair, scenario.pairs));
    }
    if scenario.setup.iter().any(|setup| lingers_too_long(setup.option)) {
        return Err(Excess::Linger);
    }
    if scenario.steps.len() > STEPS {
        return Err(Excess::Steps(scenario.steps.len()));
    }
    let (mut total, mut connections) = (0, usize::from(scenario.pairs));
    let mut holders = [[1usize; 2]; PAIRS as usize];
    for (at, step) in scenario.steps.iter().enumerate() {
        let Some(lane) = scenario.lanes.get(usize::from(step.lane)) else {
            return Err(Excess::Lane(at));
        };
        one(at, step, lane, scenario.lanes.len())?;
        match step.op {
            Op::Send { len, .. } => total += u64::from(len),
            Op::Connect => connections += 1,
            Op::Dup | Op::Fork => {
                let held = &mut holders[usize::from(lane.pair)][lane.endpoint.index()];
                *held += 1;
                if *held > HOLDERS {
                    return Err(Excess::Holders(at));
                }
            }
            _ => {}
        }
    }
    if total > TOTAL_BYTES {
        return Err(Excess::TotalBytes(total));
    }
    if connections > CONNECTIONS {
        return Err(Excess::Connections(connections));
    }
    Ok(())
}

fn network(scenario: &Scenario) -> Result<(), Excess> {
    if !(1..=PAIRS).contains(&scenario.pairs) {
        return Err(Excess::Pairs(scenario.pairs));
    }
    let Wire { delay_us, loss_permille } = scenario.wire;
    let none = scenario.wire == Wire::default();
    if scenario.topology == Topology::Loopback && !none || delay_us > WAIT_US || loss_permille > 500
    {
        return Err(Excess::Wire);
    }
    Ok(())
}

fn lanes(lanes: &[Lane]) -> Result<(), Excess> {
    if lanes.len() > LANES {
        return Err(Excess::Lanes(lanes.len()));
    }
    for (at, lane) in lanes.iter().enumerate() {
        let before = &lanes[..at];
        if !is_lane_name(&lane.name) || before.iter().any(|other| other.name == lane.name) {
            return Err(Excess::LaneName(lane.name.clone()));
        }
    }
    Ok(())
}

/// One step, by itself.
fn one(at: usize, step: &Step, lane: &Lane, lanes: usize) -> Result<(), Excess> {
    match step.when {
        When::With { .. } if at == 0 => return Err(Excess::With),
        When::With { after_us } if after_us > WAIT_US => return Err(Excess::Wait(at)),
        _ => {}
    }
    match step.op {
        Op::Send { len, flags, buffer, by } => {
            transfer(at, len, buffer)?;
            // sendfile(2) has no flags, and splice(2) one that means MSG_MORE
            let known = if by.is_piped() { SendFlags::MORE } else { SendFlags::empty() };
            call(at, by, (flags - known).is_empty(), buffer)
        }
        Op::Recv { len, flags, buffer, by } => {
            transfer(at, len, buffer)?;
            let each = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::OOB;
            match by {
                By::File => return Err(Excess::By(at, "sendfile(2) does not receive")),
                // each message would see the same bytes, or leave no trace of how many there were
                By::Batch(_) if flags.intersects(each) => {
                    return Err(Excess::By(at, "a batch takes bytes in order, and all of them"));
                }
                _ => {}
            }
            call(at, by, flags.is_empty(), buffer)
        }
        Op::Wait { timeout_ms, .. } if timeout_ms > WAIT_US / 1_000 => Err(Excess::Wait(at)),
        Op::Pause(us) if us > WAIT_US => Err(Excess::Wait(at)),
        Op::Set(option) if lingers_too_long(option) => Err(Excess::Wait(at)),
        Op::Signal { lane, .. } if usize::from(lane) >= lanes => Err(Excess::Lane(at)),
        Op::Connect if lane.endpoint == Endpoint::Server => Err(Excess::Connect(at)),
        _ => Ok(()),
    }
}

fn lingers_too_long(option: SockOption) -> bool {
    matches!(option, SockOption::Linger(seconds) if seconds > WAIT_US / 1_000_000)
}

fn transfer(at: usize, len: u32, buffer: Buffer) -> Result<(), Excess> {
    if len > CALL_BYTES {
        return Err(Excess::CallBytes(at));
    }
    if matches!(buffer, Buffer::Torn(mapped) if mapped >= len) {
        return Err(Excess::Torn(at));
    }
    Ok(())
}

/// What the call can be asked for. `splice(2)` and `sendfile(2)` know no buffers, and wait for the socket unless that
/// has `O_NONBLOCK` (`tcp_splice_read`, `splice_to_socket`): `SPLICE_F_NONBLOCK` is about the pipe.
fn call(at: usize, by: By, plain: bool, buffer: Buffer) -> Result<(), Excess> {
    match by {
        By::Call => Ok(()),
        By::Vector(n) | By::Batch(n) if !(1..=PIECES).contains(&n) => {
            Err(Excess::By(at, "1 to 16 pieces are supported"))
        }
        By::Vector(_) => Ok(()),
        By::Splice | By::Tee | By::File if !plain => {
            Err(Excess::By(at, "splice(2) and sendfile(2) have no such flag"))
        }
        _ if buffer != Buffer::Mapped => Err(Excess::By(at, "this call has a mapped buffer only")),
        _ => Ok(()),
    }
}
