//! `sparring fuzz`: run a campaign.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anstream::println;
use comfy_table::{Table, presets};
use generate::Scope;
use report::Summary;
use scenario::{Family, Topology};

use crate::campaign::Campaign;
use crate::commands::{duration, print_json};
use crate::exit::{Failure, Outcome};
use crate::interrupt;
use crate::reach::Reach;
use crate::target::TargetArgs;

/// How long a campaign runs where neither time nor number is given.
const DEFAULT_TIME: Duration = Duration::from_secs(60);

/// How much a campaign is to do.
#[derive(clap::Args)]
pub struct Work {
    /// Seed of the campaign: the same seed gives the same scenarios [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// How long to run, such as 90s, 10m or 2h [default: 60s, or no limit with --scenarios]
    #[arg(long, value_parser = duration)]
    time: Option<Duration>,
    /// How many scenarios to run
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    scenarios: Option<u64>,
    /// VMs at the same time [default: one per processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
}

impl Work {
    /// The seed; one from the clock where none is given.
    pub fn seed(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
        self.seed.unwrap_or_else(now)
    }

    /// How long to run, if not for ever.
    pub fn time(&self) -> Option<Duration> {
        self.time.or(self.scenarios.is_none().then_some(DEFAULT_TIME))
    }

    /// How many scenarios to run at most.
    pub fn scenarios(&self) -> Option<u64> {
        self.scenarios
    }

    /// VMs at the same time.
    pub fn jobs(&self) -> usize {
        self.jobs.map_or_else(processors, usize::from)
    }
}

/// Run a campaign: many scenarios from one seed, judged, shrunk and filed.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    work: Work,
    /// How the endpoints of all scenarios reach each other [default: every way]
    #[arg(long, value_name = "loopback|veth|bridge")]
    topology: Option<Topology>,
    /// The address family of all scenarios [default: both]
    #[arg(long, value_name = "v4|v6")]
    family: Option<Family>,
    /// Processors of each VM [default: by turns 2, where the host has them, and 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=8))]
    vcpus: Option<u32>,
    /// Where findings and summary.json go
    #[arg(long, default_value = "findings", value_name = "DIR")]
    out: PathBuf,
    /// Print summary.json instead of a table
    #[arg(long)]
    json: bool,
    /// End at the first finding
    #[arg(long)]
    stop_on_first: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let target = args.target.resolve()?;
    let out = prepare(&args.out)?;
    // not before: until here a signal may end the process, and with it a kernel build
    let interrupted = interrupt::flag()?;
    let seed = args.work.seed();
    eprintln!("fuzz {} with seed {seed} on {}", target.name, target.accel);
    let code = target.code()?;
    let reach = code.map(|code| Reach::new(&code, &out.join("points"))).transpose()?;
    let campaign = Campaign {
        target,
        seed,
        scope: Scope { topology: args.topology, family: args.family },
        time: args.work.time(),
        scenarios: args.work.scenarios(),
        jobs: args.work.jobs(),
        vcpus: args.vcpus,
        out,
        stop_on_first: args.stop_on_first,
        confirm: true,
        reach,
    };
    let (summary, outcome) = campaign.run(&interrupted)?;
    if args.json {
        print_json(&summary)?;
    } else {
        print(&summary, &args.out);
    }
    if let (Outcome::Unfinished, Some(missing)) = (outcome, &summary.unfinished) {
        eprintln!("sparring: no verdict after {} scenarios: {missing}", summary.scenarios);
    }
    Ok(outcome)
}

/// The directory, made if needed, as an absolute path. An earlier campaign in it is moved aside.
pub fn prepare(out: &Path) -> Result<PathBuf, Failure> {
    let failed = |e: std::io::Error| {
        Failure::Harness(format!(
            "cannot use --out {}: {e}; choose another directory",
            out.display()
        ))
    };
    if out.join("summary.json").exists() {
        // without a slash at its end
        let name: PathBuf = out.components().collect();
        let aside = (1..)
            .map(|n| PathBuf::from(format!("{}.{n}", name.display())))
            .find(|aside| !aside.exists())
            .unwrap_or_default();
        fs::rename(out, &aside).map_err(failed)?;
        eprintln!("the campaign in {} is now in {}", out.display(), aside.display());
    }
    fs::create_dir_all(out).and_then(|()| out.canonicalize()).map_err(failed)
}

/// VMs at the same time, where nothing is said.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

fn print(summary: &Summary, out: &Path) {
    println!(
        "{} scenarios in {:.1} s ({:.0}/s), {} paired, ring {:.1} % of {} bytes, {} inconclusive, {} restarts",
        summary.scenarios,
        summary.elapsed_s,
        summary.scenarios_per_s,
        summary.paired,
        summary.ring_share() * 100.0,
        summary.ring_bytes + summary.tcp_bytes,
        summary.inconclusive,
        summary.vm_restarts,
    );
    println!(
        "{} ops, {:.1} % as meant; {} scenarios overlap, {} have several pairs, {} a wire",
        summary.ops,
        summary.ops_as_meant * 100.0,
        summary.overlapping,
        summary.several_pairs,
        summary.over_a_wire,
    );
    if summary.findings.is_empty() {
        if summary.unfinished.is_none() {
            println!("no violation of {} on {}", summary.contract, summary.target);
        }
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["invariant", "diagnosis", "count", "first", "ops", "replays", "folder"]);
    for finding in &summary.findings {
        table.add_row([
            finding.invariant.to_string(),
            finding.diagnosis.clone(),
            finding.count.to_string(),
            format!("{:.1} s", finding.first_s),
            format!("{} of {}", finding.ops_shrunk, finding.ops_original),
            finding.reliability.map_or_else(|| "-".to_owned(), |r| r.to_string()),
            out.join(&finding.path).display().to_string(),
        ]);
    }
    println!("{table}");
}
