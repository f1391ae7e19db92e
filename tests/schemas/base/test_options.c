/*
 * The option system as its users see it: command line, files, environment, help and example.
 *
 * The example file of deploy/ is looked for from SOURCE_ROOT, or from this file's own path.
 */
#include "schemas/base/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "schemas/base/bytes.h"
#include "schemas/base/config_yaml.h"
#include "schemas/base/nearest.h"

#define WORDS_MAX  32
#define PATH_BYTES 64

/* ---- fixtures ---- */

/* A command line in writable memory, as main has it. */
struct line {
	char *words[WORDS_MAX + 1];
	int count;
};

static void line_init(struct line *line, const char *const *words)
{
	*line = (struct line){ .count = 1 };
	line->words[0] = strdup("program");
	for (; *words != NULL; words++) {
		assert_true(line->count < WORDS_MAX);
		line->words[line->count++] = strdup(*words);
	}
}

static void line_fini(struct line *line)
{
	for (int i = 0; i < line->count; i++)
		free(line->words[i]);
}

static struct config *new_config(enum program program)
{
	struct config *config = NULL;

	assert_int_equal(config_create(&config, program), 0);
	return config;
}

static struct config *parse_words(enum program program, const char *const *words)
{
	struct config *config = new_config(program);
	struct message msg = { "" };
	struct line line;
	int rc;

	line_init(&line, words);
	rc = config_parse(config, line.count, line.words, &msg);
	line_fini(&line);
	if (rc != 0)
		assert_string_equal(msg.text, ""); /* shows what was said */
	assert_int_equal(rc, 0);
	return config;
}

static void fail_words(
	enum program program, int expected, const char *const *words, struct message *msg)
{
	struct config *config = new_config(program);
	struct line line;

	*msg = (struct message){ "" };
	line_init(&line, words);
	assert_int_equal(config_parse(config, line.count, line.words, msg), expected);
	line_fini(&line);
	config_destroy(config);
}

#define WORDS(...)		((const char *const[]){ __VA_ARGS__, NULL })
#define parse(program, ...)	parse_words(program, WORDS(__VA_ARGS__))
#define assert_usage(text, ...) assert_fails(PROGRAM_SENSOR, FAIL_USAGE, text, WORDS(__VA_ARGS__))

static void assert_fails(
	enum program program, int code, const char *expected, const char *const *words)
{
	struct message msg;

	fail_words(program, code, words, &msg);
	assert_string_equal(msg.text, expected);
}

/* A file that goes when the test is over. */
struct file {
	char path[PATH_BYTES];
};

static void file_write(const struct file *file, const char *text)
{
	FILE *out = fopen(file->path, "w");

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

static struct file file_create(const char *text)
{
	struct file file = { "/tmp/hoshimi-test-XXXXXX" };
	int fd = mkstemp(file.path);

	assert_true(fd >= 0);
	close(fd);
	file_write(&file, text);
	return file;
}

static struct config *parse_file(enum program program, const char *text)
{
	struct file file = file_create(text);
	struct config *config = parse(program, "-c", file.path);

	unlink(file.path);
	return config;
}

/* `expected` is what follows the file's name. */
static void assert_file_fails(const char *text, const char *expected)
{
	struct file file = file_create(text);
	struct message msg;
	size_t skip = strlen(file.path);

	fail_words(PROGRAM_COLLECTOR, FAIL_CONFIG, WORDS("-c", file.path), &msg);
	unlink(file.path);
	assert_int_equal(strncmp(msg.text, file.path, skip), 0);
	assert_string_equal(msg.text + skip, expected);
}

static void assert_items(const struct text_list *list, const char *const *expected)
{
	size_t i = 0;

	for (; expected[i] != NULL; i++) {
		assert_true(i < list->count);
		assert_string_equal(list->items[i], expected[i]);
	}
	assert_int_equal(list->count, i);
}

/* ---- defaults ---- */

static void test_options_nothing_given_yields_defaults(void **state)
{
	struct config *config;
	size_t count;
	(void)state;

	config = parse_words(PROGRAM_SENSOR, (const char *const[]){ NULL });

	assert_int_equal(config_u64(config, OPT_SENSOR_WORKERS), 1);
	assert_int_equal(config_u64(config, OPT_SENSOR_MAX_FLOWS), 4194304);
	assert_int_equal(config_u64(config, OPT_SENSOR_RING_BYTES), 64 << 20);
	assert_int_equal(config_u64(config, OPT_SENSOR_LATE_SECONDS), 5);
	assert_int_equal(config_u64(config, OPT_REDIS_DAY_LIFETIME), 400 * 86400);
	assert_true(config_bool(config, OPT_SENSOR_PROMISCUOUS));
	assert_false(config_bool(config, OPT_SENSOR_SUMMARY));
	assert_false(config_bool(config, OPT_CHECK));
	assert_null(config_text(config, OPT_SENSOR_OUTPUT));
	assert_null(config_text(config, OPT_REDIS_PASSWORD));
	assert_string_equal(config_text(config, OPT_SENSOR_STATE), "hoshimi-state");
	assert_string_equal(config_text(config, OPT_KAFKA_BROKERS), "127.0.0.1:9092");
	assert_string_equal(config_text(config, OPT_LOG_LEVEL), "info");
	assert_items(config_list(config, OPT_COLLECTOR_VIEWS), WORDS("count", "enrich", "watch"));
	assert_int_equal(config_list(config, OPT_SENSOR_READ)->count, 0);
	assert_null(config_pairs(config, OPT_KAFKA_PROPERTIES, &count));
	assert_int_equal(count, 0);
	for (int id = 0; id < OPTION_COUNT; id++)
		assert_false(config_is_set(config, (enum option_id)id));
	config_destroy(config);
}

static void test_options_sensor_name_defaults_to_a_valid_name(void **state)
{
	struct config *config;
	struct config *again;
	(void)state;

	config = new_config(PROGRAM_SENSOR);
	again = parse(PROGRAM_SENSOR, "--sensor", config_text(config, OPT_SENSOR_NAME));

	assert_string_equal(
		config_text(again, OPT_SENSOR_NAME), config_text(config, OPT_SENSOR_NAME));
	config_destroy(again);
	config_destroy(config);
}

/* ---- command line ---- */

static void test_options_words_take_all_up_to_the_next_option(void **state)
{
	struct config *config;
	(void)state;

	config = parse(PROGRAM_SENSOR, "-r", "a.pcap", "-", "--workers", "2", "--read=b.pcap",
		"c.pcap", "-T");

	assert_items(
		config_list(config, OPT_SENSOR_READ), WORDS("a.pcap", "-", "b.pcap", "c.pcap"));
	assert_int_equal(config_u64(config, OPT_SENSOR_WORKERS), 2);
	assert_true(config_bool(config, OPT_CHECK));
	assert_true(config_is_set(config, OPT_SENSOR_READ));
	assert_false(config_is_set(config, OPT_SENSOR_DARK));
	config_destroy(config);
}

static void test_options_list_splits_at_commas_and_repeats(void **state)
{
	struct config *config;
	(void)state;

	config = parse(
		PROGRAM_SENSOR, "--dark", "192.0.2.0/24,!192.0.2.1/32", "--dark=2001:db8::/32");

	assert_items(config_list(config, OPT_SENSOR_DARK),
		WORDS("192.0.2.0/24", "!192.0.2.1/32", "2001:db8::/32"));
	config_destroy(config);
}

static void test_options_joined_list_is_one_text(void **state)
{
	struct config *config;
	(void)state;

	config = parse(PROGRAM_REPORT, "--brokers", "a:9092, b:9092", "--brokers", "c:9092");

	assert_string_equal(config_text(config, OPT_KAFKA_BROKERS), "a:9092,b:9092,c:9092");
	config_destroy(config);
}

static void test_options_last_of_flag_and_set_wins(void **state)
{
	struct config *config;
	(void)state;

	config = parse(PROGRAM_SENSOR, "--workers", "2", "--set", "sensor.workers=3", "--max-flows",
		"2048", "--set=sensor.max_flows=4096", "--max-flows=8192");

	assert_int_equal(config_u64(config, OPT_SENSOR_WORKERS), 3);
	assert_int_equal(config_u64(config, OPT_SENSOR_MAX_FLOWS), 8192);
	config_destroy(config);
}

static void test_options_sizes_and_durations_have_units(void **state)
{
	static const struct {
		const char *word;
		enum option_id id;
		uint64_t expected;
	} rows[] = {
		{ "sensor.ring_bytes=1048576", OPT_SENSOR_RING_BYTES, 1048576 },
		{ "sensor.ring_bytes=2048KiB", OPT_SENSOR_RING_BYTES, 2097152 },
		{ "sensor.ring_bytes=4GiB", OPT_SENSOR_RING_BYTES, UINT64_C(4) << 30 },
		{ "redis.hour_lifetime=90", OPT_REDIS_HOUR_LIFETIME, 90 },
		{ "redis.hour_lifetime=90s", OPT_REDIS_HOUR_LIFETIME, 90 },
		{ "redis.hour_lifetime=5m", OPT_REDIS_HOUR_LIFETIME, 300 },
		{ "redis.hour_lifetime=6h", OPT_REDIS_HOUR_LIFETIME, 21600 },
		{ "redis.hour_lifetime=14d", OPT_REDIS_HOUR_LIFETIME, 1209600 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *config = parse(PROGRAM_SENSOR, "--set", rows[i].word);

		assert_int_equal(config_u64(config, rows[i].id), rows[i].expected);
		config_destroy(config);
	}
}

static void test_options_range_ends_are_accepted_neighbours_refused(void **state)
{
	(void)state;

	config_destroy(parse(PROGRAM_SENSOR, "--workers", "1"));
	config_destroy(parse(PROGRAM_SENSOR, "--workers", "64"));
	assert_usage("--workers: 0 is out of range, 1 to 64 expected", "--workers", "0");
	assert_usage("--workers: 65 is out of range, 1 to 64 expected", "--workers=65");
	assert_usage(
		"--set sensor.ring_bytes: 1MiB1 is not a size such as 65536, 64KiB, 64MiB or 1GiB",
		"--set", "sensor.ring_bytes=1MiB1");
	assert_usage("--set sensor.ring_bytes: 1048575 is out of range, 1MiB to 4GiB expected",
		"--set", "sensor.ring_bytes=1048575");
	assert_usage("--set sensor.late_seconds: 31 is out of range, 1s to 30s expected", "--set",
		"sensor.late_seconds=31");
}

static void test_options_number_beyond_64_bits_is_out_of_range(void **state)
{
	(void)state;

	assert_usage("--workers: 18446744073709551617 is out of range, 1 to 64 expected",
		"--workers", "18446744073709551617");
	assert_usage(
		"--set sensor.ring_bytes: 17179869185GiB is out of range, 1MiB to 4GiB expected",
		"--set", "sensor.ring_bytes=17179869185GiB");
}

static void test_options_what_is_no_number_is_refused(void **state)
{
	static const char *const texts[] = { "", "four", "-1", "+1", " 1", "1 ", "1.5", "0x10",
		"1k" };
	(void)state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char expected[100];

		snprintf(expected, sizeof(expected), "--workers: %s is not a whole number",
			texts[i]);
		assert_usage(expected, "--workers", texts[i]);
	}
}

static void test_options_unknown_flag_names_the_nearest(void **state)
{
	(void)state;

	assert_usage("unknown option --worker, did you mean --workers?", "--worker", "2");
	assert_usage("unknown option --darck, did you mean --dark?", "--darck=192.0.2.0/24");
	assert_usage("unknown option -dark, did you mean --dark?", "-dark", "192.0.2.0/24");
	assert_usage("unknown option --interf, did you mean --interface?", "--interf", "x");
	assert_usage("unknown option -ofile, did you mean -o file?", "-ofile");
	assert_usage("unknown option --nothing-like-it", "--nothing-like-it");
	assert_usage("unknown option -z", "-z");
}

static void test_options_flag_of_another_program_is_refused_and_told(void **state)
{
	(void)state;

	assert_usage("unknown option --views (hoshimi-collector has it)", "--views", "count");
	assert_fails(PROGRAM_COLLECTOR, FAIL_USAGE,
		"unknown option --summary (hoshimi-sensor has it)", WORDS("--summary"));
	assert_fails(PROGRAM_COLLECTOR, FAIL_USAGE, "unknown option -r (hoshimi-sensor has it)",
		WORDS("-r", "x"));
}

static void test_options_same_flag_reaches_each_programs_own_key(void **state)
{
	struct config *sensor;
	struct config *collector;
	(void)state;

	sensor = parse(PROGRAM_SENSOR, "--state", "s", "-i", "eth0");
	collector = parse(PROGRAM_COLLECTOR, "--state", "c", "-i", "flows");

	assert_string_equal(config_text(sensor, OPT_SENSOR_STATE), "s");
	assert_false(config_is_set(sensor, OPT_COLLECTOR_STATE));
	assert_items(config_list(sensor, OPT_SENSOR_INTERFACE), WORDS("eth0"));
	assert_string_equal(config_text(collector, OPT_COLLECTOR_STATE), "c");
	assert_string_equal(config_text(collector, OPT_COLLECTOR_INPUT), "flows");
	config_destroy(collector);
	config_destroy(sensor);
}

static void test_options_collector_takes_the_options_of_its_report(void **state)
{
	struct config *config;
	(void)state;

	config = parse(PROGRAM_COLLECTOR, "-i", "-", "--report", "--json", "--by", "port", "--per",
		"hour", "--base", "nosurvey", "--from", "-24h", "--to", "now");

	assert_string_equal(config_text(config, OPT_COLLECTOR_INPUT), "-");
	assert_true(config_bool(config, OPT_COLLECTOR_REPORT));
	assert_true(config_bool(config, OPT_REPORT_JSON));
	assert_string_equal(config_text(config, OPT_REPORT_BY), "port");
	assert_string_equal(config_text(config, OPT_REPORT_FROM), "-24h");
	config_destroy(config);
}

static void test_options_bare_word_is_refused(void **state)
{
	(void)state;

	assert_usage("unexpected word 'file'", "file");
	assert_usage("unexpected word 'file'", "--workers", "2", "file");
	assert_usage("unexpected word '-'", "--summary", "-");
	assert_usage("unexpected word '--'", "--");
	assert_usage("unexpected word ''", "");
	assert_usage("unexpected word 'redis://***@h'", "redis://u:hunter2@h");
}

static void test_options_missing_value_is_refused(void **state)
{
	(void)state;

	assert_usage("--workers: THREADS is missing (a value that begins with a dash is written "
		     "--workers=VALUE)",
		"--workers");
	assert_usage("-o: -|FILE|kafka is missing (a value that begins with a dash is written "
		     "--output=VALUE)",
		"-o", "--summary");
	assert_usage("-r: FILE is missing", "-r");
	assert_usage("--read: FILE is missing", "--read", "-T");
	assert_usage("--set sensor.workers: KEY=VALUE expected", "--set", "sensor.workers");
	assert_usage("--set =1: KEY=VALUE expected", "--set", "=1");
}

static void test_options_value_on_a_flag_without_is_refused(void **state)
{
	(void)state;

	assert_usage("--summary=yes: --summary takes no value", "--summary=yes");
}

static void test_options_choice_outside_its_words_is_refused(void **state)
{
	(void)state;

	assert_fails(PROGRAM_COLLECTOR, FAIL_USAGE,
		"--print: 'event' is none of flows|enriched|counters|events|alerts, did you mean "
		"events?",
		WORDS("--print", "event"));
	assert_fails(PROGRAM_COLLECTOR, FAIL_USAGE,
		"--views: 'wach' is none of count|enrich|watch|alert|notify, did you mean watch?",
		WORDS("--views", "count,wach"));
	assert_fails(PROGRAM_REPORT, FAIL_USAGE, "--per: '' is none of minute|hour|day",
		WORDS("--per", ""));
}

static void test_options_names_are_checked(void **state)
{
	char longest[65 + 1];
	(void)state;

	memset(longest, 'n', 64);
	longest[64] = '\0';
	config_destroy(parse(PROGRAM_SENSOR, "--sensor", longest, "--topic-prefix", "a.B_c-9"));
	longest[64] = 'n';
	longest[65] = '\0';
	assert_usage("--sensor: '' is not a name of 1 to 64 characters from A-Z a-z 0-9 . _ -",
		"--sensor", "");
	assert_usage(
		"--topic-prefix: 'a b' is not a name of 1 to 64 characters from A-Z a-z 0-9 . _ -",
		"--topic-prefix", "a b");
	assert_fails(PROGRAM_COLLECTOR, FAIL_USAGE,
		"--group: 'g/h' is not a name of 1 to 64 characters from A-Z a-z 0-9 . _ -",
		WORDS("--group", "g/h"));
	assert_usage("--sensor: 'st\xc3\xa4"
		     "dt' is not a name of 1 to 64 characters from A-Z a-z 0-9 . _ -",
		"--sensor",
		"st\xc3\xa4"
		"dt");
	{
		struct message msg;

		fail_words(PROGRAM_SENSOR, FAIL_USAGE, WORDS("--replay-id", longest), &msg);
		assert_non_null(strstr(msg.text, longest));
	}
}

static void test_options_day_offset_is_checked(void **state)
{
	static const char *const good[] = { "+00:00", "+09:00", "-12:00", "+14:00", "-03:30" };
	static const char *const bad[] = { "", "9", "09:00", "+9:00", "+14:01", "-12:01", "+05:60",
		"+0x:00", "+09:00 ", "+09-00" };
	(void)state;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char word[64];

		snprintf(word, sizeof(word), "redis.day_offset=%s", good[i]);
		config_destroy(parse(PROGRAM_REPORT, "--set", word));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct message msg;
		char word[64];

		snprintf(word, sizeof(word), "redis.day_offset=%s", bad[i]);
		fail_words(PROGRAM_REPORT, FAIL_USAGE, WORDS("--set", word), &msg);
		assert_non_null(strstr(msg.text, "is not an offset such as +09:00"));
	}
}

static void test_options_empty_list_item_is_refused(void **state)
{
	(void)state;

	assert_usage("--dark: 'a,,b' has an empty item", "--dark", "a,,b");
	assert_usage("--dark: '' has an empty item", "--dark=");
	assert_usage("--brokers: 'a:1,' has an empty item", "--brokers", "a:1,");
	assert_usage("-r: must not be empty", "-r", "");
}

/* ---- --set ---- */

static void test_options_set_reaches_keys_of_other_programs(void **state)
{
	struct config *config;
	(void)state;

	config = parse(PROGRAM_SENSOR, "--set", "collector.partitions=12", "--set",
		"log_level=debug", "--set", "sensor.promiscuous=false");

	assert_int_equal(config_u64(config, OPT_COLLECTOR_PARTITIONS), 12);
	assert_string_equal(config_text(config, OPT_LOG_LEVEL), "debug");
	assert_false(config_bool(config, OPT_SENSOR_PROMISCUOUS));
	config_destroy(config);
	assert_usage("--set collector.partitions: 0 is out of range, 1 to 1024 expected", "--set",
		"collector.partitions=0");
}

static void test_options_set_of_unknown_key_names_the_nearest(void **state)
{
	(void)state;

	assert_usage("--set: unknown key sensor.worker, did you mean sensor.workers?", "--set",
		"sensor.worker=1");
	assert_usage(
		"--set: unknown key brokers, did you mean kafka.brokers?", "--set", "brokers=a:1");
	assert_usage("--set: unknown key what.ever", "--set", "what.ever=1");
	assert_usage("--set: unknown key kafka.property.x, did you mean kafka.properties?", "--set",
		"kafka.property.x=1");
}

static void test_options_set_boolean_takes_true_and_false_only(void **state)
{
	(void)state;

	assert_usage("--set sensor.summary: yes is neither true nor false", "--set",
		"sensor.summary=yes");
}

static void test_options_properties_keep_every_pair(void **state)
{
	struct config *config;
	const struct text_pair *pairs;
	size_t count;
	(void)state;

	config = parse(PROGRAM_COLLECTOR, "--set", "kafka.properties.linger.ms=5", "--set",
		"kafka.properties.client.rack=a=b", "--set", "kafka.properties.linger.ms=7");
	pairs = config_pairs(config, OPT_KAFKA_PROPERTIES, &count);

	assert_int_equal(count, 2);
	assert_string_equal(pairs[0].key, "client.rack");
	assert_string_equal(pairs[0].value, "a=b");
	assert_string_equal(pairs[1].key, "linger.ms");
	assert_string_equal(pairs[1].value, "7");
	assert_true(config_is_set(config, OPT_KAFKA_PROPERTIES));
	config_destroy(config);
}

static void test_options_properties_that_exactness_rests_on_are_refused(void **state)
{
	static const char *const owned[] = { "group.id", "transactional.id",
		"transaction.timeout.ms", "enable.idempotence", "enable.auto.commit",
		"auto.commit.interval.ms", "auto.offset.reset", "isolation.level",
		"partition.assignment.strategy", "partitioner", "message.timeout.ms",
		"delivery.timeout.ms", "socket.timeout.ms", "acks", "request.required.acks",
		"enable.partition.eof", "check.crcs" };
	(void)state;

	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
		char word[128];
		char text[128];
		char expected[256];

		snprintf(word, sizeof(word), "kafka.properties.%s=1", owned[i]);
		snprintf(expected, sizeof(expected),
			"--set kafka.properties.%s: %s cannot be set, Hoshimi decides it", owned[i],
			owned[i]);
		assert_usage(expected, "--set", word);
		snprintf(text, sizeof(text), "kafka:\n  properties:\n    %s: 1\n", owned[i]);
		snprintf(expected, sizeof(expected),
			":3:5: kafka.properties: %s cannot be set, Hoshimi decides it", owned[i]);
		assert_file_fails(text, expected);
	}
	assert_usage("--set kafka.properties.bootstrap.servers: bootstrap.servers cannot be set "
		     "here, it is "
		     "kafka.brokers",
		"--set", "kafka.properties.bootstrap.servers=a:1");
	assert_usage("--set kafka.properties.acks_file: acks cannot be set, Hoshimi decides it",
		"--set", "kafka.properties.acks_file=/dev/null");
	assert_usage("--set kafka.properties: write kafka.properties.KEY=VALUE", "--set",
		"kafka.properties=x");
	assert_usage(
		"--set kafka.properties.: a property needs a name", "--set", "kafka.properties.=x");
}

/* ---- files ---- */

static void test_options_file_sets_every_type(void **state)
{
	struct config *config;
	const struct text_pair *pairs;
	size_t count;
	(void)state;

	config = parse_file(PROGRAM_COLLECTOR,
		"log_level: warning\n"
		"sensor:\n"
		"  dark:\n"
		"    - 192.0.2.0/24\n"
		"    - '!192.0.2.1/32'\n"
		"  read: [a.pcap, 'b, c.pcap']\n"
		"  ring_bytes: 2MiB\n"
		"  workers: \"3\"\n"
		"  promiscuous: false\n"
		"  filter: ''\n"
		"collector:\n"
		"  views: count, enrich , watch\n"
		"  batch_seconds: 5s\n"
		"report:\n"
		"kafka:\n"
		"  brokers: [a:9092, 'b:9092']\n"
		"  properties:\n"
		"    security.protocol: SASL_SSL\n"
		"    enable.ssl.certificate.verification: true\n"
		"redis: {url: 'unix:///run/redis.sock', day_offset: '+09:00'}\n");
	pairs = config_pairs(config, OPT_KAFKA_PROPERTIES, &count);

	assert_string_equal(config_text(config, OPT_LOG_LEVEL), "warning");
	assert_items(config_list(config, OPT_SENSOR_DARK), WORDS("192.0.2.0/24", "!192.0.2.1/32"));
	assert_items(config_list(config, OPT_SENSOR_READ), WORDS("a.pcap", "b, c.pcap"));
	assert_int_equal(config_u64(config, OPT_SENSOR_RING_BYTES), 2 << 20);
	assert_int_equal(config_u64(config, OPT_SENSOR_WORKERS), 3);
	assert_false(config_bool(config, OPT_SENSOR_PROMISCUOUS));
	assert_string_equal(config_text(config, OPT_SENSOR_FILTER), "");
	assert_items(config_list(config, OPT_COLLECTOR_VIEWS), WORDS("count", "enrich", "watch"));
	assert_int_equal(config_u64(config, OPT_COLLECTOR_BATCH_SECONDS), 5);
	assert_string_equal(config_text(config, OPT_KAFKA_BROKERS), "a:9092,b:9092");
	assert_int_equal(count, 2);
	assert_string_equal(pairs[0].key, "enable.ssl.certificate.verification");
	assert_string_equal(pairs[0].value, "true");
	assert_string_equal(config_text(config, OPT_REDIS_URL), "unix:///run/redis.sock");
	assert_string_equal(config_text(config, OPT_REDIS_DAY_OFFSET), "+09:00");
	config_destroy(config);
}

static void test_options_empty_sequence_is_an_empty_list(void **state)
{
	struct config *config;
	(void)state;

	config = parse_file(PROGRAM_COLLECTOR, "collector:\n  views: []\n");

	assert_int_equal(config_list(config, OPT_COLLECTOR_VIEWS)->count, 0);
	assert_true(config_is_set(config, OPT_COLLECTOR_VIEWS));
	config_destroy(config);
	assert_file_fails("kafka:\n  brokers: []\n", ":2:12: kafka.brokers: must not be empty");
}

static void test_options_later_file_wins_and_maps_merge(void **state)
{
	struct file first = file_create("sensor:\n  workers: 2\n  dark: [a, b]\n"
					"kafka:\n  properties: {linger.ms: 1, client.rack: x}\n");
	struct file second =
		file_create("sensor:\n  dark: [c]\nkafka:\n  properties: {linger.ms: 2}\n");
	struct config *config;
	const struct text_pair *pairs;
	size_t count;
	(void)state;

	config = parse(PROGRAM_SENSOR, "-c", first.path, "--config", second.path);
	pairs = config_pairs(config, OPT_KAFKA_PROPERTIES, &count);

	assert_int_equal(config_u64(config, OPT_SENSOR_WORKERS), 2);
	assert_items(config_list(config, OPT_SENSOR_DARK), WORDS("c"));
	assert_int_equal(count, 2);
	assert_string_equal(pairs[0].value, "x");
	assert_string_equal(pairs[1].value, "2");
	config_destroy(config);
	unlink(first.path);
	unlink(second.path);
}

static void test_options_command_line_wins_over_file_wherever_it_stands(void **state)
{
	struct file file =
		file_create("sensor:\n  workers: 2\n  max_flows: 2048\n  dark: [a, b]\n");
	struct config *config;
	(void)state;

	config = parse(PROGRAM_SENSOR, "--workers", "5", "--dark", "c", "-c", file.path);

	assert_int_equal(config_u64(config, OPT_SENSOR_WORKERS), 5);
	assert_int_equal(config_u64(config, OPT_SENSOR_MAX_FLOWS), 2048);
	assert_items(config_list(config, OPT_SENSOR_DARK), WORDS("c"));
	config_destroy(config);
	unlink(file.path);
}

static void test_options_mistakes_in_a_file_are_named_with_their_place(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} rows[] = {
		{ "sensr:\n  workers: 1\n", ":1:1: unknown section sensr, did you mean sensor?" },
		{ "brokers: a:1\n", ":1:1: unknown section brokers, did you mean kafka.brokers?" },
		{ "sensor.workers: 1\n", ":1:1: sensor.workers is written as `sensor:` and, "
					 "indented below, `workers:`" },
		{ "sensor:\n  worker: 1\n",
			":2:3: unknown key worker in section sensor, did you mean workers?" },
		{ "sensor:\n  brokers: a:1\n", ":2:3: unknown key brokers in section sensor, did "
					       "you mean kafka.brokers?" },
		{ "geo:\n  zzzzzzzz: 1\n", ":2:3: unknown key zzzzzzzz in section geo" },
		{ "sensor: 5\n", ":1:9: section sensor: lines `key: value` are expected" },
		{ "sensor: [workers]\n", ":1:9: section sensor: lines `key: value` are expected" },
		{ "sensor:\n  workers: 65\n",
			":2:12: sensor.workers: 65 is out of range, 1 to 64 expected" },
		{ "sensor:\n  workers: many\n",
			":2:12: sensor.workers: many is not a whole number" },
		{ "sensor:\n  workers: [1]\n",
			":2:12: sensor.workers: a single value is expected" },
		{ "sensor:\n  workers: {a: 1}\n",
			":2:12: sensor.workers: a single value is expected" },
		{ "sensor:\n  workers:\n", ":2:11: sensor.workers has no value" },
		{ "sensor:\n  dark: {a: 1}\n", ":2:9: sensor.dark: a single value is expected" },
		{ "sensor:\n  dark: [a, [b]]\n", ":2:13: sensor.dark: a single value is expected" },
		{ "sensor:\n  dark: [a, ~]\n", ":2:13: sensor.dark has no value" },
		{ "sensor:\n  promiscuous: maybe\n",
			":2:16: sensor.promiscuous: maybe is neither true nor false" },
		{ "sensor:\n  name: a b\n", ":2:9: sensor.name: 'a b' is not a name of 1 to 64 "
					    "characters from A-Z a-z 0-9 . _ -" },
		{ "kafka:\n  properties: 5\n",
			":2:15: kafka.properties: lines `key: value` are expected" },
		{ "kafka:\n  properties: {a: {b: c}}\n",
			":2:19: kafka.properties: a single value is expected" },
		{ "redis:\n  day_offset: 9\n", ":2:15: redis.day_offset: 9 is not an offset such "
					       "as +09:00, between -12:00 and +14:00" },
		{ "sensor:\n  workers: 1\n  workers: 2\n",
			":3:3: workers stands here twice, first in line 2" },
		{ "log_level: loud\n",
			":1:12: log_level: 'loud' is none of error|warning|info|debug" },
		{ "check: true\n", ":1:1: unknown section check" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_file_fails(rows[i].text, rows[i].expected);
}

static void test_options_unreadable_file_is_bad_configuration(void **state)
{
	(void)state;

	assert_fails(PROGRAM_SENSOR, FAIL_CONFIG, "/nonexistent.yaml: No such file or directory",
		WORDS("-c", "/nonexistent.yaml"));
}

static void test_options_command_line_mistake_is_told_before_files_are_opened(void **state)
{
	(void)state;

	assert_usage("--workers: 0 is out of range, 1 to 64 expected", "-c", "/nonexistent.yaml",
		"--workers", "0");
}

/* ---- secrets ---- */

static void test_options_secret_comes_from_file_environment_or_secret_file(void **state)
{
	struct file secret = file_create("from secret file\n");
	struct file config_file = file_create("redis:\n  password: from configuration\n");
	struct config *config;
	char word[128];
	(void)state;

	config = parse(PROGRAM_COLLECTOR, "-c", config_file.path);
	assert_string_equal(config_text(config, OPT_REDIS_PASSWORD), "from configuration");
	config_destroy(config);

	setenv("HOSHIMI_REDIS_PASSWORD", "from environment", 1);
	config = parse(PROGRAM_COLLECTOR, "-c", config_file.path);
	assert_string_equal(config_text(config, OPT_REDIS_PASSWORD), "from environment");
	config_destroy(config);

	snprintf(word, sizeof(word), "redis.password_file=%s", secret.path);
	config = parse(PROGRAM_COLLECTOR, "--set", word, "-c", config_file.path);
	unsetenv("HOSHIMI_REDIS_PASSWORD");
	assert_string_equal(config_text(config, OPT_REDIS_PASSWORD), "from secret file");
	config_destroy(config);
	unlink(config_file.path);
	unlink(secret.path);
}

static void test_options_secret_on_the_command_line_is_refused_and_wiped(void **state)
{
	struct config *config = new_config(PROGRAM_COLLECTOR);
	struct message msg = { "" };
	struct line line;
	(void)state;

	line_init(&line, WORDS("--set", "redis.password=hunter2"));
	assert_int_equal(config_parse(config, line.count, line.words, &msg), FAIL_USAGE);

	assert_null(strstr(msg.text, "hunter2"));
	assert_non_null(strstr(msg.text, "redis.password_file"));
	assert_non_null(strstr(msg.text, "HOSHIMI_REDIS_PASSWORD"));
	assert_string_equal(line.words[2], "redis.password=xxxxxxx");
	line_fini(&line);
	config_destroy(config);
}

static void test_options_bad_secret_files_are_refused(void **state)
{
	struct file empty = file_create("\n");
	char text[256];
	char expected[256];
	(void)state;

	snprintf(text, sizeof(text), "redis:\n  password_file: %s\n", empty.path);
	snprintf(expected, sizeof(expected), ":2:18: redis.password: %s: is empty", empty.path);
	assert_file_fails(text, expected);
	assert_file_fails("redis:\n  password_file: /nonexistent\n",
		":2:18: redis.password: /nonexistent: No such file or directory");
	assert_file_fails("redis:\n  password_file: /dev/zero\n",
		":2:18: redis.password: /dev/zero: longer than 65536 bytes");
	assert_file_fails("redis:\n  password: x\n  password_file: y\n",
		":2:3: redis.password and redis.password_file exclude each other");
	assert_file_fails("redis:\n  password_file: [a]\n",
		":2:18: redis.password: a single value is expected");
	assert_fails(PROGRAM_SENSOR, FAIL_USAGE,
		"--set kafka.properties.sasl.password_file: /nonexistent: No such file or "
		"directory",
		WORDS("--set", "kafka.properties.sasl.password_file=/nonexistent"));
	unlink(empty.path);
}

static void test_options_secret_file_of_another_program_is_not_opened(void **state)
{
	struct config *config;
	(void)state;

	config = parse_file(PROGRAM_SENSOR, "redis:\n  password_file: /nonexistent\n");

	assert_null(config_text(config, OPT_REDIS_PASSWORD));
	config_destroy(config);
}

static void test_options_property_comes_from_a_secret_file(void **state)
{
	struct file secret = file_create("s3cret\r\n");
	struct config *config;
	const struct text_pair *pairs;
	size_t count;
	char text[256];
	(void)state;

	snprintf(text, sizeof(text), "kafka:\n  properties:\n    sasl.password_file: %s\n",
		secret.path);
	config = parse_file(PROGRAM_SENSOR, text);
	pairs = config_pairs(config, OPT_KAFKA_PROPERTIES, &count);

	assert_int_equal(count, 1);
	assert_string_equal(pairs[0].key, "sasl.password");
	assert_string_equal(pairs[0].value, "s3cret");
	config_destroy(config);
	unlink(secret.path);
}

static void test_options_passwords_in_argv_are_overwritten(void **state)
{
	static const struct {
		const char *word;
		const char *after;
	} rows[] = {
		{ "--redis=redis://user:pass@host:1/0", "--redis=redis://user:xxxx@host:1/0" },
		{ "--redis=redis://:pass@host", "--redis=redis://:xxxx@host" },
		{ "--redis=redis://pass@host", "--redis=redis://xxxx@host" },
		{ "--redis=redis://u:p@:/ss@host/1", "--redis=redis://u:xxxxxx@host/1" },
		{ "--redis=redis://host:6379/0", "--redis=redis://host:6379/0" },
		{ "--redis=unix:///run/a:b@c", "--redis=unix:///run/a:b@c" },
		{ "--set=redis.url=redis://u:pass@host", "--set=redis.url=redis://u:xxxx@host" },
		{ "--set=kafka.properties.sasl.password=pw",
			"--set=kafka.properties.sasl.password=xx" },
		{ "--set=kafka.properties.linger.ms=5", "--set=kafka.properties.linger.ms=5" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *config = new_config(PROGRAM_COLLECTOR);
		struct message msg = { "" };
		struct line line;

		line_init(&line, WORDS(rows[i].word));
		assert_int_equal(config_parse(config, line.count, line.words, &msg), 0);
		assert_string_equal(line.words[1], rows[i].after);
		if (strncmp(rows[i].word, "--redis=", 8) == 0)
			assert_string_equal(config_text(config, OPT_REDIS_URL), rows[i].word + 8);
		line_fini(&line);
		config_destroy(config);
	}
}

static void test_options_redacted_hides_secrets_and_nothing_else(void **state)
{
	static const struct {
		enum option_id id;
		const char *value;
		const char *expected;
	} rows[] = {
		{ OPT_REDIS_PASSWORD, "hunter2", "***" },
		{ OPT_REDIS_PASSWORD, NULL, "" },
		{ OPT_REDIS_URL, "redis://u:p@h:1/0", "redis://***@h:1/0" },
		{ OPT_REDIS_URL, "u:p@h", "***@h" },
		{ OPT_REDIS_URL, "redis://h:1/0", "redis://h:1/0" },
		{ OPT_REDIS_URL, "unix:///a@b", "unix:///a@b" },
		{ OPT_KAFKA_PROPERTIES, "sasl.password=pw", "sasl.password=***" },
		{ OPT_KAFKA_PROPERTIES, "SASL.PASSWORD=pw", "SASL.PASSWORD=***" },
		{ OPT_KAFKA_PROPERTIES, "sasl.oauthbearer.config=x",
			"sasl.oauthbearer.config=***" },
		{ OPT_KAFKA_PROPERTIES, "ssl.key.pem=x", "ssl.key.pem=***" },
		{ OPT_KAFKA_PROPERTIES, "client.rack=no password here",
			"client.rack=no password here" },
		{ OPT_SENSOR_NAME, "u:p@h", "u:p@h" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char buf[64];

		assert_string_equal(config_redacted(rows[i].id, rows[i].value, buf, sizeof(buf)),
			rows[i].expected);
	}
}

static void test_options_redacted_cuts_at_the_buffer(void **state)
{
	char buf[8];
	(void)state;

	assert_string_equal(
		config_redacted(OPT_REDIS_URL, "redis://u:p@h", buf, sizeof(buf)), "redis:/");
}

/* ---- reload ---- */

static void test_options_reload_reads_files_anew_under_the_command_line(void **state)
{
	struct file file = file_create("sensor:\n  workers: 2\n  dark: [a]\n");
	struct message msg = { "" };
	struct config *config;
	(void)state;

	config = parse(PROGRAM_SENSOR, "-c", file.path, "--workers", "5");
	file_write(&file, "sensor:\n  workers: 3\n  dark: [b, c]\n");
	assert_int_equal(config_reload(config, &msg), 0);

	assert_int_equal(config_u64(config, OPT_SENSOR_WORKERS), 5);
	assert_items(config_list(config, OPT_SENSOR_DARK), WORDS("b", "c"));
	config_destroy(config);
	unlink(file.path);
}

static void test_options_reload_of_a_bad_file_changes_nothing(void **state)
{
	struct file file = file_create("sensor:\n  workers: 2\n");
	struct message msg = { "" };
	struct config *config;
	(void)state;

	config = parse(PROGRAM_SENSOR, "-c", file.path);
	file_write(&file, "sensor:\n  max_flows: 2048\n  workers: 0\n");
	assert_int_equal(config_reload(config, &msg), FAIL_CONFIG);

	assert_non_null(strstr(msg.text, ":3:12: sensor.workers: 0 is out of range"));
	assert_int_equal(config_u64(config, OPT_SENSOR_WORKERS), 2);
	assert_int_equal(config_u64(config, OPT_SENSOR_MAX_FLOWS), 4194304);
	config_destroy(config);
	unlink(file.path);
}

/* ---- refusing what only the program can judge ---- */

static void test_options_refuse_names_where_the_value_came_from(void **state)
{
	struct file file = file_create("sensor:\n  dark: [192.0.2.0/24, x]\n");
	struct message msg = { "" };
	struct config *config;
	char expected[128];
	(void)state;

	config = parse(PROGRAM_SENSOR, "-c", file.path, "-F", "tcp and");
	assert_int_equal(
		config_refuse(config, OPT_SENSOR_FILTER, &msg, "syntax error in '%s'", "tcp and"),
		FAIL_USAGE);
	assert_string_equal(msg.text, "-F: syntax error in 'tcp and'");
	assert_int_equal(
		config_refuse_item(config, OPT_SENSOR_DARK, 0, &msg, "no prefix"), FAIL_CONFIG);
	snprintf(expected, sizeof(expected), "%s:2:10: sensor.dark: no prefix", file.path);
	assert_string_equal(msg.text, expected);
	assert_int_equal(
		config_refuse_item(config, OPT_SENSOR_DARK, 1, &msg, "no prefix"), FAIL_CONFIG);
	snprintf(expected, sizeof(expected), "%s:2:24: sensor.dark: no prefix", file.path);
	assert_string_equal(msg.text, expected);
	assert_int_equal(config_refuse(config, OPT_SENSOR_STATE, &msg, "is full"), FAIL_CONFIG);
	assert_string_equal(msg.text, "sensor.state: is full");
	config_destroy(config);
	unlink(file.path);
}

/* ---- help and example ---- */

/* What a printing function wrote, with a NUL byte at the end. */
static char *printed_help(enum program program)
{
	struct config *config = new_config(program);
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(config_print_help(config, out), 0);
	fclose(out);
	config_destroy(config);
	return text;
}

static char *printed_example(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(config_dump_example(out), 0);
	fclose(out);
	return text;
}

static void assert_fits(const char *text, size_t columns)
{
	while (*text != '\0') {
		size_t size = strcspn(text, "\n");

		assert_true(size <= columns);
		text += size + (text[size] == '\n');
	}
}

static void test_options_help_wins_over_a_missing_file(void **state)
{
	struct config *config;
	(void)state;

	config = parse(PROGRAM_REPORT, "-c", "/nonexistent.yaml", "-h");
	assert_true(config_wants_help(config));
	assert_false(config_wants_version(config));
	config_destroy(config);
	config = parse(PROGRAM_REPORT, "--version");
	assert_true(config_wants_version(config));
	config_destroy(config);
}

static void test_options_help_shows_the_programs_own_options(void **state)
{
	static const struct {
		enum program program;
		const char *usage;
		const char *has;
		const char *lacks;
	} rows[] = {
		{ PROGRAM_SENSOR, "usage: hoshimi-sensor -r", "\n  -r, --read FILE...", "--views" },
		{ PROGRAM_COLLECTOR, "usage: hoshimi-collector -i", "\n      --views count|enrich",
			"--read" },
		{ PROGRAM_REPORT, "usage: hoshimi-report ", "\n      --top ROWS", "--views" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *help = printed_help(rows[i].program);

		assert_int_equal(strncmp(help, rows[i].usage, strlen(rows[i].usage)), 0);
		assert_non_null(strstr(help, rows[i].has));
		assert_non_null(strstr(help, "\n  -c, --config FILE"));
		assert_null(strstr(help, rows[i].lacks));
		assert_fits(help, 100);
		free(help);
	}
}

static void test_options_help_states_unit_range_and_default(void **state)
{
	char *help = printed_help(PROGRAM_SENSOR);
	(void)state;

	assert_non_null(strstr(help, "--workers THREADS"));
	assert_non_null(strstr(help, "[1 to 64; default 1]"));
	assert_non_null(strstr(help, "[1MiB to 4GiB; default 64MiB]"));
	assert_non_null(strstr(help, "sensor.ring_bytes SIZE"));
	free(help);
}

static void test_options_committed_example_is_what_the_table_prints(void **state)
{
	struct message msg = { "" };
	char path[4096];
	char *printed = printed_example();
	char *committed = NULL;
	size_t size = 0;
	(void)state;

#ifdef SOURCE_ROOT
	snprintf(path, sizeof(path), "%s/deploy/hoshimi.example.yaml", SOURCE_ROOT);
#else
	snprintf(path, sizeof(path), "%.*s../../../deploy/hoshimi.example.yaml",
		(int)(strrchr(__FILE__, '/') + 1 - __FILE__), __FILE__);
#endif
	assert_int_equal(config_yaml_read_file(&committed, &size, path, 1 << 20, &msg), 0);

	assert_string_equal(committed, printed);
	assert_fits(printed, 100);
	free(committed);
	free(printed);
}

static void test_options_example_sets_nothing_as_it_is(void **state)
{
	char *text = printed_example();
	struct config *config = parse_file(PROGRAM_COLLECTOR, text);
	(void)state;

	for (int id = 0; id < OPTION_COUNT; id++) {
		if (id != OPT_CONFIG)
			assert_false(config_is_set(config, (enum option_id)id));
	}
	config_destroy(config);
	free(text);
}

/* Takes the # away before every setting; prose has a blank behind its own. */
static char *uncommented(const char *text)
{
	struct buffer out = { 0 };

	for (; *text != '\0'; text++) {
		if (text[0] != '#' || text[1] == ' ')
			buffer_u8(&out, (uint8_t)*text);
		else if (text[-1] == ' ' && text[1] == ' ')
			buffer_u8(&out, ' ');
	}
	buffer_u8(&out, '\0');
	assert_false(out.failed);
	return (char *)out.data;
}

static void test_options_example_is_good_with_every_option_uncommented(void **state)
{
	struct config *defaults = new_config(PROGRAM_SENSOR);
	char *text = printed_example();
	char *all = uncommented(text);
	struct config *config = parse_file(PROGRAM_SENSOR, all);
	(void)state;

	for (int i = 0; i < OPTION_COUNT; i++) {
		enum option_id id = (enum option_id)i;

		if (strchr(config_name(id), '.') != NULL && id != OPT_KAFKA_PROPERTIES)
			assert_true(config_is_set(config, id));
	}
	assert_int_equal(config_u64(config, OPT_SENSOR_RING_BYTES),
		config_u64(defaults, OPT_SENSOR_RING_BYTES));
	assert_string_equal(
		config_text(config, OPT_REDIS_URL), config_text(defaults, OPT_REDIS_URL));
	assert_string_equal(
		config_text(config, OPT_KAFKA_BROKERS), config_text(defaults, OPT_KAFKA_BROKERS));
	config_destroy(config);
	config_destroy(defaults);
	free(all);
	free(text);
}

/* ---- nearest ---- */

static void test_options_nearest_counts_edits(void **state)
{
	(void)state;

	assert_int_equal(nearest_distance("", ""), 0);
	assert_int_equal(nearest_distance("workers", "workers"), 0);
	assert_int_equal(nearest_distance("", "abc"), 3);
	assert_int_equal(nearest_distance("worekrs", "workers"), 1);
	assert_int_equal(nearest_distance("wrkers", "workers"), 1);
	assert_int_equal(nearest_distance("kitten", "sitting"), 3);
	assert_true(
		nearest_distance("0123456789012345678901234567890123456789012345678901234567890123",
			"") == SIZE_MAX);
}

static void test_options_nearest_leaves_far_words_alone(void **state)
{
	struct nearest nearest;
	(void)state;

	nearest_init(&nearest, "dark");
	nearest_offer(&nearest, "base");
	assert_null(nearest_best(&nearest));
	nearest_offer(&nearest, "dakr");
	nearest_offer(&nearest, "drak");
	assert_string_equal(nearest_best(&nearest), "dakr");
}

static void test_options_destroy_accepts_null(void **state)
{
	(void)state;

	config_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_nothing_given_yields_defaults),
		cmocka_unit_test(test_options_sensor_name_defaults_to_a_valid_name),
		cmocka_unit_test(test_options_words_take_all_up_to_the_next_option),
		cmocka_unit_test(test_options_list_splits_at_commas_and_repeats),
		cmocka_unit_test(test_options_joined_list_is_one_text),
		cmocka_unit_test(test_options_last_of_flag_and_set_wins),
		cmocka_unit_test(test_options_sizes_and_durations_have_units),
		cmocka_unit_test(test_options_range_ends_are_accepted_neighbours_refused),
		cmocka_unit_test(test_options_number_beyond_64_bits_is_out_of_range),
		cmocka_unit_test(test_options_what_is_no_number_is_refused),
		cmocka_unit_test(test_options_unknown_flag_names_the_nearest),
		cmocka_unit_test(test_options_flag_of_another_program_is_refused_and_told),
		cmocka_unit_test(test_options_same_flag_reaches_each_programs_own_key),
		cmocka_unit_test(test_options_collector_takes_the_options_of_its_report),
		cmocka_unit_test(test_options_bare_word_is_refused),
		cmocka_unit_test(test_options_missing_value_is_refused),
		cmocka_unit_test(test_options_value_on_a_flag_without_is_refused),
		cmocka_unit_test(test_options_choice_outside_its_words_is_refused),
		cmocka_unit_test(test_options_names_are_checked),
		cmocka_unit_test(test_options_day_offset_is_checked),
		cmocka_unit_test(test_options_empty_list_item_is_refused),
		cmocka_unit_test(test_options_set_reaches_keys_of_other_programs),
		cmocka_unit_test(test_options_set_of_unknown_key_names_the_nearest),
		cmocka_unit_test(test_options_set_boolean_takes_true_and_false_only),
		cmocka_unit_test(test_options_properties_keep_every_pair),
		cmocka_unit_test(test_options_properties_that_exactness_rests_on_are_refused),
		cmocka_unit_test(test_options_file_sets_every_type),
		cmocka_unit_test(test_options_empty_sequence_is_an_empty_list),
		cmocka_unit_test(test_options_later_file_wins_and_maps_merge),
		cmocka_unit_test(test_options_command_line_wins_over_file_wherever_it_stands),
		cmocka_unit_test(test_options_mistakes_in_a_file_are_named_with_their_place),
		cmocka_unit_test(test_options_unreadable_file_is_bad_configuration),
		cmocka_unit_test(test_options_command_line_mistake_is_told_before_files_are_opened),
		cmocka_unit_test(test_options_secret_comes_from_file_environment_or_secret_file),
		cmocka_unit_test(test_options_secret_on_the_command_line_is_refused_and_wiped),
		cmocka_unit_test(test_options_bad_secret_files_are_refused),
		cmocka_unit_test(test_options_secret_file_of_another_program_is_not_opened),
		cmocka_unit_test(test_options_property_comes_from_a_secret_file),
		cmocka_unit_test(test_options_passwords_in_argv_are_overwritten),
		cmocka_unit_test(test_options_redacted_hides_secrets_and_nothing_else),
		cmocka_unit_test(test_options_redacted_cuts_at_the_buffer),
		cmocka_unit_test(test_options_reload_reads_files_anew_under_the_command_line),
		cmocka_unit_test(test_options_reload_of_a_bad_file_changes_nothing),
		cmocka_unit_test(test_options_refuse_names_where_the_value_came_from),
		cmocka_unit_test(test_options_help_wins_over_a_missing_file),
		cmocka_unit_test(test_options_help_shows_the_programs_own_options),
		cmocka_unit_test(test_options_help_states_unit_range_and_default),
		cmocka_unit_test(test_options_committed_example_is_what_the_table_prints),
		cmocka_unit_test(test_options_example_sets_nothing_as_it_is),
		cmocka_unit_test(test_options_example_is_good_with_every_option_uncommented),
		cmocka_unit_test(test_options_nearest_counts_edits),
		cmocka_unit_test(test_options_nearest_leaves_far_words_alone),
		cmocka_unit_test(test_options_destroy_accepts_null),
	};

	unsetenv("HOSHIMI_REDIS_PASSWORD");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
