//! What a kernel under test is made of: its flavour's configuration, asked for and verified, and
//! the objects that report coverage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::Flavour;
use super::error::{KernelError, io_at};
use super::series::unshare;

const BASE: &str = include_str!("../../kernels/base.config");
const KCOV: &str = include_str!("../../kernels/kcov.config");
const KASAN: &str = include_str!("../../kernels/kasan.config");
const KCSAN: &str = include_str!("../../kernels/kcsan.config");
const FAST: &str = include_str!("../../kernels/fast.config");

/// The objects that report coverage. Instrumenting the whole kernel halves the number of
/// scenarios per second for coverage of things no scenario is about.
const COVERED: [&str; 8] = [
    "net/core/skmsg.o",
    "net/core/sock.o",
    "net/core/sock_map.o",
    "net/core/stream.o",
    "net/ipv4/tcp.o",
    "net/ipv4/tcp_bpf.o",
    "net/ipv4/tcp_input.o",
    "net/ipv4/tcp_output.o",
];

/// Which contexts KCOV leaves out, as `check_kcov_mode()` has it: every interrupt, softirqs included. But nearly all of
/// TCP's receive path runs in softirqs, on loopback on the back of the sending call, and on the passive side sock_ops
/// programs do, too.
const KCOV_TASKS: &str =
    "\tif (!in_task() && !(in_softirq_really() && t->kcov_softirq))\n\t\treturn false;\n";
/// Ours: a softirq is recorded on behalf of the task that it interrupts. `kernel/kcov.c` may be interrupted by itself
/// (`__sanitizer_cov_trace_pc`).
const KCOV_SOFTIRQS: &str = "\tif (in_hardirq() || in_nmi())\n\t\treturn false;\n";
const KCOV_FILE: &str = "kernel/kcov.c";

/// The configuration of `flavour`: what is not named in it is off.
pub(crate) fn wanted(flavour: Flavour) -> String {
    let own = match flavour {
        Flavour::Kcov => KCOV,
        Flavour::Kasan => KASAN,
        Flavour::Kcsan => KCSAN,
        Flavour::Fast => FAST,
    };
    format!("{BASE}\n{own}")
}

/// The options of `wanted` that `got`, a `.config`, does not have as asked: those that must be on
/// and those that must be off. Values (a number of CPUs) are only wishes.
pub(crate) fn unmet(wanted: &str, got: &str) -> Vec<String> {
    let got = options(got);
    let refused = options(wanted).into_iter().filter_map(|(name, value)| {
        let has = got.get(name).copied().unwrap_or("n");
        (matches!(value, "y" | "n") && has != value).then(|| format!("{name}={value}"))
    });
    refused.collect()
}

/// Name → value, the last one winning, as kconfig reads it; "is not set" is "n".
fn options(text: &str) -> BTreeMap<&str, &str> {
    let options = text.lines().filter_map(|line| {
        line.strip_prefix("# ")
            .and_then(|line| line.strip_suffix(" is not set"))
            .map(|name| (name, "n"))
            .or_else(|| line.split_once('='))
            .filter(|(name, _)| name.starts_with("CONFIG_"))
    });
    options.collect()
}

/// The objects that report coverage in `flavour`: ours, and what a series touches in the network
/// code. None where there is no KCOV.
pub(crate) fn covered(flavour: Flavour, touched: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    if !has_kcov(flavour) {
        return BTreeSet::new();
    }
    let ours = COVERED.iter().map(PathBuf::from);
    let theirs = touched.iter().filter(|file| {
        let net = file.starts_with("net") || file.starts_with("drivers/net");
        net && file.extension().is_some_and(|extension| extension == "c")
    });
    ours.chain(theirs.map(|file| file.with_extension("o"))).collect()
}

/// What of `flavour` is neither configuration nor an object: part of a kernel's identity.
pub(crate) fn changes(flavour: Flavour) -> &'static str {
    if has_kcov(flavour) { KCOV_SOFTIRQS } else { "" }
}

/// Has KCOV record softirqs, too, in `tree`, where `flavour` has KCOV: the file that this changes, under an inode of its
/// own. A tree whose KCOV looks different stays as it is.
pub(crate) fn record_softirqs(
    tree: &Path,
    flavour: Flavour,
) -> Result<Option<PathBuf>, KernelError> {
    if !has_kcov(flavour) {
        return Ok(None);
    }
    let path = tree.join(KCOV_FILE);
    let text = fs::read_to_string(&path).unwrap_or_default();
    if text.matches(KCOV_TASKS).count() != 1 {
        tracing::warn!("coverage will lack what runs in softirqs: {KCOV_FILE} is not as expected");
        return Ok(None);
    }
    unshare(&path)?;
    fs::write(&path, text.replace(KCOV_TASKS, KCOV_SOFTIRQS)).map_err(io_at(&path))?;
    Ok(Some(PathBuf::from(KCOV_FILE)))
}

fn has_kcov(flavour: Flavour) -> bool {
    options(&wanted(flavour)).get("CONFIG_KCOV") == Some(&"y")
}

/// Has `objects` instrumented, by a line each in the Makefile of their directory. A Makefile is
/// given an inode of its own first, and an object without Makefile or source is left out.
pub(crate) fn instrument(tree: &Path, objects: &BTreeSet<PathBuf>) -> Result<(), KernelError> {
    for (makefile, lines) in instrument_lines(tree, objects) {
        let path = tree.join(&makefile);
        unshare(&path)?;
        let mut text = fs::read_to_string(&path).map_err(io_at(&path))?;
        text.push_str("\n# Appended by sparring, in its own copy of this tree.\n");
        text.push_str(&lines);
        fs::write(&path, text).map_err(io_at(&path))?;
    }
    Ok(())
}

/// Makefile → the lines it gets. kbuild looks the variable up by the object's path below the
/// Makefile (scripts/Makefile.lib, `target-stem`).
fn instrument_lines(tree: &Path, objects: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, String> {
    let mut lines: BTreeMap<PathBuf, String> = BTreeMap::new();
    for object in objects.iter().filter(|object| tree.join(object).with_extension("c").is_file()) {
        let makefile = object.ancestors().skip(1).find_map(|dir| {
            let names = ["Kbuild", "Makefile"].map(|name| dir.join(name));
            names.into_iter().find(|path| tree.join(path).is_file()).map(|path| (dir, path))
        });
        let Some((dir, makefile)) = makefile else {
            continue;
        };
        let stem = object.strip_prefix(dir).unwrap_or(object);
        let line = format!("KCOV_INSTRUMENT_{} := y\n", stem.display());
        lines.entry(makefile).or_default().push_str(&line);
    }
    lines
}

/// The Makefiles that [`instrument`] changes.
pub(crate) fn instrumented_makefiles(tree: &Path, objects: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    instrument_lines(tree, objects).into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn what_is_off_missing_or_on_against_our_will_is_named() {
        let wanted = "# CONFIG_TEN is not a wish\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n\
                      # CONFIG_D is not set\n# CONFIG_E is not set\nCONFIG_N=8\n";
        let got = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_D=y\nCONFIG_N=64\n";
        assert_eq!(unmet(wanted, got), ["CONFIG_B=y", "CONFIG_C=y", "CONFIG_D=n"]);
        assert_eq!(unmet("", ""), [""; 0]);
    }

    #[test_log::test]
    fn a_module_is_not_built_in() {
        assert_eq!(unmet("CONFIG_VETH=y\n", "CONFIG_VETH=m\n"), ["CONFIG_VETH=y"]);
    }

    #[test_log::test]
    fn the_flavour_has_the_last_word() {
        assert_eq!(unmet("CONFIG_A=y\n# CONFIG_A is not set\n", ""), [""; 0]);
        for flavour in Flavour::ALL {
            assert_eq!(unmet(&wanted(flavour), &wanted(flavour)), [""; 0], "{flavour}");
        }
    }

    #[test_log::test]
    fn coverage_follows_the_series_and_needs_kcov() {
        let touched = ["net/core/filter.c", "include/net/tcp.h", "tools/net/x.c", "kernel/fork.c"]
            .into_iter()
            .map(PathBuf::from)
            .collect();
        let objects = covered(Flavour::Kcov, &touched);
        assert!(objects.contains(Path::new("net/core/filter.o")));
        assert_eq!(objects.len(), COVERED.len() + 1);
        assert!(covered(Flavour::Fast, &touched).is_empty());
        assert!(covered(Flavour::Kcsan, &touched).is_empty());
        assert!(!covered(Flavour::Kasan, &touched).is_empty());
    }

    #[test_log::test]
    fn an_object_is_named_in_the_nearest_makefile() {
        let tree = tempfile::tempdir().unwrap();
        let pristine = tree.path().join("pristine");
        fs::create_dir_all(tree.path().join("net/core/deep")).unwrap();
        fs::write(&pristine, "obj-y := skmsg.o\n").unwrap();
        fs::hard_link(&pristine, tree.path().join("net/core/Makefile")).unwrap();
        for file in ["net/core/skmsg.c", "net/core/deep/x.c"] {
            fs::write(tree.path().join(file), "").unwrap();
        }
        let objects =
            ["net/core/skmsg.o", "net/core/deep/x.o", "net/core/gone.o"].map(PathBuf::from).into();
        instrument(tree.path(), &objects).unwrap();
        let text = fs::read_to_string(tree.path().join("net/core/Makefile")).unwrap();
        assert!(text.starts_with("obj-y := skmsg.o\n"), "{text}");
        assert!(text.contains("\nKCOV_INSTRUMENT_skmsg.o := y\n"), "{text}");
        assert!(text.contains("\nKCOV_INSTRUMENT_deep/x.o := y\n"), "{text}");
        assert!(!text.contains("gone"), "{text}");
        assert_eq!(fs::read_to_string(&pristine).unwrap(), "obj-y := skmsg.o\n");
        let makefiles = instrumented_makefiles(tree.path(), &objects);
        assert_eq!(makefiles, [PathBuf::from("net/core/Makefile")]);
    }

    #[test_log::test]
    fn softirqs_are_recorded_in_our_copy_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, pristine) = (dir.path().join("tree"), dir.path().join("pristine.c"));
        fs::create_dir_all(tree.join("kernel")).unwrap();
        let file = tree.join(KCOV_FILE);
        let text = format!("a {{\n{KCOV_TASKS}}}\n");
        fs::write(&pristine, &text).unwrap();
        fs::hard_link(&pristine, &file).unwrap();
        assert_eq!(record_softirqs(&tree, Flavour::Fast).unwrap(), None);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        let changed = record_softirqs(&tree, Flavour::Kasan).unwrap();
        assert_eq!(changed.as_deref(), Some(Path::new(KCOV_FILE)));
        let wanted = "a {\n\tif (in_hardirq() || in_nmi())\n\t\treturn false;\n}\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), wanted);
        assert_eq!(fs::read_to_string(&pristine).unwrap(), text);
        // once more, as in a tree that has it already, and in one that has no KCOV at all
        assert_eq!(record_softirqs(&tree, Flavour::Kcov).unwrap(), None);
        assert_eq!(record_softirqs(dir.path(), Flavour::Kcov).unwrap(), None);
        assert_eq!(changes(Flavour::Kcsan), "");
        assert_ne!(changes(Flavour::Kcov), "");
    }
}
