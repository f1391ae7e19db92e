/*
 * Memory for one window: handed out in pieces, given back all at once. And single large pieces.
 *
 * Blocks grow with use, so a minute with a single late packet costs little and a busy one gets
 * huge pages (a flow table is larger than what the processor's address cache reaches with small
 * ones).
 *
 * Threads: an arena belongs to the window's owner; spare blocks are shared by all, under a lock.
 */
#pragma once

#include <stddef.h>

struct arena_block;

/** Zero-initialise. */
struct arena {
	struct arena_block *newest;
	size_t used; /* of the newest block */
	size_t held; /* bytes in all blocks */
};

/** `size` bytes, aligned to a cache line (64), uninitialised; NULL when memory is out. Valid until arena_fini. */
void *arena_take(struct arena *arena, size_t size);
void arena_fini(struct arena *arena);

/** Zeroed memory of its own, in huge pages where it is large enough for them; NULL when out. */
void *large_alloc(size_t size);

/** Gives it back. @param size  as it was asked for */
void large_free(void *memory, size_t size);
