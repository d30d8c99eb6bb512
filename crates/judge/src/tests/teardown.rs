use scenario::history::{Errno, Outcome};
use scenario::verdict::Doubt;
use scenario::{
    Buffer, By, Endpoint, How, Invariant, Op, Ready, RecvFlags, SendFlags, SockOption, Verdict,
};

use super::story::{Client, Server, Story, bytes};

#[test_log::test]
fn eof_needs_a_fin_and_everything_delivered() {
    let sent = || Story::new().send(Client, 100);
    sent().eof(Server).breaks(&[(Invariant::EarlyEof, "no-fin")]);
    // an end that should not have been says nothing about what comes next
    let early = || sent().eof(Server).recv(Server, 100, 0..100);
    early().recv_fails(Server, Errno::EAGAIN).breaks(&[(Invariant::EarlyEof, "no-fin")]);
    sent().eof(Server).outq_was(0).breaks(&[(Invariant::EarlyEof, "eof-with-bytes-deliverable")]);
    sent().shutdown(Client, How::Wr).recv(Server, 100, 0..100).eof(Server).passes();
    sent()
        .shutdown(Client, How::Wr)
        .eof(Server)
        .breaks(&[(Invariant::HalfClose, "eof-before-all-bytes")]);
    let peeks = || sent().close(Client).got(Server, 9, RecvFlags::PEEK, Vec::new());
    peeks().breaks(&[(Invariant::Peek, "eof-with-bytes-deliverable")]);
    let splices = || sent().close(Client).eof(Server).spliced();
    splices().breaks(&[(Invariant::SpliceFile, "eof-with-bytes-deliverable")]);
    sent().close(Client).recv(Server, 100, 0..100).eof(Server).spliced().passes();
    sent().close(Client).recv(Server, 100, 0..100).eof(Server).passes();
    sent().close(Client).recv(Server, 100, 0..100).got(Server, 9, RecvFlags::PEEK, vec![]).passes();
    sent()
        .close(Client)
        .recv(Server, 60, 0..60)
        .eof(Server)
        .breaks(&[(Invariant::CloseEof, "eof-before-all-bytes")]);
}

#[test_log::test]
fn eof_lasts() {
    let ended = |ending: fn(Story, Endpoint) -> Story| ending(Story::new(), Client).eof(Server);
    let close = Story::close as fn(Story, Endpoint) -> Story;
    let half: fn(Story, Endpoint) -> Story = |story, endpoint| story.shutdown(endpoint, How::Wr);
    ended(close).eof(Server).passes();
    ended(close)
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::CloseEof, "eagain-after-fin")]);
    ended(half)
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::HalfClose, "eagain-after-fin")]);
}

#[test_log::test]
fn shut_rd_gives_what_is_queued_then_eof() {
    let shut = || Story::new().send(Client, 100).shutdown(Server, How::Rd);
    shut().recv(Server, 100, 0..100).eof(Server).passes();
    shut().eof(Server).recv(Server, 100, 0..100).passes();
    shut().eof(Server).outq_was(0).breaks(&[(Invariant::ShutRd, "eof-with-bytes-deliverable")]);
    shut()
        .recv(Server, 100, 0..100)
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::ShutRd, "eagain-after-shut-rd")]);
    Story::new()
        .call(Server, Op::Shutdown(How::Rd), Outcome::Errno(Errno::ENOTCONN))
        .breaks(&[(Invariant::ShutRd, "shutdown-fails")]);
    Story::new()
        .call(Server, Op::Shutdown(How::Wr), Outcome::Errno(Errno::ENOTCONN))
        .breaks(&[(Invariant::HalfClose, "shutdown-fails")]);
}

#[test_log::test]
fn close_with_unread_bytes_resets() {
    let unread =
        || Story::new().send(Client, 100).recv(Server, 10, 0..10).outq_was(0).close(Server);
    unread().recv_fails(Client, Errno::ECONNRESET).eof(Client).passes();
    unread().eof(Client).breaks(&[(Invariant::CloseRst, "eof-instead-of-reset")]);
    let hung_up = Ready::all() - Ready::PRI - Ready::ERR;
    unread().poll(Client, hung_up).breaks(&[(Invariant::CloseRst, "hup-without-err")]);
    unread()
        .finale()
        .recv_fails(Client, Errno::EAGAIN)
        .lasting_ms(5_000)
        .breaks(&[(Invariant::CloseRst, "never-arrives")]);
    // with its FIN out before, the peer sees EOF
    Story::new()
        .send(Client, 100)
        .recv(Server, 10, 0..10)
        .outq_was(0)
        .shutdown(Server, How::Wr)
        .close(Server)
        .eof(Client)
        .passes();
    // what was perhaps in flight may have met a closed socket only
    Story::new().send(Client, 100).close(Server).eof(Client).passes();
}

#[test_log::test]
fn unread_bytes_count_wherever_they_are_queued() {
    Story::new()
        .send(Client, 100)
        .close(Server)
        .value(Client, Op::Outq, 0)
        .eof(Client)
        .breaks(&[(Invariant::CloseRst, "eof-instead-of-reset")]);
    let story = || Story::new().send(Client, 100).recv(Server, 10, 0..10).close(Server).eof(Client);
    story().traffic(Client, 100, 100).passes();
    story().traffic(Client, 100, 90).passes();
    story().traffic(Client, 100, 0).breaks(&[(Invariant::CloseRst, "eof-instead-of-reset")]);
}

#[test_log::test]
fn an_abort_is_reported_exactly_once() {
    let aborted = || Story::new().abort(Client);
    aborted()
        .recv_fails(Server, Errno::ECONNRESET)
        .eof(Server)
        .value(Server, Op::SoError, 0)
        .passes();
    aborted()
        .sent(Server, 5, SendFlags::empty(), Outcome::Errno(Errno::ECONNRESET))
        .eof(Server)
        .passes();
    aborted().eof(Server).breaks(&[(Invariant::Reset, "eof-instead-of-reset")]);
    aborted()
        .recv_fails(Server, Errno::ECONNRESET)
        .recv_fails(Server, Errno::ECONNRESET)
        .breaks(&[(Invariant::ResetOnce, "reported-again")]);
    aborted()
        .recv_fails(Server, Errno::ECONNRESET)
        .value(Server, Op::SoError, 104)
        .breaks(&[(Invariant::ResetOnce, "reported-again")]);
    aborted()
        .recv_fails(Server, Errno::ECONNRESET)
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::RecvResult, "eagain-after-reset")]);
    aborted()
        .recv_fails(Server, Errno::EPIPE)
        .breaks(&[(Invariant::RecvResult, "unexpected-errno")]);
    Story::new()
        .recv_fails(Server, Errno::ECONNRESET)
        .breaks(&[(Invariant::Reset, "error-without-cause")]);
    aborted()
        .finale()
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::Reset, "never-arrives")]);
}

/// `io_recv` tries again after less than was asked for, and returns what it has when that fails.
#[test_log::test]
fn io_uring_forgets_the_error_that_ends_a_waitall() {
    let reset_after = |flags, by| {
        let recv = Op::Recv { len: 100, flags, buffer: Buffer::Mapped, by };
        let data = vec![bytes(Client, 0..10)];
        Story::blocking()
            .send(Client, 10)
            .abort(Client)
            .call(Server, recv, Outcome::Received { count: 10, data, left: None })
            .eof(Server)
    };
    reset_after(RecvFlags::WAITALL, By::Uring).passes();
    // without a reset there was no error
    let recv = Op::Recv {
        len: 100,
        flags: RecvFlags::WAITALL | RecvFlags::DONTWAIT,
        buffer: Buffer::Mapped,
        by: By::Uring,
    };
    let data = vec![bytes(Client, 0..10)];
    Story::new()
        .send(Client, 10)
        .call(Server, recv, Outcome::Received { count: 10, data, left: None })
        .abort(Server)
        .recv_fails(Client, Errno::ECONNRESET)
        .passes();
    reset_after(RecvFlags::empty(), By::Uring)
        .breaks(&[(Invariant::Reset, "eof-instead-of-reset")]);
}

#[test_log::test]
fn so_error_reads_and_clears() {
    let seen = || Story::new().abort(Client).poll(Server, Ready::all() - Ready::PRI);
    seen().value(Server, Op::SoError, 104).value(Server, Op::SoError, 0).passes();
    seen().value(Server, Op::SoError, 0).breaks(&[(Invariant::ResetOnce, "error-vanished")]);
    Story::new()
        .value(Server, Op::SoError, 104)
        .breaks(&[(Invariant::Reset, "error-without-cause")]);
    seen().value(Server, Op::SoError, 5).breaks(&[(Invariant::Reset, "unexpected-errno")]);
}

#[test_log::test]
fn what_was_queued_survives_a_reset() {
    let queued =
        |outq| Story::new().send(Client, 100).recv(Server, 10, 0..10).outq_was(outq).abort(Client);
    queued(0).recv(Server, 100, 10..100).recv_fails(Server, Errno::ECONNRESET).passes();
    queued(90).recv_fails(Server, Errno::ECONNRESET).passes();
    queued(0)
        .recv_fails(Server, Errno::ECONNRESET)
        .breaks(&[(Invariant::Loss, "queued-bytes-lost-at-reset")]);
    // splice(2) does not get past the urgent byte
    let stopped = |flags| {
        let sent = Story::new().sent(Client, 9, flags, Outcome::Value(9)).send(Client, 91);
        let read = sent.recv(Server, 8, 0..8).outq_was(92).abort(Client);
        read.recv_fails(Server, Errno::ECONNRESET).spliced().outq_was(0)
    };
    stopped(SendFlags::OOB).passes();
    stopped(SendFlags::empty()).breaks(&[(Invariant::Loss, "queued-bytes-lost-at-reset")]);
}

#[test_log::test]
fn an_answer_is_not_lost_at_close_because_a_reset_is_possible() {
    let lost = [(Invariant::CloseEof, "eof-before-all-bytes")];
    // the client has ended its side, or sent more than the server has read: a reset is possible
    let ended = || {
        let asked = Story::new().send(Client, 10).shutdown(Client, How::Wr);
        asked.recv(Server, 10, 0..10).send(Server, 100).close(Server)
    };
    let unread = || Story::new().send(Client, 10).send(Server, 100).close(Server);
    for answered in [ended, unread] {
        answered().recv(Client, 100, 0..100).eof(Client).passes();
        answered().recv_fails(Client, Errno::ECONNRESET).eof(Client).passes();
        answered().recv(Client, 40, 0..40).eof(Client).breaks(&lost);
        // whatever else happens meanwhile
        let beside = |story: Story| story.eof(Client).lasting_ms(1);
        let look = |story: Story| story.value(Client, Op::Outq, 10).second().while_us(500, 600);
        look(beside(answered())).breaks(&lost);
        look(beside(answered().recv(Client, 100, 0..100))).passes();
    }
}

#[test_log::test]
fn both_ways_shut_down_and_still_sent_to_resets_both() {
    Story::new()
        .shutdown(Server, How::Rdwr)
        .send(Client, 100)
        .value(Server, Op::SoError, 104)
        .value(Client, Op::SoError, 32)
        .passes();
}

#[test_log::test]
fn closing_succeeds() {
    let fails = |op| Story::new().call(Client, op, Outcome::Errno(Errno(5)));
    fails(Op::Close).breaks(&[(Invariant::CloseEof, "close-fails")]);
    fails(Op::Abort).breaks(&[(Invariant::Reset, "close-fails")]);
}

#[test_log::test]
fn at_the_end_everything_has_come() {
    let sent = || Story::new().send(Client, 100).finale();
    sent().recv(Server, 100, 0..100).passes();
    sent()
        .recv_fails(Server, Errno::EAGAIN)
        .outq_was(0)
        .breaks(&[(Invariant::Stall, "accepted-bytes-never-arrive")]);
    let in_flight = sent().recv_fails(Server, Errno::EAGAIN).outq_was(100);
    assert_eq!(in_flight.verdict(), Verdict::Inconclusive(Doubt::DrainBound));
    let closed = || Story::new().send(Client, 100).close(Client).finale();
    closed()
        .recv_fails(Server, Errno::EAGAIN)
        .lasting_ms(5_000)
        .breaks(&[(Invariant::Stall, "accepted-bytes-never-arrive")]);
    closed()
        .recv(Server, 100, 0..100)
        .recv_fails(Server, Errno::EAGAIN)
        .lasting_ms(5_000)
        .breaks(&[(Invariant::Stall, "fin-never-arrives")]);
    // with a small buffer TCP may not get it across
    let cramped = |tcp| {
        let closed = closed().set_up(Server, SockOption::RcvBuf(1)).traffic(Client, 100, tcp);
        closed.recv_fails(Server, Errno::EAGAIN).lasting_ms(5_000)
    };
    assert_eq!(cramped(1).verdict(), Verdict::Inconclusive(Doubt::DrainBound));
    cramped(0).breaks(&[(Invariant::Stall, "accepted-bytes-never-arrive")]);
    // what TCP still has is TCP's to bring, whatever the ring carried before
    let mixed = |outq| {
        let late = sent().traffic(Client, 100, 60).recv(Server, 100, 0..40);
        late.recv_fails(Server, Errno::EAGAIN).outq_was(outq).lasting_ms(5_000)
    };
    assert_eq!(mixed(60).verdict(), Verdict::Inconclusive(Doubt::DrainBound));
    mixed(59).breaks(&[(Invariant::Stall, "accepted-bytes-never-arrive")]);
    let hasty = closed().recv_fails(Server, Errno::EAGAIN);
    assert_eq!(hasty.verdict(), Verdict::Inconclusive(Doubt::DrainBound));
    sent()
        .recv(Server, 100, 0..100)
        .shutdown(Client, How::Wr)
        .recv_fails(Server, Errno::EAGAIN)
        .outq_was(0)
        .breaks(&[(Invariant::Stall, "fin-never-arrives")]);
}

#[test_log::test]
fn on_a_bad_wire_what_does_not_come_may_have_been_lost() {
    let aborted = |loss_permille, delay_us| {
        let mut story =
            Story::new().abort(Client).finale().recv_fails(Server, Errno::EAGAIN).lasting_ms(5_000);
        story.scenario.wire = scenario::Wire { delay_us, loss_permille };
        story
    };
    aborted(0, 0).breaks(&[(Invariant::Reset, "never-arrives")]);
    aborted(0, 100).breaks(&[(Invariant::Reset, "never-arrives")]);
    assert_eq!(aborted(10, 0).verdict(), Verdict::Inconclusive(Doubt::DrainBound));
    let kept_alive = |delay_us| {
        let mut story = Story::new()
            .set_up(Client, SockOption::KeepAlive(true))
            .recv_fails(Server, Errno::ECONNRESET);
        story.scenario.wire = scenario::Wire { delay_us, loss_permille: 0 };
        story
    };
    kept_alive(0).breaks(&[(Invariant::Reset, "error-without-cause")]);
    kept_alive(900_000).passes();
}
