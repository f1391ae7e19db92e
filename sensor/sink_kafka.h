/*
 * Entries into Kafka: each entry is one transaction with its cursor.
 *
 * See sender.c for how it stays exact.
 *
 * Threads: entries are taken from the closer's thread and sent by a thread of its own.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "schemas/base/options.h"
#include "sensor/sink.h"

/**
 * Who is sending: sensor name, timeline, boot. For replays the timeline is the replay's id, from
 * --replay-id or from the files (length and hash of the first and last MiB of each, in order).
 *
 * @return 0, FAIL_USAGE when standard input goes to Kafka without --replay-id, or -errno
 */
int sink_kafka_origin(
	struct origin *out, const struct config *config, struct message *msg) MUST_CHECK;

/**
 * Connects: checks the topics, fences an earlier self, reads the cursor. `origin->boot` is set for
 * replays (number of the run), `*partitions` to the topic's.
 *
 * @return 0, FAIL_REMOTE, FAIL_USAGE (other shaping settings than this replay began with)
 */
int sink_kafka_open(struct sink **out, const struct config *config, const atomic_bool *stop,
	struct origin *origin, uint32_t *partitions, struct message *msg) MUST_CHECK;

/** True when --again had to finish an earlier run first: open again and read once more. */
bool sink_kafka_needs_another_pass(const struct sink *sink);
