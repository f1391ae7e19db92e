#include "sensor/summary.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/count_map.h"
#include "schemas/base/json.h"

#define PORTS		 65536
#define FIRST_ADDRESSES	 1024
#define MIN_TOOL_PACKETS 3 /* of a source's probes, for a verdict; 1 if it sent fewer */

static const uint8_t port_protocols[] = { PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP }; /* by name */
#define PORT_PROTOCOLS (sizeof(port_protocols) / sizeof(port_protocols[0]))

struct source {
	struct address address;
	uint64_t probes;
	uint64_t by_tool[TOOL_COUNT];
	uint64_t first_seen[TOOL_COUNT]; /* frame number */
};

/* Addresses in order of appearance, found through an index of positions + 1. */
struct address_set {
	uint8_t *items;
	size_t item_bytes; /* begins with a struct address */
	size_t count, capacity;
	uint32_t *index;
	size_t index_mask;
};

struct summary {
	uint64_t per_protocol[2][256]; /* IPv4, IPv6 */
	uint64_t per_class[CLASS_COUNT];
	uint64_t per_tool[TOOL_COUNT];
	uint64_t *per_port[PORT_PROTOCOLS];
	uint64_t overflow;
	struct count_map per_service[ROLE_COUNT]; /* protocol << 32 | service port + 1 */
	struct count_map per_minute;
	struct address_set sources, destinations;
};

static int address_set_init(struct address_set *set, size_t item_bytes)
{
	set->item_bytes = item_bytes;
	set->capacity = FIRST_ADDRESSES;
	set->index_mask = FIRST_ADDRESSES * 2 - 1;
	set->items = malloc(set->capacity * item_bytes);
	set->index = calloc(set->index_mask + 1, sizeof(*set->index));
	return set->items != NULL && set->index != NULL ? 0 : -ENOMEM;
}

static struct address *address_at(const struct address_set *set, size_t position)
{
	return (struct address *)(void *)(set->items + position * set->item_bytes);
}

static size_t place_of(const struct address_set *set, const struct address *address)
{
	size_t at = XXH3_64bits_withSeed(address->bytes, address->size, (uintptr_t)set) &
		    set->index_mask;

	while (set->index[at] != 0 && !address_equals(address_at(set, set->index[at] - 1), address))
		at = (at + 1) & set->index_mask;
	return at;
}

static int address_set_grow(struct address_set *set)
{
	size_t capacity = set->capacity * 2;
	uint8_t *items = realloc(set->items, capacity * set->item_bytes);
	uint32_t *index;

	if (items == NULL || capacity > UINT32_MAX / 2)
		return -ENOMEM;
	set->items = items;
	index = calloc(capacity * 2, sizeof(*index));
	if (index == NULL)
		return -ENOMEM;
	free(set->index);
	set->index = index;
	set->index_mask = capacity * 2 - 1;
	set->capacity = capacity;
	for (size_t i = 0; i < set->count; i++)
		index[place_of(set, address_at(set, i))] = (uint32_t)i + 1;
	return 0;
}

/* The item of an address, zeroed when new; NULL when memory is out. */
static void *address_set_item(struct address_set *set, const struct address *address)
{
	size_t at = place_of(set, address);
	struct address *item;

	if (set->index[at] != 0)
		return address_at(set, set->index[at] - 1);
	if (set->count == set->capacity) {
		if (address_set_grow(set) != 0)
			return NULL;
		at = place_of(set, address);
	}
	item = address_at(set, set->count);
	memset(item, 0, set->item_bytes);
	*item = *address;
	set->index[at] = (uint32_t)++set->count;
	return item;
}

static void address_set_fini(struct address_set *set)
{
	free(set->items);
	free(set->index);
}

int summary_create(struct summary **out)
{
	struct summary *summary = calloc(1, sizeof(*summary));
	int rc = summary == NULL ? -ENOMEM : 0;

	for (unsigned i = 0; rc == 0 && i < ROLE_COUNT; i++)
		rc = count_map_init(&summary->per_service[i], sizeof(uint64_t));
	for (unsigned i = 0; rc == 0 && i < PORT_PROTOCOLS; i++) {
		summary->per_port[i] = calloc(PORTS, sizeof(uint64_t));
		rc = summary->per_port[i] == NULL ? -ENOMEM : 0;
	}
	if (rc == 0)
		rc = count_map_init(&summary->per_minute, sizeof(uint64_t));
	if (rc == 0)
		rc = address_set_init(&summary->sources, sizeof(struct source));
	if (rc == 0)
		rc = address_set_init(&summary->destinations, sizeof(struct address));
	if (rc != 0) {
		summary_destroy(summary);
		return rc;
	}
	*out = summary;
	return 0;
}

void summary_destroy(struct summary *summary)
{
	if (summary == NULL)
		return;
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		count_map_fini(&summary->per_service[i]);
	for (unsigned i = 0; i < PORT_PROTOCOLS; i++)
		free(summary->per_port[i]);
	count_map_fini(&summary->per_minute);
	address_set_fini(&summary->sources);
	address_set_fini(&summary->destinations);
	free(summary);
}

static struct address address_of(const uint8_t *bytes, uint8_t size)
{
	struct address address = { .size = size };

	memcpy(address.bytes, bytes, size);
	return address;
}

static int count_addresses(struct summary *summary, const struct packet *pkt,
	const struct flow_labels *labels, uint64_t frame_number)
{
	struct address src = address_of(pkt->src, pkt->address_bytes);
	struct address dst = address_of(pkt->dst, pkt->address_bytes);
	struct source *source = address_set_item(&summary->sources, &src);

	if (source == NULL || address_set_item(&summary->destinations, &dst) == NULL)
		return -ENOMEM;
	if (labels->role != ROLE_PROBE)
		return 0;
	source->probes++;
	if (source->by_tool[labels->tool]++ == 0)
		source->first_seen[labels->tool] = frame_number;
	return 0;
}

int summary_count(struct summary *summary, const struct packet *pkt,
	const struct flow_labels *labels, uint64_t frame_number)
{
	uint64_t service = (uint64_t)pkt->protocol << 32 | (uint32_t)(labels->service_port + 1);

	summary->per_protocol[pkt->ip_version == 6][pkt->protocol]++;
	summary->per_class[labels->class]++;
	summary->per_tool[labels->tool]++;
	for (unsigned i = 0; pkt->has_ports && i < PORT_PROTOCOLS; i++)
		if (port_protocols[i] == pkt->protocol)
			summary->per_port[i][pkt->dst_port]++;
	if (count_map_add(&summary->per_service[labels->role], service, 1) != 0 ||
		count_map_add(&summary->per_minute, pkt->time_ns / WINDOW_NS, 1) != 0)
		return -ENOMEM;
	return count_addresses(summary, pkt, labels, frame_number);
}

void summary_count_overflow(struct summary *summary)
{
	summary->overflow++;
}

static int merge_map(struct count_map *into, const struct count_map *from)
{
	const uint64_t *value;
	size_t cursor = 0;
	uint64_t key;

	while ((value = count_map_next(from, &cursor, &key)) != NULL)
		if (count_map_add(into, key, *value) != 0)
			return -ENOMEM;
	return 0;
}

static int merge_source(struct summary *into, const struct source *from)
{
	struct source *source = address_set_item(&into->sources, &from->address);

	if (source == NULL)
		return -ENOMEM;
	source->probes += from->probes;
	for (unsigned i = 0; i < TOOL_COUNT; i++) {
		bool is_first =
			source->by_tool[i] == 0 || from->first_seen[i] < source->first_seen[i];

		if (from->by_tool[i] > 0 && is_first)
			source->first_seen[i] = from->first_seen[i];
		source->by_tool[i] += from->by_tool[i];
	}
	return 0;
}

int summary_merge(struct summary *into, const struct summary *from)
{
	int rc = merge_map(&into->per_minute, &from->per_minute);

	for (unsigned i = 0; i < 256; i++) {
		into->per_protocol[0][i] += from->per_protocol[0][i];
		into->per_protocol[1][i] += from->per_protocol[1][i];
	}
	for (unsigned i = 0; i < CLASS_COUNT; i++)
		into->per_class[i] += from->per_class[i];
	for (unsigned i = 0; i < TOOL_COUNT; i++)
		into->per_tool[i] += from->per_tool[i];
	for (unsigned i = 0; i < PORT_PROTOCOLS; i++)
		for (unsigned port = 0; port < PORTS; port++)
			into->per_port[i][port] += from->per_port[i][port];
	into->overflow += from->overflow;
	for (unsigned i = 0; rc == 0 && i < ROLE_COUNT; i++)
		rc = merge_map(&into->per_service[i], &from->per_service[i]);
	for (size_t i = 0; rc == 0 && i < from->sources.count; i++)
		rc = merge_source(into, (const void *)address_at(&from->sources, i));
	for (size_t i = 0; rc == 0 && i < from->destinations.count; i++)
		if (address_set_item(&into->destinations, address_at(&from->destinations, i)) ==
			NULL)
			rc = -ENOMEM;
	return rc;
}

/* The tool of a source: a tool that at least half of its probes carry, and enough of them. */
static const char *tool_of_source(const struct source *source)
{
	uint64_t enough = source->probes < MIN_TOOL_PACKETS ? 1 : MIN_TOOL_PACKETS;
	unsigned best = TOOL_NONE;

	if (source->probes == 0)
		return "n/a";
	for (unsigned tool = TOOL_NONE + 1; tool < TOOL_COUNT; tool++) {
		uint64_t packets = source->by_tool[tool];

		if (packets < enough || packets * 2 < source->probes)
			continue;
		if (best == TOOL_NONE || packets > source->by_tool[best] ||
			(packets == source->by_tool[best] &&
				source->first_seen[tool] < source->first_seen[best]))
			best = tool;
	}
	return tool_name(best);
}

static void member_if(struct buffer *out, const char *key, uint64_t value)
{
	if (value != 0)
		json_member_uint(out, key, value);
}

static void json_protocols(const struct summary *summary, struct buffer *out)
{
	char text[PROTOCOL_TEXT_BYTES];

	json_key(out, "per_protocol");
	json_open(out, '{');
	for (unsigned family = 0; family < 2; family++)
		for (unsigned i = 0; i < 256; i++)
			member_if(out, protocol_text(family == 0 ? 4 : 6, (uint8_t)i, text),
				summary->per_protocol[family][i]);
	json_close(out, '}');
}

static void json_ports(const struct summary *summary, struct buffer *out)
{
	char text[SERVICE_TEXT_BYTES];

	json_key(out, "per_proto_dport");
	json_open(out, '{');
	for (unsigned i = 0; i < PORT_PROTOCOLS; i++)
		for (unsigned port = 0; port < PORTS; port++)
			member_if(out, service_text(port_protocols[i], (int32_t)port, text),
				summary->per_port[i][port]);
	json_close(out, '}');
}

static void json_names(struct buffer *out, const char *key, const char *(*name)(unsigned),
	const uint64_t *counts, unsigned count)
{
	json_key(out, key);
	json_open(out, '{');
	for (unsigned i = 0; i < count; i++)
		member_if(out, name(i), counts[i]);
	json_close(out, '}');
}

static int json_services(const struct summary *summary, struct buffer *out)
{
	char text[SERVICE_TEXT_BYTES];

	json_key(out, "per_service");
	json_open(out, '{');
	for (unsigned role = 0; role < ROLE_COUNT; role++) {
		struct count_map map = summary->per_service[role]; /* only read */
		uint64_t *keys = count_map_keys(&map);

		if (keys == NULL)
			return -ENOMEM;
		json_key(out, role_name(role));
		json_open(out, '{');
		for (size_t i = 0; i < map.count; i++)
			json_member_uint(out,
				service_text((uint8_t)(keys[i] >> 32),
					(int32_t)(uint32_t)keys[i] - 1, text),
				*(const uint64_t *)count_map_at(&map, keys[i]));
		json_close(out, '}');
		free(keys);
	}
	json_close(out, '}');
	return 0;
}

static void json_sources(const struct summary *summary, struct buffer *out)
{
	uint64_t by_tool[TOOL_COUNT] = { 0 }, without_probes = 0;

	for (size_t i = 0; i < summary->sources.count; i++) {
		const struct source *source = (const void *)address_at(&summary->sources, i);
		const char *tool = tool_of_source(source);

		for (unsigned t = 0; t < TOOL_COUNT; t++)
			by_tool[t] += source->probes > 0 && tool == tool_name(t);
		without_probes += source->probes == 0;
	}
	json_key(out, "sources_by_tool");
	json_open(out, '{');
	member_if(out, "n/a", without_probes);
	for (unsigned t = 0; t < TOOL_COUNT; t++)
		member_if(out, tool_name(t), by_tool[t]);
	json_close(out, '}');
}

static int json_minutes(const struct summary *summary, struct buffer *out)
{
	struct count_map map = summary->per_minute; /* only read */
	uint64_t *keys = count_map_keys(&map);

	if (keys == NULL)
		return -ENOMEM;
	json_key(out, "per_minute");
	json_open(out, '[');
	for (size_t i = 0; i < map.count; i++) {
		json_open(out, '[');
		json_uint(out, keys[i] * 60);
		json_uint(out, *(const uint64_t *)count_map_at(&map, keys[i]));
		json_close(out, ']');
	}
	json_close(out, ']');
	free(keys);
	return 0;
}

static void json_time_ns(
	struct buffer *out, const char *key, const struct ledger *totals, uint64_t time_ns)
{
	if (totals->counted == 0)
		json_member_null(out, key);
	else
		json_member_uint(out, key, time_ns);
}

int summary_json(const struct summary *summary, const struct ledger *totals, struct buffer *out)
{
	int rc;

	json_open(out, '{');
	json_member_uint(out, "frames", totals->frames);
	json_member_uint(out, "non_ip", totals->non_ip);
	json_member_uint(out, "malformed", ledger_malformed(totals));
	json_member_uint(out, "not_dark", totals->not_dark);
	json_member_uint(out, "counted", totals->counted);
	json_member_uint(out, "wire_bytes", totals->wire_bytes);
	json_time_ns(out, "first_ns", totals, totals->first_ns);
	json_time_ns(out, "last_ns", totals, totals->last_ns);
	json_protocols(summary, out);
	json_ports(summary, out);
	json_names(out, "per_class", class_name, summary->per_class, CLASS_COUNT);
	json_names(out, "per_fingerprint", tool_name, summary->per_tool, TOOL_COUNT);
	rc = json_services(summary, out);
	if (rc != 0)
		return rc;
	json_sources(summary, out);
	json_member_uint(out, "unique_sources", summary->sources.count);
	json_member_uint(out, "unique_destinations", summary->destinations.count);
	rc = json_minutes(summary, out);
	json_member_uint(out, "overflow", summary->overflow);
	json_close(out, '}');
	return rc != 0 ? rc : out->failed ? -ENOMEM : 0;
}
