/*
 * Blocks of file contents, which frames point into.
 *
 * A stream reads a file block by block; each batch whose frames lie in a block holds on to it, and
 * who lets go last gives it back. So a frame's bytes are never copied between file and worker, and
 * a batch may outlive the file it was read from.
 *
 * Threads: hold and release from any thread; a pool belongs to the one reader.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Ordinary size. From 64 KiB to 2 MiB reading costs the same, so: small enough for L2. */
#define CAPTURE_BLOCK_BYTES ((size_t)128 << 10)

struct capture_block {
	atomic_uint holders;
	size_t capacity;
	struct capture_block *next; /* in the pool */
	uint8_t data[];
};

/** Blocks of the ordinary size that nobody holds. Zero-initialise. */
struct capture_block_pool {
	struct capture_block *first;
	const atomic_bool *stop; /* ends the waiting for input when it becomes true; NULL: never */
};

/** A block with one holder, from the pool where possible; NULL when memory is out. */
struct capture_block *capture_block_create(struct capture_block_pool *pool, size_t capacity);

void capture_block_hold(struct capture_block *block);

/** Lets go of a block; the last holder gives it to the pool, or frees it where `pool` is NULL. */
void capture_block_release(struct capture_block *block, struct capture_block_pool *pool);

void capture_block_pool_fini(struct capture_block_pool *pool);
