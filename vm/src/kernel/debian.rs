//! Debian's packaged kernel source, fetched by apt into a state of its own: the machine's package
//! lists, sources and installed packages stay as they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::cache::Cache;
use super::error::{KernelError, io_at};
use super::{Progress, run, tree};

/// The package; its name carries the version, which a newer suite does not have.
const PACKAGE: &str = "linux-source-7.2";
const SUITE: &str = "trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An unpacked package, never changed after.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) dir: PathBuf,
    /// The package and its version, as "linux-source-7.2 7.2.12-1".
    pub(crate) name: String,
}

/// The unpacked package in `cache`, the latest fetched if there are several.
pub(crate) fn cached(cache: &Cache) -> Result<Option<Source>, KernelError> {
    let sources = cache.sources();
    let mut latest: Option<(SystemTime, Source)> = None;
    for entry in fs::read_dir(&sources).map_err(io_at(&sources))? {
        let entry = entry.map_err(io_at(&sources))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        // Renamed into place when complete: nothing else has this form of a name.
        let Some((package, version)) = file.split_once('_') else {
            continue;
        };
        let date = entry.metadata().and_then(|meta| meta.modified()).map_err(io_at(&sources))?;
        if latest.as_ref().is_none_or(|(other, _)| *other < date) {
            let name = format!("{package} {version}");
            latest = Some((date, Source { dir: entry.path(), name }));
        }
    }
    Ok(latest.map(|(_, source)| source))
}

/// The unpacked package, fetched if need be.
pub(crate) fn fetch(cache: &Cache, progress: &dyn Progress) -> Result<Source, KernelError> {
    let _lock = cache.lock("source", progress)?;
    if let Some(source) = cached(cache)? {
        return Ok(source);
    }
    let log = cache.log("source");
    fs::write(&log, "").map_err(io_at(&log))?;
    let mirror = mirror()?;
    progress.stage("fetching the kernel source");
    let scratch = cache.scratch()?;
    let apt = Apt::new(scratch.path(), &mirror)?;
    step("apt-get update", apt.command().arg("update"), &log)?;
    step("apt-get download", apt.command().args(["download", PACKAGE]), &log)?;
    let deb = find_with(scratch.path(), ".deb")?;
    let name = deb.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version = name.split('_').nth(1).unwrap_or("unknown").replace("%3a", ":");

    progress.stage("unpacking the kernel source");
    let unpacked = scratch.path().join("deb");
    step("dpkg-deb", run::command("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked), &log)?;
    let archive = find_with(&unpacked.join("usr/src"), ".tar.xz")?;
    let source = scratch.path().join("source");
    fs::create_dir(&source).map_err(io_at(&source))?;
    let mut tar = run::command("tar");
    tar.arg("-xf").arg(&archive).args(["--strip-components=1", "-C"]).arg(&source);
    step("tar", &mut tar, &log)?;
    tree::check(&source)?;
    let dir = cache.sources().join(format!("{PACKAGE}_{version}"));
    // tar gave it the date of the archive's; the latest fetched is what counts.
    let handle = File::open(&source).map_err(io_at(&source))?;
    handle.set_modified(SystemTime::now()).map_err(io_at(&source))?;
    fs::rename(&source, &dir).map_err(io_at(&dir))?;
    Ok(Source { dir, name: format!("{PACKAGE} {version}") })
}

/// The Debian mirror that this machine is configured for.
fn mirror() -> Result<String, KernelError> {
    let no_package = |why: &str| KernelError::NoPackage { why: why.to_owned() };
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]);
    let (succeeded, output) =
        run::output(&mut apt, "apt-get").map_err(|_| no_package("apt-get not found"))?;
    let uri = output.lines().map(str::trim).find(|line| line.contains(":/"));
    match uri {
        Some(uri) if succeeded => Ok(uri.to_owned()),
        _ => Err(no_package(
            "apt is not configured for a Debian mirror, or `apt-get update` was never run",
        )),
    }
}

/// apt with everything that it reads or writes below one directory.
struct Apt {
    dir: PathBuf,
}

impl Apt {
    fn new(dir: &Path, mirror: &str) -> Result<Self, KernelError> {
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).map_err(io_at(&sub))?;
        }
        let list = dir.join("sources.list");
        let text = format!("deb [signed-by={KEYRING}] {mirror} {SUITE} main\n");
        fs::write(&list, text).map_err(io_at(&list))?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn command(&self) -> Command {
        let mut command = run::command("apt-get");
        command.current_dir(&self.dir).args(["-q"]);
        for (option, value) in [
            ("Dir::State", "state"),
            ("Dir::State::Lists", "state/lists"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::SourceList", "sources.list"),
        ] {
            command.arg("-o").arg(format!("{option}={}", self.dir.join(value).display()));
        }
        // The user that root's apt would download as cannot write below a private directory.
        for option in [
            "Dir::Etc::SourceParts=/dev/null",
            "Dir::State::status=/dev/null",
            "APT::Sandbox::User=root",
            "APT::Update::Error-Mode=any",
        ] {
            command.args(["-o", option]);
        }
        command
    }
}

fn step(what: &str, command: &mut Command, log: &Path) -> Result<(), KernelError> {
    let ended = run::logged(command, what, log, &mut |_| {})?;
    if ended.status.success() {
        return Ok(());
    }
    if ended.interrupted() {
        return Err(KernelError::Interrupted);
    }
    Err(KernelError::Fetch { what: what.to_owned(), log: log.to_owned(), last: ended.last })
}

fn find_with(dir: &Path, suffix: &str) -> Result<PathBuf, KernelError> {
    for entry in fs::read_dir(dir).map_err(io_at(dir))? {
        let path = entry.map_err(io_at(dir))?.path();
        if path.to_string_lossy().ends_with(suffix) {
            return Ok(path);
        }
    }
    let why = format!("{PACKAGE} has no {suffix}");
    Err(KernelError::NoPackage { why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn only_complete_sources_are_found_and_the_latest_wins() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        assert!(cached(&cache).unwrap().is_none());
        for (name, seconds) in
            [("linux-source-7.2_7.2.9-1", 200), ("linux-source-7.2_7.2.12-1", 300)]
        {
            let dir = cache.sources().join(name);
            fs::create_dir(&dir).unwrap();
            let date = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            File::open(&dir).unwrap().set_modified(date).unwrap();
        }
        assert_eq!(cached(&cache).unwrap().unwrap().name, "linux-source-7.2 7.2.12-1");
    }
}
