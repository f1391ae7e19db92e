/*
 * The audit: do the sensors' ledgers, the flows topic, the enriched topic and Redis say the same?
 *
 * It reads all of them and keeps sums by sensor, timeline and minute (audit_books.h). Views are
 * compared up to where they stand, so what they have not worked through yet is no finding. To make
 * that hold while everything goes on, what follows is read before what it follows: the views'
 * positions, Redis, the enriched topic, then the log.
 *
 * Threads: one at a time.
 */
#pragma once

#include "collector/audit_redis.h"
#include "collector/view_state.h"
#include "collector/report.h"

struct audit {
	struct report_query query;
	struct audit_findings findings;
	struct audit_books books;
	struct audit_redis redis;
	struct message redis_reason, enriched_reason, sensors_reason; /* why it is not available */
	bool has_redis;
	struct view_state *enrich;   /* by partition, as state.v1 has it */
	int64_t unreadable_enriched; /* records of the enriched topic that are no such records */
	double seconds;
};

int audit_init(struct audit *audit, const struct config *config, struct message *msg) MUST_CHECK;
void audit_fini(struct audit *audit);

/**
 * Reads and judges everything.
 *
 * @return 0, also when something does not add up (audit->findings.total); FAIL_REMOTE with `msg` when
 *         the log, or a server that was named, cannot be read; FAIL_CONFIG, -ENOMEM
 */
int audit_run(struct audit *audit, const struct config *config, struct message *msg) MUST_CHECK;

/** Prints the result as the query asks. @return 0, -EIO, -ENOMEM */
int audit_print(const struct audit *audit, FILE *out) MUST_CHECK;
