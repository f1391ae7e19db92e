#include "collector/gaps.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

void gap_list_add(struct gap_list *list, const struct gap *gap)
{
	struct gap *items = realloc(list->items, (list->count + 1) * sizeof(*items));

	if (items == NULL) {
		list->is_out_of_memory = true;
		return;
	}
	list->items = items;
	items[list->count++] = *gap;
}

void gap_list_fini(struct gap_list *list)
{
	free(list->items);
	*list = (struct gap_list){ 0 };
}

void gap_text(const struct gap *gap, char out[GAP_TEXT_BYTES])
{
	snprintf(out, GAP_TEXT_BYTES,
		"{\"partition\":%" PRIu32 ",\"from_offset\":%" PRId64 ",\"to_offset\":%" PRId64 "}",
		gap->partition, gap->from, gap->to);
}

bool gap_parse(struct gap *out, const char *text)
{
	json_t *json = json_loads(text, 0, NULL);
	const json_t *partition = json_object_get(json, "partition"),
		     *from = json_object_get(json, "from_offset"),
		     *to = json_object_get(json, "to_offset");
	bool is_gap = json_is_integer(partition) && json_is_integer(from) && json_is_integer(to) &&
		      json_integer_value(partition) >= 0 &&
		      json_integer_value(partition) <= UINT32_MAX;

	if (is_gap)
		*out = (struct gap){ (uint32_t)json_integer_value(partition),
			json_integer_value(from), json_integer_value(to) };
	json_decref(json);
	return is_gap;
}

void gap_sentence(const struct gap *gap, const char *what, char out[GAP_SENTENCE_BYTES])
{
	snprintf(out, GAP_SENTENCE_BYTES,
		"not %s: offsets %" PRId64 " to %" PRId64 " of partition %" PRIu32
		", which the topic no longer held",
		what, gap->from, gap->to - 1, gap->partition);
}
