/*
 * A parsed schema is a tree of nodes in one array. For a record that one of our tables decodes,
 * each of its field nodes names the table's row it fills, or none: then it is skipped by type.
 * Everything a writer can say is bounded: nodes, nesting, array lengths.
 */
#include "schemas/avro.h"

#include <jansson.h>
#include <stdlib.h>

#define NODES_MAX      1024  /* nodes of one schema; ours has about a hundred */
#define NESTING_MAX    8     /* types inside types */
#define LIST_ITEMS_MAX 65536 /* items of one array; thousands of dark ranges are the largest use */
#define VARINT_BYTES   10    /* a 64-bit value in 7-bit groups */

enum node_type {
	NODE_NULL,
	NODE_BOOLEAN,
	NODE_INT,
	NODE_LONG,
	NODE_FLOAT,
	NODE_DOUBLE,
	NODE_BYTES,
	NODE_STRING,
	NODE_ENUM,
	NODE_FIXED,
	NODE_ARRAY,
	NODE_MAP,
	NODE_UNION,
	NODE_RECORD,
};

static const char *const node_names[] = { "null", "boolean", "int", "long", "float", "double",
	"bytes", "string", "enum", "fixed", "array", "map", "union", "record" };

struct node {
	enum node_type type;
	uint32_t size;	/* fixed: bytes; enum: symbols; others: number of children */
	uint32_t first; /* first child; children are chained by `next` */
	uint32_t next;	/* next sibling, 0 none (0 is the root) */
	const struct avro_table *table;	 /* record: decodes it, or NULL */
	const struct avro_field *target; /* child of such a record: fills it, or NULL */
};

struct avro_schema {
	struct node nodes[NODES_MAX];
	uint32_t count;
	const struct avro_table *const *tables;
	size_t table_count;
	struct message *msg;
};

/* Writes at most VARINT_BYTES; returns where it ended. */
static inline uint8_t *put_long(uint8_t *at, int64_t value)
{
	uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);

	while (zigzag >= 0x80) {
		*at++ = (uint8_t)(zigzag | 0x80);
		zigzag >>= 7;
	}
	*at++ = (uint8_t)zigzag;
	return at;
}

void avro_long(struct buffer *out, int64_t value)
{
	if (out->capacity - out->size < VARINT_BYTES && !buffer_reserve(out, VARINT_BYTES))
		return;
	out->size = (size_t)(put_long(out->data + out->size, value) - out->data);
}

void avro_bytes(struct buffer *out, const void *data, size_t size)
{
	avro_long(out, (int64_t)size);
	buffer_append(out, data, size);
}

int64_t avro_read_long(struct byte_reader *r)
{
	uint64_t zigzag = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = bytes_u8(r);

		zigzag |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
	}
	r->truncated = true; /* more than ten bytes: no number ends here */
	return 0;
}

struct bytes avro_read_bytes(struct byte_reader *r)
{
	int64_t size = avro_read_long(r);
	const uint8_t *data;

	if (size < 0) {
		r->truncated = true;
		return (struct bytes){ 0 };
	}
	data = bytes_take(r, (size_t)size);
	return (struct bytes){ data, data != NULL ? (size_t)size : 0 };
}

static void encode_double(struct buffer *out, double value)
{
	uint64_t bits;
	uint8_t raw[8];

	memcpy(&bits, &value, sizeof(bits));
	store_u32_le(raw, (uint32_t)bits);
	store_u32_le(raw + 4, (uint32_t)(bits >> 32));
	buffer_append(out, raw, sizeof(raw));
}

static void encode_list(
	struct buffer *out, const struct avro_table *items, const struct avro_list *list)
{
	const uint8_t *at = list->items;

	if (list->count > 0) {
		avro_long(out, (int64_t)list->count);
		for (size_t i = 0; i < list->count; i++)
			avro_encode(out, items, at + i * items->struct_bytes);
	}
	avro_long(out, 0);
}

/* Numbers, the most of any record, without a check each: the caller has made room. */
static uint8_t *encode_number(uint8_t *at, enum avro_kind kind, const void *value)
{
	switch (kind) {
	case AVRO_U8:
		return put_long(at, *(const uint8_t *)value);
	case AVRO_U16:
		return put_long(at, *(const uint16_t *)value);
	case AVRO_I32:
		return put_long(at, *(const int32_t *)value);
	case AVRO_I64:
		return put_long(at, *(const int64_t *)value);
	case AVRO_BOOL:
		*at = *(const bool *)value;
		return at + 1;
	case AVRO_NULLABLE:
		if (*(const int64_t *)value == AVRO_NULL_LONG)
			return put_long(at, 0);
		return put_long(put_long(at, 1), *(const int64_t *)value);
	case AVRO_DOUBLE:
	case AVRO_BYTES:
	case AVRO_RECORDS:
		break;
	}
	return NULL;
}

void avro_encode(struct buffer *out, const struct avro_table *table, const void *record)
{
	for (size_t i = 0; i < table->field_count; i++) {
		const struct avro_field *field = &table->fields[i];
		const void *value = (const uint8_t *)record + field->offset;

		if (field->kind == AVRO_BYTES) {
			avro_bytes(out, ((const struct bytes *)value)->data,
				((const struct bytes *)value)->size);
		} else if (field->kind == AVRO_RECORDS) {
			encode_list(out, field->items, value);
		} else if (field->kind == AVRO_DOUBLE) {
			encode_double(out, *(const double *)value);
		} else {
			if (out->capacity - out->size < 2 * VARINT_BYTES &&
				!buffer_reserve(out, 2 * VARINT_BYTES))
				return;
			out->size =
				(size_t)(encode_number(out->data + out->size, field->kind, value) -
					 out->data);
		}
	}
}

/* ---- schema ---- */

static int parse_type(struct avro_schema *schema, json_t *json, unsigned depth, uint32_t *out);

static int refuse(struct avro_schema *schema, const char *reason)
{
	message_set(schema->msg, "schema: %s", reason);
	return FAIL_FORMAT;
}

static int new_node(struct avro_schema *schema, enum node_type type, uint32_t *out)
{
	if (schema->count == NODES_MAX)
		return refuse(schema, "too many types");
	*out = schema->count++;
	schema->nodes[*out] = (struct node){ .type = type };
	return 0;
}

static void append_child(
	struct avro_schema *schema, uint32_t parent, uint32_t *last, uint32_t child)
{
	if (*last == 0)
		schema->nodes[parent].first = child;
	else
		schema->nodes[*last].next = child;
	*last = child;
	schema->nodes[parent].size++;
}

static int parse_union(struct avro_schema *schema, json_t *json, unsigned depth, uint32_t node)
{
	uint32_t last = 0, child;
	size_t i;
	json_t *branch;
	int rc;

	json_array_foreach (json, i, branch) {
		rc = parse_type(schema, branch, depth + 1, &child);
		if (rc != 0)
			return rc;
		append_child(schema, node, &last, child);
	}
	return 0;
}

static const struct avro_table *table_of_name(const struct avro_schema *schema, const char *name)
{
	const char *dot = strrchr(name, '.');

	name = dot != NULL ? dot + 1 : name;
	for (size_t i = 0; i < schema->table_count; i++)
		if (strcmp(schema->tables[i]->name, name) == 0)
			return schema->tables[i];
	return NULL;
}

/* Which Avro types may fill a field of each kind. */
static bool kind_accepts(
	const struct avro_schema *schema, enum avro_kind kind, const struct node *node)
{
	const struct node *first = &schema->nodes[node->first];

	switch (kind) {
	case AVRO_U8:
	case AVRO_U16:
	case AVRO_I32:
	case AVRO_I64:
		return node->type == NODE_INT || node->type == NODE_LONG || node->type == NODE_ENUM;
	case AVRO_NULLABLE:
		return node->type == NODE_LONG ||
		       (node->type == NODE_UNION && node->size == 2 && first->type == NODE_NULL &&
			       schema->nodes[first->next].type == NODE_LONG);
	case AVRO_BOOL:
		return node->type == NODE_BOOLEAN;
	case AVRO_DOUBLE:
		return node->type == NODE_DOUBLE;
	case AVRO_BYTES:
		return node->type == NODE_BYTES || node->type == NODE_STRING;
	case AVRO_RECORDS:
		return node->type == NODE_ARRAY && first->type == NODE_RECORD &&
		       first->table != NULL;
	}
	return false;
}

/* Items of a list decode by the list's own table, whatever the writer calls their record. */
static void bind_record(
	struct avro_schema *schema, uint32_t node, const struct avro_table *table, json_t *fields);

static void bind_field(
	struct avro_schema *schema, uint32_t child, const struct avro_table *table, json_t *json)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	json_t *items = json_object_get(json_object_get(json, "type"), "items");

	for (size_t i = 0; i < table->field_count; i++) {
		const struct avro_field *field = &table->fields[i];

		if (name == NULL || strcmp(field->name, name) != 0)
			continue;
		if (field->kind == AVRO_RECORDS && schema->nodes[child].type == NODE_ARRAY &&
			schema->nodes[schema->nodes[child].first].type == NODE_RECORD)
			bind_record(schema, schema->nodes[child].first, field->items,
				json_object_get(items, "fields"));
		if (kind_accepts(schema, field->kind, &schema->nodes[child]))
			schema->nodes[child].target = field;
	}
}

static void bind_record(
	struct avro_schema *schema, uint32_t node, const struct avro_table *table, json_t *fields)
{
	uint32_t child = schema->nodes[node].first;
	size_t i;
	json_t *field;

	schema->nodes[node].table = table;
	json_array_foreach (fields, i, field) {
		bind_field(schema, child, table, field);
		child = schema->nodes[child].next;
	}
}

static int parse_record(struct avro_schema *schema, json_t *json, unsigned depth, uint32_t node)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	json_t *fields = json_object_get(json, "fields");
	const struct avro_table *table;
	uint32_t last = 0, child;
	size_t i;
	json_t *field;
	int rc;

	if (name == NULL || !json_is_array(fields))
		return refuse(schema, "a record needs a name and fields");
	json_array_foreach (fields, i, field) {
		rc = parse_type(schema, json_object_get(field, "type"), depth + 1, &child);
		if (rc != 0)
			return rc;
		append_child(schema, node, &last, child);
	}
	table = table_of_name(schema, name);
	if (table != NULL)
		bind_record(schema, node, table, fields);
	return 0;
}

static int parse_items(struct avro_schema *schema, json_t *items, unsigned depth, uint32_t node)
{
	uint32_t last = 0, child;
	int rc = parse_type(schema, items, depth + 1, &child);

	if (rc == 0)
		append_child(schema, node, &last, child);
	return rc;
}

static int parse_complex(struct avro_schema *schema, json_t *json, enum node_type type,
	unsigned depth, uint32_t node)
{
	json_int_t size;

	switch (type) {
	case NODE_RECORD:
		return parse_record(schema, json, depth, node);
	case NODE_ARRAY:
		return parse_items(schema, json_object_get(json, "items"), depth, node);
	case NODE_MAP:
		return parse_items(schema, json_object_get(json, "values"), depth, node);
	case NODE_ENUM:
		schema->nodes[node].size =
			(uint32_t)json_array_size(json_object_get(json, "symbols"));
		return 0;
	case NODE_FIXED:
		size = json_integer_value(json_object_get(json, "size"));
		if (size < 0 || size > UINT16_MAX)
			return refuse(schema, "a fixed type of that size is not supported");
		schema->nodes[node].size = (uint32_t)size;
		return 0;
	default:
		return 0; /* a primitive type written as {"type": "long", …} */
	}
}

static int type_of_name(const char *name, enum node_type *out)
{
	for (size_t i = 0; name != NULL && i < sizeof(node_names) / sizeof(node_names[0]); i++) {
		if (strcmp(node_names[i], name) == 0) {
			*out = (enum node_type)i;
			return 0;
		}
	}
	return FAIL_FORMAT;
}

static int parse_type(struct avro_schema *schema, json_t *json, unsigned depth, uint32_t *out)
{
	json_t *type = json_is_object(json) ? json_object_get(json, "type") : json;
	enum node_type node_type;
	int rc;

	if (depth > NESTING_MAX)
		return refuse(schema, "types nested too deeply");
	if (json_is_object(json) && !json_is_string(type))
		return parse_type(schema, type, depth + 1, out);
	if (json_is_array(json)) {
		rc = new_node(schema, NODE_UNION, out);
		return rc != 0 ? rc : parse_union(schema, json, depth, *out);
	}
	if (type_of_name(json_string_value(type), &node_type) != 0)
		return refuse(schema, "a type is neither primitive nor written in place");
	rc = new_node(schema, node_type, out);
	if (rc != 0 || !json_is_object(json))
		return rc;
	return parse_complex(schema, json, node_type, depth, *out);
}

int avro_schema_parse(struct avro_schema **out, struct bytes text,
	const struct avro_table *const *tables, size_t table_count, struct message *msg)
{
	struct avro_schema *schema;
	json_error_t error;
	json_t *json;
	uint32_t root;
	int rc;

	json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
	if (json == NULL) {
		message_set(msg, "schema: %s", error.text);
		return FAIL_FORMAT;
	}
	schema = calloc(1, sizeof(*schema));
	if (schema == NULL) {
		json_decref(json);
		return -ENOMEM;
	}
	schema->tables = tables;
	schema->table_count = table_count;
	schema->msg = msg;
	rc = parse_type(schema, json, 0, &root);
	schema->msg = NULL;
	json_decref(json);
	if (rc != 0) {
		free(schema);
		return rc;
	}
	*out = schema;
	return 0;
}

void avro_schema_destroy(struct avro_schema *schema)
{
	free(schema);
}

void avro_schema_describe(
	const struct avro_schema *schema, const struct avro_table *table, struct buffer *out)
{
	for (uint32_t i = 0; i < schema->count; i++) {
		const struct node *node = &schema->nodes[i];

		if (node->type != NODE_RECORD || node->table != table)
			continue;
		for (uint32_t c = node->first; c != 0; c = schema->nodes[c].next)
			buffer_format(out, "%s:%s\n",
				schema->nodes[c].target != NULL ? schema->nodes[c].target->name
								: "?",
				node_names[schema->nodes[c].type]);
	}
}

/* ---- data ---- */

static void skip_node(
	const struct avro_schema *schema, const struct node *node, struct byte_reader *r);

/* Arrays and maps are blocks of items; a negative count is followed by the block's size. */
static void skip_blocks(
	const struct avro_schema *schema, const struct node *node, struct byte_reader *r)
{
	const struct node *items = &schema->nodes[node->first];
	uint32_t seen = 0;

	for (;;) {
		int64_t count = avro_read_long(r);

		if (r->truncated || count == 0)
			return;
		if (count < 0) {
			int64_t size = avro_read_long(r);

			if (size < 0)
				r->truncated = true;
			else
				bytes_skip(r, (size_t)size);
			continue;
		}
		while (count-- > 0 && !r->truncated) {
			const uint8_t *before = r->at;

			if (seen++ == LIST_ITEMS_MAX) {
				r->truncated = true;
				return;
			}
			if (node->type == NODE_MAP)
				(void)avro_read_bytes(r);
			skip_node(schema, items, r);
			if (r->at == before)
				count = 0; /* items of no size: nothing more to skip, however many */
		}
	}
}

static const struct node *child_at(
	const struct avro_schema *schema, const struct node *node, int64_t index)
{
	uint32_t c = node->first;

	if (index < 0 || index >= node->size)
		return NULL;
	while (index-- > 0)
		c = schema->nodes[c].next;
	return &schema->nodes[c];
}

static void skip_node(
	const struct avro_schema *schema, const struct node *node, struct byte_reader *r)
{
	const struct node *branch;

	switch (node->type) {
	case NODE_NULL:
		break;
	case NODE_BOOLEAN:
		bytes_skip(r, 1);
		break;
	case NODE_INT:
	case NODE_LONG:
	case NODE_ENUM:
		(void)avro_read_long(r);
		break;
	case NODE_FLOAT:
		bytes_skip(r, 4);
		break;
	case NODE_DOUBLE:
		bytes_skip(r, 8);
		break;
	case NODE_BYTES:
	case NODE_STRING:
		(void)avro_read_bytes(r);
		break;
	case NODE_FIXED:
		bytes_skip(r, node->size);
		break;
	case NODE_ARRAY:
	case NODE_MAP:
		skip_blocks(schema, node, r);
		break;
	case NODE_UNION:
		branch = child_at(schema, node, avro_read_long(r));
		if (branch == NULL)
			r->truncated = true;
		else
			skip_node(schema, branch, r);
		break;
	case NODE_RECORD:
		for (uint32_t c = node->first; c != 0 && !r->truncated; c = schema->nodes[c].next)
			skip_node(schema, &schema->nodes[c], r);
		break;
	}
}

static int decode_record(const struct avro_schema *schema, const struct node *node,
	struct byte_reader *r, void *record);

static int decode_list(const struct avro_schema *schema, const struct node *node,
	struct byte_reader *r, const struct avro_table *table, struct avro_list *list)
{
	const struct node *items = &schema->nodes[node->first];
	int64_t count = avro_read_long(r);

	while (count != 0 && !r->truncated) {
		uint8_t *grown;
		int rc;

		if (count < 0) {
			if (count == INT64_MIN)
				return FAIL_FORMAT; /* has no positive of its own */
			count = -count; /* a block with its size in front; the size is not needed */
			(void)avro_read_long(r);
		}
		if (count < 0 || (uint64_t)count > LIST_ITEMS_MAX - list->count ||
			(uint64_t)count > bytes_left(r))
			return FAIL_FORMAT;
		grown = realloc(list->items, (list->count + (size_t)count) * table->struct_bytes);
		if (grown == NULL)
			return -ENOMEM;
		list->items = grown;
		while (count-- > 0) {
			void *item = grown + list->count * table->struct_bytes;

			memset(item, 0, table->struct_bytes);
			list->count++;
			rc = decode_record(schema, items, r, item);
			if (rc != 0)
				return rc;
		}
		count = avro_read_long(r);
	}
	return r->truncated ? FAIL_FORMAT : 0;
}

static double decode_double(struct byte_reader *r)
{
	const uint8_t *raw = bytes_take(r, 8);
	uint64_t bits;
	double value;

	if (raw == NULL)
		return 0;
	bits = load_u32_le(raw) | (uint64_t)load_u32_le(raw + 4) << 32;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Stores an integer in its field; false when it does not fit. */
static bool store_integer(enum avro_kind kind, void *at, int64_t value)
{
	switch (kind) {
	case AVRO_U8:
		*(uint8_t *)at = (uint8_t)value;
		return value >= 0 && value <= UINT8_MAX;
	case AVRO_U16:
		*(uint16_t *)at = (uint16_t)value;
		return value >= 0 && value <= UINT16_MAX;
	case AVRO_I32:
		*(int32_t *)at = (int32_t)value;
		return value >= INT32_MIN && value <= INT32_MAX;
	default:
		*(int64_t *)at = value;
		return true;
	}
}

static int decode_nullable(const struct node *node, struct byte_reader *r, int64_t *out)
{
	int64_t branch = node->type == NODE_UNION ? avro_read_long(r) : 1;

	if (branch != 0 && branch != 1)
		return FAIL_FORMAT;
	*out = branch == 0 ? AVRO_NULL_LONG : avro_read_long(r);
	return 0;
}

/* An enum's number must be one of its writer's symbols; ours may be fewer. */
static bool is_symbol(const struct node *node, int64_t value)
{
	return node->type != NODE_ENUM || (value >= 0 && value < (int64_t)node->size);
}

static int decode_integer(
	const struct node *node, enum avro_kind kind, struct byte_reader *r, void *at)
{
	int64_t value = avro_read_long(r);

	return is_symbol(node, value) && store_integer(kind, at, value) ? 0 : FAIL_FORMAT;
}

static int decode_field(const struct avro_schema *schema, const struct node *node,
	struct byte_reader *r, void *record)
{
	const struct avro_field *field = node->target;
	void *at = (uint8_t *)record + field->offset;

	switch (field->kind) {
	case AVRO_U8:
	case AVRO_U16:
	case AVRO_I32:
	case AVRO_I64:
		return decode_integer(node, field->kind, r, at);
	case AVRO_NULLABLE:
		return decode_nullable(node, r, at);
	case AVRO_BOOL:
		*(bool *)at = bytes_u8(r) != 0;
		return 0;
	case AVRO_DOUBLE:
		*(double *)at = decode_double(r);
		return 0;
	case AVRO_BYTES:
		*(struct bytes *)at = avro_read_bytes(r);
		return 0;
	case AVRO_RECORDS:
		return decode_list(schema, node, r, field->items, at);
	}
	return FAIL_FORMAT;
}

static int decode_record(const struct avro_schema *schema, const struct node *node,
	struct byte_reader *r, void *record)
{
	for (uint32_t c = node->first; c != 0; c = schema->nodes[c].next) {
		const struct node *child = &schema->nodes[c];

		if (child->target == NULL) {
			skip_node(schema, child, r);
		} else {
			int rc = decode_field(schema, child, r, record);

			if (rc != 0)
				return rc;
		}
		if (r->truncated)
			return FAIL_FORMAT;
	}
	return 0;
}

static const struct node *branch_node(const struct avro_schema *schema, size_t branch)
{
	const struct node *root = &schema->nodes[0];

	return root->type == NODE_UNION ? child_at(schema, root, (int64_t)branch) : root;
}

int avro_datum_begin(const struct avro_schema *schema, struct byte_reader *r,
	const struct avro_table **table, size_t *branch)
{
	const struct node *root = &schema->nodes[0];
	int64_t index = root->type == NODE_UNION ? avro_read_long(r) : 0;
	const struct node *node;

	if (r->truncated || index < 0 || index > (int64_t)NODES_MAX)
		return FAIL_FORMAT;
	node = branch_node(schema, (size_t)index);
	if (node == NULL)
		return FAIL_FORMAT;
	*branch = (size_t)index;
	*table = node->type == NODE_RECORD ? node->table : NULL;
	return 0;
}

int avro_datum_decode(
	const struct avro_schema *schema, size_t branch, struct byte_reader *r, void *record)
{
	return decode_record(schema, branch_node(schema, branch), r, record);
}

int avro_datum_skip(const struct avro_schema *schema, size_t branch, struct byte_reader *r)
{
	skip_node(schema, branch_node(schema, branch), r);
	return r->truncated ? FAIL_FORMAT : 0;
}

void avro_record_fini(const struct avro_table *table, void *record)
{
	for (size_t i = 0; i < table->field_count; i++) {
		struct avro_list *list = (void *)((uint8_t *)record + table->fields[i].offset);

		if (table->fields[i].kind != AVRO_RECORDS)
			continue;
		free(list->items);
		*list = (struct avro_list){ 0 };
	}
}
