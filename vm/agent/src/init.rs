//! PID 1: prepares the guest, starts the worker, buries the dead, switches off.

use std::fs;
use std::process::{Child, Command};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::files::mount;
use crate::{WORKER, say};

/// Console level from here on: everything but debug messages. Nothing is printed in the ordinary course of a
/// scenario, and what a hang report or a stall prints is of level `info`.
const PRINTK: &str = "7 4 1 7";

/// Returns only if it cannot switch off, which makes the kernel panic and so ends the guest all the same.
pub fn run() -> Result<()> {
    if let Err(error) = live() {
        say(&format!("{error:#}"));
    }
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF) {
        Ok(never) => match never {},
        Err(error) => bail!("not switched off: {error}"),
    }
}

fn live() -> Result<()> {
    prepare()?;
    let worker = Command::new(std::env::args_os().next().context("no name of ours")?)
        .arg(WORKER)
        .spawn()
        .context("the worker")?;
    match wait_for(&worker)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, code) => bail!("the worker ended with code {code}"),
        WaitStatus::Signaled(_, signal, _) => bail!("the worker was killed by {signal}"),
        status => bail!("the worker: {status:?}"),
    }
}

/// Waits for the worker, and for everybody who has no parent any more.
fn wait_for(worker: &Child) -> Result<WaitStatus> {
    let worker = Pid::from_raw(i32::try_from(worker.id()).context("pid")?);
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(worker) => return Ok(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => bail!("waiting for the worker: {error}"),
        }
    }
}

/// What every program expects to find. The kernels that we build have all of it; somebody else's may lack the last
/// ones, which only some programs need.
fn prepare() -> Result<()> {
    let nothing = MsFlags::empty();
    mount("proc", "/proc", "proc", nothing, "")?;
    mount("sysfs", "/sys", "sysfs", nothing, "")?;
    mount("devtmpfs", "/dev", "devtmpfs", nothing, "")?;
    for (source, target, kind, data) in [
        ("devpts", "/dev/pts", "devpts", "mode=620,ptmxmode=666"),
        ("tmpfs", "/dev/shm", "tmpfs", "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", "cgroup2", ""),
        ("bpf", "/sys/fs/bpf", "bpf", ""),
        ("debugfs", "/sys/kernel/debug", "debugfs", ""),
    ] {
        if let Err(error) = mount(source, target, kind, nothing, data) {
            say(&format!("without {kind}: {error:#}"));
        }
    }
    for (link, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        // udev's work elsewhere (systemd, dev-setup.c)
        let _ =
            std::os::unix::fs::symlink(format!("/proc/self/fd{target}"), format!("/dev/{link}"));
    }
    fs::write("/proc/sys/kernel/printk", PRINTK).context("the console's level")?;
    nix::unistd::sethostname("sparring").context("the host name")
}
