//! Makes the pair of a scenario: two connected sockets with the options that it starts with.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use scenario::history::Errno;
use scenario::{Endpoint, Family, Ready, Scenario, SockOption};

use crate::watchdog::Watchdog;
use crate::{Error, sys};

/// Connections that may wait for `accept(2)`: there is never more than one.
const BACKLOG: i32 = 8;

/// A listening socket on a loopback address and a port of the kernel's choice.
#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
}

/// The listening sockets that scenarios without server options share, by family.
#[derive(Debug, Default)]
pub(crate) struct Listeners([Option<Listener>; 2]);

/// Two connected sockets, by [`Endpoint::index`].
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) sockets: [OwnedFd; 2],
    /// The address of each one's own end.
    pub(crate) addresses: [SocketAddr; 2],
}

impl Listeners {
    /// Connects the endpoints of `scenario`. The watchdog has to be running.
    pub(crate) fn connect(
        &mut self,
        scenario: &Scenario,
        watchdog: &Watchdog,
    ) -> Result<Connected, Error> {
        let slot = &mut self.0[usize::from(scenario.family == Family::V6)];
        if options(scenario, Endpoint::Server).next().is_some() {
            // what is set on a listening socket stays, so this one is for this scenario only
            return connect(&Listener::new(scenario)?, scenario, watchdog);
        }
        let listener = match slot.take() {
            Some(listener) => listener,
            None => Listener::new(scenario)?,
        };
        let connected = connect(&listener, scenario, watchdog)?;
        // after an error it might hold a connection that the next scenario would get
        *slot = Some(listener);
        Ok(connected)
    }
}

/// The options of an endpoint that are in force before the handshake: all but `O_NONBLOCK`.
fn options(scenario: &Scenario, endpoint: Endpoint) -> impl Iterator<Item = SockOption> + '_ {
    scenario
        .setup
        .iter()
        .filter(move |setup| setup.endpoint == endpoint)
        .map(|setup| setup.option)
        .filter(|option| !matches!(option, SockOption::NonBlock(_)))
}

impl Listener {
    fn new(scenario: &Scenario) -> Result<Listener, Error> {
        let family = scenario.family;
        let ip = match family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        };
        // non-blocking, because accept(2) has no time limit of its own that the new socket would not inherit
        let socket = sys::tcp_socket(family, libc::SOCK_NONBLOCK).map_err(call("make a socket"))?;
        for option in options(scenario, Endpoint::Server) {
            sys::set_option(socket.as_fd(), option).map_err(call("set an option of the server"))?;
        }
        sys::bind(&socket, SocketAddr::new(ip, 0)).map_err(call("bind to loopback"))?;
        sys::listen(&socket, BACKLOG).map_err(call("listen"))?;
        let address = sys::local_address(&socket, family).map_err(call("read an address"))?;
        Ok(Listener { socket, address })
    }

    fn accept(&self, family: Family, watchdog: &Watchdog) -> Result<(OwnedFd, SocketAddr), Error> {
        loop {
            match sys::accept(&self.socket, family) {
                Err(Errno::EAGAIN) => {
                    let bound = i32::try_from(watchdog.bound().as_millis()).unwrap_or(i32::MAX);
                    match sys::poll(Some(self.socket.as_fd()), Ready::IN, bound) {
                        Ok(ready) if !ready.is_empty() => {}
                        Ok(_) | Err(Errno::EINTR) => return Err(Error::Late("accept")),
                        Err(errno) => return Err(Error::Call("wait for a connection", errno)),
                    }
                }
                accepted => return accepted.map_err(call("accept")),
            }
        }
    }
}

fn connect(
    listener: &Listener,
    scenario: &Scenario,
    watchdog: &Watchdog,
) -> Result<Connected, Error> {
    let client = sys::tcp_socket(scenario.family, 0).map_err(call("make a socket"))?;
    for option in options(scenario, Endpoint::Client) {
        sys::set_option(client.as_fd(), option).map_err(call("set an option of the client"))?;
    }
    sys::connect(&client, listener.address).map_err(|errno| match errno {
        Errno::EINTR => Error::Late("connect"),
        errno => Error::Call("connect", errno),
    })?;
    let (server, address) = listener.accept(scenario.family, watchdog)?;
    let connected = Connected { sockets: [client, server], addresses: [address, listener.address] };
    // only now for the client, too: a non-blocking connect(2) would return before it is connected
    for endpoint in Endpoint::BOTH {
        if scenario.starts_nonblocking(endpoint) {
            let socket = connected.sockets[endpoint.index()].as_fd();
            sys::set_option(socket, SockOption::NonBlock(true)).map_err(call("set O_NONBLOCK"))?;
        }
    }
    Ok(connected)
}

fn call(what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Call(what, errno)
}
