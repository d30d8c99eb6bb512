//! A kernel or module as the compiler left it: its machine code, searched for coverage points.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use object::read::elf::{ElfFile64, ElfSection64};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, ReadCache, ReadRef,
    RelocationTarget, SectionKind, SymbolKind,
};

use super::CoverageError;

/// What an instrumented object calls.
const TRACE: &str = "__sanitizer_cov_trace_pc";
/// The opcode of a call to an address relative to the next instruction, which takes four more bytes.
const CALL: u8 = 0xe8;
const CALL_LENGTH: u64 = 5;
/// Where in an image's addresses a section of a module begins, by its index: none is as long as that.
const SECTION_SHIFT: u32 = 32;

/// Machine code from one file.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    /// Name of the module; `None` for the kernel itself.
    module: Option<String>,
    /// Names of the sections, by their index.
    sections: Vec<String>,
    /// Where the functions are, in order: start and end.
    functions: Vec<(u64, u64)>,
    /// Code that is gone before the first scenario, or runs after the last.
    boot: Vec<Range<u64>>,
    /// Addresses of the points, in order.
    points: Vec<u64>,
}

impl Image {
    /// The kernel.
    ///
    /// # Errors
    /// [`CoverageError`] for a file that cannot be read or is no 64-bit ELF file.
    pub fn kernel(vmlinux: &Path) -> Result<Image, CoverageError> {
        Image::read(vmlinux, None)
    }

    /// A module.
    ///
    /// # Errors
    /// As [`Image::kernel`].
    pub fn module(object: &Path) -> Result<Image, CoverageError> {
        // as the kernel calls it (scripts/Makefile.lib, `name-fix`)
        let name = object.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
        Image::read(object, Some(name))
    }

    fn read(path: &Path, module: Option<String>) -> Result<Image, CoverageError> {
        let io = |error| CoverageError::Io { path: path.to_owned(), error };
        let format = |why: object::Error| CoverageError::Format {
            path: path.to_owned(),
            why: why.to_string(),
        };
        let cache = ReadCache::new(File::open(path).map_err(io)?);
        let file = ElfFile64::<Endianness, _>::parse(&cache).map_err(format)?;
        let mut image = Image {
            path: path.to_owned(),
            module,
            sections: Vec::new(),
            functions: Vec::new(),
            boot: Vec::new(),
            points: Vec::new(),
        };
        for section in file.sections() {
            image.sections.resize(section.index().0, String::new());
            let name = section.name().unwrap_or_default();
            image.sections.push(name.to_owned());
            if matches!(name, ".init.text" | ".exit.text") {
                let start = image.base(section.index().0) + section.address();
                image.boot.push(start..start + section.size());
            }
        }
        image.find_functions(&file);
        image.find_points(&file).map_err(format)?;
        Ok(image)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the module; `None` for the kernel itself.
    #[must_use]
    pub fn module_name(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// Addresses of the points, in ascending order.
    #[must_use]
    pub fn points(&self) -> &[u64] {
        &self.points
    }

    /// What the guest calls the place of this address, and the offset from there.
    pub(crate) fn place(&self, address: u64) -> (String, u64) {
        let Some(module) = &self.module else { return ("kernel".to_owned(), address) };
        let at = usize::try_from(address >> SECTION_SHIFT).unwrap_or(usize::MAX);
        let section = self.sections.get(at).map_or("", String::as_str);
        (format!("{module}/{section}"), address & ((1 << SECTION_SHIFT) - 1))
    }

    /// Where a section begins: a module's have no addresses yet, so they get some of ours.
    pub(crate) fn base(&self, index: usize) -> u64 {
        if self.module.is_some() { (index as u64) << SECTION_SHIFT } else { 0 }
    }

    /// Places in [`Image::points`] of the blocks that have code in `start..end`, or at `start` where that is empty; none
    /// in a function without points.
    pub(crate) fn blocks(&self, start: u64, end: u64) -> Range<usize> {
        let Some(function) = self.function_at(start) else { return 0..0 };
        // a block begins with its call, a point is where that returns to
        let begun_by =
            |address: u64| self.points.partition_point(|point| point - CALL_LENGTH <= address);
        let (first, last) = (begun_by(function.0.saturating_sub(1)), begun_by(function.1 - 1));
        if first == last {
            return 0..0;
        }
        let within = |at: usize| at.saturating_sub(1).clamp(first, last - 1);
        within(begun_by(start))..within(begun_by(end.max(start + 1) - 1)) + 1
    }

    /// Whether the code at that address runs only at boot, or when the module is loaded.
    pub(crate) fn is_boot(&self, address: u64) -> bool {
        self.boot.iter().any(|range| range.contains(&address))
    }

    /// Start and end of the function at that address.
    fn function_at(&self, address: u64) -> Option<(u64, u64)> {
        let after = self.functions.partition_point(|(start, _)| *start <= address);
        let found = self.functions.get(after.checked_sub(1)?)?;
        (address < found.1).then_some(*found)
    }

    fn find_functions<'data, R: ReadRef<'data>>(&mut self, file: &ElfFile64<'data, Endianness, R>) {
        for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
            let base = symbol.section_index().map_or(0, |index| self.base(index.0));
            let start = base + symbol.address();
            self.functions.push((start, start + symbol.size()));
        }
        self.functions.sort_unstable();
        // one function may have several names, some of them without a size
        self.functions.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            earlier.1 = if same { earlier.1.max(later.1) } else { earlier.1 };
            same
        });
    }

    /// Searches what runs after boot and loading: no scenario reaches `.init.text`.
    fn find_points<'data, R: ReadRef<'data>>(
        &mut self,
        file: &ElfFile64<'data, Endianness, R>,
    ) -> object::Result<()> {
        let trace = file.symbols().find(|symbol| symbol.name() == Ok(TRACE));
        let Some(trace) = trace else { return Ok(()) };
        for section in file.sections() {
            if section.kind() != SectionKind::Text || !section.name()?.starts_with(".text") {
                continue;
            }
            let points = match &self.module {
                None => called(&section, trace.address())?,
                Some(_) => to_be_called(&section, trace.index())?,
            };
            let base = self.base(section.index().0);
            self.points.extend(points.into_iter().map(|point| base + point));
        }
        self.points.sort_unstable();
        Ok(())
    }
}

/// Where the calls of `target` return to. Should other code have the same five bytes, there is a point too many.
fn called<'data, R: ReadRef<'data>>(
    section: &ElfSection64<'data, '_, Endianness, R>,
    target: u64,
) -> object::Result<Vec<u64>> {
    let returns = section.data()?.windows(5).zip(5..).filter_map(|(bytes, end)| {
        let (&opcode, distance) = bytes.split_first()?;
        let next = section.address() + end;
        let distance = i32::from_le_bytes(distance.try_into().ok()?);
        (opcode == CALL && next.wrapping_add_signed(distance.into()) == target).then_some(next)
    });
    Ok(returns.collect())
}

/// The same in a module, where the loader is to fill in the target.
fn to_be_called<'data, R: ReadRef<'data>>(
    section: &ElfSection64<'data, '_, Endianness, R>,
    target: object::SymbolIndex,
) -> object::Result<Vec<u64>> {
    let data = section.data()?;
    let returns = section.relocations().filter_map(|(at, relocation)| {
        let opcode = usize::try_from(at).ok()?.checked_sub(1).and_then(|at| data.get(at));
        let is_call = opcode == Some(&CALL);
        (relocation.target() == RelocationTarget::Symbol(target) && is_call).then_some(at + 4)
    });
    Ok(returns.collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Code;
    use super::super::testing::{compile, link};
    use super::*;

    const SOURCE: &str = "int g(int);\nint f(int x) { if (x > 3) return g(x); return x; }\n\
                          __attribute__((section(\".init.text\"))) int i(int x) { return g(x) + 1; }\n";

    #[test_log::test]
    fn a_kernels_points_are_where_its_calls_return_to() {
        let dir = tempfile::tempdir().unwrap();
        let Some(object) = compile(dir.path(), "x.c", SOURCE) else { return };
        let vmlinux = link(dir.path(), &object);
        let image = Image::kernel(&vmlinux).unwrap();
        // the beginning, and a block for each way to go on, of which gcc may make one
        assert!((2..=4).contains(&image.points().len()), "{:x?}", image.points());
        let within = image.function_at(image.points()[0]).unwrap();
        assert!(image.points().iter().all(|point| image.function_at(*point) == Some(within)));
        assert_eq!(image.place(0x1234), ("kernel".to_owned(), 0x1234));
        let code = Code::read(&vmlinux, &[object]).unwrap();
        assert_eq!(code.points(), 2 * image.points().len());
        let list = dir.path().join("points");
        code.write_points(&list).unwrap();
        let text = fs::read_to_string(&list).unwrap();
        assert_eq!(text.lines().count(), code.points());
        assert!(text.starts_with(&format!("kernel {:x}\n", image.points()[0])), "{text}");
    }

    #[test_log::test]
    fn a_modules_points_are_offsets_in_its_sections() {
        let dir = tempfile::tempdir().unwrap();
        let Some(object) = compile(dir.path(), "a-b.c", SOURCE) else { return };
        let image = Image::module(&object).unwrap();
        assert_eq!(image.module_name(), Some("a_b"));
        let places = image.points().iter().map(|point| image.place(*point));
        for (place, offset) in places {
            assert_eq!(place, "a_b/.text");
            assert!((5..200).contains(&offset), "{offset}");
        }
        assert!(!image.points().is_empty());
    }

    #[test_log::test]
    fn a_kernel_without_points_is_no_use_and_a_text_no_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("text");
        fs::write(&text, "no kernel").unwrap();
        assert!(matches!(Image::kernel(&text), Err(CoverageError::Format { .. })));
        let nowhere = Image::kernel(&dir.path().join("nowhere"));
        assert!(matches!(nowhere, Err(CoverageError::Io { .. })));
        let Some(object) = compile(dir.path(), "x.c", "int x;\n") else { return };
        let error = Code::read(&object, &[]).unwrap_err();
        assert!(error.to_string().contains("--flavour kcov"), "{error}");
    }
}
