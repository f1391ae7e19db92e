/*
 * Records of counters.v1: schemas/counters.schema.json.
 *
 * Threads: pure functions.
 */
#pragma once

#include "collector/minute_series.h"

/** What all records of a minute have in common. */
struct counters_head {
	int64_t minute_ms;
	const char *timeline;
	uint32_t partition;
	bool is_late;
};

/** Appends the record of a label that is not the total. */
void counters_json(struct buffer *out, const struct counters_head *head, uint64_t key,
	const struct series_value *value);

/** Appends the total, the minute's last record, with its base. */
void counters_total_json(
	struct buffer *out, const struct counters_head *head, const struct minute_series *series);
