/*
 * A view of the log: a consumer group, a thread, one sink, a watermark of its own.
 *
 * Views share nothing, so that one whose sink is away never delays another.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "schemas/base/options.h"

struct view {
	const char *name;
	/* Runs until `*stop`. @return 0, or a negative code with `msg` when it cannot go on */
	int (*run)(const struct config *config, const atomic_bool *stop, struct message *msg);
};

/** The view of a name, NULL when there is none (yet). */
const struct view *view_find(const char *name);

int view_count_run(
	const struct config *config, const atomic_bool *stop, struct message *msg) MUST_CHECK;
int view_enrich_run(
	const struct config *config, const atomic_bool *stop, struct message *msg) MUST_CHECK;
int view_watch_run(
	const struct config *config, const atomic_bool *stop, struct message *msg) MUST_CHECK;

/**
 * Counts the log anew, beside the live keys, and puts the result in their place once it has caught
 * up with them; live members go on meanwhile.
 *
 * @param from_s  buckets that start before stay as they are; INT64_MIN replaces everything
 * @return 0; FAIL_LIMIT when there is nothing to rebuild, or the log begins too late; FAIL_STOPPED;
 *         FAIL_REMOTE
 */
int view_count_rebuild(const struct config *config, const atomic_bool *stop, int64_t from_s,
	struct message *msg) MUST_CHECK;
