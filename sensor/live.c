/*
 * Each worker thread polls its handles (one per interface) and an eventfd. The caller's thread
 * sleeps until a minute is over and its late seconds have passed, then asks the workers through
 * their eventfds; each reads what is there, hands its old windows over and goes on. An idle
 * interface never wakes a blocking read, so nothing here blocks in one.
 *
 * Frames are copied out of the ring in small groups: the kernel's block may go as soon as the
 * next one is read, and the packet path is faster with several packets in flight.
 */
#include "sensor/live.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "schemas/base/log.h"
#include "sensor/capture_live.h"

#define INTERFACES_MAX 64
#define GROUP_FRAMES   32
#define READ_FRAMES    1024	 /* per turn, so that requests are seen in between */
#define TICK_NS	       100000000 /* how often the caller's thread looks at clock and stop flag */
#define STEP_NS	       INT64_C(1000000000)
#define MINUTES_MAX    (WINDOWS_MAX + 2)
/* A frame's own time is believed from so long before capture began until so far ahead of the clock;
 * the same bound holds for the time of partitions. Older ones exist: a ring outlives a standstill. */
#define MISDATED_NS	INT64_C(300000000000)
#define DRAIN_READS_MAX 100000 /* at the end: a bound, a ring of 64 MiB needs about a thousand */

enum request {
	REQUEST_NONE,
	REQUEST_CLOSE,	/* the minutes that are over */
	REQUEST_CHANGE, /* everything that is open; another generation from here on */
	REQUEST_STOP,
};

struct live;

struct live_worker {
	struct live *live;
	struct worker *worker;
	unsigned generation; /* that its windows are of */
	pthread_t thread;
	bool is_running;
	int wake_fd;
	struct capture_live *captures[INTERFACES_MAX];
	struct capture_live_counts counted[INTERFACES_MAX]; /* drops already in a ledger */
	/* group being filled */
	struct frame frames[GROUP_FRAMES];
	size_t frame_count;
	uint64_t misdated; /* frames not yet in a ledger */
	uint8_t *bytes;	   /* GROUP_FRAMES × snap_bytes */
	atomic_int rc;	   /* set by the worker, seen by the caller's thread */
	/* handed over, under live.lock */
	struct window *handed[MINUTES_MAX * 4];
	size_t handed_count;
};

struct live {
	const struct config *config;
	struct entry_closer *closer;
	const struct live_owner *owner;
	struct live_terms terms; /* from now on */
	unsigned generation;	 /* one more with other dark ranges, or another boot */
	size_t interface_count;
	uint32_t snap_bytes;
	struct live_worker *workers;
	unsigned worker_count;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum request request;
	unsigned request_number;
	unsigned answers;
	bool is_changing;	/* to another generation */
	uint64_t close_through; /* minute */
	_Atomic uint64_t started_ns;
	uint64_t closed;     /* number of the first minute that is not closed */
	uint64_t covered_ns; /* end of the last capture interval */
	uint64_t alive_ns;   /* the last look at the clock */
	uint64_t closes;     /* so far */
	int64_t boot;
	int64_t clock_offset_ns; /* wall clock less uptime */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* ---- in the worker's thread ---- */

static void hand_over(struct live_worker *member, struct window *window)
{
	struct live *live = member->live;

	pthread_mutex_lock(&live->lock);
	/* of the new generation: not among what is just being closed of the former one */
	while (live->is_changing && member->generation == live->generation)
		pthread_cond_wait(&live->changed, &live->lock);
	if (member->handed_count < sizeof(member->handed) / sizeof(member->handed[0])) {
		member->handed[member->handed_count++] = window;
	} else {
		log_error("too many minutes at once, the clock must have gone mad minute=%llu "
			  "packets=%llu lost",
			(unsigned long long)window->minute,
			(unsigned long long)window->ledger.counted);
		window_destroy(window);
	}
	pthread_mutex_unlock(&live->lock);
}

/* Frames with an absurd time (a network card's own clock, the wall clock just set) count now. */
static void check_times(struct live_worker *member)
{
	int64_t now = (int64_t)now_ns(), started = (int64_t)member->live->started_ns;

	for (size_t i = 0; i < member->frame_count; i++) {
		struct frame *frame = &member->frames[i];
		int64_t time = (int64_t)frame->time_ns;

		if (time >= started - MISDATED_NS && time <= now + MISDATED_NS)
			continue;
		frame->time_ns = (uint64_t)now;
		member->misdated++;
	}
}

/* Frames up to the first one whose minute has no room; then the oldest minute makes room. */
static void process_group(struct live_worker *member)
{
	size_t done = 0;

	if (member->frame_count > 0)
		check_times(member);
	while (member->rc == 0 && done < member->frame_count) {
		struct window_set *windows = worker_windows(member->worker);
		size_t count = 0, opened = windows->count;
		uint64_t current = UINT64_MAX;

		for (; done + count < member->frame_count; count++) {
			uint64_t minute = member->frames[done + count].time_ns / WINDOW_NS;

			if (minute == current || window_set_find(windows, minute) != NULL)
				continue;
			if (opened == WINDOWS_MAX)
				break;
			opened++;
			current = minute;
		}
		if (count == 0)
			hand_over(member, window_set_take(windows, UINT64_MAX));
		else
			member->rc = worker_process(member->worker, member->frames + done, count);
		done += count;
	}
	member->frame_count = 0;
}

static void keep_frame(void *context, const struct frame *frame)
{
	struct live_worker *member = context;
	uint32_t snap = member->live->snap_bytes;
	struct frame *kept = &member->frames[member->frame_count];
	uint8_t *bytes = member->bytes + member->frame_count * (size_t)snap;

	*kept = *frame;
	if (kept->captured_bytes > snap)
		kept->captured_bytes = snap;
	memcpy(bytes, frame->data, kept->captured_bytes);
	kept->data = bytes;
	if (++member->frame_count == GROUP_FRAMES)
		process_group(member);
}

/* Reads every handle once. @return frames read */
static int read_captures(struct live_worker *member)
{
	int total = 0;

	for (size_t i = 0; i < member->live->interface_count && member->rc == 0; i++) {
		int got = capture_live_read(member->captures[i], READ_FRAMES, keep_frame, member);

		if (got < 0) {
			log_error("interface can no longer be read interface=%s",
				config_list(member->live->config, OPT_SENSOR_INTERFACE)->items[i]);
			member->rc = got;
		} else {
			total += got;
		}
	}
	process_group(member);
	return total;
}

/* Drops since the last minute belong to the one that is being closed. */
static void count_drops(struct live_worker *member, struct ledger *ledger)
{
	for (size_t i = 0; i < member->live->interface_count; i++) {
		struct capture_live_counts now, *before = &member->counted[i];

		if (capture_live_counts(member->captures[i], &now) != 0)
			continue;
		ledger->kernel_drops += now.kernel_drops - before->kernel_drops;
		ledger->interface_drops += now.interface_drops - before->interface_drops;
		*before = now;
	}
}

/* Closes the minutes up to `through`, or `all`, also younger ones, which frames may have begun that
 * arrived between the request and here. */
static void close_windows(struct live_worker *member, uint64_t through, bool all)
{
	uint64_t take_through = all ? UINT64_MAX : through;
	struct window *window;

	if (window_set_find(worker_windows(member->worker), through) == NULL &&
		worker_windows(member->worker)->count == WINDOWS_MAX)
		hand_over(member, window_set_take(worker_windows(member->worker), UINT64_MAX));
	if (worker_window(member->worker, through, &window) != 0) {
		member->rc = -ENOMEM;
		return;
	}
	count_drops(member, &window->ledger);
	window->ledger.misdated += member->misdated;
	member->misdated = 0;
	while ((window = window_set_take(worker_windows(member->worker), take_through)) != NULL)
		hand_over(member, window);
}

static void drain(struct live_worker *member)
{
	for (size_t i = 0; i < member->live->interface_count; i++)
		if (capture_live_stop(member->captures[i]) != 0)
			log_warning(
				"interface could not be stopped, frames that arrive now count too");
	for (unsigned reads = 0;
		reads < DRAIN_READS_MAX && member->rc == 0 && read_captures(member) > 0;)
		reads++;
}

static void answer(struct live_worker *member)
{
	struct live *live = member->live;

	pthread_mutex_lock(&live->lock);
	live->answers++;
	pthread_cond_broadcast(&live->changed);
	pthread_mutex_unlock(&live->lock);
}

static enum request take_request(struct live_worker *member, unsigned *seen, uint64_t *through)
{
	struct live *live = member->live;
	enum request request = REQUEST_NONE;
	uint64_t count;

	if (read(member->wake_fd, &count, sizeof(count)) < 0)
		return REQUEST_NONE;
	pthread_mutex_lock(&live->lock);
	if (live->request_number != *seen) {
		*seen = live->request_number;
		request = live->request;
		*through = live->close_through;
	}
	pthread_mutex_unlock(&live->lock);
	return request;
}

static void do_request(struct live_worker *member, enum request request, uint64_t through)
{
	close_windows(member, through, request != REQUEST_CLOSE);
	if (request == REQUEST_CHANGE && member->rc == 0) {
		member->generation = member->live->generation;
		worker_set_terms(
			member->worker, member->live->terms.darknet, member->live->terms.store);
	}
	answer(member);
}

static void *worker_main(void *context)
{
	struct live_worker *member = context;
	struct pollfd fds[INTERFACES_MAX + 1];
	size_t interfaces = member->live->interface_count;
	enum request request = REQUEST_NONE;
	unsigned seen = 0;
	uint64_t through = 0;

	for (size_t i = 0; i < interfaces; i++)
		fds[i] = (struct pollfd){ capture_live_fd(member->captures[i]), POLLIN, 0 };
	fds[interfaces] = (struct pollfd){ member->wake_fd, POLLIN, 0 };
	while (request != REQUEST_STOP) {
		/* a worker that failed only waits to hand over what it has */
		struct pollfd *first = member->rc == 0 ? fds : fds + interfaces;

		if (poll(first, (nfds_t)(fds + interfaces + 1 - first), -1) < 0 && errno != EINTR)
			member->rc = -errno;
		request = take_request(member, &seen, &through);
		if (member->rc == 0 && request == REQUEST_STOP)
			drain(member);
		else if (member->rc == 0)
			read_captures(member);
		if (request != REQUEST_NONE)
			do_request(member, request, through);
	}
	return NULL;
}

/* ---- in the caller's thread ---- */

static int ask_workers(struct live *live, enum request request, uint64_t through)
{
	uint64_t one = 1;
	int rc = 0;

	pthread_mutex_lock(&live->lock);
	live->request = request;
	live->close_through = through;
	live->request_number++;
	live->answers = 0;
	for (unsigned i = 0; i < live->worker_count; i++)
		if (write(live->workers[i].wake_fd, &one, sizeof(one)) < 0)
			rc = -errno;
	while (rc == 0 && live->answers < live->worker_count) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&live->changed, &live->lock, &until);
	}
	pthread_mutex_unlock(&live->lock);
	return rc;
}

static uint64_t oldest_handed(const struct live *live)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < live->worker_count; i++)
		for (size_t w = 0; w < live->workers[i].handed_count; w++)
			if (live->workers[i].handed[w]->minute < oldest)
				oldest = live->workers[i].handed[w]->minute;
	return oldest;
}

static size_t take_handed(struct live *live, uint64_t minute, struct window **out, size_t max)
{
	size_t count = 0;

	for (unsigned i = 0; i < live->worker_count; i++) {
		struct live_worker *member = &live->workers[i];
		size_t kept = 0;

		for (size_t w = 0; w < member->handed_count; w++) {
			if (member->handed[w]->minute == minute && count < max)
				out[count++] = member->handed[w];
			else
				member->handed[kept++] = member->handed[w];
		}
		member->handed_count = kept;
	}
	return count;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static struct entry_interval interval_of(
	struct live *live, uint64_t minute, uint64_t until_ns, uint64_t through)
{
	uint64_t start_ns = minute * WINDOW_NS;
	uint64_t from_ns = start_ns > live->covered_ns ? start_ns : live->covered_ns;
	uint64_t to_ns = lesser(start_ns + WINDOW_NS, until_ns);
	struct entry_interval interval = { .from_ns = from_ns, .to_ns = to_ns };

	if (live->terms.store != NULL)
		interval.close_id = (uint64_t)live->boot << 16 | live->closes++ % 0x8000;

	if (from_ns > to_ns)
		interval.from_ns = interval.to_ns = lesser(start_ns + WINDOW_NS, live->covered_ns);
	else
		live->covered_ns = to_ns;
	interval.closed_through = minute >= live->closed ? minute : live->closed - 1;
	if (interval.closed_through > through)
		interval.closed_through = through;
	return interval;
}

static void note_progress(const struct live *live)
{
	const struct open_status status = { .covered_ns = live->covered_ns,
		.alive_ns = live->alive_ns,
		.parts = entry_closer_parts(live->closer) };

	open_store_note(live->terms.store, &status);
}

/* Closes, oldest first, all minutes that were handed over. */
static int close_handed(struct live *live, uint64_t until_ns, uint64_t through)
{
	struct window *windows[256];
	uint64_t minute;
	int rc = 0;

	pthread_mutex_lock(&live->lock);
	while (rc == 0 && (minute = oldest_handed(live)) != UINT64_MAX) {
		size_t count =
			take_handed(live, minute, windows, sizeof(windows) / sizeof(windows[0]));
		struct entry_interval interval = interval_of(live, minute, until_ns, through);

		if (minute <= through && minute + 1 > live->closed)
			live->closed = minute + 1;
		pthread_mutex_unlock(&live->lock);
		rc = entry_closer_close(live->closer, windows, count, &interval);
		note_progress(live);
		pthread_mutex_lock(&live->lock);
	}
	pthread_mutex_unlock(&live->lock);
	return rc;
}

static int worker_failure(const struct live *live)
{
	for (unsigned i = 0; i < live->worker_count; i++)
		if (live->workers[i].rc != 0)
			return live->workers[i].rc;
	return 0;
}

/* Closes a minute, also when it had no packets: each moment belongs to a part's interval. */
static int close_minute(struct live *live, uint64_t minute, uint64_t through)
{
	int rc = ask_workers(live, REQUEST_CLOSE, minute);

	return rc == 0 ? close_handed(live, (minute + 1) * WINDOW_NS, through) : rc;
}

/* Closes the minutes before the one that is to be cut at `until_ns`. */
static int close_before(struct live *live, uint64_t until_ns, uint64_t through)
{
	int rc = 0;

	for (uint64_t minute = live->covered_ns / WINDOW_NS;
		rc == 0 && minute < until_ns / WINDOW_NS; minute++)
		rc = close_minute(live, minute, through);
	return rc;
}

/* What is open becomes a part of its minute, observed until `until_ns`; another generation begins. */
static int change_generation(struct live *live, uint64_t until_ns)
{
	int rc = close_before(live, until_ns, live->closed - 1);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&live->lock);
	live->generation++;
	live->is_changing = true;
	pthread_mutex_unlock(&live->lock);
	rc = ask_workers(live, REQUEST_CHANGE, until_ns / WINDOW_NS);
	return rc == 0 ? close_handed(live, until_ns, live->closed - 1) : rc;
}

static void end_change(struct live *live)
{
	pthread_mutex_lock(&live->lock);
	live->is_changing = false;
	pthread_cond_broadcast(&live->changed);
	pthread_mutex_unlock(&live->lock);
}

static int change_terms(struct live *live, const struct live_terms *terms)
{
	bool has_other_ranges = terms->darknet != live->terms.darknet;
	int rc;

	pthread_mutex_lock(&live->lock);
	live->terms = *terms;
	pthread_mutex_unlock(&live->lock);
	rc = change_generation(live, now_ns());
	if (has_other_ranges)
		entry_closer_set_darknet(live->closer, terms->darknet);
	end_change(live);
	return rc;
}

static int64_t clock_offset_ns(void)
{
	struct timespec up;

	clock_gettime(CLOCK_MONOTONIC, &up);
	return (int64_t)now_ns() - ((int64_t)up.tv_sec * 1000000000 + up.tv_nsec);
}

/* A clock that is set, or a machine that slept: what was counted is closed by the former time, and a
 * boot begins with the new one, so that no interval means two things. */
static int begin_boot(struct live *live)
{
	uint64_t now = now_ns();
	int64_t boot = (int64_t)(now / 1000000);
	int rc = 0;

	live->started_ns = now;
	if (boot <= live->boot)
		boot = live->boot + 1; /* a boot's number is used once */
	if (live->terms.store != NULL)
		rc = open_store_set_boot(live->terms.store, boot);
	if (rc == 0)
		rc = change_generation(live, live->alive_ns);
	live->boot = boot;
	live->covered_ns = live->alive_ns = now;
	live->closed = now / WINDOW_NS;
	if (rc == 0)
		rc = entry_closer_set_boot(live->closer, boot);
	open_store_end_former(live->terms.store);
	end_change(live);
	return rc;
}

/* The clock was set since the last look; slewing is slower (adjtime: 500 ppm). */
static bool clock_has_stepped(struct live *live)
{
	int64_t offset = clock_offset_ns(), step = offset - live->clock_offset_ns;

	live->clock_offset_ns = offset;
	if (step > -STEP_NS && step < STEP_NS)
		return false;
	log_warning("the clock was set, a new boot begins seconds=%.3f", (double)step / 1e9);
	return true;
}

/* Once per tick: closes what is over, and asks the owner. @param next  minute to be closed next */
static int turn(struct live *live, uint64_t *next)
{
	uint64_t late_ns = config_u64(live->config, OPT_SENSOR_LATE_SECONDS) * 1000000000ULL;
	uint64_t over;
	int rc = worker_failure(live);

	if (rc == 0 && clock_has_stepped(live)) {
		rc = begin_boot(live);
		*next = live->closed;
	}
	live->alive_ns = now_ns();
	over = (live->alive_ns - late_ns) / WINDOW_NS; /* minutes before this one are over */
	note_progress(live);
	for (; rc == 0 && *next < over; (*next)++) /* several after a standstill */
		rc = close_minute(live, *next, *next);
	if (rc == 0) {
		const struct live_terms terms = live->owner->tick(live->owner->context);

		if (terms.darknet != live->terms.darknet || terms.store != live->terms.store)
			rc = change_terms(live, &terms);
	}
	return rc;
}

static int watch_clock(struct live *live)
{
	struct itimerspec tick = { { 0, TICK_NS }, { 0, TICK_NS } };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t next = live->started_ns / WINDOW_NS;
	uint64_t expirations;
	int rc = 0;

	if (timer < 0 || timerfd_settime(timer, 0, &tick, NULL) != 0)
		rc = -errno;
	while (rc == 0 && !*live->owner->stop) {
		rc = turn(live, &next);
		if (rc == 0 && read(timer, &expirations, sizeof(expirations)) < 0 && errno != EINTR)
			rc = -errno;
	}
	if (timer >= 0)
		close(timer);
	return rc;
}

static int finish(struct live *live)
{
	uint64_t until_ns = now_ns();
	uint64_t minute = until_ns / WINDOW_NS;
	int rc = close_before(live, until_ns, minute - 1);

	if (rc == 0)
		rc = ask_workers(live, REQUEST_STOP, minute);
	return rc == 0 ? close_handed(live, until_ns, minute) : rc;
}

static int open_captures(
	struct live *live, struct live_worker *member, unsigned index, struct message *msg)
{
	const struct text_list *interfaces = config_list(live->config, OPT_SENSOR_INTERFACE);

	for (size_t i = 0; i < interfaces->count; i++) {
		struct capture_live_options options = {
			.interface = interfaces->items[i],
			.filter = config_text(live->config, OPT_SENSOR_FILTER),
			.snap_bytes = live->snap_bytes,
			.ring_bytes = config_u64(live->config, OPT_SENSOR_RING_BYTES),
			.promiscuous = config_bool(live->config, OPT_SENSOR_PROMISCUOUS),
			.worker = index,
			.workers = live->worker_count,
			.fanout_group =
				index == 0 ? 0 : capture_live_group(live->workers[0].captures[i]),
		};
		int rc = capture_live_open(&member->captures[i], &options, msg);

		if (rc != 0)
			return rc;
	}
	return 0;
}

static int open_worker(struct live *live, unsigned index, const struct worker_options *options,
	struct message *msg)
{
	struct live_worker *member = &live->workers[index];
	struct worker_options own = *options;
	int rc;

	own.flows_max = options->flows_max / live->worker_count;
	member->live = live;
	member->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (member->wake_fd < 0)
		return -errno;
	member->bytes = malloc((size_t)GROUP_FRAMES * live->snap_bytes);
	if (member->bytes == NULL)
		return -ENOMEM;
	rc = worker_create(&member->worker, &own);
	return rc == 0 ? open_captures(live, member, index, msg) : rc;
}

static void close_worker(struct live *live, struct live_worker *member)
{
	uint64_t one = 1;

	if (member->is_running) {
		pthread_mutex_lock(&live->lock);
		live->request = REQUEST_STOP;
		live->request_number++;
		pthread_mutex_unlock(&live->lock);
		if (write(member->wake_fd, &one, sizeof(one)) < 0)
			log_debug("worker was already awake");
		pthread_join(member->thread, NULL);
	}
	for (size_t i = 0; i < live->interface_count; i++)
		if (member->captures[i] != NULL)
			capture_live_close(member->captures[i]);
	for (size_t i = 0; i < member->handed_count; i++)
		window_destroy(member->handed[i]);
	if (member->wake_fd >= 0)
		close(member->wake_fd);
	worker_destroy(member->worker);
	free(member->bytes);
}

static int start(struct live *live, const struct worker_options *options, struct message *msg)
{
	int rc = 0;

	for (unsigned i = 0; i < live->worker_count; i++)
		live->workers[i].wake_fd = -1;
	for (unsigned i = 0; rc == 0 && i < live->worker_count; i++)
		rc = open_worker(live, i, options, msg);
	live->started_ns = live->covered_ns = live->alive_ns = now_ns();
	live->clock_offset_ns = clock_offset_ns();
	live->closed = live->started_ns / WINDOW_NS;
	for (unsigned i = 0; rc == 0 && i < live->worker_count; i++) {
		if (pthread_create(
			    &live->workers[i].thread, NULL, worker_main, &live->workers[i]) != 0)
			rc = -EAGAIN;
		else
			live->workers[i].is_running = true;
	}
	return rc;
}

/* Threads that answered REQUEST_STOP have ended by themselves. */
static void join_stopped(struct live *live)
{
	for (unsigned i = 0; i < live->worker_count; i++) {
		if (live->workers[i].is_running)
			pthread_join(live->workers[i].thread, NULL);
		live->workers[i].is_running = false;
	}
}

int live_run(const struct config *config, const struct worker_options *worker,
	struct entry_closer *closer, const struct live_owner *owner, bool *has_captured,
	struct message *msg)
{
	struct live live = {
		.config = config,
		.closer = closer,
		.owner = owner,
		.terms = { worker->darknet, worker->store },
		.boot = entry_closer_boot(closer),
		.interface_count = config_list(config, OPT_SENSOR_INTERFACE)->count,
		.snap_bytes = (uint32_t)config_u64(config, OPT_SENSOR_SNAP_BYTES),
		.worker_count = (unsigned)config_u64(config, OPT_SENSOR_WORKERS),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	int rc, finished;

	*has_captured = false;
	if (live.interface_count > INTERFACES_MAX) {
		message_set(msg, "at most %u interfaces", INTERFACES_MAX);
		return FAIL_USAGE;
	}
	live.workers = calloc(live.worker_count, sizeof(*live.workers));
	if (live.workers == NULL)
		return -ENOMEM;
	rc = start(&live, worker, msg);
	if (rc == 0) {
		log_info("capturing interfaces=%zu workers=%u", live.interface_count,
			live.worker_count);
		*has_captured = true;
		rc = watch_clock(&live);
		/* also after a failure: what was captured until then is closed */
		finished = finish(&live);
		if (finished == 0)
			join_stopped(&live);
		rc = rc != 0 ? rc : finished;
	}
	for (unsigned i = 0; i < live.worker_count; i++)
		close_worker(&live, &live.workers[i]);
	free(live.workers);
	return rc;
}
