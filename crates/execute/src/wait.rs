//! The ways to wait for a socket.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_ulong};
use scenario::history::Errno;
use scenario::{Ready, Waiter};

use crate::sys;
use crate::transfer::{Tools, made};

/// What makes a socket readable for `select(2)`; ERR makes it writable, too (`POLLIN_SET`, `POLLOUT_SET`, `POLLEX_SET`
/// in the kernel's `fs/select.c`). RDHUP never comes without IN (`tcp_poll`).
const READABLE: Ready =
    Ready::IN.union(Ready::RDNORM).union(Ready::RDHUP).union(Ready::HUP).union(Ready::ERR);
const WRITABLE: Ready = Ready::OUT.union(Ready::WRNORM);
const EXCEPTIONAL: Ready = Ready::PRI;

/// The `epoll(7)` descriptors of a lane.
#[derive(Debug, Default)]
pub(crate) struct Epolls {
    level: Option<OwnedFd>,
    edge: Option<Interest>,
    oneshot: Option<Interest>,
}

/// A descriptor with one registration that stays.
#[derive(Debug)]
struct Interest {
    epoll: OwnedFd,
    /// What is registered: the socket by its cookie, because a descriptor's number is used again, and the number, because
    /// a registration goes with it.
    target: (u64, RawFd),
    events: u32,
}

impl Tools {
    /// Waits until the socket is ready for one of `events`, or for `timeout_ms`: what is reported, nothing after the
    /// timeout. For [`Waiter::Select`] that is IN, OUT and PRI only: the sets that the socket is in.
    pub(crate) fn wait(
        &mut self,
        socket: BorrowedFd<'_>,
        events: Ready,
        timeout_ms: u32,
        by: Waiter,
    ) -> Result<Ready, Errno> {
        let bits = u32::from(events.bits());
        let timeout = c_int::try_from(timeout_ms).unwrap_or(c_int::MAX);
        let Epolls { level, edge, oneshot } = &mut self.epolls;
        match by {
            Waiter::Poll => sys::poll(Some(socket), events, timeout),
            Waiter::Select => select(socket, events, timeout_ms),
            Waiter::Epoll => {
                let epoll = made(level, epoll)?;
                control(epoll, libc::EPOLL_CTL_ADD, socket, bits)?;
                let result = report(epoll, timeout);
                if control(epoll, libc::EPOLL_CTL_DEL, socket, 0).is_err() {
                    // another lane closed the socket, which may have other holders: with it goes the registration
                    *level = None;
                }
                result
            }
            Waiter::EpollEdge => {
                let edge = Interest::of(edge, socket, bits | libc::EPOLLET.cast_unsigned(), false)?;
                report(edge, timeout)
            }
            Waiter::EpollOneshot => {
                let bits = bits | libc::EPOLLONESHOT.cast_unsigned();
                report(Interest::of(oneshot, socket, bits, true)?, timeout)
            }
        }
    }
}

impl Interest {
    /// The descriptor with the registration for these events, made or changed if need be. A change also arms it anew
    /// (`ep_modify`).
    fn of<'a>(
        slot: &'a mut Option<Interest>,
        socket: BorrowedFd<'_>,
        events: u32,
        arm: bool,
    ) -> Result<&'a OwnedFd, Errno> {
        let target = (sys::cookie(socket)?, socket.as_raw_fd());
        let known = slot.take_if(|interest| interest.target == target);
        let interest = match known {
            Some(interest) if interest.events == events && !arm => interest,
            Some(interest) => {
                control(&interest.epoll, libc::EPOLL_CTL_MOD, socket, events)?;
                Interest { events, ..interest }
            }
            None => {
                let epoll = epoll()?;
                control(&epoll, libc::EPOLL_CTL_ADD, socket, events)?;
                Interest { epoll, target, events }
            }
        };
        Ok(&slot.insert(interest).epoll)
    }
}

fn epoll() -> Result<OwnedFd, Errno> {
    // SAFETY: no memory involved
    sys::owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

fn control(
    epoll: &OwnedFd,
    what: c_int,
    socket: BorrowedFd<'_>,
    events: u32,
) -> Result<u32, Errno> {
    let mut event = libc::epoll_event { events, u64: 0 };
    let socket = socket.as_raw_fd();
    // SAFETY: the kernel reads one event, a local
    sys::returned(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), what, socket, &raw mut event) })
}

fn report(epoll: &OwnedFd, timeout: c_int) -> Result<Ready, Errno> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: the kernel writes at most one event, to a local
    sys::returned(unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, timeout) })?;
    Ok(Ready::from_bits_retain(u16::try_from(event.events).unwrap_or(u16::MAX)))
}

/// `pselect(2)`, with sets of our own: those of libc have no room for descriptors from 1024 on.
fn select(socket: BorrowedFd<'_>, events: Ready, timeout_ms: u32) -> Result<Ready, Errno> {
    let number = socket.as_raw_fd();
    let place = usize::try_from(number).map_err(|_| Errno(libc::EBADF))?;
    let (word, bit) = (place / WORD, (1 as c_ulong) << (place % WORD));
    let kinds = [(READABLE, Ready::IN), (WRITABLE, Ready::OUT), (EXCEPTIONAL, Ready::PRI)];
    let mut sets = kinds.map(|(asked, _)| {
        let mut set = vec![0; word + 1];
        set[word] = if events.intersects(asked) { bit } else { 0 };
        set
    });
    let timeout = libc::timespec {
        tv_sec: (timeout_ms / 1_000).into(),
        tv_nsec: (timeout_ms % 1_000 * 1_000_000).into(),
    };
    let [readable, writable, exceptional] = sets.each_mut().map(|set| set.as_mut_ptr().cast());
    let (timeout, mask) = (&raw const timeout, ptr::null());
    // SAFETY: the kernel reads and writes as many whole words of each set as it takes for `number + 1` bits
    // (core_sys_select), and all sets have them
    sys::returned(unsafe {
        libc::pselect(number + 1, readable, writable, exceptional, timeout, mask)
    })?;
    let reported = sets.iter().zip(kinds).filter(|(set, _)| set[word] & bit != 0);
    Ok(reported.map(|(_, (_, ready))| ready).collect())
}

const WORD: usize = c_ulong::BITS as usize;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use scenario::SendFlags;

    use super::*;
    use crate::buffer::Outbox;
    use crate::testing::{fd, interrupt, load, pair};

    const WAITERS: [Waiter; 5] =
        [Waiter::Poll, Waiter::Select, Waiter::Epoll, Waiter::EpollEdge, Waiter::EpollOneshot];

    #[test_log::test]
    fn each_reports_what_is_there_and_else_nothing() {
        for by in WAITERS {
            let [mut client, server] = pair();
            let mut tools = Tools::default();
            let mut wait = |events, ms| tools.wait(fd(&server), events, ms, by);
            assert_eq!(wait(Ready::IN | Ready::PRI, 0), Ok(Ready::empty()), "{by:?}");
            assert_eq!(wait(Ready::OUT, 10), Ok(Ready::OUT), "{by:?}");
            client.write_all(b"x").unwrap();
            assert_eq!(wait(Ready::IN, 1_000), Ok(Ready::IN), "{by:?}");
            let mut outbox = Outbox::new().unwrap();
            let span = load(&mut outbox, 0, 10);
            sys::send(fd(&client), span, SendFlags::OOB).unwrap();
            assert_eq!(wait(Ready::PRI, 1_000), Ok(Ready::PRI), "{by:?}");
            drop(client);
            let ready = wait(Ready::IN | Ready::RDHUP, 1_000);
            assert!(ready.is_ok_and(|ready| ready.contains(Ready::IN)), "{by:?}: {ready:?}");
        }
    }

    #[test_log::test]
    fn an_edge_is_reported_once_and_a_level_again() {
        for by in WAITERS {
            let [mut client, mut server] = pair();
            let mut tools = Tools::default();
            client.write_all(b"x").unwrap();
            let mut wait = |ms| tools.wait(fd(&server), Ready::IN, ms, by);
            assert_eq!(wait(1_000), Ok(Ready::IN), "{by:?}");
            let again = if by == Waiter::EpollEdge { Ready::empty() } else { Ready::IN };
            assert_eq!(wait(0), Ok(again), "{by:?}");
            client.write_all(b"x").unwrap();
            assert_eq!(wait(1_000), Ok(Ready::IN), "{by:?}");
            (&server).read_exact(&mut [0; 2]).unwrap();
            assert_eq!(wait(0), Ok(Ready::empty()), "{by:?}");
            // another socket is registered anew, also under the number of the old one
            let number = server.as_raw_fd();
            drop(server);
            [client, server] = pair();
            client.write_all(b"x").unwrap();
            assert_eq!(tools.wait(fd(&server), Ready::IN, 1_000, by), Ok(Ready::IN), "{number}");
        }
    }

    #[test_log::test]
    fn a_signal_ends_the_wait() {
        for by in WAITERS {
            let result = interrupt(true, move || {
                let [_client, server] = pair();
                Tools::default().wait(fd(&server), Ready::IN, 60_000, by)
            });
            // these are never restarted (signal(7))
            assert_eq!(result, Err(Errno::EINTR), "{by:?}");
        }
    }
}
