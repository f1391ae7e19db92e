#include "collector/watch.h"

#include <stdlib.h>
#include <string.h>

#include "collector/counters_json.h"
#include "collector/partition_time.h"
#include "schemas/base/log.h"

/* A minute of a timeline; late when it was closed before. */
struct watch_minute {
	int64_t minute_ms;
	int64_t offset; /* of the first message with something of it */
	char timeline[ORIGIN_TEXT_BYTES];
	bool is_late;
	struct minute_series series;
};

struct watch {
	struct watch_options options;
	struct partition_time *time;
	struct watch_minute **minutes; /* by timeline, then minute; the late ones among them */
	size_t count, capacity;
	struct watch_minute *newest; /* that was looked for */
	int64_t through;
	uint64_t closed;
	uint64_t early; /* of these */
	struct buffer record;
};

int watch_create(struct watch **out, const struct watch_options *options, int64_t through)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL || partition_time_create(&watch->time) != 0) {
		free(watch);
		return -ENOMEM;
	}
	watch->options = *options;
	watch->through = through;
	*out = watch;
	return 0;
}

static void minute_destroy(struct watch_minute *minute)
{
	minute_series_fini(&minute->series);
	free(minute);
}

void watch_destroy(struct watch *watch)
{
	if (watch == NULL)
		return;
	for (size_t i = 0; i < watch->count; i++)
		minute_destroy(watch->minutes[i]);
	free(watch->minutes);
	partition_time_destroy(watch->time);
	buffer_fini(&watch->record);
	free(watch);
}

/* ---- minutes ---- */

static int compare(const struct watch_minute *minute, const char *timeline, int64_t minute_ms)
{
	int order = strcmp(minute->timeline, timeline);

	if (order != 0)
		return order;
	return (minute->minute_ms > minute_ms) - (minute->minute_ms < minute_ms);
}

/* The first minute that is not before this one. */
static size_t place_of(const struct watch *watch, const char *timeline, int64_t minute_ms)
{
	size_t low = 0, high = watch->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare(watch->minutes[middle], timeline, minute_ms) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert(
	struct watch *watch, size_t at, const struct watch_minute *like, struct watch_minute **out)
{
	struct watch_minute *minute;

	if (watch->count == watch->capacity) {
		size_t capacity = watch->capacity != 0 ? watch->capacity * 2 : 16;
		struct watch_minute **minutes =
			realloc(watch->minutes, capacity * sizeof(struct watch_minute *));

		if (minutes == NULL)
			return -ENOMEM;
		watch->minutes = minutes;
		watch->capacity = capacity;
	}
	minute = malloc(sizeof(*minute));
	if (minute == NULL)
		return -ENOMEM;
	*minute = *like;
	if (minute_series_init(&minute->series) != 0) {
		free(minute);
		return -ENOMEM;
	}
	memmove(&watch->minutes[at + 1], &watch->minutes[at],
		(watch->count - at) * sizeof(struct watch_minute *));
	watch->minutes[at] = minute;
	watch->count++;
	*out = minute;
	return 0;
}

/* ---- closing ---- */

static int emit(struct watch *watch)
{
	if (watch->record.failed)
		return -ENOMEM;
	return watch->options.emit(watch->options.context, TOPIC_COUNTERS,
		(struct bytes){ watch->record.data, watch->record.size });
}

/* Labels in the order of their numbers, the total last: with it the minute is complete. */
static int emit_minute(struct watch *watch, struct watch_minute *minute)
{
	const struct counters_head head = { minute->minute_ms, minute->timeline,
		watch->options.partition, minute->is_late };
	struct minute_series *series = &minute->series;
	uint64_t *keys = count_map_keys(&series->counters);
	int rc = keys == NULL || series->is_out_of_memory ? -ENOMEM : 0;

	for (size_t i = 0; rc == 0 && i < series->counters.count; i++) {
		if (minute_series_dimension(keys[i]) == DIM_TOTAL)
			continue;
		buffer_clear(&watch->record);
		counters_json(
			&watch->record, &head, keys[i], count_map_at(&series->counters, keys[i]));
		rc = emit(watch);
	}
	free(keys);
	if (rc != 0)
		return rc;
	buffer_clear(&watch->record);
	counters_total_json(&watch->record, &head, series);
	return emit(watch);
}

static int close_at(struct watch *watch, size_t at)
{
	struct watch_minute *minute = watch->minutes[at];
	int rc = emit_minute(watch, minute);

	watch->closed++;
	watch->newest = NULL;
	watch->count--;
	memmove(&watch->minutes[at], &watch->minutes[at + 1],
		(watch->count - at) * sizeof(struct watch_minute *));
	minute_destroy(minute);
	return rc;
}

int watch_settle(struct watch *watch)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < watch->count;) {
		if (watch->minutes[i]->is_late)
			rc = close_at(watch, i);
		else
			i++;
	}
	return rc;
}

/* What the timeline's time has passed; then all that is late. */
static int close_passed(struct watch *watch, const char *timeline)
{
	int64_t closed_ms = partition_time_of(watch->time, timeline);
	size_t at = place_of(watch, timeline, PARTITION_TIME_NONE);
	uint64_t before = watch->closed;
	int rc = 0;

	while (rc == 0 && at < watch->count &&
		strcmp(watch->minutes[at]->timeline, timeline) == 0 &&
		watch->minutes[at]->minute_ms <= closed_ms) {
		if (watch->minutes[at]->is_late)
			at++;
		else
			rc = close_at(watch, at);
	}
	return rc == 0 && watch->closed > before ? watch_settle(watch) : rc;
}

static size_t count_of(const struct watch *watch, bool is_late)
{
	size_t count = 0;

	for (size_t i = 0; i < watch->count; i++)
		count += watch->minutes[i]->is_late == is_late;
	return count;
}

/* Room for one more minute; so much at once is an archive out of order, or a sensor gone mad. */
static int make_room(struct watch *watch, bool is_late)
{
	size_t at = 0;

	if (is_late)
		return count_of(watch, true) < WATCH_LATE_MAX ? 0 : watch_settle(watch);
	if (count_of(watch, false) < WATCH_OPEN_MAX)
		return 0;
	while (watch->minutes[at]->is_late)
		at++;
	if (watch->early++ == 0)
		log_warning("more than %d open minutes, the oldest are closed early timeline=%s",
			WATCH_OPEN_MAX, watch->minutes[at]->timeline);
	partition_time_pass(
		watch->time, watch->minutes[at]->timeline, watch->minutes[at]->minute_ms);
	return close_at(watch, at);
}

/* ---- taking records ---- */

/* The minute that a record belongs to; NULL when its records were written before a restart. */
static int minute_of(struct watch *watch, const struct origin *origin, int64_t minute_ms,
	int64_t offset, struct watch_minute **out)
{
	struct watch_minute like = { .minute_ms = minute_ms, .offset = offset };
	size_t at;
	int rc;

	*out = watch->newest;
	if (*out != NULL && compare(*out, origin->timeline, minute_ms) == 0)
		return 0;
	at = place_of(watch, origin->timeline, minute_ms);
	*out = at < watch->count ? watch->minutes[at] : NULL;
	if (*out != NULL && compare(*out, origin->timeline, minute_ms) == 0) {
		watch->newest = *out;
		return 0;
	}
	*out = NULL;
	like.is_late = minute_ms <= partition_time_of(watch->time, origin->timeline);
	if (like.is_late && offset < watch->through)
		return 0;
	snprintf(like.timeline, sizeof(like.timeline), "%s", origin->timeline);
	rc = make_room(watch, like.is_late);
	if (rc == 0)
		rc = insert(watch, place_of(watch, like.timeline, minute_ms), &like, out);
	watch->newest = *out;
	return rc;
}

int watch_flow(struct watch *watch, const struct origin *origin, const struct flow_record *flow,
	int64_t offset)
{
	struct address actor = flow_actor(flow);
	struct watch_minute *minute;
	int rc = minute_of(watch, origin, flow->window_ms, offset, &minute);

	if (rc != 0 || minute == NULL)
		return rc;
	minute_series_flow(&minute->series, flow, geo_find(watch->options.geo, &actor));
	return minute->series.is_out_of_memory ? -ENOMEM : 0;
}

static int note_marker(struct watch *watch, const struct origin *origin,
	const struct marker_record *marker, int64_t offset)
{
	struct watch_minute *minute;
	int rc;

	/* a late part's books alone make no record */
	if (marker->minute_ms <= partition_time_of(watch->time, origin->timeline) &&
		marker->packets == 0)
		return 0;
	rc = minute_of(watch, origin, marker->minute_ms, offset, &minute);
	if (rc == 0 && minute != NULL)
		minute_series_marker(&minute->series, origin, marker);
	return rc;
}

int watch_marker(struct watch *watch, const struct origin *origin,
	const struct marker_record *marker, int64_t append_ms, int64_t offset)
{
	int rc = note_marker(watch, origin, marker, offset);

	if (rc != 0)
		return rc;
	rc = partition_time_marker(watch->time, origin->timeline, origin->sensor,
		marker->closed_through_ms, append_ms);
	if (rc == FAIL_LIMIT)
		log_warning("more sensors or timelines than are kept, this one moves no time "
			    "sensor=%s timeline=%s",
			origin->sensor, origin->timeline);
	else if (rc != 0)
		return rc;
	return close_passed(watch, origin->timeline);
}

int watch_end(struct watch *watch)
{
	int rc = 0;

	while (rc == 0 && watch->count > 0)
		rc = close_at(watch, 0);
	return rc;
}

uint64_t watch_closed(const struct watch *watch)
{
	return watch->closed;
}

int64_t watch_low(const struct watch *watch, int64_t next)
{
	int64_t low = next;

	for (size_t i = 0; i < watch->count; i++)
		if (watch->minutes[i]->offset < low)
			low = watch->minutes[i]->offset;
	return low;
}

void watch_save(const struct watch *watch, struct buffer *out)
{
	partition_time_save(watch->time, out);
}

int watch_load(struct watch *watch, struct bytes text)
{
	return partition_time_load(watch->time, text);
}
