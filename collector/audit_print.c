/*
 * The audit for people and for programs. A person reads first whether the books balance, then what
 * does not add up, a line each, then the figures that do.
 */
#include <inttypes.h>
#include <stdio.h>

#include "collector/audit.h"
#include "schemas/base/json.h"

#define NUMBER_BYTES 32
#define GAPS_SHOWN   20

/* A series' figures over its minutes, those that can be compared. */
struct total {
	int64_t minutes, held, pending;
	int64_t enriched_cut;	/* minutes that enriched.v1 no longer holds all of */
	int64_t from_ms, to_ms; /* of the minutes with a ledger */
	int64_t books[AUDIT_BOOKS_MAX];
	struct audit_sums log, applied, enriched;
	bool is_cut; /* the log does not hold all of it */
	int64_t held_from_ms;
};

static void add_sums(struct audit_sums *into, const struct audit_sums *from)
{
	into->flows += from->flows;
	into->packets += from->packets;
	into->bytes += from->bytes;
}

static void add_minute(struct total *total, const struct audit_minute *minute)
{
	total->held++;
	if (minute->minute_ms < total->held_from_ms)
		total->held_from_ms = minute->minute_ms;
	for (size_t b = 0; b < tally_book_count; b++)
		total->books[b] += minute->ledger.books[b];
	add_sums(&total->log, &minute->log);
	add_sums(&total->applied, &minute->applied);
	if (minute->is_enriched_cut)
		total->enriched_cut++;
	else
		add_sums(&total->enriched, &minute->enriched);
}

static struct total total_of(const struct audit_books *books, uint32_t number)
{
	const struct audit_series *series = &books->series[number];
	struct total total = { .from_ms = INT64_MAX, .held_from_ms = INT64_MAX };

	for (size_t i = 0; i < series->minute_count; i++) {
		const struct audit_minute *minute = &books->minutes[series->first_minute + i];

		total.minutes++;
		total.pending += minute->is_pending;
		if (minute->minute_ms < total.from_ms)
			total.from_ms = minute->minute_ms;
		total.to_ms = minute->minute_ms + WINDOW_MS;
		if (audit_books_is_held(books, minute))
			add_minute(&total, minute);
		else
			total.is_cut |= !minute->is_pending;
	}
	return total;
}

static int64_t book(const struct total *total, const char *name)
{
	struct audit_ledger ledger;

	memcpy(ledger.books, total->books, sizeof(ledger.books));
	return audit_book(&ledger, name);
}

/* ---- JSON ---- */

static void json_nullable(struct buffer *out, const char *key, int64_t value)
{
	if (value == AVRO_NULL_LONG)
		json_member_null(out, key);
	else
		json_member_int(out, key, value);
}

static const char *gap_word(enum audit_gap_kind kind)
{
	static const char *const words[] = { "ledger", "lost_entries", "no frames in the capture",
		NULL };

	return words[kind];
}

struct gap_writer {
	struct buffer *out;
	size_t count;
};

static void json_gap(void *context, const struct audit_span *gap, enum audit_gap_kind kind)
{
	struct gap_writer *writer = context;

	if (writer->count++ >= FINDINGS_SHOWN)
		return;
	json_open(writer->out, '{');
	json_member_int(writer->out, "gap_from_ns", gap->from_ns);
	json_member_int(writer->out, "gap_to_ns", gap->to_ns);
	json_member_text(writer->out, "named_by", gap_word(kind));
	json_close(writer->out, '}');
}

static void json_step(void *context, const struct audit_span *span)
{
	struct gap_writer *writer = context;

	if (writer->count++ >= FINDINGS_SHOWN)
		return;
	json_open(writer->out, '{');
	json_member_int(writer->out, "from_ns", span->from_ns);
	json_member_int(writer->out, "to_ns", span->to_ns);
	json_close(writer->out, '}');
}

static void json_series(struct buffer *out, const struct audit *audit, uint32_t number)
{
	const struct audit_books *books = &audit->books;
	const struct audit_series *series = &books->series[number];
	struct total total = total_of(books, number);
	struct gap_writer writer = { .out = out };

	json_open(out, '{');
	json_member_text(out, "sensor", series->sensor);
	json_member_text(out, "timeline", series->timeline);
	json_member_int(out, "minutes", total.minutes);
	json_member_int(out, "minutes_pending", total.pending);
	json_member_int(out, "minutes_not_held", total.minutes - total.held - total.pending);
	json_member_int(out, "minutes_not_enriched", total.enriched_cut);
	if (total.held > 0)
		json_member_time(out, "held_from", total.held_from_ms);
	for (size_t i = 0; i < tally_book_count; i++)
		json_member_int(out, tally_books[i].name, total.books[i]);
	json_key(out, "observed_seconds");
	json_double(out, (double)audit_books_observed_ns(books, number) / 1e9, 6);
	json_member_int(out, "flows", total.log.flows);
	json_member_int(out, "flows_packets", total.log.packets);
	json_nullable(out, "enriched_packets",
		books->has_enriched ? total.enriched.packets : AVRO_NULL_LONG);
	json_nullable(
		out, "applied_packets", audit->has_redis ? total.applied.packets : AVRO_NULL_LONG);
	json_key(out, "gaps");
	json_open(out, '[');
	audit_books_gaps(books, number, json_gap, &writer);
	json_close(out, ']');
	writer.count = 0;
	json_key(out, "clock_set_back");
	json_open(out, '[');
	audit_books_clock_steps(books, number, json_step, &writer);
	json_close(out, ']');
	json_close(out, '}');
}

/* Gaps of both views in one form. */
typedef void (*gap_printer)(struct buffer *out, const char *view, const struct gap *gap);

static void each_enrich_gap(struct buffer *out, const struct audit *audit, gap_printer print)
{
	for (uint32_t p = 0; p < audit->books.partition_count; p++) {
		for (size_t i = 0; i < audit->enrich[p].gap_count; i++) {
			const struct view_gap *from = &audit->enrich[p].gaps[i];
			struct gap gap = { p, from->from, from->to };

			print(out, "enriched", &gap);
		}
	}
}

static void each_count_gap(struct buffer *out, const struct audit *audit, gap_printer print)
{
	for (size_t i = 0; i < audit->redis.gaps.count; i++)
		print(out, "counted", &audit->redis.gaps.items[i]);
}

static void json_view_gap(struct buffer *out, const char *view, const struct gap *gap)
{
	(void)view;
	json_open(out, '{');
	json_member_uint(out, "partition", gap->partition);
	json_member_int(out, "from_offset", gap->from);
	json_member_int(out, "to_offset", gap->to);
	json_close(out, '}');
}

/* Beside the views, because a view that is not there now may have left some. */
static void json_view_gaps(struct buffer *out, const struct audit *audit)
{
	uint64_t older = 0;

	for (uint32_t p = 0; p < audit->books.partition_count; p++)
		older += audit->enrich[p].older_gaps;
	json_key(out, "count_gaps");
	json_open(out, '[');
	each_count_gap(out, audit, json_view_gap);
	json_close(out, ']');
	json_key(out, "enrich_gaps");
	json_open(out, '[');
	each_enrich_gap(out, audit, json_view_gap);
	json_close(out, ']');
	json_member_uint(out, "enrich_gaps_older", older);
}

static void json_lag(
	struct buffer *out, const char *view, bool is_there, const struct audit_lag *lag)
{
	json_key(out, view);
	if (!is_there) {
		json_nothing(out);
		return;
	}
	json_open(out, '{');
	json_member_int(out, "flows_behind", lag->sums.flows);
	json_member_int(out, "packets_behind", lag->sums.packets);
	if (lag->sums.flows > 0)
		json_member_time(out, "behind_since", lag->since_ms);
	else
		json_member_null(out, "behind_since");
	json_close(out, '}');
}

static void json_finding(struct buffer *out, const struct audit_finding *finding)
{
	json_open(out, '{');
	json_member_text(out, "sensor", finding->sensor[0] != '\0' ? finding->sensor : NULL);
	json_member_text(out, "timeline", finding->timeline[0] != '\0' ? finding->timeline : NULL);
	if (finding->minute_ms != FINDING_NO_TIME) {
		json_member_time(out, "minute", finding->minute_ms);
	} else {
		json_member_null(out, "minute");
		json_member_null(out, "minute_ms");
	}
	json_member_text(out, "what", finding->what);
	json_nullable(out, "expected", finding->expected);
	json_nullable(out, "found", finding->found);
	json_close(out, '}');
}

static void json_redis(struct buffer *out, const struct audit *audit)
{
	char name[32];

	json_key(out, "redis");
	if (!audit->has_redis) {
		json_nothing(out);
		return;
	}
	json_open(out, '{');
	for (unsigned i = 0; i < PERIOD_COUNT; i++) {
		snprintf(name, sizeof(name), "%ss_compared", period_name((enum period)i));
		json_member_uint(out, name, audit->redis.compared[i]);
		snprintf(name, sizeof(name), "%ss_expired", period_name((enum period)i));
		json_member_uint(out, name, audit->redis.expired[i]);
		snprintf(name, sizeof(name), "%ss_skipped", period_name((enum period)i));
		json_member_uint(out, name, audit->redis.skipped[i]);
	}
	json_member_int(out, "packets", audit->redis.total.packets);
	json_member_int(out, "wire_bytes", audit->redis.total.bytes);
	json_close(out, '}');
}

static void print_json(struct buffer *out, const struct audit *audit)
{
	const struct audit_books *books = &audit->books;
	int64_t poison = 0;

	json_open(out, '{');
	json_member_bool(out, "balanced", audit->findings.total == 0);
	json_member_uint(out, "findings_total", audit->findings.total);
	json_key(out, "findings");
	json_open(out, '[');
	for (size_t i = 0; i < audit->findings.count; i++)
		json_finding(out, &audit->findings.items[i]);
	json_close(out, ']');
	json_key(out, "sensors");
	json_open(out, '[');
	for (uint32_t i = 0; i < books->series_count; i++)
		if (books->series[i].minute_count > 0)
			json_series(out, audit, i);
	json_close(out, ']');
	json_key(out, "views");
	json_open(out, '{');
	json_lag(out, "count", audit->has_redis, &books->count_lag);
	json_lag(out, "enrich", books->has_enriched, &books->enrich_lag);
	json_close(out, '}');
	json_view_gaps(out, audit);
	json_redis(out, audit);
	for (uint32_t i = 0; i < books->partition_count; i++)
		poison += books->partitions[i].poison;
	json_member_int(out, "poison_messages", poison);
	json_key(out, "seconds");
	json_double(out, audit->seconds, 3);
	json_close(out, '}');
	buffer_u8(out, '\n');
}

/* ---- for people ---- */

/* 1234567 → "1,234,567" */
static const char *grouped(int64_t value, char out[NUMBER_BYTES])
{
	char digits[NUMBER_BYTES];
	int size = snprintf(digits, sizeof(digits), "%" PRId64, value), at = 0;

	for (int i = 0; i < size; i++) {
		if (i > 0 && (size - i) % 3 == 0 && digits[i - 1] != '-')
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return out;
}

static void number(struct buffer *out, const char *before, int64_t value, const char *behind)
{
	char text[NUMBER_BYTES];

	buffer_format(out, "%s%s%s", before, grouped(value, text), behind);
}

/* Names come from the log: bytes that could steer a terminal go. */
static void name(struct buffer *out, const char *text)
{
	for (; *text != '\0'; text++)
		buffer_u8(out, (uint8_t)*text < 0x20 || *text == 0x7f ? '?' : (uint8_t)*text);
}

static void value_or_none(struct buffer *out, const char *before, int64_t value)
{
	if (value == AVRO_NULL_LONG)
		buffer_format(out, "%snone", before);
	else
		number(out, before, value, "");
}

static void print_finding(struct buffer *out, const struct audit_finding *finding)
{
	char time[ISO_TEXT_BYTES];

	buffer_append_text(out, "  ");
	if (finding->sensor[0] != '\0') {
		buffer_append_text(out, "sensor ");
		name(out, finding->sensor);
	} else {
		buffer_append_text(out, "all sensors");
	}
	if (finding->timeline[0] != '\0') {
		buffer_append_text(out, ", ");
		name(out, finding->timeline);
	}
	if (finding->minute_ms != FINDING_NO_TIME)
		buffer_format(out, ", %s", iso_text(finding->minute_ms, time));
	buffer_append_text(out, ": ");
	name(out, finding->what);
	value_or_none(out, ": expected ", finding->expected);
	value_or_none(out, ", found ", finding->found);
	buffer_u8(out, '\n');
}

static void print_findings(struct buffer *out, const struct audit_findings *findings)
{
	char text[NUMBER_BYTES];

	if (findings->total == 0) {
		buffer_append_text(out, "The books balance.\n");
		return;
	}
	buffer_format(out, "%s found that %s not add up:\n\n",
		grouped((int64_t)findings->total, text), findings->total == 1 ? "does" : "do");
	for (size_t i = 0; i < findings->count; i++)
		print_finding(out, &findings->items[i]);
	if (findings->total > findings->count)
		number(out, "  … and ", (int64_t)(findings->total - findings->count), " more\n");
}

static void print_gap(void *context, const struct audit_span *gap, enum audit_gap_kind kind)
{
	struct gap_writer *writer = context;
	char from[ISO_TEXT_BYTES], to[ISO_TEXT_BYTES];
	const char *word = gap_word(kind);

	if (writer->count++ >= GAPS_SHOWN)
		return;
	buffer_format(writer->out, "  not observed  %s … %s, %.3f s: %s\n",
		iso_text(gap->from_ns / 1000000, from), iso_text(gap->to_ns / 1000000, to),
		(double)(gap->to_ns - gap->from_ns) / 1e9,
		word == NULL	     ? "named by no ledger"
		: kind == GAP_SILENT ? word
		: kind == GAP_LOST   ? "entries were lost, as a ledger names"
				     : "as a ledger names");
}

static void print_step(void *context, const struct audit_span *span)
{
	struct gap_writer *writer = context;
	char from[ISO_TEXT_BYTES], to[ISO_TEXT_BYTES];

	if (writer->count++ >= GAPS_SHOWN)
		return;
	buffer_format(writer->out, "  twice         %s … %s, %.3f s: the clock was set back\n",
		iso_text(span->from_ns / 1000000, from), iso_text(span->to_ns / 1000000, to),
		(double)(span->to_ns - span->from_ns) / 1e9);
}

static void print_losses(struct buffer *out, const struct total *total)
{
	number(out, "  loss          ", book(total, "kernel_drops"), " kernel drops, ");
	number(out, "", book(total, "interface_drops"), " interface drops, ");
	number(out, "", book(total, "misdated"), " misdated, ");
	number(out, "", book(total, "overflow"), " in overflow, ");
	number(out, "", book(total, "lost_packets"), " lost packets in ");
	number(out, "", book(total, "lost_flows"), " flows of ");
	number(out, "", book(total, "lost_entries"), " entries\n");
}

static void print_minutes(struct buffer *out, const struct total *total, int64_t observed_ns)
{
	char from[ISO_TEXT_BYTES], to[ISO_TEXT_BYTES];

	number(out, "  minutes       ", total->minutes, "");
	buffer_format(out, ", %s … %s, observed %.3f s\n", iso_text(total->from_ms, from),
		iso_text(total->to_ms, to), (double)observed_ns / 1e9);
	if (total->pending > 0)
		number(out, "  pending       ", total->pending,
			" minutes, left out below: not every partition shows them yet\n");
	if (total->is_cut && total->held > 0)
		buffer_format(out,
			"  held          from %s on; what is older is not all in the topic and "
			"left out\n",
			iso_text(total->held_from_ms, from));
	else if (total->is_cut)
		buffer_append_text(
			out, "  held          the topic no longer holds all of any minute\n");
}

static void print_enriched(struct buffer *out, const struct total *total)
{
	number(out, "", total->enriched.packets, "");
	if (total->enriched_cut > 0)
		number(out, " without ", total->enriched_cut, " minutes that it no longer holds");
	buffer_append_text(out, "; ");
}

static void print_series(struct buffer *out, const struct audit *audit, uint32_t number_)
{
	const struct audit_books *books = &audit->books;
	const struct audit_series *series = &books->series[number_];
	struct total total = total_of(books, number_);
	struct gap_writer writer = { .out = out };

	buffer_append_text(out, "\nSensor ");
	name(out, series->sensor);
	buffer_append_text(out, audit_is_live(series) ? ", " : ", replay ");
	name(out, series->timeline);
	buffer_u8(out, '\n');
	print_minutes(out, &total, audit_books_observed_ns(books, number_));
	number(out, "  frames        ", book(&total, "frames"), " = ");
	number(out, "", book(&total, "non_ip"), " not IP + ");
	number(out, "", book(&total, "malformed"), " malformed + ");
	number(out, "", book(&total, "not_dark"), " not dark + ");
	number(out, "", book(&total, "counted"), " counted\n");
	number(out, "  counted       ", book(&total, "counted"), " packets; ");
	number(out, "flows.v1 ", total.log.packets, "; enriched.v1 ");
	if (books->has_enriched)
		print_enriched(out, &total);
	else
		buffer_append_text(out, "not available; ");
	if (audit->has_redis)
		number(out, "applied to Redis ", total.applied.packets, "\n");
	else
		buffer_append_text(out, "Redis not available\n");
	number(out, "  wire bytes    ", book(&total, "wire_bytes"), "; ");
	number(out, "flows.v1 ", total.log.bytes, "\n");
	print_losses(out, &total);
	audit_books_gaps(books, number_, print_gap, &writer);
	if (writer.count > GAPS_SHOWN)
		number(out, "  … and ", (int64_t)(writer.count - GAPS_SHOWN), " more\n");
	writer.count = 0;
	audit_books_clock_steps(books, number_, print_step, &writer);
	if (writer.count > GAPS_SHOWN)
		number(out, "  … and ", (int64_t)(writer.count - GAPS_SHOWN), " more\n");
}

static void print_lag(struct buffer *out, const char *view, const struct audit_lag *lag)
{
	char time[ISO_TEXT_BYTES];

	buffer_format(out, "  %-14s", view);
	if (lag->sums.flows == 0) {
		buffer_append_text(out, "at the end of the log\n");
		return;
	}
	number(out, "pending: ", lag->sums.flows, " flow records with ");
	number(out, "", lag->sums.packets, " packets, ");
	buffer_format(out, "in the log since %s\n", iso_text(lag->since_ms, time));
}

static void print_period(struct buffer *out, const struct audit_redis *redis, enum period period)
{
	char label[24];

	snprintf(label, sizeof(label), "  Redis %ss", period_name(period));
	buffer_format(out, "%-16s", label);
	number(out, "", (int64_t)redis->compared[period], " compared");
	if (redis->expired[period] > 0)
		number(out, ", ", (int64_t)redis->expired[period], " expired");
	if (redis->skipped[period] > 0)
		number(out, ", ", (int64_t)redis->skipped[period],
			" not comparable: still moving, or older than the topic");
	buffer_u8(out, '\n');
}

static void print_view_gap(struct buffer *out, const char *view, const struct gap *gap)
{
	char sentence[GAP_SENTENCE_BYTES];

	gap_sentence(gap, view, sentence);
	buffer_format(out, "  gap           %s\n", sentence);
}

static void print_views(struct buffer *out, const struct audit *audit)
{
	const struct audit_books *books = &audit->books;
	int64_t poison = 0;

	buffer_append_text(out, "\nViews\n");
	if (audit->has_redis) {
		print_lag(out, "count", &books->count_lag);
		for (unsigned i = 0; i < PERIOD_COUNT; i++)
			print_period(out, &audit->redis, (enum period)i);
		number(out, "  Redis days    ", audit->redis.total.packets, " packets, ");
		number(out, "", audit->redis.total.bytes, " wire bytes\n");
	} else {
		buffer_format(out, "  count         not available: %s\n", audit->redis_reason.text);
	}
	if (books->has_enriched)
		print_lag(out, "enrich", &books->enrich_lag);
	else
		buffer_format(
			out, "  enrich        not available: %s\n", audit->enriched_reason.text);
	each_count_gap(out, audit, print_view_gap);
	each_enrich_gap(out, audit, print_view_gap);
	if (!books->has_sensors)
		buffer_format(
			out, "  sensors.v1    not available: %s\n", audit->sensors_reason.text);
	for (uint32_t i = 0; i < books->partition_count; i++)
		poison += books->partitions[i].poison;
	if (poison > 0)
		number(out, "  poison        ", poison, " messages of flows.v1 cannot be read\n");
	buffer_format(out, "\nAudited in %.1f s.\n", audit->seconds);
}

static void print_text(struct buffer *out, const struct audit *audit)
{
	print_findings(out, &audit->findings);
	for (uint32_t i = 0; i < audit->books.series_count; i++)
		if (audit->books.series[i].minute_count > 0)
			print_series(out, audit, i);
	print_views(out, audit);
}

int audit_print(const struct audit *audit, FILE *out)
{
	struct buffer text = { 0 };
	int rc = 0;

	if (audit->query.wants_json)
		print_json(&text, audit);
	else
		print_text(&text, audit);
	if (text.failed)
		rc = -ENOMEM;
	else if (fwrite(text.data, 1, text.size, out) != text.size || fflush(out) != 0)
		rc = -EIO;
	buffer_fini(&text);
	return rc;
}
