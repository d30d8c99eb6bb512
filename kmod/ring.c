// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring: a buffer, and a cursor on each side that only its owner moves.
 *
 * The writer fills free space, then moves @tail with a release; a reader that
 * sees the new @tail (acquire) sees the bytes. The reader copies bytes out, then
 * moves @head with a release; a writer that sees the new @head (acquire) may
 * overwrite them: all loads of the copy came before. Cursors count bytes and
 * wrap around at 2^32, so that full (@size) and empty (0) differ.
 *
 * One writer: it holds the lock of its socket. One reader: it holds @reading.
 */
#include <linux/minmax.h>
#include <linux/slab.h>

#include "splice_pair.h"

/* Sockets are paired in atomic context: where memory is in pieces, less will do. */
int sp_ring_init(struct sp_ring *ring, u32 size, gfp_t gfp)
{
	do {
		ring->data = kmalloc(size, gfp | __GFP_NOWARN);
		ring->size = size;
		size /= 2;
	} while (!ring->data && size >= PAGE_SIZE);
	if (!ring->data)
		return -ENOMEM;
	atomic_long_add(ring->size, &sp_memory);
	return 0;
}

void sp_ring_free(struct sp_ring *ring)
{
	if (!ring->data || fault(leak_ring))
		return;
	kfree(ring->data);
	ring->data = NULL;
	atomic_long_sub(ring->size, &sp_memory);
}

/* The first part of @len bytes at @cursor: up to the end of the buffer. */
static u32 first_part(const struct sp_ring *ring, u32 cursor, u32 len)
{
	return min(len, ring->size - (cursor & (ring->size - 1)));
}

/* Puts @len bytes at @cursor, in space that the reader does not see; or moves nothing. */
bool sp_ring_fill(struct sp_ring *ring, u32 cursor, struct iov_iter *from,
		  u32 len)
{
	u32 first = first_part(ring, cursor, len);
	size_t done;

	done = copy_from_iter(ring->data + (cursor & (ring->size - 1)), first,
			      from);
	if (done == first && first < len) {
		if (fault(wrap_short))
			iov_iter_advance(from, len - first);
		else
			done += copy_from_iter(ring->data, len - first, from);
		if (fault(wrap_short))
			done = len;
	}
	if (done == len)
		return true;
	if (fault(bad_buffer_sent)) {
		iov_iter_advance(from, len - done);
		return true;
	}
	iov_iter_revert(from, done);
	return false;
}

/* Shows @len filled bytes to the reader. */
void sp_ring_publish(struct sp_ring *ring, u32 len)
{
	/* pairs with the acquire in sp_ring_unread() */
	smp_store_release(&ring->tail, ring->tail + len);
}

/*
 * Copies up to @len unread bytes, @skip after the first, and consumes none. Short
 * where @to cannot be written: the part in which that happened counts as nothing.
 */
u32 sp_ring_copy(const struct sp_ring *ring, u32 skip, struct iov_iter *to,
		 u32 len)
{
	u32 cursor = ring->head + skip;
	u32 copied = 0;

	while (copied < len) {
		u32 part = first_part(ring, cursor + copied, len - copied);
		size_t done;

		done = copy_to_iter(ring->data + ((cursor + copied) &
						  (ring->size - 1)),
				    part, to);
		if (done < part) {
			iov_iter_revert(to, done);
			break;
		}
		copied += part;
	}
	return copied;
}

/* Gives the space of the first @len unread bytes back to the writer. */
void sp_ring_consume(struct sp_ring *ring, u32 len)
{
	if (fault(wrap_twice))
		len = first_part(ring, ring->head, len);
	/* pairs with the acquire in sp_ring_room() */
	smp_store_release(&ring->head, ring->head + len);
}

/* The first @len unread bytes, where they are. */
int sp_ring_kvec(const struct sp_ring *ring, u32 len, struct kvec vec[2])
{
	u32 first = first_part(ring, ring->head, len);

	vec[0].iov_base = ring->data + (ring->head & (ring->size - 1));
	vec[0].iov_len = first;
	vec[1].iov_base = ring->data;
	vec[1].iov_len = len - first;
	return first < len ? 2 : 1;
}
