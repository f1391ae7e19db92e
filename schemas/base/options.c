/*
 * The option table and everything made from it.
 *
 * The command line is cut into settings (row, text) first, each judged on its own, so that a
 * mistake there is reported before any file is opened. Values are then built layer by layer into
 * a fresh array: defaults, files, environment, settings. A reload builds another array in the
 * same way and puts it in place only when all of it is good.
 *
 * All judging of texts is in check_text, all storing in value_put; the callers differ only in the
 * place that they put in front of a reason.
 */
#include "schemas/base/options.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/bytes.h"
#include "schemas/base/config_yaml.h"
#include "schemas/base/nearest.h"

#define KIB		  UINT64_C(1024)
#define MIB		  (1024 * KIB)
#define GIB		  (1024 * MIB)
#define DAY		  UINT64_C(86400)
#define DEFAULT_HOST_NAME "(host name)" /* stands for what gethostname says at run time */
#define HOST_NAME_MAX_	  64		/* Linux, HOST_NAME_MAX; also the longest sensor name */
#define SECRET_BYTES_MAX  65536		/* a private key in PEM has a few thousand */
#define UTC_OFFSET_MIN	  (-12 * 60)	/* minutes; see redis.day_offset in the table */
#define UTC_OFFSET_MAX	  (14 * 60)
#define SHOWN_CHARS	  100 /* of a refused text; the start is enough to find it */
#define FILE_SUFFIX	  "_file"
#define PAGE_COLUMNS	  100
#define HELP_COLUMN	  36
#define HELP_INDENT	  "                                    " /* as wide */
static_assert(sizeof(HELP_INDENT) == HELP_COLUMN + 1, "help texts are aligned");

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

static const struct option_row rows[] = {
#define OPTION(ident, key, flag, letter, type, standard, min, max, unit, programs, help)           \
	[OPT_##ident] = { key, flag, letter, TYPE_##type, standard, min, max, unit, programs,      \
		help },
#include "schemas/base/options.def"
#undef OPTION
};
static_assert(sizeof(rows) / sizeof(rows[0]) == OPTION_COUNT, "a row for every option");

/* In the order of the table, help and example. */
static const struct section {
	const char *name;
	const char *title;
} sections[] = {
	{ "sensor", "Capture, classification and output of flow records" },
	{ "collector", "From flow records to views" },
	{ "report", "What a report shows" },
	{ "kafka", "The log" },
	{ "redis", "Counters" },
	{ "geo", "Countries and autonomous systems of sources" },
};
#define SECTIONS (sizeof(sections) / sizeof(sections[0]))

static const struct program_row {
	enum program program;
	const char *name;
	const char *usage[3];
} programs[] = {
	{ PROGRAM_SENSOR, "hoshimi-sensor",
		{ "-r FILE... [--dark PREFIX,...] (-o -|FILE|kafka | --summary) [OPTION]...",
			"-i IFACE... --dark PREFIX,... -o -|FILE|kafka [OPTION]...",
			"--list-interfaces" } },
	{ PROGRAM_COLLECTOR, "hoshimi-collector",
		{ "-i FILE|- [--report [--json|--csv]] [--print TOPIC] [OPTION]...",
			"[--brokers HOST:PORT,...] [--redis URL] [--views LIST] [OPTION]...",
			"--create-topics [--partitions COUNT] [--replication COPIES] "
			"[OPTION]..." } },
	{ PROGRAM_REPORT, "hoshimi-report",
		{ "[--redis URL] [--from TIME] [--to TIME] [--by LABEL] [OPTION]..." } },
};
#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))

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

/* Parts of a property's name that mark its value as a secret. */
static const char *const secret_parts[] = { "password", "secret", "oauth", ".key" };

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

/* One value as the command line gave it. */
struct setting {
	enum option_id id;
	bool from_file; /* text is the path of a file that holds the value */
	char *key;	/* of a map's pair, else NULL */
	char *text;
	char *place; /* as the user wrote it: `--workers`, `--set sensor.workers` */
};

struct config {
	const struct program_row *program; /* constant after create */
	struct setting *settings;	   /* constant after parse */
	size_t setting_count;
	struct value *values; /* OPTION_COUNT of them; replaced by reload */
};

/* ---- names ---- */

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(word, words[i]) == 0)
			return true;
	}
	return false;
}

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

const char *config_name(enum option_id id)
{
	return rows[id].key != NULL ? rows[id].key : rows[id].flag;
}

/* Does a part of a secret's name begin within the first `size` bytes? */
static bool names_secret(const char *text, size_t size)
{
	for (size_t i = 0; i < sizeof(secret_parts) / sizeof(secret_parts[0]); i++) {
		const char *found = strcasestr(text, secret_parts[i]);

		if (found != NULL && (size_t)(found - text) < size)
			return true;
	}
	return false;
}

bool config_is_secret_property(const char *key)
{
	return names_secret(key, strlen(key));
}

/* The row with this key, OPTION_COUNT when there is none. */
static enum option_id find_key(const char *key)
{
	enum option_id id = 0;

	while (id < OPTION_COUNT && (rows[id].key == NULL || strcmp(rows[id].key, key) != 0))
		id++;
	return id;
}

/* The secret that `key` names the file of (redis.password_file), OPTION_COUNT for none. */
static enum option_id find_secret_file_key(const char *key)
{
	size_t size = strlen(key);
	size_t suffix = strlen(FILE_SUFFIX);
	enum option_id id = 0;

	if (size <= suffix || strcmp(key + size - suffix, FILE_SUFFIX) != 0)
		return OPTION_COUNT;
	for (; id < OPTION_COUNT; id++) {
		if (rows[id].type == TYPE_SECRET && strlen(rows[id].key) == size - suffix &&
			strncmp(rows[id].key, key, size - suffix) == 0)
			return id;
	}
	return OPTION_COUNT;
}

/* Flag or letter, of one program; OPTION_COUNT when it has none such. */
static enum option_id find_flag(const char *word, unsigned program)
{
	enum option_id id = 0;

	for (; id < OPTION_COUNT; id++) {
		const struct option_row *row = &rows[id];

		if ((row->programs & program) == 0 || row->flag == NULL)
			continue;
		if (strcmp(row->flag, word) == 0 ||
			(row->letter != NULL && strcmp(row->letter, word) == 0))
			break;
	}
	return id;
}

/* The key that is called `name` in some section: brokers leads to kafka.brokers. */
static const char *find_key_anywhere(const char *name)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const char *dot = rows[i].key != NULL ? strchr(rows[i].key, '.') : NULL;

		if (dot != NULL && strcmp(dot + 1, name) == 0)
			return rows[i].key;
	}
	return NULL;
}

static const struct section *find_section(const char *name)
{
	for (size_t i = 0; i < SECTIONS; i++) {
		if (strcmp(sections[i].name, name) == 0)
			return &sections[i];
	}
	return NULL;
}

static bool is_in_section(const struct option_row *row, const char *section)
{
	size_t size = strlen(section);

	return row->key != NULL && strncmp(row->key, section, size) == 0 && row->key[size] == '.';
}

/* ", did you mean X?" or nothing, into a buffer that the caller has. */
static const char *suggestion(char *buf, size_t size, const char *best)
{
	buf[0] = '\0';
	if (best != NULL)
		snprintf(buf, size, ", did you mean %s?", best);
	return buf;
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

static bool is_quantity(enum option_type type)
{
	return type == TYPE_U64 || type == TYPE_SIZE || type == TYPE_DURATION;
}

static const char *format_quantity(char *buf, size_t size, enum option_type type, uint64_t number)
{
	const struct suffix *suffix = suffixes_of(type);

	while (number % suffix->factor != 0 || (number == 0 && suffix->factor != 1))
		suffix++;
	snprintf(buf, size, "%llu%s", (unsigned long long)(number / suffix->factor), suffix->text);
	return buf;
}

/* FAIL_FORMAT: not digits and a known suffix. FAIL_LIMIT: does not fit 64 bits. */
static int parse_quantity(const char *text, enum option_type type, uint64_t *out)
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
	int rc = parse_quantity(text, row->type, &number);

	if (rc == FAIL_FORMAT) {
		message_set(why, "%.*s is not %s", SHOWN_CHARS, text, quantity_form(row->type));
		return rc;
	}
	if (rc == 0 && number >= row->min && number <= row->max) {
		*out = number;
		return 0;
	}
	message_set(why, "%.*s is out of range, %s to %s expected", SHOWN_CHARS, text,
		format_quantity(min, sizeof(min), row->type, row->min),
		format_quantity(max, sizeof(max), row->type, row->max));
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

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

static int check_name(const struct option_row *row, const char *text, struct message *why)
{
	size_t size = strlen(text);
	bool is_good = size >= row->min && size <= row->max;

	for (size_t i = 0; i < size; i++)
		is_good = is_good && (unsigned char)text[i] < 0x80 && is_name_char(text[i]);
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
static bool next_piece(const char **at, char separator, const char **piece, size_t *size)
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
	for (size_t i = 0; i < 16 && next_piece(&at, '|', &piece, &piece_size); i++) {
		if (piece_size == size && memcmp(piece, text, size) == 0)
			return 0;
		snprintf(copies[i], sizeof(copies[i]), "%.*s", (int)piece_size, piece);
		nearest_offer(&nearest, copies[i]);
	}
	message_set(why, "'%s' is none of %s%s", word, words,
		suggestion(meant, sizeof(meant), nearest_best(&nearest)));
	return FAIL_FORMAT;
}

/* Every piece of a comma separated list. */
static int check_pieces(const struct option_row *row, const char *text, struct message *why)
{
	bool is_restricted = strchr(row->unit, '|') != NULL;
	const char *at = text;
	const char *piece;
	size_t size;

	while (next_piece(&at, ',', &piece, &size)) {
		if (size == 0) {
			message_set(why, "'%.*s' has an empty item", SHOWN_CHARS, text);
			return FAIL_FORMAT;
		}
		if (is_restricted && check_choice(row->unit, piece, size, why) != 0)
			return FAIL_FORMAT;
	}
	return 0;
}

static int check_property(const char *key, struct message *why)
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

static int check_not_empty(const char *text, struct message *why)
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
		return check_not_empty(text, why);
	case TYPE_MAP:
		return check_property(key, why);
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

static void value_fini(struct value *value)
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

static void values_destroy(struct value *values)
{
	for (size_t i = 0; values != NULL && i < OPTION_COUNT; i++)
		value_fini(&values[i]);
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

	while (rc == 0 && next_piece(&at, ',', &piece, &size))
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
static int value_begin(
	struct value *value, const struct option_row *row, unsigned layer, const char *place)
{
	if (value->layer != layer && row->type != TYPE_MAP)
		value_fini(value);
	value->layer = layer;
	return place != NULL ? replace_text(&value->place, place) : 0;
}

/*
 * Checks a text and stores it. `key` is a map's. The reason has no place in it yet.
 * 0, -ENOMEM, or FAIL_FORMAT or FAIL_LIMIT with `why`.
 */
static int value_put(struct value *value, enum option_id id, unsigned layer, const char *place,
	const char *key, const char *text, struct message *why)
{
	const struct option_row *row = &rows[id];
	uint64_t number = 0;
	int rc = check_text(row, key, text, &number, why);

	if (rc == 0)
		rc = value_begin(value, row, layer, place);
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

/* A secret from a file, without the line end that editors leave. */
static int read_secret(char **out, const char *path, struct message *why)
{
	struct message reason = { "" };
	char *text = NULL;
	size_t size = 0;
	int rc = config_yaml_read_file(&text, &size, path, SECRET_BYTES_MAX, &reason);

	if (rc == 0 && strlen(text) != size) {
		message_set(&reason, "contains a NUL byte");
		rc = FAIL_CONFIG;
	}
	if (rc == 0) {
		if (size > 0 && text[size - 1] == '\n')
			text[--size] = '\0';
		if (size > 0 && text[size - 1] == '\r')
			text[--size] = '\0';
	}
	if (rc == 0 && size == 0) {
		message_set(&reason, "is empty");
		rc = FAIL_CONFIG;
	}
	if (rc != 0) {
		message_set(why, "%.300s: %.200s", path, reason.text);
		free(text);
		return rc;
	}
	*out = text;
	return 0;
}

/* ---- layers ---- */

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
		return value_put(&build->values[id], id, build->layer, place, key, text, why);
	if ((rows[id].programs & build->program->program) == 0)
		return 0;
	if (key != NULL)
		rc = check_property(key, why);
	if (rc == 0)
		rc = read_secret(&secret, text, why);
	if (rc == 0)
		rc = value_put(&build->values[id], id, build->layer, place, key, secret, why);
	free(secret);
	return rc;
}

/* Cuts "_file" off a property's name; true when it was there. */
static bool cut_file_suffix(char *key)
{
	size_t size = strlen(key);
	size_t suffix = strlen(FILE_SUFFIX);

	if (size < suffix || strcmp(key + size - suffix, FILE_SUFFIX) != 0)
		return false;
	key[size - suffix] = '\0';
	return true;
}

static int put_default(struct build *build, enum option_id id)
{
	const char *text = rows[id].standard;
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
			*c = (unsigned char)*c < 0x80 && is_name_char(*c) ? *c : '-';
		text = host;
	}
	rc = value_put(&build->values[id], id, LAYER_DEFAULT, NULL, NULL, text, &why);
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
		return fail_in_file(
			build, node->at, "%s: lines `key: value` are expected", rows[id].key);
	for (size_t i = 0; i < node->count && rc == 0; i++) {
		const struct config_yaml_node *item = &node->items[i];
		struct message why;
		char *key = strdup(item->key);
		bool from_file;

		if (key == NULL)
			return -ENOMEM;
		from_file = cut_file_suffix(key);
		if (check_property(key, &why) != 0)
			rc = fail_in_file(build, item->key_at, "%s: %s", rows[id].key, why.text);
		else
			rc = put_node(build, id, item, key, from_file);
		free(key);
	}
	return rc;
}

static int put_sequence(struct build *build, enum option_id id, const struct config_yaml_node *node)
{
	enum option_type type = rows[id].type;
	char place[300];
	int rc;

	if (type != TYPE_LIST && type != TYPE_JOINED && type != TYPE_WORDS)
		return fail_in_file(
			build, node->at, "%s: a single value is expected", rows[id].key);
	if (type == TYPE_JOINED && node->count == 0)
		return fail_in_file(build, node->at, "%s: must not be empty", rows[id].key);
	place_text(place, sizeof(place), build, node);
	rc = value_begin(&build->values[id], &rows[id], build->layer, place);
	for (size_t i = 0; i < node->count && rc == 0; i++)
		rc = put_node(build, id, &node->items[i], NULL, false);
	return rc;
}

static int put_option(
	struct build *build, enum option_id id, const struct config_yaml_node *node, bool from_file)
{
	if (rows[id].type == TYPE_MAP)
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

	if (find_key_anywhere(key) != NULL)
		return find_key_anywhere(key);
	nearest_init(&nearest, key);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (is_in_section(&rows[i], section))
			nearest_offer(&nearest, rows[i].key + skip);
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

		if (has_prefix(key, node->key) && strcmp(key + size, FILE_SUFFIX) == 0)
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
		id = find_key(name);
		if (id < OPTION_COUNT && rows[id].type == TYPE_SECRET &&
			find_twin(section, node) != NULL)
			return fail_in_file(build, node->key_at,
				"%s and %s" FILE_SUFFIX " exclude each other", name, name);
		if (id < OPTION_COUNT)
			return put_option(build, id, node, false);
		id = find_secret_file_key(name);
		if (id < OPTION_COUNT)
			return put_option(build, id, node, true);
	}
	return fail_in_file(build, node->key_at, "unknown key %.64s in section %s%s", node->key,
		section->key,
		suggestion(meant, sizeof(meant), nearest_in_section(section->key, node->key)));
}

static int fail_section(const struct build *build, const struct config_yaml_node *node)
{
	struct nearest nearest;
	const char *best = find_key_anywhere(node->key);
	const char *dot = strchr(node->key, '.');
	char meant[80];

	if (dot != NULL && find_key(node->key) < OPTION_COUNT)
		return fail_in_file(build, node->key_at,
			"%s is written as `%.*s:` and, indented below, `%s:`", node->key,
			(int)(dot - node->key), node->key, dot + 1);
	nearest_init(&nearest, node->key);
	for (size_t i = 0; i < SECTIONS; i++)
		nearest_offer(&nearest, sections[i].name);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (rows[i].key != NULL && strchr(rows[i].key, '.') == NULL)
			nearest_offer(&nearest, rows[i].key);
	}
	if (best == NULL)
		best = nearest_best(&nearest);
	return fail_in_file(build, node->key_at, "unknown section %.64s%s", node->key,
		suggestion(meant, sizeof(meant), best));
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
			strchr(node->key, '.') == NULL ? find_key(node->key) : OPTION_COUNT;

		if (id < OPTION_COUNT)
			rc = put_option(build, id, node, false);
		else if (find_section(node->key) != NULL)
			rc = read_section(build, node);
		else
			rc = fail_section(build, node);
	}
	config_yaml_destroy(root);
	return rc;
}

/* ---- environment ---- */

/* redis.password: HOSHIMI_REDIS_PASSWORD */
static const char *variable_name(char *buf, size_t size, const struct option_row *row)
{
	snprintf(buf, size, "HOSHIMI_%s", row->key);
	for (char *c = buf; *c != '\0'; c++)
		*c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
	return buf;
}

static int read_environment(struct build *build)
{
	for (enum option_id id = 0; id < OPTION_COUNT; id++) {
		struct message why = { "" };
		char name[80];
		const char *text;
		int rc;

		if (rows[id].type != TYPE_SECRET)
			continue;
		text = getenv(variable_name(name, sizeof(name), &rows[id]));
		if (text == NULL || text[0] == '\0')
			continue;
		rc = value_put(&build->values[id], id, build->layer, name, NULL, text, &why);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ---- all layers ---- */

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
static int build_values(
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
		values_destroy(build.values);
		return rc;
	}
	*out = build.values;
	return 0;
}

/* ---- command line ---- */

struct line {
	struct config *config;
	char **words;
	int count;
	int at; /* the word to be read next */
	struct message *msg;
};

/* -, -5 and +09:00 are values; -x and --long are options. */
static bool looks_like_option(const char *word)
{
	return word[0] == '-' && (isalpha((unsigned char)word[1]) || word[1] == '-');
}

/* The part of a Redis URL that names user and password; NULL when there is none. */
static const char *find_userinfo(const char *url, size_t *size)
{
	const char *scheme = strstr(url, "://");
	const char *start = scheme != NULL ? scheme + 3 : url;
	const char *end =
		strrchr(start, '@'); /* the last: a password may contain the sign itself */

	if (end == NULL || has_prefix(url, "unix://"))
		return NULL;
	*size = (size_t)(end - start);
	return start;
}

/* Overwrites what must not stand in process lists; the configuration has its own copy by now. */
static void wipe_secrets(enum option_id id, const char *key, bool from_file, char *text)
{
	size_t size = 0;
	const char *userinfo;
	const char *colon;

	if (from_file)
		return;
	if (rows[id].type == TYPE_SECRET || (key != NULL && config_is_secret_property(key)))
		memset(text, 'x', strlen(text));
	userinfo = id == OPT_REDIS_URL ? find_userinfo(text, &size) : NULL;
	if (userinfo == NULL)
		return;
	colon = memchr(userinfo, ':', size);
	if (colon == NULL) /* no user: all of it is the password */
		memset(text + (userinfo - text), 'x', size);
	else
		memset(text + (colon + 1 - text), 'x', size - (size_t)(colon + 1 - userinfo));
}

static void setting_fini(struct setting *setting)
{
	free(setting->key);
	free(setting->text);
	free(setting->place);
}

/* Takes ownership of the texts in `made`, whatever happens. */
static int take_setting(struct config *config, struct setting made)
{
	struct setting *settings =
		realloc(config->settings, (config->setting_count + 1) * sizeof(*settings));

	if (settings != NULL)
		config->settings = settings;
	if (settings == NULL || made.text == NULL || made.place == NULL) {
		setting_fini(&made);
		return -ENOMEM;
	}
	settings[config->setting_count++] = made;
	return 0;
}

/* Judges a value on its own and keeps it. `place` is how the user named the option. */
static int add_setting(struct line *line, enum option_id id, const char *place, const char *key,
	bool from_file, char *text)
{
	struct message why = { "" };
	struct value scratch = { 0 };
	int rc = 0;

	if (rows[id].type == TYPE_SECRET && !from_file) {
		char variable[80];

		wipe_secrets(id, key, from_file, text);
		message_set(line->msg,
			"%s: a secret is not taken from the command line, where process lists show "
			"it; "
			"use %s" FILE_SUFFIX " or the environment variable %s",
			place, rows[id].key, variable_name(variable, sizeof(variable), &rows[id]));
		return FAIL_USAGE;
	}
	if (from_file)
		rc = key != NULL ? check_property(key, &why) : check_not_empty(text, &why);
	else
		rc = value_put(&scratch, id, LAYER_LINE, place, key, text, &why);
	value_fini(&scratch);
	if (rc == 0)
		rc = take_setting(line->config, (struct setting){ .id = id,
							.from_file = from_file,
							.key = key != NULL ? strdup(key) : NULL,
							.text = strdup(text),
							.place = strdup(place) });
	wipe_secrets(id, key, from_file, text);
	if (rc == 0 || rc == -ENOMEM)
		return rc;
	message_set(line->msg, "%.150s: %.440s", place, why.text);
	return FAIL_USAGE;
}

static int fail_unknown_key(struct line *line, const char *name)
{
	struct nearest nearest;
	const char *best = find_key_anywhere(name); /* the section forgotten */
	char meant[80];

	nearest_init(&nearest, name);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (rows[i].key != NULL)
			nearest_offer(&nearest, rows[i].key);
	}
	if (best == NULL)
		best = nearest_best(&nearest);
	message_set(line->msg, "--set: unknown key %.64s%s", name,
		suggestion(meant, sizeof(meant), best));
	return FAIL_USAGE;
}

/* kafka.properties.KEY[_file]=VALUE */
static int set_pair(struct line *line, const char *place, const char *name, char *text)
{
	char *key = strdup(name + strlen(rows[OPT_KAFKA_PROPERTIES].key) + 1);
	bool from_file;
	int rc;

	if (key == NULL)
		return -ENOMEM;
	from_file = cut_file_suffix(key);
	rc = add_setting(line, OPT_KAFKA_PROPERTIES, place, key, from_file, text);
	free(key);
	return rc;
}

/* `name` is KEY, `text` points at VALUE inside the word. */
static int set_key(struct line *line, const char *name, char *text)
{
	static const char map_key[] = "kafka.properties";
	enum option_id id = find_key(name);
	enum option_id secret = find_secret_file_key(name);
	char place[160];

	snprintf(place, sizeof(place), "--set %.140s", name);
	if (id == OPT_KAFKA_PROPERTIES) {
		message_set(line->msg, "--set %s: write kafka.properties.KEY=VALUE", name);
		return FAIL_USAGE;
	}
	if (id < OPTION_COUNT)
		return add_setting(line, id, place, NULL, false, text);
	if (secret < OPTION_COUNT)
		return add_setting(line, secret, place, NULL, true, text);
	if (has_prefix(name, map_key) && name[strlen(map_key)] == '.')
		return set_pair(line, place, name, text);
	return fail_unknown_key(line, name);
}

static int parse_set(struct line *line, char *word)
{
	char *equals = strchr(word, '=');
	char *name;
	int rc;

	if (equals == NULL || equals == word) {
		message_set(line->msg, "--set %.*s: KEY=VALUE expected", SHOWN_CHARS, word);
		return FAIL_USAGE;
	}
	name = strndup(word, (size_t)(equals - word));
	if (name == NULL)
		return -ENOMEM;
	rc = set_key(line, name, equals + 1);
	free(name);
	return rc;
}

static const char *program_with_flag(const char *word)
{
	for (size_t i = 0; i < PROGRAMS; i++) {
		if (find_flag(word, programs[i].program) < OPTION_COUNT)
			return programs[i].name;
	}
	return NULL;
}

/* The flag that was meant: by spelling, a long one with one dash, or a letter and its value. */
static const char *nearest_flag(const char *word, unsigned program)
{
	struct nearest nearest;
	char letter[3] = { word[0], word[1], '\0' };
	char with_dash[SHOWN_CHARS];

	snprintf(with_dash, sizeof(with_dash), "%s%s", word[1] != '-' ? "-" : "", word);
	if (strlen(word) == strlen(letter)) /* a letter has no spelling to get wrong */
		return NULL;
	nearest_init(&nearest, with_dash);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (rows[i].flag != NULL && (rows[i].programs & program) != 0)
			nearest_offer(&nearest, rows[i].flag);
	}
	if (nearest_best(&nearest) != NULL)
		return nearest_best(&nearest);
	if (word[1] != '-' && find_flag(letter, program) < OPTION_COUNT)
		return rows[find_flag(letter, program)].letter;
	return NULL;
}

static int fail_unknown_flag(struct line *line, const char *word)
{
	const char *other = program_with_flag(word);
	const char *best = nearest_flag(word, line->config->program->program);
	char meant[80];

	if (other != NULL)
		message_set(line->msg, "unknown option %.*s (%s has it)%s", SHOWN_CHARS, word,
			other, suggestion(meant, sizeof(meant), best));
	else if (best != NULL && word[1] != '-' && best[1] != '-')
		message_set(line->msg, "unknown option %.*s, did you mean %s %.*s?", SHOWN_CHARS,
			word, best, SHOWN_CHARS, word + 2);
	else
		message_set(line->msg, "unknown option %.*s%s", SHOWN_CHARS, word,
			suggestion(meant, sizeof(meant), best));
	return FAIL_USAGE;
}

/* All words up to the next option; at least one. */
static int parse_words(struct line *line, enum option_id id, const char *flag, char *attached)
{
	int rc = attached != NULL ? add_setting(line, id, flag, NULL, false, attached) : 0;
	int first = line->at;

	while (rc == 0 && line->at < line->count && !looks_like_option(line->words[line->at]))
		rc = add_setting(line, id, flag, NULL, false, line->words[line->at++]);
	if (rc != 0 || attached != NULL || line->at > first)
		return rc;
	message_set(line->msg, "%s: %s is missing", flag, rows[id].unit);
	return FAIL_USAGE;
}

static int parse_value(struct line *line, enum option_id id, const char *flag, char *attached)
{
	char *text = attached;

	if (text == NULL && line->at < line->count && !looks_like_option(line->words[line->at]))
		text = line->words[line->at++];
	if (text == NULL) {
		message_set(line->msg,
			"%s: %s is missing (a value that begins with a dash is written %s=VALUE)",
			flag, rows[id].unit, rows[id].flag);
		return FAIL_USAGE;
	}
	return id == OPT_SET ? parse_set(line, text)
			     : add_setting(line, id, flag, NULL, false, text);
}

static int parse_flag(struct line *line, const char *flag, char *attached)
{
	enum option_id id = find_flag(flag, line->config->program->program);
	char yes[] = "true";

	if (id == OPTION_COUNT)
		return fail_unknown_flag(line, flag);
	if (rows[id].type == TYPE_WORDS)
		return parse_words(line, id, flag, attached);
	if (rows[id].type != TYPE_BOOL)
		return parse_value(line, id, flag, attached);
	if (attached != NULL) {
		message_set(
			line->msg, "%s=%.*s: %s takes no value", flag, SHOWN_CHARS, attached, flag);
		return FAIL_USAGE;
	}
	return add_setting(line, id, flag, NULL, false, yes);
}

static int parse_word(struct line *line)
{
	char *word = line->words[line->at++];
	char *equals = has_prefix(word, "--") ? strchr(word, '=') : NULL;
	char shown[SHOWN_CHARS + 1];
	char *flag;
	int rc;

	if (!looks_like_option(word) || strcmp(word, "--") == 0) {
		/* a URL whose --redis was forgotten is still a URL */
		message_set(line->msg, "unexpected word '%s'",
			config_redacted(OPT_REDIS_URL, word, shown, sizeof(shown)));
		return FAIL_USAGE;
	}
	flag = equals != NULL ? strndup(word, (size_t)(equals - word)) : strdup(word);
	if (flag == NULL)
		return -ENOMEM;
	rc = parse_flag(line, flag, equals != NULL ? equals + 1 : NULL);
	free(flag);
	return rc;
}

/* ---- help and example ---- */

/* Prints words from column `at` on, going to a new line with `indent` where they do not fit. */
static void print_wrapped(FILE *out, const char *indent, size_t at, const char *text)
{
	bool is_first = true;

	while (*text != '\0') {
		size_t size = strcspn(text, " ");

		if (!is_first && at + 1 + size > PAGE_COLUMNS) {
			fprintf(out, "\n%s", indent);
			at = strlen(indent);
			is_first = true;
		}
		fprintf(out, "%s%.*s", is_first ? "" : " ", (int)size, text);
		at += size + (is_first ? 0 : 1);
		is_first = false;
		text += size;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

/* "1 to 64; default 1", as far as it says something. */
static const char *describe(char *buf, size_t size, const struct option_row *row)
{
	char min[32];
	char max[32];
	char standard[32];
	uint64_t number = 0;

	buf[0] = '\0';
	if (is_quantity(row->type)) {
		if (parse_quantity(row->standard, row->type, &number) == 0)
			snprintf(buf, size, "%s to %s; default %s",
				format_quantity(min, sizeof(min), row->type, row->min),
				format_quantity(max, sizeof(max), row->type, row->max),
				format_quantity(standard, sizeof(standard), row->type, number));
	} else if (row->type == TYPE_NAME) {
		snprintf(buf, size, "%llu to %llu of A-Z a-z 0-9 . _ -%s%s",
			(unsigned long long)row->min, (unsigned long long)row->max,
			row->standard != NULL ? "; default " : "",
			row->standard != NULL ? row->standard : "");
	} else if (row->standard != NULL && strcmp(row->standard, "false") != 0) {
		snprintf(buf, size, "default %s", row->standard);
	}
	return buf;
}

/* What stands behind the flag: nothing, `FILE...`, `PREFIX[,...]`, `THREADS`. */
static const char *argument(char *buf, size_t size, const struct option_row *row)
{
	const char *more = "";

	buf[0] = '\0';
	if (row->type == TYPE_WORDS)
		more = "...";
	if (row->type == TYPE_LIST || row->type == TYPE_JOINED)
		more = "[,...]";
	if (row->type == TYPE_BOOL)
		snprintf(buf, size, "%s", row->flag != NULL ? "" : " true|false");
	else if (row->unit != NULL)
		snprintf(buf, size, " %s%s", row->unit, more);
	return buf;
}

/* `--max-flows` says max_flows by itself; `--redis` does not say redis.url. */
static bool flag_tells_key(const struct option_row *row)
{
	const char *key = row->key != NULL ? strchr(row->key, '.') : NULL;
	const char *flag = row->flag;

	if (key == NULL || flag == NULL)
		return true;
	key++;
	flag += 2;
	while (*key != '\0' && (*key == *flag || (*key == '_' && *flag == '-'))) {
		key++;
		flag++;
	}
	return *key == '\0' && *flag == '\0';
}

static void print_row(FILE *out, const struct option_row *row)
{
	char left[120];
	char unit[80];
	char facts[160];
	char text[600];
	const char *letter = row->letter != NULL ? row->letter : "";
	int at;

	argument(unit, sizeof(unit), row);
	describe(facts, sizeof(facts), row);
	if (row->flag != NULL)
		snprintf(left, sizeof(left), "  %2s%c %s%s", letter,
			row->letter != NULL ? ',' : ' ', row->flag, unit);
	else
		snprintf(left, sizeof(left), "      %s%s", row->key, unit);
	if (!flag_tells_key(row)) {
		size_t size = strlen(facts);

		snprintf(facts + size, sizeof(facts) - size, "%skey %s", size > 0 ? "; " : "",
			row->key);
	}
	snprintf(text, sizeof(text), facts[0] != '\0' ? "%s [%s]" : "%s", row->help, facts);
	at = fprintf(out, "%s", left);
	if (at >= HELP_COLUMN)
		fprintf(out, "\n%*s", HELP_COLUMN, "");
	else
		fprintf(out, "%*s", HELP_COLUMN - at, "");
	print_wrapped(out, HELP_INDENT, HELP_COLUMN, text);
}

static void print_section(FILE *out, unsigned program, const struct section *section)
{
	bool has_heading = false;

	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if ((rows[i].programs & program) == 0 || !is_in_section(&rows[i], section->name))
			continue;
		if (!has_heading)
			fprintf(out, "\n%s (%s:)\n", section->title, section->name);
		has_heading = true;
		print_row(out, &rows[i]);
	}
}

int config_print_help(const struct config *config, FILE *out)
{
	const struct program_row *program = config->program;

	for (size_t i = 0; i < sizeof(program->usage) / sizeof(program->usage[0]); i++) {
		if (program->usage[i] != NULL)
			fprintf(out, "%s %s %s\n", i == 0 ? "usage:" : "      ", program->name,
				program->usage[i]);
	}
	for (size_t i = 0; i < SECTIONS; i++)
		print_section(out, program->program, &sections[i]);
	fprintf(out, "\nGeneral\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (rows[i].key == NULL || strchr(rows[i].key, '.') == NULL)
			print_row(out, &rows[i]);
	}
	fprintf(out,
		"\nNames with a dot are keys: section and key of the file, or --set KEY=VALUE.\n"
		"Exit status: 0 done, 1 failed, 2 usage, 3 configuration.\n");
	return ferror(out) ? -EIO : 0;
}

/* A text that YAML reads back as it is. */
static void print_scalar(FILE *out, const char *text, size_t size)
{
	bool is_plain = size > 0 && (isalnum((unsigned char)text[0]) || text[0] == '/');
	const char *quote = is_plain ? "" : "\"";

	fprintf(out, "%s%.*s%s", quote, (int)size, text, quote);
}

static void print_list(FILE *out, const char *text, char separator)
{
	const char *at = text;
	const char *piece;
	const char *between = "";
	size_t size;

	fputc('[', out);
	while (next_piece(&at, separator, &piece, &size)) {
		fputs(between, out);
		print_scalar(out, piece, size);
		between = ", ";
	}
	fputs("]\n", out);
}

/* The default, or where there is none a value of the right form. */
static void print_example_value(FILE *out, const struct option_row *row)
{
	bool has_default = row->standard != NULL && strcmp(row->standard, DEFAULT_HOST_NAME) != 0;
	const char *text = has_default ? row->standard : row->unit;

	if (row->type == TYPE_LIST || row->type == TYPE_JOINED || row->type == TYPE_WORDS) {
		print_list(out, text, ',');
	} else if (row->type == TYPE_MAP) {
		fprintf(out, "\n  #  %s\n", text);
	} else {
		print_scalar(out, text, has_default ? strlen(text) : strcspn(text, "|"));
		fputc('\n', out);
	}
}

static void print_example_row(
	FILE *out, const struct option_row *row, const char *indent, const char *key)
{
	char comment[16];
	char text[600];
	char facts[160];
	char variable[80];
	int at = snprintf(comment, sizeof(comment), "%s# ", indent);

	fprintf(out, "\n%s", comment);
	print_wrapped(out, comment, (size_t)at, row->help);
	describe(facts, sizeof(facts), row);
	snprintf(text, sizeof(text), "%s%s%s%s%s", row->unit != NULL ? row->unit : "true|false",
		facts[0] != '\0' ? "; " : "", facts, row->flag != NULL ? "; " : "",
		row->flag != NULL ? row->flag : "");
	if (row->type == TYPE_SECRET)
		snprintf(text, sizeof(text),
			"%s; or %s" FILE_SUFFIX ": FILE; or the environment variable %s", row->unit,
			key, variable_name(variable, sizeof(variable), row));
	fputs(comment, out);
	print_wrapped(out, comment, (size_t)at, text);
	fprintf(out, "%s#%s: ", indent, key);
	print_example_value(out, row);
}

int config_dump_example(FILE *out)
{
	fprintf(out, "# Configuration of Hoshimi, for all its programs: hoshimi-sensor -c FILE.\n"
		     "# Every option stands here with its default, or else with a value of the "
		     "right form.\n"
		     "# To set one, take away the # before its name. Made from "
		     "schemas/base/options.def.\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (rows[i].key != NULL && strchr(rows[i].key, '.') == NULL)
			print_example_row(out, &rows[i], "", rows[i].key);
	}
	for (size_t s = 0; s < SECTIONS; s++) {
		size_t skip = strlen(sections[s].name) + 1;

		fprintf(out, "\n# ---- %s ----\n%s:\n", sections[s].title, sections[s].name);
		for (size_t i = 0; i < OPTION_COUNT; i++) {
			if (is_in_section(&rows[i], sections[s].name))
				print_example_row(out, &rows[i], "  ", rows[i].key + skip);
		}
	}
	return ferror(out) ? -EIO : 0;
}

/* ---- the interface ---- */

int config_create(struct config **out, enum program program)
{
	struct config *config = calloc(1, sizeof(*config));
	struct message why;
	int rc;

	if (config == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < PROGRAMS; i++) {
		if (programs[i].program == program)
			config->program = &programs[i];
	}
	assert(config->program != NULL);
	rc = build_values(config, false, &config->values, &why);
	if (rc != 0) {
		config_destroy(config);
		return rc;
	}
	*out = config;
	return 0;
}

int config_parse(struct config *config, int argc, char **argv, struct message *msg)
{
	struct line line = { .config = config, .words = argv, .count = argc, .at = 1, .msg = msg };
	struct value *values = NULL;
	int rc = 0;

	while (line.at < line.count && rc == 0)
		rc = parse_word(&line);
	if (rc == 0)
		rc = build_values(config, false, &values, msg);
	if (rc != 0)
		return rc;
	values_destroy(config->values);
	config->values = values;
	if (config_wants_help(config) || config_wants_version(config))
		return 0;
	return config_reload(config, msg);
}

int config_reload(struct config *config, struct message *msg)
{
	struct value *values = NULL;
	int rc = build_values(config, true, &values, msg);

	if (rc != 0)
		return rc;
	values_destroy(config->values);
	config->values = values;
	return 0;
}

void config_destroy(struct config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->setting_count; i++)
		setting_fini(&config->settings[i]);
	free(config->settings);
	values_destroy(config->values);
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
	assert(is_quantity(rows[id].type));
	return config->values[id].number;
}

bool config_bool(const struct config *config, enum option_id id)
{
	assert(rows[id].type == TYPE_BOOL);
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
	assert(rows[id].type == TYPE_MAP);
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

const char *config_redacted(enum option_id id, const char *value, char *buf, size_t size)
{
	const char *text = value != NULL ? value : "";
	const char *equals = rows[id].type == TYPE_MAP ? strchr(text, '=') : NULL;
	size_t hidden = 0;
	const char *userinfo = id == OPT_REDIS_URL ? find_userinfo(text, &hidden) : NULL;

	snprintf(buf, size, "%s", text);
	if (rows[id].type == TYPE_SECRET && text[0] != '\0')
		snprintf(buf, size, "***");
	if (userinfo != NULL)
		snprintf(buf, size, "%.*s***%s", (int)(userinfo - text), text, userinfo + hidden);
	if (equals != NULL && names_secret(text, (size_t)(equals - text)))
		snprintf(buf, size, "%.*s=***", (int)(equals - text), text);
	return buf;
}
