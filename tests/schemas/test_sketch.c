/*
 * The sketch of distinct destinations: exact while small, mergeable, and as good as it says.
 */
#include "schemas/sketch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define STANDARD_ERROR (1.04 / 32) /* 1.04 / sqrt(1024); Flajolet et al., AofA 2007 */

/* The hash of the n-th address of 10.0.0.0/8 and on, or of an IPv6 prefix. */
static uint32_t hash_of(uint32_t n, size_t size)
{
	uint8_t address[16] = { 0x20, 0x01, 0x0d, 0xb8 };

	store_u32(address + size - 4, (10u << 24) + n);
	return sketch_hash(address, size);
}

static void add_range(struct sketch *sketch, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		sketch_add(sketch, hash_of(first + i, 4));
}

static struct sketch *make(uint32_t first, uint32_t count)
{
	struct sketch *sketch = calloc(1, sizeof(*sketch));

	assert_non_null(sketch);
	add_range(sketch, first, count);
	return sketch;
}

static void assert_same(const struct sketch *a, const struct sketch *b)
{
	uint8_t a_bytes[SKETCH_ENCODED_BYTES], b_bytes[SKETCH_ENCODED_BYTES];
	size_t a_size = sketch_encode(a, a_bytes), b_size = sketch_encode(b, b_bytes);

	assert_int_equal(a_size, b_size);
	assert_memory_equal(a_bytes, b_bytes, a_size);
}

static void test_sketch_hash_is_for_ever(void **state)
{
	static const uint8_t v4[4] = { 198, 51, 100, 7 };
	static const uint8_t v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 7 };

	(void)state;
	assert_int_equal(sketch_hash(v4, 4), 0x7261e786);
	assert_int_equal(sketch_hash(v6, 16), 0xaa213fe7);
}

static void test_sketch_up_to_64_is_exact(void **state)
{
	struct sketch *sketch = make(0, 0);

	(void)state;
	assert_int_equal(sketch_count(sketch), 0);
	for (uint32_t n = 1; n <= SKETCH_LIST_MAX; n++) {
		sketch_add(sketch, hash_of(n, 4));
		sketch_add(sketch, hash_of(1 + n / 2, 4)); /* one that is there already */

		assert_int_equal(sketch_count(sketch), n);
	}
	assert_int_equal(sketch->form, SKETCH_LIST);

	sketch_add(sketch, hash_of(SKETCH_LIST_MAX + 1, 4));

	assert_int_equal(sketch->form, SKETCH_REGISTERED);
	assert_in_range(sketch_count(sketch), 58, 72);
	free(sketch);
}

static void assert_error_within(double errors, uint32_t count, size_t address_bytes)
{
	struct sketch *sketch = make(0, 0);
	double error;

	for (uint32_t i = 0; i < count; i++)
		sketch_add(sketch, hash_of(i, address_bytes));
	error = fabs((double)sketch_count(sketch) / count - 1);
	if (error > errors * STANDARD_ERROR)
		fail_msg("%u addresses: off by %.2f %%", count, error * 100);
	free(sketch);
}

static void test_sketch_estimate_is_within_three_standard_errors(void **state)
{
	static const uint32_t counts[] = { 100, 1000, 10000, 100000, 1000000 };

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		assert_error_within(3, counts[i], 4);
		assert_error_within(3, counts[i], 16);
	}
}

/* The mean of many is better than one, and shows a bias that a single one would hide. */
static void test_sketch_estimates_are_unbiased(void **state)
{
	enum { TRIALS = 200 };
	static const uint32_t counts[] = { 65, 500, 2500, 20000 };

	(void)state;
	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		double mean = 0, square = 0, spread;

		for (uint32_t t = 0; t < TRIALS; t++) {
			struct sketch *sketch = make(t * 40000 + 5000000, counts[c]);
			double ratio = (double)sketch_count(sketch) / counts[c];

			mean += ratio / TRIALS;
			square += ratio * ratio / TRIALS;
			free(sketch);
		}
		spread = sqrt(square - mean * mean);
		assert_true(fabs(mean - 1) < 3 * STANDARD_ERROR / sqrt(TRIALS));
		assert_true(spread < 1.2 * STANDARD_ERROR);
	}
}

static void test_sketch_merge_is_the_union_in_any_order(void **state)
{
	static const uint32_t counts[] = { 0, 1, 40, 64, 65, 1000 };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		for (size_t j = 0; j < 6; j++) {
			struct sketch *a = make(0, counts[i]), *b = make(30, counts[j]);
			struct sketch *ab = make(0, counts[i]), *ba = make(30, counts[j]);
			struct sketch *both = make(0, counts[i]);

			add_range(both, 30, counts[j]);
			sketch_merge(ab, b);
			sketch_merge(ba, a);

			assert_same(ab, ba);
			assert_same(ab, both);
			sketch_merge(ab, b); /* once more changes nothing */
			assert_same(ab, both);
			free(a);
			free(b);
			free(ab);
			free(ba);
			free(both);
		}
	}
}

static void test_sketch_saturated_merged_stays_a_lower_bound(void **state)
{
	struct sketch *saturated = make(0, 20), *other = make(100, 20), *ab = make(0, 20);

	(void)state;
	saturated->form = ab->form = SKETCH_SATURATED;
	sketch_merge(ab, other);
	sketch_merge(other, saturated);

	assert_int_equal(ab->form, SKETCH_SATURATED);
	assert_int_equal(sketch_count(ab), 40);
	assert_same(ab, other);
	memset(ab, 0, sizeof(*ab));
	sketch_merge(ab, saturated); /* into an empty one */
	assert_same(ab, saturated);
	memset(saturated, 0, sizeof(*saturated));
	memset(ab, 0, sizeof(*ab));
	saturated->form = SKETCH_SATURATED; /* one without hashes */
	sketch_merge(ab, saturated);
	assert_same(ab, saturated);
	free(saturated);
	free(other);
	free(ab);
}

static void test_sketch_encoded_and_decoded_is_the_same(void **state)
{
	static const uint32_t counts[] = { 0, 1, 2, 63, 64, 65, 100000 };

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct sketch *sketch = make(0, counts[i]), *decoded = make(500, 70);
		uint8_t bytes[SKETCH_ENCODED_BYTES];
		size_t size = sketch_encode(sketch, bytes);

		assert_int_equal(size, counts[i] > 64 ? 1025 : 1 + 4 * counts[i]);
		assert_int_equal(sketch_decode(decoded, (struct bytes){ bytes, size }), 0);
		assert_int_equal(sketch_count(decoded), sketch_count(sketch));
		assert_same(decoded, sketch);
		add_range(decoded, 7000, 3); /* and can be added to */
		add_range(sketch, 7000, 3);
		assert_same(decoded, sketch);
		free(sketch);
		free(decoded);
	}
}

static void test_sketch_without_bytes_is_empty(void **state)
{
	struct sketch *sketch = make(0, 70);

	(void)state;
	assert_int_equal(sketch_decode(sketch, (struct bytes){ 0 }), 0);
	assert_int_equal(sketch_count(sketch), 0);
	free(sketch);
}

static int decode_copy(const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size);
	struct sketch *sketch = make(0, 0);
	int rc;

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	rc = sketch_decode(sketch, (struct bytes){ copy, size });
	free(copy);
	free(sketch);
	return rc;
}

static void test_sketch_malformed_is_refused(void **state)
{
	uint8_t list[1 + 4 * 65] = { SKETCH_LIST };
	uint8_t registers[SKETCH_ENCODED_BYTES + 1] = { SKETCH_REGISTERED };

	(void)state;
	for (uint8_t i = 0; i < 65; i++)
		store_u32_le(list + 1 + 4 * i, 10u * i);
	for (size_t size = 1; size <= sizeof(list); size++)
		assert_int_equal(
			decode_copy(list, size), size % 4 == 1 && size <= 257 ? 0 : FAIL_FORMAT);
	for (size_t size = 1; size <= sizeof(registers); size++)
		assert_int_equal(decode_copy(registers, size), size == 1025 ? 0 : FAIL_FORMAT);

	registers[500] = 23; /* 22 bits can begin with at most 22 zeros */
	assert_int_equal(decode_copy(registers, 1025), 0);
	registers[500] = 24;
	assert_int_equal(decode_copy(registers, 1025), FAIL_FORMAT);
	store_u32_le(list + 1 + 4 * 3, 20); /* as the one before it */
	assert_int_equal(decode_copy(list, 17), FAIL_FORMAT);
	store_u32_le(list + 1 + 4 * 3, 19); /* not ascending */
	assert_int_equal(decode_copy(list, 17), FAIL_FORMAT);
	for (unsigned form = 0; form < 256; form++) {
		uint8_t alone = (uint8_t)form;

		assert_int_equal(decode_copy(&alone, 1),
			form == SKETCH_LIST || form == SKETCH_SATURATED ? 0 : FAIL_FORMAT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sketch_hash_is_for_ever),
		cmocka_unit_test(test_sketch_up_to_64_is_exact),
		cmocka_unit_test(test_sketch_estimate_is_within_three_standard_errors),
		cmocka_unit_test(test_sketch_estimates_are_unbiased),
		cmocka_unit_test(test_sketch_merge_is_the_union_in_any_order),
		cmocka_unit_test(test_sketch_saturated_merged_stays_a_lower_bound),
		cmocka_unit_test(test_sketch_encoded_and_decoded_is_the_same),
		cmocka_unit_test(test_sketch_without_bytes_is_empty),
		cmocka_unit_test(test_sketch_malformed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
