/*
 * A transactional producer. What was measured of librdkafka 2.0.2 against a real broker: fenced
 * and timed out look the same (_FENCED, also through _FATAL); an abort can fail fatally; once an
 * abortable UNKNOWN was seen. So anything fatal, and anything that neither retry nor abort
 * resolves, is "start anew": whoever has the cursor finds out what became of the transaction.
 */
#include "schemas/base/kafka_client.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/log.h"
#include "schemas/base/timing.h"

#define INIT_TRY_MS    1000
#define QUEUE_FULL_MS  50
#define RETRIES_MAX    20
#define RETRY_PAUSE_MS 100

struct kafka_producer {
	rd_kafka_t *client;
	char prefix[TOPIC_NAME_BYTES];
	char brokers[256];
	char error[256];
};

/* clang-format off */
static const char *const producer_properties[][2] = {
	{ "enable.idempotence", "true" },
	{ "transaction.timeout.ms", "10000" },
	{ "message.timeout.ms", "10000" }, /* may not exceed the transaction's */
	{ "socket.timeout.ms", "10000" },
	{ "compression.codec", "zstd" },
	{ "message.max.bytes", "8388608" },
	{ "linger.ms", "5" },
	{ "queue.buffering.max.messages", "100000" },
	{ "queue.buffering.max.kbytes", "65536" },
};
/* clang-format on */

int kafka_producer_create(struct kafka_producer **out, const struct kafka_settings *settings,
	const char *transactional_id, struct message *msg)
{
	struct kafka_producer *producer = calloc(1, sizeof(*producer));
	rd_kafka_conf_t *conf;
	char reason[256];
	int rc = 0;

	if (producer == NULL)
		return -ENOMEM;
	snprintf(producer->prefix, sizeof(producer->prefix), "%s", settings->prefix);
	snprintf(producer->brokers, sizeof(producer->brokers), "%s", settings->brokers);
	conf = kafka_client_conf(settings, msg);
	if (conf == NULL) {
		free(producer);
		return FAIL_CONFIG;
	}
	for (size_t i = 0;
		rc == 0 && i < sizeof(producer_properties) / sizeof(producer_properties[0]); i++)
		rc = kafka_client_set(
			conf, producer_properties[i][0], producer_properties[i][1], msg);
	if (rc == 0)
		rc = kafka_client_set(conf, "transactional.id", transactional_id, msg);
	if (rc == 0) {
		producer->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
		if (producer->client == NULL) {
			message_set(msg, "kafka: %s", reason);
			rc = FAIL_CONFIG;
		}
	}
	if (rc != 0) {
		if (producer->client == NULL)
			rd_kafka_conf_destroy(conf);
		free(producer);
		return rc;
	}
	*out = producer;
	return 0;
}

static void keep_error(struct kafka_producer *producer, const char *text)
{
	snprintf(producer->error, sizeof(producer->error), "%s", text);
}

int kafka_producer_init(struct kafka_producer *producer, int timeout_ms, const atomic_bool *stop,
	struct message *msg)
{
	int64_t deadline = timing_now_ms() + timeout_ms;

	for (;;) {
		rd_kafka_error_t *error = rd_kafka_init_transactions(producer->client, INIT_TRY_MS);
		bool is_retriable;

		if (error == NULL)
			return 0;
		keep_error(producer, rd_kafka_error_string(error));
		is_retriable = rd_kafka_error_is_retriable(error);
		rd_kafka_error_destroy(error);
		if (stop != NULL && *stop)
			return FAIL_STOPPED;
		if (!is_retriable || timing_now_ms() >= deadline) {
			message_set(msg, "kafka at %s: %s", producer->brokers, producer->error);
			return FAIL_REMOTE;
		}
	}
}

void kafka_producer_destroy(struct kafka_producer *producer)
{
	if (producer == NULL)
		return;
	/* nothing may linger: what is not committed is not wanted */
	rd_kafka_purge(producer->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_destroy_flags(producer->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	free(producer);
}

int kafka_producer_partition_count(struct kafka_producer *producer, enum topic topic,
	int timeout_ms, uint32_t *out, struct message *msg)
{
	char name[TOPIC_NAME_BYTES];

	return kafka_client_partitions(producer->client, producer->brokers,
		topic_name(name, producer->prefix, topic), timing_now_ms() + timeout_ms, out, msg);
}

const char *kafka_producer_error(const struct kafka_producer *producer)
{
	return producer->error;
}

enum kafka_outcome kafka_abort(struct kafka_producer *producer)
{
	for (unsigned tries = 0; tries < RETRIES_MAX; tries++) {
		rd_kafka_error_t *error = rd_kafka_abort_transaction(producer->client, -1);
		bool is_retriable;

		if (error == NULL)
			return KAFKA_ABORTED;
		is_retriable = rd_kafka_error_is_retriable(error);
		keep_error(producer, rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
		if (!is_retriable)
			break;
		timing_pause_ms(RETRY_PAUSE_MS);
	}
	return KAFKA_ANEW;
}

/* Takes the error over; says what follows from it. `retries` is counted by the caller. */
static enum kafka_outcome outcome_of(
	struct kafka_producer *producer, rd_kafka_error_t *error, bool *again)
{
	bool is_fatal = rd_kafka_error_is_fatal(error);
	bool is_abortable = rd_kafka_error_txn_requires_abort(error);
	bool is_retriable = rd_kafka_error_is_retriable(error);

	keep_error(producer, rd_kafka_error_string(error));
	log_debug("kafka transaction error=%s fatal=%d abortable=%d retriable=%d",
		rd_kafka_error_name(error), is_fatal, is_abortable, is_retriable);
	rd_kafka_error_destroy(error);
	*again = false;
	if (is_fatal)
		return KAFKA_ANEW;
	if (is_abortable)
		return kafka_abort(producer);
	*again = is_retriable;
	return KAFKA_ANEW;
}

enum kafka_outcome kafka_begin(struct kafka_producer *producer)
{
	rd_kafka_error_t *error = rd_kafka_begin_transaction(producer->client);

	if (error == NULL)
		return KAFKA_DONE;
	keep_error(producer, rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	return KAFKA_ANEW;
}

static rd_kafka_headers_t *headers_of(const struct kafka_message *message)
{
	rd_kafka_headers_t *headers;

	if (message->header_count == 0)
		return NULL;
	headers = rd_kafka_headers_new(message->header_count);
	for (size_t i = 0; i < message->header_count; i++)
		rd_kafka_header_add(
			headers, message->headers[i].name, -1, message->headers[i].value, -1);
	return headers;
}

static rd_kafka_resp_err_t produce(
	struct kafka_producer *producer, const char *topic, const struct kafka_message *message)
{
	rd_kafka_headers_t *headers = headers_of(message);
	rd_kafka_resp_err_t err;

	/* librdkafka takes value and key by pointers to non-const but copies them (MSG_F_COPY) */
	err = rd_kafka_producev(producer->client, RD_KAFKA_V_TOPIC(topic),
		RD_KAFKA_V_PARTITION((int32_t)message->partition),
		RD_KAFKA_V_KEY((void *)(uintptr_t)message->key.data, message->key.size),
		RD_KAFKA_V_VALUE((void *)(uintptr_t)message->value.data, message->value.size),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers),
		RD_KAFKA_V_END);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR && headers != NULL)
		rd_kafka_headers_destroy(headers);
	return err;
}

enum kafka_outcome kafka_send(struct kafka_producer *producer, const struct kafka_message *message)
{
	int64_t deadline = timing_now_ms() + KAFKA_TRANSACTION_TIMEOUT_MS;
	char topic[TOPIC_NAME_BYTES];
	rd_kafka_resp_err_t err;

	topic_name(topic, producer->prefix, message->topic);
	for (;;) {
		err = produce(producer, topic, message);
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			return KAFKA_DONE;
		if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL || timing_now_ms() >= deadline)
			break;
		rd_kafka_poll(producer->client, QUEUE_FULL_MS);
	}
	keep_error(producer, rd_kafka_err2str(err));
	if (err == RD_KAFKA_RESP_ERR__FATAL || err == RD_KAFKA_RESP_ERR__FENCED)
		return KAFKA_ANEW;
	return kafka_abort(producer);
}

enum kafka_outcome kafka_send_offset(struct kafka_producer *producer, const void *group,
	enum topic topic, uint32_t partition, int64_t next_offset)
{
	rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(1);
	char name[TOPIC_NAME_BYTES];
	enum kafka_outcome outcome = KAFKA_DONE;
	bool again = true;

	topic_name(name, producer->prefix, topic);
	rd_kafka_topic_partition_list_add(offsets, name, (int32_t)partition)->offset = next_offset;
	for (unsigned tries = 0; again && tries < RETRIES_MAX; tries++) {
		rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(
			producer->client, offsets, group, KAFKA_TRANSACTION_TIMEOUT_MS);

		outcome = error == NULL ? KAFKA_DONE : outcome_of(producer, error, &again);
		again = error != NULL && again;
	}
	rd_kafka_topic_partition_list_destroy(offsets);
	return outcome;
}

enum kafka_outcome kafka_commit(struct kafka_producer *producer)
{
	enum kafka_outcome outcome = KAFKA_ANEW;
	bool again = true;

	for (unsigned tries = 0; again && tries < RETRIES_MAX; tries++) {
		rd_kafka_error_t *error = rd_kafka_commit_transaction(producer->client, -1);

		if (error == NULL)
			return KAFKA_DONE;
		outcome = outcome_of(producer, error, &again);
	}
	return outcome;
}
