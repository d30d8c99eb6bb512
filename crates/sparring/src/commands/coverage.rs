//! `sparring coverage`: which lines of the kernel ran.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{print, println};
use generate::Scope;
use report::{Coverage, FindingKey, ReachedBy, SourceCoverage};
use scenario::payload::Key;
use scenario::{Scenario, text};
use vm::coverage::{Code, Image, Source};
use vm::kernel::{self, Cache, Kernel};
use vm::patience::Patience;

use crate::campaign::Campaign;
use crate::commands::fuzz::{Work, prepare};
use crate::commands::{print_json, read_ring};
use crate::confirm::racing;
use crate::covered::{self, Question};
use crate::exit::{Failure, Outcome};
use crate::interrupt;
use crate::reach::{Reach, coverage_failure};
use crate::runner::{Event, Job, Runner};
use crate::target::{Target, TargetArgs, file_name, kernel_failure};

/// Show which lines of the kernel under test ran: with a series those it added, with modules theirs first.
///
/// Runs a campaign, or the given scenarios once each. Exits 0 where coverage could be measured, whatever was found.
#[derive(clap::Args)]
pub struct Args {
    /// Scenarios to run instead of a campaign
    #[arg(value_name = "FILE.ring", conflicts_with_all = ["seed", "time", "scenarios", "jobs"])]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    work: Work,
    /// Where the report, index.html, goes, and what the campaign finds
    #[arg(long, default_value = "coverage", value_name = "DIR")]
    out: PathBuf,
    /// Print the report as JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What ran.
struct Ran {
    seed: Option<u64>,
    kernel_release: String,
    scenarios: u64,
    findings: usize,
    reach: Reach,
    /// The name of the scenario with that number, and itself.
    scenario: Box<dyn Fn(u64) -> (String, Scenario)>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    // a bad file should not cost a kernel build
    let given = args.files.iter().map(|file| read_ring(file)).collect::<Result<Vec<_>, _>>()?;
    let target = args.target.resolve()?;
    let (kernel, code) = under_test(&target)?;
    let out = prepare(&args.out)?;
    let interrupted = interrupt::flag()?;
    let reach = Reach::new(&code, &out.join("points"))?;
    let ran = if given.is_empty() {
        campaign(args, target.clone(), reach, &out, &interrupted)?
    } else {
        replay(args, &target, given, reach, &out, &interrupted)?
    };
    let points_hit = ran.reach.covered();
    if points_hit == 0 {
        return Err(Failure::Harness(format!(
            "nothing was covered by {} scenarios; see the console in {}",
            ran.scenarios,
            args.out.display()
        )));
    }
    let sources = code.sources(kernel).map_err(coverage_failure)?;
    let question = question(args, kernel, &code, &sources)?;
    let without_code = question.as_ref().map_or_else(Vec::new, |q| q.without_code(&sources));
    let sources = covered::sources(sources, &ran.reach.first(), question.as_ref());
    let coverage = Coverage {
        target: target.name.clone(),
        kernel_release: ran.kernel_release.clone(),
        seed: ran.seed,
        scenarios: ran.scenarios,
        findings: ran.findings,
        cut: ran.reach.cut(),
        points: code.points() as u64,
        points_hit,
        question: question.map(|question| question.words),
        without_code,
        reached_by: keep(&ran, &sources, &out)?,
        sources,
    };
    coverage.save_html(&out)?;
    if args.json {
        print_json(&coverage)?;
    } else {
        print!("{}", coverage.text());
        println!("\nline by line: {}", args.out.join("index.html").display());
    }
    Ok(Outcome::Pass)
}

/// The kernel and its code, where it says which of it runs.
fn under_test(target: &Target) -> Result<(&Kernel, Code), Failure> {
    let Some(kernel) = &target.kernel else {
        return Err(Failure::BadInput(
            "a kernel image does not tell its lines: give --tree or --series instead of --kernel"
                .into(),
        ));
    };
    let code = target.code()?.ok_or_else(|| {
        Failure::BadInput(format!(
            "the flavour {} reports no coverage: use kcov or kasan",
            kernel.flavour
        ))
    })?;
    Ok((kernel, code))
}

fn campaign(
    args: &Args,
    target: Target,
    reach: Reach,
    out: &Path,
    interrupted: &AtomicBool,
) -> Result<Ran, Failure> {
    let seed = args.work.seed();
    eprintln!("cover {} with seed {seed} on {}", target.name, target.accel);
    let campaign = Campaign {
        target,
        seed,
        scope: Scope::default(),
        time: args.work.time(),
        scenarios: args.work.scenarios(),
        jobs: args.work.jobs(),
        vcpus: None,
        out: out.to_owned(),
        stop_on_first: false,
        confirm: false,
        reach: Some(reach),
    };
    let (summary, _) = campaign.run(interrupted)?;
    if let Some(missing) = &summary.unfinished {
        eprintln!("sparring: not all of the campaign: {missing}");
    }
    let Some(reach) = campaign.reach else { unreachable!("it was given one") };
    Ok(Ran {
        seed: Some(seed),
        kernel_release: summary.kernel_release,
        scenarios: summary.scenarios,
        findings: summary.findings.len(),
        reach,
        scenario: Box::new(move |number| (number.to_string(), generate::scenario(seed, number))),
    })
}

/// Runs the given scenarios once each.
fn replay(
    args: &Args,
    target: &Target,
    given: Vec<Scenario>,
    reach: Reach,
    out: &Path,
    interrupted: &AtomicBool,
) -> Result<Ran, Failure> {
    let mut spec = racing(target.spec(Key::from_seed(0), out.join("console.log"))?);
    spec.plan.points = Some(reach.list().to_owned());
    let mut runner = Runner::new(spec);
    let mut findings = BTreeSet::new();
    let mut scenarios: u64 = 0;
    for ((scenario, file), number) in given.iter().zip(&args.files).zip(0..) {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let (scenario, patience) = (scenario.clone(), Patience::Judging);
        runner.push(Job { number, scenario, patience, again: false });
        while !runner.is_idle() {
            match runner.next()? {
                Event::Ran(job, history, reached) => {
                    scenarios += 1;
                    reach.note(job.number, &reached);
                    let verdict = judge::judge(&job.scenario, &history, &target.contract);
                    findings.extend(verdict.violations().iter().map(FindingKey::of));
                }
                Event::Crash(crash) => {
                    findings.insert(FindingKey::of(&crash.violation));
                }
                Event::Broke(_, reason) => {
                    return Err(Failure::Harness(format!("{}: {reason}", file.display())));
                }
                Event::Restarted(reason) | Event::Unchecked(reason) => {
                    eprintln!("sparring: {}: {reason}", file.display());
                }
            }
        }
    }
    runner.stop();
    let files = args.files.clone();
    let scenario = move |number| {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        (files[at].display().to_string(), given[at].clone())
    };
    Ok(Ran {
        seed: None,
        kernel_release: runner.release.clone(),
        scenarios,
        findings: findings.len(),
        reach,
        scenario: Box::new(scenario),
    })
}

/// What a reviewer asks: what of a series ran, and what of modules.
fn question(
    args: &Args,
    kernel: &Kernel,
    code: &Code,
    sources: &BTreeMap<PathBuf, Source>,
) -> Result<Option<Question>, Failure> {
    let mut words = Vec::new();
    let mut lines = BTreeMap::new();
    let request = args.target.source.request();
    if let Some(series) = &request.series {
        let cache = Cache::open().map_err(kernel_failure)?;
        lines = kernel::added_lines(&request, kernel, &cache).map_err(kernel_failure)?;
        words.push(format!("added by {}", file_name(series)));
    }
    for module in code.images().iter().filter_map(Image::module_name) {
        let files = sources.keys().filter(|file| file.starts_with(module));
        lines.extend(files.map(|file| (file.clone(), BTreeSet::new())));
        words.push(format!("of the module {module}"));
    }
    let words = words.join(" and ");
    Ok((!words.is_empty()).then_some(Question { words, lines }))
}

/// Writes the scenarios that were the first to run a line.
fn keep(
    ran: &Ran,
    sources: &[SourceCoverage],
    out: &Path,
) -> Result<BTreeMap<u64, ReachedBy>, Failure> {
    let mut kept = BTreeMap::new();
    for number in covered::scenarios(sources) {
        let (name, scenario) = (ran.scenario)(number);
        let path = Path::new("scenarios").join(format!("{number}.ring"));
        let seed = ran.seed.map_or_else(String::new, |seed| format!("seed {seed} scenario "));
        let text = format!("# {seed}{name}\n{}", text::print(&scenario));
        report::write(&out.join(&path), text)?;
        kept.insert(number, ReachedBy { name, path });
    }
    Ok(kept)
}
