//! What all VMs together have executed and found.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstream::eprintln;
use judge::Contract;
use report::{FindingKey, WriteError};
use scenario::verdict::Doubt;
use scenario::{History, Scenario, Verdict, Violation};
use vm::wire::Reached;

use super::artifact::{digest, keep_recent, render};
use super::line::{Line, Work};
use crate::exit::Failure;
use crate::reach::Reach;
use crate::target::Target;
use crate::waning;

/// How many scenarios may fail to run, if they are less than a tenth of all.
const BROKEN: u64 = 20;

/// Everything that was executed and found; shared by the threads of the VMs.
pub struct Docket<'a> {
    target: &'a Target,
    contract: &'a Contract,
    line: &'a Line,
    /// What was covered, where that can be known.
    reach: Option<Reach>,
    state: Mutex<State>,
}

/// The figures and what was found.
#[derive(Debug, Default)]
struct State {
    found: BTreeSet<FindingKey>,
    /// What was under way when a kernel died, so that no later guest runs it again.
    deadly: HashSet<Scenario>,
    executed: u64,
    broken: u64,
    inconclusive: u64,
    ring_bytes: u64,
    bytes: u64,
    restarts: u64,
    /// Guests' time with libFuzzer running.
    fuzzed: Duration,
}

/// A kernel in trouble.
pub struct Crash<'a> {
    /// What the outside saw of it.
    pub violation: Violation,
    /// What was under way, or else the last one before; none where nothing was executed yet.
    pub suspect: Option<&'a Scenario>,
    /// What was executed before, oldest first.
    pub recent: &'a [Scenario],
    /// The kernel's words.
    pub console: &'a str,
}

impl<'a> Docket<'a> {
    /// An empty one, for a target and what libFuzzer was asked to do.
    pub fn new(target: &'a Target, line: &'a Line, reach: Option<Reach>) -> Docket<'a> {
        Docket { target, contract: &target.contract, line, reach, state: Mutex::default() }
    }

    /// The list of coverage points that guests are to trace.
    pub fn points(&self) -> Option<&Path> {
        self.reach.as_ref().map(Reach::list)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // counts stay counts
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges an execution and files what it violated. What a hurried one may only show because it was hurried is
    /// inconclusive.
    pub fn executed(
        &self,
        scenario: &Scenario,
        history: &History,
        is_hurried: bool,
        reached: &Reached,
    ) -> Result<(), Failure> {
        let verdict = judge::judge(scenario, history, self.contract);
        if let Verdict::Error(reason) = &verdict {
            return self.broke(&format!("cannot judge: {reason}"));
        }
        let is_known =
            |violation: &Violation| self.lock().found.contains(&FindingKey::of(violation));
        let verdict = if is_hurried {
            let counts = waning::hurried(history, verdict, is_known);
            counts.unwrap_or(Verdict::Inconclusive(Doubt::CallStillWaiting))
        } else {
            verdict
        };
        {
            let mut state = self.lock();
            state.executed += 1;
            state.inconclusive += u64::from(matches!(verdict, Verdict::Inconclusive(_)));
            let (accepted, ring) = history.accepted_and_ring();
            state.bytes += accepted;
            state.ring_bytes += ring;
            if let Some(reach) = &self.reach {
                reach.note(state.executed, reached);
            }
        }
        for violation in verdict.violations() {
            self.file(scenario, violation)?;
        }
        Ok(())
    }

    /// Counts a scenario that could not be run or judged. With more than a few, the harness is broken.
    pub fn broke(&self, reason: &str) -> Result<(), Failure> {
        tracing::warn!("an input could not be run: {reason}");
        let mut state = self.lock();
        state.broken += 1;
        if state.broken > BROKEN && state.broken * 10 > state.executed {
            return Err(Failure::Harness(format!("inputs could not be run: {reason}")));
        }
        Ok(())
    }

    /// Files what the outside saw of a kernel; whether it is new.
    pub fn crashed(&self, crash: &Crash<'_>) -> Result<bool, Failure> {
        if self.contract.exemption(&crash.violation).is_some() {
            return Ok(false);
        }
        let Some(suspect) = crash.suspect else {
            let key = FindingKey::of(&crash.violation);
            let FindingKey { invariant, diagnosis } = &key;
            let words = format!("{invariant}: {diagnosis}: before the first input");
            let is_new = self.lock().found.insert(key);
            if is_new {
                eprintln!("finding: {words}\n{}", crash.console);
            }
            return Ok(is_new);
        };
        let Some(artifact) = self.file(suspect, &crash.violation)? else { return Ok(false) };
        if let Some(artifact) = artifact {
            let kept = keep_recent(&artifact, crash.recent, crash.console)?;
            eprintln!("sparring: the inputs before, and the console: {}", kept.display());
        }
        Ok(true)
    }

    /// Has later guests leave out what one did not survive.
    pub fn leave_out(&self, scenario: &Scenario) {
        self.lock().deadly.insert(scenario.clone());
    }

    /// What later guests are to leave out.
    pub fn deadly(&self) -> HashSet<Scenario> {
        self.lock().deadly.clone()
    }

    /// Counts a guest that is no more.
    pub fn restarted(&self, reason: &str) {
        eprintln!("sparring: lost a VM: {reason}");
        self.lock().restarts += 1;
    }

    /// Counts the time that libFuzzer had in a guest.
    pub fn fuzzed(&self, since: Instant) {
        self.lock().fuzzed += since.elapsed();
    }

    /// The first of its kind becomes an artifact, where there are to be any: the path, `Some(None)` without one, `None`
    /// for what was filed before.
    fn file(
        &self,
        scenario: &Scenario,
        violation: &Violation,
    ) -> Result<Option<Option<PathBuf>>, WriteError> {
        let key = FindingKey::of(violation);
        let FindingKey { invariant, diagnosis } = &key;
        if !self.lock().found.insert(key.clone()) {
            return Ok(None);
        }
        let command = format!("./sparring run {}", self.target.flags);
        if self.line.work() == Work::Replay {
            // the file is there already
            eprintln!("finding: {invariant}: {diagnosis}\n{}", violation.evidence);
            return Ok(Some(None));
        }
        let content = render(scenario, violation, &format!("{} FILE", command.trim_end()));
        let path = self.line.artifact(&format!("crash-{}", digest(content.as_bytes())));
        report::write(&path, content)?;
        eprintln!("finding: {invariant}: {diagnosis}: {} {}", command.trim_end(), path.display());
        Ok(Some(Some(path)))
    }

    /// Whether anything was found.
    pub fn has_findings(&self) -> bool {
        !self.lock().found.is_empty()
    }

    /// What keeps a run without findings from being a pass.
    pub fn missing(&self) -> Option<String> {
        let state = self.lock();
        if state.broken > 0 {
            return Some(format!("{} inputs could not be run", state.broken));
        }
        if state.executed == state.inconclusive {
            return Some("no input could be judged in full".into());
        }
        let engages = self.target.pairs() && self.line.work() == Work::Fuzz;
        (engages && state.ring_bytes == 0).then(|| {
            "no byte took the ring, so nothing was shown: check that the program pairs".into()
        })
    }

    /// The end, in a line.
    pub fn summary(&self) -> String {
        let state = self.lock();
        let (executed, seconds) = (state.executed, state.fuzzed.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "rates for people to read")]
        let [rate, ring] =
            [executed as f64 / seconds, state.ring_bytes as f64 / state.bytes as f64];
        let shown = |ratio: f64| if ratio.is_finite() { ratio } else { 0.0 };
        format!(
            "{executed} executions in {seconds:.1} s ({:.0}/s), {} findings, {} inconclusive, ring {:.1} % of {} bytes, \
             {} points covered, {} restarts",
            shown(rate),
            state.found.len(),
            state.inconclusive,
            shown(ring) * 100.0,
            state.bytes,
            self.reach.as_ref().map_or(0, Reach::covered),
            state.restarts
        )
    }
}
