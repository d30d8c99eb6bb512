//! Modules built out of the kernel's tree, against a finished kernel of the cache.
//!
//! `trees/<kernel>/modules/<module>-<hash>` has the sources, what kbuild makes of them, its output in `build.log`,
//! and `finished`, which is written last: without it nothing there is of use, and the next build starts anew. The
//! hash is of the sources and of the kernel, down to its image: a module's BTF refers to types by their number in
//! the kernel's.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use super::cache::{Cache, remove_dir, write_atomically};
use super::error::{KernelError, io_at};
use super::workspace::hash;
use super::{Kernel, Progress, compile, run};

/// A module that was built so long ago, of sources that have changed since, is in no guest any more.
const OUTDATED: Duration = Duration::from_hours(7 * 24);

/// The sources of a module.
#[derive(Debug, Clone, Copy)]
pub struct ModuleSource<'a> {
    /// Its name, without `.ko`.
    pub name: &'a str,
    /// What kbuild needs, by file name: a `Kbuild` or `Makefile`, and what that names.
    pub files: &'a [(&'a str, &'a str)],
}

/// The module's `.ko` for `kernel`, built if need be.
///
/// # Errors
/// [`KernelError::Module`] where it does not build, which is bad input with a tree of the user's;
/// [`KernelError::Replaced`] where the kernel is another one by now.
pub fn build_module(
    kernel: &Kernel,
    module: ModuleSource<'_>,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<PathBuf, KernelError> {
    let built = || {
        let place = Place::new(kernel, module)?;
        match place.finished() {
            Some(object) => Ok(object),
            None => place.build(cache, progress),
        }
    };
    built().map_err(|error: KernelError| error.in_cache(cache.root()))
}

/// What gcc (`W=1`), modpost and `sparse(1)` say against the module, a line each.
///
/// # Errors
/// [`KernelError::Module`] where it does not build.
pub fn check_module(
    kernel: &Kernel,
    module: ModuleSource<'_>,
    cache: &Cache,
) -> Result<Vec<String>, KernelError> {
    let scratch = cache.scratch()?;
    let place = Place { dir: scratch.path().to_owned(), ..Place::new(kernel, module)? };
    place.write_sources()?;
    let mut said = Vec::new();
    let mut checked = 0;
    let log = cache.log(&format!("check-{}", module.name));
    fs::write(&log, "").map_err(io_at(&log))?;
    let made = place.make(&["C=1", SPARSE], None, log, &mut |line| {
        checked += usize::from(line.starts_with("  CHECK "));
        said.push(line.to_owned());
    });
    said.retain(|line| place.is_complaint(line));
    match made {
        // the complaints say it better than the last lines, which are sparse's and make's own
        Err(KernelError::Module { .. }) if !said.is_empty() => return Ok(said),
        made => made?,
    }
    if checked < module.files.iter().filter(|(name, _)| name.ends_with(".c")).count() {
        said.push("not all of it was seen by sparse, which is missing or too old".to_owned());
    }
    Ok(said)
}

/// How sparse is called. The one in Debian 12 lacks a word that kernels need (`scripts/checker-valid.sh`); gcc 12
/// does, too, so that only the test for it uses the word.
const SPARSE: &str = "CHECK=sparse -D__typeof_unqual__=__typeof__";

/// The place for one module and kernel.
struct Place<'a> {
    kernel: &'a Kernel,
    module: ModuleSource<'a>,
    /// The kernel's directory in the cache, and what its lock is called.
    tree: PathBuf,
    tree_name: String,
    dir: PathBuf,
}

impl<'a> Place<'a> {
    fn new(kernel: &'a Kernel, module: ModuleSource<'a>) -> Result<Self, KernelError> {
        let tree = kernel.source_dir.parent().unwrap_or(Path::new("")).to_owned();
        let tree_name = tree.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Built from the same source, it may still be another image.
        let image = fs::metadata(&kernel.vmlinux).map_err(io_at(&kernel.vmlinux))?;
        let date = image.modified().map_err(io_at(&kernel.vmlinux))?;
        let date = date.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let identity = format!("{} {} {date}", kernel.fingerprint, image.len());
        let mut parts = vec![identity.as_str()];
        parts.extend(module.files.iter().flat_map(|(name, text)| [*name, *text]));
        let dir = tree.join("modules").join(format!("{}-{}", module.name, &hash(&parts)[..12]));
        Ok(Self { kernel, module, tree, tree_name, dir })
    }

    fn object(&self) -> PathBuf {
        self.dir.join(format!("{}.ko", self.module.name))
    }

    fn marker(&self) -> PathBuf {
        self.dir.join("finished")
    }

    fn finished(&self) -> Option<PathBuf> {
        let object = self.object();
        (self.marker().is_file() && object.is_file()).then_some(object)
    }

    fn build(&self, cache: &Cache, progress: &dyn Progress) -> Result<PathBuf, KernelError> {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let lock = cache.lock(&format!("{}-{name}", self.tree_name), progress)?;
        // Somebody may have built it while we waited.
        if let Some(object) = self.finished() {
            return Ok(object);
        }
        // The kernel must stay what it is while the module is built against it.
        let _kernel = cache.lock_shared(&self.tree_name, progress)?;
        if Kernel::read(&self.tree.join("kernel.json")).as_ref() != Some(self.kernel) {
            return Err(KernelError::Replaced { id: self.kernel.id.clone() });
        }
        progress.stage(&format!("building the module {}", self.module.name));
        self.remove_outdated()?;
        remove_dir(&self.dir)?;
        fs::create_dir_all(&self.dir).map_err(io_at(&self.dir))?;
        self.write_sources()?;
        let mut done = 0;
        self.make(&[], Some(&lock), self.dir.join("build.log"), &mut |line| {
            if let Some(what) = compile::step_of(line) {
                done += 1;
                progress.step(done, None, what);
            }
        })?;
        write_atomically(&self.marker(), "")?;
        Ok(self.object())
    }

    fn write_sources(&self) -> Result<(), KernelError> {
        for (name, text) in self.module.files {
            let path = self.dir.join(name);
            fs::write(&path, text).map_err(io_at(&path))?;
        }
        Ok(())
    }

    /// make(1), which holds the lock with us: see [`Cache::lock`].
    fn make(
        &self,
        more: &[&str],
        lock: Option<&fs::File>,
        log: PathBuf,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), KernelError> {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        let mut make = compile::make_command(&self.kernel.source_dir);
        make.arg(format!("M={}", self.dir.display()));
        make.args([&format!("-j{jobs}"), "W=1", "modules"]).args(more);
        if let Some(lock) = lock {
            make.stdin(lock.try_clone().map_err(io_at(&self.dir))?);
        }
        let ended = run::logged(&mut make, "make", &log, on_line)?;
        if ended.status.success() && self.object().is_file() {
            return Ok(());
        }
        if ended.interrupted() {
            return Err(KernelError::Interrupted);
        }
        Err(KernelError::Module {
            module: self.module.name.to_owned(),
            origin: self.kernel.origin.clone(),
            theirs: self.kernel.is_theirs(),
            log,
            last: ended.last,
        })
    }

    /// Whether a line of make's output is a complaint that is about the module.
    fn is_complaint(&self, line: &str) -> bool {
        if line.starts_with("WARNING: ") || line.starts_with("ERROR: ") {
            return true;
        }
        let Some((place, said)) = line.split_once(": ") else { return false };
        let mut place = place.split(':');
        let (file, number) = (place.next(), place.next());
        let text = self.module.files.iter().find(|(name, _)| Some(*name) == file);
        let at = number.and_then(|number| number.parse::<usize>().ok()?.checked_sub(1));
        let source = text.zip(at).and_then(|((_, text), at)| text.lines().nth(at));
        // sparse 0.6.4 cannot see that what static_assert() is given in `__MODULE_INFO()` is constant
        let is_known = said == "error: bad constant expression"
            && source.is_some_and(|line| line.to_ascii_lowercase().starts_with("module_"));
        (said.starts_with("warning: ") || said.starts_with("error: ")) && !is_known
    }

    /// Removes what was built of earlier sources, but for what a campaign may still boot machines with.
    fn remove_outdated(&self) -> Result<(), KernelError> {
        let Ok(entries) = fs::read_dir(self.tree.join("modules")) else {
            return Ok(());
        };
        let prefix = format!("{}-", self.module.name);
        for entry in entries.flatten() {
            let date = entry.metadata().and_then(|meta| meta.modified());
            if entry.file_name().to_string_lossy().starts_with(&prefix)
                && date.is_ok_and(|date| date.elapsed().is_ok_and(|age| age > OUTDATED))
            {
                remove_dir(&entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::SystemTime;

    use super::super::{Flavour, Silent};
    use super::*;

    /// Stands in for the kernel's: "compiles" x.c, unless that says otherwise.
    const MAKEFILE: &str = "modules:\n\t@echo '  CC [M]  x.o'\n\t@! grep -n error $(M)/x.c\n\
                            \techo built >> $(O)/count\n\tcp $(M)/x.c $(M)/x.ko\n";

    /// A finished kernel, as far as a module needs one.
    fn kernel(cache: &Cache, origin: &str) -> Kernel {
        let tree = cache.trees().join("k");
        let source = tree.join("source");
        let build = source.join("build");
        fs::create_dir_all(&build).unwrap();
        fs::write(source.join("Makefile"), MAKEFILE).unwrap();
        for image in ["vmlinux", "bzImage"] {
            fs::write(build.join(image), "").unwrap();
        }
        fs::write(build.join("System.map"), "ffffffff81000000 T _text\n00 t f\n").unwrap();
        let kernel = Kernel {
            id: "7.2.12-x".into(),
            bzimage: build.join("bzImage"),
            vmlinux: build.join("vmlinux"),
            build_dir: build,
            source_dir: source,
            release: "7.2.12".into(),
            origin: origin.into(),
            series: None,
            flavour: Flavour::Fast,
            built_s: 1.0,
            steps: 1,
            touched: BTreeSet::new(),
            covered: BTreeSet::new(),
            family: "f".into(),
            fingerprint: "0123".into(),
        };
        fs::write(tree.join("kernel.json"), serde_json::to_string(&kernel).unwrap()).unwrap();
        kernel
    }

    fn module<'a>(files: &'a [(&'a str, &'a str)]) -> ModuleSource<'a> {
        ModuleSource { name: "x", files }
    }

    fn builds(kernel: &Kernel) -> usize {
        fs::read_to_string(kernel.build_dir.join("count")).map_or(0, |text| text.lines().count())
    }

    #[test_log::test]
    fn a_module_is_built_once_for_each_source_and_image() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let kernel = kernel(&cache, "linux-source-7.2 7.2.12-1");
        let build = |text| build_module(&kernel, module(&[("x.c", text)]), &cache, &Silent);
        let first = build("one").unwrap();
        assert!(first.ends_with("x.ko"), "{}", first.display());
        assert_eq!(build("one").unwrap(), first);
        assert_eq!(builds(&kernel), 1);
        let second = build("two").unwrap();
        assert_ne!(second, first);
        // what a campaign may still use stays
        assert_eq!(fs::read_to_string(&first).unwrap(), "one");
        let image = fs::File::options().write(true).open(&kernel.vmlinux).unwrap();
        image.set_modified(SystemTime::now() - Duration::from_secs(9)).unwrap();
        assert_ne!(build("two").unwrap(), second);
        assert_eq!(builds(&kernel), 3);
    }

    #[test_log::test]
    fn whoever_comes_second_takes_what_the_first_built() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let kernel = kernel(&cache, "linux-source-7.2 7.2.12-1");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    build_module(&kernel, module(&[("x.c", "")]), &cache, &Silent).unwrap()
                });
            }
        });
        assert_eq!(builds(&kernel), 1);
    }

    #[test_log::test]
    fn a_module_that_does_not_build_is_the_trees_fault_where_it_is_the_users() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        for (origin, is_bad_input) in
            [("linux-source-7.2 7.2.12-1", false), ("/home/u/linux", true)]
        {
            let kernel = kernel(&cache, origin);
            let source = module(&[("x.c", "an error")]);
            // twice: what is left of the first must not look finished
            for _ in 0..2 {
                let error = build_module(&kernel, source, &cache, &Silent).unwrap_err();
                assert_eq!(error.is_bad_input(), is_bad_input, "{error}");
                let text = error.to_string();
                assert!(text.contains("x does not build against"), "{text}");
                assert!(text.contains("1:an error") && text.contains("build.log"), "{text}");
            }
        }
    }

    #[test_log::test]
    fn a_check_needs_sparse_and_passes_on_what_is_known_to_be_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let kernel = kernel(&cache, "linux-source-7.2 7.2.12-1");
        let unseen = check_module(&kernel, module(&[("x.c", "")]), &cache).unwrap();
        assert!(unseen[0].contains("missing or too old"), "{unseen:?}");
        let makefile = format!("{MAKEFILE}\t@echo '  CHECK   x.c'\n\t@cat $(M)/said\n");
        fs::write(kernel.source_dir.join("Makefile"), makefile).unwrap();
        let said = "x.c:1:1: error: bad constant expression\nx.c:2:1: error: bad constant expression\n\
                    x.c:2: warning: y\nWARNING: modpost: z\n  LD  x.o\nmake: note: warning\n";
        let files = [("x.c", "MODULE_LICENSE(\"GPL\");\nint y;\n"), ("said", said)];
        let found = check_module(&kernel, module(&files), &cache).unwrap();
        let wanted: Vec<&str> = said.lines().skip(1).take(3).collect();
        assert_eq!(found, wanted);
        let makefile = "modules:\n\t@echo '/k/y.h:30:15: error: z'; exit 1\n";
        fs::write(kernel.source_dir.join("Makefile"), makefile).unwrap();
        let failed = check_module(&kernel, module(&files), &cache).unwrap();
        assert_eq!(failed, ["/k/y.h:30:15: error: z"]);
    }

    #[test_log::test]
    fn half_a_module_starts_anew_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let kernel = kernel(&cache, "linux-source-7.2 7.2.12-1");
        let object = build_module(&kernel, module(&[("x.c", "a")]), &cache, &Silent).unwrap();
        let old = object.parent().unwrap();
        fs::remove_file(old.join("finished")).unwrap();
        fs::write(&object, "half").unwrap();
        build_module(&kernel, module(&[("x.c", "a")]), &cache, &Silent).unwrap();
        assert_eq!(fs::read_to_string(&object).unwrap(), "a");
        let handle = fs::File::open(old).unwrap();
        handle.set_modified(SystemTime::now() - 2 * OUTDATED).unwrap();
        build_module(&kernel, module(&[("x.c", "b")]), &cache, &Silent).unwrap();
        assert!(!old.exists());
    }

    #[test_log::test]
    fn a_kernel_that_is_another_one_by_now_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let before = kernel(&cache, "/home/u/linux");
        let after = Kernel { fingerprint: "4567".into(), ..before.clone() };
        let record = cache.trees().join("k/kernel.json");
        fs::write(record, serde_json::to_string(&after).unwrap()).unwrap();
        let error = build_module(&before, module(&[("x.c", "")]), &cache, &Silent).unwrap_err();
        assert!(matches!(error, KernelError::Replaced { .. }), "{error}");
    }

    #[test_log::test]
    fn a_function_of_the_kernel_is_found_by_its_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = kernel(&Cache::at(dir.path()).unwrap(), "/home/u/linux");
        assert!(kernel.defines("f").unwrap());
        assert!(!kernel.defines("text").unwrap());
    }
}
