#include "collector/tally.h"

#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collector/hyperloglog.h"

#define ACTOR_SEED    0x686f7368696d6935ULL /* fixed for ever: sketches in Redis hold these hashes */
#define LABEL_BITS    32
#define MINUTE_BITS   27 /* minutes since the epoch: to the year 2225 */
#define PORT_BITS     18
#define UNKNOWN_LABEL 0

static const char *const dimension_names[DIM_COUNT] = { "total", "class", "role", "protocol",
	"service", "country", "asn", "tool", "payload", "sensor" };

static const struct {
	const char *name;
	int64_t seconds;
} periods[PERIOD_COUNT] = { { "minute", 60 }, { "hour", 3600 }, { "day", 86400 } };

static int append_text(struct text_list *list, const char *text)
{
	char **items = realloc(list->items, (list->count + 1) * sizeof(*items));

	if (items == NULL)
		return -ENOMEM;
	list->items = items;
	items[list->count] = strdup(text);
	if (items[list->count] == NULL)
		return -ENOMEM;
	list->count++;
	return 0;
}

static void clear_texts(struct text_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	list->count = 0;
}

int tally_init(struct tally *tally, const struct tally_options *options)
{
	int rc;

	*tally = (struct tally){ .options = *options };
	rc = count_map_init(&tally->counters, sizeof(struct tally_value));
	if (rc == 0)
		rc = count_map_init(&tally->minutes, sizeof(struct tally_value));
	if (rc == 0)
		rc = count_map_init(&tally->sketches, sizeof(struct sketch *));
	if (rc == 0)
		rc = count_map_init(&tally->seen, 0);
	if (rc == 0)
		rc = count_map_init(&tally->as_names, sizeof(uint64_t));
	if (rc != 0)
		tally_fini(tally);
	return rc;
}

static void free_sketches(struct tally *tally)
{
	size_t cursor = 0;
	uint64_t key;
	void *value;

	while ((value = count_map_next(&tally->sketches, &cursor, &key)) != NULL)
		free(*(struct sketch **)value);
}

void tally_fini(struct tally *tally)
{
	free_sketches(tally);
	count_map_fini(&tally->sketches);
	count_map_fini(&tally->minutes);
	count_map_fini(&tally->counters);
	count_map_fini(&tally->seen);
	count_map_fini(&tally->as_names);
	clear_texts(&tally->sensors);
	clear_texts(&tally->names);
	free(tally->sensors.items);
	free(tally->names.items);
	free(tally->actors);
	free(tally->ledgers);
	*tally = (struct tally){ 0 };
}

void tally_clear(struct tally *tally)
{
	free_sketches(tally);
	count_map_clear(&tally->sketches);
	count_map_clear(&tally->minutes);
	count_map_clear(&tally->counters);
	count_map_clear(&tally->seen);
	count_map_clear(&tally->as_names);
	clear_texts(&tally->sensors);
	clear_texts(&tally->names);
	tally->actor_count = tally->ledger_count = 0;
	tally->flows = tally->poison = 0;
	tally->is_out_of_memory = false;
}

bool tally_is_empty(const struct tally *tally)
{
	return tally->flows == 0 && tally->ledger_count == 0 && tally->poison == 0;
}

/* Key: dimension (4 bits) | minute or other bucket in minutes (27 bits, signed times do not occur) | label */
uint64_t tally_pack(const struct tally_key *key)
{
	return (uint64_t)key->dimension << (MINUTE_BITS + LABEL_BITS) |
	       ((uint64_t)(key->bucket_s / 60) & ((1u << MINUTE_BITS) - 1)) << LABEL_BITS |
	       key->label;
}

struct tally_key tally_unpack(uint64_t packed)
{
	return (struct tally_key){
		.bucket_s = (int64_t)(packed >> LABEL_BITS & ((1u << MINUTE_BITS) - 1)) * 60,
		.dimension = (enum dimension)(packed >> (MINUTE_BITS + LABEL_BITS)),
		.label = (uint32_t)packed,
	};
}

int64_t period_seconds(enum period period)
{
	return periods[period].seconds;
}

const char *period_name(enum period period)
{
	return periods[period].name;
}

int64_t period_start(enum period period, int64_t time_s, int64_t day_offset_s)
{
	int64_t seconds = periods[period].seconds;
	int64_t shifted = period == PERIOD_DAY ? time_s + day_offset_s : time_s;
	int64_t into = shifted % seconds;

	if (into < 0)
		into += seconds;
	return time_s - into;
}

const char *tally_dimension_name(enum dimension dimension)
{
	return dimension < DIM_COUNT ? dimension_names[dimension] : NULL;
}

/* ---- labels ---- */

static int sensor_number(struct tally *tally, const char *sensor, uint32_t *out)
{
	size_t i = 0;

	while (i < tally->sensors.count && strcmp(tally->sensors.items[i], sensor) != 0)
		i++;
	*out = (uint32_t)i;
	return i < tally->sensors.count ? 0 : append_text(&tally->sensors, sensor);
}

const char *tally_sensor(const struct tally *tally, uint32_t number)
{
	return number < tally->sensors.count ? tally->sensors.items[number] : "";
}

uint32_t tally_service_label(unsigned role, uint8_t protocol, int32_t port)
{
	return (uint32_t)role << (PORT_BITS + 8) | (uint32_t)protocol << PORT_BITS |
	       (uint32_t)(port + 1);
}

unsigned tally_service_role(uint32_t label)
{
	return label >> (PORT_BITS + 8);
}

uint8_t tally_service_protocol(uint32_t label)
{
	return (uint8_t)(label >> PORT_BITS);
}

int32_t tally_service_port(uint32_t label)
{
	return (int32_t)(label & ((1u << PORT_BITS) - 1)) - 1;
}

const char *tally_label(const struct tally *tally, enum dimension dimension, uint32_t label,
	char out[LABEL_TEXT_BYTES])
{
	const char *name = NULL;

	switch (dimension) {
	case DIM_TOTAL:
		name = "total";
		break;
	case DIM_CLASS:
		name = class_name(label);
		break;
	case DIM_ROLE:
		name = role_name(label);
		break;
	case DIM_PROTOCOL:
		return protocol_text(label >> 8, (uint8_t)label, out);
	case DIM_SERVICE:
		return service_text(tally_service_protocol(label), tally_service_port(label), out);
	case DIM_COUNTRY:
		snprintf(out, LABEL_TEXT_BYTES, "%c%c", label >> 8, label & 0xff);
		return label == UNKNOWN_LABEL ? "unknown" : out;
	case DIM_ASN:
		snprintf(out, LABEL_TEXT_BYTES, "%u", label);
		return label == UNKNOWN_LABEL ? "unknown" : out;
	case DIM_TOOL:
		name = tool_name(label);
		break;
	case DIM_PAYLOAD:
		name = payload_name(label);
		break;
	case DIM_SENSOR:
		name = tally_sensor(tally, label);
		break;
	case DIM_COUNT:
		break;
	}
	return name != NULL ? name : "unknown";
}

const char *tally_as_name(struct tally *tally, uint32_t asn)
{
	const uint64_t *number = count_map_at(&tally->as_names, asn);

	return number != NULL && *number != 0 ? tally->names.items[*number - 1] : NULL;
}

/* ---- adding ---- */

static void add_actor(struct tally *tally, uint64_t key, uint64_t actor)
{
	uint64_t pair = XXH3_64bits_withSeed(&key, sizeof(key), actor);
	size_t before = tally->seen.count;

	if (count_map_at(&tally->seen, pair) == NULL) {
		tally->is_out_of_memory = true;
		return;
	}
	if (tally->seen.count == before)
		return;
	if (tally->actor_count == tally->actor_capacity) {
		size_t capacity = tally->actor_capacity != 0 ? tally->actor_capacity * 2 : 1024;
		struct tally_actor *actors = realloc(tally->actors, capacity * sizeof(*actors));

		if (actors == NULL) {
			tally->is_out_of_memory = true;
			return;
		}
		tally->actors = actors;
		tally->actor_capacity = capacity;
	}
	tally->actors[tally->actor_count++] = (struct tally_actor){ key, actor };
}

static void add_to_sketch(struct tally *tally, uint64_t key, uint64_t actor)
{
	struct sketch **sketch = count_map_at(&tally->sketches, key);

	if (sketch != NULL && *sketch == NULL)
		*sketch = calloc(1, sizeof(**sketch));
	if (sketch == NULL || *sketch == NULL) {
		tally->is_out_of_memory = true;
		return;
	}
	sketch_add(*sketch, (uint32_t)actor);
}

static int64_t bucket_of(const struct tally *tally, int64_t window_s)
{
	if (!tally->options.for_report)
		return window_s;
	if (tally->options.per == PERIOD_COUNT)
		return 0;
	return period_start(tally->options.per, window_s, tally->options.day_offset_s);
}

static void add_minute(struct tally *tally, const struct flow_record *flow)
{
	struct tally_value *value =
		count_map_at(&tally->minutes, (uint64_t)(flow->window_ms / WINDOW_MS));

	if (value == NULL) {
		tally->is_out_of_memory = true;
		return;
	}
	value->packets += (uint64_t)flow->packets;
	value->bytes += (uint64_t)flow->bytes;
}

static void add(struct tally *tally, const struct flow_record *flow, enum dimension dimension,
	uint32_t label, uint64_t actor)
{
	struct tally_key key = { bucket_of(tally, flow->window_ms / 1000), dimension, label };
	uint64_t packed = tally_pack(&key);
	struct tally_value *value = count_map_at(&tally->counters, packed);

	if (value == NULL) {
		tally->is_out_of_memory = true;
		return;
	}
	value->packets += (uint64_t)flow->packets;
	value->bytes += (uint64_t)flow->bytes;
	if (flow->overflow)
		return; /* its actors are not known */
	if (tally->options.for_report)
		add_to_sketch(tally, packed, actor);
	else
		add_actor(tally, packed, actor);
}

static void keep_as_name(struct tally *tally, const struct geo_answer *geo)
{
	uint64_t *number;

	if (geo->asn == 0 || geo->as_name[0] == '\0')
		return;
	number = count_map_at(&tally->as_names, geo->asn);
	if (number == NULL) {
		tally->is_out_of_memory = true;
		return;
	}
	if (*number != 0)
		return;
	if (append_text(&tally->names, geo->as_name) != 0)
		tally->is_out_of_memory = true;
	else
		*number = tally->names.count;
}

uint64_t tally_actor_element(struct bytes actor)
{
	return hyperloglog_element(XXH3_64bits_withSeed(actor.data, actor.size, ACTOR_SEED));
}

void tally_labels(
	const struct flow_record *flow, const struct geo_answer *geo, uint32_t out[DIM_COUNT])
{
	out[DIM_TOTAL] = 0;
	out[DIM_CLASS] = flow->class;
	out[DIM_ROLE] = flow->role;
	out[DIM_PROTOCOL] = (uint32_t)flow->ip_version << 8 | flow->protocol;
	out[DIM_SERVICE] = tally_service_label(flow->role, flow->protocol, flow->service_port);
	out[DIM_COUNTRY] = (uint32_t)((uint8_t)geo->country[0] << 8 | (uint8_t)geo->country[1]);
	out[DIM_ASN] = geo->asn;
	out[DIM_TOOL] = flow->tool;
	out[DIM_PAYLOAD] = flow->payload;
	out[DIM_SENSOR] = 0;
}

void tally_flow(struct tally *tally, const struct origin *origin, const struct flow_record *flow,
	const struct geo_answer *geo)
{
	uint64_t actor = tally_actor_element(flow->actor);
	uint32_t labels[DIM_COUNT];

	tally_labels(flow, geo, labels);
	if (sensor_number(tally, origin->sensor, &labels[DIM_SENSOR]) != 0) {
		tally->is_out_of_memory = true;
		return;
	}
	for (enum dimension dimension = 0; dimension < DIM_COUNT; dimension++)
		add(tally, flow, dimension, labels[dimension], actor);
	keep_as_name(tally, geo);
	if (tally->options.for_report)
		add_minute(tally, flow);
	tally->flows++;
}

static bool is_of_minute(
	const struct tally_ledger *ledger, const struct marker_record *marker, uint32_t sensor)
{
	return ledger->minute_ms == marker->minute_ms && ledger->sensor == sensor;
}

/* Whether the two add up: what is kept once (addresses watched, a gap) must not depend on which
 * markers happen to be in one batch. */
static bool adds_up(const struct tally_ledger *ledger, const struct marker_record *marker)
{
	return ledger->interval_count < TALLY_INTERVALS &&
	       ledger->books.monitored_addresses == marker->monitored_addresses &&
	       (ledger->books.gap_from_ns == AVRO_NULL_LONG ||
		       marker->gap_from_ns == AVRO_NULL_LONG);
}

/* The newest ledger of the minute, or another one: so intervals stay in the log's order, which
 * decides what is new where they overlap. */
static struct tally_ledger *ledger_of(
	struct tally *tally, const struct marker_record *marker, uint32_t sensor)
{
	for (size_t i = tally->ledger_count; i-- > 0;) {
		if (!is_of_minute(&tally->ledgers[i], marker, sensor))
			continue;
		if (adds_up(&tally->ledgers[i], marker))
			return &tally->ledgers[i];
		break;
	}
	if (tally->ledger_count == tally->ledger_capacity) {
		size_t capacity = tally->ledger_capacity != 0 ? tally->ledger_capacity * 2 : 16;
		struct tally_ledger *ledgers = realloc(tally->ledgers, capacity * sizeof(*ledgers));

		if (ledgers == NULL) {
			tally->is_out_of_memory = true;
			return NULL;
		}
		tally->ledgers = ledgers;
		tally->ledger_capacity = capacity;
	}
	tally->ledgers[tally->ledger_count] = (struct tally_ledger){
		.minute_ms = marker->minute_ms, .sensor = sensor, .books = marker_defaults()
	};
	return &tally->ledgers[tally->ledger_count++];
}

static int64_t least(int64_t a, int64_t b)
{
	return a == AVRO_NULL_LONG ? b : b == AVRO_NULL_LONG ? a : a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b)
{
	return a > b ? a : b; /* null is the least of all */
}

/* clang-format off */
#define BOOK(member) { #member, offsetof(struct marker_record, member) }
const struct tally_book tally_books[] = {
	BOOK(frames), BOOK(non_ip), BOOK(malformed), BOOK(malformed_ip_version), BOOK(malformed_header_cut),
	BOOK(malformed_header_length), BOOK(malformed_total_length), BOOK(not_dark), BOOK(counted), BOOK(wire_bytes),
	BOOK(kernel_drops), BOOK(interface_drops), BOOK(misdated), BOOK(overflow), BOOK(sketch_overflow), BOOK(lost_entries),
	BOOK(lost_flows), BOOK(lost_packets), BOOK(dark_sender_packets),
};
#undef BOOK
/* clang-format on */

const size_t tally_book_count = sizeof(tally_books) / sizeof(tally_books[0]);

int64_t tally_book_value(const struct marker_record *books, size_t book)
{
	int64_t value;

	memcpy(&value, (const uint8_t *)books + tally_books[book].offset, sizeof(value));
	return value;
}

static void set_book(struct marker_record *books, size_t book, int64_t value)
{
	memcpy((uint8_t *)books + tally_books[book].offset, &value, sizeof(value));
}

void tally_book_set(struct marker_record *books, const char *name, int64_t value)
{
	for (size_t i = 0; i < tally_book_count; i++)
		if (strcmp(tally_books[i].name, name) == 0)
			set_book(books, i, value);
}

void tally_books_add(struct marker_record *into, const struct marker_record *from)
{
	for (size_t i = 0; i < tally_book_count; i++)
		set_book(into, i, tally_book_value(into, i) + tally_book_value(from, i));
	into->first_ns = least(into->first_ns, from->first_ns);
	into->last_ns = greatest(into->last_ns, from->last_ns);
	into->gap_from_ns = least(into->gap_from_ns, from->gap_from_ns);
	into->gap_to_ns = greatest(into->gap_to_ns, from->gap_to_ns);
	into->monitored_addresses = greatest(into->monitored_addresses, from->monitored_addresses);
	into->monitored_ipv6_prefixes =
		greatest(into->monitored_ipv6_prefixes, from->monitored_ipv6_prefixes);
}

void tally_marker(
	struct tally *tally, const struct origin *origin, const struct marker_record *marker)
{
	struct tally_ledger *ledger;
	uint32_t sensor;

	if (marker->partition != 0)
		return;
	if (sensor_number(tally, origin->sensor, &sensor) != 0) {
		tally->is_out_of_memory = true;
		return;
	}
	ledger = ledger_of(tally, marker, sensor);
	if (ledger == NULL)
		return;
	tally_books_add(&ledger->books, marker);
	if (marker->interval_to_ns > marker->interval_from_ns) {
		ledger->intervals[ledger->interval_count][0] = marker->interval_from_ns;
		ledger->intervals[ledger->interval_count++][1] = marker->interval_to_ns;
	}
}
