/*
 * Entries lie in chunks that never move; an open-addressing index of 8-byte slots (32 bits of
 * hash, 32 bits entry number) finds them with linear probing at a load of at most 3/4. A flow with
 * the short key is one cache line of 64 bytes, its slots 11 to 21: about 80 bytes a flow, and two
 * cache lines a packet.
 *
 * Distinct destinations start inside the entry (one hash), move to a block of 6, 14 and 64 hashes
 * (half a cache line, one, and four) and then to 1,024 registers. Blocks come from a pool; a
 * growing sketch hands its old block back. What a shard's sketches take is charged to its budget
 * when they grow and never refunded, so that the pool stays below the sum of the budgets and a
 * sketch is full at the same packet whoever counts it. A full one stays as it is and says so.
 *
 * An entry whose sums come near the end of their fields is left behind, and another one goes on
 * with its key; at the close both are added up.
 */
#include "sensor/flow_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/bytes.h"
#include "sensor/prefetch.h"

#define CHUNK_ENTRIES	 (1u << FLOW_CHUNK_SHIFT)
#define FIRST_SLOTS	 1024
#define POOL_CHUNK_SHIFT 10 /* units of 8 bytes */
#define POOL_CHUNK_BYTES (8u << POOL_CHUNK_SHIFT)
#define LINE_BYTES	 64 /* a cache line */
#define EMPTY_SLOT	 0
#define POOL_PIECES	 FLOW_FAMILIES /* an arena piece's kind: a family's chunk, or the pool's */
#define PACKETS_MAX	 (UINT32_MAX - 1)
#define BYTES_MASK	 ((UINT64_C(1) << 48) - 1)
#define BYTES_MAX	 (BYTES_MASK - UINT32_MAX)
#define TIME_MASK	 ((1u << 26) - 1)

static_assert(offsetof(struct flow_entry, key) + 16 == LINE_BYTES, "a flow is one cache line");
static_assert(60000000 <= TIME_MASK, "a minute's microseconds fit");

#define STRIDE(bytes) ((uint32_t)offsetof(struct flow_entry, key) + (bytes))

/* Sizes of destination blocks: a header and so many hashes, or registers. */
enum { CLASS_6, CLASS_14, CLASS_64, CLASS_REGISTERS, BLOCK_CLASSES };

struct block {
	uint16_t is_registers;
	uint16_t count;	   /* hashes held */
	uint16_t capacity; /* hashes that fit */
	uint16_t class;
	union {
		uint32_t hashes[SKETCH_LIST_MAX];
		uint8_t registers[SKETCH_REGISTERS];
		uint32_t next_free;
	};
};

#define BLOCK_HEADER_BYTES offsetof(struct block, hashes)
#define NO_BLOCK	   UINT32_MAX

static const struct {
	uint16_t capacity;
	uint16_t bytes;
} block_classes[BLOCK_CLASSES] = {
	{ 6, BLOCK_HEADER_BYTES + 24 },
	{ 14, BLOCK_HEADER_BYTES + 56 },
	{ 64, BLOCK_HEADER_BYTES + 256 },
	{ 0, BLOCK_HEADER_BYTES + SKETCH_REGISTERS },
};

/* Blocks are named by chunk and place, in units of 8 bytes. */
struct pool {
	uint8_t **chunks;
	uint32_t chunk_count;
	uint32_t used; /* bytes of the newest chunk */
	uint32_t free[BLOCK_CLASSES];
};

/* The flows of one family. */
struct family {
	uint64_t *slots;
	uint32_t slot_mask;
	uint32_t *count; /* where whoever comes after a killed process finds it */
	uint32_t key_bytes;
	uint32_t stride;
	uint8_t **chunks;
	uint32_t chunk_count;
};

/* What this table has of a shard's budget. */
struct share {
	size_t flows; /* all but overflow flows */
	size_t sketch_bytes;
};

struct flow_table {
	struct family families[FLOW_FAMILIES];
	struct pool pool;
	struct flow_budgets *budgets;
	struct arena *arena;
	uint64_t overflow_packets;
	uint64_t sketch_overflow;
	struct share shares[];
};

/* ---- pool of destination blocks ---- */

static struct block *block_at(const struct flow_table *table, uint32_t ref)
{
	uint8_t *chunk = table->pool.chunks[ref >> POOL_CHUNK_SHIFT];

	return (struct block *)(void *)(chunk + (size_t)(ref & ((1u << POOL_CHUNK_SHIFT) - 1)) * 8);
}

/* Makes room for one more in an array of pointers; it is full at each power of two. */
static int reserve_chunk(uint8_t ***chunks, uint32_t count)
{
	uint8_t **more;

	if ((count & (count - 1)) != 0)
		return 0;
	more = realloc(*chunks, (count != 0 ? (size_t)count * 2 : 1) * sizeof(**chunks));
	if (more == NULL)
		return -ENOMEM;
	*chunks = more;
	return 0;
}

static int add_pool_chunk(struct flow_table *table)
{
	struct pool *pool = &table->pool;
	uint8_t *chunk;

	if (pool->chunk_count == UINT32_MAX >> POOL_CHUNK_SHIFT ||
		reserve_chunk(&pool->chunks, pool->chunk_count) != 0)
		return -ENOMEM;
	chunk = arena_take(table->arena, POOL_CHUNK_BYTES,
		(struct arena_tag){ POOL_PIECES, pool->chunk_count });
	if (chunk == NULL)
		return -ENOMEM;
	pool->chunks[pool->chunk_count++] = chunk;
	pool->used = 0;
	return 0;
}

static uint32_t pool_take(struct flow_table *table, unsigned class, uint32_t shard)
{
	struct flow_budget *budget = &table->budgets->shard[shard];
	struct pool *pool = &table->pool;
	uint32_t bytes = block_classes[class].bytes;
	uint32_t ref = pool->free[class];
	struct block *block;

	if (flow_budget_sketch_bytes(budget) + bytes > budget->sketch_bytes_max)
		return NO_BLOCK;
	if (ref != NO_BLOCK) {
		block = block_at(table, ref);
		pool->free[class] = block->next_free;
	} else {
		if (bytes == LINE_BYTES)
			pool->used = (pool->used + LINE_BYTES - 1) & ~(LINE_BYTES - 1u);
		if ((pool->chunk_count == 0 || pool->used + bytes > POOL_CHUNK_BYTES) &&
			add_pool_chunk(table) != 0)
			return NO_BLOCK;
		ref = (pool->chunk_count - 1) << POOL_CHUNK_SHIFT | pool->used / 8;
		pool->used += bytes;
		block = block_at(table, ref);
	}
	budget->sketch_bytes_taken += bytes;
	table->shares[shard].sketch_bytes += bytes;
	block->is_registers = class == CLASS_REGISTERS;
	block->count = 0;
	block->capacity = block_classes[class].capacity;
	block->class = (uint16_t) class;
	return ref;
}

static void pool_give_back(struct flow_table *table, uint32_t ref)
{
	struct block *block = block_at(table, ref);

	block->next_free = table->pool.free[block->class];
	table->pool.free[block->class] = ref;
}

/* ---- distinct destinations of an entry ---- */

/* What an entry's `destinations` is. */
enum { DESTINATIONS_NONE, DESTINATIONS_SINGLE, DESTINATIONS_BLOCK };

static bool list_has(const struct block *block, uint32_t hash)
{
	bool found = false;

	for (unsigned i = 0; i < block->count;
		i++) /* no early end: the compiler makes it vector code */
		found |= block->hashes[i] == hash;
	return found;
}

/* Moves the entry's hashes to the next larger block; false when the budget is used up. */
static bool grow(struct flow_table *table, struct flow_entry *entry, uint32_t shard)
{
	const struct block *block = block_at(table, entry->destinations);
	uint32_t ref = pool_take(table, block->class + 1u, shard);
	struct block *larger;

	if (ref == NO_BLOCK)
		return false;
	larger = block_at(table, ref);
	if (larger->is_registers) {
		memset(larger->registers, 0, SKETCH_REGISTERS);
		for (unsigned i = 0; i < block->count; i++)
			sketch_register_add(larger->registers, block->hashes[i]);
	} else {
		memcpy(larger->hashes, block->hashes, block->count * sizeof(block->hashes[0]));
		larger->count = block->count;
	}
	pool_give_back(table, entry->destinations);
	entry->destinations = ref;
	return true;
}

static void note_full(struct flow_table *table, struct flow_entry *entry)
{
	entry->destinations_full = 1;
	table->sketch_overflow++;
}

static void add_to_block(
	struct flow_table *table, struct flow_entry *entry, uint32_t hash, uint32_t shard)
{
	struct block *block = block_at(table, entry->destinations);

	if (!block->is_registers) {
		if (list_has(block, hash))
			return;
		if (block->count < block->capacity) {
			block->hashes[block->count++] = hash;
			return;
		}
		if (entry->destinations_full || !grow(table, entry, shard)) {
			note_full(table, entry);
			return;
		}
		block = block_at(table, entry->destinations);
	}
	if (block->is_registers)
		sketch_register_add(block->registers, hash);
	else
		block->hashes[block->count++] = hash;
}

static void add_second(
	struct flow_table *table, struct flow_entry *entry, uint32_t hash, uint32_t shard)
{
	uint32_t ref = entry->destinations_full ? NO_BLOCK : pool_take(table, CLASS_6, shard);
	struct block *block;

	if (ref == NO_BLOCK) {
		note_full(table, entry);
		return;
	}
	block = block_at(table, ref);
	block->hashes[0] = entry->destinations;
	block->hashes[1] = hash;
	block->count = 2;
	entry->destinations = ref;
	entry->destinations_form = DESTINATIONS_BLOCK;
}

static void add_destination(
	struct flow_table *table, struct flow_entry *entry, uint32_t hash, uint32_t shard)
{
	switch (entry->destinations_form) {
	case DESTINATIONS_NONE:
		entry->destinations = hash;
		entry->destinations_form = DESTINATIONS_SINGLE;
		break;
	case DESTINATIONS_SINGLE:
		if (entry->destinations != hash)
			add_second(table, entry, hash, shard);
		break;
	default:
		add_to_block(table, entry, hash, shard);
		break;
	}
}

void flow_entry_prefetch_destinations(
	const struct flow_table *table, const struct flow_entry *entry)
{
	if (entry->destinations_form == DESTINATIONS_BLOCK)
		prefetch(block_at(table, entry->destinations));
}

void flow_entry_sketch(
	const struct flow_table *table, const struct flow_entry *entry, struct sketch *out)
{
	const struct block *block;

	out->form = 0;
	out->count = 0;
	if (entry->destinations_form == DESTINATIONS_NONE)
		return;
	if (entry->destinations_form == DESTINATIONS_SINGLE) {
		sketch_add(out, entry->destinations);
	} else {
		block = block_at(table, entry->destinations);
		if (block->is_registers) {
			out->form = SKETCH_REGISTERED;
			memcpy(out->registers, block->registers, SKETCH_REGISTERS);
			return;
		}
		for (unsigned i = 0; i < block->count; i++)
			sketch_add(out, block->hashes[i]);
	}
	if (entry->destinations_full)
		out->form = SKETCH_SATURATED;
}

/* ---- table ---- */

static uint64_t *make_slots(uint32_t count)
{
	return large_alloc((size_t)count * sizeof(uint64_t)); /* zeroed: EMPTY_SLOT */
}

static void free_slots(struct family *family)
{
	if (family->slots != NULL)
		large_free(family->slots, ((size_t)family->slot_mask + 1) * sizeof(uint64_t));
	family->slots = NULL;
}

static int family_init(struct family *family, enum flow_family kind, size_t expected)
{
	uint32_t slots = FIRST_SLOTS;

	while (slots < UINT32_MAX / 2 && (uint64_t)slots * 3 < (uint64_t)expected * 4)
		slots *= 2;
	family->key_bytes = (uint32_t)flow_key_bytes(kind);
	family->stride = STRIDE(family->key_bytes);
	family->slot_mask = slots - 1;
	family->slots = make_slots(slots);
	return family->slots != NULL ? 0 : -ENOMEM;
}

int flow_table_create(struct flow_table **out, struct flow_budgets *budgets, struct arena *arena,
	uint32_t counts[FLOW_FAMILIES])
{
	struct flow_table *table =
		calloc(1, sizeof(*table) + budgets->shards * sizeof(table->shares[0]));
	int rc = 0;

	if (table == NULL)
		return -ENOMEM;
	table->budgets = budgets;
	table->arena = arena;
	for (unsigned i = 0; i < BLOCK_CLASSES; i++)
		table->pool.free[i] = NO_BLOCK;
	for (unsigned i = 0; i < FLOW_FAMILIES; i++)
		table->families[i].count = &counts[i];
	for (unsigned i = 0; rc == 0 && i < FLOW_FAMILIES; i++)
		rc = family_init(
			&table->families[i], (enum flow_family)i, budgets->flows_expected[i]);
	if (rc != 0) {
		flow_table_destroy(table);
		return rc;
	}
	*out = table;
	return 0;
}

void flow_table_seal(struct flow_table *table)
{
	for (unsigned i = 0; i < FLOW_FAMILIES; i++)
		free_slots(&table->families[i]);
}

void flow_table_destroy(struct flow_table *table)
{
	if (table == NULL)
		return;
	for (unsigned i = 0; i < table->budgets->shards; i++) {
		struct flow_budget *budget = &table->budgets->shard[i];

		atomic_fetch_add(&budget->flows_returned, table->shares[i].flows);
		atomic_fetch_add(&budget->sketch_bytes_returned, table->shares[i].sketch_bytes);
	}
	flow_table_seal(table);
	for (unsigned i = 0; i < FLOW_FAMILIES; i++) {
		table->budgets->flows_expected[i] = *table->families[i].count;
		free(table->families[i].chunks);
	}
	free(table->pool.chunks);
	free(table);
}

static struct flow_entry *entry_at(const struct family *family, uint32_t number)
{
	uint8_t *chunk = family->chunks[number >> FLOW_CHUNK_SHIFT];

	return (struct flow_entry *)(void *)(chunk + (size_t)(number & (CHUNK_ENTRIES - 1)) *
							     family->stride);
}

void flow_table_prefetch_slot(
	const struct flow_table *table, uint64_t hash, enum flow_family family)
{
	const struct family *f = &table->families[family];

	prefetch(&f->slots[hash & f->slot_mask]);
}

/* An entry whose slot has the key's hash is the key's but once in billions. */
struct flow_entry *flow_table_prefetch_entry(
	const struct flow_table *table, uint64_t hash, enum flow_family family)
{
	const struct family *f = &table->families[family];

	for (uint32_t at = (uint32_t)hash & f->slot_mask;; at = (at + 1) & f->slot_mask) {
		uint64_t slot = f->slots[at];

		if (slot == EMPTY_SLOT)
			return NULL;
		if ((uint32_t)slot == (uint32_t)hash) {
			struct flow_entry *entry = entry_at(f, (uint32_t)(slot >> 32) - 1);

			prefetch(entry);
			return entry;
		}
	}
}

static int grow_index(struct family *family)
{
	uint32_t slot_count = (family->slot_mask + 1) * 2;
	uint64_t *slots = make_slots(slot_count);

	if (slots == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i <= family->slot_mask; i++) {
		uint64_t slot = family->slots[i];
		uint32_t at = (uint32_t)slot & (slot_count - 1);

		if (slot == EMPTY_SLOT)
			continue;
		while (slots[at] != EMPTY_SLOT)
			at = (at + 1) & (slot_count - 1);
		slots[at] = slot;
	}
	free_slots(family);
	family->slots = slots;
	family->slot_mask = slot_count - 1;
	return 0;
}

/* A slot: entry number + 1 in the upper, the hash's low 32 bits (which place it) in the lower half. */
static uint64_t slot_of(uint32_t number, uint64_t hash)
{
	return (uint64_t)(number + 1) << 32 | (uint32_t)hash;
}

/* Keys are a multiple of eight bytes; most differ in the first eight or not at all. */
static bool same_key(const uint8_t *a, const uint8_t *b, uint32_t bytes)
{
	uint64_t differ = 0;

	for (uint32_t at = 0; at < bytes; at += 8) {
		uint64_t x, y;

		memcpy(&x, a + at, 8);
		memcpy(&y, b + at, 8);
		differ |= x ^ y;
	}
	return differ == 0;
}

static struct flow_entry *find(
	const struct family *family, const uint8_t *key, uint64_t hash, uint32_t *at)
{
	*at = (uint32_t)hash & family->slot_mask;
	for (;;) {
		uint64_t slot = family->slots[*at];

		if (slot == EMPTY_SLOT)
			return NULL;
		if ((uint32_t)slot == (uint32_t)hash) {
			struct flow_entry *entry = entry_at(family, (uint32_t)(slot >> 32) - 1);

			if (same_key(entry->key, key, family->key_bytes))
				return entry;
		}
		*at = (*at + 1) & family->slot_mask;
	}
}

/* An empty entry for the key, not yet in the index. */
static struct flow_entry *new_entry(
	struct flow_table *table, struct family *family, const uint8_t *key)
{
	struct flow_entry *entry;

	if (*family->count == UINT32_MAX - 1)
		return NULL;
	if (*family->count == family->chunk_count << FLOW_CHUNK_SHIFT) {
		if (reserve_chunk(&family->chunks, family->chunk_count) != 0)
			return NULL;
		family->chunks[family->chunk_count] =
			arena_take(table->arena, (size_t)CHUNK_ENTRIES * family->stride,
				(struct arena_tag){ (uint32_t)(family - table->families),
					family->chunk_count });
		if (family->chunks[family->chunk_count] == NULL)
			return NULL;
		family->chunk_count++;
	}
	entry = entry_at(family, (*family->count)++);
	memset(entry, 0, offsetof(struct flow_entry, key));
	memcpy(entry->key, key, family->key_bytes);
	return entry;
}

static struct flow_entry *insert(struct flow_table *table, struct family *family,
	const uint8_t *key, uint64_t hash, uint32_t at)
{
	struct flow_entry *entry;

	if ((uint64_t)(*family->count + 1) * 4 > ((uint64_t)family->slot_mask + 1) * 3) {
		if (grow_index(family) != 0)
			return NULL;
		(void)find(family, key, hash, &at);
	}
	entry = new_entry(table, family, key);
	if (entry != NULL)
		family->slots[at] = slot_of(*family->count - 1, hash);
	return entry;
}

struct flow_sample flow_entry_sample(const struct flow_entry *entry)
{
	struct flow_sample sample = {
		.tcp_sequence = entry->sample_tcp_sequence,
		.ip_length = entry->sample_ip_length,
		.ip_id = entry->sample_ip_id,
		.tcp_window = entry->sample_tcp_window,
		.source_port = entry->sample_source_port,
		.tcp_mss = entry->sample_tcp_mss,
		.ttl = (uint8_t)entry->sample_ttl,
		.is_df = entry->sample_is_df,
	};

	memcpy(sample.tcp_options, entry->sample_tcp_options, sizeof(sample.tcp_options));
	return sample;
}

static void set_sample(struct flow_entry *entry, const struct flow_sample *sample)
{
	entry->sample_tcp_sequence = sample->tcp_sequence;
	entry->sample_ip_length = sample->ip_length;
	entry->sample_ip_id = sample->ip_id;
	entry->sample_tcp_window = sample->tcp_window;
	entry->sample_source_port = sample->source_port;
	entry->sample_tcp_mss = sample->tcp_mss;
	entry->sample_ttl = sample->ttl;
	entry->sample_is_df = sample->is_df;
	memcpy(entry->sample_tcp_options, sample->tcp_options, sizeof(sample->tcp_options));
}

/* A packet earlier than any before, or as early with a lesser sample, gives the flow its sample:
 * so it does not matter in which order packets arrive. */
static void take_sample(struct flow_entry *entry, const struct flow_update *update)
{
	struct flow_sample sample, now;

	sample = update->sample(update->context);
	if (entry->packets > 0 && update->time_us == entry->first_us) {
		now = flow_entry_sample(entry);
		if (memcmp(&sample, &now, sizeof(sample)) >= 0)
			return;
	}
	set_sample(entry, &sample);
}

static void update_entry(
	struct flow_table *table, struct flow_entry *entry, const struct flow_update *update)
{
	uint32_t time_us = update->time_us;

	if (entry->packets == 0 || time_us <= entry->first_us) {
		take_sample(entry, update);
		entry->first_us = time_us & TIME_MASK;
	}
	if (time_us > entry->last_us)
		entry->last_us = time_us & TIME_MASK;
	entry->packets++;
	entry->bytes = (entry->bytes + update->bytes) & BYTES_MASK;
	add_destination(table, entry, update->destination_hash, update->shard);
}

static bool is_nearly_full(const struct flow_entry *entry)
{
	return entry->packets >= PACKETS_MAX || entry->bytes >= BYTES_MAX;
}

/* The key's entry, made when there is none and `may_insert`. NULL: no room. */
static struct flow_entry *entry_of(struct flow_table *table, const struct flow_key *key,
	uint64_t hash, bool may_insert, bool *is_new)
{
	struct family *family = &table->families[key->family];
	uint32_t at;
	struct flow_entry *entry = find(family, key->bytes, hash, &at);

	*is_new = false;
	if (entry == NULL && may_insert) {
		entry = insert(table, family, key->bytes, hash, at);
		*is_new = entry != NULL;
	} else if (entry != NULL && is_nearly_full(entry)) {
		entry = new_entry(table, family, key->bytes);
		if (entry != NULL)
			family->slots[at] = slot_of(*family->count - 1, hash);
	}
	return entry;
}

/* The overflow flow keeps what counters need most: class, IP version, protocol. There are few. */
static void overflow_key(struct flow_key *out, const struct flow_key *key)
{
	static const uint8_t nobody[16];
	struct flow_labels labels;

	flow_key_labels(&labels, key->bytes, (enum flow_family)key->family);
	labels = (struct flow_labels){ .class = labels.class,
		.role = labels.role,
		.protocol = labels.protocol,
		.service_port = SERVICE_NONE,
		.is_overflow = true };
	flow_key_make(out, nobody, nobody, flow_key_address_bytes((enum flow_family)key->family),
		&labels);
}

static void count_overflow(
	struct flow_table *table, const struct flow_key *key, const struct flow_update *update)
{
	struct flow_key overflow;
	struct flow_entry *entry;
	bool is_new;

	overflow_key(&overflow, key);
	entry = entry_of(
		table, &overflow, flow_key_hash(&overflow, table->budgets->secret), true, &is_new);
	table->overflow_packets++;
	if (entry != NULL)
		update_entry(table, entry, update);
	else
		table->budgets->is_out_of_memory = true;
}

bool flow_table_count(struct flow_table *table, const struct flow_key *key, uint64_t hash,
	struct flow_entry *likely, const struct flow_update *update)
{
	struct flow_budget *budget = &table->budgets->shard[update->shard];
	struct flow_entry *entry;
	bool is_new;

	if (likely != NULL && same_key(likely->key, key->bytes, key->size) &&
		!is_nearly_full(likely)) {
		update_entry(table, likely, update);
		return true;
	}
	entry = entry_of(table, key, hash, flow_budget_flows(budget) < budget->flows_max, &is_new);
	if (entry == NULL) {
		count_overflow(table, key, update);
		return false;
	}
	budget->flows_taken += is_new;
	table->shares[update->shard].flows += is_new;
	update_entry(table, entry, update);
	return true;
}

size_t flow_table_flows(const struct flow_table *table)
{
	size_t flows = 0;

	for (unsigned i = 0; i < FLOW_FAMILIES; i++)
		flows += *table->families[i].count;
	return flows;
}

uint64_t flow_table_overflow_packets(const struct flow_table *table)
{
	return table->overflow_packets;
}

uint64_t flow_table_sketch_overflow(const struct flow_table *table)
{
	return table->sketch_overflow;
}

size_t flow_table_memory(const struct flow_table *table)
{
	size_t bytes = sizeof(*table) + (size_t)table->pool.chunk_count * POOL_CHUNK_BYTES;

	for (unsigned i = 0; i < FLOW_FAMILIES; i++) {
		const struct family *family = &table->families[i];

		bytes += (size_t)family->chunk_count * CHUNK_ENTRIES * family->stride;
		if (family->slots != NULL)
			bytes += ((size_t)family->slot_mask + 1) * sizeof(uint64_t);
	}
	return bytes;
}

struct flow_list flow_table_list(const struct flow_table *table, enum flow_family family)
{
	const struct family *f = &table->families[family];

	return (struct flow_list){ f->chunks, *f->count, f->stride };
}

/* ---- taken over from a killed process ---- */

/* Puts a chunk in its place; between, what is missing stays NULL. */
static int attach_chunk(uint8_t ***chunks, uint32_t *count, uint32_t index, uint8_t *chunk)
{
	while (*count <= index) {
		if (reserve_chunk(chunks, *count) != 0)
			return -ENOMEM;
		(*chunks)[(*count)++] = NULL;
	}
	(*chunks)[index] = chunk;
	return 0;
}

int flow_table_attach(
	struct flow_table *table, struct arena_tag tag, void *piece, size_t piece_bytes)
{
	struct pool *pool = &table->pool;

	if (tag.index > UINT32_MAX >> FLOW_CHUNK_SHIFT)
		return 0; /* no index of ours: the piece is not missed by anyone */
	if (tag.kind == POOL_PIECES && piece_bytes == POOL_CHUNK_BYTES)
		return attach_chunk(&pool->chunks, &pool->chunk_count, tag.index, piece);
	if (tag.kind < FLOW_FAMILIES) {
		struct family *family = &table->families[tag.kind];

		if (piece_bytes == (size_t)CHUNK_ENTRIES * family->stride)
			return attach_chunk(
				&family->chunks, &family->chunk_count, tag.index, piece);
	}
	return 0;
}

/* Flows beyond the last chunk, and from the first missing one on, are gone. */
static void cut_to_chunks(struct family *family)
{
	uint32_t chunks = 0;

	while (chunks < family->chunk_count && family->chunks[chunks] != NULL)
		chunks++;
	if (*family->count > (uint64_t)chunks << FLOW_CHUNK_SHIFT)
		*family->count = chunks << FLOW_CHUNK_SHIFT;
}

static bool block_is_sound(const struct flow_table *table, uint32_t ref)
{
	uint32_t chunk = ref >> POOL_CHUNK_SHIFT;
	uint32_t offset = (ref & ((1u << POOL_CHUNK_SHIFT) - 1)) * 8;
	const struct block *block;

	if (chunk >= table->pool.chunk_count || table->pool.chunks[chunk] == NULL ||
		offset + sizeof(struct block) - SKETCH_REGISTERS + 24 > POOL_CHUNK_BYTES)
		return false;
	block = block_at(table, ref);
	return block->class < BLOCK_CLASSES &&
	       offset + block_classes[block->class].bytes <= POOL_CHUNK_BYTES &&
	       block->capacity == block_classes[block->class].capacity &&
	       (block->class == CLASS_REGISTERS) == (block->is_registers != 0) &&
	       block->count <= block->capacity &&
	       (!block->is_registers || sketch_registers_are_sound(block->registers));
}

static bool flow_is_possible(const struct flow_entry *entry, enum flow_family family)
{
	struct flow_labels labels;

	flow_key_labels(&labels, entry->key, family);
	return labels.class < CLASS_COUNT && labels.role < ROLE_COUNT && labels.tool < TOOL_COUNT &&
	       labels.payload < PAYLOAD_COUNT && labels.service_port >= SERVICE_NONE &&
	       labels.service_port <= SERVICE_OF_TYPE(255) && entry->packets > 0 &&
	       entry->first_us <= entry->last_us && entry->last_us < 60000000;
}

static void repair_entry(
	const struct flow_table *table, struct flow_entry *entry, enum flow_family family)
{
	if (!flow_is_possible(entry, family)) {
		entry->packets = 0;
		entry->bytes = 0;
		return;
	}
	if (entry->destinations_form == DESTINATIONS_BLOCK &&
		block_is_sound(table, entry->destinations))
		return;
	if (entry->destinations_form >= DESTINATIONS_BLOCK) {
		entry->destinations_form = DESTINATIONS_NONE;
		entry->destinations_full = 1;
	}
}

uint64_t flow_table_repair(struct flow_table *table, uint64_t *bytes)
{
	uint64_t packets = 0;

	*bytes = 0;
	for (unsigned i = 0; i < FLOW_FAMILIES; i++) {
		struct family *family = &table->families[i];

		cut_to_chunks(family);
		for (uint32_t n = 0; n < *family->count; n++) {
			struct flow_entry *entry = entry_at(family, n);

			repair_entry(table, entry, (enum flow_family)i);
			packets += entry->packets;
			*bytes += entry->bytes;
		}
	}
	flow_table_seal(table);
	return packets;
}
