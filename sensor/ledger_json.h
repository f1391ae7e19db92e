/* A part's ledger as one flat JSON object: the records of the sensors topic. */
#pragma once

#include "schemas/container.h"

/** Appends the object. Its fields are described in schemas/sensors.schema.json. */
void ledger_json(
	struct buffer *out, const struct origin *origin, const struct marker_record *ledger);
