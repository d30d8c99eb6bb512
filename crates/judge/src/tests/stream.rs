use scenario::history::Outcome;
use scenario::payload::{self, Run};
use scenario::{Invariant, RecvFlags, SendFlags, SockOption, Topology, Verdict};

use super::story::{Client, RUN, Server, Story, bytes, raw, source};

/// One byte that the client sends.
fn value(at: u64) -> u8 {
    match raw(Client, at..at + 1) {
        Run::Raw(bytes) => bytes[0],
        Run::Coded { .. } => unreachable!("asked for as raw bytes"),
    }
}

#[test_log::test]
fn bytes_may_come_late_short_and_coalesced() {
    Story::new()
        .send(Client, 100)
        .send(Client, 50)
        .recv(Server, 10, 0..10)
        .recv(Server, 4096, 10..150)
        .passes();
}

#[test_log::test]
fn later_bytes_first_is_disorder() {
    Story::new()
        .send(Client, 200)
        .recv(Server, 100, 100..200)
        .recv(Server, 100, 0..100)
        .breaks(&[(Invariant::Order, "later-bytes-first")]);
}

#[test_log::test]
fn a_splice_that_goes_by_earlier_bytes_breaks_its_own_rule() {
    let first = |from: u64| Story::new().send(Client, 200).recv(Server, 100, from..from + 100);
    first(0).spliced().recv(Server, 100, 100..200).passes();
    let expected = [(Invariant::SpliceFile, "later-bytes-first")];
    first(100).spliced().recv(Server, 100, 0..100).breaks(&expected);
    // it finds what the receive before it has passed over
    let expected = [(Invariant::Order, "later-bytes-first")];
    first(100).recv(Server, 100, 0..100).spliced().breaks(&expected);
}

#[test_log::test]
fn a_few_bytes_that_overtake_corked_ones_break_cork_too() {
    let one = |at: u64| {
        Story::new()
            .set_up(Client, SockOption::Cork(true))
            .send(Client, 100)
            .value(Client, scenario::Op::Set(SockOption::Cork(false)), 0)
            .send(Client, 100)
            .got(Server, 1, RecvFlags::empty(), vec![raw(Client, at..at + 1)])
    };
    one(0).passes();
    let other = (100..200).find(|&at| value(at) != value(0)).unwrap();
    one(other).breaks(&[(Invariant::Cork, "held-bytes-overtaken")]);
}

#[test_log::test]
fn what_is_left_of_two_gaps_may_come_at_once() {
    let skipped =
        || Story::new().send(Client, 200).recv(Server, 90, 1..90).recv(Server, 90, 91..180);
    let both = vec![value(0), value(90)];
    let late = |bytes: Vec<u8>| skipped().got(Server, 9, RecvFlags::empty(), vec![Run::Raw(bytes)]);
    late(both.clone()).breaks(&[(Invariant::Order, "later-bytes-first")]);
    let unknown = both.iter().map(|byte| byte ^ 0x80).collect();
    let verdict = late(unknown).verdict();
    assert!(verdict.violations().iter().any(|v| v.invariant == Invariant::Corrupt), "{verdict:?}");
}

#[test_log::test]
fn on_loopback_what_is_not_acknowledged_was_held_back() {
    let on = |topology, outq| {
        let mut story = Story::new().send(Client, 200).recv(Server, 100, 100..200).outq_was(outq);
        story.scenario.topology = topology;
        story.recv(Server, 100, 0..100)
    };
    on(Topology::Loopback, 0).breaks(&[(Invariant::Order, "later-bytes-first")]);
    on(Topology::Loopback, 100).breaks(&[(Invariant::Cork, "held-bytes-overtaken")]);
    on(Topology::Veth, 100).breaks(&[(Invariant::Order, "later-bytes-first")]);
    let in_order = Story::new().send(Client, 200).recv(Server, 100, 0..100).outq_was(100);
    in_order.recv(Server, 100, 100..200).passes();
}

#[test_log::test]
fn what_nobody_could_receive_any_more_is_not_lost() {
    let skipped = || Story::new().send(Client, 200).recv(Server, 100, 100..200);
    skipped().breaks(&[(Invariant::Loss, "skipped")]);
    skipped().abort(Server).breaks(&[(Invariant::Order, "later-bytes-first")]);
    Story::new().send(Client, 200).recv(Server, 100, 0..100).abort(Server).passes();
}

#[test_log::test]
fn overtaking_corked_bytes_breaks_cork() {
    Story::new()
        .set_up(Client, SockOption::Cork(true))
        .send(Client, 100)
        .value(Client, scenario::Op::Set(SockOption::Cork(false)), 0)
        .send(Client, 100)
        .recv(Server, 100, 100..200)
        .recv(Server, 100, 0..100)
        .breaks(&[(Invariant::Cork, "held-bytes-overtaken")]);
}

#[test_log::test]
fn bytes_that_never_come_are_lost() {
    Story::new()
        .send(Client, 200)
        .recv(Server, 200, 0..100)
        .recv(Server, 100, 150..200)
        .breaks(&[(Invariant::Loss, "skipped")]);
}

#[test_log::test]
fn bytes_that_come_again_are_duplicates() {
    Story::new()
        .send(Client, 100)
        .recv(Server, 100, 0..100)
        .recv(Server, 100, 0..100)
        .breaks(&[(Invariant::Duplicate, "delivered-twice")]);
}

#[test_log::test]
fn a_wrong_value_is_corruption_and_the_rest_is_judged_on() {
    let data = vec![bytes(Client, 0..50), Run::Raw(vec![0; 10]), bytes(Client, 60..100)];
    Story::new()
        .send(Client, 200)
        .got(Server, 100, RecvFlags::empty(), data)
        .recv(Server, 100, 100..200)
        .breaks(&[(Invariant::Corrupt, "unknown-bytes")]);
}

#[test_log::test]
fn bytes_that_nobody_sent_are_corruption() {
    Story::new()
        .send(Client, 100)
        .recv(Server, 200, 0..120)
        .breaks(&[(Invariant::Corrupt, "never-accepted")]);
}

#[test_log::test]
fn bytes_of_another_run_or_direction_are_cross_talk() {
    let earlier = payload::Stream { run: RUN - 1, ..source(Client) };
    let run = Run::Coded { stream: earlier, offset: 0, len: 100 };
    Story::new()
        .send(Client, 100)
        .got(Server, 100, RecvFlags::empty(), vec![run])
        .breaks(&[(Invariant::CrossTalk, "earlier-connection")]);
    Story::new()
        .send(Client, 100)
        .send(Server, 100)
        .got(Server, 100, RecvFlags::empty(), vec![bytes(Server, 0..100)])
        .breaks(&[(Invariant::CrossTalk, "other-direction")]);
}

#[test_log::test]
fn raw_pieces_are_told_by_their_value() {
    let short = |range| {
        Story::new().send(Client, 100).got(Server, 5, RecvFlags::empty(), vec![raw(Client, range)])
    };
    short(0..5).passes();
    short(40..45).breaks(&[(Invariant::Loss, "skipped")]);
    short(0..5)
        .got(Server, 5, RecvFlags::empty(), vec![raw(Client, 0..5)])
        .breaks(&[(Invariant::Duplicate, "delivered-twice")]);
    Story::new()
        .send(Client, 9)
        .send(Server, 50)
        .got(Server, 6, RecvFlags::empty(), vec![raw(Server, 30..36)])
        .breaks(&[(Invariant::CrossTalk, "other-direction")]);
}

#[test_log::test]
fn an_urgent_byte_may_be_skipped_or_delivered() {
    let urgent = || {
        Story::new()
            .send(Client, 10)
            .sent(Client, 10, SendFlags::OOB, Outcome::Value(10))
            .send(Client, 10)
            .recv(Server, 100, 0..19)
    };
    urgent().recv(Server, 100, 20..30).passes();
    urgent().recv(Server, 100, 19..30).passes();
    urgent().recv(Server, 100, 21..30).breaks(&[(Invariant::Loss, "skipped")]);
}

#[test_log::test]
fn one_byte_that_looks_like_the_skipped_urgent_one_is_no_violation() {
    // as the executor decodes it when bytes 19 and 20 happen to be equal: simulated by a raw whole
    let data = vec![raw(Client, 20..21), raw(Client, 21..30)];
    Story::new()
        .send(Client, 10)
        .sent(Client, 10, SendFlags::OOB, Outcome::Value(10))
        .send(Client, 10)
        .recv(Server, 100, 0..19)
        .got(Server, 100, RecvFlags::empty(), data)
        .passes();
}

#[test_log::test]
fn a_single_byte_that_equals_the_skipped_urgent_one_leaves_two_positions() {
    // seen on plain TCP in scenario 6825 of seed 1: the byte behind the urgent one has the same value
    let twin =
        (1..100_000).find(|&at| raw(Client, at..at + 1) == raw(Client, at + 1..at + 2)).unwrap();
    let len = u32::try_from(twin).unwrap();
    Story::new()
        .send(Client, len)
        .sent(Client, 1, SendFlags::OOB, Outcome::Value(1))
        .send(Client, 10)
        .recv(Server, len, 0..twin)
        .recv(Server, 1, twin..twin + 1)
        .recv(Server, 100, twin + 2..twin + 11)
        .passes();
}

#[test_log::test]
fn a_piece_cut_by_a_chance_match_is_put_together_again() {
    // seen on plain TCP in scenario 3064 of seed 2: the executor expected byte 888, and byte 889 has the same value
    let twin =
        (1..100_000).find(|&at| raw(Client, at..at + 1) == raw(Client, at + 1..at + 2)).unwrap();
    let len = u32::try_from(twin + 1).unwrap();
    let data = vec![bytes(Client, twin..twin + 1), bytes(Client, twin + 2..twin + 20)];
    Story::new()
        .send(Client, len)
        .send(Client, 19)
        .recv(Server, len, 0..twin + 1)
        .got(Server, 100, RecvFlags::empty(), data)
        .passes();
}

#[test_log::test]
fn a_late_byte_that_equals_one_never_sent_is_late() {
    // seen on the RFC kernel: the byte that was passed over comes last, and has the value of the one after the end
    let (late, end) = (1..1_000)
        .flat_map(|late| (late + 8..late + 600).map(move |end| (late, end)))
        .find(|&(late, end)| raw(Client, late..late + 1) == raw(Client, end..end + 1))
        .unwrap();
    let len = u32::try_from(end).unwrap();
    Story::new()
        .send(Client, len)
        .recv(Server, 4_096, 0..late)
        .recv(Server, 4_096, late + 1..end)
        .recv(Server, 4_096, end..end + 1)
        .breaks(&[(Invariant::Order, "later-bytes-first")]);
}

#[test_log::test]
fn a_byte_that_equals_the_one_before_is_no_duplicate() {
    // seen on a healthy pair: behind a skipped urgent byte the executor expects one byte too early
    let twin =
        (20..100_000).find(|&at| raw(Client, at..at + 1) == raw(Client, at + 1..at + 2)).unwrap();
    Story::new()
        .send(Client, 10)
        .sent(Client, 1, SendFlags::OOB, Outcome::Value(1))
        .send(Client, u32::try_from(twin + 2 - 11).unwrap())
        .recv(Server, 10, 0..10)
        .recv(Server, 100_000, 11..twin + 1)
        .recv(Server, 10, twin..twin + 1)
        .passes();
}

#[test_log::test]
fn a_mark_beyond_the_urgent_pointer_is_in_doubt() {
    let story = Story::new()
        .send(Client, 70_000)
        .sent(Client, 10, SendFlags::OOB, Outcome::Value(10))
        .recv(Server, 65_534, 0..65_534)
        .recv(Server, 4_000, 65_535..69_535);
    assert_eq!(
        story.verdict(),
        Verdict::Inconclusive(scenario::verdict::Doubt::UrgentPointerRange)
    );
}

#[test_log::test]
fn a_count_across_an_urgent_byte_leaves_two_positions() {
    let unseen = |flags| {
        Story::new()
            .send(Client, 10)
            .sent(Client, 10, SendFlags::OOB, Outcome::Value(10))
            .send(Client, 20)
            .recv(Server, 100, 0..19)
            .received(Server, 5, flags, Outcome::Received { count: 5, data: vec![], left: None })
    };
    unseen(RecvFlags::TRUNC).recv(Server, 100, 24..40).passes();
    unseen(RecvFlags::TRUNC).recv(Server, 100, 25..40).passes();
    unseen(RecvFlags::TRUNC)
        .recv(Server, 100, 26..40)
        .breaks(&[(Invariant::Trunc, "consumed-more-than-counted")]);
}
