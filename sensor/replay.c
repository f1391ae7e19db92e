/*
 * One thread reads batches; the workers go over each batch together, every one for its own
 * shards, while the next batch is read. Between batches nobody works, and minutes are closed.
 */
#include "sensor/replay.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LATE_NS UINT64_C(10000000000) /* a minute stays open so long for packets out of order */
#define TIME_MAX_NS                                                                                \
	(INT64_MAX / 2) /* the year 2116: later times count there, so no sum overflows */
#define PROGRESS_BATCHES 64

struct replay;

struct crew_member {
	struct replay *replay;
	struct worker *worker;
	pthread_t thread;
	int rc;
};

/* Hands one segment to all members and waits for them. */
struct crew {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const struct frame *frames;
	size_t frame_count;
	unsigned round;	  /* number of the segment handed out */
	unsigned working; /* members not yet done with it */
	bool is_over;
};

struct replay {
	const struct replay_options *options;
	struct capture_merge *merge;
	struct entry_closer *closer;
	struct crew crew;
	struct crew_member *members; /* the first works in the caller's thread */
	unsigned started;
	struct frame_batch *batches[2];
	bool has_next;		    /* the other batch is already read */
	uint64_t open[WINDOWS_MAX]; /* minutes with a window, ascending */
	size_t open_count;
	uint64_t closed;	    /* number of the next minute that has never been closed */
	uint64_t first_ns, last_ns; /* of all frames */
	uint64_t batches_read;
};

static void *crew_main(void *context)
{
	struct crew_member *member = context;
	struct crew *crew = &member->replay->crew;
	unsigned round = 0;

	for (;;) {
		pthread_mutex_lock(&crew->lock);
		while (crew->round == round && !crew->is_over)
			pthread_cond_wait(&crew->changed, &crew->lock);
		round = crew->round;
		pthread_mutex_unlock(&crew->lock);
		if (crew->is_over)
			return NULL;
		if (member->rc == 0)
			member->rc =
				worker_process(member->worker, crew->frames, crew->frame_count);
		pthread_mutex_lock(&crew->lock);
		crew->working--;
		pthread_cond_broadcast(&crew->changed);
		pthread_mutex_unlock(&crew->lock);
	}
}

static int read_next(struct replay *replay)
{
	int rc;

	if (replay->has_next)
		return 0;
	rc = capture_merge_fill(replay->merge, replay->batches[1]);
	replay->has_next = true;
	return rc < 0 ? rc : 0;
}

static int process_segment(struct replay *replay, const struct frame *frames, size_t count)
{
	struct crew *crew = &replay->crew;
	int rc;

	if (replay->options->workers == 1)
		return worker_process(replay->members[0].worker, frames, count);
	pthread_mutex_lock(&crew->lock);
	crew->frames = frames;
	crew->frame_count = count;
	crew->working = replay->options->workers - 1;
	crew->round++;
	pthread_cond_broadcast(&crew->changed);
	pthread_mutex_unlock(&crew->lock);

	rc = worker_process(replay->members[0].worker, frames, count);
	if (rc == 0)
		rc = read_next(replay);
	pthread_mutex_lock(&crew->lock);
	while (crew->working > 0)
		pthread_cond_wait(&crew->changed, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
	for (unsigned i = 0; rc == 0 && i < replay->options->workers; i++)
		rc = replay->members[i].rc;
	return rc;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The minute's own interval, cut to what the capture covers. A late part has none of its own. */
static struct entry_interval interval_of(
	const struct replay *replay, uint64_t minute, bool is_final)
{
	uint64_t start_ns = minute * WINDOW_NS;
	struct entry_interval interval = {
		.from_ns = greater(start_ns, replay->first_ns),
		.to_ns = lesser(start_ns + WINDOW_NS, replay->last_ns + 1),
		.closed_through = greater(minute, replay->closed > 0 ? replay->closed - 1 : 0),
		.is_final = is_final,
	};

	if (minute < replay->closed || interval.from_ns > interval.to_ns)
		interval.from_ns = interval.to_ns =
			lesser(start_ns + WINDOW_NS, replay->last_ns + 1);
	return interval;
}

static int close_oldest(struct replay *replay, bool is_final)
{
	struct window *windows[64];
	uint64_t minute = replay->open[0];
	struct entry_interval interval = interval_of(replay, minute, is_final);
	size_t count = 0;

	for (unsigned i = 0; i < replay->options->workers; i++) {
		struct window *window =
			window_set_take(worker_windows(replay->members[i].worker), minute);

		if (window != NULL)
			windows[count++] = window;
	}
	replay->open_count--;
	for (size_t i = 0; i < replay->open_count; i++)
		replay->open[i] = replay->open[i + 1];
	replay->closed = greater(replay->closed, minute + 1);
	return entry_closer_close(replay->closer, windows, count, &interval);
}

static int close_old(struct replay *replay)
{
	int rc = 0;

	while (rc == 0 && replay->open_count > 0 &&
		(replay->open[0] + 1) * WINDOW_NS + LATE_NS <= replay->last_ns)
		rc = close_oldest(replay, false);
	return rc;
}

/* Notes the minute as open; false when there is no room for another one. */
static bool open_minute(struct replay *replay, uint64_t minute)
{
	size_t at = replay->open_count;

	while (at > 0 && replay->open[at - 1] > minute)
		at--;
	if (at > 0 && replay->open[at - 1] == minute)
		return true;
	if (replay->open_count == WINDOWS_MAX)
		return false;
	for (size_t i = replay->open_count; i > at; i--)
		replay->open[i] = replay->open[i - 1];
	replay->open[at] = minute;
	replay->open_count++;
	return true;
}

/* How many frames from here on find room for their minutes. */
static size_t segment_of(struct replay *replay, struct frame *frames, size_t count)
{
	uint64_t current = UINT64_MAX;

	for (size_t i = 0; i < count; i++) {
		uint64_t minute;

		if (frames[i].time_ns > TIME_MAX_NS)
			frames[i].time_ns = TIME_MAX_NS;
		minute = frames[i].time_ns / WINDOW_NS;
		replay->first_ns = lesser(replay->first_ns, frames[i].time_ns);
		replay->last_ns = greater(replay->last_ns, frames[i].time_ns);
		if (minute == current)
			continue;
		if (!open_minute(replay, minute))
			return i;
		current = minute;
	}
	return count;
}

static int process_batch(struct replay *replay, struct frame_batch *batch)
{
	size_t done = 0;
	int rc = 0;

	while (rc == 0 && done < batch->count) {
		size_t count = segment_of(replay, batch->frames + done, batch->count - done);

		if (count > 0)
			rc = process_segment(replay, batch->frames + done, count);
		done += count;
		if (rc == 0)
			rc = close_old(replay);
		if (rc == 0 && done < batch->count && replay->open_count == WINDOWS_MAX)
			rc = close_oldest(replay, false);
	}
	return rc;
}

static void show_progress(struct replay *replay)
{
	uint64_t done, total;

	if (!replay->options->shows_progress || replay->batches_read++ % PROGRESS_BATCHES != 0)
		return;
	capture_merge_progress(replay->merge, &done, &total);
	if (total > 0)
		fprintf(stderr, "\rreading: %3u %% of %llu MiB ", (unsigned)(done * 100 / total),
			(unsigned long long)(total >> 20));
	else
		fprintf(stderr, "\rreading: %llu MiB ", (unsigned long long)(done >> 20));
}

static int read_all(struct replay *replay)
{
	int rc = 0;

	while (rc == 0 && !*replay->options->stop) {
		struct frame_batch *batch;

		rc = read_next(replay);
		if (rc != 0)
			return rc;
		batch = replay->batches[1];
		replay->batches[1] = replay->batches[0];
		replay->batches[0] = batch;
		replay->has_next = false;
		if (batch->count == 0)
			break;
		rc = process_batch(replay, batch);
		show_progress(replay);
		entry_closer_statistics(replay->closer);
	}
	if (replay->options->shows_progress)
		fprintf(stderr, "\r\033[K");
	if (rc == 0 && *replay->options->stop)
		return FAIL_STOPPED;
	while (rc == 0 && replay->open_count > 0)
		rc = close_oldest(replay, replay->open_count == 1);
	return rc;
}

static int start_crew(struct replay *replay)
{
	for (unsigned i = 0; i < replay->options->workers; i++) {
		struct worker_options options = replay->options->worker;
		struct crew_member *member = &replay->members[i];
		int rc;

		options.worker = i;
		options.workers = replay->options->workers;
		member->replay = replay;
		rc = worker_create(&member->worker, &options);
		if (rc != 0)
			return rc;
		if (i > 0 && pthread_create(&member->thread, NULL, crew_main, member) != 0)
			return -EAGAIN;
		replay->started = i + 1;
	}
	return 0;
}

static void end_crew(struct replay *replay)
{
	pthread_mutex_lock(&replay->crew.lock);
	replay->crew.is_over = true;
	pthread_cond_broadcast(&replay->crew.changed);
	pthread_mutex_unlock(&replay->crew.lock);
	for (unsigned i = 1; i < replay->started; i++)
		pthread_join(replay->members[i].thread, NULL);
	for (unsigned i = 0; i < replay->options->workers; i++)
		worker_destroy(replay->members[i].worker);
}

static int merge_summaries(struct replay *replay, struct summary **out)
{
	int rc = summary_create(out);

	for (unsigned i = 0; rc == 0 && i < replay->options->workers; i++)
		rc = summary_merge(*out, worker_summary(replay->members[i].worker));
	return rc;
}

int replay_run(const struct replay_options *options, struct capture_merge *merge,
	struct entry_closer *closer, struct summary **summary)
{
	struct replay replay = {
		.options = options,
		.merge = merge,
		.closer = closer,
		.first_ns = UINT64_MAX,
		.crew = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER },
	};
	int rc = -ENOMEM;

	replay.members = calloc(options->workers, sizeof(*replay.members));
	replay.batches[0] = calloc(1, sizeof(*replay.batches[0]));
	replay.batches[1] = calloc(1, sizeof(*replay.batches[1]));
	if (replay.members != NULL && replay.batches[0] != NULL && replay.batches[1] != NULL)
		rc = start_crew(&replay);
	if (rc == 0)
		rc = read_all(&replay);
	if (rc == 0 && options->worker.wants_summary)
		rc = merge_summaries(&replay, summary);
	if (replay.members != NULL)
		end_crew(&replay);
	for (unsigned i = 0; i < 2; i++) {
		if (replay.batches[i] != NULL)
			frame_batch_fini(replay.batches[i]);
		free(replay.batches[i]);
	}
	free(replay.members);
	return rc;
}
