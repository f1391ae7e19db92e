#include "schemas/base/count_map.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_CAPACITY 64

/* A slot: the key, a word that says whether it is taken, the value. */
struct slot {
	uint64_t key;
	uint64_t is_taken;
};

static struct slot *slot_at(const struct count_map *map, size_t index)
{
	return (struct slot *)(void *)(map->slots + index * map->slot_bytes);
}

static void *value_of(struct slot *slot)
{
	return slot + 1;
}

/* splitmix64's finaliser: Steele, Lea, Flood, OOPSLA 2014 */
static uint64_t mix(uint64_t value)
{
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ULL;
	value = (value ^ value >> 27) * 0x94d049bb133111ebULL;
	return value ^ value >> 31;
}

int count_map_init(struct count_map *map, size_t value_bytes)
{
	*map = (struct count_map){ .value_bytes = value_bytes, .capacity = FIRST_CAPACITY };
	map->slot_bytes = sizeof(struct slot) + ((value_bytes + 7) & ~(size_t)7);
	map->slots = calloc(map->capacity, map->slot_bytes);
	if (getrandom(&map->seed, sizeof(map->seed), 0) != (ssize_t)sizeof(map->seed))
		map->seed = (uintptr_t)map->slots;
	return map->slots != NULL ? 0 : -ENOMEM;
}

void count_map_fini(struct count_map *map)
{
	free(map->slots);
	*map = (struct count_map){ 0 };
}

static struct slot *place_of(const struct count_map *map, uint64_t key)
{
	size_t index = mix(key ^ map->seed) & (map->capacity - 1);

	while (slot_at(map, index)->is_taken && slot_at(map, index)->key != key)
		index = (index + 1) & (map->capacity - 1);
	return slot_at(map, index);
}

static bool grow(struct count_map *map)
{
	struct count_map larger = *map;

	larger.capacity *= 2;
	larger.slots = calloc(larger.capacity, larger.slot_bytes);
	if (larger.slots == NULL)
		return false;
	for (size_t i = 0; i < map->capacity; i++)
		if (slot_at(map, i)->is_taken)
			memcpy(place_of(&larger, slot_at(map, i)->key), slot_at(map, i),
				map->slot_bytes);
	free(map->slots);
	*map = larger;
	return true;
}

void *count_map_at(struct count_map *map, uint64_t key)
{
	struct slot *slot = place_of(map, key);

	if (slot->is_taken)
		return value_of(slot);
	if ((map->count + 1) * 4 > map->capacity * 3) {
		if (!grow(map))
			return NULL;
		slot = place_of(map, key);
	}
	slot->key = key;
	slot->is_taken = 1;
	map->count++;
	return value_of(slot);
}

int count_map_add(struct count_map *map, uint64_t key, uint64_t amount)
{
	uint64_t *value = count_map_at(map, key);

	if (value == NULL)
		return -ENOMEM;
	*value += amount;
	return 0;
}

void *count_map_next(const struct count_map *map, size_t *cursor, uint64_t *key)
{
	for (; *cursor < map->capacity; ++*cursor) {
		struct slot *slot = slot_at(map, *cursor);

		if (!slot->is_taken)
			continue;
		++*cursor;
		*key = slot->key;
		return value_of(slot);
	}
	return NULL;
}

static int compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t *count_map_keys(const struct count_map *map)
{
	uint64_t *keys = malloc((map->count + 1) * sizeof(*keys));
	size_t cursor = 0, count = 0;

	if (keys == NULL)
		return NULL;
	while (count_map_next(map, &cursor, &keys[count]) != NULL)
		count++;
	qsort(keys, count, sizeof(*keys), compare_keys);
	return keys;
}

void count_map_clear(struct count_map *map)
{
	memset(map->slots, 0, map->capacity * map->slot_bytes);
	map->count = 0;
}
