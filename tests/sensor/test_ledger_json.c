/*
 * The ledger as JSON: every figure of the marker under its name, and the fields of its JSON Schema.
 */
#include "sensor/ledger_json.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define TEXT(text)                                                                                 \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1                                          \
	}

static const struct origin origin = { "site1", "live", 1767571195123 };

static json_t *render(const struct marker_record *ledger)
{
	struct buffer text = { 0 };
	json_t *json;

	ledger_json(&text, &origin, ledger);
	assert_false(text.failed);
	json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
	buffer_fini(&text);
	assert_non_null(json);
	return json;
}

static struct ledger_range ranges[] = {
	{ TEXT("198.51.100.0/24"), 255, 40 },
	{ TEXT("2001:db8::/32"), 79228162514264337593543950336.0, 2 },
};
static struct ledger_sender senders[] = { { TEXT("198.51.100.66"), 3 } };

/* Every figure another one, by its place in the table: a mixed-up field is seen. */
static struct marker_record distinct_ledger(void)
{
	struct marker_record ledger = marker_defaults();

	for (size_t i = 0; i < marker_table_rows.field_count; i++) {
		const struct avro_field *field = &marker_table_rows.fields[i];
		int64_t value = 1000 + (int64_t)i;
		int32_t small = (int32_t)value;

		if (field->kind == AVRO_I64 || field->kind == AVRO_NULLABLE)
			memcpy((uint8_t *)&ledger + field->offset, &value, sizeof(value));
		else if (field->kind == AVRO_I32)
			memcpy((uint8_t *)&ledger + field->offset, &small, sizeof(small));
	}
	ledger.minute_ms = 1767571200000;
	ledger.interval_from_ns = 1767571200000000000;
	ledger.interval_to_ns = 1767571230500000000;
	ledger.ranges = (struct avro_list){ ranges, 2 };
	ledger.dark_senders = (struct avro_list){ senders, 1 };
	return ledger;
}

static json_int_t int_of(const json_t *json, const char *key)
{
	json_t *value = json_object_get(json, key);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static const char *text_of(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static void test_ledger_json_figures_stand_under_their_names(void **state)
{
	struct marker_record ledger = distinct_ledger();
	json_t *json = render(&ledger);
	size_t compared = 0;

	(void)state;
	for (size_t i = 0; i < marker_table_rows.field_count; i++) {
		const struct avro_field *field = &marker_table_rows.fields[i];
		int64_t value;

		if ((field->kind != AVRO_I64 && field->kind != AVRO_NULLABLE) ||
			!json_is_integer(json_object_get(json, field->name)))
			continue; /* closed_through is no figure, the minute is a text */
		memcpy(&value, (const uint8_t *)&ledger + field->offset, sizeof(value));
		assert_int_equal(int_of(json, field->name), value);
		compared++;
	}
	assert_int_equal(compared, 28);
	assert_int_equal(int_of(json, "part"), ledger.part);
	json_decref(json);
}

static void test_ledger_json_names_sensor_minute_and_time(void **state)
{
	struct marker_record ledger = distinct_ledger();
	json_t *json = render(&ledger);

	(void)state;
	assert_string_equal(text_of(json, "sensor"), "site1");
	assert_string_equal(text_of(json, "timeline"), "live");
	assert_int_equal(int_of(json, "boot"), 1767571195123);
	assert_string_equal(text_of(json, "minute"), "2026-01-05T00:00:00Z");
	assert_int_equal(int_of(json, "minute_ms"), 1767571200000);
	assert_true(json_real_value(json_object_get(json, "observed_seconds")) == 30.5);
	json_decref(json);
}

static void test_ledger_json_lists_ranges_and_senders(void **state)
{
	struct marker_record ledger = distinct_ledger();
	json_t *json = render(&ledger), *prefixes = json_object_get(json, "range_prefixes");
	json_t *addresses = json_object_get(json, "range_addresses");

	(void)state;
	assert_int_equal(json_array_size(prefixes), 2);
	assert_string_equal(json_string_value(json_array_get(prefixes, 1)), "2001:db8::/32");
	assert_int_equal(json_integer_value(json_array_get(addresses, 0)), 255);
	assert_true(json_number_value(json_array_get(addresses, 1)) == ranges[1].addresses);
	assert_int_equal(
		json_integer_value(json_array_get(json_object_get(json, "range_packets"), 0)), 40);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(json, "dark_senders"), 0)),
		"198.51.100.66");
	json_decref(json);
}

static void test_ledger_json_of_a_quiet_minute_has_nulls_and_empty_lists(void **state)
{
	static const char *const nulls[] = { "first_ns", "last_ns", "gap_from_ns", "gap_to_ns",
		"monitored_addresses", "monitored_ipv6_prefixes" };
	static const char *const lists[] = { "range_prefixes", "range_addresses", "range_packets",
		"dark_senders" };
	struct marker_record ledger = marker_defaults();
	json_t *json = render(&ledger);

	(void)state;
	for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
		assert_true(json_is_null(json_object_get(json, nulls[i])));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		assert_int_equal(json_array_size(json_object_get(json, lists[i])), 0);
	assert_true(json_is_array(json_object_get(json, "dark_senders")));
	json_decref(json);
}

static void test_ledger_json_has_the_fields_of_its_schema(void **state)
{
	json_t *schema = json_load_file(SOURCE_ROOT "/schemas/sensors.schema.json", 0, NULL);
	json_t *properties = json_object_get(schema, "properties"), *value;
	struct marker_record ledger = distinct_ledger();
	json_t *json = render(&ledger);
	const char *key;

	(void)state;
	assert_non_null(properties);
	json_object_foreach (json, key, value)
		if (json_object_get(properties, key) == NULL)
			fail_msg("the schema has no %s", key);
	json_object_foreach (properties, key, value)
		if (json_object_get(json, key) == NULL)
			fail_msg("the record has no %s", key);
	json_decref(json);
	json_decref(schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ledger_json_figures_stand_under_their_names),
		cmocka_unit_test(test_ledger_json_names_sensor_minute_and_time),
		cmocka_unit_test(test_ledger_json_lists_ranges_and_senders),
		cmocka_unit_test(test_ledger_json_of_a_quiet_minute_has_nulls_and_empty_lists),
		cmocka_unit_test(test_ledger_json_has_the_fields_of_its_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
