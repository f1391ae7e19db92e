/*
 * The dark ranges: which addresses are watched, and how many are they?
 *
 * Prefixes of both families with exclusions; the longest one that holds an address decides.
 * Prepared once, then asked per packet.
 *
 * Threads: constant after darknet_create; any thread may ask.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/address.h"
#include "schemas/base/errors.h"

#define DARKNET_NONE UINT32_MAX /* not monitored */

struct darknet;

/** What is known of one included prefix. */
struct darknet_range {
	char prefix[PREFIX_TEXT_BYTES];
	uint8_t address_bytes; /* 4 or 16 */
	double addresses; /* that this prefix decides: exclusions and longer prefixes taken out */
};

/**
 * Builds the ranges from texts: "PREFIX" includes, "!PREFIX" excludes, a plain address is a prefix
 * of its full length. A prefix with host bits set is refused and the network it means is named.
 * The same prefix twice is one; included and excluded at once is refused.
 *
 * @return 0, FAIL_USAGE with `msg`, -ENOMEM
 */
int darknet_create(struct darknet **out, const char *const *texts, size_t count,
	struct message *msg) MUST_CHECK;
void darknet_destroy(struct darknet *darknet);

/**
 * Reads a file of prefixes, one a line, `#` to the end of a line is a comment.
 *
 * @param texts  set to an array of strings; both are the caller's to free
 * @return 0, FAIL_CONFIG with `FILE:LINE:COLUMN: reason`, -ENOMEM
 */
int darknet_read_file(
	char ***texts, size_t *count, const char *path, struct message *msg) MUST_CHECK;

/** The range that holds an address, DARKNET_NONE when it is not monitored. @param bytes 4 or 16 */
uint32_t darknet_find(const struct darknet *darknet, const uint8_t *address, size_t bytes);

/** What the ranges were made of, comma separated: darknet_create makes the same of it. */
const char *darknet_source(const struct darknet *darknet);

size_t darknet_range_count(const struct darknet *darknet);
const struct darknet_range *darknet_range(const struct darknet *darknet, size_t index);

/** Monitored IPv4 addresses, and IPv6 prefixes. */
uint64_t darknet_addresses(const struct darknet *darknet);
uint64_t darknet_ipv6_prefixes(const struct darknet *darknet);
