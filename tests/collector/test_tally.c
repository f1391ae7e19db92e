/*
 * Counters of a batch: every dimension, by minute, actors once; and the books.
 */
#include "collector/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t actor_a[4] = { 192, 0, 2, 1 }, actor_b[4] = { 192, 0, 2, 2 };
static const struct origin origin = { .sensor = "site1", .timeline = "live" };
static const struct geo_answer nowhere;

static struct flow_record a_flow(const uint8_t *actor, int64_t minute, int64_t packets)
{
	struct flow_record flow = flow_defaults();

	flow.window_ms = minute * WINDOW_MS;
	flow.actor = (struct bytes){ actor, 4 };
	flow.class = CLASS_SCAN_TCP_SYN;
	flow.role = ROLE_PROBE;
	flow.protocol = PROTOCOL_TCP;
	flow.service_port = 23;
	flow.tool = TOOL_MIRAI;
	flow.packets = packets;
	flow.bytes = packets * 60;
	return flow;
}

static struct tally_value value_of(
	struct tally *tally, int64_t bucket_s, enum dimension dimension, uint32_t label)
{
	struct tally_key key = { bucket_s, dimension, label };

	return *(struct tally_value *)count_map_at(&tally->counters, tally_pack(&key));
}

static void test_tally_flow_counts_in_every_dimension(void **state)
{
	struct tally_options options = { .for_report = false };
	struct flow_record flow = a_flow(actor_a, 100, 7);
	struct tally tally;

	(void)state;
	assert_int_equal(tally_init(&tally, &options), 0);
	tally_flow(&tally, &origin, &flow, &nowhere);

	assert_int_equal(value_of(&tally, 6000, DIM_TOTAL, 0).packets, 7);
	assert_int_equal(value_of(&tally, 6000, DIM_CLASS, CLASS_SCAN_TCP_SYN).bytes, 420);
	assert_int_equal(value_of(&tally, 6000, DIM_PROTOCOL, 4 << 8 | 6).packets, 7);
	assert_int_equal(value_of(&tally, 6000, DIM_SERVICE,
				 tally_service_label(ROLE_PROBE, PROTOCOL_TCP, 23))
				 .packets,
		7);
	assert_int_equal(value_of(&tally, 6000, DIM_TOOL, TOOL_MIRAI).packets, 7);
	assert_int_equal(tally.actor_count, DIM_COUNT);
	tally_fini(&tally);
}

static void test_tally_actor_seen_twice_is_one_pair(void **state)
{
	struct tally_options options = { .for_report = false };
	struct flow_record first = a_flow(actor_a, 100, 1), again = a_flow(actor_a, 100, 2),
			   other = a_flow(actor_b, 100, 1);
	struct tally tally;

	(void)state;
	assert_int_equal(tally_init(&tally, &options), 0);
	tally_flow(&tally, &origin, &first, &nowhere);
	tally_flow(&tally, &origin, &again, &nowhere);
	assert_int_equal(tally.actor_count, DIM_COUNT);
	tally_flow(&tally, &origin, &other, &nowhere);
	assert_int_equal(tally.actor_count, 2 * DIM_COUNT);
	tally_fini(&tally);
}

static void test_tally_overflow_counts_packets_but_no_actor(void **state)
{
	struct tally_options options = { .for_report = false };
	struct flow_record flow = a_flow(actor_a, 100, 9);
	struct tally tally;

	(void)state;
	flow.overflow = true;
	flow.actor = (struct bytes){ 0 };
	assert_int_equal(tally_init(&tally, &options), 0);
	tally_flow(&tally, &origin, &flow, &nowhere);
	assert_int_equal(value_of(&tally, 6000, DIM_TOTAL, 0).packets, 9);
	assert_int_equal(tally.actor_count, 0);
	tally_fini(&tally);
}

static void test_tally_marker_of_other_partitions_carries_no_books(void **state)
{
	struct tally_options options = { .for_report = false };
	struct marker_record marker = marker_defaults();
	struct tally tally;

	(void)state;
	assert_int_equal(tally_init(&tally, &options), 0);
	marker.frames = 10;
	marker.partitions = 6;
	marker.partition = 3;
	tally_marker(&tally, &origin, &marker);
	assert_int_equal(tally.ledger_count, 0);
	marker.partition = 0;
	tally_marker(&tally, &origin, &marker);
	tally_marker(&tally, &origin, &marker);
	assert_int_equal(tally.ledger_count, 1);
	assert_int_equal(tally.ledgers[0].books.frames, 20);
	tally_fini(&tally);
}

static void test_tally_first_and_last_ignore_nulls(void **state)
{
	struct marker_record sum = marker_defaults(), part = marker_defaults();

	(void)state;
	tally_books_add(&sum, &part);
	assert_true(sum.first_ns == AVRO_NULL_LONG && sum.last_ns == AVRO_NULL_LONG);
	part.first_ns = 50;
	part.last_ns = 60;
	tally_books_add(&sum, &part);
	part.first_ns = 40;
	part.last_ns = 45;
	tally_books_add(&sum, &part);
	assert_int_equal(sum.first_ns, 40);
	assert_int_equal(sum.last_ns, 60);
}

/* A view's figures must not depend on where its batches end, so neither may a ledger. */
static void test_tally_markers_that_state_something_else_keep_books_of_their_own(void **state)
{
	struct tally_options options = { .for_report = false };
	struct marker_record marker = marker_defaults();
	struct tally tally;

	(void)state;
	assert_int_equal(tally_init(&tally, &options), 0);
	marker.frames = 10;
	marker.monitored_addresses = 256;
	tally_marker(&tally, &origin, &marker);
	tally_marker(&tally, &origin, &marker);
	marker.monitored_addresses = 512; /* other dark ranges from here on */
	tally_marker(&tally, &origin, &marker);
	marker.monitored_addresses = 256; /* and the former ones again: the order is the log's */
	tally_marker(&tally, &origin, &marker);

	assert_int_equal(tally.ledger_count, 3);
	assert_int_equal(tally.ledgers[0].books.monitored_addresses, 256);
	assert_int_equal(tally.ledgers[0].books.frames, 20);
	assert_int_equal(tally.ledgers[1].books.monitored_addresses, 512);
	assert_int_equal(tally.ledgers[2].books.monitored_addresses, 256);
	tally_fini(&tally);
}

static void test_tally_two_gaps_of_a_minute_stay_two(void **state)
{
	struct tally_options options = { .for_report = false };
	struct marker_record marker = marker_defaults();
	struct tally tally;

	(void)state;
	assert_int_equal(tally_init(&tally, &options), 0);
	marker.gap_from_ns = 1;
	marker.gap_to_ns = 2;
	tally_marker(&tally, &origin, &marker);
	marker.gap_from_ns = marker.gap_to_ns = AVRO_NULL_LONG;
	tally_marker(&tally, &origin, &marker);
	marker.gap_from_ns = 5;
	marker.gap_to_ns = 7;
	tally_marker(&tally, &origin, &marker);

	assert_int_equal(tally.ledger_count, 2);
	assert_int_equal(tally.ledgers[0].books.gap_to_ns, 2);
	assert_int_equal(tally.ledgers[1].books.gap_from_ns, 5);
	tally_fini(&tally);
}

static void test_period_start_of_days_follows_the_offset(void **state)
{
	const int64_t noon_utc = 1767571200 + 12 * 3600; /* 2026-01-05 */

	(void)state;
	assert_int_equal(period_start(PERIOD_DAY, noon_utc, 0), 1767571200);
	/* in Japan it is 21:00 of the same day, which began at 15:00 UTC the day before */
	assert_int_equal(period_start(PERIOD_DAY, noon_utc, 9 * 3600), 1767571200 - 9 * 3600);
	assert_int_equal(period_start(PERIOD_HOUR, noon_utc + 59, 9 * 3600), noon_utc);
}

static void test_tally_key_packs_and_unpacks(void **state)
{
	struct tally_key key = { 1767571260, DIM_ASN, 4200000000u }, back;

	(void)state;
	back = tally_unpack(tally_pack(&key));
	assert_int_equal(back.bucket_s, key.bucket_s);
	assert_int_equal(back.dimension, key.dimension);
	assert_int_equal(back.label, key.label);
}

static void test_tally_service_label_keeps_every_port(void **state)
{
	static const int32_t ports[] = { SERVICE_NONE, 0, 23, 65535, SERVICE_OF_TYPE(255) };

	(void)state;
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		uint32_t label = tally_service_label(ROLE_OTHER, 255, ports[i]);

		assert_int_equal(tally_service_port(label), ports[i]);
		assert_int_equal(tally_service_protocol(label), 255);
		assert_int_equal(tally_service_role(label), ROLE_OTHER);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tally_flow_counts_in_every_dimension),
		cmocka_unit_test(test_tally_actor_seen_twice_is_one_pair),
		cmocka_unit_test(test_tally_overflow_counts_packets_but_no_actor),
		cmocka_unit_test(test_tally_marker_of_other_partitions_carries_no_books),
		cmocka_unit_test(test_tally_first_and_last_ignore_nulls),
		cmocka_unit_test(
			test_tally_markers_that_state_something_else_keep_books_of_their_own),
		cmocka_unit_test(test_tally_two_gaps_of_a_minute_stay_two),
		cmocka_unit_test(test_period_start_of_days_follows_the_offset),
		cmocka_unit_test(test_tally_key_packs_and_unpacks),
		cmocka_unit_test(test_tally_service_label_keeps_every_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
