/*
 * Gaps of a view: offsets of the flows topic that it never read, because the topic no longer held
 * them when the view came there. The view count keeps its own in Redis (list `gaps`), the view
 * enrich in state.v1.
 *
 * Threads: pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GAP_TEXT_BYTES	   128
#define GAP_SENTENCE_BYTES 320

/** Offsets [from, to) of a partition. */
struct gap {
	uint32_t partition;
	int64_t from, to;
};

/** Zero-initialise. */
struct gap_list {
	struct gap *items;
	size_t count;
	bool is_out_of_memory;
};

void gap_list_add(struct gap_list *list, const struct gap *gap);
void gap_list_fini(struct gap_list *list);

/** As Redis keeps it. */
void gap_text(const struct gap *gap, char out[GAP_TEXT_BYTES]);

/** Reads it again. @return false when it is none of ours */
bool gap_parse(struct gap *out, const char *text);

/** For a person. @param what  "counted", "enriched" */
void gap_sentence(const struct gap *gap, const char *what, char out[GAP_SENTENCE_BYTES]);
