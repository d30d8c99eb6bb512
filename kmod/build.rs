//! Lists the module's sources for `include_str!`, so that a new file cannot be forgotten.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

fn main() {
    let dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed={}", dir.display());
    let entries = fs::read_dir(&dir).expect("the package's own directory can be read");
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_source(name))
        .collect();
    names.sort();
    let mut list = "&[\n".to_owned();
    for name in names {
        let path = dir.join(&name);
        writeln!(list, "    ({name:?}, include_str!({path:?})),").expect("to a String");
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("sources.in"), list).expect("cargo's own directory can be written to");
}

/// What kbuild needs; not the `.mod.c` that it makes where somebody builds in here.
fn is_source(name: &str) -> bool {
    name == "Kbuild"
        || [".c", ".h", ".def"].iter().any(|kind| name.ends_with(kind)) && !name.ends_with(".mod.c")
}
