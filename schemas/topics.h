/*
 * The topics: names, partitions, retention. Names and formats are contract, see schemas/README.md.
 *
 * Threads: pure functions over const data.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOPIC_NAME_BYTES       128
#define TRANSACTIONAL_ID_BYTES 256

/* clang-format off */
/*    identifier  name            partitions (0: --partitions)  days kept  cleanup */
#define TOPIC_ROWS                                                             \
	TOPIC(FLOWS,      "flows.v1",      0,  8,   "delete")                  \
	TOPIC(ENRICHED,   "enriched.v1",   0,  3,   "delete")                  \
	TOPIC(EVENTS,     "events.v1",     0,  90,  "delete")                  \
	TOPIC(COUNTERS,   "counters.v1",   0,  400, "delete")                  \
	TOPIC(SENSORS,    "sensors.v1",    1,  400, "delete")                  \
	TOPIC(ALERTS,     "alerts.v1",     1,  400, "compact,delete")          \
	TOPIC(CURSORS,    "cursors.v1",    16, 0,   "compact")                 \
	TOPIC(STATE,      "state.v1",      0,  0,   "compact")                 \
	TOPIC(DEADLETTER, "deadletter.v1", 1,  30,  "delete")
/* clang-format on */

#define TOPIC(ident, name, partitions, days, cleanup) TOPIC_##ident,
enum topic { TOPIC_ROWS TOPIC_COUNT };
#undef TOPIC

struct topic_row {
	const char *name;
	uint32_t partitions; /* 0: as many as the flows topic */
	uint32_t days;	     /* retention; 0: for ever */
	const char *cleanup; /* Kafka's cleanup.policy */
};

const struct topic_row *topic_row(enum topic topic);

/** PREFIX.NAME, for example "hoshimi.flows.v1". Returns `out`. */
const char *topic_name(char out[TOPIC_NAME_BYTES], const char *prefix, enum topic topic);

/** The partition of a key in a topic of so many, by a fixed hash. */
uint32_t topic_key_partition(const char *key, uint32_t partitions);
