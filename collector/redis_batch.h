/*
 * A tally as one batch for Redis: which keys, and what is added to them.
 *
 * Keys and fields are listed in schemas/README.md.
 *
 * Threads: one at a time.
 */
#pragma once

#include "collector/redis_store.h"
#include "collector/tally.h"

struct redis_lifetimes {
	uint64_t seconds[PERIOD_COUNT];
	int64_t day_offset_s;
};

struct redis_lifetimes redis_lifetimes_of(const struct config *config);

/** What the view count has kept in Redis of its own; what is not there stays as it is. */
int redis_lifetimes_read(struct redis_lifetimes *lifetimes, struct redis_store *store,
	struct message *msg) MUST_CHECK;

/** Fills the batch (which is cleared first). @return 0 or -ENOMEM */
int redis_batch_build(struct redis_batch *batch, struct tally *tally, const char *prefix,
	const struct redis_lifetimes *lifetimes, uint32_t partition) MUST_CHECK;

/** Adds a record of what the topic no longer held when this view came to it. */
void redis_batch_log_gap(struct redis_batch *batch, const char *prefix, uint32_t partition,
	int64_t from, int64_t to);

void redis_batch_fini(struct redis_batch *batch);
