/*
 * A Kafka message counts as a whole or not at all; what cannot be is poison.
 */
#include "collector/message_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t actor[4] = { 192, 0, 2, 1 };

static struct flow_record a_flow(void)
{
	struct flow_record flow = flow_defaults();

	flow.actor = (struct bytes){ actor, 4 };
	flow.packets = 3;
	flow.bytes = 180;
	return flow;
}

static int decode(
	const struct buffer *records, uint64_t count, size_t cut, struct message_records *out)
{
	struct origin origin = { .sensor = "site1", .timeline = "live" };
	struct buffer message = { 0 };
	struct message msg;
	uint8_t *exact;
	int rc;

	container_header(&message, &origin);
	container_block(&message, count, (struct bytes){ records->data, records->size });
	exact = malloc(message.size - cut + 1); /* sanitizers see a byte read too far */
	assert_non_null(exact);
	memcpy(exact, message.data, message.size - cut);
	rc = message_records_decode(out, (struct bytes){ exact, message.size - cut }, &msg);
	buffer_fini(&message);
	free(exact);
	return rc;
}

static void test_message_records_whole_message_is_read(void **state)
{
	struct flow_record flow = a_flow();
	struct buffer records = { 0 };
	struct message_records out;

	(void)state;
	assert_int_equal(message_records_init(&out), 0);
	container_flow(&records, &flow);
	container_flow(&records, &flow);
	assert_int_equal(decode(&records, 2, 0, &out), 0);
	assert_int_equal(out.count, 2);
	assert_string_equal(out.origin.sensor, "site1");
	message_records_fini(&out);
	buffer_fini(&records);
}

static void test_message_records_cut_is_poison(void **state)
{
	struct flow_record flow = a_flow();
	struct buffer records = { 0 };
	struct message_records out;

	(void)state;
	assert_int_equal(message_records_init(&out), 0);
	container_flow(&records, &flow);
	for (size_t cut = 1; cut <= records.size; cut++)
		assert_int_equal(decode(&records, 1, cut, &out), FAIL_FORMAT);
	message_records_fini(&out);
	buffer_fini(&records);
}

static void test_message_records_flow_that_claims_too_much_is_poison(void **state)
{
	struct flow_record flow = a_flow();
	struct buffer records = { 0 };
	struct message_records out;

	(void)state;
	assert_int_equal(message_records_init(&out), 0);
	flow.packets = (1LL << 40) + 1;
	container_flow(&records, &flow);
	assert_int_equal(decode(&records, 1, 0, &out), FAIL_FORMAT);
	buffer_clear(&records);
	flow.packets = 1LL << 40;
	container_flow(&records, &flow);
	assert_int_equal(decode(&records, 1, 0, &out), 0);
	message_records_fini(&out);
	buffer_fini(&records);
}

static void test_message_records_marker_with_a_negative_figure_is_poison(void **state)
{
	struct marker_record marker = marker_defaults();
	struct buffer records = { 0 };
	struct message_records out;

	(void)state;
	assert_int_equal(message_records_init(&out), 0);
	marker.kernel_drops = -1;
	container_marker(&records, &marker);
	assert_int_equal(decode(&records, 1, 0, &out), FAIL_FORMAT);
	message_records_fini(&out);
	buffer_fini(&records);
}

static void test_message_records_marker_that_claims_too_much_is_poison(void **state)
{
	struct marker_record marker = marker_defaults();
	struct buffer records = { 0 };
	struct message_records out;

	(void)state;
	assert_int_equal(message_records_init(&out), 0);
	marker.frames = INT64_MAX;
	container_marker(&records, &marker);
	assert_int_equal(decode(&records, 1, 0, &out), FAIL_FORMAT);
	message_records_fini(&out);
	buffer_fini(&records);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message_records_whole_message_is_read),
		cmocka_unit_test(test_message_records_cut_is_poison),
		cmocka_unit_test(test_message_records_flow_that_claims_too_much_is_poison),
		cmocka_unit_test(test_message_records_marker_with_a_negative_figure_is_poison),
		cmocka_unit_test(test_message_records_marker_that_claims_too_much_is_poison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
