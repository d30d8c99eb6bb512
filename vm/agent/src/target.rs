//! The kernel target, set up and ready to run scenarios.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use bpf::{Attached, Kind};
use execute::{Bench, Executor, Points};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use scenario::bench::Contenders;
use vm::wire::{Module, Pairing, Plan, Refusal};

/// The cgroup whose sockets the sock_ops program sees: that of the worker and of all that it starts.
const CGROUP: &str = "/sys/fs/cgroup/sparring";

/// Loads the modules, attaches the program, prepares the executor.
///
/// # Errors
/// What the kernel or the plan lacks.
pub fn set_up(plan: &Plan) -> Result<Executor, Refusal> {
    join(Path::new(CGROUP))?;
    execute::prepare_network().map_err(|error| Refusal::Environment(error.to_string()))?;
    plan.modules.iter().try_for_each(load)?;
    let attached = attach(&plan.pairing, None).transpose().map_err(refused)?;
    let environment = |error: execute::Error| Refusal::Environment(error.to_string());
    let mut executor =
        Executor::new(attached, plan.key, plan.connect_within).map_err(environment)?;
    if let Some(counters) = &plan.counters {
        executor.count_ring_by(&counters.join("ring_bytes")).map_err(environment)?;
    }
    if let Some(points) = &plan.points {
        // after the modules, whose addresses it needs
        let points = Points::read(points).map_err(environment)?;
        executor.trace(Arc::new(points)).map_err(environment)?;
    }
    Ok(executor)
}

/// Connects what is to be measured.
///
/// # Errors
/// As [`set_up`].
pub fn contend(
    pairing: &Pairing,
    busy_poll_us: Option<u32>,
) -> Result<(Bench, Contenders), Refusal> {
    let attach = || {
        attach(pairing, busy_poll_us)
            .unwrap_or_else(|| Err(bpf::Error::Environment("nothing to attach".into())))
    };
    Bench::new(attach, busy_poll_us).map_err(|error| match error {
        execute::Error::Pairing(error) => refused(error),
        error => Refusal::Environment(error.to_string()),
    })
}

/// Attaches the program to the cgroup; `None` where there is none to attach.
fn attach(pairing: &Pairing, busy_poll_us: Option<u32>) -> Option<Result<Attached, bpf::Error>> {
    let kind = match pairing {
        Pairing::None => return None,
        Pairing::Sockhash => Kind::Sockhash,
        Pairing::Ours => Kind::Pair { busy_poll_us },
        Pairing::Object(path) => Kind::Object(path),
    };
    Some(Attached::attach(kind, Path::new(CGROUP)))
}

fn refused(error: bpf::Error) -> Refusal {
    match error {
        bpf::Error::NoKfunc(name) => Refusal::NoKfunc(name),
        bpf::Error::NoBtf => Refusal::NoBtf,
        bpf::Error::BadObject(said) => Refusal::BadObject(said),
        bpf::Error::Environment(said) => Refusal::Environment(said),
    }
}

/// Loads a module; one that is loaded already is as good.
fn load(module: &Module) -> Result<(), Refusal> {
    let failed = |said: String| Refusal::BadModule(format!("{}: {said}", module.path.display()));
    let file = File::open(&module.path).map_err(|error| failed(error.to_string()))?;
    let parameters =
        CString::new(module.parameters.as_str()).map_err(|error| failed(error.to_string()))?;
    match finit_module(file, &parameters, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(Errno::ENOEXEC) => {
            Err(failed("made for another kernel: build it against this one".into()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn join(cgroup: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(cgroup)
        .and_then(|()| fs::write(cgroup.join("cgroup.procs"), "0"))
        .map_err(|error| Refusal::Environment(format!("the cgroup {}: {error}", cgroup.display())))
}
