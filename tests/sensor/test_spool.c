/*
 * The spool: what was appended comes back after any end of the process, and what cannot is named.
 */
#include "sensor/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "sensor/entry_store.h"

#define PLENTY (UINT64_C(1) << 30)

static char directory[256];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/hoshimi-spool-XXXXXX");
	return mkdtemp(directory) == NULL;
}

static void remove_files(void)
{
	DIR *dir = opendir(directory);
	struct dirent *file;

	assert_non_null(dir);
	while ((file = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), file->d_name, 0);
	closedir(dir);
}

static int remove_directory(void **state)
{
	(void)state;
	remove_files();
	return rmdir(directory);
}

static struct spool *open_spool(uint64_t bytes_max)
{
	struct spool *spool = NULL;
	struct message msg = { 0 };

	if (spool_open(&spool, directory, bytes_max, &msg) != 0)
		fail_msg("%s", msg.text);
	return spool;
}

/* ---- entries ---- */

/* An entry that can be told from others; `payload_bytes` in each of two messages. */
static struct entry *make_entry(uint32_t number, size_t payload_bytes)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	assert_non_null(entry);
	entry->origin = (struct origin){ "test", TIMELINE_LIVE, 1700000000000 + number };
	entry->ledger = marker_defaults();
	entry->ledger.minute_ms = (int64_t)number * 60000;
	entry->ledger.partitions = 2;
	entry->partitions = 2;
	entry->flows = 3;
	entry->packets = 10 + number;
	entry->ledger.counted = entry->ledger.frames = entry->ledger.packets =
		(int64_t)entry->packets;
	entry->shares = calloc(2, sizeof(*entry->shares));
	entry->messages = calloc(2, sizeof(*entry->messages));
	assert_true(entry->shares != NULL && entry->messages != NULL);
	entry->shares[0] = (struct entry_share){ 1, 4 };
	entry->shares[1] = (struct entry_share){ 2, 6 + number };
	entry->message_count = 2;
	for (uint32_t i = 0; i < 2; i++) {
		entry->messages[i].partition = i;
		entry->messages[i].flows = i + 1;
		for (size_t at = 0; at < payload_bytes; at++)
			buffer_u8(&entry->messages[i].payload, (uint8_t)(number * 7 + i + at));
	}
	entry->bytes = 2 * payload_bytes;
	return entry;
}

static void assert_entry(const struct entry *entry, uint32_t number, size_t payload_bytes)
{
	struct entry *expected = make_entry(number, payload_bytes);
	struct buffer a = { 0 }, b = { 0 };

	entry_encode(entry, &a);
	entry_encode(expected, &b);
	assert_int_equal(a.size, b.size);
	assert_memory_equal(a.data, b.data, a.size);
	assert_int_equal(entry->flows, 3);
	assert_int_equal(entry->packets, 10 + number);
	assert_int_equal(entry->origin.boot, 1700000000000 + number);
	buffer_fini(&a);
	buffer_fini(&b);
	entry_destroy(expected);
}

static int try_append(struct spool *spool, uint32_t number, size_t payload_bytes,
	const struct spool_note *note, struct spool_item *item)
{
	struct entry *entry = make_entry(number, payload_bytes);
	int rc = spool_append(spool, entry, note, item);

	entry_destroy(entry);
	return rc;
}

static struct spool_item append(struct spool *spool, uint32_t number, size_t payload_bytes)
{
	struct spool_note note = { .close_id = number + 1 };
	struct spool_item item;

	assert_int_equal(try_append(spool, number, payload_bytes, &note, &item), 0);
	return item;
}

static void assert_loads(
	struct spool *spool, const struct spool_item *item, uint32_t number, size_t payload_bytes)
{
	struct entry *entry = NULL;
	struct message msg = { 0 };

	if (spool_load(spool, item, &entry, &msg) != 0)
		fail_msg("%s", msg.text);
	assert_entry(entry, number, payload_bytes);
	assert_int_equal(entry->spool_sequence, item->sequence);
	entry_destroy(entry);
}

static unsigned count_segments(void)
{
	DIR *dir = opendir(directory);
	struct dirent *file;
	unsigned count = 0;

	assert_non_null(dir);
	while ((file = readdir(dir)) != NULL)
		count += strstr(file->d_name, ".spool") != NULL;
	closedir(dir);
	return count;
}

/* ---- coming back ---- */

static void test_spool_gives_back_what_was_appended(void **state)
{
	struct spool *spool = open_spool(PLENTY);
	const struct spool_item *found;
	struct spool_item items[20];
	char id[SPOOL_ID_BYTES];
	size_t count;

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		items[i] = append(spool, i, i * 100);
		assert_int_equal(items[i].sequence, i + 1);
		assert_loads(spool, &items[i], i, i * 100);
	}
	snprintf(id, sizeof(id), "%s", spool_id(spool));
	spool_close(spool);

	spool = open_spool(PLENTY);
	assert_string_equal(spool_id(spool), id);
	assert_int_equal(spool_last(spool), 20);
	assert_int_equal(spool_unnamed_gap(spool).from, 0);
	found = spool_found(spool, &count);
	assert_int_equal(count, 20);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(found[i].sequence, items[i].sequence);
		assert_int_equal(found[i].minute_ms, items[i].minute_ms);
		assert_int_equal(found[i].flows, items[i].flows);
		assert_int_equal(found[i].packets, items[i].packets);
		assert_loads(spool, &found[i], i, i * 100);
		assert_true(spool_has_part(spool, i + 1, 0));
		assert_false(spool_has_part(spool, i + 1, 1));
	}
	assert_int_equal(append(spool, 20, 5).sequence, 21);
	spool_close(spool);
	remove_files();
}

static void test_spool_segments_go_with_their_last_record(void **state)
{
	struct spool *spool = open_spool(UINT64_C(1) << 20);
	struct spool_item items[30];
	size_t count;

	(void)state;
	for (uint32_t i = 0; i < 30; i++)
		items[i] = append(spool, i, 5000);
	assert_in_range(count_segments(), 3, 10);
	for (uint32_t i = 0; i < 30; i++)
		spool_done(spool, &items[i]);
	assert_int_equal(count_segments(), 1); /* the newest stays: it knows where numbers go on */
	assert_true(spool_bytes(spool) < UINT64_C(200000));
	spool_close(spool);

	spool = open_spool(UINT64_C(1) << 20);
	assert_int_equal(spool_last(spool), 30);
	assert_int_equal(spool_unnamed_gap(spool).from, 0);
	(void)spool_found(spool, &count);
	assert_true(count < 30); /* of the newest: committed ones are told by the cursor */
	spool_close(spool);
	remove_files();
}

/* The parts of one close stay together, however large. */
static void test_spool_does_not_begin_a_segment_inside_a_close(void **state)
{
	struct spool *spool = open_spool(UINT64_C(1) << 20);
	struct spool_item first, item;

	(void)state;
	first = append(spool, 1, 100);
	for (uint32_t part = 1; part < 30; part++) {
		struct spool_note note = { .close_id = 1, .close_part = part };

		assert_int_equal(try_append(spool, part, 10000, &note, &item), 0);
		assert_int_equal(item.segment, first.segment);
	}
	assert_true(append(spool, 2, 100).segment > first.segment);
	spool_close(spool);
	remove_files();
}

static void test_spool_is_for_one_process(void **state)
{
	struct spool *spool = open_spool(PLENTY), *second;
	struct message msg;

	(void)state;
	assert_int_equal(spool_open(&second, directory, PLENTY, &msg), FAIL_FENCED);
	assert_non_null(strstr(msg.text, "in use by another sensor"));
	spool_close(spool);
	remove_files();
}

/* ---- limit ---- */

static void test_spool_full_gives_up_the_oldest_and_names_them(void **state)
{
	uint64_t limit = UINT64_C(1) << 20;
	struct spool *spool = open_spool(limit);
	struct spool_item items[200], item;
	struct spool_note note = { .close_id = 1000 };
	struct entry *entry = make_entry(1000, 5000);
	uint64_t through;
	uint32_t number = 0;
	size_t count;
	const struct spool_item *found;

	(void)state;
	while (number < 200) {
		struct spool_note plain = { .close_id = number };
		int rc = try_append(spool, number, 5000, &plain, &items[number]);

		if (rc == FAIL_LIMIT)
			break;
		assert_int_equal(rc, 0);
		number++;
	}
	assert_in_range(number, 60, 120);
	assert_true(spool_bytes(spool) <= limit);

	through = spool_give_up_through(spool, entry, 1);
	assert_in_range(through, 1, number / 2);
	note.gap = (struct spool_gap){ 1, through, through, 0, 0 };
	assert_int_equal(spool_append(spool, entry, &note, &item), 0);
	for (uint32_t i = 0; i < through; i++)
		spool_done(spool, &items[i]);
	assert_true(spool_bytes(spool) <= limit);
	entry_destroy(entry);
	spool_close(spool);

	spool = open_spool(limit);
	found = spool_found(spool, &count);
	assert_int_equal(count, number - through + 1);
	assert_int_equal(found[0].sequence, through + 1);
	assert_int_equal(found[count - 1].close_id, 1000);
	assert_int_equal(spool_unnamed_gap(spool).from, 0);
	spool_close(spool);
	remove_files();
}

/* The process died between naming and deleting: what is named as lost must not come back. */
static void test_spool_what_is_named_as_lost_does_not_come_back(void **state)
{
	struct spool *spool = open_spool(PLENTY);
	struct spool_note note = { .close_id = 9, .gap = { 1, 3, 3, 0, 0 } };
	const struct spool_item *found;
	struct spool_item item;
	size_t count;

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		append(spool, i, 10);
	assert_int_equal(try_append(spool, 9, 10, &note, &item), 0);
	spool_close(spool);

	spool = open_spool(PLENTY);
	found = spool_found(spool, &count);
	assert_int_equal(count, 3);
	assert_int_equal(found[0].sequence, 4);
	spool_close(spool);
	remove_files();
}

/* ---- damage ---- */

static char segment_path[512];

static size_t read_segment(uint8_t **out)
{
	struct stat status;
	int fd;

	snprintf(segment_path, sizeof(segment_path), "%s/%020u.spool", directory, 1u);
	fd = open(segment_path, O_RDONLY);
	assert_true(fd >= 0 && fstat(fd, &status) == 0);
	*out = malloc((size_t)status.st_size);
	assert_non_null(*out);
	assert_int_equal(read(fd, *out, (size_t)status.st_size), status.st_size);
	close(fd);
	return (size_t)status.st_size;
}

static void write_segment(const uint8_t *data, size_t size)
{
	int fd = open(segment_path, O_WRONLY | O_TRUNC | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), (ssize_t)size);
	close(fd);
}

/* Every record is either given back whole or in a gap; returns how many are given back. */
static size_t assert_all_accounted(struct spool *spool, uint64_t last)
{
	const struct spool_item *found;
	struct spool_gap gap;
	uint64_t accounted = 0;
	size_t count, whole = 0;

	found = spool_found(spool, &count);
	for (size_t i = 0; i < count; i++) {
		struct entry *entry = NULL;
		int rc = spool_load(spool, &found[i], &entry, NULL);

		assert_true(rc == 0 || rc == FAIL_FORMAT);
		if (rc == 0) {
			assert_entry(entry, (uint32_t)found[i].sequence - 1, 40);
			entry_destroy(entry);
			whole++;
		}
		accounted++;
	}
	for (gap = spool_unnamed_gap(spool); gap.from != 0; gap = spool_unnamed_gap(spool)) {
		struct spool_note note = { .close_id = 77, .gap = gap };
		struct spool_item item;

		assert_int_equal(gap.entries, gap.through - gap.from + 1);
		accounted += gap.entries;
		assert_int_equal(try_append(spool, 77, 1, &note, &item), 0);
	}
	assert_true(accounted >= last);
	return whole;
}

static void make_five(void)
{
	struct spool *spool = open_spool(PLENTY);

	for (uint32_t i = 0; i < 5; i++)
		append(spool, i, 40);
	spool_close(spool);
}

static void test_spool_any_flipped_bit_costs_one_record_and_is_named(void **state)
{
	uint8_t *data;
	size_t size;

	(void)state;
	make_five();
	size = read_segment(&data);
	for (size_t at = 0; at < size; at += at < 300 ? 3 : 61) {
		struct spool *spool;
		size_t whole;

		data[at] ^= (uint8_t)(1 << at % 8);
		write_segment(data, size);
		data[at] ^= (uint8_t)(1 << at % 8);
		spool = open_spool(PLENTY);
		whole = assert_all_accounted(spool, 5);
		assert_true(whole >= 4);
		if (at >= 40 + 96) /* behind the first header: padding and payload and headers */
			assert_in_range(whole, 4, 5);
		spool_close(spool);
		/* named once: not again by the next process */
		spool = open_spool(PLENTY);
		assert_int_equal(spool_unnamed_gap(spool).from, 0);
		spool_close(spool);
	}
	free(data);
	remove_files();
}

/* A process that died inside an append: what was whole stays, and appending goes on. */
static void test_spool_cut_anywhere_goes_on(void **state)
{
	uint8_t *data;
	size_t size;

	(void)state;
	make_five();
	size = read_segment(&data);
	for (size_t cut = 0; cut < size; cut += cut < 300 || cut + 20 > size ? 3 : 61) {
		const struct spool_item *found;
		struct spool *spool;
		struct spool_item item;
		size_t count, again;

		write_segment(data, cut);
		spool = open_spool(PLENTY);
		found = spool_found(spool, &count);
		for (size_t i = 0; i < count; i++)
			assert_loads(spool, &found[i], (uint32_t)i, 40);
		item = append(spool, (uint32_t)count, 40); /* the interrupted one, repeated */
		assert_int_equal(item.sequence, count + 1);
		assert_int_equal(spool_unnamed_gap(spool).from, 0);
		spool_close(spool);

		spool = open_spool(PLENTY);
		(void)spool_found(spool, &again);
		assert_int_equal(again, count + 1);
		assert_int_equal(spool_unnamed_gap(spool).from, 0);
		spool_close(spool);
	}
	free(data);
	remove_files();
}

/* Not repeated, an interrupted append is a loss, with its figures. */
static void test_spool_torn_append_that_is_not_repeated_is_named(void **state)
{
	struct spool *spool;
	struct spool_gap gap;
	uint8_t *data;
	size_t size;

	(void)state;
	make_five();
	size = read_segment(&data);
	write_segment(data, size - 8);
	spool = open_spool(PLENTY);
	gap = spool_unnamed_gap(spool);
	assert_int_equal(gap.from, 5);
	assert_int_equal(gap.through, 5);
	assert_int_equal(gap.flows, 3);
	assert_int_equal(gap.packets, 14);
	assert_int_equal(append(spool, 99, 10).sequence, 6);
	spool_close(spool);
	free(data);
	remove_files();
}

/* A spool older than its cursor (a restored disk): numbers the cursor knows are not used again. */
static void test_spool_skips_numbers_on_request(void **state)
{
	struct spool *spool = open_spool(PLENTY);
	size_t count;

	(void)state;
	append(spool, 0, 10);
	spool_skip_to(spool, 500);
	assert_int_equal(append(spool, 1, 10).sequence, 501);
	assert_int_equal(append(spool, 2, 10).sequence, 502);
	spool_close(spool);

	spool = open_spool(PLENTY);
	(void)spool_found(spool, &count);
	assert_int_equal(count, 3);
	assert_int_equal(spool_last(spool), 502);
	assert_int_equal(spool_unnamed_gap(spool).from, 0); /* skipped is not lost */
	spool_close(spool);
	remove_files();
}

/* Commits are noted in the directory; not beyond a loss that no record names yet. */
static void test_spool_leaves_out_what_is_noted_as_committed(void **state)
{
	struct spool *spool = open_spool(PLENTY);
	struct spool_item items[5];
	const struct spool_item *found;
	size_t count;

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		items[i] = append(spool, i, 10);
	spool_note_committed(spool, 2);
	spool_close(spool);

	spool = open_spool(PLENTY);
	found = spool_found(spool, &count);
	assert_int_equal(count, 3);
	assert_int_equal(found[0].sequence, 3);
	assert_int_equal(spool_lose(spool, &items[3]), 0);
	spool_note_committed(spool, 5);
	spool_close(spool);

	spool = open_spool(PLENTY);
	found = spool_found(spool, &count);
	assert_int_equal(count, 2);
	assert_int_equal(found[0].sequence, 4);
	spool_note_committed(spool, 90); /* the disk was set back, but for the note */
	spool_close(spool);

	spool = open_spool(PLENTY);
	assert_int_equal(spool_last(spool), 90);
	assert_int_equal(append(spool, 6, 10).sequence, 91);
	spool_close(spool);
	remove_files();
}

static void test_spool_committed_note_of_another_spool_says_nothing(void **state)
{
	struct spool *spool = open_spool(PLENTY);
	char from[512], to[512];
	size_t count;

	(void)state;
	append(spool, 0, 10);
	spool_note_committed(spool, 1);
	spool_close(spool);
	snprintf(from, sizeof(from), "%s/committed", directory);
	snprintf(to, sizeof(to), "%s-committed", directory);
	assert_int_equal(rename(from, to), 0);
	remove_files();

	spool = open_spool(PLENTY);
	append(spool, 0, 10);
	spool_close(spool);
	assert_int_equal(rename(to, from), 0);
	spool = open_spool(PLENTY);
	(void)spool_found(spool, &count);
	assert_int_equal(count, 1);
	spool_close(spool);
	remove_files();
}

static void test_spool_missing_segment_is_named(void **state)
{
	struct spool *spool = open_spool(UINT64_C(1) << 20);
	struct spool_item items[40];
	struct spool_gap gap;
	char path[512];
	uint64_t second = 0, third = 0;

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		items[i] = append(spool, i, 5000);
		if (second == 0 && items[i].segment > 1)
			second = items[i].segment;
		else if (third == 0 && second != 0 && items[i].segment > second)
			third = items[i].segment;
	}
	spool_close(spool);
	snprintf(path, sizeof(path), "%s/%020llu.spool", directory, (unsigned long long)second);
	assert_int_equal(unlink(path), 0);

	spool = open_spool(UINT64_C(1) << 20);
	gap = spool_unnamed_gap(spool);
	assert_int_equal(gap.from, second);
	assert_int_equal(gap.through, third - 1);
	spool_close(spool);
	remove_files();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spool_gives_back_what_was_appended),
		cmocka_unit_test(test_spool_segments_go_with_their_last_record),
		cmocka_unit_test(test_spool_does_not_begin_a_segment_inside_a_close),
		cmocka_unit_test(test_spool_is_for_one_process),
		cmocka_unit_test(test_spool_full_gives_up_the_oldest_and_names_them),
		cmocka_unit_test(test_spool_what_is_named_as_lost_does_not_come_back),
		cmocka_unit_test(test_spool_any_flipped_bit_costs_one_record_and_is_named),
		cmocka_unit_test(test_spool_cut_anywhere_goes_on),
		cmocka_unit_test(test_spool_torn_append_that_is_not_repeated_is_named),
		cmocka_unit_test(test_spool_skips_numbers_on_request),
		cmocka_unit_test(test_spool_leaves_out_what_is_noted_as_committed),
		cmocka_unit_test(test_spool_committed_note_of_another_spool_says_nothing),
		cmocka_unit_test(test_spool_missing_segment_is_named),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
