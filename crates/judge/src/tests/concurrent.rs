use scenario::history::{Connection, Errno, Outcome, Pairing, Traffic};
use scenario::payload::{Run, Stream};
use scenario::{Attempt, Buffer, By, Invariant, Op, Ready, RecvFlags, SockOption, Verdict, Waiter};

use super::story::{Client, Server, Story, bytes, source};

const NONE: RecvFlags = RecvFlags::empty();

/// Bytes of a stream.
fn of(lane: u8, offset: u64, len: u32) -> Run {
    Run::Coded { stream: Stream { lane, ..source(Client) }, offset, len }
}

#[test_log::test]
fn the_bytes_of_calls_that_overlap_may_come_in_any_order() {
    let two = || Story::new().send(Client, 100).send(Client, 100).second();
    two().got(Server, 300, NONE, vec![of(0, 0, 100), of(2, 0, 100)]).passes();
    two()
        .got(Server, 300, NONE, vec![of(2, 0, 100), of(0, 0, 100)])
        .breaks(&[(Invariant::Order, "later-bytes-first")]);
    let at_once = || two().while_us(0, 3);
    at_once().got(Server, 300, NONE, vec![of(2, 0, 100), of(0, 0, 100)]).passes();
    at_once().got(Server, 300, NONE, vec![of(2, 0, 50), of(0, 0, 100), of(2, 50, 50)]).passes();
}

#[test_log::test]
fn every_senders_bytes_keep_their_order_and_come_once() {
    let at_once = || Story::new().send(Client, 100).send(Client, 100).second().while_us(0, 3);
    at_once()
        .got(Server, 300, NONE, vec![of(2, 0, 30), of(0, 0, 100), of(2, 0, 70)])
        .breaks(&[(Invariant::ConcurrentSend, "delivered-twice")]);
    let skipped = || at_once().got(Server, 300, NONE, vec![of(2, 0, 30), of(0, 50, 50)]);
    skipped().breaks(&[(Invariant::ConcurrentSend, "lost")]);
    skipped()
        .got(Server, 50, NONE, vec![of(0, 0, 50)])
        .breaks(&[(Invariant::ConcurrentSend, "sender-reordered")]);
    let corked = || {
        let mut story = skipped().set_up(Client, SockOption::Cork(true));
        story.history.records.iter_mut().for_each(|record| record.peer_outq = Some(0));
        story
    };
    corked()
        .got(Server, 50, NONE, vec![of(0, 0, 50)])
        .breaks(&[(Invariant::Cork, "held-bytes-overtaken")]);
    // that bytes are missing at the end, too, is no finding of its own
    corked()
        .finale()
        .recv_fails(Server, Errno::EAGAIN)
        .outq_was(0)
        .breaks(&[(Invariant::ConcurrentSend, "lost")]);
    let spliced = || skipped().spliced().got(Server, 50, NONE, vec![of(0, 0, 50)]);
    spliced().breaks(&[(Invariant::SpliceFile, "later-bytes-first")]);
}

#[test_log::test]
fn receivers_that_overlap_share_the_bytes() {
    let sent = || Story::new().send(Client, 200);
    let both = |first: Vec<Run>, second: Vec<Run>| {
        sent().got(Server, 100, NONE, first).got(Server, 100, NONE, second).second().while_us(0, 3)
    };
    both(vec![bytes(Client, 100..200)], vec![bytes(Client, 0..100)]).passes();
    both(vec![bytes(Client, 0..50), bytes(Client, 150..200)], vec![bytes(Client, 50..150)])
        .passes();
    both(vec![bytes(Client, 0..100)], vec![bytes(Client, 50..150)])
        .breaks(&[(Invariant::ConcurrentRecv, "delivered-twice")]);
    both(vec![bytes(Client, 50..100), bytes(Client, 0..50)], vec![bytes(Client, 100..200)])
        .breaks(&[(Invariant::ConcurrentRecv, "not-ascending")]);
    both(vec![bytes(Client, 0..50)], vec![bytes(Client, 150..200)])
        .breaks(&[(Invariant::ConcurrentRecv, "skipped")]);
    // one after the other there is one order only
    sent()
        .got(Server, 100, NONE, vec![bytes(Client, 100..200)])
        .got(Server, 100, NONE, vec![bytes(Client, 0..100)])
        .second()
        .breaks(&[(Invariant::Order, "later-bytes-first")]);
}

#[test_log::test]
fn a_receive_that_waits_is_told_of_a_reset() {
    let waits = |outcome| {
        Story::blocking()
            .received(Server, 100, NONE, outcome)
            .lasting_ms(1)
            .abort(Client)
            .while_us(500, 600)
    };
    waits(Outcome::Errno(Errno::ECONNRESET)).passes();
    waits(Outcome::Received { count: 0, data: vec![], left: None })
        .breaks(&[(Invariant::Reset, "eof-instead-of-reset")]);
    Story::blocking()
        .eof(Server)
        .lasting_ms(1)
        .send(Client, 10)
        .while_us(500, 600)
        .breaks(&[(Invariant::EarlyEof, "no-fin")]);
}

#[test_log::test]
fn an_error_has_a_cause_and_comes_once_however_calls_overlap() {
    let beside = |story: Story, op| {
        let read = story.value(Server, Op::SoError, 104).lasting_ms(1);
        read.value(Server, op, 0).second().while_us(500, 600)
    };
    let aborted = || Story::new().abort(Client);
    let cause = [(Invariant::Reset, "error-without-cause")];
    beside(aborted(), Op::Inq).passes();
    beside(Story::new(), Op::Inq).breaks(&cause);
    let again = [(Invariant::ResetOnce, "reported-again")];
    beside(aborted().recv_fails(Server, Errno::ECONNRESET), Op::Inq).breaks(&again);
    // the reset may come just then
    let read = Story::new().value(Server, Op::SoError, 104).lasting_ms(1);
    read.abort(Client).while_us(500, 600).passes();
}

#[test_log::test]
fn a_wait_that_finds_its_socket_closed_has_kept_it_open() {
    let op = Op::Wait { events: Ready::IN, timeout_ms: 5, by: Waiter::Select };
    let waited = || Story::new().call(Server, op, Outcome::Closed).lasting_ms(1).close(Server);
    let gone = |story: Story| story.send(Client, 10).value(Client, Op::Outq, 0);
    gone(waited().second().while_us(500, 600)).passes();
    gone(waited()).breaks(&[(Invariant::Outq, "acknowledged-by-a-closed-peer")]);
}

#[test_log::test]
fn the_end_comes_behind_all_bytes_however_calls_overlap() {
    let ended = |range| {
        Story::blocking()
            .recv(Server, 100, range)
            .lasting_ms(1)
            .send(Client, 10)
            .while_us(500, 600)
            .shutdown(Client, scenario::How::Wr)
            .eof(Server)
    };
    ended(0..10).passes();
    ended(0..9).breaks(&[(Invariant::HalfClose, "eof-before-all-bytes")]);
}

#[test_log::test]
fn what_was_deliverable_before_is_so_during_other_calls() {
    let after = |outcome| {
        Story::new()
            .send(Client, 10)
            .value(Server, Op::Inq, 10)
            .received(Server, 100, NONE, outcome)
            .send(Client, 5)
            .while_us(0, 1)
    };
    after(Outcome::Errno(Errno::EAGAIN))
        .breaks(&[(Invariant::RecvResult, "eagain-with-bytes-deliverable")]);
    let data = vec![bytes(Client, 0..10)];
    after(Outcome::Received { count: 10, data, left: None }).passes();
    // unless another lane takes them
    Story::new()
        .send(Client, 10)
        .value(Server, Op::Inq, 10)
        .recv(Server, 100, 0..10)
        .recv_fails(Server, Errno::EAGAIN)
        .second()
        .while_us(0, 1)
        .passes();
}

#[test_log::test]
fn a_call_that_sleeps_on_was_rightly_left_or_not_woken() {
    let recv = Op::Recv { len: 100, flags: NONE, buffer: Buffer::Mapped, by: By::Call };
    let sleeps = |bits, after_ms: u64| {
        Story::blocking()
            .call(Server, recv, Outcome::Stuck)
            .lasting_ms(400)
            .send(Client, 10)
            .while_us(500, 600)
            .poll(Server, bits)
            .second()
            .while_us(after_ms * 1_000, after_ms * 1_000 + 1)
    };
    let idle = Ready::OUT | Ready::WRNORM;
    let readable = idle | Ready::IN | Ready::RDNORM;
    sleeps(idle, 10).passes();
    sleeps(readable, 390).passes();
    let slept_on = [(Invariant::Wakeup, "recv-sleeps-with-bytes-deliverable")];
    sleeps(readable, 10).breaks(&slept_on);
    // a splice(2) that a poll contradicts has a rule of its own
    let splices = |bits, after_ms| {
        let mut story = sleeps(bits, after_ms);
        let splice = Op::Recv { len: 100, flags: NONE, buffer: Buffer::Mapped, by: By::Splice };
        (story.history.records[0].op, story.scenario.steps[0].op) = (splice, splice);
        story
    };
    splices(idle, 10).passes();
    splices(readable, 390).passes();
    splices(readable | Ready::PRI, 10).passes();
    splices(readable, 10).breaks(&[(Invariant::SpliceFile, "sleeps-with-bytes-deliverable")]);
    let peeks = |bits, after_ms| {
        let mut story = sleeps(bits, after_ms);
        let flags = RecvFlags::PEEK;
        let peek = Op::Recv { len: 100, flags, buffer: Buffer::Mapped, by: By::Call };
        (story.history.records[0].op, story.scenario.steps[0].op) = (peek, peek);
        story
    };
    peeks(idle, 10).passes();
    peeks(readable, 10).breaks(&slept_on);
    // where there is a ring, it may be blind for it rather than not woken
    let mut paired = peeks(readable, 10);
    paired.history.connections[0].pairing =
        Pairing::Asked { results: [Some(0), None], updates: [Some(0); 2], further: [None; 2] };
    paired.breaks(&[(Invariant::Peek, "sleeps-with-bytes-deliverable")]);
    // nobody wakes it for less than SO_RCVLOWAT (tcp_data_ready), however little it asks for
    let below = |lowat| {
        Story::blocking()
            .value(Server, Op::Set(SockOption::RcvLowat(lowat)), 0)
            .call(
                Server,
                Op::Recv { len: 5, flags: NONE, buffer: Buffer::Mapped, by: By::Call },
                Outcome::Stuck,
            )
            .lasting_ms(400)
            .send(Client, 10)
            .while_us(500, 600)
            .value(Server, Op::Inq, 10)
            .second()
            .while_us(10_000, 10_001)
    };
    below(11).passes();
    below(10).breaks(&slept_on);
    // what an interrupted call finds, it returns
    let returned = |interrupted| {
        let mut story = sleeps(readable, 10);
        let record = &mut story.history.records[0];
        let data = vec![bytes(Client, 0..10)];
        record.outcome = Outcome::Received { count: 10, data, left: None };
        (record.touched, record.interrupted) = (10, interrupted);
        story
    };
    returned(false).passes();
    returned(true).breaks(&slept_on);
}

#[test_log::test]
fn a_send_the_other_way_excuses_no_lost_wake_up() {
    let buffer = Buffer::Mapped;
    let recv = Op::Recv { len: 100, flags: NONE, buffer, by: By::Call };
    let beside = |waiting, sends_until_ms: u64, sent| {
        Story::blocking()
            .call(Server, waiting, Outcome::Stuck)
            .lasting_ms(400)
            .send(Client, 10)
            .while_us(500, 600)
            .value(Server, Op::Inq, 10)
            .second()
            .while_us(1_000, 1_001)
            .poll(Server, Ready::IN | Ready::RDNORM | Ready::OUT | Ready::WRNORM)
            .second()
            .while_us(1, 2)
            .sent(Server, 100, scenario::SendFlags::empty(), sent)
            .second()
            .while_us(10, sends_until_ms * 1_000)
    };
    let slept_on = [(Invariant::Wakeup, "recv-sleeps-with-bytes-deliverable")];
    beside(recv, 20, Outcome::Value(100)).breaks(&slept_on);
    beside(recv, 390, Outcome::Stuck).breaks(&slept_on);
    // it may have kept the socket to itself
    beside(recv, 390, Outcome::Value(100)).passes();
    let wait = |events| Op::Wait { events, timeout_ms: 0, by: Waiter::Poll };
    beside(wait(Ready::IN), 20, Outcome::Value(100))
        .breaks(&[(Invariant::Wakeup, "wait-sleeps-while-ready")]);
    // nor does it leave the room that it takes
    beside(wait(Ready::OUT), 20, Outcome::Value(100)).passes();
}

#[test_log::test]
fn each_connection_has_its_own_bytes() {
    let two = |pair, data| {
        let mut story = Story::new().send(Client, 50).got(Server, 50, NONE, vec![data]);
        story.scenario.pairs = 2;
        story.history.connections.push(Connection {
            pair,
            pairing: Pairing::NotAsked,
            traffic: [Traffic::default(); 2],
        });
        story.history.records[0].connection = 1;
        story.history.records[1].connection = 1;
        story
    };
    let of = |pair| Run::Coded { stream: Stream { pair, ..source(Client) }, offset: 0, len: 50 };
    two(1, of(1)).passes();
    two(1, of(0)).breaks(&[(Invariant::CrossTalk, "other-pair")]);
    two(0, of(0)).breaks(&[(Invariant::CrossTalk, "earlier-connection")]);
}

#[test_log::test]
fn a_pair_is_made_once_and_with_its_peer() {
    let asked = |attempt, further| {
        let mut story = Story::new();
        story.scenario.attempt = attempt;
        story.history.connections[0].pairing = Pairing::Asked {
            results: [None, Some(0)],
            updates: [Some(0); 2],
            further: [None, further],
        };
        story
    };
    asked(Attempt::Twice, Some(-17)).passes();
    asked(Attempt::Twice, Some(0)).breaks(&[(Invariant::PairResult, "paired-twice")]);
    let stranger = |further| {
        let mut story = asked(Attempt::Stranger, None);
        story.scenario.pairs = 2;
        let mut second = story.history.connections[0].clone();
        second.pair = 1;
        second.pairing = Pairing::Asked {
            results: [None, Some(0)],
            updates: [Some(0); 2],
            further: [None, further],
        };
        story.history.connections.push(second);
        story
    };
    stranger(Some(-17)).passes();
    stranger(Some(-22)).passes();
    stranger(Some(0)).breaks(&[(Invariant::PairResult, "paired-with-a-stranger")]);
}

#[test_log::test]
fn a_receive_that_may_wait_waits() {
    let fails = |other: fn(Story) -> Story| {
        let story = Story::blocking().recv_fails(Server, Errno::EAGAIN).lasting_ms(1);
        other(story).while_us(500, 501)
    };
    fails(|story| story.send(Client, 0))
        .breaks(&[(Invariant::RecvResult, "eagain-while-blocking")]);
    // a socket in a sockhash is woken by more than bytes
    fails(|story| story.shutdown(Server, scenario::How::Rd)).passes();
}

#[test_log::test]
fn a_socket_that_is_connected_anew_under_a_call_is_in_doubt() {
    let story = Story::blocking()
        .received(Server, 100, NONE, Outcome::Errno(Errno::ECONNRESET))
        .lasting_ms(1)
        .value(Client, Op::Connect, 0)
        .while_us(500, 600);
    let doubt = scenario::verdict::Doubt::RacedReconnect;
    assert_eq!(story.verdict(), Verdict::Inconclusive(doubt));
}
