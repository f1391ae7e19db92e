/*
 * Reading a topic from its start to its end, outside any group: for an audit.
 *
 * Read committed. Nothing is stored, no group is joined, and what is read is not changed.
 *
 * Threads: one at a time.
 */
#pragma once

#include "schemas/base/kafka.h"

struct audit_record {
	uint32_t partition;
	int64_t offset;
	int64_t append_ms; /* the broker's time */
	struct bytes key;
	struct bytes value;
};

/** @return 0, or a negative code that ends reading */
typedef int (*audit_record_handler)(void *context, const struct audit_record *record);

struct audit_topic;

/**
 * Finds a topic and what it holds.
 *
 * @param group  whose committed offsets audit_topic_committed asks for; NULL: nobody's
 * @return 0, FAIL_REMOTE with `msg` (not reachable, or no such topic), FAIL_CONFIG, -ENOMEM
 */
int audit_topic_open(struct audit_topic **out, const struct kafka_settings *settings,
	enum topic topic, const char *group, int timeout_ms, struct message *msg) MUST_CHECK;
void audit_topic_close(struct audit_topic *topic);

uint32_t audit_topic_partitions(const struct audit_topic *topic);
/** First offset held, and the end that a reader of uncommitted records sees. */
int64_t audit_topic_low(const struct audit_topic *topic, uint32_t partition);
int64_t audit_topic_end(const struct audit_topic *topic, uint32_t partition);

/** Asks for both anew. @return 0, FAIL_REMOTE with `msg`, FAIL_CONFIG */
int audit_topic_refresh(struct audit_topic *topic, struct message *msg) MUST_CHECK;

/** The group's committed offset, -1 none. @return 0 or FAIL_REMOTE */
int audit_topic_committed(struct audit_topic *topic, uint32_t partition, int64_t *out,
	struct message *msg) MUST_CHECK;

/**
 * Reads to the end that was asked for last, waiting for open transactions to end; what one hides
 * for longer than transactions of ours last stays unread.
 *
 * @return 0, FAIL_REMOTE with `msg`, or what the handler returned
 */
int audit_topic_read(struct audit_topic *topic, audit_record_handler handler, void *context,
	struct message *msg) MUST_CHECK;

/** Reads what comes within so long. @return 0, or what the handler returned */
int audit_topic_read_on(struct audit_topic *topic, audit_record_handler handler, void *context,
	int timeout_ms) MUST_CHECK;
