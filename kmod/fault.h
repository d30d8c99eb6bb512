/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Planted faults: `fault=NAME` at load breaks the module in one place, so that
 * what judges it can be judged. Every fault is a static key: without one the
 * branches are nops.
 */
#ifndef SPLICE_PAIR_FAULT_H
#define SPLICE_PAIR_FAULT_H

#include <linux/jump_label.h>

enum sp_fault {
#define FAULT(name, ...) SP_FAULT_##name,
#include "faults.def"
#undef FAULT
	SP_FAULTS,
};

extern struct static_key_false sp_faults[SP_FAULTS];

#define fault(name) static_branch_unlikely(&sp_faults[SP_FAULT_##name])

#endif
