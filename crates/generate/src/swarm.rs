//! The options that one scenario is drawn with.

use scenario::{Attempt, Endpoint, Family, Lane, Setup, SockOption, Topology, Wire};

use crate::Scope;
use crate::draw::Draw;
use crate::ops::{KINDS, Name, OPTIONS, WAYS, Way};
use crate::size::{SIZES, Size};

/// Sizes of the ring of each direction, in bytes, and how many scenarios assume each: those of the series, and the
/// default of the reference.
const RINGS: &[(u32, u32)] = &[(16 << 10, 85), (64 << 10, 15)];

/// How the schedule of a scenario looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One pair, a lane on each endpoint, one op after the other.
    Sequential,
    /// One pair, up to four lanes, and calls that overlap.
    Overlapping,
    /// Some pairs, a lane on each endpoint, and mostly one op after the other.
    Pairs,
}

/// The shapes on loopback, and between two network namespaces. Of a hundred scenarios the second are used by the rest.
const ON_LOOPBACK: &[(Shape, u32)] =
    &[(Shape::Sequential, 55), (Shape::Overlapping, 25), (Shape::Pairs, 12)];
const ON_NETWORK: &[(Shape, u32)] =
    &[(Shape::Sequential, 5), (Shape::Overlapping, 3), (Shape::Pairs, 2)];

/// In so many percent of the scenarios the endpoints are in namespaces of their own.
const NETWORK: u32 = 8;

/// The wires that are worse than none. Each costs the guest a network of its own, so there are few.
const WIRES: &[Wire] = &[
    Wire { delay_us: 500, loss_permille: 0 },
    Wire { delay_us: 2000, loss_permille: 0 },
    Wire { delay_us: 0, loss_permille: 20 },
];

/// The lanes of an overlapping scenario. Two of one name's letter share an endpoint.
const CASTS: &[&[&str]] = &[
    &["c", "s"],
    &["c", "s"],
    &["c", "c2", "s"],
    &["c", "s", "s2"],
    &["c", "c2", "s", "s2"],
    &["c", "c2", "s", "s2"],
    &["c", "c2", "c3", "s"],
];

/// How often a call has a flag or a bad buffer, in percent; 0 for what the scenario leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Odds {
    /// `MSG_DONTWAIT` where the socket does not wait anyway.
    pub dontwait: u32,
    /// `MSG_MORE`
    pub more: u32,
    /// `MSG_NOSIGNAL`
    pub nosignal: u32,
    /// `MSG_PEEK`
    pub peek: u32,
    /// `MSG_TRUNC`
    pub trunc: u32,
    /// `MSG_WAITALL`
    pub waitall: u32,
    /// `MSG_OOB`. It perturbs the stream for good, so few scenarios have it.
    pub oob: u32,
    /// `MSG_ZEROCOPY`
    pub zerocopy: u32,
    /// A buffer that is not mapped, or not to its end.
    pub bad_buffer: u32,
    /// Another call than `send(2)` and `recv(2)`.
    pub way: u32,
}

/// What one scenario is made of: each draws its own mixture, most of them without most features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    pub(crate) shape: Shape,
    pub(crate) topology: Topology,
    pub(crate) wire: Wire,
    pub(crate) family: Family,
    pub(crate) attempt: Attempt,
    /// How many pairs there are.
    pub(crate) pairs: u8,
    pub(crate) lanes: Vec<Lane>,
    /// Options in force before the first op, none twice.
    pub(crate) setup: Vec<Setup>,
    /// Whether each endpoint starts with `O_NONBLOCK`, by [`Endpoint::index`].
    pub(crate) nonblocking: [bool; 2],
    /// Whether calls may sleep.
    pub(crate) sleeps: bool,
    /// How many ops are drawn.
    pub(crate) steps: u32,
    /// The kinds of ops that may occur, by their place in [`KINDS`], with their weights.
    pub(crate) kinds: Vec<(usize, u32)>,
    /// Whether clients that are gone may come back.
    pub(crate) reconnects: bool,
    /// How much each endpoint likes to send, by [`Endpoint::index`].
    pub(crate) talk: [u32; 2],
    /// Lengths of sends.
    pub(crate) send_sizes: Vec<(Size, u32)>,
    /// Lengths of receives.
    pub(crate) recv_sizes: Vec<(Size, u32)>,
    /// The calls that move bytes, besides `send(2)` and `recv(2)`.
    pub(crate) ways: Vec<(Way, u32)>,
    /// Flags and buffers of sends and receives.
    pub(crate) odds: Odds,
    /// Bytes that the ring of a direction is taken to hold.
    pub(crate) ring: u32,
    /// Bytes that pile up in a direction before its reader is let loose.
    pub(crate) backlog: u32,
    /// Bytes that all sends together may ask for before they become small.
    pub(crate) budget: u32,
}

impl Swarm {
    /// Draws the options. What the scope pins is drawn all the same, so that nothing else changes.
    pub(crate) fn draw(draw: &mut Draw<'_>, scope: &Scope) -> Swarm {
        let network = draw.chance(NETWORK);
        let shapes = if network { ON_NETWORK } else { ON_LOOPBACK };
        let shape = draw.weighted(shapes).expect("the shapes have weights");
        let (topology, wire) = place(draw, network, scope.topology);
        let family = if draw.chance(25) { Family::V6 } else { Family::V4 };
        let family = scope.family.unwrap_or(family);
        let sleeps = draw.chance(match shape {
            Shape::Sequential if !network => 15,
            Shape::Overlapping => 90,
            _ => 60,
        });
        let waits = if shape == Shape::Overlapping { 10 } else { 50 };
        let nonblocking = [draw.chance(waits), draw.chance(waits)];
        let ring = draw.weighted(RINGS).expect("the rings have weights");
        let (backlog, budget) = volume(draw, shape, ring);
        let pairs = if shape == Shape::Pairs { draw.pick(&[2, 2, 3]) } else { 1 };
        let odds = odds(draw);
        let kinds = kinds(draw, shape);
        Swarm {
            shape,
            topology,
            wire,
            family,
            attempt: attempt(draw, shape),
            pairs,
            lanes: lanes(draw, shape, pairs),
            setup: setup(draw, pairs, nonblocking, odds.zerocopy > 0),
            nonblocking,
            sleeps,
            steps: steps(draw, shape),
            reconnects: kinds.iter().any(|(at, _)| KINDS[*at].name == Name::Connect),
            kinds,
            talk: draw.pick(&[[4, 4], [4, 4], [8, 1], [1, 8], [8, 0], [0, 8]]),
            send_sizes: send_sizes(draw, backlog),
            recv_sizes: sizes(draw, |(size, _, recv)| (size, recv)),
            ways: ways(draw),
            odds,
            ring,
            backlog,
            budget,
        }
    }
}

fn place(draw: &mut Draw<'_>, network: bool, pinned: Option<Topology>) -> (Topology, Wire) {
    let far = draw.pick(&[Topology::Veth, Topology::Bridge]);
    let bad = draw.chance(33);
    let wire = draw.pick(WIRES);
    let topology = pinned.unwrap_or(if network { far } else { Topology::Loopback });
    if topology == Topology::Loopback || !bad {
        return (topology, Wire::default());
    }
    (topology, wire)
}

/// The backlog and the budget.
fn volume(draw: &mut Draw<'_>, shape: Shape, ring: u32) -> (u32, u32) {
    const KIB: u32 = 1 << 10;
    let piles = if shape == Shape::Sequential { 26 } else { 12 };
    if !draw.chance(piles) {
        return (0, draw.pick(&[KIB, 4 * KIB, 16 * KIB, 40 * KIB]));
    }
    // a large ring costs as much as many small ones, and what overflows it is TCP's
    if ring > 16 * KIB {
        return (draw.pick(&[ring, ring + 1, ring + 4096]), ring + 8 * KIB);
    }
    let backlog =
        draw.pick(&[ring, ring + 1, ring + 4096, 2 * ring, 2 * ring + 1, 2 * ring, 3 * ring]);
    (backlog, draw.pick(&[5, 7, 10]) * ring)
}

fn attempt(draw: &mut Draw<'_>, shape: Shape) -> Attempt {
    let (strangers, free) = if shape == Shape::Pairs { (40, 20) } else { (0, 0) };
    let attempts = [
        (Attempt::Once, 84),
        (Attempt::Twice, 8),
        (Attempt::Never, 2),
        (Attempt::Stranger, strangers),
        (Attempt::FreeStranger, free),
    ];
    draw.weighted(&attempts).expect("the attempts have weights")
}

fn lanes(draw: &mut Draw<'_>, shape: Shape, pairs: u8) -> Vec<Lane> {
    let lane = |name: &str, pair: u8| Lane {
        name: name.to_owned(),
        pair,
        endpoint: if name.starts_with('c') { Endpoint::Client } else { Endpoint::Server },
    };
    match shape {
        Shape::Sequential => ["c", "s"].map(|name| lane(name, 0)).to_vec(),
        Shape::Overlapping => draw.pick(CASTS).iter().map(|name| lane(name, 0)).collect(),
        Shape::Pairs => (0..pairs)
            .flat_map(|pair| ["c", "s"].map(|name| lane(&format!("{name}{pair}"), pair)))
            .collect(),
    }
}

fn steps(draw: &mut Draw<'_>, shape: Shape) -> u32 {
    match (shape, draw.below(20)) {
        (Shape::Sequential, 0..15) => draw.within(3..=12),
        (Shape::Sequential, 15..18) => draw.within(13..=20),
        (Shape::Sequential, _) => draw.within(21..=40),
        (Shape::Overlapping, _) => draw.within(6..=26),
        (Shape::Pairs, _) => draw.within(10..=32),
    }
}

/// The kinds that are on. Sends and receives always are: without them nothing else has anything to show.
fn kinds(draw: &mut Draw<'_>, shape: Shape) -> Vec<(usize, u32)> {
    let mut on: Vec<_> = KINDS
        .iter()
        .enumerate()
        .filter_map(|(at, kind)| {
            // pairs are there to come and go
            let often = shape == Shape::Pairs && kind.name == Name::Connect;
            let on = draw.chance(if often { 70 } else { kind.on });
            let loudness = draw.within(1..=3);
            on.then_some((at, kind.weight * loudness))
        })
        .collect();
    let has = |on: &[(usize, u32)], name| on.iter().any(|(at, _)| KINDS[*at].name == name);
    let ends = [Name::Close, Name::Abort, Name::Disconnect];
    if has(&on, Name::Connect) && !ends.iter().any(|name| has(&on, *name)) {
        let end = draw.pick(&ends);
        let at = KINDS.iter().position(|kind| kind.name == end).expect("every name has a row");
        on.push((at, KINDS[at].weight));
    }
    on
}

/// About half of the classes, never none.
fn sizes(draw: &mut Draw<'_>, weight: fn((Size, u32, u32)) -> (Size, u32)) -> Vec<(Size, u32)> {
    let all: Vec<_> = SIZES.iter().copied().map(weight).collect();
    let mut some: Vec<_> = all.iter().copied().filter(|_| draw.chance(55)).collect();
    if some.iter().all(|(_, weight)| *weight == 0) {
        some = all;
    }
    some
}

/// A scenario that is to pile up bytes needs at least one class that is long.
fn send_sizes(draw: &mut Draw<'_>, backlog: u32) -> Vec<(Size, u32)> {
    let mut some = sizes(draw, |(size, send, _)| (size, send));
    if backlog > 0 {
        some.push((
            draw.pick(&[Size::Ring, Size::NearRing, Size::TwoRings, Size::Page, Size::Fill]),
            16,
        ));
    }
    some
}

/// One or two of the other calls.
fn ways(draw: &mut Draw<'_>) -> Vec<(Way, u32)> {
    let mut some: Vec<_> = WAYS.iter().copied().filter(|_| draw.chance(40)).collect();
    if some.is_empty() {
        some.push(draw.pick(WAYS));
    }
    some
}

/// Each flag is on in its own share of the scenarios.
fn odds(draw: &mut Draw<'_>) -> Odds {
    let mut odds = |on: u32, percent: &[u32]| {
        let percent = draw.pick(percent);
        if draw.chance(on) { percent } else { 0 }
    };
    Odds {
        dontwait: odds(30, &[20, 50]),
        more: odds(30, &[10, 30, 60]),
        nosignal: odds(50, &[50, 100]),
        peek: odds(35, &[10, 30, 50]),
        trunc: odds(15, &[10, 30]),
        waitall: odds(20, &[10, 40]),
        oob: odds(8, &[10, 25]),
        zerocopy: odds(7, &[20, 60]),
        bad_buffer: odds(15, &[5, 15]),
        way: odds(30, &[15, 40, 80]),
    }
}

/// The options of all endpoints. A small buffer makes TCP wait for its timers, so most have none.
fn setup(draw: &mut Draw<'_>, pairs: u8, nonblocking: [bool; 2], zerocopy: bool) -> Vec<Setup> {
    let mut all = Vec::new();
    for pair in 0..pairs {
        for endpoint in Endpoint::BOTH {
            let mut add = |option| all.push(Setup { pair, endpoint, option });
            if nonblocking[endpoint.index()] {
                add(SockOption::NonBlock(true));
            }
            if zerocopy {
                add(SockOption::ZeroCopy(true));
            }
            for row in OPTIONS {
                let option = draw.chance(row.setup).then(|| (row.value)(draw, true));
                match option {
                    Some(SockOption::ZeroCopy(_)) if zerocopy => {}
                    Some(option) => add(option),
                    None => {}
                }
            }
        }
    }
    all
}
