// SPDX-License-Identifier: GPL-2.0-only
/* Has a program, but none for sock_ops. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup_skb/egress")
int other(struct __sk_buff *skb)
{
	return skb->len ? 1 : 0;
}

char LICENSE[] SEC("license") = "GPL";
