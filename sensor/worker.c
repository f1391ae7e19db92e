/*
 * Packets go through four stages in small groups, so that memory is asked for while other packets
 * are worked on: decode, classify, hash and ask for the index slot; when that has arrived, ask for
 * the entry it names; then for the destinations this names; then count.
 */
#include "sensor/worker.h"

#include <assert.h>
#include <stdlib.h>

#include "schemas/base/bytes.h"
#include "sensor/classify.h"
#include "sensor/fingerprint.h"

#define GROUP_PACKETS 8 /* decoding so many takes longer than memory takes to answer */
#define GROUPS	      4 /* one in each stage */
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
	struct flow_entry *likely; /* flow */
	uint64_t hash;
	uint32_t time_us;
	uint32_t shard;
};

struct group {
	unsigned count;
	struct pending packets[GROUP_PACKETS];
};

struct worker {
	struct worker_options options;
	struct window_set windows;
	struct window *current; /* the window of the last packet */
	uint64_t current_ns;	/* when it begins */
	struct summary *summary;
	struct flow_budgets budgets;
	uint64_t frame_number; /* of the stream; equal in all workers on files */
	struct group groups[GROUPS];
	unsigned newest; /* number of the group that is filled */
};

int worker_create(struct worker **out, const struct worker_options *options)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int rc = 0;

	if (worker == NULL)
		return -ENOMEM;
	worker->options = *options;
	worker->budgets.secret = options->secret;
	worker->budgets.shards = options->shards;
	worker->budgets.shard = calloc(options->shards, sizeof(*worker->budgets.shard));
	if (worker->budgets.shard == NULL)
		rc = -ENOMEM;
	for (unsigned i = 0; rc == 0 && i < options->shards; i++) {
		struct flow_budget *budget = &worker->budgets.shard[i];

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
	free(worker->budgets.shard);
	free(worker);
}

void worker_set_terms(
	struct worker *worker, const struct darknet *darknet, struct open_store *store)
{
	assert(worker->windows.count == 0); /* they count by range */
	worker->options.darknet = darknet;
	worker->options.store = store;
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
		rc = window_create(
			&window, minute, &worker->budgets, darknet, worker->options.store);
		if (rc != 0)
			return rc;
		window_set_insert(&worker->windows, window);
	}
	worker->current = window;
	worker->current_ns = minute * WINDOW_NS;
	*out = window;
	return 0;
}

static int window_of(struct worker *worker, uint64_t time_ns, struct window **out)
{
	if (worker->current == NULL || time_ns - worker->current_ns >= WINDOW_NS)
		return worker_window(worker, time_ns / WINDOW_NS, out);
	*out = worker->current;
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
	rc = window_of(worker, frame->time_ns, &window);
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
	pending->table = window->table;
	pending->shard = shard;
	pending->time_us = (uint32_t)((uint64_t)(frame->time_ns - worker->current_ns) / 1000);
	pending->hash = flow_key_hash(&pending->key, worker->options.secret);
	count_in_ledger(&window->ledger, pkt, range);
	*is_pending = true;
	if (worker->summary != NULL)
		rc = summary_count(worker->summary, pkt, &labels, worker->frame_number);
	return rc;
}

static void count(struct worker *worker, const struct pending *pending)
{
	const struct packet *pkt = &pending->packet;
	struct flow_update update = {
		.time_us = pending->time_us,
		.bytes = pkt->wire_bytes,
		.destination_hash = sketch_hash(pkt->dst, pkt->address_bytes),
		.shard = pending->shard,
		.sample = sample_of,
		.context = pkt,
	};
	bool is_own = flow_table_count(
		pending->table, &pending->key, pending->hash, pending->likely, &update);

	if (!is_own && worker->summary != NULL)
		summary_count_overflow(worker->summary);
}

static void look_up(struct pending *pending)
{
	pending->likely = flow_table_prefetch_entry(
		pending->table, pending->hash, (enum flow_family)pending->key.family);
}

static void look_at_destinations(const struct pending *pending)
{
	if (pending->likely != NULL)
		flow_entry_prefetch_destinations(pending->table, pending->likely);
}

/* The newest group goes on to its first stage, the one before it to the next, and so on. */
static void advance(struct worker *worker)
{
	struct group *group;

	group = &worker->groups[(worker->newest - 1) % GROUPS];
	for (unsigned i = 0; i < group->count; i++)
		look_up(&group->packets[i]);
	group = &worker->groups[(worker->newest - 2) % GROUPS];
	for (unsigned i = 0; i < group->count; i++)
		look_at_destinations(&group->packets[i]);
	group = &worker->groups[(worker->newest - 3) % GROUPS];
	for (unsigned i = 0; i < group->count; i++)
		count(worker, &group->packets[i]);
	group->count = 0;
	worker->newest++;
}

/* Fills the newest group. @return how many frames it took, or a negative code */
static int fill(struct worker *worker, const struct frame *frames, size_t frame_count)
{
	struct group *group = &worker->groups[worker->newest % GROUPS];
	size_t taken = 0;

	for (; taken < frame_count && group->count < GROUP_PACKETS; taken++) {
		struct pending *next = &group->packets[group->count];
		bool is_pending;
		int rc = prepare(worker, &frames[taken], next, &is_pending);

		if (rc != 0)
			return rc;
		if (!is_pending)
			continue;
		flow_table_prefetch_slot(
			next->table, next->hash, (enum flow_family)next->key.family);
		group->count++;
	}
	return (int)taken;
}

int worker_process(struct worker *worker, const struct frame *frames, size_t frame_count)
{
	int taken = 0;

	for (size_t i = 0; i < frame_count; i += (size_t)taken) {
		taken = fill(worker, frames + i, frame_count - i);
		advance(worker);
		if (taken < 0)
			break;
	}
	for (unsigned stage = 1; stage < GROUPS; stage++)
		advance(worker);
	if (taken < 0)
		return taken;
	return worker->budgets.is_out_of_memory ? -ENOMEM : 0;
}
