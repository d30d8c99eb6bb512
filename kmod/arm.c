// SPDX-License-Identifier: GPL-2.0-only
/*
 * When the ring towards a socket may be used.
 *
 * A call that was in tcp_recvmsg() or tcp_splice_read() when the socket was paired
 * does not know of the ring: it would sleep beside it, or take TCP's bytes before
 * it. So the ring is not used until there can be no such call. That is known for a
 * socket that was not accepted when it was paired; otherwise a call on the socket
 * that finds itself alone knows it. Calls that start later find the new sk_prot and
 * proto_ops, which are in place before the references are counted.
 *
 * Looking costs a walk over the file table; where others hold the file for ever (a
 * forked server), it is done ever less often.
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/sched.h>

#include "splice_pair.h"

struct holders {
	const struct file *file;
	unsigned long refs;
	unsigned long here;
};

static int count_holder(const void *data, struct file *file, unsigned int fd)
{
	struct holders *holders = (struct holders *)data;

	if (file == holders->file && !holders->here++)
		holders->refs = file_count(file);
	return 0;
}

/*
 * Whether the call under way is the only one on the socket. A system call either
 * holds a reference on the file or runs in a task that shares its file table with
 * nobody (fdget()). So when all references are the entries in our table and our
 * own, nobody else is in a call. Table and count are read under the table's lock:
 * an entry that comes or goes cannot hide a call.
 */
static bool only_call(const struct sock *sk)
{
	struct files_struct *files = current->files;
	const struct socket *sock = sk->sk_socket;
	struct holders holders = {};

	if (!sock || !sock->file || !files)
		return false;
#ifdef CONFIG_IO_URING
	/* a fixed file's requests hold no reference of their own */
	if (current->io_uring)
		return false;
#endif
	/* pairs with the reference that a call takes before it looks at sk_prot */
	smp_mb();
	holders.file = sock->file;
	iterate_fd(files, 0, count_holder, &holders);
	return holders.here &&
	       holders.refs == holders.here + (atomic_read(&files->count) > 1);
}

/* Lets the peer use the ring towards @end, if no call can be in the way. */
void sp_arm(struct sp_end *end)
{
	struct sock *sk = end->sk;
	bool adopted;

	/* any number of threads may try */
	if (!is_power_of_2(data_race(++end->tries)))
		return;
	write_lock_bh(&sk->sk_callback_lock);
	adopted = !READ_ONCE(end->gone) && sp_adopt_ops(sk);
	write_unlock_bh(&sk->sk_callback_lock);
	if (!adopted || !only_call(sk))
		return;
	/* pairs with the acquire in room() */
	smp_store_release(&end->armed, true);
}
