#include "collector/hyperloglog.h"

#include <math.h>
#include <string.h>

#define HEADER_BYTES  16
#define INDEX_BITS    14
#define REGISTERS     (1u << INDEX_BITS)
#define RANK_MAX      50 /* 64 - 14 */
#define REGISTER_BITS 6
#define FORM_DENSE    0
#define FORM_SPARSE   1
#define ALPHA_INF     0.721347520444481703680 /* 1 / (2 ln 2) */
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

struct hyperloglog_place hyperloglog_place_of(const void *element, size_t size)
{
	uint64_t hash = murmur64a(element, size);
	uint64_t rest = hash >> INDEX_BITS | 1ULL << RANK_MAX;

	return (struct hyperloglog_place){ .index = (uint16_t)(hash & (REGISTERS - 1)),
		.rank = (uint8_t)(__builtin_ctzll(rest) + 1) };
}

uint64_t hyperloglog_element(uint64_t hash)
{
	while (hyperloglog_place_of(&hash, sizeof(hash)).rank > HYPERLOGLOG_RANK_MAX)
		hash = hash * MURMUR_FACTOR + 1; /* full period, so this ends */
	return hash;
}

static void raise_register(uint8_t *registers, unsigned index, unsigned rank)
{
	if (get_register(registers, index) < rank)
		set_register(registers, index, rank);
}

void hyperloglog_add(uint8_t hll[HYPERLOGLOG_BYTES], const void *element, size_t size)
{
	struct hyperloglog_place place = hyperloglog_place_of(element, size);

	raise_register(hll + HEADER_BYTES, place.index, place.rank);
}

/* ---- the small form ---- */

static const char digits[64] = { '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B',
	'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T',
	'U', 'V', 'W', 'X', 'Y', 'Z', '_', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k',
	'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z' };

void hyperloglog_word(struct hyperloglog_place place, char out[HYPERLOGLOG_WORD_BYTES])
{
	out[0] = digits[place.index >> 12 & 63];
	out[1] = digits[place.index >> 6 & 63];
	out[2] = digits[place.index & 63];
	out[3] = digits[place.rank & 63];
}

static unsigned digit_of(uint8_t character)
{
	const char *at = memchr(digits, character, sizeof(digits));

	return at != NULL ? (unsigned)(at - digits) : UINT16_MAX; /* no digit: beyond every bound */
}

int hyperloglog_merge_words(uint8_t hll[HYPERLOGLOG_BYTES], struct bytes words)
{
	if (words.size % HYPERLOGLOG_WORD_BYTES != 0)
		return FAIL_FORMAT;
	for (size_t i = 0; i < words.size; i += HYPERLOGLOG_WORD_BYTES) {
		const uint8_t *word = words.data + i;
		unsigned high = digit_of(word[0]), middle = digit_of(word[1]),
			 low = digit_of(word[2]), rank = digit_of(word[3]);

		if (high >= REGISTERS >> 12 || middle > 63 || low > 63 || rank == 0 ||
			rank > HYPERLOGLOG_RANK_MAX)
			return FAIL_FORMAT;
		raise_register(hll + HEADER_BYTES, high << 12 | middle << 6 | low, rank);
	}
	return 0;
}

/* ---- values of Redis ---- */

static int merge_dense(uint8_t *registers, struct byte_reader *r)
{
	const uint8_t *other = bytes_take(r, HYPERLOGLOG_BYTES - HEADER_BYTES);

	if (other == NULL)
		return FAIL_FORMAT;
	for (unsigned i = 0; i < REGISTERS; i++)
		raise_register(registers, i, get_register(other, i));
	return 0;
}

/*
 * Opcodes: 00xxxxxx           x + 1 registers are zero
 *          01xxxxxx yyyyyyyy  xy + 1 registers are zero
 *          1vvvvvxx           x + 1 registers hold v + 1
 */
static int merge_sparse(uint8_t *registers, struct byte_reader *r)
{
	unsigned index = 0;

	while (bytes_left(r) > 0) {
		unsigned code = bytes_u8(r), run;

		if ((code & 0x80) != 0) {
			run = (code & 3) + 1;
			if (index + run > REGISTERS)
				return FAIL_FORMAT;
			for (unsigned i = 0; i < run; i++)
				raise_register(registers, index + i, (code >> 2 & 31) + 1);
		} else if ((code & 0x40) != 0) {
			run = ((code & 63) << 8 | bytes_u8(r)) + 1;
		} else {
			run = code + 1;
		}
		index += run;
		if (index > REGISTERS)
			return FAIL_FORMAT;
	}
	return index == REGISTERS && !r->truncated ? 0 : FAIL_FORMAT;
}

int hyperloglog_merge(uint8_t hll[HYPERLOGLOG_BYTES], struct bytes value)
{
	struct byte_reader r = byte_reader_of(value.data, value.size);
	const uint8_t *header = bytes_take(&r, HEADER_BYTES);

	if (header == NULL || memcmp(header, "HYLL", 4) != 0)
		return FAIL_FORMAT;
	if (header[4] == FORM_DENSE)
		return merge_dense(hll + HEADER_BYTES, &r);
	return header[4] == FORM_SPARSE ? merge_sparse(hll + HEADER_BYTES, &r) : FAIL_FORMAT;
}

/* ---- the estimate: Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
 * arXiv:1702.01284, algorithm 6; the same steps as Redis's, so that the same number comes out ---- */

static double sigma(double x)
{
	double y = 1, z = x, before;

	if (x == 1)
		return INFINITY;
	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (before < z);
	return z;
}

static double tau(double x)
{
	double y = 1, z = 1 - x, before;

	if (x <= 0 || x >= 1)
		return 0;
	do {
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= pow(1 - x, 2) * y;
	} while (before > z);
	return z / 3;
}

uint64_t hyperloglog_count(const uint8_t hll[HYPERLOGLOG_BYTES])
{
	unsigned histogram[64] = { 0 };
	const double m = REGISTERS;
	double z;

	for (unsigned i = 0; i < REGISTERS; i++)
		histogram[get_register(hll + HEADER_BYTES, i)]++;
	z = m * tau((m - histogram[RANK_MAX + 1]) / m);
	for (unsigned rank = RANK_MAX; rank >= 1; rank--) {
		z += histogram[rank];
		z *= 0.5;
	}
	z += m * sigma(histogram[0] / m);
	return (uint64_t)llround(ALPHA_INF * m * m / z);
}
