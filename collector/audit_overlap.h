/*
 * Why two capture intervals of one sensor share time: its clock was set back, or two of its name
 * captured at once. In the first case the time passed twice and each packet is counted once; in the
 * second one packets are counted twice.
 *
 * What tells them apart: a boot's number is the sensor's clock in ms when it began, or one more than
 * the boot's before where that clock was not later; and the time at which the broker, whose clock is
 * another one, took the ledgers in.
 *
 * Threads: pure functions.
 */
#pragma once

#include "collector/audit_time.h"

/** A capture interval and the ledger that states it. */
struct audit_capture {
	struct audit_span span;
	int64_t boot;
	int64_t entry;
	int64_t append_ms; /* the broker's time */
};

enum audit_overlap {
	OVERLAP_CLOCK,	/* the clock was set back */
	OVERLAP_TWO,	/* two sensors captured at once */
	OVERLAP_UNSURE, /* either */
	OVERLAP_SAME,	/* of one boot: neither */
};

/**
 * Tells which.
 *
 * @param all  the series' captures, among them `a` and `b`, whose spans share time
 */
enum audit_overlap audit_overlap_of(const struct audit_capture *all, size_t count,
	const struct audit_capture *a, const struct audit_capture *b);

/** A phrase for a finding, below FINDING_TEXT_BYTES. */
const char *audit_overlap_text(enum audit_overlap overlap);

/** By span, then entry. */
void audit_overlap_sort(struct audit_capture *captures, size_t count);
