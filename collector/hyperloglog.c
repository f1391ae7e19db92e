#include "collector/hyperloglog.h"

#include <string.h>

#define HEADER_BYTES  16
#define INDEX_BITS    14
#define RANK_MAX      50 /* 64 - 14 */
#define REGISTER_BITS 6
#define REDIS_SEED    0xadc83b19ULL
#define STALE_CACHE   0x80 /* highest bit of the cached cardinality: not valid */
#define MURMUR_FACTOR 0xc6a4a7935bd1e995ULL

/* MurmurHash64A: Austin Appleby, public domain algorithm; little endian as Redis uses it. */
static uint64_t murmur64a(const uint8_t *data, size_t size)
{
	uint64_t hash = REDIS_SEED ^ (size * MURMUR_FACTOR);
	size_t whole = size & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8) {
		uint64_t k = 0;

		for (unsigned b = 0; b < 8; b++)
			k |= (uint64_t)data[i + b] << (8 * b);
		k *= MURMUR_FACTOR;
		k ^= k >> 47;
		hash ^= k * MURMUR_FACTOR;
		hash *= MURMUR_FACTOR;
	}
	for (size_t b = size - whole; b-- > 0;)
		hash ^= (uint64_t)data[whole + b] << (8 * b);
	if (size != whole)
		hash *= MURMUR_FACTOR;
	hash ^= hash >> 47;
	hash *= MURMUR_FACTOR;
	return hash ^ hash >> 47;
}

void hyperloglog_init(uint8_t out[HYPERLOGLOG_BYTES])
{
	memset(out, 0, HYPERLOGLOG_BYTES);
	memcpy(out, "HYLL", 4); /* then: encoding 0 (dense), three unused, cached cardinality */
	out[15] = STALE_CACHE;
}

static unsigned get_register(const uint8_t *registers, unsigned index)
{
	unsigned bit = index * REGISTER_BITS, byte = bit / 8, shift = bit & 7;
	unsigned word = registers[byte];

	if (shift >
		2) /* the last register ends inside its byte, so this never reads past the end */
		word |= (unsigned)registers[byte + 1] << 8;
	return word >> shift & 0x3f;
}

static void set_register(uint8_t *registers, unsigned index, unsigned value)
{
	unsigned bit = index * REGISTER_BITS, byte = bit / 8, shift = bit & 7;

	registers[byte] = (uint8_t)((registers[byte] & ~(0x3fu << shift)) | value << shift);
	if (shift > 2)
		registers[byte + 1] = (uint8_t)((registers[byte + 1] & ~(0x3fu >> (8 - shift))) |
						value >> (8 - shift));
}

void hyperloglog_add(uint8_t hll[HYPERLOGLOG_BYTES], const void *element, size_t size)
{
	uint64_t hash = murmur64a(element, size);
	unsigned index = (unsigned)(hash & ((1u << INDEX_BITS) - 1));
	uint64_t rest = hash >> INDEX_BITS | 1ULL << RANK_MAX;
	unsigned rank = (unsigned)__builtin_ctzll(rest) + 1;

	if (get_register(hll + HEADER_BYTES, index) < rank)
		set_register(hll + HEADER_BYTES, index, rank);
}
