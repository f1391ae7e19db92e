#include "collector/audit_books.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static void add_sums(struct audit_sums *sums, int64_t packets, int64_t bytes)
{
	sums->flows++;
	sums->packets += packets;
	sums->bytes += bytes;
}

int audit_books_init(struct audit_books *books, uint32_t partitions, int64_t from_ms, int64_t to_ms,
	struct audit_findings *findings)
{
	assert(tally_book_count <= AUDIT_BOOKS_MAX);
	*books = (struct audit_books){ .partition_count = partitions,
		.from_ms = from_ms,
		.to_ms = to_ms,
		.has_sensors = true,
		.has_enriched = true,
		.enriched_is_exact = true,
		.findings = findings };
	books->partitions = calloc(partitions, sizeof(*books->partitions));
	if (books->partitions == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < partitions; i++)
		books->partitions[i].enriched_since_ms = INT64_MIN;
	return count_map_init(&books->index, sizeof(uint64_t));
}

void audit_books_fini(struct audit_books *books)
{
	for (size_t i = 0; i < books->series_count; i++) {
		free(books->series[i].sources);
		free(books->series[i].gaps);
	}
	for (size_t i = 0; i < books->minute_count; i++)
		free(books->minutes[i].intervals);
	free(books->series);
	free(books->minutes);
	free(books->partitions);
	count_map_fini(&books->index);
	*books = (struct audit_books){ 0 };
}

static size_t source_count(const struct audit_books *books)
{
	return books->partition_count + (books->has_sensors ? 1 : 0);
}

bool audit_is_live(const struct audit_series *series)
{
	return strcmp(series->timeline, TIMELINE_LIVE) == 0;
}

/* ---- where sums lie ---- */

static struct audit_series *append_series(struct audit_books *books, const struct origin *origin)
{
	struct audit_series *list =
		realloc(books->series, (books->series_count + 1) * sizeof(*list));
	struct audit_series *series;

	if (list == NULL)
		return NULL;
	books->series = list;
	series = &list[books->series_count];
	*series = (struct audit_series){ .target = -1, .level = -1, .held_from = INT64_MIN };
	memcpy(series->sensor, origin->sensor, sizeof(series->sensor));
	memcpy(series->timeline, origin->timeline, sizeof(series->timeline));
	series->sources = calloc(books->partition_count + 1, sizeof(*series->sources));
	if (series->sources == NULL)
		return NULL;
	for (size_t i = 0; i <= books->partition_count; i++)
		series->sources[i].old_offset = -1;
	books->series_count++;
	return series;
}

static struct audit_series *series_of(struct audit_books *books, const struct origin *origin)
{
	struct audit_series *series;

	for (size_t i = books->series_count; i-- > 0;)
		if (strcmp(books->series[i].sensor, origin->sensor) == 0 &&
			strcmp(books->series[i].timeline, origin->timeline) == 0)
			return &books->series[i];
	series = append_series(books, origin);
	books->is_out_of_memory |= series == NULL;
	return series;
}

static bool is_asked(const struct audit_books *books, int64_t minute_ms)
{
	return minute_ms >= books->from_ms && minute_ms < books->to_ms;
}

static struct audit_minute *append_minute(
	struct audit_books *books, uint32_t series, int64_t minute_ms)
{
	if (books->minute_count == books->minute_capacity) {
		size_t capacity = books->minute_capacity != 0 ? books->minute_capacity * 2 : 256;
		struct audit_minute *minutes = realloc(books->minutes, capacity * sizeof(*minutes));

		if (minutes == NULL)
			return NULL;
		books->minutes = minutes;
		books->minute_capacity = capacity;
	}
	books->minutes[books->minute_count] = (struct audit_minute){ .minute_ms = minute_ms,
		.series = series,
		.min_entry = INT64_MAX,
		.max_entry = -1,
		.ledger = { .first_ns = AVRO_NULL_LONG, .last_ns = AVRO_NULL_LONG },
		.applied_ledger = { .first_ns = AVRO_NULL_LONG, .last_ns = AVRO_NULL_LONG },
		.sensors = { .first_ns = AVRO_NULL_LONG, .last_ns = AVRO_NULL_LONG },
		.append_ms = INT64_MIN,
		.addresses = AVRO_NULL_LONG,
		.ipv6_prefixes = AVRO_NULL_LONG };
	return &books->minutes[books->minute_count++];
}

/* The minute of a series; NULL when it was not asked for, or memory is out. */
static struct audit_minute *minute_of(
	struct audit_books *books, const struct audit_series *series, int64_t minute_ms)
{
	uint64_t number = (uint64_t)(series - books->series);
	struct audit_minute *minute;
	uint64_t *place;

	if (!is_asked(books, minute_ms))
		return NULL;
	/* 36 bits of minutes; what lies outside shares a place with no real time */
	place = count_map_at(&books->index,
		number << 36 | ((uint64_t)(minute_ms / WINDOW_MS) & ((UINT64_C(1) << 36) - 1)));
	if (place != NULL && *place != 0)
		return &books->minutes[*place - 1];
	minute = place != NULL ? append_minute(books, (uint32_t)number, minute_ms) : NULL;
	if (minute == NULL)
		books->is_out_of_memory = true;
	else
		*place = books->minute_count;
	return minute;
}

static struct audit_subject subject_of(const struct audit_series *series, int64_t minute_ms)
{
	return (struct audit_subject){ series->sensor, series->timeline, minute_ms };
}

/* ---- flows ---- */

static void add_lag(
	struct audit_lag *lag, const struct audit_place *place, const struct flow_record *flow)
{
	if (lag->sums.flows == 0 || place->append_ms < lag->since_ms)
		lag->since_ms = place->append_ms;
	add_sums(&lag->sums, flow->packets, flow->bytes);
}

static void add_flow(struct audit_books *books, struct audit_minute *minute,
	const struct audit_place *place, const struct flow_record *flow)
{
	const struct audit_partition *partition = &books->partitions[place->partition];

	add_sums(&minute->log, flow->packets, flow->bytes);
	if (place->offset < partition->applied)
		add_sums(&minute->applied, flow->packets, flow->bytes);
	else
		add_lag(&books->count_lag, place, flow);
	if (place->offset < partition->worked)
		add_sums(&minute->worked, flow->packets, flow->bytes);
	else
		add_lag(&books->enrich_lag, place, flow);
	if (place->append_ms > minute->append_ms)
		minute->append_ms = place->append_ms;
	minute->is_enriched_cut |= place->append_ms <= partition->enriched_since_ms;
}

void audit_books_flow(struct audit_books *books, const struct audit_place *place,
	const struct origin *origin, const struct flow_record *flow)
{
	struct audit_series *series = series_of(books, origin);
	struct audit_minute *minute;
	struct audit_source *source;

	if (series == NULL)
		return;
	source = &series->sources[place->partition];
	if (source->since.flows == 0)
		source->since_offset = place->offset;
	add_sums(&source->since, flow->packets, flow->bytes);
	source->since_minute_ms = flow->window_ms;
	minute = minute_of(books, series, flow->window_ms);
	if (minute != NULL)
		add_flow(books, minute, place, flow);
}

void audit_books_poison(struct audit_books *books, const struct audit_place *place)
{
	struct audit_partition *partition = &books->partitions[place->partition];

	partition->poison++;
	partition->applied_poison += place->offset < partition->applied;
}

void audit_books_enriched(struct audit_books *books, const struct origin *origin, int64_t window_ms,
	int64_t packets, int64_t bytes)
{
	struct audit_series *series = series_of(books, origin);
	struct audit_minute *minute = series != NULL ? minute_of(books, series, window_ms) : NULL;

	if (minute != NULL)
		add_sums(&minute->enriched, packets, bytes);
}

/* ---- ledgers ---- */

static int64_t least(int64_t a, int64_t b)
{
	return a == AVRO_NULL_LONG ? b : b == AVRO_NULL_LONG ? a : a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b)
{
	return a > b ? a : b; /* null is the least of all */
}

/* What two copies of a ledger must agree in beside its sums. */
static uint64_t digest_of(const struct origin *origin, const struct marker_record *ledger)
{
	int64_t words[] = { origin->boot, ledger->entry, ledger->part, ledger->minute_ms,
		ledger->interval_from_ns, ledger->interval_to_ns, ledger->first_ns, ledger->last_ns,
		ledger->gap_from_ns, ledger->gap_to_ns, ledger->monitored_addresses,
		ledger->monitored_ipv6_prefixes };

	return XXH3_64bits(words, sizeof(words));
}

/* The same with the sums: for copies that are not added up. */
static uint64_t whole_digest_of(const struct origin *origin, const struct marker_record *ledger)
{
	int64_t words[AUDIT_BOOKS_MAX] = { 0 };

	for (size_t i = 0; i < tally_book_count; i++)
		words[i] = tally_book_value(ledger, i);
	return XXH3_64bits_withSeed(words, sizeof(words), digest_of(origin, ledger));
}

static void add_ledger(
	struct audit_ledger *into, const struct origin *origin, const struct marker_record *ledger)
{
	into->parts++;
	for (size_t i = 0; i < tally_book_count; i++)
		into->books[i] += tally_book_value(ledger, i);
	into->first_ns = least(into->first_ns, ledger->first_ns);
	into->last_ns = greatest(into->last_ns, ledger->last_ns);
	into->digest += digest_of(origin, ledger);
}

int64_t audit_book(const struct audit_ledger *ledger, const char *name)
{
	for (size_t i = 0; i < tally_book_count; i++)
		if (strcmp(tally_books[i].name, name) == 0)
			return ledger->books[i];
	return 0;
}

static void note_entry(struct audit_minute *minute, int64_t entry)
{
	if (entry < minute->min_entry)
		minute->min_entry = entry;
	if (entry > minute->max_entry)
		minute->max_entry = entry;
}

static void keep_interval(struct audit_books *books, struct audit_minute *minute,
	const struct audit_place *place, const struct origin *origin,
	const struct marker_record *marker, bool is_applied)
{
	struct audit_interval *list;

	if (marker->interval_to_ns <= marker->interval_from_ns)
		return;
	list = realloc(minute->intervals, (minute->interval_count + 1) * sizeof(*list));
	if (list == NULL) {
		books->is_out_of_memory = true;
		return;
	}
	minute->intervals = list;
	list[minute->interval_count++] = (struct audit_interval){
		.capture = { { marker->interval_from_ns, marker->interval_to_ns }, origin->boot,
			marker->entry, place->append_ms },
		.addresses = marker->monitored_addresses,
		.is_applied = is_applied
	};
}

static void keep_gap(struct audit_books *books, struct audit_series *series,
	const struct marker_record *marker, bool is_applied)
{
	struct audit_named_gap *gaps;

	if (marker->gap_from_ns == AVRO_NULL_LONG || marker->gap_to_ns == AVRO_NULL_LONG)
		return;
	gaps = realloc(series->gaps, (series->gap_count + 1) * sizeof(*gaps));
	if (gaps == NULL) {
		books->is_out_of_memory = true;
		return;
	}
	series->gaps = gaps;
	gaps[series->gap_count++] =
		(struct audit_named_gap){ { marker->gap_from_ns, marker->gap_to_ns }, is_applied };
}

/* Entry numbers of a source ascend by one; a gap or a return is a finding. */
static void follow_entry(struct audit_books *books, const struct audit_series *series,
	struct audit_source *source, const struct marker_record *ledger, const char *where)
{
	struct audit_subject subject = subject_of(series, ledger->minute_ms);

	if (!source->has_entries) {
		source->has_entries = true;
		source->first_entry = source->last_entry = ledger->entry;
		return;
	}
	if (ledger->entry != source->last_entry + 1 && is_asked(books, ledger->minute_ms))
		audit_finding_add(books->findings, &subject, source->last_entry + 1, ledger->entry,
			ledger->entry <= source->last_entry
				? "entry number that comes again in %s"
				: "entry number, entries are missing in %s",
			where);
	if (ledger->entry > source->last_entry)
		source->last_entry = ledger->entry;
}

/* The flows since the marker before are those that this one claims. */
static void check_share(struct audit_books *books, const struct audit_series *series,
	struct audit_source *source, const struct audit_place *place,
	const struct marker_record *marker, bool is_first)
{
	struct audit_subject subject = subject_of(series, marker->minute_ms);

	if (is_first && books->partitions[place->partition].low > 0 &&
		source->since.flows < marker->flows) {
		source->is_cut = true; /* the others are older than what the log holds */
	} else if (is_asked(books, marker->minute_ms)) {
		audit_finding_unless_equal(books->findings, &subject, marker->flows,
			source->since.flows, "flow records in flows.v1 partition %u, entry %lld",
			place->partition, (long long)marker->entry);
		audit_finding_unless_equal(books->findings, &subject, marker->packets,
			source->since.packets, "packets in flows.v1 partition %u, entry %lld",
			place->partition, (long long)marker->entry);
	}
	source->since = (struct audit_sums){ 0 };
}

static void add_books_of_marker(struct audit_books *books, struct audit_series *series,
	struct audit_minute *minute, const struct audit_place *place, const struct origin *origin,
	const struct marker_record *marker)
{
	bool is_applied = place->offset < books->partitions[0].applied;

	add_ledger(&minute->ledger, origin, marker);
	keep_interval(books, minute, place, origin, marker, is_applied);
	keep_gap(books, series, marker, is_applied);
	if (!is_applied)
		return;
	add_ledger(&minute->applied_ledger, origin, marker);
	minute->addresses = greatest(minute->addresses, marker->monitored_addresses);
	minute->ipv6_prefixes = greatest(minute->ipv6_prefixes, marker->monitored_ipv6_prefixes);
}

static void check_equation(struct audit_books *books, const struct audit_series *series,
	const struct marker_record *marker)
{
	struct audit_subject subject = subject_of(series, marker->minute_ms);

	audit_finding_unless_equal(books->findings, &subject,
		marker->non_ip + marker->malformed + marker->not_dark + marker->counted,
		marker->frames, "frames = non_ip + malformed + not_dark + counted, entry %lld",
		(long long)marker->entry);
}

void audit_books_marker(struct audit_books *books, const struct audit_place *place,
	const struct origin *origin, const struct marker_record *marker)
{
	struct audit_series *series = series_of(books, origin);
	struct audit_minute *minute;
	struct audit_source *source;
	char where[48];

	if (series == NULL)
		return;
	snprintf(where, sizeof(where), "flows.v1 partition %u", place->partition);
	source = &series->sources[place->partition];
	check_share(books, series, source, place, marker, !source->has_entries);
	follow_entry(books, series, source, marker, where);
	minute = minute_of(books, series, marker->minute_ms);
	if (minute == NULL)
		return;
	note_entry(minute, marker->entry);
	if (place->append_ms > minute->append_ms)
		minute->append_ms = place->append_ms;
	if (place->partition != 0) {
		minute->other_digests += whole_digest_of(origin, marker);
		return;
	}
	/* as many times as there are other partitions, which must agree */
	minute->other_digests -= whole_digest_of(origin, marker) * (books->partition_count - 1);
	check_equation(books, series, marker);
	add_books_of_marker(books, series, minute, place, origin, marker);
}

void audit_books_sensors(
	struct audit_books *books, const struct origin *origin, const struct marker_record *ledger)
{
	struct audit_series *series = series_of(books, origin);
	struct audit_minute *minute;

	if (series == NULL)
		return;
	follow_entry(books, series, &series->sources[books->partition_count], ledger, "sensors.v1");
	minute = minute_of(books, series, ledger->minute_ms);
	if (minute == NULL)
		return;
	note_entry(minute, ledger->entry);
	add_ledger(&minute->sensors, origin, ledger);
}

/* ---- how far the sources have come ---- */

static bool source_is_cut(const struct audit_books *books, size_t source)
{
	return source < books->partition_count ? books->partitions[source].low > 0
					       : books->sensors_are_cut;
}

/* A source that shows nothing of a series because all of it is older than what is held. */
static bool is_gone(
	const struct audit_books *books, const struct audit_series *series, size_t source)
{
	return !series->sources[source].has_entries && source_is_cut(books, source);
}

void audit_books_set_targets(struct audit_books *books)
{
	for (size_t i = 0; i < books->series_count; i++) {
		struct audit_series *series = &books->series[i];

		series->target = -1;
		for (size_t s = 0; s < source_count(books); s++) {
			struct audit_source *source = &series->sources[s];

			if (source->has_entries && source->last_entry > series->target)
				series->target = source->last_entry;
			source->old_offset = source->since.flows > 0 ? source->since_offset : -1;
		}
	}
}

/* Flows that were there when targets were set and still have no marker behind them. */
static bool has_old_flows(const struct audit_source *source)
{
	return source->old_offset >= 0 && source->since.flows > 0 &&
	       source->since_offset == source->old_offset;
}

static bool has_come(
	const struct audit_books *books, const struct audit_series *series, size_t source)
{
	const struct audit_source *from = &series->sources[source];

	if (has_old_flows(from))
		return false;
	return series->target < 0 || is_gone(books, series, source) ||
	       (from->has_entries && from->last_entry >= series->target);
}

bool audit_books_settled(const struct audit_books *books)
{
	for (size_t i = 0; i < books->series_count; i++)
		for (size_t s = 0; s < source_count(books); s++)
			if (!has_come(books, &books->series[i], s))
				return false;
	return true;
}

/* ---- judging: entries ---- */

static int64_t entry_of(const struct audit_source *source, bool wants_last)
{
	if (!source->has_entries)
		return AVRO_NULL_LONG;
	return wants_last ? source->last_entry : source->first_entry;
}

static void judge_source(struct audit_books *books, const struct audit_series *series, size_t s)
{
	const struct audit_source *source = &series->sources[s];
	struct audit_subject subject = subject_of(series, FINDING_NO_TIME);
	char where[48] = "sensors.v1";

	if (s < books->partition_count)
		snprintf(where, sizeof(where), "flows.v1 partition %zu", s);
	if (has_old_flows(source)) {
		subject.minute_ms = source->since_minute_ms;
		audit_finding_add(books->findings, &subject, 0, source->since.flows,
			"flow records behind the last marker in %s", where);
	}
	subject.minute_ms = FINDING_NO_TIME;
	if (series->target >= 0 && !is_gone(books, series, s) &&
		entry_of(source, true) < series->target)
		audit_finding_add(books->findings, &subject, series->target, entry_of(source, true),
			"last entry number in %s", where);
	/* runs of a replay that was counted anew go on with the numbers of the run before */
	if (source->has_entries && !source_is_cut(books, s) && source->first_entry > 0 &&
		strstr(series->timeline, ".again") == NULL)
		audit_finding_add(books->findings, &subject, 0, source->first_entry,
			"first entry number in %s", where);
}

static void set_level(const struct audit_books *books, struct audit_series *series)
{
	series->level = INT64_MAX;
	series->held_from = INT64_MIN;
	for (size_t s = 0; s < source_count(books); s++) {
		const struct audit_source *source = &series->sources[s];
		int64_t last = source->has_entries ? source->last_entry : -1;
		int64_t first =
			source->has_entries ? source->first_entry + source->is_cut : INT64_MAX;

		if (!is_gone(books, series, s) && last < series->level)
			series->level = last;
		if (s < books->partition_count && source_is_cut(books, s) &&
			first > series->held_from)
			series->held_from = first;
	}
}

static void judge_series(struct audit_books *books, struct audit_series *series)
{
	for (size_t s = 0; s < source_count(books); s++)
		judge_source(books, series, s);
	set_level(books, series);
}

/* Flows that came in last and whose marker is not there yet make their minute pending. */
static void mark_pending(struct audit_books *books)
{
	for (size_t i = 0; i < books->series_count; i++) {
		struct audit_series *series = &books->series[i];

		for (size_t s = 0; s < books->partition_count; s++) {
			const struct audit_source *source = &series->sources[s];
			struct audit_minute *minute;

			if (source->since.flows == 0 || has_old_flows(source))
				continue;
			minute = minute_of(books, series, source->since_minute_ms);
			if (minute != NULL)
				minute->is_pending = true;
		}
	}
	for (size_t i = 0; i < books->minute_count; i++) {
		struct audit_minute *minute = &books->minutes[i];

		minute->is_pending |= minute->max_entry > books->series[minute->series].level;
	}
}

bool audit_books_is_held(const struct audit_books *books, const struct audit_minute *minute)
{
	bool is_cut = false;

	if (minute->is_pending)
		return false;
	for (uint32_t p = 0; p < books->partition_count; p++)
		is_cut |= books->partitions[p].low > 0;
	if (minute->max_entry < 0) /* no ledger at all: nothing of it was ever sent */
		return !is_cut || (books->has_sensors && !books->sensors_are_cut);
	return minute->min_entry >= books->series[minute->series].held_from;
}

/* ---- judging: sums of a minute ---- */

static void judge_sensors(struct audit_books *books, const struct audit_minute *minute,
	const struct audit_subject *subject)
{
	const struct audit_ledger *markers = &minute->ledger, *sensors = &minute->sensors;

	if (!books->has_sensors || (books->sensors_are_cut && sensors->parts < markers->parts))
		return;
	if (!audit_finding_unless_equal(books->findings, subject, markers->parts, sensors->parts,
		    "ledgers in sensors.v1"))
		return;
	for (size_t i = 0; i < tally_book_count; i++)
		audit_finding_unless_equal(books->findings, subject, markers->books[i],
			sensors->books[i], "%s in sensors.v1", tally_books[i].name);
	if (markers->digest != sensors->digest)
		audit_finding_add(books->findings, subject, 0, 1,
			"ledgers in sensors.v1 differ in entry, part, boot, times or addresses");
}

static void judge_enriched(struct audit_books *books, const struct audit_minute *minute,
	const struct audit_subject *subject)
{
	const struct audit_sums *least_ = &minute->worked, *most = &minute->log;
	const struct audit_sums *found = &minute->enriched;

	if (!books->has_enriched || minute->is_enriched_cut)
		return;
	if (books->enriched_is_exact || least_->flows == most->flows) {
		audit_finding_unless_equal(books->findings, subject, least_->flows, found->flows,
			"records in enriched.v1");
		audit_finding_unless_equal(books->findings, subject, least_->packets,
			found->packets, "packets in enriched.v1");
		audit_finding_unless_equal(books->findings, subject, least_->bytes, found->bytes,
			"wire_bytes in enriched.v1");
	} else if (found->packets < least_->packets || found->packets > most->packets) {
		audit_finding_add(books->findings, subject,
			found->packets < least_->packets ? least_->packets : most->packets,
			found->packets, "packets in enriched.v1");
	}
}

static void judge_minute(struct audit_books *books, const struct audit_minute *minute)
{
	const struct audit_series *series = &books->series[minute->series];
	struct audit_subject subject = subject_of(series, minute->minute_ms);

	if (!audit_books_is_held(books, minute))
		return;
	audit_finding_unless_equal(books->findings, &subject,
		audit_book(&minute->ledger, "counted"), minute->log.packets,
		"counted: packets in flows.v1");
	audit_finding_unless_equal(books->findings, &subject,
		audit_book(&minute->ledger, "wire_bytes"), minute->log.bytes,
		"wire_bytes in flows.v1");
	if (minute->other_digests != 0)
		audit_finding_add(books->findings, &subject, 0, 1,
			"markers of the other partitions state another ledger than partition 0's");
	judge_sensors(books, minute, &subject);
	judge_enriched(books, minute, &subject);
}

/* ---- judging: time ---- */

static int compare_minutes(const void *a, const void *b)
{
	const struct audit_minute *x = a, *y = b;

	if (x->series != y->series)
		return x->series < y->series ? -1 : 1;
	return (x->minute_ms > y->minute_ms) - (x->minute_ms < y->minute_ms);
}

/* Each series' minutes lie together once they are sorted. */
static void set_ranges(struct audit_books *books)
{
	for (size_t i = 0; i < books->minute_count; i++) {
		struct audit_series *series = &books->series[books->minutes[i].series];

		if (series->minute_count++ == 0)
			series->first_minute = i;
	}
}

static const struct audit_minute *minutes_of(
	const struct audit_books *books, uint32_t series, size_t *count)
{
	*count = books->series[series].minute_count;
	return *count > 0 ? &books->minutes[books->series[series].first_minute] : NULL;
}

/* All intervals of a series, sorted; what they state, and their spans alone in the same order. */
struct captures {
	struct audit_capture *items;
	struct audit_span *spans;
	size_t count;
};

static void captures_fini(struct captures *captures)
{
	free(captures->items);
	free(captures->spans);
}

/* The caller frees. Without memory there are none. */
static struct captures captures_of(const struct audit_books *books, uint32_t series)
{
	struct captures captures = { 0 };
	size_t minutes, room = 0;
	const struct audit_minute *minute = minutes_of(books, series, &minutes);

	for (size_t i = 0; i < minutes; i++)
		room += minute[i].interval_count;
	captures.items = calloc(room + 1, sizeof(*captures.items));
	captures.spans = calloc(room + 1, sizeof(*captures.spans));
	if (captures.items == NULL || captures.spans == NULL)
		return captures;
	for (size_t i = 0; i < minutes; i++)
		for (size_t k = 0; k < minute[i].interval_count; k++)
			captures.items[captures.count++] = minute[i].intervals[k].capture;
	audit_overlap_sort(captures.items, captures.count);
	for (size_t i = 0; i < captures.count; i++)
		captures.spans[i] = captures.items[i].span;
	return captures;
}

/* Why the two spans share time between which a walk has just come. */
static enum audit_overlap overlap_of(const struct captures *captures, const struct audit_walk *walk)
{
	return audit_overlap_of(captures->items, captures->count, &captures->items[walk->before],
		&captures->items[walk->next - 1]);
}

/* A ledger of a minute from the gap to the interval behind it says that entries were dropped. */
static bool is_lost(const struct audit_books *books, uint32_t series, const struct audit_span *gap)
{
	int64_t window_ns = (int64_t)WINDOW_MS * 1000000;
	int64_t from_ms = gap->from_ns / window_ns * WINDOW_MS,
		to_ms = gap->to_ns / window_ns * WINDOW_MS;
	size_t minutes;
	const struct audit_minute *minute = minutes_of(books, series, &minutes);

	for (size_t i = 0; i < minutes; i++)
		if (minute[i].minute_ms >= from_ms && minute[i].minute_ms <= to_ms &&
			audit_book(&minute[i].ledger, "lost_entries") > 0)
			return true;
	return false;
}

static enum audit_gap_kind kind_of(
	const struct audit_books *books, uint32_t number, const struct audit_span *gap)
{
	const struct audit_series *series = &books->series[number];
	int64_t window_ns = (int64_t)WINDOW_MS * 1000000;

	for (size_t i = 0; i < series->gap_count; i++)
		if (audit_time_covers(&series->gaps[i].span, gap))
			return GAP_NAMED;
	if (is_lost(books, number, gap))
		return GAP_LOST;
	/* minutes of a capture in which nothing was captured are not claimed as observed */
	if (!audit_is_live(series) && gap->from_ns % window_ns == 0 && gap->to_ns % window_ns == 0)
		return GAP_SILENT;
	return GAP_UNNAMED;
}

void audit_books_gaps(
	const struct audit_books *books, uint32_t series, audit_gap_handler handler, void *context)
{
	struct audit_walk walk = { 0 };
	struct audit_span joint;
	enum audit_joint kind;
	struct captures captures = captures_of(books, series);

	while ((kind = audit_time_next(captures.spans, captures.count, &walk, &joint)) != JOINT_END)
		if (kind == JOINT_GAP)
			handler(context, &joint, kind_of(books, series, &joint));
	captures_fini(&captures);
}

void audit_books_clock_steps(
	const struct audit_books *books, uint32_t series, audit_span_handler handler, void *context)
{
	struct audit_walk walk = { 0 };
	struct audit_span joint;
	enum audit_joint kind;
	struct captures captures = captures_of(books, series);

	while ((kind = audit_time_next(captures.spans, captures.count, &walk, &joint)) != JOINT_END)
		if (kind == JOINT_OVERLAP && overlap_of(&captures, &walk) == OVERLAP_CLOCK)
			handler(context, &joint);
	captures_fini(&captures);
}

int64_t audit_books_observed_ns(const struct audit_books *books, uint32_t series)
{
	struct captures captures = captures_of(books, series);
	int64_t observed = audit_time_union(captures.spans, captures.count);

	captures_fini(&captures);
	return observed;
}

/* Between two minutes of which one is not all there, nothing can be said. */
static bool is_unsure(
	const struct audit_books *books, uint32_t series, const struct audit_span *gap)
{
	size_t minutes;
	const struct audit_minute *minute = minutes_of(books, series, &minutes);

	for (size_t i = 0; i < minutes; i++)
		if ((minute[i].minute_ms + WINDOW_MS) * 1000000 >= gap->from_ns &&
			minute[i].minute_ms * 1000000 <= gap->to_ns &&
			!audit_books_is_held(books, &minute[i]))
			return true;
	return false;
}

/* Time that two intervals share is a finding, unless the clock was set back: then it passed twice. */
static void judge_joint(struct audit_books *books, uint32_t number, const struct captures *captures,
	const struct audit_walk *walk, enum audit_joint kind, const struct audit_span *joint)
{
	int64_t minute_ms = joint->from_ns / 1000000 / WINDOW_MS * WINDOW_MS;
	struct audit_subject subject = subject_of(&books->series[number], minute_ms);
	enum audit_overlap overlap;

	if (is_unsure(books, number, joint))
		return;
	if (kind == JOINT_GAP) {
		if (kind_of(books, number, joint) == GAP_UNNAMED)
			audit_finding_add(books->findings, &subject, 0,
				joint->to_ns - joint->from_ns,
				"ns between capture intervals that no ledger names");
		return;
	}
	overlap = overlap_of(captures, walk);
	if (overlap != OVERLAP_CLOCK)
		audit_finding_add(books->findings, &subject, 0, joint->to_ns - joint->from_ns, "%s",
			audit_overlap_text(overlap));
}

static void judge_time(struct audit_books *books, uint32_t number)
{
	struct audit_walk walk = { 0 };
	struct audit_span joint;
	enum audit_joint kind;
	struct captures captures = captures_of(books, number);

	while ((kind = audit_time_next(captures.spans, captures.count, &walk, &joint)) != JOINT_END)
		judge_joint(books, number, &captures, &walk, kind, &joint);
	captures_fini(&captures);
}

void audit_books_judge(struct audit_books *books)
{
	for (size_t i = 0; i < books->series_count; i++)
		judge_series(books, &books->series[i]);
	mark_pending(books);
	if (books->minute_count > 1)
		qsort(books->minutes, books->minute_count, sizeof(*books->minutes),
			compare_minutes);
	count_map_clear(&books->index); /* places have changed */
	set_ranges(books);
	for (size_t i = 0; i < books->minute_count; i++)
		judge_minute(books, &books->minutes[i]);
	for (size_t i = 0; i < books->series_count; i++)
		judge_time(books, (uint32_t)i);
}
