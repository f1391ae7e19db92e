/*
 * Closed minutes: every packet in one record of each dimension, actors exact, silence visible; and a
 * view that is killed anywhere writes what one writes that never was.
 */
#include "collector/watch.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define START  INT64_C(1767571200000)
#define M(n)   (START + (int64_t)(n)*60000)
#define APPEND (INT64_MAX / 2)

struct scene {
	struct config *config;
	struct geo *geo;
	struct watch *watch;
	char *lines[40000];
	size_t count;
};

static int emit(void *context, enum topic topic, struct bytes record)
{
	struct scene *scene = context;
	char *line;

	assert_int_equal(topic, TOPIC_COUNTERS);
	assert_true(scene->count < sizeof(scene->lines) / sizeof(scene->lines[0]));
	line = calloc(1, record.size + 1);
	assert_non_null(line);
	memcpy(line, record.data, record.size);
	scene->lines[scene->count++] = line;
	return 0;
}

static void begin(struct scene *scene, int64_t through)
{
	struct watch_options options = {
		.partition = 3, .geo = scene->geo, .emit = emit, .context = scene
	};

	assert_int_equal(watch_create(&scene->watch, &options, through), 0);
}

static int make_scene(void **state)
{
	char *words[] = { (char[]){ "test" } };
	struct scene *scene = calloc(1, sizeof(*scene));
	struct message msg;

	assert_non_null(scene);
	assert_int_equal(config_create(&scene->config, PROGRAM_COLLECTOR), 0);
	assert_int_equal(config_parse(scene->config, 1, words, &msg), 0);
	assert_int_equal(geo_create(&scene->geo, scene->config), 0);
	begin(scene, 0);
	*state = scene;
	return 0;
}

static void forget_lines(struct scene *scene, size_t from)
{
	while (scene->count > from)
		free(scene->lines[--scene->count]);
}

static int destroy_scene(void **state)
{
	struct scene *scene = *state;

	watch_destroy(scene->watch);
	forget_lines(scene, 0);
	geo_destroy(scene->geo);
	config_destroy(scene->config);
	free(scene);
	return 0;
}

static const struct origin *origin_of(const char *sensor)
{
	static struct origin origin;

	origin = (struct origin){ .timeline = TIMELINE_LIVE, .boot = 1 };
	snprintf(origin.sensor, sizeof(origin.sensor), "%s", sensor);
	return &origin;
}

static void flow(struct scene *scene, const char *sensor, int minute, uint8_t actor, int32_t port,
	int64_t packets, int64_t offset)
{
	const uint8_t address[4] = { 192, 0, 2, actor };
	struct flow_record record = flow_defaults();

	record.window_ms = M(minute);
	record.ip_version = 4;
	record.actor = (struct bytes){ address, 4 };
	record.protocol = 6;
	record.service_port = port;
	record.packets = packets;
	record.bytes = packets * 60;
	assert_int_equal(watch_flow(scene->watch, origin_of(sensor), &record, offset), 0);
}

static void marker(struct scene *scene, const char *sensor, int minute, int through,
	int64_t append_ms, int64_t offset)
{
	struct marker_record record = marker_defaults();

	record.minute_ms = M(minute);
	record.closed_through_ms = M(through);
	record.packets = 1;
	record.monitored_addresses = 256;
	record.interval_from_ns = M(minute) * 1000000;
	record.interval_to_ns = M(minute + 1) * 1000000;
	record.kernel_drops = 2;
	assert_int_equal(
		watch_marker(scene->watch, origin_of(sensor), &record, append_ms, offset), 0);
}

/* The member of a record of this dimension and label. */
static json_int_t figure(const struct scene *scene, int minute, const char *dimension,
	const char *label, bool is_late, const char *member)
{
	json_int_t sum = -1;

	for (size_t i = 0; i < scene->count; i++) {
		json_t *json = json_loads(scene->lines[i], 0, NULL);

		assert_non_null(json);
		if (json_integer_value(json_object_get(json, "minute_ms")) == M(minute) &&
			json_is_true(json_object_get(json, "late")) == is_late &&
			strcmp(json_string_value(json_object_get(json, "dimension")), dimension) ==
				0 &&
			strcmp(json_string_value(json_object_get(json, "label")), label) == 0)
			sum = (sum < 0 ? 0 : sum) +
			      json_integer_value(json_object_get(json, member));
		json_decref(json);
	}
	return sum;
}

static void test_watch_closes_a_minute_with_its_series(void **state)
{
	struct scene *scene = *state;

	flow(scene, "a", 0, 1, 23, 5, 0);
	flow(scene, "b", 0, 1, 23, 7, 1); /* the same actor, seen by another sensor */
	flow(scene, "b", 0, 2, 80, 1, 2);
	marker(scene, "a", 0, 0, APPEND, 3);
	assert_int_equal(scene->count > 0, 1); /* b is not known yet */
	forget_lines(scene, 0);

	flow(scene, "a", 1, 1, 23, 5, 4);
	flow(scene, "b", 1, 1, 23, 7, 5);
	flow(scene, "b", 1, 2, 80, 1, 6);
	marker(scene, "b", 0, 0, APPEND, 7);
	marker(scene, "a", 1, 1, APPEND, 8);
	assert_int_equal(figure(scene, 1, "total", "total", false, "packets"), -1);
	marker(scene, "b", 1, 1, APPEND, 9);
	assert_int_equal(figure(scene, 1, "total", "total", false, "packets"), 13);
	assert_int_equal(figure(scene, 1, "total", "total", false, "unique_actors"), 2);
	assert_int_equal(figure(scene, 1, "total", "total", false, "sensors"), 2);
	assert_int_equal(figure(scene, 1, "total", "total", false, "monitored_addresses"), 512);
	assert_int_equal(figure(scene, 1, "total", "total", false, "kernel_drops"), 4);
	assert_int_equal(figure(scene, 1, "service", "tcp/23", false, "packets"), 12);
	assert_int_equal(figure(scene, 1, "service", "tcp/23", false, "unique_actors"), 1);
	assert_int_equal(figure(scene, 1, "service", "tcp/80", false, "bytes"), 60);
	assert_non_null(strstr(scene->lines[scene->count - 1], "\"dimension\":\"total\""));
}

static void test_watch_silence_is_visible(void **state)
{
	struct scene *scene = *state;

	for (int minute = 0; minute < 3; minute++)
		marker(scene, "a", minute, minute, APPEND, minute);
	assert_int_equal(scene->count, 3);
	assert_int_equal(figure(scene, 2, "total", "total", false, "packets"), 0);
	assert_int_equal(figure(scene, 2, "total", "total", false, "monitored_addresses"), 256);
}

static void test_watch_late_flows_are_marked(void **state)
{
	struct scene *scene = *state;

	flow(scene, "a", 0, 1, 23, 5, 0);
	marker(scene, "a", 0, 0, APPEND, 1);
	flow(scene, "a", 0, 2, 23, 3, 2);
	assert_int_equal(figure(scene, 0, "total", "total", true, "packets"), -1);
	marker(scene, "a", 1, 1, APPEND, 3);
	assert_int_equal(figure(scene, 0, "total", "total", false, "packets"), 5);
	assert_int_equal(figure(scene, 0, "total", "total", true, "packets"), 3);
	assert_int_equal(figure(scene, 0, "service", "tcp/23", true, "unique_actors"), 1);
}

/* An archive out of order, or a sensor gone mad. */
static void test_watch_open_minutes_are_bounded(void **state)
{
	struct scene *scene = *state;
	json_int_t sum = 0;

	for (int round = 0; round < 3; round++)
		for (int minute = 0; minute < 1000; minute++)
			flow(scene, "a", minute, 1, 23, 1, round * 1000 + minute);
	assert_int_equal(watch_low(scene->watch, 5000), 1000 - WATCH_OPEN_MAX);
	assert_int_equal(watch_end(scene->watch), 0);
	for (int minute = 0; minute < 1000; minute += 37)
		for (int late = 0; late < 2; late++) {
			json_int_t packets =
				figure(scene, minute, "total", "total", late, "packets");

			sum += packets < 0 ? 0 : packets;
		}
	assert_int_equal(sum, 3 * 28);
}

/* ---- killed anywhere ---- */

enum { MINUTES = 40, MESSAGES = MINUTES * 12 };

/* The message at an offset: three sensors, one of them slow for a while, some flows late. */
static void take_message(struct scene *scene, int64_t offset)
{
	static const char *const sensors[] = { "a", "b", "c" };
	int minute = (int)(offset / 12), step = (int)(offset % 12), sensor = step % 3;
	bool is_slow = sensor == 1 && minute > 10 && minute < 20;
	int of = is_slow ? minute / 2 : minute;
	int64_t append_ms = M(minute + 1) + step;

	if (step < 9) {
		flow(scene, sensors[sensor], of, (uint8_t)(offset * 7 % 13), 20 + step % 4,
			1 + offset % 5, offset);
		if (offset % 11 == 0 && minute > 2)
			flow(scene, sensors[sensor], minute - 2, 99, 23, 1, offset);
	} else {
		marker(scene, sensors[sensor], of, of, append_ms, offset);
	}
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void test_watch_killed_anywhere_writes_the_same(void **state)
{
	struct scene *scene = *state;
	char **expected;
	size_t expected_count;
	unsigned kills = 0;

	for (int64_t offset = 0; offset < MESSAGES; offset++) {
		uint64_t closed = watch_closed(scene->watch);

		take_message(scene, offset);
		if (watch_closed(scene->watch) > closed)
			assert_int_equal(watch_settle(scene->watch), 0);
	}
	assert_int_equal(watch_end(scene->watch), 0);
	expected_count = scene->count;
	expected = calloc(expected_count, sizeof(*expected));
	assert_non_null(expected);
	for (size_t i = 0; i < expected_count; i++)
		expected[i] = strdup(scene->lines[i]);
	qsort(expected, expected_count, sizeof(*expected), compare_lines);

	for (unsigned seed = 1; seed <= 20; seed++) {
		struct buffer stored = { 0 };
		int64_t through = 0, low = 0;
		size_t committed = 0;
		uint32_t random = seed;

		watch_destroy(scene->watch);
		forget_lines(scene, 0);
		begin(scene, 0);
		for (int64_t offset = 0; offset < MESSAGES; offset++) {
			uint64_t closed = watch_closed(scene->watch);

			take_message(scene, offset);
			if (watch_closed(scene->watch) > closed) {
				assert_int_equal(watch_settle(scene->watch), 0);
				through = offset + 1;
				low = watch_low(scene->watch, through);
				committed = scene->count;
				buffer_clear(&stored);
				watch_save(scene->watch, &stored);
			}
			random = random * 1664525 + 1013904223;
			if (random >> 24 >= 12)
				continue;
			kills++;
			watch_destroy(scene->watch);
			forget_lines(scene, committed);
			begin(scene, through);
			if (stored.size > 0)
				assert_int_equal(
					watch_load(scene->watch,
						(struct bytes){ stored.data, stored.size }),
					0);
			offset = low - 1;
		}
		assert_int_equal(watch_end(scene->watch), 0);
		buffer_fini(&stored);
		assert_int_equal(scene->count, expected_count);
		qsort(scene->lines, scene->count, sizeof(scene->lines[0]), compare_lines);
		for (size_t i = 0; i < expected_count; i++)
			assert_string_equal(scene->lines[i], expected[i]);
	}
	assert_true(kills > 200);
	for (size_t i = 0; i < expected_count; i++)
		free(expected[i]);
	free(expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_watch_closes_a_minute_with_its_series, make_scene, destroy_scene),
		cmocka_unit_test_setup_teardown(
			test_watch_silence_is_visible, make_scene, destroy_scene),
		cmocka_unit_test_setup_teardown(
			test_watch_late_flows_are_marked, make_scene, destroy_scene),
		cmocka_unit_test_setup_teardown(
			test_watch_open_minutes_are_bounded, make_scene, destroy_scene),
		cmocka_unit_test_setup_teardown(
			test_watch_killed_anywhere_writes_the_same, make_scene, destroy_scene),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
