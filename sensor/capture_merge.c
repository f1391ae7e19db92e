/*
 * A heap of the files that have frames left, ordered by the time of each one's next frame; among
 * equal times the file named first is above. Every file has a few frames read ahead, all of them
 * in the block where its stream stands; the batch holds the blocks from which it took frames.
 *
 * Archives come as thousands of files that follow one another. Beyond OPEN_FILES_MAX files each
 * is opened, asked for the time of its first frame and closed again; it is opened anew when that
 * frame's turn has come and stays open to its end. So as many are open as overlap in time.
 *
 * One file, or the last that is left, is read straight into the batch.
 */
#include "sensor/capture_merge.h"

#include <stdlib.h>

#include "sensor/capture_block.h"
#include "sensor/capture_file.h"
#include "sensor/capture_filter.h"

#define AHEAD_FRAMES	64
#define OPEN_FILES_MAX	256		   /* a quarter of the usual limit of 1,024 */
#define STORE_BYTES_MAX ((size_t)64 << 20) /* of blocks one batch holds, and one block more */

struct merged_file {
	struct capture_file *file;
	struct frame ahead[AHEAD_FRAMES];
	int ahead_at;
	int ahead_count;
	uint64_t held_in; /* the fill whose batch holds held_block */
	const struct capture_block *held_block;
};

/* Times lie in the heap itself, so that sifting touches no file. */
struct heap_entry {
	uint64_t time_ns;
	size_t index;
};

struct capture_merge {
	struct merged_file *files;
	size_t file_count;
	struct heap_entry *heap;
	size_t heap_count;
	uint64_t fills; /* number of the present fill, from 1 */
	struct capture_filter *filter;
	struct capture_block_pool pool;
};

struct frame_store {
	struct capture_block **blocks;
	size_t count;
	size_t capacity;
	size_t bytes;
};

static void release_store(struct frame_store *store, struct capture_block_pool *pool)
{
	for (size_t i = 0; i < store->count; i++)
		capture_block_release(store->blocks[i], pool);
	store->count = 0;
	store->bytes = 0;
}

static int hold_block(struct frame_store *store, struct capture_block *block)
{
	if (store->count > 0 && store->blocks[store->count - 1] == block)
		return 0;
	if (store->count == store->capacity) {
		size_t capacity = store->capacity != 0 ? 2 * store->capacity : 8;
		void *more = realloc(store->blocks, capacity * sizeof(struct capture_block *));

		if (more == NULL)
			return -ENOMEM;
		store->blocks = more;
		store->capacity = capacity;
	}
	capture_block_hold(block);
	store->blocks[store->count++] = block;
	store->bytes += block->capacity;
	return 0;
}

static bool is_before(const struct heap_entry *a, const struct heap_entry *b)
{
	return a->time_ns != b->time_ns ? a->time_ns < b->time_ns : a->index < b->index;
}

static void sift_down(struct capture_merge *merge, size_t at)
{
	struct heap_entry moving = merge->heap[at];

	for (size_t child = 2 * at + 1; child < merge->heap_count; child = 2 * at + 1) {
		if (child + 1 < merge->heap_count &&
			is_before(&merge->heap[child + 1], &merge->heap[child]))
			child++;
		if (is_before(&moving, &merge->heap[child]))
			break;
		merge->heap[at] = merge->heap[child];
		at = child;
	}
	merge->heap[at] = moving;
}

/* Reads frames ahead; the number of them, 0 at the end of the file, -ENOMEM. */
static int read_ahead(struct merged_file *merged)
{
	int n = capture_file_read(merged->file, merged->ahead, AHEAD_FRAMES);

	merged->ahead_at = 0;
	merged->ahead_count = n > 0 ? n : 0;
	return n;
}

/* Puts the file at the top where its next frame belongs, or takes it out at its end. */
static int settle_top(struct capture_merge *merge)
{
	struct heap_entry *top = &merge->heap[0];
	struct merged_file *merged = &merge->files[top->index];

	if (merged->ahead_at == merged->ahead_count) {
		int n = read_ahead(merged);

		if (n < 0)
			return n;
		if (n == 0) {
			*top = merge->heap[--merge->heap_count];
			sift_down(merge, 0);
			return 0;
		}
	}
	top->time_ns = merged->ahead[merged->ahead_at].time_ns;
	sift_down(merge, 0);
	return 0;
}

static int start_file(struct capture_merge *merge, size_t index)
{
	struct merged_file *merged = &merge->files[index];
	int n = read_ahead(merged);

	if (n <= 0)
		return n;
	merge->heap[merge->heap_count++] = (struct heap_entry){
		.time_ns = merged->ahead[0].time_ns,
		.index = index,
	};
	if (merge->file_count > OPEN_FILES_MAX && capture_file_suspend(merged->file))
		merged->ahead_count = 0; /* read again when its turn has come */
	return 0;
}

static int start_files(struct capture_merge *merge, const char *const *paths)
{
	int rc = 0;

	for (size_t i = 0; i < merge->file_count && rc == 0; i++) {
		rc = capture_file_create(
			&merge->files[i].file, paths[i], merge->filter, &merge->pool);
		if (rc == 0)
			rc = start_file(merge, i);
	}
	if (rc != 0)
		return rc;
	for (size_t at = merge->heap_count; at-- > 0;)
		sift_down(merge, at);
	return 0;
}

int capture_merge_open(struct capture_merge **out, const char *const *paths, size_t path_count,
	const char *filter, const atomic_bool *stop, struct message *msg)
{
	struct capture_merge *merge = calloc(1, sizeof(*merge));
	int rc = -ENOMEM;

	if (merge == NULL)
		return -ENOMEM;
	merge->files = calloc(path_count + 1, sizeof(*merge->files)); /* + 1: never of no size */
	merge->heap = calloc(path_count + 1, sizeof(*merge->heap));
	if (merge->files == NULL || merge->heap == NULL)
		goto fail;
	merge->file_count = path_count;
	merge->pool.stop = stop;

	rc = filter != NULL ? capture_filter_create(&merge->filter, filter, msg) : 0;
	if (rc != 0)
		goto fail;
	rc = start_files(merge, paths);
	if (rc != 0)
		goto fail;
	if (merge->filter != NULL && capture_filter_is_useless(merge->filter, msg)) {
		rc = FAIL_USAGE;
		goto fail;
	}
	*out = merge;
	return 0;

fail:
	capture_merge_close(merge);
	return rc;
}

/* Makes the batch hold the block of the frames read ahead. */
static int hold_ahead(
	struct capture_merge *merge, struct merged_file *merged, struct frame_store *store)
{
	struct capture_block *block = capture_file_block(merged->file);
	int rc;

	if (merged->held_in == merge->fills && merged->held_block == block)
		return 0;
	rc = hold_block(store, block);
	if (rc == 0) {
		merged->held_in = merge->fills;
		merged->held_block = block;
	}
	return rc;
}

/* The second earliest next frame of all files; the end of time when there is one file. */
static struct heap_entry runner_up(const struct capture_merge *merge)
{
	struct heap_entry second = { .time_ns = UINT64_MAX, .index = SIZE_MAX };

	for (size_t child = 1; child <= 2 && child < merge->heap_count; child++)
		if (is_before(&merge->heap[child], &second))
			second = merge->heap[child];
	return second;
}

/*
 * Takes frames of the top file as long as they come before those of all others; or reads ahead in
 * a file that was suspended until now.
 */
static int take_top(struct capture_merge *merge, struct merged_file *top, struct frame_batch *batch)
{
	struct heap_entry next = merge->heap[0];
	struct heap_entry second = runner_up(merge);

	if (top->ahead_at < top->ahead_count) {
		int rc = hold_ahead(merge, top, batch->store);

		if (rc != 0)
			return rc;
	}
	while (top->ahead_at < top->ahead_count && batch->count < FRAME_BATCH_FRAMES) {
		next.time_ns = top->ahead[top->ahead_at].time_ns;
		if (!is_before(&next, &second))
			break;
		batch->frames[batch->count++] = top->ahead[top->ahead_at++];
	}
	return merge->heap_count > 1 ? settle_top(merge) : 0;
}

/* Reads frames of the only file left straight into the batch. */
static int read_only_file(
	struct capture_merge *merge, struct merged_file *only, struct frame_batch *batch)
{
	int room = (int)(FRAME_BATCH_FRAMES - batch->count);
	int n = capture_file_read(only->file, batch->frames + batch->count, room);

	if (n == 0)
		merge->heap_count = 0;
	if (n <= 0)
		return n;
	batch->count += (size_t)n;
	return hold_block(batch->store, capture_file_block(only->file));
}

static bool is_full(const struct frame_batch *batch)
{
	return batch->count == FRAME_BATCH_FRAMES || batch->store->bytes >= STORE_BYTES_MAX;
}

int capture_merge_fill(struct capture_merge *merge, struct frame_batch *batch)
{
	if (batch->store == NULL)
		batch->store = calloc(1, sizeof(*batch->store));
	if (batch->store == NULL)
		return -ENOMEM;
	release_store(batch->store, &merge->pool);
	batch->count = 0;
	merge->fills++;

	while (merge->heap_count > 0 && !is_full(batch)) {
		struct merged_file *top = &merge->files[merge->heap[0].index];
		int rc;

		if (merge->heap_count == 1 && top->ahead_at == top->ahead_count)
			rc = read_only_file(merge, top, batch);
		else
			rc = take_top(merge, top, batch);
		if (rc != 0)
			return rc;
	}
	return (int)batch->count;
}

bool capture_merge_is_damaged(const struct capture_merge *merge)
{
	for (size_t i = 0; i < merge->file_count; i++)
		if (capture_file_is_damaged(merge->files[i].file))
			return true;
	return false;
}

bool capture_merge_has_broken_off(const struct capture_merge *merge)
{
	for (size_t i = 0; i < merge->file_count; i++)
		if (capture_file_has_broken_off(merge->files[i].file))
			return true;
	return false;
}

void capture_merge_progress(const struct capture_merge *merge, uint64_t *read, uint64_t *total)
{
	bool is_known = true;

	*read = 0;
	*total = 0;
	for (size_t i = 0; i < merge->file_count; i++) {
		uint64_t file_read;
		uint64_t file_total;

		capture_file_progress(merge->files[i].file, &file_read, &file_total);
		*read += file_read;
		*total += file_total;
		is_known = is_known && (file_total > 0 || file_read == 0);
	}
	if (!is_known)
		*total = 0;
}

void capture_merge_close(struct capture_merge *merge)
{
	if (merge == NULL)
		return;
	for (size_t i = 0; merge->files != NULL && i < merge->file_count; i++)
		capture_file_destroy(merge->files[i].file);
	capture_filter_destroy(merge->filter);
	capture_block_pool_fini(&merge->pool);
	free(merge->files);
	free(merge->heap);
	free(merge);
}

void frame_batch_fini(struct frame_batch *batch)
{
	if (batch->store != NULL) {
		release_store(batch->store, NULL);
		free(batch->store->blocks);
		free(batch->store);
	}
	batch->store = NULL;
	batch->count = 0;
}
