/*
 * The view `count`: Redis counters, exact by compare-and-apply.
 *
 * For each partition a batch [from, next) is tallied in memory and applied by a script if, and
 * only if, the stored watermark equals `from`. Whatever goes wrong (Redis lost something, another
 * member was faster, a reply got lost) has one cure: forget what is pending, read the stored
 * watermark, read the log from there.
 */
#include "collector/view.h"

#include <stdlib.h>

#include "collector/log_reader.h"
#include "collector/message_records.h"
#include "collector/redis_batch.h"
#include "schemas/base/log.h"
#include "schemas/base/signals.h"
#include "schemas/base/timing.h"

#define POLL_MS	       100
#define PARTITIONS_MAX 65536 /* far above what a topic has */
#define RETRY_S	       1
#define VERIFY_S       5 /* a Redis that was emptied or restored heals so soon, also without traffic */

/*
 * What ends a batch beside its flows and its age: the script's time, because Redis serves nobody else
 * meanwhile. Measured about 100 ms a call, at most 205 (six demo hours of 300,000 frames; 1,800 with
 * 1,000,000 pairs and keys for every sketch). Ten times as many would not save Redis's time there;
 * dense loads pay 1.3 s in place of 0.3 for 4 M flows.
 */
#define ACTORS_MAX   100000 /* pairs of counter and actor */
#define COUNTERS_MAX 4000   /* by minute, dimension and label */

/* One of our partitions. */
struct count_partition {
	bool is_ours;
	bool is_positioned; /* `from` is what Redis has stored, and reading goes on from there */
	bool is_stored;	    /* false: Redis has no watermark yet */
	int64_t from;
	int64_t next;	 /* offset behind the last tallied message */
	int64_t since_s; /* when the batch began */
	struct tally tally;
};

struct count_view {
	const struct config *config;
	const atomic_bool *stop;
	struct log_reader *reader;
	struct redis_store *store;
	struct redis_batch batch;
	struct redis_lifetimes lifetimes;
	struct geo *geo;
	struct message_records records;
	struct count_partition *partitions;
	uint32_t partition_count;
	uint64_t batch_flows;
	int64_t batch_s;
	int64_t retry_at_s;
	int64_t verify_at_s;
	uint64_t applied_flows, applied_batches;
	int64_t *limits;      /* a rebuild: where the live keys stand; NULL: the view itself */
	struct message fatal; /* what cannot be cured by trying again */
	bool is_failed;
};

static void forget(struct count_partition *partition)
{
	tally_clear(&partition->tally);
	partition->is_positioned = false;
}

static void on_assigned(void *context, uint32_t number)
{
	struct count_view *view = context;

	if (number >= view->partition_count) {
		message_set(&view->fatal,
			"the flows topic has more partitions than when this program started; their "
			"number must never change");
		view->is_failed = true;
		return;
	}
	view->partitions[number].is_ours = true;
	forget(&view->partitions[number]);
	view->retry_at_s = 0;
}

static void on_revoked(void *context, uint32_t number)
{
	struct count_view *view = context;

	if (number >= view->partition_count)
		return;
	view->partitions[number].is_ours = false;
	forget(&view->partitions[number]);
}

/* ---- where to start ---- */

/*
 * The topic no longer holds what Redis waits for, or, where Redis is new or was emptied, what came
 * first: the watermark moves to what it does hold, and the gap is recorded.
 */
static int skip_gap(
	struct count_view *view, uint32_t number, int64_t stored, int64_t low, struct message *msg)
{
	int64_t from = stored < 0 ? 0 : stored;
	enum apply_outcome outcome;
	int rc = redis_batch_build(&view->batch, &view->partitions[number].tally,
		redis_store_prefix(view->store), &view->lifetimes, number);

	if (rc != 0)
		return rc;
	redis_batch_log_gap(&view->batch, redis_store_prefix(view->store), number, from, low);
	outcome = redis_store_apply(view->store, number, stored, low, &view->batch, msg);
	if (outcome == APPLY_DONE)
		log_error("the topic no longer holds what redis had not counted partition=%u "
			  "from_offset=%lld to_offset=%lld",
			number, (long long)from, (long long)low);
	return outcome == APPLY_DONE || outcome == APPLY_MISMATCH ? FAIL_STOPPED : FAIL_REMOTE;
}

static int find_position(
	struct count_view *view, uint32_t number, int64_t *stored, struct message *msg)
{
	int64_t low, high;
	int rc = redis_store_watermark(view->store, number, stored, msg);

	if (rc == 0)
		rc = log_reader_bounds(view->reader, number, &low, &high);
	if (rc != 0)
		return rc;
	if (*stored > high) {
		message_set(msg,
			"redis has counted partition %u up to offset %lld, but the topic ends at "
			"%lld: it is "
			"another topic; give another --topic-prefix or empty redis",
			number, (long long)*stored, (long long)high);
		return FAIL_LIMIT;
	}
	if (*stored < low && low > 0)
		return skip_gap(view, number, *stored, low, msg);
	return 0;
}

static int position(struct count_view *view, uint32_t number, struct message *msg)
{
	struct count_partition *partition = &view->partitions[number];
	int64_t stored = -1, low, high;
	int rc = find_position(view, number, &stored, msg);

	if (rc == 0 && stored < 0)
		rc = log_reader_bounds(view->reader, number, &low, &high);
	if (rc != 0)
		return rc;
	partition->is_stored = stored >= 0;
	partition->from = partition->next = stored >= 0 ? stored : low;
	tally_clear(&partition->tally);
	rc = log_reader_seek(view->reader, number, partition->from);
	partition->is_positioned = rc == 0;
	return rc;
}

/* Connects and positions what needs it; at most one try a second. */
static void recover(struct count_view *view)
{
	struct message msg = { 0 };
	int rc;

	if (timing_now_s() < view->retry_at_s)
		return;
	view->retry_at_s = timing_now_s() + RETRY_S;
	rc = redis_store_connect(view->store, true, &msg);
	for (uint32_t i = 0; rc == 0 && i < view->partition_count; i++) {
		struct count_partition *partition = &view->partitions[i];

		if (!partition->is_ours || partition->is_positioned)
			continue;
		rc = position(view, i, &msg);
		if (rc == FAIL_STOPPED) { /* moved past a gap: look again at once */
			view->retry_at_s = 0;
			rc = 0;
		}
	}
	if (rc == FAIL_LIMIT || rc == FAIL_CONFIG || rc == FAIL_USAGE) {
		view->fatal = msg;
		view->is_failed = true;
	} else if (rc != 0) {
		log_warning("view count waits error=\"%s\"",
			msg.text[0] != '\0' ? msg.text : "kafka does not answer");
	}
}

static bool needs_recovery(const struct count_view *view)
{
	for (uint32_t i = 0; i < view->partition_count; i++)
		if (view->partitions[i].is_ours && !view->partitions[i].is_positioned)
			return true;
	return false;
}

/* ---- applying ---- */

static void lose_position(struct count_view *view, uint32_t number)
{
	log_reader_pause(view->reader, number);
	forget(&view->partitions[number]);
}

/*
 * Redis does not answer, and each question would wait as long again: all partitions pause, so that
 * nothing piles up, and between two tries the group hears from us (max.poll.interval.ms).
 */
static void lose_redis(struct count_view *view, const char *error)
{
	log_warning("redis did not answer, asking it for its watermarks error=\"%s\"", error);
	for (uint32_t i = 0; i < view->partition_count; i++)
		if (view->partitions[i].is_ours && view->partitions[i].is_positioned)
			lose_position(view, i);
	view->retry_at_s = timing_now_s() + RETRY_S;
}

static void apply(struct count_view *view, uint32_t number)
{
	struct count_partition *partition = &view->partitions[number];
	enum apply_outcome outcome;
	struct message msg = { 0 };

	if (partition->tally.is_out_of_memory ||
		redis_batch_build(&view->batch, &partition->tally, redis_store_prefix(view->store),
			&view->lifetimes, number) != 0) {
		message_set(&view->fatal, "out of memory");
		view->is_failed = true;
		return;
	}
	if (redis_store_connect(view->store, true, &msg) != 0)
		outcome = APPLY_UNSURE;
	else
		outcome = redis_store_apply(view->store, number,
			partition->is_stored ? partition->from : -1, partition->next, &view->batch,
			&msg);
	switch (outcome) {
	case APPLY_DONE:
		view->applied_flows += partition->tally.flows;
		view->applied_batches++;
		partition->from = partition->next;
		partition->is_stored = true;
		tally_clear(&partition->tally);
		break;
	case APPLY_MISMATCH:
		log_info(
			"redis has another watermark, starting again from it partition=%u", number);
		lose_position(view, number);
		break;
	case APPLY_REFUSED:
		view->fatal = msg;
		view->is_failed = true;
		break;
	case APPLY_UNSURE:
		lose_redis(view, msg.text);
		break;
	}
}

/* Asks Redis for its watermarks now and then: they may have changed behind our back. */
static void verify(struct count_view *view)
{
	struct message msg = { 0 };

	if (timing_now_s() < view->verify_at_s)
		return;
	view->verify_at_s = timing_now_s() + VERIFY_S;
	for (uint32_t i = 0; i < view->partition_count; i++) {
		struct count_partition *partition = &view->partitions[i];
		int64_t stored = -1;
		int rc = 0;

		if (!partition->is_ours || !partition->is_positioned)
			continue;
		rc = redis_store_connect(view->store, true, &msg);
		if (rc == 0)
			rc = redis_store_watermark(view->store, i, &stored, &msg);
		if (rc == 0 && stored == (partition->is_stored ? partition->from : -1))
			continue;
		if (rc != 0) {
			lose_redis(view, msg.text);
			return;
		}
		log_warning("redis has another watermark than it was given, starting again from it "
			    "partition=%u given=%lld stored=%lld",
			i, (long long)partition->from, (long long)stored);
		lose_position(view, i);
	}
}

static bool is_due(const struct count_view *view, const struct count_partition *partition)
{
	const struct tally *tally = &partition->tally;

	if (!partition->is_positioned || partition->next == partition->from)
		return false;
	return tally->flows >= view->batch_flows || tally->actor_count >= ACTORS_MAX ||
	       tally->counters.count >= COUNTERS_MAX ||
	       timing_now_s() - partition->since_s >= view->batch_s;
}

static void apply_due(struct count_view *view, bool all)
{
	for (uint32_t i = 0; i < view->partition_count && !view->is_failed; i++) {
		struct count_partition *partition = &view->partitions[i];

		if (is_due(view, partition) ||
			(all && partition->is_positioned && partition->next > partition->from))
			apply(view, i);
	}
}

/* ---- reading ---- */

static void tally_records(struct count_view *view, struct count_partition *partition)
{
	const struct message_records *records = &view->records;

	for (size_t i = 0; i < records->count; i++) {
		const struct container_item *item = &records->items[i];

		if (item->kind == ITEM_FLOW) {
			struct address actor = flow_actor(&item->flow);

			tally_flow(&partition->tally, &records->origin, &item->flow,
				geo_find(view->geo, &actor));
		} else if (item->kind == ITEM_MARKER) {
			tally_marker(&partition->tally, &records->origin, &item->marker);
		}
	}
}

static void take(struct count_view *view, const struct log_message *message)
{
	struct count_partition *partition;
	struct message msg = { 0 };
	int rc;

	if (message->partition >= view->partition_count)
		return;
	partition = &view->partitions[message->partition];
	if (!partition->is_ours || !partition->is_positioned || message->offset < partition->next)
		return; /* delivered before the seek took effect */
	if (view->limits != NULL && message->offset >= view->limits[message->partition]) {
		log_reader_pause(view->reader, message->partition);
		return;
	}
	if (partition->next == partition->from)
		partition->since_s = timing_now_s();
	rc = message_records_decode(&view->records, message->value, &msg);
	if (rc == FAIL_FORMAT) {
		log_warning("poison message skipped partition=%u offset=%lld reason=\"%s\"",
			message->partition, (long long)message->offset, msg.text);
		partition->tally.poison++;
	} else if (rc != 0) {
		partition->tally.is_out_of_memory = true;
	} else {
		tally_records(view, partition);
	}
	partition->next = message->offset + 1;
	if (is_due(view, partition))
		apply(view, message->partition);
}

/* What both loops do each time around. */
static void turn(struct count_view *view, struct message *msg)
{
	struct log_message message;
	int rc = log_reader_poll(view->reader, POLL_MS, &message, msg);

	if (rc == 1) {
		take(view, &message);
		log_message_release(&message);
	} else if (rc == FAIL_LIMIT) {
		log_warning("view count looks for its position again reason=\"%s\"", msg->text);
		for (uint32_t i = 0; i < view->partition_count; i++)
			forget(&view->partitions[i]);
	}
	geo_refresh(view->geo);
	apply_due(view, false);
	if (needs_recovery(view))
		recover(view);
}

static int loop(struct count_view *view, struct message *msg)
{
	while (!*view->stop && !view->is_failed) {
		turn(view, msg);
		verify(view);
		if (signals_take_statistics())
			log_info("view count flows=%llu batches=%llu",
				(unsigned long long)view->applied_flows,
				(unsigned long long)view->applied_batches);
	}
	if (!view->is_failed) {
		apply_due(view, true);
		return 0;
	}
	*msg = view->fatal;
	return FAIL_REMOTE;
}

static int open_view(struct count_view *view, struct message *msg)
{
	struct kafka_settings kafka = kafka_settings_of(view->config);
	struct log_reader_events events = { on_assigned, on_revoked, view };
	struct tally_options options = { .for_report = false };
	char group[TRANSACTIONAL_ID_BYTES];
	int rc;

	do {
		rc = kafka_partition_count(&kafka, TOPIC_FLOWS, 3000, &view->partition_count, msg);
		if (rc != 0)
			log_warning("view count waits for kafka error=\"%s\"", msg->text);
	} while (rc == FAIL_REMOTE && !*view->stop);
	if (rc != 0)
		return rc;
	view->partitions = calloc(view->partition_count, sizeof(*view->partitions));
	if (view->partitions == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; rc == 0 && i < view->partition_count; i++)
		rc = tally_init(&view->partitions[i].tally, &options);
	if (rc == 0)
		rc = redis_store_create(&view->store, view->config, msg);
	if (rc == 0)
		rc = geo_create(&view->geo, view->config);
	if (rc == 0)
		rc = message_records_init(&view->records);
	if (rc == 0)
		redis_store_use_rebuilt(view->store, view->limits != NULL);
	snprintf(group, sizeof(group), "%s.%s.count%s", kafka.prefix,
		config_text(view->config, OPT_COLLECTOR_GROUP),
		view->limits != NULL ? REDIS_REBUILD_SUFFIX : "");
	return rc == 0 ? log_reader_open(&view->reader, &kafka, group, &events, msg) : rc;
}

static struct count_view make_view(const struct config *config, const atomic_bool *stop)
{
	return (struct count_view){
		.config = config,
		.stop = stop,
		.lifetimes = redis_lifetimes_of(config),
		.batch_flows = config_u64(config, OPT_COLLECTOR_BATCH_FLOWS),
		.batch_s = (int64_t)config_u64(config, OPT_COLLECTOR_BATCH_SECONDS),
	};
}

static void close_view(struct count_view *view)
{
	log_reader_close(view->reader);
	redis_store_destroy(view->store);
	redis_batch_fini(&view->batch);
	geo_destroy(view->geo);
	message_records_fini(&view->records);
	for (uint32_t i = 0; view->partitions != NULL && i < view->partition_count; i++)
		tally_fini(&view->partitions[i].tally);
	free(view->partitions);
	free(view->limits);
}

int view_count_run(const struct config *config, const atomic_bool *stop, struct message *msg)
{
	struct count_view view = make_view(config, stop);
	int rc = open_view(&view, msg);

	if (rc == 0)
		rc = loop(&view, msg);
	close_view(&view);
	return rc == FAIL_REMOTE && *stop && !view.is_failed ? 0 : rc;
}

/* ---- rebuilding ---- */

/* Where the live keys stand now is where the rebuilt ones have to come to. */
static int read_limits(struct count_view *view, struct message *msg)
{
	int rc = redis_store_connect(view->store, true, msg);

	redis_store_use_rebuilt(view->store, false);
	for (uint32_t i = 0; rc == 0 && i < view->partition_count; i++) {
		rc = redis_store_watermark(view->store, i, &view->limits[i], msg);
		if (rc == 0 && view->limits[i] < 0) {
			message_set(msg,
				"redis has counted nothing of partition %u yet: there is nothing "
				"to rebuild, a collector fills it from the log",
				i);
			rc = FAIL_LIMIT;
		}
	}
	redis_store_use_rebuilt(view->store, true);
	return rc;
}

/* Applies what lies between the rebuilt keys and the limits. True when nothing does. */
static bool has_caught_up(struct count_view *view)
{
	bool is_there = true;

	for (uint32_t i = 0; i < view->partition_count; i++) {
		struct count_partition *partition = &view->partitions[i];

		if (!partition->is_positioned || partition->next < view->limits[i])
			is_there = false;
		else if (partition->next == view->limits[i] &&
			 (partition->from < partition->next || !partition->is_stored))
			apply(view, i);
		is_there &= partition->is_positioned && partition->is_stored &&
			    partition->from == view->limits[i];
	}
	return is_there;
}

/* The log begins behind what is counted: only a collector at work can move the live keys there. */
static int check_reach(struct count_view *view, struct message *msg)
{
	for (uint32_t i = 0; i < view->partition_count; i++) {
		if (!view->partitions[i].is_positioned ||
			view->partitions[i].from <= view->limits[i])
			continue;
		message_set(msg,
			"redis waits at offset %lld of partition %u, which the topic no longer "
			"holds; start a collector first",
			(long long)view->limits[i], i);
		return FAIL_LIMIT;
	}
	return 0;
}

/* On from where it stopped, now that the limits have moved. */
static void resume(struct count_view *view)
{
	for (uint32_t i = 0; i < view->partition_count; i++) {
		struct count_partition *partition = &view->partitions[i];

		if (partition->is_positioned && partition->next < view->limits[i] &&
			log_reader_seek(view->reader, i, partition->next) != 0)
			forget(partition);
	}
}

static int rebuild_loop(struct count_view *view, int64_t from_s, struct message *msg)
{
	bool is_done = false;
	int rc = 0;

	while (rc == 0 && !is_done && !*view->stop && !view->is_failed) {
		turn(view, msg);
		rc = check_reach(view, msg);
		if (rc != 0 || !has_caught_up(view))
			continue;
		rc = redis_store_switch(view->store, from_s, &is_done, msg);
		if (rc == 0 && !is_done)
			rc = read_limits(view, msg);
		if (rc == 0 && !is_done)
			resume(view);
	}
	if (view->is_failed) {
		*msg = view->fatal;
		return FAIL_REMOTE;
	}
	return rc == 0 && !is_done ? FAIL_STOPPED : rc;
}

int view_count_rebuild(
	const struct config *config, const atomic_bool *stop, int64_t from_s, struct message *msg)
{
	struct count_view view = make_view(config, stop);
	int rc;

	view.limits = calloc(PARTITIONS_MAX, sizeof(*view.limits));
	if (view.limits == NULL)
		return -ENOMEM;
	rc = open_view(&view, msg);
	if (rc == 0)
		rc = redis_store_connect(view.store, true, msg);
	if (rc == 0)
		rc = redis_store_drop_rebuilt(view.store, msg);
	if (rc == 0)
		rc = read_limits(&view, msg);
	if (rc == 0) {
		log_info("rebuilding redis beside the live keys partitions=%u",
			view.partition_count);
		rc = rebuild_loop(&view, from_s, msg);
	}
	if (rc == 0)
		log_info("redis is rebuilt flows=%llu batches=%llu",
			(unsigned long long)view.applied_flows,
			(unsigned long long)view.applied_batches);
	else if (view.store != NULL)
		(void)!redis_store_drop_rebuilt(view.store, NULL);
	close_view(&view);
	return rc;
}
