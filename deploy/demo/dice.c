/*
 * xoshiro256** by Blackman and Vigna ("Scrambled linear pseudorandom number generators", ACM TOMS
 * 47(4), 2021), its state filled by splitmix64 as its authors advise. Bounded draws by Lemire's
 * multiplication; its bias (bound / 2^32) does not matter here.
 */
#include "deploy/demo/dice.h"

#include <stdlib.h>

#define ZIPF_SCALE (UINT64_C(1) << 32)

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void dice_init(struct dice *dice, uint64_t seed)
{
	for (size_t i = 0; i < 4; i++)
		dice->state[i] = splitmix(&seed);
}

static uint64_t rotate(uint64_t x, int bits)
{
	return (x << bits) | (x >> (64 - bits));
}

uint64_t dice_u64(struct dice *dice)
{
	uint64_t *s = dice->state;
	uint64_t result = rotate(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

uint32_t dice_u32(struct dice *dice)
{
	return (uint32_t)(dice_u64(dice) >> 32);
}

uint16_t dice_u16(struct dice *dice)
{
	return (uint16_t)(dice_u64(dice) >> 48);
}

uint32_t dice_below(struct dice *dice, uint32_t bound)
{
	return (uint32_t)(((uint64_t)dice_u32(dice) * bound) >> 32);
}

uint32_t dice_between(struct dice *dice, uint32_t low, uint32_t high)
{
	return low + dice_below(dice, high - low + 1);
}

int dice_table_init_zipf(struct dice_table *table, size_t count)
{
	uint64_t sum = 0;

	table->upto = calloc(count, sizeof(*table->upto));
	if (table->upto == NULL)
		return -1;
	for (size_t i = 0; i < count; i++)
		table->upto[i] = sum += ZIPF_SCALE / (i + 1);
	table->count = count;
	return 0;
}

void dice_table_fini(struct dice_table *table)
{
	free(table->upto);
	table->upto = NULL;
}

size_t dice_table_draw(const struct dice_table *table, struct dice *dice)
{
	uint64_t draw = dice_u64(dice) % table->upto[table->count - 1];
	size_t low = 0, high = table->count - 1;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (draw < table->upto[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}
