/*
 * Any bytes as containers set end to end: what is accepted is sound, and encoded again it decodes
 * to the same.
 */
#include "schemas/container.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/sketch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Our own encoding of a record, with the one record that it decodes to. */
static void check_again(const struct container_item *item)
{
	struct origin origin = { "fuzz", TIMELINE_LIVE, 1 };
	struct buffer records = { 0 }, again = { 0 }, block = { 0 };
	struct container_decoder *decoder;
	struct container_records reader;
	struct container_item read;
	struct byte_reader r;
	struct message msg;

	if (item->kind == ITEM_FLOW)
		container_flow(&records, &item->flow);
	else
		container_marker(&records, &item->marker);
	container_header(&block, &origin);
	container_block(&block, 1, (struct bytes){ records.data, records.size });
	r = byte_reader_of(block.data, block.size);
	require(container_decoder_create(&decoder) == 0);
	require(container_decoder_header(decoder, &r, &origin, &msg) == 0);
	require(container_decoder_block(decoder, &r, &reader, &msg) == 0);
	require(container_next(decoder, &reader, &read, &msg) == 0 && read.kind == item->kind);
	if (read.kind == ITEM_FLOW)
		container_flow(&again, &read.flow);
	else
		container_marker(&again, &read.marker);
	require(again.size == records.size && memcmp(again.data, records.data, again.size) == 0);
	container_item_fini(&read);
	container_decoder_destroy(decoder);
	buffer_fini(&records);
	buffer_fini(&again);
	buffer_fini(&block);
}

static void check_item(const struct container_item *item)
{
	static struct sketch sketch;
	char text[SERVICE_TEXT_BYTES];
	struct address actor;

	if (item->kind == ITEM_MARKER) {
		require(marker_is_sound(&item->marker));
		check_again(item);
	}
	if (item->kind != ITEM_FLOW)
		return;
	require(flow_is_sound(&item->flow));
	require(class_name(item->flow.class) != NULL && role_name(item->flow.role) != NULL);
	require(tool_name(item->flow.tool) != NULL && payload_name(item->flow.payload) != NULL);
	service_text(item->flow.protocol, item->flow.service_port, text);
	actor = flow_actor(&item->flow);
	require(address_partition(&actor, 6) < 6);
	if (sketch_decode(&sketch, item->flow.destination_sketch) == 0)
		(void)sketch_count(&sketch);
	check_again(item);
}

static int read_block(struct container_decoder *decoder, struct byte_reader *r)
{
	struct container_records records;
	struct container_item item;
	struct message msg = { "" };
	int rc = container_decoder_block(decoder, r, &records, &msg);

	while (rc == 0) {
		rc = container_next(decoder, &records, &item, &msg);
		if (rc != 0 || item.kind == ITEM_NONE)
			break;
		check_item(&item);
		container_item_fini(&item);
	}
	require(rc != FAIL_FORMAT || msg.text[0] != '\0');
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct byte_reader r = byte_reader_of(data, size);
	struct container_decoder *decoder;
	struct message msg = { "" };
	struct origin origin;
	int rc;

	if (container_decoder_create(&decoder) != 0)
		return 0;
	rc = container_decoder_header(decoder, &r, &origin, &msg);
	require(rc != FAIL_FORMAT || msg.text[0] != '\0');
	while (rc == 0 && bytes_left(&r) > 0) {
		if (container_starts(&r))
			rc = container_decoder_header(decoder, &r, &origin, &msg);
		else
			rc = read_block(decoder, &r);
	}
	container_decoder_destroy(decoder);
	return 0;
}
