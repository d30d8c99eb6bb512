//! After the last scenario: findings are shrunk, replayed and explained.

use std::slice;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use report::FindingKey;
use scenario::payload::Key;

use super::Shared;
use crate::confirm::{Effort, Watch, hasten};
use crate::exit::Failure;
use crate::plain::PlainTcp;
use crate::replay::Replay;
use crate::runner::Runner;

impl Shared<'_> {
    /// After the last scenario: shrinks and replays the findings, on as many machines as the campaign had. What cannot
    /// be replayed stays as it is.
    pub(super) fn confirm_all(&self, interrupted: &AtomicBool) {
        let keys: Vec<FindingKey> = self.lock().entries.keys().cloned().collect();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for vm in 0..self.campaign.jobs.min(keys.len()) {
                let (keys, next) = (&keys, &next);
                scope.spawn(move || {
                    if let Err(failure) = self.confirm_some(vm, keys, next, interrupted) {
                        self.bar.line(&format!("not all findings could be replayed: {failure}"));
                    }
                });
            }
        });
    }

    /// One machine's part of it: the next finding that nobody has begun with, until there is none.
    fn confirm_some(
        &self,
        vm: usize,
        keys: &[FindingKey],
        next: &AtomicUsize,
        interrupted: &AtomicBool,
    ) -> Result<(), Failure> {
        let campaign = self.campaign;
        let console = campaign.out.join(format!("console-replay{vm}.log"));
        let spec = hasten(campaign.target.spec(Key::from_seed(campaign.seed), console)?);
        let mut plain = PlainTcp::beside(&campaign.target, &spec);
        let mut replay = Replay::new(Runner::new(spec), campaign.target.contract.clone());
        while !interrupted.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(key) = keys.get(at) else { break };
            let all = keys.len();
            let which = format!("{} of {all}: {}: {}", at + 1, key.invariant, key.diagnosis);
            let progress = |tries, ops| {
                let message = format!("shrink {which}: {tries} candidates tried, {ops} ops");
                self.bar.set(at as u64, Some(all as u64), &message);
            };
            progress(0, self.ops_of(key));
            self.confirm(&mut replay, key, &Watch { interrupted, progress: &progress })?;
            let wanted = plain.as_mut().filter(|_| !interrupted.load(Ordering::Relaxed));
            if let Some(Err(failure)) = wanted.map(|plain| self.explain(plain, key)) {
                self.bar.line(&format!("no comparison with plain TCP from here on: {failure}"));
                plain = None;
            }
        }
        replay.stop();
        plain.iter_mut().for_each(PlainTcp::stop);
        Ok(())
    }

    /// Shrinks one finding and measures how reliably it comes back.
    fn confirm(
        &self,
        replay: &mut Replay,
        key: &FindingKey,
        watch: &Watch<'_>,
    ) -> Result<(), Failure> {
        let originals = match self.lock().entries.get(key) {
            Some(entry) => entry.shown_by.clone(),
            None => return Ok(()),
        };
        let effort = Effort::for_finding(key);
        if let Some(confirmed) = replay.confirm(key, &originals, effort, watch)? {
            self.lock().confirmed(key, confirmed)?;
        }
        Ok(())
    }

    /// Adds what plain TCP does to a finding.
    fn explain(&self, plain: &mut PlainTcp, key: &FindingKey) -> Result<(), Failure> {
        let scenario = match self.lock().entries.get(key) {
            Some(entry) => entry.artifacts.scenario.clone(),
            None => return Ok(()),
        };
        let Some(plain) = plain.run(slice::from_ref(key), &scenario)? else { return Ok(()) };
        let alarm = self.lock().explained(key, plain)?;
        if let Some(alarm) = alarm {
            self.bar.line(&format!("{}: {}: {alarm}", key.invariant, key.diagnosis));
        }
        Ok(())
    }

    fn ops_of(&self, key: &FindingKey) -> usize {
        self.lock().entries.get(key).map_or(0, |entry| entry.finding.ops_original)
    }
}
