//! What can go wrong between power on and hello, and what of that is worth another try.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Ending, QEMU};
use crate::accel::Accel;
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
    #[error("the machine ended while booting: {ending:?}; the console ends with:\n{console}")]
    Ended {
        /// How.
        ending: Ending,
        /// The last lines of the console.
        console: String,
    },
}

impl BootError {
    /// Whether the emulator, not the kernel, ended the boot.
    ///
    /// The kernel patches its code while other processors run it: a breakpoint first, the rest behind it, then the
    /// first byte (`smp_text_poke_batch_finish()`, `arch/x86/kernel/alternative.c`). Who meets the breakpoint asks what was
    /// to be there. QEMU's translator lets a processor run the breakpoint out of its translation for a moment
    /// after it was removed; nobody knows it any more by then, and `exc_int3()` dies. It happens while booting, when
    /// most static keys are flipped.
    fn is_emulators(&self, accel: Accel) -> bool {
        let BootError::Panicked(panic) = self else { return false };
        accel == Accel::Tcg && panic.headline.starts_with("Oops: int3")
    }
}

/// Boots; again, where the emulator broke the boot.
pub(super) fn again_where_emulated<T>(
    accel: Accel,
    boot: impl Fn() -> Result<T, BootError>,
) -> Result<T, BootError> {
    for _ in 1..BOOTS {
        match boot() {
            Err(error) if error.is_emulators(accel) => {
                tracing::warn!("{error}: a known weakness of QEMU's emulation; booting again");
            }
            booted => return booted,
        }
    }
    boot()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn panicked(headline: &str) -> BootError {
        BootError::Panicked(Panic { headline: headline.to_owned(), text: String::new() })
    }

    #[test_log::test]
    fn only_what_the_emulator_broke_is_booted_again() {
        let int3 = "Oops: int3 in sched_clock_cpu";
        for (headline, accel, boots) in [
            (int3, Accel::Tcg, BOOTS),
            (int3, Accel::Kvm, 1),
            ("BUG: kernel NULL pointer dereference in f", Accel::Tcg, 1),
        ] {
            let tried = Cell::new(0);
            let result: Result<(), _> = again_where_emulated(accel, || {
                tried.set(tried.get() + 1);
                Err(panicked(headline))
            });
            assert!(matches!(result, Err(BootError::Panicked(_))));
            assert_eq!(tried.get(), boots, "{headline} under {accel}");
        }
    }

    #[test_log::test]
    fn a_boot_that_works_the_second_time_works() {
        let tried = Cell::new(0);
        let result = again_where_emulated(Accel::Tcg, || {
            tried.set(tried.get() + 1);
            if tried.get() == 1 { Err(panicked("Oops: int3 in f")) } else { Ok(tried.get()) }
        });
        assert_eq!(result.unwrap(), 2);
    }
}
