/*
 * Reading captures: files and pipes through the workers into entries.
 *
 * Packet time closes minutes: a minute closes when a packet ten seconds younger than its end has
 * been read, so what is a little out of order finds it open. What comes later makes another part.
 * Where batches and minutes are cut depends on the input alone.
 *
 * Threads: one per worker, and the caller's.
 */
#pragma once

#include <stdatomic.h>

#include "sensor/capture_merge.h"
#include "sensor/entry.h"
#include "sensor/worker.h"

struct replay_options {
	struct worker_options worker; /* worker and workers are set by the replay */
	unsigned workers;
	bool shows_progress;
	const atomic_bool *stop; /* set from outside: ends at the next batch */
};

/**
 * Reads the whole input.
 *
 * @param summary  set to the merged summary when one is wanted; the caller destroys it
 * @return 0, -ENOMEM, FAIL_STOPPED, or what the closer's sink returned
 */
int replay_run(const struct replay_options *options, struct capture_merge *merge,
	struct entry_closer *closer, struct summary **summary) MUST_CHECK;
