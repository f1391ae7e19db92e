/*
 * The cursor: what it says comes back, and which settings differ is named.
 */
#include "sensor/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void test_cursor_comes_back_as_it_was(void **state)
{
	struct cursor cursor = { .entry = 41,
		.instance = "abc",
		.boot = 7,
		.interval_to_ns = 1767571200000000000,
		.run = 1,
		.run_first_entry = 20,
		.is_finished = true,
		.settings = "dark=192.0.2.0/24\n" };
	struct buffer text = { 0 };
	struct cursor back;

	(void)state;
	cursor_encode(&cursor, &text);
	assert_int_equal(cursor_decode(&back, (struct bytes){ text.data, text.size }), 0);
	buffer_fini(&text);
	assert_true(back.exists && back.is_finished);
	assert_int_equal(back.entry, 41);
	assert_int_equal(back.interval_to_ns, cursor.interval_to_ns);
	assert_int_equal(back.run_first_entry, 20);
	assert_string_equal(back.instance, "abc");
	assert_string_equal(back.settings, cursor.settings);
}

static void test_cursor_without_value_does_not_exist(void **state)
{
	struct cursor cursor;

	(void)state;
	assert_int_equal(cursor_decode(&cursor, (struct bytes){ 0 }), 0);
	assert_false(cursor.exists);
	assert_int_equal(cursor.entry, -1);
}

static void test_cursor_noise_is_refused(void **state)
{
	static const char *const noise[] = { "x", "[]", "{}", "{\"entry\":\"1\"}" };
	struct cursor cursor;

	(void)state;
	for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
		assert_int_equal(cursor_decode(&cursor, (struct bytes){ (const uint8_t *)noise[i],
								strlen(noise[i]) }),
			FAIL_FORMAT);
}

static void test_cursor_settings_that_differ_are_named(void **state)
{
	struct cursor cursor = { .settings = "dark=192.0.2.0/24\nfilter=\nmax-flows=1024\n" };
	char names[128];

	(void)state;
	assert_false(cursor_settings_differ(&cursor, cursor.settings, names, sizeof(names)));
	assert_true(cursor_settings_differ(
		&cursor, "dark=\nfilter=\nmax-flows=2048\n", names, sizeof(names)));
	assert_string_equal(names, "dark, max-flows");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cursor_comes_back_as_it_was),
		cmocka_unit_test(test_cursor_without_value_does_not_exist),
		cmocka_unit_test(test_cursor_noise_is_refused),
		cmocka_unit_test(test_cursor_settings_that_differ_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
