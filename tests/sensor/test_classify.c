/*
 * The class rules, one by one: what each takes, and what only looks like it.
 *
 * The rules are written down here a second time, from their text; see data/public/rules.md.
 */
#include "sensor/classify.h"

#include "tests/sensor/packet_bytes.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NO_SNAP		UINT32_MAX

static enum packet_class class_of_made(const struct made *made, uint32_t captured)
{
	struct packet pkt;

	assert_int_equal(decode_snapped(&pkt, made, captured), PACKET_OK);
	return classify(&pkt);
}

#define assert_class(made, captured, expected)                                                     \
	assert_string_equal(class_name(class_of_made(made, captured)), class_name(CLASS_##expected))

/* ---- rule 2: fragments ---- */

static void set_fragment(struct made *made, uint16_t offset_field)
{
	store_u16(made->bytes + 6, offset_field);
}

static void test_classify_later_fragment_is_a_fragment_whatever_it_holds(void **state)
{
	(void)state;
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		struct made made;

		make_ipv4(&made, (uint8_t)protocol);
		make_tcp(&made, TCP_SYN);
		set_fragment(&made, 0x0001);
		assert_class(&made, NO_SNAP, OTHER_FRAGMENT);
		set_fragment(&made, 0x3fff);
		assert_class(&made, NO_SNAP, OTHER_FRAGMENT);
		assert_class(&made, IPV4_BYTES, OTHER_FRAGMENT);
	}
}

static void test_classify_first_fragment_is_what_it_holds(void **state)
{
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	set_fragment(&made, 0x2000);
	assert_class(&made, NO_SNAP, SCAN_TCP_SYN);
	make_ipv4(&made, PROTOCOL_UDP);
	make_udp(&made, 1, 2, "x", 1);
	set_fragment(&made, 0x2000);
	assert_class(&made, NO_SNAP, SCAN_UDP);
	make_ipv4(&made, PROTOCOL_ICMP);
	make_icmp(&made, 8, 0);
	set_fragment(&made, 0x2000);
	assert_class(&made, NO_SNAP, SCAN_ICMP_ECHO);
}

/* The border of the fragment cuts the header: a fragment; the snap length does: truncated. */
static void test_classify_first_fragment_cut_is_a_fragment_or_truncated(void **state)
{
	static const struct {
		uint8_t protocol;
		uint32_t needed;
	} rows[] = { { PROTOCOL_TCP, 14 }, { PROTOCOL_UDP, 4 }, { PROTOCOL_ICMP, 1 },
		{ PROTOCOL_ICMP6, 1 } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		for (uint32_t bytes = 0; bytes < rows[i].needed; bytes++) {
			struct made made;

			make_ipv4(&made, rows[i].protocol);
			make_zeros(&made, bytes);
			make_length(&made);
			set_fragment(&made, 0x2000);
			assert_class(&made, NO_SNAP, OTHER_FRAGMENT);

			set_fragment(&made, 0);
			assert_class(&made, NO_SNAP, OTHER_TRUNCATED);

			make_zeros(&made, 20);
			make_length(&made);
			set_fragment(&made, 0x2000);
			assert_class(&made, IPV4_BYTES + bytes, OTHER_TRUNCATED);
		}
	}
}

static void make_ipv6_fragment(struct made *made, uint8_t protocol, uint16_t field)
{
	uint8_t fragment[8] = { protocol };

	store_u16(fragment + 2, field);
	make_ipv6(made, 44);
	make_append(made, fragment, sizeof(fragment));
}

static void test_classify_ipv6_fragments_are_classified_alike(void **state)
{
	struct made made;

	(void)state;
	make_ipv6_fragment(&made, PROTOCOL_TCP, 0x0008);
	make_tcp(&made, TCP_SYN);
	assert_class(&made, NO_SNAP, OTHER_FRAGMENT);
	make_ipv6_fragment(&made, PROTOCOL_TCP, 0x0001);
	make_tcp(&made, TCP_SYN);
	assert_class(&made, NO_SNAP, SCAN_TCP_SYN);
	make_ipv6_fragment(&made, PROTOCOL_TCP, 0x0001);
	make_zeros(&made, 13);
	make_length(&made);
	assert_class(&made, NO_SNAP, OTHER_FRAGMENT);
	make_ipv6_fragment(&made, PROTOCOL_TCP, 0x0000);
	make_tcp(&made, TCP_SYN);
	assert_class(&made, NO_SNAP, SCAN_TCP_SYN);
}

static void test_classify_chain_that_is_cut_is_truncated(void **state)
{
	struct made made;

	(void)state;
	make_ipv6_fragment(&made, PROTOCOL_TCP, 0x0001);
	make_tcp(&made, TCP_SYN);
	assert_class(&made, IPV6_BYTES + 7, OTHER_TRUNCATED);
	assert_class(&made, IPV6_BYTES + 8, OTHER_TRUNCATED);
	make_ipv6(&made, 60);
	make_zeros(&made, 7);
	make_length(&made);
	assert_class(&made, NO_SNAP, OTHER_TRUNCATED);
}

/* ---- rule 3: TCP ---- */

/* From the rule's text. Flags in the order FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32. */
static const char *expected_of_flags(unsigned flags, bool has_payload)
{
	switch (flags) {
	case 0x02:
		return "scan.tcp_syn";
	case 0x12:
		return "backscatter.tcp_synack";
	case 0x04:
		return "backscatter.tcp_rst";
	case 0x14:
		return "backscatter.tcp_rstack";
	case 0x00:
		return "scan.tcp_null";
	case 0x01:
		return "scan.tcp_fin";
	case 0x29:
		return "scan.tcp_xmas";
	case 0x11:
		return has_payload ? "other.tcp_flags" : "scan.tcp_maimon";
	case 0x10:
		return has_payload ? "other.tcp_flags" : "scan.tcp_ack";
	default:
		return "other.tcp_flags";
	}
}

static void test_classify_tcp_by_flags_and_payload(void **state)
{
	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		for (unsigned flags = 0; flags < 256; flags++) {
			struct made made;

			make_ip(&made, version, PROTOCOL_TCP);
			make_tcp(&made, (uint8_t)flags);
			assert_string_equal(class_name(class_of_made(&made, NO_SNAP)),
				expected_of_flags(flags & 0x3f, false));

			made.bytes[made.size - 8] |= 1; /* the NS bit of RFC 3540 */
			assert_string_equal(class_name(class_of_made(&made, NO_SNAP)),
				expected_of_flags(flags & 0x3f, false));

			make_append(&made, "x", 1);
			make_length(&made);
			assert_string_equal(class_name(class_of_made(&made, NO_SNAP)),
				expected_of_flags(flags & 0x3f, true));
		}
	}
}

/* Whether there is payload is a matter of the length fields, not of what was captured. */
static void test_classify_tcp_payload_is_what_the_lengths_say(void **state)
{
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_ACK);
	make_append(&made, "abcdefgh", 8);
	make_length(&made);
	assert_class(&made, NO_SNAP, OTHER_TCP_FLAGS);
	assert_class(&made, IPV4_BYTES + 14, OTHER_TCP_FLAGS);
	made.bytes[IPV4_BYTES + 12] = 0x70; /* eight bytes of options instead */
	assert_class(&made, NO_SNAP, SCAN_TCP_ACK);
	made.bytes[IPV4_BYTES + 12] = 0xf0; /* more options than there are bytes */
	assert_class(&made, NO_SNAP, SCAN_TCP_ACK);
	for (uint8_t words = 0; words < 5; words++) { /* a header shorter than a header: none */
		made.bytes[IPV4_BYTES + 12] = (uint8_t)(words << 4);
		assert_class(&made, NO_SNAP, SCAN_TCP_ACK);
	}
	made.bytes[IPV4_BYTES + 12] = 0x50;
	store_u16(made.bytes + 2, 40); /* the eight bytes are padding */
	assert_class(&made, NO_SNAP, SCAN_TCP_ACK);
}

static void test_classify_tcp_needs_14_bytes(void **state)
{
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	assert_class(&made, IPV4_BYTES + 13, OTHER_TRUNCATED);
	assert_class(&made, IPV4_BYTES + 14, SCAN_TCP_SYN);
	store_u16(made.bytes + 2, IPV4_BYTES + 13); /* beyond the packet's own length */
	assert_class(&made, NO_SNAP, OTHER_TRUNCATED);
	store_u16(made.bytes + 2, IPV4_BYTES + 14);
	assert_class(&made, NO_SNAP, SCAN_TCP_SYN);
}

/* ---- rule 4: ICMP ---- */

static const char *expected_of_icmp(unsigned type)
{
	switch (type) {
	case 8:
		return "scan.icmp_echo";
	case 13:
	case 15:
	case 17:
	case 10:
		return "scan.icmp_query";
	case 0:
	case 14:
	case 16:
	case 18:
		return "backscatter.icmp_reply";
	case 3:
	case 4:
	case 5:
	case 11:
	case 12:
		return "backscatter.icmp_error";
	default:
		return "other.icmp";
	}
}

static const char *expected_of_icmp6(unsigned type)
{
	if (type == 128)
		return "scan.icmp_echo";
	if (type == 129)
		return "backscatter.icmp_reply";
	return type >= 1 && type <= 4 ? "backscatter.icmp_error" : "other.icmp";
}

static void test_classify_icmp_by_type(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		struct made made;

		make_ipv4(&made, PROTOCOL_ICMP);
		make_icmp(&made, (uint8_t)type, 1);
		assert_string_equal(
			class_name(class_of_made(&made, NO_SNAP)), expected_of_icmp(type));
		assert_string_equal(
			class_name(class_of_made(&made, IPV4_BYTES + 1)), expected_of_icmp(type));
		assert_class(&made, IPV4_BYTES, OTHER_TRUNCATED);

		make_ipv6(&made, PROTOCOL_ICMP6);
		make_icmp(&made, (uint8_t)type, 1);
		assert_string_equal(
			class_name(class_of_made(&made, NO_SNAP)), expected_of_icmp6(type));
		assert_class(&made, IPV6_BYTES, OTHER_TRUNCATED);
	}
}

/* ---- rule 5: UDP ---- */

/* Rossow, "Amplification Hell", NDSS 2014, and later ones: the rule's own list */
static const uint16_t reflect[] = { 17, 19, 53, 69, 111, 123, 137, 161, 389, 500, 520, 1434, 1900,
	3283, 3478, 3702, 5353, 5683, 10001, 11211, 27015, 37810 };

static bool reflects(unsigned port)
{
	for (size_t i = 0; i < COUNT_OF(reflect); i++)
		if (reflect[i] == port)
			return true;
	return false;
}

static void assert_udp(uint16_t src_port, uint16_t dst_port, const char *payload,
	size_t payload_bytes, uint32_t captured, enum packet_class expected)
{
	struct made made;

	make_ipv4(&made, PROTOCOL_UDP);
	make_udp(&made, src_port, dst_port, payload, payload_bytes);
	if (class_of_made(&made, captured) != expected)
		fail_msg("%u to %u, %zu bytes, %u captured: not %s", src_port, dst_port,
			payload_bytes, captured, class_name(expected));
}

#define ANSWER CLASS_BACKSCATTER_UDP_RESPONSE
#define PROBE  CLASS_SCAN_UDP

static void test_classify_udp_from_a_reflector_to_a_high_port_is_an_answer(void **state)
{
	(void)state;
	for (unsigned port = 0; port <= 65535; port++) {
		enum packet_class expected = reflects(port) ? ANSWER : PROBE;

		assert_udp((uint16_t)port, 1024, NULL, 0, NO_SNAP, expected);
		assert_udp((uint16_t)port, 1023, NULL, 0, NO_SNAP, PROBE);
		assert_udp(389, (uint16_t)port, NULL, 0, NO_SNAP,
			port >= 1024 && !reflects(port) ? ANSWER : PROBE);
	}
}

#define DNS_QUERY    "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define DNS_RESPONSE "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"

static void test_classify_udp_dns_by_its_response_bit(void **state)
{
	static const uint16_t ports[] = { 53, 5353 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ports); i++) {
		uint16_t dns = ports[i];

		assert_udp(dns, 40000, DNS_RESPONSE, 12, NO_SNAP, ANSWER);
		assert_udp(dns, 40000, DNS_QUERY, 12, NO_SNAP, PROBE);
		assert_udp(40000, dns, DNS_QUERY, 12, NO_SNAP, PROBE);
		assert_udp(40000, dns, DNS_RESPONSE, 12, NO_SNAP, PROBE);
		assert_udp(dns, 7, DNS_RESPONSE, 12, NO_SNAP, ANSWER);
		assert_udp(dns, dns, DNS_RESPONSE, 12, NO_SNAP, ANSWER);
		assert_udp(dns, dns, DNS_QUERY, 12, NO_SNAP, PROBE);
		/* 11 bytes are no DNS: the ports decide */
		assert_udp(dns, 40000, DNS_QUERY, 11, NO_SNAP, ANSWER);
		assert_udp(dns, 1023, DNS_RESPONSE, 11, NO_SNAP, PROBE);
		/* so they do when the snap length has cut the header */
		assert_udp(dns, 40000, DNS_QUERY, 12, IPV4_BYTES + UDP_BYTES + 11, ANSWER);
		assert_udp(dns, 1023, DNS_RESPONSE, 12, IPV4_BYTES + UDP_BYTES + 11, PROBE);
		/* another service to a DNS port is DNS too */
		assert_udp(389, dns, DNS_RESPONSE, 12, NO_SNAP, PROBE);
	}
	assert_udp(54, 40000, DNS_RESPONSE, 12, NO_SNAP, PROBE);
	assert_udp(123, 53, "\x24\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 12, NO_SNAP, PROBE);
}

static void test_classify_udp_ntp_by_its_mode(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 256; first++) {
		unsigned mode = first & 7;

		for (unsigned second = 0; second < 256; second += 0x7f) {
			char payload[2] = { (char)first, (char)second };
			bool is_answer = mode == 4 || (mode == 6 && (second & 0x80) != 0) ||
					 (mode == 7 && (first & 0x80) != 0);

			assert_udp(123, 40000, payload, 2, NO_SNAP, is_answer ? ANSWER : PROBE);
			assert_udp(123, 7, payload, 2, NO_SNAP, is_answer ? ANSWER : PROBE);
			assert_udp(123, 123, payload, 2, NO_SNAP, is_answer ? ANSWER : PROBE);
			assert_udp(40000, 123, payload, 2, NO_SNAP, PROBE);
		}
	}
	/* nothing but the header: the ports decide */
	assert_udp(123, 40000, NULL, 0, NO_SNAP, ANSWER);
	assert_udp(123, 1023, NULL, 0, NO_SNAP, PROBE);
	assert_udp(123, 40000, "\x03", 1, IPV4_BYTES + UDP_BYTES, ANSWER);
	/* one byte of mode 6 has no response bit; one that was cut off is not known */
	assert_udp(123, 40000, "\x16", 1, NO_SNAP, PROBE);
	assert_udp(123, 40000, "\x16\x01", 2, IPV4_BYTES + UDP_BYTES + 1, ANSWER);
	assert_udp(123, 1023, "\x16\x81", 2, IPV4_BYTES + UDP_BYTES + 1, PROBE);
}

static void test_classify_udp_needs_both_ports(void **state)
{
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_UDP);
	make_udp(&made, 389, 40000, "x", 1);
	assert_class(&made, IPV4_BYTES + 3, OTHER_TRUNCATED);
	assert_class(&made, IPV4_BYTES + 4, BACKSCATTER_UDP_RESPONSE);
	assert_class(&made, IPV4_BYTES + 8, BACKSCATTER_UDP_RESPONSE);
	store_u16(made.bytes + 2, IPV4_BYTES + 3);
	assert_class(&made, NO_SNAP, OTHER_TRUNCATED);
}

/* The UDP length field lies often and decides nothing. */
static void test_classify_udp_length_field_is_not_used(void **state)
{
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_UDP);
	make_udp(&made, 53, 40000, DNS_QUERY, 12);
	for (uint16_t length = 0; length < 30; length++) {
		store_u16(made.bytes + IPV4_BYTES + 4, length);
		assert_class(&made, NO_SNAP, SCAN_UDP);
	}
}

/* Payload beyond the packet's own length is padding. */
static void test_classify_udp_padding_is_no_payload(void **state)
{
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_UDP);
	make_udp(&made, 123, 40000, NULL, 0);
	make_append(&made, "\x03\x03\x03\x03", 4);
	assert_class(&made, NO_SNAP, BACKSCATTER_UDP_RESPONSE);
}

/* ---- rule 6: the rest ---- */

static void test_classify_other_protocols(void **state)
{
	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		for (unsigned protocol = 0; protocol < 256; protocol++) {
			const char *expected = "other.ip_proto";
			struct made made;

			switch (protocol) {
			case 1:
			case 6:
			case 17:
			case 58:
				continue;
			case 0:
			case 43:
			case 44:
			case 51:
			case 60:
			case 135:
			case 139:
			case 140: /* in IPv6: zeros, so a chain without end */
				expected = version == 6 ? "other.truncated" : expected;
				break;
			case 132:
				expected = "other.sctp";
				break;
			case 2:
				expected = "other.igmp";
				break;
			default:
				break;
			}
			make_ip(&made, version, (uint8_t)protocol);
			make_zeros(&made, 30);
			make_length(&made);
			assert_string_equal(class_name(class_of_made(&made, NO_SNAP)), expected);
			if (version == 4) /* nothing of it is needed */
				assert_string_equal(
					class_name(class_of_made(&made, IPV4_BYTES)), expected);
		}
	}
}

/* ---- service port ---- */

static void assert_service(
	const struct made *made, uint32_t captured, enum role role, const char *expected)
{
	char text[SERVICE_TEXT_BYTES];
	struct packet pkt;

	assert_int_equal(decode_snapped(&pkt, made, captured), PACKET_OK);
	assert_string_equal(
		service_text(pkt.protocol, classify_service_port(&pkt, role), text), expected);
}

static void test_classify_service_port_follows_the_role(void **state)
{
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_TCP);
	make_tcp(&made, TCP_SYN);
	assert_service(&made, NO_SNAP, ROLE_PROBE, "tcp/23");
	assert_service(&made, NO_SNAP, ROLE_BACKSCATTER, "tcp/40000");
	assert_service(&made, NO_SNAP, ROLE_OTHER, "tcp/-");
	assert_service(&made, NO_SNAP, ROLE_RESIDUE, "tcp/-");
	assert_service(&made, IPV4_BYTES + 3, ROLE_PROBE, "tcp/-");
	set_fragment(&made, 1);
	assert_service(&made, NO_SNAP, ROLE_PROBE, "tcp/-");

	make_ipv6(&made, PROTOCOL_UDP);
	make_udp(&made, 53, 0, NULL, 0);
	assert_service(&made, NO_SNAP, ROLE_PROBE, "udp/0");
	assert_service(&made, NO_SNAP, ROLE_BACKSCATTER, "udp/53");

	make_ipv4(&made, PROTOCOL_GRE);
	make_zeros(&made, 8);
	assert_service(&made, NO_SNAP, ROLE_OTHER, "gre/-");
}

static void test_classify_service_port_of_icmp_is_type_and_code(void **state)
{
	static const enum role roles[] = { ROLE_PROBE, ROLE_BACKSCATTER, ROLE_RESIDUE, ROLE_OTHER };
	struct made made;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(roles); i++) {
		make_ipv4(&made, PROTOCOL_ICMP);
		make_icmp(&made, 3, 13);
		assert_service(&made, NO_SNAP, roles[i], "icmp/3/13");
		assert_service(&made, IPV4_BYTES + 1, roles[i], "icmp/3/-");
		assert_service(&made, IPV4_BYTES, roles[i], "icmp/-");
		set_fragment(&made, 1);
		assert_service(&made, NO_SNAP, roles[i], "icmp/-");
		make_ipv6(&made, PROTOCOL_ICMP6);
		make_icmp(&made, 128, 0);
		assert_service(&made, NO_SNAP, roles[i], "icmp6/128/0");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classify_later_fragment_is_a_fragment_whatever_it_holds),
		cmocka_unit_test(test_classify_first_fragment_is_what_it_holds),
		cmocka_unit_test(test_classify_first_fragment_cut_is_a_fragment_or_truncated),
		cmocka_unit_test(test_classify_ipv6_fragments_are_classified_alike),
		cmocka_unit_test(test_classify_chain_that_is_cut_is_truncated),
		cmocka_unit_test(test_classify_tcp_by_flags_and_payload),
		cmocka_unit_test(test_classify_tcp_payload_is_what_the_lengths_say),
		cmocka_unit_test(test_classify_tcp_needs_14_bytes),
		cmocka_unit_test(test_classify_icmp_by_type),
		cmocka_unit_test(test_classify_udp_from_a_reflector_to_a_high_port_is_an_answer),
		cmocka_unit_test(test_classify_udp_dns_by_its_response_bit),
		cmocka_unit_test(test_classify_udp_ntp_by_its_mode),
		cmocka_unit_test(test_classify_udp_needs_both_ports),
		cmocka_unit_test(test_classify_udp_length_field_is_not_used),
		cmocka_unit_test(test_classify_udp_padding_is_no_payload),
		cmocka_unit_test(test_classify_other_protocols),
		cmocka_unit_test(test_classify_service_port_follows_the_role),
		cmocka_unit_test(test_classify_service_port_of_icmp_is_type_and_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
