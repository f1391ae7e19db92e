/*
 * The view `enrich`: each flow as JSON, exactly once.
 *
 * It has no state but its position. For each partition a transactional producer writes the records
 * and the consumed offset in one transaction; its transactional id belongs to the partition, so
 * whoever takes the partition over aborts what a dead member left open (enrich_position.c). The
 * position also goes to the state topic, because Kafka forgets a group's offsets after a week.
 */
#include "collector/view.h"

#include <inttypes.h>
#include <stdlib.h>

#include "collector/enrich_position.h"
#include "collector/enriched_json.h"
#include "collector/message_records.h"
#include "schemas/base/json.h"
#include "schemas/base/log.h"
#include "schemas/base/timing.h"

#define POLL_MS	      50
#define RETRY_MS      1000
#define BATCH_RECORDS 20000
#define BATCH_MS      500 /* a transaction is open at most about so long */

struct enrich_partition {
	bool is_ours;
	bool is_positioned;
	struct enrich_takeover *takeover; /* NULL: none is under way */
	int64_t retry_at_ms;
	struct kafka_producer *producer;
	struct enrich_state
		state; /* the offset is that behind the last message in the transaction */
	bool is_open;  /* a transaction is */
	int64_t since_ms;
	uint64_t records;
};

struct enrich_view {
	const struct config *config;
	const atomic_bool *stop;
	struct kafka_settings kafka;
	char group[TRANSACTIONAL_ID_BYTES / 2];
	struct enrich_place place;
	struct log_reader *reader;
	struct geo *geo;
	struct message_records records;
	struct enrich_partition *partitions;
	uint32_t partition_count;
	struct buffer json;
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
	view->partitions[number].retry_at_ms = 0;
}

static void on_revoked(void *context, uint32_t number)
{
	struct enrich_view *view = context;

	if (number >= view->partition_count)
		return;
	view->partitions[number].is_ours = false;
	if (view->partitions[number].takeover != NULL)
		enrich_takeover_abandon(view->partitions[number].takeover);
	forget(&view->partitions[number]);
}

/* ---- taking over ---- */

/* The takeover is over: reading begins where it says, or it is tried again. */
static void adopt(struct enrich_view *view, uint32_t number)
{
	struct enrich_partition *partition = &view->partitions[number];
	struct enrich_standing standing = { 0 };
	struct message msg = { 0 };
	int rc = enrich_takeover_end(partition->takeover, &standing, &msg);

	partition->takeover = NULL;
	if (rc == 0) {
		forget(partition);
		partition->producer = standing.producer;
		partition->state = standing.state;
		rc = log_reader_seek(view->reader, number, partition->state.offset);
		partition->is_positioned = rc == 0;
	}
	if (rc == 0 || rc == FAIL_STOPPED)
		return;
	if (rc == FAIL_LIMIT || rc == FAIL_CONFIG) {
		view->fatal = msg;
		view->is_failed = true;
		return;
	}
	partition->retry_at_ms = timing_now_ms() + RETRY_MS;
	log_warning("view enrich waits partition=%u error=\"%s\"", number,
		msg.text[0] != '\0' ? msg.text : "kafka does not answer");
}

/* Each partition by itself: one whose servers are away holds up no other. */
static void recover(struct enrich_view *view)
{
	for (uint32_t i = 0; i < view->partition_count && !view->is_failed; i++) {
		struct enrich_partition *partition = &view->partitions[i];

		if (partition->takeover != NULL) {
			if (enrich_takeover_is_over(partition->takeover))
				adopt(view, i);
			continue;
		}
		if (!partition->is_ours || partition->is_positioned ||
			timing_now_ms() < partition->retry_at_ms)
			continue;
		forget(partition);
		if (enrich_takeover_start(&partition->takeover, &view->place, i) != 0)
			partition->retry_at_ms = timing_now_ms() + RETRY_MS;
	}
}

static void end_takeovers(struct enrich_view *view)
{
	struct enrich_standing standing = { 0 };
	struct message msg;

	for (uint32_t i = 0; view->partitions != NULL && i < view->partition_count; i++)
		if (view->partitions[i].takeover != NULL)
			enrich_takeover_abandon(view->partitions[i].takeover);
	for (uint32_t i = 0; view->partitions != NULL && i < view->partition_count; i++)
		(void)!enrich_takeover_end(view->partitions[i].takeover, &standing, &msg);
}

/* ---- transactions ---- */

/* A transaction that failed: another producer, and the log again from what is committed. */
static void start_again(struct enrich_view *view, uint32_t number)
{
	struct enrich_partition *partition = &view->partitions[number];

	log_info("transaction failed, reading again partition=%u reason=\"%s\"", number,
		kafka_producer_error(partition->producer));
	log_reader_pause(view->reader, number);
	forget(partition);
}

static void commit(struct enrich_view *view, uint32_t number)
{
	struct enrich_partition *partition = &view->partitions[number];
	enum kafka_outcome outcome =
		enrich_position_send(&view->place, number, partition->producer, &partition->state);

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
	if (!partition->is_ours || !partition->is_positioned ||
		message->offset < partition->state.offset)
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
	partition->state.offset = message->offset + 1;
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
	enrich_state_group(
		view->group, view->kafka.prefix, config_text(view->config, OPT_COLLECTOR_GROUP));
	rc = geo_create(&view->geo, view->config);
	if (rc == 0)
		rc = message_records_init(&view->records);
	if (rc == 0)
		rc = log_reader_open(&view->reader, &view->kafka, view->group, &events, msg);
	view->place = (struct enrich_place){ &view->kafka, view->reader, view->group,
		view->partition_count };
	return rc;
}

int view_enrich_run(const struct config *config, const atomic_bool *stop, struct message *msg)
{
	struct enrich_view view = {
		.config = config, .stop = stop, .kafka = kafka_settings_of(config)
	};
	int rc = open_view(&view, msg);

	if (rc == 0)
		rc = loop(&view, msg);
	end_takeovers(&view);
	log_reader_close(view.reader);
	for (uint32_t i = 0; view.partitions != NULL && i < view.partition_count; i++)
		forget(&view.partitions[i]);
	free(view.partitions);
	geo_destroy(view.geo);
	message_records_fini(&view.records);
	buffer_fini(&view.json);
	return rc == FAIL_REMOTE && *stop && !view.is_failed ? 0 : rc;
}
