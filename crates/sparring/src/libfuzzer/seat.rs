//! One VM after another in which libFuzzer works, until it is done.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use scenario::history::Bounds;
use scenario::{Invariant, Scenario, Violation};
use vm::machine::{Ending, Event, Machine, Streams};
use vm::patience::{Patience, bounds, to_connect};
use vm::wire::{Errand, Exit, FromGuest, Plan, Program, ToGuest};

use super::docket::{Crash, Docket};
use super::line::{Line, Work};
use crate::exit::Failure;
use crate::guest::Spec;
use crate::runner::GUEST_SILENT;

/// Executed inputs that are kept, because the one under way when the kernel dies may not be the guilty one.
const RECENT: usize = 16;
/// How long nothing may return from an input at least: several times what a call may wait for.
const SILENCE: Duration = Duration::from_secs(60);
/// How long libFuzzer may be busy by itself: with reading corpora, most of all.
const IDLE: Duration = Duration::from_secs(600);
/// How long a guest may take to switch itself off, or to say what it hangs in.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much longer than its time libFuzzer may take: it does not look at the clock while it runs what it starts from.
const GRACE: Duration = Duration::from_secs(10);
/// How often to look whether the time is up.
const TICK: Duration = Duration::from_millis(200);
/// Guests lost in a row, with nothing executed in between, after which it is given up.
const LOSSES: u32 = 3;

/// One VM at a time, for one of libFuzzer's jobs.
pub struct Seat<'a> {
    /// Its number, from 0.
    pub vm: usize,
    /// What to boot.
    pub spec: Spec,
    /// The fuzz target.
    pub program: &'a Path,
    /// What libFuzzer is asked to do.
    pub line: &'a Line,
    /// A directory for the errand.
    pub scratch: &'a Path,
    /// Where all that is found goes.
    pub docket: &'a Docket<'a>,
    /// Set to end it.
    pub interrupted: &'a AtomicBool,
}

/// How libFuzzer's work in a guest ended.
enum End {
    /// libFuzzer did.
    Exited(Exit),
    /// The kernel's doing, which was filed.
    Kernel(String),
    /// Nobody's, as far as one can tell.
    Lost(String),
    /// Ctrl-C, or the time was up.
    Over,
}

/// What is known of the guest.
struct Watch {
    under_way: Option<(u64, Scenario)>,
    recent: VecDeque<Scenario>,
    /// Inputs that were begun.
    runs: u64,
    news: Instant,
    /// A complaint that nobody has heard before: the guest is to be replaced.
    complained: Option<String>,
    /// The time limits of inputs that are not hurried.
    bounds: Bounds,
}

impl Seat<'_> {
    /// Works to the end; gives libFuzzer's exit, or `None` where it was interrupted or the time was up.
    ///
    /// # Errors
    /// When no guest can be had, or too many were lost in a row.
    pub fn work(&self) -> Result<Option<Exit>, Failure> {
        let (mut boots, mut losses, mut runs) = (0, 0, self.line.runs());
        let mut end_at = None;
        loop {
            let time = end_at.map(|end: Instant| end.saturating_duration_since(Instant::now()));
            let is_over = time.is_some_and(|left| left < Duration::from_secs(1));
            if is_over || runs == Some(0) || self.interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let booted = Machine::boot_with_streams(&self.spec.machine);
            let (end, done) = match booted {
                Ok((machine, streams)) => {
                    let arguments =
                        self.line.for_guest(self.vm, boots, time.or(self.line.time()), runs);
                    end_at = end_at.or(self.line.time().map(|time| Instant::now() + time));
                    let started = Instant::now();
                    let ended = self.attend(machine, &streams, arguments, end_at);
                    self.docket.fuzzed(started);
                    ended?
                }
                Err(error) if boots == 0 => return Err(self.spec.boot_failure(&error)),
                Err(error) => (End::Lost(error.to_string()), 0),
            };
            boots += 1;
            runs = runs.map(|runs| runs.saturating_sub(done));
            losses = if done > 0 { 0 } else { losses + 1 };
            match end {
                End::Exited(exit) => return Ok(Some(exit)),
                End::Over => return Ok(None),
                End::Kernel(why) | End::Lost(why) if losses < LOSSES => self.docket.restarted(&why),
                End::Kernel(why) => {
                    return Err(Failure::Kernel(format!(
                        "the kernel dies before the first input: {why}"
                    )));
                }
                End::Lost(why) => {
                    return Err(Failure::Harness(format!(
                        "{LOSSES} VMs in a row were lost: {why}"
                    )));
                }
            }
        }
    }

    /// Has libFuzzer work in a guest; how that ended, and how many inputs it has begun.
    fn attend(
        &self,
        mut machine: Machine,
        streams: &Streams,
        arguments: Vec<OsString>,
        end_at: Option<Instant>,
    ) -> Result<(End, u64), Failure> {
        let errand = self.write_errand(&machine)?;
        let environment = std::env::vars_os().chain([(Errand::VARIABLE.into(), errand.into())]);
        let program = Program {
            argv: [self.program.into()].into_iter().chain(arguments).collect(),
            environment: environment.collect(),
            terminal: None,
        };
        machine
            .send(&ToGuest::Exec(program))
            .map_err(|e| Failure::Harness(format!("the guest does not listen: {e}")))?;
        let prefix = if self.line.jobs() > 1 { format!("{}: ", self.vm) } else { String::new() };
        let prefix = &*prefix;
        thread::scope(|scope| {
            scope.spawn(move || pass_on(&streams.stdout, prefix, &mut io::stdout()));
            scope.spawn(move || pass_on(&streams.stderr, prefix, &mut io::stderr()));
            let mut watch =
                Watch::new(bounds(machine.hello().took.as_secs_f64(), Patience::Judging));
            // the machine's end ends the streams
            let end = self.listen(machine, end_at, &mut watch)?;
            Ok((end, watch.runs))
        })
    }

    /// Writes what the fuzz target needs to a file that the guest sees.
    fn write_errand(&self, machine: &Machine) -> Result<PathBuf, Failure> {
        let boot_s = machine.hello().took.as_secs_f64();
        let plan = Plan { connect_within: to_connect(boot_s), ..self.spec.plan.clone() };
        let hurried =
            if self.line.work() == Work::Fuzz { Patience::Hurried } else { Patience::Judging };
        let errand = Errand {
            plan,
            bounds: bounds(boot_s, Patience::Judging),
            hurried: bounds(boot_s, hurried),
            deadly: self.docket.deadly(),
        };
        let path = self.scratch.join(format!("errand-{}", self.vm));
        let failed = |why: String| Failure::Harness(format!("{}: {why}", path.display()));
        let bytes = postcard::to_stdvec(&errand).map_err(|e| failed(e.to_string()))?;
        fs::write(&path, bytes).map_err(|e| failed(e.to_string()))?;
        Ok(path)
    }

    fn listen(
        &self,
        mut machine: Machine,
        end_at: Option<Instant>,
        watch: &mut Watch,
    ) -> Result<End, Failure> {
        loop {
            let silence = watch.news.elapsed();
            let is_late = end_at.is_some_and(|end| Instant::now() > end + GRACE);
            // what has fallen silent by then may be a hang
            if is_late && silence < GRACE || self.interrupted.load(Ordering::Relaxed) {
                self.last_words(machine, Duration::ZERO, watch)?;
                return Ok(End::Over);
            }
            match machine.next_event(TICK) {
                Event::Message(FromGuest::Exited(exit)) => {
                    self.last_words(machine, PATIENCE, watch)?;
                    return Ok(End::Exited(exit));
                }
                Event::Ended(ending) => return self.ended(&ending, watch),
                Event::Timeout => {}
                event => self.heard(event, watch)?,
            }
            if let Some(headline) = watch.complained.take() {
                self.last_words(machine, Duration::ZERO, watch)?;
                return Ok(End::Kernel(headline));
            }
            if silence > self.patience(watch) && self.is_executing(watch) {
                let hang = machine.dump_and_kill(PATIENCE);
                let evidence = format!("nothing returned for {} s", silence.as_secs());
                self.crash(Invariant::Hang, GUEST_SILENT, &evidence, &hang.text, watch)?;
                return Ok(End::Kernel(evidence));
            }
            if silence > self.patience(watch) {
                return Ok(End::Lost(format!("no input for {} s", silence.as_secs())));
            }
        }
    }

    /// Whether one input follows the other, so that silence is a hang even between two of them.
    fn is_executing(&self, watch: &Watch) -> bool {
        let follow = matches!(self.line.work(), Work::Fuzz | Work::Replay) && watch.runs > 0;
        follow || watch.under_way.is_some()
    }

    /// How long silence is none of the kernel's business.
    fn patience(&self, watch: &Watch) -> Duration {
        let timeout = self.line.timeout().unwrap_or(SILENCE).max(SILENCE);
        if self.is_executing(watch) { timeout } else { IDLE }
    }

    fn heard(&self, event: Event, watch: &mut Watch) -> Result<(), Failure> {
        if matches!(event, Event::Message(_)) {
            // a kernel that hangs may complain of it over and over
            watch.news = Instant::now();
        }
        match event {
            Event::Message(FromGuest::Began { number, scenario }) => {
                watch.runs = watch.runs.max(number + 1);
                watch.under_way = Some((number, scenario));
            }
            Event::Message(FromGuest::Done { number, history, reached }) => {
                let scenario = watch.returned(number)?;
                let is_hurried = history.bounds != watch.bounds;
                self.docket.executed(&scenario, &history, is_hurried, &reached)?;
                watch.keep(scenario);
            }
            Event::Message(FromGuest::Failed { number, reason }) => {
                watch.returned(number)?;
                self.docket.broke(&reason)?;
            }
            Event::Message(FromGuest::Ready | FromGuest::Busy) => {}
            Event::Message(FromGuest::Refused(refusal)) => return Err(self.spec.refused(refusal)),
            Event::Message(other) => tracing::warn!(?other, "unexpected message from the guest"),
            Event::Splat(splat) => {
                let is_new = self.crash(
                    Invariant::Splat,
                    &splat.headline,
                    "the kernel complained",
                    &splat.text,
                    watch,
                )?;
                // a complaint that is known may come with every input
                watch.complained = is_new.then_some(splat.headline);
            }
            Event::Ended(_) | Event::Timeout => {}
        }
        Ok(())
    }

    /// Switches the guest off, or kills it at the limit, and hears what it still had to say.
    fn last_words(
        &self,
        machine: Machine,
        limit: Duration,
        watch: &mut Watch,
    ) -> Result<(), Failure> {
        machine.power_off(limit).into_iter().try_for_each(|event| match event {
            Event::Ended(ending) => self.ended(&ending, watch).map(|_| ()),
            event => self.heard(event, watch),
        })
    }

    fn ended(&self, ending: &Ending, watch: &mut Watch) -> Result<End, Failure> {
        let Some(panic) = ending.kernels() else {
            if watch.under_way.take().is_some() {
                self.docket.broke("its guest was lost")?;
            }
            return Ok(End::Lost(ending.to_string()));
        };
        self.crash(Invariant::Panic, &panic.headline, "the kernel died", &panic.text, watch)?;
        Ok(End::Kernel(panic.headline))
    }

    /// Blames the input under way, or else the last one; whether this is seen for the first time.
    fn crash(
        &self,
        invariant: Invariant,
        headline: &str,
        evidence: &str,
        console: &str,
        watch: &Watch,
    ) -> Result<bool, Failure> {
        let under_way = watch.under_way.as_ref().map(|(_, scenario)| scenario);
        let suspect = under_way.or(watch.recent.back());
        if let Some(suspect) = suspect.filter(|_| invariant != Invariant::Splat) {
            self.docket.leave_out(suspect);
        }
        let violation = Violation {
            invariant,
            diagnosis: headline.to_owned(),
            record: None,
            evidence: format!("{evidence}: {headline}"),
        };
        let recent: Vec<Scenario> = watch.recent.iter().cloned().collect();
        self.docket.crashed(&Crash { violation, suspect, recent: &recent, console })
    }
}

impl Watch {
    fn new(bounds: Bounds) -> Watch {
        Watch {
            under_way: None,
            recent: VecDeque::new(),
            runs: 0,
            news: Instant::now(),
            complained: None,
            bounds,
        }
    }

    /// The input under way has returned.
    fn returned(&mut self, number: u64) -> Result<Scenario, Failure> {
        match self.under_way.take() {
            Some((begun, scenario)) if begun == number => Ok(scenario),
            _ => Err(Failure::Harness(format!("the guest answered input {number} out of turn"))),
        }
    }

    fn keep(&mut self, scenario: Scenario) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(scenario);
    }
}

/// Passes a stream on, each line behind the prefix where there is one.
fn pass_on(mut from: &UnixStream, prefix: &str, to: &mut impl Write) {
    let passed = if prefix.is_empty() {
        io::copy(&mut from, to).map(|_| ())
    } else {
        BufReader::new(from).lines().try_for_each(|line| writeln!(to, "{prefix}{}", line?))
    };
    if let Err(error) = passed {
        tracing::warn!("lost a part of the fuzz target's output: {error}");
    }
}
