/*
 * Capture intervals: union, gaps, overlaps.
 */
#include "collector/audit_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_audit_time_union_counts_shared_time_once(void **state)
{
	struct audit_span spans[] = { { 50, 60 }, { 0, 10 }, { 5, 20 }, { 7, 9 }, { 30, 30 } };

	(void)state;
	audit_time_sort(spans, 5);
	assert_int_equal(spans[0].from_ns, 0);
	assert_int_equal(spans[4].from_ns, 50);

	assert_int_equal(audit_time_union(spans, 5), 30);
	assert_int_equal(audit_time_union(spans, 0), 0);
}

static void test_audit_time_contiguous_has_no_joint(void **state)
{
	const struct audit_span spans[] = { { 0, 10 }, { 10, 10 }, { 10, 20 }, { 20, 30 } };
	struct audit_walk walk = { 0 };
	struct audit_span out;

	(void)state;
	assert_int_equal(audit_time_next(spans, 4, &walk, &out), JOINT_END);
	assert_int_equal(audit_time_next(spans, 4, &walk, &out), JOINT_END);
}

static void test_audit_time_gap_and_overlap_in_order(void **state)
{
	/* the empty one at 15 bridges nothing */
	const struct audit_span spans[] = { { 0, 10 }, { 15, 15 }, { 20, 40 }, { 30, 50 },
		{ 35, 36 }, { 51, 60 } };
	struct audit_walk walk = { 0 };
	struct audit_span out;

	(void)state;
	assert_int_equal(audit_time_next(spans, 6, &walk, &out), JOINT_GAP);
	assert_int_equal(out.from_ns, 10);
	assert_int_equal(out.to_ns, 20);
	assert_int_equal(audit_time_next(spans, 6, &walk, &out), JOINT_OVERLAP);
	assert_int_equal(out.from_ns, 30);
	assert_int_equal(out.to_ns, 40);
	assert_int_equal(audit_time_next(spans, 6, &walk, &out), JOINT_OVERLAP);
	assert_int_equal(out.from_ns, 35);
	assert_int_equal(out.to_ns, 36);
	assert_int_equal(audit_time_next(spans, 6, &walk, &out), JOINT_GAP);
	assert_int_equal(out.from_ns, 50);
	assert_int_equal(out.to_ns, 51);
	assert_int_equal(audit_time_next(spans, 6, &walk, &out), JOINT_END);
}

static void test_audit_time_covers_whole_spans_only(void **state)
{
	const struct audit_span cover = { 10, 20 }, same = { 10, 20 }, inside = { 12, 13 },
				early = { 9, 20 }, late = { 10, 21 };

	(void)state;
	assert_true(audit_time_covers(&cover, &same));
	assert_true(audit_time_covers(&cover, &inside));
	assert_false(audit_time_covers(&cover, &early));
	assert_false(audit_time_covers(&cover, &late));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_audit_time_union_counts_shared_time_once),
		cmocka_unit_test(test_audit_time_contiguous_has_no_joint),
		cmocka_unit_test(test_audit_time_gap_and_overlap_in_order),
		cmocka_unit_test(test_audit_time_covers_whole_spans_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
