/*
 * Kafka as both programs use it: connection settings, transactional production, topics.
 *
 * Wraps librdkafka so that its many outcomes become three: done; aborted, send the same again; or
 * start anew with another producer, because this one was fenced, timed out or does not know what
 * became of its transaction (librdkafka does not tell these apart reliably).
 *
 * Threads: a producer belongs to one thread; functions without one may be called by any.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/options.h"
#include "schemas/topics.h"

#define KAFKA_MESSAGE_MAX_BYTES	     (8u << 20) /* also the topics' max.message.bytes */
#define KAFKA_TRANSACTION_TIMEOUT_MS 10000	/* DESIGN, "The log" */

/** Borrowed from the configuration, which must stay. */
struct kafka_settings {
	const char *brokers;
	const char *prefix;
	const struct text_pair *properties;
	size_t property_count;
};

struct kafka_settings kafka_settings_of(const struct config *config);

/** Lets librdkafka read the settings, without any server. @return 0, FAIL_CONFIG with `msg` */
int kafka_check_settings(const struct kafka_settings *settings, struct message *msg) MUST_CHECK;

struct kafka_header {
	const char *name;
	const char *value;
};

/** One message to send; key.data NULL: no key. */
struct kafka_message {
	enum topic topic;
	uint32_t partition;
	struct bytes key;
	struct bytes value; /* data NULL: a tombstone */
	const struct kafka_header *headers;
	size_t header_count;
};

enum kafka_outcome {
	KAFKA_DONE = 0,
	KAFKA_ABORTED = 1, /* nothing of it is visible: send the same again */
	KAFKA_ANEW = 2, /* the producer is used up: make another one and find out where it stands */
};

struct kafka_producer;

/** @return 0, FAIL_CONFIG with librdkafka's reason, -ENOMEM */
int kafka_producer_create(struct kafka_producer **out, const struct kafka_settings *settings,
	const char *transactional_id, struct message *msg) MUST_CHECK;

/**
 * Fences every earlier producer of the same transactional id and ends its open transaction.
 *
 * @param stop  gives up when it becomes true; may be NULL
 * @return 0, FAIL_REMOTE when brokers were not reachable for `timeout_ms` (with `msg`), FAIL_STOPPED
 */
int kafka_producer_init(struct kafka_producer *producer, int timeout_ms, const atomic_bool *stop,
	struct message *msg) MUST_CHECK;

void kafka_producer_destroy(struct kafka_producer *producer);

/** kafka_partition_count over the producer's own connections. */
int kafka_producer_partition_count(struct kafka_producer *producer, enum topic topic,
	int timeout_ms, uint32_t *out, struct message *msg) MUST_CHECK;

enum kafka_outcome kafka_begin(struct kafka_producer *producer) MUST_CHECK;

/** Queues a message in the open transaction; bytes are copied. Waits while the queue is full. */
enum kafka_outcome kafka_send(
	struct kafka_producer *producer, const struct kafka_message *message) MUST_CHECK;

/** Adds a consumed offset to the transaction. @param group  see log_reader_group */
enum kafka_outcome kafka_send_offset(struct kafka_producer *producer, const void *group,
	enum topic topic, uint32_t partition, int64_t next_offset) MUST_CHECK;

/** Commits; when that fails and the transaction can be aborted, aborts it. */
enum kafka_outcome kafka_commit(struct kafka_producer *producer) MUST_CHECK;
enum kafka_outcome kafka_abort(struct kafka_producer *producer) MUST_CHECK;

/** Why the last outcome was not KAFKA_DONE. */
const char *kafka_producer_error(const struct kafka_producer *producer);

/** Number of partitions. @return 0, FAIL_REMOTE with `msg` (not reachable, or no such topic) */
int kafka_partition_count(const struct kafka_settings *settings, enum topic topic, int timeout_ms,
	uint32_t *out, struct message *msg) MUST_CHECK;

/**
 * The newest committed value of a key in a compacted topic. Reads up to the end that a reader of
 * uncommitted records sees, waiting for transactions of others to end: a read-committed end can
 * lie before records that are already committed.
 *
 * @param out  appended to; untouched when the key has no value
 * @return 0, FAIL_REMOTE with `msg`, -ENOMEM
 */
int kafka_last_value(const struct kafka_settings *settings, enum topic topic, const char *key,
	int timeout_ms, struct buffer *out, struct message *msg) MUST_CHECK;

/**
 * Makes the topics that do not exist; existing ones are checked for partitions and cleanup policy.
 *
 * @param report  called with one line per topic
 * @return 0, FAIL_REMOTE with `msg`, also when an existing topic differs in what must agree
 */
int kafka_create_topics(const struct kafka_settings *settings, uint32_t partitions,
	uint32_t replication, void (*report)(const char *line), struct message *msg) MUST_CHECK;

/** Registers librdkafka for --version. */
void kafka_add_version(void);
