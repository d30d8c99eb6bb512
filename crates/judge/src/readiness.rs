//! `readiness`, `rcvlowat`, `inq`, `outq`: what the socket says about itself.
//!
//! Sources: `tcp_poll`, `tcp_epollin_ready`, `tcp_inq`, `tcp_ioctl`.

use scenario::history::Outcome;
use scenario::{Endpoint, Invariant, Ready};

use crate::model::{Call, Ending, Model};
use crate::stream::Proof;
use crate::teardown;

/// `readiness`: `poll(2)` agrees with what the next call would do.
pub(crate) fn poll(model: &mut Model<'_>, call: Call<'_>) {
    let Outcome::Ready(bits) = call.record.outcome else {
        return;
    };
    ended(model, call, bits);
    errors(model, call, bits);
    output(model, call, bits);
    input(model, call, bits);
    learn(model, call.record.endpoint, bits);
}

/// `POLLRDHUP` is the end of the receiving side, `POLLHUP` that of both.
fn ended(model: &mut Model<'_>, call: Call<'_>, bits: Ready) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    let fin_possible = model.fin_possible(endpoint);
    let no_more = side.shut_rd || side.fin_known || side.dead;
    if no_more && !bits.contains(Ready::RDHUP) {
        let because = if side.shut_rd {
            "its receiving side is shut down"
        } else if side.dead {
            "the connection was reset"
        } else {
            "the peer's FIN has arrived"
        };
        model.blame(call, Invariant::Readiness, "no-rdhup", because);
    }
    if bits.contains(Ready::RDHUP) && !(side.shut_rd || fin_possible || side.exposed) {
        let because = "the peer has not ended its sending side";
        model.blame(call, Invariant::Readiness, "rdhup-without-fin", because);
    }
    let both = side.shut_wr && (side.shut_rd || side.fin_known);
    if (both || side.dead) && !bits.contains(Ready::HUP) {
        let because = "both directions have ended";
        model.blame(call, Invariant::Readiness, "no-hup", because);
    }
    let both_possible = side.shut_wr && (side.shut_rd || fin_possible);
    if bits.contains(Ready::HUP) && !both_possible && !side.exposed {
        let because = "not both directions have ended";
        model.blame(call, Invariant::Readiness, "hup-while-open", because);
    }
}

/// `POLLERR` is the pending error. `tcp_done_with_error` sets it before it ends both directions, and `tcp_poll`
/// looks at it last, so that a reset never shows as a hang-up alone.
fn errors(model: &mut Model<'_>, call: Call<'_>, bits: Ready) {
    let side = model.side(call.record.endpoint).clone();
    if bits.contains(Ready::ERR) {
        if side.zerocopy_sends > 0 {
            // a completion on the error queue shows as POLLERR, too
        } else if side.reported {
            let because = "an earlier call has returned the error, which clears it";
            model.blame(call, Invariant::ResetOnce, "err-after-report", because);
        } else if !side.exposed {
            let because = "the peer has had no reason to send a reset";
            model.blame(call, Invariant::Readiness, "err-without-cause", because);
        }
    } else if side.error_pending {
        let because = "an earlier poll reported POLLERR and no call has returned the error since";
        model.blame(call, Invariant::ResetOnce, "error-vanished", because);
    } else if let Some(ending) = side.reset_due
        && bits.contains(Ready::RDHUP)
        && !side.shut_rd
        && !side.reported
    {
        let invariant = match ending {
            Ending::CloseUnread => Invariant::CloseRst,
            Ending::Abort | Ending::Close => Invariant::Reset,
        };
        let because = "the peer reset the connection and never sent a FIN, which gives POLLERR";
        model.blame(call, invariant, "hup-without-err", because);
    }
}

/// `POLLOUT` comes after the end of the sending side, and while nothing is unacknowledged
/// (`__sk_stream_is_writeable`).
fn output(model: &mut Model<'_>, call: Call<'_>, bits: Ready) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint);
    let stream = model.outgoing(endpoint);
    if bits.contains(Ready::OUT) != bits.contains(Ready::WRNORM) {
        let because = "POLLOUT and POLLWRNORM come together";
        model.blame(call, Invariant::Readiness, "out-and-wrnorm-differ", because);
    } else if !bits.contains(Ready::OUT) {
        if side.shut_wr || side.dead {
            let because = "a send would fail at once";
            model.blame(call, Invariant::Readiness, "no-out-after-end", because);
        } else if stream.acked == stream.accepted && !stream.lost_track {
            let because = "every accepted byte is acknowledged, so that the send buffer is empty";
            model.blame(call, Invariant::Readiness, "no-out-with-room", because);
        }
    }
}

/// `POLLIN` comes with `SO_RCVLOWAT` bytes, and with fewer only under pressure for buffer space.
fn input(model: &mut Model<'_>, call: Call<'_>, bits: Ready) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint);
    let stream = model.incoming(endpoint);
    let lowat = u64::from(side.lowat);
    if stream.lost_track {
        return;
    }
    if bits.contains(Ready::PRI) && stream.urgent.is_empty() {
        let because = "no urgent byte was ever sent";
        model.blame(call, Invariant::Oob, "pri-without-urgent", because);
    } else if !bits.contains(Ready::PRI) && stream.urgent_waits() && !side.oob_inline {
        let because = "an urgent byte has arrived and was not received yet";
        model.blame(call, Invariant::Oob, "no-pri-with-urgent", because);
    } else if bits.contains(Ready::IN) != bits.contains(Ready::RDNORM) {
        let because = "POLLIN and POLLRDNORM come together";
        model.blame(call, Invariant::Readiness, "in-and-rdnorm-differ", because);
    } else if bits.contains(Ready::RDHUP) && !bits.contains(Ready::IN) {
        let because = "a receive would not block, and POLLRDHUP comes with POLLIN";
        model.blame(call, Invariant::Readiness, "rdhup-without-in", because);
    } else if !bits.contains(Ready::IN) && stream.deliverable() >= lowat {
        let because = format!(
            "bytes {}..{} were deliverable ({}) and SO_RCVLOWAT is {lowat}",
            stream.at,
            stream.known,
            stream.proof.text()
        );
        model.blame(call, Invariant::Readiness, "no-in-with-bytes-deliverable", &because);
    } else if bits.contains(Ready::IN) && !bits.contains(Ready::RDHUP) && !stream.broken {
        // Not for the end of the stream, so for bytes: tcp_poll reads sk_shutdown once. But it holds no lock, and a FIN
        // that arrives meanwhile counts as one byte before it is marked as the end (tcp_data_queue: tcp_queue_rcv before
        // tcp_fin).
        let fin = u64::from(model.fin_possible(endpoint) && !side.fin_known);
        let most = stream.unread() + fin;
        if most == 0 {
            let because = "every accepted byte was received already and no end is reported";
            model.blame(call, Invariant::Readiness, "in-with-nothing-to-read", because);
        } else if most < lowat && stream.urgent.is_empty() && roomy(model, endpoint) {
            let because = format!("at most {most} bytes were unread and SO_RCVLOWAT is {lowat}");
            model.blame(call, Invariant::Rcvlowat, "in-below-lowat", &because);
        }
    }
}

/// Whether the receive buffer certainly has plenty of room: `tcp_epollin_ready` reports fewer bytes than
/// `SO_RCVLOWAT` when the buffer is 7/8 full or the window is below a segment. With the default buffer
/// (128 KiB, 64 KiB window) a few small segments are far from either.
fn roomy(model: &Model<'_>, endpoint: Endpoint) -> bool {
    let stream = model.incoming(endpoint);
    model.side(endpoint).rcvbuf.is_none() && stream.accepted <= 16 << 10 && stream.sends <= 24
}

/// What a poll tells about the state.
pub(crate) fn learn(model: &mut Model<'_>, endpoint: Endpoint, bits: Ready) {
    let fin_possible = model.fin_possible(endpoint);
    let side = model.side(endpoint).clone();
    let hung_up = bits.contains(Ready::HUP);
    let ended = bits.contains(Ready::RDHUP);
    let stream = model.incoming_mut(endpoint);
    if bits.contains(Ready::IN) && !ended && stream.urgent.is_empty() && stream.slack == 0 {
        let next = stream.at + 1;
        stream.arrived(next, Proof::Polled);
    }
    if ended && !side.shut_rd && !side.exposed && fin_possible {
        let end = stream.accepted;
        stream.arrived(end, Proof::Finished);
    }
    let ended_by_fin = side.shut_wr && (side.shut_rd || fin_possible);
    let state = model.side_mut(endpoint);
    state.fin_known |= ended && !side.shut_rd;
    if side.exposed {
        let error = bits.contains(Ready::ERR) && side.zerocopy_sends == 0;
        state.dead |= error || hung_up && !ended_by_fin;
        state.error_pending = error;
    }
    state.writable = bits.contains(Ready::OUT);
}

/// `inq`: `SIOCINQ` counts what can be received now, up to the urgent mark, without the FIN.
pub(crate) fn inq(model: &mut Model<'_>, call: Call<'_>) {
    let endpoint = call.record.endpoint;
    let stream = model.incoming(endpoint);
    let value = match call.record.outcome {
        Outcome::Value(value) => u64::from(value),
        Outcome::Errno(_) => {
            model.blame(call, Invariant::Inq, "fails", "it succeeds on a connected socket");
            return;
        }
        _ => return,
    };
    if stream.broken || stream.lost_track {
        return;
    }
    if value > stream.unread() {
        let because = format!("only {} bytes were accepted and not received yet", stream.unread());
        model.blame(call, Invariant::Inq, "more-than-accepted", &because);
    } else if let Some(mark) = stream.mark()
        && value > mark - stream.at
        && !model.side(endpoint).oob_inline
    {
        // tcp_inq
        let because = format!("the urgent mark is {} bytes ahead", mark - stream.at);
        model.blame(call, Invariant::Inq, "counts-beyond-the-mark", &because);
    } else if value < stream.deliverable() && !stream.urgent_ahead() {
        let because = stream.evidence();
        model.blame(call, Invariant::Inq, "less-than-deliverable", &because);
    } else {
        let end = stream.at + value;
        model.incoming_mut(endpoint).arrived(end, Proof::Counted);
    }
}

/// `outq`: `SIOCOUTQ` counts accepted bytes that are not acknowledged yet, and a FIN as one.
///
/// Acknowledged bytes stay so. A closed socket acknowledges nothing more: it answers bytes with a reset.
pub(crate) fn outq(model: &mut Model<'_>, call: Call<'_>) {
    let endpoint = call.record.endpoint;
    let stream = model.outgoing(endpoint);
    let value = match call.record.outcome {
        Outcome::Value(value) => value,
        Outcome::Errno(_) => {
            model.blame(call, Invariant::Outq, "fails", "it succeeds on a connected socket");
            return;
        }
        _ => return,
    };
    let side = model.side(endpoint);
    let finished = side.fin_queued && value == 0;
    let fin = u64::from(side.shut_wr && !stream.fin_acked);
    let most = stream.accepted - stream.acked + fin;
    let least = stream.accepted - stream.before_close.unwrap_or(stream.accepted);
    if u64::from(value) > most {
        let because = format!(
            "{} bytes were accepted and {} of them are known to be acknowledged",
            stream.accepted, stream.acked
        );
        model.blame(call, Invariant::Outq, "more-than-unacknowledged", &because);
    } else if stream.lost_track {
        // where the reader is does not matter to what was accepted
    } else if u64::from(value) < least {
        let because = format!("{least} bytes were accepted after the peer had closed");
        model.blame(call, Invariant::Outq, "acknowledged-by-a-closed-peer", &because);
    } else {
        let stream = model.outgoing_mut(endpoint);
        stream.unacknowledged(value);
        stream.fin_acked |= finished;
        teardown::closed_unread(model, endpoint);
    }
}
