//! A guest with two connections, plain and paired, that are measured by turns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use scenario::bench::{Contenders, Load, Measurement, Side, Trouble};
use scenario::history::Errno;
use scenario::{Invariant, Violation};
use vm::machine::{Ending, Event, Machine};
use vm::splat::Splat;
use vm::wire::{FromGuest, Pairing, ToGuest};

use crate::exit::Failure;
use crate::guest::Spec;

/// How long connecting and attaching may take.
const SETUP: Duration = Duration::from_secs(60);
/// How much longer than planned a measurement may take until the guest counts as silent: longer than the guest itself
/// gives the warm-up and the measurement.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a guest may take to switch itself off, or to say what it hangs in.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody wants an end.
const TICK: Duration = Duration::from_millis(200);

/// What came of one measurement.
pub enum Round {
    /// Figures.
    Measured(Measurement),
    /// None, and the kernel is at fault. The guest is of no further use.
    Violated(Violation),
    /// None, and nobody knows why. The guest is of no further use.
    Broken(String),
    /// Somebody wants an end.
    Interrupted,
}

/// A guest that measures.
pub struct Bout {
    machine: Machine,
    /// `uname -r`
    pub release: String,
    /// Processors of the guest.
    pub cpus: u32,
    /// What became of the two connections.
    pub contenders: Contenders,
    /// What the kernel complained about so far.
    complaints: Vec<Violation>,
}

/// What the guest says next, or why it does not.
enum Answer {
    Message(FromGuest),
    Ended(Ending),
    Silence,
    Interrupted,
}

impl Bout {
    /// Boots, connects the plain endpoints, attaches, connects the others. `None` where somebody wants an end before.
    pub fn start(
        spec: &Spec,
        pairing: &Pairing,
        busy_poll_us: Option<u32>,
        interrupted: &AtomicBool,
    ) -> Result<Option<Bout>, Failure> {
        let guest = spec.boot()?;
        let mut bout = Bout {
            release: guest.release,
            cpus: guest.machine.hello().cpus,
            machine: guest.machine,
            contenders: Contenders {
                pairing: scenario::history::Pairing::NotAsked,
                busy_poll: None,
            },
            complaints: guest
                .early
                .iter()
                .map(|splat| complaint(&splat.headline, &splat.text))
                .collect(),
        };
        bout.send(&ToGuest::Contenders { pairing: pairing.clone(), busy_poll_us })?;
        match bout.answer(SETUP, interrupted) {
            Answer::Message(FromGuest::Contenders(contenders)) => {
                bout.contenders = contenders;
                engaged(&contenders)?;
                Ok(Some(bout))
            }
            Answer::Message(FromGuest::Refused(refusal)) => Err(spec.refused(refusal)),
            Answer::Message(other) => Err(out_of_turn(&other)),
            Answer::Ended(ending) => Err(match ending.kernels() {
                Some(panic) => Failure::Kernel(format!(
                    "the kernel died while its connections were made: {}",
                    panic.headline
                )),
                None => Failure::Harness(format!("the guest ended: {ending}")),
            }),
            Answer::Silence => Err(Failure::Harness(format!(
                "the connections were not made within {} s; see {}",
                SETUP.as_secs(),
                spec.machine.console_log.display()
            ))),
            Answer::Interrupted => Ok(None),
        }
    }

    /// Makes one measurement.
    pub fn measure(&mut self, load: Load, interrupted: &AtomicBool) -> Result<Round, Failure> {
        self.send(&ToGuest::Bench(load))?;
        let limit = Duration::from_millis(load.millis.into()) + SILENCE;
        Ok(match self.answer(limit, interrupted) {
            Answer::Message(FromGuest::Measured(Ok(measurement))) => {
                checked(load.side, measurement)
            }
            Answer::Message(FromGuest::Measured(Err(trouble))) => blamed(load.side, &trouble),
            Answer::Message(other) => return Err(out_of_turn(&other)),
            Answer::Ended(ending) => match ending.kernels() {
                // whatever it was doing
                Some(panic) => Round::Violated(violation(
                    Invariant::Panic,
                    &panic.headline,
                    &format!("the kernel died\n{}", panic.text),
                )),
                None => Round::Broken(format!("the guest ended: {ending}")),
            },
            Answer::Silence => {
                let said = format!("the guest gave no answer for {} s", limit.as_secs());
                match load.side {
                    Side::Paired => {
                        Round::Violated(violation(Invariant::Hang, "guest-silent", &said))
                    }
                    Side::Plain => Round::Broken(said),
                }
            }
            Answer::Interrupted => Round::Interrupted,
        })
    }

    /// Ends a guest whose kernel did this; gives what else it complained about.
    pub fn stop_after(self, violation: &Violation) -> Vec<Violation> {
        match violation.invariant {
            Invariant::Stall | Invariant::Hang => self.abandon(),
            _ => self.stop(),
        }
    }

    /// Ends the guest; gives what its kernel complained about.
    pub fn stop(mut self) -> Vec<Violation> {
        for event in self.machine.power_off(PATIENCE) {
            match event {
                Event::Splat(splat) => self.complaints.push(seen(&splat)),
                Event::Ended(ending) => self.complaints.extend(ending.kernels().map(|panic| {
                    violation(Invariant::Panic, &panic.headline, "it died at its end")
                })),
                Event::Message(_) | Event::Timeout => {}
            }
        }
        self.complaints
    }

    /// Ends a guest that is stuck; gives what its kernel complained about. What it is stuck in goes to the console's
    /// log.
    pub fn abandon(mut self) -> Vec<Violation> {
        for event in self.machine.dump_and_kill(PATIENCE).rest {
            if let Event::Splat(splat) = event {
                self.complaints.push(seen(&splat));
            }
        }
        self.complaints
    }

    fn send(&mut self, message: &ToGuest) -> Result<(), Failure> {
        self.machine
            .send(message)
            .map_err(|e| Failure::Harness(format!("the guest does not listen: {e}")))
    }

    fn answer(&mut self, limit: Duration, interrupted: &AtomicBool) -> Answer {
        let end = Instant::now() + limit;
        loop {
            if interrupted.load(Ordering::Relaxed) {
                return Answer::Interrupted;
            }
            match self.machine.next_event(TICK) {
                Event::Message(message) => return Answer::Message(message),
                Event::Ended(ending) => return Answer::Ended(ending),
                Event::Splat(splat) => self.complaints.push(seen(&splat)),
                Event::Timeout => {}
            }
            if Instant::now() > end {
                return Answer::Silence;
            }
        }
    }
}

/// Whether the second connection is a pair, as far as the program can tell.
fn engaged(contenders: &Contenders) -> Result<(), Failure> {
    let scenario::history::Pairing::Asked { results, updates, .. } = contenders.pairing else {
        return Ok(());
    };
    if contenders.pairing.is_paired() {
        return Ok(());
    }
    let shown = |results: [Option<i32>; 2]| {
        results
            .map(|result| match result {
                None => "nothing".to_owned(),
                Some(0) => "0".to_owned(),
                Some(error) => Errno(-error).to_string(),
            })
            .join(" and ")
    };
    Err(Failure::Harness(format!(
        "not engaged: the kfunc returned {} to the client and the server, and the SOCKHASH {}; what is not \
         paired cannot be measured as a pair",
        shown(results),
        shown(updates)
    )))
}

/// Figures are only good if each side did what it is there for.
fn checked(side: Side, measurement: Measurement) -> Round {
    match (side, measurement.ring) {
        (Side::Paired, 0) => Round::Broken(format!(
            "not engaged: none of {} bytes of the pair took the ring",
            measurement.bytes
        )),
        (Side::Plain, 1..) => Round::Broken(format!(
            "{} bytes of the plain connection took the ring: there is nothing to compare with",
            measurement.ring
        )),
        _ => Round::Measured(measurement),
    }
}

/// Whose fault it is. Plain TCP is not under test: what goes wrong there is the harness's.
fn blamed(side: Side, trouble: &Trouble) -> Round {
    let (invariant, diagnosis) = match trouble {
        Trouble::Stalled { .. } => (Invariant::Stall, "bench-stalled"),
        Trouble::Corrupt { .. } => (Invariant::Corrupt, "bench-bytes-differ"),
        Trouble::OutOfPlace { .. } => (Invariant::Order, "bench-bytes-out-of-place"),
        Trouble::Ended { .. } => (Invariant::EarlyEof, "bench-stream-ended"),
        Trouble::Count { sent, received } if sent < received => {
            (Invariant::Duplicate, "bench-too-many-bytes")
        }
        Trouble::Count { .. } => (Invariant::Loss, "bench-too-few-bytes"),
        Trouble::Call { call, .. } if call == "send" => (Invariant::SendResult, "bench-send-fails"),
        Trouble::Call { .. } => (Invariant::RecvResult, "bench-recv-fails"),
        Trouble::Harness(why) => return Round::Broken(why.clone()),
    };
    match side {
        Side::Paired => Round::Violated(violation(invariant, diagnosis, &trouble.to_string())),
        Side::Plain => Round::Broken(format!("plain TCP: {trouble}")),
    }
}

fn out_of_turn(message: &FromGuest) -> Failure {
    Failure::Harness(format!("the guest said {message:?} out of turn"))
}

fn seen(splat: &Splat) -> Violation {
    complaint(&splat.headline, &splat.text)
}

fn complaint(headline: &str, text: &str) -> Violation {
    violation(Invariant::Splat, headline, &format!("the kernel complained\n{text}"))
}

fn violation(invariant: Invariant, diagnosis: &str, evidence: &str) -> Violation {
    let evidence = evidence.trim_end().to_owned();
    Violation { invariant, diagnosis: diagnosis.to_owned(), record: None, evidence }
}

#[cfg(test)]
mod tests {
    use scenario::history::Pairing;

    use super::*;

    fn contenders(results: [Option<i32>; 2]) -> Contenders {
        let pairing = Pairing::Asked { results, updates: [Some(0); 2], further: [None; 2] };
        Contenders { pairing, busy_poll: None }
    }

    #[test_log::test]
    fn what_is_not_paired_is_no_answer() {
        assert!(engaged(&contenders([None, Some(0)])).is_ok());
        assert!(engaged(&contenders([Some(-17), Some(0)])).is_ok());
        let failure = engaged(&contenders([None, Some(-22)])).unwrap_err();
        assert_eq!(failure.code(), 69);
        assert!(failure.to_string().contains("returned nothing and EINVAL"), "{failure}");
        // somebody else's program says nothing: the bytes will
        let silent = Contenders { pairing: Pairing::Unknown, busy_poll: None };
        assert!(engaged(&silent).is_ok());
    }

    #[test_log::test]
    fn figures_count_only_of_the_right_path() {
        let measured = |side, ring| {
            let measurement = Measurement { messages: 1, bytes: 10, ring, elapsed_ns: 1 };
            matches!(checked(side, measurement), Round::Measured(_))
        };
        assert!(measured(Side::Paired, 1));
        assert!(!measured(Side::Paired, 0));
        assert!(measured(Side::Plain, 0));
        assert!(!measured(Side::Plain, 1));
    }

    #[test_log::test]
    fn the_kernel_is_at_fault_for_the_pair_only() {
        let stalled = Trouble::Stalled { limit_ms: 1, phase: scenario::bench::Phase::Measuring };
        let Round::Violated(violation) = blamed(Side::Paired, &stalled) else {
            panic!("a stalled pair is a violation");
        };
        assert_eq!(violation.invariant, Invariant::Stall);
        assert!(matches!(blamed(Side::Plain, &stalled), Round::Broken(_)));
        let broken = Trouble::Harness("no TCP_INFO".into());
        assert!(matches!(blamed(Side::Paired, &broken), Round::Broken(_)));
        let more = Trouble::Count { sent: 1, received: 2 };
        let Round::Violated(violation) = blamed(Side::Paired, &more) else {
            panic!("bytes that nobody sent are a violation");
        };
        assert_eq!(violation.invariant, Invariant::Duplicate);
    }
}
