/*
 * Labels: the words a packet, a flow and every figure are sorted under.
 *
 * The rows are in labels.def; names go into JSON, Redis and reports, numbers into flow records.
 *
 * Threads: pure functions over const data.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROLE(number, ident, name) ROLE_##ident = (number),
enum role {
#include "schemas/labels.def"
	ROLE_COUNT
};

#define CLASS(number, ident, name, role) CLASS_##ident = (number),
enum packet_class {
#include "schemas/labels.def"
	CLASS_COUNT
};

#define TOOL(number, ident, name) TOOL_##ident = (number),
enum tool {
#include "schemas/labels.def"
	TOOL_COUNT
};

#define PAYLOAD(number, ident, name) PAYLOAD_##ident = (number),
enum payload {
#include "schemas/labels.def"
	PAYLOAD_COUNT
};

#define PROTOCOL(number, ident, name) PROTOCOL_##ident = (number),
enum protocol {
#include "schemas/labels.def"
};

/* A service port: 0..65535 (for ICMP type × 256 + code), none, or an ICMP type without its code. */
#define SERVICE_NONE	      (-1)
#define SERVICE_TYPE_ONLY     0x10000
#define SERVICE_OF_TYPE(type) (SERVICE_TYPE_ONLY | (int32_t)(type) << 8)

/* Room for the longest text of each kind, with its NUL. */
#define PROTOCOL_TEXT_BYTES 16 /* "ipv4/icmp6", "ipv6/255" */
#define SERVICE_TEXT_BYTES  32 /* "icmp6/255/255", with room to spare */

/** The name of a number; NULL when the number has no row. */
const char *class_name(unsigned number);
const char *role_name(unsigned number);

/**
 * The name of a number. Tools, payloads and marks grow: a number that a newer release gave is
 * "unknown-NUMBER". NULL from 256 on (marks: from 64 on).
 */
const char *tool_name(unsigned number);
const char *payload_name(unsigned number);
const char *mark_name(unsigned bit);

/** The role that a class has of itself. `number` must be below CLASS_COUNT. */
enum role role_of_class(unsigned number);

/** Name of an IP protocol ("tcp"), its number where it has none ("99"). Written to `out`. */
const char *protocol_name(uint8_t protocol, char out[PROTOCOL_TEXT_BYTES]);

/** The number of a protocol's name or number in text, -1 when it is none. */
int protocol_number(const char *text);

/** "ipv4/tcp", "ipv6/99". @param ip_version 4 or 6 */
const char *protocol_text(unsigned ip_version, uint8_t protocol, char out[PROTOCOL_TEXT_BYTES]);

/** The text of a service: "tcp/23", "icmp/8/0", "icmp/8/-", "gre/-". */
const char *service_text(uint8_t protocol, int32_t service_port, char out[SERVICE_TEXT_BYTES]);

/** True for ICMP and ICMPv6, whose service port is type × 256 + code. */
bool protocol_is_icmp(uint8_t protocol);
