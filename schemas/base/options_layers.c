#include "schemas/base/options_layers.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/config_yaml.h"
#include "schemas/base/nearest.h"
#include "schemas/base/options_secret.h"

#define HOST_NAME_MAX_ 64 /* Linux, HOST_NAME_MAX; also the longest sensor name */

/* What all layers share while an array of values is built. */
struct build {
	struct value *values;
	const struct program_row *program;
	const char *path; /* of the file at work */
	unsigned layer;
	struct message *msg;
};

/*
 * Puts a value that is written out or, with `from_file`, lies in a file. Other programs' files are
 * not read: a secret is for the program that needs it.
 */
static int build_put(struct build *build, enum option_id id, const char *place, const char *key,
	bool from_file, const char *text, struct message *why)
{
	char *secret = NULL;
	int rc = 0;

	if (!from_file)
		return options_value_put(
			&build->values[id], id, build->layer, place, key, text, why);
	if ((options_rows[id].programs & build->program->program) == 0)
		return 0;
	if (key != NULL)
		rc = options_check_property(key, why);
	if (rc == 0)
		rc = options_read_secret(&secret, text, why);
	if (rc == 0)
		rc = options_value_put(
			&build->values[id], id, build->layer, place, key, secret, why);
	free(secret);
	return rc;
}

static int put_default(struct build *build, enum option_id id)
{
	const char *text = options_rows[id].standard;
	char host[HOST_NAME_MAX_ + 1] = "";
	struct message why;
	int rc;

	if (text == NULL)
		return 0;
	if (strcmp(text, DEFAULT_HOST_NAME) == 0) {
		/* gethostname leaves a cut name without end; the last byte is ours */
		if (gethostname(host, HOST_NAME_MAX_) != 0 || host[0] == '\0')
			snprintf(host, sizeof(host), "sensor");
		for (char *c = host; *c != '\0'; c++)
			*c = (unsigned char)*c < 0x80 && options_is_name_char(*c) ? *c : '-';
		text = host;
	}
	rc = options_value_put(&build->values[id], id, LAYER_DEFAULT, NULL, NULL, text, &why);
	assert(rc == 0 || rc == -ENOMEM); /* the table's own defaults are good */
	return rc;
}

/* ---- files ---- */

PRINTF_LIKE(3, 4)
static int fail_in_file(
	const struct build *build, struct config_yaml_place at, const char *format, ...)
{
	char reason[400];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	message_set(build->msg, "%.180s:%zu:%zu: %s", build->path, at.line, at.column, reason);
	return FAIL_CONFIG;
}

static const char *place_text(
	char *buf, size_t size, const struct build *build, const struct config_yaml_node *node)
{
	snprintf(buf, size, "%.250s:%zu:%zu", build->path, node->at.line, node->at.column);
	return buf;
}

static int put_node(struct build *build, enum option_id id, const struct config_yaml_node *node,
	const char *key, bool from_file)
{
	struct message why = { "" };
	char place[300];
	const char *name = config_name(id);
	int rc;

	if (node->kind != CONFIG_YAML_SCALAR)
		return fail_in_file(build, node->at, "%s: a single value is expected", name);
	if (node->is_null)
		return fail_in_file(build, node->at, "%s has no value", name);
	place_text(place, sizeof(place), build, node);
	rc = build_put(build, id, place, key, from_file, node->text, &why);
	if (rc == 0 || rc == -ENOMEM)
		return rc;
	return fail_in_file(build, node->at, "%s: %.380s", name, why.text);
}

static int put_pairs(struct build *build, enum option_id id, const struct config_yaml_node *node)
{
	int rc = 0;

	if (node->is_null) /* a heading above nothing but comments */
		return 0;
	if (node->kind != CONFIG_YAML_MAPPING)
		return fail_in_file(build, node->at, "%s: lines `key: value` are expected",
			options_rows[id].key);
	for (size_t i = 0; i < node->count && rc == 0; i++) {
		const struct config_yaml_node *item = &node->items[i];
		struct message why;
		char *key = strdup(item->key);
		bool from_file;

		if (key == NULL)
			return -ENOMEM;
		from_file = options_cut_file_suffix(key);
		if (options_check_property(key, &why) != 0)
			rc = fail_in_file(
				build, item->key_at, "%s: %s", options_rows[id].key, why.text);
		else
			rc = put_node(build, id, item, key, from_file);
		free(key);
	}
	return rc;
}

static int put_sequence(struct build *build, enum option_id id, const struct config_yaml_node *node)
{
	enum option_type type = options_rows[id].type;
	char place[300];
	int rc;

	if (type != TYPE_LIST && type != TYPE_JOINED && type != TYPE_WORDS)
		return fail_in_file(
			build, node->at, "%s: a single value is expected", options_rows[id].key);
	if (type == TYPE_JOINED && node->count == 0)
		return fail_in_file(build, node->at, "%s: must not be empty", options_rows[id].key);
	place_text(place, sizeof(place), build, node);
	rc = options_value_begin(&build->values[id], &options_rows[id], build->layer, place);
	for (size_t i = 0; i < node->count && rc == 0; i++)
		rc = put_node(build, id, &node->items[i], NULL, false);
	return rc;
}

static int put_option(
	struct build *build, enum option_id id, const struct config_yaml_node *node, bool from_file)
{
	if (options_rows[id].type == TYPE_MAP)
		return put_pairs(build, id, node);
	if (node->kind == CONFIG_YAML_SEQUENCE && !from_file)
		return put_sequence(build, id, node);
	return put_node(build, id, node, NULL, from_file);
}

/* The key that was probably meant: the right one in the wrong section, or a misspelt one. */
static const char *nearest_in_section(const char *section, const char *key)
{
	struct nearest nearest;
	size_t skip = strlen(section) + 1;

	if (options_find_key_anywhere(key) != NULL)
		return options_find_key_anywhere(key);
	nearest_init(&nearest, key);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (options_is_in_section(&options_rows[i], section))
			nearest_offer(&nearest, options_rows[i].key + skip);
	}
	return nearest_best(&nearest);
}

/* `password` and `password_file` side by side: which one holds? */
static const struct config_yaml_node *find_twin(
	const struct config_yaml_node *section, const struct config_yaml_node *node)
{
	size_t size = strlen(node->key);

	for (size_t i = 0; i < section->count; i++) {
		const char *key = section->items[i].key;

		if (options_has_prefix(key, node->key) && strcmp(key + size, FILE_SUFFIX) == 0)
			return &section->items[i];
	}
	return NULL;
}

static int read_key(struct build *build, const struct config_yaml_node *section,
	const struct config_yaml_node *node)
{
	char name[128];
	char meant[80];
	enum option_id id;

	if (snprintf(name, sizeof(name), "%s.%s", section->key, node->key) < (int)sizeof(name)) {
		id = options_find_key(name);
		if (id < OPTION_COUNT && options_rows[id].type == TYPE_SECRET &&
			find_twin(section, node) != NULL)
			return fail_in_file(build, node->key_at,
				"%s and %s" FILE_SUFFIX " exclude each other", name, name);
		if (id < OPTION_COUNT)
			return put_option(build, id, node, false);
		id = options_find_secret_file_key(name);
		if (id < OPTION_COUNT)
			return put_option(build, id, node, true);
	}
	return fail_in_file(build, node->key_at, "unknown key %.64s in section %s%s", node->key,
		section->key,
		options_suggestion(
			meant, sizeof(meant), nearest_in_section(section->key, node->key)));
}

static int fail_section(const struct build *build, const struct config_yaml_node *node)
{
	struct nearest nearest;
	const char *best = options_find_key_anywhere(node->key);
	const char *dot = strchr(node->key, '.');
	char meant[80];

	if (dot != NULL && options_find_key(node->key) < OPTION_COUNT)
		return fail_in_file(build, node->key_at,
			"%s is written as `%.*s:` and, indented below, `%s:`", node->key,
			(int)(dot - node->key), node->key, dot + 1);
	nearest_init(&nearest, node->key);
	for (size_t i = 0; i < SECTIONS; i++)
		nearest_offer(&nearest, options_sections[i].name);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (options_rows[i].key != NULL && strchr(options_rows[i].key, '.') == NULL)
			nearest_offer(&nearest, options_rows[i].key);
	}
	if (best == NULL)
		best = nearest_best(&nearest);
	return fail_in_file(build, node->key_at, "unknown section %.64s%s", node->key,
		options_suggestion(meant, sizeof(meant), best));
}

static int read_section(struct build *build, const struct config_yaml_node *node)
{
	int rc = 0;

	if (node->is_null) /* a heading above nothing but comments */
		return 0;
	if (node->kind != CONFIG_YAML_MAPPING)
		return fail_in_file(
			build, node->at, "section %s: lines `key: value` are expected", node->key);
	for (size_t i = 0; i < node->count && rc == 0; i++)
		rc = read_key(build, node, &node->items[i]);
	return rc;
}

static int read_file(struct build *build)
{
	struct config_yaml_node *root = NULL;
	int rc = config_yaml_load(&root, build->path, build->msg);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < root->count && rc == 0; i++) {
		const struct config_yaml_node *node = &root->items[i];
		enum option_id id =
			strchr(node->key, '.') == NULL ? options_find_key(node->key) : OPTION_COUNT;

		if (id < OPTION_COUNT)
			rc = put_option(build, id, node, false);
		else if (options_find_section(node->key) != NULL)
			rc = read_section(build, node);
		else
			rc = fail_section(build, node);
	}
	config_yaml_destroy(root);
	return rc;
}

/* ---- environment ---- */

static int read_environment(struct build *build)
{
	for (enum option_id id = 0; id < OPTION_COUNT; id++) {
		struct message why = { "" };
		char name[80];
		const char *text;
		int rc;

		if (options_rows[id].type != TYPE_SECRET)
			continue;
		text = getenv(options_variable_name(name, sizeof(name), &options_rows[id]));
		if (text == NULL || text[0] == '\0')
			continue;
		rc = options_value_put(
			&build->values[id], id, build->layer, name, NULL, text, &why);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ---- all layers ---- */

void options_setting_fini(struct setting *setting)
{
	free(setting->key);
	free(setting->text);
	free(setting->place);
}

static int put_setting(struct build *build, const struct setting *setting)
{
	struct message why = { "" };
	int rc = build_put(build, setting->id, setting->place, setting->key, setting->from_file,
		setting->text, &why);

	if (rc == 0 || rc == -ENOMEM)
		return rc;
	message_set(build->msg, "%.150s: %.440s", setting->place, why.text);
	return FAIL_USAGE;
}

static int read_files(const struct config *config, struct build *build)
{
	int rc = 0;

	build->layer = LAYER_FILE;
	for (size_t i = 0; i < config->setting_count && rc == 0; i++) {
		if (config->settings[i].id != OPT_CONFIG)
			continue;
		build->path = config->settings[i].text;
		rc = read_file(build);
		build->layer++;
	}
	return rc;
}

/* Builds an array of values from all layers, or from the command line alone. */
int options_build_values(
	const struct config *config, bool with_files, struct value **out, struct message *msg)
{
	struct build build = { .program = config->program, .layer = LAYER_DEFAULT, .msg = msg };
	int rc = 0;

	build.values = calloc(OPTION_COUNT, sizeof(*build.values));
	if (build.values == NULL)
		return -ENOMEM;
	for (enum option_id id = 0; id < OPTION_COUNT && rc == 0; id++)
		rc = put_default(&build, id);
	if (rc == 0 && with_files)
		rc = read_files(config, &build);
	build.layer = LAYER_ENVIRONMENT;
	if (rc == 0 && with_files)
		rc = read_environment(&build);
	build.layer = LAYER_LINE;
	for (size_t i = 0; i < config->setting_count && rc == 0; i++) {
		if (with_files || !config->settings[i].from_file)
			rc = put_setting(&build, &config->settings[i]);
	}
	if (rc != 0) {
		options_values_destroy(build.values);
		return rc;
	}
	*out = build.values;
	return 0;
}
