/*
 * What waits to be sent: entries in memory, or in the spool on disk.
 *
 * With a spool, entries go to disk at once and only their places stay in memory; an entry that the
 * disk does not take stays in memory instead. Whatever has to go because there is no room is the
 * oldest, and the next entry's ledger names it.
 *
 * Threads: one at a time; the caller has a lock.
 */
#pragma once

#include "sensor/spool.h"

struct send_queue_options {
	bool drops; /* the oldest goes when there is no room; else putting fails until there is */
	size_t memory_bytes_max;
};

struct send_queue;

/** Makes an empty queue without a spool. @return 0 or -ENOMEM */
int send_queue_create(struct send_queue **out, const struct send_queue_options *options) MUST_CHECK;
void send_queue_destroy(struct send_queue *queue);

/**
 * Gives the queue its spool, which then is the queue's: what it already holds comes first.
 *
 * @return 0 or -ENOMEM, and then the spool is still the caller's
 */
int send_queue_adopt(struct send_queue *queue, struct spool *spool) MUST_CHECK;

/** True when there would be room. */
bool send_queue_has_room(const struct send_queue *queue, const struct entry *entry);

/** Puts an entry in, which then is the queue's. @return 0, or -ENOMEM (the entry is destroyed) */
int send_queue_put(struct send_queue *queue, struct entry *entry) MUST_CHECK;

bool send_queue_is_empty(const struct send_queue *queue);

/** True when everything that waits, and everything taken, would survive the process. */
bool send_queue_is_durable(const struct send_queue *queue);

/** Entries that wait. */
size_t send_queue_count(const struct send_queue *queue);

/**
 * Takes the next entries, chained by `next`, to be sent together: at least one, more while they are
 * small. Those that the disk does not give back are counted as lost and left out.
 *
 * @return 0; `out` is NULL when nothing is left; -ENOMEM
 */
int send_queue_take(struct send_queue *queue, unsigned entries_max, size_t bytes_max,
	struct entry **out) MUST_CHECK;

/** What was taken last is committed. */
void send_queue_settle(struct send_queue *queue);

/** What was taken last is not committed, the process ends: it stays in the spool. */
void send_queue_give_back(struct send_queue *queue);

/**
 * The log's cursor says what of the spool is committed: that goes out of the queue.
 *
 * @param spool_id, sequence  as the cursor has them
 * @return 0 or -ENOMEM
 */
int send_queue_reconcile(
	struct send_queue *queue, const char *spool_id, uint64_t sequence) MUST_CHECK;
