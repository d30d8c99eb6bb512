//! The virtio-serial ports, found by name in sysfs since nobody makes `/dev/virtio-ports` here.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use vm::wire::TERMINAL_PORT;

/// How long ports may take to appear: the host announces them one by one.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);
const CLASS: &str = "/sys/class/virtio-ports";
/// A port that is a console is a terminal as well, and cannot be opened as a port (`port_fops_open()` in
/// `drivers/char/virtio_console.c`). There is only one, so it is the first.
const TERMINAL: &str = "/dev/hvc0";

/// Whether there is a port of that name: outside of a guest there is none.
#[must_use]
pub fn exists(name: &str) -> bool {
    find(Path::new(CLASS), name).is_some()
}

/// Opens the port of that name, for reading and writing.
///
/// # Errors
/// If there is none, or somebody else has opened it.
pub fn open(name: &str) -> Result<File> {
    open_device(name, &wait_for(name)?)
}

/// Opens the terminal that the host gave the guest.
pub fn terminal() -> Result<File> {
    // its name comes last, when the terminal is there
    wait_for(TERMINAL_PORT)?;
    open_device(TERMINAL_PORT, Path::new(TERMINAL))
}

fn open_device(name: &str, device: &Path) -> Result<File> {
    let opened = File::options().read(true).write(true).open(device);
    opened.with_context(|| format!("port {name} ({})", device.display()))
}

/// The device of the port of that name.
fn wait_for(name: &str) -> Result<PathBuf> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(device) = find(Path::new(CLASS), name) {
            return Ok(device);
        }
        if !Path::new(CLASS).exists() {
            bail!("no virtio ports: the kernel needs CONFIG_VIRTIO_CONSOLE and CONFIG_VIRTIO_PCI");
        }
        if Instant::now() >= end {
            bail!("no port {name}: host and agent are not of the same build");
        }
        std::thread::sleep(PAUSE);
    }
}

/// The device whose `name` in sysfs is that.
fn find(class: &Path, name: &str) -> Option<PathBuf> {
    let ports = fs::read_dir(class).ok()?;
    ports.flatten().find_map(|port| {
        let found = fs::read_to_string(port.path().join("name")).ok()?;
        (found.trim_end() == name).then(|| Path::new("/dev").join(port.file_name()))
    })
}

/// The host's words. Until the host's end is open, a port reads as ended (`port_fops_read()` in
/// `drivers/char/virtio_console.c`); the host speaks first, so that only an end after that is one.
pub struct Control {
    port: File,
    heard: bool,
}

impl Control {
    /// The words that come from this port.
    pub fn new(port: File) -> Control {
        Control { port, heard: false }
    }
}

impl Read for Control {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.port.read(buffer)?;
            if got > 0 || self.heard {
                self.heard = true;
                return Ok(got);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn a_port_is_found_by_its_name() {
        let class = tempfile::tempdir().unwrap();
        for (port, name) in [("vport0p1", "a.b\n"), ("vport0p2", "c.d\n")] {
            fs::create_dir(class.path().join(port)).unwrap();
            fs::write(class.path().join(port).join("name"), name).unwrap();
        }
        assert_eq!(find(class.path(), "c.d"), Some("/dev/vport0p2".into()));
        assert_eq!(find(class.path(), "c"), None);
    }
}
