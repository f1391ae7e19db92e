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

static bool has_window(const struct packet *pkt)
{
	return pkt->transport_captured >= WINDOW_END_BYTES;
}

static bool is_nmap_window(const struct packet *pkt)
{
	uint16_t window = pkt->tcp_window;

	return has_window(pkt) &&
	       (window == 1024 || window == 2048 || window == 3072 || window == 4096);
}

static bool seq_is_target_address(const struct packet *pkt)
{
	return pkt->tcp_sequence == load_u32(pkt->dst);
}

static bool ip_id_is_54321(const struct packet *pkt)
{
	return pkt->ip_id == ZMAP_IP_ID;
}

static bool ip_id_is_xor_of_target(const struct packet *pkt)
{
	return pkt->ip_id == (uint16_t)(load_u32(pkt->dst) ^ pkt->dst_port ^ pkt->tcp_sequence);
}

static bool only_option_is_mss_1460(const struct packet *pkt)
{
	return is_nmap_window(pkt) && pkt->tcp_header_bytes == ONE_MSS_TCP_BYTES &&
	       pkt->transport_captured >= ONE_MSS_TCP_BYTES &&
	       load_u32(pkt->transport + PLAIN_TCP_BYTES) == MSS_1460;
}

static bool nmap_window_without_options(const struct packet *pkt)
{
	return is_nmap_window(pkt) && pkt->tcp_header_bytes == PLAIN_TCP_BYTES;
}

static bool window_512_without_options(const struct packet *pkt)
{
	return has_window(pkt) && pkt->tcp_window == HPING_WINDOW &&
	       pkt->tcp_header_bytes == PLAIN_TCP_BYTES;
}

/* Order matters: the first row that matches wins. Strength is how often chance alone matches. */
static const struct {
	uint8_t tool;
	uint32_t classes;
	bool ipv4_only;
	bool (*matches)(const struct packet *pkt);
} rules[] = {
	/* 32 bits. Antonakakis et al., USENIX Security 2017, section 3 */
	{ TOOL_MIRAI, SYN_ONLY, true, seq_is_target_address },
	/* 16 bits. Durumeric, Bailey, Halderman, USENIX Security 2014, section 3; releases before 4.1 */
	{ TOOL_ZMAP, PROBES, true, ip_id_is_54321 },
	/* 16 bits. same paper; robertdavidgraham/masscan:src/templ-pkt.c */
	{ TOOL_MASSCAN, SYN_ONLY, true, ip_id_is_xor_of_target },
	/* nmap/nmap:tcpip.cc, scan_engine_raw.cc; other Go scanners send the same SYN */
	{ TOOL_NMAP, SYN_ONLY, false, only_option_is_mss_1460 },
	{ TOOL_NMAP, STEALTH, false, nmap_window_without_options },
	/* hping3's default window, no options */
	{ TOOL_HPING, SYN_ONLY | STEALTH, false, window_512_without_options },
};

enum tool fingerprint_match(const struct packet *pkt, enum packet_class class)
{
	uint32_t bit = 1u << class;

	if ((bit & (PROBES | STEALTH)) == 0)
		return TOOL_NONE;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if ((rules[i].classes & bit) == 0 || (rules[i].ipv4_only && pkt->ip_version != 4))
			continue;
		if (rules[i].matches(pkt))
			return (enum tool)rules[i].tool;
	}
	return TOOL_NONE;
}
