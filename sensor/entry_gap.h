/*
 * Time that nobody captured: each entry says where its capture interval begins and ends, and the
 * entries of a sensor come in order, so whatever lies between two intervals is named by the later one.
 *
 * Why there can be one: no process ran; or what a process had closed was in its memory only when it
 * was killed.
 *
 * Threads: plain values.
 */
#pragma once

#include "sensor/entry.h"

/** How far a sensor has captured, up to the last entry in the log. */
struct capture_extent {
	int64_t boot;	    /* the greatest one of any entry */
	int64_t covered_ns; /* end of its last capture interval; 0 nothing yet */
};

/**
 * Names the gaps before the entries, chained by `next`, in their ledgers.
 *
 * A clock that was set back begins a boot whose intervals lie before `covered_ns`: from there on
 * the new time counts.
 *
 * @param extent  before the first entry; then behind the last one
 */
void entry_name_gaps(struct entry *first, struct capture_extent *extent);
