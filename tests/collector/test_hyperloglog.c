/*
 * Redis's HyperLogLog made and read outside Redis, and its small form.
 *
 * That PFMERGE takes it is shown end to end (tests/e2e), on a real Redis.
 */
#include "collector/hyperloglog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define REGISTERS 16384

static unsigned register_at(const uint8_t *hll, unsigned index)
{
	unsigned bit = index * 6;
	unsigned word = hll[16 + bit / 8];

	if (bit / 8 + 17 < HYPERLOGLOG_BYTES)
		word |= (unsigned)hll[17 + bit / 8] << 8;
	return word >> (bit % 8) & 0x3f;
}

static void test_hyperloglog_empty_is_a_dense_redis_value(void **state)
{
	uint8_t hll[HYPERLOGLOG_BYTES];

	(void)state;
	hyperloglog_init(hll);
	assert_memory_equal(hll, "HYLL\0", 5);
	assert_int_equal(hll[15], 0x80); /* cached cardinality not valid */
}

static void test_hyperloglog_element_sets_one_register_once(void **state)
{
	uint8_t once[HYPERLOGLOG_BYTES], twice[HYPERLOGLOG_BYTES];
	unsigned set = 0;

	(void)state;
	hyperloglog_init(once);
	hyperloglog_add(once, "a", 1);
	memcpy(twice, once, sizeof(twice));
	hyperloglog_add(twice, "a", 1);
	for (unsigned i = 0; i < REGISTERS; i++)
		set += register_at(once, i) != 0;
	assert_int_equal(set, 1);
	assert_memory_equal(once, twice, sizeof(once));
}

/* What PFCOUNT of Redis 7.0.15 says of these: 8-byte little-endian numbers from 0 up. */
static void test_hyperloglog_count_is_what_redis_says(void **state)
{
	static const struct {
		uint64_t elements, count;
	} redis[] = { { 0, 0 }, { 1, 1 }, { 10, 10 }, { 1000, 986 }, { 20000, 20248 },
		{ 200000, 200726 } };
	uint8_t hll[HYPERLOGLOG_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(redis) / sizeof(redis[0]); i++) {
		hyperloglog_init(hll);
		for (uint64_t n = 0; n < redis[i].elements; n++)
			hyperloglog_add(hll, &n, sizeof(n));
		assert_int_equal(hyperloglog_count(hll), redis[i].count);
	}
}

static void test_hyperloglog_words_hold_every_register(void **state)
{
	uint8_t from_words[HYPERLOGLOG_BYTES], wanted[HYPERLOGLOG_BYTES];
	char word[HYPERLOGLOG_WORD_BYTES], before[HYPERLOGLOG_WORD_BYTES] = "";

	(void)state;
	for (unsigned index = 0; index < REGISTERS; index++) {
		struct hyperloglog_place place = { (uint16_t)index, (uint8_t)(index % 32 + 1) };

		hyperloglog_word(place, word);
		assert_true(memcmp(before, word, 3) < 0); /* they ascend as bytes do */
		memcpy(before, word, sizeof(before));
		hyperloglog_init(from_words);
		assert_int_equal(hyperloglog_merge_words(from_words,
					 (struct bytes){ (uint8_t *)word, sizeof(word) }),
			0);
		assert_int_equal(register_at(from_words, index), place.rank);
	}
	hyperloglog_init(wanted);
	assert_int_equal(hyperloglog_merge_words(wanted, (struct bytes){ NULL, 0 }), 0);
	assert_int_equal(hyperloglog_count(wanted), 0);
}

static void test_hyperloglog_refuses_words_that_are_none(void **state)
{
	/* cut, no digit, register 16,384, rank 0, rank 33 */
	static const char *const texts[] = { "---", "--+0", "3---", "----", "---W", "---0x" };
	uint8_t hll[HYPERLOGLOG_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		hyperloglog_init(hll);
		assert_int_equal(
			hyperloglog_merge_words(
				hll, (struct bytes){ (const uint8_t *)texts[i], strlen(texts[i]) }),
			FAIL_FORMAT);
	}
}

static void test_hyperloglog_element_has_a_rank_that_every_form_holds(void **state)
{
	/* MurmurHash64A run backwards: register 0x123, rank 33 */
	const uint64_t rare = 0x91832079507cfd0dULL, usual = 12345;
	uint64_t element = hyperloglog_element(rare);

	(void)state;
	assert_int_equal(hyperloglog_element(usual), usual);
	assert_true(hyperloglog_place_of(&rare, sizeof(rare)).rank > HYPERLOGLOG_RANK_MAX);
	assert_true(hyperloglog_place_of(&element, sizeof(element)).rank <= HYPERLOGLOG_RANK_MAX);
}

/* A value of Redis in its sparse form: header, then opcodes. */
static struct bytes sparse_value(uint8_t out[64], const char *codes, size_t size)
{
	memset(out, 0, 16);
	memcpy(out, "HYLL\1", 5);
	memcpy(out + 16, codes, size);
	return (struct bytes){ out, 16 + size };
}

static void test_hyperloglog_merges_the_sparse_form(void **state)
{
	/* 3 zeros, 2 registers of 5, 300 zeros, one of 32, zeros to the end (16384 - 306 = 0x3ece) */
	static const char codes[] = "\x02\x91\x41\x2b\xfc\x7e\xcd";
	uint8_t value[64], hll[HYPERLOGLOG_BYTES];

	(void)state;
	hyperloglog_init(hll);
	assert_int_equal(hyperloglog_merge(hll, sparse_value(value, codes, sizeof(codes) - 1)), 0);
	for (unsigned i = 0; i < REGISTERS; i++)
		assert_int_equal(register_at(hll, i), i == 3 || i == 4 ? 5 : i == 305 ? 32 : 0);
}

static void test_hyperloglog_merge_keeps_the_greater_of_each_register(void **state)
{
	uint8_t a[HYPERLOGLOG_BYTES], b[HYPERLOGLOG_BYTES], both[HYPERLOGLOG_BYTES];

	(void)state;
	hyperloglog_init(a);
	hyperloglog_init(b);
	hyperloglog_init(both);
	for (uint64_t n = 0; n < 5000; n++) {
		hyperloglog_add(n % 2 == 0 ? a : b, &n, sizeof(n));
		hyperloglog_add(both, &n, sizeof(n));
	}
	assert_int_equal(hyperloglog_merge(a, (struct bytes){ b, sizeof(b) }), 0);
	assert_memory_equal(a, both, sizeof(a));
}

static void test_hyperloglog_refuses_values_that_are_none(void **state)
{
	/* too few registers, a cut opcode, values past the end, zeros past the end */
	static const struct {
		const char *codes;
		size_t size;
	} bad[] = { { "\x02", 1 }, { "\x7f", 1 }, { "\x7f\xfe\x81", 3 }, { "\x7f\xff\x00", 3 } };
	uint8_t value[64], hll[HYPERLOGLOG_BYTES], dense[HYPERLOGLOG_BYTES];

	(void)state;
	hyperloglog_init(hll);
	hyperloglog_init(dense);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			hyperloglog_merge(hll, sparse_value(value, bad[i].codes, bad[i].size)),
			FAIL_FORMAT);
	for (size_t size = 0; size < sizeof(dense); size += 97)
		assert_int_equal(
			hyperloglog_merge(hll, (struct bytes){ dense, size }), FAIL_FORMAT);
	dense[4] = 2; /* a form that Redis does not have */
	assert_int_equal(
		hyperloglog_merge(hll, (struct bytes){ dense, sizeof(dense) }), FAIL_FORMAT);
	memcpy(dense, "NONE", 4);
	assert_int_equal(
		hyperloglog_merge(hll, (struct bytes){ dense, sizeof(dense) }), FAIL_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hyperloglog_empty_is_a_dense_redis_value),
		cmocka_unit_test(test_hyperloglog_element_sets_one_register_once),
		cmocka_unit_test(test_hyperloglog_count_is_what_redis_says),
		cmocka_unit_test(test_hyperloglog_words_hold_every_register),
		cmocka_unit_test(test_hyperloglog_refuses_words_that_are_none),
		cmocka_unit_test(test_hyperloglog_element_has_a_rank_that_every_form_holds),
		cmocka_unit_test(test_hyperloglog_merges_the_sparse_form),
		cmocka_unit_test(test_hyperloglog_merge_keeps_the_greater_of_each_register),
		cmocka_unit_test(test_hyperloglog_refuses_values_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
