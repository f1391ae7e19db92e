/*
 * A report's rows: order, rankings, series, and how they are written.
 */
#include "collector/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define HOUR_S 1767571200 /* 2026-01-05 00:00 UTC */

static const struct report_query everything = {
	.from_s = INT64_MIN,
	.to_s = INT64_MAX,
	.by = DIM_COUNT,
	.per = PERIOD_COUNT,
	.top = 2,
	.base = "all",
};

static void add(struct report *report, int64_t bucket_s, enum dimension dimension, unsigned role,
	const char *label, uint64_t packets)
{
	struct report_row *row = report_row(report, bucket_s, dimension, role, label);

	assert_non_null(row);
	row->packets = packets;
	row->bytes = packets * 60;
}

static void test_report_rows_of_ranks_by_packets_then_label(void **state)
{
	const struct report_row *rows[4];
	struct report report;

	(void)state;
	report_init(&report, &everything);
	add(&report, REPORT_ALL_BUCKETS, DIM_TOOL, 0, "zmap", 5);
	add(&report, REPORT_ALL_BUCKETS, DIM_TOOL, 0, "mirai", 5);
	add(&report, REPORT_ALL_BUCKETS, DIM_TOOL, 0, "none", 70);
	add(&report, HOUR_S, DIM_TOOL, 0, "nmap", 90);
	add(&report, REPORT_ALL_BUCKETS, DIM_CLASS, 0, "scan.tcp_syn", 80);
	report_sort(&report);

	assert_int_equal(
		report_rows_of(&report, DIM_TOOL, ROLE_COUNT, REPORT_ALL_BUCKETS, rows, 4), 3);
	assert_string_equal(rows[0]->label, "none");
	assert_string_equal(rows[1]->label, "mirai");
	assert_string_equal(rows[2]->label, "zmap");
	report_fini(&report);
}

static void test_report_rows_of_services_keeps_roles_apart(void **state)
{
	const struct report_row *rows[4];
	struct report report;

	(void)state;
	report_init(&report, &everything);
	add(&report, REPORT_ALL_BUCKETS, DIM_SERVICE, ROLE_PROBE, "tcp/80", 5);
	add(&report, REPORT_ALL_BUCKETS, DIM_SERVICE, ROLE_BACKSCATTER, "tcp/80", 9);
	report_sort(&report);

	assert_int_equal(
		report_rows_of(&report, DIM_SERVICE, ROLE_BACKSCATTER, REPORT_ALL_BUCKETS, rows, 4),
		1);
	assert_int_equal(rows[0]->packets, 9);
	assert_int_equal(
		report_rows_of(&report, DIM_SERVICE, ROLE_COUNT, REPORT_ALL_BUCKETS, rows, 4), 2);
	report_fini(&report);
}

static void test_report_applied_is_the_total_of_all_time(void **state)
{
	struct report report;

	(void)state;
	report_init(&report, &everything);
	assert_int_equal(report_applied(&report), 0);
	add(&report, HOUR_S, DIM_TOTAL, 0, "total", 3);
	add(&report, REPORT_ALL_BUCKETS, DIM_TOTAL, 0, "total", 10);
	report_sort(&report);
	assert_int_equal(report_applied(&report), 10);
	report_fini(&report);
}

static void test_report_select_takes_the_top(void **state)
{
	struct report_query query = everything;
	struct report_selection selection;
	struct report report;

	(void)state;
	query.by = DIM_TOOL;
	report_init(&report, &query);
	add(&report, REPORT_ALL_BUCKETS, DIM_TOOL, 0, "zmap", 1);
	add(&report, REPORT_ALL_BUCKETS, DIM_TOOL, 0, "mirai", 2);
	add(&report, REPORT_ALL_BUCKETS, DIM_TOOL, 0, "none", 3);
	report_sort(&report);

	assert_int_equal(report_select(&report, &selection), 0);
	assert_int_equal(selection.count, 2);
	assert_string_equal(selection.rows[0].label, "none");
	assert_string_equal(selection.rows[1].label, "mirai");
	report_selection_fini(&selection);
	report_fini(&report);
}

static void test_report_select_fills_a_series_with_zeros(void **state)
{
	static const uint64_t wanted[] = { 4, 0, 6 };
	struct report_query query = everything;
	struct report_selection selection;
	struct report report;

	(void)state;
	query.per = PERIOD_HOUR;
	report_init(&report, &query);
	add(&report, REPORT_ALL_BUCKETS, DIM_TOTAL, 0, "total", 10);
	add(&report, HOUR_S + 7200, DIM_TOTAL, 0, "total", 6);
	add(&report, HOUR_S, DIM_TOTAL, 0, "total", 4);
	report_sort(&report);

	assert_int_equal(report_select(&report, &selection), 0);
	assert_int_equal(selection.count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(selection.rows[i].bucket_s, HOUR_S + 3600 * (int64_t)i);
		assert_int_equal(selection.rows[i].packets, wanted[i]);
	}
	report_selection_fini(&selection);
	report_fini(&report);
}

static void test_report_select_of_nothing_is_a_total_of_zero(void **state)
{
	struct report_selection selection;
	struct report report;

	(void)state;
	report_init(&report, &everything);
	assert_int_equal(report_select(&report, &selection), 0);
	assert_int_equal(selection.count, 1);
	assert_int_equal(selection.rows[0].packets, 0);
	report_selection_fini(&selection);
	report_fini(&report);
}

static void test_report_csv_quotes_what_needs_it(void **state)
{
	struct report_query query = everything;
	struct buffer out = { 0 };
	struct report report;

	(void)state;
	query.by = DIM_SENSOR;
	report_init(&report, &query);
	add(&report, REPORT_ALL_BUCKETS, DIM_SENSOR, 0, "a \"site\", ours", 7);
	report_csv(&report, &out);
	buffer_u8(&out, '\0');

	assert_false(out.failed);
	assert_non_null(strstr(
		(const char *)out.data, "\r\n,sensor,,\"a \"\"site\"\", ours\",,7,420,\r\n"));
	buffer_fini(&out);
	report_fini(&report);
}

static void test_report_gap_is_kept_in_order(void **state)
{
	struct report report;

	(void)state;
	report_init(&report, &everything);
	report_gap(&report, "one");
	report_gap(&report, "two");
	assert_int_equal(report.gap_count, 2);
	assert_string_equal(report.gaps[1], "two");
	report_fini(&report);
}

/* A gap travels with the figures in each form. */
static void test_report_gap_is_in_every_form(void **state)
{
	static void (*const forms[])(const struct report *report,
		struct buffer *out) = { report_json, report_csv, report_table };
	static const char sentence[] = "not counted: offsets 5 to 8 of partition 1, which the "
				       "topic no longer held";
	static const enum dimension questions[] = { DIM_COUNT, DIM_TOOL };
	struct gap gap = { 1, 5, 9 };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct report_query query = everything;
		struct buffer out = { 0 };
		struct report report;

		query.by = questions[i % 2];
		report_init(&report, &query);
		report_gap(&report, sentence);
		gap_list_add(&report.count_gaps, &gap);
		forms[i / 2](&report, &out);
		buffer_u8(&out, '\0');
		assert_false(out.failed);
		assert_non_null(strstr((const char *)out.data, sentence));
		if (forms[i / 2] == report_json)
			assert_non_null(strstr((const char *)out.data,
				"\"count_gaps\":[{\"partition\":1,\"from_offset\":5,"
				"\"to_offset\":9}]"));
		buffer_fini(&out);
		report_fini(&report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report_rows_of_ranks_by_packets_then_label),
		cmocka_unit_test(test_report_rows_of_services_keeps_roles_apart),
		cmocka_unit_test(test_report_applied_is_the_total_of_all_time),
		cmocka_unit_test(test_report_select_takes_the_top),
		cmocka_unit_test(test_report_select_fills_a_series_with_zeros),
		cmocka_unit_test(test_report_select_of_nothing_is_a_total_of_zero),
		cmocka_unit_test(test_report_csv_quotes_what_needs_it),
		cmocka_unit_test(test_report_gap_is_kept_in_order),
		cmocka_unit_test(test_report_gap_is_in_every_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
