//! DWARF as far as coverage needs it: what machine code came from which line, and where functions are declared.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use gimli::{
    AttributeValue, Dwarf, DwarfSections, EndianSlice, FileEntry, LineProgramHeader, LittleEndian,
    SectionId, Unit,
};
use object::read::elf::ElfFile64;
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, ReadCache, ReadRef,
    RelocationTarget, SectionKind,
};

use super::{CoverageError, Image};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// A piece of machine code that came from one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    /// Where it begins and ends. A line whose code was moved elsewhere leaves an empty piece behind.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) file: &'a Path,
    pub(super) line: u32,
}

/// Who takes what is found.
pub(super) trait Reading {
    /// A piece of machine code; whether the functions of its compilation unit are of interest.
    fn row(&mut self, row: Row<'_>) -> bool;
    /// A function with machine code of its own, or that was inlined.
    fn function(&mut self, file: &Path, line: u32, name: &str);
}

/// Reads the file of `image`. Names of files are absolute; `directory` is what those of the kernel are relative to,
/// since a build may have been copied to where it is.
pub(super) fn read(
    image: &Image,
    directory: &Path,
    reading: &mut impl Reading,
) -> Result<(), CoverageError> {
    let path = image.path();
    let io = |error| CoverageError::Io { path: path.to_owned(), error };
    let format = |why: String| CoverageError::Format { path: path.to_owned(), why };
    let cache = ReadCache::new(File::open(path).map_err(io)?);
    let file = ElfFile64::<Endianness, _>::parse(&cache).map_err(|e| format(e.to_string()))?;
    let sections = DwarfSections::load(|id| section(image, &file, id))
        .map_err(|error: object::Error| format(error.to_string()))?;
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let mut units = dwarf.units();
    let mut read = || {
        while let Some(header) = units.next()? {
            let unit = dwarf.unit(header)?;
            let names = Names::of(&unit, image.module_name().is_none().then_some(directory));
            if names.rows(&dwarf, &unit, reading)? {
                names.functions(&dwarf, &unit, reading)?;
            }
        }
        Ok(())
    };
    read().map_err(|error: gimli::Error| format(error.to_string()))
}

/// The bytes of a section, in a module with addresses filled in as the loader would.
fn section<'data, R: ReadRef<'data>>(
    image: &Image,
    file: &ElfFile64<'data, Endianness, R>,
    id: SectionId,
) -> object::Result<Cow<'data, [u8]>> {
    let Some(section) = file.section_by_name(id.name()) else { return Ok(Cow::default()) };
    let mut bytes = Cow::Borrowed(section.data()?);
    for (at, relocation) in section.relocations() {
        let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
        let symbol = file.symbol_by_index(symbol)?;
        let index = symbol.section_index();
        let is_code = |index| {
            file.section_by_index(index).is_ok_and(|section| section.kind() == SectionKind::Text)
        };
        let base = index.filter(|index| is_code(*index)).map_or(0, |index| image.base(index.0));
        let value = (base + symbol.address()).wrapping_add_signed(relocation.addend());
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let size = usize::from(relocation.size() / 8);
        if let Some(place) = bytes.to_mut().get_mut(at..at.saturating_add(size)) {
            place.copy_from_slice(&value.to_le_bytes()[..size.min(8)]);
        }
    }
    Ok(bytes)
}

/// How a compilation unit names files.
struct Names {
    directory: PathBuf,
}

impl Names {
    fn of(unit: &Unit<Reader<'_>>, directory: Option<&Path>) -> Names {
        let own = || unit.comp_dir.map_or_else(PathBuf::new, |dir| path_of(dir).to_owned());
        Names { directory: directory.map_or_else(own, Path::to_owned) }
    }

    fn resolve(
        &self,
        dwarf: &Dwarf<Reader<'_>>,
        unit: &Unit<Reader<'_>>,
        header: &LineProgramHeader<Reader<'_>>,
        entry: &FileEntry<Reader<'_>>,
    ) -> Option<PathBuf> {
        let mut path = self.directory.clone();
        // the first one is the compilation's own (DWARF 4, 6.2.4)
        if entry.directory_index() != 0 {
            let directory = dwarf.attr_string(unit, entry.directory(header)?).ok()?;
            path.push(path_of(directory));
        }
        path.push(path_of(dwarf.attr_string(unit, entry.path_name()).ok()?));
        Some(without_dots(&path))
    }

    /// Gives all rows; whether one of them was of interest.
    fn rows(
        &self,
        dwarf: &Dwarf<Reader<'_>>,
        unit: &Unit<Reader<'_>>,
        reading: &mut impl Reading,
    ) -> gimli::Result<bool> {
        let Some(program) = unit.line_program.clone() else { return Ok(false) };
        let mut paths: HashMap<u64, Option<PathBuf>> = HashMap::new();
        let mut is_of_interest = false;
        let mut before: Option<(u64, u64, u32)> = None;
        let mut rows = program.rows();
        while let Some((header, row)) = rows.next_row()? {
            if let Some((start, file, line)) = before.take() {
                let path = paths.entry(file).or_insert_with(|| {
                    header.file(file).and_then(|entry| self.resolve(dwarf, unit, header, entry))
                });
                if let Some(file) = path {
                    let row = Row { start, end: row.address(), file, line };
                    is_of_interest |= reading.row(row);
                }
            }
            // what belongs to no line has none
            let line = row.line().and_then(|line| u32::try_from(line.get()).ok());
            if let (Some(line), false) = (line, row.end_sequence()) {
                before = Some((row.address(), row.file_index(), line));
            }
        }
        Ok(is_of_interest)
    }

    fn functions(
        &self,
        dwarf: &Dwarf<Reader<'_>>,
        unit: &Unit<Reader<'_>>,
        reading: &mut impl Reading,
    ) -> gimli::Result<()> {
        let Some(program) = &unit.line_program else { return Ok(()) };
        let header = program.header();
        let mut cursor = unit.entries();
        // from the root to its first child, and on from sibling to sibling: C declares no function in another
        let mut more = cursor.next_dfs()?.is_some() && cursor.next_dfs()?.is_some();
        while more {
            if let Some(entry) = cursor.current()
                && entry.tag() == gimli::DW_TAG_subprogram
                && !entry.has_attr(gimli::DW_AT_declaration)
                && let Some(name) = entry.attr_value(gimli::DW_AT_name)
                && let Some(AttributeValue::FileIndex(file)) =
                    entry.attr_value(gimli::DW_AT_decl_file)
                && let Some(line) = entry.attr(gimli::DW_AT_decl_line)
                && let Some(line) = line.udata_value().and_then(|line| u32::try_from(line).ok())
                && let Some(file) = header.file(file)
                && let Some(file) = self.resolve(dwarf, unit, header, file)
            {
                let name = dwarf.attr_string(unit, name)?.to_string_lossy();
                reading.function(&file, line, &name);
            }
            more = cursor.next_sibling()?.is_some();
        }
        Ok(())
    }
}

fn path_of<'a>(text: Reader<'a>) -> &'a Path {
    Path::new(OsStr::from_bytes(text.slice()))
}

/// The path without `.` and `..`; no symbolic link is expected where compilers write.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}
