// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of a paired socket that neither send nor receive.
 *
 * A paired socket has our struct proto, made from TCP's: most of it stays, poll(2)
 * comes through sock_is_readable, and what has to know of the ring is below. There
 * are two for each address family, as in tcp_bpf.c: the one for a socket that waits
 * in accept's queue has a release_cb, in which accept(2) hands over the new socket:
 * inet_accept() releases the lock after sock_graft(). Then proto_ops are changed as
 * well, before anybody can use them.
 *
 * In proto_ops, splice_read is left out: sock_splice_read() then receives into
 * pages (copy_splice_read()), in the order of recv.c. What only TCP can do with its
 * receive queue makes the socket leave the pair.
 */
#include <linux/fs.h>
#include <linux/net.h>
#include <linux/sockptr.h>
#include <linux/uaccess.h>
#include <net/inet_common.h>
#include <net/transp_v6.h>
#include <asm/ioctls.h>

#include "splice_pair.h"

enum { V4, V6, FAMILIES };
enum { WAITING, ACCEPTED, STAGES };

static struct proto protos[FAMILIES][STAGES] __ro_after_init;
static struct proto_ops ops[FAMILIES] __ro_after_init;

static int family(const struct sock *sk)
{
	return sk->sk_family == AF_INET6 ? V6 : V4;
}

/* TCP's own. */
struct proto *sp_base(const struct sock *sk)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (family(sk) == V6)
		return &tcpv6_prot;
#endif
	return &tcp_prot;
}

static const struct proto_ops *base_ops(const struct sock *sk)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (family(sk) == V6)
		return &inet6_stream_ops;
#endif
	return &inet_stream_ops;
}

struct proto *sp_proto(const struct sock *sk, bool accepted)
{
	return &protos[family(sk)][accepted ? ACCEPTED : WAITING];
}

bool sp_is_proto(const struct proto *proto)
{
	return proto >= &protos[0][0] && proto < &protos[FAMILIES][0];
}

/* What a socket's calls go to when it is not in a pair, or no longer. */
struct proto *sp_under(const struct sock *sk)
{
	struct proto *proto = READ_ONCE(sk->sk_prot);

	return sp_is_proto(proto) ? sp_base(sk) : proto;
}

/* With sk_callback_lock: whether the socket has our proto_ops now. */
bool sp_adopt_ops(struct sock *sk)
{
	struct socket *sock = sk->sk_socket;

	if (!sock || READ_ONCE(sock->ops) != base_ops(sk))
		return sock && sock->ops == &ops[family(sk)];
	WRITE_ONCE(sock->ops, &ops[family(sk)]);
	/* sock_replace_proto() took it away, for tcp_bpf_sendmsg() */
	set_bit(SOCK_SUPPORT_ZC, &sock->flags);
	return true;
}

/* With sk_callback_lock. */
void sp_restore_ops(struct sock *sk)
{
	struct socket *sock = sk->sk_socket;

	if (sock && sock->ops == &ops[family(sk)])
		WRITE_ONCE(sock->ops, base_ops(sk));
}

/* The lock of a socket in accept's queue is released, perhaps by accept(2). */
static void release_cb(struct sock *sk)
{
	sp_base(sk)->release_cb(sk);
	if (!sk->sk_socket)
		return;
	write_lock_bh(&sk->sk_callback_lock);
	/* kernel_accept() sets proto_ops later: then the next release does it */
	if (sk->sk_prot == sp_proto(sk, false) && sp_adopt_ops(sk))
		WRITE_ONCE(sk->sk_prot, sp_proto(sk, true));
	write_unlock_bh(&sk->sk_callback_lock);
}

/*
 * Called by sock_map_close(), instead of tcp_close().
 *
 * Bytes that nobody read make a close an abort (RFC 2525, 2.17), wherever they are.
 * tcp_close() looks into the receive queue only; a linger time of 0 makes it do the
 * same. After sp_detach() set @gone, no byte comes that is not seen here.
 */
void sp_close(struct sock *sk, long timeout)
{
	int idx = srcu_read_lock(&sp_calls);
	struct sp_end *end = sp_get(sk);

	if (end) {
		lock_sock(sk);
		sp_detach(end);
		if (fault(close_drops))
			WRITE_ONCE(sp_peer(end)->in.tail,
				   READ_ONCE(sp_peer(end)->in.head));
		if (sp_ring_unread(&end->in) && !fault(close_politely)) {
			sock_set_flag(sk, SOCK_LINGER);
			sk->sk_lingertime = 0;
		}
		release_sock(sk);
		sp_put(end);
	}
	sp_base(sk)->close(sk, timeout);
	srcu_read_unlock(&sp_calls, idx);
}

/* connect(AF_UNSPEC), with the socket locked. Another connection may follow. */
static int sp_disconnect(struct sock *sk, int flags)
{
	struct sp_end *end = fault(disconnect_forgets) ? NULL : sp_get(sk);

	if (end) {
		sp_detach(end);
		sp_put(end);
	}
	return sp_under(sk)->disconnect(sk, flags);
}

/* The last that happens to a socket, and the first to one that nobody accepted. */
static void sp_destroy(struct sock *sk)
{
	struct sp_end *end = sp_get(sk);

	if (end) {
		sp_detach(end);
		sp_put(end);
	}
	sp_under(sk)->destroy(sk);
}

static void sp_shutdown(struct sock *sk, int how)
{
	struct sp_end *end;

	if (fault(shutdown_drops) && (how & SEND_SHUTDOWN)) {
		end = sp_get(sk);
		if (end) {
			WRITE_ONCE(sp_peer(end)->in.tail,
				   READ_ONCE(sp_peer(end)->in.head));
			sp_put(end);
		}
	}
	sp_base(sk)->shutdown(sk, how);
}

/* SIOCOUTQ needs nothing: bytes in the ring have arrived. */
static int sp_ioctl(struct sock *sk, int cmd, int *karg)
{
	int idx = srcu_read_lock(&sp_calls);
	int ret = sp_base(sk)->ioctl(sk, cmd, karg);
	struct sp_end *end = ret ? NULL : sp_get(sk);

	if (end) {
		if (cmd == SIOCINQ && !fault(inq_blind))
			*karg += sp_ring_unread(&end->in);
		else if (cmd == SIOCATMARK && sp_ring_unread(&end->in))
			*karg = 0;
		else if (cmd == SIOCOUTQ && fault(outq_wrong_ring))
			*karg += sp_ring_unread(&end->in);
		sp_put(end);
	}
	srcu_read_unlock(&sp_calls, idx);
	return ret;
}

/*
 * Leaves the pair, if @sk is in one, for what TCP alone can do: how many bytes are
 * in the way, because the ring's cannot follow.
 */
static u32 leave(struct sock *sk)
{
	struct sp_end *end = sp_get(sk);
	u32 left = 0;

	if (end) {
		if (!sp_leave(end))
			left = sp_ring_unread(&end->in);
		sp_put(end);
	}
	return left;
}

static int sp_setsockopt(struct sock *sk, int level, int optname,
			 sockptr_t optval, unsigned int optlen)
{
	int idx = srcu_read_lock(&sp_calls);
	int err = 0;

	if (level == SOL_TCP && (optname == TCP_ULP || optname == TCP_REPAIR) &&
	    leave(sk))
		err = -EBUSY;
	if (!err)
		err = sp_base(sk)->setsockopt(sk, level, optname, optval,
					      optlen);
	srcu_read_unlock(&sp_calls, idx);
	return err;
}

/* Adds @bytes to the counter at @offset of the struct tcp_info that @info points to. */
static int add_bytes(char __user *info, int len, size_t offset, u64 bytes)
{
	u64 __user *counter = (u64 __user *)(info + offset);
	u64 value;

	if (len < 0 || (size_t)len < offset + sizeof(value))
		return 0;
	if (get_user(value, counter) || put_user(value + bytes, counter))
		return -EFAULT;
	return 0;
}

/* Bytes count as sent, acknowledged and received, whichever path they take. */
static int add_ring(struct sock *sk, char __user *info, int __user *optlen)
{
	struct sp_end *end = sp_get(sk);
	u64 sent, received;
	int len;

	if (!end)
		return 0;
	sent = READ_ONCE(sp_peer(end)->in.passed);
	received = READ_ONCE(end->in.passed);
	sp_put(end);
	if (get_user(len, optlen) ||
	    add_bytes(info, len, offsetof(struct tcp_info, tcpi_bytes_sent),
		      sent) ||
	    add_bytes(info, len, offsetof(struct tcp_info, tcpi_bytes_acked),
		      sent) ||
	    add_bytes(info, len, offsetof(struct tcp_info, tcpi_bytes_received),
		      received))
		return -EFAULT;
	return 0;
}

/* TCP_ZEROCOPY_RECEIVE before bytes that are in no page of TCP: they are for recv(2). */
static int skip_by_recv(char __user *optval, int __user *optlen, u32 bytes)
{
	struct tcp_zerocopy_receive __user *zc = (void __user *)optval;
	int len;

	if (get_user(len, optlen))
		return -EFAULT;
	if (len < (int)offsetofend(struct tcp_zerocopy_receive, recv_skip_hint))
		return -EINVAL;
	return put_user(0, &zc->length) || put_user(bytes, &zc->recv_skip_hint)
		       ? -EFAULT
		       : 0;
}

static int sp_getsockopt(struct sock *sk, int level, int optname,
			 char __user *optval, int __user *optlen)
{
	int idx = srcu_read_lock(&sp_calls);
	u32 left = 0;
	int err;

	if (level == SOL_TCP && optname == TCP_ZEROCOPY_RECEIVE)
		left = leave(sk);
	if (left)
		err = skip_by_recv(optval, optlen, left);
	else
		err = sp_base(sk)->getsockopt(sk, level, optname, optval,
					      optlen);
	if (!err && level == SOL_TCP && optname == TCP_INFO)
		err = add_ring(sk, optval, optlen);
	srcu_read_unlock(&sp_calls, idx);
	return err;
}

/*
 * SO_RCVLOWAT, with the socket locked (or from a BPF program, which cannot sleep).
 * tcp_data_ready() wakes a reader when TCP alone has that much, so from now on TCP
 * has to have it all: see can_receive(). Where the ring's bytes cannot follow, the
 * sender wakes us for TCP's (send_locked()).
 */
static int sp_set_rcvlowat(struct sock *sk, int val)
{
	int err = base_ops(sk)->set_rcvlowat(sk, val);
	struct sp_end *end;

	if (err || sk->sk_rcvlowat <= 1 || has_current_bpf_ctx())
		return err;
	end = sp_get(sk);
	if (!end)
		return 0;
	release_sock(sk);
	mutex_lock(&end->reading);
	/* also waits for a send that has not seen the new value */
	sp_recall(end);
	mutex_unlock(&end->reading);
	lock_sock(sk);
	/* what is left is enough, perhaps */
	if (sp_readable(sk))
		sk->sk_data_ready(sk);
	sp_put(end);
	return 0;
}

static int sp_peek_len(struct socket *sock)
{
	struct sp_end *end = sp_get(sock->sk);
	int len = base_ops(sock->sk)->peek_len(sock);

	if (end) {
		len += sp_ring_unread(&end->in);
		sp_put(end);
	}
	return len;
}

static void make_protos(int family, const struct proto *base,
			const struct proto_ops *from)
{
	struct proto *proto = protos[family];

	proto[ACCEPTED] = *base;
	/* leads to sp_close(): see sp_update_proto() */
	proto[ACCEPTED].close = sock_map_close;
	proto[ACCEPTED].disconnect = sp_disconnect;
	proto[ACCEPTED].destroy = sp_destroy;
	proto[ACCEPTED].shutdown = sp_shutdown;
	proto[ACCEPTED].ioctl = sp_ioctl;
	proto[ACCEPTED].setsockopt = sp_setsockopt;
	proto[ACCEPTED].getsockopt = sp_getsockopt;
	proto[ACCEPTED].sendmsg = sp_sendmsg;
	proto[ACCEPTED].recvmsg = sp_recvmsg;
	proto[ACCEPTED].sock_is_readable = sp_readable;
	proto[ACCEPTED].psock_update_sk_prot = sp_update_proto;

	proto[WAITING] = proto[ACCEPTED];
	proto[WAITING].release_cb = release_cb;

	ops[family] = *from;
	if (!fault(splice_blind))
		ops[family].splice_read = NULL;
	ops[family].set_rcvlowat = sp_set_rcvlowat;
	ops[family].peek_len = sp_peek_len;
}

void sp_hooks_init(void)
{
	make_protos(V4, &tcp_prot, &inet_stream_ops);
#if IS_ENABLED(CONFIG_IPV6)
	make_protos(V6, &tcpv6_prot, &inet6_stream_ops);
#endif
}
