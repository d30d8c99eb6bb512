// SPDX-License-Identifier: GPL-2.0-only
/*
 * Enters each endpoint of a TCP connection into a SOCKHASH and leaves it at
 * that: what TCP does there, unpaired, is the second reference.
 */
#include "endpoint.h"

SEC("sockops")
int sockhash(struct bpf_sock_ops *skops)
{
	struct result result = {};
	struct endpoint own;

	if (!is_established(skops) || !own_endpoint(skops, &own))
		return 1;

	/*
	 * A 4-tuple may come again before the entry of the earlier connection
	 * is gone.
	 */
	result.update = bpf_sock_hash_update(skops, &endpoints, &own, BPF_ANY);
	bpf_map_update_elem(&results, &own, &result, BPF_ANY);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
