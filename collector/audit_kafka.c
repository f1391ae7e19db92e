#include "collector/audit_kafka.h"

#include <stdlib.h>

#include "schemas/base/kafka_client.h"
#include "schemas/base/log.h"
#include "schemas/base/timing.h"

#define QUERY_TIMEOUT_MS 10000
#define POLL_MS		 100
#define HIDDEN_MS	 15000 /* longer than transactions of ours last */
#define STALLED_MS	 60000

/* clang-format off */
static const char *const reader_properties[][2] = {
	{ "session.timeout.ms", "6000" }, /* never above a max.poll.interval.ms of the user's */
	{ "enable.auto.commit", "false" },
	{ "enable.auto.offset.store", "false" },
	{ "auto.offset.reset", "earliest" }, /* what retention removes meanwhile is not held */
	{ "isolation.level", "read_committed" },
	{ "enable.partition.eof", "true" },
	{ "fetch.wait.max.ms", "50" },
	{ "fetch.message.max.bytes", "262144" }, /* compressed: JSON is ten times as large in memory */
	{ "queued.max.messages.kbytes", "65536" },
	{ "check.crcs", "true" },
};
/* clang-format on */

struct held {
	int64_t low;
	int64_t end;	 /* as a reader of uncommitted records sees it */
	int64_t reached; /* end of what was read, -1 nothing yet */
};

struct audit_topic {
	rd_kafka_t *client;
	char name[TOPIC_NAME_BYTES];
	struct kafka_settings settings;
	uint32_t partitions;
	struct held *held;
	bool is_assigned;
};

static int make_client(struct audit_topic *topic, const struct kafka_settings *settings,
	const char *group, struct message *msg)
{
	rd_kafka_conf_t *conf = kafka_client_conf(settings, msg);
	char reason[256];
	int rc = 0;

	if (conf == NULL)
		return FAIL_CONFIG;
	for (size_t i = 0; rc == 0 && i < sizeof(reader_properties) / sizeof(reader_properties[0]);
		i++)
		rc = kafka_client_set(conf, reader_properties[i][0], reader_properties[i][1], msg);
	/* librdkafka wants a group; it is never joined */
	if (rc == 0)
		rc = kafka_client_set(
			conf, "group.id", group != NULL ? group : "hoshimi-unused", msg);
	if (rc == 0) {
		topic->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
		if (topic->client != NULL)
			return 0;
		message_set(msg, "kafka: %s", reason);
		rc = FAIL_CONFIG;
	}
	rd_kafka_conf_destroy(conf);
	return rc;
}

static int fail(const struct audit_topic *topic, const char *reason, struct message *msg)
{
	message_set(msg, "kafka at %s: topic %s: %s", topic->settings.brokers, topic->name, reason);
	return FAIL_REMOTE;
}

/* Bounds from a client that does not wait for transactions: a reader of committed records sees an
 * end that open ones hold back. */
int audit_topic_refresh(struct audit_topic *topic, struct message *msg)
{
	rd_kafka_conf_t *conf = kafka_client_conf(&topic->settings, msg);
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_t *client;
	char reason[256];

	if (conf == NULL)
		return FAIL_CONFIG;
	if (kafka_client_set(conf, "isolation.level", "read_uncommitted", msg) != 0) {
		rd_kafka_conf_destroy(conf);
		return FAIL_CONFIG;
	}
	client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
	if (client == NULL) {
		rd_kafka_conf_destroy(conf);
		return fail(topic, reason, msg);
	}
	for (uint32_t i = 0; err == RD_KAFKA_RESP_ERR_NO_ERROR && i < topic->partitions; i++) {
		int64_t low;

		err = rd_kafka_query_watermark_offsets(client, topic->name, (int32_t)i, &low,
			&topic->held[i].end, QUERY_TIMEOUT_MS);
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR && low > topic->held[i].low)
			topic->held[i].low = low;
	}
	rd_kafka_destroy(client);
	return err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : fail(topic, rd_kafka_err2str(err), msg);
}

int audit_topic_open(struct audit_topic **out, const struct kafka_settings *settings,
	enum topic topic_id, const char *group, int timeout_ms, struct message *msg)
{
	struct audit_topic *topic = calloc(1, sizeof(*topic));
	int rc;

	if (topic == NULL)
		return -ENOMEM;
	topic_name(topic->name, settings->prefix, topic_id);
	topic->settings = *settings;
	rc = make_client(topic, settings, group, msg);
	if (rc == 0)
		rc = kafka_client_partitions(topic->client, settings->brokers, topic->name,
			timing_now_ms() + timeout_ms, &topic->partitions, msg);
	if (rc == 0) {
		topic->held = calloc(topic->partitions, sizeof(*topic->held));
		for (uint32_t i = 0; topic->held != NULL && i < topic->partitions; i++)
			topic->held[i].reached = -1;
		rc = topic->held != NULL ? audit_topic_refresh(topic, msg) : -ENOMEM;
	}
	if (rc != 0) {
		audit_topic_close(topic);
		return rc;
	}
	rd_kafka_poll_set_consumer(topic->client);
	*out = topic;
	return 0;
}

void audit_topic_close(struct audit_topic *topic)
{
	if (topic == NULL)
		return;
	if (topic->client != NULL) {
		rd_kafka_consumer_close(topic->client);
		rd_kafka_destroy(topic->client);
	}
	free(topic->held);
	free(topic);
}

uint32_t audit_topic_partitions(const struct audit_topic *topic)
{
	return topic->partitions;
}

int64_t audit_topic_low(const struct audit_topic *topic, uint32_t partition)
{
	return topic->held[partition].low;
}

int64_t audit_topic_end(const struct audit_topic *topic, uint32_t partition)
{
	return topic->held[partition].end;
}

int audit_topic_committed(
	struct audit_topic *topic, uint32_t partition, int64_t *out, struct message *msg)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t err;

	rd_kafka_topic_partition_list_add(list, topic->name, (int32_t)partition);
	err = rd_kafka_committed(topic->client, list, QUERY_TIMEOUT_MS);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		err = list->elems[0].err;
	*out = list->elems[0].offset >= 0 ? list->elems[0].offset : -1;
	rd_kafka_topic_partition_list_destroy(list);
	return err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : fail(topic, rd_kafka_err2str(err), msg);
}

static void assign(struct audit_topic *topic)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new((int)topic->partitions);

	if (topic->is_assigned)
		return;
	for (uint32_t i = 0; i < topic->partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic->name, (int32_t)i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(topic->client, list);
	rd_kafka_topic_partition_list_destroy(list);
	topic->is_assigned = true;
}

/* Aborted records and control records are not delivered; the end-of-partition event counts them. */
static int take(struct audit_topic *topic, const rd_kafka_message_t *message,
	audit_record_handler handler, void *context)
{
	uint32_t partition = (uint32_t)message->partition;
	struct audit_record record = { .partition = partition,
		.offset = message->offset,
		.key = { message->key, message->key_len },
		.value = { message->payload, message->len } };

	if (partition >= topic->partitions)
		return 0;
	if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		topic->held[partition].reached = message->offset;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
		if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			log_debug("kafka consumer error=\"%s\"", rd_kafka_message_errstr(message));
		return 0;
	}
	record.append_ms = rd_kafka_message_timestamp(message, NULL);
	return handler(context, &record);
}

static bool is_read(const struct audit_topic *topic)
{
	for (uint32_t i = 0; i < topic->partitions; i++)
		if (topic->held[i].reached < topic->held[i].end &&
			topic->held[i].end > topic->held[i].low)
			return false;
	return true;
}

/* True when every partition was read to an end, though transactions hide what lies behind it. */
static bool has_ends(const struct audit_topic *topic)
{
	for (uint32_t i = 0; i < topic->partitions; i++)
		if (topic->held[i].reached < 0 && topic->held[i].end > topic->held[i].low)
			return false;
	return true;
}

int audit_topic_read(
	struct audit_topic *topic, audit_record_handler handler, void *context, struct message *msg)
{
	int64_t progress_ms = timing_now_ms();
	int rc = 0;

	assign(topic);
	while (rc == 0 && !is_read(topic)) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(topic->client, POLL_MS);
		int64_t idle_ms;

		if (message != NULL) {
			rc = take(topic, message, handler, context);
			rd_kafka_message_destroy(message);
			progress_ms = timing_now_ms();
			continue;
		}
		idle_ms = timing_now_ms() - progress_ms;
		if (idle_ms > HIDDEN_MS && has_ends(topic)) {
			log_warning("an open transaction hides the end of topic=%s", topic->name);
			break;
		}
		if (idle_ms > STALLED_MS)
			return fail(topic, "could not be read to its end", msg);
	}
	return rc;
}

int audit_topic_read_on(
	struct audit_topic *topic, audit_record_handler handler, void *context, int timeout_ms)
{
	int64_t deadline = timing_now_ms() + timeout_ms;
	int rc = 0;

	while (rc == 0 && timing_now_ms() < deadline) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(
			topic->client, timeout_ms < POLL_MS ? timeout_ms : POLL_MS);

		if (message == NULL)
			continue;
		rc = take(topic, message, handler, context);
		rd_kafka_message_destroy(message);
	}
	return rc;
}
