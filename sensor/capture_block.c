#include "sensor/capture_block.h"

#include <stdlib.h>

struct capture_block *capture_block_create(struct capture_block_pool *pool, size_t capacity)
{
	struct capture_block *block = pool->first;

	if (capacity == CAPTURE_BLOCK_BYTES && block != NULL) {
		pool->first = block->next;
	} else {
		block = malloc(sizeof(*block) + capacity);
		if (block == NULL)
			return NULL;
		block->capacity = capacity;
	}
	block->next = NULL;
	atomic_init(&block->holders, 1);
	return block;
}

void capture_block_hold(struct capture_block *block)
{
	atomic_fetch_add_explicit(&block->holders, 1, memory_order_relaxed);
}

void capture_block_release(struct capture_block *block, struct capture_block_pool *pool)
{
	if (block == NULL ||
		atomic_fetch_sub_explicit(&block->holders, 1, memory_order_acq_rel) != 1)
		return;
	if (pool == NULL || block->capacity != CAPTURE_BLOCK_BYTES) {
		free(block);
		return;
	}
	block->next = pool->first;
	pool->first = block;
}

void capture_block_pool_fini(struct capture_block_pool *pool)
{
	while (pool->first != NULL) {
		struct capture_block *block = pool->first;

		pool->first = block->next;
		free(block);
	}
}
