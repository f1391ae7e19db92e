#include "collector/audit_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/hyperloglog.h"
#include "collector/redis_place.h"

#define TRIES 4 /* the view count may move while Redis is read */

void audit_bucket_init(struct audit_bucket *bucket, enum period period, int64_t start_s)
{
	*bucket = (struct audit_bucket){ .period = period,
		.start_s = start_s,
		.first_ns = AVRO_NULL_LONG,
		.last_ns = AVRO_NULL_LONG };
	for (size_t i = 0; i < AUDIT_BOOKS_MAX; i++)
		bucket->books[i] = AVRO_NULL_LONG;
}

void audit_bucket_fini(struct audit_bucket *bucket)
{
	for (size_t i = 0; i < bucket->sensor_count; i++)
		free(bucket->sensors[i].name);
	free(bucket->sensors);
	free(bucket->actors);
	bucket->actors = NULL;
	bucket->sensors = NULL;
	bucket->sensor_count = 0;
}

struct audit_sensor *audit_bucket_sensor(struct audit_bucket *bucket, const char *name)
{
	struct audit_sensor *list, *sensor;

	for (size_t i = 0; i < bucket->sensor_count; i++)
		if (strcmp(bucket->sensors[i].name, name) == 0)
			return &bucket->sensors[i];
	list = realloc(bucket->sensors, (bucket->sensor_count + 1) * sizeof(*list));
	if (list == NULL)
		return NULL;
	bucket->sensors = list;
	sensor = &list[bucket->sensor_count];
	*sensor = (struct audit_sensor){ .name = strdup(name),
		.packets = AVRO_NULL_LONG,
		.bytes = AVRO_NULL_LONG,
		.addresses = AVRO_NULL_LONG,
		.ipv6_prefixes = AVRO_NULL_LONG };
	if (sensor->name == NULL)
		return NULL;
	bucket->sensor_count++;
	return sensor;
}

static void forget_buckets(struct audit_redis *redis)
{
	for (size_t i = 0; i < redis->bucket_count; i++)
		audit_bucket_fini(&redis->buckets[i]);
	redis->bucket_count = 0;
}

void audit_redis_fini(struct audit_redis *redis)
{
	forget_buckets(redis);
	free(redis->buckets);
	free(redis->watermarks);
	gap_list_fini(&redis->gaps);
	free(redis->sensor_gaps);
	*redis = (struct audit_redis){ 0 };
}

/* ---- reading ---- */

struct reader {
	struct audit_redis *redis;
	struct redis_store *store;
	struct message *msg;
	int64_t from_s, to_s;
	/* of the key being read */
	enum period period;
	struct audit_bucket *bucket;
	enum dimension dimension;
	bool are_bytes;
	struct text_list blocks;
	bool is_out_of_memory;
};

/* A number, or AVRO_NULL_LONG where none is. */
static int64_t number_of(const char *text)
{
	char *end;
	long long value = strtoll(text, &end, 10);

	return *text != '\0' && *end == '\0' ? value : AVRO_NULL_LONG;
}

static void read_book(void *context, const char *field, const char *value)
{
	struct reader *reader = context;
	struct audit_bucket *bucket = reader->bucket;

	bucket->has_ledger = true;
	if (strcmp(field, "first_ns") == 0)
		bucket->first_ns = number_of(value);
	if (strcmp(field, "last_ns") == 0)
		bucket->last_ns = number_of(value);
	if (strcmp(field, "observed_ms") == 0)
		bucket->observed_ms = number_of(value);
	if (strcmp(field, "address_ms") == 0)
		bucket->address_ms = number_of(value);
	for (size_t i = 0; i < tally_book_count; i++)
		if (strcmp(tally_books[i].name, field) == 0)
			bucket->books[i] = number_of(value);
}

static struct audit_sensor *sensor_of(struct reader *reader, const char *name)
{
	struct audit_sensor *sensor = audit_bucket_sensor(reader->bucket, name);

	reader->is_out_of_memory |= sensor == NULL;
	return sensor;
}

/* "NAME:what" */
static void read_stated(void *context, const char *field, const char *value)
{
	struct reader *reader = context;
	const char *colon = strrchr(field, ':');
	char name[ORIGIN_TEXT_BYTES];
	struct audit_sensor *sensor;

	if (colon == NULL || (size_t)(colon - field) >= sizeof(name))
		return;
	memcpy(name, field, (size_t)(colon - field));
	name[colon - field] = '\0';
	sensor = sensor_of(reader, name);
	if (sensor == NULL)
		return;
	if (strcmp(colon, ":seen") == 0)
		sensor->is_seen = true;
	if (strcmp(colon, ":addresses") == 0)
		sensor->addresses = number_of(value);
	if (strcmp(colon, ":ipv6_prefixes") == 0)
		sensor->ipv6_prefixes = number_of(value);
}

static void read_counter(void *context, const char *field, const char *value)
{
	struct reader *reader = context;
	struct audit_bucket *bucket = reader->bucket;
	int64_t number = strtoll(value, NULL, 10);
	bool *has = reader->are_bytes ? bucket->has_bytes : bucket->has_packets;
	struct audit_sensor *sensor;

	has[reader->dimension] = true;
	(reader->are_bytes ? bucket->bytes : bucket->packets)[reader->dimension] += number;
	if (reader->dimension != DIM_SENSOR)
		return;
	sensor = sensor_of(reader, field);
	if (sensor != NULL)
		*(reader->are_bytes ? &sensor->bytes : &sensor->packets) = number;
}

/* "PACKETS BYTES WORDS" */
static void read_filed(void *context, const char *field, const char *value)
{
	struct reader *reader = context;
	char *end;

	(void)field;
	reader->bucket->packets[reader->dimension] += strtoll(value, &end, 10);
	reader->bucket->bytes[reader->dimension] += strtoll(end, NULL, 10);
}

static void keep_text(void *context, const char *text, const char *value)
{
	struct reader *reader = context;
	struct text_list *list = &reader->blocks;
	char **items = realloc(list->items, (list->count + 1) * sizeof(*items));

	(void)value;
	if (items != NULL)
		list->items = items;
	if (items == NULL || (items[list->count] = strdup(text)) == NULL)
		reader->is_out_of_memory = true;
	else
		list->count++;
}

static void free_texts(struct text_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct text_list){ 0 };
}

static int read_hash(struct reader *reader, const char *name, redis_pair_handler handler)
{
	char key[REDIS_KEY_BYTES];

	redis_bucket_key(key, redis_store_prefix(reader->store), 0, period_name(reader->period),
		reader->bucket->start_s, name);
	return redis_store_hash(reader->store, key, handler, reader, reader->msg);
}

static int read_plain(struct reader *reader, enum dimension dimension)
{
	char name[64];
	int rc = 0;

	reader->dimension = dimension;
	for (unsigned i = 0; rc == 0 && i < 2; i++) {
		reader->are_bytes = i == 1;
		snprintf(name, sizeof(name), "%s:%s", i == 1 ? "bytes" : "packets",
			tally_dimension_name(dimension));
		rc = read_hash(reader, name, read_counter);
	}
	return rc;
}

static int read_blocks(struct reader *reader)
{
	char key[REDIS_KEY_BYTES], name[REDIS_BLOCK_BYTES + 32];
	int rc;

	redis_bucket_key(key, redis_store_prefix(reader->store), 0, period_name(reader->period),
		reader->bucket->start_s, "blocks");
	rc = redis_store_members(reader->store, key, "set", keep_text, reader, reader->msg);
	for (size_t i = 0; rc == 0 && i < reader->blocks.count; i++) {
		struct redis_block block;

		if (!redis_block_parse(&block, reader->blocks.items[i]))
			continue;
		reader->dimension = block.dimension;
		reader->bucket->has_packets[block.dimension] = true;
		reader->bucket->has_bytes[block.dimension] = true;
		snprintf(name, sizeof(name), "counters:%s", reader->blocks.items[i]);
		rc = read_hash(reader, name, read_filed);
	}
	free_texts(&reader->blocks);
	return rc;
}

static int read_actors(struct reader *reader)
{
	const char *prefix = redis_store_prefix(reader->store),
		   *period = period_name(reader->period);
	int64_t start_s = reader->bucket->start_s;
	char hash_key[REDIS_KEY_BYTES], sketch_key[REDIS_KEY_BYTES];
	char name[REDIS_BLOCK_BYTES + 32], sketch[REDIS_SKETCH_BYTES + LABEL_TEXT_BYTES];
	struct redis_sketch_place at = { hash_key, NULL, sketch_key };
	struct redis_place place;

	reader->bucket->actors = malloc(HYPERLOGLOG_BYTES);
	if (reader->bucket->actors == NULL)
		return -ENOMEM;
	hyperloglog_init(reader->bucket->actors);
	if (!redis_place_of_label(&place, reader->period, DIM_TOTAL, 0, "total"))
		return FAIL_FORMAT;
	at.field = place.field;
	snprintf(name, sizeof(name), "sketches:%s", place.block);
	redis_bucket_key(hash_key, prefix, 0, period, start_s, name);
	snprintf(sketch, sizeof(sketch), "%s%s", place.sketch, place.field);
	redis_bucket_key(sketch_key, prefix, 0, period, start_s, sketch);
	return redis_store_merge_sketch(reader->store, &at, reader->bucket->actors, reader->msg);
}

/* Most buckets there have been are long gone: two questions tell. */
static int read_bucket(struct reader *reader)
{
	int rc = read_hash(reader, "ledger", read_book);

	if (rc == 0)
		rc = read_plain(reader, DIM_TOTAL);
	if (rc != 0 || (!reader->bucket->has_ledger && !reader->bucket->has_packets[DIM_TOTAL]))
		return rc;
	rc = read_hash(reader, "sensors", read_stated);
	for (unsigned i = DIM_TOTAL + 1; rc == 0 && i < DIM_COUNT; i++)
		if (!redis_place_has_blocks((enum dimension)i))
			rc = read_plain(reader, (enum dimension)i);
	if (rc == 0)
		rc = read_blocks(reader);
	return rc == 0 && reader->period == PERIOD_DAY ? read_actors(reader) : rc;
}

static void add_bucket(void *context, const char *text, const char *value)
{
	struct reader *reader = context;
	struct audit_redis *redis = reader->redis;
	int64_t start_s = number_of(text);

	(void)value;
	if (start_s == AVRO_NULL_LONG || start_s < reader->from_s ||
		(reader->to_s != INT64_MAX &&
			start_s > reader->to_s - period_seconds(reader->period)))
		return;
	if (redis->bucket_count == redis->bucket_capacity) {
		size_t capacity = redis->bucket_capacity != 0 ? redis->bucket_capacity * 2 : 256;
		struct audit_bucket *buckets = realloc(redis->buckets, capacity * sizeof(*buckets));

		if (buckets == NULL) {
			reader->is_out_of_memory = true;
			return;
		}
		redis->buckets = buckets;
		redis->bucket_capacity = capacity;
	}
	audit_bucket_init(&redis->buckets[redis->bucket_count++], reader->period, start_s);
}

static int read_buckets(struct reader *reader, enum period period)
{
	size_t before = reader->redis->bucket_count;
	char name[64], key[REDIS_KEY_BYTES];
	int rc;

	reader->period = period;
	snprintf(name, sizeof(name), "buckets:%s", period_name(period));
	redis_key(key, redis_store_prefix(reader->store), 0, name);
	rc = redis_store_members(reader->store, key, "zset", add_bucket, reader, reader->msg);
	for (size_t i = before; rc == 0 && i < reader->redis->bucket_count; i++) {
		reader->bucket = &reader->redis->buckets[i];
		rc = read_bucket(reader);
	}
	return rc;
}

static void add_poison(void *context, const char *field, const char *value)
{
	struct audit_redis *redis = context;

	(void)field;
	redis->poison += strtoll(value, NULL, 10);
}

static void add_gap(void *context, const char *text, const char *value)
{
	struct reader *reader = context;
	struct gap gap;

	(void)value;
	if (gap_parse(&gap, text))
		gap_list_add(&reader->redis->gaps, &gap);
	reader->is_out_of_memory |= reader->redis->gaps.is_out_of_memory;
}

static int read_gaps(struct reader *reader)
{
	char key[REDIS_KEY_BYTES];

	gap_list_fini(&reader->redis->gaps);
	return redis_store_members(reader->store,
		redis_key(key, redis_store_prefix(reader->store), 0, "gaps"), "list", add_gap,
		reader, reader->msg);
}

/* `SENSOR:FROM_NS` → TO_NS */
static void add_sensor_gap(void *context, const char *field, const char *value)
{
	struct reader *reader = context;
	struct audit_redis *redis = reader->redis;
	const char *colon = strrchr(field, ':');
	struct audit_sensor_gap *gaps, *gap;

	if (colon == NULL || (size_t)(colon - field) >= sizeof(gap->sensor))
		return;
	gaps = realloc(redis->sensor_gaps, (redis->sensor_gap_count + 1) * sizeof(*gaps));
	if (gaps == NULL) {
		reader->is_out_of_memory = true;
		return;
	}
	redis->sensor_gaps = gaps;
	gap = &gaps[redis->sensor_gap_count++];
	*gap = (struct audit_sensor_gap){ .span = { number_of(colon + 1), number_of(value) } };
	memcpy(gap->sensor, field, (size_t)(colon - field));
}

static int read_sensor_gaps(struct reader *reader)
{
	char key[REDIS_KEY_BYTES];

	reader->redis->sensor_gap_count = 0;
	return redis_store_hash(reader->store,
		redis_key(key, redis_store_prefix(reader->store), 0, "sensor_gaps"), add_sensor_gap,
		reader, reader->msg);
}

static int read_watermarks(
	struct redis_store *store, uint32_t partitions, int64_t *out, struct message *msg)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < partitions; i++)
		rc = redis_store_watermark(store, i, &out[i], msg);
	return rc;
}

static int read_once(struct reader *reader)
{
	char key[REDIS_KEY_BYTES];
	int rc = 0;

	forget_buckets(reader->redis);
	for (unsigned i = 0; rc == 0 && i < PERIOD_COUNT; i++)
		rc = read_buckets(reader, (enum period)i);
	reader->redis->poison = 0;
	if (rc == 0)
		rc = redis_store_hash(reader->store,
			redis_key(key, redis_store_prefix(reader->store), 0, "poison"), add_poison,
			reader->redis, reader->msg);
	if (rc == 0)
		rc = read_gaps(reader);
	if (rc == 0)
		rc = read_sensor_gaps(reader);
	if (rc == 0 && reader->is_out_of_memory)
		rc = -ENOMEM;
	return rc;
}

/* Reads until the watermarks are the same before and after: then all of it is of one moment. */
static int read_still(struct reader *reader, uint32_t partitions, int64_t *after)
{
	struct audit_redis *redis = reader->redis;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && !redis->is_exact && i < TRIES; i++) {
		rc = read_watermarks(reader->store, partitions, redis->watermarks, reader->msg);
		if (rc == 0)
			rc = read_once(reader);
		if (rc == 0)
			rc = read_watermarks(reader->store, partitions, after, reader->msg);
		redis->is_exact =
			memcmp(redis->watermarks, after, partitions * sizeof(*after)) == 0;
	}
	return rc;
}

static int64_t seconds_up(int64_t ms)
{
	return ms == INT64_MIN || ms == INT64_MAX ? ms : ms / 1000;
}

int audit_redis_read(struct audit_redis *redis, struct redis_store *store, uint32_t partitions,
	int64_t from_ms, int64_t to_ms, struct message *msg)
{
	struct reader reader = { .redis = redis,
		.store = store,
		.msg = msg,
		.from_s = seconds_up(from_ms),
		.to_s = seconds_up(to_ms) };
	int64_t *after = calloc(partitions, sizeof(*after));
	int rc;

	redis->watermarks = calloc(partitions, sizeof(*redis->watermarks));
	if (after == NULL || redis->watermarks == NULL) {
		free(after);
		return -ENOMEM;
	}
	rc = redis_lifetimes_read(&redis->lifetimes, store, msg);
	if (rc == 0)
		rc = read_still(&reader, partitions, after);
	redis->is_there = redis->bucket_count > 0;
	for (uint32_t i = 0; i < partitions; i++)
		redis->is_there |= redis->watermarks[i] >= 0;
	free(after);
	return rc;
}

/* ---- what should be there ---- */

struct expected {
	struct audit_bucket bucket;
	int64_t parts;		/* ledgers */
	struct audit_sums sums; /* flows that were applied */
	struct audit_sums most; /* all flows */
	int64_t append_ms;
	bool is_skipped;
	bool has_overlap; /* address_ms then depends on which interval came first */
};

static int64_t least(int64_t a, int64_t b)
{
	return a == AVRO_NULL_LONG ? b : b == AVRO_NULL_LONG ? a : a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void add_sums(struct audit_sums *into, const struct audit_sums *from)
{
	into->flows += from->flows;
	into->packets += from->packets;
	into->bytes += from->bytes;
}

static int add_sensor(
	struct expected *expected, const char *name, const struct audit_minute *minute)
{
	struct audit_sensor *sensor = audit_bucket_sensor(&expected->bucket, name);

	if (sensor == NULL)
		return -ENOMEM;
	if (minute->applied.flows > 0) {
		sensor->packets = greatest(sensor->packets, 0) + minute->applied.packets;
		sensor->bytes = greatest(sensor->bytes, 0) + minute->applied.bytes;
	}
	sensor->is_seen |= minute->applied_ledger.parts > 0;
	sensor->addresses = greatest(sensor->addresses, minute->addresses);
	sensor->ipv6_prefixes = greatest(sensor->ipv6_prefixes, minute->ipv6_prefixes);
	return 0;
}

static int add_minute(struct expected *expected, const struct audit_books *books,
	const struct audit_redis *redis, const struct audit_minute *minute)
{
	struct audit_bucket *bucket = &expected->bucket;

	expected->is_skipped |= !audit_books_is_held(books, minute);
	expected->is_skipped |=
		!redis->is_exact && (minute->applied.flows < minute->log.flows ||
					    minute->applied_ledger.parts < minute->ledger.parts);
	expected->parts += minute->applied_ledger.parts;
	for (size_t i = 0; minute->applied_ledger.parts > 0 && i < tally_book_count; i++)
		bucket->books[i] = greatest(bucket->books[i], 0) + minute->applied_ledger.books[i];
	bucket->first_ns = least(bucket->first_ns, minute->applied_ledger.first_ns);
	bucket->last_ns = greatest(bucket->last_ns, minute->applied_ledger.last_ns);
	add_sums(&expected->sums, &minute->applied);
	add_sums(&expected->most, &minute->log);
	expected->append_ms = greatest(expected->append_ms, minute->append_ms);
	return add_sensor(expected, books->series[minute->series].sensor, minute);
}

/* Minutes in order of time, then sensor. */
struct order {
	const struct audit_minute *minute;
	const char *sensor;
};

static int compare_order(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	if (x->minute->minute_ms != y->minute->minute_ms)
		return x->minute->minute_ms < y->minute->minute_ms ? -1 : 1;
	return strcmp(x->sensor, y->sensor);
}

static struct order *order_of(const struct audit_books *books)
{
	struct order *order = calloc(books->minute_count + 1, sizeof(*order));

	for (size_t i = 0; order != NULL && i < books->minute_count; i++) {
		order[i].minute = &books->minutes[i];
		order[i].sensor = books->series[books->minutes[i].series].sensor;
	}
	if (order != NULL && books->minute_count > 1)
		qsort(order, books->minute_count, sizeof(*order), compare_order);
	return order;
}

/* An interval as the view count sends it: ms of the minute. */
static struct audit_span in_minute(const struct audit_interval *interval, int64_t minute_ms)
{
	int64_t from = interval->capture.span.from_ns / 1000000 - minute_ms,
		to = interval->capture.span.to_ns / 1000000 - minute_ms;

	return (struct audit_span){ from < 0 ? 0 : from, to > WINDOW_MS ? WINDOW_MS : to };
}

/* Observed ms of one sensor in one minute, `count` from `first` on. */
static int add_observed(struct expected *expected, const struct order *first, size_t count)
{
	size_t room = 0, used = 0;
	int64_t sum = 0, observed;
	struct audit_span *spans;

	for (size_t i = 0; i < count; i++)
		room += first[i].minute->interval_count;
	if (room == 0)
		return 0;
	spans = malloc(room * sizeof(*spans));
	if (spans == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < first[i].minute->interval_count; k++) {
			const struct audit_interval *interval = &first[i].minute->intervals[k];
			struct audit_span span = in_minute(interval, first[i].minute->minute_ms);
			int64_t ms = span.to_ns - span.from_ns;

			if (!interval->is_applied || ms <= 0)
				continue;
			spans[used++] = span;
			sum += ms;
			expected->bucket.address_ms += ms * greatest(interval->addresses, 0);
		}
	}
	audit_time_sort(spans, used);
	observed = audit_time_union(spans, used);
	expected->bucket.observed_ms += observed;
	expected->has_overlap |= observed != sum;
	free(spans);
	return 0;
}

/* Adds the minutes from `at` on that lie in the bucket. @return how many, or -ENOMEM */
static int64_t fill(struct expected *expected, const struct audit_books *books,
	const struct audit_redis *redis, const struct order *order, size_t count, int64_t end_s)
{
	size_t i = 0, next;
	int rc = 0;

	while (rc == 0 && i < count && order[i].minute->minute_ms / 1000 < end_s) {
		for (next = i; rc == 0 && next < count; next++) {
			if (order[next].minute->minute_ms != order[i].minute->minute_ms ||
				strcmp(order[next].sensor, order[i].sensor) != 0)
				break;
			rc = add_minute(expected, books, redis, order[next].minute);
		}
		if (rc == 0)
			rc = add_observed(expected, &order[i], next - i);
		i = next;
	}
	return rc != 0 ? rc : (int64_t)i;
}

/* ---- comparing ---- */

struct judge {
	struct audit_redis *redis;
	const struct audit_books *books;
	const struct redis_lifetimes *lifetimes;
	const struct audit_actors *actors;
	int64_t now_ms;
	const struct expected *expected;
	const struct audit_bucket *found; /* NULL: Redis knows no such bucket */
	const char *period;
};

static struct audit_subject about(const struct judge *judge, const char *sensor)
{
	return (struct audit_subject){ sensor, NULL, judge->expected->bucket.start_s * 1000 };
}

/* May a key that was last written when the log's newest record of it was applied be gone by now? */
static bool may_be_gone(const struct judge *judge)
{
	int64_t lifetime_ms =
		(int64_t)judge->lifetimes->seconds[judge->expected->bucket.period] * 1000;

	return judge->expected->append_ms == INT64_MIN ||
	       judge->expected->append_ms + lifetime_ms <= judge->now_ms + WINDOW_MS;
}

static void judge_ledger(const struct judge *judge)
{
	const struct audit_bucket *expected = &judge->expected->bucket, *found = judge->found;
	struct audit_findings *findings = judge->books->findings;
	struct audit_subject subject = about(judge, NULL);

	if (!found->has_ledger && (judge->expected->parts == 0 || may_be_gone(judge)))
		return;
	for (size_t i = 0; i < tally_book_count; i++)
		audit_finding_unless_equal(findings, &subject, expected->books[i], found->books[i],
			"%s in Redis, ledger of the %s", tally_books[i].name, judge->period);
	audit_finding_unless_equal(findings, &subject, expected->first_ns, found->first_ns,
		"first_ns in Redis, ledger of the %s", judge->period);
	audit_finding_unless_equal(findings, &subject, expected->last_ns, found->last_ns,
		"last_ns in Redis, ledger of the %s", judge->period);
	audit_finding_unless_equal(findings, &subject, expected->observed_ms, found->observed_ms,
		"observed_ms in Redis, ledger of the %s", judge->period);
	if (!judge->expected->has_overlap)
		audit_finding_unless_equal(findings, &subject, expected->address_ms,
			found->address_ms, "address_ms in Redis, ledger of the %s", judge->period);
}

static void judge_dimension(const struct judge *judge, enum dimension dimension)
{
	const struct audit_sums *sums = &judge->expected->sums;
	struct audit_findings *findings = judge->books->findings;
	struct audit_subject subject = about(judge, NULL);
	const char *name = tally_dimension_name(dimension);
	bool may_miss = sums->flows == 0 || may_be_gone(judge);

	if (judge->found->has_packets[dimension] || !may_miss)
		audit_finding_unless_equal(findings, &subject, sums->packets,
			judge->found->packets[dimension], "packets in Redis, sum by %s of the %s",
			name, judge->period);
	if (judge->found->has_bytes[dimension] || !may_miss)
		audit_finding_unless_equal(findings, &subject, sums->bytes,
			judge->found->bytes[dimension], "wire_bytes in Redis, sum by %s of the %s",
			name, judge->period);
}

static void judge_sensor(const struct judge *judge, const struct audit_sensor *expected,
	const struct audit_sensor *found)
{
	struct audit_findings *findings = judge->books->findings;
	struct audit_subject subject = about(judge, expected->name);
	bool may_miss = may_be_gone(judge);

	if (!may_miss || judge->found->has_packets[DIM_SENSOR])
		audit_finding_unless_equal(findings, &subject, expected->packets, found->packets,
			"packets in Redis, sensor's %s", judge->period);
	if (!may_miss || judge->found->has_bytes[DIM_SENSOR])
		audit_finding_unless_equal(findings, &subject, expected->bytes, found->bytes,
			"wire_bytes in Redis, sensor's %s", judge->period);
	if (may_miss && !found->is_seen)
		return;
	audit_finding_unless_equal(findings, &subject, expected->is_seen, found->is_seen,
		"sensor seen in Redis, %s", judge->period);
	audit_finding_unless_equal(findings, &subject, expected->addresses, found->addresses,
		"monitored_addresses in Redis, sensor's %s", judge->period);
	audit_finding_unless_equal(findings, &subject, expected->ipv6_prefixes,
		found->ipv6_prefixes, "monitored_ipv6_prefixes in Redis, sensor's %s",
		judge->period);
}

static const struct audit_sensor *find_sensor(const struct audit_bucket *bucket, const char *name)
{
	for (size_t i = 0; i < bucket->sensor_count; i++)
		if (strcmp(bucket->sensors[i].name, name) == 0)
			return &bucket->sensors[i];
	return NULL;
}

static void judge_sensors(const struct judge *judge)
{
	const struct audit_bucket *expected = &judge->expected->bucket, *found = judge->found;
	struct audit_sensor none = { .packets = AVRO_NULL_LONG,
		.bytes = AVRO_NULL_LONG,
		.addresses = AVRO_NULL_LONG,
		.ipv6_prefixes = AVRO_NULL_LONG };

	for (size_t i = 0; i < expected->sensor_count; i++) {
		const struct audit_sensor *other = find_sensor(found, expected->sensors[i].name);

		judge_sensor(judge, &expected->sensors[i], other != NULL ? other : &none);
	}
	for (size_t i = 0; i < found->sensor_count; i++) {
		none.name = found->sensors[i].name;
		if (find_sensor(expected, none.name) == NULL)
			judge_sensor(judge, &none, &found->sensors[i]);
	}
}

/* Registers, behind Redis's header: estimates may agree where actors do not. */
static void judge_actors(const struct judge *judge)
{
	const uint8_t *expected = audit_actors_of(judge->actors, judge->expected->bucket.start_s);
	struct audit_subject subject = about(judge, NULL);
	uint8_t none[HYPERLOGLOG_BYTES];

	hyperloglog_init(none);
	if (expected == NULL)
		expected = none;
	if (judge->found->actors != NULL &&
		memcmp(expected + HYPERLOGLOG_HEADER_BYTES,
			judge->found->actors + HYPERLOGLOG_HEADER_BYTES,
			HYPERLOGLOG_BYTES - HYPERLOGLOG_HEADER_BYTES) != 0)
		audit_finding_add(judge->books->findings, &subject,
			(int64_t)hyperloglog_count(expected),
			(int64_t)hyperloglog_count(judge->found->actors),
			"estimate of unique actors in Redis, sketch of the %s", judge->period);
}

static bool is_empty(const struct audit_bucket *bucket)
{
	return !bucket->has_ledger && !bucket->has_packets[DIM_TOTAL];
}

/* Nothing in the log says anything about this bucket: is that certain? */
static bool is_certain(const struct audit_books *books)
{
	for (uint32_t p = 0; p < books->partition_count; p++)
		if (books->partitions[p].low > 0)
			return books->has_sensors && !books->sensors_are_cut;
	return true;
}

static void judge_bucket(struct judge *judge)
{
	enum period period = judge->expected->bucket.period;
	struct audit_subject subject = about(judge, NULL);
	bool is_due = judge->expected->parts > 0 || judge->expected->sums.flows > 0;

	if (judge->expected->is_skipped || (!is_due && !is_certain(judge->books))) {
		judge->redis->skipped[period]++;
		return;
	}
	if (judge->found == NULL) {
		if (is_due)
			audit_finding_add(judge->books->findings, &subject, 1, 0,
				"%s in Redis, list of buckets", judge->period);
		return;
	}
	if (is_empty(judge->found) && (!is_due || may_be_gone(judge))) {
		judge->redis->expired[period] += is_due;
		return;
	}
	if (is_empty(judge->found)) {
		audit_finding_add(judge->books->findings, &subject, judge->expected->sums.packets,
			AVRO_NULL_LONG, "packets in Redis, keys of the %s", judge->period);
		return;
	}
	judge->redis->compared[period]++;
	judge_ledger(judge);
	for (unsigned i = 0; i < DIM_COUNT; i++)
		judge_dimension(judge, (enum dimension)i);
	judge_sensors(judge);
	if (period == PERIOD_DAY) {
		judge_actors(judge);
		judge->redis->total.packets += judge->found->packets[DIM_TOTAL];
		judge->redis->total.bytes += judge->found->bytes[DIM_TOTAL];
	}
}

static int compare_buckets(const void *a, const void *b)
{
	const struct audit_bucket *x = a, *y = b;

	if (x->period != y->period)
		return x->period < y->period ? -1 : 1;
	return (x->start_s > y->start_s) - (x->start_s < y->start_s);
}

static bool is_whole(const struct audit_books *books, enum period period, int64_t start_s)
{
	int64_t end_s = start_s + period_seconds(period);

	return (books->from_ms == INT64_MIN || start_s * 1000 >= books->from_ms) &&
	       (books->to_ms == INT64_MAX || end_s * 1000 <= books->to_ms);
}

/* Walks along the buckets that the log and Redis speak of, in order of time. */
static int judge_period(struct judge *judge, enum period period, const struct order *order)
{
	const struct audit_redis *redis = judge->redis;
	size_t count = judge->books->minute_count, at = 0, bucket = 0;
	int64_t taken = 0;

	while (bucket < redis->bucket_count && redis->buckets[bucket].period != period)
		bucket++;
	judge->period = period_name(period);
	while (taken >= 0) {
		bool has_found =
			bucket < redis->bucket_count && redis->buckets[bucket].period == period;
		int64_t due = at < count ? period_start(period, order[at].minute->minute_ms / 1000,
						   judge->lifetimes->day_offset_s)
					 : INT64_MAX;
		int64_t there = has_found ? redis->buckets[bucket].start_s : INT64_MAX;
		int64_t start_s = due < there ? due : there;
		struct expected expected = { .append_ms = INT64_MIN };

		if (start_s == INT64_MAX)
			break;
		audit_bucket_init(&expected.bucket, period, start_s);
		taken = fill(&expected, judge->books, redis, &order[at], count - at,
			start_s + period_seconds(period));
		judge->expected = &expected;
		judge->found = there == start_s ? &redis->buckets[bucket] : NULL;
		if (taken >= 0 && is_whole(judge->books, period, start_s))
			judge_bucket(judge);
		at += taken > 0 ? (size_t)taken : 0;
		bucket += there == start_s;
		audit_bucket_fini(&expected.bucket);
	}
	return taken < 0 ? (int)taken : 0;
}

static void judge_poison(const struct audit_redis *redis, const struct audit_books *books)
{
	struct audit_subject subject = { NULL, NULL, FINDING_NO_TIME };
	int64_t expected = 0;

	for (uint32_t p = 0; p < books->partition_count; p++) {
		if (books->partitions[p].low > 0)
			return;
		expected += books->partitions[p].applied_poison;
	}
	if (redis->is_exact)
		audit_finding_unless_equal(books->findings, &subject, expected, redis->poison,
			"messages that could not be read, in Redis");
}

/* ---- gaps of sensors ---- */

static const struct audit_sensor_gap *find_sensor_gap(
	const struct audit_redis *redis, const char *sensor, int64_t from_ns)
{
	for (size_t i = 0; i < redis->sensor_gap_count; i++)
		if (redis->sensor_gaps[i].span.from_ns == from_ns &&
			strcmp(redis->sensor_gaps[i].sensor, sensor) == 0)
			return &redis->sensor_gaps[i];
	return NULL;
}

static bool is_named(const struct audit_books *books, const struct audit_sensor_gap *gap)
{
	for (size_t i = 0; i < books->series_count; i++)
		for (size_t k = 0; k < books->series[i].gap_count; k++)
			if (books->series[i].gaps[k].span.from_ns == gap->span.from_ns &&
				strcmp(books->series[i].sensor, gap->sensor) == 0)
				return true;
	return false;
}

static struct audit_subject about_gap(const char *sensor, const struct audit_span *gap)
{
	return (struct audit_subject){ sensor, NULL, gap->to_ns / 1000000 / WINDOW_MS * WINDOW_MS };
}

static void judge_named_gap(const struct audit_redis *redis, const struct audit_books *books,
	const struct audit_series *series, const struct audit_named_gap *gap)
{
	struct audit_subject subject = about_gap(series->sensor, &gap->span);
	const struct audit_sensor_gap *found;

	if (!gap->is_applied)
		return;
	found = find_sensor_gap(redis, series->sensor, gap->span.from_ns);
	audit_finding_unless_equal(books->findings, &subject, gap->span.to_ns,
		found != NULL ? found->span.to_ns : AVRO_NULL_LONG,
		"end in ns of a gap that a ledger names, in Redis");
}

/* What ledgers name as not sent is in Redis, and nothing else. */
static void judge_sensor_gaps(const struct audit_redis *redis, const struct audit_books *books)
{
	bool is_all = books->from_ms == INT64_MIN && books->to_ms == INT64_MAX;

	for (size_t i = 0; i < books->series_count; i++)
		for (size_t k = 0; k < books->series[i].gap_count; k++)
			judge_named_gap(redis, books, &books->series[i], &books->series[i].gaps[k]);
	for (uint32_t p = 0; p < books->partition_count; p++)
		is_all &= books->partitions[p].low == 0; /* older ledgers are gone */
	for (size_t i = 0; is_all && redis->is_exact && i < redis->sensor_gap_count; i++) {
		const struct audit_sensor_gap *gap = &redis->sensor_gaps[i];
		struct audit_subject subject = about_gap(gap->sensor, &gap->span);

		if (!is_named(books, gap))
			audit_finding_add(books->findings, &subject, AVRO_NULL_LONG,
				gap->span.to_ns,
				"end in ns of a gap in Redis that no ledger names");
	}
}

int audit_redis_judge(struct audit_redis *redis, const struct audit_books *books,
	const struct audit_actors *actors, int64_t now_ms)
{
	struct judge judge = { .redis = redis,
		.books = books,
		.lifetimes = &redis->lifetimes,
		.actors = actors,
		.now_ms = now_ms };
	struct order *order = order_of(books);
	int rc = order != NULL ? 0 : -ENOMEM;

	if (redis->bucket_count > 1)
		qsort(redis->buckets, redis->bucket_count, sizeof(*redis->buckets),
			compare_buckets);
	for (unsigned i = 0; rc == 0 && i < PERIOD_COUNT; i++)
		rc = judge_period(&judge, (enum period)i, order);
	if (rc == 0)
		judge_poison(redis, books);
	if (rc == 0)
		judge_sensor_gaps(redis, books);
	free(order);
	return rc;
}
