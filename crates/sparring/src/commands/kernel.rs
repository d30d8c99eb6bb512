//! `sparring kernel`: build, list and find kernels.

use anstream::println;
use clap::Subcommand;
use comfy_table::{Table, presets};
use vm::kernel::{self, Cache, Kernel, Request};

use crate::exit::{Failure, Outcome};
use crate::progress::BuildProgress;
use crate::target::{SourceArgs, build_reference, kernel_failure};

/// Build, list and find kernels.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build a kernel and the reference module for it, unless they are in the cache, and print the image's path
    Build(SourceArgs),
    /// List the kernels in the cache
    List,
    /// Print the path of a cached kernel's image; exits 4 where there is none
    Path(SourceArgs),
}

/// The kernel, built if need be, and with it the reference module, unless the kernel has the kfunc already. A tree
/// that the module does not build against still makes a kernel, which is what was asked for.
pub fn build(request: &Request, cache: &Cache) -> Result<Kernel, Failure> {
    let progress = BuildProgress::new();
    let kernel = kernel::build(request, cache, &progress).map_err(kernel_failure)?;
    if kernel.defines(kmod::KFUNC).map_err(kernel_failure)? {
        return Ok(kernel);
    }
    match build_reference(&kernel, cache, &progress) {
        Err(Failure::BadInput(why)) => eprintln!("sparring: the kernel is built, but {why}"),
        built => drop(built?),
    }
    Ok(kernel)
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let cache = Cache::open().map_err(kernel_failure)?;
    match &args.action {
        Action::Build(source) => {
            println!("{}", build(&source.request(), &cache)?.bzimage.display());
        }
        Action::List => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_header(["release", "flavour", "origin", "series", "image"]);
            for kernel in kernel::list(&cache).map_err(kernel_failure)? {
                table.add_row([
                    kernel.release,
                    kernel.flavour.to_string(),
                    kernel.origin,
                    kernel.series.unwrap_or_default(),
                    kernel.bzimage.display().to_string(),
                ]);
            }
            println!("{table}");
        }
        Action::Path(source) => {
            match kernel::find(&source.request(), &cache).map_err(kernel_failure)? {
                Some(kernel) => println!("{}", kernel.bzimage.display()),
                None => {
                    return Err(Failure::Skip("not built yet: use `sparring kernel build`".into()));
                }
            }
        }
    }
    Ok(Outcome::Pass)
}
