/*
 * An item of the list is eight bytes: four of the key above, which are sorted by, and below the
 * flow's place: its source's number and its own. Where the four are equal the next four decide.
 */
#include "sensor/flow_order.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/bytes.h"

#define RUN_SMALL 16   /* runs up to this length are sorted by insertion */
#define RUN_LARGE 4096 /* from here on a radix sort pays */

typedef uint64_t item;

void flow_order_fini(struct flow_order *order)
{
	if (order->list != NULL)
		large_free(order->list, order->capacity * sizeof(*order->list));
	if (order->scratch != NULL)
		large_free(order->scratch, order->capacity * sizeof(*order->scratch));
	order->list = order->scratch = NULL;
	order->capacity = 0;
}

static struct flow_ref ref_of(const struct flow_order *order, item it)
{
	uint32_t place = (uint32_t)it;
	uint32_t number = (uint32_t)(place & ((UINT64_C(1) << order->number_bits) - 1));
	const struct flow_source *source = &order->sources[(uint64_t)place >> order->number_bits];

	return (struct flow_ref){ flow_list_at(&source->flows, number), source };
}

/* Four bytes of the item's key from `at` on; zero behind its end. */
static uint32_t key_word(const struct flow_order *order, item it, size_t at)
{
	struct flow_ref flow = ref_of(order, it);

	return at < flow_key_bytes(flow.source->family) ? load_u32(flow.entry->key + at) : 0;
}

/* One pass over eight bits; false when all items agree in them, so that nothing moved. */
static bool radix_pass(const item *from, item *to, size_t count, unsigned shift)
{
	size_t starts[256] = { 0 }, sum = 0;

	for (size_t i = 0; i < count; i++)
		starts[from[i] >> shift & 0xff]++;
	if (starts[from[0] >> shift & 0xff] == count)
		return false;
	for (unsigned i = 0; i < 256; i++) {
		size_t here = starts[i];

		starts[i] = sum;
		sum += here;
	}
	for (size_t i = 0; i < count; i++)
		to[starts[from[i] >> shift & 0xff]++] = from[i];
	return true;
}

static void radix_sort(item *list, item *scratch, size_t count)
{
	item *from = list, *to = scratch;

	for (unsigned shift = 32; shift < 64; shift += 8) {
		if (radix_pass(from, to, count, shift)) {
			item *swap = from;

			from = to;
			to = swap;
		}
	}
	if (from != list)
		memcpy(list, from, count * sizeof(*list));
}

static int compare_items(const void *a, const void *b)
{
	item x = *(const item *)a, y = *(const item *)b;

	return (x > y) - (x < y);
}

static void insertion_sort(item *list, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		item it = list[i];
		size_t at = i;

		for (; at > 0 && list[at - 1] > it; at--)
			list[at] = list[at - 1];
		list[at] = it;
	}
}

/* Sorts items whose upper halves are the key's bytes at `at`; what is equal there by the next. */
static void sort_run(const struct flow_order *order, item *list, size_t count, size_t at)
{
	if (count <= RUN_SMALL)
		insertion_sort(list, count);
	else if (count < RUN_LARGE)
		qsort(list, count, sizeof(*list), compare_items);
	else
		radix_sort(list, order->scratch, count);
	at += 4;
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;

		while (end < count && list[end] >> 32 == list[i] >> 32)
			end++;
		if (end - i > 1 && at < FLOW_KEY_MAX) {
			for (size_t j = i; j < end; j++)
				list[j] = (uint64_t)key_word(order, list[j], at) << 32 |
					  (uint32_t)list[j];
			sort_run(order, list + i, end - i, at);
		}
		i = end;
	}
}

static int reserve_items(struct flow_order *order)
{
	if (order->count <= order->capacity)
		return 0;
	flow_order_fini(order);
	order->list = large_alloc(order->count * sizeof(*order->list));
	order->scratch = large_alloc(order->count * sizeof(*order->scratch));
	order->capacity = order->count;
	if (order->list != NULL && order->scratch != NULL)
		return 0;
	flow_order_fini(order);
	return -ENOMEM;
}

static void add_source(
	struct flow_order *order, const struct window *window, enum flow_family family)
{
	struct flow_source source = {
		.table = window->table,
		.flows = flow_table_list(window->table, family),
		.family = family,
	};

	if (source.flows.count == 0)
		return;
	order->count += source.flows.count;
	order->sources[order->source_count++] = source;
}

/* How many bits are left for a flow's number; checks that all numbers fit. */
static bool divide_bits(struct flow_order *order)
{
	order->number_bits = 32;
	while (order->source_count > UINT64_C(1) << (32 - order->number_bits))
		order->number_bits--;
	for (unsigned i = 0; i < order->source_count; i++)
		if (order->sources[i].flows.count > UINT64_C(1) << order->number_bits)
			return false;
	return true;
}

static void list_items(struct flow_order *order)
{
	item *out = order->list;

	for (uint64_t s = 0; s < order->source_count; s++) {
		const struct flow_list *flows = &order->sources[s].flows;

		for (uint32_t i = 0; i < flows->count; i++) {
			const struct flow_entry *entry = flow_list_at(flows, i);

			if (entry->packets > 0)
				*out++ = (uint64_t)load_u32(entry->key) << 32 |
					 s << order->number_bits | i;
		}
	}
	order->count = (size_t)(out - order->list);
}

int flow_order_make(
	struct flow_order *order, struct window **windows, size_t window_count, unsigned ip_version)
{
	int rc;

	order->count = 0;
	order->source_count = 0;
	if (2 * window_count > SOURCES_MAX)
		return -ENOMEM;
	for (size_t w = 0; w < window_count; w++) {
		if (ip_version == 6) {
			add_source(order, windows[w], FLOW_V6);
		} else {
			add_source(order, windows[w], FLOW_V4);
			add_source(order, windows[w], FLOW_V4_LONG);
		}
	}
	if (!divide_bits(order))
		return -ENOMEM;
	rc = reserve_items(order);
	if (rc != 0)
		return rc;
	list_items(order);
	sort_run(order, order->list, order->count, 0);
	return 0;
}

struct flow_ref flow_order_at(const struct flow_order *order, size_t place)
{
	return ref_of(order, order->list[place]);
}
