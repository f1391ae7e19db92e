/*
 * Flow files: complete under their name or recognisable as not, devices and FIFOs in place.
 */
#include "sensor/sink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define PATH_BYTES 64
#define OUT	   "flows.avro"

static const struct origin origin = { "test", "file", 0 };

struct scene {
	char folder[PATH_BYTES];
	char path[PATH_BYTES + 32];
	char partial[PATH_BYTES + 32];
};

static struct scene scene_create(void)
{
	struct scene scene = { .folder = "/tmp/hoshimi-test-sink-XXXXXX" };

	assert_non_null(mkdtemp(scene.folder));
	snprintf(scene.path, sizeof(scene.path), "%s/" OUT, scene.folder);
	snprintf(scene.partial, sizeof(scene.partial), "%s/" OUT ".partial", scene.folder);
	return scene;
}

static void scene_destroy(const struct scene *scene)
{
	unlink(scene->path);
	unlink(scene->partial);
	assert_int_equal(rmdir(scene->folder), 0); /* and nothing else was made */
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* An entry without flows: a marker of one partition. */
static struct entry *make_entry(void)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	assert_non_null(entry);
	entry->ledger = marker_defaults();
	entry->partitions = 1;
	entry->shares = calloc(1, sizeof(*entry->shares));
	assert_non_null(entry->shares);
	return entry;
}

static void load(struct buffer *out, int fd)
{
	uint8_t piece[4096];
	ssize_t got;

	while ((got = read(fd, piece, sizeof(piece))) > 0)
		buffer_append(out, piece, (size_t)got);
	close(fd);
}

/* Markers in the file, whose entry numbers count up from 0. */
static int markers_in(int fd)
{
	struct container_decoder *decoder;
	struct container_records records;
	struct container_item item;
	struct buffer data = { 0 };
	struct byte_reader r;
	struct origin read;
	struct message msg;
	int markers = 0;

	load(&data, fd);
	r = byte_reader_of(data.data, data.size);
	assert_int_equal(container_decoder_create(&decoder), 0);
	assert_int_equal(container_decoder_header(decoder, &r, &read, &msg), 0);
	assert_string_equal(read.sensor, "test");
	while (bytes_left(&r) > 0) {
		assert_int_equal(container_decoder_block(decoder, &r, &records, &msg), 0);
		assert_int_equal(container_next(decoder, &records, &item, &msg), 0);
		assert_int_equal(item.kind, ITEM_MARKER);
		assert_int_equal(item.marker.entry, markers++);
		container_item_fini(&item);
	}
	container_decoder_destroy(decoder);
	buffer_fini(&data);
	return markers;
}

static void test_sink_file_finished_has_its_name(void **state)
{
	struct scene scene = scene_create();
	struct message msg;
	struct sink *sink;

	(void)state;
	assert_int_equal(sink_file_open(&sink, scene.path, &origin, &msg), 0);
	assert_int_equal(sink->take(sink, make_entry(), NULL), 0);
	assert_true(exists(scene.partial));
	assert_false(exists(scene.path));
	assert_int_equal(
		markers_in(open(scene.partial, O_RDONLY)), 1); /* readers see whole entries */
	assert_int_equal(sink->take(sink, make_entry(), NULL), 0);

	assert_int_equal(sink->finish(sink, &msg), 0);
	sink->close(sink);

	assert_false(exists(scene.partial));
	assert_int_equal(markers_in(open(scene.path, O_RDONLY)), 2);
	scene_destroy(&scene);
}

static void test_sink_file_not_finished_stays_partial_and_the_old_one(void **state)
{
	struct scene scene = scene_create();
	struct message msg;
	struct sink *sink;
	int fd = open(scene.path, O_WRONLY | O_CREAT, 0600);

	(void)state;
	assert_int_equal(write(fd, "old", 3), 3);
	close(fd);
	assert_int_equal(sink_file_open(&sink, scene.path, &origin, &msg), 0);
	assert_int_equal(sink->take(sink, make_entry(), NULL), 0);

	sink->close(sink);

	assert_true(exists(scene.partial));
	fd = open(scene.path, O_RDONLY);
	assert_int_equal(lseek(fd, 0, SEEK_END), 3);
	close(fd);
	scene_destroy(&scene);
}

static void test_sink_file_fifo_and_device_are_written_in_place(void **state)
{
	struct scene scene = scene_create();
	struct message msg;
	struct sink *sink;
	int fd;

	(void)state;
	assert_int_equal(mkfifo(scene.path, 0600), 0);
	fd = open(scene.path, O_RDONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	assert_int_equal(sink_file_open(&sink, scene.path, &origin, &msg), 0);
	assert_int_equal(sink->take(sink, make_entry(), NULL), 0);
	assert_int_equal(sink->finish(sink, &msg), 0);
	sink->close(sink);
	assert_false(exists(scene.partial));
	assert_int_equal(markers_in(fd), 1);

	assert_int_equal(sink_file_open(&sink, "/dev/null", &origin, &msg), 0);
	assert_int_equal(sink->take(sink, make_entry(), NULL), 0);
	assert_int_equal(sink->finish(sink, &msg), 0);
	sink->close(sink);
	assert_false(exists("/dev/null.partial"));
	scene_destroy(&scene);
}

static void test_sink_file_that_cannot_be_written_says_so(void **state)
{
	struct message msg = { "" };
	struct sink *sink = NULL;
	int rc;

	(void)state;
	assert_int_equal(sink_file_open(&sink, "/nowhere/flows.avro", &origin, &msg), -ENOENT);
	assert_null(sink);
	assert_non_null(strstr(msg.text, "/nowhere/flows.avro"));

	assert_int_equal(sink_file_open(&sink, "/dev/full", &origin, &msg), 0);
	rc = sink->take(sink, make_entry(), NULL);
	if (rc == 0)
		rc = sink->finish(sink, &msg);
	assert_int_equal(rc, -ENOSPC);
	sink->close(sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sink_file_finished_has_its_name),
		cmocka_unit_test(test_sink_file_not_finished_stays_partial_and_the_old_one),
		cmocka_unit_test(test_sink_file_fifo_and_device_are_written_in_place),
		cmocka_unit_test(test_sink_file_that_cannot_be_written_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
