#include "schemas/redis_keys.h"

#include <inttypes.h>
#include <stdio.h>

const char *redis_key(
	char out[REDIS_KEY_BYTES], const char *prefix, unsigned shard, const char *name)
{
	snprintf(out, REDIS_KEY_BYTES, "%s:{%u}:%s", prefix, shard, name);
	return out;
}

const char *redis_bucket_key(char out[REDIS_KEY_BYTES], const char *prefix, unsigned shard,
	const char *period, int64_t start_s, const char *name)
{
	snprintf(out, REDIS_KEY_BYTES, "%s:{%u}:%s:%" PRId64 ":%s", prefix, shard, period, start_s,
		name);
	return out;
}
