#include "sensor/window.h"

#include <assert.h>
#include <stdlib.h>

int window_create(
	struct window **out, uint64_t minute, struct flow_budgets *budgets, size_t range_count)
{
	struct window *window = calloc(1, sizeof(*window));
	int rc;

	if (window == NULL)
		return -ENOMEM;
	window->minute = minute;
	window->ledger.first_ns = UINT64_MAX;
	window->ledger.range_count = range_count;
	if (range_count > 0) {
		window->ledger.range_packets = calloc(range_count, sizeof(uint64_t));
		if (window->ledger.range_packets == NULL) {
			free(window);
			return -ENOMEM;
		}
	}
	rc = flow_table_create(&window->table, budgets, &window->arena);
	if (rc != 0) {
		window_destroy(window);
		return rc;
	}
	*out = window;
	return 0;
}

void window_destroy(struct window *window)
{
	if (window == NULL)
		return;
	flow_table_destroy(window->table);
	arena_fini(&window->arena);
	free(window->ledger.range_packets);
	free(window);
}

uint64_t ledger_malformed(const struct ledger *ledger)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PACKET_STATUS_COUNT; i++)
		sum += ledger->malformed[i];
	return sum;
}

void ledger_add_sender(struct ledger *ledger, const struct address *address, uint64_t packets)
{
	ledger->sender_packets += packets;
	for (size_t i = 0; i < ledger->sender_count; i++) {
		if (address_equals(&ledger->senders[i].address, address)) {
			ledger->senders[i].packets += packets;
			return;
		}
	}
	if (ledger->sender_count < SENDERS_MAX)
		ledger->senders[ledger->sender_count++] = (struct dark_sender){ *address, packets };
}

static void add_senders(struct ledger *into, const struct ledger *from)
{
	uint64_t named = 0;

	for (size_t i = 0; i < from->sender_count; i++) {
		ledger_add_sender(into, &from->senders[i].address, from->senders[i].packets);
		named += from->senders[i].packets;
	}
	into->sender_packets += from->sender_packets - named;
}

void ledger_add(struct ledger *into, const struct ledger *from)
{
	into->frames += from->frames;
	into->non_ip += from->non_ip;
	for (unsigned i = 0; i < PACKET_STATUS_COUNT; i++)
		into->malformed[i] += from->malformed[i];
	into->not_dark += from->not_dark;
	into->counted += from->counted;
	into->wire_bytes += from->wire_bytes;
	if (from->first_ns < into->first_ns)
		into->first_ns = from->first_ns;
	if (from->last_ns > into->last_ns)
		into->last_ns = from->last_ns;
	into->kernel_drops += from->kernel_drops;
	into->interface_drops += from->interface_drops;
	for (size_t i = 0; i < from->range_count && i < into->range_count; i++)
		into->range_packets[i] += from->range_packets[i];
	add_senders(into, from);
}

struct window *window_set_find(const struct window_set *set, uint64_t minute)
{
	for (size_t i = set->count; i-- > 0;)
		if (set->windows[i]->minute == minute)
			return set->windows[i];
	return NULL;
}

void window_set_insert(struct window_set *set, struct window *window)
{
	size_t at = set->count;

	assert(set->count < WINDOWS_MAX);
	while (at > 0 && set->windows[at - 1]->minute > window->minute) {
		set->windows[at] = set->windows[at - 1];
		at--;
	}
	set->windows[at] = window;
	set->count++;
}

struct window *window_set_take(struct window_set *set, uint64_t minute)
{
	struct window *oldest;

	if (set->count == 0 || set->windows[0]->minute > minute)
		return NULL;
	oldest = set->windows[0];
	set->count--;
	for (size_t i = 0; i < set->count; i++)
		set->windows[i] = set->windows[i + 1];
	return oldest;
}
