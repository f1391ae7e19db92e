/*
 * All judging of texts is in check_text, all storing in options_value_put; the callers differ only
 * in the place that they put in front of a reason.
 */
#include "schemas/base/options_value.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/bytes.h"
#include "schemas/base/nearest.h"

#define UTC_OFFSET_MIN (-12 * 60) /* minutes; see redis.day_offset in the table */
#define UTC_OFFSET_MAX (14 * 60)

/* Settings of librdkafka that exactly-once, the partition function or our timing rest on. */
static const char *const owned_properties[] = {
	"acks",
	"auto.commit.interval.ms",
	"auto.offset.reset",
	"bootstrap.servers",
	"check.crcs",
	"delivery.timeout.ms",
	"enable.auto.commit",
	"enable.idempotence",
	"enable.partition.eof",
	"group.id",
	"isolation.level",
	"message.timeout.ms",
	"metadata.broker.list",
	"partition.assignment.strategy",
	"partitioner",
	"request.required.acks",
	"socket.timeout.ms",
	"transaction.timeout.ms",
	"transactional.id",
};

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(word, words[i]) == 0)
			return true;
	}
	return false;
}

/* ---- quantities ---- */

struct suffix {
	const char *text;
	uint64_t factor;
};

/* Largest first, so that the first that divides a number prints it. */
static const struct suffix count_suffixes[] = { { "", 1 }, { NULL, 0 } };
static const struct suffix size_suffixes[] = { { "GiB", GIB }, { "MiB", MIB }, { "KiB", KIB },
	{ "", 1 }, { NULL, 0 } };
static const struct suffix duration_suffixes[] = { { "d", DAY }, { "h", 3600 }, { "m", 60 },
	{ "s", 1 }, { "", 1 }, { NULL, 0 } };

static const struct suffix *suffixes_of(enum option_type type)
{
	if (type == TYPE_SIZE)
		return size_suffixes;
	return type == TYPE_DURATION ? duration_suffixes : count_suffixes;
}

bool options_is_quantity(enum option_type type)
{
	return type == TYPE_U64 || type == TYPE_SIZE || type == TYPE_DURATION;
}

const char *options_format_quantity(char *buf, size_t size, enum option_type type, uint64_t number)
{
	const struct suffix *suffix = suffixes_of(type);

	while (number % suffix->factor != 0 || (number == 0 && suffix->factor != 1))
		suffix++;
	snprintf(buf, size, "%llu%s", (unsigned long long)(number / suffix->factor), suffix->text);
	return buf;
}

/* FAIL_FORMAT: not digits and a known suffix. FAIL_LIMIT: does not fit 64 bits. */
int options_parse_quantity(const char *text, enum option_type type, uint64_t *out)
{
	const struct suffix *suffix = suffixes_of(type);
	const char *at = text;
	uint64_t number = 0;
	bool overflow = false;

	for (; isdigit((unsigned char)*at); at++) {
		overflow |= __builtin_mul_overflow(number, 10, &number);
		overflow |= __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number);
	}
	while (suffix->text != NULL && strcmp(suffix->text, at) != 0)
		suffix++;
	if (at == text || suffix->text == NULL)
		return FAIL_FORMAT;
	overflow |= __builtin_mul_overflow(number, suffix->factor, &number);
	if (overflow)
		return FAIL_LIMIT;
	*out = number;
	return 0;
}

static const char *quantity_form(enum option_type type)
{
	if (type == TYPE_SIZE)
		return "a size such as 65536, 64KiB, 64MiB or 1GiB";
	if (type == TYPE_DURATION)
		return "a duration such as 90, 90s, 5m, 6h or 14d";
	return "a whole number";
}

static int check_quantity(
	const struct option_row *row, const char *text, uint64_t *out, struct message *why)
{
	char min[32];
	char max[32];
	uint64_t number = 0;
	int rc = options_parse_quantity(text, row->type, &number);

	if (rc == FAIL_FORMAT) {
		message_set(why, "%.*s is not %s", SHOWN_CHARS, text, quantity_form(row->type));
		return rc;
	}
	if (rc == 0 && number >= row->min && number <= row->max) {
		*out = number;
		return 0;
	}
	message_set(why, "%.*s is out of range, %s to %s expected", SHOWN_CHARS, text,
		options_format_quantity(min, sizeof(min), row->type, row->min),
		options_format_quantity(max, sizeof(max), row->type, row->max));
	return FAIL_LIMIT;
}

/* ---- other texts ---- */

static int check_bool(const char *text, uint64_t *out, struct message *why)
{
	bool is_true = strcmp(text, "true") == 0;

	if (!is_true && strcmp(text, "false") != 0) {
		message_set(why, "%.*s is neither true nor false", SHOWN_CHARS, text);
		return FAIL_FORMAT;
	}
	*out = is_true;
	return 0;
}

bool options_is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

static int check_name(const struct option_row *row, const char *text, struct message *why)
{
	size_t size = strlen(text);
	bool is_good = size >= row->min && size <= row->max;

	for (size_t i = 0; i < size; i++)
		is_good = is_good && (unsigned char)text[i] < 0x80 && options_is_name_char(text[i]);
	if (is_good)
		return 0;
	message_set(why, "'%.*s' is not a name of %llu to %llu characters from A-Z a-z 0-9 . _ -",
		SHOWN_CHARS, text, (unsigned long long)row->min, (unsigned long long)row->max);
	return FAIL_FORMAT;
}

static int check_utc_offset(const char *text, struct message *why)
{
	static const char form[] = "+00:00";
	bool is_good = strlen(text) == strlen(form) && (text[0] == '+' || text[0] == '-');
	int minutes;

	for (size_t i = 1; is_good && form[i] != '\0'; i++)
		is_good = form[i] == ':' ? text[i] == ':' : isdigit((unsigned char)text[i]) != 0;
	if (is_good) {
		minutes = ((text[1] - '0') * 10 + (text[2] - '0')) * 60 + (text[4] - '0') * 10 +
			  (text[5] - '0');
		minutes = text[0] == '-' ? -minutes : minutes;
		is_good = text[4] < '6' && minutes >= UTC_OFFSET_MIN && minutes <= UTC_OFFSET_MAX;
	}
	if (is_good)
		return 0;
	message_set(why, "%.*s is not an offset such as +09:00, between -12:00 and +14:00",
		SHOWN_CHARS, text);
	return FAIL_FORMAT;
}

/* The next piece of `text` between separators, without blanks around it; false at the end. */
bool options_next_piece(const char **at, char separator, const char **piece, size_t *size)
{
	const char *end;

	if (*at == NULL)
		return false;
	end = strchr(*at, separator);
	*piece = *at;
	*size = end != NULL ? (size_t)(end - *at) : strlen(*at);
	*at = end != NULL ? end + 1 : NULL;
	for (; *size > 0 && isspace((unsigned char)**piece); (*size)--)
		(*piece)++;
	while (*size > 0 && isspace((unsigned char)(*piece)[*size - 1]))
		(*size)--;
	return true;
}

static int check_choice(const char *words, const char *text, size_t size, struct message *why)
{
	char meant[80];
	char copies[16][32]; /* more and longer words than any row has */
	char word[SHOWN_CHARS + 1];
	struct nearest nearest;
	const char *at = words;
	const char *piece;
	size_t piece_size;

	snprintf(word, sizeof(word), "%.*s", (int)(size < SHOWN_CHARS ? size : SHOWN_CHARS), text);
	nearest_init(&nearest, word);
	for (size_t i = 0; i < 16 && options_next_piece(&at, '|', &piece, &piece_size); i++) {
		if (piece_size == size && memcmp(piece, text, size) == 0)
			return 0;
		snprintf(copies[i], sizeof(copies[i]), "%.*s", (int)piece_size, piece);
		nearest_offer(&nearest, copies[i]);
	}
	message_set(why, "'%s' is none of %s%s", word, words,
		options_suggestion(meant, sizeof(meant), nearest_best(&nearest)));
	return FAIL_FORMAT;
}

/* Every piece of a comma separated list. */
static int check_pieces(const struct option_row *row, const char *text, struct message *why)
{
	bool is_restricted = strchr(row->unit, '|') != NULL;
	const char *at = text;
	const char *piece;
	size_t size;

	while (options_next_piece(&at, ',', &piece, &size)) {
		if (size == 0) {
			message_set(why, "'%.*s' has an empty item", SHOWN_CHARS, text);
			return FAIL_FORMAT;
		}
		if (is_restricted && check_choice(row->unit, piece, size, why) != 0)
			return FAIL_FORMAT;
	}
	return 0;
}

int options_check_property(const char *key, struct message *why)
{
	const size_t count = sizeof(owned_properties) / sizeof(owned_properties[0]);

	if (key[0] == '\0') {
		message_set(why, "a property needs a name");
		return FAIL_FORMAT;
	}
	if (!is_one_of(key, owned_properties, count))
		return 0;
	if (strcmp(key, "bootstrap.servers") == 0 || strcmp(key, "metadata.broker.list") == 0)
		message_set(why, "%s cannot be set here, it is kafka.brokers", key);
	else
		message_set(why, "%s cannot be set, Hoshimi decides it", key);
	return FAIL_FORMAT;
}

int options_check_not_empty(const char *text, struct message *why)
{
	if (text[0] != '\0')
		return 0;
	message_set(why, "must not be empty");
	return FAIL_FORMAT;
}

/* Is `text` a value of this row? Numbers come back in `number`; a secret is not quoted in `why`. */
static int check_text(const struct option_row *row, const char *key, const char *text,
	uint64_t *number, struct message *why)
{
	switch (row->type) {
	case TYPE_U64:
	case TYPE_SIZE:
	case TYPE_DURATION:
		return check_quantity(row, text, number, why);
	case TYPE_BOOL:
		return check_bool(text, number, why);
	case TYPE_NAME:
		return check_name(row, text, why);
	case TYPE_UTC_OFFSET:
		return check_utc_offset(text, why);
	case TYPE_CHOICE:
		return check_choice(row->unit, text, strlen(text), why);
	case TYPE_LIST:
	case TYPE_JOINED:
		return check_pieces(row, text, why);
	case TYPE_SECRET:
	case TYPE_WORDS:
	case TYPE_REPEAT:
		return options_check_not_empty(text, why);
	case TYPE_MAP:
		return options_check_property(key, why);
	case TYPE_TEXT:
		return 0;
	}
	return 0;
}

/* ---- values ---- */

static void list_fini(struct text_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct text_list){ 0 };
}

static int list_append(struct text_list *list, const char *item, size_t size)
{
	char **items = realloc(list->items, (list->count + 1) * sizeof(*items));

	if (items == NULL)
		return -ENOMEM;
	list->items = items;
	items[list->count] = strndup(item, size);
	if (items[list->count] == NULL)
		return -ENOMEM;
	list->count++;
	return 0;
}

void options_value_fini(struct value *value)
{
	for (size_t i = 0; i < value->pair_count; i++) {
		free(value->pairs[i].key);
		free(value->pairs[i].value);
	}
	free(value->pairs);
	list_fini(&value->list);
	list_fini(&value->item_places);
	free(value->text);
	free(value->place);
	*value = (struct value){ 0 };
}

void options_values_destroy(struct value *values)
{
	for (size_t i = 0; values != NULL && i < OPTION_COUNT; i++)
		options_value_fini(&values[i]);
	free(values);
}

/* Replaces a text that the caller owns. */
static int replace_text(char **text, const char *by)
{
	char *copy = strdup(by);

	if (copy == NULL)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static int append_item(struct value *value, const char *place, const char *item, size_t size)
{
	int rc = list_append(&value->list, item, size);

	if (rc == 0 && place != NULL)
		rc = list_append(&value->item_places, place, strlen(place));
	return rc;
}

static int append_pieces(struct value *value, const char *place, const char *text)
{
	const char *at = text;
	const char *piece;
	size_t size;
	int rc = 0;

	while (rc == 0 && options_next_piece(&at, ',', &piece, &size))
		rc = append_item(value, place, piece, size);
	return rc;
}

/* A joined list is kept as list too; the text is made of it again. */
static int join_list(struct value *value)
{
	struct buffer joined = { 0 };

	for (size_t i = 0; i < value->list.count; i++) {
		buffer_append_text(&joined, i > 0 ? "," : "");
		buffer_append_text(&joined, value->list.items[i]);
	}
	buffer_u8(&joined, '\0');
	if (joined.failed) {
		buffer_fini(&joined);
		return -ENOMEM;
	}
	free(value->text);
	value->text = (char *)joined.data;
	return 0;
}

/* Sets one pair, keeping the pairs sorted by key. */
static int put_pair(struct value *value, const char *key, const char *text)
{
	struct text_pair made = { 0 };
	struct text_pair *pairs;
	size_t at = 0;

	while (at < value->pair_count && strcmp(value->pairs[at].key, key) < 0)
		at++;
	if (at < value->pair_count && strcmp(value->pairs[at].key, key) == 0)
		return replace_text(&value->pairs[at].value, text);

	pairs = realloc(value->pairs, (value->pair_count + 1) * sizeof(*pairs));
	if (pairs == NULL)
		return -ENOMEM;
	value->pairs = pairs;
	made.key = strdup(key);
	made.value = strdup(text);
	if (made.key == NULL || made.value == NULL) {
		free(made.key);
		free(made.value);
		return -ENOMEM;
	}
	memmove(&pairs[at + 1], &pairs[at], (value->pair_count - at) * sizeof(*pairs));
	pairs[at] = made;
	value->pair_count++;
	return 0;
}

/* Opens the value for writing by a layer: what lower layers said goes, except of maps. */
int options_value_begin(
	struct value *value, const struct option_row *row, unsigned layer, const char *place)
{
	if (value->layer != layer && row->type != TYPE_MAP)
		options_value_fini(value);
	value->layer = layer;
	return place != NULL ? replace_text(&value->place, place) : 0;
}

/*
 * Checks a text and stores it. `key` is a map's. The reason has no place in it yet.
 * 0, -ENOMEM, or FAIL_FORMAT or FAIL_LIMIT with `why`.
 */
int options_value_put(struct value *value, enum option_id id, unsigned layer, const char *place,
	const char *key, const char *text, struct message *why)
{
	const struct option_row *row = &options_rows[id];
	uint64_t number = 0;
	int rc = check_text(row, key, text, &number, why);

	if (rc == 0)
		rc = options_value_begin(value, row, layer, place);
	if (rc != 0)
		return rc;
	switch (row->type) {
	case TYPE_U64:
	case TYPE_SIZE:
	case TYPE_DURATION:
	case TYPE_BOOL:
		value->number = number;
		return 0;
	case TYPE_TEXT:
	case TYPE_NAME:
	case TYPE_UTC_OFFSET:
	case TYPE_SECRET:
	case TYPE_CHOICE:
		return replace_text(&value->text, text);
	case TYPE_LIST:
		return append_pieces(value, place, text);
	case TYPE_JOINED:
		rc = append_pieces(value, place, text);
		return rc == 0 ? join_list(value) : rc;
	case TYPE_WORDS:
	case TYPE_REPEAT:
		return append_item(value, place, text, strlen(text));
	case TYPE_MAP:
		return put_pair(value, key, text);
	}
	return 0;
}
