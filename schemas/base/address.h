/*
 * IP addresses of both families as plain values.
 *
 * Threads: plain values, pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "schemas/base/errors.h"

#define ADDRESS_TEXT_BYTES 46 /* INET6_ADDRSTRLEN */
#define PREFIX_TEXT_BYTES  50

/** An address: `size` is 4 (IPv4), 16 (IPv6) or 0 (none); bytes in network order. */
struct address {
	uint8_t size;
	uint8_t bytes[16];
};

static inline bool address_equals(const struct address *a, const struct address *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static inline unsigned address_ip_version(const struct address *a)
{
	return a->size == 16 ? 6 : 4;
}

/** Writes the usual text form (RFC 5952 for IPv6); "" for none. Returns `out`. */
const char *address_text(const struct address *address, char out[ADDRESS_TEXT_BYTES]);

/** Reads an address of either family. @return 0 or FAIL_FORMAT */
int address_parse(struct address *out, const char *text) MUST_CHECK;

/**
 * The flow log's partition of an actor: a fixed hash of its /24 (IPv6: /48) modulo the number of
 * partitions, so that one reader sees all of an actor and of its neighbours. No address: 0.
 */
uint32_t address_partition(const struct address *actor, uint32_t partitions);
