/*
 * "Did you mean …?": the known word nearest to a mistyped one.
 *
 * Offer every known word, then ask for the best. Distance is Damerau's in its restricted form
 * (insertions, deletions, replacements, swapped neighbours); a word that merely stops early
 * counts as one step away.
 *
 * Threads: plain values.
 */
#pragma once

#include <stddef.h>

struct nearest {
	const char *word; /* borrowed */
	const char *best; /* borrowed from the caller of nearest_offer */
	size_t distance;  /* of best */
};

/** Begins a search for neighbours of `word`, which must outlive it. */
void nearest_init(struct nearest *n, const char *word);

/** Considers one known word; it must live as long as the result is used. */
void nearest_offer(struct nearest *n, const char *known);

/** The first nearest of the words offered; NULL when none is near enough to be meant. */
const char *nearest_best(const struct nearest *n);

/** Edit steps between two texts; SIZE_MAX when either is longer than 63 bytes. */
size_t nearest_distance(const char *a, const char *b);
