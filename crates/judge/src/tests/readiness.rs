use scenario::history::{Errno, Outcome};
use scenario::{How, Invariant, Op, Ready, RecvFlags, SendFlags, SockOption};

use super::story::{Client, Server, Story};

const OPEN: Ready = Ready::OUT.union(Ready::WRNORM);
const INPUT: Ready = OPEN.union(Ready::IN).union(Ready::RDNORM);
const EOF: Ready = INPUT.union(Ready::RDHUP);
const RESET: Ready = EOF.union(Ready::HUP).union(Ready::ERR);

fn one(bits: Ready, diagnosis: &'static str, story: Story) {
    story.poll(Server, bits).breaks(&[(Invariant::Readiness, diagnosis)]);
}

#[test_log::test]
fn in_agrees_with_what_is_deliverable() {
    Story::new().poll(Server, OPEN).passes();
    let sent = || Story::new().send(Client, 100);
    sent().poll(Server, INPUT).recv(Server, 100, 0..100).poll(Server, OPEN).passes();
    sent().poll(Server, OPEN).outq_was(100).passes();
    sent()
        .poll(Server, OPEN)
        .outq_was(0)
        .breaks(&[(Invariant::Readiness, "no-in-with-bytes-deliverable")]);
    one(INPUT, "in-with-nothing-to-read", Story::new());
    one(INPUT, "in-with-nothing-to-read", sent().recv(Server, 100, 0..100));
    // a FIN that arrives just then
    let ends = || Story::new().value(Client, Op::Shutdown(How::Wr), 0);
    ends().poll(Server, INPUT).passes();
    one(INPUT, "in-with-nothing-to-read", Story::new().value(Server, Op::Shutdown(How::Wr), 0));
    one(INPUT - Ready::RDNORM, "in-and-rdnorm-differ", sent());
    sent()
        .poll(Server, INPUT)
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::Readiness, "in-then-eagain")]);
}

#[test_log::test]
fn in_waits_for_rcvlowat() {
    let low = |count| Story::new().set_up(Server, SockOption::RcvLowat(50)).send(Client, count);
    low(50).poll(Server, INPUT).passes();
    low(49).poll(Server, OPEN).outq_was(0).passes();
    low(49).poll(Server, INPUT).breaks(&[(Invariant::Rcvlowat, "in-below-lowat")]);
    low(49).value(Server, Op::Set(SockOption::RcvBuf(4096)), 0).poll(Server, INPUT).passes();
}

#[test_log::test]
fn out_means_that_a_send_goes_through() {
    let none = SendFlags::empty();
    Story::new().poll(Server, OPEN).sent(Server, 9, none, Outcome::Value(9)).passes();
    Story::new()
        .poll(Server, OPEN)
        .sent(Server, 9, none, Outcome::Errno(Errno::EAGAIN))
        .breaks(&[(Invariant::Readiness, "out-then-eagain")]);
    one(Ready::empty(), "no-out-with-room", Story::new());
    Story::new().send(Server, 100).poll(Server, Ready::empty()).passes();
    one(
        Ready::empty(),
        "no-out-with-room",
        Story::new().send(Server, 100).value(Server, Op::Outq, 0),
    );
    one(Ready::empty(), "no-out-after-end", Story::new().shutdown(Server, How::Wr));
    one(Ready::OUT, "out-and-wrnorm-differ", Story::new());
}

#[test_log::test]
fn the_ends_show_when_they_are_there() {
    let half = || Story::new().shutdown(Client, How::Wr);
    half().poll(Server, OPEN).outq_was(1).passes();
    half().poll(Server, EOF).eof(Server).passes();
    half().poll(Server, OPEN).outq_was(0).breaks(&[(Invariant::Readiness, "no-rdhup")]);
    one(EOF, "rdhup-without-fin", Story::new());
    one(EOF | Ready::HUP, "hup-while-open", half());
    let both = || half().shutdown(Server, How::Wr);
    both().poll(Server, EOF | Ready::HUP).passes();
    both().poll(Server, EOF).outq_was(0).breaks(&[(Invariant::Readiness, "no-hup")]);
    one(EOF - Ready::IN - Ready::RDNORM, "rdhup-without-in", half());
    Story::new().shutdown(Server, How::Rd).poll(Server, EOF).passes();
    one(OPEN, "no-rdhup", Story::new().shutdown(Server, How::Rd));
}

#[test_log::test]
fn err_is_the_pending_error() {
    let aborted = || Story::new().abort(Client);
    aborted().poll(Server, OPEN).passes();
    aborted().poll(Server, RESET).poll(Server, RESET).value(Server, Op::SoError, 104).passes();
    one(OPEN | Ready::ERR, "err-without-cause", Story::new());
    aborted()
        .poll(Server, RESET)
        .poll(Server, RESET - Ready::ERR)
        .breaks(&[(Invariant::ResetOnce, "error-vanished")]);
    aborted().poll(Server, EOF | Ready::HUP).breaks(&[(Invariant::Reset, "hup-without-err")]);
    aborted()
        .poll(Server, RESET)
        .value(Server, Op::SoError, 104)
        .poll(Server, RESET)
        .breaks(&[(Invariant::ResetOnce, "err-after-report")]);
}

#[test_log::test]
fn pri_needs_urgent_data() {
    Story::new().poll(Server, OPEN | Ready::PRI).breaks(&[(Invariant::Oob, "pri-without-urgent")]);
    Story::new()
        .sent(Client, 5, SendFlags::OOB, Outcome::Value(5))
        .poll(Server, INPUT | Ready::PRI)
        .passes();
}

#[test_log::test]
fn inq_counts_what_can_be_received() {
    let inq =
        |value, outq| Story::new().send(Client, 100).value(Server, Op::Inq, value).outq_was(outq);
    inq(100, 0).passes();
    inq(40, 60).recv(Server, 100, 0..40).passes();
    inq(0, 0).breaks(&[(Invariant::Inq, "less-than-deliverable")]);
    inq(101, 0).breaks(&[(Invariant::Inq, "more-than-accepted")]);
    inq(40, 100)
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::Inq, "counted-bytes-not-deliverable")]);
    Story::new()
        .call(Server, Op::Inq, Outcome::Errno(Errno::EINVAL))
        .breaks(&[(Invariant::Inq, "fails")]);
}

#[test_log::test]
fn outq_counts_what_is_not_acknowledged() {
    let outq = |first, second| {
        Story::new().send(Client, 100).value(Client, Op::Outq, first).value(
            Client,
            Op::Outq,
            second,
        )
    };
    outq(100, 0).passes();
    outq(101, 0).breaks(&[(Invariant::Outq, "more-than-unacknowledged")]);
    outq(0, 1).breaks(&[(Invariant::Outq, "more-than-unacknowledged")]);
    Story::new().shutdown(Client, How::Wr).value(Client, Op::Outq, 1).passes();
    let closed = |value| Story::new().close(Server).send(Client, 10).value(Client, Op::Outq, value);
    closed(10).passes();
    closed(0).breaks(&[(Invariant::Outq, "acknowledged-by-a-closed-peer")]);
    Story::new()
        .call(Server, Op::Outq, Outcome::Errno(Errno::EINVAL))
        .breaks(&[(Invariant::Outq, "fails")]);
}

#[test_log::test]
fn a_receive_may_be_interleaved_with_the_flags_of_others() {
    Story::new()
        .send(Client, 100)
        .got(
            Server,
            100,
            RecvFlags::DONTWAIT | RecvFlags::PEEK,
            vec![super::story::bytes(Client, 0..100)],
        )
        .poll(Server, INPUT)
        .value(Server, Op::Inq, 100)
        .recv(Server, 100, 0..100)
        .passes();
}

#[test_log::test]
fn outq_counts_what_can_be_unacknowledged() {
    let more = [(Invariant::Outq, "more-than-unacknowledged")];
    let outq = |story: Story, value| story.value(Client, Op::Outq, value);
    // the FIN counts as a byte until it is acknowledged, and then never again
    let ended = || Story::new().send(Client, 9).shutdown(Client, How::Wr);
    outq(ended(), 10).passes();
    outq(outq(ended(), 1), 1).passes();
    outq(outq(ended(), 0), 0).passes();
    outq(outq(ended(), 0), 1).breaks(&more);
    outq(ended().recv(Server, 9, 0..9).outq_was(0), 1).breaks(&more);
    // two urgent bytes beside each other: where the reader is nobody knows, but how much was accepted
    let urgent = |story: Story| story.sent(Client, 5, SendFlags::OOB, Outcome::Value(5));
    let both = || urgent(urgent(Story::new()).lasting_ms(1)).second().while_us(500, 600);
    outq(both(), 10).passes();
    outq(both(), 11).breaks(&more);
}
