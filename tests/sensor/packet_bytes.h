/*
 * IP packets built in memory, for tests. Addresses are documentation ones (RFC 5737, RFC 3849).
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "schemas/base/bytes.h"
#include "sensor/packet.h"

#define MADE_BYTES_MAX 2048
#define IPV4_BYTES     20
#define IPV6_BYTES     40
#define TCP_BYTES      20
#define UDP_BYTES      8

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16, TCP_URG = 32 };

/** A packet being built, from the IP header on. */
struct made {
	uint8_t bytes[MADE_BYTES_MAX];
	uint32_t size;
};

static inline void make_append(struct made *made, const void *data, size_t size)
{
	assert_true(made->size + size <= MADE_BYTES_MAX);
	if (size > 0)
		memcpy(made->bytes + made->size, data, size);
	made->size += (uint32_t)size;
}

static inline void make_zeros(struct made *made, size_t size)
{
	assert_true(made->size + size <= MADE_BYTES_MAX);
	memset(made->bytes + made->size, 0, size);
	made->size += (uint32_t)size;
}

/** Sets the length field from what has been appended. */
static inline void make_length(struct made *made)
{
	if (made->bytes[0] >> 4 == 4)
		store_u16(made->bytes + 2, (uint16_t)made->size);
	else
		store_u16(made->bytes + 4, (uint16_t)(made->size - IPV6_BYTES));
}

/** An IPv4 header: 203.0.113.9 to 198.51.100.7, id 0x1234, TTL 64. */
static inline void make_ipv4(struct made *made, uint8_t protocol)
{
	static const uint8_t header[IPV4_BYTES] = { 0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, 0, 0, 0,
		203, 0, 113, 9, 198, 51, 100, 7 };

	made->size = 0;
	make_append(made, header, sizeof(header));
	made->bytes[9] = protocol;
	make_length(made);
}

/** An IPv6 header: 2001:db8::9 to 2001:db8:64::7, hop limit 64. */
static inline void make_ipv6(struct made *made, uint8_t next_header)
{
	static const uint8_t header[IPV6_BYTES] = { 0x60, 0, 0, 0, 0, 0, 0, 64, 0x20, 0x01, 0x0d,
		0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 7 };

	made->size = 0;
	make_append(made, header, sizeof(header));
	made->bytes[6] = next_header;
}

static inline void make_ip(struct made *made, unsigned ip_version, uint8_t protocol)
{
	if (ip_version == 6)
		make_ipv6(made, protocol);
	else
		make_ipv4(made, protocol);
}

/** A TCP header of 20 bytes: port 40000 to 23, sequence 0x01020304, window 65535. */
static inline void make_tcp(struct made *made, uint8_t flags)
{
	static const uint8_t header[TCP_BYTES] = { 0x9c, 0x40, 0, 23, 1, 2, 3, 4, 0, 0, 0, 0, 0x50,
		0, 0xff, 0xff, 0, 0, 0, 0 };

	make_append(made, header, sizeof(header));
	made->bytes[made->size - TCP_BYTES + 13] = flags;
	make_length(made);
}

static inline void make_udp(struct made *made, uint16_t src_port, uint16_t dst_port,
	const void *payload, size_t payload_bytes)
{
	uint8_t header[UDP_BYTES] = { 0 };

	store_u16(header, src_port);
	store_u16(header + 2, dst_port);
	store_u16(header + 4, (uint16_t)(UDP_BYTES + payload_bytes));
	make_append(made, header, sizeof(header));
	make_append(made, payload, payload_bytes);
	make_length(made);
}

static inline void make_icmp(struct made *made, uint8_t type, uint8_t code)
{
	uint8_t header[8] = { type, code };

	make_append(made, header, sizeof(header));
	make_length(made);
}

/** The first `size` bytes in memory of exactly that size, for the sanitizers; free() it. */
static inline uint8_t *exact_copy(const void *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	assert_non_null(copy);
	if (size > 0)
		memcpy(copy, data, size);
	return copy;
}

/** Decodes the packet as it is. Pointers in `pkt` lead into `made`. */
static inline void decode_made(struct packet *pkt, const struct made *made)
{
	struct ip_bytes ip = { made->bytes, made->size, made->size, 0 };

	assert_int_equal(packet_decode(pkt, &ip), PACKET_OK);
}

/** Decodes it as a snap length of `captured` bytes has left it. */
static inline enum packet_status decode_snapped(
	struct packet *pkt, const struct made *made, uint32_t captured)
{
	struct ip_bytes ip = { made->bytes, captured < made->size ? captured : made->size,
		made->size, 0 };

	return packet_decode(pkt, &ip);
}
