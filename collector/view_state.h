/*
 * What a view into Kafka keeps of a partition in state.v1: its position, because Kafka forgets a
 * group's offsets after a week, the gaps (what the flows topic no longer held when the view came to
 * it), and whatever else the view needs to go on. All change only in the transaction that they are
 * about.
 *
 *   {"offset":1200,"gaps":[[300,950]],"older_gaps":0,"kept":…}
 *
 * Threads: pure functions, but for view_state_load, which any may call.
 */
#pragma once

#include "schemas/base/kafka.h"

#define VIEW_GAPS_MAX 32 /* a gap takes a standstill of days: enough for years */

/** Offsets [from, to) of the flows topic that the view never read. */
struct view_gap {
	int64_t from, to;
};

struct view_state {
	int64_t offset; /* the next one to read; -1 nothing is stored */
	struct view_gap gaps[VIEW_GAPS_MAX];
	size_t gap_count;
	uint64_t older_gaps; /* that had to make room */
	struct buffer kept;  /* JSON, the view's own; empty: nothing */
};

void view_state_fini(struct view_state *state);

/** The key of a partition's state, and its transactional id. */
void view_state_key(char out[TRANSACTIONAL_ID_BYTES], const char *group, uint32_t partition);

/** The name of a view's consumer group. */
void view_state_group(char out[TRANSACTIONAL_ID_BYTES / 2], const char *prefix, const char *group,
	const char *view);

/** Keeps a gap; the oldest one makes room when there are too many. */
void view_state_add_gap(struct view_state *state, int64_t from, int64_t to);

void view_state_encode(const struct view_state *state, struct buffer *out);

/** Reads a stored value into a state that is empty; one that is none, and no value at all, are a state without
 * anything. */
void view_state_decode(struct view_state *out, struct bytes value);

/** Reads the newest committed state. @return 0, FAIL_REMOTE with `msg`, FAIL_CONFIG, -ENOMEM */
int view_state_load(struct view_state *out, const struct kafka_settings *kafka, const char *key,
	int timeout_ms, struct message *msg) MUST_CHECK;
