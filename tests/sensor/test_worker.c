/*
 * The packet path: books, labels, actors, samples, and which worker counts what.
 */
#include "sensor/worker.h"

#include "tests/sensor/packet_bytes.h"

#define MINUTE	  UINT64_C(29459520)
#define MINUTE_NS (MINUTE * WINDOW_NS)
#define RAW_IP	  101u
#define DARK	  "198.51.100.0/24", "2001:db8:64::/48"
#define FLOWS_MAX 64

/* A worker, its dark ranges, and the flows of the minute once it is closed. */
struct scene {
	struct darknet *darknet;
	struct worker *worker;
	struct window *window;
	const struct flow_entry *flows[FLOWS_MAX];
	enum flow_family families[FLOWS_MAX];
	size_t flow_count;
};

static struct scene *scene_create(
	bool has_darknet, unsigned shards, unsigned worker, unsigned workers)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct worker_options options = { .shards = shards,
		.worker = worker,
		.workers = workers,
		.flows_max = 1 << 20,
		.secret = 1 };
	struct message msg;

	assert_non_null(scene);
	if (has_darknet)
		assert_int_equal(
			darknet_create(&scene->darknet, (const char *const[]){ DARK }, 2, &msg), 0);
	options.darknet = scene->darknet;
	assert_int_equal(worker_create(&scene->worker, &options), 0);
	return scene;
}

static void scene_destroy(struct scene *scene)
{
	window_destroy(scene->window);
	worker_destroy(scene->worker);
	darknet_destroy(scene->darknet);
	free(scene);
}

static void process_at(struct scene *scene, uint64_t time_ns, const struct made *made)
{
	struct frame frame = { time_ns, made->bytes, made->size, made->size, RAW_IP };

	assert_int_equal(worker_process(scene->worker, &frame, 1), 0);
}

static void process(struct scene *scene, const struct made *made)
{
	process_at(scene, MINUTE_NS + 1500, made);
}

/* Takes the oldest minute and lists its flows of one IP version. */
static void close_minute(struct scene *scene, unsigned ip_version)
{
	scene->window = window_set_take(worker_windows(scene->worker), UINT64_MAX);
	assert_non_null(scene->window);
	for (enum flow_family family = 0; family < FLOW_FAMILIES; family++) {
		struct flow_list list = flow_table_list(scene->window->table, family);

		if ((family == FLOW_V6) != (ip_version == 6))
			continue;
		for (uint32_t i = 0; i < list.count; i++) {
			assert_true(scene->flow_count < FLOWS_MAX);
			scene->families[scene->flow_count] = family;
			scene->flows[scene->flow_count++] = flow_list_at(&list, i);
		}
	}
}

static struct flow_labels labels_of(const struct scene *scene, size_t flow)
{
	struct flow_labels labels;

	assert_true(flow < scene->flow_count);
	flow_key_labels(&labels, scene->flows[flow]->key, scene->families[flow]);
	return labels;
}

/* ---- books ---- */

static void test_worker_books_hold_every_frame_once(void **state)
{
	struct scene *scene = scene_create(true, 1, 0, 1);
	struct frame arp = { MINUTE_NS, (const uint8_t *)"no link of IP", 13, 60, 105 };
	const struct ledger *ledger;
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	process_at(scene, MINUTE_NS + 9000, &made);
	process_at(scene, MINUTE_NS + 7000, &made);
	made.bytes[18] ^= 1; /* another destination: not dark */
	process(scene, &made);
	made.bytes[0] = 0x44;
	process(scene, &made);
	made.bytes[0] = 0x95;
	process(scene, &made);
	made.size = 10;
	made.bytes[0] = 0x45;
	process(scene, &made);
	assert_int_equal(worker_process(scene->worker, &arp, 1), 0);

	close_minute(scene, 4);
	ledger = &scene->window->ledger;
	assert_int_equal(ledger->frames, 7);
	assert_int_equal(ledger->non_ip, 1);
	assert_int_equal(ledger->malformed[PACKET_HEADER_LENGTH], 1);
	assert_int_equal(ledger->malformed[PACKET_IP_VERSION], 1);
	assert_int_equal(ledger->malformed[PACKET_HEADER_CUT], 1);
	assert_int_equal(ledger->not_dark, 1);
	assert_int_equal(ledger->counted, 2);
	assert_int_equal(ledger->wire_bytes, 80);
	assert_int_equal(ledger->first_ns, MINUTE_NS + 7000);
	assert_int_equal(ledger->last_ns, MINUTE_NS + 9000);
	assert_int_equal(ledger->range_packets[0] + ledger->range_packets[1], 2);
	assert_int_equal(scene->flow_count, 1);
	assert_int_equal(scene->flows[0]->first_us, 7);
	assert_int_equal(scene->flows[0]->last_us, 9);
	scene_destroy(scene);
}

static void test_worker_without_dark_ranges_counts_all(void **state)
{
	struct scene *scene = scene_create(false, 1, 0, 1);
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	for (unsigned i = 0; i < 256; i++) {
		made.bytes[16] = (uint8_t)i;
		process(scene, &made);
	}
	close_minute(scene, 4);
	assert_int_equal(scene->window->ledger.counted, 256);
	assert_int_equal(scene->window->ledger.not_dark, 0);
	assert_null(scene->window->ledger.range_packets);
	scene_destroy(scene);
}

/* It is not dark: reported whether its packet is for a dark range or not. */
static void test_worker_dark_address_that_sends_is_named(void **state)
{
	struct scene *scene = scene_create(true, 1, 0, 1);
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	memcpy(made.bytes + 12, made.bytes + 16, 4);
	made.bytes[15] = 66;
	process(scene, &made);
	made.bytes[18] ^= 1;
	process(scene, &made);

	close_minute(scene, 4);
	assert_int_equal(scene->window->ledger.counted, 1);
	assert_int_equal(scene->window->ledger.not_dark, 1);
	assert_int_equal(scene->window->ledger.sender_count, 1);
	assert_int_equal(scene->window->ledger.sender_packets, 2);
	assert_int_equal(scene->window->ledger.senders[0].address.bytes[3], 66);
	scene_destroy(scene);
}

/* ---- labels ---- */

static void test_worker_probe_has_its_labels(void **state)
{
	struct scene *scene = scene_create(true, 1, 0, 1);
	struct flow_labels labels;
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	store_u16(made.bytes + 4, 54321);
	process(scene, &made);

	close_minute(scene, 4);
	labels = labels_of(scene, 0);
	assert_int_equal(labels.class, CLASS_SCAN_TCP_SYN);
	assert_int_equal(labels.role, ROLE_PROBE);
	assert_int_equal(labels.protocol, PROTOCOL_TCP);
	assert_int_equal(labels.tool, TOOL_ZMAP);
	assert_int_equal(labels.service_port, 23);
	assert_false(labels.has_quote || labels.quote_matches || labels.is_overflow);
	assert_memory_equal(scene->flows[0]->key, made.bytes + 12, 4);
	assert_int_equal(scene->families[0], FLOW_V4); /* the source is the actor */
	scene_destroy(scene);
}

/* An error of a router about a packet that claims to come from the dark address. */
static void make_error(struct made *made, unsigned ip_version)
{
	uint32_t src = ip_version == 6 ? 8 : 12, dst = ip_version == 6 ? 24 : 16;
	uint32_t address_bytes = ip_version == 6 ? 16 : 4;
	struct made quoted;

	make_ip(made, ip_version, ip_version == 6 ? PROTOCOL_ICMP6 : PROTOCOL_ICMP);
	make_icmp(made, ip_version == 6 ? 1 : 3, 3);
	make_ip(&quoted, ip_version, PROTOCOL_TCP);
	make_tcp(&quoted, TCP_SYN);
	memcpy(quoted.bytes + src, made->bytes + dst, address_bytes);
	memcpy(quoted.bytes + dst, made->bytes + src, address_bytes);
	quoted.bytes[dst + address_bytes - 1] = 80; /* the victim, behind the router */
	make_append(made, quoted.bytes, quoted.size);
	make_length(made);
}

static void test_worker_error_is_about_the_victim_it_quotes(void **state)
{
	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		uint32_t size = version == 6 ? 16 : 4, src = version == 6 ? 8 : 12;
		struct scene *scene = scene_create(true, 1, 0, 1);
		struct flow_labels labels;
		struct made made;

		make_error(&made, version);
		process(scene, &made);

		close_minute(scene, version);
		labels = labels_of(scene, 0);
		assert_int_equal(labels.class, CLASS_BACKSCATTER_ICMP_ERROR);
		assert_true(labels.has_quote);
		assert_true(labels.quote_matches);
		assert_true(labels.quote_has_port);
		assert_int_equal(labels.quoted_protocol, PROTOCOL_TCP);
		assert_int_equal(labels.quoted_port, 23);
		assert_int_equal(labels.service_port, (version == 6 ? 1 : 3) << 8 | 3);
		assert_int_equal(scene->flows[0]->key[size - 1], 80);
		assert_memory_equal(flow_key_source(scene->flows[0]->key, scene->families[0]),
			made.bytes + src, size);
		scene_destroy(scene);
	}
}

static void test_worker_quote_from_another_address_does_not_match(void **state)
{
	struct scene *scene = scene_create(true, 1, 0, 1);
	struct flow_labels labels;
	struct made made;

	(void)state;
	make_error(&made, 4);
	made.bytes[20 + 8 + 15] ^= 1; /* the quoted source */
	process(scene, &made);

	close_minute(scene, 4);
	labels = labels_of(scene, 0);
	assert_true(labels.has_quote);
	assert_false(labels.quote_matches);
	scene_destroy(scene);
}

/* Telescope addresses do not leave the sensor: an error about one of them makes it no victim. */
static void test_worker_quote_of_a_dark_victim_names_the_sender(void **state)
{
	struct scene *scene = scene_create(true, 1, 0, 1);
	struct made made;

	(void)state;
	make_error(&made, 4);
	memcpy(made.bytes + 20 + 8 + 16, made.bytes + 16, 4);
	process(scene, &made);

	close_minute(scene, 4);
	assert_false(labels_of(scene, 0).quote_matches);
	assert_memory_equal(scene->flows[0]->key, made.bytes + 12, 4);
	scene_destroy(scene);
}

static void test_worker_error_without_a_quote_is_about_its_sender(void **state)
{
	struct scene *scene = scene_create(true, 1, 0, 1);
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_ICMP);
	make_icmp(&made, 3, 3);
	process(scene, &made);

	close_minute(scene, 4);
	assert_false(labels_of(scene, 0).has_quote);
	assert_memory_equal(scene->flows[0]->key, made.bytes + 12, 4);
	scene_destroy(scene);
}

/* ---- sample ---- */

static struct flow_sample sample_with_options(const char *options, size_t size, uint8_t words)
{
	struct scene *scene = scene_create(true, 1, 0, 1);
	struct flow_sample sample;
	struct made made;

	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	make_append(&made, options, size);
	make_length(&made);
	made.bytes[IPV4_BYTES + 12] = (uint8_t)(words << 4);
	made.bytes[6] = 0x40;
	process(scene, &made);
	close_minute(scene, 4);
	sample = flow_entry_sample(scene->flows[0]);
	scene_destroy(scene);
	return sample;
}

static void test_worker_sample_is_the_header(void **state)
{
	struct flow_sample sample = sample_with_options(
		"\x02\x04\x05\xb4\x01\x01\x04\x02\x08\x0a\0\0\0\1\0\0\0\0\x01\x03\x03\x07\0\0", 24,
		11);
	static const uint8_t kinds[8] = { 2, 1, 1, 4, 8, 1, 3, 0 };

	(void)state;
	assert_int_equal(sample.ttl, 64);
	assert_int_equal(sample.ip_length, 64);
	assert_int_equal(sample.ip_id, 0x1234);
	assert_true(sample.is_df);
	assert_int_equal(sample.source_port, 40000);
	assert_int_equal(sample.tcp_window, 65535);
	assert_int_equal(sample.tcp_sequence, 0x01020304);
	assert_int_equal(sample.tcp_mss, 1460);
	assert_memory_equal(sample.tcp_options, kinds, 8);
}

static void test_worker_sample_of_options_that_lie_ends_with_them(void **state)
{
	static const struct {
		const char *options;
		uint8_t size, words;
		uint16_t mss;
		uint8_t kinds[8];
	} rows[] = {
		{ "", 0, 5, 0, { 0 } },
		{ "\x02\x04\x05\xb4", 4, 5, 0, { 0 } },	    /* payload, not options */
		{ "\x02\x04\x05\xb4", 4, 15, 1460, { 2 } }, /* more than there is */
		{ "\x02\x03\x05\xb4", 4, 6, 0, { 2, 0xb4 } },
		{ "\x02\x00\x05\xb4", 4, 6, 0, { 2 } }, { "\x02\x01\x05\xb4", 4, 6, 0, { 2 } },
		{ "\x01\x01\x01\x02", 4, 6, 0, { 1, 1, 1, 2 } },
		{ "\x01\x02\x04\x05", 4, 6, 0, { 1, 2 } }, { "\x05\xff\x00\x00", 4, 6, 0, { 5 } },
		{ "\x01\x01\x01\x01\x01\x01\x01\x01\x02\x04\x05\xb4", 12, 8, 0,
			{ 1, 1, 1, 1, 1, 1, 1, 1 } }, /* eight are kept */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct flow_sample sample =
			sample_with_options(rows[i].options, rows[i].size, rows[i].words);

		assert_int_equal(sample.tcp_mss, rows[i].mss);
		assert_memory_equal(sample.tcp_options, rows[i].kinds, 8);
	}
}

/* ---- minutes and shards ---- */

static void test_worker_frames_go_to_the_window_of_their_minute(void **state)
{
	struct scene *scene = scene_create(true, 1, 0, 1);
	struct window_set *windows;
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	process_at(scene, MINUTE_NS + WINDOW_NS, &made);
	process_at(scene, MINUTE_NS + WINDOW_NS - 1, &made);
	process_at(scene, MINUTE_NS, &made);
	process_at(scene, MINUTE_NS + 2 * WINDOW_NS - 1, &made);

	windows = worker_windows(scene->worker);
	assert_int_equal(windows->count, 2);
	assert_int_equal(windows->windows[0]->minute, MINUTE);
	assert_int_equal(windows->windows[0]->ledger.counted, 2);
	assert_int_equal(windows->windows[1]->ledger.counted, 2);
	scene_destroy(scene);
}

/* Workers on files all see every frame: the flows are shared out, what is no flow is kept by one. */
static void test_worker_crew_counts_each_frame_once(void **state)
{
	enum { WORKERS = 3, FRAMES = 500 };
	uint64_t frames = 0, counted = 0, not_dark = 0, malformed = 0, flows = 0, senders = 0;

	(void)state;
	for (unsigned w = 0; w < WORKERS; w++) {
		struct scene *scene = scene_create(true, FILE_SHARDS, w, WORKERS);
		struct made made;

		for (uint32_t i = 0; i < FRAMES; i++) {
			make_ipv4(&made, PROTOCOL_TCP);
			make_tcp(&made, TCP_SYN);
			store_u16(made.bytes + 14, (uint16_t)(i % 60));
			made.bytes[18] ^= i % 5 == 0;
			made.bytes[0] = i % 7 == 0 ? 0x44 : 0x45;
			if (i % 11 == 0)
				memcpy(made.bytes + 12, "\xc6\x33\x64\x42", 4);
			process(scene, &made);
		}
		close_minute(scene, 4);
		assert_int_equal(scene->window->ledger.frames, w == 0 ? FRAMES : 0);
		frames += scene->window->ledger.frames;
		counted += scene->window->ledger.counted;
		not_dark += scene->window->ledger.not_dark;
		malformed += ledger_malformed(&scene->window->ledger);
		senders += scene->window->ledger.sender_packets;
		flows += scene->flow_count;
		scene_destroy(scene);
	}
	assert_int_equal(frames, FRAMES);
	assert_int_equal(frames, malformed + not_dark + counted);
	assert_int_equal(malformed, 72);   /* multiples of 7 below 500 */
	assert_int_equal(senders, 46 - 7); /* of 11, less those that are malformed */
	assert_int_equal(flows, 48 + 1);   /* sources that are no multiple of 5, and the sender */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worker_books_hold_every_frame_once),
		cmocka_unit_test(test_worker_without_dark_ranges_counts_all),
		cmocka_unit_test(test_worker_dark_address_that_sends_is_named),
		cmocka_unit_test(test_worker_probe_has_its_labels),
		cmocka_unit_test(test_worker_error_is_about_the_victim_it_quotes),
		cmocka_unit_test(test_worker_quote_from_another_address_does_not_match),
		cmocka_unit_test(test_worker_quote_of_a_dark_victim_names_the_sender),
		cmocka_unit_test(test_worker_error_without_a_quote_is_about_its_sender),
		cmocka_unit_test(test_worker_sample_is_the_header),
		cmocka_unit_test(test_worker_sample_of_options_that_lie_ends_with_them),
		cmocka_unit_test(test_worker_frames_go_to_the_window_of_their_minute),
		cmocka_unit_test(test_worker_crew_counts_each_frame_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
