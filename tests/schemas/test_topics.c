/*
 * Topics are contract: names, partitions, retention, and where a key lies.
 */
#include "schemas/topics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* DESIGN, table of topics */
static const struct {
	enum topic topic;
	const char *name;
	uint32_t partitions;
	uint32_t days;
	const char *cleanup;
} golden[] = {
	{ TOPIC_FLOWS, "hoshimi.flows.v1", 0, 8, "delete" },
	{ TOPIC_ENRICHED, "hoshimi.enriched.v1", 0, 3, "delete" },
	{ TOPIC_EVENTS, "hoshimi.events.v1", 0, 90, "delete" },
	{ TOPIC_COUNTERS, "hoshimi.counters.v1", 0, 400, "delete" },
	{ TOPIC_SENSORS, "hoshimi.sensors.v1", 1, 400, "delete" },
	{ TOPIC_ALERTS, "hoshimi.alerts.v1", 1, 400, "compact,delete" },
	{ TOPIC_CURSORS, "hoshimi.cursors.v1", 16, 0, "compact" },
	{ TOPIC_STATE, "hoshimi.state.v1", 0, 0, "compact" },
	{ TOPIC_DEADLETTER, "hoshimi.deadletter.v1", 1, 30, "delete" },
};

static void test_topics_are_those_of_the_contract(void **state)
{
	char name[TOPIC_NAME_BYTES];

	(void)state;
	assert_int_equal(sizeof(golden) / sizeof(golden[0]), TOPIC_COUNT);
	for (size_t i = 0; i < TOPIC_COUNT; i++) {
		const struct topic_row *row = topic_row(golden[i].topic);

		assert_string_equal(topic_name(name, "hoshimi", golden[i].topic), golden[i].name);
		assert_int_equal(row->partitions, golden[i].partitions);
		assert_int_equal(row->days, golden[i].days);
		assert_string_equal(row->cleanup, golden[i].cleanup);
	}
}

/* A prefix has at most 64 characters, and Kafka takes names of at most 249 */
static void test_topics_of_the_longest_prefix_are_whole(void **state)
{
	char prefix[65] = { 0 };
	char name[TOPIC_NAME_BYTES];

	(void)state;
	memset(prefix, 'p', 64);
	for (size_t i = 0; i < TOPIC_COUNT; i++)
		assert_int_equal(strlen(topic_name(name, prefix, (enum topic)i)),
			65 + strlen(topic_row((enum topic)i)->name));
}

static void test_topics_key_lies_where_it_always_lay(void **state)
{
	static const struct {
		const char *key;
		uint32_t partition; /* of 16 */
	} rows[] = {
		{ "hoshimi.sensor.tokyo-1", 14 },
		{ "hoshimi.replay.demo", 6 },
		{ "", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(topic_key_partition(rows[i].key, 16), rows[i].partition);
}

static void test_topics_keys_spread_over_all_partitions(void **state)
{
	unsigned seen[16] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1600; i++) {
		char key[32];
		uint32_t partition;

		snprintf(key, sizeof(key), "hoshimi.sensor.%u", i);
		partition = topic_key_partition(key, 16);
		assert_true(partition < 16);
		assert_int_equal(topic_key_partition(key, 1), 0);
		seen[partition]++;
	}
	for (unsigned i = 0; i < 16; i++)
		assert_in_range(seen[i], 50, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topics_are_those_of_the_contract),
		cmocka_unit_test(test_topics_of_the_longest_prefix_are_whole),
		cmocka_unit_test(test_topics_key_lies_where_it_always_lay),
		cmocka_unit_test(test_topics_keys_spread_over_all_partitions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
