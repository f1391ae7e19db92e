/*
 * Countries and networks: the layouts of MMDB files, what is unknown, files that are broken, cut or
 * replaced. The fixtures are made by tests/collector/geo/make.
 */
#include "collector/geo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "schemas/base/bytes.h"

#define FIXTURES  SOURCE_ROOT "/tests/collector/geo/"
#define WORDS_MAX 16

struct scene {
	struct config *config;
	struct geo *geo;
	char directory[32];
	char path[64]; /* a file of the test's own */
	int standard_error;
	FILE *said;
};

static int scene_setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	snprintf(scene->directory, sizeof(scene->directory), "/tmp/hoshimi-geo-XXXXXX");
	assert_non_null(mkdtemp(scene->directory));
	snprintf(scene->path, sizeof(scene->path), "%s/own.mmdb", scene->directory);
	/* the log goes to standard error: keep it to look at */
	scene->said = tmpfile();
	assert_non_null(scene->said);
	scene->standard_error = dup(STDERR_FILENO);
	assert_true(dup2(fileno(scene->said), STDERR_FILENO) >= 0);
	*state = scene;
	return 0;
}

static int scene_teardown(void **state)
{
	struct scene *scene = *state;

	dup2(scene->standard_error, STDERR_FILENO);
	close(scene->standard_error);
	fclose(scene->said);
	geo_destroy(scene->geo);
	config_destroy(scene->config);
	unlink(scene->path);
	rmdir(scene->directory);
	free(scene);
	return 0;
}

/* Opens with settings such as "geo.country=FILE"; the last one is followed by NULL. */
static void open_with(struct scene *scene, const char *first, ...)
{
	char *words[WORDS_MAX] = { NULL };
	struct message msg = { "" };
	const char *setting = first;
	int count = 0;
	va_list args;

	geo_destroy(scene->geo);
	config_destroy(scene->config);
	scene->geo = NULL;
	words[count++] = strdup("test");
	va_start(args, first);
	for (; setting != NULL; setting = va_arg(args, const char *)) {
		words[count++] = strdup("--set");
		words[count++] = strdup(setting);
	}
	va_end(args);
	assert_int_equal(config_create(&scene->config, PROGRAM_COLLECTOR), 0);
	assert_int_equal(config_parse(scene->config, count, words, &msg), 0);
	assert_int_equal(geo_create(&scene->geo, scene->config), 0);
	while (count > 0)
		free(words[--count]);
}

static bool has_said(const struct scene *scene, const char *text)
{
	char all[4096] = "";
	size_t size;

	rewind(scene->said);
	size = fread(all, 1, sizeof(all) - 1, scene->said);
	all[size] = '\0';
	return strstr(all, text) != NULL;
}

static const struct geo_answer *find_v4(struct scene *scene, uint32_t number)
{
	struct address address = { .size = 4 };

	store_u32(address.bytes, number);
	return geo_find(scene->geo, &address);
}

static const struct geo_answer *find_v6(struct scene *scene, uint8_t site)
{
	struct address address = { .size = 16, .bytes = { 0x20, 0x01, 0x0d, 0xb8, 0, site } };

	return geo_find(scene->geo, &address);
}

#define NET_1 0xc0000201u /* 192.0.2.1 */
#define NET_2 0xc6336401u /* 198.51.100.1 */
#define NET_3 0xcb007101u /* 203.0.113.1 */

/* ---- layouts ---- */

static void test_geo_one_file_for_both_families_answers_both(void **state)
{
	struct scene *scene = *state;

	open_with(scene, "geo.country=" FIXTURES "country.mmdb", "geo.asn=" FIXTURES "asn.mmdb",
		NULL);

	assert_string_equal(find_v4(scene, NET_1)->country, "JP");
	assert_int_equal(find_v4(scene, NET_1)->asn, 64496);
	assert_string_equal(find_v4(scene, NET_1)->as_name, "Example \"One\"");
	assert_string_equal(find_v6(scene, 1)->country, "SE");
	assert_int_equal(find_v6(scene, 1)->asn, 64500);
	assert_string_equal(find_v6(scene, 1)->as_name, "");
}

static void test_geo_a_file_for_each_family_is_asked_for_its_own(void **state)
{
	struct scene *scene = *state;

	open_with(scene, "geo.country=" FIXTURES "flat_v4.mmdb",
		"geo.country_v6=" FIXTURES "flat_v6.mmdb", "geo.asn=" FIXTURES "flat_v4.mmdb",
		"geo.asn_v6=" FIXTURES "flat_v6.mmdb", NULL);

	assert_string_equal(find_v4(scene, NET_1)->country, "DE");
	assert_int_equal(find_v4(scene, NET_1)->asn, 64501);
	assert_string_equal(find_v4(scene, NET_1)->as_name, "Flat");
	assert_string_equal(find_v6(scene, 2)->country, "FR");
	assert_int_equal(find_v6(scene, 2)->asn, 64502);
}

static void test_geo_fields_of_its_own_are_named_by_configuration(void **state)
{
	struct scene *scene = *state;

	open_with(scene, "geo.country=" FIXTURES "own.mmdb", "geo.asn=" FIXTURES "own.mmdb", NULL);
	assert_string_equal(find_v4(scene, NET_1)->country, "");
	assert_int_equal(find_v4(scene, NET_1)->asn, 0);

	open_with(scene, "geo.country=" FIXTURES "own.mmdb", "geo.asn=" FIXTURES "own.mmdb",
		"geo.country_field=place.code", "geo.asn_field=number", NULL);
	assert_string_equal(find_v4(scene, NET_1)->country, "BR");
	assert_int_equal(find_v4(scene, NET_1)->asn, 64503);
}

/* ---- unknown ---- */

static void test_geo_what_no_file_knows_is_unknown(void **state)
{
	struct scene *scene = *state;
	struct address none = { .size = 0 };

	open_with(scene, "geo.country=" FIXTURES "country.mmdb", "geo.asn=" FIXTURES "flat_v4.mmdb",
		NULL);

	assert_string_equal(find_v4(scene, 0x08080808)->country, "");
	assert_int_equal(find_v4(scene, NET_2)->asn, 0);
	assert_string_equal(find_v6(scene, 9)->country, "");
	assert_int_equal(find_v6(scene, 1)->asn, 0); /* the file holds IPv4 only */
	assert_string_equal(geo_find(scene->geo, &none)->country, "");
}

static void test_geo_without_files_everything_is_unknown(void **state)
{
	struct scene *scene = *state;

	open_with(scene, NULL);

	assert_string_equal(find_v4(scene, NET_1)->country, "");
	assert_int_equal(find_v4(scene, NET_1)->asn, 0);
	assert_true(has_said(scene, "no geography file"));
}

static void test_geo_what_is_no_country_code_is_left_out(void **state)
{
	struct scene *scene = *state;

	open_with(scene, "geo.country=" FIXTURES "country.mmdb", NULL);

	assert_string_equal(find_v4(scene, NET_2)->country, "NL");
	assert_string_equal(find_v4(scene, NET_3)->country, "");
}

static void test_geo_a_long_name_is_cut_between_characters(void **state)
{
	struct scene *scene = *state;
	const struct geo_answer *answer;

	open_with(scene, "geo.asn=" FIXTURES "asn.mmdb", NULL);
	answer = find_v4(scene, NET_3);

	assert_int_equal(answer->asn, 4294967294u);
	assert_int_equal(strlen(answer->as_name), 126);
	assert_int_equal(answer->as_name[125], 'x');
}

static void test_geo_neighbours_in_the_cache_keep_their_own_answers(void **state)
{
	struct scene *scene = *state;

	open_with(scene, "geo.country=" FIXTURES "country.mmdb", NULL);
	/* more addresses than the cache has slots, twice */
	for (unsigned round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 65536; i++) {
			uint32_t number = 0xc0000000u + i; /* 192.0.0.0/16 */

			assert_string_equal(find_v4(scene, number)->country,
				number >> 8 == 0xc00002 ? "JP" : "");
		}
}

/* ---- files ---- */

static void read_fixture(struct buffer *out, const char *path)
{
	FILE *file = fopen(path, "rb");
	int byte;

	assert_non_null(file);
	while ((byte = fgetc(file)) != EOF)
		buffer_u8(out, (uint8_t)byte);
	fclose(file);
}

/* Replaces the scene's own file, as a careful update does. */
static void write_own(const struct scene *scene, const uint8_t *data, size_t size)
{
	char path[80];
	FILE *file;

	snprintf(path, sizeof(path), "%s.new", scene->path);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(path, scene->path), 0);
}

static void open_own(struct scene *scene)
{
	char country[96], asn[96];

	snprintf(country, sizeof(country), "geo.country=%s", scene->path);
	snprintf(asn, sizeof(asn), "geo.asn=%s", scene->path);
	open_with(scene, country, asn, NULL);
}

static void test_geo_missing_file_is_said_and_left_out(void **state)
{
	struct scene *scene = *state;

	open_own(scene);

	assert_true(has_said(scene, scene->path));
	assert_true(has_said(scene, "No such file"));
	assert_string_equal(find_v4(scene, NET_1)->country, "");
}

static void test_geo_file_of_another_kind_is_said_and_left_out(void **state)
{
	struct scene *scene = *state;

	write_own(scene, (const uint8_t *)"country,JP\n", 11);
	open_own(scene);

	assert_true(has_said(scene, "cannot be used"));
	assert_true(has_said(scene, "reason="));
	assert_string_equal(find_v4(scene, NET_1)->country, "");
}

/* The metadata stand at the end, so every cut of a file is refused. */
static void test_geo_cut_file_is_refused_at_every_length(void **state)
{
	struct scene *scene = *state;
	struct buffer whole = { 0 };

	read_fixture(&whole, FIXTURES "flat_v4.mmdb");
	for (size_t size = 0; size < whole.size; size++) {
		write_own(scene, whole.data, size);
		open_own(scene);
		assert_string_equal(find_v4(scene, NET_1)->country, "");
		assert_int_equal(find_v4(scene, NET_1)->asn, 0);
	}
	assert_true(has_said(scene, "cannot be used"));
	buffer_fini(&whole);
}

/* Whatever a byte is changed to, the answer is some answer: text in bounds, no crash. */
static void test_geo_damaged_file_answers_within_bounds(void **state)
{
	struct scene *scene = *state;
	struct buffer bytes = { 0 };

	read_fixture(&bytes, FIXTURES "flat_v4.mmdb");
	for (size_t i = 0; i < bytes.size; i++) {
		uint8_t kept = bytes.data[i];
		const struct geo_answer *answer;

		bytes.data[i] ^= 0xff;
		write_own(scene, bytes.data, bytes.size);
		open_own(scene);
		answer = find_v4(scene, NET_1);
		assert_true(strlen(answer->country) == 0 || strlen(answer->country) == 2);
		assert_true(strnlen(answer->as_name, AS_NAME_BYTES) < AS_NAME_BYTES);
		bytes.data[i] = kept;
	}
	buffer_fini(&bytes);
}

static void test_geo_replaced_file_is_opened_anew(void **state)
{
	struct scene *scene = *state;
	struct buffer old = { 0 }, new = { 0 };

	read_fixture(&old, FIXTURES "country.mmdb");
	read_fixture(&new, FIXTURES "flat_v4.mmdb");
	write_own(scene, old.data, old.size);
	open_own(scene);
	assert_string_equal(find_v4(scene, NET_1)->country, "JP");

	write_own(scene, new.data, new.size);
	assert_string_equal(find_v4(scene, NET_1)->country, "JP");
	geo_refresh(scene->geo);

	assert_string_equal(find_v4(scene, NET_1)->country, "DE");
	buffer_fini(&old);
	buffer_fini(&new);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_geo_one_file_for_both_families_answers_both),
		TEST(test_geo_a_file_for_each_family_is_asked_for_its_own),
		TEST(test_geo_fields_of_its_own_are_named_by_configuration),
		TEST(test_geo_what_no_file_knows_is_unknown),
		TEST(test_geo_without_files_everything_is_unknown),
		TEST(test_geo_what_is_no_country_code_is_left_out),
		TEST(test_geo_a_long_name_is_cut_between_characters),
		TEST(test_geo_neighbours_in_the_cache_keep_their_own_answers),
		TEST(test_geo_missing_file_is_said_and_left_out),
		TEST(test_geo_file_of_another_kind_is_said_and_left_out),
		TEST(test_geo_cut_file_is_refused_at_every_length),
		TEST(test_geo_damaged_file_answers_within_bounds),
		TEST(test_geo_replaced_file_is_opened_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
