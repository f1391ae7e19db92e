/*
 * The flow table: counts, limits with a named bucket, and results that depend on the packets alone.
 */
#include "sensor/flow_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "schemas/base/bytes.h"
#include "sensor/arena.h"

#define PLENTY ((size_t)64 << 20)

/* A table, its budget and its arena. */
struct scene {
	struct flow_budgets budgets;
	struct flow_budget budget; /* of the only shard */
	struct arena arena;
	struct flow_table *table;
	uint32_t counts[FLOW_FAMILIES];
};

static struct scene *scene_create(uint64_t secret, size_t flows_max, size_t sketch_bytes_max)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	scene->budget = (struct flow_budget){ .flows_max = flows_max,
		.sketch_bytes_max = sketch_bytes_max };
	scene->budgets =
		(struct flow_budgets){ .secret = secret, .shards = 1, .shard = &scene->budget };
	assert_int_equal(
		flow_table_create(&scene->table, &scene->budgets, &scene->arena, scene->counts), 0);
	return scene;
}

static void scene_destroy(struct scene *scene)
{
	flow_table_destroy(scene->table);
	assert_int_equal(flow_budget_flows(&scene->budget), 0); /* all was given back */
	assert_int_equal(flow_budget_sketch_bytes(&scene->budget), 0);
	arena_fini(&scene->arena);
	free(scene);
}

/* ---- packets ---- */

struct packet_like {
	uint32_t actor, source, dst;
	uint8_t class;
	int32_t port;
	uint32_t time_us, bytes;
	uint16_t ip_id;
};

static struct flow_sample sample_of(const void *context)
{
	const struct packet_like *packet = context;

	return (struct flow_sample){ .ip_id = packet->ip_id, .ttl = 64 };
}

static void fill_address(uint8_t *out, uint32_t number, size_t size)
{
	memset(out, 0, 16);
	out[0] = size == 16 ? 0x20 : 0;
	store_u32(out + size - 4, number);
}

static struct flow_labels labels_of(const struct packet_like *packet)
{
	return (struct flow_labels){ .class = packet->class,
		.role = (uint8_t)role_of_class(packet->class),
		.protocol = 6,
		.service_port = packet->port };
}

static bool count_sized(struct scene *scene, const struct packet_like *packet, size_t address_bytes)
{
	struct flow_labels labels = labels_of(packet);
	uint8_t actor[16], source[16], dst[16];
	struct flow_key key;
	struct flow_update update;
	struct flow_entry *likely;
	uint64_t hash;

	fill_address(actor, packet->actor, address_bytes);
	fill_address(source, packet->source != 0 ? packet->source : packet->actor, address_bytes);
	fill_address(dst, packet->dst, address_bytes);
	flow_key_make(&key, actor, source, address_bytes, &labels);
	hash = flow_key_hash(&key, scene->budgets.secret);
	update = (struct flow_update){ packet->time_us, packet->bytes,
		sketch_hash(dst, address_bytes), 0, sample_of, packet };
	flow_table_prefetch_slot(scene->table, hash, (enum flow_family)key.family);
	likely = flow_table_prefetch_entry(scene->table, hash, (enum flow_family)key.family);
	if (likely != NULL)
		flow_entry_prefetch_destinations(scene->table, likely);
	return flow_table_count(scene->table, &key, hash, likely, &update);
}

static bool count(struct scene *scene, struct packet_like packet)
{
	return count_sized(scene, &packet, 4);
}

/* ---- results, in key order ---- */

static size_t compared_bytes;

static int compare_entries(const void *a, const void *b)
{
	const struct flow_entry *const *p = a, *const *q = b;

	return memcmp((*p)->key, (*q)->key, compared_bytes);
}

static const struct flow_entry **entries_of(
	const struct scene *scene, enum flow_family family, size_t *number)
{
	struct flow_list list = flow_table_list(scene->table, family);
	const struct flow_entry **entries = calloc(list.count + 1, sizeof(*entries));

	assert_non_null(entries);
	for (uint32_t i = 0; i < list.count; i++)
		entries[i] = flow_list_at(&list, i);
	compared_bytes = flow_key_bytes(family);
	qsort(entries, list.count, sizeof(*entries), compare_entries);
	*number = list.count;
	return entries;
}

static void assert_same_sketch(const struct scene *x_scene, const struct flow_entry *x,
	const struct scene *y_scene, const struct flow_entry *y)
{
	struct sketch *a = calloc(2, sizeof(*a)), *b = a + 1;
	uint8_t a_bytes[SKETCH_ENCODED_BYTES], b_bytes[SKETCH_ENCODED_BYTES];
	size_t size;

	assert_non_null(a);
	flow_entry_sketch(x_scene->table, x, a);
	flow_entry_sketch(y_scene->table, y, b);
	size = sketch_encode(a, a_bytes);
	assert_int_equal(size, sketch_encode(b, b_bytes));
	assert_memory_equal(a_bytes, b_bytes, size);
	free(a);
}

static void assert_same_flow(
	const struct flow_entry *a, const struct flow_entry *b, enum flow_family family)
{
	struct flow_sample x = flow_entry_sample(a), y = flow_entry_sample(b);

	assert_memory_equal(a->key, b->key, flow_key_bytes(family));
	assert_int_equal(a->packets, b->packets);
	assert_int_equal(a->bytes, b->bytes);
	assert_int_equal(a->first_us, b->first_us);
	assert_int_equal(a->last_us, b->last_us);
	assert_memory_equal(&x, &y, sizeof(x));
}

static void assert_same_tables(const struct scene *a, const struct scene *b)
{
	for (enum flow_family family = 0; family < FLOW_FAMILIES; family++) {
		size_t a_number, b_number;
		const struct flow_entry **x = entries_of(a, family, &a_number);
		const struct flow_entry **y = entries_of(b, family, &b_number);

		assert_int_equal(a_number, b_number);
		for (size_t i = 0; i < a_number; i++) {
			assert_same_flow(x[i], y[i], family);
			assert_same_sketch(a, x[i], b, y[i]);
		}
		free(x);
		free(y);
	}
}

static uint64_t destinations_of(const struct scene *scene, const struct flow_entry *entry)
{
	struct sketch *sketch = calloc(1, sizeof(*sketch));
	uint64_t found;

	assert_non_null(sketch);
	flow_entry_sketch(scene->table, entry, sketch);
	found = sketch_count(sketch);
	free(sketch);
	return found;
}

/* ---- counting ---- */

static void test_flow_table_packets_of_a_flow_add_up(void **state)
{
	struct scene *scene = scene_create(1, 1000, PLENTY);
	const struct flow_entry **entries;
	size_t number;

	(void)state;
	assert_true(count(
		scene, (struct packet_like){ .actor = 9, .dst = 1, .time_us = 500, .bytes = 60 }));
	assert_true(count(
		scene, (struct packet_like){ .actor = 9, .dst = 2, .time_us = 100, .bytes = 70 }));
	assert_true(count(
		scene, (struct packet_like){ .actor = 9, .dst = 2, .time_us = 900, .bytes = 80 }));
	assert_true(count(
		scene, (struct packet_like){ .actor = 8, .dst = 2, .time_us = 7, .bytes = 1 }));

	entries = entries_of(scene, FLOW_V4, &number);
	assert_int_equal(number, 2);
	assert_int_equal(entries[0]->packets, 1);
	assert_int_equal(entries[1]->packets, 3);
	assert_int_equal(entries[1]->bytes, 210);
	assert_int_equal(entries[1]->first_us, 100);
	assert_int_equal(entries[1]->last_us, 900);
	assert_int_equal(destinations_of(scene, entries[1]), 2);
	assert_int_equal(flow_table_flows(scene->table), 2);
	assert_int_equal(flow_budget_flows(&scene->budget), 2);
	free(entries);
	scene_destroy(scene);
}

/* Any label that differs makes another flow. */
static void test_flow_table_labels_keep_flows_apart(void **state)
{
	static const struct packet_like packets[] = {
		{ .actor = 9 },
		{ .actor = 10 },
		{ .actor = 9, .source = 11 },
		{ .actor = 9, .class = CLASS_SCAN_TCP_FIN },
		{ .actor = 9, .port = 1 },
		{ .actor = 9, .port = SERVICE_NONE },
	};
	struct scene *scene = scene_create(1, 1000, PLENTY);

	(void)state;
	for (unsigned round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
			count_sized(scene, &packets[i], 4);
			count_sized(scene, &packets[i], 16);
		}
	assert_int_equal(flow_table_list(scene->table, FLOW_V4).count, 5);
	assert_int_equal(flow_table_list(scene->table, FLOW_V4_LONG).count, 1);
	assert_int_equal(flow_table_list(scene->table, FLOW_V6).count, 6);
	assert_int_equal(flow_table_flows(scene->table), 12);
	scene_destroy(scene);
}

static void test_flow_table_grown_large_keeps_every_flow(void **state)
{
	enum { FLOWS = 200000 };
	struct scene *scene = scene_create(3, FLOWS, PLENTY);
	const struct flow_entry **entries;
	size_t number;

	(void)state;
	for (uint32_t round = 1; round <= 2; round++)
		for (uint32_t i = 0; i < FLOWS; i++)
			assert_true(count(scene, (struct packet_like){ .actor = i * 2654435761u,
							 .dst = 5,
							 .time_us = i,
							 .bytes = 10 * round }));

	entries = entries_of(scene, FLOW_V4, &number);
	assert_int_equal(number, FLOWS);
	for (size_t i = 0; i < number; i++) {
		assert_int_equal(entries[i]->packets, 2);
		assert_int_equal(entries[i]->bytes, 30);
		assert_int_equal(destinations_of(scene, entries[i]), 1);
	}
	assert_true(flow_table_memory(scene->table) / FLOWS < 96); /* the target */
	free(entries);
	scene_destroy(scene);
}

/* ---- destinations ---- */

static void test_flow_table_destinations_are_exact_up_to_64(void **state)
{
	(void)state;
	for (uint32_t distinct = 1; distinct <= 300; distinct += distinct < 70 ? 1 : 40) {
		struct scene *scene = scene_create(1, 10, PLENTY);
		struct sketch *direct = calloc(1, sizeof(*direct));
		const struct flow_entry **entries;
		size_t number;

		assert_non_null(direct);
		for (uint32_t i = 0; i < 3 * distinct; i++) {
			uint8_t dst[4];

			store_u32(dst, 1000 + i % distinct);
			sketch_add(direct, sketch_hash(dst, 4));
			count(scene,
				(struct packet_like){ .actor = 9, .dst = 1000 + i % distinct });
		}
		entries = entries_of(scene, FLOW_V4, &number);
		assert_int_equal(destinations_of(scene, entries[0]), sketch_count(direct));
		if (distinct <= SKETCH_LIST_MAX)
			assert_int_equal(destinations_of(scene, entries[0]), distinct);
		assert_int_equal(flow_table_sketch_overflow(scene->table), 0);
		free(entries);
		free(direct);
		scene_destroy(scene);
	}
}

/* Without memory for more the count is a lower bound, marked as one, and the ledger is told. */
static void test_flow_table_sketch_memory_used_up_saturates(void **state)
{
	struct scene *scene = scene_create(1, 5000, 16384);
	uint64_t found = 0, real = 0, saturated = 0;
	const struct flow_entry **entries;
	struct sketch *sketch = calloc(1, sizeof(*sketch));
	size_t number;

	(void)state;
	assert_non_null(sketch);
	for (uint32_t dst = 1; dst <= 40; dst++)
		for (uint32_t actor = 1; actor <= 500; actor++)
			assert_true(
				count(scene, (struct packet_like){ .actor = actor, .dst = dst }));

	entries = entries_of(scene, FLOW_V4, &number);
	for (size_t i = 0; i < number; i++) {
		flow_entry_sketch(scene->table, entries[i], sketch);
		assert_in_range(sketch_count(sketch), 1, 40);
		assert_int_equal(sketch->form == SKETCH_SATURATED, sketch_count(sketch) < 40);
		found += sketch_count(sketch);
		real += 40;
		saturated += sketch->form == SKETCH_SATURATED;
		assert_int_equal(entries[i]->packets, 40);
	}
	assert_true(found < real);
	assert_true(saturated > 0);
	assert_true(flow_table_sketch_overflow(scene->table) >= real - found);
	assert_true(flow_budget_sketch_bytes(&scene->budget) <= scene->budget.sketch_bytes_max);
	free(sketch);
	free(entries);
	scene_destroy(scene);
}

/* ---- limit ---- */

static void test_flow_table_full_counts_under_overflow_by_class(void **state)
{
	struct scene *scene = scene_create(1, 10, PLENTY);
	uint64_t packets = 0, overflow = 0;
	const struct flow_entry **entries;
	size_t number, overflow_flows = 0;

	(void)state;
	for (uint32_t actor = 1; actor <= 10; actor++)
		assert_true(count(scene, (struct packet_like){ .actor = actor, .bytes = 1 }));
	for (uint32_t actor = 11; actor <= 30; actor++) {
		uint8_t class = actor % 2 == 0 ? CLASS_SCAN_TCP_SYN : CLASS_BACKSCATTER_TCP_RST;

		assert_false(count(scene, (struct packet_like){ .actor = actor,
						  .class = class,
						  .port = 23,
						  .dst = actor,
						  .bytes = 1 }));
	}
	for (uint32_t actor = 1; actor <= 10; actor++) /* those that are in stay in */
		assert_true(count(scene, (struct packet_like){ .actor = actor, .bytes = 1 }));

	entries = entries_of(scene, FLOW_V4, &number);
	assert_int_equal(number, 12);
	for (size_t i = 0; i < number; i++) {
		static const uint8_t nobody[4];
		struct flow_labels labels;

		flow_key_labels(&labels, entries[i]->key, FLOW_V4);
		packets += entries[i]->packets;
		if (!labels.is_overflow)
			continue;
		overflow_flows++;
		overflow += entries[i]->packets;
		assert_int_equal(entries[i]->packets, 10);
		assert_memory_equal(entries[i]->key, nobody, 4);
		assert_int_equal(labels.protocol, 6);
		assert_int_equal(labels.service_port, SERVICE_NONE);
		assert_int_equal(labels.role, role_of_class(labels.class));
	}
	assert_int_equal(overflow_flows, 2);
	assert_int_equal(overflow, 20);
	assert_int_equal(flow_table_overflow_packets(scene->table), 20);
	assert_int_equal(packets, 40);
	free(entries);
	scene_destroy(scene);
}

static void test_flow_table_limit_is_shared_and_given_back(void **state)
{
	struct scene *scene = scene_create(1, 5, PLENTY);
	struct flow_table *first = scene->table;
	struct packet_like packet = { .actor = 77 };
	uint32_t counts[FLOW_FAMILIES] = { 0 };

	(void)state;
	for (uint32_t actor = 1; actor <= 5; actor++)
		assert_true(count(scene, (struct packet_like){ .actor = actor }));
	assert_int_equal(
		flow_table_create(&scene->table, &scene->budgets, &scene->arena, counts), 0);
	assert_false(count_sized(scene, &packet, 4));
	assert_false(count_sized(scene, &packet, 16));

	flow_table_destroy(first);

	assert_true(count_sized(scene, &packet, 4));
	scene_destroy(scene);
}

/* ---- nothing but the packets ---- */

enum { STREAM = 4000 };

static void make_stream(struct packet_like *stream)
{
	uint64_t seed = 11;

	for (size_t i = 0; i < STREAM; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		stream[i] = (struct packet_like){
			.actor = 1 + (uint32_t)(seed >> 33) % 300,
			.dst = (uint32_t)(seed >> 40) % 200,
			.class = (uint8_t)((seed >> 50) % 3),
			.time_us = (uint32_t)(seed >> 45) % 50, /* many at the same time */
			.bytes = 40 + (uint32_t)(seed >> 60),
			.ip_id = (uint16_t)(seed >> 20),
		};
		if (i % 3 == 0)
			stream[i].actor = 1; /* one with hundreds of destinations */
	}
}

static void test_flow_table_secret_does_not_show(void **state)
{
	struct packet_like *stream = calloc(STREAM, sizeof(*stream));
	struct scene *a = scene_create(0, 1000, PLENTY);
	struct scene *b = scene_create(0xfeedfacecafebeef, 1000, PLENTY);

	(void)state;
	assert_non_null(stream);
	make_stream(stream);
	for (size_t i = 0; i < STREAM; i++) {
		count_sized(a, &stream[i], i % 5 == 0 ? 16 : 4);
		count_sized(b, &stream[i], i % 5 == 0 ? 16 : 4);
	}
	assert_same_tables(a, b);
	free(stream);
	scene_destroy(a);
	scene_destroy(b);
}

/* Sums that would not fit in an entry go on in another one; nothing is lost. */
static void test_flow_table_sums_beyond_an_entry_go_on(void **state)
{
	enum { PACKETS = 200000 };
	struct scene *scene = scene_create(1, 10, PLENTY);
	const struct flow_entry **entries;
	uint64_t packets = 0, bytes = 0;
	size_t number;

	(void)state;
	for (uint32_t i = 0; i < PACKETS; i++)
		assert_true(count(scene,
			(struct packet_like){ .actor = 9, .dst = i % 3, .bytes = UINT32_MAX }));
	assert_true(count(scene, (struct packet_like){ .actor = 8, .bytes = 7 }));

	entries = entries_of(scene, FLOW_V4, &number);
	assert_int_equal(number, 2 + PACKETS / 65536);
	assert_int_equal(entries[0]->bytes, 7);
	for (size_t i = 1; i < number; i++) {
		packets += entries[i]->packets;
		bytes += entries[i]->bytes;
	}
	assert_int_equal(packets, PACKETS);
	assert_int_equal(bytes, (uint64_t)PACKETS * UINT32_MAX);
	assert_int_equal(flow_budget_flows(&scene->budget), 2); /* the limit counts flows */
	free(entries);
	scene_destroy(scene);
}

/* The sample is the earliest packet's, of several at the same time the least one. */
static void test_flow_table_order_of_packets_does_not_show(void **state)
{
	struct packet_like *stream = calloc(STREAM, sizeof(*stream));
	struct scene *forward = scene_create(1, 1000, PLENTY);
	struct scene *backward = scene_create(1, 1000, PLENTY);
	struct scene *shuffled = scene_create(1, 1000, PLENTY);

	(void)state;
	assert_non_null(stream);
	make_stream(stream);
	for (size_t i = 0; i < STREAM; i++) {
		count_sized(forward, &stream[i], 4);
		count_sized(backward, &stream[STREAM - 1 - i], 4);
		count_sized(shuffled, &stream[i * 1237 % STREAM], 4);
	}
	assert_same_tables(forward, backward);
	assert_same_tables(forward, shuffled);
	free(stream);
	scene_destroy(forward);
	scene_destroy(backward);
	scene_destroy(shuffled);
}

static void test_flow_table_sample_is_the_first_packets(void **state)
{
	struct scene *scene = scene_create(1, 10, PLENTY);
	const struct flow_entry **entries;
	size_t number;

	(void)state;
	count(scene, (struct packet_like){ .actor = 9, .time_us = 50, .ip_id = 1 });
	count(scene, (struct packet_like){ .actor = 9, .time_us = 40, .ip_id = 7 });
	count(scene, (struct packet_like){ .actor = 9, .time_us = 40, .ip_id = 5 });
	count(scene, (struct packet_like){ .actor = 9, .time_us = 60, .ip_id = 0 });

	entries = entries_of(scene, FLOW_V4, &number);
	assert_int_equal(flow_entry_sample(entries[0]).ip_id, 5);
	assert_int_equal(flow_entry_sample(entries[0]).ttl, 64);
	free(entries);
	scene_destroy(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flow_table_packets_of_a_flow_add_up),
		cmocka_unit_test(test_flow_table_labels_keep_flows_apart),
		cmocka_unit_test(test_flow_table_grown_large_keeps_every_flow),
		cmocka_unit_test(test_flow_table_destinations_are_exact_up_to_64),
		cmocka_unit_test(test_flow_table_sketch_memory_used_up_saturates),
		cmocka_unit_test(test_flow_table_full_counts_under_overflow_by_class),
		cmocka_unit_test(test_flow_table_limit_is_shared_and_given_back),
		cmocka_unit_test(test_flow_table_secret_does_not_show),
		cmocka_unit_test(test_flow_table_order_of_packets_does_not_show),
		cmocka_unit_test(test_flow_table_sums_beyond_an_entry_go_on),
		cmocka_unit_test(test_flow_table_sample_is_the_first_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
