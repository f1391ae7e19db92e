/*
 * A packet as it is meant: what it shall be to the telescope, and the header fields that make it so.
 *
 * Scenes fill it in, truth counts the first half, frame turns the second half into bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deploy/demo/labels.h"

#define PLAN_BODY_BYTES 512
#define NO_SERVICE	(-1)

enum fate { COUNTED, NOT_DARK, MALFORMED, NON_IP };

enum damage {
	UNDAMAGED,
	WRONG_VERSION, /* neither 4 nor 6 */
	OTHER_VERSION, /* not the one that the link layer announces */
	SHORT_IHL,     /* header length below 20 bytes */
	CUT_HEADER,    /* fewer bytes than a header has */
	LONG_IHL,      /* header length beyond the frame */
	SHORT_TOTAL,   /* total length below the header's */
	TOTAL_IS_ZERO, /* no damage: segmentation offload, to the end of the frame */
};

enum tcp_options { NO_OPTIONS, MSS_ONLY, LINUX_OPTIONS, WINDOWS_OPTIONS };

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };

#define DONT_FRAGMENT  0x4000
#define MORE_FRAGMENTS 0x2000

struct plan {
	/* what it shall be */
	uint64_t time_ns;
	enum fate fate;
	enum demo_class class;
	enum demo_tool tool;
	uint8_t version; /* 4 or 6 */
	uint8_t protocol;
	bool has_ports; /* captured, in their place */
	int32_t service;
	uint32_t source; /* index in the population */

	/* what makes it so; host order, addresses as on the wire, IPv4 in the first four bytes */
	uint8_t src[16], dst[16];
	uint8_t tags; /* VLAN tags on the frame */
	uint16_t ethertype;
	enum damage damage;
	uint8_t ttl;
	uint16_t ip_id;
	uint16_t fragment; /* flags and offset in units of 8 bytes, as IPv4 has them */
	uint8_t extension; /* IPv6: number of an extension header before the transport, 0 for none */
	bool is_raw;	   /* the body is all that follows IP */
	uint16_t src_port, dst_port;
	uint32_t sequence, acknowledgement;
	uint8_t flags;
	uint16_t window;
	enum tcp_options options;
	uint8_t icmp_type, icmp_code;
	uint32_t
		transport_limit; /* bytes of the transport that fit into this fragment, 0 for all */
	uint32_t
		snap_bytes; /* bytes captured after the IP header (IPv6: the fixed one), 0 for all */
	size_t body_bytes;
	uint8_t body[PLAN_BODY_BYTES];
};

static inline uint32_t plan_ipv4(const uint8_t address[16])
{
	return (uint32_t)address[0] << 24 | (uint32_t)address[1] << 16 | (uint32_t)address[2] << 8 |
	       address[3];
}
