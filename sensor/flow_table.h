/*
 * The flow table: packets of one minute that agree in every label, added up.
 *
 * One table holds what one worker counts in one minute, of both address families. It is bounded:
 * a shard that has reached its limit counts further packets under an overflow flow, which keeps
 * class, IP version and protocol. The memory of destination sketches is bounded too.
 *
 * Threads: one at a time; a table may be destroyed while others of the same budgets count.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/sketch.h"
#include "sensor/arena.h"
#include "sensor/flow_key.h"

/** Header fields of a flow's first packet. */
struct flow_sample {
	uint32_t tcp_sequence;
	uint16_t ip_length;
	uint16_t ip_id;
	uint16_t tcp_window;
	uint16_t source_port;
	uint16_t tcp_mss;
	uint8_t ttl;
	bool is_df;
	uint8_t tcp_options[8]; /* kinds in order */
};

/**
 * One flow as it lies in the table; `key` has as many bytes as its family needs. With the short
 * key it is one cache line, the sample included.
 */
struct flow_entry {
	uint32_t packets;
	uint32_t destinations;		/* what it means: destinations_form */
	uint64_t first_us : 26;		/* since the window's start */
	uint64_t last_us : 26;		/* same */
	uint64_t destinations_form : 2; /* flow_table.c */
	uint64_t destinations_full : 1; /* memory for more ran out */
	uint64_t sample_is_df : 1;
	uint64_t bytes : 48;
	uint64_t sample_ttl : 8;
	uint32_t sample_tcp_sequence;
	uint16_t sample_ip_length;
	uint16_t sample_ip_id;
	uint16_t sample_tcp_window;
	uint16_t sample_source_port;
	uint16_t sample_tcp_mss;
	uint8_t sample_tcp_options[8];
	uint16_t unused;
	uint8_t key[];
};

/** What one packet adds. */
struct flow_update {
	uint32_t time_us; /* since the window's start, below 60,000,000 */
	uint32_t bytes;
	uint32_t destination_hash; /* sketch_hash of the destination */
	uint32_t shard;		   /* whose limit holds: flow_key_shard */
	struct flow_sample (*sample)(
		const void *context); /* asked only when the sample may be kept */
	const void *context;
};

/**
 * Limits of one shard, over all open minutes. Shards never share: what one overflows is its own.
 * The counting thread takes; whoever destroys a table gives back.
 */
struct flow_budget {
	size_t flows_max;
	size_t flows_taken;
	atomic_size_t flows_returned;
	size_t sketch_bytes_max;
	size_t sketch_bytes_taken;
	atomic_size_t sketch_bytes_returned;
};

static inline size_t flow_budget_flows(const struct flow_budget *budget)
{
	return budget->flows_taken -
	       atomic_load_explicit(&budget->flows_returned, memory_order_relaxed);
}

static inline size_t flow_budget_sketch_bytes(const struct flow_budget *budget)
{
	return budget->sketch_bytes_taken -
	       atomic_load_explicit(&budget->sketch_bytes_returned, memory_order_relaxed);
}

/** What the tables of one worker share. `shard` is owned by whoever made it. */
struct flow_budgets {
	uint64_t secret; /* random: nobody outside can build colliding keys */
	unsigned shards;
	struct flow_budget *shard;
	/* the last table's: the next one begins that large */
	atomic_size_t flows_expected[FLOW_FAMILIES];
	bool is_out_of_memory; /* a packet could not be counted at all: the books no longer balance */
};

struct flow_table;

/**
 * Makes a table whose flows lie in `arena`, which must outlive it, as must `budgets` and `counts`:
 * flows of each family, zero for an empty table.
 */
int flow_table_create(struct flow_table **out, struct flow_budgets *budgets, struct arena *arena,
	uint32_t counts[FLOW_FAMILIES]);
void flow_table_destroy(struct flow_table *table);

/**
 * Bring a key's memory closer, in steps some packets apart and some packets before
 * flow_table_count: the index slot, the entry that it names, the destinations that this names.
 * The second step gives the entry that is likely the key's, or NULL; the third is
 * flow_entry_prefetch_destinations.
 */
void flow_table_prefetch_slot(
	const struct flow_table *table, uint64_t hash, enum flow_family family);
struct flow_entry *flow_table_prefetch_entry(
	const struct flow_table *table, uint64_t hash, enum flow_family family);

/**
 * Counts one packet. @param likely  from flow_table_prefetch_entry, or NULL
 * @return true when it was counted under its own key, false under overflow
 */
bool flow_table_count(struct flow_table *table, const struct flow_key *key, uint64_t hash,
	struct flow_entry *likely, const struct flow_update *update);

size_t flow_table_flows(const struct flow_table *table);
uint64_t flow_table_overflow_packets(const struct flow_table *table);
uint64_t flow_table_sketch_overflow(const struct flow_table *table);

/** Bytes of memory the table uses, of its arena's and its own. */
size_t flow_table_memory(const struct flow_table *table);

/**
 * Takes over a piece of an arena that an earlier table filled. Attach all, then flow_table_repair.
 *
 * @return 0, -ENOMEM
 */
int flow_table_attach(
	struct flow_table *table, struct arena_tag tag, void *piece, size_t piece_bytes);

/**
 * Makes attached flows sound: what cannot be a flow, or has lost its memory, becomes a flow of no
 * packets. The table is then sealed. @return packets of all flows; `bytes` gets theirs
 */
uint64_t flow_table_repair(struct flow_table *table, uint64_t *bytes);

/** Ends counting: what only counting needs is given back. */
void flow_table_seal(struct flow_table *table);

/**
 * The entries of one family, numbered from 0. Two may have one key: they are to be added up. One
 * without packets is none.
 */
struct flow_list {
	uint8_t *const *chunks;
	uint32_t count;
	uint32_t stride;
};

#define FLOW_CHUNK_SHIFT 10 /* entries of a chunk, as a power of two */

struct flow_list flow_table_list(const struct flow_table *table, enum flow_family family);

static inline const struct flow_entry *flow_list_at(const struct flow_list *list, uint32_t number)
{
	const uint8_t *chunk = list->chunks[number >> FLOW_CHUNK_SHIFT];
	size_t within = number & ((1u << FLOW_CHUNK_SHIFT) - 1);

	return (const struct flow_entry *)(const void *)(chunk + within * list->stride);
}

struct flow_sample flow_entry_sample(const struct flow_entry *entry);

/** Brings an entry's destinations closer, some entries before they are read. */
void flow_entry_prefetch_destinations(
	const struct flow_table *table, const struct flow_entry *entry);

/** Unpacks an entry's distinct destinations. */
void flow_entry_sketch(
	const struct flow_table *table, const struct flow_entry *entry, struct sketch *out);
