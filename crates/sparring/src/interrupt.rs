//! Ctrl-C, and being asked to end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::exit::Failure;

/// A flag that is set by the first `SIGINT`, `SIGTERM` or `SIGHUP`, so that work in progress can be kept. A
/// second one ends the process at once.
pub fn flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // in this order, so that the first signal finds the flag still unset and does not end the process
        signal_hook::flag::register_conditional_shutdown(signal, 69, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(unwatched)?;
    }
    Ok(flag)
}

/// A flag that is set by every signal that asks to end, which then do no more than that: for who has something to put
/// back, and ends at once.
pub fn mere_flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(unwatched)?;
    }
    Ok(flag)
}

fn unwatched(error: std::io::Error) -> Failure {
    Failure::Harness(format!("cannot watch for signals: {error}"))
}
