//! What can go wrong between power on and hello, and what of that is worth another try.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Ending, QEMU};
use crate::boot::InitramfsError;
use crate::splat::Panic;
use crate::wire::Refusal;

/// How often a boot may be tried that the emulator breaks. One in some hundred was seen to break.
const BOOTS: u32 = 4;

/// Why there is no machine to talk to.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// QEMU is not installed.
    #[error("no {QEMU} in PATH: install qemu-system-x86 and util-linux")]
    NoQemu,
    /// No initramfs.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// A file or directory of the specification is not usable.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// The host ran out of something.
    #[error("the machine cannot be started: {0}")]
    Host(#[from] io::Error),
    /// QEMU refused to run.
    #[error("{QEMU} ended with code {code} before the guest came up: {}", .stderr.trim())]
    Start {
        /// Its exit code.
        code: i32,
        /// What it said.
        stderr: String,
    },
    /// The kernel panicked before the agent ran.
    #[error("the kernel panicked while booting: {}", .0.headline)]
    Panicked(Panic),
    /// The emulator broke the kernel.
    #[error("QEMU's translator broke the kernel while it booted: {}", .0.headline)]
    Emulated(Panic),
    /// The time was up, and the console is empty.
    #[error("nothing on the console after {} s: is it a bzImage for x86-64 with SERIAL_8250_CONSOLE?", .0.as_secs())]
    Silent(Duration),
    /// The time was up while the kernel was talking.
    #[error("no hello from the agent after {} s; the console ends with:\n{console}", .limit.as_secs())]
    NoHello {
        /// The time it had.
        limit: Duration,
        /// The last lines of the console.
        console: String,
    },
    /// The agent could not do its work in this kernel.
    #[error("the agent could not start: {0}")]
    Agent(String),
    /// The guest cannot see the host's files.
    #[error("the guest refused: {0:?}")]
    Refused(Refusal),
    /// The machine ended otherwise.
    #[error("the machine ended while booting: {ending}; the console ends with:\n{console}")]
    Ended {
        /// How.
        ending: Ending,
        /// The last lines of the console.
        console: String,
    },
}

/// Boots; again, where the emulator broke the boot.
pub(super) fn again_where_emulated<T>(
    boot: impl Fn() -> Result<T, BootError>,
) -> Result<T, BootError> {
    for _ in 1..BOOTS {
        match boot() {
            Err(error @ BootError::Emulated(_)) => tracing::warn!("{error}; booting again"),
            booted => return booted,
        }
    }
    boot()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test_log::test]
    fn only_what_the_emulator_broke_is_booted_again() {
        let panic =
            || Panic { headline: "Oops: int3 in sched_clock_cpu".into(), text: String::new() };
        let emulated = || BootError::Emulated(panic());
        let panicked = || BootError::Panicked(panic());
        for (error, boots) in [(&emulated as &dyn Fn() -> BootError, BOOTS), (&panicked, 1)] {
            let tried = Cell::new(0);
            let result: Result<(), _> = again_where_emulated(|| {
                tried.set(tried.get() + 1);
                Err(error())
            });
            assert!(result.is_err());
            assert_eq!(tried.get(), boots);
        }
    }

    #[test_log::test]
    fn a_boot_that_works_the_second_time_works() {
        let panic = || Panic { headline: "Oops: int3 in f".into(), text: String::new() };
        let tried = Cell::new(0);
        let result = again_where_emulated(|| {
            tried.set(tried.get() + 1);
            if tried.get() == 1 { Err(BootError::Emulated(panic())) } else { Ok(tried.get()) }
        });
        assert_eq!(result.unwrap(), 2);
    }
}
