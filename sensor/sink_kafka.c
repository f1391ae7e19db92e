/*
 * The queue between closing minutes and sending them. It is the seam for a spool on disk: entries
 * go in at one end and out at the other, in order, one at a time.
 *
 * A replay never drops: when the broker is slow, taking an entry waits and so reading stops. Live,
 * the queue is bounded; beyond that the oldest minute goes and the next ledger names it.
 */
#include "sensor/sink_kafka.h"

#include <pthread.h>
#include <stdlib.h>

#include "schemas/base/log.h"
#include "schemas/base/timing.h"
#include "sensor/replay_id.h"
#include "sensor/sender.h"

#define BROKER_WAIT_MS	   30000 /* a replay waits so long for a broker at the start */
#define STALL_LIMIT_S	   300	 /* and so long once connected */
#define LIVE_DRAIN_S	   10	 /* SIGTERM to exit is 15 s; capture needs its share */
#define REPLAY_QUEUE_BYTES (64u << 20)
#define TRANSACTION_ENTRIES                                                                        \
	500 /* whole entries in one transaction: an archive's quiet minutes are many and small */
#define RETRY_PAUSE_MS 1000

struct kafka_sink {
	struct sink sink;
	struct sender *sender;
	bool is_live;
	size_t queue_bytes_max;
	const atomic_bool *stop;
	pthread_t thread;
	bool is_started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	struct entry *first, *last;
	size_t queue_bytes;
	bool is_sending;
	bool is_ending;
	int rc; /* of the sender, once it failed */
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

static void *send_entries(void *context)
{
	struct kafka_sink *kafka = context;
	struct message msg = { 0 };

	pthread_mutex_lock(&kafka->lock);
	while (kafka->rc == 0 && !(kafka->is_ending && kafka->first == NULL)) {
		struct entry *batch;
		int rc;

		if (kafka->first == NULL) {
			pthread_cond_wait(&kafka->changed, &kafka->lock);
			continue;
		}
		batch = pop_batch(kafka);
		kafka->is_sending = true;
		pthread_mutex_unlock(&kafka->lock);
		rc = sender_send(kafka->sender, batch, &msg);
		destroy_batch(batch);
		pthread_mutex_lock(&kafka->lock);
		kafka->is_sending = false;
		kafka->last_progress_s = timing_now_s();
		if (rc != 0) {
			kafka->rc = rc;
			kafka->msg = msg;
		}
		pthread_cond_broadcast(&kafka->changed);
	}
	if (kafka->rc == 0) {
		kafka->rc = sender_finish(kafka->sender, &kafka->msg);
		kafka->is_ending = kafka->rc != 0;
	}
	kafka->is_started = false; /* the thread is about to end */
	pthread_cond_broadcast(&kafka->changed);
	pthread_mutex_unlock(&kafka->lock);
	return NULL;
}

static void say_done(const struct kafka_sink *kafka)
{
	uint64_t sent = sender_sent(kafka->sender), skipped = sender_skipped(kafka->sender);

	if (sent == 0 && skipped > 0)
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
	bool is_running;

	pthread_mutex_lock(&kafka->lock);
	if (kafka->rc == 0 && kafka->is_started)
		kafka->rc = FAIL_STOPPED;
	pthread_cond_broadcast(&kafka->changed);
	is_running = kafka->is_started && kafka->is_sending;
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

static int find_partitions(const struct kafka_settings *settings, bool is_live,
	const atomic_bool *stop, uint32_t *out, struct message *msg)
{
	struct timespec pause = { RETRY_PAUSE_MS / 1000, 0 };

	for (;;) {
		int rc = kafka_partition_count(settings, TOPIC_FLOWS,
			is_live ? BROKER_WAIT_MS / 10 : BROKER_WAIT_MS, out, msg);

		if (rc != FAIL_REMOTE || !is_live || *stop)
			return rc == FAIL_REMOTE && *stop ? FAIL_STOPPED : rc;
		log_warning("waiting for kafka, nothing is captured yet error=\"%s\"", msg->text);
		nanosleep(&pause, NULL);
	}
}

int sink_kafka_open(struct sink **out, const struct config *config, const atomic_bool *stop,
	struct origin *origin, uint32_t *partitions, struct message *msg)
{
	struct sender_options options = { .kafka = kafka_settings_of(config),
		.stop = stop,
		.wants_again = config_bool(config, OPT_SENSOR_AGAIN) };
	char settings[SETTINGS_TEXT_BYTES];
	struct kafka_sink *kafka;
	int rc;

	options.is_live = strcmp(origin->timeline, TIMELINE_LIVE) == 0;
	rc = find_partitions(&options.kafka, options.is_live, stop, partitions, msg);
	if (rc != 0)
		return rc;
	options.partitions = *partitions;
	replay_settings(settings, sizeof(settings), config, *partitions);
	options.settings = settings;
	snprintf(options.transactional_id, sizeof(options.transactional_id), "%s.%s.%s",
		options.kafka.prefix, options.is_live ? "sensor" : "replay",
		options.is_live ? origin->sensor : origin->timeline);
	kafka = calloc(1, sizeof(*kafka));
	if (kafka == NULL)
		return -ENOMEM;
	kafka->sink = (struct sink){ kafka_take, kafka_finish, kafka_close };
	kafka->is_live = options.is_live;
	kafka->stop = stop;
	kafka->queue_bytes_max =
		kafka->is_live ? config_u64(config, OPT_SENSOR_QUEUE_BYTES) : REPLAY_QUEUE_BYTES;
	pthread_mutex_init(&kafka->lock, NULL);
	pthread_cond_init(&kafka->changed, NULL);
	kafka->last_progress_s = timing_now_s();
	rc = sender_open(&kafka->sender, &options, origin, msg);
	if (rc == 0) {
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

bool sink_kafka_needs_another_pass(const struct sink *sink)
{
	return sender_needs_another_pass(((const struct kafka_sink *)sink)->sender);
}
