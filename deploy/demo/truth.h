/*
 * The ground truth: counts packets by what they were meant to be, never by what their bytes say.
 * Fields and shapes are those of `hoshimi-sensor --summary`.
 *
 * Threads: none.
 */
#pragma once

#include <stdio.h>

#include "deploy/demo/plan.h"

struct truth;

/** @return NULL when memory is out */
struct truth *truth_create(size_t sources, uint64_t start_s, uint32_t minutes);
void truth_destroy(struct truth *truth);

/** @param wire_bytes  length of the whole frame; @return 0, -1 when memory is out */
int truth_count(struct truth *truth, const struct plan *plan, uint32_t wire_bytes);

/** Writes one JSON object; errors stay with the stream. */
void truth_print(const struct truth *truth, FILE *out);
