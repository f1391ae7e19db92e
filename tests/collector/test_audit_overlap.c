/*
 * Two capture intervals of one sensor that share time, and why.
 */
#include "collector/audit_overlap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define S_NS INT64_C(1000000000)
#define S_MS 1000

/* [from, to) in seconds, taken in by the broker so many seconds after its end. */
static struct audit_capture capture(
	int64_t entry, int64_t boot_s, int64_t from_s, int64_t to_s, int64_t delay_s)
{
	return (struct audit_capture){ { from_s * S_NS, to_s * S_NS }, boot_s * S_MS, entry,
		(to_s + delay_s) * S_MS };
}

static enum audit_overlap verdict(const struct audit_capture *two)
{
	enum audit_overlap found = audit_overlap_of(two, 2, &two[0], &two[1]);

	/* the order in which they are given does not matter */
	assert_int_equal(audit_overlap_of(two, 2, &two[1], &two[0]), found);
	return found;
}

static void test_audit_overlap_later_boot_that_began_before_is_the_clock(void **state)
{
	struct audit_capture two[] = { capture(4, 900, 1000, 1060, 6),
		capture(5, 850, 850, 1020, 6) };

	(void)state;
	assert_int_equal(verdict(two), OVERLAP_CLOCK);
}

static void test_audit_overlap_captured_before_its_boot_is_the_clock(void **state)
{
	struct audit_capture two[] = { capture(4, 900, 900, 960, 6),
		capture(5, 901, 890, 950, 76) };

	(void)state;
	assert_int_equal(verdict(two), OVERLAP_CLOCK);
}

static void test_audit_overlap_in_the_log_before_it_ended_is_the_clock(void **state)
{
	struct audit_capture two[] = { capture(4, 900, 1000, 1060, -50),
		capture(5, 1003, 1003, 1063, 6) };

	(void)state;
	assert_int_equal(verdict(two), OVERLAP_CLOCK);
}

static void test_audit_overlap_with_the_broker_agreeing_twice_is_two_sensors(void **state)
{
	struct audit_capture two[] = { capture(4, 900, 1000, 1060, 6),
		capture(5, 1010, 1010, 1060, 7) };

	(void)state;
	assert_int_equal(verdict(two), OVERLAP_TWO);
}

/* The later boot's ledgers are late by as much as the intervals share: a step, or a broker away. */
static void test_audit_overlap_with_late_ledgers_is_unsure(void **state)
{
	struct audit_capture two[] = { capture(4, 900, 1000, 1060, 6),
		capture(5, 1010, 1010, 1060, 56) };

	(void)state;
	assert_int_equal(verdict(two), OVERLAP_UNSURE);
}

static void test_audit_overlap_of_one_boot_is_neither(void **state)
{
	struct audit_capture two[] = { capture(4, 900, 1000, 1060, 6),
		capture(5, 900, 1010, 1060, 6) };

	(void)state;
	assert_int_equal(verdict(two), OVERLAP_SAME);
}

static void test_audit_overlap_sort_is_by_span_then_entry(void **state)
{
	struct audit_capture all[] = { capture(9, 1, 20, 30, 0), capture(8, 1, 10, 30, 0),
		capture(7, 1, 10, 30, 0), capture(6, 1, 10, 20, 0) };

	(void)state;
	audit_overlap_sort(all, 4);
	assert_int_equal(all[0].entry, 6);
	assert_int_equal(all[1].entry, 7);
	assert_int_equal(all[2].entry, 8);
	assert_int_equal(all[3].entry, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_audit_overlap_later_boot_that_began_before_is_the_clock),
		cmocka_unit_test(test_audit_overlap_captured_before_its_boot_is_the_clock),
		cmocka_unit_test(test_audit_overlap_in_the_log_before_it_ended_is_the_clock),
		cmocka_unit_test(test_audit_overlap_with_the_broker_agreeing_twice_is_two_sensors),
		cmocka_unit_test(test_audit_overlap_with_late_ledgers_is_unsure),
		cmocka_unit_test(test_audit_overlap_of_one_boot_is_neither),
		cmocka_unit_test(test_audit_overlap_sort_is_by_span_then_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
