//! Signals to the thread of a lane.

use std::mem;
use std::process;
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, pid_t};
use scenario::history::Errno;

use super::returned;

/// By whether its action has `SA_RESTART`.
const SIGNALS: [(c_int, c_int); 2] = [(libc::SIGUSR1, 0), (libc::SIGUSR2, libc::SA_RESTART)];

extern "C" fn notice(_: c_int) {}

/// Interrupts a thread of this process; with `restart` its call goes on by itself where `signal(7)` says that it can.
///
/// # Errors
/// `ESRCH` without such a thread.
pub(crate) fn signal_thread(thread: pid_t, restart: bool) -> Result<u32, Errno> {
    static INSTALLED: OnceLock<Result<(), Errno>> = OnceLock::new();
    (*INSTALLED.get_or_init(install))?;
    let (signal, _) = SIGNALS[usize::from(restart)];
    let process = process::id().cast_signed();
    // SAFETY: no memory involved; the signal has an action, so it ends nobody
    returned(unsafe { libc::tgkill(process, thread, signal) })
}

/// Interrupts a thread of this process, whatever it is in. One that is not in a call yet does not notice.
pub(crate) fn interrupt_thread(thread: pid_t) {
    if let Err(errno) = signal_thread(thread, false) {
        tracing::warn!("thread {thread} cannot be interrupted: {errno}");
    }
}

fn install() -> Result<(), Errno> {
    for (signal, flags) in SIGNALS {
        // SAFETY: sigaction is a C structure for which all zeroes is a value: no flags, an empty mask
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = notice as *const () as libc::sighandler_t;
        action.sa_flags = flags;
        // SAFETY: the action does nothing, so it is async-signal-safe; the old one is not asked for
        returned(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
    }
    Ok(())
}
