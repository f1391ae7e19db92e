/*
 * Memory for windows: pieces are aligned and apart, everything comes back, large pieces are zero.
 */
#include "sensor/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static const struct arena_tag no_tag;

static void test_arena_pieces_are_aligned_and_apart(void **state)
{
	enum { PIECES = 3000 };
	struct arena arena = { 0 };
	uint8_t *pieces[PIECES];

	(void)state;
	for (size_t i = 0; i < PIECES; i++) {
		pieces[i] = arena_take(&arena, 1 + i * 7 % 5000, no_tag);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % 64, 0);
		memset(pieces[i], (int)(i & 0xff), 1 + i * 7 % 5000);
	}
	for (size_t i = 0; i < PIECES; i++)
		for (size_t at = 0; at < 1 + i * 7 % 5000; at++)
			assert_int_equal(pieces[i][at], i & 0xff);
	assert_true(arena.held >= PIECES * 2500);
	arena_fini(&arena);
	assert_null(arena.newest);
	assert_int_equal(arena.held, 0);
}

/* A quiet minute must not cost a busy one's memory. */
static void test_arena_begins_small(void **state)
{
	struct arena arena = { 0 };

	(void)state;
	assert_non_null(arena_take(&arena, 100, no_tag));
	assert_true(arena.held <= 64 << 10);
	arena_fini(&arena);
}

static void test_arena_takes_pieces_larger_than_its_blocks(void **state)
{
	struct arena arena = { 0 };
	uint8_t *piece;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		piece = arena_take(&arena, 20 * MIB, no_tag);
		assert_non_null(piece);
		memset(piece, 1, 20 * MIB);
		assert_non_null(arena_take(&arena, 64, no_tag));
		arena_fini(&arena);
	}
}

static void test_arena_used_again_after_fini(void **state)
{
	struct arena arena = { 0 };

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 300; i++) {
			uint8_t *piece = arena_take(&arena, 100000, no_tag);

			assert_non_null(piece);
			memset(piece, (int)round, 100000);
		}
		arena_fini(&arena);
	}
}

static void test_arena_large_pieces_are_zero_and_of_any_size(void **state)
{
	static const size_t sizes[] = { 1, 4096, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 9 * MIB };

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint8_t *memory = large_alloc(sizes[i]);

			assert_non_null(memory);
			for (size_t at = 0; at < sizes[i]; at += 997)
				assert_int_equal(memory[at], 0);
			assert_int_equal(memory[sizes[i] - 1], 0);
			memset(memory, 0xff, sizes[i]);
			if (sizes[i] >= 2 * MIB)
				assert_int_equal((uintptr_t)memory % (2 * MIB), 0);
			large_free(memory, sizes[i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arena_pieces_are_aligned_and_apart),
		cmocka_unit_test(test_arena_begins_small),
		cmocka_unit_test(test_arena_takes_pieces_larger_than_its_blocks),
		cmocka_unit_test(test_arena_used_again_after_fini),
		cmocka_unit_test(test_arena_large_pieces_are_zero_and_of_any_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
