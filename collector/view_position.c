#include "collector/view_position.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/log.h"

#define INIT_TIMEOUT_MS	 10000
#define STATE_TIMEOUT_MS 30000

struct view_takeover {
	const struct view_place *place; /* constant */
	uint32_t partition;		/* constant */
	pthread_t thread;
	atomic_bool is_abandoned, is_over;
	/* the thread's until is_over */
	struct view_standing standing;
	struct message msg;
	int rc;
};

enum kafka_outcome view_position_send(const struct view_place *place, uint32_t partition,
	struct kafka_producer *producer, const struct view_state *state)
{
	const void *group = log_reader_group(place->reader);
	struct buffer value = { 0 };
	char key[TRANSACTIONAL_ID_BYTES];
	struct kafka_message message = { .topic = TOPIC_STATE };
	enum kafka_outcome outcome = KAFKA_ANEW;

	view_state_key(key, place->group, partition);
	view_state_encode(state, &value);
	message.key = (struct bytes){ (const uint8_t *)key, strlen(key) };
	message.value = (struct bytes){ value.data, value.size };
	message.partition = topic_key_partition(key, place->partition_count);
	if (!value.failed)
		outcome = kafka_send(producer, &message);
	if (outcome == KAFKA_DONE)
		outcome = kafka_send_offset(producer, group, TOPIC_FLOWS, partition, state->offset);
	buffer_fini(&value);
	log_reader_group_release(group);
	return outcome;
}

/* The topic no longer holds what was not enriched: in one transaction the position moves, and says so. */
static int skip_gap(struct view_takeover *takeover, int64_t low)
{
	struct view_state *state = &takeover->standing.state;
	struct kafka_producer *producer = takeover->standing.producer;
	int64_t from = state->offset < 0 ? 0 : state->offset;
	enum kafka_outcome outcome;

	view_state_add_gap(state, from, low);
	state->offset = low;
	outcome = kafka_begin(producer);
	if (outcome == KAFKA_DONE)
		outcome = view_position_send(takeover->place, takeover->partition, producer, state);
	if (outcome == KAFKA_DONE)
		outcome = kafka_commit(producer);
	if (outcome != KAFKA_DONE) {
		message_set(&takeover->msg, "a gap could not be stored: %s",
			kafka_producer_error(producer));
		return FAIL_REMOTE;
	}
	log_error("the topic no longer holds what was not read view=%s partition=%u "
		  "from_offset=%" PRId64 " to_offset=%" PRId64,
		takeover->place->view, takeover->partition, from, low);
	return 0;
}

/* Compares the position with what the topic holds. */
static int check_reach(struct view_takeover *takeover)
{
	struct view_state *state = &takeover->standing.state;
	int64_t low, high;
	int rc = log_reader_bounds(takeover->place->reader, takeover->partition, &low, &high);

	if (rc != 0)
		return rc;
	if (state->offset > high) {
		message_set(&takeover->msg,
			"view %s stands at offset %" PRId64
			" of partition %u, but the topic ends at %" PRId64
			": it is another topic; give another --topic-prefix or --group",
			takeover->place->view, state->offset, takeover->partition, high);
		return FAIL_LIMIT;
	}
	if (state->offset < low && low > 0)
		return skip_gap(takeover, low);
	if (state->offset < low)
		state->offset = low;
	return 0;
}

/* Fence, then ask for the committed offset, then the state: in this order nothing can move in between. */
static int take_over(struct view_takeover *takeover)
{
	const struct view_place *place = takeover->place;
	struct view_standing *standing = &takeover->standing;
	int64_t committed = -1;
	char id[TRANSACTIONAL_ID_BYTES];
	int rc;

	view_state_key(id, place->group, takeover->partition);
	rc = kafka_producer_create(&standing->producer, place->kafka, id, &takeover->msg);
	if (rc == 0)
		rc = kafka_producer_init(standing->producer, INIT_TIMEOUT_MS,
			&takeover->is_abandoned, &takeover->msg);
	if (rc == 0)
		rc = log_reader_committed(place->reader, takeover->partition, &committed);
	if (rc == 0)
		rc = view_state_load(
			&standing->state, place->kafka, id, STATE_TIMEOUT_MS, &takeover->msg);
	if (rc == 0 && committed > standing->state.offset)
		standing->state.offset = committed;
	return rc == 0 ? check_reach(takeover) : rc;
}

static void *takeover_main(void *context)
{
	struct view_takeover *takeover = context;

	takeover->rc = take_over(takeover);
	if (takeover->rc != 0) {
		kafka_producer_destroy(takeover->standing.producer);
		takeover->standing.producer = NULL;
		view_state_fini(&takeover->standing.state);
	}
	takeover->is_over = true;
	return NULL;
}

int view_takeover_start(
	struct view_takeover **out, const struct view_place *place, uint32_t partition)
{
	struct view_takeover *takeover = calloc(1, sizeof(*takeover));

	if (takeover == NULL)
		return -ENOMEM;
	takeover->place = place;
	takeover->partition = partition;
	if (pthread_create(&takeover->thread, NULL, takeover_main, takeover) != 0) {
		free(takeover);
		return -EAGAIN;
	}
	*out = takeover;
	return 0;
}

bool view_takeover_is_over(const struct view_takeover *takeover)
{
	return takeover->is_over;
}

void view_takeover_abandon(struct view_takeover *takeover)
{
	takeover->is_abandoned = true;
}

int view_takeover_end(
	struct view_takeover *takeover, struct view_standing *out, struct message *msg)
{
	int rc;

	if (takeover == NULL)
		return FAIL_STOPPED;
	pthread_join(takeover->thread, NULL);
	rc = takeover->is_abandoned ? FAIL_STOPPED : takeover->rc;
	if (rc == 0)
		*out = takeover->standing;
	else {
		kafka_producer_destroy(takeover->standing.producer);
		view_state_fini(&takeover->standing.state);
	}
	*msg = takeover->msg;
	free(takeover);
	return rc;
}
