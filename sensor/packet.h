/*
 * One IP packet, decoded as far as classification needs it.
 *
 * Decoding never fails on what is strange, only on what is not a readable IP header: such a packet
 * is malformed, with a reason. A cut or lying transport header is a finding, not an error.
 *
 * Sources: RFC 791, RFC 8200 (headers), RFC 9293 (TCP), RFC 768 (UDP), RFC 792 and RFC 4443 (ICMP).
 *
 * Threads: plain values; pointers lead into the frame and live as long as it does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sensor/linktype.h"

#define DROP_REASON(ident, name, field, text) PACKET_##ident,
enum packet_status {
	PACKET_OK,
#include "sensor/drop_reasons.def"
	PACKET_STATUS_COUNT
};

/** The packet an ICMP error quotes. */
struct quoted_packet {
	bool is_readable; /* the quoted IP header is whole */
	uint8_t protocol;
	bool has_port;
	uint16_t dst_port;  /* the victim's */
	const uint8_t *src; /* as long as the outer packet's addresses */
	const uint8_t *dst;
};

struct packet {
	uint64_t time_ns;
	uint32_t wire_bytes; /* the frame's original length, link header included */
	const uint8_t *src;  /* 4 or 16 bytes, network order */
	const uint8_t *dst;
	uint8_t address_bytes; /* 4 or 16 */
	uint8_t ip_version;
	uint8_t protocol;   /* after IPv6 extension headers */
	uint8_t ttl;	    /* or hop limit */
	uint16_t ip_length; /* as the header says; IPv6: payload + 40, at most 65535 */
	uint16_t ip_id;
	bool is_df;
	bool is_later_fragment; /* offset above 0 */
	bool is_first_fragment; /* offset 0, more to come */
	bool is_chain_cut;	/* IPv6 extension headers end early */
	const uint8_t *transport;
	uint32_t transport_captured; /* bytes there, within the packet's own length */
	uint32_t transport_bytes;    /* by the length fields */
	bool has_ports;
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t tcp_flags;
	uint8_t tcp_header_bytes; /* data offset × 4 */
	uint16_t tcp_window;
	uint32_t tcp_sequence;
	uint8_t icmp_type;
	uint8_t icmp_code;
};

/**
 * Decodes the IP and transport headers.
 *
 * @return PACKET_OK, or why the packet is malformed; `pkt` is filled only when it is not
 */
enum packet_status packet_decode(struct packet *pkt, const struct ip_bytes *ip);

/** Decodes what an ICMP error quotes; call it for class backscatter.icmp_error only. */
void packet_decode_quote(const struct packet *pkt, struct quoted_packet *quoted);

/** The name of a reason, as it stands in the ledger's JSON. */
const char *packet_status_name(enum packet_status status);
