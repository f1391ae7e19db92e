/*
 * Entries lie in chunks that never move; an open-addressing index of 8-byte slots (32 bits of
 * hash, 32 bits entry number) finds them with linear probing at a load of at most 3/4. An IPv4
 * entry is one cache line of 64 bytes, its sample 24, its slot 11 to 21: about 105 bytes a flow.
 *
 * Distinct destinations start inside the entry (one hash), move to a block of 6, 14 and 64 hashes
 * (half a cache line, one, and four) and then to 1,024 registers. Blocks come from a pool; a growing sketch hands its old block back.
 * When the pool's budget is used up the sketch stays as it is and is marked saturated.
 */
#include "sensor/flow_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/bytes.h"

#define SHARD_SEED                                                                                 \
	0x686f7368696d6933ULL /* fixed: shards decide what overflows, which must repeat */
#define CHUNK_SHIFT	 6    /* small: a minute with a single late packet must cost little */
#define CHUNK_ENTRIES	 (1u << CHUNK_SHIFT)
#define FIRST_SLOTS	 16
#define POOL_CHUNK_BYTES 8192
#define LINE_BYTES	 64 /* a cache line */
#define EMPTY_SLOT	 UINT64_MAX
#define V4_KEY_BYTES	 (8 + FLOW_LABEL_BYTES)
#define V6_KEY_BYTES	 (32 + FLOW_LABEL_BYTES)

static_assert(sizeof(struct flow_sample) == 24, "the sample is part of the memory target");
static_assert(
	offsetof(struct flow_entry, key) + V4_KEY_BYTES == 64, "an IPv4 flow is one cache line");

/* Sizes of destination blocks: a header and so many hashes, or registers. */
enum { CLASS_6, CLASS_14, CLASS_64, CLASS_REGISTERS, BLOCK_CLASSES };

struct block {
	uint16_t form;	   /* enum sketch_form */
	uint16_t count;	   /* hashes held */
	uint16_t capacity; /* hashes that fit */
	uint16_t class;
	union {
		uint32_t hashes[SKETCH_LIST_MAX];
		uint8_t registers[SKETCH_REGISTERS];
		struct block *next_free;
	};
};

#define BLOCK_HEADER_BYTES offsetof(struct block, hashes)

static const struct {
	uint16_t capacity;
	uint16_t bytes;
} block_classes[BLOCK_CLASSES] = {
	{ 6, BLOCK_HEADER_BYTES + 24 },
	{ 14, BLOCK_HEADER_BYTES + 56 },
	{ 64, BLOCK_HEADER_BYTES + 256 },
	{ 0, BLOCK_HEADER_BYTES + SKETCH_REGISTERS },
};

struct pool {
	uint8_t *chunk; /* the newest */
	size_t used;
	struct block *free[BLOCK_CLASSES];
};

/* The flows of one address family. */
struct family {
	uint64_t *slots;
	uint32_t slot_mask;
	uint32_t count;
	uint32_t stride;
	uint32_t key_bytes;
	uint8_t **chunks;
	uint32_t chunk_count;
};

struct flow_table {
	struct family v4, v6;
	struct pool pool;
	struct flow_budget *budget;
	struct arena *arena;
	size_t limited_flows; /* counted against the budget: all but overflow flows */
	size_t sketch_bytes;
	uint64_t overflow_packets;
	uint64_t sketch_overflow;
};

/* ---- keys ----
 *
 *  0 class | role | protocol | tool
 *  4 service port + 1, 0 none (big endian, so that key order is port order)
 *  8 marks
 * 12 payload | overflow | quote flags | quoted protocol
 * 16 quoted port | 0 | 0
 */
enum { QUOTE_PRESENT = 1, QUOTE_MATCHES = 2, QUOTE_HAS_PORT = 4 };

static void store_labels(uint8_t *p, const struct flow_labels *labels)
{
	p[0] = labels->class;
	p[1] = labels->role;
	p[2] = labels->protocol;
	p[3] = labels->tool;
	store_u32(p + 4, (uint32_t)(labels->service_port + 1));
	store_u32(p + 8, labels->marks);
	p[12] = labels->payload;
	p[13] = labels->is_overflow;
	p[14] = (uint8_t)((labels->has_quote ? QUOTE_PRESENT : 0) |
			  (labels->quote_matches ? QUOTE_MATCHES : 0) |
			  (labels->quote_has_port ? QUOTE_HAS_PORT : 0));
	p[15] = labels->quoted_protocol;
	store_u16(p + 16, labels->quoted_port);
	store_u16(p + 18, 0);
}

void flow_key_make(struct flow_key *out, const uint8_t *actor, const uint8_t *source,
	size_t address_bytes, const struct flow_labels *labels)
{
	if (address_bytes == 4) { /* fixed sizes, so that the copies are moves */
		memcpy(out->bytes, actor, 4);
		memcpy(out->bytes + 4, source, 4);
		store_labels(out->bytes + 8, labels);
		out->size = V4_KEY_BYTES;
	} else {
		memcpy(out->bytes, actor, 16);
		memcpy(out->bytes + 16, source, 16);
		store_labels(out->bytes + 32, labels);
		out->size = V6_KEY_BYTES;
	}
}

void flow_key_labels(struct flow_labels *out, const uint8_t *key, size_t key_size)
{
	const uint8_t *p = key + key_size - FLOW_LABEL_BYTES;

	*out = (struct flow_labels){
		.class = p[0],
		.role = p[1],
		.protocol = p[2],
		.tool = p[3],
		.service_port = (int32_t)load_u32(p + 4) - 1,
		.marks = load_u32(p + 8),
		.payload = p[12],
		.is_overflow = p[13] != 0,
		.has_quote = (p[14] & QUOTE_PRESENT) != 0,
		.quote_matches = (p[14] & QUOTE_MATCHES) != 0,
		.quote_has_port = (p[14] & QUOTE_HAS_PORT) != 0,
		.quoted_protocol = p[15],
		.quoted_port = load_u16(p + 16),
	};
}

uint64_t flow_key_hash(const struct flow_key *key, uint64_t secret)
{
	return XXH3_64bits_withSeed(key->bytes, key->size, secret);
}

/* Multiply and shift over the key's words (Dietzfelbinger et al., J. Algorithms 25(1), 1997). Fixed
 * and cheap: whoever aims at one shard only fills that one, which then overflows by itself. */
uint32_t flow_key_shard(const struct flow_key *key, uint32_t shards)
{
	uint64_t sum = SHARD_SEED;

	for (uint32_t at = 0; at < key->size; at += 4) {
		uint32_t word;

		memcpy(&word, key->bytes + at, 4);
		sum = (sum ^ word) * 0x9e3779b97f4a7c15ULL;
	}
	return (uint32_t)((sum >> 32) * shards >> 32);
}

/* ---- pool of destination blocks ---- */

static struct block *pool_take(struct flow_table *table, unsigned class)
{
	struct pool *pool = &table->pool;
	size_t bytes = block_classes[class].bytes;
	struct block *block = pool->free[class];

	if (block != NULL) {
		pool->free[class] = block->next_free;
	} else {
		if (pool->chunk == NULL || pool->used + bytes + LINE_BYTES > POOL_CHUNK_BYTES) {
			uint8_t *chunk;

			if (table->budget->sketch_bytes + POOL_CHUNK_BYTES >
				table->budget->sketch_bytes_max)
				return NULL;
			chunk = arena_take(table->arena, POOL_CHUNK_BYTES);
			if (chunk == NULL)
				return NULL;
			table->budget->sketch_bytes += POOL_CHUNK_BYTES;
			table->sketch_bytes += POOL_CHUNK_BYTES;
			pool->chunk = chunk;
			pool->used = 0;
		}
		if (bytes == LINE_BYTES)
			pool->used = (pool->used + LINE_BYTES - 1) & ~(size_t)(LINE_BYTES - 1);
		block = (struct block *)(void *)(pool->chunk + pool->used);
		pool->used += bytes;
	}
	block->form = SKETCH_LIST;
	block->count = 0;
	block->capacity = block_classes[class].capacity;
	block->class = (uint16_t) class;
	return block;
}

static void pool_give_back(struct pool *pool, struct block *block)
{
	block->next_free = pool->free[block->class];
	pool->free[block->class] = block;
}

/* ---- distinct destinations of an entry ----
 *
 * The 64-bit field is 0 (none), an odd number (one hash in the upper half; memory for another may
 * have run out), or a block's address.
 */
#define SINGLE_SATURATED UINT64_C(2)

static uint64_t single_of(uint32_t hash)
{
	return (uint64_t)hash << 32 | 1;
}

static bool is_single(uint64_t destinations)
{
	return (destinations & 1) != 0;
}

static struct block *block_of(uint64_t destinations)
{
	return (struct block *)(uintptr_t)destinations;
}

static bool list_has(const struct block *block, uint32_t hash)
{
	bool found = false;

	for (unsigned i = 0; i < block->count;
		i++) /* no early end: the compiler makes it vector code */
		found |= block->hashes[i] == hash;
	return found;
}

/* The next larger block with the same content, or NULL when the budget is used up. */
static struct block *grow(struct flow_table *table, struct block *block)
{
	struct block *larger = pool_take(table, block->class + 1u);

	if (larger == NULL) {
		block->form = SKETCH_SATURATED;
		return NULL;
	}
	if (larger->class == CLASS_REGISTERS) {
		memset(larger->registers, 0, SKETCH_REGISTERS);
		larger->form = SKETCH_REGISTERED;
		for (unsigned i = 0; i < block->count; i++)
			sketch_register_add(larger->registers, block->hashes[i]);
	} else {
		memcpy(larger->hashes, block->hashes, block->count * sizeof(block->hashes[0]));
		larger->count = block->count;
	}
	pool_give_back(&table->pool, block);
	return larger;
}

static void add_to_block(
	struct flow_table *table, struct flow_entry *entry, struct block *block, uint32_t hash)
{
	if (block->form == SKETCH_REGISTERED) {
		sketch_register_add(block->registers, hash);
		return;
	}
	if (list_has(block, hash))
		return;
	if (block->count == block->capacity) {
		struct block *larger = block->form == SKETCH_SATURATED ? NULL : grow(table, block);

		if (larger == NULL) {
			table->sketch_overflow++;
			return;
		}
		entry->destinations = (uint64_t)(uintptr_t)larger;
		block = larger;
	}
	if (block->form == SKETCH_REGISTERED)
		sketch_register_add(block->registers, hash);
	else
		block->hashes[block->count++] = hash;
}

static void add_destination(struct flow_table *table, struct flow_entry *entry, uint32_t hash)
{
	uint64_t now = entry->destinations;
	struct block *block;

	if (now == 0)
		entry->destinations = single_of(hash);
	if (now == 0 || (now & ~SINGLE_SATURATED) == single_of(hash))
		return;
	if (!is_single(now)) {
		add_to_block(table, entry, block_of(now), hash);
		return;
	}
	block = (now & SINGLE_SATURATED) == 0 ? pool_take(table, CLASS_6) : NULL;
	if (block == NULL) {
		entry->destinations = now | SINGLE_SATURATED;
		table->sketch_overflow++;
		return;
	}
	block->hashes[0] = (uint32_t)(now >> 32);
	block->hashes[1] = hash;
	block->count = 2;
	entry->destinations = (uint64_t)(uintptr_t)block;
}

void flow_entry_sketch(const struct flow_entry *entry, struct sketch *out)
{
	const struct block *block;

	out->form = 0;
	out->count = 0;
	if (entry->destinations == 0)
		return;
	if (is_single(entry->destinations)) {
		sketch_add(out, (uint32_t)(entry->destinations >> 32));
		if ((entry->destinations & SINGLE_SATURATED) != 0)
			out->form = SKETCH_SATURATED;
		return;
	}
	block = block_of(entry->destinations);
	if (block->form == SKETCH_REGISTERED) {
		out->form = SKETCH_REGISTERED;
		memcpy(out->registers, block->registers, SKETCH_REGISTERS);
		return;
	}
	for (unsigned i = 0; i < block->count; i++)
		sketch_add(out, block->hashes[i]);
	out->form = (uint8_t)block->form;
}

/* ---- table ---- */

static uint32_t stride_of(uint32_t key_bytes)
{
	return (uint32_t)((offsetof(struct flow_entry, key) + key_bytes + 7) & ~(size_t)7);
}

static int family_init(struct family *family, uint32_t key_bytes)
{
	family->key_bytes = key_bytes;
	family->stride = stride_of(key_bytes);
	family->slot_mask = FIRST_SLOTS - 1;
	family->slots = malloc(FIRST_SLOTS * sizeof(*family->slots));
	if (family->slots == NULL)
		return -ENOMEM;
	memset(family->slots, 0xff, FIRST_SLOTS * sizeof(*family->slots));
	return 0;
}

static void family_fini(struct family *family)
{
	free(family->chunks);
	free(family->slots);
}

int flow_table_create(struct flow_table **out, struct flow_budget *budget, struct arena *arena)
{
	struct flow_table *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return -ENOMEM;
	table->budget = budget;
	table->arena = arena;
	if (family_init(&table->v4, V4_KEY_BYTES) != 0 ||
		family_init(&table->v6, V6_KEY_BYTES) != 0) {
		flow_table_destroy(table);
		return -ENOMEM;
	}
	*out = table;
	return 0;
}

void flow_table_destroy(struct flow_table *table)
{
	if (table == NULL)
		return;
	table->budget->flows -= table->limited_flows;
	table->budget->sketch_bytes -= table->sketch_bytes;
	family_fini(&table->v4);
	family_fini(&table->v6);
	free(table);
}

static struct flow_entry *entry_at(const struct family *family, uint32_t number)
{
	uint8_t *chunk = family->chunks[number >> CHUNK_SHIFT];

	return (struct flow_entry *)(void *)(chunk + (size_t)(number & (CHUNK_ENTRIES - 1)) *
							     family->stride);
}

static const struct family *family_of(const struct flow_table *table, size_t key_size)
{
	return key_size == V4_KEY_BYTES ? &table->v4 : &table->v6;
}

/* The samples of a chunk's entries lie behind them. */
static struct flow_sample *sample_at(const struct family *family, uint32_t number)
{
	uint8_t *samples =
		family->chunks[number >> CHUNK_SHIFT] + (size_t)CHUNK_ENTRIES * family->stride;

	return (struct flow_sample *)(void *)samples + (number & (CHUNK_ENTRIES - 1));
}

void flow_table_prefetch_slot(const struct flow_table *table, uint64_t hash, size_t key_size)
{
	const struct family *family = family_of(table, key_size);

	__builtin_prefetch(&family->slots[hash & family->slot_mask]);
}

/* The entry that the key's first slot names, if that one is likely the key's. */
static struct flow_entry *likely_entry(
	const struct flow_table *table, uint64_t hash, size_t key_size)
{
	const struct family *family = family_of(table, key_size);
	uint64_t slot = family->slots[hash & family->slot_mask];

	if (slot == EMPTY_SLOT || (uint32_t)slot != (uint32_t)hash)
		return NULL;
	return entry_at(family, (uint32_t)(slot >> 32));
}

void flow_entry_prefetch(const struct flow_entry *entry)
{
	__builtin_prefetch(entry, 1);
}

void flow_table_prefetch_entry(const struct flow_table *table, uint64_t hash, size_t key_size)
{
	const struct flow_entry *entry = likely_entry(table, hash, key_size);

	if (entry != NULL)
		flow_entry_prefetch(entry);
}

void flow_table_prefetch_destinations(
	const struct flow_table *table, uint64_t hash, size_t key_size)
{
	const struct flow_entry *entry = likely_entry(table, hash, key_size);

	if (entry != NULL && entry->destinations != 0 && !is_single(entry->destinations))
		__builtin_prefetch(block_of(entry->destinations), 1);
}

static int grow_index(struct family *family)
{
	uint32_t slot_count = (family->slot_mask + 1) * 2;
	uint64_t *slots = malloc(slot_count * sizeof(*slots));

	if (slots == NULL)
		return -ENOMEM;
	memset(slots, 0xff, slot_count * sizeof(*slots));
	for (uint32_t i = 0; i <= family->slot_mask; i++) {
		uint64_t slot = family->slots[i];
		uint32_t at = (uint32_t)slot & (slot_count - 1);

		if (slot == EMPTY_SLOT)
			continue;
		while (slots[at] != EMPTY_SLOT)
			at = (at + 1) & (slot_count - 1);
		slots[at] = slot;
	}
	free(family->slots);
	family->slots = slots;
	family->slot_mask = slot_count - 1;
	return 0;
}

/* A slot: entry number in the upper, the hash's low 32 bits (which place it) in the lower half. */
static uint64_t slot_of(uint32_t number, uint64_t hash)
{
	return (uint64_t)number << 32 | (uint32_t)hash;
}

/* Keys are a multiple of four bytes; most differ in the first eight or not at all. */
static bool same_key(const uint8_t *a, const uint8_t *b, uint32_t bytes)
{
	uint64_t x, y, differ = 0;
	uint32_t at = 0, p, q;

	for (; at + 8 <= bytes; at += 8) {
		memcpy(&x, a + at, 8);
		memcpy(&y, b + at, 8);
		differ |= x ^ y;
	}
	memcpy(&p, a + at, 4);
	memcpy(&q, b + at, 4);
	return (differ | (p ^ q)) == 0;
}

static_assert(V4_KEY_BYTES % 8 == 4 && V6_KEY_BYTES % 8 == 4, "same_key takes eights and one four");

static struct flow_entry *find(
	const struct family *family, const uint8_t *key, uint64_t hash, uint32_t *at)
{
	*at = (uint32_t)hash & family->slot_mask;
	for (;;) {
		uint64_t slot = family->slots[*at];

		if (slot == EMPTY_SLOT)
			return NULL;
		if ((uint32_t)slot == (uint32_t)hash) {
			struct flow_entry *entry = entry_at(family, (uint32_t)(slot >> 32));

			if (same_key(entry->key, key, family->key_bytes))
				return entry;
		}
		*at = (*at + 1) & family->slot_mask;
	}
}

static int add_chunk(struct family *family, struct arena *arena)
{
	uint8_t **chunks = family->chunks;

	if ((family->chunk_count & (family->chunk_count - 1)) ==
		0) { /* full at each power of two: double it */
		chunks = realloc(chunks,
			(family->chunk_count != 0 ? family->chunk_count * 2 : 1) * sizeof(*chunks));
		if (chunks == NULL)
			return -ENOMEM;
		family->chunks = chunks;
	}
	chunks[family->chunk_count] = arena_take(
		arena, (size_t)CHUNK_ENTRIES * (family->stride + sizeof(struct flow_sample)));
	if (chunks[family->chunk_count] == NULL)
		return -ENOMEM;
	family->chunk_count++;
	return 0;
}

static struct flow_entry *insert(struct flow_table *table, struct family *family,
	const uint8_t *key, uint64_t hash, uint32_t at)
{
	struct flow_entry *entry;

	if (family->count == family->chunk_count << CHUNK_SHIFT &&
		add_chunk(family, table->arena) != 0)
		return NULL;
	if ((uint64_t)(family->count + 1) * 4 > ((uint64_t)family->slot_mask + 1) * 3) {
		if (grow_index(family) != 0)
			return NULL;
		(void)find(family, key, hash, &at);
	}
	entry = entry_at(family, family->count);
	entry->bytes = 0;
	entry->destinations = 0;
	entry->packets = 0;
	entry->sample = sample_at(family, family->count);
	memcpy(entry->key, key, family->key_bytes);
	family->slots[at] = slot_of(family->count++, hash);
	return entry;
}

/* A packet earlier than any before, or as early with a lesser sample, gives the flow its sample:
 * so it does not matter in which order packets arrive. */
static void take_sample(struct flow_entry *entry, const struct flow_update *update)
{
	struct flow_sample sample;

	if (entry->packets > 0 && update->time_us > entry->first_us)
		return;
	sample = update->sample(update->context);
	if (entry->packets > 0 && update->time_us == entry->first_us &&
		memcmp(&sample, entry->sample, sizeof(sample)) >= 0)
		return;
	*entry->sample = sample;
}

static void update_entry(
	struct flow_table *table, struct flow_entry *entry, const struct flow_update *update)
{
	take_sample(entry, update);
	if (entry->packets == 0 || update->time_us < entry->first_us)
		entry->first_us = update->time_us;
	if (entry->packets == 0 || update->time_us > entry->last_us)
		entry->last_us = update->time_us;
	entry->packets++;
	entry->bytes += update->bytes;
	add_destination(table, entry, update->destination_hash);
}

/* The overflow flow keeps what counters need most: class, IP version, protocol. There are few. */
static void overflow_key(struct flow_key *out, const struct flow_key *key)
{
	static const uint8_t nobody[16];
	size_t address_bytes = (key->size - FLOW_LABEL_BYTES) / 2u;
	struct flow_labels labels;

	flow_key_labels(&labels, key->bytes, key->size);
	labels = (struct flow_labels){ .class = labels.class,
		.role = labels.role,
		.protocol = labels.protocol,
		.service_port = SERVICE_NONE,
		.is_overflow = true };
	flow_key_make(out, nobody, nobody, address_bytes, &labels);
}

static void count_overflow(struct flow_table *table, struct family *family,
	const struct flow_key *key, const struct flow_update *update)
{
	struct flow_key overflow;
	struct flow_entry *entry;
	uint64_t hash;
	uint32_t at;

	overflow_key(&overflow, key);
	hash = flow_key_hash(&overflow, table->budget->secret);
	entry = find(family, overflow.bytes, hash, &at);
	if (entry == NULL)
		entry = insert(table, family, overflow.bytes, hash, at);
	table->overflow_packets++;
	if (entry != NULL)
		update_entry(table, entry, update);
	else
		table->budget->is_out_of_memory = true;
}

bool flow_table_count(struct flow_table *table, const struct flow_key *key, uint64_t hash,
	const struct flow_update *update)
{
	struct family *family = key->size == V4_KEY_BYTES ? &table->v4 : &table->v6;
	uint32_t at;
	struct flow_entry *entry = find(family, key->bytes, hash, &at);

	if (entry == NULL && table->budget->flows < table->budget->flows_max) {
		entry = insert(table, family, key->bytes, hash, at);
		if (entry != NULL) {
			table->budget->flows++;
			table->limited_flows++;
		}
	}
	if (entry == NULL) {
		count_overflow(table, family, key, update);
		return false;
	}
	update_entry(table, entry, update);
	return true;
}

size_t flow_table_flows(const struct flow_table *table)
{
	return (size_t)table->v4.count + table->v6.count;
}

uint64_t flow_table_overflow_packets(const struct flow_table *table)
{
	return table->overflow_packets;
}

uint64_t flow_table_sketch_overflow(const struct flow_table *table)
{
	return table->sketch_overflow;
}

static size_t family_memory(const struct family *family)
{
	return (size_t)family->chunk_count * CHUNK_ENTRIES *
		       (family->stride + sizeof(struct flow_sample)) +
	       ((size_t)family->slot_mask + 1) * sizeof(uint64_t);
}

size_t flow_table_memory(const struct flow_table *table)
{
	return sizeof(*table) + family_memory(&table->v4) + family_memory(&table->v6) +
	       table->sketch_bytes;
}

size_t flow_table_family_flows(const struct flow_table *table, unsigned ip_version)
{
	return ip_version == 6 ? table->v6.count : table->v4.count;
}

void flow_table_entries(
	const struct flow_table *table, unsigned ip_version, const struct flow_entry **out)
{
	const struct family *family = ip_version == 6 ? &table->v6 : &table->v4;

	for (uint32_t i = 0; i < family->count; i++)
		out[i] = entry_at(family, i);
}
