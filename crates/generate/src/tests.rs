//! What every campaign relies on.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scenario::{
    Buffer, Endpoint, How, Op, RecvFlags, Scenario, SendFlags, SockOption, limits, text,
};

use crate::Swarm;
use crate::model::{Model, RING};

/// Scenarios that the distribution is measured over.
const MANY: u64 = 5_000;

/// A socket that stopped being non-blocking would make later calls wait.
fn becomes_blocking(scenario: &Scenario) -> bool {
    let off = Op::Set(SockOption::NonBlock(false));
    scenario.steps.iter().any(|step| step.op == off)
}

proptest! {
    #[test]
    fn every_scenario_can_be_run_printed_and_parsed_and_never_waits(seed: u64, number: u64) {
        let scenario = crate::scenario(seed, number);
        prop_assert_eq!(limits::check(&scenario), Ok(()));
        prop_assert!(!scenario.may_block() && !becomes_blocking(&scenario), "{:?}", scenario);
        prop_assert_eq!(crate::scenario(seed, number), scenario.clone());
        prop_assert_eq!(text::parse(&text::print(&scenario)), Ok(scenario));
    }
}

/// FNV-1a, 64 bits.
fn fingerprint(scenarios: impl Iterator<Item = Scenario>) -> u64 {
    scenarios
        .flat_map(|scenario| text::print(&scenario).into_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}

/// A change here is allowed, but it gives every recorded seed and number another meaning.
#[test_log::test]
fn the_same_seed_gives_the_same_scenarios_for_good() {
    insta::assert_snapshot!(text::print(&crate::scenario(1, 2)));
    let hashes = [0, 1, u64::MAX].map(|seed| {
        let hash = fingerprint((0..200).map(|number| crate::scenario(seed, number)));
        format!("seed {seed}: {hash:016x}")
    });
    insta::assert_snapshot!("fingerprints", hashes.join("\n"));
}

/// What was counted over many scenarios.
#[derive(Default)]
struct Census {
    /// Ops, flags, options and sizes, by their words.
    seen: BTreeMap<String, u32>,
    steps: u32,
    on_closed: u32,
    receives: u32,
    fed: u32,
    asked: u64,
    over_ring: u32,
    two_rings: u32,
    short: u32,
    after_end: u32,
    /// Scenarios with a receive, and with two sends, after the peer closed.
    recv_after_close: u32,
    sends_after_close: u32,
}

impl Census {
    fn count(&mut self, word: String) {
        *self.seen.entry(word).or_default() += 1;
    }

    fn take(&mut self, seed: u64, number: u64) {
        let scenario = crate::scenario(seed, number);
        let mut model = Model::new(&Swarm::draw(seed, number));
        self.count(format!("family {}", scenario.family));
        for setup in &scenario.setup {
            self.count(format!("setup {}", setup.option));
        }
        let (mut sends, mut receives) = (0, 0);
        for step in &scenario.steps {
            let endpoint = scenario.endpoint(step);
            if model.end(endpoint.peer()).closed && !model.end(endpoint).closed {
                sends += u32::from(matches!(step.op, Op::Send { .. }));
                receives += u32::from(matches!(step.op, Op::Recv { .. }));
            }
            self.step(&model, endpoint, step.op);
            model.apply(endpoint, step.op);
        }
        self.recv_after_close += u32::from(receives > 0);
        self.sends_after_close += u32::from(sends > 1);
        self.asked += u64::from(model.asked);
        let peak = model.flows[0].peak.max(model.flows[1].peak);
        self.over_ring += u32::from(peak > RING);
        self.two_rings += u32::from(peak > 2 * RING);
        self.short += u32::from((3..=15).contains(&scenario.steps.len()));
    }

    fn step(&mut self, model: &Model, endpoint: Endpoint, op: Op) {
        self.steps += 1;
        self.on_closed += u32::from(model.end(endpoint).closed);
        let peer = model.end(endpoint.peer());
        self.after_end += u32::from(peer.closed || peer.shut_wr);
        match op {
            Op::Send { len, flags, buffer } => {
                self.transfer("send", len, buffer);
                for (name, _) in flags.iter_names() {
                    self.count(format!("send {name}"));
                }
                let end = model.outbound(endpoint).sent % RING + len;
                if model.outbound(endpoint).pending + len == RING {
                    self.count("send fills the ring".to_owned());
                }
                if end == RING {
                    self.count("send wraps the ring".to_owned());
                }
            }
            Op::Recv { len, flags, buffer } => {
                self.transfer("recv", len, buffer);
                for (name, _) in flags.iter_names() {
                    self.count(format!("recv {name}"));
                }
                let pending = model.inbound(endpoint).pending;
                self.receives += 1;
                self.fed += u32::from(pending > 0);
                if pending > 1 {
                    for (name, n) in
                        [("less", pending - 1), ("all", pending), ("more", pending + 1)]
                    {
                        if len == n {
                            self.count(format!("recv pending {name}"));
                        }
                    }
                }
            }
            Op::Set(option) => self.count(format!("set {option}")),
            op => self.count(op.to_string()),
        }
    }

    fn transfer(&mut self, word: &str, len: u32, buffer: Buffer) {
        self.count(format!("{word} {len}"));
        match buffer {
            Buffer::Mapped => {}
            Buffer::Unmapped => self.count(format!("{word} unmapped")),
            Buffer::Torn(_) => self.count(format!("{word} torn")),
        }
    }
}

/// Everything that must occur.
fn expected_words() -> Vec<String> {
    let mut words: Vec<_> = [
        Op::Poll,
        Op::Inq,
        Op::Outq,
        Op::SoError,
        Op::Close,
        Op::Abort,
        Op::Shutdown(How::Rd),
        Op::Shutdown(How::Wr),
        Op::Shutdown(How::Rdwr),
    ]
    .map(|op| op.to_string())
    .to_vec();
    for family in ["v4", "v6"] {
        words.push(format!("family {family}"));
    }
    for (name, _) in SendFlags::all().iter_names() {
        words.push(format!("send {name}"));
    }
    for (name, _) in RecvFlags::all().iter_names() {
        words.push(format!("recv {name}"));
    }
    for word in ["setup", "set"] {
        for option in ["cork on", "nodelay on", "nonblock on"] {
            words.push(format!("{word} {option}"));
        }
        for bytes in [1, 2304, 4096, 16_384] {
            words.push(format!("{word} rcvbuf {bytes}"));
            words.push(format!("{word} sndbuf {bytes}"));
        }
        for bytes in [1, 2, 100, 4096, 16_384] {
            words.push(format!("{word} rcvlowat {bytes}"));
        }
    }
    words.extend(["set cork off", "set nodelay off"].map(str::to_owned));
    for word in ["send", "recv"] {
        let sizes = [
            0, 1, 1448, 4095, 4096, 4097, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 65_535,
            65_536,
        ];
        words.extend(sizes.map(|len| format!("{word} {len}")));
        words.extend(["unmapped", "torn"].map(|buffer| format!("{word} {buffer}")));
    }
    for word in ["fills", "wraps"] {
        words.push(format!("send {word} the ring"));
    }
    for word in ["less", "all", "more"] {
        words.push(format!("recv pending {word}"));
    }
    words
}

#[test_log::test]
fn a_campaign_has_everything_and_mostly_what_makes_sense() {
    let mut census = Census::default();
    for number in 0..MANY {
        census.take(7, number);
    }
    for word in expected_words() {
        let count = census.seen.get(&word).copied().unwrap_or(0);
        assert!(count >= 5, "{word:?} occurs {count} times");
    }
    let of = |part: u32, whole: u32| part * 100 / whole;
    let many = u32::try_from(MANY).expect("small");
    let kib = census.asked / MANY / 1024;
    let figures = format!(
        "steps {}, on a closed endpoint {} ({}%), after the peer's end {}%, \
         receives {} of which fed {}%, {kib} KiB a scenario, over one ring {}%, over two {}%, \
         3 to 15 steps {}%, receive after close {}%, two sends after close {}%",
        census.steps,
        census.on_closed,
        of(census.on_closed, census.steps),
        of(census.after_end, census.steps),
        census.receives,
        of(census.fed, census.receives),
        of(census.over_ring, many),
        of(census.two_rings, many),
        of(census.short, many),
        of(census.recv_after_close, many),
        of(census.sends_after_close, many),
    );
    println!("{figures}");
    assert!(census.on_closed > 0, "{figures}");
    assert!(of(census.on_closed, census.steps) < 3, "{figures}");
    assert!(of(census.after_end, census.steps) >= 10, "{figures}");
    assert!(of(census.fed, census.receives) >= 60, "{figures}");
    assert!((10..=40).contains(&kib), "{figures}");
    assert!((20..=35).contains(&of(census.over_ring, many)), "{figures}");
    assert!(of(census.two_rings, many) >= 8, "{figures}");
    assert!(of(census.short, many) >= 75, "{figures}");
}
