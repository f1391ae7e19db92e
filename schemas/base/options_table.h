/*
 * The option table as rows, and how a row is found. Private to the options_*.c files.
 *
 * Threads: const data and pure functions.
 */
#pragma once

#include "schemas/base/options.h"

#define DEFAULT_HOST_NAME "(host name)" /* stands for what gethostname says at run time */
#define FILE_SUFFIX	  "_file"	/* of a key: the value lies in a file */
#define SHOWN_CHARS	  100		/* of a refused text; the start is enough to find it */
#define KIB		  UINT64_C(1024)
#define MIB		  (1024 * KIB)
#define GIB		  (1024 * MIB)
#define DAY		  UINT64_C(86400)
#define SECTIONS	  6
#define PROGRAMS	  3

enum option_type {
	TYPE_U64,
	TYPE_SIZE,
	TYPE_DURATION,
	TYPE_BOOL,
	TYPE_TEXT,
	TYPE_NAME,
	TYPE_UTC_OFFSET,
	TYPE_SECRET,
	TYPE_CHOICE,
	TYPE_LIST,
	TYPE_JOINED,
	TYPE_WORDS,
	TYPE_REPEAT,
	TYPE_MAP,
};

struct option_row {
	const char *key;
	const char *flag;
	const char *letter;
	enum option_type type;
	const char *standard;
	uint64_t min;
	uint64_t max;
	const char *unit;
	unsigned programs;
	const char *help;
};

extern const struct option_row options_rows[OPTION_COUNT];

/** In the order of the table, help and example. */
struct section {
	const char *name;
	const char *title;
};
extern const struct section options_sections[SECTIONS];

struct program_row {
	enum program program;
	const char *name;
	const char *usage[4];
};
extern const struct program_row options_programs[PROGRAMS];

bool options_has_prefix(const char *text, const char *prefix);

/** The row with this key, OPTION_COUNT when there is none. */
enum option_id options_find_key(const char *key);

/** The secret that `key` names the file of (redis.password_file), OPTION_COUNT for none. */
enum option_id options_find_secret_file_key(const char *key);

/** Flag or letter, of one program; OPTION_COUNT when it has none such. */
enum option_id options_find_flag(const char *word, unsigned program);

/** The key that is called `name` in some section: brokers leads to kafka.brokers. Or NULL. */
const char *options_find_key_anywhere(const char *name);

const struct section *options_find_section(const char *name);
bool options_is_in_section(const struct option_row *row, const char *section);

/** ", did you mean X?" or nothing (`best` NULL), into a buffer that the caller has. */
const char *options_suggestion(char *buf, size_t size, const char *best);

/** The environment variable of a secret; redis.password: HOSHIMI_REDIS_PASSWORD. */
const char *options_variable_name(char *buf, size_t size, const struct option_row *row);

/** Cuts "_file" off a property's name; true when it was there. */
bool options_cut_file_suffix(char *key);
