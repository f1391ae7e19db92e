#include "collector/log_reader.h"

#include <stdlib.h>

#include "schemas/base/kafka_client.h"
#include "schemas/base/log.h"

#define QUERY_TIMEOUT_MS 5000

struct log_reader {
	rd_kafka_t *client;
	char topic[TOPIC_NAME_BYTES];
	struct log_reader_events events;
};

/* clang-format off */
static const char *const reader_properties[][2] = {
	{ "enable.auto.commit", "false" },
	{ "enable.auto.offset.store", "false" },
	{ "auto.offset.reset", "error" }, /* a position that is gone is a finding, never a silent jump */
	{ "isolation.level", "read_committed" },
	{ "partition.assignment.strategy", "range" },
	{ "session.timeout.ms", "10000" },
	{ "fetch.wait.max.ms", "100" },
	{ "fetch.message.max.bytes", "8388608" },
	{ "queued.max.messages.kbytes", "32768" },
	{ "check.crcs", "true" },
};
/* clang-format on */

static void revoke(struct log_reader *reader, const rd_kafka_topic_partition_list_t *partitions)
{
	for (int i = 0; i < partitions->cnt; i++)
		reader->events.revoked(
			reader->events.context, (uint32_t)partitions->elems[i].partition);
	rd_kafka_assign(reader->client, NULL);
}

static void assign(struct log_reader *reader, rd_kafka_topic_partition_list_t *partitions)
{
	for (int i = 0; i < partitions->cnt; i++)
		partitions->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(reader->client, partitions);
	rd_kafka_pause_partitions(reader->client, partitions);
	for (int i = 0; i < partitions->cnt; i++)
		reader->events.assigned(
			reader->events.context, (uint32_t)partitions->elems[i].partition);
}

static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t err,
	rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
	struct log_reader *reader = opaque;

	(void)client;
	if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		assign(reader, partitions);
	else
		revoke(reader, partitions);
}

static int subscribe(struct log_reader *reader, struct message *msg)
{
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t err;

	rd_kafka_topic_partition_list_add(topics, reader->topic, RD_KAFKA_PARTITION_UA);
	err = rd_kafka_subscribe(reader->client, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	message_set(msg, "kafka: %s", rd_kafka_err2str(err));
	return FAIL_REMOTE;
}

int log_reader_open(struct log_reader **out, const struct kafka_settings *settings,
	const char *group_id, const struct log_reader_events *events, struct message *msg)
{
	struct log_reader *reader = calloc(1, sizeof(*reader));
	rd_kafka_conf_t *conf;
	char reason[256];
	int rc = 0;

	if (reader == NULL)
		return -ENOMEM;
	reader->events = *events;
	topic_name(reader->topic, settings->prefix, TOPIC_FLOWS);
	conf = kafka_client_conf(settings, msg);
	if (conf == NULL) {
		free(reader);
		return FAIL_CONFIG;
	}
	for (size_t i = 0; rc == 0 && i < sizeof(reader_properties) / sizeof(reader_properties[0]);
		i++)
		rc = kafka_client_set(conf, reader_properties[i][0], reader_properties[i][1], msg);
	if (rc == 0)
		rc = kafka_client_set(conf, "group.id", group_id, msg);
	rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
	rd_kafka_conf_set_opaque(conf, reader);
	if (rc == 0) {
		reader->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
		if (reader->client == NULL) {
			message_set(msg, "kafka: %s", reason);
			rc = FAIL_CONFIG;
		}
	}
	if (reader->client == NULL)
		rd_kafka_conf_destroy(conf);
	if (rc == 0) {
		rd_kafka_poll_set_consumer(reader->client);
		rc = subscribe(reader, msg);
	}
	if (rc != 0) {
		log_reader_close(reader);
		return rc;
	}
	*out = reader;
	return 0;
}

void log_reader_close(struct log_reader *reader)
{
	if (reader == NULL)
		return;
	if (reader->client != NULL) {
		rd_kafka_consumer_close(reader->client);
		rd_kafka_destroy(reader->client);
	}
	free(reader);
}

int log_reader_poll(
	struct log_reader *reader, int timeout_ms, struct log_message *out, struct message *msg)
{
	rd_kafka_message_t *message = rd_kafka_consumer_poll(reader->client, timeout_ms);
	int rc = 0;

	if (message == NULL)
		return 0;
	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		*out = (struct log_message){ .partition = (uint32_t)message->partition,
			.offset = message->offset,
			.append_ms = rd_kafka_message_timestamp(message, NULL),
			.value = { message->payload, message->len },
			.key = { message->key, message->key_len },
			.handle = message };
		return 1;
	}
	if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
		message_set(msg, "partition %d: the position to read from is not in the topic: %s",
			message->partition, rd_kafka_message_errstr(message));
		rc = FAIL_LIMIT;
	} else {
		log_debug("kafka consumer error=\"%s\"", rd_kafka_message_errstr(message));
	}
	rd_kafka_message_destroy(message);
	return rc;
}

void log_message_release(struct log_message *message)
{
	rd_kafka_message_destroy(message->handle);
	message->handle = NULL;
}

static rd_kafka_topic_partition_list_t *one_partition(
	const struct log_reader *reader, uint32_t partition, int64_t offset)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, reader->topic, (int32_t)partition)->offset = offset;
	return list;
}

int log_reader_seek(struct log_reader *reader, uint32_t partition, int64_t offset)
{
	rd_kafka_topic_partition_list_t *list = one_partition(reader, partition, offset);
	rd_kafka_error_t *error = rd_kafka_seek_partitions(reader->client, list, QUERY_TIMEOUT_MS);
	rd_kafka_resp_err_t err = list->elems[0].err;

	if (error != NULL) {
		log_debug("seek failed error=\"%s\"", rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
	} else if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		rd_kafka_resume_partitions(reader->client, list);
	}
	rd_kafka_topic_partition_list_destroy(list);
	return error == NULL && err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : FAIL_REMOTE;
}

void log_reader_pause(struct log_reader *reader, uint32_t partition)
{
	rd_kafka_topic_partition_list_t *list =
		one_partition(reader, partition, RD_KAFKA_OFFSET_INVALID);

	rd_kafka_pause_partitions(reader->client, list);
	rd_kafka_topic_partition_list_destroy(list);
}

void log_reader_resume(struct log_reader *reader, uint32_t partition)
{
	rd_kafka_topic_partition_list_t *list =
		one_partition(reader, partition, RD_KAFKA_OFFSET_INVALID);

	rd_kafka_resume_partitions(reader->client, list);
	rd_kafka_topic_partition_list_destroy(list);
}

int log_reader_bounds(struct log_reader *reader, uint32_t partition, int64_t *low, int64_t *high)
{
	rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
		reader->client, reader->topic, (int32_t)partition, low, high, QUERY_TIMEOUT_MS);

	return err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : FAIL_REMOTE;
}

int log_reader_committed(struct log_reader *reader, uint32_t partition, int64_t *out)
{
	rd_kafka_topic_partition_list_t *list =
		one_partition(reader, partition, RD_KAFKA_OFFSET_INVALID);
	rd_kafka_resp_err_t err = rd_kafka_committed(reader->client, list, QUERY_TIMEOUT_MS);

	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		err = list->elems[0].err;
	*out = list->elems[0].offset >= 0 ? list->elems[0].offset : -1;
	rd_kafka_topic_partition_list_destroy(list);
	return err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : FAIL_REMOTE;
}

const void *log_reader_group(struct log_reader *reader)
{
	return rd_kafka_consumer_group_metadata(reader->client);
}

void log_reader_group_release(const void *group)
{
	rd_kafka_consumer_group_metadata_destroy((void *)(uintptr_t)group);
}
