/*
 * The view `enrich`: each flow as JSON, exactly once. It has no state but its position.
 */
#include "collector/view.h"

#include <stdlib.h>

#include "collector/enriched_json.h"
#include "collector/message_records.h"
#include "collector/view_frame.h"
#include "schemas/base/timing.h"

#define BATCH_RECORDS 20000
#define BATCH_MS      500 /* a transaction is open at most about so long */

struct enrich_view {
	struct view_frame frame;
	struct geo *geo;
	struct message_records records;
	uint64_t *pending; /* records in the open transaction, by partition */
	struct buffer json;
};

static int adopted(void *context, uint32_t number)
{
	(void)context;
	(void)number;
	return 0;
}

static void forgotten(void *context, uint32_t number)
{
	struct enrich_view *view = context;

	if (view->pending != NULL)
		view->pending[number] = 0;
}

static enum kafka_outcome send_flow(
	struct enrich_view *view, uint32_t number, const struct flow_record *flow)
{
	struct address actor = flow_actor(flow);
	struct kafka_message message = { .topic = TOPIC_ENRICHED, .partition = number };

	buffer_clear(&view->json);
	enriched_json(&view->json, &view->records.origin, flow, geo_find(view->geo, &actor));
	message.value = (struct bytes){ view->json.data, view->json.size };
	return kafka_send(view->frame.partitions[number].producer, &message);
}

static enum kafka_outcome send_records(struct enrich_view *view, const struct log_message *message)
{
	enum kafka_outcome outcome = KAFKA_DONE;
	struct message reason = { 0 };
	int rc = message_records_decode(&view->records, message->value, &reason);

	if (rc != 0)
		return view_frame_poison(
			&view->frame, message, rc == FAIL_FORMAT ? reason.text : error_text(rc));
	for (size_t i = 0; outcome == KAFKA_DONE && i < view->records.count; i++) {
		if (view->records.items[i].kind != ITEM_FLOW)
			continue;
		outcome = send_flow(view, message->partition, &view->records.items[i].flow);
		view->pending[message->partition]++;
	}
	return outcome;
}

static bool is_due(const struct enrich_view *view, uint32_t number)
{
	const struct view_partition *partition = &view->frame.partitions[number];

	return partition->is_open && (view->pending[number] >= BATCH_RECORDS ||
					     timing_now_ms() - partition->since_ms >= BATCH_MS);
}

static void commit(struct enrich_view *view, uint32_t number)
{
	view->pending[number] = 0;
	view_frame_commit(&view->frame, number);
}

static void take(void *context, const struct log_message *message)
{
	struct enrich_view *view = context;
	struct view_partition *partition = &view->frame.partitions[message->partition];
	enum kafka_outcome outcome;

	if (message->offset < partition->state.offset)
		return; /* delivered before the seek took effect */
	outcome = view_frame_begin(&view->frame, message->partition);
	if (outcome == KAFKA_DONE)
		outcome = send_records(view, message);
	if (outcome != KAFKA_DONE) {
		view_frame_start_again(&view->frame, message->partition);
		return;
	}
	partition->state.offset = message->offset + 1;
	if (is_due(view, message->partition))
		commit(view, message->partition);
}

static void commit_due(void *context, bool all)
{
	struct enrich_view *view = context;

	geo_refresh(view->geo);
	for (uint32_t i = 0; i < view->frame.partition_count; i++)
		if (is_due(view, i) || (all && view->frame.partitions[i].is_open))
			commit(view, i);
}

int view_enrich_run(const struct config *config, const atomic_bool *stop, struct message *msg)
{
	struct enrich_view view = { 0 };
	struct view_frame_options options = { "enrich", config, stop, adopted, forgotten, take,
		commit_due, &view };
	int rc = view_frame_open(&view.frame, &options, msg);

	if (rc == 0)
		rc = geo_create(&view.geo, config);
	if (rc == 0)
		rc = message_records_init(&view.records);
	if (rc == 0) {
		view.pending = calloc(view.frame.partition_count, sizeof(*view.pending));
		rc = view.pending != NULL ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = view_frame_run(&view.frame, msg);
	view_frame_close(&view.frame);
	free(view.pending);
	geo_destroy(view.geo);
	message_records_fini(&view.records);
	buffer_fini(&view.json);
	return rc == FAIL_REMOTE && *stop && !view.frame.is_failed ? 0 : rc;
}
