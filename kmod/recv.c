// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving: the order in which bytes are read, and waiting for them.
 *
 * The order is that of send.c: TCP's bytes before @at, the ring, TCP's others. What
 * there is, sp_look() tells (look.c), and no more than that is read. @reading makes
 * looking and reading one step for all readers of the socket. TCP is read by
 * tcp_recvmsg(), which does not sleep (MSG_DONTWAIT), and takes the socket's lock.
 *
 * FIN, RST and errors are younger than every byte. So they are looked for before the
 * bytes are (turn()), and count only when there are none after that.
 *
 * All sleeping happens here, on the socket's own wait queue: a sleeper adds itself,
 * then smp_mb(), then looks at ring and TCP. A writer publishes, then (the barrier
 * of wq_has_sleeper() in sock_def_readable()) looks for sleepers. One of them sees
 * the other. TCP's wake-ups come from under the socket's lock to the same queue.
 */
#include <net/busy_poll.h>

#include "splice_pair.h"

/* take_ready(): there was only an urgent byte, which is passed over. */
#define WAIT 2

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

/*
 * Whether TCP_INQ is ours to tell. With times of arrival the peer does not use the ring
 * (can_receive()), and TCP's control messages are left as they are.
 */
static bool tells_inq(const struct sock *sk)
{
	/* a bit among others, which change with the socket locked */
	return data_race(!!tcp_sk(sk)->recvmsg_inq) &&
	       !sock_flag(sk, SOCK_RCVTSTAMP) && !READ_ONCE(sk->sk_tsflags);
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
	bool inq = tells_inq(sk);

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
static int take(struct receive *call, const struct sp_seen *seen)
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
static int peek(struct receive *call, const struct sp_seen *seen)
{
	u32 off = max(sk_peek_offset(call->sk, call->flags), 0);
	u32 want = min_t(size_t, call->len, INT_MAX);
	int copied = 0, ret = 0;

	if (fault(peek_blind))
		return seen->tcp ? tcp_take(call, off, min(want, seen->tcp))
				 : -EAGAIN;
	if (fault(peek_off_ignored))
		off = 0;
	if (off < seen->before)
		return tcp_take(call, off, min(want, seen->before - off));
	off -= seen->before;
	if (off < seen->ring) {
		copied = ring_take(call, off, min(want, seen->ring - off));
		if (copied < 0 || (copied && at_mark(call->sk)))
			return copied;
		off = seen->ring;
	}
	off -= seen->ring;
	want = min(want - copied, seen->tcp - min(seen->tcp, off));
	if (want)
		ret = tcp_take(call, seen->before + off, want);
	return copied ? copied + max(ret, 0) : ret;
}

/* Whether nothing more will come. */
static bool is_over(const struct sock *sk)
{
	return sock_flag(sk, SOCK_DONE) || READ_ONCE(sk->sk_err) ||
	       (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN) ||
	       inet_sk_state_load(sk) == TCP_CLOSE;
}

/*
 * How that ends a receive, in the order in which tcp_recvmsg_locked() looks. 1: not at
 * all, because another call has taken the error.
 */
static int end_of_stream(struct receive *call)
{
	struct sock *sk = call->sk;
	int err;

	if (fault(eof_late) && !call->timeo)
		return -EAGAIN;
	if (sock_flag(sk, SOCK_DONE))
		return 0;
	err = fault(reset_again) ? -READ_ONCE(sk->sk_err) : sock_error(sk);
	if (err)
		return fault(reset_lost) ? 0 : err;
	if (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN)
		return fault(shut_rd_ignored) && !call->timeo ? -EAGAIN : 0;
	return inet_sk_state_load(sk) == TCP_CLOSE ? -ENOTCONN : 1;
}

/* What ends a receive that has nothing, but may get something. 1: nothing does, wait. */
static int stopped(struct receive *call)
{
	if (fault(eagain_is_eof) && !call->timeo)
		return 0;
	if (!call->timeo && !fault(dontwait_sleeps))
		return -EAGAIN;
	if (fault(signal_ignored) ? fatal_signal_pending(current)
				  : signal_pending(current))
		return sock_intr_errno(call->timeo);
	return 1;
}

/* Whether something came since. */
static bool changed(struct receive *call, const struct sp_seen *seen)
{
	struct sock *sk = call->sk;

	return READ_ONCE(call->end->in.tail) != seen->tail ||
	       READ_ONCE(tcp_sk(sk)->rcv_nxt) != seen->rcv_nxt || is_over(sk) ||
	       READ_ONCE(sk->sk_disconnects) != call->disconnects;
}

/* SO_BUSY_POLL: the writer runs on another processor and may be about to write. */
static void busy_poll(struct receive *call, const struct sp_seen *seen)
{
	unsigned long start = busy_loop_current_time();

	while (!changed(call, seen) && !signal_pending(current) &&
	       (fault(busy_poll_endless) ||
		(!need_resched() && !sk_busy_loop_timeout(call->sk, start))))
		cpu_relax();
}

/* Sleeps until something comes, without @reading. -EPIPE: another thread disconnected. */
static int wait_for_more(struct receive *call, const struct sp_seen *seen)
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
static bool peek_waits(const struct receive *call, u32 ready, bool over)
{
	return (call->flags & MSG_PEEK) && ready < call->target &&
	       call->timeo && !signal_pending(current) && !at_mark(call->sk) &&
	       !over;
}

/* Reads or peeks at what is ready: 0 to go on, 1 when the call is done, or its error. */
static int take_ready(struct receive *call, const struct sp_seen *seen)
{
	bool peeking = call->flags & MSG_PEEK;
	int ret;

	/* tcp_recvmsg() copies nothing then, and consumes nothing */
	if (!call->len)
		return fault(zero_length_waits) ? -EAGAIN : 1;
	if (!seen->before && !seen->ring && at_mark(call->sk) &&
	    signal_pending(current))
		/* SIGURG, perhaps */
		return call->copied  ? 1
		       : call->timeo ? sock_intr_errno(call->timeo)
				     : -EAGAIN;
	ret = peeking ? peek(call, seen) : take(call, seen);
	if (ret == -EAGAIN)
		return WAIT;
	if (ret <= 0)
		return ret < 0 && !call->copied ? ret : 1;
	call->copied += ret;
	return peeking || call->copied == call->len;
}

/* One turn with @reading held: 0 to go on, 1 when the call is done, or its error. */
static int turn(struct receive *call)
{
	struct sock *sk = call->sk;
	bool over = is_over(sk);
	struct sp_seen seen;
	u32 ready;
	int ret;

	if (over) {
		/* what came before the end is there once who brought it is done */
		lock_sock(sk);
		release_sock(sk);
	}
	sp_look(call->end, &seen);
	if (fault(early_eof) && sock_flag(sk, SOCK_DONE))
		seen.ring = 0;
	ready = sp_seen_all(&seen);
	ready -= min_t(u32, ready, max(sk_peek_offset(sk, call->flags), 0));
	if (ready && !peek_waits(call, ready, over)) {
		ret = take_ready(call, &seen);
		if (ret != WAIT)
			return ret;
	}
	if (call->copied >= call->target ||
	    (fault(waitall_short) && call->copied))
		return 1;
	/* with something copied, an error is the next call's */
	if (call->copied && (over || !call->timeo || signal_pending(current)))
		return 1;
	ret = over ? end_of_stream(call) : 1;
	if (ret > 0 && !call->copied)
		ret = stopped(call);
	if (ret <= 0)
		return ret ?: 1;
	return wait_for_more(call, &seen);
}

/*
 * TCP_INQ and its io_uring kin: what is left to be read, as tcp_inq_hint() has it: a FIN
 * that was not consumed counts, and so does one that was when nothing else is left.
 */
static void tell_inq(struct receive *call)
{
	struct msghdr *msg = call->msg;
	struct sp_seen seen;

	if (!tells_inq(call->sk) && !msg->msg_get_inq)
		return;
	sp_look(call->end, &seen);
	msg->msg_inq = seen.ring + seen.rcv_nxt -
		       READ_ONCE(tcp_sk(call->sk)->copied_seq);
	if (!msg->msg_inq)
		msg->msg_inq = sock_flag(call->sk, SOCK_DONE);
	if (tells_inq(call->sk))
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
		/* tcp_splice_read() does not look at SO_RCVLOWAT */
		.target = iov_iter_is_bvec(&msg->msg_iter)
				  ? 1
				  : sock_rcvlowat(sk, flags & MSG_WAITALL, len),
		.timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT),
		.disconnects = READ_ONCE(sk->sk_disconnects),
	};
	int ret;

	begin_reading(end);
	do {
		ret = turn(&call);
	} while (!ret);
	if (ret > 0 || call.copied)
		tell_inq(&call);
	end_reading(end);
	return ret < 0 && !call.copied ? ret : call.copied;
}

/* As send_detached(). */
static int recv_detached(struct sock *sk, struct msghdr *msg, size_t len,
			 int flags)
{
	int idx = srcu_read_lock(&sp_calls);
	int ret = sp_under(sk)->recvmsg(sk, msg, len, flags);

	srcu_read_unlock(&sp_calls, idx);
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
	if (unlikely(sp_is_redirected(end)))
		ret = end->under->recvmsg(sk, msg, len, flags);
	else if ((flags & (MSG_OOB | MSG_ERRQUEUE)) || sp_repairs(sk))
		ret = sp_base(sk)->recvmsg(sk, msg, len, flags);
	else
		ret = receive(end, msg, len, flags);
	sp_put(end);
	return ret;
}
