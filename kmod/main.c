// SPDX-License-Identifier: GPL-2.0-only
/*
 * A reference implementation of bpf_sock_splice_pair(): the bytes of a paired local
 * TCP connection take a ring, and the applications cannot tell. See splice_pair.h
 * for what is where.
 */
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "splice_pair.h"

#define RING_MIN 64
#define RING_MAX SZ_1M

unsigned int sp_ring_size = 65536;
module_param_named(ring_size, sp_ring_size, uint, 0444);
MODULE_PARM_DESC(ring_size,
		 "bytes per direction, a power of two from 64 to 1 MiB");

DEFINE_PER_CPU(struct sp_counters, sp_counters);

/* Calls that may sleep in a function of TCP, and return, with no pair to hold the module. */
DEFINE_SRCU(sp_calls);

static struct sp_counters counted(void)
{
	struct sp_counters sum = {};
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct sp_counters *part = per_cpu_ptr(&sp_counters, cpu);

		/* counts, not facts: other processors go on counting */
		sum.ring_bytes += data_race(part->ring_bytes);
		/* as above */
		sum.fallbacks += data_race(part->fallbacks);
	}
	return sum;
}

static int ring_bytes_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%llu\n", counted().ring_bytes);
}

static int fallbacks_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%llu\n", counted().fallbacks);
}

static int pairs_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%d\n", atomic_read(&sp_pairs));
}

static int memory_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(&sp_memory));
}

static const struct kernel_param_ops ring_bytes_ops = {.get = ring_bytes_get};
static const struct kernel_param_ops fallbacks_ops = {.get = fallbacks_get};
static const struct kernel_param_ops pairs_ops = {.get = pairs_get};
static const struct kernel_param_ops memory_ops = {.get = memory_get};

module_param_cb(ring_bytes, &ring_bytes_ops, NULL, 0444);
MODULE_PARM_DESC(ring_bytes, "bytes that took a ring (read only)");
module_param_cb(fallbacks, &fallbacks_ops, NULL, 0444);
MODULE_PARM_DESC(fallbacks,
		 "messages of which TCP took all or the rest (read only)");
module_param_cb(pairs, &pairs_ops, NULL, 0444);
MODULE_PARM_DESC(pairs, "pairs that exist (read only)");
module_param_cb(memory, &memory_ops, NULL, 0444);
MODULE_PARM_DESC(memory, "bytes that pairs hold (read only)");

static int __init sp_init(void)
{
	if (!is_power_of_2(sp_ring_size) || sp_ring_size < RING_MIN ||
	    sp_ring_size > RING_MAX) {
		pr_err("splice_pair: ring_size %u: a power of two, %u to %u\n",
		       sp_ring_size, RING_MIN, RING_MAX);
		return -EINVAL;
	}
	sp_hooks_init();
	return sp_pair_init();
}

/*
 * Every pair holds the module, so there is none. But a call that began before its
 * socket left may be under way. First, between reading sk_prot and the first
 * instructions of what it found there: preempted, not asleep, which RCU tasks waits
 * for. Then, asleep inside sp_calls. At last, in the last instructions.
 */
static void __exit sp_exit(void)
{
	synchronize_rcu_tasks();
	synchronize_srcu(&sp_calls);
	synchronize_rcu_tasks();
	rcu_barrier();
}

module_init(sp_init);
module_exit(sp_exit);
MODULE_DESCRIPTION("a ring between the two ends of a local TCP connection");
MODULE_LICENSE("GPL");
