/*
 * The report for people: at most 100 columns, UTF-8. Shares name their base, bars show shape.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/report.h"
#include "schemas/base/json.h"

#define WIDTH	     100
#define BAR_CELLS    24
#define LABEL_CELLS  34
#define SPARK_CELLS  80
#define NUMBER_BYTES 32

/* 1234567 → "1,234,567" */
static const char *grouped(uint64_t value, char out[NUMBER_BYTES])
{
	char digits[NUMBER_BYTES];
	int size = snprintf(digits, sizeof(digits), "%" PRIu64, value), at = 0;

	for (int i = 0; i < size; i++) {
		if (i > 0 && (size - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return out;
}

/* Cells of a text: UTF-8 continuation bytes take none. */
static size_t cells(const char *text)
{
	size_t count = 0;

	for (; *text != '\0'; text++)
		count += ((uint8_t)*text & 0xc0) != 0x80;
	return count;
}

/* Appends the text, cut or padded to a number of cells; bytes that could steer a terminal go. */
static void padded(struct buffer *out, const char *text, size_t width)
{
	size_t used = 0;

	for (; *text != '\0'; text++) {
		bool starts = ((uint8_t)*text & 0xc0) != 0x80;

		if (starts && used == width)
			break;
		used += starts;
		buffer_u8(out, (uint8_t)*text < 0x20 || *text == 0x7f ? '?' : (uint8_t)*text);
	}
	for (; used < width; used++)
		buffer_u8(out, ' ');
}

static void bar(struct buffer *out, double share)
{
	static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	unsigned parts = (unsigned)(share * BAR_CELLS * 8 + 0.5);

	for (unsigned i = 0; i < parts / 8 && i < BAR_CELLS; i++)
		buffer_append_text(out, "█");
	if (parts / 8 < BAR_CELLS)
		buffer_append_text(out, eighths[parts % 8]);
}

static void heading(struct buffer *out, const char *text, const char *base)
{
	char actors[] = "actors ±";

	buffer_format(out, "\n%s", text);
	for (size_t i = cells(text); i < LABEL_CELLS + 2; i++)
		buffer_u8(out, ' ');
	buffer_format(out, "%14s  %6s  %11s\n", "packets", base, actors);
}

static void table_row(const struct report *report, const struct report_row *row, struct buffer *out)
{
	double share = report->books.counted > 0
			       ? (double)row->packets / (double)report->books.counted
			       : 0;
	char text[LABEL_TEXT_BYTES + 160], packets[NUMBER_BYTES], actors[NUMBER_BYTES] = "";

	snprintf(text, sizeof(text), "%s%s%s", row->label, row->name != NULL ? "  " : "",
		row->name != NULL ? row->name : "");
	if (row->has_actors)
		grouped(row->actors, actors);
	buffer_append_text(out, "  ");
	padded(out, row->dimension == DIM_ASN && row->name != NULL ? text : row->label,
		LABEL_CELLS);
	buffer_format(
		out, "%14s  %5.1f%%  %10s  ", grouped(row->packets, packets), share * 100, actors);
	bar(out, share);
	buffer_u8(out, '\n');
}

static void section(const struct report *report, struct buffer *out, const char *title,
	enum dimension dimension, unsigned role)
{
	const struct report_row **rows = calloc(report->count + 1, sizeof(*rows));
	size_t count, shown;
	char rest[NUMBER_BYTES];

	if (rows == NULL) {
		out->failed = true;
		return;
	}
	count = report_rows_of(report, dimension, role, REPORT_ALL_BUCKETS, rows, report->count);
	shown = count < report->query.top ? count : report->query.top;
	if (count > 0)
		heading(out, title, "of all");
	for (size_t i = 0; i < shown; i++)
		table_row(report, rows[i], out);
	if (count > shown) {
		uint64_t sum = 0;

		for (size_t i = shown; i < count; i++)
			sum += rows[i]->packets;
		buffer_format(out, "  … and %zu more%*s%s\n", count - shown,
			(int)(LABEL_CELLS + 14 - 12 - snprintf(NULL, 0, "%zu", count - shown)) -
				(int)strlen(grouped(sum, rest)) + 0,
			"", rest);
	}
	free(rows);
}

/* ---- the base ---- */

static void line(struct buffer *out, const char *label, const char *text)
{
	buffer_append_text(out, "  ");
	padded(out, label, 22);
	buffer_format(out, "%s\n", text);
}

static void books_line(struct buffer *out, const struct marker_record *books)
{
	char frames[NUMBER_BYTES], non_ip[NUMBER_BYTES], malformed[NUMBER_BYTES],
		not_dark[NUMBER_BYTES], counted[NUMBER_BYTES];

	grouped((uint64_t)books->frames, frames);
	grouped((uint64_t)books->non_ip, non_ip);
	grouped((uint64_t)books->malformed, malformed);
	grouped((uint64_t)books->not_dark, not_dark);
	grouped((uint64_t)books->counted, counted);
	buffer_format(out, "  %s frames = %s not IP + %s malformed + %s not dark + %s counted\n",
		frames, non_ip, malformed, not_dark, counted);
}

static void time_line(struct buffer *out, const struct marker_record *books)
{
	char first[ISO_TEXT_BYTES], last[ISO_TEXT_BYTES], text[128];

	if (books->first_ns == AVRO_NULL_LONG) {
		line(out, "first, last packet", "none");
		return;
	}
	snprintf(text, sizeof(text), "%s … %s",
		iso_text(books->first_ns / 1000000000 * 1000, first),
		iso_text(books->last_ns / 1000000000 * 1000, last));
	line(out, "first, last packet", text);
}

static void monitored_line(const struct report *report, struct buffer *out)
{
	char addresses[NUMBER_BYTES], text[160];

	if (report->monitored_addresses == AVRO_NULL_LONG)
		snprintf(text, sizeof(text),
			"unknown (no dark ranges given: every IP packet counts)");
	else
		snprintf(text, sizeof(text), "%s IPv4 addresses, %" PRId64 " IPv6 prefixes",
			grouped((uint64_t)report->monitored_addresses, addresses),
			report->monitored_ipv6_prefixes);
	line(out, "monitored", text);
	if (report->address_ms > 0) {
		snprintf(text, sizeof(text), "%.2f packets per monitored IPv4 address and day",
			(double)report->books.counted / ((double)report->address_ms / 86400000.0));
		line(out, "rate", text);
	}
}

static void coverage_line(const struct report *report, struct buffer *out)
{
	char text[160];
	double seconds = (double)report->observed_ms / 1000.0;

	snprintf(text, sizeof(text), "%.0f s (%.2f h) over %" PRIu64 " sensor%s", seconds,
		seconds / 3600.0, report->sensors, report->sensors == 1 ? "" : "s");
	line(out, "observed", text);
}

static void loss_line(const struct report *report, struct buffer *out)
{
	const struct marker_record *books = &report->books;
	char text[240];
	int size;

	size = snprintf(text, sizeof(text),
		"%" PRId64 " kernel drops, %" PRId64 " interface drops, %" PRId64
		" packets lost, %" PRId64 " in overflow",
		books->kernel_drops, books->interface_drops, books->lost_packets, books->overflow);
	if (books->misdated > 0)
		size += snprintf(text + size, sizeof(text) - (size_t)size,
			", %" PRId64 " misdated frames", books->misdated);
	if (report->poison > 0)
		snprintf(text + size, sizeof(text) - (size_t)size,
			", %" PRIu64 " unreadable messages", report->poison);
	line(out, "loss", text);
	if (report_applied(report) != (uint64_t)books->counted) {
		snprintf(text, sizeof(text),
			"%" PRIu64 " of %" PRId64 " counted packets are applied so far",
			report_applied(report), books->counted);
		line(out, "not complete", text);
	}
	for (size_t i = 0; i < report->gap_count; i++)
		line(out, i == 0 ? "gaps" : "", report->gaps[i]);
	if (books->dark_sender_packets > 0) {
		snprintf(text, sizeof(text),
			"%" PRId64
			" packets were sent from inside the dark ranges: not all of it is dark",
			books->dark_sender_packets);
		line(out, "not dark", text);
	}
	if (report->note[0] != '\0')
		line(out, "note", report->note);
}

static void base_block(const struct report *report, struct buffer *out)
{
	const struct report_row *total;
	char actors[NUMBER_BYTES], text[160];

	buffer_append_text(out, "Hoshimi report, base \"all\" (survey scanners included)\n\n");
	books_line(out, &report->books);
	time_line(out, &report->books);
	monitored_line(report, out);
	coverage_line(report, out);
	loss_line(report, out);
	if (report_rows_of(report, DIM_TOTAL, ROLE_COUNT, REPORT_ALL_BUCKETS, &total, 1) == 1 &&
		total->has_actors) {
		snprintf(text, sizeof(text), "%s (estimate, standard error %.2f %%)",
			grouped(total->actors, actors), report->actors_error * 100);
		line(out, "unique actors", text);
	}
}

/* ---- series ---- */

static void spark(struct buffer *out, const uint64_t *values, size_t count)
{
	static const char *const levels[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	uint64_t most = 0;

	for (size_t i = 0; i < count; i++)
		most = values[i] > most ? values[i] : most;
	for (size_t i = 0; i < count; i++)
		buffer_append_text(
			out, values[i] == 0 ? " " : levels[most > 0 ? values[i] * 7 / most : 0]);
}

/* Packets over time, as many minutes a cell as are needed to fit the line. */
static void series_line(const struct report *report, struct buffer *out)
{
	uint64_t values[SPARK_CELLS] = { 0 };
	char from[ISO_TEXT_BYTES], to[ISO_TEXT_BYTES];
	int64_t first, minutes, per_cell;

	if (report->minute_count == 0)
		return;
	first = report->minute_starts[0];
	minutes = (report->minute_starts[report->minute_count - 1] - first) / 60 + 1;
	per_cell = (minutes + SPARK_CELLS - 1) / SPARK_CELLS;
	for (size_t i = 0; i < report->minute_count; i++)
		values[(report->minute_starts[i] - first) / 60 / per_cell] +=
			report->minutes[i].packets;
	buffer_format(out, "\nPackets over time (%" PRId64 " min a cell)\n  ", per_cell);
	spark(out, values, (size_t)((minutes + per_cell - 1) / per_cell));
	buffer_format(out, "\n  %s … %s\n", iso_text(first * 1000, from),
		iso_text((first + minutes * 60) * 1000, to));
}

static void selection_rows(const struct report *report, struct buffer *out)
{
	struct report_selection selection;
	uint64_t most = 1;

	if (report_select(report, &selection) != 0) {
		out->failed = true;
		return;
	}
	for (size_t i = 0; i < selection.count; i++)
		most = selection.rows[i].packets > most ? selection.rows[i].packets : most;
	buffer_format(out, "\n  %-21s%-28s%14s  %11s\n", "time",
		report->query.by != DIM_COUNT ? tally_dimension_name(report->query.by) : "",
		"packets", "actors ±");
	for (size_t i = 0; i < selection.count; i++) {
		const struct report_row *row = &selection.rows[i];
		char time[ISO_TEXT_BYTES], packets[NUMBER_BYTES], actors[NUMBER_BYTES] = "",
								  label[LABEL_TEXT_BYTES + 16] = "";

		if (row->dimension == DIM_SERVICE)
			snprintf(label, sizeof(label), "%s (%s)", row->label, role_name(row->role));
		else if (row->dimension != DIM_TOTAL)
			snprintf(label, sizeof(label), "%s", row->label);
		if (row->has_actors)
			grouped(row->actors, actors);
		buffer_format(out, "  %-21s", iso_text(row->bucket_s * 1000, time));
		padded(out, label, 28);
		buffer_format(out, "%14s  %10s  ", grouped(row->packets, packets), actors);
		bar(out, (double)row->packets / (double)most * 0.8);
		buffer_u8(out, '\n');
	}
	report_selection_fini(&selection);
}

static const struct {
	const char *title;
	enum dimension dimension;
	unsigned role;
} sections[] = {
	{ "Services probed", DIM_SERVICE, ROLE_PROBE },
	{ "Services under attack (backscatter)", DIM_SERVICE, ROLE_BACKSCATTER },
	{ "Classes", DIM_CLASS, ROLE_COUNT },
	{ "Protocols", DIM_PROTOCOL, ROLE_COUNT },
	{ "Tools", DIM_TOOL, ROLE_COUNT },
	{ "Countries", DIM_COUNTRY, ROLE_COUNT },
	{ "Networks", DIM_ASN, ROLE_COUNT },
	{ "Sensors", DIM_SENSOR, ROLE_COUNT },
};

void report_table(const struct report *report, struct buffer *out)
{
	base_block(report, out);
	if (report->query.per != PERIOD_COUNT) {
		selection_rows(report, out);
		return;
	}
	if (report->query.by == DIM_SERVICE) {
		for (unsigned role = 0; role < ROLE_COUNT; role++)
			section(report, out, role_name(role), DIM_SERVICE, role);
		return;
	}
	if (report->query.by != DIM_COUNT) {
		section(report, out, tally_dimension_name(report->query.by), report->query.by,
			ROLE_COUNT);
		return;
	}
	series_line(report, out);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		section(report, out, sections[i].title, sections[i].dimension, sections[i].role);
}
