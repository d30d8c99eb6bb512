// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking: what could be read from a socket now.
 *
 * Ring and TCP are not looked at in one moment, so it matters which is first. A byte of
 * TCP may be read when the ring was found empty *after* that byte was seen: what is put
 * into the ring later is younger, for TCP held an unconsumed byte. So:
 *
 *	see how much TCP has;  smp_rmb();  look into the ring;
 *	empty: read from TCP, but no more than was seen.
 *
 * The smp_rmb() pairs with the smp_mb() after sp_ring_publish(): if a byte of TCP was
 * seen, so are the bytes that the ring got before it.
 *
 * Who reads, looks with @reading held. Others (poll, SIOCINQ) may look at any time: the
 * numbers are then those of some moment, and never more than there were.
 */
#include "splice_pair.h"

/* Bytes that TCP has for the reader. */
static u32 tcp_unread(const struct sock *sk, u32 rcv_nxt)
{
	u32 copied_seq = READ_ONCE(tcp_sk(sk)->copied_seq);

	if (!after(rcv_nxt, copied_seq))
		return 0;
	/* a FIN that is not consumed has a sequence number as well: tcp_inq() */
	return rcv_nxt - copied_seq - sock_flag(sk, SOCK_DONE);
}

void sp_look(struct sp_end *end, struct sp_seen *seen)
{
	struct sock *sk = end->sk;
	struct sp_ring *ring = &end->in;
	u32 head, older;

	if (fault(ring_before_tcp))
		seen->ring = sp_ring_unread(ring);
	seen->rcv_nxt = READ_ONCE(tcp_sk(sk)->rcv_nxt);
	seen->tcp = tcp_unread(sk, seen->rcv_nxt);
	seen->before = 0;
	/* pairs with the barrier in ring_send(): see the top */
	smp_rmb();
	/* first: without @reading, a reader may pass the tail of before */
	head = smp_load_acquire(&ring->head);
	/* pairs with sp_ring_publish() */
	seen->tail = smp_load_acquire(&ring->tail);
	if (fault(stale_tail))
		swap(seen->tail, ring->stale);
	if (!fault(ring_before_tcp))
		seen->ring = seen->tail - head;
	if (!seen->ring)
		return;
	older = READ_ONCE(ring->at) - READ_ONCE(tcp_sk(sk)->copied_seq);
	if (unlikely((s32)older > 0)) {
		seen->before = min(older, seen->tcp);
		/* what is missing before the ring is still on its way */
		if (seen->before < older)
			seen->ring = 0;
		seen->tcp = seen->ring ? seen->tcp - seen->before : 0;
	}
}

/* All that can be read. */
u32 sp_seen_all(const struct sp_seen *seen)
{
	return seen->before + seen->ring + seen->tcp;
}

/* Whether a program of another map has redirected bytes to this socket. */
bool sp_is_redirected(struct sp_end *end)
{
	bool redirected;

	rcu_read_lock();
	redirected = !READ_ONCE(end->gone) && !sk_psock_queue_empty(end->psock);
	rcu_read_unlock();
	return redirected;
}

/* tcp_prot.sock_is_readable: asked when TCP alone is not readable. */
bool sp_readable(struct sock *sk)
{
	struct sp_end *end = sp_get(sk);
	struct sp_seen seen;
	bool readable;

	if (!end)
		return false;
	sp_look(end, &seen);
	readable = seen.ring && !fault(poll_blind) &&
		   (fault(lowat_ignored) ||
		    sp_seen_all(&seen) >= sock_rcvlowat(sk, 0, INT_MAX));
	readable |= sp_is_redirected(end);
	sp_put(end);
	return readable;
}
