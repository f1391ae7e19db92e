#include "schemas/flow.h"

/* What a record may claim of one minute: far above any wire (2^40 packets a minute is 18 G/s), and so
 * far below 2^53 that a lying message cannot push a sum past what Redis scripts add exactly. */
#define PACKETS_MAX (1LL << 40)
#define BYTES_MAX   (1LL << 46)
#define TIME_MAX_MS (INT64_MAX / 1000000 / 2) /* far beyond any calendar, safe to turn into ns */

#define ROW(record, name, kind, member)                                                            \
	{                                                                                          \
		name, kind, offsetof(struct record, member), NULL                                  \
	}
#define LIST(record, name, member, items)                                                          \
	{                                                                                          \
		name, AVRO_RECORDS, offsetof(struct record, member), items                         \
	}
#define TABLE(name, rows, record)                                                                  \
	{                                                                                          \
		name, rows, sizeof(rows) / sizeof((rows)[0]), sizeof(struct record)                \
	}

/* clang-format off */
static const struct avro_field flow_fields[] = {
	ROW(flow_record, "window",              AVRO_I64,   window_ms),
	ROW(flow_record, "ip_version",          AVRO_U8,    ip_version),
	ROW(flow_record, "actor",               AVRO_BYTES, actor),
	ROW(flow_record, "source",              AVRO_BYTES, source),
	ROW(flow_record, "class",               AVRO_U8,    class),
	ROW(flow_record, "role",                AVRO_U8,    role),
	ROW(flow_record, "protocol",            AVRO_U8,    protocol),
	ROW(flow_record, "service_port",        AVRO_I32,   service_port),
	ROW(flow_record, "tool",                AVRO_U8,    tool),
	ROW(flow_record, "marks",               AVRO_I64,   marks),
	ROW(flow_record, "payload",             AVRO_U8,    payload),
	ROW(flow_record, "quoted_protocol",     AVRO_I32,   quoted_protocol),
	ROW(flow_record, "quoted_port",         AVRO_I32,   quoted_port),
	ROW(flow_record, "quoted_match",        AVRO_BOOL,  quoted_match),
	ROW(flow_record, "packets",             AVRO_I64,   packets),
	ROW(flow_record, "bytes",               AVRO_I64,   bytes),
	ROW(flow_record, "first",               AVRO_I64,   first_us),
	ROW(flow_record, "last",                AVRO_I64,   last_us),
	ROW(flow_record, "destinations",        AVRO_I64,   destinations),
	ROW(flow_record, "destination_sketch",  AVRO_BYTES, destination_sketch),
	ROW(flow_record, "sample_ttl",          AVRO_U8,    sample_ttl),
	ROW(flow_record, "sample_ip_length",    AVRO_U16,   sample_ip_length),
	ROW(flow_record, "sample_ip_id",        AVRO_U16,   sample_ip_id),
	ROW(flow_record, "sample_df",           AVRO_BOOL,  sample_df),
	ROW(flow_record, "sample_source_port",  AVRO_U16,   sample_source_port),
	ROW(flow_record, "sample_tcp_window",   AVRO_U16,   sample_tcp_window),
	ROW(flow_record, "sample_tcp_sequence", AVRO_I64,   sample_tcp_sequence),
	ROW(flow_record, "sample_tcp_mss",      AVRO_U16,   sample_tcp_mss),
	ROW(flow_record, "sample_tcp_options",  AVRO_BYTES, sample_tcp_options),
	ROW(flow_record, "overflow",            AVRO_BOOL,  overflow),
};

static const struct avro_field range_fields[] = {
	ROW(ledger_range, "prefix",    AVRO_BYTES,  prefix),
	ROW(ledger_range, "addresses", AVRO_DOUBLE, addresses),
	ROW(ledger_range, "packets",   AVRO_I64,    packets),
};

static const struct avro_field sender_fields[] = {
	ROW(ledger_sender, "address", AVRO_BYTES, address),
	ROW(ledger_sender, "packets", AVRO_I64,   packets),
};

static const struct avro_table range_rows = TABLE("Range", range_fields, ledger_range);
static const struct avro_table sender_rows = TABLE("DarkSender", sender_fields, ledger_sender);

static const struct avro_field marker_fields[] = {
	ROW(marker_record, "entry",                   AVRO_I64,      entry),
	ROW(marker_record, "minute",                  AVRO_I64,      minute_ms),
	ROW(marker_record, "part",                    AVRO_I32,      part),
	ROW(marker_record, "partition",               AVRO_I32,      partition),
	ROW(marker_record, "partitions",              AVRO_I32,      partitions),
	ROW(marker_record, "flows",                   AVRO_I64,      flows),
	ROW(marker_record, "packets",                 AVRO_I64,      packets),
	ROW(marker_record, "closed_through",          AVRO_I64,      closed_through_ms),
	ROW(marker_record, "final",                   AVRO_BOOL,     final),
	ROW(marker_record, "interval_from_ns",        AVRO_I64,      interval_from_ns),
	ROW(marker_record, "interval_to_ns",          AVRO_I64,      interval_to_ns),
	ROW(marker_record, "frames",                  AVRO_I64,      frames),
	ROW(marker_record, "non_ip",                  AVRO_I64,      non_ip),
	ROW(marker_record, "malformed",               AVRO_I64,      malformed),
	ROW(marker_record, "malformed_ip_version",    AVRO_I64,      malformed_ip_version),
	ROW(marker_record, "malformed_header_cut",    AVRO_I64,      malformed_header_cut),
	ROW(marker_record, "malformed_header_length", AVRO_I64,      malformed_header_length),
	ROW(marker_record, "malformed_total_length",  AVRO_I64,      malformed_total_length),
	ROW(marker_record, "not_dark",                AVRO_I64,      not_dark),
	ROW(marker_record, "counted",                 AVRO_I64,      counted),
	ROW(marker_record, "wire_bytes",              AVRO_I64,      wire_bytes),
	ROW(marker_record, "first_ns",                AVRO_NULLABLE, first_ns),
	ROW(marker_record, "last_ns",                 AVRO_NULLABLE, last_ns),
	ROW(marker_record, "kernel_drops",            AVRO_I64,      kernel_drops),
	ROW(marker_record, "interface_drops",         AVRO_I64,      interface_drops),
	ROW(marker_record, "misdated",                AVRO_I64,      misdated),
	ROW(marker_record, "overflow",                AVRO_I64,      overflow),
	ROW(marker_record, "sketch_overflow",         AVRO_I64,      sketch_overflow),
	ROW(marker_record, "lost_entries",            AVRO_I64,      lost_entries),
	ROW(marker_record, "lost_flows",              AVRO_I64,      lost_flows),
	ROW(marker_record, "lost_packets",            AVRO_I64,      lost_packets),
	ROW(marker_record, "gap_from_ns",             AVRO_NULLABLE, gap_from_ns),
	ROW(marker_record, "gap_to_ns",               AVRO_NULLABLE, gap_to_ns),
	ROW(marker_record, "monitored_addresses",     AVRO_NULLABLE, monitored_addresses),
	ROW(marker_record, "monitored_ipv6_prefixes", AVRO_NULLABLE, monitored_ipv6_prefixes),
	LIST(marker_record, "ranges",                 ranges, &range_rows),
	LIST(marker_record, "dark_senders",           dark_senders, &sender_rows),
	ROW(marker_record, "dark_sender_packets",     AVRO_I64,      dark_sender_packets),
};
/* clang-format on */

const struct avro_table flow_table_rows = TABLE("Flow", flow_fields, flow_record);
const struct avro_table marker_table_rows = TABLE("Marker", marker_fields, marker_record);

struct flow_record flow_defaults(void)
{
	return (struct flow_record){
		.ip_version = 4,
		.service_port = SERVICE_NONE,
		.quoted_protocol = -1,
		.quoted_port = -1,
	};
}

struct marker_record marker_defaults(void)
{
	return (struct marker_record){
		.partitions = 1,
		.first_ns = AVRO_NULL_LONG,
		.last_ns = AVRO_NULL_LONG,
		.gap_from_ns = AVRO_NULL_LONG,
		.gap_to_ns = AVRO_NULL_LONG,
		.monitored_addresses = AVRO_NULL_LONG,
		.monitored_ipv6_prefixes = AVRO_NULL_LONG,
	};
}

static bool is_minute(int64_t time_ms)
{
	return time_ms >= 0 && time_ms <= TIME_MAX_MS && time_ms % WINDOW_MS == 0;
}

bool flow_is_sound(const struct flow_record *flow)
{
	size_t size = flow->ip_version == 6 ? 16 : 4;
	bool actor_fits = flow->actor.size == size || (flow->overflow && flow->actor.size == 0);
	bool source_fits = flow->source.size == size || flow->source.size == 0;

	return is_minute(flow->window_ms) && (flow->ip_version == 4 || flow->ip_version == 6) &&
	       actor_fits && source_fits && flow->class < CLASS_COUNT && flow->role < ROLE_COUNT &&
	       flow->service_port >= SERVICE_NONE &&
	       flow->service_port <= (SERVICE_TYPE_ONLY | 0xff00) && flow->quoted_protocol >= -1 &&
	       flow->quoted_protocol <= 255 && flow->quoted_port >= -1 &&
	       flow->quoted_port <= 65535 && flow->packets > 0 && flow->bytes >= 0 &&
	       flow->marks >= 0 && flow->destinations >= 0 && flow->first_us >= 0 &&
	       flow->first_us <= flow->last_us &&
	       flow->sample_tcp_options.size <= SAMPLE_OPTIONS_MAX;
}

/* No figure of a ledger is negative. */
static bool figures_are_sound(const struct marker_record *marker)
{
	for (size_t i = 0; i < marker_table_rows.field_count; i++) {
		const struct avro_field *field = &marker_table_rows.fields[i];
		int64_t value;

		if (field->kind != AVRO_I64 && field->kind != AVRO_NULLABLE)
			continue;
		memcpy(&value, (const uint8_t *)marker + field->offset, sizeof(value));
		if (value < 0 && !(field->kind == AVRO_NULLABLE && value == AVRO_NULL_LONG))
			return false;
	}
	return true;
}

bool marker_is_sound(const struct marker_record *marker)
{
	return is_minute(marker->minute_ms) && marker->part >= 0 && marker->partition >= 0 &&
	       marker->partition < marker->partitions && figures_are_sound(marker) &&
	       marker->interval_from_ns <= marker->interval_to_ns;
}

bool flow_is_plausible(const struct flow_record *flow)
{
	return flow->packets <= PACKETS_MAX && flow->bytes <= BYTES_MAX;
}

bool marker_is_plausible(const struct marker_record *marker)
{
	return marker->frames <= PACKETS_MAX && marker->non_ip <= PACKETS_MAX &&
	       marker->malformed <= PACKETS_MAX && marker->malformed_ip_version <= PACKETS_MAX &&
	       marker->malformed_header_cut <= PACKETS_MAX &&
	       marker->malformed_header_length <= PACKETS_MAX &&
	       marker->malformed_total_length <= PACKETS_MAX && marker->not_dark <= PACKETS_MAX &&
	       marker->counted <= PACKETS_MAX && marker->wire_bytes <= BYTES_MAX &&
	       marker->kernel_drops <= PACKETS_MAX && marker->interface_drops <= PACKETS_MAX &&
	       marker->misdated <= PACKETS_MAX && marker->overflow <= PACKETS_MAX &&
	       marker->sketch_overflow <= PACKETS_MAX && marker->lost_entries <= PACKETS_MAX &&
	       marker->lost_flows <= PACKETS_MAX && marker->lost_packets <= PACKETS_MAX &&
	       marker->dark_sender_packets <= PACKETS_MAX &&
	       marker->monitored_addresses <= (int64_t)UINT32_MAX + 1 &&
	       marker->monitored_ipv6_prefixes <= UINT32_MAX;
}

static struct address address_of(struct bytes bytes)
{
	struct address address = { .size = (uint8_t)bytes.size };

	if (bytes.size != 0)
		memcpy(address.bytes, bytes.data, bytes.size);
	return address;
}

struct address flow_actor(const struct flow_record *flow)
{
	return address_of(flow->actor);
}

struct address flow_source(const struct flow_record *flow)
{
	return address_of(flow->source.size != 0 ? flow->source : flow->actor);
}
