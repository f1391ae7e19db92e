/* Fills a report from Redis. */
#pragma once

#include "collector/redis_store.h"
#include "collector/report.h"

/**
 * Reads what the query asks. Totals come from the largest buckets that fit: days inside the range,
 * hours and minutes at its edges as far as they are still held; `report->note` says when the range
 * had to be rounded.
 *
 * @return 0, FAIL_REMOTE with `msg`, FAIL_CONFIG when a key is of another type, -ENOMEM
 */
int report_from_redis(
	struct report *report, struct redis_store *store, struct message *msg) MUST_CHECK;
