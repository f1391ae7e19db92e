/* An enriched flow as one flat JSON object; its fields are described in schemas/enriched.schema.json. */
#pragma once

#include "collector/geo.h"
#include "schemas/container.h"

/** Appends the object. */
void enriched_json(struct buffer *out, const struct origin *origin, const struct flow_record *flow,
	const struct geo_answer *geo);

/** A flow as it stands in the log, for `--print flows`: the record's fields, actor as text. */
void flow_json(struct buffer *out, const struct origin *origin, const struct flow_record *flow);
