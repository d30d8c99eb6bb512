//! Loads an object and attaches its programs to a cgroup.

use std::fs::File;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use libbpf_rs::skel::{OpenSkel as _, SkelBuilder as _};
use libbpf_rs::{Link, MapCore as _, MapHandle, ObjectBuilder, ProgramMut, ProgramType};

use crate::Error;
use crate::log::{Capture, missing_kfunc};
use crate::results::{self, Answer};
use crate::skeleton::pair::PairSkelBuilder;
use crate::skeleton::sockhash::SockhashSkelBuilder;

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
    // a link keeps its program and, through it, the maps; its last descriptor detaches it
    _links: Vec<Link>,
    results: Option<MapHandle>,
    reports: Reports,
}

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
            Kind::Sockhash => sockhash(&cgroup, &log),
            Kind::Pair { busy_poll_us } => pair(&cgroup, busy_poll_us.unwrap_or(0), &log),
            Kind::Object(path) => object(&cgroup, path, &log),
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
        let (Some(map), Some(key)) = (&self.results, results::key(local, remote)) else {
            return Ok(None);
        };
        let value = map.lookup_and_delete(&key).map_err(|error| {
            Error::Environment(format!("the pairing results cannot be read: {error}"))
        })?;
        Ok(value.as_deref().and_then(results::answer))
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

fn sockhash(cgroup: &File, log: &Capture) -> Result<Attached, Error> {
    let mut object = MaybeUninit::uninit();
    let open = SockhashSkelBuilder::default().open(&mut object).map_err(|e| refusal(&e, log))?;
    let skel = open.load().map_err(|e| refusal(&e, log))?;
    Ok(Attached {
        _links: vec![link(&skel.progs.sockhash, cgroup, log)?],
        results: Some(MapHandle::try_from(&skel.maps.results).map_err(|e| refusal(&e, log))?),
        reports: Reports::Updates,
    })
}

fn pair(cgroup: &File, busy_poll_us: u32, log: &Capture) -> Result<Attached, Error> {
    if !Path::new(KERNEL_BTF).exists() {
        return Err(Error::NoBtf);
    }
    let mut object = MaybeUninit::uninit();
    let mut open = PairSkelBuilder::default().open(&mut object).map_err(|e| refusal(&e, log))?;
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.busy_poll_us = busy_poll_us;
    }
    let skel = open.load().map_err(|e| refusal(&e, log))?;
    Ok(Attached {
        _links: vec![link(&skel.progs.pair, cgroup, log)?],
        results: Some(MapHandle::try_from(&skel.maps.results).map_err(|e| refusal(&e, log))?),
        reports: Reports::Pairs,
    })
}

fn object(cgroup: &File, path: &Path, log: &Capture) -> Result<Attached, Error> {
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
    let links = object
        .progs_mut()
        .filter(|program| program.autoload() && program.prog_type() == ProgramType::SockOps)
        .map(|program| link(&program, cgroup, log))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Attached { _links: links, results: None, reports: Reports::Nothing })
}

fn link(program: &ProgramMut<'_>, cgroup: &File, log: &Capture) -> Result<Link, Error> {
    program.attach_cgroup(cgroup.as_raw_fd()).map_err(|e| refusal(&e, log))
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
    let denied = error.kind() == libbpf_rs::ErrorKind::PermissionDenied;
    if denied && !log.contains("PROG LOAD LOG") {
        return Error::Environment(format!(
            "not allowed to use BPF, run as root: {error:#}\n{log}"
        ));
    }
    Error::BadObject(format!("{error:#}\n{log}"))
}
