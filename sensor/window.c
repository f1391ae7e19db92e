#include "sensor/window.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/log.h"

#define HEAD_MAGIC     UINT64_C(0x314e494d53534f48) /* "HOSSMIN1" */
#define LAYOUT_VERSION 2 /* one more whenever what lies in the file changes its meaning */

#define PARTS_MAX (1u << 20) /* far above what a minute is cut into */

/* What a window's file begins with; the window, its packets by range and the ranges' source follow. */
struct head {
	uint64_t magic;
	uint64_t layout; /* sizes: another release's file is not read */
	int64_t boot;
	uint64_t head_bytes;
	uint64_t range_count;
	uint64_t source_bytes; /* with its NUL */
	uint64_t sum;	       /* of what never changes */
	struct window window;
};

static uint64_t layout(void)
{
	return LAYOUT_VERSION | (uint64_t)sizeof(struct window) << 16 |
	       (uint64_t)sizeof(struct flow_entry) << 40;
}

static uint64_t *ranges_of(struct head *head)
{
	return (uint64_t *)(void *)(head + 1);
}

static char *source_of(struct head *head)
{
	return (char *)(ranges_of(head) + head->range_count);
}

static struct head *head_of(struct window *window)
{
	return (struct head *)(void *)((char *)window - offsetof(struct head, window));
}

static uint64_t sum_of(struct head *head)
{
	const uint64_t fixed[] = { head->layout, (uint64_t)head->boot, head->head_bytes,
		head->range_count, head->source_bytes, head->window.minute };

	return XXH3_64bits_withSeed(
		source_of(head), head->source_bytes, XXH3_64bits(fixed, sizeof(fixed)));
}

/* The head in a file, or in memory. */
static struct head *make_head(size_t bytes, struct open_store *store, struct open_file **file)
{
	void *head = NULL;

	*file = NULL;
	if (store != NULL) {
		int rc = open_file_create(file, store, bytes, &head);

		if (rc == 0)
			return head;
		log_warning("an open minute is in memory only error=\"%s\"", error_text(rc));
	}
	return calloc(1, bytes);
}

int window_create(struct window **out, uint64_t minute, struct flow_budgets *budgets,
	const struct darknet *darknet, struct open_store *store)
{
	size_t ranges = darknet != NULL ? darknet_range_count(darknet) : 0;
	const char *source = darknet != NULL ? darknet_source(darknet) : "";
	size_t source_bytes = strlen(source) + 1;
	size_t bytes = sizeof(struct head) + ranges * sizeof(uint64_t) + source_bytes;
	struct open_file *file;
	struct head *head = make_head(bytes, store, &file);
	struct window *window;
	int rc;

	if (head == NULL)
		return -ENOMEM;
	window = &head->window;
	head->layout = layout();
	head->head_bytes = open_file_head_bytes(bytes);
	head->range_count = ranges;
	head->source_bytes = source_bytes;
	if (store != NULL)
		head->boot = open_store_boot(store);
	memcpy(source_of(head), source, source_bytes);
	window->minute = minute;
	head->sum = sum_of(head);
	window->ledger.first_ns = UINT64_MAX;
	window->ledger.range_count = ranges;
	window->ledger.range_packets = ranges > 0 ? ranges_of(head) : NULL;
	window->arena.file = window->file = file;
	rc = flow_table_create(&window->table, budgets, &window->arena, window->flow_counts);
	if (rc != 0) {
		window_destroy(window);
		return rc;
	}
	head->magic = HEAD_MAGIC; /* last: from here on it is a window */
	*out = window;
	return 0;
}

void window_destroy(struct window *window)
{
	struct open_file *file;

	if (window == NULL)
		return;
	flow_table_destroy(window->table);
	arena_fini(&window->arena);
	file = window->file;
	if (file != NULL)
		open_file_destroy(file); /* the window is in it */
	else
		free(head_of(window));
}

/* ---- left by a killed process ---- */

static bool head_is_sound(struct head *head, size_t size)
{
	return size >= sizeof(*head) && head->magic == HEAD_MAGIC && head->layout == layout() &&
	       head->head_bytes <= size && head->head_bytes % 64 == 0 &&
	       head->range_count <= (head->head_bytes - sizeof(*head)) / sizeof(uint64_t) &&
	       head->source_bytes > 0 &&
	       head->source_bytes <=
		       head->head_bytes - sizeof(*head) - head->range_count * sizeof(uint64_t) &&
	       head->sum == sum_of(head) && source_of(head)[head->source_bytes - 1] == '\0';
}

static int attach(void *context, struct arena_tag tag, void *piece, size_t piece_bytes)
{
	return flow_table_attach(context, tag, piece, piece_bytes);
}

/* Packets that were under way stand in the books but in no flow: they count nowhere. */
static void balance(struct window *window)
{
	struct ledger *ledger = &window->ledger;
	uint64_t bytes;

	ledger->counted = flow_table_repair(window->table, &bytes);
	ledger->wire_bytes = bytes;
	ledger->frames =
		ledger->non_ip + ledger_malformed(ledger) + ledger->not_dark + ledger->counted;
	if (ledger->range_count == 1)
		ledger->range_packets[0] = ledger->counted;
	if (ledger->sender_count > SENDERS_MAX)
		ledger->sender_count = 0;
	if (window->close.first_part > PARTS_MAX)
		window->close.first_part = 0;
}

int window_read(
	struct window_left *out, int directory_fd, const char *name, struct flow_budgets *budgets)
{
	struct open_file *file;
	struct window *window;
	struct head *head;
	void *bytes;
	size_t size;
	int rc = open_file_read(&file, directory_fd, name, &bytes, &size);

	if (rc != 0)
		return rc == FAIL_TRUNCATED ? FAIL_FORMAT : rc;
	head = bytes;
	if (!head_is_sound(head, size)) {
		open_file_destroy(file);
		return FAIL_FORMAT;
	}
	window = &head->window;
	window->file = file;
	window->arena = (struct arena){ 0 };
	window->table = NULL;
	window->ledger.range_count = head->range_count;
	window->ledger.range_packets = head->range_count > 0 ? ranges_of(head) : NULL;
	out->boot = head->boot;
	out->window = window;
	out->dark = strdup(source_of(head));
	rc = out->dark == NULL ? -ENOMEM
			       : flow_table_create(&window->table, budgets, &window->arena,
					 window->flow_counts);
	if (rc == 0)
		rc = arena_walk((char *)bytes + head->head_bytes, size - head->head_bytes, attach,
			window->table);
	if (rc != 0) {
		free(out->dark);
		window->file = NULL; /* the file stays for another try */
		flow_table_destroy(window->table);
		return rc;
	}
	balance(window);
	return 0;
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
	into->misdated += from->misdated;
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
