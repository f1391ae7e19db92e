/*
 * Windows and their books.
 */
#include "sensor/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static struct darknet *darknet; /* of two ranges */

static struct window *make(uint64_t minute)
{
	static struct flow_budget shards[4];
	static struct flow_budgets budgets = { .shards = 4, .shard = shards };
	struct window *window = NULL;

	assert_int_equal(window_create(&window, minute, &budgets, darknet, NULL), 0);
	return window;
}

static struct address address_of(uint32_t number)
{
	struct address address = { .size = 4 };

	store_u32(address.bytes, number);
	return address;
}

static void test_window_set_is_ascending_by_minute(void **state)
{
	static const uint64_t minutes[] = { 50, 10, 90, 30, 70, 20, 100, 40, 80, 60, 15, 25, 35, 45,
		55, 65 };
	struct window_set set = { 0 };
	uint64_t before = 0;

	(void)state;
	assert_int_equal(sizeof(minutes) / sizeof(minutes[0]), WINDOWS_MAX);
	for (size_t i = 0; i < WINDOWS_MAX; i++)
		window_set_insert(&set, make(minutes[i]));

	for (size_t i = 0; i < WINDOWS_MAX; i++)
		assert_int_equal(window_set_find(&set, minutes[i])->minute, minutes[i]);
	assert_null(window_set_find(&set, 11));
	assert_null(window_set_take(&set, 9));
	for (size_t i = 0; i < WINDOWS_MAX; i++) {
		struct window *oldest = window_set_take(&set, UINT64_MAX);

		assert_true(oldest->minute > before);
		before = oldest->minute;
		window_destroy(oldest);
	}
	assert_null(window_set_take(&set, UINT64_MAX));
}

static void test_window_set_gives_what_is_old_enough(void **state)
{
	struct window_set set = { 0 };
	struct window *taken;

	(void)state;
	window_set_insert(&set, make(11));
	window_set_insert(&set, make(10));

	taken = window_set_take(&set, 10);
	assert_int_equal(taken->minute, 10);
	window_destroy(taken);
	assert_null(window_set_take(&set, 10));
	taken = window_set_take(&set, 11);
	assert_int_equal(taken->minute, 11);
	window_destroy(taken);
}

static void test_window_ledgers_add_up(void **state)
{
	struct window *a = make(1), *b = make(1);

	(void)state;
	assert_int_equal(a->ledger.first_ns, UINT64_MAX);
	ledger_add(&a->ledger, &b->ledger); /* nothing and nothing */
	assert_int_equal(a->ledger.first_ns, UINT64_MAX);
	assert_int_equal(a->ledger.last_ns, 0);
	b->ledger.frames = 100;
	b->ledger.non_ip = 1;
	b->ledger.malformed[PACKET_IP_VERSION] = 2;
	b->ledger.malformed[PACKET_TOTAL_LENGTH] = 3;
	b->ledger.not_dark = 4;
	b->ledger.counted = 90;
	b->ledger.wire_bytes = 5400;
	b->ledger.first_ns = 50;
	b->ledger.last_ns = 60;
	b->ledger.kernel_drops = 7;
	b->ledger.interface_drops = 8;
	b->ledger.misdated = 9;
	b->ledger.range_packets[1] = 90;

	ledger_add(&a->ledger, &b->ledger);
	b->ledger.first_ns = 40;
	b->ledger.last_ns = 45;
	ledger_add(&a->ledger, &b->ledger);

	assert_int_equal(a->ledger.frames, 200);
	assert_int_equal(a->ledger.non_ip, 2);
	assert_int_equal(ledger_malformed(&a->ledger), 10);
	assert_int_equal(a->ledger.malformed[PACKET_TOTAL_LENGTH], 6);
	assert_int_equal(a->ledger.not_dark, 8);
	assert_int_equal(a->ledger.counted, 180);
	assert_int_equal(a->ledger.wire_bytes, 10800);
	assert_int_equal(a->ledger.first_ns, 40);
	assert_int_equal(a->ledger.last_ns, 60);
	assert_int_equal(a->ledger.kernel_drops, 14);
	assert_int_equal(a->ledger.interface_drops, 16);
	assert_int_equal(a->ledger.misdated, 18);
	assert_int_equal(a->ledger.range_packets[0], 0);
	assert_int_equal(a->ledger.range_packets[1], 180);
	window_destroy(a);
	window_destroy(b);
}

/* Beyond the named ones senders are counted without their names. */
static void test_window_dark_senders_are_named_up_to_a_limit_and_all_counted(void **state)
{
	struct window *a = make(1), *b = make(1);
	uint64_t named = 0;

	(void)state;
	for (uint32_t i = 0; i < SENDERS_MAX + 10u; i++) {
		struct address address = address_of(i);

		ledger_add_sender(&a->ledger, &address, 1);
		ledger_add_sender(&a->ledger, &address, 2);
		address = address_of(i + 40);
		ledger_add_sender(&b->ledger, &address, 5);
	}
	assert_int_equal(a->ledger.sender_count, SENDERS_MAX);
	assert_int_equal(a->ledger.sender_packets, 3 * (SENDERS_MAX + 10));

	ledger_add(&a->ledger, &b->ledger);

	assert_int_equal(a->ledger.sender_count, SENDERS_MAX);
	assert_int_equal(a->ledger.sender_packets, 8 * (SENDERS_MAX + 10));
	for (size_t i = 0; i < SENDERS_MAX; i++) {
		assert_int_equal(a->ledger.senders[i].packets, i < 40 ? 3 : 8);
		named += a->ledger.senders[i].packets;
	}
	assert_true(named < a->ledger.sender_packets);
	window_destroy(a);
	window_destroy(b);
}

static int make_darknet(void **state)
{
	struct message msg;

	(void)state;
	return darknet_create(
		&darknet, (const char *const[]){ "198.51.100.0/24", "203.0.113.0/24" }, 2, &msg);
}

static int destroy_darknet(void **state)
{
	(void)state;
	darknet_destroy(darknet);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window_set_is_ascending_by_minute),
		cmocka_unit_test(test_window_set_gives_what_is_old_enough),
		cmocka_unit_test(test_window_ledgers_add_up),
		cmocka_unit_test(test_window_dark_senders_are_named_up_to_a_limit_and_all_counted),
	};

	return cmocka_run_group_tests(tests, make_darknet, destroy_darknet);
}
