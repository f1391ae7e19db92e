/*
 * Containers: the golden file of each released encoding keeps decoding, and bytes that cannot be
 * are refused, wherever they end.
 *
 * A golden file is made once, by a release that has a new encoding:
 *   HOSHIMI_WRITE_GOLDEN=1 test_schemas_container
 */
#include "schemas/container.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "schemas/sketch.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define GOLDEN		SOURCE_ROOT "/tests/schemas/golden/flows_v2.avro" /* the newest */
#define GOLDEN_FIRST	SOURCE_ROOT "/tests/schemas/golden/flows_v1.avro" /* knows no misdated */
#define MINUTE_MS	INT64_C(1767571200000)
#define SYNC_BYTES	CONTAINER_SYNC_BYTES
#define TEXT(literal)                                                                              \
	{                                                                                          \
		(const uint8_t *)(literal), sizeof(literal) - 1                                    \
	}

static const struct origin golden_origin = { "golden", TIMELINE_LIVE, 1767571195123 };

/* ---- what the golden file holds ---- */

static const uint8_t scanner[4] = { 203, 0, 113, 9 };
static const uint8_t victim[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 0x80 };
static const uint8_t router[16] = { 0x20, 0x01, 0x0d, 0xb8, 0xff, [15] = 1 };
static const uint8_t syn_options[] = { 2, 4, 8, 1, 3 };
static uint8_t small_sketch[SKETCH_ENCODED_BYTES], large_sketch[SKETCH_ENCODED_BYTES];

static size_t fill_sketch(uint8_t *out, uint32_t count)
{
	struct sketch sketch = { 0 };

	for (uint32_t i = 0; i < count; i++)
		sketch_add(&sketch, i * 2654435761u);
	return sketch_encode(&sketch, out);
}

/* Every field has a value of its own in some record; the second has as little as can be. */
static size_t make_flows(struct flow_record flows[4])
{
	size_t small = fill_sketch(small_sketch, 3), large = fill_sketch(large_sketch, 5000);

	flows[0] = (struct flow_record){
		.window_ms = MINUTE_MS,
		.ip_version = 4,
		.actor = { scanner, 4 },
		.class = CLASS_SCAN_TCP_SYN,
		.role = ROLE_PROBE,
		.protocol = 6,
		.service_port = 2323,
		.tool = TOOL_MIRAI,
		.marks = 0x80000001,
		.quoted_protocol = -1,
		.quoted_port = -1,
		.packets = 3,
		.bytes = 180,
		.first_us = MINUTE_MS * 1000 + 1,
		.last_us = MINUTE_MS * 1000 + 59999999,
		.destinations = 3,
		.destination_sketch = { small_sketch, small },
		.sample_ttl = 47,
		.sample_ip_length = 60,
		.sample_ip_id = 54321,
		.sample_df = true,
		.sample_source_port = 40000,
		.sample_tcp_window = 65535,
		.sample_tcp_sequence = 0xfffffffe,
		.sample_tcp_mss = 1460,
		.sample_tcp_options = { syn_options, sizeof(syn_options) },
	};
	flows[1] = flow_defaults();
	flows[1].window_ms = MINUTE_MS;
	flows[1].actor = (struct bytes){ scanner, 4 };
	flows[1].class = CLASS_OTHER_IP_PROTO;
	flows[1].role = ROLE_OTHER;
	flows[1].protocol = 255;
	flows[1].packets = 1;
	flows[2] = (struct flow_record){
		.window_ms = MINUTE_MS,
		.ip_version = 6,
		.actor = { victim, 16 },
		.source = { router, 16 },
		.class = CLASS_BACKSCATTER_ICMP_ERROR,
		.role = ROLE_BACKSCATTER,
		.protocol = 58,
		.service_port = 1 << 8 | 4,
		.quoted_protocol = 6,
		.quoted_port = 443,
		.quoted_match = true,
		.packets = INT64_C(1) << 40,
		.bytes = INT64_MAX,
		.destinations = 4936,
		.destination_sketch = { large_sketch, large },
		.sample_ttl = 255,
	};
	flows[3] = (struct flow_record){
		.window_ms = MINUTE_MS,
		.ip_version = 4,
		.class = CLASS_SCAN_UDP,
		.protocol = 17,
		.service_port = SERVICE_NONE,
		.quoted_protocol = -1,
		.quoted_port = -1,
		.packets = 7,
		.bytes = 420,
		.destinations = 0,
		.overflow = true,
	};
	return 4;
}

static struct ledger_range golden_ranges[] = {
	{ TEXT("198.51.100.0/24"), 255, 10 },
	{ TEXT("2001:db8::/32"), 79228162514264337593543950336.0, 0 },
};
static struct ledger_sender golden_senders[] = { { TEXT("198.51.100.66"), 2 } };

static size_t make_markers(struct marker_record markers[2])
{
	markers[0] = (struct marker_record){
		.entry = 41,
		.minute_ms = MINUTE_MS,
		.part = 1,
		.partition = 0,
		.partitions = 6,
		.flows = 4,
		.packets = 11,
		.closed_through_ms = MINUTE_MS - WINDOW_MS,
		.final = true,
		.interval_from_ns = MINUTE_MS * 1000000 + 5,
		.interval_to_ns = MINUTE_MS * 1000000 + 60000000000,
		.frames = 30,
		.non_ip = 5,
		.malformed = 10,
		.malformed_ip_version = 1,
		.malformed_header_cut = 2,
		.malformed_header_length = 3,
		.malformed_total_length = 4,
		.not_dark = 4,
		.counted = 11,
		.wire_bytes = 660,
		.first_ns = MINUTE_MS * 1000000 + 7,
		.last_ns = MINUTE_MS * 1000000 + 8,
		.kernel_drops = 12,
		.interface_drops = 13,
		.misdated = 20,
		.overflow = 7,
		.sketch_overflow = 14,
		.lost_entries = 15,
		.lost_flows = 16,
		.lost_packets = 17,
		.gap_from_ns = 18,
		.gap_to_ns = 19,
		.monitored_addresses = 255,
		.monitored_ipv6_prefixes = 1,
		.ranges = { golden_ranges, 2 },
		.dark_senders = { golden_senders, 1 },
		.dark_sender_packets = 2,
	};
	markers[1] = marker_defaults();
	markers[1].minute_ms = MINUTE_MS;
	return 2;
}

static void append_golden(struct buffer *out)
{
	struct marker_record markers[2];
	struct flow_record flows[4];
	struct buffer records = { 0 };

	container_header(out, &golden_origin);
	for (size_t i = 0, count = make_flows(flows); i < count; i++)
		container_flow(&records, &flows[i]);
	container_block(out, 4, (struct bytes){ records.data, records.size });
	buffer_clear(&records);
	for (size_t i = 0, count = make_markers(markers); i < count; i++)
		container_marker(&records, &markers[i]);
	container_block(out, 2, (struct bytes){ records.data, records.size });
	assert_false(out->failed);
	buffer_fini(&records);
}

/* ---- reading ---- */

struct seen {
	unsigned flows, markers, unknown, blocks;
	uint64_t packets;
	struct origin origin;
	struct message msg;
};

static int read_block(struct container_decoder *decoder, struct byte_reader *r, struct seen *seen)
{
	struct container_records records;
	struct container_item item;
	int rc = container_decoder_block(decoder, r, &records, &seen->msg);

	while (rc == 0) {
		rc = container_next(decoder, &records, &item, &seen->msg);
		if (rc != 0 || item.kind == ITEM_NONE)
			break;
		seen->flows += item.kind == ITEM_FLOW;
		seen->markers += item.kind == ITEM_MARKER;
		seen->unknown += item.kind == ITEM_UNKNOWN;
		if (item.kind == ITEM_FLOW)
			seen->packets += (uint64_t)item.flow.packets;
		container_item_fini(&item);
	}
	seen->blocks += rc == 0;
	return rc;
}

/* Containers set end to end, from memory of exactly their size. */
static int read_all(const uint8_t *data, size_t size, struct seen *seen)
{
	struct container_decoder *decoder;
	uint8_t *copy = malloc(size > 0 ? size : 1);
	struct byte_reader r = byte_reader_of(copy, size);
	int rc;

	assert_non_null(copy);
	if (size > 0)
		memcpy(copy, data, size);
	*seen = (struct seen){ 0 };
	assert_int_equal(container_decoder_create(&decoder), 0);
	rc = container_decoder_header(decoder, &r, &seen->origin, &seen->msg);
	while (rc == 0 && bytes_left(&r) > 0) {
		if (container_starts(&r))
			rc = container_decoder_header(decoder, &r, &seen->origin, &seen->msg);
		else
			rc = read_block(decoder, &r, seen);
	}
	container_decoder_destroy(decoder);
	free(copy);
	return rc;
}

static void load_golden(struct buffer *out, const char *path)
{
	FILE *file = fopen(path, "rb");
	int byte;

	assert_non_null(file);
	while ((byte = getc(file)) != EOF)
		buffer_u8(out, (uint8_t)byte);
	fclose(file);
}

/* ---- golden file ---- */

static void test_container_golden_file_is_what_we_encode(void **state)
{
	struct buffer golden = { 0 }, encoded = { 0 };

	(void)state;
	append_golden(&encoded);
	if (getenv("HOSHIMI_WRITE_GOLDEN") != NULL) {
		FILE *file = fopen(GOLDEN, "wb");

		assert_non_null(file);
		assert_int_equal(fwrite(encoded.data, 1, encoded.size, file), encoded.size);
		fclose(file);
	}
	load_golden(&golden, GOLDEN);

	assert_int_equal(encoded.size, golden.size);
	assert_memory_equal(encoded.data, golden.data, golden.size);
	buffer_fini(&golden);
	buffer_fini(&encoded);
}

static void assert_bytes_equal(struct bytes a, struct bytes b)
{
	assert_int_equal(a.size, b.size);
	if (a.size > 0)
		assert_memory_equal(a.data, b.data, a.size);
}

static void assert_record(const struct avro_table *table, const void *a, const void *b)
{
	for (size_t i = 0; i < table->field_count; i++) {
		const struct avro_field *field = &table->fields[i];
		const uint8_t *x = (const uint8_t *)a + field->offset;
		const uint8_t *y = (const uint8_t *)b + field->offset;
		const struct avro_list *list = (const void *)x, *other = (const void *)y;

		switch (field->kind) {
		case AVRO_U8:
			assert_int_equal(*x, *y);
			break;
		case AVRO_U16:
			assert_memory_equal(x, y, sizeof(uint16_t));
			break;
		case AVRO_I32:
			assert_memory_equal(x, y, sizeof(int32_t));
			break;
		case AVRO_I64:
		case AVRO_NULLABLE:
		case AVRO_DOUBLE:
			assert_memory_equal(x, y, sizeof(int64_t));
			break;
		case AVRO_BOOL:
			assert_memory_equal(x, y, sizeof(bool));
			break;
		case AVRO_BYTES:
			assert_bytes_equal(*(const struct bytes *)(const void *)x,
				*(const struct bytes *)(const void *)y);
			break;
		case AVRO_RECORDS:
			assert_int_equal(list->count, other->count);
			for (size_t n = 0; n < list->count; n++)
				assert_record(field->items,
					(const uint8_t *)list->items +
						n * field->items->struct_bytes,
					(const uint8_t *)other->items +
						n * field->items->struct_bytes);
			break;
		}
	}
}

static void assert_golden_decodes(const char *path, int64_t misdated)
{
	struct container_decoder *decoder;
	struct container_records records;
	struct marker_record markers[2];
	struct flow_record flows[4];
	struct container_item item;
	struct buffer golden = { 0 };
	struct byte_reader r;
	struct origin origin;
	struct message msg;

	make_flows(flows);
	for (size_t i = 0, count = make_markers(markers); i < count; i++)
		markers[i].misdated = markers[i].misdated != 0 ? misdated : 0;
	load_golden(&golden, path);
	r = byte_reader_of(golden.data, golden.size);
	assert_int_equal(container_decoder_create(&decoder), 0);

	assert_int_equal(container_decoder_header(decoder, &r, &origin, &msg), 0);
	assert_string_equal(origin.sensor, golden_origin.sensor);
	assert_string_equal(origin.timeline, golden_origin.timeline);
	assert_int_equal(origin.boot, golden_origin.boot);

	assert_int_equal(container_decoder_block(decoder, &r, &records, &msg), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(container_next(decoder, &records, &item, &msg), 0);
		assert_int_equal(item.kind, ITEM_FLOW);
		assert_record(&flow_table_rows, &item.flow, &flows[i]);
	}
	assert_int_equal(container_next(decoder, &records, &item, &msg), 0);
	assert_int_equal(item.kind, ITEM_NONE);

	assert_int_equal(container_decoder_block(decoder, &r, &records, &msg), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(container_next(decoder, &records, &item, &msg), 0);
		assert_int_equal(item.kind, ITEM_MARKER);
		assert_record(&marker_table_rows, &item.marker, &markers[i]);
		container_item_fini(&item);
	}
	assert_int_equal(bytes_left(&r), 0);
	container_decoder_destroy(decoder);
	buffer_fini(&golden);
}

static void test_container_golden_file_decodes_to_what_it_was(void **state)
{
	(void)state;
	assert_golden_decodes(GOLDEN, 20);
}

/* Fields that an older writer did not have get their defaults. */
static void test_container_older_golden_file_decodes(void **state)
{
	(void)state;
	assert_golden_decodes(GOLDEN_FIRST, 0);
}

/* ---- what ends too early ---- */

static void test_container_cut_anywhere_says_so(void **state)
{
	struct buffer header = { 0 }, golden = { 0 }, whole = { 0 };
	size_t first_block_end;
	struct seen seen;

	(void)state;
	container_header(&header, &golden_origin);
	append_golden(&golden);
	first_block_end = golden.size;
	while (memcmp(golden.data + first_block_end - SYNC_BYTES,
		       header.data + header.size - SYNC_BYTES, SYNC_BYTES) != 0 ||
		first_block_end == golden.size)
		first_block_end--;

	for (size_t size = 0; size < golden.size; size++) {
		int rc = read_all(golden.data, size, &seen);

		if (size == header.size || size == first_block_end)
			assert_int_equal(rc, 0); /* a whole container, with fewer blocks */
		else
			assert_int_equal(rc, FAIL_TRUNCATED);
	}
	assert_int_equal(read_all(golden.data, golden.size, &seen), 0);
	assert_int_equal(seen.flows, 4);
	assert_int_equal(seen.markers, 2);
	buffer_fini(&header);
	buffer_fini(&golden);
	buffer_fini(&whole);
}

/* A block whose records end early, inside a block that is whole. */
static void test_container_record_cut_inside_its_block_is_refused(void **state)
{
	struct flow_record flows[4];
	struct buffer records = { 0 }, out = { 0 };
	struct seen seen;

	(void)state;
	make_flows(flows);
	container_flow(&records, &flows[0]);
	for (size_t size = 1; size < records.size; size++) {
		buffer_clear(&out);
		container_header(&out, &golden_origin);
		container_block(&out, 1, (struct bytes){ records.data, size });

		assert_int_equal(read_all(out.data, out.size, &seen), FAIL_FORMAT);
		assert_true(seen.msg.text[0] != '\0');
	}
	buffer_fini(&records);
	buffer_fini(&out);
}

/* Every byte of a small container changed: refused or read, never more than it holds. */
static void test_container_changed_anywhere_is_read_or_refused(void **state)
{
	struct buffer golden = { 0 };
	struct seen seen;

	(void)state;
	append_golden(&golden);
	for (size_t at = 0; at < golden.size; at++) {
		uint8_t bit = at % 2 == 0 ? 0x01 : 0x80;
		int rc;

		golden.data[at] ^= bit;
		rc = read_all(golden.data, golden.size, &seen);
		golden.data[at] ^= bit;
		assert_true(rc == 0 || rc == FAIL_FORMAT || rc == FAIL_TRUNCATED);
		assert_true(seen.flows <= 4 && seen.markers <= 2);
	}
	buffer_fini(&golden);
}

/* ---- writers of other releases ---- */

static json_t *our_schema(void)
{
	return json_loadb((const char *)container_schema().data, container_schema().size, 0, NULL);
}

static void append_entry(struct buffer *out, const char *key, const void *value, size_t size)
{
	avro_bytes(out, key, strlen(key));
	avro_bytes(out, value, size);
}

/* A header of ours with another schema. */
static void append_header(struct buffer *out, json_t *schema)
{
	struct buffer ours = { 0 };
	char *text = json_dumps(schema, JSON_COMPACT);

	container_header(&ours, &golden_origin);
	buffer_append_text(out, "Obj\1");
	avro_long(out, 2);
	append_entry(out, "avro.schema", text, strlen(text));
	append_entry(out, "hoshimi.sensor", "newer", 5);
	avro_long(out, 0);
	buffer_append(out, ours.data + ours.size - SYNC_BYTES, SYNC_BYTES);
	buffer_fini(&ours);
	free(text);
}

static json_t *fields_of(json_t *schema, size_t branch)
{
	return json_object_get(json_array_get(schema, branch), "fields");
}

static json_t *enum_of(json_t *schema, const char *name)
{
	json_t *field;
	size_t i;

	json_array_foreach (fields_of(schema, 0), i, field) {
		if (strcmp(json_string_value(json_object_get(field, "name")), name) == 0)
			return json_object_get(json_object_get(field, "type"), "symbols");
	}
	return NULL;
}

static void test_container_of_a_newer_sensor_decodes(void **state)
{
	json_t *schema = our_schema();
	struct flow_record flows[4];
	struct buffer flow = { 0 }, records = { 0 }, out = { 0 };
	struct seen seen;

	(void)state;
	/* a field in front, one behind, a symbol more in each enum, a record that we do not know */
	json_array_insert_new(fields_of(schema, 0), 0,
		json_pack("{s:s, s:[s, s]}", "name", "new_first", "type", "null", "string"));
	json_array_append_new(
		fields_of(schema, 0), json_pack("{s:s, s:{s:s, s:s}}", "name", "new_last", "type",
					      "type", "array", "items", "long"));
	json_array_append_new(enum_of(schema, "class"), json_string("scan_quic"));
	json_array_append_new(enum_of(schema, "tool"), json_string("tsunami"));
	json_array_append_new(enum_of(schema, "payload"), json_string("dns_any"));
	json_array_append_new(
		schema, json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "type", "record", "name", "News",
				"fields", "name", "what", "type", "string"));
	append_header(&out, schema);
	make_flows(flows);
	flows[0].tool = TOOL_COUNT;
	flows[0].payload = PAYLOAD_COUNT;
	flows[0].marks = INT64_C(1) << 40;
	for (size_t i = 0; i < 4; i++) {
		buffer_clear(&flow);
		container_flow(&flow, &flows[i]);
		buffer_u8(&records, flow.data[0]);	 /* branch */
		buffer_append(&records, "\x02\x02x", 3); /* new_first: "x" */
		buffer_append(&records, flow.data + 1, flow.size - 1);
		buffer_append(&records, "\x04\x02\x04\0", 4); /* new_last: 1, 2 */
	}
	buffer_append(&records, "\x04\x06new", 5);
	container_block(&out, 5, (struct bytes){ records.data, records.size });

	assert_int_equal(read_all(out.data, out.size, &seen), 0);

	assert_int_equal(seen.flows, 4);
	assert_int_equal(seen.unknown, 1);
	assert_int_equal(seen.packets, 3 + 1 + (UINT64_C(1) << 40) + 7);
	json_decref(schema);
	buffer_fini(&flow);
	buffer_fini(&records);
	buffer_fini(&out);
}

static void assert_refused(const struct buffer *out)
{
	struct seen seen;

	assert_int_equal(read_all(out->data, out->size, &seen), FAIL_FORMAT);
	assert_true(seen.msg.text[0] != '\0');
}

/* A label is one of its writer's; class and role are fixed for ever. */
static void test_container_with_labels_that_cannot_be_is_refused(void **state)
{
	struct buffer head = { 0 };

	(void)state;
	container_header(&head, &golden_origin);
	for (unsigned i = 0; i < 4; i++) {
		struct buffer out = { 0 }, flow = { 0 };
		struct flow_record flows[4];

		make_flows(flows);
		flows[0].tool = i == 0 ? TOOL_COUNT : flows[0].tool;
		flows[0].payload = i == 1 ? PAYLOAD_COUNT : flows[0].payload;
		flows[0].class = i == 2 ? CLASS_COUNT : flows[0].class;
		flows[0].role = i == 3 ? ROLE_COUNT : flows[0].role;
		container_flow(&flow, &flows[0]);
		buffer_append(&out, head.data, head.size);
		container_block(&out, 1, (struct bytes){ flow.data, flow.size });
		assert_refused(&out);
		buffer_fini(&flow);
		buffer_fini(&out);
	}
	buffer_fini(&head);
}

static void test_container_of_an_older_sensor_gets_defaults(void **state)
{
	json_t *schema = our_schema();
	struct container_decoder *decoder;
	struct container_records records_read;
	struct container_item item;
	struct flow_record flows[4];
	struct buffer records = { 0 }, out = { 0 };
	struct byte_reader r;
	struct origin origin;
	struct message msg;

	(void)state;
	json_array_remove(fields_of(schema, 0), json_array_size(fields_of(schema, 0)) - 1);
	append_header(&out, schema);
	make_flows(flows);
	container_flow(&records, &flows[0]);
	records.size--; /* `overflow`, a byte, is the last field */
	container_block(&out, 1, (struct bytes){ records.data, records.size });
	r = byte_reader_of(out.data, out.size);
	assert_int_equal(container_decoder_create(&decoder), 0);

	assert_int_equal(container_decoder_header(decoder, &r, &origin, &msg), 0);
	assert_int_equal(container_decoder_block(decoder, &r, &records_read, &msg), 0);
	assert_int_equal(container_next(decoder, &records_read, &item, &msg), 0);

	assert_string_equal(origin.sensor, "newer");
	assert_string_equal(origin.timeline, "");
	assert_int_equal(item.kind, ITEM_FLOW);
	assert_record(&flow_table_rows, &item.flow, &flows[0]);
	container_decoder_destroy(decoder);
	json_decref(schema);
	buffer_fini(&records);
	buffer_fini(&out);
}

static void test_container_files_set_end_to_end_are_one(void **state)
{
	struct buffer out = { 0 };
	struct seen seen;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		append_golden(&out);

	assert_int_equal(read_all(out.data, out.size, &seen), 0);

	assert_int_equal(seen.flows, 12);
	assert_int_equal(seen.blocks, 6);
	buffer_fini(&out);
}

/* More releases at once than are remembered: schemas come and go. */
static void test_container_of_many_schemas_in_turn_decodes(void **state)
{
	struct buffer out = { 0 };
	struct seen seen;

	(void)state;
	for (unsigned i = 0; i < 24; i++) {
		json_t *schema = our_schema();
		struct marker_record markers[2];
		struct buffer records = { 0 };
		char doc[32];

		snprintf(doc, sizeof(doc), "release %u", i % 6);
		json_object_set_new(json_array_get(schema, 0), "doc", json_string(doc));
		append_header(&out, schema);
		make_markers(markers);
		container_marker(&records, &markers[0]);
		container_block(&out, 1, (struct bytes){ records.data, records.size });
		buffer_fini(&records);
		json_decref(schema);
	}

	assert_int_equal(read_all(out.data, out.size, &seen), 0);

	assert_int_equal(seen.markers, 24);
	buffer_fini(&out);
}

/* ---- headers that cannot be ---- */

static void begin_header(struct buffer *out, int64_t entries)
{
	buffer_clear(out);
	buffer_append_text(out, "Obj\1");
	avro_long(out, entries);
	append_entry(out, "avro.schema", container_schema().data, container_schema().size);
}

static void end_header(struct buffer *out)
{
	avro_long(out, 0);
	buffer_append(out, "0123456789abcdef", SYNC_BYTES);
}

static void test_container_headers_that_cannot_be_are_refused(void **state)
{
	char long_name[ORIGIN_TEXT_BYTES + 1];
	struct buffer out = { 0 };

	(void)state;
	buffer_append_text(&out, "\xd4\xc3\xb2\xa1 a capture");
	assert_refused(&out);

	begin_header(&out, 2);
	append_entry(&out, "avro.codec", "snappy", 6);
	end_header(&out);
	assert_refused(&out);

	memset(long_name, 'n', sizeof(long_name));
	begin_header(&out, 2);
	append_entry(&out, "hoshimi.sensor", long_name, ORIGIN_TEXT_BYTES);
	end_header(&out);
	assert_refused(&out);

	begin_header(&out, 2);
	append_entry(&out, "hoshimi.timeline", "line\nbreak", 10);
	end_header(&out);
	assert_refused(&out);

	buffer_clear(&out); /* no schema at all */
	buffer_append_text(&out, "Obj\1");
	end_header(&out);
	assert_refused(&out);

	begin_header(&out, 1000);
	for (unsigned i = 0; i < 1000; i++)
		append_entry(&out, "k", "v", 1);
	end_header(&out);
	assert_refused(&out);
	buffer_fini(&out);
}

/* Metadata may come in several blocks, with their sizes or without. */
static void test_container_header_in_several_blocks_is_read(void **state)
{
	struct buffer out = { 0 };
	struct seen seen;

	(void)state;
	begin_header(&out, 1);
	avro_long(&out, -1);
	avro_long(&out, 99); /* a size; not needed */
	append_entry(&out, "hoshimi.sensor", "two", 3);
	end_header(&out);

	assert_int_equal(read_all(out.data, out.size, &seen), 0);

	assert_string_equal(seen.origin.sensor, "two");
	buffer_fini(&out);
}

static void test_container_header_counts_that_cannot_be_are_refused(void **state)
{
	static const int64_t counts[] = { INT64_MIN, INT64_MIN + 1, INT64_MAX };
	struct buffer out = { 0 };
	struct seen seen;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		int rc;

		buffer_clear(&out);
		buffer_append_text(&out, "Obj\1");
		avro_long(&out, counts[i]);
		avro_long(&out, 0);
		append_entry(&out, "k", "v", 1);

		rc = read_all(out.data, out.size, &seen);

		assert_true(rc == FAIL_TRUNCATED || rc == FAIL_FORMAT);
	}
	buffer_fini(&out);
}

static void test_container_blocks_that_cannot_be_are_refused(void **state)
{
	static const int64_t rows[][2] = { { -1, 1 }, { 1, -1 }, { 2, 1 }, { INT64_MAX, 1 },
		{ 1, CONTAINER_BLOCK_MAX + INT64_C(1) }, { INT64_MIN, INT64_MIN } };
	struct buffer out = { 0 };
	struct flow_record flows[4];
	struct buffer records = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		buffer_clear(&out);
		container_header(&out, &golden_origin);
		avro_long(&out, rows[i][0]);
		avro_long(&out, rows[i][1]);
		buffer_append(&out, "x", 1);
		assert_refused(&out);
	}

	make_flows(flows);
	container_flow(&records, &flows[0]);
	buffer_clear(&out); /* more than its records */
	container_header(&out, &golden_origin);
	buffer_u8(&records, 0);
	container_block(&out, 1, (struct bytes){ records.data, records.size });
	assert_refused(&out);

	buffer_clear(&out); /* another sync marker */
	container_header(&out, &golden_origin);
	container_block(&out, 1, (struct bytes){ records.data, records.size - 1 });
	out.data[out.size - 1] ^= 1;
	assert_refused(&out);

	buffer_clear(&out); /* a label that has no name */
	container_header(&out, &golden_origin);
	flows[0].class = 99;
	buffer_clear(&records);
	container_flow(&records, &flows[0]);
	container_block(&out, 1, (struct bytes){ records.data, records.size });
	assert_refused(&out);
	buffer_fini(&out);
	buffer_fini(&records);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_container_golden_file_is_what_we_encode),
		cmocka_unit_test(test_container_golden_file_decodes_to_what_it_was),
		cmocka_unit_test(test_container_older_golden_file_decodes),
		cmocka_unit_test(test_container_cut_anywhere_says_so),
		cmocka_unit_test(test_container_record_cut_inside_its_block_is_refused),
		cmocka_unit_test(test_container_changed_anywhere_is_read_or_refused),
		cmocka_unit_test(test_container_of_a_newer_sensor_decodes),
		cmocka_unit_test(test_container_with_labels_that_cannot_be_is_refused),
		cmocka_unit_test(test_container_of_an_older_sensor_gets_defaults),
		cmocka_unit_test(test_container_files_set_end_to_end_are_one),
		cmocka_unit_test(test_container_of_many_schemas_in_turn_decodes),
		cmocka_unit_test(test_container_headers_that_cannot_be_are_refused),
		cmocka_unit_test(test_container_header_in_several_blocks_is_read),
		cmocka_unit_test(test_container_header_counts_that_cannot_be_are_refused),
		cmocka_unit_test(test_container_blocks_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
