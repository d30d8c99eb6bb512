//! The host's files in the guest: its root read-only, the shared directories on top of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use nix::errno::Errno;
use nix::mount::MsFlags;
use vm::wire::{ROOT_TAG, Shares};

/// Where the host's root is before it becomes ours.
const HOST: &str = "/host";
/// The root cannot change under a guest that lives for minutes, as far as the guest is concerned: what it read
/// stays in its page cache, which programs that are started again and again gain from.
const ROOT_OPTIONS: &str = "trans=virtio,version=9p2000.L,msize=262144,cache=loose";
/// What is written must be on the host when the call returns, because the guest's memory may be gone a moment
/// later (Linux, `filesystems/9p.rst`: every cache mode but `none` and `readahead` delays writes).
const SHARE_OPTIONS: &str = "trans=virtio,version=9p2000.L,msize=262144,cache=none";

/// Mounts, with the mount point made where it is missing and possible.
pub fn mount(source: &str, target: &str, kind: &str, flags: MsFlags, data: &str) -> Result<()> {
    // it may be there, or be on a file system that says no; mount knows
    let _ = fs::create_dir_all(target);
    nix::mount::mount(Some(source), target, Some(kind), flags, Some(data))
        .with_context(|| format!("{kind} on {target}"))
}

/// Makes the host's files ours.
pub fn enter(shares: &Shares) -> Result<()> {
    mount_9p(ROOT_TAG, Path::new(HOST), ROOT_OPTIONS, MsFlags::MS_RDONLY)?;
    for ours in ["proc", "sys", "dev"] {
        let target = Path::new(HOST).join(ours);
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        nix::mount::mount(
            Some(&Path::new("/").join(ours)),
            &target,
            None::<&str>,
            flags,
            None::<&str>,
        )
        .with_context(|| format!("/{ours} on {}", target.display()))?;
    }
    for share in &shares.writable {
        let target = inside(&share.path)?;
        mount_9p(&share.tag, &target, SHARE_OPTIONS, MsFlags::empty())?;
    }
    nix::unistd::chroot(HOST).context("chroot")?;
    std::env::set_current_dir(&shares.cwd)
        .with_context(|| format!("the working directory {}", shares.cwd.display()))
}

fn inside(path: &Path) -> Result<PathBuf> {
    let relative =
        path.strip_prefix("/").with_context(|| format!("{} is not absolute", path.display()))?;
    Ok(Path::new(HOST).join(relative))
}

fn mount_9p(tag: &str, target: &Path, options: &str, flags: MsFlags) -> Result<()> {
    nix::mount::mount(Some(tag), target, Some("9p"), flags, Some(options)).map_err(|error| {
        let advice = match error {
            Errno::ENODEV => ": the kernel needs CONFIG_NET_9P_VIRTIO and CONFIG_9P_FS",
            Errno::ENOENT => ": no such share, or no such directory on the host",
            _ => "",
        };
        anyhow!("9p share {tag} on {}: {error}{advice}", target.display())
    })
}
