/*
 * What a killed process left open is closed by the next one, to the same records; whatever the
 * process was doing when it was killed, and whatever happened to its files.
 */
#include "sensor/recover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "schemas/sketch.h"
#include "sensor/open_file.h"

#define MINUTE	    UINT64_C(29459520)
#define BOOT	    INT64_C(1767571200000)
#define DARK	    "198.51.100.0/24", "!198.51.100.9", "2001:db8::/32"
#define ENTRIES_MAX 16
#define PARTS	    3 /* of the minute were closed before */

static char directory[256];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/hoshimi-open-XXXXXX");
	return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
	char command[300];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* ---- counting ---- */

struct counter {
	struct flow_budget shard;
	struct flow_budgets budgets;
	struct darknet *darknet;
	struct open_store *store;
	struct window *windows[3];
};

static void counter_init(struct counter *counter, bool has_store)
{
	struct message msg = { "" };

	*counter = (struct counter){ .shard = { .flows_max = 1u << 20,
					     .sketch_bytes_max = (size_t)1 << 28 } };
	counter->budgets =
		(struct flow_budgets){ .secret = 5, .shards = 1, .shard = &counter->shard };
	assert_int_equal(
		darknet_create(&counter->darknet, (const char *const[]){ DARK }, 3, &msg), 0);
	if (has_store)
		assert_int_equal(open_store_create(&counter->store, directory, BOOT, &msg), 0);
}

static struct flow_sample sample_of(const void *context)
{
	return (struct flow_sample){ .ip_id = *(const uint16_t *)context, .ttl = 64 };
}

/* The packet of a number: flows of both families, some with many destinations. */
static void count(struct counter *counter, struct window *window, uint32_t number)
{
	struct flow_labels labels = { .protocol = 6, .service_port = (int32_t)(number % 5) };
	uint32_t actor_number = number % 11 == 0 ? 7 : number % 4000;
	uint16_t ip_id = (uint16_t)number;
	uint8_t actor[16] = { 0x20, 1 }, dst[16] = { 0 };
	size_t size = number % 6 == 0 ? 16 : 4;
	struct flow_update update = {
		.time_us = number * 10, .bytes = 60, .sample = sample_of, .context = &ip_id
	};
	struct flow_key key;

	store_u32(actor + (size == 16 ? 8 : 0), actor_number);
	store_u32(dst, number);
	update.destination_hash = sketch_hash(dst, size);
	flow_key_make(&key, actor, actor, size, &labels);
	window->ledger.frames++;
	window->ledger.counted++;
	window->ledger.wire_bytes += 60;
	window->ledger.range_packets[size == 16]++;
	flow_table_count(window->table, &key, flow_key_hash(&key, 5), NULL, &update);
	counter->windows[0] = window;
}

static struct window *make_window(struct counter *counter, uint64_t minute)
{
	struct window *window = NULL;

	assert_int_equal(
		window_create(&window, minute, &counter->budgets, counter->darknet, counter->store),
		0);
	window->ledger.non_ip = window->ledger.frames = 3;
	window->ledger.first_ns = minute * WINDOW_NS;
	window->ledger.last_ns = minute * WINDOW_NS + 1000;
	return window;
}

/* ---- what is closed ---- */

struct closed {
	struct entry *entries[ENTRIES_MAX];
	size_t count;
	unsigned refuse_after; /* takes so many entries, then dies; 0 takes all */
};

static int take(void *context, struct entry *entry)
{
	struct closed *closed = context;

	if (closed->refuse_after > 0 && closed->count == closed->refuse_after)
		kill(getpid(), SIGKILL);
	assert_true(closed->count < ENTRIES_MAX);
	closed->entries[closed->count++] = entry;
	return 0;
}

static void closed_fini(struct closed *closed)
{
	for (size_t i = 0; i < closed->count; i++)
		entry_destroy(closed->entries[i]);
}

static void assert_same(const struct closed *a, const struct closed *b)
{
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		struct buffer x = { 0 }, y = { 0 };

		entry_marker(a->entries[i], 0, 0, &x);
		entry_marker(b->entries[i], 0, 0, &y);
		assert_int_equal(a->entries[i]->message_count, b->entries[i]->message_count);
		for (size_t m = 0; m < a->entries[i]->message_count; m++) {
			const struct buffer *p = &a->entries[i]->messages[m].payload;
			const struct buffer *q = &b->entries[i]->messages[m].payload;

			assert_int_equal(p->size, q->size);
			assert_memory_equal(p->data, q->data, p->size);
		}
		assert_int_equal(x.size, y.size);
		assert_memory_equal(x.data, y.data, x.size);
		buffer_fini(&x);
		buffer_fini(&y);
	}
}

static void recover(struct closed *closed)
{
	struct recover_options options = { .directory = directory,
		.sensor = "test",
		.partitions = 2,
		.take = take,
		.context = closed };
	struct message msg = { "" };

	if (recover_minutes(&options, &msg) != 0)
		fail_msg("%s", msg.text);
}

static size_t count_files(void)
{
	DIR *dir = opendir(directory);
	size_t count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count - 2;
}

static void close_minute(
	struct counter *counter, struct window **windows, size_t count, struct closed *closed)
{
	struct entry_closer_options options = { .origin = { "test", TIMELINE_LIVE, BOOT },
		.partitions = 2,
		.darknet = counter->darknet,
		.take = take,
		.context = closed };
	struct entry_interval interval = { .from_ns = MINUTE * WINDOW_NS + 500,
		.to_ns = MINUTE * WINDOW_NS + 40000000000,
		.closed_through = MINUTE - 1,
		.close_id = 77,
		.first_part = PARTS };
	struct entry_closer *closer;

	assert_int_equal(entry_closer_create(&closer, &options), 0);
	assert_int_equal(entry_closer_close(closer, windows, count, &interval), 0);
	entry_closer_destroy(closer);
}

/* Runs `life` in a process that is killed, or kills itself. */
static void live_and_die(void (*life)(void *context), void *context)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		life(context);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

enum { PACKETS = 30000 };

/* Two workers' windows of one minute; dies while closing when the context says so. */
static void count_and_die(void *context)
{
	struct counter counter;
	struct window *windows[2];
	struct closed *closed = context;

	counter_init(&counter, true);
	for (unsigned w = 0; w < 2; w++)
		windows[w] = make_window(&counter, MINUTE);
	for (uint32_t i = 0; i < PACKETS; i++)
		count(&counter, windows[i % 2], i);
	open_store_note(
		counter.store, &(struct open_status){ .covered_ns = MINUTE * WINDOW_NS + 500,
				       .alive_ns = MINUTE * WINDOW_NS + 40000000000,
				       .parts = PARTS });
	if (closed != NULL)
		close_minute(&counter, windows, 2, closed);
}

static void close_in_memory(struct closed *closed)
{
	struct counter counter;
	struct window *windows[2];

	counter_init(&counter, false);
	for (unsigned w = 0; w < 2; w++)
		windows[w] = make_window(&counter, MINUTE);
	for (uint32_t i = 0; i < PACKETS; i++)
		count(&counter, windows[i % 2], i);
	close_minute(&counter, windows, 2, closed);
	darknet_destroy(counter.darknet);
}

/* ---- tests ---- */

static void test_recover_killed_while_counting_loses_nothing(void **state)
{
	struct closed expected = { 0 }, found = { 0 };

	(void)state;
	close_in_memory(&expected);
	live_and_die(count_and_die, NULL);
	assert_int_equal(count_files(), 3);

	recover(&found);

	assert_int_equal(found.entries[0]->origin.boot, BOOT);
	assert_string_equal(found.entries[0]->origin.sensor, "test");
	assert_int_equal(found.entries[0]->ledger.counted, PACKETS);
	assert_int_equal(found.entries[0]->ledger.non_ip, 6);
	assert_int_equal(found.entries[0]->ledger.ranges.count, 2);
	assert_same(&expected, &found);
	assert_int_equal(count_files(), 0);
	closed_fini(&expected);
	closed_fini(&found);
}

static void close_and_die(void *context)
{
	struct closed dies = { .refuse_after = 1, .count = 1 }; /* at its first entry */

	(void)context;
	count_and_die(&dies);
}

/* Killed in the middle of a close: it is done again, with its name, to the same bytes. */
static void test_recover_killed_while_closing_repeats_the_close(void **state)
{
	struct closed expected = { 0 }, found = { 0 };

	(void)state;
	close_in_memory(&expected);
	live_and_die(close_and_die, NULL);
	assert_int_equal(count_files(), 3);

	recover(&found);

	assert_same(&expected, &found);
	assert_int_equal(found.entries[0]->close_id, 77);
	assert_int_equal(count_files(), 0);
	closed_fini(&expected);
	closed_fini(&found);
}

static void test_recover_nothing_left_is_fine(void **state)
{
	struct closed found = { 0 };

	(void)state;
	recover(&found);
	assert_int_equal(found.count, 0);
}

/* A file that is cut or scribbled over: no crash, and what is closed has books that balance. */
static void test_recover_damaged_files_are_said_or_repaired(void **state)
{
	uint64_t seed = 42;

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		struct closed found = { 0 };
		DIR *dir;
		struct dirent *file;

		live_and_die(count_and_die, NULL);
		dir = opendir(directory);
		assert_non_null(dir);
		while ((file = readdir(dir)) != NULL) {
			int fd;
			off_t size;

			if (strstr(file->d_name, OPEN_FILE_SUFFIX) == NULL)
				continue;
			fd = openat(dirfd(dir), file->d_name, O_RDWR);
			assert_true(fd >= 0);
			size = lseek(fd, 0, SEEK_END);
			if (round % 3 == 0)
				assert_int_equal(ftruncate(fd, size * (off_t)(round % 19) / 20), 0);
			for (unsigned i = 0; i < 200; i++) {
				uint64_t junk;

				seed = seed * 6364136223846793005u + 1442695040888963407u;
				junk = seed >> 7;
				if (round % 3 != 0)
					assert_int_equal(
						pwrite(fd, &junk, 1 + seed % 7,
							(off_t)((seed >> 33) % (uint64_t)size)),
						(ssize_t)(1 + seed % 7));
			}
			close(fd);
		}
		closedir(dir);
		recover(&found);
		for (size_t i = 0; i < found.count; i++) {
			const struct marker_record *ledger = &found.entries[i]->ledger;

			assert_int_equal(ledger->frames, ledger->non_ip + ledger->malformed +
								 ledger->not_dark +
								 ledger->counted);
			assert_int_equal(ledger->counted, found.entries[i]->packets);
		}
		assert_int_equal(count_files(), 0);
		closed_fini(&found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recover_killed_while_counting_loses_nothing),
		cmocka_unit_test(test_recover_killed_while_closing_repeats_the_close),
		cmocka_unit_test(test_recover_nothing_left_is_fine),
		cmocka_unit_test(test_recover_damaged_files_are_said_or_repaired),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
