/*
 * The command line is cut into settings (row, text) first, each judged on its own, so that a
 * mistake there is reported before any file is opened (options_line.c). Values are then built layer
 * by layer into a fresh array: defaults, files, environment, settings (options_layers.c). A reload
 * builds another array in the same way and puts it in place only when all of it is good.
 */
#include "schemas/base/options.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "schemas/base/options_layers.h"
#include "schemas/base/options_line.h"

int config_create(struct config **out, enum program program)
{
	struct config *config = calloc(1, sizeof(*config));
	struct message why;
	int rc;

	if (config == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < PROGRAMS; i++) {
		if (options_programs[i].program == program)
			config->program = &options_programs[i];
	}
	assert(config->program != NULL);
	rc = options_build_values(config, false, &config->values, &why);
	if (rc != 0) {
		config_destroy(config);
		return rc;
	}
	*out = config;
	return 0;
}

int config_parse(struct config *config, int argc, char **argv, struct message *msg)
{
	struct value *values = NULL;
	int rc = options_parse_line(config, argc, argv, msg);

	if (rc == 0)
		rc = options_build_values(config, false, &values, msg);
	if (rc != 0)
		return rc;
	options_values_destroy(config->values);
	config->values = values;
	if (config_wants_help(config) || config_wants_version(config))
		return 0;
	return config_reload(config, msg);
}

int config_reload(struct config *config, struct message *msg)
{
	struct value *values = NULL;
	int rc = options_build_values(config, true, &values, msg);

	if (rc != 0)
		return rc;
	options_values_destroy(config->values);
	config->values = values;
	return 0;
}

void config_destroy(struct config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->setting_count; i++)
		options_setting_fini(&config->settings[i]);
	free(config->settings);
	options_values_destroy(config->values);
	free(config);
}

bool config_wants_help(const struct config *config)
{
	return config_bool(config, OPT_HELP);
}

bool config_wants_version(const struct config *config)
{
	return config_bool(config, OPT_VERSION);
}

bool config_is_set(const struct config *config, enum option_id id)
{
	return config->values[id].layer != LAYER_DEFAULT;
}

uint64_t config_u64(const struct config *config, enum option_id id)
{
	assert(options_is_quantity(options_rows[id].type));
	return config->values[id].number;
}

bool config_bool(const struct config *config, enum option_id id)
{
	assert(options_rows[id].type == TYPE_BOOL);
	return config->values[id].number != 0;
}

const char *config_text(const struct config *config, enum option_id id)
{
	return config->values[id].text;
}

const struct text_list *config_list(const struct config *config, enum option_id id)
{
	return &config->values[id].list;
}

const struct text_pair *config_pairs(const struct config *config, enum option_id id, size_t *count)
{
	assert(options_rows[id].type == TYPE_MAP);
	*count = config->values[id].pair_count;
	return config->values[id].pairs;
}

static int refuse_at(const struct config *config, enum option_id id, const char *place,
	struct message *msg, const char *reason)
{
	if (config->values[id].layer == LAYER_LINE) {
		message_set(msg, "%.180s: %s", place, reason);
		return FAIL_USAGE;
	}
	if (place != NULL)
		message_set(msg, "%.150s: %s: %s", place, config_name(id), reason);
	else
		message_set(msg, "%s: %s", config_name(id), reason);
	return FAIL_CONFIG;
}

int config_refuse(const struct config *config, enum option_id id, struct message *msg,
	const char *format, ...)
{
	char reason[400];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	return refuse_at(config, id, config->values[id].place, msg, reason);
}

int config_refuse_item(const struct config *config, enum option_id id, size_t item,
	struct message *msg, const char *format, ...)
{
	const struct text_list *places = &config->values[id].item_places;
	char reason[400];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	return refuse_at(
		config, id, item < places->count ? places->items[item] : NULL, msg, reason);
}
