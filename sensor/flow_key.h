/*
 * What makes two packets one flow: actor and labels, as bytes in record order.
 *
 * Threads: pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/labels.h"

/**
 * How long a flow's key is. Almost all IPv4 flows need 16 bytes; the long form also holds a source
 * that is not the actor, and what an ICMP error quotes.
 */
enum flow_family { FLOW_V4, FLOW_V4_LONG, FLOW_V6, FLOW_FAMILIES };

#define FLOW_LABEL_BYTES 12
#define FLOW_QUOTE_BYTES 4
#define FLOW_KEY_MAX	 (16 + FLOW_LABEL_BYTES + 16 + FLOW_QUOTE_BYTES)

/** The key as bytes: actor, labels; in the long forms then source and quote. */
struct flow_key {
	union {
		uint8_t bytes[FLOW_KEY_MAX];
		uint64_t words[FLOW_KEY_MAX / 8];
	};
	uint8_t family; /* enum flow_family */
	uint8_t size;	/* flow_key_bytes(family) */
};

/** Labels of a key, taken apart. */
struct flow_labels {
	uint8_t class;
	uint8_t role;
	uint8_t protocol;
	uint8_t tool;
	int32_t service_port;
	uint32_t marks;
	uint8_t payload;
	bool has_quote;
	bool quote_matches;
	bool quote_has_port;
	uint8_t quoted_protocol;
	uint16_t quoted_port;
	bool is_overflow;
};

/** Builds a key. @param actor, source  `address_bytes` each (4 or 16) */
void flow_key_make(struct flow_key *out, const uint8_t *actor, const uint8_t *source,
	size_t address_bytes, const struct flow_labels *labels);
void flow_key_labels(struct flow_labels *out, const uint8_t *key, enum flow_family family);
size_t flow_key_bytes(enum flow_family family);

/** 4 or 16. */
size_t flow_key_address_bytes(enum flow_family family);

/** The source's address in a key; the actor's where there is none of its own. */
const uint8_t *flow_key_source(const uint8_t *key, enum flow_family family);

/** The table's keyed hash, and the fixed one that chooses a shard of the flow table. */
uint64_t flow_key_hash(const struct flow_key *key, uint64_t secret);
uint32_t flow_key_shard(const struct flow_key *key, uint32_t shards);
