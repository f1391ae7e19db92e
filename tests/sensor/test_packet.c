/*
 * Decoding of one IP packet: each field, each reason to refuse, and every cut of a good packet.
 */
#include "sensor/packet.h"

#include "tests/sensor/packet_bytes.h"

#include "schemas/labels.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum {
	EXT_HOPS = 0,
	EXT_ROUTING = 43,
	EXT_FRAGMENT = 44,
	EXT_AH = 51,
	EXT_DESTINATION = 60,
	EXT_MOBILITY = 135,
	EXT_HIP = 139,
	EXT_SHIM6 = 140
};

static enum packet_status decode_as(
	struct packet *pkt, const uint8_t *data, uint32_t captured, uint32_t wire, uint8_t version)
{
	struct ip_bytes ip = { data, captured, wire, version };

	return packet_decode(pkt, &ip);
}

/* ---- IPv4 ---- */

static void test_packet_ipv4_fields_are_as_in_the_header(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	made.bytes[6] = 0x40;

	decode_made(&pkt, &made);

	assert_int_equal(pkt.ip_version, 4);
	assert_int_equal(pkt.address_bytes, 4);
	assert_int_equal(load_u32(pkt.src), 0xcb007109);
	assert_int_equal(load_u32(pkt.dst), 0xc6336407);
	assert_int_equal(pkt.protocol, 6);
	assert_int_equal(pkt.ttl, 64);
	assert_int_equal(pkt.ip_length, 40);
	assert_int_equal(pkt.ip_id, 0x1234);
	assert_true(pkt.is_df);
	assert_false(pkt.is_first_fragment || pkt.is_later_fragment || pkt.is_chain_cut);
	assert_ptr_equal(pkt.transport, made.bytes + 20);
	assert_int_equal(pkt.transport_captured, 20);
	assert_int_equal(pkt.transport_bytes, 20);
	assert_true(pkt.has_ports);
	assert_int_equal(pkt.src_port, 40000);
	assert_int_equal(pkt.dst_port, 23);
	assert_int_equal(pkt.tcp_flags, TCP_SYN);
	assert_int_equal(pkt.tcp_header_bytes, 20);
	assert_int_equal(pkt.tcp_window, 65535);
	assert_int_equal(pkt.tcp_sequence, 0x01020304);
}

static void test_packet_ipv4_options_are_passed_over(void **state)
{
	(void)state;
	for (uint8_t words = 5; words <= 15; words++) {
		struct made made;
		struct packet pkt;

		make_ipv4(&made, PROTOCOL_UDP);
		made.bytes[0] = (uint8_t)(0x40 | words);
		make_zeros(&made, (words - 5u) * 4);
		make_udp(&made, 1000, 2000, "abc", 3);

		decode_made(&pkt, &made);

		assert_int_equal(pkt.transport_bytes, 11);
		assert_int_equal(pkt.src_port, 1000);
		assert_int_equal(pkt.dst_port, 2000);
	}
}

static void test_packet_ipv4_header_that_cannot_be_is_malformed(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	for (unsigned first = 0; first < 256; first++) {
		enum packet_status expected = PACKET_OK;

		made.bytes[0] = (uint8_t)first;
		if (first >> 4 != 4)
			expected = PACKET_IP_VERSION; /* IPv6 has an own test */
		else if ((first & 15) < 5)
			expected = PACKET_HEADER_LENGTH;
		else if ((first & 15) * 4 > 40)
			expected = PACKET_HEADER_CUT;
		if (first >> 4 != 6)
			assert_int_equal(decode_snapped(&pkt, &made, made.size), expected);
	}
	made.bytes[0] = 0x45;
	for (uint16_t total = 0; total < 100; total++) {
		store_u16(made.bytes + 2, total);
		assert_int_equal(decode_snapped(&pkt, &made, made.size),
			total != 0 && total < 20 ? PACKET_TOTAL_LENGTH : PACKET_OK);
	}
	made.bytes[0] = 0x46; /* options: a longer header, and the length must hold it */
	store_u16(made.bytes + 2, 23);
	assert_int_equal(decode_snapped(&pkt, &made, made.size), PACKET_TOTAL_LENGTH);
	store_u16(made.bytes + 2, 24);
	assert_int_equal(decode_snapped(&pkt, &made, made.size), PACKET_OK);
	assert_int_equal(pkt.transport_bytes, 0);
}

static void test_packet_of_another_version_than_the_link_says_is_malformed(void **state)
{
	struct made v4, v6;
	struct packet pkt;

	(void)state;
	make_ipv4(&v4, PROTOCOL_ICMP);
	make_ipv6(&v6, PROTOCOL_ICMP6);
	assert_int_equal(decode_as(&pkt, v4.bytes, v4.size, v4.size, 4), PACKET_OK);
	assert_int_equal(decode_as(&pkt, v4.bytes, v4.size, v4.size, 6), PACKET_IP_VERSION);
	assert_int_equal(decode_as(&pkt, v6.bytes, v6.size, v6.size, 6), PACKET_OK);
	assert_int_equal(decode_as(&pkt, v6.bytes, v6.size, v6.size, 4), PACKET_IP_VERSION);
	assert_int_equal(decode_as(&pkt, v6.bytes, 0, 0, 0), PACKET_HEADER_CUT);
}

static void test_packet_bytes_beyond_its_length_are_padding(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv4(&made, PROTOCOL_UDP);
	make_udp(&made, 1, 2, NULL, 0);
	make_zeros(&made, 18); /* Ethernet's minimum */

	decode_made(&pkt, &made);

	assert_int_equal(pkt.transport_bytes, 8);
	assert_int_equal(pkt.transport_captured, 8);
}

/* Segmentation offload leaves the length 0: the packet goes to the end of the frame. */
static void test_packet_ipv4_length_0_goes_to_the_end_of_the_frame(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_ACK);
	make_zeros(&made, 100);
	store_u16(made.bytes + 2, 0);

	assert_int_equal(decode_as(&pkt, made.bytes, 60, 60000, 4), PACKET_OK);

	assert_int_equal(pkt.ip_length, 0);
	assert_int_equal(pkt.transport_bytes, 60000 - 20);
	assert_int_equal(pkt.transport_captured, 40);
}

static void test_packet_ipv4_fragments_are_told_apart(void **state)
{
	static const struct {
		uint16_t field;
		bool is_first, is_later, is_df;
	} rows[] = {
		{ 0x0000, false, false, false },
		{ 0x4000, false, false, true },
		{ 0x8000, false, false, false }, /* the evil bit, RFC 3514 */
		{ 0x2000, true, false, false },
		{ 0x6000, true, false, true },
		{ 0x2001, false, true, false },
		{ 0x0001, false, true, false },
		{ 0x1fff, false, true, false },
		{ 0x1000, false, true, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct made made;
		struct packet pkt;

		make_ipv4(&made, PROTOCOL_TCP);
		make_tcp(&made, TCP_SYN);
		store_u16(made.bytes + 6, rows[i].field);

		decode_made(&pkt, &made);

		assert_int_equal(pkt.is_first_fragment, rows[i].is_first);
		assert_int_equal(pkt.is_later_fragment, rows[i].is_later);
		assert_int_equal(pkt.is_df, rows[i].is_df);
		assert_int_equal(pkt.has_ports, !rows[i].is_later);
		assert_int_equal(pkt.protocol, PROTOCOL_TCP);
	}
}

/* ---- every cut ---- */

/* What is known of a TCP, UDP or ICMP packet of which so many transport bytes were captured. */
static void assert_cut_transport(const struct packet *pkt, uint32_t captured, uint32_t whole)
{
	bool has_ports = pkt->protocol == PROTOCOL_TCP || pkt->protocol == PROTOCOL_UDP ||
			 pkt->protocol == PROTOCOL_SCTP;

	assert_int_equal(pkt->transport_captured, captured);
	assert_int_equal(pkt->transport_bytes, whole);
	assert_int_equal(pkt->has_ports, has_ports && captured >= 4);
	assert_int_equal(pkt->dst_port, has_ports && captured >= 4 ? 23 : 0);
	if (pkt->protocol == PROTOCOL_TCP) {
		assert_int_equal(pkt->tcp_sequence, captured >= 8 ? 0x01020304 : 0);
		assert_int_equal(pkt->tcp_flags, captured >= 14 ? TCP_SYN : 0);
		assert_int_equal(pkt->tcp_header_bytes, captured >= 14 ? 20 : 0);
		assert_int_equal(pkt->tcp_window, captured >= 16 ? 65535 : 0);
	}
	if (protocol_is_icmp(pkt->protocol)) {
		assert_int_equal(pkt->icmp_type, captured >= 1 ? 3 : 0);
		assert_int_equal(pkt->icmp_code, captured >= 2 ? 13 : 0);
	}
}

static void make_protocol(struct made *made, unsigned ip_version, uint8_t protocol)
{
	make_ip(made, ip_version, protocol);
	if (protocol == PROTOCOL_TCP)
		make_tcp(made, TCP_SYN);
	else if (protocol_is_icmp(protocol))
		make_icmp(made, 3, 13);
	else
		make_udp(made, 40000, 23, "payload", 7); /* ports lie there in SCTP too */
}

/* Every cut of a good packet gets the verdict of its length, and reads no byte past it. */
static void test_packet_cut_anywhere_gets_the_verdict_of_its_length(void **state)
{
	static const uint8_t protocols[] = { PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP,
		PROTOCOL_ICMP6, PROTOCOL_SCTP, PROTOCOL_IGMP, PROTOCOL_GRE, 255 };

	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		uint32_t header_bytes = version == 6 ? IPV6_BYTES : IPV4_BYTES;

		for (size_t i = 0; i < COUNT_OF(protocols); i++) {
			struct made made;

			make_protocol(&made, version, protocols[i]);
			for (uint32_t size = 0; size <= made.size; size++) {
				uint8_t *copy = exact_copy(made.bytes, size);
				struct packet pkt;
				enum packet_status status =
					decode_as(&pkt, copy, size, made.size, 0);

				if (size < header_bytes) {
					assert_int_equal(status, PACKET_HEADER_CUT);
				} else {
					assert_int_equal(status, PACKET_OK);
					assert_cut_transport(&pkt, size - header_bytes,
						made.size - header_bytes);
				}
				free(copy);
			}
		}
	}
}

/* The same, cut by the packet's own length instead of the snap length. */
static void test_packet_shortened_by_its_own_length_knows_as_much(void **state)
{
	(void)state;
	for (uint32_t size = 0; size <= TCP_BYTES; size++) {
		struct made made;
		struct packet pkt;

		make_protocol(&made, 4, PROTOCOL_TCP);
		store_u16(made.bytes + 2, (uint16_t)(IPV4_BYTES + size));
		decode_made(&pkt, &made);
		assert_cut_transport(&pkt, size, size);

		make_protocol(&made, 6, PROTOCOL_TCP);
		store_u16(made.bytes + 4, (uint16_t)size);
		if (size == 0)
			continue; /* a jumbo payload: another test */
		decode_made(&pkt, &made);
		assert_cut_transport(&pkt, size, size);
	}
}

/* ---- IPv6 ---- */

static void test_packet_ipv6_fields_are_as_in_the_header(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv6(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);

	decode_made(&pkt, &made);

	assert_int_equal(pkt.ip_version, 6);
	assert_int_equal(pkt.address_bytes, 16);
	assert_ptr_equal(pkt.src, made.bytes + 8);
	assert_ptr_equal(pkt.dst, made.bytes + 24);
	assert_int_equal(pkt.protocol, 6);
	assert_int_equal(pkt.ttl, 64);
	assert_int_equal(pkt.ip_length, 60);
	assert_int_equal(pkt.ip_id, 0);
	assert_false(pkt.is_df);
	assert_int_equal(pkt.dst_port, 23);
}

static void test_packet_ipv6_length_0_goes_to_the_end_of_the_frame(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv6(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	store_u16(made.bytes + 4, 0);

	assert_int_equal(decode_as(&pkt, made.bytes, made.size, 100000, 6), PACKET_OK);
	assert_int_equal(pkt.transport_bytes, 100000 - 40);
	assert_int_equal(pkt.transport_captured, 20);

	assert_int_equal(decode_as(&pkt, made.bytes, 40, 40, 6), PACKET_OK);
	assert_int_equal(pkt.transport_bytes, 0);
}

/* An extension header: the next one's number, its length in its own unit, zeros. */
static void make_extension(struct made *made, uint8_t kind, uint8_t next, uint8_t words)
{
	uint8_t front[2] = { next, kind == EXT_FRAGMENT ? 0 : words };
	uint32_t bytes = (words + 1u) * 8;

	if (kind == EXT_FRAGMENT)
		bytes = 8;
	if (kind == EXT_AH)
		bytes = (words + 2u) * 4;
	make_append(made, front, 2);
	make_zeros(made, bytes - 2);
	make_length(made);
}

static const uint8_t walked[] = { EXT_HOPS, EXT_ROUTING, EXT_FRAGMENT, EXT_AH, EXT_DESTINATION,
	EXT_MOBILITY, EXT_HIP, EXT_SHIM6 };

static void test_packet_ipv6_extension_headers_are_walked(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(walked); i++) {
		for (uint8_t words = 0; words < 20; words++) {
			struct made made;
			struct packet pkt;

			make_ipv6(&made, walked[i]);
			if (walked[i] == EXT_AH && words == 0)
				continue; /* eight bytes: shorter than RFC 4302 has it */
			make_extension(&made, walked[i], PROTOCOL_TCP, words);
			make_tcp(&made, TCP_SYN);

			decode_made(&pkt, &made);

			assert_int_equal(pkt.protocol, PROTOCOL_TCP);
			assert_int_equal(pkt.transport_captured, TCP_BYTES);
			assert_int_equal(pkt.transport_bytes, TCP_BYTES);
			assert_int_equal(pkt.dst_port, 23);
			assert_false(pkt.is_chain_cut);
			assert_false(pkt.is_first_fragment || pkt.is_later_fragment);
		}
	}
}

static void test_packet_ipv6_chain_of_all_is_walked_to_its_end(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv6(&made, walked[0]);
	for (size_t i = 0; i < COUNT_OF(walked); i++)
		make_extension(&made, walked[i],
			i + 1 < COUNT_OF(walked) ? walked[i + 1] : PROTOCOL_UDP, 2);
	make_udp(&made, 53, 40000, NULL, 0);

	decode_made(&pkt, &made);

	assert_int_equal(pkt.protocol, PROTOCOL_UDP);
	assert_int_equal(pkt.src_port, 53);
	assert_int_equal(pkt.transport_bytes, UDP_BYTES);
}

/* RFC 8200 and IANA know more that could be next: those end the chain. */
static void test_packet_ipv6_other_headers_are_not_walked(void **state)
{
	(void)state;
	for (unsigned next = 0; next < 256; next++) {
		struct made made;
		struct packet pkt;

		if (memchr(walked, (int)next, sizeof(walked)) != NULL)
			continue;
		make_ipv6(&made, (uint8_t)next);
		make_zeros(&made, 64);
		make_length(&made);

		decode_made(&pkt, &made);

		assert_int_equal(pkt.protocol, next);
		assert_int_equal(pkt.transport_bytes, 64);
		assert_false(pkt.is_chain_cut);
	}
}

/* Hop by hop (16), fragment (8), destination (24), UDP: the last type known is the verdict. */
static void test_packet_ipv6_chain_cut_anywhere_keeps_the_last_type_known(void **state)
{
	struct made made;

	(void)state;
	make_ipv6(&made, EXT_HOPS);
	make_extension(&made, EXT_HOPS, EXT_FRAGMENT, 1);
	make_extension(&made, EXT_FRAGMENT, EXT_DESTINATION, 0);
	make_extension(&made, EXT_DESTINATION, PROTOCOL_UDP, 2);
	make_udp(&made, 40000, 23, NULL, 0);
	for (uint32_t size = IPV6_BYTES; size <= made.size; size++) {
		uint8_t *copy = exact_copy(made.bytes, size);
		uint32_t chain = size - IPV6_BYTES;
		struct packet pkt;

		assert_int_equal(decode_as(&pkt, copy, size, made.size, 6), PACKET_OK);

		/* eight bytes of a header are enough to know what comes next */
		assert_int_equal(pkt.protocol, chain < 8    ? EXT_HOPS
					       : chain < 24 ? EXT_FRAGMENT
					       : chain < 32 ? (int)EXT_DESTINATION
							    : PROTOCOL_UDP);
		assert_int_equal(pkt.is_chain_cut, chain < 48);
		if (pkt.is_chain_cut)
			assert_false(pkt.has_ports);
		free(copy);
	}
}

/* The chain goes on beyond the packet's own length, in what is only padding. */
static void test_packet_ipv6_chain_beyond_the_packet_is_cut(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv6(&made, EXT_DESTINATION);
	make_extension(&made, EXT_DESTINATION, PROTOCOL_TCP, 3);
	make_tcp(&made, TCP_SYN);
	store_u16(made.bytes + 4, 31);

	decode_made(&pkt, &made);

	assert_true(pkt.is_chain_cut);
	assert_int_equal(pkt.protocol, PROTOCOL_TCP);
	assert_int_equal(pkt.transport_captured, 0);
}

static void test_packet_ipv6_fragments_are_told_apart(void **state)
{
	static const struct {
		uint16_t field;
		bool is_first, is_later;
	} rows[] = {
		{ 0x0000, false, false }, /* atomic, RFC 6946 */
		{ 0x0001, true, false },
		{ 0x0006, false, false }, /* reserved bits */
		{ 0x0008, false, true },
		{ 0x0009, false, true },
		{ 0xfff8, false, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct made made;
		struct packet pkt;

		make_ipv6(&made, EXT_FRAGMENT);
		make_extension(&made, EXT_FRAGMENT, PROTOCOL_TCP, 0);
		store_u16(made.bytes + IPV6_BYTES + 2, rows[i].field);
		make_tcp(&made, TCP_SYN);

		decode_made(&pkt, &made);

		assert_int_equal(pkt.is_first_fragment, rows[i].is_first);
		assert_int_equal(pkt.is_later_fragment, rows[i].is_later);
		assert_int_equal(pkt.has_ports, !rows[i].is_later);
		assert_int_equal(pkt.protocol, PROTOCOL_TCP);
	}
}

/* A later fragment may name an extension header: its bytes are the middle of something. */
static void test_packet_ipv6_later_fragment_ends_the_walk(void **state)
{
	struct made made;
	struct packet pkt;

	(void)state;
	make_ipv6(&made, EXT_FRAGMENT);
	make_extension(&made, EXT_FRAGMENT, EXT_DESTINATION, 0);
	store_u16(made.bytes + IPV6_BYTES + 2, 0x0008);
	make_zeros(&made, 4);
	make_length(&made);

	decode_made(&pkt, &made);

	assert_true(pkt.is_later_fragment);
	assert_false(pkt.is_chain_cut);
	assert_int_equal(pkt.protocol, EXT_DESTINATION);
}

/* ---- what an ICMP error quotes ---- */

static void make_error(struct made *made, const struct made *quoted, unsigned ip_version)
{
	make_ip(made, ip_version, ip_version == 6 ? PROTOCOL_ICMP6 : PROTOCOL_ICMP);
	make_icmp(made, ip_version == 6 ? 1 : 3, 4);
	make_append(made, quoted->bytes, quoted->size);
	make_length(made);
}

static void test_packet_quote_names_the_victim(void **state)
{
	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		struct made inner, outer;
		struct quoted_packet quoted;
		struct packet pkt;

		make_protocol(&inner, version, PROTOCOL_TCP);
		make_error(&outer, &inner, version);
		decode_made(&pkt, &outer);

		packet_decode_quote(&pkt, &quoted);

		assert_true(quoted.is_readable);
		assert_int_equal(quoted.protocol, PROTOCOL_TCP);
		assert_true(quoted.has_port);
		assert_int_equal(quoted.dst_port, 23);
		assert_memory_equal(quoted.src, pkt.src, pkt.address_bytes);
		assert_memory_equal(quoted.dst, pkt.dst, pkt.address_bytes);
	}
}

static void test_packet_quote_cut_anywhere_keeps_what_is_whole(void **state)
{
	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		uint32_t header_bytes = version == 6 ? IPV6_BYTES : IPV4_BYTES;
		struct made inner, outer;

		make_protocol(&inner, version, PROTOCOL_TCP);
		make_error(&outer, &inner, version);
		for (uint32_t size = header_bytes; size <= outer.size; size++) {
			uint8_t *copy = exact_copy(outer.bytes, size);
			uint32_t quote = size > header_bytes + 8 ? size - header_bytes - 8 : 0;
			struct quoted_packet quoted;
			struct packet pkt;

			assert_int_equal(decode_as(&pkt, copy, size, outer.size, 0), PACKET_OK);
			packet_decode_quote(&pkt, &quoted);

			assert_int_equal(quoted.is_readable, quote >= header_bytes);
			assert_int_equal(quoted.has_port, quote >= header_bytes + 4);
			free(copy);
		}
	}
}

static void test_packet_quote_of_the_other_family_is_not_readable(void **state)
{
	struct made inner, outer;
	struct quoted_packet quoted;
	struct packet pkt;

	(void)state;
	make_protocol(&inner, 6, PROTOCOL_TCP);
	make_error(&outer, &inner, 4);
	decode_made(&pkt, &outer);

	packet_decode_quote(&pkt, &quoted);

	assert_false(quoted.is_readable);
}

static void test_packet_status_has_the_name_of_the_ledger(void **state)
{
	(void)state;
	assert_string_equal(packet_status_name(PACKET_IP_VERSION), "ip_version");
	assert_string_equal(packet_status_name(PACKET_HEADER_CUT), "header_cut");
	assert_string_equal(packet_status_name(PACKET_HEADER_LENGTH), "header_length");
	assert_string_equal(packet_status_name(PACKET_TOTAL_LENGTH), "total_length");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packet_ipv4_fields_are_as_in_the_header),
		cmocka_unit_test(test_packet_ipv4_options_are_passed_over),
		cmocka_unit_test(test_packet_ipv4_header_that_cannot_be_is_malformed),
		cmocka_unit_test(test_packet_of_another_version_than_the_link_says_is_malformed),
		cmocka_unit_test(test_packet_bytes_beyond_its_length_are_padding),
		cmocka_unit_test(test_packet_ipv4_length_0_goes_to_the_end_of_the_frame),
		cmocka_unit_test(test_packet_ipv4_fragments_are_told_apart),
		cmocka_unit_test(test_packet_cut_anywhere_gets_the_verdict_of_its_length),
		cmocka_unit_test(test_packet_shortened_by_its_own_length_knows_as_much),
		cmocka_unit_test(test_packet_ipv6_fields_are_as_in_the_header),
		cmocka_unit_test(test_packet_ipv6_length_0_goes_to_the_end_of_the_frame),
		cmocka_unit_test(test_packet_ipv6_extension_headers_are_walked),
		cmocka_unit_test(test_packet_ipv6_chain_of_all_is_walked_to_its_end),
		cmocka_unit_test(test_packet_ipv6_other_headers_are_not_walked),
		cmocka_unit_test(test_packet_ipv6_chain_cut_anywhere_keeps_the_last_type_known),
		cmocka_unit_test(test_packet_ipv6_chain_beyond_the_packet_is_cut),
		cmocka_unit_test(test_packet_ipv6_fragments_are_told_apart),
		cmocka_unit_test(test_packet_ipv6_later_fragment_ends_the_walk),
		cmocka_unit_test(test_packet_quote_names_the_victim),
		cmocka_unit_test(test_packet_quote_cut_anywhere_keeps_what_is_whole),
		cmocka_unit_test(test_packet_quote_of_the_other_family_is_not_readable),
		cmocka_unit_test(test_packet_status_has_the_name_of_the_ledger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
