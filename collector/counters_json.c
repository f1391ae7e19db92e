#include "collector/counters_json.h"

#include "schemas/base/json.h"

static void open_record(struct buffer *out, const struct counters_head *head,
	enum dimension dimension, const char *role, const char *label,
	const struct series_value *value)
{
	json_open(out, '{');
	json_member_time(out, "minute", head->minute_ms);
	json_member_text(out, "timeline", head->timeline);
	json_member_uint(out, "partition", head->partition);
	json_member_text(out, "base", "all");
	json_member_bool(out, "late", head->is_late);
	json_member_text(out, "dimension", tally_dimension_name(dimension));
	json_member_text(out, "role", role);
	json_member_text(out, "label", label);
	json_member_uint(out, "packets", value->packets);
	json_member_uint(out, "bytes", value->bytes);
	json_member_uint(out, "unique_actors", value->actors);
}

void counters_json(struct buffer *out, const struct counters_head *head, uint64_t key,
	const struct series_value *value)
{
	static const struct tally no_sensors = { 0 };
	enum dimension dimension = minute_series_dimension(key);
	uint32_t label = minute_series_label(key);
	const char *role = dimension == DIM_SERVICE ? role_name(tally_service_role(label)) : NULL;
	char text[LABEL_TEXT_BYTES];

	open_record(out, head, dimension, role, tally_label(&no_sensors, dimension, label, text),
		value);
	json_close(out, '}');
}

static void nullable_double(struct buffer *out, const char *key, double value)
{
	json_key(out, key);
	if (value < 0)
		json_nothing(out);
	else
		json_double(out, value, 3);
}

void counters_total_json(
	struct buffer *out, const struct counters_head *head, const struct minute_series *series)
{
	const struct series_base *base = &series->base;
	struct series_value total = minute_series_total(series);
	int64_t addresses = series_base_addresses(base);

	open_record(out, head, DIM_TOTAL, NULL, "total", &total);
	json_member_uint(out, "sensors", base->sensor_count + (base->left_out > 0));
	if (addresses == AVRO_NULL_LONG)
		json_member_null(out, "monitored_addresses");
	else
		json_member_int(out, "monitored_addresses", addresses);
	nullable_double(out, "address_seconds", series_base_address_seconds(base));
	json_member_uint(out, "kernel_drops", base->kernel_drops);
	json_member_uint(out, "interface_drops", base->interface_drops);
	json_member_uint(out, "lost_packets", base->lost_packets);
	json_member_uint(out, "overflow", base->overflow);
	json_member_uint(out, "events", 0); /* records of events.v1: none are made yet */
	json_close(out, '}');
}
