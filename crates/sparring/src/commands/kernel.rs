//! `sparring kernel`: build, list and find kernels.

use clap::Subcommand;
use comfy_table::{Table, presets};
use vm::kernel::{self, Cache};

use crate::exit::{Failure, Outcome};
use crate::progress::BuildProgress;
use crate::target::{SourceArgs, kernel_failure};

/// Build, list and find kernels.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build a kernel, unless it is in the cache, and print the path of its image
    Build(SourceArgs),
    /// List the kernels in the cache
    List,
    /// Print the path of a cached kernel's image; exits 4 where there is none
    Path(SourceArgs),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let cache = Cache::open().map_err(kernel_failure)?;
    match &args.action {
        Action::Build(source) => {
            let progress = BuildProgress::new();
            let kernel =
                kernel::build(&source.request(), &cache, &progress).map_err(kernel_failure)?;
            println!("{}", kernel.bzimage.display());
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
