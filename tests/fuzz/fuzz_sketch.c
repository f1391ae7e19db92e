/*
 * Any bytes as two encoded sketches: what is accepted encodes to itself, and merging them gives the
 * same either way.
 *
 * Input: two bytes for the length of the first (big endian), the first, the second.
 */
#include "schemas/sketch.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool decode(struct sketch *out, struct bytes encoded)
{
	uint8_t again[SKETCH_ENCODED_BYTES];
	size_t size;

	memset(out, 0, sizeof(*out));
	if (sketch_decode(out, encoded) != 0)
		return false;
	size = sketch_encode(out, again);
	require(size <= SKETCH_ENCODED_BYTES);
	if (encoded.size > 0)
		require(size == encoded.size && memcmp(again, encoded.data, size) == 0);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sketch a, b, ab, ba;
	uint8_t ab_bytes[SKETCH_ENCODED_BYTES], ba_bytes[SKETCH_ENCODED_BYTES];
	size_t first, ab_size;

	if (size < 2)
		return 0;
	first = load_u16(data);
	if (first > size - 2)
		first = size - 2;
	if (!decode(&a, (struct bytes){ data + 2, first }) ||
		!decode(&b, (struct bytes){ data + 2 + first, size - 2 - first }))
		return 0;
	ab = a;
	ba = b;
	sketch_merge(&ab, &b);
	sketch_merge(&ba, &a);
	ab_size = sketch_encode(&ab, ab_bytes);
	require(ab_size == sketch_encode(&ba, ba_bytes));
	require(memcmp(ab_bytes, ba_bytes, ab_size) == 0);
	require(sketch_count(&ab) == sketch_count(&ba));
	if (ab.form != SKETCH_REGISTERED)
		require(sketch_count(&ab) >= sketch_count(&a) &&
			sketch_count(&ab) >= sketch_count(&b));
	return 0;
}
