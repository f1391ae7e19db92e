#include "schemas/sketch.h"

#include <math.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SKETCH_SEED 0x686f7368696d6932ULL /* fixed for ever: sketches of all times can be merged */
#define VALUE_BITS  (32 - SKETCH_PRECISION)
#define ALPHA_INF   0.721347520444481703680 /* 1 / (2 ln 2), Ertl 2017, section 4.3 */

uint32_t sketch_hash(const uint8_t *address, size_t size)
{
	if (size == 4) /* a constant, so that the hash is a multiplication or two */
		return (uint32_t)XXH3_64bits_withSeed(address, 4, SKETCH_SEED);
	return (uint32_t)XXH3_64bits_withSeed(address, size, SKETCH_SEED);
}

void sketch_register_add(uint8_t registers[SKETCH_REGISTERS], uint32_t hash)
{
	uint32_t index = hash & (SKETCH_REGISTERS - 1);
	uint32_t value = hash >> SKETCH_PRECISION;
	uint8_t rank = VALUE_BITS + 1;

	if (value != 0)
		rank = (uint8_t)(__builtin_ctz(value) + 1);
	if (registers[index] < rank)
		registers[index] = rank;
}

bool sketch_registers_are_sound(const uint8_t registers[SKETCH_REGISTERS])
{
	bool is_sound = true;

	for (unsigned i = 0; i < SKETCH_REGISTERS; i++)
		is_sound &= registers[i] <= VALUE_BITS + 1;
	return is_sound;
}

static void become_registers(struct sketch *sketch)
{
	memset(sketch->registers, 0, sizeof(sketch->registers));
	for (unsigned i = 0; i < sketch->count; i++)
		sketch_register_add(sketch->registers, sketch->hashes[i]);
	sketch->form = SKETCH_REGISTERED;
	sketch->count = 0;
}

static unsigned lower_bound(const struct sketch *sketch, uint32_t hash)
{
	unsigned at = 0;

	while (at < sketch->count && sketch->hashes[at] < hash)
		at++;
	return at;
}

void sketch_add(struct sketch *sketch, uint32_t hash)
{
	unsigned at;

	if (sketch->form == SKETCH_REGISTERED) {
		sketch_register_add(sketch->registers, hash);
		return;
	}
	if (sketch->form == 0)
		sketch->form = SKETCH_LIST;
	at = lower_bound(sketch, hash);
	if (at < sketch->count && sketch->hashes[at] == hash)
		return;
	if (sketch->count == SKETCH_LIST_MAX) {
		become_registers(sketch);
		sketch_register_add(sketch->registers, hash);
		return;
	}
	memmove(&sketch->hashes[at + 1], &sketch->hashes[at],
		(sketch->count - at) * sizeof(sketch->hashes[0]));
	sketch->hashes[at] = hash;
	sketch->count++;
}

void sketch_merge(struct sketch *into, const struct sketch *from)
{
	bool saturated = into->form == SKETCH_SATURATED || from->form == SKETCH_SATURATED;

	if (from->form == SKETCH_REGISTERED && into->form != SKETCH_REGISTERED)
		become_registers(into);
	if (from->form == SKETCH_REGISTERED) {
		for (unsigned i = 0; i < SKETCH_REGISTERS; i++)
			if (into->registers[i] < from->registers[i])
				into->registers[i] = from->registers[i];
		return;
	}
	for (unsigned i = 0; i < from->count; i++)
		sketch_add(into, from->hashes[i]);
	if (saturated && into->form != SKETCH_REGISTERED)
		into->form = SKETCH_SATURATED;
}

/* Ertl 2017, algorithm 5 */
static double sigma(double x)
{
	double y = 1, z = x, before;

	if (x == 1.0)
		return INFINITY;
	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (before != z);
	return z;
}

/* Ertl 2017, algorithm 6 */
static double tau(double x)
{
	double y = 1, z = 1 - x, before;

	if (x == 0.0 || x == 1.0)
		return 0.0;
	do {
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= (1 - x) * (1 - x) * y;
	} while (before != z);
	return z / 3;
}

static uint64_t registers_count(const uint8_t registers[SKETCH_REGISTERS])
{
	unsigned histogram[VALUE_BITS + 2] = { 0 };
	double m = SKETCH_REGISTERS;
	double z;

	for (unsigned i = 0; i < SKETCH_REGISTERS; i++)
		histogram[registers[i]]++;
	z = m * tau(1 - histogram[VALUE_BITS + 1] / m);
	for (int k = VALUE_BITS; k >= 1; k--)
		z = 0.5 * (z + histogram[k]);
	z += m * sigma(histogram[0] / m);
	return (uint64_t)llround(ALPHA_INF * m * m / z);
}

uint64_t sketch_count(const struct sketch *sketch)
{
	if (sketch->form == SKETCH_REGISTERED)
		return registers_count(sketch->registers);
	return sketch->count;
}

size_t sketch_encode(const struct sketch *sketch, uint8_t out[SKETCH_ENCODED_BYTES])
{
	out[0] = sketch->form != 0 ? sketch->form : SKETCH_LIST;
	if (sketch->form == SKETCH_REGISTERED) {
		memcpy(out + 1, sketch->registers, SKETCH_REGISTERS);
		return SKETCH_ENCODED_BYTES;
	}
	for (unsigned i = 0; i < sketch->count; i++)
		store_u32_le(out + 1 + 4 * (size_t)i, sketch->hashes[i]);
	return 1 + 4 * (size_t)sketch->count;
}

static int decode_list(struct sketch *out, struct byte_reader *r)
{
	size_t count = bytes_left(r) / 4;

	if (bytes_left(r) % 4 != 0 || count > SKETCH_LIST_MAX)
		return FAIL_FORMAT;
	for (size_t i = 0; i < count; i++) {
		out->hashes[i] = bytes_u32_le(r);
		if (i > 0 && out->hashes[i] <= out->hashes[i - 1])
			return FAIL_FORMAT;
	}
	out->count = (uint16_t)count;
	return 0;
}

static int decode_registers(struct sketch *out, struct byte_reader *r)
{
	const uint8_t *registers = bytes_take(r, SKETCH_REGISTERS);

	if (registers == NULL || bytes_left(r) != 0)
		return FAIL_FORMAT;
	if (!sketch_registers_are_sound(registers))
		return FAIL_FORMAT;
	memcpy(out->registers, registers, SKETCH_REGISTERS);
	return 0;
}

int sketch_decode(struct sketch *out, struct bytes encoded)
{
	struct byte_reader r = byte_reader_of(encoded.data, encoded.size);

	out->count = 0;
	out->form = bytes_u8(&r);
	if (r.truncated) {
		out->form = 0; /* no bytes: an empty sketch */
		return 0;
	}
	if (out->form == SKETCH_LIST || out->form == SKETCH_SATURATED)
		return decode_list(out, &r);
	if (out->form == SKETCH_REGISTERED)
		return decode_registers(out, &r);
	return FAIL_FORMAT;
}
