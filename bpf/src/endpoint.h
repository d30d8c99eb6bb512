/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What both programs share: how an endpoint is named, where endpoints meet, and
 * what a program leaves behind for the executor. src/layout.rs reads the
 * results by this layout.
 */
#ifndef SPARRING_ENDPOINT_H
#define SPARRING_ENDPOINT_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/*
 * The address families of the socket API, which <linux/socket.h> keeps to the
 * kernel.
 */
#define AF_INET 2
#define AF_INET6 10

/*
 * One side's view of a connection. Every field counts in a hash key, so none is
 * left unset.
 */
struct endpoint {
	__u32 family;
	__u32 local[4]; /* network byte order; IPv4 in the first word */
	__u32 remote[4];
	__u32 local_port; /* host byte order */
	__u32 remote_port;
};

/* Bits of struct result: which of its values mean anything. */
#define RESULT_PAIRED (1U << 0)
#define RESULT_BUSY_POLL (1U << 1)
#define RESULT_FURTHER (1U << 2)

struct result {
	__u32 called;
	__s32 update; /* what bpf_sock_hash_update() returned */
	__s32 pair; /* what the kfunc returned */
	__s32 busy_poll; /* what bpf_setsockopt(SO_BUSY_POLL) returned */
	__s32 further; /* what one more call of the kfunc returned */
};

/*
 * The kernel takes an entry out when its socket is closed: this bounds the open
 * endpoints.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 4096);
	__type(key, struct endpoint);
	__type(value, __u64);
} endpoints SEC(".maps");

/*
 * The executor takes out what it reads. LRU, because nobody reads the results
 * of a connection that broke while it was made, and such leftovers must not
 * fill the map.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct endpoint);
	__type(value, struct result);
} results SEC(".maps");

static __always_inline int is_established(const struct bpf_sock_ops *skops)
{
	return skops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ||
	       skops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
}

/*
 * Names the endpoint that the program runs for; 0 if it is neither IPv4 nor
 * IPv6.
 *
 * The words of an IPv6 address are read one by one: the verifier wants a
 * constant offset for each access to the context.
 */
static __always_inline int own_endpoint(const struct bpf_sock_ops *skops,
					struct endpoint *own)
{
	__builtin_memset(own, 0, sizeof(*own));
	own->family = skops->family;
	if (own->family == AF_INET) {
		own->local[0] = skops->local_ip4;
		own->remote[0] = skops->remote_ip4;
	} else if (own->family == AF_INET6) {
		own->local[0] = skops->local_ip6[0];
		own->local[1] = skops->local_ip6[1];
		own->local[2] = skops->local_ip6[2];
		own->local[3] = skops->local_ip6[3];
		own->remote[0] = skops->remote_ip6[0];
		own->remote[1] = skops->remote_ip6[1];
		own->remote[2] = skops->remote_ip6[2];
		own->remote[3] = skops->remote_ip6[3];
	} else {
		return 0;
	}
	/*
	 * The two ports come differently (sock_ops_convert_ctx_access()): the
	 * local one in host byte order, the remote one as the upper half of a
	 * word in network byte order.
	 */
	own->local_port = skops->local_port;
	own->remote_port = bpf_ntohl(skops->remote_port);
	return 1;
}

/* The same connection, seen from the other side. */
static __always_inline void peer_endpoint(const struct endpoint *own,
					  struct endpoint *peer)
{
	peer->family = own->family;
	__builtin_memcpy(peer->local, own->remote, sizeof(peer->local));
	__builtin_memcpy(peer->remote, own->local, sizeof(peer->remote));
	peer->local_port = own->remote_port;
	peer->remote_port = own->local_port;
}

#endif /* SPARRING_ENDPOINT_H */
