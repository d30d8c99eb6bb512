//! QEMU's command line.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};

use super::{MachineSpec, QEMU};
use crate::wire::{
    CONTROL_PORT, INPUTS_PORT, RESULTS_PORT, ROOT_TAG, STDERR_PORT, STDIN_PORT, STDOUT_PORT, Share,
    Shares, TERMINAL_PORT,
};

/// Numbers of the descriptors in QEMU.
const INITRAMFS: i32 = 3;
const CONTROL: i32 = 4;
const RESULTS: i32 = 5;
const CONSOLE: i32 = 6;
const MONITOR: i32 = 7;
const FIRST_STREAM: i32 = 8;

/// What QEMU gets from us.
pub(super) struct Inherited {
    pub(super) initramfs: File,
    pub(super) control: UnixStream,
    pub(super) results: UnixStream,
    pub(super) console: PipeWriter,
    pub(super) monitor: UnixStream,
    pub(super) streams: GuestStreams,
    /// What a fuzz target among them says.
    pub(super) inputs: UnixStream,
}

/// The guest's ends of what a program in it talks to.
pub(super) enum GuestStreams {
    /// There is no program.
    None,
    /// Standard input, output and error; what it runs, if it is a fuzz target, has a port of its own.
    Three([UnixStream; 3]),
    /// All in one.
    Terminal(UnixStream),
}

impl GuestStreams {
    /// The devices that they are, with their names.
    fn devices(&self) -> &'static [(&'static str, &'static str)] {
        const PORT: &str = "virtserialport";
        match self {
            GuestStreams::None => &[],
            GuestStreams::Three(_) => {
                &[(PORT, STDIN_PORT), (PORT, STDOUT_PORT), (PORT, STDERR_PORT), (PORT, INPUTS_PORT)]
            }
            GuestStreams::Terminal(_) => &[("virtconsole", TERMINAL_PORT)],
        }
    }

    fn into_ends(self, inputs: UnixStream) -> Vec<UnixStream> {
        match self {
            GuestStreams::None => Vec::new(),
            GuestStreams::Three(ends) => ends.into_iter().chain([inputs]).collect(),
            GuestStreams::Terminal(end) => vec![end],
        }
    }
}

/// What the guest has to mount: outer directories before inner ones.
pub(super) fn shares(spec: &MachineSpec) -> Shares {
    let mut paths = spec.writable.clone();
    paths.sort();
    paths.dedup();
    let writable = paths
        .into_iter()
        .enumerate()
        .map(|(number, path)| Share { tag: format!("writable{number}"), path })
        .collect();
    Shares { writable, cwd: spec.cwd.clone() }
}

/// The command that is the machine. It dies with the thread that spawns it; a process group of its own keeps the
/// terminal's Ctrl-C from it, so that the host can still hear it out.
pub(super) fn command(spec: &MachineSpec, inherited: Inherited) -> io::Result<Command> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", QEMU])
        .args(arguments(spec, inherited.streams.devices()));
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let map = |fd: OwnedFd, child_fd| FdMapping { parent_fd: fd, child_fd };
    let mut mappings = vec![
        map(inherited.initramfs.into(), INITRAMFS),
        map(inherited.control.into(), CONTROL),
        map(inherited.results.into(), RESULTS),
        map(inherited.console.into(), CONSOLE),
        map(inherited.monitor.into(), MONITOR),
    ];
    for (stream, fd) in
        inherited.streams.into_ends(inherited.inputs).into_iter().zip(FIRST_STREAM..)
    {
        mappings.push(map(stream.into(), fd));
    }
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    Ok(command)
}

fn arguments(spec: &MachineSpec, streams: &[(&str, &str)]) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| all.extend(words.iter().map(OsString::from));
    add(&["-name", "sparring", "-M", "q35,usb=off,vmport=off", "-nodefaults", "-no-user-config"]);
    // the panicking guest resets, and a reset ends QEMU
    add(&["-display", "none", "-no-reboot"]);
    add(&spec.accel.arguments());
    add(&["-smp", &spec.vcpus.to_string(), "-m", &spec.memory_mib.to_string()]);
    for (name, fd) in [("control", CONTROL), ("results", RESULTS), ("monitor", MONITOR)] {
        add(&["-chardev", &format!("socket,id={name},fd={fd}")]);
    }
    add(&["-chardev", &format!("file,id=console,path=/proc/self/fd/{CONSOLE}")]);
    add(&["-serial", "chardev:console", "-mon", "chardev=monitor,mode=control"]);
    add(&["-device", "virtio-serial-pci"]);
    add(&["-device", &format!("virtserialport,chardev=control,name={CONTROL_PORT}")]);
    add(&["-device", &format!("virtserialport,chardev=results,name={RESULTS_PORT}")]);
    for ((device, name), fd) in streams.iter().zip(FIRST_STREAM..) {
        add(&["-chardev", &format!("socket,id={name},fd={fd}")]);
        add(&["-device", &format!("{device},chardev={name},name={name}")]);
    }
    add(&["-append", &crate::boot::command_line(&spec.append)]);
    add(&["-initrd", &format!("/proc/self/fd/{INITRAMFS}")]);
    all.push("-kernel".into());
    all.push(spec.kernel.clone().into());
    share(&mut all, ROOT_TAG, Path::new("/"), true);
    for writable in shares(spec).writable {
        share(&mut all, &writable.tag, &writable.path, false);
    }
    all
}

/// A 9p share. `security_model=none`: files keep their owners, and a host user who is not root needs no privileges.
/// `multidevs=remap`: a root that spans file systems has equal inode numbers, which 9p must tell apart.
fn share(all: &mut Vec<OsString>, tag: &str, path: &Path, readonly: bool) {
    let mut value =
        OsString::from(format!("local,id={tag},security_model=none,multidevs=remap,path="));
    value.push(escaped(path));
    if readonly {
        value.push(",readonly=on");
    }
    all.push("-fsdev".into());
    all.push(value);
    all.push("-device".into());
    all.push(format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}").into());
}

/// A path as part of an option, where QEMU wants commas doubled.
fn escaped(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;

    fn spec() -> MachineSpec {
        MachineSpec {
            kernel: "/k".into(),
            agent: "/a".into(),
            accel: crate::accel::Accel::Tcg,
            vcpus: 2,
            memory_mib: 512,
            writable: vec!["/w/out".into(), "/w".into(), "/x,y".into()],
            cwd: "/w".into(),
            console_log: "/w/console.log".into(),
            boot_limit: Duration::from_secs(1),
            append: vec!["foo=bar".into()],
        }
    }

    #[test_log::test]
    fn outer_directories_are_mounted_first() {
        let paths: Vec<PathBuf> = shares(&spec()).writable.into_iter().map(|s| s.path).collect();
        assert_eq!(paths, [Path::new("/w"), Path::new("/w/out"), Path::new("/x,y")]);
    }

    #[test_log::test]
    fn only_the_named_directories_are_writable() {
        let all = arguments(&spec(), &[]);
        let shares: Vec<_> = all
            .iter()
            .filter_map(|a| a.to_str())
            .filter(|a| a.contains("security_model"))
            .collect();
        assert_eq!(shares.len(), 4);
        assert!(shares[0].ends_with("path=/,readonly=on"), "{shares:?}");
        assert!(shares[3].ends_with("path=/x,,y"), "{shares:?}");
        assert!(!all.iter().any(|a| a.to_string_lossy().contains("net")), "no network device");
    }
}
