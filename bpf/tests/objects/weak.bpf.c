// SPDX-License-Identifier: GPL-2.0-only
/* Calls a kfunc that no kernel has, declared so that libbpf lets it pass. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int bpf_sparring_no_such_kfunc(void) __ksym __weak;

SEC("sockops")
int weak(struct bpf_sock_ops *skops)
{
	return bpf_sparring_no_such_kfunc() + (int)skops->op;
}

char LICENSE[] SEC("license") = "GPL";
