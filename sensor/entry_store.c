/*
 * Layout, little endian: version 4 | ledger: size 4, container with one marker | partitions 4 |
 * of each partition: flows 8, packets 8 | messages 4 | of each: partition 4, flows 4, size 4, bytes
 */
#include "sensor/entry_store.h"

#include <stdlib.h>

#define STORE_VERSION	   1
#define PARTITIONS_MAX	   65536 /* far above what a topic has */
#define SHARE_BYTES	   16
#define FIGURE_MAX	   (UINT64_C(1) << 53) /* no minute has so many, and sums stay exact */
#define MESSAGE_HEAD_BYTES 12

static void append_u32(struct buffer *out, uint32_t value)
{
	uint8_t bytes[4];

	store_u32_le(bytes, value);
	buffer_append(out, bytes, sizeof(bytes));
}

static void append_u64(struct buffer *out, uint64_t value)
{
	uint8_t bytes[8];

	store_u64_le(bytes, value);
	buffer_append(out, bytes, sizeof(bytes));
}

static void append_ledger(const struct entry *entry, struct buffer *out)
{
	struct buffer record = { 0 }, container = { 0 };

	entry_marker(entry, 0, 0, &record);
	container_header(&container, &entry->origin);
	container_block(&container, 1, (struct bytes){ record.data, record.size });
	append_u32(out, (uint32_t)container.size);
	buffer_append(out, container.data, container.size);
	out->failed |= record.failed || container.failed;
	buffer_fini(&record);
	buffer_fini(&container);
}

void entry_encode(const struct entry *entry, struct buffer *out)
{
	append_u32(out, STORE_VERSION);
	append_ledger(entry, out);
	append_u32(out, entry->partitions);
	for (uint32_t p = 0; p < entry->partitions; p++) {
		append_u64(out, entry->shares[p].flows);
		append_u64(out, entry->shares[p].packets);
	}
	append_u32(out, (uint32_t)entry->message_count);
	for (size_t i = 0; i < entry->message_count; i++) {
		const struct entry_message *message = &entry->messages[i];

		append_u32(out, message->partition);
		append_u32(out, message->flows);
		append_u32(out, (uint32_t)message->payload.size);
		buffer_append(out, message->payload.data, message->payload.size);
	}
}

/* ---- reading ---- */

static uint64_t read_u64(struct byte_reader *r)
{
	uint64_t low = bytes_u32_le(r);

	return low | (uint64_t)bytes_u32_le(r) << 32;
}

/* Moves a text to where `at` points, and that behind it. */
static void own_text(struct bytes *text, uint8_t **at)
{
	if (text->size > 0)
		memcpy(*at, text->data, text->size);
	text->data = *at;
	*at += text->size;
}

/* Lists of a decoded marker borrow from its bytes: texts and rows become the entry's own. */
static int own_lists(struct entry *entry, const struct marker_record *marker)
{
	const struct ledger_range *ranges = marker->ranges.items;
	const struct ledger_sender *senders = marker->dark_senders.items;
	size_t range_count = marker->ranges.count, sender_count = marker->dark_senders.count;
	size_t text_bytes = 1;
	uint8_t *at;

	for (size_t i = 0; i < range_count; i++)
		text_bytes += ranges[i].prefix.size;
	for (size_t i = 0; i < sender_count; i++)
		text_bytes += senders[i].address.size;
	entry->ranges = calloc(range_count + 1, sizeof(*entry->ranges));
	entry->senders = calloc(sender_count + 1, sizeof(*entry->senders));
	entry->texts = at = malloc(text_bytes);
	if (entry->ranges == NULL || entry->senders == NULL || at == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < range_count; i++) {
		entry->ranges[i] = ranges[i];
		own_text(&entry->ranges[i].prefix, &at);
	}
	for (size_t i = 0; i < sender_count; i++) {
		entry->senders[i] = senders[i];
		own_text(&entry->senders[i].address, &at);
	}
	entry->ledger.ranges = (struct avro_list){ entry->ranges, range_count };
	entry->ledger.dark_senders = (struct avro_list){ entry->senders, sender_count };
	return 0;
}

static int read_marker(struct entry *entry, struct container_decoder *decoder,
	struct byte_reader *r, struct message *msg)
{
	struct container_records records;
	struct container_item item;
	int rc = container_decoder_header(decoder, r, &entry->origin, msg);

	if (rc == 0)
		rc = container_decoder_block(decoder, r, &records, msg);
	if (rc == 0)
		rc = container_next(decoder, &records, &item, msg);
	if (rc != 0)
		return rc;
	if (item.kind == ITEM_MARKER) {
		entry->ledger = item.marker;
		rc = own_lists(entry, &item.marker);
	} else {
		rc = FAIL_FORMAT;
	}
	container_item_fini(&item);
	return rc;
}

static int read_ledger(struct entry *entry, struct byte_reader *r, struct message *msg)
{
	uint32_t size = bytes_u32_le(r);
	const uint8_t *data = bytes_take(r, size);
	struct container_decoder *decoder;
	struct byte_reader inner;
	int rc;

	if (data == NULL)
		return FAIL_FORMAT;
	inner = byte_reader_of(data, size);
	rc = container_decoder_create(&decoder);
	if (rc != 0)
		return rc;
	rc = read_marker(entry, decoder, &inner, msg);
	container_decoder_destroy(decoder);
	return rc == FAIL_TRUNCATED ? FAIL_FORMAT : rc;
}

static int read_shares(struct entry *entry, struct byte_reader *r)
{
	entry->partitions = bytes_u32_le(r);
	if (entry->partitions == 0 || entry->partitions > PARTITIONS_MAX ||
		bytes_left(r) / SHARE_BYTES < entry->partitions)
		return FAIL_FORMAT;
	entry->shares = calloc(entry->partitions, sizeof(*entry->shares));
	if (entry->shares == NULL)
		return -ENOMEM;
	for (uint32_t p = 0; p < entry->partitions; p++) {
		entry->shares[p].flows = read_u64(r);
		entry->shares[p].packets = read_u64(r);
		if (entry->shares[p].flows > FIGURE_MAX || entry->shares[p].packets > FIGURE_MAX)
			return FAIL_FORMAT;
		entry->flows += entry->shares[p].flows;
		entry->packets += entry->shares[p].packets;
	}
	return 0;
}

static int read_message(struct entry_message *message, uint32_t partitions, struct byte_reader *r)
{
	uint32_t size;
	const uint8_t *data;

	message->partition = bytes_u32_le(r);
	message->flows = bytes_u32_le(r);
	size = bytes_u32_le(r);
	data = bytes_take(r, size);
	if (data == NULL || message->partition >= partitions)
		return FAIL_FORMAT;
	buffer_append(&message->payload, data, size);
	return message->payload.failed ? -ENOMEM : 0;
}

static int read_messages(struct entry *entry, struct byte_reader *r)
{
	uint32_t count = bytes_u32_le(r);

	if (r->truncated || bytes_left(r) / MESSAGE_HEAD_BYTES < count)
		return FAIL_FORMAT;
	entry->messages = calloc(count + 1, sizeof(*entry->messages));
	if (entry->messages == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		int rc = read_message(&entry->messages[i], entry->partitions, r);

		entry->message_count = i + 1;
		entry->bytes += entry->messages[i].payload.capacity;
		if (rc != 0)
			return rc;
	}
	return bytes_left(r) == 0 ? 0 : FAIL_FORMAT;
}

int entry_decode(struct entry **out, struct bytes bytes, struct message *msg)
{
	struct byte_reader r = byte_reader_of(bytes.data, bytes.size);
	uint32_t version = bytes_u32_le(&r);
	struct entry *entry;
	int rc;

	message_set(msg, "not an entry");
	if (version != STORE_VERSION) {
		message_set(
			msg, "entry of version %u, this release reads %u", version, STORE_VERSION);
		return FAIL_FORMAT;
	}
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		return -ENOMEM;
	entry->bytes = sizeof(*entry);
	rc = read_ledger(entry, &r, msg);
	if (rc == 0)
		rc = read_shares(entry, &r);
	if (rc == 0)
		rc = read_messages(entry, &r);
	if (rc != 0) {
		entry_destroy(entry);
		return rc;
	}
	*out = entry;
	return 0;
}
