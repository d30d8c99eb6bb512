//! Calls of two runs, matched and compared.

use proptest::prelude::*;
use scenario::history::{At, Errno, Outcome};
use scenario::payload::Run;
use scenario::{Invariant, Op, RecvFlags, SendFlags, SockOption};

use super::lanes::{lanes, run, turns};
use super::story::{Client, Server, Story, bytes};
use crate::{Agreement, compare};

/// By record of the first: which record of the second it was compared with, and what came of it.
fn compared(own: &Story, plain: &Story) -> Vec<Option<(usize, Agreement)>> {
    compare(&own.scenario, &own.history, &plain.history)
        .into_iter()
        .map(|found| found.map(|counterpart| (counterpart.record, counterpart.agreement)))
        .collect()
}

fn agreements(own: &Story, plain: &Story) -> Vec<Agreement> {
    compared(own, plain).into_iter().map(|found| found.expect("a counterpart").1).collect()
}

/// The same story in another run of another boot.
fn another_run(mut story: Story) -> Story {
    story.history.run += 1;
    for record in &mut story.history.records {
        let Outcome::Received { data, .. } = &mut record.outcome else { continue };
        for run in data {
            if let Run::Coded { stream, .. } = run {
                stream.run += 1;
            }
        }
    }
    story
}

#[test_log::test]
fn the_same_bytes_of_another_run_are_the_same() {
    let own = Story::new().send(Client, 20).recv(Server, 20, 0..20);
    let whole = another_run(Story::new().send(Client, 20).recv(Server, 20, 0..20));
    assert_eq!(agreements(&own, &whole), [Agreement::Same; 2]);
    let halves = vec![bytes(Client, 0..10), bytes(Client, 10..20)];
    let halves = Story::new().send(Client, 20).got(Server, 20, RecvFlags::empty(), halves);
    assert_eq!(agreements(&own, &another_run(halves)), [Agreement::Same; 2]);
}

#[test_log::test]
fn a_short_count_or_an_early_eagain_is_a_choice() {
    let own = Story::new().send(Client, 20).recv(Server, 20, 0..20);
    own.passes();
    let short = Story::new().sent(Client, 20, SendFlags::empty(), Outcome::Value(10));
    let short = short.recv(Server, 20, 0..10);
    assert_eq!(agreements(&short, &own), [Agreement::Choice; 2]);
    let early = Story::new().send(Client, 20).recv_fails(Server, Errno::EAGAIN);
    let late = Story::new().send(Client, 20).recv(Server, 100, 0..20);
    early.passes();
    assert_eq!(agreements(&early, &late), [Agreement::Same, Agreement::Choice]);
}

#[test_log::test]
fn what_the_contract_forbids_is_none_and_what_follows_may_be_its_consequence() {
    let peek = |story: Story, outcome| story.received(Server, 100, RecvFlags::PEEK, outcome);
    let blind = Story::new().send(Client, 20);
    let blind = peek(blind, Outcome::Errno(Errno::EAGAIN)).outq_was(0).recv(Server, 10, 0..10);
    blind.breaks(&[(Invariant::Peek, "eagain-with-bytes-deliverable")]);
    let seen = Story::new().send(Client, 20).peek(Server, 100, 0..20).recv(Server, 10, 0..5);
    assert_eq!(
        agreements(&blind, &seen),
        [Agreement::Same, Agreement::Differs, Agreement::Differs]
    );
    // the other way round nothing is forbidden
    assert_eq!(agreements(&seen, &blind), [Agreement::Same, Agreement::Choice, Agreement::Choice]);
}

#[test_log::test]
fn unknown_bytes_are_the_same_by_their_number_unless_they_break_a_rule() {
    let got = |data| Story::new().send(Client, 3).got(Server, 3, RecvFlags::empty(), vec![data]);
    let right = got(super::story::raw(Client, 0..3));
    right.passes();
    assert_eq!(
        agreements(&right, &another_run(got(Run::Raw(vec![1, 2, 3])))),
        [Agreement::Same; 2]
    );
    let wrong = got(Run::Raw(vec![1, 2, 3]));
    assert_eq!(agreements(&wrong, &right), [Agreement::Same, Agreement::Differs]);
}

#[test_log::test]
fn lanes_that_overlap_are_matched_by_their_step() {
    // a receive that is left blocked, and the send that ends it
    let receive_first = Story::blocking().recv(Server, 20, 0..20).send(Client, 20).while_us(5, 10);
    let mut send_first = Story::blocking().recv(Server, 20, 0..20).send(Client, 20);
    send_first.history.records.swap(0, 1);
    let found = compared(&receive_first, &send_first);
    assert_eq!(found, [Some((1, Agreement::Same)), Some((0, Agreement::Same))]);
    assert!(matches!(send_first.history.records[0].at, At::Step(1)));
    // and one that the other run never made
    send_first.history.records.truncate(1);
    assert_eq!(compared(&receive_first, &send_first), [None, Some((0, Agreement::Same))]);
}

#[test_log::test]
fn finales_are_matched_by_what_they_do() {
    let nodelay = Op::Set(SockOption::NoDelay(true));
    let finale = |cuts: &[u64], first, second| {
        let story = Story::new().send(Client, 20).finale();
        let story = story.value(first, nodelay, 0).value(second, nodelay, 0);
        let pieces = cuts.windows(2);
        let story = pieces.fold(story, |story, cut| story.recv(Server, 512, cut[0]..cut[1]));
        story.shutdown(Client, scenario::How::Wr).shutdown(Server, scenario::How::Wr).eof(Server)
    };
    let own = finale(&[0, 20], Client, Server);
    // the order of the endpoints does not matter, the last of the receives before the shutdown is compared
    let other = finale(&[0, 5, 20], Server, Client);
    let found = compared(&own, &other);
    let records: Vec<usize> = found.iter().flatten().map(|(record, _)| *record).collect();
    assert_eq!(records, [0, 2, 1, 4, 5, 6, 7]);
    let differing: Vec<usize> = (0..found.len())
        .filter(|&at| found[at].is_some_and(|(_, agreement)| agreement != Agreement::Same))
        .collect();
    assert_eq!(differing, [3]);
    // of several pieces all but the last have no counterpart
    assert_eq!(compared(&other, &own)[3], None);
    assert_eq!(compared(&other, &own)[4], Some((3, Agreement::Choice)));
}

proptest! {
    #[test]
    fn a_run_agrees_with_itself_in_whatever_order_its_steps_are_recorded(
        lanes in lanes(), blocking: bool, turns in turns(0..15), backwards: bool,
    ) {
        let (scenario, history) = run(&lanes, blocking, &turns);
        let mut other = history.clone();
        let steps = other.records.iter().filter(|record| record.at != At::Finale).count();
        if backwards {
            other.records[..steps].reverse();
        }
        for (at, found) in compare(&scenario, &history, &other).into_iter().enumerate() {
            let found = found.expect("a counterpart");
            let place = if backwards && at < steps { steps - 1 - at } else { at };
            prop_assert_eq!((found.record, found.agreement), (place, Agreement::Same));
        }
    }
}
