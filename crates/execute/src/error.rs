//! How the harness breaks.

use std::io;
use std::path::PathBuf;

use scenario::Endpoint;
use scenario::history::Errno;
use scenario::limits::Excess;

/// The harness or its environment broke: says nothing about the kernel under test.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A scenario that [`scenario::limits::check`] rejects.
    #[error("the scenario cannot be run: {0}")]
    Excess(#[from] Excess),
    /// A call that prepares a scenario failed.
    #[error("cannot {0}: {1}")]
    Call(&'static str, Errno),
    /// A call that prepares a scenario did not return in time.
    #[error("cannot {0}: no answer within the bound, is lo up? (see prepare_network)")]
    Late(&'static str),
    /// Memory, signals or timers of the executor itself.
    #[error("cannot {0}: {1}")]
    Resource(&'static str, io::Error),
    /// The kernel does not record what is covered.
    #[error(
        "the kernel records no coverage: take one with CONFIG_KCOV (--flavour kcov), and mount debugfs on \
         /sys/kernel/debug"
    )]
    NoKcov,
    /// A list of coverage points that cannot be used.
    #[error("the coverage points of {}: {why}", list.display())]
    Points {
        /// The list.
        list: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A setting of the network is missing or cannot be changed.
    #[error("cannot write {path:?}: {error}; mount proc and run as root")]
    Sysctl {
        /// The file below `/proc/sys`.
        path: PathBuf,
        /// What writing to it gave.
        error: io::Error,
    },
    /// The pairing results cannot be read.
    #[error(transparent)]
    Pairing(#[from] bpf::Error),
    /// The target is plain TCP in a SOCKHASH, and the endpoint is not in it: with what
    /// `bpf_sock_hash_update` returned, `None` if the program did not run.
    #[error(
        "the {0} is not in the SOCKHASH (update returned {1:?}): run this process in the cgroup that the program \
         is attached to"
    )]
    NotInSockhash(Endpoint, Option<i32>),
}
