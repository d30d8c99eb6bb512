//! What a guest starts from: an initramfs that holds nothing but the agent, and the kernel's command line.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use cpio::newc::{Builder, ModeFileType, trailer};

/// Why no initramfs could be made.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// The agent, or a library that it needs, cannot be read.
    #[error("{} cannot be read: {source}; build the agent with `cargo build -p agent`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// `ldd(1)` failed, or a library of the agent is not installed.
    #[error("the libraries of {} are not to be found: {said}", .agent.display())]
    Libraries {
        /// The agent.
        agent: PathBuf,
        /// What ldd said.
        said: String,
    },
    /// Writing failed.
    #[error("the initramfs cannot be written: {0}; is there room in the temporary directory?")]
    Write(#[from] io::Error),
}

/// The agent's name in the initramfs, and so in the kernel's reports.
const AGENT: &str = "sparring-agent";
/// Mount points that must be there before anything can be mounted.
const DIRECTORIES: [&str; 4] = ["dev", "proc", "sys", "host"];

/// Writes an uncompressed cpio archive (Linux, `driver-api/early-userspace/buffer-format`) with the agent as
/// `/sparring-agent` and with its libraries where it looks for them.
///
/// Uncompressed, because unpacking under TCG costs more than QEMU's copying.
///
/// # Errors
/// When the agent or its libraries cannot be read, or the archive not be written.
pub fn initramfs(agent: &Path, archive: impl Write) -> Result<(), InitramfsError> {
    let mut files = vec![(PathBuf::from(AGENT), stripped(agent)?)];
    for library in libraries(agent)? {
        files.push((library.strip_prefix("/").unwrap_or(&library).to_owned(), read(&library)?));
    }
    let mut directories: BTreeSet<PathBuf> = DIRECTORIES.iter().map(PathBuf::from).collect();
    for (path, _) in &files {
        directories.extend(path.ancestors().skip(1).map(Path::to_owned));
    }
    directories.remove(Path::new(""));
    let mut archive = archive;
    let mut number = 1;
    for path in &directories {
        // sorted: a directory comes before what is in it
        archive = add(archive, path, number, ModeFileType::Directory, &[])?;
        number += 1;
    }
    archive = console(archive, number)?;
    number += 1;
    for (path, bytes) in &files {
        archive = add(archive, path, number, ModeFileType::Regular, bytes)?;
        number += 1;
    }
    trailer(archive)?.flush()?;
    Ok(())
}

fn add<W: Write>(
    archive: W,
    path: &Path,
    number: u32,
    kind: ModeFileType,
    bytes: &[u8],
) -> Result<W, InitramfsError> {
    let name = path.to_string_lossy();
    let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let entry = Builder::new(&name).ino(number).mode(0o755).set_mode_file_type(kind);
    let mut entry = entry.write(archive, size);
    entry.write_all(bytes)?;
    Ok(entry.finish()?)
}

/// The kernel opens `/dev/console` for its first process before that could mount anything.
fn console<W: Write>(archive: W, number: u32) -> Result<W, InitramfsError> {
    let node = Builder::new("dev/console").ino(number).mode(0o600);
    let node = node.set_mode_file_type(ModeFileType::Char).rdev_major(5).rdev_minor(1);
    Ok(node.write(archive, 0).finish()?)
}

fn read(path: &Path) -> Result<Vec<u8>, InitramfsError> {
    fs::read(path).map_err(|source| InitramfsError::Read { path: path.to_owned(), source })
}

/// The agent without its debug information, which is most of it and of no use in the guest. Where strip(1) is
/// missing, as it is.
fn stripped(agent: &Path) -> Result<Vec<u8>, InitramfsError> {
    let whole = read(agent)?;
    let smaller = tempfile::NamedTempFile::new()?;
    let status = Command::new("strip").arg("-o").arg(smaller.path()).arg(agent).status();
    if status.is_ok_and(|status| status.success()) { read(smaller.path()) } else { Ok(whole) }
}

/// The shared libraries of a program and its dynamic linker, by absolute path.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>, InitramfsError> {
    let failed = |said: String| InitramfsError::Libraries { agent: program.to_owned(), said };
    let output = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| failed(format!("ldd: {error}; install libc-bin")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned() + &said;
        // a static program has no libraries, which ldd calls a failure
        let fixed = complaint.contains("not a dynamic executable");
        return if fixed { Ok(BTreeSet::new()) } else { Err(failed(complaint)) };
    }
    listed(&said).map_err(failed)
}

/// Reads `ldd(1)`: `name => /path (0x…)`, `/path (0x…)`, `linux-vdso.so.1 (0x…)`, `name => not found`.
fn listed(said: &str) -> Result<BTreeSet<PathBuf>, String> {
    let mut paths = BTreeSet::new();
    for line in said.lines().map(str::trim) {
        if line.ends_with("not found") {
            return Err(line.to_owned());
        }
        let target = line.split_once("=> ").map_or(line, |(_, target)| target);
        let path = target.rsplit_once(" (").map_or(target, |(path, _)| path);
        if path.starts_with('/') {
            paths.insert(PathBuf::from(path));
        }
    }
    Ok(paths)
}

/// The kernel's command line (Linux, `admin-guide/kernel-parameters.txt`), with the caller's words at the end,
/// where they overrule ours.
///
/// - the console is the first serial port, from the first line on; at boot only warnings and worse are printed,
///   since each character is a trip through QEMU; the agent raises the level when it starts;
/// - timestamps tell the kernel's lines from those of programs;
/// - an oops is a panic and a panic is a reset, which ends QEMU (`-no-reboot`): nothing more can be learnt from a
///   guest with a broken kernel;
/// - what hangs is *reported* and does not panic, so that it has a name of its own;
/// - `unknown_nmi_panic`: QEMU's `inject-nmi` then gets a stack trace out of a processor that answers nothing else;
/// - nothing is randomised, mitigated or waited for.
#[must_use]
pub fn command_line(append: &[String]) -> String {
    let ours = "console=ttyS0,115200 earlyprintk=serial,ttyS0,115200 loglevel=5 printk.time=1 \
         panic=-1 oops=panic unknown_nmi_panic sysrq_always_enabled \
         sysctl.kernel.hung_task_timeout_secs=15 sysctl.kernel.hung_task_warnings=-1 \
         sysctl.kernel.softlockup_panic=0 sysctl.kernel.hung_task_panic=0 \
         nokaslr mitigations=off random.trust_cpu=on random.trust_bootloader=on \
         no_timer_check tsc=reliable i8042.noaux i8042.nokbd rdinit=/sparring-agent";
    let mut line = ours.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in append {
        line.push(' ');
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn ldd_is_read_in_all_its_forms() {
        let said = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x0000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = listed(said).unwrap();
        let wanted = ["/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(paths, wanted.iter().map(PathBuf::from).collect());
        assert_eq!(listed("\tlibx.so => not found"), Err("libx.so => not found".into()));
    }

    #[test_log::test]
    fn an_archive_holds_the_program_its_libraries_and_the_way_there() {
        let mut archive = Vec::new();
        initramfs(Path::new("/bin/true"), &mut archive).unwrap();
        let mut names = Vec::new();
        let mut rest = archive.as_slice();
        loop {
            let entry = cpio::newc::Reader::new(rest).unwrap();
            if entry.entry().is_trailer() {
                break;
            }
            names.push(entry.entry().name().to_owned());
            rest = entry.finish().unwrap();
        }
        for wanted in [AGENT, "host", "lib64", "lib64/ld-linux-x86-64.so.2"] {
            assert!(names.iter().any(|name| name == wanted), "{wanted} not in {names:?}");
        }
        assert!(names.iter().all(|name| !name.starts_with('/')), "{names:?}");
    }

    #[test_log::test]
    fn a_missing_agent_is_named() {
        let error = initramfs(Path::new("/nonexistent/agent"), Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/agent"), "{error}");
    }

    #[test_log::test]
    fn the_callers_words_come_last() {
        let line = command_line(&["loglevel=7".into()]);
        assert!(line.ends_with(" loglevel=7") && !line.contains("  "), "{line}");
    }
}
