/*
 * What waits to be sent: in order, over restarts, and what has to go is named.
 */
#include "sensor/send_queue.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#define MIB    ((size_t)1 << 20)
#define PLENTY (UINT64_C(1) << 30)

static char directory[256];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/hoshimi-queue-XXXXXX");
	return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
	char command[300];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* An entry of a minute; `bytes` is what it counts for in memory, `payload` what it has. */
static struct entry *make_entry(int64_t minute, size_t bytes, uint64_t packets, size_t payload)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	assert_non_null(entry);
	entry->origin = (struct origin){ "test", TIMELINE_LIVE, 1 };
	entry->ledger = marker_defaults();
	entry->ledger.minute_ms = minute * WINDOW_MS;
	entry->partitions = 1;
	entry->shares = calloc(1, sizeof(*entry->shares));
	entry->messages = calloc(1, sizeof(*entry->messages));
	assert_true(entry->shares != NULL && entry->messages != NULL);
	entry->flows = entry->shares[0].flows = packets / 2;
	entry->packets = entry->shares[0].packets = packets;
	entry->ledger.counted = entry->ledger.frames = (int64_t)packets;
	entry->message_count = 1;
	for (size_t i = 0; i < payload; i++)
		buffer_u8(&entry->messages[0].payload, (uint8_t)i);
	entry->bytes = bytes;
	return entry;
}

static struct spool *open_spool(uint64_t bytes_max)
{
	struct spool *spool = NULL;
	struct message msg = { "" };

	if (spool_open(&spool, directory, bytes_max, &msg) != 0)
		fail_msg("%s", msg.text);
	return spool;
}

static struct send_queue *make_queue(bool has_spool, uint64_t spool_bytes, bool drops)
{
	struct send_queue_options options = { .drops = drops, .memory_bytes_max = 16 * MIB };
	struct send_queue *queue = NULL;

	assert_int_equal(send_queue_create(&queue, &options), 0);
	if (has_spool)
		assert_int_equal(send_queue_adopt(queue, open_spool(spool_bytes)), 0);
	return queue;
}

static void put(struct send_queue *queue, int64_t minute, size_t bytes, uint64_t packets)
{
	assert_int_equal(send_queue_put(queue, make_entry(minute, bytes, packets, 100)), 0);
}

/* Takes one entry and says what it was; 0 when nothing is left. */
static int64_t take(struct send_queue *queue, struct marker_record *ledger)
{
	struct entry *entry = NULL;
	int64_t minute;

	assert_int_equal(send_queue_take(queue, 1, 1, &entry), 0);
	if (entry == NULL)
		return 0;
	minute = entry->ledger.minute_ms / WINDOW_MS;
	if (ledger != NULL)
		*ledger = entry->ledger;
	assert_null(entry->next);
	entry_destroy(entry);
	return minute;
}

static void assert_lost(
	const struct marker_record *ledger, int64_t entries, int64_t flows, int64_t packets)
{
	assert_int_equal(ledger->lost_entries, entries);
	assert_int_equal(ledger->lost_flows, flows);
	assert_int_equal(ledger->lost_packets, packets);
}

/* ---- in memory ---- */

static void test_send_queue_in_memory_drops_the_oldest_minute_and_names_it(void **state)
{
	struct send_queue *queue = make_queue(false, 0, true);
	struct marker_record ledger;

	(void)state;
	put(queue, 1, 5 * MIB, 10); /* two parts of the oldest minute go together */
	put(queue, 1, 1 * MIB, 6);
	put(queue, 2, 5 * MIB, 20);
	put(queue, 3, 5 * MIB, 30);
	assert_int_equal(send_queue_count(queue), 4);
	put(queue, 4, 1 * MIB, 2);
	assert_int_equal(send_queue_count(queue), 3);
	assert_false(send_queue_is_durable(queue));

	put(queue, 5, 20 * MIB, 40); /* larger than all: what was told to be lost stays told */
	assert_int_equal(send_queue_count(queue), 1);
	assert_int_equal(take(queue, &ledger), 5);
	assert_lost(&ledger, 2 + 1 + 1 + 1, 8 + 10 + 15 + 1, 16 + 20 + 30 + 2);
	assert_true(send_queue_is_empty(queue));
	send_queue_destroy(queue);
}

static void test_send_queue_of_a_replay_says_when_there_is_room(void **state)
{
	struct send_queue *queue = make_queue(false, 0, false);
	struct entry *large = make_entry(9, 12 * MIB, 1, 1);

	(void)state;
	put(queue, 1, 8 * MIB, 1);
	assert_false(send_queue_has_room(queue, large));
	assert_int_equal(take(queue, NULL), 1);
	assert_true(send_queue_has_room(queue, large));
	entry_destroy(large);
	send_queue_destroy(queue);
}

static void test_send_queue_takes_small_ones_together(void **state)
{
	struct send_queue *queue = make_queue(false, 0, false);
	struct entry *entry = NULL;
	size_t taken = 0;

	(void)state;
	for (int i = 1; i <= 5; i++)
		put(queue, i, 1 * MIB, 1);
	assert_int_equal(send_queue_take(queue, 10, 3 * MIB, &entry), 0);
	while (entry != NULL) {
		struct entry *next = entry->next;

		assert_int_equal(entry->ledger.minute_ms, (int64_t)++taken * WINDOW_MS);
		entry_destroy(entry);
		entry = next;
	}
	assert_int_equal(taken, 3);
	send_queue_settle(queue);
	assert_int_equal(send_queue_count(queue), 2);
	send_queue_destroy(queue);
}

/* ---- on disk ---- */

static void test_send_queue_goes_on_after_a_restart(void **state)
{
	struct send_queue *queue = make_queue(true, PLENTY, true);
	struct spool *spool;
	char id[SPOOL_ID_BYTES];

	(void)state;
	for (int i = 1; i <= 6; i++)
		put(queue, i, 1 * MIB, 10);
	assert_true(send_queue_is_durable(queue));
	assert_int_equal(take(queue, NULL), 1);
	send_queue_settle(queue); /* sequence 1 and 2 are committed, 3 is under way at the kill */
	assert_int_equal(take(queue, NULL), 2);
	send_queue_settle(queue);
	assert_int_equal(take(queue, NULL), 3);
	send_queue_destroy(queue);

	spool = open_spool(PLENTY);
	snprintf(id, sizeof(id), "%s", spool_id(spool));
	queue = make_queue(false, 0, true);
	assert_int_equal(send_queue_adopt(queue, spool), 0);
	put(queue, 7, 1 * MIB, 10);
	assert_int_equal(send_queue_count(queue), 5); /* the directory knows of two */
	assert_int_equal(send_queue_reconcile(queue, "another spool", 5), 0);
	assert_int_equal(send_queue_count(queue), 5);
	assert_int_equal(send_queue_reconcile(queue, id, 2), 0);
	for (int i = 3; i <= 7; i++) {
		assert_int_equal(take(queue, NULL), i);
		send_queue_settle(queue);
	}
	assert_int_equal(take(queue, NULL), 0);
	send_queue_destroy(queue);
	assert_int_equal(remove_directory(state), 0);
}

static void test_send_queue_full_spool_gives_up_the_oldest_and_names_them(void **state)
{
	struct send_queue *queue = make_queue(true, 1 * MIB, true);
	struct marker_record ledger;
	int64_t lost = 0, lost_packets = 0, sent = 0, sent_packets = 0, before = 0, minute;

	(void)state;
	for (int i = 1; i <= 500; i++)
		assert_int_equal(send_queue_put(queue, make_entry(i, 9000, 10, 5000)), 0);
	assert_true(send_queue_is_durable(queue));
	while ((minute = take(queue, &ledger)) != 0) {
		assert_true(minute > before); /* in order */
		before = minute;
		sent++;
		sent_packets += ledger.counted;
		lost += ledger.lost_entries;
		lost_packets += ledger.lost_packets;
		send_queue_settle(queue);
	}
	assert_true(sent > 40 && lost > 0);
	assert_int_equal(sent + lost, 500);
	assert_int_equal(sent_packets + lost_packets, 5000);
	send_queue_destroy(queue);
	assert_int_equal(remove_directory(state), 0);
}

/* What is committed is no loss, also where the cursor cannot be asked and its segment is still there. */
static void test_send_queue_full_spool_does_not_name_what_is_committed(void **state)
{
	struct send_queue *queue = make_queue(true, 1 * MIB, true);
	struct marker_record ledger;
	int64_t lost = 0, kept = 0;

	(void)state;
	for (int i = 1; i <= 15;
		i++) /* segments of 64 KiB: the first one stays for its last records */
		assert_int_equal(send_queue_put(queue, make_entry(i, 9000, 10, 5000)), 0);
	for (int i = 1; i <= 10; i++) {
		assert_int_equal(take(queue, NULL), i);
		send_queue_settle(queue);
	}
	send_queue_destroy(queue);

	queue = make_queue(true, 1 * MIB, true);
	assert_int_equal(send_queue_count(queue), 5);
	for (int i = 16; i <= 300; i++)
		assert_int_equal(send_queue_put(queue, make_entry(i, 9000, 10, 5000)), 0);
	while (take(queue, &ledger) != 0) {
		kept++;
		lost += ledger.lost_entries;
		send_queue_settle(queue);
	}
	assert_true(lost > 5);
	assert_int_equal(kept + lost, 290);
	send_queue_destroy(queue);
	assert_int_equal(remove_directory(state), 0);
}

/* A former process had the spool for a while: its minutes come before ours. */
static void test_send_queue_adopts_a_spool_late(void **state)
{
	struct send_queue *former = make_queue(true, PLENTY, true);
	struct send_queue *queue = make_queue(false, 0, true);

	(void)state;
	put(former, 1, 1000, 10);
	put(former, 2, 1000, 10);
	put(queue, 3, 1000, 10);
	send_queue_destroy(former);
	assert_int_equal(send_queue_adopt(queue, open_spool(PLENTY)), 0);
	put(queue, 4, 1000, 10);
	for (int i = 1; i <= 4; i++) {
		assert_int_equal(take(queue, NULL), i);
		send_queue_settle(queue);
	}
	assert_int_equal(take(queue, NULL), 0);
	send_queue_destroy(queue);
	assert_int_equal(remove_directory(state), 0);
}

/* The disk takes nothing: minutes wait in memory, in their place in the order. */
static void test_send_queue_goes_on_in_memory_when_the_disk_fails(void **state)
{
	struct send_queue *queue = make_queue(true, PLENTY, true);
	struct rlimit before, limit;

	(void)state;
	put(queue, 1, 1000, 10);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	put(queue, 2, 1000, 20);
	put(queue, 3, 1000, 30);
	assert_false(send_queue_is_durable(queue));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	put(queue, 4, 1000, 40);
	for (int i = 1; i <= 4; i++) {
		assert_int_equal(take(queue, NULL), i);
		send_queue_settle(queue);
	}
	assert_int_equal(take(queue, NULL), 0);
	assert_true(send_queue_is_durable(queue));
	send_queue_destroy(queue);
	assert_int_equal(remove_directory(state), 0);
}

/* The spool was set back to an older state: nothing new is taken for committed. */
static void test_send_queue_of_an_older_spool_goes_on_behind_the_cursor(void **state)
{
	struct send_queue *queue = make_queue(true, PLENTY, true);
	struct spool *spool;
	char id[SPOOL_ID_BYTES];

	(void)state;
	for (int i = 1; i <= 3; i++)
		put(queue, i, 1000, 10);
	send_queue_destroy(queue);

	spool = open_spool(PLENTY);
	snprintf(id, sizeof(id), "%s", spool_id(spool));
	queue = make_queue(false, 0, true);
	assert_int_equal(send_queue_adopt(queue, spool), 0);
	put(queue, 4, 1000, 10); /* sequence 4, which the cursor calls committed */
	assert_int_equal(send_queue_reconcile(queue, id, 90), 0);
	assert_int_equal(send_queue_count(queue), 1);
	put(queue, 5, 1000, 10);
	send_queue_destroy(queue);

	queue = make_queue(true, PLENTY, true);
	assert_int_equal(send_queue_reconcile(queue, id, 90), 0);
	assert_int_equal(take(queue, NULL), 4);
	assert_int_equal(take(queue, NULL), 5);
	assert_int_equal(take(queue, NULL), 0);
	send_queue_destroy(queue);
	assert_int_equal(remove_directory(state), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_send_queue_in_memory_drops_the_oldest_minute_and_names_it),
		cmocka_unit_test(test_send_queue_of_a_replay_says_when_there_is_room),
		cmocka_unit_test(test_send_queue_takes_small_ones_together),
		cmocka_unit_test(test_send_queue_goes_on_after_a_restart),
		cmocka_unit_test(test_send_queue_full_spool_gives_up_the_oldest_and_names_them),
		cmocka_unit_test(test_send_queue_full_spool_does_not_name_what_is_committed),
		cmocka_unit_test(test_send_queue_adopts_a_spool_late),
		cmocka_unit_test(test_send_queue_goes_on_in_memory_when_the_disk_fails),
		cmocka_unit_test(test_send_queue_of_an_older_spool_goes_on_behind_the_cursor),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
