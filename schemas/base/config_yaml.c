/*
 * libyaml's events become a tree. Recursion is bounded by CONFIG_YAML_DEPTH_MAX, memory by
 * CONFIG_YAML_NODES_MAX; aliases are refused before anything is expanded, so a file costs what it
 * weighs. Every failure is worded once, at the place where it was found.
 */
#include "schemas/base/config_yaml.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "schemas/base/bytes.h"

#define READ_BYTES 16384

struct reader {
	yaml_parser_t yaml;
	const char *name;
	const uint8_t *text;
	size_t size;
	size_t nodes;
	struct message *msg;
};

static struct config_yaml_place place_of(yaml_mark_t mark)
{
	return (struct config_yaml_place){ mark.line + 1, mark.column + 1 };
}

PRINTF_LIKE(3, 4)
static int fail_at(struct reader *r, struct config_yaml_place at, const char *format, ...)
{
	char reason[400];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	message_set(r->msg, "%.150s:%zu:%zu: %s", r->name, at.line, at.column, reason);
	return FAIL_CONFIG;
}

/* Decoding errors carry a byte offset only. */
static struct config_yaml_place place_of_offset(const struct reader *r, size_t offset)
{
	struct config_yaml_place at = { 1, 1 };

	for (size_t i = 0; i < offset && i < r->size; i++) {
		at.column++;
		if (r->text[i] == '\n')
			at = (struct config_yaml_place){ at.line + 1, 1 };
	}
	return at;
}

static int fail_syntax(struct reader *r)
{
	const yaml_parser_t *yaml = &r->yaml;
	const char *problem = yaml->problem != NULL ? yaml->problem : "not YAML";

	if (yaml->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (yaml->error == YAML_READER_ERROR)
		return fail_at(r, place_of_offset(r, yaml->problem_offset), "%s", problem);
	if (yaml->context != NULL)
		return fail_at(r, place_of(yaml->problem_mark), "%s %s", problem, yaml->context);
	return fail_at(r, place_of(yaml->problem_mark), "%s", problem);
}

static int next_event(struct reader *r, yaml_event_t *event)
{
	return yaml_parser_parse(&r->yaml, event) ? 0 : fail_syntax(r);
}

/* Room for one more item; NULL when memory is out. */
static struct config_yaml_node *add_item(struct config_yaml_node *parent)
{
	size_t count = parent->count;

	if ((count & (count - 1)) == 0) { /* grow at powers of two */
		size_t room = count == 0 ? 1 : count * 2;
		struct config_yaml_node *items = realloc(parent->items, room * sizeof(*items));

		if (items == NULL)
			return NULL;
		parent->items = items;
	}
	parent->items[count] = (struct config_yaml_node){ 0 };
	parent->count++;
	return &parent->items[count];
}

static const yaml_char_t *tag_of(const yaml_event_t *event)
{
	if (event->type == YAML_SCALAR_EVENT)
		return event->data.scalar.tag;
	if (event->type == YAML_SEQUENCE_START_EVENT)
		return event->data.sequence_start.tag;
	if (event->type == YAML_MAPPING_START_EVENT)
		return event->data.mapping_start.tag;
	return NULL;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
	if (event->type == YAML_ALIAS_EVENT)
		return event->data.alias.anchor;
	if (event->type == YAML_SCALAR_EVENT)
		return event->data.scalar.anchor;
	if (event->type == YAML_SEQUENCE_START_EVENT)
		return event->data.sequence_start.anchor;
	if (event->type == YAML_MAPPING_START_EVENT)
		return event->data.mapping_start.anchor;
	return NULL;
}

/* What no node may have, whatever its kind. */
static int check_node(struct reader *r, const yaml_event_t *event)
{
	struct config_yaml_place at = place_of(event->start_mark);

	if (anchor_of(event) != NULL)
		return fail_at(r, at,
			"anchors and aliases (& and *) are not accepted; write the value out, "
			"or quote a text that begins so");
	if (tag_of(event) != NULL)
		return fail_at(r, at, "tags are not accepted; quote a text that begins with !");
	if (++r->nodes > CONFIG_YAML_NODES_MAX)
		return fail_at(r, at, "more than %d values", CONFIG_YAML_NODES_MAX);
	return 0;
}

static int read_scalar(struct reader *r, const yaml_event_t *event, char **out)
{
	const char *text = (const char *)event->data.scalar.value;

	if (strlen(text) != event->data.scalar.length)
		return fail_at(r, place_of(event->start_mark), "a text cannot contain a NUL byte");
	*out = strdup(text);
	return *out != NULL ? 0 : -ENOMEM;
}

static bool is_null_text(const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;

	return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (strcmp(text, "") == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static int read_key(struct reader *r, const yaml_event_t *event, struct config_yaml_node *parent,
	struct config_yaml_node *item)
{
	int rc = check_node(r, event);

	item->key_at = place_of(event->start_mark);
	if (rc != 0)
		return rc;
	if (event->type != YAML_SCALAR_EVENT)
		return fail_at(r, item->key_at, "a key must be a text");
	if (parent->count > CONFIG_YAML_KEYS_MAX)
		return fail_at(
			r, item->key_at, "more than %d keys in one place", CONFIG_YAML_KEYS_MAX);
	rc = read_scalar(r, event, &item->key);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i + 1 < parent->count; i++) {
		if (strcmp(parent->items[i].key, item->key) == 0)
			return fail_at(r, item->key_at,
				"%.64s stands here twice, first in line %zu", item->key,
				parent->items[i].key_at.line);
	}
	return 0;
}

static int read_node(
	struct reader *r, const yaml_event_t *event, struct config_yaml_node *node, unsigned depth);

/* The node that comes next in the file. */
static int read_next(struct reader *r, struct config_yaml_node *node, unsigned depth)
{
	yaml_event_t event;
	int rc = next_event(r, &event);

	if (rc != 0)
		return rc;
	rc = read_node(r, &event, node, depth);
	yaml_event_delete(&event);
	return rc;
}

/* The items of a sequence or mapping, up to its end. */
static int read_items(
	struct reader *r, struct config_yaml_node *node, yaml_event_type_t end, unsigned depth)
{
	for (;;) {
		struct config_yaml_node *item;
		yaml_event_t event;
		bool is_end;
		int rc = next_event(r, &event);

		if (rc != 0)
			return rc;
		is_end = event.type == end;
		item = is_end ? NULL : add_item(node);
		if (item == NULL)
			rc = is_end ? 0 : -ENOMEM;
		else if (node->kind == CONFIG_YAML_SEQUENCE)
			rc = read_node(r, &event, item, depth);
		else
			rc = read_key(r, &event, node, item);
		yaml_event_delete(&event);
		if (rc == 0 && !is_end && node->kind == CONFIG_YAML_MAPPING)
			rc = read_next(r, item, depth);
		if (rc != 0 || is_end)
			return rc;
	}
}

static int read_node(
	struct reader *r, const yaml_event_t *event, struct config_yaml_node *node, unsigned depth)
{
	int rc = check_node(r, event);

	node->at = place_of(event->start_mark);
	if (rc != 0)
		return rc;
	if (event->type == YAML_SCALAR_EVENT) {
		node->kind = CONFIG_YAML_SCALAR;
		node->is_null = is_null_text(event);
		return read_scalar(r, event, &node->text);
	}
	if (depth >= CONFIG_YAML_DEPTH_MAX)
		return fail_at(r, node->at, "nested deeper than %d", CONFIG_YAML_DEPTH_MAX);
	if (event->type == YAML_SEQUENCE_START_EVENT) {
		node->kind = CONFIG_YAML_SEQUENCE;
		return read_items(r, node, YAML_SEQUENCE_END_EVENT, depth + 1);
	}
	node->kind = CONFIG_YAML_MAPPING;
	return read_items(r, node, YAML_MAPPING_END_EVENT, depth + 1);
}

static int make_empty_mapping(struct reader *r, struct config_yaml_node *root)
{
	if (root->kind == CONFIG_YAML_SCALAR && root->is_null) {
		free(root->text);
		root->text = NULL;
		root->is_null = false;
		root->kind = CONFIG_YAML_MAPPING;
	}
	if (root->kind != CONFIG_YAML_MAPPING)
		return fail_at(r, root->at, "sections such as `sensor:` are expected at the top");
	return 0;
}

/* Stream start, at most one document, stream end. */
static int read_stream(struct reader *r, struct config_yaml_node *root)
{
	bool has_document = false;

	root->kind = CONFIG_YAML_MAPPING;
	for (;;) {
		yaml_event_t event;
		yaml_event_type_t type;
		struct config_yaml_place at;
		int rc = next_event(r, &event);

		if (rc != 0)
			return rc;
		type = event.type;
		at = place_of(event.start_mark);
		yaml_event_delete(&event);
		if (type == YAML_STREAM_END_EVENT)
			return 0;
		if (type != YAML_DOCUMENT_START_EVENT)
			continue;
		if (has_document)
			return fail_at(r, at, "a second document is not accepted");
		has_document = true;
		rc = read_next(r, root, 0);
		if (rc == 0)
			rc = make_empty_mapping(r, root);
		if (rc != 0)
			return rc;
	}
}

int config_yaml_decode(struct config_yaml_node **out, const char *name, const void *text,
	size_t size, struct message *msg)
{
	struct reader r = { .name = name, .text = text, .size = size, .msg = msg };
	struct config_yaml_node *root;
	int rc;

	if (size > CONFIG_YAML_BYTES_MAX) {
		message_set(msg, "%.400s: longer than %d bytes", name, CONFIG_YAML_BYTES_MAX);
		return FAIL_CONFIG;
	}
	root = calloc(1, sizeof(*root));
	if (root == NULL)
		return -ENOMEM;
	if (!yaml_parser_initialize(&r.yaml)) {
		free(root);
		return -ENOMEM;
	}
	yaml_parser_set_input_string(&r.yaml, size > 0 ? text : (const uint8_t *)"", size);
	rc = read_stream(&r, root);
	yaml_parser_delete(&r.yaml);
	if (rc != 0) {
		config_yaml_destroy(root);
		return rc;
	}
	*out = root;
	return 0;
}

/* Appends until the end of the file or one byte past the limit; -errno. */
static int read_all(int fd, struct buffer *contents, size_t max_bytes)
{
	while (contents->size <= max_bytes) {
		size_t room = max_bytes + 1 - contents->size;
		ssize_t got;

		if (!buffer_reserve(contents, READ_BYTES + 1))
			return -ENOMEM;
		got = read(
			fd, contents->data + contents->size, room < READ_BYTES ? room : READ_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return 0;
		contents->size += (size_t)got;
	}
	return 0;
}

int config_yaml_read_file(
	char **out, size_t *size, const char *path, size_t max_bytes, struct message *msg)
{
	struct buffer contents = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0) {
		message_set(msg, "%s", strerror(errno));
		return FAIL_CONFIG;
	}
	rc = read_all(fd, &contents, max_bytes);
	close(fd);
	if (rc == 0 && contents.size <= max_bytes) {
		contents.data[contents.size] = '\0'; /* read_all keeps a byte free */
		*out = (char *)contents.data;
		*size = contents.size;
		return 0;
	}
	if (rc == 0)
		message_set(msg, "longer than %zu bytes", max_bytes);
	else
		message_set(msg, "%s", strerror(-rc));
	buffer_fini(&contents);
	return rc == -ENOMEM ? rc : FAIL_CONFIG;
}

int config_yaml_load(struct config_yaml_node **out, const char *path, struct message *msg)
{
	struct message why = { "" };
	char *text;
	size_t size;
	int rc = config_yaml_read_file(&text, &size, path, CONFIG_YAML_BYTES_MAX, &why);

	if (rc != 0) {
		message_set(msg, "%.400s: %.150s", path, why.text);
		return rc;
	}
	rc = config_yaml_decode(out, path, text, size, msg);
	free(text);
	return rc;
}

static void node_fini(struct config_yaml_node *node)
{
	for (size_t i = 0; i < node->count; i++)
		node_fini(&node->items[i]);
	free(node->items);
	free(node->key);
	free(node->text);
}

void config_yaml_destroy(struct config_yaml_node *root)
{
	if (root == NULL)
		return;
	node_fini(root);
	free(root);
}
