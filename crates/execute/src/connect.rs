//! Makes connections: two sockets with the options that the scenario starts with.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use scenario::history::Errno;
use scenario::{Endpoint, Family, Ready, Scenario, SockOption, Topology, Wire};

use crate::network::{Networks, Places};
use crate::watchdog::Watchdog;
use crate::{Error, sys};

/// Connections that may wait for `accept(2)`: there are never more than a few, left by clients that gave up.
const BACKLOG: i32 = 8;

/// After this long a 4-tuple may be used again: see `tcp_tw_reuse_delay` in `network`.
const REUSE: Duration = Duration::from_millis(3);

/// A listening socket in the server's place, on a port of the kernel's choice.
#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
    family: Family,
}

/// Where listening sockets are shared.
type Where = (Topology, Wire, Family);

/// The networks of the guest, and the listening sockets that pairs without server options share.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    networks: Networks,
    shared: HashMap<Where, Listener>,
}

/// Two connected sockets, by [`Endpoint::index`].
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) sockets: [OwnedFd; 2],
    /// The address of each one's own end.
    pub(crate) addresses: [SocketAddr; 2],
}

/// What the client connects with.
pub(crate) enum Client {
    /// A new socket.
    New,
    /// A new socket from that address, so that the connection has the 4-tuple of an earlier one.
    From(SocketAddr),
    /// A socket that was disconnected: another descriptor of it.
    Again(OwnedFd),
}

/// Why there is no connection.
pub(crate) enum Refused {
    /// The client's call failed: that is a result.
    Call(Errno),
    /// The harness failed.
    Harness(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Harness(error)
    }
}

impl Listeners {
    /// Connects a pair of `scenario`. The watchdog has to be running.
    pub(crate) fn connect(
        &mut self,
        scenario: &Scenario,
        pair: u8,
        watchdog: &Watchdog,
    ) -> Result<Connected, Error> {
        match self.connect_by(scenario, pair, Client::New, watchdog) {
            Ok(connected) => Ok(connected),
            Err(Refused::Harness(error)) => Err(error),
            Err(Refused::Call(Errno::EINTR)) => Err(Error::Late("connect")),
            Err(Refused::Call(errno)) => Err(Error::Call("connect", errno)),
        }
    }

    /// The same, with a client that may have been connected before.
    pub(crate) fn connect_by(
        &mut self,
        scenario: &Scenario,
        pair: u8,
        client: Client,
        watchdog: &Watchdog,
    ) -> Result<Connected, Refused> {
        let places = self.places(scenario)?;
        let place = (scenario.topology, scenario.wire, scenario.family);
        if options(scenario, pair, Endpoint::Server).next().is_some() {
            // what is set on a listening socket stays, so this one is for this connection only
            let listener = Listener::new(scenario, pair, &places)?;
            return connect(&listener, scenario, pair, client, &places, watchdog);
        }
        let listener = match self.shared.remove(&place) {
            Some(listener) => listener,
            None => Listener::new(scenario, pair, &places)?,
        };
        let connected = connect(&listener, scenario, pair, client, &places, watchdog)?;
        // after an error it might hold a connection that the next one would get
        self.shared.insert(place, listener);
        Ok(connected)
    }

    /// Where the endpoints of the scenario are.
    pub(crate) fn places(&mut self, scenario: &Scenario) -> Result<Places, Error> {
        self.networks.place(scenario.topology, scenario.wire, scenario.family)
    }
}

/// The options of an endpoint that are in force before the handshake: all but `O_NONBLOCK`.
fn options(
    scenario: &Scenario,
    pair: u8,
    endpoint: Endpoint,
) -> impl Iterator<Item = SockOption> + '_ {
    scenario.setup_of(pair, endpoint).filter(|option| !matches!(option, SockOption::NonBlock(_)))
}

impl Listener {
    fn new(scenario: &Scenario, pair: u8, places: &Places) -> Result<Listener, Error> {
        places.within(Endpoint::Server, || Listener::here(scenario, pair, places))?
    }

    fn here(scenario: &Scenario, pair: u8, places: &Places) -> Result<Listener, Error> {
        let family = scenario.family;
        // non-blocking, because accept(2) has no time limit of its own that the new socket would not inherit
        let socket = sys::tcp_socket(family, libc::SOCK_NONBLOCK).map_err(call("make a socket"))?;
        for option in options(scenario, pair, Endpoint::Server) {
            sys::set_option(socket.as_fd(), option).map_err(call("set an option of the server"))?;
        }
        sys::bind(&socket, SocketAddr::new(places.server(), 0)).map_err(call("bind"))?;
        sys::listen(&socket, BACKLOG).map_err(call("listen"))?;
        let address =
            sys::local_address(socket.as_fd(), family).map_err(call("read an address"))?;
        Ok(Listener { socket, address, family })
    }

    /// The connection of that client; others, whose clients gave up, are dropped.
    fn accept(&self, client: SocketAddr, watchdog: &Watchdog) -> Result<OwnedFd, Error> {
        loop {
            match sys::accept(&self.socket, self.family) {
                Ok((socket, address)) if address == client => return Ok(socket),
                Ok(_) => {}
                Err(Errno::EAGAIN) => {
                    match sys::poll(Some(self.socket.as_fd()), Ready::IN, bound_ms(watchdog)) {
                        Ok(ready) if !ready.is_empty() => {}
                        Ok(_) | Err(Errno::EINTR) => return Err(Error::Late("accept")),
                        Err(errno) => return Err(Error::Call("wait for a connection", errno)),
                    }
                }
                Err(errno) => return Err(Error::Call("accept", errno)),
            }
        }
    }
}

fn connect(
    listener: &Listener,
    scenario: &Scenario,
    pair: u8,
    client: Client,
    places: &Places,
    watchdog: &Watchdog,
) -> Result<Connected, Refused> {
    let family = scenario.family;
    let is_old = matches!(client, Client::Again(_));
    let socket = match client {
        Client::Again(socket) => socket,
        Client::New => places.within(Endpoint::Client, || new_client(scenario, pair))??,
        Client::From(address) => {
            let socket = places.within(Endpoint::Client, || new_client(scenario, pair))??;
            sys::bind(&socket, address).map_err(Refused::Call)?;
            socket
        }
    };
    let reached = match reach(&socket, listener.address, watchdog) {
        Err(errno) if errno == Errno(libc::EADDRNOTAVAIL) => {
            thread::sleep(REUSE);
            reach(&socket, listener.address, watchdog)
        }
        reached => reached,
    };
    reached.map_err(Refused::Call)?;
    let address = sys::local_address(socket.as_fd(), family).map_err(call("read an address"))?;
    let server = listener.accept(address, watchdog)?;
    let connected = Connected { sockets: [socket, server], addresses: [address, listener.address] };
    // only now for the client, too: a non-blocking connect(2) would return before it is connected
    for endpoint in Endpoint::BOTH {
        // a socket that connects again keeps its flags (connect(2) makes no new open file description)
        let is_new = endpoint == Endpoint::Server || !is_old;
        if is_new && scenario.starts_nonblocking(pair, endpoint) {
            let socket = connected.sockets[endpoint.index()].as_fd();
            sys::set_option(socket, SockOption::NonBlock(true)).map_err(call("set O_NONBLOCK"))?;
        }
    }
    Ok(connected)
}

fn new_client(scenario: &Scenario, pair: u8) -> Result<OwnedFd, Error> {
    let client = sys::tcp_socket(scenario.family, 0).map_err(call("make a socket"))?;
    // or what is left of it in TIME_WAIT would keep its port from a later client (inet_csk_bind_conflict)
    sys::reuse_address(client.as_fd()).map_err(call("set SO_REUSEADDR"))?;
    for option in options(scenario, pair, Endpoint::Client) {
        sys::set_option(client.as_fd(), option).map_err(call("set an option of the client"))?;
    }
    Ok(client)
}

/// `connect(2)`, and on a socket that does not wait (one that is connected again) until it is done.
fn reach(socket: &OwnedFd, server: SocketAddr, watchdog: &Watchdog) -> Result<(), Errno> {
    let deadline = Instant::now() + watchdog.bound();
    match sys::connect(socket, server) {
        Err(errno) if errno == Errno(libc::EINPROGRESS) => {}
        result => return result.map(|_| ()),
    }
    while Instant::now() < deadline {
        if !sys::poll(Some(socket.as_fd()), Ready::OUT, bound_ms(watchdog))?.is_empty() {
            return match sys::so_error(socket.as_fd())? {
                0 => Ok(()),
                errno => Err(Errno(errno.cast_signed())),
            };
        }
    }
    Err(Errno(libc::ETIMEDOUT))
}

fn bound_ms(watchdog: &Watchdog) -> i32 {
    i32::try_from(watchdog.bound().as_millis()).unwrap_or(i32::MAX)
}

fn call(what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Call(what, errno)
}
