/*
 * A window: everything one worker has counted for one minute. And the few that are open at once.
 *
 * Threads: a window belongs to its worker until it is taken out; then to whoever took it.
 */
#pragma once

#include "schemas/flow.h"
#include "sensor/darknet.h"
#include "sensor/flow_table.h"
#include "sensor/packet.h"

#define WINDOW_NS   60000000000ULL
#define WINDOWS_MAX 16 /* open at once; one more closes the oldest */
#define SENDERS_MAX LEDGER_SENDERS_MAX

/** An address inside a dark range that sends. */
struct dark_sender {
	struct address address;
	uint64_t packets;
};

/** The books of one minute (rule 1), as far as one worker keeps them. */
struct ledger {
	uint64_t frames;
	uint64_t non_ip;
	uint64_t malformed[PACKET_STATUS_COUNT]; /* by reason */
	uint64_t not_dark;
	uint64_t counted;
	uint64_t wire_bytes;
	uint64_t first_ns; /* UINT64_MAX: nothing counted */
	uint64_t last_ns;
	uint64_t kernel_drops;
	uint64_t interface_drops;
	uint64_t
		misdated; /* frames that count at the time they were read, their own being absurd */
	uint64_t *range_packets; /* one per dark range; NULL without any */
	size_t range_count;
	struct dark_sender senders[SENDERS_MAX];
	size_t sender_count;
	uint64_t sender_packets;
};

/** How a minute was closed: written before anything of it leaves, so that a repeated close is equal. */
struct window_close {
	bool is_closing; /* the rest holds */
	bool is_final;
	uint64_t id;
	uint64_t from_ns;
	uint64_t to_ns;
	uint64_t closed_through;
	uint32_t first_part; /* of the minute */
};

struct window {
	uint64_t minute; /* number of the minute since the epoch */
	struct ledger ledger;
	struct arena arena; /* the table's memory */
	struct flow_table *table;
	uint32_t flow_counts[FLOW_FAMILIES]; /* the table's */
	struct window_close close;
	struct open_file *file; /* that all of this lies in; NULL: in memory */
};

/**
 * An empty window; `budgets` must outlive it. With a store it lies in a file there, or in memory
 * when there is no room. @param darknet  NULL without dark ranges
 */
int window_create(struct window **out, uint64_t minute, struct flow_budgets *budgets,
	const struct darknet *darknet, struct open_store *store) MUST_CHECK;

/** A window that a killed process left in a file. */
struct window_left {
	struct window *window; /* the caller's to close or destroy */
	int64_t boot;
	char *dark; /* source of its dark ranges, "" none; freed by the caller */
};

/**
 * Reads a left window back, with books that balance: the few packets that were under way count
 * nowhere (of several ranges, only in their ranges' sums).
 *
 * @return 0; FAIL_FORMAT when it is none of this release, or damaged; -errno; -ENOMEM
 */
int window_read(struct window_left *out, int directory_fd, const char *name,
	struct flow_budgets *budgets) MUST_CHECK;

void window_destroy(struct window *window);

void ledger_add(struct ledger *into, const struct ledger *from);
void ledger_add_sender(struct ledger *ledger, const struct address *address, uint64_t packets);
uint64_t ledger_malformed(const struct ledger *ledger);

/** A worker's open windows, ascending by minute. */
struct window_set {
	struct window *windows[WINDOWS_MAX];
	size_t count;
};

/** The open window of a minute, or NULL. */
struct window *window_set_find(const struct window_set *set, uint64_t minute);

/** Adds a window; the set must have room. */
void window_set_insert(struct window_set *set, struct window *window);

/** Takes the oldest window out if its minute is at most `minute`; NULL when there is none. */
struct window *window_set_take(struct window_set *set, uint64_t minute);
