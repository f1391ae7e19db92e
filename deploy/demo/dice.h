/*
 * Chance that can be repeated: the same seed gives the same draws on every machine.
 *
 * Whole numbers only, so that no compiler or mathematics library shows in the result.
 *
 * Threads: none; one stream of draws belongs to one caller.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct dice {
	uint64_t state[4];
};

/* Things drawn with unequal chances; `upto[i]` is the sum of the weights of 0..i. */
struct dice_table {
	uint64_t *upto;
	size_t count;
};

void dice_init(struct dice *dice, uint64_t seed);

uint64_t dice_u64(struct dice *dice);
uint32_t dice_u32(struct dice *dice);
uint16_t dice_u16(struct dice *dice);

/** Draws one of 0..bound-1; @param bound at least 1, below 2^32 */
uint32_t dice_below(struct dice *dice, uint32_t bound);

/** Draws a number of low..high, both included. */
uint32_t dice_between(struct dice *dice, uint32_t low, uint32_t high);

/**
 * Prepares a Zipf table: thing i has weight 1/(i+1), as the sources of darknet traffic nearly have.
 *
 * @return 0, -1 when memory is out
 */
int dice_table_init_zipf(struct dice_table *table, size_t count);
void dice_table_fini(struct dice_table *table);

/** Draws a thing of the table. */
size_t dice_table_draw(const struct dice_table *table, struct dice *dice);
