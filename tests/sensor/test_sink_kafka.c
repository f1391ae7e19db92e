/*
 * The queue of a live sensor while no broker answers: minutes are taken at once, the oldest goes
 * when there is no room, and the next ledger names what went. Nobody listens at the address.
 */
#include "sensor/sink_kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "schemas/base/timing.h"

#define MIB	     (UINT64_C(1) << 20)
#define AT_ONCE_MS   500
#define CLOSE_MAX_MS 8000

struct scene {
	struct config *config;
	struct sink *sink;
	struct origin origin;
	uint32_t partitions;
	atomic_bool stop;
};

static int configure(struct scene *scene, char *more)
{
	char *words[] = { (char[]){ "test" }, (char[]){ "-i" }, (char[]){ "lo" }, (char[]){ "-o" },
		(char[]){ "kafka" }, (char[]){ "--brokers" }, (char[]){ "127.0.0.1:1" },
		(char[]){ "--set" }, (char[]){ "sensor.queue_bytes=16MiB" }, (char[]){ "--set" },
		more };
	struct message msg = { "" };

	assert_int_equal(config_create(&scene->config, PROGRAM_SENSOR), 0);
	assert_int_equal(config_parse(scene->config, more != NULL ? 11 : 9, words, &msg), 0);
	assert_int_equal(sink_kafka_origin(&scene->origin, scene->config, &msg), 0);
	return sink_kafka_open(&scene->sink, scene->config, &scene->stop, &scene->origin,
		&scene->partitions, &msg);
}

/* An entry of a minute, with so many bytes on the queue's account. */
static struct entry *make_entry(int64_t minute, size_t bytes, uint64_t packets)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	assert_non_null(entry);
	entry->ledger = marker_defaults();
	entry->ledger.minute_ms = minute * WINDOW_MS;
	entry->partitions = 1;
	entry->bytes = bytes;
	entry->flows = packets / 2;
	entry->packets = packets;
	return entry;
}

static void take(struct scene *scene, struct entry *entry)
{
	struct message msg = { "" };
	int64_t began_ms = timing_now_ms();

	assert_int_equal(scene->sink->take(scene->sink, entry, &msg), 0);
	assert_true(timing_now_ms() - began_ms < AT_ONCE_MS);
}

static void assert_lost(const struct entry *heir, int64_t entries, int64_t flows, int64_t packets)
{
	assert_int_equal(heir->ledger.lost_entries, entries);
	assert_int_equal(heir->ledger.lost_flows, flows);
	assert_int_equal(heir->ledger.lost_packets, packets);
}

static void test_sink_kafka_live_queues_without_a_broker_and_names_what_it_drops(void **state)
{
	struct entry *second = make_entry(2, 5 * MIB, 20), *third = make_entry(3, 5 * MIB, 30);
	struct entry *last = make_entry(4, 20 * MIB, 40);
	struct scene scene = { 0 };
	int64_t began_ms = timing_now_ms();

	(void)state;
	assert_int_equal(configure(&scene, NULL), 0);
	assert_true(timing_now_ms() - began_ms < AT_ONCE_MS);
	assert_int_equal(scene.partitions, 1);
	assert_int_equal(sink_kafka_partitions(scene.sink), 0);

	/* two parts of the oldest minute go together */
	take(&scene, make_entry(1, 5 * MIB, 10));
	take(&scene, make_entry(1, 1 * MIB, 6));
	take(&scene, second);
	assert_lost(second, 0, 0, 0);
	take(&scene, third);
	assert_lost(second, 0, 0, 0);
	take(&scene, make_entry(3, 1 * MIB, 2));
	assert_lost(second, 2, 8, 16);
	assert_lost(third, 0, 0, 0);

	/* one that is larger than the queue takes its place; what was told to be lost stays told */
	take(&scene, last);
	assert_lost(last, 2 + 1 + 2, 8 + 10 + 16, 16 + 20 + 32);

	began_ms = timing_now_ms();
	scene.sink->close(scene.sink);
	assert_true(timing_now_ms() - began_ms < CLOSE_MAX_MS);
	config_destroy(scene.config);
}

static void test_sink_kafka_settings_that_cannot_be_are_refused_before_capture(void **state)
{
	struct scene scene = { 0 };

	(void)state;
	assert_int_equal(
		configure(&scene, (char[]){ "kafka.properties.no.such.property=1" }), FAIL_CONFIG);
	assert_null(scene.sink);
	config_destroy(scene.config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_sink_kafka_live_queues_without_a_broker_and_names_what_it_drops),
		cmocka_unit_test(
			test_sink_kafka_settings_that_cannot_be_are_refused_before_capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
