/*
 * Sends entries to Kafka, in transactions with their cursor: one or several whole entries each, as
 * many as are waiting.
 *
 * Threads: one at a time, the sink's sending thread after sender_open.
 */
#pragma once

#include <stdatomic.h>

#include "schemas/base/kafka.h"
#include "sensor/cursor.h"
#include "sensor/entry.h"

struct sender_options {
	struct kafka_settings kafka;
	bool is_live;
	bool wants_again;			       /* --again */
	const char *settings;			       /* replays: replay_settings */
	char transactional_id[TRANSACTIONAL_ID_BYTES]; /* also the cursor's key */
	uint32_t partitions;
	const char *spool_id;	 /* live: whose sequence numbers the entries carry; NULL none */
	const atomic_bool *stop; /* set from outside: gives up, also what is not sent */
};

struct sender;

/**
 * Fences earlier instances, reads the cursor, commits this instance's id.
 *
 * @return 0, FAIL_REMOTE, FAIL_STOPPED, or FAIL_FORMAT with `msg` when the replay began with other
 *         settings
 */
int sender_open(struct sender **out, const struct sender_options *options, struct origin *origin,
	struct message *msg) MUST_CHECK;

/**
 * Sends entries, chained by `next`, in one transaction; those that the cursor shows to be committed
 * are skipped. Tries until all are in, with new producers where needed.
 *
 * @return 0, FAIL_FENCED when a second sensor of this name is at work, FAIL_FORMAT when the topic's
 *         number of partitions changed, FAIL_STOPPED, -ENOMEM
 */
int sender_send(struct sender *sender, struct entry *first, struct message *msg) MUST_CHECK;

/** Marks a replay as complete. @return as sender_send */
int sender_finish(struct sender *sender, struct message *msg) MUST_CHECK;

/** What is committed. Valid until the next call. */
const struct cursor *sender_cursor(const struct sender *sender);

/** Entries committed by this instance, and skipped because they were committed before. */
uint64_t sender_sent(const struct sender *sender);
uint64_t sender_skipped(const struct sender *sender);

/** True when the replay is marked as complete, by this run or an earlier one. */
bool sender_is_complete(const struct sender *sender);

/** True when --again met an unfinished run: it is finished first, then another pass is due. */
bool sender_needs_another_pass(const struct sender *sender);

void sender_destroy(struct sender *sender);
