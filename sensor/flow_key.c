#include "sensor/flow_key.h"

#include <assert.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/bytes.h"

#define SHARD_SEED                                                                                 \
	0x686f7368696d6933ULL /* fixed: shards decide what overflows, which must repeat */

static const uint8_t key_bytes[FLOW_FAMILIES] = {
	[FLOW_V4] = 4 + FLOW_LABEL_BYTES,
	[FLOW_V4_LONG] = 4 + FLOW_LABEL_BYTES + 4 + FLOW_QUOTE_BYTES,
	[FLOW_V6] = 16 + FLOW_LABEL_BYTES + 16 + FLOW_QUOTE_BYTES,
};

/*
 * labels  0 class | 1 role, overflow | 2 protocol | 3 tool | 4 payload
 *         5 service port + 1 in three bytes, 0 none (so that key order is port order)
 *         8 marks
 * quote   0 is long, flags | 1 quoted protocol | 2 quoted port
 */
enum { ROLE_MASK = 0x7f, OVERFLOW_BIT = 0x80 };
enum { QUOTE_PRESENT = 1, QUOTE_MATCHES = 2, QUOTE_HAS_PORT = 4, QUOTE_IS_LONG = 0x80 };

static_assert(SERVICE_OF_TYPE(255) + 1 < 1 << 24, "a service port fits in three bytes");

/* Bytes are put together in registers: a key is stored in words and read in words. */
static uint32_t first_labels(const struct flow_labels *labels)
{
	return labels->class | (uint32_t)labels->role << 8 |
	       (labels->is_overflow ? OVERFLOW_BIT << 8 : 0) | (uint32_t)labels->protocol << 16 |
	       (uint32_t)labels->tool << 24;
}

static uint64_t last_labels(const struct flow_labels *labels)
{
	uint32_t port = (uint32_t)(labels->service_port + 1);

	return labels->payload | (uint64_t)(__builtin_bswap32(port) & 0xffffff00) |
	       (uint64_t)__builtin_bswap32(labels->marks) << 32;
}

static void store_quote(uint8_t *p, const struct flow_labels *labels)
{
	p[0] = (uint8_t)(QUOTE_IS_LONG | (labels->has_quote ? QUOTE_PRESENT : 0) |
			 (labels->quote_matches ? QUOTE_MATCHES : 0) |
			 (labels->quote_has_port ? QUOTE_HAS_PORT : 0));
	p[1] = labels->quoted_protocol;
	store_u16(p + 2, labels->quoted_port);
}

void flow_key_make(struct flow_key *out, const uint8_t *actor, const uint8_t *source,
	size_t address_bytes, const struct flow_labels *labels)
{
	uint8_t *at = out->bytes;

	if (address_bytes == 4) {
		bool is_long = labels->has_quote || memcmp(actor, source, 4) != 0;

		out->family = is_long ? FLOW_V4_LONG : FLOW_V4;
		store_u64_le(at, load_u32_le(actor) | (uint64_t)first_labels(labels) << 32);
		store_u64_le(at + 8, last_labels(labels));
		at += 4 + FLOW_LABEL_BYTES;
		if (is_long) {
			memcpy(at, source, 4);
			store_quote(at + 4, labels);
		}
	} else {
		out->family = FLOW_V6;
		memcpy(at, actor, 16);
		store_u32_le(at + 16, first_labels(labels));
		store_u64_le(at + 20, last_labels(labels));
		at += 16 + FLOW_LABEL_BYTES;
		memcpy(at, source, 16);
		store_quote(at + 16, labels);
	}
	out->size = key_bytes[out->family];
}

size_t flow_key_address_bytes(enum flow_family family)
{
	return family == FLOW_V6 ? 16 : 4;
}

size_t flow_key_bytes(enum flow_family family)
{
	return key_bytes[family];
}

const uint8_t *flow_key_source(const uint8_t *key, enum flow_family family)
{
	return family == FLOW_V4 ? key : key + flow_key_address_bytes(family) + FLOW_LABEL_BYTES;
}

void flow_key_labels(struct flow_labels *out, const uint8_t *key, enum flow_family family)
{
	const uint8_t *p = key + flow_key_address_bytes(family);
	const uint8_t *quote;

	*out = (struct flow_labels){
		.class = p[0],
		.role = p[1] & ROLE_MASK,
		.is_overflow = (p[1] & OVERFLOW_BIT) != 0,
		.protocol = p[2],
		.tool = p[3],
		.payload = p[4],
		.service_port = (int32_t)((uint32_t)p[5] << 16 | load_u16(p + 6)) - 1,
		.marks = load_u32(p + 8),
	};
	if (family == FLOW_V4)
		return;
	quote = flow_key_source(key, family) + flow_key_address_bytes(family);
	out->has_quote = (quote[0] & QUOTE_PRESENT) != 0;
	out->quote_matches = (quote[0] & QUOTE_MATCHES) != 0;
	out->quote_has_port = (quote[0] & QUOTE_HAS_PORT) != 0;
	out->quoted_protocol = quote[1];
	out->quoted_port = load_u16(quote + 2);
}

uint64_t flow_key_hash(const struct flow_key *key, uint64_t secret)
{
	if (key->size == 16) /* a constant, so that the hash is a few multiplications */
		return XXH3_64bits_withSeed(key->bytes, 16, secret);
	return XXH3_64bits_withSeed(key->bytes, key->size, secret);
}

/* Multiply and shift over the key's words (Dietzfelbinger et al., J. Algorithms 25(1), 1997). Fixed
 * and cheap: whoever aims at one shard only fills that one, which then overflows by itself. */
uint32_t flow_key_shard(const struct flow_key *key, uint32_t shards)
{
	uint64_t sum = SHARD_SEED;

	for (uint32_t at = 0; at < key->size / 8u; at++) {
		sum = (sum ^ key->words[at]) * 0x9e3779b97f4a7c15ULL;
		sum ^= sum >> 32;
	}
	return (uint32_t)((sum & UINT32_MAX) * shards >> 32);
}
