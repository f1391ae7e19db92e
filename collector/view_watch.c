/*
 * The view `watch`: the records of each closed minute, exactly once.
 *
 * Records are made by messages whose markers close minutes. Behind each of them the position and the
 * partition's time are noted, and are committed together with the records so far: at once, or with
 * those of the next ones when minutes follow each other quickly. The position is where the first open minute begins,
 * so open minutes are read again after a restart; "through" says which of what is read again is in
 * closed minutes already (watch.h).
 *
 *   "kept": {"through": 4711, "time": […]}
 */
#include "collector/view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "collector/message_records.h"
#include "collector/view_frame.h"
#include "collector/watch.h"
#include "schemas/base/json.h"
#include "schemas/base/log.h"
#include "schemas/base/timing.h"

#define BATCH_MS       500   /* a transaction is open at most about so long */
#define QUIET_MESSAGES 20000 /* without a closed minute: the position is committed all the same */

struct watch_view {
	struct view_frame frame;
	struct geo *geo;
	struct message_records records;
	struct watched *watched; /* by partition */
	uint32_t number;	 /* of the partition whose message is being taken */
	enum kafka_outcome outcome;
};

struct watched {
	struct watch *watch;
	int64_t next;	   /* the offset behind the last message taken */
	uint64_t messages; /* since the last commit */
};

static void forgotten(void *context, uint32_t number)
{
	struct watch_view *view = context;

	if (view->watched == NULL)
		return;
	watch_destroy(view->watched[number].watch);
	view->watched[number] = (struct watched){ 0 };
}

/* A record of the partition whose message is being taken. */
static int emit(void *context, enum topic topic, struct bytes record)
{
	struct watch_view *view = context;
	struct kafka_message message = {
		.topic = topic, .partition = view->number, .value = record
	};

	view->outcome = view_frame_begin(&view->frame, view->number);
	if (view->outcome == KAFKA_DONE)
		view->outcome = kafka_send(view->frame.partitions[view->number].producer, &message);
	return view->outcome == KAFKA_DONE ? 0 : FAIL_REMOTE;
}

static int load(struct watch *watch, const json_t *kept)
{
	char *text = json_dumps(json_object_get(kept, "time"), JSON_COMPACT);
	int rc = text == NULL
			 ? FAIL_FORMAT
			 : watch_load(watch, (struct bytes){ (const uint8_t *)text, strlen(text) });

	free(text);
	return rc;
}

/* Goes on where the partition's state says. */
static int adopted(void *context, uint32_t number)
{
	struct watch_view *view = context;
	const struct view_state *state = &view->frame.partitions[number].state;
	struct watch_options options = {
		.partition = number, .geo = view->geo, .emit = emit, .context = view
	};
	json_t *kept = NULL;
	int rc;

	if (state->kept.size > 0)
		kept = json_loadb((const char *)state->kept.data, state->kept.size, 0, NULL);
	rc = watch_create(&view->watched[number].watch, &options,
		json_integer_value(json_object_get(kept, "through")));
	if (rc == 0 && kept != NULL)
		rc = load(view->watched[number].watch, kept);
	if (rc == FAIL_FORMAT) {
		log_error(
			"view watch: the stored time of a partition cannot be read, it begins anew "
			"partition=%u",
			number);
		rc = 0;
	}
	view->watched[number].next = state->offset;
	json_decref(kept);
	return rc;
}

/* What the open transaction will commit: everything emitted, with the place to begin again. */
static void note_position(struct watch_view *view, uint32_t number)
{
	struct watched *watched = &view->watched[number];
	struct view_state *state = &view->frame.partitions[number].state;

	state->offset = watch_low(watched->watch, watched->next);
	buffer_clear(&state->kept);
	buffer_format(&state->kept, "{\"through\":%" PRId64 ",\"time\":", watched->next);
	watch_save(watched->watch, &state->kept);
	buffer_append_text(&state->kept, "}");
	watched->messages = 0;
}

static void commit_if_due(struct watch_view *view, uint32_t number, bool at_once)
{
	const struct view_partition *partition = &view->frame.partitions[number];

	if (partition->is_open && (at_once || timing_now_ms() - partition->since_ms >= BATCH_MS))
		view_frame_commit(&view->frame, number);
}

static int take_item(struct watch_view *view, const struct container_item *item,
	const struct log_message *message)
{
	struct watch *watch = view->watched[message->partition].watch;
	const struct origin *origin = &view->records.origin;

	if (item->kind == ITEM_FLOW)
		return watch_flow(watch, origin, &item->flow, message->offset);
	if (item->kind == ITEM_MARKER)
		return watch_marker(
			watch, origin, &item->marker, message->append_ms, message->offset);
	return 0;
}

/* What cannot be read is put aside by enrich, which reads the same messages. */
static int take_records(struct watch_view *view, const struct log_message *message)
{
	struct message reason = { 0 };
	int rc = message_records_decode(&view->records, message->value, &reason);

	if (rc == FAIL_FORMAT) {
		log_warning("message left out partition=%u offset=%" PRId64 " reason=\"%s\"",
			message->partition, message->offset, reason.text);
		return 0;
	}
	for (size_t i = 0; rc == 0 && i < view->records.count; i++)
		rc = take_item(view, &view->records.items[i], message);
	return rc;
}

static void take(void *context, const struct log_message *message)
{
	struct watch_view *view = context;
	struct watched *watched = &view->watched[message->partition];
	uint64_t closed = watch_closed(watched->watch);

	if (message->offset < watched->next)
		return; /* delivered before the seek took effect */
	view->number = message->partition;
	view->outcome = KAFKA_DONE;
	if (take_records(view, message) != 0) {
		if (view->outcome == KAFKA_DONE)
			log_error("out of memory, reading again partition=%u", message->partition);
		view_frame_start_again(&view->frame, message->partition);
		return;
	}
	watched->next = message->offset + 1;
	watched->messages++;
	if (watch_closed(watched->watch) == closed && watched->messages < QUIET_MESSAGES)
		return;
	if (watch_settle(watched->watch) != 0 ||
		view_frame_begin(&view->frame, message->partition) != KAFKA_DONE) {
		view_frame_start_again(&view->frame, message->partition);
		return;
	}
	note_position(view, message->partition);
	commit_if_due(view, message->partition, false);
}

static void commit_due(void *context, bool all)
{
	struct watch_view *view = context;

	geo_refresh(view->geo);
	for (uint32_t i = 0; i < view->frame.partition_count; i++)
		commit_if_due(view, i, all);
}

int view_watch_run(const struct config *config, const atomic_bool *stop, struct message *msg)
{
	struct watch_view view = { 0 };
	struct view_frame_options options = { "watch", config, stop, adopted, forgotten, take,
		commit_due, &view };
	int rc = view_frame_open(&view.frame, &options, msg);

	if (rc == 0)
		rc = geo_create(&view.geo, config);
	if (rc == 0)
		rc = message_records_init(&view.records);
	if (rc == 0) {
		view.watched = calloc(view.frame.partition_count, sizeof(*view.watched));
		rc = view.watched != NULL ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = view_frame_run(&view.frame, msg);
	view_frame_close(&view.frame);
	free(view.watched);
	geo_destroy(view.geo);
	message_records_fini(&view.records);
	return rc == FAIL_REMOTE && *stop && !view.frame.is_failed ? 0 : rc;
}
