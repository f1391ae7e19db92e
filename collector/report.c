#include "collector/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "collector/redis_batch.h"

#define SKETCH_ERROR 0.0325 /* 1.04 / sqrt(1024) */

static int by_option(const struct config *config, enum dimension *out)
{
	const char *word = config_text(config, OPT_REPORT_BY);

	*out = DIM_COUNT;
	if (word == NULL)
		return 0;
	if (strcmp(word, "port") == 0)
		word = "service";
	for (unsigned i = 0; i < DIM_COUNT; i++)
		if (strcmp(tally_dimension_name((enum dimension)i), word) == 0)
			*out = (enum dimension)i;
	return *out == DIM_COUNT ? FAIL_USAGE : 0;
}

static void per_option(const struct config *config, enum period *out)
{
	const char *word = config_text(config, OPT_REPORT_PER);

	*out = PERIOD_COUNT;
	for (unsigned i = 0; word != NULL && i < PERIOD_COUNT; i++)
		if (strcmp(period_name((enum period)i), word) == 0)
			*out = (enum period)i;
}

/* A time: epoch seconds, or ISO-8601 in UTC, from the date alone to the second. */
static int parse_time(const char *text, int64_t *out)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S",
		"%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M",
		"%Y-%m-%d" };
	char *end;
	long long seconds = strtoll(text, &end, 10);

	if (*text != '\0' && *end == '\0') {
		*out = seconds;
		return 0;
	}
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm broken = { 0 };
		const char *rest = strptime(text, forms[i], &broken);

		if (rest != NULL && *rest == '\0') {
			*out = timegm(&broken);
			return 0;
		}
	}
	return FAIL_FORMAT;
}

static int time_option(const struct config *config, enum option_id id, int64_t unset, int64_t *out,
	struct message *msg)
{
	const char *text = config_text(config, id);

	*out = unset;
	if (text == NULL || parse_time(text, out) == 0)
		return 0;
	return config_refuse(config, id, msg,
		"\"%.60s\" is no time: give epoch seconds or 2026-11-24T12:00:00Z", text);
}

int report_query_read(struct report_query *out, const struct config *config, struct message *msg)
{
	struct redis_lifetimes lifetimes = redis_lifetimes_of(config);
	int rc;

	*out = (struct report_query){
		.wants_json = config_bool(config, OPT_REPORT_JSON),
		.wants_csv = config_bool(config, OPT_REPORT_CSV),
		.top = (size_t)config_u64(config, OPT_REPORT_TOP),
		.base = config_text(config, OPT_REPORT_BASE),
		.day_offset_s = lifetimes.day_offset_s,
	};
	if (out->wants_json + out->wants_csv + config_bool(config, OPT_REPORT_TABLE) > 1) {
		message_set(msg, "--json, --csv and --table exclude each other");
		return FAIL_USAGE;
	}
	if (strcmp(out->base, "nosurvey") == 0)
		return config_refuse(config, OPT_REPORT_BASE, msg,
			"base \"nosurvey\" needs verdicts about survey scanners, which are not "
			"made yet; use \"all\"");
	rc = by_option(config, &out->by);
	if (rc != 0)
		return rc;
	per_option(config, &out->per);
	rc = time_option(config, OPT_REPORT_FROM, INT64_MIN, &out->from_s, msg);
	if (rc == 0)
		rc = time_option(config, OPT_REPORT_TO, INT64_MAX, &out->to_s, msg);
	if (rc == 0 && out->from_s >= out->to_s)
		rc = config_refuse(config, OPT_REPORT_TO, msg, "--to must be after --from");
	return rc;
}

void report_init(struct report *report, const struct report_query *query)
{
	*report = (struct report){
		.query = *query,
		.books = marker_defaults(),
		.monitored_addresses = AVRO_NULL_LONG,
		.monitored_ipv6_prefixes = AVRO_NULL_LONG,
	};
}

void report_fini(struct report *report)
{
	for (size_t i = 0; i < report->count; i++) {
		free(report->rows[i].label);
		free(report->rows[i].name);
	}
	for (size_t i = 0; i < report->gap_count; i++)
		free(report->gaps[i]);
	free(report->gaps);
	gap_list_fini(&report->count_gaps);
	free(report->rows);
	free(report->minutes);
	free(report->minute_starts);
	*report = (struct report){ 0 };
}

static struct report_row *append_row(struct report *report)
{
	if (report->count == report->capacity) {
		size_t capacity = report->capacity != 0 ? report->capacity * 2 : 256;
		struct report_row *rows = realloc(report->rows, capacity * sizeof(*rows));

		if (rows == NULL)
			return NULL;
		report->rows = rows;
		report->capacity = capacity;
	}
	report->rows[report->count] = (struct report_row){ 0 };
	return &report->rows[report->count];
}

struct report_row *report_row(struct report *report, int64_t bucket_s, enum dimension dimension,
	unsigned role, const char *label)
{
	struct report_row *row = append_row(report);

	if (row != NULL)
		row->label = strdup(label);
	if (row == NULL || row->label == NULL) {
		report->is_out_of_memory = true;
		return NULL;
	}
	row->bucket_s = bucket_s;
	row->dimension = dimension;
	row->role = role;
	report->count++;
	return row;
}

void report_gap(struct report *report, const char *sentence)
{
	char **gaps = realloc(report->gaps, (report->gap_count + 1) * sizeof(*gaps));

	if (gaps == NULL) {
		report->is_out_of_memory = true;
		return;
	}
	report->gaps = gaps;
	gaps[report->gap_count] = strdup(sentence);
	report->gap_count += gaps[report->gap_count] != NULL;
}

/* ---- from a tally ---- */

struct bucket_sum {
	struct tally_value value;
	struct sketch actors;
};

static void fill_row(struct report *report, struct tally *tally, const struct tally_key *key,
	int64_t bucket_s, const struct tally_value *value, const struct sketch *actors)
{
	char text[LABEL_TEXT_BYTES];
	unsigned role = key->dimension == DIM_SERVICE ? tally_service_role(key->label) : 0;
	const char *name = key->dimension == DIM_ASN ? tally_as_name(tally, key->label) : NULL;
	struct report_row *row = report_row(report, bucket_s, key->dimension, role,
		tally_label(tally, key->dimension, key->label, text));

	if (row == NULL)
		return;
	row->packets = value->packets;
	row->bytes = value->bytes;
	row->name = name != NULL ? strdup(name) : NULL;
	row->has_actors = true;
	row->actors = actors != NULL ? sketch_count(actors) : 0;
}

/* Rows per bucket as they are; and over all buckets, added up. Keys are sorted so that buckets of
 * one dimension come together, not labels: the sums go through a map by dimension and label. */
static int fill_rows(struct report *report, struct tally *tally)
{
	uint64_t *keys = count_map_keys(&tally->counters);
	struct count_map sums;
	int rc = keys == NULL ? -ENOMEM : count_map_init(&sums, sizeof(struct bucket_sum));
	size_t cursor = 0;
	uint64_t packed;
	struct bucket_sum *sum;

	for (size_t i = 0; rc == 0 && i < tally->counters.count; i++) {
		const struct tally_value *value = count_map_at(&tally->counters, keys[i]);
		struct tally_key key = tally_unpack(keys[i]), whole = key;
		struct sketch **sketch = count_map_at(&tally->sketches, keys[i]);

		whole.bucket_s = 0;
		sum = count_map_at(&sums, tally_pack(&whole));
		if (sum == NULL || sketch == NULL) {
			rc = -ENOMEM;
			break;
		}
		sum->value.packets += value->packets;
		sum->value.bytes += value->bytes;
		if (*sketch != NULL)
			sketch_merge(&sum->actors, *sketch);
		if (tally->options.per != PERIOD_COUNT)
			fill_row(report, tally, &key, key.bucket_s, value, *sketch);
	}
	while (rc == 0 && (sum = count_map_next(&sums, &cursor, &packed)) != NULL) {
		struct tally_key key = tally_unpack(packed);

		fill_row(report, tally, &key, REPORT_ALL_BUCKETS, &sum->value, &sum->actors);
	}
	if (keys != NULL)
		count_map_fini(&sums);
	free(keys);
	return rc != 0 ? rc : report->is_out_of_memory ? -ENOMEM : 0;
}

static int fill_minutes(struct report *report, struct tally *tally)
{
	uint64_t *keys = count_map_keys(&tally->minutes);
	size_t count = tally->minutes.count;

	report->minutes = calloc(count + 1, sizeof(*report->minutes));
	report->minute_starts = calloc(count + 1, sizeof(*report->minute_starts));
	if (keys == NULL || report->minutes == NULL || report->minute_starts == NULL) {
		free(keys);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		report->minute_starts[i] = (int64_t)keys[i] * 60;
		report->minutes[i] = *(struct tally_value *)count_map_at(&tally->minutes, keys[i]);
	}
	report->minute_count = count;
	free(keys);
	return 0;
}

static int compare_intervals(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return x[0] < y[0] ? -1 : x[0] > y[0];
}

/* Time covered by the ledger's intervals together, inside its minute, in ms as Redis counts it. */
static uint64_t covered_ms(struct tally_ledger *ledger)
{
	int64_t end = 0, sum = 0;

	qsort(ledger->intervals, ledger->interval_count, sizeof(ledger->intervals[0]),
		compare_intervals);
	for (size_t i = 0; i < ledger->interval_count; i++) {
		int64_t from = ledger->intervals[i][0] / 1000000 - ledger->minute_ms;
		int64_t to = ledger->intervals[i][1] / 1000000 - ledger->minute_ms;

		from = from < end ? end : from;
		to = to > WINDOW_MS ? WINDOW_MS : to;
		if (to > from) {
			sum += to - from;
			end = to;
		}
	}
	return (uint64_t)sum;
}

static void add_ledger(struct report *report, struct tally *tally, struct tally_ledger *ledger)
{
	uint64_t ms = covered_ms(ledger);
	int64_t addresses = ledger->books.monitored_addresses;

	tally_books_add(&report->books, &ledger->books);
	report->observed_ms += ms;
	report->address_ms += addresses > 0 ? ms * (uint64_t)addresses : 0;
	if (ledger->books.gap_from_ns != AVRO_NULL_LONG) {
		char sentence[320];

		snprintf(sentence, sizeof(sentence),
			"sensor %s sent nothing for %.1f s before %lld",
			tally_sensor(tally, ledger->sensor),
			(double)(ledger->books.gap_to_ns - ledger->books.gap_from_ns) / 1e9,
			(long long)(ledger->books.gap_to_ns / 1000000000));
		report_gap(report, sentence);
	}
}

/* Monitored addresses: the greatest figure of each sensor, added over sensors. */
static void sum_monitored(struct report *report, const struct tally *tally)
{
	for (uint32_t sensor = 0; sensor < tally->sensors.count; sensor++) {
		int64_t addresses = AVRO_NULL_LONG, prefixes = AVRO_NULL_LONG;

		for (size_t i = 0; i < tally->ledger_count; i++) {
			const struct tally_ledger *ledger = &tally->ledgers[i];

			if (ledger->sensor != sensor)
				continue;
			addresses = ledger->books.monitored_addresses > addresses
					    ? ledger->books.monitored_addresses
					    : addresses;
			prefixes = ledger->books.monitored_ipv6_prefixes > prefixes
					   ? ledger->books.monitored_ipv6_prefixes
					   : prefixes;
		}
		if (addresses != AVRO_NULL_LONG)
			report->monitored_addresses =
				addresses + (report->monitored_addresses == AVRO_NULL_LONG
							    ? 0
							    : report->monitored_addresses);
		if (prefixes != AVRO_NULL_LONG)
			report->monitored_ipv6_prefixes =
				prefixes + (report->monitored_ipv6_prefixes == AVRO_NULL_LONG
							   ? 0
							   : report->monitored_ipv6_prefixes);
	}
}

int report_from_tally(struct report *report, struct tally *tally)
{
	int rc = fill_rows(report, tally);

	if (rc == 0)
		rc = fill_minutes(report, tally);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < tally->ledger_count; i++)
		add_ledger(report, tally, &tally->ledgers[i]);
	sum_monitored(report, tally);
	report->sensors = tally->sensors.count;
	report->actors_error = SKETCH_ERROR;
	report_sort(report);
	return tally->is_out_of_memory || report->is_out_of_memory ? -ENOMEM : 0;
}

/* ---- order ---- */

static int compare_rows(const void *a, const void *b)
{
	const struct report_row *x = a, *y = b;

	if (x->dimension != y->dimension)
		return x->dimension < y->dimension ? -1 : 1;
	if (x->role != y->role)
		return x->role < y->role ? -1 : 1;
	if (x->bucket_s != y->bucket_s)
		return x->bucket_s < y->bucket_s ? -1 : 1;
	if (x->packets != y->packets)
		return x->packets > y->packets ? -1 : 1;
	return strcmp(x->label, y->label);
}

void report_sort(struct report *report)
{
	if (report->count > 0)
		qsort(report->rows, report->count, sizeof(*report->rows), compare_rows);
}

static int compare_by_packets(const void *a, const void *b)
{
	const struct report_row *const *x = a, *const *y = b;

	if ((*x)->packets != (*y)->packets)
		return (*x)->packets > (*y)->packets ? -1 : 1;
	return strcmp((*x)->label, (*y)->label);
}

size_t report_rows_of(const struct report *report, enum dimension dimension, unsigned role,
	int64_t bucket_s, const struct report_row **out, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < report->count && count < max; i++) {
		const struct report_row *row = &report->rows[i];

		if (row->dimension == dimension && row->bucket_s == bucket_s &&
			(role == ROLE_COUNT || row->role == role))
			out[count++] = row;
	}
	if (role == ROLE_COUNT && count > 1)
		qsort(out, count, sizeof(*out), compare_by_packets);
	return count;
}

uint64_t report_applied(const struct report *report)
{
	const struct report_row *total;

	return report_rows_of(report, DIM_TOTAL, ROLE_COUNT, REPORT_ALL_BUCKETS, &total, 1) == 1
		       ? total->packets
		       : 0;
}

int report_print(struct report *report, FILE *out)
{
	struct buffer text = { 0 };
	int rc = 0;

	if (report->query.wants_json)
		report_json(report, &text);
	else if (report->query.wants_csv)
		report_csv(report, &text);
	else
		report_table(report, &text);
	if (text.failed)
		rc = -ENOMEM;
	else if (fwrite(text.data, 1, text.size, out) != text.size || fflush(out) != 0)
		rc = -EIO;
	buffer_fini(&text);
	return rc;
}
