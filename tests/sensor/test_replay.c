/*
 * Captures through the whole library: minutes close by packet time, and neither the number of
 * workers nor the hash secret nor the cut into files shows in a single byte.
 */
#include "sensor/replay.h"

#include "tests/sensor/capture_bytes.h"
#include "tests/sensor/packet_bytes.h"

#include <stdio.h>
#include <unistd.h>

#include "sensor/sink.h"

#define START_S	    1767571200u /* 2026-01-05 00:00 UTC, a full minute */
#define LEDGERS_MAX 8192
#define FILES_MAX   10
#define PATH_BYTES  64
#define DARK	    "198.51.100.0/24", "2001:db8:64::/48"

/* ---- captures ---- */

struct capture {
	struct built_file file;
	uint32_t frames;
};

static void capture_init(struct capture *capture)
{
	*capture = (struct capture){ 0 };
	put_pcap_header(&capture->file, PCAP_NANOSECONDS, 1);
}

static void add_frame(struct capture *capture, uint32_t time_s, uint32_t time_ns,
	uint16_t ethertype, const void *data, uint32_t size)
{
	static const uint8_t addresses[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };

	put_u32(&capture->file, time_s);
	put_u32(&capture->file, time_ns);
	put_u32(&capture->file, size + 14);
	put_u32(&capture->file, size + 14);
	buffer_append(&capture->file.bytes, addresses, sizeof(addresses));
	buffer_u8(&capture->file.bytes, (uint8_t)(ethertype >> 8));
	buffer_u8(&capture->file.bytes, (uint8_t)ethertype);
	buffer_append(&capture->file.bytes, data, size);
	capture->frames++;
}

static void add_syn(struct capture *capture, uint32_t time_s, uint32_t time_ns, uint8_t host)
{
	struct made made;

	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	made.bytes[15] = host;
	add_frame(capture, time_s, time_ns, 0x0800, made.bytes, made.size);
}

static uint32_t random_u32(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33);
}

/* What a telescope sees: probes, answers, errors with their quotes, IPv6, and what is no packet. */
static void add_random_frame(
	struct capture *capture, uint32_t time_s, uint32_t time_ns, uint64_t *seed)
{
	uint32_t kind = random_u32(seed) % 16;
	unsigned version = kind % 4 == 3 ? 6 : 4;
	struct made made, quoted;

	if (kind == 0) {
		add_frame(capture, time_s, time_ns, 0x0806, "arp", 3);
		return;
	}
	make_ip(&made, version, PROTOCOL_TCP);
	if (kind < 8) {
		make_tcp(&made, (uint8_t)(random_u32(seed) % 3 == 0 ? TCP_SYN | TCP_ACK : TCP_SYN));
	} else if (kind < 12) {
		made.bytes[version == 6 ? 6 : 9] = PROTOCOL_UDP;
		make_udp(&made, (uint16_t)(random_u32(seed) % 200),
			(uint16_t)(random_u32(seed) % 2000), "payload", 7);
	} else {
		make_ip(&quoted, version, PROTOCOL_TCP);
		make_tcp(&quoted, TCP_SYN);
		quoted.bytes[version == 6 ? 39 : 19] = (uint8_t)(random_u32(seed) % 9);
		made.bytes[version == 6 ? 6 : 9] = version == 6 ? PROTOCOL_ICMP6 : PROTOCOL_ICMP;
		make_icmp(&made, version == 6 ? 1 : 3, (uint8_t)(random_u32(seed) % 3));
		make_append(&made, quoted.bytes, quoted.size);
		make_length(&made);
	}
	/* sources by the hundred, destinations in and beside the dark range, odd and even */
	store_u16(made.bytes + (version == 6 ? 22 : 14), (uint16_t)(random_u32(seed) % 400));
	made.bytes[version == 6 ? 39 : 19] = (uint8_t)random_u32(seed);
	if (random_u32(seed) % 10 == 0)
		made.bytes[version == 6 ? 29 : 18] ^= 1;
	if (random_u32(seed) % 40 == 0)
		made.bytes[0] ^= (uint8_t)(random_u32(seed) % 256);
	if (random_u32(seed) % 40 == 0)
		made.size = random_u32(seed) % made.size;
	add_frame(capture, time_s, time_ns, version == 6 ? 0x86dd : 0x0800, made.bytes, made.size);
}

/* Frames over some minutes, a little out of order. */
static void fill_random(struct capture *capture, uint32_t frames, uint32_t minutes)
{
	uint64_t seed = 7;

	for (uint32_t i = 0; i < frames; i++) {
		uint32_t time_s = START_S + (uint32_t)((uint64_t)i * minutes * 60 / frames);

		time_s -= time_s > START_S + 20 ? random_u32(&seed) % 20 : 0;
		add_random_frame(capture, time_s, random_u32(&seed) % 1000000000, &seed);
	}
}

/* ---- a replay ---- */

struct scene {
	char folder[PATH_BYTES];
	char *paths[FILES_MAX];
	size_t files;
	struct replay_options options;
	struct darknet *darknet;
	atomic_bool stop;
	/* what came out */
	struct marker_record ledgers[LEDGERS_MAX];
	size_t ledger_count;
	struct buffer written; /* the flow file */
	struct buffer summary;
	struct sink *sink;
	int rc_of_take;
};

static struct scene *scene_create(unsigned workers)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	snprintf(scene->folder, sizeof(scene->folder), "/tmp/hoshimi-test-replay-XXXXXX");
	assert_non_null(mkdtemp(scene->folder));
	scene->options = (struct replay_options){
		.worker = { .shards = FILE_SHARDS,
			.workers = 1,
			.flows_max = 1 << 20,
			.secret = 5 },
		.workers = workers,
		.stop = &scene->stop,
	};
	return scene;
}

static void scene_destroy(struct scene *scene)
{
	for (size_t i = 0; i < scene->files; i++) {
		unlink(scene->paths[i]);
		free(scene->paths[i]);
	}
	rmdir(scene->folder);
	darknet_destroy(scene->darknet);
	buffer_fini(&scene->written);
	buffer_fini(&scene->summary);
	free(scene);
}

static void use_darknet(struct scene *scene)
{
	struct message msg;

	assert_int_equal(
		darknet_create(&scene->darknet, (const char *const[]){ DARK }, 2, &msg), 0);
	scene->options.worker.darknet = scene->darknet;
}

static void add_file(struct scene *scene, struct capture *capture)
{
	char *path = malloc(PATH_BYTES + 32);
	FILE *file;

	assert_non_null(path);
	snprintf(path, PATH_BYTES + 32, "%s/%zu.pcap", scene->folder, scene->files);
	scene->paths[scene->files++] = path;
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(capture->file.bytes.data, 1, capture->file.bytes.size, file),
		capture->file.bytes.size);
	fclose(file);
	buffer_fini(&capture->file.bytes);
}

static int take(void *context, struct entry *entry)
{
	struct scene *scene = context;

	if (scene->rc_of_take != 0) {
		entry_destroy(entry);
		return scene->rc_of_take;
	}
	assert_true(scene->ledger_count < LEDGERS_MAX);
	scene->ledgers[scene->ledger_count++] = entry->ledger;
	return scene->sink->take(scene->sink, entry, NULL);
}

static void load(struct buffer *out, const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t piece[4096];
	size_t got;

	assert_non_null(file);
	while ((got = fread(piece, 1, sizeof(piece), file)) > 0)
		buffer_append(out, piece, got);
	fclose(file);
}

/* Runs the replay into a flow file, which is read back. */
static int run(struct scene *scene)
{
	struct origin origin = { "test", "replay", 0 };
	struct entry_closer_options closer_options = { .origin = origin,
		.partitions = 1,
		.is_file = true,
		.darknet = scene->darknet,
		.take = take,
		.context = scene };
	const char *paths[FILES_MAX];
	char out[PATH_BYTES + 32];
	struct entry_closer *closer;
	struct capture_merge *merge;
	struct summary *summary = NULL;
	struct message msg;
	int rc;

	for (size_t i = 0; i < scene->files; i++)
		paths[i] = scene->paths[i];
	snprintf(out, sizeof(out), "%s/flows.avro", scene->folder);
	assert_int_equal(sink_file_open(&scene->sink, out, &origin, &msg), 0);
	assert_int_equal(entry_closer_create(&closer, &closer_options), 0);
	assert_int_equal(capture_merge_open(&merge, paths, scene->files, NULL, NULL, &msg), 0);

	rc = replay_run(&scene->options, merge, closer, &summary);

	if (rc == 0) {
		assert_int_equal(scene->sink->finish(scene->sink, &msg), 0);
		load(&scene->written, out);
	}
	if (summary != NULL)
		assert_int_equal(
			summary_json(summary, entry_closer_totals(closer), &scene->summary), 0);
	summary_destroy(summary);
	capture_merge_close(merge);
	entry_closer_destroy(closer);
	scene->sink->close(scene->sink);
	unlink(out);
	snprintf(out, sizeof(out), "%s/flows.avro.partial", scene->folder);
	unlink(out);
	return rc;
}

static void assert_books_balance(const struct scene *scene)
{
	for (size_t i = 0; i < scene->ledger_count; i++) {
		const struct marker_record *ledger = &scene->ledgers[i];

		assert_int_equal(ledger->frames,
			ledger->non_ip + ledger->malformed + ledger->not_dark + ledger->counted);
		assert_true(ledger->interval_from_ns <= ledger->interval_to_ns);
		if (i > 0)
			assert_true(ledger->closed_through_ms >=
				    scene->ledgers[i - 1].closed_through_ms);
		assert_int_equal(ledger->final, i + 1 == scene->ledger_count);
	}
}

static int64_t sum_counted(const struct scene *scene, int64_t minute_ms)
{
	int64_t sum = 0;

	for (size_t i = 0; i < scene->ledger_count; i++)
		if (scene->ledgers[i].minute_ms == minute_ms)
			sum += scene->ledgers[i].counted;
	return sum;
}

static int64_t sum_frames(const struct scene *scene)
{
	int64_t sum = 0;

	for (size_t i = 0; i < scene->ledger_count; i++)
		sum += scene->ledgers[i].frames;
	return sum;
}

#define MINUTE_MS(n) ((int64_t)START_S * 1000 + (n)*INT64_C(60000))
#define MINUTE_NS(n) (MINUTE_MS(n) * 1000000)

/* ---- time ---- */

static void test_replay_minutes_close_in_order_with_their_packets(void **state)
{
	struct scene *scene = scene_create(1);
	struct capture capture;

	(void)state;
	capture_init(&capture);
	for (uint32_t minute = 0; minute < 5; minute++)
		for (uint32_t i = 0; i <= minute; i++)
			add_syn(&capture, START_S + minute * 60 + 10 + i, 5, 1);
	add_file(scene, &capture);

	assert_int_equal(run(scene), 0);

	assert_int_equal(scene->ledger_count, 5);
	assert_books_balance(scene);
	for (int minute = 0; minute < 5; minute++) {
		const struct marker_record *ledger = &scene->ledgers[minute];

		assert_int_equal(ledger->minute_ms, MINUTE_MS(minute));
		assert_int_equal(ledger->closed_through_ms, MINUTE_MS(minute));
		assert_int_equal(ledger->counted, minute + 1);
		assert_int_equal(ledger->first_ns, MINUTE_NS(minute) + 10000000005);
		assert_int_equal(ledger->last_ns,
			MINUTE_NS(minute) + 10000000005 + minute * INT64_C(1000000000));
		assert_int_equal(ledger->interval_from_ns,
			MINUTE_NS(minute) + (minute == 0 ? 10000000005 : 0));
	}
	assert_int_equal(scene->ledgers[3].interval_to_ns, MINUTE_NS(4));
	assert_int_equal(scene->ledgers[4].interval_to_ns, MINUTE_NS(4) + 14000000006);
	scene_destroy(scene);
}

static void test_replay_packets_out_of_order_count_in_their_own_minute(void **state)
{
	struct scene *scene = scene_create(1);
	struct capture capture;

	(void)state;
	capture_init(&capture);
	add_syn(&capture, START_S + 60, 0, 1);
	add_syn(&capture, START_S + 59, 0, 2); /* a minute early: still open */
	add_syn(&capture, START_S + 119, 999999999, 3);
	for (uint32_t i = 0; i < 5000; i++) /* past a batch, so that minutes can close */
		add_syn(&capture, START_S + 180 + i / 100, i, 4);
	add_syn(&capture, START_S + 61, 0, 5); /* closed by now: another part */
	add_syn(&capture, START_S + 10, 0, 6);
	add_file(scene, &capture);

	assert_int_equal(run(scene), 0);

	assert_books_balance(scene);
	assert_int_equal(sum_frames(scene), 5005);
	assert_int_equal(sum_counted(scene, MINUTE_MS(0)), 2);
	assert_int_equal(sum_counted(scene, MINUTE_MS(1)), 3);
	assert_int_equal(sum_counted(scene, MINUTE_MS(3)), 5000);
	assert_int_equal(scene->ledger_count, 5);
	assert_int_equal(scene->ledgers[0].part, 0);
	assert_int_equal(scene->ledgers[0].minute_ms, MINUTE_MS(0));
	assert_int_equal(scene->ledgers[2].part, 1);
	assert_int_equal(scene->ledgers[2].minute_ms, MINUTE_MS(0));
	/* a late part was captured in no interval of its own, and closes nothing anew */
	assert_int_equal(scene->ledgers[2].interval_from_ns, scene->ledgers[2].interval_to_ns);
	assert_int_equal(scene->ledgers[2].closed_through_ms, MINUTE_MS(1));
	scene_destroy(scene);
}

/* A minute stays open for ten seconds over any number of batches. */
static void test_replay_packets_ten_seconds_late_find_theirs_open(void **state)
{
	struct scene *scene = scene_create(1);
	struct capture capture;

	(void)state;
	capture_init(&capture);
	add_syn(&capture, START_S + 30, 0, 1);
	for (uint32_t i = 0; i < 10000; i++)
		add_syn(&capture, START_S + 60 + i / 1001, i, 4);
	add_syn(&capture, START_S + 59, 0, 1);
	add_file(scene, &capture);

	assert_int_equal(run(scene), 0);

	assert_int_equal(scene->ledger_count, 2);
	assert_int_equal(scene->ledgers[0].counted, 2);
	scene_destroy(scene);
}

/* One batch with packets of 40 minutes in no order: more than can be open at once. */
static void test_replay_more_minutes_than_can_be_open_are_all_counted(void **state)
{
	(void)state;
	for (unsigned workers = 1; workers <= 2; workers++) {
		struct scene *scene = scene_create(workers);
		struct capture capture;

		capture_init(&capture);
		for (uint32_t i = 0; i < 4000; i++)
			add_syn(&capture, START_S + i * 17 % 40 * 60 + i % 60, i, (uint8_t)(i % 7));
		add_file(scene, &capture);

		assert_int_equal(run(scene), 0);

		assert_books_balance(scene);
		assert_int_equal(sum_frames(scene), 4000);
		for (int minute = 0; minute < 40; minute++)
			assert_int_equal(sum_counted(scene, MINUTE_MS(minute)), 100);
		scene_destroy(scene);
	}
}

static void test_replay_times_at_both_ends_are_counted(void **state)
{
	struct scene *scene = scene_create(2);
	struct capture capture;

	(void)state;
	capture_init(&capture);
	add_syn(&capture, 0, 0, 1);
	add_syn(&capture, UINT32_MAX, 999999999, 2);
	add_syn(&capture, 59, 999999999, 3);
	add_file(scene, &capture);

	assert_int_equal(run(scene), 0);

	assert_books_balance(scene);
	assert_int_equal(sum_frames(scene), 3);
	assert_int_equal(sum_counted(scene, 0), 2);
	assert_int_equal(sum_counted(scene, (int64_t)UINT32_MAX / 60 * 60000), 1);
	scene_destroy(scene);
}

static void test_replay_of_nothing_writes_a_header_alone(void **state)
{
	struct scene *scene = scene_create(2);
	struct capture capture;
	struct origin origin = { "test", "replay", 0 };
	struct buffer header = { 0 };

	(void)state;
	capture_init(&capture);
	add_file(scene, &capture);

	assert_int_equal(run(scene), 0);

	container_header(&header, &origin);
	assert_int_equal(scene->ledger_count, 0);
	assert_int_equal(scene->written.size, header.size);
	buffer_fini(&header);
	scene_destroy(scene);
}

/* ---- same packets, same bytes ---- */

static void assert_same(const struct scene *a, const struct scene *b)
{
	assert_int_equal(a->ledger_count, b->ledger_count);
	assert_int_equal(a->written.size, b->written.size);
	assert_memory_equal(a->written.data, b->written.data, a->written.size);
	assert_int_equal(a->summary.size, b->summary.size);
	if (a->summary.size > 0)
		assert_memory_equal(a->summary.data, b->summary.data, a->summary.size);
}

static struct scene *run_random(
	unsigned workers, bool has_darknet, uint64_t flows_max, uint64_t secret, unsigned files)
{
	struct scene *scene = scene_create(workers);
	struct capture capture, piece = { 0 };
	size_t at = 24, frames = 0;

	if (has_darknet)
		use_darknet(scene);
	scene->options.worker.flows_max = flows_max;
	scene->options.worker.secret = secret;
	scene->options.worker.wants_summary = true;
	capture_init(&capture);
	fill_random(&capture, 20000, 6);
	for (unsigned i = 0; i < files; i++) { /* cut into files of as many frames each */
		capture_init(&piece);
		for (; frames < (size_t)(i + 1) * capture.frames / files; frames++) {
			size_t size = 16 + load_u32_le(capture.file.bytes.data + at + 8);

			buffer_append(&piece.file.bytes, capture.file.bytes.data + at, size);
			at += size;
		}
		add_file(scene, &piece);
	}
	assert_int_equal(at, capture.file.bytes.size);
	buffer_fini(&capture.file.bytes);
	assert_int_equal(run(scene), 0);
	assert_books_balance(scene);
	assert_int_equal(sum_frames(scene), 20000);
	return scene;
}

static void test_replay_workers_do_not_show(void **state)
{
	(void)state;
	for (int has_darknet = 0; has_darknet < 2; has_darknet++) {
		struct scene *one = run_random(1, has_darknet != 0, 1 << 20, 5, 1);

		assert_true(one->written.size > 100000);
		for (unsigned workers = 2; workers <= 8; workers *= 2) {
			struct scene *more = run_random(workers, has_darknet != 0, 1 << 20, 5, 1);

			assert_same(one, more);
			scene_destroy(more);
		}
		scene_destroy(one);
	}
}

static void test_replay_workers_do_not_show_when_tables_are_full(void **state)
{
	struct scene *one = run_random(1, true, 1024, 5, 1);
	int64_t overflow = 0;

	(void)state;
	for (size_t i = 0; i < one->ledger_count; i++)
		overflow += one->ledgers[i].overflow;
	assert_true(overflow > 0);
	for (unsigned workers = 2; workers <= 8; workers *= 2) {
		struct scene *more = run_random(workers, true, 1024, 5, 1);

		assert_same(one, more);
		scene_destroy(more);
	}
	scene_destroy(one);
}

static void test_replay_secret_does_not_show(void **state)
{
	struct scene *one = run_random(2, true, 1024, 5, 1);
	struct scene *other = run_random(2, true, 1024, 0xfeedfacecafebeef, 1);

	(void)state;
	assert_same(one, other);
	scene_destroy(one);
	scene_destroy(other);
}

/* Frames out of order across the cut are merged in time order: counts are the same, bytes are
 * when no frame crosses it. Here the cut files are read as one stream, a file after another. */
static void test_replay_cut_into_files_counts_the_same(void **state)
{
	struct scene *one = run_random(2, true, 1 << 20, 5, 1);
	struct scene *ten = run_random(2, true, 1 << 20, 5, 10);

	(void)state;
	assert_int_equal(one->summary.size, ten->summary.size);
	assert_memory_equal(one->summary.data, ten->summary.data, one->summary.size);
	scene_destroy(one);
	scene_destroy(ten);
}

/* ---- ends ---- */

static void test_replay_stopped_says_so(void **state)
{
	struct scene *scene = scene_create(2);
	struct capture capture;

	(void)state;
	capture_init(&capture);
	fill_random(&capture, 10000, 3);
	add_file(scene, &capture);
	scene->stop = true;

	assert_int_equal(run(scene), FAIL_STOPPED);

	scene_destroy(scene);
}

static void test_replay_ends_when_its_output_does(void **state)
{
	(void)state;
	for (unsigned workers = 1; workers <= 4; workers *= 4) {
		struct scene *scene = scene_create(workers);
		struct capture capture;

		capture_init(&capture);
		fill_random(&capture, 10000, 10);
		add_file(scene, &capture);
		scene->rc_of_take = -EPIPE;

		assert_int_equal(run(scene), -EPIPE);

		scene_destroy(scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replay_minutes_close_in_order_with_their_packets),
		cmocka_unit_test(test_replay_packets_out_of_order_count_in_their_own_minute),
		cmocka_unit_test(test_replay_packets_ten_seconds_late_find_theirs_open),
		cmocka_unit_test(test_replay_more_minutes_than_can_be_open_are_all_counted),
		cmocka_unit_test(test_replay_times_at_both_ends_are_counted),
		cmocka_unit_test(test_replay_of_nothing_writes_a_header_alone),
		cmocka_unit_test(test_replay_workers_do_not_show),
		cmocka_unit_test(test_replay_workers_do_not_show_when_tables_are_full),
		cmocka_unit_test(test_replay_secret_does_not_show),
		cmocka_unit_test(test_replay_cut_into_files_counts_the_same),
		cmocka_unit_test(test_replay_stopped_says_so),
		cmocka_unit_test(test_replay_ends_when_its_output_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
