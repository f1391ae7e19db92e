#include "collector/minute_series.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define LABEL_BITS 32
#define MINUTE_NS  (INT64_C(1000000) * WINDOW_MS) /* no part observes more of it */

static uint64_t key_of(enum dimension dimension, uint32_t label)
{
	return (uint64_t)dimension << LABEL_BITS | label;
}

enum dimension minute_series_dimension(uint64_t key)
{
	return (enum dimension)(key >> LABEL_BITS);
}

uint32_t minute_series_label(uint64_t key)
{
	return (uint32_t)key;
}

int minute_series_init(struct minute_series *series)
{
	int rc;

	*series = (struct minute_series){ 0 };
	rc = count_map_init(&series->counters, sizeof(struct series_value));
	if (rc == 0)
		rc = count_map_init(&series->pairs, 0);
	if (rc != 0)
		minute_series_fini(series);
	return rc;
}

void minute_series_fini(struct minute_series *series)
{
	count_map_fini(&series->counters);
	count_map_fini(&series->pairs);
}

/* Whether the actor is new to the label. Two that share a hash of 64 bits would count once. */
static bool add_pair(struct minute_series *series, uint64_t key, struct bytes actor)
{
	size_t before = series->pairs.count;
	uint64_t pair = XXH3_64bits_withSeed(actor.data, actor.size, key);

	if (count_map_at(&series->pairs, pair) == NULL)
		series->is_out_of_memory = true;
	return series->pairs.count > before;
}

static void add(struct minute_series *series, uint64_t key, const struct flow_record *flow)
{
	struct series_value *value = count_map_at(&series->counters, key);

	if (value == NULL) {
		series->is_out_of_memory = true;
		return;
	}
	value->packets += (uint64_t)flow->packets;
	value->bytes += (uint64_t)flow->bytes;
	if (!flow->overflow) /* whose actors are not known */
		value->actors += add_pair(series, key, flow->actor);
}

void minute_series_flow(
	struct minute_series *series, const struct flow_record *flow, const struct geo_answer *geo)
{
	uint32_t labels[DIM_COUNT];

	tally_labels(flow, geo, labels);
	for (enum dimension dimension = 0; dimension < DIM_COUNT; dimension++)
		if (dimension != DIM_SENSOR) /* sensors.v1 has these */
			add(series, key_of(dimension, labels[dimension]), flow);
}

static struct series_sensor *sensor_of(struct series_base *base, const char *name)
{
	struct series_sensor *sensor;

	for (size_t i = 0; i < base->sensor_count; i++)
		if (strcmp(base->sensors[i].name, name) == 0)
			return &base->sensors[i];
	if (base->sensor_count == SERIES_SENSORS_MAX)
		return NULL;
	sensor = &base->sensors[base->sensor_count++];
	snprintf(sensor->name, sizeof(sensor->name), "%s", name);
	sensor->monitored_addresses = AVRO_NULL_LONG;
	return sensor;
}

void minute_series_marker(struct minute_series *series, const struct origin *origin,
	const struct marker_record *marker)
{
	struct series_base *base = &series->base;
	struct series_sensor *sensor = sensor_of(base, origin->sensor);
	int64_t observed_ns = marker->interval_to_ns - marker->interval_from_ns;

	base->kernel_drops += (uint64_t)marker->kernel_drops;
	base->interface_drops += (uint64_t)marker->interface_drops;
	base->lost_packets += (uint64_t)marker->lost_packets;
	base->overflow += (uint64_t)marker->overflow;
	if (sensor == NULL) {
		base->left_out++;
		return;
	}
	sensor->observed_ns += observed_ns < MINUTE_NS ? observed_ns : MINUTE_NS;
	if (marker->monitored_addresses > sensor->monitored_addresses)
		sensor->monitored_addresses = marker->monitored_addresses;
}

struct series_value minute_series_total(const struct minute_series *series)
{
	struct series_value total = { 0 };
	size_t cursor = 0;
	uint64_t key;
	const struct series_value *value;

	while ((value = count_map_next(&series->counters, &cursor, &key)) != NULL)
		if (minute_series_dimension(key) == DIM_TOTAL)
			total = *value;
	return total;
}

int64_t series_base_addresses(const struct series_base *base)
{
	int64_t sum = 0;

	for (size_t i = 0; i < base->sensor_count; i++) {
		if (base->sensors[i].monitored_addresses == AVRO_NULL_LONG)
			return AVRO_NULL_LONG;
		sum += base->sensors[i].monitored_addresses;
	}
	return base->sensor_count > 0 ? sum : AVRO_NULL_LONG;
}

double series_base_address_seconds(const struct series_base *base)
{
	double sum = 0;

	if (series_base_addresses(base) == AVRO_NULL_LONG)
		return -1;
	for (size_t i = 0; i < base->sensor_count; i++)
		sum += (double)base->sensors[i].monitored_addresses *
		       ((double)base->sensors[i].observed_ns / 1e9);
	return sum;
}
