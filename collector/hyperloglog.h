/*
 * Redis's HyperLogLog, made and read outside Redis: many elements become one value that PFMERGE
 * takes, and what PFCOUNT would say of a union is computed here.
 *
 * The layout, hash and estimate are Redis's own (hyperloglog.c: MurmurHash64A with its seed, 16,384
 * registers of 6 bits), so elements added here and by PFADD count as the same. Standard error
 * 1.04 / sqrt(16384) = 0.81 %.
 *
 * Beside it the small form, in which up to 12 registers lie in a field of a hash: words of four
 * characters, three for the register's number and one for its rank, digits of base 64 in the
 * ascending alphabet `-0-9A-Z_a-z`, most significant first. It loses nothing: the registers are
 * those that the elements would have set.
 *
 * Threads: plain values.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/bytes.h"

#define HYPERLOGLOG_BYTES	 12304 /* 16 of header, 16,384 registers of 6 bits */
#define HYPERLOGLOG_HEADER_BYTES 16    /* the rest is registers alone */
#define HYPERLOGLOG_ERROR	 0.0081
#define HYPERLOGLOG_RANK_MAX	 32 /* what Redis's sparse form holds, see hyperloglog_element */
#define HYPERLOGLOG_WORD_BYTES	 4
#define HYPERLOGLOG_WORDS_MAX                                                                      \
	12 /* with two numbers up to 64 bytes, the longest value in a compact hash of Redis */

/** The register that an element touches, and what it puts there. */
struct hyperloglog_place {
	uint16_t index;
	uint8_t rank;
};

/** An empty one. */
void hyperloglog_init(uint8_t out[HYPERLOGLOG_BYTES]);

/** Adds an element, as PFADD would. */
void hyperloglog_add(uint8_t hll[HYPERLOGLOG_BYTES], const void *element, size_t size);

struct hyperloglog_place hyperloglog_place_of(const void *element, size_t size);

/**
 * The element that stands for a hash: the hash itself, or one made from it when its rank would
 * pass HYPERLOGLOG_RANK_MAX (one in 2^32), so that every form of a sketch can hold it.
 */
uint64_t hyperloglog_element(uint64_t hash);

/** Writes a register in the small form. */
void hyperloglog_word(struct hyperloglog_place place, char out[HYPERLOGLOG_WORD_BYTES]);

/** Merges registers in the small form, any number of words. @return 0 or FAIL_FORMAT */
int hyperloglog_merge_words(uint8_t hll[HYPERLOGLOG_BYTES], struct bytes words) MUST_CHECK;

/** Merges a value of Redis, dense or sparse. @return 0 or FAIL_FORMAT */
int hyperloglog_merge(uint8_t hll[HYPERLOGLOG_BYTES], struct bytes value) MUST_CHECK;

/** How many elements were added, estimated as PFCOUNT does. */
uint64_t hyperloglog_count(const uint8_t hll[HYPERLOGLOG_BYTES]);
