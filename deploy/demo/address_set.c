/* Open addressing, at most two thirds full. */
#include "deploy/demo/address_set.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 4096

static size_t place_of(const struct address_set *set, const uint8_t key[17])
{
	uint64_t head, tail, hash;
	size_t at;

	memcpy(&head, key + 1, 8);
	memcpy(&tail, key + 9, 8);
	hash = (head ^ (tail * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xbf58476d1ce4e5b9);
	at = (size_t)(hash ^ (hash >> 32)) & (set->capacity - 1);
	while (set->slots[at][0] != 0 && memcmp(set->slots[at], key, 17) != 0)
		at = (at + 1) & (set->capacity - 1);
	return at;
}

static int grow(struct address_set *set)
{
	struct address_set wider = { .capacity =
					     set->capacity == 0 ? FIRST_SLOTS : set->capacity * 2,
		.count = set->count };

	wider.slots = calloc(wider.capacity, sizeof(*wider.slots));
	if (wider.slots == NULL)
		return -1;
	for (size_t i = 0; i < set->capacity; i++)
		if (set->slots[i][0] != 0)
			memcpy(wider.slots[place_of(&wider, set->slots[i])], set->slots[i], 17);
	free(set->slots);
	*set = wider;
	return 0;
}

int address_set_add(struct address_set *set, uint8_t version, const uint8_t address[16])
{
	uint8_t key[17] = { version };
	size_t at;

	if (set->count * 3 >= set->capacity * 2 && grow(set) != 0)
		return -1;
	memcpy(key + 1, address, version == 4 ? 4 : 16);
	at = place_of(set, key);
	if (set->slots[at][0] != 0)
		return 0;
	memcpy(set->slots[at], key, 17);
	set->count++;
	return 1;
}

void address_set_fini(struct address_set *set)
{
	free(set->slots);
	*set = (struct address_set){ 0 };
}
