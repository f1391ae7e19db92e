/*
 *  Ethernet          IPv4                     IPv6                  TCP
 *  0  destination    0  version, IHL, TOS     0  version, class     0  ports        12 header, flags
 *  6  source         2  total length          4  payload length     4  sequence     14 window
 *  12 tags, 4 each   4  id    6 fragment      6  next header        8  acknowl.     16 checksum
 *  .. EtherType      8  TTL   9 protocol      7  hop limit          20 options
 *                    10 checksum              8  source
 *                    12 source 16 destination 24 destination
 */
#include "deploy/demo/frame.h"

#include <string.h>

#define ETHERNET_BYTES_MIN 60 /* IEEE 802.3, without the check sequence: shorter ones are padded */
#define ETHERTYPE_IPV4	   0x0800
#define ETHERTYPE_IPV6	   0x86dd
#define ETHERTYPE_VLAN	   0x8100
#define ETHERTYPE_QINQ	   0x88a8
#define VLAN_OUTER	   100
#define VLAN_INNER	   7
#define IPV4_HEADER_BYTES  20
#define IPV6_HEADER_BYTES  40
#define EXTENSION_BYTES	   8
#define TCP_HEADER_BYTES   20
#define QUOTED_BYTES	   8 /* RFC 792 */

static void put_u16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put_u32(uint8_t *at, uint32_t value)
{
	put_u16(at, value >> 16);
	put_u16(at + 2, value & 0xffff);
}

/* RFC 1071 */
static uint32_t sum_words(const uint8_t *at, size_t bytes, uint32_t sum)
{
	for (size_t i = 0; i + 1 < bytes; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	if (bytes & 1)
		sum += (uint32_t)at[bytes - 1] << 8;
	return sum;
}

static uint32_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static uint8_t *put_link(uint8_t *at, const struct plan *plan)
{
	static const uint8_t addresses[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0,
		2 }; /* locally administered */

	memcpy(at, addresses, sizeof(addresses));
	at += sizeof(addresses);
	for (unsigned tag = 0; tag < plan->tags; tag++, at += 4) {
		bool is_outer_of_two = plan->tags == 2 && tag == 0;

		put_u16(at, is_outer_of_two ? ETHERTYPE_QINQ : ETHERTYPE_VLAN);
		put_u16(at + 2, is_outer_of_two ? VLAN_OUTER : VLAN_INNER);
	}
	put_u16(at, plan->ethertype);
	return at + 2;
}

static size_t put_options(uint8_t *at, const struct plan *plan)
{
	static const uint8_t mss[] = { 2, 4, 0x05, 0xb4 };
	static const uint8_t linux_sack_time[] = { 2, 4, 0x05, 0xb4, 4, 2, 8, 10 };
	static const uint8_t linux_scale[] = { 1, 3, 3, 7 };
	static const uint8_t windows[] = { 2, 4, 0x05, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2 };

	switch (plan->options) {
	case NO_OPTIONS:
		return 0;
	case MSS_ONLY:
		memcpy(at, mss, sizeof(mss));
		return sizeof(mss);
	case LINUX_OPTIONS:
		memcpy(at, linux_sack_time, sizeof(linux_sack_time));
		put_u32(at + 8, plan->sequence * 2654435761u); /* any time stamp value */
		put_u32(at + 12, 0);
		memcpy(at + 16, linux_scale, sizeof(linux_scale));
		return 20;
	case WINDOWS_OPTIONS:
		memcpy(at, windows, sizeof(windows));
		return sizeof(windows);
	}
	return 0;
}

static size_t put_tcp(uint8_t *at, const struct plan *plan)
{
	size_t options = put_options(at + TCP_HEADER_BYTES, plan);

	put_u16(at, plan->src_port);
	put_u16(at + 2, plan->dst_port);
	put_u32(at + 4, plan->sequence);
	put_u32(at + 8, plan->acknowledgement);
	at[12] = (uint8_t)((TCP_HEADER_BYTES + options) / 4 << 4);
	at[13] = plan->flags;
	put_u16(at + 14, plan->window);
	put_u32(at + 16, 0);
	return TCP_HEADER_BYTES + options;
}

static size_t put_udp(uint8_t *at, const struct plan *plan)
{
	put_u16(at, plan->src_port);
	put_u16(at + 2, plan->dst_port);
	put_u16(at + 4, (uint32_t)plan->body_bytes + 8);
	put_u16(at + 6, 0);
	return 8;
}

static size_t put_icmp(uint8_t *at, const struct plan *plan)
{
	at[0] = plan->icmp_type;
	at[1] = plan->icmp_code;
	put_u16(at + 2, 0);
	put_u32(at + 4, plan->sequence); /* identifier and sequence number, or unused */
	return 8;
}

static size_t put_sctp(uint8_t *at, const struct plan *plan)
{
	put_u16(at, plan->src_port);
	put_u16(at + 2, plan->dst_port);
	put_u32(at + 4, plan->sequence);
	put_u32(at + 8, plan->acknowledgement);
	return 12;
}

static size_t put_transport_header(uint8_t *at, const struct plan *plan)
{
	if (plan->is_raw)
		return 0;
	switch (plan->protocol) {
	case TCP:
		return put_tcp(at, plan);
	case UDP:
		return put_udp(at, plan);
	case ICMP:
	case ICMP6:
		return put_icmp(at, plan);
	case SCTP:
		return put_sctp(at, plan);
	default:
		return 0;
	}
}

/* Where the checksum of a transport stands; 0 for those without one of this kind. */
static size_t checksum_offset(const struct plan *plan)
{
	switch (plan->protocol) {
	case TCP:
		return 16;
	case UDP:
		return 6;
	case ICMP:
	case ICMP6:
		return 2;
	default:
		return 0;
	}
}

static void put_checksum(uint8_t *transport, size_t bytes, const struct plan *plan)
{
	size_t at = checksum_offset(plan), address_bytes = plan->version == 4 ? 4 : 16;
	uint32_t sum = 0, checksum;

	if (at == 0 || plan->is_raw)
		return;
	if (plan->protocol != ICMP) { /* pseudo header: RFC 9293 3.1, RFC 8200 8.1 */
		sum = sum_words(plan->src, address_bytes, (uint32_t)bytes + plan->protocol);
		sum = sum_words(plan->dst, address_bytes, sum);
	}
	checksum = fold(sum_words(transport, bytes, sum));
	put_u16(transport + at, checksum == 0 && plan->protocol == UDP ? 0xffff : checksum);
}

static size_t put_transport(uint8_t *at, const struct plan *plan)
{
	size_t bytes = put_transport_header(at, plan);

	memcpy(at + bytes, plan->body, plan->body_bytes);
	bytes += plan->body_bytes;
	put_checksum(at, bytes, plan);
	return plan->transport_limit != 0 && plan->transport_limit < bytes ? plan->transport_limit
									   : bytes;
}

static void put_ipv4(uint8_t *at, const struct plan *plan, size_t payload_bytes)
{
	size_t total = IPV4_HEADER_BYTES + payload_bytes;
	uint8_t version = 4, words = 5;

	if (plan->damage == WRONG_VERSION)
		version = 5;
	if (plan->damage == OTHER_VERSION)
		version = 6;
	if (plan->damage == SHORT_IHL)
		words = 3;
	if (plan->damage == LONG_IHL)
		words = 15;
	if (plan->damage == SHORT_TOTAL)
		total = IPV4_HEADER_BYTES - 4;
	if (plan->damage == TOTAL_IS_ZERO)
		total = 0;
	at[0] = (uint8_t)(version << 4 | words);
	at[1] = 0;
	put_u16(at + 2, (uint32_t)total);
	put_u16(at + 4, plan->ip_id);
	put_u16(at + 6, plan->fragment);
	at[8] = plan->ttl;
	at[9] = plan->protocol;
	put_u16(at + 10, 0);
	memcpy(at + 12, plan->src, 4);
	memcpy(at + 16, plan->dst, 4);
	put_u16(at + 10, fold(sum_words(at, IPV4_HEADER_BYTES, 0)));
}

static void put_ipv6(uint8_t *at, const struct plan *plan, size_t payload_bytes)
{
	put_u32(at, (plan->damage == WRONG_VERSION ? 5u : 6u) << 28);
	put_u16(at + 4, (uint32_t)payload_bytes);
	at[6] = plan->extension != 0 ? plan->extension : plan->protocol;
	at[7] = plan->ttl;
	memcpy(at + 8, plan->src, 16);
	memcpy(at + 24, plan->dst, 16);
}

/* RFC 8200 4.5 and 4.6: eight bytes, either the fragment's place or padding. */
static void put_extension(uint8_t *at, const struct plan *plan)
{
	static const uint8_t pad[] = { 1, 4, 0, 0, 0, 0 };

	at[0] = plan->protocol;
	at[1] = 0;
	memcpy(at + 2, pad, sizeof(pad));
	if (plan->extension == FRAGMENT_HEADER) {
		put_u16(at + 2, (uint32_t)(plan->fragment & 0x1fff) << 3 |
					((plan->fragment & MORE_FRAGMENTS) != 0));
		put_u32(at + 4, plan->ip_id);
	}
}

/* IP and what it carries; returns its length. */
static size_t put_ip(uint8_t *at, const struct plan *plan)
{
	size_t extension = plan->version == 6 && plan->extension != 0 ? EXTENSION_BYTES : 0;
	size_t header = plan->version == 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
	size_t payload = extension + put_transport(at + header + extension, plan);

	if (extension != 0)
		put_extension(at + header, plan);
	if (plan->version == 4)
		put_ipv4(at, plan, payload);
	else
		put_ipv6(at, plan, payload);
	return header + payload;
}

static uint32_t captured_of(const struct plan *plan, size_t link, size_t wire_bytes)
{
	size_t header = plan->version == 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;

	if (plan->damage == CUT_HEADER)
		return (uint32_t)(link + header - 8);
	if (plan->damage == LONG_IHL)
		return (uint32_t)(link + header);
	if (plan->snap_bytes != 0)
		return (uint32_t)(link + header + plan->snap_bytes);
	return (uint32_t)wire_bytes;
}

void frame_build(struct frame *frame, const struct plan *plan)
{
	uint8_t *ip = put_link(frame->bytes, plan);
	size_t link = (size_t)(ip - frame->bytes), wire_bytes = link;

	if (plan->fate == NON_IP) {
		memcpy(ip, plan->body, plan->body_bytes);
		wire_bytes += plan->body_bytes;
	} else {
		wire_bytes += put_ip(ip, plan);
	}
	if (wire_bytes < ETHERNET_BYTES_MIN) {
		memset(frame->bytes + wire_bytes, 0, ETHERNET_BYTES_MIN - wire_bytes);
		wire_bytes = ETHERNET_BYTES_MIN;
	}
	frame->wire_bytes = (uint32_t)wire_bytes;
	frame->captured_bytes =
		plan->fate == NON_IP ? frame->wire_bytes : captured_of(plan, link, wire_bytes);
}

void frame_quote(struct plan *plan, const uint8_t victim[16], uint8_t protocol, uint16_t src_port,
	uint16_t dst_port)
{
	struct plan quoted = { .version = plan->version,
		.protocol = protocol,
		.ttl = 240,
		.ip_id = plan->ip_id,
		.src_port = src_port,
		.dst_port = dst_port,
		.sequence = plan->acknowledgement,
		.flags = SYN,
		.window = 8192,
		.icmp_type = plan->version == 4 ? 8 : 128,
		.transport_limit = QUOTED_BYTES };
	uint8_t bytes[FRAME_BYTES_MAX];
	size_t size;

	memcpy(quoted.src, plan->dst, sizeof(quoted.src));
	memcpy(quoted.dst, victim, sizeof(quoted.dst));
	size = put_ip(bytes, &quoted);
	memcpy(plan->body + plan->body_bytes, bytes, size);
	plan->body_bytes += size;
}
