/*
 * Kafka without a server: settings as librdkafka reads them, and what it refuses, secrets unsaid.
 */
#include "schemas/base/kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct config *configure(int count, char **words)
{
	struct message msg = { "" };
	struct config *config;

	assert_int_equal(config_create(&config, PROGRAM_SENSOR), 0);
	assert_int_equal(config_parse(config, count, words, &msg), 0);
	return config;
}

static void test_kafka_settings_are_those_of_the_configuration(void **state)
{
	char *words[] = { (char[]){ "test" }, (char[]){ "--brokers" }, (char[]){ "one:1,two:2" },
		(char[]){ "--topic-prefix" }, (char[]){ "lab" }, (char[]){ "--set" },
		(char[]){ "kafka.properties.client.rack=west" } };
	struct config *config = configure(7, words);
	struct kafka_settings settings = kafka_settings_of(config);

	(void)state;
	assert_string_equal(settings.brokers, "one:1,two:2");
	assert_string_equal(settings.prefix, "lab");
	assert_int_equal(settings.property_count, 1);
	assert_string_equal(settings.properties[0].key, "client.rack");
	assert_string_equal(settings.properties[0].value, "west");
	config_destroy(config);
}

static int check(const char *key, const char *value, struct message *msg)
{
	char key_copy[64], value_copy[64];
	struct text_pair pair = { key_copy, value_copy };
	struct kafka_settings settings = { "127.0.0.1:1", "test", &pair, 1 };

	snprintf(key_copy, sizeof(key_copy), "%s", key);
	snprintf(value_copy, sizeof(value_copy), "%s", value);
	return kafka_check_settings(&settings, msg);
}

static void test_kafka_good_settings_need_no_server(void **state)
{
	struct message msg = { "" };

	(void)state;
	assert_int_equal(check("client.rack", "west", &msg), 0);
	assert_string_equal(msg.text, "");
}

static void test_kafka_unknown_property_is_refused_by_name(void **state)
{
	struct message msg = { "" };

	(void)state;
	assert_int_equal(check("no.such.property", "1", &msg), FAIL_CONFIG);
	assert_non_null(strstr(msg.text, "kafka.properties.no.such.property"));
}

static void test_kafka_bad_value_is_refused_with_the_reason(void **state)
{
	struct message msg = { "" };

	(void)state;
	assert_int_equal(check("security.protocol", "plain", &msg), FAIL_CONFIG);
	assert_non_null(strstr(msg.text, "kafka.properties.security.protocol"));
	assert_non_null(strstr(msg.text, "plain"));
}

static void test_kafka_bad_secret_is_refused_without_quoting_it(void **state)
{
	struct message msg = { "" };

	(void)state;
	assert_int_equal(check("sasl.oauthbearer.method", "hunter2", &msg), FAIL_CONFIG);
	assert_null(strstr(msg.text, "hunter2"));
}

static void test_kafka_producer_refuses_what_the_settings_refuse(void **state)
{
	struct text_pair pair = { (char[]){ "no.such.property" }, (char[]){ "1" } };
	struct kafka_settings settings = { "127.0.0.1:1", "test", &pair, 1 };
	struct kafka_producer *producer = NULL;
	struct message msg = { "" };

	(void)state;
	assert_int_equal(kafka_producer_create(&producer, &settings, "test", &msg), FAIL_CONFIG);
	assert_null(producer);
}

static void test_kafka_producer_is_made_without_a_server(void **state)
{
	struct kafka_settings settings = { "127.0.0.1:1", "test", NULL, 0 };
	struct kafka_producer *producer = NULL;
	struct message msg = { "" };

	(void)state;
	assert_int_equal(kafka_producer_create(&producer, &settings, "test.sensor.x", &msg), 0);
	assert_string_equal(kafka_producer_error(producer), "");
	kafka_producer_destroy(producer);
	kafka_producer_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kafka_settings_are_those_of_the_configuration),
		cmocka_unit_test(test_kafka_good_settings_need_no_server),
		cmocka_unit_test(test_kafka_unknown_property_is_refused_by_name),
		cmocka_unit_test(test_kafka_bad_value_is_refused_with_the_reason),
		cmocka_unit_test(test_kafka_bad_secret_is_refused_without_quoting_it),
		cmocka_unit_test(test_kafka_producer_refuses_what_the_settings_refuse),
		cmocka_unit_test(test_kafka_producer_is_made_without_a_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
