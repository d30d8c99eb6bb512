// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pairs the two endpoints of a local TCP connection: each one enters itself
 * into a SOCKHASH once it is established, and whichever finds the other one
 * there asks the kernel to pair them.
 */
#include "endpoint.h"

#define SOL_SOCKET 1
#define SO_BUSY_POLL 46

/*
 * Only pointers to these are passed on. They are defined, though empty: libbpf
 * compares the kfunc's signature with the kernel's by kind, and a mere
 * declaration is of another kind than a structure.
 */
struct sock {};
struct bpf_sock_ops_kern {};

/* Takes over the reference on @peer, whatever it returns. */
extern int bpf_sock_splice_pair(struct sock *peer,
				struct bpf_sock_ops_kern *skops) __ksym;
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

/*
 * Microseconds of busy polling that each endpoint sets for itself; 0 leaves the
 * option alone.
 */
const volatile __u32 busy_poll_us = 0;

/* What else is asked for, besides pairing each endpoint with its peer. */
#define ATTEMPT_ONCE 0 /* nothing */
#define ATTEMPT_TWICE 1 /* the same once more, right after */
#define ATTEMPT_STRANGER 2 /* before it, an endpoint of another connection */
#define ATTEMPT_LEAVE 3 /* not even that */

struct attempt {
	__u32 kind;
	struct endpoint stranger;
};

/* The executor writes it before it connects; see src/layout.rs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct attempt);
} attempts SEC(".maps");

/*
 * Asks the kernel for a pair with the endpoint of that name; 0 if there is none
 * in the SOCKHASH, so that nothing was asked.
 */
static __always_inline int pair_with(struct bpf_sock_ops *skops,
				     const struct endpoint *name, __s32 *answer)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&endpoints, name);

	if (!sk)
		return 0;
	*answer = bpf_sock_splice_pair((struct sock *)sk,
				       bpf_cast_to_kern_ctx(skops));
	return 1;
}

SEC("sockops")
int pair(struct bpf_sock_ops *skops)
{
	struct endpoint own, peer;
	struct result result = {};
	struct attempt *attempt;
	__u32 first = 0;

	if (!is_established(skops) || !own_endpoint(skops, &own))
		return 1;

	/*
	 * A 4-tuple may come again before the entry of the earlier connection
	 * is gone.
	 */
	result.update = bpf_sock_hash_update(skops, &endpoints, &own, BPF_ANY);

	if (busy_poll_us) {
		int us = busy_poll_us;

		result.called |= RESULT_BUSY_POLL;
		result.busy_poll = bpf_setsockopt(
			skops, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us));
	}

	attempt = bpf_map_lookup_elem(&attempts, &first);
	if (!attempt) /* never: an array has all of its entries */
		return 1;

	if (attempt->kind == ATTEMPT_STRANGER &&
	    pair_with(skops, &attempt->stranger, &result.further))
		result.called |= RESULT_FURTHER;

	peer_endpoint(&own, &peer);
	if (attempt->kind != ATTEMPT_LEAVE &&
	    pair_with(skops, &peer, &result.pair)) {
		result.called |= RESULT_PAIRED;
		if (attempt->kind == ATTEMPT_TWICE &&
		    pair_with(skops, &peer, &result.further))
			result.called |= RESULT_FURTHER;
	}

	bpf_map_update_elem(&results, &own, &result, BPF_ANY);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
