// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pairs: how they are made and how they end.
 *
 * Who holds what until when:
 *
 * - A pair lives as long as one of its ends is attached or a call on one of its
 *   sockets is under way (@refs). It holds the module.
 * - An end is attached from pairing until its socket is closed, disconnected,
 *   given back to TCP or destroyed, whichever comes first (sp_detach()). The last
 *   of these always comes: inet_csk_destroy_sock() calls sk_prot->destroy for
 *   every socket, also for one that nobody accepted.
 * - An attached end holds its socket and its psock. Its own calls have the socket
 *   from their caller. The peer's calls find it in the end, inside an RCU read
 *   section and only while @gone is not set; so do all calls with the psock. The
 *   references are therefore dropped a grace period after @gone is set.
 * - No reference leads from a socket to its pair: the table of paired sockets is
 *   looked up by address and holds nothing. So there is no cycle.
 * - The ring is the pair's: what a closed socket has written can still be read.
 *
 * sk_prot is changed under sk_callback_lock, where sk_psock_drop() changes it,
 * and without the socket's lock, which nobody could take here for the peer. Calls
 * that are already in the old sk_prot go on in it: see arm.c. Two that change
 * sk_prot themselves under the socket's lock cannot be kept out: a map update that
 * has passed sock_map_psock_get_checked(), and setsockopt(TCP_ULP) that has passed
 * sk_prot->setsockopt, at the moment when the peer pairs their socket.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/filter.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <net/inet_hashtables.h>

#include "splice_pair.h"

static DEFINE_HASHTABLE(sp_ends, 12);
static DEFINE_SPINLOCK(sp_ends_lock);

atomic_t sp_pairs = ATOMIC_INIT(0);
atomic_long_t sp_memory = ATOMIC_LONG_INIT(0);

/* The end that @sk is, with a reference on its pair; NULL for another socket. */
struct sp_end *sp_get(const struct sock *sk)
{
	struct sp_end *end;

	/* pairs with the release in attach(): who sees our sk_prot sees the end */
	smp_rmb();
	rcu_read_lock();
	hash_for_each_possible_rcu(sp_ends, end, node, (unsigned long)sk) {
		if (end->sk == sk && refcount_inc_not_zero(&end->pair->refs)) {
			rcu_read_unlock();
			return end;
		}
	}
	rcu_read_unlock();
	return NULL;
}

static void pair_free(struct sp_pair *pair)
{
	sp_ring_free(&pair->ends[0].in);
	sp_ring_free(&pair->ends[1].in);
	kfree(pair);
	atomic_long_sub(sizeof(*pair), &sp_memory);
}

static void pair_release(struct rcu_head *rcu)
{
	struct sp_pair *pair = container_of(rcu, struct sp_pair, rcu);

	atomic_dec(&sp_pairs);
	pair_free(pair);
	module_put(THIS_MODULE);
}

static void pair_put(struct sp_pair *pair)
{
	/* sp_get() may still be looking at it */
	if (refcount_dec_and_test(&pair->refs))
		call_rcu(&pair->rcu, pair_release);
}

void sp_put(struct sp_end *end)
{
	pair_put(end->pair);
}

static struct sp_pair *pair_alloc(void)
{
	struct sp_pair *pair =
		kzalloc(sizeof(*pair), GFP_ATOMIC | __GFP_NOWARN);
	int i;

	if (!pair)
		return NULL;
	atomic_long_add(sizeof(*pair), &sp_memory);
	refcount_set(&pair->refs, 1);
	for (i = 0; i < 2; i++) {
		pair->ends[i].pair = pair;
		/* until it is attached */
		pair->ends[i].gone = 1;
		mutex_init(&pair->ends[i].reading);
		if (sp_ring_init(&pair->ends[i].in, sp_ring_size, GFP_ATOMIC)) {
			pair_free(pair);
			return NULL;
		}
	}
	return pair;
}

/*
 * The peer's socket, referenced; NULL once it is gone. The reference cannot come
 * from 0: @end has one until a grace period after @gone was set.
 */
struct sock *sp_hold_sk(struct sp_end *end)
{
	struct sock *sk = NULL;

	rcu_read_lock();
	/* pairs with the release in attach() */
	if (!smp_load_acquire(&end->gone)) {
		sk = end->sk;
		sock_hold(sk);
	}
	rcu_read_unlock();
	return sk;
}

/* Two sockets are locked in the order of their addresses, or two calls may meet. */
void sp_lock_both(struct sock *sk, struct sock *peer)
{
	if (sk > peer)
		swap(sk, peer);
	lock_sock(sk);
	lock_sock_nested(peer, SINGLE_DEPTH_NESTING);
}

void sp_unlock_both(struct sock *sk, struct sock *peer)
{
	release_sock(sk);
	release_sock(peer);
}

static void put_sk(struct rcu_head *rcu)
{
	struct sp_end *end = container_of(rcu, struct sp_end, rcu);

	if (!fault(leak_psock_ref))
		sk_psock_put(end->sk, end->psock);
	if (!fault(leak_sock_ref))
		sock_put(end->sk);
	pair_put(end->pair);
}

/*
 * Ends the part of one socket. Its calls are TCP's again, and the peer sees @gone
 * before its next byte: the barrier pairs with the one in ring_send(), so that
 * either the peer sees @gone or the caller sees what the peer has published.
 *
 * With the socket locked, where others may still use it: then no send of its own is
 * under way, and none starts; and sock_map_link() does not read sk_prot meanwhile.
 */
void sp_detach(struct sp_end *end)
{
	struct sock *sk = end->sk;

	/* a full barrier, as every xchg(): pairs with the one in ring_send() */
	if (xchg(&end->gone, 1))
		return;

	write_lock_bh(&sk->sk_callback_lock);
	end->psock->psock_update_sk_prot = end->under->psock_update_sk_prot;
	end->psock->saved_close = sp_base(sk)->close;
	if (sp_is_proto(sk->sk_prot))
		WRITE_ONCE(sk->sk_prot, end->under);
	sp_restore_ops(sk);
	write_unlock_bh(&sk->sk_callback_lock);

	spin_lock_bh(&sp_ends_lock);
	hash_del_rcu(&end->node);
	spin_unlock_bh(&sp_ends_lock);

	if (fault(ring_freed_early))
		sp_ring_free(&sp_peer(end)->in);
	if (fault(leak_pair))
		refcount_inc(&end->pair->refs);
	/* the pair keeps @rcu: its reference goes with the socket's */
	call_rcu(&end->rcu, put_sk);
}

/*
 * Gives the socket back to TCP, for what only TCP can do (a ULP, repair mode, zero
 * copy receive). False when unread bytes in the ring cannot follow.
 */
bool sp_leave(struct sp_end *end)
{
	bool empty;

	mutex_lock(&end->reading);
	/* no more bytes from the peer; those that are there go to TCP */
	WRITE_ONCE(end->shut, true);
	empty = sp_recall(end);
	mutex_unlock(&end->reading);
	if (empty) {
		lock_sock(end->sk);
		sp_detach(end);
		release_sock(end->sk);
	}
	return empty;
}

/*
 * The socket enters another map, or the same one again. sock_map_link() has looked at
 * sk_prot->close, which is therefore sock_map_close().
 */
int sp_update_proto(struct sock *sk, struct sk_psock *psock, bool restore)
{
	/*
	 * The end holds the psock, and takes itself out of it before it lets it
	 * go: a restore never gets here. A verdict program would want to see
	 * bytes that take the ring.
	 */
	if (restore || psock->progs.msg_parser || psock->progs.stream_parser ||
	    psock->progs.stream_verdict || psock->progs.skb_verdict)
		return -EBUSY;
	return 0;
}

static bool same_addresses(const struct sock *sk, const struct sock *peer)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6)
		return ipv6_addr_equal(&sk->sk_v6_daddr,
				       &peer->sk_v6_rcv_saddr) &&
		       ipv6_addr_equal(&peer->sk_v6_daddr,
				       &sk->sk_v6_rcv_saddr);
#endif
	return sk->sk_daddr == peer->sk_rcv_saddr &&
	       peer->sk_daddr == sk->sk_rcv_saddr;
}

static bool same_connection(const struct sock *sk, const struct sock *peer)
{
	const struct inet_sock *a = inet_sk(sk), *b = inet_sk(peer);
	const struct tcp_sock *out = tcp_sk(sk), *in = tcp_sk(peer);

	if (fault(tuple_reuse))
		return true;
	if (a->inet_sport != b->inet_dport || a->inet_dport != b->inet_sport)
		return false;
	if (!same_addresses(sk, peer))
		return false;
	/*
	 * The same addresses may exist in two namespaces, or in a stale entry
	 * of the map. What one side has received, the other has sent: initial
	 * sequence numbers are random (RFC 6528).
	 */
	return between(READ_ONCE(in->rcv_nxt), READ_ONCE(out->snd_una),
		       READ_ONCE(out->write_seq)) &&
	       between(READ_ONCE(out->rcv_nxt), READ_ONCE(in->snd_una),
		       READ_ONCE(in->write_seq));
}

static bool can_pair(const struct sock *sk)
{
	return sk_fullsock(sk) && sk_is_tcp(sk) &&
	       ((1 << inet_sk_state_load(sk)) &
		(TCPF_ESTABLISHED | TCPF_SYN_RECV)) &&
	       !sp_repairs(sk) && !READ_ONCE(tcp_sk(sk)->urg_data);
}

/* Whether @sk is plain TCP with a psock that only makes it an entry of a map. */
static bool is_plain(const struct sock *sk, const struct sk_psock *psock)
{
	const struct proto *proto = READ_ONCE(sk->sk_prot);

	return psock->sk_proto == sp_base(sk) && !inet_csk_has_ulp(sk) &&
	       proto->close == sock_map_close &&
	       proto->sendmsg == tcp_sendmsg && !psock->progs.msg_parser &&
	       !psock->progs.stream_parser && !psock->progs.stream_verdict &&
	       !psock->progs.skb_verdict;
}

/* Puts @sk into @end; takes over the reference on @psock if it does. */
static int attach(struct sp_end *end, struct sock *sk, struct sk_psock *psock)
{
	int err = 0;

	write_lock_bh(&sk->sk_callback_lock);
	if (sp_is_proto(sk->sk_prot)) {
		err = -EEXIST;
	} else if (sock_flag(sk, SOCK_DEAD) || !is_plain(sk, psock)) {
		/* a dead socket may have been destroyed already */
		err = -EINVAL;
	} else {
		sock_hold(sk);
		refcount_inc(&end->pair->refs);
		end->sk = sk;
		end->psock = psock;
		end->under = sk->sk_prot;
		end->armed = !sk->sk_socket;
		/* pairs with sp_hold_sk() */
		smp_store_release(&end->gone, 0);
		spin_lock(&sp_ends_lock);
		hash_add_rcu(sp_ends, &end->node, (unsigned long)sk);
		spin_unlock(&sp_ends_lock);
		psock->psock_update_sk_prot = sp_update_proto;
		psock->saved_close = sp_close;
		/* pairs with sp_get() */
		smp_store_release(&sk->sk_prot, sp_proto(sk, sk->sk_socket));
	}
	write_unlock_bh(&sk->sk_callback_lock);
	return err;
}

/*
 * The peer's psock was taken with the peer alive, but nothing keeps the peer from
 * being closed meanwhile: attach() finds out.
 */
static int make_pair(struct sock *sk, struct sock *peer, struct sk_psock *psock,
		     struct sk_psock *peer_psock)
{
	struct sp_pair *pair = pair_alloc();
	int err;

	if (!pair)
		return -ENOMEM;
	/* the program that calls holds the module, so there is one to get */
	__module_get(THIS_MODULE);
	atomic_inc(&sp_pairs);
	err = attach(&pair->ends[0], sk, psock);
	if (err) {
		sk_psock_put(sk, psock);
		sk_psock_put(peer, peer_psock);
		goto out;
	}
	err = attach(&pair->ends[1], peer, peer_psock);
	if (err) {
		sk_psock_put(peer, peer_psock);
		sp_detach(&pair->ends[0]);
	}
out:
	pair_put(pair);
	return err;
}

/* Whether the program runs where sock_map.c lets one change maps: with its lock held. */
static bool is_established_op(const struct bpf_sock_ops_kern *skops)
{
	return skops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ||
	       skops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
}

static int pair_sockets(const struct bpf_sock_ops_kern *skops,
			struct sock *peer)
{
	struct sk_psock *psock, *peer_psock;
	struct sock *sk;

	if (!skops || !peer || skops->sk == peer || !is_established_op(skops))
		return -EINVAL;
	sk = skops->sk;
	if (!can_pair(sk) || !can_pair(peer) ||
	    sk->sk_family != peer->sk_family)
		return -EINVAL;
	if (sp_is_proto(READ_ONCE(sk->sk_prot)) ||
	    sp_is_proto(READ_ONCE(peer->sk_prot)))
		return fault(pair_twice) ? 0 : -EEXIST;
	if (!same_connection(sk, peer))
		return -EINVAL;
	psock = sk_psock_get(sk);
	if (!psock)
		return -ENOENT;
	peer_psock = sk_psock_get(peer);
	if (!peer_psock) {
		sk_psock_put(sk, psock);
		return -ENOENT;
	}
	return make_pair(sk, peer, psock, peer_psock);
}

__bpf_kfunc_start_defs();

/**
 * bpf_sock_splice_pair() - let the bytes of a local connection take a ring
 * @peer:	the other socket of the connection; the reference is taken over
 *		whatever the result
 * @skops:	the context of a sock_ops program, which holds its socket's lock
 *
 * Return: 0; -EEXIST if one of them is paired; -EINVAL for sockets that are not
 * the two plain, established ends of one TCP connection; -ENOENT if one is in no
 * SOCKHASH; -ENOMEM.
 */
__bpf_kfunc int bpf_sock_splice_pair(struct sock *peer,
				     struct bpf_sock_ops_kern *skops)
{
	int err = pair_sockets(skops, peer);

	if (fault(pair_result_wrong) && !err)
		err = -EEXIST;
	if (peer && sk_is_refcounted(peer) && !fault(leak_peer_ref))
		sock_gen_put(peer);
	return err;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(sp_kfuncs)
BTF_ID_FLAGS(func, bpf_sock_splice_pair, KF_RELEASE)
BTF_KFUNCS_END(sp_kfuncs)

static const struct btf_kfunc_id_set sp_kfunc_set = {
	.owner = THIS_MODULE,
	.set = &sp_kfuncs,
};

int sp_pair_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_SOCK_OPS, &sp_kfunc_set);
}
