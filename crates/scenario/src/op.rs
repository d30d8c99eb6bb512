//! What a lane can do in one step.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

bitflags! {
    /// Flags of `send(2)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct SendFlags: u8 {
        /// `MSG_DONTWAIT`
        const DONTWAIT = 1;
        /// `MSG_MORE`
        const MORE = 2;
        /// `MSG_NOSIGNAL`
        const NOSIGNAL = 4;
        /// `MSG_OOB`
        const OOB = 8;
    }

    /// Flags of `recv(2)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct RecvFlags: u8 {
        /// `MSG_DONTWAIT`
        const DONTWAIT = 1;
        /// `MSG_PEEK`
        const PEEK = 2;
        /// `MSG_TRUNC`: count and consume, leave the buffer alone (`tcp(7)`)
        const TRUNC = 4;
        /// `MSG_WAITALL`
        const WAITALL = 8;
        /// `MSG_OOB`: the urgent byte
        const OOB = 16;
    }

    /// What `poll(2)` reports. The bits are the kernel's.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct Ready: u16 {
        /// `POLLIN`
        const IN = 0x001;
        /// `POLLPRI`
        const PRI = 0x002;
        /// `POLLOUT`
        const OUT = 0x004;
        /// `POLLERR`
        const ERR = 0x008;
        /// `POLLHUP`
        const HUP = 0x010;
        /// `POLLRDNORM`
        const RDNORM = 0x040;
        /// `POLLWRNORM`
        const WRNORM = 0x100;
        /// `POLLRDHUP`
        const RDHUP = 0x2000;
    }
}

/// The memory that a call is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Buffer {
    /// All of it is mapped.
    #[default]
    Mapped,
    /// None of it is mapped: touching it gives `EFAULT`.
    Unmapped,
    /// Its first so many bytes are mapped, the rest is not.
    Torn(u32),
}

/// Which half `shutdown(2)` ends.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, EnumIter,
)]
#[strum(serialize_all = "kebab-case")]
pub enum How {
    /// `SHUT_RD`
    Rd,
    /// `SHUT_WR`
    Wr,
    /// `SHUT_RDWR`
    Rdwr,
}

/// A socket option (or file status flag) and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SockOption {
    /// `TCP_CORK`
    Cork(bool),
    /// `TCP_NODELAY`
    NoDelay(bool),
    /// `O_NONBLOCK`, by `fcntl(2)`
    NonBlock(bool),
    /// `SO_RCVBUF` in bytes, as given to `setsockopt(2)` (the kernel doubles it)
    RcvBuf(u32),
    /// `SO_SNDBUF` in bytes, as given to `setsockopt(2)` (the kernel doubles it)
    SndBuf(u32),
    /// `SO_RCVLOWAT` in bytes
    RcvLowat(u32),
}

/// One step of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// `send(2)`: the next `len` bytes of the lane's payload.
    Send {
        /// Length in bytes.
        len: u32,
        /// Call flags.
        flags: SendFlags,
        /// The memory sent from.
        buffer: Buffer,
    },
    /// `recv(2)`
    Recv {
        /// Length of the buffer in bytes.
        len: u32,
        /// Call flags.
        flags: RecvFlags,
        /// The memory received into.
        buffer: Buffer,
    },
    /// `setsockopt(2)`, or `fcntl(2)` for [`SockOption::NonBlock`].
    Set(SockOption),
    /// `poll(2)` for everything, with timeout 0.
    Poll,
    /// `ioctl(SIOCINQ)`
    Inq,
    /// `ioctl(SIOCOUTQ)`
    Outq,
    /// `getsockopt(SO_ERROR)`: reads and clears the pending error.
    SoError,
    /// `shutdown(2)`
    Shutdown(How),
    /// `close(2)`
    Close,
    /// `SO_LINGER` with a zero timeout, then `close(2)`: sends a reset (`tcp(7)`).
    Abort,
}
