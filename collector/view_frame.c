#include "collector/view_frame.h"

#include <inttypes.h>
#include <stdlib.h>

#include "schemas/base/log.h"
#include "schemas/base/timing.h"

#define POLL_MS	   50
#define RETRY_MS   1000
#define CONNECT_MS 3000

/* Gives the partition's producer up; what it had open is aborted by the next one's init. */
static void forget(struct view_frame *frame, uint32_t number)
{
	struct view_partition *partition = &frame->partitions[number];

	kafka_producer_destroy(partition->producer);
	partition->producer = NULL;
	partition->is_open = false;
	partition->is_positioned = false;
	view_state_fini(&partition->state);
	partition->state = (struct view_state){ .offset = -1 };
	frame->options.forgotten(frame->options.context, number);
}

static void on_assigned(void *context, uint32_t number)
{
	struct view_frame *frame = context;

	if (number >= frame->partition_count) {
		message_set(&frame->fatal,
			"the flows topic has more partitions than when this program started; their "
			"number must never change");
		frame->is_failed = true;
		return;
	}
	frame->partitions[number].is_ours = true;
	frame->partitions[number].is_positioned = false;
	frame->partitions[number].retry_at_ms = 0;
}

static void on_revoked(void *context, uint32_t number)
{
	struct view_frame *frame = context;

	if (number >= frame->partition_count)
		return;
	frame->partitions[number].is_ours = false;
	if (frame->partitions[number].takeover != NULL)
		view_takeover_abandon(frame->partitions[number].takeover);
	forget(frame, number);
}

/* ---- taking over ---- */

/* The takeover is over: reading begins where it says, or it is tried again. */
static void adopt(struct view_frame *frame, uint32_t number)
{
	struct view_partition *partition = &frame->partitions[number];
	struct view_standing standing = { 0 };
	struct message msg = { 0 };
	int rc = view_takeover_end(partition->takeover, &standing, &msg);

	partition->takeover = NULL;
	if (rc == 0) {
		forget(frame, number);
		partition->producer = standing.producer;
		partition->state = standing.state;
		rc = frame->options.adopted(frame->options.context, number);
	}
	if (rc == 0) {
		rc = log_reader_seek(frame->reader, number, partition->state.offset);
		partition->is_positioned = rc == 0;
	}
	if (rc == 0 || rc == FAIL_STOPPED)
		return;
	if (rc == FAIL_LIMIT || rc == FAIL_CONFIG) {
		frame->fatal = msg;
		frame->is_failed = true;
		return;
	}
	partition->retry_at_ms = timing_now_ms() + RETRY_MS;
	log_warning("view %s waits partition=%u error=\"%s\"", frame->options.view, number,
		msg.text[0] != '\0' ? msg.text
		: rc == FAIL_REMOTE ? "kafka does not answer"
				    : error_text(rc));
}

/* Each partition by itself: one whose servers are away holds up no other. */
static void recover(struct view_frame *frame)
{
	for (uint32_t i = 0; i < frame->partition_count && !frame->is_failed; i++) {
		struct view_partition *partition = &frame->partitions[i];

		if (partition->takeover != NULL) {
			if (view_takeover_is_over(partition->takeover))
				adopt(frame, i);
			continue;
		}
		if (!partition->is_ours || partition->is_positioned ||
			timing_now_ms() < partition->retry_at_ms)
			continue;
		forget(frame, i);
		if (view_takeover_start(&partition->takeover, &frame->place, i) != 0)
			partition->retry_at_ms = timing_now_ms() + RETRY_MS;
	}
}

static void end_takeovers(struct view_frame *frame)
{
	struct view_standing standing = { 0 };
	struct message msg;

	for (uint32_t i = 0; frame->partitions != NULL && i < frame->partition_count; i++)
		if (frame->partitions[i].takeover != NULL)
			view_takeover_abandon(frame->partitions[i].takeover);
	for (uint32_t i = 0; frame->partitions != NULL && i < frame->partition_count; i++)
		(void)!view_takeover_end(frame->partitions[i].takeover, &standing, &msg);
}

/* ---- transactions ---- */

enum kafka_outcome view_frame_begin(struct view_frame *frame, uint32_t number)
{
	struct view_partition *partition = &frame->partitions[number];
	enum kafka_outcome outcome;

	if (partition->is_open)
		return KAFKA_DONE;
	outcome = kafka_begin(partition->producer);
	partition->is_open = outcome == KAFKA_DONE;
	partition->since_ms = timing_now_ms();
	return outcome;
}

void view_frame_start_again(struct view_frame *frame, uint32_t number)
{
	log_info("transaction failed, reading again view=%s partition=%u reason=\"%s\"",
		frame->options.view, number,
		kafka_producer_error(frame->partitions[number].producer));
	log_reader_pause(frame->reader, number);
	forget(frame, number);
}

void view_frame_commit(struct view_frame *frame, uint32_t number)
{
	struct view_partition *partition = &frame->partitions[number];
	enum kafka_outcome outcome =
		view_position_send(&frame->place, number, partition->producer, &partition->state);

	if (outcome == KAFKA_DONE)
		outcome = kafka_commit(partition->producer);
	if (outcome == KAFKA_DONE)
		partition->is_open = false;
	else
		view_frame_start_again(frame, number);
}

enum kafka_outcome view_frame_poison(
	struct view_frame *frame, const struct log_message *poison, const char *reason)
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
	topic_name(topic, frame->kafka.prefix, TOPIC_FLOWS);
	snprintf(partition, sizeof(partition), "%u", poison->partition);
	snprintf(offset, sizeof(offset), "%" PRId64, poison->offset);
	return kafka_send(frame->partitions[poison->partition].producer, &message);
}

/* ---- reading ---- */

static void take(struct view_frame *frame, const struct log_message *message)
{
	const struct view_partition *partition;

	if (message->partition >= frame->partition_count)
		return;
	partition = &frame->partitions[message->partition];
	if (partition->is_ours && partition->is_positioned)
		frame->options.message(frame->options.context, message);
}

int view_frame_run(struct view_frame *frame, struct message *msg)
{
	while (!*frame->options.stop && !frame->is_failed) {
		struct log_message message;
		int rc = log_reader_poll(frame->reader, POLL_MS, &message, msg);

		if (rc == 1) {
			take(frame, &message);
			log_message_release(&message);
		} else if (rc == FAIL_LIMIT) {
			log_warning("view %s looks for its position again reason=\"%s\"",
				frame->options.view, msg->text);
			for (uint32_t i = 0; i < frame->partition_count; i++)
				forget(frame, i);
		}
		frame->options.due(frame->options.context, false);
		recover(frame);
	}
	if (frame->is_failed) {
		*msg = frame->fatal;
		return FAIL_REMOTE;
	}
	frame->options.due(frame->options.context, true);
	return 0;
}

int view_frame_open(
	struct view_frame *frame, const struct view_frame_options *options, struct message *msg)
{
	struct log_reader_events events = { on_assigned, on_revoked, frame };
	int rc;

	frame->options = *options;
	frame->kafka = kafka_settings_of(options->config);
	do {
		rc = kafka_partition_count(
			&frame->kafka, TOPIC_FLOWS, CONNECT_MS, &frame->partition_count, msg);
		if (rc != 0)
			log_warning(
				"view %s waits for kafka error=\"%s\"", options->view, msg->text);
	} while (rc == FAIL_REMOTE && !*options->stop);
	if (rc != 0)
		return rc;
	frame->partitions = calloc(frame->partition_count, sizeof(*frame->partitions));
	if (frame->partitions == NULL)
		return -ENOMEM;
	view_state_group(frame->group, frame->kafka.prefix,
		config_text(options->config, OPT_COLLECTOR_GROUP), options->view);
	rc = log_reader_open(&frame->reader, &frame->kafka, frame->group, &events, msg);
	frame->place = (struct view_place){ options->view, &frame->kafka, frame->reader,
		frame->group, frame->partition_count };
	return rc;
}

void view_frame_close(struct view_frame *frame)
{
	end_takeovers(frame);
	log_reader_close(frame->reader);
	for (uint32_t i = 0; frame->partitions != NULL && i < frame->partition_count; i++)
		forget(frame, i);
	free(frame->partitions);
}
