/*
 * What nobody captured is named, once, and nothing else is.
 */
#include "sensor/entry_gap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define ENTRIES 6

struct interval {
	int64_t boot, from_ns, to_ns;
};

/* Chains entries of these intervals, lets them name their gaps, and looks at these. */
static void assert_gaps(struct capture_extent *extent, const struct interval intervals[],
	const int64_t gaps_from[], size_t count)
{
	struct entry entries[ENTRIES] = { 0 };

	for (size_t i = 0; i < count; i++) {
		entries[i].origin.boot = intervals[i].boot;
		entries[i].ledger = marker_defaults();
		entries[i].ledger.interval_from_ns = intervals[i].from_ns;
		entries[i].ledger.interval_to_ns = intervals[i].to_ns;
		entries[i].next = i + 1 < count ? &entries[i + 1] : NULL;
	}
	entry_name_gaps(entries, extent);
	for (size_t i = 0; i < count; i++) {
		const struct marker_record *ledger = &entries[i].ledger;

		if (gaps_from[i] == 0) {
			assert_int_equal(ledger->gap_from_ns, marker_defaults().gap_from_ns);
			assert_int_equal(ledger->gap_to_ns, marker_defaults().gap_to_ns);
		} else {
			assert_int_equal(ledger->gap_from_ns, gaps_from[i]);
			assert_int_equal(ledger->gap_to_ns, intervals[i].from_ns);
		}
	}
}

static void test_entry_gap_between_boots(void **state)
{
	struct capture_extent extent = { 0, 0 };

	(void)state;
	assert_gaps(&extent,
		(struct interval[]){ { 1, 10, 20 }, { 1, 20, 30 }, { 2, 35, 40 }, { 2, 40, 50 } },
		(int64_t[]){ 0, 0, 30, 0 }, 4);
	assert_int_equal(extent.boot, 2);
	assert_int_equal(extent.covered_ns, 50);
	assert_gaps(&extent, (struct interval[]){ { 3, 61, 70 } }, (int64_t[]){ 50 }, 1);
}

static void test_entry_gap_of_minutes_that_were_in_memory_only(void **state)
{
	struct capture_extent extent = { 1, 10 };

	(void)state;
	assert_gaps(&extent, (struct interval[]){ { 1, 10, 20 }, { 1, 40, 50 }, { 2, 50, 60 } },
		(int64_t[]){ 0, 20, 0 }, 3);
}

static void test_entry_gap_late_parts_have_no_interval(void **state)
{
	struct capture_extent extent = { 1, 30 };

	(void)state;
	assert_gaps(&extent, (struct interval[]){ { 1, 20, 20 }, { 1, 30, 40 }, { 1, 10, 10 } },
		(int64_t[]){ 0, 0, 0 }, 3);
	assert_int_equal(extent.covered_ns, 40);
}

static void test_entry_gap_after_the_clock_was_set_back(void **state)
{
	struct capture_extent extent = { 5, 1000 };

	(void)state;
	assert_gaps(&extent,
		(struct interval[]){ { 6, 400, 450 }, { 6, 450, 500 }, { 7, 520, 530 } },
		(int64_t[]){ 0, 0, 500 }, 3);
	assert_int_equal(extent.covered_ns, 530);
}

/* Parts of an older boot that come late: what was captured since then is not named again. */
static void test_entry_gap_older_boot_comes_late(void **state)
{
	struct capture_extent extent = { 5, 100 };

	(void)state;
	assert_gaps(&extent,
		(struct interval[]){ { 6, 120, 150 }, { 5, 100, 120 }, { 6, 150, 160 } },
		(int64_t[]){ 100, 0, 0 }, 3);
	assert_int_equal(extent.boot, 6);
	assert_int_equal(extent.covered_ns, 160);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_gap_between_boots),
		cmocka_unit_test(test_entry_gap_of_minutes_that_were_in_memory_only),
		cmocka_unit_test(test_entry_gap_late_parts_have_no_interval),
		cmocka_unit_test(test_entry_gap_after_the_clock_was_set_back),
		cmocka_unit_test(test_entry_gap_older_boot_comes_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
