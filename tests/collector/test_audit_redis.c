/*
 * Redis against the books: equal to the packet, expired, deleted, not yet applied.
 */
#include "collector/audit_redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "collector/hyperloglog.h"

#define MINUTE	  INT64_C(1000)
#define APPEND_MS INT64_C(1000000000)
#define PACKETS	  7
#define BYTES	  420

static const struct redis_lifetimes lifetimes = { .seconds = { 600, 1200, 2400 } };

struct scene {
	struct audit_findings findings;
	struct audit_books books;
	struct audit_redis redis;
	struct audit_actors *actors;
};

/* One sensor, one minute of which 59 s were observed, one entry in one partition. */
static void fill_books(struct scene *scene, int64_t applied)
{
	struct origin origin = { .sensor = "site1", .timeline = TIMELINE_LIVE };
	struct audit_place place = { 0, 0, APPEND_MS };
	struct flow_record flow = flow_defaults();
	struct marker_record marker = marker_defaults();

	scene->books.partitions[0].applied = applied;
	flow.window_ms = marker.minute_ms = MINUTE * WINDOW_MS;
	flow.packets = marker.packets = marker.counted = marker.frames = PACKETS;
	flow.bytes = marker.wire_bytes = BYTES;
	marker.flows = 1;
	marker.interval_from_ns = (MINUTE * 60 + 1) * INT64_C(1000000000);
	marker.interval_to_ns = (MINUTE + 1) * 60 * INT64_C(1000000000);
	marker.monitored_addresses = 256;
	audit_books_flow(&scene->books, &place, &origin, &flow);
	place.offset++;
	audit_books_marker(&scene->books, &place, &origin, &marker);
	audit_books_set_targets(&scene->books);
	audit_books_judge(&scene->books);
	assert_int_equal(scene->findings.total, 0);
}

/* A bucket as the view count fills it. */
static void fill_bucket(struct audit_bucket *bucket, enum period period, int64_t start_s)
{
	struct audit_sensor *sensor;

	audit_bucket_init(bucket, period, start_s);
	bucket->has_ledger = true;
	for (size_t i = 0; i < tally_book_count; i++)
		bucket->books[i] = 0;
	for (size_t i = 0; i < tally_book_count; i++) {
		if (strcmp(tally_books[i].name, "counted") == 0 ||
			strcmp(tally_books[i].name, "frames") == 0)
			bucket->books[i] = PACKETS;
		if (strcmp(tally_books[i].name, "wire_bytes") == 0)
			bucket->books[i] = BYTES;
	}
	bucket->observed_ms = 59000;
	bucket->address_ms = INT64_C(59000) * 256;
	for (unsigned i = 0; i < DIM_COUNT; i++) {
		bucket->has_packets[i] = bucket->has_bytes[i] = true;
		bucket->packets[i] = PACKETS;
		bucket->bytes[i] = BYTES;
	}
	sensor = audit_bucket_sensor(bucket, "site1");
	assert_non_null(sensor);
	sensor->packets = PACKETS;
	sensor->bytes = BYTES;
	sensor->addresses = 256;
	sensor->is_seen = true;
}

static int setup(void **state)
{
	static struct scene scene;

	scene = (struct scene){ 0 };
	assert_int_equal(
		audit_books_init(&scene.books, 1, INT64_MIN, INT64_MAX, &scene.findings), 0);
	assert_int_equal(audit_actors_create(&scene.actors), 0);
	scene.redis.lifetimes = lifetimes;
	scene.books.has_sensors = scene.books.has_enriched = false;
	scene.redis.is_there = scene.redis.is_exact = true;
	scene.redis.buckets = calloc(PERIOD_COUNT + 1, sizeof(*scene.redis.buckets));
	assert_non_null(scene.redis.buckets);
	scene.redis.bucket_count = PERIOD_COUNT;
	for (unsigned i = 0; i < PERIOD_COUNT; i++)
		fill_bucket(&scene.redis.buckets[i], (enum period)i,
			period_start((enum period)i, MINUTE * 60, 0));
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	audit_actors_destroy(scene->actors);
	audit_redis_fini(&scene->redis);
	audit_books_fini(&scene->books);
	return 0;
}

static void judge(struct scene *scene, int64_t age_s)
{
	assert_int_equal(audit_redis_judge(&scene->redis, &scene->books, scene->actors,
				 APPEND_MS + age_s * 1000),
		0);
}

static void assert_finds(
	const struct scene *scene, const char *what, int64_t expected, int64_t found)
{
	for (size_t i = 0; i < scene->findings.count; i++) {
		if (strcmp(scene->findings.items[i].what, what) != 0)
			continue;
		assert_int_equal(scene->findings.items[i].expected, expected);
		assert_int_equal(scene->findings.items[i].found, found);
		return;
	}
	fail_msg("no finding \"%s\", but %zu others", what, scene->findings.count);
}

static void empty(struct audit_bucket *bucket)
{
	int64_t start_s = bucket->start_s;
	enum period period = bucket->period;

	audit_bucket_fini(bucket);
	audit_bucket_init(bucket, period, start_s);
}

/* The day's sketch in Redis, and that of the log, of so many actors each, of which the first are the same. */
static void fill_actors(struct scene *scene, uint32_t in_redis, uint32_t in_log)
{
	struct audit_bucket *day = &scene->redis.buckets[PERIOD_DAY];
	struct flow_record flow = flow_defaults();
	uint8_t address[4], element[8];

	day->actors = malloc(HYPERLOGLOG_BYTES);
	assert_non_null(day->actors);
	hyperloglog_init(day->actors);
	flow.actor = (struct bytes){ address, sizeof(address) };
	for (uint32_t i = 0; i < in_redis || i < in_log; i++) {
		store_u32(address, i);
		store_u64_le(element, tally_actor_element(flow.actor));
		if (i < in_redis)
			hyperloglog_add(day->actors, element, sizeof(element));
		if (i < in_log)
			assert_int_equal(audit_actors_add(scene->actors, day->start_s, &flow), 0);
	}
}

static void test_audit_redis_equal_sketches_balance(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	fill_actors(scene, 40, 40);
	judge(scene, 0);
	assert_int_equal(scene->findings.total, 0);
}

static void test_audit_redis_sketch_that_lacks_an_actor_is_found(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	fill_actors(scene, 39, 40);
	judge(scene, 0);
	assert_int_equal(scene->findings.total, 1);
	assert_finds(scene, "estimate of unique actors in Redis, sketch of the day", 40, 39);
}

/* A gap that a ledger names, and what Redis has of it; -1 nothing. */
static void fill_gap(struct scene *scene, int64_t named_to_ns, int64_t kept_to_ns)
{
	struct audit_series *series = &scene->books.series[0];

	if (named_to_ns >= 0) {
		series->gaps = calloc(1, sizeof(*series->gaps));
		assert_non_null(series->gaps);
		series->gaps[series->gap_count++] =
			(struct audit_named_gap){ { 5, named_to_ns }, true };
	}
	if (kept_to_ns < 0)
		return;
	scene->redis.sensor_gaps = calloc(1, sizeof(*scene->redis.sensor_gaps));
	assert_non_null(scene->redis.sensor_gaps);
	scene->redis.sensor_gaps[scene->redis.sensor_gap_count++] =
		(struct audit_sensor_gap){ "site1", { 5, kept_to_ns } };
}

static void test_audit_redis_gap_of_a_sensor_is_kept(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	fill_gap(scene, 9, 9);
	judge(scene, 0);
	assert_int_equal(scene->findings.total, 0);
}

static void test_audit_redis_gap_of_a_sensor_that_differs_is_found(void **state)
{
	static const struct {
		int64_t named, kept, expected, found;
		const char *what;
	} cases[] = {
		{ 9, 8, 9, 8, "end in ns of a gap that a ledger names, in Redis" },
		{ 9, -1, 9, AVRO_NULL_LONG, "end in ns of a gap that a ledger names, in Redis" },
		{ -1, 8, AVRO_NULL_LONG, 8, "end in ns of a gap in Redis that no ledger names" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scene *scene = *state;

		fill_books(scene, 2);
		fill_gap(scene, cases[i].named, cases[i].kept);
		judge(scene, 0);
		assert_int_equal(scene->findings.total, 1);
		assert_finds(scene, cases[i].what, cases[i].expected, cases[i].found);
		teardown(state);
		setup(state);
	}
}

static void test_audit_redis_equal_buckets_balance(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	judge(scene, 0);

	assert_int_equal(scene->findings.total, 0);
	for (unsigned i = 0; i < PERIOD_COUNT; i++)
		assert_int_equal(scene->redis.compared[i], 1);
	assert_int_equal(scene->redis.total.packets, PACKETS);
}

static void test_audit_redis_changed_figures_are_found(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	scene->redis.buckets[PERIOD_HOUR].observed_ms--;
	scene->redis.buckets[PERIOD_DAY].packets[DIM_ASN] += 2;
	scene->redis.buckets[PERIOD_DAY].address_ms--;
	scene->redis.buckets[PERIOD_MINUTE].sensors[0].addresses = 255;
	scene->redis.buckets[PERIOD_MINUTE].books[0] = AVRO_NULL_LONG;
	judge(scene, 0);

	assert_int_equal(scene->findings.total, 5);
	assert_finds(scene, "address_ms in Redis, ledger of the day", 59000 * 256, 59000 * 256 - 1);
	assert_finds(scene, "observed_ms in Redis, ledger of the hour", 59000, 58999);
	assert_finds(scene, "packets in Redis, sum by asn of the day", PACKETS, PACKETS + 2);
	assert_finds(scene, "monitored_addresses in Redis, sensor's minute", 256, 255);
	assert_finds(scene, "frames in Redis, ledger of the minute", PACKETS, AVRO_NULL_LONG);
}

static void test_audit_redis_unknown_sensor_is_found(void **state)
{
	struct scene *scene = *state;
	struct audit_sensor *sensor;

	fill_books(scene, 2);
	sensor = audit_bucket_sensor(&scene->redis.buckets[PERIOD_DAY], "nobody");
	assert_non_null(sensor);
	sensor->packets = 3;
	judge(scene, 0);

	assert_int_equal(scene->findings.total, 1);
	assert_finds(scene, "packets in Redis, sensor's day", AVRO_NULL_LONG, 3);
	assert_string_equal(scene->findings.items[0].sensor, "nobody");
}

static void test_audit_redis_minute_that_may_be_gone_is_no_finding(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	empty(&scene->redis.buckets[PERIOD_MINUTE]);
	judge(scene, 600);

	assert_int_equal(scene->findings.total, 0);
	assert_int_equal(scene->redis.expired[PERIOD_MINUTE], 1);
	assert_int_equal(scene->redis.compared[PERIOD_HOUR], 1);
}

static void test_audit_redis_minute_that_must_be_there_is_found(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	empty(&scene->redis.buckets[PERIOD_MINUTE]);
	judge(scene, 500);

	assert_int_equal(scene->findings.total, 1);
	assert_finds(scene, "packets in Redis, keys of the minute", PACKETS, AVRO_NULL_LONG);
}

static void test_audit_redis_bucket_that_redis_does_not_list_is_found(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	audit_bucket_fini(&scene->redis.buckets[PERIOD_DAY]);
	scene->redis.bucket_count--;
	judge(scene, 0);

	assert_int_equal(scene->findings.total, 1);
	assert_finds(scene, "day in Redis, list of buckets", 1, 0);
}

static void test_audit_redis_bucket_of_nothing_is_found(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	fill_bucket(&scene->redis.buckets[PERIOD_COUNT], PERIOD_MINUTE, (MINUTE + 5) * 60);
	scene->redis.bucket_count++;
	judge(scene, 0);

	assert_finds(scene, "packets in Redis, sum by total of the minute", 0, PACKETS);
	assert_int_equal(scene->findings.items[0].minute_ms, (MINUTE + 5) * WINDOW_MS);
}

static void test_audit_redis_bucket_older_than_the_log_is_not_compared(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 2);
	fill_bucket(&scene->redis.buckets[PERIOD_COUNT], PERIOD_MINUTE, (MINUTE + 5) * 60);
	scene->redis.bucket_count++;
	scene->books.partitions[0].low = 1; /* something is gone, and no ledger says what */
	judge(scene, 0);

	assert_int_equal(scene->findings.total, 0);
	assert_int_equal(scene->redis.skipped[PERIOD_MINUTE], 1);
}

static void test_audit_redis_what_is_not_applied_is_pending(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 1); /* the flow, not the marker */
	for (unsigned i = 0; i < PERIOD_COUNT; i++) {
		struct audit_bucket *bucket = &scene->redis.buckets[i];

		bucket->has_ledger = false;
		bucket->observed_ms = bucket->address_ms = 0;
		for (size_t b = 0; b < tally_book_count; b++)
			bucket->books[b] = AVRO_NULL_LONG;
		bucket->sensors[0].is_seen = false;
		bucket->sensors[0].addresses = AVRO_NULL_LONG;
	}
	judge(scene, 0);
	assert_int_equal(scene->findings.total, 0);

	scene->redis.buckets[PERIOD_HOUR].packets[DIM_TOTAL] = PACKETS + 1;
	judge(scene, 0);
	assert_int_equal(scene->findings.total, 1);
}

static void test_audit_redis_moving_bucket_is_not_compared(void **state)
{
	struct scene *scene = *state;

	fill_books(scene, 0);
	scene->redis.is_exact = false; /* applied while Redis was read: nothing can be said */
	judge(scene, 0);

	assert_int_equal(scene->findings.total, 0);
	assert_int_equal(scene->redis.skipped[PERIOD_DAY], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_audit_redis_equal_buckets_balance),
		TEST(test_audit_redis_equal_sketches_balance),
		TEST(test_audit_redis_sketch_that_lacks_an_actor_is_found),
		TEST(test_audit_redis_gap_of_a_sensor_is_kept),
		TEST(test_audit_redis_gap_of_a_sensor_that_differs_is_found),
		TEST(test_audit_redis_changed_figures_are_found),
		TEST(test_audit_redis_unknown_sensor_is_found),
		TEST(test_audit_redis_minute_that_may_be_gone_is_no_finding),
		TEST(test_audit_redis_minute_that_must_be_there_is_found),
		TEST(test_audit_redis_bucket_that_redis_does_not_list_is_found),
		TEST(test_audit_redis_bucket_of_nothing_is_found),
		TEST(test_audit_redis_bucket_older_than_the_log_is_not_compared),
		TEST(test_audit_redis_what_is_not_applied_is_pending),
		TEST(test_audit_redis_moving_bucket_is_not_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
