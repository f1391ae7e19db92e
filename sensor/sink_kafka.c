/*
 * Between closing minutes and sending them lies a queue (send_queue.h): live, on disk.
 *
 * A replay connects first, and never drops: when the broker is slow, taking an entry waits and so
 * reading stops. Live, capture waits for nobody: the sending thread connects, and until then
 * entries queue up in one partition and are dealt out when the log's number of partitions is
 * known. What is in the spool outlives the process; the next one sends it.
 */
#include "sensor/sink_kafka.h"

#include <pthread.h>
#include <stdlib.h>

#include "schemas/base/log.h"
#include "schemas/base/timing.h"
#include "sensor/entry_split.h"
#include "sensor/replay_id.h"
#include "sensor/send_queue.h"
#include "sensor/sender.h"

#define BROKER_WAIT_MS	   30000 /* a replay waits so long for a broker at the start */
#define STALL_LIMIT_S	   300	 /* and so long once connected */
#define LIVE_TRY_MS	   3000	 /* live: one question whether a broker is there */
#define LIVE_DRAIN_S	   10	 /* SIGTERM to exit is 15 s; capture needs its share */
#define CLOSE_WAIT_MS	   4000	 /* for the sending thread to see that it is to end */
#define SPOOL_WAIT_S	   90	 /* a fenced sensor sees it at its next minute, then drains */
#define WAITING_SAID_S	   60	 /* how often a log tells that it still waits */
#define REPLAY_QUEUE_BYTES (64u << 20)
#define TRANSACTION_ENTRIES                                                                        \
	500 /* whole entries in one transaction: an archive's quiet minutes are many and small */
#define RETRY_PAUSE_MS 1000
#define PATH_BYTES     4096

struct kafka_sink {
	struct sink sink;
	struct sender *sender; /* live: made by the sending thread */
	struct sender_options options;
	struct origin origin;
	bool is_live;
	char spool_path[PATH_BYTES]; /* "" none is wanted */
	uint64_t spool_bytes_max;
	atomic_bool *stop; /* of the run: also set when sending has failed */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* any thread, atomic */
	atomic_uint partitions; /* of the flows topic; 0 not yet known */
	atomic_bool gives_up;	/* the sending thread is to end although not all is sent */
	atomic_bool has_spool;
	/* under the lock */
	bool is_started;
	struct send_queue *queue;
	bool spool_is_missed;	  /* and it was said */
	bool spool_is_held;	  /* by another process */
	int64_t spool_wait_end_s; /* nothing is sent before it is free, or until then */
	char spool_id[SPOOL_ID_BYTES];
	struct cursor cursor; /* as the sending thread found it */
	bool is_connected;
	bool is_sending;
	bool is_ending;
	bool stays_open;  /* a replay: what comes behind is still to be read */
	bool leaves_rest; /* live: what is not sent is in the spool */
	int rc;		  /* of the sender, once it failed */
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

/* Under the lock; the first failure is the one that is told. It ends the run. */
static int fail(struct kafka_sink *kafka, int rc, const struct message *msg)
{
	if (kafka->rc == 0) {
		kafka->rc = rc;
		kafka->msg = *msg;
		*kafka->stop = true;
	}
	return kafka->rc;
}

static int fail_stalled(struct kafka_sink *kafka)
{
	struct message msg;

	message_set(&msg, "kafka took nothing for %d s; run the same command again to go on",
		STALL_LIMIT_S);
	return fail(kafka, FAIL_REMOTE, &msg);
}

/* A replay waits until the queue takes the entry. */
static int wait_for_room(struct kafka_sink *kafka, const struct entry *entry)
{
	while (kafka->rc == 0 && !send_queue_has_room(kafka->queue, entry)) {
		if (*kafka->stop)
			return FAIL_STOPPED;
		if (has_stalled(kafka))
			return fail_stalled(kafka);
		wait_a_little(kafka);
	}
	return kafka->rc;
}

/* What the log already has of the spool goes out of the queue. Under the lock. */
static int reconcile(struct kafka_sink *kafka)
{
	int rc = 0;

	if (kafka->has_spool && kafka->is_connected)
		rc = send_queue_reconcile(
			kafka->queue, kafka->cursor.spool, (uint64_t)kafka->cursor.spool_sequence);
	return rc;
}

/* A former process may still have the spool while it ends: then it is tried again at each entry.
 * Without one minutes wait in memory: worse than a spool, better than no telescope. */
static int open_spool(struct kafka_sink *kafka)
{
	struct message msg = { "" };
	struct spool *spool;
	int rc = spool_open(&spool, kafka->spool_path, kafka->spool_bytes_max, &msg);

	if (rc != 0) {
		if (!kafka->spool_is_missed)
			log_error("no spool, minutes wait in memory error=\"%s\"", msg.text);
		kafka->spool_is_missed = true;
		kafka->spool_is_held = rc == FAIL_FENCED;
		return rc == -ENOMEM ? rc : 0;
	}
	kafka->spool_is_held = false;
	if (kafka->spool_is_missed)
		log_info("the spool is there now");
	snprintf(kafka->spool_id, sizeof(kafka->spool_id), "%s", spool_id(spool));
	rc = send_queue_adopt(kafka->queue, spool);
	if (rc != 0) {
		spool_close(spool);
		return rc;
	}
	kafka->has_spool = true;
	return reconcile(kafka);
}

/* Live, also what is closed after sending has failed is taken: the next process sends it. */
static int kafka_take(struct sink *sink, struct entry *entry, struct message *msg)
{
	struct kafka_sink *kafka = (struct kafka_sink *)sink;
	int rc = 0;

	pthread_mutex_lock(&kafka->lock);
	if (!kafka->is_live)
		rc = wait_for_room(kafka, entry);
	else if (!kafka->has_spool)
		rc = open_spool(kafka);
	if (rc == 0) {
		if (send_queue_is_empty(kafka->queue) && !kafka->is_sending)
			kafka->last_progress_s = timing_now_s();
		rc = send_queue_put(kafka->queue, entry);
		pthread_cond_broadcast(&kafka->changed);
	} else {
		entry_destroy(entry);
		message_set(msg, "%s", kafka->msg.text);
	}
	pthread_mutex_unlock(&kafka->lock);
	return rc;
}

static void destroy_batch(struct entry *entry)
{
	while (entry != NULL) {
		struct entry *next = entry->next;

		entry_destroy(entry);
		entry = next;
	}
}

static void say_waiting(int64_t *said_s, const struct message *msg)
{
	if (*said_s != 0 && timing_now_s() - *said_s < WAITING_SAID_S)
		return;
	*said_s = timing_now_s();
	log_warning("waiting for kafka, minutes are kept error=\"%s\"", msg->text);
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

static int note_connected(struct kafka_sink *kafka)
{
	int rc;

	pthread_mutex_lock(&kafka->lock);
	kafka->cursor = *sender_cursor(kafka->sender);
	kafka->is_connected = true;
	kafka->spool_wait_end_s = timing_now_s() + SPOOL_WAIT_S;
	rc = reconcile(kafka);
	if (rc == 0 && !send_queue_is_empty(kafka->queue))
		log_info("sending what waits entries=%zu", send_queue_count(kafka->queue));
	pthread_mutex_unlock(&kafka->lock);
	return rc;
}

/* Takes a batch, sends it, under the lock but while it is sent. @return 0 or the failure */
static int send_next(struct kafka_sink *kafka, struct message *msg)
{
	struct entry *batch;
	int rc = send_queue_take(kafka->queue, TRANSACTION_ENTRIES, ENTRY_CUT_BYTES, &batch);

	if (rc != 0)
		return rc;
	kafka->is_sending = true;
	pthread_mutex_unlock(&kafka->lock);
	if (batch != NULL)
		rc = send_batch(kafka, batch, msg);
	destroy_batch(batch);
	pthread_mutex_lock(&kafka->lock);
	kafka->is_sending = false;
	kafka->last_progress_s = timing_now_s();
	if (rc == 0)
		send_queue_settle(kafka->queue);
	return rc;
}

/* What a fenced sensor of this name leaves in the spool comes first: else the log would name a gap
 * where there is none. */
static bool waits_for_spool(const struct kafka_sink *kafka)
{
	return kafka->spool_is_held && !kafka->is_ending &&
	       timing_now_s() < kafka->spool_wait_end_s;
}

/* One step of the sending thread, under the lock. */
static int send_or_wait(struct kafka_sink *kafka, struct message *msg)
{
	int rc;

	if (waits_for_spool(kafka)) {
		wait_a_little(kafka);
		return waits_for_spool(kafka) ? open_spool(kafka) : 0;
	}
	if (send_queue_is_empty(kafka->queue)) {
		pthread_cond_wait(&kafka->changed, &kafka->lock);
		return 0;
	}
	rc = send_next(kafka, msg);
	pthread_cond_broadcast(&kafka->changed);
	return rc;
}

static void *send_entries(void *context)
{
	struct kafka_sink *kafka = context;
	struct message msg = { 0 };
	int rc = kafka->is_live ? connect_live(kafka, &msg) : 0;

	if (rc == 0 && kafka->is_live)
		rc = note_connected(kafka);
	pthread_mutex_lock(&kafka->lock);
	while (rc == 0 && kafka->rc == 0 &&
		!(kafka->is_ending && send_queue_is_empty(kafka->queue)))
		rc = send_or_wait(kafka, &msg);
	if (rc == 0 && kafka->rc == 0 && !kafka->stays_open)
		rc = sender_finish(kafka->sender, &msg);
	if (rc != 0)
		fail(kafka, rc, &msg);
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

/* Live, and the time to drain is over: what is on disk is safe, what is in memory only is lost. */
static void give_up(struct kafka_sink *kafka)
{
	kafka->gives_up = true;
	kafka->rc = FAIL_STOPPED;
	kafka->leaves_rest = send_queue_is_durable(kafka->queue);
	if (kafka->leaves_rest)
		log_info("kafka did not take the last minutes in time; they are in the spool and "
			 "the "
			 "next start sends them");
	else
		message_set(&kafka->msg,
			"kafka did not take the last minutes in time; the next start "
			"names the gap");
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
		else if (kafka->is_live && timing_now_s() >= deadline_s)
			give_up(kafka);
		else
			wait_a_little(kafka);
	}
	rc = kafka->leaves_rest ? 0 : kafka->rc;
	if (rc != 0)
		message_set(msg, "%s", kafka->msg.text);
	pthread_mutex_unlock(&kafka->lock);
	if (rc == 0 && !kafka->leaves_rest)
		say_done(kafka);
	return rc;
}

static void destroy_sink(struct kafka_sink *kafka)
{
	send_queue_destroy(kafka->queue);
	sender_destroy(kafka->sender);
	free(kafka);
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
	destroy_sink(kafka);
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
	const struct config *config, atomic_bool *stop, const struct origin *origin)
{
	struct kafka_sink *kafka = calloc(1, sizeof(*kafka));
	struct sender_options *options;

	if (kafka == NULL)
		return NULL;
	kafka->sink = (struct sink){ kafka_take, kafka_finish, kafka_close };
	kafka->is_live = strcmp(origin->timeline, TIMELINE_LIVE) == 0;
	kafka->stop = stop;
	kafka->origin = *origin;
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

static int make_queue(struct kafka_sink *kafka, const struct config *config)
{
	struct send_queue_options options = {
		.drops = kafka->is_live,
		.memory_bytes_max = kafka->is_live ? config_u64(config, OPT_SENSOR_QUEUE_BYTES)
						   : REPLAY_QUEUE_BYTES,
	};
	int rc = send_queue_create(&kafka->queue, &options);

	if (rc != 0 || !kafka->is_live)
		return rc;
	snprintf(kafka->spool_path, sizeof(kafka->spool_path), "%s/%s/spool",
		config_text(config, OPT_SENSOR_STATE), kafka->origin.sensor);
	kafka->spool_bytes_max = config_u64(config, OPT_SENSOR_SPOOL_BYTES);
	kafka->options.spool_id = kafka->spool_id;
	return open_spool(kafka);
}

int sink_kafka_open(struct sink **out, const struct config *config, atomic_bool *stop,
	struct origin *origin, uint32_t *partitions, struct message *msg)
{
	struct kafka_sink *kafka = make_sink(config, stop, origin);
	int rc;

	if (kafka == NULL)
		return -ENOMEM;
	rc = kafka->is_live ? kafka_check_settings(&kafka->options.kafka, msg)
			    : connect_replay(kafka, config, msg);
	if (rc == 0)
		rc = make_queue(kafka, config);
	if (rc == 0) {
		*origin = kafka->origin;
		*partitions = kafka->is_live ? 1 : kafka->options.partitions;
		kafka->is_started = true;
		rc = pthread_create(&kafka->thread, NULL, send_entries, kafka) == 0 ? 0 : -EAGAIN;
	}
	if (rc != 0) {
		destroy_sink(kafka);
		return rc;
	}
	*out = &kafka->sink;
	return 0;
}

uint32_t sink_kafka_partitions(const struct sink *sink)
{
	return ((const struct kafka_sink *)sink)->partitions;
}

bool sink_kafka_has_spool(const struct sink *sink)
{
	return ((const struct kafka_sink *)sink)->has_spool;
}

int sink_kafka_failure(struct sink *sink, struct message *msg)
{
	struct kafka_sink *kafka = (struct kafka_sink *)sink;
	int rc;

	pthread_mutex_lock(&kafka->lock);
	rc = kafka->rc;
	if (rc != 0)
		*msg = kafka->msg;
	pthread_mutex_unlock(&kafka->lock);
	return rc;
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
	const struct sender *sender = ((const struct kafka_sink *)sink)->sender;

	return sender != NULL && sender_is_complete(sender);
}

bool sink_kafka_needs_another_pass(const struct sink *sink)
{
	const struct sender *sender = ((const struct kafka_sink *)sink)->sender;

	return sender != NULL && sender_needs_another_pass(sender);
}
