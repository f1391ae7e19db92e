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
 * Opens the sink. A replay connects before it returns: the topics are checked, an earlier self is
 * fenced, the cursor is read; `origin->boot` becomes the number of the run, `*partitions` the
 * topic's. Live connecting is left to the sending thread, which tries until it succeeds: `*partitions`
 * is 1, sink_kafka_partitions tells the topic's number later, and entries with another number are
 * dealt out anew before they are sent.
 *
 * @param stop  when it becomes true a replay gives up waiting; set when sending has failed
 * @return 0, FAIL_CONFIG (settings that librdkafka refuses); replays also FAIL_REMOTE, FAIL_FORMAT
 *         (other shaping settings than this replay began with)
 */
int sink_kafka_open(struct sink **out, const struct config *config, atomic_bool *stop,
	struct origin *origin, uint32_t *partitions, struct message *msg) MUST_CHECK;

/** Partitions of the flows topic; 0 while no broker has answered yet. */
uint32_t sink_kafka_partitions(const struct sink *sink);

/** True when what is taken outlives the process: a spool is there. */
bool sink_kafka_has_spool(const struct sink *sink);

/** Why sending has failed, with `msg`; 0 as long as it has not. */
int sink_kafka_failure(struct sink *sink, struct message *msg) MUST_CHECK;

/**
 * A replay whose input broke off: finishing sends what was taken and does not call the replay
 * complete, so that the next run goes on behind it.
 */
void sink_kafka_stay_open(struct sink *sink);

/** True when the replay is complete, by this run or an earlier one. Ask once finished. */
bool sink_kafka_is_complete(const struct sink *sink);

/** True when --again had to finish an earlier run first: open again and read once more. */
bool sink_kafka_needs_another_pass(const struct sink *sink);
