/*
 * The loop runs in strides over groups of frames: first decode, classify and hash each packet and
 * ask for its index slot; when the slots have arrived from memory, ask for the entries they name,
 * then for the destinations those name; when all has arrived, count.
 */
#include "sensor/worker.h"

#include <assert.h>
#include <stdlib.h>

#include "schemas/base/bytes.h"
#include "sensor/classify.h"
#include "sensor/fingerprint.h"

#define GROUP_FRAMES 32 /* packets in flight between prefetch and use */
#define SKETCH_BYTES_PER_FLOW                                                                      \
	64 /* budget of destination blocks per flow allowed: see README, memory */
#define SKETCH_BYTES_MIN (4u << 20)
#define TCP_OPTION_END	 0 /* RFC 9293 3.1 */
#define TCP_OPTION_NOP	 1
#define TCP_OPTION_MSS	 2
#define TCP_PLAIN_BYTES	 20

/* A packet on its way from decoding to its flow. */
struct pending {
	struct packet packet;
	struct flow_key key;
	struct flow_table *table;
	uint64_t hash;
	uint32_t time_us;
};

struct worker {
	struct worker_options options;
	struct window_set windows;
	struct window *current; /* the window of the last packet */
	struct summary *summary;
	struct flow_budget *budgets; /* one per shard */
	uint64_t frame_number;	     /* of the stream; equal in all workers on files */
	struct pending group[GROUP_FRAMES];
};

int worker_create(struct worker **out, const struct worker_options *options)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int rc = 0;

	if (worker == NULL)
		return -ENOMEM;
	worker->options = *options;
	worker->budgets = calloc(options->shards, sizeof(*worker->budgets));
	if (worker->budgets == NULL)
		rc = -ENOMEM;
	for (unsigned i = 0; rc == 0 && i < options->shards; i++) {
		struct flow_budget *budget = &worker->budgets[i];

		budget->secret = options->secret;
		budget->flows_max = options->flows_max / options->shards;
		budget->sketch_bytes_max =
			budget->flows_max * SKETCH_BYTES_PER_FLOW + SKETCH_BYTES_MIN;
	}
	if (rc == 0 && options->wants_summary)
		rc = summary_create(&worker->summary);
	if (rc != 0) {
		worker_destroy(worker);
		return rc;
	}
	*out = worker;
	return 0;
}

void worker_destroy(struct worker *worker)
{
	struct window *window;

	if (worker == NULL)
		return;
	while ((window = window_set_take(&worker->windows, UINT64_MAX)) != NULL)
		window_destroy(window);
	summary_destroy(worker->summary);
	free(worker->budgets);
	free(worker);
}

void worker_set_darknet(struct worker *worker, const struct darknet *darknet)
{
	assert(worker->windows.count == 0); /* they count by range */
	worker->options.darknet = darknet;
}

struct window_set *worker_windows(struct worker *worker)
{
	worker->current = NULL; /* the caller may take it away */
	return &worker->windows;
}

struct summary *worker_summary(struct worker *worker)
{
	return worker->summary;
}

int worker_window(struct worker *worker, uint64_t minute, struct window **out)
{
	const struct darknet *darknet = worker->options.darknet;
	struct window *window = worker->current;
	int rc;

	if (window == NULL || window->minute != minute)
		window = window_set_find(&worker->windows, minute);
	if (window == NULL) {
		rc = window_create(&window, minute, worker->options.shards,
			darknet != NULL ? darknet_range_count(darknet) : 0);
		if (rc != 0)
			return rc;
		window_set_insert(&worker->windows, window);
	}
	worker->current = window;
	*out = window;
	return 0;
}

static void read_options(struct flow_sample *sample, const struct packet *pkt)
{
	uint32_t header_bytes = pkt->tcp_header_bytes < pkt->transport_captured
					? pkt->tcp_header_bytes
					: pkt->transport_captured;
	struct byte_reader r;
	unsigned count = 0;

	if (header_bytes <= TCP_PLAIN_BYTES)
		return;
	r = byte_reader_of(pkt->transport + TCP_PLAIN_BYTES, header_bytes - TCP_PLAIN_BYTES);
	while (bytes_left(&r) > 0 && count < sizeof(sample->tcp_options)) {
		uint8_t kind = bytes_u8(&r);
		uint8_t size;

		sample->tcp_options[count++] = kind;
		if (kind == TCP_OPTION_END)
			return;
		if (kind == TCP_OPTION_NOP)
			continue;
		size = bytes_u8(&r);
		if (size < 2)
			return;
		if (kind == TCP_OPTION_MSS && size == 4 && bytes_left(&r) >= 2)
			sample->tcp_mss = load_u16(r.at);
		bytes_skip(&r, size - 2u);
	}
}

static struct flow_sample sample_of(const void *context)
{
	const struct packet *pkt = context;
	struct flow_sample sample = {
		.tcp_sequence = pkt->tcp_sequence,
		.ip_length = pkt->ip_length,
		.ip_id = pkt->ip_id,
		.tcp_window = pkt->tcp_window,
		.source_port = pkt->has_ports ? pkt->src_port : 0,
		.ttl = pkt->ttl,
		.is_df = pkt->is_df,
	};

	if (pkt->protocol == PROTOCOL_TCP)
		read_options(&sample, pkt);
	return sample;
}

/* Labels from an ICMP error's quote; the actor becomes the victim. A quote that names a dark
 * address as the victim is a forgery or a loop: it makes no victim, and the address stays here. */
static void label_quote(const struct worker *worker, const struct packet *pkt,
	struct flow_labels *labels, const uint8_t **actor)
{
	const struct darknet *darknet = worker->options.darknet;
	struct quoted_packet quoted;

	packet_decode_quote(pkt, &quoted);
	if (!quoted.is_readable)
		return;
	labels->has_quote = true;
	labels->quoted_protocol = quoted.protocol;
	labels->quote_has_port = quoted.has_port;
	labels->quoted_port = quoted.dst_port;
	if (darknet != NULL &&
		darknet_find(darknet, quoted.dst, pkt->address_bytes) != DARKNET_NONE)
		return;
	labels->quote_matches = memcmp(quoted.src, pkt->dst, pkt->address_bytes) == 0;
	*actor = quoted.dst;
}

static void label(const struct worker *worker, const struct packet *pkt, struct flow_labels *labels,
	struct flow_key *key)
{
	enum packet_class class = classify(pkt);
	const uint8_t *actor = pkt->src;

	*labels = (struct flow_labels){
		.class = (uint8_t) class,
		.role = (uint8_t)role_of_class(class),
		.protocol = pkt->protocol,
		.tool = (uint8_t)fingerprint_match(pkt, class),
	};
	labels->service_port = classify_service_port(pkt, (enum role)labels->role);
	if (class == CLASS_BACKSCATTER_ICMP_ERROR)
		label_quote(worker, pkt, labels, &actor);
	flow_key_make(key, actor, pkt->src, pkt->address_bytes, labels);
}

/* An address of ours that sends is not dark. True when the packet is for a dark range. */
static bool check_darknet(
	struct worker *worker, struct ledger *ledger, const struct packet *pkt, uint32_t *range)
{
	const struct darknet *darknet = worker->options.darknet;

	*range = DARKNET_NONE;
	if (darknet == NULL)
		return true;
	*range = darknet_find(darknet, pkt->dst, pkt->address_bytes);
	if (worker->options.worker == 0 &&
		darknet_find(darknet, pkt->src, pkt->address_bytes) != DARKNET_NONE) {
		struct address sender = { .size = pkt->address_bytes };

		memcpy(sender.bytes, pkt->src, pkt->address_bytes);
		ledger_add_sender(ledger, &sender, 1);
	}
	return *range != DARKNET_NONE;
}

static void count_in_ledger(struct ledger *ledger, const struct packet *pkt, uint32_t range)
{
	ledger->counted++;
	ledger->wire_bytes += pkt->wire_bytes;
	if (pkt->time_ns < ledger->first_ns)
		ledger->first_ns = pkt->time_ns;
	if (pkt->time_ns > ledger->last_ns)
		ledger->last_ns = pkt->time_ns;
	if (range != DARKNET_NONE)
		ledger->range_packets[range]++;
}

static int table_of(
	struct worker *worker, struct window *window, uint32_t shard, struct flow_table **out)
{
	int rc = 0;

	if (window->tables[shard] == NULL)
		rc = flow_table_create(
			&window->tables[shard], &worker->budgets[shard], &window->arena);
	*out = window->tables[shard];
	return rc;
}

/* Decodes one frame; true when it ends in a flow of this worker, which is then in `pending`. */
static int prepare(
	struct worker *worker, const struct frame *frame, struct pending *pending, bool *is_pending)
{
	uint64_t keeper =
		worker->options.worker == 0; /* one worker keeps the books of what is no flow */
	struct packet *pkt = &pending->packet;
	struct flow_labels labels;
	enum packet_status status;
	struct window *window;
	struct ip_bytes ip;
	uint32_t shard = 0, range;
	int rc;

	*is_pending = false;
	rc = worker_window(worker, frame->time_ns / WINDOW_NS, &window);
	if (rc != 0)
		return rc;
	worker->frame_number++;
	window->ledger.frames += keeper;
	if (!linktype_find_ip(frame, &ip)) {
		window->ledger.non_ip += keeper;
		return 0;
	}
	status = packet_decode(pkt, &ip);
	if (status != PACKET_OK) {
		window->ledger.malformed[status] += keeper;
		return 0;
	}
	if (!check_darknet(worker, &window->ledger, pkt, &range)) {
		window->ledger.not_dark += keeper;
		return 0;
	}
	label(worker, pkt, &labels, &pending->key);
	if (worker->options.shards > 1)
		shard = flow_key_shard(&pending->key, worker->options.shards);
	if (shard % worker->options.workers != worker->options.worker)
		return 0;

	pkt->time_ns = frame->time_ns;
	pkt->wire_bytes = frame->wire_bytes;
	pending->time_us = (uint32_t)((frame->time_ns - window->minute * WINDOW_NS) / 1000);
	pending->hash = flow_key_hash(&pending->key, worker->options.secret);
	count_in_ledger(&window->ledger, pkt, range);
	*is_pending = true;
	if (worker->summary != NULL) {
		rc = summary_count(worker->summary, pkt, &labels, worker->frame_number);
		if (rc != 0)
			return rc;
	}
	return table_of(worker, window, shard, &pending->table);
}

static void count(struct worker *worker, const struct pending *pending)
{
	const struct packet *pkt = &pending->packet;
	struct flow_update update = {
		.time_us = pending->time_us,
		.bytes = pkt->wire_bytes,
		.destination_hash = sketch_hash(pkt->dst, pkt->address_bytes),
		.sample = sample_of,
		.context = pkt,
	};
	bool is_own = flow_table_count(pending->table, &pending->key, pending->hash, &update);

	if (!is_own && worker->summary != NULL)
		summary_count_overflow(worker->summary);
}

static bool is_out_of_memory(const struct worker *worker)
{
	for (unsigned i = 0; i < worker->options.shards; i++)
		if (worker->budgets[i].is_out_of_memory)
			return true;
	return false;
}

int worker_process(struct worker *worker, const struct frame *frames, size_t frame_count)
{
	for (size_t i = 0; i < frame_count;) {
		size_t pending = 0;

		for (; i < frame_count && pending < GROUP_FRAMES; i++) {
			struct pending *next = &worker->group[pending];
			bool is_pending;
			int rc = prepare(worker, &frames[i], next, &is_pending);

			if (rc != 0)
				return rc;
			if (!is_pending)
				continue;
			flow_table_prefetch_slot(next->table, next->hash, next->key.size);
			pending++;
		}
		for (size_t p = 0; p < pending; p++)
			flow_table_prefetch_entry(worker->group[p].table, worker->group[p].hash,
				worker->group[p].key.size);
		for (size_t p = 0; p < pending; p++)
			flow_table_prefetch_destinations(worker->group[p].table,
				worker->group[p].hash, worker->group[p].key.size);
		for (size_t p = 0; p < pending; p++)
			count(worker, &worker->group[p]);
	}
	return is_out_of_memory(worker) ? -ENOMEM : 0;
}
