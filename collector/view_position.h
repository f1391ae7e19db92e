/*
 * Where a view into Kafka stands in a partition: taking it over from whoever had it, and storing how
 * far it has come.
 *
 * Taking over asks Kafka several questions, each of which may wait for seconds, of servers that
 * differ by partition. So each partition is taken over in a thread of its own, and the others go on.
 *
 * Threads: the view's, which owns everything here; a takeover's own sees only the takeover.
 */
#pragma once

#include "collector/view_state.h"
#include "collector/log_reader.h"

/** What every takeover of a view needs; it stays until they have ended. */
struct view_place {
	const char *view; /* its name, for messages */
	const struct kafka_settings *kafka;
	struct log_reader *reader;
	const char *group;
	uint32_t partition_count;
};

/** What a takeover found: from here on the producer is the partition's only one. */
struct view_standing {
	struct kafka_producer *producer;
	struct view_state state;
};

struct view_takeover;

/** Starts. @return 0, -ENOMEM, -EAGAIN */
int view_takeover_start(
	struct view_takeover **out, const struct view_place *place, uint32_t partition) MUST_CHECK;

bool view_takeover_is_over(const struct view_takeover *takeover);

/** It is not wanted any more, and should end soon. */
void view_takeover_abandon(struct view_takeover *takeover);

/**
 * Waits for its end and frees it. Accepts NULL: FAIL_STOPPED.
 *
 * @param out  filled on success: the caller then owns the producer
 * @return 0; FAIL_STOPPED when it was abandoned; FAIL_LIMIT when the position lies behind the log's
 *         end; FAIL_CONFIG; FAIL_REMOTE: try again
 */
int view_takeover_end(
	struct view_takeover *takeover, struct view_standing *out, struct message *msg) MUST_CHECK;

/** Adds state and consumed offset to the producer's open transaction. */
enum kafka_outcome view_position_send(const struct view_place *place, uint32_t partition,
	struct kafka_producer *producer, const struct view_state *state) MUST_CHECK;
