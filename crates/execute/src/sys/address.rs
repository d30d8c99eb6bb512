//! Socket addresses in the kernel's form.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libc::{c_int, socklen_t};
use scenario::Family;

use super::size;

/// A socket address as the kernel lays it out: room for either family.
#[repr(C)]
pub(super) union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Address {
    pub(super) fn new(address: SocketAddr) -> (Address, socklen_t) {
        let port = address.port().to_be();
        match address.ip() {
            IpAddr::V4(ip) => {
                let v4 = libc::sockaddr_in {
                    sin_family: family_number(libc::AF_INET),
                    sin_port: port,
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    sin_zero: [0; 8],
                };
                (Address { v4 }, size::<libc::sockaddr_in>())
            }
            IpAddr::V6(ip) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: family_number(libc::AF_INET6),
                    sin6_port: port,
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    sin6_scope_id: 0,
                };
                (Address { v6 }, size::<libc::sockaddr_in6>())
            }
        }
    }

    pub(super) fn empty() -> Address {
        // SAFETY: both variants are C structures of numbers, for which all zeroes is a value
        unsafe { mem::zeroed() }
    }

    pub(super) fn get(&self, family: Family) -> SocketAddr {
        match family {
            Family::V4 => {
                // SAFETY: every byte of the union was initialized, and any bytes make a sockaddr_in
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                SocketAddr::new(ip.into(), u16::from_be(v4.sin_port))
            }
            Family::V6 => {
                // SAFETY: as above
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                SocketAddr::new(ip.into(), u16::from_be(v6.sin6_port))
            }
        }
    }
}

fn family_number(family: c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(family).unwrap_or_default()
}
