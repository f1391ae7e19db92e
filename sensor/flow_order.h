/*
 * The flows of one minute in key order, whichever windows and tables they lie in.
 *
 * Threads: one at a time.
 */
#pragma once

#include "sensor/window.h"

#define SOURCES_MAX 128 /* short and long keys of up to 64 workers */

/** The flows of one family in one window. */
struct flow_source {
	const struct flow_table *table;
	struct flow_list flows;
	enum flow_family family;
};

/** Flows of several windows in key order. Zero-initialise; it is used again for other windows. */
struct flow_order {
	uint64_t *list, *scratch; /* see flow_order.c */
	size_t capacity;
	size_t count;
	struct flow_source sources[SOURCES_MAX];
	unsigned source_count;
	unsigned number_bits; /* of the flow's number */
};

/** A flow and where it lies. */
struct flow_ref {
	const struct flow_entry *entry;
	const struct flow_source *source;
};

/** Lists and sorts the flows of one IP version. The windows must stay. @return 0 or -ENOMEM */
int flow_order_make(struct flow_order *order, struct window **windows, size_t window_count,
	unsigned ip_version) MUST_CHECK;

/** The flow at a place in the order, below `count`. */
struct flow_ref flow_order_at(const struct flow_order *order, size_t place);

void flow_order_fini(struct flow_order *order);
