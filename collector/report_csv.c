#include <inttypes.h>

#include "collector/report.h"
#include "schemas/base/json.h"

/* RFC 4180: a field with a comma, quote or line end is quoted, quotes are doubled. */
static void csv_text(struct buffer *out, const char *text)
{
	if (strpbrk(text, ",\"\r\n") == NULL) {
		buffer_append_text(out, text);
		return;
	}
	buffer_u8(out, '"');
	for (; *text != '\0'; text++) {
		if (*text == '"')
			buffer_u8(out, '"');
		buffer_u8(out, (uint8_t)*text);
	}
	buffer_u8(out, '"');
}

static void csv_row(struct buffer *out, const struct report_row *row)
{
	char time[ISO_TEXT_BYTES] = "";

	if (row->bucket_s != REPORT_ALL_BUCKETS)
		iso_text(row->bucket_s * 1000, time);
	csv_text(out, time);
	buffer_format(out, ",%s,%s,", tally_dimension_name(row->dimension),
		row->dimension == DIM_SERVICE ? role_name(row->role) : "");
	csv_text(out, row->label);
	buffer_u8(out, ',');
	csv_text(out, row->name != NULL ? row->name : "");
	buffer_format(out, ",%" PRIu64 ",%" PRIu64 ",", row->packets, row->bytes);
	if (row->has_actors)
		buffer_format(out, "%" PRIu64, row->actors);
	buffer_append_text(out, "\r\n");
}

static void csv_book(struct buffer *out, const char *label, int64_t value)
{
	if (value != AVRO_NULL_LONG)
		buffer_format(out, ",ledger,,%s,,%" PRId64 ",,\r\n", label, value);
}

/* The base comes as rows of dimensions "ledger" and "gap", so that a table of numbers never travels without it. */
static void csv_books(const struct report *report, struct buffer *out)
{
	const struct marker_record *books = &report->books;

	csv_book(out, "frames", books->frames);
	csv_book(out, "non_ip", books->non_ip);
	csv_book(out, "malformed", books->malformed);
	csv_book(out, "not_dark", books->not_dark);
	csv_book(out, "counted", books->counted);
	csv_book(out, "applied", (int64_t)report_applied(report));
	csv_book(out, "wire_bytes", books->wire_bytes);
	csv_book(out, "first_ns", books->first_ns);
	csv_book(out, "last_ns", books->last_ns);
	csv_book(out, "sensors", (int64_t)report->sensors);
	csv_book(out, "monitored_addresses", report->monitored_addresses);
	csv_book(out, "monitored_ipv6_prefixes", report->monitored_ipv6_prefixes);
	csv_book(out, "observed_ms", (int64_t)report->observed_ms);
	csv_book(out, "address_ms", (int64_t)report->address_ms);
	csv_book(out, "kernel_drops", books->kernel_drops);
	csv_book(out, "interface_drops", books->interface_drops);
	csv_book(out, "misdated", books->misdated);
	csv_book(out, "overflow", books->overflow);
	csv_book(out, "lost_packets", books->lost_packets);
	for (size_t i = 0; i < report->gap_count; i++) {
		buffer_append_text(out, ",gap,,");
		csv_text(out, report->gaps[i]);
		buffer_append_text(out, ",,,,\r\n");
	}
}

void report_csv(const struct report *report, struct buffer *out)
{
	struct report_selection selection;

	buffer_append_text(out, "time,dimension,role,label,name,packets,bytes,unique_actors\r\n");
	csv_books(report, out);
	if (report->query.by == DIM_COUNT && report->query.per == PERIOD_COUNT) {
		for (size_t i = 0; i < report->count; i++)
			if (report->rows[i].bucket_s == REPORT_ALL_BUCKETS)
				csv_row(out, &report->rows[i]);
		return;
	}
	if (report_select(report, &selection) != 0) {
		out->failed = true;
		return;
	}
	for (size_t i = 0; i < selection.count; i++)
		csv_row(out, &selection.rows[i]);
	report_selection_fini(&selection);
}
