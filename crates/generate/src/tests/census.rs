//! What a campaign consists of.

use std::collections::BTreeMap;

use scenario::{
    Buffer, By, Endpoint, Op, RecvFlags, Scenario, SendFlags, SockOption, Step, Topology, When,
    Wire,
};

use super::recipe;
use crate::model::Model;

/// Scenarios that are counted.
const MANY: u32 = 6_000;

#[derive(Default)]
struct Census {
    /// Ops, flags, options and sizes, by their words.
    seen: BTreeMap<String, u32>,
    steps: u32,
    on_closed: u32,
    /// Steps that could do nothing but bounce.
    pointless: u32,
    receives: u32,
    fed: u32,
    asked: u64,
    paused_us: u64,
    over_ring: u32,
    over_large_ring: u32,
}

impl Census {
    fn count(&mut self, word: impl Into<String>) {
        *self.seen.entry(word.into()).or_default() += 1;
    }

    fn share(&self, word: &str) -> u32 {
        self.seen.get(word).copied().unwrap_or(0) * 1000 / MANY
    }

    fn take(&mut self, scenario: &Scenario) {
        let Scenario { topology, wire, family, pairs, attempt, .. } = scenario;
        self.count(format!("topology {topology}"));
        self.count(format!("family {family}"));
        self.count(format!("attempt {attempt}"));
        self.count(format!("pairs {pairs}"));
        self.count(format!("lanes {}", scenario.lanes.len()));
        if *topology == Topology::Loopback {
            self.count(shape(scenario));
        }
        if *wire != Wire::default() {
            self.count(format!("wire {} {}", wire.delay_us, wire.loss_permille));
            self.count("bad wire");
        }
        for setup in &scenario.setup {
            self.count(format!("setup {}", name(setup.option)));
        }
        for (recipe, _) in recipe::ALL.iter().filter(|(_, there)| there(scenario)) {
            self.count(format!("recipe {recipe}"));
        }
        let mut model = Model::new(scenario.pairs, &scenario.setup);
        for step in &scenario.steps {
            self.step(scenario, &model, step);
            model.apply(scenario.lane(step), step.op);
        }
        self.asked += u64::from(model.asked);
        let peak = model.pairs.iter().flat_map(|pair| pair.flows).map(|flow| flow.peak).max();
        self.over_ring += u32::from(peak > Some(16 << 10));
        self.over_large_ring += u32::from(peak > Some(64 << 10));
    }

    fn step(&mut self, scenario: &Scenario, model: &Model, step: &Step) {
        let lane = scenario.lane(step);
        let pair = model.pair(lane.pair);
        let own = pair.end(lane.endpoint);
        self.steps += 1;
        let connects = step.op == Op::Connect;
        self.on_closed += u32::from(own.closed && !connects);
        self.pointless += u32::from((own.closed || own.severed) && !connects);
        self.count(match step.when {
            When::Then => "when then",
            When::Start => "when start",
            When::With { .. } => "when with",
        });
        match step.op {
            Op::Send { len, flags, buffer, by } => {
                self.transfer("send", len, buffer, by);
                flags.iter_names().for_each(|(flag, _)| self.count(format!("send {flag}")));
            }
            Op::Recv { len, flags, buffer, by } => {
                self.transfer("recv", len, buffer, by);
                flags.iter_names().for_each(|(flag, _)| self.count(format!("recv {flag}")));
                self.receives += 1;
                self.fed += u32::from(pair.inbound(lane.endpoint).pending > 0);
            }
            Op::Set(option) => self.count(format!("set {}", name(option))),
            Op::Wait { by, .. } => self.count(format!("wait by {by}")),
            Op::Pause(us) => {
                self.paused_us += u64::from(us);
                self.count("pause");
            }
            Op::Signal { restart, .. } => self.count(format!("signal {restart}")),
            op => self.count(op.to_string()),
        }
    }

    fn transfer(&mut self, word: &str, len: u32, buffer: Buffer, by: By) {
        self.count(format!("{word} {len}"));
        match buffer {
            Buffer::Mapped => {}
            Buffer::Unmapped => self.count(format!("{word} unmapped")),
            Buffer::Torn(_) => self.count(format!("{word} torn")),
        }
        let by = format!("{by:?}");
        self.count(format!("{word} by {}", by.split('(').next().unwrap_or_default()));
    }
}

/// On loopback, what it looks like.
fn shape(scenario: &Scenario) -> &'static str {
    match scenario.pairs {
        1 if scenario.is_sequential() && scenario.lanes.len() == 2 => "sequential",
        1 => "overlapping",
        _ => "pairs",
    }
}

/// An option without its value, or with it where it is a switch.
fn name(option: SockOption) -> String {
    let text = format!("{option:?}");
    match text.split_once('(') {
        Some((name, "true)" | "false)")) => format!("{name} {}", text.contains("true")),
        Some((name, _)) => name.to_owned(),
        None => text,
    }
}

/// Everything that must occur.
fn expected_words() -> Vec<String> {
    let mut words: Vec<String> = [
        "poll inq outq at-mark so-error err-queue dup fork close abort destroy disconnect connect",
        "unhash rehash detach tls repair pause",
    ]
    .iter()
    .flat_map(|line| line.split(' '))
    .map(str::to_owned)
    .collect();
    words.extend(["rd", "wr", "rdwr"].map(|how| format!("shutdown {how}")));
    words.extend(["v4", "v6"].map(|family| format!("family {family}")));
    words.extend(["loopback", "veth", "bridge"].map(|topology| format!("topology {topology}")));
    words.extend(["500 0", "2000 0", "0 20"].map(|wire| format!("wire {wire}")));
    words.extend(["then", "start", "with"].map(|when| format!("when {when}")));
    words.extend(["true", "false"].map(|restart| format!("signal {restart}")));
    words.extend((1..=3).map(|pairs| format!("pairs {pairs}")));
    words.extend([2, 3, 4, 6].map(|lanes| format!("lanes {lanes}")));
    words.extend(
        ["once", "twice", "stranger", "free-stranger", "never"]
            .map(|attempt| format!("attempt {attempt}")),
    );
    let waiters = ["poll", "select", "epoll", "epoll-edge", "epoll-oneshot"];
    words.extend(waiters.map(|waiter| format!("wait by {waiter}")));
    words.extend(SendFlags::all().iter_names().map(|(flag, _)| format!("send {flag}")));
    words.extend(RecvFlags::all().iter_names().map(|(flag, _)| format!("recv {flag}")));
    let switches = ["Cork", "NoDelay", "OobInline", "KeepAlive", "TcpInq", "ZeroCopy"];
    let numbers = ["RcvBuf", "SndBuf", "RcvLowat", "PeekOff", "RcvTimeo", "SndTimeo", "BusyPoll"];
    for word in ["setup", "set"] {
        words.extend(switches.map(|switch| format!("{word} {switch} true")));
        words.extend(numbers.map(|number| format!("{word} {number}")));
        words.push(format!("{word} NonBlock true"));
        words.push(format!("{word} Linger"));
    }
    words.extend(switches.map(|switch| format!("set {switch} false")));
    for word in ["send", "recv"] {
        let sizes = [
            0, 1, 1448, 4095, 4096, 4097, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 65_535,
            65_536, 65_537, 131_072,
        ];
        words.extend(sizes.map(|len| format!("{word} {len}")));
        words.extend(["unmapped", "torn"].map(|buffer| format!("{word} {buffer}")));
        let ways = ["Call", "Vector", "Batch", "Uring", "Splice", "Tee"];
        words.extend(ways.map(|by| format!("{word} by {by}")));
    }
    words.push("send by File".to_owned());
    words
}

#[test_log::test]
fn a_campaign_has_everything_and_mostly_what_makes_sense() {
    let mut census = Census::default();
    for number in 0..MANY {
        census.take(&crate::scenario(7, u64::from(number)));
    }
    for word in expected_words() {
        let count = census.seen.get(&word).copied().unwrap_or(0);
        assert!(count >= 5, "{word:?} occurs {count} times");
    }
    for (recipe, _) in recipe::ALL {
        let count = census.seen.get(&format!("recipe {recipe}")).copied().unwrap_or(0);
        println!("recipe {recipe}: one in {}", MANY / count.max(1));
        assert!(count >= MANY / 300, "{recipe:?} occurs {count} times");
    }
    let of = |part: u32, whole: u32| part * 100 / whole;
    let shares =
        ["sequential", "overlapping", "pairs", "topology veth", "topology bridge", "bad wire"]
            .map(|word| (word, census.share(word)));
    let kib = census.asked / u64::from(MANY) / 1024;
    let figures = format!(
        "{shares:?} of 1000, steps {}, on a closed endpoint {}%, pointless {}%, receives fed {}%, \
         {kib} KiB and {} us of pause a scenario, over one ring {}%, over a large one {}%",
        census.steps,
        of(census.on_closed, census.steps),
        of(census.pointless, census.steps),
        of(census.fed, census.receives),
        census.paused_us / u64::from(MANY),
        of(census.over_ring, MANY),
        of(census.over_large_ring, MANY),
    );
    println!("{figures}");
    let [sequential, overlapping, pairs, veth, bridge, wire] = shares.map(|(_, share)| share);
    assert!((500..=600).contains(&sequential), "{figures}");
    assert!((200..=300).contains(&overlapping), "{figures}");
    assert!((90..=150).contains(&pairs), "{figures}");
    assert!((60..=100).contains(&(veth + bridge)), "{figures}");
    assert!((15..=40).contains(&wire), "{figures}");
    assert!(census.on_closed > 0, "{figures}");
    assert!(of(census.pointless, census.steps) < 5, "{figures}");
    assert!(of(census.fed, census.receives) >= 55, "{figures}");
    assert!((10..=60).contains(&kib), "{figures}");
    assert!(census.paused_us / u64::from(MANY) < 3_000, "{figures}");
    assert!(of(census.over_ring, MANY) >= 20, "{figures}");
    assert!(of(census.over_large_ring, MANY) >= 4, "{figures}");
}

#[test_log::test]
fn every_endpoint_of_every_shape_acts() {
    let acts = |endpoint| {
        (0..200).all(|number| {
            let scenario = crate::scenario(2, number);
            scenario.lanes.iter().any(|lane| lane.endpoint == endpoint)
        })
    };
    assert!(Endpoint::BOTH.into_iter().all(acts));
}
