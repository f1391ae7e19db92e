/*
 * What makes two replays the same one: files by their contents, settings by what shapes records.
 */
#include "sensor/replay_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define MIB	  (1u << 20)
#define WORDS_MAX 24

struct scene {
	char directory[32];
	struct config *config;
};

static int scene_setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	snprintf(scene->directory, sizeof(scene->directory), "/tmp/hoshimi-id-XXXXXX");
	assert_non_null(mkdtemp(scene->directory));
	assert_int_equal(chdir(scene->directory), 0);
	*state = scene;
	return 0;
}

static int scene_teardown(void **state)
{
	static const char *const names[] = { "a", "b", "c", "fifo", "dark" };
	struct scene *scene = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(names[i]);
	assert_int_equal(chdir("/"), 0);
	rmdir(scene->directory);
	config_destroy(scene->config);
	free(scene);
	return 0;
}

static void write_file(const char *name, const void *data, size_t size)
{
	FILE *file = fopen(name, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* The configuration of a command line, words by blanks. */
static const struct config *configure(struct scene *scene, const char *line)
{
	char *words[WORDS_MAX] = { NULL }, *copy = strdup(line), *save = NULL;
	struct message msg = { "" };
	int count = 1;

	assert_non_null(copy);
	words[0] = copy;
	for (char *word = strtok_r(copy, " ", &save); word != NULL;
		word = strtok_r(NULL, " ", &save)) {
		assert_true(count < WORDS_MAX);
		words[count++] = word;
	}
	config_destroy(scene->config);
	assert_int_equal(config_create(&scene->config, PROGRAM_SENSOR), 0);
	assert_int_equal(config_parse(scene->config, count, words, &msg), 0);
	free(copy);
	return scene->config;
}

struct id {
	char text[REPLAY_ID_BYTES];
};

static struct id id_of(struct scene *scene, const char *line)
{
	struct message msg = { "" };
	struct id id = { "" };

	assert_int_equal(replay_id(id.text, configure(scene, line), &msg), 0);
	return id;
}

static void assert_same(struct id a, struct id b)
{
	assert_string_equal(a.text, b.text);
}

static void assert_differ(struct id a, struct id b)
{
	assert_string_not_equal(a.text, b.text);
}

/* ---- ids ---- */

static void test_replay_id_given_is_taken(void **state)
{
	assert_string_equal(id_of(*state, "-r - --replay-id lab.2026").text, "lab.2026");
	assert_string_equal(id_of(*state, "-r a b --replay-id x").text, "x");
}

static void test_replay_id_is_of_contents_not_of_names(void **state)
{
	struct id id;

	write_file("a", "one", 3);
	write_file("b", "one", 3);
	write_file("c", "two", 3);
	id = id_of(*state, "-r a");

	assert_int_equal(strlen(id.text), 32);
	assert_same(id, id_of(*state, "-r b"));
	assert_same(id, id_of(*state, "-r ./a"));
	assert_differ(id, id_of(*state, "-r c"));
}

static void test_replay_id_is_of_all_files_in_order(void **state)
{
	write_file("a", "one", 3);
	write_file("b", "two", 3);
	write_file("c", "onetwo", 6);

	assert_differ(id_of(*state, "-r a b"), id_of(*state, "-r b a"));
	assert_differ(id_of(*state, "-r a b"), id_of(*state, "-r a"));
	assert_differ(id_of(*state, "-r a b"), id_of(*state, "-r c"));
	assert_differ(id_of(*state, "-r a"), id_of(*state, "-r a a"));
}

/* DESIGN: length, hash of the first and last MiB of each. */
static void test_replay_id_is_of_length_and_both_ends(void **state)
{
	size_t size = 3 * MIB;
	uint8_t *bytes = calloc(1, size + 1);
	struct id id;

	assert_non_null(bytes);
	write_file("a", bytes, size);
	id = id_of(*state, "-r a");

	bytes[MIB - 1] = 1;
	write_file("b", bytes, size);
	assert_differ(id, id_of(*state, "-r b"));
	bytes[MIB - 1] = 0;
	bytes[2 * MIB] = 1;
	write_file("b", bytes, size);
	assert_differ(id, id_of(*state, "-r b"));
	bytes[2 * MIB] = 0;
	bytes[MIB] = 1; /* between the ends nobody looks */
	write_file("b", bytes, size);
	assert_same(id, id_of(*state, "-r b"));
	write_file("b", bytes, size + 1);
	assert_differ(id, id_of(*state, "-r b"));
	free(bytes);
}

static void test_replay_id_of_a_file_that_cannot_be_read_is_an_empty_ones(void **state)
{
	write_file("a", "", 0);

	assert_same(id_of(*state, "-r a"), id_of(*state, "-r missing"));
}

static void assert_needs_id(struct scene *scene, const char *line, const char *named)
{
	const struct config *config = configure(scene, line);
	char id[REPLAY_ID_BYTES] = "";
	struct message msg = { "" };

	assert_true(replay_reads_pipe(config));
	assert_int_equal(replay_id(id, config, &msg), FAIL_USAGE);
	assert_non_null(strstr(msg.text, "--replay-id"));
	assert_non_null(strstr(msg.text, named));
}

static void test_replay_id_of_a_pipe_must_be_given(void **state)
{
	write_file("a", "one", 3);
	assert_int_equal(mkfifo("fifo", 0600), 0);

	assert_needs_id(*state, "-r -", "-r - ");
	assert_needs_id(*state, "-r a -", "-r - ");
	assert_needs_id(*state, "-r a fifo", "fifo");
	assert_needs_id(*state, "-r /dev/null", "/dev/null");
	assert_false(replay_reads_pipe(configure(*state, "-r a missing")));
}

/* ---- settings ---- */

static void settings_of(struct scene *scene, const char *line, uint32_t partitions, char out[4096])
{
	replay_settings(out, 4096, configure(scene, line), partitions);
}

static void test_replay_settings_are_those_that_shape_records(void **state)
{
	char text[4096];

	settings_of(*state,
		"-r a --sensor lab --dark 198.51.100.0/24 --dark !198.51.100.9 --workers 4 "
		"--max-flows 5000 -F tcp -o kafka",
		6, text);

	assert_string_equal(text, "sensor=lab\n"
				  "dark=198.51.100.0/24,!198.51.100.9\n"
				  "dark-file=\n"
				  "filter=tcp\n"
				  "max-flows=5000\n"
				  "partitions=6\n");
}

static void test_replay_settings_do_not_depend_on_what_shapes_nothing(void **state)
{
	char one[4096], other[4096];

	settings_of(*state, "-r a --sensor lab --workers 1", 6, one);
	settings_of(*state, "-r b c --sensor lab --workers 8 --log-level debug --again", 6, other);

	assert_string_equal(one, other);
}

static void test_replay_settings_take_the_dark_files_contents(void **state)
{
	char one[4096], other[4096];

	write_file("a", "198.51.100.0/24\n", 16);
	write_file("b", "198.51.100.0/24\n", 16);
	write_file("c", "198.51.100.0/25\n", 16);
	settings_of(*state, "-r x --dark-file a", 6, one);
	settings_of(*state, "-r x --dark-file b", 6, other);
	assert_string_equal(one, other);
	settings_of(*state, "-r x --dark-file c", 6, other);
	assert_string_not_equal(one, other);
}

static void test_replay_settings_give_long_values_as_their_hash(void **state)
{
	char one[4096], other[4096], lines[16 * 40];
	size_t size = 0;

	for (unsigned i = 0; i < 40; i++)
		size += (size_t)snprintf(
			lines + size, sizeof(lines) - size, "198.51.%u.0/24\n", 100 + i);
	write_file("a", lines, size);
	settings_of(*state, "-r x --dark-file a", 6, one);
	lines[0] = '2';
	write_file("a", lines, size);
	settings_of(*state, "-r x --dark-file a", 6, other);

	assert_non_null(strstr(one, "dark-file=#"));
	assert_true(strlen(one) < 200);
	assert_string_not_equal(one, other);
}

static void test_replay_settings_are_cut_to_the_room_there_is(void **state)
{
	const struct config *config = configure(*state, "-r x --sensor lab");
	char text[9];

	memset(text, 'x', sizeof(text));
	replay_settings(text, 8, config, 6);

	assert_string_equal(text, "sensor=");
	assert_int_equal(text[8], 'x');
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replay_id_given_is_taken),
		TEST(test_replay_id_is_of_contents_not_of_names),
		TEST(test_replay_id_is_of_all_files_in_order),
		TEST(test_replay_id_is_of_length_and_both_ends),
		TEST(test_replay_id_of_a_file_that_cannot_be_read_is_an_empty_ones),
		TEST(test_replay_id_of_a_pipe_must_be_given),
		TEST(test_replay_settings_are_those_that_shape_records),
		TEST(test_replay_settings_do_not_depend_on_what_shapes_nothing),
		TEST(test_replay_settings_take_the_dark_files_contents),
		TEST(test_replay_settings_give_long_values_as_their_hash),
		TEST(test_replay_settings_are_cut_to_the_room_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
