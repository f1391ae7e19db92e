/*
 * The flow table: packets of one minute that agree in every label, added up.
 *
 * One table holds both address families of one minute and one shard. It is bounded: beyond the
 * limit a packet goes to an overflow flow that keeps class, IP version and protocol, and is
 * counted as such. The memory of destination sketches is bounded too.
 *
 * Threads: one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/labels.h"
#include "schemas/sketch.h"
#include "sensor/arena.h"

#define FLOW_LABEL_BYTES  20
#define FLOW_KEY_MAX	  (32 + FLOW_LABEL_BYTES)
#define FLOW_SECRET_BYTES 8

/** The key as bytes in record order: actor, source, labels; its size tells the family. */
struct flow_key {
	uint8_t bytes[FLOW_KEY_MAX];
	uint8_t size; /* 28 for IPv4, 52 for IPv6 */
};

/** Header fields of a flow's first packet. */
struct flow_sample {
	uint32_t tcp_sequence;
	uint16_t ip_length;
	uint16_t ip_id;
	uint16_t tcp_window;
	uint16_t source_port;
	uint16_t tcp_mss;
	uint8_t ttl;
	uint8_t is_df;
	uint8_t tcp_options[8]; /* kinds in order */
};

/**
 * One flow as it lies in the table; `key` has as many bytes as its family needs. For IPv4 it is one
 * cache line: what every packet touches. The sample, touched by the first packet only, lies apart.
 */
struct flow_entry {
	uint64_t bytes;
	uint64_t destinations; /* see flow_entry_sketch */
	struct flow_sample *sample;
	uint32_t packets;
	uint32_t first_us; /* since the window's start */
	uint32_t last_us;
	uint8_t key[];
};

/** Labels of a key, taken apart. */
struct flow_labels {
	uint8_t class;
	uint8_t role;
	uint8_t protocol;
	uint8_t tool;
	int32_t service_port;
	uint32_t marks;
	uint8_t payload;
	bool has_quote;
	bool quote_matches;
	bool quote_has_port;
	uint8_t quoted_protocol;
	uint16_t quoted_port;
	bool is_overflow;
};

/** What one packet adds. */
struct flow_update {
	uint32_t time_us; /* since the window's start */
	uint32_t bytes;
	uint32_t destination_hash; /* sketch_hash of the destination */
	struct flow_sample (*sample)(
		const void *context); /* asked only when the sample may be kept */
	const void *context;
};

/** Limits and the hash secret, shared by the tables of one shard over all its open minutes. */
struct flow_budget {
	uint64_t secret; /* random: nobody outside can build colliding keys */
	size_t flows_max;
	size_t flows; /* in all tables of this budget */
	size_t sketch_bytes_max;
	size_t sketch_bytes;
	bool is_out_of_memory; /* a packet could not be counted at all: the books no longer balance */
};

struct flow_table;

/** Builds a key. @param actor, source  `address_bytes` each (4 or 16) */
void flow_key_make(struct flow_key *out, const uint8_t *actor, const uint8_t *source,
	size_t address_bytes, const struct flow_labels *labels);
void flow_key_labels(struct flow_labels *out, const uint8_t *key, size_t key_size);

/** The table's keyed hash, and the fixed one that chooses a shard. */
uint64_t flow_key_hash(const struct flow_key *key, uint64_t secret);
uint32_t flow_key_shard(const struct flow_key *key, uint32_t shards);

/** Makes an empty table whose flows lie in `arena`, which must outlive it, as must `budget`. */
int flow_table_create(struct flow_table **out, struct flow_budget *budget, struct arena *arena);
void flow_table_destroy(struct flow_table *table);

/**
 * Bring a key's memory closer, in steps some packets apart and some packets before
 * flow_table_count: the index slot, the entry that it names, the destinations that this names.
 */
void flow_table_prefetch_slot(const struct flow_table *table, uint64_t hash, size_t key_size);
void flow_table_prefetch_entry(const struct flow_table *table, uint64_t hash, size_t key_size);
void flow_table_prefetch_destinations(
	const struct flow_table *table, uint64_t hash, size_t key_size);

/**
 * Counts one packet. @return true when it was counted under its own key, false under overflow
 */
bool flow_table_count(struct flow_table *table, const struct flow_key *key, uint64_t hash,
	const struct flow_update *update);

size_t flow_table_flows(const struct flow_table *table);
uint64_t flow_table_overflow_packets(const struct flow_table *table);
uint64_t flow_table_sketch_overflow(const struct flow_table *table);

/** Bytes of memory the table uses, of its arena's and its own. */
size_t flow_table_memory(const struct flow_table *table);

/** Collects the entries of one family into `out` (room for flow_table_family_flows of them). */
size_t flow_table_family_flows(const struct flow_table *table, unsigned ip_version);
void flow_table_entries(
	const struct flow_table *table, unsigned ip_version, const struct flow_entry **out);

/** Brings a listed entry closer, some entries before it is read. */
void flow_entry_prefetch(const struct flow_entry *entry);

/** Unpacks an entry's distinct destinations. */
void flow_entry_sketch(const struct flow_entry *entry, struct sketch *out);
