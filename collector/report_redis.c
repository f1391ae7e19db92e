/*
 * A range is tiled with buckets from large to small; every counter is the sum over the tiles,
 * every number of actors the union of their sketches. With --per the same is done for each bucket
 * of that period by itself.
 */
#include "collector/report_redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/hyperloglog.h"
#include "collector/redis_batch.h"
#include "collector/redis_place.h"

struct tile {
	enum period period;
	int64_t start_s;
};

struct loader {
	struct report *report;
	struct redis_store *store;
	struct message *msg;
	int64_t *held[PERIOD_COUNT]; /* starts of the buckets there are, ascending */
	size_t held_count[PERIOD_COUNT];
	struct tile *tiles; /* of the range as a whole */
	size_t tile_count;
	struct count_map known; /* hash of (bucket, dimension, role, label) → row number + 1 */
	/* of the hash being read */
	int64_t bucket_s; /* the row's, REPORT_ALL_BUCKETS for totals */
	struct tile tile;
	enum dimension dimension;
	unsigned role;
	uint8_t protocol;
	int rc;
};

/* ---- which buckets are there ---- */

struct number_list {
	int64_t *items;
	size_t count;
	bool failed;
};

static void keep_number(void *context, const char *text, const char *value)
{
	struct number_list *list = context;
	int64_t *items = realloc(list->items, (list->count + 1) * sizeof(*items));

	(void)value;
	if (items == NULL) {
		list->failed = true;
		return;
	}
	list->items = items;
	items[list->count++] = strtoll(text, NULL, 10);
}

static int load_held(struct loader *loader)
{
	char name[64], key[REDIS_KEY_BYTES];

	for (unsigned period = 0; period < PERIOD_COUNT; period++) {
		struct number_list list = { 0 };
		int rc;

		snprintf(name, sizeof(name), "buckets:%s", period_name((enum period)period));
		redis_key(key, redis_store_prefix(loader->store), 0, name);
		rc = redis_store_members(
			loader->store, key, "zset", keep_number, &list, loader->msg);
		loader->held[period] = list.items;
		loader->held_count[period] = list.count;
		if (rc != 0 || list.failed)
			return rc != 0 ? rc : -ENOMEM;
	}
	return 0;
}

static bool is_inside(const struct loader *loader, enum period period, int64_t start_s)
{
	int64_t from = loader->report->query.from_s, to = loader->report->query.to_s;

	return start_s >= from && (to == INT64_MAX || start_s <= to - period_seconds(period));
}

static bool is_covered(const struct loader *loader, enum period period, int64_t start_s)
{
	int64_t offset = loader->report->query.day_offset_s;

	for (size_t i = 0; i < loader->tile_count; i++) {
		const struct tile *tile = &loader->tiles[i];

		if (tile->period > period &&
			period_start(tile->period, start_s, offset) == tile->start_s)
			return true;
	}
	return false;
}

static bool overlaps(const struct loader *loader, enum period period, int64_t start_s)
{
	int64_t from = loader->report->query.from_s, to = loader->report->query.to_s;

	return start_s < to && (from == INT64_MIN || start_s + period_seconds(period) > from);
}

/* Tiles the range; with nothing asked that is all days. */
static int tile_range(struct loader *loader)
{
	size_t room = loader->held_count[0] + loader->held_count[1] + loader->held_count[2];

	loader->tiles = calloc(room + 1, sizeof(*loader->tiles));
	if (loader->tiles == NULL)
		return -ENOMEM;
	for (unsigned period = PERIOD_COUNT; period-- > 0;) {
		for (size_t i = 0; i < loader->held_count[period]; i++) {
			int64_t start = loader->held[period][i];

			if (!is_inside(loader, (enum period)period, start) ||
				is_covered(loader, (enum period)period, start))
				continue;
			loader->tiles[loader->tile_count++] =
				(struct tile){ (enum period)period, start };
		}
	}
	return 0;
}

/* A day or hour that overlaps the range but is neither inside nor tiled by smaller buckets. */
static void note_rounding(struct loader *loader)
{
	int64_t offset = loader->report->query.day_offset_s;

	for (size_t i = 0; i < loader->held_count[PERIOD_DAY]; i++) {
		int64_t day = loader->held[PERIOD_DAY][i];
		bool has_parts = false;

		if (!overlaps(loader, PERIOD_DAY, day) || is_inside(loader, PERIOD_DAY, day))
			continue;
		for (size_t t = 0; t < loader->tile_count; t++)
			has_parts |=
				period_start(PERIOD_DAY, loader->tiles[t].start_s, offset) == day;
		if (!has_parts)
			snprintf(loader->report->note, sizeof(loader->report->note),
				"part of the range is only held by day and was left out; ask for "
				"whole days");
	}
}

/* ---- counters ---- */

static struct report_row *row_of(
	struct loader *loader, enum dimension dimension, unsigned role, const char *label)
{
	char place[LABEL_TEXT_BYTES + 64];
	uint64_t hash = 14695981039346656037ULL; /* FNV-1a, only to find rows again */
	uint64_t *number;
	struct report_row *row;

	snprintf(place, sizeof(place), "%" PRId64 "/%u/%u/%s", loader->bucket_s,
		(unsigned)dimension, role, label);
	for (const char *p = place; *p != '\0'; p++)
		hash = (hash ^ (uint8_t)*p) * 1099511628211ULL;
	number = count_map_at(&loader->known, hash);
	if (number == NULL) {
		loader->rc = -ENOMEM;
		return NULL;
	}
	if (*number != 0)
		return &loader->report->rows[*number - 1];
	row = report_row(loader->report, loader->bucket_s, dimension, role, label);
	if (row == NULL)
		loader->rc = -ENOMEM;
	else
		*number = loader->report->count;
	return row;
}

static void add_packets(void *context, const char *field, const char *value)
{
	struct loader *loader = context;
	struct report_row *row = row_of(loader, loader->dimension, loader->role, field);

	if (row != NULL)
		row->packets += strtoull(value, NULL, 10);
}

static void add_bytes(void *context, const char *field, const char *value)
{
	struct loader *loader = context;
	struct report_row *row = row_of(loader, loader->dimension, loader->role, field);

	if (row != NULL)
		row->bytes += strtoull(value, NULL, 10);
}

/* A counter of a block: "PACKETS BYTES WORDS". */
static void add_counter(void *context, const char *field, const char *value)
{
	struct loader *loader = context;
	char text[SERVICE_TEXT_BYTES], *end;
	const char *label = field;
	struct report_row *row;

	if (loader->dimension == DIM_SERVICE)
		label = service_text(loader->protocol, (int32_t)strtol(field, NULL, 10), text);
	row = row_of(loader, loader->dimension, loader->role, label);
	if (row == NULL)
		return;
	row->packets += strtoull(value, &end, 10);
	row->bytes += strtoull(end, NULL, 10);
}

static int load_hash(
	struct loader *loader, const char *what, const char *block, redis_pair_handler handler)
{
	char key[REDIS_KEY_BYTES], name[REDIS_BLOCK_BYTES + 32];
	int rc;

	snprintf(name, sizeof(name), "%s:%s", what, block);
	redis_bucket_key(key, redis_store_prefix(loader->store), 0,
		period_name(loader->tile.period), loader->tile.start_s, name);
	rc = redis_store_hash(loader->store, key, handler, loader, loader->msg);
	return rc != 0 ? rc : loader->rc;
}

/* A dimension that has a hash of packets and one of bytes. */
static int load_plain(struct loader *loader, enum dimension dimension)
{
	const char *name = tally_dimension_name(dimension);
	int rc;

	loader->dimension = dimension;
	loader->role = 0;
	rc = load_hash(loader, "packets", name, add_packets);
	return rc != 0 ? rc : load_hash(loader, "bytes", name, add_bytes);
}

struct block_list {
	char **items;
	size_t count;
	bool failed;
};

static void keep_block(void *context, const char *text, const char *value)
{
	struct block_list *list = context;
	char **items = realloc(list->items, (list->count + 1) * sizeof(*items));

	(void)value;
	if (items != NULL)
		list->items = items;
	if (items == NULL || (items[list->count] = strdup(text)) == NULL)
		list->failed = true;
	else
		list->count++;
}

static int load_blocks(struct loader *loader)
{
	struct block_list blocks = { 0 };
	char key[REDIS_KEY_BYTES];
	int rc;

	redis_bucket_key(key, redis_store_prefix(loader->store), 0,
		period_name(loader->tile.period), loader->tile.start_s, "blocks");
	rc = redis_store_members(loader->store, key, "set", keep_block, &blocks, loader->msg);
	for (size_t i = 0; rc == 0 && i < blocks.count; i++) {
		struct redis_block block;

		if (!redis_block_parse(&block, blocks.items[i]))
			continue;
		loader->dimension = block.dimension;
		loader->role = block.role;
		loader->protocol = block.protocol;
		rc = load_hash(loader, "counters", blocks.items[i], add_counter);
	}
	for (size_t i = 0; i < blocks.count; i++)
		free(blocks.items[i]);
	free(blocks.items);
	return rc != 0 ? rc : blocks.failed ? -ENOMEM : 0;
}

/* All counters of a tile; only those of `only` when it is a dimension. */
static int load_tile(struct loader *loader, const struct tile *tile, enum dimension only)
{
	int rc = 0;

	loader->tile = *tile;
	for (unsigned i = 0; rc == 0 && i < DIM_COUNT; i++) {
		enum dimension dimension = (enum dimension)i;

		if ((only != DIM_COUNT && only != dimension && dimension != DIM_TOTAL) ||
			redis_place_has_blocks(dimension))
			continue;
		rc = load_plain(loader, dimension);
	}
	if (rc == 0 && (only == DIM_COUNT || redis_place_has_blocks(only)))
		rc = load_blocks(loader);
	return rc;
}

/* ---- ledger ---- */

struct ledger_sum {
	struct report *report;
	struct marker_record books;
};

static void add_book(void *context, const char *field, const char *value)
{
	struct ledger_sum *sum = context;
	int64_t number = strtoll(value, NULL, 10);

	if (strcmp(field, "observed_ms") == 0)
		sum->report->observed_ms += (uint64_t)number;
	if (strcmp(field, "address_ms") == 0)
		sum->report->address_ms += (uint64_t)number;
	if (strcmp(field, "first_ns") == 0)
		sum->books.first_ns = number;
	if (strcmp(field, "last_ns") == 0)
		sum->books.last_ns = number;
	tally_book_set(&sum->books, field, number);
}

static int load_ledger(struct loader *loader, const struct tile *tile)
{
	struct ledger_sum sum = { loader->report, marker_defaults() };
	char key[REDIS_KEY_BYTES];
	int rc;

	redis_bucket_key(key, redis_store_prefix(loader->store), 0, period_name(tile->period),
		tile->start_s, "ledger");
	rc = redis_store_hash(loader->store, key, add_book, &sum, loader->msg);
	tally_books_add(&loader->report->books, &sum.books);
	return rc;
}

/* Sensors and what they watch: the greatest figure of each, by "NAME:what". */
struct sensor_field {
	char *field;
	int64_t value;
};

struct sensor_list {
	struct sensor_field *items;
	size_t count;
	bool failed;
};

static void keep_sensor(void *context, const char *field, const char *value)
{
	struct sensor_list *list = context;
	struct sensor_field *items;
	int64_t number = strtoll(value, NULL, 10);

	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i].field, field) == 0) {
			if (number > list->items[i].value)
				list->items[i].value = number;
			return;
		}
	}
	items = realloc(list->items, (list->count + 1) * sizeof(*items));
	if (items != NULL)
		list->items = items;
	if (items == NULL || (items[list->count].field = strdup(field)) == NULL)
		list->failed = true;
	else
		items[list->count++].value = number;
}

static void add_monitored(int64_t *sum, int64_t value)
{
	*sum = value + (*sum == AVRO_NULL_LONG ? 0 : *sum);
}

static int load_sensors(struct loader *loader)
{
	struct sensor_list list = { 0 };
	char key[REDIS_KEY_BYTES];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < loader->tile_count; i++) {
		redis_bucket_key(key, redis_store_prefix(loader->store), 0,
			period_name(loader->tiles[i].period), loader->tiles[i].start_s, "sensors");
		rc = redis_store_hash(loader->store, key, keep_sensor, &list, loader->msg);
	}
	for (size_t i = 0; i < list.count; i++) {
		const char *what = strrchr(list.items[i].field, ':');

		if (what != NULL && strcmp(what, ":seen") == 0)
			loader->report->sensors++;
		if (what != NULL && strcmp(what, ":addresses") == 0)
			add_monitored(&loader->report->monitored_addresses, list.items[i].value);
		if (what != NULL && strcmp(what, ":ipv6_prefixes") == 0)
			add_monitored(
				&loader->report->monitored_ipv6_prefixes, list.items[i].value);
		free(list.items[i].field);
	}
	free(list.items);
	return rc != 0 ? rc : list.failed ? -ENOMEM : 0;
}

static void add_topic_gap(void *context, const char *text, const char *value)
{
	struct report *report = context;
	char sentence[GAP_SENTENCE_BYTES];
	struct gap gap;

	(void)value;
	if (!gap_parse(&gap, text)) { /* of a later release */
		snprintf(sentence, sizeof(sentence),
			"not counted, the topic no longer held it: %.200s", text);
		report_gap(report, sentence);
		return;
	}
	gap_sentence(&gap, "counted", sentence);
	report_gap(report, sentence);
	gap_list_add(&report->count_gaps, &gap);
	report->is_out_of_memory |= report->count_gaps.is_out_of_memory;
}

static void add_sensor_gap(void *context, const char *field, const char *value)
{
	struct report *report = context;
	const char *colon = strrchr(field, ':');
	int64_t from = colon != NULL ? strtoll(colon + 1, NULL, 10) : 0,
		to = strtoll(value, NULL, 10);
	char sentence[320];

	if (to / 1000000000 < report->query.from_s || from / 1000000000 >= report->query.to_s)
		return;
	snprintf(sentence, sizeof(sentence), "sensor %.*s sent nothing for %.1f s before %lld",
		colon != NULL ? (int)(colon - field) : 0, field, (double)(to - from) / 1e9,
		(long long)(to / 1000000000));
	report_gap(report, sentence);
}

static void add_poison(void *context, const char *field, const char *value)
{
	struct report *report = context;

	(void)field;
	report->poison += strtoull(value, NULL, 10);
}

static int load_gaps(struct loader *loader)
{
	const char *prefix = redis_store_prefix(loader->store);
	char key[REDIS_KEY_BYTES];
	int rc;

	rc = redis_store_members(loader->store, redis_key(key, prefix, 0, "gaps"), "list",
		add_topic_gap, loader->report, loader->msg);
	if (rc == 0)
		rc = redis_store_hash(loader->store, redis_key(key, prefix, 0, "sensor_gaps"),
			add_sensor_gap, loader->report, loader->msg);
	if (rc == 0)
		rc = redis_store_hash(loader->store, redis_key(key, prefix, 0, "poison"),
			add_poison, loader->report, loader->msg);
	return rc;
}

/* ---- minutes, actors, names ---- */

static int load_minutes(struct loader *loader)
{
	struct report *report = loader->report;
	size_t room = loader->held_count[PERIOD_MINUTE];
	int rc = 0;

	report->minutes = calloc(room + 1, sizeof(*report->minutes));
	report->minute_starts = calloc(room + 1, sizeof(*report->minute_starts));
	if (report->minutes == NULL || report->minute_starts == NULL)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < room; i++) {
		struct tile tile = { PERIOD_MINUTE, loader->held[PERIOD_MINUTE][i] };
		struct report_row row = { 0 };
		struct report alone;

		if (!is_inside(loader, PERIOD_MINUTE, tile.start_s))
			continue;
		/* a report of one row, so that the same reading code serves */
		report_init(&alone, &report->query);
		loader->report = &alone;
		loader->bucket_s = tile.start_s;
		loader->tile = tile;
		count_map_clear(&loader->known);
		rc = load_plain(loader, DIM_TOTAL);
		if (alone.count > 0)
			row = alone.rows[0];
		report->minutes[report->minute_count] =
			(struct tally_value){ row.packets, row.bytes };
		if (row.packets > 0)
			report->minute_starts[report->minute_count++] = tile.start_s;
		report_fini(&alone);
		loader->report = report;
	}
	count_map_clear(&loader->known);
	return rc;
}

static int merge_actors(
	struct loader *loader, const struct report_row *row, const struct tile *tile, uint8_t *hll)
{
	const char *prefix = redis_store_prefix(loader->store), *period = period_name(tile->period);
	const char *what = redis_place_has_blocks(row->dimension) ? "counters" : "sketches";
	char hash_key[REDIS_KEY_BYTES], sketch_key[REDIS_KEY_BYTES];
	char name[REDIS_BLOCK_BYTES + 32], sketch[REDIS_SKETCH_BYTES + LABEL_TEXT_BYTES];
	struct redis_place place;
	struct redis_sketch_place at = { hash_key, place.field, sketch_key };

	if (!redis_place_of_label(&place, tile->period, row->dimension, row->role, row->label))
		return 0; /* written by a later release */
	snprintf(name, sizeof(name), "%s:%s", what, place.block);
	redis_bucket_key(hash_key, prefix, 0, period, tile->start_s, name);
	snprintf(sketch, sizeof(sketch), "%s%s", place.sketch, place.field);
	redis_bucket_key(sketch_key, prefix, 0, period, tile->start_s, sketch);
	return redis_store_merge_sketch(loader->store, &at, hll, loader->msg);
}

static int load_actors_of(struct loader *loader, struct report_row *row)
{
	struct tile alone = { loader->report->query.per, row->bucket_s };
	bool is_alone = row->bucket_s != REPORT_ALL_BUCKETS;
	uint8_t hll[HYPERLOGLOG_BYTES];
	int rc = 0;

	hyperloglog_init(hll);
	if (is_alone)
		rc = merge_actors(loader, row, &alone, hll);
	for (size_t i = 0; !is_alone && rc == 0 && i < loader->tile_count; i++)
		rc = merge_actors(loader, row, &loader->tiles[i], hll);
	row->has_actors = rc == 0;
	row->actors = hyperloglog_count(hll);
	return rc;
}

/* Actors of the rows that are shown: the top of each dimension and role. */
static int load_actors(struct loader *loader)
{
	struct report *report = loader->report;
	size_t rank = 0;
	int rc = 0;

	report_sort(report);
	for (size_t i = 0; rc == 0 && i < report->count; i++) {
		struct report_row *row = &report->rows[i];
		const struct report_row *before = i > 0 ? row - 1 : NULL;

		if (before == NULL || before->dimension != row->dimension ||
			before->role != row->role || before->bucket_s != row->bucket_s)
			rank = 0;
		if (rank++ < report->query.top)
			rc = load_actors_of(loader, row);
	}
	return rc;
}

static void keep_name(void *context, const char *field, const char *value)
{
	struct report *report = context;

	for (size_t i = 0; i < report->count; i++)
		if (report->rows[i].dimension == DIM_ASN && report->rows[i].name == NULL &&
			strcmp(report->rows[i].label, field) == 0)
			report->rows[i].name = strdup(value);
}

/* Only the names of rows that show actors, which are those that are shown. */
static int load_names(struct loader *loader)
{
	char key[REDIS_KEY_BYTES];

	return redis_store_hash(loader->store,
		redis_key(key, redis_store_prefix(loader->store), 0, "as_names"), keep_name,
		loader->report, loader->msg);
}

static int load_series(struct loader *loader)
{
	enum period per = loader->report->query.per;
	int rc = 0;

	for (size_t i = 0; rc == 0 && per != PERIOD_COUNT && i < loader->held_count[per]; i++) {
		struct tile tile = { per, loader->held[per][i] };

		if (!overlaps(loader, per, tile.start_s))
			continue;
		loader->bucket_s = tile.start_s;
		rc = load_tile(loader, &tile,
			loader->report->query.by != DIM_COUNT ? loader->report->query.by
							      : DIM_TOTAL);
	}
	return rc;
}

static int load_all(struct loader *loader)
{
	enum dimension by = loader->report->query.by;
	bool wants_all = by == DIM_COUNT && loader->report->query.per == PERIOD_COUNT;
	int rc = load_held(loader);

	if (rc == 0)
		rc = tile_range(loader);
	if (rc == 0)
		rc = load_minutes(loader);
	note_rounding(loader);
	for (size_t i = 0; rc == 0 && i < loader->tile_count; i++) {
		loader->bucket_s = REPORT_ALL_BUCKETS;
		rc = load_tile(loader, &loader->tiles[i],
			wants_all	  ? DIM_COUNT
			: by != DIM_COUNT ? by
					  : DIM_TOTAL);
		if (rc == 0)
			rc = load_ledger(loader, &loader->tiles[i]);
	}
	if (rc == 0)
		rc = load_series(loader);
	if (rc == 0)
		rc = load_sensors(loader);
	if (rc == 0)
		rc = load_gaps(loader);
	if (rc == 0)
		rc = load_actors(loader);
	return rc == 0 ? load_names(loader) : rc;
}

/* Days begin where the view count has let them begin. */
static int load_day_offset(struct loader *loader)
{
	struct redis_lifetimes lifetimes = { .day_offset_s = loader->report->query.day_offset_s };
	int rc = redis_lifetimes_read(&lifetimes, loader->store, loader->msg);

	loader->report->query.day_offset_s = lifetimes.day_offset_s;
	return rc;
}

int report_from_redis(struct report *report, struct redis_store *store, struct message *msg)
{
	struct loader loader = { .report = report, .store = store, .msg = msg };
	int rc = count_map_init(&loader.known, sizeof(uint64_t));

	if (rc != 0)
		return rc;
	rc = load_day_offset(&loader);
	if (rc == 0)
		rc = load_all(&loader);
	report->actors_error = HYPERLOGLOG_ERROR;
	report_sort(report);
	count_map_fini(&loader.known);
	for (unsigned i = 0; i < PERIOD_COUNT; i++)
		free(loader.held[i]);
	free(loader.tiles);
	return rc != 0 ? rc : report->is_out_of_memory ? -ENOMEM : 0;
}
