//! What runs the guest's instructions: KVM where it works, else QEMU itself.
//!
//! `/dev/kvm` may exist, open and create VMs while every guest dies at once, so a probe guest decides.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strum::{Display, EnumString};

use crate::machine::QEMU;

/// Environment variable that overrules the probe: `kvm` or `tcg`.
pub const OVERRULE: &str = "SPARRING_ACCEL";
/// A probe guest that has not answered by then is a guest that does not run.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// What QEMU returns when the probe guest writes [`PROBE_CODE`] to `isa-debug-exit`: `code << 1 | 1`.
const PROBE_STATUS: i32 = 0x55 << 1 | 1;
const PROBE_CODE: u8 = 0x55;
const PROBE_PORT: u8 = 0xf4;

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Accel {
    /// The processor (`/dev/kvm`).
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accel {
    /// What QEMU is told: the same for the probe as for every machine.
    pub(crate) fn arguments(self) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // with "enhanced rep movsb" the kernel clears and copies by the byte (clear_page_erms), which the translator
            // executes byte by byte
            Accel::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,erms=off"],
        }
    }
}

/// Decides, with the answer of an earlier call in the same boot of the host where `cache` has one.
///
/// A wrong `SPARRING_ACCEL` is ignored with a warning. A cache that cannot be written only costs the next probe.
#[must_use]
pub fn decide(cache: &Path) -> Accel {
    if let Ok(wanted) = std::env::var(OVERRULE) {
        match wanted.parse() {
            Ok(accel) => return accel,
            Err(_) => tracing::warn!("{OVERRULE}={wanted} is neither kvm nor tcg; ignored"),
        }
    }
    if !Path::new("/dev/kvm").exists() {
        return Accel::Tcg;
    }
    let file = cache.join(format!("accel-{}", circumstances()));
    if let Ok(answer) = fs::read_to_string(&file)
        && let Ok(accel) = answer.trim().parse()
    {
        return accel;
    }
    let accel = match probe(Path::new(QEMU), Accel::Kvm, PROBE_LIMIT) {
        Ok(true) => Accel::Kvm,
        Ok(false) => Accel::Tcg,
        Err(error) => {
            tracing::debug!("no answer about KVM: {error}");
            return Accel::Tcg;
        }
    };
    tracing::debug!("probe guest: {accel}");
    if let Err(error) = remember(&file, accel) {
        tracing::debug!("{} not written: {error}", file.display());
    }
    accel
}

/// What the answer depends on: the host's boot, its KVM module, and QEMU.
fn circumstances() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let version = Command::new(QEMU).arg("--version").output().map(|o| o.stdout);
    let digest = Sha256::new().chain_update(boot).chain_update(version.unwrap_or_default());
    digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remember(file: &Path, accel: Accel) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // Renamed into place: several commands may start at once.
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    writeln!(new, "{accel}")?;
    new.persist(file)?;
    Ok(())
}

/// The probe guest, loaded at 0x7c00 in real mode: it does what a kernel does first, enters long mode with paging, and
/// then counts, which takes a processor milliseconds and a KVM that emulates every instruction longer than the limit.
#[rustfmt::skip]
const PROBE: [u8; 150] = [
    0xfa,                                                 // cli
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0xfc,             // ds = es = 0; cld
    0x66, 0xbf, 0x00, 0x10, 0x00, 0x00,                   // edi = 0x1000
    0x66, 0xb9, 0x00, 0x0c, 0x00, 0x00,                   // ecx = 0xc00: three pages
    0x66, 0x31, 0xc0, 0x66, 0xf3, 0xab,                   // eax = 0; rep stosl
    0x66, 0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, 0x00, 0x00, // [0x1000] = 0x2003: PML4
    0x66, 0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, 0x00, 0x00, // [0x2000] = 0x3003: PDPT
    0x66, 0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, 0x00, 0x00, // [0x3000] = 0x83: 2 MiB at 0
    0x66, 0xb8, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xd8, // cr3 = 0x1000
    0x0f, 0x20, 0xe0, 0x66, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0, // cr4 |= PAE
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32,       // rdmsr EFER
    0x66, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30,       // EFER |= LME
    0x0f, 0x01, 0x16, 0x90, 0x7c,                         // lgdt 0x7c90
    0x0f, 0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, // cr0 |= PG | PE
    0xea, 0x6e, 0x7c, 0x08, 0x00,                         // ljmp 8:0x7c6e
    0xb9, 0x80, 0xf0, 0xfa, 0x02,                         // ecx = 50,000,000
    0xff, 0xc9, 0x75, 0xfc,                               // 1: dec ecx; jnz 1b
    0xb0, PROBE_CODE, 0xe6, PROBE_PORT,                   // out PROBE_PORT, PROBE_CODE
    0xf4, 0xeb, 0xfd, 0x66, 0x90,                         // 2: hlt; jmp 2b
    0, 0, 0, 0, 0, 0, 0, 0,                               // 0x7c80: no segment,
    0, 0, 0, 0, 0x00, 0x9a, 0x20, 0x00,                   // 64-bit code
    0x0f, 0x00, 0x80, 0x7c, 0x00, 0x00,                   // 0x7c90: 16 bytes at 0x7c80
];

fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..PROBE.len()].copy_from_slice(&PROBE);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Whether a guest runs under `accel`: SeaBIOS, and then [`PROBE`].
fn probe(qemu: &Path, accel: Accel, limit: Duration) -> io::Result<bool> {
    let mut disk = tempfile::NamedTempFile::new()?;
    disk.write_all(&boot_sector())?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(qemu);
    command.args(["-M", "pc", "-m", "32", "-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-no-reboot", "-boot", "c"]).args(accel.arguments());
    command.args(["-device", &format!("isa-debug-exit,iobase={PROBE_PORT:#x},iosize=1")]);
    command.arg("-drive");
    command.arg(format!("file={},format=raw,if=ide,readonly=off", disk.path().display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = status_within(&mut command, limit)?;
    Ok(status.is_some_and(|status| status.code() == Some(PROBE_STATUS)))
}

/// Runs a program; kills it at the limit, which gives `None`.
fn status_within(command: &mut Command, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn the_probe_guest_runs_where_guests_run() {
        match probe(Path::new(QEMU), Accel::Tcg, Duration::from_secs(60)) {
            Ok(ran) => assert!(ran),
            Err(error) => eprintln!("skipped: no QEMU here: {error}"),
        }
    }

    #[test_log::test]
    fn a_qemu_that_says_nothing_is_not_waited_for() {
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        assert!(status_within(&mut sleep, Duration::from_millis(50)).unwrap().is_none());
    }

    #[test_log::test]
    fn an_answer_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/accel-x");
        remember(&file, Accel::Kvm).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap().trim().parse(), Ok(Accel::Kvm));
    }
}
