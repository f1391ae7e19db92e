#include "collector/message_records.h"

#include <stdlib.h>

#define RECORDS_MAX 65536 /* of one message; ours have at most 4,096 */

int message_records_init(struct message_records *records)
{
	*records = (struct message_records){ 0 };
	return container_decoder_create(&records->decoder);
}

static void release_items(struct message_records *records)
{
	for (size_t i = 0; i < records->count; i++)
		container_item_fini(&records->items[i]);
	records->count = 0;
}

void message_records_fini(struct message_records *records)
{
	release_items(records);
	free(records->items);
	container_decoder_destroy(records->decoder);
	*records = (struct message_records){ 0 };
}

static int reserve(struct message_records *records)
{
	size_t capacity = records->capacity != 0 ? records->capacity * 2 : 64;
	struct container_item *items;

	if (records->count < records->capacity)
		return 0;
	if (records->count == RECORDS_MAX)
		return FAIL_FORMAT;
	items = realloc(records->items, capacity * sizeof(*items));
	if (items == NULL)
		return -ENOMEM;
	records->items = items;
	records->capacity = capacity;
	return 0;
}

static bool is_plausible(const struct container_item *item)
{
	if (item->kind == ITEM_FLOW)
		return flow_is_plausible(&item->flow);
	return item->kind != ITEM_MARKER || marker_is_plausible(&item->marker);
}

static int decode_block(
	struct message_records *records, struct container_records *block, struct message *msg)
{
	for (;;) {
		int rc = reserve(records);

		if (rc == FAIL_FORMAT)
			message_set(msg, "message holds too many records");
		if (rc == 0)
			rc = container_next(
				records->decoder, block, &records->items[records->count], msg);
		if (rc != 0)
			return rc;
		if (records->items[records->count].kind == ITEM_NONE)
			return 0;
		if (!is_plausible(&records->items[records->count++])) {
			message_set(msg, "record claims more than one minute can hold");
			return FAIL_FORMAT;
		}
	}
}

int message_records_decode(
	struct message_records *records, struct bytes message, struct message *msg)
{
	struct byte_reader r = byte_reader_of(message.data, message.size);
	struct container_records block;
	int rc;

	release_items(records);
	if (message.size == 0) {
		message_set(msg, "message is empty");
		return FAIL_FORMAT;
	}
	rc = container_decoder_header(records->decoder, &r, &records->origin, msg);
	while (rc == 0 && bytes_left(&r) > 0) {
		rc = container_decoder_block(records->decoder, &r, &block, msg);
		if (rc == 0)
			rc = decode_block(records, &block, msg);
	}
	if (rc == FAIL_TRUNCATED) {
		message_set(msg, "message is cut");
		rc = FAIL_FORMAT;
	}
	return rc;
}
