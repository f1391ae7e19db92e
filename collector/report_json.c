#include <stdlib.h>

#include "collector/report.h"
#include "schemas/base/json.h"

static void nullable(struct buffer *out, const char *key, int64_t value)
{
	if (value == AVRO_NULL_LONG)
		json_member_null(out, key);
	else
		json_member_int(out, key, value);
}

static void member_double(struct buffer *out, const char *key, double value, int decimals)
{
	json_key(out, key);
	json_double(out, value, decimals);
}

/* Rule 4: what every number of the report stands on. */
static void json_base(const struct report *report, struct buffer *out)
{
	const struct marker_record *books = &report->books;
	double address_days = (double)report->address_ms / 86400000.0;

	json_key(out, "base");
	json_open(out, '{');
	json_member_text(out, "base", report->query.base);
	json_member_text(out, "survey_scanners", "included");
	json_member_uint(out, "applied", report_applied(report));
	json_member_uint(out, "sensors", report->sensors);
	nullable(out, "monitored_addresses", report->monitored_addresses);
	nullable(out, "monitored_ipv6_prefixes", report->monitored_ipv6_prefixes);
	member_double(out, "observed_seconds", (double)report->observed_ms / 1000.0, 3);
	member_double(out, "address_seconds", (double)report->address_ms / 1000.0, 3);
	if (report->address_ms > 0)
		member_double(
			out, "packets_per_address_day", (double)books->counted / address_days, 3);
	else
		json_member_null(out, "packets_per_address_day");
	json_member_int(out, "kernel_drops", books->kernel_drops);
	json_member_int(out, "interface_drops", books->interface_drops);
	json_member_int(out, "misdated", books->misdated);
	json_member_int(out, "overflow", books->overflow);
	json_member_int(out, "sketch_overflow", books->sketch_overflow);
	json_member_int(out, "lost_entries", books->lost_entries);
	json_member_int(out, "lost_flows", books->lost_flows);
	json_member_int(out, "lost_packets", books->lost_packets);
	json_member_int(out, "dark_sender_packets", books->dark_sender_packets);
	json_member_uint(out, "poison_messages", report->poison);
	json_key(out, "gaps");
	json_open(out, '[');
	for (size_t i = 0; i < report->gap_count; i++)
		json_text(out, report->gaps[i]);
	json_close(out, ']');
	json_key(out, "count_gaps");
	json_open(out, '[');
	for (size_t i = 0; i < report->count_gaps.count; i++) {
		json_open(out, '{');
		json_member_uint(out, "partition", report->count_gaps.items[i].partition);
		json_member_int(out, "from_offset", report->count_gaps.items[i].from);
		json_member_int(out, "to_offset", report->count_gaps.items[i].to);
		json_close(out, '}');
	}
	json_close(out, ']');
	if (report->note[0] != '\0')
		json_member_text(out, "note", report->note);
	json_close(out, '}');
}

static void json_books(const struct report *report, struct buffer *out)
{
	const struct marker_record *books = &report->books;

	json_member_int(out, "frames", books->frames);
	json_member_int(out, "non_ip", books->non_ip);
	json_member_int(out, "malformed", books->malformed);
	json_member_int(out, "not_dark", books->not_dark);
	json_member_int(out, "counted", books->counted);
	json_member_int(out, "wire_bytes", books->wire_bytes);
	nullable(out, "first_ns", books->first_ns);
	nullable(out, "last_ns", books->last_ns);
}

/* {"label": packets, …} */
static void json_counts(const struct report *report, struct buffer *out, const char *key,
	enum dimension dimension, unsigned role)
{
	json_key(out, key);
	json_open(out, '{');
	for (size_t i = 0; i < report->count; i++) {
		const struct report_row *row = &report->rows[i];

		if (row->dimension == dimension && row->bucket_s == REPORT_ALL_BUCKETS &&
			row->packets > 0 && (role == ROLE_COUNT || row->role == role))
			json_member_uint(out, row->label, row->packets);
	}
	json_close(out, '}');
}

static void json_services(const struct report *report, struct buffer *out)
{
	json_key(out, "per_service");
	json_open(out, '{');
	for (unsigned role = 0; role < ROLE_COUNT; role++)
		json_counts(report, out, role_name(role), DIM_SERVICE, role);
	json_close(out, '}');
}

static void json_minutes(const struct report *report, struct buffer *out)
{
	json_key(out, "per_minute");
	json_open(out, '[');
	for (size_t i = 0; i < report->minute_count; i++) {
		if (report->minutes[i].packets == 0)
			continue;
		json_open(out, '[');
		json_int(out, report->minute_starts[i]);
		json_uint(out, report->minutes[i].packets);
		json_close(out, ']');
	}
	json_close(out, ']');
}

static void json_whole(const struct report *report, struct buffer *out)
{
	const struct report_row *total;
	size_t found = report_rows_of(report, DIM_TOTAL, ROLE_COUNT, REPORT_ALL_BUCKETS, &total, 1);

	json_books(report, out);
	json_counts(report, out, "per_protocol", DIM_PROTOCOL, ROLE_COUNT);
	json_counts(report, out, "per_class", DIM_CLASS, ROLE_COUNT);
	json_counts(report, out, "per_fingerprint", DIM_TOOL, ROLE_COUNT);
	json_services(report, out);
	json_counts(report, out, "per_role", DIM_ROLE, ROLE_COUNT);
	json_counts(report, out, "per_country", DIM_COUNTRY, ROLE_COUNT);
	json_counts(report, out, "per_asn", DIM_ASN, ROLE_COUNT);
	json_counts(report, out, "per_payload", DIM_PAYLOAD, ROLE_COUNT);
	json_counts(report, out, "per_sensor", DIM_SENSOR, ROLE_COUNT);
	json_member_uint(out, "unique_actors", found > 0 ? total->actors : 0);
	member_double(out, "unique_actors_error", report->actors_error, 4);
	json_minutes(report, out);
}

static void json_row(const struct report *report, const struct report_row *row, struct buffer *out)
{
	json_open(out, '{');
	if (row->bucket_s != REPORT_ALL_BUCKETS)
		json_member_time(out, "time", row->bucket_s * 1000);
	if (row->dimension == DIM_SERVICE)
		json_member_text(out, "role", role_name(row->role));
	if (row->dimension != DIM_TOTAL)
		json_member_text(out, "label", row->label);
	if (row->dimension == DIM_ASN)
		json_member_text(out, "as_name", row->name);
	json_member_uint(out, "packets", row->packets);
	json_member_uint(out, "bytes", row->bytes);
	if (row->has_actors)
		json_member_uint(out, "unique_actors", row->actors);
	else
		json_member_null(out, "unique_actors");
	if (row->bucket_s == REPORT_ALL_BUCKETS && report->books.counted > 0)
		member_double(
			out, "share", (double)row->packets / (double)report->books.counted, 6);
	json_close(out, '}');
}

static void json_rows(const struct report *report, struct buffer *out)
{
	struct report_selection selection;

	json_member_text(out, "by",
		report->query.by != DIM_COUNT ? tally_dimension_name(report->query.by) : NULL);
	json_member_text(out, "per",
		report->query.per != PERIOD_COUNT ? period_name(report->query.per) : NULL);
	json_books(report, out);
	member_double(out, "unique_actors_error", report->actors_error, 4);
	json_key(out, "rows");
	json_open(out, '[');
	if (report_select(report, &selection) == 0) {
		for (size_t i = 0; i < selection.count; i++)
			json_row(report, &selection.rows[i], out);
		report_selection_fini(&selection);
	} else {
		out->failed = true;
	}
	json_close(out, ']');
}

void report_json(const struct report *report, struct buffer *out)
{
	json_open(out, '{');
	if (report->query.by == DIM_COUNT && report->query.per == PERIOD_COUNT)
		json_whole(report, out);
	else
		json_rows(report, out);
	json_base(report, out);
	json_close(out, '}');
	buffer_u8(out, '\n');
}
