use scenario::history::{Errno, Outcome};
use scenario::{
    Buffer, By, Endpoint, How, Invariant, Op, Ready, RecvFlags, SendFlags, SockOption, Waiter,
};

use super::story::{Client, Server, Story, bytes};

const NONE: RecvFlags = RecvFlags::empty();

fn recv(by: By, flags: RecvFlags) -> Op {
    Op::Recv { len: 100, flags, buffer: Buffer::Mapped, by }
}

fn send(by: By, flags: SendFlags) -> Op {
    Op::Send { len: 100, flags, buffer: Buffer::Mapped, by }
}

fn of(endpoint: Endpoint, range: std::ops::Range<u64>) -> Outcome {
    let count = u32::try_from(range.end - range.start).unwrap();
    Outcome::Received { count, data: vec![bytes(endpoint, range)], left: None }
}

#[test_log::test]
fn every_call_moves_the_same_stream() {
    let sent =
        |by, count| Story::new().call(Client, send(by, SendFlags::empty()), Outcome::Value(count));
    for (by, invariant) in [
        (By::Vector(3), Invariant::Vectored),
        (By::Batch(3), Invariant::Vectored),
        (By::Splice, Invariant::SpliceFile),
        (By::Tee, Invariant::SpliceFile),
        (By::File, Invariant::SpliceFile),
    ] {
        sent(by, 60).recv(Server, 100, 0..60).passes();
        sent(by, 0).breaks(&[(invariant, "zero-for-nonzero")]);
    }
    let known = || {
        Story::new().send(Client, 10).value(Server, Op::Outq, 0).recv(Server, 0, 0..0).outq_was(0)
    };
    for (by, invariant) in [
        (By::Vector(2), Invariant::Vectored),
        (By::Splice, Invariant::SpliceFile),
        (By::Tee, Invariant::SpliceFile),
    ] {
        known().call(Server, recv(by, NONE), of(Client, 0..10)).passes();
        known()
            .call(Server, recv(by, NONE), Outcome::Errno(Errno::EAGAIN))
            .breaks(&[(invariant, "eagain-with-bytes-deliverable")]);
    }
    let uring = send(By::Uring, SendFlags::empty());
    Story::new()
        .shutdown(Client, How::Wr)
        .call(Client, uring, Outcome::Errno(Errno::EPIPE))
        .signalled(false)
        .passes();
}

#[test_log::test]
fn tee_shares_what_the_call_moves() {
    let differs = [(Invariant::SpliceFile, "tee-differs")];
    let sent = Story::new().call(Client, send(By::Tee, SendFlags::empty()), Outcome::Value(60));
    sent.copy_differs(59).recv(Server, 100, 0..60).breaks(&differs);
    // bytes that the socket did not take are in the second pipe all the same
    let refused = Outcome::Errno(Errno::EAGAIN);
    let refused = Story::new().call(Client, send(By::Tee, SendFlags::empty()), refused);
    refused.copy_differs(0).breaks(&differs);
    let received =
        || Story::new().send(Client, 60).call(Server, recv(By::Tee, NONE), of(Client, 0..60));
    received().copy_differs(0).breaks(&differs);
    received().passes();
}

#[test_log::test]
fn a_batch_sees_the_error_first() {
    // a FIN, and then a reset (tcp_reset): EPIPE, which only do_recvmmsg shows to a receiver
    let reset = || Story::new().send(Server, 5).close(Client);
    let fails = Outcome::Errno(Errno::EPIPE);
    reset().call(Server, recv(By::Batch(2), NONE), fails.clone()).passes();
    reset()
        .call(Server, recv(By::Call, NONE), fails)
        .breaks(&[(Invariant::RecvResult, "unexpected-errno")]);
}

#[test_log::test]
fn a_batch_that_ends_early_does_not_hide_a_reset() {
    // an error that ended it is put aside for the next call, so that nobody knows what the socket is
    let batch = || {
        Story::blocking()
            .send(Client, 60)
            .call(Server, recv(By::Batch(2), NONE), of(Client, 0..60))
            .lasting_ms(1)
    };
    batch().abort(Server).recv_fails(Client, Errno::ECONNRESET).passes();
    batch().send(Client, 5).close(Server).recv_fails(Client, Errno::ECONNRESET).passes();
    batch()
        .close(Server)
        .recv_fails(Client, Errno::ECONNRESET)
        .breaks(&[(Invariant::Reset, "error-without-cause")]);
}

#[test_log::test]
fn a_time_limit_expires_in_time() {
    let limited = |ms| {
        Story::blocking()
            .set_up(Server, SockOption::RcvTimeo(100))
            .recv_fails(Server, Errno::EAGAIN)
            .lasting_ms(ms)
    };
    limited(100).passes();
    limited(40).breaks(&[(Invariant::Timeout, "expires-early")]);
    limited(4_000).breaks(&[(Invariant::Timeout, "extended")]);
    // in a sockhash a reset that comes late ends it with EAGAIN
    let mut late = Story::blocking()
        .set_up(Server, SockOption::RcvTimeo(100))
        .abort(Client)
        .recv_fails(Server, Errno::EAGAIN);
    late.breaks(&[(Invariant::Timeout, "expires-early")]);
    late.scenario.topology = scenario::Topology::Veth;
    late.passes();
    let sends = |ms| {
        let full = Outcome::Errno(Errno::EAGAIN);
        Story::blocking()
            .set_up(Client, SockOption::SndTimeo(100))
            .sent(Client, 10, SendFlags::empty(), full)
            .lasting_ms(ms)
    };
    sends(100).passes();
    sends(10).breaks(&[(Invariant::Timeout, "expires-early")]);
}

#[test_log::test]
fn peeks_begin_where_they_were_told_to() {
    let peeks = || {
        Story::new().value(Server, Op::Set(SockOption::PeekOff(10)), 0).send(Client, 100).peek(
            Server,
            20,
            10..30,
        )
    };
    peeks().peek(Server, 10, 30..40).recv(Server, 15, 0..15).peek(Server, 5, 40..45).passes();
    peeks().peek(Server, 10, 10..20).breaks(&[(Invariant::Peek, "earlier-bytes-again")]);
    let reset = |off| {
        Story::new()
            .value(Server, Op::Set(SockOption::PeekOff(off)), 0)
            .send(Client, 10)
            .value(Server, Op::Inq, 10)
            .abort(Client)
            .received(Server, 9, RecvFlags::PEEK, Outcome::Errno(Errno::ECONNRESET))
    };
    reset(10).passes();
    reset(9).breaks(&[(Invariant::Loss, "queued-bytes-lost-at-reset")]);
    peeks().recv(Server, 50, 0..50).peek(Server, 5, 50..55).passes();
    let urgent = |story: Story, len| story.sent(Client, len, SendFlags::OOB, Outcome::Value(len));
    let off = Story::new().value(Server, Op::Set(SockOption::PeekOff(10)), 0);
    // the first urgent byte is dropped
    urgent(urgent(off, 1), 100).peek(Server, 20, 11..31).passes();
}

#[test_log::test]
fn what_is_left_is_what_was_not_received() {
    let takes = |left| {
        Story::new()
            .send(Client, 100)
            .value(Server, Op::Inq, 100)
            .recv(Server, 40, 0..40)
            .left(left)
    };
    takes(60).passes();
    takes(61).breaks(&[(Invariant::Inq, "left-more-than-accepted")]);
    takes(59).breaks(&[(Invariant::Inq, "left-less-than-deliverable")]);
}

#[test_log::test]
fn completions_are_of_sends() {
    let zerocopy = |completions| {
        Story::new()
            .set_up(Client, SockOption::ZeroCopy(true))
            .sent(Client, 100, SendFlags::ZEROCOPY, Outcome::Value(100))
            .poll(Client, Ready::OUT | Ready::WRNORM | Ready::ERR)
            .value(Client, Op::ErrQueue, completions)
            .recv(Server, 100, 0..100)
    };
    zerocopy(1).passes();
    zerocopy(2).breaks(&[(Invariant::Zerocopy, "more-completions-than-sends")]);
    let ends = |option, completions| {
        Story::new()
            .set_up(Client, option)
            .sent(Client, 100, SendFlags::ZEROCOPY, Outcome::Value(100))
            .recv(Server, 100, 0..100)
            .finale()
            .value(Client, Op::ErrQueue, completions)
    };
    ends(SockOption::ZeroCopy(true), 1).passes();
    ends(SockOption::ZeroCopy(true), 0).breaks(&[(Invariant::Zerocopy, "send-never-completed")]);
    ends(SockOption::ZeroCopy(false), 0).passes();
}

#[test_log::test]
fn a_wait_reports_what_is_there_and_what_was_asked_for() {
    let waits = |by, bits, ms| {
        let events = Ready::IN;
        let op = Op::Wait { events, timeout_ms: 100, by };
        Story::new().call(Server, op, Outcome::Ready(bits)).lasting_ms(ms)
    };
    let none = Ready::empty();
    waits(Waiter::Poll, none, 100).passes();
    waits(Waiter::Poll, none, 20).breaks(&[(Invariant::Timeout, "wait-returns-early")]);
    waits(Waiter::Epoll, none, 9_000).breaks(&[(Invariant::Timeout, "wait-outlasts-timeout")]);
    waits(Waiter::Poll, Ready::OUT, 1).breaks(&[(Invariant::Readiness, "unasked-events")]);
    waits(Waiter::Select, Ready::IN, 1)
        .breaks(&[(Invariant::Readiness, "in-with-nothing-to-read")]);
    let ready = |by| {
        let op = Op::Wait { events: Ready::IN, timeout_ms: 100, by };
        Story::new()
            .send(Client, 10)
            .value(Server, Op::Inq, 10)
            .call(Server, op, Outcome::Ready(none))
            .lasting_ms(100)
    };
    ready(Waiter::EpollEdge).passes();
    for by in [Waiter::Poll, Waiter::Select, Waiter::Epoll, Waiter::EpollOneshot] {
        ready(by).breaks(&[(Invariant::Wakeup, "wait-missed-readiness")]);
    }
}

#[test_log::test]
fn a_signal_interrupts_or_restarts() {
    let interrupted = || Story::blocking().recv_fails(Server, Errno::EINTR).lasting_ms(1);
    interrupted().breaks(&[(Invariant::Signal, "eintr-without-signal")]);
    let signalled = |restart| {
        interrupted().value(Client, Op::Signal { lane: 1, restart }, 0).while_us(500, 501)
    };
    signalled(false).passes();
    signalled(true).breaks(&[(Invariant::Signal, "eintr-despite-restart")]);
    signalled(true).set_up(Server, SockOption::RcvTimeo(100)).passes();
}

#[test_log::test]
fn a_look_interrupts_the_lane_that_it_looked_at_and_no_other() {
    let interrupted = |story: Story| story.recv_fails(Server, Errno::EINTR).lasting_ms(1);
    let look = |story: Story, lane| story.value(Server, Op::Inq, 0).look_at(lane);
    let without_signal = [(Invariant::Signal, "eintr-without-signal")];
    look(interrupted(Story::blocking()), 1).while_us(500, 501).passes();
    look(interrupted(Story::blocking()), 3).while_us(500, 501).breaks(&without_signal);
    let later = |ms| {
        let looked = look(Story::blocking(), 1);
        interrupted(looked.value(Server, Op::Inq, 0).lasting_ms(ms))
    };
    later(1).passes();
    later(1_100).breaks(&without_signal);
    // a look of the finale is about all lanes
    let finale = interrupted(Story::blocking()).finale();
    finale.value(Server, Op::Inq, 0).while_us(500, 501).passes();
}

#[test_log::test]
fn the_last_holder_closes() {
    for op in [Op::Dup, Op::Fork] {
        let held = || Story::new().value(Client, op, 0).close(Client);
        held().send(Client, 5).recv(Server, 9, 0..5).close(Client).eof(Server).passes();
        held().eof(Server).breaks(&[(Invariant::EarlyEof, "no-fin")]);
        let aborted = || Story::new().value(Client, op, 0).abort(Client);
        aborted().close(Client).recv_fails(Server, Errno::ECONNRESET).passes();
        aborted().close(Client).eof(Server).breaks(&[(Invariant::Reset, "eof-instead-of-reset")]);
        aborted()
            .recv_fails(Server, Errno::ECONNRESET)
            .breaks(&[(Invariant::Reset, "error-without-cause")]);
    }
    let lingers = || Story::new().set_up(Client, SockOption::Linger(0)).close(Client);
    lingers().recv_fails(Server, Errno::ECONNRESET).passes();
    lingers().eof(Server).breaks(&[(Invariant::Reset, "eof-instead-of-reset")]);
}

#[test_log::test]
fn a_severed_connection_resets_the_peer_and_moves_nothing_more() {
    for op in [Op::Destroy, Op::Disconnect] {
        let severed = || Story::new().send(Client, 10).recv(Server, 10, 0..10).value(Client, op, 0);
        severed().recv_fails(Server, Errno::ECONNRESET).passes();
        severed().recv_fails(Client, Errno(103)).passes();
        severed().eof(Server).breaks(&[(Invariant::Reset, "eof-instead-of-reset")]);
    }
    let disconnected = || Story::new().send(Server, 10).value(Client, Op::Disconnect, 0);
    disconnected().recv_fails(Client, Errno::ENOTCONN).passes();
    disconnected()
        .recv(Client, 10, 0..10)
        .breaks(&[(Invariant::Disconnect, "bytes-after-disconnect")]);
    disconnected().send(Client, 10).breaks(&[(Invariant::Disconnect, "accepted-after-disconnect")]);
}

#[test_log::test]
fn a_disconnect_succeeds_unless_there_is_tls() {
    let fails = |story: Story| story.call(Client, Op::Disconnect, Outcome::Errno(Errno(95)));
    fails(Story::new().value(Client, Op::Tls, 0)).passes();
    fails(Story::new()).breaks(&[(Invariant::Disconnect, "disconnect-fails")]);
    let gone = Story::new().abort(Server).value(Client, Op::Disconnect, 0);
    gone.value(Client, Op::Disconnect, 0).passes();
}

#[test_log::test]
fn a_call_that_waits_sleeps() {
    let waits = |busy| {
        Story::blocking()
            .set_up(Server, SockOption::RcvTimeo(500))
            .recv_fails(Server, Errno::EAGAIN)
            .lasting_ms(501)
            .busy_ms(busy)
    };
    let burns = [(Invariant::Spin, "burns-cpu")];
    waits(20).passes();
    waits(450).breaks(&burns);
    waits(450).set_up(Server, SockOption::BusyPoll(50)).breaks(&burns);
    waits(450).set_up(Server, SockOption::BusyPoll(400_000)).passes();
    // with a short time limit it is the host that made it last
    let late = |limit, busy| {
        let story = Story::blocking().set_up(Server, SockOption::RcvTimeo(limit));
        story.recv_fails(Server, Errno::EAGAIN).lasting_ms(400).busy_ms(busy)
    };
    late(100, 400).passes();
    late(400, 400).breaks(&burns);
    late(100, 400).interrupted().breaks(&burns);
    // it may have had its work to do while the host took the processor away
    let works =
        || Story::blocking().send(Client, 5).recv(Server, 100, 0..5).lasting_ms(500).busy_ms(450);
    works().passes();
    works().interrupted().breaks(&burns);
}

#[test_log::test]
fn changes_of_pairing_and_pauses_disturb_nothing() {
    for op in [Op::Unhash, Op::Rehash, Op::Detach, Op::Tls, Op::Repair, Op::Pause(10)] {
        let changed = |outcome| {
            Story::new().send(Client, 10).call(Server, op, outcome).recv(Server, 10, 0..10)
        };
        changed(Outcome::Value(0)).passes();
        changed(Outcome::Errno(Errno(16))).passes();
    }
    let mark = |value| Story::new().send(Client, 10).value(Server, Op::AtMark, value);
    mark(0).passes();
    mark(1).breaks(&[(Invariant::Oob, "mark-without-urgent")]);
    let inline = |outcome| {
        Story::new()
            .set_up(Server, SockOption::OobInline(true))
            .sent(Client, 10, SendFlags::OOB, Outcome::Value(10))
            .received(Server, 1, RecvFlags::OOB, outcome)
            .recv(Server, 10, 0..9)
            .recv(Server, 10, 9..10)
    };
    inline(Outcome::Errno(Errno::EINVAL)).passes();
}
