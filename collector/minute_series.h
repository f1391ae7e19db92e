/*
 * The series of one minute: packets, bytes and distinct actors of every label, exact.
 *
 * An actor lives in one partition, so the series of all partitions add up. Labels are bounded by
 * nature, pairs of label and actor by the minute's flows.
 *
 * Threads: one at a time.
 */
#pragma once

#include "collector/tally.h"

#define SERIES_SENSORS_MAX                                                                         \
	64 /* whose base is kept apart; what further ones say is left out and counted */

struct series_value {
	uint64_t packets;
	uint64_t bytes;
	uint64_t actors;
};

/** What a sensor says of itself in this minute's markers. */
struct series_sensor {
	char name[ORIGIN_TEXT_BYTES];
	int64_t monitored_addresses; /* AVRO_NULL_LONG: no dark ranges */
	int64_t observed_ns;
};

/** The base of the minute: that of the whole telescope, the same in each partition. */
struct series_base {
	struct series_sensor sensors[SERIES_SENSORS_MAX];
	size_t sensor_count;
	uint64_t left_out; /* markers */
	uint64_t kernel_drops, interface_drops, lost_packets, overflow;
};

struct minute_series {
	struct count_map counters; /* minute_series_key → struct series_value */
	struct count_map pairs;	   /* hash of (label, actor): those that are counted */
	struct series_base base;
	bool is_out_of_memory;
};

int minute_series_init(struct minute_series *series) MUST_CHECK;
void minute_series_fini(struct minute_series *series);

/** Adds a flow. Memory running out is latched in `is_out_of_memory`. */
void minute_series_flow(
	struct minute_series *series, const struct flow_record *flow, const struct geo_answer *geo);

/** Adds what a marker says of its part. */
void minute_series_marker(struct minute_series *series, const struct origin *origin,
	const struct marker_record *marker);

enum dimension minute_series_dimension(uint64_t key);
uint32_t minute_series_label(uint64_t key);

/** All packets, of which there may be none. */
struct series_value minute_series_total(const struct minute_series *series);

/** Sum of the sensors' addresses; AVRO_NULL_LONG when one does not know its own, or there is none. */
int64_t series_base_addresses(const struct series_base *base);

/** Seconds observed times addresses, over all sensors; -1 when not known. */
double series_base_address_seconds(const struct series_base *base);
