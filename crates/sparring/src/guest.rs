//! A machine that was booted and set up for a kernel target.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use vm::machine::{BootError, Event, Machine, MachineSpec};
use vm::patience;
use vm::splat::Splat;
use vm::wire::{FromGuest, Plan, Refusal, ToGuest};

use crate::exit::Failure;

/// How long loading modules and BPF programs may take.
const SETUP: Duration = Duration::from_secs(60);

/// What to boot and how to set it up.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The machine.
    pub machine: MachineSpec,
    /// What the guest does before its first scenario. How long connecting may take is set when it has booted.
    pub plan: Plan,
    /// Whether the kernel image was given by the user: one that does not boot is then bad input.
    pub kernel_given: bool,
    /// Our module, where it is among those to be loaded: if it cannot be used, the harness is broken.
    pub reference: Option<PathBuf>,
}

/// A machine that was booted and set up.
pub struct Guest {
    /// The machine.
    pub machine: Machine,
    /// `uname -r`
    pub release: String,
    /// Seconds from the start of QEMU until the agent answered.
    pub boot_s: f64,
    /// What the kernel complained about until it was set up.
    pub early: Vec<Splat>,
}

/// Processors of a guest whose lanes can race: two, where the host has them.
#[must_use]
pub fn racing_vcpus() -> u32 {
    let host = thread::available_parallelism().map_or(1, Into::into);
    u32::try_from(host).unwrap_or(2).min(2)
}

impl Spec {
    /// Boots and sets up.
    ///
    /// # Errors
    /// [`Failure::Kernel`] where the kernel panics, [`Failure::Skip`] where it lacks the kfunc, [`Failure::BadInput`] where it lacks BTF or a given
    /// object does not load, [`Failure::Harness`] for the rest.
    pub fn boot(&self) -> Result<Guest, Failure> {
        let mut machine = Machine::boot(&self.machine).map_err(|e| self.boot_failure(&e))?;
        let release = machine.hello().release.clone();
        let boot_s = machine.hello().took.as_secs_f64();
        let plan = Plan { connect_within: patience::to_connect(boot_s), ..self.plan.clone() };
        let early = self.set_up(&mut machine, &plan)?;
        Ok(Guest { machine, release, boot_s, early })
    }

    /// Sorts what the guest could not be set up for into the exit codes.
    pub fn refused(&self, refusal: Refusal) -> Failure {
        refused(refusal, self.reference.as_deref())
    }

    /// Sets a guest up as planned; what its kernel complained about meanwhile.
    ///
    /// # Errors
    /// As [`Spec::boot`].
    pub fn set_up(&self, machine: &mut Machine, plan: &Plan) -> Result<Vec<Splat>, Failure> {
        machine
            .send(&ToGuest::Setup(plan.clone()))
            .map_err(|e| Failure::Harness(format!("the guest does not listen: {e}")))?;
        let deadline = Instant::now() + SETUP;
        let mut early = Vec::new();
        loop {
            match machine.next_event(deadline.saturating_duration_since(Instant::now())) {
                Event::Message(FromGuest::Ready) => return Ok(early),
                Event::Message(FromGuest::Refused(refusal)) => {
                    return Err(self.refused(refusal));
                }
                Event::Message(other) => {
                    tracing::warn!(?other, "unexpected message while setting up");
                }
                Event::Splat(splat) => early.push(splat),
                Event::Ended(ending) => {
                    let what = format!(
                        "the guest ended while modules and programs were loaded: {ending}; see {}",
                        self.machine.console_log.display()
                    );
                    return Err(match ending.kernels() {
                        Some(_) => Failure::Kernel(what),
                        None => Failure::Harness(what),
                    });
                }
                Event::Timeout => {
                    return Err(Failure::Harness(format!(
                        "the guest did not finish its set-up within {} s; see {}",
                        SETUP.as_secs(),
                        self.machine.console_log.display()
                    )));
                }
            }
        }
    }

    /// Sorts a failed boot into the exit codes.
    pub fn boot_failure(&self, error: &BootError) -> Failure {
        let kernels_fault = matches!(
            error,
            BootError::Start { .. }
                | BootError::Panicked(_)
                | BootError::Silent(_)
                | BootError::NoHello { .. }
                | BootError::Refused(_)
                | BootError::Ended { .. }
        );
        if self.kernel_given && kernels_fault {
            Failure::BadInput(format!("{} does not boot: {error}", self.machine.kernel.display()))
        } else {
            Failure::Harness(error.to_string())
        }
    }
}

/// Sorts what the guest could not be set up for into the exit codes; `reference` is where our module was loaded from.
fn refused(refusal: Refusal, reference: Option<&Path>) -> Failure {
    let is_ours =
        |why: &str| reference.is_some_and(|path| why.starts_with(&*path.to_string_lossy()));
    match refusal {
        Refusal::NoKfunc(name) if reference.is_some() && name == kmod::KFUNC => Failure::Harness(format!(
            "the reference module is loaded and this kernel has no kfunc {name} all the same: report this"
        )),
        Refusal::BadModule(why) if is_ours(&why) => {
            Failure::Harness(format!("the reference module does not load: {why}"))
        }
        Refusal::NoKfunc(name) => Failure::Skip(format!(
            "this kernel has no kfunc {name}: give a kernel, --series or --module that has it, or use --target plain"
        )),
        Refusal::NoBtf => Failure::BadInput(
            "this kernel has no BTF, without which no kfunc can be called: build it with CONFIG_DEBUG_INFO_BTF=y"
                .into(),
        ),
        Refusal::BadObject(why) => Failure::BadInput(format!("the pairing object does not load: {why}")),
        Refusal::BadModule(why) => Failure::BadInput(format!("the module does not load: {why}")),
        Refusal::Environment(why) => Failure::Harness(format!("the guest could not be set up: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn what_the_guest_lacks_decides_the_exit_code() {
        let code = |refusal| refused(refusal, None).code();
        assert_eq!(code(Refusal::NoKfunc("bpf_sock_splice_pair".into())), 4);
        assert_eq!(code(Refusal::NoBtf), 2);
        assert_eq!(code(Refusal::BadObject("no such file".into())), 2);
        assert_eq!(code(Refusal::BadModule("made for another kernel".into())), 2);
        assert_eq!(code(Refusal::Environment("no cgroup2".into())), 69);
        let code = |refusal| refused(refusal, Some(Path::new("/ours.ko"))).code();
        assert_eq!(code(Refusal::NoKfunc("bpf_sock_splice_pair".into())), 69);
        assert_eq!(code(Refusal::NoKfunc("another".into())), 4);
        assert_eq!(code(Refusal::BadModule("/ours.ko: made for another kernel".into())), 69);
        assert_eq!(code(Refusal::BadModule("/theirs.ko: made for another kernel".into())), 2);
    }
}
