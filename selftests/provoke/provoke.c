// SPDX-License-Identifier: GPL-2.0-only
/*
 * Breaks the kernel a while after it was loaded, so that the selftests can see what the harness makes of it.
 */
#include <linux/bug.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/processor.h>
#include <linux/timer.h>

static char *how = "warn";
module_param(how, charp, 0);
MODULE_PARM_DESC(how, "what to do: warn, panic or hang");

static unsigned int after_ms = 1000;
module_param(after_ms, uint, 0);
MODULE_PARM_DESC(after_ms, "when to do it, in milliseconds after loading");

static void provoke(struct timer_list *unused)
{
	if (!strcmp(how, "panic"))
		panic("provoked");
	if (!strcmp(how, "hang")) {
		local_irq_disable();
		for (;;)
			cpu_relax();
	}
	WARN(1, "provoked\n");
}

static DEFINE_TIMER(timer, provoke);

static int __init provoke_init(void)
{
	mod_timer(&timer, jiffies + msecs_to_jiffies(after_ms));
	return 0;
}

static void __exit provoke_exit(void)
{
	timer_delete_sync(&timer);
}

module_init(provoke_init);
module_exit(provoke_exit);
MODULE_DESCRIPTION("breaks the kernel, for the selftests of sparring");
MODULE_LICENSE("GPL");
