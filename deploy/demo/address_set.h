/*
 * A set of addresses, both families.
 *
 * Threads: none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address_set {
	uint8_t (*slots)[17]; /* version, then address; version 0 is free */
	size_t capacity, count;
};

/** Adds an address; @return 1 when it is new, 0 when not, -1 when memory is out */
int address_set_add(struct address_set *set, uint8_t version, const uint8_t address[16]);
void address_set_fini(struct address_set *set);
