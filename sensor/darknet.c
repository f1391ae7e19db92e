/*
 * Prefixes nest or are disjoint, never cross. Sorted by address and then length, a sweep with a
 * stack turns them into disjoint segments, each with the range that decides there; asking is a
 * binary search over segment starts. IPv4 first looks at the upper 16 bits, which leave a handful
 * of segments: one or two cache lines a packet.
 */
#include "sensor/darknet.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/bytes.h"

#define FILE_BYTES_MAX (16u << 20) /* about half a million prefixes */
#define TOP_ENTRIES    65536	   /* upper 16 bits of an IPv4 address */
#define DEPTH_MAX      129	   /* prefixes inside each other */

/* An address as a number; IPv4 in the low 32 bits. */
__extension__ typedef unsigned __int128 number;

struct prefix {
	number first;
	number last;
	uint8_t address_bytes;
	uint8_t length;
	bool is_excluded;
	uint32_t range;
};

struct segment {
	number first;
	uint32_t range;
};

struct segments {
	struct segment *items;
	size_t count;
};

struct darknet {
	char *source;
	struct darknet_range *ranges;
	size_t range_count;
	struct segments v4, v6;
	uint32_t v4_top[TOP_ENTRIES + 1]; /* last segment that starts at or before this /16 */
	uint32_t v4_lowest, v4_highest;	  /* nothing outside is monitored: most sources end here */
	uint64_t addresses;
	uint64_t ipv6_prefixes;
};

static number number_of(const uint8_t *bytes, size_t size)
{
	number value = 0;

	for (size_t i = 0; i < size; i++)
		value = value << 8 | bytes[i];
	return value;
}

static struct address address_of(number value, uint8_t size)
{
	struct address address = { .size = size };

	for (int i = size - 1; i >= 0; i--) {
		address.bytes[i] = (uint8_t)value;
		value >>= 8;
	}
	return address;
}

static number host_mask(uint8_t address_bytes, uint8_t length)
{
	unsigned host_bits = (unsigned)address_bytes * 8 - length;

	return host_bits == 128 ? ~(number)0 : ((number)1 << host_bits) - 1;
}

static void prefix_text(const struct prefix *prefix, char out[PREFIX_TEXT_BYTES])
{
	struct address address = address_of(prefix->first, prefix->address_bytes);
	char text[ADDRESS_TEXT_BYTES];

	snprintf(out, PREFIX_TEXT_BYTES, "%s/%u", address_text(&address, text), prefix->length);
}

static int parse_length(const char *text, unsigned max, uint8_t *out)
{
	unsigned value = 0;

	if (!isdigit((unsigned char)text[0]))
		return FAIL_FORMAT;
	for (; isdigit((unsigned char)*text); text++) {
		value = value * 10 + (unsigned)(*text - '0');
		if (value > max)
			return FAIL_FORMAT;
	}
	*out = (uint8_t)value;
	return *text == '\0' ? 0 : FAIL_FORMAT;
}

static int parse_prefix(struct prefix *out, const char *text, struct message *msg)
{
	char copy[PREFIX_TEXT_BYTES + 16];
	const char *word = text;
	struct address address;
	char *slash, meant[PREFIX_TEXT_BYTES];
	number hosts;

	*out = (struct prefix){ .is_excluded = word[0] == '!' };
	word += out->is_excluded;
	snprintf(copy, sizeof(copy), "%s", word);
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash = '\0';
	if (strlen(word) >= sizeof(copy) || address_parse(&address, copy) != 0) {
		message_set(msg,
			"\"%.80s\" is not a prefix (such as 198.51.100.0/24 or 2001:db8::/32)",
			text);
		return FAIL_USAGE;
	}
	out->address_bytes = address.size;
	out->length = (uint8_t)(address.size * 8);
	if (slash != NULL && parse_length(slash + 1, address.size * 8u, &out->length) != 0) {
		message_set(msg, "\"%.80s\": the prefix length must be 0 to %u", text,
			address.size * 8u);
		return FAIL_USAGE;
	}
	hosts = host_mask(out->address_bytes, out->length);
	out->first = number_of(address.bytes, address.size);
	if ((out->first & hosts) != 0) {
		out->first &= ~hosts;
		prefix_text(out, meant);
		message_set(msg, "\"%.80s\" has host bits set; the network is %s%s", text,
			out->is_excluded ? "!" : "", meant);
		return FAIL_USAGE;
	}
	out->last = out->first | hosts;
	return 0;
}

static int compare_prefixes(const void *a, const void *b)
{
	const struct prefix *p = a, *q = b;

	if (p->address_bytes != q->address_bytes)
		return p->address_bytes < q->address_bytes ? -1 : 1;
	if (p->first != q->first)
		return p->first < q->first ? -1 : 1;
	return (int)p->length - (int)q->length;
}

/* Drops repeats; refuses a prefix that is both included and excluded. */
static int merge_equals(struct prefix *prefixes, size_t *count, struct message *msg)
{
	size_t kept = 0;
	char text[PREFIX_TEXT_BYTES];

	for (size_t i = 0; i < *count; i++) {
		bool same = kept > 0 && compare_prefixes(&prefixes[kept - 1], &prefixes[i]) == 0;

		if (same && prefixes[kept - 1].is_excluded != prefixes[i].is_excluded) {
			prefix_text(&prefixes[i], text);
			message_set(msg, "%s is both a dark range and excluded", text);
			return FAIL_USAGE;
		}
		if (!same)
			prefixes[kept++] = prefixes[i];
	}
	*count = kept;
	return 0;
}

static void add_range(struct darknet *darknet, struct prefix *prefix)
{
	struct darknet_range *range = &darknet->ranges[darknet->range_count];

	prefix->range = DARKNET_NONE;
	if (prefix->is_excluded)
		return;
	prefix->range = (uint32_t)darknet->range_count++;
	prefix_text(prefix, range->prefix);
	range->address_bytes = prefix->address_bytes;
	darknet->ipv6_prefixes += prefix->address_bytes == 16;
}

static void begin_segment(struct segments *segments, number first, uint32_t range)
{
	struct segment *last = segments->count > 0 ? &segments->items[segments->count - 1] : NULL;

	if (last != NULL && last->first == first)
		last->range = range;
	else
		segments->items[segments->count++] = (struct segment){ first, range };
}

/* Ends the stacked prefixes that end before `until`; the outer one goes on behind each. */
static void close_stacked(struct segments *segments, const struct prefix **stack, size_t *depth,
	number until, bool all)
{
	while (*depth > 0 && (all || stack[*depth - 1]->last < until)) {
		number last = stack[--*depth]->last;
		uint32_t outer = *depth > 0 ? stack[*depth - 1]->range : DARKNET_NONE;

		if (last != ~(number)0)
			begin_segment(segments, last + 1, outer);
	}
}

/* Every prefix begins one segment and ends one: at most 2 per prefix, and one at zero. */
static int build_segments(struct segments *segments, const struct prefix *prefixes, size_t count)
{
	const struct prefix *stack[DEPTH_MAX];
	size_t depth = 0;

	segments->items = calloc(2 * count + 1, sizeof(*segments->items));
	if (segments->items == NULL)
		return -ENOMEM;
	begin_segment(segments, 0, DARKNET_NONE);
	for (size_t i = 0; i < count; i++) {
		close_stacked(segments, stack, &depth, prefixes[i].first, false);
		begin_segment(segments, prefixes[i].first, prefixes[i].range);
		stack[depth++] = &prefixes[i];
	}
	close_stacked(segments, stack, &depth, 0, true);
	return 0;
}

static void count_addresses(struct darknet *darknet, const struct segments *segments, double whole)
{
	for (size_t i = 0; i < segments->count; i++) {
		const struct segment *segment = &segments->items[i];
		double end = i + 1 < segments->count ? (double)segments->items[i + 1].first : whole;

		if (segment->range == DARKNET_NONE)
			continue;
		/* exact for IPv4; for IPv6 differences are taken before rounding where both ends are known */
		if (i + 1 < segments->count)
			darknet->ranges[segment->range].addresses +=
				(double)(segments->items[i + 1].first - segment->first);
		else
			darknet->ranges[segment->range].addresses += end - (double)segment->first;
	}
}

static void index_top(struct darknet *darknet)
{
	size_t at = 0;

	for (uint32_t top = 0; top <= TOP_ENTRIES; top++) {
		number first = (number)top << 16;

		while (at + 1 < darknet->v4.count && darknet->v4.items[at + 1].first <= first)
			at++;
		darknet->v4_top[top] = (uint32_t)at;
	}
}

static void find_extremes(struct darknet *darknet, const struct prefix *prefixes, size_t v4_count)
{
	darknet->v4_lowest = UINT32_MAX;
	darknet->v4_highest = 0;
	for (size_t i = 0; i < v4_count; i++) {
		if (prefixes[i].is_excluded)
			continue;
		if (prefixes[i].first < darknet->v4_lowest)
			darknet->v4_lowest = (uint32_t)prefixes[i].first;
		if (prefixes[i].last > darknet->v4_highest)
			darknet->v4_highest = (uint32_t)prefixes[i].last;
	}
}

static int prepare(struct darknet *darknet, struct prefix *prefixes, size_t count)
{
	size_t v4_count = 0;
	int rc;

	darknet->ranges = calloc(count + 1, sizeof(*darknet->ranges));
	if (darknet->ranges == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		add_range(darknet, &prefixes[i]);
		v4_count += prefixes[i].address_bytes == 4;
	}
	rc = build_segments(&darknet->v4, prefixes, v4_count);
	if (rc == 0)
		rc = build_segments(&darknet->v6, prefixes + v4_count, count - v4_count);
	if (rc != 0)
		return rc;
	count_addresses(darknet, &darknet->v4, 4294967296.0);
	count_addresses(darknet, &darknet->v6, ldexp(1, 128));
	for (size_t i = 0; i < darknet->range_count; i++)
		if (darknet->ranges[i].address_bytes == 4)
			darknet->addresses += (uint64_t)darknet->ranges[i].addresses;
	index_top(darknet);
	find_extremes(darknet, prefixes, v4_count);
	return 0;
}

static int keep_source(struct darknet *darknet, const char *const *texts, size_t count)
{
	struct buffer source = { 0 };

	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buffer_u8(&source, ',');
		buffer_append_text(&source, texts[i]);
	}
	buffer_u8(&source, '\0');
	darknet->source = (char *)source.data;
	return source.failed ? -ENOMEM : 0;
}

int darknet_create(
	struct darknet **out, const char *const *texts, size_t count, struct message *msg)
{
	struct prefix *prefixes = calloc(count + 1, sizeof(*prefixes));
	struct darknet *darknet = calloc(1, sizeof(*darknet));
	int rc = prefixes == NULL || darknet == NULL ? -ENOMEM : 0;

	if (rc == 0)
		rc = keep_source(darknet, texts, count);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = parse_prefix(&prefixes[i], texts[i], msg);
	if (rc == 0) {
		qsort(prefixes, count, sizeof(*prefixes), compare_prefixes);
		rc = merge_equals(prefixes, &count, msg);
	}
	if (rc == 0)
		rc = prepare(darknet, prefixes, count);
	if (rc == 0 && count > 0 && darknet->range_count == 0) {
		message_set(msg, "the dark ranges only exclude; at least one must include");
		rc = FAIL_USAGE;
	}
	free(prefixes);
	if (rc != 0) {
		darknet_destroy(darknet);
		return rc;
	}
	*out = darknet;
	return 0;
}

const char *darknet_source(const struct darknet *darknet)
{
	return darknet->source;
}

void darknet_destroy(struct darknet *darknet)
{
	if (darknet == NULL)
		return;
	free(darknet->source);
	free(darknet->ranges);
	free(darknet->v4.items);
	free(darknet->v6.items);
	free(darknet);
}

static uint32_t search(const struct segments *segments, number value, size_t low, size_t high)
{
	while (low < high) {
		size_t middle = (low + high + 1) / 2;

		if (segments->items[middle].first <= value)
			low = middle;
		else
			high = middle - 1;
	}
	return segments->items[low].range;
}

uint32_t darknet_find(const struct darknet *darknet, const uint8_t *address, size_t bytes)
{
	if (bytes == 4) {
		uint32_t value = load_u32(address);

		if (value < darknet->v4_lowest || value > darknet->v4_highest)
			return DARKNET_NONE;

		return search(&darknet->v4, value, darknet->v4_top[value >> 16],
			darknet->v4_top[(value >> 16) + 1]);
	}
	return search(&darknet->v6, number_of(address, 16), 0, darknet->v6.count - 1);
}

size_t darknet_range_count(const struct darknet *darknet)
{
	return darknet->range_count;
}

const struct darknet_range *darknet_range(const struct darknet *darknet, size_t index)
{
	return &darknet->ranges[index];
}

uint64_t darknet_addresses(const struct darknet *darknet)
{
	return darknet->addresses;
}

uint64_t darknet_ipv6_prefixes(const struct darknet *darknet)
{
	return darknet->ipv6_prefixes;
}

/* ---- file of prefixes ---- */

struct text_array {
	char **items;
	size_t count, capacity;
};

static int text_array_add(struct text_array *array, const char *text)
{
	if (array->count == array->capacity) {
		size_t capacity = array->capacity != 0 ? array->capacity * 2 : 64;
		char **items = realloc(array->items, capacity * sizeof(*items));

		if (items == NULL)
			return -ENOMEM;
		array->items = items;
		array->capacity = capacity;
	}
	array->items[array->count] = strdup(text);
	return array->items[array->count] != NULL ? (array->count++, 0) : -ENOMEM;
}

/* One line: words between blanks and commas, up to a '#'. */
static int read_line(struct text_array *array, char *line, const char *path,
	unsigned number_of_line, struct message *msg)
{
	struct message reason;
	struct prefix prefix;
	char *save = NULL;
	int rc = 0;

	line[strcspn(line, "#\r\n")] = '\0';
	for (char *word = strtok_r(line, " \t,", &save); word != NULL && rc == 0;
		word = strtok_r(NULL, " \t,", &save)) {
		rc = parse_prefix(&prefix, word, &reason);
		if (rc == FAIL_USAGE) {
			message_set(msg, "%s:%u:%zu: %s", path, number_of_line,
				(size_t)(word - line) + 1, reason.text);
			return FAIL_CONFIG;
		}
		rc = text_array_add(array, word);
	}
	return rc;
}

int darknet_read_file(char ***texts, size_t *count, const char *path, struct message *msg)
{
	struct text_array array = { 0 };
	FILE *file = fopen(path, "re");
	size_t line_bytes = 0, total = 0;
	unsigned line_number = 0;
	char *line = NULL;
	int rc = 0;

	if (file == NULL) {
		message_set(msg, "%s: %s", path, error_text(-errno));
		return FAIL_CONFIG;
	}
	while (rc == 0 && getline(&line, &line_bytes, file) >= 0) {
		total += strlen(line);
		rc = total > FILE_BYTES_MAX ? FAIL_CONFIG
					    : read_line(&array, line, path, ++line_number, msg);
		if (total > FILE_BYTES_MAX)
			message_set(msg, "%s:%u:1: file is larger than %u bytes", path,
				line_number + 1, FILE_BYTES_MAX);
	}
	free(line);
	fclose(file);
	if (rc != 0) {
		for (size_t i = 0; i < array.count; i++)
			free(array.items[i]);
		free(array.items);
		return rc;
	}
	*texts = array.items;
	*count = array.count;
	return 0;
}
