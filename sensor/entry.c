/*
 * Closing a minute: the flows of all tables come in key order (flow_order.h), equal keys (live
 * workers share flows) are folded, encoded and cut.
 *
 * The part's books: the first part carries the frames that were not counted, every part carries
 * the frames of its own flows, so frames = not IP + malformed + not dark + counted holds for each.
 */
#include "sensor/entry.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/log.h"
#include "schemas/base/signals.h"
#include "sensor/flow_order.h"
#include "sensor/prefetch.h"

#define PARTS_REMEMBERED   65536 /* minutes whose next part number is known; a power of two */
#define ENTRIES_AHEAD	   24	 /* entries asked from memory before they are encoded */
#define DESTINATIONS_AHEAD 8	 /* then their destinations */

/* The part being filled. */
struct part {
	struct buffer *records; /* one per partition */
	uint32_t *record_counts;
	struct entry *entry;
	size_t encoded_bytes;
	uint64_t wire_bytes;
	uint64_t overflow;
};

struct minute_parts {
	uint64_t minute;
	uint32_t next;
};

struct entry_closer {
	struct entry_closer_options options;
	struct ledger totals;
	struct part part;
	struct buffer header;	    /* container header in front of each message */
	struct minute_parts *parts; /* direct mapped by minute */
	uint32_t parts_max;	    /* greatest `next` of them all */
	struct flow_order order;
	/* of the minute being closed */
	uint64_t minute;
	struct ledger books;	     /* of all its windows */
	const struct ledger *ledger; /* these */
	const struct entry_interval *interval;
	uint64_t sketch_overflow;
	bool is_first_part;
	uint32_t close_part;
};

void entry_destroy(struct entry *entry)
{
	if (entry == NULL)
		return;
	for (size_t i = 0; i < entry->message_count; i++)
		buffer_fini(&entry->messages[i].payload);
	free(entry->messages);
	free(entry->shares);
	free(entry->ranges);
	free(entry->senders);
	free(entry->sender_texts);
	free(entry->texts);
	free(entry);
}

void entry_marker(
	const struct entry *entry, uint64_t number, uint32_t partition, struct buffer *records)
{
	struct marker_record marker = entry->ledger;

	marker.entry = (int64_t)number;
	marker.partition = (int32_t)partition;
	marker.flows = (int64_t)entry->shares[partition].flows;
	marker.packets = (int64_t)entry->shares[partition].packets;
	if (partition != 0) {
		marker.ranges = (struct avro_list){ 0 };
		marker.dark_senders = (struct avro_list){ 0 };
	}
	container_marker(records, &marker);
}

int entry_closer_create(struct entry_closer **out, const struct entry_closer_options *options)
{
	struct entry_closer *closer = calloc(1, sizeof(*closer));
	size_t ranges = options->darknet != NULL ? darknet_range_count(options->darknet) : 0;

	if (closer == NULL)
		return -ENOMEM;
	closer->options = *options;
	closer->totals.first_ns = UINT64_MAX;
	closer->totals.range_count = ranges;
	closer->totals.range_packets = calloc(ranges + 1, sizeof(uint64_t));
	closer->parts = calloc(PARTS_REMEMBERED, sizeof(*closer->parts));
	if (!options->is_file)
		container_header(&closer->header, &options->origin);
	if (closer->totals.range_packets == NULL || closer->parts == NULL ||
		closer->header.failed ||
		entry_closer_set_partitions(closer, options->partitions) != 0) {
		entry_closer_destroy(closer);
		return -ENOMEM;
	}
	*out = closer;
	return 0;
}

int entry_closer_set_partitions(struct entry_closer *closer, uint32_t partitions)
{
	struct buffer *records = calloc(partitions, sizeof(*records));
	uint32_t *counts = calloc(partitions, sizeof(*counts));

	if (records == NULL || counts == NULL) {
		free(records);
		free(counts);
		return -ENOMEM;
	}
	for (uint32_t i = 0; closer->part.records != NULL && i < closer->options.partitions; i++)
		buffer_fini(&closer->part.records[i]);
	free(closer->part.records);
	free(closer->part.record_counts);
	closer->part.records = records;
	closer->part.record_counts = counts;
	closer->options.partitions = partitions;
	return 0;
}

void entry_closer_set_darknet(struct entry_closer *closer, const struct darknet *darknet)
{
	closer->options.darknet = darknet;
	closer->totals.range_count = 0; /* sums by range would be of different ranges */
}

int entry_closer_set_boot(struct entry_closer *closer, int64_t boot)
{
	closer->options.origin.boot = boot;
	if (closer->options.is_file)
		return 0; /* its header is written */
	buffer_clear(&closer->header);
	container_header(&closer->header, &closer->options.origin);
	return closer->header.failed ? -ENOMEM : 0;
}

int64_t entry_closer_boot(const struct entry_closer *closer)
{
	return closer->options.origin.boot;
}

void entry_closer_destroy(struct entry_closer *closer)
{
	if (closer == NULL)
		return;
	for (uint32_t i = 0; closer->part.records != NULL && i < closer->options.partitions; i++)
		buffer_fini(&closer->part.records[i]);
	free(closer->part.records);
	free(closer->part.record_counts);
	entry_destroy(closer->part.entry);
	free(closer->totals.range_packets);
	free(closer->books.range_packets);
	free(closer->parts);
	flow_order_fini(&closer->order);
	buffer_fini(&closer->header);
	free(closer);
}

const struct ledger *entry_closer_totals(const struct entry_closer *closer)
{
	return &closer->totals;
}

void entry_closer_statistics(const struct entry_closer *closer)
{
	const struct ledger *totals = &closer->totals;

	if (!signals_take_statistics())
		return;
	log_info("closed minutes frames=%llu non_ip=%llu malformed=%llu not_dark=%llu counted=%llu "
		 "kernel_drops=%llu "
		 "interface_drops=%llu last_minute=%llu",
		(unsigned long long)totals->frames, (unsigned long long)totals->non_ip,
		(unsigned long long)ledger_malformed(totals), (unsigned long long)totals->not_dark,
		(unsigned long long)totals->counted, (unsigned long long)totals->kernel_drops,
		(unsigned long long)totals->interface_drops,
		(unsigned long long)(closer->minute * 60));
}

/* ---- parts ---- */

static struct minute_parts *parts_of(struct entry_closer *closer)
{
	struct minute_parts *slot = &closer->parts[closer->minute & (PARTS_REMEMBERED - 1)];

	if (slot->minute != closer->minute)
		*slot = (struct minute_parts){ .minute = closer->minute };
	if (slot->next < closer->interval->first_part)
		slot->next = closer->interval->first_part;
	return slot;
}

static uint32_t next_part(struct entry_closer *closer)
{
	uint32_t part = parts_of(closer)->next++;

	if (part >= closer->parts_max)
		closer->parts_max = part + 1;
	return part;
}

uint32_t entry_closer_parts(const struct entry_closer *closer)
{
	return closer->parts_max;
}

static int begin_part(struct entry_closer *closer)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return -ENOMEM;
	entry->origin = closer->options.origin;
	entry->close_id = closer->interval->close_id;
	entry->close_part = closer->close_part++;
	entry->partitions = closer->options.partitions;
	entry->shares = calloc(entry->partitions, sizeof(*entry->shares));
	if (entry->shares == NULL) {
		entry_destroy(entry);
		return -ENOMEM;
	}
	closer->part.entry = entry;
	closer->part.encoded_bytes = 0;
	closer->part.wire_bytes = 0;
	closer->part.overflow = 0;
	return 0;
}

/* Turns a partition's records into a message. */
static int end_message(struct entry_closer *closer, uint32_t partition)
{
	struct entry *entry = closer->part.entry;
	struct buffer *records = &closer->part.records[partition];
	struct entry_message *messages, *message;
	struct buffer payload = { 0 };

	if (closer->part.record_counts[partition] == 0)
		return 0;
	messages = realloc(entry->messages, (entry->message_count + 1) * sizeof(*messages));
	if (messages == NULL)
		return -ENOMEM;
	entry->messages = messages;
	if (!buffer_reserve(&payload, closer->header.size + records->size + 64))
		return -ENOMEM;
	buffer_append(&payload, closer->header.data, closer->header.size);
	container_block(&payload, closer->part.record_counts[partition],
		(struct bytes){ records->data, records->size });
	message = &messages[entry->message_count++];
	*message =
		(struct entry_message){ partition, closer->part.record_counts[partition], payload };
	entry->bytes += payload.capacity;
	buffer_clear(records);
	closer->part.record_counts[partition] = 0;
	return payload.failed ? -ENOMEM : 0;
}

static int fill_ranges(const struct entry_closer *closer, struct entry *entry)
{
	const struct darknet *darknet = closer->options.darknet;
	size_t count = closer->ledger->range_count;
	uint8_t *text;

	entry->ranges = calloc(count + 1, sizeof(*entry->ranges));
	entry->texts = text = malloc(count * PREFIX_TEXT_BYTES + 1);
	if (entry->ranges == NULL || text == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++, text += PREFIX_TEXT_BYTES) {
		const struct darknet_range *range = darknet_range(darknet, i);
		size_t size = strlen(range->prefix);

		memcpy(text, range->prefix, size);
		entry->ranges[i].prefix = (struct bytes){ text, size };
		entry->ranges[i].addresses = range->addresses;
		entry->ranges[i].packets = (int64_t)closer->ledger->range_packets[i];
	}
	entry->ledger.ranges = (struct avro_list){ entry->ranges, count };
	entry->bytes += count * (sizeof(*entry->ranges) + PREFIX_TEXT_BYTES);
	return 0;
}

static int compare_senders(const void *a, const void *b)
{
	return memcmp(&((const struct dark_sender *)a)->address,
		&((const struct dark_sender *)b)->address, sizeof(struct address));
}

static int fill_senders(const struct entry_closer *closer, struct entry *entry)
{
	size_t count = closer->ledger->sender_count;
	struct dark_sender sorted[SENDERS_MAX];

	entry->senders = calloc(count + 1, sizeof(*entry->senders));
	entry->sender_texts = calloc(count + 1, sizeof(*entry->sender_texts));
	if (entry->senders == NULL || entry->sender_texts == NULL)
		return -ENOMEM;
	memcpy(sorted, closer->ledger->senders, sizeof(sorted));
	qsort(sorted, count, sizeof(sorted[0]), compare_senders);
	for (size_t i = 0; i < count; i++) {
		const char *text = address_text(&sorted[i].address, entry->sender_texts[i]);

		entry->senders[i].address = (struct bytes){ (const uint8_t *)text, strlen(text) };
		entry->senders[i].packets = (int64_t)sorted[i].packets;
	}
	entry->ledger.dark_senders = (struct avro_list){ entry->senders, count };
	entry->ledger.dark_sender_packets = (int64_t)closer->ledger->sender_packets;
	return 0;
}

/* Books that only a minute's first part of this close carries. */
static int fill_minute_books(const struct entry_closer *closer, struct entry *entry)
{
	const struct ledger *ledger = closer->ledger;
	struct marker_record *marker = &entry->ledger;
	int rc;

	marker->interval_from_ns = (int64_t)closer->interval->from_ns;
	marker->interval_to_ns = (int64_t)closer->interval->to_ns;
	marker->non_ip = (int64_t)ledger->non_ip;
#define DROP_REASON(ident, name, field, text)                                                      \
	marker->field = (int64_t)ledger->malformed[PACKET_##ident];
#include "sensor/drop_reasons.def"
	marker->malformed = (int64_t)ledger_malformed(ledger);
	marker->not_dark = (int64_t)ledger->not_dark;
	if (ledger->counted > 0) {
		marker->first_ns = (int64_t)ledger->first_ns;
		marker->last_ns = (int64_t)ledger->last_ns;
	}
	marker->kernel_drops = (int64_t)ledger->kernel_drops;
	marker->interface_drops = (int64_t)ledger->interface_drops;
	marker->misdated = (int64_t)ledger->misdated;
	marker->sketch_overflow = (int64_t)closer->sketch_overflow;
	rc = fill_ranges(closer, entry);
	return rc != 0 ? rc : fill_senders(closer, entry);
}

static int fill_books(struct entry_closer *closer, struct entry *entry, bool is_last)
{
	struct marker_record *marker = &entry->ledger;
	uint64_t before = closer->interval->closed_through;
	int rc = 0;

	*marker = marker_defaults();
	if (!is_last && before == closer->minute && before > 0)
		before--;
	marker->minute_ms = (int64_t)(closer->minute * WINDOW_MS);
	marker->part = (int32_t)next_part(closer);
	marker->partitions = (int32_t)entry->partitions;
	marker->closed_through_ms = (int64_t)(before * WINDOW_MS);
	marker->final = is_last && closer->interval->is_final;
	marker->interval_from_ns = marker->interval_to_ns = (int64_t)closer->interval->to_ns;
	if (closer->options.darknet != NULL) {
		marker->monitored_addresses = (int64_t)darknet_addresses(closer->options.darknet);
		marker->monitored_ipv6_prefixes =
			(int64_t)darknet_ipv6_prefixes(closer->options.darknet);
	}
	if (closer->is_first_part)
		rc = fill_minute_books(closer, entry);
	marker->counted = (int64_t)entry->packets;
	marker->wire_bytes = (int64_t)closer->part.wire_bytes;
	marker->overflow = (int64_t)closer->part.overflow;
	marker->frames = marker->non_ip + marker->malformed + marker->not_dark + marker->counted;
	closer->is_first_part = false;
	return rc;
}

static int end_part(struct entry_closer *closer, bool is_last)
{
	struct entry *entry = closer->part.entry;
	int rc = 0;

	for (uint32_t p = 0; rc == 0 && p < entry->partitions; p++)
		rc = end_message(closer, p);
	if (rc == 0)
		rc = fill_books(closer, entry, is_last);
	if (rc != 0)
		return rc;
	entry->bytes += sizeof(*entry);
	closer->part.entry = NULL;
	return closer->options.take(closer->options.context, entry);
}

/* ---- records ---- */

/* Flows of one key, folded. */
struct folded {
	const uint8_t *key;
	enum flow_family family;
	uint64_t packets;
	uint64_t bytes;
	uint64_t first_us;
	uint64_t last_us;
	struct flow_sample sample;
	struct sketch destinations;
};

static void begin_fold(struct folded *out, const struct flow_ref *flow)
{
	const struct flow_entry *entry = flow->entry;

	out->key = entry->key;
	out->family = flow->source->family;
	out->packets = entry->packets;
	out->bytes = entry->bytes;
	out->first_us = entry->first_us;
	out->last_us = entry->last_us;
	out->sample = flow_entry_sample(entry);
	flow_entry_sketch(flow->source->table, entry, &out->destinations);
}

/* The earliest sample counts, of several at the same time the least one. */
static void fold_sample(struct folded *out, const struct flow_entry *entry)
{
	struct flow_sample sample = flow_entry_sample(entry);

	if (entry->first_us < out->first_us ||
		(entry->first_us == out->first_us &&
			memcmp(&sample, &out->sample, sizeof(sample)) < 0))
		out->sample = sample;
}

static void fold(struct folded *out, const struct flow_ref *flow)
{
	const struct flow_entry *entry = flow->entry;
	struct sketch other;

	fold_sample(out, entry);
	out->packets += entry->packets;
	out->bytes += entry->bytes;
	if (entry->first_us < out->first_us)
		out->first_us = entry->first_us;
	if (entry->last_us > out->last_us)
		out->last_us = entry->last_us;
	flow_entry_sketch(flow->source->table, entry, &other);
	sketch_merge(&out->destinations, &other);
}

static bool is_same_flow(const struct folded *folded, const struct flow_ref *flow)
{
	return folded->family == flow->source->family &&
	       memcmp(folded->key, flow->entry->key, flow_key_bytes(folded->family)) == 0;
}

static void set_labels(struct flow_record *record, const struct flow_labels *labels)
{
	record->class = labels->class;
	record->role = labels->role;
	record->protocol = labels->protocol;
	record->service_port = labels->service_port;
	record->tool = labels->tool;
	record->marks = labels->marks;
	record->payload = labels->payload;
	record->quoted_protocol = labels->has_quote ? labels->quoted_protocol : -1;
	record->quoted_port = labels->quote_has_port ? labels->quoted_port : -1;
	record->quoted_match = labels->quote_matches;
	record->overflow = labels->is_overflow;
}

static void set_sample(struct flow_record *record, const struct flow_sample *sample)
{
	size_t options = 0;

	while (options < sizeof(sample->tcp_options) && sample->tcp_options[options] != 0)
		options++;
	record->sample_ttl = sample->ttl;
	record->sample_ip_length = sample->ip_length;
	record->sample_ip_id = sample->ip_id;
	record->sample_df = sample->is_df;
	record->sample_source_port = sample->source_port;
	record->sample_tcp_window = sample->tcp_window;
	record->sample_tcp_sequence = sample->tcp_sequence;
	record->sample_tcp_mss = sample->tcp_mss;
	record->sample_tcp_options = (struct bytes){ sample->tcp_options, options };
}

/* The record of a folded flow; `sketch` holds its destinations' encoding and must outlive it. */
static struct flow_record record_of(const struct entry_closer *closer, const struct folded *folded,
	uint8_t sketch[SKETCH_ENCODED_BYTES], struct flow_labels *labels)
{
	int64_t start_us = (int64_t)(closer->minute * (WINDOW_NS / 1000));
	size_t address_bytes = folded->family == FLOW_V6 ? 16 : 4;
	const uint8_t *source = flow_key_source(folded->key, folded->family);
	struct flow_record record = flow_defaults();

	flow_key_labels(labels, folded->key, folded->family);
	if (!labels->is_overflow) {
		record.actor = (struct bytes){ folded->key, address_bytes };
		if (memcmp(folded->key, source, address_bytes) != 0)
			record.source = (struct bytes){ source, address_bytes };
	}
	record.window_ms = (int64_t)(closer->minute * WINDOW_MS);
	record.ip_version = address_bytes == 16 ? 6 : 4;
	set_labels(&record, labels);
	set_sample(&record, &folded->sample);
	record.packets = (int64_t)folded->packets;
	record.bytes = (int64_t)folded->bytes;
	record.first_us = start_us + (int64_t)folded->first_us;
	record.last_us = start_us + (int64_t)folded->last_us;
	record.destinations = (int64_t)sketch_count(&folded->destinations);
	record.destination_sketch =
		(struct bytes){ sketch, sketch_encode(&folded->destinations, sketch) };
	return record;
}

static int add_record(struct entry_closer *closer, const struct folded *folded)
{
	uint8_t sketch[SKETCH_ENCODED_BYTES];
	struct flow_labels labels;
	struct flow_record record = record_of(closer, folded, sketch, &labels);
	struct address actor = { .size = (uint8_t)record.actor.size };
	struct part *part = &closer->part;
	struct buffer *records;
	uint32_t partition;
	size_t before;

	memcpy(actor.bytes, folded->key, actor.size);
	partition = address_partition(&actor, closer->options.partitions);
	records = &part->records[partition];
	before = records->size;
	container_flow(records, &record);
	if (records->failed)
		return -ENOMEM;
	part->encoded_bytes += records->size - before;
	part->wire_bytes += folded->bytes;
	part->overflow += labels.is_overflow ? folded->packets : 0;
	part->entry->flows++;
	part->entry->packets += folded->packets;
	part->entry->shares[partition].flows++;
	part->entry->shares[partition].packets += folded->packets;
	if (++part->record_counts[partition] == FLOWS_PER_BLOCK ||
		records->size >= MESSAGE_CUT_BYTES)
		return end_message(closer, partition);
	return 0;
}

static void prefetch_ahead(const struct flow_order *order, size_t at)
{
	if (at + ENTRIES_AHEAD < order->count)
		prefetch(flow_order_at(order, at + ENTRIES_AHEAD).entry);
	if (at + DESTINATIONS_AHEAD < order->count) {
		struct flow_ref flow = flow_order_at(order, at + DESTINATIONS_AHEAD);

		flow_entry_prefetch_destinations(flow.source->table, flow.entry);
	}
}

static int add_flow(struct entry_closer *closer, const struct folded *folded)
{
	int rc = 0;

	if (closer->part.encoded_bytes >= ENTRY_CUT_BYTES) {
		rc = end_part(closer, false);
		if (rc == 0)
			rc = begin_part(closer);
	}
	return rc != 0 ? rc : add_record(closer, folded);
}

static int add_listed(struct entry_closer *closer)
{
	const struct flow_order *order = &closer->order;
	struct folded folded;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < order->count;) {
		struct flow_ref flow = flow_order_at(order, i);

		prefetch_ahead(order, i);
		begin_fold(&folded, &flow);
		while (++i < order->count) {
			flow = flow_order_at(order, i);
			if (!is_same_flow(&folded, &flow))
				break;
			prefetch_ahead(order, i);
			fold(&folded, &flow);
		}
		rc = add_flow(closer, &folded);
	}
	return rc;
}

static int close_parts(struct entry_closer *closer, struct window **windows, size_t count)
{
	int rc = begin_part(closer);

	for (size_t w = 0; w < count; w++)
		flow_table_seal(windows[w]->table);
	for (unsigned ip_version = 4; rc == 0 && ip_version <= 6; ip_version += 2) {
		rc = flow_order_make(&closer->order, windows, count, ip_version);
		if (rc == 0)
			rc = add_listed(closer);
	}
	return rc != 0 ? rc : end_part(closer, true);
}

/* Rule 1, checked where both sides are known independently of each other. */
static void check_books(const struct ledger *ledger, uint64_t minute)
{
	uint64_t sorted =
		ledger->non_ip + ledger_malformed(ledger) + ledger->not_dark + ledger->counted;

	if (ledger->frames != sorted)
		log_error("books do not balance minute=%llu frames=%llu sorted=%llu",
			(unsigned long long)minute, (unsigned long long)ledger->frames,
			(unsigned long long)sorted);
}

/* From here on the close can be repeated by another process, to the same bytes. */
static void freeze(struct entry_closer *closer, struct window **windows, size_t count)
{
	const struct entry_interval *interval = closer->interval;
	uint32_t first_part = parts_of(closer)->next;

	for (size_t w = 0; w < count; w++) {
		struct window_close *close = &windows[w]->close;

		if (close->is_closing)
			continue;
		close->id = interval->close_id;
		close->from_ns = interval->from_ns;
		close->to_ns = interval->to_ns;
		close->closed_through = interval->closed_through;
		close->is_final = interval->is_final;
		close->first_part = first_part;
		atomic_signal_fence(memory_order_release);
		close->is_closing = true;
	}
}

/* The books of all windows together. The windows keep theirs: a repeated close needs them. */
static int merge_books(struct entry_closer *closer, struct window **windows, size_t count)
{
	struct ledger *books = &closer->books;
	size_t ranges = windows[0]->ledger.range_count;

	free(books->range_packets);
	*books = (struct ledger){ .first_ns = UINT64_MAX, .range_count = ranges };
	books->range_packets = calloc(ranges + 1, sizeof(uint64_t));
	if (books->range_packets == NULL)
		return -ENOMEM;
	for (size_t w = 0; w < count; w++)
		ledger_add(books, &windows[w]->ledger);
	return 0;
}

int entry_closer_close(struct entry_closer *closer, struct window **windows, size_t count,
	const struct entry_interval *interval)
{
	int rc = merge_books(closer, windows, count);

	closer->sketch_overflow = 0;
	for (size_t w = 0; w < count; w++)
		closer->sketch_overflow += flow_table_sketch_overflow(windows[w]->table);
	closer->minute = windows[0]->minute;
	closer->ledger = &closer->books;
	closer->interval = interval;
	freeze(closer, windows, count);
	closer->is_first_part = true;
	closer->close_part = 0;
	if (rc == 0) {
		check_books(&closer->books, closer->minute);
		ledger_add(&closer->totals, &closer->books);
	}
	if (rc == 0 && !closer->options.discards)
		rc = close_parts(closer, windows, count);
	for (size_t w = 0; w < count; w++)
		window_destroy(windows[w]);
	return rc;
}
