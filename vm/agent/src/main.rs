//! GUEST: PID 1, runs what the host sends.
//!
//! PID 1 only mounts, waits and switches off. The work is done by a child of it, so that whatever happens to the
//! worker, a panic included, the guest ends in order and the host can tell it from a kernel that died.

#![forbid(unsafe_code)]

mod checkup;
mod files;
mod init;
mod program;
mod stock;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

/// The worker's argument.
const WORKER: &str = "worker";

/// Says something to whoever reads the console; the host repeats it where the agent gives up.
fn say(words: &str) {
    for line in words.lines().filter(|line| !line.is_empty()) {
        // at once: the kernel writes to the same console, and between two writes it may
        let line = format!("{}{line}\n", vm::wire::AGENT_MARK);
        // nobody is left to be told where that fails
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| say(&info.to_string())));
    let result = if std::env::args().nth(1).as_deref() == Some(WORKER) {
        worker::run()
    } else if std::process::id() == 1 {
        init::run()
    } else {
        Err(anyhow::anyhow!(
            "this is the first process of a guest; boot one with `./sparring shell`"
        ))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
