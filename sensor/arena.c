#include "sensor/arena.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LINE_BYTES	  64
#define BLOCK_MAGIC	  UINT64_C(0x314b4c4241534f48) /* "HOSABLK1" */
#define PIECE_MAGIC	  UINT64_C(0x3145435041534f48) /* "HOSAPCE1" */
#define FIRST_BLOCK_BYTES (16u << 10)
#define HUGE_PAGE_BYTES	  (2u << 20)
#define LAST_BLOCK_BYTES  (8u << 20) /* blocks double up to this size */
#define SPARES_MAX                                                                                 \
	64 /* blocks of the last size kept for the next minute: no page is cleared twice */

struct arena_block {
	struct arena_block *before;
	size_t bytes;
	size_t used;
	uint64_t magic;
	bool is_file;
};

/* In front of a piece in a file. */
struct piece_head {
	uint64_t magic;
	struct arena_tag tag;
	size_t bytes;
};

static_assert(sizeof(struct arena_block) <= LINE_BYTES && sizeof(struct piece_head) <= LINE_BYTES,
	"heads take a line");

static struct {
	pthread_mutex_t lock;
	struct arena_block *first;
	unsigned count;
} spares = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct arena_block *take_spare(void)
{
	struct arena_block *block;

	pthread_mutex_lock(&spares.lock);
	block = spares.first;
	if (block != NULL) {
		spares.first = block->before;
		spares.count--;
	}
	pthread_mutex_unlock(&spares.lock);
	return block;
}

static void give_back(struct arena_block *block)
{
	if (block->bytes == LAST_BLOCK_BYTES) {
		pthread_mutex_lock(&spares.lock);
		if (spares.count < SPARES_MAX) {
			block->before = spares.first;
			spares.first = block;
			spares.count++;
			block = NULL;
		}
		pthread_mutex_unlock(&spares.lock);
	}
	free(block);
}

static struct arena_block *make_block(size_t bytes)
{
	struct arena_block *block = NULL;

	if (bytes < HUGE_PAGE_BYTES)
		return aligned_alloc(LINE_BYTES, bytes);
	if (bytes == LAST_BLOCK_BYTES)
		block = take_spare();
	if (block != NULL)
		return block;
	block = aligned_alloc(HUGE_PAGE_BYTES, bytes);
	if (block != NULL)
		(void)madvise(block, bytes,
			MADV_HUGEPAGE); /* a wish: without it everything works, slower */
	return block;
}

static struct arena_block *make_block_of(struct arena *arena, size_t bytes)
{
	struct arena_block *block = NULL;

	if (arena->file != NULL)
		block = open_file_extend(arena->file, bytes);
	if (block != NULL) {
		block->is_file = true;
		return block;
	}
	block = make_block(bytes); /* also when the disk is full: better counted than kept */
	if (block != NULL)
		block->is_file = false;
	return block;
}

static int add_block(struct arena *arena, size_t size)
{
	size_t bytes = arena->newest != NULL ? arena->newest->bytes * 2 : FIRST_BLOCK_BYTES;
	struct arena_block *block;

	if (bytes > LAST_BLOCK_BYTES)
		bytes = LAST_BLOCK_BYTES;
	while (bytes < size + LINE_BYTES)
		bytes *= 2;
	block = make_block_of(arena, bytes);
	if (block == NULL)
		return -1;
	block->before = arena->newest;
	block->bytes = bytes;
	block->used = LINE_BYTES; /* the block's own head, and what follows is aligned */
	block->magic = BLOCK_MAGIC;
	arena->newest = block;
	arena->held += bytes;
	return 0;
}

void *arena_take(struct arena *arena, size_t size, struct arena_tag tag)
{
	size_t head_bytes = arena->file != NULL ? LINE_BYTES : 0;
	char *piece;

	size = (size + LINE_BYTES - 1) & ~(size_t)(LINE_BYTES - 1);
	if ((arena->newest == NULL ||
		    arena->newest->bytes - arena->newest->used < size + head_bytes) &&
		add_block(arena, size + head_bytes) != 0)
		return NULL;
	piece = (char *)arena->newest + arena->newest->used;
	if (head_bytes > 0)
		*(struct piece_head *)(void *)piece = (struct piece_head){ PIECE_MAGIC, tag, size };
	arena->newest->used += size + head_bytes;
	return piece + head_bytes;
}

void arena_fini(struct arena *arena)
{
	while (arena->newest != NULL) {
		struct arena_block *before = arena->newest->before;

		if (!arena->newest->is_file)
			give_back(arena->newest);
		arena->newest = before;
	}
	*arena = (struct arena){ .file = arena->file };
}

/* The pieces of one block. */
static int walk_block(char *block, size_t used,
	int (*visit)(void *context, struct arena_tag tag, void *piece, size_t piece_bytes),
	void *context)
{
	size_t at = LINE_BYTES;
	int rc = 0;

	while (rc == 0 && used - at >= LINE_BYTES) {
		const struct piece_head *head = (const struct piece_head *)(void *)(block + at);

		if (head->magic != PIECE_MAGIC || head->bytes > used - at - LINE_BYTES)
			break;
		rc = visit(context, head->tag, block + at + LINE_BYTES, head->bytes);
		at += LINE_BYTES + head->bytes;
	}
	return rc;
}

int arena_walk(void *bytes, size_t size,
	int (*visit)(void *context, struct arena_tag tag, void *piece, size_t piece_bytes),
	void *context)
{
	char *at = bytes;
	int rc = 0;

	while (rc == 0 && size >= LINE_BYTES) {
		const struct arena_block *block = (const struct arena_block *)(void *)at;

		if (block->magic != BLOCK_MAGIC || block->bytes > size ||
			block->bytes < LINE_BYTES || block->used > block->bytes ||
			block->used < LINE_BYTES)
			break;
		rc = walk_block(at, block->used, visit, context);
		size -= block->bytes;
		at += block->bytes;
	}
	return rc;
}

static size_t round_up(size_t size)
{
	return (size + HUGE_PAGE_BYTES - 1) & ~(size_t)(HUGE_PAGE_BYTES - 1);
}

/* Maps one huge page more than needed and returns what lies before and behind the aligned part. */
void *large_alloc(size_t size)
{
	size_t bytes = round_up(size), before;
	char *mapped, *memory;

	if (size < HUGE_PAGE_BYTES)
		return calloc(1, size);
	mapped = mmap(NULL, bytes + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapped == MAP_FAILED)
		return NULL;
	before = (size_t)(-(uintptr_t)mapped & (HUGE_PAGE_BYTES - 1));
	memory = mapped + before;
	if (before > 0)
		(void)munmap(mapped, before);
	if (before < HUGE_PAGE_BYTES)
		(void)munmap(memory + bytes, HUGE_PAGE_BYTES - before);
	(void)madvise(memory, bytes, MADV_HUGEPAGE);
	return memory;
}

void large_free(void *memory, size_t size)
{
	if (size < HUGE_PAGE_BYTES)
		free(memory);
	else if (memory != NULL)
		(void)munmap(memory, round_up(size));
}
