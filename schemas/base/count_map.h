/*
 * A growing hash table from 64-bit keys to small records of counters.
 *
 * Keys are mixed with a random seed, so that nobody outside can build colliding ones.
 *
 * Threads: one at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/errors.h"

struct count_map {
	uint8_t *slots;
	size_t slot_bytes;
	size_t value_bytes;
	size_t capacity;
	size_t count;
	uint64_t seed;
};

/** An empty map whose values are `value_bytes` long and start as zeros. Release with count_map_fini. */
int count_map_init(struct count_map *map, size_t value_bytes) MUST_CHECK;
void count_map_fini(struct count_map *map);

/** The value of a key, made when it is new; NULL when memory is out. Valid until the next call. */
void *count_map_at(struct count_map *map, uint64_t key);

/** Adds to a map of one uint64_t a value. @return 0 or -ENOMEM */
int count_map_add(struct count_map *map, uint64_t key, uint64_t amount) MUST_CHECK;

/** Visits the entries: `*cursor` starts at 0. @return the value and its key, NULL at the end */
void *count_map_next(const struct count_map *map, size_t *cursor, uint64_t *key);

/** All keys in ascending order, `map->count` of them; the caller frees. NULL when memory is out. */
uint64_t *count_map_keys(const struct count_map *map);

/** Forgets all entries, keeps the memory. */
void count_map_clear(struct count_map *map);
