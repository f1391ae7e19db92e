/*
 * One view's consumer group on the flows topic.
 *
 * Range assignment, read committed; offsets are never committed here: the view keeps its own
 * position together with its data and says where to start.
 *
 * Threads: everything runs in the thread that polls.
 */
#pragma once

#include "schemas/base/kafka.h"

/** What becomes of the partitions; called from within log_reader_poll. */
struct log_reader_events {
	/* The partition is ours now. It is paused until log_reader_seek says where to start. */
	void (*assigned)(void *context, uint32_t partition);
	/* It is not ours any more: forget what is pending. */
	void (*revoked)(void *context, uint32_t partition);
	void *context;
};

struct log_message {
	uint32_t partition;
	int64_t offset;
	int64_t append_ms;  /* when the broker took it */
	struct bytes value; /* until log_message_release */
	struct bytes key;
	void *handle;
};

struct log_reader;

int log_reader_open(struct log_reader **out, const struct kafka_settings *settings,
	const char *group_id, const struct log_reader_events *events,
	struct message *msg) MUST_CHECK;

/** Waits for the next message, at most so long. @return 1 a message, 0 none, FAIL_REMOTE with `msg` when stuck */
int log_reader_poll(struct log_reader *reader, int timeout_ms, struct log_message *out,
	struct message *msg) MUST_CHECK;
void log_message_release(struct log_message *message);

/** Goes on reading a partition at an offset. @return 0 or FAIL_REMOTE: try again */
int log_reader_seek(struct log_reader *reader, uint32_t partition, int64_t offset) MUST_CHECK;

/** Stops and resumes delivery; group membership goes on. */
void log_reader_pause(struct log_reader *reader, uint32_t partition);
void log_reader_resume(struct log_reader *reader, uint32_t partition);

/** First offset held and the end. @return 0 or FAIL_REMOTE */
int log_reader_bounds(
	struct log_reader *reader, uint32_t partition, int64_t *low, int64_t *high) MUST_CHECK;

/** The group's committed offset, -1 none. @return 0 or FAIL_REMOTE */
int log_reader_committed(struct log_reader *reader, uint32_t partition, int64_t *out) MUST_CHECK;

/** The group's metadata, for kafka_send_offset; release with log_reader_group_release. */
const void *log_reader_group(struct log_reader *reader);
void log_reader_group_release(const void *group);

void log_reader_close(struct log_reader *reader);
