//! Some lanes run freely for a while: each makes several steps without regard to the others.

use scenario::{Buffer, By, Endpoint, Op, RecvFlags, SendFlags, Step, When};

use super::Composer;
use crate::draw::Draw;
use crate::model::SAFE;

/// How the receivers of a stretch wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// They sleep, and ask for no more than is sent, so that all of them end.
    Measured,
    /// The same, each waiting for all that it asks for.
    All,
    /// They do not sleep.
    None,
    /// They sleep and ask for anything; some of them may not end.
    Reckless,
}

const PATIENCE: &[(Patience, u32)] =
    &[(Patience::Measured, 45), (Patience::All, 25), (Patience::None, 25), (Patience::Reckless, 5)];

/// Makes one where lanes of both endpoints of a pair are awake.
pub(super) fn make(composer: &mut Composer<'_>, draw: &mut Draw<'_>) -> bool {
    let sender = draw.pick(&Endpoint::BOTH);
    let able = composer.able();
    let on = |endpoint| -> Vec<u8> {
        able.iter().copied().filter(|lane| composer.lane(*lane).endpoint == endpoint).collect()
    };
    let (senders, receivers) = (on(sender), on(sender.peer()));
    let (Some(first), false) = (senders.first(), receivers.is_empty()) else {
        return false;
    };
    if composer.turn(*first).pair.output_over(sender) {
        return false;
    }
    let patience = draw.weighted(PATIENCE).unwrap_or(Patience::None);
    let patience = if composer.swarm.sleeps { patience } else { Patience::None };
    let mut each: Vec<(u8, Vec<Op>)> = Vec::new();
    let sent = sends(composer, draw, &senders, &mut each);
    receives(draw, &receivers, patience, sent, &mut each);

    let mut group = Vec::new();
    let longest = each.iter().map(|(_, ops)| ops.len()).max().unwrap_or(0);
    for at in 0..longest {
        for (lane, ops) in &each {
            let Some(&op) = ops.get(at) else { continue };
            let pause = if draw.chance(90) { 0 } else { draw.pick(&[1, 5, 20, 50]) };
            let when = match (group.is_empty(), patience) {
                (true, Patience::Reckless) => When::Start,
                (true, _) => When::Then,
                _ => When::With { after_us: pause },
            };
            group.push(Step { lane: *lane, when, op, expect: None });
        }
    }
    composer.group(group);
    true
}

/// The sends of each sender; how many bytes they are.
fn sends(
    composer: &Composer<'_>,
    draw: &mut Draw<'_>,
    senders: &[u8],
    each: &mut Vec<(u8, Vec<Op>)>,
) -> u32 {
    let flow = *composer.turn(senders[0]).pair.outbound(composer.lane(senders[0]).endpoint);
    let room = SAFE.saturating_sub(flow.most);
    let largest = draw.pick(&[8, 100, 600, 2000, 9000]);
    let by_turns = draw.chance(40);
    let zerocopy = composer.swarm.odds.zerocopy > 0;
    let mut sent = 0;
    for &lane in senders {
        let n = draw.within(5..=20);
        let ops = (0..n).map(|at| {
            let len = draw.within(1..=largest).min(room.saturating_sub(sent)).max(1);
            sent += len;
            let last = at + 1 == n;
            let mut op =
                Op::Send { len, flags: SendFlags::NOSIGNAL, buffer: Buffer::Mapped, by: By::Call };
            // what TCP has to take, or what only few scenarios do
            let odd = by_turns && !last && draw.chance(40);
            match (&mut op, draw.below(3)) {
                (Op::Send { flags, .. }, 0..2) if odd => flags.insert(SendFlags::MORE),
                (Op::Send { flags, .. }, _) if odd && zerocopy => flags.insert(SendFlags::ZEROCOPY),
                (Op::Send { flags, by, .. }, _) if odd => {
                    (*flags, *by) = (SendFlags::empty(), By::File);
                }
                _ => {}
            }
            op
        });
        each.push((lane, ops.collect()));
    }
    sent
}

/// The receives of each receiver.
fn receives(
    draw: &mut Draw<'_>,
    receivers: &[u8],
    patience: Patience,
    sent: u32,
    each: &mut Vec<(u8, Vec<Op>)>,
) {
    let counts: Vec<u32> = receivers.iter().map(|_| draw.within(5..=20)).collect();
    let fair = (sent / counts.iter().sum::<u32>()).max(1);
    let mut left = sent;
    for (&lane, &n) in receivers.iter().zip(&counts) {
        let mut all = Vec::new();
        for _ in 0..n {
            let wanted = draw.within(1..=(2 * fair).max(2));
            let len = match patience {
                Patience::Measured | Patience::All if left == 0 => break,
                Patience::Measured | Patience::All => wanted.min(left),
                Patience::None | Patience::Reckless => wanted,
            };
            left = left.saturating_sub(len);
            let flags = match patience {
                Patience::All => RecvFlags::WAITALL,
                Patience::None => RecvFlags::DONTWAIT,
                Patience::Measured | Patience::Reckless => RecvFlags::empty(),
            };
            all.push(Op::Recv { len, flags, buffer: Buffer::Mapped, by: By::Call });
        }
        each.push((lane, all));
    }
}
