/*
 * How far time has come in a partition of the log, by timeline: the last minute of which every
 * sensor at work has said that nothing more is expected.
 *
 * Markers are the only clock. A sensor that falls behind holds time up until another one's marker
 * for a newer minute has been in the log for 90 s, and counts again once it has caught up; what it
 * sends meanwhile is late. A live sensor whose clock runs ahead moves time at most five minutes past
 * the broker's clock. Time never goes back.
 *
 * Everything follows from the markers and their append times in the log's order, so each member
 * that reads a partition comes to the same answers.
 *
 * Threads: one at a time.
 */
#pragma once

#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/errors.h"

#define PARTITION_TIME_WAIT_MS	 INT64_C(90000)	   /* DESIGN, "Time" */
#define PARTITION_TIME_AHEAD_MS	 INT64_C(300000)   /* of the broker's clock, live */
#define PARTITION_TIME_SILENT_MS INT64_C(86400000) /* then a replay's timeline is put away */
#define PARTITION_TIME_NONE	 INT64_MIN
#define PARTITION_TIMELINES_MAX	 1024
#define PARTITION_SENSORS_MAX	 1024 /* of one timeline */

struct partition_time;

int partition_time_create(struct partition_time **out) MUST_CHECK;
void partition_time_destroy(struct partition_time *time);

/**
 * Takes a marker.
 *
 * @param closed_through_ms  start of the last minute that its sensor has closed
 * @param append_ms          when the broker took it; without a broker any constant
 * @return 0; FAIL_LIMIT: more timelines or sensors than can be kept, the marker moves nothing; -ENOMEM
 */
int partition_time_marker(struct partition_time *time, const char *timeline, const char *sensor,
	int64_t closed_through_ms, int64_t append_ms) MUST_CHECK;

/** Moves a timeline's time to a minute, should it be behind: the caller has closed it early. */
void partition_time_pass(struct partition_time *time, const char *timeline, int64_t minute_ms);

/** The start of the last minute closed on a timeline; PARTITION_TIME_NONE before the first one. */
int64_t partition_time_of(const struct partition_time *time, const char *timeline);

/** Visits the timelines: `*cursor` starts at 0. @return the name, NULL at the end */
const char *partition_time_next(const struct partition_time *time, size_t *cursor);

/** All of it as a JSON array. */
void partition_time_save(const struct partition_time *time, struct buffer *out);

/** Fills an empty one. @return 0, FAIL_FORMAT, -ENOMEM */
int partition_time_load(struct partition_time *time, struct bytes text) MUST_CHECK;

/** Forgets replays without a marker for a day. @return how many */
unsigned partition_time_put_away(struct partition_time *time, int64_t append_ms);
