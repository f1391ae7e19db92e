#include "tests/sensor/capture_bytes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sensor/capture_filter.h"
#include "sensor/capture_merge.h"
#include "sensor/linktype.h"

#define FILES_MAX	 400
#define PATH_BYTES	 64
#define FRAMES_MAX	 32768
#define SAID_BYTES	 4096
#define SECTION_BYTES	 28
#define LINKTYPE_UNKNOWN 147u /* LINKTYPE_USER0: for private use, so never known */

/* Files in a folder of their own, and what reading them came to. */
struct scene {
	char folder[PATH_BYTES];
	char *paths[FILES_MAX];
	const char *names[FILES_MAX];
	size_t count;

	uint8_t first_bytes[FRAMES_MAX];
	uint32_t linktypes[FRAMES_MAX];
	uint64_t times_ns[FRAMES_MAX];
	size_t frames;
	size_t batches;
	bool is_damaged;
	bool has_broken_off;
	int rc;
	struct message msg;
	char said[SAID_BYTES]; /* on standard error */
};

static struct scene *scene_create(void)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	snprintf(scene->folder, sizeof(scene->folder), "/tmp/hoshimi-test-merge-XXXXXX");
	assert_non_null(mkdtemp(scene->folder));
	return scene;
}

static void scene_destroy(struct scene *scene)
{
	for (size_t i = 0; i < scene->count; i++)
		unlink(scene->paths[i]);
	for (size_t i = 0; i < scene->count; i++)
		free(scene->paths[i]);
	rmdir(scene->folder);
	free(scene);
}

/* Names a file that is not there. */
static const char *name_file(struct scene *scene)
{
	char **path = &scene->paths[scene->count];

	assert_true(scene->count < FILES_MAX);
	assert_true(asprintf(path, "%s/%zu", scene->folder, scene->count) > 0);
	scene->names[scene->count++] = *path;
	return *path;
}

/* Writes a file and releases its contents. */
static void add_file(struct scene *scene, struct built_file *file)
{
	FILE *out = fopen(name_file(scene), "wb");

	assert_non_null(out);
	if (file->bytes.size > 0)
		assert_int_equal(fwrite(file->bytes.data, file->bytes.size, 1, out), 1);
	fclose(out);
	buffer_fini(&file->bytes);
}

/* A pcap file with one frame of 20 bytes, all `mark` onwards, at each of the seconds. */
static void add_pcap(
	struct scene *scene, uint32_t linktype, uint8_t mark, const uint32_t *seconds, size_t count)
{
	struct built_file file = { 0 };

	put_pcap_header(&file, PCAP_MICROSECONDS, linktype);
	for (size_t i = 0; i < count; i++)
		put_pcap_record(&file, seconds[i], 0, mark, 20);
	add_file(scene, &file);
}

static void take_frames(struct scene *scene, const struct frame_batch *batch)
{
	scene->batches++;
	for (size_t i = 0; i < batch->count; i++) {
		const struct frame *frame = &batch->frames[i];

		assert_true(scene->frames < FRAMES_MAX);
		scene->first_bytes[scene->frames] = frame->data[0];
		scene->linktypes[scene->frames] = frame->linktype;
		scene->times_ns[scene->frames] = frame->time_ns;
		scene->frames++;
	}
}

static void read_files(struct scene *scene, const char *filter)
{
	struct frame_batch *batch = calloc(1, sizeof(*batch));
	struct capture_merge *merge;

	assert_non_null(batch);
	scene->rc =
		capture_merge_open(&merge, scene->names, scene->count, filter, NULL, &scene->msg);
	if (scene->rc == 0) {
		while ((scene->rc = capture_merge_fill(merge, batch)) > 0)
			take_frames(scene, batch);
		scene->is_damaged = capture_merge_is_damaged(merge);
		scene->has_broken_off = capture_merge_has_broken_off(merge);
		capture_merge_close(merge);
	}
	frame_batch_fini(batch);
	free(batch);
}

/* Reads all files and keeps what is said meanwhile. */
static void act(struct scene *scene, const char *filter)
{
	FILE *said = tmpfile();
	int standard_error = dup(STDERR_FILENO);
	size_t size;

	assert_non_null(said);
	assert_true(dup2(fileno(said), STDERR_FILENO) >= 0);
	read_files(scene, filter);
	assert_true(dup2(standard_error, STDERR_FILENO) >= 0);
	close(standard_error);
	rewind(said);
	size = fread(scene->said, 1, sizeof(scene->said) - 1, said);
	scene->said[size] = '\0';
	fclose(said);
}

/* What was said is exactly one line, `FILE: byte OFFSET: reason`. */
static void assert_said(const struct scene *scene, size_t index, size_t offset, const char *reason)
{
	char line[SAID_BYTES];

	snprintf(line, sizeof(line), "%s: byte %zu: %s\n", scene->names[index], offset, reason);
	assert_string_equal(scene->said, line);
}

static void assert_said_unknown(const struct scene *scene, size_t index, size_t offset)
{
	struct message reason;

	message_set(&reason, "link type %u (%s) is not supported, its frames count as not IP",
		LINKTYPE_UNKNOWN, linktype_name(LINKTYPE_UNKNOWN));
	assert_said(scene, index, offset, reason.text);
}

static void assert_marks(const struct scene *scene, const char *marks)
{
	assert_int_equal(scene->rc, 0);
	assert_int_equal(scene->frames, strlen(marks));
	assert_memory_equal(scene->first_bytes, marks, scene->frames);
}

#define ADD_PCAP(scene, linktype, mark, ...)                                                       \
	add_pcap(scene, linktype, mark, (const uint32_t[]){ __VA_ARGS__ },                         \
		sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static void test_merge_files_are_in_time_order_and_ties_in_theirs(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	ADD_PCAP(scene, 1, 'b', 2, 5, 5, 9);
	ADD_PCAP(scene, 1, 'a', 1, 2, 5, 6);
	ADD_PCAP(scene, 101, 'c', 0, 5, 12);

	act(scene, NULL);

	assert_marks(scene, "cababbacabc");
	assert_string_equal(scene->said, "");
	assert_false(scene->is_damaged);
	scene_destroy(scene);
}

static void test_merge_frames_out_of_order_in_a_file_stay_so(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	ADD_PCAP(scene, 1, 'a', 5, 1, 7);
	ADD_PCAP(scene, 1, 'b', 4, 6);

	act(scene, NULL);

	assert_marks(scene, "baaba");
	scene_destroy(scene);
}

static void test_merge_no_frames_is_no_damage(void **state)
{
	struct scene *scene = scene_create();
	struct built_file file = { 0 };

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, LINKTYPE_UNKNOWN);
	add_file(scene, &file);
	file = (struct built_file){ 0 };
	put_ng_section(&file);
	add_file(scene, &file);

	act(scene, NULL);

	assert_marks(scene, "");
	assert_false(scene->is_damaged);
	assert_string_equal(scene->said, "");
	scene_destroy(scene);
}

static void test_merge_batches_are_full_whatever_the_input(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	for (uint8_t mark = 0; mark < 3; mark++) {
		struct built_file file = { 0 };

		put_pcap_header(&file, PCAP_MICROSECONDS, 1);
		for (uint32_t i = 0; i < 5000; i++)
			put_pcap_record(&file, 3 * i + mark, 0, mark, 20);
		add_file(scene, &file);
	}

	act(scene, NULL);

	assert_int_equal(scene->frames, 15000);
	assert_int_equal(scene->batches, 4); /* 3 * 4096 and the rest */
	for (size_t i = 0; i < scene->frames; i++)
		assert_int_equal(scene->first_bytes[i], i % 3);
	scene_destroy(scene);
}

static void test_merge_frames_stay_valid_until_the_batch_is_filled_again(void **state)
{
	struct scene *scene = scene_create();
	struct built_file file = { 0 };
	struct frame_batch *batches = calloc(2, sizeof(*batches));
	struct capture_merge *merge;

	(void)state;
	assert_non_null(batches);
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	for (uint32_t i = 0; i < 3 * FRAME_BATCH_FRAMES; i++)
		put_pcap_record(&file, i, 0, (uint8_t)(i / FRAME_BATCH_FRAMES), 60);
	add_file(scene, &file);
	assert_int_equal(capture_merge_open(&merge, scene->names, 1, NULL, NULL, NULL), 0);

	assert_int_equal(capture_merge_fill(merge, &batches[0]), FRAME_BATCH_FRAMES);
	assert_int_equal(capture_merge_fill(merge, &batches[1]), FRAME_BATCH_FRAMES);
	assert_int_equal(batches[0].frames[FRAME_BATCH_FRAMES - 1].data[0], 0);
	assert_int_equal(capture_merge_fill(merge, &batches[0]), FRAME_BATCH_FRAMES);
	capture_merge_close(merge);

	for (size_t i = 0; i < FRAME_BATCH_FRAMES; i++) {
		assert_int_equal(batches[0].frames[i].data[0], 2);
		assert_int_equal(batches[1].frames[i].data[59], 1 + 59);
	}
	frame_batch_fini(&batches[0]);
	frame_batch_fini(&batches[1]);
	free(batches);
	scene_destroy(scene);
}

static void test_merge_batch_of_huge_frames_is_short(void **state)
{
	struct scene *scene = scene_create();
	struct built_file file = { 0 };

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	for (uint32_t i = 0; i < 40; i++)
		put_pcap_record(&file, i, 0, 'a', (uint32_t)3 << 20);
	add_file(scene, &file);

	act(scene, NULL);

	assert_int_equal(scene->frames, 40);
	assert_true(scene->batches > 1);
	scene_destroy(scene);
}

static void test_merge_more_files_than_stay_open_are_merged_the_same(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	for (uint32_t i = 0; i < 300; i++) /* latest first; each overlaps the one before in time */
		ADD_PCAP(scene, 1, (uint8_t)i, 1000 - 3 * i, 1000 - 3 * i + 4);

	act(scene, NULL);

	assert_int_equal(scene->frames, 600);
	for (size_t i = 1; i < scene->frames; i++)
		assert_true(scene->times_ns[i] >= scene->times_ns[i - 1]);
	assert_false(scene->is_damaged);
	scene_destroy(scene);
}

static void test_merge_trouble_among_many_files_is_said_once(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	ADD_PCAP(scene, LINKTYPE_UNKNOWN, 'a', 5);
	for (uint32_t i = 0; i < 300; i++)
		ADD_PCAP(scene, 1, 'b', 6);

	act(scene, NULL);

	assert_int_equal(scene->frames, 301);
	assert_true(scene->is_damaged);
	assert_said_unknown(scene, 0, 0);
	scene_destroy(scene);
}

static void test_merge_damage_ends_one_file_and_not_the_others(void **state)
{
	struct scene *scene = scene_create();
	struct built_file file = { 0 };

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	put_pcap_record(&file, 1, 0, 'a', 20);
	put_pcap_record(&file, 3, 0, 'a', 20);
	file.bytes.size--;
	add_file(scene, &file);
	ADD_PCAP(scene, 1, 'b', 0, 2, 4);

	act(scene, NULL);

	assert_marks(scene, "babb");
	assert_true(scene->is_damaged);
	assert_false(scene->has_broken_off); /* a file's end is its end */
	assert_said(scene, 0, 24 + 36, "record of 36 bytes is cut after 35");
	scene_destroy(scene);
}

/* Reads the bytes through a pipe beside a whole file. */
static void act_on_pipe(struct scene *scene, struct built_file *file, bool as_standard_input)
{
	int standard_input = dup(STDIN_FILENO);
	char path[PATH_BYTES];
	int ends[2];

	ADD_PCAP(scene, 1, 'b', 0, 2, 4);
	ADD_PCAP(scene, 1, 'p', 0); /* its place is the pipe's */
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(
		write(ends[1], file->bytes.data, file->bytes.size), (ssize_t)file->bytes.size);
	close(ends[1]);
	snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
	if (as_standard_input)
		assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
	scene->names[1] = as_standard_input ? "-" : path;

	act(scene, NULL);

	assert_true(dup2(standard_input, STDIN_FILENO) >= 0);
	close(standard_input);
	close(ends[0]);
	buffer_fini(&file->bytes);
}

static void assert_pipe_breaks_off(size_t bytes_less, bool expected)
{
	for (unsigned way = 0; way < 2; way++) {
		struct scene *scene = scene_create();
		struct built_file file = { 0 };

		put_pcap_header(&file, PCAP_MICROSECONDS, 1);
		put_pcap_record(&file, 1, 0, 'a', 20);
		put_pcap_record(&file, 3, 0, 'a', 20);
		file.bytes.size -= bytes_less;
		act_on_pipe(scene, &file, way == 0);

		assert_int_equal(scene->has_broken_off, expected);
		assert_int_equal(scene->is_damaged, expected);
		scene_destroy(scene);
	}
}

static void test_merge_pipe_that_is_cut_has_broken_off(void **state)
{
	(void)state;
	assert_pipe_breaks_off(0, false);
	assert_pipe_breaks_off(1, true);
	assert_pipe_breaks_off(36, false); /* between records: the end of the input is the end */
	assert_pipe_breaks_off(2 * 36, false);
	assert_pipe_breaks_off(2 * 36 + 1, true);  /* in the file header */
	assert_pipe_breaks_off(2 * 36 + 24, true); /* nothing came */
}

static void test_merge_pipe_with_frames_that_cannot_be_judged_has_not_broken_off(void **state)
{
	struct scene *scene = scene_create();
	struct built_file file = { 0 };

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, LINKTYPE_UNKNOWN);
	put_pcap_record(&file, 1, 0, 'a', 20);
	act_on_pipe(scene, &file, true);

	assert_true(scene->is_damaged);
	assert_false(scene->has_broken_off);
	scene_destroy(scene);
}

static void test_merge_what_is_no_capture_is_named_and_left_out(void **state)
{
	static const struct {
		const char *contents;
		size_t size;
		size_t offset;
		const char *reason;
	} files[] = {
		{ "", 0, 0, "file is empty" },
		{ "\xa1\xb2\xc3", 3, 0, "not a pcap or pcapng capture" },
		{ "no capture, only noise of some length", 37, 0, "not a pcap or pcapng capture" },
		{ "\xa1\xb2\xc3\xd4\0\2", 6, 0, "file header of 24 bytes is cut after 6" },
		{ "\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b", 10, 0,
			"block header of 12 bytes is cut after 10" },
		{ "\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b\x3c\x4d\0\1\0\0", 16, 0,
			"section header of 28 bytes is cut after 16" },
		{ "\x0a\x0d\x0d\x0a\0\0\0\x1cnone of the two..........", 30, 0,
			"section header without its byte order magic" },
		{ "\x1f\x8b\x08\0\0\0", 6, 0,
			"gzip data ends early (byte of the decompressed data)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct scene *scene = scene_create();
		struct built_file file = { 0 };

		buffer_append(&file.bytes, files[i].contents, files[i].size);
		add_file(scene, &file);
		ADD_PCAP(scene, 1, 'b', 0);

		act(scene, NULL);

		assert_marks(scene, "b");
		assert_true(scene->is_damaged);
		assert_said(scene, 0, files[i].offset, files[i].reason);
		scene_destroy(scene);
	}
}

static void test_merge_missing_file_and_folder_are_named(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	name_file(scene);
	act(scene, NULL);
	assert_said(scene, 0, 0, "No such file or directory");
	assert_true(scene->is_damaged);
	assert_marks(scene, "");

	scene->names[0] = scene->folder;
	act(scene, NULL);
	assert_said(scene, 0, 0, "Is a directory");
	scene_destroy(scene);
}

static void test_merge_unknown_linktype_is_said_once_and_its_frames_yielded(void **state)
{
	struct scene *scene = scene_create();
	struct built_file file = { 0 };

	(void)state;
	put_ng_section(&file);
	put_ng_interface(&file, 1, 0);
	put_ng_interface(&file, LINKTYPE_UNKNOWN, 0);
	for (uint32_t i = 0; i < 6; i++)
		put_ng_packet(&file, i % 2, i, (uint8_t)('a' + i), 4);
	add_file(scene, &file);

	act(scene, NULL);

	assert_marks(scene, "abcdef");
	assert_int_equal(scene->linktypes[1], LINKTYPE_UNKNOWN);
	assert_true(scene->is_damaged);
	assert_said_unknown(scene, 0, SECTION_BYTES + 20);
	scene_destroy(scene);
}

/* An Ethernet frame of an IPv4 packet with the given protocol; `mark` is its first byte. */
static void put_ip_frame(struct built_file *file, uint32_t second, uint8_t mark, uint8_t protocol)
{
	put_u32(file, second);
	put_u32(file, 0);
	put_u32(file, 34);
	put_u32(file, 34);
	put_data(file, mark, 12);
	buffer_u8(&file->bytes, 0x08);
	buffer_u8(&file->bytes, 0x00);
	buffer_u8(&file->bytes, 0x45);
	put_data(file, 0, 8);
	buffer_u8(&file->bytes, protocol);
	put_data(file, 0, 10);
}

static void test_merge_filter_yields_what_matches(void **state)
{
	struct scene *scene = scene_create();
	struct built_file file = { 0 };

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	for (uint32_t i = 0; i < 1000; i++)
		put_ip_frame(&file, i, i % 250 == 0 ? 'u' : 't', i % 250 == 0 ? 17 : 6);
	add_file(scene, &file);

	act(scene, "ip proto 17");

	assert_marks(scene, "uuuu");
	assert_false(scene->is_damaged);
	scene_destroy(scene);
}

static void test_merge_filter_lets_unknown_linktypes_pass(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	ADD_PCAP(scene, 1, 'a', 1);
	ADD_PCAP(scene, LINKTYPE_UNKNOWN, 'b', 2);

	act(scene, "tcp");

	assert_marks(scene, "b");
	assert_said_unknown(scene, 1, 0);
	scene_destroy(scene);
}

static void test_merge_filter_that_does_not_apply_to_one_file_leaves_it_out(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	ADD_PCAP(scene, 101, 'a', 1, 2);
	ADD_PCAP(scene, 1, 'b', 2);

	act(scene, "not ether src 02:00:00:00:00:01");

	assert_marks(scene, "b");
	assert_true(scene->is_damaged);
	assert_non_null(strstr(scene->said, "0: byte 0: filter \"not ether src 02:00:00:00:00:01\" "
					    "does not apply to link type 101"));
	scene_destroy(scene);
}

static void test_merge_filter_that_applies_to_no_file_is_wrong_usage(void **state)
{
	struct scene *scene = scene_create();

	(void)state;
	ADD_PCAP(scene, 101, 'a', 1, 2);

	act(scene, "ether src 02:00:00:00:00:01");

	assert_int_equal(scene->rc, FAIL_USAGE);
	assert_non_null(strstr(scene->msg.text, "\"ether src 02:00:00:00:00:01\""));
	scene_destroy(scene);
}

static void test_filter_check_refuses_nonsense_and_quotes_it(void **state)
{
	struct message msg = { 0 };

	(void)state;
	assert_int_equal(capture_filter_check("tcp and and", &msg), FAIL_USAGE);
	assert_non_null(strstr(msg.text, "filter \"tcp and and\": "));
	assert_int_equal(capture_filter_check("no-such-word", &msg), FAIL_USAGE);
	assert_int_equal(capture_filter_check("tcp or udp port 53", &msg), 0);
	assert_int_equal(capture_filter_check("ether src 02:00:00:00:00:01", &msg), 0);
	assert_int_equal(capture_filter_check("", &msg), 0);
}

static void test_merge_standard_input_is_read_like_a_file(void **state)
{
	struct scene *scene = scene_create();
	int standard_input = dup(STDIN_FILENO);
	int fd;

	(void)state;
	ADD_PCAP(scene, 1, 'a', 1, 3);
	ADD_PCAP(scene, 1, 'b', 2);
	fd = open(scene->paths[0], O_RDONLY);
	assert_true(dup2(fd, STDIN_FILENO) >= 0);
	scene->names[0] = "-";

	act(scene, NULL);

	assert_marks(scene, "aba");
	assert_true(dup2(standard_input, STDIN_FILENO) >= 0);
	close(standard_input);
	close(fd);
	scene_destroy(scene);
}

static void test_merge_progress_comes_to_the_length_of_the_files(void **state)
{
	struct scene *scene = scene_create();
	struct frame_batch *batch = calloc(1, sizeof(*batch));
	struct capture_merge *merge;
	uint64_t read = 0;
	uint64_t total = 0;

	(void)state;
	assert_non_null(batch);
	ADD_PCAP(scene, 1, 'a', 1, 3);
	ADD_PCAP(scene, 1, 'b', 2);
	assert_int_equal(capture_merge_open(&merge, scene->names, 2, NULL, NULL, NULL), 0);

	assert_int_equal(capture_merge_fill(merge, batch), 3);
	capture_merge_progress(merge, &read, &total);

	assert_int_equal(total, 2 * 24 + 3 * 36);
	assert_int_equal(read, total);
	capture_merge_close(merge);
	frame_batch_fini(batch);
	free(batch);
	scene_destroy(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge_files_are_in_time_order_and_ties_in_theirs),
		cmocka_unit_test(test_merge_frames_out_of_order_in_a_file_stay_so),
		cmocka_unit_test(test_merge_no_frames_is_no_damage),
		cmocka_unit_test(test_merge_batches_are_full_whatever_the_input),
		cmocka_unit_test(test_merge_frames_stay_valid_until_the_batch_is_filled_again),
		cmocka_unit_test(test_merge_batch_of_huge_frames_is_short),
		cmocka_unit_test(test_merge_more_files_than_stay_open_are_merged_the_same),
		cmocka_unit_test(test_merge_trouble_among_many_files_is_said_once),
		cmocka_unit_test(test_merge_damage_ends_one_file_and_not_the_others),
		cmocka_unit_test(test_merge_pipe_that_is_cut_has_broken_off),
		cmocka_unit_test(
			test_merge_pipe_with_frames_that_cannot_be_judged_has_not_broken_off),
		cmocka_unit_test(test_merge_what_is_no_capture_is_named_and_left_out),
		cmocka_unit_test(test_merge_missing_file_and_folder_are_named),
		cmocka_unit_test(test_merge_unknown_linktype_is_said_once_and_its_frames_yielded),
		cmocka_unit_test(test_merge_filter_yields_what_matches),
		cmocka_unit_test(test_merge_filter_lets_unknown_linktypes_pass),
		cmocka_unit_test(test_merge_filter_that_does_not_apply_to_one_file_leaves_it_out),
		cmocka_unit_test(test_merge_filter_that_applies_to_no_file_is_wrong_usage),
		cmocka_unit_test(test_filter_check_refuses_nonsense_and_quotes_it),
		cmocka_unit_test(test_merge_standard_input_is_read_like_a_file),
		cmocka_unit_test(test_merge_progress_comes_to_the_length_of_the_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
