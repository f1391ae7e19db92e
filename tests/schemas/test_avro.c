/*
 * Avro: encoding as the specification's own examples say, and decoding by any writer's schema.
 */
#include "schemas/avro.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A record with a field of every kind. */
struct item {
	int64_t number;
	struct bytes text;
};

struct thing {
	uint8_t u8;
	uint16_t u16;
	int32_t i32;
	int64_t i64;
	int64_t nullable;
	bool flag;
	double real;
	struct bytes raw;
	struct avro_list items;
	uint8_t last;
};

#define ROW(record, member, kind)                                                                  \
	{                                                                                          \
#member, kind, offsetof(struct record, member), NULL                               \
	}

static const struct avro_field item_fields[] = {
	ROW(item, number, AVRO_I64),
	ROW(item, text, AVRO_BYTES),
};
static const struct avro_table item_rows = { "Item", item_fields, COUNT_OF(item_fields),
	sizeof(struct item) };

static const struct avro_field thing_fields[] = {
	ROW(thing, u8, AVRO_U8),
	ROW(thing, u16, AVRO_U16),
	ROW(thing, i32, AVRO_I32),
	ROW(thing, i64, AVRO_I64),
	ROW(thing, nullable, AVRO_NULLABLE),
	ROW(thing, flag, AVRO_BOOL),
	ROW(thing, real, AVRO_DOUBLE),
	ROW(thing, raw, AVRO_BYTES),
	{ "items", AVRO_RECORDS, offsetof(struct thing, items), &item_rows },
	ROW(thing, last, AVRO_U8),
};
static const struct avro_table thing_rows = { "Thing", thing_fields, COUNT_OF(thing_fields),
	sizeof(struct thing) };

static const struct avro_table *const tables[] = { &thing_rows };

#define FIELD(name, type)  "{\"name\":\"" name "\",\"type\":" type "}"
#define RECORD(name, rows) "{\"type\":\"record\",\"name\":\"" name "\",\"fields\":[" rows "]}"
#define ITEM		   RECORD("Item", FIELD("number", "\"long\"") "," FIELD("text", "\"string\""))
#define MIDDLE                                                                                     \
	FIELD("u16", "\"int\"")                                                                    \
	"," FIELD("i32", "\"int\"") "," FIELD("i64", "\"long\"") "," FIELD(                        \
		"nullable", "[\"null\",\"long\"]") "," FIELD("flag",                               \
		"\"boolean\"") "," FIELD("real", "\"double\"")
#define TAIL                                                                                       \
	FIELD("raw", "\"bytes\"")                                                                  \
	"," FIELD("items", "{\"type\":\"array\",\"items\":" ITEM "}") "," FIELD("last", "\"int\"")
#define ENUM  "{\"type\":\"enum\",\"name\":\"Small\",\"symbols\":[\"zero\",\"one\"]}"
#define THING RECORD("Thing", FIELD("u8", ENUM) "," MIDDLE "," TAIL)

static struct bytes bytes_of(const char *text)
{
	return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

static struct avro_schema *parse(const char *text)
{
	struct avro_schema *schema = NULL;
	struct message msg = { "" };

	if (avro_schema_parse(&schema, bytes_of(text), tables, 1, &msg) != 0)
		fail_msg("%s", msg.text);
	return schema;
}

static int decode(const char *schema_text, const struct buffer *data, struct thing *out)
{
	struct avro_schema *schema = parse(schema_text);
	uint8_t *copy = malloc(data->size + 1);
	struct byte_reader r = byte_reader_of(copy, data->size);
	const struct avro_table *table;
	size_t branch;
	int rc;

	assert_non_null(copy);
	if (data->size > 0)
		memcpy(copy, data->data, data->size);
	rc = avro_datum_begin(schema, &r, &table, &branch);
	if (rc == 0) {
		assert_ptr_equal(table, &thing_rows);
		rc = avro_datum_decode(schema, branch, &r, out);
	}
	if (rc == 0)
		assert_int_equal(bytes_left(&r), 0);
	if (rc != 0 || out->raw.size == 0)
		out->raw = (struct bytes){ 0 };
	else
		out->raw = bytes_of("raw"); /* it led into the copy */
	avro_schema_destroy(schema);
	free(copy);
	return rc;
}

static struct item two_items[] = {
	{ -5, { (const uint8_t *)"five", 4 } },
	{ INT64_MAX, { NULL, 0 } },
};

static struct thing sample(void)
{
	return (struct thing){
		.u8 = 1,
		.u16 = 65535,
		.i32 = INT32_MIN,
		.i64 = INT64_MIN + 1,
		.nullable = AVRO_NULL_LONG,
		.flag = true,
		.real = -0.1,
		.raw = bytes_of("raw"),
		.items = { two_items, 2 },
		.last = 255,
	};
}

/* ---- encoding ---- */

static void test_avro_long_is_encoded_as_specified(void **state)
{
	static const struct {
		int64_t value;
		size_t size;
		uint8_t bytes[10];
	} rows[] = {
		{ 0, 1, { 0x00 } },
		{ -1, 1, { 0x01 } },
		{ 1, 1, { 0x02 } },
		{ -2, 1, { 0x03 } },
		{ -64, 1, { 0x7f } },
		{ 64, 2, { 0x80, 0x01 } },
		{ 8192, 3, { 0x80, 0x80, 0x01 } },
		{ INT64_MAX, 10, { 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 } },
		{ INT64_MIN, 10, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct buffer out = { 0 };
		struct byte_reader r;

		avro_long(&out, rows[i].value);
		r = byte_reader_of(out.data, out.size);

		assert_int_equal(out.size, rows[i].size);
		assert_memory_equal(out.data, rows[i].bytes, rows[i].size);
		assert_true(avro_read_long(&r) == rows[i].value);
		assert_false(r.truncated);
		buffer_fini(&out);
	}
}

static void test_avro_long_cut_or_endless_is_truncated(void **state)
{
	static const uint8_t endless[16] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
		0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0 };

	(void)state;
	for (size_t size = 0; size <= sizeof(endless); size++) {
		struct byte_reader r = byte_reader_of(endless, size);

		assert_int_equal(avro_read_long(&r), 0);
		assert_true(r.truncated);
	}
}

static void test_avro_bytes_longer_than_what_is_left_are_truncated(void **state)
{
	static const uint8_t cut[] = { 8, 'a', 'b', 'c' }, negative[] = { 1, 'a' };
	struct byte_reader r = byte_reader_of(cut, sizeof(cut));

	(void)state;
	assert_null(avro_read_bytes(&r).data);
	assert_true(r.truncated);
	r = byte_reader_of(negative, sizeof(negative));
	assert_null(avro_read_bytes(&r).data);
	assert_true(r.truncated);
}

static void test_avro_record_is_encoded_field_by_field(void **state)
{
	static const uint8_t golden[] = {
		0x02,							    /* u8 */
		0xfe, 0xff, 0x07,					    /* u16 */
		0xff, 0xff, 0xff, 0xff, 0x0f,				    /* i32 */
		0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, /* i64 */
		0x00,							    /* nullable: branch 0 */
		0x01,							    /* flag */
		0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0xbf, /* real, little endian */
		0x06, 'r', 'a', 'w', 0x04,			/* two items in one block */
		0x09, 0x08, 'f', 'i', 'v', 'e', 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0x01, 0x00, 0x00, /* end of the blocks */
		0xfe, 0x03,		/* last */
	};
	struct thing thing = sample();
	struct buffer out = { 0 };

	(void)state;
	avro_encode(&out, &thing_rows, &thing);

	assert_int_equal(out.size, sizeof(golden));
	assert_memory_equal(out.data, golden, sizeof(golden));
	buffer_fini(&out);
}

/* ---- decoding ---- */

static void assert_is_sample(const struct thing *thing)
{
	const struct item *items = thing->items.items;

	assert_int_equal(thing->u8, 1);
	assert_int_equal(thing->u16, 65535);
	assert_int_equal(thing->i32, INT32_MIN);
	assert_true(thing->i64 == INT64_MIN + 1);
	assert_true(thing->nullable == AVRO_NULL_LONG);
	assert_true(thing->flag);
	assert_true(thing->real == -0.1);
	assert_int_equal(thing->raw.size, 3);
	assert_int_equal(thing->items.count, 2);
	assert_int_equal(items[0].number, -5);
	assert_int_equal(items[0].text.size, 4);
	assert_true(items[1].number == INT64_MAX);
	assert_int_equal(thing->last, 255);
}

static void test_avro_record_decoded_is_the_one_encoded(void **state)
{
	struct thing thing = sample(), decoded = { 0 };
	struct buffer out = { 0 };

	(void)state;
	avro_encode(&out, &thing_rows, &thing);

	assert_int_equal(decode(THING, &out, &decoded), 0);

	assert_is_sample(&decoded);
	avro_record_fini(&thing_rows, &decoded);
	assert_null(decoded.items.items);
	buffer_fini(&out);
}

static void test_avro_record_cut_anywhere_is_refused(void **state)
{
	struct thing thing = sample();
	struct buffer out = { 0 };

	(void)state;
	avro_encode(&out, &thing_rows, &thing);
	for (size_t size = out.size; size-- > 0;) {
		struct thing decoded = { 0 };

		out.size = size;
		assert_int_equal(decode(THING, &out, &decoded), FAIL_FORMAT);
		avro_record_fini(&thing_rows, &decoded);
	}
	buffer_fini(&out);
}

/* A newer writer: fields of every type that we do not know, before, between and behind ours. */
static void test_avro_unknown_fields_of_every_type_are_skipped(void **state)
{
#define UNKNOWN                                                                                    \
	FIELD("x0", "\"null\"")                                                                    \
	"," FIELD("x1", "\"boolean\"") "," FIELD("x2", "\"int\"") "," FIELD(                       \
		"x3", "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}") "," FIELD("x4",  \
		"\"float\"") "," FIELD("x5", "\"double\"") "," FIELD("x6",                         \
		"\"bytes\"") "," FIELD("x7", "\"string\"") "," FIELD("x8",                         \
		"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a\"]}") "," FIELD("x9",          \
		"{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}") "," FIELD("x10",                 \
		"{\"type\":\"array\",\"items\":\"int\"}") "," FIELD("x11",                         \
		"{\"type\":\"map\",\"values\":\"string\"}") "," FIELD("x12",                       \
		"[\"null\",\"string\"]") "," FIELD("x13",                                          \
		"{\"type\":\"record\",\"name\":\"R\",\"fields\":[" FIELD("y", "\"long\"") "]}")
	static const char newer[] = RECORD("Thing", UNKNOWN
		"," FIELD("u8", "\"int\"") "," UNKNOWN "," MIDDLE "," UNKNOWN "," TAIL "," UNKNOWN);
	static const uint8_t unknown[] = { 1, 0x02, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x04, 'b', 'b', 0x02, 's', 0x00, 'f', 'f', 'f', 0x03, 0x04, 0x02, 0x04, 0x02, 0x06,
		0x00, /* a block with its size, one without */
		0x02, 0x02, 'k', 0x02, 'v', 0x00, 0x02, 0x02, 'u', 0x08 };
	struct thing thing = sample(), decoded = { 0 };
	struct buffer out = { 0 }, whole = { 0 };

	(void)state;
	avro_encode(&whole, &thing_rows, &thing);
	buffer_append(&out, unknown, sizeof(unknown));
	buffer_append(&out, whole.data, 1);
	buffer_append(&out, unknown, sizeof(unknown));
	buffer_append(&out, whole.data + 1, 28);
	buffer_append(&out, unknown, sizeof(unknown));
	buffer_append(&out, whole.data + 29, whole.size - 29);
	buffer_append(&out, unknown, sizeof(unknown));

	assert_int_equal(decode(newer, &out, &decoded), 0);

	assert_is_sample(&decoded);
	avro_record_fini(&thing_rows, &decoded);
	buffer_fini(&out);
	buffer_fini(&whole);
}

/* An older writer: what it does not have keeps the reader's defaults. */
static void test_avro_missing_fields_keep_their_defaults(void **state)
{
	static const uint8_t data[] = { 0x06, 0x08 };
	static const char older[] =
		RECORD("Thing", FIELD("i64", "\"int\"") "," FIELD("u8", "\"long\""));
	struct thing decoded = { .u16 = 77, .real = 0.5, .last = 9 };
	struct buffer in = { 0 };

	(void)state;
	buffer_append(&in, data, sizeof(data));

	assert_int_equal(decode(older, &in, &decoded), 0);

	assert_int_equal(decoded.i64, 3);
	assert_int_equal(decoded.u8, 4);
	assert_int_equal(decoded.u16, 77);
	assert_true(decoded.real == 0.5);
	assert_int_equal(decoded.last, 9);
	buffer_fini(&in);
}

static void test_avro_field_of_another_type_is_skipped(void **state)
{
	static const uint8_t data[] = { 0x02, 'x', 0x08 };
	static const char other[] =
		RECORD("Thing", FIELD("i64", "\"string\"") "," FIELD("u8", "\"long\""));
	struct thing decoded = { .i64 = 12 };
	struct buffer in = { 0 };

	(void)state;
	buffer_append(&in, data, sizeof(data));

	assert_int_equal(decode(other, &in, &decoded), 0);

	assert_int_equal(decoded.i64, 12);
	assert_int_equal(decoded.u8, 4);
	buffer_fini(&in);
}

static void test_avro_numbers_that_do_not_fit_are_refused(void **state)
{
	static const struct {
		const char *field;
		int64_t fits, does_not;
	} rows[] = {
		{ "u8", 255, 256 },
		{ "u8", 0, -1 },
		{ "u16", 65535, 65536 },
		{ "u16", 0, -1 },
		{ "i32", INT32_MAX, INT32_MAX + INT64_C(1) },
		{ "i32", INT32_MIN, INT32_MIN - INT64_C(1) },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct thing decoded = { 0 };
		struct buffer in = { 0 };
		char schema[256];

		snprintf(schema, sizeof(schema), RECORD("Thing", FIELD("%s", "\"long\"")),
			rows[i].field);
		avro_long(&in, rows[i].fits);
		assert_int_equal(decode(schema, &in, &decoded), 0);
		buffer_clear(&in);
		avro_long(&in, rows[i].does_not);
		assert_int_equal(decode(schema, &in, &decoded), FAIL_FORMAT);
		buffer_fini(&in);
	}
}

/* Array blocks may have any count in front: none may cost memory that the data do not cover. */
static void test_avro_list_counts_that_cannot_be_are_refused(void **state)
{
	static const int64_t counts[] = { INT64_MIN, INT64_MIN + 1, -65537, 65537, INT64_MAX, 5 };
	static const char schema[] =
		RECORD("Thing", FIELD("items", "{\"type\":\"array\",\"items\":" ITEM "}"));

	(void)state;
	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		struct thing decoded = { 0 };
		struct buffer in = { 0 };

		avro_long(&in, counts[i]);
		buffer_append(&in, "\0\0\0\0", 4);

		assert_int_equal(decode(schema, &in, &decoded), FAIL_FORMAT);

		avro_record_fini(&thing_rows, &decoded);
		buffer_fini(&in);
	}
}

static void test_avro_list_in_several_blocks_is_one_list(void **state)
{
	static const uint8_t data[] = { 0x01, 0x08, 0x02, 0x02, 'a', /* -1: a block with its size */
		0x04, 0x04, 0x02, 'b', 0x06, 0x02, 'c', 0x00 };
	static const char schema[] =
		RECORD("Thing", FIELD("items", "{\"type\":\"array\",\"items\":" ITEM "}"));
	struct thing decoded = { 0 };
	struct buffer in = { 0 };

	(void)state;
	buffer_append(&in, data, sizeof(data));

	assert_int_equal(decode(schema, &in, &decoded), 0);

	assert_int_equal(decoded.items.count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(((struct item *)decoded.items.items)[i].number, i + 1);
	avro_record_fini(&thing_rows, &decoded);
	buffer_fini(&in);
}

/* What is skipped costs in proportion to its bytes: four bytes may claim 65,536 items of no size. */
static void test_avro_items_of_no_size_cost_nothing(void **state)
{
	static const char schema[] = RECORD("Thing",
		FIELD("x",
			"{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":\"null\"}}"));
	struct thing decoded = { 0 };
	struct buffer in = { 0 };

	(void)state;
	avro_long(&in, 60000);
	for (unsigned i = 0; i < 60000; i++) {
		avro_long(&in, 60000);
		avro_long(&in, 0);
	}
	avro_long(&in, 0);

	assert_int_equal(decode(schema, &in, &decoded), 0);

	buffer_fini(&in);
}

static void test_avro_union_branch_that_is_none_is_refused(void **state)
{
	static const char schema_text[] = "[\"null\"," THING "]";
	struct avro_schema *schema = parse(schema_text);

	(void)state;
	for (int64_t branch = -2; branch <= 3; branch++) {
		const struct avro_table *table = &item_rows;
		struct buffer in = { 0 };
		struct byte_reader r;
		size_t index = 0;

		avro_long(&in, branch);
		r = byte_reader_of(in.data, in.size);
		if (branch < 0 || branch > 1) {
			assert_int_equal(avro_datum_begin(schema, &r, &table, &index), FAIL_FORMAT);
		} else {
			assert_int_equal(avro_datum_begin(schema, &r, &table, &index), 0);
			assert_ptr_equal(table, branch == 1 ? &thing_rows : NULL);
		}
		buffer_fini(&in);
	}
	avro_schema_destroy(schema);
}

/* ---- schemas ---- */

static void test_avro_schemas_that_cannot_be_are_refused_with_a_reason(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"17",
		"null",
		"\"no such type\"",
		"{\"type\":\"no such type\"}",
		"{\"type\":{}}",
		"{\"type\":\"record\",\"fields\":[]}",
		"{\"type\":\"record\",\"name\":\"Thing\"}",
		"{\"type\":\"record\",\"name\":\"Thing\",\"fields\":[17]}",
		"{\"type\":\"record\",\"name\":\"Thing\",\"fields\":[{\"name\":\"u8\"}]}",
		"{\"type\":\"array\"}",
		"{\"type\":\"map\"}",
		"{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}",
		"{\"type\":\"fixed\",\"name\":\"F\",\"size\":99999999}",
		"{\"type\":\"int\",\"type\":\"long\"}",
		RECORD("Thing", FIELD("u8", "\"Named\"")),
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct avro_schema *schema = NULL;
		struct message msg = { "" };

		assert_int_equal(avro_schema_parse(&schema, bytes_of(texts[i]), tables, 1, &msg),
			FAIL_FORMAT);
		assert_true(msg.text[0] != '\0');
		assert_null(schema);
	}
}

static void test_avro_schemas_too_deep_or_too_large_are_refused(void **state)
{
	struct avro_schema *schema = NULL;
	struct buffer deep = { 0 }, wide = { 0 };
	struct message msg = { "" };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		buffer_append_text(&deep, "{\"type\":\"array\",\"items\":");
	buffer_append_text(&deep, "\"int\"");
	for (unsigned i = 0; i < 100; i++)
		buffer_append_text(&deep, "}");
	buffer_append_text(&wide, "[\"int\"");
	for (unsigned i = 0; i < 2000; i++)
		buffer_append_text(&wide, ",\"int\"");
	buffer_append_text(&wide, "]");

	assert_int_equal(
		avro_schema_parse(&schema, (struct bytes){ deep.data, deep.size }, tables, 1, &msg),
		FAIL_FORMAT);
	assert_int_equal(
		avro_schema_parse(&schema, (struct bytes){ wide.data, wide.size }, tables, 1, &msg),
		FAIL_FORMAT);
	buffer_fini(&deep);
	buffer_fini(&wide);
}

static void test_avro_schema_described_names_what_is_bound(void **state)
{
	struct avro_schema *schema = parse(RECORD("some.name.space.Thing",
		FIELD("u16", "\"int\"") "," FIELD("other", "\"string\"") "," FIELD(
			"flag", "\"long\"") "," FIELD("u8", ENUM)));
	struct buffer out = { 0 };

	(void)state;
	avro_schema_describe(schema, &thing_rows, &out);
	buffer_u8(&out, 0);

	assert_string_equal((char *)out.data, "u16:int\n?:string\n?:long\nu8:enum\n");
	avro_schema_destroy(schema);
	buffer_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_avro_long_is_encoded_as_specified),
		cmocka_unit_test(test_avro_long_cut_or_endless_is_truncated),
		cmocka_unit_test(test_avro_bytes_longer_than_what_is_left_are_truncated),
		cmocka_unit_test(test_avro_record_is_encoded_field_by_field),
		cmocka_unit_test(test_avro_record_decoded_is_the_one_encoded),
		cmocka_unit_test(test_avro_record_cut_anywhere_is_refused),
		cmocka_unit_test(test_avro_unknown_fields_of_every_type_are_skipped),
		cmocka_unit_test(test_avro_missing_fields_keep_their_defaults),
		cmocka_unit_test(test_avro_field_of_another_type_is_skipped),
		cmocka_unit_test(test_avro_numbers_that_do_not_fit_are_refused),
		cmocka_unit_test(test_avro_list_counts_that_cannot_be_are_refused),
		cmocka_unit_test(test_avro_list_in_several_blocks_is_one_list),
		cmocka_unit_test(test_avro_items_of_no_size_cost_nothing),
		cmocka_unit_test(test_avro_union_branch_that_is_none_is_refused),
		cmocka_unit_test(test_avro_schemas_that_cannot_be_are_refused_with_a_reason),
		cmocka_unit_test(test_avro_schemas_too_deep_or_too_large_are_refused),
		cmocka_unit_test(test_avro_schema_described_names_what_is_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
