/*
 * Flow records and markers: the schemas and the C tables agree, and values that cannot be are seen.
 */
#include "schemas/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "schemas/container.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- schema and table ---- */

static json_t *load_schema(const char *name)
{
	char path[512];
	json_t *json;

	snprintf(path, sizeof(path), "%s/schemas/%s", SOURCE_ROOT, name);
	json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	return json;
}

/* "long", or of {"type": "enum", …} "enum", or of a union "union". */
static const char *type_name(json_t *type)
{
	while (json_is_object(type))
		type = json_object_get(type, "type");
	return json_is_array(type) ? "union" : json_string_value(type);
}

/* Which Avro type carries a field of each kind in our own schemas. */
static bool kind_is(enum avro_kind kind, const char *type)
{
	switch (kind) {
	case AVRO_U8:
		return strcmp(type, "int") == 0 || strcmp(type, "enum") == 0;
	case AVRO_U16:
	case AVRO_I32:
		return strcmp(type, "int") == 0;
	case AVRO_I64:
		return strcmp(type, "long") == 0;
	case AVRO_NULLABLE:
		return strcmp(type, "union") == 0;
	case AVRO_BOOL:
		return strcmp(type, "boolean") == 0;
	case AVRO_DOUBLE:
		return strcmp(type, "double") == 0;
	case AVRO_BYTES:
		return strcmp(type, "bytes") == 0 || strcmp(type, "string") == 0;
	case AVRO_RECORDS:
		return strcmp(type, "array") == 0;
	}
	return false;
}

/* Names and order, and the type of each; `lines` is what avro_schema_describe should say. */
static void assert_table_is(const struct avro_table *table, json_t *record, struct buffer *lines)
{
	json_t *fields = json_object_get(record, "fields");
	size_t i;
	json_t *field;

	assert_string_equal(json_string_value(json_object_get(record, "name")), table->name);
	assert_int_equal(json_array_size(fields), table->field_count);
	json_array_foreach (fields, i, field) {
		const char *name = json_string_value(json_object_get(field, "name"));
		json_t *type = json_object_get(field, "type");

		assert_string_equal(table->fields[i].name, name);
		if (!kind_is(table->fields[i].kind, type_name(type)))
			fail_msg("%s: kind %d is not %s", name, table->fields[i].kind,
				type_name(type));
		if (table->fields[i].kind == AVRO_RECORDS) {
			struct buffer ignored = { 0 };

			assert_table_is(
				table->fields[i].items, json_object_get(type, "items"), &ignored);
			buffer_fini(&ignored);
		}
		buffer_format(lines, "%s:%s\n", name, type_name(type));
	}
	buffer_u8(lines, 0);
}

static void assert_schema_is(const struct avro_table *table, const char *file)
{
	struct avro_schema *schema = NULL;
	struct buffer expected = { 0 }, described = { 0 };
	struct message msg = { "" };
	json_t *record = load_schema(file);

	assert_table_is(table, record, &expected);
	assert_int_equal(avro_schema_parse(&schema, container_schema(),
				 (const struct avro_table *const[]){ table }, 1, &msg),
		0);
	avro_schema_describe(schema, table, &described);
	buffer_u8(&described, 0);
	assert_string_equal((char *)described.data, (char *)expected.data);
	avro_schema_destroy(schema);
	buffer_fini(&expected);
	buffer_fini(&described);
	json_decref(record);
}

static void test_flow_schema_and_table_agree(void **state)
{
	(void)state;
	assert_schema_is(&flow_table_rows, "flow.avsc");
	assert_schema_is(&marker_table_rows, "marker.avsc");
}

static void drop_doc(json_t *node)
{
	const char *key;
	json_t *child;
	size_t i;

	json_object_del(node, "doc");
	json_object_foreach (node, key, child) {
		drop_doc(child);
	}
	json_array_foreach (node, i, child) {
		drop_doc(child);
	}
}

static void test_flow_containers_carry_the_schema_without_documentation(void **state)
{
	json_t *expected = json_array(), *carried;

	(void)state;
	json_array_append_new(expected, load_schema("flow.avsc"));
	json_array_append_new(expected, load_schema("marker.avsc"));
	drop_doc(expected);
	carried =
		json_loadb((const char *)container_schema().data, container_schema().size, 0, NULL);

	assert_true(json_equal(expected, carried));

	json_decref(expected);
	json_decref(carried);
}

/* Each field in the struct has a place of its own: written one by one, all survive. */
static void test_flow_fields_do_not_share_storage(void **state)
{
	static const size_t sizes[] = { [AVRO_U8] = 1,
		[AVRO_U16] = 2,
		[AVRO_I32] = 4,
		[AVRO_I64] = 8,
		[AVRO_NULLABLE] = 8,
		[AVRO_BOOL] = sizeof(bool),
		[AVRO_DOUBLE] = 8,
		[AVRO_BYTES] = sizeof(struct bytes),
		[AVRO_RECORDS] = sizeof(struct avro_list) };
	static const struct avro_table *const tables[] = { &flow_table_rows, &marker_table_rows };

	(void)state;
	for (size_t t = 0; t < 2; t++) {
		uint8_t used[sizeof(struct marker_record)] = { 0 };

		assert_true(tables[t]->struct_bytes <= sizeof(used));
		for (size_t i = 0; i < tables[t]->field_count; i++) {
			const struct avro_field *field = &tables[t]->fields[i];

			assert_true(field->offset + sizes[field->kind] <= tables[t]->struct_bytes);
			for (size_t b = 0; b < sizes[field->kind]; b++)
				assert_int_equal(used[field->offset + b]++, 0);
		}
	}
}

/* ---- soundness ---- */

static const uint8_t v4[4] = { 192, 0, 2, 1 };
static const uint8_t v6[16] = { 0x20, 0x01, 0x0d, 0xb8 };

static struct flow_record sound_flow(void)
{
	struct flow_record flow = flow_defaults();

	flow.window_ms = 60000;
	flow.actor = (struct bytes){ v4, 4 };
	flow.packets = 1;
	return flow;
}

static void test_flow_defaults_with_actor_and_packets_are_sound(void **state)
{
	struct flow_record flow = sound_flow();

	(void)state;
	assert_true(flow_is_sound(&flow));
	flow.source = (struct bytes){ v4, 4 };
	assert_true(flow_is_sound(&flow));
	flow.ip_version = 6;
	flow.actor = flow.source = (struct bytes){ v6, 16 };
	assert_true(flow_is_sound(&flow));
	flow.overflow = true;
	flow.actor = flow.source = (struct bytes){ 0 };
	assert_true(flow_is_sound(&flow));
}

#define UNSOUND(change)                                                                            \
	do {                                                                                       \
		struct flow_record flow = sound_flow();                                            \
		change;                                                                            \
		if (flow_is_sound(&flow))                                                          \
			fail_msg("sound with %s", #change);                                        \
	} while (0)

static void test_flow_that_cannot_be_is_unsound(void **state)
{
	(void)state;
	UNSOUND(flow.window_ms = -60000);
	UNSOUND(flow.window_ms = 60001);
	UNSOUND(flow.window_ms = INT64_MAX / WINDOW_MS * WINDOW_MS);
	UNSOUND(flow.ip_version = 5);
	UNSOUND(flow.ip_version = 6);
	UNSOUND(flow.actor.size = 0);
	UNSOUND(flow.actor.size = 3);
	UNSOUND((flow.actor = (struct bytes){ v6, 16 }));
	UNSOUND((flow.source = (struct bytes){ v6, 16 }));
	UNSOUND((flow.source = (struct bytes){ v6, 5 }));
	UNSOUND(flow.class = CLASS_COUNT);
	UNSOUND(flow.role = ROLE_COUNT);
	UNSOUND(flow.service_port = -2);
	UNSOUND(flow.service_port = SERVICE_OF_TYPE(255) + 1);
	UNSOUND(flow.quoted_protocol = -2);
	UNSOUND(flow.quoted_protocol = 256);
	UNSOUND(flow.quoted_port = -2);
	UNSOUND(flow.quoted_port = 65536);
	UNSOUND(flow.packets = 0);
	UNSOUND(flow.packets = -1);
	UNSOUND(flow.bytes = -1);
	UNSOUND(flow.destinations = -1);
	UNSOUND(flow.first_us = 1);
}

static void test_flow_with_labels_of_a_newer_release_is_sound(void **state)
{
	struct flow_record flow = sound_flow();

	(void)state;
	flow.tool = 255;
	flow.payload = PAYLOAD_COUNT;
	flow.marks = INT64_MAX;
	assert_true(flow_is_sound(&flow));
}

#define UNSOUND_MARKER(change)                                                                     \
	do {                                                                                       \
		struct marker_record marker = marker_defaults();                                   \
		change;                                                                            \
		if (marker_is_sound(&marker))                                                      \
			fail_msg("sound with %s", #change);                                        \
	} while (0)

static void test_flow_marker_that_cannot_be_is_unsound(void **state)
{
	struct marker_record defaults = marker_defaults();

	(void)state;
	assert_true(marker_is_sound(&defaults));
	UNSOUND_MARKER(marker.minute_ms = 1);
	UNSOUND_MARKER(marker.entry = -1);
	UNSOUND_MARKER(marker.partition = -1);
	UNSOUND_MARKER(marker.partition = 1);
	UNSOUND_MARKER(marker.flows = -1);
	UNSOUND_MARKER(marker.packets = -1);
	UNSOUND_MARKER(marker.frames = -1);
	UNSOUND_MARKER(marker.non_ip = -1);
	UNSOUND_MARKER(marker.malformed = -1);
	UNSOUND_MARKER(marker.not_dark = -1);
	UNSOUND_MARKER(marker.counted = -1);
	UNSOUND_MARKER(marker.wire_bytes = -1);
	UNSOUND_MARKER(marker.interval_from_ns = 1);
}

static void test_flow_source_is_the_actor_unless_given(void **state)
{
	static const uint8_t other[4] = { 192, 0, 2, 2 };
	struct flow_record flow = sound_flow();
	struct address actor = flow_actor(&flow), source = flow_source(&flow);

	(void)state;
	assert_true(address_equals(&actor, &source));
	flow.source = (struct bytes){ other, 4 };
	source = flow_source(&flow);
	assert_int_equal(source.bytes[3], 2);
	flow.actor = flow.source = (struct bytes){ 0 };
	actor = flow_actor(&flow);
	assert_int_equal(actor.size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flow_schema_and_table_agree),
		cmocka_unit_test(test_flow_containers_carry_the_schema_without_documentation),
		cmocka_unit_test(test_flow_fields_do_not_share_storage),
		cmocka_unit_test(test_flow_defaults_with_actor_and_packets_are_sound),
		cmocka_unit_test(test_flow_that_cannot_be_is_unsound),
		cmocka_unit_test(test_flow_with_labels_of_a_newer_release_is_sound),
		cmocka_unit_test(test_flow_marker_that_cannot_be_is_unsound),
		cmocka_unit_test(test_flow_source_is_the_actor_unless_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
