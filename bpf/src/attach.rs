//! Loads an object and attaches its programs to a cgroup.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use libbpf_rs::skel::{OpenSkel as _, SkelBuilder as _};
use libbpf_rs::{ErrorKind, MapCore as _, MapFlags, MapHandle, ObjectBuilder, ProgramType};

use crate::Error;
use crate::layout::{self, Answer, Attempt};
use crate::log::{Capture, missing_kfunc};
use crate::skeleton::pair::PairSkelBuilder;
use crate::skeleton::sockhash::SockhashSkelBuilder;
use crate::syscalls;

/// Where a kernel with `CONFIG_DEBUG_INFO_BTF` describes its types.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Whose programs to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Ours, which enters both endpoints into a SOCKHASH and leaves it at that.
    Sockhash,
    /// Ours, which pairs them.
    Pair {
        /// `SO_BUSY_POLL` in microseconds, which each endpoint sets for itself.
        busy_poll_us: Option<u32>,
    },
    /// Every sock_ops program of this object file.
    Object(&'a Path),
}

/// Which results there are to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// Whether each endpoint got into the SOCKHASH.
    Updates,
    /// That, and what the kfunc returned.
    Pairs,
    /// None: the object is not ours.
    Nothing,
}

/// Programs that see every connection of the cgroup's tasks; detached on drop.
#[derive(Debug)]
pub struct Attached {
    cgroup: File,
    // a program keeps its maps
    programs: Vec<OwnedFd>,
    // a link's last descriptor detaches its program
    links: Vec<OwnedFd>,
    maps: Option<Maps>,
    reports: Reports,
    /// What the program was told last.
    attempt: Attempt,
}

/// The maps of a program of ours.
#[derive(Debug)]
struct Maps {
    endpoints: MapHandle,
    results: MapHandle,
    /// Of one that pairs.
    attempts: Option<MapHandle>,
}

/// `ENOENT` (`asm-generic/errno-base.h`)
const ENOENT: i32 = 2;

impl Attached {
    /// Loads the programs and attaches them to `cgroup`, a directory of a mounted cgroup2.
    ///
    /// Connections that exist already are not affected: the programs run when one is established.
    ///
    /// # Errors
    /// [`Error::NoKfunc`] and [`Error::NoBtf`] where the kernel cannot run them, [`Error::BadObject`] where
    /// the object is at fault, [`Error::Environment`] where the cgroup is.
    pub fn attach(kind: Kind<'_>, cgroup: &Path) -> Result<Attached, Error> {
        let cgroup = open_cgroup(cgroup)?;
        let log = Capture::start();
        match kind {
            Kind::Sockhash => sockhash(cgroup, &log),
            Kind::Pair { busy_poll_us } => pair(cgroup, busy_poll_us.unwrap_or(0), &log),
            Kind::Object(path) => object(cgroup, path, &log),
        }
    }

    /// Attaches loaded programs.
    fn new(
        cgroup: File,
        programs: &[BorrowedFd<'_>],
        maps: Option<Maps>,
        reports: Reports,
    ) -> io::Result<Attached> {
        let programs =
            programs.iter().map(BorrowedFd::try_clone_to_owned).collect::<Result<_, _>>()?;
        let mut attached = Attached {
            cgroup,
            programs,
            links: Vec::new(),
            maps,
            reports,
            attempt: Attempt::default(),
        };
        attached.link()?;
        Ok(attached)
    }

    fn link(&mut self) -> io::Result<()> {
        let links = self.programs.iter().map(|p| syscalls::link(p.as_fd(), self.cgroup.as_fd()));
        self.links = links.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Detaches the programs: connections that are made from now on are none of their business. They stay loaded, and
    /// what is in their maps stays there. Nothing happens if they are detached already.
    ///
    /// A child process that inherited the descriptors does not keep them attached.
    pub fn detach(&mut self) {
        for link in self.links.drain(..) {
            if let Err(error) = syscalls::detach(link.as_fd()) {
                // closing it does the same, where nobody else has it
                tracing::warn!("a link cannot be detached: {error}");
            }
        }
    }

    /// Attaches the programs again that [`Attached::detach`] detached. Nothing happens if they are attached.
    ///
    /// # Errors
    /// [`Error::Environment`] if the kernel refuses it; then none is attached.
    pub fn attach_again(&mut self) -> Result<(), Error> {
        if !self.links.is_empty() {
            return Ok(());
        }
        self.link().map_err(|error| {
            Error::Environment(format!("the programs cannot be attached again: {error}"))
        })
    }

    /// How connections are paired that are made from now on. It means nothing to programs that do not pair, and to
    /// somebody else's.
    ///
    /// # Errors
    /// [`Error::Environment`] if the map cannot be written.
    pub fn attempt(&mut self, attempt: Attempt) -> Result<(), Error> {
        let Some(map) = self.maps.as_ref().and_then(|maps| maps.attempts.as_ref()) else {
            return Ok(());
        };
        if attempt == self.attempt {
            return Ok(());
        }
        let first = 0u32.to_ne_bytes();
        map.update(&first, &layout::told(attempt), MapFlags::ANY).map_err(|error| {
            Error::Environment(format!("the programs cannot be told how to pair: {error}"))
        })?;
        self.attempt = attempt;
        Ok(())
    }

    /// Takes the endpoint at `local` that is connected to `remote` out of the SOCKHASH; false where it is not in it, and
    /// where the programs are somebody else's, whose maps nobody knows.
    ///
    /// # Errors
    /// [`Error::Environment`] if the map cannot be written.
    pub fn remove(&self, local: SocketAddr, remote: SocketAddr) -> Result<bool, Error> {
        let (Some(maps), Some(key)) = (&self.maps, layout::key(local, remote)) else {
            return Ok(false);
        };
        match maps.endpoints.delete(&key) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::Environment(format!(
                "an endpoint cannot be taken out of the SOCKHASH: {error}"
            ))),
        }
    }

    /// How many endpoints are in the SOCKHASH; `None` where the programs are somebody else's, whose maps nobody knows.
    #[must_use]
    pub fn entries(&self) -> Option<u64> {
        self.maps.as_ref().map(|maps| maps.endpoints.keys().map(|_| 1).sum())
    }

    /// Makes `socket` the one at `local` that is connected to `remote` in the SOCKHASH, in place of the one there if
    /// there is one.
    ///
    /// The inner error is the kernel's, a positive number as in `errno(3)`: it may well refuse a socket that is paired.
    /// It is `ENOENT` where the programs are somebody else's, whose maps nobody knows.
    ///
    /// # Errors
    /// [`Error::Environment`] where the two addresses are of two families.
    pub fn replace(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        socket: BorrowedFd<'_>,
    ) -> Result<Result<(), i32>, Error> {
        let Some(key) = layout::key(local, remote) else {
            let why = format!("no socket is at {local} and connected to {remote}");
            return Err(Error::Environment(why));
        };
        let Some(maps) = &self.maps else {
            return Ok(Err(ENOENT));
        };
        match syscalls::enter(&maps.endpoints, &key, socket) {
            Ok(()) => Ok(Ok(())),
            Err(error) => match error.raw_os_error() {
                Some(errno) => Ok(Err(errno)),
                None => Err(Error::Environment(format!("no such SOCKHASH: {error}"))),
            },
        }
    }

    /// Which results [`Attached::take`] can give.
    #[must_use]
    pub fn reports(&self) -> Reports {
        self.reports
    }

    /// Takes the result of the endpoint at `local` that is connected to `remote` out of the map.
    ///
    /// `None` where its program has not run (yet: the passive side's runs in the softirq that also makes the
    /// connection acceptable, so on another processor it may be later than `accept(2)`).
    ///
    /// # Errors
    /// [`Error::Environment`] if the map cannot be read.
    pub fn take(&self, local: SocketAddr, remote: SocketAddr) -> Result<Option<Answer>, Error> {
        let (Some(maps), Some(key)) = (&self.maps, layout::key(local, remote)) else {
            return Ok(None);
        };
        let value = maps.results.lookup_and_delete(&key).map_err(|error| {
            Error::Environment(format!("the pairing results cannot be read: {error}"))
        })?;
        Ok(value.as_deref().and_then(layout::answer))
    }
}

fn open_cgroup(path: &Path) -> Result<File, Error> {
    let unusable = |why: String| {
        Error::Environment(format!(
            "{} {why}, name a directory of a mounted cgroup2",
            path.display()
        ))
    };
    // every cgroup of version 2 has this file, and none of version 1 (cgroups(7))
    if !path.join("cgroup.controllers").exists() {
        return Err(unusable("is no cgroup".to_owned()));
    }
    File::open(path).map_err(|error| unusable(format!("cannot be opened: {error}")))
}

fn sockhash(cgroup: File, log: &Capture) -> Result<Attached, Error> {
    let refused = |e| refusal(&e, log);
    let mut object = MaybeUninit::uninit();
    let open = SockhashSkelBuilder::default().open(&mut object).map_err(refused)?;
    let skel = open.load().map_err(refused)?;
    let maps = Maps {
        endpoints: MapHandle::try_from(&skel.maps.endpoints).map_err(refused)?,
        results: MapHandle::try_from(&skel.maps.results).map_err(refused)?,
        attempts: None,
    };
    let program = skel.progs.sockhash.as_fd();
    Attached::new(cgroup, &[program], Some(maps), Reports::Updates).map_err(|e| refused(e.into()))
}

fn pair(cgroup: File, busy_poll_us: u32, log: &Capture) -> Result<Attached, Error> {
    if !Path::new(KERNEL_BTF).exists() {
        return Err(Error::NoBtf);
    }
    let refused = |e| refusal(&e, log);
    let mut object = MaybeUninit::uninit();
    let mut open = PairSkelBuilder::default().open(&mut object).map_err(refused)?;
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.busy_poll_us = busy_poll_us;
    }
    let skel = open.load().map_err(refused)?;
    let maps = Maps {
        endpoints: MapHandle::try_from(&skel.maps.endpoints).map_err(refused)?,
        results: MapHandle::try_from(&skel.maps.results).map_err(refused)?,
        attempts: Some(MapHandle::try_from(&skel.maps.attempts).map_err(refused)?),
    };
    let program = skel.progs.pair.as_fd();
    Attached::new(cgroup, &[program], Some(maps), Reports::Pairs).map_err(|e| refused(e.into()))
}

fn object(cgroup: File, path: &Path, log: &Capture) -> Result<Attached, Error> {
    let bad = |e: &libbpf_rs::Error| match refusal(e, log) {
        Error::BadObject(why) => Error::BadObject(format!("{}: {why}", path.display())),
        other => other,
    };
    let mut open = ObjectBuilder::default().open_file(path).map_err(|e| bad(&e))?;
    let mut found = false;
    for mut program in open.progs_mut() {
        let ours = program.prog_type() == ProgramType::SockOps;
        found |= ours;
        program.set_autoload(ours);
    }
    if !found {
        let path = path.display();
        return Err(Error::BadObject(format!(
            "{path} has no sock_ops program, name one that does"
        )));
    }
    let object = open.load().map_err(|e| bad(&e))?;
    let programs: Vec<_> = object
        .progs()
        .filter(|program| program.autoload() && program.prog_type() == ProgramType::SockOps)
        .collect();
    let programs: Vec<_> = programs.iter().map(|program| program.as_fd()).collect();
    Attached::new(cgroup, &programs, None, Reports::Nothing).map_err(|e| bad(&e.into()))
}

/// Tells what a failure of libbpf means, from its log.
fn refusal(error: &libbpf_rs::Error, log: &Capture) -> Error {
    let log = log.text();
    if let Some(name) = missing_kfunc(&log) {
        return Error::NoKfunc(name);
    }
    if !Path::new(KERNEL_BTF).exists() && log.contains("vmlinux BTF") {
        return Error::NoBtf;
    }
    // the verifier says EACCES, too, but never without a word
    let denied = error.kind() == ErrorKind::PermissionDenied;
    if denied && !log.contains("PROG LOAD LOG") {
        return Error::Environment(format!(
            "not allowed to use BPF, run as root: {error:#}\n{log}"
        ));
    }
    Error::BadObject(format!("{error:#}\n{log}"))
}
