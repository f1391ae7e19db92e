#include "sensor/packet.h"

#include <stddef.h>

#include "schemas/base/bytes.h"
#include "schemas/labels.h"

#define IPV4_HEADER_BYTES 20 /* RFC 791 3.1, without options */
#define IPV6_HEADER_BYTES 40 /* RFC 8200 3 */
#define IPV4_DF		  0x4000
#define IPV4_MF		  0x2000
#define IPV4_OFFSET_MASK  0x1fff
#define IPV6_OFFSET_MASK  0xfff8 /* RFC 8200 4.5: 13 bits, then reserved and M */
#define IPV6_MF		  0x0001
#define ICMP_HEADER_BYTES 8 /* RFC 792: the quote follows eight bytes, whatever the type */
#define PORTS_BYTES	  4

/* IPv6 extension headers that are walked: RFC 8200 4, RFC 6275 (135), RFC 7401 (139), RFC 5533 (140) */
enum {
	EXT_HOP_BY_HOP = 0,
	EXT_ROUTING = 43,
	EXT_FRAGMENT = 44,
	EXT_AUTHENTICATION = 51,
	EXT_DESTINATION = 60,
	EXT_MOBILITY = 135,
	EXT_HIP = 139,
	EXT_SHIM6 = 140,
};

#define DROP_REASON(ident, name, field, text) [PACKET_##ident] = name,
static const char *const status_names[PACKET_STATUS_COUNT] = {
	[PACKET_OK] = "ok",
#include "sensor/drop_reasons.def"
};

const char *packet_status_name(enum packet_status status)
{
	return status_names[status];
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* What follows the IP header, within the packet's own length and what was captured of it. */
static void set_transport(
	struct packet *pkt, const struct ip_bytes *ip, uint32_t offset, uint32_t ip_bytes)
{
	uint32_t captured = least(ip->captured_bytes, ip_bytes);

	offset = least(offset, captured);
	pkt->transport = ip->data + offset;
	pkt->transport_captured = captured - offset;
	pkt->transport_bytes = ip_bytes - offset;
}

static enum packet_status decode_ipv4(struct packet *pkt, const struct ip_bytes *ip)
{
	const uint8_t *p = ip->data;
	uint32_t header_bytes, total_bytes;
	uint16_t fragment;

	if (ip->captured_bytes < IPV4_HEADER_BYTES)
		return PACKET_HEADER_CUT;
	header_bytes = (uint32_t)(p[0] & 0x0f) * 4;
	if (header_bytes < IPV4_HEADER_BYTES)
		return PACKET_HEADER_LENGTH;
	if (header_bytes > ip->captured_bytes)
		return PACKET_HEADER_CUT;
	total_bytes = load_u16(p + 2);
	if (total_bytes != 0 && total_bytes < header_bytes)
		return PACKET_TOTAL_LENGTH;

	fragment = load_u16(p + 6);
	pkt->src = p + 12;
	pkt->dst = p + 16;
	pkt->address_bytes = 4;
	pkt->ip_version = 4;
	pkt->protocol = p[9];
	pkt->ttl = p[8];
	pkt->ip_length = (uint16_t)total_bytes;
	pkt->ip_id = load_u16(p + 4);
	pkt->is_df = (fragment & IPV4_DF) != 0;
	pkt->is_later_fragment = (fragment & IPV4_OFFSET_MASK) != 0;
	pkt->is_first_fragment = (fragment & (IPV4_MF | IPV4_OFFSET_MASK)) == IPV4_MF;
	pkt->is_chain_cut = false;
	if (total_bytes == 0) /* segmentation offload: to the end of the frame */
		total_bytes = ip->wire_bytes > header_bytes ? ip->wire_bytes : header_bytes;
	set_transport(pkt, ip, header_bytes, total_bytes);
	return PACKET_OK;
}

static bool is_extension(uint8_t protocol)
{
	switch (protocol) {
	case EXT_HOP_BY_HOP:
	case EXT_ROUTING:
	case EXT_FRAGMENT:
	case EXT_AUTHENTICATION:
	case EXT_DESTINATION:
	case EXT_MOBILITY:
	case EXT_HIP:
	case EXT_SHIM6:
		return true;
	default:
		return false;
	}
}

static uint32_t extension_bytes(uint8_t protocol, const uint8_t *header)
{
	if (protocol == EXT_FRAGMENT)
		return 8;
	if (protocol == EXT_AUTHENTICATION)
		return ((uint32_t)header[1] + 2) * 4; /* RFC 4302 2.2 */
	return ((uint32_t)header[1] + 1) * 8;
}

/* Walks the extension headers; each step consumes at least 8 bytes, so it ends. */
static void walk_extensions(struct packet *pkt)
{
	while (is_extension(pkt->protocol)) {
		const uint8_t *header = pkt->transport;
		uint8_t protocol = pkt->protocol;
		uint32_t bytes;

		if (pkt->transport_captured < 8) {
			pkt->is_chain_cut = true;
			return;
		}
		bytes = extension_bytes(protocol, header);
		pkt->protocol = header[0];
		if (protocol == EXT_FRAGMENT) {
			uint16_t fragment = load_u16(header + 2);

			pkt->is_later_fragment = (fragment & IPV6_OFFSET_MASK) != 0;
			pkt->is_first_fragment =
				!pkt->is_later_fragment && (fragment & IPV6_MF) != 0;
		}
		if (bytes > pkt->transport_captured) {
			pkt->is_chain_cut = true;
			pkt->transport += pkt->transport_captured;
			pkt->transport_bytes -= least(bytes, pkt->transport_bytes);
			pkt->transport_captured = 0;
			return;
		}
		pkt->transport += bytes;
		pkt->transport_captured -= bytes;
		pkt->transport_bytes -= bytes;
		if (pkt->is_later_fragment)
			return; /* what follows is the middle of the datagram */
	}
}

static enum packet_status decode_ipv6(struct packet *pkt, const struct ip_bytes *ip)
{
	const uint8_t *p = ip->data;
	uint32_t total_bytes;

	if (ip->captured_bytes < IPV6_HEADER_BYTES)
		return PACKET_HEADER_CUT;
	total_bytes = IPV6_HEADER_BYTES + (uint32_t)load_u16(p + 4);
	pkt->src = p + 8;
	pkt->dst = p + 24;
	pkt->address_bytes = 16;
	pkt->ip_version = 6;
	pkt->protocol = p[6];
	pkt->ttl = p[7];
	pkt->ip_length = (uint16_t)least(total_bytes, UINT16_MAX);
	pkt->ip_id = 0;
	pkt->is_df = pkt->is_later_fragment = pkt->is_first_fragment = pkt->is_chain_cut = false;
	if (total_bytes == IPV6_HEADER_BYTES && ip->wire_bytes > IPV6_HEADER_BYTES)
		total_bytes = ip->wire_bytes; /* jumbo payload: to the end of the frame */
	set_transport(pkt, ip, IPV6_HEADER_BYTES, total_bytes);
	walk_extensions(pkt);
	return PACKET_OK;
}

/* Every field that a transport header may set, one by one: a literal of the whole struct would be
 * built aside and copied. */
static void clear_transport(struct packet *pkt)
{
	pkt->has_ports = false;
	pkt->src_port = 0;
	pkt->dst_port = 0;
	pkt->tcp_flags = 0;
	pkt->tcp_header_bytes = 0;
	pkt->tcp_window = 0;
	pkt->tcp_sequence = 0;
	pkt->icmp_type = 0;
	pkt->icmp_code = 0;
}

static void decode_ports(struct packet *pkt)
{
	if (pkt->transport_captured < PORTS_BYTES)
		return;
	pkt->has_ports = true;
	pkt->src_port = load_u16(pkt->transport);
	pkt->dst_port = load_u16(pkt->transport + 2);
}

static void decode_tcp(struct packet *pkt)
{
	const uint8_t *p = pkt->transport;
	uint32_t captured = pkt->transport_captured;

	decode_ports(pkt);
	if (captured >= 8)
		pkt->tcp_sequence = load_u32(p + 4);
	if (captured >= 14) {
		pkt->tcp_header_bytes = (uint8_t)((p[12] >> 4) * 4);
		pkt->tcp_flags = p[13];
	}
	if (captured >= 16)
		pkt->tcp_window = load_u16(p + 14);
}

static void decode_icmp(struct packet *pkt)
{
	pkt->icmp_type = pkt->transport_captured >= 1 ? pkt->transport[0] : 0;
	pkt->icmp_code = pkt->transport_captured >= 2 ? pkt->transport[1] : 0;
}

static void decode_transport(struct packet *pkt)
{
	clear_transport(pkt);
	if (pkt->is_later_fragment || pkt->is_chain_cut)
		return;
	switch (pkt->protocol) {
	case PROTOCOL_TCP:
		decode_tcp(pkt);
		break;
	case PROTOCOL_UDP:
	case PROTOCOL_SCTP:
		decode_ports(pkt);
		break;
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMP6:
		decode_icmp(pkt);
		break;
	default:
		break;
	}
}

enum packet_status packet_decode(struct packet *pkt, const struct ip_bytes *ip)
{
	enum packet_status status;
	uint8_t version;

	if (ip->captured_bytes == 0)
		return PACKET_HEADER_CUT;
	version = ip->data[0] >> 4;
	if ((version != 4 && version != 6) || (ip->version != 0 && ip->version != version))
		return PACKET_IP_VERSION;
	status = version == 4 ? decode_ipv4(pkt, ip) : decode_ipv6(pkt, ip);
	if (status == PACKET_OK)
		decode_transport(pkt);
	return status;
}

void packet_decode_quote(const struct packet *pkt, struct quoted_packet *quoted)
{
	struct ip_bytes ip = { .version = pkt->ip_version };
	struct packet inner;

	*quoted = (struct quoted_packet){ 0 };
	if (pkt->transport_captured <= ICMP_HEADER_BYTES)
		return;
	ip.data = pkt->transport + ICMP_HEADER_BYTES;
	ip.captured_bytes = pkt->transport_captured - ICMP_HEADER_BYTES;
	ip.wire_bytes = pkt->transport_bytes - ICMP_HEADER_BYTES;
	if (packet_decode(&inner, &ip) != PACKET_OK)
		return;
	quoted->is_readable = true;
	quoted->protocol = inner.protocol;
	quoted->src = inner.src;
	quoted->dst = inner.dst;
	quoted->has_port = inner.has_ports;
	quoted->dst_port = inner.dst_port;
}
