//! The kernel's complaints: what on the console is one, where it ends, and what it is called.
//!
//! What counts is data: `splats/deny.txt`, `splats/allow.txt` and `splats/frames.txt`, with recorded consoles in
//! `splats/fixtures` as their tests.

mod headline;
mod policy;
mod watch;

pub use watch::{Panic, Watch};

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

/// Which part of the kernel complains, by the names of `splats/deny.txt`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum SplatKind {
    /// The end of the kernel, where nothing before it said why.
    Panic,
    /// A wrong access that KASAN found.
    Kasan,
    /// A data race that KCSAN found.
    Kcsan,
    /// A wrong access that KFENCE found.
    Kfence,
    /// Use of uninitialised memory that KMSAN found.
    Kmsan,
    /// Undefined behaviour that UBSAN found.
    Ubsan,
    /// Lock order or RCU usage that lockdep found.
    Lockdep,
    /// A reference count that over- or underflowed.
    Refcount,
    /// A corrupt linked list.
    List,
    /// Corrupt pages or slab objects.
    Memory,
    /// An object used beyond its lifetime (`CONFIG_DEBUG_OBJECTS`).
    Object,
    /// Memory or references that nobody holds any more.
    Leak,
    /// A socket in a state that it must not be in.
    Socket,
    /// Sleeping where that is forbidden.
    Atomic,
    /// An RCU grace period that does not end.
    RcuStall,
    /// A task that waits, uninterruptibly, for too long.
    HungTask,
    /// A processor that does not come back from the kernel.
    Lockup,
    /// A fault in kernel mode.
    Oops,
    /// `BUG()`, and what calls itself one.
    Bug,
    /// `WARN()`
    Warning,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splat {
    /// Who complains.
    pub kind: SplatKind,
    /// The same for every time that the same thing goes wrong: without addresses, offsets, pids and
    /// processor numbers, but with the function and, where the kernel prints them, file and line.
    pub headline: String,
    /// The report as it stood on the console, with timestamps.
    pub text: String,
}

#[cfg(test)]
mod tests;
