//! What a network namespace needs before sockets can be made in it.

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use libc::c_short;
use scenario::Family;

use crate::{Error, sys};

/// A setting below `/proc/sys/net/ipv4` (`Documentation/networking/ip-sysctl.rst`); all hold for IPv6, too.
struct Sysctl {
    name: &'static str,
    value: &'static str,
    /// Whether kernels that can be a target may lack it.
    optional: bool,
}

/// Each network namespace has its own (`ipv4_net_table`). None of these changes which results a call may have: they only
/// change how long things take, how much an earlier scenario is felt by a later one, and how soon a 4-tuple may be
/// used again.
const SYSCTLS: &[Sysctl] = &[
    // Every scenario takes a port. The more there are, the longer it takes until a 4-tuple comes again, so that
    // a late effect of a scenario does not hit the next one. `inet_hash_connect` wants ends of different parity.
    Sysctl { name: "ip_local_port_range", value: "1024 65535", optional: false },
    // A scenario that closes both sides in order leaves a TIME_WAIT entry for a minute: at hundreds of scenarios
    // per second some ten thousand of them. There must be room, because with a full table plain TCP forgets the
    // connection at once and answers the peer's late FIN with a reset (`tcp_time_wait`).
    Sysctl { name: "tcp_max_tw_buckets", value: "65536", optional: false },
    // The delayed ACK is at most this minus a tick (`tcp_delack_max`): with the default of 200 ms it would be 40,
    // for which Nagle holds back small segments and SIOCOUTQ stays above 0. Microseconds. Since Linux 6.11.
    Sysctl { name: "tcp_rto_min_us", value: "5000", optional: true },
    // A client that closed first leaves its 4-tuple in TIME_WAIT, and is to connect with it again after 2 ms
    // (`tcp_twsk_unique`), not after a minute. The delay, in milliseconds, since Linux 6.14.
    Sysctl { name: "tcp_tw_reuse", value: "1", optional: false },
    Sysctl { name: "tcp_tw_reuse_delay", value: "1", optional: true },
    // What a connection learned about round trips and windows would otherwise be the next one's start
    // (`tcp_update_metrics`): a replayed scenario would depend on those before it.
    Sysctl { name: "tcp_no_metrics_save", value: "1", optional: false },
];

/// Brings `lo` up, with `127.0.0.1` and `::1`, and makes it fast and repeatable.
///
/// Changes settings of the network namespace that the calling thread is in: for a guest that is ours.
///
/// # Errors
/// [`Error::Sysctl`], [`Error::Call`] and [`Error::Resource`] without root, or without a mounted proc.
pub fn prepare_network() -> Result<(), Error> {
    bring_up_lo()?;
    for sysctl in SYSCTLS {
        let path = Path::new("/proc/sys/net/ipv4").join(sysctl.name);
        match fs::write(&path, sysctl.value) {
            Err(error) if sysctl.optional && error.kind() == io::ErrorKind::NotFound => {
                tracing::debug!("this kernel has no {}", path.display());
            }
            result => result.map_err(|error| Error::Sysctl { path, error })?,
        }
    }
    Ok(())
}

/// Sets `IFF_UP` (`netdevice(7)`); the kernel then gives `lo` its addresses (`inetdev_event`, `init_loopback`).
fn bring_up_lo() -> Result<(), Error> {
    let socket = sys::tcp_socket(Family::V4, 0).map_err(|e| Error::Call("make a socket", e))?;
    // SAFETY: ifreq is a C structure for which all zeroes is a value
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    flags(&socket, libc::SIOCGIFFLAGS, &mut request, "read the flags of lo")?;
    // SAFETY: SIOCGIFFLAGS filled in this variant, and any bits make a c_short
    let before = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = before | UP;
    flags(&socket, libc::SIOCSIFFLAGS, &mut request, "bring lo up")
}

#[expect(clippy::cast_possible_truncation, reason = "the flag is 1")]
const UP: c_short = libc::IFF_UP as c_short;

fn flags(
    socket: &OwnedFd,
    call: libc::c_ulong,
    request: &mut libc::ifreq,
    what: &'static str,
) -> Result<(), Error> {
    // SAFETY: both calls read and write one ifreq, which is borrowed exclusively
    match unsafe { libc::ioctl(socket.as_raw_fd(), call, &raw mut *request) } {
        0 => Ok(()),
        _ => Err(Error::Resource(what, io::Error::last_os_error())),
    }
}
