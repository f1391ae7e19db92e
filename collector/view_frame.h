/*
 * What views into Kafka have in common: a consumer group, and of each partition that is ours a
 * transactional producer, a position and an open transaction.
 *
 * Whoever takes a partition over first fences the dead member's producer (view_position.h), so that
 * each record and its position are committed once. A transaction that fails is forgotten, and the
 * partition read again from what is committed.
 *
 * Threads: the view's.
 */
#pragma once

#include "collector/view_position.h"
#include "schemas/base/options.h"

struct view_partition {
	bool is_ours;
	bool is_positioned;
	struct view_takeover *takeover; /* NULL: none is under way */
	int64_t retry_at_ms;
	struct kafka_producer *producer;
	struct view_state state; /* as the open transaction will commit it */
	bool is_open;		 /* a transaction is */
	int64_t since_ms;	 /* when it began */
};

struct view_frame_options {
	const char *view; /* its name */
	const struct config *config;
	const atomic_bool *stop;
	/* The partition was taken over, or read again: its state is as committed. @return 0, -ENOMEM */
	int (*adopted)(void *context, uint32_t number);
	/* What is pending of it is void. Also called when nothing is. */
	void (*forgotten)(void *context, uint32_t number);
	/* A message of a partition that is ours, from the position on. A transaction may be begun. */
	void (*message)(void *context, const struct log_message *message);
	/* After each message, and at least every POLL_MS: commits what is due, or `all` that is open. */
	void (*due)(void *context, bool all);
	void *context;
};

struct view_frame {
	struct view_frame_options options;
	struct kafka_settings kafka;
	char group[TRANSACTIONAL_ID_BYTES / 2];
	struct view_place place;
	struct log_reader *reader;
	struct view_partition *partitions;
	uint32_t partition_count;
	struct message fatal;
	bool is_failed;
};

/** Waits for Kafka; zero-initialise before. @return 0, or a negative code with `msg` */
int view_frame_open(struct view_frame *frame, const struct view_frame_options *options,
	struct message *msg) MUST_CHECK;

/** Reads until `*stop`, or until the view cannot go on. @return 0, FAIL_REMOTE with `msg` */
int view_frame_run(struct view_frame *frame, struct message *msg) MUST_CHECK;
void view_frame_close(struct view_frame *frame);

/** Begins a transaction where none is open. */
enum kafka_outcome view_frame_begin(struct view_frame *frame, uint32_t number) MUST_CHECK;

/** Commits the open transaction with the partition's state; reads again when that fails. */
void view_frame_commit(struct view_frame *frame, uint32_t number);

/** The transaction has failed: another producer, and the log again from what is committed. */
void view_frame_start_again(struct view_frame *frame, uint32_t number);

/** Puts a message that cannot be read into the dead letters, within the open transaction. */
enum kafka_outcome view_frame_poison(
	struct view_frame *frame, const struct log_message *poison, const char *reason) MUST_CHECK;
