#include "schemas/topics.h"

#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define KEY_SEED 0x686f7368696d6934ULL /* fixed for ever: it decides where a cursor lies */

#define TOPIC(ident, name, partitions, days, cleanup)                                              \
	[TOPIC_##ident] = { name, partitions, days, cleanup },
static const struct topic_row rows[TOPIC_COUNT] = { TOPIC_ROWS };
#undef TOPIC

const struct topic_row *topic_row(enum topic topic)
{
	return &rows[topic];
}

const char *topic_name(char out[TOPIC_NAME_BYTES], const char *prefix, enum topic topic)
{
	snprintf(out, TOPIC_NAME_BYTES, "%s.%s", prefix, rows[topic].name);
	return out;
}

uint32_t topic_key_partition(const char *key, uint32_t partitions)
{
	return (uint32_t)(XXH3_64bits_withSeed(key, strlen(key), KEY_SEED) % partitions);
}
