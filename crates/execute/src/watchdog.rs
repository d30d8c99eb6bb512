//! What ends a call that does not return, and what counts `SIGPIPE`.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr;
use std::time::Duration;

use libc::c_int;

use crate::Error;

/// Sent to the executor's thread once the bound is over.
const ALARM: c_int = libc::SIGALRM;

thread_local! {
    /// TCP raises `SIGPIPE` on the thread that called (`sk_stream_error`).
    static SIGPIPES: Cell<u32> = const { Cell::new(0) };
}

extern "C" fn interrupt(_: c_int) {}

extern "C" fn count(_: c_int) {
    // a constant thread-local without destructor is plain memory, so this is safe to do in a signal's context
    SIGPIPES.set(SIGPIPES.get().wrapping_add(1));
}

/// How often the calling thread got `SIGPIPE` since this was last asked.
pub(crate) fn take_sigpipes() -> u32 {
    SIGPIPES.replace(0)
}

/// A timer that sends a signal to its thread over and over, one bound apart: what sleeps then returns `EINTR`.
///
/// It repeats because a signal that comes just before the thread goes to sleep wakes nobody.
#[derive(Debug)]
pub(crate) struct Watchdog {
    timer: libc::timer_t,
    bound: Duration,
    /// The signal goes to the thread that made it: it must stay there.
    _thread: PhantomData<*mut ()>,
}

impl Watchdog {
    /// A stopped watchdog for the calling thread.
    pub(crate) fn new(bound: Duration) -> Result<Watchdog, Error> {
        let failed = |call| Error::Resource(call, io::Error::last_os_error());
        // without SA_RESTART, or a blocked call would go on after the signal (signal(7))
        install(ALARM, interrupt).map_err(|e| Error::Resource("install a SIGALRM action", e))?;
        install(libc::SIGPIPE, count)
            .map_err(|e| Error::Resource("install a SIGPIPE action", e))?;
        unblock().map_err(|e| Error::Resource("unblock SIGALRM and SIGPIPE", e))?;
        // SAFETY: sigevent is a C structure for which all zeroes is a value
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = ALARM;
        // SAFETY: no arguments, cannot fail
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both pointers are to locals of the right type that outlive the call
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) } != 0
        {
            return Err(failed("create a timer"));
        }
        Ok(Watchdog { timer, bound, _thread: PhantomData })
    }

    pub(crate) fn bound(&self) -> Duration {
        self.bound
    }

    /// The next time it is started, the bound is this.
    pub(crate) fn limit(&mut self, bound: Duration) {
        self.bound = bound;
    }

    /// Signals one bound from now, and so on.
    pub(crate) fn restart(&self) {
        self.set(self.bound);
    }

    /// Signals no more.
    pub(crate) fn stop(&self) {
        self.set(Duration::ZERO);
    }

    fn set(&self, every: Duration) {
        let every = libc::timespec {
            tv_sec: libc::time_t::try_from(every.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: every.subsec_nanos().into(),
        };
        let setting = libc::itimerspec { it_interval: every, it_value: every };
        // SAFETY: the timer lives as long as self, and the old setting is not asked for. With these arguments the
        // call cannot fail
        unsafe { libc::timer_settime(self.timer, 0, &raw const setting, ptr::null_mut()) };
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // SAFETY: made by timer_create and deleted only here
        unsafe { libc::timer_delete(self.timer) };
    }
}

fn install(signal: c_int, action: extern "C" fn(c_int)) -> io::Result<()> {
    // SAFETY: sigaction is a C structure for which all zeroes is a value: no flags, an empty mask
    let mut new: libc::sigaction = unsafe { mem::zeroed() };
    new.sa_sigaction = action as *const () as libc::sighandler_t;
    // SAFETY: `action` only touches a thread-local cell, which is async-signal-safe; the old action is not
    // asked for
    result(unsafe { libc::sigaction(signal, &raw const new, ptr::null_mut()) })
}

fn unblock() -> io::Result<()> {
    // SAFETY: sigset_t is a C structure for which all zeroes is a value
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the set is a local of the right type
    result(unsafe { libc::sigemptyset(&raw mut set) })?;
    // SAFETY: as above, and the signal's number is valid
    result(unsafe { libc::sigaddset(&raw mut set, ALARM) })?;
    // SAFETY: as above
    result(unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) })?;
    // SAFETY: changes the mask of the calling thread only; the old one is not asked for
    match unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn result(returned: c_int) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test_log::test]
    fn a_sleeping_call_is_interrupted_after_the_bound() {
        let watchdog = Watchdog::new(Duration::from_millis(20)).unwrap();
        let begun = Instant::now();
        watchdog.restart();
        // SAFETY: no array, so nothing is accessed
        let returned = unsafe { libc::poll(ptr::null_mut(), 0, 10_000) };
        assert_eq!(returned, -1);
        assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::Interrupted);
        assert!(begun.elapsed() >= watchdog.bound());
    }

    #[test_log::test]
    fn a_stopped_one_interrupts_nothing() {
        let watchdog = Watchdog::new(Duration::from_millis(5)).unwrap();
        watchdog.restart();
        watchdog.stop();
        // SAFETY: no array, so nothing is accessed
        assert_eq!(unsafe { libc::poll(ptr::null_mut(), 0, 30) }, 0);
    }
}
