/*
 * Keys: every label is in them, their order is that of the records, and shards are fixed.
 */
#include "sensor/flow_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "schemas/base/bytes.h"

static void test_flow_key_holds_every_label(void **state)
{
	static const uint8_t actor[16] = { 1, 2 }, source[16] = { 3, 4 };
	struct flow_labels labels = { .class = CLASS_BACKSCATTER_ICMP_ERROR,
		.role = ROLE_BACKSCATTER,
		.protocol = 58,
		.tool = TOOL_HPING,
		.service_port = SERVICE_OF_TYPE(255),
		.marks = 0xfedcba98,
		.payload = 7,
		.has_quote = true,
		.quote_matches = true,
		.quote_has_port = true,
		.quoted_protocol = 132,
		.quoted_port = 65535,
		.is_overflow = true };

	(void)state;
	for (size_t size = 4; size <= 16; size += 12) {
		struct flow_labels read;
		struct flow_key key;

		flow_key_make(&key, actor, source, size, &labels);
		flow_key_labels(&read, key.bytes, (enum flow_family)key.family);

		assert_int_equal(key.family, size == 4 ? FLOW_V4_LONG : FLOW_V6);
		assert_int_equal(key.size, 2 * size + FLOW_LABEL_BYTES + FLOW_QUOTE_BYTES);
		assert_int_equal(key.size, flow_key_bytes((enum flow_family)key.family));
		assert_memory_equal(key.bytes, actor, size);
		assert_memory_equal(
			flow_key_source(key.bytes, (enum flow_family)key.family), source, size);
		assert_int_equal(read.class, labels.class);
		assert_int_equal(read.role, labels.role);
		assert_int_equal(read.protocol, labels.protocol);
		assert_int_equal(read.tool, labels.tool);
		assert_int_equal(read.service_port, labels.service_port);
		assert_int_equal(read.marks, labels.marks);
		assert_int_equal(read.payload, labels.payload);
		assert_true(read.has_quote && read.quote_matches && read.quote_has_port);
		assert_int_equal(read.quoted_protocol, labels.quoted_protocol);
		assert_int_equal(read.quoted_port, labels.quoted_port);
		assert_true(read.is_overflow);
	}
}

static void test_flow_key_order_is_port_order(void **state)
{
	static const int32_t ports[] = { SERVICE_NONE, 0, 1, 255, 256, 65535, SERVICE_OF_TYPE(0) };
	static const uint8_t nobody[4];
	struct flow_key before = { .size = 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		struct flow_labels labels = { .service_port = ports[i] }, read;
		struct flow_key key;

		flow_key_make(&key, nobody, nobody, 4, &labels);
		flow_key_labels(&read, key.bytes, (enum flow_family)key.family);

		assert_int_equal(key.family, FLOW_V4);
		assert_int_equal(read.service_port, ports[i]);
		if (i > 0)
			assert_true(memcmp(before.bytes, key.bytes, key.size) < 0);
		before = key;
	}
}

static void test_flow_key_shards_are_fixed_and_even(void **state)
{
	unsigned seen[64] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 64000; i++) {
		struct flow_labels labels = { .protocol = 6, .service_port = 23 };
		struct flow_key key;
		uint8_t actor[4];
		uint32_t shard;

		store_u32(actor, 0xcb007100u + i);
		flow_key_make(&key, actor, actor, 4, &labels);
		shard = flow_key_shard(&key, 64);
		assert_true(shard < 64);
		assert_int_equal(shard, flow_key_shard(&key, 64));
		assert_int_equal(flow_key_shard(&key, 1), 0);
		seen[shard]++;
	}
	for (unsigned i = 0; i < 64; i++)
		assert_in_range(seen[i], 800, 1200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flow_key_holds_every_label),
		cmocka_unit_test(test_flow_key_order_is_port_order),
		cmocka_unit_test(test_flow_key_shards_are_fixed_and_even),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
