#include "sensor/linktype.h"

#include <stddef.h>

#include "schemas/base/bytes.h"

#define ETHERTYPE_IPV4		 0x0800 /* IANA IEEE 802 numbers */
#define ETHERTYPE_IPV6		 0x86dd
#define ETHERTYPE_8021Q		 0x8100 /* IEEE 802.1Q */
#define ETHERTYPE_8021AD	 0x88a8 /* IEEE 802.1ad */
#define ETHERTYPE_QINQ1		 0x9100 /* vendors' stacked tags before 802.1ad */
#define ETHERTYPE_QINQ2		 0x9200
#define LINKTYPE_ETHERNET	 1
#define ETHERNET_ADDRESSES_BYTES 12
#define ETHERNET_HEADER_BYTES	 14
#define SLL_PROTOCOL_OFFSET	 14 /* LINKTYPE_LINUX_SLL: type, ARPHRD, address length, address */
#define SLL2_REST_BYTES		 18 /* LINKTYPE_LINUX_SLL2: what follows the protocol */
#define PPP_ADDRESS_CONTROL	 0xff03 /* RFC 1662 3.1 */
#define PPP_IPV4		 0x21	/* RFC 1332 */
#define PPP_IPV6		 0x57	/* RFC 5072 */
#define CISCO_HDLC_UNICAST	 0x0f
#define CISCO_HDLC_BROADCAST	 0x8f
#define AF_INET_EVERYWHERE	 2 /* BSD loopback: the value of AF_INET is the same everywhere */

typedef bool (*find_ip)(struct byte_reader *r, uint8_t *version);

static bool version_of_ethertype(uint16_t ethertype, uint8_t *version)
{
	*version = ethertype == ETHERTYPE_IPV4 ? 4 : 6;
	return ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6;
}

static bool is_tag(uint16_t ethertype)
{
	return ethertype == ETHERTYPE_8021Q || ethertype == ETHERTYPE_8021AD ||
	       ethertype == ETHERTYPE_QINQ1 || ethertype == ETHERTYPE_QINQ2;
}

/* From an EtherType on: any stack of tags, then IP or not. */
static bool find_after_tags(struct byte_reader *r, uint8_t *version)
{
	uint16_t ethertype = bytes_u16(r);

	while (is_tag(ethertype) && !r->truncated) {
		bytes_skip(r, 2); /* priority and VLAN */
		ethertype = bytes_u16(r);
	}
	return !r->truncated && version_of_ethertype(ethertype, version);
}

static bool find_ethernet(struct byte_reader *r, uint8_t *version)
{
	bytes_skip(r, ETHERNET_ADDRESSES_BYTES);
	return find_after_tags(r, version);
}

static bool find_sll(struct byte_reader *r, uint8_t *version)
{
	bytes_skip(r, SLL_PROTOCOL_OFFSET);
	return find_after_tags(r, version);
}

/* SLL2 has its protocol first and 18 more bytes before the payload; tags come after those. */
static bool find_sll2(struct byte_reader *r, uint8_t *version)
{
	uint16_t ethertype = bytes_u16(r);

	bytes_skip(r, SLL2_REST_BYTES);
	if (is_tag(ethertype)) {
		bytes_skip(r, 2);
		return find_after_tags(r, version);
	}
	return !r->truncated && version_of_ethertype(ethertype, version);
}

/* The address family is in the byte order of the machine that captured (NULL) or big endian (LOOP). */
static bool find_null(struct byte_reader *r, uint8_t *version)
{
	uint32_t family = bytes_u32(r);

	if (r->truncated)
		return false;
	if (family > 0xffff)
		family = __builtin_bswap32(family);
	switch (family) {
	case AF_INET_EVERYWHERE:
		*version = 4;
		return true;
	case 10: /* Linux */
	case 24: /* NetBSD, OpenBSD */
	case 28: /* FreeBSD */
	case 30: /* Darwin */
		*version = 6;
		return true;
	default:
		return false;
	}
}

static bool find_raw(struct byte_reader *r, uint8_t *version)
{
	(void)r;
	*version = 0;
	return true;
}

static bool find_raw4(struct byte_reader *r, uint8_t *version)
{
	(void)r;
	*version = 4;
	return true;
}

static bool find_raw6(struct byte_reader *r, uint8_t *version)
{
	(void)r;
	*version = 6;
	return true;
}

/* RFC 1661 section 2: the protocol field may be compressed to its lower byte, which is then odd. */
static bool find_ppp_protocol(struct byte_reader *r, uint8_t *version)
{
	uint16_t protocol = bytes_u8(r);

	if ((protocol & 1) == 0)
		protocol = (uint16_t)(protocol << 8 | bytes_u8(r));
	*version = protocol == PPP_IPV4 ? 4 : 6;
	return !r->truncated && (protocol == PPP_IPV4 || protocol == PPP_IPV6);
}

static bool find_ppp(struct byte_reader *r, uint8_t *version)
{
	if (bytes_left(r) >= 2 && load_u16(r->at) == PPP_ADDRESS_CONTROL)
		bytes_skip(r, 2);
	return find_ppp_protocol(r, version);
}

/* PPP in HDLC-like framing, or Cisco HDLC with an EtherType: told apart by the first byte. */
static bool find_hdlc(struct byte_reader *r, uint8_t *version)
{
	uint8_t address = bytes_left(r) > 0 ? *r->at : 0;

	if (address == CISCO_HDLC_UNICAST || address == CISCO_HDLC_BROADCAST) {
		bytes_skip(r, 2);
		return find_after_tags(r, version);
	}
	return find_ppp(r, version);
}

static const struct {
	uint32_t linktype;
	const char *name;
	find_ip find;
} known[] = {
	{ 0, "BSD loopback", find_null },
	{ LINKTYPE_ETHERNET, "Ethernet", find_ethernet },
	{ 9, "PPP", find_ppp },
	{ 12, "raw IP", find_raw },
	{ 14, "raw IP", find_raw },
	{ 50, "PPP over HDLC", find_hdlc },
	{ 101, "raw IP", find_raw },
	{ 104, "Cisco HDLC", find_hdlc },
	{ 108, "OpenBSD loopback", find_null },
	{ 113, "Linux cooked v1", find_sll },
	{ 228, "raw IPv4", find_raw4 },
	{ 229, "raw IPv6", find_raw6 },
	{ 276, "Linux cooked v2", find_sll2 },
};

/* Some that are met now and then, for the message that refuses them. */
static const struct {
	uint32_t linktype;
	const char *name;
} refused[] = {
	{ 6, "Token Ring" },
	{ 8, "SLIP" },
	{ 51, "PPPoE" },
	{ 105, "IEEE 802.11" },
	{ 107, "Frame Relay" },
	{ 127, "IEEE 802.11 with radiotap" },
	{ 147, "private use 0" },
	{ 189, "USB" },
	{ 195, "IEEE 802.15.4" },
	{ 239, "netfilter log" },
	{ 253, "netlink" },
};

static find_ip finder_of(uint32_t linktype)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].linktype == linktype)
			return known[i].find;
	return NULL;
}

bool linktype_is_known(uint32_t linktype)
{
	return finder_of(linktype) != NULL;
}

const char *linktype_name(uint32_t linktype)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].linktype == linktype)
			return known[i].name;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (refused[i].linktype == linktype)
			return refused[i].name;
	return "unknown";
}

/* Ethernet without tags, which is almost all there is. */
static bool find_plain_ethernet(const struct frame *frame, struct ip_bytes *out)
{
	if (frame->linktype != LINKTYPE_ETHERNET || frame->captured_bytes < ETHERNET_HEADER_BYTES ||
		!version_of_ethertype(
			load_u16(frame->data + ETHERNET_ADDRESSES_BYTES), &out->version))
		return false;
	out->data = frame->data + ETHERNET_HEADER_BYTES;
	out->captured_bytes = frame->captured_bytes - ETHERNET_HEADER_BYTES;
	out->wire_bytes = frame->wire_bytes > ETHERNET_HEADER_BYTES
				  ? frame->wire_bytes - ETHERNET_HEADER_BYTES
				  : 0;
	return true;
}

static bool find_after_link_header(const struct frame *frame, struct ip_bytes *out)
{
	struct byte_reader r = byte_reader_of(frame->data, frame->captured_bytes);
	find_ip find = finder_of(frame->linktype);
	uint32_t header_bytes;
	uint8_t version;

	if (find == NULL || !find(&r, &version))
		return false;
	header_bytes = frame->captured_bytes - (uint32_t)bytes_left(&r);
	out->data = r.at;
	out->captured_bytes = (uint32_t)bytes_left(&r);
	out->wire_bytes = frame->wire_bytes > header_bytes ? frame->wire_bytes - header_bytes : 0;
	out->version = version;
	return true;
}

bool linktype_find_ip(const struct frame *frame, struct ip_bytes *out)
{
	return find_plain_ethernet(frame, out) || find_after_link_header(frame, out);
}
