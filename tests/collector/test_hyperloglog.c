/*
 * Redis's HyperLogLog made outside Redis: known registers of known elements.
 *
 * That PFMERGE and PFCOUNT take it is shown end to end (tests/e2e), on a real Redis.
 */
#include "collector/hyperloglog.h"

#include <math.h>
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

/* Flajolet et al., AofA 2007: the raw estimate, good at this size */
static void test_hyperloglog_estimate_is_within_three_standard_errors(void **state)
{
	const double count = 200000;
	uint8_t hll[HYPERLOGLOG_BYTES];
	double sum = 0, estimate;

	(void)state;
	hyperloglog_init(hll);
	for (uint64_t i = 0; i < (uint64_t)count; i++)
		hyperloglog_add(hll, &i, sizeof(i));
	for (unsigned i = 0; i < REGISTERS; i++)
		sum += ldexp(1, -(int)register_at(hll, i));
	estimate = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS * REGISTERS / sum;
	assert_true(fabs(estimate - count) / count < 3 * HYPERLOGLOG_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hyperloglog_empty_is_a_dense_redis_value),
		cmocka_unit_test(test_hyperloglog_element_sets_one_register_once),
		cmocka_unit_test(test_hyperloglog_estimate_is_within_three_standard_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
