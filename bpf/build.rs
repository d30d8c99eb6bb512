//! Compiles the sock_ops programs and writes their skeletons into `OUT_DIR`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use libbpf_cargo::SkeletonBuilder;

const PROGRAMS: [&str; 2] = ["pair", "sockhash"];

/// Objects that the tests attach, or fail to.
const FOREIGN: [&str; 3] = ["weak", "rejected", "other"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rerun-if-changed=src/endpoint.h");
    for program in PROGRAMS {
        let skeleton = out.join(format!("{program}.skel.rs"));
        compile(&format!("src/{program}.bpf.c"), &out)
            .generate(skeleton)
            .unwrap_or_else(|error| panic!("no skeleton for {program}: {error:#}"));
    }
    for program in FOREIGN {
        compile(&format!("tests/objects/{program}.bpf.c"), &out);
    }
}

/// Compiles `x/y.bpf.c` into `y.bpf.o`.
fn compile(source: &str, out: &Path) -> SkeletonBuilder {
    println!("cargo::rerun-if-changed={source}");
    let name = Path::new(source).with_extension("o");
    let object = out.join(name.file_name().expect("a source has a name"));
    let mut builder = SkeletonBuilder::new();
    builder.source(source).obj(object).clang_args(flags()).build().unwrap_or_else(|error| {
        panic!("{source} does not compile, install clang and linux-libc-dev: {error:#}")
    });
    builder
}

/// Debian keeps `asm/types.h` below a directory named after the machine, which clang does not search when
/// it compiles for BPF.
fn flags() -> Vec<OsString> {
    let machine = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let multiarch = PathBuf::from(format!("/usr/include/{machine}-linux-gnu"));
    let mut flags = vec!["-Wall".into(), "-Wextra".into(), "-Werror".into()];
    if multiarch.is_dir() {
        flags.push("-I".into());
        flags.push(multiarch.into_os_string());
    }
    // no path of the building machine in the objects
    flags.push(prefix_map(Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())));
    flags
}

fn prefix_map(from: &Path) -> OsString {
    let mut flag = OsString::from("-ffile-prefix-map=");
    flag.push(from);
    flag.push("=.");
    flag
}
