/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share.
 *
 *	main.c	loading, unloading, counters
 *	fault.c	planted faults
 *	pair.c	making and ending pairs: who holds what until when
 *	arm.c	when the ring towards a socket may be used
 *	hooks.c	the socket's calls that neither send nor receive
 *	send.c	which path a byte takes, and so which bytes are older
 *	look.c	what could be read now
 *	recv.c	the order in which they are read, and waiting
 *	ring.c	the bytes between the two
 *
 * Locks, outer before inner:
 *
 *	sp_end.reading		one reader of a ring at a time; sleeps
 *	lock_sock()		one writer of a ring at a time: the writer's socket
 *	lock_sock(), nested	the other socket: only sp_lock_both(), by address
 *	sk_callback_lock	sk_prot, as sk_psock_drop() and sock_graft() do
 *	sp_ends_lock		which sockets are paired; a leaf
 *
 * A reader of the ring does not need its socket's lock, and a writer never takes
 * @reading, so that the two do not meet while bytes flow.
 */
#ifndef SPLICE_PAIR_H
#define SPLICE_PAIR_H

#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/skmsg.h>
#include <linux/srcu.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "fault.h"
#include "ring.h"

struct sp_pair;

/**
 * struct sp_end - one socket of a pair
 * @sk:		the socket; a reference is held until an RCU grace period after
 *		@gone was set
 * @pair:	the pair
 * @psock:	what the SOCKHASH made of @sk; held until @gone
 * @under:	sk_prot before pairing, which @sk goes back to
 * @gone:	closed, disconnected, destroyed or given back to TCP: whoever sets it
 *		detaches the socket
 * @armed:	every call that receives from @sk comes to sp_recvmsg(), so the
 *		peer may use @in; see sp_arm()
 * @shut:	the peer may not use @in any more, for a call that only TCP can serve
 * @tries:	how often arming was considered
 * @reading:	held by who reads @in
 * @in:		bytes from the peer
 * @node:	in the table of paired sockets
 * @rcu:	for the reference on @sk
 */
struct sp_end {
	struct sock *sk;
	struct sp_pair *pair;
	struct sk_psock *psock;
	struct proto *under;
	int gone;
	bool armed;
	bool shut;
	unsigned int tries;
	struct mutex reading; /* cursor and peeks of @in */
	struct sp_ring in;
	struct hlist_node node;
	struct rcu_head rcu;
};

/**
 * struct sp_pair - two sockets that are the two ends of one connection
 * @refs:	one for each end that is not @gone, one for each call under way
 * @ends:	the sockets
 * @rcu:	for freeing
 */
struct sp_pair {
	refcount_t refs;
	struct sp_end ends[2];
	struct rcu_head rcu;
};

static inline struct sp_end *sp_peer(struct sp_end *end)
{
	return &end->pair->ends[end == &end->pair->ends[0]];
}

/* TCP_REPAIR. A call that meets its begin may miss it, as if it had come before. */
static inline bool sp_repairs(const struct sock *sk)
{
	/* a bit among others, which change with the socket locked */
	return data_race(!!tcp_sk(sk)->repair);
}

struct sp_counters {
	u64 ring_bytes;
	u64 fallbacks;
};

DECLARE_PER_CPU(struct sp_counters, sp_counters);
extern struct srcu_struct sp_calls;
extern atomic_t sp_pairs;
extern atomic_long_t sp_memory;
extern unsigned int sp_ring_size;

/* pair.c */
struct bpf_sock_ops_kern;

int bpf_sock_splice_pair(struct sock *peer, struct bpf_sock_ops_kern *skops);
struct sp_end *sp_get(const struct sock *sk);
void sp_put(struct sp_end *end);
bool sp_leave(struct sp_end *end);
void sp_detach(struct sp_end *end);
struct sock *sp_hold_sk(struct sp_end *end);
void sp_lock_both(struct sock *sk, struct sock *peer);
void sp_unlock_both(struct sock *sk, struct sock *peer);
void sp_close(struct sock *sk, long timeout);
int sp_update_proto(struct sock *sk, struct sk_psock *psock, bool restore);
int sp_pair_init(void);

/* arm.c */
void sp_arm(struct sp_end *end);

/* hooks.c */
void sp_hooks_init(void);
struct proto *sp_proto(const struct sock *sk, bool accepted);
bool sp_is_proto(const struct proto *proto);
struct proto *sp_base(const struct sock *sk);
struct proto *sp_under(const struct sock *sk);
bool sp_adopt_ops(struct sock *sk);
void sp_restore_ops(struct sock *sk);

/* send.c */
int sp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len);
bool sp_recall(struct sp_end *reader);

/* look.c */

/**
 * struct sp_seen - what ring and TCP had when somebody looked
 * @tail:	of the ring
 * @rcv_nxt:	of TCP
 * @before:	bytes that TCP has for the reader before the ring's
 * @ring:	bytes of the ring, once nothing is missing before them
 * @tcp:	bytes that TCP has behind them
 */
struct sp_seen {
	u32 tail;
	u32 rcv_nxt;
	u32 before;
	u32 ring;
	u32 tcp;
};

void sp_look(struct sp_end *end, struct sp_seen *seen);
u32 sp_seen_all(const struct sp_seen *seen);
bool sp_is_redirected(struct sp_end *end);
bool sp_readable(struct sock *sk);

/* recv.c */
int sp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags);

#endif
