/*
 * A batch for the script, word by word: which keys, what is added to them, and its bounds.
 *
 * What the script makes of it is shown end to end (tests/e2e), on a real Redis.
 */
#include "collector/redis_batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "collector/hyperloglog.h"

#define MINUTE_S   1767571260 /* 2026-01-05 00:01 UTC */
#define UNPACK_MAX 8000	      /* values that Lua's unpack reaches */

static const struct origin origin = { .sensor = "site1", .timeline = "live" };
static const struct geo_answer nowhere;
static const struct redis_lifetimes lifetimes = { .seconds = { 21600, 1209600, 34560000 } };

struct fixture {
	struct tally tally;
	struct redis_batch batch;
};

static int set_up(void **state)
{
	struct tally_options options = { .for_report = false };
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	return f == NULL ? -1 : tally_init(&f->tally, &options);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	tally_fini(&f->tally);
	redis_batch_fini(&f->batch);
	free(f);
	return 0;
}

static void count(struct fixture *f, uint32_t actor, int32_t port, bool overflow)
{
	const uint8_t address[4] = { 192, 0, (uint8_t)(actor >> 8), (uint8_t)actor };
	struct flow_record flow = flow_defaults();

	flow.window_ms = MINUTE_S * 1000LL;
	flow.actor = (struct bytes){ address, overflow ? 0 : sizeof(address) };
	flow.class = CLASS_SCAN_TCP_SYN;
	flow.role = ROLE_PROBE;
	flow.protocol = PROTOCOL_TCP;
	flow.service_port = port;
	flow.packets = 7;
	flow.bytes = 420;
	flow.overflow = overflow;
	tally_flow(&f->tally, &origin, &flow, &nowhere);
}

static void build(struct fixture *f)
{
	assert_int_equal(redis_batch_build(&f->batch, &f->tally, "hoshimi", &lifetimes, 3), 0);
}

/* ---- reading a batch as the script does ---- */

static struct bytes word_of(const struct redis_words *words, size_t at)
{
	size_t start = at > 0 ? words->ends[at - 1] : 0;

	assert_true(at < words->count);
	return (struct bytes){ words->bytes.data + start, words->ends[at] - start };
}

static bool is_text(struct bytes word, const char *text)
{
	return word.size == strlen(text) && memcmp(word.data, text, word.size) == 0;
}

static size_t number_of(struct bytes word)
{
	char digits[24] = "";

	assert_in_range(word.size, 1, sizeof(digits) - 1);
	memcpy(digits, word.data, word.size);
	return strtoul(digits, NULL, 10);
}

/* An operation's parts, as positions of words. */
struct operation {
	char letter;
	size_t target_count, targets;
	size_t count, items; /* `items` is where they begin */
	size_t end;
};

static size_t words_per_item(char letter)
{
	return letter == 'C' ? 3 : strchr("HNXT", letter) != NULL ? 2 : 1;
}

static struct operation operation_at(const struct redis_batch *batch, size_t at)
{
	struct operation op = { .letter = (char)word_of(&batch->ops, at).data[0] };

	assert_int_equal(word_of(&batch->ops, at).size, 1);
	assert_non_null(strchr("HNXTSZROC", op.letter));
	op.target_count = number_of(word_of(&batch->ops, at + 1));
	op.targets = at + 2;
	at = op.targets + 2 * op.target_count;
	if (op.letter == 'O') {
		op.end = at + 4;
		return op;
	}
	if (op.letter == 'C')
		at++; /* the stem */
	op.count = number_of(word_of(&batch->ops, at));
	op.items = at + 1;
	op.end = op.items + op.count * words_per_item(op.letter);
	return op;
}

static struct bytes target_key(
	const struct redis_batch *batch, const struct operation *op, size_t target)
{
	return word_of(&batch->keys, number_of(word_of(&batch->ops, op->targets + 2 * target)) - 3);
}

/* The operation of a letter whose first target is a key; fails the test when there is none. */
static struct operation find(const struct redis_batch *batch, char letter, const char *key)
{
	struct operation op;

	for (size_t at = 0; at < batch->ops.count; at = op.end) {
		op = operation_at(batch, at);
		if (op.letter == letter && is_text(target_key(batch, &op, 0), key))
			return op;
	}
	fail_msg("no %c of %s", letter, key);
	return op;
}

static struct bytes counter_of(const struct redis_batch *batch, const struct operation *op)
{
	return word_of(&batch->ops, op->items + op->count);
}

static struct bytes elements_of(const struct redis_batch *batch, const struct operation *op)
{
	return word_of(&batch->ops, op->items + 2 * op->count);
}

/* ---- tests ---- */

static void test_redis_batch_of_nothing_is_empty(void **state)
{
	struct fixture *f = *state;

	build(f);
	assert_int_equal(f->batch.keys.count, 0);
	assert_int_equal(f->batch.ops.count, 0);
}

static void test_redis_batch_reads_from_end_to_end(void **state)
{
	struct fixture *f = *state;
	struct marker_record marker = marker_defaults();
	size_t at = 0;

	marker.minute_ms = MINUTE_S * 1000LL;
	marker.partitions = 6;
	marker.interval_from_ns = MINUTE_S * 1000000000LL;
	marker.interval_to_ns = marker.interval_from_ns + 1000000000;
	tally_marker(&f->tally, &origin, &marker);
	for (uint32_t i = 0; i < 300; i++)
		count(f, i, (int32_t)(i * 217), i % 50 == 0);
	f->tally.poison = 2;
	build(f);

	assert_int_equal(f->batch.types.size, f->batch.keys.count + 2);
	while (at < f->batch.ops.count) {
		struct operation op = operation_at(&f->batch, at);

		for (size_t i = 0; i < op.target_count; i++) {
			assert_in_range(number_of(word_of(&f->batch.ops, op.targets + 2 * i)), 3,
				f->batch.keys.count + 2);
			(void)number_of(word_of(&f->batch.ops, op.targets + 2 * i + 1));
		}
		at = op.end;
	}
	assert_int_equal(at, f->batch.ops.count);
}

static void test_redis_batch_service_lies_in_one_hash_of_each_period(void **state)
{
	static const struct {
		const char *key;
		size_t lifetime_s;
	} wanted[] = {
		{ "hoshimi:{0}:minute:1767571260:counters:service:probe:tcp:0", 21600 },
		{ "hoshimi:{0}:hour:1767571200:counters:service:probe:tcp:17", 1209600 },
		{ "hoshimi:{0}:day:1767571200:counters:service:probe:tcp:17", 34560000 },
	};
	struct fixture *f = *state;

	count(f, 1, 2222, false);
	build(f);
	for (size_t i = 0; i < 3; i++) {
		struct operation op = find(&f->batch, 'C', wanted[i].key);
		struct bytes counter = counter_of(&f->batch, &op);

		assert_int_equal(op.target_count, 1);
		assert_int_equal(
			number_of(word_of(&f->batch.ops, op.targets + 1)), wanted[i].lifetime_s);
		assert_int_equal(op.count, 1);
		assert_true(is_text(word_of(&f->batch.ops, op.items), "2222"));
		assert_int_equal(counter.size, strlen("7 420 ") + HYPERLOGLOG_WORD_BYTES);
		assert_memory_equal(counter.data, "7 420 ", 6);
		assert_int_equal(elements_of(&f->batch, &op).size, 8);
	}
}

/* Readers learn from Redis how long its keys live and where days begin. */
static void test_redis_batch_says_its_lifetimes(void **state)
{
	static const char *const wanted[] = { "minute", "21600", "hour", "1209600", "day",
		"34560000", "day_offset", "0" };
	struct fixture *f = *state;
	struct operation op;

	count(f, 1, 23, false);
	build(f);
	op = find(&f->batch, 'T', "hoshimi:{0}:lifetimes");
	assert_int_equal(op.count, 4);
	for (size_t i = 0; i < 8; i++)
		assert_true(is_text(word_of(&f->batch.ops, op.items + i), wanted[i]));
}

static void test_redis_batch_class_lies_in_three_hashes(void **state)
{
	struct fixture *f = *state;
	struct operation op;

	count(f, 1, 23, false);
	count(f, 2, 80, false);
	build(f);
	op = find(&f->batch, 'C', "hoshimi:{0}:day:1767571200:packets:class");
	assert_int_equal(op.target_count, 3);
	assert_true(
		is_text(target_key(&f->batch, &op, 1), "hoshimi:{0}:day:1767571200:bytes:class"));
	assert_true(is_text(
		target_key(&f->batch, &op, 2), "hoshimi:{0}:day:1767571200:sketches:class"));
	assert_true(is_text(word_of(&f->batch.ops, op.items), "scan.tcp_syn"));
	assert_memory_equal(counter_of(&f->batch, &op).data, "14 840 ", 7);
	/* the stem of the sketch's own key */
	assert_true(is_text(
		word_of(&f->batch.ops, op.items - 2), "hoshimi:{0}:day:1767571200:actors:class:"));
}

static void test_redis_batch_names_its_blocks(void **state)
{
	struct fixture *f = *state;
	struct operation op;

	count(f, 1, 23, false);
	count(f, 1, 24, false);
	count(f, 1, 2222, false);
	build(f);
	op = find(&f->batch, 'S', "hoshimi:{0}:day:1767571200:blocks");
	assert_int_equal(op.count, 2);
	assert_true(is_text(word_of(&f->batch.ops, op.items), "service:probe:tcp:0"));
	assert_true(is_text(word_of(&f->batch.ops, op.items + 1), "service:probe:tcp:17"));
}

/* Small while all registers fit in a field, elements beside it up to a limit, then a sketch. */
static void test_redis_batch_sketch_grows_by_the_number_of_actors(void **state)
{
	static const struct {
		uint32_t actors;
		bool has_words;
		size_t elements_bytes;
	} wanted[] = {
		{ 1, true, 8 },
		{ HYPERLOGLOG_WORDS_MAX, true, 8 * HYPERLOGLOG_WORDS_MAX },
		{ HYPERLOGLOG_WORDS_MAX + 1, false, 8 * (HYPERLOGLOG_WORDS_MAX + 1) },
		{ 1001, false, HYPERLOGLOG_BYTES },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct operation op;
		struct bytes counter;

		tally_clear(&f->tally);
		for (uint32_t a = 0; a < wanted[i].actors; a++)
			count(f, a, 23, false);
		build(f);
		op = find(
			&f->batch, 'C', "hoshimi:{0}:day:1767571200:counters:service:probe:tcp:0");
		counter = counter_of(&f->batch, &op);
		assert_int_equal(counter.data[counter.size - 1] != ' ', wanted[i].has_words);
		assert_int_equal(elements_of(&f->batch, &op).size, wanted[i].elements_bytes);
		if (wanted[i].elements_bytes == HYPERLOGLOG_BYTES)
			assert_memory_equal(elements_of(&f->batch, &op).data, "HYLL", 4);
	}
}

static void test_redis_batch_words_say_what_the_elements_do(void **state)
{
	uint8_t from_words[HYPERLOGLOG_BYTES], from_elements[HYPERLOGLOG_BYTES];
	struct fixture *f = *state;
	struct operation op;
	struct bytes counter, elements;
	const size_t numbers = strlen("70 4200 ");

	for (uint32_t a = 0; a < 10; a++)
		count(f, a, 23, false);
	build(f);
	op = find(&f->batch, 'C', "hoshimi:{0}:minute:1767571260:counters:service:probe:tcp:0");
	counter = counter_of(&f->batch, &op);
	elements = elements_of(&f->batch, &op);
	hyperloglog_init(from_words);
	hyperloglog_init(from_elements);
	assert_int_equal(hyperloglog_merge_words(from_words,
				 (struct bytes){ counter.data + numbers, counter.size - numbers }),
		0);
	for (size_t i = 0; i < elements.size; i += 8)
		hyperloglog_add(from_elements, elements.data + i, 8);
	assert_memory_equal(from_words, from_elements, sizeof(from_words));
	assert_int_equal(hyperloglog_count(from_words), 10);
}

static void test_redis_batch_overflow_counts_without_actors(void **state)
{
	struct fixture *f = *state;
	struct operation op;

	count(f, 0, 23, true);
	build(f);
	op = find(&f->batch, 'C', "hoshimi:{0}:minute:1767571260:counters:service:probe:tcp:0");
	assert_true(is_text(counter_of(&f->batch, &op), "7 420 "));
	assert_int_equal(elements_of(&f->batch, &op).size, 0);
}

static void test_redis_batch_operation_stays_below_what_unpack_reaches(void **state)
{
	struct fixture *f = *state;
	size_t services = 0;
	struct operation op;

	for (int32_t port = 0; port < 8000; port++)
		count(f, 1, port, false);
	build(f);
	for (size_t at = 0; at < f->batch.ops.count; at = op.end) {
		op = operation_at(&f->batch, at);
		if (op.letter != 'C')
			continue;
		assert_in_range(2 * op.count, 1, UNPACK_MAX);
		if (is_text(target_key(&f->batch, &op, 0),
			    "hoshimi:{0}:minute:1767571260:counters:service:probe:tcp:0"))
			services += op.count;
	}
	assert_int_equal(services, 8000);
}

static void test_redis_batch_order_of_flows_does_not_show(void **state)
{
	struct fixture *f = *state;
	struct buffer first = { 0 };

	for (uint32_t i = 0; i < 50; i++)
		count(f, i, (int32_t)(i * 1000), false);
	build(f);
	buffer_append(&first, f->batch.ops.bytes.data, f->batch.ops.bytes.size);
	tally_clear(&f->tally);
	for (uint32_t i = 50; i-- > 0;)
		count(f, i, (int32_t)(i * 1000), false);
	build(f);
	assert_int_equal(first.size, f->batch.ops.bytes.size);
	assert_memory_equal(first.data, f->batch.ops.bytes.data, first.size);
	buffer_fini(&first);
}

/* The script has the limits of the small form in its own words. */
static void test_redis_batch_and_its_script_share_the_limits(void **state)
{
	static char script[65536];
	char line[128];
	FILE *file = fopen(SOURCE_ROOT "/collector/apply.lua", "r");

	(void)state;
	assert_non_null(file);
	assert_in_range(fread(script, 1, sizeof(script) - 1, file), 1, sizeof(script) - 2);
	(void)fclose(file);
	snprintf(line, sizeof(line), "local WORD, WORDS_MAX, FULL = %d, %d, '+'\n",
		HYPERLOGLOG_WORD_BYTES, HYPERLOGLOG_WORDS_MAX);
	assert_non_null(strstr(script, line));
	snprintf(line, sizeof(line), "local ELEMENT, HLL_BYTES = 8, %d\n", HYPERLOGLOG_BYTES);
	assert_non_null(strstr(script, line));
	for (unsigned digit = 0; digit < 64; digit++) {
		struct hyperloglog_place place = { (uint16_t)digit, 1 };
		char word[HYPERLOGLOG_WORD_BYTES];

		hyperloglog_word(place, word);
		line[digit] = word[2];
	}
	memcpy(line + 64, "'\n", 3);
	assert_non_null(strstr(script, line));
}

static void test_redis_batch_gap_is_a_line_of_its_list(void **state)
{
	struct fixture *f = *state;
	struct operation op;

	build(f);
	redis_batch_log_gap(&f->batch, "hoshimi", 3, 10, 25);
	op = find(&f->batch, 'R', "hoshimi:{0}:gaps");
	assert_int_equal(f->batch.types.data[f->batch.types.size - 1], 'l');
	assert_true(is_text(word_of(&f->batch.ops, op.items),
		"{\"partition\":3,\"from_offset\":10,\"to_offset\":25}"));
	assert_int_equal(op.end, f->batch.ops.count);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_redis_batch_of_nothing_is_empty),
		TEST(test_redis_batch_reads_from_end_to_end),
		TEST(test_redis_batch_service_lies_in_one_hash_of_each_period),
		TEST(test_redis_batch_says_its_lifetimes),
		TEST(test_redis_batch_class_lies_in_three_hashes),
		TEST(test_redis_batch_names_its_blocks),
		TEST(test_redis_batch_sketch_grows_by_the_number_of_actors),
		TEST(test_redis_batch_words_say_what_the_elements_do),
		TEST(test_redis_batch_overflow_counts_without_actors),
		TEST(test_redis_batch_operation_stays_below_what_unpack_reaches),
		TEST(test_redis_batch_order_of_flows_does_not_show),
		TEST(test_redis_batch_and_its_script_share_the_limits),
		TEST(test_redis_batch_gap_is_a_line_of_its_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
