/*
 * The summary: exact figures of a capture, for the laboratory and for checking the whole chain.
 *
 * It keeps exact sets of addresses, so its memory grows with what it reads: the one exception to
 * the bounds everything else has.
 *
 * Threads: one at a time; workers have one each, merged at the end.
 */
#pragma once

#include "schemas/base/bytes.h"
#include "sensor/flow_table.h"
#include "sensor/packet.h"
#include "sensor/window.h"

struct summary;

int summary_create(struct summary **out) MUST_CHECK;
void summary_destroy(struct summary *summary);

/** Counts one packet. @param frame_number  its place in the stream, for "seen first" */
int summary_count(struct summary *summary, const struct packet *pkt,
	const struct flow_labels *labels, uint64_t frame_number) MUST_CHECK;

/** Notes that a counted packet had to go to an overflow flow. */
void summary_count_overflow(struct summary *summary);

int summary_merge(struct summary *into, const struct summary *from) MUST_CHECK;

/** Appends the JSON object, with the totals of the ledger. */
int summary_json(
	const struct summary *summary, const struct ledger *totals, struct buffer *out) MUST_CHECK;
