//! How long a guest waits for a call that does not return.
//!
//! A boot is always the same work, so the time it took says how fast the machine is: under emulation, with an
//! instrumented kernel, on a loaded host. Time limits are counted in boots of the machine they are for.

use std::time::Duration;

use scenario::history::Bounds;

/// How patient the guest is with the calls of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// So patient that only what is broken reaches the end.
    Judging,
    /// For replays: most of what is tried either returns at once or never does.
    Replaying,
    /// For a campaign on a kernel on which calls are known to hang.
    Hurried,
}

impl Patience {
    fn boots(self) -> f64 {
        match self {
            Patience::Judging => 4.0,
            Patience::Replaying => 1.0,
            Patience::Hurried => 0.5,
        }
    }
}

/// Time limits for scenarios on a machine that took so many seconds to boot.
///
/// The last bound is short: with nothing unacknowledged nothing in TCP can bring more, so waiting only allows for an
/// implementation that hands bytes over a little late, and every scenario that loses bytes pays it.
#[must_use]
pub fn bounds(boot_s: f64, patience: Patience) -> Bounds {
    let boot_ms = (boot_s * 1e3).clamp(750.0, 7_500.0);
    let ms = boot_ms * patience.boots();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let ms = ms as u32;
    Bounds { call_ms: ms, drain_ms: ms, settle_ms: 50 }
}

/// How long connecting may take on such a machine. What a wire loses of a handshake is sent again after 1, 3, 7 and 15 s
/// (RFC 6298, 5.5), and with a few percent of loss one in thousands of connections needs the third try.
#[must_use]
pub fn to_connect(boot_s: f64) -> Duration {
    const FOURTH_TRY: Duration = Duration::from_secs(16);
    FOURTH_TRY.max(Duration::from_millis(bounds(boot_s, Patience::Judging).call_ms.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn bounds_follow_the_machine() {
        let calls = |patience| [0.3, 1.5, 25.0].map(|boot_s: f64| bounds(boot_s, patience).call_ms);
        assert_eq!(calls(Patience::Judging), [3_000, 6_000, 30_000]);
        assert_eq!(calls(Patience::Replaying), [750, 1_500, 7_500]);
        assert_eq!(calls(Patience::Hurried), [375, 750, 3_750]);
        assert_eq!([1.5, 25.0].map(to_connect), [16, 30].map(Duration::from_secs));
    }
}
