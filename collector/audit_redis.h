/*
 * What Redis adds up to, bucket by bucket, and whether that is what the view count has worked through.
 *
 * Redis adds up over sensors and timelines; packets and bytes are there by sensor too. Of other
 * dimensions the sum over labels is compared.
 *
 * Threads: one at a time.
 */
#pragma once

#include "collector/audit_actors.h"
#include "collector/audit_books.h"
#include "collector/gaps.h"
#include "collector/redis_batch.h"
#include "collector/redis_store.h"

/** A counter by sensor. */
struct audit_sensor {
	char *name;
	int64_t packets, bytes;		  /* AVRO_NULL_LONG: no such field */
	int64_t addresses, ipv6_prefixes; /* stated; AVRO_NULL_LONG none */
	bool is_seen;
};

/** Time of which a sensor sent nothing, as Redis keeps it from the ledgers. */
struct audit_sensor_gap {
	char sensor[ORIGIN_TEXT_BYTES];
	struct audit_span span;
};

/** A minute, hour or day: as Redis has it, or as it should be. */
struct audit_bucket {
	enum period period;
	int64_t start_s;
	bool has_ledger;
	int64_t books[AUDIT_BOOKS_MAX]; /* AVRO_NULL_LONG: no such field */
	int64_t first_ns, last_ns;
	int64_t observed_ms;
	int64_t address_ms;
	bool has_packets[DIM_COUNT], has_bytes[DIM_COUNT]; /* blocks: both with their set */
	int64_t packets[DIM_COUNT], bytes[DIM_COUNT];	   /* sums over labels */
	struct audit_sensor *sensors;
	size_t sensor_count;
	uint8_t *actors; /* days: the sketch of all actors (HYPERLOGLOG_BYTES); NULL none */
};

struct audit_redis {
	bool is_there;	      /* Redis answers, and the view count has applied something */
	bool is_exact;	      /* the view count did not move while it was read */
	int64_t *watermarks;  /* -1 none */
	int64_t poison;	      /* AVRO_NULL_LONG: none */
	struct gap_list gaps; /* what the view count never read */
	struct audit_sensor_gap *sensor_gaps;
	size_t sensor_gap_count;
	struct redis_lifetimes lifetimes;
	struct audit_bucket *buckets;
	size_t bucket_count, bucket_capacity;
	/* what was compared */
	uint64_t compared[PERIOD_COUNT];
	uint64_t expired[PERIOD_COUNT];
	uint64_t skipped[PERIOD_COUNT]; /* pending, or the log no longer holds all of it */
	struct audit_sums total;	/* by day */
};

/**
 * Reads the buckets that lie in [from_ms, to_ms), and the watermarks.
 *
 * @return 0, FAIL_REMOTE, FAIL_CONFIG (a key of another type), -ENOMEM
 */
int audit_redis_read(struct audit_redis *redis, struct redis_store *store, uint32_t partitions,
	int64_t from_ms, int64_t to_ms, struct message *msg) MUST_CHECK;
void audit_redis_fini(struct audit_redis *redis);

/** A bucket with nothing in it. */
void audit_bucket_init(struct audit_bucket *bucket, enum period period, int64_t start_s);
void audit_bucket_fini(struct audit_bucket *bucket);

/** The sensor's counters in a bucket, made when they are new; NULL when memory is out. */
struct audit_sensor *audit_bucket_sensor(struct audit_bucket *bucket, const char *name);

/**
 * Compares with the books, which were judged. Keys that Redis no longer holds are no findings.
 *
 * @param now_ms  the time, since the epoch
 * @return 0 or -ENOMEM
 */
int audit_redis_judge(struct audit_redis *redis, const struct audit_books *books,
	const struct audit_actors *actors, int64_t now_ms) MUST_CHECK;
