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
#include <stdint.h>

#include "sensor/open_file.h"

struct arena_block;

/**
 * Zero-initialise. With a `file` the memory is the file's, and each piece has its tag in front of it,
 * so that arena_walk finds it again.
 */
struct arena {
	struct arena_block *newest;
	size_t held; /* bytes in all blocks */
	struct open_file *file;
};

/** What a piece is for. */
struct arena_tag {
	uint32_t kind;
	uint32_t index;
};

/** `size` bytes, aligned to a cache line (64), uninitialised; NULL when memory is out. Valid until arena_fini. */
void *arena_take(struct arena *arena, size_t size, struct arena_tag tag);

/** Gives back all memory but the file's, which goes with the file. */
void arena_fini(struct arena *arena);

/**
 * Calls `visit` for each whole piece in the blocks that lie one behind the other in `bytes`; what
 * makes no sense ends the walk. @return 0, or what `visit` returned
 */
int arena_walk(void *bytes, size_t size,
	int (*visit)(void *context, struct arena_tag tag, void *piece, size_t piece_bytes),
	void *context);

/** Zeroed memory of its own, in huge pages where it is large enough for them; NULL when out. */
void *large_alloc(size_t size);

/** Gives it back. @param size  as it was asked for */
void large_free(void *memory, size_t size);
