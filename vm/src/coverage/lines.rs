//! Which lines of the sources a coverage point stands for.
//!
//! A line is *executable* when the line table has machine code for it. An instruction belongs to the last point before
//! it in its function, because gcc puts a call at the start of each basic block, or to the function's first one, since
//! the function's own beginning may come before that call. So a line was hit when one of the points was hit to
//! which an instruction of it belongs. A function that was inlined has its instructions in another one, under its own
//! lines. Optimisation blurs this: an instruction that was moved into another block takes its line along, and a block
//! that the compiler made later, without a call, counts with the one before it.
//!
//! Code of a function without points is not measured: its object is not instrumented, or the function refuses to be
//! (`noinstr`). Neither is what runs at boot, before any scenario. What kernel threads do (work queues) could be measured
//! and is not: KCOV records for the threads that ask for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::dwarf::{self, Reading, Row};
use super::{Code, CoverageError, Image};
use crate::kernel::Kernel;

/// What is known of an executable line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// It was hit when one of these points was, by number.
    Measured(BTreeSet<u32>),
    /// Its code runs only at boot, or when its module is loaded.
    Boot,
    /// Its code reports no coverage.
    Uninstrumented,
}

/// A source file with executable lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file itself.
    pub file: PathBuf,
    /// Whether it is code under test: an instrumented object's own file, one that the series touches, or a module's.
    /// What only has code that was inlined there is not.
    pub under_test: bool,
    /// By number, from 1 on; of a file that is not under test only those that are measured.
    pub lines: BTreeMap<u32, Line>,
    /// Names of the functions by the line that declares them.
    pub functions: BTreeMap<u32, String>,
}

impl Source {
    /// The function that the line belongs to.
    #[must_use]
    pub fn function_of(&self, line: u32) -> Option<&str> {
        self.functions.range(..=line).next_back().map(|(_, name)| name.as_str())
    }
}

impl Code {
    /// The sources of the code under test, by name: relative to the kernel's source, or `module/file.c`.
    ///
    /// # Errors
    /// [`CoverageError`]
    pub fn sources(&self, kernel: &Kernel) -> Result<BTreeMap<PathBuf, Source>, CoverageError> {
        let covered = kernel.covered.iter().map(|object| object.with_extension("c"));
        let under_test = kernel.touched.iter().cloned().chain(covered).collect();
        let mut gathering =
            Gathering { kernel, under_test, image: None, first_point: 0, sources: BTreeMap::new() };
        for image in self.images() {
            gathering.image = Some(image);
            dwarf::read(image, &kernel.build_dir, &mut gathering)?;
            gathering.first_point += image.points().len();
        }
        let mut sources = gathering.sources;
        sources.retain(|_, source| !source.lines.is_empty());
        Ok(sources)
    }
}

struct Gathering<'a> {
    kernel: &'a Kernel,
    /// Files of which every line counts.
    under_test: BTreeSet<PathBuf>,
    image: Option<&'a Image>,
    /// Number of its first point.
    first_point: usize,
    sources: BTreeMap<PathBuf, Source>,
}

impl Gathering<'_> {
    /// What reports call the file.
    fn name_of(&self, file: &Path) -> PathBuf {
        if let Ok(name) = file.strip_prefix(&self.kernel.source_dir) {
            return name.to_owned();
        }
        let module = self.image.and_then(Image::module_name);
        match (module, file.file_name()) {
            (Some(module), Some(name)) => Path::new(module).join(name),
            _ => file.to_owned(),
        }
    }

    fn is_under_test(&self, name: &Path) -> bool {
        let module = self.image.and_then(Image::module_name);
        self.under_test.contains(name) || module.is_some_and(|module| name.starts_with(module))
    }

    fn source(&mut self, name: PathBuf, file: &Path) -> &mut Source {
        let under_test = self.is_under_test(&name);
        self.sources.entry(name).or_insert_with(|| Source {
            file: file.to_owned(),
            under_test,
            lines: BTreeMap::new(),
            functions: BTreeMap::new(),
        })
    }
}

impl Reading for Gathering<'_> {
    fn row(&mut self, row: Row<'_>) -> bool {
        let Some(image) = self.image else { return false };
        let name = self.name_of(row.file);
        let blocks = image.blocks(row.start, row.end);
        let found = if image.is_boot(row.start) {
            Line::Boot
        } else if blocks.is_empty() {
            Line::Uninstrumented
        } else {
            let number = |at| u32::try_from(self.first_point + at).unwrap_or(u32::MAX);
            Line::Measured(blocks.map(number).collect())
        };
        let is_measured = matches!(found, Line::Measured(_));
        if !is_measured && !self.is_under_test(&name) {
            return false;
        }
        let lines = &mut self.source(name, row.file).lines;
        match (lines.get_mut(&row.line), found) {
            (Some(Line::Measured(points)), Line::Measured(more)) => points.extend(more),
            (Some(Line::Measured(_)), _) | (Some(Line::Boot), Line::Uninstrumented) => {}
            (_, found) => {
                lines.insert(row.line, found);
            }
        }
        true
    }

    fn function(&mut self, file: &Path, line: u32, name: &str) {
        let source = self.name_of(file);
        self.source(source, file).functions.insert(line, name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{compile, link};
    use super::*;

    const SOURCE: &str = "int g(int);\n\
        static inline int twice(int x)\n\
        {\n\treturn g(x) + g(x);\n}\n\
        int f(int x)\n\
        {\n\tif (x > 3)\n\t\treturn g(x) + 5;\n\treturn twice(x);\n}\n\
        __attribute__((no_sanitize_coverage)) int n(int x)\n\
        {\n\treturn g(x) + 1;\n}\n\
        __attribute__((section(\".init.text\"))) int i(int x)\n\
        {\n\treturn g(x) + 2;\n}\n";

    fn kernel(dir: &Path, vmlinux: &Path) -> Kernel {
        let kernel = serde_json::json!({
            "id": "", "bzimage": "", "vmlinux": vmlinux, "build_dir": dir, "source_dir": dir,
            "release": "", "origin": "", "series": null, "flavour": "kcov", "built_s": 0.0, "steps": 0,
            "touched": [], "covered": ["x.o"], "family": "", "fingerprint": "",
        });
        serde_json::from_value(kernel).unwrap()
    }

    fn points(source: &Source, line: u32) -> &BTreeSet<u32> {
        match &source.lines[&line] {
            Line::Measured(points) => points,
            other => panic!("line {line}: {other:?}"),
        }
    }

    fn check(source: &Source) {
        let (way, other, inlined) = (points(source, 9), points(source, 10), points(source, 4));
        assert!(way.is_disjoint(inlined), "{source:?}");
        assert!(!other.is_disjoint(inlined), "{source:?}");
        assert!(!points(source, 8).is_empty());
        assert_eq!(source.lines[&14], Line::Uninstrumented);
        assert_eq!(source.lines[&18], Line::Boot);
        for line in [1, 3, 11] {
            assert!(!source.lines.contains_key(&line) || line > 9, "{line}: {source:?}");
        }
        let name = |line| source.function_of(line).unwrap_or_default();
        assert_eq!([1, 4, 9, 14, 18].map(name), ["", "twice", "f", "n", "i"]);
    }

    #[test_log::test]
    fn a_line_stands_for_the_points_of_its_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let Some(object) = compile(&dir, "x.c", SOURCE) else { return };
        let vmlinux = link(&dir, &object);
        let module = dir.join("m-o.ko");
        std::fs::copy(&object, &module).unwrap();
        let code = Code::read(&vmlinux, std::slice::from_ref(&module)).unwrap();
        let inside = code.sources(&kernel(&dir, &vmlinux)).unwrap();
        check(&inside[Path::new("x.c")]);
        // of a module that is elsewhere the name says so, and the points come after the kernel's
        let elsewhere = Path::new("/elsewhere");
        let sources = code.sources(&kernel(elsewhere, &vmlinux)).unwrap();
        let source = &sources[Path::new("m_o/x.c")];
        check(source);
        let kernels = u32::try_from(code.images()[0].points().len()).unwrap();
        assert!(points(source, 9).iter().all(|point| *point >= kernels), "{source:?}");
    }
}
