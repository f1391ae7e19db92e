/*
 * Exactness, in order of what could go wrong:
 *
 * - A crash between entries: the cursor names the last one, the next instance goes on behind it.
 * - A crash inside a transaction: init_transactions of the next instance aborts it.
 * - A producer that is fenced, timed out or uncertain: a new one fences it, then the cursor says
 *   whether the entry is in. The cursor is read up to the end that uncommitted readers see.
 * - A topic that gets another number of partitions: it is asked before each transaction, and
 *   ends us.
 * - A second sensor of the same name: it has committed its own instance id to the cursor before
 *   anything else; whoever then reads a foreign id ends, the other goes on.
 */
#include "sensor/sender.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "schemas/base/log.h"
#include "schemas/base/timing.h"
#include "sensor/entry_gap.h"
#include "sensor/ledger_json.h"

#define INIT_TIMEOUT_MS	  30000 /* a replay waits so long for a broker at the start */
#define CURSOR_TIMEOUT_MS 60000 /* others' open transactions end within the transaction timeout */
#define TOPIC_TIMEOUT_MS  5000
#define RETRY_PAUSE_MS	  500
/* Whoever is fenced waits longer than a beginner between two tries (introduce): else two would
 * fence each other before the newer one has its id in the cursor. */
#define FENCED_PAUSE_MS 4000

struct sender {
	struct sender_options options;
	struct origin origin;
	struct kafka_producer *producer;
	struct cursor cursor; /* as committed last */
	char instance[INSTANCE_TEXT_BYTES];
	int64_t next_number; /* of the entry to be sent next */
	uint64_t sent, skipped;
	bool needs_another_pass;
	struct buffer scratch;
};

static bool must_stop(const struct sender *sender)
{
	return *sender->options.stop;
}

/* ---- connecting ---- */

static int read_cursor(struct sender *sender, struct message *msg)
{
	struct buffer value = { 0 };
	int rc = kafka_last_value(&sender->options.kafka, TOPIC_CURSORS,
		sender->options.transactional_id, CURSOR_TIMEOUT_MS, &value, msg);

	if (rc == 0 &&
		cursor_decode(&sender->cursor, (struct bytes){ value.data, value.size }) != 0) {
		message_set(msg, "cursor %s in the cursors topic cannot be read",
			sender->options.transactional_id);
		rc = FAIL_REMOTE;
	}
	buffer_fini(&value);
	return rc;
}

static int connect_producer(struct sender *sender, struct message *msg)
{
	int rc;

	kafka_producer_destroy(sender->producer);
	sender->producer = NULL;
	rc = kafka_producer_create(
		&sender->producer, &sender->options.kafka, sender->options.transactional_id, msg);
	if (rc == 0)
		rc = kafka_producer_init(
			sender->producer, INIT_TIMEOUT_MS, sender->options.stop, msg);
	return rc != 0 ? rc : read_cursor(sender, msg);
}

static enum kafka_outcome send_cursor(struct sender *sender, const struct cursor *cursor)
{
	const char *key = sender->options.transactional_id;
	uint32_t partitions = topic_row(TOPIC_CURSORS)->partitions;
	struct kafka_message message = {
		.topic = TOPIC_CURSORS,
		.partition = topic_key_partition(key, partitions),
		.key = { (const uint8_t *)key, strlen(key) },
	};

	buffer_clear(&sender->scratch);
	cursor_encode(cursor, &sender->scratch);
	message.value = (struct bytes){ sender->scratch.data, sender->scratch.size };
	return kafka_send(sender->producer, &message);
}

/* Commits a cursor alone. */
static enum kafka_outcome commit_cursor(struct sender *sender, const struct cursor *cursor)
{
	enum kafka_outcome outcome = kafka_begin(sender->producer);

	if (outcome == KAFKA_DONE)
		outcome = send_cursor(sender, cursor);
	return outcome == KAFKA_DONE ? kafka_commit(sender->producer) : outcome;
}

static void pause_unless_stopped(const struct sender *sender, int64_t pause_ms)
{
	int64_t deadline_ms = timing_now_ms() + pause_ms;

	while (!must_stop(sender) && timing_now_ms() < deadline_ms)
		timing_pause_ms(100);
}

/* Another producer in place of one that is used up. A foreign id in the cursor ends us. Fenced and
 * timed out look alike (kafka_producer.c). */
static int start_anew(struct sender *sender, struct message *msg)
{
	log_info("starting anew with another producer reason=\"%s\"",
		kafka_producer_error(sender->producer));
	pause_unless_stopped(sender, FENCED_PAUSE_MS);
	for (;;) {
		int rc = connect_producer(sender, msg);

		if (rc == FAIL_CONFIG || rc == -ENOMEM)
			return rc;
		if (rc == 0 && strcmp(sender->cursor.instance, sender->instance) == 0)
			return 0;
		if (rc == 0) {
			message_set(msg,
				"%s: another sensor of this name is sending; give each its own "
				"--sensor NAME",
				sender->options.transactional_id);
			return FAIL_FENCED;
		}
		if (rc == FAIL_STOPPED || must_stop(sender))
			return FAIL_STOPPED;
		log_warning("kafka does not answer, trying again error=\"%s\"", msg->text);
		timing_pause_ms(RETRY_PAUSE_MS);
	}
}

/* Repeats a cursor-only transaction until it is in. */
static int settle_cursor(struct sender *sender, const struct cursor *cursor, struct message *msg)
{
	for (;;) {
		enum kafka_outcome outcome = commit_cursor(sender, cursor);
		int rc;

		if (outcome == KAFKA_DONE) {
			sender->cursor = *cursor;
			return 0;
		}
		if (must_stop(sender))
			return FAIL_STOPPED;
		if (outcome == KAFKA_ABORTED) {
			timing_pause_ms(RETRY_PAUSE_MS);
			continue;
		}
		rc = start_anew(sender, msg);
		if (rc != 0)
			return rc;
		if (sender->cursor.entry == cursor->entry &&
			sender->cursor.is_finished == cursor->is_finished)
			return 0;
	}
}

/* Where a replay goes on: behind its cursor, or with another run. `cursor` becomes what it commits. */
static int plan_replay(
	struct sender *sender, const char *timeline, struct cursor *cursor, struct message *msg)
{
	char names[512], again[32] = "";

	if (cursor->exists &&
		cursor_settings_differ(cursor, sender->options.settings, names, sizeof(names))) {
		message_set(msg,
			"this replay (%s) began with other settings: %s; use the same ones, or "
			"another --replay-id",
			timeline, names);
		return FAIL_FORMAT;
	}
	if (cursor->exists && sender->options.wants_again) {
		sender->needs_another_pass = !cursor->is_finished;
		if (cursor->is_finished) {
			cursor->run++;
			cursor->run_first_entry = cursor->entry + 1;
			cursor->is_finished = false;
		}
	}
	snprintf(cursor->settings, sizeof(cursor->settings), "%s", sender->options.settings);
	sender->next_number = cursor->run_first_entry;
	sender->origin.boot = cursor->boot = cursor->run;
	if (cursor->run > 0)
		snprintf(again, sizeof(again), ".again%lld", (long long)cursor->run);
	snprintf(sender->origin.timeline, sizeof(sender->origin.timeline), "%.*s%s",
		(int)(sizeof(sender->origin.timeline) - sizeof(again)), timeline, again);
	return 0;
}

static int plan(
	struct sender *sender, const char *timeline, struct cursor *cursor, struct message *msg)
{
	int rc = 0;

	*cursor = sender->cursor;
	if (sender->options.is_live)
		sender->next_number = cursor->entry + 1;
	else
		rc = plan_replay(sender, timeline, cursor, msg);
	snprintf(cursor->instance, sizeof(cursor->instance), "%s", sender->instance);
	return rc;
}

/* Two instances that begin at once fence each other; pauses of one length would go on for long. */
static void pause_at_random(void)
{
	uint8_t random = 0;

	(void)!getrandom(&random, sizeof(random), 0);
	timing_pause_ms(RETRY_PAUSE_MS + 8L * random);
}

/* The first commit of an instance, before its id stands in the cursor: nobody else's does us harm.
 * An older instance may commit in between: whatever is planned goes by the cursor read last. */
static int introduce(struct sender *sender, struct message *msg)
{
	const struct origin origin = sender->origin;

	for (;;) {
		enum kafka_outcome outcome;
		struct cursor cursor;
		int rc = plan(sender, origin.timeline, &cursor, msg);

		if (rc != 0)
			return rc;
		outcome = commit_cursor(sender, &cursor);
		if (outcome == KAFKA_DONE) {
			sender->cursor = cursor;
			return 0;
		}
		if (must_stop(sender))
			return FAIL_STOPPED;
		pause_at_random();
		if (outcome == KAFKA_ABORTED)
			continue;
		rc = connect_producer(sender, msg);
		if (rc != 0)
			return rc;
		if (strcmp(sender->cursor.instance, sender->instance) == 0)
			return 0; /* it was in after all, as planned */
	}
}

static void make_instance(char out[INSTANCE_TEXT_BYTES])
{
	uint8_t random[(INSTANCE_TEXT_BYTES - 1) / 2] = { 0 };

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		log_warning("no randomness from the kernel, a second sensor of this name may go "
			    "unnoticed");
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(out + 2 * i, 3, "%02x", random[i]);
}

int sender_open(struct sender **out, const struct sender_options *options, struct origin *origin,
	struct message *msg)
{
	struct sender *sender = calloc(1, sizeof(*sender));
	int rc;

	if (sender == NULL)
		return -ENOMEM;
	sender->options = *options;
	sender->origin = *origin;
	make_instance(sender->instance);
	rc = connect_producer(sender, msg);
	if (rc == 0)
		rc = introduce(sender, msg);
	if (rc != 0) {
		sender_destroy(sender);
		return rc;
	}
	*origin = sender->origin;
	*out = sender;
	return 0;
}

void sender_destroy(struct sender *sender)
{
	if (sender == NULL)
		return;
	kafka_producer_destroy(sender->producer);
	buffer_fini(&sender->scratch);
	free(sender);
}

/* ---- sending ---- */

struct header_texts {
	char boot[24];
	char minute[24];
	struct kafka_header headers[4];
};

static void fill_headers(struct header_texts *texts, const struct entry *entry)
{
	snprintf(texts->boot, sizeof(texts->boot), "%lld", (long long)entry->origin.boot);
	snprintf(texts->minute, sizeof(texts->minute), "%lld", (long long)entry->ledger.minute_ms);
	texts->headers[0] = (struct kafka_header){ "sensor", entry->origin.sensor };
	texts->headers[1] = (struct kafka_header){ "boot", texts->boot };
	texts->headers[2] = (struct kafka_header){ "minute", texts->minute };
	texts->headers[3] = (struct kafka_header){ "timeline", entry->origin.timeline };
}

static enum kafka_outcome send_flows(
	struct sender *sender, const struct entry *entry, const struct header_texts *texts)
{
	enum kafka_outcome outcome = KAFKA_DONE;

	for (size_t i = 0; outcome == KAFKA_DONE && i < entry->message_count; i++) {
		const struct entry_message *flows = &entry->messages[i];
		struct kafka_message message = { .topic = TOPIC_FLOWS,
			.partition = flows->partition,
			.value = { flows->payload.data, flows->payload.size },
			.headers = texts->headers,
			.header_count = 4 };

		outcome = kafka_send(sender->producer, &message);
	}
	return outcome;
}

static enum kafka_outcome send_markers(struct sender *sender, const struct entry *entry,
	int64_t number, const struct header_texts *texts)
{
	enum kafka_outcome outcome = KAFKA_DONE;
	struct buffer marker = { 0 };

	for (uint32_t p = 0; outcome == KAFKA_DONE && p < entry->partitions; p++) {
		struct kafka_message message = { .topic = TOPIC_FLOWS,
			.partition = p,
			.headers = texts->headers,
			.header_count = 4 };

		buffer_clear(&marker);
		buffer_clear(&sender->scratch);
		entry_marker(entry, (uint64_t)number, p, &marker);
		container_header(&sender->scratch, &entry->origin);
		container_block(&sender->scratch, 1, (struct bytes){ marker.data, marker.size });
		message.value = (struct bytes){ sender->scratch.data, sender->scratch.size };
		outcome = kafka_send(sender->producer, &message);
	}
	buffer_fini(&marker);
	return outcome;
}

static enum kafka_outcome send_ledger(struct sender *sender, const struct entry *entry,
	int64_t number, const struct header_texts *texts)
{
	struct marker_record ledger = entry->ledger;
	struct kafka_message message = {
		.topic = TOPIC_SENSORS, .headers = texts->headers, .header_count = 4
	};

	ledger.entry = number;
	buffer_clear(&sender->scratch);
	ledger_json(&sender->scratch, &entry->origin, &ledger);
	message.key = (struct bytes){ (const uint8_t *)entry->origin.sensor,
		strlen(entry->origin.sensor) };
	message.value = (struct bytes){ sender->scratch.data, sender->scratch.size };
	return kafka_send(sender->producer, &message);
}

/* The cursor behind the last of the entries, which then name their gaps. */
static struct cursor cursor_after(const struct sender *sender, struct entry *first)
{
	struct cursor cursor = sender->cursor;
	struct capture_extent extent = { cursor.boot, cursor.interval_to_ns };

	if (sender->options.is_live)
		entry_name_gaps(first, &extent);
	cursor.boot = extent.boot;
	cursor.interval_to_ns = extent.covered_ns;

	cursor.entry = sender->next_number - 1;
	for (const struct entry *entry = first; entry != NULL; entry = entry->next) {
		cursor.entry++;
		if (entry->spool_sequence != 0) {
			snprintf(
				cursor.spool, sizeof(cursor.spool), "%s", sender->options.spool_id);
			cursor.spool_sequence = (int64_t)entry->spool_sequence;
		}
	}
	return cursor;
}

static enum kafka_outcome send_entry(
	struct sender *sender, const struct entry *entry, int64_t number)
{
	struct header_texts texts;
	enum kafka_outcome outcome;

	fill_headers(&texts, entry);
	outcome = send_flows(sender, entry, &texts);
	if (outcome == KAFKA_DONE)
		outcome = send_markers(sender, entry, number, &texts);
	return outcome == KAFKA_DONE ? send_ledger(sender, entry, number, &texts) : outcome;
}

static enum kafka_outcome send_transaction(
	struct sender *sender, const struct entry *first, const struct cursor *cursor)
{
	enum kafka_outcome outcome = kafka_begin(sender->producer);
	int64_t number = sender->next_number;

	for (const struct entry *entry = first; outcome == KAFKA_DONE && entry != NULL;
		entry = entry->next)
		outcome = send_entry(sender, entry, number++);
	if (outcome == KAFKA_DONE)
		outcome = send_cursor(sender, cursor);
	return outcome == KAFKA_DONE ? kafka_commit(sender->producer) : outcome;
}

/* The number of partitions never changes: flows would lie where nobody looks for them. */
static int check_partitions(const struct sender *sender, struct message *msg)
{
	char name[TOPIC_NAME_BYTES];
	uint32_t partitions;
	int rc = kafka_producer_partition_count(
		sender->producer, TOPIC_FLOWS, TOPIC_TIMEOUT_MS, &partitions, msg);

	if (rc != 0 || partitions == sender->options.partitions)
		return rc;
	message_set(msg,
		"topic %s has %u partitions, it had %u; the number never changes: use another "
		"--topic-prefix",
		topic_name(name, sender->options.kafka.prefix, TOPIC_FLOWS), partitions,
		sender->options.partitions);
	return FAIL_FORMAT;
}

/* Before a transaction, however long it takes to get an answer. */
static int settle_partitions(struct sender *sender, struct message *msg)
{
	bool is_said = false;
	int rc;

	while ((rc = check_partitions(sender, msg)) == FAIL_REMOTE) {
		if (must_stop(sender))
			return FAIL_STOPPED;
		if (!is_said)
			log_warning("kafka does not answer, trying again error=\"%s\"", msg->text);
		is_said = true;
		timing_pause_ms(RETRY_PAUSE_MS);
	}
	return rc;
}

int sender_send(struct sender *sender, struct entry *first, struct message *msg)
{
	struct cursor cursor;

	for (; first != NULL && sender->next_number <= sender->cursor.entry; first = first->next) {
		sender->next_number++;
		sender->skipped++;
	}
	if (first == NULL)
		return 0;
	cursor = cursor_after(sender, first);
	for (;;) {
		int rc = settle_partitions(sender, msg);
		enum kafka_outcome outcome;

		if (rc != 0)
			return rc;
		outcome = send_transaction(sender, first, &cursor);
		if (outcome == KAFKA_ABORTED) {
			if (must_stop(sender))
				return FAIL_STOPPED;
			log_info("transaction aborted, sending again entry=%lld reason=\"%s\"",
				(long long)sender->next_number,
				kafka_producer_error(sender->producer));
			timing_pause_ms(RETRY_PAUSE_MS);
			continue;
		}
		if (outcome == KAFKA_ANEW)
			rc = start_anew(sender, msg);
		if (rc != 0)
			return rc;
		if (outcome == KAFKA_DONE || sender->cursor.entry >= cursor.entry)
			break;
	}
	sender->sent += (uint64_t)(cursor.entry + 1 - sender->next_number);
	sender->cursor = cursor;
	sender->next_number = cursor.entry + 1;
	return 0;
}

int sender_finish(struct sender *sender, struct message *msg)
{
	struct cursor cursor = sender->cursor;

	if (sender->options.is_live || cursor.is_finished)
		return 0;
	cursor.is_finished = true;
	return settle_cursor(sender, &cursor, msg);
}

const struct cursor *sender_cursor(const struct sender *sender)
{
	return &sender->cursor;
}

uint64_t sender_sent(const struct sender *sender)
{
	return sender->sent;
}

uint64_t sender_skipped(const struct sender *sender)
{
	return sender->skipped;
}

bool sender_is_complete(const struct sender *sender)
{
	return sender->cursor.is_finished;
}

bool sender_needs_another_pass(const struct sender *sender)
{
	return sender->needs_another_pass;
}
