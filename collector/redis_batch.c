/*
 * Minutes are first rolled up to hours and days here, so that the script touches each key once a
 * batch. Counters come sorted by dimension, bucket and label, so those of one hash lie together:
 * each hash costs a read and a write per batch, however many labels it holds. The actors of a counter
 * go with it in both forms that the script may need: the words of a small sketch, ready to be stored,
 * and the elements for a sketch that has a key of its own.
 */
#include "collector/redis_batch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collector/gaps.h"
#include "collector/hyperloglog.h"
#include "collector/redis_place.h"

#define FIELDS_MAX   1000 /* counters an operation: Lua's unpack reaches about 8,000 values */
#define ELEMENTS_MAX 1000 /* more actors of one counter go as a finished sketch */

static_assert(ELEMENTS_MAX * sizeof(uint64_t) < HYPERLOGLOG_BYTES,
	"the script tells elements from a sketch by their size");

struct builder {
	struct redis_batch *batch;
	struct tally *tally;
	const char *prefix;
	const struct redis_lifetimes *lifetimes;
	struct count_map known;	    /* hash of a key's text → its number */
	enum period period;	    /* being built */
	uint64_t *keys;		    /* counters of the period, ascending */
	struct tally_actor *actors; /* those of the counters, in the same order, each once */
	size_t actor_count;
	struct redis_words elements; /* of the block being built */
	struct buffer word;	     /* an argument in the making */
	bool failed;
};

struct redis_lifetimes redis_lifetimes_of(const struct config *config)
{
	const char *offset = config_text(config, OPT_REDIS_DAY_OFFSET);
	int hours = 0, minutes = 0;
	char sign = '+';

	/* its form, [+-]HH:MM, was checked when it was read */
	(void)sscanf(offset, "%c%2d:%2d", &sign, &hours, &minutes);
	return (struct redis_lifetimes){
		.seconds = { config_u64(config, OPT_REDIS_MINUTE_LIFETIME),
			config_u64(config, OPT_REDIS_HOUR_LIFETIME),
			config_u64(config, OPT_REDIS_DAY_LIFETIME) },
		.day_offset_s = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60),
	};
}

/* ---- operations ---- */

static void op(struct builder *b, char letter)
{
	redis_words_add(&b->batch->ops, &letter, 1);
}

static void count_word(struct builder *b, size_t count)
{
	redis_words_int(&b->batch->ops, (int64_t)count);
}

static void text_word(struct builder *b, const char *text)
{
	redis_words_text(&b->batch->ops, text);
}

static void number_word(struct builder *b, uint64_t value)
{
	redis_words_int(&b->batch->ops, (int64_t)value);
}

/* The key's number for the script, making it known first. */
static void target(struct builder *b, const char *key, char type, uint64_t lifetime_s)
{
	uint64_t *number = count_map_at(&b->known, XXH3_64bits(key, strlen(key)));

	if (number == NULL) {
		b->failed = true;
		return;
	}
	if (*number == 0) {
		redis_words_text(&b->batch->keys, key);
		buffer_u8(&b->batch->types, (uint8_t)type);
		*number = b->batch->keys.count + 2; /* behind watermarks and scratch */
	}
	number_word(b, *number);
	number_word(b, lifetime_s);
}

/* The key of a bucket of the period being built. */
static void period_op(struct builder *b, char letter, int64_t start_s, const char *name, char type)
{
	char key[REDIS_KEY_BYTES];

	op(b, letter);
	count_word(b, 1);
	redis_bucket_key(key, b->prefix, 0, period_name(b->period), start_s, name);
	target(b, key, type, b->lifetimes->seconds[b->period]);
}

/* The keys of a minute's minute, hour and day: for what is little. */
static void bucket_targets(struct builder *b, int64_t minute_s, const char *name, char type)
{
	char key[REDIS_KEY_BYTES];

	for (unsigned period = 0; period < PERIOD_COUNT; period++) {
		int64_t start =
			period_start((enum period)period, minute_s, b->lifetimes->day_offset_s);

		redis_bucket_key(key, b->prefix, 0, period_name((enum period)period), start, name);
		target(b, key, type, b->lifetimes->seconds[period]);
	}
}

static void bucket_op(struct builder *b, char letter, int64_t minute_s, const char *name, char type)
{
	op(b, letter);
	count_word(b, PERIOD_COUNT);
	bucket_targets(b, minute_s, name, type);
}

static void plain_op(struct builder *b, char letter, const char *name, char type)
{
	char key[REDIS_KEY_BYTES];

	op(b, letter);
	count_word(b, 1);
	target(b, redis_key(key, b->prefix, 0, name), type, 0);
}

/* ---- counters of the period ---- */

static uint64_t rolled_up(const struct builder *b, uint64_t packed)
{
	struct tally_key key = tally_unpack(packed);

	key.bucket_s = period_start(b->period, key.bucket_s, b->lifetimes->day_offset_s);
	return tally_pack(&key);
}

static int roll_up_counters(struct builder *b, struct count_map *sums)
{
	const struct tally_value *value;
	size_t cursor = 0;
	uint64_t packed;
	int rc = count_map_init(sums, sizeof(struct tally_value));

	while (rc == 0 && (value = count_map_next(&b->tally->counters, &cursor, &packed)) != NULL) {
		struct tally_value *sum = count_map_at(sums, rolled_up(b, packed));

		if (sum == NULL)
			return -ENOMEM;
		sum->packets += value->packets;
		sum->bytes += value->bytes;
	}
	if (rc == 0)
		b->keys = count_map_keys(sums);
	return rc != 0 ? rc : b->keys != NULL ? 0 : -ENOMEM;
}

static int compare_actors(const void *a, const void *b)
{
	const struct tally_actor *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->actor < y->actor ? -1 : x->actor > y->actor;
}

/* Pairs of (counter, actor) sorted, each once; from minute to minute an actor comes again. */
static size_t sort_pairs(struct tally_actor *actors, size_t count)
{
	size_t kept = 0;

	qsort(actors, count, sizeof(*actors), compare_actors);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || compare_actors(&actors[kept - 1], &actors[i]) != 0)
			actors[kept++] = actors[i];
	return kept;
}

static int roll_up_actors(struct builder *b)
{
	size_t count = b->tally->actor_count;

	b->actors = malloc((count + 1) * sizeof(*b->actors));
	if (b->actors == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		b->actors[i] = (struct tally_actor){ rolled_up(b, b->tally->actors[i].key),
			b->tally->actors[i].actor };
	b->actor_count = count > 0 ? sort_pairs(b->actors, count) : 0;
	return 0;
}

/* ---- actors of one counter: an argument of the script, its forms are in apply.lua ---- */

struct element {
	uint64_t actor;
	struct hyperloglog_place place;
};

/* By register, the greatest rank first. */
static int compare_elements(const void *a, const void *b)
{
	const struct element *x = a, *y = b;

	if (x->place.index != y->place.index)
		return x->place.index < y->place.index ? -1 : 1;
	if (x->place.rank != y->place.rank)
		return x->place.rank > y->place.rank ? -1 : 1;
	return x->actor < y->actor ? -1 : x->actor > y->actor;
}

/* Keeps one element for each register: the others would not change a sketch. */
static size_t elements_of(struct element *out, const struct tally_actor *actors, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		out[i] = (struct element){ actors[i].actor,
			hyperloglog_place_of(&actors[i].actor, sizeof(actors[i].actor)) };
	if (count > 1)
		qsort(out, count, sizeof(*out), compare_elements);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || out[kept - 1].place.index != out[i].place.index)
			out[kept++] = out[i];
	return kept;
}

static void append_sketch(struct buffer *word, const struct tally_actor *actors, size_t count)
{
	uint8_t hll[HYPERLOGLOG_BYTES];

	hyperloglog_init(hll);
	for (size_t i = 0; i < count; i++)
		hyperloglog_add(hll, &actors[i].actor, sizeof(actors[i].actor));
	buffer_append(word, hll, sizeof(hll));
}

/* "PACKETS BYTES WORDS"; no words when there are too many, or no actors. */
static void counter_word(struct builder *b, const struct tally_value *value,
	const struct element *elements, size_t count)
{
	char word[HYPERLOGLOG_WORD_BYTES];

	buffer_clear(&b->word);
	buffer_format(&b->word, "%" PRIu64 " %" PRIu64 " ", value->packets, value->bytes);
	for (size_t i = 0; count <= HYPERLOGLOG_WORDS_MAX && i < count; i++) {
		hyperloglog_word(elements[i].place, word);
		buffer_append(&b->word, word, sizeof(word));
	}
	redis_words_add(&b->batch->ops, b->word.data, b->word.size);
	b->failed |= b->word.failed;
}

/* Adds the counter's word to the operation, and its elements to those of the block. */
static void counter_words(struct builder *b, const struct tally_value *value,
	const struct tally_actor *actors, size_t count)
{
	struct element elements[ELEMENTS_MAX];

	buffer_clear(&b->word);
	if (count > ELEMENTS_MAX) {
		append_sketch(&b->word, actors, count);
		redis_words_add(&b->elements, b->word.data, b->word.size);
		counter_word(b, value, NULL, count);
		return;
	}
	count = elements_of(elements, actors, count);
	for (size_t i = 0; i < count; i++)
		buffer_append(&b->word, &elements[i].actor, sizeof(elements[i].actor));
	redis_words_add(&b->elements, b->word.data, b->word.size);
	b->failed |= b->word.failed;
	counter_word(b, value, elements, count);
}

/* ---- counters of one hash ---- */

static void append_words(struct redis_words *to, const struct redis_words *from)
{
	size_t start = 0;

	for (size_t i = 0; i < from->count; i++) {
		size_t size = from->ends[i] - start;

		/* words may all be empty, and then there are no bytes to point into */
		redis_words_add(to, size > 0 ? from->bytes.data + start : NULL, size);
		start = from->ends[i];
	}
	to->failed |= from->failed;
}

/* The hashes of a block: one of counters, or three when its fields are for people to read. */
static void block_targets(struct builder *b, int64_t start_s, enum dimension dimension,
	const struct redis_place *place)
{
	static const char *const plain[] = { "packets", "bytes", "sketches" };
	static const char *const filed[] = { "counters" };
	bool has_blocks = redis_place_has_blocks(dimension);
	size_t count = has_blocks ? 1 : 3;
	char name[REDIS_KEY_BYTES], key[REDIS_KEY_BYTES];

	count_word(b, count);
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s:%s", has_blocks ? filed[i] : plain[i],
			place->block);
		redis_bucket_key(key, b->prefix, 0, period_name(b->period), start_s, name);
		target(b, key, 'h', b->lifetimes->seconds[b->period]);
	}
	text_word(b, redis_bucket_key(
			     key, b->prefix, 0, period_name(b->period), start_s, place->sketch));
}

/* Counters that lie together; `at` is where their actors begin. @return where they end */
static size_t add_block(
	struct builder *b, struct count_map *sums, const uint64_t *keys, size_t count, size_t at)
{
	struct tally_key key = tally_unpack(keys[0]);
	struct redis_place place;

	redis_place_of_key(&place, b->tally, b->period, &key);
	op(b, 'C');
	block_targets(b, key.bucket_s, key.dimension, &place);
	count_word(b, count);
	for (size_t i = 0; i < count; i++) {
		key = tally_unpack(keys[i]);
		redis_place_of_key(&place, b->tally, b->period, &key);
		text_word(b, place.field);
	}
	redis_words_clear(&b->elements);
	for (size_t i = 0; i < count; i++) {
		size_t end = at;

		while (end < b->actor_count && b->actors[end].key == keys[i])
			end++;
		counter_words(b, count_map_at(sums, keys[i]), &b->actors[at], end - at);
		at = end;
	}
	append_words(&b->batch->ops, &b->elements);
	return at;
}

static bool same_hash(const struct builder *b, uint64_t x, uint64_t y)
{
	struct tally_key left = tally_unpack(x), right = tally_unpack(y);

	return left.bucket_s == right.bucket_s &&
	       redis_place_block_id(b->period, &left) == redis_place_block_id(b->period, &right);
}

/* Names of block hashes of one bucket, so that readers find them. */
static void add_block_names(struct builder *b, const uint64_t *keys, size_t count)
{
	struct redis_place place;
	size_t names = 1;

	for (size_t i = 1; i < count; i++)
		names += !same_hash(b, keys[i - 1], keys[i]);
	period_op(b, 'S', tally_unpack(keys[0]).bucket_s, "blocks", 'e');
	count_word(b, names);
	for (size_t i = 0; i < count; i++) {
		struct tally_key key = tally_unpack(keys[i]);

		if (i > 0 && same_hash(b, keys[i - 1], keys[i]))
			continue;
		redis_place_of_key(&place, b->tally, b->period, &key);
		text_word(b, place.block);
	}
}

static void add_blocks(struct builder *b, size_t count)
{
	for (size_t i = 0, end; i < count; i = end) {
		struct tally_key first = tally_unpack(b->keys[i]);

		for (end = i + 1; end < count; end++) {
			struct tally_key key = tally_unpack(b->keys[end]);

			if (key.dimension != first.dimension || key.bucket_s != first.bucket_s)
				break;
		}
		if (redis_place_has_blocks(first.dimension))
			add_block_names(b, &b->keys[i], end - i);
	}
}

static void add_hashes(struct builder *b, struct count_map *sums)
{
	size_t at = 0;

	for (size_t i = 0, end; i < sums->count; i = end) {
		for (end = i + 1; end < sums->count && end - i < FIELDS_MAX; end++)
			if (!same_hash(b, b->keys[i], b->keys[end]))
				break;
		at = add_block(b, sums, &b->keys[i], end - i, at);
	}
}

static int add_counters(struct builder *b)
{
	struct count_map sums = { 0 };
	int rc = roll_up_counters(b, &sums);

	if (rc == 0)
		rc = roll_up_actors(b);
	if (rc == 0) {
		add_hashes(b, &sums);
		add_blocks(b, sums.count);
	}
	free(b->keys);
	free(b->actors);
	b->keys = NULL;
	b->actors = NULL;
	count_map_fini(&sums);
	return rc;
}

static void add_as_names(struct builder *b)
{
	size_t cursor = 0;
	uint64_t asn;

	if (b->tally->as_names.count == 0)
		return;
	plain_op(b, 'T', "as_names", 'h');
	count_word(b, b->tally->as_names.count);
	while (count_map_next(&b->tally->as_names, &cursor, &asn) != NULL) {
		number_word(b, asn);
		text_word(
			b, b->tally->names
				   .items[*(uint64_t *)count_map_at(&b->tally->as_names, asn) - 1]);
	}
}

/* Readers need no configuration of the collector's: which days and how long stands beside the counters. */
static const struct {
	const char *field;
	enum period period; /* PERIOD_COUNT: where days begin */
} lifetime_fields[] = {
	{ "minute", PERIOD_MINUTE },
	{ "hour", PERIOD_HOUR },
	{ "day", PERIOD_DAY },
	{ "day_offset", PERIOD_COUNT },
};

#define LIFETIME_FIELDS (sizeof(lifetime_fields) / sizeof(lifetime_fields[0]))

static void add_lifetimes(struct builder *b)
{
	if (tally_is_empty(b->tally))
		return;
	plain_op(b, 'T', "lifetimes", 'h');
	count_word(b, LIFETIME_FIELDS);
	for (size_t i = 0; i < LIFETIME_FIELDS; i++) {
		enum period period = lifetime_fields[i].period;

		text_word(b, lifetime_fields[i].field);
		redis_words_int(&b->batch->ops, period == PERIOD_COUNT
							? b->lifetimes->day_offset_s
							: (int64_t)b->lifetimes->seconds[period]);
	}
}

static void keep_lifetime(void *context, const char *field, const char *value)
{
	struct redis_lifetimes *lifetimes = context;

	for (size_t i = 0; i < LIFETIME_FIELDS; i++) {
		if (strcmp(lifetime_fields[i].field, field) != 0)
			continue;
		if (lifetime_fields[i].period == PERIOD_COUNT)
			lifetimes->day_offset_s = strtoll(value, NULL, 10);
		else
			lifetimes->seconds[lifetime_fields[i].period] = strtoull(value, NULL, 10);
	}
}

int redis_lifetimes_read(
	struct redis_lifetimes *lifetimes, struct redis_store *store, struct message *msg)
{
	char key[REDIS_KEY_BYTES];

	return redis_store_hash(store, redis_key(key, redis_store_prefix(store), 0, "lifetimes"),
		keep_lifetime, lifetimes, msg);
}

/* ---- ledgers ---- */

static void add_extreme(
	struct builder *b, char letter, int64_t minute_s, const char *field, int64_t value)
{
	if (value == AVRO_NULL_LONG || value < 0)
		return;
	bucket_op(b, letter, minute_s, "ledger", 'h');
	count_word(b, 1);
	text_word(b, field);
	number_word(b, (uint64_t)value);
}

static void add_monitored(
	struct builder *b, int64_t minute_s, const char *sensor, const char *what, int64_t value)
{
	char field[ORIGIN_TEXT_BYTES + 32];

	if (value == AVRO_NULL_LONG || value < 0)
		return;
	snprintf(field, sizeof(field), "%s:%s", sensor, what);
	bucket_op(b, 'X', minute_s, "sensors", 'h');
	count_word(b, 1);
	text_word(b, field);
	number_word(b, (uint64_t)value);
}

/* An interval of the minute in ms; what reaches beyond the minute is cut off. */
static void add_interval(
	struct builder *b, const struct tally_ledger *ledger, const int64_t interval[2])
{
	int64_t minute_s = ledger->minute_ms / 1000;
	int64_t from = interval[0] / 1000000 - ledger->minute_ms,
		to = interval[1] / 1000000 - ledger->minute_ms;
	int64_t addresses = ledger->books.monitored_addresses;
	char key[REDIS_KEY_BYTES];

	from = from < 0 ? 0 : from;
	to = to > WINDOW_MS ? WINDOW_MS : to;
	if (to <= from)
		return;
	op(b, 'O');
	count_word(b, 1 + PERIOD_COUNT);
	redis_bucket_key(key, b->prefix, 0, period_name(PERIOD_MINUTE), minute_s, "observed");
	target(b, key, 'h', b->lifetimes->seconds[PERIOD_MINUTE]);
	bucket_targets(b, minute_s, "ledger", 'h');
	text_word(b, tally_sensor(b->tally, ledger->sensor));
	number_word(b, (uint64_t)from);
	number_word(b, (uint64_t)to);
	number_word(b, addresses > 0 ? (uint64_t)addresses : 0);
}

static void add_gap(struct builder *b, const struct tally_ledger *ledger)
{
	char field[ORIGIN_TEXT_BYTES + 32];

	if (ledger->books.gap_from_ns == AVRO_NULL_LONG)
		return;
	snprintf(field, sizeof(field), "%s:%" PRId64, tally_sensor(b->tally, ledger->sensor),
		ledger->books.gap_from_ns);
	plain_op(b, 'T', "sensor_gaps", 'h');
	count_word(b, 1);
	text_word(b, field);
	redis_words_int(&b->batch->ops, ledger->books.gap_to_ns);
}

static void add_ledger(struct builder *b, const struct tally_ledger *ledger)
{
	const char *sensor = tally_sensor(b->tally, ledger->sensor);
	int64_t minute_s = ledger->minute_ms / 1000;

	bucket_op(b, 'H', minute_s, "ledger", 'h');
	count_word(b, tally_book_count);
	for (size_t i = 0; i < tally_book_count; i++) {
		text_word(b, tally_books[i].name);
		number_word(b, (uint64_t)tally_book_value(&ledger->books, i));
	}
	add_extreme(b, 'N', minute_s, "first_ns", ledger->books.first_ns);
	add_extreme(b, 'X', minute_s, "last_ns", ledger->books.last_ns);
	/* a sensor is there also when it does not say how many addresses it watches */
	add_monitored(b, minute_s, sensor, "seen", 1);
	add_monitored(b, minute_s, sensor, "addresses", ledger->books.monitored_addresses);
	add_monitored(b, minute_s, sensor, "ipv6_prefixes", ledger->books.monitored_ipv6_prefixes);
	for (size_t i = 0; i < ledger->interval_count; i++)
		add_interval(b, ledger, ledger->intervals[i]);
	add_gap(b, ledger);
}

/* Which buckets exist: one sorted set a period. */
static int add_buckets(struct builder *b)
{
	struct count_map starts;
	int rc = count_map_init(&starts, 0);
	size_t cursor = 0;
	uint64_t packed, start;
	char name[64];

	for (size_t i = 0; rc == 0 && i < b->tally->ledger_count; i++) {
		start = (uint64_t)period_start(b->period, b->tally->ledgers[i].minute_ms / 1000,
			b->lifetimes->day_offset_s);
		rc = count_map_at(&starts, start) != NULL ? 0 : -ENOMEM;
	}
	while (rc == 0 && count_map_next(&b->tally->counters, &cursor, &packed) != NULL) {
		start = (uint64_t)tally_unpack(rolled_up(b, packed)).bucket_s;
		rc = count_map_at(&starts, start) != NULL ? 0 : -ENOMEM;
	}
	if (rc == 0 && starts.count > 0) {
		snprintf(name, sizeof(name), "buckets:%s", period_name(b->period));
		plain_op(b, 'Z', name, 'z');
		count_word(b, starts.count);
		cursor = 0;
		while (count_map_next(&starts, &cursor, &start) != NULL)
			redis_words_int(&b->batch->ops, (int64_t)start);
	}
	count_map_fini(&starts);
	return rc;
}

static void add_poison(struct builder *b, uint32_t partition)
{
	if (b->tally->poison == 0)
		return;
	plain_op(b, 'H', "poison", 'h');
	count_word(b, 1);
	number_word(b, partition);
	number_word(b, b->tally->poison);
}

static void clear(struct redis_batch *batch)
{
	redis_words_clear(&batch->keys);
	redis_words_clear(&batch->ops);
	buffer_clear(&batch->types);
	buffer_append_text(&batch->types, "hs"); /* watermarks, scratch */
}

int redis_batch_build(struct redis_batch *batch, struct tally *tally, const char *prefix,
	const struct redis_lifetimes *lifetimes, uint32_t partition)
{
	struct builder b = {
		.batch = batch, .tally = tally, .prefix = prefix, .lifetimes = lifetimes
	};
	int rc = count_map_init(&b.known, sizeof(uint64_t));

	if (rc != 0)
		return rc;
	clear(batch);
	for (b.period = PERIOD_MINUTE; rc == 0 && b.period < PERIOD_COUNT; b.period++) {
		rc = add_counters(&b);
		if (rc == 0)
			rc = add_buckets(&b);
	}
	add_as_names(&b);
	add_lifetimes(&b);
	for (size_t i = 0; i < tally->ledger_count; i++)
		add_ledger(&b, &tally->ledgers[i]);
	add_poison(&b, partition);
	count_map_fini(&b.known);
	buffer_fini(&b.word);
	redis_words_fini(&b.elements);
	if (rc == 0 && (b.failed || batch->keys.failed || batch->ops.failed || batch->types.failed))
		rc = -ENOMEM;
	return rc;
}

void redis_batch_log_gap(
	struct redis_batch *batch, const char *prefix, uint32_t partition, int64_t from, int64_t to)
{
	char key[REDIS_KEY_BYTES], text[GAP_TEXT_BYTES];
	struct gap gap = { partition, from, to };

	redis_words_text(&batch->keys, redis_key(key, prefix, 0, "gaps"));
	buffer_u8(&batch->types, 'l');
	redis_words_text(&batch->ops, "R");
	redis_words_int(&batch->ops, 1);
	redis_words_int(&batch->ops, (int64_t)batch->keys.count + 2);
	redis_words_int(&batch->ops, 0);
	redis_words_int(&batch->ops, 1);
	gap_text(&gap, text);
	redis_words_text(&batch->ops, text);
}

void redis_batch_fini(struct redis_batch *batch)
{
	redis_words_fini(&batch->keys);
	redis_words_fini(&batch->ops);
	buffer_fini(&batch->types);
}
