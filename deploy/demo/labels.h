/*
 * The words of the ground truth: classes, roles, tools and protocols, as the rules of Hoshimi name
 * them. Written down a second time on purpose: a referee does not copy from a player.
 */
#pragma once

#include <stdint.h>

enum demo_class {
	SCAN_TCP_SYN,
	SCAN_TCP_ACK,
	SCAN_TCP_FIN,
	SCAN_TCP_NULL,
	SCAN_TCP_XMAS,
	SCAN_TCP_MAIMON,
	SCAN_ICMP_ECHO,
	SCAN_ICMP_QUERY,
	SCAN_UDP,
	BACKSCATTER_TCP_SYNACK,
	BACKSCATTER_TCP_RST,
	BACKSCATTER_TCP_RSTACK,
	BACKSCATTER_ICMP_REPLY,
	BACKSCATTER_ICMP_ERROR,
	BACKSCATTER_UDP_RESPONSE,
	OTHER_FRAGMENT,
	OTHER_TRUNCATED,
	OTHER_TCP_FLAGS,
	OTHER_ICMP,
	OTHER_SCTP,
	OTHER_IGMP,
	OTHER_IP_PROTO,
	DEMO_CLASSES
};

enum demo_role { PROBE, BACKSCATTER, RESIDUE, OTHER, DEMO_ROLES };

/* In the order of precedence when marks of two tools meet in one packet. */
enum demo_tool { NO_TOOL, MIRAI, ZMAP, MASSCAN, NMAP, HPING, DEMO_TOOLS };

/* IANA protocol numbers */
enum {
	ICMP = 1,
	IGMP = 2,
	IPIP = 4,
	TCP = 6,
	UDP = 17,
	IPV6 = 41,
	FRAGMENT_HEADER = 44,
	GRE = 47,
	ESP = 50,
	AH = 51,
	ICMP6 = 58,
	DESTINATION_OPTIONS = 60,
	SCTP = 132,
};

#define LABEL_TEXT_BYTES 32

const char *class_text(enum demo_class class);
const char *role_text(enum demo_role role);
const char *tool_text(enum demo_tool tool);
enum demo_role role_of(enum demo_class class);

/** Name of an IP protocol, or its number as text in `out`. */
const char *protocol_name_text(uint8_t protocol, char out[LABEL_TEXT_BYTES]);
