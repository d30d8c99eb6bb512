//! The coverage points of the code under test, numbered densely.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Error;

/// Distance in bytes between two points of one place that nothing explains: the text of a kernel is far smaller.
const FARTHEST: u64 = 256 << 20;
/// Calls are five bytes long, so that no two return addresses agree but for the last two bits.
const SHIFT: u32 = 2;
/// What is no point.
const NONE: u32 = u32::MAX;

/// The coverage points of the code under test: the return addresses of the calls that gcc puts at the start of every
/// basic block (`-fsanitize-coverage=trace-pc`). A point's index is the number of its line in the list, from 0 on.
#[derive(Debug)]
pub struct Points {
    tables: Vec<Table>,
    len: usize,
}

/// From addresses to indices, for what lies together in memory.
#[derive(Debug)]
struct Table {
    start: u64,
    indices: Vec<u32>,
}

impl Points {
    /// Reads a list: a line for each point, `kernel ffffffff81234567` or `splice_pair/.text 1a2b`, which is an address
    /// in the kernel, or an offset in a section of a loaded module, in hexadecimal.
    ///
    /// # Errors
    /// [`Error::Points`] for a file that is none, or names a module that is not loaded.
    pub fn read(list: &Path) -> Result<Points, Error> {
        let bad = |why: String| Error::Points { list: list.to_owned(), why };
        let text = fs::read_to_string(list).map_err(|error| bad(error.to_string()))?;
        Points::parse(&text, start_of).map_err(bad)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The index of the point at that address, if it is one.
    pub(crate) fn index_of(&self, address: u64) -> Option<u32> {
        self.tables.iter().find_map(|table| {
            let at = usize::try_from(address.checked_sub(table.start)? >> SHIFT).ok()?;
            table.indices.get(at).copied().filter(|index| *index != NONE)
        })
    }

    fn parse(text: &str, start_of: impl Fn(&str) -> Result<u64, String>) -> Result<Points, String> {
        let mut places: BTreeMap<&str, Vec<(u64, u32)>> = BTreeMap::new();
        let mut len = 0;
        for (line, index) in text.lines().zip(0..NONE) {
            let point = line
                .split_once(' ')
                .and_then(|(place, address)| Some((place, u64::from_str_radix(address, 16).ok()?)));
            let Some((place, address)) = point else {
                return Err(format!("line {} is no point: {line:?}", index + 1));
            };
            places.entry(place).or_default().push((address, index));
            len += 1;
        }
        let table = |(place, points): (&str, Vec<_>)| {
            let start = start_of(place)?;
            Table::new(start, points).map_err(|why| format!("{place}: {why}"))
        };
        let tables = places.into_iter().map(table).collect::<Result<_, _>>()?;
        Ok(Points { tables, len })
    }
}

impl Table {
    /// Points that lie at these offsets from `start`.
    fn new(start: u64, points: Vec<(u64, u32)>) -> Result<Table, String> {
        let offsets = || points.iter().map(|(offset, _)| *offset);
        let (first, last) = (offsets().min().unwrap_or(0), offsets().max().unwrap_or(0));
        if last - first > FARTHEST {
            return Err(format!("points at {first:x} and {last:x} are too far apart"));
        }
        let slot = |offset: u64| usize::try_from((offset - first) >> SHIFT).unwrap_or(usize::MAX);
        let mut indices = vec![NONE; slot(last) + 1];
        for (offset, index) in points {
            let before = std::mem::replace(&mut indices[slot(offset)], index);
            if before != NONE {
                return Err(format!("two points at {offset:x}"));
            }
        }
        Ok(Table { start: start.wrapping_add(first), indices })
    }
}

/// Where offsets of that place count from.
fn start_of(place: &str) -> Result<u64, String> {
    let Some((module, section)) = place.split_once('/') else {
        return if place == "kernel" { Ok(0) } else { Err(format!("{place} is no place")) };
    };
    let file = format!("/sys/module/{module}/sections/{section}");
    let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let address = text.trim().trim_start_matches("0x");
    // zero is what the kernel shows to those who may not know (kptr_restrict)
    let address = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0);
    address.ok_or_else(|| format!("{file} has no address: run as root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Points, String> {
        Points::parse(text, |place| match place {
            "kernel" => Ok(0),
            "m/.text" => Ok(0xffff_ffff_c000_0000),
            other => Err(format!("{other}?")),
        })
    }

    #[test_log::test]
    fn a_points_index_is_its_line() {
        let text = "kernel ffffffff81000015\nm/.text 1a\nkernel ffffffff81000010\nm/.text 5\n";
        let points = parse(text).unwrap();
        assert_eq!((points.len(), points.is_empty()), (4, false));
        let index = |address: u64| points.index_of(address);
        assert_eq!(index(0xffff_ffff_8100_0015), Some(0));
        assert_eq!(index(0xffff_ffff_8100_0010), Some(2));
        assert_eq!(index(0xffff_ffff_c000_001a), Some(1));
        assert_eq!(index(0xffff_ffff_c000_0005), Some(3));
        for nowhere in [0, 0x1a, 0xffff_ffff_8100_0000, 0xffff_ffff_8200_0000, u64::MAX] {
            assert_eq!(index(nowhere), None, "{nowhere:x}");
        }
    }

    #[test_log::test]
    fn a_list_that_is_none_is_refused() {
        for (text, why) in [
            ("kernel 10\nkernel\n", "line 2 is no point"),
            ("kernel xyz\n", "line 1 is no point"),
            ("other 10\n", "other?"),
            ("kernel 10\nkernel 11\n", "kernel: two points at 11"),
            ("kernel 0\nkernel ffffffff81000000\n", "too far apart"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(parse("").unwrap().is_empty());
    }

    #[test_log::test]
    fn a_module_that_is_not_loaded_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("points");
        fs::write(&list, "no_such_module/.text 10\n").unwrap();
        let said = Points::read(&list).unwrap_err().to_string();
        assert!(said.contains("/sys/module/no_such_module/sections/.text"), "{said}");
        assert!(Points::read(&dir.path().join("none")).is_err());
    }
}
