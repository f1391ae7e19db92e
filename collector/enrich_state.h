/*
 * What the view enrich keeps of a partition in state.v1: its position, because Kafka forgets a
 * group's offsets after a week, and the gaps: what the flows topic no longer held when the view came
 * to it. Both change only in the transaction that they are about.
 *
 *   {"offset":1200,"gaps":[[300,950]],"older_gaps":0}
 *
 * Threads: pure functions, but for enrich_state_load, which any may call.
 */
#pragma once

#include "schemas/base/kafka.h"

#define ENRICH_GAPS_MAX 32 /* a gap takes a standstill of days: enough for years */

/** Offsets [from, to) of the flows topic that the view never read. */
struct enrich_gap {
	int64_t from, to;
};

struct enrich_state {
	int64_t offset; /* the next one to read; -1 nothing is stored */
	struct enrich_gap gaps[ENRICH_GAPS_MAX];
	size_t gap_count;
	uint64_t older_gaps; /* that had to make room */
};

/** The key of a partition's state, and its transactional id. */
void enrich_state_key(char out[TRANSACTIONAL_ID_BYTES], const char *group, uint32_t partition);

/** The name of the view's consumer group. */
void enrich_state_group(
	char out[TRANSACTIONAL_ID_BYTES / 2], const char *prefix, const char *group);

/** Keeps a gap; the oldest one makes room when there are too many. */
void enrich_state_add_gap(struct enrich_state *state, int64_t from, int64_t to);

void enrich_state_encode(const struct enrich_state *state, struct buffer *out);

/** Reads a stored value; one that is none, and no value at all, are a state without anything. */
void enrich_state_decode(struct enrich_state *out, struct bytes value);

/** Reads the newest committed state. @return 0, FAIL_REMOTE with `msg`, FAIL_CONFIG, -ENOMEM */
int enrich_state_load(struct enrich_state *out, const struct kafka_settings *kafka, const char *key,
	int timeout_ms, struct message *msg) MUST_CHECK;
