/*
 *   "Obj" 01 | metadata map: avro.schema avro.codec hoshimi.sensor hoshimi.timeline hoshimi.boot | sync
 *   block:    record count | size in bytes | records | sync
 *
 * The sync marker is the same in all our containers: files set end to end and messages of one
 * content are the same bytes, whoever wrote them. A block count is never negative, so 'O' (-40 as
 * a varint) at a block's place starts another container.
 */
#include "schemas/container.h"

#include <stdio.h>
#include <stdlib.h>

#include "schema_text.h" /* made from flow.avsc and marker.avsc */

#define MAGIC	     "Obj\1"
#define MAGIC_BYTES  4
#define SCHEMA_CACHE 4 /* sensors of different releases beside each other */
#define METADATA_MAX 64

enum { BRANCH_FLOW, BRANCH_MARKER };

static const uint8_t sync_marker[CONTAINER_SYNC_BYTES] = { 0x68, 0x6f, 0x73, 0x68, 0x69, 0x6d, 0x69,
	0x20, 0x73, 0x74, 0x61, 0x72, 0x73, 0x20, 0x76, 0x31 };

static const struct avro_table *const tables[] = { &flow_table_rows, &marker_table_rows };

struct cached_schema {
	struct bytes text; /* owned */
	struct avro_schema *schema;
};

struct container_decoder {
	struct cached_schema cache[SCHEMA_CACHE];
	unsigned oldest;
	const struct avro_schema *schema; /* of the last header */
	uint8_t sync[CONTAINER_SYNC_BYTES];
};

struct bytes container_schema(void)
{
	return (struct bytes){ (const uint8_t *)SCHEMA_TEXT, sizeof(SCHEMA_TEXT) - 1 };
}

static void metadata(struct buffer *out, const char *key, const void *value, size_t size)
{
	avro_bytes(out, key, strlen(key));
	avro_bytes(out, value, size);
}

void container_header(struct buffer *out, const struct origin *origin)
{
	struct bytes schema = container_schema();
	char boot[24];
	int boot_size = snprintf(boot, sizeof(boot), "%lld", (long long)origin->boot);

	buffer_append(out, MAGIC, MAGIC_BYTES);
	avro_long(out, 5);
	metadata(out, "avro.schema", schema.data, schema.size);
	metadata(out, "avro.codec", "null", 4);
	metadata(out, "hoshimi.sensor", origin->sensor, strlen(origin->sensor));
	metadata(out, "hoshimi.timeline", origin->timeline, strlen(origin->timeline));
	metadata(out, "hoshimi.boot", boot, (size_t)boot_size);
	avro_long(out, 0);
	buffer_append(out, sync_marker, sizeof(sync_marker));
}

void container_block(struct buffer *out, uint64_t count, struct bytes records)
{
	avro_long(out, (int64_t)count);
	avro_bytes(out, records.data, records.size);
	buffer_append(out, sync_marker, sizeof(sync_marker));
}

void container_flow(struct buffer *records, const struct flow_record *flow)
{
	avro_long(records, BRANCH_FLOW);
	avro_encode(records, &flow_table_rows, flow);
}

void container_marker(struct buffer *records, const struct marker_record *marker)
{
	avro_long(records, BRANCH_MARKER);
	avro_encode(records, &marker_table_rows, marker);
}

bool container_starts(const struct byte_reader *r)
{
	return bytes_left(r) > 0 && *r->at == 'O';
}

int container_decoder_create(struct container_decoder **out)
{
	*out = calloc(1, sizeof(**out));
	return *out != NULL ? 0 : -ENOMEM;
}

void container_decoder_destroy(struct container_decoder *decoder)
{
	if (decoder == NULL)
		return;
	for (unsigned i = 0; i < SCHEMA_CACHE; i++) {
		free((void *)(uintptr_t)decoder->cache[i].text.data);
		avro_schema_destroy(decoder->cache[i].schema);
	}
	free(decoder);
}

static int schema_of_text(struct container_decoder *decoder, struct bytes text,
	const struct avro_schema **out, struct message *msg)
{
	struct cached_schema *slot = &decoder->cache[decoder->oldest];
	struct avro_schema *schema;
	uint8_t *copy;
	int rc;

	for (unsigned i = 0; i < SCHEMA_CACHE; i++) {
		const struct cached_schema *cached = &decoder->cache[i];

		if (cached->schema != NULL && cached->text.size == text.size &&
			memcmp(cached->text.data, text.data, text.size) == 0) {
			*out = cached->schema;
			return 0;
		}
	}
	rc = avro_schema_parse(&schema, text, tables, sizeof(tables) / sizeof(tables[0]), msg);
	if (rc != 0)
		return rc;
	copy = malloc(text.size);
	if (copy == NULL) {
		avro_schema_destroy(schema);
		return -ENOMEM;
	}
	memcpy(copy, text.data, text.size);
	free((void *)(uintptr_t)slot->text.data);
	avro_schema_destroy(slot->schema);
	*slot = (struct cached_schema){ { copy, text.size }, schema };
	decoder->oldest = (decoder->oldest + 1) % SCHEMA_CACHE;
	*out = schema;
	return 0;
}

struct header {
	struct bytes schema, codec, sensor, timeline, boot;
};

static const struct {
	const char *key;
	size_t offset;
} header_keys[] = {
	{ "avro.schema", offsetof(struct header, schema) },
	{ "avro.codec", offsetof(struct header, codec) },
	{ "hoshimi.sensor", offsetof(struct header, sensor) },
	{ "hoshimi.timeline", offsetof(struct header, timeline) },
	{ "hoshimi.boot", offsetof(struct header, boot) },
};

static void header_store(struct header *header, struct bytes key, struct bytes value)
{
	for (size_t i = 0; i < sizeof(header_keys) / sizeof(header_keys[0]); i++)
		if (strlen(header_keys[i].key) == key.size &&
			memcmp(header_keys[i].key, key.data, key.size) == 0)
			memcpy((uint8_t *)header + header_keys[i].offset, &value, sizeof(value));
}

static int read_metadata(struct byte_reader *r, struct header *header)
{
	unsigned seen = 0;

	for (;;) {
		int64_t count = avro_read_long(r);

		if (r->truncated || count == 0)
			return r->truncated ? FAIL_TRUNCATED : 0;
		if (count < 0) {
			if (count == INT64_MIN)
				return FAIL_FORMAT;
			count = -count;
			(void)avro_read_long(r); /* the block's size is not needed */
		}
		for (; count > 0; count--) {
			struct bytes key = avro_read_bytes(r);
			struct bytes value = avro_read_bytes(r);

			if (r->truncated)
				return FAIL_TRUNCATED;
			if (++seen > METADATA_MAX)
				return FAIL_FORMAT;
			header_store(header, key, value);
		}
	}
}

static bool copy_text(char *out, struct bytes text)
{
	if (text.size >= ORIGIN_TEXT_BYTES)
		return false;
	if (text.size > 0)
		memcpy(out, text.data, text.size);
	out[text.size] = '\0';
	for (size_t i = 0; i < text.size; i++)
		if ((uint8_t)out[i] < 0x20 || out[i] == 0x7f)
			return false;
	return true;
}

static int header_origin(const struct header *header, struct origin *origin, struct message *msg)
{
	char boot[ORIGIN_TEXT_BYTES];

	if (header->schema.size == 0) {
		message_set(msg, "container without a schema");
		return FAIL_FORMAT;
	}
	if (header->codec.size != 0 &&
		(header->codec.size != 4 || memcmp(header->codec.data, "null", 4) != 0)) {
		message_set(msg, "container codec is not null");
		return FAIL_FORMAT;
	}
	if (!copy_text(origin->sensor, header->sensor) ||
		!copy_text(origin->timeline, header->timeline) || !copy_text(boot, header->boot)) {
		message_set(msg, "container names a sensor or timeline that cannot be");
		return FAIL_FORMAT;
	}
	origin->boot = strtoll(boot, NULL, 10);
	return 0;
}

static int header_parse(struct byte_reader *r, struct header *header, struct message *msg)
{
	size_t compared = bytes_left(r) < MAGIC_BYTES ? bytes_left(r) : MAGIC_BYTES;
	int rc;

	if (compared > 0 && memcmp(r->at, MAGIC, compared) != 0) {
		message_set(msg, "not an Avro object container");
		return FAIL_FORMAT;
	}
	bytes_skip(r, MAGIC_BYTES);
	if (r->truncated)
		return FAIL_TRUNCATED;
	rc = read_metadata(r, header);
	if (rc == FAIL_FORMAT)
		message_set(msg, "container header has too many entries");
	return rc;
}

int container_decoder_header(struct container_decoder *decoder, struct byte_reader *r,
	struct origin *origin, struct message *msg)
{
	struct header header = { 0 };
	const uint8_t *sync;
	int rc;

	rc = header_parse(r, &header, msg);
	if (rc != 0)
		return rc;
	sync = bytes_take(r, CONTAINER_SYNC_BYTES);
	if (sync == NULL)
		return FAIL_TRUNCATED;
	rc = header_origin(&header, origin, msg);
	if (rc == 0)
		rc = schema_of_text(decoder, header.schema, &decoder->schema, msg);
	if (rc == 0)
		memcpy(decoder->sync, sync, CONTAINER_SYNC_BYTES);
	return rc;
}

int container_decoder_block(const struct container_decoder *decoder, struct byte_reader *r,
	struct container_records *out, struct message *msg)
{
	int64_t count = avro_read_long(r);
	int64_t size = avro_read_long(r);
	const uint8_t *data, *sync;

	if (r->truncated)
		return FAIL_TRUNCATED;
	if (count < 0 || size < 0 || size > CONTAINER_BLOCK_MAX || count > size) {
		message_set(msg, "block of %lld records in %lld bytes cannot be", (long long)count,
			(long long)size);
		return FAIL_FORMAT;
	}
	data = bytes_take(r, (size_t)size);
	sync = bytes_take(r, CONTAINER_SYNC_BYTES);
	if (data == NULL || sync == NULL)
		return FAIL_TRUNCATED;
	if (memcmp(sync, decoder->sync, CONTAINER_SYNC_BYTES) != 0) {
		message_set(msg, "block does not end with the container's sync marker");
		return FAIL_FORMAT;
	}
	*out = (struct container_records){ (uint64_t)count, byte_reader_of(data, (size_t)size) };
	return 0;
}

static int decode_item(const struct container_decoder *decoder, struct container_records *records,
	size_t branch, const struct avro_table *table, struct container_item *item)
{
	int rc;

	if (table == &flow_table_rows) {
		item->kind = ITEM_FLOW;
		item->flow = flow_defaults();
		rc = avro_datum_decode(decoder->schema, branch, &records->reader, &item->flow);
		return rc == 0 && !flow_is_sound(&item->flow) ? FAIL_FORMAT : rc;
	}
	if (table == &marker_table_rows) {
		item->kind = ITEM_MARKER;
		item->marker = marker_defaults();
		rc = avro_datum_decode(decoder->schema, branch, &records->reader, &item->marker);
		if (rc == 0 && !marker_is_sound(&item->marker))
			rc = FAIL_FORMAT;
		if (rc != 0)
			container_item_fini(item);
		return rc;
	}
	item->kind = ITEM_UNKNOWN;
	return avro_datum_skip(decoder->schema, branch, &records->reader);
}

int container_next(const struct container_decoder *decoder, struct container_records *records,
	struct container_item *item, struct message *msg)
{
	const struct avro_table *table;
	size_t branch;
	int rc;

	item->kind = ITEM_NONE;
	if (records->count == 0) {
		if (bytes_left(&records->reader) == 0)
			return 0;
		message_set(msg, "block holds more than its records");
		return FAIL_FORMAT;
	}
	records->count--;
	rc = avro_datum_begin(decoder->schema, &records->reader, &table, &branch);
	if (rc == 0)
		rc = decode_item(decoder, records, branch, table, item);
	if (rc == FAIL_FORMAT)
		message_set(
			msg, "record does not follow its schema, or holds values that cannot be");
	if (rc != 0)
		item->kind = ITEM_NONE;
	return rc;
}

void container_item_fini(struct container_item *item)
{
	if (item->kind == ITEM_MARKER)
		avro_record_fini(&marker_table_rows, &item->marker);
	item->kind = ITEM_NONE;
}
