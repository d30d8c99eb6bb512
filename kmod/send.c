// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sending: which path a byte takes, and so which bytes are older.
 *
 * A byte that was accepted is in the ring or in TCP. TCP's are anywhere between
 * the sender's write queue and the peer's receive queue: corked, in flight, in a
 * backlog, out of order, queued. Wherever they are, their sequence numbers tell
 * how old they are, and that is all that is used here:
 *
 *	The unread bytes of the ring lie at one sequence number, @at: everything
 *	that TCP carries before @at is older, everything from @at on is younger.
 *
 * Both the check and the write happen under the sender's socket lock, which every
 * TCP send takes as well:
 *
 * - An empty ring takes bytes only when the peer has consumed all of TCP's, that
 *   is when its copied_seq is our write_seq. Then @at = write_seq. That the peer's
 *   receive queue is empty would not be enough: see where TCP's bytes can be.
 * - A ring with unread bytes takes more only while write_seq is still @at: once TCP
 *   has accepted a byte, everything goes to TCP until the peer has consumed it all.
 *
 * The reader consumes TCP's bytes before @at, then the ring, then TCP (recv.c). As
 * the rule above makes copied_seq == @at when the ring is filled first, there is
 * normally nothing before @at. Only a recall that TCP could take a part of moves
 * @at, and the bytes before it, forward.
 *
 * FIN occupies a sequence number and cannot be overtaken: it is sent under the same
 * lock, and nothing is written after it. RST destroys what TCP still has in flight;
 * the ring counts as arrived, like the receive queue, and can still be read.
 *
 * Urgent data is a position in TCP's stream (RFC 6093), which the ring has not. So
 * before an urgent byte is sent, the ring's unread bytes go back into TCP: a recall.
 *
 * The ring never makes a sender wait. It is used as far as it goes: what is left of
 * a message, and everything unusual (flags, control messages, a buffer that cannot
 * be read, a peer that does something special) is TCP's, which then blocks, fails
 * or signals as it always does. That is also why EPOLLOUT is TCP's alone: while TCP
 * has no room its bytes are unconsumed, and so the ring may not be used.
 */
#include <linux/module.h>
#include <linux/net_tstamp.h>
#include <linux/sizes.h>

#include "splice_pair.h"

/* Flags that mean the same for both paths. Delaying bytes is never a duty. */
#define RING_FLAGS                                                             \
	(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_SPLICE_PAGES |           \
	 MSG_NO_SHARED_FRAGS | MSG_CMSG_COMPAT)

/* Times of arrival, which no byte of the ring has. */
#define RX_TIMESTAMPS                                                          \
	(SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RX_SOFTWARE)

/* Whether TCP holds nothing that the peer has yet to consume, or will send later. */
static bool in_order(const struct sock *sk, const struct sock *peer,
		     const struct sp_ring *ring)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	if (fault(unseen_in_flight))
		return skb_queue_empty_lockless(&peer->sk_receive_queue);
	if (fault(cork_forgotten))
		return READ_ONCE(tcp_sk(peer)->copied_seq) ==
		       READ_ONCE(tp->snd_nxt);
	if (ring->tail != READ_ONCE(ring->head))
		return tp->write_seq == READ_ONCE(ring->at);
	return READ_ONCE(tcp_sk(peer)->copied_seq) == tp->write_seq;
}

/* Whether the sender could hand bytes to TCP now. */
static bool can_send(const struct sock *sk)
{
	return ((1 << sk->sk_state) & (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT)) &&
	       !READ_ONCE(sk->sk_err) && !tcp_sk(sk)->repair &&
	       !(sk->sk_shutdown & SEND_SHUTDOWN);
}

/*
 * Whether TCP would queue bytes for the peer, and nothing about them would be seen
 * but their values. The peer is not locked: what changes meanwhile might as well
 * have changed after the bytes arrived, except for its end (see ring_send()).
 */
static bool can_receive(const struct sock *peer)
{
	return ((1 << inet_sk_state_load(peer)) &
		(TCPF_ESTABLISHED | TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2)) &&
	       !(READ_ONCE(peer->sk_shutdown) & RCV_SHUTDOWN) &&
	       /* tcp_data_ready() compares with what TCP has, without the ring */
	       (READ_ONCE(peer->sk_rcvlowat) <= 1 || fault(lowat_ignored)) &&
	       !sock_flag(peer, SOCK_RCVTSTAMP) &&
	       !(READ_ONCE(peer->sk_tsflags) & RX_TIMESTAMPS) &&
	       !rcu_access_pointer(peer->sk_filter);
}

/*
 * How many bytes the ring may take now. The ring is the peer's receive buffer: it
 * never holds more than the window that SO_RCVBUF would open.
 */
static u32 room(struct sp_end *end, const struct msghdr *msg)
{
	struct sp_end *to = sp_peer(end);
	const struct sock *sk = end->sk, *peer;
	u32 free, window, unread, room = 0;
	int flags = RING_FLAGS, rcvbuf;

	if (fault(oob_in_ring))
		flags |= MSG_OOB;
	if (fault(zerocopy_in_ring))
		flags |= MSG_ZEROCOPY;
	if ((msg->msg_flags & ~flags) || msg->msg_controllen ||
	    (READ_ONCE(sk->sk_tsflags) & SOF_TIMESTAMPING_TX_RECORD_MASK))
		return 0;
	/* the acquire pairs with sp_arm() */
	if (!smp_load_acquire(&to->armed) || READ_ONCE(to->shut) ||
	    READ_ONCE(end->gone) || fault(never_engages))
		return 0;
	if ((fault(sends_to_dead) && READ_ONCE(to->gone)) ||
	    (fault(send_after_shutdown) && (sk->sk_shutdown & SEND_SHUTDOWN)))
		return sp_ring_room(&to->in);
	if (!can_send(sk))
		return 0;

	rcu_read_lock();
	peer = to->sk;
	if (!READ_ONCE(to->gone) && can_receive(peer) &&
	    in_order(sk, peer, &to->in)) {
		free = sp_ring_room(&to->in);
		unread = to->in.size - free;
		rcvbuf = READ_ONCE(peer->sk_rcvbuf);
		/* the ratio changes as TCP learns: any value will do */
		window = data_race(tcp_win_from_space(peer, rcvbuf));
		if (unread < window)
			room = min(free, window - unread);
	}
	rcu_read_unlock();
	return room;
}

static void wake_reader(struct sp_end *to, bool was_empty)
{
	if (fault(wakeup_lost) || (fault(wakeup_once) && !was_empty))
		return;
	rcu_read_lock();
	/* sock_def_readable(): its wq_has_sleeper() is the barrier, see recv.c */
	if (!READ_ONCE(to->gone))
		to->sk->sk_data_ready(to->sk);
	rcu_read_unlock();
}

/* Puts what fits into the ring: the number of bytes, which may be 0. */
static size_t ring_send(struct sp_end *end, struct msghdr *msg, size_t len)
{
	struct sp_end *to = sp_peer(end);
	struct sp_ring *ring = &to->in;
	u32 free = room(end, msg);
	u32 n = min_t(size_t, len, free);
	bool was_empty;
	u32 tail, at;

	if (fault(full_overruns) && free && len > free)
		n = min_t(size_t, len, ring->size);
	if (!n)
		return 0;
	tail = ring->tail;
	was_empty = tail == READ_ONCE(ring->head);
	if (fault(publish_early))
		sp_ring_publish(ring, n);
	if (fault(wakeup_unordered))
		wake_reader(to, was_empty);
	/* a buffer that cannot be read: TCP knows what is to be done */
	if (!sp_ring_fill(ring, tail, &msg->msg_iter, n))
		return 0;
	if (was_empty) {
		at = tcp_sk(end->sk)->write_seq;
		/* a reader that trusts in the rule */
		if (fault(unseen_in_flight) || fault(cork_forgotten))
			at -= SZ_1G;
		WRITE_ONCE(ring->at, at);
	}
	if (!fault(publish_early))
		sp_ring_publish(ring, n);
	/*
	 * Pairs with the barrier in sp_detach(): either that side finds the bytes
	 * unread, or we find it gone and give them to TCP as well, which answers
	 * for the connection; nobody takes them from here. And with the one in
	 * sp_look(): who sees a byte that TCP sends after this sees these.
	 */
	smp_mb();
	if (READ_ONCE(to->gone) && !fault(sends_to_dead)) {
		iov_iter_revert(&msg->msg_iter, n);
		return 0;
	}
	WRITE_ONCE(ring->passed, ring->passed + n);
	this_cpu_add(sp_counters.ring_bytes, n);
	if (!fault(wakeup_unordered))
		wake_reader(to, was_empty);
	return n;
}

/*
 * The rest of a message of which @sent bytes are in the ring. They were accepted,
 * so an error is not returned now; what the next call is to find is left for it, as
 * tcp_sendmsg_locked() does for a message that it took a part of.
 */
static int send_rest(struct sock *sk, struct msghdr *msg, size_t len,
		     size_t sent)
{
	bool had_fin = sk->sk_state == TCP_CLOSE_WAIT;
	int ret;

	if (fault(full_drops) && sent) {
		iov_iter_advance(&msg->msg_iter, len - sent);
		return len;
	}
	if (sent)
		msg->msg_flags |= MSG_NOSIGNAL;
	if (fault(split_twice) && sent) {
		iov_iter_revert(&msg->msg_iter, sent);
		return tcp_sendmsg_locked(sk, msg, len);
	}
	ret = tcp_sendmsg_locked(sk, msg, len - sent);
	if (!sent || ret >= 0)
		return sent + ret;
	/*
	 * sk_stream_error() has taken the socket's error: there was none before.
	 * EPIPE is one only after a FIN (tcp_reset()), else it is a state.
	 */
	if (sk->sk_state == TCP_CLOSE && ret != -EAGAIN && ret != -EFAULT &&
	    (ret != -EPIPE || had_fin) &&
	    ret != sock_intr_errno(sock_sndtimeo(sk, false)))
		WRITE_ONCE(sk->sk_err, -ret);
	return sent;
}

/* The planted fault: what does not fit into the ring is sent first. */
static int send_backwards(struct sp_end *end, struct msghdr *msg, size_t len)
{
	struct sp_ring *ring = &sp_peer(end)->in;
	struct tcp_sock *tp = tcp_sk(end->sk);
	struct iov_iter start = msg->msg_iter;
	size_t head = room(end, msg);
	int ret;

	iov_iter_advance(&msg->msg_iter, head);
	ret = tcp_sendmsg_locked(end->sk, msg, len - head);
	if (ret < 0)
		return ret;
	iov_iter_truncate(&start, head);
	if (head && sp_ring_fill(ring, ring->tail, &start, head)) {
		ring->at = tp->write_seq;
		sp_ring_publish(ring, head);
		wake_reader(sp_peer(end), true);
	}
	return head + ret;
}

/* With the socket locked. */
static int send_locked(struct sp_end *end, struct msghdr *msg, size_t len)
{
	struct sock *sk = end->sk;
	size_t sent;
	int ret;

	if (fault(split_backwards) && len > room(end, msg))
		return send_backwards(end, msg, len);
	if (fault(senders_unlocked)) {
		release_sock(sk);
		sent = ring_send(end, msg, len);
		lock_sock(sk);
	} else {
		sent = ring_send(end, msg, len);
	}
	if (len && sent == len)
		return sent;
	this_cpu_inc(sp_counters.fallbacks);
	ret = send_rest(sk, msg, len, sent);
	/* with SO_RCVLOWAT, TCP's bytes wake the reader only when they are enough */
	if (ret > 0 && sp_ring_unread(&sp_peer(end)->in))
		wake_reader(sp_peer(end), false);
	return ret;
}

/*
 * Whether @peer's TCP would still queue what arrives. After SHUT_RD it does not in
 * the states of tcp_rcv_state_process(): that resets the connection.
 */
static bool can_take_back(const struct sock *peer)
{
	return peer->sk_state == TCP_ESTABLISHED ||
	       (((1 << peer->sk_state) & (TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2)) &&
		!(peer->sk_shutdown & RCV_SHUTDOWN));
}

/*
 * Lets what @sk sent arrive at @peer and be acknowledged, with both locked: the bytes
 * had arrived before, so SIOCOUTQ is not to count them, nor the send buffer.
 */
static void arrive(struct sock *sk, struct sock *peer)
{
	struct inet_connection_sock *icsk = inet_csk(peer);
	bool more;

	do {
		more = sk_flush_backlog(peer);
		more |= sk_flush_backlog(sk);
	} while (more);
	/* the last segment's acknowledgment waits for another one */
	if (inet_csk_ack_scheduled(peer))
		__tcp_send_ack(peer, tcp_sk(peer)->rcv_nxt, 0);
	/* what is on its way still: at once when it comes */
	icsk->icsk_ack.pending |= ICSK_ACK_NOW;
	sk_flush_backlog(sk);
}

/*
 * Moves the unread bytes of @reader's ring into TCP, with both sockets locked and
 * @reading held. True if the ring is empty then. TCP's younger bytes, or a FIN,
 * make it impossible; want of memory may let a part of them go.
 */
static bool recall_locked(struct sp_end *reader, struct sock *sk)
{
	struct sp_ring *ring = &reader->in;
	u32 unread = sp_ring_unread(ring);
	struct msghdr msg = {.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL};
	struct tcp_sock *tp = tcp_sk(sk);
	u32 notsent_lowat = tp->notsent_lowat;
	int sndbuf = sk->sk_sndbuf;
	u8 nonagle = tp->nonagle;
	struct kvec vec[2];
	int moved;

	if (!unread)
		return true;
	if (tp->write_seq != ring->at || !can_send(sk) ||
	    !can_take_back(reader->sk))
		return false;
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, vec,
		      sp_ring_kvec(ring, unread, vec), unread);
	/* They were accepted already: neither a full buffer nor Nagle may hold them. */
	WRITE_ONCE(sk->sk_sndbuf, INT_MAX);
	WRITE_ONCE(tp->notsent_lowat, UINT_MAX);
	tp->nonagle = TCP_NAGLE_OFF | TCP_NAGLE_PUSH;
	moved = fault(recall_drops) ? unread
				    : tcp_sendmsg_locked(sk, &msg, unread);
	/* nor may what the congestion window leaves for later wait for more bytes */
	tp->nonagle = nonagle | (tcp_send_head(sk) ? TCP_NAGLE_PUSH : 0);
	WRITE_ONCE(tp->notsent_lowat, notsent_lowat);
	WRITE_ONCE(sk->sk_sndbuf, sndbuf);
	if (moved <= 0)
		return false;
	WRITE_ONCE(ring->passed, ring->passed - moved);
	this_cpu_sub(sp_counters.ring_bytes, moved);
	WRITE_ONCE(ring->at, ring->at + moved);
	if (!fault(recall_twice))
		sp_ring_consume(ring, moved);
	arrive(sk, reader->sk);
	return moved == unread;
}

/*
 * Moves the unread bytes of @reader's ring into TCP; the caller holds @reading and
 * no socket. True if the ring is empty then, and the writer was between two sends.
 */
bool sp_recall(struct sp_end *reader)
{
	struct sock *sk = sp_hold_sk(sp_peer(reader));
	bool empty;

	/* a closed writer's bytes cannot go anywhere */
	if (!sk)
		return !sp_ring_unread(&reader->in);
	sp_lock_both(sk, reader->sk);
	empty = recall_locked(reader, sk);
	sp_unlock_both(sk, reader->sk);
	sock_put(sk);
	return empty;
}

/*
 * An urgent byte: the unread bytes of the ring go before it. The lock is kept until
 * the byte is sent, or another thread's bytes could get between.
 *
 * Without the recall only one thing would differ: a second urgent byte makes TCP drop
 * an earlier one at which the reader is (tcp_check_urg()), and TCP does not see that
 * the reader is still in the ring. So where the reader is busy, a sender that must not
 * wait does without.
 */
static int send_urgent(struct sp_end *end, struct msghdr *msg, size_t len)
{
	struct sp_end *to = sp_peer(end);
	struct sock *sk = end->sk;
	struct sock *peer = sp_ring_unread(&to->in) ? sp_hold_sk(to) : NULL;
	int ret;

	if (peer && (msg->msg_flags & MSG_DONTWAIT) &&
	    !mutex_trylock(&to->reading)) {
		sock_put(peer);
		peer = NULL;
	} else if (peer && !(msg->msg_flags & MSG_DONTWAIT)) {
		mutex_lock(&to->reading);
	}
	if (peer) {
		sp_lock_both(sk, peer);
		recall_locked(to, sk);
		release_sock(peer);
		mutex_unlock(&to->reading);
		sock_put(peer);
	} else {
		lock_sock(sk);
	}
	ret = tcp_sendmsg_locked(sk, msg, len);
	release_sock(sk);
	return ret;
}

/* The socket is no longer paired: a call that began before it was detached. */
static int send_detached(struct sock *sk, struct msghdr *msg, size_t len)
{
	int idx = srcu_read_lock(&sp_calls);
	int ret = sp_under(sk)->sendmsg(sk, msg, len);

	srcu_read_unlock(&sp_calls, idx);
	return ret;
}

int sp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)
{
	struct sp_end *end = sp_get(sk);
	int ret;

	if (!end)
		return send_detached(sk, msg, len);
	if (!READ_ONCE(end->armed))
		sp_arm(end);
	if ((msg->msg_flags & MSG_OOB) && !fault(oob_in_ring)) {
		ret = send_urgent(end, msg, len);
	} else {
		lock_sock(sk);
		ret = send_locked(end, msg, len);
		release_sock(sk);
	}
	sp_put(end);
	return ret;
}
