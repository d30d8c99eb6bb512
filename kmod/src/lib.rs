//! The reference implementation of `bpf_sock_splice_pair`: a kernel module that keeps the whole contract, and the
//! faults that can be planted in it.
//!
//! The module is the C beside this crate. Its sources are embedded, so that the command line can build it against
//! any kernel; its faults are read from the same `faults.def` that the C includes.

#![forbid(unsafe_code)]

mod fault;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

pub use fault::{BadFaults, Fault};

/// The module's name: that of its `.ko`, and of its directory below `/sys/module`.
pub const NAME: &str = "splice_pair";

/// The kfunc that it provides. A kernel that defines one of this name itself cannot be given another.
pub const KFUNC: &str = "bpf_sock_splice_pair";

/// Where the loaded module shows its counters, one decimal number a file: `ring_bytes` (ever written to a ring),
/// `fallbacks` (sends that went to TCP on a paired socket), `pairs` (alive now), `memory` (bytes that they hold now).
pub const COUNTERS: &str = "/sys/module/splice_pair/parameters";

/// Everything that kbuild needs, by file name.
pub const SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sources.in"));

/// The file that lists the faults.
const FAULTS: &str = "faults.def";

/// Every fault that can be planted, in the order of `faults.def`.
///
/// # Panics
/// If `faults.def` is malformed, which a test rules out.
#[must_use]
pub fn faults() -> &'static [Fault] {
    static FAULTS: LazyLock<Vec<Fault>> =
        LazyLock::new(|| fault::parse(source(self::FAULTS)).expect("faults.def is tested"));
    &FAULTS
}

/// The fault of that name.
#[must_use]
pub fn fault(name: &str) -> Option<&'static Fault> {
    faults().iter().find(|fault| fault.name == name)
}

/// The text of one source; empty where there is no such file.
fn source(name: &str) -> &'static str {
    SOURCES.iter().find(|(file, _)| *file == name).map_or("", |(_, text)| text)
}
