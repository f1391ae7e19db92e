#include "sensor/sink.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARTIAL_SUFFIX ".partial"
#define WRITE_AT_BYTES (1u << 20)

struct file_sink {
	struct sink sink;
	int fd;
	char *path;
	char *partial; /* NULL when written in place */
	struct buffer pending;
	uint64_t entries;
};

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t written = write(fd, data, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		data += written;
		size -= (size_t)written;
	}
	return 0;
}

static int flush_pending(struct file_sink *file)
{
	int rc = file->pending.failed ? -ENOMEM
				      : write_all(file->fd, file->pending.data, file->pending.size);

	buffer_clear(&file->pending);
	return rc;
}

static int file_take(struct sink *sink, struct entry *entry, struct message *msg)
{
	struct file_sink *file = (struct file_sink *)sink;
	struct buffer marker = { 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < entry->message_count; i++) {
		buffer_append(&file->pending, entry->messages[i].payload.data,
			entry->messages[i].payload.size);
		if (file->pending.size >= WRITE_AT_BYTES)
			rc = flush_pending(file);
	}
	entry_marker(entry, file->entries++, 0, &marker);
	container_block(&file->pending, 1, (struct bytes){ marker.data, marker.size });
	if (rc == 0 && marker.failed)
		rc = -ENOMEM;
	if (rc == 0)
		rc = flush_pending(
			file); /* a reader at the other end of the pipe sees whole minutes */
	buffer_fini(&marker);
	entry_destroy(entry);
	if (rc != 0)
		message_set(msg, "%s: %s", file->path, error_text(rc));
	return rc;
}

static int file_finish(struct sink *sink, struct message *msg)
{
	struct file_sink *file = (struct file_sink *)sink;
	int rc = flush_pending(file);

	if (rc == 0 && file->partial != NULL && fsync(file->fd) != 0)
		rc = -errno;
	if (rc == 0 && file->partial != NULL && rename(file->partial, file->path) != 0)
		rc = -errno;
	if (rc != 0)
		message_set(msg, "%s: %s", file->path, error_text(rc));
	return rc;
}

static void file_close(struct sink *sink)
{
	struct file_sink *file = (struct file_sink *)sink;

	if (file == NULL)
		return;
	if (file->fd > STDERR_FILENO)
		close(file->fd);
	buffer_fini(&file->pending);
	free(file->path);
	free(file->partial);
	free(file);
}

static bool is_written_in_place(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

static int open_target(struct file_sink *file, const char *path)
{
	if (strcmp(path, "-") == 0) {
		file->fd = STDOUT_FILENO;
		return 0;
	}
	if (is_written_in_place(path)) {
		file->fd = open(path, O_WRONLY | O_CLOEXEC);
	} else {
		if (asprintf(&file->partial, "%s%s", path, PARTIAL_SUFFIX) < 0) {
			file->partial = NULL;
			return -ENOMEM;
		}
		file->fd = open(file->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	}
	return file->fd < 0 ? -errno : 0;
}

int sink_file_open(
	struct sink **out, const char *path, const struct origin *origin, struct message *msg)
{
	struct file_sink *file = calloc(1, sizeof(*file));
	int rc = -ENOMEM;

	if (file == NULL)
		return rc;
	file->sink = (struct sink){ file_take, file_finish, file_close };
	file->fd = -1;
	file->path = strdup(path);
	if (file->path != NULL)
		rc = open_target(file, path);
	if (rc == 0) {
		container_header(&file->pending, origin);
		rc = file->pending.failed ? -ENOMEM : 0;
	}
	if (rc != 0) {
		message_set(msg, "%s: %s", path, error_text(rc));
		file_close(&file->sink);
		return rc;
	}
	*out = &file->sink;
	return 0;
}
