/*
 * What does not add up: one finding a line, as many as a person can use; the rest are counted.
 *
 * Threads: one at a time.
 */
#pragma once

#include "schemas/container.h"

#define FINDINGS_SHOWN	   300
#define FINDING_TEXT_BYTES 128
#define FINDING_NO_TIME	   INT64_MIN /* it is about no minute */

struct audit_finding {
	char sensor[ORIGIN_TEXT_BYTES];	  /* "": about all sensors */
	char timeline[ORIGIN_TEXT_BYTES]; /* "": about all timelines */
	int64_t minute_ms;		  /* start of the minute, or of the hour or day in `what` */
	char what[FINDING_TEXT_BYTES];
	int64_t expected; /* AVRO_NULL_LONG: there should be none */
	int64_t found;	  /* AVRO_NULL_LONG: there is none */
};

struct audit_findings {
	struct audit_finding items[FINDINGS_SHOWN];
	size_t count;	/* of items */
	uint64_t total; /* with those that were only counted */
};

/** Whom and when a finding is about; texts may be NULL. */
struct audit_subject {
	const char *sensor;
	const char *timeline;
	int64_t minute_ms;
};

void audit_finding_add(struct audit_findings *findings, const struct audit_subject *subject,
	int64_t expected, int64_t found, const char *format, ...) PRINTF_LIKE(5, 6);

/** Adds a finding when the two differ. @return true when they agree */
bool audit_finding_unless_equal(struct audit_findings *findings,
	const struct audit_subject *subject, int64_t expected, int64_t found, const char *format,
	...) PRINTF_LIKE(5, 6);
