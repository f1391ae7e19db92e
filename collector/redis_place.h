/*
 * Where the counters of a label lie in a bucket: names shared by who writes and who reads.
 *
 * Services and AS numbers are filed in blocks of neighbouring numbers, everything else in one hash
 * a dimension. Keys and fields are listed in schemas/README.md.
 *
 * Threads: pure functions.
 */
#pragma once

#include "collector/tally.h"
#include "schemas/redis_keys.h"

#define REDIS_BLOCK_BYTES  64			   /* "service:backscatter:icmp6:1023" */
#define REDIS_SKETCH_BYTES (LABEL_TEXT_BYTES + 64) /* "actors:service:backscatter:icmp6/" */

struct redis_place {
	char block[REDIS_BLOCK_BYTES];	 /* behind counters:, or packets:, bytes: and sketches: */
	char field[LABEL_TEXT_BYTES];	 /* in these hashes: the label, or its number */
	char sketch[REDIS_SKETCH_BYTES]; /* with the field behind it: a sketch of its own */
};

/**
 * Whether a dimension has many labels: it is filed in blocks, whose names stand in the bucket's set
 * `blocks`, with everything of a label in one field. The others have a hash each of packets, bytes
 * and sketches.
 */
bool redis_place_has_blocks(enum dimension dimension);

/** A number that two labels of one bucket share if, and only if, they lie in the same hash. */
uint64_t redis_place_block_id(enum period period, const struct tally_key *key);

void redis_place_of_key(struct redis_place *out, const struct tally *tally, enum period period,
	const struct tally_key *key);

/**
 * The place of a label given as text, as a report has it.
 *
 * @return false when it is no label of that dimension
 */
bool redis_place_of_label(struct redis_place *out, enum period period, enum dimension dimension,
	unsigned role, const char *label) MUST_CHECK;

/** What a block's name means. */
struct redis_block {
	enum dimension dimension;
	unsigned role;
	uint8_t protocol;
};

/** @return false for names of no block that this release knows */
bool redis_block_parse(struct redis_block *out, const char *name) MUST_CHECK;
