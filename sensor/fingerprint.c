#include "sensor/fingerprint.h"

#include <stddef.h>

#include "schemas/base/bytes.h"

#define CLASS_BIT(ident) (1u << CLASS_##ident)
#define SYN_ONLY	 CLASS_BIT(SCAN_TCP_SYN)
#define STEALTH                                                                                    \
	(CLASS_BIT(SCAN_TCP_FIN) | CLASS_BIT(SCAN_TCP_NULL) | CLASS_BIT(SCAN_TCP_XMAS) |           \
		CLASS_BIT(SCAN_TCP_ACK) | CLASS_BIT(SCAN_TCP_MAIMON))
#define PROBES                                                                                     \
	(SYN_ONLY | CLASS_BIT(SCAN_UDP) | CLASS_BIT(SCAN_ICMP_ECHO) | CLASS_BIT(SCAN_ICMP_QUERY))

#define WINDOW_END_BYTES  16	     /* TCP header bytes that hold the window */
#define PLAIN_TCP_BYTES	  20	     /* no options */
#define ONE_MSS_TCP_BYTES 24	     /* one option of four bytes */
#define MSS_1460	  0x020405b4 /* kind 2, length 4, 1460: RFC 9293 3.7.1 */
#define ZMAP_IP_ID	  54321
#define HPING_WINDOW	  512

/* What a rule looks for, one bit each, in the order of the rules. */
enum sign { SEQ_IS_DST, ID_IS_54321, ID_IS_XOR, NMAP_ONE_MSS, NMAP_PLAIN, HPING_PLAIN, SIGN_COUNT };

/* Order matters: the first row that matches wins. Strength is how often chance alone matches. */
static const struct {
	uint8_t tool;
	bool ipv4_only;
	uint32_t classes;
} rules[SIGN_COUNT] = {
	/* 32 bits. Antonakakis et al., USENIX Security 2017, section 3 */
	[SEQ_IS_DST] = { TOOL_MIRAI, true, SYN_ONLY },
	/* 16 bits. Durumeric, Bailey, Halderman, USENIX Security 2014, section 3; releases before 4.1 */
	[ID_IS_54321] = { TOOL_ZMAP, true, PROBES },
	/* 16 bits. same paper; robertdavidgraham/masscan:src/templ-pkt.c */
	[ID_IS_XOR] = { TOOL_MASSCAN, true, SYN_ONLY },
	/* nmap/nmap:tcpip.cc, scan_engine_raw.cc; other Go scanners send the same SYN */
	[NMAP_ONE_MSS] = { TOOL_NMAP, false, SYN_ONLY },
	[NMAP_PLAIN] = { TOOL_NMAP, false, STEALTH },
	/* hping3's default window, no options */
	[HPING_PLAIN] = { TOOL_HPING, false, SYN_ONLY | STEALTH },
};

/* 1024, 2048, 3072 or 4096 */
static bool is_nmap_window(uint16_t window)
{
	return (window & 0x3ff) == 0 && (uint16_t)(window - 1024) <= 3072;
}

static unsigned window_signs(const struct packet *pkt)
{
	unsigned signs = 0;

	if (pkt->transport_captured < WINDOW_END_BYTES)
		return 0;
	if (is_nmap_window(pkt->tcp_window)) {
		if (pkt->tcp_header_bytes == PLAIN_TCP_BYTES)
			signs |= 1u << NMAP_PLAIN;
		if (pkt->tcp_header_bytes == ONE_MSS_TCP_BYTES &&
			pkt->transport_captured >= ONE_MSS_TCP_BYTES &&
			load_u32(pkt->transport + PLAIN_TCP_BYTES) == MSS_1460)
			signs |= 1u << NMAP_ONE_MSS;
	}
	if (pkt->tcp_window == HPING_WINDOW && pkt->tcp_header_bytes == PLAIN_TCP_BYTES)
		signs |= 1u << HPING_PLAIN;
	return signs;
}

static unsigned signs_of(const struct packet *pkt)
{
	uint32_t dst = load_u32(pkt->dst);
	uint16_t xor = (uint16_t)(dst ^ pkt->dst_port ^ pkt->tcp_sequence);

	return (unsigned)(pkt->tcp_sequence == dst) << SEQ_IS_DST |
	       (unsigned)(pkt->ip_id == ZMAP_IP_ID) << ID_IS_54321 |
	       (unsigned)(pkt->ip_id == xor) << ID_IS_XOR | window_signs(pkt);
}

enum tool fingerprint_match(const struct packet *pkt, enum packet_class class)
{
	uint32_t bit = 1u << class;

	if ((bit & (PROBES | STEALTH)) == 0)
		return TOOL_NONE;
	for (unsigned signs = signs_of(pkt); signs != 0; signs &= signs - 1) {
		unsigned first = (unsigned)__builtin_ctz(signs);

		if ((rules[first].classes & bit) != 0 &&
			(!rules[first].ipv4_only || pkt->ip_version == 4))
			return (enum tool)rules[first].tool;
	}
	return TOOL_NONE;
}
