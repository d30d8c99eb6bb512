//! Style, limits and layout, each rule a function over the files that git tracks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::kmod_style;

/// Most lines of a source file, tests excluded.
const FILE_LINES: usize = 500;
/// Most lines of a fuzz target, which is glue only.
const FUZZ_TARGET_LINES: usize = 60;

/// What may stand at the top level.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "bpf",
    "clippy.toml",
    ".clang-format",
    "corpus",
    "crates",
    "deny.toml",
    "fuzz",
    "kmod",
    "rustfmt.toml",
    "selftests",
    "sparring",
    "vm",
];

/// Crates that may contain `unsafe`.
const MAY_BE_UNSAFE: &[&str] = &["bpf", "crates/execute"];

/// Crates that do no I/O.
const PURE: &[&str] = &["crates/scenario", "crates/generate", "crates/judge", "crates/shrink"];

/// What I/O looks like in source text.
const IO: &[&str] = &[
    "fs::",
    "net::",
    "process::",
    "io::",
    "thread::",
    "env::",
    "println!",
    "Instant::now",
    "SystemTime",
];

/// Words that the glossary has better ones for.
const VAGUE: &[&str] = &["manager", "util", "helper", "engine", "handler"];

/// A file that git tracks.
struct Source {
    /// Path from the root of the checkout.
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn has_extension(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|e| e == extension)
    }

    fn is_test(&self) -> bool {
        self.path.iter().any(|part| part == "tests" || part == "tests.rs")
    }

    /// The lines before the unit tests, which are a module within the file.
    fn code_lines(&self) -> usize {
        let next = self.text.lines().skip(1).map(Some).chain([None]);
        let begins = |(line, next): (&str, Option<&str>)| {
            let module =
                next.is_some_and(|next| next.trim().starts_with("mod ") && next.ends_with('{'));
            line.trim() == "#[cfg(test)]" && module
        };
        self.text.lines().zip(next).take_while(|lines| !begins(*lines)).count()
    }
}

/// Checks everything; gives the complaints.
pub fn run() -> Result<Vec<String>> {
    let root = root()?;
    env::set_current_dir(&root)?;
    let sources = tracked()?;
    let mut complaints = Vec::new();
    for source in &sources {
        complaints.extend(layout(source));
        complaints.extend(length(source));
        complaints.extend(names(source));
        complaints.extend(licence(source));
        complaints.extend(purity(source));
    }
    for member in sources.iter().filter(|s| s.path.ends_with("Cargo.toml")) {
        complaints.extend(crate_rules(member, &sources));
    }
    complaints.extend(promises(&sources));
    for command in commands(&sources) {
        complaints.extend(passes(command));
    }
    complaints.extend(kmod_style::check()?);
    Ok(complaints)
}

fn root() -> Result<PathBuf> {
    let output = Command::new("git").args(["rev-parse", "--show-toplevel"]).output()?;
    if !output.status.success() {
        bail!("not in a git checkout: run it there");
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn tracked() -> Result<Vec<Source>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .output()
        .context("cannot run git")?;
    let list = String::from_utf8(output.stdout)?;
    let mut sources = Vec::new();
    for path in list.split_terminator('\0').map(PathBuf::from).filter(|path| path.is_file()) {
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        sources.push(Source { path, text });
    }
    Ok(sources)
}

fn layout(source: &Source) -> Option<String> {
    let top = source.path.iter().next()?.to_str()?;
    (!TOP.contains(&top)).then(|| {
        format!("{}: the top level has no place for it, see ARCHITECTURE.md", source.name())
    })
}

fn length(source: &Source) -> Option<String> {
    let lines = source.code_lines();
    let is_code = ["rs", "c", "h"].iter().any(|e| source.has_extension(e));
    let is_target = source.path.starts_with("fuzz/fuzz_targets");
    let most = if is_target { FUZZ_TARGET_LINES } else { FILE_LINES };
    (is_code && !source.is_test() && lines > most)
        .then(|| format!("{}: {lines} lines, at most {most}: split it by meaning", source.name()))
}

fn names(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let stem = source.path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    for word in VAGUE {
        if stem.split(['_', '-', '.']).any(|part| part.trim_end_matches('s') == *word) {
            complaints.push(format!("{}: {word:?} says nothing, see the glossary", source.name()));
        }
        if source.has_extension("rs") && !source.path.starts_with("crates/xtask") {
            let type_name = format!("{}{}", word[..1].to_uppercase(), &word[1..]);
            let defines = ["struct ", "enum ", "trait ", "type "].iter().any(|keyword| {
                source.text.lines().any(|line| {
                    line.split_once(keyword).is_some_and(|(_, rest)| {
                        rest.split(|c: char| !c.is_alphanumeric())
                            .next()
                            .is_some_and(|name| name.ends_with(&type_name))
                    })
                })
            });
            if defines {
                complaints.push(format!(
                    "{}: a type named …{type_name}, see the glossary",
                    source.name()
                ));
            }
        }
    }
    complaints
}

fn licence(source: &Source) -> Option<String> {
    let is_c = ["c", "h", "def"].iter().any(|e| source.has_extension(e));
    let has = source
        .text
        .lines()
        .next()
        .is_some_and(|line| line.contains("SPDX-License-Identifier: GPL-2.0"));
    (is_c && !has).then(|| format!("{}: no SPDX line at its top", source.name()))
}

fn purity(source: &Source) -> Vec<String> {
    let pure = PURE.iter().any(|krate| source.path.starts_with(Path::new(krate).join("src")));
    if !pure || !source.has_extension("rs") || source.is_test() {
        return Vec::new();
    }
    let code: Vec<&str> = source.text.lines().take(source.code_lines()).collect();
    IO.iter()
        .filter(|io| {
            code.iter().any(|line| !line.trim_start().starts_with("//") && has_word(line, io))
        })
        .map(|io| format!("{}: {io} in a crate that does no I/O", source.name()))
        .collect()
}

/// Whether the line has it, and not as the end of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    })
}

fn crate_rules(manifest: &Source, sources: &[Source]) -> Vec<String> {
    let directory = manifest.path.parent().unwrap_or(Path::new(""));
    let mut complaints = Vec::new();
    let mut complain = |what: &str| complaints.push(format!("{}: {what}", manifest.name()));
    if !manifest.text.contains("[package]") {
        return complaints;
    }
    if !manifest.text.contains("[lints]\nworkspace = true") {
        complain("does not take the workspace's lints");
    }
    let roots: Vec<&Source> = sources
        .iter()
        .filter(|s| ["src/lib.rs", "src/main.rs"].iter().any(|r| s.path == directory.join(r)))
        .collect();
    let may = MAY_BE_UNSAFE.iter().any(|krate| directory == Path::new(krate));
    if !may && !roots.iter().all(|s| s.text.contains("#![forbid(unsafe_code)]")) {
        complain("does not forbid unsafe code: only execute and bpf may contain it");
    }
    if directory == Path::new("crates/scenario") {
        let siblings = ["generate", "execute", "judge", "shrink", "report", "vm", "bpf", "agent"];
        for sibling in siblings {
            let dependency = format!("{sibling}.workspace");
            if manifest.text.lines().any(|line| line.starts_with(&dependency)) {
                complain(&format!("depends on {sibling}: scenario depends on no sibling"));
            }
        }
    }
    complaints
}

/// What the README and the continuous integration promise.
fn promises(sources: &[Source]) -> Vec<String> {
    let pairs = [
        ("README.md", "./sparring fuzz"),
        ("README.md", "./sparring test"),
        (".ci/run", "./sparring test"),
        (".github/workflows/ci.yml", ".ci/run"),
    ];
    pairs
        .iter()
        .filter(|(file, promise)| {
            !sources.iter().any(|s| s.path == Path::new(file) && s.text.contains(promise))
        })
        .map(|(file, promise)| format!("{file}: does not mention {promise}"))
        .collect()
}

/// The checks that other programs make.
fn commands(sources: &[Source]) -> Vec<Vec<String>> {
    let line = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut commands = vec![
        line("cargo fmt --all --check"),
        line("cargo clippy --release --quiet --workspace --all-targets -- -D warnings"),
        line("shellcheck sparring fuzz/rustc .ci/run .ci/tree"),
    ];
    let workflows = sources.iter().filter(|s| s.path.starts_with(".github/workflows"));
    commands.push(actionlint(workflows.map(Source::name)));
    let c = sources.iter().filter(|s| s.has_extension("c") || s.has_extension("h"));
    let mut clang_format = line("clang-format --dry-run --Werror");
    clang_format.extend(c.map(Source::name));
    commands.push(clang_format);
    commands
}

/// Checks workflows, and with shellcheck the scripts in them.
fn actionlint(workflows: impl Iterator<Item = String>) -> Vec<String> {
    ["actionlint".to_owned(), "-no-color".to_owned()].into_iter().chain(workflows).collect()
}

pub(crate) fn passes(command: Vec<String>) -> Option<String> {
    let shown = command[..command.len().min(4)].join(" ");
    match Command::new(&command[0]).args(&command[1..]).status() {
        Ok(status) if status.success() => None,
        Ok(_) => Some(format!("`{shown}` complains, see above")),
        Err(error) => {
            Some(format!("cannot run `{shown}`: {error}; start ./sparring test, which installs it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test_log::test]
    fn a_long_file_is_too_long_and_its_tests_do_not_count() {
        let long = "x\n".repeat(FILE_LINES + 1);
        assert!(length(&source("crates/a/src/lib.rs", &long)).is_some());
        assert!(length(&source("crates/a/tests/all.rs", &long)).is_none());
        assert!(length(&source("README.md", &long)).is_none());
        let tests = format!("x\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert!(length(&source("crates/a/src/lib.rs", &tests)).is_none());
        let elsewhere = format!("x\n#[cfg(test)]\nmod tests;\n{long}");
        assert!(length(&source("crates/a/src/lib.rs", &elsewhere)).is_some());
        assert!(length(&source("fuzz/fuzz_targets/a.rs", &"x\n".repeat(61))).is_some());
    }

    #[test_log::test]
    fn strays_and_vague_names_are_seen() {
        assert!(layout(&source("notes.txt", "")).is_some());
        assert!(layout(&source("crates/a/src/lib.rs", "")).is_none());
        assert_eq!(names(&source("crates/a/src/io_utils.rs", "")).len(), 1);
        assert_eq!(names(&source("crates/a/src/lib.rs", "pub struct VmManager {\n")).len(), 1);
        assert!(names(&source("crates/a/src/lib.rs", "pub struct Machine;\n")).is_empty());
    }

    #[test_log::test]
    fn io_in_a_pure_crate_is_seen() {
        let read = "use std::fs::read;\n";
        assert_eq!(purity(&source("crates/judge/src/lib.rs", read)).len(), 1);
        assert!(purity(&source("crates/report/src/lib.rs", read)).is_empty());
        assert!(purity(&source("crates/judge/src/lib.rs", "use scenario::Op;\n")).is_empty());
        assert!(
            purity(&source("crates/judge/src/lib.rs", "// fs::read is not for us\n")).is_empty()
        );
        let test = format!("#[cfg(test)]\nmod tests {{\n{read}}}\n");
        assert!(purity(&source("crates/judge/src/lib.rs", &test)).is_empty());
    }

    #[test_log::test]
    fn a_crate_without_lints_or_with_unsafe_is_seen() {
        let manifest = source("crates/a/Cargo.toml", "[package]\n");
        let root = source("crates/a/src/lib.rs", "");
        assert_eq!(crate_rules(&manifest, &[root]).len(), 2);
        let manifest = source("crates/a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n");
        let root = source("crates/a/src/lib.rs", "#![forbid(unsafe_code)]\n");
        assert!(crate_rules(&manifest, &[root]).is_empty());
    }

    #[test_log::test]
    fn a_mistake_in_a_workflow_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let check = |step: &str| {
            let file = directory.path().join("workflow.yml");
            let text = format!(
                "on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n      - run: {step}\n"
            );
            fs::write(&file, text).unwrap();
            passes(actionlint(std::iter::once(file.display().to_string())))
        };
        assert_eq!(check("./sparring test"), None);
        for mistake in ["echo ${{ github.nosuch }}", "echo $GITHUB_REF", "x\n        with: {a: b}"]
        {
            let complaint = check(mistake).unwrap();
            assert!(complaint.ends_with("complains, see above"), "{mistake}: {complaint}");
        }
    }

    #[test_log::test]
    fn c_needs_its_licence() {
        assert!(licence(&source("bpf/src/a.c", "int x;\n")).is_some());
        assert!(
            licence(&source("bpf/src/a.c", "// SPDX-License-Identifier: GPL-2.0-only\n")).is_none()
        );
    }
}
