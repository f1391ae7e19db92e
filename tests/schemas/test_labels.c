/*
 * Labels: numbers and names are for ever, so they stand here a second time.
 */
#include "schemas/labels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

struct golden {
	const char *name;
	int role;
};

/* Numbers are positions. A row is never changed, moved or removed; new ones go to the end. */
/* clang-format off */
static const struct golden golden_classes[] = {
	{ "scan.tcp_syn",             0 },
	{ "scan.tcp_ack",             0 },
	{ "scan.tcp_fin",             0 },
	{ "scan.tcp_null",            0 },
	{ "scan.tcp_xmas",            0 },
	{ "scan.tcp_maimon",          0 },
	{ "scan.icmp_echo",           0 },
	{ "scan.icmp_query",          0 },
	{ "scan.udp",                 0 },
	{ "backscatter.tcp_synack",   1 },
	{ "backscatter.tcp_rst",      1 },
	{ "backscatter.tcp_rstack",   1 },
	{ "backscatter.icmp_reply",   1 },
	{ "backscatter.icmp_error",   1 },
	{ "backscatter.udp_response", 1 },
	{ "other.fragment",           3 },
	{ "other.truncated",          3 },
	{ "other.tcp_flags",          3 },
	{ "other.icmp",               3 },
	{ "other.sctp",               3 },
	{ "other.igmp",               3 },
	{ "other.ip_proto",           3 },
};

static const char *const golden_roles[] = { "probe", "backscatter", "residue", "other" };
static const char *const golden_tools[] = { "none", "mirai", "zmap", "masscan", "nmap", "hping" };
static const char *const golden_payloads[] = { "none" };

static const struct {
	uint8_t number;
	const char *name;
} golden_protocols[] = {
	{ 1, "icmp" }, { 2, "igmp" }, { 4, "ipip" }, { 6, "tcp" }, { 17, "udp" }, { 41, "ipv6" }, { 47, "gre" },
	{ 50, "esp" }, { 51, "ah" }, { 58, "icmp6" }, { 132, "sctp" },
};
/* clang-format on */

typedef const char *(*name_of)(unsigned number);

static void assert_names(
	name_of name, const char *const *golden, size_t golden_count, unsigned count)
{
	assert_true(count >= golden_count);
	for (unsigned i = 0; i < golden_count; i++)
		assert_string_equal(name(i), golden[i]);
	for (unsigned i = 0; i < count; i++)
		assert_non_null(name(i));
}

static void test_labels_numbers_are_for_ever(void **state)
{
	(void)state;
	assert_true(CLASS_COUNT >= COUNT_OF(golden_classes));
	for (unsigned i = 0; i < COUNT_OF(golden_classes); i++) {
		assert_string_equal(class_name(i), golden_classes[i].name);
		assert_int_equal(role_of_class(i), golden_classes[i].role);
	}
	assert_null(class_name(CLASS_COUNT));
	assert_names(role_name, golden_roles, COUNT_OF(golden_roles), ROLE_COUNT);
	assert_null(role_name(ROLE_COUNT));
	assert_names(tool_name, golden_tools, COUNT_OF(golden_tools), TOOL_COUNT);
	assert_names(payload_name, golden_payloads, COUNT_OF(golden_payloads), PAYLOAD_COUNT);
}

static void assert_unknown_names(name_of name, unsigned from, unsigned end)
{
	char text[32];

	for (unsigned i = from; i < end; i++) {
		snprintf(text, sizeof(text), "unknown-%u", i);
		assert_string_equal(name(i), text);
	}
	assert_null(name(end));
	assert_null(name(UINT32_MAX));
}

static void test_labels_of_a_newer_release_are_named_by_number(void **state)
{
	(void)state;
	assert_unknown_names(tool_name, TOOL_COUNT, 256);
	assert_unknown_names(payload_name, PAYLOAD_COUNT, 256);
	assert_unknown_names(mark_name, 0, 64);
}

static void test_labels_protocols_read_and_write_alike(void **state)
{
	char text[PROTOCOL_TEXT_BYTES];
	unsigned named = 0;

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(golden_protocols); i++)
		assert_string_equal(
			protocol_name(golden_protocols[i].number, text), golden_protocols[i].name);
	for (unsigned i = 0; i < 256; i++) {
		assert_int_equal(protocol_number(protocol_name((uint8_t)i, text)), i);
		named += text[0] < '0' || text[0] > '9';
	}
	assert_int_equal(named, COUNT_OF(golden_protocols));
}

static void test_labels_protocol_that_is_none_is_refused(void **state)
{
	static const char *const words[] = { "", "tpc", "TCP", "256", "-1", "6x", "99999999999" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(words); i++)
		assert_int_equal(protocol_number(words[i]), -1);
}

static void test_labels_protocol_text_names_the_family(void **state)
{
	char text[PROTOCOL_TEXT_BYTES];

	(void)state;
	assert_string_equal(protocol_text(4, 6, text), "ipv4/tcp");
	assert_string_equal(protocol_text(6, 58, text), "ipv6/icmp6");
	assert_string_equal(protocol_text(6, 255, text), "ipv6/255");
}

static void test_labels_service_text_has_a_dash_for_what_is_none(void **state)
{
	static const struct {
		uint8_t protocol;
		int32_t port;
		const char *text;
	} rows[] = {
		{ 6, 23, "tcp/23" },
		{ 6, 0, "tcp/0" },
		{ 17, 65535, "udp/65535" },
		{ 6, SERVICE_NONE, "tcp/-" },
		{ 47, SERVICE_NONE, "gre/-" },
		{ 99, SERVICE_NONE, "99/-" },
		{ 1, 8 << 8, "icmp/8/0" },
		{ 1, 3 << 8 | 13, "icmp/3/13" },
		{ 1, 0, "icmp/0/0" },
		{ 58, 128 << 8, "icmp6/128/0" },
		{ 58, 255 << 8 | 255, "icmp6/255/255" },
		{ 1, SERVICE_OF_TYPE(8), "icmp/8/-" },
		{ 58, SERVICE_OF_TYPE(255), "icmp6/255/-" },
		{ 1, SERVICE_NONE, "icmp/-" },
	};
	char text[SERVICE_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_string_equal(
			service_text(rows[i].protocol, rows[i].port, text), rows[i].text);
}

static json_t *field_named(json_t *record, const char *name)
{
	json_t *field;
	size_t i;

	json_array_foreach (json_object_get(record, "fields"), i, field) {
		if (strcmp(json_string_value(json_object_get(field, "name")), name) == 0)
			return field;
	}
	fail_msg("no field %s", name);
	return NULL;
}

/* The symbols of an enum are the names, dots and dashes as underscores. */
static void assert_symbols(json_t *record, const char *field, name_of name, unsigned count)
{
	json_t *type = json_object_get(field_named(record, field), "type");
	json_t *symbols = json_object_get(type, "symbols");

	assert_int_equal(json_array_size(symbols), count);
	for (unsigned i = 0; i < count; i++) {
		char symbol[64];

		snprintf(symbol, sizeof(symbol), "%s", name(i));
		for (char *at = symbol; *at != '\0'; at++)
			if (*at == '.' || *at == '-')
				*at = '_';
		assert_string_equal(json_string_value(json_array_get(symbols, i)), symbol);
	}
}

static void test_labels_are_the_symbols_of_the_schema(void **state)
{
	json_t *record = json_load_file(SOURCE_ROOT "/schemas/flow.avsc", 0, NULL);

	(void)state;
	assert_non_null(record);
	assert_symbols(record, "class", class_name, CLASS_COUNT);
	assert_symbols(record, "role", role_name, ROLE_COUNT);
	assert_symbols(record, "tool", tool_name, TOOL_COUNT);
	assert_symbols(record, "payload", payload_name, PAYLOAD_COUNT);
	json_decref(record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels_numbers_are_for_ever),
		cmocka_unit_test(test_labels_of_a_newer_release_are_named_by_number),
		cmocka_unit_test(test_labels_protocols_read_and_write_alike),
		cmocka_unit_test(test_labels_protocol_that_is_none_is_refused),
		cmocka_unit_test(test_labels_protocol_text_names_the_family),
		cmocka_unit_test(test_labels_service_text_has_a_dash_for_what_is_none),
		cmocka_unit_test(test_labels_are_the_symbols_of_the_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
