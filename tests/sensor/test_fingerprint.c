/*
 * The five tools: for each relation a match, and near misses that lack one thing only.
 */
#include "sensor/fingerprint.h"

#include "tests/sensor/packet_bytes.h"

#include "sensor/classify.h"

#define ANY_CAPTURED UINT32_MAX
#define NO_OPTIONS   NULL

/* A TCP probe; fields in the order of the rules. */
struct probe {
	unsigned ip_version;
	uint8_t flags;
	uint16_t ip_id;
	uint32_t sequence;
	uint16_t window;
	const char *options; /* in hex */
	uint8_t data_offset; /* words; 0: as the options need */
};

static void append_hex(struct made *made, const char *hex)
{
	for (; hex != NULL && hex[0] != '\0'; hex += 2) {
		char pair[3] = { hex[0], hex[1], '\0' };
		uint8_t byte = (uint8_t)strtoul(pair, NULL, 16);

		make_append(made, &byte, 1);
	}
}

static void make_probe(struct made *made, const struct probe *probe)
{
	uint8_t *tcp;

	make_ip(made, probe->ip_version, PROTOCOL_TCP);
	tcp = made->bytes + made->size;
	make_tcp(made, probe->flags);
	append_hex(made, probe->options);
	make_length(made);
	if (probe->ip_version == 4)
		store_u16(made->bytes + 4, probe->ip_id);
	store_u32(tcp + 4, probe->sequence);
	store_u16(tcp + 14, probe->window);
	tcp[12] = (uint8_t)((made->bytes + made->size - tcp) / 4 << 4);
	if (probe->data_offset != 0)
		tcp[12] = (uint8_t)(probe->data_offset << 4);
}

static enum tool tool_of_made(const struct made *made, uint32_t captured)
{
	struct packet pkt;

	assert_int_equal(decode_snapped(&pkt, made, captured), PACKET_OK);
	return fingerprint_match(&pkt, classify(&pkt));
}

static void assert_tool_captured(struct probe probe, uint32_t captured, enum tool expected)
{
	struct made made;
	enum tool tool;

	make_probe(&made, &probe);
	tool = tool_of_made(&made, captured);
	if (tool != expected)
		fail_msg("flags %02x id %u seq %08x window %u: %s, not %s", probe.flags,
			probe.ip_id, probe.sequence, probe.window, tool_name(tool),
			tool_name(expected));
}

static void assert_tool(struct probe probe, enum tool expected)
{
	assert_tool_captured(probe, ANY_CAPTURED, expected);
}

#define DST_V4	  0xc6336407u /* 198.51.100.7 */
#define DST_PORT  23u
#define XOR_OF(q) ((uint16_t)(DST_V4 ^ DST_PORT ^ (q)))
#define MSS_1460  "020405b4"
#define UNREMARKED                                                                                 \
	.ip_version = 4, .flags = TCP_SYN, .ip_id = 0x1234, .sequence = 0x01020304, .window = 29200

static void test_fingerprint_unremarkable_is_none(void **state)
{
	(void)state;
	assert_tool((struct probe){ UNREMARKED }, TOOL_NONE);
}

/* ---- mirai: sequence number is the destination's address ---- */

static void test_fingerprint_mirai(void **state)
{
	struct probe probe = { UNREMARKED };

	(void)state;
	probe.sequence = DST_V4;
	assert_tool(probe, TOOL_MIRAI);
	for (unsigned bit = 0; bit < 32; bit++) {
		probe.sequence = DST_V4 ^ 1u << bit;
		assert_tool(probe, TOOL_NONE);
	}
	probe.sequence = DST_V4;
	probe.flags = TCP_SYN | TCP_ACK;
	assert_tool(probe, TOOL_NONE);
	probe.flags = TCP_FIN;
	assert_tool(probe, TOOL_NONE);
}

static void test_fingerprint_mirai_is_ipv4_only(void **state)
{
	struct probe probe = { UNREMARKED };

	(void)state;
	probe.ip_version = 6;
	probe.sequence = 0x20010db8; /* as the address begins */
	assert_tool(probe, TOOL_NONE);
	probe.sequence = 7; /* and as it ends */
	assert_tool(probe, TOOL_NONE);
}

/* ---- zmap: IP id 54321 on a probe ---- */

static void test_fingerprint_zmap(void **state)
{
	struct probe probe = { UNREMARKED };

	(void)state;
	probe.ip_id = 54321;
	assert_tool(probe, TOOL_ZMAP);
	for (unsigned bit = 0; bit < 16; bit++) {
		probe.ip_id = (uint16_t)(54321 ^ 1 << bit);
		assert_tool(probe, TOOL_NONE);
	}
	probe.ip_id = 54321;
	probe.flags = TCP_FIN; /* a scan, but of no kind that zmap sends */
	assert_tool(probe, TOOL_NONE);
	probe.flags = TCP_RST;
	assert_tool(probe, TOOL_NONE);
}

static void test_fingerprint_zmap_of_udp_and_icmp(void **state)
{
	static const struct {
		uint8_t type;
		enum tool tool;
	} types[] = { { 8, TOOL_ZMAP }, { 13, TOOL_ZMAP }, { 17, TOOL_ZMAP }, { 0, TOOL_NONE },
		{ 3, TOOL_NONE }, { 42, TOOL_NONE } };
	struct made made;

	(void)state;
	make_ipv4(&made, PROTOCOL_UDP);
	make_udp(&made, 40000, 53, NULL, 0);
	store_u16(made.bytes + 4, 54321);
	assert_int_equal(tool_of_made(&made, ANY_CAPTURED), TOOL_ZMAP);
	store_u16(made.bytes + IPV4_BYTES, 53); /* now it is an answer */
	store_u16(made.bytes + IPV4_BYTES + 2, 40000);
	assert_int_equal(tool_of_made(&made, ANY_CAPTURED), TOOL_NONE);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		make_ipv4(&made, PROTOCOL_ICMP);
		make_icmp(&made, types[i].type, 0);
		store_u16(made.bytes + 4, 54321);
		assert_int_equal(tool_of_made(&made, ANY_CAPTURED), types[i].tool);
	}
}

/* ---- masscan: IP id is the low 16 bits of address ^ port ^ sequence ---- */

static void test_fingerprint_masscan(void **state)
{
	struct probe probe = { UNREMARKED };

	(void)state;
	for (uint32_t q = 1; q != 0; q <<= 1) {
		probe.sequence = q;
		probe.ip_id = XOR_OF(q);
		assert_tool(probe, TOOL_MASSCAN);
		probe.ip_id ^= 1;
		assert_tool(probe, TOOL_NONE);
	}
	probe.ip_id = XOR_OF(probe.sequence);
	probe.flags = TCP_ACK;
	assert_tool(probe, TOOL_NONE);
	probe.ip_version = 6; /* IPv6 has no id: zero, which the relation could give by chance */
	probe.flags = TCP_SYN;
	probe.sequence = 0x20010db8 ^ DST_PORT;
	assert_tool(probe, TOOL_NONE);
}

/* ---- nmap ---- */

static void test_fingerprint_nmap_syn_is_one_option_and_four_windows(void **state)
{
	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		struct probe probe = { UNREMARKED, .options = MSS_1460 };

		probe.ip_version = version;
		for (unsigned window = 0; window <= 65535; window++) {
			bool is_nmap = window == 1024 || window == 2048 || window == 3072 ||
				       window == 4096;

			probe.window = (uint16_t)window;
			assert_tool(probe, is_nmap ? TOOL_NMAP : TOOL_NONE);
		}
	}
}

static void test_fingerprint_nmap_syn_near_misses(void **state)
{
	static const char *const options[] = {
		"",				    /* none */
		"020405b5",			    /* MSS 1461 */
		"0204058c",			    /* MSS 1420 */
		"020405b401010402",		    /* another one behind */
		"01020405",			    /* one in front */
		"010303070402080a0000000000000000", /* others */
		"030405b4",			    /* another kind */
	};
	struct probe probe = { UNREMARKED };

	(void)state;
	probe.window = 1024;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		probe.options = options[i];
		assert_tool(probe, TOOL_NONE);
	}
	probe.options = MSS_1460;
	probe.data_offset = 5; /* the option is payload then */
	assert_tool(probe, TOOL_NONE);
	probe.data_offset = 0;
	probe.flags = TCP_ACK;
	assert_tool(probe, TOOL_NONE);
	probe.flags = TCP_SYN;
	assert_tool_captured(probe, IPV4_BYTES + 23, TOOL_NONE); /* the option was cut */
	assert_tool_captured(probe, IPV4_BYTES + 24, TOOL_NMAP);
}

static void test_fingerprint_nmap_stealth_is_no_option_and_four_windows(void **state)
{
	static const struct {
		uint8_t flags;
		enum tool tool;
	} rows[] = {
		{ TCP_FIN, TOOL_NMAP },
		{ 0, TOOL_NMAP },
		{ TCP_FIN | TCP_PSH | TCP_URG, TOOL_NMAP },
		{ TCP_ACK, TOOL_NMAP },
		{ TCP_FIN | TCP_ACK, TOOL_NMAP },
		{ TCP_SYN, TOOL_NONE },
		{ TCP_SYN | TCP_ACK, TOOL_NONE },
		{ TCP_RST, TOOL_NONE },
		{ TCP_URG, TOOL_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned version = 4; version <= 6; version += 2) {
			struct probe probe = { UNREMARKED };

			probe.ip_version = version;
			probe.flags = rows[i].flags;
			for (uint16_t window = 1024; window <= 4096; window += 1024) {
				probe.window = window;
				assert_tool(probe, rows[i].tool);
			}
			probe.window = 5120;
			assert_tool(probe, TOOL_NONE);
			probe.window = 1024;
			probe.options = MSS_1460;
			assert_tool(probe, rows[i].flags == TCP_SYN ? TOOL_NMAP : TOOL_NONE);
		}
	}
}

/* ---- hping: window 512 and no options ---- */

static void test_fingerprint_hping(void **state)
{
	static const uint8_t scans[] = { TCP_SYN, TCP_FIN, 0, TCP_FIN | TCP_PSH | TCP_URG, TCP_ACK,
		TCP_FIN | TCP_ACK };

	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		struct probe probe = { UNREMARKED };

		probe.ip_version = version;
		for (size_t i = 0; i < sizeof(scans); i++) {
			probe.flags = scans[i];
			probe.window = 512;
			assert_tool(probe, TOOL_HPING);
			probe.window = 511;
			assert_tool(probe, TOOL_NONE);
			probe.window = 513;
			assert_tool(probe, TOOL_NONE);
			probe.window = 512;
			probe.options = MSS_1460;
			assert_tool(probe, TOOL_NONE);
			probe.options = NO_OPTIONS;
		}
		probe.flags = TCP_SYN | TCP_ACK;
		assert_tool(probe, TOOL_NONE);
		probe.flags = TCP_RST;
		assert_tool(probe, TOOL_NONE);
	}
}

/* Flags are known from 14 bytes on, the window from 16. */
static void test_fingerprint_window_not_captured_is_none(void **state)
{
	struct probe probe = { UNREMARKED };

	(void)state;
	probe.window = 512;
	assert_tool_captured(probe, IPV4_BYTES + 15, TOOL_NONE);
	assert_tool_captured(probe, IPV4_BYTES + 16, TOOL_HPING);
	probe.window = 1024;
	probe.flags = TCP_FIN;
	assert_tool_captured(probe, IPV4_BYTES + 15, TOOL_NONE);
	assert_tool_captured(probe, IPV4_BYTES + 16, TOOL_NMAP);
}

/* ---- order ---- */

static void test_fingerprint_first_that_applies_wins(void **state)
{
	struct probe probe = { UNREMARKED };

	(void)state;
	probe.window = 512;
	probe.sequence = DST_V4;
	probe.ip_id = 54321;
	assert_tool(probe, TOOL_MIRAI);
	probe.ip_id = XOR_OF(probe.sequence);
	assert_tool(probe, TOOL_MIRAI);
	probe.sequence = DST_V4 ^ DST_PORT ^ 54321; /* zmap and masscan at once */
	probe.ip_id = 54321;
	assert_int_equal(XOR_OF(probe.sequence), 54321);
	assert_tool(probe, TOOL_ZMAP);
	probe.sequence = 99;
	probe.ip_id = XOR_OF(99);
	assert_tool(probe, TOOL_MASSCAN);
	probe.options = MSS_1460;
	probe.window = 1024;
	assert_tool(probe, TOOL_MASSCAN);
	probe.ip_id ^= 1;
	assert_tool(probe, TOOL_NMAP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fingerprint_unremarkable_is_none),
		cmocka_unit_test(test_fingerprint_mirai),
		cmocka_unit_test(test_fingerprint_mirai_is_ipv4_only),
		cmocka_unit_test(test_fingerprint_zmap),
		cmocka_unit_test(test_fingerprint_zmap_of_udp_and_icmp),
		cmocka_unit_test(test_fingerprint_masscan),
		cmocka_unit_test(test_fingerprint_nmap_syn_is_one_option_and_four_windows),
		cmocka_unit_test(test_fingerprint_nmap_syn_near_misses),
		cmocka_unit_test(test_fingerprint_nmap_stealth_is_no_option_and_four_windows),
		cmocka_unit_test(test_fingerprint_hping),
		cmocka_unit_test(test_fingerprint_window_not_captured_is_none),
		cmocka_unit_test(test_fingerprint_first_that_applies_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
