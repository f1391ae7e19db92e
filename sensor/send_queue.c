#include "sensor/send_queue.h"

#include <stdlib.h>

#include "schemas/base/log.h"

/* An entry that waits: in memory, or where it is in the spool. */
struct waiting {
	struct entry *entry;	/* NULL: in the spool */
	struct spool_item item; /* sequence 0: not in the spool */
	bool is_found;		/* it was there when the process began */
	struct waiting *next;
};

struct send_queue {
	struct send_queue_options options;
	struct spool *spool; /* NULL without one */
	uint64_t spool_last; /* when the process began */
	struct waiting *first, *last;
	size_t count;
	size_t memory_bytes;
	size_t memory_count;
	struct waiting *taken; /* of the spool, or placeholders of those in memory */
	bool spool_fails;
};

/* What goes because there is no room. */
struct loss {
	uint64_t entries, flows, packets;
};

static struct waiting *waiting_of_item(const struct spool_item *item, bool is_found)
{
	struct waiting *waiting = calloc(1, sizeof(*waiting));

	if (waiting != NULL) {
		waiting->item = *item;
		waiting->is_found = is_found;
	}
	return waiting;
}

static void push(struct send_queue *queue, struct waiting *waiting)
{
	waiting->next = NULL;
	if (queue->last != NULL)
		queue->last->next = waiting;
	else
		queue->first = waiting;
	queue->last = waiting;
	queue->count++;
	if (waiting->entry != NULL) {
		queue->memory_bytes += waiting->entry->bytes;
		queue->memory_count++;
	}
}

static struct waiting *pop(struct send_queue *queue)
{
	struct waiting *waiting = queue->first;

	queue->first = waiting->next;
	if (queue->first == NULL)
		queue->last = NULL;
	queue->count--;
	if (waiting->entry != NULL) {
		queue->memory_bytes -= waiting->entry->bytes;
		queue->memory_count--;
	}
	waiting->next = NULL;
	return waiting;
}

static void destroy(struct waiting *waiting)
{
	entry_destroy(waiting->entry);
	free(waiting);
}

int send_queue_create(struct send_queue **out, const struct send_queue_options *options)
{
	struct send_queue *queue = calloc(1, sizeof(*queue));

	if (queue == NULL)
		return -ENOMEM;
	queue->options = *options;
	*out = queue;
	return 0;
}

static void append_all(struct send_queue *queue, struct waiting *waiting)
{
	while (waiting != NULL) {
		struct waiting *next = waiting->next;

		push(queue, waiting);
		waiting = next;
	}
}

int send_queue_adopt(struct send_queue *queue, struct spool *spool)
{
	struct waiting *younger = queue->first;
	const struct spool_item *found;
	size_t count;
	int rc = 0;

	found = spool_found(spool, &count);
	queue->first = queue->last = NULL;
	queue->count = queue->memory_bytes = queue->memory_count = 0;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct waiting *waiting = waiting_of_item(&found[i], true);

		if (waiting != NULL)
			push(queue, waiting);
		else
			rc = -ENOMEM;
	}
	while (rc != 0 && queue->first != NULL)
		destroy(pop(queue));
	append_all(queue, younger);
	if (rc == 0) {
		queue->spool = spool;
		queue->spool_last = spool_last(spool);
	}
	return rc;
}

void send_queue_destroy(struct send_queue *queue)
{
	if (queue == NULL)
		return;
	while (queue->first != NULL)
		destroy(pop(queue));
	send_queue_give_back(queue);
	spool_close(queue->spool);
	free(queue);
}

bool send_queue_is_empty(const struct send_queue *queue)
{
	return queue->first == NULL;
}

bool send_queue_is_durable(const struct send_queue *queue)
{
	for (const struct waiting *waiting = queue->taken; waiting != NULL; waiting = waiting->next)
		if (waiting->item.sequence == 0)
			return false;
	return queue->memory_count == 0;
}

size_t send_queue_count(const struct send_queue *queue)
{
	return queue->count;
}

bool send_queue_has_room(const struct send_queue *queue, const struct entry *entry)
{
	return queue->memory_count == 0 ||
	       queue->memory_bytes + entry->bytes <= queue->options.memory_bytes_max;
}

/* ---- no room ---- */

static void add_loss(struct loss *loss, const struct waiting *waiting)
{
	if (waiting->entry != NULL) {
		const struct marker_record *ledger = &waiting->entry->ledger;

		loss->entries += 1 + (uint64_t)ledger->lost_entries;
		loss->flows += waiting->entry->flows + (uint64_t)ledger->lost_flows;
		loss->packets += waiting->entry->packets + (uint64_t)ledger->lost_packets;
	} else {
		loss->entries += 1 + waiting->item.lost_entries;
		loss->flows += waiting->item.flows + waiting->item.lost_flows;
		loss->packets += waiting->item.packets + waiting->item.lost_packets;
	}
}

static void name_loss(struct entry *entry, const struct loss *loss)
{
	entry->ledger.lost_entries += (int64_t)loss->entries;
	entry->ledger.lost_flows += (int64_t)loss->flows;
	entry->ledger.lost_packets += (int64_t)loss->packets;
}

static void say_loss(const char *what, const struct loss *loss)
{
	log_warning("%s entries=%llu flows=%llu packets=%llu", what,
		(unsigned long long)loss->entries, (unsigned long long)loss->flows,
		(unsigned long long)loss->packets);
}

static int64_t minute_of(const struct waiting *waiting)
{
	return waiting->entry != NULL ? waiting->entry->ledger.minute_ms : waiting->item.minute_ms;
}

/* The oldest minute that is in memory goes; `newest` names it. */
static void drop_from_memory(struct send_queue *queue, struct entry *newest)
{
	struct loss loss = { 0, 0, 0 };
	int64_t minute_ms = INT64_MIN;

	for (size_t left = queue->count; left > 0; left--) { /* once around: the order stays */
		struct waiting *waiting = pop(queue);

		if (waiting->entry != NULL && minute_ms == INT64_MIN)
			minute_ms = minute_of(waiting);
		if (waiting->entry != NULL && minute_of(waiting) == minute_ms) {
			add_loss(&loss, waiting);
			destroy(waiting);
		} else {
			push(queue, waiting);
		}
	}
	name_loss(newest, &loss);
	say_loss("queue full, dropping the oldest minute", &loss);
}

static int put_in_memory(struct send_queue *queue, struct entry *entry)
{
	struct waiting *waiting = calloc(1, sizeof(*waiting));

	if (waiting == NULL) {
		entry_destroy(entry);
		return -ENOMEM;
	}
	while (queue->options.drops && !send_queue_has_room(queue, entry))
		drop_from_memory(queue, entry);
	waiting->entry = entry;
	push(queue, waiting);
	return 0;
}

/* ---- the spool ---- */

/* Appends with a gap named, or without; the entry is as before when that fails. */
static int append(struct send_queue *queue, struct entry *entry, const struct spool_gap *gap,
	const struct loss *loss)
{
	struct spool_note note = {
		.close_id = entry->close_id, .close_part = entry->close_part, .gap = *gap
	};
	struct marker_record before = entry->ledger;
	struct spool_item item;
	struct waiting *waiting;
	int rc;

	name_loss(entry, loss);
	rc = spool_append(queue->spool, entry, &note, &item);
	if (rc != 0) {
		entry->ledger = before;
		return rc;
	}
	waiting = waiting_of_item(&item, false);
	if (waiting == NULL)
		return -ENOMEM; /* it is on disk: the next process sends it */
	push(queue, waiting);
	return 0;
}

/* The oldest records of the spool go, which the entry names. */
static int append_in_place_of_others(struct send_queue *queue, struct entry *entry)
{
	struct spool *spool = queue->spool;
	struct loss loss = { 0, 0, 0 };
	struct spool_gap gap = { 0 };
	struct waiting *waiting = queue->first;
	uint64_t through;
	int rc;

	while (waiting != NULL && waiting->item.sequence == 0)
		waiting = waiting->next;
	if (waiting == NULL)
		return FAIL_LIMIT;
	gap.from = waiting->item.sequence;
	through = gap.through = spool_give_up_through(spool, entry, gap.from);
	if (through == 0)
		return FAIL_LIMIT;
	for (; waiting != NULL && waiting->item.sequence <= through; waiting = waiting->next)
		if (waiting->item.sequence != 0)
			add_loss(&loss, waiting);
	rc = append(queue, entry, &gap, &loss);
	if (rc != 0)
		return rc;
	say_loss("spool full, giving up the oldest", &loss);
	for (size_t left = queue->count; left > 0; left--) {
		waiting = pop(queue);
		if (waiting->item.sequence != 0 && waiting->item.sequence <= through) {
			spool_done(spool, &waiting->item);
			destroy(waiting);
		} else {
			push(queue, waiting);
		}
	}
	return 0;
}

static int put_in_spool(struct send_queue *queue, struct entry *entry)
{
	struct spool_gap gap = spool_unnamed_gap(queue->spool);
	struct loss loss = { gap.entries, gap.flows, gap.packets };
	int rc = append(queue, entry, &gap, &loss);

	if (rc == 0 && gap.from != 0)
		say_loss("spool records were lost", &loss);
	if (rc == FAIL_LIMIT)
		rc = append_in_place_of_others(queue, entry);
	return rc;
}

int send_queue_put(struct send_queue *queue, struct entry *entry)
{
	int rc;

	if (queue->spool == NULL)
		return put_in_memory(queue, entry);
	if (spool_has_part(queue->spool, entry->close_id, entry->close_part)) {
		entry_destroy(entry); /* a repeated close: the first attempt came as far as this */
		return 0;
	}
	rc = put_in_spool(queue, entry);
	if (rc == 0) {
		if (queue->spool_fails)
			log_info("spool works again");
		queue->spool_fails = false;
		entry_destroy(entry);
		return 0;
	}
	if (!queue->spool_fails)
		log_error(
			"spool takes nothing, minutes wait in memory error=\"%s\"", error_text(rc));
	queue->spool_fails = true;
	return put_in_memory(queue, entry);
}

/* ---- sending ---- */

/* The entry itself; NULL when the disk does not give it back, which is a loss to be named. */
static struct entry *load(struct send_queue *queue, struct waiting *waiting)
{
	struct entry *entry = waiting->entry;
	struct message msg = { "" };
	int rc;

	waiting->entry = NULL;
	if (waiting->item.sequence == 0)
		return entry;
	rc = spool_load(queue->spool, &waiting->item, &entry, &msg);
	if (rc == 0)
		return entry;
	log_error("spool record cannot be read, it is lost error=\"%s\" flows=%llu packets=%llu",
		msg.text, (unsigned long long)waiting->item.flows,
		(unsigned long long)waiting->item.packets);
	if (spool_lose(queue->spool, &waiting->item) != 0)
		log_error("out of memory, the loss will not be named in a ledger");
	return NULL;
}

static size_t bytes_of(const struct waiting *waiting)
{
	return waiting->entry != NULL ? waiting->entry->bytes : waiting->item.payload_bytes;
}

static void keep_taken(struct send_queue *queue, struct waiting *waiting)
{
	waiting->next = queue->taken;
	queue->taken = waiting;
}

int send_queue_take(
	struct send_queue *queue, unsigned entries_max, size_t bytes_max, struct entry **out)
{
	struct entry *first = NULL, *last = NULL;
	size_t bytes = 0;

	for (unsigned count = 0; count < entries_max && queue->first != NULL; count++) {
		struct waiting *waiting;
		struct entry *entry;

		if (first != NULL && bytes + bytes_of(queue->first) > bytes_max)
			break;
		bytes += bytes_of(queue->first);
		waiting = pop(queue);
		entry = load(queue, waiting);
		keep_taken(queue, waiting);
		if (entry == NULL)
			continue;
		entry->next = NULL;
		if (last != NULL)
			last->next = entry;
		else
			first = entry;
		last = entry;
	}
	*out = first;
	return 0;
}

void send_queue_settle(struct send_queue *queue)
{
	uint64_t committed = 0;

	for (const struct waiting *waiting = queue->taken; waiting != NULL; waiting = waiting->next)
		if (waiting->item.sequence > committed)
			committed = waiting->item.sequence;
	if (committed != 0) /* before its segment goes */
		spool_note_committed(queue->spool, committed);
	while (queue->taken != NULL) {
		struct waiting *waiting = queue->taken;

		queue->taken = waiting->next;
		if (waiting->item.sequence != 0)
			spool_done(queue->spool, &waiting->item);
		destroy(waiting);
	}
}

void send_queue_give_back(struct send_queue *queue)
{
	while (queue->taken != NULL) {
		struct waiting *waiting = queue->taken;

		queue->taken = waiting->next;
		destroy(waiting);
	}
}

/* ---- what the cursor says ---- */

/* The spool was set back (a restored disk): numbers that its cursor knows may not be used again, and
 * what this process has appended under such numbers gets new ones. */
static int renumber(struct send_queue *queue, uint64_t sequence)
{
	struct spool *spool = queue->spool;

	log_warning("the spool is older than the log's cursor; going on behind it sequence=%llu",
		(unsigned long long)sequence);
	spool_skip_to(spool, sequence);
	for (size_t left = queue->count; left > 0; left--) {
		struct waiting *old = pop(queue);
		struct entry *entry;
		int rc;

		if (old->item.sequence == 0) {
			push(queue, old);
			continue;
		}
		entry = load(queue, old);
		spool_done(spool, &old->item);
		destroy(old);
		rc = entry != NULL ? send_queue_put(queue, entry) : 0;
		if (rc != 0)
			return rc;
	}
	return 0;
}

int send_queue_reconcile(struct send_queue *queue, const char *spool_id_known, uint64_t sequence)
{
	struct spool *spool = queue->spool;

	if (spool == NULL || strcmp(spool_id(spool), spool_id_known) != 0)
		return 0;
	for (size_t left = queue->count; left > 0; left--) {
		struct waiting *waiting = pop(queue);

		if (waiting->is_found && waiting->item.sequence <= sequence) {
			spool_done(spool, &waiting->item);
			destroy(waiting);
		} else {
			push(queue, waiting);
		}
	}
	return sequence > queue->spool_last ? renumber(queue, sequence) : 0;
}
