#include "sensor/recover.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/log.h"
#include "sensor/open_file.h"

#define CLOSE_WINDOWS_MAX 64 /* of one minute: one from each worker */

struct recovery {
	const struct recover_options *options;
	int directory_fd;
	struct flow_budget shard; /* nobody counts any more: the limits are without effect */
	struct flow_budgets budgets;
	struct window_left *left;
	size_t count, capacity;
};

static bool ends_with(const char *name, const char *suffix)
{
	size_t size = strlen(name), suffix_size = strlen(suffix);

	return size > suffix_size && strcmp(name + size - suffix_size, suffix) == 0;
}

static int add(struct recovery *recovery, const struct window_left *left)
{
	struct window_left *more;
	size_t capacity;

	if (recovery->count == recovery->capacity) {
		capacity = recovery->capacity != 0 ? recovery->capacity * 2 : 16;
		more = realloc(recovery->left, capacity * sizeof(*more));
		if (more == NULL)
			return -ENOMEM;
		recovery->left = more;
		recovery->capacity = capacity;
	}
	recovery->left[recovery->count++] = *left;
	return 0;
}

static int read_file(struct recovery *recovery, const char *name)
{
	struct window_left left = { 0 };
	int rc = window_read(&left, recovery->directory_fd, name, &recovery->budgets);

	if (rc == FAIL_FORMAT) {
		log_error(
			"an open minute of a former process cannot be read, it is lost file=%s/%s",
			recovery->options->directory, name);
		return 0;
	}
	if (rc == 0)
		rc = add(recovery, &left);
	return rc;
}

static int read_files(struct recovery *recovery)
{
	DIR *directory = opendir(recovery->options->directory);
	struct dirent *file;
	int rc = 0;

	if (directory == NULL)
		return -errno;
	while (rc == 0 && (file = readdir(directory)) != NULL)
		if (ends_with(file->d_name, OPEN_FILE_SUFFIX))
			rc = read_file(recovery, file->d_name);
	closedir(directory);
	return rc;
}

/* Oldest boot first; of a boot the close that was interrupted, then the minutes in order. */
static int compare_left(const void *a, const void *b)
{
	const struct window_left *x = a, *y = b;
	const struct window_close *p = &x->window->close, *q = &y->window->close;

	if (x->boot != y->boot)
		return x->boot < y->boot ? -1 : 1;
	if (p->is_closing != q->is_closing)
		return p->is_closing ? -1 : 1;
	if (x->window->minute != y->window->minute)
		return x->window->minute < y->window->minute ? -1 : 1;
	return (p->id > q->id) - (p->id < q->id);
}

static bool is_one_close(const struct window_left *a, const struct window_left *b)
{
	return a->boot == b->boot && a->window->minute == b->window->minute &&
	       a->window->close.is_closing == b->window->close.is_closing &&
	       (!a->window->close.is_closing || a->window->close.id == b->window->close.id);
}

/* How far the boot had got, from its status; zeros when that is gone. */
static struct open_status status_of(const struct recovery *recovery, int64_t boot)
{
	struct open_status status = { 0 };
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "%lld" OPEN_STATUS_SUFFIX, (long long)boot);
	fd = openat(recovery->directory_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return status;
	if (read(fd, &status, sizeof(status)) != (ssize_t)sizeof(status) ||
		status.magic != OPEN_STATUS_MAGIC || status.boot != boot)
		status = (struct open_status){ 0 };
	close(fd);
	return status;
}

/* The interval that an interrupted close had already; else what was observed of the minute. */
static struct entry_interval interval_of(
	const struct recovery *recovery, const struct window_left *left, uint64_t covered_ns)
{
	const struct window *window = left->window;
	const struct window_close *close = &window->close;
	uint64_t start_ns = window->minute * WINDOW_NS;
	const struct open_status status = status_of(recovery, left->boot);
	uint64_t alive_ns = status.alive_ns;
	struct entry_interval interval = {
		.from_ns = close->from_ns,
		.to_ns = close->to_ns,
		.closed_through = close->closed_through,
		.is_final = close->is_final,
		.close_id = close->id,
		.first_part = close->first_part,
	};

	if (close->is_closing)
		return interval;
	interval.first_part = status.covered_ns > start_ns ? status.parts : 0;
	interval.from_ns = covered_ns > start_ns ? covered_ns : start_ns;
	interval.to_ns = alive_ns < start_ns + WINDOW_NS ? alive_ns : start_ns + WINDOW_NS;
	if (window->ledger.counted > 0 && interval.to_ns <= window->ledger.last_ns)
		interval.to_ns = window->ledger.last_ns + 1;
	if (interval.from_ns > interval.to_ns)
		interval.from_ns = interval.to_ns;
	interval.closed_through = window->minute > 0 ? window->minute - 1 : 0;
	interval.is_final = false;
	/* one close for each minute of a boot, and none that live.c has named */
	interval.close_id = (uint64_t)left->boot << 16 | 0x8000 | (window->minute & 0x7fff);
	return interval;
}

static int make_darknet(struct darknet **out, const char *source)
{
	char *copy = strdup(source);
	char *next = copy, *rest;
	const char **texts = NULL;
	size_t count = 0;
	struct message msg;
	int rc = copy == NULL ? -ENOMEM : 0;

	*out = NULL;
	if (rc != 0 || *source == '\0') {
		free(copy);
		return rc;
	}
	texts = malloc((strlen(source) + 1) * sizeof(*texts));
	if (texts == NULL)
		rc = -ENOMEM;
	while (rc == 0 && (texts[count] = strtok_r(next, ",", &rest)) != NULL) {
		next = NULL;
		count++;
	}
	if (rc == 0)
		rc = darknet_create(out, texts, count, &msg);
	free(texts);
	free(copy);
	return rc;
}

static int close_group(struct recovery *recovery, struct window_left *left, size_t count,
	const struct entry_interval *interval)
{
	struct entry_closer_options options = {
		.origin = { .timeline = TIMELINE_LIVE, .boot = left->boot },
		.partitions = recovery->options->partitions,
		.take = recovery->options->take,
		.context = recovery->options->context,
	};
	struct window *windows[CLOSE_WINDOWS_MAX];
	struct darknet *darknet;
	struct entry_closer *closer = NULL;
	int rc = make_darknet(&darknet, left->dark);

	snprintf(options.origin.sensor, sizeof(options.origin.sensor), "%s",
		recovery->options->sensor);
	options.darknet = darknet;
	if (rc == 0)
		rc = entry_closer_create(&closer, &options);
	for (size_t i = 0; i < count; i++)
		windows[i] = left[i].window;
	if (rc == 0) {
		log_info("closing what a former process left minute=%llu packets=%llu boot=%lld",
			(unsigned long long)left->window->minute,
			(unsigned long long)left->window->ledger.counted, (long long)left->boot);
		rc = entry_closer_close(closer, windows, count, interval);
		for (size_t i = 0; i < count; i++)
			left[i].window = NULL; /* closed, or gone with the failure */
	}
	entry_closer_destroy(closer);
	darknet_destroy(darknet);
	return rc;
}

static int close_all(struct recovery *recovery)
{
	uint64_t covered_ns = 0;
	int64_t boot = 0;
	int rc = 0;

	if (recovery->count > 0)
		qsort(recovery->left, recovery->count, sizeof(*recovery->left), compare_left);
	for (size_t i = 0; rc == 0 && i < recovery->count;) {
		struct window_left *first = &recovery->left[i];
		struct entry_interval interval;
		size_t end = i + 1;

		while (end < recovery->count && end - i < CLOSE_WINDOWS_MAX &&
			is_one_close(first, &recovery->left[end]))
			end++;
		if (first->boot != boot) {
			boot = first->boot;
			covered_ns = status_of(recovery, boot).covered_ns;
		}
		interval = interval_of(recovery, first, covered_ns);
		if (interval.to_ns > covered_ns)
			covered_ns = interval.to_ns;
		rc = close_group(recovery, first, end - i, &interval);
		i = end;
	}
	return rc;
}

/* Statuses of boots that are closed now. */
static void remove_statuses(const struct recovery *recovery)
{
	DIR *directory = opendir(recovery->options->directory);
	struct dirent *file;

	if (directory == NULL)
		return;
	while ((file = readdir(directory)) != NULL)
		if (ends_with(file->d_name, OPEN_STATUS_SUFFIX) ||
			ends_with(file->d_name, OPEN_FILE_SUFFIX))
			(void)unlinkat(recovery->directory_fd, file->d_name, 0);
	closedir(directory);
}

int recover_minutes(const struct recover_options *options, struct message *msg)
{
	struct recovery recovery = { .options = options,
		.shard = { .flows_max = SIZE_MAX, .sketch_bytes_max = SIZE_MAX } };
	int rc = 0;

	recovery.budgets = (struct flow_budgets){ .shards = 1, .shard = &recovery.shard };
	recovery.directory_fd = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (recovery.directory_fd < 0 && errno == ENOENT)
		return 0;
	if (recovery.directory_fd < 0)
		rc = -errno;
	if (rc == 0)
		rc = read_files(&recovery);
	if (rc == 0)
		rc = close_all(&recovery);
	if (rc == 0)
		remove_statuses(&recovery);
	if (rc != 0)
		message_set(msg, "%s: %s", options->directory, error_text(rc));
	for (size_t i = 0; i < recovery.count; i++)
		free(recovery.left[i].dark);
	free(recovery.left);
	if (recovery.directory_fd >= 0)
		close(recovery.directory_fd);
	return rc;
}
