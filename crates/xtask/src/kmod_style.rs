//! What kernel developers check a module with, where there is a kernel to check it with.

use std::path::{Path, PathBuf};

use anyhow::Result;
use vm::kernel::{self, Cache, Kernel, KernelError, ModuleSource, Request};

use crate::tidy::passes;

/// Checks the reference module; gives the complaints.
pub fn check() -> Result<Vec<String>> {
    let cache = Cache::open()?;
    let Some(kernel) = kernel::find(&Request::default(), &cache)? else {
        let why = "no kernel is in the cache; ./sparring kernel build makes one";
        eprintln!("tidy: checkpatch and sparse are skipped: {why}");
        return Ok(Vec::new());
    };
    let mut complaints: Vec<String> = passes(checkpatch(&kernel)).into_iter().collect();
    let module = ModuleSource { name: kmod::NAME, files: kmod::SOURCES };
    match kernel::check_module(&kernel, module, &cache) {
        Ok(said) => complaints.extend(said.into_iter().map(|line| format!("kmod: {line}"))),
        Err(error @ KernelError::Module { .. }) => complaints.push(error.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(complaints)
}

/// `checkpatch.pl`, from the kernel that the module is for.
fn checkpatch(kernel: &Kernel) -> Vec<String> {
    let script = kernel.source_dir.join("scripts/checkpatch.pl");
    let mut command: Vec<PathBuf> = vec!["perl".into(), script];
    command.extend(["--no-tree", "--strict", "--terse", "--no-summary"].map(PathBuf::from));
    // our proto_ops are made from TCP's, whose functions have no names for a module
    command.extend(["--ignore", "CONST_STRUCT", "-f"].map(PathBuf::from));
    let c = kmod::SOURCES.iter().filter(|(name, _)| name.ends_with(".c") || name.ends_with(".h"));
    command.extend(c.map(|(name, _)| Path::new("kmod").join(name)));
    command.into_iter().map(|word| word.display().to_string()).collect()
}
