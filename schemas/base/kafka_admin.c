/*
 * Topics and single values, each with a client of its own that lives as long as the question.
 */
#include "schemas/base/kafka_client.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/log.h"
#include "schemas/base/timing.h"

#define POLL_MS		 100
#define METADATA_TRY_MS	 2000
#define NEW_TOPIC_MS	 8000 /* a topic just made is not known to every broker at once */
#define ADMIN_TIMEOUT_MS 30000
#define MS_PER_DAY	 86400000ULL

static rd_kafka_t *client_of(const struct kafka_settings *settings, rd_kafka_type_t type,
	const char *const (*properties)[2], size_t count, struct message *msg)
{
	rd_kafka_conf_t *conf = kafka_client_conf(settings, msg);
	rd_kafka_t *client;
	char reason[256];

	if (conf == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (kafka_client_set(conf, properties[i][0], properties[i][1], msg) != 0) {
			rd_kafka_conf_destroy(conf);
			return NULL;
		}
	}
	client = rd_kafka_new(type, conf, reason, sizeof(reason));
	if (client == NULL) {
		message_set(msg, "kafka: %s", reason);
		rd_kafka_conf_destroy(conf);
	}
	return client;
}

int kafka_check_settings(const struct kafka_settings *settings, struct message *msg)
{
	rd_kafka_t *client = client_of(settings, RD_KAFKA_PRODUCER, NULL, 0, msg);

	if (client == NULL)
		return FAIL_CONFIG;
	rd_kafka_destroy(client);
	return 0;
}

/* How long one question may take: a negative time would mean for ever. */
static int try_ms_until(int64_t deadline)
{
	int64_t left_ms = deadline - timing_now_ms();

	if (left_ms < 1)
		return 1;
	return left_ms < METADATA_TRY_MS ? (int)left_ms : METADATA_TRY_MS;
}

/* Asks for a topic's metadata until it is there or time is up. */
int kafka_client_partitions(rd_kafka_t *client, const char *brokers, const char *topic,
	int64_t deadline, uint32_t *out, struct message *msg)
{
	rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
	int64_t unknown_deadline = timing_now_ms() + NEW_TOPIC_MS;
	const char *reason = "no answer";
	int rc = FAIL_REMOTE;

	do {
		const struct rd_kafka_metadata *metadata;
		rd_kafka_resp_err_t err =
			rd_kafka_metadata(client, 0, handle, &metadata, try_ms_until(deadline));

		if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
			reason = rd_kafka_err2str(err);
			continue;
		}
		err = metadata->topic_cnt == 1 ? metadata->topics[0].err
					       : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
		*out = err == RD_KAFKA_RESP_ERR_NO_ERROR
			       ? (uint32_t)metadata->topics[0].partition_cnt
			       : 0;
		reason = rd_kafka_err2str(err);
		rd_kafka_metadata_destroy(metadata);
		if (*out > 0)
			rc = 0;
		if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
			timing_now_ms() >= unknown_deadline)
			break;
		if (rc != 0)
			timing_pause_ms(POLL_MS);
	} while (rc != 0 && timing_now_ms() < deadline);
	rd_kafka_topic_destroy(handle);
	if (rc != 0)
		message_set(msg, "kafka at %s: topic %s: %s", brokers, topic, reason);
	return rc;
}

int kafka_partition_count(const struct kafka_settings *settings, enum topic topic, int timeout_ms,
	uint32_t *out, struct message *msg)
{
	char name[TOPIC_NAME_BYTES];
	rd_kafka_t *client;
	int rc;

	client = client_of(settings, RD_KAFKA_PRODUCER, NULL, 0, msg);
	if (client == NULL)
		return FAIL_CONFIG;
	rc = kafka_client_partitions(client, settings->brokers,
		topic_name(name, settings->prefix, topic), timing_now_ms() + timeout_ms, out, msg);
	rd_kafka_destroy(client);
	return rc;
}

/* clang-format off */
static const char *const reader_properties[][2] = {
	{ "group.id", "hoshimi-unused" }, /* required by librdkafka, never joined */
	{ "session.timeout.ms", "6000" }, /* never above a max.poll.interval.ms of the user's */
	{ "enable.auto.commit", "false" },
	{ "auto.offset.reset", "error" },
	{ "isolation.level", "read_committed" },
	{ "enable.partition.eof", "true" },
	{ "fetch.wait.max.ms", "50" },
};
static const char *const uncommitted_properties[][2] = {
	{ "group.id", "hoshimi-unused" },
	{ "session.timeout.ms", "6000" },
	{ "isolation.level", "read_uncommitted" },
};
/* clang-format on */

#define UNCOMMITTED_PROPERTIES (sizeof(uncommitted_properties) / sizeof(uncommitted_properties[0]))
#define READER_PROPERTIES      (sizeof(reader_properties) / sizeof(reader_properties[0]))

static void keep_value(
	const rd_kafka_message_t *message, const char *key, size_t before, struct buffer *out)
{
	if (message->key_len != strlen(key) || memcmp(message->key, key, message->key_len) != 0)
		return;
	out->size = before;
	if (message->payload != NULL)
		buffer_append(out, message->payload, message->len);
}

/*
 * Reads from the start until the position has reached `end`. Control records and aborted ones
 * take offsets but are not delivered: rd_kafka_position stands behind the last delivered record, so
 * the end-of-partition event, whose offset counts them, tells when everything was seen.
 */
static int read_until(
	rd_kafka_t *client, const char *key, int64_t end, int64_t deadline, struct buffer *out)
{
	size_t before = out->size;

	while (timing_now_ms() < deadline) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(client, POLL_MS);
		bool is_end = false;

		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			is_end = message->offset >= end;
		else if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			keep_value(message, key, before, out);
		rd_kafka_message_destroy(message);
		if (is_end)
			return out->failed ? -ENOMEM : 0;
	}
	return FAIL_REMOTE;
}

/* The end that a reader of uncommitted records sees. A client that does not say so, a producer too,
 * is told the end of what is committed (librdkafka 2.0.2). */
static int uncommitted_end(const struct kafka_settings *settings, const char *topic,
	int32_t partition, int64_t deadline, int64_t *out, struct message *msg)
{
	rd_kafka_t *client = client_of(
		settings, RD_KAFKA_CONSUMER, uncommitted_properties, UNCOMMITTED_PROPERTIES, msg);
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
	int64_t low;

	if (client == NULL)
		return FAIL_CONFIG;
	while (err != RD_KAFKA_RESP_ERR_NO_ERROR && timing_now_ms() < deadline)
		err = rd_kafka_query_watermark_offsets(
			client, topic, partition, &low, out, METADATA_TRY_MS);
	rd_kafka_destroy(client);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	message_set(
		msg, "kafka at %s: topic %s: %s", settings->brokers, topic, rd_kafka_err2str(err));
	return FAIL_REMOTE;
}

static int read_value(const struct kafka_settings *settings, const char *topic, int32_t partition,
	const char *key, int64_t deadline, struct buffer *out, struct message *msg)
{
	rd_kafka_topic_partition_list_t *assignment = rd_kafka_topic_partition_list_new(1);
	int64_t end = 0;
	rd_kafka_t *client = NULL;
	int rc = uncommitted_end(settings, topic, partition, deadline, &end, msg);

	if (rc == 0 && end > 0) {
		client = client_of(
			settings, RD_KAFKA_CONSUMER, reader_properties, READER_PROPERTIES, msg);
		rc = client == NULL ? FAIL_CONFIG : 0;
	}
	if (client != NULL) {
		rd_kafka_topic_partition_list_add(assignment, topic, partition)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
		rd_kafka_assign(client, assignment);
		rc = read_until(client, key, end, deadline, out);
		if (rc == FAIL_REMOTE)
			message_set(msg, "kafka at %s: topic %s could not be read to its end",
				settings->brokers, topic);
		rd_kafka_consumer_close(client);
		rd_kafka_destroy(client);
	}
	rd_kafka_topic_partition_list_destroy(assignment);
	return rc;
}

int kafka_last_value(const struct kafka_settings *settings, enum topic topic, const char *key,
	int timeout_ms, struct buffer *out, struct message *msg)
{
	int64_t deadline = timing_now_ms() + timeout_ms;
	char name[TOPIC_NAME_BYTES];
	uint32_t partitions;
	int rc;

	topic_name(name, settings->prefix, topic);
	rc = kafka_partition_count(settings, topic, timeout_ms, &partitions, msg);
	if (rc != 0)
		return rc;
	return read_value(settings, name, (int32_t)topic_key_partition(key, partitions), key,
		deadline, out, msg);
}

/* ---- making topics ---- */

static rd_kafka_NewTopic_t *new_topic(const char *name, const struct topic_row *row,
	uint32_t partitions, uint32_t replication, char *reason, size_t reason_size)
{
	rd_kafka_NewTopic_t *topic;
	char number[24];

	topic = rd_kafka_NewTopic_new(name, (int)partitions, (int)replication, reason, reason_size);
	if (topic == NULL)
		return NULL;
	rd_kafka_NewTopic_set_config(topic, "cleanup.policy", row->cleanup);
	snprintf(number, sizeof(number), "%u", KAFKA_MESSAGE_MAX_BYTES);
	rd_kafka_NewTopic_set_config(topic, "max.message.bytes", number);
	/* time is the broker's: old captures would otherwise be refused or deleted at once */
	rd_kafka_NewTopic_set_config(topic, "message.timestamp.type", "LogAppendTime");
	if (row->days > 0) {
		snprintf(number, sizeof(number), "%llu",
			(unsigned long long)(row->days * MS_PER_DAY));
		rd_kafka_NewTopic_set_config(topic, "retention.ms", number);
	} else {
		rd_kafka_NewTopic_set_config(topic, "min.cleanable.dirty.ratio", "0.1");
		rd_kafka_NewTopic_set_config(
			topic, "segment.ms", "3600000"); /* compaction skips the open segment */
	}
	return topic;
}

static rd_kafka_resp_err_t create_topic(rd_kafka_t *client, rd_kafka_queue_t *queue,
	rd_kafka_NewTopic_t *topic, char *reason, size_t reason_size)
{
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	const rd_kafka_topic_result_t *const *results;
	rd_kafka_resp_err_t err;
	rd_kafka_event_t *event;
	size_t count;

	rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_TIMEOUT_MS, NULL, 0);
	rd_kafka_AdminOptions_set_operation_timeout(options, ADMIN_TIMEOUT_MS, NULL, 0);
	rd_kafka_CreateTopics(client, &topic, 1, options, queue);
	event = rd_kafka_queue_poll(queue, ADMIN_TIMEOUT_MS + METADATA_TRY_MS);
	err = event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
	snprintf(reason, reason_size, "%s",
		err != 0 && event != NULL ? rd_kafka_event_error_string(event)
					  : rd_kafka_err2str(err));
	if (event != NULL && err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		results = rd_kafka_CreateTopics_result_topics(
			rd_kafka_event_CreateTopics_result(event), &count);
		err = count == 1 ? rd_kafka_topic_result_error(results[0])
				 : RD_KAFKA_RESP_ERR__BAD_MSG;
		if (err != 0)
			snprintf(reason, reason_size, "%s",
				count == 1 && rd_kafka_topic_result_error_string(results[0]) != NULL
					? rd_kafka_topic_result_error_string(results[0])
					: rd_kafka_err2str(err));
	}
	if (event != NULL)
		rd_kafka_event_destroy(event);
	rd_kafka_AdminOptions_destroy(options);
	return err;
}

/* The cleanup policy of an existing topic; empty when it could not be read. */
static void cleanup_policy_of(
	rd_kafka_t *client, rd_kafka_queue_t *queue, const char *name, char *out, size_t size)
{
	rd_kafka_ConfigResource_t *resource =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
	const rd_kafka_ConfigResource_t *const *resources;
	const rd_kafka_ConfigEntry_t *const *entries;
	rd_kafka_event_t *event;
	size_t count;

	out[0] = '\0';
	rd_kafka_DescribeConfigs(client, &resource, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, ADMIN_TIMEOUT_MS);
	if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR) {
		resources = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(event), &count);
		entries = count == 1 ? rd_kafka_ConfigResource_configs(resources[0], &count) : NULL;
		for (size_t i = 0; entries != NULL && i < count; i++)
			if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "cleanup.policy") == 0)
				snprintf(out, size, "%s", rd_kafka_ConfigEntry_value(entries[i]));
	}
	if (event != NULL)
		rd_kafka_event_destroy(event);
	rd_kafka_ConfigResource_destroy(resource);
}

static bool same_policy(const char *a, const char *b)
{
	bool a_compacts = strstr(a, "compact") != NULL, b_compacts = strstr(b, "compact") != NULL;
	bool a_deletes = strstr(a, "delete") != NULL, b_deletes = strstr(b, "delete") != NULL;

	return a_compacts == b_compacts && a_deletes == b_deletes;
}

static int check_topic(rd_kafka_t *client, rd_kafka_queue_t *queue,
	const struct kafka_settings *settings, const char *name, const struct topic_row *row,
	uint32_t wanted, struct message *msg)
{
	char policy[64];
	uint32_t partitions;
	int rc = kafka_client_partitions(client, settings->brokers, name,
		timing_now_ms() + ADMIN_TIMEOUT_MS, &partitions, msg);

	if (rc != 0)
		return rc;
	if (partitions != wanted) {
		message_set(msg,
			"topic %s has %u partitions, not %u; the number never changes: "
			"give --partitions %u, or another --topic-prefix",
			name, partitions, wanted, partitions);
		return FAIL_REMOTE;
	}
	cleanup_policy_of(client, queue, name, policy, sizeof(policy));
	if (policy[0] != '\0' && !same_policy(policy, row->cleanup)) {
		message_set(msg, "topic %s has cleanup.policy=%s, it must be %s", name, policy,
			row->cleanup);
		return FAIL_REMOTE;
	}
	return 0;
}

static int ensure_topic(rd_kafka_t *client, rd_kafka_queue_t *queue,
	const struct kafka_settings *settings, enum topic topic, uint32_t partitions,
	uint32_t replication, void (*report)(const char *), struct message *msg)
{
	const struct topic_row *row = topic_row(topic);
	char name[TOPIC_NAME_BYTES], reason[256], line[512];
	rd_kafka_NewTopic_t *made;
	rd_kafka_resp_err_t err;
	int rc = 0;

	partitions = row->partitions != 0 ? row->partitions : partitions;
	topic_name(name, settings->prefix, topic);
	made = new_topic(name, row, partitions, replication, reason, sizeof(reason));
	if (made == NULL) {
		message_set(msg, "topic %s: %s", name, reason);
		return FAIL_CONFIG;
	}
	err = create_topic(client, queue, made, reason, sizeof(reason));
	rd_kafka_NewTopic_destroy(made);
	if (err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
		rc = check_topic(client, queue, settings, name, row, partitions, msg);
	} else if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
		message_set(msg, "kafka at %s: topic %s: %s", settings->brokers, name, reason);
		rc = FAIL_REMOTE;
	}
	if (rc != 0)
		return rc;
	snprintf(line, sizeof(line), "%-26s %3u partition%s  kept %s%.0u%s  %s", name, partitions,
		partitions == 1 ? " " : "s", row->days > 0 ? "" : "for ever", row->days,
		row->days > 0 ? " days" : "",
		err == RD_KAFKA_RESP_ERR_NO_ERROR ? "made" : "already there");
	report(line);
	return 0;
}

int kafka_create_topics(const struct kafka_settings *settings, uint32_t partitions,
	uint32_t replication, void (*report)(const char *line), struct message *msg)
{
	rd_kafka_t *client = client_of(settings, RD_KAFKA_PRODUCER, NULL, 0, msg);
	rd_kafka_queue_t *queue;
	int rc = 0;

	if (client == NULL)
		return FAIL_CONFIG;
	queue = rd_kafka_queue_new(client);
	for (unsigned topic = 0; rc == 0 && topic < TOPIC_COUNT; topic++)
		rc = ensure_topic(client, queue, settings, (enum topic)topic, partitions,
			replication, report, msg);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(client);
	return rc;
}
