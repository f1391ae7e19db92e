#include "deploy/demo/labels.h"

#include <stdio.h>

static const char *const class_texts[DEMO_CLASSES] = {
	[SCAN_TCP_SYN] = "scan.tcp_syn",
	[SCAN_TCP_ACK] = "scan.tcp_ack",
	[SCAN_TCP_FIN] = "scan.tcp_fin",
	[SCAN_TCP_NULL] = "scan.tcp_null",
	[SCAN_TCP_XMAS] = "scan.tcp_xmas",
	[SCAN_TCP_MAIMON] = "scan.tcp_maimon",
	[SCAN_ICMP_ECHO] = "scan.icmp_echo",
	[SCAN_ICMP_QUERY] = "scan.icmp_query",
	[SCAN_UDP] = "scan.udp",
	[BACKSCATTER_TCP_SYNACK] = "backscatter.tcp_synack",
	[BACKSCATTER_TCP_RST] = "backscatter.tcp_rst",
	[BACKSCATTER_TCP_RSTACK] = "backscatter.tcp_rstack",
	[BACKSCATTER_ICMP_REPLY] = "backscatter.icmp_reply",
	[BACKSCATTER_ICMP_ERROR] = "backscatter.icmp_error",
	[BACKSCATTER_UDP_RESPONSE] = "backscatter.udp_response",
	[OTHER_FRAGMENT] = "other.fragment",
	[OTHER_TRUNCATED] = "other.truncated",
	[OTHER_TCP_FLAGS] = "other.tcp_flags",
	[OTHER_ICMP] = "other.icmp",
	[OTHER_SCTP] = "other.sctp",
	[OTHER_IGMP] = "other.igmp",
	[OTHER_IP_PROTO] = "other.ip_proto",
};

const char *class_text(enum demo_class class)
{
	return class_texts[class];
}

const char *role_text(enum demo_role role)
{
	static const char *const texts[DEMO_ROLES] = { "probe", "backscatter", "residue", "other" };

	return texts[role];
}

const char *tool_text(enum demo_tool tool)
{
	static const char *const texts[DEMO_TOOLS] = { "none", "mirai", "zmap", "masscan", "nmap",
		"hping" };

	return texts[tool];
}

enum demo_role role_of(enum demo_class class)
{
	if (class <= SCAN_UDP)
		return PROBE;
	return class <= BACKSCATTER_UDP_RESPONSE ? BACKSCATTER : OTHER;
}

const char *protocol_name_text(uint8_t protocol, char out[LABEL_TEXT_BYTES])
{
	switch (protocol) {
	case ICMP:
		return "icmp";
	case IGMP:
		return "igmp";
	case IPIP:
		return "ipip";
	case TCP:
		return "tcp";
	case UDP:
		return "udp";
	case IPV6:
		return "ipv6";
	case GRE:
		return "gre";
	case ESP:
		return "esp";
	case AH:
		return "ah";
	case ICMP6:
		return "icmp6";
	case SCTP:
		return "sctp";
	default:
		snprintf(out, LABEL_TEXT_BYTES, "%u", protocol);
		return out;
	}
}
