/*
 * Gaps of a view as Redis keeps them, and as a person reads them.
 */
#include "collector/gaps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct gap some = { 3, 100, 9007199254740993 };

static void test_gaps_text_is_read_as_it_was_written(void **state)
{
	char text[GAP_TEXT_BYTES];
	struct gap gap = { 0 };

	(void)state;
	gap_text(&some, text);
	assert_string_equal(
		text, "{\"partition\":3,\"from_offset\":100,\"to_offset\":9007199254740993}");
	assert_true(gap_parse(&gap, text));
	assert_int_equal(gap.partition, some.partition);
	assert_int_equal(gap.from, some.from);
	assert_int_equal(gap.to, some.to);
}

static void test_gaps_text_of_another_kind_is_refused(void **state)
{
	static const char *const texts[] = { "", "x", "[]", "{\"partition\":3,\"from_offset\":1}",
		"{\"partition\":-1,\"from_offset\":1,\"to_offset\":2}",
		"{\"partition\":4294967296,\"from_offset\":1,\"to_offset\":2}" };
	struct gap gap;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(gap_parse(&gap, texts[i]));
}

static void test_gaps_sentence_names_first_and_last_offset(void **state)
{
	char sentence[GAP_SENTENCE_BYTES];
	struct gap gap = { 2, 0, 57 };

	(void)state;
	gap_sentence(&gap, "counted", sentence);
	assert_string_equal(sentence,
		"not counted: offsets 0 to 56 of partition 2, which the topic no longer held");
}

static void test_gaps_list_keeps_what_was_added(void **state)
{
	struct gap_list list = { 0 };
	struct gap gap = { 1, 5, 6 };

	(void)state;
	gap_list_add(&list, &some);
	gap_list_add(&list, &gap);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.items[1].from, 5);
	assert_false(list.is_out_of_memory);
	gap_list_fini(&list);
	assert_int_equal(list.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gaps_text_is_read_as_it_was_written),
		cmocka_unit_test(test_gaps_text_of_another_kind_is_refused),
		cmocka_unit_test(test_gaps_sentence_names_first_and_last_offset),
		cmocka_unit_test(test_gaps_list_keeps_what_was_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
