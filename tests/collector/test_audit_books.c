/*
 * The books of an audit: what balances, what does not, and what is only not there yet.
 */
#include "collector/audit_books.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define PARTITIONS 2
#define MINUTE_NS  INT64_C(60000000000)
#define FIRST	   INT64_C(1000) /* minute */

/* A log of two partitions, fed entry by entry. */
struct log {
	struct audit_findings findings;
	struct audit_books books;
	struct origin origin;
	int64_t offsets[PARTITIONS];
	int64_t append_ms;
	struct marker_record marker; /* of the next entry; PARTITIONS copies are sent */
};

static void start(struct log *log, const char *timeline)
{
	*log = (struct log){ .origin = { .sensor = "site1" }, .append_ms = 5000 };
	snprintf(log->origin.timeline, sizeof(log->origin.timeline), "%s", timeline);
	assert_int_equal(
		audit_books_init(&log->books, PARTITIONS, INT64_MIN, INT64_MAX, &log->findings), 0);
	for (int p = 0; p < PARTITIONS; p++)
		log->books.partitions[p].applied = log->books.partitions[p].worked = INT64_MAX;
}

static int setup(void **state)
{
	static struct log log;

	start(&log, TIMELINE_LIVE);
	*state = &log;
	return 0;
}

static int teardown(void **state)
{
	struct log *log = *state;

	audit_books_fini(&log->books);
	return 0;
}

static struct audit_place next_place(struct log *log, uint32_t partition)
{
	return (struct audit_place){ partition, log->offsets[partition]++, log->append_ms };
}

static void send_flow(struct log *log, uint32_t partition, int64_t minute, int64_t packets)
{
	struct audit_place place = next_place(log, partition);
	struct flow_record flow = flow_defaults();

	flow.window_ms = minute * WINDOW_MS;
	flow.packets = packets;
	flow.bytes = packets * 60;
	audit_books_flow(&log->books, &place, &log->origin, &flow);
}

static void send_enriched(struct log *log, int64_t minute, int64_t packets)
{
	audit_books_enriched(&log->books, &log->origin, minute * WINDOW_MS, packets, packets * 60);
}

static void send_marker(struct log *log, uint32_t partition, int64_t flows, int64_t packets)
{
	struct audit_place place = next_place(log, partition);

	log->marker.partition = (int32_t)partition;
	log->marker.flows = flows;
	log->marker.packets = packets;
	audit_books_marker(&log->books, &place, &log->origin, &log->marker);
}

/* An entry whose minute was captured in full: 3 packets in partition 0, 4 in 1, one frame not IP. */
static void begin_entry(struct log *log, int64_t entry, int64_t minute)
{
	log->marker = marker_defaults();
	log->marker.entry = entry;
	log->marker.minute_ms = minute * WINDOW_MS;
	log->marker.interval_from_ns = minute * MINUTE_NS;
	log->marker.interval_to_ns = (minute + 1) * MINUTE_NS;
	log->marker.frames = 8;
	log->marker.non_ip = 1;
	log->marker.counted = 7;
	log->marker.wire_bytes = 420;
	send_flow(log, 0, minute, 3);
	send_flow(log, 1, minute, 4);
	send_enriched(log, minute, 3);
	send_enriched(log, minute, 4);
}

static void end_entry(struct log *log)
{
	send_marker(log, 0, 1, 3);
	send_marker(log, 1, 1, 4);
	audit_books_sensors(&log->books, &log->origin, &log->marker);
}

static void send_entry(struct log *log, int64_t entry, int64_t minute)
{
	begin_entry(log, entry, minute);
	end_entry(log);
}

static void judge(struct log *log)
{
	audit_books_set_targets(&log->books);
	audit_books_judge(&log->books);
	assert_false(log->books.is_out_of_memory);
}

static void assert_finds(
	const struct log *log, const char *what, int64_t minute, int64_t expected, int64_t found)
{
	for (size_t i = 0; i < log->findings.count; i++) {
		const struct audit_finding *finding = &log->findings.items[i];

		if (strcmp(finding->what, what) != 0)
			continue;
		assert_string_equal(finding->sensor, "site1");
		if (minute >= 0)
			assert_int_equal(finding->minute_ms, minute * WINDOW_MS);
		assert_int_equal(finding->expected, expected);
		assert_int_equal(finding->found, found);
		return;
	}
	fail_msg("no finding \"%s\", but %zu others", what, log->findings.count);
}

static void test_audit_books_clean_log_balances(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	send_entry(log, 1, FIRST + 1);
	judge(log);

	assert_int_equal(log->findings.total, 0);
	assert_int_equal(log->books.minute_count, 2);
	assert_int_equal(log->books.minutes[0].log.packets, 7);
	assert_int_equal(log->books.minutes[0].applied.packets, 7);
	assert_int_equal(audit_books_observed_ns(&log->books, 0), 2 * MINUTE_NS);
}

static void test_audit_books_frames_that_do_not_add_up_are_found(void **state)
{
	struct log *log = *state;

	begin_entry(log, 0, FIRST);
	log->marker.not_dark = 2;
	end_entry(log);
	judge(log);

	assert_int_equal(log->findings.total, 1);
	assert_finds(
		log, "frames = non_ip + malformed + not_dark + counted, entry 0", FIRST, 10, 8);
}

static void test_audit_books_doubled_flows_are_found(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	send_flow(log, 1, FIRST, 4); /* once more, behind the marker */
	judge(log);

	assert_finds(log, "counted: packets in flows.v1", FIRST, 7, 11);
	assert_finds(log, "wire_bytes in flows.v1", FIRST, 420, 660);
	assert_finds(
		log, "flow records behind the last marker in flows.v1 partition 1", FIRST, 0, 1);
}

static void test_audit_books_lost_flow_is_found_by_its_marker(void **state)
{
	struct log *log = *state;

	begin_entry(log, 0, FIRST);
	send_marker(log, 0, 2, 5);
	send_marker(log, 1, 1, 4);
	audit_books_sensors(&log->books, &log->origin, &log->marker);
	judge(log);

	assert_int_equal(log->findings.total, 2);
	assert_finds(log, "flow records in flows.v1 partition 0, entry 0", FIRST, 2, 1);
	assert_finds(log, "packets in flows.v1 partition 0, entry 0", FIRST, 5, 3);
}

static void test_audit_books_missing_entry_is_found_in_each_source(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	send_entry(log, 2, FIRST + 1);
	judge(log);

	assert_int_equal(log->findings.total, PARTITIONS + 1);
	assert_finds(
		log, "entry number, entries are missing in flows.v1 partition 1", FIRST + 1, 1, 2);
	assert_finds(log, "entry number, entries are missing in sensors.v1", FIRST + 1, 1, 2);
}

static void test_audit_books_entry_again_is_found(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	send_marker(log, 1, 0, 0);
	judge(log);

	assert_finds(log, "entry number that comes again in flows.v1 partition 1", FIRST, 1, 0);
}

static void test_audit_books_first_entry_is_zero_unless_log_was_cut_or_counted_anew(void **state)
{
	struct log *log = *state;

	send_entry(log, 3, FIRST);
	judge(log);
	assert_finds(log, "first entry number in flows.v1 partition 0", -1, 0, 3);
	audit_books_fini(&log->books);

	start(log, "replay.again1");
	send_entry(log, 3, FIRST);
	judge(log);
	assert_int_equal(log->findings.total, 0);
	audit_books_fini(&log->books);

	start(log, TIMELINE_LIVE);
	log->books.partitions[0].low = log->books.partitions[1].low = 10;
	log->books.sensors_are_cut = true;
	send_entry(log, 3, FIRST);
	judge(log);
	assert_int_equal(log->findings.total, 0);
}

static void test_audit_books_entry_that_one_partition_lacks_is_found_or_pending(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	audit_books_set_targets(&log->books);
	assert_true(audit_books_settled(&log->books));
	begin_entry(log, 1, FIRST + 1);
	send_marker(log, 0, 1, 3);
	audit_books_judge(&log->books); /* came in after the targets were set: pending */

	assert_int_equal(log->findings.total, 0);
	assert_true(log->books.minutes[1].is_pending);
	assert_false(audit_books_is_held(&log->books, &log->books.minutes[1]));
	audit_books_fini(&log->books);

	start(log, TIMELINE_LIVE);
	send_entry(log, 0, FIRST);
	begin_entry(log, 1, FIRST + 1);
	send_marker(log, 0, 1, 3);
	audit_books_set_targets(&log->books);
	assert_false(audit_books_settled(&log->books));
	audit_books_judge(&log->books); /* should have come */

	assert_finds(log, "last entry number in flows.v1 partition 1", -1, 1, 0);
	assert_finds(log, "last entry number in sensors.v1", -1, 1, 0);
}

static void test_audit_books_cut_minute_is_not_compared(void **state)
{
	struct log *log = *state;

	log->books.partitions[0].low = log->books.partitions[1].low = 7;
	log->books.sensors_are_cut = true;
	begin_entry(log, 5, FIRST);
	log->books.minutes[0].enriched = (struct audit_sums){ 99, 99, 99 };
	send_marker(log, 0, 4, 30); /* three flows are older than the log */
	send_marker(log, 1, 1, 4);
	audit_books_sensors(&log->books, &log->origin, &log->marker);
	send_entry(log, 6, FIRST + 1);
	judge(log);

	assert_int_equal(log->findings.total, 0);
	assert_int_equal(log->books.series[0].held_from, 6);
	assert_false(audit_books_is_held(&log->books, &log->books.minutes[0]));
	assert_true(audit_books_is_held(&log->books, &log->books.minutes[1]));
}

static void test_audit_books_enriched_up_to_its_position(void **state)
{
	struct log *log = *state;

	log->books.partitions[1].worked = 0; /* the view has not come to partition 1 */
	send_entry(log, 0, FIRST);
	log->books.minutes[0].enriched = (struct audit_sums){ 1, 3, 180 };
	judge(log);

	assert_int_equal(log->findings.total, 0);
	assert_int_equal(log->books.enrich_lag.sums.packets, 4);
	assert_int_equal(log->books.enrich_lag.since_ms, 5000);
	assert_int_equal(log->books.count_lag.sums.flows, 0);
}

static void test_audit_books_enriched_beyond_its_position_is_found(void **state)
{
	struct log *log = *state;

	log->books.partitions[1].worked = 0;
	send_entry(log, 0, FIRST); /* enriched holds both flows */
	judge(log);

	assert_int_equal(log->findings.total, 3);
	assert_finds(log, "packets in enriched.v1", FIRST, 3, 7);
}

static void test_audit_books_moving_enriched_is_bounded(void **state)
{
	struct log *log = *state;

	log->books.partitions[1].worked = 0;
	log->books.enriched_is_exact = false; /* the view moved: 3 to 7 packets may be there */
	send_entry(log, 0, FIRST);
	judge(log);
	assert_int_equal(log->findings.total, 0);
	audit_books_fini(&log->books);

	start(log, TIMELINE_LIVE);
	log->books.partitions[1].worked = 0;
	log->books.enriched_is_exact = false;
	send_entry(log, 0, FIRST);
	send_enriched(log, FIRST, 1);
	judge(log);
	assert_int_equal(log->findings.total, 1);
	assert_finds(log, "packets in enriched.v1", FIRST, 7, 8);
}

static void test_audit_books_enriched_of_nobody_is_found(void **state)
{
	struct log *log = *state;

	send_enriched(log, FIRST, 2);
	judge(log);

	assert_finds(log, "packets in enriched.v1", FIRST, 0, 2);
}

static void test_audit_books_old_enriched_records_are_not_compared(void **state)
{
	struct log *log = *state;

	log->books.partitions[0].enriched_since_ms = 5000; /* the flows came at 5000 */
	send_entry(log, 0, FIRST);
	log->books.minutes[0].enriched = (struct audit_sums){ 1, 4, 240 };
	judge(log);

	assert_int_equal(log->findings.total, 0);
}

static void test_audit_books_sensors_that_differ_are_found(void **state)
{
	struct log *log = *state;

	begin_entry(log, 0, FIRST);
	send_marker(log, 0, 1, 3);
	send_marker(log, 1, 1, 4);
	log->marker.kernel_drops = 6;
	audit_books_sensors(&log->books, &log->origin, &log->marker);
	begin_entry(log, 1, FIRST + 1);
	send_marker(log, 0, 1, 3);
	send_marker(log, 1, 1, 4);
	log->marker.interval_to_ns -= 1;
	audit_books_sensors(&log->books, &log->origin, &log->marker);
	judge(log);

	assert_int_equal(log->findings.total, 2);
	assert_finds(log, "kernel_drops in sensors.v1", FIRST, 0, 6);
	assert_finds(log, "ledgers in sensors.v1 differ in entry, part, boot, times or addresses",
		FIRST + 1, 0, 1);
}

static void test_audit_books_markers_that_differ_are_found(void **state)
{
	struct log *log = *state;

	begin_entry(log, 0, FIRST);
	send_marker(log, 0, 1, 3);
	log->marker.not_dark = 1;
	send_marker(log, 1, 1, 4);
	log->marker.not_dark = 0;
	audit_books_sensors(&log->books, &log->origin, &log->marker);
	judge(log);

	assert_int_equal(log->findings.total, 1);
	assert_finds(log, "markers of the other partitions state another ledger than partition 0's",
		FIRST, 0, 1);
}

static void keep_kind(void *context, const struct audit_span *gap, enum audit_gap_kind kind)
{
	(void)gap;
	*(enum audit_gap_kind *)context = kind;
}

static enum audit_gap_kind gap_of(const struct log *log)
{
	enum audit_gap_kind kind = (enum audit_gap_kind) - 1;

	audit_books_gaps(&log->books, 0, keep_kind, &kind);
	return kind;
}

static void test_audit_books_gap_that_nobody_names_is_found(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	send_entry(log, 1, FIRST + 3);
	judge(log);

	assert_int_equal(log->findings.total, 1);
	assert_finds(log, "ns between capture intervals that no ledger names", FIRST + 1, 0,
		2 * MINUTE_NS);
	assert_int_equal(gap_of(log), GAP_UNNAMED);
}

static void test_audit_books_gap_that_a_ledger_names_adds_up(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	begin_entry(log, 1, FIRST + 3);
	log->marker.gap_from_ns = (FIRST + 1) * MINUTE_NS;
	log->marker.gap_to_ns = (FIRST + 3) * MINUTE_NS;
	end_entry(log);
	judge(log);

	assert_int_equal(log->findings.total, 0);
	assert_int_equal(gap_of(log), GAP_NAMED);
}

static void test_audit_books_gap_named_too_short_is_found(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	begin_entry(log, 1, FIRST + 3);
	log->marker.gap_from_ns = (FIRST + 1) * MINUTE_NS + 1;
	log->marker.gap_to_ns = (FIRST + 3) * MINUTE_NS;
	end_entry(log);
	judge(log);

	assert_int_equal(log->findings.total, 1);
	assert_int_equal(gap_of(log), GAP_UNNAMED);
}

static void test_audit_books_gap_of_lost_entries_adds_up(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	begin_entry(log, 1, FIRST + 2);
	log->marker.lost_entries = 1;
	log->marker.lost_packets = 12;
	end_entry(log);
	judge(log);

	assert_int_equal(log->findings.total, 0);
	assert_int_equal(gap_of(log), GAP_LOST);
}

static void test_audit_books_empty_minutes_of_a_replay_add_up(void **state)
{
	struct log *log = *state;

	snprintf(log->origin.timeline, sizeof(log->origin.timeline), "replay");
	send_entry(log, 0, FIRST);
	send_entry(log, 1, FIRST + 3);
	judge(log);
	assert_int_equal(log->findings.total, 0);
	assert_int_equal(gap_of(log), GAP_SILENT);
	audit_books_fini(&log->books);

	start(log, "replay");
	send_entry(log, 0, FIRST);
	begin_entry(log, 1, FIRST + 1);
	log->marker.interval_from_ns += 5; /* not whole minutes */
	end_entry(log);
	judge(log);
	assert_int_equal(log->findings.total, 1);
}

static void test_audit_books_overlap_is_found_within_a_timeline_only(void **state)
{
	struct log *log = *state;

	send_entry(log, 0, FIRST);
	begin_entry(log, 1, FIRST + 1);
	log->marker.interval_from_ns -= 9;
	end_entry(log);
	judge(log);
	assert_int_equal(log->findings.total, 1);
	assert_finds(log, "ns that capture intervals of one boot share", FIRST, 0, 9);
	audit_books_fini(&log->books);

	start(log, "one");
	send_entry(log, 0, FIRST);
	snprintf(log->origin.timeline, sizeof(log->origin.timeline), "two");
	send_entry(log, 0, FIRST);
	judge(log);
	assert_int_equal(log->findings.total, 0);
	assert_int_equal(log->books.series_count, 2);
}

static void keep_step(void *context, const struct audit_span *span)
{
	*(struct audit_span *)context = *span;
}

/* The same minute twice: once before the clock was set back by one, and once after it. */
static void test_audit_books_clock_that_was_set_back_adds_up_and_is_named(void **state)
{
	struct log *log = *state;
	struct audit_span step = { 0 };

	log->origin.boot = FIRST * WINDOW_MS - 1;
	send_entry(log, 0, FIRST);
	log->origin.boot++;
	begin_entry(log, 1, FIRST);
	log->marker.interval_from_ns -= 5; /* a boot's number is used once */
	end_entry(log);
	judge(log);
	audit_books_clock_steps(&log->books, 0, keep_step, &step);

	assert_int_equal(log->findings.total, 0);
	assert_int_equal(step.from_ns, FIRST * MINUTE_NS);
	assert_int_equal(step.to_ns, (FIRST + 1) * MINUTE_NS);
}

static void test_audit_books_two_sensors_at_once_are_found(void **state)
{
	struct log *log = *state;
	struct audit_span step = { 0 };

	log->append_ms = (FIRST + 1) * WINDOW_MS + 6000;
	log->origin.boot = (FIRST - 5) * WINDOW_MS;
	send_entry(log, 0, FIRST);
	log->origin.boot = FIRST * WINDOW_MS;
	send_entry(log, 1, FIRST);
	judge(log);
	audit_books_clock_steps(&log->books, 0, keep_step, &step);

	assert_int_equal(log->findings.total, 1);
	assert_finds(log,
		"ns that capture intervals share: two sensors of this name captured at once", FIRST,
		0, MINUTE_NS);
	assert_int_equal(step.to_ns, 0);
}

static void test_audit_books_minutes_outside_are_followed_but_not_judged(void **state)
{
	struct log *log = *state;

	log->books.from_ms = (FIRST + 1) * WINDOW_MS;
	begin_entry(log, 0, FIRST);
	log->marker.counted = 99;
	end_entry(log);
	send_entry(log, 1, FIRST + 1);
	judge(log);

	assert_int_equal(log->findings.total, 0);
	assert_int_equal(log->books.minute_count, 1);
}

static void test_audit_findings_beyond_the_shown_are_counted(void **state)
{
	struct log *log = *state;
	struct audit_subject subject = { "site1", NULL, 0 };

	for (int i = 0; i < FINDINGS_SHOWN + 5; i++)
		assert_false(audit_finding_unless_equal(
			&log->findings, &subject, i, i + 1, "number %d", i));
	assert_true(audit_finding_unless_equal(&log->findings, &subject, 1, 1, "equal"));

	assert_int_equal(log->findings.total, FINDINGS_SHOWN + 5);
	assert_int_equal(log->findings.count, FINDINGS_SHOWN);
	assert_string_equal(log->findings.items[7].what, "number 7");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_audit_books_clean_log_balances),
		TEST(test_audit_books_frames_that_do_not_add_up_are_found),
		TEST(test_audit_books_doubled_flows_are_found),
		TEST(test_audit_books_lost_flow_is_found_by_its_marker),
		TEST(test_audit_books_missing_entry_is_found_in_each_source),
		TEST(test_audit_books_entry_again_is_found),
		TEST(test_audit_books_first_entry_is_zero_unless_log_was_cut_or_counted_anew),
		TEST(test_audit_books_entry_that_one_partition_lacks_is_found_or_pending),
		TEST(test_audit_books_cut_minute_is_not_compared),
		TEST(test_audit_books_enriched_up_to_its_position),
		TEST(test_audit_books_enriched_beyond_its_position_is_found),
		TEST(test_audit_books_moving_enriched_is_bounded),
		TEST(test_audit_books_enriched_of_nobody_is_found),
		TEST(test_audit_books_old_enriched_records_are_not_compared),
		TEST(test_audit_books_sensors_that_differ_are_found),
		TEST(test_audit_books_markers_that_differ_are_found),
		TEST(test_audit_books_gap_that_nobody_names_is_found),
		TEST(test_audit_books_gap_that_a_ledger_names_adds_up),
		TEST(test_audit_books_gap_named_too_short_is_found),
		TEST(test_audit_books_gap_of_lost_entries_adds_up),
		TEST(test_audit_books_empty_minutes_of_a_replay_add_up),
		TEST(test_audit_books_overlap_is_found_within_a_timeline_only),
		TEST(test_audit_books_clock_that_was_set_back_adds_up_and_is_named),
		TEST(test_audit_books_two_sensors_at_once_are_found),
		TEST(test_audit_books_minutes_outside_are_followed_but_not_judged),
		TEST(test_audit_findings_beyond_the_shown_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
