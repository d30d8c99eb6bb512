//! A cgroup for a test in a guest.

use std::path::PathBuf;
use std::{fs, process};

/// Where the unified hierarchy is mounted.
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (path, kind) = (fields.nth(1)?, fields.next()?);
        (kind == "cgroup2").then(|| path.into())
    })
}

/// A cgroup with only this process in it; it leaves and removes it on drop.
pub struct Cgroup {
    root: PathBuf,
    /// Where it is.
    pub path: PathBuf,
}

impl Cgroup {
    /// Makes it and moves this process into it.
    pub fn enter() -> Cgroup {
        let root = cgroup2().expect("a guest has cgroup2");
        let path = root.join(format!("sparring-{}", process::id()));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("cgroup.procs"), process::id().to_string()).unwrap();
        Cgroup { root, path }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.root.join("cgroup.procs"), process::id().to_string());
        let _ = fs::remove_dir(&self.path);
    }
}
