//! sock_ops programs and their skeletons: what pairs the endpoints of a connection.
//!
//! [`Attached::attach`] loads one of ours or somebody else's object and attaches it to a cgroup, whose sockets
//! it then sees being established. Ours leave their results in a map, one entry per endpoint, from which
//! [`Attached::take`] takes them. They can be told to pair otherwise ([`Attached::attempt`]), and all can be detached
//! for a while.

mod attach;
mod layout;
mod log;
mod skeleton;
mod syscalls;

pub use attach::{Attached, Kind, Reports};
pub use layout::{Answer, Attempt};

/// Why no program could be attached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel lacks the kfunc of this name, or does not let sock_ops programs call it.
    #[error(
        "the kernel has no kfunc {0} for sock_ops programs: load its module or boot another kernel"
    )]
    NoKfunc(String),
    /// The kernel does not describe its types, without which no kfunc can be called.
    #[error(
        "no /sys/kernel/btf/vmlinux: build the kernel with CONFIG_DEBUG_INFO_BTF and mount sysfs"
    )]
    NoBtf,
    /// The object cannot be opened, loaded or attached; with libbpf's and the verifier's words.
    #[error("the sock_ops object is of no use: {0}")]
    BadObject(String),
    /// Something around it is missing, such as the cgroup.
    #[error("{0}")]
    Environment(String),
}
