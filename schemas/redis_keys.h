/*
 * Redis keys: how they are built and how long they live. The list for readers is in
 * schemas/README.md; names belong to the contract.
 *
 * Every key carries a hash tag with its shard's number, so that a cluster can hold them. One shard
 * is used so far.
 *
 * Threads: pure functions.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define REDIS_KEY_BYTES 320

/* Ports or AS numbers per hash. 128: Redis keeps them as a compact list however many are met. A
 * minute meets few of them, so that larger blocks cost less than many keys. */
#define REDIS_BLOCK_BITS	7
#define REDIS_MINUTE_BLOCK_BITS 13

/** PREFIX:{SHARD}:NAME */
const char *redis_key(
	char out[REDIS_KEY_BYTES], const char *prefix, unsigned shard, const char *name);

/** PREFIX:{SHARD}:PERIOD:START:NAME, for example hoshimi:{0}:hour:1732464000:packets:class */
const char *redis_bucket_key(char out[REDIS_KEY_BYTES], const char *prefix, unsigned shard,
	const char *period, int64_t start_s, const char *name);
