/*
 * Entries dealt out to other partitions: what comes out is what the closer would have made, record
 * for record, had it known the number.
 */
#include "sensor/entry_split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "schemas/sketch.h"

#define MINUTE	   UINT64_C(29459520) /* 2026-01-05 00:00 UTC */
#define PLENTY	   ((size_t)1 << 30)
#define PARTITIONS 5
#define FLOWS	   40000 /* several messages for each partition */

static int take(void *context, struct entry *entry)
{
	struct entry **out = context;

	assert_null(*out); /* one part */
	*out = entry;
	return 0;
}

static struct flow_sample sample_of(const void *context)
{
	return (struct flow_sample){ .ip_id = *(const uint16_t *)context };
}

/* A window of many flows; actors of both families, some with another source. */
static struct window *make_window(struct flow_budgets *budgets)
{
	struct window *window = NULL;

	assert_int_equal(window_create(&window, MINUTE, budgets, NULL, NULL), 0);
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct flow_labels labels = { .protocol = 6, .service_port = (int32_t)(i % 7) };
		uint8_t actor[16] = { 0 }, source[16] = { 0 };
		size_t size = i % 3 == 0 ? 16 : 4;
		uint16_t ip_id = (uint16_t)i;
		struct flow_update update = { i, 60, i, 0, sample_of, &ip_id };
		struct flow_key key;

		store_u32(actor, i * 2654435761u);
		store_u32(source, i % 5 == 0 ? i : i * 2654435761u);
		flow_key_make(&key, actor, source, size, &labels);
		for (uint32_t packets = 0; packets <= i % 3; packets++)
			flow_table_count(window->table, &key, flow_key_hash(&key, budgets->secret),
				NULL, &update);
		window->ledger.frames += 1 + i % 3;
		window->ledger.counted += 1 + i % 3;
	}
	return window;
}

/* The entry of the same minute, closed for so many partitions. */
static struct entry *close_minute(uint32_t partitions, bool is_empty)
{
	struct flow_budget budget = { .flows_max = PLENTY, .sketch_bytes_max = PLENTY };
	struct flow_budgets budgets = { .secret = 1, .shards = 1, .shard = &budget };
	struct entry *entry = NULL;
	struct entry_closer_options options = {
		.origin = { "test", TIMELINE_LIVE, 17 },
		.partitions = 1,
		.take = take,
		.context = &entry,
	};
	struct entry_interval interval = { MINUTE * WINDOW_NS, (MINUTE + 1) * WINDOW_NS, MINUTE,
		false };
	struct entry_closer *closer;
	struct window *window = NULL;

	assert_int_equal(entry_closer_create(&closer, &options), 0);
	assert_int_equal(entry_closer_set_partitions(closer, partitions), 0);
	if (is_empty)
		assert_int_equal(window_create(&window, MINUTE, &budgets, NULL, NULL), 0);
	else
		window = make_window(&budgets);
	assert_int_equal(entry_closer_close(closer, &window, 1, &interval), 0);
	entry_closer_destroy(closer);
	return entry;
}

static void assert_same_entry(const struct entry *a, const struct entry *b)
{
	assert_int_equal(a->partitions, b->partitions);
	assert_int_equal(a->ledger.partitions, b->ledger.partitions);
	assert_int_equal(a->flows, b->flows);
	assert_int_equal(a->packets, b->packets);
	assert_int_equal(a->message_count, b->message_count);
	for (size_t i = 0; i < a->message_count; i++) {
		assert_int_equal(a->messages[i].partition, b->messages[i].partition);
		assert_int_equal(a->messages[i].flows, b->messages[i].flows);
		assert_int_equal(a->messages[i].payload.size, b->messages[i].payload.size);
		assert_memory_equal(a->messages[i].payload.data, b->messages[i].payload.data,
			a->messages[i].payload.size);
	}
	for (uint32_t p = 0; p < a->partitions; p++) {
		struct buffer of_a = { 0 }, of_b = { 0 };

		entry_marker(a, 7, p, &of_a);
		entry_marker(b, 7, p, &of_b);
		assert_int_equal(of_a.size, of_b.size);
		assert_memory_equal(of_a.data, of_b.data, of_a.size);
		buffer_fini(&of_a);
		buffer_fini(&of_b);
	}
}

static void test_split_of_one_partition_gives_the_closers_own_bytes(void **state)
{
	struct entry *known = close_minute(PARTITIONS, false);
	struct entry *split = close_minute(1, false);

	(void)state;
	assert_int_equal(entry_split(split, PARTITIONS), 0);

	assert_true(known->message_count > PARTITIONS);
	assert_same_entry(known, split);
	entry_destroy(known);
	entry_destroy(split);
}

static void test_split_of_an_empty_minute_changes_the_markers_alone(void **state)
{
	struct entry *known = close_minute(PARTITIONS, true);
	struct entry *split = close_minute(1, true);

	(void)state;
	assert_int_equal(entry_split(split, PARTITIONS), 0);

	assert_int_equal(split->message_count, 0);
	assert_same_entry(known, split);
	entry_destroy(known);
	entry_destroy(split);
}

/* Every flow lies in the partition of its actor, and the shares say so. */
static void assert_partitions_are_right(const struct entry *entry)
{
	uint64_t flows[16] = { 0 }, packets[16] = { 0 };
	struct container_decoder *decoder;

	assert_int_equal(container_decoder_create(&decoder), 0);
	for (size_t i = 0; i < entry->message_count; i++) {
		const struct entry_message *message = &entry->messages[i];
		struct byte_reader r = byte_reader_of(message->payload.data, message->payload.size);
		struct container_records records;
		struct container_item item;
		struct origin origin;

		assert_int_equal(container_decoder_header(decoder, &r, &origin, NULL), 0);
		assert_int_equal(container_decoder_block(decoder, &r, &records, NULL), 0);
		assert_int_equal(records.count, message->flows);
		assert_true(records.count <= FLOWS_PER_BLOCK);
		while (container_next(decoder, &records, &item, NULL) == 0 &&
			item.kind == ITEM_FLOW) {
			struct address actor = flow_actor(&item.flow);

			assert_int_equal(
				message->partition, address_partition(&actor, entry->partitions));
			flows[message->partition]++;
			packets[message->partition] += (uint64_t)item.flow.packets;
		}
	}
	for (uint32_t p = 0; p < entry->partitions; p++) {
		assert_int_equal(entry->shares[p].flows, flows[p]);
		assert_int_equal(entry->shares[p].packets, packets[p]);
	}
	container_decoder_destroy(decoder);
}

static void test_split_of_several_partitions_loses_nothing(void **state)
{
	struct entry *entry = close_minute(3, false);

	(void)state;
	assert_int_equal(entry_split(entry, 8), 0);

	assert_int_equal(entry->flows, FLOWS);
	assert_partitions_are_right(entry);
	entry_destroy(entry);
}

static void test_split_accounts_for_its_memory(void **state)
{
	struct entry *entry = close_minute(1, false);
	size_t expected = entry->bytes;

	(void)state;
	for (size_t i = 0; i < entry->message_count; i++)
		expected -= entry->messages[i].payload.capacity;
	assert_int_equal(entry_split(entry, PARTITIONS), 0);
	for (size_t i = 0; i < entry->message_count; i++)
		expected += entry->messages[i].payload.capacity;

	assert_int_equal(entry->bytes, expected);
	entry_destroy(entry);
}

static void test_split_of_unreadable_messages_is_refused(void **state)
{
	struct entry *entry = close_minute(1, false);
	size_t count = entry->message_count;

	(void)state;
	entry->messages[0].payload.data[entry->messages[0].payload.size - 1] ^= 1;
	assert_int_equal(entry_split(entry, PARTITIONS), FAIL_FORMAT);

	assert_int_equal(entry->partitions, 1);
	assert_int_equal(entry->message_count, count);
	entry_destroy(entry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_of_one_partition_gives_the_closers_own_bytes),
		cmocka_unit_test(test_split_of_an_empty_minute_changes_the_markers_alone),
		cmocka_unit_test(test_split_of_several_partitions_loses_nothing),
		cmocka_unit_test(test_split_accounts_for_its_memory),
		cmocka_unit_test(test_split_of_unreadable_messages_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
