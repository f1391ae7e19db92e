#include "schemas/base/options_table.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

const struct option_row options_rows[] = {
#define OPTION(ident, key, flag, letter, type, standard, min, max, unit, programs, help)           \
	[OPT_##ident] = { key, flag, letter, TYPE_##type, standard, min, max, unit, programs,      \
		help },
#include "schemas/base/options.def"
#undef OPTION
};
static_assert(
	sizeof(options_rows) / sizeof(options_rows[0]) == OPTION_COUNT, "a row for every option");

/* In the order of the table, help and example. */
const struct section options_sections[] = {
	{ "sensor", "Capture, classification and output of flow records" },
	{ "collector", "From flow records to views" },
	{ "report", "What a report shows" },
	{ "kafka", "The log" },
	{ "redis", "Counters" },
	{ "geo", "Countries and autonomous systems of sources" },
};
static_assert(
	sizeof(options_sections) / sizeof(options_sections[0]) == SECTIONS, "as the header says");

const struct program_row options_programs[] = {
	{ PROGRAM_SENSOR, "hoshimi-sensor",
		{ "-r FILE... [--dark PREFIX,...] (-o -|FILE|kafka | --summary) [OPTION]...",
			"-i IFACE... --dark PREFIX,... -o -|FILE|kafka [OPTION]...",
			"--list-interfaces" } },
	{ PROGRAM_COLLECTOR, "hoshimi-collector",
		{ "-i FILE|- [--report [--json|--csv]] [--print TOPIC] [OPTION]...",
			"[--brokers HOST:PORT,...] [--redis URL] [--views LIST] [OPTION]...",
			"--create-topics [--partitions COUNT] [--replication COPIES] "
			"[OPTION]...",
			"rebuild [--from TIME] [OPTION]..." } },
	{ PROGRAM_REPORT, "hoshimi-report",
		{ "[--redis URL] [--from TIME] [--to TIME] [--by LABEL] [OPTION]..." } },
};
static_assert(
	sizeof(options_programs) / sizeof(options_programs[0]) == PROGRAMS, "as the header says");

bool options_has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

const char *config_name(enum option_id id)
{
	return options_rows[id].key != NULL ? options_rows[id].key : options_rows[id].flag;
}

/* The row with this key, OPTION_COUNT when there is none. */
enum option_id options_find_key(const char *key)
{
	enum option_id id = 0;

	while (id < OPTION_COUNT &&
		(options_rows[id].key == NULL || strcmp(options_rows[id].key, key) != 0))
		id++;
	return id;
}

/* The secret that `key` names the file of (redis.password_file), OPTION_COUNT for none. */
enum option_id options_find_secret_file_key(const char *key)
{
	size_t size = strlen(key);
	size_t suffix = strlen(FILE_SUFFIX);
	enum option_id id = 0;

	if (size <= suffix || strcmp(key + size - suffix, FILE_SUFFIX) != 0)
		return OPTION_COUNT;
	for (; id < OPTION_COUNT; id++) {
		if (options_rows[id].type == TYPE_SECRET &&
			strlen(options_rows[id].key) == size - suffix &&
			strncmp(options_rows[id].key, key, size - suffix) == 0)
			return id;
	}
	return OPTION_COUNT;
}

/* Flag or letter, of one program; OPTION_COUNT when it has none such. */
enum option_id options_find_flag(const char *word, unsigned program)
{
	enum option_id id = 0;

	for (; id < OPTION_COUNT; id++) {
		const struct option_row *row = &options_rows[id];

		if ((row->programs & program) == 0 || row->flag == NULL)
			continue;
		if (strcmp(row->flag, word) == 0 ||
			(row->letter != NULL && strcmp(row->letter, word) == 0))
			break;
	}
	return id;
}

/* The key that is called `name` in some section: brokers leads to kafka.brokers. */
const char *options_find_key_anywhere(const char *name)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const char *dot =
			options_rows[i].key != NULL ? strchr(options_rows[i].key, '.') : NULL;

		if (dot != NULL && strcmp(dot + 1, name) == 0)
			return options_rows[i].key;
	}
	return NULL;
}

const struct section *options_find_section(const char *name)
{
	for (size_t i = 0; i < SECTIONS; i++) {
		if (strcmp(options_sections[i].name, name) == 0)
			return &options_sections[i];
	}
	return NULL;
}

bool options_is_in_section(const struct option_row *row, const char *section)
{
	size_t size = strlen(section);

	return row->key != NULL && strncmp(row->key, section, size) == 0 && row->key[size] == '.';
}

/* ", did you mean X?" or nothing, into a buffer that the caller has. */
const char *options_suggestion(char *buf, size_t size, const char *best)
{
	buf[0] = '\0';
	if (best != NULL)
		snprintf(buf, size, ", did you mean %s?", best);
	return buf;
}

/* redis.password: HOSHIMI_REDIS_PASSWORD */
const char *options_variable_name(char *buf, size_t size, const struct option_row *row)
{
	snprintf(buf, size, "HOSHIMI_%s", row->key);
	for (char *c = buf; *c != '\0'; c++)
		*c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
	return buf;
}

/* Cuts "_file" off a property's name; true when it was there. */
bool options_cut_file_suffix(char *key)
{
	size_t size = strlen(key);
	size_t suffix = strlen(FILE_SUFFIX);

	if (size < suffix || strcmp(key + size - suffix, FILE_SUFFIX) != 0)
		return false;
	key[size - suffix] = '\0';
	return true;
}
