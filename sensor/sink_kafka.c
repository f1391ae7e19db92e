/*
 * The queue between closing minutes and sending them. It is the seam for a spool on disk: entries
 * go in at one end and out at the other, in order, one at a time.
 *
 * A replay connects first, and never drops: when the broker is slow, taking an entry waits and so
 * reading stops. Live, capture waits for nobody: the sending thread connects, and until then
 * entries queue up in one partition and are dealt out when the log's number of partitions is
 * known. The queue is bounded; beyond that the oldest minute goes and the next ledger names it.
 */
#include "sensor/sink_kafka.h"

#include <pthread.h>
#include <stdlib.h>

#include "schemas/base/log.h"
#include "schemas/base/timing.h"
#include "sensor/entry_split.h"
#include "sensor/replay_id.h"
#include "sensor/sender.h"

#define BROKER_WAIT_MS	   30000 /* a replay waits so long for a broker at the start */
#define STALL_LIMIT_S	   300	 /* and so long once connected */
#define LIVE_TRY_MS	   3000	 /* live: one question whether a broker is there */
#define LIVE_DRAIN_S	   10	 /* SIGTERM to exit is 15 s; capture needs its share */
#define CLOSE_WAIT_MS	   4000	 /* for the sending thread to see that it is to end */
#define WAITING_SAID_S	   60	 /* how often a log tells that it still waits */
#define REPLAY_QUEUE_BYTES (64u << 20)
#define TRANSACTION_ENTRIES                                                                        \
	500 /* whole entries in one transaction: an archive's quiet minutes are many and small */
#define RETRY_PAUSE_MS 1000

struct kafka_sink {
	struct sink sink;
	struct sender *sender; /* live: made by the sending thread */
	struct sender_options options;
	struct origin origin;
	bool is_live;
	size_t queue_bytes_max;
	const atomic_bool *stop;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* any thread, atomic */
	atomic_uint partitions; /* of the flows topic; 0 not yet known */
	atomic_bool gives_up;	/* the sending thread is to end although not all is sent */
	/* under the lock */
	bool is_started;
	struct entry *first, *last;
	size_t queue_bytes;
	bool is_sending;
	bool is_ending;
	bool stays_open; /* a replay: what comes behind is still to be read */
	int rc;		 /* of the sender, once it failed */
	struct message msg;
	int64_t last_progress_s;
};

int sink_kafka_origin(struct origin *out, const struct config *config, struct message *msg)
{
	const char *output = config_text(config, OPT_SENSOR_OUTPUT);
	char id[REPLAY_ID_BYTES] = "file";
	struct timespec now;
	int rc = 0;

	*out = (struct origin){ 0 };
	snprintf(out->sensor, sizeof(out->sensor), "%s", config_text(config, OPT_SENSOR_NAME));
	if (config_list(config, OPT_SENSOR_INTERFACE)->count > 0) {
		clock_gettime(CLOCK_REALTIME, &now);
		out->boot = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
		snprintf(out->timeline, sizeof(out->timeline), "%s", TIMELINE_LIVE);
		return 0;
	}
	if ((output != NULL && strcmp(output, "kafka") == 0) ||
		config_text(config, OPT_SENSOR_REPLAY_ID) != NULL)
		rc = replay_id(id, config, msg);
	snprintf(out->timeline, sizeof(out->timeline), "%s", id);
	return rc;
}

/* ---- queue ---- */

static void push(struct kafka_sink *kafka, struct entry *entry)
{
	entry->next = NULL;
	if (kafka->last != NULL)
		kafka->last->next = entry;
	else
		kafka->first = entry;
	kafka->last = entry;
	kafka->queue_bytes += entry->bytes;
}

static struct entry *pop(struct kafka_sink *kafka)
{
	struct entry *entry = kafka->first;

	kafka->first = entry->next;
	if (kafka->first == NULL)
		kafka->last = NULL;
	kafka->queue_bytes -= entry->bytes;
	return entry;
}

/* Drops all queued parts of the oldest minute; `heir` is the entry that names the loss. */
static void drop_oldest_minute(struct kafka_sink *kafka, struct entry *newest)
{
	int64_t minute_ms = kafka->first->ledger.minute_ms;
	uint64_t entries = 0, flows = 0, packets = 0;
	struct entry *heir;

	while (kafka->first != NULL && kafka->first->ledger.minute_ms == minute_ms) {
		struct entry *dropped = pop(kafka);

		entries += 1 + (uint64_t)dropped->ledger.lost_entries;
		flows += dropped->flows + (uint64_t)dropped->ledger.lost_flows;
		packets += dropped->packets + (uint64_t)dropped->ledger.lost_packets;
		entry_destroy(dropped);
	}
	heir = kafka->first != NULL ? kafka->first : newest;
	heir->ledger.lost_entries += (int64_t)entries;
	heir->ledger.lost_flows += (int64_t)flows;
	heir->ledger.lost_packets += (int64_t)packets;
	log_warning("queue full, dropping oldest minute minute_ms=%lld entries=%llu flows=%llu "
		    "packets=%llu",
		(long long)minute_ms, (unsigned long long)entries, (unsigned long long)flows,
		(unsigned long long)packets);
}

static bool has_stalled(const struct kafka_sink *kafka)
{
	return !kafka->is_live && timing_now_s() - kafka->last_progress_s > STALL_LIMIT_S;
}

/* Waits for a change, at most a second. */
static void wait_a_little(struct kafka_sink *kafka)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	pthread_cond_timedwait(&kafka->changed, &kafka->lock, &until);
}

static int fail_stalled(struct kafka_sink *kafka)
{
	kafka->rc = FAIL_REMOTE;
	message_set(&kafka->msg, "kafka took nothing for %d s; run the same command again to go on",
		STALL_LIMIT_S);
	return kafka->rc;
}

static int make_room(struct kafka_sink *kafka, struct entry *entry)
{
	while (kafka->rc == 0 && kafka->first != NULL &&
		kafka->queue_bytes + entry->bytes > kafka->queue_bytes_max) {
		if (kafka->is_live)
			drop_oldest_minute(kafka, entry);
		else if (*kafka->stop)
			return FAIL_STOPPED;
		else if (has_stalled(kafka))
			return fail_stalled(kafka);
		else
			wait_a_little(kafka);
	}
	return kafka->rc;
}

static int kafka_take(struct sink *sink, struct entry *entry, struct message *msg)
{
	struct kafka_sink *kafka = (struct kafka_sink *)sink;
	int rc;

	pthread_mutex_lock(&kafka->lock);
	rc = make_room(kafka, entry);
	if (rc == 0) {
		if (kafka->first == NULL && !kafka->is_sending)
			kafka->last_progress_s = timing_now_s();
		push(kafka, entry);
		pthread_cond_broadcast(&kafka->changed);
	} else {
		entry_destroy(entry);
		message_set(msg, "%s", kafka->msg.text);
	}
	pthread_mutex_unlock(&kafka->lock);
	return rc;
}

/* What one transaction takes: the next entry, and those behind it while they are small. */
static struct entry *pop_batch(struct kafka_sink *kafka)
{
	struct entry *first = pop(kafka), *last = first;
	size_t bytes = first->bytes;

	for (unsigned count = 1; count < TRANSACTION_ENTRIES && kafka->first != NULL; count++) {
		if (bytes + kafka->first->bytes > ENTRY_CUT_BYTES)
			break;
		last->next = pop(kafka);
		last = last->next;
		bytes += last->bytes;
	}
	last->next = NULL;
	return first;
}

static void destroy_batch(struct entry *entry)
{
	while (entry != NULL) {
		struct entry *next = entry->next;

		entry_destroy(entry);
		entry = next;
	}
}

/* Under the lock; the first failure is the one that is told. */
static void fail(struct kafka_sink *kafka, int rc, const struct message *msg)
{
	if (kafka->rc != 0)
		return;
	kafka->rc = rc;
	kafka->msg = *msg;
}

static void say_waiting(int64_t *said_s, const struct message *msg)
{
	if (*said_s != 0 && timing_now_s() - *said_s < WAITING_SAID_S)
		return;
	*said_s = timing_now_s();
	log_warning("waiting for kafka, minutes are kept in memory error=\"%s\"", msg->text);
}

/* Live: until a broker answers, or the sensor ends. */
static int connect_live(struct kafka_sink *kafka, struct message *msg)
{
	int64_t said_s = 0;

	for (;;) {
		uint32_t partitions = 0;
		int rc = kafka_partition_count(
			&kafka->options.kafka, TOPIC_FLOWS, LIVE_TRY_MS, &partitions, msg);

		if (rc == 0) {
			kafka->options.partitions = partitions;
			kafka->partitions = partitions;
			rc = sender_open(&kafka->sender, &kafka->options, &kafka->origin, msg);
		}
		if (rc == 0 && said_s != 0)
			log_info("kafka answers partitions=%u", partitions);
		if (rc != FAIL_REMOTE)
			return rc;
		if (kafka->gives_up)
			return FAIL_STOPPED;
		say_waiting(&said_s, msg);
		timing_pause_ms(RETRY_PAUSE_MS);
	}
}

/* Entries that were closed before the number of partitions was known are dealt out first. */
static int send_batch(struct kafka_sink *kafka, struct entry *batch, struct message *msg)
{
	int rc = 0;

	for (struct entry *entry = batch; rc == 0 && entry != NULL; entry = entry->next)
		if (entry->partitions != kafka->options.partitions)
			rc = entry_split(entry, kafka->options.partitions);
	return rc != 0 ? rc : sender_send(kafka->sender, batch, msg);
}

static void *send_entries(void *context)
{
	struct kafka_sink *kafka = context;
	struct message msg = { 0 };
	int rc = kafka->is_live ? connect_live(kafka, &msg) : 0;

	pthread_mutex_lock(&kafka->lock);
	if (rc != 0)
		fail(kafka, rc, &msg);
	while (kafka->rc == 0 && !(kafka->is_ending && kafka->first == NULL)) {
		struct entry *batch;

		if (kafka->first == NULL) {
			pthread_cond_wait(&kafka->changed, &kafka->lock);
			continue;
		}
		batch = pop_batch(kafka);
		kafka->is_sending = true;
		pthread_mutex_unlock(&kafka->lock);
		rc = send_batch(kafka, batch, &msg);
		destroy_batch(batch);
		pthread_mutex_lock(&kafka->lock);
		kafka->is_sending = false;
		kafka->last_progress_s = timing_now_s();
		if (rc != 0)
			fail(kafka, rc, &msg);
		pthread_cond_broadcast(&kafka->changed);
	}
	if (kafka->rc == 0 && !kafka->stays_open) {
		rc = sender_finish(kafka->sender, &msg);
		if (rc != 0)
			fail(kafka, rc, &msg);
	}
	kafka->is_started = false; /* the thread is about to end */
	pthread_cond_broadcast(&kafka->changed);
	pthread_mutex_unlock(&kafka->lock);
	return NULL;
}

static void say_done(const struct kafka_sink *kafka)
{
	uint64_t sent = sender_sent(kafka->sender), skipped = sender_skipped(kafka->sender);

	if (sent == 0 && skipped > 0 && sender_is_complete(kafka->sender))
		log_info("this replay was already complete, nothing sent entries=%llu",
			(unsigned long long)skipped);
	else
		log_info("sent entries=%llu already_there=%llu", (unsigned long long)sent,
			(unsigned long long)skipped);
}

static int kafka_finish(struct sink *sink, struct message *msg)
{
	struct kafka_sink *kafka = (struct kafka_sink *)sink;
	int64_t deadline_s = timing_now_s() + LIVE_DRAIN_S;
	int rc;

	pthread_mutex_lock(&kafka->lock);
	kafka->is_ending = true;
	kafka->last_progress_s = timing_now_s();
	pthread_cond_broadcast(&kafka->changed);
	while (kafka->is_started && kafka->rc == 0) {
		if (has_stalled(kafka))
			fail_stalled(kafka);
		else if (kafka->is_live && timing_now_s() >= deadline_s) {
			kafka->rc = FAIL_REMOTE;
			kafka->gives_up = true;
			message_set(&kafka->msg, "kafka did not take the last minutes in time; the "
						 "next start names the gap");
		} else
			wait_a_little(kafka);
	}
	rc = kafka->rc;
	if (rc != 0)
		message_set(msg, "%s", kafka->msg.text);
	pthread_mutex_unlock(&kafka->lock);
	if (rc == 0)
		say_done(kafka);
	return rc;
}

/* After an error the thread may be inside librdkafka for long: then it is left to the process's end. */
static void kafka_close(struct sink *sink)
{
	struct kafka_sink *kafka = (struct kafka_sink *)sink;
	int64_t deadline_ms = timing_now_ms() + CLOSE_WAIT_MS;
	bool is_running;

	pthread_mutex_lock(&kafka->lock);
	kafka->gives_up = true;
	if (kafka->rc == 0 && kafka->is_started)
		kafka->rc = FAIL_STOPPED;
	pthread_cond_broadcast(&kafka->changed);
	while (kafka->is_started && timing_now_ms() < deadline_ms)
		wait_a_little(kafka);
	is_running = kafka->is_started;
	pthread_mutex_unlock(&kafka->lock);
	if (is_running) {
		pthread_detach(kafka->thread);
		return;
	}
	pthread_join(kafka->thread, NULL);
	while (kafka->first != NULL)
		entry_destroy(pop(kafka));
	sender_destroy(kafka->sender);
	free(kafka);
}

/* A replay's records depend on the number of partitions: it connects before it reads. */
static int connect_replay(
	struct kafka_sink *kafka, const struct config *config, struct message *msg)
{
	struct sender_options *options = &kafka->options;
	char settings[SETTINGS_TEXT_BYTES];
	int rc = kafka_partition_count(
		&options->kafka, TOPIC_FLOWS, BROKER_WAIT_MS, &options->partitions, msg);

	if (rc != 0)
		return rc == FAIL_REMOTE && *kafka->stop ? FAIL_STOPPED : rc;
	kafka->partitions = options->partitions;
	replay_settings(settings, sizeof(settings), config, options->partitions);
	options->settings = settings;
	rc = sender_open(&kafka->sender, options, &kafka->origin, msg);
	options->settings = NULL;
	return rc;
}

static struct kafka_sink *make_sink(
	const struct config *config, const atomic_bool *stop, const struct origin *origin)
{
	struct kafka_sink *kafka = calloc(1, sizeof(*kafka));
	struct sender_options *options;

	if (kafka == NULL)
		return NULL;
	kafka->sink = (struct sink){ kafka_take, kafka_finish, kafka_close };
	kafka->is_live = strcmp(origin->timeline, TIMELINE_LIVE) == 0;
	kafka->stop = stop;
	kafka->origin = *origin;
	kafka->queue_bytes_max =
		kafka->is_live ? config_u64(config, OPT_SENSOR_QUEUE_BYTES) : REPLAY_QUEUE_BYTES;
	pthread_mutex_init(&kafka->lock, NULL);
	pthread_cond_init(&kafka->changed, NULL);
	kafka->last_progress_s = timing_now_s();
	options = &kafka->options;
	options->kafka = kafka_settings_of(config);
	options->is_live = kafka->is_live;
	options->wants_again = config_bool(config, OPT_SENSOR_AGAIN);
	options->stop = kafka->is_live ? &kafka->gives_up : stop;
	snprintf(options->transactional_id, sizeof(options->transactional_id), "%s.%s.%s",
		options->kafka.prefix, kafka->is_live ? "sensor" : "replay",
		kafka->is_live ? origin->sensor : origin->timeline);
	return kafka;
}

int sink_kafka_open(struct sink **out, const struct config *config, const atomic_bool *stop,
	struct origin *origin, uint32_t *partitions, struct message *msg)
{
	struct kafka_sink *kafka = make_sink(config, stop, origin);
	int rc;

	if (kafka == NULL)
		return -ENOMEM;
	rc = kafka->is_live ? kafka_check_settings(&kafka->options.kafka, msg)
			    : connect_replay(kafka, config, msg);
	if (rc == 0) {
		*origin = kafka->origin;
		*partitions = kafka->is_live ? 1 : kafka->options.partitions;
		kafka->is_started = true;
		rc = pthread_create(&kafka->thread, NULL, send_entries, kafka) == 0 ? 0 : -EAGAIN;
	}
	if (rc != 0) {
		sender_destroy(kafka->sender);
		free(kafka);
		return rc;
	}
	*out = &kafka->sink;
	return 0;
}

uint32_t sink_kafka_partitions(const struct sink *sink)
{
	return ((const struct kafka_sink *)sink)->partitions;
}

void sink_kafka_stay_open(struct sink *sink)
{
	struct kafka_sink *kafka = (struct kafka_sink *)sink;

	pthread_mutex_lock(&kafka->lock);
	kafka->stays_open = true;
	pthread_mutex_unlock(&kafka->lock);
}

bool sink_kafka_is_complete(const struct sink *sink)
{
	return sender_is_complete(((const struct kafka_sink *)sink)->sender);
}

bool sink_kafka_needs_another_pass(const struct sink *sink)
{
	return sender_needs_another_pass(((const struct kafka_sink *)sink)->sender);
}
