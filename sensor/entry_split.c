#include "sensor/entry_split.h"

#include <stdlib.h>

/* The entry being built. */
struct split {
	struct entry_message *messages;
	size_t message_count;
	struct entry_share *shares;
	struct buffer *records; /* one per partition */
	uint32_t *record_counts;
	uint32_t partitions;
	struct bytes header; /* container header in front of each message */
};

static void split_fini(struct split *split)
{
	for (uint32_t p = 0; split->records != NULL && p < split->partitions; p++)
		buffer_fini(&split->records[p]);
	for (size_t i = 0; i < split->message_count; i++)
		buffer_fini(&split->messages[i].payload);
	free(split->messages);
	free(split->shares);
	free(split->records);
	free(split->record_counts);
}

static int split_init(struct split *split, uint32_t partitions)
{
	*split = (struct split){ .partitions = partitions };
	split->shares = calloc(partitions, sizeof(*split->shares));
	split->records = calloc(partitions, sizeof(*split->records));
	split->record_counts = calloc(partitions, sizeof(*split->record_counts));
	return split->shares != NULL && split->records != NULL && split->record_counts != NULL
		       ? 0
		       : -ENOMEM;
}

/* Turns a partition's records into a message. */
static int end_message(struct split *split, uint32_t partition)
{
	struct buffer *records = &split->records[partition];
	struct buffer payload = { 0 };
	struct entry_message *messages;

	if (split->record_counts[partition] == 0)
		return 0;
	messages = realloc(split->messages, (split->message_count + 1) * sizeof(*messages));
	if (messages == NULL)
		return -ENOMEM;
	split->messages = messages;
	buffer_append(&payload, split->header.data, split->header.size);
	container_block(&payload, split->record_counts[partition],
		(struct bytes){ records->data, records->size });
	messages[split->message_count++] =
		(struct entry_message){ partition, split->record_counts[partition], payload };
	buffer_clear(records);
	split->record_counts[partition] = 0;
	return payload.failed ? -ENOMEM : 0;
}

static int add_record(struct split *split, const struct flow_record *flow, struct bytes encoded)
{
	struct address actor = flow_actor(flow);
	uint32_t partition = address_partition(&actor, split->partitions);
	struct buffer *records = &split->records[partition];

	buffer_append(records, encoded.data, encoded.size);
	if (records->failed)
		return -ENOMEM;
	split->shares[partition].flows++;
	split->shares[partition].packets += (uint64_t)flow->packets;
	if (++split->record_counts[partition] == FLOWS_PER_BLOCK ||
		records->size >= MESSAGE_CUT_BYTES)
		return end_message(split, partition);
	return 0;
}

static int add_message(
	struct split *split, struct container_decoder *decoder, const struct buffer *payload)
{
	struct byte_reader r = byte_reader_of(payload->data, payload->size);
	struct container_records records;
	struct container_item item;
	struct origin origin;
	int rc = container_decoder_header(decoder, &r, &origin, NULL);

	split->header = (struct bytes){ payload->data, (size_t)(r.at - payload->data) };
	if (rc == 0)
		rc = container_decoder_block(decoder, &r, &records, NULL);
	while (rc == 0) {
		const uint8_t *start = records.reader.at;

		rc = container_next(decoder, &records, &item, NULL);
		if (rc != 0 || item.kind == ITEM_NONE)
			break;
		rc = item.kind != ITEM_FLOW
			     ? FAIL_FORMAT
			     : add_record(split, &item.flow,
				       (struct bytes){
					       start, (size_t)(records.reader.at - start) });
	}
	return rc;
}

/* The new messages in place of the old ones. */
static void replace(struct entry *entry, struct split *split)
{
	struct entry_message *old = entry->messages;
	size_t old_count = entry->message_count;
	struct entry_share *old_shares = entry->shares;

	for (size_t i = 0; i < old_count; i++)
		entry->bytes -= old[i].payload.capacity;
	for (size_t i = 0; i < split->message_count; i++)
		entry->bytes += split->messages[i].payload.capacity;
	entry->messages = split->messages;
	entry->message_count = split->message_count;
	entry->shares = split->shares;
	entry->partitions = split->partitions;
	entry->ledger.partitions = (int32_t)split->partitions;
	split->messages = old;
	split->message_count = old_count;
	split->shares = old_shares;
}

int entry_split(struct entry *entry, uint32_t partitions)
{
	struct container_decoder *decoder = NULL;
	struct split split;
	int rc = split_init(&split, partitions);

	if (rc == 0)
		rc = container_decoder_create(&decoder);
	for (size_t i = 0; rc == 0 && i < entry->message_count; i++)
		rc = add_message(&split, decoder, &entry->messages[i].payload);
	for (uint32_t p = 0; rc == 0 && p < partitions; p++)
		rc = end_message(&split, p);
	if (rc == 0)
		replace(entry, &split);
	container_decoder_destroy(decoder);
	split_fini(&split);
	return rc;
}
