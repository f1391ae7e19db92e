#include "sensor/classify.h"

#include <stddef.h>

#include "schemas/base/bytes.h"

#define TCP_NEEDED_BYTES   14	/* up to and with the flags */
#define UDP_NEEDED_BYTES   4	/* both ports */
#define UDP_HEADER_BYTES   8	/* RFC 768 */
#define TCP_HEADER_BYTES   20	/* RFC 9293 3.1 */
#define TCP_FLAGS_MASK	   0x3f /* CWR, ECE and NS say nothing here */
#define DNS_HEADER_BYTES   12	/* RFC 1035 4.1.1 */
#define DNS_QR		   0x80
#define NTP_MODE_MASK	   0x07 /* RFC 5905 7.3 */
#define NTP_RESPONSE	   0x80 /* mode 7: first byte; mode 6: second byte (RFC 9327 2) */
#define FIRST_UNPRIVILEGED 1024

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };

/* Scans and answers by TCP flags; where payload matters the table says the class without any.
 * Answers: Moore et al., ACM TOCS 24(2), 2006, table 1. Stealth scans: RFC 793 3.9 as used by
 * port scanners. */
static const struct {
	uint8_t flags;
	uint8_t class;
	bool only_without_payload;
} tcp_rules[] = {
	{ SYN, CLASS_SCAN_TCP_SYN, false },
	{ SYN | ACK, CLASS_BACKSCATTER_TCP_SYNACK, false },
	{ RST, CLASS_BACKSCATTER_TCP_RST, false },
	{ RST | ACK, CLASS_BACKSCATTER_TCP_RSTACK, false },
	{ 0, CLASS_SCAN_TCP_NULL, false },
	{ FIN, CLASS_SCAN_TCP_FIN, false },
	{ FIN | PSH | URG, CLASS_SCAN_TCP_XMAS, false },
	{ FIN | ACK, CLASS_SCAN_TCP_MAIMON, true },
	{ ACK, CLASS_SCAN_TCP_ACK, true },
};

/* Services abused for reflection: Rossow, "Amplification Hell", NDSS 2014, and later ones. */
static const uint16_t reflector_ports[] = { 17, 19, 53, 69, 111, 123, 137, 161, 389, 500, 520, 1434,
	1900, 3283, 3478, 3702, 5353, 5683, 10001, 11211, 27015, 37810 };

static bool is_reflector(uint16_t port)
{
	for (size_t i = 0; i < sizeof(reflector_ports) / sizeof(reflector_ports[0]); i++)
		if (reflector_ports[i] == port)
			return true;
	return false;
}

/* The bytes a decision needs are missing: cut by a fragment's border, or not captured. */
static enum packet_class class_of_cut(const struct packet *pkt, uint32_t needed)
{
	if (pkt->is_first_fragment && pkt->transport_bytes < needed)
		return CLASS_OTHER_FRAGMENT;
	return CLASS_OTHER_TRUNCATED;
}

static bool tcp_has_payload(const struct packet *pkt)
{
	return pkt->tcp_header_bytes >= TCP_HEADER_BYTES &&
	       pkt->transport_bytes > pkt->tcp_header_bytes;
}

static enum packet_class classify_tcp(const struct packet *pkt)
{
	uint8_t flags = pkt->tcp_flags & TCP_FLAGS_MASK;

	if (pkt->transport_captured < TCP_NEEDED_BYTES)
		return class_of_cut(pkt, TCP_NEEDED_BYTES);
	for (size_t i = 0; i < sizeof(tcp_rules) / sizeof(tcp_rules[0]); i++) {
		if (tcp_rules[i].flags != flags)
			continue;
		if (tcp_rules[i].only_without_payload && tcp_has_payload(pkt))
			break;
		return (enum packet_class)tcp_rules[i].class;
	}
	return CLASS_OTHER_TCP_FLAGS;
}

static enum packet_class classify_icmp(const struct packet *pkt)
{
	if (pkt->transport_captured < 1)
		return class_of_cut(pkt, 1);
	switch (pkt->icmp_type) {
	case 8: /* echo request */
		return CLASS_SCAN_ICMP_ECHO;
	case 10: /* router solicitation, RFC 1256 */
	case 13: /* timestamp */
	case 15: /* information */
	case 17: /* address mask, RFC 950 */
		return CLASS_SCAN_ICMP_QUERY;
	case 0:
	case 14:
	case 16:
	case 18: /* their replies */
		return CLASS_BACKSCATTER_ICMP_REPLY;
	case 3:	 /* unreachable */
	case 4:	 /* source quench */
	case 5:	 /* redirect */
	case 11: /* time exceeded */
	case 12: /* parameter problem */
		return CLASS_BACKSCATTER_ICMP_ERROR;
	default:
		return CLASS_OTHER_ICMP;
	}
}

/* RFC 4443: 1..4 are the errors, 128 and 129 echo. */
static enum packet_class classify_icmp6(const struct packet *pkt)
{
	if (pkt->transport_captured < 1)
		return class_of_cut(pkt, 1);
	switch (pkt->icmp_type) {
	case 128:
		return CLASS_SCAN_ICMP_ECHO;
	case 129:
		return CLASS_BACKSCATTER_ICMP_REPLY;
	case 1:
	case 2:
	case 3:
	case 4:
		return CLASS_BACKSCATTER_ICMP_ERROR;
	default:
		return CLASS_OTHER_ICMP;
	}
}

static bool is_dns_port(uint16_t port)
{
	return port == 53 || port == 5353; /* RFC 1035, RFC 6762 */
}

/* True when DNS decides: QR set and sent from a DNS port is an answer, anything else a probe. */
static bool classify_dns(
	const struct packet *pkt, const uint8_t *payload, uint32_t captured, enum packet_class *out)
{
	bool is_answer;

	if ((!is_dns_port(pkt->src_port) && !is_dns_port(pkt->dst_port)) ||
		captured < DNS_HEADER_BYTES)
		return false;
	is_answer = (payload[2] & DNS_QR) != 0 && is_dns_port(pkt->src_port);
	*out = is_answer ? CLASS_BACKSCATTER_UDP_RESPONSE : CLASS_SCAN_UDP;
	return true;
}

/* True when NTP decides: mode 4, or 6 and 7 with their response bit, are answers. */
static bool classify_ntp(const struct packet *pkt, const uint8_t *payload, uint32_t captured,
	uint32_t bytes, enum packet_class *out)
{
	bool is_answer = false;

	if (pkt->src_port != 123 || captured < 1)
		return false;
	switch (payload[0] & NTP_MODE_MASK) {
	case 4:
		is_answer = true;
		break;
	case 6:
		if (captured < 2 && bytes >= 2)
			return false; /* the deciding byte was not captured: the port rule */
		is_answer = captured >= 2 && (payload[1] & NTP_RESPONSE) != 0;
		break;
	case 7:
		is_answer = (payload[0] & NTP_RESPONSE) != 0;
		break;
	default:
		break;
	}
	*out = is_answer ? CLASS_BACKSCATTER_UDP_RESPONSE : CLASS_SCAN_UDP;
	return true;
}

static enum packet_class classify_udp(const struct packet *pkt)
{
	const uint8_t *payload = pkt->transport + UDP_HEADER_BYTES;
	uint32_t captured, bytes;
	enum packet_class class;

	if (pkt->transport_captured < UDP_NEEDED_BYTES)
		return class_of_cut(pkt, UDP_NEEDED_BYTES);
	captured = pkt->transport_captured > UDP_HEADER_BYTES
			   ? pkt->transport_captured - UDP_HEADER_BYTES
			   : 0;
	bytes = pkt->transport_bytes > UDP_HEADER_BYTES ? pkt->transport_bytes - UDP_HEADER_BYTES
							: 0;
	if (classify_dns(pkt, payload, captured, &class) ||
		classify_ntp(pkt, payload, captured, bytes, &class))
		return class;
	if (is_reflector(pkt->src_port) && !is_reflector(pkt->dst_port) &&
		pkt->dst_port >= FIRST_UNPRIVILEGED)
		return CLASS_BACKSCATTER_UDP_RESPONSE;
	return CLASS_SCAN_UDP;
}

enum packet_class classify(const struct packet *pkt)
{
	if (pkt->is_later_fragment)
		return CLASS_OTHER_FRAGMENT;
	if (pkt->is_chain_cut)
		return CLASS_OTHER_TRUNCATED;
	switch (pkt->protocol) {
	case PROTOCOL_TCP:
		return classify_tcp(pkt);
	case PROTOCOL_UDP:
		return classify_udp(pkt);
	case PROTOCOL_ICMP:
		return classify_icmp(pkt);
	case PROTOCOL_ICMP6:
		return classify_icmp6(pkt);
	case PROTOCOL_SCTP:
		return CLASS_OTHER_SCTP;
	case PROTOCOL_IGMP:
		return CLASS_OTHER_IGMP;
	default:
		return CLASS_OTHER_IP_PROTO;
	}
}

static int32_t icmp_service_port(const struct packet *pkt)
{
	if (pkt->is_later_fragment || pkt->is_chain_cut || pkt->transport_captured < 1)
		return SERVICE_NONE;
	if (pkt->transport_captured < 2)
		return SERVICE_OF_TYPE(pkt->icmp_type);
	return pkt->icmp_type << 8 | pkt->icmp_code;
}

int32_t classify_service_port(const struct packet *pkt, enum role role)
{
	if (protocol_is_icmp(pkt->protocol))
		return icmp_service_port(pkt);
	if (!pkt->has_ports)
		return SERVICE_NONE;
	switch (role) {
	case ROLE_PROBE:
		return pkt->dst_port;
	case ROLE_BACKSCATTER:
		return pkt->src_port;
	case ROLE_RESIDUE:
	case ROLE_OTHER:
	case ROLE_COUNT:
		break;
	}
	return SERVICE_NONE;
}
