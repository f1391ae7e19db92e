/*
 * Where the IP header begins in frames of every known link type, and where there is none.
 */
#include "sensor/linktype.h"

#include "tests/sensor/packet_bytes.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define ADDRESSES	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
#define SLL_FRONT	0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0
#define SLL2_BACK	0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0
#define HEADER_MAX	64

/* A link header in front of an IP packet of the version that it says (0: does not say). */
static const struct row {
	uint32_t linktype;
	uint8_t version;
	uint8_t size;
	uint8_t header[HEADER_MAX];
} found[] = {
	{ 1, 4, 14, { ADDRESSES, 0x08, 0x00 } },
	{ 1, 6, 14, { ADDRESSES, 0x86, 0xdd } },
	{ 1, 4, 18, { ADDRESSES, 0x81, 0x00, 0, 5, 0x08, 0x00 } },
	{ 1, 4, 18, { ADDRESSES, 0x88, 0xa8, 0, 5, 0x08, 0x00 } },
	{ 1, 4, 18, { ADDRESSES, 0x91, 0x00, 0, 5, 0x08, 0x00 } },
	{ 1, 4, 18, { ADDRESSES, 0x92, 0x00, 0, 5, 0x08, 0x00 } },
	{ 1, 6, 26,
		{ ADDRESSES, 0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 6, 0x81, 0x00, 0, 7, 0x86, 0xdd } },
	{ 113, 4, 16, { SLL_FRONT, 0x08, 0x00 } },
	{ 113, 6, 16, { SLL_FRONT, 0x86, 0xdd } },
	{ 113, 4, 20, { SLL_FRONT, 0x81, 0x00, 0, 5, 0x08, 0x00 } },
	{ 276, 4, 20, { 0x08, 0x00, SLL2_BACK } },
	{ 276, 6, 20, { 0x86, 0xdd, SLL2_BACK } },
	{ 276, 4, 24, { 0x81, 0x00, SLL2_BACK, 0, 5, 0x08, 0x00 } },
	{ 0, 4, 4, { 0, 0, 0, 2 } },
	{ 0, 4, 4, { 2, 0, 0, 0 } },
	{ 0, 6, 4, { 10, 0, 0, 0 } },
	{ 0, 6, 4, { 24, 0, 0, 0 } },
	{ 0, 6, 4, { 28, 0, 0, 0 } },
	{ 0, 6, 4, { 0, 0, 0, 30 } },
	{ 108, 4, 4, { 0, 0, 0, 2 } },
	{ 108, 6, 4, { 0, 0, 0, 24 } },
	{ 12, 0, 0, { 0 } },
	{ 14, 0, 0, { 0 } },
	{ 101, 0, 0, { 0 } },
	{ 228, 4, 0, { 0 } },
	{ 229, 6, 0, { 0 } },
	{ 9, 4, 4, { 0xff, 0x03, 0x00, 0x21 } },
	{ 9, 6, 4, { 0xff, 0x03, 0x00, 0x57 } },
	{ 9, 4, 2, { 0x00, 0x21 } },
	{ 9, 4, 1, { 0x21 } },
	{ 9, 6, 3, { 0xff, 0x03, 0x57 } },
	{ 50, 4, 4, { 0xff, 0x03, 0x00, 0x21 } },
	{ 50, 6, 4, { 0xff, 0x03, 0x00, 0x57 } },
	{ 104, 4, 4, { 0x0f, 0x00, 0x08, 0x00 } },
	{ 104, 6, 4, { 0x8f, 0x00, 0x86, 0xdd } },
	{ 104, 4, 4, { 0xff, 0x03, 0x00, 0x21 } },
};

/* Frames without a direct IP header: "non_ip". */
static const struct row not_found[] = {
	{ 1, 0, 14, { ADDRESSES, 0x08, 0x06 } },			    /* ARP */
	{ 1, 0, 14, { ADDRESSES, 0x88, 0x47 } },			    /* MPLS */
	{ 1, 0, 14, { ADDRESSES, 0x88, 0x64 } },			    /* PPPoE */
	{ 1, 0, 14, { ADDRESSES, 0x00, 0x2e } },			    /* 802.3 length */
	{ 1, 0, 22, { ADDRESSES, 0x05, 0xdc, 0xaa, 0xaa, 3, 0, 0, 0, 8 } }, /* LLC, SNAP */
	{ 1, 0, 18, { ADDRESSES, 0x81, 0x00, 0, 5, 0x08, 0x06 } },
	{ 1, 0, 14, { ADDRESSES, 0x08, 0x01 } }, { 113, 0, 16, { SLL_FRONT, 0x08, 0x06 } },
	{ 276, 0, 20, { 0x08, 0x06, SLL2_BACK } }, { 0, 0, 4, { 0, 0, 0, 7 } },
	{ 0, 0, 4, { 0, 2, 0, 2 } }, { 9, 0, 4, { 0xff, 0x03, 0xc0, 0x21 } }, /* link control */
	{ 9, 0, 4, { 0xff, 0x03, 0x00, 0x2b } },
	{ 104, 0, 4, { 0x0f, 0x00, 0x20, 0x00 } }, /* Cisco's own */
};

static bool find(const struct row *row, uint32_t captured, struct ip_bytes *out)
{
	uint8_t frame_bytes[HEADER_MAX + 4] = { 0 };
	struct frame frame = { .wire_bytes = row->size + 100u, .linktype = row->linktype };
	bool is_found;

	memcpy(frame_bytes, row->header, row->size);
	frame.captured_bytes = captured;
	frame.data = exact_copy(frame_bytes, captured);
	is_found = linktype_find_ip(&frame, out);
	if (is_found) {
		assert_ptr_equal(out->data, frame.data + row->size);
		out->data = NULL;
	}
	free((void *)(uintptr_t)frame.data);
	return is_found;
}

static void test_linktype_ip_found_behind_its_header(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(found); i++) {
		struct ip_bytes ip;

		assert_true(find(&found[i], found[i].size + 3u, &ip));
		assert_int_equal(ip.captured_bytes, 3);
		assert_int_equal(ip.wire_bytes, 100);
		assert_int_equal(ip.version, found[i].version);
		assert_true(linktype_is_known(found[i].linktype));
	}
}

static void test_linktype_header_cut_anywhere_holds_no_ip(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(found); i++) {
		struct ip_bytes ip;

		for (uint32_t size = 0; size < found[i].size; size++)
			assert_false(find(&found[i], size, &ip));
		assert_true(find(&found[i], found[i].size, &ip));
		assert_int_equal(ip.captured_bytes, 0);
	}
}

static void test_linktype_of_other_protocols_holds_no_ip(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(not_found); i++) {
		struct ip_bytes ip;

		assert_false(find(&not_found[i], not_found[i].size + 3u, &ip));
	}
}

/* A frame of tags only: any stack of them, however deep, and no end. */
static void test_linktype_tags_without_end_hold_no_ip(void **state)
{
	struct row row = { 1, 4, HEADER_MAX, { ADDRESSES } };
	struct ip_bytes ip;

	(void)state;
	for (unsigned at = 12; at < HEADER_MAX; at += 4)
		row.header[at] = 0x81;
	for (uint32_t size = 0; size <= HEADER_MAX; size++)
		assert_false(find(&row, size, &ip));
}

static void test_linktype_not_known_holds_no_ip_and_has_a_name(void **state)
{
	static const uint32_t unknown[] = { 2, 6, 8, 51, 100, 105, 127, 147, 189, 227, 230, 277,
		0x10001, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(unknown); i++) {
		struct row row = { unknown[i], 0, 14, { ADDRESSES, 0x08, 0x00 } };
		struct ip_bytes ip;

		assert_false(linktype_is_known(unknown[i]));
		assert_false(find(&row, 17, &ip));
		assert_non_null(linktype_name(unknown[i]));
	}
	assert_string_equal(linktype_name(1), "Ethernet");
	assert_string_equal(linktype_name(UINT32_MAX), "unknown");
}

/* A snap length may cut more than the wire had: lengths that lie stay in their bounds. */
static void test_linktype_wire_length_shorter_than_the_header_is_zero(void **state)
{
	uint8_t bytes[20] = { ADDRESSES, 0x08, 0x00 };
	struct frame frame = {
		.data = bytes, .captured_bytes = 20, .wire_bytes = 5, .linktype = 1
	};
	struct ip_bytes ip;

	(void)state;
	assert_true(linktype_find_ip(&frame, &ip));
	assert_int_equal(ip.wire_bytes, 0);
	assert_int_equal(ip.captured_bytes, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_linktype_ip_found_behind_its_header),
		cmocka_unit_test(test_linktype_header_cut_anywhere_holds_no_ip),
		cmocka_unit_test(test_linktype_of_other_protocols_holds_no_ip),
		cmocka_unit_test(test_linktype_tags_without_end_hold_no_ip),
		cmocka_unit_test(test_linktype_not_known_holds_no_ip_and_has_a_name),
		cmocka_unit_test(test_linktype_wire_length_shorter_than_the_header_is_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
