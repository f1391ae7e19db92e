/*
 * A partition's time: the slowest sensor at work decides, nobody holds it up for long, and no wrong
 * clock runs away with it.
 */
#include "collector/partition_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "schemas/container.h"

#define START  INT64_C(1767571200000)
#define M(n)   (START + (int64_t)(n)*60000)
#define SECOND INT64_C(1000)

static struct partition_time *make(void)
{
	struct partition_time *time = NULL;

	assert_int_equal(partition_time_create(&time), 0);
	return time;
}

/* A live sensor's marker; the broker has it ten seconds after the minute. */
static void mark(struct partition_time *time, const char *sensor, int minute, int64_t append_ms)
{
	assert_int_equal(
		partition_time_marker(time, TIMELINE_LIVE, sensor, M(minute), append_ms), 0);
}

static int64_t minutes(const struct partition_time *time)
{
	return (partition_time_of(time, TIMELINE_LIVE) - START) / 60000;
}

static void test_partition_time_is_that_of_the_slowest_sensor(void **state)
{
	struct partition_time *time = make();

	(void)state;
	assert_int_equal(partition_time_of(time, TIMELINE_LIVE), PARTITION_TIME_NONE);
	mark(time, "a", 0, M(1) + 10 * SECOND);
	assert_int_equal(minutes(time), 0);
	mark(time, "b", 0, M(1) + 11 * SECOND);
	mark(time, "a", 1, M(2) + 10 * SECOND);
	assert_int_equal(minutes(time), 0);
	mark(time, "b", 1, M(2) + 12 * SECOND);
	assert_int_equal(minutes(time), 1);
	mark(time, "b", 0, M(2) + 13 * SECOND); /* a late part */
	assert_int_equal(minutes(time), 1);
	partition_time_destroy(time);
}

static void test_partition_time_waits_90_seconds_for_a_silent_sensor(void **state)
{
	struct partition_time *time = make();

	(void)state;
	mark(time, "a", 0, M(1));
	mark(time, "b", 0, M(1));
	mark(time, "b", 1, M(2)); /* from here on a is behind */
	mark(time, "b", 2, M(3));
	assert_int_equal(minutes(time), 0);
	mark(time, "b", 2, M(2) + 89 * SECOND);
	assert_int_equal(minutes(time), 0);
	mark(time, "b", 2, M(2) + 90 * SECOND);
	assert_int_equal(minutes(time), 2);

	/* back with its backlog: it is late until it has caught up, then it counts again */
	mark(time, "a", 1, M(3) + 40 * SECOND);
	mark(time, "b", 3, M(4));
	assert_int_equal(minutes(time), 3);
	mark(time, "a", 3, M(4) + SECOND);
	mark(time, "b", 4, M(5));
	assert_int_equal(minutes(time), 3);
	mark(time, "a", 4, M(5) + SECOND);
	assert_int_equal(minutes(time), 4);
	partition_time_destroy(time);
}

/* A day without a, while b goes on: longer than what is remembered. */
static void test_partition_time_a_sensor_silent_for_a_day(void **state)
{
	struct partition_time *time = make();

	(void)state;
	mark(time, "a", 0, M(1));
	for (int minute = 0; minute < 1440; minute++) {
		mark(time, "b", minute, M(minute + 1));
		assert_int_equal(minutes(time), minute < 3 ? 0 : minute);
	}
	mark(time, "a", 1, M(1440)); /* it comes back with a day of backlog */
	mark(time, "b", 1440, M(1441));
	assert_int_equal(minutes(time), 1440);
	partition_time_destroy(time);
}

static void test_partition_time_a_clock_that_runs_ahead(void **state)
{
	struct partition_time *time = make();

	(void)state;
	mark(time, "a", 0, M(1));
	mark(time, "a", 525600, M(2)); /* a year */
	assert_int_equal(minutes(time), 7);
	mark(time, "b", 1, M(2)); /* does not go back */
	assert_int_equal(minutes(time), 7);
	partition_time_destroy(time);
}

/* A replay's packets may be of any year, and time there follows them. */
static void test_partition_time_of_a_replay_is_its_own(void **state)
{
	struct partition_time *time = make();

	(void)state;
	mark(time, "a", 0, M(1));
	assert_int_equal(partition_time_marker(time, "archive", "a", M(525600), M(1)), 0);
	assert_int_equal(partition_time_of(time, "archive"), M(525600));
	assert_int_equal(minutes(time), 0);
	assert_int_equal(partition_time_put_away(time, M(1) + PARTITION_TIME_SILENT_MS - 1), 0);
	assert_int_equal(partition_time_put_away(time, M(1) + PARTITION_TIME_SILENT_MS), 1);
	assert_int_equal(partition_time_of(time, "archive"), PARTITION_TIME_NONE);
	assert_int_equal(minutes(time), 0);
	partition_time_destroy(time);
}

static void test_partition_time_is_bounded(void **state)
{
	struct partition_time *time = make();
	char name[32];

	(void)state;
	for (int i = 0; i < PARTITION_SENSORS_MAX; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		mark(time, name, 0, M(1));
	}
	assert_int_equal(partition_time_marker(time, TIMELINE_LIVE, "x", M(9), M(1)), FAIL_LIMIT);
	assert_int_equal(minutes(time), 0);
	for (int i = 1; i < PARTITION_TIMELINES_MAX; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		assert_int_equal(partition_time_marker(time, name, "s", M(1), M(1)), 0);
	}
	assert_int_equal(partition_time_marker(time, "x", "s", M(1), M(1)), FAIL_LIMIT);
	partition_time_destroy(time);
}

/* Stored and loaded at any moment, it goes on as if nothing had been. */
static void test_partition_time_goes_on_where_it_was_stored(void **state)
{
	struct partition_time *whole = make(), *parts = make();

	(void)state;
	for (int minute = 0; minute < 200; minute++) {
		struct buffer text = { 0 };

		for (int i = 0; i < 3; i++) {
			const char *sensor = (const char *[]){ "a", "b", "c" }[i];
			bool is_away = i == 1 && minute > 40 && minute < 160;

			if (!is_away) {
				mark(whole, sensor, minute, M(minute + 1) + i);
				mark(parts, sensor, minute, M(minute + 1) + i);
			}
		}
		assert_int_equal(
			partition_time_marker(parts, "archive", "x", M(minute), M(minute)), 0);
		partition_time_save(parts, &text);
		partition_time_destroy(parts);
		parts = make();
		assert_int_equal(
			partition_time_load(parts, (struct bytes){ text.data, text.size }), 0);
		buffer_fini(&text);
		assert_int_equal(minutes(parts), minutes(whole));
		assert_int_equal(partition_time_of(parts, "archive"), M(minute));
	}
	partition_time_destroy(whole);
	partition_time_destroy(parts);
}

static void test_partition_time_refuses_what_it_did_not_store(void **state)
{
	static const char *const texts[] = { "", "{}", "[1]", "[{\"timeline\":7}]",
		"[{\"timeline\":\"live\",\"sensors\":[1,2]}]" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct partition_time *time = make();

		assert_int_equal(
			partition_time_load(time,
				(struct bytes){ (const uint8_t *)texts[i], strlen(texts[i]) }),
			FAIL_FORMAT);
		partition_time_destroy(time);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_partition_time_is_that_of_the_slowest_sensor),
		cmocka_unit_test(test_partition_time_waits_90_seconds_for_a_silent_sensor),
		cmocka_unit_test(test_partition_time_a_sensor_silent_for_a_day),
		cmocka_unit_test(test_partition_time_a_clock_that_runs_ahead),
		cmocka_unit_test(test_partition_time_of_a_replay_is_its_own),
		cmocka_unit_test(test_partition_time_is_bounded),
		cmocka_unit_test(test_partition_time_goes_on_where_it_was_stored),
		cmocka_unit_test(test_partition_time_refuses_what_it_did_not_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
