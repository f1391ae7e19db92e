/*
 * Closing a minute: entries of all tables are listed, sorted by key, equal keys (live workers
 * share flows) folded, encoded and cut. Sorting is a radix sort on the actor, eight bits a pass,
 * then a comparison sort within runs of one actor: runs are short, keys are compared rarely.
 *
 * The part's books: the first part carries the frames that were not counted, every part carries
 * the frames of its own flows, so frames = not IP + malformed + not dark + counted holds for each.
 */
#include "sensor/entry.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/log.h"
#include "schemas/base/signals.h"

#define PARTS_REMEMBERED 65536 /* minutes whose next part number is known; a power of two */
#define ITEMS_AHEAD	 12    /* entries asked from memory before they are encoded */
#define RUN_SMALL	 16    /* runs up to this length are sorted by insertion */

struct item {
	uint64_t actor; /* first eight bytes of it, most significant first */
	const struct flow_entry *flow;
};

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
	struct item *items, *scratch;
	size_t item_capacity;
	/* of the minute being closed */
	uint64_t minute;
	const struct ledger *ledger;
	const struct entry_interval *interval;
	uint64_t sketch_overflow;
	bool is_first_part;
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
	free(closer->parts);
	free(closer->items);
	free(closer->scratch);
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

/* ---- sorting ---- */

static uint64_t actor_prefix(const struct flow_entry *flow, size_t address_bytes)
{
	return address_bytes == 4 ? (uint64_t)load_u32(flow->key) << 32 : load_u64(flow->key);
}

/* One pass over eight bits; false when all items agree in them, so that nothing moved. */
static bool radix_pass(const struct item *from, struct item *to, size_t count, unsigned shift)
{
	size_t starts[256] = { 0 }, sum = 0;

	for (size_t i = 0; i < count; i++)
		starts[from[i].actor >> shift & 0xff]++;
	if (starts[from[0].actor >> shift & 0xff] == count)
		return false;
	for (unsigned i = 0; i < 256; i++) {
		size_t here = starts[i];

		starts[i] = sum;
		sum += here;
	}
	for (size_t i = 0; i < count; i++)
		to[starts[from[i].actor >> shift & 0xff]++] = from[i];
	return true;
}

static int compare_v4(const void *a, const void *b)
{
	return memcmp(((const struct item *)a)->flow->key, ((const struct item *)b)->flow->key,
		8 + FLOW_LABEL_BYTES);
}

static int compare_v6(const void *a, const void *b)
{
	return memcmp(((const struct item *)a)->flow->key, ((const struct item *)b)->flow->key,
		32 + FLOW_LABEL_BYTES);
}

static void sort_run(struct item *items, size_t count, int (*compare)(const void *, const void *))
{
	if (count > RUN_SMALL) {
		qsort(items, count, sizeof(*items), compare);
		return;
	}
	for (size_t i = 1; i < count; i++) {
		struct item item = items[i];
		size_t at = i;

		for (; at > 0 && compare(&items[at - 1], &item) > 0; at--)
			items[at] = items[at - 1];
		items[at] = item;
	}
}

static void sort_items(struct entry_closer *closer, size_t count, size_t address_bytes)
{
	int (*compare)(const void *, const void *) = address_bytes == 4 ? compare_v4 : compare_v6;
	struct item *items = closer->items, *scratch = closer->scratch;

	for (unsigned shift = address_bytes == 4 ? 32 : 0; shift < 64; shift += 8) {
		if (radix_pass(items, scratch, count, shift)) {
			struct item *swap = items;

			items = scratch;
			scratch = swap;
		}
	}
	closer->items = items;
	closer->scratch = scratch;
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;

		while (end < count && items[end].actor == items[i].actor)
			end++;
		if (end - i > 1)
			sort_run(&items[i], end - i, compare);
		i = end;
	}
}

static int reserve_items(struct entry_closer *closer, size_t count)
{
	if (count <= closer->item_capacity)
		return 0;
	free(closer->items);
	free(closer->scratch);
	closer->item_capacity = count + count / 4;
	closer->items = malloc(closer->item_capacity * sizeof(*closer->items));
	closer->scratch = malloc(closer->item_capacity * sizeof(*closer->scratch));
	if (closer->items != NULL && closer->scratch != NULL)
		return 0;
	free(closer->items);
	free(closer->scratch);
	closer->items = closer->scratch = NULL;
	closer->item_capacity = 0;
	return -ENOMEM;
}

/* Lists and sorts the flows of one family in all windows. */
static int gather(struct entry_closer *closer, struct window **windows, size_t window_count,
	unsigned ip_version, size_t *count)
{
	size_t address_bytes = ip_version == 6 ? 16 : 4;
	size_t total = 0, at = 0;

	for (size_t w = 0; w < window_count; w++)
		for (unsigned s = 0; s < windows[w]->shards; s++)
			if (windows[w]->tables[s] != NULL)
				total += flow_table_family_flows(windows[w]->tables[s], ip_version);
	if (reserve_items(closer, total) != 0)
		return -ENOMEM;
	for (size_t w = 0; w < window_count; w++) {
		for (unsigned s = 0; s < windows[w]->shards; s++) {
			const struct flow_table *table = windows[w]->tables[s];
			size_t flows =
				table != NULL ? flow_table_family_flows(table, ip_version) : 0;

			if (flows == 0)
				continue;
			/* the scratch space holds the pointers until they are paired with their actors */
			flow_table_entries(table, ip_version,
				(const struct flow_entry **)(void *)closer->scratch);
			for (size_t i = 0; i < flows; i++) {
				const struct flow_entry *flow =
					((const struct flow_entry **)(void *)closer->scratch)[i];

				closer->items[at++] =
					(struct item){ actor_prefix(flow, address_bytes), flow };
			}
		}
	}
	*count = total;
	if (total > 0)
		sort_items(closer, total, address_bytes);
	return 0;
}

/* ---- parts ---- */

static uint32_t next_part(struct entry_closer *closer)
{
	struct minute_parts *slot = &closer->parts[closer->minute & (PARTS_REMEMBERED - 1)];

	if (slot->minute != closer->minute)
		*slot = (struct minute_parts){ .minute = closer->minute };
	return slot->next++;
}

static int begin_part(struct entry_closer *closer)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return -ENOMEM;
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

	entry->ranges = calloc(count + 1, sizeof(*entry->ranges));
	if (entry->ranges == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct darknet_range *range = darknet_range(darknet, i);

		entry->ranges[i].prefix =
			(struct bytes){ (const uint8_t *)range->prefix, strlen(range->prefix) };
		entry->ranges[i].addresses = range->addresses;
		entry->ranges[i].packets = (int64_t)closer->ledger->range_packets[i];
	}
	entry->ledger.ranges = (struct avro_list){ entry->ranges, count };
	entry->bytes += count * sizeof(*entry->ranges);
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

/* Entries of one key, folded. */
struct folded {
	const struct flow_entry *first; /* whose sample it is */
	uint64_t packets;
	uint64_t bytes;
	uint32_t first_us;
	uint32_t last_us;
	struct sketch destinations;
};

static bool is_earlier(const struct flow_entry *a, const struct flow_entry *b)
{
	if (a->first_us != b->first_us)
		return a->first_us < b->first_us;
	return memcmp(a->sample, b->sample, sizeof(*a->sample)) < 0;
}

static void fold(struct folded *out, const struct item *items, size_t count)
{
	struct sketch other;

	out->first = items[0].flow;
	out->packets = out->bytes = 0;
	out->first_us = UINT32_MAX;
	out->last_us = 0;
	flow_entry_sketch(items[0].flow, &out->destinations);
	for (size_t i = 0; i < count; i++) {
		const struct flow_entry *flow = items[i].flow;

		out->packets += flow->packets;
		out->bytes += flow->bytes;
		if (flow->first_us < out->first_us)
			out->first_us = flow->first_us;
		if (flow->last_us > out->last_us)
			out->last_us = flow->last_us;
		if (is_earlier(flow, out->first))
			out->first = flow;
		if (i > 0) {
			flow_entry_sketch(flow, &other);
			sketch_merge(&out->destinations, &other);
		}
	}
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

static int add_record(
	struct entry_closer *closer, const struct folded *folded, size_t address_bytes)
{
	const uint8_t *key = folded->first->key;
	int64_t start_us = (int64_t)(closer->minute * (WINDOW_NS / 1000));
	struct flow_record record = flow_defaults();
	uint8_t sketch[SKETCH_ENCODED_BYTES];
	struct flow_labels labels;
	struct address actor = { .size = (uint8_t)address_bytes };
	struct part *part = &closer->part;
	struct buffer *records;
	uint32_t partition;
	size_t before;

	flow_key_labels(&labels, key, 2 * address_bytes + FLOW_LABEL_BYTES);
	memcpy(actor.bytes, key, address_bytes);
	if (labels.is_overflow)
		actor.size = 0;
	else if (memcmp(key, key + address_bytes, address_bytes) != 0)
		record.source = (struct bytes){ key + address_bytes, address_bytes };
	record.window_ms = (int64_t)(closer->minute * WINDOW_MS);
	record.ip_version = address_bytes == 16 ? 6 : 4;
	record.actor = (struct bytes){ key, actor.size };
	set_labels(&record, &labels);
	set_sample(&record, folded->first->sample);
	record.packets = (int64_t)folded->packets;
	record.bytes = (int64_t)folded->bytes;
	record.first_us = start_us + folded->first_us;
	record.last_us = start_us + folded->last_us;
	record.destinations = (int64_t)sketch_count(&folded->destinations);
	record.destination_sketch =
		(struct bytes){ sketch, sketch_encode(&folded->destinations, sketch) };

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

static int add_family(struct entry_closer *closer, size_t count, size_t address_bytes)
{
	size_t key_bytes = 2 * address_bytes + FLOW_LABEL_BYTES;
	const struct item *items = closer->items;
	struct folded folded;

	for (size_t i = 0; i < count;) {
		size_t end = i + 1;
		int rc;

		if (i + ITEMS_AHEAD < count)
			flow_entry_prefetch(items[i + ITEMS_AHEAD].flow);
		while (end < count && items[end].actor == items[i].actor &&
			memcmp(items[end].flow->key, items[i].flow->key, key_bytes) == 0)
			end++;
		if (closer->part.encoded_bytes >= ENTRY_CUT_BYTES) {
			rc = end_part(closer, false);
			if (rc == 0)
				rc = begin_part(closer);
			if (rc != 0)
				return rc;
		}
		fold(&folded, &items[i], end - i);
		rc = add_record(closer, &folded, address_bytes);
		if (rc != 0)
			return rc;
		i = end;
	}
	return 0;
}

static int close_parts(struct entry_closer *closer, struct window **windows, size_t count)
{
	size_t flows;
	int rc = begin_part(closer);

	for (unsigned ip_version = 4; rc == 0 && ip_version <= 6; ip_version += 2) {
		rc = gather(closer, windows, count, ip_version, &flows);
		if (rc == 0)
			rc = add_family(closer, flows, ip_version == 6 ? 16 : 4);
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

int entry_closer_close(struct entry_closer *closer, struct window **windows, size_t count,
	const struct entry_interval *interval)
{
	struct ledger *ledger = &windows[0]->ledger;
	int rc = 0;

	closer->sketch_overflow = 0;
	for (size_t w = 0; w < count; w++) {
		for (unsigned s = 0; s < windows[w]->shards; s++)
			if (windows[w]->tables[s] != NULL)
				closer->sketch_overflow +=
					flow_table_sketch_overflow(windows[w]->tables[s]);
		if (w > 0)
			ledger_add(ledger, &windows[w]->ledger);
	}
	closer->minute = windows[0]->minute;
	closer->ledger = ledger;
	closer->interval = interval;
	closer->is_first_part = true;
	check_books(ledger, closer->minute);
	ledger_add(&closer->totals, ledger);
	if (!closer->options.discards)
		rc = close_parts(closer, windows, count);
	for (size_t w = 0; w < count; w++)
		window_destroy(windows[w]);
	return rc;
}
