/*
 * A live sensor while no broker answers: minutes are taken at once and kept on disk. Nobody listens
 * at the address.
 */
#include "sensor/sink_kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "schemas/base/timing.h"
#include "sensor/spool.h"

#define MIB	      (UINT64_C(1) << 20)
#define AT_ONCE_MS    500
#define CLOSE_MAX_MS  8000
#define FINISH_MAX_MS 12000
#define STATE	      "/tmp/hoshimi-test-sink-kafka"
#define SPOOL_PATH    STATE "/test/spool"

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
		(char[]){ "--set" }, (char[]){ "sensor.queue_bytes=16MiB" }, (char[]){ "--state" },
		(char[]){ STATE }, (char[]){ "--sensor" }, (char[]){ "test" }, (char[]){ "--set" },
		more };
	struct message msg = { "" };

	assert_int_equal(config_create(&scene->config, PROGRAM_SENSOR), 0);
	assert_int_equal(config_parse(scene->config, more != NULL ? 15 : 13, words, &msg), 0);
	assert_int_equal(sink_kafka_origin(&scene->origin, scene->config, &msg), 0);
	return sink_kafka_open(&scene->sink, scene->config, &scene->stop, &scene->origin,
		&scene->partitions, &msg);
}

static struct entry *make_entry(int64_t minute)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	assert_non_null(entry);
	entry->origin = (struct origin){ "test", TIMELINE_LIVE, 1 };
	entry->ledger = marker_defaults();
	entry->ledger.minute_ms = minute * WINDOW_MS;
	entry->partitions = 1;
	entry->shares = calloc(1, sizeof(*entry->shares));
	assert_non_null(entry->shares);
	entry->bytes = 1000;
	return entry;
}

/* SIGTERM while no broker answers: in time, and without loss, because the minutes are on disk. */
static void test_sink_kafka_live_keeps_minutes_without_a_broker(void **state)
{
	struct scene scene = { 0 };
	struct message msg = { "" };
	int64_t began_ms = timing_now_ms();

	(void)state;
	for (int64_t round = 0; round < 2; round++) {
		assert_int_equal(configure(&scene, NULL), 0);
		assert_true(timing_now_ms() - began_ms < AT_ONCE_MS);
		assert_int_equal(scene.partitions, 1);
		assert_int_equal(sink_kafka_partitions(scene.sink), 0);
		for (int64_t minute = 1; minute <= 3; minute++)
			assert_int_equal(
				scene.sink->take(scene.sink, make_entry(round * 10 + minute), &msg),
				0);
		assert_true(timing_now_ms() - began_ms < AT_ONCE_MS);
		began_ms = timing_now_ms();
		if (round == 1)
			assert_int_equal(scene.sink->finish(scene.sink, &msg), 0);
		scene.sink->close(scene.sink);
		assert_true(timing_now_ms() - began_ms < CLOSE_MAX_MS + round * FINISH_MAX_MS);
		config_destroy(scene.config);
		began_ms = timing_now_ms();
	}
	{
		struct spool *spool = NULL;
		size_t count;

		assert_int_equal(spool_open(&spool, SPOOL_PATH, UINT64_C(1) << 30, &msg), 0);
		(void)spool_found(spool, &count);
		assert_int_equal(count, 6);
		spool_close(spool);
	}
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

static int remove_state(void **state)
{
	(void)state;
	return system("rm -rf " STATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sink_kafka_live_keeps_minutes_without_a_broker),
		cmocka_unit_test(
			test_sink_kafka_settings_that_cannot_be_are_refused_before_capture),
	};

	return cmocka_run_group_tests(tests, remove_state, remove_state);
}
