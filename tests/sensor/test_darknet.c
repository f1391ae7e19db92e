/*
 * Dark ranges: which addresses are watched, how many, and what cannot be one.
 */
#include "sensor/darknet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "schemas/base/bytes.h"

static struct darknet *make(const char *const *texts)
{
	struct darknet *darknet = NULL;
	struct message msg = { "" };
	size_t count = 0;

	while (texts[count] != NULL)
		count++;
	if (darknet_create(&darknet, texts, count, &msg) != 0)
		fail_msg("%s", msg.text);
	return darknet;
}

#define MAKE(...) make((const char *const[]){ __VA_ARGS__, NULL })

/* The prefix that decides for an address, "-" when there is none. */
static const char *decides(const struct darknet *darknet, const char *text)
{
	struct address address;
	uint32_t range;

	assert_int_equal(address_parse(&address, text), 0);
	range = darknet_find(darknet, address.bytes, address.size);
	return range == DARKNET_NONE ? "-" : darknet_range(darknet, range)->prefix;
}

static double addresses_of(const struct darknet *darknet, const char *prefix)
{
	for (size_t i = 0; i < darknet_range_count(darknet); i++)
		if (strcmp(darknet_range(darknet, i)->prefix, prefix) == 0)
			return darknet_range(darknet, i)->addresses;
	fail_msg("no range %s", prefix);
	return 0;
}

static void assert_refused(const char *const *texts, const char *expected)
{
	struct darknet *darknet = NULL;
	struct message msg = { "" };
	size_t count = 0;

	while (texts[count] != NULL)
		count++;
	assert_int_equal(darknet_create(&darknet, texts, count, &msg), FAIL_USAGE);
	assert_null(darknet);
	if (strstr(msg.text, expected) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", msg.text, expected);
}

#define REFUSED(expected, ...) assert_refused((const char *const[]){ __VA_ARGS__, NULL }, expected)

/* ---- which addresses ---- */

static void test_darknet_prefix_holds_its_first_and_last_address(void **state)
{
	struct darknet *darknet = MAKE("198.51.100.0/24", "2001:db8:64::/48");

	(void)state;
	assert_string_equal(decides(darknet, "198.51.99.255"), "-");
	assert_string_equal(decides(darknet, "198.51.100.0"), "198.51.100.0/24");
	assert_string_equal(decides(darknet, "198.51.100.255"), "198.51.100.0/24");
	assert_string_equal(decides(darknet, "198.51.101.0"), "-");
	assert_string_equal(decides(darknet, "2001:db8:63:ffff:ffff:ffff:ffff:ffff"), "-");
	assert_string_equal(decides(darknet, "2001:db8:64::"), "2001:db8:64::/48");
	assert_string_equal(
		decides(darknet, "2001:db8:64:ffff:ffff:ffff:ffff:ffff"), "2001:db8:64::/48");
	assert_string_equal(decides(darknet, "2001:db8:65::"), "-");
	assert_int_equal(darknet_addresses(darknet), 256);
	assert_int_equal(darknet_ipv6_prefixes(darknet), 1);
	darknet_destroy(darknet);
}

static void test_darknet_address_alone_is_a_prefix_of_its_full_length(void **state)
{
	struct darknet *darknet = MAKE("192.0.2.7", "2001:db8::7");

	(void)state;
	assert_string_equal(decides(darknet, "192.0.2.7"), "192.0.2.7/32");
	assert_string_equal(decides(darknet, "192.0.2.6"), "-");
	assert_string_equal(decides(darknet, "192.0.2.8"), "-");
	assert_string_equal(decides(darknet, "2001:db8::7"), "2001:db8::7/128");
	assert_string_equal(decides(darknet, "2001:db8::8"), "-");
	assert_int_equal(darknet_addresses(darknet), 1);
	darknet_destroy(darknet);
}

static void test_darknet_longest_prefix_decides(void **state)
{
	struct darknet *darknet = MAKE("198.51.100.128/25", "198.51.0.0/16", "!198.51.100.0/24",
		"!198.51.100.200", "198.51.100.192/26", "203.0.113.0/24");

	(void)state;
	assert_string_equal(decides(darknet, "198.51.99.1"), "198.51.0.0/16");
	assert_string_equal(decides(darknet, "198.51.100.1"), "-");
	assert_string_equal(decides(darknet, "198.51.100.128"), "198.51.100.128/25");
	assert_string_equal(decides(darknet, "198.51.100.192"), "198.51.100.192/26");
	assert_string_equal(decides(darknet, "198.51.100.199"), "198.51.100.192/26");
	assert_string_equal(decides(darknet, "198.51.100.200"), "-");
	assert_string_equal(decides(darknet, "198.51.100.201"), "198.51.100.192/26");
	assert_string_equal(decides(darknet, "198.51.101.0"), "198.51.0.0/16");
	assert_string_equal(decides(darknet, "198.51.255.255"), "198.51.0.0/16");
	assert_string_equal(decides(darknet, "198.52.0.0"), "-");
	assert_true(addresses_of(darknet, "198.51.0.0/16") == 65536 - 256);
	assert_true(addresses_of(darknet, "198.51.100.128/25") == 64);
	assert_true(addresses_of(darknet, "198.51.100.192/26") == 63);
	assert_int_equal(darknet_addresses(darknet), 65536 - 256 + 64 + 63 + 256);
	darknet_destroy(darknet);
}

static void test_darknet_whole_space_is_whole(void **state)
{
	struct darknet *darknet = MAKE("0.0.0.0/0", "::/0");

	(void)state;
	assert_string_equal(decides(darknet, "0.0.0.0"), "0.0.0.0/0");
	assert_string_equal(decides(darknet, "255.255.255.255"), "0.0.0.0/0");
	assert_string_equal(decides(darknet, "::"), "::/0");
	assert_string_equal(decides(darknet, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0");
	assert_true(darknet_addresses(darknet) == UINT64_C(1) << 32);
	assert_true(addresses_of(darknet, "::/0") == 340282366920938463463374607431768211456.0);
	darknet_destroy(darknet);
}

static void test_darknet_edges_of_the_space_can_be_left_out(void **state)
{
	struct darknet *darknet = MAKE("0.0.0.0/0", "!0.0.0.0", "!255.255.255.255",
		"255.255.0.0/16", "::/0", "!ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

	(void)state;
	assert_string_equal(decides(darknet, "0.0.0.0"), "-");
	assert_string_equal(decides(darknet, "0.0.0.1"), "0.0.0.0/0");
	assert_string_equal(decides(darknet, "255.254.255.255"), "0.0.0.0/0");
	assert_string_equal(decides(darknet, "255.255.255.254"), "255.255.0.0/16");
	assert_string_equal(decides(darknet, "255.255.255.255"), "-");
	assert_string_equal(decides(darknet, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"), "::/0");
	assert_string_equal(decides(darknet, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "-");
	assert_true(darknet_addresses(darknet) == (UINT64_C(1) << 32) - 2);
	darknet_destroy(darknet);
}

/* Prefixes inside each other as deep as can be. */
static void test_darknet_nested_at_every_length_decides_by_the_longest(void **state)
{
	struct darknet *darknet = NULL;
	struct message msg = { "" };
	char texts[33 + 129][PREFIX_TEXT_BYTES];
	const char *pointers[33 + 129];

	(void)state;
	for (unsigned length = 0; length <= 32; length++)
		snprintf(texts[length], PREFIX_TEXT_BYTES, "%s0.0.0.0/%u",
			length % 2 == 0 ? "" : "!", length);
	for (unsigned length = 0; length <= 128; length++)
		snprintf(texts[33 + length], PREFIX_TEXT_BYTES, "::/%u", length);
	for (size_t i = 0; i < 33 + 129; i++)
		pointers[i] = texts[i];
	assert_int_equal(darknet_create(&darknet, pointers, 33 + 129, &msg), 0);

	assert_string_equal(decides(darknet, "0.0.0.0"), "0.0.0.0/32");
	assert_string_equal(decides(darknet, "0.0.0.1"), "-");
	assert_string_equal(decides(darknet, "0.0.0.2"), "0.0.0.0/30");
	assert_string_equal(decides(darknet, "128.0.0.0"), "0.0.0.0/0");
	assert_string_equal(decides(darknet, "64.0.0.0"), "-");
	assert_string_equal(decides(darknet, "::"), "::/128");
	assert_string_equal(decides(darknet, "::1"), "::/127");
	assert_string_equal(decides(darknet, "8000::"), "::/0");
	darknet_destroy(darknet);
}

static void test_darknet_same_prefix_twice_is_one(void **state)
{
	struct darknet *darknet =
		MAKE("192.0.2.0/24", "192.0.2.0/24", "!192.0.2.0/25", "!192.0.2.0/25");

	(void)state;
	assert_int_equal(darknet_range_count(darknet), 1);
	assert_int_equal(darknet_addresses(darknet), 128);
	darknet_destroy(darknet);
}

/* ---- against a naive search ---- */

#define PREFIXES 10000
#define LOOKUPS	 20000

struct naive {
	uint32_t first, last;
	unsigned length;
	bool is_excluded;
};

static uint32_t random_u32(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 32);
}

static const struct naive *naive_find(const struct naive *prefixes, uint32_t address)
{
	const struct naive *best = NULL;

	for (size_t i = 0; i < PREFIXES; i++)
		if (prefixes[i].first <= address && address <= prefixes[i].last &&
			(best == NULL || prefixes[i].length > best->length))
			best = &prefixes[i];
	return best;
}

static void test_darknet_of_10000_random_prefixes_agrees_with_a_naive_search(void **state)
{
	struct naive *prefixes = calloc(PREFIXES, sizeof(*prefixes));
	char(*texts)[PREFIX_TEXT_BYTES] = calloc(PREFIXES, sizeof(*texts));
	const char **pointers = calloc(PREFIXES, sizeof(*pointers));
	struct darknet *darknet = NULL;
	struct message msg = { "" };
	uint64_t seed = 5, included = 0;

	(void)state;
	assert_true(prefixes != NULL && texts != NULL && pointers != NULL);
	for (size_t i = 0; i < PREFIXES; i++) {
		struct naive *prefix = &prefixes[i];
		struct address address = { .size = 4 };
		char text[ADDRESS_TEXT_BYTES];

		prefix->length = 6 + random_u32(&seed) % 27;
		prefix->first = (10u << 24 | random_u32(&seed) >> 6) &
				~(uint32_t)((UINT64_C(1) << (32 - prefix->length)) - 1);
		prefix->last =
			prefix->first | (uint32_t)((UINT64_C(1) << (32 - prefix->length)) - 1);
		/* by the prefix itself, so that no prefix is both */
		prefix->is_excluded = (prefix->first * 2654435761u + prefix->length) % 7 < 2;
		store_u32(address.bytes, prefix->first);
		snprintf(texts[i], PREFIX_TEXT_BYTES, "%s%s/%u", prefix->is_excluded ? "!" : "",
			address_text(&address, text), prefix->length);
		pointers[i] = texts[i];
	}
	if (darknet_create(&darknet, pointers, PREFIXES, &msg) != 0)
		fail_msg("%s", msg.text);

	for (size_t i = 0; i < LOOKUPS; i++) {
		const struct naive *expected;
		uint32_t value, found;
		uint8_t bytes[4];

		value = prefixes[random_u32(&seed) % PREFIXES].first + random_u32(&seed) % 5 - 2;
		if (i % 2 == 0)
			value = 8u << 24 | random_u32(&seed) >> 5;
		store_u32(bytes, value);
		found = darknet_find(darknet, bytes, 4);
		expected = naive_find(prefixes, value);
		if (expected == NULL || expected->is_excluded) {
			assert_int_equal(found, DARKNET_NONE);
		} else {
			assert_int_not_equal(found, DARKNET_NONE);
			assert_string_equal(
				darknet_range(darknet, found)->prefix, texts[expected - prefixes]);
		}
	}
	for (size_t i = 0; i < darknet_range_count(darknet); i++)
		included += (uint64_t)darknet_range(darknet, i)->addresses;
	assert_int_equal(included, darknet_addresses(darknet));
	darknet_destroy(darknet);
	free(prefixes);
	free(texts);
	free(pointers);
}

/* ---- refused ---- */

static void test_darknet_host_bits_are_refused_and_the_network_named(void **state)
{
	(void)state;
	REFUSED("the network is 198.51.100.0/24", "198.51.100.7/24");
	REFUSED("the network is 0.0.0.0/0", "1.0.0.0/0");
	REFUSED("the network is 2001:db8::/32", "2001:db8::7/32");
	REFUSED("the network is !198.51.100.0/25", "198.51.100.0/24", "!198.51.100.1/25");
	REFUSED("\"198.51.100.7/24\"", "203.0.113.0/24", "198.51.100.7/24");
}

static void test_darknet_words_that_are_no_prefix_are_refused(void **state)
{
	static const char *const words[] = { "", "!", "198.51.100", "198.51.100.0/",
		"198.51.100.0/33", "198.51.100.0/-1", "198.51.100.0/+8", "198.51.100.0/8x",
		"198.51.100.0/ 8", "2001:db8::/129", "/24", "eth0", "198.51.100.0/24/24",
		"!!198.51.100.0/24", "198.51.100.0/99999999999999999999",
		"2001:db8:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/32" };

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		REFUSED("\"", words[i]);
}

static void test_darknet_both_dark_and_excluded_is_refused(void **state)
{
	(void)state;
	REFUSED("192.0.2.0/24 is both", "192.0.2.0/24", "!192.0.2.0/24");
}

static void test_darknet_that_only_excludes_is_refused(void **state)
{
	(void)state;
	REFUSED("at least one must include", "!192.0.2.0/24");
}

/* ---- files ---- */

/* Reads a file with this text; the path is replaced by FILE in the message. */
static int read_text(const char *text, char ***texts, size_t *count, char *said, size_t said_bytes)
{
	char path[] = "/tmp/hoshimi-test-darknet-XXXXXX";
	struct message msg = { "" };
	int fd = mkstemp(path);
	int rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	rc = darknet_read_file(texts, count, path, &msg);
	unlink(path);
	snprintf(said, said_bytes, "%s",
		strncmp(msg.text, path, strlen(path)) == 0 ? msg.text + strlen(path) : msg.text);
	return rc;
}

static void test_darknet_file_is_words_between_blanks_and_comments(void **state)
{
	static const char *const expected[] = { "198.51.100.0/24", "!198.51.100.7",
		"203.0.113.0/24", "2001:db8::/32" };
	char said[200];
	char **texts = NULL;
	size_t count = 0;

	(void)state;
	assert_int_equal(read_text("# ranges of the lab\n"
				   "198.51.100.0/24  !198.51.100.7 # less one\r\n"
				   "\n"
				   "\t203.0.113.0/24,\n"
				   "2001:db8::/32",
				 &texts, &count, said, sizeof(said)),
		0);

	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(texts[i], expected[i]);
		free(texts[i]);
	}
	free(texts);
}

static void test_darknet_file_with_a_bad_word_names_its_place(void **state)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{ "198.51.100.0/24\n  eth0\n", ":2:3: \"eth0\"" },
		{ "# one\n198.51.100.0/24, 198.51.101.5/24\n",
			":2:18: \"198.51.101.5/24\" has host" },
		{ "\n\n\n198.51.100.0/33", ":4:1: \"198.51.100.0/33\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char said[200];
		char **texts = NULL;
		size_t count = 0;

		assert_int_equal(
			read_text(rows[i].text, &texts, &count, said, sizeof(said)), FAIL_CONFIG);
		assert_null(texts);
		assert_memory_equal(said, rows[i].said, strlen(rows[i].said));
	}
}

static void test_darknet_file_that_is_not_there_is_named(void **state)
{
	struct message msg = { "" };
	char **texts = NULL;
	size_t count = 0;

	(void)state;
	assert_int_equal(darknet_read_file(&texts, &count, "/nowhere/dark.txt", &msg), FAIL_CONFIG);
	assert_non_null(strstr(msg.text, "/nowhere/dark.txt"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_darknet_prefix_holds_its_first_and_last_address),
		cmocka_unit_test(test_darknet_address_alone_is_a_prefix_of_its_full_length),
		cmocka_unit_test(test_darknet_longest_prefix_decides),
		cmocka_unit_test(test_darknet_whole_space_is_whole),
		cmocka_unit_test(test_darknet_edges_of_the_space_can_be_left_out),
		cmocka_unit_test(test_darknet_nested_at_every_length_decides_by_the_longest),
		cmocka_unit_test(test_darknet_same_prefix_twice_is_one),
		cmocka_unit_test(test_darknet_of_10000_random_prefixes_agrees_with_a_naive_search),
		cmocka_unit_test(test_darknet_host_bits_are_refused_and_the_network_named),
		cmocka_unit_test(test_darknet_words_that_are_no_prefix_are_refused),
		cmocka_unit_test(test_darknet_both_dark_and_excluded_is_refused),
		cmocka_unit_test(test_darknet_that_only_excludes_is_refused),
		cmocka_unit_test(test_darknet_file_is_words_between_blanks_and_comments),
		cmocka_unit_test(test_darknet_file_with_a_bad_word_names_its_place),
		cmocka_unit_test(test_darknet_file_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
