/*
 * The actors of each day, as sketches made from the flows topic anew: what the view count has worked
 * through must have set the very same registers in Redis, whatever came first.
 *
 * Threads: one at a time. Memory: 12 KiB a day.
 */
#pragma once

#include "schemas/flow.h"

struct audit_actors;

int audit_actors_create(struct audit_actors **out) MUST_CHECK;
void audit_actors_destroy(struct audit_actors *actors);

/** Adds the actor of a flow to a day, by its start. @return 0 or -ENOMEM */
int audit_actors_add(
	struct audit_actors *actors, int64_t day_s, const struct flow_record *flow) MUST_CHECK;

/** A day's sketch (HYPERLOGLOG_BYTES), NULL when it had no actor. */
const uint8_t *audit_actors_of(const struct audit_actors *actors, int64_t day_s);
