/*
 * What is played: each kind of packet that a telescope sees is one scene, with its share, its hours
 * and its sources.
 *
 * Threads: none.
 */
#pragma once

#include "deploy/demo/dice.h"
#include "deploy/demo/plan.h"
#include "deploy/demo/population.h"

struct stage;

/**
 * @param population  borrowed until stage_destroy
 * @param start_s     the first minute, seconds since the epoch
 * @return            NULL when memory is out
 */
struct stage *stage_create(const struct population *population, uint64_t start_s, uint32_t minutes);
void stage_destroy(struct stage *stage);

/** How busy a minute is, in the same unit for all minutes of a stage. */
uint64_t stage_weight(const struct stage *stage, uint32_t minute);

/** Goes to a minute; packets are planned for the minute last set. */
void stage_set_minute(struct stage *stage, uint32_t minute);

/** Plans one packet of the minute. @param plan zeroed here, its time is the caller's to set */
void stage_plan(const struct stage *stage, struct dice *dice, struct plan *plan);
