/*
 * Where the counters of a label lie: who writes and who reads come to the same place.
 */
#include "collector/redis_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct redis_place place_of_service(enum period period, uint8_t protocol, int32_t port)
{
	struct tally_key key = { 0, DIM_SERVICE, tally_service_label(ROLE_PROBE, protocol, port) };
	struct tally tally = { 0 };
	struct redis_place place;

	redis_place_of_key(&place, &tally, period, &key);
	return place;
}

static void test_redis_place_service_is_filed_by_its_number(void **state)
{
	struct redis_place place = place_of_service(PERIOD_DAY, PROTOCOL_TCP, 8080);

	(void)state;
	assert_string_equal(place.block, "service:probe:tcp:63");
	assert_string_equal(place.field, "8080");
	assert_string_equal(place.sketch, "actors:service:probe:tcp/");
	assert_string_equal(
		place_of_service(PERIOD_MINUTE, PROTOCOL_TCP, 8080).block, "service:probe:tcp:0");
	assert_string_equal(
		place_of_service(PERIOD_MINUTE, PROTOCOL_TCP, 8192).block, "service:probe:tcp:1");
}

static void test_redis_place_of_a_services_text_is_that_of_its_number(void **state)
{
	static const struct {
		uint8_t protocol;
		int32_t port;
	} services[] = {
		{ PROTOCOL_TCP, 0 },
		{ PROTOCOL_TCP, 65535 },
		{ PROTOCOL_UDP, SERVICE_NONE },
		{ PROTOCOL_ICMP, 8 << 8 },
		{ PROTOCOL_ICMP6, 255 << 8 | 255 },
		{ PROTOCOL_ICMP, SERVICE_OF_TYPE(255) },
		{ 99, SERVICE_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		struct redis_place by_key = place_of_service(
					   PERIOD_HOUR, services[i].protocol, services[i].port),
				   by_text;
		char text[SERVICE_TEXT_BYTES];

		service_text(services[i].protocol, services[i].port, text);
		assert_true(
			redis_place_of_label(&by_text, PERIOD_HOUR, DIM_SERVICE, ROLE_PROBE, text));
		assert_string_equal(by_key.block, by_text.block);
		assert_string_equal(by_key.field, by_text.field);
		assert_string_equal(by_key.sketch, by_text.sketch);
	}
}

static void test_redis_place_refuses_what_is_no_service(void **state)
{
	static const char *const texts[] = { "", "tcp", "tcp/", "tcp/65536", "tcp/-1", "tcp/2x",
		"/23", "nothing/23", "icmp/8/", "icmp/256/0", "icmp/8/256", "icmp//0",
		"a-protocol-with-a-long-name/1" };
	struct redis_place place;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(redis_place_of_label(
			&place, PERIOD_DAY, DIM_SERVICE, ROLE_PROBE, texts[i]));
}

static void test_redis_place_other_dimensions_have_one_hash(void **state)
{
	struct redis_place place;

	(void)state;
	assert_true(redis_place_of_label(&place, PERIOD_DAY, DIM_CLASS, 0, "scan.tcp_syn"));
	assert_string_equal(place.block, "class");
	assert_string_equal(place.field, "scan.tcp_syn");
	assert_string_equal(place.sketch, "actors:class:");
	assert_true(redis_place_of_label(&place, PERIOD_DAY, DIM_ASN, 0, "64496"));
	assert_string_equal(place.block, "asn:503");
	assert_true(redis_place_of_label(&place, PERIOD_DAY, DIM_ASN, 0, "unknown"));
	assert_string_equal(place.block, "asn:0");
	assert_string_equal(place.field, "unknown");
}

/* The block's number and its name must agree: counters of one hash go as one operation. */
static void test_redis_place_block_id_follows_the_name(void **state)
{
	static const int32_t ports[] = { SERVICE_NONE, 0, 127, 128, 8191, 8192, 65535,
		SERVICE_OF_TYPE(0), SERVICE_OF_TYPE(255) };
	const size_t count = sizeof(ports) / sizeof(ports[0]);

	(void)state;
	for (unsigned period = 0; period < PERIOD_COUNT; period++)
		for (size_t i = 0; i < count * count; i++) {
			int32_t x = ports[i / count], y = ports[i % count];
			struct tally_key left = { 0, DIM_SERVICE,
				tally_service_label(ROLE_PROBE, PROTOCOL_TCP, x) };
			struct tally_key right = { 0, DIM_SERVICE,
				tally_service_label(ROLE_PROBE, PROTOCOL_TCP, y) };
			struct redis_place a = place_of_service(
						   (enum period)period, PROTOCOL_TCP, x),
					   b = place_of_service(
						   (enum period)period, PROTOCOL_TCP, y);

			assert_int_equal(redis_place_block_id((enum period)period, &left) ==
						 redis_place_block_id((enum period)period, &right),
				strcmp(a.block, b.block) == 0);
		}
}

static void test_redis_block_parse_reads_what_was_written(void **state)
{
	struct redis_block block;

	(void)state;
	assert_true(
		redis_block_parse(&block, place_of_service(PERIOD_MINUTE, PROTOCOL_UDP, 53).block));
	assert_int_equal(block.dimension, DIM_SERVICE);
	assert_int_equal(block.role, ROLE_PROBE);
	assert_int_equal(block.protocol, PROTOCOL_UDP);
	assert_true(redis_block_parse(&block, "asn:503"));
	assert_int_equal(block.dimension, DIM_ASN);
	assert_false(redis_block_parse(&block, "class"));
	assert_false(redis_block_parse(&block, "service:nobody:tcp:0"));
	assert_false(redis_block_parse(&block, "service:probe"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_redis_place_service_is_filed_by_its_number),
		cmocka_unit_test(test_redis_place_of_a_services_text_is_that_of_its_number),
		cmocka_unit_test(test_redis_place_refuses_what_is_no_service),
		cmocka_unit_test(test_redis_place_other_dimensions_have_one_hash),
		cmocka_unit_test(test_redis_place_block_id_follows_the_name),
		cmocka_unit_test(test_redis_block_parse_reads_what_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
