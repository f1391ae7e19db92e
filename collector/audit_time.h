/*
 * Capture intervals in time: their union, what lies between them, what they share.
 *
 * Threads: pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** [from_ns, to_ns); empty ones may be among others. */
struct audit_span {
	int64_t from_ns;
	int64_t to_ns;
};

/** By start, then end. */
void audit_time_sort(struct audit_span *spans, size_t count);

/** Length of the union of sorted spans. */
int64_t audit_time_union(const struct audit_span *spans, size_t count);

enum audit_joint { JOINT_END, JOINT_GAP, JOINT_OVERLAP };

/** Where a walk along sorted spans stands; all zero: at the start. */
struct audit_walk {
	size_t next;
	bool has_reach;
	int64_t reach_ns; /* the furthest end so far */
	size_t reach_at;  /* the span that reaches there … */
	size_t before; /* … and the one that did so before the span that ends the last joint, next - 1 */
};

/** The next gap or overlap. `out` is what is missing, or what two spans share. */
enum audit_joint audit_time_next(const struct audit_span *spans, size_t count,
	struct audit_walk *walk, struct audit_span *out);

/** True when `cover` reaches over all of `span`. */
bool audit_time_covers(const struct audit_span *cover, const struct audit_span *span);
