#include "collector/audit_actors.h"

#include <stdlib.h>

#include "collector/hyperloglog.h"
#include "collector/tally.h"
#include "schemas/base/count_map.h"

struct audit_actors {
	struct count_map days; /* start of a day, made unsigned → its sketch */
};

int audit_actors_create(struct audit_actors **out)
{
	struct audit_actors *actors = calloc(1, sizeof(*actors));
	int rc = actors != NULL ? count_map_init(&actors->days, sizeof(uint8_t *)) : -ENOMEM;

	if (rc != 0) {
		free(actors);
		return rc;
	}
	*out = actors;
	return 0;
}

void audit_actors_destroy(struct audit_actors *actors)
{
	size_t cursor = 0;
	uint64_t day;
	uint8_t **sketch;

	if (actors == NULL)
		return;
	while ((sketch = count_map_next(&actors->days, &cursor, &day)) != NULL)
		free(*sketch);
	count_map_fini(&actors->days);
	free(actors);
}

int audit_actors_add(struct audit_actors *actors, int64_t day_s, const struct flow_record *flow)
{
	uint8_t element[8], **sketch;

	if (flow->overflow)
		return 0; /* its actors are not known */
	sketch = count_map_at(&actors->days, (uint64_t)day_s);
	if (sketch != NULL && *sketch == NULL) {
		*sketch = malloc(HYPERLOGLOG_BYTES);
		if (*sketch != NULL)
			hyperloglog_init(*sketch);
	}
	if (sketch == NULL || *sketch == NULL)
		return -ENOMEM;
	store_u64_le(element, tally_actor_element(flow->actor));
	hyperloglog_add(*sketch, element, sizeof(element));
	return 0;
}

const uint8_t *audit_actors_of(const struct audit_actors *actors, int64_t day_s)
{
	size_t cursor = 0;
	uint64_t day;
	uint8_t **sketch;

	while ((sketch = count_map_next(&actors->days, &cursor, &day)) != NULL)
		if (day == (uint64_t)day_s)
			return *sketch;
	return NULL;
}
