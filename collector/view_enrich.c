/*
 * The view `enrich`: each flow as JSON, exactly once.
 *
 * It has no state. For each partition a transactional producer writes the records and the consumed
 * offset in one transaction; its transactional id belongs to the partition, so whoever takes the
 * partition over aborts what a dead member left open. The offset also goes to the state topic,
 * because Kafka forgets a group's offsets after a week.
 */
#include "collector/view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "collector/enriched_json.h"
#include "collector/log_reader.h"
#include "collector/message_records.h"
#include "schemas/base/json.h"
#include "schemas/base/log.h"
#include "schemas/base/timing.h"

#define POLL_MS		 50
#define RETRY_MS	 1000
#define INIT_TIMEOUT_MS	 10000
#define STATE_TIMEOUT_MS 30000
#define BATCH_RECORDS	 20000
#define BATCH_MS	 500 /* a transaction is open at most about so long */

struct enrich_partition {
	bool is_ours;
	bool is_positioned;
	struct kafka_producer *producer;
	bool is_open; /* a transaction is */
	int64_t since_ms;
	uint64_t records;
	int64_t next; /* offset behind the last message in the transaction */
};

struct enrich_view {
	const struct config *config;
	const atomic_bool *stop;
	struct kafka_settings kafka;
	char group[TRANSACTIONAL_ID_BYTES / 2];
	struct log_reader *reader;
	struct geo *geo;
	struct message_records records;
	struct enrich_partition *partitions;
	uint32_t partition_count;
	struct buffer json;
	int64_t retry_at_ms;
	struct message fatal;
	bool is_failed;
};

/* Gives the partition's producer up; what it had open is aborted by the next one's init. */
static void forget(struct enrich_partition *partition)
{
	kafka_producer_destroy(partition->producer);
	partition->producer = NULL;
	partition->is_open = false;
	partition->is_positioned = false;
	partition->records = 0;
}

static void on_assigned(void *context, uint32_t number)
{
	struct enrich_view *view = context;

	if (number >= view->partition_count) {
		message_set(&view->fatal,
			"the flows topic has more partitions than when this program started; their "
			"number must never change");
		view->is_failed = true;
		return;
	}
	view->partitions[number].is_ours = true;
	view->partitions[number].is_positioned = false;
	view->retry_at_ms = 0;
}

static void on_revoked(void *context, uint32_t number)
{
	struct enrich_view *view = context;

	if (number >= view->partition_count)
		return;
	view->partitions[number].is_ours = false;
	forget(&view->partitions[number]);
}

static void ids_of(const struct enrich_view *view, uint32_t number,
	char transactional_id[TRANSACTIONAL_ID_BYTES])
{
	snprintf(transactional_id, TRANSACTIONAL_ID_BYTES, "%s.%u", view->group, number);
}

/* The position that the state topic holds, -1 none. */
static int state_position(
	struct enrich_view *view, const char *key, int64_t *out, struct message *msg)
{
	struct buffer value = { 0 };
	json_t *json = NULL;
	int rc = kafka_last_value(&view->kafka, TOPIC_STATE, key, STATE_TIMEOUT_MS, &value, msg);

	*out = -1;
	if (rc == 0 && value.size > 0)
		json = json_loadb((const char *)value.data, value.size, 0, NULL);
	if (json_is_integer(json_object_get(json, "offset")))
		*out = json_integer_value(json_object_get(json, "offset"));
	json_decref(json);
	buffer_fini(&value);
	return rc;
}

/* Fence, then ask for the committed offset, then the state: in this order nothing can move in between. */
static int take_over(
	struct enrich_view *view, uint32_t number, int64_t *offset, struct message *msg)
{
	struct enrich_partition *partition = &view->partitions[number];
	int64_t committed, stored;
	char id[TRANSACTIONAL_ID_BYTES];
	int rc;

	ids_of(view, number, id);
	forget(partition);
	rc = kafka_producer_create(&partition->producer, &view->kafka, id, msg);
	if (rc == 0)
		rc = kafka_producer_init(partition->producer, INIT_TIMEOUT_MS, view->stop, msg);
	if (rc == 0)
		rc = log_reader_committed(view->reader, number, &committed);
	if (rc == 0)
		rc = state_position(view, id, &stored, msg);
	if (rc == 0)
		*offset = committed > stored ? committed : stored;
	return rc;
}

static int position(struct enrich_view *view, uint32_t number, struct message *msg)
{
	int64_t offset = -1, low, high;
	int rc = take_over(view, number, &offset, msg);

	if (rc == 0)
		rc = log_reader_bounds(view->reader, number, &low, &high);
	if (rc != 0)
		return rc;
	if (offset > high) {
		message_set(msg,
			"view enrich stands at offset %" PRId64
			" of partition %u, but the topic ends at %" PRId64
			": it is another topic; give another --topic-prefix or --group",
			offset, number, high);
		return FAIL_LIMIT;
	}
	if (offset >= 0 && offset < low)
		log_error("the topic no longer holds what was not enriched partition=%u "
			  "from_offset=%" PRId64 " to_offset=%" PRId64,
			number, offset, low);
	if (offset < low)
		offset = low;
	rc = log_reader_seek(view->reader, number, offset);
	view->partitions[number].is_positioned = rc == 0;
	view->partitions[number].next = offset;
	return rc;
}

static void recover(struct enrich_view *view)
{
	struct message msg = { 0 };

	if (timing_now_ms() < view->retry_at_ms)
		return;
	view->retry_at_ms = timing_now_ms() + RETRY_MS;
	for (uint32_t i = 0; i < view->partition_count; i++) {
		int rc;

		if (!view->partitions[i].is_ours || view->partitions[i].is_positioned)
			continue;
		rc = position(view, i, &msg);
		if (rc == FAIL_LIMIT || rc == FAIL_CONFIG) {
			view->fatal = msg;
			view->is_failed = true;
			return;
		}
		if (rc != 0) {
			log_warning("view enrich waits partition=%u error=\"%s\"", i,
				msg.text[0] != '\0' ? msg.text : "kafka does not answer");
			return;
		}
	}
}

static bool needs_recovery(const struct enrich_view *view)
{
	for (uint32_t i = 0; i < view->partition_count; i++)
		if (view->partitions[i].is_ours && !view->partitions[i].is_positioned)
			return true;
	return false;
}

/* A transaction that failed: another producer, and the log again from what is committed. */
static void start_again(struct enrich_view *view, uint32_t number)
{
	struct enrich_partition *partition = &view->partitions[number];

	log_info("transaction failed, reading again partition=%u reason=\"%s\"", number,
		kafka_producer_error(partition->producer));
	log_reader_pause(view->reader, number);
	forget(partition);
}

static enum kafka_outcome send_position(struct enrich_view *view, uint32_t number)
{
	struct enrich_partition *partition = &view->partitions[number];
	const void *group = log_reader_group(view->reader);
	char key[TRANSACTIONAL_ID_BYTES], value[64];
	int size = snprintf(value, sizeof(value), "{\"offset\":%" PRId64 "}", partition->next);
	struct kafka_message message = { .topic = TOPIC_STATE,
		.value = { (const uint8_t *)value, (size_t)size } };
	enum kafka_outcome outcome;

	ids_of(view, number, key);
	message.key = (struct bytes){ (const uint8_t *)key, strlen(key) };
	message.partition = topic_key_partition(key, view->partition_count);
	outcome = kafka_send(partition->producer, &message);
	if (outcome == KAFKA_DONE)
		outcome = kafka_send_offset(
			partition->producer, group, TOPIC_FLOWS, number, partition->next);
	log_reader_group_release(group);
	return outcome;
}

static void commit(struct enrich_view *view, uint32_t number)
{
	struct enrich_partition *partition = &view->partitions[number];
	enum kafka_outcome outcome = send_position(view, number);

	if (outcome == KAFKA_DONE)
		outcome = kafka_commit(partition->producer);
	if (outcome != KAFKA_DONE) {
		start_again(view, number);
		return;
	}
	partition->is_open = false;
	partition->records = 0;
}

static bool is_due(const struct enrich_partition *partition)
{
	return partition->is_open && (partition->records >= BATCH_RECORDS ||
					     timing_now_ms() - partition->since_ms >= BATCH_MS);
}

static enum kafka_outcome send_flow(
	struct enrich_view *view, uint32_t number, const struct flow_record *flow)
{
	struct address actor = flow_actor(flow);
	struct kafka_message message = { .topic = TOPIC_ENRICHED, .partition = number };

	buffer_clear(&view->json);
	enriched_json(&view->json, &view->records.origin, flow, geo_find(view->geo, &actor));
	message.value = (struct bytes){ view->json.data, view->json.size };
	return kafka_send(view->partitions[number].producer, &message);
}

static enum kafka_outcome send_poison(
	struct enrich_view *view, const struct log_message *poison, const char *reason)
{
	char topic[TOPIC_NAME_BYTES], partition[24], offset[24];
	struct kafka_header headers[] = { { "topic", topic }, { "partition", partition },
		{ "offset", offset }, { "reason", reason } };
	struct kafka_message message = { .topic = TOPIC_DEADLETTER,
		.key = poison->key,
		.value = poison->value,
		.headers = headers,
		.header_count = 4 };

	log_warning("poison message put aside partition=%u offset=%" PRId64 " reason=\"%s\"",
		poison->partition, poison->offset, reason);
	topic_name(topic, view->kafka.prefix, TOPIC_FLOWS);
	snprintf(partition, sizeof(partition), "%u", poison->partition);
	snprintf(offset, sizeof(offset), "%" PRId64, poison->offset);
	return kafka_send(view->partitions[poison->partition].producer, &message);
}

static enum kafka_outcome send_records(struct enrich_view *view, const struct log_message *message)
{
	struct enrich_partition *partition = &view->partitions[message->partition];
	enum kafka_outcome outcome = KAFKA_DONE;
	struct message reason = { 0 };
	int rc = message_records_decode(&view->records, message->value, &reason);

	if (rc != 0)
		return send_poison(view, message, rc == FAIL_FORMAT ? reason.text : error_text(rc));
	for (size_t i = 0; outcome == KAFKA_DONE && i < view->records.count; i++) {
		if (view->records.items[i].kind != ITEM_FLOW)
			continue;
		outcome = send_flow(view, message->partition, &view->records.items[i].flow);
		partition->records++;
	}
	return outcome;
}

static void take(struct enrich_view *view, const struct log_message *message)
{
	struct enrich_partition *partition;
	enum kafka_outcome outcome = KAFKA_DONE;

	if (message->partition >= view->partition_count)
		return;
	partition = &view->partitions[message->partition];
	if (!partition->is_ours || !partition->is_positioned || message->offset < partition->next)
		return; /* delivered before the seek took effect */
	if (!partition->is_open) {
		outcome = kafka_begin(partition->producer);
		partition->is_open = outcome == KAFKA_DONE;
		partition->since_ms = timing_now_ms();
	}
	if (outcome == KAFKA_DONE)
		outcome = send_records(view, message);
	if (outcome != KAFKA_DONE) {
		start_again(view, message->partition);
		return;
	}
	partition->next = message->offset + 1;
	if (is_due(partition))
		commit(view, message->partition);
}

static void commit_due(struct enrich_view *view, bool all)
{
	for (uint32_t i = 0; i < view->partition_count; i++)
		if (is_due(&view->partitions[i]) || (all && view->partitions[i].is_open))
			commit(view, i);
}

static int loop(struct enrich_view *view, struct message *msg)
{
	while (!*view->stop && !view->is_failed) {
		struct log_message message;
		int rc = log_reader_poll(view->reader, POLL_MS, &message, msg);

		if (rc == 1) {
			take(view, &message);
			log_message_release(&message);
		} else if (rc == FAIL_LIMIT) {
			log_warning("view enrich looks for its position again reason=\"%s\"",
				msg->text);
			for (uint32_t i = 0; i < view->partition_count; i++)
				forget(&view->partitions[i]);
		}
		geo_refresh(view->geo);
		commit_due(view, false);
		if (needs_recovery(view))
			recover(view);
	}
	if (view->is_failed) {
		*msg = view->fatal;
		return FAIL_REMOTE;
	}
	commit_due(view, true);
	return 0;
}

static int open_view(struct enrich_view *view, struct message *msg)
{
	struct log_reader_events events = { on_assigned, on_revoked, view };
	int rc;

	do {
		rc = kafka_partition_count(
			&view->kafka, TOPIC_FLOWS, 3000, &view->partition_count, msg);
		if (rc != 0)
			log_warning("view enrich waits for kafka error=\"%s\"", msg->text);
	} while (rc == FAIL_REMOTE && !*view->stop);
	if (rc != 0)
		return rc;
	view->partitions = calloc(view->partition_count, sizeof(*view->partitions));
	if (view->partitions == NULL)
		return -ENOMEM;
	snprintf(view->group, sizeof(view->group), "%s.%s.enrich", view->kafka.prefix,
		config_text(view->config, OPT_COLLECTOR_GROUP));
	rc = geo_create(&view->geo, view->config);
	if (rc == 0)
		rc = message_records_init(&view->records);
	return rc == 0 ? log_reader_open(&view->reader, &view->kafka, view->group, &events, msg)
		       : rc;
}

int view_enrich_run(const struct config *config, const atomic_bool *stop, struct message *msg)
{
	struct enrich_view view = {
		.config = config, .stop = stop, .kafka = kafka_settings_of(config)
	};
	int rc = open_view(&view, msg);

	if (rc == 0)
		rc = loop(&view, msg);
	log_reader_close(view.reader);
	for (uint32_t i = 0; view.partitions != NULL && i < view.partition_count; i++)
		forget(&view.partitions[i]);
	free(view.partitions);
	geo_destroy(view.geo);
	message_records_fini(&view.records);
	buffer_fini(&view.json);
	return rc == FAIL_REMOTE && *stop && !view.is_failed ? 0 : rc;
}
