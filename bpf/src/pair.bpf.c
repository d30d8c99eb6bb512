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

SEC("sockops")
int pair(struct bpf_sock_ops *skops)
{
	struct endpoint own, peer;
	struct result result = {};
	struct bpf_sock *sk;

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

	peer_endpoint(&own, &peer);
	sk = bpf_map_lookup_elem(&endpoints, &peer);
	if (sk) {
		result.called |= RESULT_PAIRED;
		result.pair = bpf_sock_splice_pair((struct sock *)sk,
						   bpf_cast_to_kern_ctx(skops));
	}

	bpf_map_update_elem(&results, &own, &result, BPF_ANY);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
