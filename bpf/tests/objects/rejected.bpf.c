// SPDX-License-Identifier: GPL-2.0-only
/* Reads beyond its context, which the verifier rejects. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("sockops")
int rejected(struct bpf_sock_ops *skops)
{
	return *((const volatile int *)skops + 1000);
}

char LICENSE[] SEC("license") = "GPL";
