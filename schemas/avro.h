/*
 * Apache Avro 1.11, the part our records need: binary encoding, and decoding by the writer's own
 * schema.
 *
 * A record in C is a struct described by a table of rows, one a field; the table drives encoding
 * and decoding. Decoding follows the schema that came with the data: fields we do not know are
 * skipped, fields it does not have keep the struct's defaults. So a sensor may be newer or older
 * than its readers.
 *
 * Source: Apache Avro specification, "Binary encoding", "Object container files", "Schema
 * resolution" (of which only adding fields and symbols is used).
 *
 * Threads: a schema is constant after parsing; everything else is the caller's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/errors.h"

#define AVRO_NULL_LONG INT64_MIN /* stands for null in a field of kind AVRO_NULLABLE */

/** How a field lies in its struct, and which Avro type carries it. */
enum avro_kind {
	AVRO_U8,       /* uint8_t    int or enum */
	AVRO_U16,      /* uint16_t   int */
	AVRO_I32,      /* int32_t    int */
	AVRO_I64,      /* int64_t    long */
	AVRO_NULLABLE, /* int64_t    null or long */
	AVRO_BOOL,     /* bool       boolean */
	AVRO_DOUBLE,   /* double     double */
	AVRO_BYTES,    /* struct bytes, borrowed  bytes or string */
	AVRO_RECORDS,  /* struct avro_list        array of records */
};

struct avro_field {
	const char *name;
	enum avro_kind kind;
	size_t offset;
	const struct avro_table *items; /* AVRO_RECORDS */
};

struct avro_table {
	const char *name;
	const struct avro_field *fields;
	size_t field_count;
	size_t struct_bytes;
};

/** An array inside a record. After decoding it is owned by the record: see avro_record_fini. */
struct avro_list {
	void *items;
	size_t count;
};

void avro_long(struct buffer *out, int64_t value);
void avro_bytes(struct buffer *out, const void *data, size_t size);
int64_t avro_read_long(struct byte_reader *r);
struct bytes avro_read_bytes(struct byte_reader *r);

/** Appends the record's binary form. */
void avro_encode(struct buffer *out, const struct avro_table *table, const void *record);

/** A writer's schema, resolved against our tables. */
struct avro_schema;

/**
 * Parses a schema: a record, or a union of records. Records named as one of `tables` are decoded
 * by it, all others can only be skipped.
 *
 * @return 0, FAIL_FORMAT (with the reason in `msg`) or -ENOMEM
 */
int avro_schema_parse(struct avro_schema **out, struct bytes json,
	const struct avro_table *const *tables, size_t table_count, struct message *msg) MUST_CHECK;
void avro_schema_destroy(struct avro_schema *schema);

/** The schema's fields of one table, as "name:type" lines; for tests. Appends to `out`. */
void avro_schema_describe(
	const struct avro_schema *schema, const struct avro_table *table, struct buffer *out);

/**
 * Starts a datum: reads the union branch if there is one.
 *
 * @param table  set to the table that decodes it, NULL when it is none of ours
 * @return 0 or FAIL_FORMAT
 */
int avro_datum_begin(const struct avro_schema *schema, struct byte_reader *r,
	const struct avro_table **table, size_t *branch) MUST_CHECK;

/** Decodes the datum into `record`, which the caller has filled with defaults. */
int avro_datum_decode(const struct avro_schema *schema, size_t branch, struct byte_reader *r,
	void *record) MUST_CHECK;

/** Skips the datum. */
int avro_datum_skip(
	const struct avro_schema *schema, size_t branch, struct byte_reader *r) MUST_CHECK;

/** Frees the lists that decoding made. */
void avro_record_fini(const struct avro_table *table, void *record);
