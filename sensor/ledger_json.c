#include "sensor/ledger_json.h"

#include "schemas/base/json.h"
#include "sensor/packet.h"

static void nullable(struct buffer *out, const char *key, int64_t value)
{
	if (value == AVRO_NULL_LONG)
		json_member_null(out, key);
	else
		json_member_int(out, key, value);
}

static void json_ranges(struct buffer *out, const struct avro_list *list)
{
	const struct ledger_range *ranges = list->items;

	json_key(out, "range_prefixes");
	json_open(out, '[');
	for (size_t i = 0; i < list->count; i++)
		json_bytes(out, ranges[i].prefix);
	json_close(out, ']');
	json_key(out, "range_addresses");
	json_open(out, '[');
	for (size_t i = 0; i < list->count; i++)
		json_double(out, ranges[i].addresses, 0);
	json_close(out, ']');
	json_key(out, "range_packets");
	json_open(out, '[');
	for (size_t i = 0; i < list->count; i++)
		json_int(out, ranges[i].packets);
	json_close(out, ']');
}

static void json_senders(struct buffer *out, const struct marker_record *ledger)
{
	const struct ledger_sender *senders = ledger->dark_senders.items;

	json_key(out, "dark_senders");
	json_open(out, '[');
	for (size_t i = 0; i < ledger->dark_senders.count; i++)
		json_bytes(out, senders[i].address);
	json_close(out, ']');
	json_member_int(out, "dark_sender_packets", ledger->dark_sender_packets);
}

void ledger_json(
	struct buffer *out, const struct origin *origin, const struct marker_record *ledger)
{
	json_open(out, '{');
	json_member_text(out, "sensor", origin->sensor);
	json_member_text(out, "timeline", origin->timeline);
	json_member_int(out, "boot", origin->boot);
	json_member_int(out, "entry", ledger->entry);
	json_member_time(out, "minute", ledger->minute_ms);
	json_member_int(out, "part", ledger->part);
	json_member_int(out, "interval_from_ns", ledger->interval_from_ns);
	json_member_int(out, "interval_to_ns", ledger->interval_to_ns);
	json_key(out, "observed_seconds");
	json_double(out, (double)(ledger->interval_to_ns - ledger->interval_from_ns) / 1e9, 6);
	json_member_int(out, "frames", ledger->frames);
	json_member_int(out, "non_ip", ledger->non_ip);
	json_member_int(out, "malformed", ledger->malformed);
#define DROP_REASON(ident, name, field, text)                                                      \
	json_member_int(out, "malformed_" name, ledger->field);
#include "sensor/drop_reasons.def"
	json_member_int(out, "not_dark", ledger->not_dark);
	json_member_int(out, "counted", ledger->counted);
	json_member_int(out, "wire_bytes", ledger->wire_bytes);
	nullable(out, "first_ns", ledger->first_ns);
	nullable(out, "last_ns", ledger->last_ns);
	json_member_int(out, "kernel_drops", ledger->kernel_drops);
	json_member_int(out, "interface_drops", ledger->interface_drops);
	json_member_int(out, "misdated", ledger->misdated);
	json_member_int(out, "overflow", ledger->overflow);
	json_member_int(out, "sketch_overflow", ledger->sketch_overflow);
	json_member_int(out, "lost_entries", ledger->lost_entries);
	json_member_int(out, "lost_flows", ledger->lost_flows);
	json_member_int(out, "lost_packets", ledger->lost_packets);
	nullable(out, "gap_from_ns", ledger->gap_from_ns);
	nullable(out, "gap_to_ns", ledger->gap_to_ns);
	nullable(out, "monitored_addresses", ledger->monitored_addresses);
	nullable(out, "monitored_ipv6_prefixes", ledger->monitored_ipv6_prefixes);
	json_ranges(out, &ledger->ranges);
	json_senders(out, ledger);
	json_close(out, '}');
}
