// SPDX-License-Identifier: GPL-2.0-only
/*
 * Breaks the kernel a while after it was loaded, or when somebody makes a network namespace, so that the selftests can
 * see what the harness makes of it.
 */
#include <linux/bug.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/processor.h>
#include <linux/timer.h>
#include <net/net_namespace.h>

static char *how = "warn";
module_param(how, charp, 0);
MODULE_PARM_DESC(how, "what to do: warn, panic or hang");

static unsigned int after_ms = 1000;
module_param(after_ms, uint, 0);
MODULE_PARM_DESC(after_ms, "when to do it, in milliseconds after loading");

static bool netns;
module_param(netns, bool, 0);
MODULE_PARM_DESC(netns, "do it at the next network namespace instead");

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

static int __net_init provoke_net(struct net *net)
{
	if (!net_eq(net, &init_net))
		provoke(NULL);
	return 0;
}

static struct pernet_operations namespaces = {.init = provoke_net};

static int __init provoke_init(void)
{
	if (netns)
		return register_pernet_subsys(&namespaces);
	mod_timer(&timer, jiffies + msecs_to_jiffies(after_ms));
	return 0;
}

static void __exit provoke_exit(void)
{
	if (netns)
		unregister_pernet_subsys(&namespaces);
	timer_delete_sync(&timer);
}

module_init(provoke_init);
module_exit(provoke_exit);
MODULE_DESCRIPTION("breaks the kernel, for the selftests of sparring");
MODULE_LICENSE("GPL");
