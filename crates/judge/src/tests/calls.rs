use scenario::history::{Errno, Outcome};
use scenario::payload::Run;
use scenario::verdict::Doubt;
use scenario::{
    Buffer, By, Endpoint, Expect, How, Invariant, Op, Ready, RecvFlags, SendFlags, SockOption,
    Verdict,
};

use super::story::{Client, Server, Story, bytes, raw};

const NONE: RecvFlags = RecvFlags::empty();

fn failed(errno: Errno) -> Outcome {
    Outcome::Errno(errno)
}

#[test_log::test]
fn send_returns_one_to_len() {
    let plain = SendFlags::empty();
    let sent = |len, count| Story::new().sent(Client, len, plain, Outcome::Value(count));
    sent(100, 1).passes();
    sent(0, 0).passes();
    sent(100, 0).breaks(&[(Invariant::SendResult, "zero-for-nonzero")]);
    sent(100, 101).breaks(&[(Invariant::SendResult, "more-than-asked")]);
    Story::new()
        .sent(Client, 5, plain, failed(Errno(105)))
        .breaks(&[(Invariant::SendResult, "unexpected-errno")]);
    Story::new()
        .sent(Client, 5, plain, failed(Errno::EPIPE))
        .breaks(&[(Invariant::SendResult, "epipe-while-open")]);
    Story::new().send(Client, 9).sent(Client, 5, plain, failed(Errno::EAGAIN)).passes();
    Story::blocking()
        .sent(Client, 5, plain, failed(Errno::EAGAIN))
        .breaks(&[(Invariant::SendResult, "eagain-while-blocking")]);
}

#[test_log::test]
fn a_send_that_may_block_is_short_only_for_a_reason() {
    let plain = SendFlags::empty();
    let sent = |story: Story, flags, count| story.sent(Client, 100, flags, Outcome::Value(count));
    let short = [(Invariant::SendResult, "short-without-reason")];
    sent(Story::blocking(), plain, 100).passes();
    sent(Story::blocking(), plain, 40).breaks(&short);
    sent(Story::blocking(), SendFlags::MORE, 40).breaks(&short);
    sent(Story::new(), plain, 40).passes();
    sent(Story::blocking(), SendFlags::DONTWAIT, 40).passes();
    sent(Story::blocking(), SendFlags::ZEROCOPY, 40).passes();
    sent(Story::blocking(), plain, 40).interrupted().passes();
    sent(Story::blocking(), plain, 40).lasting_ms(5_000).passes();
    sent(Story::blocking().set_up(Client, SockOption::SndTimeo(9)), plain, 40).passes();
    // the first of its bytes are answered by a reset
    sent(Story::blocking().close(Server), plain, 40).passes();
    let torn = Op::Send { len: 100, flags: plain, buffer: Buffer::Torn(40), by: By::Call };
    Story::blocking().call(Client, torn, Outcome::Value(40)).passes();
    // the same beside other calls
    let beside = |op| {
        let waits = sent(Story::blocking(), plain, 40).lasting_ms(1);
        waits.value(Client, op, 0).second().while_us(500, 501)
    };
    beside(Op::Inq).breaks(&short);
    beside(Op::Shutdown(How::Wr)).passes();
    beside(Op::Set(SockOption::SndTimeo(9))).passes();
    beside(Op::Signal { lane: 0, restart: true }).passes();
}

#[test_log::test]
fn an_empty_send_buffer_has_room() {
    let full = |story: Story, flags| story.sent(Client, 5, flags, failed(Errno::EAGAIN));
    let plain = SendFlags::empty();
    let empty = [(Invariant::SendResult, "eagain-with-room")];
    let sent = || Story::new().send(Client, 9);
    full(Story::new(), plain).breaks(&empty);
    full(sent().value(Client, Op::Outq, 0), plain).breaks(&empty);
    full(sent().recv(Server, 9, 0..9).outq_was(0), plain).breaks(&empty);
    full(sent().value(Client, Op::Outq, 1), plain).passes();
    // what was received may not be acknowledged yet
    full(sent().recv(Server, 9, 0..9).outq_was(9), plain).passes();
    // memory may be short for much, and for the notification of MSG_ZEROCOPY
    let much = Story::new().send(Client, 1 << 20).value(Client, Op::Outq, 0);
    full(much, plain).passes();
    full(Story::new(), SendFlags::ZEROCOPY).passes();
}

#[test_log::test]
fn send_reads_only_what_is_mapped() {
    let torn = |buffer, outcome| {
        let flags = SendFlags::empty();
        Story::new().call(Client, Op::Send { len: 100, flags, buffer, by: By::Call }, outcome)
    };
    torn(Buffer::Torn(50), Outcome::Value(50)).passes();
    torn(Buffer::Unmapped, failed(Errno::EFAULT)).passes();
    torn(Buffer::Torn(50), Outcome::Value(51))
        .breaks(&[(Invariant::SendResult, "accepted-unreadable")]);
    torn(Buffer::Mapped, failed(Errno::EFAULT))
        .breaks(&[(Invariant::SendResult, "efault-on-readable")]);
}

#[test_log::test]
fn send_after_shut_wr_is_epipe_with_sigpipe() {
    let after =
        |flags, outcome| Story::new().shutdown(Client, How::Wr).sent(Client, 5, flags, outcome);
    let (plain, quiet) = (SendFlags::empty(), SendFlags::NOSIGNAL);
    after(plain, failed(Errno::EPIPE)).passes();
    after(quiet, failed(Errno::EPIPE)).passes();
    after(plain, failed(Errno::EPIPE))
        .signalled(false)
        .breaks(&[(Invariant::SendResult, "no-sigpipe")]);
    after(quiet, failed(Errno::EPIPE))
        .signalled(true)
        .breaks(&[(Invariant::SendResult, "unexpected-sigpipe")]);
    after(plain, Outcome::Value(5)).breaks(&[(Invariant::SendResult, "accepted-after-shut-wr")]);
    after(plain, failed(Errno::EAGAIN)).breaks(&[(Invariant::SendResult, "eagain-after-shut-wr")]);
    Story::new()
        .shutdown(Client, How::Wr)
        .call(
            Client,
            Op::Send { len: 5, flags: plain, buffer: Buffer::Unmapped, by: By::Call },
            failed(Errno::EFAULT),
        )
        .breaks(&[(Invariant::SendResult, "efault-after-shut-wr")]);
}

#[test_log::test]
fn a_closed_peer_answers_with_a_reset() {
    let dead = || Story::new().close(Server).send(Client, 10);
    dead().sent(Client, 5, SendFlags::empty(), failed(Errno::EPIPE)).passes();
    dead()
        .sent(Client, 5, SendFlags::empty(), failed(Errno::EPIPE))
        .send(Client, 5)
        .breaks(&[(Invariant::SendToDead, "accepted-after-reset")]);
    dead()
        .sent(Client, 5, SendFlags::empty(), failed(Errno::EPIPE))
        .sent(Client, 5, SendFlags::empty(), failed(Errno::EAGAIN))
        .breaks(&[(Invariant::SendToDead, "eagain-after-reset")]);
    let end = || dead().finale().eof(Client).value(Client, Op::SoError, 0);
    end().traffic(Client, 10, 10).passes();
    end().traffic(Client, 10, 0).breaks(&[(Invariant::SendToDead, "swallowed")]);
}

#[test_log::test]
fn eagain_only_when_nothing_is_deliverable() {
    let waiting =
        |outq| Story::new().send(Client, 100).recv_fails(Server, Errno::EAGAIN).outq_was(outq);
    waiting(100).passes();
    waiting(40).breaks(&[(Invariant::RecvResult, "eagain-with-bytes-deliverable")]);
    Story::blocking()
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::RecvResult, "eagain-while-blocking")]);
    Story::new()
        .recv_fails(Server, Errno(110))
        .breaks(&[(Invariant::RecvResult, "unexpected-errno")]);
}

#[test_log::test]
fn recv_writes_what_it_returns() {
    let story = || Story::new().send(Client, 100).recv(Server, 100, 0..50);
    story().passes();
    story().touching(80).breaks(&[(Invariant::RecvResult, "wrote-beyond-count")]);
    Story::new()
        .send(Client, 100)
        .recv(Server, 10, 0..20)
        .breaks(&[(Invariant::RecvResult, "more-than-asked")]);
    // io_uring peeks at the same bytes again and adds them up
    let by_uring = |flags| {
        let op = Op::Recv { len: 25, flags, buffer: Buffer::Mapped, by: By::Uring };
        let seen = Outcome::Received { count: 30, data: Vec::new(), left: None };
        Story::blocking().send(Client, 40).call(Server, op, seen)
    };
    let peek = RecvFlags::PEEK | RecvFlags::TRUNC;
    by_uring(peek | RecvFlags::WAITALL).passes();
    by_uring(peek).breaks(&[(Invariant::Peek, "more-than-asked")]);
    // and takes no notice of what it took with MSG_TRUNC
    by_uring(RecvFlags::TRUNC | RecvFlags::WAITALL).recv(Server, 10, 30..40).passes();
    by_uring(RecvFlags::TRUNC).breaks(&[(Invariant::Trunc, "more-than-asked")]);
}

#[test_log::test]
fn peek_sees_what_a_receive_would_and_consumes_nothing() {
    let peek = |range| Story::new().send(Client, 100).peek(Server, 50, range);
    peek(0..50).recv(Server, 100, 0..100).passes();
    peek(20..50).breaks(&[(Invariant::Peek, "later-bytes-first")]);
    peek(0..50).recv(Server, 50, 50..100).breaks(&[(Invariant::Peek, "consumed")]);
    peek(0..50)
        .recv_fails(Server, Errno::EAGAIN)
        .breaks(&[(Invariant::RecvResult, "eagain-with-bytes-deliverable")]);
    peek(90..120).breaks(&[(Invariant::Peek, "later-bytes-first")]);
    Story::new()
        .send(Client, 20)
        .peek(Server, 50, 0..30)
        .breaks(&[(Invariant::Peek, "never-accepted")]);
    Story::new()
        .send(Client, 100)
        .recv(Server, 50, 0..50)
        .peek(Server, 50, 0..50)
        .breaks(&[(Invariant::Peek, "earlier-bytes-again")]);
    Story::new()
        .send(Client, 100)
        .got(Server, 50, RecvFlags::PEEK, vec![Run::Raw(vec![0; 50])])
        .breaks(&[(Invariant::Peek, "wrong-bytes")]);
    Story::new()
        .send(Client, 100)
        .received(Server, 50, RecvFlags::PEEK, failed(Errno::EAGAIN))
        .outq_was(0)
        .breaks(&[(Invariant::Peek, "eagain-with-bytes-deliverable")]);
}

#[test_log::test]
fn rfc_v1_tolerates_a_blind_peek() {
    let story = Story::new()
        .send(Client, 100)
        .received(Server, 50, RecvFlags::PEEK, failed(Errno::EAGAIN))
        .outq_was(0);
    let judgement =
        crate::judge_in_full(&story.scenario, &story.history, &crate::Contract::rfc_v1());
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(judgement.exempted[0].0, "peek-blind");
}

#[test_log::test]
fn waitall_is_short_only_for_a_reason() {
    let all = |story: Story, range| {
        story.send(Client, 100).got(Server, 80, RecvFlags::WAITALL, vec![bytes(Client, range)])
    };
    all(Story::new(), 0..40).outq_was(60).passes();
    all(Story::new(), 0..40)
        .outq_was(0)
        .breaks(&[(Invariant::Waitall, "short-with-bytes-deliverable")]);
    all(Story::blocking(), 0..80).passes();
    all(Story::blocking(), 0..40).breaks(&[(Invariant::Waitall, "short-without-reason")]);
    all(Story::blocking(), 0..40).lasting_ms(5_000).passes();
}

#[test_log::test]
fn rcvlowat_holds_for_blocking_receives() {
    let low = |range| {
        Story::blocking()
            .set_up(Server, SockOption::RcvLowat(60))
            .send(Client, 100)
            .recv(Server, 80, range)
    };
    low(0..60).passes();
    low(0..40).breaks(&[(Invariant::Rcvlowat, "blocking-recv-short")]);
}

#[test_log::test]
fn trunc_counts_consumes_and_writes_nothing() {
    let trunc = |count| {
        let outcome = Outcome::Received { count, data: vec![], left: None };
        Story::new().send(Client, 100).received(Server, 60, RecvFlags::TRUNC, outcome)
    };
    trunc(60).recv(Server, 100, 60..100).passes();
    trunc(60).recv(Server, 100, 0..100).breaks(&[(Invariant::Trunc, "did-not-consume")]);
    // it may have taken later ones
    let corked = || trunc(60).set_up(Client, SockOption::Cork(true));
    corked().recv(Server, 100, 60..100).passes();
    corked().recv(Server, 100, 0..60).breaks(&[(Invariant::Cork, "held-bytes-overtaken")]);
    trunc(60).touching(60).breaks(&[(Invariant::Trunc, "wrote-to-buffer")]);
    trunc(60)
        .recv(Server, 60, 60..100)
        .received(
            Server,
            60,
            RecvFlags::TRUNC,
            Outcome::Received { count: 1, data: vec![], left: None },
        )
        .breaks(&[(Invariant::Trunc, "more-than-accepted")]);
    Story::new()
        .send(Client, 9)
        .received(Server, 60, RecvFlags::TRUNC, failed(Errno::EAGAIN))
        .outq_was(0)
        .breaks(&[(Invariant::Trunc, "eagain-with-bytes-deliverable")]);
}

#[test_log::test]
fn a_zero_length_call_returns_at_once() {
    let zero =
        |outcome| Story::new().send(Client, 9).received(Server, 0, NONE, outcome).outq_was(0);
    zero(Outcome::Received { count: 0, data: vec![], left: None }).recv(Server, 9, 0..9).passes();
    zero(failed(Errno::EAGAIN)).breaks(&[(Invariant::ZeroLength, "eagain-with-bytes-deliverable")]);
    Story::new().received(Server, 0, NONE, failed(Errno::EAGAIN)).passes();
    Story::new()
        .sent(Client, 0, SendFlags::empty(), failed(Errno::EAGAIN))
        .breaks(&[(Invariant::ZeroLength, "send-fails")]);
}

#[test_log::test]
fn efault_exactly_for_bytes_into_unwritable_memory() {
    let into = |buffer, outcome| {
        Story::new().send(Client, 100).into(Server, 100, buffer, outcome).outq_was(0)
    };
    let fault = failed(Errno::EFAULT);
    into(Buffer::Unmapped, fault.clone()).recv(Server, 100, 0..100).passes();
    into(Buffer::Unmapped, fault.clone())
        .recv(Server, 50, 50..100)
        .breaks(&[(Invariant::Efault, "bytes-lost")]);
    into(Buffer::Unmapped, failed(Errno::EAGAIN))
        .breaks(&[(Invariant::Efault, "eagain-with-bytes-deliverable")]);
    into(Buffer::Unmapped, Outcome::Received { count: 0, data: vec![], left: None })
        .breaks(&[(Invariant::Efault, "eof-with-bytes-deliverable")]);
    let half = Outcome::Received { count: 50, data: vec![bytes(Client, 0..50)], left: None };
    into(Buffer::Torn(50), half.clone()).passes();
    into(Buffer::Torn(40), half).breaks(&[(Invariant::Efault, "bytes-into-unmapped")]);
    into(Buffer::Mapped, fault.clone()).breaks(&[(Invariant::RecvResult, "efault-on-writable")]);
    Story::new()
        .into(Server, 100, Buffer::Unmapped, fault)
        .breaks(&[(Invariant::Efault, "efault-with-nothing-to-write")]);
}

#[test_log::test]
fn oob_gives_the_urgent_byte_only() {
    let oob = |data| {
        Story::new().sent(Client, 10, SendFlags::OOB, Outcome::Value(10)).got(
            Server,
            1,
            RecvFlags::OOB,
            vec![data],
        )
    };
    oob(raw(Client, 9..10)).recv(Server, 10, 0..9).passes();
    oob(raw(Client, 0..1)).breaks(&[(Invariant::Oob, "ordinary-bytes-as-urgent")]);
    oob(raw(Client, 8..10)).breaks(&[(Invariant::Oob, "ordinary-bytes-as-urgent")]);
    let ordinary = |outcome| {
        Story::new().send(Client, 10).received(Server, 5, RecvFlags::OOB, outcome).outq_was(0)
    };
    ordinary(failed(Errno::EINVAL)).passes();
    ordinary(failed(Errno::EAGAIN)).breaks(&[(Invariant::Oob, "eagain-for-urgent")]);
    ordinary(failed(Errno::ECONNRESET)).breaks(&[(Invariant::Oob, "unexpected-errno")]);
    ordinary(Outcome::Received { count: 0, data: vec![], left: None })
        .breaks(&[(Invariant::Oob, "eof-for-urgent")]);
    let taken =
        || ordinary(Outcome::Received { count: 5, data: vec![bytes(Client, 0..5)], left: None });
    let as_urgent = [(Invariant::Oob, "ordinary-bytes-as-urgent")];
    // io_uring tries again, and peeks at the same byte over and over
    let over_and_over = |data: Vec<Run>, flags| {
        let flags = RecvFlags::OOB | RecvFlags::WAITALL | flags;
        let recv = Op::Recv { len: 100, flags, buffer: Buffer::Mapped, by: By::Uring };
        Story::new().sent(Client, 10, SendFlags::OOB, Outcome::Value(10)).call(
            Server,
            recv,
            Outcome::Received { count: 2, data, left: None },
        )
    };
    let twice = || vec![raw(Client, 9..10), raw(Client, 9..10)];
    over_and_over(twice(), RecvFlags::PEEK).passes();
    over_and_over(twice(), RecvFlags::empty()).breaks(&as_urgent);
    over_and_over(vec![raw(Client, 9..10), raw(Client, 0..1)], RecvFlags::PEEK).breaks(&as_urgent);
    taken().breaks(&as_urgent);
    // that these are gone then is no loss of its own
    taken().recv(Server, 10, 5..10).breaks(&as_urgent);
    let received = Story::new().send(Client, 10).recv(Server, 10, 5..10);
    received.breaks(&[(Invariant::Loss, "skipped")]);
}

#[test_log::test]
fn an_urgent_byte_that_arrived_is_there() {
    let urgent = || Story::new().sent(Client, 10, SendFlags::OOB, Outcome::Value(10));
    let missing = [(Invariant::Oob, "urgent-byte-missing")];
    let oob = |story: Story, outcome| story.received(Server, 1, RecvFlags::OOB, outcome);
    oob(urgent(), failed(Errno::EINVAL)).outq_was(0).breaks(&missing);
    oob(urgent(), failed(Errno::EAGAIN)).outq_was(0).breaks(&missing);
    // it may be on its way
    oob(urgent(), failed(Errno::EINVAL)).outq_was(10).passes();
    // it was read before, or moved on behind
    let twice =
        oob(urgent(), Outcome::Received { count: 1, data: vec![raw(Client, 9..10)], left: None });
    oob(twice, failed(Errno::EINVAL)).outq_was(0).passes();
    let behind = urgent().recv(Server, 100, 0..9).recv_fails(Server, Errno::EAGAIN);
    oob(behind, failed(Errno::EINVAL)).outq_was(0).passes();
    let readable = Ready::IN | Ready::RDNORM | Ready::OUT | Ready::WRNORM;
    urgent().poll(Server, readable | Ready::PRI).outq_was(0).passes();
    urgent().poll(Server, readable).outq_was(0).breaks(&[(Invariant::Oob, "no-pri-with-urgent")]);
    urgent().poll(Server, readable).outq_was(10).passes();
}

#[test_log::test]
fn inline_there_is_no_urgent_byte_apart() {
    let set = |story: Story, on| story.value(Server, Op::Set(SockOption::OobInline(on)), 0);
    let sent = || set(Story::new().sent(Client, 10, SendFlags::OOB, Outcome::Value(10)), true);
    let oob = |story: Story, outcome| story.received(Server, 1, RecvFlags::OOB, outcome);
    let apart = [(Invariant::Oob, "urgent-although-inline")];
    let byte = || Outcome::Received { count: 1, data: vec![raw(Client, 9..10)], left: None };
    oob(sent(), failed(Errno::EINVAL)).outq_was(0).passes();
    oob(sent(), byte()).outq_was(0).breaks(&apart);
    oob(sent(), failed(Errno::ENOTCONN)).outq_was(0).breaks(&apart);
    oob(set(sent(), false), byte()).outq_was(0).passes();
    // a socket in a sockhash looks whether there is anything first
    oob(sent(), failed(Errno::EAGAIN)).outq_was(10).passes();
    oob(sent(), failed(Errno::EAGAIN)).outq_was(0).breaks(&apart);
}

#[test_log::test]
fn a_receive_stops_at_the_mark() {
    let urgent = || {
        let sent = Story::new().sent(Client, 10, SendFlags::OOB, Outcome::Value(10));
        sent.send(Client, 20)
    };
    let both = || vec![bytes(Client, 0..9), bytes(Client, 10..30)];
    let over = [(Invariant::Oob, "reads-over-the-mark")];
    urgent().recv(Server, 100, 0..9).recv(Server, 100, 10..30).passes();
    urgent().recv(Server, 100, 0..12).breaks(&over);
    urgent().got(Server, 100, NONE, both()).breaks(&over);
    urgent().got(Server, 100, RecvFlags::PEEK, both()).breaks(&over);
    let inline = || urgent().set_up(Server, SockOption::OobInline(true));
    inline().recv(Server, 100, 0..9).recv(Server, 100, 9..30).passes();
    inline().recv(Server, 100, 0..30).breaks(&over);
    // a later urgent byte moves the mark
    let again = urgent().sent(Client, 1, SendFlags::OOB, Outcome::Value(1));
    again.recv(Server, 100, 0..30).passes();
    // a batch is several receives
    let batch = Op::Recv { len: 100, flags: NONE, buffer: Buffer::Mapped, by: By::Batch(2) };
    let taken = Outcome::Received { count: 29, data: both(), left: None };
    urgent().call(Server, batch, taken).passes();
}

#[test_log::test]
fn the_mark_is_at_the_urgent_byte() {
    let urgent = || Story::new().sent(Client, 10, SendFlags::OOB, Outcome::Value(10));
    let read = |end| urgent().send(Client, 5).recv(Server, u32::try_from(end).unwrap(), 0..end);
    let mark = |story: Story, value| story.value(Server, Op::AtMark, value);
    mark(urgent(), 0).passes();
    mark(urgent(), 1).breaks(&[(Invariant::Oob, "mark-elsewhere")]);
    mark(read(8), 1).breaks(&[(Invariant::Oob, "mark-elsewhere")]);
    mark(read(9), 1).passes();
    mark(read(9).recv(Server, 9, 10..15), 1).breaks(&[(Invariant::Oob, "mark-elsewhere")]);
    let missing = [(Invariant::Oob, "mark-missing")];
    mark(read(9), 0).passes();
    mark(read(9), 0).outq_was(5).breaks(&missing);
    let data = vec![raw(Client, 9..10)];
    mark(read(9).got(Server, 1, RecvFlags::OOB, data), 0).outq_was(0).breaks(&missing);
    // it may have moved on behind the urgent byte, even if it returned nothing
    mark(read(9).recv_fails(Server, Errno::EAGAIN), 0).outq_was(0).passes();
    let recv = Op::Recv { len: 9, flags: NONE, buffer: Buffer::Mapped, by: By::Call };
    let first =
        Story::blocking().sent(Client, 1, SendFlags::OOB | SendFlags::DONTWAIT, Outcome::Value(1));
    let slept = first.call(Server, recv, Outcome::Stuck);
    let slept = mark(slept, 0).outq_was(0);
    assert_eq!(slept.verdict(), Verdict::Inconclusive(Doubt::CallStillWaiting));
    let oob = slept.received(Server, 1, RecvFlags::OOB, failed(Errno::EINVAL));
    assert_eq!(oob.verdict(), Verdict::Inconclusive(Doubt::CallStillWaiting));
}

#[test_log::test]
fn siocinq_counts_up_to_the_mark() {
    let urgent = || Story::new().sent(Client, 10, SendFlags::OOB, Outcome::Value(10));
    let counted = |story: Story, value| story.send(Client, 5).value(Server, Op::Inq, value);
    let beyond = [(Invariant::Inq, "counts-beyond-the-mark")];
    counted(urgent(), 9).passes();
    counted(urgent(), 10).breaks(&beyond);
    counted(urgent().recv(Server, 9, 0..9), 0).passes();
    counted(urgent().recv(Server, 9, 0..9), 1).breaks(&beyond);
    counted(urgent().set_up(Server, SockOption::OobInline(true)), 15).passes();
    counted(urgent().recv(Server, 99, 0..9).recv_fails(Server, Errno::EAGAIN), 5).passes();
}

#[test_log::test]
fn what_cannot_sleep_does_not() {
    let stuck = |story: Story, op| story.call(Server, op, Outcome::Stuck);
    let recv = |flags| Op::Recv { len: 100, flags, buffer: Buffer::Mapped, by: By::Call };
    let send =
        Op::Send { len: 100, flags: SendFlags::empty(), buffer: Buffer::Mapped, by: By::Call };
    stuck(Story::new(), recv(NONE)).breaks(&[(Invariant::Dontwait, "recv-slept")]);
    stuck(Story::blocking(), recv(RecvFlags::DONTWAIT))
        .breaks(&[(Invariant::Dontwait, "recv-slept")]);
    stuck(Story::new(), send).breaks(&[(Invariant::Dontwait, "send-slept")]);
    stuck(Story::blocking(), recv(RecvFlags::OOB))
        .breaks(&[(Invariant::Dontwait, "urgent-recv-slept")]);
    stuck(Story::new(), Op::Close).breaks(&[(Invariant::Hang, "call-did-not-return")]);
    let waiting = stuck(Story::blocking(), recv(NONE));
    assert_eq!(waiting.verdict(), Verdict::Inconclusive(Doubt::CallStillWaiting));
    stuck(Story::blocking().send(Client, 9), recv(NONE))
        .outq_was(0)
        .breaks(&[(Invariant::Hang, "recv-with-bytes-deliverable")]);
    let splice = Op::Recv { len: 5, flags: NONE, buffer: Buffer::Mapped, by: By::Splice };
    let spliced = |outq| stuck(Story::blocking().send(Client, 9), splice).outq_was(outq);
    assert_eq!(spliced(9).verdict(), Verdict::Inconclusive(Doubt::CallStillWaiting));
    spliced(0).breaks(&[(Invariant::SpliceFile, "sleeps-with-bytes-deliverable")]);
    stuck(Story::blocking().shutdown(Client, How::Wr), recv(NONE))
        .outq_was(0)
        .breaks(&[(Invariant::Hang, "recv-at-eof")]);
    stuck(Story::blocking().shutdown(Server, How::Wr), send)
        .breaks(&[(Invariant::Hang, "send-after-end")]);
    let reset = Ready::all() - Ready::PRI;
    stuck(
        Story::blocking().abort(Client).poll(Server, reset).value(Server, Op::SoError, 104),
        send,
    )
    .breaks(&[(Invariant::Hang, "send-after-end")]);
}

#[test_log::test]
fn what_returns_only_when_interrupted_was_not_woken() {
    let late = || Story::blocking().send(Client, 10).recv(Server, 100, 0..10).lasting_ms(900);
    late().outq_was(0).passes();
    late().interrupted().outq_was(10).passes();
    late().interrupted().outq_was(0).breaks(&[(Invariant::Hang, "recv-with-bytes-deliverable")]);
    let end = || Story::blocking().shutdown(Client, How::Wr).eof(Server).lasting_ms(900);
    end().outq_was(0).passes();
    end().outq_was(0).interrupted().breaks(&[(Invariant::Hang, "recv-at-eof")]);
}

#[test_log::test]
fn a_sender_is_held_back() {
    let fixed = |endpoint: Endpoint, option| {
        Story::new().set_up(Server, SockOption::RcvBuf(4096)).set_up(endpoint, option)
    };
    let much = |story: Story| story.send(Client, 1 << 20).send(Client, 1 << 20);
    much(fixed(Client, SockOption::SndBuf(4096)))
        .breaks(&[(Invariant::Backpressure, "more-than-the-buffers-hold")]);
    much(fixed(Server, SockOption::SndBuf(4096))).passes();
}

#[test_log::test]
fn the_scenario_may_say_what_it_expects() {
    let story = |expect| Story::new().value(Client, Op::Inq, 0).expecting(expect);
    story(Expect::Value(0)).passes();
    story(Expect::Value(1)).breaks(&[(Invariant::Inq, "differs-from-expected")]);
    story(Expect::Errno(Errno::EAGAIN)).breaks(&[(Invariant::Inq, "differs-from-expected")]);
    Story::new()
        .poll(Client, Ready::OUT | Ready::WRNORM)
        .expecting(Expect::Ready(Ready::empty()))
        .breaks(&[(Invariant::Readiness, "differs-from-expected")]);
}

#[test_log::test]
fn a_record_that_makes_no_sense_is_the_harness_fault() {
    let story = Story::new().value(Client, Op::Poll, 0);
    assert!(matches!(story.verdict(), Verdict::Error(_)));
    Story::new().call(Client, Op::Poll, Outcome::Closed).passes();
}
