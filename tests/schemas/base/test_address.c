/*
 * Addresses as text, and the partition of an actor, which is for ever.
 */
#include "schemas/base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct address parsed(const char *text)
{
	struct address address;

	assert_int_equal(address_parse(&address, text), 0);
	return address;
}

static void test_address_text_is_read_and_written_alike(void **state)
{
	static const char *const texts[] = { "0.0.0.0", "198.51.100.7", "255.255.255.255",
		"::", "::1", "2001:db8::7", "2001:db8:1:2:3:4:5:6",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:192.0.2.1" };
	char text[ADDRESS_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct address address = parsed(texts[i]);

		assert_string_equal(address_text(&address, text), texts[i]);
	}
	assert_string_equal(address_text(&(struct address){ 0 }, text), "");
}

static void test_address_that_is_none_is_refused_and_out_kept(void **state)
{
	static const char *const words[] = { "", "198.51.100", "198.51.100.256", "198.51.100.7/24",
		" 198.51.100.7", "198.51.100.7 ", "0198.51.100.7", "2001:db8::7::", "2001:db8",
		"fe80::1%eth0", "example" };
	struct address address = parsed("192.0.2.1");

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_int_equal(address_parse(&address, words[i]), FAIL_FORMAT);
	assert_int_equal(address.size, 4);
	assert_int_equal(address.bytes[0], 192);
}

static void test_address_partition_is_for_ever(void **state)
{
	static const struct {
		const char *text;
		uint32_t of_6, of_64;
	} rows[] = {
		{ "198.51.100.7", 4, 58 },
		{ "203.0.113.1", 0, 56 },
		{ "2001:db8::7", 3, 43 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address address = parsed(rows[i].text);

		assert_int_equal(address_partition(&address, 6), rows[i].of_6);
		assert_int_equal(address_partition(&address, 64), rows[i].of_64);
	}
}

static void test_address_neighbours_share_a_partition(void **state)
{
	static const char *const pairs[][2] = {
		{ "198.51.100.0", "198.51.100.255" },
		{ "2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff" },
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct address a = parsed(pairs[i][0]), b = parsed(pairs[i][1]);

		assert_int_equal(address_partition(&a, 1024), address_partition(&b, 1024));
	}
}

static void test_address_others_spread_over_all_partitions(void **state)
{
	unsigned seen[6] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 6000; i++) {
		struct address address = { 4, { 10, (uint8_t)(i >> 8), (uint8_t)i, 1 } };

		seen[address_partition(&address, 6)]++;
	}
	for (unsigned i = 0; i < 6; i++)
		assert_in_range(seen[i], 850, 1150);
}

static void test_address_none_lies_in_partition_0(void **state)
{
	struct address none = { 0 };

	(void)state;
	assert_int_equal(address_partition(&none, 6), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address_text_is_read_and_written_alike),
		cmocka_unit_test(test_address_that_is_none_is_refused_and_out_kept),
		cmocka_unit_test(test_address_partition_is_for_ever),
		cmocka_unit_test(test_address_neighbours_share_a_partition),
		cmocka_unit_test(test_address_others_spread_over_all_partitions),
		cmocka_unit_test(test_address_none_lies_in_partition_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
