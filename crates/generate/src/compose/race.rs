//! A few calls that are released together.

use scenario::{Op, RecvFlags, SendFlags, Step, When};

use super::Composer;
use crate::draw::Draw;
use crate::ops::{self, Name};

/// What the first lane does.
const FIRST: &[(Name, u32)] =
    &[(Name::Send, 8), (Name::Recv, 8), (Name::Wait, 2), (Name::Poll, 1), (Name::Inq, 1)];

/// What another lane does meanwhile; late in the scenario also [`ENDS`].
const OTHER: &[(Name, u32)] = &[
    (Name::Send, 12),
    (Name::Recv, 12),
    (Name::Set, 2),
    (Name::Poll, 2),
    (Name::Wait, 1),
    (Name::Inq, 1),
    (Name::Outq, 1),
    (Name::Dup, 1),
    (Name::Unhash, 1),
    (Name::Rehash, 1),
    (Name::Tls, 1),
    (Name::Repair, 1),
];

const ENDS: &[(Name, u32)] = &[
    (Name::Shutdown, 8),
    (Name::Close, 7),
    (Name::Abort, 6),
    (Name::Destroy, 4),
    (Name::Disconnect, 4),
    (Name::Detach, 1),
];

/// Delays of a lane, in microseconds.
const DELAYS: &[u32] = &[0, 0, 0, 0, 1, 5, 20, 50, 100, 200];

/// Makes one where two lanes are awake.
pub(super) fn make(composer: &mut Composer<'_>, draw: &mut Draw<'_>) -> bool {
    let mut able = composer.able();
    if able.len() < 2 {
        return false;
    }
    let lanes = if draw.chance(30) { able.len().min(3) } else { 2 };
    let leader = if draw.chance(15) { When::Start } else { When::Then };
    let mut group: Vec<Step> = Vec::new();
    for at in 0..lanes {
        let lane = able.swap_remove(draw.index(able.len()));
        let names = match at {
            0 => FIRST,
            _ if composer.model.progress >= 25 && draw.chance(40) => ENDS,
            _ => OTHER,
        };
        let name = draw.weighted(names).unwrap_or(Name::Send);
        let op = ops::make(name, draw, &composer.turn(lane));
        let op = if composer.swarm.sleeps { sleepy(op) } else { op };
        let when = if at == 0 { leader } else { When::With { after_us: draw.pick(DELAYS) } };
        group.push(Step { lane, when, op, expect: None });
    }
    // limits::HOLDERS counts them all, and the rows' own fits are not asked here
    group.retain(|step| {
        step.op != Op::Dup || composer.turn(step.lane).pair.ends.iter().all(|e| e.ever_held < 6)
    });
    if let Some(first) = group.first_mut()
        && matches!(first.when, When::With { .. })
    {
        first.when = leader;
    }
    composer.group(group);
    true
}

/// The same op where it may sleep if nothing is there.
fn sleepy(op: Op) -> Op {
    match op {
        Op::Recv { len, flags, buffer, by } => {
            Op::Recv { len, flags: flags - RecvFlags::DONTWAIT, buffer, by }
        }
        Op::Send { len, flags, buffer, by } => {
            Op::Send { len, flags: flags - SendFlags::DONTWAIT, buffer, by }
        }
        op => op,
    }
}
