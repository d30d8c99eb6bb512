//! `sparring fuzz`: run a campaign.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::{Table, presets};
use report::Summary;

use crate::campaign::Campaign;
use crate::exit::{Failure, Outcome};
use crate::interrupt;
use crate::target::TargetArgs;

/// How long a campaign runs where neither time nor number is given.
const DEFAULT_TIME: Duration = Duration::from_secs(60);

/// Run a campaign: many scenarios from one seed, judged, shrunk and filed.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Seed of the campaign: the same seed gives the same scenarios [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// How long to run, such as 90s, 10m or 2h [default: 60s, or no limit with --scenarios]
    #[arg(long, value_parser = duration)]
    time: Option<Duration>,
    /// How many scenarios to run
    #[arg(long)]
    scenarios: Option<u64>,
    /// VMs at the same time [default: one per processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
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
    let interrupted = interrupt::flag()?;
    let out = prepare(&args.out)?;
    let target = args.target.resolve()?;
    let seed = args.seed.unwrap_or_else(clock_seed);
    eprintln!("fuzz {} with seed {seed} on {}", target.name, target.accel);
    let campaign = Campaign {
        target,
        seed,
        time: args.time.or(args.scenarios.is_none().then_some(DEFAULT_TIME)),
        scenarios: args.scenarios,
        jobs: args.jobs.map_or_else(processors, usize::from),
        out,
        stop_on_first: args.stop_on_first,
    };
    let (summary, outcome) = campaign.run(&interrupted)?;
    if args.json {
        let json = serde_json::to_string_pretty(&summary)
            .map_err(|e| Failure::Harness(format!("cannot print the summary: {e}")))?;
        println!("{json}");
    } else {
        print(&summary, &args.out);
    }
    if outcome == Outcome::Unfinished {
        eprintln!("sparring: interrupted after {} scenarios; no verdict", summary.scenarios);
    }
    Ok(outcome)
}

/// The directory, made if needed, as an absolute path that the guest shares.
fn prepare(out: &PathBuf) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(out).and_then(|()| out.canonicalize()).map_err(|e| {
        Failure::Harness(format!(
            "cannot use --out {}: {e}; choose another directory",
            out.display()
        ))
    })
}

fn clock_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs())
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

/// Reads `90`, `90s`, `10m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        unit => return Err(format!("unknown unit {unit:?}: use s, m or h")),
    };
    let number: u64 = digits.parse().map_err(|_| "give a whole number such as 90s".to_owned())?;
    number
        .checked_mul(factor)
        .filter(|seconds| (1..=u64::from(u32::MAX)).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "give at least 1s and at most some years".to_owned())
}

fn print(summary: &Summary, out: &std::path::Path) {
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
    if summary.findings.is_empty() {
        println!("no violation of {} on {}", summary.contract, summary.target);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn times_are_read_with_and_without_unit() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for bad in ["", "s", "0", "-1s", "1.5s", "3d", "99999999999999999999"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
