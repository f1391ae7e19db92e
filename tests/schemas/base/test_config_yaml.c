/*
 * The YAML tree: shapes, places, and everything that is refused.
 */
#include "schemas/base/config_yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "schemas/base/bytes.h"

/* Decodes from a buffer without a byte to spare: sanitizers see a read past the end. */
static int decode(
	struct config_yaml_node **root, const void *text, size_t size, struct message *msg)
{
	char *copy = malloc(size > 0 ? size : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, text, size);
	rc = config_yaml_decode(root, "f.yaml", copy, size, msg);
	free(copy);
	return rc;
}

static struct config_yaml_node *decode_good(const char *text)
{
	struct config_yaml_node *root = NULL;
	struct message msg = { "" };

	assert_int_equal(decode(&root, text, strlen(text), &msg), 0);
	return root;
}

static void assert_refused(const char *text, const char *expected)
{
	struct config_yaml_node *root = NULL;
	struct message msg = { "" };

	assert_int_equal(decode(&root, text, strlen(text), &msg), FAIL_CONFIG);
	assert_null(root);
	if (strncmp(msg.text, expected, strlen(expected)) != 0)
		assert_string_equal(msg.text, expected);
}

static void test_config_yaml_mapping_keeps_order_and_places(void **state)
{
	struct config_yaml_node *root;
	(void)state;

	root = decode_good("sensor:\n  workers: 4\n  dark: [a, 'b']\n");

	assert_int_equal(root->kind, CONFIG_YAML_MAPPING);
	assert_int_equal(root->count, 1);
	assert_string_equal(root->items[0].key, "sensor");
	assert_int_equal(root->items[0].count, 2);
	assert_string_equal(root->items[0].items[0].key, "workers");
	assert_string_equal(root->items[0].items[0].text, "4");
	assert_int_equal(root->items[0].items[0].key_at.line, 2);
	assert_int_equal(root->items[0].items[0].key_at.column, 3);
	assert_int_equal(root->items[0].items[0].at.column, 12);
	assert_int_equal(root->items[0].items[1].kind, CONFIG_YAML_SEQUENCE);
	assert_int_equal(root->items[0].items[1].count, 2);
	assert_string_equal(root->items[0].items[1].items[1].text, "b");
	assert_int_equal(root->items[0].items[1].items[1].at.line, 3);
	config_yaml_destroy(root);
}

static void test_config_yaml_nothing_in_it_is_empty_mapping(void **state)
{
	static const char *const texts[] = { "", "\n\n", "# only a comment\n", "---\n", "~\n",
		"{}" };
	(void)state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config_yaml_node *root = decode_good(texts[i]);

		assert_int_equal(root->kind, CONFIG_YAML_MAPPING);
		assert_int_equal(root->count, 0);
		config_yaml_destroy(root);
	}
}

static void test_config_yaml_null_is_told_from_empty_text(void **state)
{
	struct config_yaml_node *root;
	(void)state;

	root = decode_good("a:\nb: ~\nc: null\nd: ''\ne: 'null'\n");

	assert_true(root->items[0].is_null);
	assert_true(root->items[1].is_null);
	assert_true(root->items[2].is_null);
	assert_false(root->items[3].is_null);
	assert_false(root->items[4].is_null);
	config_yaml_destroy(root);
}

static void test_config_yaml_many_items_are_all_kept(void **state)
{
	struct config_yaml_node *root;
	struct buffer text = { 0 };
	(void)state;

	buffer_append_text(&text, "list:\n");
	for (int i = 0; i < 1000; i++)
		buffer_format(&text, "  - item%d\n", i);
	buffer_u8(&text, '\0');
	root = decode_good((const char *)text.data);

	assert_int_equal(root->items[0].count, 1000);
	assert_string_equal(root->items[0].items[0].text, "item0");
	assert_string_equal(root->items[0].items[999].text, "item999");
	config_yaml_destroy(root);
	buffer_fini(&text);
}

static void test_config_yaml_broken_yaml_is_refused_with_its_place(void **state)
{
	(void)state;

	assert_refused("sensor:\n  a: [1, 2\n", "f.yaml:3:1: ");
	assert_refused("a: 'open\n", "f.yaml:2:1: ");
	assert_refused("a: b: c\n", "f.yaml:1:5: ");
	assert_refused("a:\n\tb: c\n", "f.yaml:2:1: ");
	assert_refused("x: 1\ny: \xff\n", "f.yaml:2:4: ");
	assert_refused("}", "f.yaml:1:1: ");
}

static void test_config_yaml_what_configuration_does_not_need_is_refused(void **state)
{
	(void)state;

	assert_refused("a: &x 1\n", "f.yaml:1:4: anchors and aliases");
	assert_refused("a: *x\n", "f.yaml:1:4: anchors and aliases");
	assert_refused("a: !!int 1\n", "f.yaml:1:4: tags are not accepted");
	assert_refused("dark:\n  - 192.0.2.0/24\n  - !192.0.2.1/32\n",
		"f.yaml:3:5: tags are not accepted; quote");
	assert_refused("[a]: 1\n", "f.yaml:1:1: a key must be a text");
	assert_refused("a: \"x\\0y\"\n", "f.yaml:1:4: a text cannot contain a NUL byte");
	assert_refused("a: 1\n---\nb: 1\n", "f.yaml:2:1: a second document is not accepted");
	assert_refused("- a\n", "f.yaml:1:1: sections such as");
	assert_refused("word\n", "f.yaml:1:1: sections such as");
}

static void test_config_yaml_alias_bomb_is_refused_at_its_first_anchor(void **state)
{
	(void)state;

	assert_refused("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "f.yaml:1:4: anchors");
}

static void test_config_yaml_repeated_key_is_refused_with_both_lines(void **state)
{
	(void)state;

	assert_refused(
		"a:\n  x: 1\n  y: 2\n  x: 3\n", "f.yaml:4:3: x stands here twice, first in line 2");
	assert_refused("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a stands here twice, first in line 1");
}

static void test_config_yaml_same_key_in_two_sections_is_accepted(void **state)
{
	struct config_yaml_node *root;
	(void)state;

	root = decode_good("a: {x: 1}\nb: {x: 1}\n");

	assert_int_equal(root->count, 2);
	config_yaml_destroy(root);
}

static void test_config_yaml_depth_eight_is_accepted_nine_refused(void **state)
{
	(void)state;

	config_yaml_destroy(decode_good("a: [[[[[[[x]]]]]]]"));
	assert_refused("a: [[[[[[[[x]]]]]]]]", "f.yaml:1:11: nested deeper than 8");
}

static void assert_limit(const char *piece, size_t times, const char *expected)
{
	struct config_yaml_node *root = NULL;
	struct message msg = { "" };
	struct buffer text = { 0 };

	for (size_t i = 0; i < times; i++)
		buffer_format(&text, "%s%zx: []\n", piece, i);
	assert_int_equal(
		config_yaml_decode(&root, "f.yaml", text.data, text.size, &msg), FAIL_CONFIG);
	assert_non_null(strstr(msg.text, expected));
	buffer_fini(&text);
}

static void test_config_yaml_limits_are_kept(void **state)
{
	struct config_yaml_node *root = NULL;
	struct message msg = { "" };
	struct buffer list = { 0 };
	(void)state;

	assert_limit("k", CONFIG_YAML_KEYS_MAX + 1, ": more than 4096 keys");
	assert_limit(
		"a long key to fill the file with", 30000, "f.yaml: longer than 1048576 bytes");
	buffer_append_text(&list, "a:\n");
	for (int i = 0; i < CONFIG_YAML_NODES_MAX; i++)
		buffer_append_text(&list, "- x\n");
	assert_int_equal(
		config_yaml_decode(&root, "f.yaml", list.data, list.size, &msg), FAIL_CONFIG);
	assert_non_null(strstr(msg.text, ": more than 65536 values"));
	buffer_fini(&list);
}

/* No cut of a good file crashes or leaks; each yields a tree or a refusal with a place. */
static void test_config_yaml_every_cut_is_a_tree_or_a_refusal(void **state)
{
	static const char text[] = "sensor: {dark: [\"!192.0.2.1/32\", 'b']}\nkafka:\n  "
				   "properties:\n    a: |\n      b\n";
	(void)state;

	for (size_t size = 0; size < sizeof(text); size++) {
		struct config_yaml_node *root = NULL;
		struct message msg = { "" };
		int rc = decode(&root, text, size, &msg);

		assert_true(rc == 0 || rc == FAIL_CONFIG);
		if (rc == FAIL_CONFIG)
			assert_int_equal(strncmp(msg.text, "f.yaml:", 7), 0);
		config_yaml_destroy(root);
	}
}

static void test_config_yaml_unreadable_file_is_refused_with_its_name(void **state)
{
	struct config_yaml_node *root = NULL;
	struct message msg = { "" };
	(void)state;

	assert_int_equal(config_yaml_load(&root, "/nonexistent/f.yaml", &msg), FAIL_CONFIG);
	assert_string_equal(msg.text, "/nonexistent/f.yaml: No such file or directory");
	assert_int_equal(config_yaml_load(&root, "/", &msg), FAIL_CONFIG);
	assert_string_equal(msg.text, "/: Is a directory");
	assert_int_equal(config_yaml_load(&root, "/dev/zero", &msg), FAIL_CONFIG);
	assert_string_equal(msg.text, "/dev/zero: longer than 1048576 bytes");
}

static void test_config_yaml_destroy_accepts_null(void **state)
{
	(void)state;

	config_yaml_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_yaml_mapping_keeps_order_and_places),
		cmocka_unit_test(test_config_yaml_nothing_in_it_is_empty_mapping),
		cmocka_unit_test(test_config_yaml_null_is_told_from_empty_text),
		cmocka_unit_test(test_config_yaml_many_items_are_all_kept),
		cmocka_unit_test(test_config_yaml_broken_yaml_is_refused_with_its_place),
		cmocka_unit_test(test_config_yaml_what_configuration_does_not_need_is_refused),
		cmocka_unit_test(test_config_yaml_alias_bomb_is_refused_at_its_first_anchor),
		cmocka_unit_test(test_config_yaml_repeated_key_is_refused_with_both_lines),
		cmocka_unit_test(test_config_yaml_same_key_in_two_sections_is_accepted),
		cmocka_unit_test(test_config_yaml_depth_eight_is_accepted_nine_refused),
		cmocka_unit_test(test_config_yaml_limits_are_kept),
		cmocka_unit_test(test_config_yaml_every_cut_is_a_tree_or_a_refusal),
		cmocka_unit_test(test_config_yaml_unreadable_file_is_refused_with_its_name),
		cmocka_unit_test(test_config_yaml_destroy_accepts_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
