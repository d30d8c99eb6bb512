//! Where the endpoints of a scenario are: our own network namespace, or two others with a wire between them.

mod layout;
mod settings;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use scenario::{Endpoint, Family, Topology, Wire};

use crate::Error;

pub use settings::prepare_network;

/// The networks of this boot, each made when it is asked for first, and never taken down: a scenario that has ended may
/// still have packets under way.
#[derive(Debug, Default)]
pub(crate) struct Networks(HashMap<(Topology, Wire), Network>);

#[derive(Debug)]
struct Network {
    namespaces: Namespaces,
    /// What keeps the bridge alive.
    _bridge: Option<File>,
    subnet: Subnet,
}

/// Namespaces that endpoints are in.
#[derive(Clone, Debug)]
struct Namespaces {
    /// The one that callers come from.
    home: Arc<File>,
    /// By [`Endpoint::index`].
    away: [Arc<File>; 2],
}

/// The number of a network. Each has addresses of its own, so that a 4-tuple never occurs in two networks of a boot.
#[derive(Clone, Copy, Debug)]
struct Subnet(u16);

impl Subnet {
    /// `10.x.y.0/24`, `fd00:0:0:n::/64` (RFC 1918, RFC 4193).
    fn address(self, endpoint: Endpoint, family: Family) -> IpAddr {
        let host = if endpoint == Endpoint::Client { 1 } else { 2 };
        let [high, low] = self.0.to_be_bytes();
        match family {
            Family::V4 => Ipv4Addr::new(10, high, low, host).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, self.0, 0, 0, 0, host.into()).into(),
        }
    }
}

/// Where the endpoints of a scenario are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// `None` if both are where the caller is.
    namespaces: Option<Namespaces>,
    server: IpAddr,
}

impl Networks {
    /// The places of a scenario with this topology, wire and family.
    ///
    /// # Errors
    /// [`Error::Resource`] and [`Error::Sysctl`] without root, without iproute2, or on a kernel without such devices.
    pub(crate) fn place(
        &mut self,
        topology: Topology,
        wire: Wire,
        family: Family,
    ) -> Result<Places, Error> {
        if topology == Topology::Loopback {
            let server = match family {
                Family::V4 => Ipv4Addr::LOCALHOST.into(),
                Family::V6 => Ipv6Addr::LOCALHOST.into(),
            };
            return Ok(Places { namespaces: None, server });
        }
        let network = match self.0.get(&(topology, wire)) {
            Some(network) => network,
            None => {
                let number = u16::try_from(self.0.len() + 1);
                let full = || io::Error::other("there are 65535 of them");
                let number = number.map_err(|_| Error::Resource("make a network", full()))?;
                let network = Network::new(topology, wire, Subnet(number))?;
                self.0.entry((topology, wire)).or_insert(network)
            }
        };
        Ok(Places {
            namespaces: Some(network.namespaces.clone()),
            server: network.subnet.address(Endpoint::Server, family),
        })
    }
}

impl Network {
    fn new(topology: Topology, wire: Wire, subnet: Subnet) -> Result<Network, Error> {
        let home = Arc::new(current()?);
        let away = [namespace()?, namespace()?];
        let bridge = match topology {
            Topology::Bridge => Some(namespace()?),
            Topology::Loopback | Topology::Veth => None,
        };
        layout::lay_out(&home, &away, bridge.as_ref(), wire, subnet)?;
        Ok(Network {
            namespaces: Namespaces { home, away: away.map(Arc::new) },
            _bridge: bridge,
            subnet,
        })
    }
}

impl Places {
    /// The address that the server listens on.
    pub(crate) fn server(&self) -> IpAddr {
        self.server
    }

    /// Runs `f` with the calling thread in the network namespace of an endpoint: sockets that it makes stay there.
    ///
    /// # Errors
    /// [`Error::Resource`] if the thread cannot get there, or back.
    pub(crate) fn within<R>(&self, endpoint: Endpoint, f: impl FnOnce() -> R) -> Result<R, Error> {
        match &self.namespaces {
            None => Ok(f()),
            Some(Namespaces { home, away }) => within(&away[endpoint.index()], home, f),
        }
    }
}

/// Runs `f` with the calling thread in a network namespace.
fn within<R>(namespace: &File, home: &File, f: impl FnOnce() -> R) -> Result<R, Error> {
    /// Moves the thread back even if `f` panics.
    struct Away<'a>(Option<&'a File>);

    impl Away<'_> {
        fn end(&mut self) -> Result<(), Error> {
            self.0.take().map_or(Ok(()), |home| enter(home, "return from a network namespace"))
        }
    }

    impl Drop for Away<'_> {
        fn drop(&mut self) {
            if let Err(error) = self.end() {
                tracing::error!("{error}");
            }
        }
    }

    enter(namespace, "enter a network namespace")?;
    let mut away = Away(Some(home));
    let result = f();
    away.end()?;
    Ok(result)
}

fn enter(namespace: &File, what: &'static str) -> Result<(), Error> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Resource(what, errno.into()))
}

/// The network namespace of the calling thread.
fn current() -> Result<File, Error> {
    File::open("/proc/thread-self/ns/net")
        .map_err(|error| Error::Resource("open a network namespace (is proc mounted?)", error))
}

/// A fresh network namespace. A thread makes it and ends; the descriptor keeps it.
fn namespace() -> Result<File, Error> {
    let made = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
                Error::Resource("make a network namespace (run as root)", errno.into())
            })?;
            prepare_network()?;
            current()
        });
        thread.join()
    });
    made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests;
