#include "schemas/base/address.h"

#include <arpa/inet.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define PARTITION_SEED	    0x686f7368696d6931ULL /* fixed for ever: it decides where a flow lies */
#define NEIGHBOURS_V4_BYTES 3			  /* a /24 */
#define NEIGHBOURS_V6_BYTES 6			  /* a /48 */

const char *address_text(const struct address *address, char out[ADDRESS_TEXT_BYTES])
{
	int family = address->size == 16 ? AF_INET6 : AF_INET;

	out[0] = '\0';
	if (address->size != 0)
		(void)inet_ntop(family, address->bytes, out, ADDRESS_TEXT_BYTES);
	return out;
}

int address_parse(struct address *out, const char *text)
{
	struct address parsed = { .size = 4 };

	if (inet_pton(AF_INET, text, parsed.bytes) != 1) {
		parsed.size = 16;
		if (inet_pton(AF_INET6, text, parsed.bytes) != 1)
			return FAIL_FORMAT;
	}
	*out = parsed;
	return 0;
}

uint32_t address_partition(const struct address *actor, uint32_t partitions)
{
	size_t size = actor->size == 16 ? NEIGHBOURS_V6_BYTES : NEIGHBOURS_V4_BYTES;

	if (actor->size == 0 || partitions == 0)
		return 0;
	return (uint32_t)(XXH3_64bits_withSeed(actor->bytes, size, PARTITION_SEED) % partitions);
}
