/*
 * Minutes are first rolled up to hours and days here, so that the script touches each key once a
 * batch. Counters come sorted by dimension, bucket and label, so those of one hash lie together:
 * each hash costs a read and a write per batch, however many labels it holds.
 */
#include "collector/redis_batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collector/hyperloglog.h"
#include "schemas/base/json.h"

#define BLOCK_BYTES 64	 /* "service:backscatter:icmp6:1023" */
#define PFADD_MAX   1000 /* more actors of one counter go as a finished sketch */

struct builder {
	struct redis_batch *batch;
	struct tally *tally;
	const char *prefix;
	const struct redis_lifetimes *lifetimes;
	struct count_map known; /* hash of a key's text → its number */
	enum period period;	/* being built */
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

/* ---- counters ---- */

static bool has_blocks(enum dimension dimension)
{
	return dimension == DIM_SERVICE || dimension == DIM_ASN;
}

static void block_name(char *out, size_t size, const struct tally_key *key)
{
	char protocol[PROTOCOL_TEXT_BYTES];

	if (key->dimension == DIM_SERVICE)
		snprintf(out, size, "service:%s:%s:%d", role_name(tally_service_role(key->label)),
			protocol_name(tally_service_protocol(key->label), protocol),
			tally_service_port(key->label) >> REDIS_BLOCK_BITS);
	else if (key->dimension == DIM_ASN)
		snprintf(out, size, "asn:%u", key->label >> REDIS_BLOCK_BITS);
	else
		snprintf(out, size, "%s", tally_dimension_name(key->dimension));
}

static void field_word(struct builder *b, const struct tally_key *key)
{
	char text[LABEL_TEXT_BYTES];

	if (key->dimension == DIM_SERVICE)
		redis_words_int(&b->batch->ops, tally_service_port(key->label));
	else
		text_word(b, tally_label(b->tally, key->dimension, key->label, text));
}

static bool same_hash(uint64_t a, uint64_t b)
{
	struct tally_key x = tally_unpack(a), y = tally_unpack(b);
	char name_x[BLOCK_BYTES], name_y[BLOCK_BYTES];

	if (x.dimension != y.dimension || x.bucket_s != y.bucket_s)
		return false;
	if (!has_blocks(x.dimension))
		return true;
	block_name(name_x, sizeof(name_x), &x);
	block_name(name_y, sizeof(name_y), &y);
	return strcmp(name_x, name_y) == 0;
}

static void add_hash(struct builder *b, struct count_map *sums, const uint64_t *keys, size_t count,
	const char block[BLOCK_BYTES])
{
	struct tally_key first = tally_unpack(keys[0]);
	char name[REDIS_KEY_BYTES];

	for (unsigned what = 0; what < 2; what++) {
		snprintf(name, sizeof(name), "%s:%s", what == 0 ? "packets" : "bytes", block);
		period_op(b, 'H', first.bucket_s, name, 'h');
		count_word(b, count);
		for (size_t i = 0; i < count; i++) {
			const struct tally_value *value = count_map_at(sums, keys[i]);
			struct tally_key key = tally_unpack(keys[i]);

			field_word(b, &key);
			number_word(b, what == 0 ? value->packets : value->bytes);
		}
	}
}

/* The names of a bucket's block hashes, so that readers find them. */
static void add_block_names(struct builder *b, const uint64_t *keys, size_t count)
{
	char block[BLOCK_BYTES], last[BLOCK_BYTES] = "";
	size_t names = 0;

	for (unsigned pass = 0; pass < 2; pass++) { /* count, then name */
		if (pass == 1 && names == 0)
			return;
		if (pass == 1) {
			period_op(b, 'S', tally_unpack(keys[0]).bucket_s, "blocks", 'e');
			count_word(b, names);
			last[0] = '\0';
		}
		for (size_t i = 0; i < count; i++) {
			struct tally_key key = tally_unpack(keys[i]);

			block_name(block, sizeof(block), &key);
			if (strcmp(block, last) == 0)
				continue;
			memcpy(last, block, sizeof(last));
			names += pass == 0;
			if (pass == 1)
				text_word(b, block);
		}
	}
}

static void add_blocks(struct builder *b, const uint64_t *keys, size_t count)
{
	for (size_t i = 0; i < count;) {
		struct tally_key first = tally_unpack(keys[i]);
		size_t end = i + 1;

		for (; end < count; end++) {
			struct tally_key key = tally_unpack(keys[end]);

			if (key.dimension != first.dimension || key.bucket_s != first.bucket_s)
				break;
		}
		if (has_blocks(first.dimension))
			add_block_names(b, &keys[i], end - i);
		i = end;
	}
}

static uint64_t rolled_up(const struct builder *b, uint64_t packed)
{
	struct tally_key key = tally_unpack(packed);

	key.bucket_s = period_start(b->period, key.bucket_s, b->lifetimes->day_offset_s);
	return tally_pack(&key);
}

static int roll_up(const struct builder *b, struct count_map *sums)
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
	return rc;
}

static int add_counters(struct builder *b)
{
	struct count_map sums = { 0 };
	char block[BLOCK_BYTES];
	uint64_t *keys = NULL;
	int rc = roll_up(b, &sums);

	if (rc == 0)
		keys = count_map_keys(&sums);
	for (size_t i = 0; keys != NULL && i < sums.count;) {
		struct tally_key key = tally_unpack(keys[i]);
		size_t end = i + 1;

		while (end < sums.count && same_hash(keys[i], keys[end]))
			end++;
		block_name(block, sizeof(block), &key);
		add_hash(b, &sums, &keys[i], end - i, block);
		i = end;
	}
	if (keys != NULL)
		add_blocks(b, keys, sums.count);
	else
		rc = -ENOMEM;
	free(keys);
	count_map_fini(&sums);
	return rc;
}

/* ---- actors ---- */

static int compare_actors(const void *a, const void *b)
{
	const struct tally_actor *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->actor < y->actor ? -1 : x->actor > y->actor;
}

static void add_sketch(struct builder *b, const struct tally_actor *actors, size_t count)
{
	uint8_t hll[HYPERLOGLOG_BYTES];

	hyperloglog_init(hll);
	for (size_t i = 0; i < count; i++)
		hyperloglog_add(hll, &actors[i].actor, sizeof(actors[i].actor));
	redis_words_add(&b->batch->ops, hll, sizeof(hll));
}

static void add_actor_group(struct builder *b, const struct tally_actor *actors, size_t count)
{
	struct tally_key key = tally_unpack(actors[0].key);
	char label[LABEL_TEXT_BYTES], name[REDIS_KEY_BYTES];
	const char *text = tally_label(b->tally, key.dimension, key.label, label);

	if (key.dimension == DIM_SERVICE)
		snprintf(name, sizeof(name), "actors:service:%s:%s",
			role_name(tally_service_role(key.label)), text);
	else
		snprintf(name, sizeof(name), "actors:%s:%s", tally_dimension_name(key.dimension),
			text);
	period_op(b, count > PFADD_MAX ? 'D' : 'P', key.bucket_s, name, 's');
	if (count > PFADD_MAX) {
		add_sketch(b, actors, count);
		return;
	}
	count_word(b, count);
	for (size_t i = 0; i < count; i++)
		redis_words_add(&b->batch->ops, &actors[i].actor, sizeof(actors[i].actor));
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

static int add_actors(struct builder *b)
{
	size_t count = b->tally->actor_count;
	struct tally_actor *actors = malloc((count + 1) * sizeof(*actors));

	if (actors == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		actors[i] = (struct tally_actor){ rolled_up(b, b->tally->actors[i].key),
			b->tally->actors[i].actor };
	count = count > 0 ? sort_pairs(actors, count) : 0;
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;

		while (end < count && actors[end].key == actors[i].key)
			end++;
		add_actor_group(b, &actors[i], end - i);
		i = end;
	}
	free(actors);
	return 0;
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
			rc = add_actors(&b);
		if (rc == 0)
			rc = add_buckets(&b);
	}
	add_as_names(&b);
	for (size_t i = 0; i < tally->ledger_count; i++)
		add_ledger(&b, &tally->ledgers[i]);
	add_poison(&b, partition);
	count_map_fini(&b.known);
	if (rc == 0 && (b.failed || batch->keys.failed || batch->ops.failed || batch->types.failed))
		rc = -ENOMEM;
	return rc;
}

void redis_batch_log_gap(
	struct redis_batch *batch, const char *prefix, uint32_t partition, int64_t from, int64_t to)
{
	char key[REDIS_KEY_BYTES], text[160];

	redis_words_text(&batch->keys, redis_key(key, prefix, 0, "gaps"));
	buffer_u8(&batch->types, 'l');
	redis_words_text(&batch->ops, "R");
	redis_words_int(&batch->ops, 1);
	redis_words_int(&batch->ops, (int64_t)batch->keys.count + 2);
	redis_words_int(&batch->ops, 0);
	redis_words_int(&batch->ops, 1);
	snprintf(text, sizeof(text),
		"{\"partition\":%u,\"from_offset\":%" PRId64 ",\"to_offset\":%" PRId64 "}",
		partition, from, to);
	redis_words_text(&batch->ops, text);
}

void redis_batch_fini(struct redis_batch *batch)
{
	redis_words_fini(&batch->keys);
	redis_words_fini(&batch->ops);
	buffer_fini(&batch->types);
}
