/*
 * The summary: the tool of a source, figures by name, and merging that does not show.
 */
#include "sensor/summary.h"

#include "tests/sensor/packet_bytes.h"

#include <jansson.h>

#define MINUTE_NS (UINT64_C(29459520) * WINDOW_NS)

/* ---- packets ---- */

static uint64_t next_frame;

/* A packet of a source, in the order of calls. */
static void count_in(
	struct summary *summary, uint8_t source, enum packet_class class, enum tool tool)
{
	uint8_t src[4] = { 203, 0, 113, source }, dst[4] = { 198, 51, 100, (uint8_t)next_frame };
	struct packet pkt = { .time_ns = MINUTE_NS + next_frame,
		.wire_bytes = 60,
		.src = src,
		.dst = dst,
		.address_bytes = 4,
		.ip_version = 4,
		.protocol = PROTOCOL_TCP,
		.has_ports = true,
		.src_port = 40000,
		.dst_port = 23 };
	struct flow_labels labels = { .class = (uint8_t) class,
		.role = (uint8_t)role_of_class(class),
		.protocol = PROTOCOL_TCP,
		.tool = (uint8_t)tool,
		.service_port = 23 };

	assert_int_equal(summary_count(summary, &pkt, &labels, ++next_frame), 0);
}

static struct summary *new_summary(void)
{
	struct summary *summary = NULL;

	assert_int_equal(summary_create(&summary), 0);
	return summary;
}

static json_t *json_of(const struct summary *summary)
{
	static const struct ledger totals = {
		.frames = 9, .counted = 1, .first_ns = 1, .last_ns = 2
	};
	struct buffer text = { 0 };
	json_t *json;

	assert_int_equal(summary_json(summary, &totals, &text), 0);
	json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	buffer_fini(&text);
	return json;
}

/* ---- the tool of a source: rules.md, last paragraph ---- */

#define NO_PROBE TOOL_COUNT /* a packet that is no probe */

static const struct {
	const char *expected;
	uint8_t tools[8]; /* ends with 255 */
} verdicts[] = {
	{ "none", { TOOL_NONE, 255 } }, { "zmap", { TOOL_ZMAP, 255 } },
	{ "zmap", { TOOL_NONE, TOOL_ZMAP, 255 } },	      /* one of two is half */
	{ "none", { TOOL_ZMAP, TOOL_ZMAP, TOOL_NONE, 255 } }, /* fewer than three */
	{ "zmap", { TOOL_ZMAP, TOOL_ZMAP, TOOL_ZMAP, 255 } },
	{ "zmap", { TOOL_NONE, TOOL_NONE, TOOL_NONE, TOOL_ZMAP, TOOL_ZMAP, TOOL_ZMAP, 255 } },
	{ "none", { TOOL_NONE, TOOL_NONE, TOOL_NONE, TOOL_NONE, TOOL_ZMAP, TOOL_ZMAP, TOOL_ZMAP,
			  255 } },
	{ "nmap", { TOOL_NMAP, TOOL_ZMAP, TOOL_NMAP, TOOL_ZMAP, TOOL_NMAP, TOOL_ZMAP, 255 } },
	{ "zmap", { TOOL_ZMAP, TOOL_NMAP, TOOL_NMAP, TOOL_ZMAP, TOOL_NMAP, TOOL_ZMAP, 255 } },
	{ "nmap", { TOOL_NMAP, TOOL_ZMAP, 255 } }, { "n/a", { NO_PROBE, 255 } },
	{ "zmap", { NO_PROBE, NO_PROBE, NO_PROBE, NO_PROBE, TOOL_ZMAP, 255 } }, /* of its probes */
};

static void test_summary_source_has_the_tool_of_half_its_probes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		struct summary *summary = new_summary();
		json_t *json, *sources;

		for (const uint8_t *tool = verdicts[i].tools; *tool != 255; tool++)
			count_in(summary, 1,
				*tool == NO_PROBE ? CLASS_BACKSCATTER_TCP_RST : CLASS_SCAN_TCP_SYN,
				*tool == NO_PROBE ? TOOL_NONE : (enum tool) * tool);
		json = json_of(summary);
		sources = json_object_get(json, "sources_by_tool");
		if (json_integer_value(json_object_get(sources, verdicts[i].expected)) != 1)
			fail_msg("row %zu is not %s", i, verdicts[i].expected);
		assert_int_equal(json_object_size(sources), 1);
		json_decref(json);
		summary_destroy(summary);
	}
}

/* ---- figures ---- */

static json_int_t figure(json_t *json, const char *object, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(json, object), key));
}

static void test_summary_figures_are_by_name_and_without_zeros(void **state)
{
	struct summary *summary = new_summary();
	json_t *json;

	(void)state;
	count_in(summary, 1, CLASS_SCAN_TCP_SYN, TOOL_MIRAI);
	count_in(summary, 1, CLASS_SCAN_TCP_SYN, TOOL_NONE);
	count_in(summary, 2, CLASS_BACKSCATTER_TCP_RST, TOOL_NONE);
	summary_count_overflow(summary);
	json = json_of(summary);

	assert_int_equal(figure(json, "per_class", "scan.tcp_syn"), 2);
	assert_int_equal(figure(json, "per_class", "backscatter.tcp_rst"), 1);
	assert_int_equal(json_object_size(json_object_get(json, "per_class")), 2);
	assert_int_equal(figure(json, "per_fingerprint", "mirai"), 1);
	assert_int_equal(figure(json, "per_fingerprint", "none"), 2);
	assert_int_equal(figure(json, "per_protocol", "ipv4/tcp"), 3);
	assert_int_equal(figure(json, "per_proto_dport", "tcp/23"), 3);
	assert_int_equal(figure(json_object_get(json, "per_service"), "probe", "tcp/23"), 2);
	assert_int_equal(figure(json_object_get(json, "per_service"), "backscatter", "tcp/23"), 1);
	assert_int_equal(json_object_size(json_object_get(json, "per_service")), ROLE_COUNT);
	assert_int_equal(json_integer_value(json_object_get(json, "unique_sources")), 2);
	assert_int_equal(json_integer_value(json_object_get(json, "unique_destinations")), 3);
	assert_int_equal(json_integer_value(json_object_get(json, "overflow")), 1);
	assert_int_equal(json_array_size(json_object_get(json, "per_minute")), 1);
	json_decref(json);
	summary_destroy(summary);
}

static void test_summary_of_nothing_has_no_times(void **state)
{
	struct ledger nothing = { .first_ns = UINT64_MAX };
	struct summary *summary = new_summary();
	struct buffer text = { 0 };

	(void)state;
	assert_int_equal(summary_json(summary, &nothing, &text), 0);
	buffer_u8(&text, 0);

	assert_non_null(strstr((char *)text.data, "\"first_ns\":null,\"last_ns\":null"));
	assert_non_null(strstr((char *)text.data, "\"per_minute\":[]"));
	buffer_fini(&text);
	summary_destroy(summary);
}

/* Whoever counted what: "seen first" goes by the frame's place, not by the order of merging. */
static void test_summary_merged_is_as_if_one_had_counted(void **state)
{
	struct summary *one = new_summary(), *merged = new_summary();
	struct summary *parts[3] = { new_summary(), new_summary(), new_summary() };
	json_t *expected, *actual;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		next_frame = 100;
		for (uint32_t i = 0; i < 3000; i++) {
			uint32_t mixed = i * 2654435761u;
			struct summary *to = round == 0 ? one : parts[mixed % 3];

			count_in(to, (uint8_t)(mixed >> 24),
				(enum packet_class)(mixed / 7 % CLASS_COUNT),
				(enum tool)(mixed / 1024 % TOOL_COUNT));
		}
	}
	for (int i = 2; i >= 0; i--) {
		assert_int_equal(summary_merge(merged, parts[i]), 0);
		summary_destroy(parts[i]);
	}
	expected = json_of(one);
	actual = json_of(merged);

	assert_true(json_equal(expected, actual));

	json_decref(expected);
	json_decref(actual);
	summary_destroy(one);
	summary_destroy(merged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_summary_source_has_the_tool_of_half_its_probes),
		cmocka_unit_test(test_summary_figures_are_by_name_and_without_zeros),
		cmocka_unit_test(test_summary_of_nothing_has_no_times),
		cmocka_unit_test(test_summary_merged_is_as_if_one_had_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
