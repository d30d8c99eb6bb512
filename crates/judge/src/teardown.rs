//! `early-eof`, `half-close`, `close-eof`, `close-rst`, `shut-rd`, `reset`, `reset-once`, `stall`, `loss`: how
//! connections end.
//!
//! Sources: `tcp(7)`, RFC 9293 section 3.6, RFC 2525 section 2.17, `__tcp_close`, `tcp_shutdown`, `tcp_fin`,
//! `tcp_reset`, `tcp_done_with_error`.

use scenario::history::{Errno, Outcome};
use scenario::verdict::Doubt;
use scenario::{Endpoint, How, Invariant, Wire};

use crate::braid::Braid;
use crate::calls::recv::Ask;
use crate::calls::send;
use crate::model::{Call, Ending, Model, PeekOff};
use crate::stream::Proof;

/// The rule that speaks about this endpoint's EOF: how the peer ended its sending side.
pub(crate) fn eof_rule(model: &Model<'_>, endpoint: Endpoint) -> Invariant {
    let peer = model.side(endpoint.peer());
    if peer.ending == Some(Ending::Close) && !peer.fin_queued {
        Invariant::CloseEof
    } else if peer.shut_wr {
        Invariant::HalfClose
    } else {
        Invariant::EarlyEof
    }
}

/// The rule that speaks about the reset that an endpoint is owed.
fn reset_rule(ending: Ending) -> Invariant {
    match ending {
        Ending::CloseUnread => Invariant::CloseRst,
        Ending::Abort | Ending::Close => Invariant::Reset,
    }
}

/// A receive returned 0.
///
/// One root cause breaks one rule: bytes that were certainly queued count against the way in which the stream
/// ended; an EOF without FIN is `reset` or `close-rst` where a reset was due, else `early-eof`.
pub(crate) fn eof(model: &mut Model<'_>, call: Call<'_>, ask: Ask) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    let stream = model.incoming(endpoint);
    // a peek may look beyond the end
    let unclear = ask.is_stopped_in(stream) || ask.peeks() && side.peek_off != PeekOff::Off;
    if stream.lost_track || unclear {
        return;
    }
    let before = model.complaints;
    let rule = eof_rule(model, endpoint);
    let own_rule = match ask.rule(Invariant::RecvResult) {
        Invariant::RecvResult if ask.by.is_piped() => Invariant::SpliceFile,
        rule => rule,
    };
    let missing =
        format!("bytes {}..{} were accepted and not received yet", stream.at, stream.accepted);
    if stream.deliverable() > 0 {
        let (rule, diagnosis) = match own_rule {
            Invariant::RecvResult if side.shut_rd => {
                (Invariant::ShutRd, "eof-with-bytes-deliverable")
            }
            Invariant::RecvResult if side.exposed => {
                (Invariant::Loss, "queued-bytes-lost-at-reset")
            }
            Invariant::RecvResult if rule != Invariant::EarlyEof => (rule, "eof-before-all-bytes"),
            Invariant::RecvResult => (rule, "eof-with-bytes-deliverable"),
            rule => (rule, "eof-with-bytes-deliverable"),
        };
        let because = format!("{missing}, of which {}", stream.proof.text());
        model.blame(call, rule, diagnosis, &because);
    } else if side.shut_rd || side.reported {
        // tcp_recvmsg_locked: RCV_SHUTDOWN; tcp_done has set it, too
    } else if let Some(ending) = side.reset_due {
        let because = "the peer reset the connection and never sent a FIN, which gives ECONNRESET";
        model.blame(call, reset_rule(ending), "eof-instead-of-reset", because);
    } else if side.exposed
        && (model.side(endpoint.peer()).may_reset || !model.fin_possible(endpoint))
    {
        // calls that overlapped may have ended the connection in any way
    } else if !model.fin_possible(endpoint) {
        let because = "the peer neither closed nor shut down its sending side";
        model.blame(call, Invariant::EarlyEof, "no-fin", because);
    } else if stream.rest() > 0 && !stream.broken {
        // Nor does a reset excuse it: what it costs is missing behind ECONNRESET. Without that, 0 is for SOCK_DONE, which
        // only the FIN sets, in its place behind all bytes (tcp_fin); no reset empties the queue (tcp_done_with_error).
        let (rule, diagnosis) = match own_rule {
            Invariant::RecvResult => (rule, "eof-before-all-bytes"),
            // all that came before the FIN are there
            rule => (rule, "eof-with-bytes-deliverable"),
        };
        model.blame(call, rule, diagnosis, &missing);
    }
    // an EOF that should not have been says nothing about what comes next
    if !side.shut_rd && model.complaints == before {
        model.side_mut(endpoint).fin_known = true;
    }
}

/// `shutdown(2)`: 0, or `ENOTCONN` on a connection that is over (`inet_shutdown`), where it still counts.
pub(crate) fn shutdown(model: &mut Model<'_>, call: Call<'_>, how: How) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    if let Outcome::Errno(errno) = call.record.outcome {
        let over = side.exposed || side.shut_wr && model.fin_possible(endpoint);
        if errno != Errno::ENOTCONN || !over {
            let rule = if how == How::Rd { Invariant::ShutRd } else { Invariant::HalfClose };
            model.blame(call, rule, "shutdown-fails", "the connection is not over");
        }
    }
    half_ends(model, call, how);
}

/// What a `shutdown(2)` leaves behind, whatever it returns.
pub(crate) fn half_ends(model: &mut Model<'_>, call: Call<'_>, how: How) {
    let done = matches!(call.record.outcome, Outcome::Value(_));
    let side = model.side_mut(call.record.endpoint);
    side.shut_rd |= matches!(how, How::Rd | How::Rdwr);
    if matches!(how, How::Wr | How::Rdwr) {
        side.shut_wr = true;
        side.fin_queued |= done;
    }
}

/// `close(2)` and the abort: both return 0, and decide what the peer will see.
///
/// The peer is owed a reset and no FIN only where nobody has sent a FIN or a reset before.
pub(crate) fn close(model: &mut Model<'_>, call: Call<'_>, abort: bool) {
    let endpoint = call.record.endpoint;
    if let Outcome::Errno(_) = call.record.outcome {
        let invariant = if abort { Invariant::Reset } else { Invariant::CloseEof };
        model.blame(call, invariant, "close-fails", "close succeeds");
    }
    let Some(abort) = let_go(model, endpoint, abort) else { return };
    let own = model.side(endpoint).clone();
    let unread = model.incoming(endpoint).deliverable() > 0 || unread_off_tcp(model, endpoint);
    let ending = if unread && !own.exposed {
        Ending::CloseUnread
    } else if abort {
        Ending::Abort
    } else {
        Ending::Close
    };
    let peer = endpoint.peer();
    // it may have been reset, destroyed or disconnected, and then it sends nothing more
    if own.murky {
        let stream = model.incoming(endpoint);
        let unclear = abort || stream.unread() > 0 || stream.lost_track;
        let side = model.side_mut(endpoint);
        side.ending = Some(Ending::Close);
        side.may_reset |= unclear;
        return;
    }
    // a socket that may have been reset sends nothing more; one that has sent its FIN lets the peer see EOF
    let certain = !own.shut_wr && !own.exposed && !model.side(peer).exposed;
    // with the peer's FIN in and nothing but it, a close answers with a FIN; both FINs end without reset
    let ending = if ending == Ending::CloseUnread && !certain {
        if abort { Ending::Abort } else { Ending::Close }
    } else {
        ending
    };
    if certain && ending != Ending::Close && model.side(peer).open() {
        model.side_mut(peer).reset_due = Some(ending);
    }
    let side = model.side_mut(endpoint);
    side.ending = Some(ending);
    side.no_fin_before = certain;
    let stream = model.outgoing_mut(peer);
    stream.before_close = Some(stream.accepted);
}

/// One holder of a socket lets it go, which closes it only if it is the last (`dup(2)`, `fork(2)`). Gives whether that is
/// an abort, for which `SO_LINGER` 0 is enough, whoever set it.
pub(crate) fn let_go(model: &mut Model<'_>, endpoint: Endpoint, abort: bool) -> Option<bool> {
    let side = model.side_mut(endpoint);
    side.linger_zero |= abort;
    if side.more_holders > 0 {
        side.more_holders -= 1;
        return None;
    }
    Some(side.linger_zero)
}

/// Whether bytes that TCP never took are certainly unread: of what the peer sent so, more than was received and
/// than was accepted later. Plain TCP takes every byte.
fn unread_off_tcp(model: &Model<'_>, endpoint: Endpoint) -> bool {
    let peer = endpoint.peer();
    let stream = model.incoming(endpoint);
    let accepted = model.its().traffic[peer.index()].accepted;
    let later = accepted.saturating_sub(stream.accepted);
    !stream.broken && !stream.lost_track && model.ring(peer) > stream.furthest() + later
}

/// `close-rst`: a later `SIOCOUTQ` may show that bytes were queued at a peer that closed, because a closed
/// socket acknowledges nothing. Then it owed a reset.
pub(crate) fn closed_unread(model: &mut Model<'_>, endpoint: Endpoint) {
    let peer = model.side(endpoint.peer());
    let stream = model.outgoing(endpoint);
    let queued = stream.before_close.is_some_and(|end| stream.acked.min(end) > stream.furthest());
    if queued
        && stream.urgent.is_empty()
        && !stream.broken
        && peer.no_fin_before
        && peer.ending == Some(Ending::Close)
    {
        model.side_mut(endpoint.peer()).ending = Some(Ending::CloseUnread);
        model.side_mut(endpoint).reset_due = Some(Ending::CloseUnread);
    }
}

/// `reset`, `reset-once`: `SO_ERROR` reads the pending error and clears it (`sock_error`).
pub(crate) fn so_error(model: &mut Model<'_>, call: Call<'_>) {
    let endpoint = call.record.endpoint;
    let Outcome::Value(value) = call.record.outcome else {
        return;
    };
    let side = model.side(endpoint);
    if value != 0 {
        let errno = Errno(i32::try_from(value).unwrap_or(i32::MAX));
        model.error_reported(call, errno, Invariant::Reset);
    } else if side.error_pending {
        let because = "poll has reported POLLERR and no call has returned the error since";
        model.blame(call, Invariant::ResetOnce, "error-vanished", because);
    } else if call.record.at == scenario::history::At::Finale {
        send::swallowed(model, call);
    }
}

/// `stall`: the finale waited for something until its bound and nothing is known to be deliverable.
///
/// While TCP reports unacknowledged bytes, or cannot be asked because the sender is closed, only the longer
/// bound tells that they will not come.
pub(crate) fn pending(model: &mut Model<'_>, call: Call<'_>) {
    let endpoint = call.record.endpoint;
    let side = model.side(endpoint).clone();
    let peer = model.side(endpoint.peer()).clone();
    let stream = model.incoming(endpoint);
    let waited =
        waited_ns(model, call) / 1_000_000 >= u64::from(model.history.bounds.drain_ms) * 4 / 5;
    let lossy = model.wire.loss_permille > 0;
    // a window probe and its backoff then take as long as the bound
    let slow = model.wire.delay_us > 50_000;
    let quiet = model.outgoing(endpoint).accepted == model.outgoing(endpoint).acked
        && model.wire == Wire::default();
    if let Some(ending) = side.reset_due {
        if (waited || quiet) && !lossy {
            let because = "the peer reset the connection, which gives ECONNRESET";
            model.blame(call, reset_rule(ending), "never-arrives", because);
        } else {
            model.doubt(Doubt::DrainBound);
        }
        return;
    }
    let (rest, proof) = (stream.rest(), stream.proof);
    let ended = peer.shut_wr || !peer.open();
    if rest == 0 && !ended || stream.fuzzy {
        return;
    }
    // plain TCP may be slow, and what it still has says nothing; bytes that it never took do not wait for it
    let off_tcp = model.ring(endpoint.peer()) > 0;
    let in_tcp = call.record.peer_outq.is_some_and(|outq| u64::from(outq) >= rest.max(1));
    // A receiver with a small buffer can close its window for ever, where bytes found no room whose skbs take much more
    // memory than they are long (ICSK_ACK_NOMEM in tcp_select_window). What the ring has comes behind them.
    let cramped = side.rcvbuf_fixed && model.ring(endpoint.peer()) < stream.accepted;
    let unclear = side.exposed || peer.murky || lossy || slow || cramped && rest > 0;
    if peer.open() && (!off_tcp || in_tcp) || unclear || !waited {
        model.doubt(Doubt::DrainBound);
    } else if rest > 0 {
        let because = format!(
            "bytes {}..{} were accepted, and the finale waited for them in vain; known so far: {}",
            stream.at,
            stream.accepted,
            proof.text()
        );
        model.blame(call, Invariant::Stall, "accepted-bytes-never-arrive", &because);
    } else {
        let because = "the peer has ended its side and all bytes were received, so that EOF is due";
        model.blame(call, Invariant::Stall, "fin-never-arrives", because);
    }
}

/// How long the finale had tried in vain when it recorded this: since the record before.
fn waited_ns(model: &Model<'_>, call: Call<'_>) -> u64 {
    let before = call
        .index
        .checked_sub(1)
        .and_then(|at| model.history.records.get(at))
        .map_or(0, |record| record.return_ns);
    call.record.return_ns.saturating_sub(before)
}

/// Learns from the `SIOCOUTQ` of the peer, read before the call: acknowledged bytes are queued here, and with
/// its FIN acknowledged, that has arrived, too.
pub(crate) fn peer_outq(model: &mut Model<'_>, endpoint: Endpoint, outq: u32) {
    let finished = model.side(endpoint.peer()).fin_queued && outq == 0;
    let stream = model.incoming_mut(endpoint);
    if stream.lost_track {
        return;
    }
    stream.unacknowledged(outq);
    if finished {
        let end = stream.accepted;
        stream.fin_acked = true;
        stream.arrived(end, Proof::Finished);
        model.side_mut(endpoint).fin_known = true;
    }
}

/// `order`, `loss`: bytes that were passed over and never came are lost.
pub(crate) fn conclude(model: &mut Model<'_>) {
    for sender in Endpoint::BOTH {
        let stream = model.outgoing(sender).clone();
        if stream.used_fuzz {
            model.doubt(Doubt::UrgentPointerRange);
        }
        if let Some((what, record)) = stream.braid.as_ref().and_then(Braid::missing) {
            model.report(Invariant::ConcurrentSend, "lost", Some(record), what);
        }
        for gap in model.outgoing(sender).gaps.clone() {
            // they may have been thrown away with the rest
            let receiver = model.side(sender.peer());
            let is_cut_off = receiver.ending.is_some() || receiver.exposed || receiver.murky;
            let order = if is_cut_off { gap.overtaking } else { (Invariant::Loss, "skipped") };
            let (invariant, diagnosis) = gap.verdict.unwrap_or(order);
            let evidence = format!(
                "bytes {}..{} from the {sender} were accepted and never delivered, though later ones were",
                gap.bytes.start, gap.bytes.end
            );
            model.report(invariant, diagnosis, Some(gap.record), evidence);
        }
    }
}
