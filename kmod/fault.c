// SPDX-License-Identifier: GPL-2.0-only
/* Turns one of the planted faults on. */
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "fault.h"

struct static_key_false sp_faults[SP_FAULTS] = {
	[0 ... SP_FAULTS - 1] = STATIC_KEY_FALSE_INIT,
};

/* In the order of enum sp_fault, each with its NUL. */
static const char names[] =
#define FAULT(name, ...) #name "\0"
#include "faults.def"
#undef FAULT
	;

static int chosen = -1;

static const char *name_of(int fault)
{
	const char *name = names;

	while (fault-- > 0)
		name += strlen(name) + 1;
	return name;
}

static int fault_set(const char *value, const struct kernel_param *param)
{
	int at = 0;

	while (at < SP_FAULTS && strcmp(value, name_of(at)))
		at++;
	if (at == SP_FAULTS)
		return -EINVAL;
	if (chosen >= 0)
		return -EBUSY;
	chosen = at;
	static_branch_enable(&sp_faults[at]);
	return 0;
}

static int fault_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%s\n", chosen < 0 ? "" : name_of(chosen));
}

static const struct kernel_param_ops fault_ops = {
	.set = fault_set,
	.get = fault_get,
};

module_param_cb(fault, &fault_ops, NULL, 0444);
MODULE_PARM_DESC(fault, "the planted fault to turn on; see faults.def");
