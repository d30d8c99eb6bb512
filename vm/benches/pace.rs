//! Scenarios per second, by kind, on plain TCP: `cargo bench -p vm --bench pace`, or with ` -- lanes namespaces` only
//! those kinds. Beside it, what a scenario costs the host: to generate it, and to judge its history, in percent of the
//! time that it takes in the guest.
//!
//! One guest runs fixed numbers of scenarios of each kind by turns, so that a machine that becomes slower slows all of
//! them; the host judges while the guest has nothing to do. The fixed kind never changes, whatever the generator does:
//! two lanes of one pair on loopback, a few calls one after the other, none of which sleeps. It is what later changes are
//! compared by. The generated ones are the first of their kind in the campaign of seed 1.
//!
//! `SPARRING_TEST_KERNEL` is the kernel image, else the one of `sparring kernel path`; `SPARRING_VCPUS` is how many
//! processors the guest has, else 1; `SPARRING_ROUNDS` how often each kind has its turn, else 5.

#[path = "../tests/built/mod.rs"]
mod built;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use judge::Contract;
use scenario::history::Bounds;
use scenario::payload::Key;
use scenario::{
    Buffer, By, Endpoint, Family, History, How, Lane, Op, RecvFlags, Scenario, SendFlags, Setup,
    SockOption, Step, Topology, When,
};
use vm::accel::decide;
use vm::kernel::{self, Cache};
use vm::machine::{Event, Machine, MachineSpec};
use vm::patience::{self, Patience};
use vm::wire::{FromGuest, Pairing, Plan, ToGuest};

/// A machine that takes longer to answer is lost.
const LONG: Duration = Duration::from_secs(60);
/// How many scenarios are given to the guest ahead of their turn: as many as a campaign gives.
const WINDOW: usize = 16;

/// Scenarios that are measured together.
struct Kind {
    name: &'static str,
    scenarios: Vec<Scenario>,
    /// What it took to generate all of them; zero where they are not generated.
    generating: Duration,
    rounds: Vec<Round>,
}

/// What all scenarios of a kind took, once.
struct Round {
    running: Duration,
    judging: Duration,
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let spec = spec(dir.path());
    let rounds = number("SPARRING_ROUNDS", 5);
    let mut machine = Machine::boot(&spec).expect("a machine");
    println!("boot to hello: {:.2?}, {} processors", machine.hello().took, machine.hello().cpus);
    machine.send(&ToGuest::Setup(plan())).expect("a guest that listens");
    assert_eq!(answer(&mut machine), FromGuest::Ready);
    // those of a campaign
    let bounds = patience::bounds(machine.hello().took.as_secs_f64(), Patience::Judging);
    let mut kinds = kinds();
    // cargo itself says --bench
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    kinds.retain(|kind| chosen.is_empty() || chosen.iter().any(|part| kind.name.contains(part)));
    for kind in &mut kinds {
        // its networks are made, and its threads started
        kind.run(&mut machine, bounds);
        kind.rounds.clear();
    }
    for _ in 0..rounds {
        kinds.iter_mut().for_each(|kind| kind.run(&mut machine, bounds));
    }
    kinds.iter().for_each(Kind::print);
    machine.power_off(LONG);
}

impl Kind {
    fn run(&mut self, machine: &mut Machine, bounds: Bounds) {
        let begun = Instant::now();
        let histories = self.histories(machine, bounds);
        let running = begun.elapsed();
        let begun = Instant::now();
        for (scenario, history) in self.scenarios.iter().zip(&histories) {
            black_box(judge::judge(scenario, history, &Contract::tcp()));
        }
        self.rounds.push(Round { running, judging: begun.elapsed() });
    }

    fn histories(&self, machine: &mut Machine, bounds: Bounds) -> Vec<History> {
        let mut waiting = (0..).zip(&self.scenarios);
        let mut send = |machine: &mut Machine| {
            if let Some((number, scenario)) = waiting.next() {
                let scenario = scenario.clone();
                let run = ToGuest::Run { number, run: 0, bounds, scenario };
                machine.send(&run).expect("a guest that listens");
            }
        };
        (0..WINDOW).for_each(|_| send(machine));
        let returned = (0..self.scenarios.len()).map(|wanted| {
            let history = match answer(machine) {
                FromGuest::Done { number, history, .. } if number == wanted as u64 => history,
                other => panic!("{}: {other:?}", self.name),
            };
            send(machine);
            history
        });
        returned.collect()
    }

    fn print(&self) {
        let Kind { name, scenarios, generating, rounds } = self;
        let many = scenarios.len() as f64;
        let mut rates: Vec<f64> =
            rounds.iter().map(|round| many / round.running.as_secs_f64()).collect();
        rates.sort_by(f64::total_cmp);
        let (least, most) = (rates[0], rates[rates.len() - 1]);
        println!(
            "{name:<24} {:>7.1}/s ({least:.1} to {most:.1}), {many} scenarios, {} times",
            rates[rates.len() / 2],
            rounds.len()
        );
        let sum = |part: fn(&Round) -> Duration| rounds.iter().map(part).sum::<Duration>();
        let each = |time: Duration, times: usize| time.as_secs_f64() * 1e3 / many / times as f64;
        let running = each(sum(|round| round.running), rounds.len());
        let judging = each(sum(|round| round.judging), rounds.len());
        let generating = each(*generating, 1);
        println!(
            "{:<24} {running:.3} ms in the guest, {judging:.3} ms judging ({:.2} %), \
             {generating:.3} ms generating ({:.2} %)",
            "",
            100.0 * judging / running,
            100.0 * generating / running,
        );
    }
}

fn kinds() -> Vec<Kind> {
    let kind =
        |name, scenarios| Kind { name, scenarios, generating: Duration::ZERO, rounds: Vec::new() };
    let generated = |name, many, is: fn(&Scenario) -> bool| {
        let mut generating = Duration::ZERO;
        let all = (0..).map(|number| {
            let begun = Instant::now();
            (generate::scenario(1, number), begun.elapsed())
        });
        let own = all.filter(|(scenario, _)| is(scenario)).take(many);
        let scenarios = own.map(|(scenario, took)| {
            generating += took;
            scenario
        });
        let scenarios = scenarios.collect();
        Kind { name, scenarios, generating, rounds: Vec::new() }
    };
    vec![
        kind("empty", vec![Scenario::default(); 400]),
        kind("sequential, fixed", (0..400).map(fixed).collect()),
        generated("sequential, generated", 300, |s| is_one(s) && s.is_sequential()),
        generated("lanes", 100, |s| is_one(s) && !s.is_sequential()),
        generated("several pairs", 100, |s| s.topology == Topology::Loopback && s.pairs > 1),
        generated("namespaces", 100, |s| s.topology != Topology::Loopback),
        generated("everything", 300, |_| true),
    ]
}

fn is_one(scenario: &Scenario) -> bool {
    scenario.topology == Topology::Loopback && scenario.pairs == 1
}

/// Scenario `number` of the set that never changes. What it is made of depends on nothing but this function.
fn fixed(number: u32) -> Scenario {
    const SIZES: &[u32] = &[1, 100, 1_000, 1_448, 4_096, 16_384, 16_385, 40_000];
    // numbers of "Numerical Recipes"; the high bits are the better ones
    let mut state = number.wrapping_mul(2_654_435_761);
    let mut below = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % n
    };
    let lane = |name: &str, endpoint| Lane { name: name.into(), pair: 0, endpoint };
    let family = if below(4) == 0 { Family::V6 } else { Family::V4 };
    let setup = Endpoint::BOTH.into_iter().filter(|_| below(4) == 0).map(|endpoint| Setup {
        pair: 0,
        endpoint,
        option: SockOption::NoDelay(true),
    });
    let setup = setup.collect();
    let steps = (0..3 + below(10)).map(|_| {
        let len = SIZES[below(8) as usize];
        let (buffer, by) = (Buffer::Mapped, By::Call);
        let op = match below(32) {
            0..12 => Op::Send { len, flags: SendFlags::DONTWAIT, buffer, by },
            12..22 => Op::Recv { len, flags: RecvFlags::DONTWAIT, buffer, by },
            22 => Op::Recv { len, flags: RecvFlags::DONTWAIT | RecvFlags::PEEK, buffer, by },
            23 | 24 => Op::Poll,
            25 => Op::Inq,
            26 => Op::Outq,
            27 => Op::SoError,
            28 => Op::Set(SockOption::Cork(below(2) == 0)),
            29 => Op::Shutdown(How::Wr),
            30 => Op::Close,
            _ => Op::Abort,
        };
        Step { lane: u8::from(below(2) == 0), when: When::Then, op, expect: None }
    });
    let steps = steps.collect();
    let lanes = vec![lane("c", Endpoint::Client), lane("s", Endpoint::Server)];
    Scenario { family, setup, lanes, steps, ..Scenario::default() }
}

fn plan() -> Plan {
    Plan {
        modules: Vec::new(),
        pairing: Pairing::None,
        counters: None,
        points: None,
        key: Key::from_seed(1),
        connect_within: LONG,
    }
}

fn answer(machine: &mut Machine) -> FromGuest {
    loop {
        match machine.next_event(LONG) {
            Event::Message(FromGuest::Busy) => {}
            Event::Message(message) => return message,
            other => panic!("{other:?}: {:?}", machine.console()),
        }
    }
}

fn spec(dir: &Path) -> MachineSpec {
    let cache = Cache::open().expect("a cache");
    let kernel = std::env::var_os("SPARRING_TEST_KERNEL").map_or_else(
        || {
            let built = kernel::build(&kernel::Request::default(), &cache, &kernel::Silent);
            built.expect("a kernel").bzimage
        },
        PathBuf::from,
    );
    MachineSpec {
        kernel,
        agent: built::agent(&["--release"]),
        accel: decide(cache.root()),
        vcpus: number("SPARRING_VCPUS", 1),
        memory_mib: 512,
        writable: Vec::new(),
        cwd: "/".into(),
        console_log: dir.join("console.log"),
        boot_limit: LONG,
        append: Vec::new(),
    }
}

fn number(variable: &str, otherwise: u32) -> u32 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().expect("a number"))
}
