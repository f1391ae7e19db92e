#include "collector/partition_time.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/json.h"
#include "schemas/container.h"

#define TIME_MAX_MS	   (INT64_MAX / 2) /* of what others say: sums and differences stay in range */
#define MINUTES_REMEMBERED 128		   /* more than fit into the wait, at a marker a second */

/* When the log first had a marker for this minute, or a newer one. */
struct minute_seen {
	int64_t minute_ms;
	int64_t append_ms;
};

struct sensor_time {
	char *name;
	int64_t closed_ms;
};

struct timeline_time {
	char *name;
	bool is_live;
	int64_t closed_ms; /* the timeline's */
	int64_t append_ms; /* of the newest marker */
	struct sensor_time *sensors;
	size_t sensor_count;
	struct minute_seen seen[MINUTES_REMEMBERED]; /* ascending in both */
	size_t seen_count;
	bool has_forgotten; /* minutes before the first one remembered */
};

struct partition_time {
	struct timeline_time *timelines;
	size_t count;
};

static int64_t bounded(int64_t time_ms)
{
	return time_ms < 0 ? 0 : time_ms > TIME_MAX_MS ? TIME_MAX_MS : time_ms;
}

int partition_time_create(struct partition_time **out)
{
	*out = calloc(1, sizeof(**out));
	return *out != NULL ? 0 : -ENOMEM;
}

static void timeline_fini(struct timeline_time *timeline)
{
	for (size_t i = 0; i < timeline->sensor_count; i++)
		free(timeline->sensors[i].name);
	free(timeline->sensors);
	free(timeline->name);
}

void partition_time_destroy(struct partition_time *time)
{
	if (time == NULL)
		return;
	for (size_t i = 0; i < time->count; i++)
		timeline_fini(&time->timelines[i]);
	free(time->timelines);
	free(time);
}

static struct timeline_time *find(const struct partition_time *time, const char *name)
{
	for (size_t i = 0; i < time->count; i++)
		if (strcmp(time->timelines[i].name, name) == 0)
			return &time->timelines[i];
	return NULL;
}

static int timeline_of(struct partition_time *time, const char *name, struct timeline_time **out)
{
	struct timeline_time *timelines, *timeline = find(time, name);

	*out = timeline;
	if (timeline != NULL)
		return 0;
	if (time->count == PARTITION_TIMELINES_MAX)
		return FAIL_LIMIT;
	timelines = realloc(time->timelines, (time->count + 1) * sizeof(*timelines));
	if (timelines == NULL)
		return -ENOMEM;
	time->timelines = timelines;
	timeline = &timelines[time->count];
	*timeline = (struct timeline_time){ .name = strdup(name),
		.is_live = strcmp(name, TIMELINE_LIVE) == 0,
		.closed_ms = PARTITION_TIME_NONE };
	if (timeline->name == NULL)
		return -ENOMEM;
	time->count++;
	*out = timeline;
	return 0;
}

static int sensor_of(struct timeline_time *timeline, const char *name, struct sensor_time **out)
{
	struct sensor_time *sensors;

	for (size_t i = 0; i < timeline->sensor_count; i++) {
		*out = &timeline->sensors[i];
		if (strcmp((*out)->name, name) == 0)
			return 0;
	}
	if (timeline->sensor_count == PARTITION_SENSORS_MAX)
		return FAIL_LIMIT;
	sensors = realloc(timeline->sensors, (timeline->sensor_count + 1) * sizeof(*sensors));
	if (sensors == NULL)
		return -ENOMEM;
	timeline->sensors = sensors;
	*out = &sensors[timeline->sensor_count];
	**out = (struct sensor_time){ strdup(name), PARTITION_TIME_NONE };
	if ((*out)->name == NULL)
		return -ENOMEM;
	timeline->sensor_count++;
	return 0;
}

static void remember(struct timeline_time *timeline, int64_t minute_ms)
{
	size_t count = timeline->seen_count;

	if (count > 0 && minute_ms <= timeline->seen[count - 1].minute_ms)
		return;
	if (timeline->seen_count == MINUTES_REMEMBERED) {
		memmove(timeline->seen, timeline->seen + 1,
			(MINUTES_REMEMBERED - 1) * sizeof(timeline->seen[0]));
		timeline->seen_count--;
		timeline->has_forgotten = true;
	}
	timeline->seen[timeline->seen_count++] =
		(struct minute_seen){ minute_ms, timeline->append_ms };
}

/* Whether a marker for a minute newer than the sensor's last has been in the log for too long. */
static bool is_left_behind(const struct timeline_time *timeline, const struct sensor_time *sensor)
{
	for (size_t i = 0; i < timeline->seen_count; i++) {
		const struct minute_seen *seen = &timeline->seen[i];

		if (seen->minute_ms <= sensor->closed_ms)
			continue;
		return (i == 0 && timeline->has_forgotten) ||
		       timeline->append_ms - seen->append_ms >= PARTITION_TIME_WAIT_MS;
	}
	return false;
}

static void advance(struct timeline_time *timeline)
{
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < timeline->sensor_count; i++) {
		const struct sensor_time *sensor = &timeline->sensors[i];

		if (sensor->closed_ms < timeline->closed_ms)
			continue; /* it left, and has not caught up */
		if (sensor->closed_ms < least && !is_left_behind(timeline, sensor))
			least = sensor->closed_ms;
	}
	if (least != INT64_MAX && least > timeline->closed_ms)
		timeline->closed_ms = least;
}

int partition_time_marker(struct partition_time *time, const char *timeline_name,
	const char *sensor_name, int64_t closed_through_ms, int64_t append_ms)
{
	struct timeline_time *timeline;
	struct sensor_time *sensor;
	int rc = timeline_of(time, timeline_name, &timeline);

	if (rc == 0)
		rc = sensor_of(timeline, sensor_name, &sensor);
	if (rc != 0)
		return rc;
	append_ms = bounded(append_ms);
	closed_through_ms = bounded(closed_through_ms);
	if (append_ms > timeline->append_ms)
		timeline->append_ms = append_ms; /* a broker's clock may be set back */
	if (timeline->is_live && closed_through_ms > append_ms + PARTITION_TIME_AHEAD_MS)
		closed_through_ms = append_ms + PARTITION_TIME_AHEAD_MS;
	closed_through_ms -= closed_through_ms % WINDOW_MS;
	if (closed_through_ms > sensor->closed_ms)
		sensor->closed_ms = closed_through_ms;
	remember(timeline, sensor->closed_ms);
	advance(timeline);
	return 0;
}

void partition_time_pass(struct partition_time *time, const char *name, int64_t minute_ms)
{
	struct timeline_time *timeline;

	/* without room for the timeline, whatever it still gets counts as if it were open */
	if (timeline_of(time, name, &timeline) == 0 && minute_ms > timeline->closed_ms)
		timeline->closed_ms = minute_ms;
}

int64_t partition_time_of(const struct partition_time *time, const char *name)
{
	const struct timeline_time *timeline = find(time, name);

	return timeline != NULL ? timeline->closed_ms : PARTITION_TIME_NONE;
}

const char *partition_time_next(const struct partition_time *time, size_t *cursor)
{
	return *cursor < time->count ? time->timelines[(*cursor)++].name : NULL;
}

/* ---- stored ---- */

static void save_timeline(const struct timeline_time *timeline, struct buffer *out)
{
	json_open(out, '{');
	json_member_text(out, "timeline", timeline->name);
	json_member_int(out, "closed_ms", timeline->closed_ms);
	json_member_int(out, "append_ms", timeline->append_ms);
	json_member_bool(out, "has_forgotten", timeline->has_forgotten);
	json_key(out, "sensors");
	json_open(out, '[');
	for (size_t i = 0; i < timeline->sensor_count; i++) {
		json_text(out, timeline->sensors[i].name);
		json_int(out, timeline->sensors[i].closed_ms);
	}
	json_close(out, ']');
	json_key(out, "seen");
	json_open(out, '[');
	for (size_t i = 0; i < timeline->seen_count; i++) {
		json_int(out, timeline->seen[i].minute_ms);
		json_int(out, timeline->seen[i].append_ms);
	}
	json_close(out, ']');
	json_close(out, '}');
}

void partition_time_save(const struct partition_time *time, struct buffer *out)
{
	json_open(out, '[');
	for (size_t i = 0; i < time->count; i++)
		save_timeline(&time->timelines[i], out);
	json_close(out, ']');
}

/* "Not yet" is less than any time. */
static int64_t stored_time(const json_t *json)
{
	return json_is_integer(json) && json_integer_value(json) >= 0
		       ? bounded(json_integer_value(json))
		       : PARTITION_TIME_NONE;
}

static int load_sensors(struct timeline_time *timeline, const json_t *json)
{
	struct sensor_time *sensor;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i + 1 < json_array_size(json); i += 2) {
		const char *name = json_string_value(json_array_get(json, i));

		if (name == NULL)
			return FAIL_FORMAT;
		rc = sensor_of(timeline, name, &sensor);
		if (rc == 0)
			sensor->closed_ms = stored_time(json_array_get(json, i + 1));
	}
	return rc;
}

static int load_timeline(struct partition_time *time, const json_t *json)
{
	const char *name = json_string_value(json_object_get(json, "timeline"));
	const json_t *seen = json_object_get(json, "seen");
	struct timeline_time *timeline;
	int rc;

	if (name == NULL || json_array_size(seen) > 2 * (size_t)MINUTES_REMEMBERED)
		return FAIL_FORMAT;
	rc = timeline_of(time, name, &timeline);
	if (rc != 0)
		return rc;
	timeline->closed_ms = stored_time(json_object_get(json, "closed_ms"));
	timeline->append_ms = bounded(json_integer_value(json_object_get(json, "append_ms")));
	timeline->has_forgotten = json_is_true(json_object_get(json, "has_forgotten"));
	timeline->seen_count = 0; /* should a timeline be there twice */
	for (size_t i = 0; i + 1 < json_array_size(seen); i += 2)
		timeline->seen[timeline->seen_count++] =
			(struct minute_seen){ bounded(json_integer_value(json_array_get(seen, i))),
				bounded(json_integer_value(json_array_get(seen, i + 1))) };
	return load_sensors(timeline, json_object_get(json, "sensors"));
}

int partition_time_load(struct partition_time *time, struct bytes text)
{
	json_t *json = json_loadb((const char *)text.data, text.size, 0, NULL), *item;
	size_t i;
	int rc = json_is_array(json) ? 0 : FAIL_FORMAT;

	json_array_foreach (json, i, item)
		if (rc == 0)
			rc = load_timeline(time, item);
	json_decref(json);
	return rc;
}

unsigned partition_time_put_away(struct partition_time *time, int64_t append_ms)
{
	unsigned gone = 0;

	for (size_t i = 0; i < time->count;) {
		struct timeline_time *timeline = &time->timelines[i];

		if (timeline->is_live ||
			append_ms - timeline->append_ms < PARTITION_TIME_SILENT_MS) {
			i++;
			continue;
		}
		timeline_fini(timeline);
		*timeline = time->timelines[--time->count];
		gone++;
	}
	return gone;
}
