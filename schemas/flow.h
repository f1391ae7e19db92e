/*
 * Flow records and markers: what the sensor writes to the log and every view reads.
 *
 * flow.avsc and marker.avsc are the source of field names, order and meaning; the tables in flow.c
 * say where each lies in these structs.
 *
 * Threads: plain values. `bytes` members are borrowed: from the caller when encoding, from the
 * decoded block when decoding.
 */
#pragma once

#include "schemas/avro.h"
#include "schemas/base/address.h"
#include "schemas/labels.h"

#define WINDOW_MS	   60000
#define SAMPLE_OPTIONS_MAX 8
#define FLOWS_PER_BLOCK	   4096 /* flows of one message: DESIGN, "The log" */
#define LEDGER_SENDERS_MAX 64	/* dark addresses that sent, named in a ledger */

struct flow_record {
	int64_t window_ms;
	uint8_t ip_version;  /* 4 or 6 */
	struct bytes actor;  /* 4 or 16 bytes; none when overflow */
	struct bytes source; /* none: the same as the actor */
	uint8_t class;
	uint8_t role;
	uint8_t protocol;
	int32_t service_port; /* SERVICE_NONE, SERVICE_OF_TYPE or a port */
	uint8_t tool;
	int64_t marks;
	uint8_t payload;
	int32_t quoted_protocol; /* -1 none */
	int32_t quoted_port;	 /* -1 none */
	bool quoted_match;
	int64_t packets;
	int64_t bytes;
	int64_t first_us;
	int64_t last_us;
	int64_t destinations;
	struct bytes destination_sketch;
	uint8_t sample_ttl;
	uint16_t sample_ip_length;
	uint16_t sample_ip_id;
	bool sample_df;
	uint16_t sample_source_port;
	uint16_t sample_tcp_window;
	int64_t sample_tcp_sequence;
	uint16_t sample_tcp_mss;
	struct bytes sample_tcp_options;
	bool overflow;
};

struct ledger_range {
	struct bytes prefix; /* text */
	double addresses;
	int64_t packets;
};

struct ledger_sender {
	struct bytes address; /* text */
	int64_t packets;
};

struct marker_record {
	int64_t entry;
	int64_t minute_ms;
	int32_t part;
	int32_t partition;
	int32_t partitions;
	int64_t flows;
	int64_t packets;
	int64_t closed_through_ms;
	bool final;
	int64_t interval_from_ns;
	int64_t interval_to_ns;
	int64_t frames;
	int64_t non_ip;
	int64_t malformed;
	int64_t malformed_ip_version;
	int64_t malformed_header_cut;
	int64_t malformed_header_length;
	int64_t malformed_total_length;
	int64_t not_dark;
	int64_t counted;
	int64_t wire_bytes;
	int64_t first_ns; /* AVRO_NULL_LONG: nothing counted */
	int64_t last_ns;
	int64_t kernel_drops;
	int64_t interface_drops;
	int64_t misdated;
	int64_t overflow;
	int64_t sketch_overflow;
	int64_t lost_entries;
	int64_t lost_flows;
	int64_t lost_packets;
	int64_t gap_from_ns; /* AVRO_NULL_LONG: no gap */
	int64_t gap_to_ns;
	int64_t monitored_addresses; /* AVRO_NULL_LONG: no dark ranges given */
	int64_t monitored_ipv6_prefixes;
	struct avro_list ranges;       /* struct ledger_range */
	struct avro_list dark_senders; /* struct ledger_sender */
	int64_t dark_sender_packets;
};

extern const struct avro_table flow_table_rows;
extern const struct avro_table marker_table_rows;

/** A record with every field at its default. */
struct flow_record flow_defaults(void);
struct marker_record marker_defaults(void);

/**
 * True when class and role are known, sizes agree and nothing is negative. Tool, payload and marks
 * may be a newer release's (labels.h): to lose the message would lose its packets.
 */
bool flow_is_sound(const struct flow_record *flow);
bool marker_is_sound(const struct marker_record *marker);

/**
 * True when the figures can be one minute's. A sound record may still lie; added up, lies of this
 * size would stop counters that are exact below 2^53.
 */
bool flow_is_plausible(const struct flow_record *flow);
bool marker_is_plausible(const struct marker_record *marker);

/** The actor, or the source when it differs, as an address. */
struct address flow_actor(const struct flow_record *flow);
struct address flow_source(const struct flow_record *flow);
