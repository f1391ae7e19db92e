/*
 * Flow files: everything readable before damage counts, and every cut is noticed.
 */
#include "collector/log_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define BLOCKS 3

struct counts {
	int64_t packets;
	unsigned markers;
};

static int count_flow(void *context, const struct origin *origin, const struct flow_record *flow)
{
	assert_string_equal(origin->sensor, "site1");
	((struct counts *)context)->packets += flow->packets;
	return 0;
}

static int count_marker(
	void *context, const struct origin *origin, const struct marker_record *marker)
{
	(void)origin;
	(void)marker;
	((struct counts *)context)->markers++;
	return 0;
}

/* A container of three blocks of one flow each and a marker; `ends` are where header and blocks end. */
static void make_file(struct buffer *out, size_t ends[BLOCKS + 2])
{
	static const uint8_t actor[4] = { 192, 0, 2, 1 };
	struct origin origin = { .sensor = "site1", .timeline = "live" };
	struct marker_record marker = marker_defaults();
	struct flow_record flow = flow_defaults();
	struct buffer records = { 0 };

	flow.actor = (struct bytes){ actor, 4 };
	flow.packets = 5;
	container_header(out, &origin);
	ends[0] = out->size;
	for (unsigned i = 0; i < BLOCKS; i++) {
		buffer_clear(&records);
		container_flow(&records, &flow);
		container_block(out, 1, (struct bytes){ records.data, records.size });
		ends[i + 1] = out->size;
	}
	buffer_clear(&records);
	container_marker(&records, &marker);
	container_block(out, 1, (struct bytes){ records.data, records.size });
	ends[BLOCKS + 1] = out->size;
	buffer_fini(&records);
}

static int read_bytes(const uint8_t *data, size_t size, struct counts *counts)
{
	char path[] = "/tmp/hoshimi-test-XXXXXX";
	struct log_handler handler = { count_flow, count_marker, counts };
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), (ssize_t)size);
	close(fd);
	*counts = (struct counts){ 0 };
	rc = log_file_read(path, &handler);
	unlink(path);
	return rc;
}

static void test_log_file_whole_is_read(void **state)
{
	size_t ends[BLOCKS + 2];
	struct buffer file = { 0 };
	struct counts counts;

	(void)state;
	make_file(&file, ends);
	assert_int_equal(read_bytes(file.data, file.size, &counts), 0);
	assert_int_equal(counts.packets, 15);
	assert_int_equal(counts.markers, 1);
	buffer_fini(&file);
}

static void test_log_file_set_end_to_end_are_read(void **state)
{
	size_t ends[BLOCKS + 2];
	struct buffer file = { 0 };
	struct counts counts;

	(void)state;
	make_file(&file, ends);
	make_file(&file, ends);
	assert_int_equal(read_bytes(file.data, file.size, &counts), 0);
	assert_int_equal(counts.packets, 30);
	buffer_fini(&file);
}

/* every cut gives the blocks before it, and is damage unless it lies between blocks */
static void test_log_file_cut_anywhere_counts_what_is_whole(void **state)
{
	size_t ends[BLOCKS + 2];
	struct buffer file = { 0 };
	struct counts counts;

	(void)state;
	make_file(&file, ends);
	for (size_t size = 0; size < file.size; size += 7) {
		int64_t whole = 0;
		bool between = false;
		int rc = read_bytes(file.data, size, &counts);

		for (unsigned i = 0; i <= BLOCKS; i++) {
			whole += i > 0 && ends[i] <= size ? 5 : 0;
			between |= ends[i] == size;
		}
		assert_int_equal(counts.packets, whole);
		assert_int_equal(rc, between ? 0 : FAIL_FORMAT);
	}
	buffer_fini(&file);
}

static void test_log_file_noise_is_damage(void **state)
{
	static const uint8_t noise[] = "no container at all";
	struct counts counts;

	(void)state;
	assert_int_equal(read_bytes(noise, sizeof(noise), &counts), FAIL_FORMAT);
	assert_int_equal(counts.packets, 0);
}

static void test_log_file_missing_is_an_error(void **state)
{
	struct counts counts = { 0 };
	struct log_handler handler = { count_flow, count_marker, &counts };

	(void)state;
	assert_int_equal(log_file_read("/nonexistent/flows", &handler), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_file_whole_is_read),
		cmocka_unit_test(test_log_file_set_end_to_end_are_read),
		cmocka_unit_test(test_log_file_cut_anywhere_counts_what_is_whole),
		cmocka_unit_test(test_log_file_noise_is_damage),
		cmocka_unit_test(test_log_file_missing_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
