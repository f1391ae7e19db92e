/*
 * Closing a minute: records in key order, windows folded, parts and messages cut, books balanced.
 */
#include "sensor/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "schemas/sketch.h"

#define MINUTE	  UINT64_C(29459520) /* 2026-01-05 00:00 UTC */
#define MINUTE_NS (MINUTE * WINDOW_NS)
#define PLENTY	  ((size_t)1 << 30)

/* ---- windows ---- */

struct packet_like {
	unsigned ip_version;
	uint32_t actor, source, dst;
	uint8_t class, tool;
	int32_t port;
	uint32_t time_us;
	uint16_t ip_id;
};

struct scene {
	struct flow_budget shards[2];
	struct flow_budgets budgets;
	struct entry_closer *closer;
	struct darknet *darknet;
	struct entry *entries[64];
	size_t entry_count;
	int rc_of_take;
};

static int take(void *context, struct entry *entry)
{
	struct scene *scene = context;

	if (scene->rc_of_take != 0) {
		entry_destroy(entry);
		return scene->rc_of_take;
	}
	assert_true(scene->entry_count < 64);
	scene->entries[scene->entry_count++] = entry;
	return 0;
}

static struct scene *scene_create(uint32_t partitions)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct entry_closer_options options = {
		.origin = { "test", TIMELINE_LIVE, 17 },
		.partitions = partitions,
		.is_file = partitions == 1,
		.take = take,
		.context = scene,
	};
	struct message msg;

	assert_non_null(scene);
	scene->budgets = (struct flow_budgets){ .secret = 1, .shards = 2, .shard = scene->shards };
	for (unsigned i = 0; i < 2; i++)
		scene->shards[i] =
			(struct flow_budget){ .flows_max = PLENTY, .sketch_bytes_max = PLENTY };
	assert_int_equal(darknet_create(&scene->darknet,
				 (const char *const[]){
					 "198.51.100.0/24", "2001:db8::/32", "!198.51.100.9" },
				 3, &msg),
		0);
	options.darknet = scene->darknet;
	assert_int_equal(entry_closer_create(&scene->closer, &options), 0);
	return scene;
}

static void drop_entries(struct scene *scene)
{
	for (size_t i = 0; i < scene->entry_count; i++)
		entry_destroy(scene->entries[i]);
	scene->entry_count = 0;
}

static void scene_destroy(struct scene *scene)
{
	drop_entries(scene);
	entry_closer_destroy(scene->closer);
	darknet_destroy(scene->darknet);
	free(scene);
}

static struct window *make_window(struct scene *scene, uint64_t minute)
{
	struct window *window = NULL;

	assert_int_equal(window_create(&window, minute, &scene->budgets, scene->darknet, NULL), 0);
	return window;
}

static struct flow_sample sample_of(const void *context)
{
	return (struct flow_sample){ .ip_id = ((const struct packet_like *)context)->ip_id };
}

static void fill_address(uint8_t out[16], uint32_t number, unsigned ip_version)
{
	memset(out, 0, 16);
	if (ip_version == 6)
		store_u32(out, 0x20010db8);
	store_u32(out + (ip_version == 6 ? 4 : 0), number);
}

/* Counts a packet in the window's table and in its books. */
static void count(struct scene *scene, struct window *window, struct packet_like packet)
{
	struct flow_labels labels = { .class = packet.class,
		.role = (uint8_t)role_of_class(packet.class),
		.protocol = 6,
		.tool = packet.tool,
		.service_port = packet.port };
	uint8_t actor[16], source[16], dst[16];
	size_t size = packet.ip_version == 6 ? 16 : 4;
	struct flow_update update = { packet.time_us, 60, 0, 0, sample_of, &packet };
	uint64_t time_ns = window->minute * WINDOW_NS + packet.time_us * UINT64_C(1000);
	struct flow_key key;

	fill_address(actor, packet.actor, packet.ip_version);
	fill_address(source, packet.source != 0 ? packet.source : packet.actor, packet.ip_version);
	fill_address(dst, packet.dst, packet.ip_version);
	update.destination_hash = sketch_hash(dst, size);
	flow_key_make(&key, actor, source, size, &labels);
	update.shard = flow_key_shard(&key, scene->budgets.shards);
	flow_table_count(
		window->table, &key, flow_key_hash(&key, scene->budgets.secret), NULL, &update);
	window->ledger.frames++;
	window->ledger.counted++;
	window->ledger.wire_bytes += 60;
	window->ledger.range_packets[packet.ip_version == 6]++;
	if (time_ns < window->ledger.first_ns)
		window->ledger.first_ns = time_ns;
	if (time_ns > window->ledger.last_ns)
		window->ledger.last_ns = time_ns;
}

static int close_windows(struct scene *scene, struct window **windows, size_t number)
{
	struct entry_interval interval = { .from_ns = windows[0]->minute * WINDOW_NS,
		.to_ns = (windows[0]->minute + 1) * WINDOW_NS,
		.closed_through = windows[0]->minute,
		.is_final = true };

	return entry_closer_close(scene->closer, windows, number, &interval);
}

/* ---- what came out ---- */

struct seen {
	struct flow_record last;
	uint8_t last_key[64];
	size_t last_key_bytes;
	uint64_t flows, packets, wire_bytes, overflow_packets;
};

/* The order of keys, from the record: family, actor, labels, source. */
static size_t key_of(const struct flow_record *flow, uint8_t out[64])
{
	struct address actor = flow_actor(flow), source = flow_source(flow);
	size_t size = flow->ip_version == 6 ? 16 : 4;
	uint8_t *at = out;

	memset(out, 0, 64);
	*at++ = flow->ip_version;
	memcpy(at, actor.bytes, size);
	at += size;
	*at++ = flow->class;
	*at++ = flow->role | (flow->overflow ? 0x80 : 0);
	*at++ = flow->protocol;
	*at++ = flow->tool;
	store_u32(at, (uint32_t)(flow->service_port + 1));
	at += 4;
	memcpy(at, source.bytes, address_equals(&actor, &source) ? 0 : size);
	at += size;
	return (size_t)(at - out);
}

typedef void (*flow_visitor)(struct seen *seen, const struct flow_record *flow);

/* Visits all flows of a message. Returns their number. */
static uint64_t read_message(const struct scene *scene, const struct entry_message *message,
	struct seen *seen, flow_visitor visit)
{
	struct origin origin = { "test", TIMELINE_LIVE, 17 };
	struct container_decoder *decoder;
	struct container_records records;
	struct container_item item;
	struct buffer header = { 0 };
	struct byte_reader r;
	struct message msg;
	uint64_t number = 0;

	assert_int_equal(container_decoder_create(&decoder), 0);
	container_header(&header, &origin);
	r = byte_reader_of(header.data, header.size);
	if (message->partition != 0 || scene->entries[0]->partitions > 1)
		r = byte_reader_of(message->payload.data, message->payload.size);
	assert_int_equal(container_decoder_header(decoder, &r, &origin, &msg), 0);
	assert_string_equal(origin.sensor, "test");
	if (bytes_left(&r) == 0) /* a block of a file */
		r = byte_reader_of(message->payload.data, message->payload.size);
	assert_int_equal(container_decoder_block(decoder, &r, &records, &msg), 0);
	assert_int_equal(bytes_left(&r), 0);
	for (;;) {
		assert_int_equal(container_next(decoder, &records, &item, &msg), 0);
		if (item.kind == ITEM_NONE)
			break;
		assert_int_equal(item.kind, ITEM_FLOW);
		number++;
		seen->flows++;
		seen->packets += (uint64_t)item.flow.packets;
		seen->wire_bytes += (uint64_t)item.flow.bytes;
		seen->overflow_packets += item.flow.overflow ? (uint64_t)item.flow.packets : 0;
		if (visit != NULL)
			visit(seen, &item.flow);
		seen->last = item.flow;
		container_item_fini(&item);
	}
	buffer_fini(&header);
	container_decoder_destroy(decoder);
	return number;
}

static void assert_ascending(struct seen *seen, const struct flow_record *flow)
{
	uint8_t key[64];
	size_t size = key_of(flow, key);

	if (seen->last_key_bytes > 0)
		assert_true(memcmp(seen->last_key, key, size) < 0);
	memcpy(seen->last_key, key, sizeof(key));
	seen->last_key_bytes = size;
}

static struct seen read_all(const struct scene *scene, flow_visitor visit)
{
	struct seen seen = { 0 };

	for (size_t e = 0; e < scene->entry_count; e++)
		for (size_t m = 0; m < scene->entries[e]->message_count; m++)
			read_message(scene, &scene->entries[e]->messages[m], &seen, visit);
	return seen;
}

static void assert_books_balance(const struct entry *entry)
{
	const struct marker_record *ledger = &entry->ledger;

	assert_int_equal(ledger->frames,
		ledger->non_ip + ledger->malformed + ledger->not_dark + ledger->counted);
	assert_int_equal(ledger->malformed,
		ledger->malformed_ip_version + ledger->malformed_header_cut +
			ledger->malformed_header_length + ledger->malformed_total_length);
	assert_int_equal(ledger->counted, entry->packets);
	assert_true(ledger->interval_from_ns <= ledger->interval_to_ns);
}

/* ---- order and folding ---- */

static void fill(struct scene *scene, struct window *window, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		uint32_t mixed = i * 2654435761u;

		count(scene, window,
			(struct packet_like){ .ip_version = mixed % 3 == 0 ? 6 : 4,
				.actor = mixed % 701 << 20 | mixed % 7,
				.source = mixed % 11 == 0 ? mixed : 0,
				.dst = mixed % 97,
				.class = (uint8_t)(mixed % CLASS_COUNT),
				.tool = (uint8_t)(mixed / 64 % TOOL_COUNT),
				.port = (int32_t)(mixed / 128 % 4) - 1,
				.time_us = mixed % 60000000,
				.ip_id = (uint16_t)mixed });
	}
}

static void test_entry_records_are_in_key_order(void **state)
{
	struct scene *scene = scene_create(1);
	struct window *window = make_window(scene, MINUTE);
	struct seen seen;

	(void)state;
	fill(scene, window, 0, 20000);

	assert_int_equal(close_windows(scene, &window, 1), 0);

	seen = read_all(scene, assert_ascending);
	assert_int_equal(scene->entry_count, 1);
	assert_true(seen.flows > 10000);
	assert_int_equal(seen.flows, scene->entries[0]->flows);
	assert_int_equal(seen.packets, 20000);
	assert_int_equal(seen.wire_bytes, 20000 * 60);
	assert_int_equal(
		flow_budget_flows(&scene->shards[0]) + flow_budget_flows(&scene->shards[1]),
		0); /* the windows are gone */
	scene_destroy(scene);
}

static void assert_same_entries(const struct scene *a, const struct scene *b)
{
	assert_int_equal(a->entry_count, b->entry_count);
	for (size_t e = 0; e < a->entry_count; e++) {
		struct buffer x = { 0 }, y = { 0 };

		assert_int_equal(a->entries[e]->message_count, b->entries[e]->message_count);
		for (size_t m = 0; m < a->entries[e]->message_count; m++) {
			const struct entry_message *p = &a->entries[e]->messages[m];
			const struct entry_message *q = &b->entries[e]->messages[m];

			assert_int_equal(p->partition, q->partition);
			assert_int_equal(p->payload.size, q->payload.size);
			assert_memory_equal(p->payload.data, q->payload.data, p->payload.size);
		}
		for (uint32_t partition = 0; partition < a->entries[e]->partitions; partition++) {
			entry_marker(a->entries[e], e, partition, &x);
			entry_marker(b->entries[e], e, partition, &y);
		}
		assert_int_equal(x.size, y.size);
		assert_memory_equal(x.data, y.data, x.size);
		buffer_fini(&x);
		buffer_fini(&y);
	}
}

/* Live workers share flows: folded, they are as if one had counted all, in whatever order. */
static void test_entry_windows_of_workers_fold_into_one(void **state)
{
	struct scene *one = scene_create(4), *several = scene_create(4),
		     *reversed = scene_create(4);
	struct window *alone = make_window(one, MINUTE);
	struct window *parts[3], *others[3];

	(void)state;
	fill(one, alone, 0, 9000);
	for (uint32_t i = 0; i < 3; i++) {
		parts[i] = make_window(several, MINUTE);
		others[i] = make_window(reversed, MINUTE);
		fill(several, parts[i], i * 3000, (i + 1) * 3000);
		fill(reversed, others[i], (2 - i) * 3000, (3 - i) * 3000);
	}

	assert_int_equal(close_windows(one, &alone, 1), 0);
	assert_int_equal(close_windows(several, parts, 3), 0);
	assert_int_equal(close_windows(reversed, others, 3), 0);

	assert_same_entries(one, several);
	assert_same_entries(one, reversed);
	scene_destroy(one);
	scene_destroy(several);
	scene_destroy(reversed);
}

/* Sketches of each kind meet: one hash, lists, registers. */
static void test_entry_folded_destinations_are_the_union(void **state)
{
	static const uint32_t counts[] = { 1, 5, 40, 64, 65, 500 };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		for (size_t j = 0; j < 6; j++) {
			struct scene *scene = scene_create(1), *whole = scene_create(1);
			struct window *windows[2] = { make_window(scene, MINUTE),
				make_window(scene, MINUTE) };
			struct window *both = make_window(whole, MINUTE);

			for (uint32_t n = 0; n < counts[i]; n++) {
				struct packet_like packet = {
					.ip_version = 4, .actor = 9, .dst = n
				};

				count(scene, windows[0], packet);
				count(whole, both, packet);
			}
			for (uint32_t n = 0; n < counts[j]; n++) {
				struct packet_like packet = {
					.ip_version = 4, .actor = 9, .dst = 20 + n
				};

				count(scene, windows[1], packet);
				count(whole, both, packet);
			}
			assert_int_equal(close_windows(scene, windows, 2), 0);
			assert_int_equal(close_windows(whole, &both, 1), 0);
			assert_same_entries(scene, whole);
			scene_destroy(scene);
			scene_destroy(whole);
		}
	}
}

/* ---- a record ---- */

static void test_entry_record_says_what_the_flow_was(void **state)
{
	struct scene *scene = scene_create(1);
	struct window *window = make_window(scene, MINUTE);
	struct seen seen;

	(void)state;
	count(scene, window,
		(struct packet_like){ .ip_version = 4,
			.actor = 0xcb007109,
			.dst = 1,
			.tool = TOOL_ZMAP,
			.port = 443,
			.time_us = 1500000,
			.ip_id = 54321 });
	count(scene, window,
		(struct packet_like){ .ip_version = 4,
			.actor = 0xcb007109,
			.dst = 2,
			.tool = TOOL_ZMAP,
			.port = 443,
			.time_us = 59999999,
			.ip_id = 54321 });
	assert_int_equal(close_windows(scene, &window, 1), 0);

	seen = read_all(scene, NULL);

	assert_int_equal(seen.last.window_ms, MINUTE * 60000);
	assert_int_equal(seen.last.ip_version, 4);
	assert_int_equal(seen.last.class, CLASS_SCAN_TCP_SYN);
	assert_int_equal(seen.last.role, ROLE_PROBE);
	assert_int_equal(seen.last.protocol, 6);
	assert_int_equal(seen.last.service_port, 443);
	assert_int_equal(seen.last.tool, TOOL_ZMAP);
	assert_int_equal(seen.last.quoted_protocol, -1);
	assert_int_equal(seen.last.quoted_port, -1);
	assert_int_equal(seen.last.packets, 2);
	assert_int_equal(seen.last.bytes, 120);
	assert_true(seen.last.first_us == (int64_t)(MINUTE * 60000000) + 1500000);
	assert_true(seen.last.last_us == (int64_t)(MINUTE * 60000000) + 59999999);
	assert_int_equal(seen.last.destinations, 2);
	assert_int_equal(seen.last.sample_ip_id, 54321);
	assert_false(seen.last.overflow);
	scene_destroy(scene);
}

static void test_entry_overflow_has_no_actor_and_is_in_the_books(void **state)
{
	struct scene *scene = scene_create(6);
	struct window *window = make_window(scene, MINUTE);
	struct seen seen;

	(void)state;
	scene->shards[0].flows_max = scene->shards[1].flows_max = 50;
	fill(scene, window, 0, 5000);
	assert_int_equal(close_windows(scene, &window, 1), 0);

	seen = read_all(scene, NULL);

	assert_int_equal(seen.packets, 5000);
	assert_true(seen.overflow_packets > 0);
	assert_int_equal(scene->entries[0]->ledger.overflow, seen.overflow_packets);
	assert_books_balance(scene->entries[0]);
	scene_destroy(scene);
}

/* ---- books ---- */

static void fill_books(struct window *window)
{
	window->ledger.non_ip = 1;
	window->ledger.malformed[PACKET_IP_VERSION] = 2;
	window->ledger.malformed[PACKET_HEADER_CUT] = 3;
	window->ledger.malformed[PACKET_HEADER_LENGTH] = 4;
	window->ledger.malformed[PACKET_TOTAL_LENGTH] = 5;
	window->ledger.not_dark = 6;
	window->ledger.frames += 21;
	window->ledger.kernel_drops = 7;
	window->ledger.interface_drops = 8;
	window->ledger.misdated = 9;
}

static void test_entry_marker_has_the_books_of_the_minute(void **state)
{
	struct scene *scene = scene_create(6);
	struct window *window = make_window(scene, MINUTE);
	const struct marker_record *ledger;
	struct address sender = { 4, { 198, 51, 100, 66 } };

	(void)state;
	fill(scene, window, 0, 100);
	fill_books(window);
	ledger_add_sender(&window->ledger, &sender, 9);
	assert_int_equal(close_windows(scene, &window, 1), 0);

	ledger = &scene->entries[0]->ledger;
	assert_books_balance(scene->entries[0]);
	assert_int_equal(ledger->minute_ms, MINUTE * 60000);
	assert_int_equal(ledger->closed_through_ms, MINUTE * 60000);
	assert_int_equal(ledger->part, 0);
	assert_int_equal(ledger->partitions, 6);
	assert_true(ledger->final);
	assert_int_equal(ledger->interval_from_ns, MINUTE_NS);
	assert_int_equal(ledger->interval_to_ns, MINUTE_NS + WINDOW_NS);
	assert_int_equal(ledger->frames, 121);
	assert_int_equal(ledger->malformed_header_length, 4);
	assert_int_equal(ledger->kernel_drops, 7);
	assert_int_equal(ledger->interface_drops, 8);
	assert_int_equal(ledger->misdated, 9);
	assert_int_equal(ledger->wire_bytes, 6000);
	assert_true(ledger->first_ns >= (int64_t)MINUTE_NS && ledger->first_ns <= ledger->last_ns);
	assert_int_equal(ledger->monitored_addresses, 255);
	assert_int_equal(ledger->monitored_ipv6_prefixes, 1);
	assert_int_equal(ledger->ranges.count, 2);
	assert_int_equal(ledger->dark_senders.count, 1);
	assert_int_equal(ledger->dark_sender_packets, 9);
	assert_memory_equal(scene->entries[0]->senders[0].address.data, "198.51.100.66", 13);
	scene_destroy(scene);
}

static void test_entry_of_a_minute_without_packets_has_a_marker(void **state)
{
	struct scene *scene = scene_create(2);
	struct window *window = make_window(scene, MINUTE);
	const struct marker_record *ledger;

	(void)state;
	assert_int_equal(close_windows(scene, &window, 1), 0);

	assert_int_equal(scene->entry_count, 1);
	assert_int_equal(scene->entries[0]->message_count, 0);
	ledger = &scene->entries[0]->ledger;
	assert_int_equal(ledger->frames, 0);
	assert_true(ledger->first_ns == AVRO_NULL_LONG && ledger->last_ns == AVRO_NULL_LONG);
	assert_int_equal(ledger->monitored_addresses, 255);
	scene_destroy(scene);
}

static void test_entry_parts_of_a_minute_are_numbered_and_go_on_when_it_is_late(void **state)
{
	struct scene *scene = scene_create(1);

	(void)state;
	for (int part = 0; part < 3; part++) {
		for (uint64_t minute = MINUTE; minute < MINUTE + 2; minute++) {
			struct window *window = make_window(scene, minute);

			fill(scene, window, 0, 10);
			assert_int_equal(close_windows(scene, &window, 1), 0);
			assert_int_equal(scene->entries[scene->entry_count - 1]->ledger.part, part);
		}
	}
	assert_int_equal(entry_closer_totals(scene->closer)->counted, 60);
	scene_destroy(scene);
}

/* ---- partitions and messages ---- */

static uint32_t expected_partition, partitions;

static void assert_partition(struct seen *seen, const struct flow_record *flow)
{
	struct address actor = flow_actor(flow);

	(void)seen;
	assert_int_equal(address_partition(&actor, partitions), expected_partition);
}

static void test_entry_messages_are_of_one_partition_and_add_up(void **state)
{
	struct scene *scene = scene_create(6);
	struct window *window = make_window(scene, MINUTE);
	uint64_t flows[6] = { 0 }, packets[6] = { 0 };
	const struct entry *entry;

	(void)state;
	partitions = 6;
	for (uint32_t i = 0; i < 60000; i++) /* more than 4,096 flows to each */
		count(scene, window,
			(struct packet_like){
				.ip_version = 4, .actor = i << 8, .dst = i, .port = 23 });
	assert_int_equal(close_windows(scene, &window, 1), 0);

	assert_int_equal(scene->entry_count, 1);
	entry = scene->entries[0];
	for (size_t m = 0; m < entry->message_count; m++) {
		const struct entry_message *message = &entry->messages[m];
		struct seen seen = { 0 };

		expected_partition = message->partition;
		assert_in_range(message->flows, 1, FLOWS_PER_BLOCK);
		assert_int_equal(
			read_message(scene, message, &seen, assert_partition), message->flows);
		assert_true(message->payload.size < 1000000); /* brokers' usual limit */
		flows[message->partition] += message->flows;
		packets[message->partition] += seen.packets;
	}
	assert_true(entry->message_count > 12);
	for (uint32_t p = 0; p < 6; p++) {
		assert_true(flows[p] > 0);
		assert_int_equal(entry->shares[p].flows, flows[p]);
		assert_int_equal(entry->shares[p].packets, packets[p]);
	}
	scene_destroy(scene);
}

static void test_entry_markers_go_to_every_partition_with_its_share(void **state)
{
	struct scene *scene = scene_create(3);
	struct window *window = make_window(scene, MINUTE);
	struct buffer records = { 0 }, block = { 0 };
	struct container_records reader;
	struct container_decoder *decoder;
	struct container_item item;
	struct origin origin = { "test", TIMELINE_LIVE, 17 };
	struct byte_reader r;
	struct message msg;
	uint64_t packets = 0;

	(void)state;
	fill(scene, window, 0, 1000);
	assert_int_equal(close_windows(scene, &window, 1), 0);
	for (uint32_t p = 0; p < 3; p++)
		entry_marker(scene->entries[0], 77, p, &records);
	container_header(&block, &origin);
	container_block(&block, 3, (struct bytes){ records.data, records.size });
	r = byte_reader_of(block.data, block.size);
	assert_int_equal(container_decoder_create(&decoder), 0);
	assert_int_equal(container_decoder_header(decoder, &r, &origin, &msg), 0);
	assert_int_equal(container_decoder_block(decoder, &r, &reader, &msg), 0);

	for (int p = 0; p < 3; p++) {
		assert_int_equal(container_next(decoder, &reader, &item, &msg), 0);
		assert_int_equal(item.kind, ITEM_MARKER);
		assert_int_equal(item.marker.entry, 77);
		assert_int_equal(item.marker.partition, p);
		assert_int_equal(item.marker.partitions, 3);
		assert_int_equal(item.marker.counted, 1000); /* the part's, in all of them */
		assert_int_equal(item.marker.ranges.count, p == 0 ? 2 : 0);
		packets += (uint64_t)item.marker.packets;
		container_item_fini(&item);
	}
	assert_int_equal(packets, 1000);
	container_decoder_destroy(decoder);
	buffer_fini(&records);
	buffer_fini(&block);
	scene_destroy(scene);
}

/* A minute too large for one entry: parts, each with books of its own. */
static void test_entry_large_minute_is_cut_into_parts_that_balance(void **state)
{
	enum { FLOWS = 400000 };
	struct scene *scene = scene_create(6);
	struct window *window = make_window(scene, MINUTE);
	uint64_t frames = 0, counted = 0, wire_bytes = 0;

	(void)state;
	for (uint32_t i = 0; i < FLOWS; i++)
		count(scene, window,
			(struct packet_like){
				.ip_version = 4, .actor = i * 2654435761u, .dst = i, .port = 23 });
	fill_books(window);
	assert_int_equal(close_windows(scene, &window, 1), 0);

	assert_true(scene->entry_count > 1);
	for (size_t e = 0; e < scene->entry_count; e++) {
		const struct entry *entry = scene->entries[e];
		bool is_last = e + 1 == scene->entry_count;
		size_t bytes = 0;

		assert_books_balance(entry);
		assert_int_equal(entry->ledger.part, e);
		assert_int_equal(entry->ledger.non_ip, e == 0 ? 1 : 0);
		assert_int_equal(entry->ledger.malformed, e == 0 ? 14 : 0);
		assert_int_equal(entry->ledger.not_dark, e == 0 ? 6 : 0);
		assert_int_equal(entry->ledger.kernel_drops, e == 0 ? 7 : 0);
		assert_int_equal(entry->ledger.final, is_last);
		assert_int_equal(
			entry->ledger.closed_through_ms, (MINUTE - (is_last ? 0 : 1)) * 60000);
		for (size_t m = 0; m < entry->message_count; m++)
			bytes += entry->messages[m].payload.size;
		assert_true(bytes < ENTRY_CUT_BYTES + ENTRY_CUT_BYTES / 4);
		assert_true(entry->bytes >= bytes);
		frames += (uint64_t)entry->ledger.frames;
		counted += (uint64_t)entry->ledger.counted;
		wire_bytes += (uint64_t)entry->ledger.wire_bytes;
	}
	assert_int_equal(counted, FLOWS);
	assert_int_equal(wire_bytes, FLOWS * 60);
	assert_int_equal(frames, FLOWS + 21);
	scene_destroy(scene);
}

/* ---- ends ---- */

static void test_entry_not_taken_ends_the_close_with_that_code(void **state)
{
	struct scene *scene = scene_create(1);
	struct window *windows[2] = { make_window(scene, MINUTE), make_window(scene, MINUTE) };

	(void)state;
	fill(scene, windows[0], 0, 100);
	fill(scene, windows[1], 50, 150);
	scene->rc_of_take = FAIL_FENCED;

	assert_int_equal(close_windows(scene, windows, 2), FAIL_FENCED);

	scene_destroy(scene);
}

static void test_entry_closer_that_discards_keeps_the_totals(void **state)
{
	struct entry_closer_options options = { .partitions = 1, .discards = true };
	struct scene *scene = scene_create(1);
	struct window *window = make_window(scene, MINUTE);

	(void)state;
	entry_closer_destroy(scene->closer);
	options.darknet = scene->darknet;
	assert_int_equal(entry_closer_create(&scene->closer, &options), 0);
	fill(scene, window, 0, 100);
	fill_books(window);

	assert_int_equal(close_windows(scene, &window, 1), 0);

	assert_int_equal(scene->entry_count, 0);
	assert_int_equal(entry_closer_totals(scene->closer)->frames, 121);
	assert_int_equal(entry_closer_totals(scene->closer)->counted, 100);
	scene_destroy(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_records_are_in_key_order),
		cmocka_unit_test(test_entry_windows_of_workers_fold_into_one),
		cmocka_unit_test(test_entry_folded_destinations_are_the_union),
		cmocka_unit_test(test_entry_record_says_what_the_flow_was),
		cmocka_unit_test(test_entry_overflow_has_no_actor_and_is_in_the_books),
		cmocka_unit_test(test_entry_marker_has_the_books_of_the_minute),
		cmocka_unit_test(test_entry_of_a_minute_without_packets_has_a_marker),
		cmocka_unit_test(
			test_entry_parts_of_a_minute_are_numbered_and_go_on_when_it_is_late),
		cmocka_unit_test(test_entry_messages_are_of_one_partition_and_add_up),
		cmocka_unit_test(test_entry_markers_go_to_every_partition_with_its_share),
		cmocka_unit_test(test_entry_large_minute_is_cut_into_parts_that_balance),
		cmocka_unit_test(test_entry_not_taken_ends_the_close_with_that_code),
		cmocka_unit_test(test_entry_closer_that_discards_keeps_the_totals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
