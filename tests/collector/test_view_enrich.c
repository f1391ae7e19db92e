/*
 * The view enrich on brokers that librdkafka plays itself: what one partition's servers do must not
 * hold up the others.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "collector/view.h"
#include "schemas/base/timing.h"
#include "schemas/topics.h"

#define BROKERS                                                                                    \
	3 /* 1 leads all partitions and the group; 3 coordinates partition 0's transactions */
#define PARTITIONS 3
#define WAIT_MS	   30000 /* a sanitizer on a busy machine; usually two seconds */

struct scene {
	rd_kafka_t *client;
	rd_kafka_mock_cluster_t *brokers;
	struct config *config;
	atomic_bool stop;
	pthread_t thread;
	int rc;
	struct message msg;
};

static void *view_main(void *context)
{
	struct scene *scene = context;

	scene->rc = view_enrich_run(scene->config, &scene->stop, &scene->msg);
	return NULL;
}

static rd_kafka_t *make_client(rd_kafka_type_t type, const char *brokers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char reason[256];

	rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
	if (brokers != NULL)
		rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	if (brokers != NULL && type == RD_KAFKA_CONSUMER)
		rd_kafka_conf_set(conf, "group.id", "test-reader", NULL, 0);
	return rd_kafka_new(type, conf, reason, sizeof(reason));
}

static void make_topic(struct scene *scene, enum topic topic, int partitions)
{
	char name[TOPIC_NAME_BYTES];

	topic_name(name, "test", topic);
	rd_kafka_mock_topic_create(scene->brokers, name, partitions, 1);
	for (int i = 0; i < partitions; i++)
		rd_kafka_mock_partition_set_leader(scene->brokers, name, i, 1);
}

static void make_brokers(struct scene *scene)
{
	scene->client = make_client(RD_KAFKA_PRODUCER, NULL);
	assert_non_null(scene->client);
	scene->brokers = rd_kafka_mock_cluster_new(scene->client, BROKERS);
	assert_non_null(scene->brokers);
	make_topic(scene, TOPIC_FLOWS, PARTITIONS);
	make_topic(scene, TOPIC_ENRICHED, PARTITIONS);
	make_topic(scene, TOPIC_STATE, PARTITIONS);
	make_topic(scene, TOPIC_DEADLETTER, 1);
	rd_kafka_mock_coordinator_set(scene->brokers, "group", "test.hoshimi.enrich", 1);
	for (int i = 0; i < PARTITIONS; i++) {
		char id[64];

		snprintf(id, sizeof(id), "test.hoshimi.enrich.%d", i);
		rd_kafka_mock_coordinator_set(scene->brokers, "transaction", id, i == 0 ? 3 : 1);
	}
}

/* A message in each partition. They are poison, which the view sends on as anything else. */
static void send_messages(struct scene *scene)
{
	rd_kafka_t *producer =
		make_client(RD_KAFKA_PRODUCER, rd_kafka_mock_cluster_bootstraps(scene->brokers));
	char name[TOPIC_NAME_BYTES];

	topic_name(name, "test", TOPIC_FLOWS);
	for (int i = 0; i < PARTITIONS; i++)
		assert_int_equal(
			rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(i),
				RD_KAFKA_V_VALUE((char[]){ "x" }, 1),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
			0);
	assert_int_equal(rd_kafka_flush(producer, WAIT_MS), 0);
	rd_kafka_destroy(producer);
}

static void start_view(struct scene *scene)
{
	char brokers[256];
	char *words[] = { (char[]){ "test" }, (char[]){ "--brokers" }, brokers,
		(char[]){ "--topic-prefix" }, (char[]){ "test" }, (char[]){ "--group" },
		(char[]){ "hoshimi" }, (char[]){ "--set" },
		(char[]){ "kafka.properties.max.poll.interval.ms=15000" } };

	snprintf(brokers, sizeof(brokers), "%s", rd_kafka_mock_cluster_bootstraps(scene->brokers));
	assert_int_equal(config_create(&scene->config, PROGRAM_COLLECTOR), 0);
	assert_int_equal(config_parse(scene->config, 9, words, &scene->msg), 0);
	assert_int_equal(pthread_create(&scene->thread, NULL, view_main, scene), 0);
}

static rd_kafka_t *open_dead_letters(struct scene *scene)
{
	rd_kafka_t *reader =
		make_client(RD_KAFKA_CONSUMER, rd_kafka_mock_cluster_bootstraps(scene->brokers));
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	char name[TOPIC_NAME_BYTES];

	topic_name(name, "test", TOPIC_DEADLETTER);
	rd_kafka_topic_partition_list_add(list, name, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(reader, list);
	rd_kafka_topic_partition_list_destroy(list);
	return reader;
}

/* Waits until so many dead letters have come. @return a bit for each partition they came from */
static unsigned read_partitions(rd_kafka_t *reader, unsigned count, int wait_ms)
{
	int64_t deadline = timing_now_ms() + wait_ms;
	unsigned found = 0;

	while (count > 0 && timing_now_ms() < deadline) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 100);
		rd_kafka_headers_t *headers;
		const void *value;
		size_t size;

		if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
			rd_kafka_message_headers(message, &headers) == 0 &&
			rd_kafka_header_get_last(headers, "partition", &value, &size) == 0) {
			found |= 1u << (*(const char *)value - '0');
			count--;
		}
		if (message != NULL)
			rd_kafka_message_destroy(message);
	}
	return found;
}

static void test_view_enrich_partition_that_cannot_be_taken_over_holds_up_no_other(void **state)
{
	struct scene scene = { 0 };
	rd_kafka_t *reader;

	(void)state;
	make_brokers(&scene);
	send_messages(&scene);
	assert_int_equal(rd_kafka_mock_broker_set_down(scene.brokers, 3), 0);
	start_view(&scene);
	reader = open_dead_letters(&scene);

	/* partition 0 comes first, and its transactions have no coordinator */
	assert_int_equal(read_partitions(reader, 2, WAIT_MS), 1u << 1 | 1u << 2);
	assert_int_equal(read_partitions(reader, 1, 1000), 0);

	assert_int_equal(rd_kafka_mock_broker_set_up(scene.brokers, 3), 0);
	assert_int_equal(read_partitions(reader, 1, WAIT_MS), 1u << 0);

	scene.stop = true;
	pthread_join(scene.thread, NULL);
	assert_int_equal(scene.rc, 0);
	rd_kafka_consumer_close(reader);
	rd_kafka_destroy(reader);
	config_destroy(scene.config);
	rd_kafka_mock_cluster_destroy(scene.brokers);
	rd_kafka_destroy(scene.client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_view_enrich_partition_that_cannot_be_taken_over_holds_up_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
