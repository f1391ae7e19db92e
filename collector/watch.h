/*
 * The heart of the view `watch`: flows and markers of one partition become the records of each
 * closed minute, in order.
 *
 * A minute is open until the partition's time (partition_time.h) has passed it. What comes after
 * that counts too, in records marked late, which leave with the next minute that closes. A minute of
 * which a marker speaks is written also when it had no packets.
 *
 * Positions: what is read again after a restart is told apart by its offset. Flows of open minutes
 * are read again from watch_low; flows of closed minutes before `through` are in the records already.
 *
 * Threads: one at a time.
 */
#pragma once

#include "collector/minute_series.h"
#include "schemas/topics.h"

#define WATCH_OPEN_MAX                                                                             \
	256 /* minutes; one more closes the oldest early, what it still gets is late */
#define WATCH_LATE_MAX 64 /* likewise */

struct watch;

struct watch_options {
	uint32_t partition;
	struct geo *geo; /* stays the caller's */
	/* Takes a record, valid during the call. A negative code ends the run. */
	int (*emit)(void *context, enum topic topic, struct bytes record);
	void *context;
};

/** @param through  flows of closed minutes before this offset are in already; 0 none */
int watch_create(
	struct watch **out, const struct watch_options *options, int64_t through) MUST_CHECK;
void watch_destroy(struct watch *watch);

/** Takes a flow of the message at `offset`. @return 0, what `emit` returned, -ENOMEM */
int watch_flow(struct watch *watch, const struct origin *origin, const struct flow_record *flow,
	int64_t offset) MUST_CHECK;

/** Takes a marker; emits the minutes that it closes. @return as watch_flow */
int watch_marker(struct watch *watch, const struct origin *origin,
	const struct marker_record *marker, int64_t append_ms, int64_t offset) MUST_CHECK;

/** Emits all that is late, so that nothing before this moment is still to be emitted. @return as watch_flow */
int watch_settle(struct watch *watch) MUST_CHECK;

/** The input is over: closes everything. @return as watch_flow */
int watch_end(struct watch *watch) MUST_CHECK;

/** Minutes closed so far. */
uint64_t watch_closed(const struct watch *watch);

/** Where reading would have to begin again; `next` when nothing is open. */
int64_t watch_low(const struct watch *watch, int64_t next);

/** The partition's time as a stored text, and back. @return 0, FAIL_FORMAT, -ENOMEM */
void watch_save(const struct watch *watch, struct buffer *out);
int watch_load(struct watch *watch, struct bytes text) MUST_CHECK;
