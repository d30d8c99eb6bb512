use scenario::history::{Errno, Outcome, Pairing};
use scenario::payload::{Run, Stream};
use scenario::{Attempt, Invariant, Op, RecvFlags};

use super::story::{Client, Server, Story, source};

fn asked(results: [Option<i32>; 2], updates: [Option<i32>; 2]) -> Story {
    let mut story = Story::new();
    story.history.connections[0].pairing = Pairing::Asked { results, updates, further: [None; 2] };
    story
}

const IN: [Option<i32>; 2] = [Some(0); 2];

#[test_log::test]
fn one_side_pairs_and_the_other_finds_itself_paired() {
    asked([Some(0), None], IN).passes();
    asked([Some(-17), Some(0)], IN).passes();
    asked([None, Some(-12)], IN).passes();
    let breaks =
        |results, diagnosis| asked(results, IN).breaks(&[(Invariant::PairResult, diagnosis)]);
    breaks([Some(0), Some(0)], "both-sides-paired");
    breaks([Some(-17), None], "eexist-without-a-pair");
    breaks([Some(-2), None], "enoent-with-both-in-map");
    breaks([Some(-22), None], "einval-on-a-fresh-connection");
    breaks([Some(-95), None], "undocumented-result");
}

#[test_log::test]
fn a_client_that_connects_again_may_find_the_old_server() {
    let again = |results| {
        let mut story = asked([None, Some(0)], IN);
        let mut second = story.history.connections[0].clone();
        second.pairing = Pairing::Asked { results, updates: IN, further: [None; 2] };
        story.history.connections.push(second);
        story
    };
    again([Some(-22), Some(0)]).passes();
    again([Some(-22), None]).breaks(&[(Invariant::PairResult, "einval-on-a-fresh-connection")]);
}

#[test_log::test]
fn a_pair_that_was_asked_for_is_one_or_somebody_says_why_not() {
    asked([None, None], [Some(0), Some(-7)]).passes();
    asked([None, None], IN).breaks(&[(Invariant::Engaged, "neither-found-its-peer")]);
    asked([None, None], [Some(0), None]).breaks(&[(Invariant::Engaged, "program-did-not-run")]);
}

/// The first pair is left alone, and the second's programs got these answers.
fn beside_a_free_one(results: [Option<i32>; 2], further: [Option<i32>; 2]) -> Story {
    let mut story = Story::new();
    story.scenario.attempt = Attempt::FreeStranger;
    story.scenario.pairs = 2;
    story.history.connections[0].pairing = Pairing::Left;
    let mut second = story.history.connections[0].clone();
    second.pair = 1;
    second.pairing = Pairing::Asked { results, updates: IN, further };
    story.history.connections.push(second);
    story
}

#[test_log::test]
fn a_free_stranger_is_refused() {
    beside_a_free_one([None, Some(0)], [Some(-22); 2]).passes();
    beside_a_free_one([None, Some(0)], [Some(-2), None]).passes();
    let crossed = (Invariant::Engaged, "paired-with-a-stranger");
    beside_a_free_one([None, Some(-17)], [Some(0), Some(-17)]).breaks(&[crossed]);
    beside_a_free_one([None, Some(-17)], [Some(-12), Some(0)]).breaks(&[crossed]);
    let again = (Invariant::PairResult, "paired-with-a-stranger");
    beside_a_free_one([None, Some(-17)], [Some(0); 2]).breaks(&[again, crossed]);
    // there were three pairs, and the second has taken it
    let mut third = beside_a_free_one([None, Some(-17)], [Some(0), Some(-17)]);
    third.scenario.pairs = 3;
    let mut connection = third.history.connections[1].clone();
    connection.pair = 2;
    third.history.connections.push(connection);
    third.breaks(&[crossed, again]);
}

#[test_log::test]
fn what_a_crossed_connection_does_to_its_bytes_is_no_finding_of_its_own() {
    let crossed = (Invariant::Engaged, "paired-with-a-stranger");
    let lost = |results, further, on: u8| {
        let mut story = beside_a_free_one(results, further);
        let eagain = Outcome::Errno(Errno::EAGAIN);
        story = story.send(Client, 9).received(Server, 9, RecvFlags::DONTWAIT, eagain).outq_was(0);
        story.history.records.iter_mut().for_each(|record| record.connection = on);
        story
    };
    let eagain = (Invariant::RecvResult, "eagain-with-bytes-deliverable");
    for on in [0, 1] {
        lost([None, Some(-17)], [Some(0), Some(-17)], on).breaks(&[crossed]);
        lost([None, Some(0)], [Some(-22); 2], on).breaks(&[eagain]);
    }
    // a reconnected socket that is said to be paired still has its old peer
    let again = |results| {
        let mut story = lost(results, [None; 2], 1);
        (story.scenario.attempt, story.scenario.pairs) = (Attempt::Once, 1);
        story.history.connections[1].pair = 0;
        story
    };
    again([None, Some(-17)]).breaks(&[(Invariant::PairResult, "eexist-without-a-pair")]);
    again([Some(-17), Some(0)]).breaks(&[eagain]);
}

#[test_log::test]
fn bytes_for_a_free_stranger_are_cross_talk() {
    let gets = |pair| {
        let data = Run::Coded { stream: Stream { pair, ..source(Client) }, offset: 0, len: 50 };
        let mut story = beside_a_free_one([None, Some(0)], [Some(-22); 2]);
        story = story.send(Client, 50).got(Server, 100, RecvFlags::empty(), vec![data]);
        story.history.records[0].connection = 0;
        story.verdict()
    };
    assert!(gets(0).violations().is_empty());
    let crossed = gets(1);
    assert_eq!(crossed.violations()[0].invariant, Invariant::CrossTalk, "{crossed:#?}");
}

#[test_log::test]
fn what_is_left_alone_in_the_sockhash_may_wait_once() {
    let complaint = [(Invariant::RecvResult, "eagain-while-blocking")];
    let waits = |pairing, story: Story| {
        let mut story = story.recv_fails(Server, Errno::EAGAIN).lasting_ms(1);
        story.history.connections[0].pairing = pairing;
        story
    };
    waits(Pairing::Left, Story::blocking()).passes();
    waits(Pairing::NotAsked, Story::blocking()).breaks(&complaint);
    // as it is with a program that was not attached, and a step that puts one there
    let put = |attempt| {
        let mut story = Story::blocking().value(Server, Op::Rehash, 0);
        story.scenario.attempt = attempt;
        waits(Pairing::NotAsked, story)
    };
    put(Attempt::Never).passes();
    put(Attempt::Once).breaks(&complaint);
}
