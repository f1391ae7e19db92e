/*
 * The books of an audit: what each ledger says, what the flows topic holds, how much of that each
 * view has worked through, and what the enriched topic holds, by sensor, timeline and minute.
 *
 * Records are put in as they are read; nothing is kept of them but sums. A series is a sensor on one
 * timeline. Entry numbers ascend within each partition, so a marker tells at once whether the
 * flows since the marker before it are those it claims, and whether an entry is missing.
 *
 * A partition shows a transaction's records at once, but partitions do not show it at the same
 * moment. So an entry counts when every source (each partition, and sensors.v1) has come to it;
 * later ones are pending.
 *
 * Threads: one at a time. Memory: one record a sensor and minute.
 */
#pragma once

#include "collector/audit_findings.h"
#include "collector/audit_overlap.h"
#include "collector/tally.h"

#define AUDIT_BOOKS_MAX 24 /* at least tally_book_count */

struct audit_sums {
	int64_t flows;
	int64_t packets;
	int64_t bytes;
};

/** Ledgers added up. */
struct audit_ledger {
	int64_t parts;
	int64_t books[AUDIT_BOOKS_MAX]; /* as tally_books names them */
	int64_t first_ns, last_ns;	/* AVRO_NULL_LONG: nothing counted */
	uint64_t digest;		/* of what is no sum */
};

struct audit_interval {
	struct audit_capture capture;
	int64_t addresses; /* monitored meanwhile; AVRO_NULL_LONG unknown */
	bool is_applied;   /* by the view count */
};

struct audit_minute {
	int64_t minute_ms;
	uint32_t series;
	struct audit_sums log;		    /* flows topic */
	struct audit_sums applied;	    /* of these, what the view count has worked through */
	struct audit_sums worked;	    /* of these, what the view enrich has worked through */
	struct audit_sums enriched;	    /* enriched topic */
	struct audit_ledger ledger;	    /* markers of partition 0 */
	struct audit_ledger applied_ledger; /* of these, what the view count has worked through */
	struct audit_ledger sensors;	    /* sensors.v1 */
	uint64_t other_digests;		    /* of the markers of other partitions */
	int64_t min_entry, max_entry;	    /* INT64_MAX, -1: none */
	int64_t append_ms;		    /* the last record's time in the log */
	int64_t addresses, ipv6_prefixes;   /* the most that was stated to the view count */
	struct audit_interval *intervals;
	size_t interval_count;
	bool is_pending;      /* an entry of it is not complete yet */
	bool is_enriched_cut; /* enriched.v1 may no longer hold all of it */
};

/** Time of which nothing was sent, as a ledger names it. */
struct audit_named_gap {
	struct audit_span span;
	bool is_applied; /* by the view count */
};

/** What one source has shown of a series. */
struct audit_source {
	bool has_entries;
	bool is_cut; /* the first entry's flows are in part older than the log */
	int64_t first_entry, last_entry;
	struct audit_sums since; /* flows since the last marker */
	int64_t since_offset;	 /* of the first of these */
	int64_t since_minute_ms; /* of the last of these */
	int64_t old_offset;	 /* since_offset when targets were set; -1 none */
};

struct audit_series {
	char sensor[ORIGIN_TEXT_BYTES];
	char timeline[ORIGIN_TEXT_BYTES];
	struct audit_source *sources; /* partitions, then sensors.v1 */
	int64_t target;		      /* entry that every source should come to; -1 none */
	int64_t level;		      /* entry that every source has come to */
	int64_t held_from;	      /* first entry of which the log holds everything */
	struct audit_named_gap *gaps; /* that ledgers name */
	size_t gap_count;
	size_t first_minute, minute_count; /* after judging: its minutes, ascending */
};

/** What is known of a partition before its flows are read. */
struct audit_partition {
	int64_t low;		   /* first offset held */
	int64_t applied;	   /* the view count has worked through what lies below */
	int64_t worked;		   /* the same of the view enrich */
	int64_t enriched_since_ms; /* enriched.v1 holds what was appended later; INT64_MIN all */
	int64_t poison;		   /* messages that cannot be read */
	int64_t applied_poison;
};

/** Where a record lies. */
struct audit_place {
	uint32_t partition;
	int64_t offset;
	int64_t append_ms;
};

/** How far a view is behind the log's end. */
struct audit_lag {
	struct audit_sums sums;
	int64_t since_ms; /* append time of the oldest record it has not worked through */
};

struct audit_books {
	uint32_t partition_count;
	struct audit_partition *partitions;
	int64_t from_ms, to_ms; /* minutes asked for */
	bool has_sensors;	/* sensors.v1 is read */
	bool sensors_are_cut;	/* its start is gone */
	bool has_enriched;
	bool enriched_is_exact; /* the view enrich did not move meanwhile */
	struct audit_series *series;
	size_t series_count;
	struct audit_minute *minutes;
	size_t minute_count, minute_capacity;
	struct count_map index; /* series and minute → number of the minute + 1 */
	struct audit_lag count_lag, enrich_lag;
	struct audit_findings *findings;
	bool is_out_of_memory;
};

int audit_books_init(struct audit_books *books, uint32_t partitions, int64_t from_ms, int64_t to_ms,
	struct audit_findings *findings) MUST_CHECK;
void audit_books_fini(struct audit_books *books);

/* Records, each topic's in the order of its partitions. Memory running out is latched. */
void audit_books_flow(struct audit_books *books, const struct audit_place *place,
	const struct origin *origin, const struct flow_record *flow);
void audit_books_marker(struct audit_books *books, const struct audit_place *place,
	const struct origin *origin, const struct marker_record *marker);
void audit_books_sensors(
	struct audit_books *books, const struct origin *origin, const struct marker_record *ledger);
void audit_books_enriched(struct audit_books *books, const struct origin *origin, int64_t window_ms,
	int64_t packets, int64_t bytes);
void audit_books_poison(struct audit_books *books, const struct audit_place *place);

/** Every source should come as far as the furthest has by now. */
void audit_books_set_targets(struct audit_books *books);
/** True when they all have. */
bool audit_books_settled(const struct audit_books *books);

/** Judges everything but Redis; the minutes are in order of series and time afterwards. */
void audit_books_judge(struct audit_books *books);

/** True when a minute's records are all in the log, so that its sums can be compared. After judging. */
bool audit_books_is_held(const struct audit_books *books, const struct audit_minute *minute);

bool audit_is_live(const struct audit_series *series);

/** A book's sum by its name in the ledger. */
int64_t audit_book(const struct audit_ledger *ledger, const char *name);

enum audit_gap_kind { GAP_NAMED, GAP_LOST, GAP_SILENT, GAP_UNNAMED };

/** Visits the gaps in a series' capture, after judging. */
typedef void (*audit_gap_handler)(
	void *context, const struct audit_span *gap, enum audit_gap_kind kind);
void audit_books_gaps(
	const struct audit_books *books, uint32_t series, audit_gap_handler handler, void *context);

/** Visits what was observed twice because the clock was set back, after judging. */
typedef void (*audit_span_handler)(void *context, const struct audit_span *span);
void audit_books_clock_steps(const struct audit_books *books, uint32_t series,
	audit_span_handler handler, void *context);

/** Observed time of a series, ns. */
int64_t audit_books_observed_ns(const struct audit_books *books, uint32_t series);
