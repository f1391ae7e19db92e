/*
 * What the view enrich keeps of a partition, as it is stored and read again.
 */
#include "collector/view_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct view_state decoded(const char *text)
{
	struct view_state state;

	view_state_decode(&state, (struct bytes){ (const uint8_t *)text, strlen(text) });
	return state;
}

static struct view_state stored_and_read(const struct view_state *state)
{
	struct buffer out = { 0 };
	struct view_state again;

	view_state_encode(state, &out);
	assert_false(out.failed);
	view_state_decode(&again, (struct bytes){ out.data, out.size });
	buffer_fini(&out);
	return again;
}

static void test_view_state_without_gaps_is_the_offset_alone(void **state)
{
	struct view_state position = { .offset = 1200 };
	struct buffer out = { 0 };

	(void)state;
	view_state_encode(&position, &out);
	buffer_u8(&out, '\0');
	assert_string_equal((const char *)out.data, "{\"offset\":1200}");
	buffer_fini(&out);
}

static void test_view_state_is_read_as_it_was_stored(void **state)
{
	struct view_state position = { .offset = 1200 }, again;

	(void)state;
	view_state_add_gap(&position, 0, 20);
	view_state_add_gap(&position, 300, 950);
	again = stored_and_read(&position);

	assert_int_equal(again.offset, 1200);
	assert_int_equal(again.gap_count, 2);
	assert_int_equal(again.gaps[1].from, 300);
	assert_int_equal(again.gaps[1].to, 950);
	assert_int_equal(again.older_gaps, 0);
}

static void test_view_state_oldest_gap_makes_room(void **state)
{
	struct view_state position = { .offset = 9000 }, again;

	(void)state;
	for (int64_t i = 0; i < VIEW_GAPS_MAX + 3; i++)
		view_state_add_gap(&position, i * 10, i * 10 + 5);
	again = stored_and_read(&position);

	assert_int_equal(again.gap_count, VIEW_GAPS_MAX);
	assert_int_equal(again.gaps[0].from, 30);
	assert_int_equal(again.gaps[VIEW_GAPS_MAX - 1].from, (VIEW_GAPS_MAX + 2) * 10);
	assert_int_equal(again.older_gaps, 3);
}

static void test_view_state_of_what_is_none_has_no_position(void **state)
{
	static const char *const texts[] = { "", "x", "[]", "{}", "{\"offset\":\"7\"}",
		"{\"offset\":-7}" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(decoded(texts[i]).offset, -1);
		assert_int_equal(decoded(texts[i]).gap_count, 0);
	}
}

static void test_view_state_gaps_that_are_none_are_left_out(void **state)
{
	struct view_state position = decoded(
		"{\"offset\":7,\"gaps\":[[5],[9,3],\"x\",[1,4],{\"from\":1}],\"older_gaps\":-1}");

	(void)state;
	assert_int_equal(position.offset, 7);
	assert_int_equal(position.gap_count, 1);
	assert_int_equal(position.gaps[0].to, 4);
	assert_int_equal(position.older_gaps, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_view_state_without_gaps_is_the_offset_alone),
		cmocka_unit_test(test_view_state_is_read_as_it_was_stored),
		cmocka_unit_test(test_view_state_oldest_gap_makes_room),
		cmocka_unit_test(test_view_state_of_what_is_none_has_no_position),
		cmocka_unit_test(test_view_state_gaps_that_are_none_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
