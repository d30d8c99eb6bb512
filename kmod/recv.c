// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving: the order in which bytes are read, and waiting for them.
 *
 * The order is that of send.c: TCP's bytes before @at, the ring, TCP's others. The
 * two are not looked at in one moment, so it matters which is first. A byte of TCP
 * may be read when the ring was found empty *after* that byte was seen: what is put
 * into the ring later is younger, for TCP held an unconsumed byte. So:
 *
 *	see how much TCP has;  smp_rmb();  look into the ring;
 *	empty: read from TCP, but no more than was seen.
 *
 * The smp_rmb() pairs with the smp_mb() after sp_ring_publish(): if a byte of TCP
 * was seen, so are the bytes that the ring got before it. The same holds for FIN,
 * RST and errors, which are younger than every byte. @reading makes this one step
 * for all readers of the socket; TCP itself is read by tcp_recvmsg(), which does not
 * sleep (MSG_DONTWAIT), and takes the socket's lock inside.
 *
 * All sleeping happens here, on the socket's own wait queue: a sleeper adds itself,
 * then smp_mb(), then looks at ring and TCP. A writer publishes, then (the barrier
 * of wq_has_sleeper() in sock_def_readable()) looks for sleepers. One of them sees
 * the other. TCP's wake-ups come from under the socket's lock to the same queue.
 */
#include <net/busy_poll.h>

#include "splice_pair.h"

/* A call: what it wants, and what it has. */
struct receive {
	struct sp_end *end;
	struct sock *sk;
	struct msghdr *msg;
	size_t len;
	int flags;
	int target;
	long timeo;
	int disconnects;
	int copied;
};

/* What ring and TCP had when the call looked. */
struct seen {
	u32 tail;
	u32 rcv_nxt;
	/* bytes that can be read: first TCP's older ones, the ring's, then TCP's */
	u32 before;
	u32 ring;
	u32 tcp;
};

static void begin_reading(struct sp_end *end)
{
	if (!fault(receivers_unlocked))
		mutex_lock(&end->reading);
}

static void end_reading(struct sp_end *end)
{
	if (!fault(receivers_unlocked))
		mutex_unlock(&end->reading);
}

/* Bytes that TCP has for the reader. */
static u32 tcp_unread(const struct sock *sk, u32 rcv_nxt)
{
	u32 copied_seq = READ_ONCE(tcp_sk(sk)->copied_seq);

	if (!after(rcv_nxt, copied_seq))
		return 0;
	/* a FIN that is not consumed has a sequence number as well: tcp_inq() */
	return rcv_nxt - copied_seq - sock_flag(sk, SOCK_DONE);
}

static void look(struct sp_end *end, struct seen *seen)
{
	struct sock *sk = end->sk;
	struct sp_ring *ring = &end->in;
	u32 older;

	if (fault(ring_before_tcp))
		seen->ring = sp_ring_unread(ring);
	seen->rcv_nxt = READ_ONCE(tcp_sk(sk)->rcv_nxt);
	seen->tcp = tcp_unread(sk, seen->rcv_nxt);
	seen->before = 0;
	/* pairs with the barrier in ring_send(): see the top */
	smp_rmb();
	/* pairs with sp_ring_publish() */
	seen->tail = smp_load_acquire(&ring->tail);
	if (fault(stale_tail))
		swap(seen->tail, ring->stale);
	if (!fault(ring_before_tcp))
		seen->ring = seen->tail - READ_ONCE(ring->head);
	if (!seen->ring)
		return;
	older = ring->at - READ_ONCE(tcp_sk(sk)->copied_seq);
	if (unlikely((s32)older > 0)) {
		seen->before = min(older, seen->tcp);
		/* what is missing before the ring is still on its way */
		if (seen->before < older)
			seen->ring = 0;
		seen->tcp = seen->ring ? seen->tcp - seen->before : 0;
	}
}

/* All that can be read. */
static u32 seen_all(const struct seen *seen)
{
	return seen->before + seen->ring + seen->tcp;
}

/* Unread bytes in the ring. */
u32 sp_unread(struct sp_end *end)
{
	return sp_ring_unread(&end->in);
}

/* tcp_prot.sock_is_readable: asked when TCP alone is not readable. */
bool sp_readable(struct sock *sk)
{
	struct sp_end *end = sp_get(sk);
	struct seen seen;
	bool readable;

	if (!end)
		return false;
	look(end, &seen);
	readable = seen.ring && !fault(poll_blind) &&
		   (fault(lowat_ignored) ||
		    seen_all(&seen) >= sock_rcvlowat(sk, 0, INT_MAX));
	readable |= !sk_psock_queue_empty(end->psock);
	sp_put(end);
	return readable;
}

/* Reads @len bytes, no more than were seen, from TCP, starting @skip after the first. */
static int tcp_take(struct receive *call, u32 skip, u32 len)
{
	struct sock *sk = call->sk;
	struct msghdr *msg = call->msg;
	void *control = msg->msg_control;
	size_t controllen = msg->msg_controllen;
	int flags = (call->flags & ~MSG_WAITALL) | MSG_DONTWAIT;
	int own = READ_ONCE(sk->sk_peek_off), ret;
	bool inq = tcp_sk(sk)->recvmsg_inq;

	/* TCP would tell the length of its own queue only: see tell_inq() */
	if (inq)
		msg->msg_controllen = 0;
	if ((flags & MSG_PEEK) && own >= 0) {
		WRITE_ONCE(sk->sk_peek_off, skip);
		ret = sp_base(sk)->recvmsg(sk, msg, len, flags);
		/* unless another thread sets SO_PEEK_OFF, which takes no lock */
		cmpxchg(&sk->sk_peek_off, skip + max(ret, 0),
			own + max(ret, 0));
	} else {
		ret = sp_base(sk)->recvmsg(sk, msg, len, flags);
	}
	if (inq) {
		msg->msg_control = control;
		msg->msg_controllen = controllen;
		msg->msg_flags &= ~MSG_CTRUNC;
	}
	return ret;
}

/* Reads up to @len bytes from the ring, starting @skip after the first unread one. */
static int ring_take(struct receive *call, u32 skip, u32 len)
{
	struct sp_ring *ring = &call->end->in;
	int flags = call->flags;

	if (!(flags & MSG_TRUNC) || fault(trunc_copies)) {
		u32 copied =
			sp_ring_copy(ring, skip, &call->msg->msg_iter, len);

		if (len && !copied) {
			if (fault(efault_consumes))
				sp_ring_consume(ring, len);
			return -EFAULT;
		}
		len = copied;
	}
	if ((flags & MSG_PEEK) && !fault(peek_consumes)) {
		sk_peek_offset_fwd(call->sk, len);
	} else {
		sk_peek_offset_bwd(call->sk, len);
		sp_ring_consume(ring, len);
	}
	return len;
}

/* Whether TCP's next byte is the urgent mark, at which a receive ends. */
static bool at_mark(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	return unlikely(READ_ONCE(tp->urg_data)) &&
	       READ_ONCE(tp->urg_seq) == READ_ONCE(tp->copied_seq);
}

/*
 * Reads what was seen from one place, the oldest: bytes, or what stopped it. 0 is TCP's:
 * the end of the stream, which was on its way when we looked.
 */
static int take(struct receive *call, const struct seen *seen)
{
	u32 want = min_t(size_t, call->len - call->copied, INT_MAX);

	if (fault(tcp_first) && seen->tcp)
		return tcp_take(call, 0, min(want, seen->tcp));
	if (seen->before)
		return tcp_take(call, 0, min(want, seen->before));
	if (seen->ring)
		return ring_take(call, 0, min(want, seen->ring));
	if (call->copied && at_mark(call->sk))
		return 0;
	return tcp_take(call, 0, min(want, seen->tcp));
}

/* Peeks at what was seen, all of it at once. */
static int peek(struct receive *call, const struct seen *seen)
{
	u32 off = max(sk_peek_offset(call->sk, call->flags), 0);
	u32 want = min_t(size_t, call->len, INT_MAX);
	int copied = 0, ret = 0;

	if (fault(peek_blind))
		return seen->tcp ? tcp_take(call, off, min(want, seen->tcp))
				 : -EAGAIN;
	if (fault(peek_off_ignored))
		off = 0;
	if (seen->before)
		return tcp_take(call, off, min(want, seen->before));
	if (off < seen->ring) {
		copied = ring_take(call, off, min(want, seen->ring - off));
		if (copied < 0 || (copied && at_mark(call->sk)))
			return copied;
		off = seen->ring;
	}
	off -= seen->ring;
	want = min(want - copied, seen->tcp - min(seen->tcp, off));
	if (want)
		ret = tcp_take(call, off, want);
	return copied ? copied + max(ret, 0) : ret;
}

/*
 * What ends a receive when there is nothing to read, in the order in which
 * tcp_recvmsg_locked() looks. 1: nothing does, wait.
 */
static int stopped(struct receive *call)
{
	struct sock *sk = call->sk;

	if (fault(eagain_is_eof) && !call->timeo)
		return 0;
	if (fault(eof_late) && !call->timeo)
		return -EAGAIN;
	if (sock_flag(sk, SOCK_DONE))
		return 0;
	if (READ_ONCE(sk->sk_err)) {
		if (fault(reset_again))
			return -READ_ONCE(sk->sk_err);
		if (fault(reset_lost)) {
			sock_error(sk);
			return 0;
		}
		return sock_error(sk);
	}
	if (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN)
		return fault(shut_rd_ignored) && !call->timeo ? -EAGAIN : 0;
	if (inet_sk_state_load(sk) == TCP_CLOSE)
		return -ENOTCONN;
	if (!call->timeo && !fault(dontwait_sleeps))
		return -EAGAIN;
	if (fault(signal_ignored) ? fatal_signal_pending(current)
				  : signal_pending(current))
		return sock_intr_errno(call->timeo);
	return 1;
}

/* Whether something came since. */
static bool changed(struct receive *call, const struct seen *seen)
{
	struct sock *sk = call->sk;

	return READ_ONCE(call->end->in.tail) != seen->tail ||
	       READ_ONCE(tcp_sk(sk)->rcv_nxt) != seen->rcv_nxt ||
	       READ_ONCE(sk->sk_err) ||
	       (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN) ||
	       sock_flag(sk, SOCK_DONE) ||
	       inet_sk_state_load(sk) == TCP_CLOSE ||
	       READ_ONCE(sk->sk_disconnects) != call->disconnects;
}

/* SO_BUSY_POLL: the writer runs on another processor and may be about to write. */
static void busy_poll(struct receive *call, const struct seen *seen)
{
	unsigned long start = busy_loop_current_time();

	while (!changed(call, seen) && !need_resched() &&
	       !signal_pending(current) &&
	       (fault(busy_poll_endless) ||
		!sk_busy_loop_timeout(call->sk, start)))
		cpu_relax();
}

/* Sleeps until something comes, without @reading. -EPIPE: another thread disconnected. */
static int wait_for_more(struct receive *call, const struct seen *seen)
{
	DEFINE_WAIT_FUNC(entry, woken_wake_function);
	unsigned int state =
		fault(signal_ignored) ? TASK_KILLABLE : TASK_INTERRUPTIBLE;
	struct sock *sk = call->sk;
	long timeo = call->timeo ?: MAX_SCHEDULE_TIMEOUT;

	end_reading(call->end);
	if (sk_can_busy_loop(sk))
		busy_poll(call, seen);
	if (fault(spin_on_empty)) {
		while (!changed(call, seen) && !signal_pending(current))
			cond_resched();
	}
	add_wait_queue(sk_sleep(sk), &entry);
	sk_set_bit(SOCKWQ_ASYNC_WAITDATA, sk);
	/* pairs with wq_has_sleeper() in sock_def_readable(): see the top */
	smp_mb();
	if (!changed(call, seen))
		timeo = wait_woken(&entry, state, timeo);
	sk_clear_bit(SOCKWQ_ASYNC_WAITDATA, sk);
	remove_wait_queue(sk_sleep(sk), &entry);
	if (call->timeo && !fault(timeout_restarts))
		call->timeo = timeo;
	begin_reading(call->end);
	return READ_ONCE(sk->sk_disconnects) == call->disconnects ? 0 : -EPIPE;
}

/*
 * Whether a peek waits for more than is there: a receive copies what it has and goes
 * on, a peek would have to begin again.
 */
static bool peek_waits(const struct receive *call, u32 ready)
{
	return (call->flags & MSG_PEEK) && ready < call->target &&
	       call->timeo && !signal_pending(current) && !at_mark(call->sk) &&
	       !tcp_recv_should_stop(call->sk);
}

/* One turn with @reading held: 0 to go on, 1 when the call is done, or its error. */
static int turn(struct receive *call)
{
	bool peeking = call->flags & MSG_PEEK;
	struct seen seen;
	u32 ready;
	int ret;

	look(call->end, &seen);
	if (fault(early_eof) && sock_flag(call->sk, SOCK_DONE))
		seen.ring = 0;
	ready = seen_all(&seen);
	ready -= min_t(u32, ready,
		       max(sk_peek_offset(call->sk, call->flags), 0));
	if (ready && !peek_waits(call, ready)) {
		/* tcp_recvmsg() copies nothing then, and consumes nothing */
		if (!call->len)
			return fault(zero_length_waits) ? -EAGAIN : 1;
		ret = peeking ? peek(call, &seen) : take(call, &seen);
		if (ret <= 0 && ret != -EAGAIN)
			return ret < 0 && !call->copied ? ret : 1;
		call->copied += max(ret, 0);
		if (ret > 0 && (peeking || call->copied == call->len))
			return 1;
		if (ret > 0)
			return 0;
	}
	if (call->copied >= call->target ||
	    (fault(waitall_short) && call->copied))
		return 1;
	if (call->copied) {
		/* an error is the next call's */
		if (!call->timeo || tcp_recv_should_stop(call->sk))
			return 1;
	} else {
		ret = stopped(call);
		if (ret <= 0)
			return ret ?: 1;
	}
	return wait_for_more(call, &seen);
}

/* TCP_INQ and its io_uring kin: what is left to be read, as tcp_inq_hint() has it. */
static void tell_inq(struct receive *call)
{
	struct msghdr *msg = call->msg;
	struct seen seen;

	if (!tcp_sk(call->sk)->recvmsg_inq && !msg->msg_get_inq)
		return;
	look(call->end, &seen);
	msg->msg_inq = seen_all(&seen) ?: sock_flag(call->sk, SOCK_DONE);
	if (tcp_sk(call->sk)->recvmsg_inq)
		put_cmsg(msg, SOL_TCP, TCP_CM_INQ, sizeof(msg->msg_inq),
			 &msg->msg_inq);
}

static int receive(struct sp_end *end, struct msghdr *msg, size_t len,
		   int flags)
{
	struct sock *sk = end->sk;
	struct receive call = {
		.end = end,
		.sk = sk,
		.msg = msg,
		.len = len,
		.flags = flags,
		.target = sock_rcvlowat(sk, flags & MSG_WAITALL, len),
		.timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT),
		.disconnects = READ_ONCE(sk->sk_disconnects),
	};
	int ret;

	begin_reading(end);
	do {
		ret = turn(&call);
	} while (!ret);
	end_reading(end);
	if (ret < 0)
		return call.copied ?: ret;
	tell_inq(&call);
	return call.copied;
}

/* As send_detached(). */
static int recv_detached(struct sock *sk, struct msghdr *msg, size_t len,
			 int flags)
{
	int ret;

	__module_get(THIS_MODULE);
	ret = READ_ONCE(sk->sk_prot)->recvmsg(sk, msg, len, flags);
	module_put(THIS_MODULE);
	return ret;
}

int sp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags)
{
	struct sp_end *end = sp_get(sk);
	int ret;

	if (!end)
		return recv_detached(sk, msg, len, flags);
	if (!READ_ONCE(end->armed))
		sp_arm(end);
	if (unlikely(!sk_psock_queue_empty(end->psock)))
		/* a program of another map redirected bytes to this socket */
		ret = end->under->recvmsg(sk, msg, len, flags);
	else if (!READ_ONCE(end->armed) || (flags & (MSG_OOB | MSG_ERRQUEUE)) ||
		 tcp_sk(sk)->repair)
		ret = sp_base(sk)->recvmsg(sk, msg, len, flags);
	else
		ret = receive(end, msg, len, flags);
	sp_put(end);
	return ret;
}
