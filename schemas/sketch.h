/*
 * How many distinct destinations? A mergeable sketch of 32-bit hashes, exact while small.
 *
 * Up to SKETCH_LIST_MAX hashes are kept as they are, so the count is exact (two of 64 addresses
 * share a hash once in about two million such sets). Beyond that it becomes a HyperLogLog of 1,024
 * registers with a standard error of 1.04 / sqrt(1024) = 3.25 % (Flajolet et al., AofA 2007),
 * estimated with Ertl's improved estimator ("New cardinality estimation algorithms for HyperLogLog
 * sketches", 2017), which needs no bias tables.
 *
 * Encoded form: one byte form, then
 *   1: the hashes, ascending, 4 bytes each, little endian
 *   2: 1,024 registers, one byte each
 *   3: as 1, but memory for more ran out: the count is a lower bound
 *
 * The hash is fixed, so sketches of different sensors and times can be merged. It keeps addresses
 * out of sight, not secret: whoever has the topic can try all of a dark range's addresses.
 *
 * Threads: plain values, pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/bytes.h"

#define SKETCH_LIST_MAX	     64
#define SKETCH_PRECISION     10
#define SKETCH_REGISTERS     (1 << SKETCH_PRECISION)
#define SKETCH_ENCODED_BYTES (1 + SKETCH_REGISTERS)

enum sketch_form { SKETCH_LIST = 1, SKETCH_REGISTERED = 2, SKETCH_SATURATED = 3 };

/** A sketch unpacked, for merging and estimating. Zero-initialised it is empty. */
struct sketch {
	uint8_t form;			  /* enum sketch_form; 0 while empty */
	uint16_t count;			  /* hashes in `hashes` while a list */
	uint32_t hashes[SKETCH_LIST_MAX]; /* ascending, distinct */
	uint8_t registers[SKETCH_REGISTERS];
};

/** The hash of a destination address. @param size 4 or 16 */
uint32_t sketch_hash(const uint8_t *address, size_t size);

/** Sets a register block's register for one hash. */
void sketch_register_add(uint8_t registers[SKETCH_REGISTERS], uint32_t hash);

/** True when every register has a value that sketch_register_add can give it. */
bool sketch_registers_are_sound(const uint8_t registers[SKETCH_REGISTERS]);

void sketch_add(struct sketch *sketch, uint32_t hash);
void sketch_merge(struct sketch *into, const struct sketch *from);

/** Distinct hashes: exact for a list, an estimate for registers. */
uint64_t sketch_count(const struct sketch *sketch);

/** Writes the encoded form. @return its size in bytes */
size_t sketch_encode(const struct sketch *sketch, uint8_t out[SKETCH_ENCODED_BYTES]);

/** Reads an encoded sketch. @return 0 or FAIL_FORMAT */
int sketch_decode(struct sketch *out, struct bytes encoded) MUST_CHECK;
