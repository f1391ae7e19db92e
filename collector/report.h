/*
 * A report: what was counted, on which base. Filled from a tally (flow files) or from Redis, shown
 * by one renderer as a table, JSON or CSV.
 *
 * Threads: one at a time.
 */
#pragma once

#include "collector/gaps.h"
#include "collector/tally.h"
#include "schemas/base/options.h"

#define REPORT_ALL_BUCKETS INT64_MIN

struct report_query {
	int64_t from_s;	   /* INT64_MIN: everything held */
	int64_t to_s;	   /* INT64_MAX; exclusive */
	enum dimension by; /* DIM_COUNT: none asked */
	enum period per;   /* PERIOD_COUNT: none asked */
	bool wants_json, wants_csv;
	size_t top;
	int64_t day_offset_s;
	const char *base; /* "all" */
};

/** A counter of the report. */
struct report_row {
	int64_t bucket_s; /* REPORT_ALL_BUCKETS: all time */
	enum dimension dimension;
	unsigned role; /* services */
	char *label;
	char *name; /* AS name, or NULL */
	uint64_t packets;
	uint64_t bytes;
	uint64_t actors;
	bool has_actors;
};

struct report {
	struct report_query query;
	struct report_row *rows;
	size_t count, capacity;
	struct tally_value *minutes; /* packets per minute … */
	int64_t *minute_starts;	     /* … whose starts these are, ascending */
	size_t minute_count;
	struct marker_record books; /* sums over everything asked */
	uint64_t sensors;
	uint64_t observed_ms;	     /* union of intervals, added up over sensors */
	uint64_t address_ms;	     /* monitored addresses × observed time */
	int64_t monitored_addresses; /* AVRO_NULL_LONG unknown */
	int64_t monitored_ipv6_prefixes;
	uint64_t poison;
	char **gaps; /* sentences: what is missing */
	size_t gap_count;
	struct gap_list count_gaps; /* of these, what the view count never read */
	double actors_error;	    /* relative standard error of `actors` */
	bool is_out_of_memory;
	char note[160]; /* about the base: rounding of --from and --to */
};

/** Reads the report options. @return 0, FAIL_USAGE or FAIL_CONFIG */
int report_query_read(
	struct report_query *out, const struct config *config, struct message *msg) MUST_CHECK;

void report_init(struct report *report, const struct report_query *query);
void report_fini(struct report *report);

/** The row of a place, made when it is new; NULL when memory is out (latched). Valid until the next call. */
struct report_row *report_row(struct report *report, int64_t bucket_s, enum dimension dimension,
	unsigned role, const char *label);
void report_gap(struct report *report, const char *sentence);

/** Fills the report from a tally made for_report. */
int report_from_tally(struct report *report, struct tally *tally) MUST_CHECK;

/** Sorts rows: dimension, bucket, then packets descending, label. */
void report_sort(struct report *report);

/** The rows of a dimension (and role for services; ROLE_COUNT all) in one bucket, after report_sort. */
size_t report_rows_of(const struct report *report, enum dimension dimension, unsigned role,
	int64_t bucket_s, const struct report_row **out, size_t max);

/** What --by and --per ask for: the top labels; with --per each of them in every bucket, zeros filled in. */
struct report_selection {
	struct report_row *rows; /* texts are borrowed from the report */
	size_t count;
};

int report_select(const struct report *report, struct report_selection *out) MUST_CHECK;
void report_selection_fini(struct report_selection *selection);

/** Packets of all flow records applied so far; below books.counted while partitions are still being read. */
uint64_t report_applied(const struct report *report);

/** Renders as the query asks. @return 0 or -EIO, -ENOMEM */
int report_print(struct report *report, FILE *out) MUST_CHECK;

/* The three forms; each appends. */
void report_json(const struct report *report, struct buffer *out);
void report_csv(const struct report *report, struct buffer *out);
void report_table(const struct report *report, struct buffer *out);
