#include "collector/view_state.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

void view_state_key(char out[TRANSACTIONAL_ID_BYTES], const char *group, uint32_t partition)
{
	snprintf(out, TRANSACTIONAL_ID_BYTES, "%s.%u", group, partition);
}

void view_state_group(char out[TRANSACTIONAL_ID_BYTES / 2], const char *prefix, const char *group,
	const char *view)
{
	snprintf(out, TRANSACTIONAL_ID_BYTES / 2, "%s.%s.%s", prefix, group, view);
}

void view_state_fini(struct view_state *state)
{
	buffer_fini(&state->kept);
}

void view_state_add_gap(struct view_state *state, int64_t from, int64_t to)
{
	if (state->gap_count == VIEW_GAPS_MAX) {
		memmove(&state->gaps[0], &state->gaps[1],
			(VIEW_GAPS_MAX - 1) * sizeof(state->gaps[0]));
		state->gap_count--;
		state->older_gaps++;
	}
	state->gaps[state->gap_count++] = (struct view_gap){ from, to };
}

void view_state_encode(const struct view_state *state, struct buffer *out)
{
	buffer_format(out, "{\"offset\":%" PRId64, state->offset);
	for (size_t i = 0; i < state->gap_count; i++)
		buffer_format(out, "%s[%" PRId64 ",%" PRId64 "]", i == 0 ? ",\"gaps\":[" : ",",
			state->gaps[i].from, state->gaps[i].to);
	if (state->gap_count > 0)
		buffer_format(out, "],\"older_gaps\":%" PRIu64, state->older_gaps);
	if (state->kept.size > 0) {
		buffer_append_text(out, ",\"kept\":");
		buffer_append(out, state->kept.data, state->kept.size);
	}
	buffer_append_text(out, "}");
}

static int append_json(const char *text, size_t size, void *context)
{
	buffer_append(context, text, size);
	return 0;
}

static int64_t integer_of(const json_t *value, int64_t otherwise)
{
	return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value)
									: otherwise;
}

void view_state_decode(struct view_state *out, struct bytes value)
{
	json_t *json = NULL, *gap;
	size_t i;

	*out = (struct view_state){ .offset = -1 };
	if (value.size > 0)
		json = json_loadb((const char *)value.data, value.size, 0, NULL);
	out->offset = integer_of(json_object_get(json, "offset"), -1);
	out->older_gaps = (uint64_t)integer_of(json_object_get(json, "older_gaps"), 0);
	json_array_foreach (json_object_get(json, "gaps"), i, gap) {
		int64_t from = integer_of(json_array_get(gap, 0), -1),
			to = integer_of(json_array_get(gap, 1), -1);

		if (from >= 0 && to > from)
			view_state_add_gap(out, from, to);
	}
	if (json_object_get(json, "kept") != NULL)
		(void)json_dump_callback(json_object_get(json, "kept"), append_json, &out->kept,
			JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(json);
}

int view_state_load(struct view_state *out, const struct kafka_settings *kafka, const char *key,
	int timeout_ms, struct message *msg)
{
	struct buffer value = { 0 };
	int rc = kafka_last_value(kafka, TOPIC_STATE, key, timeout_ms, &value, msg);

	if (rc == 0)
		view_state_decode(out, (struct bytes){ value.data, value.size });
	buffer_fini(&value);
	return rc;
}
