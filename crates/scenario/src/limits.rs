//! What every scenario respects, whoever wrote it.

use crate::case::{Endpoint, Scenario};
use crate::op::{Buffer, Op};

/// Most lanes in a scenario. This slice has one lane per endpoint.
pub const LANES: usize = 2;
/// Most steps in a scenario.
pub const STEPS: usize = 256;
/// Most bytes in one call: 1 MiB.
pub const CALL_BYTES: u32 = 1 << 20;
/// Most bytes that all sends of a scenario ask for: 16 MiB.
pub const TOTAL_BYTES: u64 = 16 << 20;
/// Longest lane name in bytes.
pub const NAME_BYTES: usize = 16;

/// A scenario that cannot be run as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// More lanes than [`LANES`].
    #[error("{0} lanes, at most {LANES} are supported")]
    Lanes(usize),
    /// Two lanes on one endpoint.
    #[error("two lanes on the {0}, one per endpoint is supported")]
    SharedEndpoint(Endpoint),
    /// A lane name that is empty, too long, taken, or not lower-case letters, digits and `-`.
    #[error("bad lane name {0:?}: use a unique name of lower-case letters, digits and '-'")]
    LaneName(String),
    /// More steps than [`STEPS`].
    #[error("{0} steps, at most {STEPS} are supported")]
    Steps(usize),
    /// A step of a lane that is not there.
    #[error("step {0} is of a lane that the scenario does not have")]
    Lane(usize),
    /// A call of more than [`CALL_BYTES`].
    #[error("step {0} asks for more than {CALL_BYTES} bytes")]
    CallBytes(usize),
    /// A buffer that is torn beyond its own length.
    #[error(
        "step {0} has a torn buffer with no unmapped byte: its mapped part must be shorter than the call"
    )]
    Torn(usize),
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
    if scenario.lanes.len() > LANES {
        return Err(Excess::Lanes(scenario.lanes.len()));
    }
    for (at, lane) in scenario.lanes.iter().enumerate() {
        let before = &scenario.lanes[..at];
        if !is_lane_name(&lane.name) || before.iter().any(|other| other.name == lane.name) {
            return Err(Excess::LaneName(lane.name.clone()));
        }
        if before.iter().any(|other| other.endpoint == lane.endpoint) {
            return Err(Excess::SharedEndpoint(lane.endpoint));
        }
    }
    if scenario.steps.len() > STEPS {
        return Err(Excess::Steps(scenario.steps.len()));
    }
    let mut total = 0;
    for (at, step) in scenario.steps.iter().enumerate() {
        if usize::from(step.lane) >= scenario.lanes.len() {
            return Err(Excess::Lane(at));
        }
        if let Op::Send { len, buffer, .. } | Op::Recv { len, buffer, .. } = step.op {
            if len > CALL_BYTES {
                return Err(Excess::CallBytes(at));
            }
            if matches!(buffer, Buffer::Torn(mapped) if mapped >= len) {
                return Err(Excess::Torn(at));
            }
        }
        if let Op::Send { len, .. } = step.op {
            total += u64::from(len);
        }
    }
    if total > TOTAL_BYTES {
        return Err(Excess::TotalBytes(total));
    }
    Ok(())
}
