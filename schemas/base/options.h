/*
 * Options: one table (options.def) makes the command line, the YAML file, --help and the example.
 *
 * A value comes from the layers default < files in the order given < environment (secrets only)
 * < command line in the order given. Texts, lists and maps: the highest layer wins; a list given
 * several times within one layer grows, a map is merged by key over all layers.
 *
 * Secrets are never printed: log values through config_redacted. Passwords that come in through
 * the command line are overwritten there once they are read.
 *
 * Threads: one thread parses and reloads; readers may be anywhere in between. What an accessor
 * returned stays valid until the next successful config_reload or config_destroy.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/errors.h"

/** The programs of the table, a bit each. */
enum program { PROGRAM_SENSOR = 1, PROGRAM_COLLECTOR = 2, PROGRAM_REPORT = 4 };
#define PROGRAM_ALL (PROGRAM_SENSOR | PROGRAM_COLLECTOR | PROGRAM_REPORT)

/** OPT_ and the row's identifier, in table order. */
enum option_id {
#define OPTION(ident, ...) OPT_##ident,
#include "schemas/base/options.def"
#undef OPTION
	OPTION_COUNT
};

struct text_list {
	char **items;
	size_t count;
};

struct text_pair {
	char *key;
	char *value;
};

struct config;

/**
 * Makes the configuration of one program; nothing is set until config_parse.
 *
 * @return 0 or -ENOMEM
 */
int config_create(struct config **out, enum program program) MUST_CHECK;

/**
 * Reads the command line and the files and environment variables it leads to.
 *
 * Call once, with main's own argc and argv; argv[0] is skipped. Passwords in argv are overwritten.
 * Where help or version is asked for, files are not read.
 *
 * @param msg  on failure what was wrong, where, and the nearest known name
 * @return     0, FAIL_USAGE (command line), FAIL_CONFIG (files, environment) or -ENOMEM
 */
int config_parse(struct config *config, int argc, char **argv, struct message *msg) MUST_CHECK;

/**
 * Reads files, environment and secret files again and puts the command line on top.
 *
 * @return 0, or a code of config_parse; then every value is as before the call
 */
int config_reload(struct config *config, struct message *msg) MUST_CHECK;

/** Releases everything; accepts NULL. */
void config_destroy(struct config *config);

bool config_wants_help(const struct config *config);
bool config_wants_version(const struct config *config);

/** True when a file, the environment or the command line gave the value. */
bool config_is_set(const struct config *config, enum option_id id);

/** A number, a size in bytes or a duration in seconds; 0 when unset and without default. */
uint64_t config_u64(const struct config *config, enum option_id id);
bool config_bool(const struct config *config, enum option_id id);
/** A text, name, choice or secret; NULL when unset and without default. */
const char *config_text(const struct config *config, enum option_id id);
/** A list; never NULL, empty when unset and without default. */
const struct text_list *config_list(const struct config *config, enum option_id id);
/** A map's `count` pairs, sorted by key; NULL when there are none. */
const struct text_pair *config_pairs(const struct config *config, enum option_id id, size_t *count);

/**
 * Refuses a value that only the program itself can judge (a filter, a prefix), naming the place
 * it came from in the form of config_parse's own messages.
 *
 * @param format  the reason, without a newline; must not contain a secret
 * @return        FAIL_USAGE when the command line gave the value, else FAIL_CONFIG
 */
int config_refuse(const struct config *config, enum option_id id, struct message *msg,
	const char *format, ...) PRINTF_LIKE(4, 5);

/** The same for one item of a list, counted from 0. */
int config_refuse_item(const struct config *config, enum option_id id, size_t item,
	struct message *msg, const char *format, ...) PRINTF_LIKE(5, 6);

/** The key (`sensor.workers`), or the flag of an option that has no key. */
const char *config_name(enum option_id id);

/** True for a kafka.properties key whose value must never be printed. */
bool config_is_secret_property(const char *key);

/**
 * A value as it may be logged: secrets become `***`, so does USER:PASS in redis.url.
 *
 * @param value  the text; for kafka.properties `KEY=VALUE`; NULL reads as an empty text
 * @param buf    receives the text, cut at `size` bytes
 * @return       buf
 */
const char *config_redacted(enum option_id id, const char *value, char *buf, size_t size);

/** Prints usage and the program's options, at most 100 columns wide; 0 or -EIO. */
int config_print_help(const struct config *config, FILE *out) MUST_CHECK;

/** Prints a YAML file with every option of every section, commented out; 0 or -EIO. */
int config_dump_example(FILE *out) MUST_CHECK;
