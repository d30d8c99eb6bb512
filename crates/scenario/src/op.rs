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
        /// `MSG_ZEROCOPY`, which takes effect only with `SO_ZEROCOPY`
        const ZEROCOPY = 16;
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

/// Which call moves the bytes of a send or a receive. All of them move the same stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum By {
    /// `send(2)`, `recv(2)`
    #[default]
    Call,
    /// `sendmsg(2)`, `recvmsg(2)` with the buffer cut into so many pieces of about the same length.
    Vector(u8),
    /// `sendmmsg(2)`, `recvmmsg(2)` with so many messages of about the same length.
    Batch(u8),
    /// `IORING_OP_SEND`, `IORING_OP_RECV` of `io_uring(7)`: submitted, and its completion waited for.
    Uring,
    /// `splice(2)` from or to a pipe.
    Splice,
    /// The same, and `tee(2)` shares what is in the pipe with a second one, which is read, too: that of a send once the
    /// socket has taken its bytes. See [`crate::history::Record::copy_differs`].
    Tee,
    /// `sendfile(2)` from a file in memory. Sends only.
    File,
}

impl By {
    /// Whether the bytes go through a pipe, which knows no flags but `SPLICE_F_MORE`, and no memory of the caller's.
    #[must_use]
    pub fn is_piped(self) -> bool {
        matches!(self, By::Splice | By::Tee)
    }
}

/// Which call waits for a socket to become ready.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Waiter {
    /// `poll(2)`
    #[default]
    Poll,
    /// `select(2)`, which knows readable, writable and exceptional only
    Select,
    /// `epoll(7)`, level-triggered
    Epoll,
    /// `epoll(7)`, edge-triggered: the interest stays registered from one op of the lane to its next
    EpollEdge,
    /// `epoll(7)` with `EPOLLONESHOT`, armed anew by each op
    EpollOneshot,
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
    /// `SO_OOBINLINE`
    OobInline(bool),
    /// `SO_KEEPALIVE`, with the shortest times there are: a probe after a second
    KeepAlive(bool),
    /// `TCP_INQ`: each receive says what is left
    TcpInq(bool),
    /// `SO_ZEROCOPY`
    ZeroCopy(bool),
    /// `SO_RCVBUF` in bytes, as given to `setsockopt(2)` (the kernel doubles it)
    RcvBuf(u32),
    /// `SO_SNDBUF` in bytes, as given to `setsockopt(2)` (the kernel doubles it)
    SndBuf(u32),
    /// `SO_RCVLOWAT` in bytes
    RcvLowat(u32),
    /// `SO_PEEK_OFF`: where the next `MSG_PEEK` begins, in bytes from the next byte to receive
    PeekOff(u32),
    /// `SO_RCVTIMEO` in milliseconds, 0 for none
    RcvTimeo(u32),
    /// `SO_SNDTIMEO` in milliseconds, 0 for none
    SndTimeo(u32),
    /// `SO_BUSY_POLL` in microseconds
    BusyPoll(u32),
    /// `SO_LINGER` on, with so many seconds; 0 makes every close an abort (`tcp(7)`)
    Linger(u32),
}

/// One step of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// The next `len` bytes of the lane's payload.
    Send {
        /// Length in bytes.
        len: u32,
        /// Call flags.
        flags: SendFlags,
        /// The memory sent from.
        buffer: Buffer,
        /// Which call.
        by: By,
    },
    /// At most `len` bytes.
    Recv {
        /// Length of the buffer in bytes.
        len: u32,
        /// Call flags.
        flags: RecvFlags,
        /// The memory received into.
        buffer: Buffer,
        /// Which call.
        by: By,
    },
    /// `recvmsg(MSG_ERRQUEUE)` until there is nothing more: the value is how many `MSG_ZEROCOPY` sends were completed.
    ErrQueue,
    /// `setsockopt(2)`, or `fcntl(2)` for [`SockOption::NonBlock`].
    Set(SockOption),
    /// `poll(2)` for everything, with timeout 0.
    Poll,
    /// Waits until one of the events is there.
    Wait {
        /// What for; `POLLERR` and `POLLHUP` come unasked.
        events: Ready,
        /// How long at most, in milliseconds.
        timeout_ms: u32,
        /// Which call.
        by: Waiter,
    },
    /// `ioctl(SIOCINQ)`
    Inq,
    /// `ioctl(SIOCOUTQ)`
    Outq,
    /// `ioctl(SIOCATMARK)`
    AtMark,
    /// `getsockopt(SO_ERROR)`: reads and clears the pending error.
    SoError,
    /// `shutdown(2)`
    Shutdown(How),
    /// `dup(2)`: the socket has one holder more.
    Dup,
    /// `fork(2)`: a child process holds the socket, too.
    Fork,
    /// `close(2)` by one holder: the child if there is one, else the newest descriptor. The last one closes the
    /// socket.
    Close,
    /// `SO_LINGER` with a zero timeout, then `close(2)` by one holder: the last one sends a reset (`tcp(7)`).
    Abort,
    /// `SOCK_DESTROY` by `sock_diag(7)`: what `ss -K` does.
    Destroy,
    /// `connect(2)` with `AF_UNSPEC`
    Disconnect,
    /// `connect(2)` of the client to the listener: with the same socket where that was disconnected, with a new one
    /// from the same port where it was closed. The server's end of the old connection is closed first if it is
    /// still open.
    Connect,
    /// Takes the socket out of the SOCKHASH.
    Unhash,
    /// Replaces the socket's entry in the SOCKHASH by itself.
    Rehash,
    /// Detaches the pairing program for the rest of the scenario: pairs that exist stay, no new ones are made.
    Detach,
    /// `setsockopt(TCP_ULP, "tls")`
    Tls,
    /// `setsockopt(TCP_REPAIR)` on, and off again
    Repair,
    /// Sends a signal to the thread of another lane: with `SA_RESTART` or without.
    Signal {
        /// Index into [`crate::Scenario::lanes`].
        lane: u8,
        /// Whether its handler was installed with `SA_RESTART`.
        restart: bool,
    },
    /// Does nothing for so many microseconds.
    Pause(u32),
}

impl Op {
    /// Whether the call may sleep on a socket that has `O_NONBLOCK`, or has not.
    ///
    /// `splice(2)` and `sendfile(2)` heed nothing else (`tcp_splice_read`, `splice_to_socket`), and io_uring heeds
    /// `MSG_DONTWAIT` only: it polls for the socket (`io_recv`, `io_arm_poll_handler`).
    #[must_use]
    pub fn may_sleep(&self, nonblocking: bool) -> bool {
        let call = |by, dontwait: bool| match by {
            By::Uring => !dontwait,
            _ => !dontwait && !nonblocking,
        };
        match *self {
            Op::Send { flags, by, .. } => call(by, flags.contains(SendFlags::DONTWAIT)),
            Op::Recv { flags, by, .. } => call(by, flags.contains(RecvFlags::DONTWAIT)),
            Op::Wait { timeout_ms, .. } => timeout_ms > 0,
            Op::Connect => true,
            _ => false,
        }
    }
}
