/* SPDX-License-Identifier: GPL-2.0-only */
/* A ring of bytes between one writer and one reader. */
#ifndef SPLICE_PAIR_RING_H
#define SPLICE_PAIR_RING_H

#include <linux/cache.h>
#include <linux/types.h>
#include <linux/uio.h>

/**
 * struct sp_ring - bytes on their way from one socket to the other
 * @data:	the bytes; a power of two of them
 * @size:	how many
 * @at:		TCP sequence number, of the writer's stream, at which the unread
 *		bytes lie (see send.c); the writer's, and fixed while there are any
 * @head:	bytes ever read; the reader's
 * @stale:	what a planted fault takes for @tail
 * @tail:	bytes ever written; the writer's
 * @passed:	bytes ever written and not recalled
 */
struct sp_ring {
	u8 *data;
	u32 size;
	u32 at;
	u32 head ____cacheline_aligned_in_smp;
	u32 stale;
	u32 tail ____cacheline_aligned_in_smp;
	u64 passed;
};

int sp_ring_init(struct sp_ring *ring, u32 size, gfp_t gfp);
void sp_ring_free(struct sp_ring *ring);
bool sp_ring_fill(struct sp_ring *ring, u32 cursor, struct iov_iter *from,
		  u32 len);
void sp_ring_publish(struct sp_ring *ring, u32 len);
u32 sp_ring_copy(const struct sp_ring *ring, u32 skip, struct iov_iter *to,
		 u32 len);
void sp_ring_consume(struct sp_ring *ring, u32 len);
int sp_ring_kvec(const struct sp_ring *ring, u32 len, struct kvec vec[2]);

/* What the writer may add. */
static inline u32 sp_ring_room(const struct sp_ring *ring)
{
	/* pairs with sp_ring_consume() */
	return ring->size - (ring->tail - smp_load_acquire(&ring->head));
}

/* What the reader can take. */
static inline u32 sp_ring_unread(const struct sp_ring *ring)
{
	/* first: a reader may go on meanwhile, and pass the tail of before */
	u32 head = smp_load_acquire(&ring->head);

	/* pairs with sp_ring_publish() */
	return smp_load_acquire(&ring->tail) - head;
}

#endif
