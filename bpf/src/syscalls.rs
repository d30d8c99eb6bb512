//! What libbpf-rs leaves out or tells too little about: links of a program that only a descriptor is left of, and
//! the error number of an update.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libbpf_rs::{MapCore as _, MapHandle, libbpf_sys};

use crate::layout::KEY_BYTES;

/// Attaches a sock_ops program to a cgroup, until the link is detached or its last descriptor closed.
///
/// # Errors
/// The kernel's.
pub(crate) fn link(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (program, cgroup) = (program.as_raw_fd(), cgroup.as_raw_fd());
    let (kind, options) = (libbpf_sys::BPF_CGROUP_SOCK_OPS, std::ptr::null());
    // SAFETY: both descriptors are open, and libbpf takes no options for the default ones.
    let link = checked(unsafe { libbpf_sys::bpf_link_create(program, cgroup, kind, options) })?;
    // SAFETY: the descriptor is new, so nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

/// Detaches a link, whoever else has a descriptor of it: a child process, perhaps.
///
/// # Errors
/// The kernel's.
pub(crate) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open, and nothing else is passed.
    checked(unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) }).map(|_| ())
}

/// Makes a socket the one of a name in a SOCKHASH, whether there was one before or not (`BPF_ANY`).
///
/// # Errors
/// The kernel's.
pub(crate) fn enter(
    map: &MapHandle,
    name: &[u8; KEY_BYTES],
    socket: BorrowedFd<'_>,
) -> io::Result<()> {
    // from user space the value is a descriptor, as wide as the map's values (sock_map_update_elem_sys())
    let socket = u64::try_from(socket.as_raw_fd()).unwrap_or(u64::MAX);
    let sizes = (map.key_size() as usize, map.value_size() as usize);
    if sizes != (KEY_BYTES, size_of_val(&socket)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (map, flags) = (map.as_fd().as_raw_fd(), u64::from(libbpf_sys::BPF_ANY));
    let (key, value) = (name.as_ptr().cast(), (&raw const socket).cast());
    // SAFETY: both point to as many bytes as the map's keys and values have.
    checked(unsafe { libbpf_sys::bpf_map_update_elem(map, key, value, flags) }).map(|_| ())
}

fn checked(returned: i32) -> io::Result<i32> {
    if returned < 0 { Err(io::Error::from_raw_os_error(-returned)) } else { Ok(returned) }
}
