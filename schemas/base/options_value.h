/*
 * One value of an option: which texts are one, and what is kept of them. Private to the options_*.c
 * files.
 *
 * Reasons are told without a place. Threads: plain values.
 */
#pragma once

#include "schemas/base/options_table.h"

enum layer {
	LAYER_DEFAULT = 0,
	LAYER_FILE = 1 /* and upwards */,
	LAYER_ENVIRONMENT = 0x10000,
	LAYER_LINE
};

struct value {
	unsigned layer; /* that wrote it last */
	uint64_t number;
	char *text;
	struct text_list list;
	struct text_pair *pairs;
	size_t pair_count;
	char *place;		      /* FILE:LINE:COLUMN, variable or flag; NULL for a default */
	struct text_list item_places; /* the same for each item of the list */
};

bool options_is_quantity(enum option_type type);
const char *options_format_quantity(char *buf, size_t size, enum option_type type, uint64_t number);

/** @return 0; FAIL_FORMAT: not digits and a known suffix; FAIL_LIMIT: does not fit 64 bits */
int options_parse_quantity(const char *text, enum option_type type, uint64_t *out);

bool options_is_name_char(char c);

/** The next piece of `*at` between separators, without blanks around it; false at the end. */
bool options_next_piece(const char **at, char separator, const char **piece, size_t *size);

/** @return 0, or FAIL_FORMAT with `why`: no key of kafka.properties that a user may set */
int options_check_property(const char *key, struct message *why);
int options_check_not_empty(const char *text, struct message *why);

/** Opens the value for writing by a layer: what lower layers said goes, except of maps. */
int options_value_begin(
	struct value *value, const struct option_row *row, unsigned layer, const char *place);

/**
 * Checks a text and stores it. `key` is a map's.
 *
 * @return 0, -ENOMEM, or FAIL_FORMAT or FAIL_LIMIT with `why`
 */
int options_value_put(struct value *value, enum option_id id, unsigned layer, const char *place,
	const char *key, const char *text, struct message *why);
void options_value_fini(struct value *value);

/** Releases an array of OPTION_COUNT values; accepts NULL. */
void options_values_destroy(struct value *values);
