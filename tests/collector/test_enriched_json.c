/*
 * Enriched flows: flat JSON, null where nothing is known.
 */
#include "collector/enriched_json.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const uint8_t victim[4] = { 203, 0, 113, 9 }, router[4] = { 192, 0, 2, 1 };
static const struct origin origin = { .sensor = "site1", .timeline = "live" };

static json_t *render(const struct flow_record *flow, const struct geo_answer *geo)
{
	struct buffer text = { 0 };
	json_t *json;

	enriched_json(&text, &origin, flow, geo);
	json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
	buffer_fini(&text);
	assert_non_null(json);
	return json;
}

static const char *text_of(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static void test_enriched_icmp_error_names_victim_and_source(void **state)
{
	struct geo_answer geo = { .country = "JP", .asn = 64500, .as_name = "A \"quoted\" name" };
	struct flow_record flow = flow_defaults();
	json_t *json;

	(void)state;
	flow.window_ms = 1767571200000;
	flow.actor = (struct bytes){ victim, 4 };
	flow.source = (struct bytes){ router, 4 };
	flow.class = CLASS_BACKSCATTER_ICMP_ERROR;
	flow.role = ROLE_BACKSCATTER;
	flow.protocol = PROTOCOL_ICMP;
	flow.service_port = 3 << 8 | 1;
	flow.quoted_protocol = PROTOCOL_UDP;
	flow.quoted_port = 53;
	flow.quoted_match = true;
	flow.packets = 2;
	json = render(&flow, &geo);

	assert_string_equal(text_of(json, "window"), "2026-01-05T00:00:00Z");
	assert_string_equal(text_of(json, "actor"), "203.0.113.9");
	assert_string_equal(text_of(json, "source"), "192.0.2.1");
	assert_string_equal(text_of(json, "service"), "icmp/3/1");
	assert_string_equal(text_of(json, "quoted_protocol"), "udp");
	assert_true(json_is_true(json_object_get(json, "quoted_match")));
	assert_string_equal(text_of(json, "as_name"), "A \"quoted\" name");
	json_decref(json);
}

static void test_enriched_unknown_is_null(void **state)
{
	static const struct geo_answer nowhere;
	static const char *const nulls[] = { "country", "asn", "as_name", "quoted_protocol",
		"quoted_port", "quoted_match", "service_port", "actor", "source" };
	struct flow_record flow = flow_defaults();
	json_t *json;

	(void)state;
	flow.overflow = true;
	flow.packets = 1;
	json = render(&flow, &nowhere);
	for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
		assert_true(json_is_null(json_object_get(json, nulls[i])));
	json_decref(json);
}

static void test_enriched_labels_of_a_newer_sensor_are_numbers(void **state)
{
	static const struct geo_answer nowhere;
	struct flow_record flow = flow_defaults();
	json_t *json, *marks;

	(void)state;
	flow.actor = (struct bytes){ victim, 4 };
	flow.packets = 1;
	flow.tool = 99;
	flow.payload = 255;
	flow.marks = 1 | INT64_C(1) << 62;
	json = render(&flow, &nowhere);
	marks = json_object_get(json, "marks");

	assert_string_equal(text_of(json, "tool"), "unknown-99");
	assert_string_equal(text_of(json, "payload"), "unknown-255");
	assert_int_equal(json_array_size(marks), 2);
	assert_string_equal(json_string_value(json_array_get(marks, 0)), "unknown-0");
	assert_string_equal(json_string_value(json_array_get(marks, 1)), "unknown-62");
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enriched_icmp_error_names_victim_and_source),
		cmocka_unit_test(test_enriched_unknown_is_null),
		cmocka_unit_test(test_enriched_labels_of_a_newer_sensor_are_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
